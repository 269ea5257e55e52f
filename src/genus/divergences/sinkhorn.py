"""The earth mover's distance smoothed by entropy: cheap in any number of points, with gradients, and honest on convergence."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from genus.divergences.transport import Metric, Points, costs, pair
from genus.errors import DataError

__all__ = ["Sinkhorn", "sinkhorn"]


class Sinkhorn(NamedTuple):
    """Hold the coupling and the distance that the iterations came to.

    Attributes:
        distance: (E |x - y|^p + epsilon KL(coupling || independence))^(1/p), a scalar; never below W_p, and W_p
            in the limit of a small epsilon. Gradients in points of a Euclidean or one's own metric go through it.
        coupling: (N, M), rows sum to the weights of x, columns to those of y as far as `error` says.
        converged: whether `error` has come below the tolerance. If not, the distance is no bound on anything.
        error: the mass that has the wrong place, as a share of all.
        iterations: their number, at the last epsilon.
    """

    distance: Tensor
    coupling: Tensor
    converged: bool
    error: float
    iterations: int


def sinkhorn(
    x: Points,
    y: Points,
    epsilon: float,
    order: float = 1.0,
    metric: Metric = "euclidean",
    tolerance: float = 1e-4,
    max_iterations: int = 10_000,
) -> Sinkhorn:
    """Return the entropic optimal transport, computed in the log domain, where no epsilon is too small (Cuturi 2013,
    arXiv:1306.0895; Schmitzer 2019, arXiv:1610.06519).

    Epsilon falls by halves from the largest cost to its value, each time from the potentials found so far.

    Args:
        x: (N, F), or a pair of these and their weights (N,), which are divided by their sum.
        y: (M, F) likewise.
        epsilon: the weight of the entropy, in the units of the metric to the power `order`; a few percent of the mean cost is
            usual. The smaller, the closer to W_p and the slower.
        order, metric: as `transport` has them.
        tolerance: the share of mass that may have the wrong place.
        max_iterations: at the last epsilon; `converged` is false where they did not suffice.

    Raises:
        DataError: shapes, weights, costs or settings that make no sense.

    >>> x = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    >>> found = sinkhorn(x, x + 2, epsilon=0.01)
    >>> found.converged, round(found.distance.item(), 2)
    (True, 2.0)
    """
    (x, a), (y, b) = pair(x, y)
    if not epsilon > 0 or not 1 <= order < float("inf") or max_iterations < 1 or not tolerance > 0:
        raise DataError(
            f"Expected epsilon > 0, order >= 1, max_iterations >= 1 and tolerance > 0; got {epsilon}, {order},"
            f" {max_iterations} and {tolerance}."
        )
    cost = costs(x, y, metric) ** order
    log_a, log_b = a.to(cost).log(), b.to(cost).log()
    with torch.no_grad():
        g, error, iterations = _potential(cost, log_a, log_b, epsilon, tolerance, max_iterations)
        f = _soft_minimum(cost - g, log_b, epsilon)
        log_plan = log_a[:, None] + log_b + (f[:, None] + g - cost) / epsilon
        plan = log_plan.exp()
    # At the optimum the derivative in the costs is the coupling: potentials and coupling need no gradient of their own.
    value = (f @ a.to(cost) + g @ b.to(cost)) + (plan * (cost - cost.detach())).sum()
    distance = value if order == 1 else value.clamp(min=0) ** (1 / order)
    return Sinkhorn(distance, plan, error < tolerance, error, iterations)


def _potential(
    cost: Tensor, log_a: Tensor, log_b: Tensor, epsilon: float, tolerance: float, most: int
) -> tuple[Tensor, float, int]:
    """Return the potential (M,) of y, the share of mass with the wrong place, and the number of iterations."""
    a = log_a.exp()
    g = torch.zeros_like(log_b)
    now = max(float(cost.max()), epsilon)
    while now > epsilon:
        for _ in range(2):
            g = _soft_minimum(cost.T - _soft_minimum(cost - g, log_b, now), log_a, now)
        now /= 2
    f = _soft_minimum(cost - g, log_b, epsilon)
    for iterations in range(1, most + 1):  # noqa: B007
        g = _soft_minimum(cost.T - f, log_a, epsilon)
        new = _soft_minimum(cost - g, log_b, epsilon)
        # Columns are right after the step of g; rows would be right after that of f, so its size is the error of the rows.
        error = float((a * (torch.expm1((f - new) / epsilon)).abs()).sum())
        f = new
        if error < tolerance:
            break
    return g, error, iterations


def _soft_minimum(values: Tensor, log_weights: Tensor, epsilon: float) -> Tensor:
    """Return -epsilon log of the weighted mean of exp(-values / epsilon), over the last axis."""
    return -epsilon * (log_weights - values / epsilon).logsumexp(-1)
