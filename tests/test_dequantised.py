"""Continuous families on whole numbers: the bound, its noise, and what both say of the truth."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CONTEXTS, SPACES, draw
from torch.nn import functional as F

import genus
from genus import Category, GenusError, Lattice, Real, Space
from genus.cli.inputs import parse_hyperparameters
from genus.models import Dequantised
from genus.models.noise import MARGIN, CellNoise
from genus.random import isolated

NOISES = ("uniform", "variational")
PAIR = Space([Lattice(0, 4), Lattice(0.0, 2.0, step=0.5)])


def moved(space: Space, noise: str, context: Space | None = None, family: str = "maf", **more: Any) -> Dequantised:
    """A small model away from its birth state, in double precision."""
    with isolated(0):
        shape: dict[str, Any] = {"transforms": 2, "hidden": [12]} if family == "maf" else {}
        model = Dequantised(space, context, family=family, noise=noise, **shape | more)
        for parameter in model.parameters():
            parameter.data += 0.15 * torch.randn_like(parameter)
    return model.double().eval()


def truth(model: Dequantised, x: torch.Tensor) -> torch.Tensor:
    """log P(x) of rows of two whole numbers, by a grid within every cell, the finer the nearer to its edges."""
    t = torch.linspace(-12, 12, 121, dtype=torch.float64)
    log_weight = F.logsigmoid(t) + F.logsigmoid(-t) + math.log(t[1] - t[0])
    grid, log_q = torch.cartesian_prod(t, t).sigmoid(), -torch.cartesian_prod(log_weight, log_weight).sum(1)
    model._places = lambda x, c, body, noise: (grid.repeat(len(x) // len(grid), 1), log_q.repeat(len(x) // len(grid)))  # type: ignore[method-assign]
    try:
        return model._elbo(x.repeat_interleave(len(grid), 0), None).view(len(x), -1).logsumexp(1)
    finally:
        del model._places


@pytest.mark.parametrize("noise", NOISES)
@torch.no_grad()
def test_the_bound_is_below_the_truth_and_the_evidence_is_the_truth(noise: str) -> None:
    model = moved(PAIR, noise)
    x = torch.cartesian_prod(torch.arange(5.0), torch.arange(0.0, 2.1, 0.5)).double()
    exact = truth(model, x)
    assert exact.exp().sum().item() == pytest.approx(1, abs=2e-3)
    bound = torch.stack([model.elbo(x, seed=i) for i in range(100)])
    error = bound.std(0) / 10
    assert bool((bound.mean(0) < exact + 3 * error).all())
    assert bool((exact - bound.mean(0) > 3 * error).any())
    evidence, effective = model.importance(x, samples=3000, seed=0)
    enough = effective > 200  # few effective samples have errors that they do not tell of
    assert enough.sum() > 10
    assert bool(((evidence - exact).abs() < 5 / effective.sqrt())[enough].all())


@pytest.mark.parametrize("noise", NOISES)
@torch.no_grad()
def test_samples_have_the_mass_that_the_evidence_says(noise: str) -> None:
    model = moved(PAIR, noise)
    x = torch.cartesian_prod(torch.arange(5.0), torch.arange(0.0, 2.1, 0.5)).double()
    found = (model.sample(20_000, seed=1).double()[:, None] == x).all(2).double().mean(0)
    expected = truth(model, x).exp()
    assert bool(((found - expected).abs() < 5 * (expected / 20_000).sqrt() + 2e-3).all())


def test_trained_noise_brings_the_bound_nearer() -> None:
    """One affine transform cannot fill a cell evenly; noise that it chooses need not."""
    with isolated(0):
        a = (torch.rand(600) < 0.3).float() * 3
        x = torch.stack([a, 4 - a + (torch.rand(600) < 0.1).float()], dim=1)
    means = {}
    for noise in NOISES:
        with isolated(0):
            model = genus.build("maf", Space([Lattice(0, 5)] * 2), transforms=2, hidden=[16], noise=noise)
        genus.fit(model, x, max_steps=300, progress=False)
        with torch.no_grad():
            means[noise] = torch.stack([model.elbo(x, seed=i) for i in range(16)]).mean().item()
            assert means[noise] <= model.log_evidence(x, samples=64, seed=0).mean().item()
    entropy = -sum(p * math.log(p) for p in (0.3, 0.7, 0.1, 0.9))
    assert means["uniform"] + 0.2 < means["variational"] < -entropy + 0.1, means


def test_at_birth_noise_is_uniform() -> None:
    noise = CellNoise(3, 2, allow_missing=True).double()
    there = torch.tensor([[True, True, False]]).expand(5000, -1)
    u, log_q = noise(there, torch.randn(5000, 2, dtype=torch.float64))
    assert torch.allclose(log_q, torch.full_like(log_q, -2 * math.log(1 - 2 * MARGIN)))
    assert u.min() > 0
    assert u.max() < 1
    assert u[:, :2].mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    assert u[:, :2].var(0).tolist() == pytest.approx([1 / 12, 1 / 12], rel=0.05)


def test_trained_noise_knows_its_own_density() -> None:
    """A histogram of the places of one cell, beside q."""
    with isolated(0):
        noise = CellNoise(1, 2, hidden=[8]).double()
        for parameter in noise.parameters():
            parameter.data += 0.5 * torch.randn_like(parameter)
        features = torch.tensor([[0.3, -1.0]], dtype=torch.float64).expand(200_000, -1)
        u, log_q = noise(torch.ones(200_000, 1, dtype=torch.bool), features)
    place = (u[:, 0] * 10).long()
    found = torch.bincount(place, minlength=10) / len(u)
    # The mean of 1 / q over the draws in an interval is its width over its share of them.
    width = torch.zeros(10, dtype=torch.float64).index_add(0, place, (-log_q).exp().detach()) / len(u)
    wide = found > 0.02
    assert wide.sum() > 3
    assert found.max() > 0.15
    assert torch.allclose(width[wide][1:-1], torch.full((int(wide.sum()) - 2,), 0.1, dtype=torch.float64), rtol=0.05)


@pytest.mark.parametrize("noise", NOISES)
def test_noise_is_added_to_cells_and_to_nothing_else(noise: str) -> None:
    """At an atom, or where a number is missing, the bound is exact: no draw of the noise changes it."""
    model = moved(Space([Lattice(0, 300, atoms=(0.0, math.nan)), Real(), Category(("a", "b"))]), noise)
    x = torch.tensor([[0.0, 0.3, 1.0], [math.nan, 0.3, 0.0], [7.0, 0.3, 1.0]], dtype=torch.float64)
    first, second = model.elbo(x, seed=0), model.elbo(x, seed=1)
    assert torch.equal(first[:2], second[:2])
    assert not torch.equal(first[2:], second[2:])
    first[2].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("family", ["glow", "nsf", "real-nvp"])
def test_images_with_a_condition_are_kept_in_files(family: str, tmp_path: Path) -> None:
    space, context = Space(Lattice(0, 16), shape=(4, 4)), CONTEXTS["mixed"]
    suggested = genus.family(family).default_hyperparameters(space, 500)
    assert suggested["noise"] == "variational"
    with isolated(0):
        model = genus.build(family, space, context, **suggested | {"hidden": [8, 8]})
    assert isinstance(model, Dequantised)
    assert isinstance(model.noise, CellNoise)
    x, c = draw(space, 5), draw(context, 5)
    genus.save(model, tmp_path / "m.genus")
    again = genus.load(tmp_path / "m.genus")
    assert torch.equal(again.elbo(x, c, seed=0), model.eval().elbo(x, c, seed=0))
    assert model.info.likelihood == "bound"


def test_the_noise_is_a_hyper_parameter_of_continuous_families() -> None:
    assert parse_hyperparameters(genus.family("maf"), ["noise=variational"]) == {"noise": "variational"}
    assert "noise" not in genus.registry.hyper_parameters(genus.family("made"))
    assert "noise" not in genus.MAF.default_hyperparameters(SPACES["lattice"], 500)
    assert "noise" not in genus.MAF.default_hyperparameters(SPACES["real image"], 500)
    assert "noise" not in genus.MAF.default_hyperparameters(Space(Lattice(0, 255), shape=(28, 28)), 500)
    with pytest.raises(GenusError, match="'uniform' or 'variational'; got 'loud'"):
        genus.build("maf", PAIR, noise="loud")
    with pytest.raises(GenusError, match="for whole numbers, and there are none here"):
        genus.build("maf", SPACES["reals"], noise="variational")


@pytest.mark.parametrize("noise", NOISES)
def test_images_may_be_kept_as_small_integers(noise: str) -> None:
    model = moved(SPACES["image"], noise)
    x = draw(SPACES["image"], 6, seed=3)
    values = []
    for rows in (x.double(), x.to(torch.uint8)):
        with isolated(0):
            values.append(model.losses()[0].value(rows, None))
    assert torch.allclose(*values)
