"""One scikit-learn estimator over every family."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from sklearn.base import ClassifierMixin, DensityMixin
from sklearn.utils import ClassifierTags, Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from genus.data import Dataset
from genus.data.tails import Tails
from genus.errors import DataError
from genus.ladder import BOUND_DRAWS, ApproximateDensity, Counted, GenerativeModel, TractableDensity, map_batches
from genus.ladder.functions import counted_threads
from genus.random import draw_indices, isolated
from genus.registry import build, family, hyper_parameters, suggested
from genus.sklearn.coding import GivesCodes
from genus.sklearn.names import check_names, distinct_labels, known_family, label_codes, seed_of
from genus.sklearn.questions import AnswersQuestions
from genus.sklearn.rownoise import log_weights
from genus.sklearn.tables import Wish
from genus.sklearn.weights import checked_weights, count, draws, repeated, weighs
from genus.space import Category, Real, Space
from genus.training import History, fit

__all__ = ["DensityEstimator"]

EVIDENCE_DRAWS = 64  # importance weights by which a bound's classes are told apart


def _is_density(self: DensityEstimator) -> bool:
    known = known_family(self.family)
    if known is not None and not issubclass(known, ApproximateDensity):
        raise AttributeError(f"The family {self.family!r} can be sampled but has no density.")
    return True


def _is_classifier(self: DensityEstimator) -> bool:
    if not hasattr(self, "classes_") and not isinstance(self, ClassifierMixin):
        raise AttributeError("This DensityEstimator knows no labels; fit(X, y) with labels y makes it a classifier.")
    return _is_density(self)


def _is_streamed(self: DensityEstimator) -> bool:
    known = known_family(self.family)
    if known is not None and not issubclass(known, Counted):
        raise AttributeError(f"The family {self.family!r} does not learn by counting, so it needs all rows at once; use fit.")
    return True


class DensityEstimator(GivesCodes, DensityMixin, AnswersQuestions):
    """Fit a generative model of any family as a scikit-learn estimator: of p(x), or of p(x | y) with labels y.

    X is a table: an array or tensor (n, d), a list of lists, a frame (pandas, polars, pyarrow), a dictionary of columns or
    the path of a file. Its columns are measured as `genus.read` does: numbers at a visible resolution are a lattice, which
    has masses instead of densities. `space_` shows the kinds, and `kinds` overrules them.

    Held-out numbers on a lattice may be new ones: they are rounded to its resolution, and beyond the range of the training
    rows scored as the end of the range times a geometric tail, so that the total mass stays 1 and a record costs some nats
    instead of the score. A new level of a category, or a missing value in a column that had none, is a DataError. A column
    whose numbers are no lattice to you may be given `kinds="real"`; numbers that repeat there are still atoms.

    Args:
        family: a name of `genus.families()`.
        kinds: by column name, or position, "real", "lattice", "category" or a Kind; or one wish for all columns.
        relations: look for relations that all rows obey, as `genus.read` does; a new row that breaks one has log-density -inf.
            By default every row has a score.
        chart: "auto", or "affine", as `genus.read` has it: with "affine" naive Bayes is the textbook's Gaussian one.
        max_seconds, max_steps, epochs, batch_size, validation, device: of training; see `genus.fit`.
        random_state: of training: a seed, a RandomState, or None for another result every time.
        hyper: the family's own hyper-parameters, parameters of this estimator like any other; by default they are the
            family's `default_hyperparameters` for this many rows, and each label of a mixture has components of its own,
            so that `components=2` are two a label; `shared=True` are two in all.

    Attributes:
        model_: the trained genus model; space_: its `Space`; history_: of its training; n_iter_: its number of steps.
        likelihood_: what `score_samples` is: "exact" or "bound" (a lower bound); "none" for a family without density.
        classes_: (k,) the labels; only where fitted with labels.
        n_features_in_, feature_names_in_: of X.

    Raises:
        GenusError: an unknown family, or a hyper-parameter that the family does not have.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> estimator = DensityEstimator("mixture", components=3, random_state=0).fit(X)
    >>> estimator.score_samples(X).shape, estimator.sample(2, random_state=1).shape
    ((150,), (2, 4))
    >>> bool(DensityEstimator("naive-bayes").fit(X, y).predict(X).mean() > 0.9)
    True
    """

    def __init__(
        self,
        family: str = "naive-bayes",
        *,
        kinds: Wish | Mapping[str | int, Wish] | None = None,
        relations: bool = False,
        chart: str = "auto",
        max_seconds: float | None = None,
        max_steps: int | None = None,
        epochs: float | None = None,
        batch_size: int | None = None,
        validation: float | None = 0.1,
        device: str = "auto",
        random_state: Any = None,
        **hyper: Any,
    ) -> None:
        self._check_names(family, hyper)
        self.family = family
        self.kinds = kinds
        self.relations = relations
        self.chart = chart
        self.max_seconds = max_seconds
        self.max_steps = max_steps
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation = validation
        self.device = device
        self.random_state = random_state
        self._hyper = hyper

    # -- parameters ---------------------------------------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the named parameters, and the hyper-parameters that were passed."""
        return super().get_params(deep) | self._hyper

    def set_params(self, **params: Any) -> DensityEstimator:
        """Set parameters, hyper-parameters of the family included.

        Raises:
            GenusError: the family has no hyper-parameter of such a name; nothing is set then. Hyper-parameters that a
                new family does not have are dropped.
        """
        named = super().get_params(deep=False)
        family, kept = params.get("family", self.family), self._hyper
        if "family" in params and (known := known_family(family)) is not None:
            kept = {name: value for name, value in kept.items() if name in hyper_parameters(known)}
        hyper = kept | {name: value for name, value in params.items() if name not in named}
        self._check_names(family, hyper)
        for name in params.keys() & named.keys():
            setattr(self, name, params[name])
        self._hyper = hyper
        return self

    def _check_names(self, name: Any, hyper: Mapping[str, Any]) -> None:
        """Refuse what this estimator cannot be made of."""
        check_names(name, hyper)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        known = known_family(self.family)
        if known is not None:  # missing values and levels are values with mass of their own, and not every family has room
            tags.input_tags.allow_nan = known.accepts(Space([Real(atoms=(math.nan,))]))
            tags.input_tags.string = tags.input_tags.categorical = known.accepts(Space([Category(("a", "b"))]))
        if not hasattr(self, "transform"):
            tags.transformer_tags = None
        if hasattr(self, "classes_"):  # scorers such as roc_auc ask a classifier only
            tags.estimator_type = "classifier"
            tags.classifier_tags = ClassifierTags()
        return tags

    # -- fitting ------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> DensityEstimator:
        """Train the family on the rows of X.

        Args:
            X: (n, d), a table; NaN and None are missing values.
            y: (n,) labels; the density then is that of X given y, and the estimator a classifier too. None: of X alone.
            sample_weight: (n,) how often each row counts. Families that do not count repeat rows as often as whole numbers
                say; where some weights are fractions, training by gradients draws rows by them, and others refuse them. The
                kinds of columns are those of all rows, whatever their weights.

        Raises:
            DataError: the data cannot be read, or the family cannot model them; a weight is negative, or all are zero.
            GenusError: weights are no whole numbers, and the family does not weigh rows.
        """
        seed, cls = seed_of(self.random_state), family(self.family)
        data, classes = self._labelled(self._read(X), y)
        weights = checked_weights(sample_weight, len(data))
        # Weights are counted, or rows are drawn by them in training, or rows are repeated: see weights.py.
        counted = weights is not None and weighs(cls)
        drawn = draws(cls, weights)
        rows = data if weights is None or counted or drawn else repeated(data, weights, self.family)
        model = self._built(data, seed)
        if counted:
            return self._keep(model, data, classes, count(model, data.x, data.c, weights), seed)
        names = ("max_seconds", "max_steps", "epochs", "batch_size", "validation", "device")
        options = {name: getattr(self, name) for name in names} | ({"row_weights": weights} if drawn else {})
        history = fit(model, rows, seed=seed, progress=False, **options)
        return self._keep(model, data, classes, history, seed)

    @available_if(_is_streamed)
    def partial_fit(self, X: Any, y: Any = None, classes: Any = None, sample_weight: Any = None) -> DensityEstimator:
        """Count further rows, of a family that learns by counting.

        The first rows say what the columns are: later numbers are rounded to their resolution, and later levels refused.

        Args:
            X: (n, d), a table with the columns of the first rows.
            y: (n,) labels, or None.
            classes: (k,) all labels that there will be; needed at the first call alone, where its rows do not have them all.
            sample_weight: (n,) how often each row counts; None: each once.

        Raises:
            DataError: a row has a level, a blank or a label that had no place in the first rows.
        """
        started, seed = hasattr(self, "model_"), seed_of(self.random_state)
        if not started:
            data, known = self._labelled(self._read(X), y, classes)
            model, x, c = self._built(data, seed), data.x, data.c
        else:
            model = self.model_
            x, tails = self._encoded(X)
            if not bool(tails.isfinite().all()):
                raise DataError(
                    "A row has a value that had no place in the first rows; give kinds= with all levels, or use fit."
                )
            c = self._context(label_codes(y, len(x), self.classes_)) if hasattr(self, "classes_") else None
        weights = checked_weights(sample_weight, len(x))
        if weights is not None and not weighs(family(self.family)):
            raise DataError(f"The family {self.family!r} does not weigh rows; leave sample_weight out, or repeat them.")
        history = count(model, x, c, weights)
        if not started:
            return self._keep(model, data, known, history, seed)
        self.n_iter_ += 1
        return self

    def _labelled(self, data: Dataset, y: Any, classes: Any = None) -> tuple[Dataset, np.ndarray | None]:
        """Return the rows with their labels as context, and the distinct labels; the rows and None where y is None."""
        if y is None:
            return data, None
        distinct, codes = distinct_labels(y)
        if len(codes) != len(data):
            raise DataError(f"X has {len(data)} rows and y {len(codes)} labels; give one label for each row.")
        if classes is not None:
            distinct = np.unique(np.asarray(classes))
            codes = label_codes(y, len(data), distinct).numpy()
        context = Space([Category(tuple(distinct.tolist()))], names=["y"])
        labelled = replace(data, c=torch.from_numpy(codes).to(context.dtype).unsqueeze(1), context=context)
        return labelled.charted_on(labelled, atoms=False), distinct

    def _built(self, data: Dataset, seed: int) -> GenerativeModel:
        """Return a new model of the family for the data; a mixture has components of its own for each label."""
        cls = family(self.family)
        for_labels = {"shared": False} if data.context is not None and "shared" in hyper_parameters(cls) else {}
        hyper = suggested(cls, data.space, len(data)) | for_labels | self._hyper
        return build(self.family, data.space, data.context, seed, **hyper)

    def _keep(
        self, model: GenerativeModel, data: Dataset, classes: np.ndarray | None, history: History, seed: int
    ) -> DensityEstimator:
        """Set the attributes of a fitted estimator from a trained model."""
        if model.codec is None and data.codec is not None:
            model.codec = data.codec
            history.acceptance = model.measure_acceptance(data.c, seed)
        # In double precision a score does not depend on the rows beside it, as scikit-learn expects, to 1e-7 and below.
        self.model_, self.space_, self.likelihood_ = model.double(), data.space, model.info.likelihood
        self.history_, self.n_iter_ = history, history.steps
        self._tails = Tails(data)
        if classes is not None:
            self.classes_: np.ndarray = classes
        elif hasattr(self, "classes_"):
            del self.classes_
        return self

    # -- densities ----------------------------------------------------------------------------------------------------

    @available_if(_is_density)
    def score_samples(self, X: Any, y: Any = None) -> np.ndarray:
        """Return the log-density of every row, in nats, in X's own units; `likelihood_` says whether exact or a bound.

        Args:
            X: (n, d).
            y: (n,) labels: the density given them. None: where fitted with labels, the density of x alone, which is
                the mean over the labels by their frequency. Without labels in fit, y is ignored.

        Returns:
            (n,) nats: masses on lattices and categories, densities elsewhere.
        """
        x, tails = self._encoded(X)
        if not hasattr(self, "classes_"):
            log_density = self._log_density(x, None)
        elif y is not None:
            codes = label_codes(y, len(x), self.classes_)
            log_density = self._log_density(x, codes)
        else:
            log_density = self._marginal(x)
        return (log_density + tails).numpy()

    @available_if(_is_density)
    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of `score_samples`, in nats a row; higher is better."""
        return float(np.mean(self.score_samples(X, y)))

    def _log_density(self, x: Tensor, codes: Tensor | None) -> Tensor:
        """Return log p(x), or log p(x | y) of labels by their codes (n,), (n,): a mean over draws where it is a bound."""
        c = None if codes is None else self._context(codes)
        return log_weights(cast(ApproximateDensity, self.model_), x, c, BOUND_DRAWS).mean(0)

    def _marginal(self, x: Tensor) -> Tensor:
        """Return log p(x), (n,), of encoded rows, the mean over the labels by their frequency."""
        if isinstance(self.model_, TractableDensity):
            return self._class_log_joint(x).logsumexp(1)
        prior = self._log_prior()
        log_joint = [self._log_density(x, torch.full((len(x),), k)) + prior[k] for k in range(len(prior))]
        return torch.stack(log_joint).logsumexp(0)

    def _class_log_joint(self, x: Tensor) -> Tensor:
        """Return log p(x, y), (n, k), of encoded rows under a model with an exact density."""
        model = cast(TractableDensity, self.model_)
        with torch.no_grad(), isolated(0, model), counted_threads(model):
            return map_batches(lambda x, c: model.class_log_joint(x), x).double().cpu()

    @staticmethod
    def _context(codes: Tensor) -> Tensor:
        return codes.to(torch.float32).unsqueeze(1)

    def _log_prior(self) -> Tensor:
        counts = cast(Tensor, self.model_.context_counts)
        return (counts / counts.sum()).log().cpu()

    # -- labels -------------------------------------------------------------------------------------------------------

    @available_if(_is_classifier)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return log p(y | x), (n, k), of every label of `classes_` for rows X (n, d), by Bayes' rule."""
        return self._class_log_probs(self._encoded(X)[0]).numpy()  # the tails are the same under every label

    @available_if(_is_classifier)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return p(y | x), (n, k), of every label of `classes_` for rows X (n, d), by Bayes' rule."""
        return np.exp(self.predict_log_proba(X))

    @available_if(_is_classifier)
    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label (n,) of rows X (n, d)."""
        likeliest = self.predict_log_proba(X).argmax(axis=1)
        return self.classes_[likeliest]

    def _class_log_probs(self, x: Tensor) -> Tensor:
        """Return log p(y | x), (n, k), of encoded rows; by the evidence, with the same noise for every class, of a bound."""
        model = cast(ApproximateDensity, self.model_)
        if isinstance(model, TractableDensity):
            return self._class_log_joint(x).log_softmax(1)
        every = (self._context(torch.full((len(x),), k)) for k in range(len(self.classes_)))
        rows = [log_weights(model, x, c, EVIDENCE_DRAWS).logsumexp(0) for c in every]
        return (torch.stack(rows, dim=1) + self._log_prior()).log_softmax(1)

    def _likeliest(self, x: Tensor) -> Tensor | None:
        """Return the context (n, 1) of encoded rows: their likeliest labels; None without labels."""
        return self._context(self._class_log_probs(x).argmax(1)) if hasattr(self, "classes_") else None

    # -- sampling -----------------------------------------------------------------------------------------------------

    def sample(
        self, n_samples: int = 1, random_state: Any = None, y: Any = None, where: Mapping[str, Any] | None = None
    ) -> Any:
        """Draw rows, within the range of the training rows on lattices.

        Args:
            n_samples: how many.
            random_state: a seed repeats the draw; None, or a RandomState, gives others at every call.
            y: the label of all rows, or a label for each row, (n_samples,). None: labels by their frequency.
            where: what columns are to be, as of `genus.GenerativeModel.sample`: {"age": (30, 40), "city": ["Rome", "Oslo"]}.

        Returns:
            The kind of table that was fitted, with its column names and types.
        """
        check_is_fitted(self)
        seed = seed_of(random_state)
        c = None
        if hasattr(self, "classes_"):
            if y is None:
                with isolated(seed):
                    codes = draw_indices(self._log_prior().exp(), n_samples)
            else:
                codes = label_codes(y, n_samples, self.classes_)
            c = self._context(codes)
        elif y is not None:
            raise DataError("This DensityEstimator was fitted without labels; sample without y, or fit(X, y) first.")
        return self.model_.decode(self.model_.sample(n_samples, c, seed=seed + 1, where=where), seed=seed)
