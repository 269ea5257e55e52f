"""Rows that are drawn, scored and read block by block, so that memory does not grow with their number."""

from __future__ import annotations

import csv
import gzip
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import torch
from command import run

import genus
import genus.cli.jobs
from genus import DataError
from genus.cli.scoring import Scored, Totals
from genus.codec.units import Unit
from genus.data.arguments import Options
from genus.data.audio import write_wav
from genus.data.parts import table_parts
from genus.training import TrainingInterrupted
from genus.training.gradients import GradientTrainer

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
    monkeypatch.setitem(sys.modules["genus.cli.score"].__dict__, "BLOCK", 300)
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


# -- scores ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", many_jobs(1, 2))
@pytest.mark.parametrize("source", ["many.parquet", "many.csv", "parts", "parts/*.parquet"])
def test_scores_of_many_rows_are_those_of_all_rows_at_once(source: str, jobs: int) -> None:
    rows = table(1000, seed=1)
    Path("parts").mkdir(exist_ok=True)
    pq.write_table(rows, "many.parquet")
    pa.csv.write_csv(rows, "many.csv")
    pq.write_table(rows.slice(0, 450), "parts/a.parquet")
    pq.write_table(rows.slice(450), "parts/b.parquet")
    done = run("score", "model.genus", source, "--jobs", jobs, "--out", "scores.parquet")
    assert done.code == 0, done.err
    found = pq.read_table("scores.parquet")
    model = genus.load("model.genus")
    expected = model.log_prob(genus.read(rows, space=model.codec).x).numpy()
    assert np.allclose(found.column("log_density_exact").to_numpy(), expected, rtol=1e-12)
    assert found.select(rows.column_names).to_pydict() == rows.to_pydict()
    assert found.column("reason").null_count == 1000
    assert f"1,000 rows: {expected.mean():.4f} ± {expected.std(ddof=1) / 1000**0.5:.4f} nats a row (exact)" in done.err


def test_of_many_scores_few_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genus.cli.scoring.KEPT", 100)
    total, unit = Totals(), Unit("row", "a row", 1.0)
    for at in range(0, 50_000, 500):
        total.add(Scored(at, torch.arange(500.0) + at, torch.ones(500, dtype=torch.bool), "exact", {}, 0, "", unit))
    assert total.some[:2] == [0.0, float(total.stride)]
    assert sum(part.untyped_storage().nbytes() for part in total.kept) <= 4 * 500 + 4 * 2 * 100


def test_a_row_without_mass_is_found_in_whichever_block_it_is() -> None:
    rows = table(1000, seed=1).to_pylist()
    rows[650]["count"] = 10**6
    pq.write_table(pa.Table.from_pylist(rows), "odd.parquet")
    done = run("score", "model.genus", "odd.parquet", "--out", "odd.csv")
    assert "Rows without mass under the model (1)" in done.err
    assert "in the rows from 600 on, counted from there" in done.err
    found = list(csv.DictReader(Path("odd.csv").read_text().splitlines()))
    assert [i for i, row in enumerate(found) if row["reason"]] == [650]
    assert found[650]["count"] == "1000000"


def test_text_is_cut_between_rows_and_not_within_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = table(1000, seed=2)
    places = [f'{place}, said\n"she" ' if i % 3 else place for i, place in enumerate(rows.column("place").to_pylist())]
    rows = rows.set_column(2, "place", pa.array(places))
    pa.csv.write_csv(rows, "quoted.csv")
    monkeypatch.setattr("genus.data.delimited.PART", 1000)
    parts = table_parts("quoted.csv", Options())
    assert parts is not None
    tables = list(parts.read())
    assert len(tables) > 10
    whole = pa.concat_tables(tables, promote_options="permissive")
    assert whole.column("place").to_pylist() == [place.strip() for place in places]
    assert whole.column("id").to_pylist() == list(range(1, 1001))
    assert [block.num_rows for block in parts.blocks(400)] == [400, 400, 200]


# -- training ---------------------------------------------------------------------------------------------------------------


def parts_of(rows: pa.Table, name: str, count: int = 3) -> str:
    """The rows in a folder of several files."""
    Path(name).mkdir(exist_ok=True)
    size = -(-rows.num_rows // count)
    for i in range(count):
        pq.write_table(rows.slice(i * size, size), f"{name}/{i}.parquet")
    return name


def test_a_small_stream_has_the_kinds_and_the_counts_of_memory_bit_for_bit() -> None:
    source = parts_of(table(1000, seed=4), "small")
    memory, stream = genus.read(source), genus.read(source, stream=True)
    assert stream.space == memory.space
    assert stream.codec == memory.codec
    models = [genus.NaiveBayes(memory.space) for _ in range(2)]
    for model, data in zip(models, (memory, stream), strict=True):
        genus.fit(model, data, batch_size=170, progress=False)
    for name, tensor in models[0].state_dict().items():
        assert torch.equal(tensor.nan_to_num(), models[1].state_dict()[name].nan_to_num()), name


def test_a_large_stream_has_levels_and_ends_of_all_rows_and_counts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genus.data.stream.CELLS", 5 * 300)
    monkeypatch.setattr("genus.data.stream.AT_ONCE", 170)
    rows = table(2000, seed=5).to_pylist()
    rows[1500] |= {"place": "elsewhere", "count": 77}  # once in all rows
    source = parts_of(pa.Table.from_pylist(rows), "large")
    memory, stream = genus.read(source), genus.read(source, stream=True)
    assert (len(stream), stream.total) == (300, 2000)
    kinds = dict(zip(stream.space.names, stream.space.kinds, strict=True))
    assert kinds["place"] == memory.space.kinds[memory.space.index("place")]
    assert kinds["count"].low == 0
    assert kinds["count"].high >= 77  # which one row has
    assert str(stream).count("2,000 rows are read block by block")
    model = genus.NaiveBayes(stream.space)
    history = genus.fit(model, stream, progress=False)
    assert (history.seen, history.passes) == (2000, 1)
    assert int(model.product.rows.sum()) == 2000
    assert sum(len(x) for x, _ in stream.blocks(450)) == 2000
    assert len(stream.split()[0]) == 240
    assert type(stream.rows(slice(0, 5))) is genus.Dataset


@pytest.mark.parametrize("family", ["independent", "mixture", "chow-liu"])
def test_families_that_pass_over_all_rows(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genus.data.stream.CELLS", 3 * 300)
    x = np.random.default_rng(6).integers(0, 3, 2000)
    rows = pa.table(
        {"a": x, "b": (x + np.arange(2000) % 2) % 3, "c": (x * 1.5 + np.random.default_rng(7).normal(size=2000)).round(2)}
    )
    stream = genus.read(parts_of(rows, f"more-{family}"), stream=True)
    assert len(stream) == 300
    hyper = {"components": 3, "covariance": "diagonal", "pool": 8.0} if family == "mixture" else {}
    model, sample = (genus.build(family, stream.space, **hyper) for _ in range(2))
    history = genus.fit(model, stream, batch_size=500, progress=False)
    if family == "independent":
        assert int(model.product.rows.sum()) == 2000
        return
    assert history.seen == 1970  # but for the validation rows, a tenth of the sample
    assert history.passes == 1 if family == "chow-liu" else history.passes > 1
    genus.fit(sample, stream.rows(slice(None)), progress=False)
    other = torch.cat([x for x, _ in stream.rest(500)])
    assert model.log_prob(other).mean() > sample.log_prob(other).mean()
    if family == "chow-liu":
        assert not torch.equal(model.tree.table, sample.tree.table)


@pytest.mark.nightly
def test_others_see_the_sample_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genus.data.stream.CELLS", 5 * 300)
    stream = genus.read(parts_of(table(2000, seed=6), "sampled"), stream=True)
    history = genus.fit(genus.build("trees", stream.space), stream, max_seconds=1, progress=False)
    assert history.seen == 270
    monkeypatch.setattr("genus.models.trees.LEARNED", 1)  # so short a time is enough for the least number of rows alone
    monkeypatch.setattr("genus.data.stream.CELLS", 5 * 1800)
    large = genus.read("sampled", stream=True)
    assert genus.fit(genus.build("trees", large.space), large, max_seconds=1, progress=False).seen == 1000
    genus.fit(genus.build("made", stream.space), stream, max_steps=5, max_seconds=1, progress=False)


def test_the_command_streams_and_says_what_does_not() -> None:
    source = parts_of(table(1000, seed=4), "small")
    done = run("fit", source, "--family", "naive-bayes", "--stream", "--out", "streamed.genus")
    assert done.code == 0, done.err
    assert "1,000 rows are read block by block" in done.err
    assert "1,000 of 1,000 rows, 1 pass over all" in done.out
    run("fit", "iris", "--family", "naive-bayes", "--stream", "--out", "no.genus").refused(
        1, "Only tables, text and sound stream"
    )


def test_gradients_go_on_to_rows_that_were_not_in_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genus.data.stream.CELLS", 2 * 300)
    x = np.arange(1500)
    source = parts_of(pa.table({"x": x + 0.125, "y": (x % 7) / 4}), "windows")
    stream = genus.read(source, stream=True)
    rest = torch.cat([x for x, _ in stream.rest(400)])
    every = torch.cat([stream.x, rest])[:, 0].sort().values
    assert torch.equal(every, torch.arange(1500) + 0.125)  # each row once, in the sample or beyond
    before = stream.x.clone()

    def trained(**more: Any) -> genus.GenerativeModel:
        model = genus.build("maf", stream.space, seed=0, hidden=[8], transforms=1)
        history = genus.fit(model, stream, max_steps=23, batch_size=50, progress=False, seed=3, checkpoint="w.ckpt", **more)
        assert history.seen == 270 + 4 * 135
        return model

    once = trained()
    assert torch.equal(stream.x, before)  # the sample is the caller's
    step = GradientTrainer.train_step

    def stopping(trainer: GradientTrainer, index: torch.Tensor) -> None:
        step(trainer, index)
        if trainer.step == 12:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(GradientTrainer, "train_step", stopping)
    with pytest.raises(TrainingInterrupted):
        trained()
    monkeypatch.setattr(GradientTrainer, "train_step", step)
    resumed = trained(resume=True)
    for a, b in zip(once.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_command_says_how_many_rows_of_a_stream_were_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genus.data.stream.CELLS", 2 * 300)
    x = np.random.default_rng(0).normal(size=(1000, 2))
    source = parts_of(pa.table({"x": x[:, 0], "y": x[:, 1]}), "seen")
    done = run("fit", source, "--family", "made", "--set", "hidden=8", "--stream", "--steps", "30", "--out", "seen.genus")
    assert done.code == 0, done.err
    assert "of 1,000 rows" in done.out


def test_files_of_several_schemas_and_folders_stream_as_they_are_read() -> None:
    rows = table(900, seed=9)
    for year, part in enumerate((rows.slice(0, 300), rows.slice(300, 300).drop(["price"]), rows.slice(600))):
        Path(f"years/year={2020 + year}").mkdir(parents=True, exist_ok=True)
        pq.write_table(part, f"years/year={2020 + year}/part.parquet")
        Path("ages").mkdir(exist_ok=True)
        pq.write_table(part, f"ages/{year}.parquet", row_group_size=70)
    for source in ("years", "ages"):
        memory, stream = genus.read(source), genus.read(source, stream=True)
        assert stream.space == memory.space
        assert torch.equal(torch.cat([x for x, _ in stream.blocks(170)]).nan_to_num(), memory.x.nan_to_num())
        assert ("year" in memory.space.names) == (source == "years")


@pytest.mark.parametrize("group", [500_000, 50_000])
@pytest.mark.parametrize("source", ["group.parquet", "groups"])
def test_groups_of_rows_are_neither_decoded_nor_held_as_a_whole(source: str, group: int) -> None:
    rows = pa.table({name: np.random.default_rng(0).normal(size=500_000) for name in "abcd"})
    Path("groups/year=2020").mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, "group.parquet" if source != "groups" else "groups/year=2020/part.parquet", row_group_size=group)
    size = rows.nbytes
    del rows
    parts = table_parts(source, Options())
    assert parts is not None
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() - before for _ in parts.blocks(10_000))
    assert most < size


def test_text_and_sound_of_many_files_are_mapped_and_those_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    Path("texts").mkdir()
    Path("clips").mkdir()
    for i in range(4):
        Path(f"texts/{i}.txt").write_text(" ".join(random.choice(["stream", "river", "down"], 2000)))
        write_wav(Path(f"clips/{i}.wav"), random.uniform(-1, 1, 9000 + i), 8000)
    memory = [genus.read(name) for name in ("texts", "clips")]
    monkeypatch.setattr("genus.data.sequences.LARGE", 1000)
    monkeypatch.setattr("genus.data.sequences.PIECE", 5000)
    for name, expected in zip(("texts", "clips"), memory, strict=True):
        mapped = genus.read(name, stream=True)
        assert mapped.space == expected.space
        assert torch.equal(mapped.x, expected.x)
        maps = Path("/proc/self/maps")  # of Linux
        found = [line.split() for line in maps.read_text().splitlines() if "deleted" in line] if maps.exists() else []
        at = mapped.x.data_ptr()
        assert not maps.exists() or any(int(a, 16) <= at < int(b, 16) for a, b in (line[0].split("-") for line in found))
        models = [genus.build("markov", expected.space) for _ in range(2)]
        for model, data in zip(models, (expected, mapped), strict=True):
            genus.fit(model, data, progress=False)
        assert models[0].log_prob(expected.x[:3]).tolist() == models[1].log_prob(expected.x[:3]).tolist()


def test_what_is_damaged_within_a_file_is_a_sentence(folder: Path) -> None:
    csv_path = Path("rows.csv.gz")
    packed = gzip.compress("\n".join(["count,place,id,price", *(f"{i % 50},there,{i},1.5" for i in range(3000))]).encode())
    csv_path.write_bytes(packed[:40] + bytes(64) + packed[104:])
    run("score", "model.genus", csv_path).refused(1, "Cannot read", "whole")
    pq.write_table(table(), "page.parquet", compression="gzip", use_dictionary=False)
    whole = Path("page.parquet").read_bytes()
    Path("page.parquet").write_bytes(whole[:60] + bytes(200) + whole[260:])  # the first page; the index at the end is whole
    run("score", "model.genus", "page.parquet").refused(1, "Cannot read page", "whole")


def test_what_comes_once_streams_as_a_file_does() -> None:
    frame = pd.DataFrame(
        {"a": np.arange(6000) % 17, "b": ["x", "y", "z"] * 2000, "v": np.random.default_rng(0).normal(size=6000).round(2)}
    )
    pieces = [frame.iloc[at : at + 700] for at in range(0, 6000, 700)]
    whole = genus.read(frame)
    table = pa.Table.from_pandas(frame, preserve_index=False)

    class Examples:  # of the interface of an IterableDataset
        def take(self, n: int) -> Any: ...

        def iter(self, batch_size: int) -> Iterator[dict[str, list[Any]]]:
            return (piece.to_dict("list") for piece in pieces)

    for source in (
        iter(pieces),
        (piece.to_dict("list") for piece in pieces),
        pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=900)),
        Examples(),
    ):
        data = genus.read(source, stream=True)
        assert data.total == 6000
        assert data.space == whole.space
        assert torch.equal(torch.cat([x for x, _ in data.blocks(512)]), whole.x)
    for odd, words in ((iter([1]), "is a int"), (iter([frame[["a"]], frame[["b"]]]), "has the columns"), (7, "Only tables")):
        with pytest.raises(DataError, match=words):
            genus.read(odd, stream=True)
    with pytest.raises(DataError, match="no rows"):
        genus.read(iter([]), stream=True)
