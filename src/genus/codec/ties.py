"""Translate known values of a person's columns, some of which rewrites replaced, to the columns of the space."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from genus.codec import columns
from genus.codec.arrow import without_dictionary
from genus.codec.forms import Form
from genus.codec.rewrites import Rewrite, Ties, place_columns, run_forward
from genus.kinds.charts import Charts
from genus.space import Category, Space

__all__ = ["fulfil", "tie", "to_person", "with_known"]


def tie(rewrites: Sequence[Rewrite], known: Iterable[str], space: Space) -> Ties:
    """Return which columns follow from known values of some of a person's columns, and which are tied to one another."""
    pairs = zip(space.names or (), space.kinds, strict=False)
    numbers = {name: kind for name, kind in pairs if not isinstance(kind, Category)}
    ends = torch.tensor([[-1.0], [1.0]], dtype=torch.float64).expand(-1, len(numbers))
    spread = Charts.of([*numbers.values()]).inverse(ends).diff(dim=0)[0].tolist()
    ties = Ties(set(known), dict(zip(numbers, spread, strict=True)))
    for rewrite in rewrites:
        rewrite.tie(ties)
    ties.refused |= not ties.tied <= set(space.names or ()) or bool(ties.tied & ties.known)
    return ties


def to_person(space: Space, form: Form | None, rewrites: Sequence[Rewrite], x: Tensor, known: pa.Table) -> pa.Table:
    """Return rows x (N, D) of a space as a person's table without keys, in which some columns have the values that are known.

    Args:
        space: of x.
        form: of the space's columns.
        rewrites: of the codec.
        x: rows; what a relation ties to known values may hold anything possible.
        known: N rows of the columns that are known.
    """
    table = columns.decode(space, form, x)
    solved = tie(rewrites, known.column_names, space).solved if known.column_names else set()
    for rewrite in reversed([one for one in rewrites if not one.invents]):
        table = rewrite.backward(rewrite.pin(_set(table, known), known, solved))
    return _set(table, known)


def _set(table: pa.Table, known: pa.Table) -> pa.Table:
    """Return a table with known values in those of its columns that have any."""
    for name in known.column_names:
        if name in table.column_names:
            column, kind = known.column(name), table.schema.field(name).type
            table = place_columns(table, [name], {name: column if column.type == kind else column.cast(kind)})
    return table


def with_known(
    space: Space, form: Form | None, rewrites: Sequence[Rewrite], x: Tensor, known: pa.Table
) -> tuple[Tensor, Tensor]:
    """Return rows x (N, D) changed so that a person's columns have known values, and which of them break no relation (N,).

    Args:
        space, form, rewrites, x, known: as of `to_person`.
    """
    table = to_person(space, form, rewrites, x, known)
    table, broken, _ = run_forward([one for one in rewrites if not one.invents], table)
    found = columns.encode(space, form, table, allow_missing=True, beyond=True)
    return found.to(x.dtype), torch.from_numpy(np.logical_not(broken))


def fulfil(table: pa.Table, conditions: Mapping[str, tuple[str, pa.ChunkedArray]]) -> np.ndarray:
    """Return which rows of a table fulfil conditions, (N,) bool.

    Args:
        table: N rows.
        conditions: for some columns "is" and a value, "between" and two ends, null for an open one, or "in" and values.

    >>> fulfil(pa.table({"a": [1, 5, None]}), {"a": ("between", pa.chunked_array([[2, None]]))}).tolist()
    [False, True, False]
    """
    fine = np.ones(table.num_rows, dtype=bool)
    for name, (how, values) in conditions.items():
        column = without_dictionary(table.column(name))
        ends = values.cast(column.type, safe=False)
        if how != "between":
            fine &= np.asarray(pc.is_in(column, value_set=ends.combine_chunks()))
            continue
        for end, compare in zip(ends, (pc.greater_equal, pc.less_equal), strict=True):
            if end.is_valid:
                fine &= np.asarray(compare(column, end).fill_null(False))
    return fine
