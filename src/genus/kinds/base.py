"""The base of every kind of coordinate: a finite set of states, perhaps a continuous part, and the base measure."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar, Self

import numpy as np

from genus.errors import DataError
from genus.kinds.charts import AFFINE, Chart
from genus.kinds.fitting import fit_chart

__all__ = ["Kind", "Level", "kind_from_json"]

Level = str | int | float | bool | None

_kinds: dict[str, type[Kind]] = {}  # by name in lower case, as JSON has it


class Kind(ABC):
    """Describes one coordinate of x: the states that it can be in, and the numbers that it can be where it is a number.

    A `Category` is states alone. A `Real` and a `Lattice` have state 0, the continuous part, in which a number lies, and one
    state for each atom, a value with probability mass of its own; NaN among the atoms stands for a missing value. A kind is a
    frozen dataclass; its fields are its JSON.

    A subclass gives `states`, `magnitude`, `missing_state` and a `measure` that makes the kind of values.
    """

    NARROW: ClassVar[int] = 256  # a lattice of at most so many values is seen and modelled value by value, and needs no atoms
    FINEST: ClassVar[float] = 2.0**22  # the magnitude up to which float32 keeps a coordinate's values apart

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _kinds[cls.__name__.lower()] = cls

    # Only numbers have these; a category's values leave the index of a level as it is.

    @property
    def loc(self) -> float:
        """Return the number that the chart subtracts, in the units of its form; 0 for a category."""
        return 0.0

    @property
    def scale(self) -> float:
        """Return the number that the chart divides by, in the units of its form; 1 for a category."""
        return 1.0

    @property
    def step(self) -> float:
        """Return the distance of neighbouring values of a lattice; 0 for other kinds."""
        return 0.0

    @property
    def atoms(self) -> tuple[float, ...]:
        """Return the values with probability mass of their own, NaN for a missing value; none for a category."""
        return ()

    @property
    def numbers(self) -> tuple[float, ...]:
        """Return the atoms that are numbers: all but a missing value."""
        return tuple(atom for atom in self.atoms if not math.isnan(atom))

    @property
    def is_narrow(self) -> bool:
        """Return True for a lattice of at most `NARROW` values."""
        return False

    @property
    @abstractmethod
    def states(self) -> int:
        """Return the number of states, the continuous part among them."""

    @property
    @abstractmethod
    def magnitude(self) -> float:
        """Return how many resolvable steps away from 0 the data lie: up to `FINEST`, float32 keeps them apart."""

    @property
    @abstractmethod
    def missing_state(self) -> int:
        """Return the state that means a missing value; -1 where the kind has none."""

    @property
    def has_missing(self) -> bool:
        """Return whether a value can be missing."""
        return self.missing_state >= 0

    @property
    def unknown(self) -> bool:
        """Return whether a blank stands for a value that is not known, so that nothing draws blanks unless it is asked to.

        Otherwise a blank is a value like others: it means something, and is drawn as often as it was seen.
        """
        return False

    @property
    def has_unknown(self) -> bool:
        """Return whether a value can be missing, and a blank then stands for one that is not known, see `unknown`."""
        return self.has_missing and self.unknown

    @property
    def blank_text(self) -> str:
        """Return what a blank is called in a repr."""
        return "blanks unknown" if self.unknown else "missing"

    @property
    def chart(self) -> Chart:
        """Return the form of the map from x to the standardised number u; the identity for a category."""
        return AFFINE

    @property
    def phases(self) -> tuple[tuple[float, float], ...]:
        """Return (speed, angle) of the sinusoids sin(speed * x + angle) that nets see beside x; most kinds have none."""
        return ()

    @abstractmethod
    def with_end(self) -> Kind:
        """Return this kind with a further state, missing, which means in a sequence that it has ended."""

    @abstractmethod
    def without_end(self) -> Kind:
        """Return this kind without the missing state: the inverse of `with_end`."""

    @property
    @abstractmethod
    def missing_value(self) -> float:
        """Return the value of x that stands for a missing value, and so for the end of a sequence."""

    def to_json(self) -> dict[str, Any]:
        """Return the kind as plain JSON values; `kind_from_json` is the inverse."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        if not self.has_missing:
            values.pop("unknown", None)
        if "atoms" in values:
            values["atoms"] = [None if math.isnan(a) else a for a in values["atoms"]]
        if "chart" in values:
            values["chart"] = values["chart"].to_json()
        return {"kind": type(self).__name__.lower(), **values}

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Self:
        """Return the kind with these fields, as JSON has them."""
        if "atoms" in values:
            values["atoms"] = tuple(math.nan if a is None else float(a) for a in values["atoms"])
        if "chart" in values:
            values["chart"] = Chart.from_json(values["chart"])
        if not isinstance(values.get("unknown", False), bool):
            raise DataError(f"unknown says whether a blank is an unknown value, true or false; got {values['unknown']!r}.")
        for field in fields(cls):  # type: ignore[arg-type]
            if field.name in values and not _is_a(field.type, values[field.name]):
                shown = str(values[field.name])[:80]
                raise DataError(f"The {field.name} of a {cls.__name__} is a finite {field.type}; got {shown!r}.")
        return cls(**values)


def _is_a(annotation: Any, value: Any) -> bool:
    """Return whether a value of JSON is what a field's annotation says; what is no number and no text is checked elsewhere."""
    if annotation == "float":
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is {"int": int, "str": str}.get(annotation, type(value))


def kind_from_json(data: dict[str, Any]) -> Kind:
    """Return the kind that `Kind.to_json` described."""
    values = dict(data)
    return _kinds[values.pop("kind")].from_values(values)


def checked_atoms(atoms: Sequence[float]) -> tuple[float, ...]:
    """Return atoms as floats, NaN last; raise DataError where one occurs twice or is infinite."""
    numbers = [float(a) for a in atoms if not math.isnan(a)]
    if len(set(numbers)) != len(numbers) or any(map(math.isinf, numbers)):
        raise DataError(f"Atoms must be different finite numbers or NaN; got {tuple(atoms)}.")
    return (*numbers, math.nan) if len(numbers) < len(atoms) else tuple(numbers)


def atoms_text(kind: Kind) -> str:
    """Return how the atoms of a kind are written at the end of its repr."""
    few, count = ", ".join(f"{atom:.6g}" for atom in kind.numbers[:4]), len(kind.numbers)
    shown = f"({few}, ... {count} in all)" if count > 4 else f"({few}{',' if count == 1 else ''})"
    return (f", atoms={shown}" if count else "") + (f", {kind.blank_text}" if kind.has_missing else "")


def chart_text(kind: Kind) -> str:
    """Return how the chart of a kind is written at the end of its repr; nothing where it is affine, or as good as that."""
    chart = kind.chart
    straight = chart.form == "affine" or (chart.form == "softplus" and kind.loc > 3 * (1 + kind.scale))
    spline = f"spline of {len(chart.knots)} knots" if chart.knots else ""
    words = " and ".join(filter(None, ("" if straight else f"{chart.form} chart", spline)))
    return f", {words}" if words else ""


def support_text(kind: Kind) -> str:
    """Return how the support of a Real is written in its repr; nothing where it is the whole line."""
    low, high = kind.chart.support
    if math.isinf(low) and math.isinf(high):
        return ""
    return f", above {low:g}" if math.isinf(high) else f", below {high:g}" if math.isinf(low) else f", {low:g} to {high:g}"


class Number(Kind):
    """Gives a Real and a Lattice their atoms and the chart of their continuous part."""

    @property
    def states(self) -> int:
        return 1 + len(self.atoms)

    @property
    def missing_state(self) -> int:
        return self.states - 1 if any(map(math.isnan, self.atoms)) else -1

    @property
    def missing_value(self) -> float:
        return math.nan

    def with_end(self) -> Kind:
        return self._with_atoms((*self.atoms, math.nan))

    def without_end(self) -> Kind:
        return self._with_atoms(self.numbers)

    def with_chart_of(self, values: np.ndarray, groups: np.ndarray | None = None) -> Self:
        """Return this kind with the chart, on the same support, under which these values are likeliest.

        Args:
            values: (N,) in data units, NaN where missing; atoms among them do not count.
            groups: (N,) the group of each, see `fit_chart`.
        """
        counts = ~np.isnan(values) & ~np.isin(values, self.numbers)
        inner = values[counts]
        if self.is_narrow or len(inner) < 2 or not inner.min() < inner.max():
            return self
        fit = fit_chart(inner, *self.chart.support, self.step, None if groups is None else groups[counts])
        return replace(self, loc=fit.loc, scale=fit.scale, chart=fit.chart)  # type: ignore[type-var]

    def _with_atoms(self, atoms: tuple[float, ...]) -> Kind:
        return replace(self, atoms=atoms)  # type: ignore[type-var]
