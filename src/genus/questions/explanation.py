"""`explain`: which column makes a row unusual, column by column given all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from genus.errors import DataError
from genus.ladder import GenerativeModel
from genus.ladder.unknown import unknown_entries
from genus.notebook import Previewed
from genus.questions.conditional import column_given
from genus.questions.reading import read_for

__all__ = ["Explained", "explain", "surprise"]


@dataclass(frozen=True, repr=False)
class Explained(Previewed):
    """Holds how surprising every value of a table is, given the other values of its row.

    Attributes:
        columns: the names of the columns.
        surprise: (N, D) nats by which a value's log-density given the others lies below what is to be expected of that column
            in that row; NaN where the row has no value. About 0 on average; 5 and more is odd.
        label: "exact", or "estimate" where the distribution of a column is an estimate (see `ColumnGiven`).
    """

    columns: tuple[str, ...]
    surprise: np.ndarray
    label: str

    @property
    def first(self) -> list[str | None]:
        """Return the most surprising column of each row; None where the row has no value."""
        known = np.where(np.isnan(self.surprise), -np.inf, self.surprise)
        return [self.columns[i] if known[row, i] > -np.inf else None for row, i in enumerate(known.argmax(1))]

    def _preview(self) -> tuple[str, pa.Table]:
        rows, columns = self.surprise.shape
        return f"surprise of {columns:,} columns in {rows:,} rows, in nats ({self.label})", self.table()

    def table(self) -> pa.Table:
        """Return the most surprising column of each row and its surprise, then the surprise of every column."""
        most = np.where(np.isnan(self.surprise), -np.inf, self.surprise).max(1)
        out = {"odd_column": pa.array(self.first), "surprise": pa.array(most)}
        out |= {f"surprise of {name}": pa.array(self.surprise[:, i]) for i, name in enumerate(self.columns)}
        return pa.table(out)


def surprise(model: GenerativeModel, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, str]:
    """Return how surprising every entry of rows is given the others.

    The surprise of a value is E log p(v | others) - log p(value | others), v drawn from the same distribution: how far its
    log-density lies below the average, so that columns of any unit, number of levels and noise can be compared.

    Args:
        model: of a table, with a density.
        x: rows (B, D) without blanks of unknown values.
        c: their contexts, (B, *context.shape), or None.

    Returns:
        (B, D) in nats, and a label, "exact" or "estimate".

    Raises:
        GenusError: the model has no density.
    """
    columns = [column_given(model, x, c, i, blanks=True) for i in range(model.space.dim)]
    label = "exact" if all(column.label == "exact" for column in columns) else "estimate"
    return torch.stack([column.expected - column.log_density for column in columns], dim=1), label


def explain(model: GenerativeModel, source: Any, **reading: Any) -> Explained:
    """Return which values of a table are surprising, each given the other values of its row.

    Args:
        model: of a table, with a density.
        source: the table, as `genus.read` takes it.
        reading: further arguments of `genus.read`.

    Raises:
        DataError: the data cannot be read; a row has no mass under the model at all.
        GenusError: the model has no density, or no table.

    >>> import genus
    >>> rows = {"a": ["x", "y"] * 60, "b": ["u", "v"] * 60}
    >>> data = genus.read(rows, relations=False)
    >>> model = genus.build("chow-liu", data.space)
    >>> _ = genus.fit(model, data, seed=0, progress=False)
    >>> odd = explain(model, {"a": ["x", "x"], "b": ["u", "v"]})
    >>> (odd.surprise.max(1) > 3).tolist()
    [False, True]
    """
    _, data = read_for(model, source, False, reading)
    x, space = data.x.clone(), model.space
    odd = x.isinf()  # values that the model cannot take
    if bool(odd.all(1).any()):
        row = int(odd.all(1).nonzero()[0])
        raise DataError(f"Row {row} breaks a relation that held in training, which explains it; leave such rows out.")
    # A value without mass is infinitely surprising. It and blanks are replaced by draws, so that the others can be scored.
    missing = odd | (x.isnan() & unknown_entries(space, x) & (space.tables(x).missing < 0))
    rows = missing.any(1)
    if bool(rows.any()):
        x[odd] = float("nan")
        c = None if data.c is None else data.c[rows]
        x[rows] = model.fill(x[rows], c, missing[rows], seed=0).x.to(x)
    nats, label = surprise(model, x, data.c)
    nats = torch.where(odd, torch.inf, torch.where(missing, torch.nan, nats))
    return Explained(space.names or (), nats.numpy(), label)
