"""Compute the phase of times in the year, the week and the day, as nets see them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genus.kinds.base import Kind

__all__ = ["Calendar"]


class Calendar:
    """Gives sines and cosines of the phases that the times among D coordinates have in the year, the week and the day.

    Args:
        kinds: of the coordinates.

    Attributes:
        columns: (P,) the coordinate of each number that is given.

    >>> from genus.kinds import Time
    >>> Calendar([Time(0, 23, unit="s", step=1), Time(0, 82800, step=3600, unit="s", concept="time of day")]).columns
    [1, 1, 1, 1]
    """

    def __init__(self, kinds: Sequence[Kind]) -> None:
        pairs = [(i, *pair) for i, kind in enumerate(kinds) for pair in kind.phases]
        self.columns = [i for i, _, _ in pairs]
        with torch.device("cpu"):
            self.speed, self.angle = torch.tensor([pair[1:] for pair in pairs], dtype=torch.float64).reshape(-1, 2).unbind(1)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the numbers (B, P) of coordinates x (B, D) in data units; 0 where missing."""
        chosen = x[:, self.columns].to(torch.promote_types(x.dtype, torch.float32))
        return (chosen * self.speed.to(chosen) + self.angle.to(chosen)).sin().nan_to_num(0.0)
