"""Tables that come once, batch by batch, kept in temporary files so that they can be read again and again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from genus.codec.arrow import without_dictionary
from genus.codec.frames import is_frame, to_arrow
from genus.data.parts import AT_ONCE, TableReader, joined
from genus.errors import DataError

__all__ = ["spooled"]


def spooled(source: Any) -> TableReader | None:
    """Return the parts of a table that can be read once; None for a source of another type.

    Its batches are written to a temporary folder in Arrow's format, which goes when the parts do. No more than a batch is in
    memory.

    Args:
        source: a reader of Arrow's record batches, a data set of Hugging Face's library that is iterated over, or an iterator
            of frames, of Arrow's tables or batches, or of dictionaries of columns.

    Raises:
        DataError: an item of the iterator is no table, or two have different columns.

    >>> parts = spooled({"x": [i, i + 1]} for i in range(0, 6, 2))
    >>> [table.column("x").to_pylist() for table in parts.read()]
    [[0, 1], [2, 3], [4, 5]]
    """
    batches = _batches(source)
    if batches is None:
        return None
    folder = tempfile.TemporaryDirectory(prefix="genus-stream-")
    paths = _written(batches, Path(folder.name))
    return TableReader("data", lambda: _read(folder, paths))


def _batches(source: Any) -> Iterator[Any] | None:
    """Yield what a source holds, batch by batch; None for a source of another type."""
    if isinstance(source, pa.RecordBatchReader):
        return iter(source)
    if hasattr(source, "iter") and hasattr(source, "take"):  # an IterableDataset, of which `datasets` need not be imported
        return source.iter(batch_size=AT_ONCE)
    return source if isinstance(source, Iterator) else None


def _written(batches: Iterable[Any], folder: Path) -> list[Path]:
    """Write batches to files, a new one wherever the types change, and return their paths."""
    paths: list[Path] = []
    writer: Any = None
    names: list[str] = []
    try:
        for number, batch in enumerate(batches):
            table = _table(batch, number)
            names = names or table.column_names
            if {*table.column_names} != {*names}:
                raise DataError(f"Table {number} of the iterator has the columns {table.column_names}; expected {names}.")
            table = table.select(names)
            if writer is None or table.schema != writer.schema:
                if writer is not None:
                    writer.close()
                paths.append(folder / f"{len(paths)}.arrow")
                writer = _Writer(paths[-1], table.schema)
            writer.write(table)
    finally:
        if writer is not None:
            writer.close()
    return paths


class _Writer:
    """Write tables of one schema to a file."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self.write, self.close = (writer := pa.ipc.new_file(path, schema)).write_table, writer.close


def _table(batch: Any, number: int) -> pa.Table:
    """Return an item of an iterator as a table, its dictionaries, which differ from batch to batch, as their values."""
    if isinstance(batch, pa.RecordBatch):
        batch = pa.Table.from_batches([batch])
    if not isinstance(batch, pa.Table):
        if not (isinstance(batch, Mapping) or is_frame(batch)):
            raise DataError(f"Item {number} of the iterator is a {type(batch).__name__}; expected a frame, or columns by name.")
        batch = to_arrow(batch)[0]
    return pa.table([*map(without_dictionary, batch.columns)], names=batch.column_names)


def _read(folder: tempfile.TemporaryDirectory[str], paths: list[Path]) -> Iterator[pa.Table]:
    """Yield the tables of files, whose temporary folder is kept until the last reader is done."""
    for path in paths:
        with pa.memory_map(str(path)) as file:
            reader = pa.ipc.open_file(file)
            for i in range(reader.num_record_batches):
                yield joined([pa.Table.from_batches([reader.get_batch(i)])])
    assert folder
