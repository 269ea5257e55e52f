"""Atoms, the values of a column with probability mass of their own, and the scale of the other values."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["PROBED", "distinct_counts", "clear_spikes", "robust_moments", "spikes"]

WORTH = 0.02  # nats a row that a spike on a value must be worth before the value becomes an atom
HEAD = 1000  # values that nearly always show whether all are decimals; fewer are sorted
PROBED = 50_000  # of many more rows, so many decide whether values repeat, and where most of them lie


def distinct_counts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different values, ascending, and the rows of each; decimals of a short range are not sorted.

    >>> distinct_counts(np.array([5.0, 3.0, 5.0]))
    (array([3., 5.]), array([1, 2]))
    """
    for scale in (1.0, 10.0, 100.0) if len(values) > HEAD else ():
        whole = _whole(values, scale)
        if whole is not None:
            low = int(whole.min())
            counts = np.bincount(whole - low)
            place = np.flatnonzero(counts)
            return (place + low) / scale, counts[place]
    return np.unique(values + 0.0, return_counts=True)  # -0.0 is 0.0


def _whole(values: np.ndarray, scale: float) -> np.ndarray | None:
    """Return values times a power of ten as whole numbers, where they are that and of a short range; None otherwise."""
    head = values[:HEAD]  # nearly always these decide
    if not np.array_equal(np.rint(head * scale) / scale, head) or not np.ptp(values) * scale < 4 * len(values):
        return None
    whole = np.rint(values * scale)
    return whole.astype(np.int64) if np.array_equal(whole / scale, values) else None


def clear_spikes(counts: np.ndarray, rows: int) -> np.ndarray:
    """Return which values deserve an atom, bool (M,), where the rows of their neighbours are not known; see `spikes`.

    Args:
        counts: (M,) the rows of each value.
        rows: the number of rows.
    """
    return counts * np.log(np.maximum(counts, 1)) >= WORTH * rows


def spikes(distinct: np.ndarray, counts: np.ndarray, rows: int, step: float | None) -> np.ndarray:
    """Return which values deserve an atom: those of far more rows than by chance, with a spike worth 0.02 nats a row.

    The expected rows of a value on a lattice are the median of the ten values on either side; off a lattice, the rows by which
    the other values repeat. Chance stays below 5 + expected + 5 sqrt(expected). A spike is worth share * log(rows / expected).

    Args:
        distinct, counts: (M,) the different values, ascending, and the rows of each.
        rows: the number of rows.
        step: of the lattice that the values lie on; None where they lie on none.

    Returns:
        Bool (M,).
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


def robust_moments(present: np.ndarray, atoms: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation off the atoms, outliers pulled in: one absurd value must not squash the rest.

    Args:
        present: (N,) the values that are not missing.
        atoms: (A,) the values with mass of their own.
    """
    values = present[~np.isin(present, atoms)] if len(atoms) else present
    values = values if len(values) > 1 and np.ptp(values) > 0 else present
    sample = values if len(values) <= PROBED else values[:: len(values) // PROBED]
    lower, upper = np.quantile(sample, [0.1, 0.9])
    if upper > lower and max(-values.min(), values.max()) < 1e30:  # beyond, the scale must say that float32 cannot hold it
        reach = 20 * (upper - lower)
        if values.min() < lower - reach or values.max() > upper + reach:
            values = values.clip(lower - reach, upper + reach)
    return float(values.mean()), float(values.std())
