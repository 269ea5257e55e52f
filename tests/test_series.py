"""Series of several values a step: arrays and long tables, their density by the chain rule, and forecasts from a beginning."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from command import run

import genus
from genus import Category, Lattice, Real, Space

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 8, 3)).cumsum(1)
RAGGED = [x[: 4 + i % 4] for i, x in enumerate(X)]
SMALL = {"rnn": {"width": 8}, "gpt": {"width": 8, "layers": 1, "heads": 2}, "wavenet": {"width": 4, "layers": 3}}


def long_table() -> pd.DataFrame:
    """Rows of ragged series in any order, with a number, a count and a word a step, a blank, and a region a series."""
    rows = [
        (f"shop {i}", f"2024-01-{t + 1:02d}", x[t, 0], int(abs(x[t, 1])), "ab"[int(x[t, 2] > 0)], "uv"[i % 2])
        for i, x in enumerate(RAGGED)
        for t in range(len(x))
    ]
    frame = pd.DataFrame(rows, columns=["shop", "day", "sales", "staff", "weather", "region"])
    return frame.sample(frac=1, random_state=0).reset_index(drop=True)


def test_arrays_of_several_values_a_step_come_back() -> None:
    data = genus.read(X, sequence=True)
    assert data.space.period == 3
    assert data.x.shape == (40, 24)
    assert np.allclose(data.decode(data.x), X, atol=1e-5)
    assert isinstance(genus.read(torch.tensor(X), sequence=True).decode(data.x), torch.Tensor)
    ragged = genus.read(RAGGED, sequence=True)
    assert ragged.space.ends
    for back, x in zip(ragged.decode(ragged.x), RAGGED, strict=True):
        assert np.allclose(back, x, atol=1e-5)
    again = Space.from_json(json.loads(json.dumps(ragged.space.to_json())))
    assert again == ragged.space
    assert again.period == 3
    with pytest.raises(genus.DataError, match="goes on after its end"):
        ragged.space.check(torch.cat([ragged.x[:1], ragged.x[1:2]], dim=1))


def test_numbers_that_are_no_greys_are_not_read_as_pictures_in_silence() -> None:
    assert "sequence=True" in str(genus.read(X))
    assert "sequence=True" not in str(genus.read(RNG.random((9, 4, 4))))


def test_a_long_table_is_a_series_for_each_key_with_its_context() -> None:
    frame = long_table()
    data = genus.read(frame, sequence=("shop", "day"), context="region")
    assert data.space.channels == ("sales", "staff", "weather")
    kinds = data.space.kinds[:3]
    assert [type(kind) for kind in kinds] == [Real, Lattice, Category]
    assert data.c is not None
    assert len(data) == len(data.c) == 40
    back = data.decode(data.x)
    assert list(back.columns) == ["shop", "day", "sales", "staff", "weather"]
    ordered = frame.sort_values(["shop", "day"], kind="stable").reset_index(drop=True)
    assert np.allclose(back["sales"], ordered["sales"], atol=1e-5)
    assert back["weather"].tolist() == ordered["weather"].tolist()


def test_blanks_within_a_series_are_missing_and_no_end() -> None:
    frame = long_table()
    frame.loc[frame.index[::7], "sales"] = math.nan
    with pytest.raises(genus.DataError, match="put 'staff' first"):
        genus.read(frame.drop(columns="region"), sequence=("shop", "day"))
    data = genus.read(frame[["shop", "day", "staff", "sales"]], sequence=("shop", "day"))
    back = data.decode(data.x)
    assert int(back["sales"].isna().sum()) == int(frame["sales"].isna().sum())
    assert len(back) == len(frame)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.assign(day="2024-01-01"), "twice"),
        (lambda f: f.assign(region=[f"r{i}" for i in range(len(f))]), "changes within the series"),
        (lambda f: f.assign(shop=[None, *f["shop"][1:]]), "lacks values"),
        (lambda f: f.drop(columns="day"), "no column 'day'"),
    ],
    ids=["twice", "context", "key", "column"],
)
def test_long_tables_that_are_no_series_are_refused(change: object, words: str) -> None:
    with pytest.raises(genus.DataError, match=words):
        genus.read(change(long_table()), sequence=("shop", "day"), context="region")  # type: ignore[operator]


@pytest.mark.parametrize("family", [*SMALL])
def test_steps_and_the_pass_agree_and_later_values_change_nothing_earlier(family: str) -> None:
    data = genus.read(long_table(), sequence=("shop", "day"), context="region")
    model = genus.build(family, data.space, data.context, seed=0, **SMALL[family]).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        x, c = data.x[:6].double(), data.c[:6]  # type: ignore[index]
        whole = model.log_conditionals(x, c)
        assert torch.allclose(whole.sum(1), model.log_prob(x, c))
        steps = model._steps(6, c, None)
        distribution, found = next(steps), []
        for i in range(12):
            found.append(distribution.log_prob(x[:, i : i + 1])[:, 0])
            distribution = steps.send(x[:, i : i + 1])
        assert torch.allclose(torch.stack(found, dim=1), whole[:, :12], atol=1e-8)
        changed = x.clone()
        changed[:, 7] += 1.0
        assert torch.allclose(model.log_conditionals(changed, c)[:, :7], whole[:, :7])
        assert not torch.allclose(model.log_conditionals(changed, c)[:, 8:], whole[:, 8:])


def test_the_mass_of_series_that_end_is_one_and_draws_end_as_often() -> None:
    kinds = [Category(("a", "b", None)), Category(("u", "v", None))]
    with genus.ladder.isolated(0):
        model = genus.RNN(Space(kinds, shape=(6,), sequence=True), width=8).double().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
    step = torch.cartesian_prod(torch.arange(2.0), torch.arange(3.0))
    end, ends = torch.tensor([[2.0, 2.0]]), []
    for first in [end, *step.split(1)]:
        for second in [end, *step.split(1)] if first is not end else [end]:
            ends.append(torch.cat([first, second], dim=1))
    x = torch.cat(ends)
    log_prob = model.log_prob(x)
    mass_of_ended = float(log_prob[(x[:, 2] == 2)].exp().sum())  # after one step at most
    assert float(log_prob.exp().sum()) == pytest.approx(1.0, abs=1e-6)  # of all that can be seen in two steps
    drawn = model.sample(4000, seed=0, length=2)
    model.space.check(drawn)
    assert float((drawn[:, 2] == 2).double().mean()) == pytest.approx(mass_of_ended, abs=0.03)


def test_series_are_saved_sampled_and_refused_by_families_of_one_value_a_step(tmp_path: Path) -> None:
    data = genus.read(long_table(), sequence=("shop", "day"), context="region")
    model = genus.build("rnn", data.space, data.context, seed=0, width=8)
    genus.fit(model, data, max_steps=3, progress=False)
    genus.save(model, tmp_path / "m.genus")
    again = genus.load(tmp_path / "m.genus")
    c = torch.tensor([[0.0], [1.0]])
    drawn = again.sample(2, c, seed=0)
    assert torch.equal(drawn.nan_to_num(-9), model.sample(2, c, seed=0).nan_to_num(-9))
    assert list(again.decode(drawn).columns) == ["shop", "day", "sales", "staff", "weather"]
    for family in ("markov", "parallel-wavenet", "mixture"):
        with pytest.raises(genus.DataError):
            genus.build(family, data.space, seed=0)
    assert "gpt, rnn and wavenet" in str(genus.families()["markov"].refusal(data.space))


def test_a_forecast_goes_on_from_beginnings_and_its_intervals_are_those_of_the_draws() -> None:
    """x_t = 0.9 x_{t-1} + e_t in two values: the ends of intervals are known."""
    x = np.zeros((300, 12, 2))
    for t in range(1, 12):
        x[:, t] = 0.9 * x[:, t - 1] + np.random.default_rng(t).normal(size=(300, 2))
    data = genus.read(x, sequence=True)
    model = genus.build("rnn", data.space, seed=0, width=16)
    genus.fit(model, data, max_steps=150, batch_size=64, learning_rate=1e-2, progress=False)
    found = genus.forecast(model, x[:20, :6], steps=2, times=200, seed=0)
    low, high = found.interval
    assert found.mean.shape == low.shape == (20, 2, 2)
    assert float((high - low)[:, 0].mean()) == pytest.approx(2 * 1.645, rel=0.15)
    assert 0.75 < float(found.coverage(torch.tensor(x[:20, 6:8])).mean()) < 1
    again = genus.forecast(model, x[:20, :6], steps=2, times=200, seed=0)
    assert torch.equal(found.draws, again.draws)
    one = genus.forecast(model, x[0, :6], steps=3, times=5)
    assert one.table().column_names == ["series", "step", "x0 mean", "x0 low", "x0 high", "x1 mean", "x1 low", "x1 high"]
    assert one.table().column("step").to_pylist() == [6, 7, 8]
    for words, error in (({"steps": 0}, "steps"), ({"steps": 1, "times": 0}, "times"), ({"steps": 1, "level": 1.5}, "level")):
        with pytest.raises(genus.GenusError, match=error):
            genus.forecast(model, x[:1, :6], **words)  # type: ignore[arg-type]
    with pytest.raises(genus.GenusError, match="Forecasts go on"):
        genus.forecast(genus.Mixture(Space([Real()])), x, 1)


def test_at_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frame = long_table()
    frame.to_csv("sales.csv", index=False)
    frame[frame["day"] < "2024-01-04"].to_csv("begin.csv", index=False)
    words = ("fit", "sales.csv", "--family", "rnn", "--set", "width=8", "--steps", 3, "--context", "region")
    done = run(*words, "--sequence", "shop,day", "--out", "s.genus", "--quiet")
    assert done.code == 0, done.err
    done = run("forecast", "s.genus", "begin.csv", "--steps", 2, "--times", 9, "--seed", 0, "--json")
    assert done.code == 0, done.err
    rows = json.loads(done.out)
    assert len(rows) == 40 * 2
    assert rows[0]["series"] == "shop 0"
    assert {"sales mean", "sales low", "sales high", "weather", "weather share"} <= rows[0].keys()
    done = run("sample", "s.genus", "-n", 2, "--context", "region=u", "--seed", 0, "--out", "drawn.csv")
    assert done.code == 0, done.err
    assert list(pd.read_csv("drawn.csv").columns) == ["shop", "day", "sales", "staff", "weather"]
    run("forecast", "s.genus", "begin.csv", "--steps", 0).refused(2, "--steps")


def test_ids_of_tokens_are_symbols_and_numbers_are_numbers() -> None:
    rng = np.random.default_rng(0)
    ids = rng.permutation(2000)[rng.zipf(1.4, (200, 64)) % 2000]
    data = genus.read(ids, sequence=True)
    assert data.space.kinds[0] == Category(tuple(range(int(ids.max()) + 1)))
    assert np.array_equal(data.decode(data.x), ids)
    assert "read as ids" in str(data)
    assert isinstance(genus.read(ids, sequence=True, kinds={"values": "lattice"}).space.kinds[0], Lattice)
    ragged = genus.read([row[: 3 + i % 9] for i, row in enumerate(ids)], sequence=True)
    assert isinstance(ragged.space.kinds[0], Category)
    assert "sequence=True" in str(genus.read(ids))
    for numbers in (
        rng.poisson(900, (200, 64)),
        rng.integers(-9, 10, (200, 64)).cumsum(1) + 1000,
        25 * rng.poisson(60, (200, 64)),
    ):
        assert not isinstance(genus.read(numbers, sequence=True).space.kinds[0], Category)
    assert "sequence=True" not in str(genus.read(rng.poisson(900, (200, 6))))


@pytest.mark.nightly
def test_independent_steps_are_the_floor_of_series_in_a_comparison() -> None:
    x = RNG.normal(size=(60, 6, 2))
    report = genus.compare(genus.read(x, sequence=True), families=["rnn"], budget=1, progress=False)
    rows = {row.family: row for row in report.rows}
    assert rows["independent-steps"].baseline_difference == 0
    assert "independent steps" in report.verdict


def test_the_mass_of_independent_steps_is_one_and_draws_are_as_long_as_the_data() -> None:
    model = genus.models.IndependentSteps(Space([Category(("a", "b", None)), Category(("u", "v"))], shape=(4,), sequence=True))
    end = [2.0, 0.0]
    x = torch.tensor([[0.0, 1.0, *end], [0.0, 0.0, 1.0, 1.0], [1.0, 0.0, *end], [0.0, 1.0, 0.0, 0.0]])
    model.observe(x[:1]), model.observe(x[1:])
    model.conclude()
    steps = torch.cartesian_prod(torch.arange(2.0), torch.arange(2.0))
    both = [torch.cat([a, b]) for a in steps for b in steps] + [torch.cat([a, torch.tensor(end)]) for a in steps]
    every = torch.stack([*both, torch.tensor(end * 2)])
    assert float(model.log_prob(every).exp().sum()) == pytest.approx(1.0, abs=1e-6)
    drawn = model.sample(4000, seed=0)
    short = float(model.log_prob(every[16:20]).exp().sum())
    assert float(((drawn[:, 0] != 2) & (drawn[:, 2] == 2)).double().mean()) == pytest.approx(short, abs=0.03)


def test_a_long_table_with_one_value_a_step_is_a_series() -> None:
    table = pa.table({"shop": ["b"] * 4 + ["a"] * 4, "day": [1, 2, 3, 4] * 2, "sales": [5, 6, 7, 9, 1, 2, 3, 4]})
    data = genus.read(table, sequence=("shop", "day"))
    assert (data.space.channels, data.x.tolist()) == (("sales",), [[1, 2, 3, 4], [5, 6, 7, 9]])
    back = {"shop": [1] * 4 + [2] * 4, "day": [0, 1, 2, 3] * 2, "sales": [1, 2, 3, 4, 5, 6, 7, 9]}
    assert data.decode(data.x).to_pydict() == back
    model = genus.build("rnn", data.space, seed=0, width=8, layers=1)
    genus.fit(model, data, max_steps=3, validation=None, progress=False)
    forecast = genus.forecast(model, data.x[:, :2].reshape(2, 2, 1).numpy(), steps=3, times=5, seed=0)
    assert forecast.draws.shape == (2, 5, 3, 1)
    assert genus.Space.from_json(data.space.to_json()) == data.space
