"""A student learns what a teacher knows by KL(student || teacher) on its own draws; variational inference is the same."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from genus.divergences.f import Estimate
from genus.errors import DataError, GenusError, NonFiniteLossError
from genus.ladder import GenerativeModel, Loss, TractableDensity, isolated, map_batches, without_parameter_gradients
from genus.models.autoregressive import Autoregressive
from genus.models.dequantised import Dequantised
from genus.models.flow import NormalisingFlow
from genus.models.parallel_wavenet import ParallelWaveNet
from genus.space import Lattice, Real
from genus.training import History, fit
from genus.training.rows import prepare

__all__ = ["Distillation", "Teacher", "distill", "untaught"]

STEPS, BATCH = 3000, 256  # where no budget and no size is given
FORWARD = 0.9  # see `distill`
RATE, RATE_IN_TIME, RECIPE = 3e-3, 2e-2, {"ema_decay": 0.99, "weight_decay": 0.0}  # likewise; of sequences the second rate
NUMBERS = 2**20  # that are drawn of a teacher to learn from: rows times their length; a quarter, of both, to judge by
ROWS, JUDGED = 50_000, 10_000  # and no more rows than these
FEW = 100  # equal weights, and at most half of the draws, that importance weights should be worth
SHOWN = 4  # numbers of a datum in a message

Teacher = TractableDensity | Callable[..., Tensor]


@dataclass(frozen=True)
class Distillation:
    """What came of it; numbers in nats, a datum.

    Attributes:
        history: of the training.
        bound: E_q [log p(x) - log q(x)], at most log Z, the log of p's total mass; of a teacher that is a density, whose total
            mass is 1, this is -KL(student || teacher). Of whole numbers it is a bound ("bound"): the divergences, of points in
            cells, are at least those of the cells' masses ("upper bound").
        log_mass: log Z, estimated by importance weights p / q, and effective: how many equal weights these are worth.
        draws: of the student that these are estimated by.
        teacher_to_student: KL(teacher || student), where the teacher can be sampled; None where it cannot.
        student_seconds, teacher_seconds: that so many draws took; None where the teacher cannot be sampled.
    """

    history: History
    bound: Estimate
    log_mass: float
    effective: float
    draws: int
    teacher_to_student: Estimate | None
    student_seconds: float
    teacher_seconds: float | None

    @property
    def kl(self) -> Estimate:
        """KL(student || teacher) of a teacher whose total mass is 1."""
        label = "upper bound" if self.bound.label == "bound" else self.bound.label
        return self.bound._replace(value=-self.bound.value, label=label)

    @property
    def doubt(self) -> str | None:
        """Why the numbers may be off by more than their errors; None where the weights do not say so."""
        if self.effective >= min(FEW, self.draws / 2):
            return None
        return (
            f"student and teacher are far apart, by importance weights worth {self.effective:.0f} of {self.draws:,} draws: what"
            " is estimated may be off by more than its ±"
        )

    def __str__(self) -> str:
        other, doubt = self.teacher_to_student, f"; {self.doubt}" if self.doubt else ""
        infinite = "".join(f"; {found.reason}" for found in (self.bound, other) if found is not None and found.reason)
        if other is None or self.teacher_seconds is None:
            said = (
                f"E_q[log p - log q] = {self.bound.value:.3f} ± {self.bound.error:.3f} nats; log mass {self.log_mass:.3f} by"
                f" importance weights worth {self.effective:.0f} of {self.draws}"
            )
        else:
            said = (
                f"KL(student || teacher) {_number(self.kl)} nats, KL(teacher || student) {_number(other)}; {self.draws} draws:"
                f" student {self.student_seconds:.3f} s, teacher {self.teacher_seconds:.3f} s"
            )
        return said + infinite + doubt


def distill(
    student: TractableDensity,
    teacher: Teacher,
    data: Any = None,
    *,
    c: Tensor | None = None,
    forward: float | None = None,
    auxiliary: Callable[[Tensor, Tensor], Tensor] | None = None,
    batch_size: int = BATCH,
    draws: int | None = None,
    seed: int = 0,
    **how: Any,
) -> Distillation:
    """Teach a student in place what a teacher knows; the teacher's weights are not touched.

    The loss is KL(student || teacher) on the student's own draws (van den Oord et al. 2018, arXiv:1711.10433), which alone
    settles on a part of the teacher (it seeks modes), mixed with KL(teacher || student), which covers it all and is maximum
    likelihood on the teacher's draws, or on data. The student draws with gradients and knows the density of what it drew, as
    every flow does; an inverse autoregressive flow does both in one pass. Where teacher and student are sequences whose steps
    are mixtures of normals, given what comes before, and normals, given the noise before, the KL of every step is taken in
    closed form, or over some more draws of this step alone.

    Args:
        student: a flow. Categories, and numbers with mass of their own, it learns by KL(teacher || student) alone: gradients
            of the other go back through the numbers that it draws.
        teacher: a density on the same space that gradients go through; or any function of x (B, *shape), and of c where the
            student is conditional, that gives an unnormalised log-density (B,): this is variational inference.
        data: a Dataset, x, or (x, c): the rows that the student should cover, the conditions to draw for, and what `auxiliary`
            compares with. By default draws of the teacher.
        c: conditions (N, *context.shape) to draw for, of conditional models without data.
        forward: the share of KL(teacher || student) in the loss: 0.9, since the gradients of the other are by far the larger
            while the student is poor; but 0 for a function, which cannot be sampled, and for sequences, whose density under a
            parallel student takes a step for every position.
        auxiliary: (draws, rows) -> a number to be added to the loss: both (B, *shape), of the same conditions. The rows are
            data's or the teacher's. See `divergences.log_spectral_distance` for sound.
        batch_size: draws of every step.
        draws: that the result is estimated by; 10,000 by default, fewer of sequences.
        seed: of the training and of the estimates.
        how: arguments of `genus.fit`: a budget (by default 3,000 steps), the learning rate and so on.

    Raises:
        DataError: the spaces differ, the student is no flow, there are no numbers through which gradients could go back, or
            what a function gives is no log-density of every datum, with gradients.
        NonFiniteLossError: the teacher has no mass where the student draws; the message says where.
        GenusError: the share makes no sense.

    >>> import math
    >>> from genus import Flow, Real, Space
    >>> from genus.transforms import Elementwise
    >>> student = Flow(Space([Real(), Real()]), transforms=[Elementwise(2)])  # independent normals: mean field
    >>> found = distill(student, lambda x: -(x - 3).square().sum(1), max_steps=300, learning_rate=0.02, progress=False)
    >>> abs(found.log_mass - math.log(math.pi)) < 0.05
    True
    """
    more = {"c": c, "forward": forward, "auxiliary": auxiliary, "batch_size": batch_size, "draws": draws, "seed": seed, **how}
    if not callable(teacher):
        raise DataError(f"The teacher must be a density, or a function of x that gives one; got {type(teacher).__name__}.")
    if teacher is student:
        raise DataError("A model cannot be its own teacher; make another one for the student.")
    if draws is not None and draws < 2:
        raise GenusError(f"draws is how many the result is estimated by, 2 or more; got {draws}.")
    known = teacher if isinstance(teacher, GenerativeModel) else None
    if reason := untaught(student, known):
        raise DataError(reason)
    if known is not None:
        student.codec, student.context_codec = known.codec, known.context_codec
    if isinstance(student, Dequantised):
        if not isinstance(teacher, Dequantised):
            raise DataError(
                "A student of whole numbers learns of points in their cells from a model of the same whole numbers, and a"
                " function says nothing of those; teach a student of real numbers."
            )
        return distill_within(student, teacher, data, **more)
    flow, density = cast(NormalisingFlow, student), cast("TractableDensity | None", known)
    conditional = flow.context is not None
    if c is not None and (not conditional or data is not None):
        raise DataError("c are conditions to draw for where there are no data; leave it out with data, or without a condition.")
    if conditional and c is None and data is None:
        raise DataError("The student is conditional; pass data with their conditions, or conditions c to draw for.")
    if c is not None and flow.context is not None:
        flow.context.check(c, "c")
        if not len(c):
            raise DataError("c has no rows; pass one condition or more to draw for.")
    share = forward if forward is not None else FORWARD if density is not None and not flow.space.sequence else 0.0
    if not 0 <= share <= 1 or (share and density is None):
        raise GenusError(f"forward is a share from 0 to 1, and 0 for a function, which cannot be sampled; got {share}.")
    if flow.space.has_states and share == 0:
        raise DataError(
            "Categories and atoms are learned by KL(teacher || student) alone, since no gradient goes back through their draws;"
            " this needs a teacher that is a density, and forward above 0."
        )
    if not share and how.get("validation") is not None:
        raise GenusError(
            "validation keeps the weights under which rows held out are likeliest, which is not what forward=0 is after; leave"
            " validation out, or, with a teacher that is a density, set forward above 0."
        )
    settled: dict[str, Any] = {"batch_size": batch_size, "learning_rate": RATE_IN_TIME if flow.space.sequence else RATE}
    settled |= RECIPE | how
    settled |= {} if {"max_steps", "max_seconds", "epochs"} & set(how) else {"max_steps": STEPS}
    settled |= {} if share else {"validation": None}  # the student's likelihood of rows is not what is wanted then
    lesson = Lesson(flow, density or teacher, share, auxiliary)
    with unchanged(density):
        data = data if data is not None else lesson.rows(c, batch_size, seed)
        loss = Loss("kl", flow.parameters(), lesson.loss, matrices=flow.matrices())
        given = data[1] if isinstance(data, tuple) else getattr(data, "c", None)
        try:
            history = fit(flow, data, losses=[loss], seed=seed, **settled)
        except NonFiniteLossError:
            if reason := lesson.outside(given, seed):
                raise NonFiniteLossError(reason) from None
            raise
        return lesson.judged(given, history, draws, seed)


def distill_within(student: Dequantised, teacher: Dequantised, data: Any, **more: Any) -> Distillation:
    """Both are densities of points in cells, whose KL is at least that of the cells' masses."""
    seed, validation = more["seed"], more.get("validation")
    if student.noise is not None and teacher.noise is not None:
        student.noise.load_state_dict(teacher.noise.state_dict())  # the student learns of points, not where to put them
    if validation is not None and not isinstance(validation, int | float):
        more["validation"] = noisy(student, validation, seed)
    found = distill(student.model, teacher.model, None if data is None else noisy(student, data, seed), **more)
    student.context_counts = student.model.context_counts
    student.to(student.model.device).eval()  # as training leaves what it trained
    back = found.teacher_to_student
    back = back._replace(label="upper bound") if back is not None else None
    return replace(found, bound=found.bound._replace(label="bound"), teacher_to_student=back)


class Lesson:
    """A student, a teacher, and what the one learns from the other."""

    def __init__(
        self,
        student: NormalisingFlow,
        teacher: Teacher,
        forward: float,
        auxiliary: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        self.student, self.teacher, self.forward, self.auxiliary = student, teacher, forward, auxiliary
        self.density = teacher if isinstance(teacher, TractableDensity) else None

    def log_p(self, x: Tensor, c: Tensor | None) -> Tensor:
        """What the teacher says of x (B, *shape): (B,)."""
        if self.density is not None:
            found = self.density._log_prob(x, c)
        else:
            found = self.teacher(x) if c is None else self.teacher(x, c)
        if not isinstance(found, Tensor) or found.shape != x.shape[:1]:
            what = f"one of shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"of type {type(found).__name__}"
            raise DataError(
                f"The teacher must give a log-density of every datum, a tensor of shape {tuple(x.shape[:1])} for x of shape"
                f" {tuple(x.shape)}; got {what}."
            )
        if x.requires_grad and not found.requires_grad and self.forward < 1:
            raise DataError(
                "KL(student || teacher) is lowered by gradients through the teacher, and what it gives has none; compute it"
                " from x in torch, without detach or no_grad."
            )
        return found

    def rows(self, c: Tensor | None, least: int, seed: int) -> Any:
        """Rows to learn from, with their conditions: draws of the teacher; of the student where a function teaches."""
        count = max(least, min(ROWS, NUMBERS // self.student.space.dim)) if self.density is not None else 4 * least
        if c is None:
            return (self.density or self.student).sample(count, seed=seed)
        c = c.repeat(-(-count // len(c)), 1)
        return (self.density or self.student).sample(len(c), c, seed=seed), c

    def loss(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Nats a datum; of sequences an element, as in their likelihood, so that long ones do not take larger steps."""
        if self.density is not None and self.density.device != x.device:
            self.density.to(x.device)  # after the student, which training has put there
        total = x.new_zeros(())
        if self.forward < 1 or self.auxiliary is not None:
            drawn, divergence = self.divergence(len(x), c)
            total = total + (1 - self.forward) * divergence.mean()
        if self.forward:
            total = total - self.forward * self.student._log_prob(x, c).mean()
        total = total / x.shape[1] if self.student.space.sequence else total
        return total if self.auxiliary is None else total + self.auxiliary(drawn, x)

    def divergence(self, n: int, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """n draws of the student (n, *shape), and for each a number (n,) whose mean is KL(student || teacher).

        Of sequences step by step, given the student's noise before it: less is left to chance (ClariNet, arXiv:1807.07281).
        """
        if isinstance(self.student, ParallelWaveNet) and isinstance(self.density, Autoregressive):
            x, loc, log_scale = self.student._draw_steps(n, c)
            expected = self.density._distributions(x, c).expected_log_prob(loc.reshape(-1, 1), log_scale.reshape(-1, 1))
            entropy = log_scale + 0.5 * math.log(2 * math.pi * math.e)
            return x, (-entropy - expected.view(x.shape)).sum(1)
        drawn, log_q = self.student._sample_and_log_prob(n, c)
        return drawn, log_q - self.log_p(drawn, c)

    @property
    def at_once(self) -> int:
        """How many draws are judged together."""
        return max(2, NUMBERS // 4 // self.student.space.dim)

    @torch.no_grad()
    def drawn(self, n: int, c: Tensor | None, seed: int) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """n draws of the student that nothing was learned from, their conditions, and what student and teacher say of them."""
        student, at_once = self.student, self.at_once
        with isolated(seed + 1):
            given = None if c is None else c[torch.randint(len(c), (n,))].to(student.device, student.context.dtype)  # type: ignore[union-attr]
            pieces = [None] * -(-n // at_once) if given is None else given.split(at_once)
            sizes = [min(at_once, n - at) for at in range(0, n, at_once)]
            parts = [student._sample_and_log_prob(size, piece) for size, piece in zip(sizes, pieces, strict=True)]
        x, log_q = (torch.cat(part) for part in zip(*parts, strict=True))
        return x, given, log_q, map_batches(self.log_p, x, given, rows=at_once)

    @torch.no_grad()
    def judged(self, c: Tensor | None, history: History, draws: int | None, seed: int) -> Distillation:
        """What came of it, by draws that nothing was learned from."""
        student, at_once = self.student, self.at_once
        n = draws or min(JUDGED, at_once)
        x, given, log_q, log_p = self.drawn(n, c, seed)
        difference = (log_p - log_q).double()
        first, second = difference.logsumexp(0), (2 * difference).logsumexp(0)
        took, back, theirs = timed(lambda: student.sample(n, given, seed=seed + 2))[0], None, None
        if self.density is not None:
            density = self.density
            theirs, x = timed(lambda: density.sample(n, given, seed=seed + 2))
            other = map_batches(self.log_p, x, given, rows=at_once) - map_batches(student._log_prob, x, given, rows=at_once)
            back = apart(other.double(), "teacher", "student")
        mass, effective = float(first - math.log(n)), float((2 * first - second).exp()) if first > -math.inf else 0.0
        away = apart(-difference, "student", "teacher")
        return Distillation(history, away._replace(value=-away.value), mass, effective, n, back, took, theirs)

    def outside(self, c: Tensor | None, seed: int) -> str | None:
        """Where the teacher gives a draw of the student no mass, and what to do; None where it gives all of them some."""
        x, _, log_q, log_p = self.drawn(min(JUDGED, self.at_once), c, seed)
        odd = (log_q.isfinite() & ~log_p.isfinite()).nonzero()
        if not len(odd):
            return None
        where = x[int(odd[0])].flatten().tolist()
        shown = ", ".join(f"{value:.4g}" for value in where[:SHOWN]) + (", ..." if len(where) > SHOWN else "")
        what = "has no mass" if (value := float(log_p[odd[0]])) == -math.inf else f"gives {value}"
        return (
            f"The teacher {what} at x = ({shown}), which the student may draw; change variables so that it has mass everywhere"
            " (y = log x for x > 0, and add the logarithm of the slope), or give the student the teacher's"
            " support (a Flow whose first transform is Logit(low, high))."
        )


@torch.no_grad()
def noisy(model: Dequantised, data: Any, seed: int) -> Any:
    """Rows of whole numbers as the density within the model sees them."""
    rows, _ = prepare(model, data, None, seed)
    with isolated(seed):
        y = model._noisy(rows.x.to(model.device, model.space.dtype), rows.c)[0]
    return y if rows.c is None else (y, rows.c)


@contextmanager
def unchanged(model: GenerativeModel | None) -> Iterator[None]:
    """The model is in evaluation mode inside, and none of its weights learns; afterwards it is as and where it was."""
    if model is None:
        yield
        return
    training, device = model.training, model.device
    try:
        with without_parameter_gradients(model.eval()):
            yield
    finally:
        model.to(device).train(training)


def _number(found: Estimate) -> str:
    return f"{'at most' if found.label == 'upper bound' else '='} {found.value:.3f} ± {found.error:.3f}"


def apart(log_ratio: Tensor, one: str, other: str) -> Estimate:
    """KL(one || other), by log one - log other of draws of one (N,)."""
    if alone := int((log_ratio == math.inf).sum()):
        reason = f"the {other} has density 0 at {alone:,} of {len(log_ratio):,} draws of the {one}"
        return Estimate(math.inf, label="exact", reason=reason)
    return Estimate.of(log_ratio)


def timed(f: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Seconds, and what f gave."""
    begin = time.perf_counter()
    found = f()
    return time.perf_counter() - begin, found


def untaught(student: GenerativeModel | None, teacher: GenerativeModel | None) -> str | None:
    """Why the one cannot learn from the other by distillation; None where it can, as far as the ones given say.

    >>> from genus import MAF, VAE, Space
    >>> space = Space([Real(), Real()])
    >>> untaught(MAF(space), VAE(space))
    'The teacher must be a density, and VAE has none that is exact.'
    """
    both = [one for one in (student, teacher) if one is not None]
    student, teacher = (one.model if isinstance(one, Dequantised) else one for one in (student, teacher))
    if teacher is not None and not isinstance(teacher, TractableDensity):
        return f"The teacher must be a density, and {type(teacher).__name__} has none that is exact."
    for model in (teacher, student):
        space = model.space if model is not None else None
        if model is not None and space is not None and (not space.columns(Real) or space.columns(Lattice)):
            odd = [*space.columns(Lattice), 0][0]
            return (
                f"{type(model).__name__} gives every value of {space.label(odd)}, {space.kinds[odd]!r}, a probability; a"
                " student learns by gradients that go back through its draws, and none go through the draw of a symbol."
            )
    if student is not None and not isinstance(student, NormalisingFlow):
        return f"{type(student).__name__} cannot draw with gradients; a student is a flow, such as IAF."
    if any((one.space, one.context) != (both[0].space, both[0].context) for one in both):
        return "The teacher must be a density of the student's own space and context."
    noises = [one.config["noise"] for one in both if isinstance(one, Dequantised)]
    if len({*noises}) > 1:
        mine, theirs = noises
        return f"The student's noise within cells is {mine!r}, the teacher's {theirs!r}; build the student with the teacher's."
    return None
