"""Choosing hyper-parameters by validation rows, with Optuna (the extra `tune`)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from genus.errors import DataError, GenusError, TrainingError
from genus.ladder import Composed, Counted, GenerativeModel, Learned
from genus.registry import build, family, hyper_parameters, refusal, suggested
from genus.training.history import History
from genus.training.loop import fit

if TYPE_CHECKING:
    import optuna

__all__ = ["Tried", "Tuned", "tune"]

TRIALS = 12  # that the time should be enough for, at least
DOUBLINGS = 2  # how many times a number may be doubled or halved
MOST_DROPOUT = 0.5
FIXED = ("order", "members", "epochs", "patience", "samples", "critic_steps")  # whose values mean something else, or more time
VALIDATION = 0.1  # of the rows
FAILURES = 8  # trials, none of which could be trained, after which no more are tried


@dataclass(frozen=True)
class Tried:
    """Hold one trial.

    Attributes:
        hyper: hyper-parameters of the model.
        learning_rate: of its training; None: the family's own.
        criterion: of the validation rows, less is better; for densities nats a row below 0.
        seconds: of its training.
        error: why it failed; "" where it did not.
    """

    hyper: dict[str, Any]
    learning_rate: float | None
    criterion: float
    seconds: float
    error: str = ""


@dataclass
class Tuned:
    """Hold the outcome of a search.

    Attributes:
        model: the best of all trials, trained.
        history: of its training.
        trials: all trials in their order; the first has the family's defaults.
    """

    model: GenerativeModel
    history: History
    trials: list[Tried] = field(default_factory=list)

    @property
    def best(self) -> Tried:
        """Return the trial of the model."""
        return min(self.trials, key=lambda tried: tried.criterion)


def tune(
    data: Any,
    name: str | type[GenerativeModel],
    *,
    seconds: float = 600.0,
    trials: int | None = None,
    hyper: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str = "auto",
    say: Callable[[str], None] | None = None,
) -> Tuned:
    """Return the best model of a family that a search over its hyper-parameters finds in the time.

    Whole numbers (widths, layers, components) are doubled and halved up to twice, shares such as dropout go up to one half,
    learning rates to a tenth and ten times of the family's; names and orders stay. The tree-structured Parzen estimator of
    Optuna (Bergstra et al. 2011) chooses the next trial. All trials are judged by the same validation rows, a tenth of `data`,
    so the best criterion is somewhat too good: score rows that were held out from `data`.

    Args:
        data: a Dataset of training rows.
        name: the family, or its name.
        seconds: of the whole search; a twelfth of it a trial at most.
        trials: the greatest number of trials; None: as many as the time allows.
        hyper: hyper-parameters that are not searched.
        seed: of the search and of every training.
        device: see `fit`.
        say: is called with a line for each trial.

    Raises:
        GenusError: Optuna is not installed, the family has nothing to search, or no trial could be trained.

    >>> from genus import read
    >>> found = tune(read("iris"), "hclt", trials=1)  # the first trial has the defaults
    >>> found.best.hyper["latent"] == found.model.config["latent"]
    True
    """
    try:
        import optuna
    except ImportError:
        raise GenusError("genus.tune needs optuna, which is not installed: pip install 'genus[tune]'") from None
    search = _Search(family(name), data, dict(hyper or {}), seconds, seed, device, say or (lambda line: None))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=4))
    while (trials is None or len(search.trials) < trials) and not search.is_over():
        if not search.trials:
            study.enqueue_trial({"learning rate": 0.0} | dict.fromkeys(search.numbers, 0) | search.shares)  # the defaults
        trial = study.ask()
        tried = search.run(trial)
        failed = math.isinf(tried.criterion)
        study.tell(trial, None if failed else tried.criterion, optuna.trial.TrialState.FAIL if failed else None)
    return search.outcome()


class _Search:
    """Train one model a trial, and keep the best."""

    def __init__(
        self,
        cls: type[GenerativeModel],
        data: Any,
        hyper: dict[str, Any],
        seconds: float,
        seed: int,
        device: str,
        say: Callable[[str], None],
    ) -> None:
        if why := refusal(cls, data.space, data.context):
            raise DataError(why)
        self.cls, self.hyper, self.seconds, self.seed, self.device, self.say = cls, hyper, seconds, seed, device, say
        self.end = time.monotonic() + seconds
        self.train, self.validation = data.split(test=VALIDATION, seed=seed)
        self.given = suggested(cls, data.space, len(data)) | hyper  # what is not given is left out: some suits not all data
        self.default = hyper_parameters(cls) | self.given
        free = {name: value for name, value in self.default.items() if name not in hyper and name not in FIXED}
        self.numbers = {name: value for name, value in free.items() if _is_whole(value)}
        self.shares = {name: float(value) for name, value in free.items() if name == "dropout"}
        if not self.numbers and not self.shares:
            raise GenusError(f"There is nothing to search in {cls.name}: none of its hyper-parameters is a size or a share.")
        self.trials: list[Tried] = []
        self.best: tuple[GenerativeModel, History] | None = None

    def is_over(self) -> bool:
        """Return whether there is no time for another trial, or no use in it."""
        if self.best is None and len(self.trials) >= FAILURES:
            return True
        longest = max((tried.seconds for tried in self.trials), default=0.0)
        return time.monotonic() + longest / 2 > self.end

    def run(self, trial: optuna.Trial) -> Tried:
        """Train the model that a trial asks for."""
        hyper = dict(self.given)
        for name, value in self.numbers.items():
            hyper[name] = _scaled(value, trial.suggest_int(name, -DOUBLINGS, DOUBLINGS))
        for name in self.shares:
            hyper[name] = trial.suggest_float(name, 0.0, MOST_DROPOUT)
        power = trial.suggest_float("learning rate", -1.0, 1.0)
        begin, rate, error, criterion = time.monotonic(), None, "", math.inf
        allowed = max(min(self.seconds / TRIALS, self.end - begin), 0.5)
        try:
            model = build(self.cls, self.train.space, self.train.context, self.seed, **hyper)
            rate = _learning_rate(model, power)
            history = fit(
                model, self.train, validation=self.validation, max_seconds=allowed, learning_rate=rate, seed=self.seed,
                device=self.device, progress=False,
            )  # fmt: skip
            criterion = math.inf if history.best is None or math.isnan(history.best) else history.best
            if criterion < min((tried.criterion for tried in self.trials), default=math.inf):
                self.best = (model, history)
        except (GenusError, ArithmeticError, MemoryError, RuntimeError, ValueError) as reason:
            error = str(reason).splitlines()[0]
        tried = Tried(self.default | hyper, rate, criterion, time.monotonic() - begin, error)
        self.trials.append(tried)
        changed = ", ".join(f"{k}={v}" for k, v in hyper.items() if v != self.default[k]) or "the defaults"
        shown = f"failed: {error}" if error else f"criterion {criterion:.4f}"
        self.say(
            f"trial {len(self.trials)}: {shown} in {tried.seconds:.1f} s ({changed}{f', rate {rate:.2g}' if rate else ''})"
        )
        return tried

    def outcome(self) -> Tuned:
        """Return the best model; raise TrainingError where no trial could be trained."""
        if self.best is None:
            why = next((tried.error for tried in self.trials if tried.error), "no trial had a criterion")
            raise TrainingError(f"None of {len(self.trials)} trials of {self.cls.name} could be trained: {why}")
        return Tuned(*self.best, self.trials)


def _is_whole(value: Any) -> bool:
    """Return whether a hyper-parameter is a size, or a sequence of sizes."""
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_is_whole, value))
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _scaled(value: Any, doublings: int) -> Any:
    """Return a size that was doubled or halved so many times, 1 at least."""
    if isinstance(value, list | tuple):
        return type(value)(_scaled(one, doublings) for one in value)
    return max(1, round(value * 2.0**doublings))


def _learning_rate(model: GenerativeModel, power: float) -> float | None:
    """Return the family's own learning rate times a power of ten; None of games and of what has no gradients."""
    losses = [] if isinstance(model, Counted | Learned | Composed) else list(model.losses())
    if len(losses) != 1:
        return None
    return float(model.fit_defaults.get("learning_rate") or losses[0].optimizer.get("lr") or 1e-3) * 10**power
