"""Rows of mixed columns by the chain rule: exact in any order of the columns, and lattices numerically right.

`test_chain_rule.py` has the laws of all spaces; here are tables whose columns differ in everything, and extreme parameters.
"""

from __future__ import annotations

import math

import pytest
import torch
from conftest import SMALL

import genus
from genus import Category, Lattice, Real, Space
from genus.models.chain_rule import ChainRule
from genus.nets.heads import Head

TABLE = Space(  # enumerable: a wide lattice, atoms on a lattice and off it, a missing number and a missing level
    [
        Lattice(0, 299, atoms=(0.0, 40.0), loc=90.0, scale=60.0),
        Category(("a", "b", None)),
        Lattice(1, 3, atoms=(2.0, 9.5, math.nan)),
        Category((False, True)),
    ],
    names=["gain", "job", "grade", "rich"],
)
ORDERS = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]]
FAMILIES = [name for name in SMALL if issubclass(genus.family(name), ChainRule) and genus.family(name).accepts(TABLE)]


def ordered(family: str, space: Space, order: list[int], double: bool = True, **hyper: object) -> genus.TractableDensity:
    """A model of the table in this order of its columns, away from its birth state."""
    torch.manual_seed(sum(order[:2]))
    model = genus.build(family, space, **SMALL[family], order=order, **hyper)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return (model.double() if double else model).eval()


def values(kind: Real | Lattice | Category) -> list[float]:
    """Every value of a column, once."""
    if isinstance(kind, Category):
        return [float(level) for level in range(kind.states)]
    lattice = [kind.low + kind.step * i for i in range(kind.size)]
    return [v for v in lattice if v not in kind.lattice_atoms] + list(kind.atoms)


def every_row(space: Space) -> torch.Tensor:
    return torch.cartesian_prod(*(torch.tensor(values(kind), dtype=torch.float64) for kind in space.kinds))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_mass_of_a_mixed_table_is_one_in_any_order(family: str, order: list[int]) -> None:
    model, rows = ordered(family, TABLE, order), every_row(TABLE)
    with torch.no_grad():
        assert float(model.log_prob(rows).exp().sum()) == pytest.approx(1, abs=1e-9)
        by_column = model.log_conditionals(rows)
    assert torch.allclose(by_column.sum(1), model.log_prob(rows), atol=1e-9)
    # What stands first has a distribution of its own: the same in all rows that agree in it, and of mass 1.
    first = order[0]
    groups = rows[:, first].nan_to_num(-1.0)
    total = 0.0
    for value in groups.unique().tolist():
        same = by_column[groups == value, first]
        assert float(same.max() - same.min()) < 1e-12
        total += float(same[0].detach().exp())
    assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=str)
def test_mass_of_reals_with_atoms_is_one_in_any_order(family: str, order: list[int]) -> None:
    space = Space([Real(1.0, 2.0, atoms=(0.0, math.nan)), Category(("a", "b", "c"))])
    model = ordered(family, space, order)
    t = torch.linspace(-9, 9, 4001, dtype=torch.float64)  # u = sinh(t): fine in the middle, and far into the tails
    points = torch.cat([1 + 2 * torch.sinh(t), torch.tensor([0.0, math.nan], dtype=torch.float64)])
    weights = torch.cat([2 * torch.cosh(t) * (t[1] - t[0]), torch.ones(2, dtype=torch.float64)])
    mass = sum(
        (model.log_prob(torch.stack([points, torch.full_like(points, level)], dim=1)).detach().exp() * weights).sum()
        for level in range(3)
    )
    assert float(mass) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_completed_rows_follow_the_enumerated_conditional(family: str) -> None:
    order, n = ORDERS[2], 4_000
    model, rows = ordered(family, TABLE, order), every_row(TABLE)
    prefix = torch.tensor([values(TABLE.kinds[column])[-1] for column in order[:2]], dtype=torch.float64)
    given = rows[:, order[:2]]
    rows = rows[((given == prefix) | (given.isnan() & prefix.isnan())).all(1)]
    drawn = model.sample(n, prefix=prefix.to(TABLE.dtype), seed=0).double()
    assert torch.equal(drawn[:, order[:2]].nan_to_num(-1.0), prefix.nan_to_num(-1.0).expand(n, 2))
    expected = model.log_prob(rows).detach().softmax(0)  # p(all) / p(given) over all that is possible
    place = {tuple(row): i for i, row in enumerate(rows.nan_to_num(-1.0).tolist())}
    which = torch.tensor([place[tuple(row)] for row in drawn.nan_to_num(-1.0).tolist()])
    seen = torch.bincount(which, minlength=len(rows)) / n
    error = (expected * (1 - expected) / n).sqrt()
    assert bool(((seen - expected).abs() <= 5 * error + 3 / n).all())
    assert float((seen - expected).abs().sum()) <= 1.15 * math.sqrt(2 / math.pi) * float(error.sum())  # as chance would have it


def test_a_mean_over_orders_is_a_density_of_mixed_tables() -> None:
    torch.manual_seed(0)
    model = genus.MADE(TABLE, hidden=(12,), orders=3, components=2).double().eval()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    with torch.no_grad():
        assert float(model.log_prob(every_row(TABLE)).exp().sum()) == pytest.approx(1, abs=1e-9)


# -- discretised logistics -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-4), (torch.float64, 1e-9)], ids=["float32", "float64"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("extreme", [1.0, 10.0, 1000.0])
def test_discretised_logistics_have_mass_one_and_no_nan(dtype: torch.dtype, error: float, bits: int, extreme: float) -> None:
    space = Space([Lattice(0, 2**bits - 1)])
    head = Head(space, components=3, limit=32)
    x = torch.arange(2**bits, dtype=torch.float64).to(dtype).unsqueeze(1)
    generator = torch.Generator().manual_seed(bits)
    for _ in range(3):
        numbers = (extreme * torch.randn(1, head.width, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_()
        log_prob = head(numbers.expand(len(x), -1)).log_prob(x)
        assert bool(log_prob.isfinite().all())
        assert float(log_prob.detach().double().exp().sum()) == pytest.approx(1, abs=error)
        (gradient,) = torch.autograd.grad(log_prob.mean(), numbers)
        assert bool(gradient.isfinite().all())
        drawn = head(numbers.detach().expand(1000, -1)).sample()
        space.check(drawn)


def test_the_continuous_part_of_a_lattice_of_many_atoms_lives_off_them() -> None:
    """Hundreds of atoms on both sides of a few other values, as the gains and losses of a tax return."""
    kind = Lattice(0, 999, atoms=tuple(float(v) for v in range(0, 999, 3)), loc=500.0, scale=300.0)
    space = Space([kind, Lattice(0, 400, atoms=(7.0,))])
    head = Head(space, components=2).double()
    numbers = torch.randn(1, head.width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for column in range(2):
        x = torch.zeros(len(values(space.kinds[column])), 2, dtype=torch.float64)
        x[:, column] = torch.tensor(values(space.kinds[column]), dtype=torch.float64)
        log_prob = head(numbers.expand(len(x), -1)).log_prob(x)[:, column]
        assert float(log_prob.exp().sum()) == pytest.approx(1, abs=1e-9)
    single = torch.cat([head(numbers).log_prob(row.unsqueeze(0)) for row in x[::40]])  # rows do not depend on their neighbours
    assert torch.allclose(single, head(numbers.expand(len(single), -1)).log_prob(x[::40]), atol=1e-12)
