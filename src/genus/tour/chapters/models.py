"""Show what a generative model is, and what it means to fit one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genus.distillation import distill
from genus.divergences import of_probabilities
from genus.evaluation.svg import INK, colour
from genus.models import Flow
from genus.registry import families
from genus.space import Real, Space
from genus.tour.pages import Number, Picture, page, picture
from genus.training import fit
from genus.transforms import Elementwise

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHAPTER = "What a model is"
AXIS = torch.linspace(-6, 6, 2401, dtype=torch.float64)


def normal(x: Tensor, mean: float, std: float) -> Tensor:
    """Return the density of N(mean, std^2)."""
    return torch.exp(-0.5 * ((x - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))


@page(CHAPTER, "The families by what they can answer", "x ∼ q(x), &nbsp; log q(x) = ?")
def taxonomy(seed: int) -> Iterator[Number | Picture]:
    """Every family can be sampled. They differ in whether they know how likely a datum is: a tractable density knows
    exactly, an approximate one bounds it from below, an implicit one has no density, only samples."""
    listed = list(families().values())
    ladder = {density: [f for f in listed if f.info.density == density] for density in ("tractable", "approximate", "implicit")}

    def draw(axes: Axes) -> None:
        for i, (density, members) in enumerate(ladder.items()):
            axes.text(i, 0, density, fontweight="bold", color=colour(i))
            for j, family in enumerate(members):
                axes.text(i, -1.15 - j, family.name)
        axes.set(xlim=(0, 3), ylim=(-max(map(len, ladder.values())) - 0.6, 0.6))
        axes.axis("off")

    yield picture("The taxonomy", draw, 330, 250)
    for density, members in ladder.items():
        exact, bound = (sum(hasattr(f, what) for f in members) for what in ("log_prob", "elbo"))
        yield Number(f"{density} families that know log q(x)", exact, len(members) if density == "tractable" else 0, 0)
        yield Number(f"{density} families that bound it", bound, 0 if density == "implicit" else len(members), 0)
    yield Number("families that can be sampled", sum(hasattr(f, "sample") for f in listed), len(listed), 0)


@page(
    CHAPTER,
    "Two directions of one divergence",
    "KL(p ‖ q) = E<sub>x∼p</sub> log p(x)/q(x) → min: &nbsp; maximum likelihood, of a given sample",
    "KL(q ‖ p) = E<sub>x∼q</sub> log q(x)/p(x) → min: &nbsp; variational inference, of a given density",
)
def two_directions(seed: int) -> Iterator[Number | Picture]:
    """One normal q is fitted to two bumps p. Maximum likelihood pays for every datum that q thinks impossible, so q
    covers both bumps and the valley between. The other direction pays for every draw of q where p is low, so q settles in one
    bump and does not know of the other: here the right one, on whose side it begins."""
    p = 0.5 * normal(AXIS, -2, 0.5) + 0.5 * normal(AXIS, 2, 0.5)
    space = Space([Real()])
    data = torch.cat([s * 2 + 0.5 * torch.randn(4000, 1) for s in (-1, 1)])
    covers, seeks = (Flow(space, transforms=[Elementwise(1)]) for _ in range(2))
    fit(covers, data, max_steps=400, learning_rate=0.02, validation=None, batch_size=512, seed=seed, progress=False)

    def log_p(x: Tensor) -> Tensor:
        bumps = torch.cat([-0.5 * ((x - 2) / 0.5) ** 2, -0.5 * ((x + 2) / 0.5) ** 2], dim=1)
        return bumps.logsumexp(1) - math.log(2 * 0.5 * math.sqrt(2 * math.pi))

    fit(seeks, data[4000:] - 1, max_steps=100, learning_rate=0.05, validation=None, seed=seed, progress=False)
    found = distill(seeks, log_p, max_steps=500, learning_rate=0.02, seed=seed, progress=False)
    wide, narrow = _mean_and_deviation(covers), _mean_and_deviation(seeks)

    def draw(axes: Axes) -> None:
        axes.fill_between(AXIS, p, color=INK, alpha=0.18, linewidth=0, label="p")
        axes.plot(AXIS, normal(AXIS, *wide), color=colour(0), label="KL(p ‖ q) covers")
        axes.plot(AXIS, normal(AXIS, *narrow), color=colour(1), linestyle=(0, (5, 1.5)), label="KL(q ‖ p) seeks")
        axes.set(xlim=(-5, 5), ylim=(0, 1.25), yticks=[])
        axes.legend(loc="upper left")

    yield picture("One normal, fitted both ways", draw)
    std = math.sqrt(4 + 0.25)
    yield Number("maximum likelihood: mean of q", wide[0], 0.0, 0.15)
    yield Number("maximum likelihood: deviation of q, that of p", wide[1], std, 0.1)
    share = p / p.sum()
    yield Number(
        "KL(p ‖ q) of the fit, nats: that of the best normal",
        of_probabilities(share, _share(*wide)).item(),
        of_probabilities(share, _share(0.0, std)).item(),
        0.02,
    )
    yield Number("variational: mean of q, that of a bump", narrow[0], 2.0, 0.1)
    yield Number("variational: deviation of q, that of a bump", narrow[1], 0.5, 0.05)
    yield Number("KL(q ‖ p) of the fit, nats: log 2, for half of p is missed", found.kl.value, math.log(2), 0.03)


@page(
    CHAPTER,
    "A factorised q is too sure of itself",
    "q(x) = ∏<sub>i</sub> q<sub>i</sub>(x<sub>i</sub>), &nbsp; KL(q ‖ p) → min",
    "Var q<sub>i</sub> = 1 / (Σ<sup>−1</sup>)<sub>ii</sub>",
)
def mean_field(seed: int) -> Iterator[Number | Picture]:
    """p is a normal whose two coordinates are strongly correlated, ρ = 0.9; q must have independent ones. Fitted by KL(q
    ‖ p), q stays inside the narrow ridge, so its variances are those of each coordinate given the other, not its own."""
    rho, space = 0.9, Space([Real(), Real()])
    covariance = torch.tensor([[1.0, rho], [rho, 1.0]])
    p = torch.distributions.MultivariateNormal(torch.zeros(2), covariance)
    q = Flow(space, transforms=[Elementwise(2)])
    found = distill(q, p.log_prob, max_steps=400, learning_rate=0.02, seed=seed, progress=False)
    drawn = q.sample(4000, seed=seed)

    def draw(axes: Axes) -> None:
        angle = torch.linspace(0, 2 * math.pi, 200)
        circle = torch.stack([angle.cos(), angle.sin()], 1)
        for radius in (1, 2):
            ellipse = radius * circle @ torch.linalg.cholesky(covariance).T
            axes.plot(*ellipse.T, color=INK, linewidth=1, alpha=0.6, label="p" if radius == 1 else None)
            axes.plot(*(radius * circle * drawn.std(0)).T, color=colour(1), label="q" if radius == 1 else None)
        axes.set_aspect("equal")
        axes.legend(loc="upper left")

    yield picture("One and two deviations", draw, 330, 250)
    conditional = math.sqrt(1 - rho**2)
    for i in range(2):
        yield Number(f"deviation of q in coordinate {i + 1}: √(1 − ρ²)", drawn[:, i].std().item(), conditional, 0.03)
    yield Number("KL(q ‖ p), nats: −½ log(1 − ρ²)", found.kl.value, -0.5 * math.log(1 - rho**2), 0.03)


def _mean_and_deviation(flow: Flow) -> tuple[float, float]:
    """Return mean and deviation of a flow that is one affine map, from the points that it takes to -1 and 1."""
    low, high = (float(flow.transform.inverse(torch.tensor([[z]]))[0]) for z in (-1.0, 1.0))
    return (low + high) / 2, abs(high - low) / 2


def _share(mean: float, std: float) -> Tensor:
    q = normal(AXIS, mean, std)
    return q / q.sum()
