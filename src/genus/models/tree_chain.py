"""The conditionals of one order of boosted trees, for the particles of models/particles.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from genus.models.particles import last_known
from genus.nets.heads import SamplingOptions

__all__ = ["TreeChain"]


class TreeChain:
    """Give particles the conditionals of one order of a `Trees`: a `Chain` of models/particles.py.

    Args:
        model: a `Trees`.
        k: the number of the order.
        blanks: whether a blank that stands for an unknown value may be drawn.
    """

    def __init__(self, model: Any, k: int, blanks: bool = True) -> None:
        self.model, self.k, self.options = model, k, SamplingOptions(blanks=blanks)

    @property
    def order(self) -> Sequence[int]:
        """Return the column at every position."""
        return self.model.orders[self.k].tolist()

    def see(self, x: Tensor, c: Tensor | None) -> np.ndarray:
        """Return the bytes (features, B) of rows x (B, D)."""
        return self.model._codes(x, c)

    def log_column(self, i: int, seen: np.ndarray, x: Tensor) -> np.ndarray:
        """Return the log-density (B,) of the values of column i among rows x (B, D)."""
        return self.model._log_column(self.k, i, seen, x).cpu().numpy()

    def draw_column(self, i: int, seen: np.ndarray, x: Tensor) -> np.ndarray | None:
        """Draw column i of rows x (B, D), and of their bytes, in place; see `Chain`."""
        conditional = self.model._column(self.k, i, seen)
        value = conditional.sample(self.options)
        own = seen[self.model.before :]
        x[:, i], own[i] = value[:, 0].to(x), self.model.codes.column(i, value[:, 0])
        self.model.codes.put_sums(own, i, x.T)
        return None if self.options.blanks else conditional.log_not_blank()

    def draw_rest(self, x: Tensor, unknown: list[int], c: Tensor | None) -> Tensor:
        """Draw the unknown columns of x (B, D) after all known ones, in place, and return x."""
        seen = self.see(x, c)
        for i in self.order[last_known(self.order, unknown) + 1 :]:
            self.draw_column(i, seen, x)
        return x
