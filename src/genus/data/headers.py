"""The first line of a table: whether it names the columns, and the names that it gives."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from genus.codec.notes import Note
from genus.data.cells import MISSING, NUMBER

__all__ = ["has_header", "is_number", "names_of"]

COMMA = r"[-+]?\d+(,\d+)?([eE][-+]?\d+)?"  # a number with a decimal comma, or with none
UNNAMED = "no header was found, so columns are named x0, x1, ..."


def has_header(lines: Sequence[Sequence[str]], kinds: Mapping[str, Any]) -> tuple[bool, list[Note]]:
    """Return whether line 1 names the columns, and a note where this is not plain.

    Columns of values are those whose first value below is written with digits and without letters. Line 1 is a header where
    some column of values has none in line 1; else, where `kinds` has names, if the line holds them all. Where all columns of
    values have one in line 1, these may be names only if they are whole numbers above numbers: see `_numbered`. Where there
    are no columns of values, line 1 is a row if most of its texts occur again below, in columns whose texts repeat. An empty
    field above numbers of rows, as frames write their index, makes line 1 a header in any case.

    Args:
        lines: the fields of the first lines.
        kinds: the names of columns that the caller knows.
    """
    first, rest = [field.strip() for field in lines[0]], [row for row in lines[1:] if len(row) == len(lines[0])]
    below = [[text for row in rest if (text := row[i].strip()) not in MISSING] for i in range(len(first))]
    columns = [i for i, texts in enumerate(below) if is_value(texts[0] if texts else first[i])]
    if any(not is_value(first[i]) and first[i] not in MISSING for i in columns) or _has_index(first, below):
        return True, []
    no = False, [Note(UNNAMED, "{} takes the first line for one", {"header": True})]
    if kinds and kinds.keys() <= {*names_of(first)[0]}:
        return True, []
    if not columns:
        return _text_alone(first, below)
    if kinds or not rest or not _numbered(first, below, columns):
        return no
    return True, [_taken(first)]


def _has_index(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Return whether the first field is empty, above whole numbers that count the rows from 0 or 1."""
    start = below[0][0] if first[0] == "" and len(below[0]) > 1 else ""
    return start in ("0", "1") and [*below[0]] == [str(int(start) + i) for i in range(len(below[0]))]


def _taken(first: Sequence[str]) -> Note:
    shown = ", ".join(first[:4]) + (", ..." if len(first) > 4 else "")
    return Note(f"the first line, {shown}, is taken for a header", "{} makes it a row", {"header": False})


def _text_alone(first: Sequence[str], below: Sequence[Sequence[str]]) -> tuple[bool, list[Note]]:
    """Return whether line 1 of a table of text names its columns: its texts do not occur again where others do."""
    repeating = [i for i, texts in enumerate(below) if texts and len({*texts}) <= 0.8 * len(texts)]
    again = [i for i in repeating if first[i] in below[i]]
    if 2 * len(again) > len(repeating):
        return False, [Note(UNNAMED, "{} takes the first line for one", {"header": True})]
    return True, [] if repeating and not again else [_taken(first)]


def _numbered(first: Sequence[str], below: Sequence[Sequence[str]], columns: Sequence[int]) -> bool:
    """Return whether numbers in line 1 are names.

    Two or more different whole numbers are where the line is 0, 1, 2, ...; where most numbers below each are not whole; or
    where the texts beside them occur nowhere below, and the texts below repeat or the numbers count up by one.
    """
    labels = [first[i] for i in columns]
    if len({*labels}) < max(2, len(labels)) or not all(map(str.isdecimal, labels)):
        return False
    counted = len(first) > 2 and [*first] == [str(i) for i in range(len(first))]
    fractions = all(2 * sum(_is_fraction(text) for text in below[i]) > len(below[i]) for i in columns)
    texts = [i for i in range(len(first)) if i not in columns]
    apart = bool(texts) and all(first[i] not in below[i] for i in texts)
    repeat = all(2 * len({*below[i]}) <= len(below[i]) for i in texts)
    upwards = all(int(b) == int(a) + 1 for a, b in itertools.pairwise(labels))
    return counted or fractions or (apart and (repeat or upwards))


def is_number(field: str) -> bool:
    """Return whether a field is a number, perhaps with a decimal comma."""
    return bool(re.match(NUMBER, field) or re.fullmatch(COMMA, field.strip()))


def is_value(field: str) -> bool:
    """Return whether a field is a number, or written with digits and without words: a date, a time, a share, an amount.

    >>> is_value("2014-07-01T10:00:00Z"), is_value("45 %"), is_value("x1")
    (True, True, False)
    """
    return is_number(field) or bool(re.fullmatch(r"(?=.*\d)[-+\d.,:/\s%$€£()#TZ]+", field.strip()))


def _is_fraction(field: str) -> bool:
    try:
        return not float(field.replace(",", ".")).is_integer()
    except ValueError:
        return False


def names_of(first: Sequence[str]) -> tuple[list[str], list[Note]]:
    """Return the names that a header gives: every column has one, and none twice; with a note where names were changed.

    >>> names_of(["a", " b ", "", "a"])
    (['a', 'b', 'x2', 'a_2'], ["the name 'a' stands twice in the header, and the later column is called 'a_2'"])
    """
    names = [name.strip() or f"x{i}" for i, name in enumerate(first)]
    taken, seen = {*names}, set[str]()
    out, notes = [], []
    for name in names:
        if name in seen:
            new = next(f"{name}_{k}" for k in itertools.count(2) if f"{name}_{k}" not in taken)
            taken.add(new)
            notes.append(Note(f"the name {name!r} stands twice in the header, and the later column is called {new!r}"))
            name = new
        seen.add(name)
        out.append(name)
    return out, notes
