"""Measure the pattern of a column of keys from its values: their alphabets, and the numbers that no key uses yet."""

from __future__ import annotations

import math
import string

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.arrow import is_text, type_name
from genus.codec.keys import DIGITS, LONGEST, Key, Range
from genus.codec.permutation import LARGEST
from genus.errors import DataError

__all__ = ["FEWEST", "measure_key"]

FEWEST = 50  # rows, in which every key differs
PROBED = 1000  # rows that show most columns to be no keys
MOSTLY = 0.9  # of the texts are as long, where some have a letter more
MOST = 1024  # residues that are kept
WANTED = 1_000_000  # new keys that there should be room for, where the pattern allows
LOWER, UPPER = string.ascii_lowercase, string.ascii_uppercase
LETTERS = (LOWER, UPPER, UPPER + LOWER)
MIXED = ("0123456789abcdef", "0123456789ABCDEF", *(string.digits + letters for letters in LETTERS))
UUID = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$"


def measure_key(name: str, column: pa.ChunkedArray, declared: bool = False) -> Key | None:
    """Return the `Key` that a column is; None where it is none.

    Whole numbers are keys where they fill a run, from the least to the greatest; texts where they have one pattern with a
    digit: the same characters around one number, or as many characters in all, with signs in the same places. Keys differ in
    each of at least 50 rows.

    Args:
        name: of the column.
        column: (N,) of whole numbers or text.
        declared: someone said that it is a key: few rows, numbers with holes between them and patterns of letters will do.

    Raises:
        DataError: a column that was declared to be a key holds a value twice, a missing one, or nothing like a pattern.

    >>> measure_key("id", pa.chunked_array([range(1001, 1401)])).describe()
    "'id' is a key, and samples have new ones from 1401 on"
    """
    try:
        return _measured(name, column, declared)
    except _NotAKey as reason:
        if not declared:
            return None
        raise DataError(f"Column {name!r} cannot be a key: {reason}.") from None


class _NotAKey(Exception):
    """Say why a column is no key."""


def _measured(name: str, column: pa.ChunkedArray, declared: bool) -> Key:
    if pa.types.is_dictionary(column.type) and not column.type.ordered:
        column = column.cast(column.type.value_type)
    kind, rows = column.type, len(column)
    if not (is_text(kind) or pa.types.is_integer(kind) or (declared and pa.types.is_floating(kind))):
        raise _NotAKey(f"its values are of type {kind}, neither whole numbers nor text")
    if column.null_count or rows < (1 if declared else FEWEST):
        raise _NotAKey(f"{column.null_count} of its {rows} values are missing")
    if is_text(kind):
        return _text_key(name, column, declared)
    numbers = _whole_numbers(column)
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high >= LARGEST:
        raise _NotAKey(f"its numbers go from {low} to {high}; expected numbers of 0 or more, below 2**62")
    if not declared and high - low + 1 != rows:
        raise _NotAKey("its numbers fill no run")
    _check_distinct(column, numbers)
    limit = min(LARGEST, int(np.iinfo(kind.to_pandas_dtype()).max) + 1) if pa.types.is_integer(kind) else 2**53
    digits = len(str(high))
    return Key(name, type_name(kind), _unused(numbers, min(low, 10 ** (digits - 1)), 10**digits, limit))


def _whole_numbers(column: pa.ChunkedArray) -> np.ndarray:
    try:
        return column.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        raise _NotAKey("its numbers are not whole, or beyond 2**62") from None


def _check_distinct(column: pa.ChunkedArray, numbers: np.ndarray) -> None:
    """Raise where a value stands in two rows; where numbers of the values differ, so do the values."""
    ordered = np.sort(numbers)
    if (ordered[1:] == ordered[:-1]).any():
        counts = pc.value_counts(column)
        most = counts[int(np.argmax(counts.field("counts")))]
        if most["counts"].as_py() > 1:
            raise _NotAKey(f"{most['values'].as_py()!r} stands in {most['counts'].as_py()} rows")


def _text_key(name: str, column: pa.ChunkedArray, declared: bool) -> Key:
    if len(column) > 4 * PROBED:
        _text_key(name, column.slice(0, PROBED), declared)  # most texts without a pattern show it here
    shortest, longest = _ends(column)
    if not 0 < shortest <= longest <= LONGEST:
        raise _NotAKey(f"its texts are empty, or longer than {LONGEST} characters")
    if not declared and pc.count_distinct(column.slice(0, PROBED)).as_py() < min(PROBED, len(column)):
        raise _NotAKey("a value stands in several rows")
    dtype, fixed = type_name(column.type), shortest == longest
    if numbered := _numbered(column):
        prefix, suffix, width, digits, numbers = numbered
        _check_distinct(column, numbers)
        least = 10 ** (digits - 1) if fixed and numbers.min() >= 10 ** (digits - 1) else 0 if fixed else int(numbers.min())
        unused = _unused(numbers, least, 10**digits, 10**digits if fixed else 10**DIGITS)
        return Key(name, dtype, unused, (), prefix, suffix, width)
    if not fixed and (most := _most_alike(column)) is not None:
        return _text_key(name, most, declared)
    if not fixed or not pc.all(pc.string_is_ascii(column)).as_py():
        raise _NotAKey("its texts have no common pattern")
    codes = _codes(column, longest)
    alphabets = _widened(_alphabets(codes, _are_uuids(column, longest)))
    if not declared and not any("0" in alphabet and len(alphabet) > 1 for alphabet in alphabets):
        raise _NotAKey("its texts have no digits")
    numbers, size = np.zeros(len(column), dtype=np.int64), 1
    for place in range(Key(name, dtype, (), alphabets).counted, longest):
        index = np.zeros(128, dtype=np.int64)
        index[[*alphabets[place].encode()]] = np.arange(len(alphabets[place]))
        numbers, size = numbers * len(alphabets[place]) + index[codes[:, place]], size * len(alphabets[place])
    _check_distinct(column, numbers)
    return Key(name, dtype, _unused(numbers, 0, size, size), alphabets)


def _most_alike(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return the texts of the most frequent length, where few are shorter or longer, and no text stands twice; else None."""
    lengths = np.asarray(pc.utf8_length(column))
    usual = int(np.bincount(lengths).argmax())
    if (lengths == usual).mean() < MOSTLY or pc.count_distinct(column).as_py() < len(column):
        return None
    return column.filter(pa.chunked_array([lengths == usual]))


def _ends(column: pa.ChunkedArray) -> tuple[int, int]:
    """Return the least and the greatest number of characters of texts."""
    ends = pc.min_max(pc.utf8_length(column)).as_py()
    return ends["min"], ends["max"]


def _are_uuids(column: pa.ChunkedArray, length: int) -> bool:
    return length == 36 and bool(pc.all(pc.match_substring_regex(column, UUID)).as_py())


def _codes(column: pa.ChunkedArray, length: int) -> np.ndarray:
    """Return the ASCII codes of texts of one length, (N, length) uint8."""
    texts = pa.concat_arrays(column.cast(pa.large_string()).chunks)
    _, offsets, data = texts.buffers()
    start = int(np.frombuffer(offsets, np.int64)[texts.offset])
    return np.frombuffer(data, np.uint8)[start : start + len(texts) * length].reshape(-1, length)


def _numbered(column: pa.ChunkedArray) -> tuple[str, str, int, int, np.ndarray] | None:
    """Return what stands before and after the numbers in texts, the digits of the shortest and the longest, and the numbers.

    None where texts are no numbers between the same characters, written in one width or without zeros before them.
    """
    prefix = _beginning(column)
    suffix = _beginning(pc.utf8_reverse(pc.utf8_slice_codeunits(column, len(prefix))))[::-1]
    middle = pc.utf8_slice_codeunits(column, len(prefix), -len(suffix) or None)
    shortest, longest = _ends(middle)
    if longest > DIGITS or not pc.all(pc.and_(pc.utf8_is_decimal(middle), pc.string_is_ascii(middle))).as_py():
        return None
    padded = pc.and_(pc.starts_with(middle, "0"), pc.greater(pc.utf8_length(middle), shortest))
    if shortest < longest and pc.any(padded).as_py():
        return None
    return prefix, suffix, shortest, longest, middle.cast(pa.int64()).to_numpy()


def _beginning(column: pa.ChunkedArray) -> str:
    """Return what all texts begin with, up to the last of its characters that is no digit."""
    low, high = pc.min_max(column).as_py().values()
    same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return low[:same].rstrip(string.digits)


def _alphabets(codes: np.ndarray, uuid: bool) -> tuple[str, ...]:
    """Return the characters that can stand in each place of texts of one length, (N, length) of their codes.

    Neighbouring places, in one of which digits and letters mix, share an alphabet, such as the hexadecimal digits.
    """
    counts = (np.bincount(codes[:, place], minlength=128) for place in range(codes.shape[1]))
    seen = [frozenset(map(chr, np.flatnonzero(count).tolist())) for count in counts]
    out: list[str] = []
    while len(out) < len(seen):
        start = end = len(out)
        while end < len(seen) and len(seen[end]) > 1:
            end += 1
        places = seen[start : max(end, start + 1)]
        shared = frozenset().union(*places) if any(map(_is_mixed, places)) else None
        out += [_alphabet(shared or chars) for chars in places]
    if uuid:
        out[19] = next(alphabet for alphabet in ("89ab", "89AB", "89abAB") if seen[19] <= {*alphabet})
    return tuple(out)


def _widened(alphabets: tuple[str, ...]) -> tuple[str, ...]:
    """Return alphabets with room for enough keys: a counter of which only the last places moved so far moves in others too."""
    out = list(alphabets)
    for place in reversed(range(len(out) - 1)):
        if math.prod(map(len, out)) >= WANTED:
            break
        if len(out[place]) == 1 and out[place].isalnum() and out[place] in out[place + 1]:
            out[place] = out[place + 1]
    return tuple(out)


def _is_mixed(chars: frozenset[str]) -> bool:
    """Return whether characters are of several kinds: digits, letters, signs."""
    return len({(char.isdecimal(), char.isalpha()) for char in chars}) > 1


def _alphabet(chars: frozenset[str]) -> str:
    """Return the smallest usual alphabet that holds the characters; signs are added as they are."""
    if len(chars) == 1:
        return next(iter(chars))
    plain = {char for char in chars if char.isascii() and char.isalnum()}
    if not plain:
        return "".join(sorted(chars))
    usual = MIXED if _is_mixed(frozenset(plain)) else (string.digits, *LETTERS)
    return next(alphabet for alphabet in usual if plain <= {*alphabet}) + "".join(sorted(chars - plain))


# -- numbers that no key has ------------------------------------------------------------------------------------------------


def _unused(numbers: np.ndarray, least: int, stop: int, limit: int) -> tuple[Range, ...]:
    """Return ranges of numbers that none of these is: beyond a run, or residue classes of a prime between holes.

    Args:
        numbers: (N,) int64 of the keys.
        least: the least number that looks like them.
        stop: the first number that does not.
        limit: up to here, numbers with more digits will do where the others are used up.
    """
    low, high = int(numbers.min()), int(numbers.max())
    ranges = [(high + 1, min(stop, limit), 1)]
    for power in range(len(str(stop)) - 1, len(str(limit))) if stop < limit else ():
        ranges.append((10**power, min(10 ** (power + 1), limit), 1))
    beyond = tuple((start, end, 1) for start, end, _ in (*ranges, (least, low, 1)) if start < end)
    run = high - low + 1 <= 1.2 * len(numbers)
    if run and _room(beyond) >= len(numbers):
        return beyond
    return max(beyond if run else (), _residues(numbers, least, min(stop, limit)), key=_room)


def _room(ranges: tuple[Range, ...]) -> int:
    return sum(len(range(*one)) for one in ranges)


def _residues(numbers: np.ndarray, least: int, stop: int) -> tuple[Range, ...]:
    """Return residue classes modulo a prime that hold none of the numbers: those of the least prime that leaves enough room.

    A class says of each of the many numbers in it that it is no key, and next to nothing about which numbers are.
    """
    best, room = np.zeros(0, dtype=np.int64), 0
    modulus = best_modulus = 1
    while modulus <= min(8 * len(numbers), stop - least) and room < max(WANTED, 100 * len(numbers)):
        modulus = next(n for n in range(2 * modulus, 4 * modulus + 2) if all(n % d for d in range(2, math.isqrt(n) + 1)))
        empty = np.flatnonzero(np.bincount(numbers % modulus, minlength=modulus) == 0)[:MOST]
        if len(empty) * ((stop - least) // modulus) > room:
            best, best_modulus, room = empty, modulus, len(empty) * ((stop - least) // modulus)
    starts = (least + (residue - least) % best_modulus for residue in best.tolist())
    return tuple((start, stop, best_modulus) for start in starts if start < stop)
