"""Classifiers by Bayes' rule."""

from __future__ import annotations

from typing import Any

from sklearn.base import ClassifierMixin
from sklearn.utils import Tags

from genus.errors import DataError
from genus.sklearn.estimator import DensityEstimator

__all__ = ["DensityClassifier"]


class DensityClassifier(ClassifierMixin, DensityEstimator):
    """Classify by Bayes' rule from a density p(x | y).

    This is a `DensityEstimator` that always has labels: scikit-learn takes it for a classifier before it is fitted (folds are
    stratified), and `score` is the accuracy.

    >>> from sklearn.datasets import load_wine
    >>> from sklearn.model_selection import cross_val_score
    >>> X, y = load_wine(return_X_y=True)
    >>> bool(cross_val_score(DensityClassifier("naive-bayes"), X, y, cv=3).min() > 0.85)
    True
    """

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    def fit(self, X: Any, y: Any = None) -> DensityClassifier:
        """Train the family on the rows of X given their labels y (n,).

        Raises:
            DataError: see `DensityEstimator.fit`; there are no labels, or of one class only.
        """
        if y is None:
            raise DataError("A DensityClassifier requires y to be passed, but the target y is None; give labels y.")
        super().fit(X, y)
        return self
