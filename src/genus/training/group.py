"""The processes of one training: they hold the same rows, share every batch, and rank 0 decides for all of them."""

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

PATIENCE = timedelta(days=30)  # that decisions of rank 0 are waited for: it may learn alone for hours
Value = TypeVar("Value")


class Group:
    """Hold the processes that train one model together; without a Fabric, or in a Fabric of one process, this one alone.

    What every process computes by itself must be the same in all (the order of rows, say, by the seed), or be settled here:
    the first process's clock, evaluations and files are those of the group. A process that has ended ends the others by a
    TrainingError.

    Args:
        fabric: Lightning's, whose processes, device, precision, loggers and callbacks are used; it is launched where it has
            not been.

    >>> group = Group()
    >>> group.count, group.part(torch.arange(4)), group.first("a decision")
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
            # Decisions travel between the processors, so that no device is waited for.
            self._decisions = dist.new_group(backend="gloo", timeout=PATIENCE)

    def alone(self) -> Group:
        """Return this process as a group of its own that tells the same loggers and callbacks."""
        group = Group()
        group.fabric = self.fabric
        return group

    @property
    def is_first(self) -> bool:
        """Return whether this process decides, writes files and shows progress."""
        return self.rank == 0

    # -- decisions ----------------------------------------------------------------------------------------------------

    def first(self, value: Value) -> Value:
        """Return the value of rank 0."""
        return value if self.count == 1 else cast(Value, self.all_of(value if self.is_first else None)[0])

    def all_of(self, value: Value) -> list[Value]:
        """Return the values of all processes, by rank."""
        values: list[Any] = [value] * self.count
        if self.count > 1:
            with _whole_group():
                dist.all_gather_object(values, value, group=self._decisions)
        return values

    def agree(self, seconds: float, asked: bool) -> tuple[float, bool]:
        """Return the seconds by the clock of rank 0, and whether any process was asked to stop."""
        if self.count == 1:
            return seconds, asked
        both = torch.tensor([seconds if self.is_first else 0.0, float(asked)], dtype=torch.float64)
        with _whole_group():
            dist.all_reduce(both, group=self._decisions)
        return float(both[0]), bool(both[1] > 0)

    def by_first(self, work: Callable[[], Value]) -> Value:
        """Return what rank 0 returns from some work, which the others wait for, or raise what it raised there."""
        outcome: tuple[Any, BaseException | None] = (None, None)
        if self.is_first:
            try:
                outcome = (work(), None)
            except (Exception, KeyboardInterrupt) as error:
                outcome = (None, error)
        value, raised = self.first(outcome)
        if raised is not None:
            raise raised
        return cast(Value, value)

    def check_same(self, value: Any, what: str) -> None:
        """Raise TrainingError where a value is not the same in all processes."""
        if len(set(found := self.all_of(value))) > 1:
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

    def own(self, name: str) -> str:
        """Return the name by which a file holds what is this process's own; of rank 0 the name itself.

        >>> Group().own("random")
        'random'
        """
        return f"{name} {self.rank}" if self.rank else name

    def add_gradients(self, parameters: Sequence[Tensor], loss: Tensor, share: float) -> Tensor:
        """Give parameters the gradients of a whole batch, and return its loss: means over all parts, weighted by their rows.

        A parameter that no part's loss depends on keeps no gradient.

        Args:
            parameters: with the gradients of this part.
            loss: of this part, a scalar.
            share: of this part, of all rows.
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

    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        """Give tensors the numbers that they have in rank 0."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.detach().reshape(-1).double() for tensor in tensors])
        with _whole_group():
            dist.broadcast(flat, 0)
        for tensor, value in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.detach().copy_(value.view_as(tensor))

    def conclude(self, counted: Counted, model: GenerativeModel) -> None:
        """Set the parameters of a model that counts from what all processes have counted, in the order of ranks."""
        if self.count > 1:
            everyone = self.all_of(counted)
            if self.is_first:
                for other in everyone[1:]:
                    counted.merge(other)
        if self.is_first:
            counted.conclude()
        self.copy_state(model)

    def copy_state(self, model: nn.Module) -> None:
        """Give a model the weights and buffers that it has in rank 0."""
        state = self.first(model.state_dict()) if self.count > 1 else {}
        if not self.is_first:
            model.load_state_dict(state)

    # -- what a person sees -------------------------------------------------------------------------------------------

    def tell(self, row: Mapping[str, Any]) -> None:
        """Give a row of the history to the Fabric's loggers, and to its callbacks as `on_evaluation(row)`."""
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
        """Have the Fabric's loggers write what they have kept, however the training inside ends."""
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
