"""Numbers low, low + step, ..., high: counting measure, and atoms."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from genus.errors import DataError
from genus.kinds.atoms import frequent, standard
from genus.kinds.base import Number, atoms_text, checked_atoms
from genus.kinds.steps import FoundLattice, round_digits

__all__ = ["Lattice"]

EVERYWHERE = (-math.inf, math.inf)


@dataclass(frozen=True)
class Lattice(Number):
    """A bounded lattice low, low + step, ..., high: counting measure.

    Whole numbers, grey levels, and any real column recorded at a visible resolution (multiples of 0.1, say).

    Args:
        low, high: the least and the greatest value of the lattice.
        step: the distance of neighbouring values.
        atoms: values with mass of their own, on or off the lattice; the continuous part is the lattice without them.
        loc, scale: what standardises it; from low and high where not given.
        digits: significant decimal digits the values are written with, so that 0.1 + 0.2 decodes to 0.3; 17 keeps all.

    >>> Lattice(0, 16).size
    17
    >>> Lattice(3.0, 8.0, step=0.5, atoms=(float("nan"),))
    Lattice(3, 8, step=0.5, missing)
    """

    LISTED: ClassVar[int] = 4  # times as many lattice values as distinct ones, and rows for each: a list of values, no range
    COARSE: ClassVar[int] = 1024  # a lattice of fewer values is one even where two thirds of the values differ

    low: float
    high: float
    step: float = 1.0
    atoms: tuple[float, ...] = ()
    loc: float = field(default=math.nan, repr=False)
    scale: float = field(default=math.nan, repr=False)
    digits: int = field(default=15, repr=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high and self.step > 0):
            raise DataError(f"Lattice needs finite low <= high and step > 0; got {self.low}, {self.high}, {self.step}.")
        steps = (self.high - self.low) / self.step
        if abs(steps - round(steps)) > 1e-6 * max(1.0, steps):
            raise DataError(f"Lattice's high must be low plus whole steps; got {self.low}, {self.high}, step {self.step}.")
        object.__setattr__(self, "atoms", checked_atoms(self.atoms))
        if len(self.lattice_atoms) >= self.size:
            raise DataError(f"Lattice({self.low}, {self.high}) has every lattice value among its atoms; leave one out.")
        if math.isnan(self.loc):
            object.__setattr__(self, "loc", (self.low + self.high) / 2)
        if not self.scale > 0:
            object.__setattr__(self, "scale", max(self.high - self.low, self.step) / math.sqrt(12))

    def __repr__(self) -> str:
        step = "" if self.step == 1 else f", step={self.step:.6g}"
        return f"Lattice({self.low:.10g}, {self.high:.10g}{step}{atoms_text(self.atoms)})"

    @property
    def size(self) -> int:
        """The number of lattice values."""
        return round((self.high - self.low) / self.step) + 1

    @property
    def is_narrow(self) -> bool:
        return self.size <= self.NARROW

    @property
    def is_whole(self) -> bool:
        """True where every value of the lattice is a whole number; the atoms need not be."""
        return float(self.low).is_integer() and float(self.step).is_integer()

    @property
    def lattice_atoms(self) -> tuple[float, ...]:
        """The atoms that are lattice values too."""
        index = [(a, (a - self.low) / self.step) for a in self.numbers]
        return tuple(a for a, i in index if abs(i - round(i)) < 1e-6 and 0 <= round(i) < self.size)

    @property
    def magnitude(self) -> float:
        largest = max(abs(self.low), abs(self.high), *map(abs, self.numbers))
        return math.inf if largest > 1e30 or self.step < 1e-30 else max(abs(self.low), abs(self.high)) / self.step

    @property
    def log_width(self) -> float:
        return math.log(self.step / self.scale)

    @classmethod
    def measure(cls, values: np.ndarray, step: float = 1.0, bounds: tuple[float, float] = EVERYWHERE) -> Lattice:
        """Return the Lattice of values that are whole multiples of a step from their least one.

        Every value of low..high where that is at most 256 of them; beyond, bounds widened by the range of the data on both
        sides, never across zero, with atoms.

        Args:
            values: (N,), NaN where missing; at least one is not.
            bounds: what the wider bounds must stay within.
        """
        nan = np.isnan(values)
        present = values[~nan] if nan.any() else values
        low, high = float(present.min()), float(present.max())
        if high - low < cls.NARROW * step:
            return cls(low, high, step, (math.nan,) if nan.any() else (), digits=17)
        distinct, counts = np.unique(present, return_counts=True)
        lattice = FoundLattice(low, high, step, 17, np.ones(len(distinct), dtype=bool))
        return cls.found(present, distinct, counts, lattice, bool(nan.any()), bounds)

    @classmethod
    def found(
        cls,
        present: np.ndarray,
        distinct: np.ndarray,
        counts: np.ndarray,
        lattice: FoundLattice,
        missing: bool,
        bounds: tuple[float, float] = EVERYWHERE,
    ) -> Lattice:
        """Return the Lattice of values on a lattice that was found; a wide one has atoms and wider bounds.

        Args:
            present: (N,) the values.
            distinct, counts: (M,) the different values, ascending, and the rows of each.
        """
        low, high, step, digits, on = lattice
        off, blank = distinct[~on].tolist(), [math.nan] if missing else []
        if round((high - low) / step) < cls.NARROW:
            return cls(low, high, step, (*off, *blank), digits=digits)
        spikes = on & cls._spikes(distinct, counts, len(present), lattice)
        loc, scale = standard(present, np.concatenate([distinct[spikes], off]))
        start, end = _widened(lattice, bounds)
        atoms = start + np.round((distinct[spikes] - start) / step) * step  # as the lattice writes them
        return cls(start, end, step, (*atoms.tolist(), *off, *blank), loc=loc, scale=max(scale, step / 4), digits=digits)

    @classmethod
    def _spikes(cls, distinct: np.ndarray, counts: np.ndarray, rows: int, lattice: FoundLattice) -> np.ndarray:
        """Return which values become atoms: frequent ones, or all that repeat where the values are a list and no range.

        Amounts of a tariff, say, lie far apart on their lattice and each in several rows: nothing lies between them.
        """
        size = round((lattice.high - lattice.low) / lattice.step) + 1
        listed = len(distinct) <= min(cls.NARROW, size // cls.LISTED) and float(np.median(counts)) >= cls.LISTED
        return counts > 1 if listed else frequent(distinct, counts, rows, lattice.step)


def _widened(lattice: FoundLattice, bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of a lattice moved out by the range of the data, within the bounds and never across zero."""
    low, high, step, digits, _ = lattice
    size = round((high - low) / step) + 1
    below = min(size - 1, math.floor((low - bounds[0]) / step)) if math.isfinite(bounds[0]) else size - 1
    above = min(size - 1, math.floor((bounds[1] - high) / step)) if math.isfinite(bounds[1]) else size - 1
    if low >= 0:
        below = min(below, math.floor(low / step + 1e-9))
    if high <= 0:
        above = min(above, math.floor(-high / step + 1e-9))
    start, end = low - below * step, high + above * step
    if digits < 17:
        # Zero, and not the -5e-17 that is left of 0.42 - 42 * 0.01.
        start, end = (0.0 if abs(t) < 1e-6 * step else float(round_digits(np.array(t), 14)) for t in (start, end))
    return start, end
