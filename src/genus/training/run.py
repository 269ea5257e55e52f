"""What every training has, whether it follows gradients or counts: a clock, a judge, a record, a file to resume from."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genus.errors import NonFiniteLossError, TrainingError
from genus.model import GenerativeModel, Loss, isolated
from genus.training import checkpoint
from genus.training.best import Best, finite
from genus.training.budget import Budget
from genus.training.history import History
from genus.training.interrupt import Interrupt, TrainingInterrupted
from genus.training.progress import Progress
from genus.training.rows import Rows

__all__ = ["Options", "Run"]

PROBE = 256  # rows whose evaluation is timed, to learn how many are affordable
SAVE_SECONDS = 60.0


@dataclass(frozen=True)
class Options:
    """The arguments of `fit` that are settled before the data are looked at."""

    seed: int
    patience: int
    ema_decay: float
    max_grad_norm: float | None
    lr_schedule: str
    precision: str
    compiled: bool
    checkpoint: str | os.PathLike[str] | None
    checkpoint_every: int | None


class Run:
    """The state that gradient training and counting share."""

    tolerance = 0.0  # the least improvement that counts as one
    patience_over = "early stopping"  # what it is called when evaluations bring none

    def __init__(
        self,
        model: GenerativeModel,
        train: Rows,
        held: Rows | None,
        budget: Budget,
        options: Options,
        settings: dict[str, Any],
        interrupt: Interrupt,
        progress: Progress,
    ) -> None:
        self.model, self.train, self.held, self.budget, self.options = model, train, held, budget, options
        self.settings, self.interrupt, self.progress = settings, interrupt, progress
        self.device = model.device
        self.history = History()
        self.watched: list[Loss] = []  # those with a judge of their own
        self.found: dict[str, Any] = {}  # at the last evaluation, beside losses and criterion
        self.best = Best()
        self.step = 0
        self.steps_per_epoch = 1
        self.evaluated = -1  # the step of the last evaluation
        self.evaluation = 0.0  # seconds that the last evaluation took: time to keep for the final one
        self.evaluations = 0.0  # seconds of all
        self._start = self._saved = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start

    def over(self) -> str | None:
        """Why training must end now; None to go on."""
        if self.interrupt.asked:
            return "interrupted"
        if self.best.waited >= self.options.patience:
            return self.patience_over
        return self.budget.over(self.step, self.seconds + self.evaluation)

    # -- the judge ----------------------------------------------------------------------------------------------------

    def measure(self, rows: Rows) -> tuple[float | None, dict[str, float]]:
        """The criterion, and other numbers for the history, in evaluation mode, with the same random numbers every time: noise
        in them is then common to all evaluations, and training's own random numbers are left alone."""
        modules = [m for m in (self.model, *(loss.module for loss in self.watched)) if m is not None]
        training = [m.training for m in modules]
        try:
            for module in modules:
                module.eval()
            with isolated(self.options.seed), torch.no_grad():
                numbers: dict[str, float] = {}
                for loss in self.watched:
                    numbers |= loss.evaluate(rows.x, rows.c) if loss.evaluate is not None else {}
                value = numbers.pop("criterion", None)
                return (self.model.criterion(rows.x, rows.c) if value is None else value), numbers
        finally:
            for module, flag in zip(modules, training, strict=True):
                module.train(flag)

    def trim(self) -> None:
        """Without a budget of seconds all held-out rows judge; with one, as many as take a thirtieth of it at a time."""
        if self.held is None or self.budget.seconds is None or len(self.held) <= PROBE:
            return
        start = time.perf_counter()
        self.measure(self.held[:PROBE])
        seconds = max(time.perf_counter() - start, 1e-6)
        self.held = self.held[: max(PROBE, int(PROBE * self.budget.seconds / 30 / seconds))]

    def criterion(self) -> float | None:
        """Evaluate, and keep the weights if they are the best."""
        start = time.perf_counter()
        value, self.found = (None, {}) if self.held is None else self.measure(self.held)
        if value is None and not finite(self.model):
            raise NonFiniteLossError(
                f"The weights stopped being finite before step {self.step}, and the model has kept those of step"
                f" {self.best.step}. Try a smaller learning_rate or max_grad_norm, or look for extreme values in the data."
            )
        self.best.offer(self.model, self.step, value, self.tolerance)
        self.evaluation = time.perf_counter() - start
        self.evaluations += self.evaluation
        return value

    def record(self, losses: dict[str, float | None], value: float | None) -> None:
        epoch = self.step / self.steps_per_epoch
        row = {"step": self.step, "epoch": epoch, "seconds": self.seconds, **losses, "criterion": value}
        self.history.rows.append(row | ({"watched": self.found} if self.found else {}))
        self.evaluated = self.step
        self.show(losses)

    def show(self, losses: dict[str, float | None]) -> None:
        numbers = {**losses, "held out": next((r["criterion"] for r in reversed(self.history.rows)), None)}
        seconds = self.seconds
        self.progress.update(self.step, self.budget.spent(self.step, seconds), seconds, numbers)

    # -- the file -----------------------------------------------------------------------------------------------------

    def save_due(self) -> bool:
        options = self.options
        if options.checkpoint is None:
            return False
        if options.checkpoint_every is not None:
            return self.step % options.checkpoint_every == 0
        return time.perf_counter() - self._saved > SAVE_SECONDS

    def save(self) -> None:
        if self.options.checkpoint is None:
            return
        groups = {"best": self.best.weights, "random": checkpoint.random_state(self.device), **self.tensors()}
        training = {
            "step": self.step, "seconds": self.seconds, "evaluated": self.evaluated, "evaluation": self.evaluation,
            "evaluations": self.evaluations, "best": self.best.to_json(), "history": self.history.to_json(), **self.numbers(),
        }  # fmt: skip
        checkpoint.write(self.options.checkpoint, groups, {"settings": self.settings, "training": training})
        self._saved = time.perf_counter()

    def resume(self) -> None:
        assert self.options.checkpoint is not None
        groups, header = checkpoint.read(self.options.checkpoint, self.settings)
        training = header["training"]
        self.step, self.evaluated = training["step"], training["evaluated"]
        self.evaluation, self.evaluations = training["evaluation"], training["evaluations"]
        self._start -= training["seconds"]
        self.history = History.from_json(training["history"])
        self.best.load(training["best"], groups.get("best", {}), self.model)
        self.restore(groups, training)
        checkpoint.restore_random_state(groups["random"], self.device)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """The groups of tensors that this kind of training goes on from."""
        return {"weights": self.model.state_dict()}

    def numbers(self) -> dict[str, Any]:
        """What else it goes on from, as JSON."""
        return {}

    def restore(self, groups: dict[str, dict[str, Tensor]], training: dict[str, Any]) -> None:
        self.model.load_state_dict(groups["weights"])

    # -- the whole ----------------------------------------------------------------------------------------------------

    def loop(self) -> str:
        """Train until something ends it, and say what."""
        raise TypeError(f"{type(self).__name__} must define loop().")

    def run(self) -> History:
        """Train; whatever happens, leave the model with the best weights there are, in evaluation mode."""
        try:
            return self.finish(self.loop())
        except TrainingError:
            self.best.restore(self.model)
            raise
        except TrainingInterrupted:
            raise
        except KeyboardInterrupt as error:
            # A second Ctrl-C, or one raised within a step: half a step cannot be saved, the file stays as last written.
            self.best.restore(self.model)
            raise TrainingInterrupted(self.interruption()) from error
        finally:
            self.model.eval()

    def finish(self, stopped: str) -> History:
        history = self.history
        history.stopped, history.best_step = stopped, self.best.step
        history.steps, history.seconds = self.step, self.seconds
        self.progress.close(str(history))
        if stopped == "interrupted":
            raise TrainingInterrupted(self.interruption())
        return history

    def interruption(self) -> str:
        path = self.options.checkpoint
        kept = f"the model has its best weights so far, those of step {self.best.step}"
        how = (
            "pass checkpoint= to be able to go on"
            if path is None
            else f"fit(..., checkpoint={os.fspath(path)!r}, resume=True) goes on"
        )
        return f"Training was interrupted after step {self.step}; {kept}; {how}."
