"""`rebalance`: draw rows in which each level of a column has a stated share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from genus.codec import Codec
from genus.codec.tabular import as_table
from genus.errors import DataError, GenusError, listed, near
from genus.kinds import Category
from genus.ladder import GenerativeModel
from genus.ladder.conditions import Conditions
from genus.ladder.unknown import all_values
from genus.random import isolated

__all__ = ["balanced_rows", "rebalance", "shares_of"]

LEVELS = 256  # the most levels of a column whose levels can have shares


def rebalance(
    model: GenerativeModel, n: int, column: str, shares: Mapping[Any, float] | None = None, seed: int | None = None
) -> pa.Table:
    """Draw rows of which each level of a column has a stated share; within a level they are as the model has them.

    Args:
        model: of a table.
        n: how many rows.
        column: the name of a column of few values, of x or of the context.
        shares: the share of each level, 0 to 1; levels that are not named share the rest evenly. None: all levels evenly.
        seed: repeats the draw.

    Returns:
        The rows in random order, with the columns that the data had, those of the context last.

    Raises:
        DataError: there is no such column or level, the column has too many levels, or the shares do not add up to 1.
        GenusError: rows of a level are too rare under the model.

    >>> import genus
    >>> data = genus.read({"a": [1.5, 2.5, 3.25, 4.0] * 20, "b": ["x", "x", "x", "y"] * 20})
    >>> model = genus.build("mixture", data.space, components=2)
    >>> _ = genus.fit(model, data, seed=0, progress=False)
    >>> rebalance(model, 100, "b", {"y": 0.4}, seed=0).column("b").to_pylist().count("y")
    40
    """
    seed = int(torch.randint(2**31, ())) if seed is None else seed
    return balanced_rows(model, n, column, shares_of(model, column, shares), seed)


def shares_of(model: GenerativeModel, column: str, shares: Mapping[Any, float] | None) -> dict[Any, float]:
    """Return the share of every level of a column, by its value as `where` takes it.

    Raises:
        DataError: see `rebalance`.
    """
    if not model.space.is_table:
        raise DataError("Rows are rebalanced by a column of a table, and this model has none.")
    levels = _levels(model, column)
    named = {_same(level, levels): float(share) for level, share in (shares or {}).items()}
    if odd := [level for level in named if level not in levels]:
        raise DataError(
            f"{odd[0]!r} is no level of {column!r}{near(odd[0], levels)}; expected one of {listed(map(repr, levels))}."
        )
    total = sum(named.values())
    if any(not share >= 0 for share in named.values()) or total > 1 + 1e-9:
        raise DataError(f"Shares lie between 0 and 1 and add up to 1 at most; got {', '.join(map(str, named.values()))}.")
    others = [level for level in levels if level not in named]
    if not others and total < 1 - 1e-9:
        raise DataError(f"The shares of all levels of {column!r} add up to {total:g}, and 1 is expected.")
    return named | {level: (1 - total) / len(others) for level in others}


def _levels(model: GenerativeModel, column: str) -> list[Any]:
    """Return the levels of a column: one of x, of the context, or one that a relation replaced by other columns."""
    context = model.context
    codec, i = model.codec or Codec(model.space), None
    if context is not None and column in (context.names or ()):
        codec, i = model.context_codec or Codec(context), context.index(column)
    elif codec.replaced(column):
        found = next((one for one in codec.rewrites if getattr(one, "column", None) == column and hasattr(one, "values")), None)
        if found is None:
            raise DataError(
                f"{column!r} has no list of levels, since a relation measures it from others; choose a column that has."
            )
        return [*dict.fromkeys(value for value in found.values if value is not None)]
    else:
        i = codec.space.index(column)
    kind = codec.space.kinds[i]
    grid = all_values(kind)
    if grid is None or len(grid) > LEVELS:
        raise DataError(f"{column!r} has more than {LEVELS} values, so there is no share for each; use where= with ranges.")
    if isinstance(kind, Category):
        return [level for level in kind.levels if level is not None or not kind.unknown]
    numbers = grid[~grid.isnan()] if kind.has_unknown else grid
    return [None if math.isnan(v) else v for v in numbers.sort().values.tolist()]


def _same(level: Any, levels: list[Any]) -> Any:
    """Return the one of the levels that a person means, who may write it as text; what they wrote where there is none."""
    equal = [one for one in levels if one == level or (isinstance(level, str) and _text(one) == level.strip())]
    return equal[0] if equal else level


def _text(level: Any) -> str:
    return "" if level is None else f"{level:g}" if isinstance(level, float) else str(level).strip()


def balanced_rows(
    model: GenerativeModel, n: int, column: str, shares: Mapping[Any, float], seed: int, start: int = 0
) -> pa.Table:
    """Return n rows with these shares of a column's levels, as `rebalance` does.

    Args:
        shares: of every level, adding up to 1.
        start: how many rows of the same draw stand before these.
    """
    parts_x, parts_c = [], []
    for k, ((level, _), count) in enumerate(zip(shares.items(), _counts(n, [*shares.values()]), strict=True)):
        if not count:
            continue
        c, where = _asked(model, column, level, count, seed + 7919 * k)
        parts_x.append(model.sample(count, c, seed=seed + 7919 * k, where=where))
        parts_c.append(c)
    if not parts_x:
        parts_x.append(model.sample(0, None if model.context is None else model.sample_context(0)))
        parts_c.append(None)
    with isolated(seed):
        order = torch.randperm(n)
    table = as_table(model.codec or Codec(model.space), torch.cat(parts_x)[order], seed, start=start)
    if all(c is not None for c in parts_c) and model.context is not None:
        labels = as_table(model.context_codec or Codec(model.context), torch.cat([c for c in parts_c if c is not None])[order])
        for name in labels.column_names:
            table = table.append_column(name, labels.column(name))
    return table


def _asked(
    model: GenerativeModel, column: str, level: Any, count: int, seed: int
) -> tuple[Tensor | None, Conditions | dict[str, Any] | None]:
    """Return the contexts (count, ...) or None, and the conditions or None, under which all rows have a level."""
    context = model.context
    if context is None or column not in (context.names or ()):
        c = None if context is None else model.sample_context(count, seed=seed + 1)
        return c, Conditions.of(model, {column: level})
    kind = context.kinds[context.index(column)]
    value = float(kind.levels.index(level)) if isinstance(kind, Category) else math.nan if level is None else float(level)
    if context.dim == 1:
        return torch.full((count, 1), value, dtype=context.dtype), None
    return model.sample_context(count, {column: value}, seed + 1), None


def _counts(n: int, shares: list[float]) -> list[int]:
    """Return whole numbers that add up to n and are nearest to shares of it: the largest remainders are rounded up."""
    exact = n * np.array(shares)
    counts = np.floor(exact + 1e-9).astype(int)
    for k in np.argsort(counts - exact, kind="stable")[: n - counts.sum()]:
        counts[k] += 1
    if counts.sum() != n:
        raise GenusError(f"The shares {shares} do not add up to 1.")
    return counts.tolist()
