"""Tables of many rows, filled, predicted and scored block by block: the same bytes whatever --jobs, rows in their order."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import run

import genus
from genus.questions import prediction


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    """A model, and a file of more rows than a block of the tests holds, whose first block has no blank of an age."""
    where = tmp_path_factory.mktemp("blocks")
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 1000)
    age = (20.0 + 10 * kind + rng.integers(0, 5, 1000)).tolist()
    age = [None if i > 400 and i % 7 == 0 else value for i, value in enumerate(age)]
    table = pa.table(
        {"id": np.arange(1000), "age": age, "plan": [None if i % 9 == 0 else "abc"[k] for i, k in enumerate(kind)]}
    )
    pq.write_table(table, where / "rows.parquet")
    data = genus.read(table, kinds={"id": "omit"}, relations=False)
    model = genus.build("mixture", data.space, components=3)
    genus.fit(model, data, seed=0, progress=False)
    genus.save(model, where / "m.genus")
    return where


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ("impute", "score"):
        monkeypatch.setitem(sys.modules[f"genus.cli.{command}"].__dict__, "BLOCK", 300)
    monkeypatch.setattr("genus.questions.blocks.PREDICTED", 300)


def test_a_table_is_filled_block_by_block(folder: Path) -> None:
    command = ("impute", folder / "m.genus", folder / "rows.parquet", "--seed", 4)
    for jobs in (None, 1, 2):
        done = run(*command, "--out", folder / f"{jobs}.parquet", *(() if jobs is None else ("--jobs", jobs)))
        assert done.code == 0, done.err
        assert "197 blanks in" in done.err
    whole = pq.read_table(folder / "None.parquet")
    assert whole.equals(pq.read_table(folder / "1.parquet"))
    assert whole.equals(pq.read_table(folder / "2.parquet"))
    assert whole.column("id").to_pylist() == list(range(1000))
    assert not any(column.null_count for column in whole.columns)
    before = pq.read_table(folder / "rows.parquet")
    for name in ("age", "plan"):
        pairs = zip(before.column(name).to_pylist(), whole.column(name).to_pylist(), strict=True)
        assert all(old is None or old == new for old, new in pairs)


def test_the_draws_of_a_block_stand_together(folder: Path) -> None:
    out = folder / "many.parquet"
    assert run("impute", folder / "m.genus", folder / "rows.parquet", "--seed", 4, "--times", 2, "--out", out).code == 0
    draws = pq.read_table(out).column("draw").to_pylist()
    assert draws == [draw for rows in (300, 300, 300, 100) for draw in (0, 1) for _ in range(rows)]


def test_a_column_is_predicted_block_by_block(folder: Path) -> None:
    command = ("predict", folder / "m.genus", folder / "rows.parquet", "--column", "plan", "--probabilities", "--alone")
    for jobs in (1, 2):
        done = run(*command, "--jobs", jobs, "--out", folder / f"p{jobs}.csv", "--held-out", folder / "rows.parquet")
        assert done.code == 0, done.err
        assert "1,000 predictions of 'plan' (exact)" in done.err
        assert "Calibration: the expected" in done.err
    assert (folder / "p1.csv").read_bytes() == (folder / "p2.csv").read_bytes()
    known = pq.read_table(folder / "rows.parquet").to_pandas()
    shown = np.genfromtxt(folder / "p1.csv", delimiter=",", skip_header=1, usecols=0, dtype=str)
    fine = known["age"].notna() & known["plan"].notna()
    assert (shown[fine] == known["plan"][fine]).mean() > 0.95


def test_the_columns_of_the_data_stand_before_the_predictions_as_they_were_written(folder: Path, tmp_path: Path) -> None:
    known = pq.read_table(folder / "rows.parquet")
    columns = known.to_pydict()
    cells = {
        name: ["" if v is None else f" {v}" if k % 7 == 0 else str(v) for k, v in enumerate(values)]
        for name, values in columns.items()
    }
    lines = [",".join(row) for row in zip(*cells.values(), strict=True)]
    path, command = tmp_path / "rows.csv", ("predict", folder / "m.genus")
    path.write_text("\n".join([",".join(cells), *lines]) + "\n")
    for jobs in (1, 2):
        done = run(*command, path, "--column", "plan", "--jobs", jobs)
        assert done.code == 0, done.err
        head, *rows = done.out.splitlines()
        assert head == ",".join([*cells, "plan predicted"])
        assert [row.rsplit(",", 1)[0] for row in rows] == lines
    alone = run(*command, path, "--column", "plan", "--alone").out.splitlines()
    assert alone == [row.rsplit(",", 1)[1] for row in (head, *rows)]
    (tmp_path / "again.csv").write_text(done.out)  # its own output: the older predictions make way
    assert run(*command, tmp_path / "again.csv", "--column", "plan").out == done.out
    for name in ("whole.parquet", "whole.json"):
        done = run(*command, folder / "rows.parquet", "--column", "age", "--out", tmp_path / name)
        assert done.code == 0, done.err
    whole = pq.read_table(tmp_path / "whole.parquet")
    assert whole.column_names == [*columns, "age predicted", "age low", "age high"]
    assert whole.select([*columns]).to_pydict() == columns
    assert [row["id"] for row in json.loads((tmp_path / "whole.json").read_text())] == columns["id"]
    numbers = pa.table({"id": [1.5, float("nan")], "age": [20.0, 31.0], "tags": [["a"], []]})
    pq.write_table(numbers, tmp_path / "some.parquet")  # what has no number in it, and lists
    told = json.loads(run(*command, tmp_path / "some.parquet", "--column", "plan", "--json").out)
    assert [row["id"] for row in told] == [1.5, None]
    assert run(*command, tmp_path / "some.parquet", "--column", "plan", "--out", tmp_path / "some.npz").code == 0
    assert np.load(tmp_path / "some.npz")["tags"].tolist() == ['["a"]', "[]"]
    frame = genus.predict(genus.load(folder / "m.genus"), known.slice(0, 3), "plan")
    assert frame.table(beside=True).column_names == [*columns, "plan predicted"]
    assert frame.table().column_names == ["plan predicted"]


def test_the_columns_of_the_data_stand_before_the_scores_as_they_were_written(folder: Path, tmp_path: Path) -> None:
    path, command = tmp_path / "rows.csv", ("score", folder / "m.genus")
    cells = [
        (f"{i:04}", "" if i % 11 == 0 else f"{20 + i % 3 * 10}.0", "abc"[i % 3], '"a, ""b"""' if i % 2 else "7e1")
        for i in range(1000)
    ]
    cells[650] = ("0650", "20.0", "unseen", "")
    lines = [",".join(row) for row in cells]
    path.write_text("\n".join(["id,age,plan,reason", *lines]) + "\n")
    outs = {}
    for jobs in (None, 1, 2):
        done = run(*command, path, *(() if jobs is None else ("--jobs", jobs)))
        assert done.code == 0, done.err
        outs[jobs] = done.out
        head, *rows = done.out.splitlines()
        assert head == "id,age,plan,reason,log_density_exact,reason of genus"
        assert [row.rsplit(",", 2)[0] for row in rows] == lines
        assert [row.rsplit(",", 2)[1] == "-inf" for row in rows] == [i == 650 for i in range(1000)]
    assert outs[1] == outs[2]
    (tmp_path / "again.csv").write_text(outs[1])  # its own output: the older scores make way, the person's column stays
    assert run(*command, tmp_path / "again.csv", "--jobs", 1).out == outs[1]
    alone = run(*command, path, "--alone", "--jobs", 1).out.splitlines()
    assert alone[0] == "row,log_density_exact,reason"
    assert alone[1:] == [f"{i},{row.split(',')[-2]},{row.split(',')[-1]}" for i, row in enumerate(outs[1].splitlines()[1:])]
    assert run(*command, folder / "rows.parquet", "--explain", "--out", tmp_path / "whole.parquet").code == 0
    whole, known = pq.read_table(tmp_path / "whole.parquet"), pq.read_table(folder / "rows.parquet")
    assert whole.column_names[:5] == ["id", "age", "plan", "log_density_exact", "reason"]
    assert whole.select(known.column_names).to_pydict() == known.to_pydict()


def test_known_numbers_are_written_with_the_zeros_that_they_came_with(tmp_path: Path) -> None:
    rows = [f"{i % 7}.{i % 2 * 5},{i % 5}.{i % 4 * 25:02}" for i in range(60)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["t,w", *rows, ",3.00", "4.0,"]) + "\n")
    assert run("fit", path, "--family", "naive-bayes", "--out", tmp_path / "m.genus").code == 0
    lines = run("impute", tmp_path / "m.genus", path).out.splitlines()
    assert lines[1:61] == rows
    assert lines[61].endswith(",3.00")
    assert lines[62].startswith("4.0,")
    path.write_text("t,w\n1.125,\n2.0,1.50\n")  # more digits than the training data had are kept
    assert run("impute", tmp_path / "m.genus", path).out.splitlines()[1].startswith("1.125,")


@pytest.mark.parametrize("column", ["age", "plan", "size"])
def test_the_distributions_of_few_rows_are_held_at_once(column: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 500)
    size, plan = (kind + rng.normal(size=500)).tolist(), ["abc"[k] for k in kind]
    rows: dict[str, Any] = {"size": size, "age": (20 + 10 * kind).tolist(), "plan": plan}
    data = genus.read(rows, relations=False)
    model = genus.build("mixture", data.space, components=3)
    genus.fit(model, data, seed=0, progress=False)
    whole, asked, given = genus.predict(model, rows, column), [], prediction.column_given

    def counted(model: Any, x: Any, *more: Any, **options: Any) -> Any:
        asked.append(len(x))
        return given(model, x, *more, **options)

    monkeypatch.setattr(prediction, "column_given", counted)
    monkeypatch.setattr(prediction, "AT_ONCE", 70)
    parts = genus.predict(model, rows, column)
    assert (max(asked), sum(asked)) == (70, 500)
    assert parts.probabilities.keys() == whole.probabilities.keys()
    assert all(np.allclose(parts.probabilities[v], share) for v, share in whole.probabilities.items())
    if whole.low is None:
        assert (parts.value == whole.value).all()
    else:
        assert np.allclose(np.stack([parts.value, parts.low, parts.high]), np.stack([whole.value, whole.low, whole.high]))
    blank = rows | {"age": [None] * 500, "plan": [None] * 500}  # drawn, in each part by random numbers of its own
    drawn = genus.predict(model, blank, column)
    assert len(drawn.value) == 500
    assert drawn.table().equals(genus.predict(model, blank, column).table())


def test_a_stream_is_asked_about_in_python_block_by_block(folder: Path) -> None:
    model, path = genus.load(folder / "m.genus"), folder / "rows.parquet"
    data = genus.read(path, stream=True, kinds={"id": "omit"}, relations=False)
    run("impute", folder / "m.genus", path, "--seed", 4, "--out", folder / "filled.parquet")
    for source in (data, path):
        blocks = list(genus.impute_blocks(model, source, seed=4, rows=300))
        assert [block.tables[0].num_rows for block in blocks] == [300, 300, 300, 100]
        filled = pa.concat_tables([block.tables[0] for block in blocks])
        assert filled.to_pylist() == pq.read_table(folder / "filled.parquet").to_pylist()
    run("predict", folder / "m.genus", path, "--column", "plan", "--out", folder / "plans.parquet")
    parts = list(genus.predict_blocks(model, data, "plan", rows=300))
    told = pq.read_table(folder / "plans.parquet").column("plan predicted").to_pylist()
    assert [value for part in parts for value in part.value] == told
    with pytest.raises(genus.DataError, match="impute_blocks"):
        genus.impute(model, data)


def test_a_misfit_is_found_in_whichever_block_of_a_stream_it_is(folder: Path) -> None:
    rows = pq.read_table(folder / "rows.parquet").drop_columns(["age", "plan"])
    pq.write_table(rows, folder / "other.parquet")
    blocks = genus.predict_blocks(genus.load(folder / "m.genus"), folder / "other.parquet", "plan", rows=300)
    with pytest.raises(genus.DataError, match="In the rows from 0 on"):
        next(blocks)
