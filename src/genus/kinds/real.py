"""The kind of a coordinate that is a real number, or an atom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from genus.errors import DataError
from genus.kinds.atoms import clear_spikes, robust_moments, spikes
from genus.kinds.base import Number, atoms_text, chart_text, checked_atoms, support_text
from genus.kinds.charts import AFFINE, Chart, Charts
from genus.kinds.fitting import fit_chart

__all__ = ["Real"]

REACH = 6.0  # the u up to which numbers are typical

NEAR = 0.02  # of an end of (0, 1) lie shares that come near it,
BESIDE = 0.05  # and so near it lie a few more


@dataclass(frozen=True)
class Real(Number):
    """Describes a coordinate that is a real number, with Lebesgue measure in the data's own units off the atoms.

    Args:
        loc, scale: of the chart, u = (x - loc) / scale where it is affine.
        atoms: values with probability mass of their own, with counting measure; NaN stands for a missing value.
        chart: the form of the chart, and so the support; loc and scale are then in its units.
        unknown: a missing value is a value that is not known, see `Kind.unknown`.

    >>> Real(loc=38.6, scale=13.7, atoms=(0.0,))
    Real(38.6, 13.7, atoms=(0,))
    >>> Real(loc=3.0, scale=1.0, chart=Chart("log"))
    Real(about 20.0855, above 0, log chart)
    """

    loc: float = 0.0
    scale: float = 1.0
    atoms: tuple[float, ...] = ()
    chart: Chart = AFFINE
    unknown: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.loc) and math.isfinite(self.scale) and self.scale > 0):
            raise DataError(f"Real needs a finite loc and a positive, finite scale; got loc={self.loc}, scale={self.scale}.")
        object.__setattr__(self, "atoms", checked_atoms(self.atoms))

    def __repr__(self) -> str:
        if self.chart.is_affine:
            return f"Real({self.loc:.6g}, {self.scale:.6g}{atoms_text(self)})"
        return f"Real(about {self.middle:.6g}{support_text(self)}{atoms_text(self)}{chart_text(self)})"

    @property
    def middle(self) -> float:
        """Return the number in the middle: loc is in the units of the chart's form, which say little to a person."""
        return self._typical[0][len(self._typical[0]) // 2]

    @property
    def magnitude(self) -> float:
        typical, scales = self._typical
        largest = max(*map(abs, typical), *scales, *map(abs, self.numbers))
        if largest > 1e30 or min(scales) < 1e-30:
            return math.inf  # near the ends of float32's range
        return max(abs(x) / scale for x, scale in zip(typical, scales, strict=True)) * 2.0**10

    @cached_property
    def _typical(self) -> tuple[list[float], list[float]]:
        """Return numbers in the middle and in the tails, and the dx/du of each."""
        if self.chart.is_affine:
            return [self.loc], [self.scale]
        charts = Charts.of([self])
        x = charts.inverse(torch.tensor([[-REACH], [0.0], [REACH]], dtype=torch.float64))
        return x[:, 0].tolist(), (-charts.forward(x)[1][:, 0]).exp().tolist()

    @classmethod
    def measure(cls, present: np.ndarray, atoms: Sequence[float] = (), missing: bool = False, chart: str = "affine") -> Real:
        """Return the Real of values, standardised by their mean and standard deviation off the atoms.

        Args:
            present: (N,) the values that are not missing.
            atoms: the values with mass of their own.
            missing: some values are missing, so NaN is an atom too.
            chart: "affine", on the whole line; or "auto", the chart under which the values are likeliest: on a half line where
                none of them is across zero, on (0, 1) where they are shares that come near both ends.
        """
        listed = np.asarray(atoms, dtype=np.float64)
        blank = (*map(float, atoms), *([math.nan] if missing else []))
        values = present[~np.isin(present, listed)] if len(listed) else present
        if chart == "affine" or len(values) < 2 or not values.min() < values.max():
            return cls(*robust_moments(present, listed), blank)
        fit = fit_chart(values, *_support(values, listed))
        return cls(fit.loc, fit.scale, blank, fit.chart)

    @classmethod
    def atoms_of(
        cls, present: np.ndarray, distinct: np.ndarray, counts: np.ndarray, all_counted: bool, repeated: bool
    ) -> np.ndarray:
        """Return the values that deserve an atom, where they lie on no lattice.

        Args:
            present: (N,) the values that are not missing.
            distinct, counts: (M,) the different values and the rows of each, in all rows or in a part of them.
            all_counted: all rows were counted.
            repeated: every value that repeats deserves an atom.
        """
        if all_counted:
            return distinct[counts > 1 if repeated else spikes(distinct, counts, len(present), None)]
        chosen = distinct[counts >= 3]  # only what repeats in the part can hold a share worth an atom
        counts = np.array([np.count_nonzero(present == v) for v in chosen], dtype=np.int64)
        return chosen[clear_spikes(counts, len(present))]


def _support(values: np.ndarray, atoms: np.ndarray) -> tuple[float, float]:
    """Return the ends of the support of values off the atoms: what they show, and no more."""
    low, high = float(values.min()), float(values.max())
    if low > 0 and high < 1:
        full = np.isin([0.0, 1.0], atoms).all()
        ends = low < NEAR and high > 1 - NEAR and min((values < BESIDE).sum(), (values > 1 - BESIDE).sum()) >= 5
        if full or ends:
            return 0.0, 1.0
    return (0.0 if low > 0 else -math.inf), (0.0 if high < 0 else math.inf)
