"""Check the densities of fitted families: one that claims to be exact, or a bound, must not integrate to more than 1."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from genus.evaluation.findings import Finding
from genus.ladder import ApproximateDensity, GenerativeModel, TractableDensity, map_batches
from genus.laws.core import LawError
from genus.laws.models import evidence_has_mass_one_at_most, rows_are_independent, samples_follow_the_density

__all__ = ["find_wrong_density"]

ROWS = 100  # held-out rows that are scored alone and in company
BOUNDED, WEIGHTS, REPEATS = 50, 64, 8  # held-out rows whose bound is compared with its evidence, by so many draws of each
CHEAP, LONG = 1_000, 64  # draws, and coordinates of a row, up to which a built-in density is checked
SECONDS = 3.0  # that a built-in density may take to score the draws
SIGMAS = 5.0


def find_wrong_density(model: GenerativeModel, x: Tensor, c: Tensor | None, seconds: float = SECONDS) -> list[Finding]:
    """Return an accusation where a fitted density breaks a law, and a flaw where its mass could not be measured.

    A row is scored alone and beside others; the mass is that of `genus.testing`: for a companion density q fitted to draws of
    the model, the means of p / (p + q) over draws of either add up to it. It is 1 of an exact density and 1 at most of the
    evidence behind a bound. Log-densities in bits, without a Jacobian or above what the model's own draws get are found so, and
    an estimate that is sold as exact. A bound must lie below the evidence by its own weights: that of a variational
    autoencoder without its divergence from the prior does not.

    The families of genus are held to the same laws by its tests. Here they are checked where that is cheap, with fewer draws:
    rows of at most 64 columns that are scored within three seconds, and every bound; nothing is said where it is not.

    Args:
        model: fitted.
        x: (N, *shape), held-out rows.
        c: their context, (N, *context.shape).
        seconds: that a built-in density may take, three at most.
    """
    if not isinstance(model, ApproximateDensity):
        return []
    built_in = type(model).__module__.startswith("genus.")
    exact = isinstance(model, TractableDensity)
    law = samples_follow_the_density if exact else evidence_has_mass_one_at_most
    checked = False
    try:
        if not exact:
            _below_the_evidence(model, x[:BOUNDED], None if c is None else c[:BOUNDED])
        if not built_in:
            rows_are_independent(model, x[:ROWS], None if c is None else c[:ROWS])
        if not built_in or _is_cheap(model, x, c, min(seconds, SECONDS)):
            checked = law(model, x, c, CHEAP if built_in else None)  # type: ignore[arg-type]
    except LawError as error:
        return [Finding("accused", "density", str(error).rstrip("."))]
    if checked or built_in:
        return []
    label = "exact density" if exact else "bound"
    return [Finding("flaw", "unchecked", f"its {label} was not checked, since no companion density is like enough to it")]


@torch.no_grad()
def _below_the_evidence(model: ApproximateDensity, x: Tensor, c: Tensor | None) -> None:
    """Raise a `LawError` where the mean bound of rows lies above the evidence that importance samples give."""
    if not len(x):
        return
    bounds = [map_batches(lambda x, c, i=i: model.elbo(x, c, seed=i), x, c) for i in range(REPEATS)]
    evidence = map_batches(lambda x, c: model.log_evidence(x, c, WEIGHTS, seed=REPEATS), x, c).double()
    bound = torch.stack(bounds).double()
    above = bound.mean(0) - evidence
    usable = above[above.isfinite()]
    if len(usable) < 2:
        return
    error = math.hypot(float(usable.std()) / math.sqrt(len(usable)), float(bound.std(0).mean()) / math.sqrt(len(x)))
    if float(usable.mean()) > SIGMAS * error + 1e-3 * (1 + abs(float(evidence[evidence.isfinite()].mean()))):
        raise LawError(
            f"{type(model).__name__}: its bound is none: it lies {float(usable.mean()):.3g} nats a row above the evidence by"
            f" {WEIGHTS} importance samples, as that of a variational autoencoder without its divergence from the prior does"
        )


@torch.no_grad()
def _is_cheap(model: ApproximateDensity, x: Tensor, c: Tensor | None, seconds: float) -> bool:
    """Return whether the draws of the law are scored within the time that a built-in density has."""
    if model.space.sequence or model.space.dim > LONG:
        return False
    few = min(len(x), ROWS)
    begin = time.perf_counter()
    if isinstance(model, TractableDensity):
        model.log_prob(x[:few], None if c is None else c[:few])
    else:
        model.log_evidence(x[:few], None if c is None else c[:few], samples=8, seed=0)
    model.sample(few, None if c is None else c[:few], seed=0)
    return (time.perf_counter() - begin) * 3 * CHEAP / max(few, 1) < seconds
