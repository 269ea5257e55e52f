"""The mixture: its choice of form, absent numbers, conditionals, files, many rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw, refused_once_changed
from torch import Tensor

import genus
from genus import Category, Lattice, Mixture, Real, Space
from genus.models.components import COVARIANCES, Components, Form
from genus.models.gaussians import Gaps, Gaussians
from genus.models.layout import smooth_lattices
from genus.models.masses import interval_mass, normal_cell_mass
from genus.models.maximising import climb_stream, expect, mean_log_density, new_components, starting_labels

REALS = Space([Real()] * 3)
GAPS = Space([Real(1.0, 2.0, atoms=(0.0, math.nan)), Category(("a", "b")), Real(), Real(2.0, 0.5, atoms=(math.nan,))])


def blobs(n: int, seed: int = 0) -> Tensor:
    """Rows (n, 3) of two normals whose columns depend on each other."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    x[:, 1] = 0.9 * x[:, 0] + 0.3 * x[:, 1]
    return x + 4.0 * (torch.arange(n) % 2).unsqueeze(1)


def learned(space: Space, x: Tensor, **hyper: object) -> Mixture:
    model = Mixture(space, **{"components": 2, "covariance": "full", "shrinkage": 1.0, "pool": 1.0} | hyper)  # type: ignore[arg-type]
    model.learn((x, None), None, lambda: math.inf, seed=0)
    return model


@pytest.fixture(scope="module")
def chosen() -> Mixture:
    """Of a size that its data chose."""
    space = Space([Real(), Real(), Lattice(0, 3), Lattice(0, 300)])
    return learned(space, draw(space, 60).double(), components=None)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_em_never_lowers_the_likelihood(covariance: str) -> None:
    x = draw(GAPS, 300).double()
    form = Form(3, covariance, 1, 0.0, 1e-9)
    rows = Components(GAPS, None, 1, "diagonal").rows_of(x, None)
    parts = new_components(GAPS, None, form, rows, starting_labels(GAPS.coordinates(x).float(), rows.context, form, 0))
    values = []
    for _ in range(8):
        values.append(expect(parts, rows))
        parts.conclude(form)
    assert np.diff(values).min() > -1e-3
    assert values[-1] > values[0] + 0.01


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_passes_over_a_stream_are_those_over_all_rows_in_memory(covariance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genus.models.maximising.BLOCK", 170)
    x, form = draw(GAPS, 1000).double(), Form(3, covariance, 1, 0.5, 1.0)
    seen = Components(GAPS, None, 1, "diagonal")
    every, some, held = (seen.rows_of(rows, None) for rows in (x, x[:300], draw(GAPS, 200, seed=1).double()))
    labels = starting_labels(GAPS.coordinates(x[:300]).float(), some.context, form, 0)
    memory, stream = (new_components(GAPS, None, form, some, labels) for _ in range(2))
    values = [mean_log_density(memory, held)]
    while len(values) < 2 or values[-1] > values[-2] + 1e-4:
        expect(memory, every)
        memory.conclude(form)
        values.append(mean_log_density(memory, held))
    assert values[-1] > values[0]

    def rest(size: int) -> Iterator[tuple[Tensor, None]]:
        return ((part, None) for part in x[300:].split(size))

    climb_stream(stream, form, lambda x, c: seen.rows_of(x, c), (x[:300], None), rest, lambda: False, held)
    assert mean_log_density(stream, held) == pytest.approx(max(values), abs=1e-9)
    if values[-1] == max(values):
        for name, tensor in memory.state_dict().items():
            assert torch.allclose(tensor, stream.state_dict()[name], rtol=1e-9, atol=1e-9, equal_nan=True), name


@pytest.mark.parametrize("width", [1e-5, 0.005, 0.05, 0.14, 0.4])
def test_cells_have_the_mass_of_their_interval_however_wide_the_others_are(width: float) -> None:
    middle = torch.linspace(-3.0, 3.0, 60, dtype=torch.float64)
    widths = torch.full_like(middle, width)
    mean, std = torch.tensor([0.0, 1.0], dtype=torch.float64), torch.tensor([1.0, 0.9], dtype=torch.float64)
    for wide in (0, 7, 40):  # of which the series does not hold
        widths[:wide] = 2.0
        lower, upper = middle - widths / 2, middle + widths / 2
        lower[0] = -math.inf  # the first cell of a lattice holds a tail
        a, b = ((end[:, None] - mean) / std for end in (lower, upper))
        mass = normal_cell_mass(torch.stack([lower, upper, (upper - lower).log()]), mean, std)
        assert torch.allclose(mass, interval_mass(a, b), rtol=0, atol=1e-7)


@pytest.mark.parametrize("asked", [0, 4])
def test_a_pass_that_the_time_ends_keeps_what_held_rows_like_best(asked: int) -> None:
    x, form = blobs(900), Form(2, "full", 1, 0.5, 1.0)
    seen = Components(REALS, None, 1, "diagonal")
    some, held = seen.rows_of(x[:60], None), seen.rows_of(blobs(300, 1), None)
    parts = new_components(REALS, None, form, some, starting_labels(x[:60].float(), some.context, form, 0))
    before, times = mean_log_density(parts, held), iter(range(10**6))
    rest = [(x[60:480], None), (x[480:] + 100.0, None)]  # the last block is of another place, and comes too late
    climb_stream(parts, form, seen.rows_of, (x[:60], None), lambda size: iter(rest), lambda: next(times) > asked, held)
    after = mean_log_density(parts, held)
    assert after == before if asked == 0 else after > before


def test_absent_numbers_leave_the_normal_of_those_present() -> None:
    normals = Gaussians([Real()] * 3, 2, tied=False)
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64)
    normals.mean = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    covariance = root @ root.transpose(1, 2)
    normals.factor = torch.linalg.cholesky(covariance)
    u = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    inside = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 0, 0], [0, 1, 0]]).bool()
    found = normals.log_prob(u, Gaps.of(inside))
    for row in range(4):
        at = inside[row].nonzero()[:, 0]
        for k in range(2):
            expected = 0.0
            if len(at):
                law = torch.distributions.MultivariateNormal(normals.mean[k, at], covariance[k][at][:, at])
                expected = float(law.log_prob(u[row, at]))
            assert float(found[row, k]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_any_columns_are_left_out_and_drawn_exactly(covariance: str) -> None:
    model = learned(REALS, blobs(300), covariance=covariance)
    x = blobs(1, seed=3)
    grid = torch.linspace(-8, 12, 4001, dtype=torch.float64)
    rows = x.repeat(len(grid), 1)
    rows[:, 1] = grid
    joint = model.log_prob(rows).exp()
    step = float(grid[1] - grid[0])
    assert float(model.log_marginal(x[:, [0, 2]], [0, 2]).exp()) == pytest.approx(float(joint.sum()) * step, rel=1e-6)
    many = x.repeat(4000, 1)
    many[:, 1] = math.nan
    drawn = model.impute(many, seed=0)[:, 1].double()
    mean = float((joint * grid).sum() / joint.sum())
    spread = float(((joint * (grid - mean).square()).sum() / joint.sum()).sqrt())
    assert float(drawn.mean()) == pytest.approx(mean, abs=5 * spread / 4000**0.5)
    assert float(drawn.std()) == pytest.approx(spread, rel=0.1)


def test_rows_with_gaps_are_imputed_and_scored() -> None:
    x = draw(GAPS, 300).double()
    model = learned(GAPS, x)
    missing = torch.rand(300, 4, generator=torch.Generator().manual_seed(1)) < 0.4
    whole = model.impute(x, missing=missing, seed=0)
    GAPS.check(whole)
    assert torch.equal(whole[~missing].nan_to_num(-7.0), x[~missing].to(whole).nan_to_num(-7.0))
    assert model.log_prob(model.sample(100, seed=0)).isfinite().all()


def test_two_clusters_far_apart_are_both_found() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(600, 1, generator=generator, dtype=torch.float64)
    x[:20] += 9999
    space = Space([Real(float(x.mean()), float(x.std()))])
    truth = -0.5 * math.log(2 * math.pi * math.e) + (580 / 600) * math.log(580 / 600) + (20 / 600) * math.log(20 / 600)
    assert float(learned(space, x).log_prob(x).mean()) == pytest.approx(truth, abs=0.1)


def test_the_form_is_chosen_by_rows_that_did_not_fit_it() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(150, 2, generator=generator, dtype=torch.float64)
    x[:, 1] = x[:, 0] + 0.1 * x[:, 1]
    model = learned(Space([Real()] * 2), x, components=None, covariance="auto")
    assert model.parts.gaussians is not None
    assert model.parts.count <= 2
    held = torch.randn(2000, 2, generator=generator, dtype=torch.float64)
    held[:, 1] = held[:, 0] + 0.1 * held[:, 1]
    truth = -math.log(2 * math.pi) - 1 - math.log(0.1)
    assert float(model.log_prob(held).mean()) > truth - 0.1


CRAFTED: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "weights that add up to 2": lambda t: t["parts.log_weights"].add_(math.log(2.0)),
    "a mean that is no number": lambda t: t["parts.gaussians.mean"].fill_(math.nan),
    "a covariance that is none": lambda t: t["parts.gaussians.factor"].neg_(),
    "a factor above its diagonal": lambda t: t["parts.gaussians.factor"].fill_(1.0),
    "a covariance beyond all numbers": lambda t: t["parts.gaussians.factor"].mul_(1e200),
    "a lattice with an atom among the normals": lambda t: t.update(
        {"parts.is_smooth": torch.tensor([True, False, False, False])}
    ),
    "covariances of other columns": lambda t: t.update({"parts.gaussians.factor": torch.ones(2, 5, 5).double()}),
    "more components than tables": lambda t: t.update({"parts.log_weights": torch.zeros(1, 10**6).double()}),
    "a table of no mass": lambda t: t["parts.product.log_table"].fill_(-50.0),
    "a normal without a width": lambda t: t["parts.product.std"].zero_(),
}


@pytest.mark.parametrize("change", CRAFTED.values(), ids=list(CRAFTED))
def test_a_file_that_was_tampered_with_is_refused(
    change: Callable[[dict[str, Tensor]], object], chosen: Mixture, tmp_path: Path
) -> None:
    refused_once_changed(chosen, change, tmp_path / "m.genus")


@pytest.mark.parametrize("hyper", [{"components": 0}, {"covariance": "round"}, {"pool": -1.0}, {"shrinkage": -1.0}])
def test_hyper_parameters_out_of_range_are_refused(hyper: dict[str, object]) -> None:
    with pytest.raises(genus.GenusError, match=r"or more|one of"):
        Mixture(REALS, **hyper)  # type: ignore[arg-type]


def test_more_than_few_rows_are_judged_by_validation_rows_within_a_budget() -> None:
    x = blobs(3000).float()
    model = Mixture(REALS, components=2, covariance="tied", shrinkage=1.0)
    genus.fit(model, x, max_seconds=30, seed=0, progress=False)
    assert float(model.log_prob(blobs(1000, seed=1)).mean()) > -3.9


@pytest.mark.nightly
def test_many_rows_keep_to_the_time_that_they_are_given() -> None:
    x = blobs(200_000)
    model, begin = Mixture(REALS), time.perf_counter()
    genus.fit(model, x, max_seconds=10, seed=0, progress=False)
    assert time.perf_counter() - begin < 11
    assert float(model.log_prob(blobs(1000, seed=1)).mean()) > -3.73  # that of two normals by all rows is -3.723


def test_a_row_far_from_all_others_is_rare_and_not_impossible() -> None:
    """One row of five hundred must not decide a mean: with two numbers, related, and one row 60 deviations off."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 2, generator=generator)
    x[:, 1] = x[:, 0] + 0.1 * x[:, 1]
    x[0] = torch.tensor([30.0, -30.0])
    space = Space([Real(), Real()])
    model = Mixture(space)
    genus.fit(model, x, seed=0, progress=False)
    far = model.log_prob(torch.tensor([[60.0, 60.0], [-20.0, 25.0]]))
    assert bool((far > -60).all())  # a normal of the relation has some -10,000
    within = model.log_prob(x[1:]).mean()
    assert within > 0.5 * math.log(100) - math.log(2 * math.pi) - 1 - 0.1  # the truth, in expectation, less a little
    drawn = model.sample(20_000, seed=0)
    assert (drawn.abs().amax(1) > 6).double().mean() < 0.005


def test_values_of_the_context_have_components_of_their_own(tmp_path: Path) -> None:
    space, context = Space([Real(), Real()]), Space([Category(("a", "b", "never seen"))])
    generator = torch.Generator().manual_seed(0)
    c = torch.randint(2, (400, 1), generator=generator).float()
    x = torch.randn(400, 2, generator=generator, dtype=torch.float64) + 3 * c * torch.tensor([1.0, -1.0])
    own = Mixture(space, context, components=2, covariance="full", shrinkage=1.0, shared=False)
    own.learn((x, c), None, lambda: math.inf, seed=0)
    own.trained = True
    alone = learned(space, x[c[:, 0] == 0])
    gain = own.log_prob(x[c[:, 0] == 0], torch.zeros(1, 1)) - alone.log_prob(x[c[:, 0] == 0])
    assert gain.mean().abs() < 0.05  # what rows of others say of covariances is worth one row
    assert own.log_prob(x, torch.full((1, 1), 2.0)).isfinite().all()
    assert own.sample(50, torch.ones(1, 1), seed=0).mean(0).tolist() == pytest.approx([3, -3], abs=0.5)
    genus.save(own, tmp_path / "own.genus")
    again = genus.load(tmp_path / "own.genus")
    assert torch.equal(again.log_prob(x, c), own.log_prob(x, c))


def test_many_rows_and_a_chosen_size_leave_components_to_their_owners() -> None:
    space, context = Space([Real(), Real()]), Space([Category(("a", "b"))])
    generator = torch.Generator().manual_seed(0)
    c = torch.randint(2, (2500, 1), generator=generator).float()
    x = torch.randn(2500, 2, generator=generator, dtype=torch.float64) * (1 + c) + 3 * c
    model = Mixture(space, context, shared=False)
    model.learn((x, c), None, lambda: math.inf, seed=0)
    weights = model.parts.log_weights.exp()
    both = (weights > 0).all(0)
    assert both.sum() == 1  # what takes rows far from all others
    assert (weights[:, ~both] > 0).sum(1).unique().numel() == 1


def test_levels_beside_short_lattices_are_not_blurred_with_them() -> None:
    """Tables of short lattices want rows' worth of all rows; a level that a lattice decides is to be sure nevertheless."""
    data = genus.read("iris", relations=False)
    model = genus.build("mixture", data.space)
    genus.fit(model, data, seed=0, progress=False)
    setosa = genus.predict(model, {"petal length (cm)": [1.4], "petal width (cm)": [0.2]}, "species")
    assert setosa.probabilities["setosa"][0] > 0.99


LATTICES = Space([Lattice(0, 39), Real(20.0, 6.0), Lattice(0, 29, atoms=(7.5, math.nan)), Category(("a", "b"))])


def steps(n: int, seed: int = 0) -> Tensor:
    """Rows (n, 4) of two lattices and a real number that depend on each other, some at an atom, some blank."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(n, 4, generator=generator, dtype=torch.float64)
    x = torch.stack([20 + 5 * u[:, 0], 20 + 5 * u[:, 0] + 2 * u[:, 1], 14 + 3.4 * u[:, 0] + 1.2 * u[:, 2], 0 * u[:, 3]], 1)
    x[:, 0], x[:, 2] = x[:, 0].round().clamp(0, 39), x[:, 2].round().clamp(0, 29)
    x[::9, 2], x[1::11, 2] = 7.5, math.nan
    x[:, 3] = (torch.arange(n) % 2).double()
    return x


@pytest.fixture(scope="module")
def on_lattices() -> Mixture:
    model = learned(LATTICES, steps(3000), covariance="full")
    assert model.parts.smooth == (0, 2)
    return model


def grid(columns: list[list[float]]) -> Tensor:
    """All combinations of values, (N, columns)."""
    return torch.cartesian_prod(*(torch.tensor(values, dtype=torch.float64) for values in columns))


def test_joint_numbers_on_lattices_have_masses_that_add_up_to_one(on_lattices: Mixture) -> None:
    width = 0.5
    rows = grid([list(range(40)), list(np.arange(-30, 70, width)), [*range(30), 7.5, math.nan], [0, 1]])
    joint = on_lattices.log_prob(rows)
    assert float(joint.exp().sum()) * width == pytest.approx(1.0, abs=1e-9)
    # The last of the numbers is left out exactly, the first nearly: its cells widen the others by what they are wide.
    last = on_lattices.log_marginal(rows[:, :2], [0, 1])[:: 32 * 2]
    summed = joint.unflatten(0, (-1, 32 * 2)).logsumexp(1)
    likely = last > last.max() - 12
    assert float((last - summed)[likely].abs().max()) < 1e-9
    first = on_lattices.log_marginal(rows[:, 1:], [1, 2, 3]).unflatten(0, (40, -1))[0]
    summed = joint.unflatten(0, (40, -1)).logsumexp(0)
    weight = summed.softmax(0)
    assert float((weight * (summed - first)).sum()) < 5e-4


def test_draws_of_joint_numbers_on_lattices_are_as_frequent_as_their_masses(on_lattices: Mixture) -> None:
    x = on_lattices.sample(40_000, seed=0).double()
    LATTICES.check(x)
    pairs = grid([list(range(40)), [*range(30), 7.5, math.nan]])
    mass = on_lattices.log_marginal(pairs, [0, 2]).exp().view(40, 32)
    second = torch.where(x[:, 2] == 7.5, 30.0, x[:, 2].nan_to_num(31.0))
    place = x[:, 0].long() * 32 + second.long()
    share = torch.bincount(place, minlength=40 * 32).view(40, 32) / len(x)
    assert float((share - mass).abs().sum()) / 2 < 0.04  # of so many draws; .2 where the columns were independent
    blank = steps(1, seed=2).repeat(20_000, 1)
    blank[:, 0] = math.nan
    drawn = on_lattices.impute(blank, missing=blank.isnan() & (torch.arange(4) == 0), seed=0)[:, 0].double()
    rows = steps(1, seed=2).repeat(40, 1)
    rows[:, 0] = torch.arange(40)
    law = on_lattices.log_prob(rows).softmax(0)
    share = torch.bincount(drawn.long(), minlength=40) / len(drawn)
    assert float((share - law).abs().sum()) / 2 < 0.02


def test_dependence_between_lattices_is_found(tmp_path: Path) -> None:
    model, alone = (learned(LATTICES, steps(600), covariance=name, components=1) for name in ("full", "diagonal"))
    assert model.parts.gaussians is not None
    assert model.parts.smooth == (0, 2)
    fresh = steps(500, seed=5)
    assert float((model.log_prob(fresh) - alone.log_prob(fresh)).mean()) > 1.0
    path = tmp_path / "m.genus"
    genus.save(model, path)
    assert torch.equal(genus.load(path).log_prob(fresh), model.log_prob(fresh))


def test_gradients_in_real_columns_are_finite_at_the_ends_of_lattices(on_lattices: Mixture) -> None:
    x = torch.tensor([[0.0, 20.0, 29.0, 0.0], [12.0, 20.0, 14.0, 1.0]], dtype=torch.float64, requires_grad=True)
    on_lattices.log_prob(x).sum().backward()
    assert x.grad is not None
    assert bool(x.grad[:, 1].isfinite().all())


def test_a_value_of_a_lattice_decides_those_after_it() -> None:
    """Cells as wide as the noise: the second number follows the first one's value, and not where in its cell it was drawn."""
    kinds = [Lattice(0, 40)] * 2
    normals = Gaussians(kinds, components=1, tied=False)
    step = 1 / kinds[0].scale
    normals.factor[0] = torch.tensor([[2 * step, 0.0], [2 * step, 0.5 * step]])
    k, u = torch.zeros(20_000, dtype=torch.long), torch.zeros(20_000, 2, dtype=torch.float64)
    with genus.random.isolated(0):
        drawn = normals.draw(k, u, None)
    values = (drawn / step).round()
    same = float((values[:, 0] == values[:, 1]).double().mean())
    assert same == pytest.approx(math.erf(1 / 2**0.5), abs=0.015)  # half a cell is a standard deviation; .57 without


def test_lattices_that_no_normal_describes_have_tables() -> None:
    generator = torch.Generator().manual_seed(0)
    x = (20 + 6 * torch.randn(1000, 5, generator=generator, dtype=torch.float64)).round().clamp(0, 60)
    x[:, 1] = (x[:, 1] - 10).clamp(min=0)  # one in twenty rows at an end
    x[::3, 2] = 25.0  # a heap
    x[::4, 3] = 7.0
    kinds = [Lattice(0, 60), Lattice(0, 60), Lattice(0, 60), Lattice(0, 60, atoms=(7.0,)), Lattice(0, 60, atoms=(math.nan,))]
    assert smooth_lattices(Space(kinds), x) == (0, 4)
    x[:, 4] = (x[:, 4] / 10).round()  # a scale of few values
    assert smooth_lattices(Space(kinds), x) == (0,)
