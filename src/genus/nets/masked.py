"""Masked dense nets: one pass gives every conditional, and steps give them one at a time at the cost of one pass."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.nets.dense import linear

__all__ = ["MaskedMLP"]


BLOCK = 32  # positions whose sums over all that is known are begun in one product


@dataclass
class State:
    """What an incremental pass has computed so far, feature-major: one row for each unit, one column for each datum.

    An input has the degree of its position, counted from 1; an output that of its position, counted from 0.
    """

    layers: list[Tensor]  # the input, then every hidden layer's units, valid below the current degree
    weights: list[Tensor]  # of every layer, masked, input and output groups in the order of positions
    bias: list[Tensor]  # of every layer, the context's part included
    below: list[list[int]]  # below[l][d]: how many units of layer l have a degree below d
    first: int = 0  # the degrees whose sums have been begun, from this
    end: int = 0  # to below that
    sums: list[Tensor] = field(default_factory=list)  # of every layer: of units of these degrees, over what is below them


class MaskedMLP(nn.Module):
    """(B, inputs) -> (B, outputs): what is put out at a position depends on inputs of positions before it, and on the
    context, alone (Germain et al. 2015, arXiv:1502.03509).

    Inputs and outputs come in groups, one of each for every position; an order says which group stands where, so that
    one set of weights serves any order. Hidden units are sorted by degree, the number of positions they may see, so that
    what becomes computable after an input is one slice of every layer: `start` and `step` compute each unit once, and all
    steps cost about one pass. Units of degree 0 see only the context, and every output sees it directly, so that the
    first output is conditional too.

    Args:
        inputs: how many numbers each group of inputs has.
        hidden: widths of the hidden layers.
        outputs: how many numbers each group of outputs has.
        context_dim: of the context's features; 0 for none.
        dropout: of hidden units, in training.
        residual: a hidden layer as wide as the one before it is added to it.
    """

    def __init__(
        self,
        inputs: Sequence[int],
        hidden: Sequence[int],
        outputs: Sequence[int],
        context_dim: int = 0,
        dropout: float = 0.0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.dim, self.inputs, self.outputs, self.dropout = len(inputs), list(inputs), list(outputs), dropout
        sizes = [sum(inputs), *hidden]
        self.layers = nn.ModuleList(linear(a, b) for a, b in zip(sizes, hidden, strict=False))
        self.out = linear(sizes[-1], sum(outputs))
        seers = [*hidden, sum(outputs)] if context_dim else []
        self.contexts = nn.ModuleList(nn.Linear(context_dim, b, bias=False) for b in seers)
        self.adds = [residual and a == b and i > 0 for i, (a, b) in enumerate(zip(sizes, hidden, strict=False))]
        least = 0 if context_dim or self.dim == 1 else 1
        self.degrees = [[least + k * max(self.dim - least, 1) // h for k in range(h)] for h in hidden]
        self.below = [[bisect_left(degrees, d) for d in range(self.dim + 1)] for degrees in self.degrees]
        self._masks: tuple[list[int] | None, list[Tensor]] | None = None
        self._kept: tuple[list[Any], list[Tensor]] | None = None
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        if context_dim:
            nn.init.zeros_(self.contexts[-1].weight)  # type: ignore[arg-type]

    def train(self, mode: bool = True) -> MaskedMLP:
        self._kept = None
        return super().train(mode)

    def _load_from_state_dict(self, *args: Any) -> None:
        self._kept = None
        super()._load_from_state_dict(*args)

    def _apply(self, *args: Any, **kwargs: Any) -> MaskedMLP:
        self._masks = self._kept = None
        return super()._apply(*args, **kwargs)

    # -- masks ----------------------------------------------------------------------------------------------------------

    def masks(self, order: list[int] | None) -> list[Tensor]:
        """Of every layer, (out, in): which inputs a unit may see, as 0 and 1; kept until another order is asked for."""
        if self._masks is None or self._masks[0] != order:
            like = self.out.weight
            place = torch.tensor(range(self.dim) if order is None else order, device=like.device).argsort()
            first, last = (place.repeat_interleave(torch.tensor(n, device=like.device)) for n in (self.inputs, self.outputs))
            hidden = [torch.tensor(degrees, device=like.device) for degrees in self.degrees]
            pairs = zip([first + 1, *hidden], [*hidden, last], strict=True)  # position 0 is seen from degree 1 on
            self._masks = order, [(b[:, None] >= a[None, :]).to(like.dtype) for a, b in pairs]
        return self._masks[1]

    def _masked(self, order: list[int] | None) -> list[Tensor]:
        """The weights times their masks; kept in evaluation, until a weight changes or another order is asked for."""
        layers = [*self.layers, self.out]
        keep = not (self.training or torch.is_grad_enabled())
        key = [order, *(layer.weight._version for layer in layers)]
        if keep and self._kept is not None and self._kept[0] == key:
            return self._kept[1]
        weights = [layer.weight * mask for layer, mask in zip(layers, self.masks(order), strict=True)]
        self._kept = (key, weights) if keep else None
        return weights

    # -- all positions in one pass --------------------------------------------------------------------------------------

    def forward(self, x: Tensor, c: Tensor | None = None, order: list[int] | None = None) -> Tensor:
        """x (B, sum of inputs), c (B, context_dim) -> (B, sum of outputs), group after group, whatever their order."""
        *weights, last = self._masked(order)
        h = x
        for i, (layer, weight, add) in enumerate(zip(self.layers, weights, self.adds, strict=True)):
            new = F.linear(h, weight, layer.bias)  # type: ignore[arg-type]
            if len(self.contexts):
                new = new + self.contexts[i](c)
            new = F.dropout(F.relu(new), self.dropout, self.training)
            h = h + new if add else new
        out = F.linear(h, last, self.out.bias)
        return out + self.contexts[-1](c) if len(self.contexts) else out

    # -- one position after another -------------------------------------------------------------------------------------

    def start(self, batch: int, c: Tensor | None = None, order: list[int] | None = None) -> tuple[Tensor, State]:
        """The output at the first position (B, its numbers), and the state from which `step` goes on."""
        state = self._state(batch, c, order)
        return self._advance(state, 0, 1), state

    def step(self, state: State, i: int, x: Tensor) -> tuple[Tensor, State]:
        """Given the input x (B, its numbers) at position i, counted from 0: the output at i + 1, and the state."""
        state.layers[0][state.below[0][i + 1] : state.below[0][i + 2]] = x.T
        return self._advance(state, i + 1, i + 2), state

    def prefill(self, x: Tensor, m: int, c: Tensor | None = None, order: list[int] | None = None) -> tuple[Tensor, State]:
        """x (B, the numbers of the first m positions, one after another) -> the output at position m, and the state."""
        state = self._state(len(x), c, order)
        state.layers[0][: x.shape[1]] = x.T
        return self._advance(state, 0, m + 1), state

    def _state(self, batch: int, c: Tensor | None, order: list[int] | None) -> State:
        weights, groups = list(self._masked(order)), range(self.dim) if order is None else order
        bias = [layer.bias.unsqueeze(1) for layer in (*self.layers, self.out)]
        if len(self.contexts):
            bias = [b + context(c).T for b, context in zip(bias, self.contexts, strict=True)]
        if order is not None:
            first, last = (_gathered(n, order).to(self.out.weight.device) for n in (self.inputs, self.outputs))
            weights[0] = weights[0][:, first]
            weights[-1], bias[-1] = weights[-1][last], bias[-1][last]
        inputs, outputs = ([0, *accumulate(widths[g] for g in groups)] for widths in (self.inputs, self.outputs))
        layers = [self.out.weight.new_zeros(weight.shape[1], batch) for weight in weights]
        return State(layers, weights, bias, [[0, *inputs], *self.below, outputs])

    def _advance(self, state: State, low: int, high: int) -> Tensor:
        """Compute the units of the degrees from `low` to below `high` in every layer, and the output that they complete."""
        if low >= state.end:
            self._begin(state, low, max(high, min(low + BLOCK, self.dim)))
        out = state.bias[-1]
        for i, (weight, sums) in enumerate(zip(state.weights, state.sums, strict=True)):
            last = i == len(self.layers)
            begin, end = state.below[i + 1][high - 1 if last else low], state.below[i + 1][high]
            seen = slice(state.below[i][state.first], state.below[i][high])
            at = state.below[i + 1][state.first]
            new = torch.addmm(sums[begin - at : end - at], weight[begin:end, seen], state.layers[i][seen])
            if last:
                out = new
            elif begin < end:
                state.layers[i + 1][begin:end] = F.relu(new) + state.layers[i][begin:end] if self.adds[i] else F.relu(new)
        return out.T

    def _begin(self, state: State, first: int, end: int) -> None:
        """Begin the sums of all units of these degrees: many at a time, since one at a time waits for memory."""
        state.first, state.end, state.sums = first, end, []
        for i, (weight, bias) in enumerate(zip(state.weights, state.bias, strict=True)):
            rows, known = slice(state.below[i + 1][first], state.below[i + 1][end]), state.below[i][first]
            state.sums.append(torch.addmm(bias[rows], weight[rows, :known], state.layers[i][:known]))


def _gathered(widths: Sequence[int], order: Sequence[int]) -> Tensor:
    """Where the numbers of the groups stand, group after group in the order given."""
    starts = [0, *accumulate(widths)]
    return torch.cat([torch.arange(starts[g], starts[g + 1]) for g in order])
