"""Dilated causal convolutions with gates: a memory that doubles with every layer, kept in queues."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.nets.causal import CausalNet
from genus.nets.dense import Dropout
from genus.nets.tokens import near_

__all__ = ["DilatedMemory", "Frames", "GatedStack", "Queues", "gate"]


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
        self, h: Tensor, given: Iterable[Tensor] | None = None, seen: Callable[[int, Tensor], None] | None = None
    ) -> Tensor:
        """Return the outputs (B, T, width) for inputs h (B, T, width).

        Args:
            given: for every layer what is added to its gates, (B, T or 1, 2 width).
            seen: called with every layer's number and input, (B, T, width).
        """
        out = self.skip.bias
        skips = self.skip.weight.T.split(self.width)
        layers = zip(
            self.taps, self.bias, self.dilations, repeat(None, len(self.taps)) if given is None else given, strict=True
        )
        for i, (taps, bias, dilation, moved) in enumerate(layers):
            if seen is not None:
                seen(i, h)
            past = F.pad(h[:, :-dilation], (0, 0, min(dilation, h.shape[1]), 0))
            both = F.linear(torch.cat([past, h], dim=2), taps.T, bias[0])
            z = self.drop(gate(both if moved is None else both + moved))
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

    def prefill(self, h: Tensor, given: Iterable[Tensor] | None = None) -> tuple[Tensor, Queues]:
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


class Frames(nn.Module):
    """Learn features of where in a sequence a position is, (width,), alike for all positions of a frame.

    They are the local conditioning of van den Oord et al. 2016 (section 2.5), learned and not given: with the context they
    tell a net what comes when, which it would otherwise have to count from the beginning of the sequence.

    Args:
        length: of sequences; later positions have the features of the last frame.
        frame: the number of positions of a frame.
        width: of the features.
        context_dim: of the context's features; 0 for none.
    """

    def __init__(self, length: int, frame: int, width: int, context_dim: int = 0) -> None:
        super().__init__()
        self.frame = frame
        self.when = nn.Parameter(torch.empty(-(-length // frame), width))
        near_(self.when, 1.0)  # of a size with which frames differ from the first step on
        self.given = nn.Linear(context_dim, width) if context_dim else None
        if self.given is not None:
            nn.init.normal_(self.given.weight, std=0.5)
        self.mixed = nn.Linear(width, width)

    def forward(self, c: Tensor | None) -> Tensor:
        """Return the features of every frame, (B or 1, frames, width), for the context's features c (B, context_dim)."""
        when = self.when if self.given is None else self.when + self.given(c).unsqueeze(1)
        return F.relu(self.mixed(F.relu(when.reshape(-1, *self.when.shape))))

    def spread(self, of_frames: Tensor, length: int) -> Tensor:
        """Return (B, length, n): what each position has of its frame, of (B, frames, n)."""
        positions = of_frames.unsqueeze(2).expand(-1, -1, self.frame, -1).flatten(1, 2)[:, :length]
        rest = length - positions.shape[1]
        return positions if not rest else torch.cat([positions, positions[:, -1:].expand(-1, rest, -1)], dim=1)

    def at(self, features: Tensor, i: int) -> Tensor:
        """Return the features of position i, (B, width), of those of all frames, (B, frames, width)."""
        return features[:, min(i // self.frame, features.shape[1] - 1)]


class Steps(NamedTuple):
    """Hold what `DilatedMemory` remembers between steps."""

    queues: Queues
    features: Tensor | None  # what moves the gates: of the context (B, n), or of the context in every frame (B, frames, n)
    given: Tensor | None  # what the gates are moved by at position i, (L, B, 2 width)
    i: int  # the next position


class DilatedMemory(CausalNet):
    """Repeat WaveNet's stack of dilations 1, 2, 4, ..., with the context in every gate.

    It sees stacks * (2^layers - 1) + 1 positions, the newest among them.

    Args:
        width: of tokens and outputs.
        layers: of a stack; the last has dilation 2^(layers - 1).
        stacks: one upon another.
        dropout: of what every gate lets through.
        context_dim: of the context's features.
        frame: the number of positions that share features of where they are (`Frames`); 0 for none.
        length: of the sequences, where they have frames.
    """

    def __init__(
        self,
        width: int,
        layers: int = 10,
        stacks: int = 1,
        dropout: float = 0.0,
        context_dim: int = 0,
        frame: int = 0,
        length: int = 0,
    ) -> None:
        super().__init__(width, context_dim)
        self.stack = GatedStack(width, [2**i for i in range(layers)] * stacks, dropout)
        self.last = nn.Linear(width, width)
        self.frames = Frames(length, frame, width, context_dim) if frame else None
        moving = width if frame else context_dim
        self.moved = nn.Linear(moving, layers * stacks * 2 * width, bias=False) if moving else None

    def _features(self, c: Tensor | None) -> Tensor | None:
        """Return what moves the gates: the features of the context (B, n), or of all frames (B or 1, frames, n)."""
        return c if self.frames is None else self.frames(c)

    def _given(self, features: Tensor | None) -> Tensor | None:
        """Return the part of every gate that features (..., n) make, (L, ..., 2 width)."""
        return None if self.moved is None else self.moved(features).unflatten(-1, (-1, 2 * self.width)).movedim(-2, 0)

    def _over_positions(self, features: Tensor | None, length: int) -> Iterable[Tensor] | None:
        """Return what is added to the gates of every layer at all positions, (B, length or 1, 2 width)."""
        given = self._given(features)
        if given is None:
            return None
        if self.frames is None:
            return given.unsqueeze(2)
        frames = self.frames
        return (frames.spread(one, length) for one in given)  # one layer's at a time: they are as large as all its gates

    def _out(self, skips: Tensor) -> Tensor:
        return F.relu(self.last(F.relu(skips)))

    def parallel(self, tokens: Tensor, c: Tensor | None) -> Tensor:
        return self._out(self.stack(tokens, self._over_positions(self._features(c), tokens.shape[1])))

    def empty(self, batch: int, c: Tensor | None) -> Steps:
        features = self._features(c)
        if self.frames is not None and features is not None:
            features = features.expand(batch, -1, -1)
        return Steps(self.stack.empty(batch), features, self._given(features) if self.frames is None else None, 0)

    def advance(self, state: Steps, token: Tensor) -> tuple[Tensor, Steps]:
        given = state.given
        if self.frames is not None and state.features is not None and (given is None or state.i % self.frames.frame == 0):
            given = self._given(self.frames.at(state.features, state.i))
        return self._out(self.stack.advance(state.queues, token, given)), state._replace(given=given, i=state.i + 1)

    def prefill(self, tokens: Tensor, c: Tensor | None = None) -> tuple[Tensor, Steps]:
        first = self.first(len(tokens), c).to(tokens.dtype)
        state = self.empty(len(tokens), c)
        known = torch.cat([first[:, None], tokens], dim=1)
        skips, queues = self.stack.prefill(known, self._over_positions(state.features, known.shape[1]))
        return self._out(skips[:, -1]), state._replace(queues=queues, i=known.shape[1])

    def rows(self, state: Steps, index: Tensor) -> Steps:
        features = None if state.features is None else state.features[index]
        given = None if state.given is None else state.given[:, index]
        return Steps(state.queues.rows(index), features, given, state.i)
