"""The loss of a student on its own draws and on its teacher's, its training, and how far it is from the teacher then."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genus.distillation.memory import Pieces, bytes_for_gradients, choose_pieces
from genus.divergences.f import Estimate
from genus.errors import DataError, GenusError, NonFiniteLossError
from genus.ladder import GenerativeModel, Loss, TractableDensity, map_batches, without_parameter_gradients
from genus.models.autoregressive import Autoregressive
from genus.models.flow import NormalisingFlow
from genus.models.parallel_wavenet import ParallelWaveNet
from genus.nets.room import free_memory
from genus.random import isolated
from genus.training import History, fit
from genus.training.options import find_device
from genus.training.sizing import saved_settings

__all__ = ["Distillation", "Distiller", "Teacher"]

FORWARD_SHARE = 0.9  # of KL(teacher || student) in the loss; see `distill`
FIT_DEFAULTS: dict[str, Any] = {"max_steps": 3000, "learning_rate": 3e-3, "ema_decay": 0.99, "weight_decay": 0.0}
SEQUENCE_LEARNING_RATE = 2e-2
BATCH_SIZE = 256  # of rows that are no sequences
PROBED = 256  # elements of a sequence, on which a step's memory is measured
NUMBERS = 2**20  # that are drawn of a teacher as training rows: rows times their length; a quarter of it to evaluate
TRAINING_ROWS, EVALUATION_ROWS = 50_000, 10_000  # and no more rows than these
FEW = 100  # equal weights, and at most half of the draws, that importance weights should be worth
SHOWN = 4  # numbers of a datum in a message

Teacher = TractableDensity | Callable[..., Tensor]


@dataclass(frozen=True)
class Distillation:
    """Hold how far a student is from its teacher after training, in nats a datum.

    Attributes:
        history: of the training.
        bound: E_q [log p(x) - log q(x)] of the student q and the teacher p, at most log Z, the log of p's total mass; for a
            teacher that is a density, whose total mass is 1, this is -KL(student || teacher). On lattices it is a bound
            ("bound"): the divergences between points in cells are at least those of the cells' masses ("upper bound").
        log_mass: log Z, estimated by importance weights p / q.
        effective: the number of equal weights that the importance weights are worth.
        draws: the number of the student's draws that these are estimated by.
        teacher_to_student: KL(teacher || student); None where the teacher cannot be sampled.
        student_seconds: the time that so many draws of the student took.
        teacher_seconds: that of the teacher; None where it cannot be sampled.
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
        """Return KL(student || teacher) for a teacher whose total mass is 1."""
        label = "upper bound" if self.bound.label == "bound" else self.bound.label
        return self.bound._replace(value=-self.bound.value, label=label)

    @property
    def doubt(self) -> str | None:
        """Return why the numbers may be off by more than their errors; None where the importance weights do not say so."""
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


class Distiller:
    """Train a flow to have a teacher's distribution, and estimate how far it is from it.

    Args:
        student: a flow on real numbers, perhaps with states.
        teacher: a density, or a function that gives an unnormalised log-density.
        forward: the share of KL(teacher || student) in the loss; see `distill`.
        auxiliary: a loss on draws beside the divergences; see `distill`.
        length: elements of sequences that a step sees; None: all.
    """

    def __init__(
        self,
        student: NormalisingFlow,
        teacher: Teacher,
        forward: float | None = None,
        auxiliary: Callable[[Tensor, Tensor], Tensor] | None = None,
        length: int | None = None,
    ) -> None:
        self.length = length
        self.stepwise = isinstance(student, ParallelWaveNet) and isinstance(teacher, Autoregressive)
        self.student, self.teacher, self.auxiliary = student, teacher, auxiliary
        self.density = teacher if isinstance(teacher, TractableDensity) else None
        usual = 0.0 if self.density is None or student.space.sequence else FORWARD_SHARE
        self.forward = usual if forward is None else forward
        self.batch_rows = max(2, NUMBERS // 4 // student.space.dim)  # that are evaluated together

    def check(self, data: Any, c: Tensor | None, validation: Any) -> None:
        """Check that there are contexts where the student needs them, and that the loss makes sense for its space.

        Raises:
            DataError: contexts are missing, or are not needed; the student's states cannot be learned.
            GenusError: the share of KL(teacher || student) or the validation makes no sense.
        """
        context = self.student.context
        if c is not None and (context is None or data is not None):
            raise DataError(
                "c is the context to draw for where there are no data; leave it out with data, or without a context."
            )
        if context is not None and c is None and data is None:
            raise DataError("The student has a context; pass data with theirs, or c, the context to draw for.")
        if c is not None and context is not None:
            context.check(c, "c")
            if not len(c):
                raise DataError("c has no rows; pass one row or more of the context to draw for.")
        if not 0 <= self.forward <= 1 or (self.forward and self.density is None):
            share = self.forward
            raise GenusError(f"forward is a share from 0 to 1, and 0 for a function, which cannot be sampled; got {share}.")
        if self.student.space.has_states and not self.forward:
            raise DataError(
                "Categories and atoms are learned by KL(teacher || student) alone, since no gradient goes back through their"
                " draws; this needs a teacher that is a density, and forward above 0."
            )
        if not self.forward and validation is not None:
            raise GenusError(
                "validation keeps the weights under which rows held out are likeliest, which is not what forward=0 is after;"
                " leave validation out, or, with a teacher that is a density, set forward above 0."
            )

    def run(self, data: Any, c: Tensor | None, draws: int | None, fit_arguments: dict[str, Any]) -> Distillation:
        """Train the student and evaluate it; the arguments are those of `distill`."""
        settled = FIT_DEFAULTS | ({"learning_rate": SEQUENCE_LEARNING_RATE} if self.student.space.sequence else {})
        if {"max_seconds", "epochs"} & {*fit_arguments}:
            del settled["max_steps"]
        if not self.forward:
            settled["validation"] = None  # the rows' likelihood under the student is not what is lowered then
        settled |= fit_arguments
        seed = settled["seed"]
        with _as_teacher(self.density):
            pieces = self.pieces(data, c, settled)
            settled["batch_size"], self.length = pieces.batch_size, pieces.length if self.stepwise else None
            data = data if data is not None else self.training_rows(c, settled["batch_size"], seed)
            c = data[1] if isinstance(data, tuple) else getattr(data, "c", None)
            loss = Loss(
                "kl", self.student.parameters(), self.loss, matrices=self.student.matrices(),
                piece=pieces.rows, config=pieces._asdict() if self.stepwise else {},
            )  # fmt: skip
            try:
                history = fit(self.student, data, losses=[loss], **settled)
            except NonFiniteLossError:
                if reason := self.reason_for_no_mass(c, seed):
                    raise NonFiniteLossError(reason) from None
                raise
            return self.evaluate(c, history, draws, seed)

    def teacher_log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Return the teacher's log-density (B,) of x (B, *shape), up to a constant where it is a function."""
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

    def training_rows(self, c: Tensor | None, batch_size: int, seed: int) -> Any:
        """Return rows to train on, with their contexts: draws of the teacher, or of the student where it is a function."""
        most = min(TRAINING_ROWS, NUMBERS // self.student.space.dim)
        count = max(batch_size, most) if self.density is not None else 4 * batch_size
        c = None if c is None else c.repeat(-(-count // len(c)), 1)
        count = count if c is None else len(c)
        if self.stepwise and not self.forward and self.auxiliary is None:  # the loss counts them and sees no values
            x = torch.zeros(count, self.student.space.dim)
        else:
            x = (self.density or self.student).sample(count, c, seed=seed, blanks=True)
        return x if c is None else (x, c)

    def loss(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Return the loss in nats a datum; for sequences an element, so that long ones do not take larger steps."""
        if self.density is not None and self.density.device != x.device:
            self.density.to(x.device)  # after the student, which training has put there
        x = x if self.length is None else x[:, : self.length]
        total = x.new_zeros(())
        if self.forward < 1 or self.auxiliary is not None:
            drawn, divergence = self.draw_and_divergence(len(x), c)
            total = total + (1 - self.forward) * divergence.mean()
        if self.forward:
            total = total - self.forward * self.student._log_prob(x, c).mean()
        total = total / x.shape[1] if self.student.space.sequence else total
        return total if self.auxiliary is None else total + self.auxiliary(drawn, x)

    def pieces(self, data: Any, c: Tensor | None, settled: dict[str, Any]) -> Pieces:
        """Return how a step is cut so that it fits the memory; a training that is resumed goes on as it began.

        The bytes are measured on the first elements of one sequence, of whatever values.

        Raises:
            GenusError: one sequence of the length that was asked for does not fit.
        """
        student, batch_size, length = self.student, settled["batch_size"], self.length
        if not self.stepwise:
            if length is not None:
                raise GenusError(
                    "length is of the windows that a ParallelWaveNet learns of a chain rule over time; leave it out."
                )
            return Pieces(0, batch_size or BATCH_SIZE, batch_size or BATCH_SIZE)
        if settled.get("resume") and (begun := saved_pieces(settled.get("checkpoint"))):
            return begun
        device = find_device(settled.get("device", "auto"))
        student.to(device)
        context = data[1] if isinstance(data, tuple) else getattr(data, "c", None) if data is not None else c
        probe = Distiller(student, self.teacher, self.forward, length=min(PROBED, student.space.dim))
        given = None if context is None else context[:1].to(device, student.context.dtype)  # type: ignore[union-attr]
        with isolated(settled["seed"], student):
            kept = bytes_for_gradients(
                lambda: probe.loss(torch.zeros(1, student.space.dim, device=device), given), list(student.parameters())
            )
        return choose_pieces(kept / int(probe.length or 1), student.space.dim, free_memory(device), batch_size, length)

    def draw_and_divergence(self, n: int, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return n draws of the student (n, *shape), and for each a number (n,) whose mean is KL(student || teacher).

        For sequences the KL is taken step by step, given the student's earlier noise, which has less variance (ClariNet,
        arXiv:1807.07281).
        """
        if isinstance(self.student, ParallelWaveNet) and isinstance(self.density, Autoregressive):
            x, loc, log_scale = self.student._draw_steps(n, c, self.length)
            expected = self.density._distributions(x, c).expected_log_prob(loc.reshape(-1, 1), log_scale.reshape(-1, 1))
            entropy = log_scale + 0.5 * math.log(2 * math.pi * math.e)
            return x, (-entropy - expected.view(x.shape)).sum(1)
        drawn, log_q = self.student._sample_and_log_prob(n, c)
        return drawn, log_q - self.teacher_log_prob(drawn, c)

    @torch.no_grad()
    def draw(self, n: int, c: Tensor | None, seed: int) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """Return n new draws of the student, their contexts, and the log-densities of student and teacher."""
        student, rows = self.student, self.batch_rows
        with isolated(seed + 1):
            if c is not None and student.context is not None:
                c = c[torch.randint(len(c), (n,))].to(student.device, student.context.dtype)
            contexts = [None] * -(-n // rows) if c is None else c.split(rows)
            sizes = [min(rows, n - at) for at in range(0, n, rows)]
            parts = [student._sample_and_log_prob(size, context) for size, context in zip(sizes, contexts, strict=True)]
        x, log_q = (torch.cat(part) for part in zip(*parts, strict=True))
        return x, c, log_q, map_batches(self.teacher_log_prob, x, c, rows=rows)

    @torch.no_grad()
    def evaluate(self, c: Tensor | None, history: History, draws: int | None, seed: int) -> Distillation:
        """Estimate how far the student is from its teacher, by draws that it was not trained on."""
        student, rows = self.student, self.batch_rows
        n = draws or min(EVALUATION_ROWS, rows)
        x, c, log_q, log_p = self.draw(n, c, seed)
        log_weights = (log_p - log_q).double()
        first, second = log_weights.logsumexp(0), (2 * log_weights).logsumexp(0)
        student_seconds, teacher_seconds, back = _timed(lambda: student.sample(n, c, seed=seed + 2, blanks=True))[0], None, None
        if self.density is not None:
            density = self.density
            teacher_seconds, x = _timed(lambda: density.sample(n, c, seed=seed + 2, blanks=True))
            ratio = map_batches(self.teacher_log_prob, x, c, rows=rows) - map_batches(student._log_prob, x, c, rows=rows)
            back = _kl_estimate(ratio.double(), "teacher", "student")
        mass, effective = float(first - math.log(n)), float((2 * first - second).exp()) if first > -math.inf else 0.0
        kl = _kl_estimate(-log_weights, "student", "teacher")
        bound = kl._replace(value=-kl.value)
        return Distillation(history, bound, mass, effective, n, back, student_seconds, teacher_seconds)

    def reason_for_no_mass(self, c: Tensor | None, seed: int) -> str | None:
        """Return where the teacher gives a draw of the student no mass, and what to do; None where it gives all some."""
        x, _, log_q, log_p = self.draw(min(EVALUATION_ROWS, self.batch_rows), c, seed)
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


def saved_pieces(checkpoint: Any) -> Pieces | None:
    """Return how the steps of a training are cut that a checkpoint holds; None where it does not say."""
    arguments = saved_settings(checkpoint).get("arguments of losses") if checkpoint and os.path.exists(checkpoint) else None
    try:
        return Pieces(**arguments[0]) if arguments else None
    except TypeError:  # another training's: the file is refused where it is read
        return None


@contextmanager
def _as_teacher(model: GenerativeModel | None) -> Iterator[None]:
    """Put a model in evaluation mode inside, without gradients of its weights; afterwards it is as and where it was."""
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


def _kl_estimate(log_ratio: Tensor, p: str, q: str) -> Estimate:
    """Return KL(p || q) by log p - log q (N,) at draws of p, with the models' names for the message."""
    if alone := int((log_ratio == math.inf).sum()):
        reason = f"the {q} has density 0 at {alone:,} of {len(log_ratio):,} draws of the {p}"
        return Estimate(math.inf, label="exact", reason=reason)
    return Estimate.of(log_ratio)


def _timed(f: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Return how many seconds f took, and its value."""
    begin = time.perf_counter()
    value = f()
    return time.perf_counter() - begin, value
