"""Values that a coarse lattice has no place for, although it has one for all the others: 327,680 among tens of thousands."""

from __future__ import annotations

import math

import numpy as np

from genus.kinds.steps import ACCIDENT, EXACT, Steps

__all__ = ["STRAY", "without_strays"]

MOST = 5  # different values that may be strays,
STRAY = 0.002  # and the share of the rows that they may have
TRIES, DRAWN = 64, 4  # sets of so many values, whose common step is tried; most of them hold no stray
HEAD = 256  # values that nearly always rule a common step out


def without_strays(distinct: np.ndarray, counts: np.ndarray, step: float) -> Steps:
    """Return the lattice of whole multiples of a step above the least value, or a coarser one that leaves strays out.

    A stray is a value off the lattice: at most five are, of at most two rows in a thousand, and so many more values on it that
    chance does not explain them.

    Args:
        distinct, counts: (M,) the different values, ascending, and the rows of each.
        step: whole multiples of which all of them are apart.

    >>> amounts = np.array(sorted([*range(10_000, 600_000, 10_000), 327_680]), dtype=float)
    >>> steps = without_strays(amounts, np.where(amounts == 327_680, 1, 20), 80.0)
    >>> steps.low, steps.high, steps.step
    (10000.0, 590000.0, 10000.0)
    """
    whole = Steps(float(distinct[0]), float(distinct[-1]), step, 17, np.ones(len(distinct), dtype=bool))
    spare = int(STRAY * counts.sum())
    places = (distinct - distinct[0]) / step
    if not spare or len(distinct) < 2 * DRAWN or not places[-1] < EXACT:
        return whole
    rng = np.random.default_rng(0)
    index = np.rint(places).astype(np.int64)
    often = rng.permutation(index[counts >= np.median(counts)])[:HEAD]  # strays are rare
    factors = np.gcd.reduce(np.diff(often[rng.integers(0, len(often), (TRIES, DRAWN))]), axis=1)
    for factor in sorted({*factors.tolist()} - {0, 1}, reverse=True):
        classes, sizes = np.unique(often % factor, return_counts=True)
        if sizes.max() < len(often) - MOST:
            continue
        on = index % factor == classes[sizes.argmax()]
        off = int((~on).sum())
        if 0 < off <= MOST and counts[~on].sum() <= spare and _is_no_accident(len(distinct), off, factor):
            low, high = distinct[on][[0, -1]].tolist()
            return Steps(low, high, step * factor, 17, on)
    return whole


def _is_no_accident(values: int, off: int, factor: int) -> bool:
    """Return whether chance alone would hardly put all but so many values on a lattice as coarse as this."""
    ways = math.log(math.comb(values, off))
    return (values - off - 1) * math.log(factor) - ways >= math.log(ACCIDENT)
