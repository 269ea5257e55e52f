"""Samples of any generator: read leniently with every repair counted, and judged by the report."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from command import run
from test_compare import table

import genus
from genus.data import Dataset
from genus.evaluation.given import Given, read_given
from genus.space import Category, Lattice, Real, Space

REAL = genus.read(
    {
        "age": [20.0 + i % 40 for i in range(200)],
        "height": [1.5 + (i * 37 % 101) / 400.0 for i in range(200)],
        "gain": [None if i % 7 == 0 else math.exp(i * 29 % 97 / 31) for i in range(200)],
        "race": ["White"] * 120 + ["Black"] * 60 + ["Other"] * 20,
        "grade": [i % 3 + 1 for i in range(200)],
    },
    kinds={"grade": "category", "age": "lattice"},
)
FRAME = {"age": [21.0, 30.0], "height": [1.6, 1.7], "gain": [None, 2.5], "race": ["White", "Black"], "grade": [1, 3]}


def repairs(given: Given) -> dict[str, dict[str, float]]:
    return {finding.test: dict(finding.figures) for finding in given.findings}


# -- reading --------------------------------------------------------------------------------------------------------------


def test_rows_that_fit_need_no_repair_whatever_the_order_of_columns() -> None:
    plain = read_given("a", FRAME, REAL)
    assert plain.findings == ()
    turned = read_given("a", {name: FRAME[name] for name in reversed(FRAME)}, REAL)
    assert torch.equal(turned.x.nan_to_num(-1), plain.x.nan_to_num(-1))
    assert torch.equal(REAL.codec.encode(FRAME).nan_to_num(-1), plain.x.nan_to_num(-1))


@pytest.mark.parametrize(
    ("column", "values", "repair", "share", "read"),
    [
        ("age", [21.3, 30.0], "rounded", 0.5, [21.0, 30.0]),
        ("age", ["21", "30"], None, 0, [21.0, 30.0]),
        ("age", ["21", "old"], "unreadable", 0.5, [21.0, 40.0]),
        ("age", [math.inf, 30.0], "beyond", 0.5, [None, 30.0]),
        ("age", [None, 30.0], "missing", 0.5, [40.0, 30.0]),
        ("gain", [-3.0, 2.5], "beyond", 0.5, [None, 2.5]),
        ("race", [" white", "BLACK "], "respelled", 1.0, [2.0, 0.0]),
        ("race", ["Martian", "Black"], "unknown", 0.5, [1.0, 0.0]),
        ("race", [None, "Black"], "missing", 0.5, [1.0, 0.0]),
        ("race", [" ?", "Black"], "missing", 0.5, [1.0, 0.0]),
        ("age", ["?", "30"], "missing", 0.5, [40.0, 30.0]),
        ("grade", ["1", "3"], None, 0, [0.0, 2.0]),
        ("grade", [1.0, 2.8], "rounded", 0.5, [0.0, 2.0]),
        ("grade", [1, 9], "unknown", 0.5, [0.0, 2.0]),
    ],
)
def test_each_repair_is_made_and_counted(
    column: str, values: list[object], repair: str | None, share: float, read: list[float | None]
) -> None:
    given = read_given("a", FRAME | {column: values}, REAL)
    assert repairs(given) == ({repair: {column: share}} if repair else {})
    x = given.x[:, REAL.space.index(column)]
    REAL.space.check(given.x)
    for value, expected in zip(x.tolist(), read, strict=True):
        assert expected is None or value == pytest.approx(expected)


def test_columns_under_other_names_too_many_or_too_few_are_named() -> None:
    frame = {"AGE": FRAME["age"], "Height": FRAME["height"], "race": FRAME["race"], "gain": FRAME["gain"], "more": [1, 2]}
    found = repairs(read_given("a", frame, REAL))
    assert found == {
        "lacking": {"grade": 1.0},
        "renamed": {"AGE as age": 1.0, "Height as height": 1.0},
        "ignored": {"more": 1.0},
    }
    with pytest.raises(genus.DataError, match="samples 'a' cannot be judged: they lack 4 of the 5 columns, 'height'"):
        read_given("a", {"age": [21.0]}, REAL)


def test_an_array_without_names_is_read_by_position_and_images_pixel_by_pixel() -> None:
    space = Space([Real(), Lattice(0, 9)], names=["a", "b"])
    real = Dataset(torch.zeros(20, 2), None, space)
    assert read_given("a", np.array([[0.5, 3.0]]), real).x.tolist() == [[0.5, 3.0]]
    pictures = Dataset(torch.zeros(20, 2, 2), None, Space(Lattice(0, 255), shape=(2, 2)))
    given = read_given("a", np.array([[[0.0, 12.4], [300.0, 255.0]]]), pictures)
    assert given.x.tolist() == [[[0.0, 12.0], [255.0, 255.0]]]
    assert repairs(given) == {"rounded": {"pixels": 0.25}, "beyond": {"pixels": 0.25}}


def test_keys_contexts_times_and_relations_are_read_as_those_of_the_real_rows() -> None:
    n = 120
    frame = {
        "id": [f"C-{i:05}" for i in range(n)],
        "day": [f"2023-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(n)],
        "net": [float(i * 7 % 50) for i in range(n)],
        "tax": [float(i * 11 % 40) for i in range(n)],
        "total": [float(i * 7 % 50 + i * 11 % 40) for i in range(n)],
        "shop": ["north", "south"] * (n // 2),
    }
    real = genus.read(frame, context="shop")
    assert real.codec.keys == ("id",)
    few = {name: values[:10] for name, values in frame.items() if name != "id"}
    given = read_given("a", few | {"shop": ["North", *few["shop"][1:]], "day": ["1999-01-01", *few["day"][1:]]}, real)
    assert given.c.tolist() == real.c[:10].tolist()
    assert repairs(given) == {"respelled": {"shop": 0.1}, "beyond": {"day": 0.1}}
    broken = read_given("a", few | {"total": [99.0, *few["total"][1:]]}, real)
    assert [finding.test for finding in broken.findings] == ["broken"]
    assert len(broken.x) == 9


# -- judging --------------------------------------------------------------------------------------------------------------


def frames(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Files of real rows, of held-out rows, and of independent columns with a few repairs to make."""
    data = table(160)
    names = list(data.space.names)
    train, test = (pa.table({n: part.x[:, i].numpy() for i, n in enumerate(names)}) for part in data.split(test=0.4))
    rng = np.random.default_rng(0)
    fake = pa.table({name: rng.permutation(train.column(name).to_numpy()) for name in reversed(names)})
    fake = fake.set_column(0, "Level", fake.column("level"))
    paths = tmp_path / "train.parquet", tmp_path / "test.parquet", tmp_path / "fake.parquet"
    for path, one in zip(paths, (train, test, fake), strict=True):
        pq.write_table(one, path)
    return paths


def test_the_command_prints_the_table_and_writes_the_page(tmp_path: Path) -> None:
    train, test, fake = frames(tmp_path)
    words = ("--real", train, "--held-out", test, "--kind", "level=category", "--out", tmp_path / "out")
    done = run("evaluate", *words, fake)
    assert done.code == 0, done.err
    assert "A classifier tells the samples of fake from real rows with AUC" in done.out
    assert "columns were found under other names: Level as level" in done.out
    assert "independent columns" in done.out
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Level as level" in page
    rows = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["family"], row["by"]) for row in rows] == [("fake", "samples")]
    assert [one["test"] for one in rows[0]["findings"]] == ["functions", "renamed"]  # the level follows from the count
    run("evaluate", *words, fake, fake).refused(2, "both called fake")
    run("evaluate", *words, tmp_path / "no.csv").refused(2, "there is no file")
    run("evaluate", *words, test.with_name("train.parquet"), "--target", "nope").refused(1, "'nope'")


def test_samples_stand_among_the_families_of_a_comparison() -> None:
    data = table()
    train, _ = data.split(test=0.2, seed=0)
    lines: list[str] = []
    given = {"noise": torch.stack([torch.randn(len(train))] * 3, dim=1)}
    report = genus.compare(data, ["independent"], seeds=1, jobs=1, progress=lines.append, samples=given)
    rows = {row.family: row for row in report.rows}
    assert list(rows) == ["independent", "noise"]
    assert rows["noise"].metrics["c2st"] > 0.8
    assert rows["noise"].log_density is None
    again = genus.Report.from_json(json.loads(json.dumps(report.to_json())))
    assert [row.findings for row in again.rows] == [row.findings for row in report.rows]
    assert "noise" in report.to_frame().column("family").to_pylist()
    with pytest.raises(genus.DataError, match="'independent' have the name of a family"):
        genus.compare(data, ["independent"], seeds=1, jobs=1, progress=False, samples={"independent": data.x})


def test_levels_that_held_out_rows_alone_have_are_real_and_unknown_ones_are_named() -> None:
    train = {"town": ["Reno", "Ely"] * 30, "age": [*range(20, 80)]}
    held = {"town": ["Reno", "Ely", "Elko"] * 10, "age": [*range(30, 60)]}
    towns = ["Reno", "Elko"] * 15 + ["Mars"] * 6 + ["Moon"] * 2 + ["Sun", "Io"]
    report = genus.evaluate(train, held, {"some": {"town": towns, "age": [*range(30, 70)]}})
    (unknown,) = [one for one in report.rows[0].findings if one.test == "unknown"]
    assert unknown.figures == {"town": 0.25}
    assert unknown.sentence.endswith("there is: town 'Mars', 'Moon', 'Sun' and 1 more (25 % of rows)")


def test_held_out_rows_in_an_order_are_no_easier_told_from_one_another() -> None:
    train, held = table(400), table(400, seed=1)
    held = held.rows(held.x[:, 0].argsort())  # the smaller half before the larger one
    report = genus.evaluate(train, held, {"same": table(400, seed=2).x})
    assert report.references["real against real"]["c2st"] == pytest.approx(0.5, abs=0.1)


def test_what_cannot_be_judged_is_one_sentence() -> None:
    train, held = table().split(test=0.5)
    with pytest.raises(genus.GenusError, match="No samples are given"):
        genus.evaluate(train, held, {})
    with pytest.raises(genus.DataError, match="'few' have 3 rows that can be judged; expected 10"):
        genus.evaluate(train, held, {"few": train.x[:3]})
    with pytest.raises(genus.DataError, match="There are 5 held-out rows"):
        genus.evaluate(train, held.rows(slice(0, 5)), {"few": train.x})
    with pytest.raises(genus.DataError, match="different spaces"):
        genus.evaluate(train, genus.read("iris"), {"few": train.x})
    with pytest.raises(genus.DataError, match="lack the column 'b'"):
        genus.evaluate({"a": [1.5] * 30, "b": [1] * 30}, {"a": [1.5] * 30}, {"few": train.x})


def test_text_is_judged_by_what_stands_in_the_training_set() -> None:
    words = ["".join("abc"[(i * k) % 3] for k in range(1, 5)) for i in range(60)]
    report = genus.evaluate(words[:30], words[30:], {"same": words[:20]}, sequence=True)
    assert report.rows[0].metrics["in_training"] == 1.0


def test_a_category_of_a_level_that_is_nothing_but_signs_keeps_its_name() -> None:
    real = genus.read({"?": ["a", "b"] * 10, "!": [1.5, 2.5] * 10})
    assert read_given("a", {"?": ["a"], "!": [1.5]}, real).findings == ()
    assert isinstance(real.space.kinds[0], Category)
