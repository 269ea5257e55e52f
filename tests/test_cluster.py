"""A comparison on Dask and on Ray: the report of processes of this machine, also where a worker is killed on the way."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import genus
from genus.errors import GenusError
from genus.evaluation.cluster import keeping_sigterm

FAMILIES = ["naive-bayes", "chow-liu"]
HOW: dict[str, Any] = {"seeds": 1, "budget": 5, "stack": False}


def table() -> genus.Dataset:
    x = np.random.default_rng(0).normal(size=(300, 3))
    x[:, 1] += x[:, 0]
    return genus.read(x)


def same(ours: genus.Report, theirs: genus.Report) -> None:
    assert [row.family for row in ours.rows] == [row.family for row in theirs.rows]
    for a, b in zip(ours.rows, theirs.rows, strict=True):
        assert (a.status, a.log_density, a.metrics) == (b.status, b.log_density, b.metrics)


def killed(pids: Any, after: float) -> None:
    """Kill one of the processes that `pids` returns, after so many seconds, once."""

    def kill() -> None:
        time.sleep(after)
        os.kill(next(iter(pids())), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()


@pytest.fixture
def scheduler() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed", reason="distributed is not installed: pip install 'genus[cluster]'")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50, protocol="tcp://"
    ) as cluster:
        with distributed.Client(cluster, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield cluster


def test_dask_gives_the_same_report(scheduler: Any, tmp_path: Path) -> None:
    lines: list[str] = []
    there = genus.compare(table(), FAMILIES, cluster=scheduler.scheduler_address, folder=tmp_path, progress=lines.append, **HOW)
    assert "2 at once" in lines[0]
    same(there, genus.compare(table(), FAMILIES, jobs=1, progress=False, **HOW))
    assert (tmp_path / "best.genus").exists()


@pytest.mark.nightly
def test_dask_does_again_what_a_killed_worker_did(scheduler: Any) -> None:
    lines: list[str] = []

    def say(line: str) -> None:
        if not lines:  # the fits begin
            killed(lambda: [worker.process.pid for worker in scheduler.workers.values()], 1.5)
        lines.append(line)

    hyper = {"made": {"hidden": [16]}}
    report = genus.compare(
        table(),
        ["made"],
        cluster=scheduler.scheduler_address,
        progress=say,
        hyper=hyper,
        seeds=2,
        budget=4,
        stack=False,
    )
    assert [row.status for row in report.rows] == ["ok", "ok"], lines
    assert any("lost" in line for line in lines), lines


@pytest.fixture
def ray() -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'genus[cluster]'")
    with keeping_sigterm():
        ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False, object_store_memory=10**8)
    yield ray
    ray.shutdown()


def test_ray_gives_the_same_report(ray: Any) -> None:
    same(
        genus.compare(table(), FAMILIES, cluster="ray", progress=False, **HOW),
        genus.compare(table(), FAMILIES, jobs=1, progress=False, **HOW),
    )


@pytest.mark.nightly
def test_ray_does_again_what_a_killed_worker_did(ray: Any, tmp_path: Path) -> None:
    class Once(genus.NaiveBayes, name="test-dies-once"):
        """End the first process that counts."""

        def observe(self, x: Any, c: Any = None, weight: Any = None) -> None:
            mark = Path(os.environ.get("GENUS_TEST_MARK", MARK))
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            super().observe(x, c, weight)

    MARK = str(tmp_path / "mark")
    lines: list[str] = []
    report = genus.compare(table(), [Once], cluster="ray", progress=lines.append, **HOW)
    assert [row.status for row in report.rows] == ["ok", "ok"], lines
    assert any("its worker was lost" in line and "tried again" in line for line in lines), lines


def test_a_cluster_that_is_none_is_refused() -> None:
    with pytest.raises(GenusError, match="There is no cluster 'moon'; expected"):
        genus.compare(table(), FAMILIES, cluster="moon", progress=False, **HOW)
    same(
        genus.compare(table(), FAMILIES, cluster="local", jobs=1, progress=False, **HOW),
        genus.compare(table(), FAMILIES, jobs=1, progress=False, **HOW),
    )
