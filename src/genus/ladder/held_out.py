"""Keep a model's log-density of rows that it did not learn from, for a threshold of odd rows and a sentence on drift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genus.errors import DataError, GenusError
from genus.ladder.density import BOUND_DRAWS, ApproximateDensity, TractableDensity
from genus.ladder.functions import map_batches
from genus.nets.state import evaluating

__all__ = ["HeldOut"]

MOST = 1000  # rows
CHANGED = 0.003  # the chance of ranks that differ so much, below which rows are said to differ


@dataclass(frozen=True)
class HeldOut:
    """Holds the log-density of validation rows, ascending, in nats.

    Validation rows stop training and choose forms, so they are a little likelier than rows that nobody has looked at.

    >>> HeldOut((-9.0, -3.0, -2.0, -1.0)).threshold(0.2)
    -9.0
    """

    log_density: tuple[float, ...]

    def __repr__(self) -> str:
        return f"HeldOut({len(self.log_density):,} rows from {self.log_density[0]:.4g} to {self.log_density[-1]:.4g} nats)"

    @classmethod
    @torch.no_grad()
    def of(cls, model: Any, x: Tensor, c: Tensor | None) -> HeldOut | None:
        """Return the log-density of rows x (N, *shape) with contexts c; None where a model has no density, or no table."""
        if not isinstance(model, ApproximateDensity) or not model.space.is_table or not len(x):
            return None
        c = None if c is None else c[:MOST]
        with evaluating(model):
            if isinstance(model, TractableDensity):
                values = map_batches(model.log_prob, x[:MOST], c)
            else:
                draws = [map_batches(lambda x, c, i=i: model.elbo(x, c, seed=i), x[:MOST], c) for i in range(BOUND_DRAWS)]
                values = torch.stack(draws).mean(0)
        fine = values[values.isfinite()].double().sort().values
        return cls(tuple(fine.tolist())) if len(fine) else None

    @classmethod
    def from_json(cls, values: Any) -> HeldOut | None:
        """Return what `to_json` gave; raise DataError where it is something else."""
        if values is None:
            return None
        numbers = isinstance(values, list) and all(isinstance(v, float | int) and not isinstance(v, bool) for v in values)
        if not numbers or not 0 < len(values) <= MOST or not all(map(math.isfinite, values)) or sorted(values) != values:
            raise DataError(f"held_out must be 1 to {MOST:,} log-densities, ascending.")
        return cls(tuple(map(float, values)))

    def to_json(self) -> list[float]:
        """Return the log-densities."""
        return list(self.log_density)

    def threshold(self, false_alarms: float) -> float:
        """Return the log-density below which at most this share of rows like the held-out ones lies on average.

        It is the k-th least of n, k the whole part of false_alarms (n + 1): a further row is below it with probability
        k / (n + 1) at most, whatever the distribution (Vovk et al. 2005).

        Raises:
            GenusError: so few rows cannot tell such a small share.
        """
        if not 0 < false_alarms < 1:
            raise GenusError(f"false_alarms is a share of ordinary rows, between 0 and 1; got {false_alarms}.")
        n = len(self.log_density)
        k = math.floor(false_alarms * (n + 1) + 1e-9)
        if k < 1:
            raise GenusError(
                f"A rate of false alarms of {false_alarms:g} asks for {math.ceil(1 / false_alarms) - 1:,} held-out rows, and"
                f" the model was trained with {n:,}; take {1 / (n + 1):.2g} or more, or train with more validation rows."
            )
        return self.log_density[k - 1]

    def compared(self, log_density: Sequence[float]) -> str:
        """Return a sentence on whether rows with these log-densities are like the held-out rows."""
        from scipy.stats import mannwhitneyu

        rows, held = torch.tensor(log_density, dtype=torch.float64), torch.tensor(self.log_density, dtype=torch.float64)
        if len(rows) < 2 or len(held) < 2:
            return "Too few rows to say whether they are like the validation rows of training."
        p = float(mannwhitneyu(rows, held).pvalue)  # of ranks: neither few rows nor heavy tails fool it
        told = f"mean {rows.mean():.2f} against {held.mean():.2f} nats a row, p = {p:.2g}"
        if not p < CHANGED:
            return f"Nothing says that the rows are more or less likely than the validation rows of training: {told}."
        how = "less" if rows.mean() < held.mean() else "more"
        return f"The rows are {how} likely than the validation rows of training, so they differ: {told}."
