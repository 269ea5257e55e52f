"""Results print as a person wants to see them: what they are, and their first rows."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import genus
from genus.codec.arrow import to_numbers
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


def test_a_filled_frame_has_the_types_of_the_one_that_was_given(model: genus.GenerativeModel) -> None:
    given = pd.DataFrame({"sex": pd.Series(["Female", None, "Male"], dtype="string"), "n": pd.array([1, None, 3], "Int64")})
    given["o"] = np.array([1, 2, 3], dtype=object)
    given["age"] = pd.array([20.5, 21.5, None], dtype="float64[pyarrow]")
    frame = genus.impute(model, given, seed=0).frame(given)
    assert frame.dtypes.tolist() == given.dtypes.tolist()
    assert not frame[["sex", "age"]].isna().any().any()


def test_decimals_are_read_to_the_last_bit() -> None:
    cents = np.random.default_rng(0).integers(100, 9999, 80)
    data = genus.read({"price": [Decimal(int(v)) / 100 for v in cents], "n": [i % 7 for i in range(80)]}, relations=False)
    assert not data.notes
    assert np.array_equal(to_numbers(pa.chunked_array([[Decimal("85.20"), None]])), [85.2, np.nan], equal_nan=True)
