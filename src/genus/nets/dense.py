"""Dense nets."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from genus import random

__all__ = ["Dropout", "dense", "linear"]


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
