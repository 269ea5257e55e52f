"""Turn declared constraints into rewrites where there is one, and leave the others to rejection."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import pyarrow as pa

from genus.codec.constraints import Constraint
from genus.codec.functions import Function
from genus.codec.relations import Order, Sum
from genus.codec.rewrites import Rewrite
from genus.data.candidates import Candidate
from genus.data.functions import first_of_two_values, has_all_values, in_spite_of_blanks, made_function
from genus.data.orders import add_order
from genus.data.sums import keeps_sign, made_sum
from genus.errors import DataError

__all__ = ["Declared"]

Pair = tuple[str, str, bool]  # lower, higher, strict


@dataclass
class Declared:
    """Holds declared constraints as sums, functions and orders, and says which of them no rewrite represents.

    Attributes:
        constraints: as they were declared.
        sums, functions, orders: that would represent them.
        parts: of each constraint, the sums and orders that it is made of; None where it holds something else.
    """

    constraints: Sequence[Constraint]
    sums: list[Sum] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    orders: list[Pair] = field(default_factory=list)
    parts: list[list[Sum | Pair] | None] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        constraints: Sequence[Constraint],
        columns: Mapping[str, Candidate],
        target: str | None,
        unknown: Callable[[], Collection[str]] = frozenset,
    ) -> Self:
        """Return the constraints on these columns; the target stays a column of x, and functions may fill unknown blanks.

        Raises:
            DataError: a function of a column that has two values for a key, or that may take values which were not seen.
        """
        found = cls(constraints)
        for one in constraints:
            if one.function is not None:
                found.functions.append(_function(one, columns, target, unknown))
                found.parts.append([])
                continue
            parts = [_part(*statement, columns, target) for statement in one.statements()]
            found.parts.append([part for part in parts if part is not None] if parts and None not in parts else None)
            for part in parts:
                if isinstance(part, Sum):
                    found.sums.append(part)
                elif part is not None:
                    found.orders.append(part)
        return found

    def unkept(self, kept: Sequence[Rewrite], circles: Container[Pair]) -> list[Constraint]:
        """Return the constraints that the rewrites which were kept do not represent; they are left to rejection."""
        edges: dict[tuple[str, str], bool] = {}
        for one in kept:
            if isinstance(one, Order):
                for other in one.others:
                    low, high = (other, one.column) if one.above else (one.column, other)
                    add_order(edges, low, high, one.strict)

        def is_kept(part: Sum | Pair) -> bool:
            return part in kept if isinstance(part, Sum) else part not in circles and part[:2] in edges

        whole = zip(self.constraints, self.parts, strict=True)
        return [one for one, parts in whole if parts is None or not all(map(is_kept, parts))]


def _part(
    sign: str, weights: Mapping[str, float], constant: float, columns: Mapping[str, Candidate], target: str | None
) -> Sum | Pair | None:
    """Return what represents a comparison between 0 and weighted columns; None where nothing does."""
    if not weights.keys() <= columns.keys() or not all(columns[name].is_number for name in weights):
        return None
    ones = all(abs(weight) == 1 for weight in weights.values()) and len(weights) > 1
    if sign in ("<", "<=") and ones and sorted(weights.values()) == [-1, 1] and constant == 0:
        low, high = sorted(weights, key=lambda name: weights[name])
        times = [_is_time(columns[name]) for name in (low, high)]
        same = columns[low].dtype == columns[high].dtype if any(times) else True
        return (low, high, sign == "<") if same else None
    return _sum(weights, columns, target) if sign == "=" and ones else None


def _is_time(column: Candidate) -> bool:
    return pa.types.is_temporal(column.data.type)


def _sum(weights: Mapping[str, float], columns: Mapping[str, Candidate], target: str | None) -> Sum | None:
    """Return the sum that an equation of columns is, solved for the one that x can best do without."""
    total = sum(weights.values())
    # The one column against all others is the total; after it, those that are named last.
    names = sorted((n for n in weights if n != target), key=lambda n: abs(total - 2 * weights[n]), reverse=True)
    solved = []
    for name in names:
        terms = [(-round(weights[n] / weights[name]), columns[n]) for n in weights if n != name]
        if (one := made_sum(columns[name], terms)) is not None:
            solved.append(one)
    return next((one for one in solved if keeps_sign(one, columns)), solved[0] if solved else None)


def _function(
    one: Constraint, columns: Mapping[str, Candidate], target: str | None, unknown: Callable[[], Collection[str]]
) -> Function:
    of, name = one.function or ("", "")
    if name == target or of not in columns or name not in columns:
        raise DataError(f"The constraint {one.text!r} would take {name!r} out of x, and it is to stay a column; leave it out.")
    if (found := in_spite_of_blanks(columns[name], columns[of], unknown)) is not None:
        return found
    if not has_all_values(columns[of]):
        raise DataError(
            f"The constraint {one.text!r} needs a column {of!r} of few values, all of them seen; read it as a category, or"
            " leave the constraint out."
        )
    key, values = first_of_two_values(columns[name], columns[of])
    if len(values) > 1:
        raise DataError(
            f"The rows break {one.text!r}: where {of} is {key!r}, {name} is {values[0]!r} and {values[1]!r}; mend such rows, or"
            " leave the constraint out."
        )
    return made_function(columns[name], columns[of])
