"""Check that rows are data of a space, and that what a file says of a space is one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from genus.errors import DataError
from genus.kinds.base import Kind
from genus.kinds.category import Category

__all__ = ["check_layout", "check_rows", "checked_sums", "is_batch"]

CHECKED = 2**18  # numbers checked at a time, so that what is made on the way stays in the processor's cache


def is_batch(space: Any, x: Any) -> bool:
    """Return whether x is a batch of a space, as models draw them; see `Space.check`."""
    try:
        check_rows(space, x, "x")
    except DataError:
        return False
    return True


def check_rows(space: Any, x: Any, name: str) -> None:
    """Raise DataError where x is not a batch of a space; see `Space.check`."""
    if not isinstance(x, Tensor):
        shape = f"(B, {_dims(space.shape)})"
        raise DataError(f"{name} must be a tensor of shape {shape}; got {type(x).__name__}. Use Codec(space).encode(...).")
    if space.sequence and (x.ndim != 2 or x.shape[1] < 1 or x.shape[1] % space.period):
        several = f" a multiple of the {space.period} values of a step" if space.period > 1 else ""
        raise DataError(f"{name} must be sequences of shape (B, T), T{several or ' at least 1'}; got {tuple(x.shape)}.")
    if not space.sequence and (x.ndim != len(space.shape) + 1 or tuple(x.shape[1:]) != space.shape):
        raise DataError(f"{name} must have shape (B, {_dims(space.shape)}); got {tuple(x.shape)}.")
    flat = x.flatten(1)
    rows = max(1, CHECKED // flat.shape[1])
    for start in range(0, len(flat), rows):
        part = flat[start : start + rows]
        outside = space.tables(part).first_outside(part.reshape(-1, space.period) if space.sequence else part)
        if outside is not None:
            row, column = divmod(outside[0] * space.period + outside[1], part.shape[1]) if space.sequence else outside
            raise DataError(_outside(space, part[row, column].item(), start + row, column, name))
        if space.ends:
            ended = space.ended(part)
            resumed = (ended[:, :-1] & ~ended[:, 1:]).any(1)
            if bool(resumed.any()):
                row = start + int(resumed.nonzero()[0])
                raise DataError(f"{name} goes on after its end in row {row}; an end must be followed by ends alone.")


def check_layout(names: Any, shape: Any, sequence: Any) -> None:
    """Raise DataError unless these are the names, the shape and the `sequence` of a space, as files bring them."""
    if not all(isinstance(name, str) for name in names or ()) or any(type(size) is not int or size < 1 for size in shape):
        raise DataError("A space has names that are texts, and a shape of whole numbers, 1 or more.")
    if not isinstance(sequence, bool):
        raise DataError("A space is one of sequences or not: true or false.")


def checked_sums(sums: Sequence[Mapping[str, float]], kinds: Mapping[str, Kind]) -> tuple[dict[str, float], ...]:
    """Return the sums of a space, their factors as floats; raise DataError where they are none of its columns of numbers."""
    if len(sums) > len(kinds):
        raise DataError(f"A space of {len(kinds):,} columns has at most as many sums; got {len(sums):,}.")
    for one in sums:
        fine = isinstance(one, Mapping) and len(one) > 1 and all(name in kinds for name in one)
        if not fine or any(isinstance(kinds[name], Category) for name in one):
            raise DataError(f"A sum is of two or more columns of numbers of its space; got {one!r}.")
        if not all(isinstance(f, int | float) and math.isfinite(f) and f for f in one.values()):
            raise DataError(f"Every column of a sum has a finite factor that is not 0; got {one!r}.")
    return tuple({name: float(factor) for name, factor in one.items()} for one in sums)


def _outside(space: Any, value: float, row: int, column: int, name: str) -> str:
    """Return the message on a value that its kind has no place for."""
    label = f"place {column}" if space.sequence else space.label(column)
    if space.channels:
        label = f"step {column // space.period} of column {space.channels[column % space.period]!r}"
    if math.isnan(value) and not space.sequence:
        return (
            f"{name} lacks a value in {label}, row {row}: it holds nan, and none was missing there in training;"
            " log_marginal(x) leaves it out and impute(x) draws it, where the family can."
        )
    kind = space.kinds[column % space.period if space.sequence else column]
    return (
        f"{name} holds {value:g} in {label}, row {row}, which is outside {kind!r}; read the data with space=, or widen the"
        " kind with kinds=."
    )


def _dims(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
