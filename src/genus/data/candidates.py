"""Columns as the search for relations sees them, and its thresholds of evidence."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from genus.codec.arrow import type_name
from genus.codec.relations import ALL_DIGITS, WHOLE, exact_numbers
from genus.kinds import Category, Kind

__all__ = ["BROKEN", "FEWEST_ROWS", "MOST_COLUMNS", "PROBED", "SURE", "Candidate", "candidate"]

MOST_COLUMNS, FEWEST_ROWS = 64, 50  # a search among more columns, or in fewer rows, finds what is not there
BROKEN = 0.01  # of shuffled rows must break a relation, or it says nothing
SURE = 15.0  # nats: how improbable it must be that unrelated columns never break it
PROBED = 1000  # rows that rule most pairs out
FINE = 4  # decimals: columns of so many or more are of one unit, as far as their decimals tell


@dataclass(eq=False)
class Candidate:
    """Holds a column for the search: its values as numbers (NaN where missing), or codes of a few."""

    name: str
    kind: Kind
    data: pa.ChunkedArray
    values: np.ndarray = field(default_factory=lambda: np.empty(0))  # of a number or of time
    unit: str = ""  # columns of one unit can be compared
    decimals: int = WHOLE

    @property
    def is_number(self) -> bool:
        """Return whether the column holds numbers or time, and not categories."""
        return not isinstance(self.kind, Category) and len(self.values) > 0

    @property
    def dtype(self) -> str:
        """Return the name of Arrow's type of the column."""
        return type_name(self.data.type)


def candidate(name: str, kind: Kind, data: pa.ChunkedArray) -> Candidate:
    """Return a column of a table for the search, with its kind."""
    found = Candidate(name, kind, data)
    if (
        isinstance(kind, Category)
        or pa.types.is_boolean(data.type)
        or pa.types.is_dictionary(data.type)
        or pa.types.is_null(data.type)
    ):
        return found
    found.values = exact_numbers(data)
    if pa.types.is_temporal(data.type):
        found.unit = str(data.type)
        return found
    if not pa.types.is_integer(data.type):
        found.decimals = _decimals(found.values)
    found.unit = f"{min(max(found.decimals, 0), FINE)} decimals"
    return found


def _decimals(values: np.ndarray) -> int:
    """Return the least number of decimals with which all values are written; `ALL_DIGITS` where there is none."""
    present = values[~np.isnan(values)]
    least = 0
    for part in (present[:PROBED], present):
        places = (d for d in range(least, 13) if np.array_equal(np.round(part, d), part))
        least = next(places, ALL_DIGITS)
        if least == ALL_DIGITS:
            break
    return least
