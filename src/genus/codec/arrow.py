"""Take small steps with columns of Arrow: names of types, blanks, whole numbers and time, dictionaries, samples of rows."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["ALWAYS", "ends_of", "from_cells", "from_ticks", "is_blank", "is_numeric", "is_text", "sample_rows",
           "spelled_alike", "ticks_of", "to_dictionary", "to_numbers", "type_name", "type_of", "unless_known", "value_type",
           "without_dictionary"]  # fmt: skip

# Missing wherever they stand; those of spreadsheets and of languages among them.
ALWAYS = ("", "?", "NA", "N/A", "n/a", "<NA>", "#N/A", "#N/A N/A", "#NA", "nan", "NaN", "NAN", "-nan", "-NaN", "NaT", "null",
          "NULL", "Null", "#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NUM!", "#NAME?", "1.#IND", "1.#QNAN", "-1.#IND",
          "-1.#QNAN")  # fmt: skip

Column = TypeVar("Column", pa.Array, pa.ChunkedArray)

# -- types ----------------------------------------------------------------------------------------------------------------


def type_name(kind: pa.DataType) -> str:
    """Return a name of Arrow's type that `type_of` reads back: Arrow's own wherever it has one."""
    if pa.types.is_dictionary(kind):
        return f"dictionary({type_name(kind.value_type)}, {kind.index_type}, {'ordered' if kind.ordered else 'unordered'})"
    return str(kind)


def type_of(name: str) -> pa.DataType:
    """Return Arrow's type of the name that `type_name` gave it.

    >>> type_of("timestamp[us, tz=UTC]")
    TimestampType(timestamp[us, tz=UTC])
    """
    if found := re.fullmatch(r"dictionary\((.+), (\w+), (\w+)\)", name):
        return pa.dictionary(pa.type_for_alias(found[2]), type_of(found[1]), found[3] == "ordered")
    if found := re.fullmatch(r"timestamp\[(\w+), tz=(.+)\]", name):
        return pa.timestamp(found[1], found[2])
    if found := re.fullmatch(r"decimal(\d+)\((\d+), (-?\d+)\)", name):
        return getattr(pa, f"decimal{found[1]}")(int(found[2]), int(found[3]))
    return pa.type_for_alias(name)


def is_numeric(kind: pa.DataType) -> bool:
    """Return whether a type is one of whole or floating-point numbers."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type of Arrow is one of text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def value_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values of a dictionary; another type as it is."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


# -- columns --------------------------------------------------------------------------------------------------------------


def without_dictionary(column: Column) -> Column:
    """Return a column of Arrow's dictionary type as its values; another column as it is."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def to_dictionary(values: pa.Array, levels: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return values (N,) as a column of a dictionary type whose dictionary is these levels."""
    levels = levels.cast(kind.value_type)
    codes = pc.index_in(values.cast(kind.value_type), levels).cast(kind.index_type)
    return pa.DictionaryArray.from_arrays(codes, levels, ordered=kind.ordered)


def is_blank(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return which values of a column are null or NaN, (N,) bool.

    >>> is_blank(pa.array([1.5, None, float("nan")])).tolist()
    [False, True, True]
    """
    if not column.null_count and not pa.types.is_floating(column.type):
        return np.zeros(len(column), dtype=bool)
    return np.asarray(pc.is_null(column, nan_is_null=True), dtype=bool)


def from_cells(texts: Column) -> Column:
    """Return texts as the cells of a file are read: without blanks around them, null where they stand for a missing value.

    >>> from_cells(pa.array([" Private", "? ", None])).to_pylist()
    ['Private', None, None]
    """
    trimmed = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.is_in(trimmed, value_set=pa.array(ALWAYS, trimmed.type)), pa.scalar(None, trimmed.type), trimmed)


def unless_known(texts: Column, known: Iterable[str] = ()) -> Column:
    """Return texts as the cells of a file are read, but for known ones, which stay as they are written.

    >>> unless_known(pa.array([" Private", " ?", "-"]), {" ?"}).to_pylist()
    ['Private', ' ?', '-']
    """
    there = pc.is_in(texts, value_set=pa.array(sorted(known), texts.type))
    return texts if pc.all(there).as_py() else pc.if_else(there, texts, from_cells(texts))


def spelled_alike(texts: pa.ChunkedArray, others: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts with a blank before each where all others have one, as cells have that are written after ", ".

    >>> spelled_alike(pa.chunked_array([["Private"]]), pa.chunked_array([[" State-gov", None, ""]])).to_pylist()
    [' Private']
    """
    written = others.filter(pc.not_equal(pc.utf8_trim_whitespace(others), "")).drop_null()
    if not len(written) or not pc.all(pc.starts_with(written, " ")).as_py():
        return texts
    none, blank = (pa.scalar(text, texts.type) for text in ("", " "))
    return pc.binary_join_element_wise(none, texts, blank)  # the last stands between the two


def ticks_of(column: Column) -> Column:
    """Return a column of whole numbers or time as int64, null where it is null; time is counted in the column's own unit."""
    short = pa.types.is_temporal(column.type) and column.type.bit_width == 32
    return (column.cast(pa.int32()) if short else column).cast(pa.int64(), safe=False)


def from_ticks(whole: np.ndarray, kind: pa.DataType, null: np.ndarray) -> pa.Array:
    """Return whole numbers (N,) as a column of whole numbers or time, the inverse of `ticks_of`.

    Args:
        whole: the numbers; those beyond the ends of a type of whole numbers become these ends.
        kind: the type of the column.
        null: (N,) bool, which values are null.
    """
    if pa.types.is_integer(kind):
        ends = np.iinfo(kind.to_pandas_dtype())
        whole = whole.clip(max(int(ends.min), -(2**63)), min(int(ends.max), 2**63 - 1))
    array = pa.array(whole.astype(np.int64), mask=null)
    return (array.cast(pa.int32()) if pa.types.is_temporal(kind) and kind.bit_width == 32 else array).cast(kind)


def to_numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Return a numeric, boolean or temporal column as float64, (N,), NaN where null; time in the column's own unit."""
    kind = column.type
    if pa.types.is_temporal(kind):
        column = ticks_of(column)
    elif pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif pa.types.is_decimal(kind):
        column = column.cast(pa.string())  # Arrow's own floats of decimals are off in their last bits
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def ends_of(column: pa.ChunkedArray) -> tuple[float, float]:
    """Return the least and the greatest number of a column; NaN where it has none.

    >>> ends_of(pa.chunked_array([[3.0, None], [-1.0]]))
    (-1.0, 3.0)
    """
    parts = [np.asarray(part) for chunk in column.chunks if len(part := chunk.drop_null() if chunk.null_count else chunk)]
    low, high = ([end.reduce(part) for part in parts] or [math.nan] for end in (np.fmin, np.fmax))
    return float(np.fmin.reduce(low)), float(np.fmax.reduce(high))


def sample_rows(column: Column, most: int) -> Column:
    """Return at most so many values of a column, evenly spaced from the first to the last.

    >>> sample_rows(pa.array(range(9)), 3).to_pylist()
    [0, 4, 8]
    """
    return column.take(pa.array(np.linspace(0, len(column) - 1, min(len(column), most)).astype(np.int64)))
