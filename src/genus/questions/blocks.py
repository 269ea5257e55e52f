"""Tables that are asked about block by block, so that memory does not grow with their rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import torch

from genus.codec import Codec
from genus.data.arguments import Options
from genus.data.parts import table_parts
from genus.data.stream import Stream
from genus.errors import DataError
from genus.ladder import GenerativeModel
from genus.questions.imputation import Imputed, impute
from genus.questions.prediction import Predicted, predict
from genus.random import block_seed

__all__ = ["FILLED", "PREDICTED", "block_sources", "impute_blocks", "predict_blocks", "reading_of", "steady"]

FILLED = 50_000  # rows of a block that is filled
PREDICTED = 10_000  # rows of a block of predictions, each of which has the probabilities of up to 256 values


def impute_blocks(
    model: GenerativeModel,
    source: Any,
    columns: Sequence[str] | None = None,
    times: int = 1,
    seed: int | None = None,
    rows: int = FILLED,
    **reading: Any,
) -> Iterator[Imputed]:
    """Fill the blanks of a table block by block, as `genus impute` does, so that memory does not grow with its rows.

    Args:
        model, columns, times: as of `impute`.
        source: a `Stream` (`genus.read(..., stream=True)`), or a table as `impute` takes it: files of Parquet, Arrow or
            delimited text are read part by part; what cannot be is one block.
        seed: repeats the draws; each block has a seed of its own that follows from it, the first block this one.
        rows: of a block.
        reading: further arguments of `genus.read`.

    Yields:
        What `impute` returns, for each block; the types of columns are the same in all.

    Raises:
        DataError, GenusError: as `impute`.

    >>> import genus
    >>> data = genus.read({"a": [1.5, 2.25, 3.125, 4.75] * 9, "b": ["x", "x", "y", "y"] * 9})
    >>> model = genus.build("mixture", data.space, components=2)
    >>> _ = genus.fit(model, data, seed=0, progress=False)
    >>> sum(block.cells for block in impute_blocks(model, {"a": [None, 4.75], "b": ["x", None]}, seed=0))
    2
    """
    first = int(torch.randint(2**31, ())) if seed is None else seed
    for start, block, several in block_sources(model, reading, source, rows):
        filled = impute(model, block, columns, times, block_seed(start // rows, first), **reading_of(reading, several))
        yield replace(filled, tables=tuple(steady(model, table) for table in filled.tables)) if several else filled


def predict_blocks(
    model: GenerativeModel,
    source: Any,
    column: str,
    level: float = 0.9,
    calibrated: bool = True,
    rows: int = PREDICTED,
    **reading: Any,
) -> Iterator[Predicted]:
    """Predict a column of a table block by block, as `genus predict` does, so that memory does not grow with its rows.

    Args:
        model, column, level, calibrated: as of `predict`; `calibrate` keeps a calibration with the model.
        source: as of `impute_blocks`.
        rows: of a block.
        reading: further arguments of `genus.read`.

    Yields:
        What `predict` returns, for each block.

    Raises:
        DataError, GenusError: as `predict`.

    >>> import genus
    >>> data = genus.read("iris")
    >>> model = genus.build("mixture", data.space, components=6)
    >>> _ = genus.fit(model, data, seed=0, progress=False)
    >>> new = {"petal width (cm)": [0.2, 2.3], "petal length (cm)": [1.4, 6.0]}
    >>> [block.value.tolist() for block in predict_blocks(model, new, "species")]
    [['setosa', 'virginica']]
    """
    for start, block, several in block_sources(model, reading, source, rows):
        try:
            yield predict(model, block, column, level, calibrated=calibrated, **reading_of(reading, several))
        except DataError as error:
            if not several:
                raise
            raise DataError(f"In the rows from {start:,} on, counted from there: {error}") from error


def block_sources(model: GenerativeModel, given: Mapping[str, Any], source: Any, rows: int) -> Iterator[tuple[int, Any, bool]]:
    """Yield blocks of a table, each with the number of rows before it, and whether there are several blocks.

    A table that fits into one block, or that cannot be read part by part, is yielded as it is: the source itself.

    Args:
        model: the model, whose columns say how to read the table.
        given: the arguments of `genus.read`.
        source: the table.
        rows: the number of rows of a block.
    """
    if isinstance(source, Stream):
        assert source.parts is not None
        tables = source.parts.blocks(rows)
        blocks = tables if source.prepared is None else map(source.prepared, tables)
        yield from _numbered(blocks)
        return
    spaces = [space for space in (model.context, model.space) if space is not None]
    kinds = {name: kind for space in spaces for name, kind in zip(space.names or (), space.kinds, strict=False)}
    others = [name for name, value in given.items() if value is not None and name not in ("missing", "header")]
    options = Options(missing=tuple(given.get("missing") or ()), header=given.get("header"), kinds=kinds)
    parts = None if others else table_parts(source, options)
    blocks = iter(()) if parts is None else parts.blocks(rows)
    if len(first := [*itertools.islice(blocks, 2)]) < 2:
        yield 0, source, False
        return
    yield from _numbered(itertools.chain(first, blocks))


def _numbered(blocks: Iterator[pa.Table]) -> Iterator[tuple[int, pa.Table, bool]]:
    """Yield blocks as `block_sources` does where there are several."""
    start = 0
    for block in blocks:
        yield start, block, True
        start += block.num_rows


def reading_of(reading: Mapping[str, Any], several: bool) -> dict[str, Any]:
    """Return the arguments of `genus.read` for a block: without `header` where there are several, whose header was read."""
    return {name: value for name, value in reading.items() if name != "header" or not several}


def steady(model: GenerativeModel, table: pa.Table) -> pa.Table:
    """Return a table with types that do not depend on which rows have blanks, so that all blocks of a file have the same."""
    codec = model.codec or Codec(model.space)
    for i, (name, kind) in enumerate(zip(table.column_names, table.schema.types, strict=True)):
        wanted = kind
        if pa.types.is_dictionary(kind):
            wanted = kind.value_type
        elif pa.types.is_null(kind):
            wanted = pa.string()
        elif pa.types.is_integer(kind) and name in codec.column_names and pa.types.is_floating(codec.type_of(name)):
            wanted = pa.float64()
        if wanted != kind:
            table = table.set_column(i, table.schema.field(name).with_type(wanted), table.column(name).cast(wanted))
    return table
