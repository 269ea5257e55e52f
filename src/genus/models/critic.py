"""The critic of a game: a net that tells generated rows from real ones, its loss, and the penalties that keep it smooth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from genus.configurable import Configurable
from genus.divergences.games import game as game_of
from genus.divergences.lipschitz import clip, gradient_norm, gradient_penalty
from genus.divergences.samples import energy_distance
from genus.errors import DataError, GenusError
from genus.ladder import Loss
from genus.nets.dense import Modulated, dense
from genus.nets.residual import ImageDecoder, ImageEncoder
from genus.nets.strided import StridedDecoder, StridedEncoder
from genus.random import rng
from genus.space import Space

__all__ = ["Critic", "generator_net", "adversarial_losses"]

EVALUATED = 2000  # held-out rows of an evaluation, and samples
CELLS = 64  # among which samples are spread


class Critic(Configurable, nn.Module):
    """Map features (B, features) and those of the context to a log-odds or score of every row, (B, 1), unbounded.

    Args:
        space: of x, whose features it sees.
        context_dim: the number of features of the context that it sees beside them.
        projection: how many of these, the first ones, also weigh scores of their own (a projection critic; Miyato & Koyama
            2018, arXiv:1802.05637): among hundreds of pixels a context would hardly count otherwise.
        game: the name of the game (see `GAN`).
        net, hidden, channels: see `Adversarial`.
        r1, r2: the weights of F E |grad D|^2 / 2 on real rows and on generated ones (Mescheder et al. 2018, arXiv:1801.04406);
            F is the number of features, with which the squared distance of two rows grows, over which a slope counts.
        penalty: the weight of E (|grad D| - 1)^2 on the lines between them (Gulrajani et al. 2017, arXiv:1704.00028).
        clip: the largest weight (Arjovsky et al. 2017, arXiv:1701.07875); None: any.
        spectral: the matrix of every layer divided by its largest singular value (Miyato et al. 2018, arXiv:1802.05957); the
            slope of a dense net is then 1 at most, as far as the iteration that finds it has come.
    """

    not_in_config = ("space",)

    def __init__(
        self,
        space: Space,
        context_dim: int = 0,
        game: str = "relativistic",
        net: str = "auto",
        hidden: Sequence[int] = (256, 256),
        channels: int = 32,
        r1: float = 0.0,
        r2: float = 0.0,
        penalty: float = 0.0,
        clip: float | None = None,
        spectral: bool = False,
        projection: int = 0,
    ) -> None:
        super().__init__()
        self.projection = projection
        self.space, self.game = space, game_of(game)
        if min(r1, r2, penalty) < 0:
            raise GenusError(f"Weights of penalties are 0 or more; got r1={r1}, r2={r2}, penalty={penalty}.")
        if clip is not None and not clip > 0:
            raise GenusError(f"clip is the largest weight of the critic, above 0; got {clip}.")
        if self.game.lipschitz and not (r1 or r2 or penalty or clip or spectral):
            raise GenusError(
                "A critic of the earth mover's distance must not be steep: give it a penalty, a clip or spectral norms."
            )
        self.r1, self.r2, self.penalty, self.clip = r1, r2, penalty, clip
        sort = sort_of_net(space, net)
        if sort == "dense":
            self.net: nn.Module = dense(space.coordinate_dim + context_dim, hidden, 1 + projection, lambda: nn.LeakyReLU(0.2))
        else:
            encoder = StridedEncoder if sort == "convolutional" else ImageEncoder
            self.net = encoder(pixels(space), channels, 1 + projection, context_dim)
        if spectral:
            for layer in list(self.net.modules()):
                if isinstance(layer, nn.Linear | nn.Conv2d):
                    if not layer.weight.any():  # a branch that begins at zero, which has no direction
                        layer.reset_parameters()
                    spectral_norm(layer)
        self.tie()

    def tie(self) -> None:
        """Clip the weights, if `clip` was given."""
        if self.clip is not None:
            clip(self, self.clip)

    def __reduce__(self) -> Any:
        # The classes of layers divided by their norms are made on the way, and cannot be pickled or copied by name.
        return _rebuild, (self.space, self.config, self.state_dict(), self.training)

    def forward(self, features: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log-odds or score of rows with these features (B, features): (B, 1)."""
        scores = self.net(features if context is None else torch.cat([features, context], dim=1))
        if context is None or not self.projection:
            return scores
        return scores[:, :1] + (scores[:, 1:] * context[:, : self.projection]).sum(1, keepdim=True)

    def loss(self, real: Tensor, fake: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the critic's loss: its part of the game, and the penalties."""
        return self.game.critic(self(real, context), self(fake, context)) + self.penalties(real, fake, context)

    def penalties(self, real: Tensor, fake: Tensor, context: Tensor | None = None) -> Tensor | float:
        """Return the weighted sum of the penalties on the critic's slope; 0 where there are none."""
        score = partial(self, context=context)
        total: Tensor | float = 0.0
        for weight, x in ((self.r1, real), (self.r2, fake)):
            if weight:
                total = total + 0.5 * weight * x.shape[1] * gradient_norm(score, x).square().mean()
        if self.penalty:
            total = total + self.penalty * gradient_penalty(score, real, fake)
        return total

    def generator_loss(self, real: Tensor, fake: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the generator's loss; only in a relativistic game does it depend on real rows."""
        scores = self(fake, context)
        return self.game.generator(self(real, context) if self.game.paired else scores, scores)

    def distance(self, real: Tensor, fake: Tensor, context: Tensor | None = None) -> float:
        """Return the distance that the critic's loss estimates; for rows outside its training, in expectation a lower bound.

        A distance that presumes a slope of at most 1 is divided by the steepest slope on these rows.
        """
        distance = float(self.game.distance(self.game.critic(self(real, context), self(fake, context))))
        if not self.game.lipschitz:
            return distance
        score = partial(self, context=context)
        share = torch.rand(len(real), 1, dtype=real.dtype, device=real.device, generator=rng(real.device))
        between = torch.lerp(fake, real, share)
        return distance / max(1e-12, *(float(gradient_norm(score, x).detach().max()) for x in (real, fake, between)))


def _rebuild(space: Space, config: dict[str, Any], state: dict[str, Tensor], training: bool) -> Critic:
    critic, like = Critic(space, **config), next(iter(state.values()))
    critic.to(like.device, like.dtype).load_state_dict(state)
    return critic.train(training)


def sort_of_net(space: Space, net: str) -> str:
    """Return the sort of net that suits the space, for "auto"; any other sort as it is.

    Raises:
        GenusError: there is no such net.
        DataError: it does not suit the space.
    """
    if net not in ("auto", "dense", "convolutional", "residual"):
        raise GenusError(f"net must be 'auto', 'dense', 'convolutional' or 'residual'; got {net!r}.")
    fits = space.is_image and min(space.shape[-2:]) >= 8
    if net in ("convolutional", "residual") and not fits:
        raise DataError(f"net={net!r} needs images of numbers, all of one kind, 8 pixels a side or more; use net='dense'.")
    if net != "auto":
        return net
    return "dense" if not fits else "convolutional" if max(space.shape[-2:]) <= 32 else "residual"


def pixels(space: Space) -> tuple[int, ...]:
    """Return channels, height and width."""
    return (1,) * (3 - len(space.shape)) + space.shape


def generator_net(inputs: int, space: Space, net: str, hidden: Sequence[int], channels: int, context_dim: int = 0) -> nn.Module:
    """Return a net from (B, inputs) to (B, features), unbounded: the critic's counterpart.

    The last `context_dim` inputs are a context's features, which modulate every layer.
    """
    sort = sort_of_net(space, net)
    if sort == "dense" and context_dim:
        return Modulated(inputs, context_dim, hidden, space.coordinate_dim, nn.ReLU)
    if sort == "dense":
        return dense(inputs, hidden, space.coordinate_dim, nn.ReLU)
    if sort == "convolutional":
        return StridedDecoder(inputs, channels, pixels(space), context_dim)
    return ImageDecoder(inputs, channels, pixels(space), 1, context_dim)


def adversarial_losses(
    critic: Critic,
    parameters: Iterable[nn.Parameter],
    real: Callable[[Tensor], Tensor],
    fake: Callable[[int, Tensor | None, Tensor | None], Tensor],
    row_context: Callable[[Tensor, Tensor | None], Tensor | None],
    adam: dict[str, Any],
    critic_steps: int = 1,
    added_loss: Callable[[Tensor, Tensor | None], Tensor] | None = None,
    config: dict[str, Any] | None = None,
) -> list[Loss]:
    """Return the two losses of the game between a critic and a sampler that draws rows with gradients.

    Args:
        critic: the critic.
        parameters: the sampler's, which it learns.
        real: maps x to features.
        fake: maps n, c and the features of the context to the features of n generated rows.
        row_context: maps x, c to the features that both see of every row's context; None for none.
        adam: arguments of both optimizers.
        critic_steps: the number of steps of the critic for one of the generator.
        added_loss: maps (x, c) to a loss of the sampler that is added to the game's.
        config: JSON values that the sampler's loss was made with, see `Loss`.
    """

    def critic_loss(x: Tensor, c: Tensor | None) -> Tensor:
        context = row_context(x, c)
        with torch.no_grad():
            generated = fake(len(x), c, context)
        return critic.loss(real(x), generated, context)

    def generator_loss(x: Tensor, c: Tensor | None) -> Tensor:
        context = row_context(x, c)
        loss = critic.generator_loss(real(x), fake(len(x), c, context), context)
        return loss if added_loss is None else loss + added_loss(x, c)

    def evaluate(x: Tensor, c: Tensor | None) -> dict[str, float]:
        """Return the criterion (an energy distance), the critic's own estimate, and how widely samples are spread."""
        x, c = x[:EVALUATED], None if c is None else c[:EVALUATED]
        if len(x) < 2:
            return {}
        # Of few rows as many samples as of many: weights are then chosen with less chance in it.
        times, context, rows = math.ceil(EVALUATED / len(x)), row_context(x, c), real(x)
        repeated = [None if t is None else t.repeat(times, *[1] * (t.ndim - 1)) for t in (c, context)]
        generated = fake(times * len(x), *repeated)
        numbers = {"distance": critic.distance(rows, generated[: len(x)], context), "spread": relative_spread(rows, generated)}
        if context is not None:  # rows together with their context, or a generator that ignores it would be as good
            rows = torch.cat([rows, context], dim=1)
            generated = torch.cat([generated, context.repeat(times, 1)], dim=1)
        return numbers | {"criterion": float(energy_distance(rows, generated))}

    return [
        Loss(
            "critic",
            list(critic.parameters()),
            critic_loss,
            optimizer=adam,
            module=critic,
            evaluate=evaluate,
            after=critic.tie,
            config=critic.config,
        ),
        Loss("generator", list(parameters), generator_loss, interval=critic_steps, optimizer=adam, config=config or {}),
    ]


def relative_spread(real: Tensor, fake: Tensor) -> float:
    """Return the number of cells that generated rows fill, as a share of the number that real rows fill.

    It is 1 where generated rows are as spread out as real ones, and 1/64 where all are in one place. Cells are the
    neighbourhoods of 64 real rows, or of fewer, and are counted by the exponential of their entropy.
    """
    cells = max(1, min(CELLS, len(real) // 4))
    centres = real[:cells]

    def count(rows: Tensor) -> Tensor:
        share = torch.bincount(torch.cdist(rows, centres).argmin(1), minlength=cells) / len(rows)
        return torch.special.entr(share).sum().exp()

    return float(count(fake) / count(real[cells:]))
