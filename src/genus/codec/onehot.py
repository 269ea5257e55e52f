"""Columns of 0 and 1 of which exactly one is 1 in every row, as one column of levels."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.constraints import quoted
from genus.codec.frames import to_numbers
from genus.codec.relations import check_fields, column_type
from genus.codec.rewrites import Rewrite, Ties, place_columns
from genus.errors import DataError

__all__ = ["OneHot"]


@dataclass(frozen=True)
class OneHot(Rewrite):
    """Puts a column of levels, the names of the columns, in the place of columns of which exactly one is 1, the others 0.

    Args:
        columns: two or more.
        into: the name of the column of levels.
        dtypes: Arrow's types of the columns.

    >>> group = OneHot(("cat", "dog"), "cat to dog", ("int64", "int64"))
    >>> group.forward(pa.table({"cat": [1, 0], "dog": [0, 1]}))[0].column("cat to dog").to_pylist()
    ['cat', 'dog']
    """

    columns: tuple[str, ...]
    into: str
    dtypes: tuple[str, ...]

    def __post_init__(self) -> None:
        for dtype in self.dtypes:
            check_fields(self.columns, 0, dtype)
        if len(self.columns) < 2 or len(self.columns) != len(self.dtypes) or not isinstance(self.into, str):
            raise DataError(f"Columns of which one is 1 are two or more, each with a type; got {self.columns!r}.")

    @property
    def reads(self) -> tuple[str, ...]:
        return self.columns

    def forward(self, table: pa.Table) -> tuple[pa.Table, np.ndarray]:
        values = np.stack([to_numbers(table.column(name)) for name in self.columns])
        ones, blank = values == 1, np.isnan(values)
        count, open_ = ones.sum(0), blank.sum(0)
        which = np.where(count == 1, ones.argmax(0), blank.argmax(0))  # a single blank among zeros is the 1
        told = (count == 1) | ((count == 0) & (open_ == 1))
        broken = ~(ones | (values == 0) | blank).all(0) | (count > 1) | ((count == 0) & (open_ == 0))
        broken |= ~told & (open_ < len(values))  # some levels are ruled out, which no level can say
        levels = pa.array(self.columns).take(pa.array(which, mask=~told))
        return place_columns(table, self.columns, {self.into: levels}), broken

    def backward(self, table: pa.Table, seed: int = 0, start: int = 0) -> pa.Table:
        level = table.column(self.into)
        level = level.cast(level.type.value_type) if pa.types.is_dictionary(level.type) else level
        places = pc.index_in(level, value_set=pa.array(self.columns))
        new = {
            name: pc.equal(places, i).cast(pa.int8()).cast(column_type(dtype))
            for i, (name, dtype) in enumerate(zip(self.columns, self.dtypes, strict=True))
        }
        return place_columns(table, [self.into], new)

    def tie(self, ties: Ties) -> None:
        known = [name for name in self.columns if name in ties.known]
        if len(known) >= len(self.columns) - 1:
            ties.known.add(self.into)
        elif known:
            ties.bind([self.into], None)
        ties.known.difference_update(self.columns)

    def pin(self, table: pa.Table, known: pa.Table, solved: Container[str]) -> pa.Table:
        level, kind = table.column(self.into).cast(pa.string()), table.column(self.into).type
        there = [name for name in self.columns if name in known.column_names]
        ones = {name: pc.fill_null(pc.equal(known.column(name).cast(pa.float64()), 1.0), False) for name in there}
        rest = [name for name in self.columns if name not in ones]
        if len(rest) == 1:  # it is the one where the others are 0
            ones = {rest[0]: pa.chunked_array([np.ones(table.num_rows, dtype=bool)])} | ones
        for name, one in ones.items():
            level = pc.if_else(one, name, level)
        return table.set_column(table.column_names.index(self.into), self.into, level.cast(kind))

    def describe(self) -> str:
        return f"exactly one of {', '.join(self.columns)} is 1"

    @property
    def declarations(self) -> tuple[str, ...]:
        return (" + ".join(map(quoted, self.columns)) + " = 1",)

    def effect(self) -> str:
        return f"x holds {self.into!r}, its name, in their place"
