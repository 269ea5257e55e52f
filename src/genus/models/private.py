"""Differential privacy of counts: discrete Laplace noise on sums to which a row adds a bounded amount."""

from __future__ import annotations

import secrets

import numpy as np
import torch
from torch import Tensor

from genus.errors import GenusError
from genus.models.product import Product

__all__ = ["add_noise", "check_epsilon", "clipped", "discrete_laplace"]

REACH = 4.0  # standardised units, to which numbers are clipped before they are summed
STEPS = 2**10  # units, at most, that one number adds to a sum


def check_epsilon(epsilon: float | None) -> None:
    """Raise GenusError where a privacy budget is no number above 0; None stands for no privacy."""
    if epsilon is not None and not (isinstance(epsilon, int | float) and 0 < epsilon < float("inf")):
        raise GenusError(f"epsilon is a privacy budget above 0, such as 1.0, or None for no privacy; got {epsilon!r}.")


def discrete_laplace(shape: tuple[int, ...], scale: float) -> Tensor:
    """Draw whole numbers z with probabilities in proportion to exp(-|z| / scale), in double precision.

    Added to counts that one row changes by 1 in all, they make what is released 1 / scale differentially private (Ghosh,
    Roughgarden and Sundararajan 2009). The numbers come from the operating system and from no seed, since who knows the seed of
    the noise knows the counts.

    >>> noise = discrete_laplace((1000,), 2.0)
    >>> bool((noise == noise.round()).all()), bool(noise.abs().mean() < 10)
    (True, True)
    """
    rng, p = np.random.default_rng(secrets.randbits(128)), -np.expm1(-1 / scale)
    return torch.as_tensor((rng.geometric(p, shape) - rng.geometric(p, shape)).astype(np.float64))


def add_noise(product: Product, epsilon: float) -> None:
    """Replace the statistics of a product by noisy ones, which as a whole are epsilon differentially private.

    A row adds 1 to the rows of one component, 1 to a cell of every table, and of every number in u 1 to how many there are, and
    to their sum and the sum of their squares what `clipped` leaves of it. Each of these sums has an equal share of epsilon. To
    conclude again from what is noisy already reveals nothing more; to count the same rows again does.
    Adding or taking out one row is what is hidden; the space (levels, ends, charts) is not, where it was measured on the rows.
    """
    tables, numbers = len(product.cells.tabled), len(product.cells.rest)
    share = epsilon / (1 + tables + 3 * numbers)
    device = product.rows.device

    def noisy(sums: Tensor, unit: float = 1.0, most: float = 1.0) -> Tensor:
        return sums + unit * discrete_laplace(tuple(sums.shape), most / share).to(device)

    product.rows.copy_(noisy(product.rows).clamp(min=0))
    product.counts.copy_(noisy(product.counts).clamp(min=0).masked_fill(~product.cells.alive, 0.0))
    product.inside.copy_(noisy(product.inside).clamp(min=0))
    sums = noisy(product.sums, REACH / STEPS, STEPS)
    limit = REACH * product.inside
    product.sums.copy_(torch.minimum(sums.maximum(-limit), limit))
    squares = noisy(product.squares, (REACH / STEPS) ** 2, STEPS**2).minimum(REACH**2 * product.inside)
    product.squares.copy_(squares.maximum(product.sums.square() / product.inside.clamp(min=1)))


def clipped(u: Tensor) -> Tensor:
    """Return numbers u within `REACH` of 0, in steps of which sums and noise are whole multiples."""
    return (u.clamp(-REACH, REACH) * (STEPS / REACH)).round() * (REACH / STEPS)
