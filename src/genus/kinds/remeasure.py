"""Measure a kind again on a part of the rows, so that what the others hold stays unseen."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from genus.kinds.atoms import distinct_counts
from genus.kinds.lattice import Lattice
from genus.kinds.numbers import measure_numbers
from genus.kinds.real import Real
from genus.kinds.steps import Steps, points

__all__ = ["remeasured"]


def remeasured(kind: Real | Lattice, values: np.ndarray, groups: np.ndarray | None = None) -> Real | Lattice:
    """Return a kind with the atoms and the chart that some values show, on the same lattice or support.

    Atoms that have no other place stay: those off the lattice, or at an end of the support. So every value that the kind has a
    place for keeps one. A short lattice, whose values are seen one by one, stays as it is.

    Args:
        kind: of the column, measured on more rows.
        values: (N,) in data units, NaN where missing.
        groups: (N,) the group of each, see `fit_chart`.

    >>> kind = Real(3.0, 1.0, atoms=(3.5,))
    >>> remeasured(kind, np.random.default_rng(0).normal(3, 1, 1000)).atoms
    ()
    """
    present = values[~np.isnan(values)]
    if kind.is_narrow or not len(present) or present.min() == present.max():
        return kind
    atoms = {*_fixed(kind), *(_spikes(kind, present) if isinstance(kind, Lattice) else _repeated(present))}
    blank = [math.nan] if kind.has_missing else []
    again: Real | Lattice = replace(kind, atoms=(*sorted(atoms), *blank))
    return again.with_chart_of(values, groups)


def _fixed(kind: Real | Lattice) -> list[float]:
    """Return the atoms that have no other place."""
    if isinstance(kind, Lattice):
        placed = {*kind.lattice_atoms}
        return [atom for atom in kind.numbers if atom not in placed]
    low, high = kind.chart.support
    return [atom for atom in kind.numbers if not low < atom < high]


def _spikes(kind: Lattice, present: np.ndarray) -> list[float]:
    """Return the lattice values that deserve an atom by some rows."""
    rest = present[~np.isin(present, _fixed(kind))]
    if not len(rest):
        return []
    distinct, counts = distinct_counts(rest)
    seen = Steps(float(distinct[0]), float(distinct[-1]), kind.step, kind.digits, np.ones(len(distinct), dtype=bool))
    chosen = distinct[kind.spikes(distinct, counts, len(present), seen)]
    return points(kind.low, kind.step, np.round((chosen - kind.low) / kind.step)).tolist()  # as the lattice writes them


def _repeated(present: np.ndarray) -> list[float]:
    """Return the values that deserve an atom off a lattice by some rows."""
    return list(measure_numbers("", present, "real").numbers)
