"""Learning from all rows at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar

from torch import Tensor

from genus.ladder.counted import WithoutGradients

__all__ = ["Learned", "Rest", "WithContext"]

WithContext = tuple[Tensor, Tensor | None]  # rows x (n, *space.shape) and their contexts c (n, *context.shape), or None
Rest = Callable[[int], Iterator[WithContext]]  # of a number of rows: blocks of so many, one after another


class Learned(WithoutGradients, ABC):
    """Learns in one call that sees all rows: neither by gradients nor from counts that add up.

    A subclass, which is also a model, must give `learn`. Its numbers are buffers. It may set `streams` to True:
    where the training rows are a sample of a stream, its `learn(..., rest)` then gets what goes over the others, as often as it
    is called. One that leaves training rows out where the budget is short says in `rows_used` how many it looked at.
    """

    streams: ClassVar[bool] = False
    rows_used: int | None = None

    @abstractmethod
    def learn(self, train: WithContext, validation: WithContext | None, budget: Callable[[], float], seed: int) -> str | None:
        """Learn from rows, as far as the budget goes; a short one too must leave a model.

        Args:
            train: the training rows.
            validation: rows to stop and choose by; None: the model holds some of the training rows out where it needs any.
            budget: () -> the seconds that are left: inf where there is no limit, 0 once training has been interrupted.
            seed: of whatever is random.

        Returns:
            Why it ended, where the budget did not end it: "converged", "closed form", or a limit, "100 passes". None: held-out
            rows gained nothing more, or there was nothing to wait for.
        """
