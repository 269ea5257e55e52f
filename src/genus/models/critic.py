"""The critic of a game: a net that tells generated rows from real ones, what it plays, and what keeps it smooth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from genus.configurable import Configurable
from genus.divergences.games import Game
from genus.divergences.games import game as game_of
from genus.divergences.lipschitz import clip, gradient_norm, gradient_penalty
from genus.divergences.samples import energy_distance
from genus.errors import DataError, GenusError
from genus.ladder import Loss
from genus.nets.dense import dense
from genus.nets.residual import ImageDecoder, ImageEncoder
from genus.nets.strided import StridedDecoder, StridedEncoder
from genus.space import Space

__all__ = ["Critic", "generator_net", "players"]

JUDGED = 2000  # held-out rows that an evaluation looks at, and samples
CELLS = 64  # among which samples are spread


class Critic(Configurable, nn.Module):
    """(B, features), (B, context features) or None -> (B, 1): a log-odds or a score of every row, unbounded.

    Args:
        space: of x, whose features it sees.
        context_dim: how many features of the context it sees beside them.
        game: what it plays, by name (see `GAN`).
        net, hidden, channels: see `Adversarial`.
        r1, r2: weights of F E |grad D|^2 / 2 on real rows and on generated ones (Mescheder et al. 2018, arXiv:1801.04406); F is
            the number of features, with which the squared distance of two rows grows, over which a slope counts.
        penalty: weight of E (|grad D| - 1)^2 on the lines between them (Gulrajani et al. 2017, arXiv:1704.00028).
        clip: the largest weight (Arjovsky et al. 2017, arXiv:1701.07875); None: any.
        spectral: the matrix of every layer divided by its largest singular value (Miyato et al. 2018, arXiv:1802.05957); the
            slope of a dense net is then 1 at most, as far as the iteration that finds it has come.
    """

    left_out = ("space",)

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
    ) -> None:
        super().__init__()
        self.space = space
        if min(r1, r2, penalty) < 0:
            raise GenusError(f"Weights of penalties are 0 or more; got r1={r1}, r2={r2}, penalty={penalty}.")
        if clip is not None and not clip > 0:
            raise GenusError(f"clip is the largest weight of the critic, above 0; got {clip}.")
        if game_of(game).lipschitz and not (r1 or r2 or penalty or clip or spectral):
            raise GenusError(
                "A critic of the earth mover's distance must not be steep: give it a penalty, a clip or spectral norms."
            )
        self.played = game
        self.r1, self.r2, self.penalty, self.clip = r1, r2, penalty, clip
        kind = kind_of_net(space, net)
        if kind == "dense":
            self.net: nn.Module = dense(space.feature_dim + context_dim, hidden, 1, lambda: nn.LeakyReLU(0.2))
        else:
            self.net = (StridedEncoder if kind == "convolutional" else ImageEncoder)(pixels(space), channels, 1, context_dim)
        if spectral:
            for layer in list(self.net.modules()):
                if isinstance(layer, nn.Linear | nn.Conv2d):
                    if not layer.weight.any():  # a branch that begins at zero, which has no direction
                        layer.reset_parameters()
                    spectral_norm(layer)
        self.tie()

    def tie(self) -> None:
        """Clip the weights, where they are clipped."""
        if self.clip is not None:
            clip(self, self.clip)

    @property
    def game(self) -> Game:
        """What it plays."""
        return game_of(self.played)

    def __reduce__(self) -> Any:
        # The classes of layers divided by their norms are made on the way, and cannot be pickled or copied by name.
        return _rebuild, (self.space, self.config, self.state_dict(), self.training)

    def forward(self, features: Tensor, context: Tensor | None = None) -> Tensor:
        return self.net(features if context is None else torch.cat([features, context], dim=1))

    def loss(self, real: Tensor, fake: Tensor, context: Tensor | None = None) -> Tensor:
        """What the critic lowers: its part of the game, and the penalties."""
        return self.game.critic(self(real, context), self(fake, context)) + self.penalties(real, fake, context)

    def penalties(self, real: Tensor, fake: Tensor, context: Tensor | None = None) -> Tensor | float:
        def judge(x: Tensor) -> Tensor:
            return self(x, context)

        total: Tensor | float = 0.0
        for weight, x in ((self.r1, real), (self.r2, fake)):
            if weight:
                total = total + 0.5 * weight * x.shape[1] * gradient_norm(judge, x).square().mean()
        if self.penalty:
            total = total + self.penalty * gradient_penalty(judge, real, fake)
        return total

    def generator_loss(self, real: Tensor, fake: Tensor, context: Tensor | None = None) -> Tensor:
        """What the generator lowers; only a relativistic one looks at real rows."""
        judged = self(fake, context)
        return self.game.generator(self(real, context) if self.game.paired else judged, judged)

    def distance(self, real: Tensor, fake: Tensor, context: Tensor | None = None) -> float:
        """The distance that the critic's loss, without penalties, stands for: of rows that it has not learnt from, in
        expectation a lower bound. One that asks for a slope of 1 is divided by the steepest that is seen."""
        found = float(self.game.distance(self.game.critic(self(real, context), self(fake, context))))
        if not self.game.lipschitz:
            return found

        def judge(x: Tensor) -> Tensor:
            return self(x, context)

        between = torch.lerp(fake, real, torch.rand(len(real), 1, dtype=real.dtype, device=real.device))
        return found / max(1e-12, *(float(gradient_norm(judge, x).detach().max()) for x in (real, fake, between)))


def _rebuild(space: Space, config: dict[str, Any], state: dict[str, Tensor], training: bool) -> Critic:
    critic, like = Critic(space, **config), next(iter(state.values()))
    critic.to(like.device, like.dtype).load_state_dict(state)
    return critic.train(training)


def kind_of_net(space: Space, net: str) -> str:
    """What "auto" means for this space; any other kind, if it suits it."""
    if net not in ("auto", "dense", "convolutional", "residual"):
        raise GenusError(f"net must be 'auto', 'dense', 'convolutional' or 'residual'; got {net!r}.")
    fits = space.is_image and min(space.shape[-2:]) >= 8
    if net in ("convolutional", "residual") and not fits:
        raise DataError(f"net={net!r} needs images of numbers, all of one kind, 8 pixels a side or more; use net='dense'.")
    if net != "auto":
        return net
    return "dense" if not fits else "convolutional" if max(space.shape[-2:]) <= 32 else "residual"


def pixels(space: Space) -> tuple[int, ...]:
    """Channels, height and width."""
    return (1,) * (3 - len(space.shape)) + space.shape


def generator_net(inputs: int, space: Space, net: str, hidden: Sequence[int], channels: int) -> nn.Module:
    """(B, inputs) -> (B, features), unbounded: the critic's counterpart."""
    kind = kind_of_net(space, net)
    if kind == "dense":
        return dense(inputs, hidden, space.feature_dim, nn.ReLU)
    if kind == "convolutional":
        return StridedDecoder(inputs, channels, pixels(space))
    return ImageDecoder(inputs, channels, pixels(space), 1)


def players(
    critic: Critic,
    parameters: Iterable[nn.Parameter],
    real: Callable[[Tensor], Tensor],
    fake: Callable[[int, Tensor | None, Tensor | None], Tensor],
    given: Callable[[Tensor, Tensor | None], Tensor | None],
    adam: dict[str, Any],
    critic_steps: int = 1,
    also: Callable[[Tensor, Tensor | None], Tensor] | None = None,
    config: dict[str, Any] | None = None,
) -> list[Loss]:
    """The two players of the game between a critic and whatever draws rows with gradients.

    Args:
        parameters: the generator's.
        real: x -> features.
        fake: n, c, given -> features of n generated rows.
        given: x, c -> features of what both are told of each row: the context.
        adam: of both optimizers.
        critic_steps: of the critic for one of the generator.
        also: (x, c) -> what the generator lowers beside the game.
        config: JSON values that the generator's loss was made with, see `Loss`.
    """

    def critic_loss(x: Tensor, c: Tensor | None) -> Tensor:
        told = given(x, c)
        with torch.no_grad():
            generated = fake(len(x), c, told)
        return critic.loss(real(x), generated, told)

    def generator_loss(x: Tensor, c: Tensor | None) -> Tensor:
        told = given(x, c)
        loss = critic.generator_loss(real(x), fake(len(x), c, told), told)
        return loss if also is None else loss + also(x, c)

    def evaluate(x: Tensor, c: Tensor | None) -> dict[str, float]:
        """The criterion, energy distance; what the critic estimates; how far samples are spread."""
        x, c = x[:JUDGED], None if c is None else c[:JUDGED]
        if len(x) < 2:
            return {}
        # Of few rows as many samples as of many: weights are then chosen with less chance in it.
        times, told, rows = math.ceil(JUDGED / len(x)), given(x, c), real(x)
        repeated = [None if one is None else one.repeat(times, *[1] * (one.ndim - 1)) for one in (c, told)]
        generated = fake(times * len(x), *repeated)
        found = {"distance": critic.distance(rows, generated[: len(x)], told), "spread": spread(rows, generated)}
        if told is not None:  # rows together with what they were told, or a generator that does not listen would be as good
            rows = torch.cat([rows, told], dim=1)
            generated = torch.cat([generated, told.repeat(times, 1)], dim=1)
        return found | {"criterion": float(energy_distance(rows, generated))}

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


def spread(real: Tensor, fake: Tensor) -> float:
    """In how many cells generated rows lie, as a share of that of real ones: 1 where they are as spread out, 1/64 where all
    are in one place. Cells are nearest neighbourhoods of 64 of the real rows, of fewer where these are few, and are counted by
    the exponential of their entropy."""
    cells = max(1, min(CELLS, len(real) // 4))
    centres = real[:cells]

    def count(rows: Tensor) -> Tensor:
        share = torch.bincount(torch.cdist(rows, centres).argmin(1), minlength=cells) / len(rows)
        return torch.special.entr(share).sum().exp()

    return float(count(fake) / count(real[cells:]))
