"""What the benchmarks of sampling share."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["best"]


def best(seconds: Callable[[], float]) -> float:
    """With one thread or with all, whichever is faster."""
    found, threads = [], torch.get_num_threads()
    for count in {1, threads}:
        torch.set_num_threads(count)
        found.append(seconds())
    torch.set_num_threads(threads)
    return min(found)
