"""Compute how far one distribution is from another: both probabilities, distributions of torch, or models.

The answer is exact where it can be, and an `Estimate` says which it is; infinity comes with its reason.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, kl_divergence

from genus.divergences.f import Estimate, divergence, of_probabilities
from genus.divergences.gaussians import of_gaussians, wasserstein_2
from genus.divergences.transport import Points, transport
from genus.errors import DataError
from genus.ladder import GenerativeModel, TractableDensity
from genus.random import isolated

__all__ = ["between", "frequencies", "jensen_shannon", "kl", "wasserstein"]

POINTS, DRAWS = 1000, 10  # of every distribution, and how often, for a distance of samples
FEW = 0.02  # of draws, in effect: what so few say has no standard error

Source = Tensor | Distribution | TractableDensity
BEYOND = "it is beyond the largest number, 1e308"


def kl(p: Source, q: Source, **how: Any) -> Estimate:
    """Return KL(p || q) = E_p log p/q in nats, see `between`: infinite where p has mass and q none.

    >>> kl(torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(1.0, 1.0))
    Estimate(value=0.5, error=0.0, label='exact', reason='')
    >>> kl(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])).reason
    'q gives no mass to state 1, and p gives it 0.5'
    """
    return between(p, q, "kl", **how)


def jensen_shannon(p: Source, q: Source, **how: Any) -> Estimate:
    """Return KL(p || m) / 2 + KL(q || m) / 2, m = (p + q) / 2, in nats, from 0 to log 2, which is 1 bit; see `between`.

    >>> round(jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])).bits, 6)
    1.0
    """
    return between(p, q, "jensen-shannon", **how)


def between(p: Source, q: Source, name: str = "kl", samples: int = 10_000, seed: int = 0) -> Estimate:
    """Return D_f(p, q) in nats: exact for probabilities and where a closed form is known, by Monte Carlo otherwise.

    By Monte Carlo KL(p || q) is the mean of log p/q over draws of p; the other way round over draws of q. Others weigh each
    point by the mean m of p and q, of which half of the draws are p's and half q's: the weights are then at most 2.

    Args:
        p, q: both probabilities (K,) of the same K states; or both distributions of torch, of one datum each; or both models of
            one space that know their densities.
        name: one of `DIVERGENCES`.
        samples: draws, where it takes any.
        seed: of the draws.

    Returns:
        Infinity where it is known: from the probabilities, from the closed form, or since one drew points to which the other
        gives density 0. A divergence that is infinite because of its tails alone is not noticed by draws.

    Raises:
        DataError: they cannot be compared.
    """
    divergence(name)
    if samples < 4:
        raise DataError(f"samples is how many draws are taken, 4 or more; got {samples}.")
    if isinstance(p, Tensor) and isinstance(q, Tensor):
        return _of_states(p, q, name)
    if isinstance(p, Distribution) and isinstance(q, Distribution):
        return _of_distributions(p, q, name, samples, seed)
    if isinstance(p, TractableDensity) and isinstance(q, TractableDensity):
        if p.context is not None or q.context is not None:
            raise DataError("Divergences are between models without a context; of a conditional model there is one for each.")
        if p.space != q.space:
            raise DataError("Divergences are between models of one space; these differ.")
        return _monte_carlo(partial(_draw, p), p.log_prob, partial(_draw, q), q.log_prob, name, samples, seed)
    raise DataError(
        f"p and q must both be probabilities, distributions of torch, or models with a density; got {type(p).__name__} and"
        f" {type(q).__name__}. Samples have `variational`, a bound by a critic, and `wasserstein`."
    )


def frequencies(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shares (K,) and (K,) of the points of x (N, *shape) and of y (M, *shape) at every point that one of them has.

    They are the two discrete distributions themselves, of which the divergences are exact; two samples of a continuous
    distribution have no point in common, so their own divergences say nothing of it.

    >>> frequencies(torch.tensor([0, 0, 1, 1]), torch.tensor([1, 2]))
    (tensor([0.5000, 0.5000, 0.0000], dtype=torch.float64), tensor([0.0000, 0.5000, 0.5000], dtype=torch.float64))
    """
    if x.shape[1:] != y.shape[1:] or not len(x) or not len(y):
        raise DataError(f"Expected points x (N, *shape) and y (M, *shape); got {tuple(x.shape)} and {tuple(y.shape)}.")
    points, places = torch.unique(torch.cat([x, y]), dim=0, return_inverse=True)
    each = places.flatten().split([len(x), len(y)])
    p, q = (torch.bincount(w, minlength=len(points)).double() / len(w) for w in each)
    return p, q


def wasserstein(
    p: Points | Distribution | GenerativeModel,
    q: Points | Distribution | GenerativeModel,
    order: float = 1.0,
    samples: int = POINTS,
    seed: int = 0,
) -> Estimate:
    """Return the earth mover's distance W_p with Euclidean costs: what it takes to move the mass of p to where q has it.

    Args:
        p, q: both points (N, F), or (points, weights (N,)): exact. Or both distributions of torch, or both models of one space,
            in the standardised units of `Space.features`: an upper bound, unless both are normal and the order is 2.
        order: the p of W_p, at least 1.
        samples: draws of either, where it takes any; ten times, for the standard error.
        seed: of the draws.

    Returns:
        A distance of finite samples overstates that of their distributions, by far in many dimensions: `wasserstein(p, p)` says
        by how much. It is never infinite by disjoint supports. See `transport` for the coupling and other costs, `dual` for
        the same by a critic.

    Raises:
        DataError: they cannot be compared.

    >>> wasserstein(torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]]))
    Estimate(value=2.0, error=0.0, label='exact', reason='')
    """
    if samples < 2:
        raise DataError(f"samples is how many draws of either are taken, 2 or more; got {samples}.")
    if isinstance(p, Distribution) and isinstance(q, Distribution):
        closed = wasserstein_2(p, q) if order == 2 else None
        if closed is not None:
            return Estimate(closed, label="exact")
    elif isinstance(p, GenerativeModel) and isinstance(q, GenerativeModel):
        if p.space != q.space or p.context is not None or q.context is not None:
            raise DataError("A distance is between models of one space without a context; these differ.")
    elif isinstance(p, Tensor | tuple) and isinstance(q, Tensor | tuple):
        return Estimate(float(transport(p, q, order=order).distance), label="exact")
    else:
        raise DataError(
            f"p and q must both be points, distributions of torch, or models; got {type(p).__name__} and {type(q).__name__}."
        )
    distances = [
        transport(_points(p, samples, seed + 2 * i), _points(q, samples, seed + 2 * i + 1), order=order).distance
        for i in range(DRAWS)
    ]
    return Estimate.of(torch.stack(distances))._replace(label="upper bound")


# -- probabilities, distributions, models -------------------------------------------------------------------------------


def _of_states(p: Tensor, q: Tensor, name: str) -> Estimate:
    if p.ndim != 1 or p.shape != q.shape:
        raise DataError(
            f"Expected probabilities p and q (K,) of the same states; got {tuple(p.shape)} and {tuple(q.shape)}. Many at once"
            " have `of_probabilities`; samples have `variational`, a bound by a critic, and `wasserstein`."
        )
    value = float(of_probabilities(p.double(), q.double(), name))
    alone = ((p > 0) != (q > 0)).any()
    if value != math.inf or not bool(alone):
        return Estimate(value, label="exact", reason="" if value != math.inf else BEYOND)
    beyond_q = divergence(name).at_infinity == math.inf and bool(((q == 0) & (p > 0)).any())
    first, second, names = (p, q, "qp") if beyond_q else (q, p, "pq")
    state = int(((second == 0) & (first > 0)).nonzero()[0])
    reason = f"{names[0]} gives no mass to state {state}, and {names[1]} gives it {float(first[state]):.3g}"
    return Estimate(value, label="exact", reason=reason)


def _of_distributions(p: Distribution, q: Distribution, name: str, samples: int, seed: int) -> Estimate:
    for one in (p, q):
        if one.batch_shape:
            raise DataError(f"Expected one distribution, not a batch of {tuple(one.batch_shape)}; make it one by Independent.")
    if p.event_shape != q.event_shape:
        raise DataError(f"p and q are of data of different shapes, {tuple(p.event_shape)} and {tuple(q.event_shape)}.")
    if p.support.is_discrete != q.support.is_discrete:  # type: ignore[union-attr]
        value = divergence(name).at_infinity + divergence(name).at_zero
        reason = "one is discrete and the other continuous, so neither has mass where the other has"
        return Estimate(value, label="exact", reason=reason if value == math.inf else "")
    of_p, of_q = _probabilities(p), _probabilities(q)
    if of_p is not None and of_q is not None:
        return _of_states(of_p, of_q, name)
    closed = of_gaussians(p, q, name)
    if closed is None and name in ("kl", "reverse-kl"):
        first, second = (_precise(p), _precise(q)) if name == "kl" else (_precise(q), _precise(p))
        try:
            closed = max(0.0, float(kl_divergence(first, second)))
        except NotImplementedError:  # torch's answer where it knows no closed form
            closed = None
    if closed is not None:
        reason = f"by the closed form: one has mass or heavier tails where the other has none, or {BEYOND}"
        reason = reason if closed == math.inf else ""
        return Estimate(closed, label="exact", reason=reason)
    log_p, log_q = partial(_log_prob, p), partial(_log_prob, q)
    return _monte_carlo(partial(_draw, p), log_p, partial(_draw, q), log_q, name, samples, seed)


def _probabilities(p: Distribution) -> Tensor | None:
    """Return the probabilities (K,) of its states; torch's own log-densities of them are never -inf."""
    if isinstance(p, Categorical):
        return p.probs
    return torch.stack([1 - p.probs, p.probs]) if isinstance(p, Bernoulli) else None


def _precise(p: Distribution) -> Distribution:
    """Return the same distribution in double precision: closed forms are differences of large numbers."""
    twin = copy.copy(p)
    for name, value in vars(p).items():
        if isinstance(value, Distribution):
            twin.__dict__[name] = _precise(value)
        elif isinstance(value, Tensor) and value.is_floating_point():
            twin.__dict__[name] = value.double()
    return twin


def _draw(p: Distribution | GenerativeModel, n: int, seed: int) -> Tensor:
    if isinstance(p, GenerativeModel):
        return p.sample(n, seed=seed, blanks=True)
    with isolated(seed):
        return p.sample((n,))


def _log_prob(p: Distribution, x: Tensor) -> Tensor:
    """Return log p(x), -inf outside the support, where torch raises an error or goes on as if there were none."""
    assert p.support is not None
    within = p.support.check(x)
    out = torch.full(within.shape, -math.inf, dtype=x.dtype if x.is_floating_point() else torch.get_default_dtype())
    out[within] = p.log_prob(x[within]).to(out)
    return out


Sampler = Callable[[int, int], Tensor]
LogDensity = Callable[[Tensor], Tensor]


@torch.no_grad()
def _monte_carlo(
    draw_p: Sampler, log_p: LogDensity, draw_q: Sampler, log_q: LogDensity, name: str, samples: int, seed: int
) -> Estimate:
    d = divergence(name)
    if name in ("kl", "reverse-kl"):
        first, of_first, of_second, names = (draw_p, log_p, log_q, "qp") if name == "kl" else (draw_q, log_q, log_p, "pq")
        x = first(samples, seed)
        draws = (of_first(x) - of_second(x)).double()
        alone = int((draws == math.inf).sum())
        return _infinite(alone, samples, names) if alone else Estimate.of(draws)
    half = samples // 2
    x = torch.cat([draw_p(half, seed), draw_q(half, seed + 1)])
    r = (log_p(x) - log_q(x)).double()
    for limit, end, names in ((d.at_infinity, math.inf, "qp"), (d.at_zero, -math.inf, "pq")):
        alone = int((r == end).sum())
        if alone and limit == math.inf:
            return _infinite(alone, half, names)
    # Under m = (p + q) / 2 the weight of q is 2 / (1 + exp r), that of p the rest; at either end the limit of f is known.
    of_q, of_p = d.value(r.clamp(max=0.0)) * torch.sigmoid(-r), d.value_under_p(r.clamp(min=0.0)) * torch.sigmoid(r)
    draws = 2 * torch.where(r > 0, of_p, of_q)
    draws = torch.where(r == math.inf, 2 * d.at_infinity, torch.where(r == -math.inf, 2 * d.at_zero, draws))
    if not bool(draws.isfinite().all()):
        return Estimate(math.inf, math.inf, reason=f"at some draws {BEYOND}")
    estimate, effective = Estimate.of(draws), float(draws.sum() ** 2 / draws.square().sum().clamp(min=1e-300))
    if d.at_infinity + d.at_zero == math.inf and effective < FEW * len(draws):
        reason = f"draws worth {effective:.0f} of {len(draws):,} decide it, so that others would say something else"
        return estimate._replace(error=math.inf, reason=reason)
    return estimate


def _infinite(alone: int, of: int, names: str) -> Estimate:
    reason = f"{names[0]} has density 0 at {alone:,} of {of:,} draws of {names[1]}"
    return Estimate(math.inf, label="exact", reason=reason)


def _points(p: Any, n: int, seed: int) -> Tensor:
    draws = _draw(p, n, seed)
    return draws.reshape(n, -1) if isinstance(p, Distribution) else p.space.coordinates(draws)
