"""Linear prediction of sequences of numbers, by coefficients that hang on where a position is and on the context."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.nets.dilated import Frames
from genus.nets.regression import Unit

__all__ = ["LinearPrediction"]

WIDTH = 128  # of the features of frames; there are few frames beside positions
LEAST = 1e-5  # the power, of standardised elements, that is added to every window's where windows are weighed


class LinearPrediction(nn.Module):
    """Predict every element of a sequence linearly from the newest ones, in every frame by coefficients of its own.

    In one frame of a sound this is its spectrum (Atal and Hanauer 1971), most of what tells words apart; a net of gates is slow
    to learn so exact a sum, and has little left to learn beside it (Valin and Skoglund 2019, arXiv:1810.11846).

    Args:
        taps: the number of the newest elements.
        length, frame, context_dim: as of `Frames`.
    """

    def __init__(self, taps: int, length: int, frame: int, context_dim: int = 0) -> None:
        super().__init__()
        self.taps = taps
        self.frames = Frames(length, frame, WIDTH, context_dim)
        self.coefficients = nn.Linear(WIDTH, taps + 1)  # and the logarithm of the scale
        nn.init.zeros_(self.coefficients.weight)
        nn.init.zeros_(self.coefficients.bias)
        self.register_buffer("basis", torch.eye(taps))

    basis: Tensor

    @torch.no_grad()
    def measure(self, u: Tensor) -> None:
        """Set the basis in which coefficients are learned: windows of u (N, T), each by its loudness, are white in it."""
        windows = self.windows(u.double()).flatten(0, 1)
        windows = windows / (windows.square().mean(1, keepdim=True) + LEAST).sqrt()
        values, vectors = torch.linalg.eigh(windows.T @ windows / len(windows) + LEAST * torch.eye(self.taps).to(windows))
        self.basis.copy_(vectors / values.sqrt())

    def windows(self, u: Tensor) -> Tensor:
        """Return the elements before every position, the oldest first, (B, T, taps), of u (B, T); before the first is 0."""
        return F.pad(u, (self.taps, 0)).unfold(1, self.taps, 1)[:, :-1]

    def numbers(self, c: Tensor | None) -> Tensor:
        """Return the coefficients and the log-scale of every frame, (B or 1, frames, taps + 1), for context features c."""
        with torch.autocast(self.basis.device.type, enabled=False):
            numbers = self.coefficients(self.frames(c))
            return torch.cat([numbers[..., :-1] @ self.basis.T, numbers[..., -1:]], dim=-1)

    def of(self, newest: Tensor, numbers: Tensor) -> Unit:
        """Return location and scale (M, 1) of the elements after windows newest (M, taps), by numbers (M, taps + 1)."""
        loc = torch.linalg.vecdot(newest.to(numbers.dtype), numbers[:, :-1]).unsqueeze(1)
        return Unit(loc, numbers[:, -1:].exp())

    def forward(self, u: Tensor, c: Tensor | None) -> Unit:
        """Return locations and scales (B T, 1) of all elements of u (B, T), standardised, given features c (B, context_dim)."""
        numbers = self.frames.spread(self.numbers(c), u.shape[1]).expand(len(u), -1, -1)
        return self.of(self.windows(u).flatten(0, 1), numbers.flatten(0, 1))
