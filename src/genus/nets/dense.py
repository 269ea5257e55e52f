"""Dense nets."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from genus import random

__all__ = ["Dropout", "Modulated", "Modulation", "dense", "linear", "modulate", "rms_norm"]

EPSILON = 1e-6  # the length of a vector below which `rms_norm` does not scale it up


class Dropout(nn.Dropout):
    """Drop numbers in training, by the generator of the seed where there is one."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x (...) with numbers dropped in training, the others scaled up; x itself otherwise."""
        return random.dropout(x, self.p, self.training)


def dense(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    activation: Callable[[], nn.Module] = nn.SiLU,
    dropout: float = 0.0,
    zero: bool = False,
) -> nn.Sequential:
    """Return a net from (B, inputs) to (B, outputs) through hidden layers; with `zero` the last layer starts at zero.

    >>> dense(3, (8, 8), 2)[-1].out_features
    2
    """
    sizes = [inputs, *hidden]
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [linear(a, b), activation(), *([Dropout(dropout)] if dropout else [])]
    last = linear(sizes[-1], outputs)
    if zero:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer, perhaps of no inputs or no outputs."""
    with warnings.catch_warnings():  # constant data have no features; a layer without inputs is its bias
        warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
        return nn.Linear(inputs, outputs)


def rms_norm(x: Tensor) -> Tensor:
    """Return every vector (..., width) scaled to a root mean square of 1 (Zhang & Sennrich 2019, arXiv:1910.07467)."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=EPSILON)
    return x / (length * x.shape[-1] ** -0.5)


class Modulation(nn.Module):
    """Map a context's features to a scale and a shift for every channel of several layers (feature-wise linear modulation;
    Perez et al. 2018, arXiv:1709.07871).

    Both leave layers as they are at first. A context that enters beside hundreds of pixels is a small part of what a layer
    sees; scales and shifts reach every layer whatever else it sees.

    Args:
        context_dim: the number of features c.
        widths: of every layer.
    """

    def __init__(self, context_dim: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.sizes = [2 * width for width in widths]
        self.linear = linear(context_dim, sum(self.sizes))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, c: Tensor) -> list[Tensor]:
        """Return scales and shifts (B, 2 width) of every layer for c (B, context_dim)."""
        return list(self.linear(c).split(self.sizes, dim=1))


def modulate(h: Tensor, moved: Tensor) -> Tensor:
    """Return h (B, width, ...) with its channels scaled and shifted by `moved` (B, 2 width): h (1 + scale) + shift."""
    scale, shift = moved.view(*moved.shape, *[1] * (h.ndim - 2)).chunk(2, dim=1)
    return torch.addcmul(h + shift, h, scale)


class Modulated(nn.Module):
    """Map (B, inputs), whose last numbers are a context's features, to (B, outputs) through layers that the context modulates.

    The context enters the first layer beside the other inputs, and every hidden layer by `Modulation`.

    Args:
        inputs: the number of inputs, with the context's features.
        context_dim: how many of them are the context's.
        hidden: the widths of the hidden layers.
        outputs: the number of outputs.
        activation: after every hidden layer.

    >>> Modulated(5, 2, (8, 8), 3)(torch.zeros(4, 5)).shape
    torch.Size([4, 3])
    """

    def __init__(
        self,
        inputs: int,
        context_dim: int,
        hidden: Sequence[int],
        outputs: int,
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        self.context_dim = context_dim
        self.layers = nn.ModuleList(linear(a, b) for a, b in pairwise([inputs, *hidden]))
        self.activation = activation()
        self.moved = Modulation(context_dim, hidden)
        self.last = linear([inputs, *hidden][-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (B, outputs) for x (B, inputs)."""
        h = x
        for layer, moved in zip(self.layers, self.moved(x[:, x.shape[1] - self.context_dim :]), strict=True):
            h = self.activation(modulate(layer(h), moved))
        return self.last(h)
