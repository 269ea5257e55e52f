"""Linear prediction as a transform of sequences."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from genus.nets.prediction import LinearPrediction
from genus.transforms.core import Transform, in_blocks

__all__ = ["Predicted"]


class Predicted(Transform):
    """Map sequences x (B, T) to the errors of linear prediction, z_t = (x_t - a x_{t-taps} ... x_{t-1}) / s.

    In every frame of positions a and s are functions of the context's features (`genus.nets.prediction`). Both ways are fast:
    within a frame the inverse is a triangular system, all of whose frames are solved at once.

    Args:
        taps: the number of elements that the next is predicted from.
        length: of sequences; they may be shorter.
        frame: the number of positions of a frame.
        context_dim: of the context's features.

    >>> predicted = Predicted(taps=3, length=10, frame=4)
    >>> z, log_det = predicted(torch.randn(2, 10))
    >>> z.shape, log_det.shape
    (torch.Size([2, 10]), torch.Size([2]))
    """

    def __init__(self, taps: int, length: int, frame: int, context_dim: int = 0) -> None:
        super().__init__()
        self.prediction = LinearPrediction(taps, length, frame, context_dim)

    def initialise(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        self.prediction.measure(x, c)
        return in_blocks(self, x, c)

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        unit = self.prediction(x, c)
        z = (x.reshape(-1, 1) - unit.loc) / unit.scale
        return z.view(x.shape), -unit.scale.log().view(x.shape).sum(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_slope = self.drawn(z, c)
        return x, log_slope.sum(1)

    def drawn(self, z: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return x and log dx_t/dz_t, (B, T) both, for z (B, T)."""
        frames, taps = self.prediction.frames, self.prediction.taps
        numbers = self.prediction.numbers(c).to(z.dtype).expand(len(z), -1, -1)
        log_slope = frames.spread(numbers[..., -1:], z.shape[1]).squeeze(2)
        size, count = frames.frame, -(-z.shape[1] // frames.frame)
        which = torch.arange(count, device=z.device).clamp(max=numbers.shape[1] - 1)
        a = numbers[:, which, :-1]
        moved = F.pad(z * log_slope.exp(), (0, count * size - z.shape[1])).view(len(z), count, size, 1)
        # Row i of a frame has the coefficients at i ... i + taps - 1 of the elements before the frame and in it.
        band = F.pad(a, (0, size + 1)).repeat(1, 1, size)[..., : size * (taps + size)].unflatten(2, (size, taps + size))
        before, within = band.split([taps, size], dim=3)
        known = torch.linalg.solve_triangular(
            torch.eye(size).to(z) - within, torch.cat([moved, before], dim=3), upper=False, unitriangular=True
        )
        newest, x = z.new_zeros(len(z), taps), []
        for i in range(count):
            x.append(known[:, i, :, 0] + torch.einsum("bik,bk->bi", known[:, i, :, 1:], newest))
            newest = torch.cat([newest, x[-1]], dim=1)[:, -taps:]
        return torch.cat(x, dim=1)[:, : z.shape[1]], log_slope
