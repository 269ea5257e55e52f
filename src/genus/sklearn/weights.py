"""Weights of rows: counted as they are, or rows that are drawn by them or repeated."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from genus.data import Dataset
from genus.errors import DataError, GenusError
from genus.ladder import Composed, Counted, GenerativeModel, Learned
from genus.models import NaiveBayes
from genus.training import History

__all__ = ["checked_weights", "count", "draws", "repeated", "weighs"]


def checked_weights(sample_weight: Any, rows: int) -> np.ndarray | None:
    """Return the weights of rows as numbers (rows,); None where there are none.

    Raises:
        DataError: there is not one weight for each row, a weight is negative or not finite, or all are zero.
    """
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, dtype=np.float64)
    weights = np.full(rows, float(weights)) if weights.ndim == 0 else weights
    if weights.shape != (rows,):
        raise DataError(f"sample_weight must hold one number for each of {rows} rows; it has the shape {weights.shape}.")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise DataError("sample_weight must hold finite numbers of at least zero; leave out rows that have none.")
    if not weights.any():
        raise DataError("Every sample_weight is zero; at least one row needs a weight that is not.")
    return weights


def weighs(family: type[GenerativeModel]) -> bool:
    """Return whether a family counts a row as often as its weight says."""
    return issubclass(family, Counted) and family.weighs


def draws(family: type[GenerativeModel], weights: np.ndarray | None) -> bool:
    """Return whether training draws rows by their weights: where some are fractions and the family is trained by gradients."""
    by_gradients = not issubclass(family, Counted | Learned | Composed)
    return by_gradients and weights is not None and bool((weights != weights.round()).any())


def repeated(data: Dataset, weights: np.ndarray, family: str) -> Dataset:
    """Return data whose rows stand as often as their weights say; copies of a row stay together in splits.

    Raises:
        GenusError: a weight is no whole number.
    """
    if (weights != weights.round()).any():
        raise GenusError(
            f"The family {family!r} does not weigh rows, so sample_weight must hold whole numbers, as which rows are repeated;"
            f" round the weights, or take {NaiveBayes.name!r} or a family that is trained by gradients."
        )
    index = torch.from_numpy(np.repeat(np.arange(len(data)), weights.astype(np.int64)))
    return replace(data.rows(index), groups=index)


@torch.no_grad()
def count(model: GenerativeModel, x: Tensor, c: Tensor | None, weights: np.ndarray | None) -> History:
    """Add rows to the statistics of a model that learns by counting them once, and conclude.

    Args:
        model: of a `Counted` family.
        x: (n, *shape).
        c: (n, *context.shape) or None.
        weights: (n,), of a family that `weighs`; None: each row counts once.

    Returns:
        The record of this one step.
    """
    start = time.perf_counter()
    model.eval()
    if model.untrained:
        model.initialise(x, c)
    if weights is None:
        cast(Counted, model).observe(x, c)
    else:
        cast(NaiveBayes, model).observe(x, c, torch.from_numpy(weights))
    cast(Counted, model).conclude()
    seconds = time.perf_counter() - start
    row = {"step": 1, "epoch": 1.0, "seconds": seconds, "criterion": None}
    return History([row], best_step=1, stopped="closed form", parameters=model.parameter_count, steps=1, seconds=seconds)
