"""A student learns what a teacher knows, and the teacher stays as it is."""

from __future__ import annotations

import math
import re

import pytest
import torch
from conftest import CONTEXTS, SPACES, make as build_away
from torch import Tensor

import genus
from genus import IAF, MAF, Flow, Real, Space, distill
from genus.errors import NonFiniteLossError
from genus.transforms import Elementwise, Logit, MaskedAutoregressive


def bowl(x: Tensor) -> Tensor:
    """A normal's log-density, unnormalised."""
    return -0.5 * x.square().sum(1)


def test_a_gaussian_autoregressive_teacher_is_recovered_and_untouched() -> None:
    space = Space([Real(1.0, 2.0), Real(-1.0, 0.5), Real()])
    with genus.ladder.isolated(0):
        teacher = Flow(space, transforms=[MaskedAutoregressive(3, (), direct=True)])  # linear: a normal with every covariance
        with torch.no_grad():
            for parameter in teacher.parameters():
                parameter += 0.5 * torch.randn_like(parameter)
            teacher.transform.transforms[0].net.out.weight.zero_()
        student = IAF(space, transforms=2, hidden=(32,))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    found = distill(student, teacher, max_steps=300, learning_rate=5e-3, progress=False)
    assert found.kl.value == pytest.approx(0, abs=0.02)
    assert found.teacher_to_student is not None
    assert found.teacher_to_student.value == pytest.approx(0, abs=0.02)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert all(parameter.requires_grad for parameter in teacher.parameters())


def test_a_conditional_student_learns_every_condition_and_the_seed_repeats() -> None:
    space, context = Space([Real(), Real()]), CONTEXTS["category"]
    with genus.ladder.isolated(0):
        teacher = MAF(space, context, transforms=1, hidden=(8,))
        with torch.no_grad():
            for parameter in teacher.parameters():
                parameter += 0.4 * torch.randn_like(parameter)
    c = torch.arange(3.0).repeat(200)[:, None]

    def run() -> tuple[IAF, genus.Distillation]:
        with genus.ladder.isolated(1):
            student = IAF(space, context, transforms=2, hidden=(32,))
        return student, distill(student, teacher, c=c, max_steps=200, learning_rate=5e-3, progress=False)

    (student, found), (again, _) = run(), run()
    assert found.kl.value < 0.05
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("whole", [False, True])
def test_categories_atoms_and_whole_numbers_are_taught_too(whole: bool) -> None:
    mixed = Space([genus.Lattice(0, 300), Real(atoms=(0.0,)), genus.Category(("a", "b"))])
    space = mixed if whole else SPACES["reals and states"]
    teacher = build_away("maf", space, double=False)
    with genus.ladder.isolated(1):
        student = genus.build("iaf", space, transforms=2, hidden=(16,))
    x = teacher.sample(1000, seed=0)
    before = kl(teacher, student, x)
    found = distill(student, teacher, x, max_steps=60, batch_size=64, draws=200, validation=x[:50], progress=False)
    assert [found.bound.label, found.kl.label] == (["bound", "upper bound"] if whole else ["estimate", "estimate"])
    assert ("at most" in str(found)) == whole
    assert kl(teacher, student, x) < 0.5 * before


def test_a_student_covers_its_teacher_unless_it_is_told_to_seek() -> None:
    space = Space([Real()])
    with genus.ladder.isolated(0):
        x = torch.where(torch.rand(2000, 1) < 0.5, -4.0, 4.0) + 0.5 * torch.randn(2000, 1)
        teacher = genus.Mixture(space, components=2)
    genus.fit(teacher, x, seed=0, progress=False)
    covering, seeking = (Flow(space, transforms=[Elementwise(1)]) for _ in range(2))
    how = {"max_steps": 400, "batch_size": 128, "learning_rate": 0.05, "progress": False}
    distill(covering, teacher, **how)
    distill(seeking, teacher, forward=0.0, **how)
    assert 3.0 < float(covering.sample(5000, seed=0).std()) < 5.0
    assert float(seeking.sample(5000, seed=0).std()) < 1.5


@pytest.mark.parametrize("given", [True, False], ids=["data", "draws"])
def test_a_student_of_small_images_takes_over_its_teachers_noise(given: bool) -> None:
    space = Space(genus.Lattice(0, 3), shape=(3, 3))
    with genus.ladder.isolated(0):
        x = torch.randint(0, 3, (600, 1, 1)) + torch.randint(0, 2, (600, 3, 3)).float()
        teacher = genus.build("maf", space, transforms=1, hidden=(16,), noise="variational")
        student = genus.build("iaf", space, transforms=2, hidden=(32,), noise="variational")
    genus.fit(teacher, x, max_steps=100, batch_size=128, learning_rate=0.01, validation=None, progress=False)
    distill(student, teacher, x if given else None, max_steps=100, batch_size=128, draws=100, progress=False)
    assert abs(kl(teacher, student, x)) < 0.7
    for mine, theirs in zip(student.noise.parameters(), teacher.noise.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        assert mine.requires_grad
    plain = genus.build("iaf", space, noise="uniform")
    with pytest.raises(genus.DataError, match=r"'uniform', the teacher's 'variational'"):
        distill(plain, teacher)


@pytest.mark.parametrize("kind", [Real(), genus.Lattice(0, 9)], ids=["real", "whole"])
def test_training_goes_on_from_what_was_taught_and_teaching_from_what_was_trained(kind: Real | genus.Lattice) -> None:
    space = Space([kind, kind])
    teacher, student = (genus.build(name, space, transforms=1, hidden=(8,)) for name in ("maf", "iaf"))
    x = torch.randint(0, 10, (300, 2), generator=torch.Generator().manual_seed(0)).float()
    still = {"max_steps": 1, "learning_rate": 1e-12, "validation": None, "progress": False}
    genus.fit(teacher, x, max_steps=20, progress=False)
    distill(student, teacher, x, draws=10, max_steps=20, progress=False)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    genus.fit(student, 3 * x[:100] % 10, **still)
    distill(student, teacher, 3 * x[:100] % 10, draws=10, **still)
    for name, value in student.state_dict().items():
        assert torch.allclose(value, before[name], atol=1e-6), name
    fresh = genus.build("iaf", space, transforms=1, hidden=(8,))
    genus.fit(fresh, x, max_steps=1, progress=False)
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    distill(fresh, teacher, 3 * x[:100] % 10, draws=10, **still)
    assert all(
        torch.allclose(value, before[name], atol=1e-6) for name, value in fresh.state_dict().items() if "birth" not in name
    )


@torch.no_grad()
def kl(teacher: genus.GenerativeModel, student: genus.GenerativeModel, x: Tensor) -> float:
    """KL(teacher || student), or of the bounds of whole numbers, on draws x of the teacher."""
    return float((teacher.elbo(x, seed=0) - student.elbo(x, seed=0)).mean())


@pytest.mark.parametrize(
    ("teacher", "word"),
    [
        (lambda x: bowl(x).sum(), r"of shape \(256,\) for x of shape \(256, 2\); got one of shape \(\)"),
        (lambda x: bowl(x)[:, None], r"got one of shape \(256, 1\)"),
        (lambda x: 0.0, "got of type float"),
        (lambda x: bowl(x.detach()), "without detach"),
        (3, "a function of x that gives one; got int"),
    ],
)
def test_what_a_function_gives_is_checked(teacher: genus.distillation.Teacher, word: str) -> None:
    student = Flow(Space([Real(), Real()]), transforms=[Elementwise(2)])
    with pytest.raises(genus.DataError, match=word):
        distill(student, teacher, max_steps=5, draws=50, progress=False)


def quarter(x: Tensor) -> Tensor:
    """Exponential, of positive numbers alone."""
    return torch.where((x > 0).all(1), -x.sum(1), -torch.inf)


def test_a_target_without_mass_where_the_student_draws_is_named_and_another_support_is_the_cure() -> None:
    space = Space([Real(), Real()])
    how = {"max_steps": 100, "learning_rate": 0.02, "progress": False}
    for target, words in ((quarter, "has no mass"), (lambda x: x.log().sum(1) - x.sum(1), "gives nan")):
        with pytest.raises(NonFiniteLossError, match=rf"{words} at x = \([-\d., ]+\), which .* Logit") as refused:
            distill(Flow(space, transforms=[Elementwise(2)]), target, **how)
        assert any(float(number) < 0 for number in re.search(r"\((.*?)\)", str(refused.value))[1].split(","))
    found = distill(Flow(space, transforms=[Logit(0.0, 1.0), Elementwise(2)]), quarter, **how)
    assert found.log_mass == pytest.approx(2 * math.log(1 - math.exp(-1)), abs=0.02)
    # Where only the judging draws find such a place, training goes well, and the divergence is infinite.
    student = Flow(space, transforms=[Elementwise(2)])
    found = distill(
        student, lambda x: torch.where(x[:, 0] < 3.5, bowl(x), -torch.inf), batch_size=2, max_steps=1, progress=False
    )
    assert found.kl.value == torch.inf
    assert "the teacher has density 0 at" in found.kl.reason
    assert found.kl.reason in str(found)


def test_weights_worth_few_draws_are_said_to_be() -> None:
    space = Space([Real(), Real()])
    for scale, doubtful in ((1.0, False), (40.0, True)):
        student = Flow(space, transforms=[Elementwise(2)])
        found = distill(student, lambda x, scale=scale: bowl(x / scale), max_steps=1, draws=2000, progress=False)
        assert bool(found.doubt) == doubtful, found.effective
        assert ("more than its ±" in str(found)) == doubtful


def test_what_cannot_be_taught_is_refused_with_the_reason() -> None:
    space = SPACES["reals"]
    whole = Space([genus.Lattice(0, 9)] * 2)
    flow = IAF(space, transforms=1, hidden=(4,))
    for make, word in (
        (lambda: distill(genus.Mixture(space), bowl), "cannot draw with gradients"),
        (lambda: distill(flow, genus.Mixture(SPACES["one real"])), "student's own space"),
        (lambda: distill(flow, genus.VAE(space)), "must be a density"),
        (lambda: distill(flow, bowl, c=torch.zeros(3, 1)), "without a context"),
        (lambda: distill(MAF(SPACES["reals and states"]), bowl), "forward above 0"),
        (lambda: distill(flow, genus.GPT(SPACES["categories"], width=8, heads=2)), "draw of a symbol"),
        (lambda: distill(flow, genus.PixelCNN(SPACES["image"], width=8, layers=2)), "draw of a symbol"),
        (lambda: distill(flow, bowl, forward=0.5), "cannot be sampled"),
        (lambda: distill(flow, flow), "its own teacher"),
        (lambda: distill(flow, bowl, draws=0), "2 or more; got 0"),
        (lambda: distill(flow, bowl, draws=-1), "2 or more; got -1"),
        (lambda: distill(flow, bowl, validation=0.3), "leave validation out"),
        (lambda: distill(MAF(space, CONTEXTS["category"]), bowl, c=torch.zeros(0, 1)), "c has no rows"),
        (lambda: distill(genus.build("iaf", whole), bowl), "student of whole numbers"),
        (lambda: distill(genus.build("iaf", whole), MAF(space)), "student's own space"),
        (
            lambda: distill(genus.build("iaf", Space([genus.Lattice(0, 5)] * 2)), genus.build("maf", whole)),
            "student's own space",
        ),
        (lambda: distill(flow, genus.build("maf", whole)), "student's own space"),
        (lambda: distill(MAF(space, CONTEXTS["category"]), MAF(space, CONTEXTS["category"])), "the context to draw for"),
    ):
        with pytest.raises(genus.GenusError, match=word):
            make()
