"""Sequences of numbers or levels, read from an array, a list, or a column in the order of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch import Tensor

from genus.codec.arrow import is_blank, is_numeric, is_text, without_dictionary
from genus.codec.columns import encode_column
from genus.codec.forms import Form
from genus.codec.text import smallest_type
from genus.data.arguments import Options
from genus.data.measure import measure
from genus.data.sequences import Sequences, collected
from genus.data.text import read_documents
from genus.errors import DataError, listed, near
from genus.kinds import Category, Kind, Lattice

__all__ = ["id_notes", "look_like_ids", "read_array", "read_columns", "read_list", "read_npy"]

PIECE = 2**22  # elements encoded together
LOOKED_AT = 1_000_000  # elements
MOST_IDS = 2**18  # the ids of a vocabulary lie below
REPEATED = 5  # times that an id occurs at least, on average
UNRELATED = 0.9  # of the mean distance of any two elements that neighbours in a sequence have at least
BEYOND_CHANCE = 4.0  # times what chance makes of the differences between frequencies of neighbouring numbers
DOCUMENTS = 50  # a column of so many different texts or more, most rows with their own, holds documents and not levels


def read_array(source: np.ndarray | Tensor, options: Options) -> Sequences:
    """Return one long sequence (T,), or N sequences of equal length (N, T).

    Whole numbers from 0 to at most 255 are symbols, Category((0, ..., greatest)); other numbers are measured as a column is.
    Symbols that are small integers are not copied, memory-mapped ones neither.

    Args:
        source: the array.
        options: the arguments of `read`.

    Raises:
        DataError: another shape, no element, or missing values.
    """
    array = source.detach().cpu().numpy() if isinstance(source, Tensor) else source
    form = Form("torch" if isinstance(source, Tensor) else "numpy", (str(array.dtype),))
    if array.ndim not in (1, 2) or array.dtype.kind not in "biufUS":
        raise DataError(f"Sequences are arrays (T,) or (N, T) of numbers; got shape {array.shape} of {array.dtype}.")
    rows = array.ndim == 2
    if rows and not array.shape[1]:
        raise DataError(f"The array of shape {array.shape} is empty; expected sequences with something in them.")
    lengths = np.full(len(array), array.shape[1]) if rows else np.array([len(array)])
    return _measured(array.reshape(-1), lengths, form, "rows" if rows else "stream", options)


def read_list(source: Sequence[Any], options: Options) -> Sequences:
    """Return the sequences of a list: strings, sequences, or the elements of one sequence."""
    items = list(source)
    if items and all(isinstance(item, str | bytes) for item in items) and max(map(len, items)) > 1:
        return read_documents(items, [f"text {i}" for i in range(len(items))], options)
    if items and np.ndim(items[0]):
        return _read_lists(items, options)
    try:
        return read_array(np.asarray(items), options)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError("The list mixes sequences and single values; expected either, or strings.") from error


def read_columns(table: pa.Table, options: Options) -> Sequences:
    """Return a column as a sequence, or every row of several columns of numbers as a sequence of its own."""
    names = table.column_names
    if not names:
        raise DataError("No column is left for the sequence; leave fewer columns to the context.")
    if isinstance(options.sequence, str) or len(names) == 1:
        name = options.sequence if isinstance(options.sequence, str) else names[0]
        if name not in names:
            raise DataError(
                f"There is no column {name!r}{near(name, names)}, named in sequence=; the columns are {listed(names)}."
            )
        return _read_column(name, table.column(name), options)
    odd = next((n for n in names if not is_numeric(table.column(n).type)), None)
    if odd is not None:
        raise DataError(f"Rows of numbers can be sequences, and column {odd!r} holds no numbers; name a column in sequence=.")
    return read_array(np.stack([table.column(n).to_numpy() for n in names], axis=1), options)


def _read_column(name: str, column: pa.ChunkedArray, options: Options) -> Sequences:
    """Return a column as one sequence in the order of its rows; lists as a sequence each, texts that differ as documents."""
    kind = column.type
    if (blank := is_blank(column)).any():
        raise DataError(f"The sequence {name!r} has no value in row {int(blank.argmax())}; fill such rows or drop them.")
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _read_lists([np.asarray(item) for item in column.to_pylist()], options)
    column = without_dictionary(column)
    if is_text(column.type):
        distinct = pc.count_distinct(column).as_py()
        form = options.form
        if (distinct >= DOCUMENTS and distinct > 0.5 * len(column)) or (form is not None and form.container == "text"):
            return read_documents(column.to_pylist(), [f"row {i}" for i in range(len(column))], options)
    array = column.to_numpy()
    return read_array(array.astype(str) if array.dtype == object else array, options)


def read_npy(path: Path, options: Options) -> Sequences:
    """Return the sequences of a file of integers or reals, which is memory-mapped."""
    return read_array(np.load(path, mmap_mode="c", allow_pickle=False), options)


def _read_lists(items: Sequence[Any], options: Options) -> Sequences:
    """Return lists or arrays as sequences, which end where their lengths differ."""
    arrays = [item.detach().cpu().numpy() if isinstance(item, Tensor) else np.asarray(item) for item in items]
    odd = next((i for i, array in enumerate(arrays) if array.ndim != 1), None)
    if odd is not None:
        raise DataError(f"Sequence {odd} has shape {arrays[odd].shape}; expected one value after another, (T,).")
    lengths = np.array([len(array) for array in arrays], dtype=np.int64)
    flat = np.concatenate([array for array in arrays if len(array)] or [np.array([])])
    form = Form("torch" if isinstance(items[0], Tensor) else "numpy", (str(flat.dtype),))
    ends = options.space.ends if options.space is not None else bool((lengths != lengths[0]).any())
    return _measured(flat, lengths, form, "documents" if ends else "rows", options)


def _measured(flat: np.ndarray, lengths: np.ndarray, form: Form, layout: str, options: Options) -> Sequences:
    """Return sequences (M,) of these lengths as numbers of their kind, measured unless the space has it."""
    if not len(flat):
        raise DataError("The sequences are empty; expected at least one with something in it.")
    if flat.dtype.kind not in "biufUS":
        raise DataError(
            "The sequences hold missing values or several types; expected numbers or text, and a value at every place."
        )
    if flat.dtype.kind == "f" and np.isnan(flat).any():
        raise DataError(f"The sequence holds NaN, first at place {int(np.isnan(flat).argmax())}; fill such places.")
    if options.space is not None:
        if not options.space.sequence or (options.form is not None and options.form.coding):
            raise DataError(f"These are sequences of numbers and the space is {options.space!r}; read them without space=.")
        kind = options.space.kinds[0].without_end()
        if layout != "stream" and options.space.ends:
            layout = "documents"
    else:
        kind = _kind(flat, options.kinds.get("values"))
    if layout == "stream" and options.conditioned:
        raise DataError("One long sequence has no context for each of its rows; leave context= out.")
    notes: tuple[str, ...] = ()
    if options.space is None and "values" not in options.kinds and isinstance(kind, Category) and kind.states > Kind.NARROW:
        notes = (
            f'whole numbers up to {kind.states - 1:,} are read as ids; if they are numbers: kinds={{"values": "lattice"}}',
        )
    return Sequences(_numbers(flat, kind), lengths, kind, form, layout, notes=notes if flat.dtype.kind in "iu" else ())


def _kind(flat: np.ndarray, override: Any) -> Kind:
    """Return the kind of elements (M,); `override` is a kind, or its name."""
    if isinstance(override, Kind):
        return override
    if flat.dtype.kind in "biu":
        low, high = int(flat.min()), int(flat.max())
        named = high < Kind.NARROW or look_like_ids(flat)
        if low >= 0 and (override == "category" or (override is None and named)):
            return Category(tuple(range(high + 1)) if flat.dtype.kind != "b" else (False, True))
    override = override or ("category" if flat.dtype.kind in "US" else None)
    return measure("values", pa.chunked_array([_arrow(flat)]), override, chart="affine")


def look_like_ids(values: np.ndarray) -> bool:
    """Return whether whole numbers are names, such as ids of tokens, in sequences (T,), (N, T) or joined.

    They are where values come again and again, neighbours in a sequence are no nearer than others, and how often a number
    occurs says nothing of the next one: of counts and measurements, neighbouring numbers differ in frequency by chance alone.

    >>> rng = np.random.default_rng(0)
    >>> names = rng.permutation(3000)[rng.zipf(1.3, 40_000) % 3000]
    >>> counts, walk = rng.poisson(900, 40_000), rng.integers(-9, 9, 40_000).cumsum() + 100_000
    >>> look_like_ids(names), look_like_ids(counts), look_like_ids(walk)
    (True, False, False)
    """
    flat = values.reshape(-1)[:LOOKED_AT]
    if flat.dtype.kind not in "iu" or len(flat) < REPEATED * 2 or int(flat.min()) < 0:
        return False
    high = int(flat.max())
    if not Kind.NARROW <= high < MOST_IDS:
        return False
    flat = flat.astype(np.int64)
    counts = np.bincount(flat)
    if len(flat) < REPEATED * (counts > 0).sum():
        return False
    apart = np.abs(np.diff(flat)).mean() / max(np.abs(np.diff(np.random.default_rng(0).permutation(flat))).mean(), 1e-9)
    step = np.gcd.reduce(np.flatnonzero(counts))  # of a coarser lattice, the numbers between have no frequency
    counts = counts[:: max(int(step), 1)].astype(np.float64)
    chance = (counts[1:] + counts[:-1]).sum()
    return bool(apart > UNRELATED and np.square(np.diff(counts)).sum() > BEYOND_CHANCE * chance)


def id_notes(array: np.ndarray) -> tuple[str, ...]:
    """Return a note on an array (N, T) that is read as a table and holds what looks like ids of tokens."""
    if array.ndim != 2 or not look_like_ids(array):
        return ()
    return (f"whole numbers up to {int(array.max()):,}, read as numbers; ids of tokens, a row each a sequence: sequence=True",)


def _arrow(flat: np.ndarray) -> pa.Array:
    return pa.array(flat.astype(str) if flat.dtype.kind == "S" else flat)


def _numbers(flat: np.ndarray, kind: Kind) -> np.ndarray:
    """Return elements as numbers of the kind: small integers where they are whole numbers, reals as float32."""
    if isinstance(kind, Category) and kind.levels == tuple(range(kind.states)) and flat.dtype.kind in "biu":
        if int(flat.min()) < 0 or int(flat.max()) >= kind.states:
            bad = int(((flat < 0) | (flat >= kind.states)).argmax())
            symbols = f"the {kind.states} symbols of the space"
            raise DataError(f"The sequence holds {flat[bad]} at place {bad}, which is none of {symbols}.")
        if flat.dtype in (np.bool_, np.int8) or (flat.dtype == np.uint16 and kind.states <= 2**15):
            return flat.view(np.uint8 if flat.dtype.itemsize == 1 else np.int16)
        if flat.dtype in (np.uint8, np.int16, np.int32, np.int64):
            return flat
        return collected((flat[at : at + PIECE] for at in range(0, len(flat), PIECE)), smallest_type(kind.states))
    dtype: Any = np.float32 if kind.magnitude <= kind.FINEST else np.float64
    if isinstance(kind, Category):
        dtype = smallest_type(kind.states)
    elif isinstance(kind, Lattice) and not kind.atoms and kind.is_whole:
        dtype = next((t for t in (np.int16, np.int32) if max(-kind.low, kind.high) <= np.iinfo(t).max), dtype)
    pieces = (flat[at : at + PIECE] for at in range(0, len(flat), PIECE))
    return collected((encode_column(kind, pa.chunked_array([_arrow(piece)]), "sequence") for piece in pieces), dtype)
