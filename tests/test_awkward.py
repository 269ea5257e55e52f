"""Awkward files of the kinds that people have: units below the header, numbers of Excel's days, keys with some letters."""

from pathlib import Path

import numpy as np
import pytest

import genus
from genus.errors import DataError

ROWS = 300
RNG = np.random.default_rng(0)


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
