"""Choose families in the time that there is: all are fitted small first, the hopeless given up, the others fitted to all rows.

Successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943) on validation rows, so that held-out rows
choose nothing. Of the whole time a quarter is for the small fits, and about a third of the rest for judging.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genus.data import Dataset
from genus.evaluation.intervals import LEVEL, compare_rows
from genus.evaluation.protocol import Protocol
from genus.evaluation.results import Row
from genus.evaluation.rows import names
from genus.evaluation.running import Family, Runner
from genus.evaluation.scoring import score_rows
from genus.evaluation.trial import OUT_OF_TIME, Trial
from genus.evaluation.wording import listed, with_verb
from genus.ladder import ApproximateDensity
from genus.registry import families as all_families
from genus.training.rows import affordable_rows

__all__ = ["Clock", "SmallFits", "held_out_rows", "limit_rows", "run_small_fits", "share_time", "unsettled", "untrained_row"]

SMALL = 0.25  # of the time, for small fits
FITTED = 0.88  # of the time, when the last trial should have ended
JUDGED = 0.06  # of the time, for judging one family
SMALL_ROWS = 4_000  # of training, in a small fit
ENOUGH = 2.0  # seconds of a small fit, below which only the promising families are tried
TRUSTED = ("pixelcnn", "trees")  # go on whatever a small fit says, which comes to its end only with more rows and time
FORESTS = 256  # columns, above which trees have too little time for each to be trusted
LATE = 0.2  # of the time that is left, for small fits, at least
# What is tried first, so that the clock cuts off what mostly needs more time.
PROMISING = ("naive-bayes", "pixelcnn", "trees", "gaussian-copula", "mixture", "chow-liu", "made", "hclt", "nsf", "maf", "gpt")
FINALISTS = 4  # beside the baseline; of one process 3
NEAR = 0.2  # of the distance of the first to the last, within which a family that the clock cut off may come first
CLOSE = 0.02  # of the lead over the baseline, within which a family that was given up may be as good
UNTRIED = "not tried, since the time was too short for all; name it in --families, or give more time"
# Doublings of the time, each of which may bring as much as the last one did: what ten times as long might, and, after a small
# fit, which ends where learning is fastest, twice as long.
TENFOLD, TWOFOLD = 3, 1
PROBE = 300  # rows of each kind whose judging is timed
A_SECOND = 25  # held-out rows for each second of the time, 1,000 at least
LEAST_ROWS, WIDE = 1_000, 64  # coordinates of a row, above which rows are fewer in proportion


class Clock(NamedTuple):
    """Hold when a comparison began, as `time.time` has it, and how many seconds it may take."""

    begin: float
    seconds: float

    def left(self, share: float = 1.0) -> float:
        """Return the seconds until that share of the time is over."""
        return self.begin + share * self.seconds - time.time()


@dataclass
class SmallFits:
    """Hold the outcome of the small fits.

    Args:
        finalists: the families to fit to all rows, the most promising first; the baseline always.
        given_up: a row for each of the others.
        learning: the families given up whose criterion still fell when the clock ended them.
        close: the families given up that were within a fiftieth of the lead.
        scored: of the finalists, in words, what their small fits came to, for those that the clock leaves no time after that.
        quick: of finalists whose small fits came to their end, the seconds that a fit to all rows may need by these.
    """

    finalists: list[Family]
    given_up: list[Row] = field(default_factory=list)
    learning: list[str] = field(default_factory=list)
    close: list[str] = field(default_factory=list)
    scored: dict[str, str] = field(default_factory=dict)
    quick: dict[str, float] = field(default_factory=dict)


def held_out_rows(count: int, clock: Clock, dim: int) -> int:
    """Return how many of so many held-out rows of `dim` coordinates a comparison of that time scores."""
    return min(count, max(LEAST_ROWS, round(A_SECOND * clock.seconds * min(1.0, WIDE / dim))))


def limit_rows(protocol: Protocol, rest: Tensor, seconds: float) -> tuple[Protocol, Tensor]:
    """Return a protocol by which judging one family takes so many seconds at most, and the rest, both of fewer real rows.

    Args:
        protocol: of the comparison.
        rest: held-out rows that samples are not compared with, the context beside each.
        seconds: of judging one family's samples, of which there are four for each real row of a table, and one of others,
            since pictures are drawn pixel by pixel.
    """
    count = len(protocol.compared)
    if count > PROBE:

        def judge(few: int) -> None:
            score_rows(replace(protocol, compared=protocol.compared[:few]), rest[:few])

        count = min(count, affordable_rows(judge, min(PROBE, len(rest)), seconds))
    each = 4 if protocol.train.space.is_table else 1
    return replace(protocol, compared=protocol.compared[:count], sample_limit=each * count), rest[:count]


def run_small_fits(protocol: Protocol, chosen: Sequence[Family], runner: Runner, clock: Clock, seed: int = 0) -> SmallFits:
    """Fit every family to some of the rows for a little while, and choose those that go on.

    Args:
        protocol: of the comparison.
        chosen: the families, none of which refuses the data; the runner's baseline goes on in any case.
        runner: of the comparison.
        clock: of the comparison.
        seed: of the small fits, and of the rows that they see.
    """
    dense: list[Family] = [cls for cls in chosen if issubclass(cls, ApproximateDensity) and cls.name != "stack"]
    rivals = [cls for cls in dense if cls.name != runner.baseline]
    left_out = [_given_up(cls, _without_density(cls)) for cls in chosen if cls not in dense]
    most = FINALISTS if runner.jobs > 1 else FINALISTS - 1
    if len(rivals) <= most:
        return SmallFits(dense, left_out)
    # Where reading and judging took long, the small fits still have a share of what is left.
    share = max(clock.left(SMALL), LATE * clock.left(FITTED))
    tried, untried = _affordable(rivals, 0.8 * share * runner.jobs)
    budget = max(0.3, 0.8 * share * runner.jobs / max(len(tried), 1))
    rows = _small(protocol, seed)
    small = replace(protocol, train=rows, small=True, budget=budget, deadline=time.time() + 1.2 * share)
    floor = next(cls for cls in dense if cls.name == runner.baseline)
    runner.say(f"small fits of {len(tried)} families, {budget:.1f} s each, to {len(rows):,} rows")
    trials = {trial.family: trial for trial in runner.run(small, [(cls, seed) for cls in (floor, *tried)])}
    found = _choose(floor, tried, trials, most, protocol.train.space.dim)
    found.given_up += left_out + [_given_up(cls, UNTRIED) for cls in untried]
    times = len(protocol.train) / len(rows)
    ended = {cls.name: trials[cls.name].history for cls in found.finalists if not trials[cls.name].error}
    found.scored = {name: _scored(trials[name], len(rows)) for name in ended if _score(trials[name]) > -math.inf}
    found.quick = {name: times * history.seconds for name, history in ended.items() if history.stopped != "max_seconds"}
    return found


def _choose(floor: Family, tried: Sequence[Family], trials: Mapping[str, Trial], most: int, dim: int) -> SmallFits:
    """Return which of the families that were tried go on beside the baseline, and what is said of the others."""
    score = {name: _score(trial) for name, trial in trials.items()}
    ordered = sorted(tried, key=lambda cls: -score[cls.name])
    late = [cls for cls in sorted(ordered, key=_promise) if trials[cls.name].error == OUT_OF_TIME]
    going = _finalists(ordered, score, most, dim)
    going += late[: most - len(going)]  # of which nothing is known, since the small fits ended too late for them
    first = max((score[cls.name] for cls in going), default=-math.inf)
    goal = max((_reached(trials[cls.name], score[cls.name], TWOFOLD) for cls in going), default=-math.inf)
    out = [cls for cls in ordered if cls not in going]
    within = max(CLOSE * (first - score[floor.name]), 0.05)
    close = [cls.name for cls in out if score[cls.name] > first - within]
    far = [cls.name for cls in out if cls.name not in close]
    learning = [name for name in far if _may_reach(trials[name], score[name], goal, TWOFOLD)]
    given_up = [_loser(cls, trials[cls.name], score[cls.name], first) for cls in out]
    return SmallFits([floor, *going], given_up, learning, close)


def share_time(small: SmallFits, jobs: int, seeds: int, clock: Clock) -> tuple[list[Family], dict[str, float]]:
    """Return the finalists beside the baseline in the order in which they start, and the seconds that each may train.

    Families whose small fits came to their end leave what they do not need to those that the clock ended.

    Args:
        small: the outcome of the small fits.
        jobs: processes at once.
        seeds: how often each is fitted.
        clock: of the comparison.
    """
    rivals, judging, left = small.finalists[1:], JUDGED * clock.seconds, clock.left(FITTED)
    equal = left / max(math.ceil(len(rivals) * seeds / jobs), 1)
    quick = [cls for cls in rivals if cls.name in small.quick]
    hungry = [cls for cls in rivals if cls not in quick]
    needed = sum(min(small.quick[cls.name], equal - judging) + judging for cls in quick)
    more = min(left, (jobs * left / seeds - needed) / max(len(hungry), 1))
    spans = {cls.name: equal if cls in quick else max(equal, more) for cls in rivals}
    # Where processes are left for the quick ones, the others start at once; else they start when the quick ones have ended.
    order = [*hungry, *quick] if len(hungry) * seeds < jobs else [*quick, *hungry]
    return order, {name: max(0.3, span - judging) for name, span in spans.items()}


def _small(protocol: Protocol, seed: int) -> Dataset:
    """Return the training rows of the small fits: some at random, or the last ones where the order matters."""
    train = protocol.train
    if len(train) <= SMALL_ROWS:
        return train
    if protocol.ordered or train.space.sequence:
        return train.rows(slice(len(train) - SMALL_ROWS, None))
    return train.rows(torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:SMALL_ROWS])


def _affordable(rivals: Sequence[Family], seconds: float) -> tuple[list[Family], list[Family]]:
    """Return the families to try in so many seconds, the promising first, and those there is no time for."""
    ordered = sorted(rivals, key=_promise)
    if seconds / len(ordered) >= ENOUGH:
        return ordered, []
    untried = [cls for cls in ordered if cls.name in all_families() and cls.name not in PROMISING]
    return [cls for cls in ordered if cls not in untried], untried


def _promise(cls: Family) -> int:
    """Return the place of a family among those that are tried first."""
    return PROMISING.index(cls.name) if cls.name in PROMISING else len(PROMISING)


def _finalists(tried: Sequence[Family], score: dict[str, float], most: int, dim: int) -> list[Family]:
    """Return the families that go on: of those with a score the trusted, then the best, the first of `tried` first."""
    able = [cls for cls in tried if score[cls.name] > -math.inf]
    trusted = [cls for cls in able if cls.name in TRUSTED and (cls.name != "trees" or dim <= FORESTS)][:most]
    return trusted + [cls for cls in able if cls not in trusted][: most - len(trusted)]


def _given_up(cls: Family, reason: str, status: Literal["failed", "given up"] = "given up") -> Row:
    return Row(*names(cls), status=status, reason=reason)


def _loser(cls: Family, trial: Trial, score: float, first: float) -> Row:
    """Return the row of a family that a small fit ruled out, with the reason."""
    if trial.error == OUT_OF_TIME:
        return _given_up(cls, UNTRIED)
    if trial.error:
        return _given_up(cls, trial.error, status="failed")
    said = f"given up early: {score:.2f} nats a validation row after a small fit, where the first had {first:.2f}"
    return _given_up(cls, said.replace("-", "−"))


def _scored(trial: Trial, rows: int) -> str:
    """Return what the small fit of a family came to, in words."""
    said = f"{_score(trial):.2f} nats a validation row after a small fit of {trial.history.seconds:.1f} s to {rows:,} rows"
    return said.replace("-", "−")


def untrained_row(small: SmallFits, row: Row) -> Row:
    """Return the row of a family, with what its small fit came to where the clock left it no time after that."""
    if row.status != "given up" or row.family not in small.scored:
        return row
    reason = row.reason.replace("not trained:", "not trained further:", 1).rstrip(".")
    return replace(row, reason=f"{reason}; {small.scored[row.family]}")


def unsettled(small: SmallFits, trials: Sequence[Trial], protocol: Protocol) -> str:
    """Return a sentence on what more time might change; "" where nothing suggests that it would.

    Only what may come before the first is a doubt of the order: of the first itself, and of families that are not told from it,
    so that no order is claimed, it is said that their figures may still improve.

    Args:
        small: of the comparison.
        trials: of the finalists.
        protocol: of the comparison.
    """
    done = [trial for trial in trials if not trial.error and trial.log_density is not None]
    score = {trial.family: float(np.mean(trial.log_density)) for trial in done if trial.log_density is not None}
    if not score:
        return ""
    first = max(score, key=lambda name: score[name])
    goal = max(_reached(trial, score[first], TENFOLD) for trial in done if trial.family == first)
    cut = [
        trial.family
        for trial in done
        if trial.family != first
        and (_may_reach(trial, score[trial.family], goal, TENFOLD) or _shaped(trial, score, protocol.seconds(trial.family)))
    ]
    said = []
    if late := list(dict.fromkeys(trial.family for trial in trials if trial.error == OUT_OF_TIME)):
        rows = " on all rows" if {*late} <= {*small.scored} else ""
        said.append(f"the clock ended before {listed(late)} could be trained{rows}")
    cut = list(dict.fromkeys(cut))
    alike = [name for name in cut if _is_alike(trials, first, name, protocol)]
    if cut != alike:
        said.append(f"{listed(cut)} might still have improved when the clock ended the training")
    if small.close:
        said.append(f"{with_verb(small.close, 'was', 'were')} given up close behind")
    if small.learning:
        said.append(f"{with_verb(small.learning, 'was', 'were')} still learning when given up")
    if said:
        return f"More time may change the order: {'; '.join(said)}."
    if alike:
        return f"{listed(alike)}, not told from {first}, might still have improved when the clock ended the training."
    if any(_gain(trial) > 0.01 for trial in done if trial.family == first):
        return f"{first}, which leads, was still improving when the clock ended the training."
    return ""


def _is_alike(trials: Sequence[Trial], first: str, other: str, protocol: Protocol) -> bool:
    """Return whether the held-out rows do not tell two families apart."""
    done = [[t for t in trials if t.family == name and not t.error and t.log_density is not None] for name in (first, other)]
    values = [np.stack([t.log_density for t in of if t.log_density is not None]) for of in done]
    groups = None if protocol.test.groups is None else protocol.test.groups.cpu().numpy()
    refitted = done[0][0].history.stopped != "closed form", done[1][0].history.stopped != "closed form"
    return compare_rows(values[0], values[1], groups, refitted).p >= LEVEL


def _without_density(cls: Family) -> str:
    if cls.name == "stack":
        return "its members take part themselves, and their stack is a row of its own where it is better"
    return "it has no density to be chosen by in a short time; name it with a budget to see its samples"


def _score(trial: Trial) -> float:
    """Return the mean log-density of the validation rows; minus infinity without one."""
    if trial.error or trial.validation is None or not len(trial.validation):
        return -math.inf
    value = float(np.mean(trial.validation))
    return value if math.isfinite(value) else -math.inf


def _shaped(trial: Trial, score: Mapping[str, float], seconds: float) -> bool:
    """Return whether a training of hardly any evaluations, whose seconds shaped it, came near the first."""
    best, worst = max(score.values()), min(score.values())
    near = score[trial.family] > best - NEAR * (best - worst)
    return near and len(trial.history.rows) < 4 and trial.history.steps > 0 and trial.history.seconds > 0.8 * seconds


def _gain(trial: Trial) -> float:
    """Return by how many nats a row the criterion fell in the second half of a training that the clock ended; 0 of others."""
    found = [row["criterion"] for row in trial.history.rows if row.get("criterion") is not None]
    if trial.history.stopped != "max_seconds" or len(found) < 4 or not trial.history.unit:
        return 0.0
    return float(found[len(found) // 2] - min(found[len(found) // 2 :]))


def _reached(trial: Trial, score: float, doublings: int) -> float:
    """Return the log-density that a model of this one might have after so many doublings, by what it gained of late."""
    return score + doublings * _gain(trial)


def _may_reach(trial: Trial, score: float, goal: float, doublings: int) -> bool:
    """Return whether a model of this log-density was still learning, and might reach the goal in so many doublings."""
    return _gain(trial) > 0.01 and _reached(trial, score, doublings) > goal
