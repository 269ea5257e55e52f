"""The kind of a column of numbers: a Lattice where they lie on a visible lattice and repeat, else a Real."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from genus.errors import DataError
from genus.kinds.atoms import PROBED
from genus.kinds.lattice import EVERYWHERE, Lattice
from genus.kinds.real import Real
from genus.kinds.steps import find_lattice

__all__ = ["EXACT", "LARGEST", "measure_numbers"]

LARGEST = 1e100  # beyond it squares overflow
EXACT = 2**53  # beyond it a double skips whole numbers
TIED = 0.5  # the share of different values below which values repeat: a density would make spikes of them
REPEATED = 0.8  # the share below which they repeat if they lie on a coarse lattice


class _Values(NamedTuple):
    """The values of a column and how often each occurs, of all rows or of a part."""

    present: np.ndarray
    distinct: np.ndarray
    counts: np.ndarray
    probed: int  # rows that were counted

    @property
    def whole(self) -> bool:
        return self.probed == len(self.present)

    @property
    def variety(self) -> float:
        """The share of different values, the few aside that nearly every row may have."""
        common = (self.counts > 0.05 * self.probed) & (self.counts > 50 * np.median(self.counts))
        return float((~common).sum() / max(1, self.counts[~common].sum()))


def _counted(present: np.ndarray, probe: bool) -> _Values:
    part = present[:: len(present) // PROBED] if probe and len(present) > 4 * PROBED else present
    distinct, counts = np.unique(part, return_counts=True)
    return _Values(present, distinct, counts, len(part))


def measure_numbers(
    name: str,
    values: np.ndarray,
    wish: str | None = None,
    bounds: tuple[float, float] = EVERYWHERE,
    single: bool = False,
) -> Lattice | Real:
    """Return the kind of N floats, NaN where missing; at least one is not.

    Whole numbers: every value of low..high where that is at most 256 of them; beyond, bounds widened by the range of the data
    on both sides (never across zero, nor outside `bounds`), with an atom at every value whose spike would be worth 0.02 nats a
    row, or at every repeated one where at most 256 values, a quarter of the lattice, occur, most in 4 rows or more. Other
    numbers that repeat (distinct values fewer than half the rows; than 80 % of them where the lattice is coarse): the lattice
    that holds 99 % of the rows, the others being atoms; without a lattice and with at most 256 distinct values, an atom at
    every repeated one. The rest: a Real, with an atom at every value whose spike would be worth 0.02 nats a row.

    Args:
        name: of the column, for messages.
        wish: "lattice" or "real", to overrule.
        bounds: what the bounds of whole numbers must stay within: those of an integer type, say.
        single: the values were computed in single precision.

    Raises:
        DataError: a lattice is wished for, and the values lie on none.
    """
    nan = np.isnan(values)
    missing = bool(nan.any())
    present = values[~nan] if missing else values
    low, high = float(present.min()), float(present.max())
    if low == high:
        return Lattice(low, high, _resolution(low), (math.nan,) if missing else (), digits=17)
    if wish != "real" and _is_whole(present, wish == "lattice" or math.isfinite(bounds[1])):
        return Lattice.measure(values, bounds=bounds)
    counted = _counted(present, probe=True)
    variety, few = counted.variety, len(counted.distinct) <= Lattice.NARROW
    tied = variety < TIED or (few and len(counted.distinct) < TIED * counted.probed)
    repeats = tied or variety < REPEATED
    if repeats or wish == "lattice":
        counted = counted if counted.whole else _counted(present, probe=False)
    if wish == "lattice" or (repeats and wish != "real"):
        lattice = find_lattice(counted.distinct, counted.counts, single)
        if lattice is not None and (wish or tied or lattice.high - lattice.low < Lattice.COARSE * lattice.step):
            return Lattice.found(present, counted.distinct, counted.counts, lattice, missing)
        if wish == "lattice":
            raise DataError(f"Column {name!r} cannot be read as 'lattice': its values, such as {low:g}, lie on no lattice.")
    every = tied and len(counted.distinct) <= Lattice.NARROW
    atoms = Real.atoms_of(present, counted.distinct, counted.counts, counted.whole, every)
    return Real.measure(present, atoms.tolist(), missing)


def _is_whole(present: np.ndarray, any_size: bool) -> bool:
    """Return whether all are whole numbers, and none so large that it may be a rounded real unless `any_size`."""
    if not any_size and max(-present.min(), present.max()) > 2**31:
        return False
    head = present[:1000]  # nearly always these tell
    return np.array_equal(head, np.rint(head)) and np.array_equal(present, np.rint(present))


def _resolution(value: float) -> float:
    """Return the step of a lattice of which one value is all that was seen: 1 of a whole number, .1 of 7.5."""
    places = 0 if value == round(value) else -int(Decimal(repr(value)).as_tuple().exponent)
    return max(10.0**-places, abs(value) * 1e-12)
