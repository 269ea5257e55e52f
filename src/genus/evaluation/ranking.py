"""The families of a comparison in order and in words: how good each density is, which is best, and what is a tie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from genus.evaluation.metrics import ROWS
from genus.evaluation.results import GIVEN, Results, Row
from genus.evaluation.sequences import symbol
from genus.evaluation.wording import accusation, auc_error, findings_remark, listed, told_apart
from genus.space import Lattice, Real

__all__ = ["Place", "density_text", "distance", "number", "plus_minus", "ranking", "tied", "verdict"]


ROUNDING = 1e-9  # nats
COPIED_SHARE = 0.5  # of the held-out rows, from which on copies of training rows are remarked on
CHANCE_BITS = 30.0  # of different rows that the columns allow, above which copies are no accident
FEW_STEPS = 50  # below which a training has hardly started


class Place(NamedTuple):
    """Hold one line of the ranking.

    Args:
        number: 1 for the best and those tied with it; None for a family that was not fitted.
        by: the measure that the family is ranked by: its log-density, its samples alone; "accused" where it is left out
            for what was found; or nothing.
        tied: True where its distance to the best is within two standard errors.
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


def tied(row: Row) -> bool:
    """Return True where a row's paired difference to the best row is within two standard errors."""
    return row.best_difference is not None and abs(row.best_difference) <= max(2 * (row.best_difference_se or 0.0), ROUNDING)


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


def hurried(row: Row) -> bool:
    """Return True where the clock ended a training after a few steps, so that the place tells nothing about the family."""
    return "max_seconds" in row.stopped and row.steps is not None and row.steps < FEW_STEPS


def ranking(results: Results) -> list[Place]:
    """Return the families in order, each with a sentence: densities first, then by samples alone, then those that are left
    out for what was found, then refused and failed.
    """
    fitted = [row for row in results.rows if row.status == "ok" and not row.accused]
    dense = sorted((row for row in fitted if row.has_density), key=lambda row: -row.log_density)  # type: ignore[operator]
    best, rest = dense[:1], dense[1:]
    ties = [row for row in rest if tied(row)]
    dense = [*best, *ties, *(row for row in rest if not tied(row))]
    together = {id(row) for row in (*best, *ties)} if ties else set()
    places = [
        Place(1 if id(row) in together else i, "density", id(row) in together, row, _density_sentence(results, row))
        for i, row in enumerate(dense, 1)
    ]
    implicit = [row for row in fitted if not row.has_density]
    implicit.sort(key=lambda row: distance(results, results.samples_metric, row.metrics.get(results.samples_metric, math.nan)))
    for i, row in enumerate(implicit, len(dense) + 1):
        places.append(Place(i, "samples", False, row, _samples_sentence(results, row)))
    places += [Place(None, "accused", False, row, accusation(row)) for row in results.rows if row.accused]
    others = sorted((row for row in results.rows if row.status != "ok"), key=lambda row: row.status != "refused")
    places = [p._replace(sentence=f"{p.sentence}; {_cut(p.row)}") if hurried(p.row) else p for p in places]
    places += [Place(None, "nothing", False, row, row.reason or f"{row.status}, without a reason given") for row in others]
    return places


def verdict(results: Results) -> list[str]:
    """Return which family is best and by how much, in one to three sentences, the most important first."""
    places = ranking(results)
    dense = [place for place in places if place.by == "density"]
    implicit = [place for place in places if place.by == "samples"]
    found = findings_remark([place.row for place in places])
    if dense:
        said = _density_verdict(results, dense) + _copies_remark(results)
        return said + found + _samples_remark(results, places) + _hurry_remark(places)
    if results.rows and all(row.group == GIVEN for row in results.rows):
        real = results.references.get("real against real", {}).get(results.samples_metric, math.nan)
        n = min(results.test_rows // 2, ROWS)
        said = told_apart([place.row for place in implicit], results.samples_metric, real, n) if implicit else []
        return (said or ["No samples are ranked."]) + found
    if implicit:
        first = implicit[0].row
        said = ["No family with a density was fitted.", f"By samples alone {first.family} comes first{_auc(results, first)}."]
        return said + found
    if found:
        return ["No family is ranked.", *found]
    return ["No family could be fitted; the sentences below say why." if places else "No family was compared."]


def _density_verdict(results: Results, dense: Sequence[Place]) -> list[str]:
    best, ties = dense[0].row, [place.row for place in dense[1:] if place.tied]
    rest = [place.row for place in dense if not place.tied and place.row is not best]
    baseline = next((place.row for place in dense if place.row.family == results.baseline_family), None)
    said = []
    if ties:
        gaps = listed([f"{row.family} {_paired(row.best_difference, row.best_difference_se)}" for row in ties])
        names = listed([best.family, *(row.family for row in ties)])
        said.append(f"{names} are tied: within two standard errors ({gaps} nats a row).")
    elif rest:
        said.append(f"{best.family} is best{_margin(rest[0])}.")
    else:
        said.append(f"{best.family} is the only family with a density: {density_text(best)} nats a row.")
    if results.space.sequence and best.bits_per_dim is not None:
        said.append(f"{best.family if ties else 'It'} needs {number(best.bits_per_dim, 3)} bits a {symbol(results.codec)}.")
    if ties and rest:
        said.append(f"The next is {rest[0].family}{_margin(rest[0], behind=True)}.")
    shaky = [row for row in (*ties, *rest[:1]) if _within_seeds(best, row)]
    if shaky and not ties:
        said.append("That lead is smaller than what a change of seed does; take more seeds before you rely on it.")
    if baseline is not None and baseline is best and (rest or ties):
        beyond = "counts of n-grams" if results.space.sequence else "single columns"
        why = f"what there is to learn beyond {beyond} is little, or the budget is too short"
        said.append(f"Nothing is better than {results.baseline}: {why}.")
    elif baseline is not None and baseline in ties:
        said.append(f"Nothing is clearly better than {results.baseline}.")
    return said + _bounds_remark(best, [*ties, *rest], bool(ties))


def _bounds_remark(best: Row, others: Sequence[Row], tie: bool) -> list[str]:
    """Return the remarks on an order in which some numbers are lower bounds; an estimate is one too, in expectation."""
    bounds = [row.family for row in others if row.label != "exact"]
    top = best.estimate if best.estimate is not None else best.log_density
    above = [row.family for row in others if row.estimate is not None and top is not None and row.estimate > top]
    said = []
    if best.label != "exact" and bounds:
        said.append(f"{listed([best.family, *bounds])} give only lower bounds, so their true order may be another.")
    elif best.label != "exact" and others:
        lead = "it may truly be ahead" if tie else "its true lead is at least this"
        said.append(f"The number of {best.family} is a lower bound, so {lead}.")
    elif bounds:
        give = "gives only a lower bound" if len(bounds) == 1 else "give only lower bounds"
        said.append(f"{listed(bounds)} {give} and may truly stand higher.")
    if above:
        said.append(
            f"By the importance-weighted estimate, {listed(above)} {'is' if len(above) == 1 else 'are'} above {best.family}."
        )
    return said


def _copies_remark(results: Results) -> list[str]:
    """Return a remark where held-out rows are copies of training rows although the columns allow many different rows."""
    share = max((row.metrics.get("copies_unseen", 0.0) for row in results.rows), default=0.0)
    sizes = [kind.states + (kind.size if isinstance(kind, Lattice) else 0) for kind in results.space.kinds]
    room = any(isinstance(kind, Real) for kind in results.space.kinds) or sum(map(math.log2, sizes)) > CHANCE_BITS
    if share < COPIED_SHARE or not room or results.space.sequence:
        return []
    return [
        f"{share:.0%} of the held-out rows stand among the training rows too, whose log-densities say little about new rows:"
        " leave repeated rows out before you rely on the order."
    ]


def _samples_remark(results: Results, places: Sequence[Place]) -> list[str]:
    """Return a remark on the families whose samples are hardest to tell from real rows."""
    ranked = [place.row for place in places if place.by in ("density", "samples")]
    sampled = [row for row in ranked if results.samples_metric in row.metrics]
    if len(sampled) < 2:
        return []
    away = {row.family: distance(results, results.samples_metric, row.metrics[results.samples_metric]) for row in sampled}
    alike = [row for row in sampled if away[row.family] <= 0.0]
    if len(alike) > 1:
        names = listed([row.family for row in alike])
        real = _aside(_real_rows(results))
        return [f"By samples alone, {names} are no easier to tell from real rows than other real rows are{real}."]
    closest = min(sampled, key=lambda row: away[row.family])
    error = (
        auc_error(min(results.test_rows // 2, ROWS), closest.metrics[results.samples_metric])
        if results.samples_metric == "c2st"
        else 0.0
    )
    near = [row.family for row in sampled if away[row.family] - away[closest.family] <= 2 * math.sqrt(2) * error]
    if len(near) > 1 and len(near) == len(sampled):
        return []  # so few held-out rows tell no family's samples from another's
    if len(near) > 1:
        return [f"By samples alone, {listed(near)} are the hardest to tell from real rows, too alike for an order among them."]
    if closest is places[0].row:
        start = f"The samples of {closest.family}" if places[0].tied else "Its samples"
        return [f"{start} are also the hardest to tell from real rows{_auc(results, closest)}."]
    return [f"By samples alone, {closest.family} is the hardest to tell from real rows{_auc(results, closest)}."]


def _cut(row: Row) -> str:
    return f"stopped by the clock when it had hardly begun (steps: {row.steps:.0f})"


def _hurry_remark(places: Sequence[Place]) -> list[str]:
    """Return a remark on the families that had no time to learn."""
    cut = [place.row.family for place in places if hurried(place.row)]
    return (
        [f"The clock stopped {listed(cut)} after fewer than {FEW_STEPS} steps: give more seconds before you compare."]
        if cut
        else []
    )


def _margin(row: Row, behind: bool = False) -> str:
    if row.best_difference is None:
        return ""
    gap = plus_minus(abs(row.best_difference), row.best_difference_se)
    return f", {gap} nats a row behind" if behind else f": {gap} nats a row better than {row.family}, the next"


def _within_seeds(best: Row, row: Row) -> bool:
    spread = math.hypot(best.seed_spread or 0.0, row.seed_spread or 0.0)
    return row.best_difference is not None and abs(row.best_difference) < spread


def _density_sentence(results: Results, row: Row) -> str:
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
    return "; ".join(part for part in parts if part)


def _against_baseline(results: Results, row: Row) -> str:
    if row.family == results.baseline_family:
        return "the baseline that the others are measured against"
    if row.baseline_difference is None:
        return ""
    gap, se = row.baseline_difference, row.baseline_difference_se or 0.0
    if abs(gap) <= 2 * se:
        return f"no different from {results.baseline} ({_paired(gap, se)} nats a row)"
    side = "better" if gap > 0 else "worse"
    return f"{plus_minus(abs(gap), se)} nats {side} than {results.baseline}"


def _samples_sentence(results: Results, row: Row) -> str:
    if row.group == GIVEN:
        kind = "samples alone"
    else:
        kind = (
            "no density (implicit): compared by samples alone"
            if row.label == "none"
            else ("no finite log-density of the held-out rows: compared by samples alone")
        )
    auc = row.metrics.get(results.samples_metric, math.nan)
    told = "" if math.isnan(auc) else f"; a classifier tells them from real rows with AUC {auc:.2f}"
    return f"{kind}{told}{_aside(_real_rows(results))}"


def _auc(results: Results, row: Row) -> str:
    """Return " (a classifier's AUC 0.71; real against real 0.50)", or nothing where it was not measured."""
    auc = row.metrics.get(results.samples_metric, math.nan)
    return "" if math.isnan(auc) else _aside("; ".join(filter(None, [f"a classifier’s AUC {auc:.2f}", _real_rows(results)])))


def _real_rows(results: Results) -> str:
    """Return "real against real 0.50", or nothing where it was not measured."""
    value = results.references.get("real against real", {}).get(results.samples_metric, math.nan)
    return "" if math.isnan(value) else f"real against real {value:.2f}"


def _aside(text: str) -> str:
    return f" ({text})" if text else ""


# -- numbers as text ------------------------------------------------------------------------------------------------------


def density_text(row: Row) -> str:
    """Return the log-density with its standard error; a dash without one."""
    return plus_minus(row.log_density, row.log_density_se) if row.has_density else "–"


def plus_minus(value: float | None, se: float | None = None) -> str:
    """Return a number and its standard error, to the error's first digit, or its second where the first is 1.

    >>> plus_minus(-12.3456, 0.213)
    '−12.3 ± 0.2'
    """
    if value is None or not math.isfinite(value):
        return "–"
    if not se or not math.isfinite(se):
        return number(value)
    exponent = math.floor(math.log10(se))
    decimals = min(6, max(0, -exponent + (se / 10.0**exponent < 1.95)))
    return f"{_signed(value, decimals)} ± {se:.{decimals}f}"


def number(value: float | None, decimals: int | None = None) -> str:
    """Return a number as text, with a true minus sign and thousands apart, to three or four digits or to `decimals`."""
    if value is None or not math.isfinite(value):
        return "–"
    if decimals is None:
        decimals = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 or value == 0 else 3
    return _signed(value, decimals)


def _signed(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}".replace("-", "−")


def _paired(gap: float | None, se: float | None) -> str:
    text = plus_minus(gap, se)
    return text if gap is None or gap < 0 else f"+{text}"
