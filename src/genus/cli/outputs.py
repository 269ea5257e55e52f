"""Results of the commands: tables and JSON."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from genus.atomic import atomic_write
from genus.cli.errors import UsageError
from genus.notebook import printable

if TYPE_CHECKING:
    import pyarrow as pa

    from genus.codec import Codec

__all__ = [
    "TABLES",
    "WRITTEN",
    "as_cells",
    "check_suffix",
    "file_size",
    "print_json",
    "put",
    "quoted",
    "say",
    "sample_notes",
    "table_writer",
    "with_notes",
    "write_table",
]

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # begin what a spreadsheet computes, in text
BEGINS = r"^[=+\-@\t\r]"
WRITTEN = b"written"  # of a column of text: its cells are what delimited text has, quotes included; says if they were text
TABLES = (".csv", ".tsv", ".parquet", ".npz", ".npy", ".json")


class TableNotes(Protocol):
    """Hold what a command was asked of its tables, as `genus.cli.options.TableOutput` does."""

    @property
    def as_json(self) -> bool:
        """Return whether JSON is printed."""

    @property
    def safe_csv(self) -> bool:
        """Return whether cells are marked that a spreadsheet would compute."""

    def note(self, text: str) -> None:
        """Print a line for a person."""


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    say(json.dumps(value, ensure_ascii=False, allow_nan=False, default=str))


def say(text: str = "") -> None:
    """Print text for a person, whatever words of the data are in it."""
    print(printable(text))


def put(text: str) -> None:
    """Write data to stdout: as they are, for a program to read; printable, where a person sees them on a terminal."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)


def file_size(path: Path) -> str:
    """Return the size of a file in words."""
    count = path.stat().st_size
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def check_suffix(path: Path | None, known: Sequence[str] = TABLES, what: str = "a table") -> None:
    """Raise where the name of --out has no ending that says in which form to write."""
    if path is not None and path.suffix.lower() not in known:
        raise UsageError(f"cannot write {what} to {str(path)!r}; expected a name ending in {', '.join(known)}")


# -- tables ---------------------------------------------------------------------------------------------------------------


def sample_notes(codec: Codec) -> list[str]:
    """Return what a person should know of samples: columns that they lack, invent or repeat, in the command line's words."""
    keys = [f"column {rewrite.describe()}" for rewrite in codec.rewrites if rewrite.invents]
    return [*(f"key  {key}" for key in keys), *(f"{note.label}  {note.shell}" for note in codec.notes)]


def with_notes(table: pa.Table, notes: Sequence[str]) -> pa.Table:
    """Return a table whose schema carries notes, which Parquet keeps under the name genus.notes, as a list in JSON."""
    if not notes:
        return table
    return table.replace_schema_metadata({"genus.notes": json.dumps(list(notes), ensure_ascii=False)})


def write_table(table: pa.Table, path: Path | None, output: TableNotes | None = None) -> None:
    """Write a table to a file in the form that its name says; without a file to stdout, as CSV or as a JSON list of rows."""
    with table_writer(path, output) as write:
        write(table)


@contextmanager
def table_writer(path: Path | None, output: TableNotes | None = None) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that writes the next rows of a table: to a file in the form that its name says, else to stdout.

    Parquet, delimited text and JSON are written part by part, so that memory does not grow with the rows; .npz and .npy, which
    begin with the number of rows, when the block ends. A file is whole or not there. Columns have the types of the first part.

    Args:
        path: of the file; None: stdout.
        output: its `as_json` asks for a JSON list of rows on stdout instead of CSV; its `safe_csv` for text that no
            spreadsheet runs, and without it a note says which columns one would run.
    """
    as_json = output is not None and output.as_json
    suffix = path.suffix.lower() if path is not None else ".json" if as_json else ".csv"
    if suffix in (".npz", ".npy") and path is not None:
        import pyarrow as pa

        parts: list[pa.Table] = []

        def keep(part: pa.Table) -> None:
            _check_arrays(part, suffix)
            parts.append(part)

        yield keep
        whole = pa.concat_tables(parts)
        with atomic_write(path) as temporary:
            _write_arrays(whole, temporary, suffix)
    elif path is None:
        with _written(suffix, put, output) as write:
            yield write
    elif suffix == ".parquet":
        with atomic_write(path) as temporary, _parquet(temporary) as write:
            yield write
    else:
        with (
            atomic_write(path) as temporary,
            open(temporary, "w", encoding="utf-8", newline="") as file,
            _written(suffix, file.write, output) as write,
        ):
            yield write


@contextmanager
def _parquet(path: Path) -> Iterator[Callable[[pa.Table], None]]:
    import pyarrow.parquet as pq

    writers: list[pq.ParquetWriter] = []

    def write(table: pa.Table) -> None:
        if not writers:
            writers.append(pq.ParquetWriter(path, table.schema))
        writers[0].write_table(table.cast(writers[0].schema))

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()


@contextmanager
def _written(suffix: str, put: Callable[[str], Any], output: TableNotes | None) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that puts the next rows as text."""
    schemas: list[pa.Schema] = []
    formulas: dict[str, None] = {}

    def write(table: pa.Table) -> None:
        first = not schemas
        schemas.append(table.schema) if first else None
        table = table if first else table.cast(schemas[0])
        if suffix == ".json":
            text = json.dumps(_without_nan(table).to_pylist(), ensure_ascii=False, allow_nan=False, default=str)[1:-1]
            put(text if first or not text else f", {text}")
        else:
            found = formula_columns(table) if output is not None else []
            formulas.update(dict.fromkeys(found))
            table = without_formulas(table, found) if output is not None and output.safe_csv else table
            put(_text(table, suffix, header=first))

    if suffix == ".json":
        put("[")
    yield write
    if suffix == ".json":
        put("]\n")
    if formulas and output is not None:
        done = "have a ' before them" if output.safe_csv else "stand as they are; --safe-csv puts a ' before them"
        output.note(f"formulas  cells of {', '.join(formulas)} that a spreadsheet would run {done}")


def _without_nan(table: pa.Table) -> pa.Table:
    """Return a table with null for the numbers that JSON has no word for."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for i, (field, column) in enumerate(zip(table.schema, table.columns, strict=True)):
        if pa.types.is_floating(field.type) and not pc.all(pc.is_finite(column)).as_py():
            table = table.set_column(i, field, pc.if_else(pc.is_finite(column), column, None))
    return table


def formula_columns(table: pa.Table) -> list[str]:
    """Return the names of the columns of text in which a cell, or the name, begins as a spreadsheet's formula does."""
    import pyarrow.compute as pc

    from genus.codec.arrow import is_text, without_dictionary

    found = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        cells = without_dictionary(column)
        written = (table.schema.field(name).metadata or {}).get(WRITTEN)
        text = written != b"other" and is_text(cells.type)
        begins = BEGINS if written is None else BEGINS.replace("^", '^"?')
        if name.startswith(FORMULA) or (text and pc.any(pc.match_substring_regex(cells, begins)).as_py()):
            found.append(name)
    return found


def without_formulas(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return a table in whose columns of these names no cell, and no name, begins a formula: ' stands before it."""
    import pyarrow.compute as pc

    from genus.codec.arrow import is_text, without_dictionary

    for place, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        cells = without_dictionary(column)
        if name in names and is_text(cells.type):
            marked = pc.if_else(pc.match_substring_regex(cells, BEGINS), pc.binary_join_element_wise("'", cells, ""), cells)
            table = table.set_column(place, table.schema.field(place).with_type(cells.type), marked)
    return table.rename_columns([f"'{name}" if name.startswith(FORMULA) else name for name in table.column_names])


def _check_arrays(table: pa.Table, suffix: str) -> None:
    """Raise where an array cannot hold the columns."""
    texts = [one.name for one in table.schema if not (str(one.type) in ("double", "float", "bool") or "int" in str(one.type))]
    if suffix == ".npy" and texts:
        raise UsageError(
            f"a .npy file holds numbers alone, and there are columns of text, {texts[0]!r} first; choose .csv or .parquet"
        )


def _write_arrays(table: pa.Table, path: Path, suffix: str) -> None:
    import numpy as np
    import pyarrow as pa

    table = pa.table({name: _filled(table.column(name)) for name in table.column_names})
    columns = {column: table.column(column).to_numpy(zero_copy_only=False) for column in table.column_names}
    with open(path, "wb") as file:
        if suffix == ".npy":
            numbers = [v.astype(np.float64) if v.dtype == object else v for v in columns.values()]
            np.save(file, np.stack(numbers, axis=1), allow_pickle=False)
        else:
            texts = {c: v.astype(str) if v.dtype == object else v for c, v in columns.items()}
            np.savez_compressed(file, **texts)


def _filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of text with "" for missing values, as CSV has it, lists and structs as text; another as it is."""
    import pyarrow as pa

    from genus.codec.arrow import is_text

    column = _as_json(column) if pa.types.is_nested(column.type) else column
    return column.fill_null("") if is_text(column.type) else column


def _text(table: pa.Table, suffix: str, header: bool = True) -> str:
    """Return rows as delimited text."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as pcsv

    plain = [_with_decimals(column, field) for column, field in zip(table.columns, table.schema, strict=True)]
    written = [WRITTEN in (field.metadata or {}) for field in table.schema]
    if len(plain) == 1 and plain[0].null_count:  # an empty line would be no row to whoever reads it
        plain = [plain[0].cast(pa.string()).fill_null("NA")]
    table, delimiter = pa.table(plain, names=table.column_names), "\t" if suffix == ".tsv" else ","
    names = io.StringIO()
    if header:
        csv.writer(names, delimiter=delimiter, lineterminator="\n").writerow(table.column_names)
    buffer = pa.BufferOutputStream()
    try:
        pcsv.write_csv(table, buffer, pcsv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style="none"))
    except pa.ArrowInvalid:  # a text holds a comma, say; Arrow would quote every text for it
        cells = [c if done else quoted(c, delimiter) for c, done in zip(table.columns, written, strict=True)]
        whole = pa.table(cells, names=table.column_names)
        lines = [
            pc.binary_join_element_wise(*batch.columns, delimiter, null_handling="replace") for batch in whole.to_batches()
        ]
        return names.getvalue() + "".join(f"{line}\n" for part in lines for line in part.to_pylist())
    return names.getvalue() + buffer.getvalue().to_pybytes().decode()


def _as_json(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of lists or of structs as texts of JSON."""
    import pyarrow as pa

    texts = [None if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in column.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])


def as_cells(column: pa.ChunkedArray, field: pa.Field, delimiter: str) -> pa.ChunkedArray:
    """Return a column as the cells of delimited text, null where blank.

    Args:
        column: of a table.
        field: of its schema, which may say how many decimals are written.
        delimiter: of the text.
    """
    return quoted(_with_decimals(column, field), delimiter)


def _with_decimals(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """Return a column as its values, with as many decimals as its field says; lists and structs, passed through, as JSON."""
    import pyarrow as pa

    from genus.codec.arrow import without_dictionary
    from genus.codec.decimals import with_trailing_zeros
    from genus.codec.tabular import DECIMALS

    values = _as_json(column) if pa.types.is_nested(column.type) else without_dictionary(column)
    return with_trailing_zeros(values, (field.metadata or {}).get(DECIMALS, b"").decode())


def quoted(column: pa.ChunkedArray, delimiter: str) -> pa.ChunkedArray:
    """Return a column as text, quoted where a field of delimited text needs it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from genus.codec.arrow import is_text

    if not is_text(column.type):
        return column.cast(pa.string())
    text = column.cast(pa.string())
    needs = pc.match_substring_regex(text, f'[{delimiter}"\r\n]')
    inside = pc.replace_substring(text, '"', '""')
    return pc.if_else(needs, pc.binary_join_element_wise('"', inside, '"', ""), text)
