"""The processes of one distributed training: they hold the same rows, divide every batch, and rank 0 decides for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from genus.errors import TrainingError
from genus.ladder import Counted, GenerativeModel

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Group"]

PATIENCE = timedelta(days=30)  # for decisions of rank 0, which may train alone for hours
Value = TypeVar("Value")


class Group:
    """Hold the processes that train one model together; without a Fabric, or in a Fabric of one process, this one alone.

    Whatever processes compute independently must be equal by construction (the order of rows follows from the seed), or come
    from rank 0 through this class: the clock, evaluations and files of rank 0 are those of the group. When one process ends,
    the others end with a TrainingError.

    Args:
        fabric: Lightning's Fabric, whose processes, device, precision, loggers and callbacks are used; launched if need be.

    >>> group = Group()
    >>> group.count, group.part(torch.arange(4)), group.from_first("a decision")
    (1, tensor([0, 1, 2, 3]), 'a decision')
    """

    def __init__(self, fabric: Fabric | None = None) -> None:
        self.fabric = fabric
        self.count, self.rank, self._decisions = 1, 0, None
        if fabric is None or fabric.world_size == 1:
            return
        if not dist.is_initialized():
            fabric.launch()
        self.count, self.rank = fabric.world_size, fabric.global_rank
        with _whole_group():
            # Decisions are exchanged by gloo, between CPUs, so that they do not wait for a device.
            self._decisions = dist.new_group(backend="gloo", timeout=PATIENCE)

    def alone(self) -> Group:
        """Return a group of this process alone, with the same loggers and callbacks."""
        group = Group()
        group.fabric = self.fabric
        return group

    @property
    def is_first(self) -> bool:
        """Return whether this process decides, writes files and shows progress."""
        return self.rank == 0

    # -- decisions ----------------------------------------------------------------------------------------------------

    def from_first(self, value: Value) -> Value:
        """Return the value that rank 0 passes."""
        return value if self.count == 1 else cast(Value, self.gather(value if self.is_first else None)[0])

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes, by rank."""
        values: list[Any] = [value] * self.count
        if self.count > 1:
            with _whole_group():
                dist.all_gather_object(values, value, group=self._decisions)
        return values

    def agree(self, seconds: float, asked: bool) -> tuple[float, bool]:
        """Return the seconds on the clock of rank 0, and whether any process was asked to stop."""
        if self.count == 1:
            return seconds, asked
        both = torch.tensor([seconds if self.is_first else 0.0, float(asked)], dtype=torch.float64)
        with _whole_group():
            dist.all_reduce(both, group=self._decisions)
        return float(both[0]), bool(both[1] > 0)

    def run_on_first(self, work: Callable[[], Value]) -> Value:
        """Call `work` in rank 0 alone; return its result, or raise its error, in every process."""
        outcome: tuple[Any, BaseException | None] = (None, None)
        if self.is_first:
            try:
                outcome = (work(), None)
            except (Exception, KeyboardInterrupt) as error:
                outcome = (None, error)
        value, raised = self.from_first(outcome)
        if raised is not None:
            raise raised
        return cast(Value, value)

    def check_same(self, value: Any, what: str) -> None:
        """Raise TrainingError where a value is not the same in all processes."""
        if len(set(found := self.gather(value))) > 1:
            raise TrainingError(
                f"The processes of a training must hold the same data, and {what} differ: {', '.join(map(str, found))};"
                " read the same source with the same arguments in each."
            )

    # -- rows and sums ------------------------------------------------------------------------------------------------

    def part(self, index: Tensor) -> Tensor:
        """Return this process's part of a batch of rows (B, ...)."""
        return index if self.count == 1 else index.tensor_split(self.count)[self.rank]

    def noise_seed(self, seed: int) -> int:
        """Return the seed of this process's own noise."""
        return int(np.random.SeedSequence((seed, self.rank)).generate_state(1, np.uint64)[0] >> 1)

    def own_key(self, name: str) -> str:
        """Return the key under which a checkpoint keeps an entry of this process; of rank 0 the name itself.

        >>> Group().own_key("random")
        'random'
        """
        return f"{name} {self.rank}" if self.rank else name

    def reduce_gradients(self, parameters: Sequence[Tensor], loss: Tensor, share: float) -> Tensor:
        """Average the gradients of all processes' parts of a batch, weighted by their rows, and return the batch's loss.

        The gradient of a parameter on which no part's loss depends stays None.

        Args:
            parameters: the parameters, with the gradients of this process's part.
            loss: the loss of this part, a scalar.
            share: the number of this part's rows, divided by the batch's.
        """
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        present = loss.new_tensor([0.0 if p.grad is None else 1.0 for p in parameters])
        flat = torch.cat([*(grad.reshape(-1) for grad in grads), loss.detach().reshape(1)]) * share
        flat = torch.cat([flat, present.to(flat)])
        with _whole_group():
            dist.all_reduce(flat)
        sums = flat.split([*(grad.numel() for grad in grads), 1, len(parameters)])
        for parameter, grad, total, found in zip(parameters, grads, sums[:-2], sums[-1].tolist(), strict=True):
            parameter.grad = total.view_as(grad).to(grad.dtype) if found else None
        return sums[-2][0]

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Copy the values of tensors from rank 0 to all processes."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.detach().reshape(-1).double() for tensor in tensors])
        with _whole_group():
            dist.broadcast(flat, 0)
        for tensor, value in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.detach().copy_(value.view_as(tensor))

    def conclude(self, counted: Counted, model: GenerativeModel) -> None:
        """Merge the statistics that all processes have counted, in the order of ranks, and set the parameters from them."""
        if self.count > 1:
            everyone = self.gather(counted)
            if self.is_first:
                for other in everyone[1:]:
                    counted.merge(other)
        if self.is_first:
            counted.conclude()
        self.broadcast_state(model)

    def broadcast_state(self, model: nn.Module) -> None:
        """Copy a model's weights and buffers from rank 0 to all processes."""
        state = self.from_first(model.state_dict()) if self.count > 1 else {}
        if not self.is_first:
            model.load_state_dict(state)

    # -- what a person sees -------------------------------------------------------------------------------------------

    def log_row(self, row: Mapping[str, Any]) -> None:
        """Pass a row of the history to the Fabric's loggers, and to its callbacks as `on_evaluation(row)`."""
        if self.fabric is not None and self.is_first:
            numbers = {name: value for name, value in row.items() if isinstance(value, int | float)} | row.get("watched", {})
            self.fabric.log_dict(numbers, step=row["step"])
        self.call("on_evaluation", row=row)

    def call(self, name: str, **arguments: Any) -> None:
        """Call the method of this name of all the Fabric's callbacks that have it, in rank 0."""
        if self.fabric is not None and self.is_first:
            self.fabric.call(name, **arguments)

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Flush the Fabric's loggers when the training inside ends, in whatever way."""
        try:
            yield
        finally:
            for logger in self.fabric.loggers if self.fabric is not None and self.is_first else ():
                logger.save()


@contextmanager
def _whole_group() -> Iterator[None]:
    """Turn the error of a connection that another process has closed into a sentence."""
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            "Another process of this training has ended, so this one ends too; its own output says why. With a checkpoint,"
            " resume=True goes on from it, in any number of processes."
        ) from error
