"""The distribution of one column given those before it, as boosted trees answer the questions about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from genus.models.leaves import ColumnLeaves
from genus.nets.forest import Forest
from genus.nets.heads import SamplingOptions
from genus.random import gumbel_like, rng

__all__ = ["Conditional"]

UNCHANGED = SamplingOptions()


class Question(NamedTuple):
    """Hold a question about a column, "is it leaf mid or above, of the leaves lo to hi - 1?", and the number of its booster."""

    booster: int
    lo: int
    mid: int
    hi: int


class Conditional:
    """Hold the distribution of one column given those before it, for n rows.

    Args:
        column: its leaves and questions.
        forest: the boosters that answer them.
        first: the number of the booster that answers the first question.
        codes: the bytes of the rows, (features, n); trees look at those of the columns before alone.
        device: of the results.
    """

    def __init__(self, column: ColumnLeaves, forest: Forest, first: int, codes: np.ndarray, device: torch.device) -> None:
        self.column, self.forest, self.first, self.codes, self.device = column, forest, first, codes, device

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of the values x (n, 1), (n, 1) in nats."""
        at = self.column.locate(x)
        log_p = self.log_leaves(at.leaf[:, None])[:, 0] + self.column.log_within(at, self._slopes(at.bin))
        return torch.as_tensor(log_p, device=self.device)[:, None]

    def log_not_blank(self) -> np.ndarray | None:
        """Return the log-probability (n,) that the value is no blank that stands for an unknown value; None where none does."""
        if not self.column.kind.has_unknown:
            return None
        log_p = self.log_leaves(np.full((self.codes.shape[1], 1), self.column.blank))[:, 0]
        return np.log(-np.expm1(np.minimum(log_p, -1e-12)))

    def log_leaves(self, leaf: np.ndarray) -> np.ndarray:
        """Return the log-probabilities of leaves (n, Q)."""
        out = np.zeros(leaf.shape)

        def concerned(rows: np.ndarray, lo: int, hi: int) -> np.ndarray:
            return rows[((leaf[rows] >= lo) & (leaf[rows] < hi)).any(1)]

        for question, rows in self._questions(concerned):
            odds, asked = self._odds(question, rows)[:, None], leaf[rows]
            inside = (asked >= question.lo) & (asked < question.hi)
            out[rows] -= np.where(inside, np.logaddexp(0, np.where(asked >= question.mid, -odds, odds)), 0.0)
        return out

    def _questions(self, concerned: Callable[[np.ndarray, int, int], np.ndarray]) -> Iterator[tuple[Question, np.ndarray]]:
        """Yield the questions, each with the rows that it concerns, where there are any.

        Args:
            concerned: (rows, lo, hi) -> those that the question of leaves lo to hi - 1 concerns, after the questions before.
        """
        waiting = {(0, self.column.count): np.arange(self.codes.shape[1])}
        for booster, (lo, mid, hi) in enumerate(self.column.nodes.tolist(), self.first):
            rows = waiting.pop((lo, hi), None)
            if rows is None or not len(rows := concerned(rows, lo, hi)):
                continue
            yield Question(booster, lo, mid, hi), rows
            waiting |= {(a, b): rows for a, b in ((lo, mid), (mid, hi)) if b - a > 1}

    def _odds(self, question: Question, rows: np.ndarray) -> np.ndarray:
        codes = self.codes if len(rows) == self.codes.shape[1] else self.codes[:, rows]
        return self.forest.sums(question.booster, codes)

    def _slopes(self, bins: np.ndarray) -> np.ndarray:
        """Return the slopes within bins (n,); 0 where the bin is -1, none."""
        slope, rows = np.zeros(len(bins)), np.flatnonzero(bins >= 0)
        if len(rows) and float(self.column.smooth):
            some = Conditional(self.column, self.forest, self.first, self.codes[:, rows], self.device)
            slope[rows] = self.column.slopes(bins[rows], some.log_leaves(self.column.neighbours(bins[rows])))
        return slope

    # -- sampling -----------------------------------------------------------------------------------------------------

    def sample(self, options: SamplingOptions = UNCHANGED) -> Tensor:
        """Draw a value for every row: (n, 1)."""
        leaf = self._draw_leaf() if options._replace(blanks=True) == UNCHANGED else self._choose_leaf(options)
        excluded = not options.blanks and self.column.kind.has_unknown
        blank = np.flatnonzero(leaf == self.column.blank) if excluded else np.zeros(0, dtype=int)
        if len(blank):  # only these rows need the probabilities of all leaves
            some = Conditional(self.column, self.forest, self.first, self.codes[:, blank], self.device)
            leaf[blank] = some._choose_leaf(options)
        share = half if options.temperature == 0 else uniform
        return self.column.draw(leaf, self._slopes(self.column.bins_of(leaf)), share).to(self.device)

    def _draw_leaf(self) -> np.ndarray:
        """Draw leaves question by question: (n,)."""
        leaf = np.zeros(self.codes.shape[1], dtype=np.intp)  # the least that each row can still come to

        def concerned(rows: np.ndarray, lo: int, hi: int) -> np.ndarray:
            return rows[leaf[rows] == lo]

        for question, rows in self._questions(concerned):
            with np.errstate(over="ignore"):
                yes = uniform(len(rows)) * (1 + np.exp(-self._odds(question, rows))) < 1
            leaf[rows[yes]] = question.mid
        return leaf

    def _choose_leaf(self, options: SamplingOptions) -> np.ndarray:
        """Draw leaves by changed probabilities: first a value or all bins together, then a bin by its height: (n,)."""
        every = np.tile(np.arange(self.column.count), (self.codes.shape[1], 1))
        log_p, widths = torch.as_tensor(self.log_leaves(every)), torch.as_tensor(self.column.log_widths())
        if not options.blanks and self.column.kind.has_unknown:
            log_p[:, self.column.blank] = -math.inf
        values, bins = (where.nonzero()[:, 0] for where in (widths.isnan(), ~widths.isnan()))
        if not len(bins):
            return values[choice(options.cells(log_p))].numpy()
        rest = log_p[:, bins].logsumexp(1, keepdim=True)
        chosen = choice(options.cells(torch.cat([log_p[:, values], rest], dim=1)))
        height = options._replace(top_k=None, top_p=None).cells(log_p[:, bins] - widths[bins])
        which = bins[choice(height + (widths[bins] if options.temperature else 0.0))]
        return torch.where(chosen < len(values), torch.cat([values, bins[:1]])[chosen], which).numpy()


def choice(log_p: Tensor) -> Tensor:
    """Draw from log-probabilities (n, K), unnormalised: (n,)."""
    return (log_p + gumbel_like(log_p)).argmax(1)


def uniform(n: int) -> np.ndarray:
    """Draw n numbers from 0 to 1."""
    return torch.rand(n, dtype=torch.float64, generator=rng()).numpy()


def half(n: int) -> np.ndarray:
    """Return .5 n times: the middle of every bin."""
    return np.full(n, 0.5)
