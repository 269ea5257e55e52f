"""Variational inference: `distill` from an unnormalised log-density, checked on densities whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import HalfCauchy, Normal

import genus
from genus import IAF, Flow, Real, Space, distill
from genus.transforms import Elementwise, Linear

PRECISION = torch.tensor([[2.0, 1.2, 0.0], [1.2, 3.0, -0.8], [0.0, -0.8, 1.5]])
MEAN = torch.tensor([1.0, -2.0, 0.5])
LOG_MASS = 1.5 * math.log(2 * math.pi) - 0.5 * float(torch.logdet(PRECISION))
FAST = {"learning_rate": 0.02, "batch_size": 128, "progress": False}


def correlated(x: Tensor) -> Tensor:
    """A normal's log-density, unnormalised."""
    return -0.5 * torch.einsum("bi,ij,bj->b", x - MEAN, PRECISION.to(x), x - MEAN)


def test_mean_field_has_the_means_and_the_inverse_diagonal_of_the_precision() -> None:
    student = Flow(Space([Real()] * 3), transforms=[Elementwise(3)])
    found = distill(student, correlated, max_steps=600, **FAST)
    x = student.sample(40_000, seed=0)
    assert torch.allclose(x.mean(0), MEAN, atol=0.05)
    assert torch.allclose(x.var(0), 1 / PRECISION.diagonal(), rtol=0.06)
    # The least KL of independent normals is known: (sum log precision_ii - log det precision) / 2.
    kl = 0.5 * (float(PRECISION.diagonal().log().sum()) - float(torch.logdet(PRECISION)))
    assert found.bound.value == pytest.approx(LOG_MASS - kl, abs=0.02 + 4 * found.bound.error)
    assert found.log_mass == pytest.approx(LOG_MASS, abs=0.05)
    assert found.effective < 0.9 * found.draws
    assert found.teacher_to_student is None
    assert "importance weights" in str(found)


def test_a_normal_with_every_covariance_finds_the_mass_exactly() -> None:
    student = Flow(Space([Real()] * 3), transforms=[Elementwise(3), Linear(3)])
    found = distill(student, correlated, max_steps=600, **FAST)
    assert found.bound.value == pytest.approx(LOG_MASS, abs=0.01)
    assert found.effective > 0.97 * found.draws


def test_the_two_kls_choose_differently_between_two_modes() -> None:
    """KL(q || p) takes one mode, KL(p || q), which is maximum likelihood, covers both."""

    def two(x: Tensor) -> Tensor:
        return torch.logsumexp(-0.5 * ((x - torch.tensor([[-4.0, 4.0]])) / 0.5).square(), dim=1)

    space = Space([Real()])
    seeking, covering = (Flow(space, transforms=[Elementwise(1)]) for _ in range(2))
    fast = FAST | {"learning_rate": 0.05}
    distill(seeking, two, max_steps=800, **fast)
    with genus.ladder.isolated(0):
        x = torch.where(torch.rand(4000, 1) < 0.5, -4.0, 4.0) + 0.5 * torch.randn(4000, 1)
    genus.fit(covering, x, max_steps=400, validation=None, **fast)
    assert float(seeking.sample(5000, seed=0).std()) < 1.0
    assert float(covering.sample(5000, seed=0).std()) == pytest.approx(4.03, abs=0.3)


# -- eight schools (Rubin 1981): the effects of coaching, and how much they differ ----------------------------------------

EFFECTS = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def eight_schools(x: Tensor) -> Tensor:
    """log p(y, x) of x = (mu, log tau, eta_1 ... eta_8), theta = mu + tau eta; its mass is p(y)."""
    mu, log_tau, eta = x[:, 0], x[:, 1], x[:, 2:]
    prior = Normal(0.0, 5.0).log_prob(mu) + HalfCauchy(5.0).log_prob(log_tau.exp()) + log_tau
    theta = mu[:, None] + log_tau.exp()[:, None] * eta
    return prior + Normal(0.0, 1.0).log_prob(eta).sum(1) + Normal(theta, ERRORS).log_prob(EFFECTS).sum(1)


def by_quadrature() -> tuple[float, float, float]:
    """log p(y), E[mu | y] and E[log tau | y]: given mu and tau the effects are normal, and two numbers are left for a grid."""
    mu = torch.linspace(-30, 35, 400, dtype=torch.float64)[:, None]
    log_tau = torch.linspace(-12, 7, 600, dtype=torch.float64)[None]
    spread = (ERRORS.double().square() + (2 * log_tau[..., None]).exp()).sqrt()
    log_p = Normal(mu[..., None], spread).log_prob(EFFECTS.double()).sum(-1)
    log_p = log_p + Normal(0.0, 5.0).log_prob(mu) + HalfCauchy(5.0).log_prob(log_tau.exp()) + log_tau
    cell = math.log(65 / 399) + math.log(19 / 599)
    weight = log_p.flatten().softmax(0).view_as(log_p)
    return float(log_p.flatten().logsumexp(0)) + cell, float((weight * mu).sum()), float((weight * log_tau).sum())


@pytest.mark.nightly
def test_eight_schools_agree_with_quadrature() -> None:
    log_mass, mu, log_tau = by_quadrature()
    with genus.ladder.isolated(0):
        student = IAF(Space([Real(5.0, 5.0), Real(1.0, 1.0), *[Real()] * 8]), transforms=2, hidden=(32,))
    found = distill(student, eight_schools, max_steps=500, batch_size=128, progress=False)
    assert found.bound.value < log_mass + 3 * found.bound.error
    assert found.bound.value == pytest.approx(log_mass, abs=0.15)
    assert found.log_mass == pytest.approx(log_mass, abs=0.05)
    x = student.sample(20_000, seed=0)
    weight = (eight_schools(x) - student.log_prob(x)).detach().softmax(0)  # the importance-weighted correction
    assert float((weight * x[:, 0]).sum()) == pytest.approx(mu, abs=0.2)
    assert float((weight * x[:, 1]).sum()) == pytest.approx(log_tau, abs=0.15)


# -- the funnel (Neal 2003) -----------------------------------------------------------------------------------------------


def funnel(x: Tensor) -> Tensor:
    """v ~ N(0, 3^2) and four numbers N(0, e^v) given v: a density, so its log mass is 0."""
    v = x[:, :1]
    return Normal(0.0, 3.0).log_prob(v[:, 0]) + Normal(0.0, (v / 2).exp()).log_prob(x[:, 1:]).sum(1)


@pytest.mark.nightly
def test_a_flow_fills_the_funnel_that_mean_field_cannot() -> None:
    space = Space([Real(0.0, 3.0), *[Real()] * 4])
    with genus.ladder.isolated(0):
        flow = IAF(space, transforms=1, hidden=(64,))
    by_flow = distill(flow, funnel, max_steps=500, learning_rate=0.01, batch_size=128, progress=False)
    mean_field = distill(Flow(space, transforms=[Elementwise(5)]), funnel, max_steps=500, **FAST)
    assert mean_field.bound.value < -0.5
    assert -0.15 < by_flow.bound.value < 3 * by_flow.bound.error
    assert by_flow.log_mass == pytest.approx(0.0, abs=0.05)
    assert by_flow.effective > 5 * mean_field.effective
