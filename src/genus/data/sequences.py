"""Sequences before they are a tensor: one long one, windows cut out of several, or whole ones with an end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genus.codec import Codec
from genus.codec.frames import Form
from genus.codec.sequences import filled
from genus.codec.text import smallest_type
from genus.errors import DataError
from genus.space import Category, Kind, Space

__all__ = ["Arranged", "Options", "Sequences", "arrange", "collected"]

LARGE = 2**28  # bytes beyond which sequences are kept in a file that is memory-mapped
PADDED = 2**31  # elements that sequences with their ends may take
BLOCKS = 10  # of a short sequence, unless a length is given


@dataclass(frozen=True)
class Options:
    """How the caller of `read` wants the data read; what `read` says of each argument holds."""

    missing: tuple[Any, ...] = ()
    tokens: str | int | os.PathLike[str] | None = None
    documents: str | None = None
    length: int | None = None
    rate: int | None = None
    encoding: str | None = None
    sequence: bool | str | None = None
    header: bool | None = None
    kinds: Mapping[str, Any] = field(default_factory=dict)  # wished, and those of the columns of spaces that are known
    conditioned: bool = False  # there is a context, so pieces cannot be joined
    codec: Codec | None = None  # known already

    @property
    def space(self) -> Space | None:
        """The space that is known already."""
        return self.codec.space if self.codec is not None else None

    @property
    def form(self) -> Form | None:
        """What samples of that space come back as."""
        return self.codec.form if self.codec is not None else None

    def given(self) -> list[str]:
        """The arguments that were given and do not always have a meaning."""
        names = ("tokens", "documents", "length", "rate", "encoding", "sequence", "header")
        return [name for name in names if getattr(self, name) is not None]


@dataclass(frozen=True)
class Sequences:
    """Sequences as numbers of their kind, and what is to be made of them.

    Args:
        values: (M,) in data units, one sequence after another; small integers where the elements are whole numbers.
        lengths: (K,) of each.
        kind: of an element, the end not among its values.
        form: what samples come back as.
        layout: "stream": one long sequence; "windows" of equal length cut out of each; "documents": each whole, with an end;
            "rows": each whole, all of one length.
        unit: what the elements are, for messages.
        block: the usual length of a stream's blocks and of windows.
        uses: the arguments of `read` that have a meaning here.
        notes: what there is to know of how they were read.
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
    """x (N, L) of the space; row i is a piece of sequence `origin[i]`."""

    x: Tensor
    space: Space
    origin: np.ndarray
    consecutive: bool
    notes: list[str]


def arrange(found: Sequences, length: int | None = None, space: Space | None = None) -> Arranged:
    """Sequences -> a tensor; without a copy where they are one long one.

    Args:
        length: of blocks and windows; of documents the greatest, end included.
        space: known already; a shorter stream than its length is then one row.

    Raises:
        DataError: nothing there, nothing long enough, or more padding than memory can be asked for.
    """
    if length is not None and length < 1:
        raise DataError(f"length is how many {found.unit} a sequence has, 1 or more; got {length}.")
    if not len(found.lengths) or not found.lengths.max():
        raise DataError(f"There are no {found.unit} to read; expected at least one sequence with something in it.")
    if found.layout == "documents":
        return _documents(found, length, space)
    if found.layout == "rows":
        return _whole_rows(found, length, space)
    if length is None:
        length = space.dim if space is not None else _usual(found)
    return _windows(found, length, space) if found.layout == "windows" else _blocks(found, length, space)


def _whole_rows(found: Sequences, length: int | None, space: Space | None) -> Arranged:
    width = int(found.lengths[0])
    if (found.lengths != width).any():
        raise DataError(
            f"The sequences have lengths from {found.lengths.min()} to {found.lengths.max()}; the space has no end."
        )
    if length is not None and length != width:
        raise DataError(f"The sequences have {width} {found.unit} each; leave length={length} out.")
    x = _tensor(found.values.reshape(-1, width))
    return Arranged(x, space or _space(found.kind, width), np.arange(len(x)), False, [])


def _blocks(found: Sequences, length: int, space: Space | None) -> Arranged:
    total = len(found.values)
    if total < 2:
        raise DataError(f"One of the {found.unit} is not enough; a sequence needs at least 2.")
    if length > total:
        if space is None:
            raise DataError(f"length={length:,} is longer than the whole sequence of {total:,} {found.unit}; choose less.")
        length = total
    blocks = total // length
    rest = total - blocks * length
    notes = [f"the last {rest:,} {found.unit} fill no block of {length:,} and are left out"] if rest else []
    x = _tensor(found.values[: blocks * length]).view(blocks, length)
    return Arranged(x, space or _space(found.kind, length), np.zeros(blocks, int), True, notes)


def _usual(found: Sequences) -> int:
    """Blocks of the usual length, shorter ones of a short stream; windows that nine sequences of ten are long enough for."""
    if found.layout == "windows":
        return max(1, min(found.block, int(np.quantile(found.lengths, 0.1, method="lower"))))
    return max(1, min(found.block, len(found.values) // BLOCKS))


def _windows(found: Sequences, length: int, space: Space | None) -> Arranged:
    counts = found.lengths // length
    if not counts.any():
        raise DataError(f"No sequence has {length:,} {found.unit}, the longest has {found.lengths.max():,}; choose less.")
    origin = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(origin)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = (np.cumsum(found.lengths) - found.lengths)[origin] + within * length
    x = _tensor(np.lib.stride_tricks.sliding_window_view(found.values, length)[starts])
    short, lost = int((counts == 0).sum()), len(found.values) - x.numel()
    note = f"{lost:,} of {len(found.values):,} {found.unit} fill no window of {length:,}"
    note += f" ({short:,} of {len(counts):,} sequences are shorter)" if short else ""
    notes = [f"{note} and are left out"] if lost else []
    return Arranged(x, space or _space(found.kind, length), origin, False, notes)


def _documents(found: Sequences, length: int | None, space: Space | None) -> Arranged:
    longest = int(found.lengths.max())
    most = longest if length is None else length - 1
    kept = found.lengths <= most
    if not kept.any():
        raise DataError(
            f"Every sequence is longer than length={length}, which must hold its end too; the shortest has"
            f" {found.lengths.min():,} {found.unit}, the longest {longest:,}."
        )
    values, lengths, notes = found.values, found.lengths, []
    if lost := int((~kept).sum()):
        notes = [f"{lost:,} of {len(kept):,} sequences are longer than {most:,} {found.unit} and are left out"]
        values, lengths = values[np.repeat(kept, lengths)], lengths[kept]
    width = int(lengths.max()) + 1
    if len(lengths) * width > PADDED:
        raise DataError(
            f"{len(lengths):,} sequences filled up to the longest, {width - 1:,} {found.unit}, are {len(lengths) * width:,}"
            " numbers; leave out the longest with length=, or read them as one with documents='one'."
        )
    kind = space.kinds[0] if space is not None else found.kind.with_end()
    end = kind.end
    if isinstance(kind, Category):
        values = values.astype(smallest_type(kind.states), copy=False)
    elif values.dtype.kind != "f":
        values = values.astype(np.float32 if kind.magnitude <= kind.FINEST else np.float64)
    x = _tensor(filled(values, lengths, end, width))
    return Arranged(x, space or _space(kind, width), np.flatnonzero(kept), False, notes)


def _space(kind: Kind, length: int) -> Space:
    return Space(kind, shape=(length,), sequence=True)


def _tensor(values: np.ndarray) -> Tensor:
    """Without a copy, unless it may not be written to."""
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def collected(parts: Iterable[np.ndarray], dtype: Any) -> np.ndarray:
    """Parts one after another, (M,); beyond `LARGE` bytes in a temporary file, memory-mapped, that is gone when they are.

    The file is where Python's `tempfile` puts it: set TMPDIR to a disk with room.
    """
    held: list[np.ndarray] = []
    size, file = 0, None
    for part in parts:
        part = part.astype(dtype, copy=False)
        size += part.nbytes
        if file is None and size > LARGE:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - the map keeps it open
            for one in held:
                file.write(one.tobytes())
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
