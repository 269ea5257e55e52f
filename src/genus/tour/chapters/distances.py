"""The earth mover's distance: by couplings, by linear programming, by a critic, and why a generator wants it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from genus.divergences import (
    dual,
    frequencies,
    gradient_norm,
    gradient_penalty,
    jensen_shannon,
    kl,
    sinkhorn,
    sliced_wasserstein,
    transport,
    variational,
    wasserstein,
)
from genus.evaluation.svg import INK, colour
from genus.tour.pages import Number, Picture, page, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHAPTER = "Distances"


def line(theta: float, z: Tensor) -> Tensor:
    """Return the points (theta, z)."""
    return torch.stack([torch.full_like(z, theta), z], 1)


def solve_linear_program(cost: Tensor) -> tuple[float, float]:
    """Return the value of the linear program of a coupling with equal weights and the value of its dual, by SciPy."""
    from scipy.optimize import linprog

    n, m = cost.shape
    marginals = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    weights = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    primal = linprog(cost.numpy().ravel(), A_eq=marginals, b_eq=weights)
    other = linprog(-weights, A_ub=marginals.T, b_ub=cost.numpy().ravel(), bounds=(None, None))
    return primal.fun, -other.fun


@page(
    CHAPTER,
    "Two parallel lines",
    "z ∼ U[0, 1], &nbsp; p = (0, z), &nbsp; q = (θ, z)",
    "θ ≠ 0: &nbsp; KL(p ‖ q) = KL(q ‖ p) = ∞, &nbsp; JS = 1 bit, &nbsp; W₁ = |θ|",
)
def parallel_lines(seed: int) -> Iterator[Number | Picture]:
    """Two distributions lie on lines that do not touch, and a generator may move its line. The divergences that compare
    densities say infinity, or one bit, however near the lines are: no slope leads the generator home. The earth mover’s
    distance is the distance, and its slope is 1 all the way."""
    z, theta = torch.rand(40, dtype=torch.float64), 0.7
    x, y = line(0.0, z), line(theta, z)
    p, q = frequencies(x, y)
    yield picture("The lines, and the way of some points", lambda axes: _draw_lines(axes, x, y))
    thetas = [-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0]
    measured = [(jensen_shannon(*frequencies(x, line(t, z))).bits, wasserstein(x, line(t, z)).value) for t in thetas]

    def draw(axes: Axes) -> None:
        axes.plot(thetas, [w for _, w in measured], "o-", markersize=4, color=colour(2), label="W₁")
        axes.plot(thetas, [js for js, _ in measured], "s", markersize=4.5, color=colour(0), label="JS, bits")
        axes.set(xlabel="θ", ylim=(-0.05, 1.3))
        axes.legend(loc="upper center", ncols=2)

    yield picture("What a generator sees of θ", draw)
    yield Number("KL(p ‖ q)", kl(p, q).value, math.inf)
    yield Number("KL(q ‖ p)", kl(q, p).value, math.inf)
    yield Number("JS at θ = 0.7, bits", jensen_shannon(p, q).bits, 1.0, 1e-9)
    yield Number("JS at θ = 0.01, bits", jensen_shannon(*frequencies(x, line(0.01, z))).bits, 1.0, 1e-9)
    yield Number("JS at θ = 0, bits", jensen_shannon(*frequencies(x, x)).bits, 0.0, 1e-9)
    yield Number("W₁ at θ = 0.7, by the coupling", transport(x, y).distance.item(), theta, 1e-9)
    primal, other = solve_linear_program(torch.cdist(x, y))
    yield Number("W₁, by a linear program", primal, theta, 1e-9)
    yield Number("W₁, by the dual of that program", other, theta, 1e-9)
    yield Number("W₁ at θ = 0", wasserstein(x, x).value, 0.0, 1e-9)
    # By critics, of points on either line.
    points, others = line(0.0, torch.rand(1000)), line(theta, torch.rand(1000))
    found = dual(points, others, "spectral-norm", steps=200, seed=seed)
    yield Number("W₁, by a critic that is 1-Lipschitz", found.estimate.value, theta, 0.07)
    bound, discriminator = variational(points, others, steps=300, seed=seed)
    yield Number("JS by a discriminator, bits", bound.bits, 1.0, 0.02)
    # What each tells the generator of its θ.
    moved = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    distance = transport(x, torch.stack([moved.expand(40), z], 1)).distance
    yield Number("slope of W₁ in θ, through the coupling", torch.autograd.grad(distance, moved)[0].item(), 1.0, 1e-9)
    step = (jensen_shannon(*frequencies(x, line(theta + 0.01, z))).bits - jensen_shannon(p, q).bits) / 0.01
    yield Number("slope of JS in θ", step, 0.0, 1e-9)
    slopes = []
    for critic, loss in ((found.critic, lambda f: -f), (discriminator, lambda f: -torch.nn.functional.softplus(f))):
        at = others.clone().requires_grad_()
        slopes.append(torch.autograd.grad(loss(critic(at)).sum(), at)[0][:, 0].mean().item())
    yield Number("slope that the Lipschitz critic gives the generator", slopes[0], 1.0, 0.1)
    yield Number("slope that the discriminator gives it, minimax: vanishing", abs(slopes[1]), 0.1, 0.0, "≤")


def _draw_lines(axes: Axes, x: Tensor, y: Tensor) -> None:
    for a, b in zip(x[:12].tolist(), y[:12].tolist(), strict=True):
        axes.annotate("", b, a, arrowprops={"arrowstyle": "->", "color": INK, "alpha": 0.4, "linewidth": 0.8})
    axes.plot(*x.T, "o", markersize=3, color=colour(0), label="p")
    axes.plot(*y.T, "o", markersize=3, color=colour(1), label="q")
    axes.set(xlim=(-0.3, 1.0), ylim=(-0.05, 1.05))
    axes.legend(loc="center right")


@page(
    CHAPTER,
    "The cheapest coupling",
    "W₁(p, q) = inf<sub>γ</sub> E<sub>(x,y)∼γ</sub> ‖x − y‖, &nbsp; ∫ γ(x, y) dy = p(x), &nbsp; ∫ γ(x, y) dx = q(y)",
)
def coupling(seed: int) -> Iterator[Number | Picture]:
    """A coupling says how much earth goes from where to where, so that the heaps of p become the heaps of q at the least
    cost. It is a linear program, and its dual has the same value."""
    x, y = torch.randn(12, 2, dtype=torch.float64), torch.randn(18, 2, dtype=torch.float64) * 0.6 + torch.tensor([2.5, 0.5])
    found = transport(x, y)

    def draw(axes: Axes) -> None:
        for i, j, mass in zip(found.source, found.target, found.mass.tolist(), strict=True):
            axes.plot(*torch.stack([x[i], y[j]]).T, color=INK, alpha=0.35, linewidth=40 * mass)
        axes.plot(*x.T, "o", markersize=6, color=colour(0), label="p: 12 points")
        axes.plot(*y.T, "o", markersize=4.5, color=colour(1), label="q: 18 points")
        axes.legend(fontsize=8.5)

    yield picture("12 heaps become 18", draw, 330, 240)
    primal, other = solve_linear_program(torch.cdist(x, y))
    yield Number("W₁ of the coupling, less that of a linear program", found.distance.item() - primal, 0.0, 1e-7)
    yield Number("primal less dual", primal - other, 0.0, 1e-7)
    yield Number("largest error of p’s marginal", (found.coupling.sum(1) - 1 / 12).abs().max().item(), 0.0, 1e-9)
    yield Number("largest error of q’s marginal", (found.coupling.sum(0) - 1 / 18).abs().max().item(), 0.0, 1e-9)
    yield Number("moves, at most N + M − 1", len(found.mass), 12 + 18 - 1, 0, "≤")
    a, b = torch.rand(300), torch.rand(200) ** 2
    yield Number("on a line: W₁ less the area between distribution functions", wasserstein(a, b).value - _area(a, b), 0.0, 1e-5)


def _area(a: Tensor, b: Tensor) -> float:
    """Return the area between two empirical distribution functions."""
    at = torch.cat([a, b]).sort().values
    below = [(torch.searchsorted(one.sort().values, at[:-1], right=True) / len(one)) for one in (a, b)]
    return ((below[0] - below[1]).abs() @ at.diff()).item()


def circles(n: int) -> tuple[Tensor, Tensor]:
    """Draw n points on each of two circles of radius 1 and 3, at a distance of 2."""
    angle = 2 * math.pi * torch.rand(2 * n)
    points = torch.stack([angle.cos(), angle.sin()], 1)
    return points[:n], 3 * points[n:]


@page(
    CHAPTER,
    "Kantorovich and Rubinstein",
    "W₁(p, q) = sup { E<sub>p</sub> f − E<sub>q</sub> f : |f(x) − f(y)| ≤ |x − y| }",
)
def lipschitz_critic(seed: int) -> Iterator[Number | Picture]:
    """The same distance has another side: it is the largest difference in height that a landscape of slope at most 1 can
    have between p and q. A critic is trained to be that landscape; between the two circles it is as steep as it may be,
    everywhere."""
    x, y = circles(2000)
    found = dual(x, y, steps=500, seed=seed)
    share = torch.rand(1000, 1)
    angle = 2 * math.pi * torch.rand(1000)
    between = torch.stack([angle.cos(), angle.sin()], 1) * (1 + 2 * share)
    slopes = gradient_norm(found.critic, between).detach()
    axis = torch.linspace(-3.6, 3.6, 121)
    with torch.no_grad():
        heights = found.critic(torch.cartesian_prod(axis, axis)).view(121, 121)

    def draw(axes: Axes) -> None:
        axes.contourf(axis, axis, heights.T, levels=16, cmap="Blues", alpha=0.75)
        axes.plot(*x[:200].T, ".", markersize=3, color=colour(1))
        axes.plot(*y[:300].T, ".", markersize=3, color=colour(2))
        axes.set_aspect("equal")

    yield picture("The critic’s landscape", draw, 330, 280)
    yield Number("W₁ by the critic, held-out points", found.estimate.value, 2.0, 0.2)
    yield Number("W₁ by the coupling of 500 points", transport(x[:500], y[:500]).distance.item(), 2.0, 0.1)
    yield Number("mean slope between the circles", slopes.mean().item(), 1.0, 0.1)
    yield Number("deviation of these slopes", slopes.std().item(), 0.15, 0.0, "≤")


@page(
    CHAPTER,
    "Clipping against penalty",
    "L<sub>D</sub> = −E<sub>p</sub> D + E<sub>q</sub> D, &nbsp; |w| ≤ c",
    "L<sub>D</sub> = −E<sub>p</sub> D + E<sub>q</sub> D + λ E (‖∇<sub>x</sub>D‖ − 1)²",
)
def clipping_and_penalty(seed: int) -> Iterator[Number | Picture]:
    """There are three ways to keep a critic from being steep. Clipped weights pile up at the limit and make a critic of some
    unknown slope, too simple a landscape. A penalty asks for slope 1 where it matters; a spectral norm makes every layer
    keep it."""
    x, y = circles(1500)
    found = {c: dual(x, y, c, steps=400, seed=seed) for c in ("clipping", "gradient-penalty", "spectral-norm")}
    between = torch.lerp(x, y, torch.rand(len(x), 1))
    slopes = {name: gradient_norm(one.critic, between).detach() for name, one in found.items()}

    def draw(axes: Axes) -> None:
        for i, (name, values) in enumerate(slopes.items()):
            counts, edges = np.histogram(values, bins=40, range=(0, 1.4))
            axes.stairs(counts / len(values), edges, color=colour(i), linewidth=1.5, label=name)
        axes.axvline(1, color=INK, linewidth=0.8, alpha=0.6)
        axes.set(xlabel="|∇D| between p and q", yticks=[], xlim=(0, 1.4))
        axes.legend(loc="upper left", fontsize=8.5)

    yield picture("Slopes of three critics", draw)
    weights = torch.cat([w.detach().flatten() for w in found["clipping"].critic.net.parameters()])

    def pile(axes: Axes) -> None:
        axes.hist(weights.numpy(), bins=41, color=colour(0))
        axes.set(xlabel="weights of the clipped critic", yticks=[])

    yield picture("Where clipped weights go", pile)
    for name in ("gradient-penalty", "spectral-norm"):
        yield Number(f"W₁ by {name}", found[name].estimate.value, 2.0, 0.2)
        yield Number(f"median slope, {name}", slopes[name].median().item(), 1.0, 0.12)
    yield Number("W₁ by clipping, the slope divided out: a bound", found["clipping"].estimate.value, 2.0, 0.05, "≤")
    yield Number("median slope, clipping: not 1", slopes["clipping"].median().item(), 0.7, 0.0, "≤")
    at_limit = (weights.abs() > 0.049).float().mean().item()
    yield Number("share of clipped weights at the limit", at_limit, 0.2, 0.0, "≥")


@page(
    CHAPTER,
    "The gradient penalty of every example",
    "E (‖∇<sub>x</sub>D(x)‖<sub>2</sub> − 1)², &nbsp; and centred at zero, E ‖∇<sub>x</sub>D(x)‖²",
)
def penalty(seed: int) -> Iterator[Number | Picture]:
    """A linear critic D(x) = w · x with |w| = 2 has slope 2 everywhere, so its penalty is (2 − 1)² = 1, whether x is a
    row or an image: the norm is over all of an example, and over nothing else."""
    for shape in ((4,), (1, 28, 28), (3, 8, 8), (2, 5, 7)):
        w = torch.randn(shape, dtype=torch.float64)
        w = 2 * w / w.norm()
        real, fake = torch.randn(2, 6, *shape, dtype=torch.float64)
        value = gradient_penalty(lambda x, w=w: (x * w).flatten(1).sum(1), real, fake).item()  # type: ignore[misc]
        yield Number(f"penalty of inputs of shape {' × '.join(map(str, shape))}", value, 1.0, 1e-9)
    centred = gradient_penalty(lambda x: (x * w).flatten(1).sum(1), real, fake, centre=0.0).item()
    yield Number("the same centred at zero: |w|²", centred, 4.0, 1e-9)


@page(CHAPTER, "Couplings smoothed by entropy", "min<sub>γ</sub> E<sub>γ</sub> ‖x − y‖ + ε KL(γ ‖ p ⊗ q) → W₁ &nbsp; as ε → 0")
def entropy(seed: int) -> Iterator[Number | Picture]:
    """A little entropy makes the coupling smooth and its computation a row of simple steps (Sinkhorn’s). It costs more
    than the exact one, and ever less as ε falls. Stopped too early it says so."""
    x, y = torch.randn(80, 2, dtype=torch.float64), torch.randn(60, 2, dtype=torch.float64) + 1.5
    exact = transport(x, y).distance.item()
    steps = [1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01]
    found = [sinkhorn(x, y, epsilon, max_iterations=5000) for epsilon in steps]

    def draw(axes: Axes) -> None:
        axes.semilogx(steps, [one.distance.item() for one in found], "o-", markersize=4, color=colour(0), label="smoothed")
        axes.axhline(exact, color=INK, linewidth=1, label="exact")
        axes.set(xlabel="ε")
        axes.legend()

    yield picture("From above", draw)
    yield Number("W₁ at ε = 0.01", found[-1].distance.item(), exact, 0.03)
    yield Number("least excess over the exact distance", min(one.distance.item() for one in found) - exact, 0.0, 1e-6, "≥")
    yield Number("runs that converged", sum(one.converged for one in found), len(found), 0)
    yield Number("converged after 2 steps at ε = 0.01", float(sinkhorn(x, y, 0.01, max_iterations=2).converged), 0.0, 0)


@page(
    CHAPTER,
    "A finite sample overstates the distance",
    "E W₁(p̂<sub>n</sub>, q̂<sub>n</sub>) ≥ W₁(p, q), &nbsp; slowly less with n, as n<sup>−1/D</sup>",
)
def finite_samples(seed: int) -> Iterator[Number | Picture]:
    """Two samples of one distribution are never at distance 0, and in many dimensions they are far apart. So a distance
    of samples means nothing without that of two real samples beside it. A critic that is
    evaluated on points it has not seen errs to the other side."""
    dims = [2, 4, 8, 16, 32, 64]
    same, moved = [], []
    for dim in dims:
        x, y, again = torch.randn(3, 400, dim, dtype=torch.float64)
        same.append(transport(x, again).distance.item())
        moved.append(transport(x, y + 4 / math.sqrt(dim)).distance.item())

    def draw(axes: Axes) -> None:
        axes.semilogx(dims, moved, "o-", markersize=4, color=colour(1), label="N(0, I) and its shift by 4")
        axes.semilogx(dims, same, "s-", markersize=4, color=colour(0), label="N(0, I) and itself")
        axes.axhline(4, color=INK, linewidth=0.8, alpha=0.6)
        axes.set(xlabel="dimensions", ylim=(0, None), xticks=dims)
        axes.legend(fontsize=8.5)

    yield picture("W₁ of 400 and 400 points", draw)
    yield Number("shift by 4 in 2 dimensions", moved[0], 4.0, 0.2)
    yield Number("shift by 4 in 64 dimensions: far above the truth", moved[-1], 8.0, 0.0, "≥")
    yield Number("no shift in 64 dimensions: far above 0", same[-1], 7.0, 0.0, "≥")
    x, y = torch.randn(3000, 64), torch.randn(3000, 64) + 0.5
    found = dual(x, y, "spectral-norm", steps=300, seed=seed).estimate
    yield Number("a held-out critic in 64 dimensions: below the truth", found.value, 4.0, 3 * found.error, "≤")
    yield Number("and not far below it", found.value, 3.4, 0.0, "≥")
    a, b = torch.randn(4000, 16), torch.randn(4000, 16)
    b[:, 0] += 4
    yield Number("seen from random directions, W₂ in 16 dimensions: 4/√16", sliced_wasserstein(a, b).item(), 1.0, 0.1)
