"""Blanks of a table: whether a blank stands for a value that is not known, or is a value like others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
from torch import Tensor

from genus.codec import Codec
from genus.errors import DataError
from genus.kinds import Category, Kind, Lattice
from genus.space import Space

__all__ = ["mark_unknown", "unknown_columns"]

LEVELS = 256  # the most values by which a column may tell where another is blank
FEWEST = 5  # blanks, and rows with a value, of which a pattern can be told
AGREEING = 0.98  # of the blanks, and of the other rows, are told by another column where a blank means something
GLANCE = 16_384  # rows that nearly always show that no column tells
MANY = 0.1  # of the rows are blank, at least, where a column has one value and the blank is another
FEW = 100  # blanks among these rows that say too little
NEARLY = 0.9  # of them are told where all rows may agree


def mark_unknown(
    space: Space,
    x: Tensor,
    fixed: Collection[str] = (),
    unknown: Collection[str] = (),
    blank_is_a_value: Collection[str] = (),
    related: Collection[str] = (),
) -> Space:
    """Return a table's space in which every column with blanks says whether they are unknown values.

    A blank is a value where the values of another column tell which rows are blank, as "no basement" tells that its area is
    blank; where one of two columns is blank, as of debit and credit; and in a column of a single value, as of a box that is
    ticked or not. Elsewhere it is an unknown value (van Buuren 2018, "Flexible Imputation of Missing Data", section 1.2).

    Args:
        space: of the table.
        x: its rows (N, D).
        fixed: columns whose kinds stay as they are.
        unknown, blank_is_a_value: columns of which a person says so.
        related: columns whose blanks tell the value of another column, which the space may not hold: they are values.

    Raises:
        DataError: a column is named that the table lacks, has no blank, or is named in both.

    >>> import math, torch
    >>> from genus.space import Real
    >>> space = Space([Real(atoms=(math.nan,))], names=["age"])
    >>> mark_unknown(space, torch.tensor([[31.0], [math.nan], [45.0]]))
    Space(Real(0, 1, blanks unknown), shape=(1,))
    """
    _check(space, unknown, blank_is_a_value)
    if not space.has_missing:
        return space
    lacking = [i for i, kind in enumerate(space.kinds) if kind.has_missing]
    blanks = dict(zip(lacking, space.select(lacking).tables(x).blanks(x[:, lacking]).sum(0).tolist(), strict=True))
    told, ticks = _told_by_another(space, x, blanks), _ticks(space, len(x), blanks)
    said = {*unknown, *blank_is_a_value}
    chosen = []
    for i, name in enumerate(space.names or ()):
        stays = name in fixed and name not in said
        if not space.kinds[i].has_missing or getattr(space.kinds[i], "levels", ()) == (None,):
            continue  # a column without any value has nothing to be drawn in place of blanks
        told_here = i in told or name in related or i in ticks
        if space.kinds[i].unknown if stays else name in unknown or (name not in said and not told_here):
            chosen.append(i)
    kinds = [
        kind if kind.unknown == (i in chosen) else replace(kind, unknown=not kind.unknown)  # type: ignore[type-var]
        for i, kind in enumerate(space.kinds)
    ]
    return space.with_kinds(kinds)


def unknown_columns(
    codec: Codec, table: pa.Table, fixed: Collection[str], unknown: Collection[str], blank_is_a_value: Collection[str]
) -> set[str]:
    """Return the columns of a table whose blanks stand for unknown values, before relations are known.

    Args:
        codec: of the table.
        table: its rows.
        fixed, unknown, blank_is_a_value: as of `mark_unknown`.
    """
    x = codec.encode(table.select(codec.names or codec.space.names or ()))
    space = mark_unknown(codec.space, x, fixed, unknown, blank_is_a_value)
    return {name for name, kind in zip(space.names or (), space.kinds, strict=True) if kind.has_unknown}


def _ticks(space: Space, rows: int, blanks: Mapping[int, int]) -> set[int]:
    """Return the columns with many blanks and a single value, as a box that is ticked or not has: a blank there means no."""
    return {i for i, count in blanks.items() if count > MANY * rows and _has_one_value(space.kinds[i])}


def _has_one_value(kind: Kind) -> bool:
    """Return whether a kind has a single value beside the blank."""
    if isinstance(kind, Category):
        return kind.states == 2
    return isinstance(kind, Lattice) and kind.size == 1 and {*kind.numbers} <= {kind.low}


def _check(space: Space, unknown: Collection[str], blank_is_a_value: Collection[str]) -> None:
    """Raise DataError where a column that a person names has no blanks, or is said to be both."""
    for argument, names in (("unknown", unknown), ("blank_is_a_value", blank_is_a_value)):
        for name in names:
            if not space.kinds[space.index(name)].has_missing:
                raise DataError(f"Column {name!r} has no blank, so {argument}= says nothing of it; leave it out.")
    if both := sorted({*unknown} & {*blank_is_a_value}):
        raise DataError(f"Column {both[0]!r} is named in unknown= and in blank_is_a_value=; choose one.")


def _told_by_another(space: Space, x: Tensor, blanks: Mapping[int, int]) -> set[int]:
    """Return the columns whose blanks, of which each column has so many, are told by the values of another column."""
    waiting = [i for i, count in blanks.items() if min(count, len(x) - count) >= FEWEST]
    if len(x) > 4 * GLANCE and waiting:  # nearly always a part of the rows shows that no column tells
        part = x[:: len(x) // GLANCE]
        seen = space.tables(part).blanks(part).sum(0).tolist()
        near = _told(space, part, [i for i in waiting if seen[i] >= FEW], NEARLY)
        waiting = [i for i in waiting if seen[i] < FEW or i in near]
    return _told(space, x, waiting, AGREEING)


def _told(space: Space, x: Tensor, waiting: list[int], agreeing: float) -> set[int]:
    """Return which of some columns have blanks that the values of another column predict in this share of the rows."""
    told: set[int] = set()
    if not waiting:
        return told
    blank = space.tables(x).blanks(x).cpu().numpy()
    counts = blank.sum(0)
    for i in waiting:  # of debit and credit one is blank
        told |= {i for j in waiting if i != j and (blank[:, i] != blank[:, j]).mean() >= agreeing}
    for j in range(space.dim):
        there = ~blank[:, j]
        code = _codes(space.kinds[j], x[:, j].double().cpu().numpy()[there])
        if code is not None:  # a column that is blank in the same rows tells nothing
            open_ = [i for i in waiting if i not in told and i != j]
            told |= {i for i in open_ if _tells(code, blank[there, i], int(counts[i]), agreeing)}
    return told


def _codes(kind: Kind, values: np.ndarray) -> np.ndarray | None:
    """Return the values of a column (N,) as whole numbers (N,); None where they are too many.

    Of a long column of numbers the frequent values have a number each, and all others together one.
    """
    atoms = np.sort(kind.numbers)
    distinct = np.unique(values[:: max(1, len(values) // 4096)])
    if len(distinct) > LEVELS and not len(atoms):
        return None
    if len(distinct) > LEVELS:
        return np.where(np.isin(values, atoms), np.searchsorted(atoms, values), len(atoms))
    coded = pa.array(values).dictionary_encode()  # hashes, where np.unique would sort
    return coded.indices.to_numpy() if 1 < len(coded.dictionary) <= LEVELS else None


def _tells(code: np.ndarray, blank: np.ndarray, blanks: int, agreeing: float) -> bool:
    """Return whether the values of another column tell which rows are blank.

    Args:
        code: the values (M,) of the rows where the other column has one.
        blank: which of these rows are blank (M,).
        blanks: how many rows are blank in all.
        agreeing: the share of the blanks, and of the other rows, that they have to tell.
    """
    seen = np.bincount(code)
    found = np.bincount(code, weights=blank, minlength=len(seen))
    means_blank = (found > 0.5 * seen) & (seen >= 2 * FEWEST)
    return found[means_blank].sum() >= agreeing * blanks and (seen - found)[~means_blank].sum() >= agreeing * (~blank).sum()
