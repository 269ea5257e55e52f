"""The sums of a space, which trees see beside its columns: what a gap and the column below it stand for."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

import genus
from genus import Category, Lattice, ModelFileError, Real, Space, Trees
from genus.files import read_tensors, write_tensors
from genus.laws import models as laws, sequences
from genus.models.trees import TreeChain

GAP = {"low": 1.0, "gap": 1.0}
FEW = Space([Lattice(0, 4), Lattice(0, 3), Category(("a", "b"))], names=["low", "gap", "level"], sums=[GAP])
REALS = [Real(0.5, 0.3), Real(0.5, 0.3, atoms=(math.nan,)), Category(("a", "b"))]


def rows(space: Space, n: int, seed: int = 0) -> Tensor:
    """Rows whose level says on which side of a number the sum of the first two columns is, mostly."""
    random = torch.Generator().manual_seed(seed)
    sizes = [kind.size if isinstance(kind, Lattice) else 0 for kind in space.kinds[:2]]
    parts = [torch.randint(s, (n,), generator=random) if s else torch.rand(n, generator=random) for s in sizes]
    total = sum(part.double() for part in parts)
    level = (total > (3 if sizes[0] else 1)) ^ (torch.rand(n, generator=random) < 0.05)
    return torch.stack([*(part.double() for part in parts), level.double()], dim=1)


@pytest.fixture(scope="module")
def few() -> Trees:
    model = Trees(FEW, order=[0, 1, 2])
    model.learn((rows(FEW, 3000), None), None, lambda: math.inf, seed=0)
    return model


def test_the_density_is_still_the_chain_rule(few: Trees) -> None:
    asked = few.forest.feature[few.forest.threshold < 255]
    assert bool((asked == 3).any())  # the sum
    x = rows(FEW, 40, seed=1)
    assert laws.mass_is_one(few, x, None, tolerance=1e-9)
    sequences.conditionals_see_the_past_alone(few, x, None)
    sequences.steps_are_the_parallel_pass(few, x, None)
    laws.frequencies_are_probabilities(few, x, None)
    laws.files_keep_the_model(few, x, None)


def test_every_order_sees_a_sum_when_its_last_column_is_known() -> None:
    torch.manual_seed(0)
    model = Trees(FEW, order=[2, 1, 0], orders=3)
    assert [model._known_at(k)[3] for k in range(3)] == [max(order.index(0), order.index(1)) for order in model.orders.tolist()]
    model.learn((rows(FEW, 1000), None), None, lambda: math.inf, seed=0)
    assert laws.mass_is_one(model, rows(FEW, 5), None, tolerance=1e-9)


def test_bytes_of_what_is_drawn_are_those_of_the_rows(few: Trees) -> None:
    chain, x = TreeChain(few, 0), rows(FEW, 200)
    seen, before = chain.see(x, None), x.clone()
    for i in (0, 1):
        chain.draw_column(i, seen, x)
        assert np.array_equal(seen, chain.see(x, None))
    assert not torch.equal(x, before)


def test_what_depends_on_a_sum_is_learned_better() -> None:
    found = []
    for sums in ([], [GAP]):
        space = Space(REALS, names=FEW.names, sums=sums)
        model = Trees(space, order=[0, 1, 2])
        x = rows(space, 1500)
        x[::10, 1] = math.nan  # a blank, of which the sum is a blank
        model.learn((x, None), None, lambda: math.inf, seed=0)
        found.append(float(model.log_conditionals(rows(space, 4000, seed=1))[:, 2].mean()))
    assert found[0] + 0.02 < found[1] < -0.19  # 0.199 nats is what the twentieth that is on the other side takes
    assert int(model.codes(torch.tensor([[0.5, math.nan, 0.0]]))[3, 0]) == 0


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_file_whose_trees_ask_for_a_sum_too_early_is_refused(few: Trees, position: int, tmp_path: Path) -> None:
    genus.save(few, tmp_path / "m.genus")
    tensors, header = read_tensors(tmp_path / "m.genus")
    own = few._starts[position]  # the first question of a column; the sum is known once both others are
    tensors["forest.first"][: own + 1] = 0
    tensors["forest.first"][own + 1 :] = len(tensors["forest.feature"])
    tensors["forest.feature"][:], tensors["forest.threshold"][:] = 3, 2
    write_tensors(tmp_path / "m.genus", tensors, header)
    if position == 2:
        genus.load(tmp_path / "m.genus")
        return
    with pytest.raises(ModelFileError, match="later in the order"):
        genus.load(tmp_path / "m.genus")


def test_spaces_keep_their_sums_and_refuse_others() -> None:
    assert Space.from_json(FEW.to_json()) == FEW
    assert Space.from_json(FEW.to_json()).sums == ({"low": 1.0, "gap": 1.0},)
    assert Space(FEW.kinds, names=FEW.names) != FEW
    assert "sums" not in Space(FEW.kinds, names=FEW.names).to_json()
    assert FEW.select([1, 0]).sums == FEW.sums
    assert FEW.select([1, 2]).sums == ()
    for wrong in ({"low": 1.0}, {"low": 1.0, "level": 1.0}, {"low": 1.0, "none": 1.0}, ["low", "gap"]):
        with pytest.raises(genus.DataError, match="two or more columns of numbers"):
            Space(FEW.kinds, names=FEW.names, sums=[wrong])  # type: ignore[list-item]
    for factor in (0.0, math.inf, "1"):
        with pytest.raises(genus.DataError, match="finite factor"):
            Space(FEW.kinds, names=FEW.names, sums=[{"low": 1.0, "gap": factor}])  # type: ignore[dict-item]


def table(n: int = 400) -> pd.DataFrame:
    """Columns that are never below others, one of them through two gaps, and times whose gaps are days."""
    random = np.random.default_rng(0)
    low = random.gamma(2.0, 1.0, n).round(2)
    mid = (low + random.exponential(1.0, n).round(2)).round(2)
    start = pd.Timestamp("2024-01-01 09:00") + pd.to_timedelta(random.integers(0, 90 * 24, n), unit="h")
    return pd.DataFrame(
        {
            "low": low,
            "mid": mid,
            "high": (mid + random.exponential(2.0, n).round(2)).round(2),
            "start": start,
            "end": start + pd.to_timedelta(random.poisson(3.0, n), unit="D"),
        }
    )


GAPS = {
    None: {
        "mid": {"low": 1, "mid - low": 1},
        "high": {"low": 1, "mid - low": 1, "high - mid": 1},
        "end": {"start": 1, "end - start": 86_400},  # days, from a time in seconds
    },
    "high": {
        "mid": {"high": 1, "high - mid": -1},
        "low": {"high": 1, "high - mid": -1, "mid - low": -1},
        "end": {"start": 1, "end - start": 86_400},
    },
}


@pytest.mark.parametrize("target", [None, "high"])
def test_what_gaps_replace_is_a_sum_of_the_columns_that_are_read(target: str | None) -> None:
    frame = table()
    data = genus.read(frame, target=target)
    sums = GAPS[target]
    assert sorted(map(str, data.space.sums)) == sorted(str({n: float(f) for n, f in one.items()}) for one in sums.values())
    for name, one in sums.items():
        total = sum(factor * data.x[:, data.space.index(column)].double() for column, factor in one.items()).numpy()
        wanted = (frame[name] - frame["start"].min()).dt.total_seconds() if name == "end" else frame[name]
        assert np.allclose(total, wanted, atol=1e-4)
    assert genus.read(frame, space=data.codec).space.sums == data.space.sums
    assert data.charted_on(data.rows(slice(0, 200))).space.sums == data.space.sums
    assert not genus.read(frame, relations=False).space.sums


def test_what_is_above_several_or_in_months_is_no_sum() -> None:
    random = np.random.default_rng(0)
    a, b = random.integers(0, 50, (2, 400))
    first = [pd.Timestamp("2020-01-01") + pd.DateOffset(months=int(m)) for m in random.integers(0, 24, 400)]
    last = [one + pd.DateOffset(months=int(m)) for one, m in zip(first, random.poisson(2, 400), strict=True)]
    frame = pd.DataFrame({"a": a, "b": b, "most": np.maximum(a, b) + random.poisson(1, 400), "first": first, "last": last})
    data = genus.read(frame, constraints=["a <= most", "b <= most", "first <= last"])
    assert {"most", "last"}.isdisjoint(data.space.names or ())
    assert data.space.sums == ()
