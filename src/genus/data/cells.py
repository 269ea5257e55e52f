"""Type a column of texts: which of them mean missing, and whether the others are numbers, shares or amounts."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.arrow import ALWAYS, ends_of
from genus.codec.digits import words_of
from genus.codec.notes import Note
from genus.data.amounts import AMOUNT, read_amounts
from genus.errors import DataError
from genus.kinds import Category, Lattice, Real
from genus.kinds.steps import EXACT

__all__ = ["MISSING", "NONE", "NUMBER", "PADDED", "SOMETIMES", "WHOLE", "beyond_exact", "is_category", "is_whole",
           "loses_versions", "may_be_versions", "missing_words", "typed_text"]  # fmt: skip

# Missing too, but in a column of text a person is told, since they may be a level.
SOMETIMES = ("-", "--", "---", ".", "..", "—", "–", "na", "missing", "Missing", "MISSING")
NONE = ("None", "none", "NONE")  # a level of text, which a person is asked about; missing among numbers
MISSING = (*ALWAYS, *SOMETIMES, *NONE)
NUMBER = r"^\s*[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?\s*$"
WHOLE = r"^\s*[-+]?\d+\s*$"
PLAIN = r"^(0|-?[1-9]\d{0,17})$"  # a whole number that is written as it would be again
TRUTH = r"^([Tt]rue|[Ff]alse|TRUE|FALSE)$"
PADDED = r"^\s*([-+]?0\d+|\+\d{7,})\s*$"  # a whole number that would lose its zeros, or the plus of a telephone number
COMMA = r"^[-+]?\d+(,\d+)?([eE][-+]?\d+)?$"  # a number with a decimal comma, or with none
THOUSANDS = r"^[-+]?(\d{1,3}|[1-9]\d{0,2},\d{3})$"  # what could as well be 1,500 for fifteen hundred
GROUPED = {  # what marks thousands, and the pattern of numbers in which it does so beyond doubt for some of them
    ",": (r"^[-+]?\d{1,3}(,\d{3})*(\.\d+)?$", r",\d{3}[.,]"),
    ".": (r"^[-+]?\d{1,3}(\.\d{3})*(,\d+)?$", r"\.\d{3}[.,]"),
}
VERSION = r"^\d{1,2}\.(0|[1-9]\d?)$"  # such as 3.9 and 3.10, which as numbers would be 3.9 and 3.1
CODE = r"^([A-Za-z]{1,4}[-_/]?\d{2,}|\d{2,}[-_/]?[A-Za-z]{1,2})$"  # a number with a few letters before or behind it
IDS = {"id", "ids", "key", "code", "codes", "no", "nr", "num", "number", "invoice", "order", "ticket", "ref", "reference",
       "sku", "serial", "account", "room", "flight", "bus", "line", "route"}  # fmt: skip
OPEN_ENDED = r"^([<>≤≥]=?\s?\d+([.,]\d+)?|\d+([.,]\d+)?\s?\+|\d+ (and|or) (more|over|older|above|less|under|fewer|younger))$"
LEVELS = 128  # different texts, at most, of numbers of which some are open to one side
MANY = 20  # different numbers, all with three digits after a comma: those of decimals would not all have three
MOSTLY = 0.9
GLANCE = 1000  # rows that nearly always tell
FEW = 3  # different whole numbers beside 1,500: of three decimals they would be as rare as 1 in 1000
NUMERIC = ("real", "lattice")


def missing_words(more: Iterable[Any]) -> list[str]:
    """Return the texts that mean missing where a column otherwise holds numbers, dates or booleans, also beside blanks."""
    return sorted({text for m in (*MISSING, *map(str, more)) for text in (m, f" {m}", f"{m} ")})


def is_whole(column: pa.ChunkedArray) -> bool:
    """Return whether all numbers of a column are whole."""
    return pa.types.is_integer(column.type) or bool(pc.all(pc.equal(column, pc.round(column))).as_py())


def beyond_exact(column: pa.ChunkedArray) -> bool:
    """Return whether a column holds doubles that may have been other whole numbers in the text."""
    return pa.types.is_floating(column.type) and bool(np.abs(ends_of(column)).max() > EXACT)


def loses_versions(texts: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether texts are numbers of two digits at most behind the point, of which two are equal, as 1.1 and 1.10 are."""
    different = pc.unique(texts.filter(pc.fill_null(pc.match_substring_regex(texts, VERSION), False)))
    return pc.count_distinct(different.cast(pa.float64())).as_py() < len(different)


def may_be_versions(column: pa.ChunkedArray) -> bool:
    """Return whether all doubles of a column look like 3.9 and 3.10: from 0 to below 100, and none like 3.05."""
    if not pa.types.is_floating(column.type):
        return False
    low, high = ends_of(column)
    if not 0 <= low <= high < 100:
        return False
    for part in (column.slice(0, GLANCE), column):
        values = np.asarray(part.drop_null())
        cents = np.rint(values * 100)
        if ((cents / 100 != values) | ((cents % 100 < 10) & (cents % 10 > 0))).any():
            return False
    return True


def is_category(kind: Any) -> bool:
    """Return whether a kind, or its name, is one of levels."""
    return isinstance(kind, Category) or kind == "category"


def _is_numeric(kind: Any) -> bool:
    return isinstance(kind, Real | Lattice) or kind in NUMERIC


@dataclass(frozen=True)
class _Texts:
    """Holds the different texts of a column without the blanks around them, null where they mean missing.

    Args:
        original: the column.
        encoded: the column, every chunk with the same dictionary.
        texts: (M,) that dictionary.
        values: (M,) its texts, trimmed; null where missing.
    """

    original: pa.ChunkedArray
    encoded: pa.ChunkedArray
    texts: pa.Array
    values: pa.Array

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> _Texts:
        encoded = column.dictionary_encode().unify_dictionaries()
        texts = encoded.chunk(0).dictionary if encoded.num_chunks else pa.array([], pa.string())
        return cls(column, encoded, texts, pc.utf8_trim_whitespace(texts))

    @cached_property
    def counts(self) -> np.ndarray:
        """Return how many rows hold each text, (M,)."""
        counts = np.zeros(len(self.values), dtype=np.int64)
        for chunk in self.encoded.chunks:
            counts += np.bincount(chunk.indices.drop_null().to_numpy(), minlength=len(counts))
        return counts

    def rows(self, mask: Any) -> int:
        """Return how many rows hold the texts of a mask (M,), null counting as no."""
        return int(self.counts[np.asarray(pc.fill_null(mask, False))].sum())

    def without(self, words: Collection[str]) -> _Texts:
        """Return the texts with null in place of these words."""
        hit = pc.is_in(self.values, value_set=pa.array(sorted(words), pa.string()))
        return replace(self, values=pc.if_else(hit, pa.scalar(None, pa.string()), self.values))

    def among(self, words: Collection[str]) -> list[str]:
        """Return which of these words occur, in the order of the data."""
        return self.values.filter(pc.is_in(self.values, value_set=pa.array(sorted(words)))).unique().to_pylist()

    def all(self, pattern: str) -> bool:
        """Return whether there is a text, and every one matches a pattern."""
        return self.present > 0 and bool(pc.all(pc.match_substring_regex(self.values, pattern)).as_py())

    def count(self, pattern: str) -> int:
        """Return how many different texts match a pattern."""
        return int(pc.sum(pc.fill_null(pc.match_substring_regex(self.values, pattern), False)).as_py() or 0)

    def any(self, pattern: str) -> bool:
        """Return whether some text matches a pattern."""
        return bool(pc.any(pc.match_substring_regex(self.values, pattern)).as_py())

    @property
    def present(self) -> int:
        """Return the number of different texts that are not missing."""
        return len(self.values) - self.values.null_count

    def column(self, values: pa.Array | None = None) -> pa.ChunkedArray:
        """Return the column with these values (M,) for its different texts; by default the texts."""
        if values is None and self.values.equals(self.texts):
            return self.original
        values = self.values if values is None else values
        return pa.chunked_array([values.take(chunk.indices) for chunk in self.encoded.chunks], values.type)


def typed_text(
    name: str, column: pa.ChunkedArray, kind: Any, decimal: bool, notes: list[str], more: Iterable[Any] = ()
) -> pa.ChunkedArray:
    """Return a column of text without the blanks around its values; as numbers where every value is a number.

    Args:
        name: of the column.
        column: of text.
        kind: of the column, where the caller of `read` gave it or a space has it; else None.
        decimal: a comma is a decimal comma, even where it may mark thousands.
        notes: a list to which notes are added.
        more: texts that mean missing in any column.

    Raises:
        DataError: a few texts in a column of numbers.
    """
    levels = {*kind.levels} if isinstance(kind, Category) else set()
    texts = _Texts.of(column).without({*ALWAYS, *map(str, more)} - levels)
    if is_category(kind):
        known = isinstance(kind, Category)
        texts = texts.without({*SOMETIMES} - levels) if known else texts
        plain = texts.all(PLAIN) and not any(isinstance(level, str) for level in levels)
        _note_merged(name, texts, notes)
        return texts.column(texts.values.cast(pa.int64())) if plain else texts.column()
    bare = texts.without({*SOMETIMES, *NONE})
    numbers = _as_numbers(name, bare, kind, decimal, notes)
    if numbers is not None:
        return bare.column(numbers)
    if bare.all(TRUTH):  # as text, so that samples are written alike, unless Arrow writes them so by itself
        return bare.column(pc.equal(bare.values, "true") if bare.all("^[tf]") else None)
    if not _are_ids(name, bare) and not (bare.present <= LEVELS and _are_open_ended(bare)):
        _refuse_mostly_numbers(name, bare, column, kind)
    return _as_levels(name, texts, notes)


def _as_numbers(name: str, texts: _Texts, kind: Any, decimal: bool, notes: list[str]) -> pa.Array | None:
    """Return the numbers that texts stand for; None where they are to stay text."""
    numeric = _is_numeric(kind)
    if texts.all(NUMBER):
        if not texts.all(WHOLE):
            if not numeric and _are_versions(name, texts, notes):
                return None
            _note_plus(name, texts, notes)
            return _floats(texts.values)
        if not numeric and texts.any(PADDED):
            reason = f"column {name!r} has leading zeros and is read as text, which keeps them"
            if not texts.any(r"^[-+]?0\d"):
                reason = f"column {name!r} has a plus before its digits and is read as text, which keeps it"
            notes.append(Note(reason, "{} takes it for numbers", {"kinds": {name: "lattice"}}, name))
            return None
        _note_plus(name, texts, notes)
        try:
            return pc.replace_substring_regex(texts.values, r"^\+", "").cast(pa.int64())
        except pa.ArrowInvalid:
            if numeric:
                return _floats(texts.values)
            notes.append(Note(f"column {name!r} is read as text, since its whole numbers have more than 64 bits"))
            return None
    if texts.all(r"[.,]|^[-+]?\d+$") and texts.any(","):
        return _with_commas(name, texts, decimal, numeric, notes)
    return _amounts(name, texts, decimal, numeric, notes)


def _note_plus(name: str, texts: _Texts, notes: list[str]) -> None:
    """Add a note where numbers have a plus, which samples will not have."""
    if texts.any(r"^\+"):
        notes.append(Note(f"column {name!r} has a plus before its numbers, and samples of it have none", column=name))


def _are_versions(name: str, texts: _Texts, notes: list[str]) -> bool:
    """Return whether texts are versions such as 3.9 and 3.10: as numbers, 3.1 and 3.10 would be the same."""
    if not texts.any(r"\.[1-9]0$") or not texts.all(VERSION):
        return False
    if loses_versions(texts.values):
        reason = f"column {name!r} has 1.1 beside 1.10, say, as versions have, and is read as text, which keeps both"
        notes.append(Note(reason, "{} takes it for numbers", {"kinds": {name: "real"}}, name))
        return True
    if texts.present > 50:
        return False
    parts = [text.split(".") for text in texts.values.drop_null().to_pylist()]
    counted = {first for first, second in parts if len(second) == 1 and second != "0"}
    if not any(first in counted and len(second) == 2 and second[1] == "0" for first, second in parts):
        return False
    reason = f"column {name!r} has 10 after 9 behind its points, as versions have, and is read as text, which keeps it"
    notes.append(Note(reason, "{} takes it for numbers", {"kinds": {name: "real"}}, name))
    return True


def _with_commas(name: str, texts: _Texts, decimal: bool, numeric: bool, notes: list[str]) -> pa.Array | None:
    """Return the numbers of texts whose commas are decimal or mark thousands; None where they are to stay text."""
    for mark, (pattern, beyond_doubt) in GROUPED.items():
        many = mark == "," and not (decimal or numeric) and texts.present >= MANY and texts.all(r"^[-+]?[1-9]\d{0,2},\d{3}$")
        told = texts.any(beyond_doubt) or (mark == "," and not decimal and texts.all(THOUSANDS) and texts.count(WHOLE) >= FEW)
        if texts.all(pattern) and (told or many):
            reason = f"column {name!r} has marks of thousands, and samples of it have none"
            remedy, option = ("", None) if told else ("{} takes them for decimal commas", {"kinds": {name: "real"}})
            notes.append(Note(reason, remedy, option, name))
            plain = pc.replace_substring(pc.replace_substring(texts.values, mark, ""), ",", ".")
            whole = pc.all(pc.match_substring_regex(plain, r"^[-+]?\d{1,18}$")).as_py()  # which 64 bits hold
            return pc.replace_substring_regex(plain, r"^\+", "").cast(pa.int64()) if whole else _floats(plain)
    if texts.all(COMMA):
        if decimal or numeric or not texts.all(THOUSANDS):
            notes.append(Note(f"column {name!r} has decimal commas, and samples of it have points"))
            return _floats(pc.replace_substring(texts.values, ",", "."))
        reason = f"column {name!r} is read as text, since its commas may be decimal or mark thousands"
        notes.append(Note(reason, "{} takes them for decimal ones", {"kinds": {name: "real"}}, name))
        return None
    return _amounts(name, texts, decimal, numeric, notes)


def _floats(texts: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(texts, r"^\+", "").cast(pa.float64())


def _amounts(name: str, texts: _Texts, decimal: bool, numeric: bool, notes: list[str]) -> pa.Array | None:
    """Return the numbers of texts such as 45 %, $3.50 or 12 kg, where all have the same unit, as `read_amounts`; else None."""
    if not texts.all(AMOUNT):
        return None
    read = read_amounts(texts.values.drop_null().to_pylist(), decimal, numeric)
    if read is None:
        return None
    notes += [Note(f"column {name!r} has {said}", column=name) for said in read.notes]
    numbers = iter(read.numbers)
    return pa.array([next(numbers) if valid else None for valid in pc.is_valid(texts.values).to_pylist()])


def _are_ids(name: str, texts: _Texts) -> bool:
    """Return whether whole numbers are ids since the texts beside them are, digits with a few letters: 536365 and C536379.

    The column is called as ids are; or its values differ, nearly all numbers have as many digits, and the others as many
    signs or more.
    """
    known = texts.values.drop_null()
    whole = pc.match_substring_regex(known, r"^\d+$")
    codes, numbers = known.filter(pc.invert(whole)), known.filter(whole)
    if not (0 < len(codes) < len(numbers)) or not pc.all(pc.match_substring_regex(codes, CODE)).as_py():
        return False
    widths = np.asarray(pc.utf8_length(numbers))
    usual = int(np.bincount(widths).argmax())
    alike = (widths == usual).mean() >= MOSTLY and pc.min(pc.utf8_length(codes)).as_py() >= usual
    differ = alike and texts.present == texts.rows(pc.is_valid(texts.values))
    return bool(words_of(name) & IDS) or bool(differ)


def _are_open_ended(texts: _Texts) -> bool:
    """Return whether the texts beside numbers are such as 90+, <5 and "12 or more": the column is one of levels."""
    known = texts.values.drop_null()
    others = known.filter(pc.invert(pc.match_substring_regex(known, NUMBER)))
    return len(others) > 0 and bool(pc.all(pc.match_substring_regex(others, OPEN_ENDED)).as_py())


def _refuse_mostly_numbers(name: str, texts: _Texts, column: pa.ChunkedArray, kind: Any) -> None:
    """Raise DataError where nine texts in ten are numbers and the others are not."""
    number = pc.match_substring_regex(texts.values, NUMBER)
    count, present = texts.rows(number), texts.rows(pc.is_valid(texts.values))
    if not (count >= 0.9 * present and 1 < count < present):
        return
    others = texts.texts.filter(pc.fill_null(pc.invert(number), False))
    rows = pc.indices_nonzero(pc.is_in(column, value_set=others)).slice(0, 3).to_pylist()
    shown = ", ".join(f"{column[row].as_py().strip()!r} in row {row}" for row in rows)
    keep = f", or keep all as text with kinds={{{name!r}: 'category'}}" if kind is None else ""
    raise DataError(
        f"Column {name!r} holds {count:,} numbers but also {present - count:,} other texts ({shown}); correct them, name the"
        f" text that means missing in missing={keep}."
    )


def _as_levels(name: str, texts: _Texts, notes: list[str]) -> pa.ChunkedArray:
    """Return a column of text in which words that may be levels are missing, or stay, with a note that says so."""
    number = pc.match_substring_regex(texts.values, NUMBER)
    count, present = texts.rows(number), texts.rows(pc.is_valid(texts.values))
    if 0.5 * present < count < present:
        reason = f"column {name!r} holds {count:,} numbers but also {present - count:,} other texts, and is read as text"
        others = texts.values.filter(pc.fill_null(pc.invert(number), False)).unique().to_pylist()
        word = len(others) == 1 and others[0].replace(" ", "").isalpha()
        remedy = ("{} takes " + repr(others[0]) + " for missing", {"missing": others}, name) if word else ()
        notes.append(Note(reason, *remedy))
    signs = texts.among({"+", "-"})
    words = [word for word in texts.among(SOMETIMES) if not (word == "-" and len(signs) == 2)]
    if texts.without({*SOMETIMES, *NONE}).all(r"\d"):  # codes or dates, of which none is called None
        words += texts.among(NONE)
    for word in words:
        reason = f"column {name!r} holds {word!r}, which is taken for missing"
        notes.append(Note(reason, "{} keeps it as a level", {"kinds": {name: "category"}}, name))
    for word in texts.without(words).among(NONE):
        reason = f"column {name!r} holds {word!r}, which is taken for a level"
        notes.append(Note(reason, "{} takes it for missing", {"missing": [word]}, name))
    _note_merged(name, texts.without(words), notes)
    return texts.without(words).column()


def _note_merged(name: str, texts: _Texts, notes: list[str]) -> None:
    """Add a note where texts that differ only in the blanks around them become one level."""
    bare = texts.values.drop_null()
    if pc.count_distinct(bare).as_py() == len(bare):
        return
    first = next(entry["values"] for entry in pc.value_counts(bare).to_pylist() if entry["counts"] > 1)
    one, other = texts.texts.filter(pc.fill_null(pc.equal(texts.values, first), False)).slice(0, 2).to_pylist()
    reason = f"column {name!r} holds {one!r} and {other!r}, and texts that differ in blanks around them are one level"
    notes.append(Note(reason, column=name))
