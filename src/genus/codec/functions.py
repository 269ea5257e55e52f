"""A column whose value follows from another column's, as a rewrite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.arrow import is_blank, to_dictionary, value_type, without_dictionary
from genus.codec.columns import common_type
from genus.codec.relations import WHOLE, check_fields, column_type
from genus.codec.rewrites import Rewrite, Ties
from genus.errors import DataError

__all__ = ["Function", "plain_values"]


def plain_values(values: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return values as JSON has them: those of time as text."""
    return (values.cast(pa.string()) if pa.types.is_temporal(values.type) else values).to_pylist()


def _places(column: pa.ChunkedArray, among: Sequence[Any]) -> np.ndarray:
    """Return the place of each value of a column among others (N,), None standing for a missing one; their number for none."""
    column = without_dictionary(column)
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.string())
    array, present = column.combine_chunks(), [value for value in among if value is not None]
    position = np.array([*(i for i, value in enumerate(among) if value is not None), len(among)])
    places = np.full(len(array), len(among))
    if present and not pa.types.is_null(array.type):
        array, listed = common_type(array, pa.array(present))
        places = position[np.asarray(pc.fill_null(pc.index_in(array, value_set=listed), -1))]
    if None in among:
        places[is_blank(array)] = among.index(None)
    return places


def _values_at(values: Sequence[Any], places: np.ndarray, kind: pa.DataType, levels: Sequence[Any] = ()) -> pa.Array:
    """Return the values at these places (N,) as a column of this type; null where the place is the number of values, or -1.

    Args:
        levels: of a dictionary; none: those that occur.
    """
    plain = value_type(kind)
    listed = pa.array([*values, None], pa.string()) if pa.types.is_temporal(plain) else pa.array([*values, None])
    column = listed.cast(plain, safe=False).take(pa.array(places % (len(values) + 1)))
    if not pa.types.is_dictionary(kind):
        return column
    return to_dictionary(column, pa.array(list(levels)) if levels else column.unique().drop_null(), kind)


@dataclass(frozen=True)
class Function(Rewrite):
    """Takes out a column whose value follows from another column's: the state of a city.

    Where None is no key, a blank in either column is filled by what the other column holds, if that tells its value.

    Args:
        column: that follows.
        of: the column that it follows from.
        keys: the different values of `of`; None for a missing one.
        values: of `column`, one for each key.
        dtype: Arrow's type of the column.
        levels: of a column of Arrow's dictionary type, the texts of its dictionary in their order.
        guessed: how many of the last keys no row had beside a value, so that their values are those of other keys. A blank in
            `of` never stands for such a key where the column is known.

    >>> state = Function("state", "city", ("Reno", "Ely"), ("NV", "NV"), "string")
    >>> state.backward(pa.table({"city": ["Ely"]})).column("state").to_pylist()
    ['NV']
    """

    column: str
    of: str
    keys: tuple[Any, ...]
    values: tuple[Any, ...]
    dtype: str
    levels: tuple[Any, ...] = ()
    guessed: int = 0

    def __post_init__(self) -> None:
        check_fields([self.column, self.of], WHOLE, self.dtype)
        used = (*self.keys, *self.values, *self.levels)
        plain = all(value is None or isinstance(value, str | int | float) for value in used)
        plain &= not self.levels or {*self.values} <= {*self.levels, None}
        if len(self.keys) != len(self.values) or len(set(self.keys)) != len(self.keys) or not self.keys or not plain:
            raise DataError(
                f"A function needs different keys and a value for each; got {len(self.keys)} and {len(self.values)}."
            )
        if not isinstance(self.guessed, int) or not 0 <= self.guessed < len(self.keys):
            raise DataError(f"Of the {len(self.keys)} keys of a function fewer are guessed; got {self.guessed!r}.")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of,)

    @property
    def meaningful_blanks(self) -> tuple[str, ...]:
        own = None in self.keys and self.values.count(self.values[self.keys.index(None)]) == 1
        return (self.of,) if own else ()

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(one for one in (*self.keys, *self.values, *self.levels) if isinstance(one, str))

    @property
    def _distinct(self) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(self.values))

    @property
    def _image(self) -> np.ndarray:
        """Return for each key the place of its value among the distinct values, and -1 at the end for what is no key."""
        place = {value: i for i, value in enumerate(self._distinct)}
        return np.array([*(place[value] for value in self.values), -1])

    def forward(self, table: pa.Table) -> tuple[pa.Table, np.ndarray]:
        if self.column not in table.column_names:
            return table, np.zeros(table.num_rows, dtype=bool)
        key, given = _places(table.column(self.of), self.keys), _places(table.column(self.column), self._distinct)
        known = ~is_blank(table.column(self.column))
        lacking = is_blank(table.column(self.of)) & (key == len(self.keys))
        if (known & lacking).any():  # a key that is missing follows from a value that no other key has
            image = self._image[: len(self.keys) - self.guessed]
            single = {i: int(np.flatnonzero(image == i)[0]) for i in range(len(self._distinct)) if (image == i).sum() == 1}
            inverse = np.array([single.get(i, len(self.keys)) for i in range(len(self._distinct) + 1)])
            key = np.where(known & lacking, inverse[given], key)
            lacking &= key == len(self.keys)
            place = table.column_names.index(self.of)
            table = table.set_column(place, self.of, _values_at(self.keys, key, table.column(self.of).type))
        expected = self._image[key]
        return table.drop_columns([self.column]), known & (((expected >= 0) & (given != expected)) | lacking)

    def backward(self, table: pa.Table, seed: int = 0, start: int = 0) -> pa.Table:
        value = self._image[_places(table.column(self.of), self.keys)]
        return table.append_column(self.column, _values_at(self._distinct, value, column_type(self.dtype), self.levels))

    def tie(self, ties: Ties) -> None:
        if self.column in ties.known and self.of not in ties.known:
            ties.bind([self.of], None)
        ties.known.discard(self.column)

    def describe(self) -> str:
        return f"{self.column} is a function of {self.of}"

    @property
    def declarations(self) -> tuple[str, ...]:
        return (f"{self.of} -> {self.column}",)

    def effect(self) -> str:
        return f"x holds no {self.column!r}"
