"""The kinds of many coordinates as tensors, so that no computation loops over columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genus.kinds.base import Kind
from genus.kinds.category import Category

__all__ = ["Tables"]


class Tables(NamedTuple):
    """Holds what the kinds of D coordinates say of themselves, one entry for each coordinate.

    Attributes:
        loc, scale: (D,) of the chart u = (x - loc) / scale; 0 and 1 for categories.
        low, high: (D,) the ends of a lattice; infinite for other kinds.
        step: (D,) of a lattice; 0 for other kinds.
        log_slope: (D,) log du/dx of a Real's chart, in nats; 0 for other kinds.
        log_width: (D,) log of the width in u of a lattice's cell, in nats; 0 for other kinds.
        states: (D,) long, the number of states.
        atoms: (A, D) the atoms that are numbers, NaN where a coordinate has fewer than A.
        missing: (D,) long, the state that means missing; -1 where the kind has none.
        category: (D,) bool.
    """

    loc: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor
    step: Tensor
    log_slope: Tensor
    log_width: Tensor
    states: Tensor
    atoms: Tensor
    missing: Tensor
    category: Tensor

    @classmethod
    def of(cls, kinds: Sequence[Kind]) -> Tables:
        """Return the tables of the kinds of D coordinates, in double precision, on the processor whatever the default is."""

        def column(value: Any, dtype: torch.dtype = torch.float64) -> Tensor:
            return torch.tensor([value(kind) for kind in kinds], dtype=dtype, device="cpu")

        atoms = [[atom for atom in kind.atoms if not math.isnan(atom)] for kind in kinds]
        depth = max(map(len, atoms), default=0)
        padded = [[row[i] if i < len(row) else math.nan for row in atoms] for i in range(depth)]
        return cls(
            low=column(lambda kind: getattr(kind, "low", -math.inf)),
            high=column(lambda kind: getattr(kind, "high", math.inf)),
            **{name: column(attrgetter(name)) for name in ("loc", "scale", "step", "log_slope", "log_width")},
            states=column(lambda kind: kind.states, torch.long),
            atoms=torch.tensor(padded, dtype=torch.float64, device="cpu").reshape(depth, len(kinds)),
            missing=column(lambda kind: kind.missing_state, torch.long),
            category=column(lambda kind: isinstance(kind, Category), torch.bool),
        )

    def to(self, device: torch.device, dtype: torch.dtype) -> Tables:
        """Return the tables on a device, the numbers among them in this type."""
        return Tables(*(t.to(device, dtype if t.is_floating_point() else t.dtype) for t in self))

    def first_outside(self, x: Tensor) -> tuple[int, int] | None:
        """Return row and column of the first entry of x (B, D) that its kind has no place for; None where all have one."""
        least = torch.where(self.category, 0.0, self.low - self.step / 2)
        most = torch.where(self.category, self.states - 0.5, self.high + self.step / 2)
        # Nearly always the extremes tell that all is well; NaN and inf, which are among them, need a closer look.
        low, high = x.amin(0), x.amax(0)
        if bool(((low >= least) & (high <= most) & low.isfinite() & high.isfinite()).all()):
            return None
        outside = (x < least) | (x > most)
        for atom in self.atoms:
            outside &= x != atom
        outside |= torch.where(x.isnan(), (self.missing < 0) | self.category, x.isinf())
        places = outside.nonzero()
        return (int(places[0, 0]), int(places[0, 1])) if len(places) else None
