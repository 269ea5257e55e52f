"""Student's t of four degrees of freedom, whose distribution function and quantiles have closed forms (Shaw 2006)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["log_student", "student_cell_mass", "student_quantile", "student_tail"]


def log_student(t: Tensor) -> Tensor:
    """Return the log-density at t, in nats.

    >>> float(log_student(torch.tensor(0.0)).exp())
    0.375
    """
    return math.log(0.375) - 2.5 * torch.log1p(0.25 * t.square())


def student_tail(size: Tensor) -> Tensor:
    """Return the mass above sizes of at least 0, without loss of digits far out.

    >>> student_tail(torch.tensor([0.0, math.inf])).tolist()
    [0.5, 0.0]
    """
    share = torch.where(size.isinf(), 1.0, size / (4 + size.square()).sqrt())
    rest = torch.where(size.isinf(), 0.0, 4 / ((4 + size.square()) * (1 + share)))  # 1 - share
    return 0.25 * rest.square() * (2 + share)


def student_quantile(below: Tensor, above: Tensor) -> Tensor:
    """Return the numbers with these masses below and above them, of which the smaller one is used."""
    small = torch.minimum(below, above).clamp(1e-300, 0.5)
    root = (4 * small * (1 - small)).sqrt().clamp(max=1.0)
    size = 2 * ((root.arccos() / 3).cos() / root - 1).clamp(min=0.0).sqrt()
    return torch.where(below < above, -size, size)


def student_cell_mass(lower: Tensor, upper: Tensor) -> Tensor:
    """Return the log-mass of cells between two numbers each, computed in the tail where it is exact."""
    flip = lower > 0
    a, b = torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)
    return (
        (torch.where(b > 0, 1 - student_tail(b.abs()), student_tail(b.abs())) - student_tail(a.abs())).clamp(min=1e-300).log()
    )
