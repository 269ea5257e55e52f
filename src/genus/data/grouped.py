"""Rows that belong together: a column that names them leaves the table and becomes the groups of a `Dataset`."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from genus.data.sources import Source
from genus.errors import DataError, listed, near

__all__ = ["take_group"]


def take_group(found: Source, name: str | None) -> tuple[Source, Tensor | None]:
    """Return a source without the column that names the groups, and the group of every row as a whole number, (N,).

    A row whose group is missing is a group of its own.

    Args:
        found: columns, or images with columns beside them.
        name: of the column; None for no groups.

    Raises:
        DataError: there is no such column, or the data are sequences.
    """
    if name is None:
        return found, None
    names = found.columns.column_names
    if found.sequences is not None or name not in names:
        raise DataError(f"There is no column {name!r}{near(name, names)}, named in group=; the columns are {listed(names)}.")
    column = found.columns.column(name).combine_chunks()
    group = column.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(float)
    known = torch.from_numpy(group)
    alone = known.isnan()
    known[alone] = len(known) + torch.arange(int(alone.sum()), dtype=known.dtype)
    kept = [other for other in names if other != name]
    if not kept and found.images is None:
        raise DataError(f"Column {name!r} says which rows belong together, and there is no other; leave group= out.")
    form = found.form if found.images is not None else found.form.select_names(names, kept)
    target = found.target if found.target != name else None
    return replace(found, columns=found.columns.select(kept), form=form, target=target), known.long()
