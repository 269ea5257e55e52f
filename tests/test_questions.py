"""Blanks of a table: whether they are unknown values, draws without them, and tables that are filled."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from command import run
from conftest import make

import genus
from genus import Category, DataError, GenusError, Lattice, Real, Space
from genus.data.blanks import mark_unknown
from genus.kinds import kind_from_json
from genus.ladder import resampling

UNKNOWN = Space(
    [Real(1.0, 2.0, atoms=(0.0, math.nan), unknown=True), Category(("a", "b", None), unknown=True), Lattice(0, 3), Real()]
)


def people(rows: int = 300, seed: int = 0) -> dict[str, Any]:
    """A table with blanks that mean something (no car, no mileage) and blanks that are unknown values (age, town)."""
    rng = np.random.default_rng(seed)
    car = rng.random(rows) < 0.5
    age = rng.integers(18, 80, rows).astype(float)
    age[rng.random(rows) < 0.3] = math.nan
    town = rng.choice(["Bern", "Basel", None], rows, p=[0.5, 0.3, 0.2])
    return {
        "car": np.where(car, "yes", "no").tolist(),
        "mileage": [round(float(m), 2) if c else None for m, c in zip(rng.lognormal(9, 1, rows), car, strict=True)],
        "age": [None if math.isnan(a) else int(a) for a in age],
        "town": town.tolist(),
        "note": [f"row {i}, as it came" for i in range(rows)],
    }


@pytest.fixture(scope="module")
def fitted() -> genus.GenerativeModel:
    """A mixture of the people's table, whose notes are left out."""
    data = genus.read(people(), kinds={"note": "omit"})
    model = genus.build("mixture", data.space, components=4)
    genus.fit(model, data, seed=0, progress=False)
    return model


def test_the_datas_pattern_says_what_a_blank_is() -> None:
    data = genus.read(people(), kinds={"note": "omit"})
    assert {name: kind.unknown for name, kind in zip(data.space.names, data.space.kinds, strict=True)} == {
        "car": False, "mileage": False, "age": True, "town": True,
    }  # fmt: skip
    assert "blanks unknown" in str(data)
    said = genus.read(people(), kinds={"note": "omit"}, unknown=["mileage"], blank_is_a_value=["town"]).space
    assert [kind.unknown for kind in said.kinds] == [False, True, True, False]
    for wrong, match in (
        ({"unknown": ["car"]}, "'car' has no blank"),
        ({"unknown": ["hat"]}, "no column 'hat'"),
        ({"unknown": ["age"], "blank_is_a_value": ["age"]}, "choose one"),
    ):
        with pytest.raises(DataError, match=match):
            genus.read(people(), **wrong)


def test_columns_that_are_blank_together_do_not_explain_each_other() -> None:
    x = torch.randn(200, 2)
    x[:60] = math.nan
    space = Space([Real(atoms=(math.nan,)), Real(atoms=(math.nan,))], names=["a", "b"])
    assert [kind.unknown for kind in mark_unknown(space, x).kinds] == [True, True]


def test_a_kind_keeps_what_a_blank_is_in_files() -> None:
    for kind in UNKNOWN.kinds:
        assert kind_from_json(json.loads(json.dumps(kind.to_json()))) == kind
    assert "unknown" not in Real().to_json()
    with pytest.raises(DataError, match="true or false; got 1"):
        kind_from_json({**UNKNOWN.kinds[0].to_json(), "unknown": 1})


@pytest.mark.parametrize("family", ["mixture", "independent", "made", "gpt", "trees", "maf", "vae", "wgan-gp"])
def test_no_family_draws_a_blank_that_stands_for_an_unknown_value(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "OWN_DRAWS", 200)
    monkeypatch.setattr(resampling, "PASSES", 3)
    model = make(family, UNKNOWN) if family != "independent" else _independent()
    drawn = model.sample(300, seed=0)
    UNKNOWN.check(drawn)
    assert not bool(UNKNOWN.unknown_blanks(drawn).any())
    every = model.sample(300, seed=0, blanks=True)
    assert bool(UNKNOWN.unknown_blanks(every).any())
    if family != "wgan-gp":
        filled = model.fill(every[:50], seed=1)
        assert bool(filled.done.all())
        assert not bool(UNKNOWN.unknown_blanks(filled.x).any())
        known = ~UNKNOWN.unknown_blanks(every[:50])
        assert torch.equal(filled.x[known], every[:50][known])


def _independent() -> genus.GenerativeModel:
    model = genus.build("independent", UNKNOWN)
    x = UNKNOWN.join(torch.randint(0, 3, (200, 4)) * torch.tensor([1, 1, 0, 0]), torch.randn(200, 4).double())
    model.observe(x)
    model.conclude()
    return model


def test_excluding_the_blank_leaves_the_other_states_in_their_proportions() -> None:
    space = Space([Category(("a", "b", None), unknown=True), Lattice(0, 1)])
    for family in ("made", "trees", "mixture"):
        model = make(family, space)
        whole, filled = model.sample(8000, seed=0, blanks=True)[:, 0], model.sample(8000, seed=1)[:, 0]
        share = (whole == 0).double().mean() / (whole != 2).double().mean()
        assert (filled == 0).double().mean().item() == pytest.approx(share.item(), abs=0.03), family


def test_a_table_is_filled_in_its_own_order_and_form(fitted: genus.GenerativeModel) -> None:
    table = people()
    found = genus.impute(fitted, table, seed=0)
    (filled,) = found.tables
    assert filled.column_names == list(table)
    assert filled.column("note").to_pylist() == table["note"]
    for name in table:
        before, after = table[name], filled.column(name).to_pylist()
        assert all(a == b for a, b in zip(before, after, strict=True) if a is not None)
        assert (after.count(None) == 0) == (name != "mileage")
    assert found.cells == table["age"].count(None) + table["town"].count(None)
    assert found.reasons == {}
    assert found.size == math.inf
    assert filled == genus.impute(fitted, table, seed=0).tables[0]
    named = genus.impute(fitted, table, columns=["town"], seed=0)
    assert list(named.filled) == ["town"]
    assert named.tables[0].column("age").to_pylist() == table["age"]


def test_a_table_may_lack_columns_and_hold_what_training_never_saw(fitted: genus.GenerativeModel) -> None:
    found = genus.impute(fitted, {"town": ["Bern", "Genf", None], "age": [30, 900_000, None]}, times=3, seed=0)
    assert [table.column_names for table in found.tables] == [["town", "age", "car", "mileage"]] * 3
    assert found.tables[0].column("town").to_pylist()[:2] == ["Bern", "Genf"]
    assert found.tables[0].column("age").to_pylist()[1] == 900_000
    assert {*found.tables[0].column("car").to_pylist()} <= {"yes", "no"}
    assert sorted(found.reasons.values()) == [1, 1]
    assert any("'town'" in reason for reason in found.reasons)
    with pytest.raises(DataError, match=r"no column 'hat' to fill; it knows car"):
        genus.impute(fitted, people(), columns=["hat"])
    with pytest.raises(DataError, match="lack"):
        genus.impute(fitted, {"hat": [1, 2]})
    with pytest.raises(GenusError, match="1 or more; got 0"):
        genus.impute(fitted, people(), times=0)


def test_several_draws_have_a_mean_and_an_interval(fitted: genus.GenerativeModel) -> None:
    found = genus.impute(fitted, people(60, seed=1), times=20, seed=0)
    summary = found.summary()
    low, mean, high = (summary.column(f"age {word}").to_pylist() for word in ("low", "mean", "high"))
    there = [row for row in zip(low, mean, high, strict=True) if row[0] is not None]
    assert len(there) == people(60, seed=1)["age"].count(None)
    assert all(a <= b <= c for a, b, c in there)
    assert {*summary.column("town mode").to_pylist()} <= {"Bern", "Basel", None}


def test_a_frame_comes_back_with_its_index(fitted: genus.GenerativeModel) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(people(20)).set_index(pandas.Index(range(100, 120)))
    filled = genus.impute(fitted, frame, seed=0).frame(like=frame)
    assert list(filled.index) == list(range(100, 120))
    assert filled["age"].isna().sum() == 0


def test_the_command_fills_the_table_that_the_model_was_trained_on(tmp_path: Path) -> None:
    table = people()
    with (tmp_path / "people.csv").open("w", newline="") as file:
        csv.writer(file).writerows([list(table), *zip(*table.values(), strict=True)])
    source, model = tmp_path / "people.csv", tmp_path / "m.genus"
    run("fit", source, "--family", "mixture", "--set", "components=4", "--kind", "note=omit", "--seed", "0", "--out", model)
    told = run("impute", model, source, "--seed", "0", "--out", tmp_path / "full.csv")
    blanks = table["age"].count(None) + table["town"].count(None)
    assert f"{blanks:,} blanks in" in told.err
    lines = (tmp_path / "full.csv").read_text().splitlines()
    assert lines[0] == "car,mileage,age,town,note"
    assert lines[1].endswith(',"row 0, as it came"')
    assert lines[1].count('"') == 2  # only what needs quotes has them
    many = run("impute", model, source, "--columns", "age", "--times", "2", "--seed", "0").out.splitlines()
    assert many[0].startswith("draw,car,")
    assert len(many) == 601
    mean = run("impute", model, source, "--mean", "--seed", "0", "--json")
    assert {"age mean", "age low", "age high", "town mode"} <= json.loads(mean.out)[0].keys()


def test_blanks_that_the_model_never_draws_are_excluded_by_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "OWN_DRAWS", 500)
    space = Space([Category(("a", "b", None), unknown=True), Category(("u", "v"))])
    x = torch.cat([torch.full((400, 1), 2.0), torch.zeros(400, 1)], dim=1)
    x[:40] = torch.tensor([[0.0, 1.0], [1.0, 1.0]] * 20)  # where the second is u, the first is hardly ever there
    model = genus.build("mixture", space, components=2)
    genus.fit(model, x, seed=0, progress=False)
    filled = model.fill(torch.tensor([[2.0, 0.0]]).repeat(50, 1), seed=0)
    assert bool(filled.done.all())
    assert {*filled.x[:, 0].tolist()} <= {0.0, 1.0}


def test_arrow_tables_pass_through() -> None:
    table = pa.table({"a": pa.array([1, 2, None, 4] * 20), "b": pa.array(["x", None, "y", "y", "x"] * 16).dictionary_encode()})
    data = genus.read(table)
    model = genus.build("independent", data.space)
    genus.fit(model, data, seed=0, progress=False)
    filled = genus.impute(model, table, seed=0).tables[0]
    assert filled.column("a").null_count == filled.column("b").null_count == 0
    assert filled.schema.field("a").type == pa.int64()


@pytest.mark.parametrize("family", ["mixture", "made", "vae", "wgan-gp"])
def test_rows_are_drawn_of_which_conditions_hold(family: str) -> None:
    space = Space([Real(1.0, 2.0), Category(("a", "b", "c")), Lattice(0, 9)], names=["x", "y", "z"])
    model = make(family, space)
    drawn = model.sample(60, seed=0, where={"y": "b", "x": (0.0, None), "z": [1, 2, 3, 4, 5]})
    assert drawn.shape == (60, 3)
    assert drawn[:, 1].tolist() == [1.0] * 60
    assert float(drawn[:, 0].min()) >= 0.0
    assert {*drawn[:, 2].tolist()} <= {1.0, 2.0, 3.0, 4.0, 5.0}
    assert torch.equal(drawn, model.sample(60, seed=0, where={"y": "b", "x": (0.0, None), "z": [1, 2, 3, 4, 5]}))
    assert model.sample(0, where={"y": "b"}).shape == (0, 3)


def test_conditions_leave_the_models_own_distribution_of_the_rest() -> None:
    space = Space([Category(("a", "b")), Category(("u", "v", "w"))])
    for family in ("mixture", "made"):
        model = make(family, space)
        drawn = model.sample(4000, seed=0, where={"x1": "w"})[:, 0]
        rows = torch.tensor([[0.0, 2.0], [1.0, 2.0]])
        expected = model.log_prob(rows).softmax(0)[0].item()
        assert (drawn == 0).double().mean().item() == pytest.approx(expected, abs=0.03), family


def test_conditions_that_cannot_hold_are_said_before_anything_is_drawn() -> None:
    space = Space([Real(), Category(("a", "b")), Lattice(0, 9)], names=["x", "y", "z"])
    model = make("mixture", space)
    for where, match in (
        ({"y": "c"}, "'c' is no level of column 'y'; expected one of 'a', 'b'"),
        ({"z": 12}, "outside"),
        ({"z": (20, 30)}, "cannot hold: none of its values"),
        ({"hat": 1}, "no column 'hat'"),
        ({"y": []}, "names no value"),
    ):
        with pytest.raises(DataError, match=match):
            model.sample(5, where=where)
    with pytest.raises(GenusError, match="would take too long"):
        model.sample(5, where={"x": (90.0, 91.0)})


def test_a_number_is_given_to_a_density_by_weights_and_refused_without_one() -> None:
    space = Space([Real(), Real()], names=["x", "y"])
    drawn = make("maf", space).sample(50, seed=0, where={"y": 0.25})
    assert drawn[:, 1].tolist() == [0.25] * 50
    with pytest.raises(GenusError, match="would take too long"):
        make("wgan-gp", space).sample(1, seed=0, where={"y": 0.25})


def test_the_command_takes_conditions(tmp_path: Path) -> None:
    model = tmp_path / "iris.genus"
    run("fit", "iris", "--family", "mixture", "--seed", "0", "--out", model)
    words = ["--where", "species in (setosa, virginica)", "--where", "petal width (cm)=1.5..2.5"]
    rows = list(csv.DictReader(run("sample", model, "-n", "20", "--seed", "0", *words).out.splitlines()))
    assert len(rows) == 20
    assert {row["species"] for row in rows} <= {"setosa", "virginica"}
    assert all(1.5 <= float(row["petal width (cm)"]) <= 2.5 for row in rows)
    run("sample", model, "--where", "hat=1").refused(2, "names no column", "species")
    run("sample", model, "--where", "species=rose").refused(2, "'rose' is no level of column 'species'")
    run("sample", model, "--where", "petal width (cm)=wide..2").refused(2, "expected a range of numbers")
    run("sample", model, "--where", "petal width (cm)=30..40").refused(1, "cannot hold")
