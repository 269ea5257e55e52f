"""Kinds are what a person would say of the column, and lattices are found where they are."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from command import run
from hypothesis import given, settings, strategies as st

from genus import Category, Lattice, Real, Time, build, fit, load, read
from genus.data import Schema
from genus.kinds.fitting import _ways
from genus.kinds.steps import find_steps, round_digits, shortest_decimals
from genus.training.rows import rows_to_train_on

RNG = np.random.default_rng(0)


# -- lattices -------------------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e9, 1e9), st.integers(1, 15))
def test_round_digits_is_the_decimal_text(value: float, digits: int) -> None:
    written = float(f"{value:.{digits - 1}e}")
    assert round_digits(np.array([value]), digits)[0] == pytest.approx(written, rel=1.01 * 10.0 ** (1 - digits))
    assert round_digits(np.array([written]), digits)[0] == written


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_shortest_reads_as_the_same_single(value: float) -> None:
    out = shortest_decimals(np.array([value], dtype=np.float32))
    assert np.float32(out[0]) == np.float32(value)
    assert out[0] == float(str(np.float32(value)))


@pytest.mark.parametrize("step", [1.0, 0.5, 0.25, 0.2, 0.1, 0.01, 5.0, 20.0])
def test_find_lattice_finds_the_step(step: float) -> None:
    values, counts = np.unique(np.round(RNG.integers(0, 60, 400) * step, 6), return_counts=True)
    lattice = find_steps(values, counts)
    assert lattice is not None
    assert lattice.step == pytest.approx(step)
    assert lattice.on.all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_find_lattice_sees_through_standardising(dtype: type) -> None:
    whole = RNG.integers(0, 90, 1000).astype(float)
    values, counts = np.unique(((whole - whole.mean()) / whole.std()).astype(dtype).astype(np.float64), return_counts=True)
    lattice = find_steps(values, counts, single=dtype is np.float32)
    assert lattice is not None
    assert lattice.step == pytest.approx(1 / whole.std(), rel=1e-5)


def test_find_lattice_sees_through_rounding_after_a_shift() -> None:
    tenths = np.round(RNG.integers(20, 140, 2000) * 0.1 - 8.319637, 8)
    printed = np.array([float(f"{v:.4e}") for v in tenths])
    values, counts = np.unique(printed, return_counts=True)
    lattice = find_steps(values, counts)
    assert lattice is not None
    assert lattice.step == 0.1
    assert lattice.on.all()  # every value is reproduced to the last digit
    np.testing.assert_array_equal(read({"v": printed}).frame()["v"], printed)


def test_zero_is_a_point_of_a_lattice_that_crosses_it() -> None:
    values = np.round(np.arange(-28, 30) / 10, 1)  # -2.8 + 28 * 0.1 is 4e-16
    lattice = find_steps(values, np.full(len(values), 5))
    assert lattice is not None
    assert lattice.step == 0.1
    assert lattice.on.all()


def test_a_lattice_never_merges_values() -> None:
    values, counts = np.array([0.0, 0.125, 87382.0]), np.array([2, 1, 1])
    lattice = find_steps(values, counts, single=True)
    assert lattice is None or len(np.unique(np.round((values - lattice.low) / lattice.step))) == 3
    np.testing.assert_array_equal(read({"v": np.array([0.0, 0.0, 87382.0, 0.125])}).frame()["v"], [0.0, 0.0, 87382.0, 0.125])


def test_no_lattice_in_noise() -> None:
    values = np.sort(RNG.normal(size=3000))
    assert find_steps(values, np.ones(3000, dtype=int)) is None


# -- kinds ----------------------------------------------------------------------------------------------------------------


def kind_of(values: Any, **options: Any) -> Any:
    data = read({"v": values}, **options)
    return data.space.kinds[0]


def test_kinds_of_numbers() -> None:
    assert kind_of(np.array([1.0, 2.0, 5.0, 50.0])) == Lattice(1, 50, digits=17)
    wide = kind_of(RNG.integers(0, 10_000, 500))
    assert isinstance(wide, Lattice)
    assert wide.low == 0  # never across zero
    assert wide.high > 15_000
    small = kind_of((np.arange(300) * 100).astype(np.int16))
    assert isinstance(small, Lattice)
    assert small.high <= 32_767
    assert isinstance(kind_of(RNG.normal(size=100)), Real)
    tenths = kind_of(np.round(np.arange(-99, 101) % 37 / 10 - 1.8, 1))  # sums that come near zero are zero
    assert isinstance(tenths, Lattice)
    assert tenths.step == 0.1


def test_zero_inflated_and_censored_values_are_atoms() -> None:
    real = np.where(RNG.random(2000) < 0.3, 0.0, RNG.gamma(2.0, size=2000))
    kind = kind_of(real)
    assert isinstance(kind, Real)
    assert kind.atoms == (0.0,)
    assert kind.chart.support == (0.0, math.inf)
    assert kind_of(real, chart="affine").loc == pytest.approx(2.0, abs=0.15)  # of the rest
    gain = np.where(RNG.random(3000) < 0.9, 0, RNG.integers(1, 9000, 3000))
    gain[:60] = 99_999
    kind = kind_of(gain)
    assert isinstance(kind, Lattice)
    assert kind.atoms == (0.0, 99_999.0)


def test_a_list_of_amounts_is_all_atoms_and_a_range_is_not() -> None:
    amounts = RNG.choice(100_000, 40, replace=False)
    kind = kind_of(np.where(RNG.random(3000) < 0.5, 0, RNG.choice(amounts, 3000)))
    assert isinstance(kind, Lattice)
    assert {kind.low, *kind.atoms} == {0.0, *map(float, amounts)}
    assert kind.size == 1  # and no mass between
    close = kind_of(RNG.choice(300, 200, replace=False)[RNG.integers(0, 200, 4000)])  # most of what lies between occurs
    single = kind_of(RNG.choice(100_000, 200, replace=False))  # nothing repeats
    assert close.atoms == single.atoms == ()


def test_repeated_values_without_lattice_are_atoms() -> None:
    kind = kind_of(np.log(np.repeat(np.array([2.0, 3.0, 5.0, 7.0, 11.0, 13.0]), 9)))
    assert isinstance(kind, Real)
    assert len(kind.atoms) == 6


def test_exceptions_to_a_lattice_are_atoms() -> None:
    values = np.round(RNG.normal(10, 1, size=999), 1)
    kind = kind_of(np.append(values, 9.533333))
    assert isinstance(kind, Lattice)
    assert kind.step == 0.1
    assert kind.atoms == (9.533333,)


def test_missing_numbers_are_an_atom_and_missing_text_a_level() -> None:
    kind = kind_of(np.where(np.arange(100) % 9 == 0, np.nan, RNG.normal(size=100)))
    assert isinstance(kind, Real)
    assert math.isnan(kind.atoms[-1])
    assert kind_of(["b10", None, "b9", "b10"]) == Category(("b9", "b10", None), unknown=True)
    assert kind_of([None, None]) == Category((None,))


def test_constant_columns_have_log_density_zero() -> None:
    data = read({"n": [7.5] * 4, "t": ["a"] * 4})
    assert kind_of([7.5] * 4).size == 1
    assert data.space.kinds[1] == Category(("a",))
    assert data.space.feature_dim == 1


def test_one_outlier_does_not_squash_the_rest() -> None:
    values = RNG.normal(size=1000)
    values[17] = 1e9
    kind = kind_of(values)
    assert isinstance(kind, Real)
    assert kind.scale < 10


def test_dates_are_multiples_of_their_common_divisor() -> None:
    days = pd.Series(pd.date_range("2020-01-01", periods=500, freq="2D"))
    kind = read(pd.DataFrame({"d": days})).space.kinds[0]
    assert isinstance(kind, Time)
    assert (kind.unit, kind.step, kind.low, kind.high) == ("D", 2.0, 0.0, 998.0)


def test_identifiers_are_left_out_with_a_warning() -> None:
    columns = {"id": [f"{'uvw'[i % 3] * (i % 7)}-{i}" for i in range(100)], "row": np.arange(100), "v": np.arange(100) % 3}
    with pytest.warns(UserWarning, match="Left out") as caught:
        data = read(columns)
    assert "'id' looks like an identifier" in str(caught[0].message)
    assert data.space.names == ("v",)
    assert "'row' is a key" in str(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = read(columns, kinds={"id": "category", "row": "lattice"})
    assert kept.space.kinds[0].states == 100
    huge = np.arange(100) * 10**15 + 2**60
    with pytest.warns(UserWarning, match=r"beyond 2\*\*53"):
        assert read({"huge": huge, "v": columns["v"]}).space.names == ("v",)
    assert read({"huge": np.repeat(huge[:2], 50)}).frame()["huge"].tolist() == np.repeat(huge[:2], 50).tolist()


def test_kinds_overrule() -> None:
    zips = np.array([10_115, 20_095, 10_115, 80_331])
    data = read({"zip": zips, "n": zips}, kinds={"zip": "category", "n": "real"})
    assert data.space.kinds[0] == Category((10_115, 20_095, 80_331))
    assert isinstance(data.space.kinds[1], Real)
    np.testing.assert_array_equal(data.frame()["zip"], zips)
    assert read({"v": [1, 2]}, kinds={"v": Lattice(0, 9)}).space.kinds[0] == Lattice(0, 9)


def test_missing_markers() -> None:
    data = read({"n": np.array([1, 2, -999, 2]), "t": ["a", "?", "b", "a"]}, missing=["?", -999])
    assert torch.isnan(data.x[2, 0])
    assert data.space.kinds[1] == Category(("a", "b", None), unknown=True)


def test_the_two_zeros_are_one_level() -> None:
    data = read({"a": [0.0, -0.0, 1.5, 0.0]}, kinds={"a": "category"})
    assert data.space.kinds == (Category((0.0, 1.5)),)
    assert data.x[:, 0].tolist() == [0.0, 0.0, 1.0, 0.0]


def test_a_step_holds_although_a_few_values_are_off_it() -> None:
    """Limits of credit are multiples of 10,000 but for two odd ones: these are atoms, and no draw lies between."""
    rng = np.random.default_rng(0)
    limits = np.concatenate([10_000 * rng.integers(1, 101, 5000), [16_000, 16_000, 327_680]])
    data = read({"limit": limits})
    kind = data.space.kinds[0]
    assert isinstance(kind, Lattice)
    assert (kind.step, kind.numbers, kind.is_narrow) == (10_000, (16_000, 327_680), True)
    assert str(Schema.of(data)).endswith("10000 to 1000000 in steps of 10000; also 16000, 327680")
    model = build("naive-bayes", data.space)
    fit(model, data, progress=False)
    assert torch.isfinite(model.log_prob(data.x)).all()
    assert set(model.sample(20_000, seed=0)[:, 0].tolist()) <= {*range(0, 1_300_000, 10_000), 16_000, 327_680}


@pytest.mark.parametrize("odd", [0.02, 0.2])
def test_many_values_off_a_step_are_no_strays(odd: float) -> None:
    rng = np.random.default_rng(0)
    amounts = 100 * rng.integers(1, 500, 5000) + np.where(rng.random(5000) < odd, rng.integers(1, 100, 5000), 0)
    kind = read({"amount": amounts}).space.kinds[0]
    assert isinstance(kind, Lattice)
    assert kind.step == 1


def test_atoms_are_measured_on_the_rows_to_train_on() -> None:
    """A value that repeats among the held-out rows alone is no atom for a model, and keeps a place on the continuous part."""
    rng = np.random.default_rng(0)
    amounts, prices = rng.lognormal(size=1000), np.round(rng.lognormal(5, 1, 1000))
    amounts[900:], prices[900:] = 2.5, 900.0
    amounts[:50] = 0.0  # at the end of the support, so that it has no other place
    data = read({"amount": amounts, "price": prices})
    assert [kind.numbers for kind in data.space.kinds] == [(0.0, 2.5), (900.0,)]
    train, held = data.rows(slice(0, 900)), data.rows(slice(900, 1000))
    train = train.charted_on(train)
    assert [kind.numbers for kind in train.space.kinds] == [(0.0,), ()]
    model = build("naive-bayes", train.space)
    fit(model, train, progress=False)
    assert torch.isfinite(model.log_prob(held.with_space(train.space).x)).all()


def test_fit_at_the_command_line_measures_charts_on_the_rows_that_train(tmp_path: Path) -> None:
    """The rows that say how good a model is decide neither its charts nor its atoms."""
    path, out = tmp_path / "t.csv", tmp_path / "t.genus"
    path.write_text("x,y\n" + "\n".join(f"{a!r},{b!r}" for a, b in np.random.default_rng(0).lognormal(size=(200, 2)).tolist()))
    assert run("fit", str(path), "--family", "mixture", "--budget", "1s", "--out", str(out), "--seed", "3").code == 0
    data = read(path)
    assert load(out).space == data.charted_on(rows_to_train_on(data, 0.1, 3)).space
    assert load(out).space != data.space


def test_values_between_frequent_ones_that_never_occur_have_no_mass() -> None:
    weeks = RNG.choice([0, 2, 4, 6, 11], 220)
    kind = read({"week": weeks}).space.kinds[0]
    assert (kind.low, kind.high, kind.numbers) == (0, 0, (2, 4, 6, 11))
    rates = RNG.choice([3, 5, 7.5, 9, 9.5, 14], 700)
    drawn = read({"rate": rates})
    model = build("naive-bayes", drawn.space)
    fit(model, drawn, progress=False)
    assert {*np.unique(model.sample(2000).numpy()).tolist()} == {3, 5, 7.5, 9, 9.5, 14}
    counts = RNG.poisson(3, 220)  # whose rare ends have gaps by chance
    assert read({"n": counts}).space.kinds[0].numbers == ()
    assert read({"n": [0, 1, 2, 4, 5] * 6}).space.kinds[0].numbers == ()  # few rows


def test_numbers_without_a_spline_keep_their_chart() -> None:
    assert _ways(np.full((3, 5), -1), [4, 6]) == []
