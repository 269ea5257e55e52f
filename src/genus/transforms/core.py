"""The contract of a transform, and the plain ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Chain", "Normalisation", "Permutation", "Transform"]


class Transform(nn.Module):
    """A bijection of (B, D) to (B, D), perhaps given context features c.

    `forward(x, c) -> (z, log|det dz/dx|)` and `inverse(z, c) -> (x, log|det dx/dz|)`, the log-determinants (B,).
    """

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise TypeError(f"{type(self).__name__} must define inverse(z, c).")


class Permutation(Transform):
    """Reorders coordinates: z_i = x_order[i]. Its log-determinant is 0."""

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)

    order: Tensor

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x[:, self.order], x.new_zeros(len(x))

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z[:, self.order.argsort()], z.new_zeros(len(z))


class Normalisation(Transform):
    """z = (x - shift) exp(-log_scale) for every coordinate, trained; `initialise` makes a batch come out standardised.

    Activation normalisation (Kingma and Dhariwal 2018, arXiv:1807.03039).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(dim))
        self.log_scale = nn.Parameter(torch.zeros(dim))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Shift and scale from the rows x (N, D); a constant coordinate keeps a scale of 1e-3."""
        self.shift.copy_(x.mean(0))
        self.log_scale.copy_(x.std(0, correction=0).clamp(min=1e-3).log())

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (x - self.shift) * torch.exp(-self.log_scale), -self.log_scale.sum().expand(len(x))

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z * torch.exp(self.log_scale) + self.shift, self.log_scale.sum().expand(len(z))


class Chain(Transform):
    """z = f_n(... f_1(x)): the log-determinants add up."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for transform in self.transforms:
            x, log_det = transform(x, c)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = z.new_zeros(len(z))
        for transform in reversed(self.transforms):
            z, log_det = transform.inverse(z, c)  # type: ignore[operator]
            total = total + log_det
        return z, total


def soft_clip(value: Tensor, bound: float) -> Tensor:
    """Smoothly into (-bound, bound), with slope 1 at 0: a log-scale that cannot run away."""
    return value / (1 + (value / bound).abs())


def reversal(dim: int) -> Permutation:
    """The order of coordinates turned round."""
    return Permutation(torch.arange(dim - 1, -1, -1))
