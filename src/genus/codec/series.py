"""Series of several values a step: arrays (N, T, C) and long tables to rows of a space, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from genus.codec.columns import decode_column, encode_column
from genus.codec.forms import ARRAYS, Form
from genus.codec.frames import to_form
from genus.errors import DataError
from genus.space import Space

__all__ = ["as_arrays", "decode", "encode"]


def as_arrays(source: Any) -> list[np.ndarray]:
    """Return series as arrays (T, C), of an array (T, C) or (N, T, C) or a list of arrays.

    Raises:
        DataError: something else.
    """
    array = source.detach().cpu().numpy() if isinstance(source, Tensor) else source
    if isinstance(array, np.ndarray) and array.ndim in (2, 3):
        return [array] if array.ndim == 2 else list(array)
    items = [np.asarray(item.detach().cpu() if isinstance(item, Tensor) else item) for item in source]
    if odd := [item.shape for item in items if item.ndim != 2 or item.shape[1] != items[0].shape[1]]:
        raise DataError(f"Series are arrays (steps, values of a step), all of as many values; got one of shape {odd[0]}.")
    return items


def encode(space: Space, columns: Sequence[pa.ChunkedArray], lengths: np.ndarray, end: bool = True) -> Tensor:
    """Return series as x (N, C T), filled up with ends where they end.

    Args:
        space: of series.
        columns: the C columns of all series, one after another.
        lengths: the steps of each, (N,).
        end: whether each series gets an end, where they end; False: they are beginnings, all of one length.
    """
    dtype = np.float64 if space.dtype == torch.float64 else np.float32
    named = zip(space.kinds, columns, space.channels, strict=False)
    values = [encode_column(kind, column, name).astype(dtype) for kind, column, name in named]
    ends, width = space.ends and end, int(lengths.max())
    if not ends and int(lengths.min()) != width:
        what = "beginnings of one length" if space.ends else "series of one length, since this space has no end"
        raise DataError(f"The series have from {lengths.min()} to {width} steps; expected {what}.")
    out = np.empty((len(lengths), width + ends, space.period), dtype=dtype)
    lasts = [kind.missing_value if space.ends else 0.0 for kind in space.kinds[: space.period]]
    out[:] = np.array(lasts, dtype=dtype)
    out[np.arange(width + ends) < lengths[:, None]] = np.stack(values, axis=1)
    return torch.from_numpy(out).flatten(1)


def decode(space: Space, form: Form | None, names: Sequence[str], x: Tensor) -> Any:
    """Return x (N, C T) as an array (N, T, C), as a list of arrays where series end, or as a long table.

    Args:
        space: of the series.
        form: of what was read; None: x as it is.
        names: of a long table, the key's and the time's, which are numbered from 1 and from 0; then those of the values.
    """
    space.check(x)
    if form is None:
        return x
    steps = x.detach().cpu().double().numpy().reshape(len(x), -1, space.period)
    kinds, ended = space.kinds[: space.period], space.ended(x).cpu().numpy()
    flat, single = steps[~ended], x.dtype == torch.float32
    columns = [decode_column(kind, flat[:, i], single) for i, kind in enumerate(kinds)]
    if form.container not in ARRAYS:
        key, time = (~ended).nonzero()
        table = {names[0]: pa.array(key + 1), names[1]: pa.array(time)}
        table |= {name: pa.array(column, from_pandas=True) for name, column in zip(space.channels, columns, strict=True)}
        return to_form(pa.table(table), _numbered(form))
    values = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)
    if np.dtype(form.dtypes[0]).kind == "f" or not np.isnan(values).any():
        values = values.astype(form.dtypes[0])
    rows = np.split(values, np.cumsum((~ended).sum(1))[:-1])
    if form.container == "torch":
        tensors = [torch.from_numpy(row) for row in rows]
        return tensors if space.ends else torch.stack(tensors)
    return rows if space.ends else np.stack(rows)


def _numbered(form: Form) -> Form:
    """Return the form of a long table whose key and time are whole numbers."""
    native = ("int64", "int64", *form.native[2:]) if form.native else ()
    writings = (None, None, *form.writings[2:]) if form.writings else ()
    decimals = ("", "", *form.decimals[2:]) if form.decimals else ()
    return replace(form, dtypes=("int64", "int64", *form.dtypes[2:]), native=native, writings=writings, decimals=decimals)
