"""Write sentences on samples: their ranking where there is no density, and what was found wrong with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from genus.evaluation.figures import number
from genus.evaluation.findings import Finding
from genus.evaluation.intervals import folds_auc_error
from genus.evaluation.results import Row

__all__ = ["accusation", "findings_remark", "listed", "measure", "shown", "told_apart", "with_verb"]


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def with_verb(words: Sequence[str], singular: str, plural: str) -> str:
    """Return words as a list and the verb that goes with their number: "a is", "a and b are"."""
    return f"{listed(words)} {singular if len(words) == 1 else plural}"


def accusation(row: Row) -> str:
    """Return why a row is left out of the ranking."""
    return f"left out of the ranking: {'; '.join(finding.sentence for finding in row.accused)}"


def findings_remark(rows: Sequence[Row]) -> list[str]:
    """Return a sentence for every row that is left out of the ranking, and one that names the rows with flaws."""
    said = [f"{row.family} is {accusation(row)}." for row in rows if row.accused]
    flawed = [row.family for row in rows if any(finding.kind == "flaw" for finding in row.findings)]
    if flawed:
        said.append(f"{with_verb(flawed, 'has', 'have')} flaws that are named below.")
    return said


def shown(rows: Sequence[Row]) -> list[tuple[str, Finding]]:
    """Return what a reader should see first: every accusation, then every flaw, each with the name of its row."""
    found = [(row.family, finding) for row in rows for finding in row.findings if finding.kind != "repair"]
    return sorted(found, key=lambda pair: pair[1].kind != "accused")


class Measure(NamedTuple):
    """Hold the words for a metric that orders samples.

    Args:
        unit: what stands below the number.
        ranked: how samples are ranked by it.
        tells: a sentence's end: what is so of samples, with {} for the number.
        first: the sentence of the first, with {} for its name and then for the number.
        further: the beginning of a sentence on those behind it.
        perfect: what the best number means.
    """

    unit: str
    ranked: str
    tells: str
    first: str
    further: str
    perfect: str


_TREES = Measure(
    "classifier’s AUC",
    "by how well a classifier tells their samples from real rows",
    "a classifier tells them from real rows with AUC {}",
    "A classifier tells the samples of {} from real rows with AUC {}",
    "It is easier with",
    "0.5 is not at all",
)
MEASURES = {
    "c2st": _TREES,
    "ngram_auc": _TREES._replace(
        tells="a classifier of n-grams tells them from real rows with AUC {}",
        first="A classifier of n-grams tells the samples of {} from real rows with AUC {}",
    ),
    "kernel_distance": Measure(
        "kernel distance",
        "by how far the features of their samples lie from those of real rows",
        "the kernel distance of their features from those of real rows is {}",
        "The samples of {} have the kernel distance {} from real rows in their features",
        "Farther away are",
        "0 is the same",
    ),
}


def measure(key: str) -> Measure:
    """Return the words for a metric that orders samples."""
    return MEASURES.get(key, _TREES)


def told_apart(rows: Sequence[Row], key: str, real: float, n: int) -> list[str]:
    """Return how hard samples are to tell from real rows, in order.

    Args:
        rows: in their order, the best first.
        key: of the metric that orders them.
        real: what other real rows have; NaN where it was not measured.
        n: how many rows of each kind a classifier had.
    """
    values = {row.family: row.metrics[key] for row in rows if math.isfinite(row.metrics.get(key, math.nan))}
    if not values:
        return ["No samples were compared with real rows."]
    names = [row.family for row in rows if row.family in values]
    errors = {row.family: row.metrics_error.get(key) for row in rows}
    first, words = names[0], measure(key)

    def error(name: str) -> float:
        return errors[name] or (0.0 if key == "kernel_distance" else folds_auc_error(n, values[first]))

    beside = "" if math.isnan(real) else f"; other real rows have {number(real, 2)}"
    said = [f"{words.first.format(first, number(values[first], 2))} ({words.perfect}{beside})."]
    near = [name for name in names[1:] if values[name] - values[first] <= 2 * math.hypot(error(first), error(name))]
    far = [name for name in names[1:] if name not in near]
    if near:
        alike = with_verb([f"{name} ({number(values[name], 2)})" for name in near], "is", "are")
        said.append(f"{alike} too close to it for an order.")
    if far:
        said.append(f"{words.further} {listed([f'{name} ({number(values[name], 2)})' for name in far])}.")
    return said
