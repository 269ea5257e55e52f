"""An inverse autoregressive flow over time: one pass draws, steps give the density, and a WaveNet teaches it step by step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import genus
from genus import Category, Lattice, ParallelWaveNet, Real, Space, WaveNet, distill
from genus.distillation import Distiller
from genus.distillation.memory import Pieces, bytes_for_gradients, choose_pieces
from genus.transforms import Causal

SOUND = Space(Real(0.1, 0.5), shape=(40,), sequence=True)
WORDS = Space([Category(("a", "b"))])


def away(model: genus.GenerativeModel, seed: int = 0, size: float = 0.2) -> genus.GenerativeModel:
    """The model away from its first weights, in double precision."""
    with genus.ladder.isolated(seed), torch.no_grad():
        for parameter in model.parameters():
            parameter += size * torch.randn_like(parameter)
    return model.double().eval()


def test_the_inverse_steps_undo_the_one_pass_and_the_log_determinant_is_autograds() -> None:
    causal = away(Causal(width=6, layers=3, context_dim=2))
    x, c = torch.randn(2, 12, dtype=torch.float64), torch.randn(2, 2, dtype=torch.float64)
    z, log_det = causal(x, c)
    back, other = causal.inverse(z, c)
    assert torch.allclose(back, x, atol=1e-9)
    assert torch.allclose(other, -log_det, atol=1e-9)
    jacobian = torch.autograd.functional.jacobian(lambda row: causal(row[None], c[:1])[0][0], x[0])
    assert torch.equal(jacobian, jacobian.tril())  # no position sees a later one
    assert torch.allclose(log_det[0], jacobian.diagonal().log().sum(), atol=1e-9)


@pytest.mark.parametrize(("frame", "taps"), [(0, 0), (16, 0), (16, 3), (2, 5)])
@pytest.mark.parametrize("context", [None, WORDS], ids=["alone", "given"])
def test_density_of_draws_agrees_with_the_normals_they_came_from(
    context: Space | None, frame: int, taps: int, tmp_path: Path
) -> None:
    model = away(ParallelWaveNet(SOUND, context, width=6, layers=(3, 2), frame=frame, taps=taps))
    if taps:
        filters = model.transform.transforms[0].prediction.filters
        filters[:, :taps] = 0.05 * torch.randn(filters[:, :taps].shape)
    c = None if context is None else torch.tensor([[0.0], [1.0], [1.0]])
    x, log_prob = model.sample_and_log_prob(3, c, seed=1)
    assert torch.allclose(model.log_prob(x, c), log_prob, atol=1e-4)
    with genus.ladder.isolated(1), torch.no_grad():
        steps = model._draw_steps(3, c)
    assert torch.allclose(steps.x, x)
    u = (x.double() - 0.1) / 0.5
    normal = torch.distributions.Normal(steps.loc, steps.log_scale.exp())
    # The steps are affine in the noise, of which each has density N(0, 1): their product is the density of the whole.
    assert torch.allclose(normal.log_prob(u).sum(1) - 40 * torch.tensor(0.5).log(), log_prob, atol=1e-4)
    genus.save(model, tmp_path / "student.genus")
    assert torch.equal(genus.load(tmp_path / "student.genus").sample(3, c, seed=0), model.sample(3, c, seed=0))


def test_a_student_with_taps_begins_with_the_filters_of_the_data() -> None:
    """Two resonators, at 0.9 and at -0.9 of the last element by the context."""
    x, c = torch.randn(200, 64, generator=torch.Generator().manual_seed(0)), (torch.arange(200.0) % 2)[:, None]
    for i in range(1, 64):
        x[:, i] += (0.9 - 1.8 * c[:, 0]) * x[:, i - 1]
    space = Space(Real(), shape=(64,), sequence=True)
    model = genus.build("parallel-wavenet", space, WORDS, seed=0, width=4, layers=(2,), frame=32, taps=2)
    model.initialise(x, c)
    drawn = model.sample(200, c, seed=0)
    correlation = (drawn[:, 1:] * drawn[:, :-1]).view(100, 2, -1).mean((0, 2)) / drawn.square().view(100, 2, -1).mean((0, 2))
    assert correlation.tolist() == pytest.approx([0.9, -0.9], abs=0.06)


def test_shorter_sequences_than_the_space_have_a_density_too() -> None:
    model = away(ParallelWaveNet(SOUND, width=6, layers=(3, 2)))
    short = torch.randn(2, 9)
    whole = torch.distributions.Normal(0, 1)
    z, log_det = model.transform((short.double() - 0.1) / 0.5)
    known = whole.log_prob(z).sum(1) + log_det - 9 * torch.tensor(0.5).log()
    assert torch.allclose(model.log_prob(short), known, atol=1e-5)


@pytest.mark.parametrize("components", [1, 3])
def test_the_divergence_by_steps_is_that_of_whole_draws_with_less_noise(components: int) -> None:
    teacher = away(WaveNet(SOUND, width=6, layers=3, components=components), size=0.1)
    student = away(ParallelWaveNet(SOUND, width=6, layers=(3, 2)), seed=1, size=0.1)
    distiller = Distiller(student, teacher, 0.0)
    with genus.ladder.isolated(0), torch.no_grad():
        _, by_steps = distiller.draw_and_divergence(1000, None)
        x, log_q = student._sample_and_log_prob(1000, None)
        whole = log_q - teacher.log_prob(x)
    error = float((by_steps.std() ** 2 / 1000 + whole.std() ** 2 / 1000).sqrt())
    assert float(by_steps.mean()) == pytest.approx(float(whole.mean()), abs=4 * error)
    assert float(by_steps.std()) < float(whole.std())


@pytest.mark.nightly
def test_a_gaussian_teacher_of_one_step_is_recovered() -> None:
    """x_t = 0.8 x_{t-1} + 0.3 e_t, which a small WaveNet has learned, goes on to the student."""
    space = Space(Real(), shape=(12,), sequence=True)
    with genus.ladder.isolated(0):
        x = 0.5 * torch.randn(2000, 12)
        for t in range(1, 12):
            x[:, t] = 0.8 * x[:, t - 1] + 0.6 * x[:, t]
        teacher = WaveNet(space, width=8, layers=2, components=1)
        student = ParallelWaveNet(space, width=8, layers=(4,))
    genus.fit(teacher, x, max_steps=200, batch_size=128, learning_rate=0.01, seed=0, progress=False)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    with torch.no_grad():
        at_birth = float(Distiller(student, teacher, 0.0).draw_and_divergence(500, None)[1].mean())
    found = distill(student, teacher, x, max_steps=400, batch_size=64, draws=1000, progress=False)
    assert at_birth > 5
    assert found.kl.value < 0.2
    assert found.teacher_to_student is not None
    assert found.teacher_to_student.value < 0.3
    drawn = student.sample(4000, seed=0)[:, 6:]
    assert float((drawn[:, :-1] * drawn[:, 1:]).mean() / drawn.square().mean()) == pytest.approx(0.8, abs=0.05)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_only_sequences_of_real_numbers_of_one_length() -> None:
    for space, word in (
        (Space([Real()]), "sequences in time"),
        (Space(Lattice(0, 255), shape=(9,), sequence=True), "Lattice"),
        (Space(Real(atoms=(float("nan"),)), shape=(9,), sequence=True), "one length"),
    ):
        with pytest.raises(genus.DataError, match=word):
            ParallelWaveNet(space)


# -- in bounded memory ----------------------------------------------------------------------------------------------------


def pair(length: int = 40) -> tuple[ParallelWaveNet, WaveNet]:
    space = Space(Real(), shape=(length,), sequence=True)
    with genus.ladder.isolated(0):
        return ParallelWaveNet(space, width=4, layers=(2,)), WaveNet(space, width=4, layers=2, components=1)


def test_a_gradient_in_pieces_is_that_of_the_whole() -> None:
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ends = []
    for piece in (None, 3):
        with genus.ladder.isolated(0):
            model = genus.MAF(Space([Real()] * 3), transforms=1, hidden=(8,)).double()
        loss = genus.Loss("nll", model.parameters(), lambda x, c, model=model: -model.log_prob(x).mean(), piece=piece)
        history = genus.fit(model, x, losses=[loss], max_steps=5, batch_size=7, validation=None, progress=False)
        ends.append((torch.cat([p.detach().flatten() for p in model.parameters()]), history.rows[-1]["nll"]))
    assert torch.allclose(ends[0][0], ends[1][0], atol=1e-6)
    assert ends[0][1] == pytest.approx(ends[1][1], abs=1e-9)


def test_windows_and_pieces_follow_from_the_memory() -> None:
    assert choose_pieces(1e4, 2000, 2**34) == Pieces(2000, 8, 8)
    assert choose_pieces(1e5, 2000, 2**34).rows == 2  # of 8, in as many pieces as needed, alike
    assert choose_pieces(1e5, 2000, 2**28).length < 2000
    assert choose_pieces(1e5, 2000, 2**34, batch_size=3, length=500) == Pieces(500, 3, 3)
    assert choose_pieces(1e4, 40, 2**34).batch_size == 256
    for given in ({"length": 2000}, {}):
        with pytest.raises(genus.GenusError, match=r"needs some .* are free"):
            choose_pieces(1e6, 2000, 2**25, **given)


def test_what_a_step_holds_for_its_gradient_is_measured_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = pair(200)
    monkeypatch.setattr("genus.distillation.distiller.free_memory", lambda device: 2**21)
    seen: list[int] = []
    whole = Distiller.draw_and_divergence

    def counted(self: Distiller, n: int, c: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        kept = bytes_for_gradients(lambda: whole(self, n, c)[1].mean(), list(student.parameters()))
        seen.append(kept)
        return whole(self, n, c)

    monkeypatch.setattr(Distiller, "draw_and_divergence", counted)
    distill(student, teacher, max_steps=2, draws=2, progress=False, batch_size=64)
    assert len(seen) > 2 * 3  # several pieces a step
    assert max(seen[1:]) < 2**21 / 4 * 1.1


def test_a_window_teaches_what_later_elements_need() -> None:
    student, teacher = pair(60)
    found = distill(student, teacher, max_steps=30, length=20, batch_size=4, draws=20, progress=False)
    assert found.history.steps == 30
    assert student.sample(2, seed=0).shape == (2, 60)
    with pytest.raises(genus.GenusError, match="length is of the windows"):
        distill(genus.IAF(Space([Real()] * 2)), genus.MAF(Space([Real()] * 2)), length=3)


def test_a_distillation_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    kept, ends = tmp_path / "d.ckpt", []
    how = {"lr_schedule": "constant", "batch_size": 4, "draws": 4, "progress": False}
    for stages in ((6,), (3, 6)):
        student, teacher = pair()
        for i, steps in enumerate(stages):
            distill(student, teacher, max_steps=steps, length=30, checkpoint=kept, resume=i > 0, **how)
        ends.append(student.sample(2, seed=0))
    assert torch.equal(*ends)


def test_memory_that_cannot_be_had_is_a_sentence() -> None:
    student, teacher = pair()

    def fails(drawn: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")

    with pytest.raises(genus.TrainingError, match="not enough memory for a step"):
        distill(student, teacher, auxiliary=fails, max_steps=2, draws=2, progress=False)
