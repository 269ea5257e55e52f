"""Charts: each is a monotone bijection with its slope, and a space with charts has the measure that it says."""

from __future__ import annotations

import math

import pytest
import torch

import genus
from genus import Category, Lattice, Real, Space
from genus.errors import DataError
from genus.kinds import Chart, kind_from_json

KNOTS = ((-3.0, -2.5, 0.4), (-1.0, -1.5, 2.0), (0.5, 0.25, 0.3), (3.0, 2.0, 1.0))
FORMS = {
    "affine": Chart(),
    "log": Chart("log", 0.0, 3.0),
    "negative log": Chart("log", 2.0, -3.0),
    "softplus": Chart("softplus", 1.0, 0.5),
    "negative softplus": Chart("softplus", 1.0, -0.5),
    "logit": Chart("logit", -1.0, 4.0),
    "asinh": Chart("asinh", 10.0, 2.0),
}
CHARTS = FORMS | {f"{name}, spline": Chart(c.form, c.origin, c.width, KNOTS) for name, c in FORMS.items()}
CHARTS["two knots"] = Chart("log", 0.0, 1.0, ((-1.0, -1.0, 0.5), (1.0, 1.5, 2.0)))


@pytest.mark.parametrize("name", CHARTS)
def test_charts_are_bijections_with_their_slope(name: str) -> None:
    space = Space([Category(("a", "b")), Real(0.3, 1.7, (0.0, math.nan), CHARTS[name]), Real()])
    u = torch.linspace(-4.0, 4.0, 41, dtype=torch.float64)
    rows = torch.stack([torch.zeros_like(u), u, u], dim=1)
    x = space.join(torch.zeros(41, 3, dtype=torch.long), rows).requires_grad_()
    parts = space.split(x)
    assert torch.allclose(parts.u[:, 1], u, atol=1e-6)
    assert bool((x[1:, 1] > x[:-1, 1]).all())
    (slope,) = torch.autograd.grad(parts.u[:, 1].sum(), x)
    assert torch.allclose(slope[:, 1].log(), parts.log_slope[:, 1], atol=1e-6)
    space.check(x)


def test_a_support_is_open_and_atoms_may_lie_on_its_end() -> None:
    space = Space([Real(0.0, 1.0, (0.0,), Chart("log")), Real(0.0, 1.0, (), Chart("logit"))])
    x = torch.tensor([[0.0, 0.5], [2.0, 0.25]])
    space.check(x)
    parts = space.split(x)
    assert parts.state.tolist() == [[1, 0], [0, 0]]
    assert bool(parts.u.isfinite().all() & parts.log_slope.isfinite().all())
    for outside in ([-1.0, 0.5], [1.0, 1.0]):
        with pytest.raises(DataError, match="outside Real"):
            space.check(torch.tensor([outside]))
    far = space.join(torch.zeros(2, 2, dtype=torch.long), torch.tensor([[-500.0, 500.0], [500.0, -500.0]]))
    space.check(far)


@pytest.mark.parametrize(
    "chart", [Chart(), Chart("log", -0.5, 2.0), Chart("asinh", 5.0, 1.0, KNOTS), Chart("logit", -0.5, 30.0)]
)
def test_the_cells_of_a_lattice_hold_all_mass_once(chart: Chart) -> None:
    kind = Lattice(0, 29, loc=0.5, scale=2.0, chart=chart)
    x = torch.arange(30.0).unsqueeze(1)
    lower, upper = Space([kind]).edges(x)
    assert lower[0] == -math.inf
    assert upper[-1] == math.inf
    assert torch.allclose(lower[1:], upper[:-1])
    middle = Space([kind]).split(x).u
    assert bool((lower < middle).all())
    assert bool((middle < upper).all())


def test_the_elements_of_a_sequence_share_a_chart() -> None:
    space = Space(Real(0.0, 1.0, (), Chart("log")), shape=(5,), sequence=True)
    x = torch.rand(3, 7) + 0.1
    assert torch.allclose(space.split(x).u, x.log(), atol=1e-5)
    assert torch.allclose(space.join(torch.zeros(3, 7, dtype=torch.long), x.log()), x)


def test_charts_are_json_and_wrong_ones_are_refused() -> None:
    for chart in CHARTS.values():
        kind = Real(1.0, 2.0, (math.nan,), chart)
        assert repr(kind_from_json(kind.to_json())) == repr(kind)
        assert kind_from_json(kind.to_json()).chart == chart
    for wrong in (
        {"form": "cube"},
        {"width": 0.0},
        {"form": "asinh", "width": -1.0},
        {"knots": ((0.0, 0.0, 1.0),)},
        {"knots": ((0.0, 0.0, 1.0), (1.0, -1.0, 1.0))},
        {"knots": ((0.0, 0.0, 1.0), (1.0, 1.0, -1.0))},
    ):
        with pytest.raises(DataError, match=r"chart"):
            Chart(**wrong)
    with pytest.raises(DataError, match="holds all its cells"):
        Lattice(0, 9, chart=Chart("log", 0.0))


@pytest.mark.filterwarnings("ignore:The numbers of column")
@pytest.mark.parametrize("name", ["independent", "naive-bayes", "mixture"])
def test_draws_of_fewer_digits_stay_inside_their_ends(name: str) -> None:
    """Draws are made in double precision: in single precision 1e-60 is 0, and 100 less 1e-9 is 100."""
    space = Space(
        [Real(0.0, 1.0, chart=Chart("softplus")), Real(0.0, 1.0, chart=Chart("logit", 0.0, 100.0)), Real(atoms=(0.0,))]
    )
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(120, 3, generator=generator, dtype=torch.float64) * 150
    x = space.join(torch.zeros(120, 3, dtype=torch.long), u, torch.float64)
    x[:40, 2] = 0.0
    model = genus.build(name, space, **({"components": 2} if name == "mixture" else {}))
    genus.fit(model, x, seed=0, progress=False)
    drawn = model.sample(5000, seed=0)
    assert drawn.dtype == torch.float32
    space.check(drawn)
    assert (drawn[:, 2] == 0).any()
    filled = model.impute(drawn, missing=torch.ones_like(drawn, dtype=torch.bool), seed=1)
    space.check(filled)
