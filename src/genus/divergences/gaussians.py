"""Compute closed forms between two normal distributions, which the estimates of the other modules are tested against."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

__all__ = ["moments", "of_gaussians", "wasserstein_2"]

LARGEST = 709.0  # the logarithm of the largest number


def moments(p: Distribution) -> tuple[Tensor, Tensor] | None:
    """Return the mean (D,) and covariance (D, D) of a normal distribution, in double precision; None for any other.

    >>> moments(Normal(0.0, 2.0))
    (tensor([0.], dtype=torch.float64), tensor([[4.]], dtype=torch.float64))
    """
    if isinstance(p, Independent):
        return moments(p.base_dist) if isinstance(p.base_dist, Normal) and p.base_dist.mean.ndim == 1 else None
    if isinstance(p, MultivariateNormal):
        return p.mean.double(), p.covariance_matrix.double()
    if isinstance(p, Normal):
        return p.mean.double().reshape(-1), p.stddev.double().square().reshape(-1).diag()
    return None


def of_gaussians(p: Distribution, q: Distribution, name: str) -> float | None:
    """Return D_f(p, q) in nats; None where they are not normal, or no closed form is known, as of Jensen-Shannon.

    KL both ways; the squared Hellinger distance; chi-squared, infinite where q is too narrow or it is beyond 1e308; total
    variation where the covariances are equal (Devroye et al. 2018, arXiv:1810.08693).

    >>> of_gaussians(Normal(0.0, 1.0), Normal(1.0, 1.0), "kl")
    0.5
    """
    a, b = moments(p), moments(q)
    if a is None or b is None or a[0].shape != b[0].shape:
        return None
    if name == "reverse-kl":
        a, b, name = b, a, "kl"
    (m, s), (n, t) = a, b
    shift, log_s, log_t = m - n, float(torch.logdet(s)), float(torch.logdet(t))
    if name == "kl":
        trace, square = float(torch.linalg.solve(t, s).trace()), float(shift @ torch.linalg.solve(t, shift))
        return 0.5 * (trace + square - len(m) + log_t - log_s)
    if name == "squared-hellinger":
        mean = (s + t) / 2
        log_affinity = (log_s + log_t) / 4 - float(torch.logdet(mean)) / 2 - float(shift @ torch.linalg.solve(mean, shift)) / 8
        return -math.expm1(log_affinity)
    if name == "chi-squared":
        # p^2 / q is a normal density, times a number, if 2 S^-1 - T^-1 is positive definite.
        precision = 2 * torch.linalg.inv(s) - torch.linalg.inv(t)
        if float(torch.linalg.eigvalsh(precision).min()) <= 0:
            return math.inf
        linear = 2 * torch.linalg.solve(s, m) - torch.linalg.solve(t, n)
        square = linear @ torch.linalg.solve(precision, linear) - 2 * m @ torch.linalg.solve(s, m)
        square = square + n @ torch.linalg.solve(t, n)
        log_moment = float(square) / 2 - log_s + log_t / 2 - float(torch.logdet(precision)) / 2
        return math.expm1(log_moment) if log_moment < LARGEST else math.inf
    if name == "total-variation" and torch.equal(s, t):
        return math.erf(math.sqrt(float(shift @ torch.linalg.solve(s, shift)) / 8))
    return None


def wasserstein_2(p: Distribution, q: Distribution) -> float | None:
    """Return W_2 with Euclidean costs; None where they are not normal (Dowson and Landau 1982, J. Multivariate Anal. 12).

    >>> round(wasserstein_2(Normal(0.0, 1.0), Normal(3.0, 5.0)), 6)
    5.0
    """
    a, b = moments(p), moments(q)
    if a is None or b is None or a[0].shape != b[0].shape:
        return None
    (m, s), (n, t) = a, b
    # The eigenvalues of S T are those of S^1/2 T S^1/2, so no root of a matrix is needed.
    both = torch.linalg.eigvals(s @ t).real.clamp(min=0).sqrt().sum()
    square = (m - n).square().sum() + s.trace() + t.trace() - 2 * both
    return float(square.clamp(min=0).sqrt())
