"""The families of a comparison in order, each with a sentence: how good its density is, and what its place is worth."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from genus.evaluation.figures import number, paired, plus_minus
from genus.evaluation.intervals import FEW_ROWS, LEVEL
from genus.evaluation.results import GIVEN, Results, Row
from genus.evaluation.wording import accusation, listed, measure

__all__ = ["Place", "UNTRAINED", "differs", "distance", "hurried", "ranking", "real_rows", "tied", "too_few",
           "untrained"]  # fmt: skip

ROUNDING = 1e-9  # nats
FEW_STEPS = 50  # below which a training has hardly started
UNTRAINED = "not trained: the clock ended it before its first step"
MEANT = 0.5  # nats a row, a difference that a practitioner would not want to miss: 1.6 times as likely
MEANT_SHARE = 0.02  # of a nat for each coordinate, likewise


class Place(NamedTuple):
    """Hold one line of the ranking.

    Args:
        number: 1 for the best and those tied with it; None for a family that was not fitted, and for one without a density
            where others have one, since the two scales cannot be compared.
        by: the measure that the family is ranked by: its log-density, its samples alone; "accused" where it is left out
            for what was found; or nothing.
        tied: True where it shares the first place: neither it nor any family above it differs from the best beyond its error.
        row: the numbers of the family.
        sentence: the explanation of the place, for a practitioner.
    """

    number: int | None
    by: Literal["density", "samples", "accused", "nothing"]
    tied: bool
    row: Row
    sentence: str

    @property
    def mark(self) -> str:
        """Return the place as it is printed: "1", "1=" in a tie, "–" without one."""
        return "–" if self.number is None else f"{self.number}{'=' if self.tied else ''}"


def differs(difference: float | None, se: float | None, p: float | None) -> bool:
    """Return True where a difference is beyond its error: by its corrected probability, or else by two standard errors."""
    if difference is None:
        return True
    return p < LEVEL if p is not None else abs(difference) > max(2 * (se or 0.0), ROUNDING)


def tied(row: Row) -> bool:
    """Return True where a row's paired difference to the best row is not beyond its error."""
    return not differs(row.best_difference, row.best_difference_se, row.best_difference_p)


def too_few(results: Results, row: Row) -> bool:
    """Return True where held-out rows are too few to tell a family from the best, rather than the two being alike."""
    units = results.held_out_groups or results.test_rows
    if row.shows is None or not tied(row):
        return False
    # Rows should be able to show a difference of this size, in nats a row, before a tie is called one.
    return units < FEW_ROWS or row.shows > max(MEANT, MEANT_SHARE * results.space.dim)


def distance(results: Results, key: str, value: float) -> float:
    """Return how far a metric's value is from perfect: lower is better, whichever direction the metric has.

    Perfect is the metric's ideal, or the value of other real rows where that is farther from the best end of the scale: a
    finite number of real rows does not reach the ideal either. Values beyond perfect have distance 0, since a classifier that
    does worse than chance tells samples from real rows no better than one at chance.
    """
    if math.isnan(value):
        return math.inf
    metric = results.metrics.get(key)
    ideal, better = (None, "lower") if metric is None else (metric.ideal, metric.better)
    real = results.references.get("real against real", {}).get(key, math.nan)
    if not math.isnan(real):
        toward = {"lower": max, "higher": min}.get(better)
        ideal = real if ideal is None or toward is None else toward(ideal, real)
    if better == "closer":
        return abs(value - (ideal or 0.0))
    away = (value if ideal is None else value - ideal) * (-1 if better == "higher" else 1)
    return away if ideal is None else max(away, 0.0)


def untrained(row: Row) -> bool:
    """Return True where the clock ended a training before its first step, so that nothing was learned."""
    return row.status == "ok" and row.by_steps and "max_seconds" in row.stopped and row.steps is not None and row.steps < 1


def hurried(row: Row) -> bool:
    """Return True where the clock ended a training after a few steps, so that the place tells nothing about the family."""
    return row.by_steps and "max_seconds" in row.stopped and row.steps is not None and row.steps < FEW_STEPS


def ranking(results: Results) -> list[Place]:
    """Return the families in order, each with a sentence: densities by their means, then by samples alone, then those that are
    left out for what was found, then those that were not trained, refused or failed.
    """
    fitted = [row for row in results.rows if row.status == "ok" and not row.accused and not untrained(row)]
    dense = sorted((row for row in fitted if row.has_density), key=lambda row: -row.log_density)  # type: ignore[operator]
    first = 1 + next((i for i, row in enumerate(dense[1:]) if not tied(row)), len(dense[1:]))
    places = [
        Place(1 if i <= first else i, "density", first > 1 and i <= first, row, _density_sentence(results, row, i > first))
        for i, row in enumerate(dense, 1)
    ]
    implicit = [row for row in fitted if not row.has_density]
    implicit.sort(key=lambda row: distance(results, results.samples_metric, row.metrics.get(results.samples_metric, math.nan)))
    for i, row in enumerate(implicit, 1):
        places.append(Place(None if dense else i, "samples", False, row, _samples_sentence(results, row)))
    places += [Place(None, "accused", False, row, accusation(row)) for row in results.rows if row.accused]
    places = [p._replace(sentence="; ".join([p.sentence, *_doubts(p.row)])) for p in places]
    places += [Place(None, "nothing", False, row, UNTRAINED) for row in results.rows if untrained(row) and not row.accused]
    others = sorted((row for row in results.rows if row.status != "ok"), key=lambda row: row.status != "refused")
    places += [Place(None, "nothing", False, row, row.reason or f"{row.status}, without a reason given") for row in others]
    return places


def _doubts(row: Row) -> list[str]:
    """Return what else is to be said of a row that was fitted: seeds that failed, a training that had no time."""
    cut = [f"stopped by the clock when it had hardly begun (steps: {row.steps:.0f})"] if hurried(row) else []
    telling = [f"given away most by {listed(list(row.telling))}"] if row.telling else []
    return [*telling, *([row.reason] if row.reason else []), *cut]


def _density_sentence(results: Results, row: Row, numbered: bool) -> str:
    if row.label == "bound":
        kind = "bound: the true log-density is at least this"
    elif row.label == "exact":
        kind = "exact density"
    else:
        kind = f"{row.label}: more samples would raise it"
    parts = [kind, _against_baseline(results, row)]
    if row.estimate is not None:
        samples = f" from {row.estimate_samples} importance samples" if row.estimate_samples else ""
        parts.append(f"the estimate{samples} is {number(row.estimate)} nats a row")
    if numbered and tied(row):
        parts.append(f"not told from the first ({paired(row.best_difference, row.best_difference_se)} nats a row)")
    if row.without_one_row is not None:
        parts.append(
            f"one held-out row decides its difference to the first: {number(row.best_difference)} nats a row with it,"
            f" {number(row.without_one_row)} without"
        )
    return "; ".join(part for part in parts if part)


def _against_baseline(results: Results, row: Row) -> str:
    if row.family == results.baseline_family:
        return "the baseline that the others are measured against"
    if row.baseline_difference is None:
        return ""
    gap, se = row.baseline_difference, row.baseline_difference_se or 0.0
    if not differs(gap, se, row.baseline_difference_p):
        if abs(gap) > 2 * se:
            return f"perhaps other than {results.baseline}: skewed rows and so many families leave {paired(gap, se)} nats open"
        return f"no different from {results.baseline} ({paired(gap, se)} nats a row)"
    side = "better" if gap > 0 else "worse"
    return f"{plus_minus(abs(gap), se)} nats {side} than {results.baseline}"


def _samples_sentence(results: Results, row: Row) -> str:
    if row.group == GIVEN:
        kind = "samples alone"
    elif row.label == "none":
        kind = "no density (implicit): compared by samples alone"
    else:
        kind = "no finite log-density of the held-out rows: compared by samples alone"
    auc = row.metrics.get(results.samples_metric, math.nan)
    told = "" if math.isnan(auc) else f"; {measure(results.samples_metric).tells.format(number(auc, 2))}"
    real = real_rows(results)
    return f"{kind}{told}{f' ({real})' if real else ''}"


def real_rows(results: Results) -> str:
    """Return "real against real 0.50", or nothing where it was not measured."""
    value = results.references.get("real against real", {}).get(results.samples_metric, math.nan)
    return "" if math.isnan(value) else f"real against real {number(value, 2)}"
