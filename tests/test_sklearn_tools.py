"""The adapters within scikit-learn's own tools: ensembles, calibration, searches, pipelines, weights, parts, codes."""

from __future__ import annotations

import io
from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from genus import DataError, GenusError
from genus.sklearn import DensityClassifier, DensityEstimator

VAE = {"latent": 2, "hidden": (8,), "max_steps": 5}


def rows(n: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two reals, (n, 2), and labels on which their means depend."""
    generator = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return generator.normal(size=(n, 2)) + 3.0 * y[:, None], np.array(["a", "b", "c"])[y]


def naive(**params: Any) -> DensityClassifier:
    return DensityClassifier("naive-bayes", random_state=0, **params)


# -- other people's tools -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tool",
    [
        StackingClassifier([("bayes", naive()), ("tree", LogisticRegression())], cv=2),
        BaggingClassifier(naive(), n_estimators=3, random_state=0),
        BaggingClassifier(DensityClassifier("mixture", components=2, random_state=0), n_estimators=2, random_state=0),
        CalibratedClassifierCV(naive(), cv=2),
        make_pipeline(StandardScaler(), naive()),
        GridSearchCV(naive(), {"smoothing": [0.5, 1.0]}, cv=2),
    ],
    ids=["stacking", "bagging", "bagging by repeated rows", "calibrated", "pipeline", "grid search"],
)
def test_tools_take_a_classifier(tool: Any) -> None:
    x, y = rows()
    fitted = clone(tool).fit(x, y)
    assert fitted.predict_proba(x).shape == (90, 3)
    assert (fitted.predict(x) == y).mean() > 0.9


def test_predictions_across_folds() -> None:
    x, y = rows()
    assert (cross_val_predict(naive(), x, y, cv=2) == y).mean() > 0.9
    assert cross_val_predict(naive(), x, y, cv=2, method="predict_proba").shape == (90, 3)


def test_a_classifier_shows_its_methods_before_it_is_fitted() -> None:
    assert hasattr(naive(), "predict")
    assert hasattr(naive(), "predict_proba")
    assert not hasattr(DensityEstimator("naive-bayes"), "predict")
    with pytest.raises(GenusError, match="'gan' can be sampled but has no density to classify by"):
        DensityClassifier("gan")
    with pytest.raises(GenusError, match="no density to classify by"):
        naive().set_params(family="gan")


def test_what_is_stored_comes_back() -> None:
    x, y = rows()
    model, memory = naive().fit(x, y), io.BytesIO()
    joblib.dump(model, memory)
    memory.seek(0)
    assert np.array_equal(joblib.load(memory).predict_proba(x), model.predict_proba(x))


# -- weights and parts ----------------------------------------------------------------------------------------------------


def test_a_weight_is_a_number_of_copies() -> None:
    x, y = rows()
    weights = np.arange(90) % 4
    weighed = naive(kinds="real", chart="affine").fit(x, y, sample_weight=weights)
    counts = weighed.model_.product
    for k, label in enumerate("abc"):
        assert float(counts.rows[k]) == weights[y == label].sum()
        mean = np.average(x[y == label], axis=0, weights=weights[y == label])
        place = weighed.space_.split(torch.from_numpy(mean[None])).u[0].numpy()
        assert counts.mean[k].numpy() == pytest.approx(place, abs=1e-5)
    assert np.allclose(weighed.predict_proba(x), clone(weighed).fit(x, y, 2.5 * weights).predict_proba(x), atol=1e-3)


def test_weights_that_do_not_fit_are_refused() -> None:
    x, y = rows()
    for weights, said in ((np.ones(5), "each of 90 rows"), (-np.ones(90), "at least zero"), (np.zeros(90), "is zero")):
        with pytest.raises(DataError, match=said):
            naive().fit(x, y, sample_weight=weights)
    mixture = DensityEstimator("mixture", components=2, random_state=0)
    with pytest.raises(GenusError, match="'mixture' does not weigh rows"):
        mixture.fit(x, sample_weight=np.full(90, 0.5))
    assert mixture.fit(x, sample_weight=np.arange(90) % 3).score(x) < 0


def test_training_by_gradients_draws_rows_by_fractions() -> None:
    x = np.random.default_rng(0).normal(size=(200, 2)) + 4.0 * (np.arange(200) % 2)[:, None]
    made = DensityEstimator("made", random_state=0, hidden=(8,), components=1, max_steps=150, validation=None)
    weighed = clone(made).fit(x, sample_weight=np.where(np.arange(200) % 2, 0.9, 0.1))
    assert clone(made).fit(x).sample(2000, random_state=0).mean() == pytest.approx(2.0, abs=0.4)
    assert weighed.sample(2000, random_state=0).mean() == pytest.approx(3.6, abs=0.4)


def test_rows_may_come_in_parts() -> None:
    x, y = rows()
    x = np.round(x)
    whole, parts = naive().fit(x, y), naive()
    parts.partial_fit(x, y)
    for at in (0, 45):
        parts.partial_fit(x[at : at + 45], y[at : at + 45])
    twice = naive().partial_fit(np.r_[x, x], np.r_[y, y])
    assert parts.n_iter_ == 3
    assert whole.n_iter_ == 1
    assert np.allclose(parts.predict_proba(x), twice.predict_proba(x))
    some = naive().partial_fit(x[:2], y[:2], classes=["a", "b", "c"])
    assert some.classes_.tolist() == ["a", "b", "c"]
    with pytest.raises(DataError, match="which was not there in fit"):
        some.partial_fit(x[:2], ["a", "z"])
    assert not hasattr(DensityEstimator("maf"), "partial_fit")


# -- bounds and codes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["vae", pytest.param("maf", marks=pytest.mark.nightly)])
def test_a_bound_is_that_of_the_row_alone(family: str) -> None:
    x, y = rows(60)
    x = np.round(2 * x)  # noise in cells makes the flow's density a bound too
    params = VAE if family == "vae" else {"transforms": 1, "hidden": (8,), "max_steps": 5}
    model = DensityClassifier(family, random_state=0, **params).fit(x, y)
    assert model.likelihood_ == "bound"
    order = np.random.default_rng(0).permutation(60)
    for ask in (model.score_samples, model.predict_proba):
        assert np.allclose(ask(x)[order], ask(x[order]), atol=1e-9)
        assert np.allclose(ask(x)[:1], ask(x[:1]), atol=1e-9)
    assert len(np.unique(model.score_samples(np.repeat(x[:1], 3, axis=0)))) == 1


def test_codes_are_a_transform_with_names() -> None:
    x, y = rows(60)
    vae = DensityEstimator("vae", random_state=0, **VAE)
    codes = vae.fit_transform(x)
    assert codes.shape == (60, 2)
    assert np.array_equal(codes, vae.transform(x))
    frame = vae.set_output(transform="pandas").transform(pd.DataFrame(x, index=np.arange(60) + 7).to_numpy())
    assert list(frame.columns) == ["densityestimator0", "densityestimator1"]
    assert isinstance(clone(vae).set_output(transform="polars").fit_transform(x), pl.DataFrame)
    pipeline = make_pipeline(DensityEstimator("nsf", random_state=0, hidden=(8,), max_steps=5), LogisticRegression())
    assert (pipeline.fit(x, y).predict(x) == y).mean() > 0.9
    labelled = DensityClassifier("maf", random_state=0, hidden=(8,), max_steps=5).fit(x, y)
    assert labelled.transform(x).shape == (60, 2)
    assert not hasattr(naive(), "transform")
    assert not hasattr(naive(), "set_output")


def test_training_takes_its_options() -> None:
    x, _ = rows(60)
    options = {"max_steps": 4, "batch_size": 10, "validation": None, "device": "cpu"}
    model = DensityEstimator("maf", hidden=(8,), **options).fit(x)
    assert model.n_iter_ == 4
    assert model.history_.rows[-1]["epoch"] == pytest.approx(4 / 6)
