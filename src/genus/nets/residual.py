"""Residual convolutions that halve an image to a vector, and a vector doubled to an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ImageDecoder", "ImageEncoder", "halvings"]

SMALLEST = 7  # height or width at which halving stops


def halvings(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes of an image, halved again and again, rounded up.

    >>> halvings(28, 28)
    [(28, 28), (14, 14), (7, 7)]
    """
    sizes = [(height, width)]
    while min(sizes[-1]) > SMALLEST:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


class Residual(nn.Module):
    """(B, C, H, W) -> the same, plus two 3x3 convolutions of it (He et al. 2016, arXiv:1603.05027)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))


class ImageEncoder(nn.Module):
    """(B, C H W + context features) -> (B, outputs).

    Args:
        shape: channels, height and width.
        channels: of every level; an image is halved until neither side is above 7.
        outputs: how many numbers.
        context_dim: of the features that stand behind the pixels.
    """

    def __init__(self, shape: Sequence[int], channels: int, outputs: int, context_dim: int = 0) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.sizes = halvings(shape[1], shape[2])
        self.first = nn.Conv2d(shape[0], channels, 3, padding=1)
        self.blocks = nn.ModuleList(Residual(channels) for _ in self.sizes)
        self.down = nn.ModuleList(nn.Conv2d(channels, channels, 3, stride=2, padding=1) for _ in self.sizes[1:])
        last = self.sizes[-1]
        self.out = nn.Linear(channels * last[0] * last[1] + context_dim, outputs)

    def forward(self, x: Tensor) -> Tensor:
        pixels = x[:, : self.shape[0] * self.shape[1] * self.shape[2]]
        h = self.first(pixels.reshape(-1, *self.shape))
        for i, block in enumerate(self.blocks):
            h = block(h if i == 0 else self.down[i - 1](h))
        return self.out(torch.cat([F.silu(h.flatten(1)), x[:, pixels.shape[1] :]], dim=1))


class ImageDecoder(nn.Module):
    """(B, inputs) -> (B, C H W each), the numbers of a pixel together.

    Args:
        inputs: how many numbers.
        channels: of every level.
        shape: channels, height and width of the image.
        each: numbers of every pixel of every channel.
    """

    def __init__(self, inputs: int, channels: int, shape: Sequence[int], each: int) -> None:
        super().__init__()
        self.shape, self.channels = tuple(shape), channels
        self.sizes = halvings(shape[1], shape[2])[::-1]
        self.first = nn.Linear(inputs, channels * self.sizes[0][0] * self.sizes[0][1])
        self.blocks = nn.ModuleList(Residual(channels) for _ in self.sizes)
        self.up = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in self.sizes[1:])
        self.out = nn.Conv2d(channels, shape[0] * each, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.first(z).view(len(z), self.channels, *self.sizes[0])
        for i, block in enumerate(self.blocks):
            h = block(h if i == 0 else self.up[i - 1](F.interpolate(h, size=self.sizes[i], mode="nearest")))
        return self.out(F.silu(h)).unflatten(1, (self.shape[0], -1)).movedim(2, -1).flatten(1)
