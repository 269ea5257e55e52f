"""Masked dense nets: one pass gives every conditional, and steps give them one at a time at the cost of one pass."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.configurable import check_dropout
from genus.nets.blocks import Block, input_gradient, linear_of, parts, product, weight_gradient
from genus.nets.dense import linear

__all__ = ["MaskedMLP"]


MOST = 64  # orders whose masks are kept
BLOCKS = 32, 8  # positions whose sums are carried on in one product: of wide blocks over all that is known, then of narrow ones


class Units:
    """A layer's numbers, (units, batch), one row after another: of one tensor that is written in place, or kept as parts where
    gradients go back."""

    def __init__(self, size: int, batch: int, like: Tensor) -> None:
        self.whole = None if torch.is_grad_enabled() else like.new_empty(size, batch)
        self.none = like.new_empty(0, batch)
        self.parts: list[Tensor] = []
        self.ends = [0]

    def add(self, new: Tensor) -> None:
        """The next rows."""
        begin, end = self.ends[-1], self.ends[-1] + len(new)
        if self.whole is not None:
            rows = self.whole[begin:end]
            if len(new) == 1:  # PyTorch takes ten times as long for a matrix of one row
                rows, new = rows[0], new[0]
            rows.copy_(new)
            self.ends[-1] = end
        elif begin < end:
            self.parts.append(new)
            self.ends.append(end)

    def rows(self, begin: int, end: int) -> Tensor:
        """Rows that were added, from where a part begins to where one ends."""
        if self.whole is not None:
            return self.whole[begin:end]
        found = self.parts[bisect_left(self.ends, begin) : bisect_left(self.ends, end)]
        return found[0] if len(found) == 1 else torch.cat(found or [self.none])


@dataclass
class Sums:
    """Of the units of some degrees, in every layer, over what is below these degrees."""

    first: int = 0
    end: int = 0
    layers: list[Tensor] = field(default_factory=list)  # written in place, they stand where the units will


@dataclass
class State:
    """What an incremental pass has computed so far, feature-major: one row for each unit, one column for each datum.

    An input has the degree of its position, counted from 1; an output that of its position, counted from 0.
    """

    layers: list[Units]  # the input, then every hidden layer
    weights: list[Tensor]  # of every layer, masked, input and output groups in the order of positions
    direct: Tensor | None  # from the input to the output
    bias: list[Tensor]  # of every layer, the context's part included
    below: list[list[int]]  # below[l][d]: how many units of layer l have a degree below d
    pieces: dict[tuple[int, ...], Tensor]  # of the weights: what one advance multiplies by
    blocks: list[Sums] = field(default_factory=lambda: [Sums() for _ in BLOCKS])  # one within another

    @property
    def written(self) -> bool:
        """Whether numbers are written in place."""
        return self.layers[0].whole is not None


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
        direct: outputs see the inputs before them directly too.
        places: where each group stands, (groups, axes); a hidden unit stands where the last input that it may see does.
        reach: outputs see no hidden unit and no input that stands farther away along any axis; None for no limit.
    """

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
        self.places, self.reach = places, reach
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
        self.blocks = self._blocks()
        self._masks: dict[tuple[int, ...] | None, list[Tensor]] = {}
        self._kept: tuple[list[Any], list[Tensor], list[Tensor], dict[tuple[int, ...], Tensor]] | None = None
        self.direct = nn.Linear(sizes[0], sum(outputs), bias=False) if direct else None
        for last in (self.out, self.direct, self.contexts[-1] if context_dim else None):
            for parameter in () if last is None else last.parameters():
                nn.init.zeros_(parameter)

    def train(self, mode: bool = True) -> MaskedMLP:
        self._kept = None
        return super().train(mode)

    def _load_from_state_dict(self, *args: Any) -> None:
        self._kept = None
        super()._load_from_state_dict(*args)

    def _apply(self, *args: Any, **kwargs: Any) -> MaskedMLP:
        self._masks, self._kept = {}, None
        return super()._apply(*args, **kwargs)

    # -- masks ----------------------------------------------------------------------------------------------------------

    def masks(self, order: list[int] | None) -> list[Tensor]:
        """Of every layer, (out, in): 1 where a unit may see an input; kept, since making them takes longer than a step."""
        key = None if order is None else tuple(order)
        if key not in self._masks:
            device = self.out.weight.device
            place = torch.tensor(range(self.dim) if order is None else order, device=device).argsort()
            first, last = (place.repeat_interleave(torch.tensor(n, device=device)) for n in (self.inputs, self.outputs))
            hidden = [torch.tensor(degrees, device=device) for degrees in self.degrees]
            pairs = [
                *zip([first + 1, *hidden], [*hidden, last], strict=True),
                (first + 1, last),
            ]  # position 0: from degree 1 on
            masks = [b[:, None] >= a[None, :] for a, b in pairs[: len(self._linears())]]
            if self.places is not None and self.reach is not None:
                for i in range(len(self.layers), len(masks)):
                    masks[i] &= self._near(order, i > len(self.layers)).to(device)
            masks = [mask.to(self.out.weight.dtype) for mask in masks]  # products with 0 and 1 are faster than choices
            if len(self._masks) >= MOST:
                self._masks.clear()
            self._masks[key] = masks
        return self._masks[key]

    def _near(self, order: list[int] | None, past: bool) -> Tensor:
        """What is near enough to outputs to be seen by them, of the last hidden units, or of inputs that go past them."""
        assert self.places is not None
        assert self.reach is not None
        seers = self.places.repeat_interleave(torch.tensor(self.outputs), dim=0)
        if past or not self.degrees:
            seen = self.places.repeat_interleave(torch.tensor(self.inputs), dim=0)
        else:
            last = torch.tensor(self.degrees[-1]).clamp(min=1) - 1
            seen = self.places[last if order is None else torch.tensor(order)[last]]
        return (seers[:, None] - seen[None]).abs().amax(2) <= self.reach

    def matrices(self) -> list[nn.Parameter]:
        """What Muon should train: the weights of all layers, but not what goes past them, which is a linear map of its own."""
        return [layer.weight for layer in (*self.layers, self.out)]

    def _linears(self) -> list[nn.Linear]:
        """Every layer with a mask: the hidden ones, the last, and what goes past them."""
        return [*self.layers, self.out, *([] if self.direct is None else [self.direct])]

    def _masked(self, order: list[int] | None) -> list[Tensor]:
        """The weights times their masks; kept in evaluation, until a weight changes or another order is asked for."""
        whole = [layer.weight for layer in self._linears()]
        keep = not (self.training or torch.is_grad_enabled() or torch.compiler.is_compiling())
        # A weight counts what is written in place. Where its data are replaced, or a functional call brings weights of its own,
        # their memory tells, which is kept so that nothing else takes its place.
        key = [order, *((weight._version, weight.data_ptr()) for weight in whole)] if keep else []
        if keep and self._kept is not None and self._kept[0] == key:
            return self._kept[1]
        weights = [weight * mask for weight, mask in zip(whole, self.masks(order), strict=True)]
        if keep or self._kept is not None:
            self._kept = (key, weights, [weight.detach() for weight in whole], {}) if keep else None
        return weights

    def _other(self, order: list[int] | None) -> list[int] | None:
        """The order; None where it is the groups' own."""
        return None if order is None or order == list(range(self.dim)) else order

    def _blocks(self) -> list[list[Block]]:
        """Of every layer with a mask, in the groups' own order: rows from, to, and how many columns they see at most."""
        inputs = [0, *accumulate(self.inputs)]
        last = [p for p, n in enumerate(self.outputs) for _ in range(n)]
        seen = [inputs, *([*below[1:], below[-1]] for below in self.below)]  # seen[l][d]: by a unit of degree d
        degrees = [*self.degrees, last, last]
        layers = zip(degrees, [*seen, inputs], strict=False)
        return [
            [(a, b, columns[min(rows[b - 1], self.dim)]) for a, b in pairwise(parts(len(rows), columns[-1]))]
            for rows, columns in layers
        ]

    # -- all positions in one pass --------------------------------------------------------------------------------------

    def forward(self, x: Tensor, c: Tensor | None = None, order: list[int] | None = None) -> Tensor:
        """x (B, sum of inputs), c (B, context_dim) -> (B, sum of outputs), group after group, whatever their order."""
        order = self._other(order)
        blocks = order is None and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        if blocks and not torch.compiler.is_compiling():
            return self._by_blocks(x, c)
        weights = self._masked(order)
        h = x
        for i, (layer, weight, add) in enumerate(zip(self.layers, weights, self.adds, strict=False)):
            new = linear_of(h, weight, layer.bias, self.blocks[i] if blocks else [])  # type: ignore[arg-type]
            if len(self.contexts):
                new = new + self.contexts[i](c)
            new = F.dropout(F.relu(new), self.dropout, self.training)
            h = h + new if add else new
        last = len(self.layers)
        out = linear_of(h, weights[last], self.out.bias, self.blocks[last] if blocks else [])
        out = out if self.direct is None else out + linear_of(x, weights[-1], None, self.blocks[-1] if blocks else [])
        return out + self.contexts[-1](c) if len(self.contexts) else out

    def _by_blocks(self, x: Tensor, c: Tensor | None) -> Tensor:
        """`forward` without most of what the masks cut away. What comes out is stored unit after unit, not row after row."""
        bias = [layer.bias for layer in (*self.layers, self.out)]
        if len(self.contexts):
            bias = [b + context(c) for b, context in zip(bias, self.contexts, strict=True)]
        if torch.is_grad_enabled():
            return Pass.apply(self, x, *(layer.weight for layer in self._linears()), *bias)
        return self._pass(x, self._masked(None), bias)[0]

    def _pass(self, x: Tensor, weights: list[Tensor], bias: list[Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """What is put out; what every layer sees; and what every hidden layer adds to that."""
        seen, news = [x], []
        for i, add in enumerate(self.adds):
            new = product(seen[i], weights[i], bias[i], self.blocks[i], columns=False).relu_()
            if self.dropout and self.training:
                new = F.dropout(new, self.dropout)
            news.append(new)
            seen.append(seen[i] + new if add else new)
        last = len(self.layers)
        out = product(seen[last], weights[last], bias[last], self.blocks[last], columns=True)
        if self.direct is not None:
            out += product(x, weights[-1], None, self.blocks[-1], columns=True)
        return out, seen, news

    # -- one position after another -------------------------------------------------------------------------------------

    def start(self, batch: int, c: Tensor | None = None, order: list[int] | None = None) -> tuple[Tensor, State]:
        """The output at the first position (B, its numbers), and the state from which `step` goes on."""
        state = self._state(batch, c, order)
        return self._advance(state, 0, 1), state

    def step(self, state: State, i: int, x: Tensor) -> tuple[Tensor, State]:
        """Given the input x (B, its numbers) at position i, counted from 0: the output at i + 1, and the state."""
        state.layers[0].add(x.T)
        return self._advance(state, i + 1, i + 2), state

    def prefill(self, x: Tensor, m: int, c: Tensor | None = None, order: list[int] | None = None) -> tuple[Tensor, State]:
        """x (B, the numbers of the first m positions, one after another) -> the output at position m, and the state."""
        state = self._state(len(x), c, order)
        state.layers[0].add(x.T)
        return self._advance(state, 0, m + 1), state

    def _state(self, batch: int, c: Tensor | None, order: list[int] | None) -> State:
        order = self._other(order)
        weights, groups = list(self._masked(order)), range(self.dim) if order is None else order
        bias = [layer.bias.unsqueeze(1) for layer in (*self.layers, self.out)]
        if len(self.contexts):
            bias = [b + context(c).T for b, context in zip(bias, self.contexts, strict=True)]
        if order is not None:
            first, last = (_gathered(n, order).to(self.out.weight.device) for n in (self.inputs, self.outputs))
            bias[-1] = bias[-1][last]
            for i in {0, len(self.layers) + 1} & set(range(len(weights))):  # what sees the inputs
                weights[i] = weights[i][:, first]
            for i in range(len(self.layers), len(weights)):  # what is put out
                weights[i] = weights[i][last]
        inputs, outputs = ([0, *accumulate(widths[g] for g in groups)] for widths in (self.inputs, self.outputs))
        layers = [Units(layer.weight.shape[1], batch, self.out.weight) for layer in (*self.layers, self.out)]
        direct = weights.pop() if self.direct is not None else None
        pieces = self._kept[3] if self._kept is not None and order is None else {}
        return State(layers, weights, direct, bias, [[0, *inputs], *self.below, outputs], pieces)

    def _advance(self, state: State, low: int, high: int) -> Tensor:
        """Compute the units of the degrees from `low` to below `high` in every layer, and the output that they complete."""
        limit = self.dim
        for i, width in enumerate(BLOCKS):
            if low >= state.blocks[i].end:
                state.blocks[i] = self._begin(state, i, low, max(high, min(low + width, limit)))
            limit = state.blocks[i].end
        block, written, last = state.blocks[-1], state.written, len(self.layers)
        out, added = state.bias[-1], Tensor.addmm_ if written else torch.addmm
        for i, (sums, below) in enumerate(zip(block.layers, state.below[1:], strict=True)):
            begin, end = below[high - 1 if i == last else low], below[high]
            if begin == end and i < last:
                continue
            known, now = state.below[i][block.first], state.below[i][high]
            seen, at = state.layers[i], below[block.first]
            new = added(sums[begin - at : end - at], self._piece(state, i, low, high), seen.rows(known, now))
            if i < last:
                new = F.relu(new, inplace=written)
                if self.adds[i]:
                    new = Tensor.add_(new, seen.rows(begin, end)) if written else new + seen.rows(begin, end)
                if not written:
                    state.layers[i + 1].add(new)
            elif state.direct is None:
                out = new
            else:
                known, now = state.below[0][block.first], state.below[0][high]
                out = added(new, self._piece(state, last + 1, low, high), state.layers[0].rows(known, now))
        return out.T

    def _piece(self, state: State, i: int, low: int, high: int) -> Tensor:
        """What `_advance` multiplies by in layer i: finding it takes as long as multiplying by it does, where rows are few."""
        first = state.blocks[-1].first
        key = (i, low, high, first)
        if key in state.pieces:
            return state.pieces[key]
        last, direct = len(self.layers), i > len(self.layers)
        rows = state.below[min(i, last) + 1]
        columns = state.below[0 if direct else i]
        begin, end = rows[low if i < last else high - 1], rows[high]
        weight = state.direct if direct else state.weights[i]
        assert weight is not None
        piece = weight[begin:end, columns[first] : columns[high]]
        if first % BLOCKS[-1] == 0:  # others begin where a prompt ends, wherever that is
            state.pieces[key] = piece
        return piece

    def _begin(self, state: State, i: int, first: int, end: int) -> Sums:
        """Carry the sums of all units of these degrees on: many at a time, since one at a time waits for memory.

        Those of a wide block begin with the biases; those of the next one with what that one has.
        """
        outer = state.blocks[i - 1] if i else None
        since = outer.first if outer else 0
        found: list[Tensor] = []
        for j, (weight, bias) in enumerate(zip(state.weights, state.bias, strict=True)):
            begin, stop = state.below[j + 1][first], state.below[j + 1][end]
            if outer:
                at = state.below[j + 1][since]
                sums = outer.layers[j][begin - at : stop - at]
                room = sums if state.written else None
            else:
                sums = bias[begin:stop]
                room = state.layers[j + 1].rows(begin, stop) if state.written and j < len(self.layers) else None
            if not outer or since < first:
                known = state.below[j][since], state.below[j][first]
                sums = torch.addmm(sums, weight[begin:stop, slice(*known)], state.layers[j].rows(*known), out=room)
                if state.direct is not None and j == len(self.layers):
                    known = state.below[0][since], state.below[0][first]
                    sums = torch.addmm(sums, state.direct[begin:stop, slice(*known)], state.layers[0].rows(*known))
            found.append(sums)
        return Sums(first, end, found)


class Pass(torch.autograd.Function):
    """A masked net's `_pass` whose gradients, which go back once, skip what the masks cut away too.

    One function for all layers: what belongs to no one else is written in place, since on a processor memory costs as much
    as arithmetic does.
    """

    @staticmethod
    def forward(ctx: Any, net: MaskedMLP, x: Tensor, *parameters: Tensor) -> Tensor:
        masks = net.masks(None)
        weights = [weight * mask for weight, mask in zip(parameters, masks, strict=False)]
        bias = list(parameters[len(masks) :])
        out, seen, news = net._pass(x, weights, bias)
        ctx.net, ctx.keep = net, 1 / (1 - net.dropout) if net.training else 1.0
        ctx.shared = [b.ndim == 1 for b in bias]
        ctx.save_for_backward(*parameters, *weights, *seen, *news)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        net, layers, count = ctx.net, len(ctx.net.layers), len(ctx.needs_input_grad) - 2
        parameters, saved = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        masks = net.masks(None)
        if torch.is_grad_enabled():
            news = saved[len(saved) - layers :]
            return None, *Pass.again(ctx, gradient, saved[len(masks)], parameters, [new > 0 for new in news])
        weights, seen, news = saved[: len(masks)], saved[len(masks) : -layers or None], saved[len(saved) - layers :]
        to_weight: list[Tensor | None] = [None] * len(masks)
        to_bias: list[Tensor | None] = [None] * len(ctx.shared)

        def learn(i: int, g: Tensor, h: Tensor) -> None:
            if ctx.needs_input_grad[2 + i]:
                to_weight[i] = weight_gradient(g, h, net.blocks[i]).mul_(masks[i])
            if i < len(to_bias) and ctx.needs_input_grad[2 + len(masks) + i]:
                to_bias[i] = g.sum(0) if ctx.shared[i] else g

        learn(layers, gradient, seen[layers])
        g = input_gradient(gradient, weights[layers], net.blocks[layers])
        for i in reversed(range(layers)):
            # Of a residual layer the gradient goes on, too; any other belongs to this loop.
            below = g if net.adds[i] else None
            into = torch.empty_like(g) if net.adds[i] or not all(ctx.shared) else g
            g = torch.ops.aten.threshold_backward.grad_input(g, news[i], 0, grad_input=into)
            g = g.mul_(ctx.keep) if ctx.keep != 1.0 else g
            learn(i, g, seen[i])
            if i or ctx.needs_input_grad[1]:
                g = input_gradient(g, weights[i], net.blocks[i])
            g = g if below is None else g.add_(below)
        if net.direct is not None:
            learn(layers + 1, gradient, seen[0])
            if ctx.needs_input_grad[1]:
                g = g + input_gradient(gradient, weights[-1], net.blocks[-1])
        return None, g if ctx.needs_input_grad[1] else None, *to_weight, *to_bias

    @staticmethod
    def again(ctx: Any, gradient: Tensor, x: Tensor, parameters: Sequence[Tensor], on: list[Tensor]) -> list[Tensor | None]:
        """The same gradients by operations that have gradients themselves; `on`: which hidden units let something through."""
        net, masks, inputs = ctx.net, ctx.net.masks(None), [x, *parameters]
        weights = [weight * mask for weight, mask in zip(parameters, masks, strict=False)]
        bias, h = parameters[len(masks) :], x
        for i, add in enumerate(net.adds):
            new = (F.linear(h, weights[i]) + bias[i]) * on[i] * ctx.keep
            h = h + new if add else new
        out = F.linear(h, weights[len(on)]) + bias[len(on)]
        if net.direct is not None:
            out = out + F.linear(x, weights[-1])
        wanted = [one for one, need in zip(inputs, ctx.needs_input_grad[1:], strict=True) if need]
        found = iter(torch.autograd.grad(out, wanted, gradient, create_graph=True, allow_unused=True))
        return [next(found) if need else None for need in ctx.needs_input_grad[1:]]


def _gathered(widths: Sequence[int], order: Sequence[int]) -> Tensor:
    """Where the numbers of the groups stand, group after group in the order given."""
    starts = [0, *accumulate(widths)]
    return torch.cat([torch.arange(starts[g], starts[g + 1]) for g in order])
