"""A density over real vectors in ten lines: everything else comes from its base."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import genus
from genus import Category, ContinuousDensity, DataError, Lattice, Real, Space
from genus.testing import check_model

TWO = Space([Real(1.0, 2.0), Real(-3.0, 5.0)])
MIXED = Space([Real(1.0, 2.0), Category(("a", "b", "c")), Real()])
LACKING = Space([Real(0.0, 1.0, atoms=(5.0, math.nan)), Category(("a", "b")), Real(2.0, 3.0)])


class Laplace(ContinuousDensity, name="test-laplace"):
    """Independent Laplace columns."""

    listed = False  # tests of all families do not mean it

    def __init__(self, space: Space, context: Space | None = None, width: float = 1.0) -> None:
        super().__init__(space, context)
        self.width, self.centre = width, nn.Parameter(torch.zeros(self.dim))

    def _log_density(self, u: Tensor, features: Tensor | None) -> Tensor:
        return (-(u - self.centre).abs() / self.width - math.log(2 * self.width)).sum(1)

    def _draw(self, n: int, features: Tensor | None) -> Tensor:
        return self.centre + torch.distributions.Laplace(0.0, self.width).sample((n, self.dim))


class Present(Laplace, name="test-laplace-of-present-numbers"):
    """Laplace columns, of which an absent number is left out."""

    allow_missing = True

    def _log_density(self, u: Tensor, features: Tensor | None) -> Tensor:
        log_density = -(u.nan_to_num() - self.centre).abs() / self.width - math.log(2 * self.width)
        return torch.where(u.isnan(), 0.0, log_density).sum(1)


def rows(space: Space, n: int = 200) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    columns = []
    for kind in space.kinds:
        if isinstance(kind, Category):
            columns.append(torch.randint(kind.states, (n,), generator=generator).float())
        else:
            value = 1.0 + kind.loc + kind.scale * torch.randn(n, generator=generator)
            for i, atom in enumerate(kind.atoms):
                value[i::5] = atom
            columns.append(value)
    return torch.stack(columns, 1)


@pytest.mark.parametrize("family", [Laplace, Present])
@pytest.mark.parametrize("space", [TWO, MIXED], ids=["reals", "mixed"])
def test_it_fits_saves_loads_and_keeps_the_laws(family: type[Laplace], space: Space, tmp_path: Path, own_names: None) -> None:
    model, x = family(space, width=0.5), rows(space)
    before = model.log_prob(x).mean().detach()
    genus.fit(model, x, max_steps=100, learning_rate=0.02, progress=False, seed=0)
    assert float(model.log_prob(x).mean().detach()) > float(before) + 0.1
    genus.save(model, tmp_path / "m.genus")
    loaded = genus.load(tmp_path / "m.genus")
    assert loaded.width == 0.5
    assert torch.equal(loaded.log_prob(x), model.log_prob(x))
    assert check_model(model, x) == ["files", "samples", "rows", "density", "gradients"]


def test_the_density_is_in_the_units_of_the_data(own_names: None) -> None:
    torch_s = [torch.distributions.Laplace(kind.loc, kind.scale) for kind in TWO.kinds]  # type: ignore[union-attr]
    x = rows(TWO)
    expected = torch.stack([one.log_prob(x[:, i]) for i, one in enumerate(torch_s)]).sum(0)
    assert torch.allclose(Laplace(TWO).log_prob(x), expected, atol=1e-5)


def test_states_have_a_density_of_their_own_and_numbers_are_given_them(own_names: None) -> None:
    context = Space([Category(("u", "v"))])
    seen = []

    class Looks(Laplace, name="test-laplace-that-looks"):
        def _log_density(self, u: Tensor, features: Tensor | None) -> Tensor:
            seen.append(features)
            return super()._log_density(u, features)

    x, c = rows(MIXED, 6), torch.tensor([[0.0], [1], [1], [0], [0], [1]])
    model = Looks(MIXED, context)
    total = model.log_prob(x, c)
    hot, given = nn.functional.one_hot(x[:, 1].long(), 3).float(), nn.functional.one_hot(c[:, 0].long(), 2).float()
    assert torch.equal(seen[-1], torch.cat([hot, given], 1))
    assert model.feature_dim == 5
    states = model.states.log_prob(x[:, 1:2], c)  # type: ignore[union-attr]
    numbers = Laplace(Space([MIXED.kinds[0], MIXED.kinds[2]])).log_prob(x[:, [0, 2]])
    assert torch.allclose(total, states + numbers, atol=1e-5)


def test_absent_numbers_are_left_out_or_refused(own_names: None) -> None:
    with pytest.raises(DataError, match=r"it needs every number, and column 'x0' has atoms or missing values"):
        Laplace(LACKING)
    model, x = Present(LACKING), rows(LACKING)
    assert bool(model.log_prob(x).isfinite().all())
    absent = x[:, 0].isnan() | (x[:, 0] == 5.0)
    u, _, features, _ = model._parts(x, None)
    assert torch.equal(u[:, 0].isnan(), absent)
    assert torch.equal(model._absent(features)[:, 0], absent)  # type: ignore[arg-type]
    genus.fit(model, x, max_steps=200, progress=False, seed=0)
    drawn = model.sample(2000, seed=0)
    for share in (lambda t: t[:, 0].isnan(), lambda t: t[:, 0] == 5.0):
        assert float(share(drawn).float().mean()) == pytest.approx(0.2, abs=0.07)
    assert check_model(model, x)


def test_lattices_are_dequantised_and_other_spaces_refused_in_a_sentence(own_names: None) -> None:
    space = Space([Lattice(0, 9), Real()])
    model = genus.build("test-laplace", space, width=2.0)
    assert model.info.likelihood == "bound"
    assert bool((model.elbo(torch.tensor([[3.0, 0.5]]), seed=0) < 0).all())
    for odd, why in ((space, "column 'x0' is whole numbers"), (Space([Category(("a", "b"))]), "there is no column of them")):
        with pytest.raises(DataError, match=why):
            Laplace(odd)


def test_a_density_of_the_wrong_shape_is_told_so(own_names: None) -> None:
    class Unsummed(Laplace, name="test-laplace-unsummed"):
        def _log_density(self, u: Tensor, features: Tensor | None) -> Tensor:
            return -u.abs()

    with pytest.raises(genus.GenusError, match=r"Unsummed\._log_density must give a tensor of shape \(200,\)"):
        Unsummed(TWO).log_prob(rows(TWO))
