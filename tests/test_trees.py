"""Boosted trees: what is learned, what a file may hold, any columns given the others, time."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SPACES, draw, make, refused_once_changed
from torch import Tensor

import genus
from genus import Category, Lattice, Real, Space, Trees
from genus.models.boosting import Turns
from genus.models.particles import run, run_until, systematic_resampling
from genus.random import isolated, rng
from genus.training import TrainingInterrupted

PAIR = Space([Real(), Real()], names=["a", "b"])


def related(n: int, seed: int = 0) -> Tensor:
    """Two reals, the second near minus the first."""
    z = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return torch.stack([z[:, 0], 0.4 * z[:, 1] - z[:, 0]], dim=1)


@pytest.fixture(scope="module")
def fitted() -> Trees:
    model = Trees(PAIR)
    genus.fit(model, related(4000), progress=False)
    return model


def test_trees_learn_a_relation_and_smooth_their_bins(fitted: Trees) -> None:
    x = related(2000, seed=1).double()
    exact = -0.5 * (x[:, 0] ** 2 + ((x[:, 1] + x[:, 0]) / 0.4) ** 2) - math.log(2 * math.pi * 0.4)
    assert float(exact.mean() - fitted.log_prob(x).mean()) < 0.15  # of 0.92 that independent columns would lose
    assert float(fitted.leaves[0].smooth) > 0  # type: ignore[arg-type]
    drawn = fitted.sample(4000, seed=0)
    assert float(torch.corrcoef(drawn.T)[0, 1]) == pytest.approx(-(1 / 1.16**0.5), abs=0.06)


def test_trees_of_one_level_learn_too() -> None:
    model = Trees(PAIR, depth=1, rounds=20)
    genus.fit(model, related(800), progress=False)
    x = related(400, seed=1)
    assert float(model.log_prob(x).mean()) > float(model.log_prob(x * torch.tensor([1.0, -1.0])).mean())


def test_missing_values_and_levels_are_branches() -> None:
    """What is missing, or which of many levels it is, says what follows."""
    space = Space([Real(atoms=(math.nan,)), Category(tuple("abcdefgh")), Category((0, 1))])
    x = draw(space, 4000)
    x[:, 2] = (x[:, 0].isnan() | (x[:, 1] % 3 == 1)).float()
    model = Trees(space, order=[0, 1, 2])
    genus.fit(model, x, progress=False)
    assert float(model.log_conditionals(x)[:, 2].mean()) > -0.05


def test_a_short_time_still_gives_a_model_and_ctrl_c_too() -> None:
    space = Space([Lattice(0, 60)] * 12)
    x = draw(space, 6000)
    model = Trees(space)
    history = genus.fit(model, x, max_seconds=1.0, progress=False)
    assert history.stopped in ("max_seconds", "early stopping")
    assert history.seconds < 4  # of a busy machine
    model.learn((x, None), None, lambda: 0.0, seed=0)  # as after Ctrl-C
    assert not len(model.forest.feature)
    assert model.log_prob(x[:50]).isfinite().all()


def test_several_orders_are_averaged_as_probabilities() -> None:
    space = SPACES["mixed"]
    model, x = make("trees", space), draw(space, 30).double()
    assert model.orders.tolist() == [model.order]  # type: ignore[union-attr]
    torch.manual_seed(1)
    many = Trees(space, orders=3, rounds=5)
    many.learn((draw(space, 400), None), None, lambda: math.inf, seed=0)
    each = torch.stack([many.log_conditionals(x, order=k).sum(1) for k in range(3)])
    assert torch.allclose(many.log_prob(x), each.logsumexp(0) - math.log(3))
    assert not torch.allclose(each[0], each[1])
    with pytest.raises(genus.GenusError, match="3"):
        many.sample(2, prefix=torch.tensor([1.0]))
    with pytest.raises(genus.GenusError, match="from 0 to 2"):
        many.log_conditionals(x, order=3)


def test_any_columns_are_drawn_and_left_out(fitted: Trees) -> None:
    """The first column given the second, and the second alone, against sums over a grid of the first."""
    value, grid = 0.7, torch.linspace(-5, 5, 2001, dtype=torch.float64)
    joint = fitted.log_prob(torch.stack([grid, torch.full_like(grid, value)], dim=1)).exp()
    mass = float(joint.sum() * (grid[1] - grid[0]))
    found = fitted.log_marginal(torch.full((100, 1), value), [1]).exp()  # each is an estimate of its own
    assert float(found.mean()) == pytest.approx(mass, rel=0.06)
    x = torch.tensor([[math.nan, value]]).repeat(600, 1)
    drawn = fitted.impute(x, seed=0)[:, 0]
    mean = float((joint * grid).sum() / joint.sum())
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.07)
    assert torch.equal(fitted.impute(x, seed=0)[:, 0], drawn)
    sizes = fitted.effective_size(torch.tensor([[math.nan, 0.0], [math.nan, 3.5], [0.0, math.nan], [0.0, 0.0]]))
    assert sizes[2:].tolist() == [math.inf, math.inf]
    assert sizes[:2].isfinite().all()
    assert float(sizes[1]) > 1  # more particles, since few of the first reach a value that is hardly expected


class Walk:
    """A chain of sums of standard normals, whose marginals are known: the mean of column i is the value of column i - 1."""

    order = range(6)

    def see(self, x: Tensor, c: Tensor | None) -> np.ndarray:
        return np.zeros((1, len(x)))

    def log_column(self, i: int, seen: np.ndarray, x: Tensor) -> np.ndarray:
        before = x[:, i - 1] if i else torch.zeros(len(x), dtype=x.dtype)
        return (-0.5 * (x[:, i] - before) ** 2 - 0.5 * math.log(2 * math.pi)).numpy()

    def draw_column(self, i: int, seen: np.ndarray, x: Tensor) -> None:
        before = x[:, i - 1] if i else torch.zeros(len(x), dtype=x.dtype)
        x[:, i] = before + torch.randn(len(x), dtype=x.dtype, generator=rng())


def test_particles_estimate_a_density_without_bias_and_say_what_they_are_worth() -> None:
    x = torch.tensor([[0.0, 1.0, 0.0, 2.0, 0.0, 1.0]], dtype=torch.float64)
    exact = torch.distributions.MultivariateNormal(
        torch.zeros(3, dtype=torch.float64), torch.tensor([[2.0, 2, 2], [2, 4, 4], [2, 4, 6]], dtype=torch.float64)
    ).log_prob(x[:, 1::2])
    with isolated(0):
        found = run(Walk(), x.repeat(1000, 1), {0, 2, 4}, None, 64)
    ratio = np.exp(found.log_density - float(exact))
    assert ratio.mean() == pytest.approx(1, abs=4 * ratio.std() / 1000**0.5)
    assert ratio.var() == pytest.approx(
        (64 / found.size.mean() - 1) / 64, rel=0.2
    )  # the error that such weights have (Kong 1992)
    weights = np.exp(found.log_weights - found.log_weights.max(0))
    mean = (weights * found.rows[:, :, 4].numpy()).sum(0) / weights.sum(0)
    assert mean.mean() == pytest.approx(1.5, abs=0.03)  # halfway between its neighbours


def test_particles_that_contradict_what_is_known_are_drawn_again() -> None:
    """Without resampling the draws of a long chain are worth next to nothing."""
    x = torch.tensor([[0.0, 1.0, 0.0, 2.0, 0.0, 1.0]], dtype=torch.float64).repeat(200, 1)
    with isolated(0):
        assert run_until(Walk(), x, {0, 2, 4}, None).size.min() > 8
    again = systematic_resampling(np.log(np.array([[0.5, 1e-9], [0.25, 1.0], [0.25, 1e-9], [1e-9, 1e-9]])))
    assert sorted(again[:, 0].tolist()) == [0, 0, 1, 2]
    assert again[:, 1].tolist() == [1, 1, 1, 1]


def piled(n: int, seed: int = 0) -> Tensor:
    """Whole numbers from 0 to 999, a fifth of them 390, and a flag that follows them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(1000, (n,), generator=generator).float()
    x = torch.where(torch.rand(n, generator=generator) < 0.2, 390.0, x)
    return torch.stack([x, (x > 500).float()], dim=1)


def test_values_that_repeat_are_heaps_with_an_exact_mass() -> None:
    space = Space([Lattice(0, 999, atoms=(7.0, math.nan)), Category((0, 1))])
    model = Trees(space, bins=16)
    model.learn((piled(3000), None), None, lambda: math.inf, seed=0)
    assert len(model.leaves[0].heaps) == 1  # type: ignore[arg-type]
    values = torch.cat([torch.arange(1000.0, dtype=torch.float64), torch.tensor([math.nan], dtype=torch.float64)])
    p = model.log_marginal(values[:, None], [0]).exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-9)
    assert float(p[390]) == pytest.approx(0.2, abs=0.03)
    assert float(p[380:400].sum() - p[390]) == pytest.approx(19 * 0.8 / 1000, rel=0.3)
    drawn = model.sample(4000, seed=0)[:, 0]
    assert float((drawn == 390).double().mean()) == pytest.approx(float(p[390]), abs=0.02)
    assert model.log_prob(model.sample(200, seed=1)).isfinite().all()


def test_a_smooth_column_has_no_heaps() -> None:
    space = Space([Lattice(0, 1999), Lattice(0, 10**6)])
    generator = torch.Generator().manual_seed(0)
    x = torch.stack([torch.randint(size, (4000,), generator=generator) for size in (2000, 10**6)], dim=1)
    model = Trees(space, rounds=1)
    model.learn((x.double(), None), None, lambda: math.inf, seed=0)
    assert [len(column.heaps) for column in model.leaves] == [0, 0]  # type: ignore[arg-type, union-attr]


def heaped(column: int, cells: list[int], weights: list[float]) -> Callable[[dict[str, Tensor]], None]:
    """Return what writes these heaps into a file's arrays."""
    return lambda t: t.update(
        {f"leaves.{column}.heaps.cells": torch.tensor(cells), f"leaves.{column}.heaps.weights": torch.tensor(weights).double()}
    )


CRAFTED: dict[str, Callable[[dict[str, Tensor]], None]] = {
    "a feature that does not exist": lambda t: t["forest.feature"].fill_(99),
    "a negative feature": lambda t: t["forest.feature"].fill_(-1),
    "a tree that sees its own column": lambda t: (t["forest.feature"].fill_(3), t["forest.threshold"].fill_(9)),
    "a leaf that is no number": lambda t: t["forest.value"].fill_(math.nan),
    "boosters that overlap": lambda t: t["forest.first"][1].fill_(10**9),
    "a bias too few": lambda t: t.update({"forest.bias": t["forest.bias"][1:].clone()}),
    "trees of another depth": lambda t: t.update({"forest.feature": t["forest.feature"][:, 1:].clone()}),
    "trees of floats": lambda t: t.update({"forest.feature": t["forest.feature"].double()}),
    "questions in a circle": lambda t: t["leaves.3.nodes"][1].copy_(t["leaves.3.nodes"][0]),
    "a question too few": lambda t: t.update({"leaves.3.nodes": t["leaves.3.nodes"][:-1].clone()}),
    "edges that fall": lambda t: t.update({"leaves.3.edges": t["leaves.3.edges"].flip(0)}),
    "edges that are no numbers": lambda t: t["leaves.3.edges"].fill_(math.nan),
    "a tail of no length": lambda t: t["leaves.3.tails"].fill_(0),
    "a leaf with two numbers": lambda t: t["leaves.3.place"].fill_(0),
    "cuts that fall": lambda t: t.update({"codes.cuts": t["codes.cuts"].flip(1)}),
    "levels of one rank": lambda t: t["codes.ranks"].fill_(0),
    "a heap beyond the lattice": heaped(3, [301], [0.1]),
    "a heap below the lattice": heaped(3, [-1], [0.1]),
    "heaps that fall": heaped(3, [9, 5], [0.1, 0.1]),
    "a heap that stands twice": heaped(3, [9, 9], [0.1, 0.1]),
    "a heap that is an atom": heaped(3, [150], [0.1]),
    "heaps that are more than their bin": heaped(3, [8, 9], [0.6, 0.6]),
    "a heap of a negative share": heaped(3, [9], [-0.1]),
    "a heap whose share is no number": heaped(3, [9], [math.nan]),
    "a heap without a share": heaped(3, [8, 9], [0.1]),
    "heaps of reals": heaped(0, [0], [0.1]),
    "heaps of levels": heaped(2, [0], [0.1]),
    "an order that repeats a column": lambda t: t["orders"].fill_(0),
}


@pytest.mark.parametrize("change", CRAFTED.values(), ids=list(CRAFTED))
def test_a_file_that_was_tampered_with_is_refused(change: Callable[[dict[str, Tensor]], None], tmp_path: Path) -> None:
    space = Space([Real(), Lattice(0, 3), Category(("a", "b", "c")), Lattice(0, 300, atoms=(150.0,))])
    model = Trees(space, bins=8)
    model.learn((draw(space, 500), None), None, lambda: math.inf, seed=0)
    refused_once_changed(model, change, tmp_path / "m.genus")


def test_a_file_needs_no_engine(fitted: Trees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genus.save(fitted, tmp_path / "m.genus")
    monkeypatch.setitem(sys.modules, "lightgbm", None)  # importing it is an error
    x = related(10, seed=2)
    assert torch.equal(genus.load(tmp_path / "m.genus").log_prob(x), fitted.log_prob(x))  # type: ignore[attr-defined]


@pytest.mark.parametrize("hyper", [{"orders": 0}, {"depth": 9}, {"bins": 1}, {"rate": 0.0}, {"rounds": 0}])
def test_hyper_parameters_out_of_range_are_refused(hyper: dict[str, float]) -> None:
    with pytest.raises(genus.GenusError, match="or more"):
        Trees(PAIR, **hyper)  # type: ignore[arg-type]


def test_every_order_begins_with_columns_of_few_values() -> None:
    space = Space([Real(), Category(("a", "b")), Real(), Lattice(0, 5), Real(), Category(("c", "d", "e"))])
    model = Trees(space, orders=6)
    assert model.orders[:2].tolist() == [[1, 5, 3, 0, 2, 4], [3, 5, 1, 4, 2, 0]]
    assert all(set(order[:3]) == {1, 3, 5} for order in model.orders.tolist())
    assert len({tuple(order) for order in model.orders.tolist()}) > 1


def test_a_training_that_was_ended_while_it_learned_leaves_nothing_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = genus.read("iris")
    learn = genus.ChowLiu.learn

    def ended(self: genus.ChowLiu, *args: Any) -> None:
        learn(self, *args)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(genus.ChowLiu, "learn", ended)
    with pytest.raises(TrainingInterrupted):
        genus.fit(genus.build("chow-liu", data.space), data, checkpoint=tmp_path / "c", progress=False)
    assert not (tmp_path / "c").exists()  # a resumed training would end at once with what was cut short


def test_few_rows_of_many_whole_numbers_are_pooled_into_bins() -> None:
    """Of 200 rows a value that no row has is as likely as its neighbours say, and draws have the mean of the rows."""
    ages = np.random.default_rng(0).gamma(1.5, 25, 200).round().clip(0, 200)
    data = genus.read({"age": ages, "group": ["a", "b"] * 100})
    model = genus.build("trees", data.space)
    genus.fit(model, data, seed=0, progress=False)
    drawn = model.sample(4000, seed=0)[:, 0]
    assert abs(float(drawn.mean()) - ages.mean()) < 6, (float(drawn.mean()), ages.mean())
    low, high = data.space.kinds[0].low, data.space.kinds[0].high
    grid = torch.cartesian_prod(torch.arange(low, high + 1), torch.tensor([0.0, 1.0]))
    assert float(model.log_prob(grid).exp().sum()) == pytest.approx(1)


def test_a_column_without_blanks_draws_whatever_is_said_of_them() -> None:
    """A kind may say what its blanks would mean, and have none: nothing is to be left out of its draws."""
    space = Space([Category(("a", "b", "c"), unknown=True), Real(atoms=(math.nan,), unknown=True)])
    x = draw(space, 300).double()
    model = Trees(space)
    genus.fit(model, x, seed=0, progress=False)
    assert not space.kinds[0].has_unknown
    space.check(model.sample(50, seed=0))


@pytest.mark.parametrize(("rate", "rounds"), [(0.1, 10), (0.05, 20), (0.3, 4)])
def test_small_steps_wait_for_a_gain_as_far_as_large_ones(monkeypatch: pytest.MonkeyPatch, rate: float, rounds: int) -> None:
    import lightgbm

    waited, stopping = set[int](), lightgbm.early_stopping

    def seeing(patience: int, **options: Any) -> Any:
        waited.add(patience)
        return stopping(patience, **options)

    monkeypatch.setattr(lightgbm, "early_stopping", seeing)
    genus.fit(Trees(PAIR, rate=rate, rounds=3), draw(PAIR, 200), progress=False)
    assert waited == {rounds}


def test_columns_that_are_quick_leave_their_time_to_those_that_are_not() -> None:
    """Ten columns, one of which takes more than half of the time that all need: with half as much again none is cut off."""
    needed, clock = [1.0] * 5 + [15.0] + [1.0] * 4, [0.0]
    turns = Turns([1.0] * 10, lambda: 36.0 - clock[0])
    for done, seconds in enumerate(needed):
        allowed = 36.0 - clock[0] - turns.spare(done)
        assert seconds <= allowed, (done, allowed)
        clock[0] += seconds
    first = Turns([1.0] * 10, lambda: 36.0)
    assert 36.0 - first.spare(0) == pytest.approx(3.24)  # a tenth of what is not kept, while nothing is known of the others
    clock[0] = 40.0
    assert turns.spare(5) == pytest.approx(3.6)  # what was overspent cannot be shared
    assert Turns([1.0, 1.0], lambda: math.inf).spare(0) == 0.0
