"""The laws: every family, on every space and context that it accepts, in double precision."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import CONTEXTS, SMALL, SPACES, count, draw, law, make

import genus
from genus import Category, Lattice, Real, Space
from genus.ladder import ApproximateDensity, Composed, Counted, GenerativeModel, Learned, TractableDensity
from genus.laws import models as laws
from genus.laws.core import base_measure


def condition(context: Space | None, n: int = 1) -> torch.Tensor | None:
    return None if context is None else draw(context, n, seed=7)


KINDS = {repr(kind): Space([kind]) for space in SPACES.values() for kind in space.kinds}


@pytest.mark.parametrize("space", KINDS.values(), ids=list(KINDS))
@pytest.mark.parametrize(
    "context", [pytest.param(c, id=name, marks=pytest.mark.nightly if c else ()) for name, c in CONTEXTS.items()]
)
def test_mass_is_one_over_one_coordinate(space: Space, context: Space | None) -> None:
    x, c, checked = draw(space, 1), condition(context), []
    for family in SMALL:
        try:
            model = make(family, space, context)
        except genus.DataError:
            continue
        if isinstance(model, TractableDensity):
            kinks = family in ("nsf", "trees", "chow-liu", "hclt", "gaussian-copula")  # which a grid integrates badly
            assert laws.mass_is_one_by_quadrature(model, x, c, tolerance=1e-3 if kinks else 1e-6)
            checked.append(family)
    assert checked or context is CONTEXTS["mixed"]  # no family counts for each value of a real context


@law(TractableDensity, spaces=["lattice", "wide lattice", "categories", "image", "windows", "words"])
def test_mass_is_one_over_all_data(family: str, space: Space, context: Space | None) -> None:
    assert laws.mass_is_one(make(family, space, context), draw(space, 1), condition(context), tolerance=1e-9)


@law()
def test_samples_are_data_and_a_seed_repeats_them(family: str, space: Space, context: Space | None) -> None:
    model, before = make(family, space, context), (np.random.get_state()[1].tolist(), random.getstate())
    assert laws.samples_are_data(model, draw(space, 50), condition(context, 50))
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before
    constant = all((k.size if isinstance(k, Lattice) else k.states) == 1 for k in space.kinds if not isinstance(k, Real))
    if not (constant and not space.columns(Real)):
        one, other = (model.sample(300, condition(context), seed=seed).nan_to_num(-1e9) for seed in (5, 6))
        assert not torch.equal(one, other)


@law(TractableDensity, spaces=["lattice", "wide lattice", "categories", "image", "windows", "words"])
def test_the_frequencies_of_samples_are_their_probabilities(family: str, space: Space, context: Space | None) -> None:
    assert laws.frequencies_are_probabilities(make(family, space, context), draw(space, 1), condition(context))


@law(TractableDensity, spaces=["lattice", "wide lattice", "categories"])
def test_what_a_marginal_leaves_out_is_summed_over(family: str, space: Space, context: Space | None) -> None:
    model, c = make(family, space, context), condition(context)
    grids = [base_measure(kind)[0] for kind in space.kinds]
    points = torch.cartesian_prod(*grids).reshape(-1, space.dim)
    mass = model.log_prob(points, c).exp().reshape([len(grid) for grid in grids]).detach()
    first = mass.flatten(1).sum(1)
    assert torch.allclose(model.log_marginal(grids[0][:, None], [0], c).exp(), first, atol=1e-9)
    last, column = mass.flatten(0, -2).sum(0), space.dim - 1
    assert torch.allclose(model.log_marginal(grids[-1][:, None], [column], c).exp(), last, atol=1e-9)
    assert torch.allclose(model.log_marginal(points, range(space.dim), c).exp().sum(), mass.sum(), atol=1e-9)
    assert model.log_marginal(points[:, :0], [], c).eq(0).all()
    with pytest.raises(genus.DataError, match="different coordinates"):
        model.log_marginal(points, [0] * space.dim, c)


@pytest.mark.parametrize("family", ["naive-bayes", "mixture", "maf"])
def test_samples_follow_the_density_of_reals(family: str) -> None:
    space = Space([Real(1.0, 2.0)]) if family == "maf" else Space([Real(1.0, 2.0, atoms=(0.0, math.nan))])
    model = make(family, space)
    sample = model.sample(20_000, seed=0).double()[:, 0]
    edges = torch.tensor([-math.inf, -2.0, -0.5, 0.4, 1.0, 2.0, 4.0, math.inf], dtype=torch.float64)
    points, weights = base_measure(space.kinds[0])
    mass = model.log_prob(points.unsqueeze(1)).exp() * weights
    for low, high in pairwise(edges):
        expected = float(mass[(points > low) & (points <= high)].sum())
        found = float(((sample > low) & (sample <= high)).double().mean())
        assert found == pytest.approx(expected, abs=5 * math.sqrt(0.25 / 20_000)), (low, high)


@law()
def test_saved_and_loaded_is_the_same_model(family: str, space: Space, context: Space | None, tmp_path) -> None:
    model = make(family, space, context)
    assert laws.files_keep_the_model(model, draw(space, 20), condition(context, 20))
    genus.save(model, tmp_path / "m.genus")
    before = torch.get_rng_state()
    again = genus.load(tmp_path / "m.genus")
    assert torch.equal(torch.get_rng_state(), before)
    assert (type(again), again.space, again.context) == (type(model), space, context)


@law()
def test_every_parameter_gets_a_gradient(family: str, space: Space, context: Space | None) -> None:
    model, c = make(family, space, context), condition(context, 30)
    if not isinstance(model, Counted | Learned):
        x = draw(space, 30).double()
        assert laws.gradients_reach_every_parameter(model, x, None if c is None else c.double())


@law()
def test_no_loss_waits_for_a_gpu(family: str, space: Space, context: Space | None) -> None:
    model = make(family, space, context, double=False)
    if not isinstance(model, Counted | Learned | Composed):
        checked = laws.losses_do_not_synchronise(model, draw(space, 30), condition(context, 30))
        assert checked or any(isinstance(kind, Lattice) and kind.atoms for kind in space.kinds)


@law(ApproximateDensity)
def test_the_bound_is_below_the_evidence(family: str, space: Space, context: Space | None) -> None:
    assert laws.bound_is_below_the_evidence(make(family, space, context), draw(space, 20), condition(context))


@law(spaces=["image", "categories", "windows"])
def test_whole_numbers_may_be_kept_as_integers(family: str, space: Space, context: Space | None) -> None:
    """As data of images are: a training step on them is one on the same numbers as floats."""
    x, c = draw(space, 6, seed=3), None if context is None else draw(context, 6, seed=4)
    values = []
    for rows in (x.double(), x.to(torch.int16)):
        model = make(family, space, context).train()
        torch.manual_seed(0)
        model.initialise(rows, c)
        if isinstance(model, Counted | Learned):
            count(model, rows, c)
            values.append([model.eval().log_prob(x, c).sum()])  # type: ignore[attr-defined]
        else:
            values.append([loss.value(rows, c).detach() for loss in model.losses()])
    assert torch.allclose(torch.stack(values[0]), torch.stack(values[1]), rtol=1e-5)


COUNTED = [f for f in SMALL if issubclass(genus.family(f), Counted)]
UNITS = [f for f in SMALL if issubclass(genus.family(f), ApproximateDensity) and genus.family(f).accepts(Space([Real()]))]


@pytest.mark.parametrize("family", UNITS)
def test_log_density_follows_a_change_of_units(family: str) -> None:
    """x in metres or in millimetres: the log-density differs by the log of the Jacobian, exactly."""
    metres = Space([Real(1.0, 2.0), Real(0.0, 0.5)])
    millimetres = Space([Real(1000.0, 2000.0), Real(0.0, 500.0)])
    a, b = make(family, metres), make(family, millimetres)
    b.load_state_dict(a.state_dict())
    x = draw(metres, 10).double()
    assert torch.allclose(a.elbo(x, seed=0), b.elbo(1000 * x, seed=0) + 2 * math.log(1000), atol=1e-9)


@pytest.mark.parametrize("context", [None, CONTEXTS["mixed"]], ids=["alone", "mixed"])
@pytest.mark.parametrize(
    "family",
    [f for f in UNITS if issubclass(genus.family(f), TractableDensity) and not issubclass(genus.family(f), Counted | Learned)],
)
def test_gradients_have_gradients(family: str, context: Space | None) -> None:
    """Of log p by x, again by x (score matching, Laplace), and by the weights (gradient penalties): as small steps say."""
    space = Space([Real()] * 3)
    model = make(family, space, context).eval()
    x, c = draw(space, 5, seed=3).double(), None if context is None else draw(context, 5, seed=4)
    weights = [p for p in model.parameters() if p.requires_grad]

    def score(x: torch.Tensor, create: bool = False) -> torch.Tensor:
        x = x if x.requires_grad else x.detach().requires_grad_()
        return torch.autograd.grad(model.log_prob(x, c).sum(), x, create_graph=create)[0]

    toward, step = torch.randn_like(x), 1e-6
    x.requires_grad_()
    scores = score(x, create=True)
    curve = torch.autograd.grad((scores * toward).sum(), x, retain_graph=True)[0]
    differences = (score(x.detach() + step * toward) - score(x.detach() - step * toward)) / (2 * step)
    assert torch.allclose(curve, differences, rtol=1e-4, atol=1e-4)
    slopes = torch.autograd.grad(scores.square().sum(), weights, allow_unused=True)
    ways = [torch.randn_like(p) for p in weights]
    expected = sum(float((s * w).sum()) for s, w in zip(slopes, ways, strict=True) if s is not None)
    found = []
    for sign in (1, -1, -1, 1):  # there, and back again
        with torch.no_grad():
            for p, w in zip(weights, ways, strict=True):
                p += sign * step * w
        found.append(float(score(x.detach()).square().sum()))
    assert expected == pytest.approx((found[0] - found[2]) / (2 * step), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("context_dim", [0, 3])
@pytest.mark.parametrize(("dim", "hidden"), [(1, (8,)), (2, (8, 8)), (7, (5, 9)), (7, ()), (20, (6,))])
@pytest.mark.parametrize("direct", [False, True])
def test_no_leak_and_step_equals_the_parallel_pass(dim: int, hidden: tuple[int, ...], context_dim: int, direct: bool) -> None:
    from genus.nets.masked import MaskedMLP

    net = MaskedMLP([1] * dim, hidden, [2] * dim, context_dim, direct=direct).double()
    for parameter in net.parameters():
        parameter.data = torch.randn_like(parameter)
    x = torch.randn(4, dim, dtype=torch.float64, requires_grad=True)
    c = torch.randn(4, context_dim, dtype=torch.float64, requires_grad=True) if context_dim else None
    out = net(x, c).unflatten(1, (dim, 2))
    for i in range(dim):
        gradient = torch.autograd.grad(out[:, i].sum(), x, retain_graph=True)[0]
        assert not gradient[:, i:].any(), f"output {i} sees an input at or after {i}"
        if c is not None:
            seen = torch.autograd.grad(out[:, i].sum(), c, retain_graph=True)[0].abs().sum(0)
            assert bool((seen > 0).all()), f"output {i} ignores the context"
    net.eval()
    with torch.no_grad():
        row, state = net.start(4, c)
        for i in range(dim):
            if i:
                row, state = net.step(state, i - 1, x[:, i - 1 : i])
            assert torch.allclose(row, out[:, i], atol=1e-9)


@law(TractableDensity)
def test_rows_do_not_depend_on_their_neighbours(family: str, space: Space, context: Space | None) -> None:
    assert laws.rows_are_independent(make(family, space, context), draw(space, 12), condition(context, 12))


@law(Counted)
def test_counted_models_stream_and_merge(family: str, space: Space, context: Space | None) -> None:
    x, c = draw(space, 300), condition(context, 300)

    def rows(begin: int, end: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        return x[begin:end], None if c is None else c[begin:end]

    whole, parts, other = (make(family, space, context) for _ in range(3))
    for model in (whole, parts, other):
        model.clear()
    whole.observe(*rows(0, 300))
    parts.observe(*rows(0, 100))
    parts.observe(*rows(100, 180))
    other.observe(*rows(180, 300))
    parts.merge(other)
    for model in (whole, parts):
        model.conclude()
    for (name, a), b in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        assert torch.allclose(a.double(), b.double(), atol=1e-9, equal_nan=True), name


def test_fitting_again_starts_afresh_and_resuming_an_ended_count_adds_nothing(tmp_path) -> None:
    space = Space([Real()])
    first, second = torch.randn(100, 1), 10 + torch.randn(100, 1)
    model = genus.NaiveBayes(space)
    genus.fit(model, first, progress=False)
    genus.fit(model, second, checkpoint=tmp_path / "c", progress=False)
    assert float(model.product.mean) == pytest.approx(float(second.mean()), abs=1e-5)
    again = genus.NaiveBayes(space)
    resumed = genus.fit(again, second, checkpoint=tmp_path / "c", resume=True, progress=False)
    assert resumed.steps == 1, "the one pass was made before"
    assert float(again.product.rows) == 100
    assert torch.equal(again.log_prob(second), model.log_prob(second))


def test_a_rare_class_is_rare_however_it_was_counted() -> None:
    context = Space([Category(("common", "rare"))])
    c = (torch.arange(1000) % 50 == 0).float().unsqueeze(1)
    x = torch.randn(1000, 1)
    streamed, half, fitted = (genus.NaiveBayes(Space([Real()]), context) for _ in range(3))
    streamed.observe(x[:500], c[:500])
    half.observe(x[500:], c[500:])
    streamed.merge(half)
    streamed.conclude()
    genus.fit(fitted, (x, c), progress=False)
    assert streamed.context_counts.tolist() == [980, 20]
    assert torch.allclose(streamed.class_log_probs(x), fitted.class_log_probs(x))
    assert float(streamed.class_log_probs(torch.zeros(1, 1))[0, 1].exp()) < 0.1


def test_naive_bayes_is_the_closed_form() -> None:
    """Against scikit-learn's GaussianNB and CategoricalNB, to the last digits."""
    from sklearn.naive_bayes import CategoricalNB, GaussianNB

    y = draw(CONTEXTS["category"], 400, seed=2)
    reals = draw(SPACES["reals"], 400).double()
    model = genus.NaiveBayes(SPACES["reals"], CONTEXTS["category"])
    model.observe(reals, y)
    model.conclude()
    theirs = GaussianNB(var_smoothing=0).fit(reals.numpy(), y[:, 0].numpy())
    assert np.allclose(model.class_log_probs(reals).numpy(), theirs.predict_log_proba(reals.numpy()), atol=1e-5)

    space = Space([Category(("a", "b", "c")), Category((False, True))])
    codes = draw(space, 400)
    counted = genus.NaiveBayes(space, CONTEXTS["category"])
    counted.observe(codes, y)
    counted.conclude()
    theirs = CategoricalNB(alpha=1.0).fit(codes.numpy().astype(int), y[:, 0].numpy())
    assert np.allclose(counted.class_log_probs(codes).numpy(), theirs.predict_log_proba(codes.numpy().astype(int)), atol=1e-6)


def test_vae_kl_is_the_monte_carlo_kl() -> None:
    model = make("vae", SPACES["reals"])
    x = draw(SPACES["reals"], 3).double()
    bound = torch.stack([model.elbo(x, seed=i) for i in range(1500)]).mean(0)
    with genus.ladder.isolated(0):
        weights = model._log_weights(x, None, 1500).mean(0)
    assert torch.allclose(bound, weights, atol=0.15)


@pytest.mark.parametrize("shape", [(3,), (2, 2)])
def test_gradient_penalty_is_per_example(shape: tuple[int, ...]) -> None:
    """A linear critic of slope 2 pays (2 - 1)^2, whatever the shape and the batch."""
    model = genus.WGANGP(Space(Real(), shape=shape), hidden=[], penalty=1.0).double()
    weight = torch.full((1, math.prod(shape)), 2 / math.sqrt(math.prod(shape)), dtype=torch.float64)
    model.critic.net[-1].weight.data = weight
    x = torch.randn(17, *shape, dtype=torch.float64)
    real, fake = model._real(x), model._fake(17, None, None)
    paid = model.critic.loss(real, fake) - model.critic(fake).mean() + model.critic(real).mean()
    assert float(paid) == pytest.approx(1.0, abs=1e-9)


def test_a_repeated_value_wins_no_density() -> None:
    """Half the rows at 0: as an atom, its log-mass cannot pass 0, however long a model trains."""
    space = Space([Real(0.0, 1.0, atoms=(0.0,))])
    x = torch.cat([torch.zeros(200, 1), torch.randn(200, 1)])
    for family in ("mixture", "naive-bayes", "vae"):
        model = genus.build(family, space, **SMALL[family])
        genus.fit(model, x, max_steps=50, seed=0, progress=False)
        assert float(model.elbo(torch.zeros(1, 1), seed=0)) <= 0.0, family


def test_a_model_that_cannot_answer_does_not_have_the_method() -> None:
    for name, cls in genus.families().items():
        assert hasattr(cls, "log_prob") == issubclass(cls, TractableDensity), name
        assert hasattr(cls, "elbo") == issubclass(cls, ApproximateDensity), name
        assert issubclass(cls, GenerativeModel)
        assert cls.info.likelihood in ("exact", "bound", "none")


def test_few_rows_of_a_lattice_spread_as_a_normal_and_not_over_all_its_cells() -> None:
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(128, 12, 300).round().clip(0, 254)).float().unsqueeze(1)
    model = genus.NaiveBayes(Space([Lattice(0, 254)]))
    model.observe(x)
    model.conclude()
    every = model.log_prob(torch.arange(255.0).unsqueeze(1)).exp()
    assert every.sum().item() == pytest.approx(1, abs=1e-9)
    assert every[70:187].sum().item() > 0.95
    assert every.min() > 0
    truth = -0.5 - math.log(12 * math.sqrt(2 * math.pi))
    assert (every * every.log()).sum().item() == pytest.approx(truth, abs=0.2)


def test_a_lattice_of_many_rows_is_counted() -> None:
    x = torch.tensor([0.0] * 900 + [9.0] * 100).unsqueeze(1)
    model = genus.NaiveBayes(Space([Lattice(0, 9)]))
    model.observe(x)
    model.conclude()
    assert model.log_prob(torch.tensor([[0.0], [9.0]])).exp().tolist() == pytest.approx([0.9, 0.1], abs=0.01)


def test_a_mixture_heeds_a_rare_condition() -> None:
    rng = np.random.default_rng(0)
    x = torch.tensor(np.concatenate([rng.normal(size=(1000, 2)), rng.normal(8, 1, (50, 2))])).float()
    c = torch.tensor([0.0] * 1000 + [1.0] * 50).unsqueeze(1)
    model = genus.Mixture(Space([Real()] * 2), Space([Category(("many", "few"))]), components=32)
    genus.fit(model, (x, c), seed=0, progress=False)
    drawn = model.sample(1000, torch.ones(1, 1), seed=0)
    assert ((drawn - 8).norm(dim=1) < 5).double().mean() > 0.9
