"""A comparison: rows for everyone, honest labels, paired differences, one failure not the end."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from torch import Tensor

import genus
from genus import Category, Lattice, Real, Space
from genus.data import Dataset
from genus.evaluation.comparison import _chosen
from genus.evaluation.protocol import Protocol
from genus.evaluation.rows import family_row, pair_rows
from genus.evaluation.trial import run_trial
from genus.evaluation.workers import Bundle
from genus.ladder import TractableDensity
from genus.models import Independent


def table(rows: int = 240, seed: int = 0) -> Dataset:
    """A mixed table with structure: the level decides the mean of the real and of the count."""
    generator = torch.Generator().manual_seed(seed)
    level = torch.randint(3, (rows,), generator=generator)
    real = 4.0 * level + torch.randn(rows, generator=generator)
    count = (5 * level + torch.randint(4, (rows,), generator=generator)).float()
    space = Space([Real(4.0, 3.5), Lattice(0, 13), Category(("a", "b", "c"))], names=["real", "count", "level"])
    return Dataset(torch.stack([real, count, level.float()], dim=1), None, space, None, "level", "toy")


@pytest.fixture(scope="module")
def report() -> genus.Report:
    names = ["mixture", "made", "maf", "vae", "wgan-gp", "pixelcnn"]
    return genus.compare(
        table(), names, budget=0.4, seeds=2, hyper={"made": {"hidden": [32]}}, jobs=1, progress=False, stack=False
    )


def test_a_seed_is_the_first_of_those_that_are_used() -> None:
    first, other = (
        genus.compare(table(), ["mixture"], seeds=2, seed=seed, jobs=1, budget=2, progress=False, stack=False)
        for seed in (0, 5)
    )
    assert (first.seeds, other.seeds, other.rows[1].seeds) == ([0, 1], [5, 6], [5, 6])
    assert first.rows[0].log_density == other.rows[0].log_density  # the same rows are held out
    assert first.rows[1].log_density != other.rows[1].log_density


def test_every_family_has_a_row_with_its_label(report: genus.Report) -> None:
    rows = {row.family: row for row in report.rows}
    assert list(rows) == ["independent", "mixture", "made", "maf", "vae", "wgan-gp", "pixelcnn"]
    assert {name: row.label for name, row in rows.items() if name != "pixelcnn"} == {
        "independent": "exact",
        "mixture": "exact",
        "made": "exact",
        "maf": "bound",  # one column is whole numbers
        "vae": "bound",
        "wgan-gp": "none",
    }
    assert rows["pixelcnn"].status == "refused"
    assert "images" in rows["pixelcnn"].reason
    assert rows["wgan-gp"].log_density is None
    assert rows["vae"].estimate is not None
    assert rows["vae"].estimate_samples == 64
    assert rows["vae"].estimate >= rows["vae"].log_density
    assert rows["mixture"].estimate is None


def test_every_family_takes_part_where_none_is_named() -> None:
    known = set(genus.families())
    for baseline in ("independent", "markov"):
        chosen = [cls.name for cls in _chosen(None, baseline)]
        assert chosen[0] == baseline
        assert set(chosen) == known | {baseline}
        assert len(chosen) == len(known | {baseline})


def test_structure_is_found_and_paired_differences_show_it(report: genus.Report) -> None:
    rows = {row.family: row for row in report.rows}
    mixture = rows["mixture"]
    assert mixture.baseline_difference > 5 * mixture.baseline_difference_se > 0
    assert mixture.baseline_difference == pytest.approx(mixture.log_density - rows["independent"].log_density, abs=1e-9)
    assert rows["independent"].baseline_difference == 0
    assert max(row.best_difference for row in report.rows if row.has_density) == 0
    assert mixture.bits_per_dim == pytest.approx(-mixture.log_density / (3 * math.log(2)))
    assert mixture.seeds == [0, 1]
    assert len(mixture.histories) == 2


@pytest.mark.nightly
def test_reference_rows_bracket_the_metrics(report: genus.Report) -> None:
    real, floor = report.references["real against real"], report.references["independent columns"]
    copier = report.references["copy of the training set"]
    assert real["c2st"] < 0.55 < 0.6 < floor["c2st"]  # of 24 rows each
    assert real["tstr_auc"] > 0.95 > 0.7 > floor["tstr_auc"]
    assert copier["copies"] == 1
    assert copier["dcr_ratio"] == 0
    told = {key for key, metric in report.metrics.items() if metric.kind in ("memorisation", "membership")}
    assert set(copier) == told - {"attack_likelihood"}, "a copier has no density"
    for row in report.rows:
        without = set() if row.has_density else {"attack_likelihood"}
        assert row.status != "ok" or set(row.metrics) == set(report.metrics) - without, row.family


def test_one_family_that_fails_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(TractableDensity):
        """Fails in training."""

        name = "broken"
        info = TractableDensity.info.replace(title="broken on purpose", group="toys")

        def _sample(self, n: int, c: Tensor | None) -> Tensor:
            raise NotImplementedError

        def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
            raise NotImplementedError

        def losses(self) -> list[genus.Loss]:
            raise RuntimeError("out of luck")

    import genus.configurable

    monkeypatch.setitem(genus.configurable.classes, "broken", Broken)
    report = genus.compare(table(), ["broken"], budget=1.0, seeds=2, jobs=1, progress=False)
    rows = {row.family: row for row in report.rows}
    assert rows["broken"].status == "failed"
    assert rows["broken"].reason == "RuntimeError: out of luck"
    assert rows["independent"].status == "ok"
    assert report.best.family == "independent"


def test_processes_of_their_own_give_the_same_numbers() -> None:
    lines: list[str] = []
    alone = genus.compare(table(), ["naive-bayes"], seeds=1, jobs=1, progress=False)
    fanned = genus.compare(table(), ["naive-bayes"], seeds=1, jobs=2, progress=lines.append)
    assert len(lines) == 3  # what is to come, and a line for each fit
    for a, b in zip(alone.rows, fanned.rows, strict=True):
        assert a.log_density == b.log_density
        assert a.metrics == b.metrics


OWN = """
from genus import NaiveBayes

SHIFT = {shift}

class Own(NaiveBayes, name="test-own-shift"):
    def _log_prob(self, x, c):
        return super()._log_prob(x, c) + SHIFT
"""


def test_worker_processes_know_families_that_are_newer_than_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_names: None
) -> None:
    """Joblib keeps its workers; the module, its folder and what is edited in it come after they have started."""
    how: dict[str, Any] = {"seeds": 1, "jobs": 2, "budget": 2, "progress": False}
    genus.compare(table(), ["naive-bayes"], **how)
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "own_family_of_a_test.py"
    found = []
    for edit, shift in enumerate((1.0, 2.5)):
        file.write_text(OWN.format(shift=shift) + "#" * edit)  # of another length: bytecode is kept by size and second
        module = importlib.reload(module) if edit else importlib.import_module(file.stem)  # noqa: F821
        _, own = genus.compare(table(), [module.Own], **how).rows
        assert (own.status, own.reason) == ("ok", "")
        found.append(own.log_density)
    assert found[1] - found[0] == pytest.approx(1.5)


def test_workers_share_the_rows_and_may_write_into_their_own_view() -> None:
    """Rows were pickled for every fit: four copies of 60,000 pictures waited for two workers."""
    data = genus.read(torch.randn(60_000, 5, generator=torch.Generator().manual_seed(0)))
    bundle = Bundle.pack(data)
    assert len(bundle.content) < 100_000
    copy = bundle.unpack()
    assert copy.x.data_ptr() == data.x.data_ptr()
    before = data.x.clone()
    found = Parallel(n_jobs=2, mmap_mode="c")(delayed(_zero_the_rows)(bundle) for _ in range(3))
    assert found == [float(before.abs().sum())] * 3
    assert torch.equal(data.x, before)


def _zero_the_rows(bundle: Bundle) -> float:
    x = bundle.unpack().x
    total = float(x.abs().sum())
    x.zero_()
    return total


def test_the_threads_of_the_caller_are_left_as_they_were() -> None:
    before = torch.get_num_threads()
    data = table()
    run_trial(Protocol(data, data, data.x[:50], 1.0, {}, 1), genus.NaiveBayes, 0)
    assert torch.get_num_threads() == before


def test_standard_error_of_a_paired_difference_is_of_the_difference() -> None:
    """Two families whose log-densities vary together: the paired error is far below either's own."""
    data = table()
    hard = np.random.default_rng(0).normal(size=len(data))
    trials = []
    for name, shift in (("naive-bayes", 0.0), ("mixture", 0.5)):
        trial = run_trial(Protocol(data, data, data.x[:50], 1.0, {}, 1), genus.family(name), 0)
        trial.log_density = hard + shift
        trials.append(trial)
    rows = [family_row(genus.family(t.family), [t], data) for t in trials]
    pair_rows(rows, trials, "naive-bayes")
    assert rows[1].baseline_difference == pytest.approx(0.5)
    assert rows[1].baseline_difference_se < 1e-9 < rows[1].log_density_se


def test_a_condition_is_kept_in_sampling_and_scoring() -> None:
    data = genus.read("iris", context="species")
    report = genus.compare(data, ["maf", "mixture"], budget=1.0, seeds=1, jobs=1, progress=False, stack=False)
    rows = {row.family: row for row in report.rows}
    assert rows["maf"].label == "bound"  # whole tenths: dequantised
    assert rows["maf"].status == rows["mixture"].status == "ok"
    assert report.context_columns == "species"


def test_wrong_requests_are_one_sentence() -> None:
    with pytest.raises(genus.GenusError, match="There is no family 'mfa'; there are"):
        genus.compare(table(), ["mfa"])
    with pytest.raises(genus.DataError, match="30 rows; a comparison needs 100"):
        genus.compare(table(30))


@pytest.mark.nightly
def test_a_model_that_ignores_its_condition_is_seen_by_its_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = table(3000)
    data = Dataset(whole.x[:, :2], whole.x[:, 2:], whole.space.select([0, 1]), whole.space.select([2]), None, "toy")
    heeding = genus.compare(data, ["naive-bayes"], seeds=1, jobs=1, progress=False).rows[1].metrics["c2st"]
    plain = genus.NaiveBayes._sample
    monkeypatch.setattr(genus.NaiveBayes, "_sample", lambda self, n, c: plain(self, n, c[torch.randperm(n)]))
    ignoring = genus.compare(data, ["naive-bayes"], seeds=1, jobs=1, progress=False).rows[1].metrics["c2st"]
    assert heeding < 0.65 < 0.75 < ignoring


def test_a_comparison_that_is_interrupted_reports_what_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(genus.VAE, "initialise", press)
    report = genus.compare(table(), ["mixture", "vae", "maf"], seeds=1, jobs=1, budget=2, progress=False)
    assert [(row.family, row.status) for row in report.rows] == [
        ("independent", "ok"),
        ("mixture", "ok"),
        ("vae", "given up"),
        ("maf", "given up"),
    ]
    assert report.rows[2].reason == "not trained: it was interrupted"
    monkeypatch.setattr(Independent, "observe", press)
    with pytest.raises(KeyboardInterrupt, match="anything to compare"):
        genus.compare(table(), ["vae"], seeds=1, jobs=1, progress=False)
