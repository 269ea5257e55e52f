"""Small functions that models and their users share: checked shapes and counts, and work in batches."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from genus.errors import GenusError

__all__ = ["check_count", "check_shape", "map_batches", "without_parameter_gradients"]


def check_shape(found: Tensor, shape: tuple[int, ...], method: str) -> Tensor:
    """Return the tensor of a family's method if it has this shape: another shape could be broadcast unnoticed.

    Args:
        found: the result of the method.
        shape: the expected shape.
        method: its name, for the message.

    Raises:
        GenusError: the result has another shape, or is no tensor.
    """
    if not isinstance(found, Tensor) or found.shape != shape:
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise GenusError(f"{method} must give a tensor of shape {shape}, one entry for each row; it gave {got}.")
    return found


def check_count(n: int) -> int:
    """Return how many rows to draw, a whole number of any integer type.

    Raises:
        GenusError: n is not a whole number, or below 0.
    """
    try:
        count = -1 if isinstance(n, bool) else operator.index(n)
    except TypeError:
        count = -1
    if count < 0:
        raise GenusError(f"Cannot sample {n!r} rows; ask for a whole number, 0 or more.")
    return count


def map_batches(f: Callable[..., Tensor], x: Tensor, c: Tensor | None = None, rows: int | None = None) -> Tensor:
    """Return f(x, c), computed over chunks of rows, so that memory does not grow with their number.

    Args:
        f: (x, c) -> one entry for each row.
        x: (B, ...).
        c: (B, ...) or None.
        rows: of a chunk; by default fewer for longer rows.
    """
    rows = rows or max(1, min(8192, 2**16 // max(x[:1].numel(), 1)))
    if len(x) <= rows:
        return f(x, c)
    return torch.cat([f(x[i : i + rows], None if c is None else c[i : i + rows]) for i in range(0, len(x), rows)])


@contextmanager
def without_parameter_gradients(module: nn.Module) -> Iterator[None]:
    """Give no gradients to the module's parameters by what is computed inside the context; those of its inputs flow on."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
