"""The kind of a coordinate that is one of the numbers low, low + step, ..., high, or an atom."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from genus.errors import DataError
from genus.kinds.atoms import distinct_counts, robust_moments, spikes
from genus.kinds.base import Number, atoms_text, chart_text, checked_atoms
from genus.kinds.charts import AFFINE, Chart
from genus.kinds.fitting import Fit, fit_chart
from genus.kinds.steps import ACCIDENT, EXACT, Steps, round_digits
from genus.kinds.strays import without_strays

__all__ = ["Lattice", "common_step"]

FEW_VALUES = 64  # whose holes are looked at
HOLE = 5  # rows at least on both sides of a hole,
EVIDENCE = 40.0  # and nats by which chance does not leave all of them empty
SCALE = 12  # values of a scale, of marks or months, which has no tails
TAIL = 0.1  # of the range, in which few rows lie where there is a tail
RARE = 3  # rows at an end beyond which others may lie
EVERYWHERE = (-math.inf, math.inf)


@dataclass(frozen=True)
class Lattice(Number):
    """Describes a coordinate on a bounded lattice low, low + step, ..., high, with counting measure.

    Whole numbers are on a lattice, grey levels, and every real column recorded at a visible resolution (multiples of 0.1, say).

    Args:
        low, high: the least and the greatest value of the lattice.
        step: the distance of neighbouring values.
        atoms: values with mass of their own, on or off the lattice; the continuous part is the lattice without them.
        loc, scale: of the chart, u = (x - loc) / scale where it is affine; by default from low and high.
        digits: the significant decimal digits of the values, so that 0.1 + 0.2 decodes to 0.3; 17 keeps all.
        chart: the form of the chart on [low - step / 2, high + step / 2]; loc and scale are then in its units.
        unknown: a missing value is a value that is not known, see `Kind.unknown`.

    >>> Lattice(0, 16).size
    17
    >>> Lattice(3.0, 8.0, step=0.5, atoms=(float("nan"),))
    Lattice(3, 8, step=0.5, missing)
    """

    # Values are a list and no range where the lattice has so many times as many, and each so many rows.
    LISTED: ClassVar[int] = 4
    COARSE: ClassVar[int] = 1024  # values on a lattice of fewer than so many are a Lattice even where most of them differ

    low: float
    high: float
    step: float = 1.0
    atoms: tuple[float, ...] = ()
    loc: float = field(default=math.nan, repr=False)
    scale: float = field(default=math.nan, repr=False)
    digits: int = field(default=15, repr=False)
    chart: Chart = AFFINE
    unknown: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high and self.step > 0):
            raise DataError(f"Lattice needs finite low <= high and step > 0; got {self.low}, {self.high}, {self.step}.")
        steps = (self.high - self.low) / self.step
        if abs(steps - round(steps)) > 1e-6 * max(1.0, steps):
            raise DataError(f"Lattice's high must be low plus whole steps; got {self.low}, {self.high}, step {self.step}.")
        low, high = self.chart.support
        if low > self.low - 0.499 * self.step or high < self.high + 0.499 * self.step:
            raise DataError(f"The chart of a Lattice has a support that holds all its cells; got {self.chart.support}.")
        if not 1 <= self.digits <= 17:
            raise DataError(f"The digits of a Lattice are 1 to 17; got {self.digits}.")
        object.__setattr__(self, "atoms", checked_atoms(self.atoms))
        if len(self.lattice_atoms) >= self.size:
            raise DataError(f"Lattice({self.low}, {self.high}) has every lattice value among its atoms; leave one out.")
        if math.isnan(self.loc):
            object.__setattr__(self, "loc", (self.low + self.high) / 2)
        if not self.scale > 0:
            object.__setattr__(self, "scale", max(self.high - self.low, self.step) / math.sqrt(12))

    def __repr__(self) -> str:
        step = "" if self.step == 1 else f", step={self.step:.6g}"
        return f"Lattice({self.low:.10g}, {self.high:.10g}{step}{atoms_text(self)}{chart_text(self)})"

    @property
    def size(self) -> int:
        """Return the number of lattice values."""
        return round((self.high - self.low) / self.step) + 1

    @property
    def is_narrow(self) -> bool:
        return self.size <= self.NARROW

    @property
    def is_whole(self) -> bool:
        """Return whether every value of the lattice is a whole number; the atoms need not be."""
        return float(self.low).is_integer() and float(self.step).is_integer()

    @property
    def lattice_atoms(self) -> tuple[float, ...]:
        """Return the atoms that are lattice values too."""
        index = [(a, (a - self.low) / self.step) for a in self.numbers]
        return tuple(a for a, i in index if abs(i - round(i)) < 1e-6 and 0 <= round(i) < self.size)

    @property
    def magnitude(self) -> float:
        largest = max(abs(self.low), abs(self.high), *map(abs, self.numbers))
        return math.inf if largest > 1e30 or self.step < 1e-30 else max(abs(self.low), abs(self.high)) / self.step

    @classmethod
    def measure(
        cls,
        values: np.ndarray,
        step: float = 1.0,
        bounds: tuple[float, float] = EVERYWHERE,
        chart: str = "affine",
        tails: bool = False,
    ) -> Lattice:
        """Return the Lattice of values that lie whole multiples of a step above the least value.

        Where all but a few strays lie on a coarser lattice, it is that one, and the strays are atoms. Up to 256 values are the
        lattice low..high, with a quarter of the range beyond an end that looks like a tail, if wished.
        A longer lattice is widened by the range of the data on both sides, though never across zero, and has atoms.

        Args:
            values: (N,), NaN where missing; at least one is a number.
            step: the distance of neighbouring values.
            bounds: the least and the greatest number that the widened lattice may reach.
            chart: "affine"; or "auto", the chart under which the values are likeliest.
            tails: a short lattice goes on beyond an end that looks like a tail.
        """
        nan = np.isnan(values)
        present = values[~nan] if nan.any() else values
        distinct, counts = distinct_counts(present)
        steps = without_strays(distinct, counts, step)
        return cls.from_steps(present, distinct, counts, steps, bool(nan.any()), bounds, chart, tails)

    @classmethod
    def from_steps(
        cls,
        present: np.ndarray,
        distinct: np.ndarray,
        counts: np.ndarray,
        steps: Steps,
        missing: bool,
        bounds: tuple[float, float] = EVERYWHERE,
        chart: str = "affine",
        tails: bool = False,
    ) -> Lattice:
        """Return the Lattice of values whose steps were measured; a long lattice has atoms and wider bounds.

        Args:
            present: (N,) the values that are not missing.
            distinct, counts: (M,) the different values, ascending, and the rows of each.
            steps: low, high and step, as `find_steps` measures them.
            missing: some values are missing.
            bounds: the least and the greatest number that the widened lattice may reach.
            chart: "affine"; or "auto", the chart under which the values are likeliest.
            tails: a short lattice goes on beyond an end that looks like a tail.
        """
        low, high, step, digits, on = steps
        off, blank = distinct[~on].tolist(), [math.nan] if missing else []
        listed = cls._is_list(distinct, counts, steps) or has_holes(distinct, counts, step)
        if listed and counts.min() > 1 and not off:  # codes: a value of the lattice, and the others beside it
            if len(distinct) == 2:
                return cls(low, high, high - low, tuple(blank), digits=digits)
            first = float(distinct[on][0])
            return cls(first, first, step, (*distinct[distinct != first].tolist(), *blank), digits=digits)
        if round((high - low) / step) < cls.NARROW:
            low, high = _with_tails(steps, distinct[on], counts[on], bounds) if tails else (low, high)
            return cls(low, high, step, (*off, *blank), digits=digits)
        spikes = on & cls.spikes(distinct, counts, len(present), steps)
        ends = [v if spikes[i] else bound for i, v, bound in zip(np.flatnonzero(on)[[0, -1]], (low, high), bounds, strict=True)]
        start, end = _widened(steps, (ends[0], ends[1]))
        atoms = start + np.round((distinct[spikes] - start) / step) * step  # as the lattice writes them
        rest = on & ~spikes
        if chart == "affine" or rest.sum() < 2:
            loc, scale = robust_moments(present, np.concatenate([distinct[spikes], off]))
            fit = Fit(AFFINE, loc, max(scale, step / 4))
        else:
            # An end at 0, or at a value of many rows, is one of the support; the cell at another end holds a tail.
            least = start - step / 2 if start in (0.0, ends[0]) else -math.inf
            most = end + step / 2 if end in (0.0, ends[1]) else math.inf
            fit = fit_chart(np.repeat(distinct[rest], counts[rest]), least, most, step)
        return cls(start, end, step, (*atoms.tolist(), *off, *blank), fit.loc, fit.scale, digits, fit.chart)

    @classmethod
    def spikes(cls, distinct: np.ndarray, counts: np.ndarray, rows: int, steps: Steps) -> np.ndarray:
        """Return which values of a long lattice deserve an atom, bool (M,).

        Args:
            distinct, counts: (M,) the different values, ascending, and the rows of each.
            rows: the number of rows.
            steps: the least and the greatest of the values that lie on the lattice, and its step.
        """
        return counts > 1 if cls._is_list(distinct, counts, steps) else spikes(distinct, counts, rows, steps.step)

    @classmethod
    def _is_list(cls, distinct: np.ndarray, counts: np.ndarray, steps: Steps) -> bool:
        """Return whether values are a list and no range.

        The amounts of a tariff, say, are a list: they lie far apart on their lattice, each in several rows, with none between.
        """
        size = round((steps.high - steps.low) / steps.step) + 1
        return len(distinct) <= min(cls.NARROW, size // cls.LISTED) and float(np.median(counts)) >= cls.LISTED


def has_holes(distinct: np.ndarray, counts: np.ndarray, step: float) -> bool:
    """Return whether values that never occur lie between frequent ones, so that those that do are all that there are.

    Of a place between two values one expects as many rows as the rarer of them has, n, and finds none with probability e^-n.

    Args:
        distinct, counts: (M,) the different values, ascending, and the rows of each.
        step: of their lattice.

    >>> weeks, counts = np.array([0.0, 2.0, 4.0, 6.0, 11.0]), np.array([50, 44, 42, 40, 44])
    >>> has_holes(weeks, counts, 1.0), has_holes(np.arange(5.0), counts, 1.0)
    (True, False)
    """
    if not 2 <= len(distinct) <= FEW_VALUES:
        return False
    places = np.rint(np.diff(distinct) / step) - 1
    rows = np.minimum(counts[1:], counts[:-1])
    return bool((places * rows)[rows >= HOLE].sum() >= EVIDENCE)


def common_step(present: np.ndarray) -> float:
    """Return the greatest common divisor of the distances of whole numbers; 1 where it may be an accident of a few of them."""
    step = 1
    for part in (present[:1000], present) if len(present) > 1000 else (present,):  # nearly always these decide
        values = np.unique(part).astype(np.int64)
        step = int(np.gcd.reduce(np.diff(values))) if len(values) > 1 else 1
        if step <= 1 or (len(values) - 1) * math.log(step) < math.log(ACCIDENT):
            return 1.0
    return float(step)


def _with_tails(steps: Steps, distinct: np.ndarray, counts: np.ndarray, bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of a short lattice, each moved out by a quarter of the range where it looks like a tail.

    It does where hardly a row lies at the end, and few rows near it: then a new row may well lie beyond. A scale of a few
    values, and counts that are as frequent at the end as elsewhere, end where they do.
    """
    low, high, step, *_ = steps
    size = round((high - low) / step) + 1
    if size <= SCALE:
        return low, high
    near, share = (high - low) * TAIL, counts.sum() * TAIL
    thin = [
        counts[end] <= RARE and counts[at].sum() < share / 4
        for end, at in ((0, distinct <= low + near), (-1, distinct >= high - near))
    ]
    steps_out = min(-(-size // 4), (Lattice.NARROW - size) // max(1, sum(thin)))
    start, end = _widened(steps, (max(bounds[0], low - steps_out * step), min(bounds[1], high + steps_out * step)))
    return start if thin[0] else low, end if thin[1] else high


def _widened(steps: Steps, bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of a lattice moved out by the range of the data, within the bounds and never across zero."""
    low, high, step, digits, _ = steps
    size = round((high - low) / step) + 1
    below = min(size - 1, math.floor((low - bounds[0]) / step)) if math.isfinite(bounds[0]) else size - 1
    above = min(size - 1, math.floor((bounds[1] - high) / step)) if math.isfinite(bounds[1]) else size - 1
    if low >= 0:
        below = min(below, math.floor(low / step + 1e-9))
    if high <= 0:
        above = min(above, math.floor(-high / step + 1e-9))
    room = max(0, (EXACT - max(size, *(round(2 * abs(end) / step) for end in (low, high)))) // 2)
    below, above = min(below, room), min(above, room)  # a double keeps apart what lies within
    start, end = low - below * step, high + above * step
    if digits < 17:
        # Zero, and not the -5e-17 that is left of 0.42 - 42 * 0.01.
        start, end = (0.0 if abs(t) < 1e-6 * step else float(round_digits(np.array(t), 14)) for t in (start, end))
    return start, end
