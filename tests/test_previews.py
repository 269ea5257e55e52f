"""Results print as a person wants to see them: what they are, and their first rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import genus
from genus.data import Schema
from genus.notebook import Previewed, few_lines
from genus.questions import Explained, Forecast, Imputed, Nearby


@pytest.fixture(scope="module")
def model() -> genus.GenerativeModel:
    data = genus.read({"sex": ["Female", "Male"] * 60, "age": [20.5 + i % 31 for i in range(120)]})
    fitted = genus.build("naive-bayes", data.space, seed=0)
    genus.fit(fitted, data, seed=0, progress=False)
    return fitted


def test_predictions_and_fillings_print_in_a_few_lines(model: genus.GenerativeModel) -> None:
    rows = {"sex": ["Female", None] * 100, "age": [None, 21.5] * 100}
    shown = repr(genus.predict(model, rows, "sex"))
    assert shown.startswith("sex predicted in 200 rows (exact)\n")
    assert shown.endswith("... 195 more rows")
    assert len(shown.splitlines()) == 8
    assert "intervals" in repr(genus.predict(model, rows, "age"))
    filled = genus.impute(model, rows, times=2, seed=0)
    assert repr(filled).splitlines()[0] == "200 blanks filled in 200 of 200 rows, 2 draws"
    assert filled._repr_html_().startswith("<pre")


def test_every_result_has_a_preview() -> None:
    table = pa.table({f"x{i}": [0.123456789] * 7 for i in range(20)})
    explained = Explained(("a", "b"), np.zeros((7, 2)), "exact")
    for result in (Nearby(table, [()] * 7, (-1.0,) * 7, -3.0), Imputed((table,), {}, {}, np.inf), explained):
        lines = repr(result).splitlines()
        assert len(lines) <= 8
        assert max(map(len, lines)) < 130
    assert issubclass(Forecast, Previewed)


def test_a_table_of_many_columns_is_described_in_a_few_lines() -> None:
    data = genus.read(np.random.default_rng(0).integers(0, 9, (60, 300)), relations=False)
    assert len(str(data).splitlines()) < 30
    assert "280 more columns: 280 lattice" in str(data)
    assert few_lines(["a"] * 50, ["real"] * 50) == ["a"] * 50
    assert len(str(Schema.of(data)).splitlines()) == 21
