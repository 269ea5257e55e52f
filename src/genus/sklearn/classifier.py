"""Classifiers by Bayes' rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags

from genus.data import Dataset
from genus.errors import DataError, GenusError
from genus.ladder import ApproximateDensity
from genus.sklearn.estimator import DensityEstimator
from genus.sklearn.names import known_family

__all__ = ["DensityClassifier"]


class DensityClassifier(ClassifierMixin, DensityEstimator):
    """Classify by Bayes' rule from a density p(x | y).

    This is a `DensityEstimator` that always has labels: scikit-learn takes it for a classifier before it is fitted (folds are
    stratified), shows `predict` and `predict_proba` at once, and refuses families without a density. `score` is the accuracy.

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

    def _check_names(self, name: Any, hyper: Mapping[str, Any]) -> None:
        super()._check_names(name, hyper)
        known = known_family(name)
        if known is not None and not issubclass(known, ApproximateDensity):
            raise GenusError(
                f"The family {name!r} can be sampled but has no density to classify by; take another family, or a"
                " DensityEstimator to sample it."
            )

    def _labelled(self, data: Dataset, y: Any, classes: Any = None) -> tuple[Dataset, np.ndarray | None]:
        if y is None:
            raise DataError("A DensityClassifier requires y to be passed, but the target y is None; give labels y.")
        return super()._labelled(data, y, classes)
