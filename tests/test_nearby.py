"""Contexts drawn as often as in training, rows with stated shares of levels, rows near a row."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import run

import genus
from genus import DataError, GenusError
from genus.ladder import Contexts


def customers(rows: int = 900, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 70, rows)
    plan = np.where(age < 30, "young", np.where(age < 55, "standard", "senior"))
    return {
        "age": age.tolist(),
        "plan": plan.tolist(),
        "colour": rng.choice(["red", "blue"], rows).tolist(),
        "paid": np.round(10 + 0.5 * age + rng.normal(0, 2, rows), 2).tolist(),
    }


@pytest.fixture(scope="module")
def joint() -> genus.GenerativeModel:
    data = genus.read(customers(), relations=False)
    model = genus.build("mixture", data.space, components=8, covariance="full", shrinkage=3.0, pool=2.0)
    genus.fit(model, data, seed=0, progress=False)
    return model


@pytest.fixture(scope="module")
def conditional() -> genus.GenerativeModel:
    data = genus.read(customers(), relations=False, context=["plan", "colour"])
    model = genus.build("mixture", data.space, data.context, components=3)
    genus.fit(model, data, seed=0, progress=False)
    return model


def test_a_conditional_model_draws_contexts_as_often_as_training_had_them(conditional: Any, tmp_path: Path) -> None:
    genus.save(conditional, tmp_path / "m.genus")
    loaded = genus.load(tmp_path / "m.genus")
    c = loaded.sample_context(4000, seed=0)
    assert torch.equal(c, conditional.sample_context(4000, seed=0))
    table = customers()
    plans = conditional.context.kinds[0].levels
    shares = Counter(table["plan"])
    for k, plan in enumerate(plans):
        assert (c[:, 0] == k).double().mean().item() == pytest.approx(shares[plan] / 900, abs=0.03)
    drawn = loaded.sample(2000, seed=1)
    assert drawn[:, 1].mean().item() == pytest.approx(np.mean(table["paid"]), abs=1.0)
    only = loaded.sample_context(50, {"plan": plans.index("senior")}, seed=0)
    assert (only[:, 0] == plans.index("senior")).all()
    assert len(only[:, 1].unique()) == 2


def test_contexts_of_many_values_are_a_sample_and_foreign_ones_are_refused() -> None:
    kept = Contexts.of(torch.randn(5000, 2))
    assert kept is not None
    assert kept.rows.shape == (1000, 2)
    space = genus.Space([genus.Category(("a", "b", None))])
    found = Contexts.of(torch.tensor([[0.0], [2.0], [2.0]]))
    assert found is not None
    back = Contexts.from_json(json.loads(json.dumps(found.to_json())), space)
    assert back is not None
    assert torch.equal(back.rows, found.rows)
    with pytest.raises(DataError):
        Contexts.from_json({"rows": [[7.0]], "counts": [1.0]}, space)
    with pytest.raises(DataError, match="how often"):
        Contexts.from_json({"rows": [[0.0]], "counts": [-1.0]}, space)
    untrained = genus.build("made", space, genus.Space([genus.Real()], names=["c"]))
    with pytest.raises(DataError, match="pass c"):
        untrained.sample(3)


def test_the_command_draws_the_context_that_is_not_given(conditional: Any, tmp_path: Path) -> None:
    genus.save(conditional, tmp_path / "m.genus")
    rows = json.loads(run("sample", tmp_path / "m.genus", "-n", 300, "--seed", 1, "--json").out)
    assert {row["plan"] for row in rows} == {"young", "standard", "senior"}
    assert all(row["paid"] < 36 for row in rows if row["plan"] == "young")
    rows = json.loads(run("sample", tmp_path / "m.genus", "-n", 40, "--seed", 1, "--context", "plan=young", "--json").out)
    assert {row["plan"] for row in rows} == {"young"}
    assert {row["colour"] for row in rows} == {"red", "blue"}


def test_each_level_has_its_share(joint: Any, conditional: Any, tmp_path: Path) -> None:
    plans = Counter(genus.rebalance(joint, 100, "plan", {"senior": 0.5}, seed=0).column("plan").to_pylist())
    assert plans == {"senior": 50, "young": 25, "standard": 25}
    assert Counter(genus.rebalance(joint, 90, "plan", seed=0).column("plan").to_pylist()) == dict.fromkeys(plans, 30)
    table = genus.rebalance(conditional, 100, "plan", {"young": 1.0}, seed=0)
    assert set(table.column("plan").to_pylist()) == {"young"}
    assert sum(age >= 36 for age in table.column("age").to_pylist()) <= 4  # every age has some probability
    for wrong, match in (({"old": 0.5}, "no level"), ({"young": 0.7, "senior": 0.7}, "add up"), ({"young": -1.0}, "between")):
        with pytest.raises(DataError, match=match):
            genus.rebalance(joint, 10, "plan", wrong)
    with pytest.raises(DataError, match="more than 256"):
        genus.rebalance(joint, 10, "paid")
    genus.save(joint, tmp_path / "m.genus")
    word = ("sample", tmp_path / "m.genus", "-n", 50, "--seed", 3, "--rebalance", "plan")
    done = run(*word, "--share", "young=0.8", "--json")
    assert Counter(row["plan"] for row in json.loads(done.out))["young"] == 40
    run(*word, "--where", "age=30").refused(2, "--rebalance")
    run(*word, "--share", "young").refused(2, "LEVEL=SHARE")


def test_only_what_has_to_change_does(joint: Any) -> None:
    row = {"age": 24, "plan": "young", "colour": "red", "paid": 22.5}
    near = genus.counterfactuals(joint, row, {"age": 62}, n=3, seed=0)
    rows = near.table.to_pylist()
    assert all(one["age"] == 62 and one["plan"] == "senior" and one["colour"] == "red" for one in rows)
    assert all("colour" not in changed and "age" not in changed for changed in near.changed)
    assert near.usual is not None
    assert min(near.log_density) >= near.usual
    same = genus.counterfactuals(joint, row, {"colour": "blue"}, seed=0)
    assert same.table.to_pylist() == [{**row, "colour": "blue"}]
    assert same.changed == [()]
    with pytest.raises(DataError, match="no column 'hat'"):
        genus.counterfactuals(joint, row, {"hat": 1})
    with pytest.raises(DataError, match="no value that the model knows"):
        genus.counterfactuals(joint, {**row, "plan": "gold"}, {"age": 30})
    with pytest.raises(DataError, match="names no column"):
        genus.counterfactuals(joint, row, {})


def test_a_change_is_likely_given_the_rest_too() -> None:
    """A setosa's petals are denser than any virginica is, and no virginica has them: the density alone would keep them."""
    data = genus.read("iris")
    model = genus.build("mixture", data.space, components=6, covariance="full", shrinkage=3.0, pool=2.0, seed=0)
    genus.fit(model, data, seed=0, progress=False)
    row = {name: values[0] for name, values in data.frame().to_pydict().items()}
    near = genus.counterfactuals(model, row, {"species": "virginica"}, n=3, seed=0).table
    assert min(near.column("petal length (cm)").to_pylist()) > 4
    assert min(near.column("petal width (cm)").to_pylist()) > 1


def test_relations_hold_in_rows_near_a_row() -> None:
    rng = np.random.default_rng(0)
    start = rng.integers(0, 100, 500)
    length = 1 + rng.poisson(4, 500)
    table = {"start": start.tolist(), "end": (start + length).tolist(), "long": np.where(length > 5, "yes", "no").tolist()}
    data = genus.read(table, constraints=["start < end"])
    assert data.codec is not None
    assert data.codec.replaced("end")
    model = genus.build("chow-liu", data.space)
    genus.fit(model, data, seed=0, progress=False)
    near = genus.counterfactuals(model, {"start": 10, "end": 12, "long": "no"}, {"end": 19}, seed=0)
    assert near.table.to_pylist()[0] == {"start": 10, "end": 19, "long": "yes"}
    with pytest.raises(DataError, match="breaks a relation"):
        genus.counterfactuals(model, {"start": 10, "end": 12, "long": "no"}, {"end": 5})


def test_rows_on_the_way_to_another(joint: Any) -> None:
    first, last = (
        {"age": 24, "plan": "young", "colour": "red", "paid": 22.5},
        {"age": 64, "plan": "senior", "colour": "red", "paid": 42.0},
    )
    way = genus.interpolate(joint, first, last, steps=5).table.to_pylist()
    assert way[0] == first
    assert way[-1] == last
    assert [row["age"] for row in way] == sorted(row["age"] for row in way)
    assert all(row["colour"] == "red" for row in way)
    plans = [row["plan"] for row in way]  # the levels between; at 54 the next one is near
    assert plans[:3] == ["young", "standard", "standard"]
    assert plans[3] in ("standard", "senior")
    with pytest.raises(GenusError, match="2 or more"):
        genus.interpolate(joint, first, last, steps=1)
