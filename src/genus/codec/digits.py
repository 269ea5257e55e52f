"""Whole numbers, and texts of digits alone, that are dates, times of day, or seconds since 1970."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import numpy as np
import pyarrow as pa

from genus.codec.arrow import ends_of
from genus.codec.notes import Note

__all__ = ["CLOCK", "excel_notes", "template_of_digits", "words_of"]

CLOCK = "%H%M"
EXCEL = "%#s"
EXCEL_DAYS = (29_221, 62_093)  # the days of the years 1980 to 2069, as spreadsheets count them
DATES = {"date", "dates", "datum", "fecha", "data", "datetime"}
CENTURIES = (1900, 2100)
FEWEST, HOURS, MINUTES = 30, 6, 10  # different values, hours and minutes, of which chance makes no clock
SINCE = (946_684_800, 2_051_222_400)  # seconds since 1970 of the years 2000 and 2035
STAMPS = {"time", "timestamp", "ts", "date", "datetime", "epoch", "unix", "created", "updated", "modified", "at", "when",
          "seen"}  # fmt: skip


def template_of_digits(name: str, values: np.ndarray) -> str | None:
    """Return the template of the times that whole numbers stand for, or None; complete dates, 20230623, are found elsewhere.

    These are months, 202306; days of a year, 2023174; times of day, 729 and 2157, where the last two digits never reach 60;
    seconds or milliseconds since 1970 in a column that is called as a time is; and the days that spreadsheets count, 43831, in
    one that is called a date.

    Args:
        name: of the column.
        values: (N,) whole numbers.

    >>> template_of_digits("period", np.array([202211, 202212, 202301, 202302]))
    '%Y%m'
    """
    distinct = np.unique(values)
    low, high = int(distinct[0]), int(distinct[-1])
    first, last = CENTURIES
    if first * 100 < low and high < last * 100 and len(distinct) > 3 and np.isin(distinct % 100, range(1, 13)).all():
        return "%Y%m"
    if first * 1000 < low and high < last * 1000 and len(distinct) >= 12 and np.isin(distinct % 1000, range(1, 367)).all():
        return "%Y%j"
    if _are_clocks(distinct):
        return CLOCK
    words = words_of(name)
    for template, ratio in (("%s", 1), ("%:s", 1000)):
        if SINCE[0] * ratio <= low and high < SINCE[1] * ratio and words & STAMPS:
            return template
    if EXCEL_DAYS[0] <= low and high <= EXCEL_DAYS[1] and words & DATES and len(distinct) > 3:
        return EXCEL
    return None


def excel_notes(table: pa.Table, names: Collection[str]) -> Iterator[Note]:
    """Yield notes on columns of fractional numbers that look like instants as spreadsheets store them, in days."""
    for name in names:
        column = table.column(name)
        if pa.types.is_floating(column.type) and _counts_days(name, column):
            reason = f"column {name!r} looks like days with a time as spreadsheets count them, and is read as numbers"
            yield Note(f"{reason}; to read times, show the column as times in the spreadsheet and save it anew", column=name)


def _counts_days(name: str, column: pa.ChunkedArray) -> bool:
    """Return whether numbers (N,), some with fractions, are instants as a spreadsheet counts them, in days since 1899.

    >>> column = pa.chunked_array([[43831.25, 44012.5]])
    >>> _counts_days("Date", column), _counts_days("price", column)
    (True, False)
    """
    if not words_of(name) & DATES:
        return False
    low, high = ends_of(column)
    return EXCEL_DAYS[0] <= low and high <= EXCEL_DAYS[1]


def words_of(name: str) -> set[str]:
    """Return the words of a column's name: those of firstName and first_name are first and name."""
    return {*re.findall(r"[^\W\d_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())}


def _are_clocks(distinct: np.ndarray) -> bool:
    """Return whether numbers are hours and minutes, of many hours and of minutes that chance would have beyond 59 too."""
    hours, minutes = np.divmod(distinct[distinct != 2400], 100)
    if len(hours) < FEWEST or distinct[0] < 0 or hours[-1] > 23 or minutes.max() > 59:
        return False
    return len(np.unique(hours)) >= HOURS and len(np.unique(minutes)) >= MINUTES
