"""The search for columns that are missing in the same rows, perhaps where another column says so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.absence import Absent, Together, levels_of
from genus.codec.arrow import is_blank
from genus.data.candidates import BROKEN, SURE, Candidate

__all__ = ["ACCEPTED", "find_together"]

ACCEPTED = 0.1  # the least share of draws that would obey it by chance: rejection must not take forever
HEAD = 4096  # rows that nearly always rule a column out
MOST_LEVELS = 32  # of a column that may say where others are missing


def find_together(columns: Sequence[Candidate]) -> list[Together | Absent]:
    """Return the groups of columns that are missing in the same rows, where chance cannot have it so.

    Where the levels of another column say in which rows, that is returned instead.
    """
    groups: dict[bytes, list[str]] = {}
    masks: dict[bytes, np.ndarray] = {}
    for column in columns:
        missing = is_blank(column.data)
        if missing.any():
            key = np.packbits(missing).tobytes()
            groups.setdefault(key, []).append(column.name)
            masks[key] = missing
    found: list[Together | Absent] = []
    for key, names in groups.items():
        share = float(masks[key].mean())
        differ = 2 * share * (1 - share)  # of two such columns, independent, in a row
        if differ < BROKEN or differ * len(masks[key]) < SURE:
            continue
        absent = _absent(columns, names, masks[key]) if _by_chance(share, len(names) + 1) >= ACCEPTED else None
        if absent is not None:
            found.append(absent)
        elif len(names) > 1 and _by_chance(share, len(names)) >= ACCEPTED:
            found.append(Together(tuple(names)))
    return found


def _by_chance(share: float, count: int) -> float:
    """Return the share of rows in which so many independent columns, each missing as often, agree on it."""
    return share**count + (1 - share) ** count


def _absent(columns: Sequence[Candidate], names: Sequence[str], missing: np.ndarray) -> Absent | None:
    """Return the column whose levels say where others are missing, with these levels; None where there is none."""
    share = float(missing.mean())
    surprise = -len(missing) * (share * np.log(share) + (1 - share) * np.log1p(-share))  # of the rows that are missing, in nats
    for column in columns:
        kind = column.dtype
        if column.name in names or not (not column.is_number or "int" in kind) or is_blank(column.data).any():
            continue
        if len(missing) > 2 * HEAD and _levels_where(column.data.slice(0, HEAD), missing[:HEAD]) is None:
            continue
        found = _levels_where(column.data, missing)
        if found is not None and len(found[1]) > 1 and surprise - np.log1p(found[1]).sum() >= SURE:
            return Absent(tuple(names), column.name, found[0])
    return None


def _levels_where(column: pa.ChunkedArray, missing: np.ndarray) -> tuple[tuple[str, ...], np.ndarray] | None:
    """Return the levels of a column that say where others are missing, and the rows of every level; None where none say so."""
    coded = levels_of(column).combine_chunks().dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    if len(coded.dictionary) > MOST_LEVELS:
        return None
    code = np.asarray(coded.indices)
    seen, blank = np.bincount(code), np.bincount(code, weights=missing)
    told = ((blank == 0) | (blank == seen)).all()
    return (tuple(pc.take(coded.dictionary, np.flatnonzero(blank)).to_pylist()), seen) if told else None
