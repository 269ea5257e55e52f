"""A column that a formula of other columns gives, to its last decimal or nearly so, as a rewrite: an amount, a total."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from genus.codec.constraints import Constraint, quoted
from genus.codec.relations import ALL_DIGITS, WHOLE, check_fields, column_type, exact_numbers, slack, to_column, with_decimals
from genus.codec.rewrites import Rewrite, Ties, place_columns
from genus.errors import DataError

__all__ = ["Formula", "rounded_half_up"]

HALF = 1e-7  # of the last decimal: a product that is so near to a half is one


def rounded_half_up(values: np.ndarray, decimals: int) -> np.ndarray:
    """Return numbers rounded to decimals, halves away from zero, as people round amounts; all digits stay where it is 17.

    >>> rounded_half_up(np.array([0.125, -2.675, 1.1]), 2).tolist()
    [0.13, -2.68, 1.1]
    """
    if decimals >= ALL_DIGITS:
        return values
    scale = 10.0 ** max(decimals, 0)
    return np.round(np.copysign(np.floor(np.abs(values) * scale + 0.5 + HALF), values) / scale, max(decimals, 0))


@dataclass(frozen=True)
class Formula(Rewrite):
    """Takes out a column that a formula of others gives, rounded to its decimals; x holds what is left, where anything is.

    Args:
        column: that is taken out.
        text: the formula, in the words of constraints: "quantity * price".
        of: the columns in it.
        places: the decimals of each of them; -1 for whole numbers, 17 for numbers that are not rounded.
        dtype: Arrow's type of the column.
        decimals: of the column.
        rest: the name of the column of x that holds the column less the rounded formula; "" where that is 0 in every row.

    >>> amount = Formula("amount", "count * price", ("count", "price"), (-1, 2), "double", 2)
    >>> amount.backward(pa.table({"count": [3], "price": [1.1]})).column("amount").to_pylist()
    [3.3]
    """

    column: str
    text: str
    of: tuple[str, ...]
    places: tuple[int, ...]
    dtype: str
    decimals: int = WHOLE
    rest: str = ""

    def __post_init__(self) -> None:
        check_fields([self.column, *self.of], self.decimals, self.dtype)
        for one in self.places:
            check_fields([], one, self.dtype)
        if len(self.places) != len(self.of) or not isinstance(self.rest, str) or not isinstance(self.text, str):
            raise DataError("A formula is a text, with the decimals of each of its columns.")
        self._formula.left_side(pa.table({name: pa.array([1.0]) for name in self.of}))

    @cached_property
    def _formula(self) -> Constraint:
        return Constraint(f"{self.text} = 0", self.of)

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.of, self.column) if self.rest else self.of

    @property
    def subtracts(self) -> bool:
        """Return whether a formula of columns that are not negative may be."""
        return "-" in self._formula.signs

    def values(self, table: pa.Table) -> np.ndarray:
        """Return what the formula gives in every row, (N,), rounded; NaN where it gives no number."""
        for name, places in zip(self.of, self.places, strict=True):
            table = with_decimals(table, [name], places)
        found = np.asarray(self._formula.left_side(table), dtype=np.float64)
        return rounded_half_up(np.where(np.isfinite(found), found, np.nan), self.decimals)

    def forward(self, table: pa.Table) -> tuple[pa.Table, np.ndarray]:
        if self.column not in table.column_names:
            return table, np.zeros(table.num_rows, dtype=bool)
        column, given = exact_numbers(table.column(self.column)).astype(np.float64), self.values(table)
        left, known = column - given, ~np.isnan(column)
        if not self.rest:
            return table.drop_columns([self.column]), known & ~(np.abs(left) <= slack(column, self.decimals))
        kind = pa.int64() if self.decimals == WHOLE else pa.float64()
        rest = to_column(rounded_half_up(left, self.decimals), kind)
        return place_columns(table, [self.column], {self.rest: rest}), known & np.isnan(given)

    def backward(self, table: pa.Table, seed: int = 0, start: int = 0) -> pa.Table:
        values = self.values(table)
        if not self.rest:
            return table.append_column(self.column, to_column(values, column_type(self.dtype)))
        values = rounded_half_up(values + exact_numbers(table.column(self.rest)), self.decimals)
        return place_columns(table, [self.rest], {self.column: to_column(values, column_type(self.dtype))})

    def tie(self, ties: Ties) -> None:
        lacking = [name for name in self.of if name not in ties.known]
        if self.column in ties.known and lacking:
            free = [name for name in lacking if name not in ties.tied and self._is_line_in(name)]
            ties.bind([*lacking, *([self.rest] if self.rest else [])], ties.widest(free) if free else None)
        elif self.column in ties.known and self.rest:
            ties.known.add(self.rest)
        ties.known.discard(self.column)

    def pin(self, table: pa.Table, known: pa.Table, solved: Container[str]) -> pa.Table:
        lacking = [name for name in self.of if name not in known.column_names]
        lacking = [name for name in lacking if name in solved]
        if self.column not in known.column_names or not lacking:
            return table
        name, at = lacking[0], table.column_names.index(lacking[0])
        goal = exact_numbers(known.column(self.column)).astype(np.float64)
        goal = goal - exact_numbers(table.column(self.rest)) if self.rest else goal
        tries = [table.set_column(at, name, pa.array(np.full(table.num_rows, value))) for value in (1.0, 2.0)]
        one, two = (np.asarray(self._formula.left_side(each), dtype=np.float64) for each in tries)
        with np.errstate(divide="ignore", invalid="ignore"):
            part = 1 + (goal - one) / (two - one)
        part = rounded_half_up(np.where(np.isfinite(part), part, np.nan), self.places[self.of.index(name)])
        return table.set_column(at, name, to_column(part, table.schema.field(name).type, ~np.isnan(part)))

    def _is_line_in(self, name: str) -> bool:
        """Return whether the formula is a line in a column, as sums and products are, so that it can be solved for it."""
        table = pa.table({one: pa.array([1.0, 2.0, 3.0] if one == name else [1.5] * 3) for one in self.of})
        first, second = np.diff(self._formula.left_side(table))
        return bool(np.isfinite(first) and first != 0 and abs(first - second) < 1e-9 * abs(first))

    def describe(self) -> str:
        return f"{self.column} = {self.text}{', nearly' if self.rest else ''}"

    @property
    def declarations(self) -> tuple[str, ...]:
        return (f"{quoted(self.column)} ~ {self.text}",)

    def effect(self) -> str:
        return f"x holds {self.rest!r} in place of {self.column!r}" if self.rest else f"x holds no {self.column!r}"
