"""Make the row of a family from its trials: means over seeds, errors over rows and seeds, differences paired by row."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from genus.codec import Codec
from genus.codec.units import Unit
from genus.data import Dataset
from genus.evaluation.copying import holm
from genus.evaluation.findings import Finding
from genus.evaluation.intervals import Difference, by_group, compare_rows, mean_error, spread_error
from genus.evaluation.results import Row
from genus.evaluation.trial import EVIDENCE, Trial
from genus.ladder import Composed, Counted, GenerativeModel, Learned
from genus.registry import refusal
from genus.space import Space

__all__ = ["BASELINES", "baseline_of", "family_row", "names", "pair_rows", "trials_row"]

# The families of which one always takes part, in words.
BASELINES = {
    "independent": "independent columns",
    "markov": "the Markov chain (counts of n-grams)",
    "independent-steps": "independent steps",
}


def baseline_of(space: Space, context: Space | None) -> str:
    """Return the name of the baseline: n-gram counts for sequences of symbols, otherwise a family of independent columns."""
    if not space.sequence:
        return "independent"
    return "markov" if refusal("markov", space, context) is None else "independent-steps"


def family_row(family: type[GenerativeModel], trials: Sequence[Trial], held: Dataset) -> Row:
    """Return the row of a family: means over the trials that did not fail."""
    label = "bound" if not family.accepts(held.space, held.context) else family.info.likelihood
    row = trials_row(names(family), label, trials, held)
    row.by_steps = not issubclass(family, Counted | Learned | Composed)
    return row


def trials_row(named: tuple[str, str, str], label: str, trials: Sequence[Trial], held: Dataset) -> Row:
    """Return the row of trials: means over those that did not fail.

    Args:
        named: the name, the title and the branch of the taxonomy.
        label: of the log-density.
        trials: one a seed.
        held: the held-out rows.
    """
    good = [trial for trial in trials if not trial.error]
    if not good:
        wrong = next((trial for trial in trials if not trial.not_begun), None)
        if wrong is None:
            return Row(*named, status="given up", reason=f"not trained: {trials[0].error}")
        return Row(*named, status="failed", reason=wrong.error)
    row = Row(
        *named,
        label=label,
        metrics={key: float(np.mean([t.metrics[key] for t in good])) for key in good[0].metrics},
        metrics_spread={key: _deviation([t.metrics[key] for t in good]) for key in good[0].metrics} if len(good) > 1 else {},
        metrics_error={key: _metric_error(good, key) for key in good[0].errors},
        seconds=float(np.mean([t.history.seconds for t in good])),
        judging_seconds=float(np.mean([t.judging_seconds for t in good])),
        processor_seconds=float(np.mean([t.processor_seconds for t in good])),
        memory=max(t.memory for t in good),
        steps=float(np.mean([t.history.steps for t in good])),
        parameters=good[0].parameters,
        stopped=", ".join(dict.fromkeys(t.history.stopped for t in good)),
        seeds=[t.seed for t in good],
        histories=[t.history for t in good],
        samples=good[0].samples,
        findings=_lasting([t.findings for t in good]) if named[0] not in BASELINES else [],
        codes=good[0].codes,
        telling=good[0].telling if named[0] not in BASELINES else {},
    )
    if len(good) < len(trials):
        bad = min((trial for trial in trials if trial.error), key=lambda trial: trial.not_begun)
        what = "had no time" if bad.not_begun else "failed"
        row.reason = f"{len(trials) - len(good)} of {len(trials)} seeds {what}: {bad.error}"
    if good[0].log_density is None:
        return row
    values = _by_seed(good)
    row.log_density, row.log_density_se = float(values.mean()), _density_error(values, held.groups)
    unit = Unit.of(held.codec or Codec(held.space), held.x)
    row.bits_per_dim = unit.bits(row.log_density)
    row.seed_spread = _deviation(values.mean(1)) if len(values) > 1 else None
    row.train_log_density = float(np.mean([t.train_log_density for t in good if t.train_log_density is not None]))
    if good[0].online is not None:
        row.online = float(np.mean([t.online for t in good if t.online is not None]))
        row.online_bits_per_dim = unit.bits(row.online)
    if good[0].estimate is not None:
        row.estimate = float(np.mean([t.estimate for t in good if t.estimate is not None]))
        row.estimate_samples = EVIDENCE
        row.estimate_rows = min(t.estimate_rows for t in good if t.estimate_rows is not None)
    return row


def pair_rows(rows: Sequence[Row], trials: Sequence[Trial], baseline: str, groups: Tensor | None = None) -> None:
    """Set the differences from the baseline and from the best family, paired by row, so that hard rows cancel.

    Probabilities are corrected for the number of families, of each of the two comparisons (Holm).

    Args:
        rows: of the families.
        trials: that they are the means of.
        baseline: the family that is the floor.
        groups: (held-out rows,), equal for rows that belong together; None: each by itself.
    """
    dense = [row for row in rows if row.has_density]
    values = {row.family: _by_seed([t for t in trials if t.family == row.family and not t.error]) for row in dense}
    if not dense:
        return
    together = None if groups is None else groups.cpu().numpy()
    best = max(dense, key=lambda row: (not row.accused, row.log_density or -math.inf))

    refitted = {row.family: row.stopped != "closed form" for row in dense}

    def differences(other: str, rest: list[Row]) -> dict[str, tuple[Difference, float]]:
        pairs = [(row.family, other) for row in rest]
        found = [compare_rows(values[a], values[b], together, (refitted[a], refitted[b])) for a, b in pairs]
        corrected = holm([one.p for one in found])
        return {row.family: pair for row, *pair in zip(rest, found, corrected, strict=True)}  # type: ignore[misc]

    if baseline in values:
        over = differences(baseline, [row for row in dense if row.family != baseline])
        for row in dense:
            row.baseline_difference, row.baseline_difference_se = 0.0, 0.0
            if row.family != baseline:
                found, row.baseline_difference_p = over[row.family]
                row.baseline_difference, row.baseline_difference_se = found.value, found.se
    behind = differences(best.family, [row for row in dense if row is not best])
    best.best_difference, best.best_difference_se = 0.0, 0.0
    for row in dense:
        if row is best:
            continue
        found, row.best_difference_p = behind[row.family]
        row.best_difference, row.best_difference_se = found.value, found.se
        row.best_difference_low, row.best_difference_high = found.low, found.high
        row.best_difference_median, row.rows_lost, row.shows = found.median, 1 - found.won, found.shows
        row.without_one_row = found.without if found.one_row else None


def names(family: type[GenerativeModel]) -> tuple[str, str, str]:
    """Return a family's name, its title and its branch of the taxonomy."""
    return family.name, family.info.title, f"{family.info.density} · {family.info.group}"


def _lasting(found: Sequence[Sequence[Finding]]) -> list[Finding]:
    """Return the findings that show in half of the seeds at least, as the first of these has them."""
    first = {(one.kind, one.test): one for findings in reversed(found) for one in findings}
    times = {key: sum(any((one.kind, one.test) == key for one in findings) for findings in found) for key in first}
    lasting = [one for key, one in first.items() if 2 * times[key] >= len(found)]
    return sorted(lasting, key=lambda one: one.kind)


def _deviation(values: Sequence[float] | np.ndarray) -> float:
    return float(np.std(values, ddof=1))


def _by_seed(trials: Sequence[Trial]) -> np.ndarray:
    """Return (seeds, held-out rows): each row's log-density by each seed."""
    return np.stack([t.log_density for t in trials if t.log_density is not None])


def _density_error(values: np.ndarray, groups: Tensor | None) -> float:
    """Return the standard error of the mean log-density (seeds, rows), of rows, or groups of them, and of seeds."""
    rows = values.mean(0)
    units = rows if groups is None else by_group(rows, groups.cpu().numpy())
    return math.hypot(mean_error(units)[1], spread_error(values.mean(1)))


def _metric_error(trials: Sequence[Trial], key: str) -> float:
    """Return the standard error of a metric's mean: the real rows are the same for all seeds, the samples are not."""
    rows = float(np.sqrt(np.mean([t.errors[key] ** 2 for t in trials])))
    return math.hypot(rows, spread_error(np.array([t.metrics[key] for t in trials])))
