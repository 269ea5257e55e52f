"""Every family as both estimators of scikit-learn's, by scikit-learn's own checks (nightly)."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import SMALL
from sklearn.utils.estimator_checks import check_classifiers_train, check_estimator, parametrize_with_checks
from test_sklearn import expected

import genus
from genus.ladder import ApproximateDensity, Counted, Learned
from genus.sklearn import DensityClassifier, DensityEstimator

# Families that take no table of real numbers: their refusal is what the checks see, in every one that fits (below).
OTHER_DATA = {"glow": "images", "pixelcnn": "images", "markov": "sequences", "wavenet": "sequences", "blend": "sequences"}
# Steps after which nets tell the three classes of scikit-learn's blobs apart; its other checks need not wait for them.
STEPS = {"gpt": 150, "rnn": 150, "vae": 400, "iwae": 400, "autoencoder": 400, "vq-vae": 400}
TRAINED = "five steps of training are too few; they are trained for longer below"
RANKED = "a label is one more rank in the copula, so classes whose means follow no one order are not told apart"


def small(cls: type[DensityEstimator], family: str) -> DensityEstimator:
    """A small estimator of a family that trains for a few steps."""
    gradients = not issubclass(genus.family(family), Counted | Learned) and family != "stack"
    hyper = {name: value for name, value in SMALL[family].items() if family != "stack"}
    steps = {"max_steps": 5} if gradients else {}
    members = {"members": ["naive-bayes", "chow-liu"], "folds": 1} if family == "stack" else {}
    hyper |= {"epochs": 20, "states": 8, "latent": 4} if family == "hclt" else {}  # as many as tell classes apart
    return cls(family, random_state=0, **(hyper | steps | members))


def expected_here(estimator: DensityEstimator) -> dict[str, str]:
    """The checks that an estimator of any family is to fail, with the reasons."""
    reason = RANKED if estimator.family == "gaussian-copula" else TRAINED if estimator.family in STEPS else None
    learns = isinstance(estimator, DensityClassifier) and reason is not None
    return expected(estimator) | ({"check_classifiers_train": reason} if learns and reason else {})


def every() -> list[DensityEstimator]:
    """Both estimators of every family that takes tables."""
    names = [name for name in genus.families() if name in SMALL and name not in OTHER_DATA]
    estimators = [small(DensityEstimator, name) for name in names]
    return estimators + [small(DensityClassifier, n) for n in names if issubclass(genus.family(n), ApproximateDensity)]


@pytest.mark.nightly
@pytest.mark.timeout(1800)  # row after row, with 64 importance weights for each class: minutes on a busy machine
@parametrize_with_checks(every(), expected_failed_checks=expected_here)
def test_scikit_learns_checks_of_every_family(estimator: DensityEstimator, check: Any) -> None:
    check(estimator)


@pytest.mark.nightly
@pytest.mark.parametrize("family", STEPS)
@pytest.mark.parametrize("how", [{}, {"readonly_memmap": True}, {"readonly_memmap": True, "X_dtype": "float32"}], ids=str)
def test_nets_learn_to_classify(family: str, how: dict[str, Any]) -> None:
    check_classifiers_train("DensityClassifier", small(DensityClassifier, family).set_params(max_steps=STEPS[family]), **how)


@pytest.mark.parametrize("family", OTHER_DATA)
def test_families_of_other_data_refuse_tables_in_a_sentence(family: str) -> None:
    with pytest.raises(genus.DataError, match="cannot model this"):
        DensityEstimator(family).fit([[1.5, 2.25], [2.75, 1.0], [0.5, 3.5]])


@pytest.mark.nightly
@pytest.mark.parametrize("cls", [DensityEstimator, DensityClassifier])
@pytest.mark.parametrize("family", OTHER_DATA)
@pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.SkipTestWarning", "ignore::sklearn.exceptions.EstimatorCheckFailedWarning"
)
def test_families_of_other_data_fail_no_check_but_by_that_refusal(family: str, cls: type[DensityEstimator]) -> None:
    results = check_estimator(cls(family, random_state=0), on_fail=None)
    failed = {result["check_name"]: _refusals(result["exception"]) for result in results if result["status"] == "failed"}
    assert len(failed) < len(results) - 15  # what needs no fit passes
    assert [check for check, refused in failed.items() if not refused] == []


def _refusals(error: BaseException | None) -> int:
    """Count the refusals of the data among an error, its causes and what it was raised during."""
    count = 0
    while error is not None:
        count += isinstance(error, genus.DataError) and "cannot model this" in str(error)
        error = error.__cause__ or error.__context__
    return count
