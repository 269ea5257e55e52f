"""q(u | x): where in its cell a whole number is put, so that a density over the reals is a bound on its mass."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.transforms import Affine, Chain, MaskedAutoregressive

__all__ = ["CellNoise"]

MARGIN = 2.0**-12  # of a cell, on either side, where trained noise never falls: numbers are too coarse for its edge


class CellNoise(nn.Module):
    """Places in D cells, by masked affine transforms of logistic noise that see x, and a sigmoid (Ho et al. 2019,
    arXiv:1902.00275): drawing is one pass, and so is the density of what was drawn.

    At birth places are uniform, but for the margin of a cell.

    Args:
        dim: D.
        feature_dim: how many numbers are seen of x, and of its condition.
        allow_missing: some numbers may have no cell.
        hidden: widths of every masked net.
        transforms: how many.
    """

    def __init__(
        self, dim: int, feature_dim: int, allow_missing: bool = False, hidden: Sequence[int] = (128,), transforms: int = 2
    ) -> None:
        super().__init__()
        self.allow_missing = allow_missing
        turned = list(range(dim - 1, -1, -1))
        self.chain = Chain(
            [
                MaskedAutoregressive(
                    dim, hidden, Affine(2.0), feature_dim, turned if i % 2 else None, allow_missing=allow_missing
                )
                for i in range(transforms)
            ]
        )

    def forward(self, there: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """there (B, D), which numbers have a cell; features (B, F) -> u (B, D), in (0, 1), and log q(u | x) (B,) of those."""
        share = torch.rand(there.shape, dtype=features.dtype, device=features.device)
        first = share.clamp(min=torch.finfo(share.dtype).eps).logit()
        first = first.masked_fill(~there, torch.nan) if self.allow_missing else first
        last, log_det = self.chain(first, features)
        log_q = log_logistic(first) - log_logistic(last) - math.log1p(-2 * MARGIN)
        if self.allow_missing:
            log_q, last = torch.where(there, log_q, 0.0), last.nan_to_num(0.0)
        return MARGIN + (1 - 2 * MARGIN) * last.sigmoid(), log_q.sum(1) - log_det


def log_logistic(value: Tensor) -> Tensor:
    """The log-density of the logistic distribution, and the log-slope of a sigmoid."""
    return -F.softplus(value) - F.softplus(-value)
