"""Predict the numbers of a row linearly from those earlier in an order, so that nets begin with what is nearly linear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from genus.errors import DataError
from genus.space import Category, Lattice, Space

__all__ = ["KnownNumbers", "Regression", "LocScale", "regressed"]

ROWS = 20_000  # that covariances are measured on
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the variance of a number; at least a tenth over the rows
NOISE = 0.5  # nats a row, by which a stronger ridge must be better


class LocScale(NamedTuple):
    """Hold where mixtures of numbers stand, and their unit of length, both standardised.

    Attributes:
        loc: (B, D).
        scale: (D,).
    """

    loc: Tensor
    scale: Tensor


class Regression(nn.Module):
    """Hold the regression of every number u of a row on the numbers earlier in each order, and the deviation that it leaves.

    With L the Cholesky factor of the covariance in an order, the residuals are L^-1 (u - mean). Nets see them beside the
    numbers, and mixtures stand at the predictions: a relation that is nearly linear and nearly exact is known before the first
    step, and what is left of it has the size of other inputs. All of it stays as it was measured; nets learn the rest.

    Args:
        space: of the rows.
        orders: how many orders there are.

    >>> from genus import Real
    >>> x = torch.tensor([[-1.0, -2.0], [0.0, 0.0], [1.0, 2.0]])
    >>> regression = Regression(Space([Real(), Real()]))
    >>> regression.measure(x, [[0, 1]])
    >>> regression(x)[0].loc[:, 1].round().tolist()
    [-2.0, 0.0, 2.0]
    """

    mean: Tensor  # (D,)
    weight: Tensor  # (orders, D, D) of the earlier columns (the last axis) in the prediction of each column
    scale: Tensor  # (orders, D) the deviation of each column about its prediction

    def __init__(self, space: Space, orders: int = 1) -> None:
        super().__init__()
        self.space, self.number = space, [not isinstance(kind, Category) for kind in space.kinds]
        alone = {id(kind): Space([kind]) for kind in space.kinds}
        self.alone = [alone[id(kind)] for kind in space.kinds]
        self.register_buffer("mean", torch.zeros(space.dim))
        self.register_buffer("weight", torch.zeros(orders, space.dim, space.dim))
        self.register_buffer("scale", torch.ones(orders, space.dim))

    @torch.no_grad()
    def measure(self, x: Tensor, orders: Sequence[Sequence[int]]) -> None:
        """Set mean, weights and deviations; a covariance is that of the rows that have both numbers.

        Args:
            x: training rows (n, D).
            orders: the columns at all positions, for each order.
        """
        x = x[torch.linspace(0, len(x) - 1, min(len(x), ROWS), device=x.device).long()]
        state, u, *_ = self.space.split(x)
        here = ((state == 0) & torch.tensor(self.number, device=x.device)).double()
        count = here.sum(0).clamp(min=1)
        mean = (u * here).sum(0) / count
        u = (u - mean) * here
        deviation = (u.square().sum(0) / count).sqrt()
        deviation = torch.where(deviation > 1e-6, deviation, 1.0)
        u = u / deviation
        correlation = _ridged(_correlation(u, here), _ridge(u, here), len(x))
        self.mean.copy_(mean)
        for k, order in enumerate(orders):
            at = torch.tensor(order, device=x.device)
            lower, size = torch.linalg.cholesky(correlation[at][:, at]), deviation[at]
            inverse = torch.linalg.solve_triangular(lower, torch.eye(len(at)).to(lower), upper=False)
            weight = -(lower.diagonal()[:, None] * inverse).tril(-1) * size[:, None] / size
            self.weight[k, at[:, None], at] = weight.to(self.weight)
            self.scale[k, at] = (lower.diagonal() * size).to(self.scale)

    def check(self, orders: Sequence[Sequence[int]]) -> None:
        """Raise DataError where numbers that were read are no regressions in these orders."""
        for order, weight, scale in zip(orders, self.weight, self.scale, strict=True):
            at = torch.tensor(order, device=weight.device)
            if bool(weight[at[:, None], at].triu().any()) or not bool((scale > 0).all()):
                raise DataError(
                    "A column is predicted from one that does not come before it, or its deviation is not positive."
                )

    def forward(self, u: Tensor, k: int = 0) -> tuple[LocScale, Tensor]:
        """Return the predictions by the k-th order and what nets see of the residuals, (B, D).

        Args:
            u: the numbers (B, D), 0 where there is none.
            k: the number of the order.
        """
        u = u.to(self.mean.dtype)
        loc = self.mean + (u - self.mean) @ self.weight[k].T
        return LocScale(loc, self.scale[k]), ((u - loc) / self.scale[k]).asinh()  # a few residuals are hundreds of deviations

    def start(self, n: int, k: int = 0) -> KnownNumbers:
        """Return what is known of n rows before their first column, in the k-th order."""
        return KnownNumbers(self, n, k)


def _correlation(u: Tensor, here: Tensor) -> Tensor:
    """Return the correlations (D, D) of standardised numbers u (n, D), 0 where `here` says that there is none."""
    values, vectors = torch.linalg.eigh(u.T @ u / (here.T @ here).clamp(min=1))
    return (vectors * values.clamp(min=0)) @ vectors.T  # pairs of different rows need not make a covariance


def _ridged(correlation: Tensor, ridge: float, n: int) -> Tensor:
    correlation = correlation.clone()
    correlation.diagonal().clamp_(min=1).add_(max(ridge, 0.1 / max(n, 1)))
    return correlation


def _ridge(u: Tensor, here: Tensor) -> float:
    """Return the least ridge under which a normal of one half of the rows likes the other half about best, and conversely.

    Columns that are nearly functions of one another in few rows are predicted too surely without one.
    """
    even, best = torch.arange(len(u), device=u.device) % 2 == 0, dict[float, float]()
    if len(u) < 4:
        return RIDGES[0]
    for ridge in RIDGES:
        values = []
        for rows in (even, ~even):
            lower = torch.linalg.cholesky(_ridged(_correlation(u[rows], here[rows]), ridge, len(u)))
            other = _correlation(u[~rows], here[~rows])
            square = torch.cholesky_solve(other, lower).diagonal().sum()
            values.append(float(-lower.diagonal().log().sum() - 0.5 * square))
        best[ridge] = sum(values) / 2
    return next(ridge for ridge in RIDGES if best[ridge] >= max(best.values()) - NOISE)


class KnownNumbers:
    """Hold the numbers of n rows, column after column as they are drawn.

    Args:
        regression: that predicts each from those before.
        n: rows.
        k: the number of the order.
    """

    def __init__(self, regression: Regression, n: int, k: int) -> None:
        self.regression, self.k = regression, k
        self.u = regression.mean.expand(n, -1).clone()

    def unit(self, column: int) -> LocScale:
        """Return the prediction (n, 1) of a column by those that are known, and its deviation (1,)."""
        own, mean = self.regression, self.regression.mean
        loc = mean[column] + (self.u - mean) @ own.weight[self.k, column]
        return LocScale(loc[:, None], own.scale[self.k, column : column + 1])

    def add(self, column: int, value: Tensor) -> Tensor:
        """Take the values (n, 1) of a column in, and return what nets see of their residuals, (n, 1)."""
        unit, u = self.unit(column), self.regression.alone[column].split(value).u.to(self.u)
        self.u = self.u.index_copy(1, torch.tensor([column], device=u.device), u)
        return ((u - unit.loc) / unit.scale).asinh()


def regressed(space: Space, orders: int = 1) -> Regression | None:
    """Return a regression for a table in which densities of numbers are needed; None for any other space."""
    wide = [not isinstance(k, Category) and not (isinstance(k, Lattice) and k.is_narrow) for k in space.kinds]
    return Regression(space, orders) if space.is_table and any(wide) else None
