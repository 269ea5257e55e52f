"""KL(student || teacher) on the student's own samples: distillation, and variational inference, which is the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genus.divergences.f import Estimate
from genus.errors import DataError, GenusError
from genus.model import GenerativeModel, Loss, TractableDensity, isolated
from genus.space import Real
from genus.training import History, fit

__all__ = ["Distillation", "distill"]

STEPS, BATCH = 3000, 256  # where no budget is given
JUDGED = 10_000  # draws of the student that the result is estimated from


@dataclass(frozen=True)
class Distillation:
    """What came of it; numbers in nats, a datum.

    Attributes:
        history: of the training.
        bound: E_q [log p(x) - log q(x)], at most log Z, the log of p's total mass; of a teacher that is a density, whose total
            mass is 1, this is -KL(student || teacher).
        log_mass: log Z, estimated by importance weights p / q, and effective: how many equal weights these are worth.
        teacher_to_student: KL(teacher || student), where the teacher can be sampled; None where it cannot.
    """

    history: History
    bound: Estimate
    log_mass: float
    effective: float
    draws: int
    teacher_to_student: Estimate | None

    @property
    def kl(self) -> Estimate:
        """KL(student || teacher) of a teacher whose total mass is 1."""
        return Estimate(-self.bound.value, self.bound.error)

    def __str__(self) -> str:
        text = (
            f"E_q[log p - log q] = {self.bound.value:.3f} ± {self.bound.error:.3f} nats; log mass {self.log_mass:.3f} by"
            f" importance weights worth {self.effective:.0f} of {self.draws}"
        )
        other = self.teacher_to_student
        return text if other is None else f"{text}; KL(teacher || student) = {other.value:.3f} ± {other.error:.3f}"


def distill(
    student: TractableDensity,
    teacher: TractableDensity | Callable[[Tensor], Tensor],
    c: Tensor | None = None,
    *,
    batch_size: int = BATCH,
    seed: int = 0,
    **how: Any,
) -> Distillation:
    """Teach a student in place what a teacher knows, by KL(student || teacher) on the student's own draws (van den Oord et al.
    2018, arXiv:1711.10433).

    The student draws with gradients and knows the density of what it drew, as every flow does; an inverse autoregressive flow
    does both in one pass. KL(student || teacher) seeks a mode, where maximum likelihood covers them all. The teacher's
    weights are not touched.

    Args:
        student: a flow on real numbers.
        teacher: a density on the same space that gradients go through; or any function of x (B, *shape) that gives an
            unnormalised log-density (B,), for variational inference.
        c: conditions (N, *context.shape) from which the draws' own are taken, for a conditional student and teacher.
        batch_size: draws of every step.
        seed: of the training and of the estimates.
        how: arguments of `genus.fit`: a budget (by default 3,000 steps), the learning rate and so on.

    Raises:
        DataError: the spaces differ, or the student's data are not real numbers, through which gradients could go back.
        GenusError: the student cannot draw with gradients.

    >>> import math
    >>> from genus import Flow, Real, Space
    >>> from genus.transforms import Elementwise
    >>> student = Flow(Space([Real(), Real()]), transforms=[Elementwise(2)])  # independent normals: mean field
    >>> found = distill(student, lambda x: -(x - 3).square().sum(1), max_steps=300, learning_rate=0.02, progress=False)
    >>> abs(found.log_mass - math.log(math.pi)) < 0.05
    True
    """
    space, context = student.space, student.context
    draw = getattr(student, "sample_and_log_prob", None)
    if draw is None:
        raise GenusError(f"{type(student).__name__} cannot draw with gradients; a student is a flow, 'iaf' say.")
    if any(not isinstance(kind, Real) or kind.states > 1 for kind in space.kinds):
        raise DataError("A student's data must be real numbers without atoms: gradients do not go back through states.")
    if (context is None) != (c is None):
        raise DataError("Pass c where the student is conditional, and only there.")
    known = teacher if isinstance(teacher, GenerativeModel) else None
    if known is not None and (not isinstance(known, TractableDensity) or (known.space, known.context) != (space, context)):
        raise DataError("The teacher must be a density of the student's own space and context, or a function.")

    def log_p(x: Tensor, given: Tensor | None) -> Tensor:
        return known._log_prob(x, given) if known is not None else teacher(x)

    def value(x: Tensor, given: Tensor | None) -> Tensor:
        drawn, log_q = student._draw(len(x), given)  # type: ignore[operator]
        return (log_q - log_p(drawn, given)).mean()

    frozen = [p for p in known.parameters() if p.requires_grad] if isinstance(known, nn.Module) else []
    training = known.training if known is not None else False
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        if known is not None:
            known.eval()
        rows = len(c) if c is not None else 4 * batch_size
        x = student.sample(rows, c, seed=seed)
        budget = {} if {"max_steps", "max_seconds", "epochs"} & set(how) else {"max_steps": STEPS}
        losses = [Loss("kl", student.parameters(), value)]
        settled = {"validation": None, "batch_size": min(batch_size, rows), "weight_decay": 0.0, **budget, **how}
        history = fit(student, x if c is None else (x, c), losses=losses, seed=seed, **settled)
        return _judged(student, known, log_p, c, history, seed)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        if known is not None:
            known.train(training)


@torch.no_grad()
def _judged(
    student: TractableDensity,
    teacher: TractableDensity | None,
    log_p: Callable[[Tensor, Tensor | None], Tensor],
    c: Tensor | None,
    history: History,
    seed: int,
) -> Distillation:
    with isolated(seed + 1):
        given = None if c is None else c[torch.randint(len(c), (JUDGED,))]
        drawn, log_q = student._draw(JUDGED, given)  # type: ignore[operator]
        difference = (log_p(drawn, given) - log_q).double()
    bound = Estimate.of(difference)
    first, second = difference.logsumexp(0), (2 * difference).logsumexp(0)
    back = None
    if teacher is not None:
        x = teacher.sample(JUDGED, given, seed=seed + 2)
        other = (teacher._log_prob(x, given) - student._log_prob(x, given)).double()
        back = Estimate.of(other)
    return Distillation(history, bound, float(first - math.log(JUDGED)), float((2 * first - second).exp()), JUDGED, back)
