"""Tables whose numbers depend on one another linearly: nets begin with that, in every order, and draw by it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import SMALL
from torch import Tensor

import genus
from genus import Category, DataError, Lattice, Real, Space
from genus.nets.regression import Regression

REALS = Space([Real(), Real(), Real()])
MIXED = Space(
    [Real(), Category(("a", "b")), Real(atoms=(0.0, math.nan)), Lattice(0, 999, atoms=(7.0,), loc=500.0, scale=150.0)],
    names=["height", "kind", "weight", "steps"],
)
ORDERS = ([0, 1, 2], [2, 0, 1])
FAMILIES = ["gpt", "made", "rnn"]


def near_line(n: int = 4000) -> Tensor:
    """Rows of three numbers, the third of which is nearly the difference of the others."""
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    x[:, 1] += 0.9 * x[:, 0]
    x[:, 2] = x[:, 0] - x[:, 1] + 0.05 * x[:, 2]
    return x


def mixed(n: int = 500) -> Tensor:
    """Rows of `MIXED` whose numbers follow the first one."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(n, 1, generator=generator)
    noise = torch.randn(n, 2, generator=generator)
    weight = (0.9 * z[:, 0] + 0.3 * noise[:, 0]).masked_fill(noise[:, 1] > 1.0, math.nan).masked_fill(noise[:, 1] < -1.0, 0.0)
    steps = (500 + 150 * (0.8 * z[:, 0] + 0.5 * noise[:, 1])).round().clamp(0, 999)
    return torch.stack([z[:, 0], (noise[:, 0] > 0).float(), weight, steps], dim=1)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_predictions_are_those_of_least_squares(order: list[int]) -> None:
    x = near_line()
    regression = Regression(REALS)
    regression.measure(x, [order])
    unit, residual = regression(x)
    for p, column in enumerate(order):
        before = np.column_stack([np.ones(len(x)), x[:, order[:p]].numpy()])
        target = x[:, column].double().numpy()
        predicted = before @ np.linalg.lstsq(before, target, rcond=None)[0]
        assert np.abs(unit.loc[:, column].numpy() - predicted).max() < 0.05
        assert float(unit.scale[column]) == pytest.approx((target - predicted).std(), rel=0.05)
    assert float(residual.sinh().std(0).sub(1).abs().max()) < 0.05


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_a_model_begins_with_the_normal_distribution_of_all_columns(family: str, order: list[int]) -> None:
    x = near_line()
    torch.manual_seed(0)
    hyper = SMALL[family] | {"components": 1}
    model = genus.build(family, REALS, **hyper, order=order).eval()
    if family == "rnn":  # whose outputs do not begin at zero
        for parameter in model.outputs.parameters():
            parameter.data.zero_()
    model.initialise(x)
    normal = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T))
    with torch.no_grad():
        assert float(model.log_prob(x).mean()) == pytest.approx(float(normal.log_prob(x).mean()), abs=0.02)
        drawn = model.sample(4000, seed=0)
    assert float((torch.cov(drawn.T) - torch.cov(x.T)).abs().max()) < 0.15
    assert float((drawn[:, 0] - drawn[:, 1] - drawn[:, 2]).std()) < 0.08


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0]], ids=str)
def test_steps_are_the_parallel_pass_and_no_column_sees_a_later_one(family: str, order: list[int]) -> None:
    torch.manual_seed(0)
    x = mixed()
    model = genus.build(family, MIXED, **SMALL[family], order=order)
    model.initialise(x)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    model, x = model.double().eval(), x[:40].double()
    with torch.no_grad():
        expected = model.log_conditionals(x)
        for m in range(3):
            steps = model._steps(len(x), None, x[:, order[:m]] if m else None)
            given = next(steps)
            for column in order[m:]:
                found = given.log_prob(x[:, column : column + 1])[:, 0]
                assert torch.allclose(found, expected[:, column], atol=1e-6)
                if column != order[-1]:
                    given = steps.send(x[:, column : column + 1])
            other = x.clone()
            other[:, order[m + 1 :]] = x.roll(1, 0)[:, order[m + 1 :]]
            assert torch.equal(model.log_conditionals(other)[:, order[: m + 1]], expected[:, order[: m + 1]])


def test_orders_of_a_mean_have_regressions_of_their_own() -> None:
    torch.manual_seed(0)
    model = genus.MADE(REALS, orders=3, hidden=(12,), components=1).eval()
    x = near_line()
    model.initialise(x)
    with torch.no_grad():
        each = torch.stack([model.log_conditionals(x, order=k).sum(1) for k in range(3)])
    assert torch.allclose(each, each[:1].expand_as(each), atol=2e-3)  # the same normal distribution by every order


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_that_predicts_columns_from_later_ones_is_refused(family: str) -> None:
    model = genus.build(family, REALS, **SMALL[family])
    state = model.state_dict()
    state["regression.weight"][0, 0, 2] = 1.0
    with pytest.raises(DataError, match="does not come before"):
        model.load_state_dict(state)


def test_a_model_that_was_read_is_measured_in_the_orders_that_were_read() -> None:
    torch.manual_seed(0)
    first, x = genus.MADE(REALS, orders=3, hidden=(12,)), near_line()
    second = genus.MADE(REALS, orders=3, hidden=(12,))
    second.load_state_dict(first.state_dict())
    second.initialise(x)
    second.regression.check(first.orders.tolist())


def test_little_and_constant_data_make_no_nan() -> None:
    for rows in (torch.zeros(1, 3), torch.ones(5, 3), near_line(2)):
        model = genus.MADE(REALS, hidden=(12,), components=2).eval()
        model.initialise(rows)
        assert bool(model.log_prob(rows).isfinite().all())


def test_few_rows_are_not_regressed_too_surely() -> None:
    """Of 40 rows of 25 columns without relation the least squares' predictions are far off; of many they are nearly none."""
    space = Space([Real() for _ in range(25)])
    for rows, most in ((40, 0.15), (20_000, 0.05)):
        x = torch.randn(rows, 25, generator=torch.Generator().manual_seed(0))
        regression = Regression(space)
        regression.measure(x, [list(range(25))])
        fresh = torch.randn(2000, 25, generator=torch.Generator().manual_seed(1))
        unit, _ = regression(fresh)
        gain = -0.5 * ((fresh - unit.loc) / unit.scale).square() - unit.scale.log() + 0.5 * fresh.square()
        assert gain.mean() > -most  # nats a number, where its own mean and deviation have 0


def test_exact_relations_are_regressed_surely() -> None:
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    x[:, 2] = x[:, 0] - x[:, 1] + 0.01 * x[:, 2]
    regression = Regression(Space([Real()] * 3))
    regression.measure(x, [[0, 1, 2]])
    assert regression.scale[0, 2] < 0.05
