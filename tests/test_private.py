"""Differential privacy of naive Bayes: what a row adds is bounded, noise is as told, and files hold nothing exact."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from conftest import SPACES

import genus
from genus.errors import GenusError
from genus.models.private import REACH, STEPS, discrete_laplace

STATISTICS = genus.NaiveBayes.statistics


def statistics(x: torch.Tensor, space: genus.Space) -> dict[str, torch.Tensor]:
    model = genus.NaiveBayes(space, epsilon=1.0)
    model.observe(x)
    return {name: model.get_buffer(name).clone() for name in STATISTICS}


@pytest.mark.parametrize("name", ["mixed", "reals and states", "wide lattice", "charts", "times"])
def test_a_row_adds_no_more_than_the_noise_is_made_for(name: str) -> None:
    space = SPACES[name]
    rows = space.join(
        torch.stack([torch.randint(k.states, (50,)) for k in space.kinds], 1), 30 * torch.randn(50, space.dim)
    )  # far out, where nothing but clipping bounds a sum
    with_all, product = statistics(rows, space), genus.NaiveBayes(space).product
    tables, numbers = len(product.cells.tabled), len(product.cells.rest)
    for i in range(10):
        without = statistics(torch.cat([rows[:i], rows[i + 1 :]]), space)
        change = {n.split(".")[-1]: (with_all[n] - without[n]).abs() for n in STATISTICS}
        assert change["rows"].sum() == 1
        assert change["counts"].sum() <= tables
        assert change["inside"].sum() <= numbers
        assert (change["sums"] <= REACH + 1e-9).all()
        assert (change["squares"] <= REACH**2 + 1e-9).all()
        whole = change["sums"] * STEPS / REACH
        assert torch.allclose(whole, whole.round(), atol=1e-6)  # what noise is added to is whole, or its last digits tell


def test_noise_falls_by_the_same_factor_with_every_step() -> None:
    noise = discrete_laplace((400_000,), 2.0)
    counts = torch.stack([(noise == z).sum() for z in range(-4, 5)]).double()
    for near, far in ((4, 5), (5, 6), (6, 7), (4, 3), (3, 2)):
        assert float(counts[near] / counts[far]) == pytest.approx(math.exp(0.5), rel=0.03)


def test_a_large_budget_changes_little_and_a_small_one_leaves_a_density() -> None:
    data = genus.read("iris", context="species")
    exact = genus.NaiveBayes(data.space, data.context)
    genus.fit(exact, data, progress=False)
    means = []
    for epsilon in (1e6, 0.5):
        model = genus.NaiveBayes(data.space, data.context, epsilon=epsilon)
        genus.fit(model, data, progress=False)
        means.append(float(model.log_prob(data.x, data.c).mean()))
        assert model.log_prob(model.sample(50, data.c[:50], seed=0), data.c[:50]).isfinite().all()
    truth = float(exact.log_prob(data.x, data.c).mean())
    assert means[0] == pytest.approx(truth, abs=0.02)
    assert means[1] < truth


def test_a_file_holds_nothing_exact(tmp_path: Path) -> None:
    data = genus.read("iris", context="species")
    model = genus.NaiveBayes(data.space, data.context, epsilon=0.1)
    genus.fit(model, data, progress=False)
    genus.save(model, tmp_path / "m.genus")
    loaded = genus.load(tmp_path / "m.genus")
    assert loaded.contexts is None
    assert loaded.held_out is None
    assert "0.1-differentially private" in loaded.privacy
    exact = genus.NaiveBayes(data.space, data.context)
    exact.observe(data.x, data.c)
    for name in STATISTICS:
        if exact.get_buffer(name).numel():
            assert not torch.equal(loaded.get_buffer(name), exact.get_buffer(name)), name
    assert not torch.equal(loaded.context_counts, torch.full((3,), 50).to(loaded.context_counts))


def test_what_breaks_the_bound_is_refused() -> None:
    data = genus.read("iris")
    with pytest.raises(GenusError, match="above 0"):
        genus.build("naive-bayes", data.space, epsilon=0.0)
    with pytest.raises(GenusError, match="weight"):
        genus.NaiveBayes(data.space, epsilon=1.0).observe(data.x, None, torch.ones(len(data.x)))
