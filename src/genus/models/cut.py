"""Normals of several numbers, cut into the cells of the lattices that some of the numbers lie on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from genus.models.masses import SERIES, interval_mass, log_bend
from genus.space import Kind, Lattice, Space

__all__ = ["Cut"]

FAR = 1e3  # standard deviations, to the end of a cell that has none: no mass lies beyond, and gradients are finite


class Cut:
    """Cuts joint normals into cells, one number after the other: the mass of a value is that of its cell given those before.

    A normal of several lattices has no cells in closed form, but a chain of conditionals has: given the values before it, a
    number is normal around a mean that these decide, and the masses of its cells add up to 1. So the masses of all rows do too.
    To leave out the last numbers is exact; where others are left out, the normal of those that stay takes the place of the sum
    over cells, which differs by what a cell's width adds to a variance. Where much mass lies in the cell at an end the
    difference is larger, so such lattices should not be among the kinds, nor those of which values are atoms.

    Args:
        kinds: of the R numbers.

    >>> from genus import Lattice, Real
    >>> Cut([Real(), Lattice(0, 300)]).places
    [1]
    """

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self.kinds = list(kinds)
        self.places = [j for j, kind in enumerate(self.kinds) if isinstance(kind, Lattice)]
        self._alone: dict[int, Space] = {}

    @cached_property
    def lattices(self) -> Space:
        """Return the space of the numbers on lattices."""
        return Space([self.kinds[j] for j in self.places])

    def __bool__(self) -> bool:  # whether any number lies on a lattice
        return bool(self.places)

    def log_ratio(self, z: Tensor, edges: Tensor, scale: Tensor, present: Tensor | None = None) -> Tensor:
        """Return the log (B, K) of how much greater the masses of cells are than the densities at their values.

        Args:
            z: (B, K, R) the numbers, less their means given those before, in standard deviations.
            edges: (2, B, L) from the number to both ends of its cell, of L numbers on lattices; infinite at a lattice's ends.
            scale: (B or 1, K or 1, R) the standard deviations given the numbers before.
            present: (B, R) which numbers rows have; None: all.
        """
        z, scale = z[..., self.places], scale[..., self.places].expand(-1, z.shape[1], -1)
        lower, upper = edges.unsqueeze(2) / scale  # (B, K, L)
        half, middle = 0.5 * (upper - lower), z + 0.5 * (upper + lower)
        wide = ~(half * (1 + middle.abs()) < SERIES)
        if present is not None:
            wide = wide & present[:, None, self.places]
        # What is wide, or absent, has no place in the series: infinite cells would leave NaN in its gradients.
        usual = (half * (1 + middle.abs()) < SERIES) & ~wide
        half, middle = half.where(usual, 1.0), middle.where(usual, 0.0)
        square = middle.square()
        out = 0.5 * (z.square() - square) + (2 * half * scale).log() + log_bend(square, half.square())
        out = out.where(usual, 0.0)
        if bool(wide.any()):
            at, low, high = z[wide], lower[wide], upper[wide]
            low, high = low.where(low.isfinite(), high - FAR), high.where(high.isfinite(), low + FAR)
            mass = interval_mass(at + low, at + high) + 0.5 * (at.square() + math.log(2 * math.pi))
            out = out.masked_scatter(wide, mass + scale.log().expand_as(wide)[wide])
        return (out if present is None else out.where(present[:, None, self.places], 0.0)).sum(2)

    def snap(self, j: int, u: Tensor) -> Tensor:
        """Return for numbers u (B,) at place j those of the nearest values of its lattice; others as they are."""
        if not isinstance(self.kinds[j], Lattice):
            return u
        lattice = self._alone.setdefault(j, Space([self.kinds[j]]))
        return _nearest(lattice, u.unsqueeze(1))[1].squeeze(1)

    def half_cells(self, mean: Tensor) -> Tensor:
        """Return at means (K, R) half the width of the cell there, below which no standard deviation falls; 0 off lattices."""
        least = torch.zeros_like(mean)
        if self.places:
            x, u = _nearest(self.lattices, mean[:, self.places])
            lower, upper = self.lattices.edges(x)
            least[:, self.places] = torch.minimum(u - lower, upper - u).nan_to_num(posinf=1.0)  # up to the edge that is finite
        return least


def _nearest(lattices: Space, u: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest values x of lattices to numbers u (B, L), and their own numbers."""
    x = lattices.join(torch.zeros_like(u, dtype=torch.long), u, u.dtype)
    return x, lattices.tables(x).charts.forward(x)[0]
