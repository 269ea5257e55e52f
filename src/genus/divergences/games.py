"""Define what critic and generator lower, as functions of the critic's numbers of real rows and of generated ones.

A critic gives a log-odds or a score, unbounded, of every row. `critic(real, fake)` and `generator(real, fake)` are losses;
`distance(loss)` turns a critic's loss into the distance it estimates from below.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from genus.divergences.f import BITS, DIVERGENCES
from genus.errors import GenusError

__all__ = ["GAMES", "Game", "game"]

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Game:
    """Name the loss of a critic and that of a generator.

    Attributes:
        estimates: the distance that the loss of the best critic stands for, in words; any other critic's loss is a lower bound.
        distance: a function from the critic's loss to that distance.
        paired: whether the generator's loss looks at real rows too.
        lipschitz: whether the loss is a distance only of a critic that is nowhere steeper than 1.
    """

    name: str
    critic: Loss
    generator: Loss
    estimates: str
    distance: Callable[[Tensor], Tensor] = operator.neg
    paired: bool = False
    lipschitz: bool = False


def _log_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return -E log D(x) - E log(1 - D(G(z))), D = sigmoid of the log-odds."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _relative(better: Tensor, worse: Tensor) -> Tensor:
    """Return -E log sigmoid(better - worse), pair by pair."""
    return F.softplus(worse - better).mean()


def _of_divergence(name: str) -> Game:
    d = DIVERGENCES[name]

    def bound(real: Tensor, fake: Tensor) -> Tensor:
        return d.conjugate_of_witness(fake).mean() - d.witness(real).mean()

    # The generator's loss is the one that does not saturate (Nowozin et al. 2016, section 3.2).
    return Game(f"f-{name}", bound, lambda real, fake: -d.witness(fake).mean(), name)


GAMES = {
    g.name: g
    for g in (
        Game("minimax", _log_loss, lambda real, fake: -F.softplus(fake).mean(), "jensen-shannon", lambda loss: BITS - loss / 2),
        Game(
            "non-saturating",
            _log_loss,
            lambda real, fake: F.softplus(-fake).mean(),
            "jensen-shannon",
            lambda loss: BITS - loss / 2,
        ),
        Game(
            "least-squares",
            lambda real, fake: 0.5 * ((real - 1).square().mean() + fake.square().mean()),
            lambda real, fake: 0.5 * (fake - 1).square().mean(),
            "Le Cam's, E_m (p - q)^2 / (p + q)^2 of the mean m",
            lambda loss: 1 - 4 * loss,
        ),
        Game(
            "hinge",
            lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
            lambda real, fake: -fake.mean(),
            "total-variation",
            lambda loss: 1 - loss / 2,
        ),
        Game(
            "relativistic",
            _relative,
            lambda real, fake: _relative(fake, real),
            "jensen-shannon of pairs, (real, generated) from (generated, real)",
            lambda loss: BITS - loss,
            paired=True,
        ),
        Game(
            "wasserstein",
            lambda real, fake: fake.mean() - real.mean(),
            lambda real, fake: -fake.mean(),
            "earth mover's distance",
            lipschitz=True,
        ),
        *(_of_divergence(name) for name in DIVERGENCES),
    )
}


def game(name: str) -> Game:
    """Return the game of a name.

    Raises:
        GenusError: there is none.

    >>> import torch
    >>> real, fake = torch.tensor([2.0]), torch.tensor([-1.0])
    >>> game("wasserstein").critic(real, fake), game("hinge").critic(real, fake)
    (tensor(-3.), tensor(0.))
    """
    if name not in GAMES and name.removeprefix("f-") in DIVERGENCES and name.startswith("f-"):
        return _of_divergence(name.removeprefix("f-"))  # of a divergence that was added later
    if name not in GAMES:
        raise GenusError(f"There is no game {name!r}; there are {', '.join(GAMES)}.")
    return GAMES[name]
