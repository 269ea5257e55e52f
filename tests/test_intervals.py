"""Errors of mean differences: they hold with heavy tails, count seeds and groups, and name a row that decides."""

import math

import numpy as np
import pytest
import torch

from genus.evaluation.intervals import auc_error, by_group, compare_rows, mean_interval
from genus.evaluation.ranking import ranking, tied
from genus.evaluation.report import Report
from genus.evaluation.results import Row
from genus.space import Real, Space


@pytest.mark.parametrize("law", ["normal", "t5", "t3", "exponential"])
def test_intervals_of_the_mean_hold_with_heavy_tails(law: str) -> None:
    rng, n, runs = np.random.default_rng(0), 100, 1000
    draw = {
        "normal": lambda: rng.normal(size=n),
        "t5": lambda: rng.standard_t(5, size=n),
        "t3": lambda: rng.standard_t(3, size=n),
        "exponential": lambda: 1 - rng.exponential(size=n),  # as differences are where one family fails in the tails
    }[law]
    ends = [mean_interval(draw()) for _ in range(runs)]
    assert 0.92 <= np.mean([low <= 0 <= high for low, high in ends]) <= 0.98


def test_the_probability_agrees_with_the_interval() -> None:
    x = np.random.default_rng(1).normal(size=(1, 60)) ** 3
    for shift in (-3.0, -0.5, 0.0, 0.5, 3.0):
        found = compare_rows(x + shift, np.zeros((1, 60)))
        assert (found.p < 0.05) is (found.low > 0 or found.high < 0)


def test_refits_are_seldom_called_better() -> None:
    """Fits of one family, three seeds each, whose means differ by chance: rows alone would call a third of the pairs better."""
    rng, called, rows_alone = np.random.default_rng(2), 0, 0
    hard = rng.normal(size=400) * 5
    for _ in range(200):
        fits = [hard + 0.3 * rng.normal(size=(3, 1)) + 2 * rng.normal(size=(3, 400)) for _ in range(2)]
        called += compare_rows(*fits).p < 0.05
        d = fits[0].mean(0) - fits[1].mean(0)
        rows_alone += abs(d.mean()) > 2 * d.std() / 20
    assert called <= 0.05 * 200 < 0.3 * 200 < rows_alone


def test_with_one_seed_the_error_of_refits_is_estimated() -> None:
    """Two models at random distances from the truth: the mean difference goes with the square of the rows' differences."""
    rng, called = np.random.default_rng(5), 0
    for _ in range(300):
        size = rng.normal(2, 0.09, size=2)  # of the log-ratio to the truth, whose divergence is half its variance
        fits = [s * rng.normal(size=(1, 2000)) - s**2 / 2 for s in size]
        called += compare_rows(*fits, refitted=(True, True)).p < 0.05
    assert called <= 0.06 * 300


def test_rows_that_differ_by_hundreds_of_nats_are_no_sign_of_as_large_an_error() -> None:
    """Independent pixels lie 370 nats a row below a PixelCNN, and rows scatter by 90 about that."""
    rows = np.random.default_rng(0).normal(370.0, 90.0, (1, 500))
    found = compare_rows(rows, np.zeros((1, 500)), refitted=(True, False))
    assert found.se < 45
    assert found.p < 1e-6
    near = compare_rows(rows / 30, np.zeros((1, 500)), refitted=(True, False))  # where the square is the smaller
    assert near.se == pytest.approx(math.hypot(3 / 500**0.5, 0.045 * 9 / 2**0.5), rel=0.1)


def test_rows_of_one_group_are_one_row() -> None:
    rng = np.random.default_rng(3)
    d, groups = np.repeat(rng.normal(size=40), 10), np.repeat(np.arange(40), 10)
    alone, together = (compare_rows(d[None], np.zeros((1, 400)), g) for g in (None, groups))
    assert together.value == pytest.approx(alone.value)
    assert together.se == pytest.approx(alone.se * math.sqrt(10), rel=0.02)
    assert together.rows == 40
    assert by_group(d, groups).mean() == pytest.approx(d.mean())


def test_one_row_that_decides_the_mean_is_named() -> None:
    d = np.random.default_rng(4).normal(size=400) + 1.2
    assert not compare_rows(d[None], np.zeros((1, 400))).one_row
    d[7] = -3e6
    found = compare_rows(d[None], np.zeros((1, 400)))
    assert found.one_row
    assert found.without == pytest.approx(1.2, abs=0.2)
    assert found.won > 0.8
    best = Row("maf", label="exact", log_density=-4.0, best_difference=0.0, best_difference_se=0.0)
    other = Row("nsf", label="exact", log_density=-7500.0, best_difference=found.value, best_difference_se=found.se,
                best_difference_p=found.p, rows_lost=1 - found.won, without_one_row=found.without)  # fmt: skip
    report = Report("toy", Space([Real()]), [best, other], test_rows=400)
    assert "One row decides the mean difference of nsf to maf: without it nsf is 1." in report.verdict


@pytest.mark.parametrize(("rows", "shows", "few"), [(15, 0.2, True), (400, 0.2, False), (400, 3.0, True)])
def test_a_tie_needs_rows_that_could_have_shown_a_difference(rows: int, shows: float, few: bool) -> None:
    best = Row("maf", label="exact", log_density=-4.0, best_difference=0.0, best_difference_se=0.0)
    other = Row("nsf", label="exact", log_density=-4.1, best_difference=-0.1, best_difference_se=0.3, best_difference_p=0.7,
                shows=shows)  # fmt: skip
    report = Report("toy", Space([Real()]), [best, other], test_rows=rows)
    assert ("too few to tell maf and nsf apart" in report.verdict) is few
    assert ("tied" in report.verdict) is not few


def test_many_families_are_corrected_and_places_follow_the_numbers() -> None:
    rows = [
        Row("a", label="exact", log_density=-1.0, best_difference=0.0, best_difference_se=0.0),
        Row("b", label="exact", log_density=-2.0, best_difference=-1.0, best_difference_se=0.1, best_difference_p=1e-9),
        Row("c", label="exact", log_density=-3.0, best_difference=-2.0, best_difference_se=1.9, best_difference_p=0.3),
        Row("d", label="none", metrics={"c2st": 0.5}),
        Row("e", label="exact", log_density=-0.5, steps=0.0, stopped="max_seconds"),
    ]
    places = ranking(Report("toy", Space([Real()]), rows, test_rows=400))
    assert [(place.row.family, place.mark) for place in places] == [("a", "1"), ("b", "2"), ("c", "3"), ("d", "–"), ("e", "–")]
    assert "not told from the first" in places[2].sentence
    assert places[4].sentence.startswith("not trained")
    # 2.2 standard errors are a difference for one family, and none among twenty.
    assert tied(Row("x", best_difference=-2.2, best_difference_se=1.0, best_difference_p=min(1, 20 * 0.028)))


def test_the_error_of_an_area_is_that_of_its_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    areas = []
    for _ in range(300):
        a, b = torch.randn(60, generator=generator), torch.randn(40, generator=generator) + 1
        areas.append(float((b[:, None] > a).double().mean()))
    assert auc_error(60, float(np.mean(areas)), 40) == pytest.approx(np.std(areas), rel=0.2)
