"""Columns, arrays and images, encoded as coordinates and decoded."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from genus.codec.arrow import (
    from_cells,
    from_ticks,
    is_blank,
    is_numeric,
    is_text,
    to_dictionary,
    to_numbers,
    type_of,
    without_dictionary,
)
from genus.codec.blocks import as_rows, to_floats
from genus.codec.forms import ARRAYS, Form
from genus.codec.frames import to_arrow, to_frame
from genus.codec.stamps import time_values, unit_of, values_in
from genus.codec.writing import Writing
from genus.errors import DataError, near
from genus.kinds import Category, Kind, Lattice, Real, Time
from genus.kinds.steps import DIGITS, half_unit, points, round_digits, shortest_decimals
from genus.kinds.time import NANOSECONDS
from genus.space import Space

__all__ = ["common_type", "decode", "decode_column", "encode", "encode_column", "level_array"]

# -- encoding --------------------------------------------------------------------------------------------------------


def encode(space: Space, form: Form | None, source: Any, allow_missing: bool = False, beyond: bool = False) -> Tensor:
    """Return a frame, array or tensor as x (N, *shape); see `Codec.encode`."""
    if isinstance(source, Tensor):
        source = source.detach().cpu().numpy()
    if isinstance(source, list | tuple):
        source = np.asarray(source)
    if isinstance(source, np.ndarray) and not source.dtype.names:
        return _encode_array(space, form, source, allow_missing, beyond)
    table, _ = to_arrow(source)
    names = space.names or ()
    there = set(table.column_names)
    missing = [name for name in names if name not in there]
    if missing or not names:
        lacking = f"{'column' if len(missing) == 1 else 'columns'} {', '.join(map(repr, missing))}" if missing else "an array"
        expected = ", ".join(names) or f"an array of shape (N, {_dims(space.shape)})"
        raise DataError(f"The data lack {lacking}; expected {expected}; found {', '.join(table.column_names)}.")
    columns = []
    for i, (kind, name) in enumerate(zip(space.kinds, names, strict=True)):
        writing = form.writing(i) if form is not None else None
        values = encode_column(kind, table.column(name), space.label(i), allow_missing, writing, beyond)
        columns.append(to_floats(values, _dtype(space), space.label(i), beyond))
    return torch.from_numpy(as_rows(columns, _dtype(space)))


def _dtype(space: Space) -> Any:
    return np.float64 if space.dtype == torch.float64 else np.float32


def _dims(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape))


def _encode_array(space: Space, form: Form | None, array: np.ndarray, allow_missing: bool, beyond: bool) -> Tensor:
    if form is not None and form.channels_last and array.ndim == len(space.shape) + 1:
        array = np.moveaxis(array, -1, 1)
    if array.ndim == 1 and space.shape == (1,):
        array = array.reshape(-1, 1)
    if array.shape[1:] != space.shape:
        raise DataError(f"Expected an array of shape (N, {_dims(space.shape)}); got {array.shape}.")
    shared = _shared(space)
    if shared is not None and array.dtype.kind in "bu" and _is_range(shared) and array.size:  # noqa: SIM102
        if shared.low <= array.min() and array.max() <= shared.high:
            return torch.from_numpy(array.astype(np.float32)).to(space.dtype)
    if shared is not None and array.dtype.kind in "biuf":
        try:  # all at once; where it fails, column by column to say where
            single = array.dtype.itemsize <= 4
            values = _encode_numbers(shared, array.astype(np.float64).ravel(), "array", single, allow_missing, beyond=beyond)
            return torch.from_numpy(values).to(space.dtype).reshape(-1, *space.shape)
        except DataError:
            pass
    if array.dtype.kind == "f" and all(map(_takes_all, space.kinds)) and np.isfinite(array).all():
        return torch.from_numpy(array.astype(_dtype(space)))
    table, _ = to_arrow(array.reshape(len(array), space.dim))
    columns = []
    for i, (kind, column) in enumerate(zip(space.kinds, table.columns, strict=True)):
        values = encode_column(kind, column, space.label(i), allow_missing, beyond=beyond)
        columns.append(values.astype(_dtype(space), copy=False))
    return torch.from_numpy(as_rows(columns, _dtype(space))).reshape(-1, *space.shape)


def _shared(space: Space) -> Kind | None:
    """Return the numeric kind that several coordinates share; None where they share none."""
    kind = space.kinds[0]
    return None if space.dim == 1 or isinstance(kind, Category) or any(k is not kind for k in space.kinds) else kind


def _takes_all(kind: Kind) -> bool:
    """Return whether a kind is a Real that takes every finite number as it is: without atoms, on the whole line."""
    return isinstance(kind, Real) and not kind.atoms and kind.chart.support == (-math.inf, math.inf)


def _is_range(kind: Kind) -> TypeGuard[Lattice]:
    """Return whether a kind is the whole numbers low..high without atoms: bytes then need no arithmetic."""
    return isinstance(kind, Lattice) and kind.step == 1 and not kind.atoms and kind.is_whole


def encode_column(
    kind: Kind,
    column: pa.ChunkedArray,
    label: str,
    allow_missing: bool = False,
    writing: Writing | None = None,
    beyond: bool = False,
) -> np.ndarray:
    """Return the values of a column as coordinates, (N,).

    Args:
        kind: of the column.
        column: N values.
        label: of the column, for messages.
        allow_missing: a value may be missing although the kind has no missing value; the coordinate is then NaN.
        writing: how the times of the column were written that the kind was measured on, where they were text.
        beyond: a number that has no place on the lattice, or in the support, and an unseen level become infinite.

    Raises:
        DataError: values of another type, an unseen level, a missing value, or a number off the lattice.
    """
    column = without_dictionary(column)
    if isinstance(kind, Category):
        return _encode_levels(kind, column, label, allow_missing, beyond)
    if column.null_count == len(column):
        return _encode_numbers(kind, np.full(len(column), math.nan), label, False, allow_missing)
    values = None
    try:
        if isinstance(kind, Time):
            values = time_values(kind, column, label, writing)
        else:
            values = to_numbers(from_cells(column).cast(pa.float64()) if is_text(column.type) else column)
    except pa.ArrowException:
        pass
    if values is None:
        shown = next((v for v in column.to_pylist() if v is not None), None)
        shown = repr(shown) if isinstance(shown, str) else shown
        expected = values_in(kind) if isinstance(kind, Time) else f"numbers, as in {kind!r}"
        raise DataError(f"The {label} holds values of type {column.type} such as {shown}; expected {expected}.")
    single, whole = pa.types.is_float32(column.type), pa.types.is_integer(column.type)
    return _encode_numbers(kind, values, label, single, allow_missing, beyond, whole)


def _encode_levels(
    kind: Category, column: pa.ChunkedArray, label: str, allow_missing: bool, beyond: bool = False
) -> np.ndarray:
    """Return the index of each value among the levels, infinity for an unseen one where `beyond` allows it."""
    array = column.combine_chunks()
    if pa.types.is_floating(array.type):
        array = pc.add(array, pa.scalar(0.0, array.type))  # -0.0 and 0.0 are one level
    levels = level_array([level for level in kind.levels if level is not None])
    position = np.array([i for i, level in enumerate(kind.levels) if level is not None] + [-1])
    given = array
    if pa.types.is_null(array.type) or pa.types.is_null(levels.type):
        index = np.full(len(array), -1)
    else:
        if array.type != levels.type:
            array, levels = common_type(array, levels)
        found = pc.index_in(array, value_set=levels)
        if not found.null_count and not pa.types.is_floating(given.type):
            return position.astype(np.float64)[np.asarray(found)]
        index = np.array(pc.fill_null(found, -1))
    null = is_blank(given)
    if is_text(given.type) and (odd := (index < 0) & ~null).any():  # a frame may hold cells of a file as they were written
        cells = from_cells(array.filter(pa.array(odd)))
        index[odd], null[odd] = pc.fill_null(pc.index_in(cells, value_set=levels), -1), is_blank(cells)
    unseen = (index < 0) & ~(null & (allow_missing or None in kind.levels))
    if unseen.any() and not (beyond and not null[unseen].any()):
        rows = np.flatnonzero(unseen)
        value = "a missing value" if null[rows[0]] else repr(array[int(rows[0])].as_py())
        expected = f"{', '.join(map(repr, kind.levels[:8]))}{', ...' if len(kind.levels) > 8 else ''}"
        meant = "" if null[rows[0]] else near(array[int(rows[0])].as_py(), kind.levels)
        raise DataError(
            f"The {label} holds {value}{meant} in row {rows[0]} ({len(rows)} such row{'s' if len(rows) > 1 else ''}), a level"
            f" that was not there in training; expected one of {expected}."
            " Drop such rows, or read the training data with kinds= naming every level."
        )
    codes = position[index].astype(np.float64)
    codes[unseen] = math.inf
    if allow_missing or None in kind.levels:
        codes[null] = kind.levels.index(None) if None in kind.levels else math.nan
    return codes


def level_array(levels: Sequence[Any]) -> pa.Array:
    """Return levels in Arrow, whole numbers of 64 bits without a sign among them."""
    try:
        return pa.array(levels)
    except OverflowError:
        return pa.array(levels, pa.uint64())
    except pa.ArrowException as error:  # of a space that somebody made, or changed in a file without a form
        raise DataError(f"Levels must be all texts, all numbers, or all true and false; got {str(levels)[:80]}.") from error


def common_type(array: pa.Array, levels: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return both as numbers where both are, so that they match by value; else both as text, in which true is TRUE."""
    if is_numeric(array.type) and is_numeric(levels.type):
        return array.cast(pa.float64(), safe=False), levels.cast(pa.float64(), safe=False)
    if pa.types.is_boolean(array.type) != pa.types.is_boolean(levels.type):
        return pc.utf8_lower(array.cast(pa.large_string())), pc.utf8_lower(levels.cast(pa.large_string()))
    return array.cast(pa.large_string()), levels.cast(pa.large_string())


def _encode_numbers(
    kind: Kind,
    values: np.ndarray,
    label: str,
    single: bool,
    allow_missing: bool = False,
    beyond: bool = False,
    whole: bool = False,
) -> np.ndarray:
    """Return float64 values moved to the lattice and the atoms that they stand for, to the last bit.

    Args:
        single: the values were float32, and so have their decimals to seven digits only.
        beyond: a number that has no place on the lattice, or in the support, becomes infinite, and is no error.
        whole: the values are whole numbers, or missing.
    """

    def refuse(bad: np.ndarray, expected: str) -> None:
        if bad.any():
            row, count = int(np.flatnonzero(bad)[0]), int(bad.sum())
            shown = kind.text(values[row]) if isinstance(kind, Time) else f"{values[row]:.10g}"
            raise DataError(f"The {label} holds {shown} in row {row} ({count} such in all); expected {expected}.")

    atoms = np.sort(kind.numbers)
    low, high = (float(values.min()), float(values.max())) if len(values) else (math.nan, math.nan)
    if _stand_as_they_are(kind, low, high, whole):
        return values
    refuse(np.isinf(values), "finite numbers; replace infinities by missing values")
    nan = np.isnan(values)
    if not allow_missing and not kind.has_missing:
        refuse(nan, "no missing value, since there was none in training; drop or fill such rows")
    eps = float(np.finfo(np.float32 if single else np.float64).eps) if single or isinstance(kind, Lattice) else 0.0
    if not isinstance(kind, Lattice):
        snapped, atom = _snap(values, atoms, lambda a: 4 * eps * np.abs(a))
        low, high = kind.chart.support
        outside = ~atom & ((snapped <= low) | (snapped >= high))
        if beyond:
            return np.where(outside, math.inf, snapped)
        refuse(outside, f"numbers in {kind!r}; to admit more, read the training data with another kind in kinds=")
        return snapped
    step, size = kind.step, kind.size
    place = np.round((np.where(nan, kind.low, values) - kind.low) / step)
    lattice = _lattice_value(kind, place)
    if kind.low <= low <= high <= kind.high and np.array_equal(lattice, values):
        return _snap(lattice, atoms, lambda a: 1e-6 * step)[0]
    away = np.abs(lattice - values)
    off = away > 1e-3 * step
    if off.any() and kind.digits <= DIGITS:
        off[off] = away[off] > np.minimum(1.01 * half_unit(values[off], kind.digits), 0.03 * step)
    off &= away > 4 * eps * np.abs(values)
    off &= not (isinstance(kind, Time) and kind.is_rounded)
    snapped, atom = _snap(np.where(off, values, lattice), atoms, lambda a: np.maximum(1e-6 * step, 4 * eps * np.abs(a)))
    admitted, other = values_in(kind), ~atom & ~nan
    outside = other & ((place < 0) | (place >= size))
    if beyond:
        return np.where(outside | (other & off), math.inf, np.where(nan, math.nan, snapped))
    refuse(other & off, f"{admitted}, whole steps from the least")
    refuse(outside, f"{admitted}; to admit more, read the training data with a wider kind in kinds=")
    return np.where(nan, math.nan, snapped)


def _stand_as_they_are(kind: Kind, low: float, high: float, whole: bool) -> bool:
    """Return whether values from low to high, whole numbers perhaps, need no arithmetic to be coordinates of a kind."""
    if isinstance(kind, Lattice):
        return whole and kind.is_whole and kind.step == 1 and kind.low <= low <= high <= kind.high
    return not kind.numbers and kind.chart.support[0] < low <= high < kind.chart.support[1]  # finite, since the support is open


def _snap(values: np.ndarray, atoms: np.ndarray, slack: Callable[[np.ndarray], Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return values, those within slack of an atom replaced by it, and which these are."""
    if not len(atoms):
        return values, np.zeros(len(values), dtype=bool)
    after = np.searchsorted(atoms, values).clip(0, len(atoms) - 1)
    before = (after - 1).clip(0)
    nearest = np.where(np.abs(atoms[before] - values) < np.abs(atoms[after] - values), atoms[before], atoms[after])
    hit = np.abs(nearest - values) <= slack(nearest)
    return np.where(hit, nearest, values), hit


def _lattice_value(kind: Lattice, place: np.ndarray) -> np.ndarray:
    return np.where(place == kind.size - 1, kind.high, points(kind.low, kind.step, place))


# -- decoding -------------------------------------------------------------------------------------------------------


def decode(space: Space, form: Form | None, x: Tensor) -> Any:
    """Return x (N, *shape) in the form of the data that were read; see `Codec.decode`."""
    space.check(x)
    if form is None:
        return x
    single = x.dtype == torch.float32
    flat = x.detach().cpu().double().reshape(len(x), space.dim).numpy()
    if form.container in ARRAYS:
        return _to_array(space, form, flat, single)
    assert space.names is not None
    columns = [decode_column(kind, flat[:, i], single) for i, kind in enumerate(space.kinds)]
    arrays = [_to_type(column, kind, name) for column, kind, name in zip(columns, space.kinds, form.dtypes, strict=True)]
    return to_frame(pa.table(arrays, names=list(space.names)), form)


def _to_array(space: Space, form: Form, flat: np.ndarray, single: bool) -> Any:
    dtype = np.dtype(form.dtypes[0])
    single = single and dtype.itemsize > 4
    shared = _shared(space)
    if shared is not None:
        array = (np.round(flat) if _is_range(shared) else decode_column(shared, flat.ravel(), single)).reshape(-1, *space.shape)
    else:
        columns = [decode_column(kind, flat[:, i], single) for i, kind in enumerate(space.kinds)]
        array = np.stack(columns, axis=1).reshape(-1, *space.shape)
    if form.channels_last:
        array = np.moveaxis(array, 1, -1)
    if dtype.kind in "mM":
        return _to_stamps(space, array, dtype)
    if dtype.kind in "iu" and not (array.dtype == object and all(value is not None for value in array.flat)):
        if np.isnan(array.astype(np.float64)).any():
            dtype = np.dtype(np.float64)
        else:
            array = np.round(array.astype(np.float64)).clip(float(np.iinfo(dtype).min), float(np.iinfo(dtype).max))
    array = array.astype(dtype)
    return torch.from_numpy(np.ascontiguousarray(array)) if form.container == "torch" else array


def _to_stamps(space: Space, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return x (N, D) as NumPy's times, NaT where missing."""
    unit = np.datetime_data(dtype)[0]
    unit = unit if unit in NANOSECONDS else "s"
    columns = [kind.to_ticks(np.nan_to_num(array[:, i]), unit) for i, kind in enumerate(space.kinds) if isinstance(kind, Time)]
    stamps = np.stack(columns, axis=1).view(f"{dtype.kind}8[{unit}]").astype(dtype)
    stamps[np.isnan(array)] = np.array("NaT", dtype)
    return stamps


def decode_column(kind: Kind, column: np.ndarray, single: bool) -> np.ndarray:
    """Return coordinates (N,) as values: float64 with NaN where missing, or the levels of a category as objects.

    Args:
        kind: of the column.
        column: the coordinates.
        single: the coordinates were float32, and so have their decimals to seven digits only.
    """
    if isinstance(kind, Category):
        levels = np.empty(len(kind.levels), dtype=object)
        levels[:] = kind.levels
        return levels[column.astype(np.int64)]
    atoms = np.sort(kind.numbers)
    eps = float(np.finfo(np.float32 if single else np.float64).eps)
    if not isinstance(kind, Lattice):
        return _snap(shortest_decimals(column) if single else column, atoms, lambda a: eps * np.abs(a))[0]
    raw, atom = _snap(column, atoms, lambda a: np.maximum(1e-6 * kind.step, eps * np.abs(a)))
    value = _lattice_value(kind, np.round((column - kind.low) / kind.step))
    value = np.where(atom, raw, value)
    if kind.digits >= 17 or (kind.is_whole and not (atom & (raw % 1 != 0)).any()):
        return value
    lattice = list(kind.lattice_atoms)
    exact = atom & ~np.isin(raw, lattice) if len(lattice) < len(atoms) else np.zeros(len(value), dtype=bool)
    return np.where(exact, raw, round_digits(value, kind.digits))


def _to_type(column: np.ndarray, kind: Kind, name: str) -> pa.Array:
    """Return the values of a column, as `decode_column` gives them, in Arrow's type of this name."""
    target = type_of(name)
    null = None if column.dtype == object else np.isnan(column)  # objects are levels
    values = level_array(column.tolist()) if null is None else pa.array(column, mask=null)
    if pa.types.is_dictionary(target):
        levels = kind.levels if isinstance(kind, Category) else np.unique(column[~np.isnan(column)]).tolist()
        return to_dictionary(values, level_array([level for level in levels if level is not None]), target)
    if null is None:
        return values.cast(target)
    if pa.types.is_floating(target) or pa.types.is_decimal(target):
        return values.cast(target, safe=False)
    if pa.types.is_null(target):
        return pa.nulls(len(column))
    whole = np.round(np.where(null, 0, column))
    if isinstance(kind, Time) and pa.types.is_temporal(target):
        whole = kind.to_ticks(whole, unit_of(target)[0])
    return from_ticks(whole, target, null)
