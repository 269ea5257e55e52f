"""Rewrites: exact changes of a table between the columns that a person has and the columns that a space has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from genus.errors import DataError

__all__ = ["BrokenRelation", "Rewrite", "Ties", "place_columns", "rewrite_from_json", "run_backward", "run_forward"]

SHOWN = 3  # relations that one message names

_rewrites: dict[str, type[Rewrite]] = {}  # by name, as JSON has it


@dataclass
class Ties:
    """Hold what follows from the values of some columns, as rewrites add to it one after the other.

    Attributes:
        known: the columns whose values follow from those that are known.
        spread: how far the values of each column of the space lie apart.
        tied: unknown columns that a relation ties to known values; a density of them has to respect it.
        solved: of the tied ones, those that follow from known values and the other tied ones.
        refused: several relations hang on the same unknown columns, so that nothing can be drawn that agrees with all.
    """

    known: set[str]
    spread: Mapping[str, float]
    tied: set[str] = field(default_factory=set)
    solved: set[str] = field(default_factory=set)
    refused: bool = False

    def bind(self, names: Iterable[str], solved: str | None) -> None:
        """Add a relation between unknown columns, of which one follows from the others; None: each has to be tried."""
        self.refused |= solved in self.solved
        self.tied |= set(names)
        if solved is not None:
            self.solved.add(solved)

    def widest(self, names: Sequence[str]) -> str:
        """Return the column of the widest range, best to solve for: draws of the others often leave it a possible value."""
        return max(names, key=lambda name: self.spread.get(name, 0.0))


class Rewrite(ABC):
    """Changes the columns of a table into those that a space models, and back, without loss.

    A codec keeps rewrites in order: `Codec.encode` runs them forward before it encodes columns, `Codec.decode` backward after
    it has decoded them. Models see the columns between, and know nothing of rewrites. So that a log-density of the columns
    that a model sees is one of the table, a rewrite keeps the base measure: it is a bijection between the rows that it does
    not call broken and the rows of the space, with a Jacobian of 1. A row with a blank that other columns tell is completed
    first, and has the density of the row that it is completed to.

    A subclass is a frozen dataclass whose fields are JSON values (tuples for lists); they are its JSON. It gives `reads`,
    `forward`, `describe` and, unless it rejects, `backward`, and checks its fields in `__post_init__` with a DataError, since
    files bring them.

    Attributes:
        name: by which files find the class.
        noun: the word before its sentence.
        rejects: it changes no column; draws that break it are drawn again.
        of_blanks: it is about which values are missing, and says nothing of rows whose blanks are values to be found.
        invents: `backward` makes values that no row of the space holds, by its seed.
    """

    name: ClassVar[str] = ""
    noun: ClassVar[str] = "relation"
    rejects: ClassVar[bool] = False
    of_blanks: ClassVar[bool] = False
    invents: ClassVar[bool] = False

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = name or cls.__name__.lower()
        _rewrites[cls.name] = cls

    @property
    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """Return the names of the columns that `forward` cannot do without."""

    @property
    def meaningful_blanks(self) -> tuple[str, ...]:
        """Return the columns whose blanks are determined by another column, so that they stand for no unknown value."""
        return ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the texts that its columns hold, as the rewrite compares them."""
        return ()

    @abstractmethod
    def forward(self, table: pa.Table) -> tuple[pa.Table, np.ndarray]:
        """Return the table as the space sees it, and which rows break the relation, (N,) bool.

        Columns that the rewrite does not know stay as they are; the order of columns does not matter. What the table holds in
        rows that are broken does not matter either. A table of no rows is taken too: it gives the types of the columns.
        """

    def backward(self, table: pa.Table, seed: int = 0, start: int = 0) -> pa.Table:
        """Return the table as the person has it: the inverse of `forward`; the same table where that changes no column.

        Args:
            table: as the space sees it.
            seed: of what the rewrite has to invent, such as keys; the same seed repeats it.
            start: how many rows of the same draw were decoded before these.
        """
        return table

    def tie(self, ties: Ties) -> None:  # noqa: B027 - most rewrites change no column
        """Replace knowledge of the columns that `forward` takes by knowledge of the columns that it returns."""

    def pin(self, table: pa.Table, known: pa.Table, solved: Container[str]) -> pa.Table:
        """Return a table as the space sees it, changed so that `backward` gives the values of `known` where it can.

        Args:
            table: rows as the space sees them.
            known: as many rows of the person's columns that are known.
            solved: the columns that are to follow from the others, see `genus.codec.ties`.
        """
        return table

    @abstractmethod
    def describe(self) -> str:
        """Return a sentence on the relation, without a full stop: "checkin <= checkout in every row"."""

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.describe(), self.effect())))

    @property
    def declarations(self) -> tuple[str, ...]:
        """Return the constraints that declare the relation again, as `genus.read` takes them; none for a key."""
        return (self.describe(),)

    def effect(self) -> str:
        """Return how the space differs from the table, to follow `describe`: "x holds 'nights' in place of 'checkout'"."""
        return "draws that break it are drawn again" if self.rejects else ""

    def broken(self, table: pa.Table, row: int) -> str:
        """Return how a row of the person's table breaks the relation, for messages: the values that it has."""
        names = dict.fromkeys([*self.reads, getattr(self, "column", None)])  # the column that it takes out comes last
        return " and ".join(f"{name!r} is {table.column(name)[row].as_py()!s}" for name in names if name in table.column_names)

    def to_json(self) -> dict[str, Any]:
        """Return the rewrite as JSON values; `rewrite_from_json` is the inverse."""
        return {"rewrite": self.name, **{f.name: _listed(getattr(self, f.name)) for f in fields(self)}}  # type: ignore[arg-type]


class BrokenRelation(DataError):
    """Say that rows break relations.

    Args:
        reasons: for each relation the first row that breaks it, in words.
        remedy: what to do about it.
    """

    def __init__(self, reasons: Sequence[str], remedy: str) -> None:
        more = f"; {len(reasons) - SHOWN} other relations are broken too" if len(reasons) > SHOWN else ""
        self.reason = "; ".join(reasons[:SHOWN]) + more
        super().__init__(f"{self.reason}; {remedy}.")


def rewrite_from_json(data: Any) -> Rewrite:
    """Return the rewrite that `Rewrite.to_json` described.

    Raises:
        DataError: no rewrite has the name, or it takes no such values.
    """
    values = dict(data) if isinstance(data, Mapping) else {}
    name = values.pop("rewrite", None)
    if name not in _rewrites:
        raise DataError(f"There is no rewrite {name!r}; there are {', '.join(_rewrites)}.")
    try:
        return _rewrites[name](**{key: _tupled(value) for key, value in values.items()})
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        raise DataError(f"The rewrite {name!r} cannot be made of {sorted(values)}: {error}.") from error


def _listed(value: Any) -> Any:
    return [_listed(one) for one in value] if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(one) for one in value) if isinstance(value, list) else value


# -- a table, through all of them ---------------------------------------------------------------------------------------------


def run_forward(rewrites: Sequence[Rewrite], table: pa.Table) -> tuple[pa.Table, np.ndarray, list[str]]:
    """Return a table as the space sees it, which of its rows break a relation (N,), and for each the first in words.

    Raises:
        DataError: the table lacks a column that a rewrite needs.
    """
    broken = np.zeros(table.num_rows, dtype=bool)
    reasons = []
    for rewrite in rewrites:
        lacking = [name for name in rewrite.reads if name not in table.column_names]
        if lacking:
            raise DataError(
                f"The data lack column {lacking[0]!r}, which {rewrite.describe()} needs; found {', '.join(table.column_names)}."
            )
        after, here = rewrite.forward(table)
        new = here & ~broken  # rows that broke an earlier relation hold anything
        if new.any():
            row = int(np.flatnonzero(new)[0])
            count = f" ({int(new.sum()):,} such in all)" if new.sum() > 1 else ""
            reasons.append(f"Row {row}{count} breaks {rewrite.describe()}: {rewrite.broken(table, row)}")
        broken |= here
        table = after
    return table, broken, reasons


def run_backward(rewrites: Sequence[Rewrite], table: pa.Table, seed: int = 0, start: int = 0) -> pa.Table:
    """Return a table of the space's columns as the person has it."""
    for rewrite in reversed(rewrites):
        table = rewrite.backward(table, seed, start)
    return table


def place_columns(table: pa.Table, old: Sequence[str], new: Mapping[str, Any]) -> pa.Table:
    """Return a table in which new columns stand where the first of the old ones stood, or at the end where none is there.

    >>> place_columns(pa.table({"a": [1], "b": [2], "c": [3]}), ["b", "c"], {"d": [5]}).column_names
    ['a', 'd']
    """
    names = table.column_names
    places = [names.index(name) for name in old if name in names]
    at = min(places, default=len(names))
    before = [name for name in names[:at] if name not in old]
    after = [name for name in names[at:] if name not in old]
    columns = {name: table.column(name) for name in before} | dict(new) | {name: table.column(name) for name in after}
    return pa.table(columns)
