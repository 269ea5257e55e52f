"""Notes on numbers that stand for missing values, such as -999: far from all others, and the same in several rows."""

from __future__ import annotations

from collections.abc import Container, Iterator

import numpy as np
import pyarrow as pa

from genus.codec.blocks import ends_of
from genus.codec.frames import to_numbers
from genus.codec.notes import Note

__all__ = ["marker_notes"]

MARKERS = (-9, -99, -999, -9999, -99999, -99.9, -999.9, -999.99, -9999.9, 99, 999, 9999, 99.9, 999.9, 9999.9)
FEWEST = 2  # rows that hold it


def marker_notes(table: pa.Table, fixed: Container[str] = ()) -> Iterator[Note]:
    """Yield a note on each column of numbers of which several are a marker that lies farther off than the others spread.

    >>> [*marker_notes(pa.table({"temp": [20.5, -999.9, 21.0, 19.25, -999.9]}))]
    ["column 'temp' holds -999.9 in 2 rows, far from its other values; missing=[-999.9] takes it for missing"]
    """
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name in fixed or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            continue
        markers = [(end, m) for end in ends_of(column) for m in MARKERS if abs(end - m) < 1e-4]
        values = to_numbers(column) if markers else np.empty(0)
        values = values[~np.isnan(values)]
        for end, marker in markers:
            rest, count = values[values != end], int((values == end).sum())
            if count < FEWEST or len(rest) < FEWEST or not np.ptp(rest):
                continue
            if np.abs(rest - end).min() > np.ptp(rest):
                reason = f"column {name!r} holds {marker} in {count:,} rows, far from its other values"
                yield Note(reason, "{} takes it for missing", {"missing": [marker]}, name)
