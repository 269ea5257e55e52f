"""Report how far predictions of a column can be trusted: calibrated on some held-out rows and tested on others."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from genus.ladder import Calibration, GenerativeModel, TractableDensity
from genus.ladder.calibration import LEVELS
from genus.ladder.unknown import unknown_entries
from genus.questions.calibration import by_probability, calibration_error, error_by_chance, interval_of, mended, places_of
from genus.questions.conditional import ColumnGiven, has_few_values
from genus.questions.prediction import by_mean, calibration_of, predicted_rows

__all__ = ["Trust", "keep_calibration", "rows_to_predict", "trust_in"]

LEVEL = 0.9  # the level of the interval that the sentence tells of
MOST, MOST_POINTS = 2000, 500  # the most rows that are predicted; of a column of many values, each row of which costs more
COMPLETE = 100  # rows that lack no other column, from which on only these are predicted


@dataclass(frozen=True)
class Trust:
    """Holds how far predictions of a column were off on rows that neither trained the model nor calibrated it.

    Attributes:
        column: its name.
        calibrated_by: the rows that calibrated it.
        rows: the number of rows on which the predictions were tested; these lack no other column, where there are enough.
        before, after: of levels the expected calibration error, by the model itself and calibrated; of numbers the share of
            values inside the interval of 90 %.
        by_chance: the expected calibration error that so many rows would show if the calibrated probabilities were right; None
            for numbers.
        level: the level of that interval; None for levels.
        groups: of levels, for each of ten groups of rows, (mean probability, share right) by the model itself and the same two
            calibrated; of numbers, for several levels, the level and the shares of values inside its interval, by the model
            itself and calibrated.
    """

    column: str
    calibrated_by: int
    rows: int
    before: float
    after: float
    by_chance: float | None
    level: float | None
    groups: list[tuple[float, ...]]

    def to_json(self) -> dict[str, Any]:
        """Return the values of all attributes."""
        return asdict(self)

    def sentence(self, who: str) -> str:
        """Return the figures in a sentence.

        Args:
            who: the model, as the sentence names it.
        """
        rows = f"{self.rows:,} held-out row{'s' if self.rows > 1 else ''}"
        after = f"calibrated by {self.calibrated_by:,} validation rows, as its file keeps it"
        if self.level is None:
            figures = f"the expected calibration error of {who} on {rows} is {self.before:.3f}, and {self.after:.3f} {after}"
            figures += f"; {self.by_chance:.3f} would be chance"
        else:
            figures = (
                f"intervals of {self.level:.0%} by {who} hold {self.before:.1%} of {rows}, and {self.after:.1%} when {after}"
            )
        return f"Of {self.column} predicted from the other columns, {figures}."


def keep_calibration(model: GenerativeModel, x: Tensor, c: Tensor | None, column: str) -> Calibration | None:
    """Keep with a model the calibration of a column by rows that it did not learn from, as `calibrate` does.

    Args:
        model: of a table.
        x: rows (N, D) in its space, of which `rows_to_predict` takes some.
        c: their contexts, (N, *context.shape), or None.
        column: its name.

    Returns:
        The calibration; None of a model without an exact density, since candidates of a bound would take minutes.

    Raises:
        DataError: the model has no such column, or the rows are too few.
    """
    if not isinstance(model, TractableDensity):
        return None
    i = model.space.index(column)
    calibration = calibration_of(model, i, predicted_rows(model, *rows_to_predict(model, i, x, c), i), LEVEL)
    model.calibrations = {**model.calibrations, column: calibration}
    return calibration


def trust_in(model: GenerativeModel, x: Tensor, c: Tensor | None, column: str) -> Trust | None:
    """Return how far predictions of a column are off in rows, by the model itself and by the calibration that it keeps.

    Args:
        model, x, c, column: as of `keep_calibration`; rows that did not calibrate the column.

    Returns:
        None where the model keeps no calibration of the column, or no row has a value of it.
    """
    kept = model.calibrations.get(column)
    if kept is None:
        return None
    i = model.space.index(column)
    distribution, truth = predicted_rows(model, *rows_to_predict(model, i, x, c), i)
    numbers = by_mean(model, i, distribution)
    fine = truth.isfinite() if numbers else truth.isfinite() & (distribution.values == truth[:, None]).any(1)
    distribution, truth = distribution._replace(log_share=distribution.log_share[fine]), truth[fine]
    if not len(truth):
        return None
    if numbers:
        shares = [
            (level, _inside(distribution, truth, level, 1.0), _inside(distribution, truth, level, kept.stretch(level)))
            for level in LEVELS
        ]
        before, after = next((own, corrected) for level, own, corrected in shares if level == LEVEL)
        return Trust(column, kept.rows, len(truth), before, after, None, LEVEL, [*shares])
    place = places_of(distribution, truth)
    own, corrected = (one.log_share.double().exp() for one in (distribution, mended(distribution, kept)))
    groups = [(*a[:2], *b[:2]) for a, b in zip(by_probability(own, place), by_probability(corrected, place), strict=True)]
    errors = calibration_error(own, place), calibration_error(corrected, place)
    return Trust(column, kept.rows, len(truth), *errors, error_by_chance(corrected), None, [*groups])


def rows_to_predict(model: GenerativeModel, i: int, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return as many of the rows (N, D) and contexts as are predicted in seconds.

    Rows that lack another column than i are averaged over what it may hold, which by a stack takes a hundred times as long:
    they are left out where COMPLETE others are there.
    """
    lacking = unknown_entries(model.space, x)
    lacking[:, i] = False
    complete = ~lacking.any(1)
    if int(complete.sum()) >= COMPLETE:
        x, c = x[complete], None if c is None else c[complete]
    most = MOST if has_few_values(model.space.kinds[i]) else MOST_POINTS
    return x[:most], None if c is None else c[:most]


def _inside(distribution: ColumnGiven, truth: Tensor, level: float, stretch: float) -> float:
    """Return the share of values (N,) inside the intervals that are to hold `level`, stretched."""
    _, low, high = interval_of(distribution, level, stretch)
    value = truth.double()
    return float(((low <= value) & (value <= high)).double().mean())
