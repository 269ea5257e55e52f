"""How often the label that samples were drawn for is found, of tables and images; samples that ignore it are flawed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import genus
from genus import Category, Lattice, Real, Space
from genus.data import Dataset
from genus.evaluation.extractor import make_extractor
from genus.evaluation.labels import find_ignored_label, label_match, share_told
from genus.evaluation.protocol import Protocol, with_context

LABELS = Space([Category(("a", "b", "c"))], names=["label"])
TABLE = Space([Real(), Real(), Category(("u", "v"))], names=["x", "y", "z"])
IMAGES = Space(Lattice(0, 15), shape=(8, 8))


def rows(kind: str, n: int, seed: int) -> Dataset:
    """Rows whose label, of which the last is rare, shows in most of them."""
    g = torch.Generator().manual_seed(seed)
    label = torch.multinomial(torch.tensor([0.5, 0.4, 0.1]), n, replacement=True, generator=g)
    if kind == "table":
        x = torch.randn(n, 2, generator=g) + 2.0 * label[:, None]
        x = torch.cat([x, torch.randint(2, (n, 1), generator=g).float()], dim=1)
        return Dataset(x, label[:, None].float(), TABLE, LABELS, name="toy")
    x = 4 * torch.rand(n, 8, 8, generator=g)
    for i, one in enumerate(label.tolist()):
        x[i, 2 * one : 2 * one + 3] += 9
    return Dataset(x.round().clamp(0, 15), label[:, None].float(), IMAGES, LABELS, name="toy")


@pytest.mark.parametrize("kind", ["table", "images"])
def test_an_ignored_label_is_a_flaw_and_a_heeded_one_is_none(kind: str) -> None:
    train, test, drawn = rows(kind, 600, 0), rows(kind, 400, 1), rows(kind, 400, 2)
    protocol = Protocol(train, test, with_context(test)[:200], 0.0, {}, 1, extractor=make_extractor(train))
    heeded = label_match(protocol, with_context(drawn))
    assert heeded is not None
    assert heeded[0] > 0.75
    assert find_ignored_label(protocol, *heeded) == []
    assert drawn.c is not None
    other = Dataset(drawn.x, drawn.c[torch.randperm(400, generator=torch.Generator().manual_seed(0))], train.space, LABELS)
    ignored = label_match(protocol, with_context(other))
    assert ignored is not None
    assert ignored[0] == pytest.approx(1 / 3, abs=0.1)
    (flaw,) = find_ignored_label(protocol, *ignored)
    assert (flaw.kind, flaw.test) == ("flaw", "label")
    assert f"{round(100 * ignored[0])} % of samples" in flaw.sentence


def test_a_rare_label_counts_as_a_frequent_one() -> None:
    """A classifier that always says the frequent level finds half of the labels, not nine tenths."""
    asked = np.array([0] * 90 + [1] * 10)
    value, error = share_told(np.zeros(100, dtype=int), asked)
    assert (value, error) == (0.5, 0.0)


@pytest.mark.parametrize("kinds", [[Real()], [Category(tuple(range(200)))]], ids=["number", "many levels"])
def test_what_is_no_label_is_not_looked_for(kinds: list[genus.Kind]) -> None:
    table = rows("table", 100, 0)
    train = Dataset(table.x, table.c, TABLE, Space(kinds, names=["label"]), name="toy")
    assert label_match(Protocol(train, train, with_context(train), 0.0, {}, 1), with_context(train)) is None


def test_sequences_without_contexts_have_no_label_to_find() -> None:
    x = torch.randint(2, (60, 8), generator=torch.Generator().manual_seed(0)).float()
    words = Space(Category(("a", "b")), shape=(8,), sequence=True)
    train = Dataset(x, x[:, :1], words, Space([Category(("a", "b"))], names=["first"]), name="words")
    protocol = Protocol(train, train, x, 0.0, {}, 1)
    assert label_match(protocol, x) is label_match(protocol, x, train.c) is None  # no network tells labels of texts


def test_the_report_says_how_often_the_level_of_a_table_is_found(tmp_path: object) -> None:
    data = rows("table", 500, 0)
    report = genus.compare(data, ["naive-bayes"], budget=2, seeds=1, jobs=1, progress=False, stack=False)
    row = next(row for row in report.rows if row.family == "naive-bayes")
    assert row.metrics["label_match"] > 0.7
    assert report.references["real against real"]["label_match"] > 0.7
    assert report.references["independent columns"]["label_match"] < 0.5
    assert "Label recognised" in report.write(tmp_path).read_text(encoding="utf-8")  # type: ignore[arg-type]
    assert "label recognised" in str(report).lower()
