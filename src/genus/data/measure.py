"""The kind of a column, measured from its values.

The aim of every rule: no flexible density may win by spikes on values that repeat, and nothing may be lost on the way back.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.errors import DataError
from genus.frames import to_numbers
from genus.lattices import FoundLattice, find_lattice, round_digits, shortest
from genus.space import Category, Kind, Lattice, Real

__all__ = ["Unmeasurable", "measure", "measure_numbers", "natural_order", "whole_lattice"]

NARROW = 256  # a lattice of at most so many values is modelled value by value and needs no atoms
LISTED = 4  # times as many lattice values as distinct ones, and rows for each: they are a list of values, not a range
COARSE = 1024  # a lattice of fewer values is one even where two thirds of the values differ
SPIKE = 0.02  # nats a row that a spike on a value must be worth before the value becomes an atom
PROBE = 50_000  # rows that decide whether values repeat, where there are many more
LARGEST = 1e100  # beyond it squares overflow
EXACT = 2**53  # beyond it a double skips whole numbers
LEVELS = 10_000  # more levels than this are left out


class Unmeasurable(Exception):
    """The column should be left out; the message says why, and how to keep it where that is possible."""


def measure(name: str, column: pa.ChunkedArray, wish: str | None = None, discrete: bool = False) -> Kind:
    """The kind of a column.

    Text, booleans and dictionaries are a Category, with a level None where values are missing; whole numbers (50.0 too), dates
    and times a Lattice; other numbers a Lattice where they lie on a visible lattice and repeat, else a Real.

    Args:
        name: for messages.
        column: of N values.
        wish: "category", "lattice" or "real", to overrule.
        discrete: few whole numbers are a Category: what a context should be.

    Raises:
        DataError: an infinite or absurdly large value, or a wish that the values contradict.
        Unmeasurable: an identifier, free text, or a type that is no single value.
    """
    kind = column.type
    if wish not in (None, "real", "lattice", "category"):
        raise DataError(f"kinds[{name!r}] is {wish!r}; expected 'real', 'lattice', 'category' or a Kind such as Lattice(0, 9).")
    if column.null_count == len(column):
        return Category((None,))
    if pa.types.is_dictionary(kind) and not isinstance(kind.value_type, pa.ExtensionType):
        if wish in ("real", "lattice"):
            raise DataError(f"Column {name!r} holds categories; it cannot be read as {wish!r}. Convert it to numbers first.")
        declared = column.unify_dictionaries().chunk(0).dictionary.drop_null().to_pylist()
        return Category((*dict.fromkeys(declared), *([None] if column.null_count else [])))
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (text or pa.types.is_boolean(kind) or _is_number(kind) or pa.types.is_temporal(kind)):
        raise Unmeasurable(f"column {name!r} holds {kind} values, neither numbers, text nor dates")
    if text and wish in ("real", "lattice"):
        raise DataError(f"Column {name!r} holds text such as {_first(column)!r}; it cannot be read as {wish!r}.")
    if text or pa.types.is_boolean(kind) or wish == "category":
        return _levels(name, column, text and wish is None)
    values = to_numbers(column)
    _refuse_absurd(name, values)
    if pa.types.is_temporal(kind):
        return _temporal(name, column, values)
    present = values[~np.isnan(values)]
    if not len(present):
        return Category((None,))
    if pa.types.is_integer(kind) and np.abs(present).max() > EXACT:
        return _beyond_exact(name, column)
    if wish is None and pa.types.is_integer(kind) and len(present) == len(values) >= 50 and (np.diff(values) == 1).all():
        raise Unmeasurable(f'column {name!r} numbers the rows; keep it with kinds={{{name!r}: "lattice"}}')
    if discrete and wish is None and np.array_equal(present, np.rint(present)) and len(np.unique(present)) <= 20:
        return _levels(name, column, False)
    if pa.types.is_float32(kind):
        values = shortest(values)
    single = pa.types.is_float32(kind)
    limits = np.iinfo(kind.to_pandas_dtype()) if pa.types.is_integer(kind) else None
    bounds = (-math.inf, math.inf) if limits is None else (float(limits.min), float(limits.max))
    return measure_numbers(name, values, wish, bounds, single)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _first(column: pa.ChunkedArray) -> Any:
    return next((v for v in column.to_pylist() if v is not None), None)


def _refuse_absurd(name: str, values: np.ndarray) -> None:
    with np.errstate(invalid="ignore"):
        bad = np.abs(values) > LARGEST
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        what = "is infinite" if np.isinf(values[row]) else f"is {values[row]:g}, beyond 1e100"
        raise DataError(
            f"Column {name!r} {what} in row {row} ({int(bad.sum())} such in all); replace such values by missing ones, or leave"
            " them out."
        )


# -- categories -----------------------------------------------------------------------------------------------------------


def natural_order(levels: list[Any]) -> list[Any]:
    """Sorted as a person would: numbers within text by value.

    >>> natural_order(["a10", "a9", "b"])
    ['a9', 'a10', 'b']
    """
    if not all(isinstance(level, str) for level in levels):
        return sorted(levels)

    def parts(text: str) -> tuple[list[tuple[bool, int, str]], str]:
        split = [p for p in re.split(r"([0-9]+)", text) if p]
        return [(not p.isdecimal(), int(p), "") if p.isdecimal() else (True, 0, p) for p in split], text

    return sorted(levels, key=parts)


def _levels(name: str, column: pa.ChunkedArray, suspicious: bool) -> Category:
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        column = pc.add(column, pa.scalar(0.0, column.type))  # -0.0 and 0.0 are one level
    found = pc.unique(column)
    distinct, rows = len(found) - (found.null_count > 0), len(column) - column.null_count
    if suspicious and distinct >= 50 and (distinct > 0.5 * rows or distinct > LEVELS):
        raise Unmeasurable(
            f"column {name!r} looks like an identifier or free text ({distinct:,} different values in {rows:,} rows);"
            f' keep it with kinds={{{name!r}: "category"}}'
        )
    levels = natural_order([v for v in found.to_pylist() if v is not None])
    return Category((*levels, *([None] if column.null_count else [])))


def _beyond_exact(name: str, column: pa.ChunkedArray) -> Category:
    distinct = pc.count_distinct(column).as_py()
    if distinct > 1000 or distinct > 0.5 * len(column):
        raise Unmeasurable(
            f"column {name!r} holds whole numbers beyond 2**53, which floating point cannot tell apart, and looks like an"
            f' identifier ({distinct:,} different values); keep it with kinds={{{name!r}: "category"}}'
        )
    return _levels(name, column, False)


# -- time -----------------------------------------------------------------------------------------------------------------


def _temporal(name: str, column: pa.ChunkedArray, values: np.ndarray) -> Kind:
    """Time in the column's own unit, on the lattice of its greatest common divisor."""
    ticks = (
        pc.unique(column.drop_null().cast(pa.int32() if column.type.bit_width == 32 else pa.int64()))
        .to_numpy()
        .astype(np.int64)
    )
    ticks = np.sort(ticks)
    if not np.array_equal(ticks.astype(np.float64).astype(np.int64), ticks):
        raise Unmeasurable(
            f"column {name!r} is finer than floating point can tell apart ({column.type}); convert it to a coarser unit"
        )
    step = int(np.gcd.reduce(np.diff(ticks))) if len(ticks) > 1 else 1
    return whole_lattice(values, step=float(step))


# -- numbers --------------------------------------------------------------------------------------------------------------


def _resolution(value: float) -> float:
    """The step of a lattice of which one value is all that was seen: 1 of a whole number, .1 of 7.5."""
    places = 0 if value == round(value) else -int(Decimal(repr(value)).as_tuple().exponent)
    return max(10.0**-places, abs(value) * 1e-12)


def measure_numbers(
    name: str,
    values: np.ndarray,
    wish: str | None = None,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    single: bool = False,
) -> Kind:
    """The kind of N floats, NaN where missing; at least one is not.

    Whole numbers: every value of low..high where that is at most 256 of them; beyond, bounds widened by the range of the data
    on both sides (never across zero, nor outside `bounds`), with an atom at every value whose spike would be worth 0.02 nats a
    row, or at every repeated one where at most 256 values, a quarter of the lattice, occur, most in 4 rows or more. Other
    numbers that repeat (distinct values fewer than half the rows; than 80 % of them where the lattice is coarse): the lattice
    that holds 99 % of the rows, the others being atoms; without a lattice and with at most 256 distinct values, an atom at
    every repeated one. The rest: a Real, with an atom at every value whose spike would be worth 0.02 nats a row.
    """
    nan = np.isnan(values)
    present = values[~nan] if nan.any() else values
    missing = (math.nan,) if nan.any() else ()
    low, high = float(present.min()), float(present.max())
    if low == high:
        return Lattice(low, high, _resolution(low), missing, digits=17)
    whole = max(-low, high) <= 2**31 or wish == "lattice" or math.isfinite(bounds[1])
    head = present[:1000]
    if wish != "real" and whole and np.array_equal(head, np.rint(head)) and np.array_equal(present, np.rint(present)):
        return whole_lattice(values, bounds=bounds)
    probe = present if len(present) <= 4 * PROBE else present[:: len(present) // PROBE]
    distinct, counts = np.unique(probe, return_counts=True)
    common = (counts > 0.05 * len(probe)) & (counts > 50 * np.median(counts))
    variety = (~common).sum() / max(1, counts[~common].sum())  # the share of different values
    ties = variety < 0.5 or (len(distinct) <= NARROW and len(distinct) < 0.5 * len(probe))
    repeats = ties or variety < 0.8
    if len(probe) < len(present) and (repeats or wish == "lattice"):
        distinct, counts = np.unique(present, return_counts=True)
    if wish == "lattice" or (repeats and wish != "real"):
        lattice = find_lattice(distinct, counts, single)
        if lattice is not None and (ties or wish == "lattice" or lattice.high - lattice.low < COARSE * lattice.step):
            return _on_lattice(present, distinct, counts, lattice, missing)
        if wish == "lattice":
            raise DataError(f"Column {name!r} cannot be read as 'lattice': its values, such as {low:g}, lie on no lattice.")
    if len(probe) < len(present) and not repeats:  # only what repeats in the probe can hold a share worth an atom
        chosen = distinct[counts >= 3]
        counts = np.array([np.count_nonzero(present == v) for v in chosen], dtype=np.int64)
        spikes = chosen[counts * np.log(np.maximum(counts, 1)) >= SPIKE * len(present)]
    else:
        every = ties and len(distinct) <= NARROW
        spikes = distinct[counts > 1 if every else _spikes(distinct, counts, len(present), None)]
    loc, scale = _standard(present, spikes)
    return Real(loc, scale, (*spikes.tolist(), *missing))


def whole_lattice(values: np.ndarray, step: float = 1.0, bounds: tuple[float, float] = (-math.inf, math.inf)) -> Lattice:
    """The Lattice of values that are whole multiples of a step from their least one; NaN where missing."""
    nan = np.isnan(values)
    present = values[~nan] if nan.any() else values
    missing = (math.nan,) if nan.any() else ()
    low, high = float(present.min()), float(present.max())
    if high - low < NARROW * step:
        return Lattice(low, high, step, missing, digits=17)
    distinct, counts = np.unique(present, return_counts=True)
    lattice = FoundLattice(low, high, step, 17, np.ones(len(distinct), dtype=bool))
    return _on_lattice(present, distinct, counts, lattice, missing, bounds)


def _on_lattice(
    present: np.ndarray,
    distinct: np.ndarray,
    counts: np.ndarray,
    lattice: FoundLattice,
    missing: tuple[float, ...],
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Lattice:
    """The Lattice of a lattice: narrow, as it is; wide, with atoms and wider bounds."""
    low, high, step, digits, on = lattice
    off = distinct[~on]
    size = round((high - low) / step) + 1
    if size <= NARROW:
        return Lattice(low, high, step, (*off.tolist(), *missing), digits=digits)
    # Amounts of a tariff, say, far apart on their lattice and each in several rows: nothing lies between them.
    listed = len(distinct) <= min(NARROW, size // LISTED) and float(np.median(counts)) >= LISTED
    spikes = on & (counts > 1 if listed else _spikes(distinct, counts, len(present), step))
    loc, scale = _standard(present, np.concatenate([distinct[spikes], off]))
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
    atoms = start + np.round((distinct[spikes] - start) / step) * step  # as the lattice writes them
    return Lattice(
        start, end, step, (*atoms.tolist(), *off.tolist(), *missing), loc=loc, scale=max(scale, step / 4), digits=digits
    )


def _spikes(distinct: np.ndarray, counts: np.ndarray, rows: int, step: float | None) -> np.ndarray:
    """Which distinct values deserve an atom: far more rows than chance puts there, and a spike worth 0.02 nats a row.

    Expected, on a lattice, is what the ten values on either side make of it; off one, how often the other values repeat. Chance
    stays below 5 + expected + 5 sqrt(expected). The worth of a spike is share * log(rows there / expected).
    """
    out = np.zeros(len(distinct), dtype=bool)
    for i in map(int, np.flatnonzero((counts >= 5) & (counts >= 0.001 * rows))):
        if step is None:
            expected = (rows - counts[i]) / max(1, len(distinct) - 1) - 1 if len(distinct) > 1 else 0.0
            smooth = 1.0
        else:
            first, last = max(0, i - 10), min(len(distinct) - 1, i + 10)
            around = np.delete(counts[first : last + 1], i - first)
            smooth = expected = float(np.median(around)) * len(around) * step / float(distinct[last] - distinct[first])
        above_chance = counts[i] >= 5 + expected + 5 * math.sqrt(max(0.0, expected))
        out[i] = above_chance and counts[i] / rows * math.log(counts[i] / smooth) >= SPIKE
    return out


def _standard(present: np.ndarray, atoms: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation off the atoms, far outliers pulled in: one absurd value must not squash the rest."""
    rest = present[~np.isin(present, atoms)] if len(atoms) else present
    rest = rest if len(rest) > 1 and np.ptp(rest) > 0 else present
    sample = rest if len(rest) <= PROBE else rest[:: len(rest) // PROBE]
    lower, upper = np.quantile(sample, [0.1, 0.9])
    if upper > lower and max(-rest.min(), rest.max()) < 1e30:  # beyond, the scale must say that float32 cannot hold it
        reach = 20 * (upper - lower)
        if rest.min() < lower - reach or rest.max() > upper + reach:
            rest = rest.clip(lower - reach, upper + reach)
    return float(rest.mean()), float(rest.std())
