"""One family fitted with one seed, and evaluated on held-out rows: the unit of work of a comparison."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genus.data import Dataset
from genus.errors import GenusError
from genus.evaluation.attacks import attack, find_betrayal, suspects
from genus.evaluation.codes import Codes, codes_of
from genus.evaluation.copying import find_copies
from genus.evaluation.density import find_wrong_density
from genus.evaluation.effort import Effort
from genus.evaluation.extractor import Extractor
from genus.evaluation.faults import find_faults
from genus.evaluation.findings import Finding
from genus.evaluation.metrics import CELLS, LEARNT, NEIGHBOURS, scores_and_errors
from genus.evaluation.perceived import find_ignored_label, score_images, score_sequences
from genus.evaluation.sequence_faults import find_sequence_wrongs
from genus.evaluation.sequences import draws, evaluate_sequences
from genus.evaluation.telling import telling_columns
from genus.files import save
from genus.ladder import BOUND_DRAWS, ApproximateDensity, Counted, GenerativeModel, TractableDensity, map_batches
from genus.models.chain_rule import ChainRule
from genus.models.online import OnlineDensity
from genus.registry import build
from genus.space import Space
from genus.threads import torch_threads
from genus.training import History, choose_size, fit
from genus.training.rows import Rows, prepare

__all__ = [
    "EVIDENCE",
    "Protocol",
    "Trial",
    "find_telling",
    "find_wrongs",
    "joint_space",
    "pictured",
    "predicted",
    "run_trial",
    "score_attacks",
    "score_rows",
    "with_context",
]

EVIDENCE = 64  # importance samples of the estimate that stands beside a bound
EVIDENCE_SHARE, LEAST_EVIDENCE = 0.25, 2.0  # of the budget, and seconds, that these may take, by fewer rows
CHECKING = 0.1  # of the budget, likewise, for checking a built-in density
BLOCK = 128  # rows of them at once
STOPPED = 2_000  # rows that stop a training, at most, whose log-densities are kept
LEAST_STOPPED, STOPPED_VALUES = 500, 2**18  # and these many numbers, or so many rows
STOPPING = 0.1  # of the training rows, which stop a training
VALUES = 2**18  # coordinates that a chain rule draws at once

OUT_OF_TIME = "the clock ended before its training began."


@dataclass
class Trial:
    """Hold the outcome of one family and seed."""

    family: str
    seed: int
    error: str = ""
    parameters: int = 0
    history: History = field(default_factory=History)
    log_density: np.ndarray | None = None  # (held-out rows,) exact or bound, nats
    train_log_density: float | None = None
    online: float | None = None  # of a model that learns from each symbol after it was scored, nats a held-out row
    estimate: float | None = None
    estimate_rows: int | None = None  # held-out rows that it was measured on
    samples: Tensor | None = None
    codes: Codes | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)  # of the metrics, over rows
    findings: list[Finding] = field(default_factory=list)
    telling: dict[str, float] = field(default_factory=dict)  # the columns that give the samples away
    stopping: np.ndarray | None = None  # (stopping rows,) the log-densities of rows that stopped the training
    drawn: Tensor | None = None  # all samples, the context beside x, where a stack may need them
    judging_seconds: float = 0.0
    processor_seconds: float = 0.0
    memory: float = 0.0  # bytes, the most that the process held


@dataclass(frozen=True)
class Protocol:
    """Hold everything that all trials of a comparison share.

    Args:
        train: the training rows.
        test: the held-out rows.
        half: the half of the held-out rows that samples are compared with, the context beside each.
        budget: seconds of fitting.
        budgets: seconds by family name, where they differ.
        hyper: hyper-parameters by family name.
        threads: of torch, meanwhile.
        ordered: the training rows are in order of time, so that the last of them stop a training.
        heat: a model is scored on the rows that stopped its training, and not judged.
        deadline: as `time.time` has it, when no training may go on.
        judged: the number of samples that are drawn and judged, where time is short; None: as many as the metrics take.
        stacked: log-densities of stopping rows, and samples, are kept for a stack.
        folder: where every model is saved, as family-seed.genus; None: nowhere.
        extractor: of the features of images or sounds; None of tables and texts.
    """

    train: Dataset
    test: Dataset
    half: Tensor
    budget: float
    hyper: Mapping[str, Mapping[str, Any]]
    threads: int
    ordered: bool = False
    heat: bool = False
    deadline: float = math.inf
    judged: int | None = None
    stacked: bool = False
    folder: str | None = None
    extractor: Extractor | None = None
    budgets: Mapping[str, float] = field(default_factory=dict)

    def seconds(self, family: str) -> float:
        """Return the seconds of fitting that a family has."""
        return self.budgets.get(family, self.budget)

    @property
    def training(self) -> tuple[Dataset, Dataset | float]:
        """Return the rows that train, and those that stop a training, or their share."""
        if not self.ordered:
            return self.train, STOPPING
        edge = len(self.train) - max(1, round(STOPPING * len(self.train)))
        return self.train.rows(slice(0, edge)), self.train.rows(slice(edge, None))

    @property
    def sample_count(self) -> int:
        """Return how many samples a model draws: as many as the metrics take."""
        space = self.train.space
        if self.judged is not None and not space.sequence:
            return max(self.judged, len(self.half))
        if space.sequence:
            return draws(space, self.train.consecutive)[0]
        if space.is_table:
            return max(min(len(self.train), LEARNT), len(self.half))
        return min(len(self.half), max(NEIGHBOURS, CELLS // space.dim))


def run_trial(protocol: Protocol, family: type[GenerativeModel], seed: int) -> Trial:
    """Fit and evaluate one family with one seed; an exception becomes the trial's error."""
    trial, effort = Trial(family.name, seed), Effort()
    try:
        with torch_threads(protocol.threads), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            space, context = protocol.train.space, protocol.train.context
            seconds = min(protocol.seconds(family.name), protocol.deadline - time.time())
            if seconds <= 0 and issubclass(family, Counted):
                seconds = protocol.seconds(
                    family.name
                )  # one pass over the rows, and without the baseline there is nothing to report
            if seconds <= 0:
                raise GenusError(OUT_OF_TIME)
            given = protocol.hyper.get(family.name, {})
            size = choose_size(family, protocol.train, seconds, given, seed)
            model = build(family, space, context, seed, **size.hyper)
            trial.parameters = model.parameter_count
            rows, stopping = protocol.training
            left = max(seconds - size.seconds, seconds / 2)
            trial.history = fit(model, rows, max_seconds=left, seed=seed, progress=False, validation=stopping, **size.options)
            begin = time.perf_counter()
            if protocol.heat or protocol.stacked:
                trial.stopping = _stopping_scores(protocol, model, seed)
            if not protocol.heat:
                _evaluate_model(protocol, trial, model)
            trial.judging_seconds = time.perf_counter() - begin
            if protocol.folder is not None and not protocol.heat:
                save(model, Path(protocol.folder) / f"{family.name}-{seed}.genus")
    except Exception as error:  # one family that fails is a row, not the end of the run
        trial.error = str(error) if isinstance(error, GenusError) else f"{type(error).__name__}: {error}"
    trial.processor_seconds, trial.memory = effort.seconds, effort.memory
    return trial


def stopping_rows(protocol: Protocol, model: GenerativeModel, seed: int) -> Rows | None:
    """Return the rows that stopped a training with that seed, 2,000 at most, fewer of wide ones; they trained no family."""
    rows, stopping = protocol.training
    held = prepare(model, rows, stopping, seed)[1]
    most = min(STOPPED, max(LEAST_STOPPED, STOPPED_VALUES // protocol.train.space.dim))
    return None if held is None else held[: min(len(held), most)]


@torch.no_grad()
def _stopping_scores(protocol: Protocol, model: GenerativeModel, seed: int) -> np.ndarray | None:
    """Return (rows,) nats, the log-densities of the stopping rows; None of a model without a density."""
    held = stopping_rows(protocol, model, seed)
    if held is None or not isinstance(model, ApproximateDensity):
        return None
    if isinstance(model, TractableDensity):
        return map_batches(model.log_prob, held.x, held.c).double().numpy()
    draws = 1 if protocol.heat else BOUND_DRAWS
    return map_batches(lambda x, c: model.log_evidence(x, c, draws, seed=0), held.x, held.c).double().numpy()


@torch.no_grad()
def _evaluate_model(protocol: Protocol, trial: Trial, model: GenerativeModel) -> None:
    train, test, likelihood = protocol.train, protocol.test, None
    if isinstance(model, ApproximateDensity):
        trial.log_density = _log_density(model, test).double().numpy()
        seen = _log_density(model, train.rows(slice(0, len(test)))).double().numpy()
        trial.train_log_density = float(seen.mean())
        likelihood = seen, trial.log_density
        if not isinstance(model, TractableDensity):
            seconds = max(LEAST_EVIDENCE, EVIDENCE_SHARE * protocol.budget)
            trial.estimate, trial.estimate_rows = _estimate(model, test, trial.log_density, trial.seed, seconds)
    if isinstance(model, OnlineDensity):
        trial.online = model.log_prob_online(test.x, test.c).mean().item()
    half = len(test) // 2
    trial.codes = codes_of(model, test.x[:half], None if test.c is None else test.c[:half])
    n = protocol.sample_count
    generator = torch.Generator().manual_seed(trial.seed)
    c = None if train.c is None else train.c[torch.randint(len(train), (n,), generator=generator)]
    if isinstance(model, ChainRule):  # which remembers all coordinates of all rows that it draws at once
        length = draws(train.space, train.consecutive)[1] if train.space.sequence else None
        samples = model.sample(n, c, trial.seed, max(1, min(10_000, VALUES // train.space.dim)), length=length, blanks=True)
    else:
        samples = model.sample(n, c, seed=trial.seed, blanks=True)
    trial.samples = samples[: pictured(train.space)].clone()
    joint = with_context(replace(train, x=samples, c=c))
    trial.drawn = joint if protocol.stacked else None
    trial.metrics, trial.errors = score_rows(protocol, joint, c)
    scores, errors = score_attacks(protocol, joint, likelihood)
    trial.metrics, trial.errors = trial.metrics | scores, trial.errors | errors
    trial.findings = find_wrongs(protocol, joint) + find_betrayal(scores, errors)
    trial.findings += find_ignored_label(protocol.extractor, test, trial.metrics)
    trial.telling = find_telling(protocol, joint)
    seconds = CHECKING * protocol.budget
    trial.findings = find_wrong_density(model, test.x, test.c, seconds) + trial.findings


def _estimate(model: ApproximateDensity, test: Dataset, bound: np.ndarray, seed: int, seconds: float) -> tuple[float, int]:
    """Return the mean log-density by importance samples, and the number of rows that it was measured on.

    By how much it lies above the bound (N,) is measured on as many rows as the time allows, since rows differ by far more.
    """
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0)).to(test.x.device)
    begin, gains = time.perf_counter(), []
    for rows in order.split(BLOCK):
        c = None if test.c is None else test.c[rows]
        found = map_batches(lambda x, c: model.log_evidence(x, c, EVIDENCE, seed=seed), test.x[rows], c)
        gains.append(found.double().numpy() - bound[rows.cpu().numpy()])
        if time.perf_counter() - begin > seconds:
            break
    gain = np.concatenate(gains)
    return float(bound.mean() + gain.mean()), len(gain)


def _log_density(model: ApproximateDensity, data: Dataset) -> Tensor:
    """Return (N,) nats: exact, or the bound averaged over some draws of its noise."""
    if isinstance(model, TractableDensity):
        return map_batches(model.log_prob, data.x, data.c)
    noisy = [map_batches(lambda x, c, i=i: model.elbo(x, c, seed=i), data.x, data.c) for i in range(BOUND_DRAWS)]
    return torch.stack(noisy).mean(0)


def score_rows(protocol: Protocol, samples: Tensor, c: Tensor | None = None) -> tuple[dict[str, float], dict[str, float]]:
    """Return the metrics of samples (N, *shape) and their errors.

    Args:
        protocol: of the comparison.
        samples: with the context beside x where there is one, unless they are sequences.
        c: the contexts of sequences.
    """
    train = protocol.train
    if train.space.sequence:
        found = evaluate_sequences(train.space, samples, train=train.x, held=protocol.half, consecutive=train.consecutive)
        scores, errors = score_sequences(protocol.extractor, train, protocol.half, samples, c)
        return scores | found, errors
    rows, space = with_context(train), joint_space(train)
    found, wrong = scores_and_errors(
        space, samples, train=rows, test_a=protocol.half, target=predicted(train), seed=0, threads=1
    )
    if protocol.extractor is None:
        return found, wrong
    with torch_threads(1):
        scores, errors = score_images(protocol.extractor, train, protocol.half, samples)
    return scores | found, errors | wrong


def score_attacks(
    protocol: Protocol, samples: Tensor, likelihood: tuple[np.ndarray, np.ndarray] | None = None, honest: bool = False
) -> tuple[dict[str, float], dict[str, float]]:
    """Return how well attacks tell training rows from held-out ones, and the errors; nothing of rows in order of time.

    Args:
        protocol: of the comparison.
        samples: with the context beside x where there is one.
        likelihood: the log-densities of the first training rows, and of all held-out ones; None without a model.
        honest: attack held-out rows in the place of samples.
    """
    if protocol.ordered or protocol.train.consecutive:  # later rows are others by nature
        return {}, {}
    most = math.inf if protocol.judged is None else len(protocol.half)  # as few as judge samples
    rows = suspects(with_context(protocol.train), with_context(protocol.test), most)
    if rows is None:
        return {}, {}
    if likelihood is not None:
        seen = likelihood[0][: len(rows.members)]
        rows = rows._replace(members=rows.members[: len(seen)])
        likelihood = seen, likelihood[1][rows.positions.numpy()]
    space = protocol.train.space if protocol.train.space.sequence else joint_space(protocol.train)
    return attack(space, rows.honest if honest else samples, rows, likelihood)


def predicted(train: Dataset) -> str | int | None:
    """Return the column that a model learns to predict from samples: the target, or else the one column of the context."""
    if train.target is not None or train.context is None or train.space.sequence or not train.space.is_table:
        return train.target
    return train.space.dim if train.context.dim == 1 else None


def find_wrongs(protocol: Protocol, samples: Tensor) -> list[Finding]:
    """Return what is wrong with samples (N, *shape), which hold the context beside x where there is one."""
    train = protocol.train
    if train.space.sequence:
        return find_sequence_wrongs(train.space, samples, train.x, protocol.test.x, train.consecutive)
    space, seen, unseen = joint_space(train), with_context(train), with_context(protocol.test)
    copies = find_copies(space, samples, seen, unseen)
    # No pixel has a name that a person could look for; what is wrong with pictures is told by features.
    return copies + find_faults(space, samples, torch.cat([unseen, seen])) if train.space.is_table else copies


def find_telling(protocol: Protocol, samples: Tensor) -> dict[str, float]:
    """Return the columns that give samples away, which hold the context beside x where there is one."""
    train = protocol.train
    return (
        {} if not train.space.is_table or train.space.sequence else telling_columns(joint_space(train), protocol.half, samples)
    )


def with_context(data: Dataset) -> Tensor:
    """Return x with c beside it, so that samples of a model that ignores its context are told from real rows."""
    if data.c is None or data.space.sequence:
        return data.x
    return torch.cat([data.x.flatten(1), data.c.to(data.x.dtype)], dim=1)


def joint_space(data: Dataset) -> Space:
    """Return the space of `with_context`."""
    if data.context is None:
        return data.space
    names = [*data.space.names, *(data.context.names or ())] if data.space.names is not None else None
    return Space([*data.space.kinds, *data.context.kinds], names=names)


def pictured(space: Space) -> int:
    """Return how many samples are kept for the pictures."""
    return 64 if space.sequence else 2000
