"""Distil a teacher into a student: check the arguments, which `distiller.py` then trains by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from genus.distillation.distiller import Distillation, Distiller, Teacher
from genus.errors import DataError, GenusError
from genus.ladder import GenerativeModel, TractableDensity
from genus.models.dequantised import Dequantised
from genus.models.flow import NormalisingFlow
from genus.random import isolated
from genus.space import Lattice, Real
from genus.training.rows import prepare

__all__ = ["distill", "distillation_refusal"]

CODED = (
    "gives every value of coded sound a probability; a student learns by gradients that go back through its draws, and none go"
    ' through the draw of a symbol. Read the recordings as real numbers with encoding="real" (genus fit --encoding real), and'
    " fit the teacher to these."
)


def distill(
    student: TractableDensity,
    teacher: Teacher,
    data: Any = None,
    *,
    c: Tensor | None = None,
    forward: float | None = None,
    auxiliary: Callable[[Tensor, Tensor], Tensor] | None = None,
    batch_size: int | None = None,
    length: int | None = None,
    draws: int | None = None,
    seed: int = 0,
    **fit_arguments: Any,
) -> Distillation:
    """Train a student, in place, to have the distribution of a teacher, whose weights stay as they are.

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
        data: a Dataset, x, or (x, c): the rows that the student should cover, the contexts to draw for, and what `auxiliary`
            compares with. By default draws of the teacher.
        c: contexts (N, *context.shape) to draw for, for conditional models without data.
        forward: the share of KL(teacher || student) in the loss: 0.9, since the gradients of the other are by far the larger
            while the student is poor; but 0 for a function, which cannot be sampled, and for sequences, whose density under a
            parallel student takes a step for every position.
        auxiliary: (draws, rows) -> a number to be added to the loss: both (B, *shape), with the same contexts. The rows are
            data's or the teacher's. See `divergences.log_spectral_distance` for sound.
        batch_size: the number of draws of every step; by default 256, of sequences so many that they have 16,384 elements.
        length: of sequences, the elements that a step draws, from their beginning; by default all, up to 8,192, or as many as
            the memory there is holds. Every layer's outputs are held for the gradient, so a step is taken in pieces that use
            at most a fourth of the free memory, on a CPU 512 MB.
        draws: the number of draws that the result is estimated by; 10,000 by default, fewer of sequences.
        seed: of the training and of the estimates.
        fit_arguments: of `genus.fit`: a budget (by default 3,000 steps), the learning rate and so on.

    Returns:
        How far the student is from its teacher, estimated by draws that it was not trained on.

    Raises:
        DataError: the spaces differ, the student is no flow, there are no numbers through which gradients could go back, or
            what a function gives is no log-density of every datum, with gradients.
        NonFiniteLossError: the teacher has no mass where the student draws; the message says where.
        GenusError: the share makes no sense, or one sequence of this length does not fit the memory.

    >>> import math
    >>> from genus import Flow, Real, Space
    >>> from genus.transforms import Elementwise
    >>> student = Flow(Space([Real(), Real()]), transforms=[Elementwise(2)])  # independent normals: mean field
    >>> found = distill(student, lambda x: -(x - 3).square().sum(1), max_steps=300, learning_rate=0.02, progress=False)
    >>> abs(found.log_mass - math.log(math.pi)) < 0.05
    True
    """
    if not callable(teacher):
        raise DataError(f"The teacher must be a density, or a function of x that gives one; got {type(teacher).__name__}.")
    if teacher is student:
        raise DataError("A model cannot be its own teacher; make another one for the student.")
    for name, value in (("batch_size", batch_size), ("length", length)):
        if value is not None and (type(value) is not int or value < 1):
            raise GenusError(f"{name} must be a whole number of at least 1, or None; got {value!r}.")
    if draws is not None and draws < 2:
        raise GenusError(f"draws is how many the result is estimated by, 2 or more; got {draws}.")
    density = teacher if isinstance(teacher, GenerativeModel) else None
    if reason := distillation_refusal(student, density):
        raise DataError(reason)
    if density is not None:
        student.codec, student.context_codec = density.codec, density.context_codec
    fit_arguments = {"batch_size": batch_size, "seed": seed} | fit_arguments
    if isinstance(student, Dequantised):
        return _distill_dequantised(student, teacher, data, c, forward, auxiliary, draws, fit_arguments)
    distiller = Distiller(cast(NormalisingFlow, student), teacher, forward, auxiliary, length)
    distiller.check(data, c, fit_arguments.get("validation"))
    return distiller.run(data, c, draws, fit_arguments)


def _distill_dequantised(
    student: Dequantised, teacher: Any, data: Any, c: Any, forward: Any, auxiliary: Any, draws: int | None, fit_arguments: Any
) -> Distillation:
    """Distil the densities of points in cells, whose KL is at least that of the cells' masses."""
    if not isinstance(teacher, Dequantised):
        raise DataError(
            "A student of whole numbers learns of points in their cells from a model of the same whole numbers, and a"
            " function says nothing of those; teach a student of real numbers."
        )
    seed, validation = fit_arguments["seed"], fit_arguments.get("validation")
    if student.noise is not None and teacher.noise is not None:
        student.noise.load_state_dict(teacher.noise.state_dict())  # the student learns of points, not where to put them
    if validation is not None and not isinstance(validation, int | float):
        fit_arguments["validation"] = _with_noise(student, validation, seed)
    data = None if data is None else _with_noise(student, data, seed)
    more = {"c": c, "forward": forward, "auxiliary": auxiliary, "draws": draws}
    found = distill(student.model, teacher.model, data, **more, **fit_arguments)
    student.context_counts = student.model.context_counts
    student.to(student.model.device).eval()  # as training leaves what it trained
    back = found.teacher_to_student
    back = back._replace(label="upper bound") if back is not None else None
    return replace(found, bound=found.bound._replace(label="bound"), teacher_to_student=back)


@torch.no_grad()
def _with_noise(model: Dequantised, data: Any, seed: int) -> Any:
    """Return rows of whole numbers as the continuous density within a model sees them."""
    rows, _ = prepare(model, data, None, seed)
    with isolated(seed):
        y = model._noisy(rows.x.to(model.device, model.space.dtype), rows.c)[0]
    return y if rows.c is None else (y, rows.c)


def distillation_refusal(student: GenerativeModel | None, teacher: GenerativeModel | None) -> str | None:
    """Return why a student cannot learn from a teacher; None where it can, as far as the models that are given say.

    >>> from genus import MAF, VAE, Space
    >>> space = Space([Real(), Real()])
    >>> distillation_refusal(MAF(space), VAE(space))
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
            if model.codec is not None and model.codec.is_coded_sound:
                return f"{type(model).__name__} {CODED}"
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
