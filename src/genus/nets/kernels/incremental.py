"""A masked net one position at a time, computing every hidden unit once: all positions together cost about one pass.

Reference: `MaskedMLP.forward`, a whole pass for every position, against which sampling 43 or 63 columns is 20 to 40 times as
fast.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["IncrementalPass"]

BLOCK = 8  # degrees whose sums over all earlier units are computed in one product; one product a degree is bound by memory


class Units:
    """Hold the values of one layer's units, (units, batch), to which rows are appended: one tensor, written in place, without
    gradients; a list of parts with gradients, since autograd needs every part as it was."""

    def __init__(self, size: int, batch: int, like: Tensor) -> None:
        self.buffer = None if torch.is_grad_enabled() else like.new_empty(size, batch)
        self.empty = like.new_empty(0, batch)
        self.parts: list[Tensor] = []
        self.ends = [0]

    def append(self, new: Tensor) -> None:
        """Add the values (rows, batch) of the next units."""
        begin, end = self.ends[-1], self.ends[-1] + len(new)
        if begin == end:
            return
        self.ends.append(end)
        if self.buffer is None:
            self.parts.append(new)
        elif (rows := self.buffer[begin:end]).data_ptr() != new.data_ptr():  # unless the sums were computed in place there
            if len(new) == 1:  # PyTorch takes ten times as long for a matrix of one row
                rows, new = rows[0], new[0]
            rows.copy_(new)

    def rows(self, begin: int, end: int) -> Tensor:
        """Return the units begin ... end - 1, which must be where parts begin and end."""
        if self.buffer is not None:
            return self.buffer[begin:end]
        parts = self.parts[bisect_left(self.ends, begin) : bisect_left(self.ends, end)]
        return parts[0] if len(parts) == 1 else torch.cat(parts or [self.empty])


class IncrementalPass:
    """Hold the state of a masked net between two positions: the units computed so far, and what the next ones need.

    Units of every layer are sorted by degree, so that the input at a position makes one slice of every layer computable. An
    input has the degree of its position counted from 1, an output that of its position counted from 0; a unit sees units of
    the layer below whose degree is not above its own.

    Args:
        weights: of every layer (out, in), masked, inputs and outputs in the order of positions.
        direct: the weight from the input to the output (out, in), masked; None where there is none.
        biases: of every layer, (out, 1) or (out, batch).
        counts: counts[l][d] is the number of units in layer l, the input being layer 0, whose degree is below d.
        skips: for every hidden layer, whether the layer below is added to it.
        batch: the number of rows.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        direct: Tensor | None,
        biases: Sequence[Tensor],
        counts: Sequence[Sequence[int]],
        skips: Sequence[bool],
        batch: int,
    ) -> None:
        self.weights, self.direct, self.biases = weights, direct, biases
        self.counts, self.skips = counts, skips
        self.units = [Units(weight.shape[1], batch, weight) for weight in weights]
        self.first = self.end = 0  # the degrees of the block
        self.sums: list[Tensor] = []  # of every layer's units in the block, over all units of degrees below it

    def append(self, x: Tensor) -> None:
        """Add the inputs (batch, numbers) of the next positions."""
        self.units[0].append(x.T)

    def advance(self, low: int, high: int) -> Tensor:
        """Compute the units of degrees low ... high - 1, and return the output at position high - 1, (batch, numbers)."""
        if low >= self.end:
            self._begin_block(low, max(high, low + BLOCK))
        last = len(self.weights) - 1
        for i in range(last):
            begin, end = self.counts[i + 1][low], self.counts[i + 1][high]
            if begin < end:
                new = F.relu(self._sum(i, begin, end, high), inplace=True)
                if self.skips[i]:
                    new = (torch.add if torch.is_grad_enabled() else Tensor.add_)(new, self.units[i].rows(begin, end))
                self.units[i + 1].append(new)
        return self._sum(last, self.counts[-1][high - 1], self.counts[-1][high], high).T

    def _sum(self, i: int, begin: int, end: int, high: int) -> Tensor:
        """Return units begin ... end - 1 of layer i + 1 before their activation, units below `high` being known."""
        at = self.counts[i + 1][self.first]
        known, now = self.counts[i][self.first], self.counts[i][high]
        addmm = torch.addmm if torch.is_grad_enabled() else Tensor.addmm_
        new = addmm(self.sums[i][begin - at : end - at], self.weights[i][begin:end, known:now], self.units[i].rows(known, now))
        if i == len(self.weights) - 1 and self.direct is not None:
            known, now = self.counts[0][self.first], self.counts[0][high]
            new = addmm(new, self.direct[begin:end, known:now], self.units[0].rows(known, now))
        return new

    def _begin_block(self, first: int, end: int) -> None:
        """Sum over all units of degrees below `first`, for the units of degrees first ... end - 1 of every layer."""
        self.first, self.end = first, min(end, len(self.counts[-1]) - 1)
        self.sums = []
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            rows = slice(self.counts[i + 1][first], self.counts[i + 1][self.end])
            known = self.counts[i][first]
            buffer = self.units[i + 1].buffer if i + 1 < len(self.units) else None
            room = None if buffer is None else buffer[rows]
            total = torch.addmm(bias[rows], weight[rows, :known], self.units[i].rows(0, known), out=room)
            if i == len(self.weights) - 1 and self.direct is not None:
                known = self.counts[0][first]
                total = torch.addmm(total, self.direct[rows, :known], self.units[0].rows(0, known))
            self.sums.append(total)
