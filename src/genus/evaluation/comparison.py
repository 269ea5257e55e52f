"""Compare every applicable family on one data set, with equal budgets, several seeds, and one protocol."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from genus.codec.notes import Note
from genus.configurable import unregistered_reason
from genus.data import Dataset, read
from genus.errors import DataError, GenusError, near
from genus.evaluation.assembly import assemble, cores_here, reference_scores
from genus.evaluation.cluster import connected
from genus.evaluation.extractor import make_extractor
from genus.evaluation.given import Given
from genus.evaluation.halving import (
    FITTED,
    JUDGED,
    Clock,
    SmallFits,
    held_out_rows,
    limit_rows,
    run_small_fits,
    share_time,
    unsettled,
    untrained_row,
)
from genus.evaluation.metrics import LEAST
from genus.evaluation.partition import hold_out, partition_notes
from genus.evaluation.protocol import Protocol, with_context
from genus.evaluation.report import Report
from genus.evaluation.results import Row
from genus.evaluation.rows import BASELINES, baseline_of, family_row, names, pair_rows
from genus.evaluation.running import Family, Runner, line_printer, warm_up
from genus.evaluation.samples import given_row, read_samples
from genus.evaluation.sequences import draws
from genus.evaluation.stacking import stack_row
from genus.evaluation.trial import Trial
from genus.evaluation.winner import keep_winner
from genus.ladder import GenerativeModel
from genus.registry import families as all_families, family, refusal

__all__ = ["compare"]

PATIENCE = 60.0  # seconds of judging one family's samples, where its budget is less; more take fewer rows
CALIBRATED = 2.0  # seconds of calibrating the winner's predictions, at least
AT_ONCE = 0.05  # of the time, for fitting the baseline, of which the first page is
SENSED, LEAST_SENSED = 0.04, 2.0  # of the time, or seconds of a budget, that features of images and sounds are trained


def compare(
    data: Any,
    families: Sequence[str | type[GenerativeModel]] | None = None,
    *,
    budget: float = 30.0,
    seeds: int | None = None,
    seed: int = 0,
    test: float = 0.2,
    hyper: Mapping[str, Mapping[str, Any]] | None = None,
    jobs: int | None = None,
    progress: bool | Callable[[str], None] = True,
    samples: Mapping[str, Any] | None = None,
    split: str = "random",
    stack: bool = True,
    time_limit: float | None = None,
    folder: str | os.PathLike[str] | None = None,
    cluster: str | None = None,
) -> Report:
    """Fit every applicable family to most of the rows and evaluate it on the rest.

    A fifth of the rows is held out before anything is fitted; log-densities are means over all of these, differences
    between families are paired row by row. Samples are compared with one half of them; the other half against it is
    the row of real data. With a context, rows are compared together with it. The space is the same for every family: its
    charts and atoms are measured on the training rows; types, levels, steps and bounds on all rows, as the data are read, so
    that every held-out row has a place. A family that refuses the data or fails is a row that says so.

    Of one long sequence, its end is held out. Samples of sequences are not compared with real ones as a whole: it is counted
    how many of them stand in the training set, how many among the held-out rows, and how many are new.

    Args:
        data: a Dataset, or anything that `genus.read` takes.
        families: names, or classes of one's own; by default every family. The baseline is always among them: independent
            columns, whatever the context, and of sequences a Markov chain. What is above it is dependence, and nothing else.
        budget: seconds of fitting for each family and seed; a family that is done sooner stops sooner.
        seeds: how often every family is fitted, with seeds one after another; by default three times, with `time_limit` once.
        seed: the first of them. Whatever it is, the same rows are held out.
        test: the share of rows held out.
        hyper: hyper-parameters by family name; by default what `family.default_hyperparameters` says of this many rows.
        jobs: processes at once; by default one for each core. Joblib runs them, on its active backend.
        progress: True prints a line for each fit that ends; a function is called with that line.
        samples: name -> samples of another generator, which are judged by the same metrics: a path, a frame, an array. Only
            where it was fitted to the rows that are not held out here, `data.split(test=, seed=0)[0]`, is that fair; `evaluate`
            takes training and held-out rows apart.
        split: "random", rows of a group together (`genus.read(..., group=)`); "time": the latest rows are held out, by the only
            column of dates or instants; or the name of a column by which rows are ordered.
        stack: add the mixture of the exact families that were fitted, weighted by validation rows, as a row
            where it has two members or more; nothing is fitted for it.
        time_limit: seconds of the whole comparison, judging included, in place of `budget`: every family is fitted to some of
            the rows for a little while, the best of these by validation rows go on, and as many rows judge them as there
            is time for.
        folder: where the winner is saved, as best.genus with 1,000 draws, and with `time_limit` the page as results come.
        cluster: where fits run: the address of a Dask scheduler, tcp://host:8786; "ray"; or "local", the processes of this
            machine. The data are sent once, `jobs` are by default those of the cluster, and the fit of a lost worker is tried
            again.

    Returns:
        A `Report`: print it, `write` it to a folder, or read its `rows`. After Ctrl-C it holds the fits that have ended.

    Raises:
        GenusError: an unknown family.
        DataError: too few rows (100 at least, of sequences 10, where a fifth is held out), or columns of one value only.

    >>> import genus
    >>> report = genus.compare("iris", ["naive-bayes", "mixture"], budget=5, seeds=1, jobs=1, progress=False, stack=False)
    >>> [row.family for row in report.rows]
    ['independent', 'naive-bayes', 'mixture']
    """
    clock = Clock(time.time(), math.inf if time_limit is None else time_limit)
    data = data if isinstance(data, Dataset) else read(data)
    _check_data(data, test)
    say, baseline = line_printer(progress), baseline_of(data.space, data.context)
    chosen = _chosen(families, baseline)
    refused = {cls.name: reason for cls in chosen if (reason := refusal(cls.name, data.space, data.context))}
    fitted = [cls for cls in chosen if cls.name not in refused]
    train, held = _partition(data, test, split, clock)
    given = read_samples(samples, train, [cls.name for cls in chosen])
    for name, reason in refused.items():
        say(f"{name}: left out, {reason}")
    half, rows = len(held) // 2, with_context(held)
    stacked = stack and not data.space.sequence and len(fitted) > 2
    protocol = Protocol(train, held, rows[:half], budget, dict(hyper or {}), 1, split != "random", stacked=stacked)
    every = range(seed, seed + (seeds or (3 if time_limit is None else 1)))
    with connected(cluster) as machines:
        most = cores_here() if machines is None else machines.jobs
        runner = Runner(min(jobs or most, max(len(fitted) * len(every), 1)), baseline, say, machines)
        run = Comparison(data, chosen, fitted, refused, given, protocol, rows[half:], runner, clock, every, split, folder)
        return _compare(run)


@dataclass
class Comparison:
    """Hold the state of a comparison: its data, its families, its protocol, and how and for how long it runs.

    Args:
        data: all rows.
        chosen: the families, the baseline first.
        fitted: those of them that take the data.
        refused: the reason for which each of the others does not, by name.
        given: samples of other generators.
        protocol: of all trials.
        rest: the held-out rows that samples are not compared with, the context beside each.
        runner: of the trials.
        clock: of the comparison.
        seeds: of the fits of each family.
        split: how rows were held out.
        folder: of the report; None: nothing is written.
        small: the outcome of the small fits, where there were any.
    """

    data: Dataset
    chosen: list[Family]
    fitted: list[Family]
    refused: dict[str, str]
    given: list[Given]
    protocol: Protocol
    rest: Tensor
    runner: Runner
    clock: Clock
    seeds: range
    split: str
    folder: str | os.PathLike[str] | None
    small: SmallFits = field(default_factory=lambda: SmallFits([]))

    @property
    def in_time(self) -> bool:
        """Return whether the whole comparison has a limit of time."""
        return self.clock.seconds < math.inf


def _partition(data: Dataset, test: float, split: str, clock: Clock) -> tuple[Dataset, Dataset]:
    """Return training and held-out rows in the space of the training rows, as many held-out ones as there is time to score."""
    train, held = hold_out(data, test, split)
    train = train.charted_on(train)
    held = held.with_space(train.space)
    if clock.seconds < math.inf and not held.consecutive:
        count = held_out_rows(len(held), clock, held.space.dim)
        held = held.rows((torch.arange(count) * len(held)) // count)  # evenly spaced
    return train, held


def _compare(run: Comparison) -> Report:
    """Fit and evaluate the families of a comparison, and return its report; save the winner where there is a folder."""
    threads = min(torch.get_num_threads(), max(1, cores_here() // run.runner.jobs))  # fewer where the caller says so
    seconds = min(SENSED * run.clock.seconds, max(run.protocol.budget, LEAST_SENSED))
    extractor = make_extractor(run.protocol.train, seconds)
    run.protocol = replace(run.protocol, threads=threads, extractor=extractor)
    if extractor is not None:
        run.runner.say(f"features to judge samples by: {extractor.words}, {extractor.seconds:.1f} s")
    _limit_judging(run)
    with TemporaryDirectory() if run.folder is not None else nullcontext() as kept:
        run.protocol = replace(run.protocol, folder=kept)
        if run.in_time:
            trials = _run_in_time(run)
            outlook = unsettled(run.small, trials, run.protocol)
        else:
            trials, outlook = run.runner.run(run.protocol, [(cls, seed) for seed in run.seeds for cls in run.fitted]), ""
        report = _report(run, trials, reference_scores(run.protocol, run.rest), outlook)
        if run.folder is not None and kept is not None:
            try:
                keep_winner(report, Path(kept), Path(run.folder), run.protocol, max(CALIBRATED, run.clock.left() / 2))
            except GenusError as error:  # hours of work are not lost for a file
                report.notes.append(Note(f"the winner could not be saved: {str(error).rstrip('.')}"))
    return report


def _limit_judging(run: Comparison) -> None:
    """Let fewer rows judge samples where judging one family would take longer than its share of the time, or its budget."""
    if run.data.space.sequence:
        return
    seconds = JUDGED * run.clock.seconds if run.in_time else max(run.protocol.budget, PATIENCE)
    protocol, rest = limit_rows(run.protocol, run.rest, seconds)
    if run.in_time or len(protocol.compared) < len(run.protocol.compared):
        run.protocol, run.rest = protocol, rest


def _run_in_time(run: Comparison) -> list[Trial]:
    """Run small fits of all families, and return the trials of those that went on, all within the time.

    The baseline is fitted first, so that there is a page at once; the page is rewritten with whatever ends.
    """
    protocol, clock, seeds, runner = run.protocol, run.clock, run.seeds, run.runner

    def publish(trials: Sequence[Trial], left: str) -> None:
        """Rewrite the page with what has ended, without pictures, where there is a folder."""
        if run.folder is None or all(trial.error for trial in trials):
            return
        early = _report(run, trials, {}, f"This is no verdict yet: still to come are {left}.")
        for row in early.rows:
            row.samples = row.codes = None
        early.real = None
        early.write(run.folder)

    soon = replace(protocol, budget=max(1.0, AT_ONCE * clock.seconds))
    warm_up(runner.jobs)
    trials = runner.run(soon, [(family(runner.baseline), seed) for seed in seeds])
    publish(trials, "the small fits of all other families")
    run.small = run_small_fits(protocol, run.fitted, runner, clock, seeds[0])
    order, budgets = share_time(run.small, runner.jobs, len(seeds), clock)
    budget, deadline = max(budgets.values(), default=soon.budget), clock.begin + FITTED * clock.seconds
    run.protocol = replace(protocol, budget=budget, budgets=budgets, deadline=deadline)
    work = [(cls, seed) for seed in seeds for cls in order]
    if not work:
        return trials

    def rewrite(more: Sequence[Trial]) -> None:
        if len(more) < len(work):
            publish([*trials, *more], f"{len(work) - len(more)} of {len(work)} fits")

    publish(trials, f"all {len(work)} fits of those that go on")
    return trials + runner.run(run.protocol, work, rewrite, trials)


def _report(run: Comparison, trials: Sequence[Trial], references: dict[str, dict[str, float]], outlook: str) -> Report:
    """Return the report of the trials that have ended; where there are no references yet, without the stack and samples of
    others.
    """
    protocol, held, baseline = run.protocol, run.protocol.test, run.runner.baseline
    ended = {trial.family for trial in trials}
    rows = [family_row(cls, [t for t in trials if t.family == cls.name], held) for cls in run.fitted if cls.name in ended]
    stacks = protocol.stacked and bool(references)
    stacked, more, weights = stack_row(protocol, rows, trials, held) if stacks else (None, [], {})
    together = [stacked] if stacked is not None else []
    pair_rows([*rows, *together], [*trials, *more], baseline, held.groups)
    rows = [untrained_row(run.small, row) for row in rows] + run.small.given_up
    rows += [Row(*names(cls), status="refused", reason=run.refused[cls.name]) for cls in run.chosen if cls.name in run.refused]
    place = {cls.name: i for i, cls in enumerate(run.chosen)}
    rows.sort(key=lambda row: place[row.family])
    rows += together
    rows += [given_row(protocol, one) for one in run.given] if references else []
    return assemble(
        protocol,
        rows,
        references,
        replace(run.data, notes=(*run.data.notes, *partition_notes(run.data, run.split))),
        run.clock.begin,
        baseline=BASELINES[baseline],
        baseline_family=baseline,
        budget_seconds=protocol.budget,
        time_seconds=run.clock.seconds if run.in_time else None,
        judged_rows=_judged(protocol),
        seeds=list(run.seeds),
        sample_count=protocol.sample_count if run.data.space.sequence else len(protocol.compared),
        cores=cores_here(),
        outlook=outlook,
        weights=weights,
    )


def _judged(protocol: Protocol) -> int:
    """Return how many real rows are compared with samples; for sequences, no more than samples are drawn."""
    if not protocol.train.space.sequence:
        return len(protocol.compared)
    count, length = draws(protocol.train.space, protocol.train.consecutive)
    return min(count, protocol.train.x.numel() // (2 * length) if protocol.train.consecutive else len(protocol.compared))


# -- before it starts -----------------------------------------------------------------------------------------------------


def _check_data(data: Dataset, test: float) -> None:
    if len(data) < (needed := math.ceil(2 * (1 if data.space.sequence else LEAST) / test)):
        raise DataError(f"{data.name} has {len(data)} rows; a comparison needs {needed} or more, to hold out some of them.")
    if not data.space.coordinate_dim:
        raise DataError(f"Every column of {data.name} holds one value only; there is nothing to compare families by.")


def _chosen(wanted: Sequence[str | Family] | None, baseline: str) -> list[Family]:
    """Return the families to compare. The baseline comes first and always: without it no number tells how much was learned."""
    listed = {baseline: family(baseline)} | all_families()
    if wanted is not None and not wanted:
        raise GenusError("No family is named; name some to compare, or leave families out to compare all.")
    chosen = list(listed.values()) if wanted is None else [_family(one, listed) for one in wanted]
    return list({cls.name: cls for cls in (listed[baseline], *chosen)}.values())


def _family(wanted: str | Family, listed: Mapping[str, Family]) -> Family:
    if isinstance(wanted, type) and (reason := unregistered_reason(wanted)):
        raise GenusError(f"{wanted.__name__} cannot be compared: {reason}")
    name = wanted.name if isinstance(wanted, type) else wanted
    if name not in listed:
        raise GenusError(f"There is no family {name!r}{near(name, listed)}; there are {', '.join(listed)}.")
    return wanted if isinstance(wanted, type) else listed[name]
