"""Patterns of files, in memory and as streams: tables, text, sound."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest
import torch
from command import run

import genus
from genus import DataError
from genus.data.audio import write_wav


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def parts() -> pa.Table:
    """A table in three files of each type, those of text one of them compressed and one with its columns in another order."""
    rng = np.random.default_rng(0)
    rows = pa.table({"count": rng.integers(0, 50, 900), "price": rng.gamma(2, 3, 900), "place": rng.choice(["a", "b"], 900)})
    Path("parts/deep").mkdir(parents=True)
    Path("parts/notes.md").write_text("no part of the table")
    for i in range(3):
        part = rows.slice(300 * i, 300)
        pq.write_table(part, f"parts/{i}.parquet")
        if i == 1:
            part = part.select(["place", "count", "price"])
        pcsv.write_csv(part, f"parts/{i}.csv")
    Path("parts/2.csv.gz").write_bytes(gzip.compress(Path("parts/2.csv").read_bytes()))
    Path("parts/2.csv").unlink()
    return rows


@pytest.mark.parametrize("pattern", ["parts/*.csv*", "parts/*.parquet", "**/*.csv*"])
def test_a_pattern_is_one_table_in_memory_and_as_a_stream(pattern: str) -> None:
    rows = parts()
    memory, stream = genus.read(pattern), genus.read(pattern, stream=True)
    assert memory.frame().select(rows.column_names).to_pydict()["place"] == rows.column("place").to_pylist()
    assert stream.space == memory.space
    assert torch.equal(torch.cat([x for x, _ in stream.blocks(170)]), memory.x)


def test_commands_take_quoted_patterns() -> None:
    parts()
    assert run("fit", "parts/*.csv*", "--family", "naive-bayes", "--stream", "--out", "m.genus").code == 0
    done = run("score", "m.genus", "parts/*.csv*", "--out", "scores.csv")
    assert "900 rows" in done.err, done.err


def test_text_and_sound_of_a_pattern_are_those_of_a_folder_of_them() -> None:
    rng = np.random.default_rng(0)
    Path("mixed").mkdir()
    Path("texts").mkdir()
    for i in range(4):
        words = " ".join(rng.choice(["stream", "river", "down"], 2000))
        Path(f"mixed/{i}.txt").write_text(words)
        Path(f"texts/{i}.txt").write_text(words)
        write_wav(Path(f"mixed/{i}.wav"), rng.uniform(-1, 1, 8000), 8000)
    for stream in (False, True):
        assert torch.equal(genus.read("mixed/*.txt", stream=stream).x, genus.read("texts").x)
        assert genus.read("mixed/*.wav", stream=stream).codec.is_sound


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_no_table_or_not_there_is_a_sentence(stream: bool) -> None:
    parts()
    with pytest.raises(DataError, match=r"No file matches 'parts/\*\.tsv'"):
        genus.read("parts/*.tsv", stream=stream)
    with pytest.raises(DataError, match="Cannot understand the pattern"):
        genus.read("parts/**.csv", stream=stream)
    Path("parts/3.csv").write_text("count,price\n1,2.5\n3,4.5\n")
    with pytest.raises(DataError, match=r"same columns, and parts/3\.csv and parts/0\.csv differ in place"):
        genus.read("parts/*.csv", stream=stream)
