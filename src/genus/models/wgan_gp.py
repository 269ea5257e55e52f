"""Wasserstein GAN with gradient penalty."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.divergences.samples import energy_distance
from genus.model import GenerativeModel, Loss
from genus.nets.dense import dense
from genus.space import Integer, Real, Space

__all__ = ["WGANGP"]


class WGANGP(GenerativeModel, name="wgan-gp"):
    """Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, arXiv:1704.00028).

    The critic maximises E_p D(x) - E_q D(x), the dual of the earth mover's distance, and pays
    `penalty` * E (|grad D| - 1)^2 on the lines between real and generated rows; the generator lowers it. Categories and
    atoms come by straight-through Gumbel softmax (Jang et al. 2017, arXiv:1611.01144); lattices get noise of one step, so
    that the critic cannot tell real rows by their being whole. There is no density.

    Args:
        latent: dimensions of the generator's noise.
        hidden: widths of generator and critic.
        penalty: lambda.
        critic_steps: of the critic for one of the generator.
        temperature: of the Gumbel softmax.

    >>> from genus import Category, Real, Space
    >>> model = WGANGP(Space([Real(), Category(("a", "b"))]), hidden=(16,))
    >>> [loss.name for loss in model.losses()]
    ['critic', 'generator']
    """

    title = "Wasserstein GAN, gradient penalty"
    group = "adversarial"
    recipe = MappingProxyType({"average": 0.999, "patience": 20, "batch_size": 256, "schedule": "constant"})

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        latent: int = 32,
        hidden: Sequence[int] = (256, 256),
        penalty: float = 10.0,
        critic_steps: int = 5,
        temperature: float = 0.5,
    ) -> None:
        hyper = {"hidden": list(hidden), "critic_steps": critic_steps, "temperature": temperature}
        super().__init__(space, context, latent=latent, penalty=penalty, **hyper)
        self.latent, self.penalty, self.critic_steps, self.temperature = latent, penalty, critic_steps, temperature
        width = space.feature_dim
        self.generator = dense(latent + self.context_dim, hidden, width, nn.ReLU)
        self.critic = dense(width + self.context_dim, hidden, 1, lambda: nn.LeakyReLU(0.2))
        kinds = [space.kinds[i] for i in space.columns(Real, Integer)]
        # A short lattice is reached by a tanh, whose flat ends make its lowest and highest values easy; numbers are free.
        short = [k if isinstance(k, Integer) and k.size <= 256 else None for k in kinds]
        columns = {
            "half_step": [k.step / k.scale / 2 if isinstance(k, Integer) else 0.0 for k in kinds],
            "middle": [((k.low + k.high) / 2 - k.loc) / k.scale if k else 0.0 for k in short],
            "reach": [(k.high - k.low + k.step) / 2 / k.scale if k else 0.0 for k in short],
        }
        for name, values in columns.items():
            self.register_buffer(name, torch.tensor(values), persistent=False)
        self.register_buffer("bounded", torch.tensor([k is not None for k in short], dtype=torch.bool), persistent=False)
        # A remainder counts only in state 0 of its column: (position of the remainder, feature of its state 0).
        rest = space.columns(Real, Integer)
        first = dict(zip(space.columns_with_states(), (where.start for where in space.one_hots()), strict=True))
        gates = [(position, first[column]) for position, column in enumerate(rest) if column in first]
        self.register_buffer("gates", torch.tensor(gates, dtype=torch.long).reshape(-1, 2), persistent=False)

    half_step: Tensor
    middle: Tensor
    reach: Tensor
    bounded: Tensor
    gates: Tensor

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        return None if space.feature_dim else "every column holds one value only, so there is nothing for a critic to see"

    def losses(self) -> list[Loss]:
        adam = {"lr": 2e-4, "betas": (0.0, 0.9)}
        return [
            Loss("critic", self.critic.parameters(), self._critic_loss, optimizer=adam),
            Loss("generator", self.generator.parameters(), self._generator_loss, every=self.critic_steps, optimizer=adam),
        ]

    def _critic_loss(self, x: Tensor, c: Tensor | None) -> Tensor:
        features = self._context_features(c)
        real = self._real(x)
        with torch.no_grad():
            fake = self._fake(len(x), features)
        between = torch.lerp(fake, real, torch.rand(len(x), 1, dtype=real.dtype, device=real.device)).requires_grad_()
        slope = torch.autograd.grad(self._judge(between, features).sum(), between, create_graph=True)[0]
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        return self._judge(fake, features).mean() - self._judge(real, features).mean() + self.penalty * penalty

    def _generator_loss(self, x: Tensor, c: Tensor | None) -> Tensor:
        features = self._context_features(c)
        return -self._judge(self._fake(len(x), features), features).mean()

    def _judge(self, features: Tensor, context: Tensor | None) -> Tensor:
        return self.critic(features if context is None else torch.cat([features, context], dim=1))

    def _real(self, x: Tensor) -> Tensor:
        """The features of real rows, lattices blurred over one step."""
        features = self.space.features(x).to(self.dtype)
        if len(self.half_step):
            rest = features[:, : len(self.half_step)]
            noise = self.half_step.to(rest.dtype) * (2 * torch.rand_like(rest) - 1)
            features = self._gate(torch.cat([rest + noise, features[:, len(self.half_step) :]], dim=1))
        return features

    def _gate(self, features: Tensor) -> Tensor:
        """Remainders set to 0 where their column is at an atom, as `Space.features` has them."""
        if not len(self.gates):
            return features
        position, state = self.gates.T
        return features.index_copy(1, position, features[:, position] * features[:, state])

    def _fake(self, n: int, context: Tensor | None) -> Tensor:
        """Features of n generated rows, one-hots hard in value and soft in gradient."""
        z = torch.randn(n, self.latent, dtype=self.dtype, device=self.device)
        out = self.generator(z if context is None else torch.cat([z, context], dim=1))
        rest = out[:, : len(self.half_step)]
        parts = [torch.where(self.bounded, self.middle + self.reach * torch.tanh(rest), rest)]
        hots = self.space.one_hots()
        parts += [F.gumbel_softmax(out[:, where], self.temperature, hard=True) for where in hots]
        return self._gate(torch.cat(parts, dim=1))

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        return self.space.from_features(self._fake(n, self._context_features(c)))

    @torch.no_grad()
    def criterion(self, x: Tensor, c: Tensor | None = None) -> float | None:
        """The energy distance of as many samples, of 2,000 at most, from held-out rows, in features; None for a single row."""
        if len(x) < 2:
            return None
        x, c = x[:2000], None if c is None else c[:2000]
        fake = self.space.features(self.sample(len(x), c))
        return float(energy_distance(self.space.features(x), fake))
