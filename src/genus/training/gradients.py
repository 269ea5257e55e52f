"""Training by gradients: any number of players with optimizers of their own, on one tensor of data indexed by a permutation."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import get_ema_multi_avg_fn

from genus.compiled import Compiled
from genus.errors import NonFiniteLossError
from genus.memory import kept_memory
from genus.model import GenerativeModel, Loss
from genus.training import checkpoint
from genus.training.alarms import alarms
from genus.training.budget import SCHEDULES
from genus.training.history import History
from genus.training.players import Player, Step, players
from genus.training.rows import generator
from genus.training.run import Run

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Gradients"]

READ_STEPS, READ_SECONDS = 64, 0.5  # how often losses are read: reading one waits for the device


class Gradients(Run):
    """One gradient training, step by step."""

    def start(self, fabric: Fabric, losses: Sequence[Loss], batch_size: int, rate: float | None, weight_decay: float) -> None:
        """Settle what needs the device: the wrapped step, the optimizers, the averaged weights."""
        self.fabric, self.batch_size = fabric, batch_size
        self.pieces, self.length = len(self.train), 0
        if self.train.consecutive:
            self.length = self.train.x.shape[1]
            self.train = self.train.windows()
        self.watched = [loss for loss in losses if loss.evaluate is not None]
        self.bare = Step(self.model, losses, self.train, self.device, self.options.compiled)
        module = fabric.setup_module(self.bare)
        # In one process and without autocast Fabric's wrappers have nothing to do, and doing it takes a tenth of a small step.
        alone = fabric.world_size == 1 and self.options.precision == "32-true"
        self.value = self.bare.forward if alone else module
        self.backward: Callable[[Tensor], None] = Tensor.backward if alone else fabric.backward
        # A fused step would take over the gradient scaler's unscaling, too late for clipping.
        fused = self.options.precision != "16-mixed"
        self.players = players(losses, self.bare, rate, weight_decay, fused)
        emphasis = self.emphasis()
        self.chances = None if emphasis is None else emphasis.double().cpu().cumsum(0)
        self.steps_per_epoch = max(1, self.pieces // batch_size)
        self.interval = self.evaluation_interval()
        self.weights: list[Tensor] = list(self.model.parameters())
        self.averages = [p.detach().clone() for p in self.weights] if self.options.ema_decay else []
        self.pending: list[tuple[int, Player, Tensor, Tensor | None]] = []
        self.read_step, self.read_time = 0, time.perf_counter()
        self.active: Player | None = None
        self.rang: dict[str, int] = {}  # the steps of alarms
        self.history.parameters = sum(p.numel() for p in {p for player in self.players for p in player.parameters})

    def emphasis(self) -> Tensor | None:
        """How often each row is to be seen, in proportion; None where all are seen alike."""
        if self.length or getattr(self.model.emphasis, "__func__", None) is GenerativeModel.emphasis:
            return None
        rows = self.train[:]
        return self.model.emphasis(rows.x, rows.c)

    def evaluation_interval(self) -> int:
        """Steps between evaluations: an epoch, within bounds that keep evaluation near a tenth of the time.

        A step costs about three forward passes over a batch, an evaluation one over the held-out rows. Steps and not seconds,
        so that the same seed evaluates at the same steps.
        """
        held = 0 if self.held is None else len(self.held)
        return max(min(max(self.steps_per_epoch, 50), 500), math.ceil(held / (0.3 * self.batch_size)))

    # -- the loop -----------------------------------------------------------------------------------------------------

    def run(self) -> History:
        self.model.train()
        required = [(p, p.requires_grad) for p in self.bare.parameters()]
        try:
            with kept_memory():
                return super().run()
        finally:
            for parameter, flag in required:
                parameter.requires_grad_(flag)
                parameter.grad = None

    def loop(self) -> str:
        schedule, ema_decay, epoch = SCHEDULES[self.options.lr_schedule], self.options.ema_decay, -1
        batches: tuple[Tensor, ...] = ()
        if self.evaluated < 0:
            self.evaluate()
        while (stopped := self.over()) is None:
            now, at = divmod(self.step, self.steps_per_epoch)
            if now != epoch:
                epoch, batches = now, self.batches(now)
            rate = schedule(self.budget.spent(self.step, self.seconds))
            for player in self.players:
                if self.step % player.interval == 0:
                    self.turn(player, batches[at], rate)
            self.step += 1
            if ema_decay:
                # Early weights are poor: the average forgets them faster at first.
                get_ema_multi_avg_fn(min(ema_decay, (1 + self.step) / (10 + self.step)))(self.averages, self.weights, self.step)
            if self.step - self.read_step >= READ_STEPS or time.perf_counter() - self.read_time > READ_SECONDS:
                self.read()
                self.show(self.means())
            if self.evaluation_due():
                self.evaluate()
            if self.save_due():
                self.save()
        # Before the final evaluation, which a training that goes on would not have made here.
        self.save()
        if self.evaluated != self.step:
            self.evaluate()
        self.alarm(ended=True)
        self.best.restore(self.model)
        return stopped

    def batches(self, epoch: int) -> tuple[Tensor, ...]:
        """An order of the training rows in batches; the rows left over, other ones every epoch, sit this epoch out."""
        random = generator(self.options.seed, epoch + 1)
        if self.chances is None:
            order = torch.randperm(self.pieces, generator=random)
        else:
            place = torch.rand(self.pieces, generator=random, dtype=torch.float64) * self.chances[-1]
            order = torch.searchsorted(self.chances, place, right=True).clamp(max=self.pieces - 1)
        if self.length:  # one long sequence is cut at other places every epoch
            first = int(torch.randint(self.length, (1,), generator=random))
            order = (order * self.length + first).clamp(max=len(self.train) - 1)
        order = order.to(self.train.x.device)
        return order[: self.steps_per_epoch * self.batch_size].split(self.batch_size)

    def turn(self, player: Player, index: Tensor, rate: float) -> None:
        """One player's step."""
        if self.active is not player:
            player.take_turn()
            self.active = player
        try:
            loss = self.descend(player, index)
        except Exception as error:
            # Gradients are compiled when first asked for; and those of gradients, as penalties on slopes take, not at all.
            value = self.bare.values[player.index]
            if not (isinstance(value, Compiled) and value.compiled):
                raise
            value.give_up(error)
            loss = self.descend(player, index)
        precision, norm = self.fabric.strategy.precision, None
        if self.options.max_grad_norm is not None:
            for optimizer in player.optimizers:
                precision.unscale_gradients(optimizer)
            norm = clip_grad_norm_(player.parameters, self.options.max_grad_norm)
        for optimizer in player.optimizers:
            group = optimizer.param_groups[0]
            group["lr"] = group["initial_lr"] * rate
            precision.optimizer_step(optimizer)
        if player.after is not None:
            player.after()
        self.pending.append((self.step + 1, player, loss.detach(), norm))

    def descend(self, player: Player, index: Tensor) -> Tensor:
        """One player's loss on those rows, and its gradients."""
        for parameter in player.parameters:
            parameter.grad = None
        loss = self.value(player.index, index)
        self.backward(loss)
        return loss

    def read(self) -> None:
        """Take in the losses of the last steps, all at once, and refuse any that is not finite."""
        pending, self.pending = self.pending, []
        self.read_step, self.read_time = self.step, time.perf_counter()
        if not pending:
            return
        values = torch.stack([loss for _, _, loss, _ in pending]).tolist()
        if self.watched and self.options.max_grad_norm is not None:
            norms = torch.stack([norm for *_, norm in pending if norm is not None]).tolist()
            for (_, player, _, _), norm in zip(pending, norms, strict=True):
                player.gradient += norm
        for (step, player, _, _), value in zip(pending, values, strict=True):
            if not math.isfinite(value):
                what = f"The loss {player.name!r} became {value} at step {step}; expected a finite number"
                kept = f"The model has kept its weights of step {self.best.step}"
                raise NonFiniteLossError(
                    f"{what}. {kept}. Try a smaller learning_rate or max_grad_norm, or look for extreme values in the data."
                )
            player.total += value
            player.count += 1

    def means(self) -> dict[str, float | None]:
        """Every player's mean loss since the last row of the history."""
        return {player.name: player.total / player.count if player.count else None for player in self.players}

    # -- evaluation ---------------------------------------------------------------------------------------------------

    def evaluation_due(self) -> bool:
        if self.budget.seconds is None:
            return self.step % self.interval == 0
        # Against the clock nothing repeats anyway: slow steps are evaluated now and then too, slow evaluations more rarely.
        late = self.seconds - self.history.rows[-1]["seconds"] > self.budget.seconds / 20
        return (late or self.step % self.interval == 0) and self.evaluations < 0.1 * self.seconds

    def evaluate(self) -> None:
        self.read()
        with self.averaged():
            value = self.criterion()
        if self.watched:
            self.found |= {f"gradient of {p.name}": p.gradient / p.count for p in self.players if p.gradient}
        self.record(self.means(), value)
        for player in self.players:
            player.total, player.gradient, player.count = 0.0, 0.0, 0
        self.alarm()

    def alarm(self, ended: bool = False) -> None:
        """Say once what has gone wrong; in the history stays what had not passed when the weights were best."""
        for kind, sentence in alarms(self.history.rows, ended).items():
            if kind not in self.history.alarms:
                self.history.alarms[kind], self.rang[kind] = sentence, self.step
                warnings.warn(sentence, stacklevel=2)
        if ended:
            for kind in [kind for kind, step in self.rang.items() if step < self.best.step]:
                del self.history.alarms[kind]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The averaged weights are the model's inside."""
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

    # -- the file -----------------------------------------------------------------------------------------------------

    def save(self) -> None:
        self.read()
        super().save()

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        return {
            "weights": self.bare.state_dict(),
            "averages": {str(i): average for i, average in enumerate(self.averages)},
            "optimizer": checkpoint.optimizer_tensors(self.optimizers()),
        }

    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [optimizer for player in self.players for optimizer in player.optimizers]

    def numbers(self) -> dict[str, Any]:
        sums = [(player.total, player.gradient, player.count) for player in self.players]
        return {"losses": sums, "precision": self.fabric.strategy.precision.state_dict()}

    def restore(self, groups: dict[str, dict[str, Tensor]], training: dict[str, Any]) -> None:
        self.bare.load_state_dict(groups["weights"])
        for i, average in enumerate(self.averages):
            average.copy_(groups["averages"][str(i)])
        for player, (total, gradient, count) in zip(self.players, training["losses"], strict=True):
            player.total, player.gradient, player.count = total, gradient, count
        for index, optimizer in enumerate(self.optimizers()):
            checkpoint.restore_optimizer(index, optimizer, groups["optimizer"])
        self.fabric.strategy.precision.load_state_dict(training["precision"])
        self.read_step = self.step
