"""Comparisons on other machines, by Dask or Ray: the data are sent once, and what a lost worker did is done again."""

from __future__ import annotations

import logging
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from genus.errors import GenusError

__all__ = ["Cluster", "connected", "keeping_sigterm"]

TRIES = 3  # of a piece of work, whose worker may be lost

Say = Callable[[str], None]
Work = Callable[..., Any]


class Cluster(ABC):
    """Run pieces of work on other machines, at most `jobs` at once.

    A subclass gives `jobs`, and how the data are sent, work is submitted, and the next result is waited for.
    """

    jobs: int
    failures: tuple[type[BaseException], ...]

    @abstractmethod
    def send(self, shared: Any) -> Any:
        """Return a reference to a value that every worker has from now on."""

    @abstractmethod
    def submit(self, work: Work, reference: Any, task: Sequence[Any]) -> Any:
        """Return the future of work(shared, *task)."""

    @abstractmethod
    def next(self, futures: Sequence[Any]) -> Any:
        """Return one of the futures that has ended."""

    @abstractmethod
    def result(self, future: Any) -> Any:
        """Return what came of a future, or raise the error that ended its worker."""

    @abstractmethod
    def close(self) -> None:
        """Leave the cluster."""

    def has_lost_workers(self) -> bool:
        """Return whether a worker was lost since the last call, where the cluster by itself does its work again."""
        return False

    def run(self, work: Work, shared: Any, tasks: Sequence[Sequence[Any]], say: Say) -> Iterator[tuple[Any, Any, str]]:
        """Yield (task, result, "") of every task in the order they end, and (task, None, reason) of those that failed.

        Args:
            work: work(shared, *task) -> result.
            shared: what all tasks need; it is sent once, and once more after a worker was lost.
            tasks: the other arguments.
            say: is called with a line where a worker was lost.
        """
        reference = self.send(shared)
        open_work = {self.submit(work, reference, task): (task, 1) for task in tasks}
        while open_work:
            future = self.next(list(open_work))
            if self.has_lost_workers():
                say("a worker of the cluster was lost; what it did is done again by the others")
            task, tries = open_work.pop(future)
            try:
                yield task, self.result(future), ""
            except self.failures as error:
                reason = f"its worker was lost, {type(error).__name__}"
                if tries == TRIES:
                    yield task, None, f"{reason}, {TRIES} times"
                    continue
                say(f"{' '.join(map(str, task[:1]))}: {reason}; it is tried again, {tries + 1} of {TRIES}")
                reference = self.send(shared)  # the lost worker may have had it
                open_work[self.submit(work, reference, task)] = (task, tries + 1)


class DaskCluster(Cluster):
    """Run work on the workers of a Dask scheduler.

    Args:
        address: of the scheduler, such as tcp://host:8786.
    """

    def __init__(self, address: str) -> None:
        from concurrent.futures import CancelledError

        import distributed

        try:
            self.client = distributed.Client(address, timeout=20, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise GenusError(
                f"There is no Dask scheduler at {address}: {type(error).__name__}; start one, or use local."
            ) from error
        self.jobs = max(1, sum(self.client.ncores().values()))
        self.failures = (distributed.KilledWorker, distributed.client.FutureCancelledError, CancelledError)
        self._wait = distributed.wait
        self._workers = set(self.client.ncores())

    def send(self, shared: Any) -> Any:
        for left in reversed(range(TRIES)):
            try:
                return self.client.scatter(shared, broadcast=True, hash=False)
            except OSError as error:  # a worker was lost meanwhile; the scheduler will have noticed before long
                if not left:
                    raise GenusError(f"The workers of the cluster cannot be sent the data: {error}; look at them.") from error
                time.sleep(1.0)

    def submit(self, work: Work, reference: Any, task: Sequence[Any]) -> Any:
        return self.client.submit(work, reference, *task, pure=False)

    def next(self, futures: Sequence[Any]) -> Any:
        with self.client.as_current():
            return next(iter(self._wait(futures, return_when="FIRST_COMPLETED").done))

    def result(self, future: Any) -> Any:
        return future.result()

    def has_lost_workers(self) -> bool:
        before, self._workers = self._workers, set(self.client.ncores())
        return bool(before - self._workers)

    def close(self) -> None:
        """Leave the cluster, which goes on."""
        self.client.close()


class RayCluster(Cluster):
    """Run work on a Ray cluster: the one of RAY_ADDRESS or of this machine, or else one that is started here."""

    def __init__(self) -> None:
        import ray

        self.own = not ray.is_initialized()
        if self.own:
            with keeping_sigterm():
                ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
        self.ray = ray
        self.jobs = max(1, int(ray.cluster_resources().get("CPU", 1)))
        self.failures = (ray.exceptions.RaySystemError, ray.exceptions.WorkerCrashedError, ray.exceptions.ObjectLostError,
                         ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError)  # fmt: skip

    def send(self, shared: Any) -> Any:
        return self.ray.put(shared)

    def submit(self, work: Work, reference: Any, task: Sequence[Any]) -> Any:
        on_one_core: Any = self.ray.remote(num_cpus=1, max_retries=0)
        return on_one_core(work).remote(reference, *task)

    def next(self, futures: Sequence[Any]) -> Any:
        return self.ray.wait(list(futures), num_returns=1)[0][0]

    def result(self, future: Any) -> Any:
        return self.ray.get(future)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self.own:
            self.ray.shutdown()


@contextmanager
def keeping_sigterm() -> Iterator[None]:
    """Keep this process's handler of SIGTERM: Ray puts its own in its place, which ends the process where it stands."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


@contextmanager
def connected(where: str | None) -> Iterator[Cluster | None]:
    """Connect to a cluster inside the context; None and "local" stand for processes of this machine.

    Raises:
        GenusError: there is no such cluster, or the package is missing.
    """
    if where in (None, "local"):
        yield None
        return
    if where != "ray" and "://" not in str(where):
        raise GenusError(
            f"There is no cluster {where!r}; expected the address of a Dask scheduler, tcp://host:8786, ray, or local."
        )
    try:
        cluster = RayCluster() if where == "ray" else DaskCluster(str(where))
    except ImportError as error:
        raise GenusError(f"The cluster {where!r} needs more packages: pip install 'genus[cluster]'.") from error
    try:
        yield cluster
    finally:
        cluster.close()
