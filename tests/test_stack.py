"""Stacks: weights, training of members, folds, files, any columns given the others, interruptions."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SPACES, draw
from torch import Tensor

import genus
from genus import Category, Lattice, Real, Space, Stack, StackOfBounds
from genus.data import read
from genus.files import read_tensors, write_tensors
from genus.models.weights import mixture_weights
from genus.training import loop

MIXED = Space([Real(atoms=(math.nan,)), Category(("a", "b")), Lattice(0, 5)], names=["r", "k", "n"])
COUNTED = [{"class": "mixture", "components": 3, "covariance": "full", "shrinkage": 3.0, "pool": 2.0}, {"class": "naive-bayes"}]
QUICK = [{"class": "trees", "rounds": 10, "bins": 8}, *COUNTED]


def rows(n: int, seed: int = 0) -> Tensor:
    """Two clusters of rows of MIXED."""
    x = draw(MIXED, n, seed)
    x[:, 0] = torch.where(x[:, 1] > 0, x[:, 0] * 0.2 + 3, x[:, 0])
    return x


def fitted(members: Any = QUICK, n: int = 400, folds: int = 1, **options: Any) -> Stack:
    model = genus.build("stack", MIXED, seed=0, members=members, folds=folds)
    genus.fit(model, rows(n), progress=False, **options)
    assert isinstance(model, Stack)
    return model


# -- weights --------------------------------------------------------------------------------------------------------------


def test_weights_are_those_of_the_mixture_that_the_rows_were_drawn_from() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.where(torch.rand(6000, generator=generator) < 0.3, 2.0, -1.0) + torch.randn(6000, generator=generator)
    table = -0.5 * (x[:, None] - torch.tensor([2.0, -1.0, 9.0])) ** 2
    weights = mixture_weights(table)
    assert weights.tolist() == pytest.approx([0.3, 0.7, 0.0], abs=0.03)
    assert float((table + weights.log()).logsumexp(1).mean()) >= float(table.mean(0).max())


@pytest.mark.parametrize("scale", [0.02, 0.5])
def test_a_member_that_is_best_alone_has_all_weight(scale: float) -> None:
    """Others that differ from it by noise alone add nothing to new rows."""
    generator = torch.Generator().manual_seed(1)
    best = torch.randn(60, 1, generator=generator)
    noise = scale * torch.randn(60, 4, generator=generator)
    assert mixture_weights(torch.cat([best, best + noise - noise.mean() - scale**2], dim=1)).max() == 1


def test_a_member_that_adds_nothing_has_no_weight_but_by_chance() -> None:
    """Where E exp(d) = 1, d the difference in log-density, no weight gains on new rows; EM alone gives some to half of them."""
    generator, weighted = torch.Generator().manual_seed(2), 0
    for _ in range(200):
        difference = torch.randn(500, generator=generator) - 0.5
        weighted += int(mixture_weights(torch.stack([torch.zeros(500), difference], dim=1))[1] > 0)
    assert weighted <= 10


def test_members_that_are_equal_but_for_rounding_are_not_mixed() -> None:
    table = torch.full((10, 3), -0.6931471805599453, dtype=torch.float64) + torch.tensor([0.0, 1e-16, -1e-16])
    assert sorted(mixture_weights(table).tolist()) == [0, 0, 1]


def test_rows_without_mass_leave_weights_finite() -> None:
    table = torch.tensor([[-1.0, -math.inf, -math.inf], [-math.inf, -1.0, math.nan], [-math.inf] * 3] * 10)
    assert mixture_weights(table).tolist() == pytest.approx([0.5, 0.5, 0.0], abs=0.02)
    assert mixture_weights(table[2:3]).tolist() == pytest.approx([1 / 3] * 3)


# -- training -------------------------------------------------------------------------------------------------------------


def test_a_stack_is_the_weighted_mean_of_members_trained_as_alone() -> None:
    model, x = fitted(), rows(300, seed=1)
    assert sum(model.weights.values()) == pytest.approx(1)
    assert set(model.weights) == {"trees", "mixture", "naive-bayes"}
    each = torch.stack([one.log_prob(x).double() for one in model._models], dim=1)  # type: ignore[attr-defined]
    assert torch.allclose(model.log_prob(x), (each + model.log_weights).logsumexp(1))
    alone = genus.build("mixture", MIXED, **{k: v for k, v in COUNTED[0].items() if k != "class"})
    genus.fit(alone, rows(400), progress=False)
    assert torch.equal(alone.log_prob(x), model._models[1].log_prob(x))  # type: ignore[attr-defined]


def test_held_out_rows_are_no_worse_by_the_stack_than_by_its_best_member() -> None:
    model, x = fitted(n=1000), rows(4000, seed=1)
    together = model.log_prob(x)
    each = torch.stack([one.log_prob(x).double() for one in model._models], dim=1)  # type: ignore[attr-defined]
    difference = together - each[:, int(each.mean(0).argmax())]
    assert float(difference.mean()) >= -2 * float(difference.std()) / math.sqrt(len(x))


def test_folds_average_models_that_have_not_seen_the_rows_that_weight_them() -> None:
    model, x = fitted(COUNTED, folds=3), rows(200, seed=1)
    first = [one.log_prob(x) for one in model._models[:3]]  # type: ignore[attr-defined]
    assert not torch.allclose(first[0], first[1])
    assert model.log_weights[:3].tolist() == pytest.approx([float(model.log_weights[0])] * 3)
    assert [int(one.product.rows) for one in model._models[3:]] == [400 - 134, 400 - 133, 400 - 133]  # type: ignore[attr-defined]
    with pytest.raises(genus.TrainingError, match="folds=1"):
        genus.fit(model, rows(60), validation=rows(20), progress=False)


def test_a_seed_repeats_the_training_and_defaults_suit_the_space_and_the_rows() -> None:
    for folds in (1, 2):
        a, b = fitted(COUNTED, folds=folds, seed=3), fitted(COUNTED, folds=folds, seed=3)
        assert torch.equal(a.log_prob(rows(50)), b.log_prob(rows(50)))
    assert Stack.default_members(MIXED) == ["mixture", "trees", "made"]
    assert Stack.default_members(Space([Real(), Real()])) == ["mixture", "trees", "made", "nsf"]
    assert Stack.default_members(SPACES["image"]) == ["mixture", "trees", "made", "pixelcnn"]
    assert Stack.default_hyperparameters(MIXED, 300)["folds"] == 5
    assert Stack(MIXED, members=["made"], rows=10**5).config["members"][0]["dropout"] == 0.1
    assert not Stack.accepts(SPACES["windows"])


def test_time_is_shared_and_what_a_member_leaves_is_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def train(model: Any, *args: Any, **more: Any) -> genus.History:
        given.append((model.name, args[2].max_seconds))
        return genus.History()

    monkeypatch.setattr(loop, "_fit_one", train)
    made = {"class": "made", "hidden": [8], "components": 2}
    model = genus.build("stack", MIXED, seed=0, members=[made, QUICK[0], made])
    history = genus.fit(model, rows(400), max_seconds=3000, progress=False)
    assert [name for name, _ in given] == ["trees", "made", "made"]  # those that are trained by gradients are the last
    assert [seconds for _, seconds in given] == pytest.approx([950, 1425, 2850], rel=0.01)
    assert history.watched == ["weight of made", "weight of trees", "weight of made 2"]
    assert history.rows[-1]["criterion"] <= history.rows[0]["criterion"] + 1e-9


def test_a_training_without_validation_rows_holds_some_out() -> None:
    model = fitted(COUNTED, validation=None)
    assert int(model._models[1].product.rows) == 360  # type: ignore[attr-defined]


def test_a_member_that_fails_is_left_out_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise genus.DataError("It cannot.")

    monkeypatch.setattr(genus.Trees, "learn", fail)
    with pytest.warns(UserWarning, match="trees could not be trained and is left out of the stack: It cannot"):
        model = fitted()
    assert model.weights["trees"] == 0
    assert model.log_prob(rows(20)).isfinite().all()
    with pytest.raises(genus.TrainingError, match="No member"), pytest.warns(UserWarning, match="trees"):
        fitted(QUICK[:1])


def test_it_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(genus.TrainingError, match="cannot be resumed"):
        genus.fit(Stack(MIXED, members=COUNTED), rows(50), checkpoint=tmp_path / "c", resume=True, progress=False)


@pytest.mark.parametrize("folds", [1, 2])
def test_an_interruption_keeps_what_is_trained(folds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def learn(*args: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(genus.Trees, "learn", learn)
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals come to the main thread")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process in the background may ignore
    for members, names in ((QUICK[::2], {"naive-bayes", "trees"}), (QUICK[:1], {"trees"})):
        model = genus.build("stack", MIXED, seed=0, members=members, folds=folds)
        with pytest.raises(KeyboardInterrupt, match="cannot be resumed"):
            genus.fit(model, rows(100), progress=False)
        assert {name for name, weight in model.weights.items() if weight} <= names  # type: ignore[attr-defined]
        assert model.log_prob(rows(20)).isfinite().all()  # type: ignore[attr-defined]


# -- given members --------------------------------------------------------------------------------------------------------


def test_models_that_are_fitted_are_stacked() -> None:
    x = rows(400)
    models = [genus.build(one["class"], MIXED, **{k: v for k, v in one.items() if k != "class"}) for one in QUICK]
    for one in models:
        genus.fit(one, x, progress=False)
    stack = Stack.of(models, rows(300, seed=1))
    assert stack.models[0] is models[0]
    assert stack.sample(5, seed=0).shape == (5, 3)
    with pytest.raises(genus.GenusError, match="one space"):
        Stack.of([models[0], genus.NaiveBayes(Space([Real()]))], x)
    with pytest.raises(genus.GenusError, match="density"):
        Stack.of([], x)


def test_bounds_are_stacked_as_a_bound() -> None:
    with pytest.raises(genus.DataError, match="gives a bound"):
        Stack(MIXED, members=["vae", "trees"])
    with pytest.raises(genus.DataError, match="has none"):
        StackOfBounds(MIXED, members=["wgan", "trees"])
    space = Space([Lattice(0, 5), Lattice(0, 5)])
    model = StackOfBounds(
        space, members=[{"class": "dequantised", "family": "maf", "transforms": 1, "hidden": [8]}, COUNTED[1]]
    )
    genus.fit(model, draw(space, 300), max_steps=5, progress=False)
    x = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0))
    assert 0.7 < float(model.log_evidence(x, samples=64, seed=0).exp().sum()) < 1.05
    assert model.info.likelihood == "bound"
    assert not hasattr(model, "log_prob")
    exact, bound = (genus.build(name, space) for name in ("naive-bayes", "maf"))
    genus.fit(exact, draw(space, 100), progress=False)
    assert isinstance(Stack.of([exact, bound], draw(space, 50)), StackOfBounds)


def test_draws_that_obey_constraints_weight_members_by_what_they_accept() -> None:
    """The mixture of p / acceptance is that of the mixture, divided by its own."""
    stack = Stack(MIXED, members=COUNTED)
    table = torch.tensor([[-1.0, -3.0], [-3.0, -1.0]] * 20)
    weights = mixture_weights(table) / torch.tensor([0.5, 0.1])
    stack.combine(table, [[0.5], [0.1]])
    assert list(stack.weights.values()) == pytest.approx((weights / weights.sum()).tolist())


# -- answering ------------------------------------------------------------------------------------------------------------


def test_columns_given_others_are_those_of_the_density() -> None:
    model = fitted(COUNTED)
    model.log_weights.copy_(torch.tensor([0.6, 0.4]).log())
    states = torch.tensor([[math.nan, k, n] for k in range(2) for n in range(6)])
    known = torch.full((12, 1), math.nan)
    given = model.log_prob(states) - model.log_marginal(known, [0])
    assert float(given.exp().sum()) == pytest.approx(1)
    asked = torch.zeros(12, 3, dtype=torch.bool)
    asked[:, 1:] = True
    drawn = model.impute(states.repeat(300, 1), missing=asked.repeat(300, 1), seed=0)
    found = torch.stack([(drawn[:, 1:] == one[1:]).all(1).double().mean() for one in states])
    assert torch.allclose(found, given.exp(), atol=0.03)
    with pytest.raises(genus.GenusError, match="its member made cannot"):
        Stack(Space([Real()] * 3), members=["made", "mixture"]).log_marginal(torch.zeros(2, 1), [2])


def test_a_context_passes_through() -> None:
    context = Space([Category(("u", "v"))])
    c = (torch.arange(600) % 3 == 0).float()[:, None]
    x = rows(600)
    x[:, 1] = c[:, 0]
    model = Stack(MIXED, context, members=[{"class": "trees", "rounds": 40, "bins": 8}, COUNTED[0]])
    genus.fit(model, (x, c), progress=False)
    assert float((model.sample(200, torch.ones(1, 1), seed=0)[:, 1] == 1).double().mean()) > 0.8
    assert model.class_log_probs(x).argmax(1).eq(c[:, 0]).all()
    assert torch.equal(model.sample(9, c[:9], seed=1).nan_to_num(), model.sample(9, c[:9], seed=1).nan_to_num())


def change(name: str, value: Any) -> Callable[[dict[str, Tensor], dict[str, Any]], None]:
    def changed(tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        (tensors if name in tensors else header["config"])[name] = value

    return changed


def test_files_hold_members_and_are_checked(tmp_path: Path) -> None:
    model, path = fitted(folds=2), tmp_path / "s.genus"
    genus.save(model, path)
    again = genus.load(path)
    assert torch.equal(again.log_prob(rows(30)), model.log_prob(rows(30)))  # type: ignore[attr-defined]
    assert again.weights == model.weights  # type: ignore[attr-defined]
    for spoil in (
        change("log_weights", torch.zeros(6, dtype=torch.float64)),
        change("log_weights", torch.full((6,), math.nan, dtype=torch.float64)),
        change("members", [{"class": "made"}]),
        change("members", [{"class": "Linear", "dim": 3}]),
        change("members", "trees"),
        change("members", [{"class": "stack", "members": [{"class": "stack"}]}]),
        change("folds", 10**9),
        change("folds", -1),
    ):
        tensors, header = read_tensors(path)
        spoil(tensors, header)
        write_tensors(tmp_path / "t.genus", tensors, header)
        with pytest.raises(genus.ModelFileError):
            genus.load(tmp_path / "t.genus")


def test_data_with_constraints_are_stacked(tmp_path: Path) -> None:
    x = torch.rand(300, 2, generator=torch.Generator().manual_seed(0)).sort(dim=1).values
    path = tmp_path / "d.csv"
    path.write_text("a,b\n" + "\n".join(f"{a:.4f},{b:.4f}" for a, b in x.tolist()))
    data = read(path)
    model = Stack(data.space, members=COUNTED)
    genus.fit(model, data, progress=False)
    frame = model.decode(model.sample(50, seed=0))
    assert len(frame) == 50
