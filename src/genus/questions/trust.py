"""Report how far predictions of a column can be trusted: calibrated on some held-out rows and tested on others."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from genus.ladder import Calibration, GenerativeModel, TractableDensity
from genus.ladder.calibration import LEVELS
from genus.questions.calibration import by_probability, calibration_error, error_by_chance, interval_of, mended, places_of
from genus.questions.conditional import ColumnGiven, is_listed
from genus.questions.prediction import by_mean, calibration_of, predicted_rows

__all__ = ["Trust", "keep_calibration", "trust_in"]

LEVEL = 0.9  # of the interval that the sentence tells of
MOST, MOST_POINTS = 2000, 500  # rows that are predicted; of a column of many values, which takes as many densities a row


@dataclass(frozen=True)
class Trust:
    """Holds how far predictions of a column were off on rows that neither trained the model nor calibrated it.

    Attributes:
        column: its name.
        calibrated_by: the rows that calibrated it.
        rows: the rows that tell.
        before, after: of levels the expected calibration error, as the model says it and calibrated; of numbers the share of
            values inside the interval of 90 %.
        by_chance: the expected calibration error that so many rows show though the calibrated probabilities are right; None of
            numbers.
        level: of that interval; None of levels.
        groups: of levels (mean probability, share right) of ten groups of rows as the model says it, and the same two figures
            calibrated; of numbers the share that an interval is to hold, and the shares inside it, as the model says and
            calibrated.
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
        """Return what was found, in words.

        Args:
            who: the model.
        """
        rows = f"{self.rows:,} held-out row{'s' if self.rows > 1 else ''}"
        mended = f"calibrated by {self.calibrated_by:,} validation rows, as its file keeps it"
        if self.level is None:
            said = f"the expected calibration error of {who} on {rows} is {self.before:.3f}, and {self.after:.3f} {mended}"
            said += f"; {self.by_chance:.3f} would be chance"
        else:
            said = (
                f"intervals of {self.level:.0%} by {who} hold {self.before:.1%} of {rows}, and {self.after:.1%} when {mended}"
            )
        return f"Of {self.column} predicted from the other columns, {said}."


def keep_calibration(model: GenerativeModel, x: Tensor, c: Tensor | None, column: str) -> Calibration | None:
    """Keep with a model the calibration of a column by rows that it did not learn from, as `calibrate` does.

    Args:
        model: of a table.
        x: rows (N, D) in its space, of which 2,000 are taken at most, and 500 of a column of many values.
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
    found = calibration_of(model, i, predicted_rows(model, *_some(model, i, x, c), i), LEVEL)
    model.calibrations = {**model.calibrations, column: found}
    return found


def trust_in(model: GenerativeModel, x: Tensor, c: Tensor | None, column: str) -> Trust | None:
    """Return how far predictions of a column are off in rows, as the model says them and by the calibration that it keeps.

    Args:
        model, x, c, column: as of `keep_calibration`; the rows are others.

    Returns:
        None where the model keeps no calibration of the column, or no row has a value of it.
    """
    kept = model.calibrations.get(column)
    if kept is None:
        return None
    i = model.space.index(column)
    found, truth = predicted_rows(model, *_some(model, i, x, c), i)
    numbers = by_mean(model, i, found)
    fine = truth.isfinite() if numbers else truth.isfinite() & (found.values == truth[:, None]).any(1)
    found, truth = found._replace(log_share=found.log_share[fine]), truth[fine]
    if not len(truth):
        return None
    if numbers:
        shares = [(one, _inside(found, truth, one, 1.0), _inside(found, truth, one, kept.stretch(one))) for one in LEVELS]
        before, after = next((a, b) for one, a, b in shares if one == LEVEL)
        return Trust(column, kept.rows, len(truth), before, after, None, LEVEL, [*shares])
    place = places_of(found, truth)
    said, again = (one.log_share.double().exp() for one in (found, mended(found, kept)))
    groups = [(*a[:2], *b[:2]) for a, b in zip(by_probability(said, place), by_probability(again, place), strict=True)]
    errors = calibration_error(said, place), calibration_error(again, place)
    return Trust(column, kept.rows, len(truth), *errors, error_by_chance(again), None, [*groups])


def _some(model: GenerativeModel, i: int, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return as many of the rows as are predicted in seconds."""
    most = MOST if is_listed(model.space.kinds[i]) else MOST_POINTS
    return x[:most], None if c is None else c[:most]


def _inside(found: ColumnGiven, truth: Tensor, level: float, stretch: float) -> float:
    """Return the share of values (N,) inside the interval that is to hold `level`."""
    _, low, high = interval_of(found, level, stretch)
    at = truth.double()
    return float(((low <= at) & (at <= high)).double().mean())
