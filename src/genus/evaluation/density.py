"""Check the density of a family that is not built in, on the spot: what it says is exact is no better than its mass."""

from __future__ import annotations

from torch import Tensor

from genus.evaluation.findings import Finding
from genus.ladder import ApproximateDensity, GenerativeModel, TractableDensity
from genus.laws.core import LawError
from genus.laws.models import evidence_has_mass_one_at_most, rows_are_independent, samples_follow_the_density

__all__ = ["find_wrong_density"]

ROWS = 100  # held-out rows that are scored alone and in company


def find_wrong_density(model: GenerativeModel, x: Tensor, c: Tensor | None) -> list[Finding]:
    """Return an accusation where a fitted density breaks a law, and a flaw where its mass could not be measured.

    A row is scored alone and beside others; the mass is that of `genus.testing`: for a companion density q fitted to draws of
    the model, the means of p / (p + q) over draws of either add up to it. It is 1 of an exact density and 1 at most of the
    evidence behind a bound. Log-densities in bits, without a Jacobian or above what the model's own draws get are found so, and
    an estimate that is sold as exact. The families of genus are held to the same laws by its tests.

    Args:
        model: fitted.
        x: (N, *shape), held-out rows.
        c: their context, (N, *context.shape).
    """
    if not isinstance(model, ApproximateDensity) or type(model).__module__.startswith("genus."):
        return []
    exact = isinstance(model, TractableDensity)
    law = samples_follow_the_density if exact else evidence_has_mass_one_at_most
    try:
        rows_are_independent(model, x[:ROWS], None if c is None else c[:ROWS])
        checked = law(model, x, c)  # type: ignore[arg-type]
    except LawError as error:
        return [Finding("accused", "density", str(error).rstrip("."))]
    if checked:
        return []
    label = "exact density" if exact else "bound"
    return [Finding("flaw", "unchecked", f"its {label} was not checked, since no companion density is like enough to it")]
