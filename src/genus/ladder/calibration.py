"""Keep with a model by how much its predictions of a column are mended, and how far they were off on held-out rows."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from genus.errors import DataError
from genus.space import Space

__all__ = ["LEVELS", "Calibration", "calibrations_from_json"]

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # of intervals whose stretch is kept


@dataclass(frozen=True)
class Calibration:
    """Holds how predictions of a column are mended, and how far they were off.

    Attributes:
        rows: the held-out rows that tell.
        temperature: by which log-probabilities are divided, so that held-out values are likeliest.
        stretches: by which the ends of an interval move away from the mean, so that it holds its share of further values: pairs
            of the share and the factor, ascending; none of a column whose likeliest value is predicted.
        before, after: of a column whose likeliest value is predicted the expected calibration error, as the model says it and
            with a temperature from the other half of these rows; of numbers the share of held-out values inside the interval.
        level: the share that this interval is to hold; None of a column whose likeliest value is predicted.

    >>> Calibration(100, 1.0, ((0.5, 1.0), (0.9, 2.0)), 0.8, 0.9, 0.9).stretch(0.7)
    1.5
    """

    rows: int
    temperature: float
    stretches: tuple[tuple[float, float], ...]
    before: float
    after: float
    level: float | None

    def stretch(self, level: float) -> float:
        """Return the factor of intervals that are to hold this share, between those of the nearest measured shares."""
        if not self.stretches:
            return 1.0
        below = [pair for pair in self.stretches if pair[0] <= level] or [self.stretches[0]]
        above = [pair for pair in self.stretches if pair[0] >= level] or [self.stretches[-1]]
        (low, first), (high, last) = below[-1], above[0]
        return first if high <= low else first + (last - first) * (level - low) / (high - low)

    @classmethod
    def from_json(cls, values: Any) -> Calibration:
        """Return what `to_json` gave; raise DataError where it is something else."""
        fields = {"rows", "temperature", "stretches", "before", "after", "level"}
        if not isinstance(values, dict) or values.keys() != fields or not isinstance(values["stretches"], list):
            raise DataError(f"A calibration must have {', '.join(sorted(fields))}.")
        pairs = values["stretches"]
        level = values["level"]
        fine = (
            isinstance(values["rows"], int)
            and values["rows"] > 0
            and _is_number(values["temperature"], above=True)
            and all(_is_number(values[name]) and values[name] <= 1 for name in ("before", "after"))
            and len(pairs) <= len(LEVELS) + 1
            and all(isinstance(p, list) and len(p) == 2 and _is_number(p[0], True) and _is_number(p[1]) for p in pairs)
            and all(one[0] < 1 for one in pairs)
            and [p[0] for p in pairs] == sorted({p[0] for p in pairs})
            and (level is None) == (not pairs)
            and (level is None or (_is_number(level, True) and level < 1))
        )
        if not fine:
            raise DataError("A calibration must hold finite numbers: a temperature above 0, and stretches by ascending shares.")
        return cls(**values | {"stretches": tuple((float(a), float(b)) for a, b in pairs)})

    def to_json(self) -> dict[str, Any]:
        """Return the values of all attributes."""
        return asdict(self) | {"stretches": [list(pair) for pair in self.stretches]}

    def __str__(self) -> str:
        if self.level is not None:
            return (
                f"of {self.rows:,} held-out rows {self.before:.1%} were inside the interval of {self.level:.0%},"
                f" {self.after:.1%} when calibrated"
            )
        return (
            f"the expected calibration error was {self.before:.3f} on {self.rows:,} held-out rows, {self.after:.3f} when"
            " calibrated by the other half of them"
        )


def _is_number(value: Any, above: bool = False) -> bool:
    """Return whether a value is a finite number of at least 0, or above it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return is_number and (value > 0 if above else value >= 0)


def calibrations_from_json(values: Any, space: Space) -> dict[str, Calibration]:
    """Return the calibrations of a file by their columns; raise DataError where the space has no such column."""
    if values is None:
        return {}
    if not isinstance(values, dict) or not values.keys() <= {*(space.names or ())}:
        raise DataError("calibrations must be of columns of the model.")
    return {name: Calibration.from_json(one) for name, one in values.items()}
