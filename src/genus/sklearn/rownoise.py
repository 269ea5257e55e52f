"""Bounds by noise that belongs to each row: neither the order of rows nor the rows beside one change its bound."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from genus.errors import GenusError
from genus.ladder import ApproximateDensity, TractableDensity, map_batches

__all__ = ["log_weights"]

POOL, NUMBERS = 4096, 2**22  # draws of noise from which rows take theirs, and numbers of them together


@torch.no_grad()
def log_weights(model: ApproximateDensity, x: Tensor, c: Tensor | None, draws: int) -> Tensor:
    """Return draws of the bound of log p(x | c) whose noise follows from the values of each row alone.

    The noise is drawn once, by a fixed seed; which of it a row takes is a hash of its values. A family that draws its noise
    itself has that of a seed for all rows together instead: its bounds depend on the order of the rows.

    Args:
        model: in double precision, so that rows beside a row change its bound by rounding alone.
        x: (n, *shape).
        c: (n, *context.shape) or None.
        draws: how many; of an exact density, and of a bound without noise, there is one.

    Returns:
        (draws, or 1, n) in nats, in double precision on the processor.
    """
    if isinstance(model, TractableDensity):
        return map_batches(model.log_prob, x, c).double().cpu().unsqueeze(0)
    try:
        width = model.draw_noise(1, seed=0).numel()
        pool = model.draw_noise(max(64, min(POOL, NUMBERS // max(1, width))), seed=0)
    except GenusError:
        together = [map_batches(lambda x, c, seed=seed: model.elbo(x, c, seed=seed), x, c) for seed in range(draws)]
        return torch.stack(together).double().cpu()
    draws = draws if width else 1  # without noise every draw is the same
    number, once = _numbers(x), max(1, min(8192, 2**17 // max(x[:1].numel(), 1)))
    out = torch.empty(draws * len(x), dtype=torch.float64)
    for at in range(0, len(out), once):  # many draws of few rows in one pass
        draw, row = np.divmod(np.arange(at, min(at + once, len(out))), len(x))
        place = (_mixed(number[row] + draw.astype(np.uint64)) % np.uint64(len(pool))).astype(np.int64)
        noise, part = pool[torch.from_numpy(place).to(pool.device)], torch.from_numpy(row)
        out[at : at + once] = model.elbo(x[part], None if c is None else c[part], noise=noise).double().cpu()
    return out.view(draws, len(x))


def _numbers(x: Tensor) -> np.ndarray:
    """Return 64 bits (n,) of each row of x (n, *shape) that follow from its values: equal for equal rows."""
    values = x.detach().cpu().double().reshape(len(x), -1).numpy() + 0.0  # -0 becomes 0
    values[np.isnan(values)] = np.nan  # one of the many NaNs
    number = np.zeros(len(x), dtype=np.uint64)
    for column in np.ascontiguousarray(values.T).view(np.uint64):
        number = _mixed(number ^ column)
    return number


def _mixed(number: np.ndarray) -> np.ndarray:
    """Return whole numbers (n,) of 64 bits, each of which depends on every bit of its own (Steele et al. 2014, SplitMix)."""
    number = number + np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))
