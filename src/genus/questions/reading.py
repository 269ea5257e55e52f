"""Read rows of a person's table for a model, and name the values that its space does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from genus.codec import Codec
from genus.codec.arrow import is_blank
from genus.data import Dataset, read
from genus.data.stream import Stream
from genus.errors import DataError, GenusError
from genus.ladder import GenerativeModel
from genus.space import Space

__all__ = ["BROKEN", "held", "known_cells", "odd_entries", "read_for", "related_rows", "rows_by_cells"]

BROKEN = "they break a relation that held in training, or no draw agrees with all that they hold"


def read_for(model: GenerativeModel, source: Any, absent: bool, reading: dict[str, Any]) -> tuple[Codec, Dataset]:
    """Return the codec of a model of a table, and a table in its space: NaN where blank, infinite where it has no place.

    Args:
        model: of a table.
        source: the table, a Dataset or what `genus.read` takes.
        absent: whether the table may lack columns of the model, which are then blank.
        reading: further arguments of `genus.read`.

    Raises:
        DataError: the data cannot be read, or stream.
        GenusError: the model is of no table.
    """
    if not model.space.is_table:
        raise GenusError(f"This is a model of {model.space!r}, not of a table; these questions are about columns.")
    if isinstance(source, Stream):
        raise DataError(
            "A stream is asked about block by block, by impute_blocks or predict_blocks; for other questions read the data"
            " without stream=True."
        )
    if isinstance(source, Dataset):
        source = source.frame()
    codec, context = model.codec or Codec(model.space), model.context_codec
    if model.context is not None and context is None:
        context = Codec(model.context)
    return codec, read(source, space=(codec, context), allow_missing=True, absent=absent, beyond=True, **reading)


def odd_entries(space: Space, x: Tensor, leave_out: int | None = None) -> tuple[Tensor, dict[str, int]]:
    """Return which entries of x (N, D) the model has no place for, bool (N, D), and in words how many rows have them.

    Args:
        leave_out: a column whose values are not looked at anyway.
    """
    odd = x.isinf()
    whole = odd.all(1)
    reasons = {BROKEN: int(whole.sum())} if bool(whole.any()) else {}
    for i, count in enumerate((odd & ~whole[:, None]).sum(0).tolist()):
        if count and i != leave_out:
            reasons[f"the model has no place for their value of {space.label(i)}, which was not looked at"] = count
    return odd, reasons


def related_rows(model: GenerativeModel, data: Dataset) -> dict[tuple[str, ...], Tensor]:
    """Return the rows that have no x, since they hold a column which a relation replaced and lack one that it needs.

    Args:
        model: of a table.
        data: as `read_for` gave it.

    Returns:
        The numbers of rows by the person's columns whose values they hold, blanks that mean something among them.
    """
    codec, table = model.codec, data.table
    rows = data.x.isinf().all(1).nonzero()[:, 0]
    if codec is None or table is None or not codec.rewrites or not len(rows):
        return {}
    found = rows_by_cells(codec, table, rows)
    ties = {names: codec.tie(names) for names in found}
    return {names: some for names, some in found.items() if ties[names].tied and not ties[names].refused}


def rows_by_cells(codec: Codec, table: pa.Table, rows: Tensor, leave_out: str = "") -> dict[tuple[str, ...], Tensor]:
    """Return rows of a table by the names of the columns whose values they hold; one column counts as not held."""
    names = [name for name in codec.column_names if name not in codec.keys and name != leave_out]
    cells = [held(codec, table, name)[rows.numpy()] for name in names]
    patterns, which = np.unique(np.stack(cells, axis=1), axis=0, return_inverse=True)
    return {
        tuple(name for name, one in zip(names, some, strict=True) if one): rows[torch.from_numpy(which.ravel() == k)]
        for k, some in enumerate(patterns)
    }


def held(codec: Codec, table: pa.Table, name: str) -> np.ndarray:
    """Return in which rows a table says something of a column (N,): a value, or a blank that is like one."""
    if name not in table.column_names:
        return np.zeros(table.num_rows, dtype=bool)
    names = codec.space.names or ()
    kind = codec.space.kinds[names.index(name)] if name in names else None
    meant = codec.replaced(name) and any(name in rewrite.meaningful_blanks for rewrite in codec.rewrites)
    if meant or (kind is not None and kind.has_missing and not kind.unknown):
        return np.ones(table.num_rows, dtype=bool)
    return ~is_blank(codec.as_cells(name, table.column(name)))


def known_cells(codec: Codec, table: pa.Table, names: Sequence[str], rows: Tensor) -> pa.Table:
    """Return some columns of some rows of a table, as `Codec.with_known` takes them."""
    return codec.as_read(table.select(list(names)).take(pa.array(rows.numpy())))
