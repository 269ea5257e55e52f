"""Rows that are drawn, scored and read block by block, so that memory does not grow with their number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import run

import genus
import genus.cli.jobs

ROWS = 700


def table(rows: int = ROWS, seed: int = 0) -> pa.Table:
    """Numbers, whole numbers, texts with commas, keys and blanks."""
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "size": rng.normal(size=rows).round(3),
            "count": rng.integers(0, 50, rows),
            "place": np.array(["here, now", "there"])[rng.integers(0, 2, rows)],
            "id": np.arange(1, rows + 1),
            "price": pa.array(rng.choice([1.5, 2.25], rows), mask=rng.random(rows) < 0.1),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table and a model of it."""
    folder = tmp_path_factory.mktemp("streams")
    pq.write_table(table(), folder / "rows.parquet")
    data = genus.read(folder / "rows.parquet")
    model = genus.NaiveBayes(data.space)
    genus.fit(model, data, progress=False)
    genus.save(model, folder / "model.genus")
    return folder


@pytest.fixture(autouse=True)
def small_blocks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 300 rows, in the folder."""
    monkeypatch.setattr("genus.cli.jobs.BLOCK", 300)
    monkeypatch.chdir(folder)


def many_jobs(*counts: int) -> list[object]:
    """One process, and in nightly runs several, which take seconds to start."""
    return [pytest.param(count, marks=pytest.mark.nightly if count > 1 else ()) for count in counts]


# -- draws ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", many_jobs(1, 2))
@pytest.mark.parametrize("suffix", ["parquet", "csv", "json", "npz"])
def test_draws_are_the_same_for_any_number_of_processes(suffix: str, jobs: int) -> None:
    assert run("sample", "model.genus", "-n", 1000, "--seed", 3, "--out", f"one.{suffix}").code == 0
    assert run("sample", "model.genus", "-n", 1000, "--seed", 3, "--jobs", jobs, "--out", f"more.{suffix}").code == 0
    assert Path(f"one.{suffix}").read_bytes() == Path(f"more.{suffix}").read_bytes()
    drawn = genus.read(f"one.{suffix}")
    assert len(drawn) == 1000


def test_blocks_differ_their_keys_too_and_the_first_is_that_of_few_rows() -> None:
    assert run("sample", "model.genus", "-n", 900, "--seed", 3, "--out", "many.parquet").code == 0
    found = pq.ParquetFile("many.parquet")
    assert found.num_row_groups == 3
    assert found.schema_arrow.metadata[b"genus.notes"]
    parts = [found.read_row_group(i) for i in range(3)]
    assert not parts[0].column("size").equals(parts[1].column("size"))
    assert len(set(found.read().column("id").to_pylist())) == 900
    few = run("sample", "model.genus", "-n", 300, "--seed", 3).out
    many = run("sample", "model.genus", "-n", 900, "--seed", 3).out
    assert many.startswith(few)
    assert many.count("size,count") == 1
    assert run("sample", "model.genus", "-n", 0).out.splitlines() == ["size,count,place,id,price"]


def test_jobs_are_for_rows_of_tables() -> None:
    genus.save(genus.NaiveBayes(genus.Space(genus.Lattice(0, 3), shape=(2, 2))), "images.genus")
    run("sample", "images.genus", "--out", "a.png", "--jobs", 2).refused(2, "--jobs", "no table")
