"""The kind of a coordinate that is a real number, or an atom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genus.errors import DataError
from genus.kinds.atoms import frequent, standard, worth
from genus.kinds.base import Number, atoms_text, checked_atoms
from genus.kinds.charts import AFFINE, Chart

__all__ = ["Real"]


@dataclass(frozen=True)
class Real(Number):
    """Describes a coordinate that is a real number, with Lebesgue measure in the data's own units off the atoms.

    Args:
        loc, scale: of the chart, u = (x - loc) / scale where it is affine.
        atoms: values with probability mass of their own, with counting measure; NaN stands for a missing value.
        chart: the form of the chart, and so the support; loc and scale are then in its units.

    >>> Real(loc=38.6, scale=13.7, atoms=(0.0,))
    Real(38.6, 13.7, atoms=(0,))
    """

    loc: float = 0.0
    scale: float = 1.0
    atoms: tuple[float, ...] = ()
    chart: Chart = AFFINE

    def __post_init__(self) -> None:
        if not (math.isfinite(self.loc) and math.isfinite(self.scale) and self.scale > 0):
            raise DataError(f"Real needs a finite loc and a positive, finite scale; got loc={self.loc}, scale={self.scale}.")
        object.__setattr__(self, "atoms", checked_atoms(self.atoms))

    def __repr__(self) -> str:
        form = "" if self.chart.is_affine else f", chart={self.chart.form!r}"
        return f"Real({self.loc:.6g}, {self.scale:.6g}{atoms_text(self.atoms)}{form})"

    @property
    def magnitude(self) -> float:
        largest = max(abs(self.loc), self.scale, *map(abs, self.numbers))
        if largest > 1e30 or self.scale < 1e-30:
            return math.inf  # near the ends of float32's range
        return abs(self.loc) / self.scale * 2.0**10

    @classmethod
    def measure(cls, present: np.ndarray, atoms: Sequence[float] = (), missing: bool = False) -> Real:
        """Return the Real of values, standardised by their mean and standard deviation off the atoms.

        Args:
            present: (N,) the values that are not missing.
            atoms: the values with mass of their own.
            missing: some values are missing, so NaN is an atom too.
        """
        loc, scale = standard(present, np.asarray(atoms, dtype=np.float64))
        return cls(loc, scale, (*map(float, atoms), *([math.nan] if missing else [])))

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
            return distinct[counts > 1 if repeated else frequent(distinct, counts, len(present), None)]
        chosen = distinct[counts >= 3]  # only what repeats in the part can hold a share worth an atom
        counts = np.array([np.count_nonzero(present == v) for v in chosen], dtype=np.int64)
        return chosen[worth(counts, len(present))]
