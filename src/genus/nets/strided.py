"""Strided convolutions: an image halved to a vector, and a vector doubled to an image, with no layer at full size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.nets.dense import Modulation, modulate
from genus.nets.residual import halvings

__all__ = ["StridedDecoder", "StridedEncoder"]

DENSE = 8  # times the channels: the width of the dense layer between the smallest image and the vector


class StridedEncoder(nn.Module):
    """Map images and their context's features, (B, C H W + context_dim), to vectors (B, outputs).

    As in DCGAN (Radford et al. 2016, arXiv:1511.06434), without batch norm.

    Args:
        shape: channels, height and width; the image is halved until a side is 7 at most.
        channels: after the first halving; every further one doubles them.
        outputs: how many numbers.
        context_dim: of the features that stand behind the pixels.
    """

    def __init__(self, shape: Sequence[int], channels: int, outputs: int, context_dim: int = 0) -> None:
        super().__init__()
        self.shape = tuple(shape)
        sizes = halvings(shape[1], shape[2])
        widths = [shape[0], *(channels * 2**i for i in range(len(sizes) - 1))]
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.dense = nn.Linear(widths[-1] * sizes[-1][0] * sizes[-1][1] + context_dim, DENSE * channels)
        self.out = nn.Linear(DENSE * channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs) for x (B, C H W + context_dim), the pixels before the context's features."""
        pixels = x[:, : self.shape[0] * self.shape[1] * self.shape[2]]
        h = pixels.reshape(-1, *self.shape)
        for conv in self.down:
            odd = (0, h.shape[3] % 2, 0, h.shape[2] % 2)  # whose last row or column would be left out
            h = F.leaky_relu(conv(F.pad(h, odd) if any(odd) else h), 0.2)
        h = torch.cat([h.flatten(1), x[:, pixels.shape[1] :]], dim=1)
        return self.out(F.leaky_relu(self.dense(h), 0.2))


class StridedDecoder(nn.Module):
    """Map vectors (B, inputs) to images (B, C H W), as a `StridedEncoder` in reverse.

    Args:
        inputs: how many numbers.
        channels: before the last doubling; twice as many before every one that comes earlier.
        shape: channels, height and width of the image.
        context_dim: how many of the inputs, the last ones, are a context's, which modulate every layer.
    """

    def __init__(self, inputs: int, channels: int, shape: Sequence[int], context_dim: int = 0) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.sizes = halvings(shape[1], shape[2])[::-1]
        widths = [*(channels * 2**i for i in reversed(range(len(self.sizes) - 1))), shape[0]]
        self.dense = nn.Linear(inputs, DENSE * channels)
        self.first = nn.Linear(DENSE * channels, widths[0] * self.sizes[0][0] * self.sizes[0][1])
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.context_dim = context_dim
        self.moved = Modulation(context_dim, [DENSE * channels, *widths[:-1]]) if context_dim else None

    def forward(self, z: Tensor) -> Tensor:
        """Return (B, C H W) for z (B, inputs)."""
        moved = [None] * (1 + len(self.up)) if self.moved is None else self.moved(z[:, z.shape[1] - self.context_dim :])
        h = self._active(self.dense(z), moved[0])
        h = self.first(h).view(len(z), -1, *self.sizes[0])
        for up, one, (height, width) in zip(self.up, moved[1:], self.sizes[1:], strict=True):
            h = up(self._active(h, one))[..., :height, :width]  # of an odd size one row too many comes
        return h.flatten(1)

    @staticmethod
    def _active(h: Tensor, moved: Tensor | None) -> Tensor:
        return F.relu(h if moved is None else modulate(h, moved))
