"""The earth mover's distance: primal, dual and smoothed, against one another, closed forms, SciPy and linear programming."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import linprog
from torch.distributions import Independent, MultivariateNormal, Normal

from genus import MAF, Real, Space
from genus.divergences import dual, gradient_penalty, sinkhorn, transport, wasserstein
from genus.divergences.critics import CONSTRAINTS
from genus.divergences.lipschitz import clip, gradient_norm, spectral
from genus.errors import DataError, GenusError


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def weights(n, seed=0):
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear_program(cost, a, b):
    """The value of the primal and of the dual, by another solver: sup of E_p f + E_q g with f + g at most the cost."""
    n, m = cost.shape
    rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    primal = linprog(cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([a, b]))
    slack = np.hstack([np.kron(np.eye(n), np.ones((m, 1))), np.kron(np.ones((n, 1)), np.eye(m))])
    other = linprog(-np.concatenate([a, b]), A_ub=slack, b_ub=cost.ravel(), bounds=(None, None))
    return primal.fun, -other.fun


# -- primal ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m", "dim"), [(6, 9, 2), (12, 5, 3), (8, 8, 1), (14, 14, 20)])
@pytest.mark.parametrize("order", [1.0, 2.0, 3.5])
@pytest.mark.parametrize("metric", ["euclidean", "cityblock", lambda x, y: (x[:, None] - y).abs().amax(2)])
def test_primal_is_dual_and_the_coupling_has_the_marginals(n, m, dim, order, metric):
    x, y = normal(n, dim), normal(m, dim, seed=1) + 0.5
    a, b = (torch.ones(n).double(), torch.ones(m).double()) if n == 14 else (weights(n), weights(m, 1))
    found = transport((x, a), (y, b), order=order, metric=metric)
    a, b = a / a.sum(), b / b.sum()
    torch.testing.assert_close(found.coupling.sum(1), a, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.coupling.sum(0), b, rtol=0, atol=1e-9)
    assert len(found.mass) <= n + m - 1
    apart = {"euclidean": 2.0, "cityblock": 1.0}.get(metric, math.inf) if isinstance(metric, str) else math.inf
    cost = torch.cdist(x, y, p=apart).numpy() ** order
    primal, other = linear_program(cost, a.numpy(), b.numpy())
    assert found.distance.item() ** order == pytest.approx(primal, rel=1e-6)
    assert found.distance.item() ** order == pytest.approx(other, rel=1e-6)
    assert (found.coupling.numpy() * cost).sum() == pytest.approx(primal, rel=1e-6)


def test_no_coupling_is_called_the_best_that_is_not():
    """Of four points one lies at 10^9 in both sets: squared, the others' distances are below the rounding of its own."""
    refused = 0
    for seed in range(30):
        x, y = 20 * normal(4, 2, seed=seed), 20 * normal(4, 2, seed=1000 + seed)
        x[0] += 1e9
        y[0] += 1e9
        cost = (x[:, None] - y).norm(dim=2).square()
        best = math.sqrt(min(sum(float(cost[i, j]) for i, j in enumerate(order)) for order in permutations(range(4))) / 4)
        try:
            found = float(transport(x, y, order=2).distance)
        except GenusError:
            refused += 1
        else:
            assert found == pytest.approx(best, rel=1e-6)
        assert float(transport(x[1:], y[1:], order=2).distance) < 1e3  # without the far ones it is found
    assert refused < 30


def test_assignment_is_the_linear_program():
    from genus.divergences.transport import _by_assignment, _by_simplex

    for x, y in ((normal(60, 12), normal(60, 12, seed=1) + 3), (normal(60, 2).round(), normal(60, 2, seed=1).round())):
        cost, w = torch.cdist(x, y), torch.full((60,), 1 / 60, dtype=torch.float64)
        i, j, mass = _by_assignment(cost)
        k, m, other = _by_simplex(cost, w, w)
        assert sorted(j.tolist()) == list(range(60))
        assert (cost[i, j] @ mass).item() == pytest.approx((cost[k, m] @ other).item(), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 75), (1, 9)])
def test_on_a_line_it_is_scipys(n, m):
    x, y, a, b = normal(n), normal(m, seed=1) * 3 + 0.5, weights(n), weights(m, 1)
    expected = stats.wasserstein_distance(x.numpy(), y.numpy(), a.numpy(), b.numpy())
    assert wasserstein((x, a), (y, b)).value == pytest.approx(expected, rel=1e-9)
    assert wasserstein(x, y).value == pytest.approx(stats.wasserstein_distance(x.numpy(), y.numpy()), rel=1e-9)


def test_points_without_mass_and_ties_change_nothing():
    x, y = normal(20, 2), normal(15, 2, seed=1)
    expected = transport(x, y).distance
    more = torch.cat([x, torch.full((1, 2), 99.0, dtype=x.dtype)])
    assert torch.allclose(transport((more, torch.tensor([1.0] * 20 + [0.0])), y).distance, expected)
    assert torch.allclose(transport(x.repeat(3, 1), y).distance, expected)
    line = transport((more[:, :1], torch.tensor([1.0] * 20 + [0.0])), y[:, :1]).distance
    assert torch.allclose(line, transport(x[:, :1], y[:, :1]).distance)
    assert transport(x, x.flip(0)).distance == 0


@pytest.mark.parametrize("dim", [1, 2])
def test_the_gradient_is_the_direction_of_the_moves(dim):
    x, shift = normal(30, dim), torch.full((dim,), 2.0, dtype=torch.float64)
    y = (x + shift).requires_grad_()
    transport(x, y).distance.backward()
    torch.testing.assert_close(y.grad.sum(0), shift / shift.norm())
    points, few = normal(7, dim, seed=3).requires_grad_(), normal(5, dim, seed=4)
    assert torch.autograd.gradcheck(lambda z: transport(z, few, order=2.0).distance, points)


def test_far_from_the_origin_in_float32():
    x, y = normal(100, 3) + 4096, normal(100, 3, seed=1) + 4096.5
    assert transport(x.float(), y.float()).distance.item() == pytest.approx(transport(x, y).distance.item(), rel=1e-3)


# -- of distributions -----------------------------------------------------------------------------------------------------


def test_of_distributions_it_is_an_estimate_that_overstates():
    p, q = Independent(Normal(torch.zeros(2), 1.0), 1), Independent(Normal(torch.tensor([3.0, 0.0]), 1.0), 1)
    found = wasserstein(p, q, samples=400)
    assert found.label == "upper bound"
    assert 3 - 4 * found.error < found.value < 3.3
    assert 0.05 < wasserstein(p, p, samples=400).value < 0.5


def test_w2_of_normals_is_the_closed_form():
    root = normal(3, 3)
    p = MultivariateNormal(torch.zeros(3, dtype=torch.float64), root @ root.T + torch.eye(3))
    q = MultivariateNormal(torch.ones(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64))
    closed = wasserstein(p, q, order=2)
    assert closed.label == "exact"
    values, vectors = torch.linalg.eigh(p.covariance_matrix)
    bures = (p.covariance_matrix.trace() + 3 - 2 * values.sqrt().sum()).item()  # covariances commute
    assert closed.value == pytest.approx(math.sqrt(3 + bures), rel=1e-9)
    # The linear map of one normal to the other is the optimal coupling, so moved points are coupled to their own.
    x = normal(300, 3) @ torch.linalg.cholesky(p.covariance_matrix).T
    y = x @ (vectors / values.sqrt()) @ vectors.T + 1
    assert transport(x, y, order=2).distance.item() == pytest.approx((x - y).square().sum(1).mean().sqrt().item(), rel=1e-9)
    assert transport(x, y, order=2).distance.item() == pytest.approx(closed.value, rel=0.1)


def test_of_models_in_standardised_units():
    model = MAF(Space([Real(100.0, 50.0), Real()]), transforms=1, hidden=(4,))
    found = wasserstein(model, model, samples=200)
    assert 0 < found.value < 1
    with pytest.raises(DataError, match="differ"):
        wasserstein(model, MAF(Space([Real(), Real()]), transforms=1, hidden=(4,)))


# -- sinkhorn -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1.0, 2.0])
def test_sinkhorn_falls_to_the_exact_distance(order):
    x, y = (normal(40, 2), weights(40)), (normal(30, 2, seed=1) + 1, weights(30, 1))
    exact = transport(x, y, order=order).distance.item()
    found = [sinkhorn(x, y, epsilon, order=order, tolerance=1e-6) for epsilon in (1.0, 0.1, 0.01)]
    assert all(one.converged for one in found)
    distances = [one.distance.item() for one in found]
    assert distances[0] > distances[1] > distances[2] >= exact
    assert distances[2] == pytest.approx(exact, rel=0.02)
    torch.testing.assert_close(found[1].coupling.sum(1), x[1] / x[1].sum())
    torch.testing.assert_close(found[1].coupling.sum(0), y[1] / y[1].sum(), atol=1e-5, rtol=0)


def test_sinkhorn_says_when_it_was_stopped_early():
    x, y = normal(40, 2), normal(30, 2, seed=1) + 1
    stopped = sinkhorn(x, y, 0.001, max_iterations=2)
    assert not stopped.converged
    assert stopped.error > 1e-4
    assert stopped.iterations == 2
    off = (stopped.coupling.sum(0) - 1 / 30).abs().sum()
    assert 1e-4 < off <= stopped.error  # what is said of the coupling holds
    assert stopped.coupling.isfinite().all()


def test_sinkhorns_gradient():
    x, y = normal(6, 2).requires_grad_(), normal(5, 2, seed=1) + 1
    for order in (1.0, 2.0):
        assert torch.autograd.gradcheck(lambda z, p=order: sinkhorn(z, y, 0.3, order=p, tolerance=1e-12).distance, x, atol=1e-4)


# -- dual -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("constraint", ["gradient-penalty", "spectral-norm"])
def test_dual_is_primal(constraint):
    angle = 2 * math.pi * weights(1200)
    ring = torch.stack([angle.cos(), angle.sin()], 1).float()
    found = dual(ring[:600], 3 * ring[600:], constraint, steps=300)
    assert found.estimate.label == "bound"
    assert found.estimate.value == pytest.approx(2.0, rel=0.1)  # every point moves outwards by 2
    assert found.estimate.value < 2.0 + 3 * found.estimate.error


def test_spectral_critics_are_lipschitz_and_clipped_ones_small():
    torch.manual_seed(0)
    net = spectral(20, (8, 8)).double()
    for _ in range(20):
        net(torch.zeros(1, 20).double())  # in training every call comes closer to the singular values
    net.eval()
    x, y = normal(500, 20), normal(500, 20, seed=1)
    assert ((net(x) - net(y))[:, 0].abs() <= (x - y).norm(dim=1) * (1 + 1e-3)).all()
    clip(net, 0.01)
    assert max(p.abs().max() for p in net.parameters()) <= 0.01


@pytest.mark.parametrize("shape", [(4,), (3, 8, 8), (2, 5, 7), (1,)])
def test_the_penalty_is_of_every_example_whatever_its_shape(shape):
    w = normal(*shape)
    w = 2 * w / w.norm()
    x, y = normal(6, *shape), normal(6, *shape, seed=1)
    critic = lambda x: (x * w).flatten(1).sum(1, keepdim=True)  # noqa: E731
    assert gradient_penalty(critic, x, y).item() == pytest.approx(1.0)
    assert gradient_penalty(critic, x, y, centre=0.0).item() == pytest.approx(4.0)
    # |grad| = |x| of x^2 / 2: a place of its own for each pair, somewhere on its line.
    torch.manual_seed(0)
    near, far = torch.zeros(200, *shape).double(), torch.ones(200, *shape).double()
    slopes = []
    gradient_penalty(lambda x: slopes.append(x.detach()) or x.square().flatten(1).sum(1) / 2, near, far)
    places = slopes[0].flatten(1)
    assert (places == places[:, :1]).all()
    assert places[:, 0].unique().numel() > 190
    assert 0 <= places.min() < 0.1 < 0.9 < places.max() <= 1


def test_the_penalty_trains_the_critic():
    w = torch.tensor([3.0], requires_grad=True)
    gradient_penalty(lambda x: x * w, torch.zeros(4, 1), torch.ones(4, 1)).backward()
    assert w.grad.item() == pytest.approx(4.0)  # d (w - 1)^2
    assert gradient_norm(lambda x: x * w, torch.zeros(2, 1)).tolist() == [3.0, 3.0]


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_dual_repeats_by_seed_and_never_overstates_by_much(constraint):
    x, y = normal(200, 2).float(), normal(200, 2, seed=1).float() + 1
    before = torch.random.get_rng_state()
    first = dual(x, y, constraint, steps=20, seed=3)
    with torch.no_grad():  # as metrics call it
        second = dual(x, y, constraint, steps=20, seed=3)
    assert first.estimate == second.estimate
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.estimate.value < math.sqrt(2) + 4 * first.estimate.error


# -- bad input ------------------------------------------------------------------------------------------------------------


def test_what_makes_no_sense_is_refused():
    x, y = normal(5, 2), normal(6, 2)
    for a, b in ((x, normal(5, 3)), (normal(0, 2), y), (x, normal(2, 3, 4))):
        with pytest.raises(DataError, match="got"):
            transport(a, b)
    for w in (torch.ones(4), torch.tensor([1.0, 1, 1, 1, -1]), torch.zeros(5)):
        with pytest.raises(DataError, match="Weights of 5 points"):
            transport((x, w), y)
    with pytest.raises(DataError, match="finite"):
        transport(x * math.nan, y)
    with pytest.raises(DataError, match="order"):
        transport(x, y, order=0.5)
    with pytest.raises(DataError, match="no metric 'nonsense'"):
        transport(x, y, metric="nonsense")
    with pytest.raises(DataError, match="0 or more"):
        transport(x, y, metric=lambda x, y: -torch.cdist(x, y))
    with pytest.raises(DataError, match="epsilon"):
        sinkhorn(x, y, 0.0)
    with pytest.raises(GenusError, match="no constraint 'nonsense'"):
        dual(x, y, "nonsense")
    with pytest.raises(DataError, match="of one shape"):
        dual(x, normal(5, 3))
    with pytest.raises(DataError, match="both be points"):
        wasserstein(x, Normal(0.0, 1.0))
    with pytest.raises(GenusError, match="one shape"):
        gradient_penalty(lambda x: x, x, y)
