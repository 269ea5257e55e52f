"""Columns as the search for relations sees them, and its thresholds of evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from genus.codec.arrow import type_name
from genus.codec.relations import ALL_DIGITS, WHOLE, exact_numbers, last_place
from genus.kinds import Category, Kind

__all__ = ["BROKEN", "FEWEST_ROWS", "MOST_COLUMNS", "PROBED", "SURE", "Candidate", "missing_alike"]

MOST_COLUMNS, FEWEST_ROWS = 64, 50  # a search among more columns, or in fewer rows, finds what is not there
BROKEN = 0.01  # of shuffled rows must break a relation, or it says nothing
SURE = 15.0  # nats: how improbable it must be that unrelated columns never break it
PROBED = 1000  # rows that rule most pairs out
FINE = 4  # decimals: columns of so many or more are of one unit, as far as their decimals tell


@dataclass(eq=False)
class Candidate:
    """Holds a column for the search.

    Attributes:
        name, kind, data: of the column.
        values: (N,) its numbers, or times in whole ticks, NaN where missing; (0,) of levels.
        unit: columns with the same can be compared.
        decimals: of the numbers, as relations count them.
    """

    name: str
    kind: Kind
    data: pa.ChunkedArray
    values: np.ndarray = field(default_factory=lambda: np.empty(0))
    unit: str = ""
    decimals: int = WHOLE

    @classmethod
    def of(cls, name: str, kind: Kind, data: pa.ChunkedArray) -> Candidate:
        """Return a column of a table for the search, with its kind."""
        plain = pa.types.is_boolean(data.type) or pa.types.is_dictionary(data.type) or pa.types.is_null(data.type)
        if plain or isinstance(kind, Category):
            return cls(name, kind, data)
        values = exact_numbers(data)
        if pa.types.is_temporal(data.type):
            return cls(name, kind, data, values, str(data.type))
        decimals = WHOLE if pa.types.is_integer(data.type) else _decimals(values)
        return cls(name, kind, data, values, f"{min(max(decimals, 0), FINE)} decimals", decimals)

    @property
    def is_number(self) -> bool:
        """Return whether the column holds numbers or time, and not categories."""
        return not isinstance(self.kind, Category) and len(self.values) > 0

    @property
    def dtype(self) -> str:
        """Return the name of Arrow's type of the column."""
        return type_name(self.data.type)

    @property
    def last_place(self) -> float:
        """Return the unit of the last decimal, 0 where there is none."""
        return last_place(self.decimals)


def missing_alike(columns: Sequence[Candidate]) -> list[list[Candidate]]:
    """Return columns of numbers in groups, each of those that are missing in the same rows."""
    groups: dict[bytes, list[Candidate]] = {}
    for column in columns:
        groups.setdefault(np.packbits(np.isnan(column.values)).tobytes(), []).append(column)
    return [*groups.values()]


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
