"""Series of several values a step, read from arrays (N, T, C), lists of arrays, and long tables with a key and a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch import Tensor

from genus.codec import Codec
from genus.codec.forms import Form
from genus.codec.series import as_arrays, encode
from genus.data.measure import Unmeasurable, measure
from genus.errors import DataError, listed, near
from genus.kinds import Kind
from genus.space import Space

__all__ = ["Series", "is_series", "of_arrays", "of_table", "series_rows"]


@dataclass(frozen=True)
class Series:
    """Hold series before their kinds are measured.

    Args:
        columns: a table of the values of all steps, one series after another.
        lengths: the steps of each series, (N,).
        form: the form in which samples are returned; of a long table, that of key, time and values.
        names: of the key and the time of a long table; none for arrays.
        keys: of a long table, the column of the key, one value for each series.
        beside: a row for each series, such as its context.
    """

    columns: pa.Table
    lengths: np.ndarray
    form: Form
    names: tuple[str, ...] = ()
    keys: pa.Table | None = None
    beside: pa.Table | None = None


def is_series(source: Any, known: Space | None) -> bool:
    """Return whether these are arrays of several values a step: (N, T, C), or a list of (T, C); or (T, C) of a known space."""
    axes = [np.ndim(source)] if hasattr(source, "ndim") else [np.ndim(item) for item in source if hasattr(item, "ndim")]
    if isinstance(source, np.ndarray | Tensor):
        named = known is not None and bool(known.channels)
        return (axes == [3] and (named or source.shape[2] > 1)) or (axes == [2] and named)
    return isinstance(source, list | tuple) and len(axes) == len(source) > 0 and set(axes) == {2}


def of_arrays(source: Any) -> Series:
    """Return arrays (N, T, C), or a list of arrays (T, C), as series; NaN is missing."""
    first = source if isinstance(source, np.ndarray | Tensor) else source[0]
    arrays = as_arrays(source)
    flat = np.concatenate(arrays)
    if not flat.size or flat.dtype.kind not in "biuf":
        raise DataError(f"Series are numbers, at least one of them; got an array of {flat.dtype}, {flat.shape}.")
    columns = {f"x{i}": pa.array(np.ascontiguousarray(flat[:, i]), from_pandas=True) for i in range(flat.shape[1])}
    form = Form("torch" if isinstance(first, Tensor) else "numpy", (str(flat.dtype),))
    return Series(pa.table(columns), np.array([len(array) for array in arrays]), form)


def of_table(table: pa.Table, form: Form, key: str, time: str, beside: Sequence[str]) -> Series:
    """Return a long table, a row for every step, as series: one for every value of the key, in the order of time.

    Args:
        table: the rows, in any order.
        form: of all columns.
        key, time: the columns that say to which series a row belongs, and when it is; steps count, not what lies between.
        beside: the columns that belong to a series as a whole, the same in all of its rows.

    Raises:
        DataError: a column is not there or lacks values, a time stands twice in a series, or a context changes within one.
    """
    for name in (key, time, *beside):
        if name not in table.column_names:
            raise DataError(
                f"There is no column {name!r}{near(name, table.column_names)}; the columns are {listed(table.column_names)}."
            )
    for name in (key, time):
        if table.column(name).null_count:
            raise DataError(f"Column {name!r} lacks values; every row needs its series and its time.")
    codes = pc.rank(table.column(key), "ascending", tiebreaker="dense").to_numpy().astype(np.int64)
    times = pc.rank(table.column(time), "ascending", tiebreaker="dense").to_numpy().astype(np.int64)
    order = np.lexsort((times, codes))
    codes, times, table = codes[order], times[order], table.take(pa.array(order))
    same = codes[1:] == codes[:-1]
    if (twice := np.flatnonzero(same & (times[1:] == times[:-1]))).size:
        at = int(twice[0])
        who, when = (table.column(name)[at].as_py() for name in (key, time))
        raise DataError(f"The series {who!r} has the time {when!r} twice; expected one row for each step.")
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    for name in beside:
        codes_of = pc.rank(table.column(name), "ascending", tiebreaker="dense").to_numpy()
        if (moved := np.flatnonzero(same & (codes_of[1:] != codes_of[:-1]))).size:
            who = table.column(key)[int(moved[0])].as_py()
            raise DataError(f"The context {name!r} changes within the series {who!r}; leave it among the values of a step.")
    values = [name for name in table.column_names if name not in (key, time, *beside)]
    if not values:
        raise DataError("No column is left for the values of a step.")
    form = form.select_names(table.column_names, [key, time, *values])
    return Series(
        table.select(values),
        np.diff(np.append(starts, len(codes))),
        form,
        (key, time),
        table.select([key]).take(pa.array(starts)),
        table.select(list(beside)).take(pa.array(starts)),
    )


def series_rows(series: Series, overrides: Mapping[str, str | Kind], codec: Codec | None) -> tuple[Tensor, Codec]:
    """Return series as x (N, C T) with their codec, measured unless it is given.

    Raises:
        DataError: a column holds no values that a kind describes, or the first has blanks in series that end.
    """
    table, lengths = series.columns, series.lengths
    if codec is not None:
        lacking = [name for name in codec.space.channels if name not in table.column_names]
        if lacking and len(table.column_names) == codec.space.period and not series.names:
            table = table.rename_columns(list(codec.space.channels))
        elif lacking or not codec.space.channels:
            expected = ", ".join(codec.space.channels) or "one value a step"
            raise DataError(f"The series have the values {', '.join(table.column_names)}; the space has {expected}.")
        return encode(codec.space, [table.column(name) for name in codec.space.channels], lengths), codec
    ends = bool((lengths != lengths[0]).any())
    kinds = [_kind(name, table.column(name), overrides.get(name)) for name in table.column_names]
    if ends and kinds[0].has_missing:
        name, blank = table.column_names[0], [kind.has_missing for kind in kinds]
        other = table.column_names[blank.index(False)] if False in blank else None
        raise DataError(
            f"The series differ in length, and blanks of the first column, {name!r}, would be their ends; "
            + (f"put {other!r} first." if other else "fill them in one column, and put it first.")
        )
    kinds = [kind.with_end() if ends and not kind.has_missing else kind for kind in kinds]
    steps = int(lengths.max()) + ends
    space = Space(kinds, shape=(steps * len(kinds),), names=table.column_names, sequence=True)
    found = Codec(space, series.form, names=(*series.names, *table.column_names) if series.names else ())
    return encode(space, list(table.columns), lengths), found


def _kind(name: str, column: pa.ChunkedArray, override: str | Kind | None) -> Kind:
    if isinstance(override, Kind):
        return override
    try:
        return measure(name, column, override, chart="affine")
    except Unmeasurable as error:
        raise DataError(f"Column {name!r} of the series cannot be read: {error}; leave it out.") from error
