"""One column of a table given the others, under a model whose joint density is known."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from genus.errors import GenusError
from genus.kinds import Kind
from genus.ladder import ApproximateDensity, GenerativeModel, TractableDensity, build_family, map_batches
from genus.ladder.unknown import all_values, set_columns
from genus.random import isolated
from genus.space import Space

__all__ = ["ColumnGiven", "column_given", "points_of"]

LISTED = 256  # the most values of a column whose densities are all computed
POINTS = 256  # points of a column with more values, at which its density given the others is computed
OWN_DRAWS = 5000  # draws of the model, from which the points are made
AT_ONCE = 50_000  # rows times values whose densities are computed together
ROWS = 4096  # rows whose exact densities are computed together
BOUND_SAMPLES = 64  # importance samples of a density that is only bounded


class ColumnGiven(NamedTuple):
    """Holds the distribution of one column given the other columns of each of B rows.

    Attributes:
        values: (K,) values in data units, ascending where they are numbers, the blank last.
        log_share: (B, K) the log-probability of each value, or of the part of the column that a point stands for.
        log_density: (B,) log p(the row's value | the others), in nats; NaN where the row has no value.
        expected: (B,) the mean log-density of a value drawn from this distribution, in nats.
        label: "exact" where `values` are all values and the density is exact; else "estimate".
    """

    values: Tensor
    log_share: Tensor
    log_density: Tensor
    expected: Tensor
    label: str

    @property
    def mode(self) -> Tensor:
        """Return the likeliest value of each row, (B,)."""
        return self.values[self.log_share.argmax(1)]

    @property
    def mean(self) -> Tensor:
        """Return the mean of each row, (B,), blanks aside."""
        known = ~self.values.isnan()
        share = self.log_share[:, known].softmax(1)
        return share @ self.values[known].to(share)

    def quantile(self, level: float) -> Tensor:
        """Return the index among the values of the quantile at this level of each row, (B,), blanks aside."""
        known = (~self.values.isnan()).nonzero()[:, 0]
        below = self.log_share[:, known].softmax(1).cumsum(1)
        return known[(below < level - 1e-9).sum(1).clamp(max=len(known) - 1)]


@torch.no_grad()
def column_given(
    model: GenerativeModel,
    x: Tensor,
    c: Tensor | None,
    i: int,
    blanks: bool = False,
    values: bool = True,
    points: tuple[Tensor, Tensor] | None = None,
) -> ColumnGiven:
    """Return the distribution of column i given the other columns of rows.

    p(v | others) is proportional to the joint density with v in the column. It is computed for all values of a column of few;
    of other columns for points, which are drawn from a distribution q that is fitted to the model's own draws, and weighted by
    the joint density over q.

    Args:
        model: with a density.
        x: rows (B, D) whose other columns have values or are blanks that the model knows.
        c: their contexts, (B, *context.shape), or None.
        i: the column.
        blanks: whether a blank that stands for an unknown value is among the values.
        values: whether x has values in the column, of which to compute the log-density too.
        points: what `points_of` returned, to use the same points in several calls; None: it is called with these contexts.

    Raises:
        GenusError: the model has no density.
    """
    if not isinstance(model, ApproximateDensity):
        raise GenusError(f"{model.name} has no density, so it cannot tell a column from the others; take mixture or made, say.")
    kind = model.space.kinds[i]
    listed = is_listed(kind)
    grid, log_q = points_of(model, c, i) if points is None else points
    blank = grid == kind.missing_value if math.isfinite(kind.missing_value) else grid.isnan()
    if kind.has_unknown and not blanks:
        grid, log_q = grid[~blank], log_q[~blank]
    grid, log_q = grid.double(), log_q.double()

    def density(rows: Tensor, context: Tensor | None) -> Tensor:
        """Return the log-density (B,) of rows, or an estimate of it."""
        if isinstance(model, TractableDensity):
            return model.log_prob(rows, context).double()
        return model.log_evidence(rows, context, BOUND_SAMPLES, seed=0).double()

    def joint(rows: Tensor, context: Tensor | None) -> Tensor:
        """Return the log-weight (B, K) of every value in the column: its log joint density less log q."""
        if isinstance(model, TractableDensity):
            return model.log_values(rows, i, grid, context).double() - log_q
        repeated = set_columns(rows.repeat_interleave(len(grid), 0), [i], grid.repeat(len(rows))[:, None].to(rows))
        contexts = None if context is None else context.repeat_interleave(len(grid), 0)
        return density(repeated, contexts).view(len(rows), len(grid)) - log_q

    log_joint = map_batches(joint, x, c, ROWS if isinstance(model, TractableDensity) else max(1, AT_ONCE // len(grid)))
    total = log_joint.logsumexp(1)
    log_share = log_joint - total[:, None]
    # Of points, the mean weight is the density of the other columns; of all values, the sum is.
    evidence = total if listed else total - math.log(len(grid))
    log_density = map_batches(density, x, c) - evidence if values else torch.full((len(x),), math.nan, dtype=torch.float64)
    of_value = log_joint + log_q - evidence[:, None]
    expected = (log_share.exp() * torch.where(log_share > -100, of_value, 0.0)).sum(1)
    exact = listed and isinstance(model, TractableDensity)
    return ColumnGiven(grid, log_share, log_density, expected, "exact" if exact else "estimate")


def is_listed(kind: Kind) -> bool:
    """Return whether a column has so few values that its distribution is computed value by value."""
    grid = all_values(kind)
    return grid is not None and len(grid) <= LISTED


def points_of(model: GenerativeModel, c: Tensor | None, i: int) -> tuple[Tensor, Tensor]:
    """Return all values (K,) of a column, or points of it, and log q (K,) of the density that they are drawn from.

    Of all values log q is 0. Points ascend; their density is fitted to the model's draws under contexts c (B, *context.shape).
    """
    grid = all_values(model.space.kinds[i])
    if grid is not None and len(grid) <= LISTED:
        return grid, torch.zeros(len(grid))
    context = None if c is None else c[torch.arange(OWN_DRAWS) % len(c)]
    column = Space([model.space.kinds[i]])
    with isolated(0, model):
        own = model.sample(OWN_DRAWS, context, seed=0, blanks=True)[:, i : i + 1].to(column.dtype)
        q = build_family("independent", column)
        q.observe(own)  # type: ignore[operator]
        q.conclude()  # type: ignore[operator]
        drawn = q.sample(OWN_DRAWS, seed=1, blanks=True)
    ordered = drawn[np.argsort(drawn[:, 0].double().nan_to_num(math.inf).numpy(), kind="stable")]
    quantiles = ((torch.arange(POINTS) + 0.5) / POINTS * OWN_DRAWS).long()
    return ordered[quantiles, 0], q.log_prob(ordered[quantiles])  # type: ignore[operator]
