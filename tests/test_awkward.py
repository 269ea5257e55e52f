"""Awkward files of the kinds that people have: units below the header, numbers of Excel's days, keys with some letters."""

from pathlib import Path

import numpy as np
import pytest

import genus
from genus.codec.notes import Note
from genus.errors import DataError

ROWS = 300


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def notes(data: genus.Dataset) -> str:
    return "\n".join(map(str, data.notes))


# -- a line of units --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", ["[cm],kg,,USD", "(cm),[kg],text,$", "cm,kg m-2,-,%", '"cm","kg","",EUR'])
def test_a_line_of_units_is_skipped_and_said(tmp_path: Path, units: str) -> None:
    rows = [f"{170 + i % 9}.5,{60 + i % 13}.1,{'ab'[i % 2]},{100 + i % 40}" for i in range(60)]
    data = genus.read(written(tmp_path / "u.csv", "height,weight,group,cost", units, *rows))
    assert len(data.x) == 60
    assert data.space.names == ("height", "weight", "group", "cost")
    assert "line 2 holds units, and is skipped" in notes(data)
    again = genus.read(written(tmp_path / "v.csv", "height,weight,group,cost", units, *rows[:4]), space=data.codec)
    assert (again.x == data.x[:4]).all()


def test_a_first_row_of_words_is_no_line_of_units(tmp_path: Path) -> None:
    rows = [f"{name},{score}" for name, score in zip(["Jo", "Al", "Cy"] * 20, range(60), strict=True)]
    with pytest.raises(DataError, match="'absent' in row 0"):
        genus.read(written(tmp_path / "a.csv", "name,score", "Ed,absent", *rows))
    levels = [f"{unit},{i}.5" for i, unit in enumerate(["kg", "cm"] * 20)]
    data = genus.read(written(tmp_path / "b.csv", "unit,value", "kg,NA", *levels))
    assert len(data.x) == 41


# -- times as numbers -------------------------------------------------------------------------------------------------------


def test_days_of_spreadsheets_are_dates(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    days = rng.integers(43_000, 44_500, ROWS)
    data = genus.read(written(tmp_path / "x.csv", "date,v", *(f"{day},{i % 7}" for i, day in enumerate(days))))
    assert "'date' holds whole numbers that are dates" in notes(data)
    frame = data.frame().to_pandas()
    assert (frame["date"].to_numpy() == days).all()
    assert str(data.space.kinds[0]) == str(genus.read({"date": np.datetime64("1899-12-30") + days}).space.kinds[0])
    assert "dates" not in notes(genus.read({"price": days}))
    parts = genus.read({"date": days + rng.integers(1, 24, ROWS) / 24})
    assert "show the column as times in the spreadsheet" in notes(parts)


@pytest.mark.parametrize("width", [4, 0])
def test_midnight_may_be_2400(tmp_path: Path, width: int) -> None:
    rng = np.random.default_rng(0)
    clocks = rng.integers(0, 24, ROWS) * 100 + rng.integers(0, 12, ROWS) * 5
    clocks[5] = 2400
    data = genus.read(written(tmp_path / "c.csv", "dep,delay", *(f"{c:0{width}d},{i % 90}" for i, c in enumerate(clocks))))
    assert "'dep' has 24:00, which is taken for 00:00" in notes(data)
    assert data.frame().to_pandas()["dep"].astype(int).tolist() == [c % 2400 for c in clocks]
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, progress=False)
    drawn = model.decode(model.sample(300, seed=0)).to_pandas()["dep"].astype(int)
    assert (drawn % 100 < 60).all()
    assert drawn.between(0, 2359).all()


# -- ids --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["A{:04d}", "C{:05d}", "{:05d}b"])
def test_ids_of_which_some_have_letters_are_keys(tmp_path: Path, form: str) -> None:
    ids = [str(10_000 + 7 * i) for i in range(ROWS)]
    for i in (3, 50, 99):
        ids[i] = form.format(i)
    data = genus.read(written(tmp_path / "i.csv", "patient,v", *(f"{one},{i % 7}" for i, one in enumerate(ids))))
    assert data.codec is not None
    assert data.codec.keys == ("patient",)
    assert "3 other texts, and is read as text" in notes(data)
    drawn = data.codec.decode(data.x[:200], seed=0).to_pandas()["patient"]
    assert drawn.nunique() == 200
    assert not {*drawn} & {*ids}


def test_typing_errors_in_numbers_are_still_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    numbers = [str(n) for n in rng.integers(1, 5000, ROWS)]
    numbers[7] = "12x"
    with pytest.raises(DataError, match="'12x' in row 7"):
        genus.read(written(tmp_path / "t.csv", "people,v", *(f"{n},{i % 7}" for i, n in enumerate(numbers))))


@pytest.mark.parametrize("share", [0.4, 0.05])
def test_months_of_two_languages_are_dates(tmp_path: Path, share: float) -> None:
    rng = np.random.default_rng(0)
    german = ["Jan", "Feb", "Mär", "Apr", "Mai", "Jun", "Jul", "Aug", "Sep", "Okt", "Nov", "Dez"]
    english = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    days = np.datetime64("2019-01-01") + rng.integers(0, 1000, ROWS)
    names = [german if one else english for one in rng.random(ROWS) < share]
    parts = [(day.astype(object), few) for day, few in zip(days, names, strict=True)]
    lines = [f"{day.day} {few[day.month - 1]} {day.year},{day.day % 7}" for day, few in parts]
    data = genus.read(written(tmp_path / "m.csv", "day,v", *lines))
    assert data.x[:, 0].tolist() == genus.read({"day": days}).x[:, 0].tolist()
    assert "has times written as" in notes(data)


# -- numbers that are text, or stand for nothing ----------------------------------------------------------------------------


@pytest.mark.parametrize("top", ["90+", ">90", "90 or older"])
def test_numbers_open_to_one_side_are_levels(tmp_path: Path, top: str) -> None:
    rng = np.random.default_rng(0)
    ages = [top if i % 40 == 0 else str(age) for i, age in enumerate(rng.integers(20, 90, ROWS))]
    data = genus.read(written(tmp_path / "a.csv", "age,v", *(f"{age},{i % 7}" for i, age in enumerate(ages))))
    assert top in data.space.kinds[0].levels  # type: ignore[union-attr]
    assert "8 other texts, and is read as text" in notes(data)


def test_many_numbers_with_three_digits_behind_a_comma_are_thousands(tmp_path: Path) -> None:
    seen = np.random.default_rng(0).integers(8_000, 60_000, ROWS)
    data = genus.read(written(tmp_path / "t.csv", "seen,v", *(f'"{one:,}",{i % 7}' for i, one in enumerate(seen))))
    assert data.frame().to_pandas()["seen"].tolist() == seen.tolist()
    assert "marks of thousands" in notes(data)
    assert "takes them for decimal commas" in notes(data)
    decimal = genus.read(tmp_path / "t.csv", kinds={"seen": "real"})
    assert decimal.frame().to_pandas()["seen"].tolist() == pytest.approx((seen / 1000).tolist())


def test_a_marker_of_missing_values_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    warm = np.where(rng.random(ROWS) < 0.03, -999.9, rng.normal(20, 2, ROWS).round(1))
    path = written(tmp_path / "s.csv", "warm,v", *(f"{one},{i % 7}" for i, one in enumerate(warm)))
    told = [note for note in map(Note.of, genus.read(path).notes) if "far from its other values" in note]
    assert [note.shell.split("; ")[1] for note in told] == ["--missing -999.9 takes it for missing"]
    assert genus.read(path, missing=["-999.9"]).space.kinds[0].has_missing
    assert not any("far from" in note for note in genus.read({"v": rng.integers(0, 100, ROWS)}).notes)
