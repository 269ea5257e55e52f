"""N-grams, counted as packed whole numbers.

Symbols are codes 1 ... V here, and 0 is what stands before the beginning. The n-gram at a place is written backwards, its
newest symbol first. Sorted that way, all n-grams that end alike lie side by side, whatever their length; so one sort gives
the counts of every length, and what stands to the left of each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["Level", "levels", "packed", "tallied", "unpacked"]


def packed(codes: Tensor, width: int, size: int) -> Tensor:
    """Return the `width` codes that end at every place of codes (B, T), the newest first, packed in words: (B, T, words).

    As many codes as fit go into one whole number of 64 bits. Zeros at the end of the row of words change nothing: they too
    stand for what comes before the beginning.
    """
    bits, each = _layout(size)
    steps = codes.shape[1]
    early = torch.nn.functional.pad(codes, (width - 1, 0))
    words = []
    for first in range(0, width, each):
        word = torch.zeros_like(codes)
        for age in range(first, first + each):
            word <<= bits
            if age < width:
                word += early[:, width - 1 - age : width - 1 - age + steps]
        words.append(word)
    return torch.stack(words, dim=-1)


def unpacked(words: Tensor, age: int, size: int) -> Tensor:
    """Return the code (N,) that is `age` places older than the newest, of words (N, words)."""
    bits, each = _layout(size)
    if age >= words.shape[1] * each:
        return torch.zeros_like(words[:, 0])
    return (words[:, age // each] >> (bits * (each - 1 - age % each))) & ((1 << bits) - 1)


def _layout(size: int) -> tuple[int, int]:
    """Return the bits of a code 0 ... size, and the number of codes that go into one word."""
    bits = max(1, size.bit_length())
    return bits, 63 // bits


def tallied(words: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Sort n-grams (N, words) with counts (N,); return the different n-grams, and the sums of their counts."""
    if not len(words):
        return words, counts
    order = words[:, -1].argsort(stable=True)
    for w in reversed(range(words.shape[1] - 1)):
        order = order[words[order, w].argsort(stable=True)]
    words = words[order]
    begin = _begins((words[1:] != words[:-1]).any(1)).nonzero()[:, 0]
    return words[begin], _sums(counts[order], begin)


def _begins(changed: Tensor) -> Tensor:
    """Return which rows (N,) begin a run, from which rows differ from the row before (N - 1,): the first row does."""
    return torch.cat([changed.new_ones(1), changed])


def _sums(values: Tensor, begin: Tensor) -> Tensor:
    """Return the sums of values (N,) from the beginning of each run up to the next."""
    upto = torch.cat([values.new_zeros(1), values.cumsum(0)])
    return torch.cat([upto[begin[1:]], upto[-1:]]) - upto[begin]


@dataclass(frozen=True)
class Level:
    """List the strings of one length, in the order of their reversals, by which they are numbered."""

    count: Tensor  # how often each was seen
    left: Tensor  # how many different codes were seen on its left; how often it was seen where it begins a sequence
    suffix: Tensor  # the string without its oldest code, one level below
    context: Tensor  # the string without its newest code, one level below
    oldest: Tensor
    newest: Tensor


def levels(words: Tensor, counts: Tensor, size: int, order: int, begins: bool) -> list[Level]:
    """Return the strings of every length from 1 up to order + 1, or up to the longest length that occurs.

    Args:
        words, counts: `tallied` n-grams, (N, words) and (N,).
        size: V.
        order: symbols in the longest context.
        begins: whether strings that start with what is before the beginning are strings too; on the left they always count.

    Raises:
        ValueError: the n-grams are not those of any sequences.
    """
    newest = oldest = unpacked(words, 0, size)
    if not bool(((newest >= 1) & (newest <= size)).all()):
        raise ValueError(f"its n-grams hold other symbols than the {size:,} there are")
    codes = torch.arange(size + 1, device=words.device)
    count = torch.zeros_like(codes).index_add_(0, newest, counts)
    strings = [Level(count, count, torch.zeros_like(codes), torch.zeros_like(codes), codes, codes)]
    node = newest  # the string of the length reached that each n-gram ends with
    new = _begins(newest[1:] != newest[:-1])
    going = torch.ones_like(new)  # n-grams that are longer than this
    for depth in range(1, order + 1):
        below = strings[-1]
        going &= oldest != 0
        oldest = unpacked(words, depth, size)
        new |= _begins(oldest[1:] != oldest[:-1])
        begin = (new & going).nonzero()[:, 0]
        left = torch.bincount(node[begin], minlength=len(below.count))
        strings[-1] = replace(below, left=left if depth == 1 else torch.where(below.oldest == 0, below.count, left))
        kept = new & going if begins else new & going & (oldest != 0)
        begin = kept.nonzero()[:, 0]
        if not len(begin):
            break
        # Rows that go no further count nothing, so a sum may run over them up to the next beginning.
        mine = going if begins else going & (oldest != 0)
        suffix, old = node[begin], oldest[begin]
        context = old if depth == 1 else _context(below, suffix, old, size)
        strings.append(Level(_sums(counts * mine, begin), left[:0], suffix, context, old, newest[begin]))
        node = kept.cumsum(0) - 1
    return strings


def _context(below: Level, suffix: Tensor, oldest: Tensor, size: int) -> Tensor:
    """Return the number of each string without its newest symbol: its suffix's context, preceded by its own oldest symbol."""
    keys = below.suffix * (size + 1) + below.oldest
    key = below.context[suffix] * (size + 1) + oldest
    number = torch.searchsorted(keys, key).clamp(max=len(keys) - 1)
    if not torch.equal(keys[number], key):
        raise ValueError("its n-grams are not those of any sequences")
    return number
