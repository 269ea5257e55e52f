"""Every applicable family on one data set, with equal budgets, several seeds, and one protocol."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from genus.configurable import classes, unregistered_reason
from genus.data import Dataset, read
from genus.errors import DataError, GenusError
from genus.evaluation.assembly import assemble, cores_here, reference_scores
from genus.evaluation.metrics import LEAST
from genus.evaluation.partition import hold_out, partition_notes
from genus.evaluation.report import Report
from genus.evaluation.results import Row
from genus.evaluation.rows import BASELINES, family_row, names, pair_rows
from genus.evaluation.samples import given_row, read_samples
from genus.evaluation.trial import Protocol, Trial, run_trial, with_context
from genus.evaluation.workers import Parcel
from genus.ladder import GenerativeModel, registered_families
from genus.registry import families as all_families
from genus.registry import family, refusal

__all__ = ["compare"]

Family = type[GenerativeModel]
Say = Callable[[str], None]


def compare(
    data: Any,
    families: Sequence[str | type[GenerativeModel]] | None = None,
    *,
    budget: float = 30.0,
    seeds: int = 3,
    test: float = 0.2,
    hyper: Mapping[str, Mapping[str, Any]] | None = None,
    jobs: int | None = None,
    progress: bool | Callable[[str], None] = True,
    samples: Mapping[str, Any] | None = None,
    split: str = "random",
) -> Report:
    """Fit every applicable family to most of the rows and evaluate it on the rest.

    A fifth of the rows is held out before anything is fitted; log-densities are means over all of these, differences
    between families are paired row by row. Samples are compared with one half of them; the other half against it is
    the row of real data. With a context, rows are compared together with it. The space is the same for every family: its
    charts are measured on the training rows; types, levels, atoms and bounds on all rows, as the data are read. A family that
    refuses the data or fails is a row that says so.

    Of one long sequence, its end is held out. Samples of sequences are not compared with real ones as a whole: it is counted
    how many of them stand in the training set, how many among the held-out rows, and how many are new.

    Args:
        data: a Dataset, or anything that `genus.read` takes.
        families: names, or classes of one's own; by default every family. The baseline is always among them: independent
            columns, whatever the context, and of sequences a Markov chain. What is above it is dependence, and nothing else.
        budget: seconds of fitting for each family and seed; a family that is done sooner stops sooner.
        seeds: how often every family is fitted, with seeds 0, 1, ...
        test: the share of rows held out.
        hyper: hyper-parameters by family name; by default what `family.default_hyperparameters` says of this many rows.
        jobs: processes at once; by default one for each core. Joblib runs them, on its active backend.
        progress: True prints a line for each fit that ends; a function is called with that line.
        samples: name -> samples of another generator, which are judged by the same metrics: a path, a frame, an array. Only
            where it was fitted to the rows that are not held out here, `data.split(test=, seed=0)[0]`, is that fair; `evaluate`
            takes training and held-out rows apart.
        split: "random", rows of a group together (`genus.read(..., group=)`); "time": the latest rows are held out, by the only
            column of dates or instants; or the name of a column by which rows are ordered.

    Returns:
        A `Report`: print it, `write` it to a folder, or read its `rows`. After Ctrl-C it holds the fits that have ended.

    Raises:
        GenusError: an unknown family.
        DataError: too few rows (100 at least, of sequences 10, where a fifth is held out), or columns of one value only.

    >>> import genus
    >>> report = genus.compare("iris", ["naive-bayes", "mixture"], budget=5, seeds=1, jobs=1, progress=False)
    >>> [row.family for row in report.rows]
    ['independent', 'naive-bayes', 'mixture']
    """
    begin = time.perf_counter()
    data = data if isinstance(data, Dataset) else read(data)
    _check_data(data, test)
    baseline, baseline_words = BASELINES[data.space.sequence]
    chosen = _chosen(families, baseline)
    say = progress if callable(progress) else _print_line if progress else _say_nothing
    cores = cores_here()
    train, held = hold_out(data, test, split)
    train, held = train.charted_on(train), held.charted_on(train)
    given = read_samples(samples, train, [cls.name for cls in chosen])
    refused = {cls.name: reason for cls in chosen if (reason := refusal(cls.name, data.space, data.context))}
    work = [(cls, seed) for seed in range(seeds) for cls in chosen if cls.name not in refused]
    jobs = min(jobs or cores, max(len(work), 1))
    threads = min(torch.get_num_threads(), max(1, cores // jobs))  # fewer where the caller says so
    half, held_rows = len(held) // 2, with_context(held)
    protocol = Protocol(train, held, held_rows[:half], budget, dict(hyper or {}), threads, split != "random")
    for name, reason in refused.items():
        say(f"{name}: left out, {reason}")
    trials = _trials(protocol, work, jobs, baseline, say)
    references = reference_scores(protocol, held_rows[half:])
    rows = [
        Row(*names(cls), status="refused", reason=refused[cls.name])
        if cls.name in refused
        else family_row(cls, [trial for trial in trials if trial.family == cls.name], held)
        for cls in chosen
    ]
    pair_rows(rows, trials, baseline, held.groups)
    rows += [given_row(protocol, one) for one in given]
    return assemble(
        protocol,
        rows,
        references,
        replace(data, notes=(*data.notes, *partition_notes(data, split))),
        begin,
        baseline=baseline_words,
        baseline_family=baseline,
        budget_seconds=budget,
        seeds=list(range(seeds)),
        sample_count=protocol.sample_count if data.space.sequence else half,
        cores=cores,
    )


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
    print(line, file=sys.stderr, flush=True)


def _say_nothing(line: str) -> None:
    pass


# -- the trials -----------------------------------------------------------------------------------------------------------


def _trials(protocol: Protocol, work: Sequence[tuple[Family, int]], jobs: int, baseline: str, say: Say) -> list[Trial]:
    """Return all trials by seed; where Ctrl-C ends them, those that have not ended are errors."""
    at_most = math.ceil(len(work) / jobs) * protocol.budget
    whole = f"{at_most:.0f} s" if at_most < 120 else f"{at_most / 60:.0f} minutes"
    say(f"{len(work)} fits of {protocol.budget:g} s at most, {jobs} at once: {whole} at most, and evaluating them")
    trials: list[Trial] = []
    try:
        for trial in _run(protocol, work, jobs):
            trials.append(trial)
            say(f"[{len(trials)}/{len(work)}] {_summary(trial)}")
    except KeyboardInterrupt:
        ended = {(trial.family, trial.seed) for trial in trials}
        if not any(trial.family == baseline and not trial.error for trial in trials):
            raise KeyboardInterrupt("interrupted before there was anything to compare.") from None
        say(f"interrupted: the report is of the {len(trials)} fits that have ended")
        open_work = [(cls, seed) for cls, seed in work if (cls.name, seed) not in ended]
        trials += [Trial(cls.name, seed, error="it was interrupted") for cls, seed in open_work]
    return sorted(trials, key=lambda trial: trial.seed)


def _run(protocol: Protocol, work: Sequence[tuple[Family, int]], jobs: int) -> Iterator[Trial]:
    """Yield the trials in the order they end; in worker processes where several run at once."""
    if jobs <= 1:
        yield from (run_trial(protocol, cls, seed) for cls, seed in work)
        return
    from joblib import Parallel, delayed

    own = [Parcel.pack(cls) for cls in registered_families().values() if not cls.__module__.startswith("genus.")]
    parcels = {cls.name: Parcel.pack(cls) for cls, _ in work}
    # Every trial limits its own threads, so that this holds on whatever backend is active (loky, Dask, Ray).
    parallel = Parallel(n_jobs=jobs, return_as="generator_unordered")
    yield from parallel(delayed(_run_in_worker)(protocol, cls.name, parcels[cls.name], own, seed) for cls, seed in work)


def _run_in_worker(protocol: Protocol, name: str, parcel: Parcel, own: Sequence[Parcel], seed: int) -> Trial:
    """Return the trial of a family, after registering the caller's own families, which one may name another of."""
    try:
        cls = parcel.unpack()
    except Exception as error:  # the caller sees why, instead of a pool of processes that broke
        return Trial(name, seed, error=f"its class could not be sent to a worker process, {type(error).__name__}: {error}")
    for other in own:
        with suppress(Exception):  # it is missed only where the family needs it, and then by name
            family_of_caller = other.unpack()
            classes[family_of_caller.name] = family_of_caller
    classes[name] = cls
    return run_trial(protocol, cls, seed)


def _summary(trial: Trial) -> str:
    head = f"{trial.family}, seed {trial.seed}"
    if trial.error:
        return f"{head}: failed, {trial.error}"
    density = "" if trial.log_density is None else f"{trial.log_density.mean():.3f} nats a row, "
    samples = f"two-sample AUC {trial.metrics['c2st']:.3f}" if "c2st" in trial.metrics else f"{trial.metrics['new']:.0%} new"
    return f"{head}: {density}{samples}, {trial.history.seconds:.1f} s"
