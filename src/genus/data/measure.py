"""The kind of a column of Arrow, measured from its values.

Every rule has the same aim: no flexible density may win by spikes on values that repeat, and decoding must lose nothing.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.arrow import is_numeric, is_text, ticks_of, to_numbers, without_dictionary
from genus.codec.digits import words_of
from genus.codec.keys import Key
from genus.codec.notes import Note
from genus.codec.patterns import FEWEST, measure_key
from genus.codec.stamps import unit_of
from genus.data.personal import PHONE_WORDS, looks_personal
from genus.errors import DataError
from genus.kinds import Category, Kind, Time
from genus.kinds.numbers import LARGEST, measure_numbers
from genus.kinds.steps import EXACT

__all__ = ["Unmeasurable", "measure", "measure_column"]

COUNTED = 20  # a context of at most so many different whole numbers is a Category
REPEATED = 3  # levels: fewer e-mail addresses in a column are of nobody in particular
PHONE = 10**6  # phone numbers have seven digits or more
NUMBERS = r"(?<![\d.])[-+−]?(?:0|[1-9]\d*)(?:\.\d+)?(?!\d)"  # without zeros before them, as codes have
PROBED = 10_000  # rows in which texts that name persons are looked for
TIME_WORDS = {"year", "years", "yr", "month", "week", "day", "days", "hour", "minute", "second", "time", "date", "age"}
KEY_WORDS = {"id", "ids", "key", "uid", "guid", "uuid", "nr", "no", "num", "number", "code", "index", "pk", "serial"}


class Unmeasurable(DataError):
    """Say that a column should be left out; its note gives the reason, and the way to keep it where that is possible.

    Args:
        reason: a sentence without a full stop.
        column: the name of the column.
        kind: what `kinds` must say to keep it; "" where it cannot be kept.
        remedy: what that does, with {} for the option.
    """

    def __init__(self, reason: str, column: str, kind: str = "", remedy: str = "keep it with {}") -> None:
        option = {"kinds": {column: kind}} if kind else {}
        self.note = Note(reason, remedy if kind else "", option, column, "left out")
        super().__init__(str(self.note))


def measure_column(
    name: str,
    column: pa.ChunkedArray,
    override: str | Kind | None = None,
    discrete: bool = False,
    keys: bool = True,
    chart: str = "auto",
) -> tuple[Kind | Key | None, list[Note]]:
    """Return the kind or the key that a column is, or None where it is left out, and notes on it.

    Args:
        name: of the column.
        column: N values.
        override: a kind; "category", "lattice", "real" or "key"; "omit" leaves the column out; None: the values decide.
        discrete: few whole numbers are a Category, as a context should be.
        keys: a column may be found to be a key; the form that the data came in has room for them.
        chart: "auto", for numbers the chart under which they are likeliest; or "affine".

    Raises:
        DataError: an infinite or absurdly large value, or an override that the values contradict.
    """
    if override == "omit":
        return None, [Note(f"column {name!r} is left out, as you wished", column=name, about="left out")]
    personal = _personal(name, column) if override in (None, "category") or isinstance(override, Kind) else None
    may_be = override is None and keys and not (pa.types.is_integer(column.type) and words_of(name) & TIME_WORDS)
    key = measure_key(name, column, override == "key") if override == "key" or may_be else None
    if key is not None and override is None and key.has_text and (_several_numbers(column) or ("", 0))[1] > 1:
        key = None  # decimals, as points have them: (40.7128, -74.0060)
    if key is not None and (personal is None or override == "key"):
        undo = {"kinds": {name: "category" if key.has_text else "lattice"}}
        return key, [Note(f"column {key.describe()}", "{} models its values instead", undo, name, "key")]
    try:
        if override is None and personal is not None:
            _refuse_personal(name, column, personal, key is not None)
        kind = override if isinstance(override, Kind) else measure(name, column, override, discrete, chart)
    except Unmeasurable as reason:
        return None, [reason.note]
    notes = []
    if personal is not None and isinstance(kind, Category) and kind.states >= REPEATED:
        repeats = f"column {name!r} holds {personal}, and samples repeat those of the data"
        notes.append(Note(repeats, "{} leaves it out", {"kinds": {name: "omit"}}, name, "personal"))
    if override is None and keys and _may_be_key(name, column):
        differs = f"column {name!r} has another whole number in every row, and is modelled as an amount"
        notes.append(Note(differs, "{} says that it is a key", {"kinds": {name: "key"}}, name))
    return kind, notes


def _personal(name: str, column: pa.ChunkedArray) -> str | None:
    """Return what a column of text, or of phone numbers, holds where it may name persons."""
    head = without_dictionary(column.slice(0, PROBED).drop_null())
    if is_text(head.type):
        return looks_personal(name, pc.unique(head).to_pylist())
    numbers = pa.types.is_integer(head.type) and words_of(name) & PHONE_WORDS
    return "phone numbers" if numbers and len(head) >= FEWEST and np.median(to_numbers(head)) >= PHONE else None


def _refuse_personal(name: str, column: pa.ChunkedArray, personal: str, patterned: bool) -> None:
    """Raise Unmeasurable for a column of such values where most of them differ."""
    distinct, rows = pc.count_distinct(column).as_py(), len(column) - column.null_count
    if not Category.is_free_text(distinct, rows):
        return
    reason = f"column {name!r} holds {personal} ({distinct:,} different in {rows:,} rows), which samples would repeat"
    if patterned:
        raise Unmeasurable(reason, name, "key", "{} draws new ones of the same pattern")
    raise Unmeasurable(reason, name, "lattice" if pa.types.is_integer(column.type) else "category")


def _may_be_key(name: str, column: pa.ChunkedArray) -> bool:
    """Return whether a column of whole numbers that differ in every row is called as keys are."""
    if not (pa.types.is_integer(column.type) and words_of(name) & KEY_WORDS and len(column) >= FEWEST) or column.null_count:
        return False
    return all(pc.count_distinct(part).as_py() == len(part) for part in (column.slice(0, PROBED), column))


def measure(
    name: str, column: pa.ChunkedArray, override: str | None = None, discrete: bool = False, chart: str = "auto"
) -> Kind:
    """Return the kind of a column.

    Text, booleans and dictionaries are a Category, with a level None where values are missing; dates and times a Time; whole
    numbers (50.0 too) a Lattice; other numbers a Lattice where they lie on a visible lattice and repeat, else a Real.

    Args:
        name: of the column, for messages.
        column: N values.
        override: "category", "lattice", "real" or "time" instead of what these rules say; a template of times is as "time".
        discrete: few whole numbers are a Category, as a context should be.
        chart: "auto", for numbers the chart under which they are likeliest; or "affine".

    Raises:
        DataError: an infinite or absurdly large value, or an override that the values contradict.
        Unmeasurable: an identifier, free text, or values of a compound type.
    """
    if override is not None and "%" in override:
        override = "time"
    if override not in (None, "real", "lattice", "category", "time"):
        expected = "'real', 'lattice', 'category', 'time', a template such as '%d/%m/%Y', 'key', 'omit' or a Kind"
        raise DataError(f"kinds[{name!r}] is {override!r}; expected {expected}.")
    if column.null_count == len(column):
        return Category((None,))
    if override == "time" and not pa.types.is_temporal(column.type):
        first = next((v for v in column.to_pylist() if v is not None), None)
        raise DataError(f"Column {name!r} holds {column.type} such as {first!r}; it cannot be read as times.")
    kind = _without_arithmetic(name, column, override)
    return kind if kind is not None else _number(name, column, override, discrete, chart)


def _without_arithmetic(name: str, column: pa.ChunkedArray, override: str | None) -> Category | None:
    """Return the Category of a column that is neither of numbers nor of time, or is to be a category; None for others."""
    kind = column.type
    as_number = override in ("real", "lattice")
    if pa.types.is_dictionary(kind) and not isinstance(kind.value_type, pa.ExtensionType):
        if as_number:
            raise DataError(f"Column {name!r} holds categories and cannot be read as {override!r}; make it numbers first.")
        declared = column.unify_dictionaries().chunk(0).dictionary.drop_null().to_pylist()
        return Category((*dict.fromkeys(declared), *([None] if column.null_count else [])))
    if is_text(kind):
        if as_number:
            first = next((v for v in column.to_pylist() if v is not None), None)
            raise DataError(f"Column {name!r} holds text such as {first!r}; it cannot be read as {override!r}.")
        return _levels(name, column, override is None)
    if not (pa.types.is_boolean(kind) or is_numeric(kind) or pa.types.is_decimal(kind) or pa.types.is_temporal(kind)):
        raise Unmeasurable(f"column {name!r} holds {kind} values, neither numbers, text nor dates", name)
    return _levels(name, column, False) if pa.types.is_boolean(kind) or override == "category" else None


def _several_numbers(column: pa.ChunkedArray) -> tuple[str, int] | None:
    """Return a text, and how many decimal points all have at least, where all have several numbers amid the same signs.

    >>> _several_numbers(pa.chunked_array([["120/80", "98/61"]])), _several_numbers(pa.chunked_array([["12.5-20.5", "007/3"]]))
    (('120/80', 0), None)
    """
    texts = [text for text in column.slice(0, PROBED).drop_null().to_pylist() if text]
    around = {re.sub(NUMBERS, "#", text) for text in texts}
    if len(around) != 1 or (signs := around.pop()).count("#") < 2 or re.search(r"[.#]#|#\.|\d", signs):
        return None
    return texts[0], min(text.count(".") for text in texts)


def _levels(name: str, column: pa.ChunkedArray, may_be_free: bool) -> Category:
    """Return the Category of a column's different values; `may_be_free` leaves identifiers and free text out."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        column = pc.add(column, pa.scalar(0.0, column.type))  # -0.0 and 0.0 are one level
    levels = pc.unique(column)
    distinct, rows = len(levels) - (levels.null_count > 0), len(column) - column.null_count
    if may_be_free and Category.is_free_text(distinct, rows):
        looks, several = "looks like an identifier or free text", _several_numbers(column)
        if several is not None:
            looks = f"holds several numbers in each cell, as in {several[0]!r}, which in columns of their own would be numbers"
        raise Unmeasurable(f"column {name!r} {looks} ({distinct:,} different values in {rows:,} rows)", name, "category")
    return Category.measure([v for v in levels.to_pylist() if v is not None], missing=column.null_count > 0)


# -- numbers and time -----------------------------------------------------------------------------------------------------


def _number(name: str, column: pa.ChunkedArray, override: str | None, discrete: bool, chart: str) -> Kind:
    if pa.types.is_temporal(column.type):
        return _time(column, chart)
    kind, values = column.type, to_numbers(column)
    low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))  # of what is not missing
    if not max(-low, high) <= LARGEST:
        _refuse_absurd(name, values)
    if math.isnan(low):
        return Category((None,))
    if (pa.types.is_integer(kind) or _is_whole_decimal(column)) and max(-low, high, high - low) > EXACT:
        return _beyond_exact(name, column)
    if discrete and override is None and _is_countable(values[~np.isnan(values)]):
        return _levels(name, column, False)
    limits = np.iinfo(kind.to_pandas_dtype()) if pa.types.is_integer(kind) else None
    bounds = (-math.inf, math.inf) if limits is None else (float(limits.min), float(limits.max))
    single = pa.types.is_float32(kind)
    return measure_numbers(name, values, override, bounds, single, chart)


def _is_whole_decimal(column: pa.ChunkedArray) -> bool:
    """Return whether a column is of Arrow's decimals, and all of them are whole numbers."""
    return pa.types.is_decimal(column.type) and bool(pc.all(pc.equal(column, pc.floor(column))).as_py())


def _is_countable(present: np.ndarray) -> bool:
    return np.array_equal(present, np.rint(present)) and len(np.unique(present)) <= COUNTED


def _refuse_absurd(name: str, values: np.ndarray) -> None:
    with np.errstate(invalid="ignore"):
        bad = np.abs(values) > LARGEST
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        fault = "is infinite" if np.isinf(values[row]) else f"is {values[row]:g}, beyond 1e100"
        raise DataError(
            f"Column {name!r} {fault} in row {row} ({int(bad.sum())} such in all); replace such values by missing values, or"
            " leave them out."
        )


def _beyond_exact(name: str, column: pa.ChunkedArray) -> Category:
    distinct: Any = pc.count_distinct(column).as_py()
    if pa.types.is_decimal(column.type):
        raise Unmeasurable(f"column {name!r} holds decimals that are whole numbers beyond 2**53; as text it is kept", name)
    if distinct > 1000 or distinct > 0.5 * len(column):
        raise Unmeasurable(
            f"column {name!r} holds whole numbers beyond 2**53, which floating point cannot tell apart, and looks like an"
            f" identifier ({distinct:,} different values)",
            name,
            "category",
        )
    return _levels(name, column, False)


def _time(column: pa.ChunkedArray, chart: str) -> Time:
    """Return the Time of a column of one of Arrow's types of time."""
    unit, concept = unit_of(column.type)
    ticks = ticks_of(column.drop_null()).to_numpy()
    return Time.measure_ticks(ticks, unit, concept, column.null_count > 0, chart)
