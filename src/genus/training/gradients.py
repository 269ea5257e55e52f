"""Training by gradients: steps on batches of shuffled rows, for any number of losses with optimizers of their own."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from genus.compiled import Compiled
from genus.errors import NonFiniteLossError, TrainingError, lacks_memory
from genus.ladder import GenerativeModel, Loss
from genus.space import Category
from genus.training import checkpoint
from genus.training.history import History, alarms
from genus.training.objectives import Objective, Step, make_fabric, make_objectives
from genus.training.rows import Rows, ShuffleBuffer, generator
from genus.training.trainer import Job, Trainer

__all__ = ["GradientTrainer"]

FLUSH_STEPS, FLUSH_SECONDS = 64, 0.5  # how often losses are copied to the host: a copy waits for the device
EVALUATION_PERCENT = 10  # evaluation's share of the time
PASSES_PER_STEP = 3  # what a step costs in forward passes over its batch: one forward, a backward of about two
EPOCHS, LEAST_STEPS, MOST_STEPS = 100, 3_000, 30_000  # a training without a budget has so many epochs, within these steps
LEAST_INTERVAL, MOST_INTERVAL = 50, 500  # steps between evaluations
EVALUATIONS_PER_BUDGET = 20  # with max_seconds, an evaluation is due at least once in each 20th of them


class GradientTrainer(Trainer):
    """Lower the losses of a model step by step.

    Args:
        job: see `Trainer`.
        losses: as `trainable` returns them.
        batch_size: rows a step.
    """

    def __init__(self, job: Job, losses: Sequence[Loss], batch_size: int) -> None:
        model, train, options = job.model, job.train, job.options
        per_epoch = len(train) // batch_size
        most_steps = min(max(EPOCHS * per_epoch, LEAST_STEPS), MOST_STEPS)
        super().__init__(job, batch_size=batch_size, steps_per_epoch=per_epoch, most_steps=most_steps, losses=losses)
        if batch_size < self.group.count:
            raise TrainingError(
                f"A batch of {batch_size} rows cannot be shared by {self.group.count} processes; choose a larger batch_size, or"
                " fewer processes."
            )
        self.batch_size, self.rows_per_epoch = batch_size, len(train)
        self.window_length: int | None = None  # of the windows that one long sequence is cut into
        if train.consecutive:
            self.window_length = train.x.shape[1]
            self.train = train.windows()
        # Of a stream, part of the rows (`train.rest` gives the others) are in memory, and half of these change every epoch.
        self.shuffle_buffer = ShuffleBuffer(train, options.seed) if train.rest is not None and not train.consecutive else None
        if self.shuffle_buffer is not None:
            self.train, self.history.seen = self.shuffle_buffer.rows, self.shuffle_buffer.seen
        self.module: Step = Step(model, losses, self.train, self.device, options.compile)
        self.fabric = make_fabric(self.device, str(options.precision))
        # Fabric's wrapper of the module is not used: in one process it would only autocast, at a tenth of the time of a small
        # step and with flags that threads share. `loss_under_autocast` computes the loss instead.
        self.fabric.setup_module(self.module)
        # `compute_loss` takes the index of a loss and those of rows; `backward` takes the loss.
        self.compute_loss: Callable[[int, Tensor], Tensor]
        self.backward: Callable[[Tensor], None]
        if options.precision == "32-true":
            self.compute_loss, self.backward = self.module.forward, Tensor.backward
        else:
            self.compute_loss, self.backward = self.loss_under_autocast, self.fabric.backward
        # A fused step would take over the gradient scaler's unscaling, too late for clipping.
        fused = options.precision != "16-mixed"
        self.objectives = make_objectives(losses, self.module, options, fused)
        self.cumulative_weights = self.cumulate_row_weights()
        self.interval = self.evaluation_interval()
        self.weights: list[Tensor] = list(model.parameters())
        self.averages = [p.detach().clone() for p in self.weights] if options.ema_decay else []
        # Of steps whose losses are not copied to the host yet: (step, objective, loss, norm of the gradient before clipping).
        self.pending_losses: list[tuple[int, Objective, Tensor, Tensor | None]] = []
        self.flushed_step, self.flushed_time = 0, 0.0
        self.active: Objective | None = None  # the objective whose parameters alone require gradients now
        # Buffers may change in a forward pass, as a running mean does; several processes then take those of rank 0.
        state = self.module.state_dict(keep_vars=True).values() if self.group.count > 1 else ()
        self.moving_buffers = [t for t in state if t.is_floating_point() and not isinstance(t, nn.Parameter)]
        self.alarm_steps: dict[str, int] = {}
        self.history.parameters = sum(p.numel() for p in {p for one in self.objectives for p in one.parameters})

    def cumulate_row_weights(self) -> Tensor | None:
        """Return the cumulative sum (N,) of the row weights of the model and of `fit`, or None where neither gives any."""
        weights = None
        # The base class's method returns None, and is not worth a copy of all rows.
        is_overridden = getattr(self.model.row_weights, "__func__", None) is not GenerativeModel.row_weights
        if self.window_length is None and is_overridden:
            rows = self.train[:]
            weights = self.model.row_weights(rows.x, rows.c)
        of_fit = self.train.row_weights()
        if weights is None or of_fit is None:
            weights = of_fit if weights is None else weights
        else:
            weights = weights * of_fit.to(weights.device)
        return None if weights is None else weights.double().cpu().cumsum(0)

    def evaluation_interval(self) -> int:
        """Return the steps between evaluations: an epoch, within bounds that keep evaluation near a tenth of the time.

        A step costs about PASSES_PER_STEP forward passes over a batch, an evaluation one over the validation rows. The interval
        is in steps, not in seconds, so that the same seed evaluates at the same steps.
        """
        rows = 0 if self.validation is None else len(self.validation)
        affordable = -(-rows * 100 // (PASSES_PER_STEP * EVALUATION_PERCENT * self.batch_size))  # rounded up
        return max(min(max(self.steps_per_epoch, LEAST_INTERVAL), MOST_INTERVAL), affordable)

    def loss_under_autocast(self, loss_index: int, row_index: Tensor) -> Tensor:
        """Return the loss of this index on these rows, computed in the precision of the options."""
        with self.fabric.autocast():
            return self.module(loss_index, row_index)

    # -- the loop -----------------------------------------------------------------------------------------------------

    def run(self) -> History:
        self.model.train()
        required = [(p, p.requires_grad) for p in self.module.parameters()]
        try:
            return super().run()
        finally:
            for parameter, flag in required:
                parameter.requires_grad_(flag)
                parameter.grad = None

    def loop(self) -> str:
        loaded_epoch = -1  # the epoch of `batches`: none yet, and a resumed training may begin within one
        batches: tuple[Tensor, ...] = ()  # the row indices of every batch
        if self.evaluated < 0:  # never
            self.evaluate_and_record()
        while (stopped := self.over()) is None:
            epoch, i = divmod(self.step, self.steps_per_epoch)
            if epoch != loaded_epoch:
                loaded_epoch, batches = epoch, self.batches(epoch)
            self.train_step(batches[i])
            if self.step - self.flushed_step >= FLUSH_STEPS or self.seconds - self.flushed_time > FLUSH_SECONDS:
                self.flush_losses()
                self.show(self.means())
            if self.evaluation_due():
                self.evaluate_and_record()
            if self.save_due():
                self.save()
        # Saved before the final evaluation: a training that is resumed with a larger budget would not have made it.
        self.save()
        if self.evaluated != self.step:
            self.evaluate_and_record()
        self.alarm(ended=True)
        self.best.restore(self.model)
        return stopped

    def batches(self, epoch: int) -> tuple[Tensor, ...]:
        """Return the batches of an epoch, each as the indices of its training rows.

        Without weights, the rows come in a random order, and the last ones, too few for a batch, are left out of this epoch.
        With weights, rows are drawn with replacement: a row may come twice, or not at all.
        """
        random = generator(self.options.seed, epoch + 1)
        if self.shuffle_buffer is not None and epoch > self.shuffle_buffer.epoch:
            self.shuffle_buffer.advance_to(epoch)
            self.cumulative_weights = self.cumulate_row_weights()
            self.history.seen = self.shuffle_buffer.seen
        if self.cumulative_weights is None:
            order = torch.randperm(self.rows_per_epoch, generator=random)
        else:
            total = self.cumulative_weights[-1]
            drawn = torch.rand(self.rows_per_epoch, generator=random, dtype=torch.float64) * total
            order = torch.searchsorted(self.cumulative_weights, drawn, right=True).clamp(max=self.rows_per_epoch - 1)
        if self.window_length is not None:  # one long sequence is cut at other places every epoch
            shift = int(torch.randint(self.window_length, (1,), generator=random))
            order = (order * self.window_length + shift).clamp(max=len(self.train) - 1)
        order = order.to(self.train.x.device)
        return order[: self.steps_per_epoch * self.batch_size].split(self.batch_size)

    def train_step(self, row_index: Tensor) -> None:
        """Make one step on the rows of a batch: lower every loss that is due by its interval, and average the weights."""
        rate = self.options.rate(self.budget.spent(self.step, self.seconds))  # the share of the learning rate, by the schedule
        for objective in self.objectives:
            if self.step % objective.interval == 0:
                self.optimizer_step(objective, row_index, rate)
        self.step += 1
        if self.averages:
            # A warm-up of the average: early weights are poor, and are forgotten faster.
            decay = min(self.options.ema_decay or 0.0, (1 + self.step) / (10 + self.step))
            get_ema_multi_avg_fn(decay)(self.averages, self.weights, self.step)
        if self.group.fabric is not None:
            losses = {one.name: loss for step, one, loss, _ in self.pending_losses if step == self.step}
            self.group.call("on_train_batch_end", step=self.step, losses=losses)

    def optimizer_step(self, objective: Objective, row_index: Tensor, rate: float) -> None:
        """Make one step of one loss; `rate` is the schedule's share of its learning rate."""
        if self.active is not objective:
            objective.require_gradients()
            self.active = objective
        try:
            loss = self.shared_gradients(objective, row_index)
        except Exception as error:
            # torch.compile builds the backward pass at its first call, and fails there for double backward (the gradient
            # penalties of a critic): fall back to eager mode then.
            if lacks_memory(error):
                raise TrainingError(
                    f"There is not enough memory for a step on {len(row_index):,} rows; choose a smaller batch_size, a shorter"
                    " length of sequences or a smaller model."
                ) from error
            function = self.module.loss_functions[objective.index]
            if not (isinstance(function, Compiled) and function.compiled):
                raise
            function.give_up(error)
            loss = self.shared_gradients(objective, row_index)
        precision, norm = self.fabric.strategy.precision, None  # with "16-mixed", `precision` scales losses and gradients
        if self.options.max_grad_norm is not None:
            for optimizer in objective.optimizers:
                precision.unscale_gradients(optimizer)
            norm = clip_gradients(objective.parameters, self.options.max_grad_norm)
        for optimizer in objective.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * rate
            precision.optimizer_step(optimizer)
        if objective.after is not None:
            objective.after()
        self.pending_losses.append((self.step + 1, objective, loss.detach(), norm))

    def shared_gradients(self, objective: Objective, row_index: Tensor) -> Tensor:
        """Return a loss of some rows and leave its gradients in every process, each of which computes those of its part."""
        if self.group.count == 1:
            return self.gradients(objective, row_index)
        # PyTorch counts a tensor's changes in place in `_version`.
        part, versions = self.group.part(row_index), [tensor._version for tensor in self.moving_buffers]
        loss = self.group.reduce_gradients(objective.parameters, self.gradients(objective, part), len(part) / len(row_index))
        if versions != [tensor._version for tensor in self.moving_buffers]:
            # A forward pass that changes buffers may change parameters too.
            self.group.broadcast([*self.moving_buffers, *self.module.parameters()])
        return loss

    def gradients(self, objective: Objective, row_index: Tensor) -> Tensor:
        """Return a loss of some rows, and leave its gradients in its parameters."""
        for parameter in objective.parameters:
            parameter.grad = None
        # `piece` rows at a time, in the memory that so many rows take; gradients, weighted by their rows, add up in `grad`.
        piece = min(objective.piece or len(row_index), -(-len(row_index) // self.options.accumulate))
        if piece >= len(row_index):
            loss = self.compute_loss(objective.index, row_index)
            self.backward(loss)
            return loss
        losses = []
        for part in row_index.split(piece):
            loss = self.compute_loss(objective.index, part) * (len(part) / len(row_index))
            self.backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def flush_losses(self) -> None:
        """Copy the pending losses to the host in one synchronisation, check that they are finite, and add them to the means.

        Raises:
            NonFiniteLossError: one of them is not finite.
        """
        pending, self.pending_losses = self.pending_losses, []
        self.flushed_step, self.flushed_time = self.step, self.seconds
        if not pending:
            return
        values = torch.stack([loss for _, _, loss, _ in pending]).tolist()
        if self.evaluated_losses and self.options.max_grad_norm is not None:
            norms = torch.stack([norm for *_, norm in pending if norm is not None]).tolist()
            for (_, objective, _, _), norm in zip(pending, norms, strict=True):
                objective.norm_sum += norm
        for (step, objective, _, _), value in zip(pending, values, strict=True):
            if not math.isfinite(value):
                what = f"The loss {objective.name!r} became {value} at step {step}; expected a finite number"
                kept = f"The model has kept its weights of step {self.best.step}"
                raise NonFiniteLossError(
                    f"{what}. {kept}. Try a smaller learning_rate or max_grad_norm, or look for extreme values in the data."
                )
            objective.loss_sum += value
            objective.steps += 1

    def means(self) -> dict[str, float | None]:
        """Return every loss's mean since the last row of the history, in nats a row for likelihoods."""
        sizes = {one.name: self.unit.elements if one.of_elements else 1.0 for one in self.objectives}
        return {one.name: sizes[one.name] * one.loss_sum / one.steps if one.steps else None for one in self.objectives}

    # -- evaluation ---------------------------------------------------------------------------------------------------

    def measure(self, rows: Rows) -> tuple[float | None, dict[str, float]]:
        """Return the criterion of some rows, lower being better, and the numbers that losses add to the history."""
        # In half precision too where it is for symbols: in half the time, and .0001 nats a character off. Numbers lose digits.
        symbols = all(isinstance(kind, Category) for kind in self.model.space.kinds)
        with self.fabric.autocast() if symbols else nullcontext():
            return super().measure(rows)

    def evaluation_due(self) -> bool:
        """Return whether the weights are to be evaluated after this step."""
        if self.budget.seconds is None:
            return self.step % self.interval == 0
        # With max_seconds no training repeats another anyway: the clock decides too, and costly evaluations wait.
        late = self.seconds - self.history.rows[-1]["seconds"] > self.budget.seconds / EVALUATIONS_PER_BUDGET
        affordable = self.all_evaluation_seconds < self.seconds * EVALUATION_PERCENT / 100
        return (late or self.step % self.interval == 0) and affordable

    def evaluate_and_record(self) -> None:
        """Evaluate the weights, or their average where there is one, and record it with the mean losses since the last time."""
        self.flush_losses()
        with self.averaged():
            criterion, numbers = self.evaluate_and_keep_best()
        if self.evaluated_losses:
            numbers |= {f"gradient of {one.name}": one.norm_sum / one.steps for one in self.objectives if one.norm_sum}
        self.record(self.means(), criterion, numbers)
        for objective in self.objectives:
            objective.loss_sum, objective.norm_sum, objective.steps = 0.0, 0.0, 0
        self.alarm()

    def alarm(self, ended: bool = False) -> None:
        """Warn once for each kind of alarm; at the end drop those before the best step, whose weights are the ones kept."""
        for kind, sentence in alarms(self.history.rows, ended).items():
            if kind not in self.history.alarms:
                self.history.alarms[kind], self.alarm_steps[kind] = sentence, self.step
                if self.group.is_first:
                    warnings.warn(sentence, stacklevel=2)
        if ended:
            for kind in [kind for kind, step in self.alarm_steps.items() if step < self.best.step]:
                del self.history.alarms[kind]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the model its averaged weights inside the context."""
        if not self.averages:
            yield
            return
        weights = [p.detach().clone() for p in self.weights]
        with torch.no_grad():
            torch._foreach_copy_(self.weights, self.averages)
            try:
                yield
            finally:
                torch._foreach_copy_(self.weights, weights)

    # -- the checkpoint -----------------------------------------------------------------------------------------------

    def save(self) -> None:
        self.flush_losses()
        super().save()

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        return {
            "weights": self.module.state_dict(),
            "averages": {str(i): average for i, average in enumerate(self.averages)},
            "optimizer": checkpoint.optimizer_tensors(self.optimizers()),
        }

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Return the optimizers of all losses, in order."""
        return [optimizer for objective in self.objectives for optimizer in objective.optimizers]

    def numbers(self) -> dict[str, Any]:
        sums = [(one.loss_sum, one.norm_sum, one.steps) for one in self.objectives]
        return {"losses": sums, "precision": self.fabric.strategy.precision.state_dict()}

    def restore(self, groups: dict[str, dict[str, Tensor]], training: dict[str, Any]) -> None:
        self.module.load_state_dict(groups["weights"])
        for i, average in enumerate(self.averages):
            average.copy_(groups["averages"][str(i)])
        for objective, (loss_sum, norm_sum, steps) in zip(self.objectives, training["losses"], strict=True):
            checkpoint.check_number("sum of a loss", loss_sum)
            checkpoint.check_number("sum of gradients", norm_sum, least=0)
            checkpoint.check_count("number of losses", steps)
            objective.loss_sum, objective.norm_sum, objective.steps = loss_sum, norm_sum, steps
        for index, optimizer in enumerate(self.optimizers()):
            checkpoint.restore_optimizer(index, optimizer, groups.get("optimizer", {}))
        self.fabric.strategy.precision.load_state_dict(training["precision"])
        self.flushed_step = self.step


@torch.no_grad()
def clip_gradients(parameters: Sequence[Tensor], max_norm: float) -> Tensor:
    """Scale gradients down to a norm of at most `max_norm` together, and return the norm that they had.

    `torch.nn.utils.clip_grad_norm_` does the same for tensors of many devices, and takes twice as long for a small net's.

    >>> weight = torch.zeros(2, requires_grad=True)
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> clip_gradients([weight], 1.0), weight.grad
    (tensor(5.), tensor([0.6000, 0.8000]))
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros(())
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm
