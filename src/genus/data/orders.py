"""The search for columns that are never below others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from genus.codec.relations import ALL_DIGITS, Order, integers, ticks
from genus.data.candidates import BROKEN, PROBED, SURE, Candidate
from genus.kinds.steps import EXACT

__all__ = ["add_order", "find_orders", "is_below", "place_orders"]

FEWEST = 50  # rows where both are known
SEVERAL = 5  # rows with the least gap, from which on a gap of 0 would have been seen too
ORDERED = {"min": 0, "minimum": 0, "low": 0, "lowest": 0, "lower": 0, "mean": 1, "avg": 1, "average": 1, "median": 1, "max": 2,
           "maximum": 2, "high": 2, "highest": 2, "upper": 2}  # fmt: skip
STEEPEST = 2.5  # near a true bound, the share of gaps below g falls like g to a power of 1 or 2; that of chance falls faster


def find_orders(columns: Sequence[Candidate]) -> dict[tuple[str, str], bool]:
    """Return the pairs (lower, higher) of columns where one is never above the other, and whether it always is below."""
    units: dict[str, list[Candidate]] = {}
    for column in columns:
        units.setdefault(column.unit, []).append(column)
    return {(low, high): strict for group in units.values() for low, high, strict in _pairs(group)}


def add_order(edges: dict[tuple[str, str], bool], low: str, high: str, strict: bool) -> bool:
    """Add a pair to an order, and the pairs that follow from it; return whether that makes no circle."""
    below = {low, *(a for a, b in edges if b == low)}
    above = {high, *(b for a, b in edges if a == high)}
    if below & above:
        return False
    for a in below:
        for b in above:
            edges[a, b] = edges.get((a, b), False) or (strict if (a, b) == (low, high) else False)
    return True


def _pairs(columns: Sequence[Candidate]) -> list[tuple[str, str, bool]]:
    """Return (lower, higher, strict) for the pairs of columns of one unit where one is never above the other."""
    probe = np.stack([column.values[:PROBED].astype(np.float64) for column in columns])
    found = []
    for i, low in enumerate(columns):
        fits = ~(probe[i] > probe).any(axis=1)
        for j in np.flatnonzero(fits).tolist():
            if i != j and (strict := is_below(low, columns[j])) is not None:
                found.append((low.name, columns[j].name, strict))
    return found


def is_below(low: Candidate, high: Candidate, nearly: bool = False) -> bool | None:
    """Return whether one column is strictly below another in every row; None where it is not, or chance may have it so.

    Args:
        low, high: the columns.
        nearly: rows that broke it are left out, so that gaps of numbers crowd at 0 anyway, and tell nothing.
    """
    a, b = low.values, high.values
    known = ~(np.isnan(a) | np.isnan(b))
    if (a > b).any() or (np.isnan(a) & ~np.isnan(b)).any() or known.sum() < FEWEST:
        return None
    a, b = a[known], b[known]
    part = slice(None, None, max(1, len(a) // 20_000))
    breaking = float(np.searchsorted(np.sort(b[part]), a[part], "left").mean()) / len(b[part])
    if breaking < BROKEN or breaking * len(a) < SURE or not (b > a).any():
        return None
    gap = np.sort(b - a)
    step = 0.0 if low.decimals == ALL_DIGITS else _step(gap)
    # What begins rarely ends before by chance alone; of numbers, the gaps have to look like those from a bound.
    told = pa.types.is_temporal(low.data.type) or _is_told(low.name, high.name)
    bound = told or (not nearly and _is_bound(gap.astype(np.float64), step))
    # Strict only where several gaps are the least one: elsewhere equal values may just not have come yet.
    return bool(gap[0] > 0 and step > 0 and np.count_nonzero(gap == gap[0]) >= SEVERAL) if bound else None


def _is_told(low: str, high: str) -> bool:
    """Return whether the names of two columns differ only in words for an order, such as min and max.

    >>> _is_told("temp_min", "temp_max"), _is_told("low", "High"), _is_told("max_t", "max_u"), _is_told("min_t", "max_u")
    (True, True, False, False)
    """
    words = [re.findall(r"[a-z]+|\d+", name.lower()) for name in (low, high)]
    ranks = [[ORDERED[word] for word in one if word in ORDERED] for one in words]
    rests = [[word for word in one if word not in ORDERED] for one in words]
    return rests[0] == rests[1] and [len(rank) for rank in ranks] == [1, 1] and ranks[0] < ranks[1]


def _step(gap: np.ndarray) -> float:
    """Return the distance of neighbouring gaps where they lie on a coarse lattice; 0 where most gaps differ."""
    distinct = np.unique(gap)
    return float(np.diff(distinct).min()) if 1 < len(distinct) < max(2, len(gap) // 4) else 0.0


def _is_bound(gap: np.ndarray, step: float) -> bool:
    """Return whether gaps are frequent at their lower end, as at a bound; by chance alone they would thin out before it.

    Hill's estimate of the power with which the share of gaps below g falls, from the twentieth of the rows that have the
    smallest: 1 for an even or exponential density, 2 for one that vanishes linearly.

    Args:
        gap: (N,) sorted, none below 0.
        step: of the lattice of gaps; 0 where there is none.
    """
    few = min(max(10, len(gap) // 20), 200, len(gap) - 1)
    if np.count_nonzero(gap == gap[0]) > few:
        return True  # the least gap is a bound itself: one night, say
    if step:  # the gaps of a cell spread evenly over it
        first, counts = np.unique(gap, return_index=True, return_counts=True)[1:]
        within = np.arange(len(gap)) - np.repeat(first, counts)
        gap = gap + step * (within + 0.5) / np.repeat(counts, counts)
        gap = gap - step if step <= gap[0] < 2 * step else gap  # of a strict order the bound is one step up
    gap = np.maximum(gap, 1e-12 * gap[-1])
    return few / float(np.log(gap[few] / gap[:few]).sum() + 1e-12) <= STEEPEST


def place_orders(by_name: Mapping[str, Candidate], edges: Mapping[tuple[str, str], bool], target: str | None) -> list[Order]:
    """Return the orders that keep every pair of a partial order, each column the gap from its nearest neighbours before it.

    Columns are placed one after another: the target and what is below it first, then from the least upward.

    Args:
        by_name: the columns.
        edges: for each pair (lower, higher), whether it is strict; transitive, without circles.
        target: a column that must not become a gap.
    """
    names, below = list(by_name), {name: sum(high == name for _, high in edges) for pair in edges for name in pair}
    upward = sorted(below, key=lambda name: (below[name], names.index(name)))
    under = [name for name in reversed(upward) if (name, target) in edges]
    sequence = [target, *under] if under and target is not None else []
    sequence += [name for name in upward if name not in sequence]
    placed: list[str] = []
    orders = []
    for name in sequence:
        lows = [p for p in placed if (p, name) in edges]
        highs = [p for p in placed if (name, p) in edges]
        others, above = (highs, False) if name in under else (lows, True)
        nearest = tuple(p for p in others if not any(((p, q) if above else (q, p)) in edges for q in others))
        if nearest:
            strict = all(edges[(p, name) if above else (name, p)] for p in nearest)
            orders += _made_order(by_name, name, nearest, above, strict)
        placed.append(name)
    return orders[::-1]


def _gap(first: Candidate, second: Candidate) -> np.ndarray:
    """Return the distances of two columns of whole numbers or time where both are known; nothing of other columns."""
    a, b = integers(first.data), integers(second.data)
    return np.abs(a[0] - b[0])[a[1] & b[1]] if a is not None and b is not None else np.empty(0, dtype=np.int64)


def _made_order(by_name: Mapping[str, Candidate], name: str, others: tuple[str, ...], above: bool, strict: bool) -> list[Order]:
    """Return the order; none where the gaps are whole numbers too large for floating point."""
    bound = others[0] if len(others) == 1 else f"{'max' if above else 'min'}({', '.join(others)})"
    gap = f"{name} - {bound}" if above else f"{bound} - {name}"
    while gap in by_name:
        gap += "'"
    column, tick = by_name[name], 1
    gaps = [_gap(column, by_name[other]) for other in others]
    for size in ticks(column.data.type).values():
        if tick == 1 and not any((gap % size).any() for gap in gaps):
            tick = size
    if max(int(gap.max(initial=0)) for gap in gaps) / tick > EXACT:
        return []
    decimals = max(by_name[n].decimals for n in (name, *others))
    return [Order(name, others, gap, column.dtype, decimals, above, strict, tick)]
