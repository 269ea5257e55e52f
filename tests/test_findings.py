"""Planted cheats are named, and honest samples are not accused."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

import genus
from genus import Category, Lattice, Real, Space
from genus.data import Dataset
from genus.evaluation.copying import find_copies
from genus.evaluation.density import find_wrong_density
from genus.evaluation.faults import find_faults
from genus.evaluation.findings import Finding
from genus.evaluation.neighbours import repeated
from genus.evaluation.report import Report
from genus.evaluation.results import Row
from genus.evaluation.rows import _lasting

SPACE = Space(
    [Real(0.0, 2.0), Real(), Lattice(0, 400), Category(("a", "b", "c", "d")), Category(("no", "yes"))],
    names=["x", "y", "count", "level", "label"],
)


def rows(n: int, seed: int) -> Tensor:
    """Rows whose columns hang together: label no never has level d."""
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(n, generator=g)
    level = torch.bucketize(z + 0.3 * torch.randn(n, generator=g), torch.tensor([-0.7, 0.5, 1.3]))
    label = (z > 0.2) | (level == 3)
    count = (60 * torch.exp(0.5 * z + 0.3 * torch.randn(n, generator=g))).round().clamp(0, 400)
    return torch.stack([2 * z + torch.randn(n, generator=g), torch.randn(n, generator=g), count, level, label], dim=1)


TRAIN, UNSEEN, OTHER = rows(1500, 1), rows(500, 2), rows(1500, 3)


def noisy(x: Tensor, scale: float) -> Tensor:
    x = x.clone()
    x[:, :2] += scale * torch.randn(len(x), 2, generator=torch.Generator().manual_seed(5))
    return x


def mixed(share: float, x: Tensor) -> Tensor:
    n = int(share * len(OTHER))
    return torch.cat([x[torch.arange(n) % len(x)], OTHER[n:]])


def found(samples: Tensor) -> set[tuple[str, str]]:
    findings = find_copies(SPACE, samples, TRAIN, UNSEEN) + find_faults(SPACE, samples, TRAIN, UNSEEN)
    return {(finding.kind, finding.test) for finding in findings}


def without_level() -> Tensor:
    return OTHER[OTHER[:, 3] != 3]


def impossible(share: float) -> Tensor:
    x = OTHER.clone()
    n = int(share * len(x))
    x[:n, 3], x[:n, 4] = 3, 0
    return x


def column(name: str, change: object) -> Tensor:
    x, i = OTHER.clone(), SPACE.index(name)
    x[:, i] = change(x[:, i])  # type: ignore[operator]
    return x


CHEATS = {
    "training rows": (TRAIN, ("accused", "copies")),
    "training rows with noise of .01": (noisy(TRAIN, 0.01), ("accused", "copies")),
    "training rows with noise of .1": (noisy(TRAIN, 0.1), ("accused", "copies")),
    "a tenth training rows": (mixed(0.1, TRAIN), ("accused", "copies")),
    "a tenth training rows with noise": (mixed(0.1, noisy(TRAIN, 0.01)), ("accused", "copies")),
    "held-out rows": (UNSEEN, ("accused", "leaked")),
    "a tenth held-out rows": (mixed(0.1, UNSEEN), ("accused", "leaked")),
    "a level dropped": (without_level(), ("flaw", "levels")),
    "2 % impossible pairs": (impossible(0.02), ("flaw", "pairs")),
    "tails cut": (column("y", lambda x: x.clamp(-1.8, 1.8)), ("flaw", "tails")),
    "a tail cut": (column("count", lambda x: x.clamp(max=120)), ("flaw", "tails")),
    "rounded to tenths": (column("x", lambda x: (10 * x).round() / 10), ("flaw", "digits")),
    "rounded to tens": (column("count", lambda x: (x / 10).round() * 10), ("flaw", "digits")),
    "a third of the rows, each three times": (OTHER[: len(OTHER) // 3].repeat(3, 1), ("flaw", "repeats")),
    "rounded to fives": (column("count", lambda x: (x / 5).round() * 5), ("flaw", "digits")),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_planted_cheat_is_named(cheat: str) -> None:
    samples, expected = CHEATS[cheat]
    assert expected in found(samples)
    assert {kind for kind, _ in found(samples)} == {expected[0]}


def test_of_a_rounded_column_the_coarsest_unit_is_named_and_each_column_once() -> None:
    x = column("count", lambda x: (x / 10).round() * 10)
    x[:, SPACE.index("x")] = (10 * x[:, SPACE.index("x")]).round() / 10
    (finding,) = find_faults(SPACE, x, TRAIN, UNSEEN)
    assert list(finding.figures) == ["x to 0.1", "count to 10"]
    assert "to multiples: x to 0.1 (100 % of samples" in finding.sentence


def test_honest_rows_have_no_findings() -> None:
    for seed in range(10, 20):
        assert found(rows(1000, seed)) == set()


@pytest.mark.nightly
@pytest.mark.timeout(1200)  # four hundred fits, of half a second each and more
def test_honest_generators_are_seldom_accused() -> None:
    """Fresh real rows, naive Bayes and mixtures, each at most 2 of 200 times."""
    accused = dict.fromkeys(("real", "naive-bayes", "mixture"), 0)
    for seed in range(200):
        train, unseen = rows(600, 3 * seed + 100), rows(200, 3 * seed + 101)
        drawn = {"real": rows(600, 3 * seed + 102)}
        for name in ("naive-bayes", "mixture"):
            model = genus.build(name, SPACE, seed=seed)
            genus.fit(model, train, seed=seed, progress=False)
            drawn[name] = model.sample(600, seed=seed)
        for name, x in drawn.items():
            accused[name] += any(one.kind == "accused" for one in find_copies(SPACE, x, train, unseen))
    assert max(accused.values()) <= 2, accused


@pytest.mark.parametrize("cheat", ["honest", "bits", "above its draws", "batch", "bound", "estimate", "jacobian"])
def test_a_density_of_ones_own_is_held_to_its_laws(cheat: str, own_names: None) -> None:
    def wrong(values: Tensor) -> Tensor:
        if cheat == "batch":
            return values - values.mean()
        if cheat == "estimate":  # by draws of its own, another one each time
            return values + 0.5 * torch.randn(len(values))
        if cheat == "bound":  # sold as exact
            return values - 0.7
        return values / 0.6931 if cheat == "bits" else values + 3.0 * (cheat == "above its draws")

    class Own(genus.NaiveBayes, name="test-own-cheat"):
        def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
            log_prob = super()._log_prob(x, c)
            return log_prob - SPACE.split(x).log_slope.sum(1) if cheat == "jacobian" else wrong(log_prob)

    model = Own(SPACE)
    genus.fit(model, TRAIN[:400], progress=False)
    findings = find_wrong_density(model, UNSEEN, None)
    assert [(one.kind, one.test) for one in findings] == ([] if cheat == "honest" else [("accused", "density")])


def test_images_are_searched_for_copies() -> None:
    space = Space(Lattice(0, 15), shape=(4, 4))
    x = torch.randint(16, (900, 4, 4), generator=torch.Generator().manual_seed(0)).float()
    assert find_copies(space, x[600:], x[:400], x[400:600]) == []
    (finding,) = find_copies(space, x[:300], x[:400], x[400:600])
    assert finding.sentence == "100 % of the samples are training rows drawn again"
    assert find_faults(space, x[:300], x, x) == []


CITIES = Space([Lattice(0, 99), Category(("NV", "CA", "OR", "WA")), Category(("a", "b", "c"))], names=["city", "state", "any"])


def cities(n: int, seed: int, wrong: float = 0.0) -> Tensor:
    """Rows of a city, its state, which a share of the rows has wrong, and a column that has to do with neither."""
    g = torch.Generator().manual_seed(seed)
    city = (40 * torch.rand(n, generator=g) ** 2).floor()
    state = torch.where(torch.rand(n, generator=g) < wrong, (city + 1) % 4, city % 4)
    return torch.stack([city, state, torch.randint(3, (n,), generator=g).float()], dim=1)


def test_a_function_that_every_real_row_keeps_is_held_against_samples() -> None:
    train, unseen = cities(2000, 0), cities(500, 1)
    assert find_faults(CITIES, cities(2000, 2), train, unseen) == []
    (finding,) = find_faults(CITIES, cities(2000, 2, wrong=0.12), train, unseen)  # and no pairs of the same two columns
    share = finding.figures["city -> state"]
    assert share == pytest.approx(0.12, abs=0.02)
    expected = f"state is a function of city in all 2,500 real rows; {100 * share:.0f} % of the samples break it"
    assert (finding.kind, finding.test, finding.sentence) == ("flaw", "functions", expected)


def test_a_function_that_held_out_rows_break_as_often_is_no_finding() -> None:
    """The training rows happen to hold none of the rows whose state is another one."""
    unseen = cities(1000, 1, wrong=0.06)
    assert {one.test for one in find_faults(CITIES, cities(2000, 2, wrong=0.06), cities(2000, 0), unseen)} == set()
    (worse,) = find_faults(CITIES, cities(2000, 2, wrong=0.3), cities(2000, 0), unseen)
    assert "all 2,000 training rows, and in all but" in worse.sentence


def test_rows_repeated_by_nature_are_no_copies() -> None:
    """A table of few values, in which every row stands in the training set."""
    space = Space([Category(("a", "b")), Category(("u", "v", "w"))])
    g = torch.Generator().manual_seed(0)
    x = torch.stack([torch.randint(2, (900,), generator=g), torch.randint(3, (900,), generator=g)], dim=1).float()
    assert find_copies(space, x[600:], x[:400], x[400:600]) == []
    equal, usual = repeated(space, x[:400], x[400:600])
    assert equal.mean() == usual == 1.0


def test_a_finding_lasts_where_half_of_the_seeds_have_it() -> None:
    a, b = Finding("accused", "copies", "a"), Finding("flaw", "pairs", "b")
    assert _lasting([[a, b], [a], []]) == [a]
    assert _lasting([[b], [a, b]]) == [a, b]


def test_the_accused_never_lead_and_are_named_with_the_flawed() -> None:
    copy = Row("copy", group="given", metrics={"c2st": 0.5}, findings=[Finding("accused", "copies", "all of them are copies")])
    plain = Row("plain", group="given", metrics={"c2st": 0.8}, findings=[Finding("flaw", "pairs", "Husband & Female")])
    metrics = {"c2st": genus.evaluation.METRICS["c2st"]}
    report = Report("toy", Space([Real()]), [copy, plain], metrics=metrics, baseline_family="", test_rows=800)
    assert [place.row.family for place in report.ranking()] == ["plain", "copy"]
    assert [place.mark for place in report.ranking()] == ["1", "–"]
    assert report.best is plain
    assert "copy is left out of the ranking: all of them are copies." in report.verdict
    assert "plain has flaws that are named below" in report.verdict
    assert "Husband & Female" in str(report)
    report.rows = [copy]
    assert report.best is None
    assert report.verdict.startswith("No samples are ranked.")


def test_copies_and_leaks_are_named_on_the_page(tmp_path: object) -> None:
    """One run of `evaluate`: a copy, and held-out rows of which a tenth stand in training."""
    train, held = rows(200, 1), rows(100, 2)
    held[:10] = train[:10]
    space = SPACE
    report = genus.evaluate(Dataset(train, None, space), Dataset(held, None, space), {"copy": train[:150]})
    assert [finding.test for finding in report.rows[0].accused] == ["copies"]
    assert "10.0 % of the held-out rows stand among the training rows too" in report.notes[0]
    assert report.test_rows == 90
    page = report.write(str(tmp_path)).read_text(encoding="utf-8")
    assert page.index("are training rows drawn again") < page.index('id="ranking"')
    assert json.loads(json.dumps(report.to_json()))["rows"][0]["by"] == "accused"
