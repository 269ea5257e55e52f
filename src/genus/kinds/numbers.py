"""The kind of a column of numbers: a Lattice where they lie on a visible lattice and repeat, else a Real."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from genus.errors import DataError
from genus.kinds.atoms import PROBED, distinct_counts
from genus.kinds.lattice import EVERYWHERE, Lattice, common_step
from genus.kinds.real import Real
from genus.kinds.steps import find_steps, shortest_decimals

__all__ = ["LARGEST", "measure_numbers"]

LARGEST = 1e100  # beyond it squares overflow
GLANCE = 4096  # rows that nearly always tell whether values repeat
TIED = 0.5  # values repeat where a smaller share of them is different: a density would make spikes of them
NEAR, SEVERAL = 0.02, 5  # so near to both ends of shares, so many rows show that there they end
REPEATED = 0.8  # the same limit for values on a coarse lattice


class _Values(NamedTuple):
    """Holds the values of a column and how often each occurs, in all rows or in a part of them."""

    present: np.ndarray
    distinct: np.ndarray
    counts: np.ndarray
    probed: int  # rows that were counted

    @property
    def all_counted(self) -> bool:
        return self.probed == len(self.present)

    @property
    def variety(self) -> float:
        """Return the share of different values, without the few that nearly every row may have."""
        if self.counts.max() == 1:
            return 1.0
        common = (self.counts > 0.05 * self.probed) & (self.counts > 50 * np.median(self.counts))
        return float((~common).sum() / max(1, self.counts[~common].sum()))


def _probed(present: np.ndarray) -> _Values | None:
    """Return the counts in a few rows where these show that values hardly repeat; None where more rows must tell.

    A value that deserves an atom has a share of .002 or more, and so is found three times with a probability of .99.
    """
    if len(present) < 2 * GLANCE:
        return None
    distinct, counts = np.unique(present[:: len(present) // GLANCE], return_counts=True)
    return _Values(present, distinct, counts, int(counts.sum())) if counts.max() < 3 and counts.mean() < 1.01 else None


def _counted(present: np.ndarray, probe: bool) -> _Values:
    """Return the counts of values; `probe` counts a part of the rows where they are many."""
    part = present[:: len(present) // PROBED] if probe and len(present) > 4 * PROBED else present
    distinct, counts = distinct_counts(part)
    return _Values(present, distinct, counts, len(part))


def measure_numbers(
    name: str,
    values: np.ndarray,
    override: str | None = None,
    bounds: tuple[float, float] = EVERYWHERE,
    single: bool = False,
    chart: str = "affine",
) -> Lattice | Real:
    """Return the kind of a column of numbers.

    - Whole numbers are a `Lattice`: low..high where these are at most 256 values. A longer lattice is widened by the range of
      the data on both sides (never across zero, nor beyond `bounds`), with an atom at every value whose spike would be worth
      0.02 nats a row; or at every repeated value, where at most 256 values, a quarter of the lattice, occur, most in 4 rows or
      more.
    - Other numbers that repeat (distinct values fewer than half the rows, or than 80 % of them on a coarse lattice) are the
      lattice that holds 99 % of the rows, with the other values as atoms. Where they lie on no lattice and at most 256 values
      are distinct, they are a `Real` with an atom at every repeated value.
    - All other numbers are a `Real`, with an atom at every value whose spike would be worth 0.02 nats a row.

    Args:
        name: of the column, for messages.
        values: (N,), NaN where missing; at least one is a number.
        override: "lattice" or "real" instead of what these rules say.
        bounds: the least and the greatest number that whole numbers can be: those of an integer type, say.
        single: the values are of single precision; where they repeat, the shortest decimals of each are meant.
        chart: "affine"; or "auto", the chart under which the values are likeliest.

    Raises:
        DataError: `override` is "lattice", and the values lie on none.
    """
    low, high = float(values.min()), float(values.max())
    missing = math.isnan(low)
    present = values[~np.isnan(values)] if missing else values
    low, high = (float(present.min()), float(present.max())) if missing else (low, high)
    if low == high:
        low = float(shortest_decimals(present[:1])[0]) if single else low
        return Lattice(low, low, _resolution(low), (math.nan,) if missing else (), digits=17)
    any_size = override == "lattice" or math.isfinite(bounds[1])
    # Larger numbers may be rounded reals, unless their type says otherwise.
    if override != "real" and (any_size or max(-low, high) <= 2**31) and _is_whole(present):
        return Lattice.measure(values, common_step(present), bounds, chart, tails=True)
    counted = _probed(present) if override != "lattice" else None
    if counted is None:
        present = shortest_decimals(present) if single else present
        counted = _counted(present, probe=True)
    variety, few = counted.variety, len(counted.distinct) <= Lattice.NARROW
    tied = variety < TIED or (few and len(counted.distinct) < TIED * counted.probed)
    repeats = tied or variety < REPEATED
    if repeats or override == "lattice":
        counted = counted if counted.all_counted else _counted(present, probe=False)
    if override == "lattice" or (repeats and override != "real"):
        steps = find_steps(counted.distinct, counted.counts, single)
        if steps is not None and (override or tied or steps.high - steps.low < Lattice.COARSE * steps.step):
            within = _shares(counted, steps.step)
            return Lattice.from_steps(present, counted.distinct, counted.counts, steps, missing, within, chart, tails=True)
        if override == "lattice":
            raise DataError(f"Column {name!r} cannot be read as 'lattice': its values, such as {low:g}, lie on no lattice.")
    repeated = tied and len(counted.distinct) <= Lattice.NARROW
    atoms = Real.atoms_of(present, counted.distinct, counted.counts, counted.all_counted, repeated)
    ends = [] if chart == "affine" else _ends(present, low, high)
    return Real.measure(present, [*atoms.tolist(), *(end for end in ends if end not in atoms)], missing, chart)


def _ends(present: np.ndarray, low: float, high: float) -> list[float]:
    """Return the ends that values lie on, however rarely: these have no place on the open support that the others show."""
    shares = (low, high) == (0, 1) and min((present == end).sum() for end in (low, high)) > 1  # once, where scaled onto [0, 1]
    return [0.0, 1.0] if shares else [0.0] if 0 in (low, high) else []


def _shares(counted: _Values, step: float) -> tuple[float, float]:
    """Return the ends 0 and 1, or 0 and 100, of shares that lie on both, or next to both, more than once; else none."""
    for end in (1.0, 100.0):
        low, high = counted.distinct[0], counted.distinct[-1]
        beside = [
            counted.counts[counted.distinct <= NEAR * end].sum(),
            counted.counts[counted.distinct >= (1 - NEAR) * end].sum(),
        ]
        if 0 <= low <= 2 * step and end - 2 * step <= high <= end and min(beside) >= SEVERAL:
            return 0.0, end
    return EVERYWHERE


def _is_whole(present: np.ndarray) -> bool:
    """Return whether all values are whole numbers."""
    head = present[:1000]  # nearly always these decide
    return np.array_equal(head, np.rint(head)) and np.array_equal(present, np.rint(present))


def _resolution(value: float) -> float:
    """Return the step of a lattice of which a single value was seen: 1 for a whole number, .1 for 7.5."""
    places = 0 if value == round(value) else -int(Decimal(repr(value)).as_tuple().exponent)
    return max(10.0**-places, abs(value) * 1e-12)
