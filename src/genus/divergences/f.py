"""f-divergences: one convex function each, for known probabilities, for models, and for critics.

D_f(p, q) = E_q f(p / q), f convex with f(1) = 0. All in nats (`BITS` nats are a bit); infinite where f makes it so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from genus.errors import DataError, GenusError
from genus.model import TractableDensity

__all__ = ["BITS", "DIVERGENCES", "Estimate", "FDivergence", "between", "of_probabilities"]

BITS = math.log(2)  # nats in a bit


@dataclass(frozen=True)
class FDivergence:
    """A divergence by its f, as functions of the log-ratio r = log p/q, which is what models and critics give.

    Attributes:
        value: r -> f(exp r), the integrand under q.
        steep: the limit of f(u) / u: what mass of p costs where q has none.
        witness: r -> f'(exp r), the best critic's output, by which D_f = E_p T - E_q f*(T).
        conjugate: T -> f*(T) = sup_u (u T - f(u)).
    """

    name: str
    value: Callable[[Tensor], Tensor]
    steep: float
    at_zero: float
    witness: Callable[[Tensor], Tensor]
    conjugate: Callable[[Tensor], Tensor]


def _jensen_shannon(r: Tensor) -> Tensor:
    # (u log u - (u + 1) log((u + 1) / 2)) / 2, without overflow
    return 0.5 * (r.exp() * (BITS - F.softplus(-r)) + BITS - F.softplus(r))


DIVERGENCES = {
    d.name: d
    for d in (
        FDivergence("kl", lambda r: r.exp() * r, math.inf, 0.0, lambda r: r + 1, lambda t: (t - 1).exp()),
        FDivergence("reverse-kl", lambda r: -r, 0.0, math.inf, lambda r: -(-r).exp(), lambda t: -1 - (-t).log()),
        FDivergence(
            "jensen-shannon",
            _jensen_shannon,
            0.5 * BITS,
            0.5 * BITS,
            lambda r: 0.5 * (BITS - F.softplus(-r)),
            lambda t: -0.5 * (2 - (2 * t).exp()).log(),
        ),
        FDivergence(
            "total-variation",
            lambda r: 0.5 * (r.exp() - 1).abs(),
            0.5,
            0.5,
            lambda r: 0.5 * torch.tanh(r),  # a smooth stand-in for sign(r) / 2, which it never passes
            lambda t: t,
        ),
        FDivergence(
            "chi-squared",
            lambda r: (r.exp() - 1).square(),
            math.inf,
            1.0,
            lambda r: 2 * (r.exp() - 1),
            lambda t: 0.25 * t.square() + t,
        ),
        FDivergence(
            "squared-hellinger",
            lambda r: 0.5 * ((0.5 * r).exp() - 1).square(),
            0.5,
            0.5,
            lambda r: 0.5 * (1 - (-0.5 * r).exp()),
            lambda t: t / (1 - 2 * t),
        ),
    )
}


def divergence(name: str) -> FDivergence:
    """The divergence of that name.

    Raises:
        GenusError: there is none.
    """
    if name not in DIVERGENCES:
        raise GenusError(f"There is no divergence {name!r}; there are {', '.join(DIVERGENCES)}.")
    return DIVERGENCES[name]


def of_probabilities(p: Tensor, q: Tensor, name: str = "kl") -> Tensor:
    """p, q (..., K), probabilities of the same K states -> (...): D_f(p, q) in nats; infinite where the supports make it so.

    >>> p, q = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])
    >>> of_probabilities(p, q, "kl"), of_probabilities(q, p, "kl"), of_probabilities(p, q, "total-variation")
    (tensor(0.6931), tensor(inf), tensor(0.5000))
    """
    for one in (p, q):
        if bool((one < 0).any()) or not torch.allclose(one.sum(-1), one.new_ones(()), atol=1e-4):
            raise DataError("Expected probabilities: numbers of at least 0 whose sum over the last axis is 1.")
    d = divergence(name)
    both = (p > 0) & (q > 0)
    each = torch.where(both, q * d.value(torch.where(both, p, 1.0).log() - torch.where(both, q, 1.0).log()), 0.0)
    alone = torch.where((p > 0) & (q == 0), p * d.steep if d.steep else torch.zeros_like(p), 0.0)
    lacking = torch.where((q > 0) & (p == 0), q * d.at_zero if d.at_zero else torch.zeros_like(q), 0.0)
    return (each + alone + lacking).sum(-1)


class Estimate(NamedTuple):
    """A mean over draws and its standard error, in nats."""

    value: float
    error: float

    @classmethod
    def of(cls, draws: Tensor) -> Estimate:
        """The mean of draws (N,)."""
        return cls(float(draws.mean()), float(draws.std() / math.sqrt(len(draws))))


@torch.no_grad()
def between(p: TractableDensity, q: TractableDensity, name: str = "kl", samples: int = 10_000, seed: int = 0) -> Estimate:
    """D_f of two models of one space, by Monte Carlo.

    KL(p || q) is the mean of log p/q over draws of p; the other way round over draws of q. Others weigh each point by the
    mean m of p and q, of which half of the draws are p's and half q's: the weights are then at most 2.

    Raises:
        DataError: the models are not of one space, or have a context.
    """
    if p.space != q.space or p.context is not None or q.context is not None:
        raise DataError("Divergences are between models of one space without a context; these differ.")
    if name == "kl":
        x = p.sample(samples, seed=seed)
        draws = p.log_prob(x) - q.log_prob(x)
    elif name == "reverse-kl":
        x = q.sample(samples, seed=seed)
        draws = q.log_prob(x) - p.log_prob(x)
    else:
        half = samples // 2
        x = torch.cat([p.sample(half, seed=seed), q.sample(half, seed=seed + 1)])
        log_p, log_q = p.log_prob(x).double(), q.log_prob(x).double()
        r = log_p - log_q
        # Under m = (p + q) / 2 the weight q / m is 2 / (1 + exp r); where q has no mass its limit is of f(u) / u.
        draws = divergence(name).value(r) * 2 * torch.sigmoid(-r)
        draws = torch.where(r > 50, 2 * divergence(name).steep, draws)
    return Estimate.of(draws)
