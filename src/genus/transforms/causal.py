"""The autoregressive transform of sequences in time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genus.nets.dilated import DilatedMemory
from genus.transforms.core import Transform
from genus.transforms.elementary import clip_for_net
from genus.transforms.maps import Affine, Map

__all__ = ["Causal"]


class Causal(Transform):
    """Map x to z_t = f(x_t; p(x_1 ... x_{t-1}, c)) for sequences x (B, T) of any length, p by dilated causal convolutions.

    `forward` is one pass over all positions; `inverse` goes from one to the next by the net's queues. The other way round it
    is an inverse autoregressive flow over time (van den Oord et al. 2018, arXiv:1711.10433). At first it is the identity.

    Args:
        width: of every layer.
        layers: the last looks 2^(layers - 1) positions back.
        map: of every number; affine where not given.
        context_dim: of the context's features.
        frame: the number of positions that share learned features of where they are; 0 for none.
        length: of the sequences, where they have frames.

    >>> causal = Causal(width=8, layers=3)
    >>> z, log_det = causal(torch.randn(2, 50))
    >>> z.shape, log_det.shape
    (torch.Size([2, 50]), torch.Size([2]))
    """

    def __init__(
        self, width: int, layers: int, map: Map | None = None, context_dim: int = 0, frame: int = 0, length: int = 0
    ) -> None:
        super().__init__()
        self.map = map if map is not None else Affine()
        self.token = nn.Linear(1, width)
        self.net = DilatedMemory(width, layers, context_dim=context_dim, frame=frame, length=length)
        self.out = nn.Linear(width, self.map.size)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def initialise(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return x

    def initialise_inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return z  # the inverse starts as the identity too

    def elementwise(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z and the log-slope at every position, (B, T) both."""
        return self.map.forward(x, self.out(self.net(self.token(clip_for_net(x, False).unsqueeze(2)), c)))

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_slope = self.elementwise(x, c)
        return z, log_slope.sum(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h, state = self.net.start(len(z), c)
        x: list[Tensor] = []
        log_det = z.new_zeros(len(z))
        for i, z_i in enumerate(z.unbind(1)):
            x_i, log_slope = self.map.inverse(z_i, self.out(h))
            x.append(x_i)
            log_det = log_det + log_slope
            if i + 1 < z.shape[1]:
                h, state = self.net.step(state, i, self.token(clip_for_net(x_i, False).unsqueeze(1)))
        return torch.stack(x, dim=1), log_det
