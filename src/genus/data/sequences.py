"""Sequences before they are a tensor: one long sequence, windows cut out of several, or complete sequences with an end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genus.codec.forms import Form
from genus.codec.sequences import filled
from genus.codec.text import smallest_type
from genus.errors import DataError
from genus.space import Category, Kind, Space

__all__ = ["Arranged", "Sequences", "arrange", "collected"]

LARGE = 2**28  # sequences of more bytes are kept in a memory-mapped file
PIECE = 2**22  # elements of windows that are cut out together
PADDED = 2**31  # sequences filled up with ends may have so many elements
BLOCKS = 10  # the number of blocks of a short sequence, unless length= says otherwise


@dataclass(frozen=True)
class Sequences:
    """Holds sequences as numbers of their kind, and how they are to be arranged in a tensor.

    Args:
        values: (M,) in data units, each sequence after another; small integers where the elements are whole numbers.
        lengths: (K,) the elements of each sequence.
        kind: of an element, without the end.
        form: the form in which samples are returned.
        layout: "stream": one long sequence; "windows": pieces of equal length, cut out of each; "documents": each sequence
            complete, with an end; "rows": each complete, all of the same length.
        unit: the noun for elements, for messages.
        block: the usual length of a stream's blocks and of windows.
        uses: the arguments of `read` that have a meaning for these data.
        notes: sentences on how the data were read.
    """

    values: np.ndarray
    lengths: np.ndarray
    kind: Kind
    form: Form
    layout: str
    unit: str = "values"
    block: int = 256
    uses: frozenset[str] = frozenset({"sequence", "length"})
    notes: tuple[str, ...] = ()


class Arranged(NamedTuple):
    """Holds sequences as a tensor x (N, L) of a space; row i is a piece of sequence `origin[i]`."""

    x: Tensor
    space: Space
    origin: np.ndarray
    consecutive: bool
    notes: list[str]


def arrange(sequences: Sequences, length: int | None = None, space: Space | None = None) -> Arranged:
    """Return sequences as a tensor, which shares their memory where they are one long sequence.

    Args:
        sequences: to arrange.
        length: of blocks and windows; of documents the greatest, end included.
        space: of the result; None: one of the usual length. A stream that is shorter than the space is one row.

    Raises:
        DataError: no sequence, no sequence of this length, or more padding than memory can hold.
    """
    if length is not None and length < 1:
        raise DataError(f"length is the number of {sequences.unit} of a sequence, 1 or more; got {length}.")
    if not len(sequences.lengths) or not sequences.lengths.max():
        raise DataError(f"The data hold no {sequences.unit}; expected at least one sequence that is not empty.")
    if sequences.layout == "documents":
        return _documents(sequences, length, space)
    if sequences.layout == "rows":
        return _whole_rows(sequences, length, space)
    if length is None:
        length = space.dim if space is not None else _usual(sequences)
    return _windows(sequences, length, space) if sequences.layout == "windows" else _blocks(sequences, length, space)


def _whole_rows(sequences: Sequences, length: int | None, space: Space | None) -> Arranged:
    width = int(sequences.lengths[0])
    if (sequences.lengths != width).any():
        raise DataError(
            f"The sequences have lengths from {sequences.lengths.min()} to {sequences.lengths.max()}; the space has no end."
        )
    if length is not None and length != width:
        raise DataError(f"The sequences have {width} {sequences.unit} each; leave length={length} out.")
    x = _tensor(sequences.values.reshape(-1, width))
    return Arranged(x, space or _space(sequences.kind, width), np.arange(len(x)), False, [])


def _blocks(sequences: Sequences, length: int, space: Space | None) -> Arranged:
    total = len(sequences.values)
    if total < 2:
        raise DataError(f"One of the {sequences.unit} is not enough; a sequence needs at least 2.")
    if length > total:
        if space is None:
            raise DataError(f"length={length:,} is longer than the whole sequence of {total:,} {sequences.unit}; choose less.")
        length = total
    blocks = total // length
    rest = total - blocks * length
    notes = [f"the last {rest:,} {sequences.unit} fill no block of {length:,} and are left out"] if rest else []
    x = _tensor(sequences.values[: blocks * length]).view(blocks, length)
    return Arranged(x, space or _space(sequences.kind, length), np.zeros(blocks, int), True, notes)


def _usual(sequences: Sequences) -> int:
    """Return the usual length of blocks, less for a short stream; of windows a length that nine sequences of ten have."""
    if sequences.layout == "windows":
        return max(1, min(sequences.block, int(np.quantile(sequences.lengths, 0.1, method="lower"))))
    return max(1, min(sequences.block, len(sequences.values) // BLOCKS))


def _windows(sequences: Sequences, length: int, space: Space | None) -> Arranged:
    counts = sequences.lengths // length
    if not counts.any():
        longest = sequences.lengths.max()
        raise DataError(f"No sequence has {length:,} {sequences.unit}, the longest has {longest:,}; choose less.")
    origin = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(origin)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = (np.cumsum(sequences.lengths) - sequences.lengths)[origin] + within * length
    every, at_once = np.lib.stride_tricks.sliding_window_view(sequences.values, length), max(1, PIECE // length)
    pieces = (every[starts[at : at + at_once]].reshape(-1) for at in range(0, len(starts), at_once))
    x = _tensor(collected(pieces, every.dtype)).view(-1, length)
    short, lost = int((counts == 0).sum()), len(sequences.values) - x.numel()
    note = f"{lost:,} of {len(sequences.values):,} {sequences.unit} fill no window of {length:,}"
    note += f" ({short:,} of {len(counts):,} sequences are shorter)" if short else ""
    notes = [f"{note} and are left out"] if lost else []
    return Arranged(x, space or _space(sequences.kind, length), origin, False, notes)


def _documents(sequences: Sequences, length: int | None, space: Space | None) -> Arranged:
    longest = int(sequences.lengths.max())
    most = longest if length is None else length - 1
    kept = sequences.lengths <= most
    if not kept.any():
        raise DataError(
            f"Every sequence is longer than length={length}, which must hold its end too; the shortest has"
            f" {sequences.lengths.min():,} {sequences.unit}, the longest {longest:,}."
        )
    values, lengths, notes = sequences.values, sequences.lengths, []
    if lost := int((~kept).sum()):
        notes = [f"{lost:,} of {len(kept):,} sequences are longer than {most:,} {sequences.unit} and are left out"]
        values, lengths = values[np.repeat(kept, lengths)], lengths[kept]
    width = int(lengths.max()) + 1
    if len(lengths) * width > PADDED:
        raise DataError(
            f"{len(lengths):,} sequences filled up to the longest, {width - 1:,} {sequences.unit}, are {len(lengths) * width:,}"
            " numbers; leave out the longest with length=, or read them as one with documents='one'."
        )
    kind = space.kinds[0] if space is not None else sequences.kind.with_end()
    end = kind.missing_value
    if isinstance(kind, Category) and values.dtype.kind != "f":
        values = values.astype(smallest_type(kind.states), copy=False)
    elif values.dtype.kind != "f":
        values = values.astype(np.float32 if kind.magnitude <= kind.FINEST else np.float64)
    x = _tensor(filled(values, lengths, end, width))
    return Arranged(x, space or _space(kind, width), np.flatnonzero(kept), False, notes)


def _space(kind: Kind, length: int) -> Space:
    return Space(kind, shape=(length,), sequence=True)


def _tensor(values: np.ndarray) -> Tensor:
    """Return an array as a tensor, copied only where the array is read-only."""
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def collected(parts: Iterable[np.ndarray], dtype: Any) -> np.ndarray:
    """Return arrays joined, (M,); more than `LARGE` bytes in a memory-mapped temporary file, which goes when the array does.

    The file is where Python's `tempfile` puts it: set TMPDIR to a disk with room.

    Args:
        parts: the arrays, (M_i,) each.
        dtype: of the result.
    """
    held: list[np.ndarray] = []
    size, file = 0, None
    for part in parts:
        part = part.astype(dtype, copy=False)
        size += part.nbytes
        if file is None and size > LARGE:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - the map keeps it open
            for earlier in held:
                file.write(earlier.tobytes())
            held = []
        if file is None:
            held.append(part)
        else:
            file.write(part.tobytes())
    if file is None:
        return held[0] if len(held) == 1 else np.concatenate([np.array([], dtype), *held])
    file.flush()
    values = np.memmap(file, dtype=dtype, mode="r+")
    file.close()
    return values
