"""Tables in files that have types of their own: Parquet, Arrow, JSON and spreadsheets."""

from __future__ import annotations

import datetime
import importlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.feather as feather
import pyarrow.json as pj

from genus.codec.arrow import ALWAYS, is_numeric, is_text
from genus.codec.frames import mixed_column
from genus.codec.notes import Note
from genus.data.arguments import Options
from genus.data.cells import NONE, SOMETIMES, beyond_exact, typed_text
from genus.data.files import PARQUET, File, as_utf8, beginning, guess_encoding, unreadable
from genus.data.headers import has_header, names_of
from genus.data.unit_lines import without_units
from genus.errors import DataError

__all__ = ["mark_missing", "open_dataset", "read_arrow", "read_dataset", "read_excel", "read_json", "read_parquet",
           "valid"]  # fmt: skip

# -- Parquet and Arrow ----------------------------------------------------------------------------------------------------


def read_parquet(file: File) -> pa.Table:
    """Return the columns of a Parquet file."""
    import pyarrow.parquet as pq

    return valid(pq.read_table(file.source()))


def read_dataset(folder: Path, paths: Sequence[Path]) -> pa.Table:
    """Return the columns of all files of a folder as one table; see `open_dataset`."""
    return valid(open_dataset(folder, paths).to_table())


def open_dataset(folder: Path, paths: Sequence[Path]) -> ds.Dataset:
    """Return the files of a folder as one table whose rows are still to be read.

    The names of folders below it may be values of a column: year=2020/part-0.parquet.

    Args:
        folder: with files of Parquet, or of Arrow.
        paths: of the files.
    """
    kind = "parquet" if paths[0].suffix.lower() in PARQUET else "feather"
    partitioning = ds.partitioning(flavor="hive")
    files = [str(path) for path in paths]
    return ds.dataset(files, format=kind, partitioning=partitioning, partition_base_dir=str(folder))


def read_arrow(file: File) -> pa.Table:
    """Return the columns of a file in Arrow's own format, or of a stream in it."""
    try:
        table = feather.read_table(file.source())
    except pa.ArrowInvalid:
        table = pa.ipc.open_stream(file.buffer()).read_all()
    return valid(table)


def valid(table: pa.Table) -> pa.Table:
    """Return the table after checking its offsets, dictionaries and texts: damaged ones may crash the interpreter."""
    table.validate(full=True)
    return table


# -- JSON -----------------------------------------------------------------------------------------------------------------


def read_json(file: File, options: Options) -> tuple[pa.Table, tuple[str, ...]]:
    """Return the columns of JSON, and notes: lines of objects, a list of objects, or an object of columns.

    Args:
        file: of JSON in UTF-8, 16 or 32.
        options: the arguments of `read`.

    Raises:
        DataError: it is no JSON, or no table.
    """
    buffer = file.buffer()
    buffer = as_utf8(buffer, options.encoding or guess_encoding(buffer), file.name)
    head = beginning(buffer).lstrip()
    if head.startswith(b"{") and _has_lines(head):
        table = _read_lines(file, buffer)
    else:
        try:
            table = _from_json(json.loads(bytes(buffer)), file)
        except (ValueError, RecursionError) as error:
            if isinstance(error, DataError):
                raise
            raise unreadable(f"{file.name} as JSON", error) from error
    return typed_columns(table, options)


def _has_lines(head: bytes) -> bool:
    """Return whether the first line is a whole object, and another line follows."""
    line, _, rest = head.partition(b"\n")
    try:
        return isinstance(json.loads(line), dict) and bool(rest.strip())
    except ValueError:
        return False


def _read_lines(file: File, buffer: pa.Buffer) -> pa.Table:
    """Return lines of objects; texts that Arrow would take for times stay as they are."""

    def read(schema: pa.Schema | None) -> pa.Table:
        block = pj.ReadOptions(block_size=1 << 24)
        return pj.read_json(pa.BufferReader(buffer), block, pj.ParseOptions(explicit_schema=schema))

    try:
        table = read(None)
        if times := [field.name for field in table.schema if pa.types.is_timestamp(field.type)]:
            table = read(pa.schema([(name, pa.string()) for name in times])).select(table.column_names)
        if not any(map(beyond_exact, table.columns)):
            return table
    except pa.ArrowInvalid:  # a type that changes, say from 1 to 1.5 to "x"
        pass
    rows = []
    for number, line in enumerate(bytes(buffer).decode("utf-8", errors="replace").split("\n")):
        try:
            rows += [json.loads(line)] if line.strip() else []
        except ValueError as error:
            raise DataError(f"Line {number + 1} of {file.name} is no JSON: {error}. Mend it, or leave it out.") from error
    return _from_json(rows, file)


def _from_json(value: Any, file: File) -> pa.Table:
    """Return what JSON holds as a table."""
    value = _unwrapped(value)
    if isinstance(value, Mapping) and value:
        columns = {str(name): [*v.values()] if isinstance(v, Mapping) else v for name, v in value.items()}
        if all(isinstance(v, list) for v in columns.values()):
            if len({len(v) for v in columns.values()}) == 1:
                return _table(columns)
            lengths = {name: len(v) for name, v in columns.items()}
            raise DataError(f"The columns of {file.name} have different lengths, {lengths}; each needs one value a row.")
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        names = dict.fromkeys(str(name) for row in value for name in row)
        return _table({name: [row.get(name) for row in value] for name in names})
    if isinstance(value, list) and value and all(isinstance(row, list) and len(row) == len(value[0]) for row in value):
        return _table({f"x{i}": [*column] for i, column in enumerate(zip(*value, strict=True))})
    raise DataError(
        f"The JSON of {file.name} is no table; expected a list of objects, an object a line, or an object of columns,"
        ' {"a": [1, 2], "b": [3, 4]}.'
    )


def _unwrapped(value: Any) -> Any:
    """Return the rows or the columns that an object holds beside other things, as pandas and web services write them."""
    if not isinstance(value, Mapping):
        return value
    names, data = value.get("columns"), value.get("data")
    if isinstance(names, list) and isinstance(data, list) and all(isinstance(r, list) and len(r) == len(names) for r in data):
        return [dict(zip(map(str, names), row, strict=True)) for row in data]
    envelope = next((name for name in ("data", "rows", "records") if isinstance(value.get(name), list)), None)
    if envelope is not None and not all(isinstance(v, list) for v in value.values()):
        return value[envelope]
    lists = [v for v in value.values() if isinstance(v, list)]
    if len(lists) == 1 < len(value) and lists[0] and all(isinstance(row, Mapping) for row in lists[0]):
        return lists[0]
    inner = [v for v in value.values() if isinstance(v, Mapping)]
    if inner and len(inner) == len(value) and all(map(str.isdecimal, value)) and not all(map(str.isdecimal, inner[0])):
        return inner  # a row for each number
    return value


def _table(columns: Mapping[str, list[Any]]) -> pa.Table:
    arrays = {}
    for name, values in columns.items():
        try:
            arrays[name] = pa.array(values)
        except (pa.ArrowException, OverflowError) as error:
            if all(isinstance(v, int) for v in values if v is not None):  # beyond 64 bits
                arrays[name] = pa.array([None if v is None else str(v) for v in values])
                continue
            texts = _as_texts(values)
            if texts is None:
                raise mixed_column(name, values) from error
            arrays[name] = texts
    return pa.table(arrays)


def _as_texts(values: Sequence[Any]) -> pa.Array | None:
    """Return numbers and texts as texts, where there is nothing else; missing words among numbers are of this kind."""
    if not all(value is None or (isinstance(value, str | int | float) and not isinstance(value, bool)) for value in values):
        return None
    return pa.array([None if value is None else _text(value) for value in values])


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else str(value)


def typed_columns(table: pa.Table, options: Options) -> tuple[pa.Table, tuple[str, ...]]:
    """Return a table with its columns of text typed as in delimited text (numbers, times, levels), and notes on them."""
    notes: list[str] = []
    columns = {name: table.column(name) for name in table.column_names}
    for name, column in columns.items():
        if pa.types.is_string(column.type):
            columns[name] = typed_text(name, column, options.kinds.get(name), False, notes, options.missing)
    return pa.table(columns), tuple(notes)


# -- spreadsheets ---------------------------------------------------------------------------------------------------------


def read_excel(file: File, options: Options) -> tuple[pa.Table, tuple[str, ...]]:
    """Return the columns of the first sheet of a workbook that holds anything, and notes.

    Args:
        file: .xlsx, .xlsm, .xlsb, .xls or .ods.
        options: the arguments of `read`.

    Raises:
        DataError: the package python-calamine is not there, or the workbook cannot be read or holds nothing.
    """
    try:
        calamine = importlib.import_module("python_calamine")
    except ImportError as error:
        raise DataError(
            f"Reading {file.name} needs the package python-calamine: pip install 'genus[excel]', or save the sheet as CSV."
        ) from error
    try:
        book = calamine.CalamineWorkbook.from_object(io.BytesIO(bytes(file.buffer())))
        sheets = {name: book.get_sheet_by_name(name).to_python(skip_empty_area=True) for name in book.sheet_names}
    except BaseException as error:
        # What the package, which is written in Rust, calls a panic is no Exception.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise unreadable(f"{file.name} as a workbook", error) from error
        raise
    full = {name: rows for name, rows in sheets.items() if any(cell != "" for row in rows for cell in row)}
    if not full:
        raise DataError(f"The workbook {file.name} is empty; expected rows of data.")
    name, *others = full
    table, notes = _from_cells([row for row in full[name] if any(cell != "" for cell in row)], options, file)
    if others:
        others_shown = ", ".join(map(repr, others))
        notes = (Note(f"sheet {name!r} is read, and {others_shown} is not; save the one you mean in a file of its own"), *notes)
    return table, notes


def _from_cells(rows: list[list[Any]], options: Options, file: File) -> tuple[pa.Table, tuple[str, ...]]:
    """Return the cells of a sheet as a table."""
    shown = [[_text(cell) for cell in row] for row in rows[:1000]]
    shown, units = without_units(shown) if options.header is not False else (shown, [])
    told = options.header is not None or units
    header, notes = (options.header is not False, []) if told else has_header(shown, options.kinds)
    names, renamed = names_of(shown[0]) if header else ([f"x{i}" for i in range(len(rows[0]))], [])
    body = rows[int(header) + len(units) :]
    if not body:
        raise DataError(f"The sheet of {file.name} has a header but no rows; expected rows of data below it.")
    columns = {name: _cells(name, [row[i] for row in body]) for i, name in enumerate(names)}
    table, more = typed_columns(pa.table(columns), options)
    return table, (*notes, *units, *renamed, *more)


def _cells(name: str, cells: list[Any]) -> pa.Array:
    """Return the cells of a column: numbers, dates, booleans or texts; words that mean missing are so beside others."""
    texts = [cell for cell in cells if isinstance(cell, str)]
    if len(texts) < len(cells) and {text.strip() for text in texts} <= {*ALWAYS, *SOMETIMES, *NONE}:
        present = [None if isinstance(cell, str) else cell for cell in cells]
        kinds = {type(cell) for cell in present if cell is not None}
        if kinds <= {int, float}:
            whole = all(float(cell).is_integer() and abs(cell) < 2**53 for cell in present if cell is not None)
            return pa.array([cell if cell is None else int(cell) if whole else float(cell) for cell in present])
        if kinds == {datetime.datetime, datetime.date}:  # midnight is written as a date
            present = [datetime.datetime(*cell.timetuple()[:6]) if type(cell) is datetime.date else cell for cell in present]
        try:
            return pa.array(present)
        except pa.ArrowException as error:
            raise mixed_column(name, present) from error
    found = _as_texts([None if cell == "" else cell for cell in cells])
    if found is None:
        raise mixed_column(name, [None if cell == "" else cell for cell in cells])
    return found


def mark_missing(table: pa.Table, markers: Sequence[Any]) -> pa.Table:
    """Return a table with null in place of the values that mean missing."""
    texts, numbers = [m for m in markers if isinstance(m, str)], [float(m) for m in markers if isinstance(m, int | float)]
    columns = []
    for column in table.columns:
        kind = column.type
        if texts and is_text(kind):
            hit = pc.is_in(column, value_set=pa.array(texts, type=kind))
        elif texts and (pa.types.is_date32(kind) or pa.types.is_timestamp(kind)):
            hit = pc.is_in(column.cast(pa.string()), value_set=pa.array(texts))
        elif numbers and is_numeric(kind):
            hit = pc.is_in(column.cast(pa.float64(), safe=False), value_set=pa.array(numbers))
        else:
            columns.append(column)
            continue
        columns.append(pc.if_else(hit, pa.scalar(None, kind), column))
    return pa.table(columns, names=table.column_names)
