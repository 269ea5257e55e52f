"""Estimators like scikit-learn's over every family: densities, classifiers, an imputer and a two-sample test."""

from genus.sklearn.classifier import DensityClassifier
from genus.sklearn.estimator import DensityEstimator
from genus.sklearn.imputer import GenerativeImputer
from genus.sklearn.two_sample import TwoSampleResult, TwoSampleTest

__all__ = ["DensityClassifier", "DensityEstimator", "GenerativeImputer", "TwoSampleResult", "TwoSampleTest"]
