"""Numbers that no row had when a space was measured: between the points of a lattice, and beyond its ends."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from genus.codec import Codec
from genus.data.dataset import Dataset
from genus.kinds.charts import AFFINE
from genus.space import Kind, Lattice, Real, Space, Time

__all__ = ["Tails"]

BEYOND = 8  # ranges of the seen times, which new ones may be away from them


class Tails:
    """Encode any number in a space with lattices: rounded to its column's resolution, and with a tail beyond the ends.

    With x' the nearest value inside, q(x) = p(x') t(x | x'). From an end at which m training rows lie, a value is beyond with
    probability 1 / (m + 2), the rule of succession, at a geometric distance whose mean is a quarter of the range.

    Args:
        data: the training rows.
    """

    def __init__(self, data: Dataset) -> None:
        self.space = data.space
        self.columns = data.space.columns(Lattice)
        kinds = [kind for kind in data.space.kinds if isinstance(kind, Lattice)]
        low, high, self.step = (torch.tensor([getattr(k, n) for k in kinds]).double() for n in ("low", "high", "step"))
        self.ends = ((-1, low), (1, high))
        self.mean = 1.25 + (high - low) / self.step / 4
        inside = data.x[:, self.columns].double()
        self.beyond = [1 / (((inside - end).abs() < self.step / 2).sum(0).double() + 2) for _, end in self.ends]
        # As reals any value can be encoded; such a loc takes double precision wherever the lattice needs it.
        self.free = Space([_free(kind) for kind in data.space.kinds], names=data.space.names)
        self.codec, self.possible = Codec(self.free), data.x[0]
        if data.codec is not None and data.codec.rewrites:
            self.codec = replace(data.codec, space=self.free)

    def __call__(self, source: Any) -> tuple[Tensor, Tensor]:
        """Return columns as x (n, D) inside the space, and the log-probability (n,) of the steps outside, in nats."""
        x = self.codec.encode(source, beyond=True)
        impossible = torch.zeros(len(x), dtype=torch.bool)
        if not bool(x.sum().isfinite()):  # rows that break a relation, or have a number outside its support
            impossible = x.isinf().any(1)
            x[impossible] = self.possible.to(x.dtype)
        value = x[:, self.columns].double()
        kept = value.isnan()
        for atom in self.space.tables(x).atoms[:, self.columns]:
            kept |= value == atom.double()
        low = self.ends[0][1]
        nearest = torch.where(kept, value, low + ((value - low) / self.step).round() * self.step)
        log_tail, stay = torch.zeros_like(value), torch.ones_like(value)
        for (sign, end), beyond in zip(self.ends, self.beyond, strict=True):
            steps = (sign * (value - end) / self.step).round()
            outside = (steps > 0) & ~kept
            far = beyond.log() - self.mean.log() + (steps - 1) * torch.log1p(-1 / self.mean)
            log_tail = torch.where(outside, far, log_tail)
            stay = torch.where(steps == 0, stay - beyond, stay)
            nearest = torch.where(outside, end, nearest)
        x[:, self.columns] = nearest.to(x.dtype)
        log_tails = (log_tail + stay.log()).sum(1)
        return x.to(self.space.dtype), log_tails.masked_fill(impossible, -math.inf)


def _free(kind: Kind) -> Kind:
    """Return a kind that has a place for values that a lattice has none for: a real, or times far beyond the seen ones."""
    if isinstance(kind, Time):
        beyond = BEYOND * (kind.high - kind.low + kind.step) if kind.concept != "time of day" else 0.0
        return replace(kind, low=kind.low - beyond, high=kind.high + beyond, chart=AFFINE)
    return Real(min(kind.magnitude, kind.FINEST), 1.0, kind.atoms) if isinstance(kind, Lattice) else kind
