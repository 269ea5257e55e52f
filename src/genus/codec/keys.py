"""Keys: columns that number or name the rows. They have no density, and samples have new ones of the same pattern."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from genus.codec.arrow import is_text, type_of
from genus.codec.notes import Note
from genus.codec.permutation import LARGEST, mix, permute
from genus.codec.rewrites import Rewrite, Ties, place_columns
from genus.errors import DataError

__all__ = ["DIGITS", "LONGEST", "Key", "Range"]

LONGEST = 64  # characters of a key
DIGITS = 18  # of a whole number that fits in 64 bits whatever its digits are

Range = tuple[int, int, int]  # start, stop and step of numbers, as `range` has them


@dataclass(frozen=True)
class Key(Rewrite, name="key"):
    """Leaves a column of keys out of what is modelled, and gives samples new keys of the same pattern.

    Every key of the pattern has a number: a whole number is its own; in a text, the digits between `prefix` and `suffix` are
    it, or the places of its characters in `alphabets`, the last of which counts ones. `unused` are ranges of numbers that no
    key of the data has, so that none can be drawn again; no key itself is kept. Key i of a draw is the number that a
    permutation of them, chosen by the seed, has in place i: all keys of a draw differ, also those of its later parts.

    The rewrite never calls a row broken, and takes tables that lack the column.

    Args:
        column: the name of the column.
        dtype: Arrow's name of its type.
        unused: (start, stop, step) of the unused numbers. Those with a step of 1 are used up one after the other.
        alphabets: the characters that can stand in each place, one character where it is always the same.
        prefix: the characters before the number.
        suffix: the characters after it.
        width: the least number of digits; zeros fill it up.

    >>> key = Key("id", "string", ((101, 100_000, 1),), prefix="C-", width=5)
    >>> key.describe()
    "'id' is a key, and samples have new ones like C-#####"
    >>> key.draw(2, seed=0).tolist(), key.draw(1, seed=0, start=1).tolist()
    (['C-50805', 'C-23572'], ['C-23572'])
    """

    noun: ClassVar[str] = "key"
    invents: ClassVar[bool] = True

    column: str
    dtype: str
    unused: tuple[Range, ...]
    alphabets: tuple[str, ...] = ()
    prefix: str = ""
    suffix: str = ""
    width: int = 0

    def __post_init__(self) -> None:
        texts = (self.column, self.dtype, self.prefix, self.suffix, *self.alphabets)
        sizes = (self.width, *(number for one in self.unused for number in one))
        if not all(isinstance(text, str) for text in texts) or any(type(size) is not int for size in sizes):
            raise DataError("A key consists of texts and whole numbers.")
        most = math.prod(map(len, self.alphabets[self.counted :])) if self.alphabets else LARGEST
        if any(not (0 <= start < stop <= most and step > 0) for start, stop, step in self.unused):
            raise DataError(f"The unused numbers of a key are ranges between 0 and {most}; got {self.unused[:3]}.")
        if any(len(set(alphabet)) != len(alphabet) or not alphabet for alphabet in self.alphabets):
            raise DataError("The alphabets of a key hold every character once.")
        if not 0 <= self.width <= DIGITS or max(len(self.alphabets), len(self.prefix), len(self.suffix)) > LONGEST:
            raise DataError(f"A key has at most {LONGEST} characters, and {DIGITS} digits.")
        type_of(self.dtype)

    # -- a rewrite --------------------------------------------------------------------------------------------------------

    @property
    def reads(self) -> tuple[str, ...]:
        return ()

    def forward(self, table: pa.Table) -> tuple[pa.Table, np.ndarray]:
        kept = table.drop_columns([self.column]) if self.column in table.column_names else table
        return kept, np.zeros(table.num_rows, dtype=bool)

    def backward(self, table: pa.Table, seed: int = 0, start: int = 0) -> pa.Table:
        drawn = pa.array(self.draw(table.num_rows, seed, start)).cast(type_of(self.dtype), safe=False)
        return place_columns(table, [self.column], {self.column: drawn})

    def tie(self, ties: Ties) -> None:
        ties.known.discard(self.column)

    def describe(self) -> str:
        if self.has_text:
            return f"{self.column!r} is a key, and samples have new ones like {self.shape}"
        return f"{self.column!r} is a key, and samples have new ones{f' from {self.unused[0][0]} on' if self.unused else ''}"

    @property
    def declarations(self) -> tuple[str, ...]:
        return ()

    # -- new keys ---------------------------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """Return how many different new keys there are."""
        return sum(len(range(*one)) for one in self.unused)

    @property
    def shape(self) -> str:
        """Return what a key looks like: # stands for a digit, a and A for letters, x for one of several kinds."""
        if self.alphabets:
            return "".join(map(_sign, self.alphabets))
        return f"{self.prefix}{'#' * max(1, self.width)}{self.suffix}"

    @property
    def has_text(self) -> bool:
        """Return whether keys are text, and not whole numbers."""
        return is_text(type_of(self.dtype))

    def check_room(self, n: int) -> None:
        """Raise DataError where there are fewer than n new keys."""
        if n > self.room:
            room = f"The column {self.column!r} has room for {self.room:,} keys that are certainly new"
            left_out = {"kinds": {self.column: "omit"}}
            raise DataError(
                Note(f"{room}, and {n:,} are needed", "draw fewer rows, or fit a model without it by {}.", left_out)
            )

    def draw(self, n: int, seed: int = 0, start: int = 0) -> np.ndarray:
        """Return the keys from `start` on of the draw that a seed chooses, (n,) int64 or text.

        Raises:
            DataError: there are fewer new keys.
        """
        self.check_room(start + n)
        chosen = (seed, *self.column.encode())
        places, numbers, first = np.arange(start, start + n), np.empty(n, dtype=np.int64), 0
        for ranges in self._tiers:
            sizes = [len(range(*one)) for one in ranges]
            size = sum(sizes)
            here = np.flatnonzero((places >= first) & (places < first + size))
            if len(here):
                numbers[here] = _in_ranges(permute(places[here] - first, size, chosen), ranges, sizes)
            first += size
        return self._written(numbers, chosen)

    @property
    def _tiers(self) -> list[list[Range]]:
        """Return the ranges that are used up together, one after the other."""
        stepped = [one for one in self.unused if one[2] != 1]
        return [[one] for one in self.unused if one[2] == 1] + ([stepped] if stepped else [])

    @property
    def counted(self) -> int:
        """Return from which place of the alphabets on the characters make the number: it must fit in 62 bits."""
        at, size = len(self.alphabets), 1
        while at and size * len(self.alphabets[at - 1]) <= LARGEST:
            at, size = at - 1, size * len(self.alphabets[at - 1])
        return at

    def _written(self, numbers: np.ndarray, seed: tuple[int, ...]) -> np.ndarray:
        """Return keys of these numbers; the characters before those that are counted depend on the number and the seed."""
        if not self.has_text:
            return numbers
        if not self.alphabets:
            return np.array([f"{self.prefix}{number:0{self.width}d}{self.suffix}" for number in numbers.tolist()], dtype=str)
        out = np.empty((len(numbers), len(self.alphabets)), dtype="U1")
        salts, rest = np.random.SeedSequence(seed).generate_state(len(self.alphabets), np.uint64), numbers
        for place in reversed(range(len(self.alphabets))):
            letters = np.array(list(self.alphabets[place]))
            if place >= self.counted:
                out[:, place], rest = letters[rest % len(letters)], rest // len(letters)
            else:
                out[:, place] = letters[mix(numbers.astype(np.uint64) ^ salts[place]) % np.uint64(len(letters))]
        return out.view(f"U{len(self.alphabets)}").ravel()


def _sign(alphabet: str) -> str:
    """Return the character that stands for an alphabet in what a key looks like."""
    if len(alphabet) == 1 and not alphabet.isalnum():
        return alphabet
    if alphabet.isdecimal():
        return "#" if len(alphabet) > 1 else alphabet
    if alphabet.isalpha() and len(alphabet) > 1:
        return "a" if alphabet.islower() else "A" if alphabet.isupper() else "x"
    return alphabet if len(alphabet) == 1 else "x"


def _in_ranges(places: np.ndarray, ranges: list[Range], sizes: list[int]) -> np.ndarray:
    """Return the numbers that ranges, one after the other, have in some places, (N,)."""
    ends = np.cumsum(sizes)
    which = np.searchsorted(ends, places, side="right")
    starts, steps = (np.array([one[i] for one in ranges]) for i in (0, 2))
    return starts[which] + steps[which] * (places - (ends[which] - np.array(sizes)[which]))
