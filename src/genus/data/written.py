"""The cells of delimited text exactly as they were written, with blanks and quotes, so that a table can be written back."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from genus.codec.arrow import is_numeric, to_numbers
from genus.data.arguments import Options
from genus.data.delimited import lay_out, whole_lines
from genus.data.files import File

__all__ = ["csv_texts", "means_the_same", "unquoted"]

QUOTED = r'^\s*"((?s:.*))"\s*$'


def csv_texts(file: File, options: Options) -> Iterator[pa.Table]:
    """Yield the cells of delimited text, row by row those that `csv_parts` yields, each with its quotes and blanks.

    Args:
        file: of the text.
        options: as for `read_csv`.

    Raises:
        DataError: as `read_csv` does, or rows of other widths.
    """
    layout = lay_out(file, options)[0]
    for number, (start, stop) in enumerate(whole_lines(layout.buffer)):
        part = layout.buffer.slice(start, stop - start)
        skipped = layout.skipped if number == 0 else 0
        try:
            yield _split(part, layout.names, layout.delimiter, skipped)
        except pa.ArrowInvalid:  # quotes around a delimiter or a line break, or nothing but empty lines
            rows = [*_rows(bytes(part).decode("utf-8", "replace"), layout.delimiter)][skipped:]
            if rows and {*map(len, rows)} == {len(layout.names)}:
                yield pa.table([pa.array(column) for column in zip(*rows, strict=True)], names=list(layout.names))


def _split(buffer: pa.Buffer, names: tuple[str, ...], delimiter: str, skipped: int) -> pa.Table:
    """Return the cells of rows in which every delimiter parts two cells."""
    return pcsv.read_csv(
        pa.BufferReader(buffer),
        pcsv.ReadOptions(column_names=list(names), skip_rows=skipped, block_size=len(buffer) + 1),
        pcsv.ParseOptions(delimiter=delimiter, quote_char=False),
        pcsv.ConvertOptions(null_values=[], column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
    )


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    """Yield the cells of each line that is not empty, where quotes may hold delimiters and line breaks.

    >>> [*_rows('a,"b, c"' + chr(10) + " 1 ,2", ",")]
    [['a', '"b, c"'], [' 1 ', '2']]
    """
    cell = re.compile(rf'((?:"[^"]*"|[^"{re.escape(delimiter)}\r\n])*)({re.escape(delimiter)}|\r\n|\r|\n|$)')
    row: list[str] = []
    at = 0
    while at < len(text) and (found := cell.match(text, at)) is not None and found.end() > at:
        row.append(found[1])
        at = found.end()
        if found[2] == delimiter:
            row += [""] if at == len(text) else []
            continue
        if row != [""]:
            yield row
        row = []
    if row:
        yield row


def unquoted(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return cells without the quotes around them.

    >>> unquoted(pa.chunked_array([['"a ""b"" c"', " c "]])).to_pylist()
    ['a "b" c', ' c ']
    """
    inside = pc.replace_substring(pc.replace_substring_regex(texts, QUOTED, r"\1"), '""', '"')
    return pc.if_else(pc.match_substring_regex(texts, QUOTED), inside, texts)


def means_the_same(texts: pa.ChunkedArray, values: pa.ChunkedArray, rows: np.ndarray) -> bool:
    """Return whether the cells of these rows (N,) bool are plain texts of the values: of numbers no decimal comma, no unit.

    Args:
        texts: as `csv_texts` gives them.
        values: that were read of them.
    """
    if not is_numeric(values.type):
        return True
    there = pa.array(rows & np.asarray(pc.is_valid(values)))
    plain = pc.utf8_trim_whitespace(unquoted(texts.filter(there)))
    try:
        numbers = pc.replace_substring_regex(plain, r"^\+", "").cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return bool(np.allclose(to_numbers(numbers), to_numbers(values.filter(there)), rtol=1e-6, atol=0))
