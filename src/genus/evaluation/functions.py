"""Find columns that follow from another column in the real rows, and that samples draw otherwise."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from genus.data.candidates import FEWEST_ROWS, MOST_COLUMNS
from genus.data.functions import is_function
from genus.kinds import Time
from genus.space import Category, Lattice, Space

__all__ = ["Broken", "broken_functions"]


class Broken(NamedTuple):
    """Hold a function of columns that training rows keep, and how many other rows break it.

    Attributes:
        column: that follows, its position.
        of: the column that it follows from.
        held: how many of the held-out rows break it.
        drawn: how many of the samples do.
        p: the probability that so many of the samples do where they are as the held-out rows are.
    """

    column: int
    of: int
    held: int
    drawn: int
    p: float


def broken_functions(space: Space, seen: np.ndarray, held: np.ndarray, drawn: np.ndarray) -> list[Broken]:
    """Return the functions of columns that all training rows keep and some samples break.

    They are sought as those that `genus.read` takes out of a table (`genus.data.functions`), among columns of few values. A
    row breaks one where its key stands in training rows beside another value; a key that no training row has breaks nothing.
    A column may follow from another by chance in the rows in which it was found to follow, so that held-out rows, which had
    no part in the search, say how often real rows break it: the probability is that of Fisher's exact test of one side.

    Args:
        space: a table's.
        seen: (N, D), training rows, as `canonical` has them, and so the others.
        held: (K, D), held-out rows.
        drawn: (M, D), samples.

    >>> rows = np.repeat([[0.0, 0.0], [1.0, 1.0], [2.0, 1.0]], 40, axis=0)
    >>> table = Space([Category(("Reno", "Ely", "Napa")), Category(("NV", "CA"))], names=["city", "state"])
    >>> [(one.column, one.of, one.drawn) for one in broken_functions(table, rows, rows, np.array([[2.0, 0.0], [2.0, 1.0]]))]
    [(1, 0, 1)]
    """
    from scipy.stats import hypergeom

    columns = [i for i, kind in enumerate(space.kinds) if isinstance(kind, Category) or _is_short(kind)]
    if len(seen) < FEWEST_ROWS or len(columns) > MOST_COLUMNS:
        return []
    codes = {i: _codes(seen[:, i], held[:, i], drawn[:, i]) for i in columns}
    found = []
    for of, column in itertools.permutations(codes, 2):
        (key, *keys), (value, *values) = codes[of], codes[column]
        count, distinct = key.max() + 1, value.max() + 1
        if distinct < 2 or not is_function(key, count, value, distinct, len(columns) ** 2):
            continue
        image = np.zeros(count, dtype=np.int64)
        image[key] = value
        r, s = (int(((k >= 0) & (image[k] != v)).sum()) for k, v in zip(keys, values, strict=True))
        if s:
            p = float(hypergeom.sf(s - 1, len(held) + len(drawn), r + s, len(drawn)))
            found.append(Broken(column, of, r, s, p))
    return found


def _is_short(kind: object) -> bool:
    """Return whether a column holds numbers of few values."""
    return isinstance(kind, Lattice) and kind.is_narrow and not isinstance(kind, Time)


def _codes(first: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Return the place of each value among the different values of the first rows, missing a value like others; -1 for none."""
    values, places = np.unique(np.nan_to_num(first, nan=np.inf), return_inverse=True)
    codes = [places]
    for column in (np.nan_to_num(other, nan=np.inf) for other in others):
        near = np.searchsorted(values, column).clip(0, len(values) - 1)
        codes.append(np.where(values[near] == column, near, -1))
    return codes
