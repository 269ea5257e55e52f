"""Elementary transforms, without a net: permutations, scales, linear maps, squashing functions, shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.errors import DataError, GenusError
from genus.transforms.core import Transform
from genus.transforms.maps import Affine, Map

__all__ = ["Elementwise", "Linear", "Logit", "ActNorm", "Permutation", "Reshape", "SoftClip"]

Function = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # x and parameters -> a value and a log-slope for each of x
SHRUNK = 0.1  # times D / N is the weight by which a covariance of N rows is shrunk towards its diagonal
CLIP = 10.0  # nets see numbers clipped to this; in standard deviations, where data are standardised


class Permutation(Transform):
    """Reorder coordinates, or channels: z_i = x_order[i]. Its log-determinant is 0.

    >>> Permutation([2, 0, 1])(torch.tensor([[10.0, 20.0, 30.0]]))[0]
    tensor([[30., 10., 20.]])
    """

    allow_missing = True

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        if sorted(order) != list(range(len(order))):
            raise DataError(f"A permutation names each of {len(order)} coordinates once, from 0; got {list(order)}.")
        self.register_buffer("order", torch.tensor(list(order), dtype=torch.long), persistent=False)
        self.register_buffer("back", self.order.argsort(), persistent=False)

    order: Tensor
    back: Tensor

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._reordered(x, self.order), x.new_zeros(len(x))

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._reordered(z, self.back), z.new_zeros(len(z))

    @staticmethod
    def _reordered(x: Tensor, order: Tensor) -> Tensor:
        return x.movedim(1, 0)[order].movedim(0, 1)  # the layout stays, column after column or not


class ActNorm(Transform):
    """Map x to z = (x - shift) exp(-log_scale) for every coordinate or channel, trained; at first it standardises a batch.

    Activation normalisation (Kingma and Dhariwal 2018, arXiv:1807.03039).

    Args:
        dim: coordinates of x (B, dim), or channels of x (B, dim, height, width).
        allow_missing: whether a coordinate may be NaN, for absent.
    """

    def __init__(self, dim: int, allow_missing: bool = False) -> None:
        super().__init__()
        self.allow_missing = allow_missing
        self.shift = nn.Parameter(torch.zeros(dim))
        self.log_scale = nn.Parameter(torch.zeros(dim))

    @torch.no_grad()
    def initialise(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Give z mean 0 and variance 1, nearly so where rows are few: see `shrinkage`. The least scale is 1e-3."""
        flat = x.movedim(1, -1).reshape(-1, x.shape[1])
        present = ~flat.isnan()
        count = present.sum(0).clamp(min=1)
        mean = torch.where(present, flat, 0.0).sum(0) / count
        share = torch.tensor([shrinkage(n) for n in count.tolist()]).to(flat)
        scale = ((1 - share) * torch.where(present, flat - mean, 0.0).square().sum(0) / count + share).sqrt()
        self.shift.copy_(mean)
        self.log_scale.copy_(scale.clamp(min=1e-3).log())
        return self(x)[0]

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._each(lambda x, p: ((x - p[0]) * torch.exp(-p[1]), -p[1]), x)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._each(lambda z, p: (z * torch.exp(p[1]) + p[0], p[1]), z)

    def elementwise(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z and the log-slope of every coordinate, (B, D)."""
        return self(x)[0], torch.where(x.isnan(), 0.0, -self.log_scale)

    def _each(self, f: Function, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[1] != len(self.shift):
            raise DataError(f"ActNorm({len(self.shift)}) is given {x.shape[1]} coordinates; make it as wide as its input.")
        numbers = torch.stack([self.shift, self.log_scale])
        if self.allow_missing:
            value, log_slope = skip_missing(f, x, numbers)
            return value, log_slope.sum(1)
        value, log_slope = f(x, numbers.view(2, -1, *[1] * (x.ndim - 2)))
        return value, (log_slope.sum() * math.prod(x.shape[2:])).expand(len(x))


class Linear(Transform):
    """Map x to z = P L U x, in coordinates, or in channels at every place of an image: a 1x1 convolution.

    P reorders at random; L is lower triangular with ones on its diagonal, U upper triangular (Kingma &
    Dhariwal 2018, arXiv:1807.03039; Oliva et al. 2018, arXiv:1801.09819). At first L and U are the identity. The
    log-determinant costs O(dim), a value and an inverse O(dim^2).

    Args:
        dim: coordinates of x (B, dim), or channels of x (B, dim, height, width).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("order", torch.randperm(dim))
        self.lower = nn.Parameter(torch.zeros(dim, dim))
        self.upper = nn.Parameter(torch.zeros(dim, dim))
        self.log_diagonal = nn.Parameter(torch.zeros(dim))
        self.register_load_state_dict_post_hook(_check_loaded)

    order: Tensor

    @torch.no_grad()
    def initialise(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Start from the map whose z is uncorrelated and has unit variances on x; return z."""
        whitening = decorrelation(x.movedim(1, -1).reshape(-1, x.shape[1]))
        diagonal = whitening.diagonal()
        self.lower.copy_((whitening / diagonal).tril(-1))
        self.log_diagonal.copy_(diagonal.log())
        return self(x)[0]

    def _factors(self) -> tuple[Tensor, Tensor]:
        eye = torch.eye(len(self.log_diagonal), dtype=self.lower.dtype, device=self.lower.device)
        return self.lower.tril(-1) + eye, self.upper.triu(1) + torch.diag(self.log_diagonal.exp())

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.log_diagonal.sum() * math.prod(x.shape[2:])).expand(len(x))

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._factors()
        weight = (lower @ upper)[self.order]
        z = x @ weight.T if x.ndim == 2 else F.conv2d(x, weight[:, :, None, None])
        return z, self._log_det(x)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._factors()
        flat = z.movedim(1, 0).flatten(1)[self.order.argsort()]  # (dim, every place of every datum)
        flat = torch.linalg.solve_triangular(lower, flat, upper=False, unitriangular=True)
        flat = torch.linalg.solve_triangular(upper, flat, upper=True)
        x = flat.unflatten(1, (len(z), *z.shape[2:])).movedim(0, 1)
        return x, -self._log_det(z)


class Elementwise(Transform):
    """Map every coordinate by itself, with parameters that are learned, or depend on the context.

    Args:
        dim: coordinates.
        map: the map of each coordinate; affine by default.
        context_dim: the width of the context's features, a linear map of which is added to the parameters.
    """

    allow_missing = True

    def __init__(self, dim: int, map: Map | None = None, context_dim: int = 0) -> None:
        super().__init__()
        self.map = map if map is not None else Affine()
        self.numbers = nn.Parameter(torch.zeros(dim, self.map.size))
        self.given = nn.Linear(context_dim, dim * self.map.size, bias=False) if context_dim else None
        if self.given is not None:
            nn.init.zeros_(self.given.weight)

    def _numbers(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self.numbers.expand(len(x), -1, -1) + (
            0 if self.given is None else self.given(c).view(len(x), *self.numbers.shape)
        )

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_slope = skip_missing(self.map.forward, x, self._numbers(x, c))
        return z, log_slope.sum(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_slope = skip_missing(self.map.inverse, z, self._numbers(z, c))
        return x, log_slope.sum(1)


class Logit(Transform):
    """Map the open interval (low, high) to the whole line; numbers nearer to an end than `edge` of its width are moved there.

    Outside the interval the density is 0. In a `Flow` the interval is one of standardised numbers, as its transforms see them.

    >>> Logit(0.0, 10.0)(torch.tensor([[5.0, 10.0]]))[0]
    tensor([[ 0.0000, 13.8023]])
    """

    allow_missing = True

    def __init__(self, low: float = 0.0, high: float = 1.0, edge: float = 1e-6) -> None:
        super().__init__()
        if not low < high:
            raise GenusError(f"Logit needs low < high; got {low} and {high}.")
        self.low, self.high, self.edge = low, high, edge

    def initialise(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        if bool(self._beyond(x).any()):
            found = x[~x.isnan()]
            raise DataError(
                f"Logit({self.low:g}, {self.high:g}) is given numbers from {found.min():.4g} to {found.max():.4g}, and has no"
                " density beyond its interval; in a Flow numbers are standardised: choose an interval around all of them."
            )
        return self(x, c)[0]

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = ((x - self.low) / (self.high - self.low)).clamp(self.edge, 1 - self.edge).logit()
        return z, torch.where(self._beyond(x), -torch.inf, -self._log_slope(z))

    def _beyond(self, x: Tensor) -> Tensor:
        """Return which rows have a number outside, (B,)."""
        return ((x < self.low) | (x > self.high)).flatten(1).any(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.low + (self.high - self.low) * z.sigmoid(), self._log_slope(z)

    def _log_slope(self, z: Tensor) -> Tensor:
        each = math.log(self.high - self.low) - F.softplus(z) - F.softplus(-z)
        return torch.where(z.isnan(), 0.0, each).flatten(1).sum(1)


class SoftClip(Transform):
    """Map x to z = x / (1 + |x / bound|): the whole line into (-bound, bound), with slope 1 at 0.

    >>> SoftClip(3.0)(torch.tensor([[0.0, 1e9]]))[0]
    tensor([[0., 3.]])
    """

    allow_missing = True

    def __init__(self, bound: float = 5.0) -> None:
        super().__init__()
        if bound <= 0:
            raise GenusError(f"SoftClip needs a bound above 0; got {bound}.")
        self.bound = bound

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        each = -2 * torch.log1p((x / self.bound).abs())
        return x / (1 + (x / self.bound).abs()), torch.where(x.isnan(), 0.0, each).flatten(1).sum(1)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        share = 1 - (z / self.bound).abs().clamp(max=1 - 1e-6)
        return z / share, torch.where(z.isnan(), 0.0, -2 * share.log()).flatten(1).sum(1)


class Reshape(Transform):
    """Reshape (B, D) to (B, *shape), so that later transforms see an image."""

    allow_missing = True

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.to_shape = tuple(shape)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.to_shape

    def shape_before(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (math.prod(shape),)

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x.reshape(-1, *self.to_shape), x.new_zeros(len(x))

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z.flatten(1), z.new_zeros(len(z))


def _check_loaded(linear: Linear, keys: Any) -> None:
    """Raise DataError where the permutation P that was read from a file does not name every coordinate once."""
    if sorted(linear.order.tolist()) != list(range(len(linear.order))):
        raise DataError(f"The order of a linear map must name each of {len(linear.order)} coordinates once.")


def shrinkage(n: int) -> float:
    """Return the weight by which a variance of n rows is shrunk to 1: a half for two rows, which may lie close together, and
    1e-5 for a thousand."""
    return min(1 / max(n, 1), 9 / max(n, 1) ** 2)


def decorrelation(x: Tensor) -> Tensor:
    """Return a lower triangular W (D, D) that whitens x (N, D): the covariance of W x is nearly the identity.

    Where rows are few, correlations are shrunk to 0 and variances to 1.
    """
    n, dim = x.shape
    eye, share = torch.eye(dim, dtype=torch.float64, device=x.device), shrinkage(n)
    covariance = (1 - share) * x.double().T.cov(correction=0).reshape(dim, dim) + share * eye if n else eye
    spread = covariance.diagonal().clamp(min=1e-6)
    share = min(1.0, SHRUNK * dim / max(n, 1) + (dim / max(n, 1)) ** 2) + 1e-6
    factor = torch.linalg.cholesky((1 - share) * covariance + share * spread.diag())
    return torch.linalg.solve_triangular(factor, torch.eye(dim, dtype=factor.dtype, device=x.device), upper=False).to(x.dtype)


def skip_missing(f: Function, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """Return a map's f(x, p), values and log-slopes; NaN stays NaN, has a log-slope of 0, and gives no gradient."""
    absent = x.isnan()
    z, log_slope = f(torch.where(absent, 0.0, x), p)
    return torch.where(absent, torch.nan, z), torch.where(absent, 0.0, log_slope)


def clip_for_net(x: Tensor, allow_missing: bool) -> Tensor:
    """Return x as a net sees it: clipped, so that outputs far outside the data are those at the edge; 0 where absent."""
    return torch.nan_to_num(x, 0.0).clamp(-CLIP, CLIP) if allow_missing else x.clamp(-CLIP, CLIP)
