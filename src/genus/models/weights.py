"""The weights of a mixture of given densities."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["mixture_weights"]

PASSES = 500  # of EM, at most
PARTS = 5  # of the rows, each scored by weights that were fitted to the others
TOLERANCE = 1e-7  # nats a row, below which a pass has gained nothing
ROW = 1.0  # rows' worth that is spread evenly over the members, so that none of them has no weight by accident


def mixture_weights(log_densities: Tensor) -> Tensor:
    """Return the weights that give a mixture the greatest likelihood, or all weight to one member where no mixture is better.

    The likelihood is concave in the weights, so that EM (Dempster et al. 1977) finds its maximum from any start. Weights are
    also fitted to four fifths of the rows and tried on the others, five times: a mixture that is worse there than the best
    member is none to be relied on.

    Args:
        log_densities: (N, M), of rows that did not train the members, in nats; -inf where a member gives a row no mass.

    Returns:
        (M,) in double precision; they sum to 1.

    >>> mixture_weights(torch.tensor([[-1.0, -3.0]] * 30 + [[-3.0, -1.0]] * 10)).round(decimals=2)
    tensor([0.8100, 0.1900], dtype=torch.float64)
    >>> mixture_weights(torch.tensor([[-1.0, -1.5], [-2.0, -2.1]] * 20))
    tensor([1., 0.], dtype=torch.float64)
    """
    most = torch.finfo(torch.float64).max
    table = log_densities.detach().double().cpu().nan_to_num(nan=-math.inf, posinf=most, neginf=-math.inf)
    live = (table > -math.inf).any(0)
    possible = table[(table > -math.inf).any(1)][:, live]  # what no member can draw tells nothing of the weights
    if not len(possible):
        return table.new_full((table.shape[1],), 1 / table.shape[1])
    alone = possible.mean(0)
    best = int(alone.argmax())
    part = torch.randperm(len(possible), generator=torch.Generator().manual_seed(0)) % PARTS
    splits = ((possible[part != k], possible[part == k]) for k in range(PARTS))
    crossed = [(there + _fitted(here).log()).logsumexp(1) for here, there in splits]
    better = float(torch.cat(crossed).mean()) > float(alone[best])
    weights = table.new_zeros(table.shape[1])
    weights[live] = _fitted(possible) if better else torch.eye(len(alone), dtype=torch.float64)[best]
    return weights


def _fitted(table: Tensor) -> Tensor:
    """Return the weights (M,) by EM on the rows of a table (N, M)."""
    members, before = table.shape[1], -math.inf
    weights = torch.full((members,), 1 / members, dtype=torch.float64)
    for _ in range(PASSES):
        joint = table + weights.log()
        value = float(joint.logsumexp(1).mean())
        if value - before < TOLERANCE:
            break
        before = value
        weights = (joint.softmax(1).sum(0) + ROW / members) / (len(table) + ROW)
    return weights
