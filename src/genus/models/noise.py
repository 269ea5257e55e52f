"""Noise q(u | x) within the cells of a lattice, which makes a density over the reals a bound on the mass of whole numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.random import rng
from genus.transforms import Affine, Chain, MaskedAutoregressive

__all__ = ["CellNoise"]

MARGIN = 2.0**-12  # of a cell, on either side, where trained noise never falls: numbers are too coarse for its edge


class CellNoise(nn.Module):
    """Noise in D cells: logistic noise, masked affine transforms that see x, and a sigmoid (Ho et al. 2019, arXiv:1902.00275).

    A draw takes one pass, and so does its density. Before training the noise is uniform, but for a margin of each cell.

    Args:
        dim: D, the number of cells.
        feature_dim: the number of features of x and of its context.
        allow_missing: some numbers may have no cell.
        hidden: the widths of the hidden layers of every masked net.
        transforms: the number of transforms.
    """

    def __init__(
        self, dim: int, feature_dim: int, allow_missing: bool = False, hidden: Sequence[int] = (128,), transforms: int = 2
    ) -> None:
        super().__init__()
        self.allow_missing = allow_missing
        orders = [list(range(dim - 1, -1, -1)) if i % 2 else None for i in range(transforms)]
        self.chain = Chain(
            [
                MaskedAutoregressive(dim, hidden, Affine(2.0), feature_dim, order, allow_missing=allow_missing)
                for order in orders
            ]
        )

    def forward(self, present: Tensor, features: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Draw u (B, D) in (0, 1), and return it with log q(u | x) (B,), in nats.

        Args:
            present: bool (B, D), which numbers have a cell; the others do not count.
            features: of x and its context (B, feature_dim).
            noise: uniform numbers (B, D) that u is made of; None: drawn.
        """
        if noise is None:
            noise = torch.rand(present.shape, dtype=features.dtype, device=features.device, generator=rng(features.device))
        first = noise.clamp(min=torch.finfo(noise.dtype).eps).logit()
        first = first.masked_fill(~present, torch.nan) if self.allow_missing else first
        last, log_det = self.chain(first, features)
        log_q = log_logistic(first) - log_logistic(last) - math.log1p(-2 * MARGIN)
        if self.allow_missing:
            log_q, last = torch.where(present, log_q, 0.0), last.nan_to_num(0.0)
        return MARGIN + (1 - 2 * MARGIN) * last.sigmoid(), log_q.sum(1) - log_det


def log_logistic(value: Tensor) -> Tensor:
    """Return the log-density of the logistic distribution, which is the log-slope of a sigmoid."""
    return -F.softplus(value) - F.softplus(-value)
