"""Transforms and flows: exact both ways, sound far outside the data, and composed by anyone."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from conftest import SMALL, make
from torch import Tensor

import genus
from genus import MAF, Category, DataError, GenusError, Lattice, Real, Space
from genus.configurable import as_json, from_json
from genus.laws.models import mass_is_one_by_quadrature
from genus.laws.transforms import (
    gradients_are_finite_differences,
    inverse_leads_back,
    log_determinant_is_of_the_jacobian,
    missing_numbers_stay_missing,
    rows_are_independent,
)
from genus.transforms import (
    ActNorm,
    Additive,
    Affine,
    Chain,
    Coupling,
    Elementwise,
    Inverse,
    Linear,
    Logit,
    Map,
    MaskedAutoregressive,
    Multiscale,
    Permutation,
    Reshape,
    SoftClip,
    Spline,
    Squeeze,
    Transform,
    checkerboard,
    halves,
)

FLOWS = ["nice", "real-nvp", "maf", "iaf", "nsf", "flow"]
TRANSFORMS: dict[str, Callable[[int, int], Transform]] = {
    "affine": lambda d, c: Elementwise(d, Affine(), c),
    "additive": lambda d, c: Elementwise(d, Additive(), c),
    "spline": lambda d, c: Elementwise(d, Spline(4), c),
    "coupling": lambda d, c: Coupling(halves(d), (9,), Affine(), c),
    "coupling of splines": lambda d, c: Coupling(halves(d, first=False), (9, 9), Spline(5), c),
    "masked": lambda d, c: MaskedAutoregressive(d, (9, 9), Affine(), c),
    "masked residual splines, turned": lambda d, c: MaskedAutoregressive(
        d, (9, 9), Spline(4), c, list(range(d))[::-1], residual=True
    ),
    "inverse masked": lambda d, c: Inverse(MaskedAutoregressive(d, (9,), Affine(), c)),
    "permutation": lambda d, c: Permutation(torch.randperm(d).tolist()),
    "linear": lambda d, c: Linear(d),
    "normalisation": lambda d, c: ActNorm(d),
    "soft clip": lambda d, c: SoftClip(3.0),
    "inverse logit": lambda d, c: Inverse(Logit(-2.0, 5.0)),
    "chain": lambda d, c: Chain([MaskedAutoregressive(d, (9,), None, c), Linear(d), Coupling(halves(d), (9,), Spline(4), c)]),
}


def moved(transform: Transform, size: float = 0.4) -> Transform:
    """Away from its birth state, in double precision."""
    torch.manual_seed(1)
    for parameter in transform.parameters():
        parameter.data += (
            size * torch.randn_like(parameter) * (max(1, parameter.shape[-1]) ** -0.5 if parameter.ndim > 1 else 1)
        )
    return transform.double()


def holds(transform: Transform, x: Tensor, c: Tensor | None) -> None:
    """The laws of a transform, to the last digits of double precision; and its data-dependent start is its first pass."""
    with torch.no_grad():
        inverse_leads_back(transform, x, c, tolerance=1e-9)
        rows_are_independent(transform, x, c, tolerance=1e-9)
    inverse_leads_back(transform, x, c, tolerance=1e-9)  # by another way where gradients are wanted
    log_determinant_is_of_the_jacobian(transform, x, c, tolerance=1e-8)
    gradients_are_finite_differences(transform, x[:2], None if c is None else c[:2])
    begun = transform.initialise(x, c)
    assert torch.allclose(begun, transform(x, c)[0], atol=1e-8)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("context_dim", [0, 3])
@pytest.mark.parametrize("dim", [1, 2, pytest.param(63, marks=pytest.mark.nightly)])
def test_a_transform_is_inverted_and_its_log_determinant_is_autograds(name: str, context_dim: int, dim: int) -> None:
    torch.manual_seed(0)
    transform = moved(TRANSFORMS[name](dim, context_dim))
    x = 1.5 * torch.randn(4, dim, dtype=torch.float64)
    holds(transform, x, torch.randn(4, context_dim, dtype=torch.float64) if context_dim else None)


@pytest.mark.parametrize("context_dim", [0, 3])
@pytest.mark.parametrize(
    "make",
    [
        lambda c: Squeeze(),
        lambda c: Linear(3),
        lambda c: ActNorm(3),
        lambda c: Coupling(checkerboard((3, 4, 2)), (5, 5), Affine(), c),
        lambda c: Coupling(checkerboard((3, 4, 2), first=False), (5,), Spline(4), c),
        lambda c: Multiscale((3, 4, 2), [Chain([Squeeze(), Linear(12)]), Linear(6)]),
    ],
)
def test_a_transform_of_images_is_inverted_and_its_log_determinant_is_autograds(make, context_dim: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 4, 2, dtype=torch.float64)
    holds(moved(make(context_dim)), x, torch.randn(4, context_dim, dtype=torch.float64) if context_dim else None)


def test_flat_data_become_images() -> None:
    chain = Chain([Reshape((2, 4, 2)), Squeeze(), Linear(8), Inverse(Reshape((8, 2, 1)))])
    holds(moved(chain), torch.randn(4, 16, dtype=torch.float64), None)


def test_a_dropout_that_is_no_share_is_refused() -> None:
    with pytest.raises(GenusError, match="from 0 to below 1; got 3"):
        genus.MAF(Space([Real(), Real()]), dropout=3)


def test_logit_takes_an_interval_to_the_line() -> None:
    x = torch.tensor([[-1.9, 0.3], [4.9, 1.0]], dtype=torch.float64)
    holds(Logit(-2.0, 5.0), x, None)
    with pytest.raises(GenusError, match="low < high"):
        Logit(1.0, 1.0)


@pytest.mark.parametrize("map", [Additive(), Affine(), Spline(3), Spline(16, bound=2.0)], ids=lambda m: type(m).__name__)
def test_a_map_is_the_identity_where_its_parameters_are_zero_and_increases_everywhere(map: Map) -> None:
    x = torch.linspace(-8, 8, 401, dtype=torch.float64)
    z, log_slope = map.forward(x, torch.zeros(401, map.size, dtype=torch.float64))
    assert torch.allclose(z, x, atol=1e-9)
    assert torch.allclose(log_slope, torch.zeros_like(x), atol=1e-9)
    torch.manual_seed(0)
    for size in (1.0, 30.0):
        z, _ = map.forward(x, (size * torch.randn(map.size, dtype=torch.float64)).expand(401, -1))
        assert bool((z.diff() > 0).all())


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e12])
@pytest.mark.parametrize("map", [Affine(), Spline(8)], ids=["affine", "spline"])
def test_values_far_outside_and_wild_parameters_give_finite_values_and_gradients(map: Map, scale: float) -> None:
    torch.manual_seed(0)
    x = (scale * torch.randn(500)).requires_grad_()
    p = (scale * torch.randn(500, map.size)).requires_grad_()
    for f in (map.forward, map.inverse):
        value, log_slope = f(x, p)
        assert bool(value.isfinite().all())
        assert bool(log_slope.isfinite().all())
        gradients = torch.autograd.grad(log_slope.sum() + (value / scale).sum(), [x, p])
        assert all(bool(g.isfinite().all()) for g in gradients)


@pytest.mark.parametrize("family", FLOWS)
def test_densities_integrate_to_one_in_two_dimensions(family: str) -> None:
    model = make(family, Space([Real(1.0, 2.0), Real(-1.0, 0.5)]))
    assert mass_is_one_by_quadrature(model, torch.zeros(1, 2), None, tolerance=2e-3, reach=7.0)


@pytest.mark.parametrize("family", FLOWS)
def test_samples_follow_the_density_in_two_dimensions(family: str) -> None:
    """Frequencies of the cells of a grid are the density's integrals over them."""
    space = Space([Real(), Real()])
    model = make(family, space)
    n, edges = 40_000, torch.linspace(-3, 3, 7, dtype=torch.float64)
    x = model.sample(n, seed=0).double()
    fine = (torch.arange(360, dtype=torch.float64) + 0.5) / 60 - 3
    with torch.no_grad():
        density = model.log_prob(torch.cartesian_prod(fine, fine)).exp().view(6, 60, 6, 60).sum((1, 3)) / 60**2
    found = torch.histogramdd(x, [edges, edges]).hist / n
    assert bool(((found - density).abs() < 5 * (density / n).sqrt() + 2e-3).all())


@pytest.mark.parametrize("family", FLOWS)
def test_a_sample_comes_with_its_log_density_in_one_pass_and_with_gradients(family: str) -> None:
    model = make(family, Space([Real(1.0, 2.0), Real(), Real(-1.0, 0.5)])).double()
    x, log_prob = model.sample_and_log_prob(20, seed=3)
    assert torch.allclose(model.log_prob(x.double()), log_prob, atol=1e-4)
    assert x.requires_grad
    again, _ = model.sample_and_log_prob(20, seed=3)
    assert torch.equal(x, again)
    (x.square().mean() + log_prob.mean()).backward()
    named = {name: p.grad for name, p in model.named_parameters()}
    assert all(g is not None and bool(g.isfinite().all()) for name, g in named.items() if not name.startswith("base."))


@pytest.mark.parametrize("map", [None, pytest.param(Spline(8), marks=pytest.mark.nightly)], ids=["affine", "spline"])
def test_thirty_two_couplings_of_nineteen_coordinates_stay_finite(map: Map | None) -> None:
    torch.manual_seed(0)
    space = Space(Real(), shape=(19,))
    couplings = [Coupling(halves(19, i % 2 == 0), (64, 64), map) for i in range(32)]
    model = genus.Flow(space, transforms=couplings)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)  # as hard as a careless user drives it
    x = torch.randn(256, 19) ** 3
    for _ in range(30):
        loss = -model.log_prob(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss.isfinite()
    assert model.sample(500, seed=0).isfinite().all()
    assert model.log_prob(1e6 * x).isfinite().all()


@pytest.mark.parametrize("family", FLOWS)
def test_the_density_falls_far_outside_the_data(family: str) -> None:
    model = make(family, Space([Real(1.0, 2.0), Real(), Real()]), double=False)
    direction = torch.tensor([0.6, -0.7, 0.4])
    far = torch.stack([direction * 10.0**k for k in range(2, 7)])  # up to a million standard deviations
    log_prob = model.log_prob(far).detach()
    assert bool(log_prob.isfinite().all())
    assert bool((log_prob.diff() < 0).all())


# -- numbers that are not there -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "family", ["maf", *(pytest.param(f, marks=pytest.mark.nightly) for f in ("nice", "real-nvp", "iaf", "nsf"))]
)
def test_the_mass_of_numbers_that_may_be_missing_is_one(family: str) -> None:
    """Over two columns, one missing or 0 at times, the other 3 at times: every case by itself, and all of them together."""
    model = make(family, Space([Real(1.0, 2.0, atoms=(0.0, math.nan)), Real(0.0, 0.5, atoms=(3.0,))]))
    kinks = family == "nsf"  # which a grid integrates badly
    assert mass_is_one_by_quadrature(model, torch.zeros(1, 2), None, tolerance=3e-2 if kinks else 1e-3, reach=5.0)


@pytest.mark.parametrize(
    "transform",
    [
        Coupling(halves(4), (9,), Spline(4), allow_missing=True),
        MaskedAutoregressive(4, (9,), allow_missing=True),
        Inverse(MaskedAutoregressive(4, (9,), order=[2, 0, 3, 1], allow_missing=True)),
        Elementwise(4),
        ActNorm(4, allow_missing=True),
        Permutation([3, 1, 0, 2]),
    ],
    ids=lambda t: type(t).__name__,
)
def test_a_missing_number_passes_and_no_other_sees_it(transform: Transform) -> None:
    assert missing_numbers_stay_missing(moved(transform), torch.randn(5, 4, dtype=torch.float64), None)


def test_transforms_that_cannot_leave_numbers_out_are_refused() -> None:
    space = Space([Real(atoms=(0.0,)), Real()])
    with pytest.raises(DataError, match="Linear cannot leave a number out"):
        genus.Flow(space, transforms=[Linear(2)])
    assert genus.Flow(space, transforms=[MaskedAutoregressive(2, (8,), context_dim=2, allow_missing=True)]).sample(
        3, seed=0
    ).shape == (3, 2)


# -- composition ----------------------------------------------------------------------------------------------------------


class Doubling(Transform):
    """A researcher's own transform."""

    def __init__(self, factor: float = 2.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x * self.factor, torch.full((len(x),), x.shape[1] * math.log(self.factor))

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z / self.factor, torch.full((len(z),), -z.shape[1] * math.log(self.factor))


@pytest.mark.parametrize("base", ["normal", "mixture", {"class": "made", "hidden": [8]}], ids=["normal", "mixture", "made"])
def test_a_flow_of_ones_own_is_trained_saved_and_loaded(base, tmp_path) -> None:
    space = Space([Real(), Real(2.0, 3.0)])
    chain = [
        ActNorm(2),
        MaskedAutoregressive(2, (16,), Spline(4)),
        Linear(2),
        Inverse(Coupling([True, False], (8,))),
        Doubling(3.0),
    ]
    model = genus.Flow(space, transforms=chain, base=base)
    x = torch.randn(400, 2) * torch.tensor([1.0, 3.0]) + torch.tensor([0.0, 2.0])
    x[:, 1] += x[:, 0] ** 2
    before = -model.log_prob(x).mean().item()
    genus.fit(model, x, max_steps=150, progress=False)
    assert -model.log_prob(x).mean().item() < before - 0.1
    genus.save(model, tmp_path / "flow.genus")
    again = genus.load(tmp_path / "flow.genus")
    assert torch.equal(again.log_prob(x), model.log_prob(x))
    assert torch.equal(again.sample(5, seed=0), model.sample(5, seed=0))


def test_a_model_as_a_base_is_trained_with_the_flow() -> None:
    base = genus.MADE(Space(Real(), shape=(2,)), hidden=(8,))
    model = genus.Flow(Space([Real(), Real()]), transforms=[MaskedAutoregressive(2, (8,))], base=base)
    assert set(base.parameters()) <= set(model.parameters())
    with pytest.raises(GenusError, match="trained by gradients"):
        genus.Flow(Space([Real(), Real()]), base=genus.NaiveBayes(Space(Real(), shape=(2,))))
    with pytest.raises(GenusError, match="2 standard real numbers"):
        genus.Flow(Space([Real(), Real()]), base=genus.MADE(Space(Real(), shape=(3,)), hidden=(8,)))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_is_described_and_built_again(name: str) -> None:
    import json

    transform = TRANSFORMS[name](3, 2)
    again = from_json(json.loads(json.dumps(as_json(transform))))
    assert type(again) is type(transform)
    again.load_state_dict(transform.state_dict())
    x, c = torch.randn(4, 3), torch.randn(4, 2)
    assert torch.equal(again(x, c)[0], transform(x, c)[0])


def test_a_file_cannot_name_a_transform_that_there_is_not() -> None:
    with pytest.raises(DataError, match=r"no class 'os\.system'"):
        from_json({"class": "os.system"})


def test_initialise_standardises_what_reaches_every_normalisation() -> None:
    x = torch.randn(500, 3) * torch.tensor([1.0, 20.0, 0.1]) + 5
    chain = Chain([ActNorm(3), MaskedAutoregressive(3, (8,)), ActNorm(3)])
    z = chain.initialise(x)
    assert torch.allclose(z.mean(0), torch.zeros(3), atol=1e-4)
    assert torch.allclose(z.std(0, correction=0), torch.ones(3), atol=1e-4)
    image = torch.randn(50, 2, 4, 4) * 3 + 1
    z = ActNorm(2).initialise(image)
    assert torch.allclose(z.mean((0, 2, 3)), torch.zeros(2), atol=1e-4)


@pytest.mark.parametrize("order", [None, [2, 0, 1]])
@pytest.mark.parametrize("turned", [False, True])
def test_a_masked_transform_either_way_round_starts_by_whitening(turned: bool, order: list[int] | None) -> None:
    x = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)) @ torch.randn(
        3, 3, generator=torch.Generator().manual_seed(1)
    )
    masked = MaskedAutoregressive(3, (8,), order=order, direct=True)
    torch.nn.init.zeros_(masked.net.out.weight)
    z = (Inverse(masked) if turned else masked).initialise(x)
    assert torch.allclose(z.T.cov(), torch.eye(3), atol=0.1)


def test_a_permutation_must_be_one() -> None:
    with pytest.raises(DataError, match="once"):
        Permutation([0, 0, 1])


def test_small_families_are_all_here() -> None:
    assert set(FLOWS) <= set(SMALL)


# -- some columns alone ---------------------------------------------------------------------------------------------------


def test_the_marginal_of_the_first_columns_of_one_masked_transform() -> None:
    space = Space([Real(1.0, 2.0), Real(-1.0, 0.5)])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = genus.MAF(space, transforms=1, hidden=(9,)).double()
        for parameter in model.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    first = torch.tensor([[0.3], [-2.0], [4.0]], dtype=torch.float64)
    t = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    grid, weight = -1.0 + 0.5 * torch.sinh(t), 0.5 * torch.cosh(t) * (t[1] - t[0])
    with torch.no_grad():
        whole = [model.log_prob(torch.stack([row.expand(len(t)), grid], dim=1)).exp() @ weight for row in first]
        assert torch.allclose(model.log_marginal(first, [0]).exp(), torch.stack(whole), atol=1e-6)
        both = torch.cat([first, first - 1], dim=1)
        assert torch.allclose(model.log_marginal(both[:, [1, 0]], [1, 0]), model.log_prob(both), atol=1e-9)
    with pytest.raises(GenusError, match=r"maf cannot leave out column 'x0'; mixture, naive-bayes,"):
        model.log_marginal(first, [1])
    with pytest.raises(GenusError, match="cannot leave out"):
        genus.MAF(space, transforms=2, hidden=(9,)).log_marginal(first, [0])


def test_noise_is_added_to_cells_and_not_to_atoms_of_whole_numbers() -> None:
    """At an atom, or where a number is missing, the bound is exact: no draw of the noise changes it."""
    space = Space([Lattice(0, 300, atoms=(0.0, math.nan)), Real()])
    model = make("maf", space)
    x = torch.tensor([[0.0, 0.3], [math.nan, 0.3], [7.0, 0.3]], dtype=torch.float64)
    first, second = model.elbo(x, seed=0), model.elbo(x, seed=1)
    assert torch.equal(first[:2], second[:2])
    assert not torch.equal(first[2:], second[2:])
    drawn = model.sample(500, seed=0)[:, 0]
    assert bool((drawn == 0).any())


@pytest.mark.parametrize("family", ["maf", *(pytest.param(f, marks=pytest.mark.nightly) for f in ("nsf", "real-nvp"))])
def test_a_compiler_finds_one_graph_with_the_same_gradients(family: str) -> None:
    """No break in the graph: every one costs a training step more than the compiler gains."""
    with genus.ladder.isolated(0):
        model = genus.build(family, Space(Real(), shape=(5,)), transforms=2, hidden=[256, 256]).double()
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    x, weights = torch.randn(7, 5, dtype=torch.float64), list(model.parameters())
    plain = model._log_prob(x, None)
    compiled = torch.compile(model._log_prob, backend="aot_eager", fullgraph=True)(x, None)
    assert torch.allclose(compiled, plain)
    found, expected = (torch.autograd.grad(value.sum(), weights) for value in (compiled, plain))
    assert all(map(torch.allclose, found, expected))


# -- what a reader of densities trusts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wild", [1.0, 5.0, 20.0])
def test_a_spline_s_inverse_is_exact_however_steep(wild: float) -> None:
    torch.manual_seed(0)
    spline = Spline(bins=8)
    p, x = wild * torch.randn(20_000, spline.size, dtype=torch.float64), 8 * torch.rand(20_000, dtype=torch.float64) - 4
    z, log_slope = spline.forward(x, p)
    back, log_slope_back = spline.inverse(z, p)
    assert torch.allclose(back, x, atol=1e-5)
    assert torch.allclose(log_slope, -log_slope_back, atol=1e-3)


@pytest.mark.parametrize("family", [MAF, genus.MADE])
def test_weights_that_were_replaced_are_not_remembered(family: type[genus.MAF]) -> None:
    model, x = family(Space([Real()] * 3), hidden=(16,)).eval(), torch.randn(5, 3)
    model.initialise(x)
    with torch.no_grad():
        for _ in range(3):
            model.log_prob(x)
            new = torch.randn(sum(p.numel() for p in model.parameters())) * 0.1
            torch.nn.utils.vector_to_parameters(new, model.parameters())
            kept = model.log_prob(x)
            assert torch.equal(kept, copy.deepcopy(model).train().eval().log_prob(x))


def test_beyond_its_interval_a_logit_has_no_density() -> None:
    flow = genus.Flow(Space([Real()]), transforms=[Logit(0.0, 1.0)], base="student")
    assert flow.log_prob(torch.tensor([[-3.0], [0.5], [1.0], [5.0]])).isinf().tolist() == [True, False, False, True]
    with pytest.raises(DataError, match=r"Logit\(0, 1\) is given numbers from -3 to 0.5"):
        flow.initialise(torch.tensor([[-3.0], [0.5]]))


WIDE = Space([Real()] * 3)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: genus.Flow(WIDE, transforms=[Permutation([1, 0])]), "the 3 numbers of a row into a tensor of shape \\(2,\\)"),
        (lambda: genus.Flow(WIDE, transforms=[Linear(2)]), "do not fit the 3 numbers"),
        (lambda: genus.Flow(WIDE, transforms=[SoftClip(1.0)]), "add Logit after it"),
        (lambda: genus.Flow(Space(Real(), shape=(1, 4, 4)), transforms=[Reshape((1, 4, 4))]), "put Inverse\\(Reshape"),
        (
            lambda: genus.Flow(WIDE, Space([Category(("u", "v"))]), [MaskedAutoregressive(3, (8,))]),
            "MaskedAutoregressive has context_dim=0.*context_dim=2",
        ),
        (lambda: genus.Flow(WIDE, transforms=[MaskedAutoregressive(3, (8,), context_dim=5)]), "give it no context_dim"),
        (
            lambda: genus.Flow(Space([Real(), Category(("u", "v", "w"))]), transforms=[MaskedAutoregressive(1, (8,))]),
            "give it context_dim=3",
        ),
    ],
)
def test_transforms_that_do_not_suit_the_space_are_refused(made: Callable[[], genus.Flow], said: str) -> None:
    with pytest.raises(GenusError, match=said):
        made()


def test_a_normalisation_of_another_width_is_refused() -> None:
    with pytest.raises(DataError, match=r"ActNorm\(1\) is given 3 coordinates"):
        genus.Flow(WIDE, transforms=[ActNorm(1)])


@pytest.mark.parametrize("family", ["maf", "nsf", "real-nvp", "nice"])
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_few_rows_are_not_taken_for_a_line(family: str, rows: int) -> None:
    torch.manual_seed(rows)
    model = genus.build(family, Space([Real()] * 2))
    model.initialise(torch.randn(rows, 2))
    assert model.eval().log_prob(torch.randn(1000, 2)).mean() > -60  # without a shrunken covariance it was below -300


def test_the_ends_of_a_long_lattice_do_not_gather_what_lies_beyond() -> None:
    space = Space([Lattice(0, 999)])
    model = genus.build("maf", space)
    with torch.no_grad():
        model.model.transform.transforms[0].log_scale.fill_(1.0)  # of what is drawn much is beyond
    everything = torch.arange(1000.0)[:, None]
    mass = model.log_evidence(everything, samples=50, seed=0).exp()
    assert mass.sum() < 0.9
    found = model.sample(20_000, seed=0).flatten()
    expected = mass / mass.sum()
    for ends in (found == 0, found == 999):
        assert float(ends.double().mean()) == pytest.approx(float(expected[0] + expected[-1]) / 2, abs=2e-3)


@pytest.mark.parametrize("map", [Affine(), Spline(bins=3)], ids=["affine", "spline"])
def test_second_derivatives_of_a_map_are_those_of_finite_differences(map: Map) -> None:
    torch.manual_seed(0)
    x, p = (torch.randn(*size, dtype=torch.float64, requires_grad=True) for size in ((4,), (4, map.size)))
    assert torch.autograd.gradgradcheck(map.forward, (x, p))
    assert torch.autograd.gradgradcheck(map.inverse, (x, p))
