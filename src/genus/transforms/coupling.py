"""Coupling transforms: some coordinates stay, and the others are mapped with parameters that depend on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.errors import DataError, GenusError
from genus.nets.dense import dense
from genus.transforms.core import Transform
from genus.transforms.elementary import clip_for_net, skip_missing
from genus.transforms.maps import Affine, Map

__all__ = ["Coupling", "checkerboard", "halves"]


class Coupling(Transform):
    """Map some coordinates with parameters from those that stay, x_a: z_b = f(x_b; p(x_a, c)) (Dinh et al. 2017,
    arXiv:1605.08803). Both directions are one pass.

    Args:
        stay: a bool for each coordinate, true where it stays; nested as the shape is, (D,) for a table, (C, H, W) for an image.
        hidden: widths of the net: a dense one for a table; for an image convolutions, first and last 3x3, between them 1x1.
        map: the map of each coordinate that does not stay; affine by default.
        context_dim: the width of the context's features.
        dropout: the probability that a hidden unit of a dense net is dropped in training.
        allow_missing: whether a coordinate may be NaN, for absent.

    >>> coupling = Coupling([True, False, True], hidden=(16,))
    >>> x = torch.randn(2, 3)
    >>> z, _ = coupling(x)
    >>> bool((z == x)[:, [0, 2]].all())
    True
    """

    stays: Tensor

    def __init__(
        self,
        stay: Sequence[Any],
        hidden: Sequence[int],
        map: Map | None = None,
        context_dim: int = 0,
        dropout: float = 0.0,
        allow_missing: bool = False,
    ) -> None:
        super().__init__()
        self.map = map if map is not None else Affine()
        self.allow_missing = allow_missing
        try:
            mask = torch.as_tensor(stay)
        except (RuntimeError, TypeError, ValueError) as error:
            raise DataError(f"stay must hold a bool for each coordinate, (D,) or (C, H, W): {error}.") from error
        if len(odd := mask[(mask != 0) & (mask != 1)]):
            raise DataError(f"stay must hold a bool for each coordinate; it holds {odd[0].item():g}.")
        self.register_buffer("stays", mask == 1, persistent=False)
        if self.stays.ndim not in (1, 3):
            raise DataError(f"A coupling splits (D,) or (C, H, W); got a mask of shape {tuple(self.stays.shape)}.")
        moving = int((~self.stays).sum())
        self.net: nn.Module
        if self.stays.ndim == 1:
            self.net = dense(
                len(self.stays) - moving + context_dim, hidden, moving * self.map.size, nn.ReLU, dropout, zero=True
            )
            self.register_buffer("a", self.stays.nonzero()[:, 0], persistent=False)
            self.register_buffer("b", (~self.stays).nonzero()[:, 0], persistent=False)
        else:
            channels = len(self.stays)
            self.net = Convolutions(2 * channels, hidden, channels * self.map.size, context_dim)

    a: Tensor
    b: Tensor

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._move(x, c, self.map.forward)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._move(z, c, self.map.inverse)

    def _move(self, x: Tensor, c: Tensor | None, f: Any) -> tuple[Tensor, Tensor]:
        if self.stays.ndim == 3:
            return self._move_image(x, c, f)
        seen = clip_for_net(x[:, self.a], self.allow_missing)
        p = self.net(seen if c is None else torch.cat([seen, c], dim=1)).view(len(x), len(self.b), self.map.size)
        moved, log_slope = skip_missing(f, x[:, self.b], p) if self.allow_missing else f(x[:, self.b], p)
        return x.index_copy(1, self.b, moved), log_slope.sum(1)

    def _move_image(self, x: Tensor, c: Tensor | None, f: Any) -> tuple[Tensor, Tensor]:
        stays = self.stays.to(x.dtype).expand_as(x)
        p = self.net(torch.cat([clip_for_net(x, False) * stays, stays], dim=1), c)
        moved, log_slope = f(x, p.unflatten(1, (-1, self.map.size)).movedim(2, -1))
        return torch.where(self.stays, x, moved), torch.where(self.stays, 0.0, log_slope).flatten(1).sum(1)


class Convolutions(nn.Module):
    """Map (B, inputs, H, W) to (B, outputs, H, W): a 3x3 convolution, 1x1 ones, a 3x3 one that starts at zero."""

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int, context_dim: int = 0) -> None:
        super().__init__()
        if context_dim and not len(hidden):
            raise GenusError("A coupling of images sees its context in its first hidden layer; pass hidden=[channels], 64 say.")
        sizes = [inputs, *hidden]
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 1 if i else 3, padding=0 if i else 1) for i, (a, b) in enumerate(zip(sizes, hidden, strict=False))
        )
        self.given = nn.Linear(context_dim, sizes[1], bias=False) if context_dim else None
        self.out = nn.Conv2d(sizes[-1], outputs, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if self.given is not None and i == 0:
                x = x + self.given(c)[:, :, None, None]
            x = F.relu(x)
        return self.out(x)


def halves(dim: int, first: bool = True) -> list[bool]:
    """Return a bool for each of D = dim coordinates: every other one stays, from the first or from the second on.

    >>> halves(3), halves(3, first=False)
    ([True, False, True], [False, True, False])
    """
    return [(i % 2 == 0) == first for i in range(dim)]


def checkerboard(shape: Sequence[int], first: bool = True) -> list[list[list[bool]]]:
    """Return a bool for each pixel of (C, H, W): every other one stays, as on a chessboard.

    >>> checkerboard((1, 2, 3))
    [[[True, False, True], [False, True, False]]]
    """
    channels, height, width = shape
    return [[[((row + column) % 2 == 0) == first for column in range(width)] for row in range(height)] for _ in range(channels)]
