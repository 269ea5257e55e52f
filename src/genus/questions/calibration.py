"""Measure the calibration of predicted probabilities and intervals on rows that a model did not learn from, and correct it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genus.errors import DataError
from genus.ladder import Calibration, isolated
from genus.ladder.calibration import LEVELS
from genus.questions.conditional import ColumnGiven

__all__ = ["by_probability", "calibration_error", "error_by_chance", "interval_of", "measured", "mended", "places_of"]

LEAST = 20  # rows that can calibrate anything
TEMPERATURES = torch.linspace(-1.5, 1.5, 121, dtype=torch.float64).exp()
BINS = 10  # of equally many rows
CHANCE = 20  # draws of values by which the error that is chance is measured


def measured(found: ColumnGiven, truth: Tensor, level: float, interval: bool) -> Calibration:
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
        stretches = [(one, _conformal(_reach(found, truth, one), one)) for one in sorted({*LEVELS, level})]
        before = float((reach <= 1).double().mean())
        return Calibration(len(truth), 1.0, tuple(stretches), before, float(sum(inside)) / 2, level)
    place = places_of(found, truth)
    share = found.log_share.double()
    again = torch.empty_like(share)
    for part in (half, ~half):
        again[part] = (share[part] / _temperature(share[~part], place[~part])).log_softmax(1)
    before, after = (calibration_error(p.exp(), place) for p in (share, again))
    return Calibration(len(truth), _temperature(share, place), (), before, after, None)


def mended(found: ColumnGiven, calibration: Calibration) -> ColumnGiven:
    """Return distributions whose probabilities are rescaled by the temperature of a calibration."""
    return found._replace(log_share=(found.log_share / calibration.temperature).log_softmax(1))


def places_of(found: ColumnGiven, truth: Tensor) -> Tensor:
    """Return the index, among the distribution's values, of the value that each row has, (N,)."""
    return (found.values - truth[:, None].double()).abs().argmin(1)


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
    groups = by_probability(probability, place)
    return sum(count * abs(said - right) for said, right, count in groups) / max(len(place), 1)


def by_probability(probability: Tensor, place: Tensor) -> list[tuple[float, float, int]]:
    """Return groups of rows, by the probability of their likeliest value: its mean, the share that is right, and the rows.

    Args:
        probability, place: as of `calibration_error`.
    """
    highest, chosen = probability.max(1)
    right = (chosen == place).double()
    groups = [group for group in highest.argsort().tensor_split(BINS) if len(group)]
    return [(float(highest[group].double().mean()), float(right[group].mean()), len(group)) for group in groups]


def error_by_chance(probability: Tensor, seed: int = 0) -> float:
    """Return the calibration error that N rows show by chance, on average, when the probabilities (N, K) are right."""
    with isolated(seed):
        drawn = [probability.double().multinomial(1)[:, 0] for _ in range(CHANCE)]
    return sum(calibration_error(probability, place) for place in drawn) / CHANCE


def _temperature(log_share: Tensor, place: Tensor) -> float:
    """Return the temperature that maximises the likelihood of the values with these indices."""
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
