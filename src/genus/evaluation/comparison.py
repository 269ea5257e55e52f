"""Every applicable family on one data set, with equal budgets, several seeds, and one protocol."""

from __future__ import annotations

import math
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genus.data import Dataset, read
from genus.errors import DataError, GenusError
from genus.evaluation.classifiers import tstr
from genus.evaluation.codes import Codes, codes_of
from genus.evaluation.metrics import CELLS, LEARNT, LEAST, METRICS, NEIGHBOURS, evaluate, independent_columns, torch_threads
from genus.evaluation.report import Report, Row
from genus.evaluation.sequences import NOVELTY, draws, evaluate_sequences, spans
from genus.evaluation.workers import Parcel
from genus.model import ApproximateDensity, GenerativeModel, TractableDensity, in_batches, nameless, registered
from genus.models.chain_rule import ChainRule
from genus.registry import build, families, family, refusal, suggested
from genus.space import Category, Space
from genus.training import History, fit

__all__ = ["compare"]

EVIDENCE = 64  # importance samples of the estimate that stands beside a bound
BOUND = 16  # draws that a bound's mean is taken over
# The family that always takes part, of tables and images and of sequences, and in words.
BASELINES = {
    False: ("naive-bayes", "naive Bayes (independent columns)"),
    True: ("markov", "the Markov chain (counts of n-grams)"),
}
VALUES = 2**18  # coordinates that a chain rule draws at once


@dataclass
class Trial:
    """One family fitted with one seed."""

    family: str
    seed: int
    error: str = ""
    parameters: int = 0
    history: History = field(default_factory=History)
    log_density: np.ndarray | None = None  # (rows held out,) exact or bound, nats
    train_log_density: float | None = None
    estimate: float | None = None
    samples: Tensor | None = None
    codes: Codes | None = None
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """What every trial shares."""

    train: Dataset
    test: Dataset
    half: Tensor  # the half of the held-out rows that samples are compared with, their conditions beside them
    budget: float
    hyper: Mapping[str, Mapping[str, Any]]
    threads: int


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
) -> Report:
    """Fit every applicable family to most of the rows and judge it on the rest.

    A fifth of the rows is held out before anything is fitted; log-densities are means over all of these, differences
    between families are paired row by row. Samples are compared with one half of them; the other half against it is
    the row of real data. With a condition, rows are judged together with it. The space itself (kinds, bounds, scales) is
    that of all rows, since it is measured as the data are read, and it is the same for every family. A family that
    refuses the data or fails is a row that says so.

    Of one long sequence, its end is held out. Samples of sequences are not compared with real ones as a whole: it is counted
    how many of them stand in the training set, how many among the held-out rows, and how many are new.

    Args:
        data: a Dataset, or anything that `genus.read` takes.
        families: names, or classes of one's own; by default every family. The baseline is always among them: naive Bayes, of
            sequences a Markov chain.
        budget: seconds of fitting for each family and seed; a family that is done sooner stops sooner.
        seeds: how often every family is fitted, with seeds 0, 1, ...
        test: the share of rows held out.
        hyper: hyper-parameters by family name; by default what `family.default_hyperparameters` says of this many rows.
        jobs: processes at once; by default one for each core. Joblib runs them, on its active backend.
        progress: print a line for each fit done, or a function that is given that line.

    Returns:
        A `Report`: print it, `write` it to a folder, or read its `rows`. Where Ctrl-C ends a comparison, it is of the fits that
        have ended.

    Raises:
        GenusError: an unknown family.
        DataError: too few rows (100 at least, of sequences 10, where a fifth is held out), or columns of one value only.

    >>> import genus
    >>> report = genus.compare("iris", ["naive-bayes", "mixture"], budget=5, seeds=1, jobs=1, progress=False)
    >>> [row.family for row in report.rows]
    ['naive-bayes', 'mixture']
    """
    begin = time.perf_counter()
    data = data if isinstance(data, Dataset) else read(data)
    if len(data) < (needed := math.ceil(2 * (1 if data.space.sequence else LEAST) / test)):
        raise DataError(f"{data.name} has {len(data)} rows; a comparison needs {needed} or more, to hold out some of them.")
    if not data.space.feature_dim:
        raise DataError(f"Every column of {data.name} holds one value only; there is nothing to compare families by.")
    baseline, baseline_words = BASELINES[data.space.sequence]
    names = _chosen(families, baseline)
    say = progress if callable(progress) else (lambda line: print(line, file=sys.stderr, flush=True)) if progress else None
    cores = _cores()
    train, held = data.split(test=test, seed=0)
    refused = {name: reason for name in names if (reason := refusal(name, data.space, data.context))}
    work = [(name, seed) for seed in range(seeds) for name in names if name not in refused]
    jobs = min(jobs or cores, max(len(work), 1))
    threads = min(torch.get_num_threads(), max(1, cores // jobs))  # fewer where the caller says so
    half, judged = len(held) // 2, _with_condition(held)
    protocol = Protocol(train, held, judged[:half], budget, dict(hyper or {}), threads)
    if say:
        for name, reason in refused.items():
            say(f"{name}: left out, {reason}")
        at_most = math.ceil(len(work) / jobs) * budget
        whole = f"{at_most:.0f} s" if at_most < 120 else f"{at_most / 60:.0f} minutes"
        say(f"{len(work)} fits of {budget:g} s at most, {jobs} at once: {whole} at most, and judging them")
    trials: list[Trial] = []
    try:
        for trial in _run(protocol, work, jobs):
            trials.append(trial)
            if say:
                say(f"[{len(trials)}/{len(work)}] {_summary(trial)}")
    except KeyboardInterrupt:
        ended = {(trial.family, trial.seed) for trial in trials}
        if not any(trial.family == baseline and not trial.error for trial in trials):
            raise KeyboardInterrupt("interrupted before there was anything to compare.") from None
        if say:
            say(f"interrupted: the report is of the {len(trials)} fits that have ended")
        trials += [Trial(*one, error="it was interrupted") for one in work if one not in ended]
    references = _references(protocol, judged[half:], data.target)
    rows = [
        Row(name, *_words(name), status="refused", reason=refused[name])
        if name in refused
        else _row(name, [t for t in sorted(trials, key=lambda t: t.seed) if t.family == name], held)
        for name in names
    ]
    _pair(rows, trials, baseline)
    used = {key for scores in (*references.values(), *(row.metrics for row in rows)) for key in scores}
    return Report(
        name=data.name,
        space=data.space,
        rows=rows,
        train_rows=len(train),
        test_rows=len(held),
        total_rows=len(data),
        context=data.context,
        condition=", ".join(data.context.names or ()) if data.context is not None else None,
        target=data.target,
        baseline=baseline_words,
        baseline_family=baseline,
        budget_seconds=budget,
        seeds=list(range(seeds)),
        sample_count=_sample_count(protocol) if data.space.sequence else half,
        references=references,
        metrics={key: metric for key, metric in (METRICS | NOVELTY).items() if key in used},
        real=held.x[:half][: _shown(data.space)].to(data.space.dtype),
        versions=_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=time.perf_counter() - begin,
        cores=cores,
        machine=f"{platform.system()} {platform.machine()}",
    )


# -- the trials -----------------------------------------------------------------------------------------------------------


def _chosen(wanted: Sequence[str | type[GenerativeModel]] | None, baseline: str) -> list[str]:
    known = list(families())
    for one in wanted or ():
        if isinstance(one, type) and (reason := nameless(one)):
            raise GenusError(f"{one.__name__} cannot be compared: {reason}")
    names = None if wanted is None else [one.name if isinstance(one, type) else one for one in wanted]
    if names is not None and not names:
        raise GenusError("No family is named; name some to compare, or leave families out to compare all.")
    for name in names or ():
        if name not in known:
            raise GenusError(f"There is no family {name!r}; there are {', '.join(known)}.")
    # The baseline comes first, and it always comes: without it no number says how much was learned.
    chosen = list(dict.fromkeys(names)) if names else known
    return [baseline, *(name for name in chosen if name != baseline)]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(protocol: Protocol, work: Sequence[tuple[str, int]], jobs: int) -> Iterator[Trial]:
    """Yield the trials in the order they end; in worker processes where several run at once."""
    if jobs <= 1:
        yield from (_trial(protocol, family(name), seed) for name, seed in work)
        return
    from joblib import Parallel, delayed

    own = [Parcel.pack(cls) for cls in registered.values() if not cls.__module__.startswith("genus.")]
    parcels = {name: Parcel.pack(family(name)) for name, _ in work}
    # Every trial limits its own threads, so that this holds on whatever backend is active (loky, Dask, Ray).
    parallel = Parallel(n_jobs=jobs, return_as="generator_unordered")
    yield from parallel(delayed(_trial_in_worker)(protocol, name, parcels[name], own, seed) for name, seed in work)


def _trial_in_worker(protocol: Protocol, name: str, parcel: Parcel, own: Sequence[Parcel], seed: int) -> Trial:
    """Return the trial of a family, after registering the caller's own families, which one may name another of."""
    try:
        cls = parcel.unpack()
    except Exception as error:  # the caller sees why, instead of a pool of processes that broke
        return Trial(name, seed, error=f"its class could not be sent to a worker process, {type(error).__name__}: {error}")
    for other in own:
        with suppress(Exception):  # it is missed only where the family needs it, and then by name
            family_of_caller = other.unpack()
            registered[family_of_caller.name] = family_of_caller
    registered[name] = cls
    return _trial(protocol, cls, seed)


def _trial(protocol: Protocol, cls: type[GenerativeModel], seed: int) -> Trial:
    """Fit and judge; whatever goes wrong becomes the trial's error."""
    trial = Trial(cls.name, seed)
    try:
        with torch_threads(protocol.threads), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = _build(protocol, cls, seed)
            trial.parameters = model.parameter_count
            trial.history = fit(model, protocol.train, max_seconds=protocol.budget, seed=seed, progress=False)
            _judge(protocol, trial, model)
    except Exception as error:  # one family that fails is a row, not the end of the run
        trial.error = str(error) if isinstance(error, GenusError) else f"{type(error).__name__}: {error}"
    return trial


def _build(protocol: Protocol, cls: type[GenerativeModel], seed: int) -> GenerativeModel:
    space, context = protocol.train.space, protocol.train.context
    hyper = suggested(cls, space, len(protocol.train)) | dict(protocol.hyper.get(cls.name, {}))
    return build(cls.name, space, context, seed, **hyper)


@torch.no_grad()
def _judge(protocol: Protocol, trial: Trial, model: GenerativeModel) -> None:
    train, test = protocol.train, protocol.test
    if isinstance(model, ApproximateDensity):
        trial.log_density = _log_density(model, test).double().numpy()
        trial.train_log_density = _log_density(model, train.rows(slice(0, len(test)))).mean().item()
        if not isinstance(model, TractableDensity):
            estimate = in_batches(lambda x, c: model.log_evidence(x, c, EVIDENCE, seed=trial.seed), test.x, test.c, rows=2048)
            trial.estimate = estimate.mean().item()
    half = len(test) // 2
    trial.codes = codes_of(model, test.x[:half], None if test.c is None else test.c[:half])
    n = _sample_count(protocol)
    generator = torch.Generator().manual_seed(trial.seed)
    c = None if train.c is None else train.c[torch.randint(len(train), (n,), generator=generator)]
    if isinstance(model, ChainRule):  # which remembers all coordinates of all rows that it draws at once
        length = draws(train.space, train.consecutive)[1] if train.space.sequence else None
        samples = model.sample(n, c, trial.seed, max(1, min(10_000, VALUES // train.space.dim)), length=length)
    else:
        samples = model.sample(n, c, seed=trial.seed)
    trial.samples = samples[: _shown(train.space)].clone()
    trial.metrics = _evaluate(protocol, _with_condition(replace(train, x=samples, c=c)))


def _sample_count(protocol: Protocol) -> int:
    """As many as the metrics take."""
    space = protocol.train.space
    if space.sequence:
        return draws(space, protocol.train.consecutive)[0]
    if space.is_table:
        return max(min(len(protocol.train), LEARNT), len(protocol.half))
    return min(len(protocol.half), max(NEIGHBOURS, CELLS // space.dim))


def _shown(space: Space) -> int:
    """How many are kept for the pictures."""
    return 64 if space.sequence else 2000


def _evaluate(protocol: Protocol, samples: Tensor) -> dict[str, float]:
    train = protocol.train
    if train.space.sequence:
        return evaluate_sequences(train.space, samples, train=train.x, held=protocol.half, consecutive=train.consecutive)
    space, known = _judged_space(train), _with_condition(train)
    return evaluate(space, samples, train=known, test_a=protocol.half, target=train.target, seed=0, threads=1)


def _with_condition(data: Dataset) -> Tensor:
    """What is judged: x, and c beside it, so that a model that ignores its condition is told from one that heeds it."""
    alone = data.c is None or data.space.sequence
    return data.x if alone else torch.cat([data.x.flatten(1), data.c.to(data.x.dtype)], dim=1)  # type: ignore[union-attr]


def _judged_space(data: Dataset) -> Space:
    """The space of `_with_condition`."""
    if data.context is None:
        return data.space
    names = [*data.space.names, *(data.context.names or ())] if data.space.names is not None else None
    return Space([*data.space.kinds, *data.context.kinds], names=names)


def _log_density(model: ApproximateDensity, data: Dataset) -> Tensor:
    """(N,): exact, or the bound averaged over some draws of its noise."""
    if isinstance(model, TractableDensity):
        return in_batches(model.log_prob, data.x, data.c)
    noisy = [in_batches(lambda x, c, i=i: model.elbo(x, c, seed=i), data.x, data.c) for i in range(BOUND)]
    return torch.stack(noisy).mean(0)


def _references(protocol: Protocol, rest: Tensor, target: str | None) -> dict[str, dict[str, float]]:
    """The rows that say what a number means: real rows, columns without structure, and a copier."""
    if protocol.train.space.sequence:
        return {"held-out rows": _evaluate(protocol, rest)}
    train, n = _with_condition(protocol.train), max(min(len(protocol.train), LEARNT), len(protocol.half))
    rows = {
        "real against real": rest,
        "independent columns": independent_columns(train, n),
        "copy of the training set": train,
    }
    space = _judged_space(protocol.train)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {name: _evaluate(protocol, x) for name, x in rows.items()}
        if target is not None:  # as many rows to learn from as a model's samples
            key = "tstr_auc" if isinstance(space.kinds[space.index(target)], Category) else "tstr_r2"
            found["real against real"][key] = tstr(space, target, train[:n], protocol.half, 0)
    # A copier's rows are real rows: only the memorisation columns tell it from an honest model.
    kinds = {key: metric.kind for key, metric in METRICS.items()}
    copier = found["copy of the training set"]
    found["copy of the training set"] = {key: value for key, value in copier.items() if kinds[key] == "memorisation"}
    return found


# -- from trials to rows --------------------------------------------------------------------------------------------------


def _words(name: str) -> tuple[str, str]:
    """A family's title and its branch of the taxonomy."""
    cls = family(name)
    return cls.title, f"{cls.rung()} · {cls.group}"


def _row(name: str, trials: Sequence[Trial], held: Dataset) -> Row:
    cls = family(name)
    good = [trial for trial in trials if not trial.error]
    if not good:
        return Row(name, *_words(name), status="failed", reason=trials[0].error)
    row = Row(
        name,
        *_words(name),
        label="bound" if not cls.accepts(held.space, held.context) else cls.likelihood,
        metrics={key: float(np.mean([t.metrics[key] for t in good])) for key in good[0].metrics},
        metrics_spread={key: _spread([t.metrics[key] for t in good]) for key in good[0].metrics} if len(good) > 1 else {},
        seconds=float(np.mean([t.history.seconds for t in good])),
        steps=float(np.mean([t.history.steps for t in good])),
        parameters=good[0].parameters,
        stopped=", ".join(dict.fromkeys(t.history.stopped for t in good)),
        seeds=[t.seed for t in good],
        histories=[t.history for t in good],
        samples=good[0].samples,
        codes=good[0].codes,
    )
    if len(good) < len(trials):
        bad = next(trial for trial in trials if trial.error)
        row.reason = f"{len(trials) - len(good)} of {len(trials)} seeds failed: {bad.error}"
    if good[0].log_density is None:
        return row
    means = [float(t.log_density.mean()) for t in good if t.log_density is not None]
    row.log_density, row.log_density_se = _mean_and_error(_by_row(good))
    row.bits_per_dim = -row.log_density / (_coordinates(held) * math.log(2))
    row.seed_spread = _spread(means) if len(means) > 1 else None
    row.train_log_density = float(np.mean([t.train_log_density for t in good if t.train_log_density is not None]))
    if good[0].estimate is not None:
        row.estimate = float(np.mean([t.estimate for t in good if t.estimate is not None]))
        row.estimate_samples = EVIDENCE
    return row


def _coordinates(held: Dataset) -> float:
    """How many a row has; of sequences, the mean number of symbols up to and with the end."""
    return spans(held.space, held.x).double().mean().item() if held.space.sequence else held.space.dim


def _spread(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1))


def _by_row(trials: Sequence[Trial]) -> np.ndarray:
    """(rows held out,): every row's log-density, the mean over seeds."""
    return np.mean([t.log_density for t in trials if t.log_density is not None], axis=0)


def _mean_and_error(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def _pair(rows: Sequence[Row], trials: Sequence[Trial], baseline: str) -> None:
    """Differences from the baseline and from the best, row by row, so that hard rows cancel."""
    dense = [row for row in rows if row.has_density]
    values = {row.family: _by_row([t for t in trials if t.family == row.family and not t.error]) for row in dense}
    if not dense:
        return
    best = max(dense, key=lambda row: row.log_density or -math.inf).family
    for row in dense:
        if baseline in values:
            row.baseline_difference, row.baseline_difference_se = _mean_and_error(values[row.family] - values[baseline])
        row.best_difference, row.best_difference_se = _mean_and_error(values[row.family] - values[best])


def _summary(trial: Trial) -> str:
    head = f"{trial.family}, seed {trial.seed}"
    if trial.error:
        return f"{head}: failed, {trial.error}"
    density = "" if trial.log_density is None else f"{trial.log_density.mean():.3f} nats a row, "
    samples = f"two-sample AUC {trial.metrics['c2st']:.3f}" if "c2st" in trial.metrics else f"{trial.metrics['new']:.0%} new"
    return f"{head}: {density}{samples}, {trial.history.seconds:.1f} s"


def _versions() -> dict[str, str]:
    packages = ("genus", "torch", "lightning-fabric", "numpy", "scikit-learn")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in packages}
