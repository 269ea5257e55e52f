"""What went in comes back: the same container, names, types and values."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import torch
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

import genus
from genus import read
from genus.codec import Codec

N = 60
LEVELS = ["low", "mid", "high", "never"]
RNG = np.random.default_rng(0)


def pandas_frame() -> pd.DataFrame:
    many = RNG.normal(size=N).astype(np.float32)
    hole = np.where(np.arange(N) % 7 == 0, np.nan, np.round(RNG.normal(size=N), 3))
    text = [f"t{i % 3}" if i % 5 else None for i in range(N)]
    return pd.DataFrame(
        {
            "int64": RNG.integers(-3, 9, N),
            "int8": RNG.integers(-3, 9, N).astype(np.int8),
            "wide": RNG.integers(0, 10**6, N),
            "float32": many,
            "tenths": np.round(RNG.normal(size=N), 1),
            "with hole": hole,
            "bool": RNG.random(N) < 0.5,
            "text": pd.Series(text, dtype="str"),
            "object": pd.Series([f"o{i % 4}" for i in range(N)], dtype=object),
            "category": pd.Categorical([LEVELS[i % 3] for i in range(N)], ["low", "mid", "high", "never"], ordered=True),
            "numbers as category": pd.Categorical([3 * (i % 3) for i in range(N)]),
            "naïve ü": pd.array([i % 5 if i % 6 else None for i in range(N)], dtype="Int64"),
            "boolean": pd.array([bool(i % 2) if i % 6 else None for i in range(N)], dtype="boolean"),
            "day": pd.date_range("2020-01-01", periods=N, freq="3D"),
            "ns": pd.Series(pd.date_range("1999-12-31", periods=N, freq="h")).dt.as_unit("ns"),
            "zone": pd.date_range("2020-01-01", periods=N, freq="h", tz="Europe/Paris"),
            "span": pd.to_timedelta(RNG.integers(0, 99, N), unit="s"),
            "constant": 3.7,
            "nothing": np.full(N, np.nan),
        }
    )


def test_pandas_round_trip() -> None:
    frame = pandas_frame()
    found = read(frame, relations=False)  # which would fill blanks of one column from another
    pd.testing.assert_frame_equal(found.frame(), frame)


def test_pandas_integer_labels_and_missing_objects() -> None:
    frame = pd.DataFrame(RNG.integers(0, 5, (N, 3)))
    data = read(frame, context=1)
    assert data.context is not None
    assert data.context.names == ("1",)
    pd.testing.assert_frame_equal(data.frame(), frame[[0, 2, 1]])
    odd = pd.DataFrame(
        {"a": pd.Series([True, None, False] * 20, dtype=object), "b": pd.Series(["x", np.nan, "y"] * 20, dtype=object)}
    )
    pd.testing.assert_frame_equal(read(odd).frame().isna(), odd.isna())
    assert read(odd).frame()["a"].dropna().tolist() == odd["a"].dropna().tolist()


def polars_frame() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "i": RNG.integers(0, 9, N),
            "u8": pl.Series(RNG.integers(0, 250, N), dtype=pl.UInt8),
            "f32": pl.Series(RNG.normal(size=N), dtype=pl.Float32),
            "hundredths": [None if i % 9 == 0 else round(float(v), 2) for i, v in enumerate(RNG.normal(size=N))],
            "text": [f"t{i % 3}" if i % 5 else None for i in range(N)],
            "cat": pl.Series([f"c{i % 3}" if i % 5 else None for i in range(N)], dtype=pl.Categorical),
            "enum": pl.Series(["b" if i % 2 else "a" for i in range(N)], dtype=pl.Enum(["z", "b", "a"])),
            "date": [dt.date(2020, 1, 1) + dt.timedelta(days=i) for i in range(N)],
            "datetime": [dt.datetime(2020, 1, 1) + dt.timedelta(minutes=i) for i in range(N)],
            "time": [dt.time(i % 24, 30) for i in range(N)],
            "flag": [bool(i % 2) for i in range(N)],
            "nothing": pl.Series([None] * N, dtype=pl.String),
        }
    )


def test_polars_round_trip() -> None:
    frame = polars_frame()
    back = read(frame).frame()
    assert back.schema == frame.schema
    assert back.equals(frame)
    assert read(frame.lazy()).frame().equals(frame)


def arrow_table() -> pa.Table:
    return pa.table(
        {
            "dictionary": pa.array([f"d{i % 3}" if i % 4 else None for i in range(N)]).dictionary_encode(),
            "large": pa.array([f"l{i % 3}" for i in range(N)], pa.large_string()),
            "date": pa.array([dt.date(2020, 1, 1 + i % 5) for i in range(N)]),
            "decimal": pa.array([Decimal(i % 7) / 4 for i in range(N)], pa.decimal128(10, 2)),
            "half": pa.array(np.arange(N) % 8 / 4, pa.float32()),
            "null": pa.nulls(N),
            "i16": pa.array(np.arange(N) % 5, pa.int16()),
        }
    )


def test_arrow_round_trip() -> None:
    table = arrow_table()
    back = read(table, relations=False).frame()  # which would fill blanks of one column from another
    assert back.schema == table.schema
    assert back.equals(table)
    assert read(table.to_batches()[0], relations=False).frame().equals(table)


def test_form_survives_json() -> None:
    for frame in (pandas_frame(), polars_frame(), arrow_table(), RNG.integers(0, 255, (5, 4, 4, 3)).astype(np.uint8)):
        codec = read(frame).codec
        assert codec is not None
        assert codec.form is not None
        assert Codec.from_json(codec.space, codec.to_json()) == codec


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64", "bool", "<U3"])
def test_array_round_trip(dtype: str) -> None:
    array = RNG.integers(0, 2, (N, 3)).astype(dtype)
    back = read(array).frame()
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    if dtype != "<U3":
        tensor = torch.from_numpy(array)
        assert torch.equal(read(tensor).frame(), tensor)


def test_real_float32_array_and_tensor_round_trip_exactly() -> None:
    array = RNG.normal(size=(N, 3)).astype(np.float32)
    np.testing.assert_array_equal(read(array).frame(), array)
    assert torch.equal(read(torch.from_numpy(array)).frame(), torch.from_numpy(array))
    wide = RNG.normal(size=(N, 3))
    np.testing.assert_allclose(read(wide).frame(), wide, rtol=2e-7)  # single precision inside


def test_columns_near_the_ends_of_single_precision_come_back() -> None:
    values = np.array([[1e-45, 1e50, -3.0], [2.5e-44, 1.0, 2.0], [7e-44, 3.0, 0.5], [0.5e-44, -4e60, 0.25]])
    np.testing.assert_allclose(read(values).frame(), values, rtol=1e-14)


def test_dictionary_round_trip() -> None:
    columns = {"a": np.arange(N) % 4, "b": ["x" if i % 2 else "y" for i in range(N)], "t": torch.arange(N) % 3}
    back = read(columns).frame()
    np.testing.assert_array_equal(back["a"], columns["a"])
    assert back["b"] == columns["b"]


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float64,
        st.integers(2, 40),
        elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False) | st.just(math.nan) | st.integers(-5, 5).map(float),
    )
)
def test_any_float_column_comes_back(values: np.ndarray) -> None:
    frame = pd.DataFrame({"v": values, "w": np.arange(len(values)) % 2})
    back = read(frame).frame()
    np.testing.assert_allclose(back["v"], values, rtol=2e-7, atol=4e-15 * np.nanmax(np.abs(values), initial=0))
    np.testing.assert_array_equal(np.isnan(back["v"]), np.isnan(values))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(10**5), 10**5), min_size=2, max_size=50), st.integers(0, 4))
def test_any_decimal_column_comes_back_exactly(whole: list[int], places: int) -> None:
    values = np.array(whole) / 10**places
    np.testing.assert_array_equal(read({"v": values}).frame()["v"], values)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=3) | st.none(), min_size=2, max_size=40))
def test_any_text_column_comes_back(values: list[str | None]) -> None:
    table = pa.table({"v": pa.array(values, pa.string()), "w": pa.array(range(len(values)))})
    assert read(table, kinds={"v": "category", "w": "lattice"}).frame().equals(table)


@pytest.mark.parametrize("dtype", [">f8", ">i4", ">u2", np.longdouble])
def test_arrays_of_any_byte_order_and_length(dtype: str | type) -> None:
    values = np.random.default_rng(0).integers(0, 9, (50, 2))
    assert torch.equal(read(values.astype(dtype)).x.double(), torch.from_numpy(values).double())


@pytest.mark.parametrize("dtype", [float, int])
def test_what_is_masked_is_missing(dtype: type) -> None:
    mask = np.zeros((60, 2), dtype=bool)
    mask[7, 1] = True
    values = np.where(mask, 10**6, np.random.default_rng(0).integers(0, 9, (60, 2))).astype(dtype)
    data = read(np.ma.masked_array(values, mask))
    assert data.x.isnan().tolist() == mask.tolist()
    assert data.x.nan_to_num().max() < 9


def test_a_column_of_time_is_shown_as_time() -> None:
    days = pd.Series(pd.date_range("2020-01-01", periods=60), name="day").to_frame()
    assert str(read(days).codec).splitlines()[1] == "  day  times from 2020-01-01 to 2020-02-29"


def test_numbers_without_a_place_on_the_lattice_may_be_infinite() -> None:
    space = read(np.array([[0.5], [1.0], [1.5]] * 30)).codec
    found = space.encode(np.array([[0.5], [0.75], [1.0], [9.0], [-1.0]]), beyond=True).flatten().tolist()
    assert found == [0.5, math.inf, 1.0, math.inf, math.inf]


@pytest.mark.parametrize(
    "values",
    [
        [dt.date(2020, 1, day) for day in range(1, 11)],
        [dt.time(3, 4), dt.time(5, 6)] * 5,
        [dt.timedelta(days=3), dt.timedelta(days=5)] * 5,
        [Decimal("1.5"), Decimal("2.5")] * 5,
    ],
    ids=lambda values: type(values[0]).__name__,
)
def test_dictionaries_of_times_and_decimals_are_columns_of_these(values: list[Any], tmp_path: Path) -> None:
    """They were levels that no file could hold."""
    table = pa.table({"a": [1.0, 2.5] * 15, "b": pa.array(values * 3).dictionary_encode()})
    data = genus.read(table)
    model = genus.NaiveBayes(data.space)
    genus.fit(model, data, progress=False)
    genus.save(model, tmp_path / "m.genus")
    drawn = genus.load(tmp_path / "m.genus").decode(model.sample(20, seed=0))["b"].to_pylist()
    assert {type(value) for value in drawn} == {type(values[0])}
    assert min(values) <= min(drawn) <= max(drawn) <= max(values)


def test_a_dictionary_of_bytes_is_left_out() -> None:
    table = pa.table({"a": [1.0, 2.5] * 15, "b": pa.array([b"x", b"y"] * 15).dictionary_encode()})
    with pytest.warns(UserWarning, match="column 'b' holds binary values"):
        assert genus.read(table).space.names == ("a",)


def test_numbers_below_all_normal_ones_have_no_formula() -> None:
    """A multiple of them overflowed."""
    rng = np.random.default_rng(0)
    table = {"age": rng.integers(10, 80, 60) * 5e-324, "height": rng.normal(170, 9, 60).round(1), "mass": rng.normal(70, 9, 60)}
    assert genus.read(table).space.dim == 3


@pytest.mark.parametrize("to_frame", [dict, pa.table], ids=["dict", "arrow"])
def test_a_frame_that_holds_the_cells_of_a_file_as_they_were_written_is_encoded_as_the_file(
    tmp_path: Path, to_frame: Callable[[dict[str, list[str]]], Any]
) -> None:
    """What pandas reads of a file with blanks after its commas and question marks, which no level has."""
    cells = {"work": [" Private", " ?", " State", " Private"] * 20, "age": [" 31", " 40", " ?", " 52"] * 20}
    path = tmp_path / "people.csv"
    lines = (",".join(row) for row in zip(*cells.values(), strict=True))
    path.write_text("\n".join([",".join(cells), *lines]) + "\n")
    data = genus.read(path)
    assert set(data.space.kinds[0].levels) == {None, "Private", "State"}
    found = genus.read(to_frame(cells), space=data.codec)
    assert torch.equal(found.x.nan_to_num(-1), data.x.nan_to_num(-1))
    with pytest.raises(genus.DataError, match="' Mars' in row 1"):
        genus.read(to_frame(cells | {"work": [" Private", " Mars", " ?", " State"] * 20}), space=data.codec)


def test_a_level_is_what_it_is_before_it_stands_for_a_missing_value() -> None:
    country = genus.Category(("NA", " SE", "SE", None))
    space = genus.Space([country], names=["country"])
    assert Codec(space).encode({"country": ["NA", " SE", "SE ", " NA ", "?"]})[:, 0].tolist() == [0, 1, 2, 3, 3]


def test_relations_compare_the_cells_of_a_frame_as_those_of_a_file(tmp_path: Path) -> None:
    towns, rng = {" S": " Southampton", " C": " Cherbourg", " Q": " Queenstown"}, np.random.default_rng(0)
    port = rng.choice([*towns], 120)
    net, tax = rng.integers(1, 90, 120), rng.integers(0, 9, 120)
    cells = {
        "port": port.tolist(),
        "town": [" ?" if i % 11 == 0 else towns[one] for i, one in enumerate(port)],
        "net": [f" {n}" for n in net],
        "tax": [f" {n}" for n in tax],
        "total": [f" {n}" for n in net + tax],
    }
    path = tmp_path / "bills.csv"
    path.write_text("\n".join([",".join(cells), *map(",".join, zip(*cells.values(), strict=True))]) + "\n")
    data = genus.read(path)
    assert data.codec is not None
    assert {one.name for one in data.codec.rewrites} == {"sum", "function"}
    cells["tax"] = [" ?" if i % 13 == 0 else f" {n}" for i, n in enumerate(tax)]  # which follows from the total
    model = genus.build("naive-bayes", data.space, seed=0)
    genus.fit(model, data, seed=0, progress=False)
    plain = pd.DataFrame(cells)
    for frame in (plain, plain.assign(town=plain["town"].astype("category")), pl.DataFrame(cells), pa.table(cells)):
        found = genus.read(frame, space=data.codec)
        assert torch.equal(found.x.nan_to_num(-1), data.x.nan_to_num(-1))
        filled = genus.impute(model, frame, seed=0)
        assert (filled.cells, filled.reasons) == (21, {})
        assert filled.tables[0].column("town").to_pylist() == [towns[one] for one in port]
        assert filled.tables[0].column("tax").to_pylist() == [f" {n}" for n in tax]
        assert genus.predict(model, frame, "town").value.tolist() == [towns[one].strip() for one in port]
    own = genus.read({"port": cells["port"], "town": [towns[one] for one in port]})  # these are its levels, blanks included
    assert own.codec is not None
    assert own.codec.rewrites
    assert not own.codec.encode({"port": [" S"], "town": [" Southampton"]}, beyond=True).isinf().any()
    assert own.codec.encode({"port": [" S"], "town": [" Cherbourg"]}, beyond=True).isinf().all()
