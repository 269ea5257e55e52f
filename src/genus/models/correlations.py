"""Learning the correlations of normal scores, of which many are known as intervals alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from genus.models.recursion import Chains, arrange
from genus.models.scores import LevelScores, NumberScores, Scored, mean_scores
from genus.random import rng
from genus.space import Category

__all__ = ["REORDERED", "learn_correlations"]

SWEEPS = 4  # over the columns whose order is learned
RARE = 10.0  # rows' worth by which the mean of a level is drawn towards that of all
ROWS, CHAINS = 4096, 16  # that a step of EM looks at
STEPS = 20  # of EM, at most
STILL = 2e-3  # the change of all correlations below which EM stands still
FADING = 0.6  # the weight of step t is t^-FADING where it looks at a part of the rows (Cappé and Moulines 2009)
REORDERED = 256  # columns, up to which each row goes through its blanks last
AT_ONCE, LEAST_ROWS = 2**18, 64  # numbers of all chains and columns together, and rows however many columns these have
LEAST_SHRINKAGE = 1e-6


def learn_correlations(
    columns: Sequence[LevelScores | NumberScores],
    x: Tensor,
    order: Sequence[int],
    budget: Callable[[], float],
) -> tuple[Tensor, str]:
    """Put the levels of the columns in order, and learn the correlations of the columns' scores.

    Args:
        columns: the maps from values to scores, whose distributions are known.
        x: rows (N, D) in data units.
        order: of the columns along the chains.
        budget: () -> the seconds that are left.

    Returns:
        (D, D), positive definite, 1 on the diagonal; and why it ended.
    """
    scores = torch.stack([mean_scores(column(x[:, i])) for i, column in enumerate(columns)], dim=1)
    _put_in_order(columns, x, scores)
    moments = scores.T @ scores
    del scores
    known, points = _known_and_points(columns, x)
    moments /= (known.T @ known).clamp(min=1)
    del known
    correlation = _correlation(moments, len(x))
    if points:
        return correlation, "converged"
    scored: list[Scored] = []
    for step in range(1, STEPS + 1):
        if budget() <= 0:
            break
        if len(x) > ROWS or not scored:
            part = x[torch.randperm(len(x), generator=rng())[:ROWS].to(x.device)]
            scored = [column(part[:, i]) for i, column in enumerate(columns)]
        found = _expected_moments(scored, correlation, order, budget)
        share = 1.0 if step == 1 or len(x) <= ROWS else max(step**-FADING, ROWS / len(x))
        moments = torch.lerp(moments, found, share)
        before, correlation = correlation, _correlation(moments, len(x))
        if float((correlation - before).abs().max()) < STILL * (1.0 if len(x) <= ROWS else share):
            return correlation, "converged"
    return correlation, f"{STEPS} steps of EM"


def _expected_moments(
    scored: Sequence[Scored], correlation: Tensor, order: Sequence[int], budget: Callable[[], float]
) -> Tensor:
    """Return the mean of z z' over the rows, given their intervals (D, D): each row's chains are weighted by its density.

    Every row has chains of its own: what places of a fixed set happen to have in common would be taken for a correlation.
    Where the budget ends, the mean is over the rows so far, which are spread over all.
    """
    index = torch.tensor(order, device=correlation.device)
    ordered = correlation[index][:, index]
    blanks = len(order) <= REORDERED and any(bool(_blank(one).any()) for one in scored)
    count, total = len(scored[0].lower), torch.zeros_like(correlation)
    size = max(LEAST_ROWS, AT_ONCE // (max(CHAINS, len(order) if blanks else 0) * len(order)))
    parts, seen = -(-count // size), 0
    for at in range(parts):
        if at and budget() <= 0:
            break
        part = [Scored(*(t[at::parts] for t in scored[i])) for i in order]
        rows = len(part[0].lower)
        seen += rows
        shares = torch.rand(
            rows,
            CHAINS,
            len(order),
            dtype=ordered.dtype,
            device=ordered.device,
            generator=rng(ordered.device),
        )
        blank = torch.stack([_blank(one) for one in part], dim=1) if blanks else None
        steps, factor, shares, places = arrange(part, blank, ordered, shares.clamp(1e-6, 1 - 1e-6))
        chains = Chains(factor, shares, rows)
        for one in steps:
            chains.advance(one)
        z = chains.variables()
        if places is not None:  # back in the order of the columns
            z = torch.empty_like(z).scatter_(2, places[:, None].expand_as(z), z)
        z = z.flatten(0, 1)
        total += z.T @ (z * chains.log_weights.softmax(1).flatten().unsqueeze(1))
    out = torch.zeros_like(total)
    out[index[:, None], index] = total / max(seen, 1)
    return out


def _known_and_points(columns: Sequence[LevelScores | NumberScores], x: Tensor) -> tuple[Tensor, bool]:
    """Return which values of x (N, D) are known, as single-precision 0 and 1, and whether all of them are points."""
    known, points = torch.ones(x.shape, device=x.device), True
    for i, column in enumerate(columns):  # one at a time: wide rows have many intervals
        scored = column(x[:, i])
        known[:, i].masked_fill_(_blank(scored), 0.0)
        points = points and bool(scored.point.all())
    return known, points


def _blank(scored: Scored) -> Tensor:
    """Return which scores (n,) are the whole line: those of blanks that stand for unknown values."""
    return scored.lower.isneginf() & scored.upper.isposinf()


def _correlation(moments: Tensor, rows: int) -> Tensor:
    """Return correlations by mean products of scores (D, D), shrunk towards 0 (Schäfer and Strimmer 2005)."""
    scale = moments.diagonal().clamp(min=1e-12).rsqrt()
    r = moments * scale * scale.unsqueeze(1)
    r = (0.5 * (r + r.T)).clamp(-1.0, 1.0).fill_diagonal_(0.0)
    squares = r.square()
    noise = (1 - squares).square().fill_diagonal_(0.0).sum() / max(rows - 1, 1)  # the variances of the correlations
    shrinkage = float((noise / squares.sum().clamp(min=1e-300)).clamp(LEAST_SHRINKAGE, 1.0))
    out = ((1 - shrinkage) * r).fill_diagonal_(1.0)
    while bool(torch.linalg.cholesky_ex(out).info):
        out = (0.9 * out).fill_diagonal_(1.0)
    return out


def _put_in_order(columns: Sequence[LevelScores | NumberScores], x: Tensor, scores: Tensor) -> None:
    """Order the levels of categories, and choose the end of missing values, by the other columns; scores (N, D) follow."""
    work = [i for i, column in enumerate(columns) if _has_choice(column)]
    if not len(x) or scores.shape[1] < 2:
        return
    for _ in range(SWEEPS if len(work) > 1 else min(len(work), 1)):
        for i in work:
            others = torch.cat([scores[:, :i], scores[:, i + 1 :]], dim=1)
            if isinstance(columns[i].kind, Category):
                _order_levels(columns[i], x[:, i], others)  # type: ignore[arg-type]
            else:
                _place_missing(columns[i], x[:, i], others, scores[:, i])
            scores[:, i] = mean_scores(columns[i](x[:, i]))


def _has_choice(column: LevelScores | NumberScores) -> bool:
    if isinstance(column.kind, Category):
        return column.kind.states - column.kind.has_unknown > 2
    return column.kind.has_missing and not column.kind.has_unknown


def _order_levels(column: LevelScores, x: Tensor, others: Tensor) -> None:
    """Order levels by the combination of the other scores that tells them apart best: Fisher's discriminant."""
    if column.kind.has_unknown:
        known = x != column.kind.missing_value
        x, others = x[known], others[known]
    seen, level = x.long().unique(return_inverse=True)
    counts = torch.bincount(level).double()
    sums = torch.zeros(len(seen), others.shape[1], dtype=others.dtype, device=others.device).index_add_(0, level, others)
    means = sums / (counts + RARE).unsqueeze(1)
    factor = torch.linalg.cholesky(_covariance(others))
    white = torch.linalg.solve_triangular(factor, means.T, upper=False)  # (dim, levels)
    _, vectors = torch.linalg.eigh((white * counts) @ white.T)
    along = white.new_zeros(column.count).index_copy_(0, seen, vectors[:, -1] @ white)
    column.rank.copy_(along.argsort(stable=True).argsort())


def _place_missing(column: LevelScores | NumberScores, x: Tensor, others: Tensor, own: Tensor) -> None:
    """Put missing values at the end at which the other columns expect them."""
    missing = x.isnan()
    if not bool(missing.any()) or bool(missing.all()):
        return
    there = others[~missing]
    slope = torch.linalg.solve(_covariance(others), there.T @ (own[~missing] - own[~missing].mean()))
    above = bool((others[missing] @ slope).mean() > (there @ slope).mean())
    if isinstance(column, NumberScores):
        column.missing_above.fill_(above)
        return
    key = column.values.nan_to_num(math.inf if above else -math.inf)
    column.rank.copy_(key.argsort(stable=True).argsort())


def _covariance(scores: Tensor) -> Tensor:
    """Return the covariance of scores (N, D), with a little more on the diagonal."""
    moments = scores.T @ scores / max(len(scores), 1)
    return moments + 1e-3 * torch.eye(scores.shape[1], dtype=scores.dtype, device=scores.device)
