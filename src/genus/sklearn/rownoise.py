"""Bounds whose noise follows from each row's values, so that neither the order of rows nor other rows change a row's bound."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from genus.errors import GenusError
from genus.ladder import ApproximateDensity, TractableDensity, map_batches

__all__ = ["log_weights"]

POOL, NUMBERS = 4096, 2**22  # the most draws of noise from which rows take theirs, and the most numbers in all of these


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
    hashes, at_once = _hashes(x), max(1, min(8192, 2**17 // max(x[:1].numel(), 1)))
    out = torch.empty(draws * len(x), dtype=torch.float64)
    for start in range(0, len(out), at_once):  # many draws of few rows in one pass
        draw, row = np.divmod(np.arange(start, min(start + at_once, len(out))), len(x))
        place = (_mixed(hashes[row] + draw.astype(np.uint64)) % np.uint64(len(pool))).astype(np.int64)
        noise, part = pool[torch.from_numpy(place).to(pool.device)], torch.from_numpy(row)
        out[start : start + at_once] = model.elbo(x[part], None if c is None else c[part], noise=noise).double().cpu()
    return out.view(draws, len(x))


def _hashes(x: Tensor) -> np.ndarray:
    """Return a hash of 64 bits (n,) of each row of x (n, *shape): equal for equal rows."""
    values = x.detach().cpu().double().reshape(len(x), -1).numpy() + 0.0  # -0 becomes 0
    values[np.isnan(values)] = np.nan  # all NaNs get the same bits
    hashes = np.zeros(len(x), dtype=np.uint64)
    for column in np.ascontiguousarray(values.T).view(np.uint64):
        hashes = _mixed(hashes ^ column)
    return hashes


def _mixed(number: np.ndarray) -> np.ndarray:
    """Return a hash (n,) of numbers of 64 bits, each bit of which depends on all of the number's (SplitMix, Steele 2014)."""
    number = number + np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))
