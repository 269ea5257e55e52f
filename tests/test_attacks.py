"""Membership attacks find copies and what was learned by heart, and find nobody in honest rows."""

from __future__ import annotations

import pytest
import torch
from test_findings import OTHER, SPACE, TRAIN, UNSEEN, noisy, rows

import genus
from genus.data import Dataset
from genus.evaluation.attacks import ATTACKS, attack, find_betrayal, suspects
from genus.evaluation.density import find_wrong_density

SEEN = TRAIN[:400]


def test_honest_samples_betray_nobody() -> None:
    found = []
    for seed in range(30, 32):
        scene = suspects(SEEN, rows(600, seed))
        assert scene is not None
        for samples in (OTHER, scene.honest):
            scores, errors = attack(SPACE, samples, scene)
            found.append(abs(scores["attack_nearest"] - 0.5) < 3 * errors["attack_nearest"])
            assert find_betrayal(scores, errors) == []
    assert all(found)


@pytest.mark.parametrize(("samples", "least"), [(SEEN, 0.99), (noisy(SEEN, 0.05), 0.8)], ids=["copy", "noisy copy"])
def test_copies_betray_who_was_there(samples: torch.Tensor, least: float) -> None:
    scene = suspects(SEEN, UNSEEN)
    assert scene is not None
    scores, errors = attack(SPACE, samples, scene)
    assert scores["attack_auc"] == scores["attack_nearest"] > least
    assert scores["attack_tpr"] > 0.1
    (finding,) = find_betrayal(scores, errors)
    assert "by the nearest sample" in finding.sentence


def test_a_few_rows_are_no_attack() -> None:
    assert suspects(SEEN, UNSEEN[:50]) is None


def test_the_likelihood_of_what_was_learned_by_heart_betrays_it() -> None:
    """A mixture with a component for every third row."""
    data = Dataset(torch.cat([SEEN[:150], UNSEEN]), None, SPACE, name="few")
    heart = {"mixture": {"components": 50, "shrinkage": 0.01, "pool": 0.01}}
    report = genus.compare(data, ["mixture"], budget=5, seeds=1, jobs=1, progress=False, test=0.75, hyper=heart, stack=False)
    baseline, row = report.rows
    assert set(ATTACKS) <= set(row.metrics)
    assert row.metrics["attack_likelihood"] > 0.6 > baseline.metrics["attack_likelihood"]
    assert "membership" in [one.test for one in row.findings]
    honest, copy = (report.references[name] for name in ("real against real", "copy of the training set"))
    assert honest["attack_auc"] < 0.6 < copy["attack_auc"]
    assert "Membership attacks" not in str(report)
    assert "an attacker tells training rows" in str(report)


@pytest.mark.parametrize("cheat", ["bound", "weights"])
def test_a_variational_autoencoder_without_its_divergence_is_named(cheat: str, own_names: None) -> None:
    class Own(genus.VAE, name="test-own-vae"):
        def _elbo(self, x, c, noise=None):  # type: ignore[no-untyped-def]
            if cheat == "weights":
                return super()._elbo(x, c, noise)
            z, _ = self.posterior(self._posterior_input(x, c), noise)
            return self._log_likelihood(z, x, c, 1).view(len(x))

        def _log_weights_of(self, z, log_q, x, c, samples):  # type: ignore[no-untyped-def]
            if cheat == "bound":
                return super()._log_weights_of(z, log_q, x, c, samples)
            return self._log_likelihood(z, x, c, samples).view(samples, len(x))

    model = Own(SPACE)
    genus.fit(model, SEEN, max_steps=150, progress=False)
    assert [(one.kind, one.test) for one in find_wrong_density(model, UNSEEN, None)] == [("accused", "density")]


@pytest.mark.parametrize("name", ["naive-bayes", "chow-liu", "vae"])
def test_built_in_densities_are_checked_and_not_accused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genus.evaluation.density._is_cheap", lambda *_: True)
    model = genus.build(name, SPACE)
    genus.fit(model, SEEN, max_steps=100 if name == "vae" else None, progress=False)
    assert find_wrong_density(model, UNSEEN, None) == []
    if name != "vae":
        monkeypatch.setattr(type(model), "_log_prob", lambda self, x, c: torch.zeros(len(x)))
        assert [one.kind for one in find_wrong_density(model, UNSEEN, None)] == ["accused"]
