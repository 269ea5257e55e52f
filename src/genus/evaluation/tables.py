"""The tables and bars of the page: which numbers stand where, and which is best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from genus.codec.units import Unit, element
from genus.evaluation.figures import number, plus_minus
from genus.evaluation.metrics import METRICS, Metric
from genus.evaluation.ranking import Place, distance
from genus.evaluation.results import Results, Row

__all__ = ["Bar", "Table", "bars", "measured", "tables"]

KINDS = {
    "features": (
        "Samples by their features",
        "As pictures, sounds and texts are judged: equal numbers of samples and real rows.",
    ),
    "fidelity": (
        "Samples against real rows",
        "Equal numbers of samples and held-out rows; real against real is what perfect samples would score. Under each name:"
        " which way is better, up to where ever more perfect samples would come.",
    ),
    "utility": ("Usefulness of the samples", "A predictor is trained on samples only and tested on real rows."),
    "memorisation": (
        "Memorisation",
        "Are the samples new, or training rows in disguise? A copy of the training set shows what copying scores.",
    ),
    "membership": (
        "Membership attacks",
        "How well an attacker who has the samples, or the model, tells training rows from other real rows: AUC 0.5 is chance."
        " No attack is the last one, so a low number is no promise of privacy.",
    ),
    "novelty": (
        "Samples found again",
        "As shares of the samples. Perfect samples would stand in the training set as often as held-out rows do.",
    ),
}
COPIES = ("memorisation", "membership", "novelty")  # kinds that tell a copier from an honest model
NO_CONTEST = COPIES  # being far from the data is no merit
BOUNDS = ("jensen_shannon", "w1_dual")  # from below: a low one may be a critic's fault


class Cell(NamedTuple):
    """Hold the text of a cell, a smaller text beside it, and whether it is the best of its column."""

    text: str
    aside: str = ""
    best: bool = False


class Line(NamedTuple):
    """Hold a line of a table: a family's, or that of reference rows."""

    name: str
    kind: str  # "family" or "reference"
    cells: list[Cell]


class Column(NamedTuple):
    """Hold the head of a column, below it how to read its numbers, and what they are, in a sentence."""

    title: str
    hint: str
    meaning: str


class Table(NamedTuple):
    """Hold a table of the page."""

    title: str
    note: str
    columns: list[Column]
    lines: list[Line]


class Bar(NamedTuple):
    """Place a difference to the baseline on the common scale of all, in percent of its width."""

    zero: float
    left: float
    width: float
    low: float
    high: float
    worse: bool


def tables(results: Results, places: Sequence[Place]) -> list[Table]:
    """Return the table of log-densities, then one for every kind of metric, reference rows below the families."""
    return [*_density_table(results, places), *_metric_tables(results, places)]


def bars(places: Sequence[Place]) -> dict[str, Bar]:
    """Return the bar of each family by name; no bars where nothing differs from the baseline."""
    gaps = {
        place.row.family: (place.row.baseline_difference, 2 * (place.row.baseline_difference_se or 0.0))
        for place in places
        if place.by == "density" and place.row.baseline_difference is not None
    }
    if not any(gap for gap, _ in gaps.values()):
        return {}
    low = min(0.0, *(gap - se for gap, se in gaps.values()))
    high = max(0.0, *(gap + se for gap, se in gaps.values()))

    def at(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    return {
        name: Bar(at(0), at(min(gap, 0)), round(at(max(gap, 0)) - at(min(gap, 0)), 2), at(gap - se), at(gap + se), gap < 0)
        for name, (gap, se) in gaps.items()
    }


def measured(results: Results) -> list[str]:
    """Return the keys of the metrics that some family or reference row has."""
    present = {key for metrics in (*(row.metrics for row in results.rows), *results.references.values()) for key in metrics}
    return [key for key in results.metrics if key in present]


def _density_table(results: Results, places: Sequence[Place]) -> list[Table]:
    if not any(place.row.has_density for place in places):
        return []
    estimates, sequence = any(place.row.estimate is not None for place in places), results.space.sequence
    units = Unit.of(results.codec).is_shown
    columns = [
        Column("Log-density", "nats a row, higher is better", "The mean over held-out rows of log p(x)."),
        Column("Label", "", "What that number is: exact, a bound below the true one, or an estimate, which is below it too."),
        Column(f"Over {results.baseline}", "nats a row, paired", f"How much more that is than with {results.baseline}."),
        Column("To the best", "nats a row, paired", "How much less it is than with the best family."),
        Column(
            f"Bits a {element(results.codec)}",
            "lower is better",
            f"The bits that one {element(results.codec)} takes, by that density.",
        ),
        Column("Seed spread", "nats a row", "The standard deviation of the log-density over seeds."),
        Column("Overfitting", "training − held out", "How much more likely training rows are than held-out ones, nats a row."),
    ]
    online = any(place.row.online_bits_per_dim is not None for place in places)
    if online:
        hint = f"bits a {element(results.codec)}, not to be compared with others"
        columns.append(Column("Online", hint, "The same where the model also learns from held-out rows once they were scored."))
    if estimates:
        meaning = "A closer estimate of the log-density where that is a bound, by K samples a row."
        columns.insert(2, Column("Importance-weighted estimate", "nats a row", meaning))
    lines = []
    for place in places:
        row = place.row
        first = place.tied or (place is places[0] and len(places) > 1)
        cells = [
            Cell(*_split(row.log_density, row.log_density_se), best=first and row.has_density),
            Cell(row.label),
            _gap(
                row.baseline_difference,
                row.baseline_difference_se,
                zero="the baseline" if row.family == results.baseline_family else "",
            ),
            _gap(
                row.best_difference, row.best_difference_se, zero="the best" if place is places[0] and row.has_density else ""
            ),
            Cell(number(row.bits_per_dim, 3), _nats(row.bits_per_dim) if units else ""),
            Cell(number(row.seed_spread)),
            Cell(_plus(row.gap)),
        ]
        if online:
            bits = row.online_bits_per_dim
            cells.append(Cell("" if bits is None else number(bits, 3), _nats(bits)))
        if estimates:
            cells.insert(2, Cell(number(row.estimate), _effort(results, row)))
        lines.append(Line(row.family, "family", cells))
    note = (
        "Of held-out rows, in the data’s own units, so every exact number may be compared with every other. "
        "A difference of 1 nat a row means that a held-out row is, in the geometric mean, e ≈ 2.7 times as likely."
    )
    if sequence:
        note += f" Bits a {element(results.codec)}: of all held-out rows together, ends included; beside it the same in nats."
        if not results.space.ends:
            note += f" Every row is scored by itself, so its first {element(results.codec)}s have little past to go by."
    if online:
        note += f" Online: the model also learns from each {element(results.codec)} of the held-out rows once it was scored."
    return [Table("Log-density", note, columns, lines)]


def _effort(results: Results, row: Row) -> str:
    """Return how many importance samples an estimate is of, and of how many rows where not of all."""
    if row.estimate is None or not row.estimate_samples:
        return ""
    few = row.estimate_rows is not None and row.estimate_rows < results.test_rows
    return f"K = {row.estimate_samples}" + (f", {row.estimate_rows:,} rows" if few else "")


def _metric_tables(results: Results, places: Sequence[Place]) -> list[Table]:
    used = measured(results)
    tables = []
    for kind in dict.fromkeys(results.metrics[key].kind for key in used):
        keys = [key for key in used if results.metrics[key].kind == kind]
        used_here = [results.metrics[key] for key in keys]
        columns = [Column(metric.title, _direction(metric), metric.description) for metric in used_here]
        winners = {key: _winners(results, key, places) for key in keys}
        decimals = {key: _decimals(results, key) for key in keys}
        lines = [
            Line(
                place.row.family,
                "family",
                [_metric_cell(place.row, key, decimals[key], place.row.family in winners[key]) for key in keys],
            )
            for place in places
        ]
        for name, values in results.references.items():
            if any(key in values for key in keys) and (kind in COPIES or "copy" not in name):
                lines.append(Line(name, "reference", [Cell(number(values.get(key), decimals[key])) for key in keys]))
        title, note = KINDS.get(kind, (kind.capitalize(), ""))
        if kind == "features" and results.features:
            note += f" By {results.features}."
        tables.append(Table(title, note, columns, lines))
    return tables


def _metric_cell(row: Row, key: str, decimals: int, best: bool) -> Cell:
    spread = row.metrics_error.get(key) or (row.metrics_spread.get(key) if len(row.seeds) > 1 else None)
    aside = f"± {spread:.{decimals}f}" if spread is not None and math.isfinite(spread) else ""
    return Cell(number(row.metrics.get(key), decimals), aside, best)


def _winners(results: Results, key: str, places: Sequence[Place]) -> set[str]:
    """Return the families closest to perfect, as far as errors can tell; none where all are alike, or no error is known."""
    ranked = [place.row for place in places if not place.row.accused]
    rows = [row for row in ranked if math.isfinite(row.metrics.get(key, math.nan))]
    if len(rows) < 2 or results.metrics[key].kind in NO_CONTEST or key in BOUNDS:
        return set()
    rows.sort(key=lambda row: distance(results, key, row.metrics[key]))
    least = distance(results, key, rows[0].metrics[key])
    if not all(key in row.metrics_error or len(row.seeds) > 1 for row in rows):
        return set()
    # The deviation between seeds is one error too many of the mean, and stands for the rows' error, which is not known.
    errors = [row.metrics_error.get(key, row.metrics_spread.get(key, 0.0) / 2) for row in rows]
    limits = [least + 2 * math.hypot(errors[0], error) for error in errors]
    near = {r.family for r, most in zip(rows, limits, strict=True) if distance(results, key, r.metrics[key]) <= most}
    return near if len(near) < len(rows) else set()


def _decimals(results: Results, key: str) -> int:
    values = [
        metrics[key] for metrics in (*(row.metrics for row in results.rows), *results.references.values()) if key in metrics
    ]
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    return 0 if largest >= 1000 else 1 if largest >= 100 else 2 if largest >= 10 else 3


def _direction(metric: Metric) -> str:
    """Return "lower, to 0": the better direction and its end."""
    if metric.title == METRICS["c2st"].title:
        return "0.5 = cannot be told apart"
    if metric.ideal is None:
        return f"{metric.better} is better"
    return f"near {metric.ideal:.2g}" if metric.better == "closer" else f"{metric.better}, to {metric.ideal:.2g}"


def _split(value: float | None, se: float | None) -> tuple[str, str]:
    """Return a number and its "± error" apart, so that a table can set the second small."""
    text, _, error = plus_minus(value, se).partition(" ± ")
    return text, f"± {error}" if error else ""


def _gap(value: float | None, se: float | None, zero: str) -> Cell:
    if zero:
        return Cell(zero)
    text, aside = _split(value, se)
    return Cell(f"+{text}" if value is not None and value > 0 else text, aside)


def _nats(bits: float | None) -> str:
    return "" if bits is None else f"{number(bits * math.log(2), 3)} nats"


def _plus(value: float | None) -> str:
    return f"+{number(value)}" if value is not None and value > 0 else number(value)
