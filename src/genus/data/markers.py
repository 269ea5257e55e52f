"""Notes on what stands for missing values: numbers and dates such as -999, far from all others, and texts such as `?`."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.arrow import ends_of, from_cells, is_numeric, is_text, to_numbers
from genus.codec.notes import Note
from genus.codec.writing import Writing

__all__ = ["marker_notes"]

MARKERS = (-9, -99, -999, -9999, -99999, -99.9, -999.9, -999.99, -9999.9, 99, 999, 9999, 99999, 999999, 99.9, 999.9, 9999.9)
DAYS = [  # since 1970
    int((np.datetime64(day) - np.datetime64("1970-01-01")) // np.timedelta64(1, "D"))
    for day in ("9999-12-31", "2999-12-31", "2099-12-31", "1970-01-01", "1900-01-01", "1899-12-30", "1753-01-01", "0001-01-01")
]
FEWEST = 2  # rows that hold it,
FEWEST_BELOW = 5  # and of one that is the only number below 0


def marker_notes(table: pa.Table, fixed: Container[str] = (), writings: Mapping[str, Any] | None = None) -> Iterator[Note]:
    """Yield a note on each column of numbers or dates of which several are a marker that lies farther off than others spread.

    A negative marker is one too where no other number is below 0.

    Args:
        table: the columns.
        fixed: names of columns without a note.
        writings: how the times of columns were written that were text.

    >>> [*marker_notes(pa.table({"temp": [20.5, -999.9, 21.0, 19.25, -999.9]}))]
    ["column 'temp' holds -999.9 in 2 rows, far from its other values; missing=[-999.9] takes it for missing"]
    """
    for name, column in zip(table.column_names, table.columns, strict=True):
        if name in fixed:
            continue
        writing = (writings or {}).get(name)
        if pa.types.is_date32(column.type) or pa.types.is_timestamp(column.type):
            yield from _of_days(name, column, writing)
        if is_text(column.type):
            yield from _of_texts(name, column)
        if not is_numeric(column.type):
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
            elif marker < 0 <= rest.min() and count >= FEWEST_BELOW:
                reason = f"column {name!r} holds {marker} in {count:,} rows, and no other number below 0"
                yield Note(reason, "{} takes it for missing", {"missing": [marker]}, name)


def _of_texts(name: str, column: pa.ChunkedArray) -> Iterator[Note]:
    """Yield a note on each level that stands for a blank in files, `?` say; those of files are blanks already."""
    texts = column.drop_null()
    odd = texts.filter(pc.is_null(from_cells(texts)))
    for found in pc.value_counts(odd).to_pylist():
        if text := found["values"]:
            reason = f"column {name!r} holds {text!r} in {found['counts']:,} rows, a level like others in a frame"
            yield Note(reason, "{} takes it for missing", {"missing": [text]}, name)


def _of_days(name: str, column: pa.ChunkedArray, writing: Writing | None) -> Iterator[Note]:
    """Yield a note on an end of a column of dates that is a marker, as it is written."""
    if column.null_count == len(column):
        return
    days = column.drop_null().cast(pa.date32(), safe=False).cast(pa.int32()).to_numpy().astype(np.int64)
    for end in (int(days.min()), int(days.max())):
        rest, there = days[days != end], np.flatnonzero(days == end)
        if end not in DAYS or min(len(rest), len(there)) < FEWEST or np.abs(rest - end).min() <= np.ptp(rest):
            continue
        value = column.drop_null().take(pa.array(there[:1])).combine_chunks()
        text = (writing.format(value) if writing is not None else value.cast(pa.string()))[0].as_py()
        reason = f"column {name!r} holds {text} in {len(there):,} rows, far from its other values"
        yield Note(reason, "{} takes it for missing", {"missing": [text]}, name)
