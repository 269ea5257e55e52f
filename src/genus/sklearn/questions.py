"""Blanks that are filled, and columns that are predicted from the others, by a fitted estimator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from genus.codec.frames import to_arrow
from genus.errors import DataError
from genus.ladder import GenerativeModel
from genus.questions import Imputed, Predicted, impute, predict
from genus.sklearn.names import label_codes, seed_of
from genus.sklearn.tables import ReadsTables

__all__ = ["AnswersQuestions"]

LABEL = "y"  # the column that labels are, in the model's context


class AnswersQuestions(ReadsTables):
    """Give estimators of tables `impute` and predictions of columns; where fitted with labels, these need each row's label."""

    model_: GenerativeModel

    def impute(self, X: Any, random_state: Any = None, y: Any = None) -> Any:
        """Return X with its blanks drawn from the model, given the values that each row has.

        Args:
            X: (n, d), NaN and None where a value is blank; a frame may lack columns.
            random_state: a seed repeats the draw.
            y: (n,) the labels of the rows, where the estimator was fitted with labels.

        Returns:
            An array where X is one or a list, else a frame of X's library with X's columns.

        Raises:
            DataError: the estimator was fitted with labels and y is None, or without and y is given.
            GenusError: the family has no density.
        """
        table, names = self._as_table(X, y), self._names
        filled: Imputed = impute(self.model_, table, seed=seed_of(random_state))
        if y is not None:
            names = [name for name in filled.tables[0].column_names if name != LABEL]
            filled = replace(filled, tables=(filled.tables[0].select(names),))
        if not isinstance(X, np.ndarray | list | tuple | Tensor):
            return filled.frame(like=X if hasattr(X, "columns") else None)
        columns = [np.asarray(filled.tables[0].column(name).to_pylist()) for name in table.column_names if name in names]
        kinds = {column.dtype.kind for column in columns}
        return np.stack(columns, axis=1) if kinds <= set("iufb") else np.array([c.astype(object) for c in columns]).T

    def predict_column(self, X: Any, column: str | int, y: Any = None) -> np.ndarray:
        """Return the likeliest value of a column, or its mean where it holds numbers, (n,), given the other columns of X.

        Args:
            X: (n, d); what it holds in the column is not looked at.
            column: its name, or its position in X.
            y: (n,) the labels of the rows, where the estimator was fitted with labels.

        Raises:
            DataError: there is no such column; or y is None where the estimator was fitted with labels, or given where not.
        """
        return self._predicted(X, column, y).value

    def predict_column_proba(self, X: Any, column: str | int, y: Any = None) -> tuple[np.ndarray, list[Any]]:
        """Return the probability (n, k) of each of a column's values given the other columns of X, and these k values.

        Raises:
            DataError: see `predict_column`; or the column has too many values, or none with a probability.
        """
        predicted = self._predicted(X, column, y)
        if not predicted.probabilities:
            raise DataError(f"{predicted.column!r} has no few values whose probabilities could be listed; use predict_column.")
        return np.stack(list(predicted.probabilities.values()), axis=1), list(predicted.probabilities)

    def _predicted(self, X: Any, column: str | int, y: Any) -> Predicted:
        check_is_fitted(self)
        names = self._names
        if isinstance(column, int) and not -len(names) <= column < len(names):
            raise DataError(f"column is a position from 0 to {len(names) - 1}, or a name; got {column}.")
        return predict(self.model_, self._as_table(X, y), names[column] if isinstance(column, int) else column)

    def _as_table(self, X: Any, y: Any) -> pa.Table:
        """Return X as an Arrow table with the fitted names, and the labels beside it where there are any."""
        check_is_fitted(self)
        labelled = hasattr(self, "classes_")
        if labelled and y is None:
            raise DataError("This estimator was fitted with labels, which its columns hang on; give y, one for each row.")
        if not labelled and y is not None:
            raise DataError("This estimator was fitted without labels; leave y out, or fit(X, y).")
        X, names = self._validated(X, reset=False)
        if isinstance(X, np.ndarray | Tensor):
            columns = {name: pa.array(np.asarray(X)[:, i].tolist(), from_pandas=True) for i, name in enumerate(names)}
            table = pa.table(columns)
        else:
            table = to_arrow(X)[0].rename_columns(self._names)
        if not labelled:
            return table
        if LABEL in table.column_names:
            raise DataError(f"A column of X is called {LABEL!r}, as the labels are; give it another name and fit again.")
        codes = label_codes(y, table.num_rows, self.classes_)
        return table.append_column(LABEL, pa.array(np.asarray(self.classes_)[codes.numpy()].tolist()))
