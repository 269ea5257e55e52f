"""Windows and batches that fit the memory there is: a student's step holds the outputs of every layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from genus.errors import GenusError
from genus.nets.room import in_words

__all__ = ["Pieces", "bytes_for_gradients", "choose_pieces"]

STEP, WINDOW = 2**14, 2**13  # elements of a step, and of a sequence in it, where nobody says
LEAST = 16  # elements of the shortest window that is chosen
MOST = 2**29  # bytes for gradients on a CPU: more make no step faster
SHARE = 4  # of the free memory a fourth: passes back and what they allocate need as much again, and others need some


class Pieces(NamedTuple):
    """Hold how a step over sequences is cut: into windows of a length, and these into pieces of rows.

    Attributes:
        length: elements of every sequence, its first.
        batch_size: sequences a step.
        rows: sequences whose gradient is computed at a time.
    """

    length: int
    batch_size: int
    rows: int

    def __str__(self) -> str:
        cut = f", {self.rows} at a time" if self.rows < self.batch_size else ""
        return f"steps of {self.batch_size} windows of {self.length:,} elements{cut}"


def bytes_for_gradients(loss: Callable[[], Tensor], parameters: list[Tensor]) -> int:
    """Return the bytes that a loss keeps for its gradient, beside the parameters.

    >>> weight = torch.ones(1, requires_grad=True)
    >>> bytes_for_gradients(lambda: (weight * torch.ones(250)).exp().sum(), [weight])
    2000
    """
    known = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = loss()  # holds the graph, so that no storage is counted twice at one place
    del value
    return sum(size for place, size in kept.items() if place not in known)


def choose_pieces(element: float, longest: int, free: int, batch_size: int | None = None, length: int | None = None) -> Pieces:
    """Return windows and pieces that fit the memory.

    Args:
        element: bytes that one element of a sequence takes in a step.
        longest: elements of the whole sequence.
        free: bytes that there are.
        batch_size, length: what a person chose; None: what suits.

    Raises:
        GenusError: one sequence of this length does not fit.

    >>> print(choose_pieces(35_000, 2_177, 2**34))
    steps of 7 windows of 2,177 elements
    """
    room = min(free // SHARE, MOST)
    if length is None:
        length = min(longest, WINDOW)
        while length > LEAST and element * length > room:
            length = max(LEAST, length // 2)
        needed = "build a smaller model"
    else:
        length, room = min(length, longest), max(room, min(free // 2, int(element * length)))
        needed = "choose a shorter length, or a smaller model"
    if element * length > room:
        raise GenusError(
            f"A step over {length:,} elements of one sequence needs some {in_words(element * length)} for its gradients, and"
            f" {in_words(free)} of memory are free, of which half may be used; {needed}."
        )
    batch = batch_size or min(256, max(2, STEP // length))
    rows = min(batch, max(1, int(room // (element * length))))
    pieces = -(-batch // rows)
    return Pieces(length, batch, -(-batch // pieces))
