"""Columns as people have them, which were read, drawn or noted wrongly once."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

import genus
from genus import Lattice, Mixture, NaiveBayes, Space
from genus.codec.notes import Note


@pytest.mark.parametrize("family", [NaiveBayes, Mixture])
def test_what_smooths_a_short_lattice_leaves_the_share_of_blanks_beside_it(family: type) -> None:
    rng = np.random.default_rng(0)
    blank = rng.random(400) < 0.5
    year = np.where(blank, np.nan, rng.integers(1980, 2020, 400))
    x = torch.tensor(np.stack([year, rng.normal(size=400)], axis=1))
    model = family(Space([Lattice(1980, 2019, atoms=(float("nan"),)), genus.Real()]))
    genus.fit(model, x, seed=0, progress=False)
    drawn = model.sample(20_000, seed=0)[:, 0].isnan().double().mean()
    assert abs(float(drawn) - blank.mean()) < 0.02


def test_a_factor_of_many_digits_is_found_between_units() -> None:
    km = np.random.default_rng(0).gamma(3, 40, 500).round(1)
    data = genus.read({"km": km.tolist(), "mi": (km * 0.621371).round(1).tolist()})
    assert [rewrite.describe() for rewrite in data.codec.rewrites] == ["mi = 0.62137 * km"]


def test_eighths_are_a_lattice_of_eighths() -> None:
    inches = np.random.default_rng(0).integers(0, 400, 600) / 8
    (kind,) = genus.read({"inches": inches.tolist()}).space.kinds
    assert isinstance(kind, Lattice)
    assert kind.step == 0.125


def test_numbers_with_three_decimals_keep_them() -> None:
    (kind,) = genus.read({"x": (np.random.default_rng(0).integers(0, 400, 600) / 1000).tolist()}).space.kinds
    assert isinstance(kind, Lattice)
    assert kind.step == 0.001


def _notes_on_marker(values: list[object]) -> list[dict[str, object]]:
    return [dict(note.option) for note in map(Note.of, genus.read({"v": values}).notes) if "missing" in note.option]


def test_the_only_number_below_zero_is_asked_about_where_it_is_a_marker() -> None:
    rows = np.random.default_rng(0).integers(100, 400, 300).tolist()
    assert _notes_on_marker([*rows, *[-9] * 20]) == [{"missing": [-9]}]
    assert not _notes_on_marker([*rows, *[-9] * 20, -4, -3])
    assert not _notes_on_marker([*rows, -9])


@pytest.mark.parametrize(("marker", "template"), [("9999-12-31", "%Y-%m-%d"), ("01.01.1900", "%d.%m.%Y")])
def test_a_day_far_from_all_others_is_asked_about_as_it_is_written(marker: str, template: str, tmp_path: Path) -> None:
    days = [date(2020, 1, 1) + timedelta(days=i) for i in range(300)]
    path = tmp_path / "days.csv"
    path.write_text("\n".join(["day", *(day.strftime(template) for day in days), *[marker] * 20]))
    assert [note.option for note in map(Note.of, genus.read(path).notes)] == [{"missing": [marker]}]
    (kind,) = genus.read(path, missing=[marker]).space.kinds
    assert "2020-01-01 to 2020-10-26" in repr(kind)
    native = genus.read({"day": [*days, *[date(1900, 1, 1)] * 20]}, missing=["1900-01-01"])
    assert "2020-01-01 to 2020-10-26" in repr(native.space.kinds[0])


def test_one_word_among_numbers_is_asked_about_with_the_option(tmp_path: Path) -> None:
    path = tmp_path / "words.csv"
    path.write_text("\n".join(["n", *map(str, range(50)), *map(str, range(50)), *["TBD"] * 30]))
    (note,) = [note for note in map(Note.of, genus.read(path).notes) if "other texts" in note]
    assert note.option == {"missing": ["TBD"]}
    (kind,) = genus.read(path, missing=["TBD"]).space.kinds
    assert isinstance(kind, Lattice)


def test_signs_that_samples_do_not_have_are_said(tmp_path: Path) -> None:
    path = tmp_path / "signs.csv"
    rows = [f"{value / 100:+.2f}%,{value / 10:.1f}".replace(",-", ",−") for value in range(-150, 150)]
    path.write_text("\n".join(["change,degrees", *rows]), encoding="utf-8")
    notes = genus.read(path).notes
    assert "column 'change' has a plus before its amounts, and samples of it have none" in notes
    assert "column 'degrees' has a longer sign for a minus, and samples of it have a hyphen" in notes


def test_several_numbers_in_a_cell_are_told_from_free_text_and_from_keys() -> None:
    rng = np.random.default_rng(0)
    high, low = rng.integers(95, 180, 300), rng.integers(50, 95, 300)
    columns = {
        "pressure": [f"{a}/{b}" for a, b in zip(high, low, strict=True)],
        "place": [f"({a / 7:.4f}, {-b / 7:.4f})" for a, b in zip(range(300), range(300), strict=True)],
        "code": [f"AB-{i:05}/{i % 7}" for i in range(300)],
        "age": rng.integers(18, 90, 300).tolist(),
    }
    with pytest.warns(UserWarning, match="several numbers"):
        data = genus.read(columns)
    notes = {note.column: note for note in map(Note.of, data.notes)}
    assert "as in '" + columns["pressure"][0] + "', which in columns of their own would be numbers" in notes["pressure"]
    assert "several numbers" in notes["place"]
    assert notes["code"].about == "key"
