"""Masked dense nets: one pass gives every conditional distribution of the chain rule (MADE)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.compiled import is_traced
from genus.configurable import check_dropout
from genus.nets.dense import linear
from genus.nets.kernels.blocks import Block, blocks, masked_pass
from genus.nets.kernels.incremental import IncrementalPass
from genus.nets.state import in_full_precision
from genus.random import dropout

__all__ = ["MaskedMLP"]


class MaskedMLP(nn.Module):
    """Map (B, inputs) to (B, outputs) so that the outputs at a position depend on the inputs at earlier positions alone, and on
    the context (Germain et al. 2015, arXiv:1502.03509).

    There is one group of inputs and one of outputs for every coordinate; an order says which coordinate stands at which
    position. Every number has a degree: an input at position p = 0, 1, ... has degree p + 1, an output at position p has degree
    p, hidden units have degrees spread evenly. A weight W[j, i] is kept where degree(j) >= degree(i), and is 0 elsewhere:

        h_l = relu((M_l * W_l) h_{l-1} + b_l + V_l c)

    so an output at position p sees, through any path, inputs at positions below p only. Units of degree 0 see no input.
    `forward` computes all outputs in one pass; `start`, `step` and `prefill` compute the same position by position. Two kernels
    in nets/kernels/ only make it faster: `masked_pass` for a pass without gradients on a CPU, `IncrementalPass` for the steps.

    Args:
        inputs: the size of each coordinate's group of inputs.
        hidden: widths of the hidden layers.
        outputs: the size of each coordinate's group of outputs.
        context_dim: width of the context's features; 0 for none.
        dropout: the share of hidden units that is dropped in training.
        residual: add to a hidden layer the one below, where both are equally wide (Nash & Durkan 2019, arXiv:1904.05626).
        direct: add a masked linear map from inputs to outputs.
        places: for images, the pixel of every group, (groups, axes). A hidden unit stands at the last input that it sees.
        reach: for images, the distance along every axis within which an output sees units of the last hidden layer, and inputs
            by the direct map; None for no limit.
    """

    group_of_input: Tensor
    group_of_output: Tensor
    places: Tensor | None

    def __init__(
        self,
        inputs: Sequence[int],
        hidden: Sequence[int],
        outputs: Sequence[int],
        context_dim: int = 0,
        dropout: float = 0.0,
        residual: bool = False,
        direct: bool = False,
        places: Tensor | None = None,
        reach: int | None = None,
    ) -> None:
        super().__init__()
        check_dropout(dropout)
        self.dim, self.inputs, self.outputs, self.dropout = len(inputs), list(inputs), list(outputs), dropout
        sizes = [sum(inputs), *hidden, sum(outputs)]
        self.skips = [residual and i > 0 and sizes[i] == sizes[i + 1] for i in range(len(hidden))]
        self.layers = nn.ModuleList(linear(a, b) for a, b in pairwise(sizes[:-1]))  # `linear` is nn.Linear, of any size
        self.out = linear(sizes[-2], sizes[-1])
        self.contexts = nn.ModuleList(nn.Linear(context_dim, b, bias=False) for b in sizes[1:] if context_dim)
        self.direct = nn.Linear(sizes[0], sizes[-1], bias=False) if direct else None
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        # Outputs are 0 before training, whatever the inputs and the context.
        if self.direct is not None:
            nn.init.zeros_(self.direct.weight)
        if context_dim:
            nn.init.zeros_(self.contexts[-1].weight)  # type: ignore[arg-type]
        # Hidden units of degree 0 see no input: without a context they would be constants, and are made only where D = 1.
        least = 0 if context_dim or self.dim == 1 else 1
        self.degrees = [[least + k * max(self.dim - least, 1) // h for k in range(h)] for h in hidden]
        groups = torch.arange(self.dim)
        self.register_buffer("group_of_input", groups.repeat_interleave(torch.tensor(inputs)), persistent=False)
        self.register_buffer("group_of_output", groups.repeat_interleave(torch.tensor(outputs)), persistent=False)
        self.reach = reach
        self.register_buffer("places", None if reach is None else places, persistent=False)
        self._last_masks: tuple[object, list[Tensor], list[list[Block]]] | None = None  # an order's masks and blocks
        own_masks = self.masks()
        self.blocks = [blocks(mask) for mask in own_masks[: len(hidden) + 1]]  # parts of a weight, for `masked_pass`
        for i, mask in enumerate(own_masks):
            self.register_buffer(f"mask{i}", mask.to(self.out.weight.dtype), persistent=False)

    def masks(self, order: Sequence[int] | Tensor | None = None) -> list[Tensor]:
        """Return the mask (out, in) of every layer, and last of the direct map: True where a weight is kept.

        Args:
            order: the group at every position; the groups' own order where not given.
        """
        device = self.group_of_input.device
        group_at = torch.arange(self.dim, device=device) if order is None else torch.as_tensor(order, device=device)
        position = group_at.argsort()
        of_inputs, of_outputs = position[self.group_of_input] + 1, position[self.group_of_output]
        degrees = [of_inputs, *(torch.tensor(d, device=device) for d in self.degrees), of_outputs]
        masks = [upper[:, None] >= lower[None, :] for lower, upper in pairwise(degrees)]
        if self.direct is not None:
            masks.append(of_outputs[:, None] >= of_inputs[None, :])
        if self.places is not None:
            # A unit of degree d stands at position d - 1, the last input it sees; one of degree 0, which sees none, at 0.
            seen = self.group_of_input if not self.degrees else group_at[degrees[-2].clamp(min=1) - 1]
            masks[len(self.layers)] &= self._near(seen)
            if self.direct is not None:
                masks[-1] &= self._near(self.group_of_input)
        return masks

    def _near(self, groups: Tensor) -> Tensor:
        """Return which outputs (out,) are no farther than the reach from the places of groups (n,): (out, n)."""
        assert self.places is not None
        assert self.reach is not None
        away = (self.places[:, None] - self.places[groups][None]).abs().amax(2)
        return (away <= self.reach)[self.group_of_output]

    def matrices(self) -> list[nn.Parameter]:
        """Return the weights of all layers, which Muon may train; the direct map, a linear model of its own, is left out."""
        return [layer.weight for layer in (*self.layers, self.out)]

    def _weights(self, order: Sequence[int] | Tensor | None) -> list[Tensor]:
        """Return the masked weights of the layers, and last of the direct map if there is one."""
        layers = [*self.layers, self.out, *([] if self.direct is None else [self.direct])]
        if order is None or self._is_own_order(order):
            return [layer.weight * getattr(self, f"mask{i}") for i, layer in enumerate(layers)]
        if is_traced():
            return [layer.weight * mask for layer, mask in zip(layers, self.masks(order), strict=True)]
        return [layer.weight * mask for layer, mask in zip(layers, self._masks_in(order)[0], strict=True)]

    def _masks_in(self, order: Sequence[int] | Tensor) -> tuple[list[Tensor], list[list[Block]]]:
        """Return the masks of an order as 0 and 1, and the layers' blocks; those of the order asked for last are cached."""
        key = tuple(order), self.out.weight.device, self.out.weight.dtype
        if self._last_masks is None or self._last_masks[0] != key:  # computing them takes a quarter of a step on images
            masks = self.masks(order)
            of_layers = [blocks(mask) for mask in masks[: len(self.layers) + 1]]
            self._last_masks = key, [mask.to(self.out.weight.dtype) for mask in masks], of_layers
        return self._last_masks[1], self._last_masks[2]

    def _is_own_order(self, order: Sequence[int] | Tensor | None) -> bool:
        """Return whether an order is 0, 1, ...; a tensor's values are not read, so for one it is False."""
        return order is None or (not isinstance(order, Tensor) and list(order) == list(range(self.dim)))

    def _can_use_blocks(self, x: Tensor) -> bool:
        """Return whether the kernel that skips masked weights applies: on a CPU, without gradients, dropout or tracing."""
        plain = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not is_traced()
        return plain and not torch.is_grad_enabled() and not (self.training and self.dropout)

    def forward(self, x: Tensor, c: Tensor | None = None, order: Sequence[int] | Tensor | None = None) -> Tensor:
        """Return all outputs, (B, sum of outputs), group after group whatever their order.

        Args:
            x: (B, sum of inputs), group after group.
            c: (B, context_dim), the context's features.
            order: the group at every position; the groups' own order where not given.
        """
        weights = self._weights(order)
        if self._can_use_blocks(x):
            return self._forward_by_blocks(x, c, order, weights)
        h = x
        for i, layer in enumerate(self.layers):
            new = F.linear(h, weights[i], layer.bias)  # type: ignore[arg-type]
            if len(self.contexts):
                new = new + self.contexts[i](c)
            new = dropout(F.relu(new, inplace=True), self.dropout, self.training)  # F.dropout, by the generator of a seed
            h = h + new if self.skips[i] else new
        out = F.linear(h, weights[len(self.layers)], self.out.bias)
        if self.direct is not None:
            out = out + F.linear(x, weights[-1])
        return out + self.contexts[-1](c) if len(self.contexts) else out

    def _forward_by_blocks(
        self, x: Tensor, c: Tensor | None, order: Sequence[int] | Tensor | None, weights: list[Tensor]
    ) -> Tensor:
        """Return what `forward` does, by the kernel that skips most of the masked weights."""
        of_layers = self.blocks if order is None or self._is_own_order(order) else self._masks_in(order)[1]
        direct, biases = None if self.direct is None else weights.pop(), [layer.bias for layer in (*self.layers, self.out)]
        if len(self.contexts):
            biases = [bias + context(c) for bias, context in zip(biases, self.contexts, strict=True)]
        return masked_pass(x, weights, biases, of_layers, self.skips, direct)

    # -- one position after another, by the kernel ------------------------------------------------------------------------

    @in_full_precision
    def start(self, batch: int, c: Tensor | None = None, order: Sequence[int] | None = None) -> tuple[Tensor, IncrementalPass]:
        """Return the output at position 0, (B, its numbers), and the state from which `step` goes on."""
        state = self._state(batch, c, order)
        return state.advance(0, 1), state

    @in_full_precision
    def step(self, state: IncrementalPass, i: int, x: Tensor) -> tuple[Tensor, IncrementalPass]:
        """Return the output at position i + 1 and the state, x (B, its numbers) being the input at position i."""
        state.append(x)
        return state.advance(i + 1, i + 2), state

    @in_full_precision
    def prefill(
        self, x: Tensor, m: int, c: Tensor | None = None, order: Sequence[int] | None = None
    ) -> tuple[Tensor, IncrementalPass]:
        """Return the output at position m and the state, x (B, numbers) being the inputs at the first m positions."""
        state = self._state(len(x), c, order)
        state.append(x)
        return state.advance(0, m + 1), state

    def _state(self, batch: int, c: Tensor | None, order: Sequence[int] | None) -> IncrementalPass:
        """Return the state before position 0: weights and biases with inputs and outputs sorted by position."""
        groups = list(range(self.dim)) if order is None else list(order)
        weights, biases = self._weights(order), [layer.bias[:, None] for layer in (*self.layers, self.out)]
        for i, context in enumerate(self.contexts):
            biases[i] = biases[i] + context(c).T  # (out, B)
        position = torch.tensor(groups).argsort().to(self.group_of_input.device)  # of every group
        sorted_inputs = position[self.group_of_input].argsort(stable=True)
        sorted_outputs = position[self.group_of_output].argsort(stable=True)
        weights[0] = weights[0][:, sorted_inputs]
        weights[len(self.layers)], biases[-1] = weights[len(self.layers)][sorted_outputs], biases[-1][sorted_outputs]
        direct = None if self.direct is None else weights.pop()[sorted_outputs][:, sorted_inputs]
        # How many units of every layer have a degree below d = 0, 1, ...; those of inputs begin at 1, hence one 0 more.
        inputs, outputs = ([0, *accumulate(widths[g] for g in groups)] for widths in (self.inputs, self.outputs))
        hidden = [[bisect_left(degrees, d) for d in range(self.dim + 1)] for degrees in self.degrees]
        return IncrementalPass(weights, direct, biases, [[0, *inputs], *hidden, outputs], self.skips, batch)
