"""The families of a report in order, and in words: what each density is worth, which is best, and what is a tie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from genus.evaluation.metrics import ROWS
from genus.evaluation.sequences import symbol
from genus.space import Lattice, Real

if TYPE_CHECKING:
    from genus.evaluation.report import Report, Row

__all__ = ["Place", "density_text", "distance", "listed", "number", "plus_minus", "ranking", "tied", "verdict"]


ROUNDING = 1e-9  # nats
COPIES, ROOM = 0.5, 30.0  # of held-out rows, that is worth a word; bits of different rows, from which on copies are no accident
BEGUN = 50  # steps, below which a training has hardly begun


class Place(NamedTuple):
    """One line of the ranking.

    Args:
        number: 1 for the best and those tied with it; None for a family that was not fitted.
        by: what it is ranked by: its log-density, its samples alone, or nothing.
        tied: whether its distance to the best is within two standard errors.
        row: the family.
        sentence: what a practitioner should know of it.
    """

    number: int | None
    by: Literal["density", "samples", "nothing"]
    tied: bool
    row: Row
    sentence: str

    @property
    def mark(self) -> str:
        """The place as it is printed: "1", "1=" in a tie, "–" without one."""
        return "–" if self.number is None else f"{self.number}{'=' if self.tied else ''}"


def tied(row: Row) -> bool:
    """Whether a row's paired difference to the best is within two standard errors of it."""
    return row.best_difference is not None and abs(row.best_difference) <= max(2 * (row.best_difference_se or 0.0), ROUNDING)


def distance(report: Report, key: str, value: float) -> float:
    """How far a metric's value is from perfect, so that less is better whichever direction the metric has.

    Perfect is what ever more samples would have, or, where few are no nearer to that, what as few other real rows have. Beyond
    it nothing is better still: a classifier that does worse than chance does not tell anything either.
    """
    if math.isnan(value):
        return math.inf
    metric = report.metrics.get(key)
    ideal, better = (None, "lower") if metric is None else (metric.ideal, metric.better)
    real = report.references.get("real against real", {}).get(key, math.nan)
    if not math.isnan(real):
        toward = {"lower": max, "higher": min}.get(better)
        ideal = real if ideal is None or toward is None else toward(ideal, real)
    if better == "closer":
        return abs(value - (ideal or 0.0))
    away = (value if ideal is None else value - ideal) * (-1 if better == "higher" else 1)
    return away if ideal is None else max(away, 0.0)


def hurried(row: Row) -> bool:
    """Whether the clock ended a training that had hardly begun: its place says nothing of the family."""
    return "max_seconds" in row.stopped and row.steps is not None and row.steps < BEGUN


def ranking(report: Report) -> list[Place]:
    """See `Report.ranking`."""
    fitted = [row for row in report.rows if row.status == "ok"]
    dense = sorted((row for row in fitted if row.has_density), key=lambda row: -row.log_density)  # type: ignore[operator]
    best, rest = dense[:1], dense[1:]
    ties = [row for row in rest if tied(row)]
    dense = [*best, *ties, *(row for row in rest if not tied(row))]
    together = {id(row) for row in (*best, *ties)} if ties else set()
    places = [
        Place(1 if id(row) in together else i, "density", id(row) in together, row, _density_sentence(report, row))
        for i, row in enumerate(dense, 1)
    ]
    implicit = [row for row in fitted if not row.has_density]
    implicit.sort(key=lambda row: distance(report, report.judge, row.metrics.get(report.judge, math.nan)))
    for i, row in enumerate(implicit, len(dense) + 1):
        places.append(Place(i, "samples", False, row, _samples_sentence(report, row)))
    others = sorted((row for row in report.rows if row.status != "ok"), key=lambda row: row.status != "refused")
    places = [p._replace(sentence=f"{p.sentence}; {_cut(p.row)}") if hurried(p.row) else p for p in places]
    places += [Place(None, "nothing", False, row, row.reason or f"{row.status}, without a reason given") for row in others]
    return places


def verdict(report: Report) -> list[str]:
    """See `Report.verdict`: its sentences, the most important first."""
    places = ranking(report)
    dense = [place for place in places if place.by == "density"]
    implicit = [place for place in places if place.by == "samples"]
    if dense:
        said = _density_verdict(report, dense) + _copies_remark(report)
        return said + _samples_remark(report, places) + _hurry_remark(places)
    if implicit:
        first = implicit[0].row
        return ["No family with a density was fitted.", f"By samples alone {first.family} comes first{_auc(report, first)}."]
    return ["No family could be fitted; the sentences below say why." if places else "No family was compared."]


def _density_verdict(report: Report, dense: Sequence[Place]) -> list[str]:
    best, ties = dense[0].row, [place.row for place in dense[1:] if place.tied]
    rest = [place.row for place in dense if not place.tied and place.row is not best]
    baseline = next((place.row for place in dense if place.row.family == report.baseline_family), None)
    said = []
    if ties:
        gaps = listed([f"{row.family} {_paired(row.best_difference, row.best_difference_se)}" for row in ties])
        names = listed([best.family, *(row.family for row in ties)])
        said.append(f"{names} are tied: within two standard errors ({gaps} nats a row).")
    elif rest:
        said.append(f"{best.family} is best{_lead(rest[0])}.")
    else:
        said.append(f"{best.family} is the only family with a density: {density_text(best)} nats a row.")
    if report.space.sequence and best.bits_per_dim is not None:
        said.append(f"{best.family if ties else 'It'} needs {number(best.bits_per_dim, 3)} bits a {symbol(report.space)}.")
    if ties and rest:
        said.append(f"The next is {rest[0].family}{_lead(rest[0], behind=True)}.")
    shaky = [row for row in (*ties, *rest[:1]) if _within_seeds(best, row)]
    if shaky and not ties:
        said.append("That lead is smaller than what a change of seed does; take more seeds before you rely on it.")
    if baseline is not None and baseline is best and (rest or ties):
        beyond = "counts of n-grams" if report.space.sequence else "single columns"
        why = f"what there is to learn beyond {beyond} is little, or the budget is too short"
        said.append(f"Nothing is better than {report.baseline}: {why}.")
    elif baseline is not None and baseline in ties:
        said.append(f"Nothing is clearly better than {report.baseline}.")
    return said + _bounds_remark(best, [*ties, *rest], bool(ties))


def _bounds_remark(best: Row, others: Sequence[Row], tie: bool) -> list[str]:
    """What the order is worth where some numbers are only bounds; an estimate is one too, in expectation."""
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


def _copies_remark(report: Report) -> list[str]:
    """Where held-out rows are copies of training rows, although the columns have room for other ones."""
    share = max((row.metrics.get("copies_unseen", 0.0) for row in report.rows), default=0.0)
    sizes = [kind.states + (kind.size if isinstance(kind, Lattice) else 0) for kind in report.space.kinds]
    room = any(isinstance(kind, Real) for kind in report.space.kinds) or sum(map(math.log2, sizes)) > ROOM
    if share < COPIES or not room or report.space.sequence:
        return []
    return [
        f"{share:.0%} of the held-out rows stand among the training rows too: what these are worth says little of new rows, so"
        " leave repeated rows out before you rely on the order."
    ]


def _samples_remark(report: Report, places: Sequence[Place]) -> list[str]:
    """Which families' samples are hardest to tell from real rows."""
    judged = [place.row for place in places if place.row.status == "ok" and report.judge in place.row.metrics]
    if len(judged) < 2:
        return []
    away = {row.family: distance(report, report.judge, row.metrics[report.judge]) for row in judged}
    alike = [row for row in judged if away[row.family] <= 0.0]
    if len(alike) > 1:
        names = listed([row.family for row in alike])
        return [
            f"By samples alone, {names} are no easier to tell from real rows than other real rows are{_aside(_floor(report))}."
        ]
    closest = min(judged, key=lambda row: away[row.family])
    error = _auc_error(min(report.test_rows // 2, ROWS), closest.metrics[report.judge]) if report.judge == "c2st" else 0.0
    near = [row.family for row in judged if away[row.family] - away[closest.family] <= 2 * math.sqrt(2) * error]
    if len(near) > 1 and len(near) == len(judged):
        return []  # so few held-out rows tell no family's samples from another's
    if len(near) > 1:
        return [f"By samples alone, {listed(near)} are the hardest to tell from real rows, too alike for an order among them."]
    if closest is places[0].row:
        start = f"The samples of {closest.family}" if places[0].tied else "Its samples"
        return [f"{start} are also the hardest to tell from real rows{_auc(report, closest)}."]
    return [f"By samples alone, {closest.family} is the hardest to tell from real rows{_auc(report, closest)}."]


def _auc_error(n: int, auc: float) -> float:
    """The standard error of an area under the curve of n rows of either kind (Hanley & McNeil 1982); 0 where n is not known."""
    if not n or not 0 < auc < 1:
        return 0.0
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    return math.sqrt((auc * (1 - auc) + (n - 1) * (q1 + q2 - 2 * auc**2)) / n**2)


def _cut(row: Row) -> str:
    return f"stopped by the clock when it had hardly begun (steps: {row.steps:.0f})"


def _hurry_remark(places: Sequence[Place]) -> list[str]:
    """Which families had no time to learn."""
    cut = [place.row.family for place in places if hurried(place.row)]
    return (
        [f"The clock stopped {listed(cut)} after fewer than {BEGUN} steps: give more seconds before you judge."] if cut else []
    )


def _lead(row: Row, behind: bool = False) -> str:
    if row.best_difference is None:
        return ""
    gap = plus_minus(abs(row.best_difference), row.best_difference_se)
    return f", {gap} nats a row behind" if behind else f": {gap} nats a row better than {row.family}, the next"


def _within_seeds(best: Row, row: Row) -> bool:
    spread = math.hypot(best.seed_spread or 0.0, row.seed_spread or 0.0)
    return row.best_difference is not None and abs(row.best_difference) < spread


def _density_sentence(report: Report, row: Row) -> str:
    if row.label == "bound":
        kind = "bound: the true log-density is at least this"
    elif row.label == "exact":
        kind = "exact density"
    else:
        kind = f"{row.label}: more samples would raise it"
    parts = [kind, _against_baseline(report, row)]
    if row.estimate is not None:
        samples = f" from {row.estimate_samples} importance samples" if row.estimate_samples else ""
        parts.append(f"the estimate{samples} is {number(row.estimate)} nats a row")
    return "; ".join(part for part in parts if part)


def _against_baseline(report: Report, row: Row) -> str:
    if row.family == report.baseline_family:
        return "the floor that the others are measured against"
    if row.baseline_difference is None:
        return ""
    gap, se = row.baseline_difference, row.baseline_difference_se or 0.0
    if abs(gap) <= 2 * se:
        return f"no different from {report.baseline} ({_paired(gap, se)} nats a row)"
    side = "better" if gap > 0 else "worse"
    return f"{plus_minus(abs(gap), se)} nats {side} than {report.baseline}"


def _samples_sentence(report: Report, row: Row) -> str:
    kind = "no density (implicit)" if row.label == "none" else "no finite log-density of the held-out rows"
    auc = row.metrics.get(report.judge, math.nan)
    judged = "" if math.isnan(auc) else f"; a classifier tells them from real rows with AUC {auc:.2f}"
    return f"{kind}: judged by samples alone{judged}{_aside(_floor(report))}"


def _auc(report: Report, row: Row) -> str:
    """ " (a classifier's AUC 0.71; real against real 0.50)", or nothing where it was not measured."""
    auc = row.metrics.get(report.judge, math.nan)
    return "" if math.isnan(auc) else _aside("; ".join(filter(None, [f"a classifier’s AUC {auc:.2f}", _floor(report)])))


def _floor(report: Report) -> str:
    value = report.references.get("real against real", {}).get(report.judge, math.nan)
    return "" if math.isnan(value) else f"real against real {value:.2f}"


def _aside(text: str) -> str:
    return f" ({text})" if text else ""


# -- numbers as text ------------------------------------------------------------------------------------------------------


def density_text(row: Row) -> str:
    """The log-density with its standard error; a dash where there is none."""
    return plus_minus(row.log_density, row.log_density_se) if row.has_density else "–"


def plus_minus(value: float | None, se: float | None = None) -> str:
    """A number and its standard error, to the error's first digit, or its second where the first is 1.

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
    """A number with a true minus sign, thousands apart, to three or four digits unless `decimals` says otherwise."""
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


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
