"""Relations between columns: rewrites in the codec, exact both ways, saved and loaded."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from command import run

import genus
from genus.codec import Codec
from genus.codec.constraints import Constraint
from genus.codec.forms import Form
from genus.codec.rewrites import Rewrite, _rewrites, place_columns, rewrite_from_json
from genus.data import Schema
from genus.errors import DataError
from genus.evaluation.page import _facts
from genus.evaluation.results import Results, Row
from genus.sklearn import DensityEstimator
from genus.space import Category, Lattice, Space


@pytest.fixture
def doubled() -> Iterator[type[Rewrite]]:
    """A rewrite that is gone after the test: column b is twice column a."""

    @dataclass(frozen=True)
    class Doubled(Rewrite):
        a: str
        b: str

        @property
        def reads(self) -> tuple[str, ...]:
            return (self.a, self.b)

        def forward(self, table: pa.Table) -> tuple[pa.Table, np.ndarray]:
            broken = pc.not_equal(table.column(self.b), pc.multiply(table.column(self.a), 2))
            return place_columns(table, [self.b], {}), np.asarray(broken, dtype=bool)

        def backward(self, table: pa.Table, seed: int = 0, start: int = 0) -> pa.Table:
            return table.append_column(self.b, pc.multiply(table.column(self.a), 2))

        def describe(self) -> str:
            return f"{self.b} = 2 {self.a}"

    yield Doubled
    del _rewrites["doubled"]


def doubled_codec(doubled: type[Rewrite], form: Form) -> Codec:
    space = Space([Lattice(0, 9), Category(("x", "y"))], names=["a", "t"])
    return Codec(space, form, (doubled(a="a", b="b"),), ("b", "a", "t"))  # type: ignore[call-arg]


def test_a_rewrite_stands_between_the_table_and_the_space(doubled: type[Rewrite], tmp_path: Path) -> None:
    codec = doubled_codec(doubled, Form("pyarrow", ("int64", "int64", "string")))
    table = pa.table({"b": [2, 8], "a": [1, 4], "t": ["y", "x"]})
    x = codec.encode(table)
    assert x.tolist() == [[1, 1], [4, 0]]
    assert codec.decode(x).equals(table)
    wrong = pa.table({"t": ["y", "x"], "b": [3, 8], "a": [1, 4]})
    with pytest.raises(DataError, match=r"^Row 0 breaks b = 2 a: 'a' is 1 and 'b' is 3; drop"):
        codec.encode(wrong)
    assert codec.encode(wrong, beyond=True).tolist() == [[torch.inf, torch.inf], [4, 0]]
    with pytest.raises(DataError, match="lack column 'b'"):
        codec.encode(wrong.drop_columns(["b"]))
    assert "relation  b = 2 a" in str(codec)
    model = genus.build("naive-bayes", codec.space)
    model.codec = codec
    genus.save(model, tmp_path / "model.genus")
    assert genus.load(tmp_path / "model.genus").codec == codec


def test_a_rewrite_of_a_file_is_checked(doubled: type[Rewrite]) -> None:
    codec = doubled_codec(doubled, Form("pyarrow", ("int64", "int64", "string")))
    described = codec.to_json()
    assert described is not None
    assert Codec.from_json(codec.space, described) == codec
    for wrong in ({"rewrite": "none"}, {"rewrite": "doubled"}, {"rewrite": "doubled", "a": "a", "b": "b", "c": 1}, 3):
        with pytest.raises(DataError):
            rewrite_from_json(wrong)
    with pytest.raises(DataError, match="lead to the columns a, t"):
        Codec.from_json(codec.space.select([1]), described)
    with pytest.raises(DataError, match="needs a form"):
        replace(codec, form=None)


def test_arrays_go_through_rewrites_too(doubled: type[Rewrite]) -> None:
    space = Space([Lattice(0, 9)], names=["a"])
    codec = Codec(space, Form("numpy", ("int64",)), (doubled(a="a", b="b"),), ("a", "b"))  # type: ignore[call-arg]
    array = np.array([[1, 2], [3, 6]])
    assert codec.encode(array).tolist() == [[1], [3]]
    assert codec.decode(codec.encode(array)).tolist() == array.tolist()


# -- what is found ----------------------------------------------------------------------------------------------------------

STATES = {"Reno": "NV", "Ely": "NV", "Austin": "TX", "Boston": "MA"}


def sales(n: int = 400) -> pd.DataFrame:
    """Bills with a total, stays with dates and nights, moments, cities with their states, and three ordered numbers."""
    rng = np.random.default_rng(0)
    net, tip = np.round(rng.gamma(2, 30, n), 2), np.round(rng.gamma(1, 3, n), 2)
    tax = np.round(net * 0.2 * rng.random(n), 2)
    start = pd.Timestamp("2022-01-01") + pd.to_timedelta(rng.integers(0, 400, n), "D")
    nights = rng.integers(0, 12, n)
    sent = pd.Timestamp("2022-01-01 08:00") + pd.to_timedelta(rng.integers(0, 10**7, n), "s")
    low = rng.normal(0, 1, n).round(1)
    mid = (low + rng.exponential(1, n)).round(1)
    city = rng.choice(list(STATES), n)
    return pd.DataFrame(
        {
            "city": city,
            "state": pd.Categorical([STATES[c] for c in city], ["MA", "NV", "NY", "TX"]),
            "net": net,
            "tax": tax,
            "tip": tip,
            "total": (net + tax + tip).round(2),
            "start": start,
            "end": start + pd.to_timedelta(nights, "D"),
            "nights": nights,
            "sent": sent,
            "got": sent + pd.to_timedelta(rng.integers(60, 90_000, n), "s"),
            "low": low,
            "mid": mid,
            "high": (mid + rng.exponential(1, n)).round(1),
        }
    )


def found(data: genus.Dataset) -> set[str]:
    assert data.codec is not None
    return {rewrite.describe() for rewrite in data.codec.rewrites}


def test_relations_are_found_kept_and_undone() -> None:
    frame = sales()
    data = genus.read(frame)
    assert found(data) == {
        "state is a function of city",
        "total = net + tax + tip",
        "start <= end",
        "nights = end - start",
        "sent <= got",
        "low <= mid",
        "mid <= high",
    }
    assert "x holds 'end - start' (days) in place of 'end'" in str(data)
    pd.testing.assert_frame_equal(data.frame(), frame)
    assert found(genus.read(frame, relations=False)) == set()
    assert found(genus.read(frame.head(49))) == set()


@pytest.mark.parametrize("target", ["state", "total", "low", "mid", "high", "nights", "end"])
def test_a_target_stays_a_column(target: str) -> None:
    frame = sales()
    data = genus.read(frame, target=target)
    assert data.target == target
    pd.testing.assert_frame_equal(data.frame(), frame)
    if target in ("mid", "high"):
        assert {"low <= mid", "mid <= high"} <= found(data)


def test_draws_obey_what_was_found() -> None:
    data = genus.read(sales())
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, progress=False)
    drawn = model.decode(model.sample(2000, seed=0))
    assert (drawn.start <= drawn.end).all()
    assert (drawn.sent <= drawn.got).all()
    assert ((drawn.low <= drawn.mid) & (drawn.mid <= drawn.high)).all()
    assert ((drawn.net + drawn.tax + drawn.tip - drawn.total).abs() < 1e-9).all()
    assert ((drawn.end - drawn.start).dt.days == drawn.nights).all()
    assert (drawn.city.map(STATES) == drawn.state.astype(str)).all()


def test_what_chance_explains_is_not_found() -> None:
    rng = np.random.default_rng(0)
    n = 1000
    low = rng.normal(0, 1, n)
    frame = pd.DataFrame(
        {
            "apart": rng.integers(1000, 2000, n),  # the ranges of this and the next do not overlap
            "small": rng.integers(0, 900, n),
            "low": low.round(2),
            "soft": (low + rng.normal(5, 1.2, n)).round(2),  # a bound by nothing: the gaps thin out before 0
            "code": rng.integers(0, 400, n).astype(str),
            "rare": np.where(np.arange(n) < 3, "yes", "no"),
        }
    )
    assert (frame.low <= frame.soft).all()
    assert found(genus.read(frame)) == set()
    iris = genus.read("iris")
    assert found(iris) == set()


def test_sums_keep_signs_and_find_the_total() -> None:
    rng = np.random.default_rng(1)
    income, cost = rng.integers(0, 900, 300), rng.integers(0, 900, 300)
    frame = pd.DataFrame({"income": income, "profit": income - cost, "cost": cost, "copy": income})
    assert found(genus.read(frame)) == {"profit = income - cost", "copy = income"}
    shares = rng.multinomial(100, [0.2, 0.3, 0.5], 300)  # draws in which the last would be negative are drawn again
    assert found(genus.read(pd.DataFrame(shares, columns=list("abc")))) == {"c >= 0", "c = 100 - a - b"}


def test_missing_values_go_along() -> None:
    frame = sales()[["start", "end", "net", "tax", "tip", "total"]]
    frame.loc[::7, "end"] = None  # has not left yet
    frame.loc[::5, ["net", "tax", "tip", "total"]] = None
    data = genus.read(frame)
    together = "net, tax, tip and total are missing in the same rows"
    assert found(data) == {"start <= end", "total = net + tax + tip", together}
    model = genus.build("naive-bayes", data.space)
    assert genus.fit(model, data, progress=False).acceptance < 0.6
    assert model.decode(model.sample(500, seed=0))[["net", "tax", "tip", "total"]].isna().sum(axis=1).isin([0, 4]).all()
    pd.testing.assert_frame_equal(data.frame(), frame)
    declared = genus.read(frame, relations=False, constraints=["net missing with tax, tip, total"])
    assert found(declared) == {together}
    with pytest.raises(DataError, match="is not understood at 'fax'"):
        genus.read(frame, constraints=["net missing with fax"])
    frame.loc[3, "start"] = None  # a gap from nothing would forget the end
    assert "start <= end" not in found(genus.read(frame))


def test_a_value_that_is_missing_follows_from_the_others() -> None:
    data = genus.read(sales())
    assert data.codec is not None
    rows = sales(3)
    rows["tax"] = rows["tax"].mask(rows.index == 1)
    torch.testing.assert_close(data.codec.encode(rows), data.codec.encode(sales(3)))
    rows = sales(3).assign(city=[None, "Ely", "Ely"], state=["TX", "NV", "NV"])
    assert data.codec.encode(rows)[0, 0] == data.space.kinds[0].levels.index("Austin")  # type: ignore[union-attr]


# -- densities --------------------------------------------------------------------------------------------------------------


def test_all_rows_together_have_mass_one() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 4, 300)
    frame = pd.DataFrame({"a": a, "b": a + rng.integers(0, 3, 300), "odd": np.where(a % 2, "yes", "no")})
    data = genus.read(frame)
    assert found(data) == {"a <= b", "odd is a function of a"}
    assert data.codec is not None
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, progress=False)
    every = pd.DataFrame(itertools.product(range(4), range(6), ("yes", "no")), columns=["a", "b", "odd"])
    x = data.codec.encode(every, beyond=True)
    possible = ~x.isinf().any(1)
    assert possible.sum() == 12
    assert model.log_prob(x[possible]).exp().sum().item() == pytest.approx(1, abs=1e-6)


def test_a_gap_has_a_jacobian_of_one() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(0, 1, 500)
    data = genus.read(pd.DataFrame({"a": a, "b": a + rng.exponential(1, 500)}))
    assert found(data) == {"a <= b"}
    assert data.codec is not None
    model = genus.build("mixture", data.space, components=3)
    genus.fit(model, data, progress=False, seed=0)
    grid = np.arange(-8, 14, 0.05)
    rows = pd.DataFrame(list(itertools.product(grid, grid)), columns=["a", "b"])
    x = data.codec.encode(rows, beyond=True)
    inside = ~x.isinf().any(1)
    mass = model.log_prob(x[inside]).exp().sum().item() * 0.05**2
    below = (model.sample(20_000, seed=0)[:, 1] < 0).double().mean().item()
    assert mass == pytest.approx(1 - below, abs=0.05)  # the grid is coarse near a gap of 0


# -- what is declared -------------------------------------------------------------------------------------------------------


def test_declared_relations_are_represented() -> None:
    rules = ["start <= end", "city -> state", "low <= mid <= high", "net + tax + tip = total"]
    data = genus.read(sales(), relations=False, constraints=rules)
    assert data.codec is not None
    assert not data.codec.constraints
    assert len(found(data)) == 5
    pd.testing.assert_frame_equal(data.frame(), sales())


def test_other_constraints_are_kept_by_rejection(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.integers(0, 4, (900, 2)), columns=["a", "b"])
    frame = frame[(2 * frame.a <= frame.b + 3) & (frame.a != frame.b - 3)]
    rules = ["2 * a <= b + 3", "a != b - 3"]
    data = genus.read(frame, relations=False, constraints=rules)
    assert data.codec is not None
    assert [one.describe() for one in data.codec.constraints] == rules
    model = genus.build("naive-bayes", data.space)
    history = genus.fit(model, data, progress=False)
    assert 0.5 < history.acceptance < 0.95
    assert "of draws obey the constraints" in str(history)
    drawn = model.decode(model.sample(2000, seed=1))
    assert (2 * drawn.a <= drawn.b + 3).all()
    every = pd.DataFrame(itertools.product(range(4), range(4)), columns=["a", "b"])
    x = data.codec.encode(every, beyond=True)
    assert model.log_prob(x[~x.isinf().any(1)]).exp().sum().item() == pytest.approx(1, abs=0.02)
    genus.save(model, tmp_path / "model.genus")
    loaded = genus.load(tmp_path / "model.genus")
    assert (loaded.acceptance, loaded.codec) == (model.acceptance, model.codec)
    circle = genus.read(frame.assign(b=frame.a), relations=False, constraints=["a <= b", "b <= a"])
    assert circle.codec is not None
    assert [one.describe() for one in circle.codec.constraints] == ["b <= a"]
    clock = pd.DataFrame({"opens": rng.integers(0, 50_000, 200), "shuts": rng.integers(50_000, 86_400, 200)})
    clock.loc[::2, "shuts"] = clock.opens + 3600
    clock = clock.apply(lambda column: pd.to_datetime(column, unit="s").dt.time)
    times = genus.read(clock)
    assert found(times) == {"opens <= shuts"}
    model = genus.build("naive-bayes", times.space)
    assert 0.5 < genus.fit(model, times, progress=False).acceptance < 1
    drawn = model.decode(model.sample(300, seed=0))
    assert (drawn.opens <= drawn.shuts).all()


def test_what_is_never_drawn_is_an_error() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=200)
    data = genus.read({"a": values, "b": 2 * values}, constraints=["2 * a = b"])
    with pytest.raises(genus.GenusError, match=r"None of 10,000 draws obeys '2 \* a = b'"):
        genus.fit(genus.build("naive-bayes", data.space), data, progress=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no comparison of columns"),
        ("start <", "is no comparison of columns"),
        ("start < nothing", "is not understood at 'nothing'"),
        ("3 < 4", "is no comparison of columns"),
        ("city < 3", "compares text"),
        ("city + 1 = state", "calculates with text"),
        ("start < 'soon'", "compares start with 'soon', which is no timestamp"),
        ("high <= low", r"^Row 0 \(\d+ such in all\) breaks high <= low: 'high' is"),
        ("city -> tip", "^The rows break 'city -> tip': where city is"),
        ("low -> high", "needs a column 'low' of few values"),
        ("low -> high -> mid", "is no function; expected A -> B"),
        ("__import__('os')", "is not understood at"),
        ("low if mid else high", "is not understood at"),
        ("low <= (lambda: 1)()", "is not understood at"),
        ("low ** 2 < 3 ", "is no comparison|holds more than"),
    ],
)
def test_a_constraint_that_makes_no_sense_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        genus.read(sales(100), constraints=[text])
    assert "\n" not in str(caught.value)


def test_names_with_signs_and_words_of_constraints() -> None:
    names = ("a-b", "a", "b", "a b", 'say "x"')
    table = pa.table(dict(zip(names, ([1, 5], [1, 1], [3, 3], [2, 2], [0, 9]), strict=True)))
    for text, broken in {
        "a-b < b": [False, True],
        "a - b < 0": [False, False],
        "`a b` >= 'a-b'": None,
        '`a b` >= "a-b"': [False, True],
        "-a < 2 * (b - 1) / 2": [False, False],
        "a <= a b < b": [False, False],
    }.items():
        if broken is None:
            with pytest.raises(DataError, match="compares text"):
                Constraint(text, names).forward(table)
        else:
            assert Constraint(text, names).forward(table)[1].tolist() == broken, text


# -- the command line, and real data ----------------------------------------------------------------------------------------


def test_the_command_line_keeps_relations(tmp_path: Path) -> None:
    path, model = tmp_path / "stays.csv", tmp_path / "model.genus"
    frame = sales()[["start", "end", "city", "state", "tip"]]
    frame[["a", "b"]] = np.random.default_rng(0).integers(0, 4, (400, 2))
    frame = frame[2 * frame.a <= frame.b + 3].reset_index(drop=True)
    frame.to_csv(path, index=False)
    fitted = run("fit", path, "--family", "naive-bayes", "--out", model, "--constraint", "2 * a <= b + 3")
    assert fitted.code == 0, fitted.err
    assert "relation  start <= end: x holds 'end - start' (days) in place of 'end'" in fitted.err
    assert "of draws obey the constraints; the others are drawn again" in fitted.out
    drawn = pd.read_csv(io.StringIO(run("sample", model, "-n", 500, "--seed", 1).out))
    assert list(drawn.columns) == list(frame.columns)
    assert ((drawn.start <= drawn.end) & (2 * drawn.a <= drawn.b + 3) & (drawn.city.map(STATES) == drawn.state)).all()
    wrong = frame.head(4).copy()
    wrong.loc[1, "end"] = wrong.loc[1, "start"] - pd.Timedelta("1D")
    wrong.loc[2, "state"] = "TX" if wrong.loc[2, "state"] == "NV" else "NV"
    wrong.loc[3, ["a", "b"]] = [3, 0]
    wrong.to_csv(tmp_path / "wrong.csv", index=False)
    scored = run("score", model, tmp_path / "wrong.csv", "--json")
    assert [value is None for value in json.loads(scored.out)["log_density"]] == [False, True, True, True]
    for reason in ("breaks 2 * a <= b + 3: 'a' is 3 and 'b' is 0;", "Row 2 breaks state is a", "Row 1 breaks start <= end:"):
        assert reason in scored.err
    assert "relations=" not in scored.err
    run("fit", path, "--family", "mixture", "--out", tmp_path / "no", "--constraint", "tip <").refused(1, "tip <", "a <= b")
    plain = run("fit", path, "--family", "naive-bayes", "--out", model, "--no-relations")
    assert "relation" not in plain.err


def test_shares_of_a_constant_stay_shares() -> None:
    rng = np.random.default_rng(0)
    share = rng.dirichlet([3, 2, 1], 300).round(3)
    level = rng.integers(0, 3, 300)
    columns = {"a": 1 - share[:, 1] - share[:, 2], "b": share[:, 1], "c": share[:, 2]}
    columns = {name: values.round(3) for name, values in columns.items()} | {
        f"is {i}": (level == i).astype(int) for i in range(3)
    }
    data = genus.read(columns)
    assert {"a >= 0", "a = 1 - b - c"} <= {str(one.describe()) for one in data.codec.rewrites}
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, progress=False)
    drawn = model.decode(model.sample(500, seed=0))
    parts, flags = (np.stack([drawn[name] for name in names]) for names in (["a", "b", "c"], [f"is {i}" for i in range(3)]))
    assert parts.min() >= 0
    np.testing.assert_allclose(parts.sum(0), 1)
    assert (flags.sum(0) == 1).all()
    assert set(flags.ravel().tolist()) == {0, 1}


def test_groups_of_a_number_follow_from_it_where_no_row_has_the_number_too() -> None:
    rng = np.random.default_rng(1)
    age = rng.gamma(5, 7, 800).round().astype(int).clip(1, 95)
    group = np.where(age < 18, "child", np.where(age < 65, "adult", "senior"))
    data = genus.read({"age": age, "group": group, "v": rng.normal(size=800)})
    assert "group is a function of age" in str(data)
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, progress=False)
    drawn = model.decode(model.sample(2000, seed=0))
    assert drawn["age"].max() > age.max()
    assert (np.where(drawn["age"] < 18, "child", np.where(drawn["age"] < 65, "adult", "senior")) == drawn["group"]).all()
    group[0] = "other"  # an age in two groups
    assert "function" not in str(genus.read({"age": age, "group": group}))


def test_names_may_tell_an_order() -> None:
    rng = np.random.default_rng(0)
    mean = 20 + 5 * rng.normal(size=300)
    spread = np.abs(rng.normal(size=(2, 300))).clip(0.3) + rng.exponential(0.4, (2, 300))
    named = {"t_min": (mean - spread[0]).round(2), "t_mean": mean.round(2), "t_max": (mean + spread[1]).round(2)}
    found = [one.describe() for one in genus.read(named).codec.rewrites]
    assert found == ["t_mean <= t_max", "t_min <= t_mean"]
    assert not genus.read(dict(zip("uvw", named.values(), strict=True))).codec.rewrites  # chance may have it so


def test_times_beside_a_relation_are_written_as_they_came(tmp_path: Path) -> None:
    rng, path, model = np.random.default_rng(0), tmp_path / "flights.csv", tmp_path / "model.genus"
    start = pd.Timestamp("2021-03-01 06:00") + pd.to_timedelta(rng.integers(0, 900, 120), "h")
    end = start + pd.to_timedelta(rng.integers(20, 90, 120), "m")
    frame = pd.DataFrame({"id": range(1001, 1121), "from": start.strftime("%d.%m.%Y %H:%M")})
    frame["open"], frame["until"] = start.strftime("%H:%M"), end.strftime("%d.%m.%Y %H:%M")
    frame.to_csv(path, index=False)
    assert "from <= until" in run("fit", path, "--family", "naive-bayes", "--out", model).err
    drawn = pd.read_csv(io.StringIO(run("sample", model, "-n", 20, "--seed", 1).out), dtype=str)
    for name, pattern in (
        ("from", r"\d\d\.\d\d\.2021 \d\d:\d\d"),
        ("until", r"\d\d\.\d\d\.2021 \d\d:\d\d"),
        ("open", r"\d\d:\d\d"),
    ):
        assert drawn[name].str.fullmatch(pattern).all(), drawn[name]


def test_an_estimator_may_keep_relations() -> None:
    frame = sales()[["start", "end", "tip", "city", "state"]]
    plain, kept = (DensityEstimator("naive-bayes", relations=relations).fit(frame) for relations in (False, True))
    assert np.isfinite(plain.score_samples(frame)).all()
    assert np.isfinite(kept.score_samples(frame)).all()
    assert kept.score(frame) > plain.score(frame) + 2  # nats that the end and the state no longer cost
    wrong = frame.assign(end=frame.start - pd.Timedelta("1D"))
    assert np.isneginf(kept.score_samples(wrong)).all()
    drawn = kept.sample(500, random_state=0)
    assert (drawn.start <= drawn.end).all()
    assert list(drawn.columns) == list(frame.columns)
    low = np.random.default_rng(0).normal(size=300)
    array = np.stack([low + np.random.default_rng(1).exponential(size=300), low], axis=1)
    estimator = DensityEstimator("mixture", relations=True, random_state=0).fit(array)
    assert np.isneginf(estimator.score_samples(array[:, ::-1])).all()
    assert estimator.sample(5, random_state=0).shape == (5, 2)


def test_a_report_tells_relations() -> None:
    data = genus.read(sales(200)[["city", "state", "start", "end"]], constraints=["city != 'Paris'"])
    results = Results("stays", data.space, [Row("naive-bayes")], data_codec=data.codec)
    told = json.loads(json.dumps(results.to_json()))
    assert told["relations"][0] == "city != 'Paris': draws that break it are drawn again"
    assert {"state is a function of city: x holds no 'state'"} < {*told["relations"]}
    assert Results.from_json(told).codec == data.codec
    assert "start <= end: x holds" in dict(_facts(results))["relations"]


def test_a_stay_does_not_end_before_it_begins(shared: Path) -> None:
    data = genus.read(shared.parent / "cases" / "a-before-b" / "hotel.csv")
    assert found(data) == {"checkin < checkout"}
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, progress=False)
    drawn = model.decode(model.sample(4000, seed=0)).to_pandas()
    nights = (pd.to_datetime(drawn.checkout) - pd.to_datetime(drawn.checkin)).dt.days
    assert nights.min() == 1
    assert nights.max() <= 9


def test_relations_of_real_tables(shared: Path) -> None:
    adult = genus.read(shared / "tables" / "adult-train.csv", target="income")
    assert found(adult) == {"education.num is a function of education"}
    assert found(genus.read(shared / "tables" / "default.csv.gz")) == set()
    assert found(genus.read(shared / "tables" / "magic.csv.gz")) == {"fConc1 <= fConc", "fWidth <= fLength"}
    means = {f"mean {name} <= worst {name}" for name in ("radius", "texture", "perimeter", "area", "compactness")}
    assert means <= found(genus.read("breast-cancer"))
    assert found(genus.read("wine")) == found(genus.read("diabetes")) == set()


def test_blanks_that_tell_another_column_are_values() -> None:
    """Those who live have no cause of death: a draw has both, or neither."""
    rng = np.random.default_rng(0)
    dead = rng.random(600) < 0.3
    cause = np.where(dead, rng.choice(["heart", "lung", "other"], 600), None)
    data = genus.read(pd.DataFrame({"age": rng.integers(40, 90, 600), "dead": dead.astype(int), "cause": cause}))
    assert not any(kind.unknown for kind in data.space.kinds)
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, progress=False)
    drawn = data.codec.decode(model.sample(1000, seed=0))
    assert drawn["cause"].isna().eq(drawn["dead"] == 0).all()
    assert 0.2 < drawn["dead"].mean() < 0.4


def test_a_replaced_column_keeps_the_ends_that_many_rows_lie_at() -> None:
    rng = np.random.default_rng(0)
    owned = (rng.random(500) < 0.7).astype(int)
    spread = rng.normal(0, 1, 500).round(1)
    rows = {"owned": owned, "loan": owned * (rng.random(500) < 0.6), "low": spread, "high": spread + rng.poisson(9, 500) / 10}
    data = genus.read(pd.DataFrame(rows))
    kept = [rewrite.text for rewrite in data.codec.rewrites if isinstance(rewrite, Constraint)]
    assert kept == ["owned <= 1"]  # a mortgage of 1 beside a gap of 1; no row lies at the ends of a normal
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, progress=False)
    drawn = data.codec.decode(model.sample(1000, seed=0))
    assert set(drawn["owned"]) == {0, 1}
    assert (drawn["loan"] <= drawn["owned"]).all()


def test_columns_of_which_one_is_1_are_one_column_of_levels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    level = rng.choice(3, 400, p=[0.6, 0.3, 0.1])
    frame = pd.DataFrame({f"is {i}": (level == i).astype(int) for i in range(3)} | {"v": rng.normal(level, 0.5).round(2)})
    data = genus.read(frame)
    assert data.space.names == ("is 0 to is 2", "v")
    assert data.space.kinds[0] == Category(("is 0", "is 1", "is 2"))
    pd.testing.assert_frame_equal(data.frame(), frame)
    assert genus.read(frame, schema=Schema.of(data)).codec.rewrites == data.codec.rewrites  # where it is declared
    model = genus.build("mixture", data.space)
    genus.fit(model, data, seed=0, progress=False)
    genus.save(model, tmp_path / "m.genus")
    model = genus.load(tmp_path / "m.genus")
    drawn = model.decode(model.sample(500, seed=0))
    assert (drawn[["is 0", "is 1", "is 2"]].sum(axis=1) == 1).all()
    assert model.acceptance == 1
    none = model.decode(model.sample(100, where={"is 1": 0, "is 0": 0}, seed=0))
    assert (none["is 2"] == 1).all()
    blank = frame.astype(float)
    blank.loc[:49, "is 2"] = np.nan  # follows from the others
    blank.loc[50:99, ["is 1", "is 2"]] = np.nan  # does where "is 0" is 1
    filled = genus.impute(model, blank, seed=0).tables[0].to_pandas()
    assert (filled[["is 0", "is 1", "is 2"]].sum(axis=1) == 1).all()
    assert (filled["is 0"] == frame["is 0"]).all()
    assert (filled.loc[:49, "is 2"] == frame.loc[:49, "is 2"]).all()
    assert (genus.predict(model, frame, "is 1").value == frame["is 1"]).all()
    with pytest.raises(DataError, match="exactly one of is 0, is 1, is 2 is 1"):
        genus.read(frame.assign(**{"is 0": 1}), space=data.codec)


def test_an_order_with_a_list_of_values_is_kept_by_rejection() -> None:
    rng = np.random.default_rng(0)
    low = rng.integers(0, 60, 600)
    offers = np.array([5, 20, 50, 100, 250])
    high = np.array([rng.choice(offers[offers > at]) for at in low])
    data = genus.read({"asked": low, "offered": high})
    assert "asked < offered" in {str(one.describe()) for one in data.codec.constraints}
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, progress=False)
    drawn = model.decode(model.sample(500, seed=0))
    assert {*drawn["offered"].tolist()} <= {*offers.tolist()}
    assert (drawn["asked"] < drawn["offered"]).all()
