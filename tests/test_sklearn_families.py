"""Every family as both estimators of scikit-learn's, by scikit-learn's own checks (nightly)."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import SMALL
from sklearn.utils.estimator_checks import parametrize_with_checks
from test_sklearn import expected

import genus
from genus.ladder import ApproximateDensity, Counted, Learned
from genus.sklearn import DensityClassifier, DensityEstimator

# Families that take no table of real numbers: their refusal is what the checks see, in every one that fits.
OTHER_DATA = {"glow": "images", "pixelcnn": "images", "markov": "sequences", "wavenet": "sequences"}


def small(cls: type[DensityEstimator], family: str) -> DensityEstimator:
    """A small estimator of a family that trains for a few steps."""
    gradients = not issubclass(genus.family(family), Counted | Learned) and family != "stack"
    hyper = {name: value for name, value in SMALL[family].items() if family != "stack"}
    steps = {"max_steps": 5} if gradients else {}
    members = {"members": ["naive-bayes", "chow-liu"], "folds": 1} if family == "stack" else {}
    return cls(family, random_state=0, **(hyper | steps | members))


def every() -> list[DensityEstimator]:
    """Both estimators of every family that takes tables."""
    names = [name for name in genus.families() if name in SMALL and name not in OTHER_DATA]
    estimators = [small(DensityEstimator, name) for name in names]
    return estimators + [small(DensityClassifier, n) for n in names if issubclass(genus.family(n), ApproximateDensity)]


@pytest.mark.nightly
@parametrize_with_checks(every(), expected_failed_checks=expected)
def test_scikit_learns_checks_of_every_family(estimator: DensityEstimator, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("family", OTHER_DATA)
def test_families_of_other_data_refuse_tables_in_a_sentence(family: str) -> None:
    with pytest.raises(genus.DataError, match="cannot model this"):
        DensityEstimator(family).fit([[1.5, 2.25], [2.75, 1.0], [0.5, 3.5]])
