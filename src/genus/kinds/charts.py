"""Charts, the monotone maps from the numbers of a column to numbers that are roughly standard normal.

A chart is u = g((t((x - origin) / width) - loc) / scale): t is one of a few forms, which decides where x can lie, and g is the
identity or a monotone spline. Many columns are mapped at once, the columns of one form together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from genus.errors import DataError

__all__ = ["AFFINE", "Chart", "Charts"]

LARGEST = 300.0  # the greatest |t| that is exponentiated, so that the square of what comes of it is finite


class Form(NamedTuple):
    """Holds a monotone function t(z), its inverse, log dt/dz in nats, and the z at which t is finite."""

    forward: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor]
    log_slope: Callable[[Tensor], Tensor]
    low: float
    high: float


def _logit_slope(z: Tensor) -> Tensor:
    return -z.log() - torch.log1p(-z)


# "softplus" is the inverse of softplus: the logarithm near 0, and the identity from a few units on.
FORMS = {
    "affine": Form(lambda z: z, lambda t: t, torch.zeros_like, -math.inf, math.inf),
    "log": Form(torch.log, lambda t: t.clamp(-LARGEST, LARGEST).exp(), lambda z: -z.log(), 0.0, math.inf),
    "softplus": Form(
        lambda z: z + torch.log(-torch.expm1(-z)), F.softplus, lambda z: -torch.log(-torch.expm1(-z)), 0.0, math.inf
    ),
    "logit": Form(torch.logit, torch.sigmoid, _logit_slope, 0.0, 1.0),
    "asinh": Form(
        torch.asinh, lambda t: t.clamp(-LARGEST, LARGEST).sinh(), lambda z: -0.5 * torch.log1p(z * z), -math.inf, math.inf
    ),
}


@dataclass(frozen=True)
class Chart:
    """Describes the form of a column's chart, and so the support: where a number of the column can lie.

    t is z for "affine", log z for "log", the inverse of softplus for "softplus", logit z for "logit", and asinh z for "asinh",
    of z = (x - origin) / width. Then v = (t - loc) / scale, where loc and scale stand in the kind, and u is a monotone
    rational-quadratic spline of v (Durkan et al. 2019, arXiv:1906.04032) through the knots, straight beyond their ends.

    Args:
        form: "affine", "log", "softplus", "logit" or "asinh".
        origin, width: of z. A negative width turns a half line round: the support of "log" then lies below the origin.
        knots: (v, u, du/dv) of each knot, ascending; none for the identity.

    >>> Chart("log").support
    (0.0, inf)
    >>> Chart("logit", 0.0, 100.0).support
    (0.0, 100.0)
    """

    form: str = "affine"
    origin: float = 0.0
    width: float = 1.0
    knots: tuple[tuple[float, float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise DataError(f"The form of a chart is {', '.join(FORMS)}; got {self.form!r}.")
        if not (math.isfinite(self.origin) and math.isfinite(self.width) and self.width != 0):
            raise DataError(f"A chart needs a finite origin and a width other than 0; got {self.origin} and {self.width}.")
        if self.width < 0 and self.form not in ("log", "softplus"):
            raise DataError(f"The width of a chart of form {self.form!r} is positive; got {self.width}.")
        knots = tuple((float(v), float(u), float(slope)) for v, u, slope in self.knots)
        if len(knots) == 1:
            raise DataError("A chart's spline has two knots or more, or none.")
        rises = all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(knots))
        if not (rises and all(math.isfinite(v) and math.isfinite(u) and 0 < s < math.inf for v, u, s in knots)):
            raise DataError("The knots of a chart need to be finite, to rise in v and in u, and to have positive slopes.")
        object.__setattr__(self, "knots", knots)

    @property
    def is_affine(self) -> bool:
        """Return whether u is an affine function of x."""
        return self.form == "affine" and not self.knots

    @property
    def grows(self) -> bool:
        """Return whether x grows exponentially with u, so that what is a few deviations in u is thousands in x."""
        return self.form in ("log", "asinh")

    @property
    def support(self) -> tuple[float, float]:
        """Return the least and the greatest number of the support; infinite where it has no end."""
        ends = (self.origin + self.width * FORMS[self.form].low, self.origin + self.width * FORMS[self.form].high)
        return min(ends), max(ends)

    def to_json(self) -> dict[str, Any]:
        """Return the chart as plain JSON values, without those that are as usual."""
        named = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in named if value != getattr(Chart, name)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Chart:
        """Return the chart that `to_json` described."""
        return cls(**{**data, "knots": tuple(map(tuple, data.get("knots", ())))})


AFFINE = Chart()


class Charts(NamedTuple):
    """Holds the charts of D columns as tensors.

    Attributes:
        origin, width, loc, scale: (D,).
        forms: of each form but "affine" that occurs, its name and the columns that have it.
        curved: (S,) the columns with a spline.
        knots: (3, S, K) v, u and du/dv of their knots; where a column has fewer, its last piece goes on in a straight line.
    """

    origin: Tensor
    width: Tensor
    loc: Tensor
    scale: Tensor
    forms: tuple[tuple[str, Tensor], ...]
    curved: Tensor
    knots: Tensor

    @classmethod
    def of(cls, owners: Sequence[Any]) -> Charts:
        """Return the charts of D columns as tensors, in double precision, on the processor whatever the default is.

        Args:
            owners: of each column a kind, or a `Fit`: what has a chart, a loc and a scale.
        """
        charts = [owner.chart for owner in owners]
        columns: dict[str, list[int]] = {}
        for i, chart in enumerate(charts):
            columns.setdefault(chart.form, []).append(i)
        columns.pop("affine", None)
        curved = [i for i, chart in enumerate(charts) if chart.knots]
        depth = max((len(charts[i].knots) for i in curved), default=0)
        padded = [_padded(charts[i].knots, depth) for i in curved]
        with torch.device("cpu"):
            numbers = [(owner.chart.origin, owner.chart.width, owner.loc, owner.scale) for owner in owners]
            origin, width, loc, scale = torch.tensor(numbers, dtype=torch.float64).reshape(-1, 4).T.contiguous()
            return cls(
                origin,
                width,
                loc,
                scale,
                tuple((form, torch.tensor(at, dtype=torch.long)) for form, at in columns.items()),
                torch.tensor(curved, dtype=torch.long),
                torch.tensor(padded, dtype=torch.float64).reshape(len(curved), depth, 3).permute(2, 0, 1).contiguous(),
            )

    @property
    def is_affine(self) -> bool:
        """Return whether every chart is affine: the slopes then are the same for all rows."""
        return len(self.forms) + len(self.curved) == 0

    def to(self, device: torch.device, dtype: torch.dtype) -> Charts:
        """Return the charts on a device; in this type if all are affine, otherwise in double precision."""
        dtype = dtype if self.is_affine else torch.float64
        forms = tuple((form, at.to(device)) for form, at in self.forms)
        origin, width, loc, scale, knots = (t.to(device, dtype) for t in (*self[:4], self.knots))
        return Charts(origin, width, loc, scale, forms, self.curved.to(device), knots)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return u (..., D) of numbers x (..., D), and log du/dx, in nats; NaN beyond the support, infinite at its ends."""
        if self.is_affine:
            return (x - self.loc) / self.scale, (-self.scale.log()).expand(x.shape)
        t = (x.double() - self.origin) / self.width
        log_slope = (-(self.width.abs() * self.scale).log()).expand(x.shape)
        for form, at in self.forms:
            z, sign = t.index_select(-1, at), self.width[at].sign()
            t = t.index_copy(-1, at, sign * FORMS[form].forward(z))
            log_slope = log_slope.index_add(-1, at, FORMS[form].log_slope(z))
        u = (t - self.loc) / self.scale
        if len(self.curved):
            bent, bend = self._spline(u.index_select(-1, self.curved))
            u, log_slope = u.index_copy(-1, self.curved, bent), log_slope.index_add(-1, self.curved, bend)
        return u, log_slope

    def inverse(self, u: Tensor) -> Tensor:
        """Return the numbers x (..., D) of u (..., D)."""
        if self.is_affine:
            return u * self.scale + self.loc
        v = u.double()
        if len(self.curved):
            v = v.index_copy(-1, self.curved, self._spline_inverse(v.index_select(-1, self.curved)))
        t = v * self.scale + self.loc
        for form, at in self.forms:
            t = t.index_copy(-1, at, FORMS[form].inverse(self.width[at].sign() * t.index_select(-1, at)))
        return t * self.width + self.origin

    def _pieces(self, x: Tensor, ends: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return v, u and slope at the left and at the right end of the piece of each of x (..., S), by `ends` (S, K)."""
        flat = x.reshape(-1, x.shape[-1]).T.contiguous()
        piece = torch.searchsorted(ends[:, 1:-1].contiguous(), flat.detach(), right=True)  # (S, N), 0 to K - 2
        left = tuple(knots.gather(1, piece).T.reshape(x.shape) for knots in self.knots)
        right = tuple(knots.gather(1, piece + 1).T.reshape(x.shape) for knots in self.knots)
        return left, right

    def _spline(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return u (..., S) of v (..., S), and log du/dv."""
        (v0, u0, d0), (v1, u1, d1) = self._pieces(v, self.knots[0])
        below, above = v < v0, v > v1  # only beyond the first and the last knot
        mean = (u1 - u0) / (v1 - v0)
        at = ((v - v0) / (v1 - v0)).clamp(0.0, 1.0)
        middle, rest = at * (1 - at), 1 - at
        bottom = mean + (d0 + d1 - 2 * mean) * middle
        u = u0 + (u1 - u0) * (mean * at * at + d0 * middle) / bottom
        slope = mean * mean * (d1 * at * at + 2 * mean * middle + d0 * rest * rest) / (bottom * bottom)
        u = torch.where(below, u0 + d0 * (v - v0), torch.where(above, u1 + d1 * (v - v1), u))
        return u, torch.where(below, d0, torch.where(above, d1, slope)).log()

    def _spline_inverse(self, u: Tensor) -> Tensor:
        """Return v (..., S) of u (..., S): the root of a quadratic within each piece."""
        (v0, u0, d0), (v1, u1, d1) = self._pieces(u, self.knots[1])
        rise, mean = u1 - u0, (u1 - u0) / (v1 - v0)
        done = (u - u0).clamp(min=0.0).minimum(rise)
        bend = done * (d0 + d1 - 2 * mean)
        a, b, c = rise * (mean - d0) + bend, rise * d0 - bend, -mean * done
        at = 2 * c / (-b - (b * b - 4 * a * c).clamp(min=0.0).sqrt())
        v = v0 + at.clamp(0.0, 1.0) * (v1 - v0)
        return torch.where(u < u0, v0 + (u - u0) / d0, torch.where(u > u1, v1 + (u - u1) / d1, v))


def _padded(knots: Sequence[tuple[float, float, float]], depth: int) -> list[tuple[float, float, float]]:
    """Return knots, continued by a straight line of the last slope until there are `depth` (two at least)."""
    out = list(knots)
    while len(out) < depth:
        v, u, slope = out[-1]
        out.append((v + 1.0, u + slope, slope))
    return out
