"""Test whether a formula of other columns gives a column, and whether chance alone would not."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from genus.codec.formulas import Formula
from genus.codec.relations import ALL_DIGITS, EXACTLY
from genus.data.candidates import BROKEN, SURE, Candidate

__all__ = ["COARSE", "FEWEST", "GLANCE", "LONG", "SHORT", "formula_of", "glance", "says_something"]

GLANCE = 32  # rows that rule nearly all products out
COARSE = 20  # units of the last decimal: what varies by less is near a sum by chance
FEW = 0.005  # of the rows, at most, that are farther from a formula: a total that was not typed as it is
FEWEST = 10  # different values of a column that is to be a multiple of another
SHORT = 4  # significant digits of the factor of a line, at most: 1.8, 1.609
LONG = 7  # of a factor alone, which all rows bound from both sides: 0.19, 0.621371, 2.204623


def glance(columns: Sequence[Candidate]) -> tuple[np.ndarray, np.ndarray]:
    """Return values of a few rows from all over (D, GLANCE), and the units of the last decimals (D,), 0 of all digits."""
    rows = np.linspace(0, len(columns[0].values) - 1, GLANCE).astype(np.int64)
    return np.stack([c.values[rows].astype(np.float64) for c in columns]), np.array([c.last_place for c in columns])


def formula_of(column: Candidate, text: str, of: Sequence[Candidate], most: int) -> Formula | None:
    """Return a column as a formula whose rest is at most some units of its last decimal in all rows but few; else None."""
    one = Formula(column.name, text, tuple(c.name for c in of), tuple(c.decimals for c in of), column.dtype, column.decimals)
    values, given = column.values, one.values(pa.table({c.name: c.data for c in of}))
    known = ~np.isnan(values)
    if (known & np.isnan(given)).any():
        return None
    left, blank = np.abs(values - given)[known], bool((~known & ~np.isnan(given)).any())
    unit = column.last_place
    if column.decimals >= ALL_DIGITS:
        return one if (left <= EXACTLY * np.abs(values[known])).all() and not blank else None
    if (left > (most + 0.25) * unit).sum() > FEW * len(left):
        return None
    if left.max(initial=0.0) <= 0.25 * unit and not blank:
        return one
    rest = f"{column.name} - ({text})" if re.search(r" [-+] ", text) else f"{column.name} - {text}"
    return replace(one, rest=rest)


def says_something(one: Formula, column: Candidate, of: Sequence[Candidate], tries: float) -> bool:
    """Return whether rows in which the column is shuffled would break a formula often enough."""
    given = one.values(pa.table({c.name: c.data for c in of}))
    rows = np.flatnonzero(~np.isnan(column.values) & ~np.isnan(given))
    if len(rows) < 2:
        return False
    shuffled = column.values[np.random.default_rng(0).permutation(rows)]
    unit = column.last_place or EXACTLY * np.abs(shuffled)
    broken = float((np.abs(shuffled - given[rows]) > 1.25 * unit).mean())
    return broken >= BROKEN and broken * len(rows) >= SURE + math.log(tries)
