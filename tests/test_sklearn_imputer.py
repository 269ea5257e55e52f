"""The imputer in scikit-learn's contract, and the two-sample test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from genus import DataError, GenusError
from genus.sklearn import GenerativeImputer, TwoSampleTest


def rows(n: int = 80) -> np.ndarray:
    """Rows of two reals that follow each other, (n, 2), with holes."""
    x = np.random.default_rng(0).normal(size=(n, 1)) + np.array([0.0, 5.0])
    x[:, 1] += 0.1 * np.random.default_rng(1).normal(size=n)
    x[::8, 1] = np.nan
    x[3::8, 0] = np.nan
    return x


@pytest.mark.nightly
@parametrize_with_checks([GenerativeImputer("naive-bayes", random_state=0)])
def test_scikit_learns_checks_of_imputers(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("draws", [1, 5])
def test_holes_are_filled_from_the_rest_of_the_row(draws: int) -> None:
    x = rows()
    imputer = GenerativeImputer("mixture", draws=draws, random_state=0, hyper={"components": 1, "covariance": "full"})
    filled = imputer.fit_transform(x)
    known = ~np.isnan(x)
    assert np.array_equal(filled[known], x[known])
    assert np.isfinite(filled).all()
    assert np.abs(filled[:, 1] - filled[:, 0] - 5).max() < 1  # columns alone would be 3 or more apart
    assert np.array_equal(filled, imputer.transform(x))
    assert imputer.get_feature_names_out().tolist() == ["x0", "x1"]
    assert torch.equal(imputer.transform(torch.from_numpy(x)), torch.from_numpy(filled))


def test_tables_stay_the_tables_that_they_are() -> None:
    frame = pd.DataFrame({"size": rows()[:, 0], "colour": ["red", "blue", None, "blue"] * 20}, index=np.arange(80) + 5)
    imputer = GenerativeImputer("naive-bayes", random_state=0).fit(frame)
    filled = imputer.transform(frame)
    assert list(filled.index) == list(frame.index)
    assert not filled.isna().any().any()
    assert set(filled["colour"]) == {"red", "blue"}
    assert isinstance(imputer.transform(pl.from_pandas(frame)), pl.DataFrame)
    assert set(imputer.transform({"size": [1.0, 2.0], "colour": ["red", None]})["colour"]) <= {"red", "blue"}


def test_an_imputer_within_a_pipeline() -> None:
    x = rows()
    y = np.nan_to_num(x[:, 0]) > 0
    pipeline = make_pipeline(GenerativeImputer("naive-bayes", random_state=0), LogisticRegression()).fit(x, y)
    assert pipeline.score(x, y) > 0.8
    out = GenerativeImputer("naive-bayes", random_state=0).set_output(transform="pandas").fit_transform(x)
    assert list(out.columns) == ["x0", "x1"]


def test_what_an_imputer_cannot_do_is_said() -> None:
    with pytest.raises(GenusError, match="1 or more; got 0"):
        GenerativeImputer(draws=0).fit(rows())
    with pytest.raises(ValueError, match="features"):
        GenerativeImputer("naive-bayes").fit(rows()).transform(rows()[:, :1])


def test_a_two_sample_test_holds_its_level_and_finds_what_differs() -> None:
    frames = [
        pd.DataFrame({"a": rows()[:40, 0], "b": [*"xyz" * 13, "x"]}),
        pd.DataFrame({"a": [1.0] * 40, "b": ["new"] * 40}),
    ]
    test = TwoSampleTest(random_state=0).fit(frames[0])
    assert test.test(frames[1]).p_value < 0.001
    values = []
    for seed in range(10):
        a, b = np.random.default_rng(seed).normal(size=(2, 40, 2))
        values.append(TwoSampleTest(random_state=0).fit(a).test(b).p_value)
    assert 0.05 < np.median(values) < 0.95
    with pytest.raises(DataError, match="needs 8 rows of each; got 40 and 3"):
        test.test(frames[0][:3])
