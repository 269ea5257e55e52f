"""Linear prediction of sequences of numbers, by filters that hang on where a position is and on the context."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.nets.dilated import Frames
from genus.nets.regression import LocScale

__all__ = ["LinearPrediction", "reflections", "step_up"]

WIDTH = 1024  # of the features of frames; with 512, 69 % of spoken digits drawn by prediction alone are recognised, not 77 %
MOST = 16.0  # of the sum of a filter's log-area ratios: below 24 log 2, the filter is stable when rounded to single precision
LEAST = 1e-5  # the power, of standardised elements, that is added to every frame's where filters are measured
RIDGE = 1e-3  # of the square of a feature, about, where filters are regressed on features
BLOCK = 2**14  # frames that are measured at a time, in double precision


def step_up(k: Tensor) -> Tensor:
    """Return the prediction coefficients of reflection coefficients k (..., taps), the newest element's first, (..., taps).

    The filter 1 / (1 - a_1 z^-1 - a_2 z^-2 ...) of coefficients a is stable, its poles within the unit circle, if and only if
    all of k are between -1 and 1 (Markel and Gray 1976, Linear Prediction of Speech).

    >>> step_up(torch.tensor([0.5, 0.2]))
    tensor([0.4000, 0.2000])
    """
    a = k[..., :1]
    for i in range(1, k.shape[-1]):
        last = k[..., i : i + 1]
        a = torch.cat([a - last * a.flip(-1), last], dim=-1)
    return a


def reflections(r: Tensor) -> tuple[Tensor, Tensor]:
    """Return the reflection coefficients (..., taps) of autocorrelations r (..., taps + 1) from lag 0 on, and the error (...).

    It is the recursion of Levinson and Durbin; the error is the variance that the best prediction leaves.

    >>> reflections(torch.tensor([1.0, 0.5, 0.25]))
    (tensor([0.5000, 0.0000]), tensor(0.7500))
    """
    k, a, error = r[..., :0], r[..., :0], r[..., :1]
    for i in range(1, r.shape[-1]):
        last = (r[..., i : i + 1] - (a * r[..., 1:i].flip(-1)).sum(-1, keepdim=True)) / error
        k, a, error = torch.cat([k, last], -1), torch.cat([a - last * a.flip(-1), last], -1), error * (1 - last.square())
    return k, error.squeeze(-1)


def _bounded(ratios: Tensor) -> Tensor:
    """Return log-area ratios (..., taps) whose absolute values have a sum below MOST, nearly as given where that is small."""
    return ratios / (1 + (ratios.abs().sum(-1, keepdim=True) / MOST) ** 4) ** 0.25


def _unbounded(ratios: Tensor) -> Tensor:
    """Return the log-area ratios (..., taps) of which `_bounded` makes these; their sums must be below MOST."""
    return ratios / (1 - (ratios.abs().sum(-1, keepdim=True) / MOST) ** 4) ** 0.25


class LinearPrediction(nn.Module):
    """Predict every element of a sequence linearly from the newest ones, in every frame by a stable filter of its own.

    In one frame of a sound this is its spectrum (Atal and Hanauer 1971), most of what tells words apart; a net of gates is slow
    to learn so exact a sum, and has little left to learn beside it (Valin and Skoglund 2019, arXiv:1810.11846). Filters are a
    linear map of random features of frame and context, measured in closed form, and stay so; nets learn the rest. Before that
    nothing is predicted.

    The map gives log-area ratios, log((1 + k) / (1 - k)) of reflection coefficients k (Viswanathan and Makhoul 1975): of
    whatever values, they are those of a stable filter. On the unit circle |A| is at least the product of the 1 - |k|, and
    rounding moves A by 2^-24 of that of the 1 + |k| at most. The ratio of these products is exp of the sum of the |ratios|:
    where that is below 2^24, rounding brings no root of A out of the circle (Rouché's theorem). So sums are bounded, smoothly;
    those of speech are 9 or so, seldom above 13.

    Args:
        taps: the number of the newest elements.
        length, frame, context_dim: as of `Frames`.
    """

    filters: Tensor  # of features and 1: log-area ratios, and the logarithm of the scale

    def __init__(self, taps: int, length: int, frame: int, context_dim: int = 0) -> None:
        super().__init__()
        self.taps = taps
        self.frames = Frames(length, frame, WIDTH, context_dim).requires_grad_(False)
        self.register_buffer("filters", torch.zeros(WIDTH + 1, taps + 1))

    @torch.no_grad()
    def measure(self, u: Tensor, c: Tensor | None) -> None:
        """Regress on the features the filters that predict best in each frame of all sequences of one context.

        Their autocorrelations are averaged before the recursion: a mean of filters would not be the best filter of all.

        Args:
            u: standardised sequences (N, T).
            c: the features of their context (N, context_dim).
        """
        alone, rows = u.new_zeros(len(u), 1), max(1, BLOCK // len(self.frames.when))
        given, which, counts = torch.unique(alone if c is None else c, dim=0, return_inverse=True, return_counts=True)
        pooled = u.new_zeros(len(given), len(self.frames.when), self.taps + 1, dtype=torch.float64)
        for sequences, index in zip(u.split(rows), which.split(rows), strict=True):
            pooled.index_add_(0, index, self._autocorrelations(sequences.double()))
        k, error = reflections(pooled / counts.view(-1, 1, 1))
        ratios = 2 * k.clamp(-1 + 1e-9, 1 - 1e-9).atanh()
        ratios = ratios * (0.9 * MOST / ratios.abs().sum(2, keepdim=True)).clamp(max=1)  # a pure tone has none that are finite
        filters = torch.cat([_unbounded(ratios), 0.5 * error.log().unsqueeze(2)], dim=2)
        square, product = RIDGE * torch.eye(WIDTH + 1).to(filters), torch.zeros(WIDTH + 1, self.taps + 1).to(filters)
        for part, of_part, n in zip(given.split(rows), filters.split(rows), counts.split(rows), strict=True):
            h = self._features(None if c is None else part).double()
            weighted = (h * (n / len(u)).view(-1, 1, 1)).flatten(0, 1).T
            square += weighted @ h.flatten(0, 1)
            product += weighted @ of_part.flatten(0, 1)
        self.filters.copy_(torch.linalg.solve(square, product))

    def _autocorrelations(self, u: Tensor) -> Tensor:
        """Return those of every frame of u (N, T), in a window about it, (N, frames, taps + 1)."""
        size, count = self.frames.frame, len(self.frames.when)
        length = max(2 * size, 8 * self.taps)
        before = (length - size) // 2
        windows = F.pad(u, (before, count * size - u.shape[1] + length - size - before)).unfold(1, length, size)
        windows = windows * torch.hann_window(length, periodic=False).to(u) / math.sqrt(0.375 * length)  # of mean square 3/8
        r = torch.fft.irfft(torch.fft.rfft(windows, 2 * length).abs().square())[..., : self.taps + 1]
        return r + F.pad(r.new_full((1,), LEAST), (0, self.taps))

    def _features(self, c: Tensor | None) -> Tensor:
        """Return the features of every frame, and 1, (B or 1, frames, WIDTH + 1)."""
        return F.pad(self.frames(c), (0, 1), value=1.0)

    def windows(self, u: Tensor) -> Tensor:
        """Return the elements before every position, the oldest first, (B, T, taps), of u (B, T); before the first is 0."""
        return F.pad(u, (self.taps, 0)).unfold(1, self.taps, 1)[:, :-1]

    def numbers(self, c: Tensor | None) -> Tensor:
        """Return the coefficients, the oldest element's first, and the log-scale of every frame, (B or 1, frames, taps + 1)."""
        with torch.autocast(self.filters.device.type, enabled=False):
            numbers = self._features(c) @ self.filters
            a = step_up((_bounded(numbers[..., :-1].double()) / 2).tanh())
            return torch.cat([a.flip(-1).to(numbers.dtype), numbers[..., -1:]], dim=-1)

    def of(self, newest: Tensor, numbers: Tensor) -> LocScale:
        """Return location and scale (M, 1) of the elements after windows newest (M, taps), by numbers (M, taps + 1)."""
        loc = torch.linalg.vecdot(newest.to(numbers.dtype), numbers[:, :-1]).unsqueeze(1)
        return LocScale(loc, numbers[:, -1:].exp())

    def forward(self, u: Tensor, c: Tensor | None) -> LocScale:
        """Return locations and scales (B T, 1) of all elements of u (B, T), standardised, given features c (B, context_dim)."""
        numbers = self.frames.spread(self.numbers(c), u.shape[1]).expand(len(u), -1, -1)
        return self.of(self.windows(u).flatten(0, 1), numbers.flatten(0, 1))
