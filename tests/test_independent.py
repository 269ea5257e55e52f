"""Independent columns, the baseline: each column's own density, exact, as good as its values allow, and no row topples it."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import CONTEXTS, SPACES, draw
from scipy import stats

import genus
from genus import Lattice, Real, Space
from genus.kinds import Chart
from genus.laws import models as laws
from genus.laws.core import base_measure
from genus.models import Independent
from genus.models.student import log_student, student_quantile, student_tail

TABLES = {name: space for name, space in SPACES.items() if space.is_table}


def fitted(space: Space, x: torch.Tensor, c: torch.Tensor | None = None, context: Space | None = None) -> Independent:
    model = Independent(space, context)
    model.observe(x, c)
    model.conclude()
    return model


@pytest.mark.parametrize("name", TABLES)
def test_each_column_has_mass_one_and_the_row_their_product(name: str) -> None:
    space, x = TABLES[name], draw(TABLES[name], 400)
    model, total = fitted(space, x), torch.zeros(5, dtype=torch.float64)
    for i, kind in enumerate(space.kinds):
        points, weight = base_measure(kind)
        assert float((model.log_marginal(points.unsqueeze(1), [i]).exp() * weight).sum()) == pytest.approx(1, abs=1e-6)
        total += model.log_marginal(x[:5, i : i + 1], [i])
    assert torch.allclose(model.log_prob(x[:5]), total)
    assert laws.samples_are_data(model, x, None)
    assert laws.files_keep_the_model(model, x[:20], None)


def test_samples_have_the_frequencies_of_the_density() -> None:
    space = Space([Lattice(0, 400, 1.0, (0.0, 40.0), 3.5, 1.0, chart=Chart("log", -0.5))])
    model = fitted(space, draw(space, 400))
    points, _ = base_measure(space.kinds[0])
    sample = model.sample(20_000, seed=0).double()
    share = (sample[:, 0] == points[:, None]).double().mean(1)
    assert float(share.sum()) == 1
    expected = model.log_prob(points.unsqueeze(1)).exp()
    few = expected * 20_000 > 5
    chi = ((share - expected).square() * 20_000 / expected)[few].sum() - few.sum()
    assert abs(float(chi / (2 * few.sum()).sqrt())) < 5


def test_shapes_that_one_normal_misses_are_met_and_a_normal_stays_one() -> None:
    generator = torch.Generator().manual_seed(0)

    def rows(n: int) -> torch.Tensor:
        far = 1000 * (torch.rand(n, 1, generator=generator) < 0.3) + torch.randn(n, 1, generator=generator)
        steep = -torch.rand(n, 1, generator=generator).log()
        return torch.cat([far, steep, torch.randn(n, 1, generator=generator)], dim=1).double()

    x, new = rows(3000), rows(4000)
    model = fitted(Space([Real(float(v.mean()), float(v.std())) for v in x.T]), x)
    found = [float(model.log_marginal(new[:, i : i + 1], [i]).mean()) for i in range(3)]
    entropy = 0.5 * math.log(2 * math.pi * math.e)
    bits = -(0.3 * math.log(0.3) + 0.7 * math.log(0.7))
    for value, truth in zip(found, (-entropy - bits, -1.0, -entropy), strict=True):
        assert value == pytest.approx(truth, abs=0.06)
    assert int((model.log_weights[2, :-1] > -20).sum()) <= 2


def test_no_single_row_topples_it() -> None:
    x = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0)).double()
    model = fitted(Space([Real()]), x)
    far = model.log_prob(torch.tensor([[1e6]], dtype=torch.float64))
    assert float(far) > -80  # .08 nats of the mean of as many rows as it has seen


def test_the_context_is_ignored_rows_may_stream_and_many_are_thinned() -> None:
    space, context = SPACES["charts"], CONTEXTS["mixed"]
    x, c = draw(space, 300), draw(context, 300)
    model = fitted(space, x, c, context)
    assert torch.equal(model.log_prob(x, c), model.log_prob(x, c.flip(0)))
    parts = Independent(space)
    for part in x.split(70):
        parts.observe(part)
    parts.conclude()
    assert torch.allclose(parts.log_prob(x), model.log_prob(x, c), atol=1e-6)
    one, many = Space([Real()]), torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0))
    whole = Independent(one)
    for part in many.split(7000):
        whole.observe(part)
    kept = torch.cat(whole._kept)
    assert 2**15 <= len(kept) <= 2**16
    assert torch.equal(kept, many[:: whole._stride].double())
    with pytest.raises(genus.GenusError, match="not observed any data"):
        Independent(one).log_prob(many[:2])


def test_a_class_of_a_few_equal_rows_borrows_deviations() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(203, 2, generator=g)
    x[200:] = 0.25  # three rows of the rare class, which happen to be equal
    c = torch.cat([torch.zeros(100), torch.ones(100), torch.full((3,), 2.0)])[:, None]
    model = genus.NaiveBayes(genus.Space([genus.Real(), genus.Real()]), genus.Space([genus.Category(("a", "b", "rare"))]))
    model.observe(x, c)
    model.conclude()
    other = torch.tensor([[1.0, -0.5]])
    assert float(model.log_prob(other, torch.tensor([[2.0]]))) > -15  # with their own deviation it is -1e9
    alone = genus.NaiveBayes(model.space)
    alone.observe(x[:100])
    alone.conclude()
    assert torch.allclose(model.product.std[0], alone.product.std[0])  # a class of many rows keeps its own


def test_the_heavy_tail_is_students_t_and_its_draws_stay_in_sight() -> None:
    """In a chart that is a logarithm a t of two degrees of freedom drew numbers 10^15 times the range of 250 rows, and one of
    four degrees a thousand times, with the weight of a row.
    """
    t = torch.tensor([-1e8, -50.0, -3.0, -0.1, 0.0, 0.2, 4.0, 1e9], dtype=torch.float64)
    reference = stats.t(4)
    assert torch.allclose(log_student(t), torch.tensor(reference.logpdf(t)))
    assert torch.allclose(student_tail(t.abs()), torch.tensor(reference.sf(t.abs())), rtol=1e-12, atol=0)
    mass = torch.tensor([1e-250, 1e-30, 1e-5, 0.2, 0.4999], dtype=torch.float64)
    assert torch.allclose(student_quantile(mass, 1 - mass), torch.tensor(reference.ppf(mass)), rtol=1e-6)
    x = torch.randn(250, 1, generator=torch.Generator().manual_seed(0)).double().exp()
    model = fitted(Space([Real(chart=Chart("log"))]), x)
    assert max(float(model.sample(200_000, seed=seed).max()) for seed in range(4)) < 10 * float(x.max())
