"""Residual convolutions that halve an image to a vector, and a vector doubled to an image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.nets.dense import Modulation, modulate

__all__ = ["ImageDecoder", "ImageEncoder", "halvings"]

SMALLEST = 7  # height or width at which halving stops
WIDEST = 4  # times the first channels that later levels may have


def halvings(height: int, width: int) -> list[tuple[int, int]]:
    """Return the sizes (height, width) of an image halved again and again, rounded up.

    >>> halvings(28, 28)
    [(28, 28), (14, 14), (7, 7)]
    """
    sizes = [(height, width)]
    while min(sizes[-1]) > SMALLEST:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


def widths(channels: int, levels: int) -> list[int]:
    """Return the channels of every level: twice as many where an image is half as large, up to `WIDEST` times the first."""
    return [channels * min(2**level, WIDEST) for level in range(levels)]


class Residual(nn.Module):
    """Add two 3x3 convolutions of x (B, C, H, W) to it (He et al. 2016, arXiv:1603.05027), modulated between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, moved: Tensor | None = None) -> Tensor:
        h = self.first(F.silu(x))
        return x + self.second(F.silu(h if moved is None else modulate(h, moved)))


class ImageEncoder(nn.Module):
    """Map images and their context's features, (B, C H W + context_dim), to vectors (B, outputs).

    An image is halved until neither side is above 7. The full size has no level of its own, which would cost more than all
    others together: its pixels are halved at once.

    Args:
        shape: channels, height and width.
        channels: of the first level.
        outputs: how many numbers.
        context_dim: of the features that stand behind the pixels, which modulate every block.
    """

    def __init__(self, shape: Sequence[int], channels: int, outputs: int, context_dim: int = 0) -> None:
        super().__init__()
        self.shape = tuple(shape)
        sizes = halvings(shape[1], shape[2])
        levels = sizes[1:] or sizes
        wide = widths(channels, len(levels))
        first = 1 if len(sizes) == 1 else 2
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2 if i else first, padding=1) for i, (a, b) in enumerate(pairwise([shape[0], *wide]))
        )
        self.blocks = nn.ModuleList(Residual(width) for width in wide)
        self.out = nn.Linear(wide[-1] * levels[-1][0] * levels[-1][1] + context_dim, outputs)
        self.moved = Modulation(context_dim, wide) if context_dim else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs) for x (B, C H W + context_dim), the pixels before the context's features."""
        pixels = x[:, : self.shape[0] * self.shape[1] * self.shape[2]]
        h, c = pixels.reshape(-1, *self.shape), x[:, pixels.shape[1] :]
        moved = [None] * len(self.blocks) if self.moved is None else self.moved(c)
        for down, block, one in zip(self.down, self.blocks, moved, strict=True):
            h = block(down(h).contiguous(memory_format=torch.channels_last), one)
        return self.out(torch.cat([F.silu(h.flatten(1)), c], dim=1))


class ImageDecoder(nn.Module):
    """Map vectors (B, inputs) to images (B, C H W each) by the levels of an `ImageEncoder` in reverse.

    The last doubling lays four pixels' channels side by side (Shi et al. 2016, arXiv:1609.05158), and one convolution at full
    size joins them.

    Args:
        inputs: how many numbers.
        channels: of the last level but the pixels' own.
        shape: channels, height and width of the image.
        each: numbers of every pixel of every channel.
        context_dim: how many of the inputs, the last ones, are a context's, which modulate every block.
    """

    def __init__(self, inputs: int, channels: int, shape: Sequence[int], each: int, context_dim: int = 0) -> None:
        super().__init__()
        self.shape = tuple(shape)
        sizes = halvings(shape[1], shape[2])
        self.sizes = (sizes[1:] or sizes)[::-1]
        wide = widths(channels, len(self.sizes))[::-1]
        fine = max(channels // 2, shape[0] * each)
        self.start = (wide[0], *self.sizes[0])
        self.first = nn.Linear(inputs, wide[0] * self.sizes[0][0] * self.sizes[0][1])
        self.blocks = nn.ModuleList(Residual(width) for width in wide)
        self.up = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(wide))
        self.last = nn.Conv2d(channels, 4 * fine, 3, padding=1) if len(sizes) > 1 else nn.Conv2d(channels, fine, 3, padding=1)
        self.doubled = len(sizes) > 1
        self.out = nn.Conv2d(fine, shape[0] * each, 3, padding=1)
        self.context_dim = context_dim
        self.moved = Modulation(context_dim, wide) if context_dim else None

    def forward(self, z: Tensor) -> Tensor:
        """Return (B, C H W each) for z (B, inputs), the numbers of a pixel together."""
        h = self.first(z).view(len(z), *self.start).contiguous(memory_format=torch.channels_last)
        moved = [None] * len(self.blocks) if self.moved is None else self.moved(z[:, z.shape[1] - self.context_dim :])
        for i, block in enumerate(self.blocks):
            h = block(h if i == 0 else self.up[i - 1](F.interpolate(h, size=self.sizes[i], mode="nearest")), moved[i])
        h = self.last(F.silu(h))
        if self.doubled:
            h = F.pixel_shuffle(h, 2)[:, :, : self.shape[1], : self.shape[2]]
        return self.out(F.silu(h)).unflatten(1, (self.shape[0], -1)).movedim(2, -1).flatten(1)
