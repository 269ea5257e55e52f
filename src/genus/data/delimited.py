"""Delimited text, read as columns in Arrow."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from genus.codec.looks import looks_like_time
from genus.data.sequences import Options
from genus.errors import DataError
from genus.kinds import Category, Lattice, Real
from genus.kinds.numbers import EXACT

__all__ = ["read_csv"]

MISSING = ("", "?", "NA", "N/A", "n/a", "nan", "NaN", "null", "NULL", "None")
NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
WHOLE = r"^\s*[-+]?\d+\s*$"
COMMA = r"^[-+]?\d+(,\d+)?([eE][-+]?\d+)?$"  # a number with a decimal comma, or with none
THOUSANDS = r"^[-+]?(\d{1,3}|[1-9]\d{0,2},\d{3})$"  # what could as well be 1,500 for fifteen hundred
LOOKED_AT = 1000  # so many rows decide whether line 1 is a header
NUMERIC = ("real", "lattice")


def read_csv(path: Path, options: Options) -> tuple[pa.Table, tuple[str, ...]]:
    """Return the columns of delimited text, perhaps compressed, and notes on how they were read.

    The delimiter is that of tab, comma, semicolon and bar that line 1 has most of, or the semicolon where it separates numbers
    with decimal commas. Spaces around fields and names are dropped. Empty fields and ?, NA, N/A, n/a, nan, NaN, null, NULL,
    None are missing. A column of numbers with decimal commas is one of numbers, unless all commas could mark thousands and the
    delimiter is no semicolon; a column of whole numbers beyond 64 bits stays text.

    Args:
        path: of the file.
        options: `header`: line 1 is a header; None: see `_has_header`. `missing`: more texts that mean missing. `kinds`: the
            kinds of columns that the caller of `read` gave, or that a space has.

    Raises:
        DataError: no rows, a name twice, ragged rows, bytes that are not UTF-8, or a few texts in a column of numbers that
            `kinds` makes no category.
    """
    lines, delimiter = _head(path)
    header, notes = _has_header(lines, options.kinds) if options.header is None else (options.header, [])
    if len(lines) < 1 + header:
        raise DataError(f"The file {path} has a header but no rows; expected rows of data below it.")
    names = [name.strip() for name in lines[0]] if header else [f"x{i}" for i in range(len(lines[0]))]
    names = [name or f"x{i}" for i, name in enumerate(names)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(
            f"The column name {twice[0]!r} stands {names.count(twice[0])} times in {path}; give every column its own name."
        )
    # The way in which times are written is seen in their texts.
    fields = zip(*_full(lines[int(header) :], len(names)), strict=True)
    dated = [name for name, texts in zip(names, fields, strict=False) if looks_like_time(texts[:50])]
    missing = {text for m in (*MISSING, *map(str, options.missing)) for text in (m, f" {m}", f"{m} ")}

    def load(as_text: bool, columns: Sequence[str]) -> pa.Table:
        return pcsv.read_csv(
            path,
            pcsv.ReadOptions(column_names=names, skip_rows=int(header), block_size=64 << 20),
            pcsv.ParseOptions(delimiter=delimiter, newlines_in_values=as_text),
            pcsv.ConvertOptions(
                null_values=sorted(missing),
                strings_can_be_null=True,
                column_types=dict.fromkeys(columns if as_text else dated, pa.string()),
                include_columns=columns,
            ),
        )

    try:
        table = load(False, names)
    except pa.ArrowInvalid:  # a type that changes far down, or a line break within quotes
        try:
            table = load(True, names)
        except pa.ArrowInvalid as error:
            raise DataError(
                f"Cannot read {path}: {error}. Check the delimiter, the quotes and that the text is UTF-8."
            ) from error
    columns = dict(zip(names, table.columns, strict=True))
    if large := [name for name, column in columns.items() if _beyond_exact(column)]:
        texts = zip(large, load(True, large).columns, strict=True)
        columns |= {name: column for name, column in texts if _all(column, WHOLE)}
    if late := [name for name, column in columns.items() if pa.types.is_temporal(column.type)]:
        columns |= zip(late, load(True, late).columns, strict=True)
    typed = {name: _typed(name, column, options.kinds.get(name), delimiter == ";", notes) for name, column in columns.items()}
    return pa.table(list(typed.values()), names=names), tuple(notes)


def _full(lines: list[list[str]], width: int) -> list[list[str]]:
    """Return the lines with a field for every column, without the blanks around fields and without what means missing."""
    rows = ([field.strip() for field in line] for line in lines if len(line) == width)
    return [["" if field in MISSING else field for field in row] for row in rows]


def _head(path: Path) -> tuple[list[list[str]], str]:
    """Return the fields of the first lines that are not empty, and the delimiter."""
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
    if ";" in first and all(map(_is_number, first.split(";"))):
        delimiter = ";"
    lines: list[list[str]] = []
    with suppress(csv.Error):  # a text too long for this module, below lines that are enough
        rows = (row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(field.strip() for field in row))
        lines.extend(itertools.islice(rows, LOOKED_AT))
    return lines or [first.split(delimiter)], delimiter


def _has_header(lines: list[list[str]], kinds: Mapping[str, Any]) -> tuple[bool, list[str]]:
    """Return whether line 1 names the columns, and a note where this is not plain.

    It does where some number of line 2 does not stand below a number; else, where `kinds` has names, if the line holds them
    all. Else two or more different whole numbers above numbers are names where the line is 0, 1, 2, ...; where most numbers
    below each are not whole; or where the texts beside them occur nowhere below, and the texts below repeat or the numbers
    count up by one.
    """
    first, rest = [field.strip() for field in lines[0]], [row for row in lines[1:] if len(row) == len(lines[0])]
    columns = [i for i, field in enumerate(lines[min(1, len(lines) - 1)]) if _is_number(field)]
    if not columns or not all(i < len(first) and _is_number(first[i]) for i in columns):
        return True, []
    no = False, ["no header was found, so columns are named x0, x1, ...; header=True takes the first line for one"]
    if kinds:
        return (True, []) if kinds.keys() <= {*first} else no
    labels = [first[i] for i in columns]
    if not rest or len({*labels}) < max(2, len(labels)) or not all(map(str.isdecimal, labels)):
        return no
    below = [[text for row in rest if (text := row[i].strip()) not in MISSING] for i in range(len(first))]
    counted = len(first) > 2 and first == [str(i) for i in range(len(first))]
    fractions = all(2 * sum(_is_fraction(text) for text in below[i]) > len(below[i]) for i in columns)
    texts = [i for i in range(len(first)) if i not in columns]
    apart = bool(texts) and all(first[i] not in below[i] for i in texts)
    repeat = all(2 * len({*below[i]}) <= len(below[i]) for i in texts)
    upwards = all(int(b) == int(a) + 1 for a, b in itertools.pairwise(labels))
    if counted or fractions or (apart and (repeat or upwards)):
        shown = ", ".join(first[:4]) + (", ..." if len(first) > 4 else "")
        return True, [f"the first line, {shown}, is taken for a header; header=False makes it a row"]
    return no


def _is_number(field: str) -> bool:
    return bool(re.match(NUMBER, field) or re.match(COMMA, field.strip()))


def _is_fraction(field: str) -> bool:
    try:
        return not float(field.replace(",", ".")).is_integer()
    except ValueError:
        return False


def _beyond_exact(column: pa.ChunkedArray) -> bool:
    """Return whether a column holds doubles that may have been other whole numbers in the text."""
    return pa.types.is_floating(column.type) and bool(pc.any(pc.greater(pc.abs(column), float(EXACT))).as_py())


def _typed(name: str, column: pa.ChunkedArray, kind: Any, decimal: bool, notes: list[str]) -> pa.ChunkedArray:
    """Return a column of text without the spaces around its values; as numbers where every value is a number.

    Args:
        kind: of the column, where the caller of `read` gave it or a space has it; else None.
        decimal: a comma is a decimal comma, even where it may mark thousands.
        notes: a list to which notes are added.
    """
    if not pa.types.is_string(column.type):
        return column
    column = pc.utf8_trim_whitespace(column)
    levels, numeric = isinstance(kind, Category) or kind == "category", isinstance(kind, Real | Lattice) or kind in NUMERIC
    number = pc.match_substring_regex(column, NUMBER)
    count, present = pc.sum(number).as_py() or 0, len(column) - column.null_count
    if present and count == present:
        if not _all(column, WHOLE):
            return column.cast(pa.float64())
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid:
            if numeric:
                return column.cast(pa.float64())
            notes.append(f"column {name!r} is read as text, since its whole numbers have more than 64 bits")
            return column
    if present and not levels and _all(column, COMMA):
        if decimal or numeric or not _all(column, THOUSANDS):
            notes.append(f"column {name!r} has decimal commas, and samples of it have points")
            return pc.replace_substring(column, ",", ".").cast(pa.float64())
        notes.append(
            f"column {name!r} is read as text, since its commas may be decimal or mark thousands;"
            f' kinds={{{name!r}: "real"}} takes them for decimal ones'
        )
        return column
    if count >= 0.9 * present and present - count > 0 and count > 1 and not levels:
        rows = pc.indices_nonzero(pc.fill_null(pc.invert(number), False)).slice(0, 3).to_pylist()
        shown = ", ".join(f"{column[row].as_py()!r} in row {row}" for row in rows)
        keep = f", or keep all as text with kinds={{{name!r}: 'category'}}" if kind is None else ""
        raise DataError(
            f"Column {name!r} holds {count:,} numbers but also {present - count:,} other texts ({shown}); correct them, name"
            f" the text that means missing in missing={keep}."
        )
    return column


def _all(column: pa.ChunkedArray, pattern: str) -> bool:
    """Return whether every value that is not missing matches a pattern."""
    return bool(pc.all(pc.match_substring_regex(column, pattern)).as_py())
