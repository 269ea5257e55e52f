"""Parse the numbers in texts that share a layout, without a loop over rows."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.names import month_numbers

__all__ = ["Scan", "scan"]

BUILDS = 64  # months by their names, each with days of one digit or two
WIDEST = 64  # bytes of a time
MONTHS = month_numbers()


@dataclass(frozen=True)
class Scan:
    """Holds what a pattern's groups match, as numbers.

    Attributes:
        fields: by the name of the group (N,): whole numbers; months from 1, 1 for PM, offsets in seconds, fractions of
            seconds in nanoseconds, a sign as -1 or 1.
        matched: (N,) which texts match.
        digits: the most digits that a fraction of seconds has.
    """

    fields: dict[str, np.ndarray]
    matched: np.ndarray
    digits: int


def scan(pattern: str, texts: pa.Array) -> Scan:
    """Return the groups of a pattern in texts (N,), null ones included, as numbers.

    Texts are read as a matrix of bytes: one that matches the regular expression tells where the digits stand, and all texts of
    the same build are read at once. What is left after so many builds is matched by the regular expression, each text once.
    """
    found, left = _by_places(pattern, texts)
    if len(left):
        encoded = texts.take(pa.array(left)).dictionary_encode()
        each = _by_expression(pattern, encoded.dictionary)
        index = np.asarray(encoded.indices, dtype=np.int64)
        for name, values in each.fields.items():
            found.fields.setdefault(name, np.zeros(len(texts), dtype=np.int64))[left] = values[index]
        found.matched[left] = each.matched[index]
        found = Scan(found.fields, found.matched, max(found.digits, each.digits))
    return found


def _by_expression(pattern: str, texts: pa.Array) -> Scan:
    groups = pc.extract_regex(texts, pattern)
    matched = np.asarray(pc.is_valid(groups))
    fields, digits = {}, 0
    for i in range(groups.type.num_fields):
        name = groups.type.field(i).name
        values = pc.fill_null(pc.if_else(pa.array(matched), pc.struct_field(groups, i), ""), "")
        if name == "f":
            digits = int(pc.max(pc.utf8_length(values)).as_py() or 0)
        fields[name] = _numbers(name, values)
    return Scan(fields, matched, digits)


def _numbers(name: str, values: pa.Array) -> np.ndarray:
    """Return the texts of one group, empty where there is none, as numbers."""
    if name == "a":  # a weekday, which the date tells too
        return np.zeros(len(values), dtype=np.int64)
    if name == "f":
        return _whole(pc.utf8_rpad(values, 9, "0"))
    if name == "b":
        place = pc.fill_null(pc.index_in(pc.utf8_lower(values), pa.array(list(MONTHS), values.type)), 0)
        return np.array([*MONTHS.values()], dtype=np.int64)[np.asarray(place)]
    if name == "p":
        return np.asarray(pc.starts_with(pc.utf8_lower(values), "p")).astype(np.int64)
    if name == "sign":
        return np.where(np.asarray(pc.equal(values, "-")), -1, 1)
    if name == "z":
        return _offsets(values)
    return _whole(pc.utf8_trim_whitespace(values))


def _whole(values: pa.Array) -> np.ndarray:
    plus = pc.replace_substring_regex(values, r"^\+", "")
    return np.asarray(pc.if_else(pc.equal(plus, ""), "0", plus).cast(pa.int64()))


def _offsets(values: pa.Array) -> np.ndarray:
    digits = pc.utf8_rpad(pc.replace_substring_regex(values, r"[^0-9]", ""), 4, "0")
    number = _whole(digits)
    sign = np.where(np.asarray(pc.starts_with(values, "-")), -1, 1)
    return sign * (number // 100 * 3600 + number % 100 * 60)


def _by_places(pattern: str, texts: pa.Array) -> tuple[Scan, np.ndarray]:
    """Return the groups of texts whose digits stand in the places of a few of them, and the rows (M,) that are left."""
    expression, rows = re.compile(pattern), len(texts)
    left = np.flatnonzero(np.asarray(pc.is_valid(texts)))
    places = _bytes(texts)
    fields = {name: np.zeros(rows, dtype=np.int64) for name in expression.groupindex}
    matched, digits = np.zeros(rows, dtype=bool), 0
    for _ in range(BUILDS):
        if places is None or not len(left):
            break
        first = expression.match(texts[int(left[0])].as_py())
        if first is None:  # nor do its copies match
            left = left[(places[:, left] != places[:, left[:1]]).any(0)]
            continue
        alike = _alike(first, places if len(left) == rows else places[:, left])
        own = left[alike.matched]
        for name, values in alike.fields.items():
            fields[name][own] = values[alike.matched]
        matched[own], digits = True, max(digits, alike.digits)
        left = left[~alike.matched]
    return Scan(fields, matched, digits), left


def _bytes(texts: pa.Array) -> np.ndarray | None:
    """Return texts as bytes (width, N), with blanks behind shorter ones; None where that is no character a byte."""
    full = pc.fill_null(texts, "")
    width = pc.max(pc.binary_length(full)).as_py() or 0
    if not 0 < width <= WIDEST:
        return None
    full = pc.utf8_rpad(full, width, " ")
    if (pc.sum(pc.binary_length(full)).as_py() or 0) != width * len(full):
        return None
    start = full.offset * width
    held = np.frombuffer(full.buffers()[2], np.uint8)[start : start + width * len(full)]
    return np.ascontiguousarray(held.reshape(-1, width).T)


def _alike(first: re.Match[str], places: np.ndarray) -> Scan:
    """Return the groups of texts (width, N) that are built as the first, which matches; others do not match."""
    spans = {name: first.span(name) for name, text in first.groupdict().items() if text and text.isdigit()}
    digits = {i for start, end in spans.values() for i in range(start, end)}
    matched = np.ones(places.shape[1], dtype=bool)
    for i in range(len(places)):
        if i not in digits:
            matched &= places[i] == places[i, 0]
    fields: dict[str, np.ndarray] = {}
    for name, text in first.groupdict().items():
        if name not in spans:  # letters and signs are as in the first
            value = _numbers(name, pa.array([text or ""], pa.large_string()))[0]
            fields[name] = np.full(len(matched), value)
            continue
        start, end = spans[name]
        number = np.zeros(len(matched), dtype=np.int64)
        for i in range(start, end):
            digit = places[i] - np.uint8(48)
            matched &= digit <= 9
            number = number * 10 + digit
        fields[name] = number * 10 ** (9 - end + start) if name == "f" else number
    start, end = spans.get("f", (0, 0))
    return Scan(fields, matched, end - start)
