"""Files of Parquet and data sets of pyarrow, read part by part: the rows in their order, of which few are held at once."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import genus
from genus.data.arguments import Options
from genus.data.parts import table_parts

ROWS = 200_000
COLUMNS = 10  # 16 MB


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files, of one group of rows and of groups of 20,000."""
    where = tmp_path_factory.mktemp("parts")
    rng = np.random.default_rng(0)
    table = pa.table({f"x{i}": rng.normal(size=ROWS) for i in range(COLUMNS)})
    pages: dict[str, Any] = {"use_dictionary": False, "data_page_size": 2**15}
    pq.write_table(table, where / "one.parquet", row_group_size=ROWS, **pages)
    pq.write_table(table, where / "some.parquet", row_group_size=20_000, **pages)
    return where


def held(source: Any) -> tuple[int, int]:
    """Return the rows of a table and the most bytes that Arrow holds while its blocks are read one after another."""
    parts = table_parts(source, Options())
    assert parts is not None
    gc.collect()
    before, most, rows = pa.total_allocated_bytes(), 0, 0
    for block in parts.blocks(10_000):
        rows += block.num_rows
        most = max(most, pa.total_allocated_bytes() - before)
    return rows, most


@pytest.mark.parametrize("source", [lambda path: path, ds.dataset, lambda path: ds.dataset([ds.dataset(path)] * 2)])
@pytest.mark.parametrize("name", ["one", "some"])
def test_few_rows_are_held_whatever_the_groups_of_rows(folder: Path, name: str, source: Callable[[Path], Any]) -> None:
    rows, most = held(source(folder / f"{name}.parquet"))
    assert rows % ROWS == 0
    assert most < ROWS * COLUMNS * 8 / 2


def test_of_a_data_set_with_a_filter_a_group_is_held(folder: Path) -> None:
    rows, most = held(ds.dataset(folder / "some.parquet").filter(ds.field("x0") > 0))
    assert 0.4 * ROWS < rows < 0.6 * ROWS
    assert most < ROWS * COLUMNS * 8 * 1.2  # 27 MB if groups are read ahead


def in_memory(table: pa.Table) -> ds.Dataset:
    buffer, form = pa.BufferOutputStream(), ds.ParquetFileFormat()
    pq.write_table(table, buffer)
    return ds.FileSystemDataset([form.make_fragment(buffer.getvalue())], table.schema, form)


def of_some_groups(path: Path) -> ds.Dataset:
    whole = ds.dataset(path / "sorted.parquet")
    return ds.FileSystemDataset([next(whole.get_fragments()).subset(row_group_ids=[2, 1])], whole.schema, whole.format)


CASES: dict[str, Callable[[Path], ds.Dataset]] = {
    "folders": lambda path: ds.dataset(path / "years", partitioning="hive"),
    "a filter": lambda path: ds.dataset(path / "years", partitioning="hive").filter(ds.field("year") == 2021),
    "levels": lambda path: ds.dataset(path / "sorted.parquet", format=ds.ParquetFileFormat(dictionary_columns=["who"])),
    "some columns": lambda path: ds.dataset(path / "sorted.parquet", schema=pa.schema([("who", pa.string())])),
    "no such column": lambda path: ds.dataset(path / "sorted.parquet", schema=pa.schema([("gone", pa.int64())])),
    "another type": lambda path: ds.dataset(path / "sorted.parquet", schema=pa.schema([("n", pa.float64())])),
    "groups": of_some_groups,
    "a buffer": lambda path: in_memory(pq.read_table(path / "sorted.parquet")),
    "a table": lambda path: ds.dataset(pq.read_table(path / "sorted.parquet")),
    "both": lambda path: ds.dataset([ds.dataset(path / "sorted.parquet"), ds.dataset(path / "arrow", format="ipc")]),
}


@pytest.mark.parametrize("what", CASES)
def test_the_parts_of_a_data_set_are_its_rows(tmp_path: Path, what: str) -> None:
    table = pa.table({"n": range(600), "who": ["a", "b", "c"] * 200})
    pq.write_table(table, tmp_path / "sorted.parquet", row_group_size=100)
    for year in (2020, 2021):
        (tmp_path / "years" / f"year={year}").mkdir(parents=True)
        pq.write_table(table, tmp_path / "years" / f"year={year}" / "part.parquet")
    ds.write_dataset(table, tmp_path / "arrow", format="ipc")
    source = CASES[what](tmp_path)
    parts = table_parts(source, Options())
    assert parts is not None
    for _ in range(2):  # a stream reads its parts several times
        assert pa.concat_tables(parts.read()).equals(source.to_table())


def test_a_data_set_streams_as_its_file_does(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [i % 7 for i in range(900)], "who": ["a", "b", "c"] * 300}), tmp_path / "t.parquet")
    stream, file = (genus.read(source, stream=True) for source in (ds.dataset(tmp_path / "t.parquet"), tmp_path / "t.parquet"))
    assert stream.space == file.space
    assert stream.total == file.total == 900
