"""The kinds of one coordinate: a finite set of states, plus perhaps a remainder.

A `Category` is states alone; a `Real` or an `Lattice` is state 0, the remainder, plus one state for each atom, a value
with mass of its own (zero in a zero-inflated column; NaN, which is how a missing number is written).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from genus.errors import DataError

__all__ = ["Category", "Lattice", "Kind", "Level", "Real", "holds_missing", "kind_from_json", "kind_to_json", "missing_state"]

Level = str | int | float | bool | None


@dataclass(frozen=True)
class Real:
    """A real number: Lebesgue measure in the data's own units, off the atoms.

    Args:
        loc, scale: what standardises it, u = (x - loc) / scale; a log-density in u becomes one in data units by
            subtracting log(scale).
        atoms: values with point mass of their own, measured by counting; NaN stands for a missing value.

    >>> Real(loc=38.6, scale=13.7, atoms=(0.0,))
    Real(38.6, 13.7, atoms=(0,))
    """

    loc: float = 0.0
    scale: float = 1.0
    atoms: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.loc) and math.isfinite(self.scale) and self.scale > 0):
            raise DataError(f"Real needs a finite loc and a positive, finite scale; got loc={self.loc}, scale={self.scale}.")
        object.__setattr__(self, "atoms", _checked_atoms(self.atoms))

    def __repr__(self) -> str:
        return f"Real({self.loc:.6g}, {self.scale:.6g}{_atoms_text(self.atoms)})"

    @property
    def states(self) -> int:
        return 1 + len(self.atoms)

    @property
    def magnitude(self) -> float:
        """How many steps of the standardised unit away from 0 the data lie: decides float32 or float64."""
        largest = max(abs(self.loc), self.scale, *(abs(a) for a in self.atoms if not math.isnan(a)))
        if largest > 1e30 or self.scale < 1e-30:
            return math.inf  # near the ends of float32's range
        return abs(self.loc) / self.scale * 2.0**10


@dataclass(frozen=True)
class Lattice:
    """A bounded lattice low, low + step, ..., high: counting measure.

    Whole numbers, grey levels, and any real column recorded at a visible resolution (multiples of 0.1, say).

    Args:
        low, high: the least and the greatest value of the lattice.
        step: the distance of neighbouring values.
        atoms: values with mass of their own, on or off the lattice; the remainder is the lattice without them.
        loc, scale: what standardises it; from low and high where not given.
        digits: significant decimal digits the values are written with, so that 0.1 + 0.2 decodes to 0.3; 17 keeps all.

    >>> Lattice(0, 16).size
    17
    >>> Lattice(3.0, 8.0, step=0.5, atoms=(float("nan"),))
    Lattice(3, 8, step=0.5, missing)
    """

    low: float
    high: float
    step: float = 1.0
    atoms: tuple[float, ...] = ()
    loc: float = field(default=math.nan, repr=False)
    scale: float = field(default=math.nan, repr=False)
    digits: int = field(default=15, repr=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high and self.step > 0):
            raise DataError(f"Lattice needs finite low <= high and step > 0; got {self.low}, {self.high}, {self.step}.")
        steps = (self.high - self.low) / self.step
        if abs(steps - round(steps)) > 1e-6 * max(1.0, steps):
            raise DataError(f"Lattice's high must be low plus whole steps; got {self.low}, {self.high}, step {self.step}.")
        object.__setattr__(self, "atoms", _checked_atoms(self.atoms))
        if len(self.lattice_atoms) >= self.size:
            raise DataError(f"Lattice({self.low}, {self.high}) has every lattice value among its atoms; leave one out.")
        if math.isnan(self.loc):
            object.__setattr__(self, "loc", (self.low + self.high) / 2)
        if not self.scale > 0:
            object.__setattr__(self, "scale", max(self.high - self.low, self.step) / math.sqrt(12))

    def __repr__(self) -> str:
        step = "" if self.step == 1 else f", step={self.step:.6g}"
        return f"Lattice({self.low:.10g}, {self.high:.10g}{step}{_atoms_text(self.atoms)})"

    @property
    def states(self) -> int:
        return 1 + len(self.atoms)

    @property
    def size(self) -> int:
        """The number of lattice values."""
        return round((self.high - self.low) / self.step) + 1

    @property
    def lattice_atoms(self) -> tuple[float, ...]:
        """The atoms that are lattice values too."""
        index = [(a, (a - self.low) / self.step) for a in self.atoms if not math.isnan(a)]
        return tuple(a for a, i in index if abs(i - round(i)) < 1e-6 and 0 <= round(i) < self.size)

    @property
    def magnitude(self) -> float:
        largest = max(abs(self.low), abs(self.high), *(abs(a) for a in self.atoms if not math.isnan(a)))
        return math.inf if largest > 1e30 or self.step < 1e-30 else max(abs(self.low), abs(self.high)) / self.step


@dataclass(frozen=True)
class Category:
    """One of a finite set of levels without order: counting measure. The level None stands for a missing value.

    >>> Category(("no", "yes")).states
    2
    """

    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        if not self.levels or len(set(self.levels)) != len(self.levels):
            raise DataError(f"Category needs at least one level and no level twice; got {self.levels!r}.")

    def __repr__(self) -> str:
        shown = ", ".join("missing" if level is None else repr(level) for level in self.levels[:6])
        return f"Category({shown}{', ...' if len(self.levels) > 6 else ''}; {len(self.levels)} levels)"

    @property
    def states(self) -> int:
        return len(self.levels)

    @property
    def magnitude(self) -> float:
        return float(len(self.levels))


Kind = Real | Lattice | Category


def _checked_atoms(atoms: Sequence[float]) -> tuple[float, ...]:
    numbers = [float(a) for a in atoms if not math.isnan(a)]
    if len(set(numbers)) != len(numbers) or any(map(math.isinf, numbers)):
        raise DataError(f"Atoms must be different finite numbers or NaN; got {tuple(atoms)}.")
    return (*numbers, math.nan) if len(numbers) < len(atoms) else tuple(numbers)


def _atoms_text(atoms: tuple[float, ...]) -> str:
    numbers = tuple(a for a in atoms if not math.isnan(a))
    few = ", ".join(f"{a:.6g}" for a in numbers[:4])
    shown = f"({few}, ... {len(numbers)} in all)" if len(numbers) > 4 else f"({few}{',' if len(numbers) == 1 else ''})"
    return (f", atoms={shown}" if numbers else "") + (", missing" if len(numbers) < len(atoms) else "")


def holds_missing(kind: Kind) -> bool:
    return None in kind.levels if isinstance(kind, Category) else any(map(math.isnan, kind.atoms))


def missing_state(kind: Kind) -> int:
    if not holds_missing(kind):
        return -1
    return kind.levels.index(None) if isinstance(kind, Category) else kind.states - 1


def kind_to_json(kind: Kind) -> dict[str, Any]:
    values = {name: getattr(kind, name) for name in kind.__dataclass_fields__}
    if "atoms" in values:
        values["atoms"] = [None if math.isnan(a) else a for a in values["atoms"]]
    return {"kind": type(kind).__name__.lower(), **values}


def kind_from_json(data: dict[str, Any]) -> Kind:
    values = dict(data)
    kind = {"real": Real, "lattice": Lattice, "category": Category}[values.pop("kind")]
    if "atoms" in values:
        values["atoms"] = tuple(math.nan if a is None else float(a) for a in values["atoms"])
    return kind(**values)
