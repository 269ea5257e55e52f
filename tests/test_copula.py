"""The Gaussian copula: scores of columns, correlations, any columns given the others, and files."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import SPACES, draw, make, refused_once_changed
from torch import Tensor

import genus
from genus import Category, GaussianCopula, Lattice, Real, Space
from genus.laws.core import base_measure
from genus.models.scores import LevelScores, column_scores, mean_scores

KINDS = [
    Real(1.0, 2.0),
    Real(1.0, 2.0, atoms=(0.0, 3.0, math.nan)),
    Lattice(0, 300),
    Lattice(0, 400, atoms=(40.0, 7.5, 999.0, math.nan), loc=90.0, scale=60.0),
    Lattice(0, 3, atoms=(2.0, 9.0, math.nan)),
    Category(("a", "b", None)),
]
CORRELATION = torch.tensor([[1.0, 0.8, -0.5], [0.8, 1.0, -0.2], [-0.5, -0.2, 1.0]], dtype=torch.float64)


def normals(rows: int, seed: int = 0) -> Tensor:
    """Rows of three normal variables with the correlations above."""
    z = torch.randn(rows, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return z @ torch.linalg.cholesky(CORRELATION).T


def learned(space: Space, x: Tensor, c: Tensor | None = None, context: Space | None = None, **hyper: int) -> GaussianCopula:
    model = GaussianCopula(space, context, **hyper)
    model.learn((x, c), None, lambda: math.inf, seed=0)
    return model


@pytest.mark.parametrize("kind", KINDS, ids=map(repr, KINDS))
@pytest.mark.parametrize("above", [False, True])
def test_scores_are_a_distribution_function_and_its_inverse(kind: genus.space.Kind, above: bool) -> None:
    """Intervals of states and cells share the line without gaps, numbers lie in their order, and scores lead back."""
    column = column_scores(kind)
    if not isinstance(column, LevelScores):
        column.missing_above.fill_(above and kind.has_missing)
        column.shares.copy_(
            torch.arange(1.0, len(column.shares) + 1, dtype=torch.float64)
            / torch.arange(1.0, len(column.shares) + 1, dtype=torch.float64).sum()
        )
    z = torch.linspace(-3.5, 3.5, 400, dtype=torch.float64)
    x = column.invert(z)
    scored = column(x)
    assert bool((scored.lower <= z + 1e-9).all() and (z - 1e-9 <= scored.upper).all())
    assert torch.allclose(column.invert(mean_scores(scored)).nan_to_num(-1e9), x.nan_to_num(-1e9), atol=1e-6)
    if not isinstance(kind, Category):
        numbers = x[~x.isnan()]
        assert bool((numbers.diff() >= 0).all())
    every = x.unique()
    if not bool(scored.point.any()) and len(every) < 50:
        each = column(torch.cat([every[~every.isnan()], x[x.isnan()][:1]]))
        mass = torch.special.ndtr(each.upper) - torch.special.ndtr(each.lower)
        assert float(mass.sum()) == pytest.approx(1, abs=1e-9)


def test_reals_have_the_density_of_their_normal_distribution() -> None:
    x = normals(4000)
    space = Space([Real(), Real(), Real()])
    model = learned(space, x)
    assert torch.allclose(model.correlation, CORRELATION, atol=0.05)
    true = torch.distributions.MultivariateNormal(torch.zeros(3, dtype=torch.float64), CORRELATION)
    new = normals(2000, seed=1)
    lost = (true.log_prob(new) - model.log_prob(new)).mean()
    assert float(lost) < 0.02
    some = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), CORRELATION[[2, 0]][:, [2, 0]])
    assert float((some.log_prob(new[:, [2, 0]]) - model.log_marginal(new[:, [2, 0]], [2, 0])).mean().abs()) < 0.02


def test_correlations_are_found_behind_levels_and_short_lattices() -> None:
    """A category of shuffled levels, a lattice and a number that was cut out of three normal variables."""
    z = normals(4000)
    levels = torch.tensor([2.0, 0.0, 3.0, 1.0], dtype=torch.float64)[
        torch.bucketize(z[:, 0].contiguous(), torch.tensor([-1.0, 0.2, 1.0]).double())
    ]
    x = torch.stack(
        [levels, torch.bucketize(z[:, 1].contiguous(), torch.tensor([-0.5, 0.5]).double()).double(), z[:, 2]], dim=1
    )
    space = Space([Category(tuple("abcd")), Lattice(0, 2), Real()])
    model = learned(space, x, points=16)
    sign = torch.tensor([1.0 if model.correlation[0, 1] > 0 else -1.0, 1.0, 1.0], dtype=torch.float64)
    assert torch.allclose(model.correlation * sign * sign.unsqueeze(1), CORRELATION, atol=0.06)
    assert model.columns[0].rank.tolist() in ([1, 3, 0, 2], [2, 0, 3, 1])
    found = float(model.log_prob(x).mean())
    fine = GaussianCopula(space, points=1024)
    fine.load_state_dict({k: v for k, v in model.state_dict().items() if k != "points"}, strict=False)
    assert found == pytest.approx(float(fine.log_prob(x).mean()), abs=0.01)


@pytest.mark.parametrize("column", [0, 1, 2, 3])
@torch.no_grad()
def test_any_column_is_drawn_from_the_conditional_of_the_joint(column: int) -> None:
    """Marginals of every subset beside sums of the joint density over a grid of the column that is left out."""
    space = Space([Real(1.0, 2.0), Category(("a", "b", "c")), Real(-1.0, 0.5), Category((0, 1))])
    x = draw(space, 500, seed=1).double()
    x[:, 2] = torch.where(x[:, 1] == 1, x[:, 2] + 0.5, x[:, 2]) + 0.1 * x[:, 0]
    model = learned(space, x, points=64)
    points, weights = base_measure(space.kinds[column])
    rows = x[:1].repeat(len(points), 1)
    rows[:, column] = points
    joint = model.log_prob(rows).exp() * weights
    there = [i for i in range(4) if i != column]
    found = float(model.log_marginal(x[:1, there], there).exp())
    # A real column before known categories is left out by the recursion through the others, which is near and not exact.
    assert found == pytest.approx(float(joint.sum()), rel=0.02 if column in (0, 2) else 1e-9)
    gap = x[:1].repeat(3000, 1)
    missing = torch.zeros_like(gap, dtype=torch.bool)
    missing[:, column] = True
    drawn = model.impute(gap, missing=missing, seed=0)[:, column]
    steps = (drawn[:, None] <= points).double().mean(0)
    assert float((steps - (joint / joint.sum()).cumsum(0)).abs().max()) < 2 / math.sqrt(3000) + 0.01


def test_the_density_given_a_context_is_a_ratio_of_joint_densities() -> None:
    space, context = Space([Real(), Category(("a", "b", "c"))]), Space([Category(("u", "v")), Real(2.0, 3.0)])
    x, c = draw(space, 300), draw(context, 300, seed=1)
    x[:, 0] += c[:, 1] / 3 + c[:, 0]
    model = learned(space, x.double(), c.double(), context, points=8)
    both = learned(Space([*context.kinds, *space.kinds]), torch.cat([c, x], dim=1).double(), points=8)
    assert torch.allclose(model.correlation, both.correlation, atol=0.05)
    c, x = c.double(), x.double()
    ratio = both.log_prob(torch.cat([c, x], dim=1)) - both.log_marginal(c, [0, 1])
    assert float((model.log_prob(x, c) - ratio).mean()) == pytest.approx(0, abs=0.02)
    high, low = (model.sample(2000, torch.tensor([[0.0, v]]), seed=0)[:, 0].mean() for v in (6.0, -2.0))
    assert float(high - low) == pytest.approx(8 / 3, abs=0.6)


CRAFTED: dict[str, Callable[[dict[str, Tensor]], None]] = {
    "correlations above one": lambda t: t["correlation"][0, 1:].fill_(2.0),
    "correlations that are no numbers": lambda t: t["correlation"].fill_(math.nan),
    "a variance": lambda t: t["correlation"].mul_(2.0),
    "a matrix that is not definite": lambda t: t["correlation"].fill_(1.0),
    "a point outside": lambda t: t["points"].fill_(1.0),
    "points that are no numbers": lambda t: t["points"].fill_(math.nan),
    "a column too few": lambda t: t.update({"points": t["points"][:, 1:].clone()}),
    "levels of one rank": lambda t: t["columns.2.rank"].fill_(0),
    "negative probabilities": lambda t: t["columns.2.shares"].copy_(torch.tensor([2.0, -0.5, -0.5])),
    "probabilities that do not sum to one": lambda t: t["columns.1.shares"].fill_(0.1),
    "a deviation of nothing": lambda t: t["columns.0.std"].fill_(0.0),
    "a mean that is no number": lambda t: t["columns.3.mean"].fill_(math.nan),
    "weights that do not sum to one": lambda t: t["columns.3.log_weights"].fill_(0.0),
}


@pytest.mark.parametrize("change", CRAFTED.values(), ids=list(CRAFTED))
def test_a_file_that_was_tampered_with_is_refused(change: Callable[[dict[str, Tensor]], None], tmp_path: Path) -> None:
    model = GaussianCopula(Space([Real(), Lattice(0, 3), Category(("a", "b", "c")), Lattice(0, 300)]), points=4)
    refused_once_changed(model, change, tmp_path / "m.genus")


def test_what_it_cannot_do_is_said() -> None:
    with pytest.raises(genus.GenusError, match="points must be 1 or more"):
        GaussianCopula(Space([Real()]), points=0)
    with pytest.raises(genus.NotFittedError, match="has not seen any data"):
        GaussianCopula(Space([Real()])).log_prob(torch.zeros(1, 1))
    with pytest.raises(genus.NotFittedError, match="has not seen any data"):
        GaussianCopula(Space([Real()])).sample(1)
    with pytest.raises(genus.DataError, match=r"at most 2,048 columns"):
        GaussianCopula(Space(Lattice(0, 1), shape=(64, 64)))


def test_training_that_is_cut_short_leaves_a_model() -> None:
    space = SPACES["mixed"]
    model = GaussianCopula(space, points=4)
    x = draw(space, 60)
    model.learn((x, None), None, lambda: 0.0, seed=0)
    assert model.log_prob(x).isfinite().all()
    assert make("gaussian-copula", space).parameter_count < 100


def test_blank_cells_do_not_bend_the_correlations() -> None:
    """A fifth of the cells is blank: what is left says how columns hang together, and blanks are drawn by it."""
    whole = normals(1500)
    blank = torch.rand(whole.shape, generator=torch.Generator().manual_seed(1)) < 0.2
    x = whole.masked_fill(blank, math.nan)
    real = Real(0.0, 1.0, atoms=(math.nan,), unknown=True)
    space = Space([real, Lattice(-8, 8, step=0.02, atoms=(math.nan,), unknown=True), real])
    x[:, 1] = (x[:, 1] / 0.02).round() * 0.02
    model = learned(space, x)
    assert torch.allclose(model.correlation, CORRELATION, atol=0.07)
    filled = model.impute(x, seed=0)
    assert not bool(filled.isnan().any())
    assert torch.allclose(torch.corrcoef(filled.T), CORRELATION, atol=0.07)
    assert not bool(model.impute(x.masked_fill(torch.ones_like(blank), math.nan), seed=0).isnan().any())
    assert not bool(model.sample(500, seed=0).isnan().any())


def test_a_row_with_a_blank_is_as_likely_as_its_values_and_its_pattern() -> None:
    whole = normals(400)
    x = whole.masked_fill(torch.rand(whole.shape, generator=torch.Generator().manual_seed(1)) < 0.2, math.nan)
    model = learned(Space([Real(0.0, 1.0, atoms=(math.nan,), unknown=True)] * 3), x)
    row = torch.tensor([[0.5, math.nan, -0.25]], dtype=torch.float64)
    pattern = [model.blanks.log_prob(row[:, part], part) for part in ([0, 1, 2], [0, 2])]
    assert torch.allclose(model.log_prob(row) - pattern[0], model.log_marginal(row[:, [0, 2]], [0, 2]) - pattern[1])


def test_a_model_of_many_atoms_is_loaded(tmp_path: Path) -> None:
    space = Space([Lattice(0, 20_000, 5, atoms=tuple(range(100, 15_100, 50)))] * 4)
    for family in ("gaussian-copula", "trees", "hclt", "made", "nsf", "vae"):
        model = genus.build(family, space)
        genus.save(model, tmp_path / "m.genus")
        assert genus.load(tmp_path / "m.genus").space == space


def test_rows_are_scored_alike_in_parts_and_correlations_learned_from_some(monkeypatch: pytest.MonkeyPatch) -> None:
    x = draw(SPACES["mixed"], 300)
    model = GaussianCopula(SPACES["mixed"])
    genus.fit(model, x, seed=0, progress=False)
    whole = model.log_prob(x)
    monkeypatch.setattr("genus.models.copula.SCORED", 50)
    monkeypatch.setattr("genus.models.copula.LEAST_ROWS", 7)
    monkeypatch.setattr("genus.models.copula.AT_ONCE", 1)
    assert torch.allclose(model.log_prob(x), whole, atol=1e-12)
    monkeypatch.setattr("genus.models.copula.CORRELATED", 100 * SPACES["mixed"].dim)
    some = GaussianCopula(SPACES["mixed"])
    genus.fit(some, x, seed=0, progress=False)
    assert not torch.equal(some.correlation, model.correlation)
    assert torch.isfinite(some.log_prob(x)).all()
