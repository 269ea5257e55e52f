"""The search for columns that are missing in the same rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc

from genus.codec.constraints import Together
from genus.data.candidates import BROKEN, SURE, Candidate

__all__ = ["find_together"]

ACCEPTED = 0.1  # the least share of draws that would obey it by chance: rejection must not take forever


def find_together(columns: Sequence[Candidate]) -> list[Together]:
    """Return the groups of columns that are missing in the same rows, where chance cannot have it so."""
    groups: dict[bytes, list[str]] = {}
    shares: dict[bytes, float] = {}
    for column in columns:
        missing = np.asarray(pc.is_null(column.data, nan_is_null=True), dtype=bool)
        if missing.any():
            mask = np.packbits(missing).tobytes()
            groups.setdefault(mask, []).append(column.name)
            shares[mask] = float(missing.mean())
    found = []
    for mask, names in groups.items():
        share = shares[mask]
        by_chance = share ** len(names) + (1 - share) ** len(names)
        differ = 2 * share * (1 - share)  # of two such columns, independent, in a row
        if len(names) > 1 and differ >= BROKEN and differ * len(columns[0].data) >= SURE and by_chance >= ACCEPTED:
            found.append(Together(tuple(names)))
    return found
