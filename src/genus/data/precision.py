"""Note the columns of which single precision does not hold every number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import torch

from genus.codec.arrow import to_numbers
from genus.codec.columns import decode_column
from genus.codec.notes import Note
from genus.kinds import Category, Kind, Lattice, Time
from genus.space import Space

__all__ = ["precision_notes"]

GLANCE = 1000  # rows that nearly always tell
NAMED = 6  # columns


def precision_notes(space: Space, table: pa.Table) -> list[Note]:
    """Return a note on the columns of which some number is another one when it comes back from a space of single precision.

    Args:
        space: of some of the columns of the table.
        table: the data.
    """
    if space.dtype != torch.float32:
        return []
    kinds: Mapping[str, Kind] = dict(zip(space.names or (), space.kinds, strict=True))
    names = [name for name, kind in kinds.items() if name in table.column_names and _is_rounded(kind, table.column(name))]
    if not names:
        return []
    shown = ", ".join(map(repr, names[:NAMED])) + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")
    noun, verb = ("columns", "have") if len(names) > 1 else ("column", "has")
    return [Note(f"{noun} {shown} {verb} numbers of more digits than the seven of single precision, to which they are rounded")]


def _is_rounded(kind: Kind, column: pa.ChunkedArray) -> bool:
    """Return whether some number of a column is rounded."""
    numbers = (pa.types.is_floating(column.type) and not pa.types.is_float32(column.type)) or pa.types.is_decimal(column.type)
    if isinstance(kind, Category | Lattice | Time) or not numbers:  # a lattice that single precision does not hold has double
        return False
    for rows in (column.slice(0, GLANCE), column):
        values = to_numbers(rows)
        values = values[~np.isnan(values)]
        if not np.array_equal(decode_column(kind, values.astype(np.float32).astype(np.float64), True), values):
            return True
    return False
