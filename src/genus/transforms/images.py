"""Transforms of the shape of images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genus.errors import DataError, GenusError
from genus.transforms.core import Transform, check_apart

__all__ = ["Multiscale", "Squeeze"]


class Squeeze(Transform):
    """Map (B, C, H, W) to (B, 4 C, H / 2, W / 2): every 2x2 square becomes channels.

    >>> Squeeze()(torch.zeros(1, 1, 4, 6))[0].shape
    torch.Size([1, 4, 2, 3])
    """

    allow_missing = True

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) != 3 or shape[1] % 2 or shape[2] % 2:
            size = "x".join(map(str, shape[1:])) if len(shape) == 3 else f"shape {shape}"
            raise DataError(f"Only images (C, H, W) of even height and width can be squeezed; got {size}.")
        channels, height, width = shape
        return 4 * channels, height // 2, width // 2

    def shape_before(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) != 3 or shape[0] % 4:
            raise DataError(f"Four channels of (C, H, W) become one when a squeeze is undone; got shape {shape}.")
        channels, height, width = shape
        return channels // 4, 2 * height, 2 * width

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        _, rows, columns = self.shape(tuple(x.shape[1:]))
        squares = x.unflatten(3, (columns, 2)).unflatten(2, (rows, 2))  # (B, C, H / 2, 2, W / 2, 2)
        return squares.permute(0, 1, 3, 5, 2, 4).flatten(1, 3), x.new_zeros(len(x))

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        channels, *_ = self.shape_before(tuple(z.shape[1:]))
        squares = z.unflatten(1, (channels, 2, 2)).permute(0, 1, 4, 2, 5, 3)
        return squares.flatten(4, 5).flatten(2, 3), z.new_zeros(len(z))


class Multiscale(Transform):
    """Map (B, C, H, W) to (B, C H W): after every level but the last, half of the channels go to the output and the others to
    the next level, a multi-scale architecture (Dinh et al. 2017, arXiv:1605.08803).

    Args:
        shape: the shape of the first level's input, (C, H, W).
        levels: the transforms, in their order.
    """

    def __init__(self, shape: Sequence[int], levels: Sequence[Transform]) -> None:
        super().__init__()
        if not levels:
            raise GenusError("Multiscale needs one level or more; got none.")
        check_apart(levels)
        self.levels = nn.ModuleList(levels)
        self.shapes: list[tuple[int, ...]] = []  # what each level gives
        self.first, now = tuple(shape), tuple(shape)
        for i, level in enumerate(levels):
            now = level.shape(now)
            self.shapes.append(now)
            if i + 1 < len(levels):
                if now[0] % 2:
                    raise DataError(f"Half of the channels leave after a level, and level {i} gives {now[0]}, which is odd.")
                now = (now[0] // 2, *now[1:])

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (math.prod(shape),)

    def shape_before(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.first

    @staticmethod
    def _together(x: Tensor, left: list[Tensor]) -> Tensor:
        """Join the parts that left (latest first) behind the output x of the last level, (B, D)."""
        return torch.cat([x.flatten(1), *reversed(left)], dim=1)

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        left, total = [], x.new_zeros(len(x))
        for level in self.levels[:-1]:
            x, log_det = level(x, c)
            total = total + log_det
            x, leaving = x.chunk(2, dim=1)
            left.append(leaving.flatten(1))
        x, log_det = self.levels[-1](x, c)
        return self._together(x, left), total + log_det

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = z.new_zeros(len(z))
        size = math.prod(self.shapes[-1])
        x, z = z[:, :size].unflatten(1, self.shapes[-1]), z[:, size:]
        for i in reversed(range(len(self.levels))):
            if i + 1 < len(self.levels):
                half = math.prod(self.shapes[i]) // 2
                leaving = z[:, :half].unflatten(1, (self.shapes[i][0] // 2, *self.shapes[i][1:]))
                x, z = torch.cat([x, leaving], dim=1), z[:, half:]
            x, log_det = self.levels[i].inverse(x, c)  # type: ignore[operator]
            total = total + log_det
        return x, total

    @torch.no_grad()
    def initialise(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        left = []
        for level in self.levels[:-1]:
            x, leaving = level.initialise(x, c).chunk(2, dim=1)  # type: ignore[operator]
            left.append(leaving.flatten(1))
        return self._together(self.levels[-1].initialise(x, c), left)  # type: ignore[operator]
