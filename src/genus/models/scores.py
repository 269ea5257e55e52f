"""The values of one column as normal scores: numbers as points of the line, states and lattice values as intervals of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genus.errors import DataError
from genus.models.independent import SIZES, Mixtures, log_components
from genus.models.student import student_quantile, student_tail
from genus.nets.cells import Cells
from genus.space import Category, Kind, Lattice, Space

__all__ = ["LevelScores", "NumberScores", "Scored", "column_scores", "mean_scores"]

FARTHEST = 37.5  # of scores of points: beyond, a normal distribution function underflows
HALVINGS, STEPS = 12, 8  # of the search for a quantile, first by halves, then by Newton's method
LOG_2_PI = math.log(2 * math.pi)


class Scored(NamedTuple):
    """Holds the scores of n values of one column.

    Attributes:
        lower, upper: (n,) the ends of a value's interval; of a number with a density both are its score.
        point: (n,) True for a number with a density.
        log_slope: (n,) log dz/dx, in nats, of a number with a density; 0 for others.
    """

    lower: Tensor
    upper: Tensor
    point: Tensor
    log_slope: Tensor


def column_scores(kind: Kind) -> LevelScores | NumberScores:
    """Return the map from the values of a column to scores, before it has learned from any."""
    return LevelScores(kind) if isinstance(kind, Category) or kind.is_narrow else NumberScores(kind)


def score(below: Tensor, above: Tensor) -> Tensor:
    """Return z with the mass `below` below it and `above` above it: of the smaller one, which has more digits."""
    left = below < above
    tail = torch.special.ndtri(torch.where(left, below, above).clamp(min=0.0))
    return torch.where(left, tail, -tail)


def mean_scores(scored: Scored) -> Tensor:
    """Return the mean of a standard normal variable within each interval, (n,); of points their score."""
    lower, upper = scored.lower, scored.upper
    flip = lower + upper > 0
    low, high = torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)
    mass = (torch.special.ndtr(high) - torch.special.ndtr(low)).clamp(min=1e-300)
    height = [(-0.5 * (t.square() + LOG_2_PI)).exp() for t in (low, high)]
    mean = ((height[0] - height[1]) / mass).clamp(-FARTHEST, FARTHEST)
    return torch.where(scored.point, lower, torch.where(flip, -mean, mean))


class LevelScores(nn.Module):
    """Give each of a column's finitely many values an interval of scores, one beside the other, by their order.

    Args:
        kind: a category, or a lattice of few values, whose atoms are values like others.
    """

    shares: Tensor  # (cells,) the probability of every value
    rank: Tensor  # (cells,) the place of every value in the order

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        self.cells = Cells(Space([kind]), Lattice.NARROW)
        only = 0.0 if isinstance(kind, Category) else getattr(kind, "low", 0.0)
        values = self.cells.values if self.cells.total else torch.tensor([only], dtype=torch.float64)
        self.register_buffer("values", values, persistent=False)
        alive = self.cells.alive.double() if self.cells.total else torch.ones(1, dtype=torch.float64)
        self.register_buffer("shares", alive / alive.sum())
        numbers = torch.arange(len(values)).double() if isinstance(kind, Category) else values.nan_to_num(-math.inf)
        self.register_buffer("rank", numbers.argsort().argsort())

    values: Tensor

    @property
    def count(self) -> int:
        """Return the number of values."""
        return len(self.values)

    def take(self, log_table: Tensor, mixture: Mixtures | None) -> None:
        """Keep the log-probabilities of the values (cells,)."""
        if len(log_table):
            shares = log_table.exp().masked_fill(self.cells.unknown, 0.0)
            self.shares.copy_(shares / shares.sum())

    def check(self) -> None:
        """Raise DataError where numbers that were read are no distribution over the values in some order."""
        fine = self.shares.isfinite().all() and (self.shares >= 0).all() and abs(float(self.shares.sum()) - 1) < 1e-6
        if not bool(fine) or self.rank.sort().values.tolist() != list(range(self.count)):
            raise DataError("The probabilities of a column's values must sum to 1, and its order must name each value once.")

    def edges(self) -> Tensor:
        """Return the ends of the intervals in their order, (cells + 1,), from -inf to inf."""
        ordered = torch.zeros_like(self.shares).index_copy(0, self.rank, self.shares)
        below, above = ordered.cumsum(0)[:-1], ordered.flip(0).cumsum(0).flip(0)[1:]
        end = ordered.new_full((1,), math.inf)
        return torch.cat([-end, score(below, above), end])

    def index(self, x: Tensor) -> Tensor:
        """Return the number of the cell of every value x (n,)."""
        if not self.cells.total:
            return torch.zeros(len(x), dtype=torch.long, device=x.device)
        column = x.unsqueeze(1)
        return self.cells.index(column, self.cells.space.split(column).state)[:, 0]

    def forward(self, x: Tensor) -> Scored:
        """Return the scores of values x (n,)."""
        edges, cell = self.edges(), self.index(x)
        place, none = self.rank[cell], torch.zeros_like(cell, dtype=torch.bool)
        lower, upper = edges[place], edges[place + 1]
        if self.kind.has_unknown:
            blank = self.cells.unknown[cell]
            lower, upper = lower.masked_fill(blank, -math.inf), upper.masked_fill(blank, math.inf)
        return Scored(lower, upper, none, none.double())

    def invert(self, z: Tensor) -> Tensor:
        """Return the values (n,) whose intervals hold z (n,)."""
        place = torch.searchsorted(self.edges()[1:-1].contiguous(), z.contiguous(), right=True)
        return self.values[self.rank.argsort()[place]]


class NumberScores(nn.Module):
    """Give the numbers of a column scores by its distribution function, in which atoms are jumps where they lie.

    The continuous part is a mixture of normals and a Student's t in the chart u, as in `Independent`. A number of a Real is a
    point; a value of a wide lattice has the interval of its cell; an atom that of its jump; and missing values have one beside
    all others, at the end that suits the other columns.

    Args:
        kind: a Real or a Lattice of many values.
    """

    shares: Tensor  # (states,) the probability of the continuous part, then of every atom, a missing value last
    missing_above: Tensor  # () True where missing values have the highest scores
    log_weights: Tensor  # (9,) of eight normals and a Student's t
    mean: Tensor
    std: Tensor

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind, self.space = kind, Space([kind])
        self.lattice = isinstance(kind, Lattice)
        self.register_buffer("shares", torch.full((kind.states,), 1 / kind.states, dtype=torch.float64))
        self.register_buffer("missing_above", torch.zeros((), dtype=torch.bool))
        for name, value in {"log_weights": -math.log(SIZES[-1] + 1), "mean": 0.0, "std": 1.0}.items():
            self.register_buffer(name, torch.full((SIZES[-1] + 1,), value, dtype=torch.float64))
        numbers = kind.numbers
        states = sorted(range(len(numbers)), key=numbers.__getitem__)
        atoms = torch.tensor([numbers[i] for i in states], dtype=torch.float64)
        self.register_buffer("atoms", atoms, persistent=False)
        self.register_buffer("states", torch.tensor(states, dtype=torch.long) + 1, persistent=False)
        self.register_buffer("ends", _atom_ends(kind, atoms), persistent=False)

    atoms: Tensor  # (A,) the atoms that are numbers, ascending
    states: Tensor  # (A,) the states of these
    ends: Tensor  # (2, A) the ends in u of the cells of these; equal where an atom is none of the lattice's values

    @property
    def _mixture(self) -> Mixtures:
        return Mixtures(self.log_weights, self.mean, self.std)

    def take(self, log_table: Tensor, mixture: Mixtures | None) -> None:
        """Keep the log-probabilities of the states (states,), empty where there is one, and the mixture of the numbers."""
        if len(log_table):
            shares = log_table.exp()
            if self.kind.has_unknown:
                shares[-1] = 0.0
            self.shares.copy_(shares / shares.sum())
        if mixture is not None:
            for name, value in zip(("log_weights", "mean", "std"), mixture, strict=True):
                getattr(self, name).copy_(value)

    def check(self) -> None:
        """Raise DataError where numbers that were read are no distribution."""
        weights = self.log_weights.exp()
        sums = abs(float(self.shares.sum()) - 1) < 1e-6 and abs(float(weights.sum()) - 1) < 1e-6
        fine = (self.shares >= 0).all() & self.mean.isfinite().all() & self.std.isfinite().all() & (self.std > 0).all()
        if not sums or not bool(fine):
            raise DataError("The probabilities of a column must sum to 1, and its mixture have means and positive deviations.")

    # -- the distribution function ------------------------------------------------------------------------------------

    def tails(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mass of the mixture below and above u (n,), each computed without loss of digits."""
        t = (u.unsqueeze(-1) - self.mean) / self.std
        weights, heavy = self.log_weights.exp(), t[..., -1]
        small, out = student_tail(heavy.abs()), []
        for sign in (1.0, -1.0):
            student = torch.where(sign * heavy < 0, small, 1 - small)
            out.append(torch.special.ndtr(sign * t[..., :-1]) @ weights[:-1] + weights[-1] * student)
        return out[0], out[1]

    def _jumps(self) -> Jumps:
        """Return where on the line of probability the atoms and the missing values stand."""
        lower, upper = self.tails(self.ends[0]), self.tails(self.ends[1])
        left = lower[0] < lower[1]
        masses = torch.where(left, upper[0] - lower[0], lower[1] - upper[1]).clamp(min=0.0)
        missing = self.shares[-1] if self.kind.has_missing else self.shares.new_zeros(())
        first, last = torch.where(self.missing_above, 0.0, missing), torch.where(self.missing_above, missing, 0.0)
        shares, zero = self.shares[self.states], self.shares.new_zeros(1)

        def both(values: Tensor) -> tuple[Tensor, Tensor]:
            return torch.cat([zero, values.cumsum(0)]), torch.cat([values.flip(0).cumsum(0).flip(0), zero])

        (shares_below, shares_above), (masses_below, masses_above) = both(shares), both(masses)
        scale = self.shares[0] / (1 - masses.sum()).clamp(min=1e-300)
        return Jumps(scale, first + shares_below, last + shares_above, masses_below, masses_above, lower, upper)

    def forward(self, x: Tensor) -> Scored:
        """Return the scores of values x (n,)."""
        column, jumps = x.unsqueeze(1), self._jumps()
        parts = self.space.split(column)
        state, u = parts.state[:, 0], parts.u[:, 0].double()
        count = torch.searchsorted(self.atoms, x.detach().double().nan_to_num(0.0).contiguous())  # of the atoms below
        if self.lattice:
            ends = [end[:, 0] for end in self.space.edges(column)]
            lower, upper = (jumps.score(self.tails(end), count) for end in ends)
        else:
            lower = upper = jumps.score(self.tails(u), count).clamp(-FARTHEST, FARTHEST)
        inside = state == 0
        point = inside if not self.lattice else torch.zeros_like(inside)
        log_slope = torch.zeros_like(u)
        if not self.lattice:
            density = log_components(u.unsqueeze(1), Mixtures(*(t.unsqueeze(0) for t in self._mixture)))[:, 0].logsumexp(-1)
            slope = density + self.shares[0].log() + parts.log_slope[:, 0].double() + 0.5 * (lower.square() + LOG_2_PI)
            log_slope = torch.where(inside, slope, log_slope)
        if len(self.shares) > 1:
            table = self._state_edges(jumps)[:, state]
            lower, upper = torch.where(inside, lower, table[0]), torch.where(inside, upper, table[1])
        return Scored(lower, upper, point, log_slope)

    def _state_edges(self, jumps: Jumps) -> Tensor:
        """Return the ends of the intervals of all states, (2, states); of the continuous part those of the line."""
        out = self.shares.new_tensor([[-math.inf], [math.inf]]).repeat(1, len(self.shares))
        place = torch.arange(len(self.atoms), device=out.device)
        out[0, self.states] = jumps.score(jumps.lower, place)
        out[1, self.states] = jumps.score(jumps.upper, place + 1)
        if self.kind.has_unknown:
            out[:, -1] = out[:, 0]  # the whole line
        elif self.kind.has_missing:
            low, high = jumps.continuous()
            out[0, -1] = torch.where(self.missing_above, high[-1], -math.inf)
            out[1, -1] = torch.where(self.missing_above, math.inf, low[0])
        return out

    def invert(self, z: Tensor) -> Tensor:
        """Return the values (n,) at the scores z (n,)."""
        jumps = self._jumps()
        low, high = jumps.continuous()
        inner = torch.stack([low, high], dim=1).flatten()  # the first part of the continuous one begins, ends, the next begins
        piece = torch.searchsorted(inner.contiguous(), z.contiguous(), right=True)
        state = torch.zeros_like(piece)
        if self.kind.has_missing:
            state = torch.where((piece == 0) | (piece == len(inner)), len(self.shares) - 1, state)
        jump = (piece % 2 == 0) & (piece > 0) & (piece < len(inner))
        count = (piece - 1).clamp(min=0, max=len(inner) - 2).div(2, rounding_mode="floor")
        if len(self.atoms):
            state = torch.where(jump, self.states[count.clamp(max=len(self.atoms) - 1)], state)
        u = self._quantile(*jumps.masses(z, count))
        if len(self.atoms):  # rounding must not carry a number over an atom
            end = u.new_full((1,), math.inf)
            start, stop = torch.cat([-end, self.ends[1]])[count], torch.cat([self.ends[0], end])[count]
            u = torch.minimum(torch.maximum(u, start), stop)
        return self.space.join(state.unsqueeze(1), u.unsqueeze(1), torch.float64)[:, 0]

    def _quantile(self, below: Tensor, above: Tensor) -> Tensor:
        """Return u (n,) with these masses of the mixture below and above it."""
        z = score(below, above).clamp(-FARTHEST, FARTHEST).unsqueeze(-1)
        student = student_quantile(below, above).unsqueeze(-1)
        every = torch.cat([self.mean[:-1] + self.std[:-1] * z, self.mean[-1:] + self.std[-1:] * student], dim=-1)
        used = self.log_weights > -math.inf
        low, high = every[..., used].amin(-1), every[..., used].amax(-1)  # the quantile lies among those of the parts
        target, u = z.squeeze(-1), 0.5 * (low + high)
        for step in range(HALVINGS + STEPS):
            found = score(*self.tails(u))
            low, high = torch.where(found < target, u, low), torch.where(found < target, high, u)
            middle = 0.5 * (low + high)
            if step >= HALVINGS:
                density = log_components(u.unsqueeze(1), Mixtures(*(t.unsqueeze(0) for t in self._mixture)))[:, 0].logsumexp(-1)
                slope = (density + 0.5 * (found.square() + LOG_2_PI)).exp()  # dz/du
                ahead = u + (target - found) / slope
                middle = torch.where((ahead >= low) & (ahead <= high), ahead, middle)
            u = middle
        return u


class Jumps(NamedTuple):
    """Holds the distribution function of a column with A atoms: that of the mixture, stretched, and the jumps.

    Attributes:
        scale: () the probability of the continuous part, for each unit of mass of the mixture off the atoms.
        shares_below, shares_above: (A + 1,) the probability of all jumps below and above each part of the continuous part.
        masses_below, masses_above: (A + 1,) the mixture's mass at the atoms below and above, which is left out.
        lower, upper: the mixture's mass below and above either end of an atom's cell, two (A,) each.
    """

    scale: Tensor
    shares_below: Tensor
    shares_above: Tensor
    masses_below: Tensor
    masses_above: Tensor
    lower: tuple[Tensor, Tensor]
    upper: tuple[Tensor, Tensor]

    def score(self, tails: tuple[Tensor, Tensor], count: Tensor) -> Tensor:
        """Return the score (n,) of places with these masses of the mixture beside them, and so many atoms below."""
        below = self.shares_below[count] + self.scale * (tails[0] - self.masses_below[count]).clamp(min=0.0)
        above = self.shares_above[count] + self.scale * (tails[1] - self.masses_above[count]).clamp(min=0.0)
        return score(below, above)

    def masses(self, z: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Return the masses of the mixture below and above scores z (n,), with so many atoms below: invert `score`."""
        ndtr = torch.special.ndtr
        below = (ndtr(z) - self.shares_below[count]) / self.scale + self.masses_below[count]
        above = (ndtr(-z) - self.shares_above[count]) / self.scale + self.masses_above[count]
        return below.clamp(min=0.0), above.clamp(min=0.0)

    def continuous(self) -> tuple[Tensor, Tensor]:
        """Return the scores at which the parts of the continuous part begin and end, (A + 1,) each."""
        zero, one = (self.scale.new_full((1,), value) for value in (0.0, 1.0))
        start = (torch.cat([zero, self.upper[0]]), torch.cat([one, self.upper[1]]))
        stop = (torch.cat([self.lower[0], one]), torch.cat([self.lower[1], zero]))
        every = torch.arange(len(self.shares_below), device=zero.device)
        return self.score(start, every), self.score(stop, every)


def _atom_ends(kind: Any, atoms: Tensor) -> Tensor:
    """Return the ends in u of atoms' cells on a lattice, (2, A); twice the place of one that is no value of the lattice."""
    if not len(atoms):  # a category has none
        return atoms.new_empty(2, 0)
    column, (low, high) = Space([replace(kind, atoms=())]), kind.chart.support
    place = (atoms - kind.low) / kind.step if isinstance(kind, Lattice) else atoms
    below = place < -1e-6 if isinstance(kind, Lattice) else atoms <= low
    above = place > kind.size - 1 + 1e-6 if isinstance(kind, Lattice) else atoms >= high
    inside = ~(below | above)
    ends = torch.where(below, -math.inf, math.inf).to(atoms).repeat(2, 1)
    if not isinstance(kind, Lattice):
        ends[:, inside] = column.split(atoms[inside, None]).u[:, 0]
        return ends
    on = (place - place.round()).abs() < 1e-6
    value = kind.low + kind.step * torch.where(on, place.round(), place.floor())
    lower, upper = (end[:, 0] for end in column.edges(value[inside, None]))
    ends[:, inside] = torch.stack([torch.where(on[inside], lower, upper), upper])
    return ends
