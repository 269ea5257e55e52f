"""Columns that follow from one another though cells of them are blank: found, filled both ways, drawn without contradiction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import genus
from genus.codec import Function
from genus.codec.rewrites import rewrite_from_json
from genus.data import Schema
from genus.errors import DataError

NAMES = ("none", "school", "college", "bachelor", "master", "doctor")
STATE = {"Reno": "NV", "Elko": "NV", "Boise": "ID", "Salem": "OR", "Bend": "OR"}
Table = dict[str, list[Any]]


def read(table: Table, **arguments: Any) -> genus.Dataset:
    return genus.read(pa.table(table), **arguments)


def blanked(values: list[Any], where: np.ndarray) -> list[Any]:
    return [None if blank else value for value, blank in zip(values, where, strict=True)]


def schooling(rows: int = 600, share: float = 0.2, seed: int = 0) -> tuple[Table, Table]:
    """Return a whole table in which a level and its number tell each other, and the same with blanks in both."""
    rng = np.random.default_rng(seed)
    level = rng.choice(len(NAMES), rows, p=(0.1, 0.3, 0.2, 0.2, 0.1, 0.1))
    whole = {
        "years": [int(k) + 8 for k in level],
        "degree": [NAMES[k] for k in level],
        "income": (1.5 * level + rng.normal(0, 1, rows)).round(2).tolist(),
    }
    return whole, {name: blanked(v, rng.random(rows) < (0 if name == "income" else share)) for name, v in whole.items()}


def towns(rows: int = 400, seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    city = rng.choice(list(STATE), rows).tolist()
    return {"city": city, "state": [STATE[c] for c in city], "size": rng.normal(0, 1, rows).round(2).tolist()}


def functions(data: genus.Dataset) -> set[str]:
    assert data.codec is not None
    return {one.describe() for one in data.codec.rewrites if isinstance(one, Function)}


def fitted(family: str, data: genus.Dataset) -> genus.GenerativeModel:
    model = genus.build(family, data.space)
    genus.fit(model, data, seed=0, max_seconds=20, progress=False)
    return model


def contradicts(table: Table) -> int:
    """Return in how many rows both columns of schooling are known, and contradict each other."""
    pairs = zip(table["years"], table["degree"], strict=True)
    return sum(None not in (years, degree) and NAMES[int(years) - 8] != degree for years, degree in pairs)


def test_columns_that_tell_each_other_are_found_and_decoding_keeps_every_known_cell() -> None:
    whole, holed = schooling()
    data = read(holed)
    assert functions(data) == {"years is a function of degree"}
    assert data.space.names == ("degree", "income")
    back = data.frame().to_pydict()
    lost = [(a is None) and (b is None) for a, b in zip(holed["years"], holed["degree"], strict=True)]
    for name in ("years", "degree"):  # what no column tells stays blank, and every other cell is the true one
        assert back[name] == blanked(whole[name], np.array(lost))
    one_known = sum(value is None for name in ("years", "degree") for value in holed[name]) - 2 * sum(lost)
    assert any(f"{one_known} blanks of 'degree' or 'years' are taken" in note for note in data.notes)
    assert functions(read(holed, schema=Schema.of(data))) == functions(data)  # where it is declared
    assert functions(read(holed, unknown=["years", "degree"])) == functions(data)
    assert functions(read(holed, target="years")) == {"degree is a function of years"}
    assert not functions(read(holed, relations=False))


def test_a_row_has_the_density_of_the_row_that_it_is_completed_to() -> None:
    data = read(schooling()[1])
    model = fitted("naive-bayes", data)
    rows = {"years": [11, None, 11], "degree": ["bachelor", "bachelor", None], "income": [4.5] * 3}
    score = model.log_prob(model.codec.encode(rows)).tolist()
    assert score[0] == score[1] == score[2]
    with pytest.raises(DataError, match="breaks years is a function of degree"):
        model.codec.encode(rows | {"years": [10, None, 11]})


@pytest.mark.parametrize("family", ["naive-bayes", "mixture", "trees"])
def test_draws_hold_no_pair_that_contradicts_and_fillings_go_both_ways(family: str) -> None:
    whole, holed = schooling()
    data = read(holed)
    model = fitted(family, data)
    drawn = model.codec.decode(model.sample(400, seed=0)).to_pydict()
    assert not contradicts(drawn)
    assert None not in drawn["years"] + drawn["degree"]
    filled = genus.impute(model, holed, times=2, seed=0)
    for table in filled.tables:
        found = table.to_pydict()
        assert not contradicts(found)
        assert None not in found["years"] + found["degree"]
        for name, other in (("years", "degree"), ("degree", "years")):
            told = np.array([value is not None for value in holed[other]])
            assert np.array(found[name], dtype=object)[told].tolist() == np.array(whole[name], dtype=object)[told].tolist()


def test_a_column_of_which_several_values_have_one_is_filled_where_its_source_is_known() -> None:
    table, rng = towns(), np.random.default_rng(1)
    holed = table | {"state": blanked(table["state"], rng.random(400) < 0.2)}
    data = read(holed)
    assert functions(data) == {"state is a function of city"}
    assert data.frame().to_pydict()["state"] == table["state"]
    # A state does not tell its city, and x would have no place for it beside a city that is blank.
    both = holed | {"city": blanked(table["city"], rng.random(400) < 0.2)}
    data = read(both)
    assert not functions(data)
    assert data.frame().to_pydict() == both
    # A blank of both is none that the function fills.
    alike = rng.random(400) < 0.2
    data = read(holed | {"city": blanked(table["city"], alike), "state": blanked(holed["state"], alike)})
    assert functions(data) == {"state is a function of city"}
    assert data.frame().to_pydict()["state"] == blanked(table["state"], alike)


@pytest.mark.parametrize("how", ["declared", "told"])
def test_blanks_that_are_values_are_not_filled_and_drawn_as_often(how: str) -> None:
    whole, rng = schooling(rows=1000)[0], np.random.default_rng(2)
    secret = rng.random(1000) < 0.3
    holed = whole | {"degree": blanked(whole["degree"], secret)}
    if how == "told":
        holed["asked"] = ["no" if one else "yes" for one in secret]
    data = read(holed, blank_is_a_value=["degree"] if how == "declared" else ())
    assert "degree is a function of years" not in functions(data)
    assert data.frame().to_pydict() == holed
    model = fitted("naive-bayes", data)
    drawn = model.codec.decode(model.sample(2000, seed=0)).to_pydict()
    share = np.mean([value is None for value in drawn["degree"]])
    assert abs(share - secret.mean()) < 0.05


def test_a_key_that_has_only_blanks_beside_it_has_no_value_unless_chance_may_have_it_so() -> None:
    whole, holed = schooling(rows=300)
    some = [k for k, degree in enumerate(whole["degree"]) if degree == "doctor"]
    few = {name: [value for k, value in enumerate(holed[name]) if k not in some[1:]] for name in holed}
    at = some[0]
    few["years"][at], few["degree"][at] = 13, None  # the only doctor
    data = read(few)
    assert functions(data) == {"degree is a function of years"}  # no level stands for 13
    found = data.frame().to_pydict()
    assert found["degree"][at] == "master"  # the level of the nearest number
    assert [years for years, degree in zip(found["years"], found["degree"], strict=True) if degree == "master"].count(13) == 1
    few["years"][at], few["degree"][at] = None, "doctor"  # no number is among the numbers of the other levels
    data = read(few)
    assert functions(data) == {"years is a function of degree"}
    found = data.frame().to_pydict()
    assert found["years"][at] == max({*found["years"]}, key=found["years"].count)
    assert any("no row tells 'years' where 'degree' is 'doctor' (taken for 9)" in note for note in data.notes)
    for k in some:
        holed["years"][k], holed["degree"][k] = 13, None  # many doctors: something hides them
    assert not functions(read(holed))


def test_a_value_that_nothing_tells_stays_where_it_is() -> None:
    _, holed = schooling(rows=300)
    holed["years"][0], holed["degree"][0] = None, "unique"
    holed["years"][1], holed["degree"][1] = 99, None
    data = read(holed)
    assert not functions(data)
    assert data.frame().to_pydict() == holed


def test_few_rows_with_both_columns_prove_nothing() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.choice(3, 400) for _ in range(2))
    hidden = rng.random(400) < 0.5
    second[:] = np.where(np.arange(400) < 8, first, second)  # the only rows in which both are known
    rows = np.arange(400)
    holed = {
        "a": blanked([f"a{k}" for k in first], (rows >= 8) & hidden),
        "b": blanked([f"b{k}" for k in second], (rows >= 8) & ~hidden),
    }
    assert not functions(read(holed, unknown=["a", "b"]))


def test_columns_that_are_blank_with_others_are_left_to_that_relation() -> None:
    whole, rng = schooling()[0], np.random.default_rng(3)
    gone = rng.random(600) < 0.2
    holed = {name: blanked(values, gone) if name != "degree" else values for name, values in whole.items()}
    data = read(holed)
    assert {one.describe() for one in data.codec.rewrites} >= {"years and income are missing in the same rows"}
    assert not functions(data)
    assert data.frame().to_pydict() == holed


def test_guessed_keys_of_a_file_are_checked() -> None:
    one = Function("state", "city", ("Reno", "Ely"), ("NV", "NV"), "string", (), 1)
    assert rewrite_from_json(one.to_json()) == one
    assert rewrite_from_json({name: value for name, value in one.to_json().items() if name != "guessed"}).guessed == 0
    for wrong in (2, -1, "1"):
        with pytest.raises(DataError, match="fewer are guessed"):
            rewrite_from_json(one.to_json() | {"guessed": wrong})
