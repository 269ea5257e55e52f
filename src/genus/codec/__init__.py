"""Data units in and out: columns, arrays and images in `columns`, sequences in `sequences`, `text` and `sound`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from genus.codec import columns, sequences

if TYPE_CHECKING:
    from genus.space import Space

__all__ = ["decode", "encode", "encode_prefix"]


def encode(space: Space, source: Any, allow_missing: bool = False, beyond: bool = False) -> Tensor:
    """See `Space.encode`."""
    return sequences.encode(space, source) if space.sequence else columns.encode(space, source, allow_missing, beyond)


def decode(space: Space, x: Tensor) -> Any:
    """See `Space.decode`."""
    return sequences.decode(space, x) if space.sequence else columns.decode(space, x)


def encode_prefix(space: Space, start: Any) -> Tensor:
    """See `Space.encode_prefix`."""
    return sequences.encode_prefix(space, start)
