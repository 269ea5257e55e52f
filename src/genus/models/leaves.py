"""The values of a column as the leaves of a tree of yes-or-no questions, and the density of a number within its leaf."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from genus.errors import DataError
from genus.models.boosting import Boosted, are_cuts, cuts, empty
from genus.models.heaps import Heaps, weigh
from genus.nets.cells import Cells
from genus.space import Category, Lattice, Real, Space

__all__ = ["ColumnLeaves", "Located"]

STEEP = 0.98  # the steepest line within a bin; at 1 the density would reach 0 at one end
TAIL = 1e-6  # the least length of a tail, in standardised units
ROWS_PER_VALUE = 8  # with so many rows a value or more, the values of a narrow lattice are leaves, instead of lying in bins
FEW_VALUES = 12  # of a lattice that has at most so many, the values are leaves whatever the rows
REDRAWS = 1000  # the most times that lattice values which fell on an atom are drawn again


class Located(NamedTuple):
    """Hold where n values of a column lie.

    Attributes:
        leaf: (n,) the number of the leaf.
        bin: (n,) the bin of a number in the continuous part; -1 for a value that is a leaf of its own.
        lower, upper: (n,) the ends in u of a lattice value's cell; of a Real both are u.
        log_slope: (n,) log du/dx, which turns a density of u into one of x.
        cell: (n,) the number of a lattice value, from 0; -1 of others.
    """

    leaf: np.ndarray
    bin: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    log_slope: np.ndarray
    cell: np.ndarray

    def take(self, rows: np.ndarray) -> Located:
        """Return where some of the values lie."""
        return Located(*(part[rows] for part in self))


class ColumnLeaves(nn.Module):
    """Divide the values of one column into leaves, and say by which yes-or-no questions a leaf is found.

    A lattice has evenly spaced values; u = chart(x). Levels, atoms, missing values and the values of a narrow
    lattice are leaves; the continuous part of a Real or of a wide Lattice, or of a narrow one with few rows, is divided into
    bins by quantiles, each a leaf. Within a bin the density of u is a line, whose slope leads from the height of the bin before
    to that of the bin after; beyond the outer edges it falls exponentially. A lattice value has the mass of its cell, without
    the cells of atoms, so all masses sum to 1. Lattice values that repeat far more often have masses of their own, `Heaps`.

    Leaves are numbered so that a question is a place to cut: "leaf number mid or above?", asked of the leaves lo to hi - 1.
    Numbers go by size, levels by how alike their rows are (`ByteCodes`), and each cut halves the rows as nearly as it can (Fano
    1949), so that a value takes few questions.

    Args:
        space: of the one column.
        bins: the most bins.
        pooled: whether a narrow lattice has bins where there are few rows for each of its values.
    """

    binned: Tensor  # () whether a narrow lattice has bins
    place: Tensor  # (leaves,) the number of the leaf of each value that is a leaf of its own, then of each bin
    edges: Tensor  # (bins in use - 1,) between the bins, in u
    tails: Tensor  # (2,) the mean length of the exponential below the first edge and of that above the last
    smooth: Tensor  # () the share of the slopes that is used
    nodes: Tensor  # (leaves - 1, 3) lo, mid and hi of every question, a question before those that follow from it

    def __init__(self, space: Space, bins: int, pooled: bool = False) -> None:
        super().__init__()
        self.space, self.kind, self.bins, self.pooled = space, space.kinds[0], bins, pooled
        self.register_buffer("binned", torch.zeros((), dtype=torch.bool))
        self._lay_out(False)
        self.register_buffer("place", torch.zeros(0, dtype=torch.long))
        self.register_buffer("edges", torch.zeros(0, dtype=torch.float64))
        self.register_buffer("tails", torch.ones(2, dtype=torch.float64))
        self.register_buffer("smooth", torch.zeros((), dtype=torch.float64))
        self.register_buffer("nodes", torch.zeros(0, 3, dtype=torch.long))
        self.heaps = Heaps()
        self.register_load_state_dict_post_hook(_check_loaded)  # once the heaps have been loaded too
        self._divide(self._one_edge(), np.ones(2))
        self._number(np.ones(self.count), np.arange(self.count))

    def _lay_out(self, binned: bool) -> None:
        """Set which values are leaves (`kept`), and whether there are others, which lie in bins (`has_rest`)."""
        self.binned.fill_(binned)
        self.cells = Cells(self.space, 1 if binned else Lattice.NARROW)
        self.has_rest = len(self.cells.rest) > 0
        kept = self.cells.alive.clone() if self.cells.total else torch.ones(0 if self.has_rest else 1, dtype=torch.bool)
        if self.has_rest and len(kept):
            kept[0] = False  # the cell that stands for all of the continuous part
        self.kept = kept.nonzero()[:, 0].numpy()  # the cells that are leaves

    @property
    def count(self) -> int:
        """Return the number of leaves."""
        return len(self.kept) + (len(self.edges) + 1 if self.has_rest else 0)

    @property
    def blank(self) -> int:
        """Return the number of the leaf that is a missing value; the column must have one."""
        return int(self._place[self._blank_item])

    @property
    def _blank_item(self) -> int:  # its place among the values that are leaves
        state = self.cells.total - self.kind.states + self.kind.missing_state  # a narrow lattice's values come before atoms
        return int(np.flatnonzero(self.kept == state)[0])

    # -- what is learned ----------------------------------------------------------------------------------------------

    def measure(self, x: Tensor, ranks: np.ndarray) -> None:
        """Set bins and questions from training values x (n, 1); ranks (levels,) put the levels of a category in order."""
        if self.pooled and self._can_have_bins:
            self._lay_out(len(x) < ROWS_PER_VALUE * self.kind.size)  # type: ignore[attr-defined]
            self._divide(self._one_edge(), np.ones(2))
        if self.has_rest:
            rest = self.space.split(x).state[:, 0] == 0
            bins = max(2, min(self.bins, round(1.2 * len(x) ** 0.4)))
            self._divide(*self._quantiles(x[rest], self._numbers(x[rest])[0], bins))
            self.measure_heaps(x)
        self._number(np.bincount(self._items(x).leaf, minlength=self.count).astype(float), ranks)

    @property
    def _can_have_bins(self) -> bool:  # a narrow lattice that is not of few values
        return isinstance(self.kind, Lattice) and FEW_VALUES < self.kind.size <= Lattice.NARROW

    def untrained(self, depth: int) -> list[Boosted]:
        """Return an answer to every question that makes all leaves equally likely, without a tree."""
        return [Boosted(float(np.log((hi - mid) / (mid - lo))), *empty(depth)) for lo, mid, hi in self.nodes.tolist()]

    def measure_heaps(self, x: Tensor) -> None:
        """Set the heaps from values x (n, 1), those in the continuous part; bins and questions stay."""
        if not self.has_rest or not isinstance(self.kind, Lattice):
            return
        located = self.locate(x)
        located = located.take(np.flatnonzero(located.bin >= 0))
        self.heaps.take(np.zeros(0), np.zeros(0))
        if len(located.bin):
            self.heaps.take(*weigh(located.cell, located.bin, np.exp(self.log_within(located, np.zeros(len(located.bin))))))
        self._prepare()

    def _quantiles(self, x: Tensor, u: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
        """Return edges with about equally many values between them, at least one beyond either end, and lengths of tails."""
        ordered = np.sort(u if isinstance(self.kind, Real) else self._cell(x)[1])  # lattices are cut between their cells
        if not len(ordered) or ordered[0] == ordered[-1]:
            return self._one_edge(), np.ones(2)
        distinct = ordered[np.append(True, ordered[1:] != ordered[:-1])]
        quantiles = ordered[np.linspace(0, len(ordered), bins + 1)[1:-1].astype(int)]
        below = np.unique(np.searchsorted(distinct, quantiles).clip(0, len(distinct) - 2))
        edges = np.unique((distinct[below] + distinct[below + 1]) / 2 if isinstance(self.kind, Real) else distinct[below])
        lengths = [edges[0] - u[u <= edges[0]].mean(), u[u >= edges[-1]].mean() - edges[-1]]
        return edges, np.maximum(lengths, max(TAIL, 0.01 * u.std()))

    def _one_edge(self) -> np.ndarray:
        """Return the edge of a column of which no two values are known; none where there is no continuous part."""
        if not self.has_rest or not isinstance(self.kind, Lattice):
            return np.zeros(int(self.has_rest))
        taken = {round((a - self.kind.low) / self.kind.step) for a in self.kind.lattice_atoms}
        last = self.kind.size - 1
        near = range(max(0, last // 2 - len(taken) - 1), min(last, last // 2 + len(taken) + 2))
        free = next((i for i in near if i not in taken and last - i > sum(a > i for a in taken)), 0)
        return self._cell(torch.tensor([[self.kind.low + free * self.kind.step]], dtype=torch.float64))[1]

    def _divide(self, edges: np.ndarray, tails: np.ndarray) -> None:
        """Set the edges between bins (bins - 1,) and the lengths of the two tails; number values before bins; no heaps."""
        self.edges, self.tails = torch.as_tensor(edges), torch.as_tensor(np.asarray(tails, dtype=np.float64))
        self.place = torch.arange(self.count)
        self.heaps.take(np.zeros(0), np.zeros(0))
        self._prepare()

    def _number(self, counts: np.ndarray, ranks: np.ndarray) -> None:
        """Number the leaves, levels by ranks, and set the questions by the counts of their rows (leaves,).

        Where a blank stands for an unknown value the first question is whether there is one: the others then learn from the
        rows with a value alone.
        """
        order = ranks.argsort()
        if not isinstance(self.kind, Category):
            values = self.cells.values.numpy()[self.kept] if self.cells.total else np.zeros(len(self.kept))
            if self.has_rest:
                ends = np.concatenate([self._edges[:1] - self._tails[0], self._edges, self._edges[-1:] + self._tails[1]])
                middles = torch.as_tensor((ends[1:] + ends[:-1]) / 2)[:, None]
                values = np.concatenate([values, self.space.join(torch.zeros_like(middles).long(), middles)[:, 0].numpy()])
            order = np.argsort(np.nan_to_num(values, nan=np.inf), kind="stable")
        apart = self.kind.has_unknown and len(counts) > 1
        if apart:
            blank = self._blank_item
            order = np.append(order[order != blank], blank)
        nodes = cuts(counts[order][: len(order) - apart])
        if apart:
            nodes = np.concatenate([[[0, len(order) - 1, len(order)]], nodes])
        self.place, self.nodes = torch.as_tensor(order.argsort()), torch.as_tensor(nodes)
        self._prepare()

    def _prepare(self) -> None:
        """Compute arrays for the methods below: the buffers, the widths of bins, the mass of bins that atoms take."""
        self._edges, self._tails, self._place = self.edges.cpu().numpy(), self.tails.cpu().numpy(), self.place.cpu().numpy()
        self._widths = np.concatenate([self._tails[:1], np.diff(self._edges), self._tails[1:]])
        self._taken = np.zeros((2, len(self._edges) + 1))
        atoms = getattr(self.kind, "lattice_atoms", ()) if self.has_rest else ()
        if atoms:
            lower, upper = self._cell(torch.tensor(atoms, dtype=torch.float64)[:, None])
            where = np.searchsorted(self._edges, (np.maximum(lower, -1e300) + np.minimum(upper, 1e300)) / 2)
            for part, mass in zip(self._taken, self._masses(where, lower, upper), strict=True):
                np.add.at(part, where, mass)
        u = self._numbers(self._values(self.heaps.cells))[0] if len(self.heaps) else np.zeros(0)
        self.heaps.prepare(np.searchsorted(self._edges, u), len(self._edges) + 1)

    def _values(self, cells: Tensor) -> Tensor:  # of the lattice, (n, 1) in double precision
        return (self.kind.low + cells.cpu().double() * self.kind.step)[:, None]  # type: ignore[attr-defined]

    def check(self) -> None:
        """Raise DataError where the buffers are no division of this column, as of a file that was tampered with."""
        edges, tails = self.edges, self.tails
        if bool(self.binned) and not self._can_have_bins:
            raise DataError("Only a lattice of few values can have them in bins instead.")
        if not self.has_rest == (len(edges) > 0) or len(edges) >= max(self.bins, 2) or not bool(edges.isfinite().all()):
            raise DataError(f"A column cannot have {len(edges)} edges between bins.")
        if bool((edges.diff() <= 0).any()) or not bool(((tails > 0) & tails.isfinite()).all()):
            raise DataError("Edges between bins must ascend, and tails be positive.")
        if not 0 <= float(self.smooth) <= 1 or self.place.sort().values.tolist() != list(range(self.count)):
            raise DataError(f"The {self.count} leaves of a column are not numbered one by one.")
        if not are_cuts(self.nodes.tolist(), self.count):
            raise DataError("The questions of a column are no tree that tells its leaves apart.")
        kind = self.kind if self.has_rest and isinstance(self.kind, Lattice) else None
        taken = [round((atom - kind.low) / kind.step) for atom in kind.lattice_atoms] if kind else []
        self.heaps.check(kind.size if kind else 0, np.array(taken, dtype=np.int64))
        self._prepare()
        self.heaps.check_total()

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Read any number of leaves."""
        binned = state_dict.get(prefix + "binned")
        if binned is not None and binned.numel() == 1 and binned.dtype == torch.bool:
            self._lay_out(bool(binned) and self._can_have_bins)
        for name in ("place", "edges", "nodes"):
            tensor, old = state_dict.get(prefix + name), self.get_buffer(name)
            if tensor is not None and tensor.ndim == old.ndim and tensor.dtype.is_floating_point == old.is_floating_point():
                setattr(self, name, old.new_zeros(tensor.shape[0], *old.shape[1:]))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self._prepare()
        return self

    # -- where values lie ---------------------------------------------------------------------------------------------

    def locate(self, x: Tensor) -> Located:
        """Return where the values x (n, 1) lie."""
        items = self._items(x)
        return items._replace(leaf=self._place[items.leaf])

    def _items(self, x: Tensor) -> Located:
        """Return where the values x (n, 1) lie, leaves counted as in `place`: values first, then bins."""
        x = x.detach().cpu()
        state = self.space.split(x).state  # atoms are recognised in the precision of x
        item, none = np.zeros(len(x), dtype=np.intp), np.broadcast_to(-1, len(x))
        if self.cells.total:
            item = np.searchsorted(self.kept, self.cells.index(x, state)[:, 0].numpy()).clip(0, max(len(self.kept) - 1, 0))
        if not self.has_rest:
            return Located(item, none, none, none, none, none)
        rest, (u, log_slope) = (state[:, 0] == 0).numpy(), self._numbers(x)
        bins = np.where(rest, np.searchsorted(self._edges, u), -1)
        item = np.where(rest, len(self.kept) + bins, item)
        if not isinstance(self.kind, Lattice):
            return Located(item, bins, u, u, log_slope, none)
        cell = ((x.double()[:, 0] - self.kind.low) / self.kind.step).round().nan_to_num(-1.0).long().numpy()
        return Located(item, bins, *self._cell(x), log_slope, cell)

    def _cell(self, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends in u of the cells of lattice values x (n, 1), infinite at the ends of the lattice."""
        lower, upper = self.space.edges(self._exact(x))
        return lower[:, 0].numpy(), upper[:, 0].numpy()

    def _numbers(self, x: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return u of the values x (n, 1), and log du/dx, in double precision; 0 where there is no number."""
        parts = self.space.split(self._exact(x))
        return parts.u[:, 0].numpy(), parts.log_slope[:, 0].numpy()

    def _exact(self, x: Tensor) -> Tensor:
        """Return x (n, 1) in double precision, the values of a lattice without what single precision rounded off."""
        x, kind = x.detach().cpu().double(), self.kind
        return ((x - kind.low) / kind.step).round() * kind.step + kind.low if isinstance(kind, Lattice) else x

    # -- the density within a leaf ------------------------------------------------------------------------------------

    def neighbours(self, bins: np.ndarray) -> np.ndarray:
        """Return the leaves (n, 3) of the bins before, at and after each of bins (n,); an outer bin is its own neighbour."""
        around = (bins[:, None] + np.arange(-1, 2)).clip(0, len(self._edges))
        return self._place[len(self.kept) + around]

    def slopes(self, bins: np.ndarray, log_p: np.ndarray) -> np.ndarray:
        """Return slopes -1 to 1 of the lines within bins (n,), 0 in outer ones, by log-probabilities (n, 3) of `neighbours`."""
        inner = (bins > 0) & (bins < len(self._edges))
        k = np.where(inner, bins, 0)
        before, own, after = (self._widths[(k + step).clip(0, len(self._edges))] for step in (-1, 0, 1))
        with np.errstate(over="ignore", invalid="ignore"):
            left, right = (np.exp(log_p[:, i] - log_p[:, 1]) * own / w for i, w in ((0, before), (2, after)))  # heights
            start, end = ((h * own + w) / (own + w) for h, w in ((left, before), (right, after)))  # at the edges
            slope = np.nan_to_num((end - start) / 2)
        return np.where(inner, float(self.smooth) * slope.clip(-STEEP, STEEP), 0.0)

    def log_within(self, at: Located, slope: np.ndarray) -> np.ndarray:
        """Return the log-density of values within their bins, (n,) in nats and units of x; 0 for values that are leaves."""
        k = np.maximum(at.bin, 0)
        if not self.has_rest:
            return np.zeros(len(k))
        lattice = isinstance(self.kind, Lattice)
        level, tilt = self._masses(k, at.lower, at.upper) if lattice else self._heights(k, at.lower)
        not_atoms = 1 - (self._taken[0][k] + slope * self._taken[1][k])  # the share of the bin's mass
        with np.errstate(divide="ignore", invalid="ignore"):
            log = np.log(level + slope * tilt) - np.log(not_atoms) + (0.0 if lattice else at.log_slope)
        log = self.heaps.log_mass(at.cell, k, log) if lattice else log
        return np.where(at.bin < 0, 0.0, log)

    def _heights(self, k: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a and b (n,) such that a + slope * b is the density of u (n,) within bins k (n,)."""
        last, width = len(self._edges), self._widths[k]
        t = (u - self._edges[(k - 1).clip(0)]) / width
        first, beyond = k == 0, k == last
        outside = np.where(first, (u - self._edges[0]) / width, (self._edges[-1] - u) / width)  # minus the lengths beyond
        height = np.where(first | beyond, np.exp(np.minimum(outside, 0.0)), 1.0) / width
        return height, np.where(first | beyond, 0.0, (2 * t - 1) / width)

    def _masses(self, k: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a and b (n,) such that a + slope * b is the mass from lower to upper (n,) within bins k (n,)."""
        last, width = len(self._edges), self._widths[k]
        first, beyond = k == 0, k == last
        start = self._edges[(k - 1).clip(0)]
        with np.errstate(invalid="ignore", over="ignore"):
            t0, t1 = ((np.clip(v, -1e300, 1e300) - start) / width for v in (lower, upper))
            t0, t1 = t0.clip(0, 1), t1.clip(0, 1)
            near, length = np.where(first, self._edges[0] - upper, lower - self._edges[-1]) / width, (upper - lower) / width
            tail = np.exp(-np.maximum(near, 0.0)) * -np.expm1(-length)
        outer = first | beyond
        return np.where(outer, tail, t1 - t0), np.where(outer, 0.0, (t1 - t0) * (t0 + t1 - 1))

    # -- drawing ------------------------------------------------------------------------------------------------------

    def draw(self, leaf: np.ndarray, slope: np.ndarray, uniform: Any) -> Tensor:
        """Return a value of each leaf (n,): x (n, 1).

        Args:
            leaf: the leaves.
            slope: of the lines within bins, (n,).
            uniform: draws n numbers from 0 to 1, given n.
        """
        item, bins = self._place.argsort()[leaf], self.bins_of(leaf)
        cell = torch.as_tensor(self.kept[np.minimum(item, len(self.kept) - 1)] if len(self.kept) else np.zeros_like(item))
        cell = torch.where(torch.as_tensor(bins) < 0, cell, 0)[:, None][:, : len(self.cells.tabled)]
        u = np.zeros((len(leaf), len(self.cells.rest)))
        left = np.flatnonzero(bins >= 0) if self.has_rest else np.zeros(0, dtype=np.intp)  # rows without a value yet
        heap = np.full(len(leaf), -1)
        heap[left] = self.heaps.draw(bins[left], uniform)
        left = left[heap[left] < 0]  # the others are drawn from the smooth part
        for _ in range(REDRAWS):
            if not len(left):
                break
            u[left, 0] = self._inverse(bins[left], slope[left], uniform(len(left)))
            if not self._taken.any():  # without atoms no value has to be drawn again
                break
            x = self.space.join(torch.zeros(len(left), 1).long(), torch.as_tensor(u[left]))
            left = left[(self.space.split(x).state[:, 0] != 0).numpy()]
        x, in_heap = self.cells.compose(cell, torch.as_tensor(u)).reshape(-1, 1), torch.as_tensor(heap >= 0)
        if bool(in_heap.any()):
            x[in_heap] = self._values(torch.as_tensor(heap)[in_heap]).to(x)
        return x

    def bins_of(self, leaf: np.ndarray) -> np.ndarray:
        """Return the bin of each leaf (n,), -1 where it is a value."""
        item = self._place.argsort()[leaf]
        return np.where(item < len(self.kept), -1, item - len(self.kept))

    def log_widths(self) -> np.ndarray:
        """Return the log of the width in u of every leaf that is a bin, of an outer one that of its tail; NaN of a value."""
        out = np.full(self.count, np.nan)
        if self.has_rest:
            out[self._place[len(self.kept) :]] = np.log(self._widths)
        return out

    def _inverse(self, k: np.ndarray, slope: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return u (n,) within bins k (n,) such that a share v (n,) of a bin's mass lies below."""
        width, v = self._widths[k], np.clip(v, 1e-300, 1 - 1e-16)
        t = 2 * v / (1 - slope + np.sqrt((1 - slope) ** 2 + 4 * slope * v))
        inner = self._edges[(k - 1).clip(0)] + width * t
        low, high = self._edges[0] + width * np.log(v), self._edges[-1] - width * np.log1p(-v)
        return np.where(k == 0, low, np.where(k == len(self._edges), high, inner))


def _check_loaded(column: Any, keys: Any) -> None:
    """Raise DataError where buffers that were read from a file do not divide the column."""
    column.check()
