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
from genus.codec.relations import Sum
from genus.codec.rewrites import Rewrite, Ties, place_columns, run_forward
from genus.kinds.charts import Charts
from genus.space import Category, Space

__all__ = ["contradiction", "fulfil", "tie", "to_person", "with_known"]


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


def contradiction(space: Space, rewrites: Sequence[Rewrite], known: pa.Table) -> str | None:
    """Return in words why no row has the known values of a person's columns, where one relation alone says it; else None.

    Args:
        space, rewrites: of the codec.
        known: a row of the columns that are known.
    """
    kinds = dict(zip(space.names or (), space.kinds, strict=False))
    for one in rewrites:
        names = [*one.reads, *filter(None, [getattr(one, "column", None)])]
        lacking = [name for name in names if name not in known.column_names]
        if one.invents or not names or (lacking and not (isinstance(one, Sum) and len(lacking) == 1 and lacking[0] in kinds)):
            continue
        table = known
        for name in lacking:  # a part that follows from the total
            table = table.append_column(name, pa.nulls(known.num_rows, pa.float64()))
        after, broken = one.forward(table)
        told = [columns.encode_column(kinds[name], after.column(name), name, True, beyond=True) for name in lacking]
        if broken.any() or any(np.isinf(values).any() for values in told):
            more = [f"{name!r} would be {after.column(name)[0].as_py():g}" for name in lacking]
            shown = " and ".join([one.broken(known, 0), *more])
            return f"{one.describe()}, and {shown}"
    return None


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
