"""Compare sampled texts, or sequences of any symbols, with real ones: a classifier of n-grams, lengths and repetitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genus.evaluation.intervals import folds_auc_error
from genus.evaluation.metrics import LEAST, Metric
from genus.space import Category, Space

__all__ = ["WORDED", "cut_alike", "repetition", "score_symbols", "symbols"]

LONGEST = 4  # symbols of an n-gram
SLOTS = 2**15  # into which n-grams are hashed
ECHO = 6  # symbols in a row that count as repeated where they stand earlier in the same sequence
BINS = 8  # of a statistic, so that a classifier of weighted sums sees one that is too alike as well
MOST = 2_000  # sequences of either kind
SYMBOLS = 2**20  # of either kind
FOLDS = 4
SURE = 10.0  # the inverse of the penalty on weights
BASE = np.uint64(0x9E3779B97F4A7C15)

WORDED: dict[str, Metric] = {
    "ngram_auc": Metric(
        "Two-sample AUC, n-grams",
        f"How well a logistic classifier tells samples from real rows by n-grams of 1 to {LONGEST} symbols, lengths and"
        " repetitions: 0.5, or by chance below, is not at all, 1 is always.",
        "features",
        "lower",
        0.5,
    ),
    "repetition": Metric(
        "Repetition",
        f"The share of pieces of {ECHO} symbols that stand earlier in the same sequence.",
        "features",
        "closer",
        None,
    ),
    "length": Metric("Length", "The mean number of symbols of a sequence, its end left out.", "features", "closer", None),
}


def score_symbols(space: Space, real: Tensor, fake: Tensor, seed: int = 0) -> tuple[dict[str, float], dict[str, float]]:
    """Return the metrics of sampled sequences and their standard errors over rows; nothing of fewer than 10 rows.

    Args:
        space: of sequences of categories.
        real: (N, L), held-out rows.
        fake: (M, T); min(N, M) of each enter, as many as hold a million symbols.
        seed: of the folds.

    >>> space = Space(Category(("a", "b")), shape=(20,), sequence=True)
    >>> real = torch.randint(2, (200, 20), generator=torch.Generator().manual_seed(0)).float()
    >>> scores, errors = score_symbols(space, real[:100], real[100:])
    >>> abs(scores["ngram_auc"] - 0.5) < 4 * errors["ngram_auc"]
    True
    """
    n = min(len(real), len(fake), MOST, max(LEAST, SYMBOLS // max(fake.shape[1], 1)))
    if n < LEAST or not isinstance(space.kinds[0], Category):
        return {}, {}
    a, b = symbols(space, real[:n]), symbols(space, fake[:n])
    auc = _auc(a + b, np.repeat([0, 1], n), seed)
    echoes, lengths = np.array([repetition(row) for row in b]), np.array([len(row) for row in b], dtype=float)
    scores = {"ngram_auc": auc, "repetition": float(echoes.mean())}
    errors = {"ngram_auc": folds_auc_error(n, auc), "repetition": float(echoes.std() / math.sqrt(n))}
    if space.ends:
        scores["length"], errors["length"] = float(lengths.mean()), float(lengths.std() / math.sqrt(n))
    return scores, errors


def cut_alike(space: Space, rows: Tensor, length: int, consecutive: bool) -> Tensor:
    """Return real rows (N, L) as samples of that length are: pieces of one long sequence, or the beginnings of rows."""
    length = min(length, rows.shape[1])
    if consecutive and length < rows.shape[1]:
        whole = rows.shape[1] // length * length
        return rows[:, :whole].reshape(-1, length)
    return rows[:, :length]


def symbols(space: Space, x: Tensor) -> list[np.ndarray]:
    """Return the symbols of each sequence of x (N, T) as whole numbers, its end left out."""
    x = x.detach().cpu()
    short = torch.full((len(x),), x.shape[1])
    if space.ends:
        ended = (x.long() == space.kinds[0].levels.index(None)).cumsum(1) > 0  # type: ignore[attr-defined]
        short = (~ended).sum(1)
    return [row[:n].numpy().astype(np.uint64) for row, n in zip(x.long(), short.tolist(), strict=True)]


def repetition(row: np.ndarray) -> float:
    """Return the share of pieces of 6 symbols that stand earlier in the same sequence.

    >>> repetition(np.tile(np.arange(4, dtype=np.uint64), 10)) > 0.8, repetition(np.arange(40, dtype=np.uint64))
    (True, 0.0)
    """
    pieces = _hashes(row, ECHO)
    return 1 - len(np.unique(pieces)) / len(pieces) if len(pieces) else 0.0


def _hashes(row: np.ndarray, n: int) -> np.ndarray:
    """Return a whole number for every n-gram of a sequence, (len - n + 1,), equal where the n-grams are."""
    if len(row) < n:
        return np.zeros(0, dtype=np.uint64)
    found = np.full(len(row) - n + 1, n, dtype=np.uint64)
    for i in range(n):
        found = (found ^ (row[i : len(row) - n + 1 + i] + np.uint64(1))) * BASE
    return found


def _auc(rows: list[np.ndarray], label: np.ndarray, seed: int) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    x, scores = _matrix(rows), []
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(label, label):
        model = LogisticRegression(C=SURE, max_iter=200).fit(x[train], label[train])
        scores.append(roc_auc_score(label[test], model.decision_function(x[test])))
    return float(np.mean(scores))


def _matrix(rows: list[np.ndarray]) -> Any:
    """Return a sparse matrix (rows, SLOTS + statistics): roots of counts of n-grams, of norm 1, and bins of statistics."""
    from scipy import sparse
    from sklearn.preprocessing import normalize

    where, slots = [], []
    for i, row in enumerate(rows):
        ends = np.concatenate([row, np.full(1, 2**32, dtype=np.uint64)])  # so that the last symbols are told
        for n in range(1, LONGEST + 1):
            found = (_hashes(ends, n) >> np.uint64(40)) % np.uint64(SLOTS)
            slots.append(found.astype(np.int64))
            where.append(np.full(len(found), i))
    at = (np.concatenate(where), np.concatenate(slots))
    counts = sparse.coo_matrix((np.ones(len(at[0])), at), shape=(len(rows), SLOTS)).tocsr()
    counts.data = np.sqrt(counts.data)
    return sparse.hstack([normalize(counts), *(_binned(rows, what) for what in STATISTICS)]).tocsr()


def _distinct(row: np.ndarray) -> float:
    return len(np.unique(row)) / max(len(row), 1)


def _longest_run(row: np.ndarray) -> float:
    """Return how often a symbol stands beside itself at most."""
    if not len(row):
        return 0.0
    changes = np.flatnonzero(np.concatenate([[True], row[1:] != row[:-1], [True]]))
    return float(np.diff(changes).max())


STATISTICS: tuple[Callable[[np.ndarray], float], ...] = (len, repetition, _distinct, _longest_run)


def _binned(rows: list[np.ndarray], statistic: Callable[[np.ndarray], float]) -> Any:
    """Return (rows, BINS) of which one is .5: the quantile of all rows in which a statistic of a row lies."""
    from scipy import sparse

    values = np.array([statistic(row) for row in rows], dtype=float)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    codes = np.searchsorted(edges, values, side="right")
    return sparse.csr_matrix((np.full(len(rows), 0.5), (np.arange(len(rows)), codes)), shape=(len(rows), BINS))
