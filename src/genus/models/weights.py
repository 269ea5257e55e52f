"""The weights of a mixture of given densities."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["mixture_weights"]

PASSES = 500  # of EM, at most
TOLERANCE = 1e-7  # nats a row, below which a pass, or a mixture, has gained nothing
ROW = 1.0  # rows' worth that is spread evenly over the members, so that none of them has no weight by accident
STEPS = 100  # on the way from the best member alone to the weights of EM
ERRORS = 2.0  # standard errors by which a gain has to be above nothing


def mixture_weights(log_densities: Tensor) -> Tensor:
    """Return the weights of the mixture that most surely gains on its best member; all weight to that member where none does.

    The likelihood is concave in the weights, so that EM (Dempster et al. 1977) finds its maximum from any start. A few rows may
    decide where that lies. So of the weights between those of the best member alone and those of EM the ones are taken whose
    mean gain on the best member, less two standard errors over the rows, is greatest.

    Args:
        log_densities: (N, M), of rows that did not train the members, in nats; -inf where a member gives a row no mass.

    Returns:
        (M,) in double precision; they sum to 1.

    >>> mixture_weights(torch.tensor([[-1.0, -3.0]] * 300 + [[-3.0, -1.0]] * 100)).round(decimals=2)
    tensor([0.8900, 0.1100], dtype=torch.float64)
    >>> mixture_weights(torch.tensor([[-1.0, -1.5], [-2.0, -2.1]] * 20))
    tensor([1., 0.], dtype=torch.float64)
    """
    most = torch.finfo(torch.float64).max
    table = log_densities.detach().double().cpu().nan_to_num(nan=-math.inf, posinf=most, neginf=-math.inf)
    live = (table > -math.inf).any(0)
    possible = table[(table > -math.inf).any(1)][:, live]  # what no member can draw tells nothing of the weights
    if not len(possible):
        return table.new_full((table.shape[1],), 1 / table.shape[1])
    weights = table.new_zeros(table.shape[1])
    weights[live] = _surely_better(possible, _fitted(possible))
    return weights


def _surely_better(table: Tensor, fitted: Tensor) -> Tensor:
    """Return weights (M,) between the best member's alone and fitted ones, by the sure gain on the rows of a table (N, M)."""
    best = int(table.mean(0).argmax())
    if table[:, best].min() == -math.inf:  # every member gives some row no mass, and a mixture gains without end
        return fitted
    above = (table + fitted.log()).logsumexp(1) - table[:, best]
    shares = torch.linspace(0, 1, STEPS + 1, dtype=torch.float64)
    gain = torch.logaddexp((1 - shares).log()[:, None], shares.log()[:, None] + above)
    sure = gain.mean(1) - ERRORS * gain.std(1, correction=0) / math.sqrt(len(table))
    share = shares[int(sure.argmax())] if float(sure.max()) > TOLERANCE else 0.0
    weights = share * fitted
    weights[best] += 1 - share
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
