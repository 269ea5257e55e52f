"""Any columns given any others by a chain of conditionals: weighted particles along the order of the columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from genus.random import gumbel_like, rng

__all__ = ["Chain", "Particles", "mixed", "draw_rows", "run", "run_until"]

FIRST, GROWTH, MOST = 64, 4, 1024  # particles of a row at first, how many times as many next, and the most
ENOUGH = 16.0  # effective particles that are enough
AT_ONCE = 20_000  # rows times particles handled together


class Chain(Protocol):
    """Describe one chain of conditionals of table rows, in an order of its own."""

    @property
    def order(self) -> Sequence[int]:
        """Return the column at every position."""

    def see(self, x: Tensor, c: Tensor | None) -> np.ndarray:
        """Return what the conditionals see of rows x (B, D): (features, B)."""

    def log_column(self, i: int, seen: np.ndarray, x: Tensor) -> np.ndarray:
        """Return the log-density (B,) of column i of rows x (B, D) given the columns before it."""

    def draw_column(self, i: int, seen: np.ndarray, x: Tensor) -> np.ndarray | None:
        """Draw column i of rows x (B, D), and of what is seen of them, in place.

        Returns:
            The log of the probability (B,) of what may be drawn, where some values are excluded; None where none is.
        """


class Particles(NamedTuple):
    """Hold draws of the unknown columns of B rows, as far as the last known column of an order, with their weights.

    Attributes:
        rows: (P, B, D); P is 1 where nothing had to be drawn.
        log_weights: (P, B), unnormalised; the particles of a row are drawn from the unknown columns given the known ones where
            they are chosen by these.
        log_density: (B,) the log of the estimated density of the known columns, in nats; exact where P is 1.
        size: (B,) how many independent draws the particles are worth, `inf` where the density is exact.
    """

    rows: Tensor
    log_weights: np.ndarray
    log_density: np.ndarray
    size: np.ndarray


def run(chain: Chain, x: Tensor, unknown: Collection[int], c: Tensor | None, count: int) -> Particles:
    """Draw the unknown columns in turn, and weight the draws by the known ones that come after (Gordon et al. 1993).

    Each unknown column is drawn given those before it, and each known column multiplies the weights by its density. Where the
    weights of a row come to be worth fewer than half its particles, particles are drawn again by their weights, so that those
    that contradict what is known do not crowd out the others. The mean weight, of all stages multiplied, is an estimate without
    bias of the density of the known columns.

    Args:
        chain: the conditionals.
        x: rows (B, D), whatever they hold in the unknown columns.
        unknown: these columns.
        c: the contexts, or None.
        count: the number of particles of each row.
    """
    n, seen, draws = len(x), chain.see(x, c), x.clone()
    weights = np.zeros((1, n))
    earlier, variance = np.zeros(n), np.zeros(n)  # of the stages before: log-density, relative variance
    for i in chain.order[: last_known(chain.order, unknown) + 1]:
        if i not in unknown:
            weights += chain.log_column(i, seen, draws).reshape(weights.shape)
            continue
        if len(weights) == 1:
            draws, weights, seen = draws.repeat(count, 1), np.tile(weights, (count, 1)), np.tile(seen, (1, count))
        else:
            rows = np.flatnonzero(effective(weights) < count / 2)
            if len(rows):
                again = (systematic_resampling(weights[:, rows]) * n + rows).ravel()  # particles to go on with
                at = (np.arange(count)[:, None] * n + rows).ravel()
                draws[torch.as_tensor(at)], seen[:, at] = draws[torch.as_tensor(again)], seen[:, again]
                variance[rows] += count / effective(weights[:, rows]) - 1
                earlier[rows] += log_mean(weights[:, rows])
                weights[:, rows] = 0.0
        allowed = chain.draw_column(i, seen, draws)
        if allowed is not None:
            weights += allowed.reshape(weights.shape)
    size = np.full(n, math.inf) if len(weights) == 1 else count / (count / effective(weights) + variance)
    return Particles(draws.view(len(weights), *x.shape), weights, earlier + log_mean(weights), size)


def run_until(chain: Chain, x: Tensor, unknown: Collection[int], c: Tensor | None) -> Particles:
    """Run particles for rows x (B, D), again with more for rows whose particles are worth too few draws.

    Returns:
        As `run`; rows that needed fewer particles than others have more of weight 0.
    """
    parts: list[tuple[np.ndarray, Particles]] = []
    left, count = np.arange(len(x)), FIRST
    while True:
        step, few = max(1, AT_ONCE // count), []
        for at in range(0, len(left), step):
            rows = left[at : at + step]
            here = torch.as_tensor(rows)
            found = run(chain, x[here], unknown, None if c is None else c[here], count)
            weak = (found.size < ENOUGH) & (count * GROWTH <= MOST)
            few.append(rows[weak])
            fine = np.flatnonzero(~weak)
            parts.append((rows[fine], Particles(found.rows[:, fine], *(part[..., fine] for part in found[1:]))))
        left, count = np.concatenate(few or [left[:0]]), count * GROWTH
        if not len(left):
            return joined(parts, x)


def joined(parts: list[tuple[np.ndarray, Particles]], x: Tensor) -> Particles:
    """Return the particles of all rows x (B, D), given those of parts of the rows, each with its rows' numbers."""
    most = max((len(found.rows) for _, found in parts), default=1)
    draws, weights = x.repeat(most, 1, 1), np.full((most, len(x)), -math.inf)
    log_density, size = np.zeros(len(x)), np.zeros(len(x))
    for rows, found in parts:
        draws[: len(found.rows), torch.as_tensor(rows)] = found.rows
        weights[: len(found.rows), rows] = found.log_weights
        log_density[rows], size[rows] = found.log_density, found.size
    return Particles(draws, weights, log_density, size)


def mixed(chains: Sequence[Particles]) -> tuple[np.ndarray, np.ndarray]:
    """Return the log of the mean density of several chains (B,), and the draws that this mean is worth (B,)."""
    log_density = np.stack([found.log_density for found in chains])
    log_mixture = log_mean(log_density)
    with np.errstate(invalid="ignore"):
        share = np.nan_to_num(np.exp(log_density - log_mixture) / len(chains))
    variance = sum(part**2 / found.size for part, found in zip(share, chains, strict=True))
    with np.errstate(divide="ignore"):
        return log_mixture, 1 / np.asarray(variance)


def draw_rows(chains: Sequence[Particles], x: Tensor, rest: Callable[[int, Tensor, Tensor], Tensor]) -> Tensor:
    """Return rows x (B, D) with the unknown columns drawn: a chain by its density, a particle by its weight, then the rest.

    Args:
        chains: the particles of every chain.
        x: the rows.
        rest: draws the columns after the last known one: (number of the chain, rows (R, D), their numbers in x) -> rows.
    """
    log_density = torch.as_tensor(np.stack([found.log_density for found in chains]))
    chosen, out = (log_density + gumbel_like(log_density)).argmax(0), x.clone()
    for k, found in enumerate(chains):
        rows = (chosen == k).nonzero()[:, 0]
        if len(rows):
            log_weights = torch.as_tensor(found.log_weights)[:, rows]
            which = (log_weights + gumbel_like(log_weights)).argmax(0)
            out[rows] = rest(k, found.rows[which, rows], rows)
    return out


def last_known(order: Sequence[int], unknown: Collection[int]) -> int:
    """Return the position of the last known column in an order; -1 where there is none.

    >>> last_known([2, 0, 1], {1})
    1
    """
    return max((p for p, i in enumerate(order) if i not in unknown), default=-1)


def effective(log_weights: np.ndarray) -> np.ndarray:
    """Return how many equal weights the weights (P, B) of each row are worth, (B,) (Kong 1992)."""
    w = shares(log_weights)
    return 1 / np.square(w).sum(0)


def shares(log_weights: np.ndarray) -> np.ndarray:
    """Return weights (P, B) that sum to 1 in each row, equal ones where all are 0."""
    highest = log_weights.max(0)
    w = np.exp(log_weights - np.where(np.isfinite(highest), highest, 0.0)) + np.where(np.isfinite(highest), 0.0, 1.0)
    return w / w.sum(0)


def log_mean(log_weights: np.ndarray) -> np.ndarray:
    """Return the log of the mean of weights (P, B) of each row, (B,)."""
    return np.logaddexp.reduce(log_weights, axis=0) - math.log(len(log_weights))


def systematic_resampling(log_weights: np.ndarray) -> np.ndarray:
    """Return which particles to go on with, (P, B), each about as often as its weight (P, B) says."""
    count, n = log_weights.shape
    start = torch.rand(n, dtype=torch.float64, generator=rng()).numpy()
    ends = np.floor(shares(log_weights).cumsum(0) * count + start).astype(np.intp).clip(0, count)
    ends[-1] = count
    copies = np.diff(ends, axis=0, prepend=0)
    return np.repeat(np.tile(np.arange(count), n), copies.T.ravel()).reshape(n, count).T
