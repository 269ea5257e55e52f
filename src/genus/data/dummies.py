"""The search for columns of two values of which exactly one, or at most one, is true in every row."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.arrow import without_dictionary
from genus.codec.onehot import NUMBERS, OneHot
from genus.data.candidates import BROKEN, SURE, Candidate
from genus.errors import DataError
from genus.kinds import Category

__all__ = ["declared_dummies", "find_dummies", "is_of_dummies"]

TRUE = {"true", "t", "yes", "y", "x", "1", "on", "checked", "selected", "ja", "j", "wahr", "oui", "o", "vrai", "si", "sí", "s",
        "sim", "da", "✓", "✔"}  # fmt: skip
DECLARED = r"\s*(exactly|at most)\s+one\s+of\s+(.+?)\s*"


def find_dummies(columns: Sequence[Candidate], target: str | None) -> list[OneHot]:
    """Return the groups of columns of which never two are true, where chance cannot have it so.

    Columns of numbers, booleans and texts do not mix. Two columns of which exactly one is true are no group, since one follows
    from the other.

    Args:
        columns: of any kind.
        target: a column that must stay a column of x.
    """
    sorts: dict[str, dict[str, tuple[Candidate, tuple[Any, Any], np.ndarray]]] = {}
    for column in columns:
        if column.name != target and (found := _marked(column)) is not None:
            sort = "text" if isinstance(found[0][0], str) else type(found[0][0]).__name__
            sorts.setdefault(f"{sort} {found[0][1] is None}", {})[column.name] = (column, *found)
    groups: list[OneHot] = []
    for found_of in sorts.values():
        left = [*found_of]
        while left:
            group = _group([found_of[name][2] for name in left])
            names = [left[i] for i in group]
            left = [name for name in left if name not in names]
            some = np.logical_or.reduce([found_of[name][2] for name in names])
            if len(names) > 1 + bool(some.all()):
                groups.append(_made([found_of[name][:2] for name in names], bool(some.all()), [c.name for c in columns]))
    return groups


def _group(trues: Sequence[np.ndarray]) -> list[int]:
    """Return the first of some columns (N,) bool, and those after it that are never true where it is, or another of them."""
    group, some = [0], trues[0].copy()
    for i, one in enumerate(trues[1:], 1):
        if (one & some).any():
            continue
        both = float(one.mean() * some.mean())  # the share of rows that chance would have in both
        if both >= BROKEN / len(trues) and both * len(one) >= SURE + 2 * math.log(len(trues)):
            group.append(i)
            some |= one
    return group


def _made(members: Sequence[tuple[Candidate, tuple[Any, Any]]], exactly: bool, taken: Sequence[str]) -> OneHot:
    names = tuple(column.name for column, _ in members)
    marks = tuple(mark for _, mark in members)
    none = "none"
    while none in names:
        none += "'"
    into = f"{names[0]} to {names[-1]}"
    while into in taken:
        into += "'"
    dtypes = tuple(column.dtype for column, _ in members)
    plain = all(type(yes) is int and no is not None for yes, no in marks)
    return OneHot(names, into, dtypes, () if plain else marks, "" if exactly else none)


def _marked(column: Candidate) -> tuple[tuple[Any, Any], np.ndarray] | None:
    """Return the values that say true and false in a column, and where it is true (N,); None where it has no such two."""
    if column.is_number:
        return _marked_number(column.values)
    data, kind = column.data, column.kind
    if not isinstance(kind, Category) or not 2 <= kind.states <= 3 or pa.types.is_null(data.type):
        return None
    data = without_dictionary(data)
    levels = [level for level in pc.unique(data).to_pylist() if level is not None]
    if pa.types.is_boolean(data.type) and not data.null_count and len(levels) == 2:
        return (True, False), np.asarray(data)
    if not all(isinstance(level, str) for level in levels):
        return None
    if data.null_count:
        return ((levels[0], None), np.asarray(pc.is_valid(data))) if len(levels) == 1 else None
    yes = [level for level in levels if level.strip().lower() in TRUE]
    if len(levels) != 2 or len(yes) != 1:
        return None
    no = next(level for level in levels if level != yes[0])
    return (yes[0], no), np.asarray(pc.equal(data, yes[0]))


def _marked_number(values: np.ndarray) -> tuple[tuple[Any, Any], np.ndarray] | None:
    """Return the same of numbers (N,): 1 and 0, or 1 and blanks."""
    blank, one = np.isnan(values), values == 1
    if one.all() or not one.any() or not (one | blank | (values == 0)).all():
        return None
    if not blank.any():
        return NUMBERS, one
    return ((1, None), one) if (one | blank).all() else None


def is_of_dummies(text: str, names: Sequence[str]) -> bool:
    """Return whether a constraint is "exactly one of a, b, c" or "at most one of a, b"."""
    return text not in names and re.fullmatch(DECLARED, text) is not None


def declared_dummies(text: str, columns: Mapping[str, Candidate]) -> OneHot | None:
    """Return the group that "at most one of a, b" or "exactly one of a, b, c" declares; None for another text.

    Raises:
        DataError: a name that no column has, a column without two values, or rows that break it.
    """
    found = re.fullmatch(DECLARED, text)
    if found is None:
        return None
    names = [name.strip(' `"') for name in found[2].split(",")]
    marked = {name: _marked(columns[name]) if name in columns else None for name in names}
    if odd := [name for name, one in marked.items() if one is None]:
        raise DataError(f"The constraint {text!r} is not understood at {odd[0]!r}; name columns of two values, true and false.")
    count = np.sum([one[1] for one in marked.values() if one is not None], axis=0)
    exactly = found[1] == "exactly"
    if len(names) < 2 or (count > 1).any() or (exactly and (count < 1).any()):
        row = int(np.flatnonzero((count > 1) | (exactly & (count < 1)))[0]) if len(names) > 1 else 0
        raise DataError(f"Row {row} breaks {text!r}, of which {int(count[row])} are true; mend such rows, or leave it out.")
    return _made([(columns[name], one[0]) for name, one in marked.items() if one is not None], exactly, [*columns])
