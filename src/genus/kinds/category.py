"""The kind of a coordinate that is one of a finite set of levels."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from genus.errors import DataError
from genus.kinds.base import Kind, Level

__all__ = ["Category", "natural_order"]


@dataclass(frozen=True)
class Category(Kind):
    """Describes a coordinate that is one of a finite set of levels without order, with counting measure.

    Args:
        levels: the values of the coordinate; x holds their indices. The level None stands for a missing value.
        unknown: a missing value is a value that is not known, see `Kind.unknown`.

    >>> Category(("no", "yes")).states
    2
    """

    MOST: ClassVar[int] = 10_000  # text of more levels is taken for free text

    levels: tuple[Level, ...]
    unknown: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        if not self.levels or len(set(self.levels)) != len(self.levels):
            raise DataError(f"Category needs at least one level and no level twice; got {self.levels!r}.")

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Category:
        if not {type(level) for level in values["levels"] if level is not None} <= {str, bool, int, float}:
            raise DataError(f"The levels of a Category are texts, numbers or true and false; got {str(values['levels'])[:80]}.")
        return super().from_values(values)

    @property
    def has_one_type(self) -> bool:
        """Return whether the levels are all texts, all numbers, or all true and false, as those of a table's column are."""
        types = {type(level) for level in self.levels if level is not None}
        return types <= {str} or types <= {bool} or types <= {int, float}

    def __repr__(self) -> str:
        shown = ", ".join(self.blank_text if level is None else repr(level) for level in self.levels[:6])
        return f"Category({shown}{', ...' if len(self.levels) > 6 else ''}; {len(self.levels)} levels)"

    @property
    def states(self) -> int:
        return len(self.levels)

    @property
    def magnitude(self) -> float:
        return float(len(self.levels))

    @property
    def missing_state(self) -> int:
        return self.levels.index(None) if None in self.levels else -1

    @property
    def missing_value(self) -> float:
        return float(self.missing_state) if self.has_missing else math.nan

    def with_end(self) -> Category:
        return Category((*self.levels, None))

    def without_end(self) -> Category:
        return Category(tuple(level for level in self.levels if level is not None))

    @classmethod
    def measure(cls, levels: Sequence[Any], missing: bool = False) -> Category:
        """Return the Category of these different values, in the order of `natural_order`; a missing value comes last."""
        return cls((*natural_order(levels), *([None] if missing else [])))

    @classmethod
    def is_free_text(cls, distinct: int, rows: int) -> bool:
        """Return whether text of so many different values in so many rows is an identifier or free text, no category."""
        return distinct >= 50 and (distinct > 0.5 * rows or distinct > cls.MOST)


def natural_order(levels: Sequence[Any]) -> list[Any]:
    """Return levels sorted as a person would sort them: numbers within text by value.

    >>> natural_order(["a10", "a9", "b"])
    ['a9', 'a10', 'b']
    >>> natural_order(["a" + "1" * 5000, "a2"])[0]
    'a2'
    """
    if not all(isinstance(level, str) for level in levels):
        return sorted(levels)

    def parts(text: str) -> tuple[list[tuple[bool, int, str]], str]:
        split = [p for p in re.split(r"([0-9]+)", text) if p]
        # Of two numbers the one with more digits is greater: none is made of text, which may have any number of them.
        digits = [p.lstrip("0") if p.isdecimal() else None for p in split]
        return [(True, 0, p) if d is None else (False, len(d), d) for p, d in zip(split, digits, strict=True)], text

    return sorted(levels, key=parts)
