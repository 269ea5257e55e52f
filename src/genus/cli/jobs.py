"""Process blocks of rows, serially or in several processes, with the same results for any number of processes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genus.evaluation.workers import Parcel

__all__ = ["BLOCK", "in_order", "seed_of", "seeded_blocks"]

BLOCK = 50_000  # rows that are drawn or scored together, with a seed of their own
WAVE = 3  # blocks for each process before their results are written: memory holds no more of them


def seeded_blocks(rows: int, seed: int) -> Iterator[tuple[int, int, int]]:
    """Yield for each block of a draw how many rows stand before it, its number of rows, and its seed.

    The first block has the seed itself, so that many rows begin with those that a draw of few gives.

    >>> next(seeded_blocks(10**6, seed=5))
    (0, 50000, 5)
    """
    for number, at in enumerate(range(0, max(rows, 1), BLOCK)):
        yield at, min(BLOCK, rows - at), seed_of(number, seed)


def seed_of(number: int, seed: int) -> int:
    """Return the seed of a block, counted from 0, of a draw with a seed."""
    from genus.random import block_seed

    return block_seed(number, seed)


def in_order(work: Callable[[Any, Any], Any], shared: Any, tasks: Iterable[Any], jobs: int | None) -> Iterator[Any]:
    """Yield work(shared, task) of every task, in their order.

    Args:
        work: a function of a module of genus.
        shared: what all tasks need; each process gets it once.
        tasks: read as they are needed, a few for each process at a time.
        jobs: the number of processes, each of one thread, so that any number of them gives the same to the last bit; None:
            this process alone, with all threads that PyTorch takes.
    """
    if jobs is None:
        yield from (work(shared, task) for task in tasks)
        return
    left = iter(tasks)
    first = list(itertools.islice(left, 2))
    tasks = itertools.chain(first, left)
    if jobs == 1 or len(first) < 2:
        yield from (_in_one_thread(work, shared, task) for task in tasks)
        return

    from joblib import Parallel, delayed

    from genus.evaluation.workers import Parcel

    parcel = Parcel.pack(shared)
    with Parallel(n_jobs=jobs) as pool:
        while wave := list(itertools.islice(tasks, WAVE * jobs)):
            yield from pool(delayed(_in_worker)(work, parcel, task) for task in wave)


def _in_worker(work: Callable[[Any, Any], Any], parcel: Parcel, task: Any) -> Any:
    return _in_one_thread(work, _unpacked(parcel), task)


@lru_cache(maxsize=1)
def _unpacked(parcel: Parcel) -> Any:
    return parcel.unpack()


def _in_one_thread(work: Callable[[Any, Any], Any], shared: Any, task: Any) -> Any:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return work(shared, task)
    finally:
        torch.set_num_threads(threads)
