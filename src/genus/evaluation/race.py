"""A comparison in the time that there is: all families small first, the hopeless given up, the others fitted to all rows.

Successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943) on the rows that stop trainings, so that held-out rows
choose nothing. Of the whole time a quarter is for the small fits, and about a third of the rest for judging.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from genus.evaluation.results import Row
from genus.evaluation.rows import names
from genus.evaluation.running import Family, Say, run_trials
from genus.evaluation.trial import Protocol, Trial, score_rows
from genus.evaluation.wording import listed
from genus.ladder import ApproximateDensity
from genus.registry import families as all_families

__all__ = ["Clock", "Heats", "held_out_rows", "judge_time", "run_heats", "shorten", "unsettled"]

SMALL = 0.25  # of the time, for small fits
FITTED = 0.88  # of the time, when the last trial should have ended
JUDGED = 0.06  # of the time, for judging one family
HEAT_ROWS = 4_000  # of training, in a small fit
ENOUGH = 2.0  # seconds of a small fit, below which only the promising families are tried
TRUSTED = ("trees", "pixelcnn")  # go on whatever a small fit says, which comes to its end only with more rows and time
LATE = 0.2  # of the time that is left, for small fits, at least
# What is tried first, so that the clock cuts off what mostly needs more time.
PROMISING = ("naive-bayes", "trees", "gaussian-copula", "mixture", "chow-liu", "made", "hclt", "nsf", "maf", "pixelcnn", "gpt")
FINALISTS = 4  # beside the baseline; of one process 3
CLOSE = 0.02  # of the lead over the baseline, within which a family that was given up may be as good
UNTRIED = "not tried, since the time was too short for all; name it in --families, or give more time"
PROBE = 300  # rows of each kind whose judging is timed
A_SECOND = 25  # held-out rows for each second of the time, 1,000 at least
LEAST_ROWS = 1_000


class Clock(NamedTuple):
    """Hold when a comparison began, as `time.time` has it, and how many seconds it may take."""

    begin: float
    seconds: float

    def left(self, share: float = 1.0) -> float:
        """Return the seconds until that share of the time is over."""
        return self.begin + share * self.seconds - time.time()


@dataclass
class Heats:
    """Hold the outcome of the small fits.

    Args:
        finalists: the families to fit to all rows, the most promising first; the baseline always.
        given_up: a row for each of the others.
        learning: the families given up whose criterion still fell when the clock ended them.
        close: the families given up that were within a fiftieth of the lead.
    """

    finalists: list[Family]
    given_up: list[Row]
    learning: list[str]
    close: list[str]


def held_out_rows(count: int, clock: Clock) -> int:
    """Return how many of so many held-out rows a comparison of that time scores."""
    return min(count, max(LEAST_ROWS, round(A_SECOND * clock.seconds)))


def judge_time(protocol: Protocol, rest: Tensor, seconds: float) -> int:
    """Return how many real rows samples are compared with, so that judging one family takes so many seconds at most.

    Args:
        protocol: of the comparison.
        rest: held-out rows that samples are not compared with, the context beside each.
        seconds: of judging one family's samples.
    """
    if len(protocol.half) <= PROBE:
        return len(protocol.half)
    few = min(PROBE, len(protocol.half), len(rest))
    begin = time.perf_counter()
    score_rows(replace(protocol, half=protocol.half[:few]), rest[:few])
    took = time.perf_counter() - begin
    most = int(few * seconds / max(took, 1e-3))
    return max(min(few, len(protocol.half)), min(most, len(protocol.half)))


def shorten(protocol: Protocol, judged: int) -> Protocol:
    """Return a protocol by which so many real rows, and four times as many samples, judge a family."""
    return replace(protocol, half=protocol.half[:judged], judged=4 * judged)


def run_heats(protocol: Protocol, chosen: Sequence[Family], baseline: str, jobs: int, clock: Clock, say: Say) -> Heats:
    """Fit every family to some of the rows for a little while, and choose those that go on.

    Args:
        protocol: of the comparison.
        chosen: the families, none of which refuses the data.
        baseline: the family that goes on in any case.
        jobs: processes at once.
        clock: of the comparison.
        say: is called with a line for each fit.
    """
    dense: list[Family] = [cls for cls in chosen if issubclass(cls, ApproximateDensity) and cls.name != "stack"]
    others = [cls for cls in chosen if cls not in dense]
    rivals = [cls for cls in dense if cls.name != baseline]
    most = FINALISTS if jobs > 1 else FINALISTS - 1
    if len(rivals) <= most:
        left_out = [Row(*names(cls), status="given up", reason=_without_density(cls)) for cls in others]
        return Heats(dense, left_out, [], [])
    train = protocol.train
    rows = train
    if len(train) > HEAT_ROWS and not protocol.ordered and not train.space.sequence:
        rows = train.rows(torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:HEAT_ROWS])
    elif len(train) > HEAT_ROWS:
        rows = train.rows(slice(len(train) - HEAT_ROWS, None))
    rivals.sort(key=lambda cls: PROMISING.index(cls.name) if cls.name in PROMISING else len(PROMISING))
    # Where reading and judging took long, the small fits still have a share of what is left.
    share = max(clock.left(SMALL), LATE * clock.left(FITTED))
    untried: list[Family] = []
    if 0.8 * share * jobs / len(rivals) < ENOUGH:
        untried = [cls for cls in rivals if cls.name in all_families() and cls.name not in PROMISING]
        rivals = [cls for cls in rivals if cls not in untried]
    budget = max(0.3, 0.8 * share * jobs / max(len(rivals), 1))
    small = replace(protocol, train=rows, heat=True, budget=budget, deadline=time.time() + 1.2 * share)
    floor = next(cls for cls in dense if cls.name == baseline)
    say(f"small fits of {len(rivals)} families, {budget:.1f} s each, to {len(rows):,} rows")
    trials = {t.family: t for t in run_trials(small, [(cls, 0) for cls in (floor, *rivals)], jobs, baseline, say)}
    score = {name: _score(trial) for name, trial in trials.items()}
    rivals.sort(key=lambda cls: -score[cls.name])
    going = [cls for cls in rivals if score[cls.name] > -math.inf]
    first = score[going[0].name] if going else -math.inf
    trusted = [cls for cls in going if cls.name in TRUSTED][:most]
    going = trusted + [cls for cls in going if cls not in trusted][: most - len(trusted)]
    out = [cls for cls in rivals if cls not in going]
    given_up = []
    for cls in out:
        said = trials[cls.name].error or (
            f"given up early: {score[cls.name]:.2f} nats a stopping row after a small fit, where the first had {first:.2f}"
        ).replace("-", "−")
        given_up.append(Row(*names(cls), status="failed" if trials[cls.name].error else "given up", reason=said))
    given_up += [Row(*names(cls), status="given up", reason=_without_density(cls)) for cls in others]
    given_up += [Row(*names(cls), status="given up", reason=UNTRIED) for cls in untried]
    lead = first - score[baseline]
    near = [cls.name for cls in out if score[cls.name] > first - max(CLOSE * lead, 0.05)]
    learning = [cls.name for cls in out if cls.name not in near and _falls(trials[cls.name], first)]
    return Heats([floor, *going], given_up, learning, near)


def unsettled(heats: Heats, trials: Sequence[Trial], budget: float = math.inf) -> str:
    """Return a sentence on what more time might change; "" where nothing suggests that it would.

    Args:
        heats: of the comparison.
        trials: of the finalists.
        budget: seconds of each; one that sees all rows at once and took four fifths of them was shaped by the time.
    """
    done = [trial for trial in trials if not trial.error]
    cut = list(dict.fromkeys(t.family for t in done if _falls(t) or _filled(t, budget)))
    said = []
    if cut:
        said.append(f"{listed(cut)} might still have improved when the clock ended the training")
    if heats.close:
        said.append(f"{listed(heats.close)} {'was' if len(heats.close) == 1 else 'were'} given up close behind")
    if heats.learning:
        said.append(f"{listed(heats.learning)} {'was' if len(heats.learning) == 1 else 'were'} still learning when given up")
    return f"More time may change the order: {'; '.join(said)}." if said else ""


def _without_density(cls: Family) -> str:
    if cls.name == "stack":
        return "its members take part themselves, and their stack is a row of its own where it is better"
    return "it has no density to be chosen by in a short time; name it with a budget to see its samples"


def _score(trial: Trial) -> float:
    """Return the mean log-density of the stopping rows; minus infinity without one."""
    if trial.error or trial.stopping is None or not len(trial.stopping):
        return -math.inf
    value = float(np.mean(trial.stopping))
    return value if math.isfinite(value) else -math.inf


def _filled(trial: Trial, budget: float) -> bool:
    """Return whether a training of hardly any evaluations took most of its time."""
    return len(trial.history.rows) < 4 and trial.history.steps > 0 and trial.history.seconds > 0.8 * budget


def _falls(trial: Trial, goal: float | None = None) -> bool:
    """Return whether the criterion still fell at the end of a training, so fast that the goal was in sight.

    Args:
        trial: with its history.
        goal: the log-density that would have to be reached if as much again were gained; None: any gain counts.
    """
    found = [row["criterion"] for row in trial.history.rows if row.get("criterion") is not None]
    if trial.history.stopped != "max_seconds":
        return False
    if len(found) < 4:  # one that sees all rows at once was not done with them
        return goal is None
    gain = found[len(found) // 2] - min(found[len(found) // 2 :])  # of the second half of the evaluations
    return gain > 0.01 if goal is None else -min(found) + gain > goal
