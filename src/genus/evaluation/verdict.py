"""The verdict of a report: which family leads and by how much, and what that is worth, in a few sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from genus.codec.units import Unit, element
from genus.evaluation.figures import density_text, number, paired, percent, plus_minus
from genus.evaluation.intervals import folds_auc_error
from genus.evaluation.metrics import ROWS
from genus.evaluation.ranking import (
    FEW_STEPS,
    Place,
    distance,
    hurried,
    ranking,
    real_rows,
    tied,
    too_few,
    untrained,
)
from genus.evaluation.results import GIVEN, Results, Row
from genus.evaluation.wording import findings_remark, listed, told_apart, with_verb
from genus.space import Lattice, Real

__all__ = ["verdict"]

COPIED_SHARE = 0.5  # of the held-out rows, from which on copies of training rows are remarked on
CHANCE_BITS = 30.0  # of different rows that the columns allow, above which copies are no accident
WON = 0.7  # of the rows, from which on it is said beside a tie
BEYOND = {"markov": "counts of n-grams", "independent-steps": "single steps"}  # what a baseline of sequences knows


def verdict(results: Results) -> list[str]:
    """Return which family leads and by how much, in a few sentences, the most important first."""
    predicted = results.winner.get("predictions", {}).get("sentence")
    return _verdict(results) + ([predicted] if predicted else []) + ([results.outlook] if results.outlook else [])


def _verdict(results: Results) -> list[str]:
    places = ranking(results)
    dense = [place for place in places if place.by == "density"]
    implicit = [place for place in places if place.by == "samples"]
    found = findings_remark([place.row for place in places])
    if dense:
        said = _density_verdict(results, dense) + _copies_remark(results)
        return said + found + _samples_remark(results, places) + _target_remark(results, places) + _failures_remark(places)
    if results.rows and all(row.group == GIVEN for row in results.rows):
        real = results.references.get("real against real", {}).get(results.samples_metric, math.nan)
        n = min(results.test_rows // 2, ROWS)
        said = told_apart([place.row for place in implicit], results.samples_metric, real, n) if implicit else []
        return (said or ["No samples are ranked."]) + found + _target_remark(results, places)
    if implicit:
        first = implicit[0].row
        said = ["No family with a density was fitted.", f"By samples alone {first.family} comes first{_auc(results, first)}."]
        return said + found + _failures_remark(places)
    if found:
        return ["No family is ranked.", *found]
    return ["No family could be fitted; the sentences below say why." if places else "No family was compared."]


# -- by density -----------------------------------------------------------------------------------------------------------


def _density_verdict(results: Results, dense: Sequence[Place]) -> list[str]:
    best, ties = dense[0].row, [place.row for place in dense[1:] if place.tied]
    rest = [place.row for place in dense if not place.tied and place.row is not best]
    baseline = next((place.row for place in dense if place.row.family == results.baseline_family), None)
    names = listed([best.family, *(row.family for row in ties)])
    gaps = listed([f"{row.family} {paired(row.best_difference, row.best_difference_se)}" for row in ties])
    said = []
    if ties and any(too_few(results, row) for row in ties):
        units = f"{results.held_out_groups} groups of" if results.held_out_groups else f"{results.test_rows:,}"
        shows = max(row.shows or 0.0 for row in ties)
        said.append(
            f"{units} held-out rows are too few to tell {names} apart ({gaps} nats a row): they would show a difference of"
            f" {number(shows)} nats or more."
        )
    elif ties:
        said.append(f"{names} are tied: within their errors ({gaps} nats a row).")
    elif rest:
        said.append(f"{best.family} leads at this budget{_margin(rest[0])}.")
    else:
        said.append(f"{best.family} is the only family with a density: {density_text(best)} nats a row.")
    if Unit.of(results.codec).is_shown and best.bits_per_dim is not None:
        said.append(f"{best.family if ties else 'It'} needs {number(best.bits_per_dim, 3)} bits a {element(results.codec)}.")
    if ties and rest:
        said.append(f"The next is {rest[0].family}{_margin(rest[0], behind=True)}.")
    said += _doubts(results, best, ties, rest)
    if baseline is not None and baseline is best and (rest or ties):
        beyond = BEYOND.get(results.baseline_family, "single columns")
        why = f"what there is to learn beyond {beyond} is little, or the budget is too short"
        said.append(f"Nothing is better than {results.baseline}: {why}.")
    elif baseline is not None and baseline in ties:
        said.append(f"Nothing is clearly better than {results.baseline}.")
    return said + _bounds_remark(best, [*ties, *rest], bool(ties))


def _doubts(results: Results, best: Row, ties: Sequence[Row], rest: Sequence[Row]) -> list[str]:
    """Return the reasons for which the order may be another: seeds, one row that decides, groups below that are not told."""
    said = []
    if not ties and rest and _within_seeds(best, rest[0]):
        said.append("That lead is smaller than what a change of seed does; take more seeds before you rely on it.")
    near = [best, *ties, *rest[:1]]
    if len(near) > 1 and any(len(row.seeds) == 1 and row.by_steps for row in near):
        said.append("One seed: by how much refits differ is estimated, and more seeds would measure it.")
    for row in (*ties, *rest[:1]):
        if row.without_one_row is not None:
            said.append(
                f"One row decides the mean difference of {row.family} to {best.family}: without it {row.family} is"
                f" {plus_minus(abs(row.without_one_row))} nats a row {'ahead' if row.without_one_row > 0 else 'behind'}."
            )
        elif tied(row) and row.rows_lost is not None and not 1 - WON < row.rows_lost < WON:
            won, other = (best, row) if row.rows_lost > WON else (row, best)
            share = percent(max(row.rows_lost, 1 - row.rows_lost))
            said.append(f"Yet {won.family} has the greater density in {share} of the rows, beside {other.family}.")
    lower = [row.family for row in rest[1:] if tied(row) and not too_few(results, row)]
    if lower and not ties:
        said.append(f"{with_verb(lower, 'is', 'are')} not told from {best.family} either.")
    return said


def _bounds_remark(best: Row, others: Sequence[Row], tie: bool) -> list[str]:
    """Return the remarks on an order in which some numbers are lower bounds; an estimate is one too, in expectation."""
    bounds = [row for row in others if row.label != "exact"]
    top = best.estimate if best.estimate is not None else best.log_density
    above = [row.family for row in others if row.estimate is not None and top is not None and row.estimate > top]
    names = [row.family for row in bounds]
    said = []
    if best.label != "exact" and bounds:
        said.append(f"{listed([best.family, *names])} give only lower bounds, so their true order may be another.")
    elif best.label != "exact" and others:
        lead = "it may truly be ahead" if tie else "its true lead is at least this"
        said.append(f"The number of {best.family} is a lower bound, so {lead}.")
    elif bounds:
        give = with_verb(names, "gives only a lower bound", "give only lower bounds")
        estimates = [f"{row.family} {number(row.estimate)}" for row in bounds if row.estimate is not None]
        beside = f" (estimates: {listed(estimates)})" if estimates else ""
        said.append(f"{give} and may truly stand higher{beside}.")
    if above:
        said.append(f"By the importance-weighted estimate, {with_verb(above, 'is', 'are')} above {best.family}.")
    return said


def _margin(row: Row, behind: bool = False) -> str:
    if row.best_difference is None:
        return ""
    gap = plus_minus(abs(row.best_difference), row.best_difference_se)
    return f", {gap} nats a row behind" if behind else f": {gap} nats a row better than {row.family}, the next"


def _within_seeds(best: Row, row: Row) -> bool:
    spread = math.hypot(best.seed_spread or 0.0, row.seed_spread or 0.0)
    return row.best_difference is not None and abs(row.best_difference) < spread


# -- beside it ------------------------------------------------------------------------------------------------------------


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
    real = real_rows(results)
    if len(alike) > 1:
        names = listed([row.family for row in alike])
        beside = f" ({real})" if real else ""
        return [f"By samples alone, {names} are no easier to tell from real rows than other real rows are{beside}."]
    closest = min(sampled, key=lambda row: away[row.family])
    near = [
        row.family
        for row in sampled
        if away[row.family] - away[closest.family] <= 2 * math.hypot(_error(results, row), _error(results, closest))
    ]
    if len(near) > 1 and len(near) == len(sampled):
        return []  # so few held-out rows tell no family's samples from another's
    if len(near) > 1:
        return [f"By samples alone, {listed(near)} are the hardest to tell from real rows, too alike for an order among them."]
    if closest is places[0].row:
        start = f"The samples of {closest.family}" if places[0].tied else "Its samples"
        return [f"{start} are also the hardest to tell from real rows{_auc(results, closest)}."]
    return [f"By samples alone, {closest.family} is the hardest to tell from real rows{_auc(results, closest)}."]


def _error(results: Results, row: Row) -> float:
    """Return the standard error of the classifier's AUC: of rows and seeds where it was kept, else of so many rows."""
    key = results.samples_metric
    if key in row.metrics_error:
        return row.metrics_error[key]
    return folds_auc_error(min(results.test_rows // 2, ROWS), row.metrics[key]) if key == "c2st" else 0.0


def _target_remark(results: Results, places: Sequence[Place]) -> list[str]:
    """Return whose samples teach most about the target, and what real rows teach."""
    ranked = [place.row for place in places if place.by in ("density", "samples")]
    key, word = next(
        (pair for pair in (("tstr_auc", "AUC"), ("tstr_r2", "R²")) if any(pair[0] in row.metrics_error for row in ranked)),
        ("", ""),
    )
    rows = [row for row in ranked if math.isfinite(row.metrics.get(key, math.nan))]
    if len(rows) < 2:
        return []
    best = max(rows, key=lambda row: row.metrics[key])
    errors = {row.family: row.metrics_error.get(key, 0.0) for row in rows}
    near = [
        row.family
        for row in rows
        if row is not best and best.metrics[key] - row.metrics[key] <= 2 * math.hypot(errors[best.family], errors[row.family])
    ]
    if len(near) == len(rows) - 1:
        return []
    real = results.references.get("real against real", {}).get(key, math.nan)
    beside = "" if math.isnan(real) else f"; real rows {real:.2f}"
    alike = f", {with_verb(near, 'is', 'are')} within the error" if near else ""
    what = f"To predict {results.target or results.context_columns or 'the target'}"
    value = f"{number(best.metrics[key], 2)} ± {errors[best.family]:.2f}"
    return [f"{what}, samples of {best.family} teach most ({word} {value}{beside}){alike}."]


def _failures_remark(places: Sequence[Place]) -> list[str]:
    """Return remarks on families that were not trained, or hardly, and on seeds that failed."""
    none = [place.row.family for place in places if untrained(place.row)]
    cut = [place.row.family for place in places if hurried(place.row) and not untrained(place.row)]
    failed = [place.row.family for place in places if place.row.status == "ok" and place.row.reason]
    said = []
    if none:
        said.append(f"{with_verb(none, 'was', 'were')} not trained: the clock ended before a step.")
    if cut:
        said.append(
            f"The clock stopped {listed(cut)} after fewer than {FEW_STEPS} steps: give more seconds before you compare."
        )
    if failed:
        said.append(f"Some seeds of {listed(failed)} failed, or had no time, and the others alone are counted.")
    return said


def _auc(results: Results, row: Row) -> str:
    """Return " (a classifier's AUC 0.71; real against real 0.50)", or nothing where it was not measured."""
    value = row.metrics.get(results.samples_metric, math.nan)
    if math.isnan(value):
        return ""
    if results.samples_metric == "kernel_distance":
        said = f"kernel distance of features {number(value, 2)}, where 0 is the same"
    else:
        said = f"a classifier’s AUC {value:.2f}, where 0.5 cannot be told apart"
    return f" ({'; '.join(filter(None, [said, real_rows(results)]))})"
