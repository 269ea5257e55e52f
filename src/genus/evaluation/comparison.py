"""Every applicable family on one data set, with equal budgets, several seeds, and one protocol."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from genus.codec.notes import Note
from genus.configurable import unregistered_reason
from genus.data import Dataset, read
from genus.errors import DataError, GenusError
from genus.evaluation.assembly import assemble, cores_here, reference_scores
from genus.evaluation.cluster import Cluster, connected
from genus.evaluation.extractor import make_extractor
from genus.evaluation.given import Given
from genus.evaluation.metrics import LEAST
from genus.evaluation.partition import hold_out, partition_notes
from genus.evaluation.race import (
    FITTED,
    JUDGED,
    Clock,
    Heats,
    held_out_rows,
    judge_time,
    run_heats,
    share_time,
    shorten,
    unsettled,
)
from genus.evaluation.report import Report
from genus.evaluation.results import Row
from genus.evaluation.rows import BASELINES, baseline_of, family_row, names, pair_rows
from genus.evaluation.running import run_trials, warm_up
from genus.evaluation.samples import given_row, read_samples
from genus.evaluation.sequences import draws
from genus.evaluation.stacking import stack_row
from genus.evaluation.trial import Protocol, Trial, with_context
from genus.evaluation.winner import keep_winner
from genus.ladder import GenerativeModel
from genus.notebook import printable
from genus.registry import families as all_families, family, refusal

__all__ = ["compare"]

PATIENCE = 60.0  # seconds of judging one family's samples, where its budget is less; more take fewer rows
CALIBRATED = 2.0  # seconds of calibrating the winner's predictions, at least
AT_ONCE = 0.05  # of the time, for fitting the baseline, of which the first page is
SENSED, LEAST_SENSED = 0.04, 2.0  # of the time, or seconds of a budget, that features of images and sounds are trained

Family = type[GenerativeModel]
Say = Callable[[str], None]


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
    that every held-out row has a place. A family that
    refuses the data or fails is a row that says so.

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
        stack: add the mixture of the exact families that were fitted, weighted by the rows that stopped their trainings, as a
            row where it has two members or more; nothing is fitted for it.
        time_limit: seconds of the whole comparison, judging included, in place of `budget`: every family is fitted to some of
            the rows for a little while, the best of these by the rows that stop trainings go on, and as many rows judge them
            as there is time for.
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
    every = range(seed, seed + (seeds or (3 if time_limit is None else 1)))
    data = data if isinstance(data, Dataset) else read(data)
    _check_data(data, test)
    say = progress if callable(progress) else _print_line if progress else lambda line: None
    chosen = _chosen(families, baseline_of(data.space, data.context))
    setup, rest = _set_up(data, chosen, samples, hold_out(data, test, split), clock, (budget, every, split, stack))
    setup = replace(setup, protocol=replace(setup.protocol, hyper=dict(hyper or {})))
    for name, reason in setup.refused.items():
        say(f"{name}: left out, {reason}")
    with connected(cluster) as machines:
        return _compared(setup, rest, jobs, folder, machines, say)


def _compared(
    setup: Setup, rest: Tensor, jobs: int | None, folder: str | os.PathLike[str] | None, cluster: Cluster | None, say: Say
) -> Report:
    """Return the report of a comparison that is set up."""
    clock, seeds = setup.clock, setup.seeds
    cores = cores_here()
    jobs = min(jobs or (cores if cluster is None else cluster.jobs), max(len(setup.fitted) * len(seeds), 1))
    threads = min(torch.get_num_threads(), max(1, cores // jobs))  # fewer where the caller says so
    extractor = make_extractor(setup.protocol.train, min(SENSED * clock.seconds, max(setup.protocol.budget, LEAST_SENSED)))
    setup = replace(setup, protocol=replace(setup.protocol, threads=threads, extractor=extractor))
    if extractor is not None:
        say(f"features to judge samples by: {extractor.words}, {extractor.seconds:.1f} s")
    setup, rest = _limited(setup, rest)
    with TemporaryDirectory() if folder is not None else nullcontext() as kept:
        setup = replace(setup, protocol=replace(setup.protocol, folder=kept))
        if clock.seconds < math.inf:
            setup, trials = _hurried(setup, jobs, folder, cluster, say)
            outlook = unsettled(setup.heats, trials, setup.protocol)
        else:
            work = [(cls, seed) for seed in seeds for cls in setup.fitted]
            trials, outlook = run_trials(setup.protocol, work, jobs, setup.baseline, say, cluster=cluster), ""
        whole = _report(setup, trials, reference_scores(setup.protocol, rest), outlook)
        if folder is not None and kept is not None:
            try:
                keep_winner(whole, Path(kept), Path(folder), setup.protocol, max(CALIBRATED, clock.left() / 2))
            except GenusError as error:  # hours of work are not lost for a file
                whole.notes.append(Note(f"the winner could not be saved: {str(error).rstrip('.')}"))
    return whole


@dataclass(frozen=True)
class Setup:
    """Hold what a comparison has before it fits: its data, families, protocol and clock."""

    data: Dataset
    protocol: Protocol
    chosen: list[Family]
    fitted: list[Family]
    refused: dict[str, str]
    given: list[Given]
    heats: Heats
    clock: Clock
    seeds: range
    split: str

    @property
    def baseline(self) -> str:
        """Return the family that always takes part."""
        return baseline_of(self.data.space, self.data.context)


def _set_up(
    data: Dataset,
    chosen: list[Family],
    samples: Mapping[str, Any] | None,
    parts: tuple[Dataset, Dataset],
    clock: Clock,
    options: tuple[float, range, str, bool],
) -> tuple[Setup, Tensor]:
    """Return the set-up of a comparison, and the held-out rows that samples are not compared with."""
    budget, seeds, split, stack = options
    train = parts[0].charted_on(parts[0])
    held = parts[1].within(train.space)
    if clock.seconds < math.inf and not held.consecutive:
        count = held_out_rows(len(held), clock, held.space.dim)
        held = held.rows((torch.arange(count) * len(held)) // count)  # evenly spaced
    given = read_samples(samples, train, [cls.name for cls in chosen])
    refused = {cls.name: reason for cls in chosen if (reason := refusal(cls.name, data.space, data.context))}
    fitted = [cls for cls in chosen if cls.name not in refused]
    half, rows = len(held) // 2, with_context(held)
    stacked = stack and not data.space.sequence and len(fitted) > 2
    protocol = Protocol(train, held, rows[:half], budget, {}, 1, split != "random", stacked=stacked)
    return Setup(data, protocol, chosen, fitted, refused, given, Heats(fitted, [], [], []), clock, seeds, split), rows[half:]


def _limited(setup: Setup, rest: Tensor) -> tuple[Setup, Tensor]:
    """Return the set-up with fewer rows that judge samples, where judging one family would take longer than its share of the
    time, or than its budget.
    """
    protocol, clock = setup.protocol, setup.clock
    if setup.data.space.sequence:
        return setup, rest
    in_time = clock.seconds < math.inf
    judged = judge_time(protocol, rest, JUDGED * clock.seconds if in_time else max(protocol.budget, PATIENCE))
    if judged == len(protocol.half) and not in_time:
        return setup, rest
    return replace(setup, protocol=shorten(protocol, judged)), rest[:judged]


def _hurried(
    setup: Setup, jobs: int, folder: str | os.PathLike[str] | None, cluster: Cluster | None, say: Say
) -> tuple[Setup, list[Trial]]:
    """Return the set-up after the small fits, and the trials of the families that went on, all within the time.

    The baseline is fitted first, so that there is a page at once; the page is rewritten with whatever ends.
    """
    protocol, clock, seeds = setup.protocol, setup.clock, setup.seeds

    def publish(trials: Sequence[Trial], left: str) -> None:
        """Rewrite the page with what has ended, without pictures, where there is a folder."""
        if folder is None or all(trial.error for trial in trials):
            return
        early = _report(setup, trials, {}, f"{left} still to come, so this is no verdict yet.")
        for row in early.rows:
            row.samples = row.codes = None
        early.real = None
        early.write(folder)

    floor = family(setup.baseline)
    soon = replace(protocol, budget=max(1.0, AT_ONCE * clock.seconds))
    warm_up(jobs)
    trials = run_trials(soon, [(floor, seed) for seed in seeds], jobs, setup.baseline, say, cluster=cluster)
    publish(trials, f"Small fits of {len(setup.fitted) - 1} families are")
    heats = run_heats(protocol, setup.fitted, setup.baseline, jobs, clock, say, cluster, seeds[0])
    order, budgets = share_time(heats, jobs, len(seeds), clock)
    protocol = replace(
        protocol, budget=max(budgets.values(), default=soon.budget), deadline=clock.begin + FITTED * clock.seconds
    )
    setup = replace(setup, heats=heats, protocol=replace(protocol, budgets=budgets))
    work = [(cls, seed) for seed in seeds for cls in order]
    if not work:
        return setup, trials

    def rewrite(more: Sequence[Trial]) -> None:
        if len(more) < len(work):
            publish([*trials, *more], f"{len(work) - len(more)} of {len(work)} fits are")

    publish(trials, f"{len(work)} fits are")
    return setup, trials + run_trials(setup.protocol, work, jobs, setup.baseline, say, rewrite, cluster, trials)


def _report(setup: Setup, trials: Sequence[Trial], references: dict[str, dict[str, float]], outlook: str) -> Report:
    """Return the report of the trials that have ended; where there are no references yet, without the stack and samples of
    others.
    """
    protocol, held = setup.protocol, setup.protocol.test
    ended = {trial.family for trial in trials}
    rows = [family_row(cls, [t for t in trials if t.family == cls.name], held) for cls in setup.fitted if cls.name in ended]
    stacks = protocol.stacked and bool(references)
    stacked, more, weights = stack_row(protocol, rows, trials, held) if stacks else (None, [], {})
    together = [stacked] if stacked is not None else []
    pair_rows([*rows, *together], [*trials, *more], setup.baseline, held.groups)
    rows += setup.heats.given_up
    rows += [
        Row(*names(cls), status="refused", reason=setup.refused[cls.name]) for cls in setup.chosen if cls.name in setup.refused
    ]
    place = {cls.name: i for i, cls in enumerate(setup.chosen)}
    rows.sort(key=lambda row: place[row.family])
    rows += together
    rows += [given_row(protocol, one) for one in setup.given] if references else []
    return assemble(
        protocol,
        rows,
        references,
        replace(setup.data, notes=(*setup.data.notes, *partition_notes(setup.data, setup.split))),
        setup.clock.begin,
        baseline=BASELINES[setup.baseline],
        baseline_family=setup.baseline,
        budget_seconds=protocol.budget,
        time_seconds=setup.clock.seconds if setup.clock.seconds < math.inf else None,
        judged_rows=_judged(protocol),
        seeds=list(setup.seeds),
        sample_count=protocol.sample_count if setup.data.space.sequence else len(protocol.half),
        cores=cores_here(),
        outlook=outlook,
        weights=weights,
    )


def _judged(protocol: Protocol) -> int:
    """Return how many real rows are compared with samples; for sequences, no more than samples are drawn."""
    if not protocol.train.space.sequence:
        return len(protocol.half)
    count, length = draws(protocol.train.space, protocol.train.consecutive)
    return min(count, protocol.train.x.numel() // (2 * length) if protocol.train.consecutive else len(protocol.half))


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
        raise GenusError(f"There is no family {name!r}; there are {', '.join(listed)}.")
    return wanted if isinstance(wanted, type) else listed[name]


def _print_line(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)
