"""Rows of a space as a table in Arrow, in the form in which a person gave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from genus.codec import Codec
from genus.codec.arrow import type_name
from genus.codec.columns import level_array
from genus.codec.decimals import SPEC
from genus.codec.forms import ARRAYS, Form
from genus.codec.stamps import type_of_time
from genus.space import Category, Lattice, Time

__all__ = ["DECIMALS", "as_table", "with_decimals_of", "with_results"]

DECIMALS = b"decimals"  # of a column, the format of its numbers, among the metadata of its field


def as_table(codec: Codec, x: Tensor, seed: int | None = None, known: pa.Table | None = None, start: int = 0) -> pa.Table:
    """Return rows x (N, D) as columns in Arrow; the library whose frame the model was trained on need not be installed.

    Args:
        codec: of the rows.
        x: the rows.
        seed: of new keys.
        known: keys that the rows have already.
        start: how many rows of the same draw stand before these.
    """
    space, form = codec.space, codec.form
    kept = form is not None and form.container not in ARRAYS
    array = np.dtype(form.dtypes[0]) if form is not None and form.container in ("numpy", "torch") else None

    def dtype(kind: Any) -> pa.DataType:
        """Return the type of the array that the model was trained on where it holds such numbers, else the usual one."""
        if isinstance(kind, Category):
            return level_array(kind.levels).type
        if isinstance(kind, Time):
            return type_of_time(kind)
        whole = isinstance(kind, Lattice) and kind.is_whole and all(map(float.is_integer, kind.numbers))
        if array is not None and (array.kind in "iu" if whole else array in (np.float32, np.float64)):
            return pa.from_numpy_dtype(array)
        return pa.int64() if whole else pa.float64()

    if form is not None and kept:
        form = replace(form, container="pyarrow", native=(), labels=())
        return _with_decimals(replace(codec, form=form).decode(x, seed, start, known), form.decimals)
    if form is not None and codec.rewrites:
        form = Form("pyarrow", (type_name(pa.from_numpy_dtype(np.dtype(form.dtypes[0]))),) * len(codec.names))
        return replace(codec, form=form).decode(x, seed, start, known)
    return Codec(space, Form("pyarrow", tuple(type_name(dtype(kind)) for kind in space.kinds))).decode(x)


def with_results(rows: pa.Table, results: Mapping[str, Any]) -> pa.Table:
    """Return a person's table with columns of results after its own, of which those that have the name of a result make way.

    >>> with_results(pa.table({"x": [1, 2], "y": [0, 0]}), {"y": [3, 4]}).to_pydict()
    {'x': [1, 2], 'y': [3, 4]}
    """
    rows = rows.drop_columns([name for name in results if name in rows.column_names])
    for name, column in results.items():
        rows = rows.append_column(name, column if isinstance(column, pa.ChunkedArray) else pa.array(column))
    return rows


def _with_decimals(table: pa.Table, decimals: Sequence[str]) -> pa.Table:
    """Return a table whose fields carry how many decimals are written, zeros at the end included."""
    if not decimals:
        return table
    fields = [field.with_metadata({DECIMALS: spec}) for field, spec in zip(table.schema, decimals, strict=True)]
    return table.cast(pa.schema(fields))


def with_decimals_of(codec: Codec, table: pa.Table) -> pa.Table:
    """Return a person's table whose fields carry how many decimals are written, where its numbers have no more than that."""
    if codec.form is None or not codec.form.decimals:
        return table
    specs = dict(zip(codec.names or codec.space.names or (), codec.form.decimals, strict=True))
    for i, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        found = SPEC.fullmatch(specs.get(name, ""))
        if found is not None and pa.types.is_floating(column.type):
            values = column.drop_null().to_numpy()
            if np.array_equal(np.round(values, int(found[3])), values):
                table = table.set_column(i, table.schema.field(i).with_metadata({DECIMALS: specs[name]}), column)
    return table
