"""Models without a density, and the critic that teaches them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch.distributions import Normal

from genus.divergences import BITS, GAMES, jensen_shannon, kl, of_probabilities, variational, wasserstein
from genus.evaluation.svg import INK, colour
from genus.tour.chapters.models import AXIS, normal
from genus.tour.pages import Number, Picture, page, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHAPTER = "Implicit densities"


@page(
    CHAPTER,
    "The optimal discriminator",
    "max<sub>D</sub> E<sub>p</sub> log D(x) + E<sub>q</sub> log(1 − D(x)): &nbsp; D*(x) = p(x) / (p(x) + q(x))",
)
def optimal_discriminator(seed: int) -> Iterator[Number | Picture]:
    """At every point the best answer to “real or generated?” is the share of the real: a log m + b log(1 − m) is largest
    at m = a / (a + b). A network that has seen only samples of two normals finds this curve."""
    x, y = torch.randn(6000, 1) - 1, torch.randn(6000, 1) + 1
    _, critic = variational(x, y, steps=600, learning_rate=3e-3, seed=seed)
    p, q = normal(AXIS, -1, 1), normal(AXIS, 1, 1)
    best = p / (p + q)
    with torch.no_grad():
        learned = torch.sigmoid(critic(AXIS[:, None].float()))
    bulk = AXIS.abs() <= 3

    def draw(axes: Axes) -> None:
        axes.fill_between(AXIS, p, color=colour(0), alpha=0.2, linewidth=0, label="p")
        axes.fill_between(AXIS, q, color=colour(1), alpha=0.2, linewidth=0, label="q")
        axes.plot(AXIS, best, color=INK, linewidth=1, label="p / (p + q)")
        axes.plot(AXIS, learned, color=colour(2), linestyle=(0, (5, 1.5)), label="learned")
        axes.set(xlim=(-4, 4), ylim=(0, 1.02))
        axes.legend()

    yield picture("Learned, and known", draw)
    yield Number("largest error of D on [−3, 3]", (learned - best)[bulk].abs().max().item(), 0.0, 0.06)
    yield Number("D* where the densities are equal, at 0", learned[len(AXIS) // 2].item(), 0.5, 0.05)
    a, b, m = 0.3, 0.9, torch.linspace(0.001, 0.999, 9999, dtype=torch.float64)
    found = m[(a * m.log() + b * (1 - m).log()).argmax()].item()
    yield Number("where 0.3 log m + 0.9 log(1 − m) is largest", found, a / (a + b), 1e-3)


@page(
    CHAPTER,
    "What the discriminator’s value is",
    "V(D*) = E<sub>p</sub> log p/(p+q) + E<sub>q</sub> log q/(p+q) = −log 4 + 2 JS(p, q)",
    "JS(p, q) = ½ KL(p ‖ (p+q)/2) + ½ KL(q ‖ (p+q)/2)",
)
def value_of_the_game(seed: int) -> Iterator[Number | Picture]:
    """With the best discriminator, the generator’s loss is the Jensen–Shannon divergence, up to constants. A
    discriminator that is not the best gives less: a lower bound. (To measure against the mean (p+q)/2 already takes care
    of the log 4; a line that has both counts it twice.)"""
    p, q = (normal(AXIS, m, 1) for m in (-1, 1))
    p, q = p / p.sum(), q / q.sum()
    value = (p * (p / (p + q)).log() + q * (q / (p + q)).log()).sum().item()
    js = jensen_shannon(p, q).value
    mean = (p + q) / 2
    by_hand = 0.5 * (of_probabilities(p, mean) + of_probabilities(q, mean)).item()
    x, y = torch.randn(8000, 1) - 1, torch.randn(8000, 1) + 1
    bound, critic = variational(x, y, seed=seed)
    fresh = torch.randn(20_000, 1) - 1, torch.randn(20_000, 1) + 1
    with torch.no_grad():
        learned = -GAMES["minimax"].critic(critic(fresh[0]), critic(fresh[1])).item()
    yield Number("V(D*) by quadrature", value, -math.log(4) + 2 * js, 1e-9)
    yield Number("JS, half the sum of two KL to the mean", by_hand, js, 1e-9)
    yield Number("V in bits: −2 + 2 JS", value / BITS, -2 + 2 * js / BITS, 1e-9)
    yield Number("V of the learned discriminator, fresh samples", learned, value, 0.03)
    yield Number("JS by a held-out discriminator: a lower bound", bound.value, js, 3 * bound.error, "≤")
    draws = torch.randn(100)
    cannot_tell = -GAMES["minimax"].critic(torch.zeros_like(draws), torch.zeros_like(draws)).item()
    yield Number("V at p = q, where D* is 1/2: −log 4, its least", cannot_tell, -math.log(4), 1e-6)
    yield Number("JS there", jensen_shannon(p, p).value, 0.0, 1e-12)


@page(CHAPTER, "Jensen–Shannon is at most one bit", "0 ≤ JS(p, q) ≤ 1 bit, &nbsp; KL(p ‖ q) = θ²/2, &nbsp; W₁(p, q) = |θ|")
def one_bit(seed: int) -> Iterator[Number | Picture]:
    """Two normals at a distance θ. Jensen–Shannon rises to one bit, which says “no overlap”, and stays there: from then
    on it does not tell near from far. KL grows with the square, the earth mover’s distance with the distance itself."""
    thetas = torch.linspace(0, 8, 33)
    far = torch.linspace(-10, 20, 6001, dtype=torch.float64)
    p = normal(far, 0, 1)
    bits = [jensen_shannon(p / p.sum(), (q := normal(far, t, 1)) / q.sum()).bits for t in thetas.tolist()]
    still = Normal(0.0, 1.0)
    kls = torch.tensor([kl(still, Normal(t, 1.0)).bits for t in thetas.tolist()])
    points = torch.special.ndtri((torch.arange(2000) + 0.5) / 2000)
    moves = torch.tensor([wasserstein(points, points + t).value for t in thetas.tolist()])

    def draw(axes: Axes) -> None:
        axes.plot(thetas, bits, color=colour(0), label="JS, bits")
        axes.plot(thetas, kls, color=colour(1), linestyle=(0, (5, 1.5)), label="KL, bits")
        axes.plot(thetas, moves, color=colour(2), linestyle=(0, (2, 1.2)), label="W₁")
        axes.set(xlabel="θ", ylim=(0, 4))
        axes.legend()

    yield picture("Three distances of N(0, 1) and N(θ, 1)", draw)
    yield Number("JS at θ = 0, bits", bits[0], 0.0, 1e-9)
    yield Number("JS at θ = 8, bits", bits[-1], 1.0, 1e-3)
    yield Number("largest JS, bits", max(bits), 1.0, 0.0, "≤")
    slope = (bits[-1] - bits[-5]) / (thetas[-1] - thetas[-5]).item()
    yield Number("slope of JS from θ = 7 to 8", slope, 0.0, 1e-3)
    yield Number("KL at θ = 8, nats", kls[-1].item() * BITS, 8**2 / 2, 1e-3)
    yield Number("W₁ at θ = 8, of 2,000 quantiles of each", moves[-1].item(), 8.0, 1e-3)


@page(
    CHAPTER,
    "Gradients that saturate",
    "L<sub>G</sub> = log(1 − D(G(z))): slope −D in the log-odds",
    "L<sub>G</sub> = −log D(G(z)): slope −(1 − D)",
)
def saturation(seed: int) -> Iterator[Number | Picture]:
    """At the start the discriminator sees through the generator: D is near 0. The minimax loss is flat there, just where
    the generator has most to learn; turning it round to −log D keeps the fixed point and gives the steepest slope
    instead."""
    odds = torch.linspace(-8, 8, 161, dtype=torch.float64)
    slopes = {}
    for name in ("minimax", "non-saturating", "wasserstein"):
        at = odds.clone().requires_grad_()
        loss = GAMES[name].generator(at, at) * len(odds)  # a sum, not a mean
        slopes[name] = torch.autograd.grad(loss, at)[0]

    def draw(axes: Axes) -> None:
        for i, (name, slope) in enumerate(slopes.items()):
            axes.plot(odds, slope, color=colour(i), linestyle=("-", (0, (5, 1.5)), (0, (2, 1.2)))[i], label=name)
        axes.set(xlabel="log-odds of D: generated ← → real", ylabel="slope of the loss", ylim=(-1.15, 0.1))
        axes.legend(loc="center left", bbox_to_anchor=(0.0, 0.35))

    yield picture("What the generator is told", draw)
    d = 0.01
    at = torch.tensor([math.log(d / (1 - d))], dtype=torch.float64)
    for name, expected in (("minimax", -d), ("non-saturating", -(1 - d)), ("wasserstein", -1.0)):
        one = at.clone().requires_grad_()
        slope = torch.autograd.grad(GAMES[name].generator(one, one), one)[0].item()
        yield Number(f"slope of the {name} loss at D = 0.01", slope, expected, 1e-9)
    far = torch.tensor([-800.0], requires_grad=True)
    slope = torch.autograd.grad(GAMES["non-saturating"].generator(far, far), far)[0].item()
    yield Number("slope at log-odds −800, without overflow", slope, -1.0, 1e-6)
    logits = torch.tensor([0.0])
    least = GAMES["minimax"].critic(logits, logits).item()
    yield Number("loss of the discriminator that cannot tell: log 4", least, math.log(4), 1e-6)
