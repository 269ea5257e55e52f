"""The lattice on which a real column was recorded: multiples of 0.1, halves, or an affine image of whole numbers.

A flexible density on values that repeat grows without bound, on held-out rows too, since the same values repeat among them.
With counting measure on the lattice it cannot: every log-probability is at most 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

__all__ = [
    "ACCIDENT",
    "EXACT",
    "Steps",
    "find_steps",
    "half_unit",
    "points",
    "round_digits",
    "shortest_decimals",
    "significant_digits",
]

DIGITS = 9  # more significant digits than these are no sign that a person or an instrument rounded
WIDEST = 2**20  # a lattice of more values is as good as the real line
NOISE = 0.02  # share of a step by which rounding to the column's digits may move a value off its lattice point
EXACT = 2**53  # beyond it a double skips whole numbers
ACCIDENT = 1000.0  # to one are the odds that a common step of numbers is none
FLOAT = 15  # the significant digits that every double keeps


class Steps(NamedTuple):
    """Describes the lattice of a column: low, low + step, ..., high.

    Attributes:
        low, high: the least and the greatest value of the column that lies on the lattice.
        step: the distance of neighbouring lattice values.
        digits: the significant decimal digits of the values; 17 keeps all.
        on: (M,) bool, which of the column's distinct values lie on the lattice.
    """

    low: float
    high: float
    step: float
    digits: int
    on: np.ndarray


def round_digits(v: np.ndarray, digits: int | np.ndarray) -> np.ndarray:
    """Return numbers rounded to so many significant decimal digits: the doubles that their decimal text would be read as.

    >>> round_digits(np.array([0.1 + 0.2, 2 / 3]), 3)
    array([0.3  , 0.667])
    """
    v = np.asarray(v, dtype=np.float64)
    size = np.abs(v)
    exponent = np.floor(np.log10(np.where((size > 0) & np.isfinite(size), size, 1.0)))
    places = digits - 1 - exponent
    power = 10.0 ** np.minimum(np.abs(places), 22)  # up to here a power of ten is exact, and so one operation rounds rightly
    with np.errstate(over="ignore"):
        out = np.where(places >= 0, np.round(v * power) / power, np.round(v / power) * power)
    extreme = np.abs(places) > 22
    if extreme.any():
        count = np.broadcast_to(digits, v.shape)[extreme]
        out[extreme] = [float(f"{x:.{d - 1}e}") for x, d in zip(v[extreme].tolist(), count.tolist(), strict=True)]
    return out


def shortest_decimals(v: np.ndarray) -> np.ndarray:
    """Return the shortest decimals, of six digits or more, that are read as the same float32 numbers: 0.1, not 0.10000000149.

    >>> shortest_decimals(np.array([0.1], dtype=np.float32))
    array([0.1])
    """
    single = v.astype(np.float32)
    out = single.astype(np.float64)
    unsolved = np.flatnonzero(np.isfinite(out))
    for digits in (6, 7, 8, 9):
        decimals = round_digits(out[unsolved], digits)
        same = decimals.astype(np.float32) == single[unsolved]
        out[unsolved[same]] = decimals[same]
        unsolved = unsolved[~same]
    return out


def points(low: float, step: float, index: np.ndarray) -> np.ndarray:
    """Return the lattice values low + index * step, with a true zero where only rounding errors are left of it."""
    value = low + index * step
    if low == 0:
        return value
    return np.where(np.abs(value) < 1e-13 * abs(low), 0.0, value)


def significant_digits(v: np.ndarray) -> int | None:
    """Return the fewest significant digits, at most 9, that write every value exactly; None where more are needed."""
    first = v[:1000]
    for digits in range(1, DIGITS + 1):
        if np.array_equal(round_digits(first, digits), first) and np.array_equal(round_digits(v, digits), v):
            return digits
    return None


def half_unit(v: np.ndarray, digits: int) -> np.ndarray:
    """Return half a unit in the last of the significant digits: how far rounding may have moved each value."""
    size = np.abs(v)
    return 0.5 * 10.0 ** (np.floor(np.log10(np.where(size > 0, size, 1.0))) - digits + 1)


def find_steps(values: np.ndarray, counts: np.ndarray, single: bool = False) -> Steps | None:
    """Return the coarsest lattice with at least 99 % of the rows and 80 % of the distinct values; None where there is none.

    Decimal steps (1, 0.5, 0.25, 0.2 times a power of ten) are tried first and must reproduce every value exactly at the
    column's own number of digits, so that 0.36398 and 9.364 may both be points of -2.63602 + k. Where no such step fits, a
    common divisor of the gaps is sought, which finds the affine images of whole numbers that standardising leaves behind.

    Args:
        values: (M,) the distinct values, ascending.
        counts: (M,) the rows of each.
        single: the values were computed in single precision, and are that far off.

    >>> steps = find_steps(np.array([0.1, 0.2, 0.4, 0.5]), np.array([3, 3, 3, 3]))
    >>> steps.low, steps.high, steps.step
    (0.1, 0.5, 0.1)
    """
    spread = float(values[-1] - values[0])
    if len(values) < 2 or not spread > 0:
        return None
    if len(values) == 2:
        return Steps(float(values[0]), float(values[1]), spread, FLOAT + 2, np.ones(2, dtype=bool))
    digits = significant_digits(values)
    if digits is not None:
        top = math.ceil(math.log10(spread))
        for exponent in range(top, top - 8, -1):
            for factor in (1.0, 0.5, 0.25, 0.2):
                step = float(f"{factor}e{exponent}")
                if spread / WIDEST <= step <= spread and (steps := _decimal(values, counts, step, digits)):
                    return _coarser(steps, values)
    return next(filter(None, (_affine(values, counts, step, single) for step in _candidate_steps(values))), None)


def _enough(on: np.ndarray, counts: np.ndarray) -> bool:
    """Return whether enough rows and distinct values lie on a lattice."""
    return bool(counts[on].sum() >= 0.99 * counts.sum() and on.sum() >= 0.8 * len(on))


def _decimal(values: np.ndarray, counts: np.ndarray, step: float, digits: int) -> Steps | None:
    """Return the lattice of this decimal step, where it reproduces enough values at their digits; else None."""
    anchor = values[counts.argmax()]
    place = np.round((values - anchor) / step)
    slack = half_unit(values, digits)
    slack = np.where(slack <= NOISE * step, slack, 0.0)
    off = values - place * step
    near = np.abs(off - anchor) <= slack + slack[counts.argmax()] + 1e-9 * step
    if not _enough(near, counts):
        return None
    offset = _offset(off[near] - slack[near], off[near] + slack[near], counts[near]) if slack[near].any() else float(anchor)
    low = _tidy(offset + place[near].min() * step, values)
    index = np.round((values - low) / step)
    on = near & (round_digits(points(low, step, index), digits) == values)
    if not _enough(on, counts):
        return None
    low, high = (_tidy(low + i * step, values) for i in (index[on].min(), index[on].max()))
    return Steps(low, high, step, digits, on)


def _coarser(steps: Steps, values: np.ndarray) -> Steps:
    """Return a lattice with the greatest step of which its values are whole multiples apart: eighths, not fortieths."""
    index = np.rint((values[steps.on] - steps.low) / steps.step).astype(np.int64)
    factor = int(np.gcd.reduce(index))
    if factor == 1 or (len(index) - 1) * math.log(factor) < math.log(ACCIDENT):
        return steps
    return steps._replace(step=float(f"{factor * steps.step:.{FLOAT}g}"))


def _tidy(x: float, values: np.ndarray) -> float:
    """Return x without the last bits, which sums of numbers of the values' size leave behind: 0.1 for 3.7 - 36 * 0.1."""
    return float(np.round(x, 13 - math.ceil(math.log10(np.abs(values).max()))))


def _offset(lower: np.ndarray, upper: np.ndarray, counts: np.ndarray) -> float:
    """Return the shortest number within the most intervals [lower, upper]: each value bounds the offset by its own rounding."""
    ends = np.concatenate([lower, upper])
    order = np.lexsort((np.repeat([0, 1], len(lower)), ends))
    covered = np.concatenate([counts, -counts])[order].cumsum()
    best = int(covered.argmax())
    first, last = ends[order[best]], ends[order[best + 1]]
    middle = (first + last) / 2
    rounded = round_digits(np.full(FLOAT, middle), np.arange(1, FLOAT + 1))
    inside = rounded[(rounded > first) & (rounded < last)]  # on an end, rounding could go either way
    return float(inside[0]) if len(inside) else float(middle)


def _candidate_steps(values: np.ndarray) -> list[float]:
    """Return steps to try, the largest first: the most frequent gaps between neighbours, the smallest, and parts of them."""
    gaps = np.diff(values)
    gaps = gaps[gaps >= (values[-1] - values[0]) / WIDEST]
    rounded, first, repeats = np.unique(round_digits(gaps, 5), return_index=True, return_counts=True)
    chosen = {*np.argsort(repeats)[::-1][:6].tolist(), *range(min(6, len(rounded)))}
    return sorted({float(gaps[first[i]]) / part for i in chosen for part in (1, 2, 3, 10, 100)}, reverse=True)


def _affine(values: np.ndarray, counts: np.ndarray, step: float, single: bool) -> Steps | None:
    """Return the lattice near a candidate step, refined over wider and wider reaches around the most frequent value.

    None where too few values lie on it.
    """
    anchor, reach = values[counts.argmax()], 32.0 * step
    low = float(anchor)
    resolution = 8 * float(np.finfo(np.float32 if single else np.float64).eps * np.abs(values).max())
    while True:
        inside = np.abs(values - anchor) <= reach
        place = np.round((values[inside] - low) / step)
        near = np.abs(values[inside] - low - place * step) <= NOISE * step
        if near.sum() < 0.8 * len(near):
            return None
        if near.sum() > 2 and np.ptp(place[near]) > 0:
            step, low = (float(t) for t in np.polyfit(place[near], values[inside][near], 1, w=np.sqrt(counts[inside][near])))
        if inside.all() or not step > 0:
            break
        reach *= 4
    index = np.round((values - low) / step) if step > 0 else np.zeros_like(values)
    on = np.abs(values - low - index * step) <= resolution
    merged = len(np.unique(index[on])) < on.sum()
    if merged or not step > 8 * resolution or not _enough(on, counts) or np.ptp(index[on]) >= WIDEST:
        return None
    low, high = float(values[on][0]), float(values[on][-1])  # the ends exactly, and zero where it is one of them
    return Steps(low, high, (high - low) / float(np.ptp(index[on])), FLOAT + 2, on)
