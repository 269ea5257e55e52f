"""The search for columns that a formula gives to the last decimal: rounded sums, products, quotients and shares of others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from genus.codec.constraints import Constraint, quoted
from genus.codec.formulas import Formula
from genus.codec.relations import ALL_DIGITS
from genus.data.candidates import SURE, Candidate, missing_alike
from genus.data.equations import COARSE, FEWEST, GLANCE, LONG, formula_of, glance, says_something
from genus.data.lines import TINY, find_lines, find_triples, shortest
from genus.errors import DataError

__all__ = ["declared_formula", "dependents_first", "find_formulas", "is_near_constraint"]

MATRIX = 4096  # rows by which sums are sought
NEAR = 0.3  # of the spread of a column, at most, is left of it by a sum that few rows break, before these are left out


def find_formulas(columns: Sequence[Candidate], target: str | None) -> list[Formula]:
    """Return the columns that are sums, products, quotients or multiples of others up to rounding; the target is none.

    Args:
        columns: of numbers and of time, which is left out.
        target: a column that must stay a column of x.
    """
    numbers = [c for c in columns if not pa.types.is_temporal(c.data.type)]
    if len(numbers) < 2:
        return []
    found: list[Formula] = []
    for one in _all_of(numbers, target):
        if all(other.column != one.column for other in found) and len(dependents_first([*found, one])) > len(found):
            found.append(one)
    return found


def _all_of(columns: Sequence[Candidate], target: str | None) -> Iterator[Formula]:
    for search in (_products, find_triples, _sums, _multiples, find_lines):
        yield from search(columns, target)


def dependents_first(formulas: Sequence[Formula]) -> list[Formula]:
    """Return formulas such that each column is taken out after those that are made of it: a tax, and then the net amount.

    Formulas that go round, each made of the next one's column, are left out.
    """
    left, out = list(formulas), list[Formula]()
    while free := [one for one in left if not any(one.column in other.of for other in left)]:
        out += free
        left = [one for one in left if one not in free]
    return out


# -- products and quotients -------------------------------------------------------------------------------------------------


def _products(columns: Sequence[Candidate], target: str | None) -> Iterator[Formula]:
    """Yield the columns that are the product, the quotient or the mean of others, rounded."""
    many = [c for c in columns if len(np.unique(c.values[:4096])) > 2]  # of 0 and 1 a product is no amount
    if len(many) < 3:
        return
    probe, units = glance(many)
    slack = 1.25 * units[:, None] + 1e-9 * np.abs(probe)
    tries = float(len(many)) ** 3
    largest = np.array([np.nanmax(np.abs(column), initial=0.0) for column in probe])
    given = np.flatnonzero((largest >= COARSE * units) & np.array([c.name != target for c in many]))
    if not len(given):
        return
    goal, slack = probe[given], slack[given]
    for made, text, used in _combinations([quoted(c.name) for c in many], probe):
        with np.errstate(invalid="ignore"):
            away = np.abs(goal - made)
        near = ((away > slack).sum(axis=1) <= 1) & ((~np.isnan(away)).sum(axis=1) >= GLANCE // 4)
        for k in given[near].tolist():
            if k in used:
                continue
            of = [many[i] for i in used]
            one = formula_of(many[k], text, of, 1)
            if one is not None and says_something(one, many[k], of, tries):
                yield one


def _combinations(names: Sequence[str], probe: np.ndarray) -> Iterator[tuple[np.ndarray, str, list[int]]]:
    """Yield products and quotients of two columns, and means of two or of several that stand together.

    Args:
        names: of the columns, as a formula has them.
        probe: some of their values (D, N).

    Returns:
        Of each its values (N,), its text, and the places of its columns.
    """
    for i, j in itertools.combinations(range(len(names)), 2):
        yield probe[i] * probe[j], f"{names[i]} * {names[j]}", [i, j]
    for i, j in itertools.permutations(range(len(names)), 2):
        with np.errstate(divide="ignore", invalid="ignore"):
            yield probe[i] / probe[j], f"{names[i]} / {names[j]}", [i, j]
    for i, j in itertools.combinations(range(len(names)), 2):
        yield (probe[i] + probe[j]) / 2, f"({names[i]} + {names[j]}) / 2", [i, j]
        if j > i + 1:
            yield probe[i : j + 1].mean(axis=0), f"({' + '.join(names[i : j + 1])}) / {j + 1 - i}", [*range(i, j + 1)]


# -- sums -------------------------------------------------------------------------------------------------------------------


def _sums(columns: Sequence[Candidate], target: str | None) -> Iterator[Formula]:
    """Yield the columns that are sums of others, missing in the same rows, but for rounding."""
    for group in missing_alike([column for column in columns if column.decimals < ALL_DIGITS]):
        if len(group) > 2:
            yield from _sums_of(group, target)


def _sums_of(columns: Sequence[Candidate], target: str | None) -> Iterator[Formula]:
    """Yield sums among columns; one after another, the smallest first, from those before it."""
    rows = np.flatnonzero(~np.isnan(columns[0].values))
    if len(rows) < 2 * len(columns) + SURE:
        return
    part = rows[:: max(1, len(rows) // MATRIX)]
    values = {c.name: c.values[part].astype(np.float64) for c in columns}
    pivots: list[Candidate] = []
    basis = [np.full(len(part), len(part) ** -0.5)]
    for column in sorted(columns, key=lambda c: float(np.abs(values[c.name]).mean())):
        left = values[column.name] - values[column.name].mean()
        if left.std() == 0:
            continue
        norm, wide = float(np.linalg.norm(left)), left.std() >= COARSE * column.last_place and len(pivots) > 1
        told = NEAR * float(np.median(np.abs(left)))
        for _ in range(2):
            for vector in basis:
                left = left - vector * (vector @ left)
        near = wide and np.median(np.abs(left)) <= max(told, column.last_place)
        one = _sum_of(column, pivots, values, target) if near else None
        if one is not None:
            yield one
        elif np.linalg.norm(left) > 1e-9 * norm:
            basis.append(left / np.linalg.norm(left))
            pivots.append(column)


def _sum_of(
    column: Candidate, pivots: Sequence[Candidate], values: Mapping[str, np.ndarray], target: str | None
) -> Formula | None:
    """Return a column, or one that it is made of, as the sum of the others, where all weights are 1 or -1."""
    goal, unit = values[column.name], column.last_place
    matrix = np.stack([*(values[p.name] for p in pivots), np.ones(len(goal))], axis=1)
    fine = np.ones(len(goal), dtype=bool)
    for _ in range(3):  # without the few rows that are far from what the others say
        fitted = np.linalg.lstsq(matrix[fine], goal[fine], rcond=None)[0]
        away = np.abs(goal - matrix @ fitted)
        fine = away <= max(10 * float(np.median(away)), unit)
    weights = fitted[:-1]
    signs = np.rint(weights)
    if np.median(away) > len(pivots) * unit or np.abs(weights - signs).max() > 0.2 or np.abs(signs).max() > 1:
        return None
    terms = {p: int(sign) for p, sign in zip(pivots, signs, strict=True) if sign}
    if len(terms) < 2:
        return None
    rest = goal - sum(sign * values[p.name] for p, sign in terms.items())
    constant = float(np.round(np.median(rest), max(column.decimals, 0)))
    order = [*values]
    equation = {column: -1} | terms  # sum of signed columns + constant = 0
    for one in sorted(equation, key=lambda c: c is not column):
        flip = -equation[one]
        others = {c: sign * flip for c, sign in equation.items() if c is not one}
        if one.name != target and _keeps_sign(one, others, constant * flip) and np.ptp(values[one.name]) >= COARSE * unit:
            others = {c: others[c] for c in sorted(others, key=lambda c: order.index(c.name))}
            made = formula_of(one, _as_text(others, constant * flip), [*others], (len(terms) + 1) // 2)
            return made if made is None or says_something(made, one, [*others], 1.0) else None
    return None


def _keeps_sign(column: Candidate, others: Mapping[Candidate, int], constant: float) -> bool:
    """Return whether a sum has no sign to keep, keeps it by itself, or is what others leave of a constant."""
    low, high = np.nanmin(column.values), np.nanmax(column.values)
    positive = all(np.nanmin(c.values) >= 0 for c in others) and low >= 0
    signs = {*others.values()}
    return bool(low < 0 < high) or (positive and ((signs == {1} and constant >= 0) or (signs == {-1} and constant > 0)))


def _as_text(terms: Mapping[Candidate, int], constant: float) -> str:
    """Return signed columns and a constant as a formula; what is added comes first."""
    plus, minus = ([quoted(c.name) for c, sign in terms.items() if sign == wanted] for wanted in (1, -1))
    number = f"{abs(constant):.15g}" if constant else ""
    plus = [*([number] if constant > 0 and not plus else []), *plus, *([number] if constant > 0 and plus else [])]
    minus += [number] if constant < 0 else []
    return " - ".join([" + ".join(plus), *minus]).removeprefix(" ")


# -- multiples --------------------------------------------------------------------------------------------------------------


def _multiples(columns: Sequence[Candidate], target: str | None) -> Iterator[Formula]:
    """Yield the columns that are another times a short number, rounded: a tax of 19 percent, miles beside kilometres."""
    many = [c for c in columns if len(np.unique(c.values[:4096])) >= FEWEST]
    for column in many:
        if column.decimals >= ALL_DIGITS or column.name == target:
            continue
        unit = column.last_place
        for other in many:
            if other is column or np.nanmax(np.abs(column.values[:GLANCE]), initial=0.0) < COARSE * unit:
                continue
            factor = _factor(column.values[:GLANCE], other.values[:GLANCE], unit)
            factor = _factor(column.values, other.values, unit) if factor else 0.0
            if not factor or factor == 1:
                continue
            one = formula_of(column, f"{factor:.15g} * {quoted(other.name)}", (other,), 1)
            if one is not None and says_something(one, column, (other,), float(len(many)) ** 2):
                yield one


def _factor(values: np.ndarray, of: np.ndarray, unit: float) -> float:
    """Return the shortest positive number that makes values of others, up to half a unit; 0.0 where none of few digits does."""
    known = ~(np.isnan(values) | np.isnan(of))
    values, of = values[known].astype(np.float64), of[known].astype(np.float64)
    there = np.abs(of) > TINY
    if not there.any() or (np.abs(values[~there]) > unit).any():
        return 0.0
    ends = np.stack([(values[there] + sign * 0.5001 * unit) / of[there] for sign in (-1, 1)])
    low, high = float(ends.min(axis=0).max()), float(ends.max(axis=0).min())
    return shortest(low, high, LONG) if low > 0 else 0.0


# -- declared ---------------------------------------------------------------------------------------------------------------


def is_near_constraint(text: str, names: Sequence[str]) -> bool:
    """Return whether a constraint is "column ~ formula"."""
    return "~" in text and text not in names


def declared_formula(text: str, columns: Mapping[str, Candidate], target: str | None) -> Formula:
    """Return the formula that "total ~ net + tax" declares: the column is rounded to its decimals, and x holds what is left.

    Raises:
        DataError: the text is no formula of other columns of numbers for a column of numbers.
    """
    left, _, right = text.partition("~")
    name, names = left.strip().strip('"`'), tuple(columns)
    rule = Constraint(f"{right.strip()} = 0", names)
    of = [columns[n] for n in rule.reads]
    used = [*of, *(columns[n] for n in names if n == name)]
    numbers = all(c.is_number and not pa.types.is_temporal(c.data.type) for c in used)
    if name not in columns or name in rule.reads or name == target or not numbers:
        raise DataError(f"The constraint {text!r} is no formula; expected a column of numbers, ~, and a formula of others.")
    made = formula_of(columns[name], right.strip(), of, 10**15)
    if made is None:
        raise DataError(f"The constraint {text!r} gives no number in some row in which {name!r} has one; leave it out.")
    return made
