"""The earth mover's distance by its definition: the cheapest of all couplings, exact.

W_p(p, q) = inf over couplings of p and q of (E |x - y|^p)^(1/p) (Villani 2009, Optimal transport: old and new).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from genus.divergences.checks import check_points
from genus.errors import DataError, GenusError

__all__ = ["Metric", "Points", "Transport", "costs", "pair", "transport"]

Points = Tensor | tuple[Tensor, Tensor]
Metric = str | Callable[[Tensor, Tensor], Tensor]

PAIRS = 10**8  # that are weighed against one another at once: 800 MB
DIRECTIONS = 8.0  # in which points must vary for the assignment to be faster than the network simplex
TOLERANCE = 1e-9  # of the coupling's marginals, as a share of all mass
HIGHEST = 16  # order: beyond it powers of distances of 1 and 1/10 differ by more than double precision can tell
GAP = 1e-6  # a share of the cost, by which the coupling found may be dearer than the best
CRUMB = 1e-14  # a share of mass that is a rounding error


class Transport(NamedTuple):
    """Hold the cheapest way to move the mass of x to y, as moves, of which there are at most N + M - 1.

    Attributes:
        distance: W_p, a scalar; gradients in the points go through it, the coupling held fixed, which is exact.
        source, target: (K,), the point of x that goes to a point of y.
        mass: (K,), how much, as a share of all mass.
        shape: (N, M).
    """

    distance: Tensor
    source: Tensor
    target: Tensor
    mass: Tensor
    shape: tuple[int, int]

    @property
    def coupling(self) -> Tensor:
        """Return the coupling (N, M), float64: rows sum to the weights of x, columns to those of y."""
        return torch.zeros(self.shape, dtype=torch.float64).index_put((self.source, self.target), self.mass, accumulate=True)


def transport(x: Points, y: Points, order: float = 1.0, metric: Metric = "euclidean") -> Transport:
    """Return the exact optimal coupling of two sets of points, and the distance W_p that it takes.

    On a line it pairs quantiles, in time N log N. Otherwise it is a linear program of N M unknowns, solved by POT's network
    simplex (Bonneel et al. 2011), or, of as many points of equal weight in many dimensions, by SciPy's assignment, which is
    several times faster when it starts from potentials that a few Sinkhorn steps give it.

    Args:
        x: (N, F) or (N,), or a pair of these and their weights (N,), which are divided by their sum.
        y: (M, F) likewise.
        order: the p of W_p, from 1 to 16.
        metric: what a unit of mass pays for its way: a name that `scipy.spatial.distance.cdist` knows, or a function
            (x, y) -> (N, M) of at least 0.

    Returns:
        The coupling, its marginals checked to 1e-9; that of the simplex is checked by its dual, to be dearer than the best by a
        millionth at most.

    Raises:
        DataError: shapes, weights or costs that make no sense, or more than 10^8 pairs.
        GenusError: the linear program was not solved, or not to that precision.

    >>> x, y = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 2.0], [1.0, 2.0], [5.0, 0.0]])
    >>> found = transport(x, (y, torch.tensor([1.0, 1.0, 0.0])))
    >>> found.distance, found.coupling.tolist()
    (tensor(2.), [[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])
    """
    (x, a), (y, b) = pair(x, y)
    if not 1 <= order <= HIGHEST:
        raise DataError(f"order must be 1 or more, and {HIGHEST} at most: powers of far and near are too unlike; got {order}.")
    # On a line, and along what moves, distances are taken pair by pair; any other metric is asked once.
    line = x.shape[1] == 1 and metric == "euclidean"
    distances = None if metric == "euclidean" else costs(x, y, metric)
    with torch.no_grad():
        if line:
            source, target, mass = _by_quantiles(x[:, 0], y[:, 0], a, b)
        else:
            source, target, mass = _moves(x, y, a, b, order, distances)
    for moved, weights in ((source, a), (target, b)):
        off = torch.zeros_like(weights).index_add(0, moved, mass) - weights
        if float(off.abs().max()) > TOLERANCE:
            raise GenusError("The coupling found does not have the given marginals; scale the points, or take fewer of them.")
    # Only the distances that are travelled count, and these are taken exactly.
    travelled = (x[source] - y[target]).norm(dim=1) if distances is None else distances[source, target]
    share = mass.to(travelled)
    if order == 1:
        distance = travelled @ share
    else:
        unit = travelled.detach().max().clamp(min=torch.finfo(travelled.dtype).tiny)  # no power of a number above 1
        total = (travelled / unit) ** order @ share
        distance = unit * total.clamp(min=torch.finfo(total.dtype).tiny) ** (1 / order) if bool(total > 0) else unit * total
    return Transport(distance, source, target, mass, (len(x), len(y)))


def pair(x: Points, y: Points) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Check two sets of points, and return of each the points (N, F) and weights (N,), float64, that sum to 1."""
    (x, a), (y, b) = (one if isinstance(one, tuple) and len(one) == 2 else (one, None) for one in (x, y))
    x, y = check_points(x, y)
    x, y = (points[:, None] if points.ndim == 1 else points for points in (x, y))
    if x.ndim != 2:
        raise DataError(f"Expected points x (N, F) and y (M, F) of the same F >= 1; got {tuple(x.shape)} and {tuple(y.shape)}.")
    return (x, _weights(x, a)), (y, _weights(y, b))


def _weights(points: Tensor, weights: Tensor | None) -> Tensor:
    n = len(points)
    if weights is None:
        return torch.full((n,), 1 / n, dtype=torch.float64)
    weights = weights.detach().cpu().double()
    if weights.shape != (n,) or not weights.isfinite().all() or bool((weights < 0).any()) or not float(weights.sum()):
        raise DataError(f"Weights of {n} points must be ({n},) numbers of 0 or more, not all 0; got {tuple(weights.shape)}.")
    return weights / weights.sum()


def costs(x: Tensor, y: Tensor, metric: Metric) -> Tensor:
    """Return the distance (N, M) of every pair of x (N, F) and y (M, F).

    Raises:
        DataError: an unknown metric, or one that gives something else than N x M numbers of 0 or more.
    """
    if metric == "euclidean":
        centre = x.detach().mean(0)  # distances come from a matrix product, which cancels badly far from the origin
        return torch.cdist(x - centre, y - centre)
    if callable(metric):
        distances = metric(x, y)
    else:
        from scipy.spatial.distance import cdist

        try:
            numbers = cdist(x.detach().cpu().numpy(), y.detach().cpu().numpy(), metric)
        except ValueError as error:
            raise DataError(
                f"There is no metric {metric!r}; give a function (x, y) -> (N, M), or a name that SciPy knows."
            ) from error
        distances = torch.from_numpy(numbers).to(x)
    if distances.shape != (len(x), len(y)) or not distances.isfinite().all() or bool((distances < 0).any()):
        raise DataError(f"A metric must give ({len(x)}, {len(y)}) finite distances of 0 or more; got {tuple(distances.shape)}.")
    return distances


def _moves(x: Tensor, y: Tensor, a: Tensor, b: Tensor, order: float, distances: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return source, target and mass of every move of an optimal coupling; distances (N, M), None for Euclidean ones."""
    if len(x) * len(y) > PAIRS:
        raise DataError(f"{len(x):,} x {len(y):,} points are too many for an exact coupling; take a subsample, or `sinkhorn`.")
    cost = (costs(x.double(), y.double(), "euclidean") if distances is None else distances.double()).cpu()
    cost = cost if order == 1 else (cost / cost.max().clamp(min=1e-300)) ** order
    equal = len(x) == len(y) and bool((a == a[0]).all()) and bool((b == b[0]).all())
    if equal and (_effective_dimension(torch.cat([x, y]).double()) >= DIRECTIONS or find_spec("ot") is None):
        return _by_assignment(cost)
    return _by_simplex(cost, a, b)


def _by_quantiles(x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Couple points on a line, where mass keeps its order: cut it wherever a point of either ends."""
    first, second = x.argsort().cpu(), y.argsort().cpu()
    ends_x, ends_y = a[first].cumsum(0), b[second].cumsum(0)
    ends = torch.cat([ends_x, ends_y]).sort().values.clamp(max=1.0)
    mass = torch.diff(ends, prepend=ends.new_zeros(1))
    middle = ends - mass / 2
    i, j = (torch.searchsorted(e, middle).clamp(max=len(e) - 1) for e in (ends_x, ends_y))
    moved = mass > CRUMB
    return first[i][moved], second[j][moved], mass[moved]


def _by_simplex(cost: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    try:
        import ot  # takes a second: only who needs it waits for it
    except ImportError as error:
        raise GenusError(
            "The exact coupling of samples of different sizes or weights is found by POT, which is not here; pip install"
            " 'genus[transport]', or give equally many points of equal weight."
        ) from error

    plan, log = ot.emd(a.numpy(), b.numpy(), cost.numpy(), numItermax=10**9, log=True)
    if log["warning"]:
        raise GenusError(f"The optimal coupling was not found: {log['warning']} Scale the points, or take fewer of them.")
    source, target = (torch.from_numpy(i) for i in np.nonzero(plan))
    mass = torch.from_numpy(plan)[source, target]
    gap, value = _dual_gap(cost, a, b, torch.from_numpy(log["u"]), cost[source, target] @ mass)
    if gap > GAP * value:
        raise GenusError(
            f"The coupling found may be dearer than the best by {gap / max(value, 1e-300):.2g} of its cost: some distances are"
            " too large beside those that are travelled for double precision; leave out the points that lie far off."
        )
    return source, target, mass


def _dual_gap(cost: Tensor, a: Tensor, b: Tensor, u: Tensor, value: Tensor) -> tuple[float, float]:
    """Return by how much a coupling may be dearer than the best at most, and its cost.

    Any u gives a lower bound on all couplings' cost: E_a u + E_b v, with v the least of cost - u (Kantorovich's dual). What has
    no mass constrains nothing.
    """
    held = a > 0
    v = (cost[held] - u[held, None]).min(0).values
    return float(value - (a[held] @ u[held] + b @ v)), float(value)


def _by_assignment(cost: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the permutation of least cost, from costs reduced by potentials, which change all permutations' costs alike."""
    from scipy.optimize import linear_sum_assignment

    reduced = cost - cost.min(1, keepdim=True).values
    reduced -= reduced.min(0).values
    epsilon = 0.02 * float(reduced.mean()) or 1.0
    kernel = torch.exp(-reduced / epsilon)
    v = torch.ones(len(cost), dtype=cost.dtype)
    for _ in range(20):
        u = 1 / (kernel @ v)
        v = 1 / (u @ kernel)
    potentials = epsilon * (u.log()[:, None] + v.log())
    if bool(potentials.isfinite().all()):
        reduced -= potentials
    source, target = (torch.from_numpy(i) for i in linear_sum_assignment(reduced.numpy()))
    return source, target, torch.full((len(cost),), 1 / len(cost), dtype=torch.float64)


def _effective_dimension(points: Tensor) -> float:
    """Return in how many directions points vary, from 1 to F: (sum of variances)^2 / sum of squares, by principal axes."""
    covariance = torch.cov(points.T)
    return float(covariance.trace() ** 2 / covariance.square().sum().clamp(min=1e-300)) if covariance.ndim == 2 else 1.0
