"""Normal variables one after another, known as points or as intervals: separation of variables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from genus.models.scores import Scored

__all__ = ["Chains", "arrange", "within"]

TINY = 1e-300  # the least mass of an interval: below, its logarithm would be -inf
HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)


def within(lower: Tensor, upper: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mass of intervals under a standard normal, and in each the place with this share of the mass below it.

    Args:
        lower, upper: the ends of the intervals.
        share: above 0, below 1.

    Returns:
        Two tensors: the masses, and the places.
    """
    flip = lower + upper > 0  # in the lower tail distribution functions keep their digits
    low = torch.special.ndtr(torch.where(flip, -upper, lower))
    mass = (torch.special.ndtr(torch.where(flip, -lower, upper)) - low).clamp(min=TINY)
    place = torch.special.ndtri((low + torch.where(flip, 1 - share, share) * mass).clamp(min=TINY))
    return mass, torch.where(flip, -place, place)


class Arranged(NamedTuple):
    """Holds what a recursion goes through in each of B rows, whose blanks come last.

    Attributes:
        steps: the scores (B,) of each step.
        factor, shares: as of `Chains`.
        order: (B, S) which column each step is of; None where it is the same for all rows, that of the columns.
    """

    steps: list[Scored]
    factor: Tensor
    shares: Tensor
    order: Tensor | None


def arrange(scored: Sequence[Scored], blank: Tensor | None, correlation: Tensor, shares: Tensor) -> Arranged:
    """Put the blanks of every row last: what is known then comes before what is not, and a chain's weight is known at once.

    Args:
        scored: the scores (B,) of S columns; those of a blank are the whole line.
        blank: (B, S) which of them are blanks; None: none.
        correlation: (S, S) of the columns.
        shares: (K, S) or (B, K, S) of the columns.
    """
    if blank is None or not bool(blank.any()):
        return Arranged([*scored], torch.linalg.cholesky(correlation), shares, None)
    patterns, which = blank.unique(dim=0, return_inverse=True)
    orders = patterns.byte().argsort(dim=1, stable=True)
    factor = torch.linalg.cholesky(correlation[orders[:, :, None], orders[:, None, :]])
    order = orders[which]
    fields = [torch.stack(values, dim=1).gather(1, order).unbind(1) for values in zip(*scored, strict=True)]
    steps = [Scored(*values) for values in zip(*fields, strict=True)]
    if shares.ndim == 2:
        return Arranged(steps, factor[which], shares[:, order].permute(1, 0, 2), order)
    return Arranged(steps, factor[which], shares.gather(2, order[:, None].expand_as(shares)), order)


class Chains:
    """Go through normal variables z = L e in turn, along K chains for each of B rows (Genz 1992).

    A variable known as a point has a density given those before it. One known to lie in an interval has a probability, and a
    chain goes on from the place in the interval that has a fixed share of this probability below it. Each chain is a density
    by the chain rule, so the mean of the K densities is one too, and its mass is exactly 1.

    Args:
        factor: L (S, S), the Cholesky factor of the correlations of the variables in their order; (B, S, S) where every row
            has an order of its own.
        shares: (K, S) or (B, K, S), the share of an interval's mass at which each chain goes on.
        rows: B.

    Attributes:
        log_weights: (B, K) the log-density of the variables so far along each chain, in nats of z.
        at: how many variables there have been.
    """

    def __init__(self, factor: Tensor, shares: Tensor, rows: int) -> None:
        self.factor, self.shares, self.rows, self.at = factor, shares, rows, 0
        self.chains = shares.shape[-2]
        self.log_weights = factor.new_zeros(rows, self.chains)
        self.points = factor.new_zeros(rows, 0)  # e of the first variables as long as all are points: alike in all chains
        self.places = factor.new_zeros(0, rows, self.chains)  # e of the others

    @property
    def mean(self) -> Tensor:
        """Return the mean of the next variable given those before, (B, K) or (B, 1)."""
        row, first = self.factor[..., self.at, :], self.points.shape[1]
        mean = (self.points @ row[:first] if row.ndim == 1 else (self.points * row[:, :first]).sum(1)).unsqueeze(1)
        if self.at == first:
            return mean
        places = self.places[: self.at - first]
        if row.ndim == 1:
            return mean + (row[first : self.at] @ places.flatten(1)).view(self.rows, self.chains)
        return mean + (row[:, first : self.at].T.unsqueeze(-1) * places).sum(0)

    @property
    def std(self) -> Tensor:
        """Return the standard deviation of the next variable given those before, () or (B, 1)."""
        std = self.factor[..., self.at, self.at]
        return std.unsqueeze(-1) if std.ndim else std

    def advance(self, scored: Scored, needed: bool = True) -> None:
        """Go on to the next variable, known as these scores (B,) say; `needed` is False where none follows."""
        mean, std, points = self.mean, self.std, scored.point.unsqueeze(1)
        lower, upper = ((end.unsqueeze(1) - mean) / std for end in (scored.lower, scored.upper))
        every = bool(scored.point.all())
        if every:
            place, log_mass = lower, -0.5 * lower.square() - std.log() - HALF_LOG_2_PI
        else:
            mass, place = within(lower, upper, self.shares[..., self.at])
            log_mass = mass.log()
            if bool(scored.point.any()):
                density = -0.5 * lower.square() - std.log() - HALF_LOG_2_PI
                place, log_mass = torch.where(points, lower, place), torch.where(points, density, log_mass)
        self.log_weights = self.log_weights + log_mass
        if needed:
            self._keep(place, every)
        self.at += 1

    def _keep(self, place: Tensor, every: bool) -> None:
        first = self.points.shape[1]
        if every and first == self.at:
            self.points = torch.cat([self.points, place], dim=1)
            return
        place = place.expand(self.rows, self.chains).unsqueeze(0)
        if place.requires_grad or self.places.requires_grad:
            self.places = torch.cat([self.places[: self.at - first], place])
            return
        if not len(self.places):
            self.places = place.new_empty(self.factor.shape[-1] - first, self.rows, self.chains)
        self.places[self.at - first] = place[0]

    def variables(self) -> Tensor:
        """Return the variables so far, z (B, K, at)."""
        first = self.points.shape[1]
        places = self.places[: self.at - first].permute(1, 2, 0)
        e = torch.cat([self.points.unsqueeze(1).expand(-1, self.chains, -1), places], dim=-1)
        return e @ self.factor[..., : self.at, : self.at].mT

    def select(self, chosen: Tensor) -> Chains:
        """Return one chain of each row, by its number (B,)."""
        shares = self.shares.expand(self.rows, *self.shares.shape[-2:]) if self.shares.ndim == 2 else self.shares
        one = Chains(self.factor, shares[torch.arange(self.rows), chosen].unsqueeze(1), self.rows)
        one.at, one.points = self.at, self.points
        some = self.places[: self.at - self.points.shape[1]]
        if len(some):
            one.places = some.new_empty(self.factor.shape[-1] - self.points.shape[1], self.rows, 1)
            one.places[: len(some)] = some.gather(2, chosen.view(1, -1, 1).expand(len(some), -1, 1))
        one.log_weights = self.log_weights.gather(1, chosen.unsqueeze(1))
        return one

    def draw(self, normal: Tensor) -> Tensor:
        """Return the next variable (B,) drawn by standard normal numbers (B,), of which each row has one chain."""
        return (self.mean + self.std * normal.unsqueeze(1))[:, 0]
