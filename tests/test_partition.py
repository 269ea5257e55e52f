"""Rows that belong together are held out together, and the latest rows where time matters."""

import numpy as np
import pytest

import genus
from genus.evaluation.partition import hold_out, partition_notes
from genus.evaluation.protocol import Protocol


def orders(n: int = 200) -> dict[str, list]:
    rng = np.random.default_rng(0)
    days = np.datetime64("2024-01-01") + rng.permutation(n)
    return {
        "customer_id": [f"c{i % 20}" for i in range(n)],
        "day": days.astype(str).tolist(),
        "amount": rng.gamma(2, 30, n).round(2).tolist(),
    }


def test_rows_of_a_group_stay_together_and_its_column_leaves() -> None:
    data = genus.read(orders(), group="customer_id")
    assert data.space.names == ("day", "amount")
    train, held = hold_out(data, 0.2)
    assert not set(train.groups.tolist()) & set(held.groups.tolist())
    assert len(held.groups.unique()) == 4
    lopsided = orders() | {"customer_id": ["a"] * 195 + ["b"] * 5}
    with pytest.raises(genus.DataError, match="so uneven that a part has 5 rows; a comparison needs 20"):
        hold_out(genus.read(lopsided, group="customer_id"), 0.2)
    with pytest.raises(genus.DataError, match=r"no column 'customer' .did you mean 'customer_id'..*named in group="):
        genus.read(orders(), group="customer")


def test_the_latest_rows_are_held_out() -> None:
    data = genus.read(orders())
    train, held = hold_out(data, 0.2, "time")
    day = data.space.index("day")
    assert train.x[:, day].max() < held.x[:, day].min()
    assert len(held) == 40
    by_amount = hold_out(data, 0.2, "amount")
    assert by_amount[0].x[:, data.space.index("amount")].max() <= by_amount[1].x[:, data.space.index("amount")].min()
    with pytest.raises(genus.DataError, match="split='time' needs one column of dates or instants, and there are none"):
        hold_out(genus.read("wine"), 0.2, "time")
    with pytest.raises(genus.DataError, match="split='month' is not known"):
        hold_out(data, 0.2, "month")


def test_a_likely_group_and_a_time_are_named() -> None:
    said = [note.shell for note in partition_notes(genus.read(orders()), "random")]
    assert any("--group customer_id" in note for note in said)
    assert any("--split time" in note for note in said)
    assert not partition_notes(genus.read(orders()), "time")
    assert not partition_notes(genus.read("wine"), "random")


def test_errors_are_of_groups_and_the_end_of_training_stops_it() -> None:
    report = genus.compare(genus.read(orders(120), group="customer_id"), ["independent"], seeds=1, jobs=1, progress=False)
    assert report.held_out_groups == 4
    train, held = hold_out(genus.read(orders()), 0.2, "time")
    rows, stopping = Protocol(train, held, held.x, 1.0, {}, 1, ordered=True).training
    assert len(stopping) == 16
    assert rows.x[:, 1].max() < stopping.x[:, 1].min()
