"""Missing values at query time: what is drawn given the rest, and what is left out of a density."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from command import run
from conftest import CONTEXTS, SMALL, SPACES, draw, law, make

import genus
from genus import Category, DataError, GenusError, Lattice, Real, Space
from genus.ladder import ApproximateDensity, GenerativeModel, TractableDensity, resampling
from genus.laws.core import base_measure
from genus.models.latent import LatentVariable
from genus.random import isolated

DRAWS = 4000
MIXED = Space([Real(1.0, 2.0), Category(("a", "b", "c")), Real(-1.0, 0.5), Category((0, 1))])


def first(space: Space, columns: list[int], rows: int = 1) -> torch.Tensor:
    """Rows (rows, D) that lack these columns."""
    missing = torch.zeros(rows, space.dim, dtype=torch.bool)
    missing[:, columns] = True
    return missing.view(-1, *space.shape)


def check_frequencies(model: TractableDensity, x: torch.Tensor, columns: list[int], c: torch.Tensor | None) -> None:
    """Draws of these columns given the others of x (1, D) are as often as the joint's ratio says."""
    grid = torch.cartesian_prod(*[base_measure(model.space.kinds[i])[0] for i in columns]).view(-1, len(columns))
    rows = x.repeat(len(grid), 1).double()
    rows[:, columns] = grid
    expected = model.log_prob(rows, c).softmax(0)
    many = x.repeat(DRAWS, 1)
    drawn = model.impute(many, c, first(model.space, columns, DRAWS), seed=1).double()[:, columns]
    found = (drawn[:, None] == grid).all(2).double().mean(0)
    assert found.sum() == pytest.approx(1)
    assert bool(((found - expected).abs() < 5 * (expected * (1 - expected) / DRAWS).sqrt() + 5 / DRAWS).all())


@law(GenerativeModel, spaces=["lattice", "categories", "mixed", "reals", "image", "real image"])
@torch.no_grad()
def test_every_density_draws_any_entries_given_others(
    family: str, space: Space, context: Space | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampling, "OWN_DRAWS", 200)
    model = make(family, space, context)
    if isinstance(model, LatentVariable):  # of random nets the posterior is far from q, and the chain may run away
        model = genus.build(family, space, context, **SMALL[family]).double().eval()
    c = None if context is None else draw(context, 1, seed=7)
    for columns in ([0], list(range(1, space.dim))):
        x = draw(space, 5, seed=2)
        missing = first(space, columns, 5)
        if not isinstance(model, ApproximateDensity | LatentVariable):
            with pytest.raises(GenusError, match=r"has no density, so it cannot draw .* such as mixture") as refused:
                model.impute(x, c, missing, seed=0)
            assert space.label(columns[0]) in str(refused.value)
            continue
        whole = model.impute(x, c, missing, seed=0)
        space.check(whole)
        assert torch.equal(whole[~missing].nan_to_num(-7.0), x[~missing].nan_to_num(-7.0))
        assert torch.equal(whole, model.impute(x, c, missing, seed=0)) or space.has_missing
        if isinstance(model, TractableDensity) and space in (SPACES["lattice"], SPACES["categories"]):
            check_frequencies(model, x[:1], columns, c)


@pytest.mark.parametrize("columns", [[1], [3], [1, 3]])
@pytest.mark.parametrize("family", ["maf", "nsf", "real-nvp", "made", "rnn", "mixture"])
@torch.no_grad()
def test_categories_are_drawn_given_numbers(family: str, columns: list[int]) -> None:
    check_frequencies(make(family, MIXED), draw(MIXED, 1), columns, None)  # type: ignore[arg-type]


def triangular(family: str, space: Space, **hyper: Any) -> Any:
    with isolated(0):
        model = genus.build(family, space, transforms=1, hidden=[9], **hyper)
        for parameter in model.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model.double().eval()


REALS = Space([Real(1.0, 2.0), Real(-1.0, 0.5), Real()])
ATOMS = Space([Real(1.0, 2.0, atoms=(0.0, math.nan)), Category(("a", "b")), Real(-1.0, 0.5)])
ASKED = {
    "mixture": (lambda: make("mixture", REALS), 0),
    "naive-bayes": (lambda: make("naive-bayes", REALS), 1),
    "made": (lambda: make("made", REALS), 2),
    "gpt": (lambda: make("gpt", REALS), 2),
    "maf": (lambda: triangular("maf", REALS), 2),
    "maf, heavy tails": (lambda: triangular("maf", REALS, base="student"), 2),
    "nsf": (lambda: triangular("nsf", REALS), 2),
    "maf, mixed": (lambda: triangular("maf", MIXED), 2),
    "maf, atoms": (lambda: triangular("maf", ATOMS), 2),
    "a flow in one order": (
        lambda: genus.Flow(
            REALS, None, [genus.transforms.MaskedAutoregressive(3, (9,), order=[2, 0, 1]) for _ in range(2)]
        ).double(),
        1,
    ),
}


@pytest.mark.parametrize(("build", "column"), ASKED.values(), ids=list(ASKED))
@torch.no_grad()
def test_numbers_are_drawn_from_the_conditional_of_the_joint(build: Any, column: int) -> None:
    """Draws' distribution function beside the integral of the joint density along that column."""
    model = build()
    space, kind = model.space, model.space.kinds[column]
    x = draw(space, 1, seed=3)
    points, weights = base_measure(kind)
    rows = x.repeat(len(points), 1).double()
    rows[:, column] = points
    joint = model.log_prob(rows).exp() * weights
    there = [i for i in range(space.dim) if i != column]
    assert model.log_marginal(x[:, there].double(), there).exp().item() == pytest.approx(joint.sum().item(), rel=1e-3)
    gap = x.double().clone()
    gap[:, column] = math.nan
    assert torch.allclose(model.log_marginal(gap), model.log_marginal(x[:, there].double(), there))
    drawn = model.impute(gap.repeat(DRAWS, 1), seed=0)[:, column].double()
    steps = (drawn[:, None] <= points).double().mean(0)
    assert (steps - (joint / joint.sum()).cumsum(0)).abs().max() < 2 / math.sqrt(DRAWS) + 5e-3


def test_a_trained_flow_knows_the_conditionals_of_a_normal_distribution() -> None:
    with isolated(0):
        factor = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.5, 0.7, 0.4]])
        x = torch.randn(3000, 3) @ factor.T + torch.tensor([1.0, -2.0, 0.5])
        model = genus.build("maf", Space([Real()] * 3), transforms=1, hidden=[16])
    genus.fit(model, x, max_steps=100, progress=False)
    known = torch.tensor([[2.0, -1.0, math.nan]]).repeat(DRAWS, 1)
    drawn = model.impute(known, seed=0)
    assert torch.equal(drawn[:, :2], known[:, :2])
    covariance = factor @ factor.T
    slope = covariance[2, :2] @ torch.linalg.inv(covariance[:2, :2])
    mean = 0.5 + slope @ torch.tensor([1.0, 1.0])
    assert drawn[:, 2].mean().item() == pytest.approx(mean.item(), abs=0.08)
    assert drawn[:, 2].std().item() == pytest.approx(0.4, rel=0.1)
    # The first column given the others is no suffix of the flow's order: candidates are weighted.
    filled = model.fill(torch.tensor([[math.nan, -1.0, 0.9]]).repeat(1000, 1), seed=0)
    grid = torch.linspace(-5.0, 7.0, 2001)
    with torch.no_grad():
        share = model.log_prob(torch.stack([grid, torch.full_like(grid, -1.0), torch.full_like(grid, 0.9)], 1)).softmax(0)
    mean = (share * grid).sum()
    assert filled.x[:, 0].mean().item() == pytest.approx(mean.item(), abs=0.06)
    assert filled.x[:, 0].std().item() == pytest.approx((share * (grid - mean).square()).sum().sqrt().item(), rel=0.1)
    assert 5 < filled.size.min() < filled.size.max() <= 64
    assert bool(model.fill(known[:3], seed=0).size.isinf().all())  # of a suffix draws are exact


@torch.no_grad()
def test_rows_that_lack_different_columns_are_answered_together() -> None:
    model = make("mixture", SPACES["mixed"], CONTEXTS["category"])
    x, c = draw(SPACES["mixed"], 6), draw(CONTEXTS["category"], 6)
    missing = torch.zeros(6, 4, dtype=torch.bool)
    missing[0, 1] = missing[1, [0, 3]] = missing[2] = missing[3, 1] = True
    gap = torch.where(missing & (torch.arange(4) != 0) & (torch.arange(4) != 2), math.nan, x)  # NaN is a value of these two
    found = model.log_marginal(gap, c=c)
    for row, columns in enumerate([[0, 2, 3], [0, 1, 2], [0, 2], [0, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]]):
        expected = model.log_marginal(x[row : row + 1, columns], columns, c[row : row + 1])
        assert torch.allclose(found[row], expected[0]), row
    whole = model.impute(x, c, missing, seed=0)
    assert torch.equal(whole[~missing].nan_to_num(-7.0), x[~missing].nan_to_num(-7.0))
    assert model.log_marginal(x[:0], c=c[:0]).shape == model.impute(x[:0], c[:0], missing[:0]).shape[:1] == (0,)


@pytest.mark.parametrize("family", ["pixelcnn", "made"])
def test_images_are_completed_from_their_upper_half(family: str) -> None:
    model = make(family, SPACES["image"])
    x = draw(SPACES["image"], 4)
    missing = torch.zeros_like(x, dtype=torch.bool)
    missing[:, 1] = True
    whole = model.impute(x, missing=missing, seed=0)
    assert torch.equal(whole[:, 0], x[:, 0])
    prefix = model.sample(prefix=x[:, 0], seed=0)
    assert torch.equal(whole, prefix)


def test_what_cannot_be_asked_is_said() -> None:
    model = make("mixture", SPACES["reals"])
    x = draw(SPACES["reals"], 3)
    with pytest.raises(DataError, match=r"missing must be bool of shape \(3, 3\); got torch.bool of \(2, 3\)"):
        model.impute(x, missing=torch.zeros(2, 3, dtype=torch.bool))
    with pytest.raises(DataError, match="must have shape"):
        model.impute(x[:, :2])
    with pytest.raises(DataError, match=r"lacks a value in column 'x1', row 2.*log_marginal\(x\).*impute\(x\)"):
        model.log_prob(torch.where(torch.tensor([[0, 0, 0], [0, 0, 0], [0, 1, 0]]).bool(), math.nan, x))
    with pytest.raises(GenusError, match=r"sample\(prefix=...\)"):
        make("rnn", SPACES["words"]).impute(draw(SPACES["words"], 3))
    wide = Space(Lattice(0, 100), shape=(3,))
    with pytest.raises(GenusError, match=r"made cannot leave out position|made cannot leave out column 'x0', column 'x1'"):
        make("made", wide).log_marginal(draw(wide, 2)[:, 2:], [2])


def test_files_with_gaps_are_scored_and_completed(tmp_path: Path) -> None:
    data = genus.read("iris")
    for family in ("mixture", "vae"):
        model = genus.build(family, data.space)
        genus.fit(model, data, max_steps=20, progress=False)
        genus.save(model, tmp_path / f"{family}.genus")
    names = [*(data.space.names or ())]
    rows = [
        names,
        ["5.1", "", "1.4", "0.2", "setosa"],
        ["6.0", "3.0", "5.0", "1.9", ""],
        ["6.0", "3.0", "5.0", "1.9", "virginica"],
    ]
    source = tmp_path / "gaps.csv"
    source.write_text("\n".join(",".join(row) for row in rows))
    scored = run("score", tmp_path / "mixture.genus", source)
    assert "rows that lack values (2) are scored by those they have" in scored.err
    known = genus.load(tmp_path / "mixture.genus")
    found = json.loads(run("score", tmp_path / "mixture.genus", source, "--json", "-q").out)
    assert found["partial"] == 2
    third = torch.tensor([[6.0, 3.0, 5.0, 1.9, 2.0]])
    assert found["log_density"][1] == pytest.approx(known.log_marginal(third[:, :4], [0, 1, 2, 3]).item(), abs=1e-4)
    assert found["log_density"][2] == pytest.approx(known.log_prob(third).item(), abs=1e-4)
    run("score", tmp_path / "vae.genus", source).refused(1, "no missing value, since there was none in training")
    for family in ("mixture", "vae"):
        filled = run("impute", tmp_path / f"{family}.genus", source, "--seed", 1)
        assert "2 blanks in 2 of 3 rows were filled" in filled.err
        complete = list(csv.reader(io.StringIO(filled.out)))
        assert complete[0] == names
        assert complete[1][0] == "5.1"
        assert 2.0 <= float(complete[1][1]) <= 4.4
        assert complete[2][4] in ("setosa", "versicolor", "virginica")
        assert list(map(float, complete[3][:4])) == [6.0, 3.0, 5.0, 1.9]
        assert filled.out == run("impute", tmp_path / f"{family}.genus", source, "--seed", 1).out


def test_candidates_without_blanks_have_the_density_that_is_said() -> None:
    """Of a model that knows no conditional, a column that is nearly always blank is drawn as its values are."""
    rows = torch.Generator().manual_seed(0)
    a = torch.rand(4000, generator=rows) < 0.5
    b = torch.where(torch.rand(4000, generator=rows) < 0.9, a, ~a).float()
    b[torch.rand(4000, generator=rows) < 0.95] = torch.nan
    space = Space([Category((0, 1)), Lattice(0, 1, atoms=(math.nan,), unknown=True)])
    model = genus.build("mixture", space, components=2)
    genus.fit(model, torch.stack([a.float(), b], dim=1), seed=0, progress=False)
    x = torch.tensor([[0.0, torch.nan], [1.0, torch.nan]]).repeat(3000, 1)
    exact = model.fill(x, seed=1).x[:, 1].view(-1, 2).mean(0)
    for name in ("_filler", "_fill"):
        setattr(model, name, getattr(ApproximateDensity, name).__get__(model))
    model._draw_given = lambda *args: None
    found = model.fill(x, seed=1)
    assert bool(found.done.all())
    assert torch.allclose(found.x[:, 1].view(-1, 2).mean(0), exact, atol=0.04), (found.x[:, 1].view(-1, 2).mean(0), exact)


@torch.no_grad()
def test_rows_that_lack_different_columns_are_drawn_together_as_exact_conditionals_draw_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of every set of unknown columns, the draws by shared candidates are as those of a mixture's own conditionals."""
    rows = torch.Generator().manual_seed(0)
    a = torch.rand(4000, generator=rows) < 0.3
    b = torch.where(torch.rand(4000, generator=rows) < 0.99, a, ~a).float()
    b[torch.rand(4000, generator=rows) < 0.5] = 2.0  # blank
    number = torch.where(a, 2.0, -2.0) + torch.randn(4000, generator=rows)
    space = Space([Category((0, 1)), Category(("u", "v", None), unknown=True), Real()])
    model = genus.build("mixture", space, components=2)
    genus.fit(model, torch.stack([a.float(), b, number], dim=1), seed=0, progress=False)
    monkeypatch.setattr(resampling, "OWN_DRAWS", 500)
    each = 200
    patterns = torch.cartesian_prod(*[torch.tensor([False, True])] * 3)[1:].repeat_interleave(each, 0)
    x = torch.tensor([[1.0, 0.0, 1.36]]).repeat(len(patterns), 1)  # the two columns of levels contradict each other
    with isolated(0):
        draw = resampling.shared_filler(model, x, patterns, None)
        found = torch.stack([draw().x for _ in range(3)]).view(3, 7, each, 3)
    assert bool(draw().done.all())
    assert bool((draw().size > 20).all())
    exact = torch.stack([model.fill(x, missing=patterns, seed=k).x for k in range(10)]).view(10, 7, each, 3)
    apart = (found.mean((0, 2)) - exact.mean((0, 2))).abs()
    assert bool((apart < torch.tensor([0.09, 0.09, 0.5])).all()), apart
    assert torch.equal(draw().x[~patterns], x[~patterns])


def test_a_nearly_blank_column_is_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genus.ladder.density.resample", lambda *args: pytest.fail("it was drawn by weighted candidates"))
    space = Space([Lattice(0, 9, atoms=(math.nan,), unknown=True)] * 12)
    x = torch.randint(0, 10, (500, 12), generator=torch.Generator().manual_seed(0)).double()
    x[torch.rand(500, 12, generator=torch.Generator().manual_seed(1)) < 0.97] = torch.nan
    for family in ("naive-bayes", "independent"):
        model = genus.build(family, space)
        genus.fit(model, x, progress=False)
        assert not bool(model.sample(200, seed=0).isnan().any())
