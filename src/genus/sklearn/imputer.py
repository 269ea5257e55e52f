"""An imputer in scikit-learn's contract over every family with a density."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from genus.codec.frames import to_arrow
from genus.errors import GenusError
from genus.questions import Imputed, impute
from genus.registry import build, family, suggested
from genus.sklearn.names import seed_of
from genus.sklearn.tables import ReadsTables, Wish
from genus.training import fit

__all__ = ["GenerativeImputer"]


class GenerativeImputer(OneToOneFeatureMixin, TransformerMixin, ReadsTables):
    """Fill missing values with draws from a generative model of the table, given the values that each row has.

    Every NaN and None is filled, in the columns and the kind of table that come in. A column without any value in training
    stays as it is.

    Args:
        family: a name of `genus.families()` with a density.
        draws: 1: a missing value is one draw, so that filled tables vary as the data do; more: the mean of so many draws, or
            their most frequent value.
        kinds, relations, chart: see `DensityEstimator`.
        max_seconds, max_steps, epochs, device: of training; see `genus.fit`.
        random_state: of training and of the draws, which `transform` repeats.
        hyper: the family's hyper-parameters by name; None: those that suit so many rows.

    Attributes:
        model_: the trained genus model; n_iter_: its number of steps; n_features_in_, feature_names_in_: of X.

    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(60, 1)) * [1.0, 2.0] + [0.0, 5.0]
    >>> X[::7, 1] = np.nan
    >>> filled = GenerativeImputer("naive-bayes", random_state=0).fit_transform(X)
    >>> filled.shape, bool(np.isnan(filled).any()), bool((filled[1:7] == X[1:7]).all())
    ((60, 2), False, True)
    """

    def __init__(
        self,
        family: str = "mixture",
        *,
        draws: int = 1,
        kinds: Wish | Mapping[str | int, Wish] | None = None,
        relations: bool = False,
        chart: str = "auto",
        max_seconds: float | None = None,
        max_steps: int | None = None,
        epochs: float | None = None,
        device: str = "auto",
        random_state: Any = None,
        hyper: Mapping[str, Any] | None = None,
    ) -> None:
        self.family = family
        self.draws = draws
        self.kinds = kinds
        self.relations = relations
        self.chart = chart
        self.max_seconds = max_seconds
        self.max_steps = max_steps
        self.epochs = epochs
        self.device = device
        self.random_state = random_state
        self.hyper = hyper

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags

    def fit(self, X: Any, y: Any = None) -> GenerativeImputer:
        """Train the family on the rows of X (n, d), missing values among them; y is ignored.

        Raises:
            DataError: the data cannot be read, or the family cannot model them.
            GenusError: draws is no whole number of at least 1.
        """
        if not isinstance(self.draws, int | np.integer) or self.draws < 1:
            raise GenusError(f"draws is how many draws a missing value is made of, 1 or more; got {self.draws!r}.")
        seed = seed_of(self.random_state)
        data = self._read(X)
        hyper = suggested(family(self.family), data.space, len(data)) | dict(self.hyper or {})
        model = build(self.family, data.space, None, seed, **hyper)
        budget = {name: getattr(self, name) for name in ("max_seconds", "max_steps", "epochs", "device")}
        history = fit(model, data, seed=seed, progress=False, **budget)
        self.model_, self.n_iter_, self._seed = model, history.steps, seed
        return self

    def transform(self, X: Any) -> Any:
        """Return X (n, d) with its missing values filled, in the kind of table that it is.

        Raises:
            GenusError: the family has no density.
        """
        check_is_fitted(self)
        checked, _ = self._validated(X, reset=False)
        if not isinstance(checked, np.ndarray | Tensor):
            filled = self._filled(to_arrow(checked)[0].rename_columns(self._names))
            names = list(X.columns) if hasattr(X, "columns") else self._names
            table = _middles(filled) if self.draws > 1 else filled.tables[0]
            table = table.select(self._names).rename_columns([str(name) for name in names])
            if isinstance(X, Mapping):
                return {name: table.column(name).to_pylist() for name in table.column_names}
            return Imputed((table,), {}, {}, filled.size).frame(None if isinstance(X, pa.Table) else X)
        array = np.array(checked, copy=True)
        filled = self._filled({name: array[:, i] for i, name in enumerate(self._names)})
        table = _middles(filled) if self.draws > 1 else filled.tables[0]
        for name, where in filled.filled.items():
            array[where, self._names.index(name)] = table.column(name).filter(pa.array(where)).to_pylist()
        return torch.from_numpy(array) if isinstance(X, Tensor) else array

    def _filled(self, source: Any) -> Imputed:
        codec = self.model_.codec
        columns = [name for name in codec.column_names if name not in codec.keys]
        return impute(self.model_, source, columns, self.draws, self._seed)


def _middles(filled: Imputed) -> pa.Table:
    """Return a table whose missing values are the mean of all draws, or the most frequent one."""
    table = filled.tables[0]
    for name, where in filled.filled.items():
        middle = filled.middle(name).to_pylist()
        values = [m if blank else v for m, blank, v in zip(middle, where, table.column(name).to_pylist(), strict=True)]
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return table
