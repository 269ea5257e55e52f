"""Normals of several numbers, cut into the cells of the lattices that some of the numbers lie on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from genus.models.masses import SERIES, interval_mass, log_bend
from genus.nets.cells import atom_cells
from genus.random import normal_like
from genus.space import Kind, Lattice, Space

__all__ = ["Cut"]

LEAST, TRIES = 1e-9, 64  # of a lattice's mass without its atoms; draws in its place of what falls on them


class Cut:
    """Cuts joint normals into cells, one number after the other: the mass of a value is that of its cell given those before.

    A normal of several lattices has no cells in closed form, but a chain of conditionals has: given the values before it, a
    number is normal around a mean that these decide, and the masses of its cells add up to 1. So the masses of all rows do too.
    A number that is left out is left out of the normal: for the last ones that is the sum over their values, for others nearly,
    up to the square of a cell's width in standard deviations, over 12.

    Args:
        kinds: of the R numbers. Values of a lattice with a mass of their own are taken out of it.

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

    @cached_property
    def atoms(self) -> dict[int, Tensor]:
        """Return both ends (2, A) of the cells of values with a mass of their own, of the lattices that have such."""
        cells = {j: atom_cells([self.kinds[j]])[:2, 0] for j in self.places}
        return {j: ends for j, ends in cells.items() if ends.shape[1]}

    def __bool__(self) -> bool:  # whether any number lies on a lattice
        return bool(self.places)

    def log_ratio(self, u: Tensor, z: Tensor, edges: Tensor, scale: Tensor, present: Tensor | None = None) -> Tensor:
        """Return the log (B, K) of how much greater the masses of cells are than the densities at their values.

        Args:
            u: (B, R) the numbers.
            z: (B, K, R) these, less their means given those before, in standard deviations.
            edges: (2, B, L) from the number to both ends of its cell, of L numbers on lattices; infinite at a lattice's ends.
            scale: (B or 1, K or 1, R) the standard deviations given the numbers before.
            present: (B, R) which numbers rows have; None: all.
        """
        scale = scale.expand(-1, z.shape[1], -1)
        taken = {j: self._log_left(j, u[:, j, None] - z[..., j] * scale[..., j], scale[..., j]) for j in self.atoms}
        z, scale = z[..., self.places], scale[..., self.places]
        lower, upper = edges.unsqueeze(2) / scale  # (B, K, L)
        half, middle = 0.5 * (upper - lower), z + 0.5 * (upper + lower)
        square = middle.square()
        out = 0.5 * (z.square() - square) + (edges[1] - edges[0]).log().unsqueeze(1) + log_bend(square, half.square())
        wide = ~(half * (1 + middle.abs()) < SERIES)
        if bool(wide.any()):
            at = z[wide]
            mass = interval_mass(at + lower[wide], at + upper[wide])
            out[wide] = mass + 0.5 * (at.square() + math.log(2 * math.pi)) + scale.log().expand_as(wide)[wide]
        for i, j in enumerate(self.places):
            if j in taken:
                out[..., i] -= taken[j]
        return (out if present is None else out.masked_fill(~present[:, None, self.places], 0.0)).sum(2)

    def _log_left(self, j: int, mean: Tensor, std: Tensor) -> Tensor:
        """Return the log of the mass that a lattice has without its atoms, under normals of means (B, K)."""
        ends = self.atoms[j].to(mean.device)[..., None, None]
        lower, upper = torch.special.ndtr((ends - mean) / std)
        return (1 - (upper - lower).sum(0)).clamp(min=LEAST).log()

    def draw(self, j: int, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """Return numbers (B,) at place j around means (B,), by standard noise (B,): of a lattice values that are no atoms."""
        u = self.snap(j, mean + std * noise)
        for _ in range(TRIES if j in self.atoms else 0):
            lower, upper = self.atoms[j].to(u.device)
            hit = ((u[:, None] > lower) & (u[:, None] < upper)).any(1)
            if not bool(hit.any()):
                break
            u = torch.where(hit, self.snap(j, mean + std * normal_like(mean)), u)
        return u

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
