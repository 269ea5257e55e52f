"""Comma-separated text to columns in Arrow."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from genus.errors import DataError

__all__ = ["read_csv"]

MISSING = ("", "?", "NA", "N/A", "n/a", "nan", "NaN", "null", "NULL", "None")
NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"


def read_csv(path: Path, markers: Sequence[Any] = ()) -> pa.Table:
    """Delimited text, perhaps compressed; the delimiter is the one of tab, comma, semicolon and bar that line 1 has most of.

    The first line is a header unless every column that holds a number in the second line holds one in the first too. Spaces
    around fields and names are dropped. Empty fields and ?, NA, N/A, n/a, nan, NaN, null, NULL, None are missing.

    Raises:
        DataError: no rows, a name twice, ragged rows, bytes that are not UTF-8, a few texts in a column of numbers.
    """
    lines, delimiter = _head(path)
    header = _has_header(lines)
    if len(lines) < 1 + header:
        raise DataError(f"The file {path} has a header but no rows; expected rows of data below it.")
    names = [name.strip() for name in lines[0]] if header else [f"x{i}" for i in range(len(lines[0]))]
    names = [name or f"x{i}" for i, name in enumerate(names)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(
            f"The column name {twice[0]!r} stands {names.count(twice[0])} times in {path}; give every column its own name."
        )
    missing = {text for m in (*MISSING, *map(str, markers)) for text in (m, f" {m}", f"{m} ")}

    def load(as_text: bool) -> pa.Table:
        return pcsv.read_csv(
            path,
            pcsv.ReadOptions(column_names=names, skip_rows=int(header), block_size=64 << 20),
            pcsv.ParseOptions(delimiter=delimiter, newlines_in_values=as_text),
            pcsv.ConvertOptions(
                null_values=sorted(missing),
                strings_can_be_null=True,
                column_types=dict.fromkeys(names, pa.string()) if as_text else None,
            ),
        )

    try:
        table = load(False)
    except pa.ArrowInvalid:  # a type that changes far down, or a line break within quotes
        try:
            table = load(True)
        except pa.ArrowInvalid as error:
            raise DataError(
                f"Cannot read {path}: {error}. Check the delimiter, the quotes and that the text is UTF-8."
            ) from error
    return pa.table([_typed(name, column) for name, column in zip(names, table.columns, strict=True)], names=names)


def _head(path: Path) -> tuple[list[list[str]], str]:
    """The fields of the first two lines that are not empty, and the delimiter."""
    with pa.input_stream(str(path), compression="detect") as stream:
        block = stream.read(1 << 20)
    try:
        text = block.decode("utf-8-sig", errors="strict" if len(block) < 1 << 20 else "ignore")
    except UnicodeDecodeError as error:
        raise DataError(
            f"The file {path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8."
        ) from error
    first = next((line for line in text.splitlines() if line.strip()), None)
    if first is None:
        raise DataError(f"The file {path} is empty; expected rows of data.")
    delimiter = max("\t,;|", key=first.count) if any(d in first for d in "\t,;|") else ","
    rows = (row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(field.strip() for field in row))
    return [row for row, _ in zip(rows, range(2), strict=False)], delimiter


def _has_header(lines: list[list[str]]) -> bool:
    def numeric(field: str) -> bool:
        try:
            float(field)
        except ValueError:
            return False
        return field.strip().lower() not in ("nan", "inf", "infinity")

    columns = [i for i, field in enumerate(lines[min(1, len(lines) - 1)]) if numeric(field)]
    return not columns or not all(i < len(lines[0]) and numeric(lines[0][i]) for i in columns)


def _typed(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text without the spaces around it; numbers where every value is one."""
    if not pa.types.is_string(column.type):
        return column
    column = pc.utf8_trim_whitespace(column)
    number = pc.match_substring_regex(column, NUMBER)
    count, present = pc.sum(number).as_py() or 0, len(column) - column.null_count
    if present and count == present:
        return (
            column.cast(pa.int64())
            if pc.all(pc.match_substring_regex(column, r"^[-+]?\d{1,18}$")).as_py()
            else column.cast(pa.float64())
        )
    if count >= 0.9 * present and present - count > 0 and count > 1:
        rows = pc.indices_nonzero(pc.fill_null(pc.invert(number), False)).slice(0, 3).to_pylist()
        shown = ", ".join(f"{column[row].as_py()!r} in row {row}" for row in rows)
        raise DataError(
            f"Column {name!r} holds {count:,} numbers but also {present - count:,} other texts ({shown}); correct them, or"
            " name the text that means missing in missing=."
        )
    return column
