"""Cut a table out of delimited text with comments, titles and notes around it, or delimiters at the ends of lines."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace

import pyarrow as pa

from genus.codec.notes import Note
from genus.data.files import HEAD, beginning
from genus.data.headers import is_number

__all__ = ["DELIMITERS", "Surrounded", "bare_table", "looks_like_table"]

DELIMITERS = "\t,;|"
COMMENTS = (b"#", b"%")
MOST = 20  # lines before a table, or after it
FEWEST = 3  # lines of a table, below which nothing is a title
NAMED = re.compile(rb'^\s*"?(grand )?(total|sum|summe|gesamt|insgesamt|totale|suma)s?\b', re.I)
QUOTED = re.compile(rb'"[^"]*"')
DECIMAL_COMMA = re.compile(rb"\s*[-+]?\d+,\d+\s*")


@dataclass(frozen=True)
class Surrounded:
    """Holds delimited text without what stands around the table.

    Args:
        buffer: the text.
        delimiter: that was told, or found; None where the first line is to say.
        notes: on what was left out.
    """

    buffer: pa.Buffer
    delimiter: str | None = None
    notes: tuple[Note, ...] = ()

    def noting(self, reason: str) -> Surrounded:
        """Return the same with one more note."""
        return replace(self, notes=(*self.notes, Note(reason)))


def bare_table(buffer: pa.Buffer) -> Surrounded:
    """Return the table that delimited text holds, as text.

    Left out are comments before it; the line sep=; that spreadsheets write, which tells the delimiter; titles and notes, which
    are the first and the last lines with fewer fields than all others. A header that lacks the name of the first column, as R
    writes it, or the delimiter with which all rows end, gets it.

    Args:
        buffer: of text in UTF-8.

    >>> found = bare_table(pa.py_buffer(b"Sales of 2020\\n\\nx,y\\n1,2\\n3,4\\n5,6\\n"))
    >>> bytes(found.buffer), found.notes[0]
    (b'x,y\\n1,2\\n3,4\\n5,6\\n', '1 line before the table is skipped: Sales of 2020')
    """
    found = _without_mark(_without_comments(Surrounded(buffer)))
    if found.delimiter is not None:
        return found
    table = _table_of(beginning(found.buffer))
    if table is None:
        return found
    start, delimiter, count = table
    if start == 1 and (header := _mended_header(found.buffer, delimiter, count)) is not None:
        return replace(found, buffer=header[0], delimiter=header[1]).noting(header[2])
    if start:
        lines = beginning(found.buffer).splitlines(keepends=True)
        found = _cut(found, sum(map(len, lines[:start])), None, [line for line in lines[:start] if line.strip()], "before")
        found = replace(found, delimiter=delimiter)
    return _without_notes(found, delimiter.encode(), count)


def looks_like_table(buffer: pa.Buffer) -> bool:
    """Return whether a text is a table: every line has as many fields, and in one of them, below line 1, stands a number.

    Fields are parted by a tab, a bar, a semicolon or a comma; or by blanks, where all of them are numbers.

    >>> looks_like_table(pa.py_buffer(b"id|name\\n1|a\\n2|b\\n3|c")), looks_like_table(pa.py_buffer(b"one, two\\nthree, four"))
    (True, False)
    """
    head = beginning(buffer)
    try:
        lines = [line for line in head.decode("utf-8-sig").splitlines()[: 10 * MOST] if line.strip()]
    except UnicodeDecodeError:
        return False
    lines = lines[:-1] if len(head) == HEAD else lines
    if len(lines) <= FEWEST:
        return False
    for delimiter in (*DELIMITERS, None):
        rows = [line.split(delimiter) for line in lines]
        numbers = [all(map(is_number, column)) for column in zip(*rows[1:], strict=False)]
        told = any(numbers) if delimiter else all(numbers)
        if len(rows[0]) > 1 and len({*map(len, rows)}) == 1 and told:
            return True
    return False


def _without_comments(found: Surrounded) -> Surrounded:
    """Return text without the empty lines and the comments before its first line.

    The last comment stays where it may be a header: it has as many fields as the first line without, which holds digits.
    """
    at, comments, last, mark = 0, 0, (0, b""), b"#"
    for line in beginning(found.buffer).splitlines(keepends=True):
        sign = next((sign for sign in COMMENTS if line.lstrip().startswith(sign)), None)
        if sign is not None:
            comments, last, mark = comments + 1, (at, line), sign
        elif line.strip():
            fields = [max(one.count(mark.encode()) for mark in DELIMITERS) for one in (last[1], line)]
            if comments and fields[0] == fields[1] and re.search(rb"\d", line):
                at, comments = last[0], comments - 1
            break
        at += len(line)
    if not 0 < at < len(found.buffer):
        return found
    found = replace(found, buffer=found.buffer.slice(at))
    if not comments:
        return found
    return found.noting(f"{comments:,} lines before the table begin with {mark.decode()}, and are skipped")


def _without_mark(found: Surrounded) -> Surrounded:
    """Return text without the line sep=; before its header, with that delimiter."""
    mark = re.match(rb"(?:\xef\xbb\xbf)?\"?sep=([\t,;|])\"?\s*?\r?\n", beginning(found.buffer)[:40], re.I)
    if mark is None or mark.end() >= len(found.buffer):
        return found
    return replace(found, buffer=found.buffer.slice(mark.end()), delimiter=mark[1].decode())


def _counts(lines: list[bytes], delimiter: bytes) -> list[int]:
    """Return how often a delimiter stands outside quotes in each line; -1 for empty lines."""
    return [QUOTED.sub(b"", line).count(delimiter) if line.strip() else -1 for line in lines]


def _table_of(head: bytes) -> tuple[int, str, int] | None:
    """Return the line at which a table begins whose lines have equally many delimiters, these, and how many a line has.

    None is returned where the first line has as many, or there is no such table.
    """
    lines = head.splitlines()[: 10 * MOST + 1]
    lines = lines[:-1] if len(head) == HEAD else lines
    found = []
    for delimiter in DELIMITERS:
        counts = _counts(lines, delimiter.encode())
        most = max(counts, default=0)
        if most < 1:
            continue
        few = most > 1 and re.search(rb"[^\W\d]", lines[0]) and [_has_one_field(line, delimiter) for line in lines[:MOST]]
        titles = sum(1 for _ in itertools.takewhile(bool, few or ()))
        start = next((i for i, count in enumerate(counts) if count == most and i >= titles), MOST + 1)
        rest = [count for count in counts[start:] if count >= 0]
        while rest and rest[-1] == 0:  # notes after it
            rest.pop()
        if start <= MOST and len(rest) >= FEWEST and {*rest} == {most}:
            found.append((start, -most, delimiter))
    if not found:
        return None
    start, most, delimiter = min(found)
    return start, delimiter, -most


def _has_one_field(line: bytes, delimiter: str) -> bool:
    """Return whether at most one field of a line holds anything, as in a title that a spreadsheet has written."""
    return sum(bool(field.strip(b' "')) for field in line.split(delimiter.encode())) <= 1


def _mended_header(buffer: pa.Buffer, delimiter: str, count: int) -> tuple[pa.Buffer, str, str] | None:
    """Return a table whose header has one field less than all rows with that field, the delimiter, and what was done."""
    text = bytes(buffer)
    header, _, body = text.partition(b"\n")
    rows = [line for line in beginning(buffer).splitlines()[1 : 10 * MOST] if line.strip()]
    mark = delimiter.encode()
    if _counts([header], mark) != [count - 1]:
        return None
    if all(line.rstrip(b"\r").endswith(mark) for line in rows):
        reason = f"rows end with the delimiter {delimiter!r} and the header does not; an empty column follows"
        return pa.py_buffer(header.rstrip(b"\r") + mark + b"\n" + body), delimiter, reason
    if count == 1 and delimiter == ",":
        commas = all(map(DECIMAL_COMMA.fullmatch, rows))
        return (buffer, ";", "the one column has decimal commas") if commas else None
    reason = "the header has one name less than the rows have values, and the first column is called x0"
    return pa.py_buffer(mark + text), delimiter, reason


def _without_notes(found: Surrounded, delimiter: bytes, count: int) -> Surrounded:
    """Return a table without the last lines that have no delimiter, and a note where the last row looks like a total."""
    tail = bytes(found.buffer.slice(max(0, len(found.buffer) - 2**14)))
    lines = tail.splitlines(keepends=True)[-MOST - 1 :]
    counts = _counts(lines, delimiter)
    last = max((i for i, number in enumerate(counts) if number == count), default=-1)
    if last < 0 or {*counts[last + 1 :]} - {0, -1}:
        return found
    after = [line for line in lines[last + 1 :] if line.strip()]
    if after:
        found = _cut(found, 0, len(found.buffer) - sum(map(len, lines[last + 1 :])), after, "after")
    if NAMED.match(lines[last]) and sum(bool(NAMED.match(line)) for line in lines[: last + 1]) == 1:
        shown = lines[last].decode("utf-8", errors="replace").strip()
        found = found.noting(f"the last row looks like a total, and is kept as a row: {shown[:60]}; delete it if it is none")
    return found


def _cut(found: Surrounded, start: int, stop: int | None, lines: list[bytes], where: str) -> Surrounded:
    """Return part of the text, with a note on the lines that are skipped."""
    stop = len(found.buffer) if stop is None else stop
    shown = lines[0].decode("utf-8", errors="replace").removeprefix("\ufeff").strip()[:60] if lines else ""
    several = "1 line" if len(lines) == 1 else f"{len(lines):,} lines"
    cut = replace(found, buffer=found.buffer.slice(start, stop - start))
    return cut.noting(f"{several} {where} the table {'is' if len(lines) == 1 else 'are'} skipped: {shown}") if lines else cut
