"""Increasing maps of one number, whose parameters a net may give: what couplings and masked transforms do to a coordinate."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from genus.configurable import Configurable
from genus.errors import GenusError

__all__ = ["Additive", "Affine", "Map", "Spline"]

LEAST = 1e-3  # the least width and height of a spline's bin, as a share of the interval
STEEPEST = 6.0  # the largest |log of a slope| at a knot


class Map(Configurable):
    """Map x to z = f(x; p), increasing in x, each number of x (...) by its own parameters p (..., size); p = 0 gives z = x.

    `forward(x, p) -> (z, log dz/dx)` and `inverse(z, p) -> (x, log dx/dz)`, all of them shaped as x.

    Attributes:
        size: how many parameters.
    """

    size: int

    def forward(self, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and log dz/dx, both shaped as x."""
        raise TypeError(f"{type(self).__name__} must define forward(x, p).")

    def inverse(self, z: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and log dx/dz, both shaped as z."""
        raise TypeError(f"{type(self).__name__} must define inverse(z, p).")


class Additive(Map):
    """Map x to z = x - m, which preserves volume (Dinh et al. 2015, arXiv:1410.8516).

    >>> Additive().forward(torch.tensor([3.0]), torch.tensor([[1.0]]))
    (tensor([2.]), tensor([0.]))
    """

    size = 1

    def forward(self, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        return x - p[..., 0], torch.zeros_like(x)

    def inverse(self, z: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        return z + p[..., 0], torch.zeros_like(z)


class Affine(Map):
    """Map x to z = (x - m) exp(-s), the log-scale s kept smoothly within a bound.

    Args:
        bound: the largest |s|.

    >>> z, log_slope = Affine().forward(torch.tensor([3.0]), torch.tensor([[1.0, 1e9]]))
    >>> log_slope  # however large the net's number is
    tensor([-5.])
    """

    size = 2

    def __init__(self, bound: float = 5.0) -> None:
        self.bound = bound

    def forward(self, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        m, s = p.unbind(-1)
        s = soft_clip(s, self.bound)
        return (x - m) * torch.exp(-s), -s

    def inverse(self, z: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        m, s = p.unbind(-1)
        s = soft_clip(s, self.bound)
        return m + z * torch.exp(s), s


class Spline(Map):
    """Map x by a monotonic rational-quadratic spline within (-bound, bound), by the identity outside (Durkan et al. 2019,
    arXiv:1906.04032).

    Args:
        bins: the number of bins; every knot between two of them has a slope of its own.
        bound: the end of the interval. Both directions are computed on numbers clipped into it, so that none outside makes NaN.

    >>> spline = Spline(bins=4)
    >>> x, p = torch.tensor([-1.0, 0.5, 1e9]), torch.linspace(-1, 1, 3 * spline.size).view(3, -1)
    >>> z, log_slope = spline.forward(x, p)
    >>> torch.allclose(spline.inverse(z, p)[0], x, atol=1e-4), log_slope[2]
    (True, tensor(0.))
    """

    def __init__(self, bins: int = 8, bound: float = 5.0) -> None:
        if bins < 2 or bound <= 0 or bins * LEAST >= 1:
            raise GenusError(f"A spline needs between 2 and {1 / LEAST:.0f} bins and a bound above 0; got {bins} and {bound}.")
        self.bins, self.bound, self.size = bins, bound, 3 * bins - 1

    def forward(self, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        inside, at = x.abs() < self.bound, x.clamp(-self.bound, self.bound)
        left, width, low, height, first, last = self._bins(at, p, by_value=True)
        share = (at - left) / width
        slope, rest = height / width, share * (1 - share)
        below = slope + (first + last - 2 * slope) * rest
        z = low + height * (slope * share.square() + first * rest) / below
        rise = last * share.square() + 2 * slope * rest + first * (1 - share).square()
        log_slope = 2 * (slope / below).log() + rise.log()
        return torch.where(inside, z, x), torch.where(inside, log_slope, 0.0)

    def inverse(self, z: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        inside, at = z.abs() < self.bound, z.clamp(-self.bound, self.bound)
        left, width, low, height, first, last = self._bins(at, p, by_value=False)
        slope, above = height / width, at - low
        bend = first + last - 2 * slope
        # The quadratic is divided by the bin's height, since in low bins its coefficients would be tiny.
        above = above / height
        a = slope - first + above * bend
        b = first - above * bend
        c = -slope * above
        root = (b.square() - 4 * a * c).clamp(min=1e-30).sqrt()  # sqrt has no finite gradient at 0
        share = (2 * c / (-b - root)).clamp(0, 1)
        rest = share * (1 - share)
        below = slope + bend * rest
        rise = last * share.square() + 2 * slope * rest + first * (1 - share).square()
        log_slope = -2 * (slope / below).log() - rise.log()
        return torch.where(inside, left + width * share, z), torch.where(inside, log_slope, 0.0)

    def _bins(self, at: Tensor, p: Tensor, by_value: bool) -> tuple[Tensor, ...]:
        """Return left end, width, lower end and height of each number's bin, and the slopes at both ends."""
        widths, heights, slopes = p.split([self.bins, self.bins, self.bins - 1], dim=-1)
        (lefts, widths), (lows, heights) = self._cut(widths), self._cut(heights)
        slopes = F.pad(soft_clip(slopes, STEEPEST).exp(), (1, 1), value=1.0)
        ends = lefts if by_value else lows
        index = (at.unsqueeze(-1) >= ends[..., 1:]).sum(-1, keepdim=True)
        of_bins = (lefts, widths, lows, heights, slopes, slopes[..., 1:])
        return tuple(values.gather(-1, index).squeeze(-1) for values in of_bins)

    def _cut(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the pieces of the interval begin, and how wide they are, (..., bins) each."""
        share = LEAST + (1 - LEAST * self.bins) * numbers.softmax(-1)
        width = 2 * self.bound * share
        return F.pad(width[..., :-1].cumsum(-1), (1, 0)) - self.bound, width


def soft_clip(value: Tensor, bound: float) -> Tensor:
    """Return the value moved smoothly into (-bound, bound), with slope 1 at 0: a log-scale that cannot run away."""
    return value / torch.add(1.0, value.abs(), alpha=1 / bound)


def soft_unclip(value: Tensor, bound: float) -> Tensor:
    """Return the number that `soft_clip` maps to this value; within 5 % of the bound, where it grows fast, a smaller one."""
    return value / (1 - (value / bound).abs().clamp(max=0.95))
