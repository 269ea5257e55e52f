"""Columns that a formula of others gives, to the last decimal: rounded totals, shares, amounts, unit prices, taxes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import genus
from genus.codec import Formula
from genus.codec.rewrites import rewrite_from_json
from genus.data.schema import Schema
from genus.errors import DataError


def found(data: genus.Dataset) -> set[str]:
    assert data.codec is not None
    return {rewrite.describe() for rewrite in data.codec.rewrites}


def draws(data: genus.Dataset, n: int = 500) -> pd.DataFrame:
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, seed=0, progress=False)
    drawn = model.decode(model.sample(n, seed=1))
    assert isinstance(drawn, pd.DataFrame)
    return drawn


def bills(n: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    count, price = rng.integers(1, 12, n), np.round(rng.gamma(3, 7, n) + 0.5, 2)
    return pd.DataFrame({"item": rng.choice(list("pqr"), n), "count": count, "price": price, "due": np.round(count * price, 2)})


def test_an_amount_is_count_times_price() -> None:
    frame = bills()
    data = genus.read(frame)
    assert found(data) == {"due = count * price"}
    assert data.space.names == ("item", "count", "price")
    pd.testing.assert_frame_equal(data.frame(), frame)
    drawn = draws(data)
    np.testing.assert_allclose(drawn["due"], drawn["count"] * drawn["price"], atol=1e-9)
    assert found(genus.read(frame, schema=Schema.of(data))) == {"due = count * price"}
    assert found(genus.read(frame, target="due")) >= {"price = due / count"}
    assert found(genus.read(frame, relations=False)) == set()
    assert data.codec is not None
    assert [rewrite_from_json(one.to_json()) for one in data.codec.rewrites] == [*data.codec.rewrites]
    wrong = data.codec.encode(frame.assign(due=frame["due"] + (frame.index == 7)), beyond=True)
    assert np.flatnonzero(wrong.isinf().any(1)).tolist() == [7]
    with pytest.raises(DataError, match="breaks due = count \\* price"):
        genus.read(frame.assign(due=frame["due"] + 1), space=data.codec)


def test_a_unit_price_is_an_amount_by_its_count() -> None:
    frame = bills()
    frame["due"] = np.round(frame["due"] * 0.93, 2)
    frame["each"] = np.round(frame["due"] / frame["count"] + 1e-9, 2)
    assert "each = due / count" in found(genus.read(frame))


def test_what_is_blank_follows_from_the_others() -> None:
    frame = bills()
    data = genus.read(frame)
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, seed=0, progress=False)
    blank = frame.astype({"count": float})
    blank.loc[:29, "due"] = np.nan
    blank.loc[30:59, "price"] = np.nan
    blank.loc[60:89, ["price", "due"]] = np.nan
    filled = genus.impute(model, blank, seed=0).tables[0].to_pandas()
    assert filled.notna().all().all()
    np.testing.assert_allclose(filled["due"], (filled["count"] * filled["price"]).round(2), atol=1e-9)
    np.testing.assert_allclose(filled["price"][30:60], frame["price"][30:60], atol=0.011)
    assert (filled["due"][30:60] == frame["due"][30:60]).all()


def test_a_blank_below_the_line_is_tried() -> None:
    rng = np.random.default_rng(6)
    count, due = rng.integers(1, 6, 500), rng.integers(100, 9000, 500) / 100
    frame = pd.DataFrame({"due": due, "count": count, "each": (due / count + 1e-9).round(2)})
    data = genus.read(frame)
    assert {"each = due / count"} & {text.removesuffix(", nearly") for text in found(data)}
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, seed=0, progress=False)
    blank = frame.head(40).astype({"count": float})
    blank["count"] = np.nan
    filled = genus.impute(model, blank, seed=0).tables[0].to_pandas()
    assert (filled["count"] == frame["count"][:40]).mean() > 0.9


def rounded(n: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    net, tax = rng.gamma(3, 20, n), rng.gamma(2, 30, n)
    shares = rng.dirichlet([3, 2, 1], n) * 100
    names = {"coal": shares[:, 0], "gas": shares[:, 1], "wind": shares[:, 2]}
    return pd.DataFrame({"net": net, "tax": tax, "total": net + tax, **names}).round(1)


def test_rounded_sums_and_shares_keep_their_totals() -> None:
    frame = rounded()
    data = genus.read(frame)
    formulas = {"total = net + tax, nearly", "coal = 100 - gas - wind, nearly"}
    assert found(data) == {*formulas, "coal >= 0"}
    pd.testing.assert_frame_equal(data.frame(), frame)
    assert found(genus.read(frame, schema=Schema.of(data))) == {*formulas, "coal >= 0"}
    drawn = draws(data)
    assert (drawn["net"] + drawn["tax"] - drawn["total"]).abs().max() < 0.11
    assert (drawn["coal"] + drawn["gas"] + drawn["wind"] - 100).abs().max() < 0.11
    assert drawn["coal"].min() >= 0
    share = (frame["net"] + frame["tax"] - frame["total"]).abs().gt(0.05).mean()
    assert abs((drawn["net"] + drawn["tax"] - drawn["total"]).abs().gt(0.05).mean() - share) < 0.08


def test_a_known_total_holds_in_what_is_filled() -> None:
    frame = rounded()
    data = genus.read(frame)
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, seed=0, progress=False)
    blank = frame.head(60).copy()
    blank.loc[:19, "tax"] = np.nan
    blank.loc[20:39, "total"] = np.nan
    filled = genus.impute(model, blank, seed=0).tables[0].to_pandas()
    assert filled.notna().all().all()
    assert (filled["total"][:20] == frame["total"][:20]).all()
    assert (filled["net"] + filled["tax"] - filled["total"]).abs().max() < 0.11


def test_a_tax_is_a_share_of_the_price() -> None:
    rng = np.random.default_rng(2)
    net = rng.gamma(3, 20, 500).round(2)
    km = rng.gamma(3, 20, 500).round(1)
    frame = pd.DataFrame({"net": net, "vat": (0.19 * net).round(2), "km": km, "miles": (km / 1.609).round(1)})
    assert {"vat = 0.19 * net", "vat = 0.19 * net, nearly"} & found(genus.read(frame))
    drawn = draws(genus.read(frame))
    assert (drawn["vat"] - 0.19 * drawn["net"]).abs().max() < 0.0151
    assert (drawn["miles"] - drawn["km"] / 1.609).abs().max() < 0.16


def test_chance_is_no_formula() -> None:
    rng = np.random.default_rng(3)
    small = {f"flag {i}": rng.integers(0, 2, 800) for i in range(4)} | {f"few {i}": rng.integers(0, 5, 800) for i in range(4)}
    wide = {f"wide {i}": rng.normal(50, 20, 800).round(1) for i in range(4)}
    assert found(genus.read(pd.DataFrame(small | wide))) == set()


def test_a_formula_is_declared(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    height, weight = rng.normal(1.72, 0.09, 300).round(2), rng.normal(72, 12, 300).round(1)
    frame = pd.DataFrame({"height": height, "weight": weight, "bmi": (weight / height**2).round(1)})
    data = genus.read(frame, constraints=["bmi ~ weight / height / height"])
    assert {"bmi = weight / height / height"} <= {text.removesuffix(", nearly") for text in found(data)}
    pd.testing.assert_frame_equal(data.frame(), frame)
    drawn = draws(data)
    assert (drawn["bmi"] - drawn["weight"] / drawn["height"] ** 2).abs().max() < 0.151
    for text in ("bmi ~ weight +", "bmi ~ bmi * 2", "size ~ weight"):
        with pytest.raises(DataError, match="constraint"):
            genus.read(frame, constraints=[text])


def test_a_formula_of_a_file_is_checked() -> None:
    good = Formula("c", "a * b", ("a", "b"), (-1, 2), "double", 2)
    assert good.declarations == ("c ~ a * b",)
    changes: list[dict[str, Any]] = [
        {"text": "a *"},
        {"text": "a * d"},
        {"places": (1,)},
        {"dtype": "what"},
        {"of": ("a", "c")},
    ]
    for change in changes:
        with pytest.raises(DataError):
            replace(good, **change)


def test_a_formula_that_few_rows_break_is_kept_and_told() -> None:
    frame = rounded()[["net", "tax", "total"]]
    frame.loc[[5, 300], "total"] = (frame["total"] * 10).round(1)
    data = genus.read(frame)
    assert found(data) == {"total = net + tax, nearly"}
    assert any("total = net + tax in all rows but 2 of 600, such as row 5" in note for note in data.notes)
    pd.testing.assert_frame_equal(data.frame(), frame)
    drawn = draws(data)
    assert (drawn["net"] + drawn["tax"] - drawn["total"]).abs().gt(0.3).mean() < 0.02


def test_orders_and_functions_that_few_rows_break_are_told() -> None:
    rng = np.random.default_rng(5)
    states = {"Austin": "TX", "Dallas": "TX", "Miami": "FL", "Boston": "MA"}
    start = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, 600), "D")
    city = rng.choice([*states], 600)
    frame = pd.DataFrame({"start": start, "end": start + pd.to_timedelta(rng.integers(1, 15, 600), "D"), "city": city})
    frame["state"] = frame["city"].map(states)
    assert not any("in all rows but" in note for note in genus.read(frame).notes)
    frame.loc[17, "end"] = frame.loc[17, "start"] - pd.Timedelta(days=3)
    frame.loc[[40, 41], "city"], frame.loc[[40, 41], "state"] = "Austin", "MA"
    notes = [note for note in genus.read(frame).notes if "in all rows but" in note]
    assert any(note.startswith("start < end in all rows but row 17, where start is") for note in notes)
    assert any("state follows from city in all rows but 2 of 600, such as row 40, where city is Austin" in n for n in notes)
    assert len(notes) == 2
    assert not any("in all rows but" in note for note in genus.read(frame, relations=False).notes)
    few = {f"c{i}": rng.choice(["a", "b"], 600, p=[0.99, 0.01]) for i in range(6)}
    assert not any("in all rows but" in note for note in genus.read(pd.DataFrame(few | {"x": rng.normal(0, 1, 600)})).notes)


def test_a_formula_may_read_what_another_makes(tmp_path: Path) -> None:
    """A net amount, the tax on it, and the total of both: each follows from those before, in draws too."""
    rng = np.random.default_rng(0)
    lines = ["total,tax,net,count,price,shipping"]
    for count, price, shipping in zip(
        rng.integers(1, 9, 400), rng.lognormal(3, 0.6, 400), rng.integers(0, 3, 400), strict=True
    ):
        net = round(float(count) * round(float(price), 2), 2)
        tax = round(net * 0.22 + 1e-9, 2)
        lines.append(f"{net + tax:.2f},{tax:.2f},{net:.2f},{count},{price:.2f},{4.5 * shipping:.2f}")
    path = tmp_path / "orders.csv"
    path.write_text("\n".join(lines))
    data = genus.read(path)
    assert data.space.names == ("count", "price", "shipping")
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, progress=False)
    table = model.decode(model.sample(300, seed=0))
    drawn = {name: np.array(table.column(name).to_pylist(), dtype=float) for name in table.column_names}
    assert np.abs(drawn["net"] - drawn["count"] * drawn["price"]).max() < 0.0051
    assert np.abs(drawn["tax"] - 0.22 * drawn["net"]).max() < 0.0051
    assert np.abs(drawn["total"] - drawn["net"] - drawn["tax"]).max() < 0.0051
    # The tax is found beside a declared net amount, and both are taken out in the right order.
    assert data.codec is not None
    assert set(data.codec.form.decimals) >= {"+#.2f", "#.2f"}  # what was shipped for 4.50 is not written 4.5
    declared = genus.read(path, constraints=["net ~ count * price"])
    assert declared.space.names == data.space.names


def test_a_product_that_shuffled_rows_would_hardly_break_is_no_formula() -> None:
    rng = np.random.default_rng(0)
    first, second = np.full(2000, 20.0), np.full(2000, 5.0)
    first[:3], second[3:6] = rng.integers(21, 40, 3), rng.integers(6, 12, 3)
    frame = pd.DataFrame({"first": first, "second": second, "product": first * second, "v": rng.normal(size=2000)})
    assert not [told for told in found(genus.read(frame)) if "*" in told]


def weather(n: int = 600) -> pd.DataFrame:
    celsius = np.random.default_rng(0).normal(12, 8, n)
    return pd.DataFrame({"c": celsius.round(1), "f": (1.8 * celsius + 32).round(1)})


def test_degrees_are_a_line_in_other_degrees() -> None:
    frame = weather()
    exact = frame.assign(f=(1.8 * frame["c"] + 32).round(1), k=(frame["c"] + 273.15).round(2))
    data = genus.read(exact)
    assert found(data) == {"f = 1.8 * c + 32", "k = c + 273.15"}
    assert found(genus.read(exact[["f", "c", "k"]])) == {
        "f = 1.8 * c + 32",
        "k = c + 273.15",
    }
    pd.testing.assert_frame_equal(data.frame(), exact)
    drawn = draws(data)
    np.testing.assert_allclose(drawn["f"], (1.8 * drawn["c"] + 32).round(1), atol=1e-9)
    data = genus.read(frame)
    assert found(data) == {"f = 1.8 * c + 32, nearly"}
    assert found(genus.read(frame[["f", "c"]])) == {"f = 1.8 * c + 32, nearly"}
    pd.testing.assert_frame_equal(data.frame(), frame)
    drawn = draws(data)
    assert np.abs(drawn["f"] - 1.8 * drawn["c"] - 32).max() < 0.2
    born = np.random.default_rng(1).integers(1930, 2005, 600)
    assert "age = 2024 - born" in found(genus.read(pd.DataFrame({"born": born, "age": 2024 - born})))


def test_numbers_that_go_together_are_no_line() -> None:
    frame = weather()
    frame["f"] = (frame["f"] + np.random.default_rng(1).normal(0, 0.5, len(frame))).round(1)
    assert found(genus.read(frame)) == set()


def test_an_amount_is_count_times_price_less_a_discount() -> None:
    frame = bills()
    off = np.random.default_rng(1).choice([0, 0.1, 0.2, 0.25], len(frame))
    frame["off"] = off
    frame["due"] = (frame["count"] * frame["price"] * (1 - off) + 1e-9).round(2)
    data = genus.read(frame)
    assert found(data) >= {"due = count * price * (1 - off)"}
    pd.testing.assert_frame_equal(data.frame(), frame)
    drawn = draws(data)
    np.testing.assert_allclose(drawn["due"], drawn["count"] * drawn["price"] * (1 - drawn["off"]), atol=0.0051)
    rng = np.random.default_rng(2)
    sides = pd.DataFrame(rng.integers(2, 30, (600, 3)), columns=["long", "wide", "high"])
    sides["volume"] = sides.prod(axis=1)
    assert found(genus.read(sides)) == {"volume = long * wide * high"}
    sides["volume"] = rng.permutation(sides["volume"])
    assert found(genus.read(sides)) == set()
