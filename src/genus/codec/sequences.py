"""Sequences of text, sound or numbers, encoded as tensors and decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from genus.codec import text
from genus.codec.columns import decode_column, encode_column
from genus.codec.forms import Form
from genus.codec.frames import to_arrow
from genus.codec.sound import from_wave, to_wave
from genus.errors import DataError
from genus.space import Space

__all__ = ["decode", "encode", "encode_prefix", "filled"]

NUMBERS = Form("numpy", ("float64",))


def filled(values: np.ndarray, lengths: np.ndarray, end: float, width: int) -> np.ndarray:
    """Return sequences as rows, (N, width), each filled up with ends.

    Args:
        values: (M,), the elements of one sequence after another.
        lengths: (N,), the number of elements of each sequence.
        end: the number that fills rows up.
        width: of the rows.

    >>> filled(np.array([1, 2, 3]), np.array([2, 1]), 0, 3)
    array([[1, 2, 0],
           [3, 0, 0]])
    """
    out = np.full((len(lengths), width), end, dtype=values.dtype)
    out[np.arange(width) < lengths[:, None]] = values
    return out


# -- encoding -------------------------------------------------------------------------------------------------------


def encode(space: Space, form: Form | None, source: Any) -> Tensor:
    """Return sequences as x (N, T), filled up with the end where there is one, one at least in each; see `Codec.encode`.

    Raises:
        DataError: there is nothing to encode, or lengths differ and there is no end.
    """
    values, lengths = encode_flat(space, form, _items(form, source))
    width = int(lengths.max(initial=0)) + space.ends
    if not len(lengths) or not width:
        raise DataError("There is nothing to encode; expected at least one sequence with at least one element.")
    if not space.ends and lengths.min() != width:
        raise DataError(
            f"The sequences have lengths from {lengths.min()} to {width} and this space has no end symbol; give sequences of"
            " one length."
        )
    values = values.astype(np.float64 if space.dtype == torch.float64 else np.float32)
    return torch.from_numpy(filled(values, lengths, space.kinds[0].missing_value if space.ends else 0.0, width))


def encode_prefix(space: Space, form: Form | None, start: Any) -> Tensor:
    """Return the beginning of a sequence as numbers, (m,); see `Codec.encode_prefix`."""
    if not space.sequence:
        raise DataError(f"Only sequences have a beginning to encode; use encode for rows of {space!r}.")
    if _is_text(form) and not isinstance(start, str | bytes):
        raise DataError(f"The beginning of a text must be a string; got {type(start).__name__}.")
    values, _ = encode_flat(space, form, [start if isinstance(start, str | bytes) else _array(start)], prefix=True)
    return torch.from_numpy(values.astype(np.float64 if space.dtype == torch.float64 else np.float32))


def encode_flat(space: Space, form: Form | None, items: Sequence[Any], prefix: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences as numbers of the space, (M,), each sequence after another, and their lengths, (N,).

    Args:
        space: of the sequences.
        form: of what was read; None: arrays of numbers.
        items: strings, waveforms or arrays (T,).
        prefix: the only item is the beginning of a sequence, for messages.
    """
    form, kind = form or NUMBERS, space.kinds[0]
    if form.container == "text":
        return text.coding(form.coding, kind.levels).encode(  # type: ignore[attr-defined]
            items, lambda i, place: f"place {place + 1} of {'the prefix' if prefix else f'text {i}'}"
        )
    lengths = np.array([len(item) for item in items], dtype=np.int64)
    flat = np.concatenate([np.array([]) if not len(item) else item for item in items]) if len(items) else np.array([])
    if form.container == "audio":
        return from_wave(_wave(flat), form.coding), lengths
    column = to_arrow(flat)[0].column(0) if len(flat) else pa.chunked_array([pa.array([], pa.float64())])
    return encode_column(kind.without_end() if space.ends else kind, column, "sequence"), lengths


def _wave(values: np.ndarray) -> np.ndarray:
    """Return a waveform in [-1, 1]; whole numbers are sound of 16 bits."""
    if values.dtype.kind in "iu":
        return values / 2**15
    if not np.isfinite(values).all():
        raise DataError("The sound holds NaN or infinite values; expected a waveform in [-1, 1].")
    return values


def _is_text(form: Form | None) -> bool:
    return form is not None and form.container == "text"


def _array(item: Any) -> np.ndarray:
    array = item.detach().cpu().numpy() if isinstance(item, Tensor) else np.asarray(item)
    if array.ndim != 1:
        raise DataError(f"A sequence must have one axis, (T,); got shape {array.shape}.")
    return array


def _items(form: Form | None, source: Any) -> Sequence[Any]:
    """Return sequences as a list of texts or of arrays (T,).

    They may be given as an array or tensor, (T,) or (N, T), a list of numbers or of arrays, a table whose first column holds
    them, a string or a list of strings.

    Raises:
        DataError: text is wanted, and an item is none, or an item has several axes.
    """
    if _is_text(form):
        items = [source] if isinstance(source, str | bytes) else list(source)
        odd = next((item for item in items if not isinstance(item, str | bytes)), None)
        if odd is not None:
            raise DataError(f"Text is encoded from strings; got {type(odd).__name__}.")
        return items
    if isinstance(source, pa.Table):
        source = source.column(0).to_pylist()
    if isinstance(source, Tensor | np.ndarray):
        return [_array(source)] if source.ndim == 1 else [_array(row) for row in source]
    items = list(source)
    return [_array(item) for item in items] if items and np.ndim(items[0]) else [_array(items)]


# -- decoding -------------------------------------------------------------------------------------------------------


def decode(space: Space, form: Form | None, x: Tensor) -> Any:
    """Return x (N, T) as strings, or as an array (N, T) of sound or numbers, a list of arrays where sequences end.

    Without a form x comes back as it is, in floating point. See `Codec.decode`.
    """
    x = x if x.is_floating_point() else x.to(space.dtype)
    space.check(x)
    kind = space.kinds[0]
    if form is None:
        return x
    flat = x.detach().cpu().numpy()
    ended = space.ended(x).cpu().numpy()
    lengths = (~ended).sum(1)
    if form.container == "text":
        coding = text.coding(form.coding, kind.levels)  # type: ignore[attr-defined]
        return [coding.decode(row[:length]) for row, length in zip(flat.astype(np.int64), lengths, strict=True)]
    if form.container == "audio":
        values = to_wave(flat[~ended], form.coding)
    else:
        values = decode_column(kind, flat[~ended].astype(np.float64), x.dtype == torch.float32)
        dtype = np.dtype(form.dtypes[0])
        values = values.astype(dtype if dtype.kind != "U" else object)
    if not space.ends:
        values = values.reshape(flat.shape)
        return torch.from_numpy(values) if form.container == "torch" else values
    rows = np.split(values, np.cumsum(lengths)[:-1])
    return [torch.from_numpy(row) for row in rows] if form.container == "torch" else rows
