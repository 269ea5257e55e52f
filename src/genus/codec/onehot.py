"""Rewrite one-hot columns, of which exactly one or at most one is true in every row, as one column of levels."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.arrow import is_blank, is_numeric, to_dictionary, value_type, without_dictionary
from genus.codec.constraints import quoted
from genus.codec.relations import check_fields, column_type
from genus.codec.rewrites import Rewrite, Ties, place_columns
from genus.errors import DataError

__all__ = ["NUMBERS", "OneHot"]

NUMBERS = (1, 0)
Mark = str | int | bool | None


@dataclass(frozen=True)
class OneHot(Rewrite):
    """Puts a column of levels, the names of the columns, in the place of columns of which exactly one is true, or at most one.

    Args:
        columns: two or more.
        into: the name of the column of levels.
        dtypes: Arrow's types of the columns.
        marks: of each column the value that says true, and the one that says false: (1, 0), (true, false), ("yes", "no"), or
            ("x", None) where a blank says it; () where all are (1, 0).
        none: the level of rows in which no column is true; "" where there is none.

    >>> group = OneHot(("cat", "dog"), "cat to dog", ("int64", "int64"))
    >>> group.forward(pa.table({"cat": [1, 0], "dog": [0, 1]}))[0].column("cat to dog").to_pylist()
    ['cat', 'dog']
    """

    columns: tuple[str, ...]
    into: str
    dtypes: tuple[str, ...]
    marks: tuple[tuple[Mark, Mark], ...] = ()
    none: str = ""

    def __post_init__(self) -> None:
        for dtype in self.dtypes:
            check_fields(self.columns, 0, dtype)
        texts = isinstance(self.into, str) and isinstance(self.none, str) and self.none not in self.columns
        if len(self.columns) < 2 or len(self.columns) != len(self.dtypes) or not texts:
            raise DataError(f"Columns of which one is 1 are two or more, each with a type; got {self.columns!r}.")
        odd = [m for m in self.marks if len(m) != 2 or m[0] is None or m[0] == m[1] or not all(map(_is_plain, m))]
        if odd or len(self.marks) not in (0, len(self.columns)):
            raise DataError(f"Each of these columns has two values, of which one is true; got {self.marks!r}.")

    @property
    def reads(self) -> tuple[str, ...]:
        return self.columns

    @property
    def meaningful_blanks(self) -> tuple[str, ...]:
        return tuple(name for name, (_, no) in zip(self.columns, self._pairs, strict=True) if no is None)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(mark for pair in self.marks for mark in pair if isinstance(mark, str))

    @property
    def _pairs(self) -> Sequence[tuple[Mark, Mark]]:
        return self.marks or (NUMBERS,) * len(self.columns)

    def _is(self, column: pa.ChunkedArray, mark: Mark) -> np.ndarray:
        """Return where a column has a value (N,), None standing for a blank."""
        if mark is None:
            return is_blank(column)
        column = without_dictionary(column)
        if pa.types.is_null(column.type):
            return np.zeros(len(column), dtype=bool)
        column, value = _alike(column, mark)
        return np.asarray(pc.fill_null(pc.equal(column, value), False), dtype=bool)

    def forward(self, table: pa.Table) -> tuple[pa.Table, np.ndarray]:
        pairs = [(table.column(name), mark) for name, mark in zip(self.columns, self._pairs, strict=True)]
        ones = np.stack([self._is(column, yes) for column, (yes, _) in pairs])
        zeros = np.stack([self._is(column, no) for column, (_, no) in pairs])
        blank = np.stack([self._is(column, None) for column, _ in pairs]) & ~zeros
        count, open_ = ones.sum(0), blank.sum(0)
        which = np.where(count == 1, ones.argmax(0), len(pairs))
        told = count == 1
        if self.none:
            told |= (count == 0) & (open_ == 0)
        else:  # a single blank among zeros is the 1
            single = (count == 0) & (open_ == 1)
            which, told = np.where(single, blank.argmax(0), which), told | single
        broken = ~(ones | zeros | blank).all(0) | (count > 1) | ((count == 0) & (open_ == 0) & (not self.none))
        broken |= ~told & (open_ < len(pairs))  # some levels are ruled out, which no level can say
        levels = pa.array([*self.columns, self.none]).take(pa.array(which, mask=~told | broken))
        return place_columns(table, self.columns, {self.into: levels}), broken

    def backward(self, table: pa.Table, seed: int = 0, start: int = 0) -> pa.Table:
        level = without_dictionary(table.column(self.into))
        places = np.asarray(pc.fill_null(pc.index_in(level, value_set=pa.array([*self.columns, self.none])), -1))
        new = {
            name: _marked(np.where(places < 0, 2, places != i), mark, dtype)
            for i, (name, dtype, mark) in enumerate(zip(self.columns, self.dtypes, self._pairs, strict=True))
        }
        return place_columns(table, [self.into], new)

    def tie(self, ties: Ties) -> None:
        known = [name for name in self.columns if name in ties.known]
        if len(known) >= len(self.columns) - (not self.none):
            ties.known.add(self.into)
        elif known:
            ties.bind([self.into], None)
        ties.known.difference_update(self.columns)

    def pin(self, table: pa.Table, known: pa.Table, solved: Container[str]) -> pa.Table:
        level, kind = table.column(self.into).cast(pa.string()), table.column(self.into).type
        marks = dict(zip(self.columns, self._pairs, strict=True))
        ones = {name: self._is(known.column(name), marks[name][0]) for name in self.columns if name in known.column_names}
        rest = [name for name in self.columns if name not in ones]
        if len(rest) <= bool(not self.none):  # it is the one where the others are 0
            ones = {(rest or [self.none])[0]: np.ones(table.num_rows, dtype=bool)} | ones
        for name, one in ones.items():
            level = pc.if_else(pa.array(one), name, level)
        return table.set_column(table.column_names.index(self.into), self.into, level.cast(kind))

    def describe(self) -> str:
        shown = {yes for yes, _ in self._pairs}
        value = next(iter(shown)) if len(shown) == 1 else True
        value = str(value).lower() if isinstance(value, bool) else value
        return f"{'at most' if self.none else 'exactly'} one of {', '.join(self.columns)} is {value}"

    @property
    def declarations(self) -> tuple[str, ...]:
        if not self.marks and not self.none:
            return (" + ".join(map(quoted, self.columns)) + " = 1",)
        return (f"{'at most' if self.none else 'exactly'} one of {', '.join(self.columns)}",)

    def effect(self) -> str:
        return f"x holds {self.into!r}, its name, in their place"


def _is_plain(mark: Any) -> bool:
    return mark is None or isinstance(mark, str | int)


def _alike(column: pa.ChunkedArray, mark: Mark) -> tuple[pa.ChunkedArray, pa.Scalar]:
    """Return a column and a value of one type, to be compared: texts where one of them is text, else numbers."""
    if isinstance(mark, str) or not (pa.types.is_boolean(column.type) or is_numeric(column.type)):
        text = str(mark).lower() if isinstance(mark, bool) else str(mark)
        return column.cast(pa.string()), pa.scalar(text, pa.string())
    column = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    return column.cast(pa.float64(), safe=False), pa.scalar(float(mark or 0))


def _marked(places: np.ndarray, mark: tuple[Mark, Mark], dtype: str) -> pa.Array:
    """Return the values of a column: true where the place (N,) is 0, false where it is 1, and null where it is 2."""
    kind = column_type(dtype)
    values = pa.array([*mark, None]).cast(value_type(kind)).take(pa.array(places))
    if not pa.types.is_dictionary(kind):
        return values
    return to_dictionary(values, pa.array([one for one in mark if one is not None]), kind)
