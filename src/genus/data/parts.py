"""Tables in files, read part by part, so that a table larger than the memory is never held as a whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from genus.data.arguments import Options
from genus.data.delimited import csv_parts
from genus.data.files import ARROW, DELIMITED, PARQUET, File, files_below, unreadable
from genus.data.globs import ending, files_of_pattern, with_same_columns
from genus.data.tables import open_dataset, valid
from genus.data.written import csv_texts

__all__ = ["AT_ONCE", "TableReader", "blocks_of", "joined", "table_parts", "text_parts"]

AT_ONCE = 2**16  # rows of a file that are decoded together
AHEAD = {"batch_size": AT_ONCE, "batch_readahead": 1, "fragment_readahead": 1}  # scans in the order of rows that hold few
DECODED = 2**14  # rows of a file of Parquet that are decoded together: what Arrow holds beside them is less than of more
# By default Arrow holds the compressed columns of all groups of rows of a file at once.
PAGES: dict[str, Any] = {"pre_buffer": False, "buffer_size": 2**16}


@dataclass(frozen=True)
class TableReader:
    """Holds how the parts of a table are read, as often as they are asked for.

    Args:
        name: for reports.
        read: gives the parts, tables with the same columns, one after another.
    """

    name: str
    read: Callable[[], Iterator[pa.Table]]

    def blocks(self, rows: int) -> Iterator[pa.Table]:
        """Yield the rows in tables of so many, the last of fewer."""
        return blocks_of(self.read(), rows)


def blocks_of(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yield the rows of tables in tables of `rows` rows, the last of fewer.

    >>> parts = iter([pa.table({"x": [1, 2]}), pa.table({"x": [3, 4, 5]})])
    >>> [block.column("x").to_pylist() for block in blocks_of(parts, 2)]
    [[1, 2], [3, 4], [5]]
    """
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        while count + table.num_rows >= rows:
            yield joined([*held, table.slice(0, rows - count)])
            table, held, count = table.slice(rows - count), [], 0
        if table.num_rows:
            held.append(table)
            count += table.num_rows
    if held:
        yield joined(held)


def joined(tables: list[pa.Table]) -> pa.Table:
    """Return tables as one; a column that holds numbers here and texts there holds texts."""
    if len(tables) == 1:
        return tables[0]
    try:
        return pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    except pa.ArrowException:
        names = tables[0].column_names
        mixed = [name for name in names if len({str(table.schema.field(name).type) for table in tables}) > 1]
        text = [pa.field(name, pa.string()) if name in mixed else tables[0].schema.field(name) for name in names]
        return pa.concat_tables([table.cast(pa.schema(text)) for table in tables]).combine_chunks()


def table_parts(source: Any, options: Options) -> TableReader | None:
    """Return the parts of a table in files; None for data that are read as a whole.

    Args:
        source: a file of Parquet, Arrow or delimited text, a folder of files of Parquet or Arrow, a
            pattern (*) of files of one of these types, or a data set of pyarrow.
        options: the arguments of `read`.

    Raises:
        DataError: delimited text that cannot be read.
    """
    if isinstance(source, ds.Dataset):
        return TableReader("data", lambda: _tables(lambda: _file_by_file(source), "the dataset"))
    if not isinstance(source, str | os.PathLike):
        return None
    path = Path(source).expanduser()
    if path.is_file():
        if path.suffix.lower() in PARQUET + ARROW:
            return _of_files(path.parent, [path], path.stem)
        return TableReader(path.stem, lambda: csv_parts(File.at(path), options)) if ending(path) in DELIMITED else None
    if path.is_dir():
        return _of_files(path, files_below(path), path.resolve().name)
    if (found := files_of_pattern(path)) is None:
        return None
    folder, files = found
    if {ending(file) for file in files} <= {*DELIMITED}:
        return TableReader(folder.resolve().name, lambda: with_same_columns(_delimited(files, options)))
    return _of_files(folder, files, folder.resolve().name)


def _delimited(files: list[Path], options: Options) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows of files of delimited text in tables, each with the name of its file."""
    for file in files:
        yield from ((str(file), table) for table in csv_parts(File.at(file), options))


def text_parts(source: Any, options: Options) -> TableReader | None:
    """Return the parts of a file of delimited text with its cells as they were written; None for other data.

    Args:
        source, options: as of `table_parts`.
    """
    if not isinstance(source, str | os.PathLike):
        return None
    path = Path(source).expanduser()
    if not path.is_file() or ending(path) not in DELIMITED:
        return None
    return TableReader(path.stem, lambda: csv_texts(File.at(path), options))


def _of_files(folder: Path, files: list[Path], name: str) -> TableReader | None:
    """Return files of one type, Parquet or Arrow, as the parts of a table; None where there are others."""
    suffixes = {path.suffix.lower() for path in files}
    if not suffixes or not (suffixes <= {*PARQUET} or suffixes <= {*ARROW}):
        return None
    try:
        found = open_dataset(folder, sorted(files))
    except (pa.ArrowException, OSError):  # Arrow's stream has no index; what is damaged is said by who reads it whole
        return None
    return TableReader(name, lambda: _tables(lambda: _file_by_file(found), name))


def _file_by_file(dataset: ds.Dataset) -> Iterator[pa.RecordBatch]:
    """Yield rows in the order of the files, which of Parquet are decoded page by page: a scan holds whole groups of rows."""
    try:
        fragments = list(dataset.get_fragments())
    except ValueError:  # a data set with a filter, which no fragment knows
        yield from dataset.scanner(**_ahead(dataset)).to_batches()
        return
    for fragment in fragments:
        if (file := _pages_of(fragment, dataset.schema)) is None:
            yield from fragment.scanner(schema=dataset.schema, **_ahead(fragment)).to_batches()
        else:
            try:
                yield from _by_pages(file, fragment, dataset.schema)
            finally:
                file.close(force=True)  # what it reads from was opened for it


def _ahead(source: ds.Dataset | ds.Fragment) -> dict[str, Any]:
    """Return the options of a scan that holds few rows: of Parquet one group, unless a person has options of their own."""
    form = getattr(source, "format", None)
    if not isinstance(form, ds.ParquetFileFormat) or form.default_fragment_scan_options != ds.ParquetFragmentScanOptions():
        return AHEAD
    return {**AHEAD, "fragment_scan_options": ds.ParquetFragmentScanOptions(use_buffered_stream=True, **PAGES)}


def _pages_of(fragment: ds.Fragment, wanted: pa.Schema) -> pq.ParquetFile | None:
    """Return a fragment as a file of Parquet; None where a column is of another type, or only the data set can open it."""
    if not isinstance(fragment, ds.ParquetFileFragment):
        return None
    try:
        file = pq.ParquetFile(fragment.open(), **PAGES)
    except (pa.ArrowException, OSError):  # it is encrypted, say
        return None
    if _alike(file.schema_arrow, wanted):
        return file
    file.close(force=True)
    return None


def _alike(schema: pa.Schema, wanted: pa.Schema) -> bool:
    """Return whether the columns that two schemas share have the same types, and no two of a schema the same name."""
    names = set(schema.names)
    types = all(schema.field(field.name).type == field.type for field in wanted if field.name in names)
    return types and len(names) == len(schema) and len(set(wanted.names)) == len(wanted)


def _by_pages(file: pq.ParquetFile, fragment: ds.ParquetFileFragment, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file with the columns of a data set: some may be in the names of folders, or lacking and so blank."""
    in_path, pool = ds.get_partition_keys(fragment.partition_expression), pa.default_memory_pool()
    whole = not in_path and file.schema_arrow.names == wanted.names
    for batch in file.iter_batches(DECODED, row_groups=[group.id for group in fragment.row_groups]):
        yield batch if whole else _completed(batch, wanted, in_path)
        pool.release_unused()  # else it keeps what one group of rows needed while others are read


def _completed(batch: pa.RecordBatch, wanted: pa.Schema, in_path: dict[str, Any]) -> pa.RecordBatch:
    rows, names = batch.num_rows, {*batch.schema.names} - {*in_path}
    scalars = {field.name: pa.scalar(in_path.get(field.name), field.type) for field in wanted if field.name not in names}
    columns = [batch.column(name) if name in names else pa.repeat(scalars[name], rows) for name in wanted.names]
    return pa.record_batch(columns, schema=wanted)


def _tables(batches: Callable[[], Iterator[pa.RecordBatch]], name: str) -> Iterator[pa.Table]:
    """Yield batches that have rows as tables; a page that is damaged is met on the way."""
    try:
        for batch in batches():
            if batch.num_rows:
                yield valid(pa.Table.from_batches([batch]))
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise unreadable(name, error) from error
