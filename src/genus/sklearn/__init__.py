"""Estimators like scikit-learn's over every family: densities and classifiers."""

from genus.sklearn.classifier import DensityClassifier
from genus.sklearn.estimator import DensityEstimator

__all__ = ["DensityClassifier", "DensityEstimator"]
