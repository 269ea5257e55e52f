"""What adversarial families have in common: a generator of features, a critic of features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.divergences.games import Game
from genus.divergences.games import game as game_of
from genus.divergences.samples import energy_distance
from genus.errors import GenusError
from genus.model import GenerativeModel, Loss, isolated
from genus.nets.dense import dense
from genus.space import Integer, Real, Space

__all__ = ["Adversarial", "slope"]


class Adversarial(GenerativeModel):
    """A generator z -> x and a critic that tells its rows from real ones. There is no density.

    Categories and atoms come by straight-through Gumbel softmax (Jang et al. 2017, arXiv:1611.01144); lattices get noise of one
    step, so that the critic cannot tell real rows by their being whole. A family calls `_play` when it is made, and may add
    to the critic's loss in `_penalty`.
    """

    group = "adversarial"
    takes = "any table or image"
    recipe = MappingProxyType({"average": 0.999, "patience": 20, "batch_size": 256, "schedule": "constant"})

    def _play(
        self, game: str, latent: int, hidden: Sequence[int], critic_steps: int, temperature: float, adam: dict[str, Any]
    ) -> None:
        """Settle the game, by its name, the nets and their optimizers."""
        game_of(game)
        if latent < 1 or critic_steps < 1:
            raise GenusError(f"latent and critic_steps are 1 or more; got {latent} and {critic_steps}.")
        space = self.space
        self.played, self.latent, self.critic_steps, self.temperature, self.adam = game, latent, critic_steps, temperature, adam
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

    @property
    def game(self) -> Game:
        """What the two play."""
        return game_of(self.played)

    half_step: Tensor
    middle: Tensor
    reach: Tensor
    bounded: Tensor
    gates: Tensor

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        return None if space.feature_dim else "every column holds one value only, so there is nothing for a critic to see"

    def losses(self) -> list[Loss]:
        generator = Loss(
            "generator", self.generator.parameters(), self._generator_loss, every=self.critic_steps, optimizer=self.adam
        )
        return [Loss("critic", self.critic.parameters(), self._critic_loss, optimizer=self.adam), generator]

    def _critic_loss(self, x: Tensor, c: Tensor | None) -> Tensor:
        features = self._context_features(c)
        real = self._real(x)
        with torch.no_grad():
            fake = self._fake(len(x), features)
        loss = self.game.critic(self._judge(real, features), self._judge(fake, features))
        return loss + self._penalty(real, fake, lambda x: self._judge(x, features))

    def _penalty(self, real: Tensor, fake: Tensor, judge: Callable[[Tensor], Tensor]) -> Tensor | float:
        """What the critic pays for, beside its game."""
        return 0.0

    def _generator_loss(self, x: Tensor, c: Tensor | None) -> Tensor:
        features = self._context_features(c)
        fake = self._judge(self._fake(len(x), features), features)
        real = self._judge(self._real(x), features) if self.game.name == "relativistic" else fake
        return self.game.generator(real, fake)

    @torch.no_grad()
    def distance(self, x: Tensor, c: Tensor | None = None, seed: int | None = None) -> float:
        """x (B, *shape) -> the distance of as many samples from x that the critic sees, a lower bound in nats or, of a
        Wasserstein critic, in standardised units. A gradient penalty of weight w lets slopes be 1 + distance / (2 w).

        Raises:
            GenusError: this game's critic estimates none.
        """
        if not self.game.estimates:
            raise GenusError(f"The critic of {self.game.name!r} estimates no distance.")
        x, c = self._check(x, c)
        with isolated(seed):
            features = self._context_features(c)
            loss = self.game.critic(self._judge(self._real(x), features), self._judge(self._fake(len(x), features), features))
        return float(self.game.distance(loss))

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


def slope(judge: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """at (B, ...) -> (B,): the norm of the critic's gradient, example by example, whatever their shape."""
    at = at.detach().requires_grad_()
    gradient = torch.autograd.grad(judge(at).sum(), at, create_graph=True)[0]
    return gradient.flatten(1).norm(dim=1)
