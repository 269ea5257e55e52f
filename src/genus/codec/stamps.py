"""Columns of times as coordinates, and back as they were written."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.arrow import is_numeric, ticks_of, type_of
from genus.codec.notes import Note
from genus.codec.times import find_times, is_missing, texts_of
from genus.codec.writing import Writing
from genus.errors import DataError
from genus.kinds import Kind, Time
from genus.kinds.time import NANOSECONDS

__all__ = ["as_times", "rounding_note", "time_values", "type_of_time", "unit_of", "values_in", "write_times"]


def as_times(column: pa.ChunkedArray, writing: Writing | None) -> tuple[pa.ChunkedArray, tuple[int, str, int] | None] | None:
    """Return new values of a column as times, and of those that are no times the first one's row and text, and their number.

    Args:
        column: text, or whole numbers that are written times.
        writing: how the data that were measured are written; other ways are read too, where all rows are written so.

    Returns:
        None where the column holds no times at all.
    """
    texts = texts_of(column, writing)
    if texts is None or (is_numeric(column.type) and writing is None):
        return None
    array = writing.parse(texts) if writing is not None else None
    odd = (
        ~np.asarray(pc.is_null(texts)) & ~is_missing(texts, ()) & (np.asarray(pc.is_null(array)) if array is not None else True)
    )
    if array is None or odd.any():
        try:
            other = find_times("", column)
        except DataError:
            other = None
        if other is not None:
            return other.column, None
    if array is None or array.null_count == len(array):
        return None
    row = int(odd.argmax())
    return pa.chunked_array([array]), (row, texts[row].as_py(), int(odd.sum())) if odd.any() else None


def time_values(kind: Time, column: pa.ChunkedArray, label: str, writing: Writing | None) -> np.ndarray | None:
    """Return a column of times, of texts or of numbers that are written times as x, (N,); None where it holds no such times."""
    if not pa.types.is_temporal(column.type):
        found = as_times(column, writing)
        if found is None:
            return None
        column, odd = found
        if odd:
            row, text, count = odd
            raise DataError(f"The {label} holds {text!r} in row {row} ({count} such in all); expected {values_in(kind)}.")
    unit, concept = unit_of(column.type)
    if (concept in ("date", "instant")) != (kind.concept in ("date", "instant")) and concept != kind.concept:
        return None
    array = ticks_of(column).combine_chunks()
    null = np.asarray(pc.is_null(array))
    return np.where(null, math.nan, kind.from_ticks(np.asarray(pc.fill_null(array, 0)), unit))


def values_in(kind: Kind) -> str:
    """Return what a column's values are, for messages: "values in Lattice(0, 9)", or dates with the first and the last."""
    return kind.range_text(kind.low, kind.high) if isinstance(kind, Time) else f"values in {kind!r}"


def write_times(column: pa.ChunkedArray, writing: Writing) -> pa.ChunkedArray:
    """Return times as they were written: text, or whole numbers."""
    return pa.chunked_array([writing.format(chunk) for chunk in column.chunks], pa.string()).cast(type_of(writing.dtype))


def unit_of(kind: pa.DataType) -> tuple[str, str]:
    """Return the unit in which a type of Arrow counts time, and the concept that its values are.

    >>> unit_of(pa.timestamp("ms")), unit_of(pa.date32())
    (('ms', 'instant'), ('D', 'date'))
    """
    if pa.types.is_date(kind):
        return "D" if pa.types.is_date32(kind) else "ms", "date"
    concept = "instant" if pa.types.is_timestamp(kind) else "duration" if pa.types.is_duration(kind) else "time of day"
    return str(kind.unit), concept


def rounding_note(name: str, column: pa.ChunkedArray, kind: Kind) -> Note | None:
    """Return a note where the times of a column are finer than a double can count over their range; else None."""
    if not isinstance(kind, Time) or not kind.is_rounded or not pa.types.is_temporal(column.type):
        return None
    unit = unit_of(column.type)[0]
    ratio = NANOSECONDS[kind.unit] // NANOSECONDS[unit]
    ticks = column.drop_null().cast(pa.int64()).to_numpy()
    if ratio < 2 or not (ticks % ratio).any():
        return None
    return Note(f"column {name!r} is rounded to {kind.unit}: over so long a range a double cannot count {unit}", column=name)


def type_of_time(kind: Time) -> pa.DataType:
    """Return the type of Arrow that holds the values of a kind."""
    unit = kind.unit if kind.unit in ("ms", "us", "ns") else "s"
    if kind.concept == "date":
        return pa.date32()
    if kind.concept == "instant":
        return pa.timestamp(unit)
    if kind.concept == "duration":
        return pa.duration(unit)
    return pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)
