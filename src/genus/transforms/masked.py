"""The masked autoregressive transform."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genus.nets.masked import MaskedMLP
from genus.transforms.core import Transform, in_blocks
from genus.transforms.elementary import Permutation, clip_for_net, decorrelation, skip_missing
from genus.transforms.maps import Affine, Map, soft_unclip

__all__ = ["MaskedAutoregressive"]


class MaskedAutoregressive(Transform):
    """Map x to z_i = f(x_i; p_i(x_<i, c)), all p_i by one masked net (Papamakarios et al. 2017, arXiv:1705.07057).

    f is a `Map`, a bijection of one number, and p_i are its parameters: `Affine` has two, a shift and a log-scale. `forward` is
    one pass of the net. `inverse` goes coordinate by coordinate, but computes every hidden unit once, so that it costs about a
    pass too; both have gradients. The net sees coordinates clipped to -10 ... 10, which are standard deviations where data are
    standardised, so that far outside the data the parameters p_i are constant.

    Args:
        dim: the number of coordinates, D.
        hidden: the widths of the masked net's hidden layers.
        map: the map of each coordinate, whose parameters the net gives; affine by default.
        context_dim: the width of the context's features.
        order: the coordinate at every position; 0, 1, ... by default.
        residual, direct, dropout: arguments of the masked net, see `MaskedMLP`.
        allow_missing: whether a coordinate may be NaN, for absent; it then stays NaN, and no other depends on it.

    >>> masked = MaskedAutoregressive(3, (16,), order=[2, 1, 0])
    >>> z, log_det = masked(torch.randn(5, 3))
    >>> z.shape, log_det.shape
    (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int],
        map: Map | None = None,
        context_dim: int = 0,
        order: Sequence[int] | None = None,
        residual: bool = False,
        direct: bool = False,
        dropout: float = 0.0,
        allow_missing: bool = False,
    ) -> None:
        super().__init__()
        self.map = map if map is not None else Affine()
        self.allow_missing = allow_missing
        # Instead of giving the net an order, the coordinates are permuted before it: with its own order its masks are nearly
        # block-triangular, so that the kernel in nets/kernels/blocks.py skips most of the weights that they set to 0.
        # Each coordinate is one input of the net, and has as many outputs as the map has parameters.
        self.net = MaskedMLP([1] * dim, hidden, [self.map.size] * dim, context_dim, dropout, residual, direct)
        self.permutation = Permutation(order) if order is not None else None

    @property
    def order(self) -> list[int]:
        """Return the coordinate at every position."""
        return list(range(self.net.dim)) if self.permutation is None else self.permutation.order.tolist()

    @torch.no_grad()
    def initialise(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Start as the whitening x -> W x, the best that a linear map can do; return z.

        Only a net with a direct map can, and only where the map is affine and nothing is missing; others stay as they are. The
        rows are taken to be centred, as those after an `ActNorm` are.
        """
        self._start_at_whitening(x, inverse=False)
        return in_blocks(self, x, c)

    @torch.no_grad()
    def initialise_inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Start as the map whose inverse whitens z, as `initialise` does; return x."""
        self._start_at_whitening(z, inverse=True)
        return in_blocks(self.inverse, z, c)

    def _start_at_whitening(self, rows: Tensor, inverse: bool) -> None:
        """Start from the linear map that whitens these rows, or whose inverse does."""
        if self.net.direct is None or not isinstance(self.map, Affine) or self.allow_missing:
            return
        whitening = decorrelation(rows if self.permutation is None else self.permutation(rows)[0])
        if inverse:
            whitening = torch.linalg.solve_triangular(whitening, torch.eye(len(whitening)).to(whitening), upper=False)
        # With W the whitening, (W x)_i = (x_i - m_i) exp(-s_i) gives s_i = -log W_ii and m_i = -sum_{j<i} W_ij x_j / W_ii.
        # Outputs alternate m_i, s_i. The map clips s softly, so the bias is the number that is clipped to s.
        scale = 1 / whitening.diagonal()
        self.net.direct.weight[::2] = -whitening.tril(-1) * scale[:, None]
        self.net.out.bias[1::2] = soft_unclip(scale.log(), self.map.bound)

    def elementwise(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z and log|dz_i/dx_i|, both (B, D). Entry i depends on x_i and those before it: later ones may hold anything.

        Args:
            x: (B, D).
            c: (B, context_dim), the context's features; None without a context.
        """
        z, log_slope = self._elementwise_by_position(x, c)
        if self.permutation is None:
            return z, log_slope
        return self.permutation.inverse(z)[0], self.permutation.inverse(log_slope)[0]

    def _elementwise_by_position(self, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return z and log|dz_i/dx_i| as `elementwise` does, but in the net's order."""
        x = x if self.permutation is None else self.permutation(x)[0]
        p = self.net(clip_for_net(x, self.allow_missing), c).unflatten(1, (-1, self.map.size))  # (B, D, parameters of the map)
        return skip_missing(self.map.forward, x, p) if self.allow_missing else self.map.forward(x, p)

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant in one pass of the net.

        Args:
            x: (B, D); NaN where a coordinate is absent, if that is allowed.
            c: (B, context_dim), the context's features; None without a context.

        Returns:
            z (B, D), and log|det dz/dx| (B,) in nats.
        """
        z, log_slope = self._elementwise_by_position(x, c)
        return z if self.permutation is None else self.permutation.inverse(z)[0], log_slope.sum(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return x and the log-determinant, coordinate by coordinate in the order.

        Args:
            z: (B, D); NaN where a coordinate is absent, if that is allowed.
            c: (B, context_dim), the context's features; None without a context.

        Returns:
            x (B, D), and log|det dx/dz| (B,) in nats.
        """
        z = z if self.permutation is None else self.permutation(z)[0]
        p, state = self.net.start(len(z), c)  # p (B, parameters of the map) is that of the first coordinate
        x: list[Tensor] = []
        log_slopes: list[Tensor] = []
        for i, z_i in enumerate(z.unbind(1)):
            x_i, log_slope = skip_missing(self.map.inverse, z_i, p) if self.allow_missing else self.map.inverse(z_i, p)
            x.append(x_i)
            log_slopes.append(log_slope)
            if i + 1 < self.net.dim:  # x_i is now known to the net, which gives the parameters of the next coordinate
                p, state = self.net.step(state, i, clip_for_net(x_i, self.allow_missing).unsqueeze(1))
        in_order, log_det = torch.stack(x, dim=1), torch.stack(log_slopes).sum(0)
        return in_order if self.permutation is None else self.permutation.inverse(in_order)[0], log_det
