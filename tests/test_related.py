"""Questions about columns that a relation replaced: b where x holds the gap b - a, a sum, a function of another column."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from command import run

import genus
from genus import GenusError

TOWNS = {"Reno": "NV", "Ely": "NV", "Rome": "IT", "Bari": "IT"}


def trips(rows: int = 1500, seed: int = 0) -> dict[str, Any]:
    """A table in which a < b, total = net + tax, and the state follows from the city."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 12, rows)
    b = a + 1 + rng.poisson(2, rows).clip(max=7)
    city = rng.choice([*TOWNS], rows, p=[0.4, 0.1, 0.3, 0.2])
    net = rng.integers(10, 40, rows)
    tax = rng.integers(1, 4, rows) + 3 * (city == "Rome")
    columns = {"a": a, "b": b, "city": city, "net": net, "tax": tax, "total": net + tax}
    return {name: values.tolist() for name, values in columns.items()} | {"state": [TOWNS[c] for c in city]}


@pytest.fixture(scope="module")
def tree() -> genus.GenerativeModel:
    """A tree of columns, whose joint density is exact and whose columns have few values."""
    data = genus.read(trips())
    assert data.codec is not None
    assert [name for name in data.codec.names if data.codec.replaced(name)] == ["b", "total", "state"]
    model = genus.build("chow-liu", data.space)
    genus.fit(model, data, seed=0, progress=False)
    return model


@pytest.fixture(scope="module")
def own(tree: genus.GenerativeModel) -> dict[str, np.ndarray]:
    """Many of the model's own draws."""
    return columns(tree, tree.sample(60_000, seed=5))


def columns(model: Any, x: torch.Tensor) -> dict[str, np.ndarray]:
    return {name: np.array(values) for name, values in model.codec.to_person(x).to_pydict().items()}


WHERE: list[dict[str, Any]] = [
    {"b": 7}, {"b": (3, 5)}, {"b": [4, 6], "city": "Rome"}, {"total": 25}, {"state": "NV", "b": 9},
    {"total": 40, "state": "IT"},
]  # fmt: skip


@pytest.mark.parametrize("where", WHERE, ids=str)
def test_draws_where_are_the_models_own_draws_of_which_it_holds(
    tree: Any, own: dict[str, np.ndarray], where: dict[str, Any], monkeypatch: Any
) -> None:
    fine = np.ones(60_000, dtype=bool)
    for name, wanted in where.items():
        held = own[name]
        one = (held >= wanted[0]) & (held <= wanted[1]) if isinstance(wanted, tuple) else np.isin(held, wanted)
        fine &= one
    monkeypatch.setattr("genus.ladder.conditions.COMMON", 10**9)  # nothing is common: values are given, where there are any
    drawn = columns(tree, tree.sample(600, seed=1, where=where))
    for name, wanted in where.items():
        assert ((drawn[name] >= wanted[0]) & (drawn[name] <= wanted[1])).all() if isinstance(wanted, tuple) else True
        assert isinstance(wanted, tuple) or np.isin(drawn[name], wanted).all()
    for name in ("a", "net", "tax"):
        error = 4 * own[name][fine].std() * (1 / fine.sum() + 1 / 200) ** 0.5
        assert drawn[name].mean() == pytest.approx(own[name][fine].mean(), abs=error + 1e-9), name
    assert (drawn["city"] == "Rome").mean() == pytest.approx((own["city"][fine] == "Rome").mean(), abs=0.09)


def test_filled_rows_keep_what_they_hold_and_every_relation(tree: Any) -> None:
    table = {
        "a": [None, 4, None, None], "b": [9, None, 5, None],
        "city": [None, None, "Ely", None], "state": ["IT", "NV", None, None],
        "net": [None, 20, None, None], "tax": [None, None, 2, None], "total": [30, 24, None, None],
    }  # fmt: skip
    found = genus.impute(tree, table, times=5, seed=0)
    assert found.reasons == {}
    assert found.cells == sum(value is None for values in table.values() for value in values)
    for one in found.tables:
        rows = one.to_pydict()
        for name, values in table.items():
            assert all(kept is None or kept == new for kept, new in zip(values, rows[name], strict=True))
        assert all(a < b for a, b in zip(rows["a"], rows["b"], strict=True))
        assert [n + t for n, t in zip(rows["net"], rows["tax"], strict=True)] == rows["total"]
        assert [TOWNS[c] for c in rows["city"]] == rows["state"]


def test_what_no_row_can_hold_is_counted_and_left_blank(tree: Any) -> None:
    found = genus.impute(tree, {"b": [5, 6], "state": ["IT", "unheard of"]}, seed=0)
    assert found.tables[0].column("a").null_count == 1
    assert sum(found.reasons.values()) == 1
    with pytest.raises(GenusError, match="state is a function of city, and 'city' is Ely and 'state' is IT"):
        tree.sample(1, seed=0, where={"state": "IT", "city": "Ely"})
    with pytest.raises(GenusError, match="'b' holds texts that are no numbers"):
        tree.sample(3, where={"b": "soon"})


@pytest.mark.parametrize("column", ["a", "b", "city", "state", "tax"])
def test_predictions_are_shares_of_the_models_own_draws(tree: Any, own: dict[str, np.ndarray], column: str) -> None:
    given = {"a": {"b": 8}, "b": {"a": 5}, "city": {"state": "IT"}, "state": {"tax": 5}, "tax": {"total": 30}}[column]
    fine = np.logical_and.reduce([own[name] == value for name, value in given.items()])
    found = genus.predict(tree, {name: [value] for name, value in given.items()}, column)
    if found.probabilities:
        for value, share in found.probabilities.items():
            assert share[0] == pytest.approx((own[column][fine] == value).mean(), abs=0.04)
    else:
        assert found.low is not None
        assert found.high is not None
        assert found.value[0] == pytest.approx(own[column][fine].mean(), abs=0.25)
        assert found.low[0] == pytest.approx(np.quantile(own[column][fine], 0.05), abs=1)
        assert found.high[0] == pytest.approx(np.quantile(own[column][fine], 0.95), abs=1)
    assert not found.reasons


def test_a_column_does_not_tell_itself_through_a_gap(tree: Any) -> None:
    """Known b does not give a away: x has b - a, which was measured with the true a."""
    table = trips(200, seed=9)
    found = genus.predict(tree, table, "a")
    assert np.abs(found.value - np.array(table["a"])).mean() > 0.5
    other = genus.predict(tree, {**table, "a": [0] * 200}, "a")
    assert np.allclose(found.value, other.value)


def test_what_follows_is_certain(tree: Any) -> None:
    table = trips(50, seed=4)
    for column in ("total", "net", "tax"):
        found = genus.predict(tree, table, column)
        assert found.value.tolist() == table[column]
        assert found.label == "exact"
    assert genus.predict(tree, table, "state").value.tolist() == table["state"]
    with pytest.raises(GenusError, match="calibration"):
        genus.predict(tree, table, "total", held_out=table)


@pytest.mark.parametrize("family", ["made", pytest.param("mixture", marks=pytest.mark.nightly)])
def test_other_families_and_times(family: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    start = rng.integers(0, 300, 400)
    days = 1 + rng.poisson(3, 400)
    first = datetime.date(2024, 1, 1)
    dates = {
        "checkin": [first + datetime.timedelta(int(s)) for s in start],
        "checkout": [first + datetime.timedelta(int(s + d)) for s, d in zip(start, days, strict=True)],
        "price": (days * 80 + rng.integers(0, 40, 400)).tolist(),
    }
    data = genus.read(pa.table(dates))
    assert data.codec is not None
    assert data.codec.replaced("checkout")
    model = genus.build(family, data.space, **({"components": 4} if family == "mixture" else {"hidden": [32]}))
    genus.fit(model, data, seed=0, progress=False, **({} if family == "mixture" else {"max_steps": 150}))
    out = datetime.date(2024, 5, 6)
    drawn = model.codec.to_person(model.sample(50, seed=0, where={"checkout": out}))
    assert set(drawn.column("checkout").to_pylist()) == {out}
    assert all(day < out for day in drawn.column("checkin").to_pylist())
    filled = genus.impute(model, {"checkout": ["2024-05-06"], "price": [300]}, seed=0)
    assert filled.tables[0].column("checkin").to_pylist()[0] < out
    told = genus.predict(model, {"checkout": ["2024-05-06"], "price": [300]}, "checkin")
    assert datetime.date(2024, 4, 25) < told.value[0] < out
    genus.save(model, tmp_path / "m.genus")
    if family == "mixture":
        done = run("sample", tmp_path / "m.genus", "-n", 20, "--where", "checkout=2024-05-01..2024-06-30", "--seed", 1)
        assert all("2024-05-01" <= line.split(",")[1] <= "2024-06-30" for line in done.out.splitlines()[1:])
        run("sample", tmp_path / "m.genus", "--where", "checkout=late").refused(1, "checkout", "late")
