"""The scikit-learn adapter: scikit-learn's own checks, then what they do not ask."""

from __future__ import annotations

import io
import math
from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from conftest import SHARED
from scipy.sparse import csr_array
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import genus
from genus import DataError, GenusError
from genus.data.tails import Tails
from genus.sklearn import DensityClassifier, DensityEstimator

SMALL: dict[str, dict[str, Any]] = {
    "naive-bayes": {},
    "mixture": {"components": 3},
    "maf": {"transforms": 2, "hidden": (8,), "max_steps": 20},
    "vae": {"latent": 2, "hidden": (8,), "max_steps": 20},
    "wgan-gp": {"hidden": (8,), "latent": 2, "max_steps": 20},
}
MEASURED = "kinds of columns are measured: numbers that stand several times are atoms, and weights make none of them"


def expected(estimator: DensityEstimator) -> dict[str, str]:
    """The checks that an estimator is to fail, with the reasons."""
    compared = isinstance(estimator, DensityClassifier) or hasattr(estimator, "transform")  # by predictions, or by codes
    return {"check_sample_weight_equivalence_on_dense_data": MEASURED} if compared else {}


def make(family: str, **params: Any) -> DensityEstimator:
    return DensityEstimator(family, random_state=0, **(SMALL[family] | params))


def reals(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of three reals, (n, 3), and labels on which their means depend."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 3, n)
    return generator.normal(size=(n, 3)) + 2.0 * y[:, None], np.array(["a", "b", "c"])[y]


@parametrize_with_checks([DensityClassifier("naive-bayes", random_state=0)], expected_failed_checks=expected)
def test_scikit_learns_checks_of_classifiers(estimator: DensityClassifier, check: Any) -> None:
    check(estimator)


@parametrize_with_checks([make("naive-bayes")], expected_failed_checks=expected)
def test_scikit_learns_checks_of_one_family(estimator: DensityEstimator, check: Any) -> None:
    check(estimator)


@pytest.mark.nightly
@parametrize_with_checks([make(family) for family in SMALL], expected_failed_checks=expected)
def test_scikit_learns_checks(estimator: DensityEstimator, check: Any) -> None:
    check(estimator)


# -- parameters -----------------------------------------------------------------------------------------------------------


def test_hyper_parameters_are_parameters() -> None:
    estimator = DensityEstimator("maf", hidden=(8, 8), max_steps=5)
    assert estimator.get_params()["hidden"] == (8, 8)
    copy = clone(estimator).set_params(transforms=3, max_steps=7)
    assert copy.get_params() == estimator.get_params() | {"transforms": 3, "max_steps": 7}
    assert "transforms" not in estimator.get_params()
    fitted = copy.fit(reals()[0]).model_
    assert fitted.config["transforms"] == 3
    assert list(fitted.config["hidden"]) == [8, 8]
    assert "hidden=(8, 8)" in repr(estimator)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(GenusError, match=r"no parameter 'width'; it has family, transforms, hidden, .*max_steps"):
        DensityEstimator("maf", width=3)
    estimator = DensityEstimator("mixture", components=3)
    with pytest.raises(GenusError, match="no parameter 'hidden'"):
        estimator.set_params(max_steps=9, hidden=(8,))
    assert estimator.get_params()["max_steps"] is None
    with pytest.raises(GenusError, match=r"'naive-bayes'.*no parameter 'components'"):
        estimator.set_params(family="naive-bayes", components=2)
    with pytest.raises(GenusError, match="There is no family 'nonsense'"):
        DensityEstimator("nonsense").fit(reals()[0])


# -- densities ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["naive-bayes", "mixture", "maf"])
def test_score_samples_are_the_models_log_density(family: str) -> None:
    x, _ = reals()
    estimator = make(family).fit(x)
    expected = estimator.model_.log_prob(torch.from_numpy(x)).detach().numpy()
    assert estimator.likelihood_ == "exact"
    assert estimator.score_samples(x) == pytest.approx(expected, abs=1e-4)
    assert estimator.score(x) == pytest.approx(expected.mean(), abs=1e-4)
    # nats in the data's own units: metres to millimetres costs log 1000 a column
    assert make(family).fit(1000 * x).score(1000 * x) == pytest.approx(estimator.score(x) - 3 * math.log(1000), abs=0.3)


def test_a_bound_is_called_one() -> None:
    x, y = reals()
    estimator = make("vae").fit(x, y)
    assert estimator.likelihood_ == "bound"
    assert estimator.score(x, y) == estimator.score(x, y)


def test_with_labels_the_density_is_conditional() -> None:
    x, y = reals()
    estimator = make("naive-bayes").fit(x, y)
    assert estimator.classes_.tolist() == ["a", "b", "c"]
    each = np.stack([estimator.score_samples(x, label) for label in "abc"], axis=1)
    assert np.allclose(estimator.score_samples(x, y), each[np.arange(len(x)), np.unique(y, return_inverse=True)[1]])
    counts = np.array([(y == label).sum() for label in "abc"])
    joint = each + np.log(counts / counts.sum())
    assert np.allclose(estimator.score_samples(x), np.logaddexp.reduce(joint, axis=1))
    assert np.allclose(estimator.predict_proba(x), np.exp(joint - np.logaddexp.reduce(joint, axis=1)[:, None]))
    assert np.array_equal(estimator.predict(x), estimator.classes_[joint.argmax(1)])
    assert (estimator.predict(x) == y).mean() > 0.9


def test_classes_have_components_of_their_own() -> None:
    X, y = load_iris(return_X_y=True)
    own = DensityClassifier("mixture", components=2, random_state=0).fit(X, y)
    shared = DensityClassifier("mixture", components=2, shared=True, random_state=0).fit(X, y)
    assert own.score(X, y) > 0.95
    assert shared.score(X, y) < 0.8  # three classes, told apart by how often each of two components is
    weights = own.model_.parts.log_weights.exp()
    assert ((weights > 0).sum(1) == 2).all()
    assert ((weights > 0).sum(0) == 1).all()  # no component is of two classes


@pytest.mark.parametrize("family", ["vae", "vq-vae"])
def test_a_row_is_scored_alone_as_among_others_and_in_one_pass(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = reals(60)
    fitted = DensityClassifier(family, max_steps=5, hidden=(8,), random_state=0).fit(X, y)
    together = fitted.predict_log_proba(X)
    passes, elbo = [], fitted.model_.elbo
    monkeypatch.setattr(fitted.model_, "elbo", lambda x, *rest, **how: passes.append(len(x)) or elbo(x, *rest, **how))
    np.testing.assert_allclose(fitted.predict_log_proba(X[7:8]), together[7:8], atol=1e-9)
    assert passes == [1 if family == "vq-vae" else 64] * 3  # its code is certain; a pass for each class


def test_what_cannot_be_answered_is_absent() -> None:
    x, y = reals()
    plain = make("naive-bayes").fit(x)
    assert hasattr(plain, "score_samples")
    assert not hasattr(plain, "predict")
    with pytest.raises(AttributeError, match="has no attribute 'predict_proba'") as error:
        plain.predict_proba(x)
    assert "fit(X, y) with labels" in str(error.value.__cause__)
    labelled = plain.fit(x, y)
    assert hasattr(labelled, "predict_proba")
    assert not hasattr(labelled.fit(x), "predict")  # fitted again, without labels
    implicit = make("wgan-gp").fit(x, y)
    assert not any(hasattr(implicit, name) for name in ("score_samples", "score", "predict", "predict_proba"))
    assert implicit.likelihood_ == "none"
    assert implicit.sample(3, y="b").shape == (3, 3)


def test_labels_are_checked() -> None:
    x, y = reals()
    with pytest.raises(DataError, match="Unknown label type: y holds continuous"):
        make("mixture").fit(x, x[:, 0])
    with pytest.raises(DataError, match="200 rows and y 10 labels"):
        make("mixture").fit(x, y[:10])
    estimator = make("naive-bayes").fit(x, y)
    with pytest.raises(DataError, match="the label 'z', which was not there in fit"):
        estimator.score_samples(x, np.where(y == "a", "z", y))
    with pytest.raises(DataError, match="fitted without labels"):
        make("naive-bayes").fit(x).sample(2, y="a")


# -- rows that were not there in training ---------------------------------------------------------------------------------


@pytest.mark.parametrize("low", [0, -3])
@pytest.mark.parametrize("size", [1, 2, 8])
def test_the_mass_beyond_a_lattice_is_kept_at_one(low: int, size: int) -> None:
    estimator = DensityEstimator("naive-bayes").fit((low + np.arange(40) % size).reshape(-1, 1))
    kind = estimator.space_.kinds[0]
    assert (kind.low, kind.high) == (low, low + size - 1)
    everywhere = kind.low + kind.step * np.arange(-400, size + 400)
    assert np.exp(estimator.score_samples(everywhere.reshape(-1, 1))).sum() == pytest.approx(1, abs=1e-9)
    outside = np.array([kind.low - kind.step, kind.high + kind.step, kind.high + 2 * kind.step])
    below, above, further = np.exp(estimator.score_samples(outside.reshape(-1, 1)))
    assert below == pytest.approx(above)
    assert 0 < further < above < 1 / 40


def test_atoms_off_the_lattice_keep_their_place() -> None:
    space = genus.Space([genus.Lattice(0, 9, atoms=(99.5, math.nan))])
    data = genus.Dataset(torch.tensor([[0.0], [9.0], [99.5], [math.nan]]), None, space)
    x, tails = Tails(data)(np.array([[99.5], [math.nan], [3.2], [12.0]]))
    assert torch.equal(x[:, 0].nan_to_num(-1), torch.tensor([99.5, -1.0, 3.0, 9.0]))
    assert tails[:3].tolist() == [0, 0, 0]
    assert tails[3] < -1


def test_new_values_between_lattice_points_are_rounded() -> None:
    x = np.round(np.random.default_rng(0).normal(size=(300, 2)), 1)
    estimator = make("naive-bayes").fit(x)
    assert all(isinstance(kind, genus.Lattice) for kind in estimator.space_.kinds)
    near = np.where(x[:5] == x.max(0), x[:5], x[:5] + 0.03)
    assert estimator.score_samples(near) == pytest.approx(estimator.score_samples(x[:5]))


def test_large_whole_numbers_are_told_apart() -> None:
    x = 10**9 + np.arange(300).reshape(-1, 1) // 3
    estimator = make("naive-bayes").fit(np.repeat(x, [1, 2] * 150, axis=0))
    scores = estimator.score_samples(np.unique(x).reshape(-1, 1))
    assert len(np.unique(scores.round(6))) > 1
    assert np.isfinite(scores).all()


def test_what_has_no_place_is_said() -> None:
    frame = pd.DataFrame({"size": np.random.default_rng(0).normal(size=50), "colour": ["red", "blue"] * 25})
    estimator = make("naive-bayes").fit(frame)
    green = estimator.score_samples(frame.assign(colour=["green", "red"] * 25))
    assert (np.isinf(green) == ([True, False] * 25)).all()  # a level that was not there in training has no mass
    with pytest.raises(DataError, match="no missing value, since there was none in training"):
        estimator.score_samples(frame.assign(size=np.nan))


def test_kinds_overrule() -> None:
    x = np.round(reals()[0] ** 2, 1)
    for kinds in ("category", {0: "category", "x1": "category", -1: "category"}):
        assert all(isinstance(kind, genus.Category) for kind in make("naive-bayes", kinds=kinds).fit(x).space_.kinds)
    assert make("maf", kinds=genus.Real()).fit(x).likelihood_ == "exact"
    with pytest.raises(DataError, match="no column 'nonsense', named in kinds="):
        make("naive-bayes", kinds={"nonsense": "real"}).fit(x)


# -- what goes in comes out -----------------------------------------------------------------------------------------------

COLUMNS = {"size": [1.5, 2.25, 3.125, 4.0625] * 10, "colour": ["red", "blue", "red", "green"] * 10, "n": [1, 2, 3, 9] * 10}


@pytest.mark.parametrize("container", [pd.DataFrame, pl.DataFrame, pa.table, dict], ids=["pandas", "polars", "arrow", "dict"])
def test_frames_come_back(container: Any) -> None:
    frame = container(COLUMNS)
    estimator = make("naive-bayes").fit(frame)
    assert estimator.n_features_in_ == 3
    assert estimator.feature_names_in_.tolist() == list(COLUMNS)
    sample = estimator.sample(7, random_state=0)
    assert type(sample) is type(frame)
    table = sample if isinstance(sample, pa.Table) else pa.table(sample)
    assert table.column_names == list(COLUMNS)
    assert table.num_rows == 7
    assert set(table.column("colour").to_pylist()) <= {"red", "blue", "green"}
    assert np.isfinite(estimator.score_samples(frame)).all()
    assert np.isfinite(estimator.score_samples(sample)).all()


def test_arrays_come_back() -> None:
    x, _ = reals()
    for source, kind in ((x, np.ndarray), (x.tolist(), np.ndarray), (torch.from_numpy(x), torch.Tensor)):
        estimator = make("naive-bayes").fit(source)
        sample = estimator.sample(5)
        assert isinstance(sample, kind)
        assert sample.shape == (5, 3)
        assert estimator.score(source) == pytest.approx(make("naive-bayes").fit(x).score(x))
    whole = np.stack([np.arange(60), np.arange(60) % 4], axis=1)  # a column that numbers the rows is a column here
    assert make("naive-bayes").fit(whole).sample(5).shape == (5, 2)
    mixed = make("naive-bayes").fit([[1.5, "a"], [2.5, "b"], [1.5, "b"]])
    assert [type(kind) for kind in mixed.space_.kinds] == [genus.Lattice, genus.Category]
    assert isinstance(mixed.sample(1)[0, 1], str)


def test_a_path_and_unnamed_columns(tmp_path: Any) -> None:
    path, frame = tmp_path / "data.csv", pd.DataFrame(COLUMNS)
    frame.to_csv(path, index=False)
    assert make("naive-bayes").fit(path).score(path) == pytest.approx(make("naive-bayes").fit(frame).score(frame))
    x, _ = reals()
    frame = pd.DataFrame(x, columns=["u", "v", "w"])
    named, plain = make("naive-bayes").fit(frame), make("naive-bayes").fit(x)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert named.score(x) == pytest.approx(plain.score(x))
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        assert plain.score(frame) == pytest.approx(named.score(frame))
    with pytest.raises(ValueError, match="feature names"):
        named.score(frame[["v", "u", "w"]])


def test_sparse_and_unfitted_are_said() -> None:
    with pytest.raises(TypeError, match="Sparse data"):
        make("naive-bayes").fit(csr_array(np.eye(4)))
    for ask in (lambda e: e.score_samples(np.eye(3)), lambda e: e.sample()):
        with pytest.raises(NotFittedError):
            ask(DensityEstimator())


def test_seeds() -> None:
    x, y = reals()
    one, two = (make("maf").fit(x, y) for _ in range(2))
    assert np.array_equal(one.score_samples(x, y), two.score_samples(x, y))
    assert np.array_equal(one.sample(5, random_state=3), two.sample(5, random_state=3))
    assert not np.array_equal(one.sample(5), one.sample(5))
    plain = make("naive-bayes").fit(x)
    assert not np.array_equal(plain.sample(5), plain.sample(5))
    state = np.random.RandomState(0)
    assert not np.array_equal(one.sample(5, random_state=state), one.sample(5, random_state=state))
    assert one.sample(4, y=["a", "b", "c", "a"]).shape == (4, 3)
    assert abs(make("naive-bayes").fit(x, y).sample(500, random_state=0, y="c")[:, 0].mean() - x[y == "c", 0].mean()) < 0.3


# -- within scikit-learn --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["naive-bayes", pytest.param("mixture", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("load", [load_iris, pytest.param(load_wine, marks=pytest.mark.nightly)], ids=["iris", "wine"])
def test_cross_validation_meets_records_and_goes_on(family: str, load: Any) -> None:
    x, _ = load(return_X_y=True)
    scores = cross_val_score(make(family), x, cv=3, error_score="raise")  # sorted by class: folds with other ranges
    assert np.isfinite(scores).all()


def test_a_classifier_is_known_for_one_before_it_is_fitted() -> None:
    x, y = load_wine(return_X_y=True)  # sorted by class: folds that are not stratified lack one
    classifier = DensityClassifier("naive-bayes")
    assert is_classifier(classifier)
    assert cross_val_score(classifier, x, y, cv=3, scoring="accuracy", error_score="raise").min() > 0.85
    assert classifier.fit(x, y).score(x, y) == np.mean(classifier.predict(x) == y)
    with pytest.raises(DataError, match="requires y"):
        classifier.fit(x)


def test_a_new_family_drops_what_it_does_not_have() -> None:
    estimator = DensityEstimator("mixture", components=3).set_params(family="naive-bayes")
    assert "components" not in estimator.get_params()
    with pytest.raises(GenusError, match="no parameter 'components'"):
        estimator.set_params(components=2)


@pytest.mark.nightly
def test_grid_search_over_families_and_their_hyper_parameters() -> None:
    x, y = load_iris(return_X_y=True)
    grid = [{"family": ["naive-bayes"]}, {"family": ["mixture"], "components": [2, 4]}]
    search = GridSearchCV(DensityEstimator(random_state=0), grid, cv=StratifiedKFold(3), error_score="raise").fit(x, y)
    assert search.best_params_ in [{"family": "naive-bayes"}, *({"family": "mixture", "components": k} for k in (2, 4))]
    assert search.predict_proba(x).shape == (150, 3)
    by_auc = cross_val_score(make("naive-bayes"), x, y, cv=StratifiedKFold(3), scoring="roc_auc_ovr", error_score="raise")
    assert by_auc.min() > 0.95


def test_pipeline_and_pickle() -> None:
    x, y = reals()
    pipeline = make_pipeline(StandardScaler(), make("maf")).fit(x, y)
    memory = io.BytesIO()
    joblib.dump(pipeline, memory)
    memory.seek(0)
    back = joblib.load(memory)
    assert np.array_equal(back.score_samples(x), pipeline.score_samples(x))
    assert np.array_equal(back.predict(x), pipeline.predict(x))


def test_a_real_frame_with_everything() -> None:
    path = SHARED / "tables" / "adult-train.csv"
    if not path.is_file():
        pytest.skip("real data are not beside this checkout (../shared/data)")
    frame = genus.read(path).frame().to_pandas().head(4000)
    x, y = frame.drop(columns=["income", "native.country"]), frame["income"]  # some countries are rare
    estimator = make("naive-bayes").fit(x[:3000], y[:3000])
    assert estimator.score(x[3000:], y[3000:]) < 0
    assert (estimator.predict(x[3000:]) == y[3000:]).mean() > 0.75
    assert list(estimator.sample(3).columns) == list(x.columns)


def test_all_rows_count_for_the_frequencies_of_labels() -> None:
    x, y = reals(60)
    y[:59], y[59:] = "a", "b"
    model = DensityClassifier("mixture", random_state=3).fit(x, y)
    assert np.exp(model._log_prior().numpy()) == pytest.approx([59 / 60, 1 / 60])


def test_a_constant_column_knows_other_values() -> None:
    x = np.c_[np.full(100, 5000), np.random.default_rng(0).normal(size=100)]
    usual, *odd = DensityEstimator("naive-bayes").fit(x).score_samples([[5000, 0], [7000, 0], [2600, 0], [5001, 0]])
    assert all(usual - one > 4 for one in odd)


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(genus.DataError, match="'a' stands 2 times"):
        DensityEstimator("naive-bayes").fit(pd.DataFrame(np.zeros((5, 2)), columns=["a", "a"]))


def test_blanks_are_filled_and_columns_predicted() -> None:
    x, y = load_iris(return_X_y=True)
    x = np.column_stack([x, y])
    holes = x.copy()
    holes[::5, 2] = np.nan
    estimator = DensityEstimator("mixture", components=4, random_state=0).fit(holes)
    filled = estimator.impute(holes, random_state=0)
    assert filled.shape == x.shape
    assert np.array_equal(filled[~np.isnan(holes)], x[~np.isnan(holes)])
    assert np.abs(filled - x)[::5, 2].mean() < 0.6
    assert np.array_equal(filled, estimator.impute(holes, random_state=0))
    probability, values = estimator.predict_column_proba(holes, 4)
    assert values == [0, 1, 2]
    assert (probability.argmax(1) == y).mean() > 0.9
    assert estimator.predict_column(holes[:2], "x2") == pytest.approx([1.5, 1.5], abs=0.4)
    assert (estimator.sample(20, random_state=0, where={"x4": 2.0})[:, 4] == 2.0).all()
    frame = pd.DataFrame({"length": holes[:, 2], "kind": np.array(["s", "t", "u"])[y]}, index=range(7, 157))
    named = DensityEstimator("mixture", components=4, random_state=0).fit(frame)
    done = named.impute(frame)
    assert list(done.index) == list(frame.index)
    assert not done.isna().any().any()
    assert list(named.predict_column(frame[1:2], "kind")) == ["s"]
    with pytest.raises(genus.DataError, match="without labels"):
        estimator.impute(holes, y=holes[:, 4])
    with pytest.raises(genus.DataError, match="position from 0 to 4"):
        estimator.predict_column(holes, 7)


@pytest.mark.parametrize("words", [False, True], ids=["numbers", "words"])
def test_estimators_with_labels_fill_and_predict_rows_of_a_label(words: bool) -> None:
    x, y = load_iris(return_X_y=True)
    y = np.array(["s", "t", "u"])[y] if words else y
    holes = x.copy()
    holes[::5, 2] = np.nan
    estimator = DensityEstimator("naive-bayes", random_state=0).fit(holes, y)
    filled = estimator.impute(holes, random_state=0, y=y)
    assert filled.shape == x.shape
    assert np.abs(filled - x)[::5, 2].mean() < 0.9
    swapped = y[::-1]  # the label decides: petals of the first kind are short
    found = [estimator.predict_column(holes[:50], 2, y=labels[:50]).mean() for labels in (y, swapped)]
    assert found[0] < 2 < 4 < found[1]
    frame = pd.DataFrame(holes, columns=list("abcd"))
    named = DensityEstimator("naive-bayes", random_state=0).fit(frame, y)
    done = named.impute(frame, y=y)
    assert list(done.columns) == list("abcd")
    assert not done.isna().any().any()
    with pytest.raises(genus.DataError, match="give y"):
        estimator.impute(holes)
