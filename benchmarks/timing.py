"""How benchmarks take times."""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

__all__ = ["Apart", "best", "medians"]


def best(seconds: Callable[[], float]) -> float:
    """With one thread or with all, whichever is faster."""
    found, threads = [], torch.get_num_threads()
    for count in {1, threads}:
        torch.set_num_threads(count)
        found.append(seconds())
    torch.set_num_threads(threads)
    return min(found)


def medians(
    work: dict[str, Callable[[], Any]], repetitions: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Milliseconds of each, in turns, by a clock of seconds."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for repetition in range(repetitions + 1):
        for name, f in work.items():
            start = clock()
            f()
            if repetition:  # the first warms up
                times[name].append(1e3 * (clock() - start))
    return {name: statistics.median(taken) for name, taken in times.items()}


class Apart:
    """What make(*args) returns, in a process of its own: what one library does to memory and threads is not felt by the next.

    A call names a method of it, and returns what that returns. `times` takes the milliseconds of some calls in a row, after one
    that is not counted: meanwhile the caches fill, and the threads of the process that was at work before come to rest.
    """

    def __init__(self, make: Callable[..., Any], *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, sys.path, make, args), daemon=True)
        self.process.start()
        self.connection.recv()

    def __call__(self, method: str) -> Any:
        self.connection.send((method, 0))
        return self.connection.recv()

    def times(self, method: str, calls: int) -> list[float]:
        self.connection.send((method, calls))
        return self.connection.recv()

    def stop(self) -> None:
        self.process.kill()
        self.process.join()


def _serve(connection: Connection, path: list[str], make: Callable[..., Any], args: tuple[Any, ...]) -> None:
    sys.path[:] = path
    made = make(*args)
    connection.send(None)
    while True:
        method, calls = connection.recv()
        found = getattr(made, method)()
        taken = []
        for _ in range(calls):
            start = time.perf_counter()
            getattr(made, method)()
            taken.append(1e3 * (time.perf_counter() - start))
        connection.send(taken or found)
