"""Turn frames, arrays and mappings into Arrow tables, which stand between a person's data and tensors, and back."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse
import torch
from torch import Tensor

from genus.codec.arrow import to_numbers, type_name, type_of
from genus.codec.blocks import as_columns
from genus.codec.decimals import rounded
from genus.codec.forms import ARRAYS, Form
from genus.codec.stamps import write_times
from genus.errors import DataError

__all__ = ["check_unicode", "is_frame", "mixed_column", "to_arrow", "to_form", "to_frame"]

DENSE = 2**28  # a sparse matrix of more places stays one


# -- anything to Arrow -----------------------------------------------------------------------------------------------------


def is_frame(source: Any) -> bool:
    """Return whether data are a frame or a series of a library that narwhals or Arrow supports."""
    return (
        isinstance(source, pa.Table | pa.RecordBatch)
        or nw.from_native(source, pass_through=True, allow_series=True) is not source
    )


def to_arrow(source: Any) -> tuple[pa.Table, Form]:
    """Return the columns of data in Arrow, and the form that restores the data from them.

    Args:
        source: a frame, an array (N,) or (N, D), a tensor, or a mapping from names to columns.

    Raises:
        DataError: a column name twice, columns of different lengths, mixed types in a column, or not a table at all.
    """
    if isinstance(source, Tensor):
        table, form = to_arrow(source.detach().cpu().numpy())
        return table, replace(form, container="torch")
    if isinstance(source, list | tuple):
        source = np.asarray(source)
    if scipy.sparse.issparse(source):
        source = _dense(source)
    if isinstance(source, np.ndarray) and source.dtype.names:
        source = {name: source[name] for name in source.dtype.names}
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Mapping):
        return _from_mapping(source)
    if _is_dataset(source):
        source = _plain_dataset(source)
    source = source.collect() if hasattr(source, "collect") and not isinstance(source, pa.Table) else source
    names = [str(name) for name in getattr(source, "column_names", getattr(source, "columns", ()))]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise DataError(f"The column name {twice!r} stands {names.count(twice)} times; give every column a name of its own.")
    if not is_frame(source):
        raise DataError(
            f"Cannot read a {type(source).__name__}; expected a path, a frame, an array (N, D), a tensor or a dictionary of"
            " columns."
        )
    return _from_frame(source)


def _dense(matrix: Any) -> np.ndarray:
    """Return a sparse matrix of scipy as an array."""
    if math.prod(matrix.shape) > DENSE:
        raise DataError(
            f"The sparse matrix of shape {matrix.shape} is too large with its zeros; pass some of its columns or rows."
        )
    return np.asarray(matrix.todense()).reshape(matrix.shape)


def _is_dataset(source: Any) -> bool:
    """Return whether it is a data set of Hugging Face's library datasets; its rows may be a selection."""
    return hasattr(source, "with_format") and hasattr(source, "features")


def _plain_dataset(source: Any) -> pa.Table:
    """Return the rows of a data set of Hugging Face's library; classes by their names."""
    table = source.with_format("arrow")[:]
    for name, feature in source.features.items():
        names, column = getattr(feature, "names", None), table.column(name)
        if isinstance(names, list | tuple) and pa.types.is_integer(column.type):
            at = pc.if_else(pc.greater_equal(column, 0), column, pa.scalar(None, column.type))  # -1 is no class
            table = table.set_column(table.column_names.index(name), name, pc.take(pa.array(names, pa.string()), at))
    return table


def _from_array(array: np.ndarray) -> tuple[pa.Table, Form]:
    array = array.reshape(-1, 1) if array.ndim == 1 else array
    if array.ndim != 2 or array.dtype.kind not in "biufUSOMm":
        raise DataError(f"Expected an array of shape (N, D) of numbers or text; got shape {array.shape} of {array.dtype}.")
    names = [f"x{i}" for i in range(array.shape[1])]
    numbers = array.dtype.kind in "biuf" and not isinstance(array, np.ma.MaskedArray)
    turned = as_columns(array) if numbers and not array.flags.f_contiguous else array.T
    columns = [_column(name, column) for name, column in zip(names, turned, strict=True)]
    return pa.table(columns, names=names), Form("numpy", (str(array.dtype),))


def _from_mapping(source: Mapping[Any, Any]) -> tuple[pa.Table, Form]:
    whole = [str(name) for name, v in source.items() if _is_dataset(v) or (is_frame(v) and hasattr(v, "columns"))]
    if whole:
        raise DataError(
            f"The dictionary holds complete tables, {', '.join(whole)}; pass one of them, such as data[{whole[0]!r}]."
        )
    values = {str(name): np.asarray(v.detach().cpu()) if isinstance(v, Tensor) else v for name, v in source.items()}
    columns = {name: _column(name, v) for name, v in values.items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"The columns have different lengths, {lengths}; every column needs one value for each row.")
    native = tuple(str(v.dtype) if isinstance(v, np.ndarray) else "list" for v in values.values())
    return pa.table(columns), Form("dict", tuple(type_name(c.type) for c in columns.values()), native)


def _column(name: str, values: Any) -> pa.Array:
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise DataError(f"Column {name!r} has shape {values.shape}; expected one value for each row, (N,).")
        mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
        values = np.asarray(values)
        if values.dtype in (np.float16, np.longdouble) and values.dtype != np.float64:
            values = values.astype(np.float32 if values.dtype == np.float16 else np.float64)
        values = values.astype(str) if values.dtype.kind == "S" else values.astype(values.dtype.newbyteorder("="), copy=False)
        values = np.ascontiguousarray(values)
        if values.dtype.kind in "mM" and np.datetime_data(values.dtype)[0] not in ("s", "ms", "us", "ns"):
            unit = "D" if values.dtype.kind == "M" and np.datetime_data(values.dtype)[0] == "D" else "s"
            values = values.astype(f"{values.dtype.kind}8[{unit}]")  # of hours or months, which Arrow has not
    else:
        mask = None
    if isinstance(values, np.ndarray):
        check_unicode(name, values)
    try:
        return pa.array(values, mask=mask)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise mixed_column(name, values) from error


def check_unicode(name: str, values: np.ndarray) -> None:
    """Raise DataError where an array of text holds numbers that are no characters, as one of a damaged file may."""
    if values.dtype.kind != "U" or not values.nbytes:
        return
    codes = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="), copy=False)).view(np.uint32)
    if codes.max() > sys.maxunicode or bool(((codes >= 0xD800) & (codes < 0xE000)).any()):
        raise DataError(f"Column {name!r} holds text that is no Unicode; write it anew, or leave it out.")


def mixed_column(name: str, values: Any) -> DataError:
    """Return the error for a column of several types, with the first value of each."""
    first: dict[str, tuple[int, Any]] = {}
    for row, value in enumerate(values):
        if not (value is None or (isinstance(value, float) and math.isnan(value))):
            first.setdefault(type(value).__name__, (row, value))
    types = " and ".join(f"{kind} ({value!r} in row {row})" for kind, (row, value) in sorted(first.items()))
    if len(first) == 1:
        return DataError(f"Column {name!r} holds {types}, no number, text or time; make it one, or leave the column out.")
    return DataError(
        f"Column {name!r} mixes types: {types or 'unknown'}; make it one type, for example text, or leave the column out."
    )


def _from_frame(frame: Any) -> tuple[pa.Table, Form]:
    if isinstance(frame, pa.RecordBatch):
        frame = pa.Table.from_batches([frame])
    wrapped = nw.from_native(frame, allow_series=True)
    wrapped = (
        wrapped.to_frame()
        if isinstance(wrapped, nw.Series)
        else wrapped.lazy().collect()
        if isinstance(wrapped, nw.LazyFrame)
        else wrapped
    )
    frame, container = wrapped.to_native(), str(wrapped.implementation.name).lower()
    if container == "pandas":
        frame = _with_index(frame)
    raw = frame.column_names if isinstance(frame, pa.Table) else list(frame.columns)
    names = [str(name) for name in raw]
    native: tuple[str, ...] = ()
    if container == "pyarrow":
        table = frame
    else:
        native = tuple(map(str, frame.dtypes))
        table = _with_names(wrapped, frame, container, names)
    columns = [_without_encodings(column, name) for name, column in zip(names, table.columns, strict=True)]
    labels = (
        tuple(int(n) if not isinstance(n, str) else n for n in raw) if any(isinstance(n, int | np.integer) for n in raw) else ()
    )
    # What comes back has the type that it came in, but for dictionaries of what cannot be levels.
    both = zip((c.type for c in table.columns), (c.type for c in columns), strict=True)
    types = [new if pa.types.is_dictionary(old) and not pa.types.is_dictionary(new) else old for old, new in both]
    return pa.table(columns, names=names), Form(container, tuple(map(type_name, types)), native, labels=labels)


def _with_index(frame: Any) -> Any:
    """Return a frame of pandas whose index is a column too where it has a name, or holds times."""
    index = frame.index
    named = any(name is not None for name in index.names)
    if not (named or getattr(index.dtype, "kind", "O") in "Mm" or str(index.dtype).startswith("period")):
        return frame
    levels = [index.get_level_values(i) for i in range(index.nlevels)]
    names = ["index" if name is None else name for name in index.names]
    frame = frame.reset_index(drop=True)
    for name, level in [*zip(names, levels, strict=True)][::-1]:
        if name not in frame.columns:
            frame.insert(0, name, level)
    return frame


def _with_names(wrapped: Any, frame: Any, container: str, names: list[str]) -> pa.Table:
    if container == "polars":
        return wrapped.with_columns(*_narrowed(wrapped)).to_arrow()
    if container != "pandas":
        return wrapped.to_arrow()
    # Column by column, so that one that Arrow cannot hold is named in the message.
    return pa.table([_of_series(name, frame.iloc[:, i]) for i, name in enumerate(names)], names=names)


def _of_series(name: str, series: Any) -> Any:
    """Return a column of pandas in Arrow: sparse ones filled, periods by the time at which they begin."""
    kind = str(series.dtype)
    if kind.startswith("Sparse"):
        series = series.sparse.to_dense()
    elif kind.startswith("period"):
        series = series.dt.to_timestamp()
    try:
        values = pa.array(series, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise mixed_column(name, series) from error
    return values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])


def _narrowed(frame: Any) -> list[Any]:
    """Return the columns of polars whose whole numbers have 128 bits, which Arrow lacks, as those of 64 bits.

    Raises:
        DataError: a number has more than 64 bits.
    """
    columns = [frame.get_column(name) for name, kind in frame.schema.items() if str(kind) in ("Int128", "UInt128")]
    for column in columns:
        low, high = column.min(), column.max()
        if low is not None and not -(2**63) <= low <= high < 2**63:
            raise DataError(
                f"Column {column.name!r} holds {high if high >= 2**63 else low}, which has more than 64 bits; cast it to"
                " Float64 or to text, or leave the column out."
            )
    return [column.cast(nw.Int64()) for column in columns]


def _without_encodings(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return a column without the encodings, and the numbers of 16 bits, that some of Arrow's functions, or levels, lack.

    Raises:
        DataError: its levels are intervals or the like.
    """
    kind = column.type
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    if str(kind) == "string_view":
        return column.cast(pa.large_string())
    if not pa.types.is_dictionary(kind):
        return column
    held = kind.value_type
    if isinstance(held, pa.BaseExtensionType) or pa.types.is_nested(held):
        raise DataError(f"The levels of column {name!r} are of the type {held}; make texts of them, or leave the column out.")
    if str(held) == "string_view":
        return column.cast(pa.dictionary(kind.index_type, pa.large_string(), kind.ordered))
    no_levels = pa.types.is_temporal(held) or pa.types.is_decimal(held) or "binary" in str(held)
    return column.cast(held) if no_levels else column


# -- Arrow in a form -------------------------------------------------------------------------------------------------------


def to_form(table: pa.Table, form: Form) -> Any:
    """Return a table in a form: each column as the form's type has it, in the form's container."""
    if form.container in ARRAYS:
        dtype = np.dtype(form.dtypes[0])
        array = np.stack([to_numbers(column) for column in table.columns], axis=1)
        array = array.astype(np.float64 if dtype.kind in "iu" and np.isnan(array).any() else dtype)
        return torch.from_numpy(np.ascontiguousarray(array)) if form.container == "torch" else array
    types = [_with_room(type_of(name)) for name in form.dtypes]
    arrays = [c if c.type == kind else c.cast(kind, safe=False) for c, kind in zip(table.columns, types, strict=True)]
    return to_frame(pa.table(arrays, names=table.column_names), form)


def _with_room(kind: pa.DataType) -> pa.DataType:
    """Return a type of categories that holds any number of them, since new keys are new ones; another type as it is."""
    return pa.dictionary(pa.int32(), kind.value_type, kind.ordered) if pa.types.is_dictionary(kind) else kind


def to_frame(table: pa.Table, form: Form) -> Any:
    """Return a table, whose columns have the form's types, in the form's container, times as they were written."""
    table = rounded(table, form.decimals)
    for i, writing in enumerate(form.writings):
        if writing is not None:
            table = table.set_column(i, table.column_names[i], write_times(table.column(i), writing))
    if form.container == "pyarrow":
        return table
    if form.container == "dict":
        columns = {name: _to_numpy(table.column(name)) for name in table.column_names}
        return {
            name: column.tolist()
            if native == "list"
            else column.astype(native if column.dtype != object or native[:1] != "i" else object)
            for (name, column), native in zip(columns.items(), form.native, strict=True)
        }
    frame = nw.from_arrow(table, backend=form.container).to_native()  # type: ignore[arg-type]
    if form.container == "pandas":
        types = dict(zip(frame.columns, form.native, strict=True))
        frame = frame.astype({name: native for name, native in types.items() if str(frame[name].dtype) != native})
        if form.labels:
            frame.columns = list(form.labels)
        return frame
    if form.container == "polars":
        return _restore_polars(frame, table, form)
    return frame


def _to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as an array; instants with a zone, which NumPy has not, as objects."""
    if not pa.types.is_timestamp(column.type) or column.type.tz is None:
        return column.to_numpy()
    out = np.empty(len(column), dtype=object)
    out[:] = column.to_pylist()
    return out


def _restore_polars(frame: Any, table: pa.Table, form: Form) -> Any:
    """Return a frame of polars with the types that Arrow lacks: an Enum, and whole numbers of 128 bits."""
    import polars as pl

    types: dict[str, Any] = {}
    for name, native in zip(frame.columns, form.native, strict=True):
        if native.startswith("Enum"):
            types[name] = pl.Enum(table.column(name).combine_chunks().dictionary.to_pylist())
        elif native in ("Int128", "UInt128"):
            types[name] = getattr(pl, native)
    return frame.with_columns(pl.col(name).cast(kind) for name, kind in types.items()) if types else frame
