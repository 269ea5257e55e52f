"""Rows of X: checked as scikit-learn does, read as `genus.read` does, and later rows in the same space."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from genus.codec.frames import is_frame, to_arrow
from genus.data import Dataset, read
from genus.data.arguments import Options
from genus.data.sources import open_source
from genus.space import Kind

__all__ = ["ReadsTables", "Wish"]

Wish = str | Kind  # the kind that a caller wants for a column
# The wish for all columns of an array, by NumPy's code of its type; so `read` leaves none out as a row number or identifier.
WISHES = {"i": "lattice", "u": "lattice", "U": "category", "S": "category"}


class ReadsTables(BaseEstimator):
    """Read X in `fit`, and later rows in the space that was measured then: the part that estimators of tables share.

    A subclass has the parameters `kinds`, `relations` and `chart` of `genus.read`, calls `_read` in its `fit` and `_encoded`
    afterwards.
    """

    kinds: Wish | Mapping[str | int, Wish] | None
    relations: bool
    chart: str

    def _read(self, X: Any) -> Dataset:
        """Return X as a data set, measured as `genus.read` does; keep the names of its columns, and which were read."""
        X, names = self._validated(X, reset=True)
        wish = WISHES.get(np.asarray(X).dtype.kind) if isinstance(X, np.ndarray | Tensor) else None
        wishes: dict[str, Wish] = dict.fromkeys(names, wish) if wish else {}
        if isinstance(self.kinds, Mapping):
            for key, kind in self.kinds.items():
                wishes[names[key] if isinstance(key, int) and -len(names) <= key < len(names) else str(key)] = kind
        elif self.kinds is not None:
            wishes = dict.fromkeys(names, self.kinds)
        data = read(X, kinds=wishes, relations=self.relations, chart=self.chart)
        self._names = names
        codec_names = data.codec.names if data.codec is not None else ()
        place = {name: i for i, name in enumerate(names)}
        self._columns = [place[name] for name in codec_names or data.space.names or ()]
        return data

    def _validated(self, X: Any, reset: bool) -> tuple[Any, list[str]]:
        """Return X as an array, tensor, frame or mapping with the fitted columns, and their names."""
        if isinstance(X, str | os.PathLike):
            wishes = {str(name): kind for name, kind in self.kinds.items()} if isinstance(self.kinds, Mapping) else {}
            X = open_source(X, Options(kinds=wishes)).columns
        X = X.reset_index(drop=True) if hasattr(X, "reset_index") else X  # an index is no feature
        # Some sparse matrices are mappings, and frames whose columns have one name twice are not known for frames.
        if not issparse(X) and (isinstance(X, Mapping) or hasattr(X, "columns") or is_frame(X)):
            table = to_arrow(X)[0]
            validate_data(self, table if isinstance(X, Mapping) else X, reset=reset, skip_check_array=True)
            return X, table.column_names
        X = X.detach().cpu() if isinstance(X, Tensor) else X
        array = X.numpy() if isinstance(X, Tensor) else X
        if isinstance(X, list | tuple) and np.asarray(X).dtype.kind == "U":
            array = np.asarray(X, dtype=object)  # else a text among numbers would make them all text
        takes = self.__sklearn_tags__().input_tags
        array = validate_data(
            self,
            array,
            reset=reset,
            dtype=None if takes.string else "numeric",
            ensure_all_finite="allow-nan" if takes.allow_nan else True,
            ensure_min_samples=2 if reset else 1,
        )
        return X if isinstance(X, Tensor) else array, [f"x{i}" for i in range(array.shape[1])]

    def _encoded(self, X: Any) -> tuple[Tensor, Tensor]:
        """Return x (n, *shape) inside the space, and the terms (n,) that its tails add to the log-density.

        They come from the `Tails` that a subclass keeps as `_tails` in its `fit`.
        """
        columns = self._fitted_columns(X)  # which first checks that there are tails
        return self._tails(columns)

    def _fitted_columns(self, X: Any) -> Any:
        """Return the columns of X that were read in `fit`, by their names then."""
        check_is_fitted(self)
        X, _ = self._validated(X, reset=False)
        if isinstance(X, np.ndarray | Tensor):
            every = self._columns == list(range(X.shape[1]))  # to choose columns copies them all
            return X if every else X[:, self._columns]
        # The names have been compared already; where the fitted table had none, columns go by position.
        return to_arrow(X)[0].rename_columns(self._names)
