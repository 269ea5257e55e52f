"""The truth of values: what was written is what is held, or a note says what is not."""

from __future__ import annotations

import datetime
import json
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import genus
from genus import DataError, read

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.reliability.columns import Column
from benchmarks.reliability.truth import Truth, differences


def lines(path: Path, name: str, texts: list[str]) -> genus.Dataset:
    path.write_text("\n".join([f"{name},other", *(f'"{text}",{i % 5}.5' for i, text in enumerate(texts))]))
    return read(path)


def said(data: genus.Dataset) -> str:
    return " | ".join(map(str, data.notes))


@pytest.mark.parametrize("count", [24, pytest.param(840, marks=pytest.mark.nightly)])  # of files of six columns
def test_what_is_written_is_what_is_held(count: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cases = Truth(4)
    refused = sum(cases.work(number, tmp_path)() for number in range(count))
    assert "SILENT" not in capfd.readouterr().out
    assert refused <= count / 20


@pytest.mark.parametrize(
    ("texts", "values"),
    [(["1.5", "2"], [Decimal("1.5"), Decimal(3)]), (["a", "c"], ["a", "c"]), (["x", "x "], ["x", "x "])],
    ids=["a number", "a level", "two levels as one"],
)
def test_the_campaign_sees_a_value_that_is_another_one(texts: list[str], values: list[object], tmp_path: Path) -> None:
    held = {"1.5": [1.5, 2.0], "a": ["a", "b"], "x": ["x", "x"]}[texts[0]]
    data = read(pa.table({"c": held * 30, "n": [i % 7 for i in range(60)]}))
    assert len(differences(data, {"c": Column("sort", texts * 30, values * 30)})) == 1  # type: ignore[arg-type]


def test_the_campaign_sees_days_that_became_months(tmp_path: Path) -> None:
    days = [datetime.date(2024, 1 + i % 9, 1 + i % 11) for i in range(60)]
    texts = [f"{day:%d/%m/%Y}" for day in days]
    table = pa.table({"day": texts, "n": [i % 7 for i in range(60)]})
    assert differences(read(table, kinds={"day": "%m/%d/%Y"}), {"day": Column("dates", texts, days)})
    assert not differences(read(table, kinds={"day": "%d/%m/%Y"}), {"day": Column("dates", texts, days)})


# -- numbers --------------------------------------------------------------------------------------------------------------


def test_whole_numbers_with_marks_of_thousands_keep_all_their_digits(tmp_path: Path) -> None:
    numbers = [2**53 + 1 + 2 * (i % 5) for i in range(60)]
    data = lines(tmp_path / "a.csv", "n", [f"{n:,}" for n in numbers])
    assert data.frame()["n"].to_pylist() == numbers


def test_numbers_that_single_precision_rounds_are_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    money = rng.uniform(1e6, 9e6, 200).round(2)
    data = read(pa.table({"money": money, "short": rng.normal(size=200).round(3)}))
    assert "column 'money' has numbers of more digits than the seven of single precision" in said(data)
    assert "seven" not in said(read(pa.table({"short": rng.normal(size=200).round(3), "n": np.arange(200.0)})))
    assert "columns 'c0', 'c1', 'c2', 'c3', 'c4', 'c5' and 3 more have numbers" in said(
        read(pa.table({f"c{i}": rng.normal(size=200) for i in range(9)}))
    )


def test_a_number_beyond_single_precision_among_small_ones_is_refused() -> None:
    data = read({"v": np.random.default_rng(0).normal(size=60), "n": [i % 7 for i in range(60)]})
    with pytest.raises(DataError, match=r"column 'v' is 1e\+60 in row 1, beyond the single precision"):
        read({"v": [0.5, 1e60], "n": [1, 2]}, space=data.codec)
    assert data.codec is not None
    assert read({"v": [0.5, 1e60], "n": [1, 2]}, space=data.codec, beyond=True).x[1, 0] == np.inf


def test_whole_numbers_as_far_apart_as_a_double_can_tell_are_themselves() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(-(2**52), 2**52, 80)
    assert read({"v": values, "n": np.arange(80) % 7}).frame()["v"].tolist() == values.tolist()
    wider = rng.integers(-(2**53) + 1, 2**53, 80)
    assert "column 'v' holds whole numbers beyond 2**53" in said(read({"v": wider, "n": np.arange(80) % 7}))


def test_decimals_that_are_whole_numbers_beyond_doubles_are_left_out(tmp_path: Path) -> None:
    values = pa.array([Decimal(10**20 + i) for i in range(60)], pa.decimal128(38, 0))
    pyarrow.parquet.write_table(pa.table({"v": values, "n": [i % 7 for i in range(60)]}), tmp_path / "a.parquet")
    with pytest.warns(UserWarning, match="Left out: column 'v' holds decimals that are whole numbers beyond"):
        data = read(tmp_path / "a.parquet")
    assert data.space.names == ("n",)


def test_lines_of_json_keep_whole_numbers_beyond_64_bits_and_separators_of_unicode(tmp_path: Path) -> None:
    rows = [{"v": 17_068_576_745_510_043_215 + i % 9, "t": f"a\u2028{i % 3}", "n": i} for i in range(60)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    frame = read(tmp_path / "a.jsonl").frame()
    assert frame["v"].to_pylist() == [str(row["v"]) for row in rows]
    assert frame["t"].to_pylist() == [row["t"] for row in rows]


def test_versions_of_which_two_would_be_one_number_stay_text(tmp_path: Path) -> None:
    texts = [f"{1 + i % 3}.{1 + i % 23}" for i in range(200)]
    data = lines(tmp_path / "a.csv", "v", texts)
    assert data.frame()["v"].to_pylist() == texts
    assert "column 'v' has 1.1 beside 1.10, say" in said(data)
    tenths = lines(tmp_path / "b.csv", "v", [f"{i % 90 / 10:.1f}" for i in range(200)])
    assert tenths.frame()["v"].to_pylist()[:3] == [0.0, 0.1, 0.2]


def test_amounts_with_decimal_commas_say_so(tmp_path: Path) -> None:
    data = lines(tmp_path / "a.csv", "v", [f"{i},{i % 90 + 10} €" for i in range(60)])
    assert data.frame()["v"].to_pylist()[:2] == [0.1, 1.11]
    assert "column 'v' has decimal commas, and samples of it have points" in said(data)


def test_two_levels_that_differ_in_blanks_are_named(tmp_path: Path) -> None:
    data = lines(tmp_path / "a.csv", "v", ["a", " a", "b"] * 20)
    assert "column 'v' holds 'a' and ' a', and texts that differ in blanks around them are one level" in said(data)
    assert "blanks" not in said(lines(tmp_path / "b.csv", "v", ["a", " b", "c"] * 20))


def test_columns_far_from_zero_are_no_sums() -> None:
    far = np.array([4e15 + i % 3 for i in range(60)])
    data = read({"far": far, "further": far[::-1].copy()})
    assert data.frame()["far"].tolist() == far.tolist()
