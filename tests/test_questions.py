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
from genus.ladder import HeldOut, resampling
from genus.models.leaves import ColumnLeaves
from genus.models.patterns import BlankPatterns
from genus.questions import column_given

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


def test_values_that_hardly_repeat_tell_nothing_of_blanks() -> None:
    x = torch.stack([torch.arange(200.0), torch.randn(200)], 1)
    x[::5, 1] = math.nan
    space = Space([Lattice(0, 199), Real(atoms=(math.nan,))], names=["a", "b"])
    assert [kind.unknown for kind in mark_unknown(space, x).kinds] == [False, True]


def test_a_kind_keeps_what_a_blank_is_in_files() -> None:
    for kind in UNKNOWN.kinds:
        assert kind_from_json(json.loads(json.dumps(kind.to_json()))) == kind
    assert "unknown" not in Real().to_json()
    with pytest.raises(DataError, match="true or false; got 1"):
        kind_from_json({**UNKNOWN.kinds[0].to_json(), "unknown": 1})


@pytest.mark.parametrize("family", ["mixture", "independent", "made", "gpt", "trees", "maf", "vae", "wgan-gp"])
def test_no_family_draws_a_blank_that_stands_for_an_unknown_value(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "OWN_DRAWS", 200)
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


def test_blanks_say_nothing_of_a_mixtures_components() -> None:
    """Of one half nine in ten are blank, else a; of the other one in ten, else b: half of the unknown values are a."""
    half = torch.arange(2000) % 2
    blank = torch.rand(2000, generator=torch.Generator().manual_seed(0)) < torch.where(half == 0, 0.9, 0.1)
    x = torch.stack([torch.where(blank, 2.0, half), 20.0 * half + 0.1 * torch.randn(2000), torch.zeros(2000)], 1)
    space = Space([Category(("a", "b", None), unknown=True), Real(10.0, 10.0), Category(("u", "v"))])
    model = genus.build("mixture", space, components=2, covariance="diagonal", shrinkage=1.0, pool=0.1)
    genus.fit(model, x, seed=0, progress=False)
    missing = torch.tensor([[True, True, False]]).repeat(4000, 1)
    drawn = model.impute(torch.zeros(4000, 3), missing=missing, seed=0)
    assert (drawn[:, 0] == 0).double().mean().item() == pytest.approx(0.5, abs=0.03)
    every = model.sample(4000, seed=0, blanks=True)
    assert (every[:, 0] == 2).double().mean().item() == pytest.approx(0.5, abs=0.03)


def test_a_mixture_learns_from_the_values_that_rows_have() -> None:
    """Half of two dependent columns is blank at random: what remains tells how they depend, whatever is blank."""
    generator = torch.Generator().manual_seed(0)
    cause = torch.randint(0, 2, (600,), generator=generator).double()
    x = torch.stack([cause, (10 * cause + torch.randint(0, 3, (600,), generator=generator)), cause], 1)
    blank = torch.rand(x.shape, generator=generator) < 0.5
    x[:, 0] = torch.where(blank[:, 0], 2.0, x[:, 0])
    x[:, 1] = torch.where(blank[:, 1], math.nan, x[:, 1])
    x[:, 2] = torch.where(blank[:, 2], 2.0, x[:, 2])
    levels = Category(("a", "b", None), unknown=True)
    space = Space([levels, Lattice(0, 12, atoms=(math.nan,), unknown=True), levels])
    model = genus.build("mixture", space, components=2, pool=0.5)
    genus.fit(model, x, seed=0, progress=False)
    filled = model.impute(torch.tensor([[2.0, 1.0, 2.0], [2.0, 11.0, 2.0], [0.0, math.nan, 2.0]]).repeat(200, 1), seed=0)
    rows = filled.view(200, 3, 3)
    for column in (0, 2):
        assert (rows[:, 0, column] == 0).double().mean() > 0.97
        assert (rows[:, 1, column] == 1).double().mean() > 0.97
    assert (rows[:, 2, 1] < 5).double().mean() > 0.97


def test_patterns_of_blanks_are_a_distribution() -> None:
    space = Space(
        [Category(("a", None), unknown=True), Real(atoms=(math.nan,), unknown=True), Lattice(0, 3), Real(atoms=(math.nan,))]
    )
    x = torch.zeros(40, 4)
    x[:12, 0], x[:12, 1], x[30:33, 1], x[:20, 3] = 1.0, math.nan, math.nan, math.nan  # the first two mostly together
    blanks = BlankPatterns(space)
    blanks.learn(x)
    every = torch.tensor([[a, b, 0.0, 0.0] for a in (0.0, 1.0) for b in (0.0, math.nan)])
    mass = blanks.log_prob(every, range(4)).exp()
    assert mass.sum().item() == pytest.approx(1.0)
    assert mass[3].item() == pytest.approx(0.3, abs=0.05)
    left = blanks.log_prob(every[:2, 1:2], [1]).exp()  # whatever the first is
    assert left.tolist() == pytest.approx((mass[:2] + mass[2:]).tolist())
    drawn = blanks.draw(every[3:].repeat(2000, 1), [0])
    assert drawn.double().mean().item() == pytest.approx((mass[3] / (mass[1] + mass[3])).item(), abs=0.05)


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


def test_what_follows_from_a_relation_is_filled_by_it() -> None:
    rng = np.random.default_rng(0)
    low, gap, city = rng.integers(1, 50, 300), rng.integers(0, 20, 300), rng.choice(["Rome", "Oslo"], 300)
    table = {"a": low.tolist(), "b": (low + gap).tolist(), "sum": (2 * low + gap).tolist(), "city": city.tolist()}
    table["country"] = np.where(city == "Rome", "IT", "NO").tolist()
    data = genus.read(table)
    assert data.space.dim == 3
    model = genus.build("mixture", data.space, components=3, covariance="diagonal", shrinkage=1.0, pool=1.0)
    genus.fit(model, data, seed=0, progress=False)
    for name in table:
        lacking = table | {name: [None if i % 5 == 0 else value for i, value in enumerate(table[name])]}
        found = genus.impute(model, lacking, seed=0)
        assert found.tables[0].column(name).to_pylist() == table[name]
        assert found.cells == 60
        assert found.reasons == {}
    lacking = table | {name: [None if i % 5 == 0 else v for i, v in enumerate(table[name])] for name in ("city", "country")}
    found = genus.impute(model, lacking, seed=0).tables[0]
    pairs = {*zip(found.column("city").to_pylist(), found.column("country").to_pylist(), strict=True)}
    assert pairs == {("Rome", "IT"), ("Oslo", "NO")}


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


def test_weighted_draws_exclude_the_blank_and_keep_the_proportions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two parts of a proposal draw blanks at different rates; weights that forgot it would favour one of them."""
    monkeypatch.setattr(resampling, "OWN_DRAWS", 2000)
    space = Space([Real(atoms=(math.nan,), unknown=True), Category(("u", "v"))])
    model = make("maf", space, seed=1)  # which draws a blank in every second row
    x = torch.tensor([[0.0, 0.0]]).repeat(4000, 1)
    with torch.no_grad(), genus.ladder.isolated(0):
        filled = model._resampled(x, [0], None, False)
    assert bool(filled.done.all())
    assert not bool(filled.x.isnan().any())
    grid = torch.linspace(-12.0, 12.0, 4001)
    with torch.no_grad():
        share = model.log_prob(torch.stack([grid, torch.zeros_like(grid)], 1)).softmax(0)
    mean = (share * grid).sum().item()
    assert filled.x[:, 0].mean().item() == pytest.approx(mean, abs=0.08)
    assert filled.x[:, 0].var().item() == pytest.approx((share * (grid - mean).square()).sum().item(), rel=0.12)


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


@pytest.mark.parametrize("family", ["maf", "vae"])
def test_rows_that_a_condition_leaves_out_cost_no_blanks_and_few_passes(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of draws without conditions the blanks are drawn where the row may be kept, by as many draws at once as should do."""
    blank = Category(("a", "b", None), unknown=True)
    space = Space([Category(tuple("klmnopqrstuvwxyz")), blank, Lattice(0, 300), blank], names=["level", "hole", "x", "hat"])
    model = make(family, space)
    passes, filled = list[int](), list[torch.Tensor]()
    own, checked = type(model)._without_blanks, type(model)._checked_draw

    def draw(self: Any, c: Any, blanks: bool, index: torch.Tensor, *more: Any) -> torch.Tensor:
        passes.append(len(index))
        return checked(self, c, blanks, index, *more)

    def without(self: Any, x: torch.Tensor, c: Any) -> torch.Tensor:
        filled.append(x)
        return own(self, x, c)

    monkeypatch.setattr(type(model), "_without_blanks", without)
    monkeypatch.setattr(type(model), "_checked_draw", draw)
    drawn = model.sample(100, seed=0, where={"level": "k"})
    assert sum(passes) > 1000
    assert len(passes) < 40  # 80 and more by 256 or fewer at once
    assert drawn[:, 0].tolist() == [0.0] * 100
    assert not space.unknown_blanks(drawn).any()
    for rows in filled if family == "maf" else []:
        assert (rows[:, 0] == 0).all()


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


@pytest.mark.parametrize("family", ["mixture", "made", "vae"])
def test_a_column_given_the_others_is_the_ratio_of_joint_densities(family: str) -> None:
    space = Space([Real(1.0, 2.0), Category(("a", "b", None), unknown=True), Lattice(0, 3)])
    model = make(family, space)
    x = torch.tensor([[0.5, 0.0, 2.0], [3.0, 1.0, 0.0]])
    found = column_given(model, x, None, 1)
    rows = x.repeat_interleave(2, 0)
    rows[:, 1] = torch.tensor([0.0, 1.0, 0.0, 1.0])
    if family != "vae":
        expected = model.log_prob(rows).view(2, 2).log_softmax(1)
        assert torch.allclose(found.log_share, expected.double(), atol=1e-5)
        assert torch.allclose(found.log_density, expected.double().gather(1, x[:, 1:2].long())[:, 0], atol=1e-5)
    assert found.values.tolist() == [0.0, 1.0]  # a blank that stands for an unknown value is not predicted
    assert found.label == ("estimate" if family == "vae" else "exact")


def test_a_number_given_the_others_has_the_moments_of_the_conditional() -> None:
    factor = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    with genus.ladder.isolated(0):
        x = torch.randn(2000, 2) @ factor.T
    model = genus.build("mixture", Space([Real(), Real()]), components=1, covariance="full", shrinkage=1.0, pool=1.0)
    genus.fit(model, x, seed=0, progress=False)
    found = column_given(model, torch.tensor([[1.0, 0.0], [-1.0, 0.8]]), None, 1)
    assert found.mean.tolist() == pytest.approx([0.8, -0.8], abs=0.08)
    low, high = (found.values[found.quantile(q)] for q in (0.05, 0.95))
    assert (high - low).tolist() == pytest.approx([1.97, 1.97], rel=0.12)
    # log N(0.8; -0.8, 0.6): the second value lies 2.7 standard deviations off
    assert found.log_density[1].item() == pytest.approx(
        -0.5 * (1.6 / 0.6) ** 2 - math.log(0.6 * math.sqrt(2 * math.pi)), abs=0.5
    )
    odd = genus.explain(model, {"x0": [1.0, -1.0], "x1": [0.8, 2.5]})
    assert odd.surprise[1].min() > 4 > odd.surprise[0].max()


def test_a_number_whose_values_repeat_is_predicted_by_the_mean_of_its_draws() -> None:
    """As Adult's weights do: a point that hits such a value is no measure of its neighbourhood."""
    random, n = np.random.default_rng(0), 4000
    group = random.integers(0, 2, n)
    number, often = np.exp(random.normal(11 + 0.5 * group, 0.5)).round(), np.exp(random.normal(11.25, 0.55, 600)).round()
    near = np.abs(number[:, None] - often).argmin(1)
    number = np.where(random.random(n) < 0.6, often[near], number).astype(int)
    data = genus.read({"number": number.tolist(), "group": np.array(["a", "b"])[group].tolist()})
    model = genus.build("trees", data.space, order=[0, 1])
    genus.fit(model, data, seed=0, progress=False)
    x = model.sample(10_000, seed=3).double()
    drawn = [x[x[:, 1] == k, 0].mean().item() for k in (0, 1)]
    assert genus.predict(model, {"group": ["a", "b"]}, "number").value.tolist() == pytest.approx(drawn, rel=0.03)
    found = column_given(model, data.x[:300], None, 0)
    exact = model.log_prob(data.x[:300]) - model.log_marginal(data.x[:300, 1:], [1])
    assert found.log_density.mean().item() == pytest.approx(exact.mean().item(), abs=0.1)


def test_columns_are_predicted_whatever_else_is_blank(fitted: genus.GenerativeModel) -> None:
    table = people(40, seed=3)
    found = genus.predict(fitted, {name: table[name] for name in ("mileage", "age", "town")}, "car")
    known = np.array([m is not None for m in table["mileage"]])
    assert found.label == "exact"
    assert [*found.probabilities] == ["no", "yes"]
    assert np.allclose(sum(found.probabilities.values()), 1)
    assert ((found.value == "yes") == known).mean() > 0.9
    ages = genus.predict(fitted, table, "age", level=0.8)
    assert ages.low is not None
    assert ages.high is not None
    assert bool((ages.low <= ages.value).all())
    assert bool((ages.value <= ages.high).all())
    # A column that the file lacks is no blank, which would mean that there is no car.
    assert genus.predict(fitted, {"town": ["Bern"] * 2, "age": [20, 60]}, "car").probabilities["no"].max() < 0.8
    odd = genus.predict(fitted, {"town": ["Genf"], "age": [20]}, "car")
    assert list(odd.reasons.values()) == [1]
    for wrong, match in (("hat", "no column 'hat'"), ("car", "between 0 and 1")):
        with pytest.raises(GenusError, match=match):
            genus.predict(fitted, table, wrong, level=2.0 if wrong == "car" else 0.9)
    with pytest.raises(GenusError, match="no density"):
        genus.predict(make("wgan-gp", Space([Real(), Real()])), {"x0": [1.0, 2.0], "x1": [1.0, 2.0]}, "x1")


def test_a_row_is_explained_by_the_column_that_contradicts_the_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kind, size = rng.choice(["cat", "horse"], 400), rng.normal(0, 0.05, 400)
    table = {"kind": kind.tolist(), "size": (np.where(kind == "cat", 0.3, 1.6) + size).round(3).tolist(), "x": size.tolist()}
    data = genus.read(table, relations=False)
    model = genus.build("mixture", data.space, components=4)
    genus.fit(model, data, seed=0, progress=False)
    odd = genus.explain(model, {"kind": ["cat", "cat"], "size": [0.31, 1.61], "x": [0.01, 0.01]})
    assert odd.first[1] in ("kind", "size")
    assert odd.surprise[1].max() > 5 > odd.surprise[0].max()
    genus.save(model, tmp_path / "m.genus")
    (tmp_path / "odd.csv").write_text("kind,size,x\ncat,0.31,0.01\ncow,0.31,0.01\ncat,1.61,0.01\n")
    done = run("score", tmp_path / "m.genus", tmp_path / "odd.csv", "--explain")
    rows = list(csv.DictReader(done.out.splitlines()))
    assert done.code == 0
    assert rows[1]["log_density_exact"] == "-inf"
    assert rows[1]["reason"] == "no place for its value of column 'kind'"
    assert rows[1]["odd_column"] == "kind"
    assert rows[2]["odd_column"] in ("kind", "size")
    alone = run("score", tmp_path / "m.genus", tmp_path / "odd.csv", "--columns", "size", "--json")
    assert json.loads(alone.out)["impossible"] == 0  # the odd kind is left out
    given = run("score", tmp_path / "m.genus", tmp_path / "odd.csv", "--columns", "size", "--given-rest", "--json")
    assert json.loads(given.out)["log_density"][2] < json.loads(given.out)["log_density"][0] - 3
    run("score", tmp_path / "m.genus", tmp_path / "odd.csv", "--columns", "hat").refused(2, "no column 'hat'")
    run("score", tmp_path / "m.genus", tmp_path / "odd.csv", "--given-rest").refused(2, "name them")
    told = run("predict", tmp_path / "m.genus", tmp_path / "odd.csv", "--column", "kind", "--probabilities")
    first = next(csv.DictReader(told.out.splitlines()))
    assert first["kind predicted"] == "cat"
    assert float(first["kind=cat"]) > 0.9


def test_a_threshold_raises_no_more_false_alarms_than_it_is_asked_for(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3000, 2, generator=generator, dtype=torch.float64)
    space = Space([Real(), Real()], names=["a", "b"])
    model = genus.build("mixture", space, components=1, covariance="full", shrinkage=1.0, pool=1.0)
    genus.fit(model, x[:1000], validation=x[1000:2000], seed=0, progress=False)
    genus.save(model, tmp_path / "m.genus")
    held = genus.load(tmp_path / "m.genus").held_out
    assert held == model.held_out
    assert len(held.log_density) == 1000
    limit = held.threshold(0.05)
    assert (model.log_prob(x[2000:]) < limit).double().mean().item() == pytest.approx(0.05, abs=0.02)
    assert "Nothing says" in held.compared(model.log_prob(x[2000:]).tolist())
    assert "are less likely" in held.compared(model.log_prob(x[2000:] + 1.0).tolist())
    with pytest.raises(GenusError, match=r"asks for 9,999 held-out rows.* with 1,000"):
        held.threshold(1e-4)
    for wrong in ([2.0, 1.0], [math.inf], "1", [True], [], [0.0] * 1001):
        with pytest.raises(DataError, match="ascending"):
            HeldOut.from_json(wrong)
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b\n0.1,0.2\n9.5,0.1\n")
    told = json.loads(run("score", tmp_path / "m.genus", rows, "--false-alarms", ".01", "--json").out)
    assert told["odd"] == [False, True]
    assert told["threshold"] == held.threshold(0.01)


def test_trees_ask_first_whether_a_value_is_known() -> None:
    for kind in UNKNOWN.kinds[:2]:
        leaves = ColumnLeaves(Space([kind]), 8)
        assert leaves.nodes[0].tolist() == [0, leaves.count - 1, leaves.count]
        assert leaves.blank == leaves.count - 1
        seen = leaves.locate(torch.tensor([[2.0 if isinstance(kind, Category) else math.nan]])).leaf
        assert seen.tolist() == [leaves.blank]


@pytest.mark.parametrize("family", ["mixture", "gaussian-copula", "stack", "trees"])
def test_draws_of_one_fill_are_those_of_many(family: str) -> None:
    """What a row's known values say is worked out once; each draw is the one that its seed gives alone."""
    rows = [[i % 7 + 0.5, i % 7 * 1.25 + 0.125 * (i % 3), "ab"[i % 2]] for i in range(60)]
    table = {name: [row[j] if (i + j) % 5 else None for i, row in enumerate(rows)] for j, name in enumerate("xyz")}
    data = genus.read(table)
    hyper = {"members": ["mixture", "gaussian-copula"], "folds": 1} if family == "stack" else {}
    model = genus.build(family, data.space, **hyper)
    genus.fit(model, data, seed=0, max_seconds=4, progress=False)
    many = genus.impute(model, table, times=3, seed=5)
    assert many.tables[0].equals(genus.impute(model, table, seed=5).tables[0])
    assert not many.tables[0].equals(many.tables[1])


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("mixture", {}),
        ("naive-bayes", {}),
        ("trees", {"orders": 2, "rounds": 20}),
        ("stack", {"members": ["naive-bayes", {"class": "trees", "rounds": 5}]}),
    ],
)
def test_densities_of_many_values_are_those_of_each(family: str, options: dict[str, Any]) -> None:
    """Families whose columns are factors of a state, and trees, look at other columns once, and say the same value by value."""
    data = genus.read("wine", relations=False)
    model = genus.build(family, data.space, **options)
    genus.fit(model, data, seed=0, max_seconds=5, progress=False)
    for i in (0, 9, 12, 13):  # a lattice, a real, a wide lattice, a category
        values = data.x[:7, i].unique()
        found = model.log_values(data.x[:20], i, values)
        for k, value in enumerate(values):
            moved = data.x[:20].index_fill(1, torch.tensor([i]), float(value))
            assert torch.allclose(found[:, k], model.log_prob(moved).to(found), atol=1e-8)


def test_a_frame_of_cells_as_a_file_has_them_is_filled_as_the_file_and_in_its_spelling(tmp_path: Path) -> None:
    """What pandas reads of `age, work` with blanks after commas and question marks for blanks."""
    work = [" Private", " ?", " State", " Private", " State"] * 40
    age = [30.0 + 2 * (one == " State") + i % 7 for i, one in enumerate(work)]
    path = tmp_path / "people.csv"
    path.write_text("work,age\n" + "\n".join(f"{one[1:]}, {number}" for one, number in zip(work, age, strict=True)) + "\n")
    data = genus.read(path)
    model = genus.build("naive-bayes", data.space, seed=0)
    genus.fit(model, data, progress=False)
    filled = genus.impute(model, {"work": work, "age": age}, seed=0)
    assert filled.cells == 40
    assert set(filled.tables[0].column("work").to_pylist()) == {" Private", " State"}
    again = genus.impute(model, genus.read(path), seed=0)
    assert again.cells == 40
    assert set(again.tables[0].column("work").to_pylist()) == {"Private", "State"}
    notes = [str(note) for note in genus.read({"work": work, "age": age}).notes]
    assert "column 'work' holds ' ?' in 40 rows, a level like others in a frame; missing=[' ?'] takes it for missing" in notes


def test_what_is_no_dictionary_of_conditions_is_a_sentence() -> None:
    data = genus.read({"a": [1.5, 2.25, 3.125, 4.75] * 9, "b": ["x", "x", "y", "y"] * 9})
    model = genus.build("naive-bayes", data.space, seed=0)
    genus.fit(model, data, progress=False)
    with pytest.raises(genus.DataError, match="where= is a dictionary of columns and what they are to hold"):
        model.sample(3, where="b=x")
