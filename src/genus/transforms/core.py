"""The contract of a transform, and transforms put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from genus.configurable import Configurable
from genus.errors import GenusError

__all__ = ["Chain", "Inverse", "Transform", "in_blocks"]

BLOCK = 2**16  # numbers of the training rows that are mapped at a time where starting values are set


class Transform(Configurable, nn.Module):
    """Map (B, *shape) by a bijection, which may depend on context features c (B, context_dim).

    `forward(x, c) -> (z, log|det dz/dx|)` and `inverse(z, c) -> (x, log|det dx/dz|)`, the log-determinants (B,). A subclass
    gives both. The arguments of its constructor must be JSON values, maps or transforms, so that a model of it can be saved.
    """

    allow_missing: bool = False  # whether a coordinate may be NaN, for absent: it stays NaN, and no other depends on it

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z and log|det dz/dx| (B,) for x (B, *shape), c (B, context_dim) being the context's features."""
        raise TypeError(f"{type(self).__name__} must define forward(x, c).")

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return x and log|det dx/dz| (B,) for z (B, *shape)."""
        raise TypeError(f"{type(self).__name__} must define inverse(z, c).")

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one z, where one x has this shape."""
        return shape

    def shape_before(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one x, where one z has this shape."""
        return shape

    def initialise(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Set the weights that depend on data from the first training rows x (B, *shape), and return their z."""
        return in_blocks(self, x, c)

    def initialise_inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Set the weights that depend on data where `Inverse` maps the training rows, and return their images.

        The training rows then take the place of z, as the argument of `inverse`.
        """
        return in_blocks(self.inverse, z, c)


def in_blocks(map_rows: Callable[..., tuple[Tensor, Tensor]], x: Tensor, c: Tensor | None) -> Tensor:
    """Return the images of rows x (B, *shape), of a block of rows at a time: a spline has 23 numbers for each of theirs."""
    rows = max(1, BLOCK // max(1, x[:1].numel()))
    if len(x) <= rows:
        return map_rows(x, c)[0]
    context = [None] * -(-len(x) // rows) if c is None else c.split(rows)
    return torch.cat([map_rows(*part)[0] for part in zip(x.split(rows), context, strict=True)])


def check_apart(transforms: Sequence[Transform]) -> None:
    """Check that no two transforms share parameters: after saving and loading, each would have parameters of its own.

    Raises:
        GenusError: two of them share parameters.
    """
    owner: dict[int, int] = {}
    for i, transform in enumerate(transforms):
        for parameter in transform.parameters():
            first = owner.setdefault(id(parameter), i)
            if first != i:
                raise GenusError(
                    f"Transforms {first} and {i} are one {type(transform).__name__}, or share parameters, and would come apart"
                    " in a file; make a transform for each place."
                )


class Chain(Transform):
    """Apply transforms one after another, z = f_n(... f_1(x)): the log-determinants add up.

    >>> import torch
    >>> from genus.transforms import ActNorm
    >>> x = torch.randn(100, 2) * 3 + 1
    >>> chain = Chain([ActNorm(2), ActNorm(2)])
    >>> z = chain.initialise(x)
    >>> torch.allclose(chain.inverse(z)[0], x, atol=1e-5)
    True
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        super().__init__()
        check_apart(transforms)
        self.transforms = nn.ModuleList(transforms)
        self.allow_missing = all(transform.allow_missing for transform in transforms)

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

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        for transform in self.transforms:
            shape = transform.shape(shape)  # type: ignore[operator]
        return shape

    def shape_before(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        for transform in reversed(self.transforms):
            shape = transform.shape_before(shape)  # type: ignore[operator]
        return shape

    def initialise(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        for transform in self.transforms:
            x = transform.initialise(x, c)  # type: ignore[operator]
        return x


class Inverse(Transform):
    """Apply a transform the other way round: forward is its inverse. A masked one makes an inverse autoregressive flow.

    >>> import torch
    >>> from genus.transforms import MaskedAutoregressive
    >>> z = torch.randn(4, 3)
    >>> masked = MaskedAutoregressive(3, (8,))
    >>> torch.equal(Inverse(masked)(z)[0], masked.inverse(z)[0])
    True
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform
        self.allow_missing = transform.allow_missing

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.transform.inverse(x, c)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.transform(z, c)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.transform.shape_before(shape)

    def shape_before(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.transform.shape(shape)

    def initialise(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self.transform.initialise_inverse(x, c)
