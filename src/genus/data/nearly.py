"""Notes on relations that all but a few rows obey, such as an end after its start. They are not enforced on draws."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from genus.codec.formulas import Formula
from genus.codec.notes import Note
from genus.codec.rewrites import Rewrite
from genus.data.candidates import FEWEST_ROWS, MOST_COLUMNS, PROBED, Candidate
from genus.data.functions import codes_of, is_function
from genus.data.orders import is_below
from genus.kinds import Kind

__all__ = ["nearly_notes"]

FEW = 0.005  # of the rows, at most, that break what the others obey
LIKELY = 0.1  # of the rows that would break it by chance, at most


def nearly_notes(table: pa.Table, kinds: Mapping[str, Kind], rewrites: Sequence[Rewrite], target: str | None) -> list[Note]:
    """Return a note on each relation that only few rows break: formulas, orders, and columns that follow from another.

    Args:
        table: the rows.
        kinds: of the columns among which to search.
        rewrites: the relations that were found.
        target: a column that follows from nothing.
    """
    if table.num_rows < FEWEST_ROWS or not 1 < len(kinds) <= MOST_COLUMNS:
        return []
    explained = {name for one in rewrites for name in (getattr(one, "column", ""), *getattr(one, "columns", ()))}
    first = table.slice(0, PROBED)
    promising = _near(
        [Candidate.of(name, kind, first.column(name)) for name, kind in kinds.items() if name not in explained], target
    )
    in_formulas = {name for one in rewrites if isinstance(one, Formula) and one.rest for name in (one.column, *one.of)}
    columns = {
        name: Candidate.of(name, kind, table.column(name)) for name, kind in kinds.items() if name in promising | in_formulas
    }
    free = [column for name, column in columns.items() if name in promising]
    return [*_orders([c for c in free if c.is_number]), *_functions(free, target), *_formulas(table, columns, rewrites)]


def _formulas(table: pa.Table, columns: Mapping[str, Candidate], rewrites: Sequence[Rewrite]) -> list[Note]:
    """Return notes on formulas that were kept with what few rows leave of them."""
    notes = []
    for one in rewrites:
        if isinstance(one, Formula) and one.rest and one.column in columns:
            column = columns[one.column]
            # Every term, and the value itself, may be off by half a unit of the last place, and a little for arithmetic.
            broken = np.abs(column.values - one.values(table)) > (len(one.of) // 2 + 1.25) * column.last_place
            if 0 < broken.sum() <= FEW * len(broken):
                said = _shown(broken, [*(columns[name] for name in one.of if name in columns), column])
                notes.append(Note(f"{one.column} = {one.text} in all rows but {said}; draws break it as often"))
    return notes


def _near(columns: Sequence[Candidate], target: str | None) -> set[str]:
    """Return the columns that may belong to an order or a function with few exceptions, judged by the first rows."""
    most, near = max(1, 2 * FEW * PROBED), set[str]()
    for low, high in itertools.permutations([c for c in columns if c.is_number], 2):
        if (low.values > high.values).sum() <= most:
            near |= {low.name, high.name}
    coded = {c.name: found for c in columns if (found := codes_of(c)) is not None}
    for of, name in itertools.permutations(coded, 2):
        (key, keys), (value, distinct) = coded[of], coded[name]
        if name != target and distinct <= keys and _off(key, keys, value, distinct).sum() <= most:
            near |= {of, name}
    return near


def _shown(broken: np.ndarray, columns: Sequence[Candidate]) -> str:
    """Return which rows (N,) break a relation, with the values of the first."""
    row, count = int(np.flatnonzero(broken)[0]), int(broken.sum())
    values = " and ".join(f"{c.name} is {c.data[row].as_py()!s}" for c in columns)
    rows = f"row {row}" if count == 1 else f"{count:,} of {len(broken):,}, such as row {row}"
    return f"{rows}, where {values}"


def _note(what: str, broken: np.ndarray, columns: Sequence[Candidate]) -> Note:
    """Return the note on a relation that some rows (N,) break."""
    return Note(
        f"{what} in all rows but {_shown(broken, columns)}; draws break it often: mend or drop such rows, and it is kept"
    )


def _orders(columns: Sequence[Candidate]) -> list[Note]:
    """Return notes on pairs of columns of one unit of which one is above the other in few rows."""
    notes = []
    for low in columns:
        for high in columns:
            if low is high or low.unit != high.unit:
                continue
            if (low.values[:PROBED] > high.values[:PROBED]).sum() > max(1, 2 * FEW * PROBED):
                continue
            broken = low.values > high.values
            if not 0 < broken.sum() <= FEW * len(broken):
                continue
            fine = ~broken
            first, second = (replace(c, data=c.data.filter(pa.array(fine)), values=c.values[fine]) for c in (low, high))
            strict = is_below(first, second, nearly=True)
            if strict is not None:
                notes.append(_note(f"{low.name} {'<' if strict else '<='} {high.name}", broken, (low, high)))
    return notes


def _functions(columns: Sequence[Candidate], target: str | None) -> list[Note]:
    """Return notes on columns of few values that follow from another's in all rows but few."""
    coded = {c.name: (c, *found) for c in columns if (found := codes_of(c)) is not None}
    notes, told = [], set[str]()
    for of, (first, key, keys) in coded.items():
        for name, (second, value, distinct) in coded.items():
            if of == name or name == target or name in told or keys > len(key) / 5 or distinct > keys:
                continue
            if _off(key[:PROBED], keys, value[:PROBED], distinct).sum() > max(1, 2 * FEW * PROBED):
                continue
            broken = _off(key, keys, value, distinct)
            other = len(value) - int(np.bincount(value).max())  # rows that a constant does not explain
            if not 0 < broken.sum() <= min(FEW * len(broken), LIKELY * other):
                continue
            fine = ~broken
            if is_function(key[fine], keys, value[fine], distinct, len(coded) ** 2):
                notes.append(_note(f"{name} follows from {of}", broken, (first, second)))
                told.add(name)
    return notes


def _off(key: np.ndarray, keys: int, value: np.ndarray, distinct: int) -> np.ndarray:
    """Return the rows (N,) in which a value is another than the most frequent one of its key."""
    pairs, place, counts = np.unique(key.astype(np.int64) * distinct + value, return_inverse=True, return_counts=True)
    order = np.lexsort((counts, pairs // distinct))
    usual = np.zeros(keys, dtype=np.int64)
    usual[pairs[order] // distinct] = pairs[order]  # the last of each key is the most frequent
    return usual[key] != pairs[place]
