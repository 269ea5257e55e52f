"""Say how many threads torch uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["threads_for", "torch_threads"]

FEW = 2**17  # numbers


def threads_for(numbers: int) -> int:
    """Return how many threads suit work on so many numbers: one for few, which more gain nothing from.

    Threads that wait for one another cost twenty times what they save where other programs are busy.
    """
    return 1 if numbers <= FEW else torch.get_num_threads()


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run torch on so many threads inside the block, of which it has one number for the whole process.

    >>> with torch_threads(1):
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
