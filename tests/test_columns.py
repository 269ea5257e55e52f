"""Columns as people have them: each of a kind that is known to go wrong, and what is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import genus
from genus import Dataset, Lattice, NaiveBayes, Real, read
from genus.codec import Absent
from genus.data.amounts import read_amounts

ROWS = 300


def fitted(data: Dataset) -> NaiveBayes:
    """A naive Bayes of some data."""
    model = NaiveBayes(data.space, data.context)
    genus.fit(model, data, progress=False)
    return model


def amounts() -> np.ndarray:
    """Prices of many different sizes, with two decimals."""
    return np.exp(np.random.default_rng(5).normal(6, 1.5, ROWS)).round(2)


WRITTEN: dict[str, Callable[[float], str]] = {
    "a code of a currency": lambda v: f"{v:.2f} USD",
    "a sign before": lambda v: f"£{v:,.2f}",
    "decimal comma and a sign": lambda v: f"{v:.2f} €".replace(".", ","),
    "points between thousands": lambda v: f"{v:,.2f} €".translate(str.maketrans(",.", ".,")),
    "apostrophes": lambda v: f"{v:,.2f}".replace(",", "'"),
    "blanks between thousands": lambda v: f"{v:,.2f}".replace(",", " "),
    "no-break spaces": lambda v: f"{v:,.2f}".replace(",", "\u202f").replace(".", ","),
    "a unit": lambda v: f"{v:.2f} kg",
    "a unit of two": lambda v: f"{v:.2f}km/h",
    "degrees": lambda v: f"{v:.2f}°C",
}


@pytest.mark.parametrize("way", WRITTEN)
def test_amounts_are_numbers_however_they_are_written(way: str, tmp_path: Path) -> None:
    values = amounts()
    path = tmp_path / "t.tsv"
    path.write_text("v\tw\n" + "".join(f"{WRITTEN[way](v)}\t{i % 5}\n" for i, v in enumerate(values)), encoding="utf-8")
    data = read(path)
    assert not isinstance(data.space.kinds[0], genus.Category)
    assert data.frame().column("v").to_pylist() == values.tolist()
    assert any("samples of it" in note for note in data.notes), data.notes
    few = tmp_path / "few.tsv"
    few.write_text(f"v\tw\n{WRITTEN[way](1234.5)}\t2\n", encoding="utf-8")
    assert read(few, space=data.codec).frame().column("v").to_pylist() == [1234.5]


def test_parentheses_are_a_minus_and_codes_stay_text() -> None:
    found = read_amounts(["(1,200.50)", "75.25"])
    assert found is not None
    assert found.numbers == [-1200.5, 75.25]
    telephones, places, sizes = ["555 123 456", "555 123 457"], [f"{i:03d}B" for i in range(40)], ["10 kg", "20 kg"]
    assert all(read_amounts(texts) is None for texts in (telephones, places, sizes, ["(1)", "(2)"], ["3 kg", "4 g"]))


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (
            ["1.2K", "3M", "950", "1.5B", "7k", "8M", "9.25M", "10", "2K", "4M"],
            [1200, 3e6, 950, 1.5e9, 7000, 8e6, 9.25e6, 10, 2000, 4e6],
        ),
        (["−5.5", "3.25"], [-5.5, 3.25]),
        (["12.50-", "7.25"], [-12.5, 7.25]),
        (["Rs. 10.50", "Rs. 7"], [10.5, 7]),
        (["R$ 1.200,50", "R$ 75"], [1200.5, 75]),
    ],
)
def test_letters_that_multiply_and_other_minus_signs(texts: list[str], numbers: list[float]) -> None:
    found = read_amounts(texts)
    assert found is not None
    assert found.numbers == numbers
    assert read_amounts(["12-", "7-"]) is None  # codes


def test_amounts_are_drawn_with_the_decimals_they_have(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    amounts = [f"{x:.2f}".replace(".", ",") + " €" for x in rng.gamma(2, 40, 80)]
    (tmp_path / "t.csv").write_text("a;b\n" + "".join(f"{text};{i % 3}\n" for i, text in enumerate(amounts)))
    assert read(tmp_path / "t.csv").codec.form.decimals[0] == "+#.2f"  # type: ignore[union-attr]


@pytest.mark.parametrize("delimiter", ["\t", "|", ";", "  "])
def test_a_text_file_that_holds_a_table_is_one(delimiter: str, tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("".join(f"{i / 4}{delimiter}{i % 3}\n" for i in range(60)))
    data = read(path)
    assert data.space.names == ("x0", "x1")
    assert "the file looks like a table and is read as one; documents='lines' reads its lines as text" in data.notes
    assert len(read(path, space=data.codec)) == 60
    assert read(path, documents="lines").space.sequence
    path.write_text("".join(f"line {i}, of some{delimiter}text\n" for i in range(60)))
    assert read(path).space.sequence


def test_numbers_that_would_lose_what_they_say_stay_text(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "t.csv"
    version, code = rng.choice(["3.8", "3.9", "3.10", "3.11"], 60), [f"0x{i:02X}" for i in rng.integers(0, 30, 60)]
    single = [repr(float(np.float32(x))) for x in rng.integers(10, 60, 60) / 10]
    price = rng.choice(["3.80", "3.95", "3.10"], 60)
    path.write_text("v,h,s,p\n" + "".join(",".join(row) + "\n" for row in zip(version, code, single, price, strict=True)))
    data = read(path, relations=False)
    kinds = dict(zip(data.space.names or (), data.space.kinds, strict=True))
    assert kinds["v"].levels == ("3.8", "3.9", "3.10", "3.11")  # type: ignore[attr-defined]
    assert all(str(level).startswith("0x") for level in kinds["h"].levels)  # type: ignore[attr-defined]
    assert kinds["s"].step == pytest.approx(0.1)  # type: ignore[attr-defined]
    assert isinstance(kinds["p"], Lattice | Real)
    assert data.decode(data.x).column("v").to_pylist() == list(version)
    assert "column 'v' has 10 after 9 behind its points" in str(data)
    assert isinstance(read(path, kinds={"v": "real"}, relations=False).space.kinds[0], Real)


def test_commas_mark_thousands_where_whole_numbers_stand_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f'"{37 * i:,}",{i % 3}\n' for i in range(60)))
    assert read(path).decode(read(path).x).column("a").to_pylist() == [37 * i for i in range(60)]


def test_shares_that_reach_both_ends_stay_between_them() -> None:
    share = np.random.default_rng(0).beta(0.4, 0.4, ROWS)
    data = read({"share": share.round(3), "percent": (100 * share).round(1)}, relations=False)
    assert [(kind.low, kind.high) for kind in data.space.kinds] == [(0, 1), (0, 100)]  # type: ignore[union-attr]


def test_empty_lines_and_comments_before_a_table_are_passed_over(tmp_path: Path) -> None:
    path, rows = tmp_path / "t.csv", "".join(f"{i / 2},{i % 3}\n" for i in range(40))
    path.write_text("\n\n# a logger\n# units: mm, s\n\nt,v\n" + rows)
    data = read(path)
    assert data.space.names == ("t", "v")
    assert len(data) == 40
    assert "2 lines before the table begin with #, and are skipped" in data.notes
    path.write_text("#t,v\n" + rows)
    assert read(path).space.names == ("#t", "v")


BODY = "".join(f"{i % 9},{i % 4}\n" for i in range(60))


@pytest.mark.parametrize(
    ("text", "names", "note"),
    [
        (f"Sales of 2020\n\nx,y\n{BODY}", ("x", "y"), "1 line before the table is skipped: Sales of 2020"),
        ("Sales,,\n,,\nx,y,z\n" + BODY.replace("\n", ",a\n"), ("x", "y", "z"), "2 lines before the table are skipped: Sales,,"),
        (f"% a comment\n% one more\nx,y\n{BODY}", ("x", "y"), "2 lines before the table begin with %, and are skipped"),
        (f"x,y\n{BODY}\nSource: an office\n", ("x", "y"), "1 line after the table is skipped: Source: an office"),
        ("sep=;\nx;y\n" + BODY.replace(",", ";"), ("x", "y"), ""),
        ("x,y\n" + BODY.replace("\n", ",\n"), ("x", "y", "x2"), "rows end with the delimiter"),
        ("x,y\n" + "".join(f"r{i % 7},{i % 3},{i % 4}\n" for i in range(60)), ("x0", "x", "y"), "one name less"),
        ("x\n" + "".join(f"{i},{i % 10}\n" for i in range(60)), ("x",), "decimal commas"),
        (f"x,y\n{BODY}Total,90\n", ("x", "y"), "the last row looks like a total, and is kept as a row: Total,90"),
    ],
)
def test_what_stands_around_a_table(text: str, names: tuple[str, ...], note: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    kinds = {"x": "category"} if "Total" in text else {}
    data = read(tmp_path / "t.csv", kinds=kinds, relations=False)
    assert data.codec.column_names == names
    assert len(data.x) == 60 + ("Total" in text)
    assert note in "; ".join(data.notes)


def garages() -> pa.Table:
    """Houses whose garage has an area and a year exactly where there is one."""
    rng = np.random.default_rng(1)
    garage = rng.choice(["none", "attached", "detached"], ROWS)
    lacks = garage == "none"
    columns: dict[str, Any] = {"garage": garage, "price": rng.normal(300, 50, ROWS).round()}
    columns |= {name: pa.array(rng.normal(m, 40, ROWS).round(), mask=lacks) for name, m in (("area", 400), ("wall", 200))}
    return pa.table(columns)


def test_columns_that_another_says_are_missing_are_drawn_so() -> None:
    table = garages()
    data = read(table)
    sentence = "area and wall are missing exactly where garage is none"
    assert [relation.describe() for relation in data.codec.rewrites] == [sentence]  # type: ignore[union-attr]
    model = fitted(data)
    drawn = model.decode(model.sample(400, seed=0))
    lacks = np.array(drawn.column("garage").to_pylist()) == "none"
    for name in ("area", "wall"):
        assert np.array_equal(np.asarray(drawn.column(name).is_null(nan_is_null=True)), lacks)
    declared = read(table, relations=False, constraints=["area, wall missing where garage = none"])
    assert declared.codec.rewrites == (Absent(("area", "wall"), "garage", ("none",)),)  # type: ignore[union-attr]
    odd = table.slice(0, 1).set_column(0, "garage", pa.array(["none" if table["area"][0].as_py() is not None else "attached"]))
    assert not read(odd, space=data.codec, beyond=True).x.isfinite().nan_to_num().all()
    found = genus.predict(model, {"garage": ["attached", "detached"], "price": [300.0, 280.0], "wall": [200.0, 190.0]}, "area")
    assert np.isfinite(np.asarray(found.value, dtype=float)).all()
    with pytest.raises(genus.DataError, match="'roof'"):
        read(table, constraints=["area missing where roof = none"])
    shuffled = table.set_column(0, "garage", table["garage"].take(np.random.default_rng(2).permutation(ROWS)))
    assert "exactly where" not in str(read(shuffled))


def test_a_gap_that_is_the_same_everywhere_is_a_relation() -> None:
    rng = np.random.default_rng(0)
    begin = (np.datetime64("2020-01-01") + rng.integers(0, 300, ROWS)).astype("datetime64[D]")
    blank = rng.random(ROWS) < 0.5
    data = read(pa.table({"begin": begin, "paid": pa.array(begin + 3, mask=blank), "v": rng.normal(size=ROWS)}))
    assert any("paid" in relation.describe() for relation in data.codec.rewrites)  # type: ignore[union-attr]


def test_charts_suit_the_classes_of_a_context() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 3000)
    frame = {"x": rng.normal(label * 6.0, 1), "y": [f"c{k}" for k in label]}
    alone, given = read({"x": frame["x"]}), read(frame, context="y")
    assert alone.space.kinds[0].chart.knots
    assert not given.space.kinds[0].chart.knots
    model = fitted(given)
    truth = -0.5 * ((given.x[:, 0] - 6 * given.c[:, 0]) ** 2 + np.log(2 * np.pi))  # type: ignore[index]
    assert float((truth - model.log_prob(given.x, given.c)).mean()) < 0.02
    affine = read(frame, context="y", chart="affine")
    assert affine.space.kinds[0].chart.is_affine
    # Where every class is skewed alike, the chart stays.
    skewed = read({"x": np.exp(rng.normal(label / 3, 1)), "y": frame["y"]}, context="y")
    assert isinstance(skewed.space.kinds[0], Real)
    assert skewed.space.kinds[0].chart.form == "log"


def test_joint_log_densities_of_classes_add_up_to_the_density() -> None:
    data = read("iris", context="species")
    model = fitted(data)
    joint = model.class_log_joint(data.x)
    each = torch.stack([model.log_prob(data.x, torch.full((1, 1), float(k))) for k in range(3)], 1) + np.log(1 / 3)
    torch.testing.assert_close(joint, each, atol=1e-2, rtol=1e-3)  # the prior is that of the rows that trained
    torch.testing.assert_close(joint.log_softmax(1), model.class_log_probs(data.x))
    assert isinstance(data.space.kinds[0], Lattice)
