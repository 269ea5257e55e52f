"""Codes on one scale."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Standard"]


class Standard(nn.BatchNorm1d):
    """h (B, width) -> each number with mean 0 and variance 1: in training those of the batch (Ioffe & Szegedy 2015,
    arXiv:1502.03167), else those of all data so far. A code's density must not depend on the scale that a net happens to take.

    >>> standard = Standard(2)
    >>> standard.begin(torch.tensor([[1.0, 10.0], [3.0, 30.0]]))
    >>> standard.known(torch.tensor([[3.0, 20.0]])).round(decimals=3)
    tensor([[1., 0.]])
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, affine=False, momentum=0.01)

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h) if len(h) > 1 else self.known(h)  # one row has no variance

    def known(self, h: Tensor) -> Tensor:
        """By what is known so far of all data, whatever the other rows are."""
        return F.batch_norm(h, self.running_mean, self.running_var, eps=self.eps)

    @torch.no_grad()
    def begin(self, h: Tensor) -> None:
        """Start from these rows."""
        variance, mean = torch.var_mean(h, 0, correction=0)
        self.running_mean.copy_(mean)  # type: ignore[union-attr]
        self.running_var.copy_(variance)  # type: ignore[union-attr]
