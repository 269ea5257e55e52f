"""`predict`: one column of a table from the others, with probabilities or an interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from genus.codec import Codec
from genus.codec.tabular import as_table, with_results
from genus.errors import GenusError
from genus.ladder import ApproximateDensity, Calibration, GenerativeModel
from genus.ladder.unknown import placeholder_row, unknown_entries
from genus.notebook import Previewed
from genus.questions.calibration import interval_of, measured, mended
from genus.questions.conditional import ColumnGiven, column_given, points_of
from genus.questions.reading import odd_entries, read_for
from genus.questions.related import predict_related
from genus.space import Category, Time

__all__ = ["Predicted", "by_mean", "calibrate", "calibration_of", "predict", "predicted_rows"]

AT_ONCE = 4096  # rows whose distributions, of up to 256 values each, are held together
FILLS = 5  # draws of the blanks of other columns, over which a prediction is averaged


@dataclass(frozen=True, repr=False)
class Predicted(Previewed):
    """Holds predictions of one column for the rows of a table.

    Attributes:
        column: its name.
        value: (N,) the likeliest value of a category, a time, or a column of two values; the mean of other numbers.
        low, high: (N,) the ends of the interval that holds `level` of the probability; None where the value is the likeliest.
        probabilities: of a column of at most 256 values, each value with its probability in every row (N,); else empty.
        level: of the interval.
        label: "exact", or "estimate" where the values are points of many, or the density is itself an estimate.
        reasons: why values of some rows were ignored, each with the number of rows.
        calibration: the calibration by held-out rows that has corrected the predictions; None without one.
        rows: the table itself, as it was read; None where the data are a tensor.
    """

    column: str
    value: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None
    probabilities: dict[Any, np.ndarray]
    level: float
    label: str
    reasons: dict[str, int]
    calibration: Calibration | None = None
    rows: pa.Table | None = None

    def _preview(self) -> tuple[str, pa.Table]:
        how = self.label if self.calibration is None else f"{self.label}, calibrated"
        interval = "" if self.low is None else f", with {self.level:.0%} intervals"
        odd = "".join(f"; {count:,} rows: {reason}" for reason, count in self.reasons.items())
        return f"{self.column} predicted in {len(self.value):,} rows ({how}){interval}{odd}", self.table(probabilities=True)

    def table(self, probabilities: bool = False, beside: bool = False) -> pa.Table:
        """Return the predictions as columns: the value, an interval of numbers, and where asked for the probabilities.

        Args:
            probabilities: whether to add them.
            beside: whether the columns of the data come first, without those that have the name of a prediction.
        """
        out = {f"{self.column} predicted": pa.array(self.value.tolist())}
        if self.low is not None and self.high is not None:
            out |= {f"{self.column} low": pa.array(self.low), f"{self.column} high": pa.array(self.high)}
        if probabilities:
            out |= {f"{self.column}={value}": pa.array(share) for value, share in self.probabilities.items()}
        return pa.table(out) if not beside or self.rows is None else with_results(self.rows, out)


def predict(
    model: GenerativeModel,
    source: Any,
    column: str,
    level: float = 0.9,
    held_out: Any = None,
    calibrated: bool = True,
    **reading: Any,
) -> Predicted:
    """Predict one column of a table from all others that a row has, by a model of their joint distribution.

    The probability of a value is proportional to the joint density with that value in the column. Blanks of other columns are
    drawn first, and predictions averaged over some draws. Values of the column itself are ignored. A calibration of the
    column that the model keeps, see `calibrate`, corrects probabilities and intervals.

    Args:
        model: of a table, with a density.
        source: the table, as `genus.read` takes it; it may lack the column, and others.
        column: its name.
        level: the probability with which the interval of a number is to contain it.
        held_out: rows that the model did not learn from, with values of the column, by which these predictions are calibrated;
            None: by what the model keeps, if anything.
        calibrated: False for the model's own probabilities and intervals, whatever it keeps.
        reading: further arguments of `genus.read`.

    Raises:
        DataError: the data cannot be read, or the model has no such column.
        GenusError: the model has no density, or no table.

    >>> import genus
    >>> data = genus.read("iris")
    >>> model = genus.build("mixture", data.space, components=6)
    >>> _ = genus.fit(model, data, seed=0, progress=False)
    >>> found = predict(model, {"petal width (cm)": [0.2, 2.3], "petal length (cm)": [1.4, 6.0]}, "species")
    >>> found.value.tolist(), found.label
    (['setosa', 'virginica'], 'exact')
    """
    if not 0 < level < 1:
        raise GenusError(f"level is the probability that an interval holds, between 0 and 1; got {level}.")
    # A column that a relation of the codec replaced, or measures another column from, is predicted through the others.
    if (by_relation := predict_related(model, source, column, level, held_out is not None, reading)) is not None:
        fields, rows = by_relation
        return replace(Predicted(column, *fields), rows=rows)
    i = model.space.index(column)
    asked = _Rows.read(model, source, i, reading)
    calibration = model.calibrations.get(column) if calibrated else None
    if held_out is not None:
        calibration = calibration_of(model, i, _Rows.read(model, held_out, i, reading).distributions(), level)
    parts = [_predicted(asked, column, given, level, calibration) for given in asked.parts()]
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        value=np.concatenate([part.value for part in parts]),
        low=_joined([part.low for part in parts]),
        high=_joined([part.high for part in parts]),
        probabilities={v: np.concatenate([part.probabilities[v] for part in parts]) for v in parts[0].probabilities},
    )


def _joined(ends: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Return ends of intervals of all parts, or None where there are none."""
    found = [end for end in ends if end is not None]
    return np.concatenate(found) if found else None


def _predicted(asked: _Rows, column: str, given: ColumnGiven, level: float, calibration: Calibration | None) -> Predicted:
    """Return predictions of a part of the rows, by the distributions of the column in them."""
    given = given if calibration is None else mended(given, calibration)
    decoded, numbers = _decoded(asked.codec, asked.i, given.values), by_mean(asked.model, asked.i, given)
    value = given.mean.numpy() if numbers else np.array(decoded, dtype=object)[given.log_share.argmax(1).numpy()]
    low, high = _interval(asked.codec, asked.i, given, level, calibration) if numbers else (None, None)
    shares = given.log_share.exp().numpy()
    probabilities = {v: shares[:, k] for k, v in enumerate(decoded)} if given.label == "exact" else {}
    return Predicted(column, value, low, high, probabilities, level, given.label, asked.reasons, calibration, asked.table)


def calibrate(model: GenerativeModel, held_out: Any, column: str, level: float = 0.9, **reading: Any) -> Calibration:
    """Measure how far predictions of a column are off on rows that the model did not learn from, and keep it with the model.

    From then on it corrects what `predict` says of this column; `save` writes it into the model's file, and another training
    forgets it.

    Args:
        model: of a table, with a density.
        held_out: the rows, as `genus.read` takes them, with values of the column.
        column: its name.
        level: the probability with which the interval of a number is to contain it, the one that `before` and `after` of the
            result are of; intervals of other probabilities are calibrated too.
        reading: further arguments of `genus.read`.

    Raises:
        DataError: the data cannot be read, the model has no such column, or the rows are too few.
        GenusError: the model has no density, or no table.

    >>> import genus
    >>> data = genus.read("iris")
    >>> train, held_out = data.split(test=0.3, seed=0)
    >>> model = genus.build("mixture", data.space, components=6)
    >>> _ = genus.fit(model, train, seed=0, progress=False)
    >>> genus.calibrate(model, held_out.frame(), "species").rows
    45
    >>> genus.predict(model, {"petal width (cm)": [0.2]}, "species").calibration is model.calibrations["species"]
    True
    """
    i = model.space.index(column)
    calibration = calibration_of(model, i, _Rows.read(model, held_out, i, reading).distributions(), level)
    model.calibrations = {**model.calibrations, column: calibration}
    return calibration


def calibration_of(model: GenerativeModel, i: int, given: tuple[ColumnGiven, Tensor], level: float = 0.9) -> Calibration:
    """Return the calibration of column i by the distributions and values (N,) that `given` holds of some rows."""
    distribution, truth = given
    numbers = by_mean(model, i, distribution)
    usable = truth.isfinite() & (distribution.values == truth[:, None]).any(1) if not numbers else truth.isfinite()
    return measured(distribution._replace(log_share=distribution.log_share[usable]), truth[usable], level, numbers)


def by_mean(model: GenerativeModel, i: int, given: ColumnGiven) -> bool:
    """Return whether a column is predicted by its mean; of two values the likelier is predicted."""
    return not isinstance(model.space.kinds[i], Category | Time) and len(given.values) > 2


def _interval(
    codec: Codec, i: int, given: ColumnGiven, level: float, calibration: Calibration | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends (N,) of intervals of column i that hold `level`, within the range of the column."""
    if calibration is None:
        decoded = np.array(_decoded(codec, i, given.values), dtype=np.float64)
        return decoded[given.quantile((1 - level) / 2).numpy()], decoded[given.quantile((1 + level) / 2).numpy()]
    _, low, high = interval_of(given, level, calibration.stretch(level))
    kind = codec.space.kinds[i]
    least, most = getattr(kind, "low", kind.chart.support[0]), getattr(kind, "high", kind.chart.support[1])
    return low.clamp(least, most).numpy(), high.clamp(least, most).numpy()


@dataclass(frozen=True)
class _Rows:
    """Holds the rows of which a column is to be predicted.

    Attributes:
        model: the model.
        i: the column's number.
        codec: the model's.
        x: (N, D), NaN where blank, or where the model cannot take the value, as a level that training never saw.
        c: their contexts, or None.
        absent: the columns that the table lacks: they are unknown, whatever their blanks mean.
        reasons: which values the model cannot take, each with the number of rows.
        table: the table as it was read.
    """

    model: GenerativeModel
    i: int
    codec: Codec
    x: Tensor
    c: Tensor | None
    absent: list[int]
    reasons: dict[str, int]
    table: pa.Table | None

    @classmethod
    def read(cls, model: GenerativeModel, source: Any, i: int, reading: dict[str, Any]) -> _Rows:
        """Read a table for a model of which column i is asked."""
        codec, data = read_for(model, source, True, reading)
        odd, reasons = odd_entries(model.space, data.x, leave_out=i)
        present = {*(data.table.column_names if data.table is not None else ())}
        absent = [j for j, n in enumerate(model.space.names or ()) if n in codec.column_names and n not in present]
        return cls(model, i, codec, data.x.masked_fill(odd, math.nan), data.c, absent, reasons, data.table)

    def distributions(self) -> tuple[ColumnGiven, Tensor]:
        """Return the distribution of the column in all rows, and their own values (N,), NaN where unknown."""
        return predicted_rows(self.model, self.x, self.c, self.i, self.absent)

    def parts(self) -> Iterator[ColumnGiven]:
        """Yield the distribution of the column for `AT_ONCE` rows at a time, all over the same values."""
        points = points_of(self.model, self.c, self.i) if isinstance(self.model, ApproximateDensity) else None
        for number, at in enumerate(range(0, max(len(self.x), 1), AT_ONCE)):
            rows = slice(at, at + AT_ONCE)
            c = None if self.c is None else self.c[rows]
            # Each part has seeds of its own: otherwise blanks of two parts would be drawn by the same random numbers.
            yield predicted_rows(self.model, self.x[rows], c, self.i, self.absent, points, FILLS * number)[0]


def predicted_rows(
    model: GenerativeModel,
    x: Tensor,
    c: Tensor | None,
    i: int,
    absent: Sequence[int] = (),
    points: tuple[Tensor, Tensor] | None = None,
    seed: int = 0,
) -> tuple[ColumnGiven, Tensor]:
    """Return the distribution of column i given the others of rows x (N, D), and their own values (N,), NaN if unknown.

    Args:
        absent: columns that are unknown in all rows.
        points: see `column_given`.
        seed: of the draws of other blanks.
    """
    space, x = model.space, x.clone()
    unknown = unknown_entries(space, x)
    unknown[:, list(absent)] = True
    truth = x[:, i].double().masked_fill(unknown[:, i], math.nan)
    unknown[:, i] = True
    x[:, i] = placeholder_row(space, x)[i]
    return _averaged(model, x, unknown, c, i, points, seed), truth


def _averaged(
    model: GenerativeModel,
    x: Tensor,
    unknown: Tensor,
    c: Tensor | None,
    i: int,
    points: tuple[Tensor, Tensor] | None,
    seed: int,
) -> ColumnGiven:
    """Return the distribution of column i, averaged over draws of the other unknown entries, bool (N, D)."""
    others = unknown.clone()
    others[:, i] = False
    rows = others.any(1)
    if not bool(rows.any()):
        return column_given(model, x, c, i, values=False, points=points)
    points = points_of(model, c, i) if points is None else points
    c_whole, c_part = (None, None) if c is None else (c[~rows], c[rows])
    parts = []
    for k in range(FILLS):
        filled = model.fill(x[rows], c_part, unknown[rows], seed=seed + k).x.to(x)
        filled[:, i] = x[rows, i]
        given = column_given(model, filled, c_part, i, values=False, points=points)
        parts.append(given.log_share)
    share = parts[0].new_empty(len(x), parts[0].shape[1])
    share[rows] = torch.stack(parts).logsumexp(0).log_softmax(1)
    if not bool(rows.all()):
        share[~rows] = column_given(model, x[~rows], c_whole, i, values=False, points=points).log_share
    nothing = share.new_full((len(x),), math.nan)
    return given._replace(log_share=share, log_density=nothing, expected=nothing)


def _decoded(codec: Codec, i: int, values: Tensor) -> list[Any]:
    """Return values of a column in data units as a person writes them."""
    table = as_table(codec.select([i]), values[:, None].to(codec.space.dtype))
    return table.column(0).to_pylist()
