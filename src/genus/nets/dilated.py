"""Dilated causal convolutions with gates: a memory that doubles with every layer, kept in queues."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.nets.causal import CausalNet
from genus.nets.dense import Dropout

__all__ = ["DilatedMemory", "GatedStack", "Queues", "gate"]


def gate(both: Tensor) -> Tensor:
    """Return tanh(-f / 2) sigmoid(g), (..., width), of the halves f and g of (..., 2 width), which is overwritten.

    The first factor is a value, the second how much of it is let through. As tanh(-f / 2) = 1 - 2 sigmoid(f), one sigmoid
    serves both halves, in place; a tanh takes several times as long.
    """
    f, g = both.sigmoid_().chunk(2, dim=-1)
    return torch.addcmul(g, f, g, value=-2)


class Queues(NamedTuple):
    """Hold what a stack remembers: of every layer its inputs at the last d positions, d the dilation.

    Queues hold references and what they refer to is not written into, so that steps have gradients like the parallel pass.
    Beside them lie the weights as a step uses them.
    """

    inputs: list[deque[Tensor]]  # of every layer d tensors (B, width), the oldest first
    past: Tensor  # (L, width, 2 width): of the older taps
    now: Sequence[Tensor]  # of every layer (width, 2 width)
    residual: Sequence[Tensor]  # of every layer but the last (width, width)

    def rows(self, index: Tensor) -> Queues:
        """Return the queues of sequences index (n,)."""
        inputs = [deque((h[index] for h in queue), maxlen=queue.maxlen) for queue in self.inputs]
        return self._replace(inputs=inputs)


class GatedStack(nn.Module):
    """Stack gated causal convolutions of two taps, with residual and skip connections (van den Oord et al. 2016,
    arXiv:1609.03499).

    In every layer z = gate((h_{t-d}, h_t) W + b), and h + z R goes on to the next; the output is one linear map of the z of all
    layers. Before the first position all is zero.

    Args:
        width: of inputs and outputs.
        dilations: d of every layer.
        dropout: of what every gate lets through.
    """

    def __init__(self, width: int, dilations: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        self.width, self.dilations = width, list(dilations)
        layers = len(self.dilations)
        self.taps = nn.ParameterList(torch.randn(2 * width, 2 * width) * (2 * width) ** -0.5 for _ in range(layers))
        self.bias = nn.Parameter(torch.zeros(layers, 1, 2 * width))
        self.residual = nn.ParameterList(torch.randn(width, width) * (width * layers) ** -0.5 for _ in range(layers - 1))
        self.skip = nn.Linear(layers * width, width)
        self.drop = Dropout(dropout)

    def matrices(self) -> list[nn.Parameter]:
        """Return the weights that take a vector of the net to another, which Muon may train."""
        return [*self.taps, *self.residual, self.skip.weight]

    def forward(
        self, h: Tensor, given: Sequence[Tensor] | Tensor | None = None, seen: Callable[[int, Tensor], None] | None = None
    ) -> Tensor:
        """Return the outputs (B, T, width) for inputs h (B, T, width).

        Args:
            given: for every layer what is added to its gates, (B, T or 1, 2 width).
            seen: called with every layer's number and input, (B, T, width).
        """
        out = self.skip.bias
        skips = self.skip.weight.T.split(self.width)
        for i, (taps, bias, dilation) in enumerate(zip(self.taps, self.bias, self.dilations, strict=True)):
            if seen is not None:
                seen(i, h)
            past = F.pad(h[:, :-dilation], (0, 0, min(dilation, h.shape[1]), 0))
            both = F.linear(torch.cat([past, h], dim=2), taps.T, bias[0])
            z = self.drop(gate(both if given is None else both + given[i]))
            out = out + z @ skips[i]
            if i < len(self.residual):
                h = h + z @ self.residual[i]
        return out

    def empty(self, batch: int) -> Queues:
        """Return the queues of B = batch sequences before the first position."""
        past, now = torch.stack([*self.taps]).split(self.width, dim=1)
        zero = past.new_zeros(batch, self.width)
        inputs = [deque([zero] * dilation, maxlen=dilation) for dilation in self.dilations]
        return Queues(inputs, past, now.unbind(), [*self.residual])

    def prefill(self, h: Tensor, given: Sequence[Tensor] | Tensor | None = None) -> tuple[Tensor, Queues]:
        """Return what `forward` does, (B, T, width), and the queues after the last position."""
        queues = self.empty(len(h))
        out = self(h, given, lambda i, h: queues.inputs[i].extend(h[:, -self.dilations[i] :].unbind(1)))
        return out, queues

    def advance(self, queues: Queues, h: Tensor, given: Tensor | None = None) -> Tensor:
        """Return the output (B, width) for the next input h (B, width), given (L, B, 2 width) being added to the gates.

        What the older taps contribute is known in all layers beforehand, in one product.
        """
        older = torch.stack([queue[0] for queue in queues.inputs])
        known = torch.baddbmm(self.bias if given is None else self.bias + given, older, queues.past)
        passed = []
        for i, (both, now) in enumerate(zip(known.unbind(), queues.now, strict=True)):
            queues.inputs[i].append(h)  # and the oldest goes
            passed.append(gate(torch.addmm(both, h, now)))
            if i < len(queues.residual):
                h = torch.addmm(h, passed[-1], queues.residual[i])
        return self.skip(torch.cat(passed, dim=1))


class DilatedMemory(CausalNet):
    """Repeat WaveNet's stack of dilations 1, 2, 4, ..., with the context in every gate.

    It sees stacks * (2^layers - 1) + 1 positions, the newest among them.

    Args:
        width: of tokens and outputs.
        layers: of a stack; the last has dilation 2^(layers - 1).
        stacks: one upon another.
        dropout: of what every gate lets through.
        context_dim: of the context's features.
    """

    def __init__(self, width: int, layers: int = 10, stacks: int = 1, dropout: float = 0.0, context_dim: int = 0) -> None:
        super().__init__(width, context_dim)
        self.stack = GatedStack(width, [2**i for i in range(layers)] * stacks, dropout)
        self.last = nn.Linear(width, width)
        self.moved = nn.Linear(context_dim, layers * stacks * 2 * width, bias=False) if context_dim else None

    def _given(self, c: Tensor | None) -> Tensor | None:
        """Return the context's part of every gate, (L, B, 2 width)."""
        return None if self.moved is None else self.moved(c).unflatten(1, (-1, 2 * self.width)).transpose(0, 1)

    def _out(self, skips: Tensor) -> Tensor:
        return F.relu(self.last(F.relu(skips)))

    def parallel(self, tokens: Tensor, c: Tensor | None) -> Tensor:
        given = self._given(c)
        return self._out(self.stack(tokens, None if given is None else given.unsqueeze(2)))

    def empty(self, batch: int, c: Tensor | None) -> tuple[Queues, Tensor | None]:
        return self.stack.empty(batch), self._given(c)

    def advance(self, state: tuple[Queues, Tensor | None], token: Tensor) -> tuple[Tensor, tuple[Queues, Tensor | None]]:
        return self._out(self.stack.advance(state[0], token, state[1])), state

    def prefill(self, tokens: Tensor, c: Tensor | None = None) -> tuple[Tensor, tuple[Queues, Tensor | None]]:
        first = self.first(len(tokens), c).to(tokens.dtype)
        given = self._given(c)
        known = torch.cat([first[:, None], tokens], dim=1)
        skips, queues = self.stack.prefill(known, None if given is None else given.unsqueeze(2))
        return self._out(skips[:, -1]), (queues, given)

    def rows(self, state: tuple[Queues, Tensor | None], index: Tensor) -> tuple[Queues, Tensor | None]:
        queues, given = state
        return queues.rows(index), None if given is None else given[:, index]
