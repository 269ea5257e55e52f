"""The search for columns of few values that follow from another column."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.arrow import is_blank, without_dictionary
from genus.codec.functions import Function, plain_values
from genus.codec.notes import Note
from genus.codec.rewrites import Rewrite
from genus.data.candidates import BROKEN, PROBED, SURE, Candidate
from genus.kinds import Category, Lattice

__all__ = ["codes_of", "filled_notes", "find_functions", "first_of_two_values", "has_all_values", "in_spite_of_blanks",
           "is_function", "made_function"]  # fmt: skip

LEVELS = 256  # a function has at most so many values
SHOWN = 3  # keys that one note lists
SEEN = 0.5  # of the whole numbers that a column may have, which tell the function of the others
BY_CHANCE = 0.001  # how improbable it may be that a key has only blanks beside it, though blanks do not depend on the key
RARE = 0.02  # of the rows, at most, have such keys


def find_functions(
    columns: Sequence[Candidate], target: str | None, unknown: Callable[[], Collection[str]] = frozenset
) -> list[Function]:
    """Return the columns of few values that follow from another's value, each as a function of it.

    Args:
        columns: among which to search.
        target: a column that is no function of others.
        unknown: returns the columns whose blanks stand for unknown values; it is called where a function hangs on it.
    """
    by_name = {c.name: c for c in columns}
    codes = {name: found for name in _related(columns, target) if (found := codes_of(by_name[name])) is not None}
    names = list(codes)
    few = sum(_has_few(c) for c in columns)
    follows = {
        (of, name)
        for of in names
        for name in names
        if of != name and name != target and is_function(*codes[of], *codes[name], pairs=few**2)
    }
    follows = {(of, name) for of, name in follows if has_all_values(by_name[of]) or _unseen(by_name[name], by_name[of])}
    filling = {
        (of, name): one
        for of, name in itertools.permutations(names, 2)
        if (of, name) not in follows
        and name != target
        and (one := in_spite_of_blanks(by_name[name], by_name[of], unknown, few**2)) is not None
    }
    follows |= filling.keys()
    rank = {name: (name != target, not isinstance(by_name[name].kind, Category), i) for i, name in enumerate(names)}
    chosen: dict[str, str] = {}
    for name in names:
        holders = [of for of in names if (of, name) in follows and ((name, of) not in follows or rank[of] < rank[name])]
        if holders:  # the nearest: of a state rather its city than its street
            chosen[name] = min(holders, key=lambda of: (codes[of][1], rank[of]))
    functions = [filling.get((of, name)) or made_function(by_name[name], by_name[of]) for name, of in chosen.items()]
    depth = {name: _depth(name, chosen) for name in chosen}
    return sorted(functions, key=lambda f: -depth[f.column])


def _related(columns: Sequence[Candidate], target: str | None) -> list[str]:
    """Return the columns that determine another, or are determined, in the first rows; this quick test rules most out."""
    first = [replace(c, data=c.data.slice(0, PROBED)) for c in columns]
    heads = {c.name: (*found, is_blank(c.data)) for c in first if (found := codes_of(c, 0)) is not None}

    def related_to(of: str, other: str) -> bool:
        (key, keys, no_key), (value, _, blank) = heads[of], heads[other]
        known = ~(no_key | blank)
        return _has_one_value(key, keys, value) or (
            not np.array_equal(no_key, blank) and _has_one_value(key[known], keys, value[known])
        )

    pairs = [(of, other) for of, other in itertools.permutations(heads, 2) if other != target and related_to(of, other)]
    related = {name for pair in pairs for name in pair}
    return [c.name for c in columns if c.name in related]


def _has_one_value(key: np.ndarray, keys: int, value: np.ndarray) -> bool:
    """Return whether every key (N,) has one value."""
    first = np.empty(keys, dtype=value.dtype)
    first[key[::-1]] = value[::-1]
    return bool(np.array_equal(first[key], value))


def _has_few(column: Candidate) -> bool:
    """Return whether a column has few values."""
    kind = column.kind
    few = isinstance(kind, Category) or (isinstance(kind, Lattice) and kind.is_narrow)
    return few and (isinstance(kind, Category) or not pa.types.is_temporal(column.data.type))


def _depth(name: str, chosen: Mapping[str, str]) -> int:
    depth = 0
    while name in chosen:
        name, depth = chosen[name], depth + 1
    return depth


def codes_of(column: Candidate, fewest: int = 2) -> tuple[np.ndarray, int] | None:
    """Return a code for each row's value, missing a value like others, and the number of codes; None for many values.

    Nor is there a code where there are fewer different values than `fewest`.
    """
    if not _has_few(column):
        return None
    encoded = _with_nulls(column.data).combine_chunks().dictionary_encode("encode")
    count = len(encoded.dictionary)
    return (np.asarray(encoded.indices), count) if count >= fewest else None


def is_function(of: np.ndarray, keys: int, values: np.ndarray, distinct: int, pairs: int) -> bool:
    """Return whether each key has one value, in rows enough to rule chance out."""
    if distinct > min(keys, LEVELS) or keys > len(of) / 5:
        return False
    for part in (slice(0, PROBED), slice(None)):
        if not _has_one_value(of[part], keys, values[part]):
            return False
    share = np.bincount(values, minlength=distinct) / len(values)
    alike, repeats = float((share**2).sum()), len(of) - keys
    return repeats * (1 - alike) / len(of) >= BROKEN and -repeats * math.log(alike) >= SURE + math.log(pairs)


def has_all_values(column: Candidate) -> bool:
    """Return whether the rows have every value that a draw of a column may have, so that the function is defined for each."""
    kind, codes = column.kind, codes_of(column)
    if codes is None:
        return False
    return codes[1] == (kind.size + kind.has_missing if isinstance(kind, Lattice) else kind.states)


def _unseen(column: Candidate, of: Candidate) -> dict[int, Any]:
    """Return the whole numbers that a column may have and no row has, each with the value that its neighbours have.

    So the group of an age that is not in the data follows from those that are. Nothing is returned where the values are no
    steps: where some value of the function comes again after another.
    """
    kind, dtype = of.kind, of.data.type
    if (
        not (isinstance(kind, Lattice) and kind.is_whole and (pa.types.is_integer(dtype) or pa.types.is_floating(dtype)))
        or kind.has_missing
        or kind.atoms
    ):
        return {}
    pairs = sorted(zip(*(_pairs(column, of).column(name).to_pylist() for name in ("key", "value")), strict=True))
    runs = [value for value, _ in itertools.groupby(value for _, value in pairs)]
    if len(runs) != len({*runs}) or len(pairs) < SEEN * kind.size:
        return {}
    keys, values = np.array([key for key, _ in pairs]), [value for _, value in pairs]
    every = np.rint(kind.low + kind.step * np.arange(kind.size)).astype(keys.dtype)
    return {key: values[int(np.abs(keys - key).argmin())] for key in every[~np.isin(every, keys)].tolist()}


def _pairs(column: Candidate, of: Candidate) -> pa.Table:
    """Return the different pairs of a key and a value."""
    return pa.table({"key": _with_nulls(of.data), "value": _with_nulls(column.data)}).group_by(["key", "value"]).aggregate([])


def first_of_two_values(column: Candidate, of: Candidate) -> tuple[Any, list[Any]]:
    """Return the first key of which a column has several values, and these; no values where each key has one."""
    values: dict[Any, list[Any]] = {}
    for pair in _pairs(column, of).to_pylist():
        values.setdefault(pair["key"], []).append(pair["value"])
    return next(((key, found) for key, found in values.items() if len(found) > 1), (None, []))


def made_function(column: Candidate, of: Candidate, guessed: Mapping[Any, Any] | None = None) -> Function:
    """Return a column as a function of another, with the values that the rows have, and those of keys that no row has."""
    pairs = _pairs(column, of)
    unseen = guessed if guessed is not None else {} if has_all_values(of) else _unseen(column, of)
    keys, values = (tuple(plain_values(pairs.column(name))) for name in ("key", "value"))
    keys, values = (*keys, *unseen), (*values, *unseen.values())
    levels: tuple[Any, ...] = ()
    if pa.types.is_dictionary(column.data.type) and isinstance(column.kind, Category):
        levels = tuple(level for level in column.kind.levels if level is not None)
    return Function(column.name, of.name, keys, values, column.dtype, levels, len(unseen))


# -- blanks of one column that the other column tells -----------------------------------------------------------------------


def in_spite_of_blanks(
    column: Candidate, of: Candidate, unknown: Callable[[], Collection[str]], pairs: int = 0
) -> Function | None:
    """Return a column as a function of another, both of which have a value in some rows where the other is blank.

    The rows in which both are known show the function. Blanks of the column have to stand for unknown values where the other
    is known, and so have those of the other where the column is known, which must tell the other's value.

    Args:
        column, of: of the same rows.
        unknown: as of `find_functions`.
        pairs: of columns among which chance may find one; 0 where the function was declared.

    Returns:
        The function, or None: no row has only one of the two, or there is no such function.
    """
    blank, no_key = is_blank(column.data), is_blank(of.data)
    lacking = [name for name, some in ((column.name, blank & ~no_key), (of.name, no_key & ~blank)) if some.any()]
    if not lacking:
        return None
    both = pa.array(~(blank | no_key))
    values, keys = (replace(one, kind=one.kind.without_end(), data=one.data.filter(both)) for one in (column, of))
    value, key = codes_of(values), codes_of(keys)
    if value is None or key is None or not _has_one_value(*key, value[0]):
        return None
    if pairs and not is_function(*key, *value, pairs):
        return None
    alone = _with_nulls(of.data.filter(pa.array(blank & ~no_key)))
    share = len(alone) / (len(alone) + len(keys.data))
    alone = alone.filter(pc.invert(pc.is_in(alone, value_set=pc.unique(_with_nulls(keys.data)))))
    guessed = _guessed(values, keys, alone, share)
    if guessed is None or not {*lacking} <= {*unknown()}:
        return None
    found = made_function(values, keys, guessed)
    _, broken = found.forward(pa.table({of.name: of.data, column.name: column.data}))
    return None if broken.any() else found


def _guessed(column: Candidate, of: Candidate, alone: pa.ChunkedArray, share: float) -> dict[Any, Any] | None:
    """Return values for keys beside which no row has one: of numbers that of the nearest key, of levels the most frequent one.

    Args:
        column, of: in the rows where both are known.
        alone: the keys of the rows that have no value, where no other row has one beside the key.
        share: of the rows with a key that have no value.

    Returns:
        The values; None where so few rows, or so rare keys, are not what chance leaves.
    """
    if has_all_values(of):
        return {}
    counts = pc.value_counts(alone).field("counts").to_pylist()
    if share ** max(counts, default=0) < BY_CHANCE or len(alone) > RARE * len(of.data):
        return None
    if not isinstance(of.kind, Category):
        return _unseen(column, of) or None
    seen = pc.value_counts(_with_nulls(column.data))
    likeliest = plain_values(seen.field("values").take([int(np.argmax(seen.field("counts")))]))[0]
    found = dict.fromkeys(plain_values(pc.unique(alone)), likeliest)
    return found if len(found) + len(pc.unique(_with_nulls(of.data))) == of.kind.states else None


def filled_notes(table: pa.Table, rewrites: Sequence[Rewrite]) -> list[Note]:
    """Return a note on each function whose columns fill each other's blanks in a table."""
    notes = []
    for one in rewrites:
        if not isinstance(one, Function) or not any(is_blank(table.column(name)).any() for name in (one.of, one.column)):
            continue
        both = table.select([one.of, one.column])
        filled = one.backward(one.forward(both)[0])
        count = sum(int((is_blank(both.column(n)) & ~is_blank(filled.column(n))).sum()) for n in both.column_names)
        if count:
            said = f"{count:,} blanks of {one.of!r} or {one.column!r} are taken for the values that the other column tells"
            said += f"; no row tells {one.column!r} where {one.of!r} is {_listed(one)}" if one.guessed else ""
            notes.append(Note(said, "keep them blank with {}", {"relations": False}))
    return notes


def _listed(one: Function) -> str:
    """Return the guessed keys of a function with their values, in words."""
    pairs = [*zip(one.keys, one.values, strict=True)][-one.guessed :]
    more = f", or {len(pairs) - SHOWN:,} others" if len(pairs) > SHOWN else ""
    return " or ".join(f"{key!r} (taken for {value!r})" for key, value in pairs[:SHOWN]) + more


def _with_nulls(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column without a dictionary, and with null for NaN."""
    column = without_dictionary(column)
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column) if pa.types.is_floating(column.type) else column
