"""How benchmarks take times."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["best", "medians"]


def best(seconds: Callable[[], float]) -> float:
    """With one thread or with all, whichever is faster."""
    found, threads = [], torch.get_num_threads()
    for count in {1, threads}:
        torch.set_num_threads(count)
        found.append(seconds())
    torch.set_num_threads(threads)
    return min(found)


def medians(work: dict[str, Callable[[], Any]], repetitions: int) -> dict[str, float]:
    """Milliseconds of each, in turns."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for repetition in range(repetitions + 1):
        for name, f in work.items():
            start = time.perf_counter()
            f()
            if repetition:  # the first warms up
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(taken) for name, taken in times.items()}
