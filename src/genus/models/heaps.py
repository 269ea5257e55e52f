"""Values of a wide lattice that repeat far more often than the smooth density of their bin explains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genus.errors import DataError

__all__ = ["Heaps", "weigh"]

CLASSES = (2, 3, 4, 6, 10, 18)  # counts from which on rows of a repeated value are trusted apart
TRUSTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)  # the shares of an excess of rows that is believed
SWEEPS = 3  # over the classes; the likelihood is concave in the trusts
ABOVE = 5.0  # deviations above its expected rows, or times these where they are below 1, from which on a value may be a heap
LEAST, EACH = 10.0, 0.005  # nats that all heaps of a column must be worth, and that they must be worth a row
PROBED = 20_000  # different values whose likelihood chooses the trusts


class Heaps(nn.Module):
    """Hold the heaps of one column: values that have a share of their bin's mass of their own, beside the smooth part.

    Within a bin with heaps of the shares w_1, w_2, ... the mass of a lattice value v is w_v + (1 - w_1 - w_2 - ...) s(v), where
    w_v is 0 where v is no heap and s is the smooth part, whose masses sum to 1 over the bin. So all masses sum to 1 again.

    >>> heaps = Heaps()
    >>> heaps.take(np.array([5, 9]), np.array([0.25, 0.5]))
    >>> heaps.prepare(np.array([0, 1]), 3)  # 5 lies in the first of three bins, 9 in the second
    >>> np.exp(heaps.log_mass(np.array([9, 8]), np.array([1, 1]), np.log([0.1, 0.1]))).round(3).tolist()
    [0.55, 0.05]
    """

    cells: Tensor  # (H,) the numbers of the heaps' values on the lattice, ascending
    weights: Tensor  # (H,) the share that each has of the mass of its bin

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cells", torch.zeros(0, dtype=torch.long))
        self.register_buffer("weights", torch.zeros(0, dtype=torch.float64))
        self.prepare(np.zeros(0, dtype=np.intp), 0)

    def __len__(self) -> int:
        return len(self.cells)

    def take(self, cells: np.ndarray, weights: np.ndarray) -> None:
        """Replace all heaps; `prepare` must follow."""
        self.cells = torch.as_tensor(np.asarray(cells, dtype=np.int64), device=self.cells.device)
        self.weights = torch.as_tensor(np.asarray(weights, dtype=np.float64), device=self.weights.device)

    def prepare(self, bins: np.ndarray, count: int) -> None:
        """Lay out what the methods below go through.

        Args:
            bins: (H,) the bin of each heap, ascending as the cells are.
            count: the number of bins.
        """
        self._cells, self._weights = self.cells.cpu().numpy(), self.weights.cpu().numpy()
        self._first = np.searchsorted(bins, np.arange(count + 1))
        self._sums = np.concatenate([[0.0], self._weights.cumsum()])
        self._total = np.bincount(bins, self._weights, count) if count else np.zeros(0)

    def check(self, size: int, taken: np.ndarray) -> None:
        """Raise DataError where the buffers are no heaps of a lattice of so many values.

        Args:
            size: the number of values; 0 of a column that can have no heaps.
            taken: the numbers of the values that are atoms.
        """
        cells, weights = self.cells.cpu().numpy(), self.weights.cpu().numpy()
        if len(cells) != len(weights) or (len(cells) and (cells.min() < 0 or cells.max() >= size)):
            raise DataError(f"The heaps of a column are no values of its lattice of {size} values.")
        if (np.diff(cells) <= 0).any() or np.isin(cells, taken).any():
            raise DataError("The heaps of a column must ascend, and none may be an atom.")
        if not (weights >= 0).all() or not (weights <= 1).all():
            raise DataError("The share of a heap must be from 0 to 1.")

    def check_total(self) -> None:
        """Raise DataError where the heaps of a bin leave nothing of its mass; after `prepare`."""
        if (self._total >= 1).any():
            raise DataError("The heaps of a bin must leave a part of its mass.")

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Read any number of heaps; the column around them checks them."""
        for name in ("cells", "weights"):
            tensor, old = state_dict.get(prefix + name), self.get_buffer(name)
            if tensor is not None and tensor.ndim == 1 and tensor.dtype == old.dtype:
                setattr(self, name, old.new_zeros(len(tensor)))
        super()._load_from_state_dict(state_dict, prefix, *args)

    # -- density and draws --------------------------------------------------------------------------------------------

    def log_mass(self, cells: np.ndarray, bins: np.ndarray, log_smooth: np.ndarray) -> np.ndarray:
        """Return the log-mass of lattice values within their bins, (n,), given that by the smooth part alone."""
        if not len(self._cells):
            return log_smooth
        at = np.searchsorted(self._cells, cells).clip(0, len(self._cells) - 1)
        own = np.where(self._cells[at] == cells, self._weights[at], 0.0)
        with np.errstate(divide="ignore"):
            return np.where(
                own > 0, np.log(own + (1 - self._total[bins]) * np.exp(log_smooth)), log_smooth + np.log1p(-self._total[bins])
            )

    def draw(self, bins: np.ndarray, share: Any) -> np.ndarray:
        """Return a heap's value on the lattice for each bin (n,), or -1 for one that is to be drawn from the smooth part.

        Args:
            bins: of the values to be drawn.
            share: n -> n numbers from 0 to 1, drawn; asked for nothing where there are no heaps.
        """
        out = np.full(len(bins), -1)
        rows = np.flatnonzero(self._total[bins] > 0) if len(self._cells) else np.zeros(0, dtype=np.intp)
        if len(rows):
            own, v = bins[rows], share(len(rows))
            at = np.searchsorted(self._sums, self._sums[self._first[own]] + v, side="right") - 1
            at = at.clip(self._first[own], self._first[own + 1] - 1)
            out[rows] = np.where(v < self._total[own], self._cells[at], -1)
        return out


def weigh(cells: np.ndarray, bins: np.ndarray, smooth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values that are heaps, ascending, and the share that each has of its bin's mass.

    A value may be a heap where it has far more rows than the smooth part expects. Its share is the excess, shrunk by a trust
    that is chosen for values of about so many rows: the one by which the training rows are likeliest, each predicted by counts
    without it. So the values of one row are trusted as far as values come again, and not at all where none does (Good 1953).

    Args:
        cells: (n,) the training rows' values, as numbers on the lattice.
        bins: (n,) their bins.
        smooth: (n,) their masses within the bins by the smooth part.

    >>> cells = np.array([4] * 50 + [*range(100, 150)])
    >>> weigh(cells, np.zeros(100, dtype=int), np.full(100, 0.001))[0].tolist()
    [4]
    """
    distinct, first, counts = np.unique(cells, return_index=True, return_counts=True)
    own, mass, rows = bins[first], smooth[first], np.bincount(bins)
    excess = _excess(counts, rows[own] * mass)
    nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
    if not excess.any():
        return nothing
    some = np.ones(len(distinct), dtype=bool) if len(distinct) <= PROBED else own % -(-len(distinct) // PROBED) == 0
    trusts, gain = _trusts(counts[some], own[some], mass[some], rows)
    weights = trusts[_class(counts)] * excess / rows[own]
    kept = weights > 0
    return (distinct[kept], weights[kept]) if gain >= LEAST + EACH * counts[some].sum() else nothing


def _excess(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the rows of each value beyond the expected ones; 0 where they may be there by chance."""
    return np.where(
        (counts > 0) & (counts > expected + ABOVE * np.minimum(expected, np.sqrt(expected))), counts - expected, 0.0
    )


def _class(counts: np.ndarray) -> np.ndarray:
    """Return which trust values of so many rows have."""
    return np.searchsorted(CLASSES, counts, side="right")


def _trusts(counts: np.ndarray, own: np.ndarray, mass: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the trust of each class, and the nats that all training rows gain by them.

    Args:
        counts, own, mass: of the different values, their rows, bins and smooth masses.
        rows: of each bin.
    """
    left, expected = rows[own] - 1, rows[own] * mass  # the row in question is left out of what predicts it
    full, less = _excess(counts, expected), _excess(counts - 1, expected)
    of_full, of_less = _class(counts), _class(counts - 1)
    known = left > 0

    def value(trusts: np.ndarray) -> float:
        heap, heap_less = trusts[of_full] * full, trusts[of_less] * less
        total = np.bincount(own, heap, len(rows))[own] - heap + heap_less
        seen = (heap_less + np.maximum(left - total, 0.0) * mass)[known] / left[known]
        return float((counts[known] * np.log(np.maximum(seen, 1e-300))).sum())

    trusts = np.zeros(len(CLASSES) + 1)
    start = best = value(trusts)
    for _ in range(SWEEPS):
        before = best
        for i in np.unique(of_full[full > 0]).tolist():
            for trust in TRUSTS:
                trial = trusts.copy()
                trial[i] = trust
                if (found := value(trial)) > best:
                    best, trusts = found, trial
        if best == before:
            break
    return trusts, best - start
