"""Columns of which exactly one, or at most one, is true: as 1 and 0, true and false, words, or a mark and a blank."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import genus
from genus.data.schema import Schema
from genus.errors import DataError

ROWS = 500


def frame(yes: Any, no: Any, shares: tuple[float, ...], none: float) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    level = rng.choice(len(shares) + 1, ROWS, p=[none, *shares])
    columns = {f"is {i}": [yes if at == i + 1 else no for at in level] for i in range(len(shares))}
    return pd.DataFrame(columns | {"v": rng.normal(level, 0.5).round(2)})


def found(data: genus.Dataset) -> set[str]:
    assert data.codec is not None
    return {rewrite.describe() for rewrite in data.codec.rewrites}


@pytest.mark.parametrize(
    ("yes", "no", "shown"), [(True, False, "true"), ("yes", "no", "yes"), ("Y", "N", "Y"), ("x", None, "x"), (1, 0, "1")]
)
@pytest.mark.parametrize("none", [0.0, 0.3])
def test_marks_of_one_level_are_one_column(tmp_path: Path, yes: Any, no: Any, shown: str, none: float) -> None:
    table = frame(yes, no, (0.5 - none, 0.3, 0.2), none)
    data = genus.read(table)
    count = "at most" if none else "exactly"
    assert found(data) == {f"{count} one of is 0, is 1, is 2 is {shown}"}
    assert data.space.names == ("is 0 to is 2", "v")
    pd.testing.assert_frame_equal(data.frame(), table)
    assert found(genus.read(table, schema=Schema.of(data))) == found(data)
    model = genus.build("mixture", data.space)
    genus.fit(model, data, seed=0, progress=False)
    genus.save(model, tmp_path / "m.genus")
    model = genus.load(tmp_path / "m.genus")
    drawn = model.decode(model.sample(400, seed=0))[["is 0", "is 1", "is 2"]]
    true = (drawn == yes).to_numpy()
    assert (true.sum(1) <= 1).all()
    assert abs((true.sum(1) == 0).mean() - none) < 0.08
    some = model.decode(model.sample(50, where={"is 1": yes}, seed=0))
    assert (some["is 1"] == yes).all()
    assert not (some["is 0"] == yes).any()
    assert data.codec is not None
    wrong = table.copy()
    wrong.loc[3, ["is 0", "is 1"]] = yes
    assert np.flatnonzero(data.codec.encode(wrong, beyond=True).isinf().any(1)).tolist() == [3]
    table.to_csv(tmp_path / "d.csv", index=False)
    assert {text.replace("True", "true") for text in found(genus.read(tmp_path / "d.csv"))} == found(data)


def test_blanks_among_marks_are_filled_so_that_at_most_one_is_true() -> None:
    table = frame(1, 0, (0.3, 0.2, 0.2), 0.3)
    data = genus.read(table)
    model = genus.build("mixture", data.space)
    genus.fit(model, data, seed=0, progress=False)
    blank = table.astype(float)
    blank.loc[:49, "is 2"] = np.nan
    blank.loc[50:99, ["is 1", "is 2"]] = np.nan
    filled = genus.impute(model, blank, seed=0).tables[0].to_pandas()
    assert filled.notna().all().all()
    assert (filled[["is 0", "is 1", "is 2"]].sum(axis=1) <= 1).all()
    assert (filled["is 0"] == table["is 0"]).all()
    assert filled.loc[:99, "is 2"].mean() > 0.1


def test_marks_beside_blanks_stay_as_they_are() -> None:
    table = frame("x", None, (0.3, 0.2, 0.2), 0.3)
    data = genus.read(table)
    model = genus.build("mixture", data.space)
    genus.fit(model, data, seed=0, progress=False)
    filled = genus.impute(model, table, seed=0)
    assert filled.cells == 0
    pd.testing.assert_frame_equal(filled.tables[0].to_pandas(), table, check_dtype=False)


def test_a_blank_beside_a_single_value_is_a_value() -> None:
    rng = np.random.default_rng(1)
    ticked = np.where(rng.random((ROWS, 2)) < 0.4, "x", None)
    data = genus.read(pd.DataFrame(ticked, columns=["a", "b"]).assign(v=rng.normal(0, 1, ROWS)))
    assert [kind.unknown for kind in data.space.kinds] == [False, False, False]
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, progress=False)
    drawn = model.decode(model.sample(400, seed=0))
    assert abs(drawn["a"].notna().mean() - 0.4) < 0.08
    country = np.array(["US"] * (ROWS - 9) + [None] * 9, dtype=object)  # of a column of one value, few blanks are not known
    assert genus.read({"country": country, "v": rng.normal(0, 1, ROWS)}).space.kinds[0].unknown


def test_what_chance_keeps_apart_is_no_group() -> None:
    rng = np.random.default_rng(2)
    rare = {f"r{i}": rng.random(ROWS) < 0.02 for i in range(8)}
    free = {f"f{i}": rng.random(ROWS) < 0.3 for i in range(4)}
    assert not any("one of" in text for text in found(genus.read(pd.DataFrame(rare | free))))


def test_groups_are_declared() -> None:
    table = frame("yes", "no", (0.3, 0.2), 0.5).head(40)
    assert found(genus.read(table)) == set()
    data = genus.read(table, constraints=["at most one of is 0, is 1"])
    assert found(data) == {"at most one of is 0, is 1 is yes"}
    with pytest.raises(DataError, match="breaks 'exactly one of is 0, is 1', of which 0 are true"):
        genus.read(table, constraints=["exactly one of is 0, is 1"])
    with pytest.raises(DataError, match="not understood at 'is 5'"):
        genus.read(table, constraints=["at most one of is 0, is 5"])


def test_of_two_columns_of_which_one_is_blank_a_blank_is_a_value() -> None:
    rng = np.random.default_rng(3)
    amount = rng.normal(0, 50, ROWS).round(2)
    frame = pd.DataFrame({"debit": np.where(amount < 0, -amount, np.nan), "credit": np.where(amount < 0, np.nan, amount)})
    assert [kind.unknown for kind in genus.read(frame).space.kinds] == [False, False]
    frame["debit"] = np.where(rng.random(ROWS) < 0.5, np.nan, frame["debit"].fillna(1.0))
    assert genus.read(frame).space.kinds[0].unknown
