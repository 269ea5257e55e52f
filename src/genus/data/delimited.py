"""Delimited text, read as columns in Arrow."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from genus.codec.arrow import is_numeric
from genus.codec.decimals import trailing_decimals
from genus.codec.looks import looks_like_time
from genus.codec.notes import Note
from genus.data.arguments import Options
from genus.data.cells import (
    MISSING,
    NUMBER,
    PADDED,
    VERSION,
    WHOLE,
    beyond_exact,
    is_category,
    is_whole,
    loses_versions,
    may_be_versions,
    missing_words,
    typed_text,
)  # fmt: skip
from genus.data.files import File, as_utf8, beginning, guess_encoding, single_byte
from genus.data.headers import has_header, is_number, names_of
from genus.data.surroundings import DELIMITERS, bare_table
from genus.data.unit_lines import without_units
from genus.errors import DataError
from genus.kinds import Category

__all__ = ["MISSING", "csv_parts", "lay_out", "read_csv", "whole_lines"]

PART = 2**23  # bytes of text that are read together where it is read part by part
LOOKED_AT = 1000  # so many rows decide whether line 1 is a header
SEVEN = 7  # digits of a number in single precision
HEXADECIMAL = "0[xX][0-9a-fA-F]+"
FIELD = r'"[^"]*"|\S+'  # of blank-separated text


def read_csv(file: File, options: Options) -> tuple[pa.Table, tuple[str, ...], dict[str, int]]:
    """Return the columns of delimited text, notes on how they were read, and the decimals of numbers with zeros at the end.

    The delimiter is that of tab, comma, semicolon and bar that line 1 has most of, or the semicolon where it separates numbers
    with decimal commas, or any run of blanks where these part every line alike. Blanks around fields and names are dropped.
    Which words mean missing stands in `cells`. A column of numbers with decimal commas is one of numbers, unless all commas
    could mark thousands and the delimiter is no semicolon; one of whole numbers beyond 64 bits, or with leading zeros, stays
    text, as does what the caller takes for a category.

    Args:
        file: of the text.
        options: `header`: line 1 is a header; None: see `has_header`. `missing`: more texts that mean missing. `encoding`: of
            the text; None: see `guess_encoding`. `kinds`: the kinds of columns that the caller of `read` gave, or that a space
            has.

    Raises:
        DataError: no rows, ragged rows, bytes that are no text, or a few texts in a column of numbers that `kinds` makes no
            category.
    """
    layout, as_text, lines, notes = lay_out(file, options)
    try:
        table = layout.read(as_text)
        if table is None:  # bytes that are no UTF-8, far down
            encoding = single_byte(bytes(layout.buffer))
            notes.insert(0, _guessed(file, encoding))
            layout = replace(layout, buffer=as_utf8(layout.buffer, encoding, file.name))
            table = layout.read(as_text)
    except pa.ArrowInvalid as error:
        raise _unreadable(file, error) from error
    typed = _typed(layout, table, as_text, options, notes)
    return pa.table(typed), tuple(notes), _trailing(lines, typed)


def csv_parts(file: File, options: Options) -> Iterator[pa.Table]:
    """Yield the rows of delimited text in tables, each of whose columns has the type that its own texts have.

    Args:
        file: of the text.
        options: as for `read_csv`.

    Raises:
        DataError: as `read_csv` does.
    """
    layout, as_text, _, _ = lay_out(file, options)
    for number, (start, stop) in enumerate(whole_lines(layout.buffer)):
        part = replace(layout, buffer=layout.buffer.slice(start, stop - start), skipped=layout.skipped if number == 0 else 0)
        try:
            table = part.read(as_text)
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):  # blank lines at the end
                continue
            raise _unreadable(file, error) from error
        if table is None:
            raise DataError(f"The file {file.name} is not text in UTF-8 throughout; name its encoding in encoding=.")
        yield pa.table(_typed(part, table, as_text, options, []))


def whole_lines(buffer: pa.Buffer) -> Iterator[tuple[int, int]]:
    """Yield where parts of whole lines begin and end; a line break within quotes ends no line."""
    text, at, size = np.frombuffer(buffer, dtype=np.uint8), 0, PART
    while at < len(text):
        stop = min(at + size, len(text))
        if stop < len(text):
            piece = text[at:stop]
            ends = np.flatnonzero(piece == ord("\n"))
            inside = np.cumsum(piece == ord('"'), dtype=np.uint8)[ends] % 2 == 1
            ends = ends[~inside]
            if not len(ends):
                size *= 2
                continue
            stop = at + int(ends[-1]) + 1
        yield at, stop
        at, size = stop, PART


def lay_out(file: File, options: Options) -> tuple[_Layout, list[str], list[list[str]], list[str]]:
    """Return how a text is laid out, which columns are read as text, the fields of its first lines, and notes."""
    buffer, notes = _decoded(file, options.encoding)
    table = bare_table(buffer)
    buffer, notes = table.buffer, [*notes, *table.notes]
    lines, delimiter = _head(buffer, file, table.delimiter)
    if delimiter == " ":
        buffer = _with_single_blanks(buffer)
    lines, units = without_units(lines) if options.header is not False else (lines, [])
    told = options.header is not None or units
    header, more = (options.header is not False, []) if told else has_header(lines, options.kinds)
    if len(lines) < 1 + header:
        raise DataError(f"The file {file.name} has a header but no rows; expected rows of data below it.")
    names, renamed = names_of(lines[0]) if header else ([f"x{i}" for i in range(len(lines[0]))], [])
    skipped = int(header) + len(units)
    layout = _Layout(file.name, buffer, delimiter, tuple(names), skipped, tuple(missing_words(options.missing)))
    as_text = [name for name in names if is_category(kind := options.kinds.get(name)) and not _of_numbers(kind)]
    as_text += [name for name in _told_by_texts(lines[int(header) :], names) if name not in as_text]
    return layout, as_text, lines[int(header) :], [*notes, *more, *units, *renamed]


def _typed(
    layout: _Layout, table: pa.Table, as_text: Collection[str], options: Options, notes: list[str]
) -> dict[str, pa.ChunkedArray]:
    """Return columns whose texts are what they look like, and add notes on them."""
    columns = dict(zip(layout.names, table.columns, strict=True))
    columns |= _original_texts(layout, columns, [name for name in layout.names if name not in as_text])
    return {
        name: typed_text(name, column, options.kinds.get(name), layout.delimiter == ";", notes, options.missing)
        if pa.types.is_string(column.type)
        else _in_single_precision(name, column, notes)
        for name, column in columns.items()
    }


def _in_single_precision(name: str, column: pa.ChunkedArray, notes: list[str]) -> pa.ChunkedArray:
    """Return doubles as floats where all are floats and are written with more digits than these have, 3.5999999046325684."""
    if not pa.types.is_floating(column.type):
        return column
    for part in (column.slice(0, LOOKED_AT), column):
        values = np.asarray(part.drop_null())
        single = values.astype(np.float32)
        if not np.array_equal(single, values) or not len(values) or np.array_equal(np.round(values, SEVEN + 2), values):
            return column
    notes.append(
        Note(f"column {name!r} has numbers of single precision, and samples of it have their seven digits", column=name)
    )
    return column.cast(pa.float32())


def _trailing(lines: Sequence[Sequence[str]], columns: Mapping[str, pa.ChunkedArray]) -> dict[str, int]:
    """Return how many decimals the first texts of columns of numbers all have, where zeros at the end are among them."""
    found = {}
    for i, (name, column) in enumerate(columns.items()):
        if pa.types.is_floating(column.type):
            texts = [text for row in lines if i < len(row) and (text := _decimal_part(row[i]))]
            if decimals := trailing_decimals(texts):
                found[name] = decimals
    return found


def _decimal_part(text: str) -> str:
    """Return a number, or its digits behind the point where other signs stand around it; "" of what is none.

    >>> _decimal_part("1.234,50 €"), _decimal_part("7.5"), _decimal_part("NA")
    ('0.50', '7.5', '')
    """
    if re.match(NUMBER, text):
        return text
    found = re.search(r"\d(?:[.,](\d+))?[^\d.,]*$", text)
    return "" if found is None else f"0.{found[1]}" if found[1] else "0"


def _told_by_texts(lines: Sequence[Sequence[str]], names: Sequence[str]) -> list[str]:
    """Return the columns that Arrow is not to type: times, versions and hexadecimal numbers by their first texts."""
    rows = [["" if (text := field.strip()) in MISSING else text for field in line] for line in lines if len(line) == len(names)]
    return [
        name
        for name, texts in zip(names, zip(*rows, strict=True), strict=False)
        if looks_like_time(texts[:50]) or _are_codes([text for text in texts if text])
    ]


def _are_codes(texts: Sequence[str]) -> bool:
    """Return whether texts are hexadecimal numbers, or versions of which one ends in a zero that a number would lose."""
    if texts and all(re.fullmatch(HEXADECIMAL, text) for text in texts):
        return True
    return all(re.match(VERSION, text) for text in texts) and any(re.search(r"\.[1-9]0$", text) for text in texts)


def _of_numbers(kind: object) -> bool:
    """Return whether a Category has levels that are no text, as those of whole numbers are."""
    return isinstance(kind, Category) and not any(isinstance(level, str) for level in kind.levels)


def _unreadable(file: File, error: Exception) -> DataError:
    reason = re.sub(r"^CSV parse error: ", "", str(error))
    return DataError(f"Cannot read {file.name}: {reason}. Check the delimiter, the quotes and that the text is whole.")


# -- text and its dialect -------------------------------------------------------------------------------------------------


def _decoded(file: File, encoding: str | None) -> tuple[pa.Buffer, list[str]]:
    """Return text in UTF-8, and a note where its encoding was guessed."""
    buffer = file.buffer()
    found = encoding or guess_encoding(buffer)
    guessed = encoding is None and found in ("cp1252", "latin-1")
    return as_utf8(buffer, found, file.name), [_guessed(file, found)] if guessed else []


def _guessed(file: File, encoding: str) -> Note:
    shown = "Latin-1 (Windows-1252)" if encoding == "cp1252" else "Latin-1"
    return Note(f"the file {file.name} is no UTF-8 and is read as {shown}", "{} names another", {"encoding": "NAME"})


def _head(buffer: pa.Buffer, file: File, told: str | None = None) -> tuple[list[list[str]], str]:
    """Return the fields of the first lines that are not empty, and the delimiter: " " for any run of blanks.

    Args:
        buffer: the text.
        file: that it is of.
        told: the delimiter, where it is known.
    """
    head = beginning(buffer)
    if len(buffer) > len(head) and b"\n" not in head and b"\r" not in head:
        raise DataError(
            f"The first line of {file.name} has more than {len(head):,} bytes; expected names of columns, or one row."
            " Check that it is a table, and how its lines end."
        )
    text = head.decode("utf-8", errors="replace").removeprefix("\ufeff")
    shown = [line for line in text.splitlines()[: LOOKED_AT + 1] if line.strip()]
    if not shown:
        raise DataError(f"The file {file.name} is empty; expected rows of data.")
    if told is None and _is_parted_by_blanks(shown, file.suffix):
        return [[field.strip('"') for field in re.findall(FIELD, line)] for line in shown[:LOOKED_AT]], " "
    first = shown[0]
    delimiter = max(DELIMITERS, key=first.count) if any(d in first for d in DELIMITERS) else ","
    if ";" in first and all(map(is_number, first.split(";"))):
        delimiter = ";"
    delimiter = told or delimiter
    lines: list[list[str]] = []
    with suppress(csv.Error):  # a text too long for this module, below lines that are enough
        rows = (row for row in csv.reader(io.StringIO(text, newline=None), delimiter=delimiter) if any(map(str.strip, row)))
        lines.extend(itertools.islice(rows, LOOKED_AT))
    return lines or [first.split(delimiter)], delimiter


def _is_parted_by_blanks(lines: Sequence[str], suffix: str) -> bool:
    """Return whether runs of blanks part all lines into equally many fields, and nothing else does.

    Every line but the first then has numbers, or the name of the file says so, so that texts of two words are no columns.
    """
    lines = lines[:100] if len(lines) < 100 else lines[:-1][:100]  # the last may be cut off
    rows = [re.findall(FIELD, line) for line in lines]
    width = len(rows[0])
    if width < 2 or any(len(row) != width for row in rows):
        return False
    body = rows[1:] or rows
    numbers = min(sum(map(is_number, row)) for row in body)
    first = lines[0]
    if any(d in first for d in ",;|") and numbers < width:
        return False
    if "\t" in first:  # one tab beside blanks that align the other columns
        return len(first.split("\t")) < width and all(re.search(r"\S {2,}\S", line) for line in lines)
    aligned = all(re.search(r"\S {2,}\S", line) for line in lines)
    return numbers > 0 and (aligned or suffix in (".data", ".dat") or 2 * numbers >= width)


def _with_single_blanks(buffer: pa.Buffer) -> pa.Buffer:
    """Return text with one blank between fields, none around lines; within quotes it stays as it is."""
    text = re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", bytes(buffer))
    if b'"' in text:
        return pa.py_buffer(re.sub(rb'("[^"]*")|[ \t]+', lambda found: found[1] or b" ", text))
    return pa.py_buffer(re.sub(rb"[ \t]+", b" ", text))


# -- columns --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layout:
    """Holds delimited text and all that reading its columns takes."""

    name: str
    buffer: pa.Buffer
    delimiter: str
    names: tuple[str, ...]
    skipped: int
    missing: tuple[str, ...]

    def read(self, as_text: Collection[str], columns: Sequence[str] | None = None) -> Any:
        """Return columns, all by default, of the types that they look like, or of text; texts that mean missing stay texts.

        Returns:
            A table; None where the bytes are no UTF-8.

        Raises:
            ArrowInvalid: the text cannot be read.
        """
        try:
            table = self._read(as_text, columns, False)
        except pa.ArrowInvalid:  # a type that changes far down, or a line break within quotes
            try:
                table = self._read(columns or self.names, columns, True)
            except pa.ArrowInvalid as error:
                if "UTF8" in str(error):
                    return None
                raise
        return None if any(map(pa.types.is_binary, table.schema.types)) else table

    def _read(self, as_text: Collection[str], columns: Sequence[str] | None, line_breaks: bool) -> pa.Table:
        return pcsv.read_csv(
            pa.BufferReader(self.buffer),
            pcsv.ReadOptions(column_names=list(self.names), skip_rows=self.skipped, block_size=PART << 3 * line_breaks),
            pcsv.ParseOptions(delimiter=self.delimiter, newlines_in_values=line_breaks),
            pcsv.ConvertOptions(
                null_values=list(self.missing),
                true_values=[],  # TRUE, True and true stay texts, and samples are written like them
                false_values=[],
                column_types=dict.fromkeys(as_text, pa.string()),
                include_columns=list(columns or self.names),
            ),
        ).combine_chunks()  # once: whoever looks at a column as an array would do it each time


def _original_texts(layout: _Layout, columns: dict[str, pa.ChunkedArray], names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    """Return the texts of columns that lost something: leading zeros, digits that no double holds, or how times are written."""
    doubtful = [name for name in names if is_numeric(columns[name].type)]
    if doubtful:
        loses = _may_lose_digits(layout.buffer, layout.delimiter)
        doubtful = [name for name in doubtful if loses and is_whole(columns[name])]
    large = [name for name in names if beyond_exact(columns[name])]
    late = [name for name in names if pa.types.is_temporal(columns[name].type)]
    versions = [name for name in names if may_be_versions(columns[name])]
    versions = versions if versions and re.search(rb"\d\.[1-9]0[^\d.]", layout.buffer) else []
    looked_at = list(dict.fromkeys([*doubtful, *large, *late, *versions]))
    if not looked_at:
        return {}
    texts = layout.read(looked_at, looked_at)
    kept = dict(zip(texts.column_names, texts.columns, strict=True))
    lost = {name for name in doubtful if pc.any(pc.match_substring_regex(kept[name], PADDED)).as_py()}
    lost |= {name for name in versions if loses_versions(pc.utf8_trim_whitespace(kept[name]))}
    for name in large:
        missing = pc.is_in(kept[name], value_set=pa.array(layout.missing))
        if pc.all(pc.or_(missing, pc.match_substring_regex(kept[name], WHOLE))).as_py():
            lost.add(name)
    return {name: kept[name] for name in [*lost, *late]}


def _may_lose_digits(buffer: pa.Buffer, delimiter: str) -> bool:
    """Return whether some field begins with a zero and another digit, as 00501 does, and 01:30 too; or with a plus."""
    text, piece, zero = np.frombuffer(buffer, dtype=np.uint8), 1 << 18, np.uint8(ord("0"))
    late = [np.uint8(ord(delimiter))] if delimiter >= "0" else []  # a delimiter that is no byte below the digits
    beginning = np.concatenate([np.full(2, ord("\n"), dtype=np.uint8), text[:4]])
    for part in (beginning, *(text[at : at + piece + 3] for at in range(0, len(text), piece))):  # each fits a cache
        second, before, first, after = part[:-3], part[1:-2], part[2:-1], part[3:]
        hit = (first == zero) | (first == ord("+"))
        hit &= after - zero < 10
        start = before < ord("-")  # line breaks, blanks, quotes and the other delimiters, but no sign, point or slash
        for one in late:
            start |= before == one
        hit &= start
        rows = np.flatnonzero(hit)
        second, before = second[rows], before[rows]
        start = (before == ord("\n")) | (before == ord('"')) | (before == ord(delimiter))
        if (start | ((before == ord(" ")) & (second == ord(delimiter)))).any():
            return True
    return False
