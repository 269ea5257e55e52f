"""Relations between columns as rewrites: an order and a sum; `functions` has a column that follows from another.

Each takes one column out of what a model sees and rebuilds it when a draw is decoded, so that no draw breaks the relation. An
order puts the gap in the column's place: the Jacobian of b -> b - a is 1. A sum or a function leaves no column: given the
others it has mass 1. So in every case the log-density of the columns that remain is that of the whole row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.arrow import from_ticks, is_blank, ticks_of, to_numbers, type_of
from genus.codec.rewrites import Rewrite, Ties, place_columns
from genus.errors import DataError
from genus.kinds.steps import shortest_decimals

__all__ = ["ALL_DIGITS", "EXACTLY", "WHOLE", "Order", "Sum", "check_fields", "column_type", "exact_numbers",
           "integers", "last_place", "slack", "ticks", "to_column", "with_decimals"]  # fmt: skip

ALL_DIGITS = 17  # decimals of columns that are not rounded
EXACTLY = 1e-12  # how far, relative to its size, a column of all digits may be from what gives it
WHOLE = -1  # decimals of whole numbers and time, which are counted in integers


def exact_numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column of numbers or time as (N,): integers where it has no fraction and no missing value, else float64.

    Numbers of single precision are the shortest decimals that they stand for; a missing value is NaN.
    """
    whole = integers(column) if not column.null_count else None
    if whole is not None:
        return whole[0]
    values = to_numbers(column)
    return shortest_decimals(values) if pa.types.is_float32(column.type) else values


def integers(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return a column of whole numbers or time as integers (N,), 0 where missing, and which are known (N,); None for others."""
    kind = column.type
    if not (pa.types.is_temporal(kind) or pa.types.is_integer(kind)):
        return None
    return np.asarray(pc.fill_null(ticks_of(column), 0)), ~is_blank(column)


def ticks(kind: pa.DataType) -> dict[str, int]:
    """Return how many ticks of a column of time are a day, an hour, a minute and a second; nothing for other columns.

    >>> ticks(pa.timestamp("ms"))["seconds"], ticks(pa.date32())
    (1000, {'days': 1})
    """
    if not pa.types.is_temporal(kind):
        return {}
    if pa.types.is_date32(kind):
        return {"days": 1}
    second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}["ms" if pa.types.is_date64(kind) else kind.unit]
    return {"days": 86400 * second, "hours": 3600 * second, "minutes": 60 * second, "seconds": second}


def last_place(decimals: int) -> float:
    """Return the unit of the last decimal, 0.01 where there are two; 1 of whole numbers, and 0 where nothing is rounded."""
    return 10.0 ** -max(decimals, 0) if decimals < ALL_DIGITS else 0.0


def slack(values: np.ndarray, decimals: int) -> Any:
    """Return how far what a relation gives may be from values (N,) of these decimals that obey it."""
    return 0.25 * last_place(decimals) if decimals < ALL_DIGITS else EXACTLY * np.abs(values)


def _rounded(values: np.ndarray, decimals: int) -> np.ndarray:
    """Return sums and differences without the last bits that they bring: 0.3 for 0.1 + 0.2."""
    return values if values.dtype.kind == "i" or not 0 <= decimals < ALL_DIGITS else np.round(values, decimals)


def with_decimals(table: pa.Table, names: Sequence[str], decimals: int) -> pa.Table:
    """Return a table in which columns are rounded to their decimals, so that what is made of them agrees with what is shown."""
    for name in names if 0 <= decimals < ALL_DIGITS else ():
        column = table.column(name)
        if pa.types.is_floating(column.type):
            rounded = to_column(_rounded(exact_numbers(column), decimals), column.type)
            table = table.set_column(table.column_names.index(name), name, rounded)
    return table


def _known(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of a column (N,), and which are known (N,); the others hold anything."""
    whole = integers(column)
    if whole is not None:
        return whole
    values = exact_numbers(column)
    return values, ~np.isnan(values)


def to_column(values: np.ndarray, kind: pa.DataType, known: np.ndarray | None = None) -> pa.Array:
    """Return numbers (N,) as a column of this type, null where they are not known; a fraction makes them floats."""
    null = np.isnan(values) if known is None else ~known
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pa.array(values.astype(np.float64), mask=null).cast(kind, safe=False)
    filled = np.where(null, 0, values)
    if filled.dtype.kind == "f" and not np.array_equal(filled, np.rint(filled)):
        return pa.array(values, mask=null)
    return from_ticks(filled, kind, null)


def check_fields(names: Sequence[Any], decimals: Any, dtype: Any) -> None:
    """Raise DataError where the fields of a relation from a file are not what they should be."""
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise DataError(f"A relation is between different columns, by name; got {names!r}.")
    if not isinstance(decimals, int) or not WHOLE <= decimals <= ALL_DIGITS:
        raise DataError(f"A relation has between {WHOLE} and {ALL_DIGITS} decimals; got {decimals!r}.")
    column_type(dtype)


def column_type(name: Any) -> pa.DataType:
    """Return Arrow's type of a name that a file gives.

    Raises:
        DataError: there is no such type.
    """
    try:
        return type_of(name)
    except (ValueError, TypeError, pa.ArrowException) as error:
        raise DataError(f"A relation needs the type of its column; got {name!r}.") from error


# -- an order ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order(Rewrite):
    """Keeps a column above (or below) others: x holds its gap from the nearest of them.

    Args:
        column: that is replaced by the gap.
        others: the columns that it is never below; where `above` is False, never above.
        gap: the name of the column of x.
        dtype: Arrow's type of the column.
        decimals: of all these columns; -1 for whole numbers and time, 17 for numbers that are not rounded.
        above: the column is the greater one.
        strict: the column never equals the others.
        tick: of columns of time, how many of their ticks the gap counts as 1: those of a day, where all gaps are days.

    >>> order = Order("checkout", ("checkin",), "nights", "int64")
    >>> table, broken = order.forward(pa.table({"checkin": [3, 5], "checkout": [4, 2]}))
    >>> table.column("nights").to_pylist(), broken.tolist()
    ([1, -3], [False, True])
    """

    column: str
    others: tuple[str, ...]
    gap: str
    dtype: str
    decimals: int = WHOLE
    above: bool = True
    strict: bool = False
    tick: int = 1

    def __post_init__(self) -> None:
        check_fields([self.column, *self.others], self.decimals, self.dtype)
        if not self.others or not isinstance(self.gap, str) or not isinstance(self.tick, int) or self.tick < 1:
            raise DataError("An order needs the columns that it compares with, a name for the gap, and a positive tick.")

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.others, self.column) if self.above else (self.column, *self.others)

    @property
    def days(self) -> float:
        """Return how many days a gap of 1 is, of columns of time."""
        return self.tick / ticks(column_type(self.dtype))["days"]

    def _bound(self, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest of the others, (N,), and where all of them are known, (N,)."""
        nearest: Callable[[Any, Any], Any] = np.maximum if self.above else np.minimum
        pairs = [_known(table.column(name)) for name in self.others]
        return reduce(nearest, (values for values, _ in pairs)), reduce(np.logical_and, (known for _, known in pairs))

    def forward(self, table: pa.Table) -> tuple[pa.Table, np.ndarray]:
        (values, known), (bound, has_bound) = _known(table.column(self.column)), self._bound(table)
        gap = np.where(known & has_bound, values - bound if self.above else bound - values, 0)
        gap = _rounded(gap, self.decimals)
        if self.tick > 1:
            gap = gap // self.tick if not (gap % self.tick).any() else gap / self.tick
        lost = known & ~has_bound  # a gap from nothing would forget the value
        broken = (gap <= 0 if self.strict else gap < 0) & known & has_bound | lost
        column = to_column(gap, pa.int64() if self.decimals == WHOLE else pa.float64(), known & has_bound)
        return place_columns(table, [self.column], {self.gap: column}), broken

    def backward(self, table: pa.Table, seed: int = 0, start: int = 0) -> pa.Table:
        table = with_decimals(table, self.others, self.decimals)
        (gap, known), (bound, has_bound) = _known(table.column(self.gap)), self._bound(table)
        values = _rounded(bound + gap * self.tick if self.above else bound - gap * self.tick, self.decimals)
        column = to_column(values, column_type(self.dtype), known & has_bound)
        return place_columns(table, [self.gap], {self.column: column})

    def tie(self, ties: Ties) -> None:
        lacking = [name for name in self.others if name not in ties.known]
        if self.column in ties.known and lacking:
            both = [*lacking, self.gap]
            alone = len(self.others) == 1 and lacking[0] not in ties.tied
            ties.bind(both, ties.widest(both) if alone else self.gap)
        elif self.column in ties.known:
            ties.known.add(self.gap)
        ties.known.discard(self.column)

    def pin(self, table: pa.Table, known: pa.Table, solved: Container[str]) -> pa.Table:
        other = self.others[0]
        if len(self.others) > 1 or self.column not in known.column_names or other not in solved:
            return table
        (value, has_value), (gap, has_gap) = _known(known.column(self.column)), _known(table.column(self.gap))
        found = _rounded(value - gap * self.tick if self.above else value + gap * self.tick, self.decimals)
        column = to_column(found, table.schema.field(other).type, has_value & has_gap)
        return table.set_column(table.column_names.index(other), other, column)

    def describe(self) -> str:
        sign = "<" if self.strict else "<="
        few = self.others[0] if len(self.others) == 1 else f"{'max' if self.above else 'min'}({', '.join(self.others)})"
        return f"{few} {sign} {self.column}" if self.above else f"{self.column} {sign} {few}"

    @property
    def declarations(self) -> tuple[str, ...]:
        return tuple(replace(self, others=(other,)).describe() for other in self.others)

    def effect(self) -> str:
        unit = next((f" ({name})" for name, tick in ticks(column_type(self.dtype)).items() if tick == self.tick), "")
        return f"x holds {self.gap!r}{unit} in place of {self.column!r}"


# -- a sum ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sum(Rewrite):
    """Takes out a column that is the sum of others, each with a sign, and a constant.

    Args:
        column: the sum.
        plus, minus: the columns that are added, and those that are subtracted.
        constant: that is added.
        dtype: Arrow's type of the sum.
        decimals: of all these columns; -1 for whole numbers, 17 for numbers that are not rounded.

    >>> total = Sum("total", ("net", "tax"), (), 0, "double", decimals=2)
    >>> total.backward(pa.table({"net": [0.1], "tax": [0.2]})).column("total").to_pylist()
    [0.3]
    """

    column: str
    plus: tuple[str, ...]
    minus: tuple[str, ...]
    constant: float
    dtype: str
    decimals: int = WHOLE

    def __post_init__(self) -> None:
        check_fields([self.column, *self.plus, *self.minus], self.decimals, self.dtype)
        if not (self.plus or self.minus) or not isinstance(self.constant, int | float) or not math.isfinite(self.constant):
            raise DataError("A sum needs columns that it adds, and a finite constant.")

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.plus, *self.minus)

    @property
    def subtracts(self) -> bool:
        """Return whether a sum of columns that are not negative may be."""
        return bool(self.minus)

    def _terms(self, table: pa.Table) -> dict[str, tuple[int, np.ndarray]]:
        signs = [(1, name) for name in self.plus] + [(-1, name) for name in self.minus]
        return {name: (sign, exact_numbers(table.column(name))) for sign, name in signs}

    def _add(self, terms: Sequence[tuple[int, np.ndarray]], constant: float | np.ndarray) -> np.ndarray:
        """Return a constant and the terms, added."""
        total = reduce(lambda so_far, term: so_far + term[0] * term[1], terms, constant)
        return _rounded(np.asarray(total), self.decimals)

    def forward(self, table: pa.Table) -> tuple[pa.Table, np.ndarray]:
        none = np.zeros(table.num_rows, dtype=bool)
        if self.column not in table.column_names:
            return table, none
        total, terms = exact_numbers(table.column(self.column)), self._terms(table)
        lacking = sum((np.isnan(values).astype(int) for _, values in terms.values()), np.zeros(table.num_rows, dtype=int))
        known = ~np.isnan(total)
        for name, (sign, values) in terms.items():  # a single part that is missing follows from the sum
            follows = known & (lacking == 1) & np.isnan(values)
            if follows.any():
                others = [term for other, term in terms.items() if other != name]
                part = np.where(follows, sign * (total - self._add(others, self.constant)), values)
                kind = table.column(name).type
                place = table.column_names.index(name)
                table = table.set_column(place, name, to_column(_rounded(part, self.decimals), kind))
        off = np.abs(self._add(list(terms.values()), self.constant) - total) > slack(total, self.decimals)
        return table.drop_columns([self.column]), known & ((lacking > 1) | ((lacking == 0) & off))

    def backward(self, table: pa.Table, seed: int = 0, start: int = 0) -> pa.Table:
        table = with_decimals(table, self.reads, self.decimals)
        total = self._add(list(self._terms(table).values()), self.constant)
        return table.append_column(self.column, to_column(total, column_type(self.dtype)))

    def tie(self, ties: Ties) -> None:
        lacking = [name for name in self.reads if name not in ties.known]
        if self.column in ties.known and len(lacking) == 1:
            ties.known.add(lacking[0])
        elif self.column in ties.known and lacking:
            ties.bind(lacking, ties.widest(lacking))
        ties.known.discard(self.column)

    def pin(self, table: pa.Table, known: pa.Table, solved: Container[str]) -> pa.Table:
        lacking = [name for name in self.reads if name not in known.column_names]
        lacking = [name for name in lacking if name in solved or len(lacking) == 1]
        if self.column not in known.column_names or not lacking:
            return table
        name, terms = lacking[0], self._terms(table)
        total, others = exact_numbers(known.column(self.column)), [term for other, term in terms.items() if other != name]
        part = _rounded(terms[name][0] * (total - self._add(others, self.constant)), self.decimals)
        column = to_column(part, table.schema.field(name).type, ~np.isnan(part))
        return table.set_column(table.column_names.index(name), name, column)

    def describe(self) -> str:
        terms = [*(f"+ {name}" for name in self.plus), *(f"- {name}" for name in self.minus)]
        constant = [f"{'-' if self.constant < 0 else '+'} {abs(self.constant):g}"] if self.constant else []
        terms = constant + terms if self.minus and not self.plus else terms + constant
        return f"{self.column} = {' '.join(terms).removeprefix('+ ')}"

    def effect(self) -> str:
        return f"x holds no {self.column!r}"
