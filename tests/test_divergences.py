"""Divergences of known distributions, distances between samples, against closed forms, and against SciPy on a line."""

import math
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Independent, Laplace, MultivariateNormal, Normal, Poisson, Uniform

from genus import MAF, Category, Mixture, NaiveBayes, Real, Space
from genus.divergences import (
    DIVERGENCES,
    GAMES,
    between,
    dual,
    energy_distance,
    frequencies,
    jensen_shannon,
    kl,
    of_probabilities,
    samples,
    sinkhorn,
    sliced_wasserstein,
    transport,
    variational,
    wasserstein,
)
from genus.divergences.gaussians import of_gaussians
from genus.errors import DataError, GenusError


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def quantiles(loc=0.0, scale=1.0, n=1000):
    """n points that stand for N(loc, scale^2) far better than n draws."""
    return torch.from_numpy(stats.norm.ppf((torch.arange(n).double().numpy() + 0.5) / n) * scale + loc)[:, None]


# -- of known distributions -----------------------------------------------------------------------------------------------


def gaussian(mean, root):
    covariance = torch.tensor(root, dtype=torch.float64) @ torch.tensor(root, dtype=torch.float64).T
    return MultivariateNormal(torch.tensor(mean, dtype=torch.float64), covariance)


PAIRS = [
    (gaussian([0.0, 1.0], [[1.0, 0.0], [0.3, 0.8]]), gaussian([0.4, 0.6], [[1.2, 0.0], [-0.2, 1.0]])),
    (gaussian([0.0], [[1.0]]), gaussian([0.7], [[1.0]])),
]


def by_quadrature(p, q, name):
    """The definition, as a sum over a fine grid."""
    axis = torch.linspace(-9, 9, 1201, dtype=torch.float64)
    dim = p.event_shape[0]
    points = torch.cartesian_prod(*[axis] * dim).reshape(-1, dim)
    a, b = (one.log_prob(points).exp() for one in (p, q))
    return of_probabilities(a / a.sum(), b / b.sum(), name).item()


@pytest.mark.parametrize("name", list(DIVERGENCES))
@pytest.mark.parametrize("pair", PAIRS, ids=["plane", "line"])
def test_closed_form_is_quadrature_is_monte_carlo(pair, name):
    expected = by_quadrature(*pair, name)
    closed = of_gaussians(*pair, name)
    assert (closed is None) == (name == "jensen-shannon" or (name == "total-variation" and pair is PAIRS[0]))
    if closed is not None:
        assert closed == pytest.approx(expected, rel=1e-5)
        assert between(*pair, name) == (closed, 0.0, "exact", "")
    from genus.divergences.distributions import _draw, _monte_carlo

    p, q = pair
    draws = _monte_carlo(
        lambda n, s: _draw(p, n, s), p.log_prob, lambda n, s: _draw(q, n, s), q.log_prob, name, samples=20_000, seed=0
    )
    assert draws.label == "estimate"
    assert abs(draws.value - expected) < 4 * draws.error < 0.1


def test_every_kind_of_normal_has_its_closed_form():
    p, q = Normal(0.0, 2.0), Normal(1.0, 1.0)
    expected = kl(p, q)
    assert expected.value == pytest.approx(0.5 * (4 + 1 - 1 - math.log(4)))
    many = kl(Independent(Normal(torch.zeros(3), 2.0), 1), MultivariateNormal(torch.ones(3), torch.eye(3)))
    assert many.value == pytest.approx(3 * expected.value)
    assert between(p, q, "reverse-kl").value == kl(q, p).value
    assert kl(Laplace(0.0, 1.0), Laplace(0.0, 1.0)).value == pytest.approx(0.0, abs=1e-9)  # torch's own
    assert kl(Poisson(2.0), Poisson(3.0)).label == "exact"


def test_estimates_come_with_errors_that_hold():
    p, q = Laplace(0.0, 1.0), Normal(0.5, 1.0)
    axis = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    a, b = (one.log_prob(axis).exp() / one.log_prob(axis).exp().sum() for one in (p, q))
    for name in ("jensen-shannon", "total-variation", "squared-hellinger"):
        found = between(p, q, name, samples=40_000, seed=1)
        assert found.label == "estimate"
        assert abs(found.value - of_probabilities(a, b, name).item()) < 4 * found.error
    assert between(p, q, "jensen-shannon", seed=1) == between(p, q, "jensen-shannon", seed=1)


def test_models_are_asked_for_their_densities():
    space = Space([Real(), Real()])
    torch.manual_seed(0)
    p, q = MAF(space, transforms=1, hidden=(8,)), MAF(space, transforms=1, hidden=(8,))
    assert kl(p, p).value == 0
    assert 0 <= jensen_shannon(p, q).value < 0.7
    with pytest.raises(DataError, match="differ"):
        kl(p, Mixture(Space([Real()])))


# -- infinity, and why ----------------------------------------------------------------------------------------------------


def test_infinity_comes_with_its_reason():
    found = kl(torch.tensor([0.2, 0.8]), torch.tensor([1.0, 0.0]))
    assert (found.value, found.label, found.reason) == (math.inf, "exact", "q gives no mass to state 1, and p gives it 0.8")
    assert between(torch.tensor([1.0, 0.0]), torch.tensor([0.2, 0.8]), "reverse-kl").reason.startswith(
        "p gives no mass to state 1"
    )
    assert kl(torch.tensor([1.0, 0.0]), torch.tensor([0.2, 0.8])).reason == ""
    assert "no mass to state 0" in kl(Categorical(torch.tensor([0.5, 0.5])), Categorical(torch.tensor([0.0, 1.0]))).reason
    assert kl(Bernoulli(0.3), Bernoulli(0.3)).value == pytest.approx(0, abs=1e-7)
    assert "closed form" in kl(Normal(0.0, 1.0), Uniform(0.0, 1.0)).reason
    wide = between(Normal(0.0, 2.0), Normal(0.0, 1.0), "chi-squared")
    assert wide.value == math.inf
    assert "tails" in wide.reason
    found = between(Laplace(0.0, 1.0), Uniform(-1.0, 1.0), "chi-squared")
    assert found.value == math.inf
    assert found.reason.startswith("q has density 0 at ")
    assert kl(Laplace(0.0, 1.0), Uniform(-1.0, 1.0)).value == math.inf


def test_disjoint_supports_of_models():
    space = Space([Category(("a", "b")), Real()])
    p, q = NaiveBayes(space, smoothing=0.0), NaiveBayes(space, smoothing=0.0)
    for model, state in ((p, 0.0), (q, 1.0)):
        rows = torch.stack([torch.full((200,), state), torch.linspace(0, 1, 200)], 1)
        model.observe(rows)
        model.conclude()
    for name, expected in (("kl", math.inf), ("reverse-kl", math.inf), ("chi-squared", math.inf), ("total-variation", 1.0)):
        assert between(p, q, name).value == pytest.approx(expected)
    assert kl(p, q).reason == "q has density 0 at 10,000 of 10,000 draws of p"
    assert jensen_shannon(p, q).bits == pytest.approx(1.0)
    assert between(p, q, "squared-hellinger").value == pytest.approx(1.0)


def test_points_as_discrete_distributions():
    z = torch.linspace(0, 1, 50)
    lines = [torch.stack([torch.full_like(z, theta), z], 1) for theta in (0.0, 0.3)]
    p, q = frequencies(*lines)
    assert kl(p, q).value == kl(q, p).value == math.inf
    assert jensen_shannon(p, q).bits == pytest.approx(1.0)
    assert kl(*frequencies(lines[0], lines[0].flip(0))).value == pytest.approx(0.0, abs=1e-6)


# -- by a critic ----------------------------------------------------------------------------------------------------------


def test_a_critic_bounds_the_divergence_from_below():
    x, y = normal(4000, 2).float(), normal(4000, 2, seed=1).float() + torch.tensor([1.5, 0.0])
    p, q = gaussian([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]), gaussian([1.5, 0.0], [[1.0, 0.0], [0.0, 1.0]])
    for name in ("jensen-shannon", "squared-hellinger", "kl"):
        true = by_quadrature(p, q, name)
        bound, critic = variational(x, y, name, steps=200)
        assert bound.label == "bound"
        assert true - 0.25 * true - 4 * bound.error < bound.value < true + 4 * bound.error
    at = torch.tensor([[0.0, 0.0], [0.75, 1.0], [1.5, 0.0]])
    torch.testing.assert_close(
        critic(at).detach(), (p.log_prob(at.double()) - q.log_prob(at.double())).float(), atol=0.5, rtol=0
    )
    nothing, _ = variational(x[:2000], x[2000:], steps=200)
    assert nothing.value < 4 * nothing.error + 1e-3


# -- energy distance ------------------------------------------------------------------------------------------------------


def test_energy_is_the_square_of_scipys_on_a_line():
    x, y = normal(70, 1), normal(41, 1, seed=1) * 2 + 1
    expected = stats.energy_distance(x[:, 0].numpy(), y[:, 0].numpy()) ** 2
    assert energy_distance(x, y, biased=True).item() == pytest.approx(expected, rel=1e-12)


def test_energy_of_two_normals_is_the_closed_form():
    def mean_distance(mu, variance):  # E|N(mu, variance)|
        s = math.sqrt(variance)
        return s * math.sqrt(2 / math.pi) * math.exp(-(mu**2) / (2 * variance)) + mu * math.erf(mu / (s * math.sqrt(2)))

    expected = 2 * mean_distance(1.5, 1 + 0.25) - mean_distance(0, 2) - mean_distance(0, 0.5)
    assert energy_distance(quantiles(), quantiles(1.5, 0.5), biased=True).item() == pytest.approx(expected, rel=1e-3)


def test_energy_leaves_self_distances_out_unless_biased():
    x, y = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 0.0], [0.0, 4.0], [3.0, 0.0]])
    between = (0 + 4 + 3 + 5 + 3 + 4) / 6
    within_y = 2 * (4 + 3 + 5)
    assert energy_distance(x, y).item() == pytest.approx(2 * between - 5 - within_y / 6)
    assert energy_distance(x, y, biased=True).item() == pytest.approx(2 * between - 2.5 - within_y / 9)


def test_energy_is_unbiased():
    pairs = [(normal(20, 3, seed=2 * i), normal(30, 3, seed=2 * i + 1)) for i in range(200)]
    values = torch.stack([energy_distance(x, y) for x, y in pairs])
    assert abs(values.mean()) < 4 * values.std() / 200**0.5
    assert all(energy_distance(x, y, biased=True) > 0 for x, y in pairs)


def test_energy_does_not_depend_on_the_size_of_blocks(monkeypatch):
    x, y = normal(53, 4), normal(31, 4, seed=1) + 0.3
    whole = energy_distance(x, y)
    monkeypatch.setattr(samples, "BLOCK", 100)
    assert energy_distance(x, y).item() == pytest.approx(whole.item(), rel=1e-12)


def test_energy_far_from_the_origin_in_float32():
    x, y = normal(300, 5) + 4096, normal(300, 5, seed=1) + 4096.5
    x, y = x.float(), y.float()
    assert energy_distance(x, y).item() == pytest.approx(energy_distance(x.double(), y.double()).item(), rel=1e-3)


def test_energy_has_a_gradient_that_brings_samples_together():
    x, y = normal(100, 2), (normal(80, 2, seed=1) + 3).requires_grad_()
    energy_distance(x, y).backward()
    assert (y.grad.mean(0) > 0).all()
    twins = x.clone().requires_grad_()
    energy_distance(x, twins).backward()
    assert twins.grad.isfinite().all()


# -- sliced Wasserstein ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 75), (7, 100), (1, 9)])
def test_sliced_is_scipys_wasserstein_on_a_line(n, m):
    x, y = normal(n, 1), normal(m, 1, seed=1) * 3 + 0.5
    expected = stats.wasserstein_distance(x[:, 0].numpy(), y[:, 0].numpy())
    assert sliced_wasserstein(x, y, p=1, projections=3).item() == pytest.approx(expected, rel=1e-12)


def test_sliced_of_two_normals_is_the_closed_form():
    value = sliced_wasserstein(quantiles(n=20_000), quantiles(1.0, 1.5, n=30_000), projections=1)
    assert value.item() == pytest.approx(math.sqrt(1 + 0.25), rel=1e-3)


def test_sliced_of_a_shift_is_its_length_over_root_f():
    x, shift = normal(20, 6), torch.tensor([3.0, -1.0, 0.0, 2.0, 0.0, 1.0], dtype=torch.float64)
    value = sliced_wasserstein(x, x + shift, projections=20_000)
    assert value.item() == pytest.approx(shift.norm().item() / math.sqrt(6), rel=0.02)


def test_sliced_sees_mass_not_numbers_of_points():
    x, y = normal(12, 3), normal(8, 3, seed=1)
    assert sliced_wasserstein(x.repeat(3, 1), y).item() == pytest.approx(sliced_wasserstein(x, y).item(), rel=1e-12)
    assert sliced_wasserstein(x.repeat(3, 1), x).item() == pytest.approx(0, abs=1e-12)


def test_sliced_repeats_by_seed_and_leaves_the_global_state_alone():
    x, y = normal(40, 5), normal(40, 5, seed=1)
    before = torch.random.get_rng_state()
    assert sliced_wasserstein(x, y, seed=3, projections=9) == sliced_wasserstein(x, y, seed=3, projections=9)
    assert sliced_wasserstein(x, y, seed=3, projections=9) != sliced_wasserstein(x, y, seed=4, projections=9)
    assert torch.equal(before, torch.random.get_rng_state())


# -- bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [energy_distance, sliced_wasserstein])
def test_shapes_that_do_not_agree_are_refused(distance):
    for x, y in ((normal(5, 2), normal(5, 3)), (normal(5), normal(5)), (normal(0, 2), normal(5, 2))):
        with pytest.raises(DataError, match="got"):
            distance(x, y)


def test_parameters_that_make_no_sense_are_refused():
    with pytest.raises(DataError, match="p >= 1"):
        sliced_wasserstein(normal(5, 2), normal(5, 2), p=0.5)
    with pytest.raises(DataError, match="a projection or more"):
        sliced_wasserstein(normal(5, 2), normal(5, 2), projections=0)
    with pytest.raises(DataError, match="2 or more"):
        energy_distance(normal(1, 2), normal(5, 2))


def test_what_cannot_be_compared_is_refused():
    p = torch.tensor([0.5, 0.5])
    with pytest.raises(DataError, match="same states"):
        kl(p, torch.tensor([0.2, 0.3, 0.5]))
    with pytest.raises(DataError, match="probabilities"):
        kl(p, torch.tensor([0.5, 0.6]))
    with pytest.raises(DataError, match="same states"):
        kl(Categorical(p), Categorical(torch.ones(3)))
    with pytest.raises(DataError, match="must both be"):
        kl(p, Normal(0.0, 1.0))
    with pytest.raises(DataError, match="batch"):
        kl(Normal(torch.zeros(2), 1.0), Normal(torch.zeros(2), 1.0))
    with pytest.raises(DataError, match="different shapes"):
        kl(Normal(0.0, 1.0), MultivariateNormal(torch.zeros(2), torch.eye(2)))
    with pytest.raises(GenusError, match="no divergence 'nonsense'"):
        between(p, p, "nonsense")
    with pytest.raises(DataError, match="Expected points"):
        frequencies(torch.zeros(2, 2), torch.zeros(2, 3))


def test_distances_need_no_scikit_learn():
    code = "import sys, genus.divergences; print(sorted({'sklearn', 'scipy', 'ot', 'pandas', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


# -- what is unusual, and what makes no sense ------------------------------------------------------------------------------


def test_sure_critics_do_not_overflow() -> None:
    for name in ("f-jensen-shannon", "f-squared-hellinger", "f-total-variation", "f-reverse-kl"):
        fake = torch.tensor([40.0], requires_grad=True)
        loss = GAMES[name].critic(torch.tensor([40.0]), fake)
        loss.backward()
        assert loss.isfinite()
        assert fake.grad is not None
        assert bool(fake.grad.isfinite().all())
    assert float(GAMES["f-jensen-shannon"].critic(torch.tensor([0.0]), torch.tensor([18.0]))) == pytest.approx(8.653, abs=1e-3)
    x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    y = x.flip(0) + 0.1
    y[0] = 500.0
    bound, _ = variational(x, y, "jensen-shannon", seed=1, steps=100)
    assert math.isfinite(bound.value)


def test_the_discrete_and_the_continuous_have_nothing_in_common() -> None:
    p, q = torch.distributions.Poisson(3.0), torch.distributions.Normal(3.0, 1.7)
    found = kl(p, q)
    assert found.value == math.inf
    assert "discrete" in found.reason
    assert jensen_shannon(p, q).bits == pytest.approx(1)


def test_infinity_is_told_from_the_very_large() -> None:
    half = torch.tensor([0.5, 0.5])
    assert between(half, torch.tensor([1.0, 1e-20]), "chi-squared").value == pytest.approx(2.5e19, rel=1e-3)
    assert math.isfinite(kl(half, torch.tensor([1.0, 1e-39])).value)
    far = between(torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(40.0, 1.0), "chi-squared")
    assert far.value == math.inf
    assert "1e308" in far.reason
    narrow = torch.distributions.Normal(0.0, 1e-25)
    assert kl(narrow, narrow).value == pytest.approx(0)

    def mixture(shift: float) -> torch.distributions.Distribution:
        parts = torch.distributions.Normal(torch.tensor([shift - 1, shift + 1]), 1.0)
        return torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.ones(2)), parts)

    found = between(mixture(0.0), mixture(12.0), "chi-squared")
    assert math.isfinite(found.value)
    assert found.value > 1e30


def test_whole_numbers_and_mixed_types_are_points_too() -> None:
    whole = torch.tensor([[0, 0], [3, 4], [6, 1]])
    other = whole + torch.tensor([3, 4])
    assert float(sliced_wasserstein(whole, other)) == pytest.approx(float(sliced_wasserstein(whole.float(), other.float())))
    assert float(sliced_wasserstein(whole, other)) > 3
    assert float(energy_distance(whole, other.double())) == pytest.approx(float(energy_distance(whole.float(), other.float())))
    assert wasserstein(torch.tensor([0, 1]), torch.tensor([2, 3])).value == 2
    states = torch.distributions.Categorical(torch.tensor([0.5, 0.5]))
    assert wasserstein(states, states, samples=50).value < 0.3
    assert float(sinkhorn(whole, other.double(), 0.1).distance) == pytest.approx(5, rel=0.03)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda x: transport(x.numpy(), x), "must be tensors; got ndarray"),
        (lambda x: dual(x.numpy(), x), "must be tensors; got ndarray"),
        (lambda x: dual(x, x, hidden=(5,)), "even widths"),
        (lambda x: dual(x, x, strength=-5.0), "strength > 0"),
        (lambda x: dual(x, x, steps=0), "steps >= 1"),
        (lambda x: transport(x, x, order=math.nan), "order must be 1 or more"),
        (lambda x: transport(x, x, order=50), "16 at most"),
        (lambda x: sinkhorn(x, x, math.nan), "epsilon > 0"),
        (lambda x: wasserstein(torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(0.0, 1.0), samples=0), "draws"),
        (lambda x: kl(torch.distributions.StudentT(3.0), torch.distributions.Laplace(0.0, 1.0), samples=1), "draws"),
        (lambda x: of_probabilities(torch.tensor([1.0]), torch.tensor([0.5, 0.5])), "the same states"),
        (lambda x: energy_distance(x, x[:, :1]), "one shape"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(call: Callable[[Tensor], object], match: str) -> None:
    with pytest.raises(GenusError, match=match):
        call(torch.rand(20, 2))


def test_high_orders_and_metrics_of_ones_own() -> None:
    x = 10 * torch.rand(20, 2, generator=torch.Generator().manual_seed(0))
    y = x.clone().requires_grad_()
    same = transport(x, y, order=2.0)
    same.distance.backward()
    assert y.grad is not None
    assert bool(y.grad.isfinite().all())
    assert float(transport(x, x + torch.tensor([3.0, 4.0]), order=10).distance) == pytest.approx(5, rel=1e-4)
    asked = []

    def metric(a: Tensor, b: Tensor) -> Tensor:
        asked.append(1)
        return (a[:, None] - b).abs().sum(-1)

    transport(x, x + 1, metric=metric)
    assert len(asked) == 1
    generator = torch.Generator().manual_seed(0)
    moves = transport(torch.rand(10, 1, generator=generator), torch.rand(7, 1, generator=generator))
    assert len(moves.mass) <= 10 + 7 - 1


# -- gradients, precision, and what can be known ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", DIVERGENCES)
def test_divergences_of_probabilities_have_their_gradients(name: str) -> None:
    first, second = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: of_probabilities(a.softmax(1), b.softmax(1), name), (first, second))


def test_small_probabilities_are_no_infinity() -> None:
    def tensor(*values: float) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    assert kl(tensor(1, 0), tensor(1e-310, 1)).value == pytest.approx(310 * math.log(10), rel=1e-6)
    assert between(tensor(0.5, 0.5), tensor(1e-155, 1), "chi-squared").value == pytest.approx(2.5e154)
    assert kl(tensor(0.5, 0.5), tensor(0.50005, 0.50004)).value >= 0


def test_closed_forms_are_computed_in_double_precision() -> None:

    assert kl(Poisson(torch.tensor(1e6)), Poisson(torch.tensor(1.0001e6))).value == pytest.approx(5e-3, rel=1e-3)
    assert kl(Laplace(0.0, 1.0), Laplace(1e-4, 1.0)).value == pytest.approx(5e-9, rel=1e-3)
    assert kl(Normal(0.0, 1.0), Normal(1e-4, 1.0)).value == pytest.approx(5e-9, rel=1e-3)


@pytest.mark.parametrize("name", ["kl", "reverse-kl", "chi-squared"])
@pytest.mark.parametrize("shift", [1.0, 5.0])
def test_a_critic_s_bound_lies_below_what_no_sample_can_show(name: str, shift: float) -> None:
    truth = between(Normal(0.0, 1.0), Normal(shift, 1.0), name).value
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(1000, 1, generator=generator), torch.randn(1000, 1, generator=generator) + shift
    bound, _ = variational(x, y, name, steps=200, seed=3)
    assert bound.value < truth + 3 * bound.error


def test_a_mean_that_few_draws_decide_has_no_standard_error() -> None:
    found = between(Laplace(0.0, 1.0), Normal(0.0, 1.0), "chi-squared")  # infinite, which no draw can show
    assert found.error == math.inf
    assert "draws worth" in found.reason
    assert between(Normal(0.0, 1.0), Laplace(0.0, 1.0), "chi-squared").error < 0.01


def test_the_distance_of_two_samples_is_labelled_as_too_large() -> None:
    normal = MultivariateNormal(torch.zeros(5), torch.eye(5))
    found = wasserstein(normal, normal, samples=50)
    assert found.label == "upper bound"
    assert found.value > 1


def test_sliced_distances_have_no_slope_where_they_are_0() -> None:
    x = torch.randn(5, 2).requires_grad_()
    assert not torch.autograd.grad(sliced_wasserstein(x, x.detach().clone(), p=2), x)[0].isnan().any()
    with pytest.raises(DataError, match="finite"):
        sliced_wasserstein(x, x, p=math.inf)


def test_distributions_that_know_no_double_precision_are_estimated() -> None:
    class Bend(torch.distributions.Transform):
        domain = codomain = torch.distributions.constraints.real
        bijective = True

        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(1, 1)

        def _call(self, x: Tensor) -> Tensor:
            return self.net(x[..., None])[..., 0]

        def _inverse(self, y: Tensor) -> Tensor:
            return (y - self.net.bias) / self.net.weight[0]

        def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
            return self.net.weight.abs().log()[0, 0].expand(x.shape)

    with torch.no_grad():
        p = torch.distributions.TransformedDistribution(Normal(0.0, 1.0), [Bend()])
        found = kl(p, Normal(0.0, 3.0), samples=100)
    assert found.label == "estimate"
    assert math.isfinite(found.value)
