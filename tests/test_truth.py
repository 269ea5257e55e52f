"""Training tells the truth: what was trained or frozen stays so, and modes and types change nothing."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from conftest import SMALL, SPACES, law, make

import genus
from genus import Category, Lattice, Real, Space
from genus.ladder import ApproximateDensity, GenerativeModel
from genus.nets.state import evaluating
from genus.random import isolated

X = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)) @ torch.tensor([[1.0, 0.5], [0.0, 0.3]])
SPACE = Space([Real(), Real()])
STILL = {"max_steps": 1, "learning_rate": 1e-12, "validation": None, "progress": False}


def trained_by_a_loop(name: str, steps: int = 200) -> GenerativeModel:
    torch.manual_seed(0)
    model = genus.build(name, SPACE, **SMALL[name])
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        sum(loss.value(X, None) for loss in model.losses()).backward()  # type: ignore[union-attr]
        optimizer.step()
    return model


@pytest.mark.parametrize("name", ["maf", "real-nvp", "nsf", "made", "vae"])
@pytest.mark.parametrize("by_file", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_fit_goes_on_from_a_loop_of_one_s_own(name: str, by_file: bool, tmp_path: Path) -> None:
    model = trained_by_a_loop(name)
    if by_file:
        genus.save(model, tmp_path / "model.genus")
        model = genus.load(tmp_path / "model.genus")
    before = [parameter.detach().clone() for parameter in model.parameters()]
    genus.fit(model, X, **STILL)
    for parameter, value in zip(model.parameters(), before, strict=True):
        assert torch.allclose(parameter, value, atol=1e-6)


@pytest.mark.parametrize("name", ["maf", "vae", "mixture"])
def test_a_new_model_is_untrained_after_files_and_casts_and_is_initialised(name: str, tmp_path: Path) -> None:
    model = genus.build(name, SPACE, **SMALL[name])
    assert model.untrained
    genus.save(model, tmp_path / "model.genus")
    model = genus.load(tmp_path / "model.genus")
    assert model.untrained
    if name != "mixture":  # which counts in double precision alone
        assert model.bfloat16().float().untrained
    genus.fit(model, X, max_steps=1, validation=None, progress=False)
    assert not model.untrained


def test_a_model_with_a_net_of_one_s_own_is_still_initialised() -> None:
    model = genus.VAE(Space([Category(("a", "b"))]), latent=2, hidden=(8,))
    model.replace(encoder=torch.nn.Linear(model.space.feature_dim, model.code_width))
    assert model.untrained


@pytest.mark.parametrize("name", ["maf", "made", "vae", "vq-vae", "nsf"])
def test_frozen_parameters_do_not_move(name: str) -> None:
    model = genus.build(name, Space([Real(), Category(("a", "b"))]), **SMALL[name])
    x = torch.stack([X[:, 0] * 3 + 1, (X[:, 1] > 0.2).float()], 1)
    frozen = [p.requires_grad_(False) for i, p in enumerate(model.parameters()) if i % 2]
    before = [p.clone() for p in frozen]
    model.initialise(x)
    assert all(torch.equal(p, value) for p, value in zip(frozen, before, strict=True))
    genus.fit(model, x, max_steps=2, progress=False)
    assert all(torch.equal(p, value) and not p.requires_grad for p, value in zip(frozen, before, strict=True))


@pytest.mark.parametrize("name", ["maf", "made", "vae", "naive-bayes"])
def test_whole_numbers_train_a_real(name: str) -> None:
    x = torch.randint(0, 100, (200, 2), generator=torch.Generator().manual_seed(1))
    models = [genus.build(name, Space([Real(50.0, 30.0)] * 2), seed=0, **SMALL[name]) for _ in range(2)]
    for model, rows in zip(models, (x, x.float()), strict=True):
        genus.fit(model, rows, max_steps=3, progress=False)
    values = [model.elbo(rows, seed=0) for model, rows in zip(models, (x, x.float()), strict=True)]
    assert torch.equal(*values)


@law()
def test_sampling_works_under_autocast(family: str, space: Space, context: Space | None) -> None:
    model = make(family, space, context, double=False)
    c = None if context is None else context.join(torch.zeros(3, context.dim, dtype=torch.long), torch.zeros(3, context.dim))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = model.sample(3, c, seed=0)
    space.check(x)
    assert x.dtype == space.dtype


@pytest.mark.parametrize("family", SMALL)
@pytest.mark.parametrize("space", ["reals", "mixed", "lattice", "words"])
def test_draws_have_the_type_that_the_model_computes_in(family: str, space: str) -> None:
    try:
        model = make(family, SPACES[space])
    except genus.DataError:
        pytest.skip("the family does not take the space")
    double = next(iter(model.parameters()), None) is not None  # counts are double whatever the data are
    draws = model.sample(4, seed=0)
    assert draws.dtype == (torch.float64 if double else SPACES[space].dtype)
    if double and space == "reals" and family != "flow":
        assert not torch.equal(draws, draws.float().double()), "rounded to single precision on the way"
    assert make(family, SPACES[space], double=False).sample(4, seed=0).dtype == SPACES[space].dtype


@law(ApproximateDensity)
def test_training_and_evaluation_mode_give_the_same_density(family: str, space: Space, context: Space | None) -> None:
    model = make(family, space, context)
    c = None if context is None else context.join(torch.zeros(8, context.dim, dtype=torch.long), torch.zeros(8, context.dim))
    x = model.sample(8, c, seed=1)
    values = []
    for training in (True, False):
        with isolated(3), torch.no_grad():
            values.append(model.train(training).elbo(x, c))
    assert torch.allclose(*values, atol=1e-8)


def test_the_mode_of_every_part_is_as_it_was() -> None:
    model = genus.build("maf", SPACE, **SMALL["maf"])
    model.train()
    model.transform.eval()
    modes = [part.training for part in model.modules()]
    model.sample(2)
    with evaluating(model):
        assert not any(part.training for part in model.modules())
    assert [part.training for part in model.modules()] == modes


# -- a space that does not fit the data -----------------------------------------------------------------------------------


def test_a_scale_far_from_the_data_is_warned_about() -> None:
    x = 1000 + 50 * torch.randn(200, 1, generator=torch.Generator().manual_seed(1))
    model = genus.build("maf", Space([Real()], names=["income"]), **SMALL["maf"])
    with pytest.warns(UserWarning, match=r"column 'income'.* [\d.]+ ± [\d.]+,.*Space\.measure\(x\)"):
        genus.fit(model, x, max_steps=1, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        genus.fit(genus.build("maf", Space.measure(x), **SMALL["maf"]), x, max_steps=1, progress=False)
        genus.fit(genus.build("maf", Space([Real()]), **SMALL["maf"]), 2 * X[:, :1] + 3, max_steps=1, progress=False)


def test_a_space_is_measured_from_a_tensor() -> None:
    x = torch.stack([1000 + 50 * torch.randn(300, generator=torch.Generator().manual_seed(1)), torch.arange(300.0) % 7], 1)
    space = Space.measure(x, names=["a", "b"])
    assert isinstance(space.kinds[0], Real)
    u = space.split(x).u[:, 0]
    assert [u.mean().item(), u.std().item()] == pytest.approx([0, 1], abs=0.05)
    assert repr(space.kinds[1]) == repr(Lattice(0, 6))
    assert space.names == ("a", "b")
    assert Space.measure(torch.randint(0, 256, (5, 4, 4))).shape == (4, 4)
    for wrong in (torch.zeros(3), torch.zeros(0, 2), torch.full((2, 1), torch.nan), torch.full((2, 1), torch.inf)):
        with pytest.raises(genus.DataError):
            Space.measure(wrong)
