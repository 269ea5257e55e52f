"""A test of whether two tables are samples of one distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import mannwhitneyu
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.utils import Tags, check_random_state

from genus.data.tails import Tails
from genus.errors import DataError
from genus.sklearn.tables import ReadsTables, Wish

__all__ = ["TwoSampleResult", "TwoSampleTest"]

NO_PLACE = 1e30  # for a level that the first sample has not: one further number, that trees can tell apart
LEAST = 8  # rows of either sample


class TwoSampleResult(NamedTuple):
    """Hold what a two-sample test found.

    Attributes:
        statistic: the AUC of a classifier on rows that it did not learn from: 0.5 where nothing tells the samples apart.
        p_value: the probability of such an AUC, or a larger one, where both samples are of one distribution.
    """

    statistic: float
    p_value: float


class TwoSampleTest(ReadsTables):
    """Test whether two tables are samples of one distribution, by a classifier that tries to tell them apart.

    Boosted trees learn from half of the rows of both samples; by the ranks of their scores, the other half is tested (Wilcoxon
    and Mann-Whitney; Lopez-Paz and Oquab 2017, arXiv:1610.06545). The level of the test holds for any distribution of
    independent rows. Give rows that the model which drew the others has not seen.

    Args:
        kinds, relations, chart: see `DensityEstimator`.
        random_state: of the halves.

    Attributes:
        n_features_in_, feature_names_in_: of X.

    >>> import numpy as np
    >>> a, b = np.random.default_rng(0).normal(size=(2, 200, 2))
    >>> test = TwoSampleTest(random_state=0).fit(a)
    >>> test.test(b).p_value > 0.05, test.test(b + 1).p_value < 0.001
    (True, True)
    """

    def __init__(
        self,
        *,
        kinds: Wish | Mapping[str | int, Wish] | None = None,
        relations: bool = False,
        chart: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.kinds = kinds
        self.relations = relations
        self.chart = chart
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags

    def fit(self, X: Any, y: Any = None) -> TwoSampleTest:
        """Read the first sample X (n, d); y is ignored.

        Raises:
            DataError: the data cannot be read.
        """
        data = self._read(X)
        self._tails = Tails(data)
        self.reference_ = self._numbers(X)
        return self

    def test(self, X: Any) -> TwoSampleResult:
        """Test whether X (m, d), the second sample, is of the distribution of the first.

        Raises:
            DataError: a sample has fewer than 8 rows, or X cannot be read.
        """
        first, second = self.reference_, self._numbers(X)
        if min(len(first), len(second)) < LEAST:
            raise DataError(f"A two-sample test needs {LEAST} rows of each; got {len(first)} and {len(second)}.")
        state = check_random_state(self.random_state)
        halves = [(state.permutation(len(rows)), rows) for rows in (first, second)]
        learned = [rows[order[: len(rows) // 2]] for order, rows in halves]
        left = [rows[order[len(rows) // 2 :]] for order, rows in halves]
        trees = HistGradientBoostingClassifier(max_iter=60, random_state=state.randint(2**31 - 1))
        trees.fit(np.concatenate(learned), np.repeat([0, 1], [len(rows) for rows in learned]))
        one, two = (trees.decision_function(rows) for rows in left)
        found = mannwhitneyu(two, one, alternative="greater")
        return TwoSampleResult(float(found.statistic) / (len(one) * len(two)), float(found.pvalue))

    def _numbers(self, X: Any) -> np.ndarray:
        """Return X as numbers (n, d): levels as their places, NaN where missing."""
        columns = self._fitted_columns(X)
        x = self._tails.codec.encode(columns, beyond=True)
        return np.nan_to_num(x.double().numpy(), nan=np.nan, posinf=NO_PLACE, neginf=-NO_PLACE)
