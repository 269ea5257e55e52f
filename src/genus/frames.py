"""Frames and arrays to tensors and back. Arrow is the one columnar form in between; narwhals knows the frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from genus.errors import DataError

if TYPE_CHECKING:
    from genus.space import Category, Integer, Kind, Real, Space

__all__ = ["Form", "decode", "encode", "to_arrow", "to_numbers"]


@dataclass(frozen=True)
class Form:
    """What samples come back as.

    Args:
        container: "pandas", "polars", "pyarrow", "numpy", "torch" or "images".
        dtypes: Arrow's name of every column's type; for arrays the one NumPy name.
        native: the frame's own name of every column's type, where Arrow's is not enough to restore it.
        channels_last: images that came as (H, W, C); inside they are (C, H, W).
    """

    container: str
    dtypes: tuple[str, ...]
    native: tuple[str, ...] = ()
    channels_last: bool = False

    def select(self, columns: Sequence[int]) -> Form:
        """The form of some of the columns."""
        if len(self.dtypes) == 1 and self.container in ("numpy", "torch"):
            return self
        return Form(self.container, tuple(self.dtypes[i] for i in columns), tuple(self.native[i] for i in columns) if self.native else ())

    def to_json(self) -> dict[str, Any]:
        return {"container": self.container, "dtypes": list(self.dtypes), "native": list(self.native), "channels_last": self.channels_last}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Form:
        return cls(data["container"], tuple(data["dtypes"]), tuple(data["native"]), data["channels_last"])


def to_arrow(frame: Any) -> tuple[pa.Table, Form]:
    """Any frame that narwhals knows -> its columns in Arrow, and how to give such a frame back."""
    if isinstance(frame, pa.RecordBatch):
        frame = pa.Table.from_batches([frame])
    names = [str(name) for name in (frame.column_names if isinstance(frame, pa.Table) else frame.columns)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"The column name {twice[0]!r} stands {names.count(twice[0])} times; give every column a name of its own.")
    native: tuple[str, ...] = ()
    if isinstance(frame, pa.Table):
        container, table = "pyarrow", frame
    else:
        wrapped = nw.from_native(frame, eager_only=True)
        container = str(wrapped.implementation.name).lower()
        native = tuple(str(frame[name].dtype) for name in frame.columns)
        try:
            table = wrapped.to_arrow()
        except (pa.ArrowException, TypeError) as error:
            column, types = next(((str(n), t) for n in frame.columns if len(t := _python_types(frame[n])) > 1), ("?", []))
            raise DataError(
                f"Column {column!r} mixes {' and '.join(types)}; make it one type, for example with .astype(str)."
            ) from error
        table = table.rename_columns(names)
    columns = [column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column for column in table.columns]
    return pa.table(columns, names=names), Form(container, tuple(str(c.type) for c in columns), native)


def _python_types(values: Any) -> list[str]:
    return sorted({type(v).__name__ for v in values if not (v is None or isinstance(v, float) and math.isnan(v))})


def to_numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A numeric, boolean or temporal column as float64, NaN where null."""
    kind = column.type
    if pa.types.is_temporal(kind):
        column = column.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    elif pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def encode(space: Space, source: Any) -> Tensor:
    """See `Space.encode`."""
    if isinstance(source, Tensor):
        source = source.detach().cpu().numpy()
    if isinstance(source, np.ndarray | list):
        columns = _array_columns(space, np.asarray(source))
    else:
        table, _ = to_arrow(source)
        names = space.names or ()
        missing = [name for name in names if name not in table.column_names]
        if missing or not names:
            raise DataError(
                f"The data lack {'the column' if len(missing) == 1 else 'the columns'} {', '.join(map(repr, missing)) or '(none named)'};"
                f" expected {', '.join(names) or f'an array of shape (N, {space.shape})'}; found {', '.join(table.column_names)}."
            )
        columns = [table.column(name) for name in names]
    codes = [_encode_column(kind, column, space.label(i)) for i, (kind, column) in enumerate(zip(space.kinds, columns, strict=True))]
    return torch.from_numpy(np.stack(codes, axis=1)).to(space.dtype).reshape(-1, *space.shape)


def _array_columns(space: Space, array: np.ndarray) -> Sequence[Any]:
    if space.form is not None and space.form.channels_last and array.ndim == 4:
        array = np.moveaxis(array, -1, 1)
    if array.shape[1:] != space.shape:
        raise DataError(f"Expected an array of shape (N, {', '.join(map(str, space.shape))}); got {array.shape}.")
    return np.moveaxis(array.reshape(len(array), space.dim), 1, 0)  # type: ignore[return-value]


def _encode_column(kind: Kind, column: Any, label: str) -> np.ndarray:
    from genus.space import Category

    if isinstance(kind, Category):
        return _encode_levels(kind, column, label)
    if isinstance(column, pa.ChunkedArray) and (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise DataError(f"The {label} holds text such as {_first_text(column)!r}; expected numbers, as in {kind!r}.")
    try:
        values = to_numbers(column) if isinstance(column, pa.ChunkedArray) else np.asarray(column, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise DataError(f"The {label} holds {np.asarray(column).dtype} values; expected numbers, as in {kind!r}.") from error
    return _encode_numbers(kind, values, label)


def _first_text(column: pa.ChunkedArray) -> Any:
    return next((v for v in column.to_pylist() if v is not None), None)


def _encode_levels(kind: Category, column: Any, label: str) -> np.ndarray:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else pa.array(column.tolist())
    known = pa.array([level for level in kind.levels if level is not None])
    index = np.full(len(kind.levels), -1)
    index[: len(known)] = [i for i, level in enumerate(kind.levels) if level is not None]
    if pa.types.is_null(array.type):
        found = np.full(len(array), -1)
    else:
        if array.type != known.type:
            array, known = _common_type(array, known)
        found = np.asarray(pc.fill_null(pc.index_in(array, value_set=known), -1))
    null = np.asarray(pc.is_null(array, nan_is_null=True)) if None in kind.levels else np.zeros(len(array), dtype=bool)
    unseen = (found < 0) & ~null
    if unseen.any():
        rows = np.flatnonzero(unseen)
        value = array[int(rows[0])].as_py()
        what = "a missing value" if value is None else repr(value)
        raise DataError(
            f"The {label} holds {what} in row {rows[0]} ({len(rows)} such row{'s' if len(rows) > 1 else ''}), a level that was not"
            f" there in training; expected one of {', '.join(map(repr, kind.levels[:8]))}{', ...' if len(kind.levels) > 8 else ''}."
            " Drop such rows, or read the training data with kinds= naming every level."
        )
    codes = index[found].astype(np.float64)
    if null.any():
        codes[null] = kind.levels.index(None)
    return codes


def _common_type(array: pa.Array, known: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Levels read as text match numbers and booleans by their text, and integers match floats by value."""
    numeric = pa.types.is_floating(array.type) or pa.types.is_integer(array.type)
    if numeric and (pa.types.is_floating(known.type) or pa.types.is_integer(known.type)):
        return array.cast(pa.float64()), known.cast(pa.float64())
    return array.cast(pa.string()), known.cast(pa.string())


def _encode_numbers(kind: Real | Integer, values: np.ndarray, label: str) -> np.ndarray:
    from genus.space import Integer

    def refuse(bad: np.ndarray, expected: str) -> None:
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise DataError(f"The {label} holds {values[row]:.10g} in row {row} ({int(bad.sum())} such in all); expected {expected}.")

    refuse(np.isinf(values), "finite numbers; replace infinities by missing values")
    nan = np.isnan(values)
    if not any(map(math.isnan, kind.atoms)):
        refuse(nan, "no missing value, since there was none in training; drop or fill such rows")
    if not isinstance(kind, Integer):
        return values
    atom = nan | np.isin(values, [a for a in kind.atoms if not math.isnan(a)])
    step = np.round((np.where(atom, kind.low, values) - kind.low) / kind.step)
    lattice = np.round(kind.low + step * kind.step, kind.decimals) if kind.decimals < 12 else kind.low + step * kind.step
    refuse(~atom & (np.abs(lattice - values) > 1e-3 * kind.step), f"values on the lattice of {kind!r}")
    refuse(~atom & ((step < 0) | (step >= kind.size)), f"values in {kind!r}; widen it with kinds= to admit more")
    return np.where(atom, values, lattice)


def decode(space: Space, x: Tensor) -> Any:
    """See `Space.decode`."""
    space.check(x)
    form = space.form
    if form is None or form.container == "torch":
        return x
    columns = [
        _decode_column(kind, column) for kind, column in zip(space.kinds, x.detach().cpu().double().reshape(len(x), -1).T.numpy(), strict=True)
    ]
    if form.container in ("numpy", "images"):
        array = np.stack([np.asarray(c) for c in columns], axis=1).reshape(-1, *space.shape)
        if form.channels_last:
            array = np.moveaxis(array, 1, -1)
        return array if np.isnan(array.astype(np.float64)).any() else array.astype(form.dtypes[0])
    assert space.names is not None
    arrays = [_to_arrow_type(column, name) for column, name in zip(columns, form.dtypes, strict=True)]
    table = pa.table(arrays, names=list(space.names))
    return table if form.container == "pyarrow" else _to_frame(table, form, space)


def _decode_column(kind: Kind, column: np.ndarray) -> Any:
    from genus.space import Category, Integer

    if isinstance(kind, Category):
        levels = np.empty(len(kind.levels), dtype=object)
        levels[:] = kind.levels
        return levels[column.astype(np.int64)]
    if isinstance(kind, Integer):
        atom = np.isin(column.astype(np.float32), np.asarray(kind.atoms, dtype=np.float32)) | np.isnan(column)
        lattice = kind.low + np.round((column - kind.low) / kind.step) * kind.step
        column = np.where(atom, column, np.round(lattice, kind.decimals) if kind.decimals < 12 else lattice)
    for value in kind.atoms:  # float32 keeps 7 digits of an atom; give back all of them
        column = np.where(column.astype(np.float32) == np.float32(value), value, column)
    return column


def _to_arrow_type(column: np.ndarray, name: str) -> pa.Array:
    kind = pa.type_for_alias(name)
    if column.dtype == object:
        return pa.array(column.tolist()).cast(kind)
    null = np.isnan(column)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pa.array(column, mask=null).cast(kind, safe=False)
    whole = pa.array(np.round(np.where(null, 0, column)).astype(np.int64), mask=null)
    if pa.types.is_temporal(kind) and kind.bit_width == 32:
        whole = whole.cast(pa.int32())
    return whole.cast(kind)


def _to_frame(table: pa.Table, form: Form, space: Space) -> Any:
    frame = nw.from_arrow(table, backend=form.container).to_native()
    if form.container == "pandas":
        return frame.astype(dict(zip(frame.columns, form.native, strict=True)))
    if form.container == "polars":
        import polars as pl

        categorical = [name for name, native in zip(frame.columns, form.native, strict=True) if native.startswith(("Categorical", "Enum"))]
        return frame.with_columns(pl.col(name).cast(pl.Categorical) for name in categorical) if categorical else frame
    return frame
