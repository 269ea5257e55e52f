"""Find the columns of text, or of whole numbers, all of whose values are times in one or several ways of writing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.arrow import ends_of, is_numeric, is_text, sample_rows, ticks_of, type_name
from genus.codec.digits import CLOCK, excel_notes, template_of_digits
from genus.codec.forms import ARRAYS, Form
from genus.codec.looks import MOSTLY, templates_of
from genus.codec.notes import Note
from genus.codec.style import refined, with_offsets
from genus.codec.writing import Writing
from genus.errors import DataError
from genus.kinds import Time

__all__ = ["Times", "find_times", "is_missing", "read_times", "texts_of"]

SCREENED = 2000  # so many values may rule out an order of day and month
PROBED = 1000  # so many values rule out that digits are times
SAMPLED = 60  # so many values of a column tell whether it may hold times
BLANK = ("", "NaT", "00.00.0000", "00/00/0000", "0000-00-00", "0000-00-00 00:00:00")
CENTURY = (19_000_101, 21_001_231)  # YYYYMMDD: whole numbers from the first to the second may be dates
CLOCKS = (1, 10**4, 10**6)  # by how much YYYYMMDD, YYYYMMDDhhmm and YYYYMMDDhhmmss exceed YYYYMMDD

# Templates by which Arrow itself writes times: a column of a text file that is written so needs no `Writing`.
_PLAIN = re.compile(r"(?:%Y-%m-%d(?: %H:%M:%S(?:%\.[369]f)?)?|%H:%M:%S(?:%\.[369]f)?)")


@dataclass(frozen=True)
class Times:
    """Holds the times of a column, how they were written, and sentences on what was decided.

    Args:
        column: of one of Arrow's types of time.
        writing: that gives back the column's texts.
        notes: sentences, each naming the column.
        is_certain: the rows alone tell the order of day and month.
    """

    column: pa.ChunkedArray
    writing: Writing
    notes: tuple[Note, ...] = ()
    is_certain: bool = True


def read_times(
    table: pa.Table, form: Form, kinds: Mapping[str, Any], missing: Collection[str] = (), plain: bool = False
) -> tuple[pa.Table, Form, tuple[Note, ...]]:
    """Return a table with its columns of written times as times, the form that writes them back, and notes.

    Args:
        table: columns of any types.
        form: of the table.
        kinds: the caller's kind of each column. Times are looked for in a column without one, and where it is "time", a
            template such as "%d.%m.%Y", or a `Time`.
        missing: texts that mean missing.
        plain: columns need not come back as text where Arrow itself writes them as they were: the table was text.

    Raises:
        DataError: a few values of a column are no times.

    >>> table = pa.table({"day": ["17/10/2022", "3/11/2022"]})
    >>> table, form, notes = read_times(table, Form("pyarrow", ("string",)), {})
    >>> table["day"].type, form.writings[0].template
    (DataType(date32[day]), '%-d/%-m/%Y')
    """
    if form.container in ARRAYS:
        return table, form, ()
    found: dict[str, Times] = {}
    open_to = {name: _asked(kinds.get(name)) for name in table.column_names}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if open_to[name] is not False and (times := find_times(name, column, open_to[name], missing)):
            found[name] = times
    votes = {separator_of(t.writing.template): order_of(t.writing.template) for t in found.values() if t.is_certain}
    for name in [name for name, times in found.items() if not times.is_certain and votes]:
        again = find_times(name, table.column(name), open_to[name], missing, votes)
        found[name] = again or found[name]
    days = tuple(excel_notes(table, [name for name in table.column_names if name not in found and open_to[name] is None]))
    if not found:
        return table, form, days
    writings = list(form.writings or [None] * table.num_columns)
    dtypes, columns = list(form.dtypes), list(table.columns)
    for i, name in enumerate(table.column_names):
        if name in found:
            times = found[name]
            columns[i] = times.column
            is_plain = plain and _PLAIN.fullmatch(times.writing.template) is not None
            writings[i] = None if is_plain else replace(times.writing, dtype=dtypes[i])
            dtypes[i] = type_name(times.column.type)
    table = pa.table(columns, names=table.column_names)
    notes = tuple(note for times in found.values() for note in times.notes)
    return table, replace(form, writings=tuple(writings), dtypes=tuple(dtypes)), (*notes, *days)


def _asked(kind: Any) -> str | bool | None:
    """Return "time" or a template where the caller says so, None where nothing is said, False where it is no time."""
    if isinstance(kind, str):
        return kind if kind == "time" or "%" in kind else False
    return None if kind is None or isinstance(kind, Time) else False


def find_times(
    name: str,
    column: pa.ChunkedArray,
    kind: Any = None,
    missing: Collection[str] = (),
    votes: Mapping[str, str] = {},
) -> Times | None:
    """Return the times of a column of text or of whole numbers; None where it holds none.

    A way of writing is taken where at least nine of ten values are times by it; the order of day and month is that by which all
    rows are days that exist. Where several orders remain, rows that ascend decide, then other columns written alike, then the
    custom of the separator; a note says so.

    Args:
        name: of the column, for messages.
        column: N values.
        kind: what the caller says of the column: "time", or a template that it is written by; None: nothing.
        missing: texts that mean missing.
        votes: for each separator, the order of day, month and year, "dmY" say, that other columns leave no doubt of.

    Raises:
        DataError: a few values are no times, or the caller says that there are times and there are none.
    """
    template = kind if isinstance(kind, str) and "%" in kind else None
    if not _may_be_times(column.type):
        return None
    digits = _template_of_digits(name, column) if template is None else None
    if template is None and digits is None:
        if not is_text(column.type):
            holds_none = not _is_dated(column)
        else:  # where nothing is said of many texts, a few of them may show it before all are looked at
            holds_none = kind is None and len(column) > SAMPLED and not _groups(column, missing)
        if holds_none:
            return None
    known = template or digits
    texts = texts_of(column, Writing(known) if known else None)
    if texts is None or len(texts) == texts.null_count:
        return None
    if template is not None:
        return _given(name, texts, Writing(template), missing)
    groups: list[tuple[str, ...]] = [(digits,)] if digits else _groups(texts, missing)
    if not groups:
        if kind == "time":
            raise DataError(f"Column {name!r} is to hold times, and {_shown(texts, ~_null(texts))} is none that is known.")
        return None
    return _read(name, texts, groups, missing, votes, not is_text(column.type))


def _may_be_times(kind: pa.DataType) -> bool:
    return is_text(kind) or is_numeric(kind)


def _shown(texts: pa.Array, rows: np.ndarray) -> str:
    """Return the first texts of some rows, with the rows, for messages."""
    return ", ".join(f"{texts[row].as_py()!r} in row {row}" for row in np.flatnonzero(rows)[:3].tolist())


# -- what may be written -------------------------------------------------------------------------------------------------


def texts_of(column: pa.ChunkedArray, writing: Writing | None = None) -> pa.Array | None:
    """Return a column as texts where it may hold times: text, or whole numbers; None for others.

    Args:
        column: N values.
        writing: by which whole numbers are times, where that is known; of a time of day they get four digits.
    """
    kind = column.type
    if is_text(kind):
        array = pc.utf8_trim_whitespace(column).combine_chunks().cast(pa.large_string())
        return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if not is_numeric(kind):
        return None
    try:
        array = column.combine_chunks().cast(pa.int64())
    except pa.ArrowInvalid:  # fractions
        return None
    texts = array.cast(pa.large_string())
    return pc.utf8_lpad(texts, 4, "0") if writing is not None and writing.template == CLOCK else texts


def _template_of_digits(name: str, column: pa.ChunkedArray) -> str | None:
    """Return the template by which whole numbers, or texts of digits, are times that do not look like dates.

    A few rows from all over rule out most columns.
    """
    part = sample_rows(column, PROBED)
    for rows in (part, column) if len(column) > PROBED else (part,):
        texts = pc.utf8_trim_whitespace(rows) if is_text(rows.type) else rows
        if is_text(rows.type):
            texts = texts.filter(pc.invert(pc.is_in(texts, value_set=pa.array(BLANK, texts.type))))
            if not pc.all(pc.match_substring_regex(texts, r"^\d{1,18}$")).as_py():
                return None
        try:
            values = np.asarray(texts.drop_null().cast(pa.int64()))
        except pa.ArrowInvalid:  # fractions
            return None
        template = template_of_digits(name, values) if len(values) else None
        if template is None:
            return None
    if template == CLOCK and is_text(column.type) and not pc.all(pc.equal(pc.utf8_length(texts), 4)).as_py():
        return None
    return template


def _is_dated(column: pa.ChunkedArray) -> bool:
    """Return whether whole numbers could be days of a plausible century, perhaps followed by a time, as in 20230623235959."""
    low, high = ends_of(column)
    return any(CENTURY[0] * n <= low and high <= (CENTURY[1] + 1) * n for n in CLOCKS)


def _null(texts: pa.Array) -> np.ndarray:
    return np.asarray(pc.is_null(texts))


def _groups(texts: pa.Array | pa.ChunkedArray, missing: Collection[str]) -> list[tuple[str, ...]]:
    """Return the templates by which values of a sample may be written, a group for each build, the most frequent first."""
    sample = _present(sample_rows(texts, SAMPLED), missing)
    return templates_of(sample or _present(pc.unique(texts.drop_null()), missing)[:SAMPLED])


def _present(texts: pa.Array | pa.ChunkedArray, missing: Collection[str]) -> list[str]:
    """Return the texts that do not mean missing, without blanks around them."""
    trimmed = (text.strip() for text in texts.to_pylist() if text)
    return [text for text in trimmed if text and text not in BLANK and text not in missing]


# -- reading all rows ----------------------------------------------------------------------------------------------------


def _given(name: str, texts: pa.Array, writing: Writing, missing: Collection[str]) -> Times:
    """Return the times of a column whose template the caller gave."""
    if "z" in writing.letters and not writing.offsets:
        writing = with_offsets(writing, texts)
    array = writing.parse(texts)
    bad = ~_null(texts) & _null(array) & ~is_missing(texts, missing)
    if bad.any():
        raise DataError(f"Column {name!r} holds {_shown(texts, bad)}, which {writing.template!r} does not write.")
    return Times(pa.chunked_array([array]), writing)


def is_missing(texts: pa.Array, missing: Collection[str]) -> np.ndarray:
    """Return which texts (N,) mean missing, (N,) bool: empty ones, NaT and these."""
    words = pa.array(sorted({*BLANK, *missing}), pa.large_string())
    return np.asarray(pc.fill_null(pc.is_in(texts, value_set=words), False))


def _read(
    name: str, texts: pa.Array, groups: list[tuple[str, ...]], missing: Collection[str], votes: Mapping[str, str], numbers: bool
) -> Times | None:
    """Return the times of texts by the best template of each group, group after group for what is left."""
    open_rows = ~_null(texts) & ~is_missing(texts, missing)
    present = int(open_rows.sum())
    parsed: list[tuple[Writing, pa.Array]] = []
    notes: list[Note] = []
    certain = True
    for group in _and_those_of_the_rest(groups, texts, open_rows):
        rows = np.flatnonzero(open_rows)
        if not len(rows):
            break
        part = texts if len(rows) == len(texts) else texts.take(pa.array(rows))
        writing, array, note = _best(name, group, part, votes)
        hit = ~_null(array)
        if not hit.any():
            continue
        writing = refined(writing, part if hit.all() else part.filter(pa.array(hit)))
        if part is not texts or writing.offsets:
            array = writing.parse(texts)
        open_rows &= _null(array)
        parsed.append((writing, array))
        notes += note
        certain &= not note
    if not parsed or open_rows.sum() > (1 - MOSTLY) * present or (numbers and open_rows.any()):
        return None
    if open_rows.any():
        count = int(open_rows.sum())
        others = f"{count:,} other texts ({_shown(texts, open_rows)})"
        remedy = "correct them, name the text that means missing, or keep all as text with {}."
        raise DataError(
            Note(f"Column {name!r} holds {present - count:,} times but also {others}", remedy, {"kinds": {name: "category"}})
        )
    found = _joined(name, texts, parsed, notes, numbers)
    return found if found is None else replace(found, is_certain=certain)


def _and_those_of_the_rest(groups: list[tuple[str, ...]], texts: pa.Array, left: np.ndarray) -> Iterator[tuple[str, ...]]:
    """Yield groups of templates, then further ones for the texts (N,) that these leave unread, missed by the sample."""
    yield from groups
    rows = np.flatnonzero(left)[:SAMPLED]
    if len(rows):
        yield from (group for group in templates_of(texts.take(pa.array(rows)).to_pylist()) if group not in groups)


def _joined(
    name: str, texts: pa.Array, parsed: Sequence[tuple[Writing, pa.Array]], notes: list[Note], numbers: bool
) -> Times | None:
    """Return the values of several ways of writing as one column, written as the finest of them."""
    writing, array = parsed[0]
    for other, more in parsed[1:]:
        sort = {(w.has_date, w.is_duration) for w in (writing, other)}
        if len(sort) > 1:
            return None
        finer = _rank(more.type) > _rank(array.type)
        kind = more.type if finer else array.type
        try:
            array = pc.coalesce(array.cast(kind), more.cast(kind))
        except pa.ArrowException:
            return None
        writing = other if finer else writing
    if len(parsed) > 1:
        ways = " and ".join(repr(w.template) for w, _ in parsed)
        reason = f"column {name!r} has times written as {ways}, and samples of it as {writing.template!r}"
        notes = [*notes, Note(reason, column=name)]
    if "y" in writing.letters:
        notes = [*notes, Note(f"column {name!r} has years of two digits, which are taken for 1969 to 2068", column=name)]
    if numbers:
        noun = "dates" if not writing.has_clock else "times" if writing.has_date else "times of day"
        reason = f"column {name!r} holds whole numbers that are {noun}"
        notes = [*notes, Note(reason, "{} keeps numbers", {"kinds": {name: "lattice"}}, name)]
    if writing.has_clock and not writing.has_date and not writing.is_duration and _has_end_of_day(texts):
        notes = [*notes, Note(f"column {name!r} has 24:00, which is taken for 00:00, and written so", column=name)]
    if len(writing.offsets) > 1:
        notes = [*notes, Note(f"column {name!r} has several offsets from UTC, and is measured in UTC", column=name)]
    return Times(pa.chunked_array([array]), writing, tuple(notes))


def _has_end_of_day(texts: pa.Array) -> bool:
    return bool(pc.any(pc.match_substring_regex(texts, r"^24[:.hH]?00")).as_py())


def _rank(kind: pa.DataType) -> int:
    if pa.types.is_date(kind):
        return 0
    return 1 + ["s", "ms", "us", "ns"].index(str(kind.unit))


def _best(name: str, group: tuple[str, ...], texts: pa.Array, votes: Mapping[str, str]) -> tuple[Writing, pa.Array, list[Note]]:
    """Return the template of a group by which most rows are times, those times, and a note where several are as good."""
    writings = [Writing(template) for template in group]
    if len(group) > 1 and len(texts) > SCREENED:  # a part may leave one alone
        part = sample_rows(texts, SCREENED)
        faults = [writing.parse(part).null_count for writing in writings]
        writings = [writing for writing, count in zip(writings, faults, strict=True) if count == min(faults)]
    tries = [(writing, writing.parse(texts)) for writing in writings]
    most = max(len(array) - array.null_count for _, array in tries)
    good = [(writing, array) for writing, array in tries if len(array) - array.null_count == most]
    if len(good) == 1 or not most:
        return *good[0], []
    writing, array, reason = _decided(good, votes)
    others = [w.template for w, _ in good if w is not writing]
    shown = " or ".join(map(repr, others))
    reason = f"column {name!r} is read as {writing.template!r}, {reason}, though every row could be {shown} as well"
    note = Note(reason, "{} reads it so", {"kinds": {name: others[0]}}, name)
    return writing, array, [note]


def _decided(good: list[tuple[Writing, pa.Array]], votes: Mapping[str, str]) -> tuple[Writing, pa.Array, str]:
    """Return the one of several readings that is taken, and why: rows that ascend, other columns, or custom."""
    ascending = [(w, a) for w, a in good if _ascends(a)]
    if len(ascending) == 1:
        return *ascending[0], "by which its rows ascend"
    for writing, array in good:
        if order_of(writing.template) == votes.get(separator_of(writing.template)):
            return writing, array, "as another column is"
    slash = separator_of(good[0][0].template) == "/"
    first = next(((w, a) for w, a in good if w.template.startswith("%m") == slash), good[0])
    return *first, f"as is the custom with {separator_of(good[0][0].template)!r}"


def _ascends(array: pa.Array) -> bool:
    ticks = np.asarray(ticks_of(array.drop_null()))
    return len(ticks) > 2 and bool((np.diff(ticks) >= 0).all()) and ticks[-1] > ticks[0]


def order_of(template: str) -> str:
    """Return the order of day, month and year in a template: "dmY"."""
    return "".join(re.findall(r"%-?([dmyY])", template)).replace("y", "Y")


def separator_of(template: str) -> str:
    """Return what stands between the first two parts of a template."""
    found = re.match(r"%-?[dmyYbB](.)%-?[dmyYbB]", template)
    return found[1] if found else ""
