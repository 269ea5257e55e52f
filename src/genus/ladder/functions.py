"""Small functions that models share: check shapes and counts, compute in chunks of rows."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from genus.errors import GenusError
from genus.ladder.counted import Counted
from genus.threads import torch_threads

__all__ = ["check_count", "check_shape", "counted_threads", "map_batches", "without_parameter_gradients"]


def check_shape(found: Tensor, shape: tuple[int, ...], method: str) -> Tensor:
    """Return the result of a family's method after checking its shape: a wrong one could be broadcast unnoticed.

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
    """Return a number of rows to draw as an int, after checking it.

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
        f: (x, c) -> one entry for each row. Methods of models that count run on one thread, see `counted_threads`.
        x: (B, ...).
        c: (B, ...) or None.
        rows: the rows of a chunk; by default fewer for longer rows.
    """
    rows = rows or max(1, min(8192, 2**16 // max(x[:1].numel(), 1)))
    if len(x) <= rows:
        return f(x, c)
    with counted_threads(getattr(f, "__self__", None)):
        return torch.cat([f(x[i : i + rows], None if c is None else c[i : i + rows]) for i in range(0, len(x), rows)])


def counted_threads(model: object) -> AbstractContextManager[None]:
    """Run torch on one thread inside the context where a model counts, and otherwise on as many as before.

    The tables and normals of a chunk are a few short loops over its numbers. Two threads that share these wait for one another
    after each, which costs ten times the work where other programs are busy.
    """
    return torch_threads(1) if isinstance(model, Counted) else nullcontext()


@contextmanager
def without_parameter_gradients(module: nn.Module) -> Iterator[None]:
    """Compute inside the context without gradients for the module's parameters, but with gradients for its inputs."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
