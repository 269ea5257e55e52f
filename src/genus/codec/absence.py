"""Relations of which values are missing: in the same rows as others, or exactly where another column says so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.arrow import is_blank, without_dictionary
from genus.codec.rewrites import Rewrite
from genus.errors import DataError, near

__all__ = ["Absent", "Together", "levels_of"]


@dataclass(frozen=True)
class Absent(Rewrite):
    """Keeps columns missing in the rows in which another column has one of some levels, and nowhere else.

    Draws that break it are drawn again.

    Args:
        columns: one or more.
        by: the other column, of text, booleans or whole numbers.
        levels: of it, as text.

    >>> table = pa.table({"garage": ["none", "big", "none"], "area": [None, None, 30.0]})
    >>> Absent(("area",), "garage", ("none",)).forward(table)[1].tolist()
    [False, True, True]
    """

    columns: tuple[str, ...]
    by: str
    levels: tuple[str, ...]
    rejects = of_blanks = True

    def __post_init__(self) -> None:
        named = (*self.columns, self.by, *self.levels)
        if not self.columns or not self.levels or not all(isinstance(name, str) for name in named):
            raise DataError(f"Columns that are missing where another has a level, and levels, are texts; got {named!r}.")

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.columns, self.by)

    @property
    def meaningful_blanks(self) -> tuple[str, ...]:
        return self.columns

    @property
    def texts(self) -> tuple[str, ...]:
        return self.levels

    def forward(self, table: pa.Table) -> tuple[pa.Table, np.ndarray]:
        said = np.asarray(pc.is_in(levels_of(table.column(self.by)), value_set=pa.array(self.levels)), dtype=bool)
        return table, np.logical_or.reduce([is_blank(table.column(name)) != said for name in self.columns])

    def describe(self) -> str:
        names = " and ".join(filter(None, (", ".join(self.columns[:-1]), self.columns[-1])))
        verb = "are" if len(self.columns) > 1 else "is"
        return f"{names} {verb} missing exactly where {self.by} is {' or '.join(self.levels)}"

    @property
    def declarations(self) -> tuple[str, ...]:
        return (f"{', '.join(self.columns)} missing where {self.by} = {' or '.join(self.levels)}",)

    @classmethod
    def declared(cls, text: str, names: Sequence[str]) -> Absent | None:
        """Return what "a, b missing where c = none or 0" declares; None for another text.

        Raises:
            DataError: a name that no column has.
        """
        found = re.fullmatch(r"\s*(.+?)\s+missing\s+where\s+(.+?)\s*=\s*(.+?)\s*", text)
        if found is None or text in names:
            return None
        *columns, by = _different((*found[1].split(","), found[2]), names, text)
        return cls(tuple(columns), by, tuple(level.strip(' `"') for level in re.split(r"\s+or\s+", found[3])))


@dataclass(frozen=True)
class Together(Rewrite):
    """Keeps columns missing in the same rows; draws in which only some of them are missing are drawn again.

    Args:
        columns: two or more.

    >>> Together(("a", "b")).forward(pa.table({"a": [1, None, 3], "b": [1, None, None]}))[1].tolist()
    [False, False, True]
    """

    columns: tuple[str, ...]
    rejects = of_blanks = True

    def __post_init__(self) -> None:
        if len(self.columns) < 2 or not all(isinstance(name, str) for name in self.columns):
            raise DataError(f"Columns that are missing together are two or more, by name; got {self.columns!r}.")

    @property
    def reads(self) -> tuple[str, ...]:
        return self.columns

    def forward(self, table: pa.Table) -> tuple[pa.Table, np.ndarray]:
        missing = [is_blank(table.column(name)) for name in self.columns]
        return table, np.logical_or.reduce(missing) & ~np.logical_and.reduce(missing)

    def describe(self) -> str:
        return f"{', '.join(self.columns[:-1])} and {self.columns[-1]} are missing in the same rows"

    @property
    def declarations(self) -> tuple[str, ...]:
        return (f"{self.columns[0]} missing with {', '.join(self.columns[1:])}",)

    @classmethod
    def declared(cls, text: str, names: Sequence[str]) -> Together | None:
        """Return the columns that "a missing with b, c" declares; None for another text.

        Raises:
            DataError: a name that no column has.
        """
        found = re.fullmatch(r"\s*(.+?)\s+missing\s+with\s+(.+?)\s*", text)
        if found is None or text in names:
            return None
        return cls(tuple(_different((found[1], *found[2].split(",")), names, text)))


def _different(words: Sequence[str], names: Sequence[str], text: str) -> list[str]:
    """Return the columns that words of a constraint's text name; DataError where one is unknown, or stands twice."""
    columns = [word.strip(' `"') for word in words]
    odd = [name for i, name in enumerate(columns) if name not in names or name in columns[:i]]
    if odd:
        meant = near(odd[0], {*names} - {*columns})
        raise DataError(f"The constraint {text!r} is not understood at {odd[0]!r}{meant}; name different columns.")
    return columns


def levels_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the values of a column as text."""
    return without_dictionary(column).cast(pa.string())
