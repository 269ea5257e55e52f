"""Rejection sampling: draws that break a constraint of the codec, or hold a blank for an unknown value, are drawn again."""

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

__all__ = ["Rejection", "draw_obeying", "draw_until"]

MEASURED = 10_000  # draws by which the acceptance rate is measured
TRIES = 1000  # the most draws for each row that is asked for
AT_LEAST, AT_MOST = 256, 10_000  # the least and the most draws at once for the rows that are left


def draw_until(
    obeys: Callable[[Tensor], Tensor], draw: Callable[[Tensor], Tensor], n: int, most: int, x: Tensor | None = None
) -> tuple[Tensor, Tensor, int]:
    """Draw n rows, each again until it obeys, or until `most` rows have been drawn in all.

    Args:
        obeys: rows (N, *shape) -> whether each obeys, (N,) bool.
        draw: indices of rows (N,), from 0 to n - 1 -> a draw for each, (N, *shape); each row may have a context of its own.
        n: the number of rows.
        most: the number of draws after which no more are made.
        x: the first n draws (n, *shape), where they were made already; they are overwritten.

    Returns:
        The rows (n, *shape), the indices of those that still do not obey, and how many rows were drawn.
    """
    x = draw(torch.arange(n)) if x is None else x
    left = (~obeys(x)).nonzero()[:, 0].cpu()
    drawn, obeyed = n, n - len(left)
    while len(left) and drawn <= most:
        wanted = min(len(left) * drawn // max(obeyed, 1), AT_MOST)
        times = max(wanted // len(left), math.ceil(AT_LEAST / len(left)))
        again = draw(left.repeat(times))
        fine = obeys(again).cpu().view(times, len(left))
        obeyed += int(fine.sum())
        found = fine.any(0)
        first = fine.to(torch.uint8).argmax(0)
        chosen = (first * len(left) + torch.arange(len(left)))[found]
        x[left[found].to(x.device)] = again[chosen.to(again.device)]
        drawn += len(again)
        left = left[~found]
    return x, left, drawn


def draw_obeying(obeys: Callable[[Tensor], Tensor], draw: Callable[[Tensor], Tensor], n: int) -> Tensor:
    """Draw n rows that obey constraints, each drawn again until it does; the arguments are those of `draw_until`.

    Raises:
        GenusError: hardly any draw obeys them.
    """
    x, left, drawn = draw_until(obeys, draw, n, TRIES * max(n, 100))
    if len(left):
        raise GenusError(
            f"Of {drawn:,} draws {n - len(left):,} obey the constraints and have no blank that stands for an unknown value; the"
            " model has hardly learned such rows, so train it for longer, declare constraints that its rows satisfy more often,"
            " or take blanks with sample(blanks=True)."
        )
    return x


class Rejection:
    """Gives every model draws that obey the constraints of its codec, without blanks that stand for unknown values.

    Attributes:
        acceptance: the share of the model's own draws that obey the constraints, 1 without constraints. Densities are divided
            by it, so that the rows which obey them have mass 1; with a context it is the mean over all contexts.
    """

    acceptance: float = 1.0
    codec: Any

    def _obeying(self: Any, draw: Callable[[Tensor], Tensor], n: int, blanks: bool = False) -> Tensor:
        """Draw n rows, and draw those that break a constraint of the codec again.

        Args:
            draw: as of `draw_until`.
            n: the number of rows.
            blanks: whether a draw may hold a blank that stands for an unknown value.
        """
        constrained = self.codec is not None and self.codec.constraints
        filled = self.space.has_unknown and not blanks
        if n == 0 or not (constrained or filled):
            return draw(torch.arange(n))

        def obeys(x: Tensor) -> Tensor:
            fine = self.codec.obeys(x).to(x.device) if constrained else torch.ones(len(x), dtype=torch.bool, device=x.device)
            return fine & ~self.space.unknown_blanks(x).any(1) if filled else fine

        return draw_obeying(obeys, draw, n)

    def _checked_draw(
        self: Any, c: Tensor | None, blanks: bool, index: Tensor, needed: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Return a draw for each of these rows of c, of the right shape.

        Args:
            c: contexts, or None.
            blanks: whether a draw may hold a blank that stands for an unknown value.
            index: the indices of the rows (N,).
            needed: which of the draws (N, *shape) need values in the place of such blanks; None: all.
        """
        context = None if c is None else c[index.to(c.device)]
        drawn = self._sample(len(index), context)
        check_shape(drawn, (len(index), *self.space.shape), f"{type(self).__name__}._sample")
        if blanks or needed is None:
            return drawn if blanks else self._without_blanks(drawn, context)
        some = needed(drawn).nonzero()[:, 0]
        drawn[some] = self._without_blanks(drawn[some], None if context is None else context[some]).to(drawn)
        return drawn

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
