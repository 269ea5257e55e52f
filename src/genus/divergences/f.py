"""Define f-divergences by one convex function each, for known probabilities, for models, and for critics.

D_f(p, q) = E_q f(p / q), f convex with f(1) = 0. All in nats (`BITS` nats are a bit); infinite where f makes it so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from genus.errors import DataError, GenusError
from genus.notebook import preformatted

__all__ = ["BITS", "DIVERGENCES", "Estimate", "FDivergence", "divergence", "of_probabilities"]

BITS = math.log(2)  # nats in a bit


@dataclass(frozen=True)
class FDivergence:
    """Define a divergence by its f, as functions of the log-ratio r = log p/q, which is what models and critics give.

    Attributes:
        value: r -> f(exp r), the integrand under q.
        value_under_p: r -> f(exp r) / exp r, the integrand under p; where q is small, the other would overflow.
        at_infinity: the limit of f(u) / u: what mass of p costs where q has none.
        at_zero: f(0): what mass of q costs where p has none.
        witness: r -> f'(exp r), the best critic's output, by which D_f = E_p T - E_q f*(T).
        conjugate: T -> f*(T) = sup_u (u T - f(u)).
        conjugate_of_witness: r -> f*(f'(exp r)), in one formula, as the composition of the two would overflow.
    """

    name: str
    value: Callable[[Tensor], Tensor]
    value_under_p: Callable[[Tensor], Tensor]
    at_infinity: float
    at_zero: float
    witness: Callable[[Tensor], Tensor]
    conjugate: Callable[[Tensor], Tensor]
    conjugate_of_witness: Callable[[Tensor], Tensor]

    def _repr_html_(self) -> str:
        return preformatted(f"f-divergence {self.name!r}: f(0) = {self.at_zero:.4g}, f(u) / u -> {self.at_infinity:.4g}")


def _jensen_shannon(r: Tensor) -> Tensor:
    # (u log u - (u + 1) log((u + 1) / 2)) / 2, without overflow
    return 0.5 * (r.exp() * (BITS - F.softplus(-r)) + BITS - F.softplus(r))


DIVERGENCES = {
    d.name: d
    for d in (
        FDivergence(
            "kl",
            lambda r: r.exp() * r,
            lambda r: r,
            math.inf,
            0.0,
            lambda r: r + 1,
            lambda t: (t - 1).exp(),
            torch.exp,
        ),
        FDivergence(
            "reverse-kl",
            lambda r: -r,
            lambda r: -r * (-r).exp(),
            0.0,
            math.inf,
            lambda r: -(-r).exp(),
            lambda t: -1 - (-t).log(),
            lambda r: r - 1,
        ),
        FDivergence(
            "jensen-shannon",
            _jensen_shannon,
            lambda r: _jensen_shannon(-r),
            0.5 * BITS,
            0.5 * BITS,
            lambda r: 0.5 * (BITS - F.softplus(-r)),
            lambda t: -0.5 * (2 - (2 * t).exp()).log(),
            lambda r: 0.5 * (F.softplus(r) - BITS),
        ),
        FDivergence(
            "total-variation",
            lambda r: 0.5 * torch.expm1(r).abs(),
            lambda r: 0.5 * torch.expm1(-r).abs(),
            0.5,
            0.5,
            lambda r: 0.5 * torch.tanh(r),  # a smooth stand-in for sign(r) / 2, which it never passes
            lambda t: t,
            lambda r: 0.5 * torch.tanh(r),
        ),
        FDivergence(
            "chi-squared",
            lambda r: torch.expm1(r).square(),
            lambda r: -torch.expm1(r) * torch.expm1(-r),
            math.inf,
            1.0,
            lambda r: 2 * (r.exp() - 1),
            lambda t: 0.25 * t.square() + t,
            lambda r: torch.expm1(2 * r),
        ),
        FDivergence(
            "squared-hellinger",
            lambda r: 0.5 * torch.expm1(0.5 * r).square(),
            lambda r: 0.5 * torch.expm1(-0.5 * r).square(),
            0.5,
            0.5,
            lambda r: 0.5 * (1 - (-0.5 * r).exp()),
            lambda t: t / (1 - 2 * t),
            lambda r: 0.5 * torch.expm1(0.5 * r),
        ),
    )
}


def divergence(name: str) -> FDivergence:
    """Return the divergence of a name.

    Raises:
        GenusError: there is none.
    """
    if name not in DIVERGENCES:
        raise GenusError(f"There is no divergence {name!r}; there are {', '.join(DIVERGENCES)}.")
    return DIVERGENCES[name]


def of_probabilities(p: Tensor, q: Tensor, name: str = "kl") -> Tensor:
    """Return D_f(p, q) in nats, (...), of probabilities p and q (..., K) of the same K states; infinite where their supports
    make it so.

    >>> p, q = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])
    >>> of_probabilities(p, q, "kl"), of_probabilities(q, p, "kl"), of_probabilities(p, q, "total-variation")
    (tensor(0.6931), tensor(inf), tensor(0.5000))
    """
    if p.shape[-1:] != q.shape[-1:]:
        raise DataError(f"Expected probabilities of the same states; got {tuple(p.shape)} and {tuple(q.shape)}.")
    kind = torch.promote_types(torch.promote_types(p.dtype, q.dtype), torch.float32)
    p, q = p.double(), q.double()
    for one in (p, q):
        if not bool((one >= 0).all()) or not torch.allclose(one.sum(-1), one.new_ones(()), atol=1e-4):
            raise DataError("Expected probabilities: numbers of at least 0 whose sum over the last axis is 1.")
    # Rounded probabilities of the same number of states differ in their sum, which is no divergence.
    p, q = (one / one.sum(-1, keepdim=True).detach() for one in (p, q))
    d = divergence(name)
    both = (p > 0) & (q > 0)
    r = torch.where(both, p, 1.0).log() - torch.where(both, q, 1.0).log()
    each = torch.where(r > 0, p * d.value_under_p(r.clamp(min=0.0)), q * d.value(r.clamp(max=0.0)))
    alone, lacking = (
        # A number times infinity has no gradient, though it may be chosen nowhere.
        torch.where((one > 0) & (other == 0), one * limit if limit < math.inf else torch.full_like(one, math.inf), 0.0)
        for one, other, limit in ((p, q, d.at_infinity), (q, p, d.at_zero))
    )
    return (torch.where(both, each, 0.0) + alone + lacking).sum(-1).clamp(min=0.0).to(kind)


class Estimate(NamedTuple):
    """Hold a number and how far it may be trusted; an f-divergence is in nats.

    Attributes:
        value: infinity where it is known to be infinite.
        error: its standard error over draws; 0 where there were none.
        label: "exact"; "estimate", a mean over draws; "bound", an estimate of a number that lies below the true one; "upper
            bound", of one that lies above.
        reason: why it, or its error, is infinite, in words; empty otherwise.
    """

    value: float
    error: float = 0.0
    label: Literal["exact", "estimate", "bound", "upper bound"] = "estimate"
    reason: str = ""

    @property
    def bits(self) -> float:
        """Return the value in bits, if it is in nats."""
        return self.value / BITS

    @classmethod
    def of(cls, draws: Tensor) -> Estimate:
        """Return the mean of draws (N,) with its standard error."""
        return cls(float(draws.mean()), float(draws.std() / math.sqrt(len(draws))))
