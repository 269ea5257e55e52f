"""The chart of a column fits its numbers: its support, its step, and a likelihood near that of the truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats

import genus
from genus import Lattice, Real, Space, read
from tests.conftest import SHARED

ROWS = 2000
CASES = SHARED.parent / "cases"


def kind_of(values: Any, **options: Any) -> Any:
    return read({"v": values}, **options).space.kinds[0]


def log_density(kind: Real, x: np.ndarray) -> np.ndarray:
    """Return the log-density of a standard normal in the chart of a Real."""
    parts = Space([kind]).split(torch.from_numpy(x)[:, None])
    return (parts.log_slope - 0.5 * (parts.u**2 + math.log(2 * math.pi)))[:, 0].numpy()


# -- supports -------------------------------------------------------------------------------------------------------------


def test_a_support_never_crosses_a_sign_that_the_data_never_cross() -> None:
    rng = np.random.default_rng(0)
    amounts = rng.lognormal(0, 1.5, ROWS)
    assert kind_of(amounts).chart.support == (0.0, math.inf)
    assert kind_of(-amounts).chart.support == (-math.inf, 0.0)
    assert kind_of(rng.normal(size=ROWS)).chart.support == (-math.inf, math.inf)
    assert kind_of(amounts[:5]).chart.support == (0.0, math.inf)
    with_zero = kind_of(np.append(amounts, 0.0))
    assert with_zero.atoms == (0.0,)
    assert with_zero.chart.support == (0.0, math.inf)
    assert kind_of(rng.beta(0.5, 0.5, ROWS)).chart.support == (0.0, 1.0)
    ends = np.concatenate([rng.beta(2, 2, ROWS), np.zeros(9), np.ones(9)])
    assert kind_of(ends).chart.support == (0.0, 1.0)
    assert kind_of(rng.exponential(0.1, ROWS)).chart.support == (0.0, math.inf)


def test_textbook_charts_are_kept_where_they_are_asked_for() -> None:
    amounts = np.random.default_rng(0).lognormal(0, 1, ROWS)
    kind = kind_of(amounts, chart="affine")
    assert kind.chart.is_affine
    assert (kind.loc, kind.scale) == (pytest.approx(amounts.mean()), pytest.approx(amounts.std()))
    assert Space.measure(torch.from_numpy(amounts)[:, None], chart="affine").kinds[0] == kind
    with pytest.raises(genus.errors.DataError, match=r"chart='log'"):
        read({"v": amounts}, chart="log")


def test_what_lies_outside_a_support_is_refused_or_impossible() -> None:
    data = read({"v": np.random.default_rng(0).lognormal(0, 1, ROWS)})
    with pytest.raises(genus.errors.DataError, match="holds -1 in row 1"):
        read({"v": [2.0, -1.0]}, space=data.codec)
    assert read({"v": [2.0, -1.0]}, space=data.codec, beyond=True).x[:, 0].tolist() == [2.0, math.inf]


# -- charts ---------------------------------------------------------------------------------------------------------------

SHAPES = {
    "normal": stats.norm(3, 2),
    "heights": stats.norm(170, 10),
    "lognormal": stats.lognorm(1.5, scale=100),
    "exponential": stats.expon(scale=3),
    "Pareto": stats.pareto(1.5),
    "Cauchy": stats.cauchy(),
    "uniform": stats.uniform(5, 4),
    "arcsine": stats.arcsine(),
    "far": None,
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_chart_alone_is_near_the_true_density(name: str) -> None:
    rng = np.random.default_rng(1)
    if name == "far":
        x = rng.normal(size=2 * ROWS) + 9999 * rng.integers(0, 2, 2 * ROWS)
        truth = np.log(0.5) + special.logsumexp([stats.norm(m).logpdf(x) for m in (0, 9999)], axis=0)
    else:
        x = SHAPES[name].rvs(2 * ROWS, random_state=rng)
        truth = SHAPES[name].logpdf(x)
    kind = kind_of(x[:ROWS])
    assert isinstance(kind, Real)
    gap = truth[ROWS:] - log_density(kind, x[ROWS:])
    assert gap.mean() < 0.06 + 2 * gap.std() / math.sqrt(ROWS)
    u = torch.randn(ROWS, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws = Space([kind]).join(torch.zeros(ROWS, 1, dtype=torch.long), u)
    if name != "far":
        low, high = SHAPES[name].support()
        assert float(((draws < low) | (draws > high)).double().mean()) <= 0.003


def test_another_chart_than_an_affine_one_needs_a_gain() -> None:
    rng = np.random.default_rng(2)
    assert kind_of(rng.normal(size=ROWS)).chart.is_affine
    heights = kind_of(rng.normal(170, 10, ROWS)).chart
    assert (heights.form, heights.knots) == ("softplus", ())  # affine at the data, and positive
    assert heights.width < 5
    assert kind_of(rng.normal(size=20) ** 3).chart.is_affine  # too few rows


# -- lattices -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "offset"), [(25, 7), (100, 0), (1000, 0), (0.05, 0)])
def test_lattices_find_their_step_and_offset(step: float, offset: float) -> None:
    values = np.round(offset + step * np.random.default_rng(3).poisson(400, ROWS), 6)
    kind = kind_of(values)
    assert isinstance(kind, Lattice)
    assert kind.step == pytest.approx(step)
    place = (kind.low - offset) / step
    assert place == pytest.approx(round(place), abs=1e-6)
    assert kind_of(np.array([2.0, 4.0, 10.0])).step == 1  # three even numbers may be an accident


def test_codes_have_no_mass_between() -> None:
    codes = np.random.default_rng(4).choice([200, 301, 404, 500, 503], ROWS, p=[0.8, 0.05, 0.1, 0.03, 0.02])
    data = read({"v": codes})
    kind: Any = data.space.kinds[0]
    assert (kind.size, kind.states) == (1, 5)
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, progress=False)
    assert set(model.sample(500, seed=0)[:, 0].tolist()) <= {200.0, 301.0, 404.0, 500.0, 503.0}
    mass = model.log_prob(torch.tensor([[200.0], [301.0], [404.0], [500.0], [503.0]])).exp().sum()
    assert float(mass) == pytest.approx(1.0, abs=1e-4)


def test_a_long_lattice_has_a_chart_and_no_mass_beyond_a_sign() -> None:
    rng = np.random.default_rng(5)
    kind = kind_of(rng.geometric(0.003, ROWS))
    assert kind.low == 0
    assert kind.chart.support[0] == -0.5
    capped = kind_of(np.minimum(rng.poisson(900, ROWS) * 3 + rng.integers(0, 3, ROWS), 2750))
    assert capped.high == 2750  # an end with many rows is the end of the support


def test_measuring_glances_at_few_rows_and_takes_a_name_once() -> None:
    rng = np.random.default_rng(6)
    long = rng.normal(size=(40_000, 1)).astype(np.float32)
    assert isinstance(read(long).space.kinds[0], Real)
    zeros = np.where(rng.random((40_000, 1)) < 0.01, 0, long)
    assert read(zeros).space.kinds[0].atoms == (0.0,)
    tenths = np.round(long, 1).astype(np.float32)
    assert read(tenths).space.kinds[0].step == pytest.approx(0.1)


@pytest.mark.skipif(not (CASES).exists(), reason="the shared cases are not beside this checkout")
@pytest.mark.parametrize("family", ["naive-bayes", "mixture"])
def test_positive_amounts_with_a_heavy_tail(family: str) -> None:
    amounts = read(CASES / "positive-heavy-tail" / "amounts.csv")
    train, rest = amounts.rows(slice(0, 3000)), amounts.rows(slice(3000, None))
    logs = train.x[:, 0].double().log()
    lognormal = stats.lognorm(float(logs.std()), scale=math.exp(float(logs.mean())))
    model = genus.build(family, amounts.space)
    genus.fit(model, train, max_seconds=20, seed=0, progress=False)
    found = model.log_prob(rest.x).double().numpy()
    assert found.mean() > lognormal.logpdf(rest.x[:, 0].double().numpy()).mean() - 0.3
    assert float(model.sample(5000, seed=0).min()) > 0


def test_a_row_a_little_beyond_a_steep_end_does_not_topple_a_mean() -> None:
    """The ends of a uniform are steep; what lies a tenth of the range beyond is unlikely, and no more than that."""
    rng = np.random.default_rng(0)
    kind = kind_of(np.concatenate([rng.uniform(-1, 1, 140), rng.uniform(-1, -0.9, 60)]))
    assert kind.chart.knots
    assert log_density(kind, np.array([1.2, -1.2])).min() > -15
