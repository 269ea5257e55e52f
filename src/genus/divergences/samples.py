"""Distances between two samples, from the points alone: no density, no critic, no training.

Points are the rows of x (N, F) and y (M, F), in whatever units they come; `Space.features` gives standardised ones. Both
distances are tensors, differentiable in x and y, and NaN where a point is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genus.divergences.checks import check_points
from genus.errors import DataError

__all__ = ["energy_distance", "log_spectral_distance", "sliced_wasserstein"]

BLOCK = 2**22  # pairwise distances held at once: 16 MB in float32


def energy_distance(x: Tensor, y: Tensor, *, biased: bool = False) -> Tensor:
    """Return 2 E|X-Y| - E|X-X'| - E|Y-Y'| with Euclidean norms: 0 exactly where the distributions are the same.

    By default the U-statistic, which leaves a point's distance to itself out: it is unbiased, so its size does not depend on
    the number of points, and it falls a little below 0 about half the time when the distributions agree.

    Args:
        x: (N, F), at least two points.
        y: (M, F), likewise.
        biased: the V-statistic instead, the distance of the two empirical distributions themselves: never negative, and too
            large by about (E|X-X'| / N + E|Y-Y'| / M).

    Returns:
        A scalar, in the units of x; the square of SciPy's one-dimensional `energy_distance`.

    Raises:
        DataError: shapes that do not agree, or fewer than two points.

    Székely and Rizzo 2013, Energy statistics, J. Stat. Plan. Inference 143(8).

    >>> x = torch.tensor([[0.0], [1.0]])
    >>> energy_distance(x, x + 3.0)  # 2 * 3 - 1 - 1
    tensor(4.)
    """
    x, y = _check_matrices(x, y, least=1 if biased else 2)
    centre = x.detach().mean(0)  # distances come from a matrix product, which cancels badly far from the origin
    x, y = x - centre, y - centre
    n, m = len(x), len(y)
    pairs_x, pairs_y = (n * n, m * m) if biased else (n * (n - 1), m * (m - 1))
    return 2 * _between(x, y) / (n * m) - 2 * _within(x) / pairs_x - 2 * _within(y) / pairs_y


def sliced_wasserstein(x: Tensor, y: Tensor, *, p: float = 2.0, projections: int = 256, seed: int = 0) -> Tensor:
    """Return the p-Wasserstein distance of random one-dimensional projections, (mean over directions of W_p^p) ** (1/p).

    Directions are uniform on the unit sphere, so for a shift by d in F dimensions W_2 is about |d| / sqrt(F). A distance
    of finite samples overstates that of their distributions: show two halves of the real data beside it.

    Args:
        x: (N, F).
        y: (M, F); M need not be N.
        p: at least 1.
        projections: the number of directions; one suffices where F is 1.
        seed: of the directions, so that two calls compare along the same ones.

    Returns:
        A scalar, in the units of x.

    Raises:
        DataError: shapes that do not agree, no points, p below 1 or no projections.

    Bonneel et al. 2015, Sliced and Radon Wasserstein barycenters of measures, J. Math. Imaging Vis. 51.

    >>> x = torch.tensor([[0.0], [1.0], [5.0]])
    >>> sliced_wasserstein(x, x - 2.0)
    tensor(2.)
    """
    x, y = _check_matrices(x, y, least=1)
    if not 1 <= p < math.inf or projections < 1:
        raise DataError(
            f"sliced_wasserstein needs a finite p >= 1 and a projection or more; got p={p}, projections={projections}."
        )
    directions = torch.randn(projections, x.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    directions = (directions / directions.norm(dim=1, keepdim=True)).to(x)
    a = (directions @ x.T).sort(dim=1).values
    b = (directions @ y.T).sort(dim=1).values
    # The optimal coupling on a line pairs quantiles. Cut the mass into pieces that lie in one point of either sample:
    # at multiples of 1/N and 1/M, here counted in whole units of 1/(NM).
    n, m = len(x), len(y)
    ends = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique().to(x.device)
    mass = torch.diff(ends, prepend=ends.new_zeros(1)).to(x.dtype) / (n * m)
    gaps = (a[:, (ends - 1) // m] - b[:, (ends - 1) // n]).abs()
    cost = ((gaps**p) @ mass).mean()
    return cost ** (1 / p) if p == 1 or cost > 0 else cost  # a root has no slope at 0


def log_spectral_distance(x: Tensor, y: Tensor, window: int = 512) -> Tensor:
    """Return the distance of the power spectra of sounds x and y (B, T): the root mean square over frequencies of the log of
    their ratio, pair by pair, and its mean over pairs; a factor e in power everywhere is 1.

    Power is averaged over time, so it says how loud, how bright and how voiced a sound is, and not when. As an auxiliary loss
    of distillation it cures whispering, with which likelihood alone is content (van den Oord et al. 2018, arXiv:1711.10433).

    Args:
        x, y: sounds, of which each x is compared with its own y.
        window: the number of samples of a frame, half of them shared with the next.

    >>> x = torch.randn(4, 2000, generator=torch.Generator().manual_seed(0))
    >>> log_spectral_distance(x, 2.0 * x)  # log 4
    tensor(1.3863)
    """
    if x.ndim != 2 or x.shape != y.shape or x.shape[1] < window:
        raise DataError(f"Expected sounds x and y (B, T), T at least {window}; got {tuple(x.shape)} and {tuple(y.shape)}.")
    a, b = _log_power(x, window), _log_power(y, window)
    return (a - b).square().mean(1).sqrt().mean()


def _log_power(x: Tensor, window: int) -> Tensor:
    """Return the log of the mean power at every frequency, (B, window / 2 + 1), down to 80 decibels below the whole."""
    frames = x.unfold(1, window, window // 2) * torch.hann_window(window, dtype=x.dtype, device=x.device)
    power = torch.fft.rfft(frames).abs().square().mean(1)
    return (power + 1e-8 * power.detach().mean() + torch.finfo(x.dtype).tiny).log()


def _between(x: Tensor, y: Tensor) -> Tensor:
    """Return the sum of all distances from x to y, in blocks of bounded memory."""
    rows = max(1, BLOCK // len(y))
    return torch.stack([torch.cdist(block, y).sum() for block in x.split(rows)]).sum()


def _within(x: Tensor) -> Tensor:
    """Return the sum of the distances of all unordered pairs in x: each block against itself and what comes after it."""
    rows = max(1, BLOCK // len(x))
    sums = [torch.cdist(x[i : i + rows], x[i:]).triu(1).sum() for i in range(0, len(x), rows)]
    return torch.stack(sums).sum()


def _check_matrices(x: Tensor, y: Tensor, least: int) -> tuple[Tensor, Tensor]:
    x, y = check_points(x, y, least, finite=False)
    if x.ndim != 2:
        raise DataError(f"Expected points x (N, F) and y (M, F) of the same F >= 1; got {tuple(x.shape)} and {tuple(y.shape)}.")
    return x, y
