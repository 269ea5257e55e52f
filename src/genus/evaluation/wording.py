"""Sentences on samples: their order where no density is there, and what was found wrong with them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from genus.evaluation.findings import Finding
from genus.evaluation.intervals import auc_error
from genus.evaluation.results import Row

__all__ = ["accusation", "findings_remark", "listed", "shown", "told_apart"]


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def accusation(row: Row) -> str:
    """Return why a row is left out of the ranking."""
    return f"left out of the ranking: {'; '.join(finding.sentence for finding in row.accused)}"


def findings_remark(rows: Sequence[Row]) -> list[str]:
    """Return a sentence for every row that is left out of the ranking, and one that names the rows with flaws."""
    said = [f"{row.family} is {accusation(row)}." for row in rows if row.accused]
    flawed = [row.family for row in rows if any(finding.kind == "flaw" for finding in row.findings)]
    if flawed:
        said.append(f"{listed(flawed)} {'has' if len(flawed) == 1 else 'have'} flaws that are named below.")
    return said


def shown(rows: Sequence[Row]) -> list[tuple[str, Finding]]:
    """Return what a reader should see first: every accusation, then every flaw, each with the name of its row."""
    found = [(row.family, finding) for row in rows for finding in row.findings if finding.kind != "repair"]
    return sorted(found, key=lambda pair: pair[1].kind != "accused")


def told_apart(rows: Sequence[Row], key: str, real: float, n: int) -> list[str]:
    """Return how hard samples are to tell from real rows, in order.

    Args:
        rows: in their order, the best first.
        key: of the metric, a classifier's AUC.
        real: what other real rows have; NaN where it was not measured.
        n: how many rows of each kind the classifier had.
    """
    values = {row.family: row.metrics[key] for row in rows if math.isfinite(row.metrics.get(key, math.nan))}
    if not values:
        return ["No samples were compared with real rows."]
    names = [row.family for row in rows if row.family in values]
    first = names[0]
    beside = "" if math.isnan(real) else f"; other real rows have {real:.2f}"
    said = [
        f"A classifier tells the samples of {first} from real rows with AUC {values[first]:.2f} (0.5 is not at all{beside})."
    ]
    near = [name for name in names[1:] if values[name] - values[first] <= 2 * math.sqrt(2) * auc_error(n, values[first])]
    far = [name for name in names[1:] if name not in near]
    if near:
        alike = listed([f"{name} ({values[name]:.2f})" for name in near])
        said.append(f"{alike} {'is' if len(near) == 1 else 'are'} too close to it for an order.")
    if far:
        said.append(f"It is easier with {listed([f'{name} ({values[name]:.2f})' for name in far])}.")
    return said
