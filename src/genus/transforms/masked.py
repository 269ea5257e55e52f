"""The masked autoregressive affine transform."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genus.nets.masked import MaskedMLP
from genus.transforms.core import Transform, soft_clip

__all__ = ["MaskedAffine"]


class MaskedAffine(Transform):
    """z_i = (x_i - m_i(x_<i, c)) exp(-s_i(x_<i, c)) (Papamakarios et al. 2017, arXiv:1705.07057).

    `forward` is one pass; `inverse` goes coordinate by coordinate, and computes every hidden unit once.

    Args:
        dim: D.
        hidden: of the masked net.
        context_dim: of the context's features.
        bound: of the log-scale.
    """

    def __init__(self, dim: int, hidden: Sequence[int], context_dim: int = 0, bound: float = 5.0) -> None:
        super().__init__()
        self.net = MaskedMLP([1] * dim, hidden, [2] * dim, context_dim)
        self.bound = bound

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        m, s = self.net(x, c).unflatten(1, (-1, 2)).unbind(-1)
        s = soft_clip(s, self.bound)
        return (x - m) * torch.exp(-s), -s.sum(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        params, state = self.net.start(len(z), c)
        columns: list[Tensor] = []
        log_det = z.new_zeros(len(z))
        for i in range(self.net.dim):
            if i:
                params, state = self.net.step(state, i - 1, columns[-1].unsqueeze(1))
            s = soft_clip(params[:, 1], self.bound)
            columns.append(z[:, i] * torch.exp(s) + params[:, 0])
            log_det = log_det + s
        return torch.stack(columns, dim=1), log_det
