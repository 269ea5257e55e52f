"""Tables in the form that a person's data had: the container, the types of columns, and how times are written."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import torch

from genus.codec.arrow import type_of
from genus.codec.decimals import rounded
from genus.codec.frames import ARRAYS, Form, to_numbers
from genus.codec.stamps import write_times

__all__ = ["to_form", "to_frame"]


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
