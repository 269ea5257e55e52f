"""The search for columns of few values that follow from another column."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.arrow import without_dictionary
from genus.codec.functions import Function, plain_values
from genus.data.candidates import BROKEN, PROBED, SURE, Candidate
from genus.kinds import Category, Lattice

__all__ = ["codes_of", "find_functions", "first_of_two_values", "has_all_values", "is_function", "made_function"]

LEVELS = 256  # a function has at most so many values
SEEN = 0.5  # of the whole numbers that a column may have, which tell the function of the others


def find_functions(columns: Sequence[Candidate], target: str | None) -> list[Function]:
    """Return the columns of few values that follow from another's value, each as a function of it; the target is none."""
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
    rank = {name: (name != target, not isinstance(by_name[name].kind, Category), i) for i, name in enumerate(names)}
    chosen: dict[str, str] = {}
    for name in names:
        holders = [of for of in names if (of, name) in follows and ((name, of) not in follows or rank[of] < rank[name])]
        if holders:  # the nearest: of a state rather its city than its street
            chosen[name] = min(holders, key=lambda of: (codes[of][1], rank[of]))
    functions = [made_function(by_name[name], by_name[of]) for name, of in chosen.items()]
    depth = {name: _depth(name, chosen) for name in chosen}
    return sorted(functions, key=lambda f: -depth[f.column])


def _related(columns: Sequence[Candidate], target: str | None) -> list[str]:
    """Return the columns that determine another, or are determined, in the first rows; this quick test rules most out."""
    heads = {c.name: found for c in columns if (found := codes_of(replace(c, data=c.data.slice(0, PROBED)), 0)) is not None}
    related = {
        name
        for of, (key, keys) in heads.items()
        for other, (value, _) in heads.items()
        if of != other and other != target and _has_one_value(key, keys, value)
        for name in (of, other)
    }
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
    kind = of.kind
    if (
        not (isinstance(kind, Lattice) and kind.is_whole and pa.types.is_integer(of.data.type))
        or kind.has_missing
        or kind.atoms
    ):
        return {}
    pairs = sorted(zip(*(_pairs(column, of).column(name).to_pylist() for name in ("key", "value")), strict=True))
    runs = [value for value, _ in itertools.groupby(value for _, value in pairs)]
    if len(runs) != len({*runs}) or len(pairs) < SEEN * kind.size:
        return {}
    keys, values = np.array([key for key, _ in pairs]), [value for _, value in pairs]
    every = np.rint(kind.low + kind.step * np.arange(kind.size)).astype(np.int64)
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


def made_function(column: Candidate, of: Candidate) -> Function:
    """Return a column as a function of another, with the values that the rows have."""
    pairs = _pairs(column, of)
    unseen = {} if has_all_values(of) else _unseen(column, of)
    keys, values = (tuple(plain_values(pairs.column(name))) for name in ("key", "value"))
    keys, values = (*keys, *unseen), (*values, *unseen.values())
    levels: tuple[Any, ...] = ()
    if pa.types.is_dictionary(column.data.type) and isinstance(column.kind, Category):
        levels = tuple(level for level in column.kind.levels if level is not None)
    return Function(column.name, of.name, keys, values, column.dtype, levels)


def _with_nulls(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column without a dictionary, and with null for NaN."""
    column = without_dictionary(column)
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column) if pa.types.is_floating(column.type) else column
