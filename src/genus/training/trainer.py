"""The base of all trainers: a clock, evaluations on validation rows, a history, a checkpoint to resume from."""

from __future__ import annotations

import os
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from genus.codec import Codec
from genus.codec.units import Unit
from genus.errors import ModelFileError, NonFiniteLossError, TrainingError, lacks_memory
from genus.files import check_types
from genus.ladder import GenerativeModel, Loss
from genus.nets.room import free_memory, in_words
from genus.nets.state import check_numbers, evaluating
from genus.random import isolated, random_state, restore_random_state
from genus.training import checkpoint
from genus.training.checkpoint import BestWeights
from genus.training.group import Group
from genus.training.history import History
from genus.training.options import Budget, FitOptions
from genus.training.rows import Rows, affordable_rows
from genus.training.terminal import Interrupt, Progress, TrainingInterrupted

__all__ = ["Job", "Trainer"]

PROBE, LEAST_PROBE = 256, 16  # rows whose evaluation is timed, to learn how many are affordable; of long sequences fewer
PROBE_ELEMENTS = 2**17  # the most elements of long sequences among them
EVALUATIONS_PER_BUDGET = 30  # one evaluation takes at most 1 / 30 of max_seconds
ONCE, LEAST_ONCE = 0.1, 1.0  # the only evaluation of a model takes this share of max_seconds, or these seconds if more
SAVE_SECONDS = 60.0  # between two checkpoints
UNIT_ROWS = 1000  # rows by whose mean length the unit of the history is chosen
INTERRUPTED = "interrupted"  # the reason of an end for which `finish` raises TrainingInterrupted instead of returning


class Job(NamedTuple):
    """Hold the arguments of every trainer.

    Attributes:
        model: on the device where it is trained.
        train: the training rows, on any device.
        validation: the validation rows, on the model's device; None for none.
        options: the options of `fit`, with the family's defaults filled in.
        interrupt: its `asked` is true once Ctrl-C was pressed, or SIGTERM or SIGHUP came.
        progress: the progress bar.
        group: the processes that train together.
    """

    model: GenerativeModel
    train: Rows
    validation: Rows | None
    options: FitOptions
    interrupt: Interrupt
    progress: Progress
    group: Group = Group()


class Trainer(ABC):
    """Train a model, evaluate it on validation rows, keep its best weights, and write a checkpoint to resume from.

    `run` calls `loop`, and does what every training does before and after it. A subclass gives `loop`, in which it calls
    `over`, `evaluate_and_keep_best`, `record` and `save`; and `tensors`, `numbers` and `restore` where a checkpoint needs more
    than the model's weights.

    Args:
        job: the model, its rows and the options.
        batch_size: rows a step; None where the result does not depend on it.
        steps_per_epoch: how many steps see all rows.
        most_steps: the greatest number of steps, where the options name no budget.
        losses: the losses to lower; none for a model that counts.
    """

    is_evaluated_once = False  # whether the model is evaluated once, at the end

    def __init__(
        self, job: Job, *, batch_size: int | None, steps_per_epoch: int, most_steps: int, losses: Sequence[Loss] = ()
    ) -> None:
        self.model, self.train, self.validation, self.options, self.interrupt, self.progress, self.group = job
        self.device = self.model.device
        self.steps_per_epoch = steps_per_epoch
        self.budget = Budget.of(self.options, steps_per_epoch, most_steps)
        self.module: nn.Module = self.model  # the module with all weights that are trained, those of a critic too
        # What a resumed training must share with the saved one; only a checkpoint needs it, and it takes a look at all rows.
        self.settings: dict[str, Any] = {}
        if self.options.checkpoint is not None:
            self.settings = checkpoint.settings(self.model, self.train, self.validation, self.options, batch_size, losses)
        self.evaluated_losses = [loss for loss in losses if loss.evaluate is not None]
        # The history and the progress show a likelihood in the unit of the data: nats a row, or bits a character.
        self.unit = Unit.of(self.model.codec or Codec(self.model.space), self.train[:UNIT_ROWS].x)
        in_nats = self.model.info.likelihood != "none" and all(loss.module is None for loss in losses)
        self.history = History(unit=self.unit.name, scale=self.unit.scale) if in_nats else History()
        self.best = BestWeights()
        self.step = 0
        self.evaluated = -1  # the step of the last evaluation
        self.evaluation_seconds = 0.0  # of the last evaluation; as many are reserved for the final one
        self.all_evaluation_seconds = 0.0
        self._start = time.perf_counter()
        self._saved = 0.0  # the seconds of training when the checkpoint was last written
        self._agreed_seconds = 0.0  # the seconds of training by the clock of rank 0, where several processes train

    # -- running ------------------------------------------------------------------------------------------------------

    @abstractmethod
    def loop(self) -> str:
        """Train to the end, and return the reason of the end for the history: "closed form", "early stopping", the name of the
        budget that ran out, or INTERRUPTED.
        """

    def run(self) -> History:
        """Train; whatever happens, leave the model with the best weights so far, in evaluation mode."""
        try:
            if self.group.is_first and not self.is_evaluated_once:  # rank 0 alone evaluates
                self.limit_validation_rows(1 / EVALUATIONS_PER_BUDGET)
            return self.finish(self.loop())
        except (TrainingError, MemoryError, RuntimeError) as error:
            self.best.restore(self.model)
            if not lacks_memory(error):
                raise
            raise TrainingError(
                f"There is not enough memory to train {self.model.family_name} on {len(self.train):,} rows:"
                f" {in_words(free_memory())} are free; choose a smaller size by its hyper-parameters, or fewer rows."
            ) from error
        except TrainingInterrupted:  # its message is complete
            raise
        except KeyboardInterrupt as error:
            # A second Ctrl-C came, or one within a step: half a step cannot be saved, so the checkpoint stays as last written.
            self.best.restore(self.model)
            raise TrainingInterrupted(self.interruption()) from error
        finally:
            self.model.eval()

    def finish(self, stopped: str) -> History:
        """Complete the history and return it; raise TrainingInterrupted where Ctrl-C ended the training."""
        history = self.history
        history.stopped, history.best_step = stopped, self.best.step
        history.steps, history.seconds = self.step, self.seconds
        self.progress.close(str(history))
        if stopped == INTERRUPTED:
            raise TrainingInterrupted(self.interruption())
        return history

    def interruption(self) -> str:
        """Return the message of an interruption: what the model holds now, and how to go on."""
        path = self.options.checkpoint
        kept = f"the model has its best weights so far, those of step {self.best.step}"
        how_to_go_on = (
            "pass checkpoint= to be able to go on"
            if path is None
            else f"fit(..., checkpoint={os.fspath(path)!r}, resume=True) goes on"
        )
        return f"Training was interrupted after step {self.step}; {kept}; {how_to_go_on}."

    @property
    def seconds(self) -> float:
        """Return the seconds of training so far; after a resume they include the time before it."""
        return self._agreed_seconds if self.group.count > 1 else time.perf_counter() - self._start

    def over(self) -> str | None:
        """Return why training must end now, or None to go on; all processes call it at the same steps, to agree on the time."""
        self._agreed_seconds, asked = self.group.agree(time.perf_counter() - self._start, self.interrupt.asked)
        if asked:
            return INTERRUPTED
        if self.best.waited >= self.options.patience:  # type: ignore[operator]
            return "early stopping"
        return self.budget.over(self.step, self.seconds + self.evaluation_seconds)

    # -- evaluation ---------------------------------------------------------------------------------------------------

    def measure(self, rows: Rows) -> tuple[float | None, dict[str, float]]:
        """Return the criterion of some rows, lower being better, and the numbers that losses add to the history.

        The criterion is that of a loss whose `evaluate` gives one, else `model.criterion`: minus the mean log-density, say.
        Every evaluation draws from the same seed, so that criteria differ by the weights alone, and training's own random
        numbers do not depend on evaluations.
        """
        modules = [loss.module for loss in self.evaluated_losses if loss.module is not None]
        with evaluating(self.model, *modules), isolated(self.options.seed), torch.no_grad():
            numbers: dict[str, float] = {}
            for loss in self.evaluated_losses:
                numbers |= loss.evaluate(rows.x, rows.c) if loss.evaluate is not None else {}
            criterion = numbers.pop("criterion", None)
            return (self.model.criterion(rows.x, rows.c) if criterion is None else criterion), numbers

    def limit_validation_rows(self, share: float, least: float = 0.0) -> None:
        """Choose so few validation rows that an evaluation takes this share of max_seconds at most, or `least` seconds if more.

        The evaluation of some rows is timed, and at least these stay. All rows stay without max_seconds.
        """
        budget, held = self.budget.seconds, self.validation
        few = max(LEAST_PROBE, min(PROBE, PROBE_ELEMENTS // self.model.space.dim))
        if held is None or budget is None or len(held) <= few:
            return
        affordable = affordable_rows(lambda rows: self.measure(held[:rows]), few, max(least, budget * share))
        self.validation = held.random_rows(affordable, self.options.seed)  # the rows may be sorted

    def evaluate_once(self) -> None:
        """Evaluate and record a model that has a density only now that it has counted its rows, or learned from them."""
        if self.group.is_first:
            self.limit_validation_rows(ONCE, LEAST_ONCE)
        self.record({}, *self.evaluate_and_keep_best())

    def evaluate_and_keep_best(self) -> tuple[float | None, dict[str, float]]:
        """Evaluate the weights on the validation rows, keep them if they are the best so far, and return what `measure` does.

        Raises:
            NonFiniteLossError: a weight is not finite, and no criterion would show it: there are no validation rows, or the
                family has no criterion.
        """
        start = time.perf_counter()
        measured = (None, {}) if self.validation is None or not self.group.is_first else self.measure(self.validation)
        (criterion, numbers), self.evaluation_seconds = self.group.from_first((measured, time.perf_counter() - start))
        if criterion is None and not all(bool(p.isfinite().all()) for p in self.model.parameters()):
            raise NonFiniteLossError(
                f"The weights stopped being finite before step {self.step}, and the model has kept those of step"
                f" {self.best.step}. Try a smaller learning_rate or max_grad_norm, or look for extreme values in the data."
            )
        self.best.offer(self.model, self.step, criterion)
        self.all_evaluation_seconds += self.evaluation_seconds
        return criterion, numbers

    def record(self, losses: dict[str, float | None], criterion: float | None, numbers: dict[str, float]) -> None:
        """Append an evaluation to the history, and show it."""
        epoch = self.step / self.steps_per_epoch
        row = {"step": self.step, "epoch": epoch, "seconds": self.seconds, **losses, "criterion": criterion}
        self.history.rows.append(row | ({"watched": numbers} if numbers else {}))
        self.group.log_row(self.history.rows[-1])
        self.evaluated = self.step
        self.show(losses)

    def show(self, losses: dict[str, float | None]) -> None:
        """Show the progress: the losses, and the last criterion."""
        numbers = {**losses, "validation": next((r["criterion"] for r in reversed(self.history.rows)), None)}
        shown = {name: value * self.history.scale for name, value in numbers.items() if value is not None}
        seconds = self.seconds
        self.progress.update(self.step, self.budget.spent(self.step, seconds), seconds, shown, self.history.unit)

    # -- the checkpoint -----------------------------------------------------------------------------------------------

    def save_due(self) -> bool:
        """Return whether the checkpoint is to be written after this step."""
        options = self.options
        if options.checkpoint is None:
            return False
        if options.checkpoint_every is not None:
            return self.step % options.checkpoint_every == 0
        return self.seconds - self._saved > SAVE_SECONDS

    def save(self) -> None:
        """Write the checkpoint, if there is to be one: all that `resume` needs to go on bit for bit."""
        if self.options.checkpoint is None:
            return
        noise = self.group.gather((self.group.own_key("random"), random_state(self.device)))
        self._saved = self.seconds
        if not self.group.is_first:
            return
        groups = {"best": self.best.weights, **dict(noise), **self.tensors()}
        training = {
            "step": self.step, "seconds": self.seconds, "evaluated": self.evaluated,
            "evaluation_seconds": self.evaluation_seconds, "all_evaluation_seconds": self.all_evaluation_seconds,
            "best": self.best.to_json(), "history": self.history.to_json(), **self.numbers(),
        }  # fmt: skip
        try:
            checkpoint.write(self.options.checkpoint, groups, {"settings": self.settings, "training": training})
        except ModelFileError as error:  # a full disk, for instance, need not end the training
            warnings.warn(f"The checkpoint could not be written, and the training goes on. {error}", stacklevel=2)
            self.progress.say(f"the checkpoint could not be written, and the training goes on: {error}")

    def resume(self) -> None:
        """Go on from the checkpoint, as if the training had never stopped.

        Raises:
            ModelFileError: the file is damaged.
            TrainingError: it belongs to another training, or somebody changed it.
        """
        path = cast(str, self.options.checkpoint)
        groups, header = self.group.run_on_first(lambda: checkpoint.read(path, self.settings))
        with checkpoint.explain_damage(path, "pass resume=False"):
            self._restore_training(groups, header["training"])

    def _restore_training(self, groups: dict[str, dict[str, Tensor]], training: dict[str, Any]) -> None:
        """Set the state of the training to the one that `save` wrote."""
        for name, least in (("step", 0), ("evaluated", -1)):
            checkpoint.check_count(name, training[name], least)
        for name in ("seconds", "evaluation_seconds", "all_evaluation_seconds"):
            checkpoint.check_number(name, training[name], least=0)
        self.step, self.evaluated = training["step"], training["evaluated"]
        self.evaluation_seconds = training["evaluation_seconds"]
        self.all_evaluation_seconds = training["all_evaluation_seconds"]
        self._start -= training["seconds"]
        self._saved = training["seconds"]
        self.history = History.from_json(training["history"])
        check_types(self.module, groups["weights"])
        self.restore(groups, training)
        check_numbers(self.module)
        self.best.load(training["best"], groups.get("best", {}), self.model)
        if (name := self.group.own_key("random")) in groups or self.group.is_first:  # fewer processes may have saved the file
            restore_random_state(groups[name], self.device)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return the groups of tensors of the checkpoint that `restore` needs."""
        return {"weights": self.model.state_dict()}

    def numbers(self) -> dict[str, Any]:
        """Return the other values of the checkpoint that `restore` needs, as JSON."""
        return {}

    def restore(self, groups: dict[str, dict[str, Tensor]], training: dict[str, Any]) -> None:
        """Set the state from what `tensors` and `numbers` returned when the checkpoint was written."""
        self.model.load_state_dict(groups["weights"])
