"""One column of a table given the others, under a model whose joint density is known."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genus.errors import GenusError
from genus.kinds import Kind
from genus.ladder import ApproximateDensity, GenerativeModel, TractableDensity, build_family, map_batches
from genus.ladder.unknown import all_values, with_each_value
from genus.random import isolated
from genus.space import Lattice, Space

__all__ = ["ColumnGiven", "column_given", "points_of"]

MOST_VALUES = 256  # of a column for which the density is computed at every value
POINTS = 256  # points of a column with more values, at which its density given the others is computed
OWN_DRAWS = 5000  # draws of the model, from which the points are made
AT_ONCE = 50_000  # rows times values whose densities are computed together
ROWS = 4096  # rows whose exact densities are computed together
BOUND_SAMPLES = 64  # importance samples of a density that is only bounded
CORRECTED_BY = 512  # the model's own draws by which the weights of a lattice's points are corrected
CERTAIN = 4.0  # a weight is corrected where it is off by so many standard errors
SWEEPS = 20  # the most iterations of that correction; one or two are enough where columns depend little on each other


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
        """Return the index in `values` of the quantile at this level, of each row, (B,), blanks aside."""
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

    p(v | others) is proportional to the joint density with v in the column. A column of few values has it computed for all of
    them. Another has it computed for points, which are quantiles of a distribution q that is fitted to the model's own draws,
    and are weighted by the joint density over q.

    Args:
        model: with a density.
        x: rows (B, D) whose other columns have values, or blanks that are values of their kind.
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
    grid, log_q = points_of(model, c, i) if points is None else points
    blank = grid == kind.missing_value if math.isfinite(kind.missing_value) else grid.isnan()
    if kind.has_unknown and not blanks:
        grid, log_q = grid[~blank], log_q[~blank]
    grid, log_q = grid.double(), log_q.double()

    def joint(rows: Tensor, context: Tensor | None) -> Tensor:
        return _log_joint(model, rows, context, i, grid) - log_q

    log_joint = map_batches(joint, x, c, ROWS if isinstance(model, TractableDensity) else max(1, AT_ONCE // len(grid)))
    evidence = log_joint.logsumexp(1)  # the log-density of the other columns
    log_share = log_joint - evidence[:, None]
    unknown = torch.full((len(x),), math.nan, dtype=torch.float64)
    log_density = map_batches(lambda rows, context: _log_density(model, rows, context), x, c) - evidence if values else unknown
    of_value = log_joint + log_q - evidence[:, None]
    expected = (log_share.exp() * torch.where(log_share > -100, of_value, 0.0)).sum(1)
    exact = has_few_values(kind) and isinstance(model, TractableDensity)
    return ColumnGiven(grid, log_share, log_density, expected, "exact" if exact else "estimate")


def _log_density(model: Any, x: Tensor, c: Tensor | None) -> Tensor:
    """Return the log-density (B,) of rows x (B, D), or an estimate of it."""
    if isinstance(model, TractableDensity):
        return model.log_prob(x, c).double()
    return model.log_evidence(x, c, BOUND_SAMPLES, seed=0).double()


def _log_joint(model: Any, x: Tensor, c: Tensor | None, i: int, values: Tensor) -> Tensor:
    """Return the log-density (B, K) of rows x (B, D) with each of some values (K,) in column i, or an estimate of it."""
    if isinstance(model, TractableDensity):
        return model.log_values(x, i, values, c).double()
    contexts = None if c is None else c.repeat_interleave(len(values), 0)
    return _log_density(model, with_each_value(x, i, values), contexts).view(len(x), len(values))


def has_few_values(kind: Kind) -> bool:
    """Return whether a column has so few values that its distribution is computed at each of them."""
    grid = all_values(kind)
    return grid is not None and len(grid) <= MOST_VALUES


@torch.no_grad()
def points_of(model: GenerativeModel, c: Tensor | None, i: int) -> tuple[Tensor, Tensor]:
    """Return points (K,) of a column, ascending, and log_q (K,): the log of the density q of the points, times their number.

    The sum over the points of a density / exp(log_q) approximates its integral over the column. A column of few values has all
    of them as points, with log_q 0. Another has its atoms, with log_q 0, and quantiles of a distribution q that is fitted to
    the model's draws under contexts c (B, *context.shape).
    """
    kind = model.space.kinds[i]
    grid = all_values(kind)
    if grid is not None and len(grid) <= MOST_VALUES:
        return grid, torch.zeros(len(grid))
    context = None if c is None else c[torch.arange(OWN_DRAWS) % len(c)]
    column = Space([kind])
    with isolated(0, model):
        rows = model.sample(OWN_DRAWS, context, seed=0, blanks=True)
        own = rows[:, i : i + 1].cpu().to(column.dtype)
        q = build_family("independent", column)
        q.observe(own)  # type: ignore[operator]
        q.conclude()  # type: ignore[operator]
    continuous = own if not kind.atoms else own[column.split(own).state[:, 0] == 0]
    count = min(POINTS, len(continuous))
    quantiles = ((torch.arange(count) + 0.5) / max(count, 1) * len(continuous)).long()
    points = continuous.sort(dim=0).values[quantiles]
    log_q = q.log_prob(points).cpu().double() + math.log(max(count, 1) / max(len(continuous), 1) * OWN_DRAWS)  # type: ignore[operator]
    values = torch.cat([points[:, 0].double(), torch.tensor(kind.atoms, dtype=torch.float64)])
    if count and isinstance(kind, Lattice):
        some = None if context is None else context[:CORRECTED_BY]
        log_p = _log_joint(model, rows[:CORRECTED_BY], some, i, values).cpu()
        log_q = _corrected(log_p, log_q, len(continuous) / OWN_DRAWS)
    order = values.argsort()  # a blank is the last
    return values[order], torch.cat([log_q, torch.zeros(len(kind.atoms), dtype=torch.float64)])[order]


def _corrected(log_p: Tensor, log_q: Tensor, continuous_share: float) -> Tensor:
    """Correct log_q (K,) so that each point has the same share of the model's own draws, as quantiles should.

    A lattice has values that repeat more often than their neighbours, in the model or in q: where such a value is a point,
    density / q is many times too large or too small. The share that a point has on average over rows tells by how much, as in
    iterative proportional fitting (Deming & Stephan 1940). What may be chance, since the rows are few, is left as it is.

    Args:
        log_p: (M, K + A) log-densities of M rows that the model drew, with each of the points, then with each of the atoms.
        log_q: (K,) of the points, as of `points_of`.
        continuous_share: the share of the model's draws that are no atoms.
    """
    count, correction, shift = len(log_q), torch.zeros_like(log_q), 0.0
    for _ in range(SWEEPS):
        weights = torch.cat([log_p[:, :count] - log_q - correction - shift, log_p[:, count:]], dim=1)
        share = weights.softmax(1).nan_to_num()  # NaN where nothing is possible beside a row
        points, atoms = share[:, :count], share[:, count:].sum(1)
        mean = points.mean(0).clamp(min=1e-300)
        log_ratio = (mean / mean.median()).log()
        certain = log_ratio.abs() > CERTAIN * points.std(0) / mean / len(share) ** 0.5
        correction += torch.where(certain, log_ratio, 0.0)
        correction -= correction.logsumexp(0) - math.log(count)  # the mean of a density over q at points drawn from q is 1
        if 0.0 < continuous_share < 1.0 and bool((atoms > 0).any()):
            shift += float((points.sum(1).mean() / continuous_share).log() - (atoms.mean() / (1 - continuous_share)).log())
    return log_q + correction + shift
