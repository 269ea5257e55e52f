"""A seeded permutation of the whole numbers below any size, one at a time: which number stands in place i."""

from __future__ import annotations

import numpy as np

__all__ = ["GOLDEN", "mix", "permute"]

ROUNDS = 6
GOLDEN = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio, by which SplitMix64 counts
LARGEST = 2**62  # sizes up to here have indices that are int64, with room for the cycle walk


def permute(places: np.ndarray, size: int, seed: tuple[int, ...]) -> np.ndarray:
    """Return the numbers that a random permutation of 0 ... size - 1 has in some places.

    A Feistel network permutes the numbers of an even count of bits; numbers that come out at `size` or above are put through it
    again until they do not (cycle walking), which makes it a permutation of the size. Nothing is stored, so streams can ask for
    any places in any order.

    Args:
        places: (N,) int64, from 0 to size - 1.
        size: at most 2**62.
        seed: whole numbers of 0 or more that choose the permutation.

    Returns:
        (N,) int64, each different where the places are.

    Black and Rogaway, "Ciphers with arbitrary finite domains", 2002.

    >>> sorted(permute(np.arange(10), 10, (0,)).tolist()) == list(range(10))
    True
    """
    if not 0 < size <= LARGEST:
        raise ValueError(f"a permutation needs a size from 1 to 2**62; got {size}")
    half = np.uint64(max(1, -(-(size - 1).bit_length() // 2)))
    keys = np.random.SeedSequence(seed).generate_state(ROUNDS, np.uint64)
    out = _feistel(places.astype(np.uint64), half, keys)
    while len(beyond := np.flatnonzero(out >= size)):
        out[beyond] = _feistel(out[beyond], half, keys)
    return out.astype(np.int64)


def _feistel(numbers: np.ndarray, half: np.uint64, keys: np.ndarray) -> np.ndarray:
    """Return a permutation of the numbers of 2 * half bits."""
    mask = np.uint64((1 << int(half)) - 1)
    left, right = numbers >> half, numbers & mask
    for key in keys:
        left, right = right, left ^ (mix(right ^ key) & mask)
    return (left << half) | right


def mix(numbers: np.ndarray) -> np.ndarray:
    """Return 64 bits for each number, every bit of which depends on all of its bits: the finalizer of SplitMix64.

    Args:
        numbers: (N,) uint64.
    """
    with np.errstate(over="ignore"):
        numbers = numbers + np.uint64(GOLDEN)
        numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
