"""Standardise codes: a code's density must not depend on the scale that a net happens to take."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Standard"]


class Standard(nn.BatchNorm1d):
    """Standardise every number of h (B, width): in training by mean and variance of the batch (Ioffe & Szegedy 2015,
    arXiv:1502.03167), else by those of all data so far.

    >>> standard = Standard(2)
    >>> standard.begin(torch.tensor([[1.0, 10.0], [3.0, 30.0]]))
    >>> standard.known(torch.tensor([[3.0, 20.0]])).round(decimals=3)
    tensor([[1., 0.]])
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, affine=False, momentum=0.01)

    def forward(self, h: Tensor) -> Tensor:
        """Return h standardised; a batch of one row, which has no variance, as `known` does."""
        return super().forward(h) if len(h) > 1 else self.known(h)

    def known(self, h: Tensor) -> Tensor:
        """Return h standardised by mean and variance of all data so far, whatever the other rows are."""
        return F.batch_norm(h, self.running_mean, self.running_var, eps=self.eps)

    @torch.no_grad()
    def begin(self, h: Tensor) -> None:
        """Start from these rows."""
        variance, mean = torch.var_mean(h, 0, correction=0)
        self.running_mean.copy_(mean)  # type: ignore[union-attr]
        self.running_var.copy_(variance)  # type: ignore[union-attr]
