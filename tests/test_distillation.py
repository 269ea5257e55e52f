"""A student learns from its own draws what a teacher, or any log-density, says of them."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import CONTEXTS, SPACES
from torch import Tensor

import genus
from genus import IAF, MAF, Flow, Real, Space, distill
from genus.transforms import Elementwise, Linear, Masked

FAST = {"learning_rate": 0.02, "progress": False}
PRECISION = torch.tensor([[2.0, 1.2, 0.0], [1.2, 3.0, -0.8], [0.0, -0.8, 1.5]])
MEAN = torch.tensor([1.0, -2.0, 0.5])
LOG_MASS = 1.5 * math.log(2 * math.pi) - 0.5 * float(torch.logdet(PRECISION))


def correlated(x: Tensor) -> Tensor:
    """A normal's log-density, unnormalised."""
    return -0.5 * torch.einsum("bi,ij,bj->b", x - MEAN, PRECISION.to(x), x - MEAN)


def test_mean_field_has_the_means_and_the_inverse_diagonal_of_the_precision() -> None:
    student = Flow(Space([Real()] * 3), transforms=[Elementwise(3)])
    found = distill(student, correlated, max_steps=1500, **FAST)
    x = student.sample(40_000, seed=0)
    assert torch.allclose(x.mean(0), MEAN, atol=0.05)
    assert torch.allclose(x.var(0), 1 / PRECISION.diagonal(), rtol=0.06)
    # The least KL of independent normals is known: (sum log precision_ii - log det precision) / 2.
    kl = 0.5 * (float(PRECISION.diagonal().log().sum()) - float(torch.logdet(PRECISION)))
    assert found.bound.value == pytest.approx(LOG_MASS - kl, abs=0.02 + 4 * found.bound.error)
    assert found.log_mass == pytest.approx(LOG_MASS, abs=0.05)
    assert found.effective < 0.9 * found.draws
    assert "importance weights" in str(found)


def test_a_student_that_can_finds_the_mass_exactly() -> None:
    student = Flow(Space([Real()] * 3), transforms=[Elementwise(3), Linear(3)])
    found = distill(student, correlated, max_steps=1500, schedule="cosine", **FAST)
    assert found.bound.value == pytest.approx(LOG_MASS, abs=0.01)
    assert found.effective > 0.97 * found.draws


def test_a_gaussian_autoregressive_teacher_is_recovered_and_untouched() -> None:
    space = Space([Real(1.0, 2.0), Real(-1.0, 0.5), Real()])
    with genus.model.isolated(0):
        teacher = Flow(space, transforms=[Masked(3, (), direct=True)])  # linear: a normal with every covariance
        with torch.no_grad():
            for parameter in teacher.parameters():
                parameter += 0.5 * torch.randn_like(parameter)
            teacher.transform.transforms[0].net.out.weight.zero_()
        student = IAF(space, transforms=2, hidden=(32,))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    found = distill(student, teacher, max_steps=1500, schedule="cosine", learning_rate=5e-3, progress=False)
    assert found.kl.value == pytest.approx(0, abs=0.02)
    assert found.teacher_to_student is not None
    assert found.teacher_to_student.value == pytest.approx(0, abs=0.02)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert all(parameter.requires_grad for parameter in teacher.parameters())


def test_a_conditional_student_learns_every_condition_and_the_seed_repeats() -> None:
    space, context = Space([Real(), Real()]), CONTEXTS["category"]
    with genus.model.isolated(0):
        teacher = MAF(space, context, transforms=1, hidden=(8,))
        with torch.no_grad():
            for parameter in teacher.parameters():
                parameter += 0.4 * torch.randn_like(parameter)
    c = torch.arange(3.0).repeat(200)[:, None]

    def run() -> tuple[IAF, genus.Distillation]:
        with genus.model.isolated(1):
            student = IAF(space, context, transforms=2, hidden=(32,))
        return student, distill(student, teacher, c=c, max_steps=800, learning_rate=5e-3, schedule="cosine", progress=False)

    (student, found), (again, _) = run(), run()
    assert found.kl.value < 0.05
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), again.parameters(), strict=True))


def test_the_two_kls_choose_differently_between_two_modes() -> None:
    """KL(q || p) takes one mode, KL(p || q), which is maximum likelihood, covers both."""

    def two(x: Tensor) -> Tensor:
        return torch.logsumexp(-0.5 * ((x - torch.tensor([[-4.0, 4.0]])) / 0.5).square(), dim=1)

    space = Space([Real()])
    seeking, covering = (Flow(space, transforms=[Elementwise(1)]) for _ in range(2))
    distill(seeking, two, max_steps=800, **FAST)
    with genus.model.isolated(0):
        x = torch.where(torch.rand(4000, 1) < 0.5, -4.0, 4.0) + 0.5 * torch.randn(4000, 1)
    genus.fit(covering, x, max_steps=800, **FAST)
    assert float(seeking.sample(5000, seed=0).std()) < 1.0
    assert float(covering.sample(5000, seed=0).std()) == pytest.approx(4.03, abs=0.3)


def test_what_cannot_be_taught_is_refused_with_the_reason() -> None:
    space = SPACES["reals"]
    flow = IAF(space, transforms=1, hidden=(4,))
    for make, word in (
        (lambda: distill(genus.Mixture(space), correlated), "cannot draw with gradients"),
        (lambda: distill(flow, genus.Mixture(SPACES["one real"])), "student's own space"),
        (lambda: distill(flow, genus.VAE(space)), "must be a density"),
        (lambda: distill(flow, correlated, c=torch.zeros(3, 1)), "without a condition"),
        (lambda: distill(MAF(SPACES["reals and states"]), correlated), "without atoms"),
    ):
        with pytest.raises(genus.GenusError, match=word):
            make()
