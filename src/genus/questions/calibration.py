"""Measure how far predicted probabilities and intervals are off on rows that a model did not learn from, and mend them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genus.errors import DataError
from genus.questions.conditional import ColumnGiven

__all__ = ["Calibration", "calibration_error", "interval_of"]

LEAST = 20  # rows that can calibrate anything
TEMPERATURES = torch.linspace(-1.5, 1.5, 121, dtype=torch.float64).exp()
BINS = 10  # of equally many rows


@dataclass(frozen=True)
class Calibration:
    """Holds how predictions of a column are mended, and how far they were off.

    Attributes:
        rows: the held-out rows that tell.
        temperature: by which log-probabilities are divided, so that held-out values are likeliest.
        stretch: by which the ends of an interval move away from the mean, so that it holds its share of further values.
        before, after: of a column whose likeliest value is predicted the expected calibration error, as the model says it and
            with a temperature from the other half of these rows; of numbers the share of held-out values inside the interval.
        interval: whether they are shares inside intervals.
    """

    rows: int
    temperature: float
    stretch: float
    before: float
    after: float
    interval: bool

    @classmethod
    def of(cls, found: ColumnGiven, truth: Tensor, level: float, interval: bool) -> Calibration:
        """Measure predictions of held-out rows.

        Args:
            found: the distributions that the model predicts for N rows.
            truth: (N,) the values that these rows have, in data units.
            level: that an interval is to hold.
            interval: whether the column is predicted by its mean and an interval.

        Raises:
            DataError: the rows are too few.
        """
        if len(truth) < LEAST:
            raise DataError(f"{len(truth)} rows with a value of the column cannot calibrate it; give {LEAST} or more.")
        half = torch.arange(len(truth)) % 2 == 0
        if interval:
            reach = _reach(found, truth, level)
            inside = [(reach[part] <= _conformal(reach[~part], level)).double().mean() for part in (half, ~half)]
            before = float((reach <= 1).double().mean())
            return cls(len(truth), 1.0, _conformal(reach, level), before, float(sum(inside)) / 2, True)
        place = (found.values - truth[:, None].double()).abs().argmin(1)
        share = found.log_share.double()
        mended = torch.empty_like(share)
        for part in (half, ~half):
            mended[part] = (share[part] / _temperature(share[~part], place[~part])).log_softmax(1)
        before, after = (calibration_error(p.exp(), place) for p in (share, mended))
        return cls(len(truth), _temperature(share, place), 1.0, before, after, False)

    def apply(self, found: ColumnGiven) -> ColumnGiven:
        """Return mended distributions."""
        return found._replace(log_share=(found.log_share / self.temperature).log_softmax(1))

    def __str__(self) -> str:
        if self.interval:
            told = (
                f"of {self.rows:,} held-out rows {self.before:.1%} were inside the interval, {self.after:.1%} when calibrated"
            )
        else:
            told = (
                f"the expected calibration error was {self.before:.3f} on {self.rows:,} held-out rows, {self.after:.3f} when"
                " calibrated by the other half of them"
            )
        return told


def calibration_error(probability: Tensor, place: Tensor) -> float:
    """Return the expected calibration error: how far the likeliest values' probabilities are from how often they are right.

    The mean over ten groups of rows, by that probability, of the difference of its mean and the share that is right
    (Guo et al. 2017).

    Args:
        probability: (N, K).
        place: (N,) which value each row has.

    >>> calibration_error(torch.tensor([[0.75, 0.25]] * 10), torch.tensor([0] * 10))
    0.25
    """
    highest, chosen = probability.max(1)
    right = (chosen == place).double()
    order = highest.argsort()
    groups = [g for g in order.tensor_split(BINS) if len(g)]
    return float(sum(len(g) * (highest[g].double().mean() - right[g].mean()).abs() for g in groups)) / max(len(order), 1)


def _temperature(log_share: Tensor, place: Tensor) -> float:
    """Return the temperature under which the values at these places are likeliest."""
    rows = torch.arange(len(place))
    loss = torch.stack([-(log_share / t).log_softmax(1)[rows, place].clamp(min=-50).mean() for t in TEMPERATURES])
    return float(TEMPERATURES[loss.argmin()])


def _reach(found: ColumnGiven, truth: Tensor, level: float) -> Tensor:
    """Return how far each value (N,) is from the mean, where the end of the model's interval on its side is 1."""
    mean, low, high = interval_of(found, level)
    least = 1e-6 * max(float(high.max() - low.min()), 1e-300)  # an interval may be a point
    end = torch.where(truth < mean, mean - low, high - mean).clamp(min=least)
    return (truth.double() - mean).abs() / end


def interval_of(found: ColumnGiven, level: float, stretch: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean of each row's distribution, and the ends of the interval that holds `level`, stretched, (N,) each."""
    mean = found.mean.double()
    low, high = (found.values[found.quantile(q)].double() for q in ((1 - level) / 2, (1 + level) / 2))
    low, high = torch.minimum(low, mean), torch.maximum(high, mean)
    return mean, mean - stretch * (mean - low), mean + stretch * (high - mean)


def _conformal(reach: Tensor, level: float) -> float:
    """Return what a further value's reach is at most with probability `level`, by those of others (Vovk et al. 2005)."""
    k = math.ceil(level * (len(reach) + 1))
    return float(reach.sort().values[min(k, len(reach)) - 1])
