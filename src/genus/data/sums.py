"""The search for columns that are sums of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from genus.codec.relations import ALL_DIGITS, Sum
from genus.data.candidates import BROKEN, PROBED, SURE, Candidate, missing_alike

__all__ = ["find_sums", "keeps_sign", "made_sum"]

MATRIX = 4096  # rows by which sums are sought


def find_sums(columns: Sequence[Candidate], target: str | None, among: frozenset[str] = frozenset()) -> list[Sum]:
    """Return the columns that are sums of others, with signs and a constant; with `among`, such as hold one of these."""
    numbers = [column for column in columns if not column.unit.startswith(("date", "time", "duration"))]
    found = [one for group in missing_alike(numbers) for one in _sums_of(group, target)]
    return [one for one in found if not among or among & {one.column, *one.reads}]


def _sums_of(columns: Sequence[Candidate], target: str | None) -> list[Sum]:
    """Return sums among columns that are missing in the same rows.

    One column after another, the smallest first, is written as a combination of those before it. A total is larger than its
    parts, so it comes out as their sum, and no part as a difference.
    """
    rows = np.flatnonzero(~np.isnan(columns[0].values))
    if len(rows) < 2 * len(columns) + SURE:
        return []
    rows = rows[:: max(1, len(rows) // MATRIX)]
    parts = {c.name: c.values[rows].astype(np.float64) for c in columns}
    size = {name: float(np.abs(values).mean()) for name, values in parts.items() if np.ptp(values) > 0}
    by_name, basis = {c.name: c for c in columns}, [np.full(len(rows), len(rows) ** -0.5)]
    pivots: list[str] = []
    seen: list[Candidate] = []
    sums: list[Sum] = []
    for name in sorted(size, key=lambda name: (size[name], list(parts).index(name))):
        values = parts[name]
        rest = values - values.mean()
        scale = float(np.linalg.norm(rest))
        for _ in range(2):  # once more, for the digits that the first time leaves
            for vector in basis:
                rest = rest - vector * (vector @ rest)
        if np.linalg.norm(rest) > 1e-9 * scale + 1e-12 * float(np.linalg.norm(values)):
            basis.append(rest / np.linalg.norm(rest))
            pivots.append(name)
            seen.append(by_name[name])
            continue
        one = _copy_of(by_name[name], seen) or _sum_of(by_name[name], [by_name[p] for p in parts if p in pivots], rows)
        if one is not None:
            sums.append(one)
            seen.append(by_name[name])
    return _with_dependents(sums, by_name, target)[::-1]  # a copy of a sum goes before the sum


def _copy_of(column: Candidate, others: Sequence[Candidate]) -> Sum | None:
    """Return a column as another, or its negative, plus a constant."""
    pairs = ((sign, other) for other in others for sign in (1, -1))
    near = (pair for pair in pairs if _alike(column.values[:PROBED] - pair[0] * pair[1].values[:PROBED]))
    return next((one for pair in near if (one := made_sum(column, [pair])) is not None), None)


def _alike(values: np.ndarray) -> bool:
    present = values[~np.isnan(values)]
    return len(present) < 2 or float(np.ptp(present)) <= 1e-6 * max(1.0, float(np.abs(present).max()))


def _sum_of(column: Candidate, pivots: Sequence[Candidate], rows: np.ndarray) -> Sum | None:
    """Return a column as the sum of others, where the weights are 1 and -1 and every row agrees."""
    if not pivots:  # so far from 0 that all its values are nearly one
        return None
    matrix = np.stack([*(p.values[rows] for p in pivots), np.ones(len(rows))], axis=1).astype(np.float64)
    weights = np.linalg.lstsq(matrix, column.values[rows].astype(np.float64), rcond=None)[0]
    signs = np.rint(weights[:-1])
    if np.abs(weights[:-1] - signs).max() > 1e-5 or np.abs(signs).max() > 1:
        return None
    used = [(int(sign), p) for sign, p in zip(signs, pivots, strict=True) if sign]
    return made_sum(column, used)


def made_sum(column: Candidate, terms: Sequence[tuple[int, Candidate]]) -> Sum | None:
    """Return a column as the sum of signed terms and the constant that is left; None where it is not the same in every row."""
    if not terms:
        return None
    decimals = max(column.decimals, *(term.decimals for _, term in terms))
    places = min(max(decimals, 0), 12)
    left = column.values - sum(sign * term.values for sign, term in terms)
    left = left[~np.isnan(left)] if left.dtype.kind == "f" else left
    constant = float(np.round(np.median(left), places))
    slack = 0.25 * 10.0**-places if decimals < ALL_DIGITS else 1e-13 * float(np.nanmax(np.abs(column.values)))
    if np.abs(left - constant).max() > slack or not _says_something(column.values):
        return None
    plus, minus = (tuple(term.name for sign, term in terms if sign == wanted) for wanted in (1, -1))
    return Sum(column.name, plus, minus, int(constant) if constant.is_integer() else constant, column.dtype, decimals)


def _says_something(values: np.ndarray) -> bool:
    """Return whether shuffled rows would break an equality often enough."""
    present = values[~np.isnan(values)]
    _, counts = np.unique(present, return_counts=True)
    differ = 1 - float(((counts / len(present)) ** 2).sum())
    return differ >= BROKEN and differ * len(present) >= SURE


def _with_dependents(sums: Sequence[Sum], by_name: Mapping[str, Candidate], target: str | None) -> list[Sum]:
    """Return the sums, each solved for the column that x can best do without; those that the target must not be left for go.

    That is the total, where nothing is subtracted and no part is negative, for then it keeps its sign by itself; else a column
    of both signs, which has none to keep; else, of shares of a constant, the largest, whose sign is kept by rejection.
    Where there is none, the sum is left out: its draws could have a wrong sign.
    """
    kept = []
    for one in sums:
        elsewhere = {name for other in sums if other is not one for name in (other.column, *other.reads)}
        members = [one.column, *(name for name in one.reads if name not in elsewhere)]
        choices = [name for name in members if name != target]
        if len(one.reads) == 1:  # of two equal columns the later goes
            order = list(by_name)
            choices.sort(key=lambda name: -order.index(name))
        solved = [s for name in choices if (s := _solved(one, name, by_name)) is not None]
        kept += ([s for s in solved if keeps_sign(s, by_name)] or [s for s in solved if _is_rest(s, by_name)])[:1]
    return kept


def _is_rest(one: Sum, by_name: Mapping[str, Candidate]) -> bool:
    """Return whether a column is what others leave of a constant, and none is negative: percentages, or levels as 0 and 1."""
    rest = not one.plus and len(one.minus) > 1 and one.constant > 0
    return rest and all(np.nanmin(by_name[n].values) >= 0 for n in (one.column, *one.minus))


def _solved(one: Sum, name: str, by_name: Mapping[str, Candidate]) -> Sum | None:
    """Return a sum solved for another of its columns."""
    if name == one.column:
        return one
    sign = 1 if name in one.plus else -1
    terms = [(sign, one.column), *((-sign, n) for n in one.plus if n != name), *((sign, n) for n in one.minus if n != name)]
    return made_sum(by_name[name], [(s, by_name[n]) for s, n in terms])


def keeps_sign(one: Sum, by_name: Mapping[str, Candidate]) -> bool:
    """Return whether a sum of parts that stay within their signs stays within its own."""
    values = by_name[one.column].values
    both = np.nanmin(values) < 0 < np.nanmax(values)
    positive = not one.minus and one.constant >= 0 and all(np.nanmin(by_name[n].values) >= 0 for n in one.plus)
    return len(one.reads) == 1 or bool(both) or positive
