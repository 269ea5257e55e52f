"""Draws that obey the constraints of a codec: those that break one are drawn again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genus.errors import GenusError
from genus.ladder.functions import check_shape
from genus.nets.state import evaluating
from genus.random import isolated

__all__ = ["Rejection", "draw_obeying"]

MEASURED = 10_000  # draws by which the acceptance rate is measured
TRIES = 1000  # draws for each row that is asked for, before there is an error
AT_LEAST = 256  # draws at once, while a few rows are still sought


def draw_obeying(obeys: Callable[[Tensor], Tensor], draw: Callable[[Tensor], Tensor], n: int) -> Tensor:
    """Draw n rows that obey constraints, each drawn again until it does.

    Args:
        obeys: which of the rows (N, *shape) do, (N,) bool.
        draw: draws the rows of these numbers (N,) from 0 to n - 1; each may have a context of its own.
        n: how many.

    Raises:
        GenusError: hardly any draw obeys them.
    """
    x = draw(torch.arange(n))
    left = (~obeys(x)).nonzero()[:, 0]
    drawn = n
    while len(left):
        if drawn > TRIES * max(n, 100):
            raise GenusError(
                f"Of {drawn:,} draws {n - len(left):,} obey the constraints; the model has hardly learned them, so train it for"
                " longer, or declare constraints that its rows satisfy more often."
            )
        times = math.ceil(AT_LEAST / len(left))
        again = draw(left.repeat(times))
        fine = obeys(again).view(times, len(left))
        found = fine.any(0)
        first = fine.to(torch.uint8).argmax(0)
        chosen = (first * len(left) + torch.arange(len(left), device=first.device))[found]
        x[left[found].to(x.device)] = again[chosen.to(again.device)]
        drawn += len(again)
        left = left[~found]
    return x


class Rejection:
    """Gives every model draws that obey the constraints of its codec.

    Attributes:
        acceptance: the share of the model's own draws that obey them, 1 without constraints. A log-density is divided by it,
            so that the rows which obey them have mass 1; with a context it is that of all contexts together.
    """

    acceptance: float = 1.0
    codec: Any

    def _obeying(self, draw: Callable[[Tensor], Tensor], n: int) -> Tensor:
        """Draw n rows, those that break a constraint of the codec again; `draw` is given the numbers of the rows."""
        if self.codec is None or not self.codec.constraints or n == 0:
            return draw(torch.arange(n))
        return draw_obeying(self.codec.obeys, draw, n)

    def _checked_draw(self: Any, c: Tensor | None, index: Tensor) -> Tensor:
        """Return a draw for each of these rows of c, of the right shape."""
        drawn = self._sample(len(index), None if c is None else c[index.to(c.device)])
        return check_shape(drawn, (len(index), *self.space.shape), f"{type(self).__name__}._sample")

    @torch.no_grad()
    def measure_acceptance(self: Any, c: Tensor | None = None, seed: int = 0) -> float:
        """Measure the share of draws that obey the constraints of the codec, keep it as `acceptance`, and return it.

        Args:
            c: contexts of rows, (N, *context.shape), among which the draws are spread; None for a model without context.
            seed: of the draws.

        Raises:
            GenusError: no draw obeys them.
        """
        self.acceptance = 1.0
        if self.codec is None or not self.codec.constraints:
            return 1.0
        if c is not None:
            c = self._check_context(c[torch.arange(MEASURED) % len(c)], MEASURED)
        with evaluating(self), isolated(seed, self):
            fine = int(self.codec.obeys(self._sample(MEASURED, c)).sum())
        if not fine:
            broken = " and ".join(repr(one.describe()) for one in self.codec.constraints)
            raise GenusError(f"None of {MEASURED:,} draws obeys {broken}; train for longer, or leave the constraint out.")
        self.acceptance = fine / MEASURED
        return self.acceptance
