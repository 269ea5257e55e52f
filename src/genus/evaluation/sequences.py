"""Samples of sequences: how many stand in the training set, how many among held-out rows, how many are new.

No classifier tells texts or sounds from real ones as trees tell rows of a table; the density tells how well a family has
learned, and these counts say whether it has learned by heart.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from genus.evaluation.metrics import Metric
from genus.space import Category, Lattice, Space

__all__ = ["NOVELTY", "draws", "evaluate_sequences", "stands_in"]

PIECE = 16  # symbols of a piece of one long sequence: short enough that some recur, long enough that chance is not the cause
CHUNK = 2**20  # symbols hashed at once
BASE = 0x9E3779B97F4A7C15  # of the polynomial hash modulo 2^64; odd, so that it has an inverse

NOVELTY: dict[str, Metric] = {
    "in_training": Metric(
        "In the training set",
        f"The share of samples that stand in the training set: whole rows, or pieces of {PIECE} symbols of one long sequence."
        " Compare it with the same share of held-out rows; far above it is learning by heart.",
        "novelty",
        "closer",
        None,
    ),
    "in_held_out": Metric(
        "In the held-out half",
        "The share of samples that are not in the training set but among held-out rows: right guesses.",
        "novelty",
        "closer",
        None,
    ),
    "new": Metric("New", "The share of samples that stand in neither.", "novelty", "closer", None),
    "distinct": Metric(
        "Distinct", "How many different samples there are, as a share of all; low means repetition.", "novelty", "closer", None
    ),
}


def draws(space: Space, consecutive: bool) -> tuple[int, int]:
    """Return how many samples suffice, and their length: time grows with the length, and with the number far less."""
    length = min(space.dim, 256 if consecutive else 8192)
    fewest = 200 if length < 256 else 100 if length <= 512 else 32
    return min(1000, max(2**15 // length, fewest)), length


def evaluate_sequences(
    space: Space, samples: Tensor, *, train: Tensor, held: Tensor, consecutive: bool = False
) -> dict[str, float]:
    """Return the shares of samples that stand in the training set, among held-out rows only, and in neither.

    Args:
        samples: (n, T).
        train: (N, L), what the model was fitted to.
        held: (M, L), held-out rows.
        consecutive: rows are pieces of one long sequence, in which pieces of the samples may stand anywhere.

    Returns:
        Name -> value; `NOVELTY` says how to read each.

    >>> import torch
    >>> word = Space(Category(("a", "b", None)), shape=(2,), sequence=True)
    >>> x = torch.tensor([[0.0, 0], [0, 1], [1, 1], [1, 1]])
    >>> evaluate_sequences(word, x, train=x[:1], held=x[:2])
    {'in_training': 0.25, 'in_held_out': 0.25, 'new': 0.5, 'distinct': 0.75}
    """
    length = min(samples.shape[1], train.shape[1], PIECE if consecutive else train.shape[1])
    whole = samples.shape[1] // length * length if consecutive else length
    wanted = _hashes(_numbers(space, samples[:, :whole]).reshape(-1, length))
    trained = _stand_in(wanted, space, train, length, consecutive)
    unseen = _stand_in(wanted, space, held, length, consecutive) & ~trained
    return {
        "in_training": float(trained.mean()),
        "in_held_out": float(unseen.mean()),
        "new": float((~trained & ~unseen).mean()),
        "distinct": len(np.unique(wanted)) / len(wanted),
    }


def stands_in(space: Space, pieces: Tensor, x: Tensor, length: int, consecutive: bool = False) -> np.ndarray:
    """Return which pieces (n, length) are rows of x (N, L), or stand at any place in them where they are consecutive."""
    return _stand_in(_hashes(_numbers(space, pieces)), space, x, length, consecutive)


def _stand_in(wanted: np.ndarray, space: Space, x: Tensor, length: int, consecutive: bool) -> np.ndarray:
    """Return which of the hashes are of rows x (N, L), or of any place in them where they are consecutive."""
    known, index = np.unique(wanted, return_inverse=True)  # few, so that millions are looked up in them and not sorted
    found = np.zeros(len(known), dtype=bool)
    for hashes in _piece_hashes(space, x, length) if consecutive else _row_hashes(space, x, length):
        place = np.searchsorted(known, hashes).clip(max=len(known) - 1)
        found[place[known[place] == hashes]] = True
    return found[index]


def _row_hashes(space: Space, x: Tensor, length: int) -> Iterator[np.ndarray]:
    rows = max(1, CHUNK // length)
    for at in range(0, len(x), rows):
        yield _hashes(_numbers(space, x[at : at + rows, :length]))


def _piece_hashes(space: Space, x: Tensor, length: int) -> Iterator[np.ndarray]:
    """Yield the hashes of every piece of the one long sequence, which need not begin where a row does."""
    flat = x.reshape(-1)
    inverse = pow(BASE, -1, 2**64)
    for at in range(0, max(len(flat) - length + 1, 0), CHUNK):
        numbers = _numbers(space, flat[None, at : at + CHUNK + length - 1])[0]
        sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(numbers * _powers(BASE, len(numbers)))])
        yield (sums[length:] - sums[:-length]) * _powers(inverse, len(numbers) - length + 1)


def _hashes(numbers: np.ndarray) -> np.ndarray:
    """Return the hashes (n,) of rows (n, length): the polynomial in `BASE` whose coefficients are the symbols."""
    return numbers @ _powers(BASE, numbers.shape[1])


def _powers(base: int, count: int) -> np.ndarray:
    """Return (count,): 1, base, base^2, ... modulo 2^64."""
    powers = np.full(count, base, dtype=np.uint64)
    powers[:1] = 1
    return np.cumprod(powers)


def _numbers(space: Space, x: Tensor) -> np.ndarray:
    """Return x (n, T) as whole numbers, equal where values are: the places on a lattice, the bits of reals."""
    kind = space.kinds[0]
    if isinstance(kind, Lattice):
        place = ((x.double() - kind.low) / kind.step).round().nan_to_num(-1.0)
        return place.long().numpy().astype(np.uint64)
    if isinstance(kind, Category):
        return x.long().numpy().astype(np.uint64)
    return x.to(space.dtype).double().add(0.0).numpy().view(np.uint64)
