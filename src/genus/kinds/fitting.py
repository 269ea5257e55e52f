"""The chart of a column, chosen by the one-dimensional likelihood of its values.

Candidates are the forms of `charts.FORMS` at a few widths, each perhaps followed by a monotone spline onto the normal. Forms,
which have two parameters each, are compared on the rows themselves; splines on rows that did not make them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from genus.kinds.charts import AFFINE, FORMS, Chart, Charts

__all__ = ["Fit", "fit_chart"]

ROWS = 8192  # of more rows, so many decide
FEW = 50  # fewer rows choose a form and no spline
FORMS_OF_FEW = 2
CLOSE = 0.1  # nats a row by which the second best form is still bent too
GAIN = 0.05  # nats a row that another chart than an affine one must be worth
BENT = 0.02  # nats a row that a spline must be worth beside the same chart without
MANY = 4000  # rows of which one half is enough to score the knots of the other
KNOTS = (8, 16, 24)
RESOLVED = 40.0  # at so many widths the inverse of softplus is the identity in double precision
SPARE = 0.002  # share of draws that an affine chart may put beyond an end of the support
GROUPS = 32  # of rows, by whose shares a normal is tested before anything else is tried
PLACES = 48  # where knots can be: so many by rank, and so many by normal quantiles
GAPS = 6  # the widest gaps between neighbours, at both sides of which knots can be
WORST = -1e6  # nats of a row that a chart has no place for
LEAST_IN_GROUP = 10  # rows of a group that has a normal of its own
LEAST = 3  # rows between neighbouring knots, but at a gap


class Fit(NamedTuple):
    """Holds a chart with the loc and scale that the kind keeps."""

    chart: Chart
    loc: float
    scale: float


class _Column(NamedTuple):
    """Holds the different values of a column's continuous part, ascending, and where they can lie.

    Attributes:
        x, rows: (M,) values, and the rows of each.
        step: of the lattice; 0 for reals.
        low, high: the ends of the support; of a lattice, those of its first and last cell.
    """

    x: np.ndarray
    rows: np.ndarray
    step: float
    low: float
    high: float

    @property
    def total(self) -> float:
        return float(self.rows.sum())

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Return positions, ascending, with the rows below each: half a row lies beyond each end of a lattice's values."""
        below = self.rows.cumsum()
        if not self.step:
            return self.x, below
        ends = self.x[0] - self.step / 2, self.x[-1] + self.step / 2
        middle = (self.x[1:] + self.x[:-1]) / 2
        return np.concatenate([ends[:1], middle, ends[1:]]), np.concatenate([[0.5], below[:-1] + 0.5, below[-1:] + 0.5])


def fit_chart(
    values: np.ndarray,
    low: float = -math.inf,
    high: float = math.inf,
    step: float = 0.0,
    groups: np.ndarray | None = None,
) -> Fit:
    """Return the chart under which values are likeliest, standardised by their robust mean and deviation.

    Where the values fall into groups, such as those of a label, the chart that makes all of them normal may be the wrong one:
    it is kept only if normals, one for each group, like other rows no less under it than under a chart without a spline.

    Args:
        values: (N,) the values of a column off its atoms, at least one.
        low, high: the ends of the support, beyond which no value lies: a half line, an interval or the whole line.
        step: of the lattice that the values lie on, whose outer cells end at `low` and `high`; 0 for reals.
        groups: (N,) whole numbers from 0, the group of each value; None: there are none.
    """
    if len(values) > ROWS:
        part = np.random.default_rng(0).choice(len(values), ROWS, replace=False, shuffle=False)
        values, groups = values[part], None if groups is None else groups[part]
    x, rows = np.unique(values, return_counts=True)
    column = _Column(x, rows, step, low, high)
    plain, few = _affine_fit(column), len(values) < FEW
    if plain is not None and (math.isinf(low) and math.isinf(high) if few else _misfit(column, plain) < BENT / 2):
        return plain
    fits = [_standardised(column, chart) for chart in (_forms(column)[:FORMS_OF_FEW] if few else _forms(column))]
    scored = sorted(((fit, _score(column, fit)) for fit in fits), key=lambda pair: pair[1], reverse=True)
    best, score = scored[0]
    if not few and _misfit(column, best) >= BENT / 2:
        bases = [base for base, own in scored[:2] if own > score - CLOSE]
        best, score = max((best, score), *(_bent(column, base, BENT + score) for base in bases), key=lambda pair: pair[1])
    if plain is not None and score < _score(column, plain) + GAIN:
        return plain
    if groups is None or not best.chart.knots:
        return best
    others = [fit for fit in (plain, scored[0][0]) if fit is not None]
    return max([best, *others], key=lambda fit: _score_in_groups(values, groups, fit))


def _score_in_groups(values: np.ndarray, groups: np.ndarray, fit: Fit) -> float:
    """Return the mean log-density of every second value under a normal in u for each group of the others, in nats."""
    charts = Charts.of([fit])
    u, log_slope = (t[:, 0].numpy() for t in charts.forward(torch.from_numpy(values)[:, None]))
    train, other = slice(None, None, 2), slice(1, None, 2)
    size = int(groups.max()) + 1
    count, first, second = (np.bincount(groups[train], u[train] ** k, size) for k in range(3))
    few = count < LEAST_IN_GROUP  # these have the normal of all
    pooled = [t.sum() for t in (count, first, second)]
    count, first, second = (np.where(few, p, t) for p, t in zip(pooled, (count, first, second), strict=True))
    mean = first / count
    std = np.sqrt((second / count - mean**2).clip(min=1e-6))
    z = (u[other] - mean[groups[other]]) / std[groups[other]]
    return float(np.maximum(log_slope[other] - np.log(std[groups[other]]) - z * z / 2, WORST).mean())


def ndtr(x: np.ndarray | float) -> np.ndarray:
    """Return the normal mass below x."""
    return torch.special.ndtr(torch.as_tensor(x, dtype=torch.float64)).numpy()


def ndtri(p: np.ndarray | float) -> np.ndarray:
    """Return the number below which a normal has the mass p."""
    return torch.special.ndtri(torch.as_tensor(p, dtype=torch.float64)).numpy()


# -- forms ----------------------------------------------------------------------------------------------------------------


def _affine_fit(column: _Column) -> Fit | None:
    """Return the affine chart, or on a half line one that is affine at the data; None where its draws leave the support."""
    fit = _standardised(column, AFFINE)
    outside = ndtr((column.low - fit.loc) / fit.scale) + ndtr((fit.loc - column.high) / fit.scale)
    if outside > SPARE:
        return None
    if column.step or (math.isinf(column.low) and math.isinf(column.high)):
        return fit
    if math.isinf(column.high):
        return _standardised(column, Chart("softplus", column.low, (float(column.x[0]) - column.low) / RESOLVED))
    if math.isinf(column.low):
        return _standardised(column, Chart("softplus", column.high, (float(column.x[-1]) - column.high) / RESOLVED))
    return None


def _forms(column: _Column) -> list[Chart]:
    """Return the forms that suit the support, at a few widths."""
    middle = float(np.median(column.x))
    if math.isfinite(column.low) and math.isfinite(column.high):
        return [Chart("logit", column.low, column.high - column.low)]
    for end in (column.low, column.high):
        if math.isfinite(end):
            size = middle - end
            return [Chart("log", end, math.copysign(1.0, size)), *(Chart("softplus", end, size * w) for w in (0.4, 0.1, 1.5))]
    lower, upper = np.quantile(column.x, [0.25, 0.75])
    width = float(upper - lower) or float(np.ptp(column.x)) or 1.0
    return [AFFINE, *(Chart("asinh", middle, width * w) for w in (0.05, 0.2, 1.0))]


def _form(chart: Chart, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return t of numbers, and log dt/dx."""
    z, form = torch.from_numpy((x - chart.origin) / chart.width), FORMS[chart.form]
    return math.copysign(1.0, chart.width) * form.forward(z).numpy(), form.log_slope(z).numpy() - math.log(abs(chart.width))


def _standardised(column: _Column, chart: Chart) -> Fit:
    """Return a chart with the mean and the deviation of t, outliers pulled in: one absurd value must not squash the rest."""
    t, _ = _form(chart, column.x)
    below = column.rows.cumsum()
    lower, upper = t[np.searchsorted(below, [0.1 * below[-1], 0.9 * below[-1]])]
    if upper > lower:
        t = t.clip(lower - 20 * (upper - lower), upper + 20 * (upper - lower))
    mean = float(column.rows @ t / column.total)
    deviation = math.sqrt(float(column.rows @ (t - mean) ** 2 / column.total))
    slope = math.exp(float(_form(chart, column.x[[len(column.x) // 2]])[1][0])) if column.step else 0.0
    return Fit(chart, mean, max(deviation, column.step * slope / 4) or 1.0)


def _misfit(column: _Column, fit: Fit) -> float:
    """Return about how many nats a row a free density would gain over the normal, by the shares of `GROUPS` groups of rows."""
    place, below = column.places()
    at = np.unique(np.searchsorted(below, np.linspace(0, column.total, GROUPS + 1)[1:-1]).clip(max=len(below) - 1))
    u = (_form(fit.chart, place[at])[0] - fit.loc) / fit.scale
    expected = np.diff(ndtr(u), prepend=0.0, append=1.0)
    share = np.diff(below[at], prepend=0.0, append=column.total) / column.total
    held = share > 0
    return float((share[held] * np.log(share[held] / expected[held].clip(min=1e-300))).sum()) - len(at) / (2 * column.total)


# -- likelihoods ----------------------------------------------------------------------------------------------------------


def _score(column: _Column, fit: Fit) -> float:
    """Return the mean log-density of the values under a chart without spline, in nats."""

    def u(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        t, slope = _form(fit.chart, x)
        return ((t - fit.loc) / fit.scale)[:, None], (slope - math.log(fit.scale))[:, None]

    return float(_mean_log_density(column, u)[0])


def _scores(column: _Column, fits: Sequence[Fit]) -> np.ndarray:
    """Return the mean log-density of the values under each of C charts (C,), in nats."""
    charts = Charts.of(fits)

    def u(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at, slope = charts.forward(torch.from_numpy(np.repeat(x[:, None], len(fits), axis=1)))
        return at.numpy(), slope.numpy()

    return _mean_log_density(column, u)


def _mean_log_density(column: _Column, u: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the mean log-density of the values under charts that give u of numbers (M,), and log du/dx, both (M, C)."""
    if column.step:
        half = column.step / 2
        lower, upper = u((column.x - half).clip(min=column.low))[0], u((column.x + half).clip(max=column.high))[0]
        lower[column.x - half <= column.low + half / 2] = -math.inf
        upper[column.x + half >= column.high - half / 2] = math.inf
        log_density = _log_mass(lower, upper)
    else:
        at, slope = u(column.x)
        log_density = slope - 0.5 * (at * at + math.log(2 * math.pi))
    log_density = np.maximum(np.nan_to_num(log_density, nan=WORST, neginf=WORST), WORST)
    return column.rows @ log_density / column.total


def _log_mass(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Return the log of the normal mass between two numbers."""
    turned = lower > 0
    low, high = np.where(turned, -upper, lower), np.where(turned, -lower, upper)
    with np.errstate(divide="ignore", invalid="ignore"):
        below, above = (torch.special.log_ndtr(torch.from_numpy(at)).numpy() for at in (low, high))
        return above + np.log1p(-np.exp(np.minimum(below - above, 0.0)))


# -- splines --------------------------------------------------------------------------------------------------------------


def _bent(column: _Column, base: Fit, needed: float) -> tuple[Fit, float]:
    """Return the chart with the spline under which rows that did not make it are likeliest, and their mean log-density.

    That is -inf, and the chart the base, where no spline reaches `needed`.
    """
    counts = [k for k in KNOTS if k == KNOTS[0] or k * 10 <= column.total]
    folds = _folds(column)[: 1 if column.total >= MANY else 2]
    scores = np.mean([_scores(other, _splines(part, base, counts)) for part, other in folds], axis=0)
    chosen = int(np.flatnonzero(scores >= scores.max() - BENT / 4)[0])
    if scores[chosen] < needed:
        return base, -math.inf
    return _splines(column, base, counts[chosen : chosen + 1])[0], float(scores[chosen])


def _folds(column: _Column) -> list[tuple[_Column, _Column]]:
    """Return the rows cut into halves, twice: each half for the knots once, and once for the score."""
    rng = np.random.default_rng(1)
    first = rng.binomial(column.rows, 0.5)
    halves = [column._replace(x=column.x[n > 0], rows=n[n > 0]) for n in (first, column.rows - first)]
    return [(halves[0], halves[1]), (halves[1], halves[0])]


def _splines(column: _Column, base: Fit, counts: Sequence[int]) -> list[Fit]:
    """Return the base with splines of so many knots onto the normal, each where they serve the likelihood most."""
    place, below = column.places()
    v, inside = ((_form(base.chart, x)[0] - base.loc) / base.scale for x in (place, column.x))
    sums = np.cumsum(column.rows * inside ** np.arange(3)[:, None], axis=1)  # of 1, v and v squared of the rows below
    sums = np.pad(sums, ((0, 0), (1, 0))) if column.step else sums
    finite = np.flatnonzero(np.isfinite(v))
    kept = finite[np.diff(v[finite], prepend=-math.inf) > 0]
    v, below, sums = v[kept], below[kept], sums[:, kept]
    at, gaps = _candidates(v, below, column.total)
    ways = _segments(v[at], sums[:, at], ndtri(below[at] / (column.total + 1)), gaps, max(counts) - 1)
    found = [base._replace(chart=_knotted(base.chart, v, below, at[way], column.total)) for way in _ways(ways, counts)]
    return found or [base] * len(counts)  # numbers so far apart that no line between them has a likelihood


def _candidates(v: np.ndarray, below: np.ndarray, total: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices at which knots can be, ascending, and which of them a gap follows."""
    last = len(v) - 1
    least = float(ndtri(1 / (total + 1)))
    share = np.concatenate([np.linspace(0, 1, PLACES), ndtr(np.linspace(least, -least, PLACES))])
    at = np.searchsorted(below, share * total).clip(max=last)
    wide = np.argsort(np.diff(v))[-GAPS:] if last > 1 else np.array([], dtype=int)
    wide = wide[(below[wide] > LEAST) & (below[np.minimum(wide + 1, last)] < total - LEAST)]
    at = np.unique(np.concatenate([[0, last], at, wide, wide + 1]))
    return at, np.isin(at, wide)


def _segments(v: np.ndarray, sums: np.ndarray, z: np.ndarray, gaps: np.ndarray, most: int) -> np.ndarray:
    """Return where the last of 1, 2, ... pieces of the best line that ends at each of P places begins, (most, P).

    The best line is the one under which all rows are likeliest. Its log-likelihood is a sum over pieces, so that dynamic
    programming finds it. -1 stands for a place that so many pieces do not reach.
    """
    rows, first, second = sums[:, None, :] - sums[:, :, None]
    ahead = np.triu(np.ones(rows.shape, dtype=bool), 1)
    gap = np.zeros_like(ahead)
    edges = np.flatnonzero(gaps[:-1])
    gap[edges, edges + 1] = True
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (z[None, :] - z[:, None]) / (v[None, :] - v[:, None])
        start = z[:, None] - slope * v[:, None]
        worth = rows * np.log(slope) - 0.5 * (rows * start * start + 2 * start * slope * first + slope * slope * second)
    worth = np.where(ahead & ((rows >= LEAST) | gap), worth, -math.inf)
    best, ways = np.full(len(v), -math.inf), np.zeros((most, len(v)), dtype=int)
    best[0] = 0.0
    for k in range(most):
        sums = best[:, None] + worth
        ways[k] = sums.argmax(0)
        best = sums.max(0)
        ways[k, ~np.isfinite(best)] = -1
    return ways


def _ways(ways: np.ndarray, counts: Sequence[int]) -> list[np.ndarray]:
    """Return the places of the knots of the best lines, found backward from the last place.

    Args:
        ways: as `_segments` returns them.
        counts: of the knots of each line; where so many cannot be, it has the most that can, and there is none without knots.
    """
    possible = np.flatnonzero(ways[:, -1] >= 0)
    out = []
    for count in counts if len(possible) else ():
        pieces = int(possible[possible < count - 1][-1]) if (possible < count - 1).any() else int(possible[0])
        way = [ways.shape[1] - 1]
        for k in range(pieces, -1, -1):
            way.append(int(ways[k, way[-1]]))
        out.append(np.array(way[::-1]))
    return out


def _knotted(chart: Chart, v: np.ndarray, below: np.ndarray, at: np.ndarray, total: float) -> Chart:
    """Return a chart with knots at some places; the slope there is that of the rows halfway to the knots on either side."""
    z = ndtri(below / (total + 1))
    start, end = at[:-1], at[1:]
    middle = np.searchsorted(below, (below[end] + below[start]) / 2)
    rows, log_slope = np.zeros(len(at)), np.zeros(len(at))
    for knot, first, last in (
        (slice(None, -1), start, np.where((middle > start) & (middle <= end), middle, end)),
        (slice(1, None), np.where((middle >= start) & (middle < end), middle, start), end),
    ):
        weight = below[last] - below[first]
        rows[knot] += weight
        log_slope[knot] += weight * np.log((z[last] - z[first]) / (v[last] - v[first]))
    slopes = np.exp(log_slope / rows)
    knots = list(zip(v[at].tolist(), z[at].tolist(), slopes.tolist(), strict=True))
    return Chart(chart.form, chart.origin, chart.width, (*_tail(knots[0], -1), *knots, *_tail(knots[-1], 1)))


def _tail(knot: tuple[float, float, float], side: int) -> list[tuple[float, float, float]]:
    """Return a knot beyond an end where the slope is steep, from which on it is that of the form alone; else none.

    The rows decide how much mass lies beyond them, but not where: under a steep line a new row a little farther out would be
    many deviations away, and its log-density would topple every mean.
    """
    v, u, slope = knot
    return [(v + side, u + side, 1.0)] if slope > 1 else []
