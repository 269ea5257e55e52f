"""The laws of an f-divergence, D_f(p, q) = E_q f(p / q), and of a critic's game, on probabilities and on normals."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Normal

from genus.divergences.f import DIVERGENCES, FDivergence
from genus.divergences.games import Game
from genus.divergences.gaussians import of_gaussians
from genus.laws.core import require, require_close

__all__ = [
    "closed_form_is_quadrature",
    "conjugate_is_the_supremum",
    "f_is_convex_and_zero_at_one",
    "limits_are_those_of_f",
    "the_best_critic_gives_the_distance",
    "the_best_witness_gives_the_divergence",
]

P, Q = torch.tensor([6, 1, 3, 2]), torch.tensor([2, 5, 3, 2])  # counts of four states, of twelve
RATIOS = torch.linspace(-6, 6, 61, dtype=torch.float64)  # logarithms of p / q
EXTREME = 30.0  # a logarithm of p / q at which f is near its limits
STEPS = 300  # of the search for the best critic


def f_is_convex_and_zero_at_one(d: FDivergence) -> None:
    """Check that f(1) = 0 and that f is convex, so that D_f(p, q) is 0 at least, and `value_under_p` is f(u) / u."""
    one = torch.zeros(1, dtype=torch.float64)
    at_one = float(d.value(one))
    require(abs(at_one) < 1e-9, f"{d.name}: f(1) is {at_one:.3g}, not 0, so that the divergence of p from itself is not 0")
    u = torch.linspace(0.01, 20, 2000, dtype=torch.float64)
    bend = float(d.value(u.log()).diff(n=2).min())
    require(bend > -1e-9, f"{d.name}: f is not convex; a second difference is {bend:.3g}")
    r = RATIOS
    require_close(d.value_under_p(r), d.value(r) * (-r).exp(), f"{d.name}: value_under_p(r) is not f(u) / u, u = exp(r)", 1e-8)


def limits_are_those_of_f(d: FDivergence) -> None:
    """Check that `at_zero` is f(0), and `at_infinity` the limit of f(u) / u: what mass costs where the other has none."""
    far = torch.tensor([EXTREME], dtype=torch.float64)
    for name, limit, near in (
        ("at_zero", d.at_zero, float(d.value(-far))),
        ("at_infinity", d.at_infinity, float(d.value_under_p(far))),
    ):
        holds = near > EXTREME / 2 if math.isinf(limit) else abs(near - limit) < 1e-5
        require(holds, f"{d.name}: {name} is {limit:.6g}, and f says {near:.6g} at a log-ratio of {EXTREME:.0f}")


def conjugate_is_the_supremum(d: FDivergence) -> None:
    """Check that f*(T) = sup over u of u T - f(u), at all T = witness(r), and that `conjugate_of_witness` is f*(T)."""
    r, fine = RATIOS, torch.linspace(-8, 8, 16001, dtype=torch.float64)
    t = d.witness(r)
    supremum = (fine.exp() * t[:, None] - d.value(fine)).amax(1)
    require_close(d.conjugate(t), supremum, f"{d.name}: its conjugate is not the supremum of u T - f(u)", 1e-5)
    require_close(
        d.conjugate_of_witness(r), d.conjugate(t), f"{d.name}: conjugate_of_witness(r) is not the conjugate of witness(r)", 1e-8
    )


def the_best_witness_gives_the_divergence(d: FDivergence) -> None:
    """Check that E_p T - E_q f*(T) is D_f(p, q) for the best witness T, and no witness passes it."""
    p, q = P.double() / P.sum(), Q.double() / Q.sum()
    true = float((q * d.value((p / q).log())).sum())
    outputs = torch.cat([(p / q).log(), torch.linspace(-EXTREME, EXTREME, 2001, dtype=torch.float64)])
    # The best is sought for every state by itself, whatever a critic says there.
    best = p[:, None] * d.witness(outputs) - q[:, None] * d.conjugate_of_witness(outputs)
    found = float(best.nan_to_num(-math.inf).amax(1).sum())
    require(
        abs(found - true) < 1e-6,
        f"{d.name}: the best witness gives {found:.6g} nats, the divergence is {true:.6g}; witness is not f', or conjugate_of_"
        "witness is not that of it",
    )


def closed_form_is_quadrature(d: FDivergence) -> bool:
    """Check that the closed form between normals is the integral of q f(p / q); False where there is none."""
    p, q = Normal(0.0, 1.0), Normal(0.7, 1.0)
    closed = of_gaussians(p, q, d.name)
    if closed is None:
        return False
    x = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    log_p, log_q = p.log_prob(x), q.log_prob(x)
    found = float((log_q.exp() * d.value(log_p - log_q)).sum() * (x[1] - x[0]))
    near = abs(found - closed) < 1e-4 * max(1.0, abs(closed))
    require(near, f"{d.name}: its closed form between two normals is {closed:.6g}, and quadrature of f says {found:.6g}")
    return True


def the_best_critic_gives_the_distance(game: Game) -> bool:
    """Check that the loss of the best critic gives the distance that the game estimates.

    And that a generator's loss is lower where its rows are scored as real ones are. False where the distance is not one that is
    known here: a divergence by name, Le Cam's, Jensen-Shannon's of pairs, or of critics nowhere steeper than 1.
    """
    if game.lipschitz:
        x = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        found = float(game.distance(game.critic(x, x - 3.0)))  # the critic x -> x is the best one of a shift
        require(abs(found - 3) < 1e-9, f"{game.name}: the best critic's distance of samples that are 3 apart is {found:.6g}")
        _generator_gains(game, x, x - 3.0)
        return True
    true = _true_distance(game)
    if true is None:
        return False
    # All pairs of samples, so that means over rows are expectations, of paired losses too.
    real = torch.arange(len(P)).repeat_interleave(P).repeat_interleave(int(Q.sum()))
    fake = torch.arange(len(Q)).repeat_interleave(Q).repeat(int(P.sum()))
    scores = torch.zeros(len(P), dtype=torch.float64)
    best = -math.inf
    for start in (scores, (P / Q).log().double(), (P - Q).sign().double()):
        scores = start.clone().requires_grad_()
        optimizer = torch.optim.LBFGS([scores], max_iter=STEPS, line_search_fn="strong_wolfe", tolerance_change=1e-12)

        def loss(scores: Tensor = scores, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
            optimizer.zero_grad()
            value = game.critic(scores[real], scores[fake])
            value.backward()
            return value

        with torch.enable_grad():
            optimizer.step(loss)
        best = max(best, float(game.distance(loss().detach())))
    require(
        abs(best - true) < 1e-3 * max(1.0, true),
        f"{game.name}: the best critic's loss gives the distance {best:.6g}, and it is {true:.6g} ({game.estimates})",
    )
    _generator_gains(game, scores.detach()[real], scores.detach()[fake])
    return True


def _generator_gains(game: Game, real: Tensor, fake: Tensor) -> None:
    """Raise a `LawError` unless a generator's loss falls when its rows are scored as real ones."""
    gains = float(game.generator(real, real)) < float(game.generator(real, fake))
    require(gains, f"{game.name}: the generator's loss is no lower where its rows are scored as real ones are")


def _true_distance(game: Game) -> float | None:
    """Return the distance that a game estimates, by its definition on four states; None where it is unknown."""
    p, q = P.double() / P.sum(), Q.double() / Q.sum()
    if game.estimates.startswith("Le Cam"):
        return float(((p - q).square() / (2 * (p + q))).sum())
    if game.paired and game.estimates.startswith("jensen-shannon"):
        p, q = torch.outer(p, q).flatten(), torch.outer(q, p).flatten()
        d: FDivergence | None = DIVERGENCES["jensen-shannon"]
    else:
        d = DIVERGENCES.get(game.estimates)
    return None if d is None else float((q * d.value((p / q).log())).sum())
