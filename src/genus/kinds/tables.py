"""The kinds of many coordinates as tensors, so that no computation loops over columns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genus.kinds.base import Kind
from genus.kinds.category import Category
from genus.kinds.charts import Charts

__all__ = ["Parts", "Tables"]

EDGE = 2.0**-18  # of a cell, kept free at the ends of a lattice where points are spread over its cells


class Parts(NamedTuple):
    """Holds x (B, *shape) as states and standardised numbers: what `Space.split` returns.

    Attributes:
        state: (B, D) long: 0 where a number lies in the continuous part; else the atom or the level.
        u: (B, D): the number in its column's chart, roughly standard; 0 where there is none.
        log_slope: (B, D): log du/dx of a Real's chart where the number lies, in nats; added to a log-density of u it gives one
            of x. It is 0 for kinds of counting measure, and has a meaning only where the state is 0.
    """

    state: Tensor
    u: Tensor
    log_slope: Tensor


class Tables(NamedTuple):
    """Holds what the kinds of D coordinates say of themselves, one entry for each coordinate.

    Attributes:
        charts: the maps from x to the standardised number u; the identity for categories.
        low, high: (D,) the ends of a lattice, or of a Real's support; infinite for categories.
        middle: (D,) the x at which u is 0, a number in the support of every chart.
        step: (D,) of a lattice; 0 for other kinds.
        points: (3, D) low, high and step once more, in double precision where a chart is not affine.
        states: (D,) long, the number of states.
        atoms: (A, D) the atoms that are numbers, NaN where a coordinate has fewer than A.
        missing: (D,) long, the state that means missing; -1 where the kind has none.
        unknown: (D,) bool, whether a missing value is one that is not known, see `Kind.unknown`.
        category: (D,) bool.
        has_states: whether a coordinate has states besides its continuous part.
        has_lattice: whether a coordinate is on a lattice.
    """

    charts: Charts
    low: Tensor
    high: Tensor
    middle: Tensor
    step: Tensor
    points: Tensor
    states: Tensor
    atoms: Tensor
    missing: Tensor
    unknown: Tensor
    category: Tensor
    has_states: bool
    has_lattice: bool

    @classmethod
    def of(cls, kinds: Sequence[Kind]) -> Tables:
        """Return the tables of the kinds of D coordinates, in double precision, on the processor whatever the default is."""

        def column(value: Any, dtype: torch.dtype = torch.float64) -> Tensor:
            return torch.tensor([value(kind) for kind in kinds], dtype=dtype, device="cpu")

        atoms = [*itertools.zip_longest(*(kind.numbers for kind in kinds), fillvalue=math.nan)]
        charts = Charts.of(kinds)
        low = column(lambda kind: getattr(kind, "low", kind.chart.support[0]))
        high = column(lambda kind: getattr(kind, "high", kind.chart.support[1]))
        step = column(attrgetter("step"))
        return cls(
            charts,
            low=low,
            high=high,
            middle=charts.inverse(torch.zeros(len(kinds), dtype=torch.float64, device="cpu")),
            step=step,
            points=torch.stack([low, high, step]),
            states=column(lambda kind: kind.states, torch.long),
            atoms=torch.tensor(atoms, dtype=torch.float64, device="cpu").reshape(-1, len(kinds)),
            missing=column(lambda kind: kind.missing_state, torch.long),
            unknown=column(lambda kind: kind.has_unknown, torch.bool),
            category=column(lambda kind: isinstance(kind, Category), torch.bool),
            has_states=any(isinstance(kind, Category) or kind.states > 1 for kind in kinds),
            has_lattice=any(kind.step > 0 for kind in kinds),
        )

    def to(self, device: torch.device, dtype: torch.dtype) -> Tables:
        """Return the tables on a device, the numbers among them in this type."""
        tensors = {name: t for name, t in self._asdict().items() if isinstance(t, Tensor)}
        moved = {name: t.to(device, dtype if t.is_floating_point() else t.dtype) for name, t in tensors.items()}
        if not self.charts.is_affine:
            moved["points"] = self.points.to(device)
        return self._replace(charts=self.charts.to(device, dtype), **moved)  # type: ignore[arg-type]

    @property
    def real(self) -> Tensor:
        """Return which coordinates are a Real, bool (D,)."""
        return (self.step == 0) & ~self.category

    def split(self, x: Tensor) -> Parts:
        """Return numbers x (..., D) as states and standardised numbers; see `Space.split`."""
        affine = self.charts.is_affine
        state = self._state(x)
        inside = ((state if self.has_states else state[:1]) == 0) & ~self.category  # without states one row is like all
        # What lies at an atom or is missing need not lie in the support of a chart.
        number = x if affine else torch.where(inside, x, self.middle)
        u, log_slope = self.charts.forward(number)
        some = log_slope[:1] if affine else log_slope  # the slopes of affine charts are the same for all rows
        log_slope = torch.where(self.real, some, 0.0).to(x.dtype).expand(x.shape)
        return Parts(state, (torch.where(inside, u, 0.0) if self.has_states else u).to(x.dtype), log_slope)

    def _state(self, x: Tensor) -> Tensor:
        """Return the state of every entry of x (..., D)."""
        if not self.has_states:
            return torch.zeros((1,) * x.ndim, dtype=torch.long, device=x.device).expand(x.shape)
        state = torch.where(self.category, x, 0.0).nan_to_num(0.0).long()
        for i, atom in enumerate(self.atoms):
            # A missing marker always is the last state, so the i-th number among the atoms is state i + 1.
            state = torch.where(x == atom, i + 1, state)
        return torch.where(x.isnan(), self.missing, state)

    def _snapped(self, x: Tensor) -> Tensor:
        """Return x (..., D), those on a lattice moved to their nearest lattice value."""
        if not self.has_lattice:
            return x
        low, high, step = self.points
        lattice = step > 0
        low, step = torch.where(lattice, low, 0.0), torch.where(lattice, step, 1.0)
        nearest = ((x - low) / step).round() * step + low
        return torch.where(lattice, torch.minimum(torch.maximum(nearest, low), high), x.to(nearest.dtype))

    def _ends(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ends in x of the cell of each lattice value of x (..., D); x itself for other kinds."""
        value, half = self._snapped(x), self.points[2] / 2
        return value - half, value + half

    def edges(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return u at both ends of the cell of every lattice value of x (..., D); see `Space.edges`."""
        lattice, half = self.step > 0, self.step / 2
        inside = lattice & (x >= self.low - half) & (x <= self.high + half)
        x = torch.where(inside, x, torch.where(lattice, self.low, self.middle))
        if self.charts.is_affine:
            u, width = self.charts.forward(x)[0], half / self.charts.scale
            lower, upper = u - width, u + width
        else:
            lower, upper = (self.charts.forward(end)[0] for end in self._ends(x))
        first, last = lattice & (x < self.low + half), lattice & (x > self.high - half)
        return torch.where(first, -math.inf, lower), torch.where(last, math.inf, upper)

    def spread(self, x: Tensor, place: Tensor) -> Tensor:
        """Return a point in the cell of every lattice value of x (..., D), in data units; x itself for other kinds.

        Args:
            x: (..., D); atoms and missing values, which have no cell, are moved too.
            place: (..., D), in [0, 1], of the point in its cell; points stay inside the ends of the lattice.
        """
        value = x + self.step.to(x.dtype) * (place - 0.5)
        low, high = (self.low - self.step / 2).to(x.dtype), (self.high + self.step / 2).to(x.dtype)
        margin = EDGE * self.step.to(x.dtype)  # a chart may be infinite at the ends; rounding must not reach them either
        least = torch.maximum(low + margin, torch.nextafter(low, high))
        most = torch.minimum(high - margin, torch.nextafter(high, low))
        return torch.where(self.step > 0, torch.minimum(torch.maximum(value, least), most), x)

    def join(self, state: Tensor, u: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the numbers x (..., D) of states and standardised numbers, in this type; see `Space.join`."""
        value = self.inside_ends(self._snapped(self.charts.inverse(u)).to(dtype))
        if self.has_states:
            for i, atom in enumerate(self.atoms):
                value = torch.where((state == i + 1) & ~atom.isnan(), atom.to(dtype), value)
            value = torch.where(self.category, state.to(dtype), value)
            value = torch.where(~self.category & (state == self.missing), math.nan, value)
        return value

    def inside_ends(self, x: Tensor) -> Tensor:
        """Return x (..., D) with numbers that rounding put on an end of their support, where there is no density, beside it."""
        if not len(self.charts.forms):
            return x
        low, high = self.low.to(x.dtype), self.high.to(x.dtype)
        least = torch.nextafter(low, torch.full_like(low, math.inf))
        most = torch.nextafter(high, torch.full_like(high, -math.inf))
        return torch.where(self.real, torch.minimum(torch.maximum(x, least), most), x)

    def blanks(self, x: Tensor) -> Tensor:
        """Return which entries of x (..., D) are blank, bool: NaN, or a category's level that means missing."""
        return x.isnan() | (self.category & (self.missing >= 0) & (x == self.missing))

    def first_outside(self, x: Tensor) -> tuple[int, int] | None:
        """Return row and column of the first entry of x (B, D) that its kind has no place for; None where all have one."""
        least = torch.where(self.category, 0.0, self.low - self.step / 2)
        most = torch.where(self.category, self.states - 0.5, self.high + self.step / 2)
        # Nearly always the extremes tell that all is well; NaN and inf, which are among them, need a closer look.
        (low, high), real = x.aminmax(dim=0), self.real
        inside = torch.where(real, (low > least) & (high < most), (low >= least) & (high <= most))
        if bool((inside & low.isfinite() & high.isfinite()).all()):
            return None
        outside = torch.where(real, (x <= least) | (x >= most), (x < least) | (x > most))  # a Real's support is open
        for atom in self.atoms:
            outside &= x != atom
        outside |= torch.where(x.isnan(), (self.missing < 0) | self.category, x.isinf())
        places = outside.nonzero()
        return (int(places[0, 0]), int(places[0, 1])) if len(places) else None
