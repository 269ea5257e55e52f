"""Test the search over hyper-parameters: it starts at the defaults, keeps the best, and goes on where a trial fails."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command import run

import genus
from genus.registry import suggested
from genus.training import tuning

pytest.importorskip("optuna", reason="the search is not installed: pip install 'genus[tune]'")


def wine() -> genus.Dataset:
    return genus.read("wine")


def test_the_first_trial_has_the_defaults_and_the_best_is_kept() -> None:
    data, said = wine(), []
    found = genus.tune(data, "hclt", seconds=60, trials=3, hyper={"smoothing": 0.2}, say=said.append)
    assert len(found.trials) == len(said) == 3
    assert found.trials[0].hyper["latent"] == suggested(genus.HCLT, data.space, len(data)).get("latent", 32)
    assert found.trials[0].learning_rate is None  # nothing is learned by gradients
    assert found.best.criterion == min(tried.criterion for tried in found.trials)
    assert {tried.hyper["smoothing"] for tried in found.trials} == {0.2}
    assert found.model.config["latent"] == found.best.hyper["latent"]
    with torch.no_grad():
        value = -found.model.log_prob(data.split(test=0.1, seed=0)[1].x).mean()
    assert value == pytest.approx(found.best.criterion, abs=1e-3)


@pytest.mark.nightly
def test_learning_rates_and_dropout_are_searched() -> None:
    found = genus.tune(wine(), "made", seconds=40, trials=4)
    rates = {tried.learning_rate for tried in found.trials}
    assert len(rates) == len({tried.hyper["dropout"] for tried in found.trials}) == len(found.trials) > 1
    assert all(1e-4 <= rate <= 1e-1 for rate in rates if rate)


def test_a_trial_that_fails_does_not_end_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, calls = tuning.fit, []

    def fit(*args: object, **options: object) -> genus.History:
        calls.append(1)
        if len(calls) == 2:
            raise genus.TrainingError("The loss is no longer finite.")
        return whole(*args, **options)

    monkeypatch.setattr(tuning, "fit", fit)
    found = genus.tune(wine(), "hclt", seconds=9, trials=3)
    assert [bool(tried.error) for tried in found.trials] == [False, True, False]


def test_defaults_that_do_not_suit_the_data_are_left_out() -> None:
    data = genus.read(torch.randn(60, 2, generator=torch.Generator().manual_seed(0)))
    found = genus.tune(data, "nsf", seconds=2, trials=1)  # its noise is for whole numbers
    assert not found.trials[0].error


def test_a_family_that_always_fails_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*args: object, **options: object) -> genus.History:
        raise genus.TrainingError("The loss is no longer finite.")

    monkeypatch.setattr(tuning, "fit", fit)
    with pytest.raises(genus.TrainingError, match="None of 8 trials of hclt could be trained: The loss"):
        genus.tune(wine(), "hclt", seconds=60)


def test_sizes_double_and_halve() -> None:
    assert tuning._scaled((128, 64), -1) == (64, 32)
    assert tuning._scaled(5, -2) == 1
    assert tuning._scaled(3, 1) == 6


def test_what_cannot_be_searched_is_a_sentence() -> None:
    with pytest.raises(genus.GenusError, match="nothing to search in naive-bayes"):
        genus.tune(wine(), "naive-bayes", seconds=1)
    with pytest.raises(genus.DataError, match="image"):
        genus.tune(wine(), "pixelcnn", seconds=1)


def test_the_command_saves_the_best(tmp_path: Path) -> None:
    out = tmp_path / "best.genus"
    said = run("tune", "wine", "--family", "hclt", "--time", "6s", "--trials", "2", "--out", str(out))
    assert said.code == 0, said.err
    assert "the defaults had" in said.out
    assert "trial 2:" in said.err
    assert genus.load(out).name == "hclt"
