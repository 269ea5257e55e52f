"""Masses of the cells of wide lattices under normals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["SERIES", "LatticeRows", "interval_mass", "lattice_moments", "likeliest_prior", "log_bend", "normal_cell_mass"]

NARROW = 5e-4  # standard deviations that a cell is wide whose mass is its density times its width, to 1e-7
SERIES = 0.5  # standard deviations, see `log_bend`
ENOUGH = 0.008, 0.055, 0.15  # of these one, two or three terms of the series are enough for 1e-10
LEANS = 2.0  # rows' worth
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)  # pseudo-counts of a table to choose from
SHARED = 1024  # cells of a lattice, at most, that rows look up


class LatticeRows(NamedTuple):
    """Holds the cells of a wide lattice that rows have.

    Attributes:
        cells: (3, C), see `lattice_cells`.
        which: (B,) the place of every row's cell among them; None: the cells are those of the rows.
    """

    cells: Tensor
    which: Tensor | None

    @classmethod
    def of(cls, cells: Tensor) -> LatticeRows:
        """Return the cells (3, B) of rows; where many rows share few, each of these once."""
        most = min(SHARED, cells.shape[1] // 2)
        if len(cells[0, : 4 * SHARED].unique()) > most:  # all rows would be sorted in vain
            return cls(cells, None)
        lower, which = torch.unique(cells[0], return_inverse=True)
        if len(lower) > most:
            return cls(cells, None)
        first = torch.zeros_like(lower, dtype=torch.long).index_copy_(0, which, torch.arange(len(which), device=which.device))
        return cls(cells[:, first], which)

    def of_rows(self) -> Tensor:
        """Return the cell of every row, (3, B)."""
        return self.cells if self.which is None else self.cells[:, self.which]

    def some(self, rows: slice | Tensor) -> LatticeRows:
        """Return the cells of some of the rows."""
        return LatticeRows(self.cells[:, rows], None) if self.which is None else LatticeRows(self.cells, self.which[rows])


def normal_cell_mass(cell: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return the log-mass (B, K) under normals (K,) of cells (3, B): both edges, and the log of the width.

    Edges at the ends of a lattice are infinite, so that these cells hold the tails.
    """
    lower, upper, log_width = cell
    first, last = lower.isinf(), upper.isinf()
    width = log_width.exp().masked_fill(first | last, 0.0)
    middle = 0.5 * (torch.where(first, upper, lower) + torch.where(last, lower, upper))
    z = (middle.unsqueeze(1) - mean) / std
    ends = (first | last).nonzero().squeeze(1)
    square = z.square()
    reach = 0.5 * width / std.min() * (1 + square.amax(1).sqrt()) if square.numel() else width
    most = float(reach.max()) if len(reach) else 0.0
    mass = log_width.unsqueeze(1) - torch.add(std.log() + 0.5 * math.log(2 * math.pi), square, alpha=0.5)  # as of a density
    if most >= NARROW:
        wide = (reach >= SERIES).nonzero().squeeze(1)
        half = 0.5 * width.unsqueeze(1) / std
        if len(wide) > len(z) // 2:
            mass = interval_mass(z - half, z + half)
        elif len(wide):
            some, near = half[wide], half.square().index_fill(0, wide, 0.0)
            mass = mass + log_bend(square.index_fill(0, wide, 0.0), near)
            mass = mass.index_copy(0, wide, interval_mass(z[wide] - some, z[wide] + some))
        else:
            mass = mass + log_bend(square, half.square(), most)
    return _with_ends(mass, ends, lower, upper, mean, std)


def _with_ends(mass: Tensor, ends: Tensor, lower: Tensor, upper: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return log-masses (B, K) with those of the cells at the ends of a lattice, at the places ends."""
    if not len(ends):
        return mass
    a, b = ((t[ends].unsqueeze(1) - mean) / std for t in (lower, upper))
    return mass.index_copy(0, ends, interval_mass(a, b))


def log_bend(square: Tensor, h2: Tensor, reach: float = SERIES) -> Tensor:
    """Return the log of a cell's mass less that of its density times its width, by a series in the width.

    Args:
        square: of the distance of the cell's middle from the mean, in standard deviations.
        h2: the square of half its width, h.
        reach: what h (1 + the distance) is at most. The less, the fewer terms make the sum right to 1e-10; at `SERIES`, with
            all of them, it is right to 3e-8.
    """
    # Coefficients of the Hermite polynomials of even order in the square, but for the first, which is 1.
    terms = ((-1.0,), (-6.0, 3.0), (-15.0, 45.0, -15.0), (-28.0, 210.0, -420.0, 105.0))
    count = next((k for k, most in enumerate(ENOUGH, 1) if reach < most), len(terms))
    out, power = torch.zeros_like(square), h2
    for k, hermite in enumerate(terms[:count], 1):
        value = square + hermite[0]
        for coefficient in hermite[1:]:
            value = value * square + coefficient
        out = torch.addcmul(out, power, value, value=1 / math.factorial(2 * k + 1))
        power = power * h2 if k < count else power
    return torch.log1p(out)


def interval_mass(a: Tensor, b: Tensor) -> Tensor:
    """Return log(Phi(b) - Phi(a)) for a < b, computed in the tail where it is exact."""
    a, b = torch.where(a > 0, -b, a), torch.where(a > 0, -a, b)
    high, low = torch.special.log_ndtr(b), torch.special.log_ndtr(a)
    return high + torch.log(-torch.expm1((low - high).clamp(max=-1e-300)))


def lattice_moments(count: Tensor, value: Tensor, step: Tensor, shrinkage: float | None) -> tuple[Tensor, Tensor]:
    """Return mean and variance (K, columns) of counts (K, columns, size) of values (columns, size), `step` (columns,) apart.

    The variance of a component is drawn towards what is typical within components, with the weight of so many rows; None:
    towards that of all rows together, with the weight of two. A component without rows has the mean of all too.
    """

    def of(count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n = count.sum(-1)
        mean = (count * value).sum(-1) / n.clamp(min=1)
        return n, mean, (count * (value - mean.unsqueeze(-1)).square()).sum(-1)

    (n, mean, squares), (n_all, mean_all, squares_all) = of(count), of(count.sum(0))
    mean = torch.where(n > 1e-9, count.mul(value).sum(-1) / n.clamp(min=1e-9), mean_all)
    if shrinkage is None:
        return torch.where(n > 0, mean, mean_all), (squares + LEANS * squares_all / n_all.clamp(min=1)) / (n + LEANS)
    squares = (count * (value - mean.unsqueeze(-1)).square()).sum(-1)
    within = squares.sum(0) / n_all.clamp(min=1) + step.square() / 12
    typical = (n / n_all.clamp(min=1) * ((squares + within) / (n + 1)).log()).sum(0).exp()
    strength = max(shrinkage, 1e-6)
    return mean, (squares + strength * typical) / (n + strength)


def likeliest_prior(count: Tensor, shapes: Sequence[Tensor]) -> Tensor:
    """Return the pseudo-counts (K, columns, size) with which counts predict each of their rows best from all the others.

    A table of n_x of n rows, with a pseudo-counts in the shape q, gives a row of value x that is left out of it the probability
    (n_x - 1 + a q_x) / (n - 1 + a) (Stone 1974): that of all rows is a sum over cells. A column has one a and one q for all K.

    Args:
        count: (K, columns, size).
        shapes: q to choose from, (K, columns, size), sums of 1.
    """
    others, n = (count - 1).clamp(min=0), count.sum(-1, keepdim=True).sub(1).clamp(min=0)
    best, prior = count.new_full((count.shape[1],), -math.inf), torch.zeros_like(count)
    for a in STRENGTHS:
        for shape in shapes:
            value = (count * ((others + a * shape).clamp(min=1e-300) / (n + a)).log()).sum((0, 2))
            prior = torch.where((value > best)[:, None], a * shape, prior)
            best = torch.maximum(best, value)
    return prior
