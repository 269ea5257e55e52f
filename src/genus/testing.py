"""Hold models, transforms and divergences of your own to the laws: a sentence says what breaks one, before anything is trained.

>>> import genus
>>> space = genus.Space([genus.Real(), genus.Category(("a", "b"))])
>>> check_model(genus.NaiveBayes(space), space.join(torch.zeros(50, 2).long(), torch.randn(50, 2)))
['files', 'samples', 'rows', 'density']
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genus.divergences.f import FDivergence
from genus.divergences.games import Game
from genus.errors import DataError
from genus.ladder import ApproximateDensity, Counted, GenerativeModel, Learned, TractableDensity
from genus.laws import divergences, models, sequences, transforms
from genus.laws.core import LawError
from genus.models.chain_rule import ChainRule
from genus.random import isolated
from genus.training import fit
from genus.transforms import Transform

__all__ = ["LawError", "check_divergence", "check_model", "check_transform"]

Law = Callable[[Any, Tensor, Tensor | None], bool]  # of the models of one class


def check_model(model: GenerativeModel, x: Tensor, c: Tensor | None = None) -> list[str]:
    """Hold a model to the laws of its kind of density; the model itself is left as it is.

    "files": saved and loaded it is the same; one whose nets were put in by hand is loaded by `load(path, into=)`. "samples":
    they are data of the space, a seed repeats them, and torch's own random numbers are left alone. "rows": the log-density of a
    row, or the bound on average, does not depend on the rows beside it. Of a chain rule, "conditionals": they add up to the
    log-density; "causality": none sees its own value or a later one; "steps": drawing position by position follows them.
    "mass": the probabilities of all data sum to 1, where they are few enough to be enumerated. "density": samples follow the
    log-density, context by context, and its mass is 1: for any q the mean of p / (p + q) over samples of p and that over
    samples of q add up to the mass of p; q is a mixture fitted to samples. "bound": likewise, of the evidence, whose mass is 1
    at most. "gradients": every loss is finite and reaches its parameters, and every parameter belongs to one.

    Args:
        model: of any family, trained or not.
        x: data of its space, (B, *shape), some dozens of rows.
        c: their context, (B, *context.shape).

    Returns:
        The laws that were checked and hold, by name. "density" and "bound" are missing where q is too unlike the model, as of
        large images or narrow shapes, and of sequences of numbers.

    Raises:
        LawError: one does not hold.
        DataError: there are no rows, or no data of the model's space.
    """
    x, c = model._check(x, c)
    if len(x) == 0:
        raise DataError("A model is checked by some rows; x has none.")
    model = copy.deepcopy(model)
    if isinstance(model, Counted | Learned):
        if model.untrained:
            fit(model, x if c is None else (x, c), validation=None, progress=False)
    elif model.untrained:
        with isolated(0):
            model.initialise(x, c)
    model.eval()
    laws: dict[str, Law] = {"files": models.files_keep_the_model, "samples": models.samples_are_data}
    if isinstance(model, ApproximateDensity):
        laws["rows"] = models.rows_are_independent
    if isinstance(model, ChainRule):
        laws["conditionals"] = sequences.conditionals_add_up
        laws["causality"] = sequences.conditionals_see_the_past_alone
        laws["steps"] = sequences.steps_are_the_parallel_pass
    if isinstance(model, TractableDensity):
        laws |= {"mass": models.mass_is_one, "density": models.samples_follow_the_density}
    elif isinstance(model, ApproximateDensity):
        laws["bound"] = models.evidence_has_mass_one_at_most
    if not isinstance(model, Counted | Learned):
        laws["gradients"] = models.gradients_reach_every_parameter
    with isolated(0):
        return [name for name, law in laws.items() if law(model, x, c)]


def check_transform(transform: Transform, x: Tensor, c: Tensor | None = None) -> list[str]:
    """Hold a transform to its contract, in double precision; the transform itself is left as it is.

    "inverse": forward and inverse undo one another, and their log-determinants are opposite. "rows": a row does not depend on
    those beside it, and none or one will do. "log-determinant": it is that of the Jacobian. "gradients": in the input and in
    the weights, of forward and of inverse, they are what finite differences say. "allow_missing": where it claims to allow
    missing numbers, these stay missing, and the others are unmoved by them. "files": described, built and given its weights it
    is the same.

    Args:
        transform: with weights that are not all 0, or its law is that of the identity.
        x: (B, *shape), some rows of what it is made for.
        c: context features, (B, context_dim).

    Returns:
        The laws that were checked and hold, by name. "log-determinant" is missing where x has more than 200 coordinates.

    Raises:
        LawError: one does not hold.
        DataError: there are no rows.

    >>> from genus.transforms import Linear
    >>> check_transform(Linear(3), torch.randn(10, 3))
    ['inverse', 'rows', 'log-determinant', 'gradients', 'files']
    """
    if len(x) == 0:
        raise DataError("A transform is checked by some rows; x has none.")
    transform, x = copy.deepcopy(transform).double().eval(), x.double()
    c = None if c is None else c.double()
    with isolated(0):
        with torch.no_grad():
            transforms.inverse_leads_back(transform, x, c)
            transforms.rows_are_independent(transform, x, c)
        laws = ["inverse", "rows"]
        if transforms.log_determinant_is_of_the_jacobian(transform, x, c):
            laws.append("log-determinant")
        transforms.gradients_are_finite_differences(transform, x[:3], None if c is None else c[:3])
        laws.append("gradients")
        if transforms.missing_numbers_stay_missing(transform, x, c):
            laws.append("allow_missing")
        with torch.no_grad():
            transforms.rebuilt_it_is_the_same(transform, x, c)
    return [*laws, "files"]


def check_divergence(divergence: FDivergence | Game) -> list[str]:
    """Hold an f-divergence, or a game of a critic and a generator, to its definition.

    Of a divergence, "convexity": f(1) = 0 and f is convex; "limits": at 0 and infinity they are f's; "conjugate": it is the
    supremum of u T - f(u); "witness": the best one gives the divergence; "closed form": between normals it is what quadrature
    says. Of a game, "critic": the best critic's loss gives the distance that the game estimates, and the generator's loss is
    lower where its rows are scored as real ones are.

    Returns:
        The laws that were checked and hold, by name: "closed form" where there is one, "critic" where the distance is known.

    Raises:
        LawError: one does not hold.

    >>> from genus.divergences import DIVERGENCES, GAMES
    >>> check_divergence(DIVERGENCES["kl"]), check_divergence(GAMES["hinge"])
    (['convexity', 'limits', 'conjugate', 'witness', 'closed form'], ['critic'])
    """
    if isinstance(divergence, Game):
        return ["critic"] if divergences.the_best_critic_gives_the_distance(divergence) else []
    divergences.f_is_convex_and_zero_at_one(divergence)
    divergences.limits_are_those_of_f(divergence)
    divergences.conjugate_is_the_supremum(divergence)
    divergences.the_best_witness_gives_the_divergence(divergence)
    closed = ["closed form"] if divergences.closed_form_is_quadrature(divergence) else []
    return ["convexity", "limits", "conjugate", "witness", *closed]
