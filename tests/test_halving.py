"""An answer in the time there is: small fits, families given up, the winner as a file; and the stack of what was fitted."""

import ctypes
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import genus
from genus.evaluation import trial as trial_module
from genus.evaluation.halving import (
    Clock,
    SmallFits,
    held_out_rows,
    run_small_fits,
    share_time,
    unsettled,
    untrained_row,
)
from genus.evaluation.protocol import Protocol, validation_rows
from genus.evaluation.rows import family_row
from genus.evaluation.running import Family, Runner
from genus.evaluation.stacking import stack_row
from genus.evaluation.trial import OUT_OF_TIME, Trial, run_trial
from genus.evaluation.winner import keep_winner
from genus.files import load
from genus.models.weights import mixture_weights

FAMILIES = ["naive-bayes", "chow-liu", "gaussian-copula", "hclt", "made", "rnn", "wgan"]


def test_a_comparison_in_a_given_time_gives_families_up_and_keeps_the_winner(tmp_path: Path) -> None:
    said: list[tuple[str, bool]] = []  # lines, and whether there was a page by then

    def note(line: str) -> None:
        said.append((line, (tmp_path / "index.html").exists()))

    report = genus.compare(
        "iris", FAMILIES, time_limit=12, jobs=1, progress=note, folder=tmp_path, hyper={"made": {"hidden": [16]}}
    )
    assert {row.status for row in report.rows} <= {"ok", "given up"}
    assert {row.family for row in report.rows if not row.family.startswith("stack of")} == {"independent", *FAMILIES}
    fitted = [row for row in report.rows if row.status == "ok" and not row.family.startswith("stack of")]
    assert 2 <= len(fitted) <= 5  # the baseline, and four at most
    assert all(row.seeds == [0] for row in fitted)
    assert "no density to be chosen by" in next(row.reason for row in report.rows if row.family == "wgan")
    assert report.judged_rows <= 15
    assert report.time_seconds == 12
    assert [page for line, page in said if "small fits of" in line] == [True]  # that of the baseline
    best = load(tmp_path / "best.genus")
    assert report.winner["family"] == report.best.family
    assert np.isfinite(best.log_prob(genus.read("iris").x[:5]).numpy()).all()
    assert len((tmp_path / "best.csv").read_text().splitlines()) == 1001
    assert json.loads(json.dumps(report.to_json()))["winner"]["hyper"] == report.winner["hyper"]


def test_the_stack_is_the_mixture_of_its_members_and_its_file_says_the_same(tmp_path: Path) -> None:
    """Two families that are each right about half of the rows: the mixture is better than both."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(400, 2, generator=generator), torch.randn(400, 1, generator=generator).expand(400, 2) * 3
    x = torch.cat([a, b + 0.1 * torch.randn(400, 2, generator=generator)])[torch.randperm(800, generator=generator)]
    data = genus.read(x)
    train, held = data.split(test=0.25, seed=0)
    protocol = Protocol(train, held, held.x[:100], 5.0, {}, 1, stacked=True, folder=str(tmp_path))
    trials = [run_trial(protocol, genus.family(name), 0) for name in ("naive-bayes", "gaussian-copula")]
    rows = [family_row(genus.family(trial.family), [trial], held) for trial in trials]
    for trial in trials:  # as different as can be: the one knows half of the rows, the other the other half
        assert not trial.error
        for name, rows_ in (
            ("validation", validation_rows(protocol, load(tmp_path / f"{trial.family}-0.genus"), 0).x),
            ("log_density", held.x),
        ):
            inside = ((rows_[:, 0] - rows_[:, 1]).abs() > 0.5).numpy() == (trial.family == "naive-bayes")
            setattr(trial, name, np.where(inside, -2.0, -9.0))
    row, _, weights = stack_row(protocol, rows, trials, held)
    assert row is not None
    assert row.family == f"stack of {' + '.join(weights)}"
    table = torch.from_numpy(np.stack([t.validation for t in trials], 1))
    expected = mixture_weights(table)
    assert sorted(weights.values()) == pytest.approx(sorted(expected.tolist()))
    scores = np.stack([t.log_density for t in trials]) + np.log(expected.numpy())[:, None]
    assert row.log_density == pytest.approx(np.logaddexp(*scores).mean())
    assert row.log_density > max(one.log_density.mean() for one in trials)
    assert {"c2st", "energy"} <= set(row.metrics)
    report = genus.Report("toy", data.space, [*rows, row], weights=weights, test_rows=len(held))
    assert report.best is row
    keep_winner(report, tmp_path, tmp_path / "out", protocol)
    best = load(tmp_path / "out" / "best.genus")
    assert set(best.weights) == set(weights)


def test_the_time_that_scoring_takes_is_part_of_a_family_s_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data, limits = genus.read("iris"), []
    few = genus.build("made", data.space, data.context, hidden=[4])
    original = type(few)._log_prob

    def slow(self: genus.MADE, x: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        time.sleep(0.005 * len(x))  # 5 ms a row
        return original(self, x, c)

    def fitted(model: genus.MADE, rows: object, max_seconds: float, **_: object) -> None:
        limits.append(max_seconds)
        raise genus.GenusError("enough")

    monkeypatch.setattr(genus.MADE, "_log_prob", slow)
    monkeypatch.setattr(trial_module, "fit", fitted)
    train, held = data.split(test=0.4, seed=0)
    compared = held.x[:20]
    usual = Protocol(train, held, compared, 10.0, {"made": {"hidden": [4]}}, 1, sample_limit=30)
    for seconds in (math.inf, 100.0, 1.0):
        run_trial(replace(usual, deadline=time.time() + seconds), genus.MADE, 0)
    assert limits[0] == pytest.approx(10.0)  # there is a budget alone
    assert limits[1] == pytest.approx(10.0 - 0.005 * (60 + 20 + 2 * 30), abs=0.3)
    assert 0.5 < limits[2] <= 2 / 3  # two thirds in any case


def test_a_family_that_has_no_density_before_its_training_is_judged_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = genus.read("iris")
    train, held = data.split(test=0.4, seed=0)
    original, failed = genus.MADE._log_prob, []

    def only_trained(self: genus.MADE, x: torch.Tensor, c: torch.Tensor | None) -> torch.Tensor:
        if self.untrained:
            failed.append(self.training)
            raise ValueError("there is nothing to normalise by yet")
        return original(self, x, c)

    monkeypatch.setattr(genus.MADE, "_log_prob", only_trained)
    protocol = Protocol(train, held, held.x[:20], 1.0, {"made": {"hidden": [4]}}, 1, sample_limit=30)
    trial = run_trial(replace(protocol, deadline=time.time() + 100.0), genus.MADE, 0)
    assert trial.error == ""
    assert failed == [False]  # it was asked once, and not as in training


def test_memory_that_was_freed_goes_back_to_the_system() -> None:
    if not Path("/proc/self/statm").exists() or not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("only glibc gives memory back when it is asked")
    script = """
import torch
from genus.evaluation.effort import release_memory
def resident(): return int(open("/proc/self/statm").read().split()[1]) * 4096
kept = []
many = [torch.ones(10_000) for _ in range(10_000) if kept.append(torch.ones(1)) is None]  # 400 MB, small ones between them
del many
before = resident()
release_memory()
print(before - resident())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 200e6


def test_time_decides_how_many_rows_are_scored() -> None:
    now = time.time()
    assert held_out_rows(50_000, Clock(now, 120), 15) == 3_000
    assert held_out_rows(50_000, Clock(now, 10), 15) == 1_000
    assert held_out_rows(500, Clock(now, 10), 15) == 500
    assert held_out_rows(50_000, Clock(now, 600), 784) == 1_224
    assert Clock(now, math.inf).left() == math.inf


def _cut_off(family: str, score: float, gain: float, evaluations: int = 6) -> Trial:
    """Return a trial that the clock ended, whose criterion fell by that much in the second half of its time."""
    trial = Trial(family, 0, log_density=np.full(10, score))
    trial.history.rows = [{"criterion": -score + gain * max(0.0, 2 - 0.4 * i)} for i in range(evaluations)]
    trial.history.stopped, trial.history.unit = "max_seconds", "nats a row"
    trial.history.steps, trial.history.seconds = 100, 10.0
    return trial


def test_what_more_time_might_change_is_said() -> None:
    """It is the order, where a family may come before the first; that the first improves is no doubt."""
    data = genus.read("iris")
    protocol = Protocol(data, data, data.x[:20], 10.0, {}, 1)
    none, floor = SmallFits([]), _cut_off("independent", -20.0, 0.0)
    made = _cut_off("made", -9.0, 0.1)
    near, far = _cut_off("gpt", -11.0, 1.0), _cut_off("gpt", -12.0, 1.0)
    order = "More time may change the order: gpt might still have improved when the clock ended the training."
    assert unsettled(none, [floor, made, near], protocol) == order
    assert unsettled(none, [floor, made, far], protocol) == (
        "made, which leads, was still improving when the clock ended the training."
    )
    noise = np.random.default_rng(0).normal(size=10)
    alike = replace(near, log_density=np.full(10, -9.1) + noise)
    assert unsettled(none, [floor, made, alike], protocol) == (
        "gpt, not told from made, might still have improved when the clock ended the training."
    )
    assert unsettled(SmallFits([], [], ["rnn"], ["maf"]), [floor, made, far], protocol) == (
        "More time may change the order: maf was given up close behind; rnn was still learning when given up."
    )
    fast = _cut_off("made", -9.0, 1.0)  # that gpt would reach, were it to stand still
    assert unsettled(none, [floor, fast, near], protocol).startswith("made, which leads")
    untrained = [Trial(name, 0, error=OUT_OF_TIME) for name in ("trees", "mixture")]
    assert unsettled(none, [floor, *untrained], protocol) == (
        "More time may change the order: the clock ended before trees and mixture could be trained."
    )
    for history in (made.history, near.history):
        history.stopped = "early stopping"
    assert not unsettled(none, [floor, made, near], protocol)
    assert "trees might still" in unsettled(none, [floor, made, _cut_off("trees", -10.5, 0.0, 1)], protocol)
    assert not unsettled(none, [floor, made, _cut_off("trees", -13.0, 0.0, 1)], protocol)


def test_families_that_are_done_leave_their_time_to_the_others() -> None:
    """Of 100 seconds and two processes, trees need a few, so pixelcnn has nearly all of one process."""
    families = [genus.family(name) for name in ("independent", "trees", "pixelcnn", "mixture", "hclt")]
    small = SmallFits(families, quick={"trees": 3.0, "mixture": 4.0, "hclt": 2.0})
    order, seconds = share_time(small, 2, 1, Clock(time.time(), 100))
    assert order[0].name == "pixelcnn"
    assert seconds["pixelcnn"] > 75
    assert seconds["trees"] == pytest.approx(38, abs=1)
    several = SmallFits(families, quick={"trees": 3.0})
    order, seconds = share_time(several, 2, 1, Clock(time.time(), 100))
    assert order[0].name == "trees"
    assert sum(seconds[name] + 6 for name in ("pixelcnn", "mixture", "hclt")) == pytest.approx(2 * 88 - 9, abs=1)
    assert {round(one) for one in share_time(SmallFits(families), 2, 1, Clock(time.time(), 100))[1].values()} == {38}


def test_a_family_that_only_its_small_fit_had_time_for_has_not_failed() -> None:
    class Scored(Runner):
        def run(self, protocol: Protocol, work: Sequence[tuple[Family, int]], *_: object, **__: object) -> list[Trial]:
            return [
                Trial(cls.name, 0, history=_cut_off(cls.name, -2.5, 0.0).history, validation=np.full(9, -2.5))
                for cls, _ in work
            ]

    data = genus.read("iris")
    protocol = Protocol(data, data, data.x[:20], 1.0, {}, 1)
    chosen = [genus.family(name) for name in ("independent", "rnn", "maf", "made", "mixture", "trees", "vae")]
    small = run_small_fits(protocol, chosen, Scored(2, "independent", lambda line: None), Clock(time.time(), 60))
    late = Trial("trees", 0, error=OUT_OF_TIME)
    row = untrained_row(small, family_row(genus.family("trees"), [late], data))
    assert row.status == "given up"
    assert row.reason.startswith(
        "not trained further: the clock ended before its training began; −2.50 nats a validation row after"
    )
    assert row.reason.endswith(" s to 150 rows")
    assert "trees could be trained on all rows" in unsettled(small, [_cut_off("maf", -2.0, 0.0), late], protocol)
    untried = untrained_row(SmallFits([]), family_row(genus.family("trees"), [late], data))
    assert (untried.status, untried.reason) == ("given up", "not trained: the clock ended before its training began.")
    both = [late, Trial("trees", 1, error="the loss is not finite")]
    assert family_row(genus.family("trees"), both, data).status == "failed"


def test_families_that_the_small_fits_left_no_time_for_are_fitted_all_the_same() -> None:
    """On a busy machine small fits may end at once: a verdict on the baseline alone would be none."""

    class Late(Runner):
        def run(self, protocol: Protocol, work: Sequence[tuple[Family, int]], *_: object, **__: object) -> list[Trial]:
            return [Trial(cls.name, 0, error="" if cls.name == self.baseline else OUT_OF_TIME) for cls, _ in work]

    data = genus.read("iris")
    protocol = Protocol(data, data, data.x[:20], 1.0, {}, 1)
    chosen = [genus.family(name) for name in ("independent", "rnn", "maf", "made", "mixture", "trees", "vae")]
    small = run_small_fits(protocol, chosen, Late(2, "independent", lambda line: None), Clock(time.time(), 60))
    assert [cls.name for cls in small.finalists] == ["independent", "trees", "mixture", "made", "maf"]
    assert {row.status for row in small.given_up} == {"given up"}
    assert all("not tried" in row.reason for row in small.given_up)
