"""Measure the calibration of predicted probabilities and intervals on rows that a model did not learn from, and correct it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genus.errors import DataError
from genus.ladder import Calibration
from genus.ladder.calibration import LEVELS
from genus.questions.conditional import ColumnGiven
from genus.random import isolated

__all__ = ["by_probability", "calibration_error", "error_by_chance", "interval_of", "measured", "mended", "places_of"]

LEAST = 20  # the fewest rows that can calibrate anything
TEMPERATURES = torch.linspace(-1.5, 1.5, 121, dtype=torch.float64).exp()  # the temperatures to choose from
BINS = 10  # groups of equally many rows, over which the calibration error is a mean
CHANCE = 20  # draws of values by which the error that is chance is measured


def measured(distribution: ColumnGiven, truth: Tensor, level: float, interval: bool) -> Calibration:
    """Measure how far predictions of held-out rows are off, and what corrects them: a temperature, or stretches of intervals.

    Each half of the rows is corrected by the other for the figures after correction; the correction itself is by all rows.

    Args:
        distribution: the distributions that the model predicts for N rows.
        truth: (N,) the values that these rows have, in data units.
        level: the probability that an interval is to hold.
        interval: whether the column is predicted by its mean and an interval.

    Raises:
        DataError: the rows are too few.
    """
    if len(truth) < LEAST:
        raise DataError(f"{len(truth)} rows with a value of the column cannot calibrate it; give {LEAST} or more.")
    half = torch.arange(len(truth)) % 2 == 0
    if interval:
        reach = _reach(distribution, truth, level)
        inside = [(reach[part] <= _conformal(reach[~part], level)).double().mean() for part in (half, ~half)]
        stretches = [(q, _conformal(_reach(distribution, truth, q), q)) for q in sorted({*LEVELS, level})]
        before = float((reach <= 1).double().mean())
        return Calibration(len(truth), 1.0, tuple(stretches), before, float(sum(inside)) / 2, level)
    place = places_of(distribution, truth)
    log_share = distribution.log_share.double()
    corrected = torch.empty_like(log_share)
    for part in (half, ~half):
        corrected[part] = (log_share[part] / _temperature(log_share[~part], place[~part])).log_softmax(1)
    before, after = (calibration_error(log_p.exp(), place) for log_p in (log_share, corrected))
    return Calibration(len(truth), _temperature(log_share, place), (), before, after, None)


def mended(distribution: ColumnGiven, calibration: Calibration) -> ColumnGiven:
    """Return distributions whose probabilities are rescaled by the temperature of a calibration."""
    return distribution._replace(log_share=(distribution.log_share / calibration.temperature).log_softmax(1))


def places_of(distribution: ColumnGiven, truth: Tensor) -> Tensor:
    """Return the index, among the distribution's values, of the value that each row has, (N,)."""
    return (distribution.values - truth[:, None].double()).abs().argmin(1)


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
    """Return ten groups of rows by the probability of their likeliest value.

    Args:
        probability, place: as of `calibration_error`.

    Returns:
        Of each group the mean of that probability, the share of rows that have that value, and the number of rows.
    """
    highest, likeliest = probability.max(1)
    right = (likeliest == place).double()
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


def _reach(distribution: ColumnGiven, truth: Tensor, level: float) -> Tensor:
    """Return how far each value (N,) is from the mean, where the end of the model's interval on its side is 1."""
    mean, low, high = interval_of(distribution, level)
    least = 1e-6 * max(float(high.max() - low.min()), 1e-300)  # an interval may be a point
    end = torch.where(truth < mean, mean - low, high - mean).clamp(min=least)
    return (truth.double() - mean).abs() / end


def interval_of(distribution: ColumnGiven, level: float, stretch: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Return each row's mean, and the ends of the interval that holds `level`, `stretch` times as far from it, (N,) each."""
    mean = distribution.mean.double()
    low, high = (distribution.values[distribution.quantile(q)].double() for q in ((1 - level) / 2, (1 + level) / 2))
    low, high = torch.minimum(low, mean), torch.maximum(high, mean)
    return mean, mean - stretch * (mean - low), mean + stretch * (high - mean)


def _conformal(reach: Tensor, level: float) -> float:
    """Return the bound below which a further value's reach lies with probability `level`, by others (Vovk et al. 2005)."""
    k = math.ceil(level * (len(reach) + 1))
    return float(reach.sort().values[min(k, len(reach)) - 1])
