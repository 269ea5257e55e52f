"""Masked dense nets: one pass gives every conditional, and steps give them one at a time at the cost of one pass."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["MaskedMLP"]


class State(NamedTuple):
    """What an incremental pass has computed so far, feature-major: one row for each unit, one column for each datum."""

    layers: list[Tensor]  # the input, then every hidden layer's units, valid up to the current degree
    bias: list[Tensor]  # of every layer, the context's part included


class MaskedMLP(nn.Module):
    """(B, D) -> (B, D, width): output i depends on inputs before i, and on the context, alone (MADE, arXiv:1502.03509).

    Hidden units are sorted by degree, the number of inputs they may see, so that what becomes computable after input i
    is one slice of every layer: `start` and `step` compute each unit once, and all D steps cost about one pass. Units of
    degree 0 see only the context, and every output sees it directly, so that the first output is conditional too.

    Args:
        dim: D.
        hidden: widths of the hidden layers.
        width: numbers for each output.
        context_dim: of the context's features; 0 for none.
    """

    def __init__(self, dim: int, hidden: Sequence[int], width: int, context_dim: int = 0) -> None:
        super().__init__()
        self.dim, self.width = dim, width
        least = 0 if context_dim or dim == 1 else 1
        degrees = [torch.arange(1, dim + 1)]
        degrees += [least + torch.arange(h) * max(dim - least, 1) // h for h in hidden]
        sizes = [dim, *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, hidden, strict=False))
        self.out = nn.Linear(sizes[-1], dim * width)
        seers = [*hidden, dim * width] if context_dim else []
        self.contexts = nn.ModuleList(nn.Linear(context_dim, b, bias=False) for b in seers)
        # Rows of the last layer are output-major: output i has rows i * width .. (i + 1) * width.
        last = torch.arange(dim).repeat_interleave(width)
        for i, (a, b) in enumerate(pairwise(degrees)):
            self.register_buffer(f"mask{i}", (b[:, None] >= a[None, :]).float(), persistent=False)
        self.register_buffer(f"mask{len(hidden)}", (last[:, None] >= degrees[-1][None, :]).float(), persistent=False)
        # counts[l][d]: how many units of layer l have a degree of at most d
        self.counts = [[int((g <= d).sum()) for d in range(dim + 1)] for g in degrees]
        self._kept: tuple[list[int], list[Tensor]] | None = None
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        if context_dim:
            nn.init.zeros_(self.contexts[-1].weight)  # type: ignore[arg-type]

    def train(self, mode: bool = True) -> MaskedMLP:
        self._kept = None
        return super().train(mode)

    def _masked(self) -> list[Tensor]:
        """The weights times their masks; kept in evaluation, until a weight changes."""
        keep = not (self.training or torch.is_grad_enabled())
        layers = [*self.layers, self.out]
        versions = [layer.weight._version for layer in layers]
        if keep and self._kept is not None and self._kept[0] == versions:
            return self._kept[1]
        masks = [getattr(self, f"mask{i}") for i in range(len(layers))]
        weights = [layer.weight * mask for layer, mask in zip(layers, masks, strict=True)]
        self._kept = (versions, weights) if keep else None
        return weights

    def _load_from_state_dict(self, *args: Any) -> None:
        self._kept = None
        super()._load_from_state_dict(*args)

    def _apply(self, *args: Any, **kwargs: Any) -> MaskedMLP:
        self._kept = None
        return super()._apply(*args, **kwargs)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """x (B, D), c (B, context_dim) -> (B, D, width), all outputs in one pass."""
        *weights, last = self._masked()
        h = x
        for i, (layer, weight) in enumerate(zip(self.layers, weights, strict=True)):
            h = F.linear(h, weight, layer.bias)  # type: ignore[arg-type]
            if len(self.contexts):
                h = h + self.contexts[i](c)
            h = F.relu(h)
        out = F.linear(h, last, self.out.bias)
        if len(self.contexts):
            out = out + self.contexts[-1](c)
        return out.unflatten(1, (self.dim, self.width))

    def start(self, batch: int, c: Tensor | None = None) -> tuple[Tensor, State]:
        """The first output (B, width), and the state from which `step` goes on."""
        like = self.out.weight
        layers = [like.new_zeros(n[-1], batch) for n in self.counts]
        bias = [layer.bias.unsqueeze(1) for layer in (*self.layers, self.out)]
        if len(self.contexts):
            bias = [b + context(c).T for b, context in zip(bias, self.contexts, strict=True)]
        state = State(layers, bias)
        return self._advance(state, 0), state

    def step(self, state: State, i: int, x: Tensor) -> tuple[Tensor, State]:
        """Given input i (from 0, not the last), x (B,): the output (B, width) of input i + 1, and the state."""
        state.layers[0][i] = x
        return self._advance(state, i + 1), state

    def _advance(self, state: State, degree: int) -> Tensor:
        """Compute the units of this degree in every layer, and the output they complete."""
        *weights, last = self._masked()
        for i, weight in enumerate(weights):
            begin = self.counts[i + 1][degree - 1] if degree else 0
            end = self.counts[i + 1][degree]
            if begin < end:
                bias = state.bias[i][begin:end]
                known = self.counts[i][degree]
                state.layers[i + 1][begin:end] = F.relu(torch.addmm(bias, weight[begin:end, :known], state.layers[i][:known]))
        rows = slice(degree * self.width, (degree + 1) * self.width)
        known = self.counts[-1][degree]
        return torch.addmm(state.bias[-1][rows], last[rows, :known], state.layers[-1][:known]).T
