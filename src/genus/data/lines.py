"""The search for columns that are three factors, 3 pieces at 4.50 less 10 %, or a line in another column, 1.8 C + 32."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from genus.codec.constraints import quoted
from genus.codec.formulas import Formula
from genus.codec.relations import EXACTLY
from genus.data.candidates import Candidate
from genus.data.equations import COARSE, FEWEST, GLANCE, SHORT, formula_of, glance, says_something

__all__ = ["TINY", "find_lines", "find_triples", "shortest"]

TINY = 1e-290  # numbers below which a quotient would be infinite, and the powers of ten that round them 0
STRAIGHT = 0.98  # correlation in a few rows that a line has, rounded to `COARSE` units or finer
AT_MOST = 1000  # products that are looked at in all rows of a glance, for a column


# -- three factors --------------------------------------------------------------------------------------------------------


def find_triples(columns: Sequence[Candidate], target: str | None) -> Iterator[Formula]:
    """Yield the columns that are the product of three others, rounded, or of one or two and what a share leaves of 1.

    The logarithms of all products of two are sorted, and those of quotients by a third are looked up among them: D columns cost
    D squared look-ups a column, not D cubed products.

    Args:
        columns: of numbers.
        target: a column that must stay a column of x.
    """
    many = [c for c in columns if len(np.unique(c.values[:4096])) > 2]
    if len(many) < 3:
        return
    probe, units = glance(many)
    names, of, factors = [quoted(c.name) for c in many], [*range(len(many))], [*probe]
    for i, column in enumerate(many):
        if np.nanmin(column.values) >= 0 and np.nanmax(column.values) <= 1:
            names, of, factors = [*names, f"(1 - {names[i]})"], [*of, i], [*factors, 1 - probe[i]]
    place, every = np.array(of), np.stack(factors)
    pairs = np.array([*itertools.combinations(range(len(of)), 2), *((i, -1) for i in range(len(many), len(of)))])
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.abs(np.vstack([every, np.ones(GLANCE)])))  # the last, at -1, is 1
    sums = logs[pairs[:, 0]] + logs[pairs[:, 1]]
    tries = float(len(of)) ** 4
    for k, column in enumerate(many):
        if column.name == target or not np.nanmax(np.abs(probe[k]), initial=0.0) >= COARSE * units[k]:
            continue
        row = int(np.nanargmax(np.abs(probe[k])))
        goal = abs(probe[k, row])
        if not goal > 0:
            continue
        for text, used in _products_of(probe[k], 1.25 * units[k], row, every, pairs, (logs, sums), place, k, names):
            parts = [many[i] for i in used]
            one = formula_of(column, text, parts, 1)
            if one is not None and says_something(one, column, parts, tries):
                yield one
                break


def _products_of(
    goal: np.ndarray,
    slack: float,
    row: int,
    factors: np.ndarray,
    pairs: np.ndarray,
    logs: tuple[np.ndarray, np.ndarray],
    place: np.ndarray,
    k: int,
    names: Sequence[str],
) -> Iterator[tuple[str, list[int]]]:
    """Yield the products that are near a column in a few rows, each as a text and its columns.

    Args:
        goal: the column (N,), which is the k-th.
        slack: how far a product may be.
        row: in which a product is looked up.
        factors: (F, N).
        pairs: (P, 2) numbers of factors, the second -1 where there is one.
        logs: of the factors (F + 1, N) and of the products of pairs (P, N).
        place: (F,) the column of each factor.
        names: of the factors, as a formula has them.
    """
    size = abs(goal[row])
    reach = -math.log1p(-min(0.5, slack / size + 1e-9))
    order = np.argsort(logs[1][:, row])
    ranked = logs[1][order, row]
    wanted = math.log(size) - logs[0][:-1, row]
    first, last = np.searchsorted(ranked, wanted - reach), np.searchsorted(ranked, wanted + reach, "right")
    count = np.where(np.isfinite(wanted) & (place != k), last - first, 0)
    third = np.repeat(np.arange(len(factors)), count)[:AT_MOST]
    within = np.arange(len(third)) - np.repeat(np.cumsum(count) - count, count)[:AT_MOST]
    pair = pairs[order[first[third] + within]]
    single = pair[:, 1] < 0
    columns = np.stack([place[third], place[pair[:, 0]], np.where(single, -1, place[pair[:, 1]])])
    apart = (columns != k).all(0) & (columns != columns[[1, 2, 0]]).all(0) & (single | (pair[:, 0] > third))
    third, pair = third[apart], pair[apart]
    second = np.where(pair[:, 1:] < 0, 1.0, factors[pair[:, 1]])
    away = np.abs(factors[third] * factors[pair[:, 0]] * second - goal)
    near = ((away > slack + 1e-9 * np.abs(goal)).sum(1) <= 1) & ((~np.isnan(away)).sum(1) >= GLANCE // 4)
    for i, (one, two) in zip(third[near].tolist(), pair[near].tolist(), strict=True):
        used = [number for number in (i, one, two) if number >= 0]
        yield " * ".join(names[number] for number in used), [int(place[number]) for number in used]


# -- lines ----------------------------------------------------------------------------------------------------------------


def find_lines(columns: Sequence[Candidate], target: str | None) -> Iterator[Formula]:
    """Yield the columns that are a short multiple of another and a short number, as degrees Fahrenheit are of Celsius.

    Both may have been rounded by themselves; what is left is then a few units of the last decimal. The best come first.

    Args:
        columns: of numbers.
        target: a column that must stay a column of x.
    """
    many = [c for c in columns if len(np.unique(c.values[:4096])) >= FEWEST]
    if len(many) < 2:
        return
    probe, units = glance(many)
    known = ~np.isnan(probe)
    away = np.where(known, probe - np.nan_to_num(probe).sum(1, keepdims=True) / known.sum(1, keepdims=True).clip(1), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        straight = np.abs(away @ away.T) / np.sqrt((away**2 @ known.T) * (known @ (away**2).T))
    spread = np.array([np.ptp(row[there]) if there.any() else 0.0 for row, there in zip(probe, known, strict=True)])
    found: list[tuple[bool, int, int, Formula]] = []
    for k, j in np.argwhere((straight >= STRAIGHT) & (spread >= COARSE * units)[:, None]).tolist():
        column, other = many[k], many[j]
        if k == j or column.name == target:
            continue
        line = _line(probe[k], probe[j], units[k], units[j])
        line = _line(column.values, other.values, units[k], units[j]) if line else None
        if line is None:
            continue
        slope, offset = line
        times = quoted(other.name) if abs(slope) == 1 else f"{abs(slope):.15g} * {quoted(other.name)}"
        text = f"{times} {'+' if offset > 0 else '-'} {abs(offset):.15g}" if slope > 0 else f"{offset:.15g} - {times}"
        most = 1 if not units[k] else math.ceil(abs(slope) * units[j] / units[k] / 2 + 1)
        one = formula_of(column, text, (other,), most)
        if one is not None and says_something(one, column, (other,), float(len(many)) ** 2):
            digits = sum(sign.isdigit() for sign in f"{slope:.15g}{offset:.15g}")
            found.append((one.rest != "", digits, -k, one))
    # Of a line and its inverse, which is no short one, the exact and the shorter; else what stands later is made of the other.
    yield from (one for *_, one in sorted(found, key=lambda each: each[:3]))


def _line(values: np.ndarray, of: np.ndarray, unit: float, unit_of: float) -> tuple[float, float] | None:
    """Return the shortest slope and offset, not 0, of a line that gives values (N,) of others up to the rounding of both.

    >>> _line(np.array([32.0, 50.0, 68.4]), np.array([0.0, 10.0, 20.2]), 0.1, 0.1)
    (1.8, 32.0)
    """
    known = ~(np.isnan(values) | np.isnan(of))
    values, of = values[known].astype(np.float64), of[known].astype(np.float64)
    if len(of) < 2 or not np.ptp(of) > TINY:
        return None
    i, j = int(of.argmin()), int(of.argmax())
    rise, run = values[j] - values[i], of[j] - of[i]
    exact = EXACTLY * float(np.abs(values).max())
    slack = 0.5001 * (unit + abs(rise / run) * unit_of) + exact
    slope = shortest((rise - 2 * slack) / run, (rise + 2 * slack) / run)
    if not slope:
        return None
    left = values - slope * of
    low, high = float(left.max()) - slack, float(left.min()) + slack
    if low > high or low <= 0 <= high:  # no line, or a multiple
        return None
    offset = shortest(low, high)
    return (slope, offset) if offset and (slope > 0 or offset > 0) else None


def shortest(low: float, high: float, most: int = SHORT + 1) -> float:
    """Return the number of fewest digits from low to high, both of one sign; 0.0 where none of so many digits is there.

    >>> shortest(1.79, 1.83), shortest(-0.31, -0.29), shortest(273.149, 273.151)
    (1.8, -0.3, 273.15)
    """
    if low < 0 and high < 0:
        return -shortest(-high, -low, most)
    if not TINY < low <= high < math.inf:
        return 0.0
    first = math.floor(math.log10(high))
    for digits in range(most):
        step = 10.0 ** (first - digits)
        if math.ceil(low / step - 1e-9) * step <= high * (1 + 1e-12):
            return float(f"{math.ceil(low / step - 1e-9) * step:.{most}g}")
    return 0.0
