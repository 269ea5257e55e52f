"""Which values of a column have probability mass of their own, and the scale of the other values."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["PROBED", "frequent", "standard", "worth"]

WORTH = 0.02  # nats a row that a spike on a value must be worth before the value becomes an atom
PROBED = 50_000  # rows that decide whether values repeat, and where most of them lie, where there are many more


def worth(counts: np.ndarray, rows: int) -> np.ndarray:
    """Return which values, in so many of the rows each, are worth an atom although nothing is known of their neighbours."""
    return counts * np.log(np.maximum(counts, 1)) >= WORTH * rows


def frequent(distinct: np.ndarray, counts: np.ndarray, rows: int, step: float | None) -> np.ndarray:
    """Return which distinct values deserve an atom: far more rows than chance puts there, and a spike worth 0.02 nats a row.

    Expected, on a lattice, is what the ten values on either side make of it; off one, how often the other values repeat. Chance
    stays below 5 + expected + 5 sqrt(expected). The worth of a spike is share * log(rows there / expected).

    Args:
        distinct, counts: (M,) the different values, ascending, and the rows of each.
        rows: how many rows there are.
        step: of the lattice that the values lie on; None where there is none.
    """
    out = np.zeros(len(distinct), dtype=bool)
    for i in map(int, np.flatnonzero((counts >= 5) & (counts >= 0.001 * rows))):
        if step is None:
            expected = (rows - counts[i]) / max(1, len(distinct) - 1) - 1 if len(distinct) > 1 else 0.0
            smooth = 1.0
        else:
            first, last = max(0, i - 10), min(len(distinct) - 1, i + 10)
            around = np.delete(counts[first : last + 1], i - first)
            smooth = expected = float(np.median(around)) * len(around) * step / float(distinct[last] - distinct[first])
        above_chance = counts[i] >= 5 + expected + 5 * math.sqrt(max(0.0, expected))
        out[i] = above_chance and counts[i] / rows * math.log(counts[i] / smooth) >= WORTH
    return out


def standard(present: np.ndarray, atoms: np.ndarray) -> tuple[float, float]:
    """Return the mean and standard deviation off the atoms, outliers pulled in: one absurd value must not squash the rest."""
    rest = present[~np.isin(present, atoms)] if len(atoms) else present
    rest = rest if len(rest) > 1 and np.ptp(rest) > 0 else present
    sample = rest if len(rest) <= PROBED else rest[:: len(rest) // PROBED]
    lower, upper = np.quantile(sample, [0.1, 0.9])
    if upper > lower and max(-rest.min(), rest.max()) < 1e30:  # beyond, the scale must say that float32 cannot hold it
        reach = 20 * (upper - lower)
        if rest.min() < lower - reach or rest.max() > upper + reach:
            rest = rest.clip(lower - reach, upper + reach)
    return float(rest.mean()), float(rest.std())
