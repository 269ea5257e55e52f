"""Fit one family with one seed and evaluate it on held-out rows: the unit of work of a comparison."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genus.data import Dataset
from genus.errors import GenusError
from genus.evaluation.codes import Codes, codes_of
from genus.evaluation.density import find_wrong_density
from genus.evaluation.effort import Effort, release_memory
from genus.evaluation.findings import Finding
from genus.evaluation.protocol import Protocol, pictured, validation_rows, with_context
from genus.evaluation.scoring import examine_samples
from genus.evaluation.sequences import draws
from genus.files import save
from genus.ladder import (
    BOUND_DRAWS,
    ApproximateDensity,
    Composed,
    Counted,
    GenerativeModel,
    Learned,
    TractableDensity,
    map_batches,
)
from genus.models.chain_rule import ChainRule
from genus.models.online import OnlineDensity
from genus.nets.state import evaluating
from genus.registry import build
from genus.threads import torch_threads
from genus.training import History, choose_size, fit

__all__ = ["EVIDENCE", "INTERRUPTED", "OUT_OF_TIME", "Trial", "run_trial"]

EVIDENCE = 64  # importance samples of the estimate that stands beside a bound
EVIDENCE_SHARE, LEAST_EVIDENCE = 0.25, 2.0  # of the budget, and seconds, that these may take, by fewer rows
BLOCK = 128  # rows of which the evidence is estimated at once
CHECKING = 0.1  # of the budget, for checking a built-in density
VALUES = 2**18  # coordinates that a chain rule draws at once
TIMED, DRAWN = 8, 2  # rows whose log-density is timed; how often as long a chain rule takes to draw a row
LEAST_TRAINED = 2 / 3  # of the time that a family has, however long its judging takes

OUT_OF_TIME = "the clock ended before its training began."
INTERRUPTED = "it was interrupted"


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
    validation: np.ndarray | None = None  # (validation rows,) their log-densities
    drawn: Tensor | None = None  # all samples, the context beside x, where a stack may need them
    judging_seconds: float = 0.0
    processor_seconds: float = 0.0
    memory: float = 0.0  # bytes, the most that the process held

    @property
    def not_begun(self) -> bool:
        """Return whether there was no time to train, which is no failure of the family."""
        return self.error in (OUT_OF_TIME, INTERRUPTED)


def run_trial(protocol: Protocol, family: type[GenerativeModel], seed: int) -> Trial:
    """Fit and evaluate one family with one seed; an exception becomes the trial's error."""
    trial, effort = Trial(family.name, seed), Effort()
    try:
        with torch_threads(protocol.threads), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            space, context = protocol.train.space, protocol.train.context
            seconds = min(protocol.seconds(family.name), protocol.deadline - time.time())
            if seconds <= 0 and issubclass(family, Counted):
                # One pass over the rows, and without the baseline there is nothing to report.
                seconds = protocol.seconds(family.name)
            if seconds <= 0:
                raise GenusError(OUT_OF_TIME)
            given = protocol.hyper.get(family.name, {})
            size = choose_size(family, protocol.train, seconds, given, seed)
            model = build(family, space, context, seed, **size.hyper)
            trial.parameters = model.parameter_count
            rows, validation = protocol.training
            left = max(seconds - size.seconds, seconds / 2)
            left = max(left - _scoring_seconds(protocol, model), LEAST_TRAINED * left)
            trial.history = fit(model, rows, max_seconds=left, seed=seed, progress=False, validation=validation, **size.options)
            begin = time.perf_counter()
            if protocol.small or protocol.stacked:
                trial.validation = _validation_scores(protocol, model, seed)
            if not protocol.small:
                _evaluate_model(protocol, trial, model)
            trial.judging_seconds = time.perf_counter() - begin
            if protocol.folder is not None and not protocol.small:
                save(model, Path(protocol.folder) / f"{family.name}-{seed}.genus")
    except Exception as error:  # one family that fails is a row, not the end of the run
        trial.error = str(error) if isinstance(error, GenusError) else f"{type(error).__name__}: {error}"
    trial.processor_seconds, trial.memory = effort.seconds, effort.memory
    release_memory()
    return trial


@torch.no_grad()
def _scoring_seconds(protocol: Protocol, model: GenerativeModel) -> float:
    """Return the seconds that log-densities and samples of a net will take, by a few rows before its training.

    Where the whole comparison has a limit of time, they are a part of the family's time.
    """
    if protocol.small or protocol.deadline == math.inf:
        return 0.0
    if not isinstance(model, ApproximateDensity) or isinstance(model, Counted | Learned | Composed):
        return 0.0
    few, took = protocol.train.rows(slice(0, TIMED)), []
    try:
        with evaluating(model):
            for _ in range(2):  # the first time there are masks and tables to be made
                begin = time.perf_counter()
                _log_density(model, few)
                took.append(time.perf_counter() - begin)
    except Exception:  # a family that has no density before it is trained; what else is wrong shows when it is judged
        return 0.0
    drawn = DRAWN * protocol.sample_count if isinstance(model, ChainRule) else 0
    return min(took) * (len(protocol.test) + _rows_seen(protocol) + drawn) / max(1, len(few))


def _rows_seen(protocol: Protocol) -> int:
    """Return of how many training rows the log-density is taken too: of fewer where time is short."""
    return len(protocol.test) if protocol.sample_limit is None else min(len(protocol.test), len(protocol.compared))


@torch.no_grad()
def _validation_scores(protocol: Protocol, model: GenerativeModel, seed: int) -> np.ndarray | None:
    """Return (rows,) nats, the log-densities of the validation rows; None of a model without a density."""
    held = validation_rows(protocol, model, seed)
    if held is None or not isinstance(model, ApproximateDensity):
        return None
    if isinstance(model, TractableDensity):
        return map_batches(model.log_prob, held.x, held.c).double().numpy()
    count = 1 if protocol.small else BOUND_DRAWS
    return map_batches(lambda x, c: model.log_evidence(x, c, count, seed=0), held.x, held.c).double().numpy()


@torch.no_grad()
def _evaluate_model(protocol: Protocol, trial: Trial, model: GenerativeModel) -> None:
    """Set what a trial says of a fitted model: its density of held-out rows, its codes, its samples and what they are worth."""
    train, test, half = protocol.train, protocol.test, len(protocol.test) // 2
    likelihood = _evaluate_density(protocol, trial, model) if isinstance(model, ApproximateDensity) else None
    if isinstance(model, OnlineDensity):
        trial.online = model.log_prob_online(test.x, test.c).mean().item()
    trial.codes = codes_of(model, test.x[:half], None if test.c is None else test.c[:half])
    samples, c = _draw_samples(protocol, model, trial.seed)
    trial.samples = samples[: pictured(train.space)].clone()
    joint = with_context(replace(train, x=samples, c=c))
    trial.drawn = joint if protocol.stacked else None
    trial.metrics, trial.errors, faults, trial.telling = examine_samples(protocol, joint, c, likelihood)
    wrong = find_wrong_density(model, test.x, test.c, CHECKING * protocol.budget)
    trial.findings = wrong + faults


def _evaluate_density(protocol: Protocol, trial: Trial, model: ApproximateDensity) -> tuple[np.ndarray, np.ndarray]:
    """Set the log-densities of a trial, and return those of the first training rows and of all held-out ones, nats."""
    train, test = protocol.train, protocol.test
    trial.log_density = _log_density(model, test).double().numpy()
    seen = _log_density(model, train.rows(slice(0, _rows_seen(protocol)))).double().numpy()
    trial.train_log_density = float(seen.mean())
    if not isinstance(model, TractableDensity):
        seconds = max(LEAST_EVIDENCE, EVIDENCE_SHARE * protocol.budget)
        trial.estimate, trial.estimate_rows = _estimate(model, test, trial.log_density, trial.seed, seconds)
    return seen, trial.log_density


def _draw_samples(protocol: Protocol, model: GenerativeModel, seed: int) -> tuple[Tensor, Tensor | None]:
    """Return samples (n, *shape), and the contexts of training rows that they were drawn for; None without."""
    train, n = protocol.train, protocol.sample_count
    generator = torch.Generator().manual_seed(seed)
    c = None if train.c is None else train.c[torch.randint(len(train), (n,), generator=generator)]
    if not isinstance(model, ChainRule):
        return model.sample(n, c, seed=seed, blanks=True), c
    at_once = max(1, min(10_000, VALUES // train.space.dim))  # since it remembers all coordinates of these rows
    length = draws(train.space, train.consecutive)[1] if train.space.sequence else None
    return model.sample(n, c, seed, at_once, length=length, blanks=True), c


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
