"""Blocks of a table that are filled, or of which a column is predicted, with what a person should know of them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from genus.cli import jobs
from genus.cli.inputs import codec_of
from genus.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from genus.ladder import GenerativeModel
    from genus.questions import Imputed

__all__ = ["Filling", "FilledBlock", "Predicting", "PredictedBlock", "filled", "predicted"]


@dataclass(frozen=True)
class Filling:
    """Hold what filling needs for all blocks.

    Attributes:
        model: of a table.
        reading: the arguments of `genus.read`.
        columns: to fill; None: all that have blanks.
        times: how many draws.
        mean: whether the rows stand once, with the mean of the draws beside them.
        seed: of the first block.
        block: the rows of a block.
    """

    model: GenerativeModel
    reading: dict[str, Any]
    columns: list[str] | None
    times: int
    mean: bool
    seed: int
    block: int


@dataclass
class FilledBlock:
    """Hold a filled block, and the sums of it and others: how many rows there are, and of each column the blanks filled."""

    table: Any = None
    total: int = 0
    rows: int = 0
    cells: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    size: float = math.inf
    where: dict[str, np.ndarray] = field(default_factory=dict)  # of this block alone: which rows (N,) of a column are filled

    def add(self, other: FilledBlock) -> None:
        """Add the sums of another block."""
        self.total, self.rows, self.size = self.total + other.total, self.rows + other.rows, min(self.size, other.size)
        self.cells.update(other.cells)
        self.reasons.update(other.reasons)


def filled(task: Filling, block: tuple[int, Any, bool]) -> FilledBlock:
    """Return a block of `block_sources`, filled."""
    from genus.codec.tabular import with_decimals_of
    from genus.questions import impute
    from genus.questions.blocks import reading_of, steady

    start, source, several = block
    seed = jobs.seed_of(start // task.block, task.seed)
    found = impute(task.model, source, task.columns, task.times, seed, **reading_of(task.reading, several))
    table = found.summary() if task.mean else _stacked(found)
    cells = Counter({name: int(where.sum()) for name, where in found.filled.items()})
    table = with_decimals_of(codec_of(task.model), steady(task.model, table) if several else table)
    return FilledBlock(table, found.tables[0].num_rows, found.rows, cells, Counter(found.reasons), found.size, found.filled)


def _stacked(found: Imputed) -> pa.Table:
    """Return the draws as one table, with a column that numbers them where they are several."""
    import pyarrow as pa

    if len(found.tables) == 1:
        return found.tables[0]
    name = next(name for name in ("draw", "draw of genus") if name not in found.tables[0].column_names)
    count = found.tables[0].num_rows
    numbered = [table.add_column(0, name, pa.array([k] * count)) for k, table in enumerate(found.tables)]
    return pa.concat_tables(numbered, promote_options="permissive")


@dataclass(frozen=True)
class Predicting:
    """Hold what predicting needs for all blocks.

    Attributes:
        model: of a table.
        reading: the arguments of `genus.read`.
        column, level, probabilities: the options of the command.
        calibrated: whether by what the model keeps of held-out rows.
        beside: whether the columns of the data stand before the predictions.
    """

    model: GenerativeModel
    reading: dict[str, Any]
    column: str
    level: float
    probabilities: bool
    calibrated: bool
    beside: bool


@dataclass
class PredictedBlock:
    """Hold the predictions of a block, and the sums of it and others."""

    table: Any = None
    rows: int = 0
    label: str = "exact"
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, other: PredictedBlock) -> None:
        """Add the sums of another block."""
        self.rows += other.rows
        self.label = self.label if other.label == "exact" else other.label
        self.reasons.update(other.reasons)


def predicted(task: Predicting, block: tuple[int, Any, bool]) -> PredictedBlock:
    """Return the predictions of a block of `block_sources`.

    Raises:
        DataError: the rows do not fit the model.
    """
    from genus.codec.tabular import with_decimals_of
    from genus.questions import predict
    from genus.questions.blocks import reading_of, steady

    start, source, several = block
    reading = reading_of(task.reading, several)
    try:
        found = predict(task.model, source, task.column, task.level, calibrated=task.calibrated, **reading)
    except DataError as error:
        if not several:
            raise
        raise DataError(f"In the rows from {start:,} on, counted from there: {error}") from error
    table = found.table(task.probabilities, task.beside)
    if task.beside:
        table = with_decimals_of(codec_of(task.model), steady(task.model, table) if several else table)
    return PredictedBlock(table, len(found.value), found.label, Counter(found.reasons))
