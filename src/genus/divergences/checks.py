"""Check what every distance of points asks of them: tensors of one floating type and one shape."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genus.errors import DataError

__all__ = ["check_points"]


def check_points(x: Any, y: Any, least: int = 1, finite: bool = True) -> tuple[Tensor, Tensor]:
    """Return x (N, *shape) and y (M, *shape) as floating-point numbers of the wider of their types.

    Args:
        x, y: points.
        least: the number of points that each needs.
        finite: whether infinite numbers and NaN are refused.

    Raises:
        DataError: not tensors, other shapes, points of no numbers, too few of them, or numbers that are not finite.

    >>> check_points(torch.tensor([[1], [2]]), torch.tensor([[0.5]]))[0].dtype
    torch.float32
    """
    for one in (x, y):
        if not isinstance(one, Tensor):
            raise DataError(f"Points must be tensors; got {type(one).__name__}: torch.as_tensor makes one of numbers.")
    if x.ndim < 1 or x.shape[1:] != y.shape[1:] or not x.shape[1:].numel():
        shapes = f"{tuple(x.shape)} and {tuple(y.shape)}"
        raise DataError(f"Expected points x (N, *shape) and y (M, *shape) of one shape; got {shapes}.")
    if min(len(x), len(y)) < least:
        raise DataError(f"This distance needs {least} or more points in each sample; got {len(x)} and {len(y)}.")
    kind = torch.promote_types(x.dtype, y.dtype)
    kind = kind if kind.is_floating_point else torch.get_default_dtype()
    x, y = x.to(kind), y.to(kind)
    if finite and not (bool(x.isfinite().all()) and bool(y.isfinite().all())):
        raise DataError("Points must be finite numbers; some are not.")
    return x, y
