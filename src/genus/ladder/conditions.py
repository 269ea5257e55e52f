"""Conditions on columns, `where={"income": ">50K", "age": (30, 40)}`, and draws from a model that fulfil them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genus.errors import DataError, GenusError, listed, near
from genus.ladder.rejection import draw_until
from genus.ladder.unknown import placeholder_row, set_columns
from genus.nets.state import evaluating
from genus.random import isolated
from genus.space import Category, Space

__all__ = ["Conditions", "checked_range", "draw_where"]

PILOT = 2000  # draws that tell how often the conditions hold by chance
COMMON = 10  # of them: where so many fulfil the conditions, others are thrown away
TRIES = 20_000  # draws for each row that is asked for, before there is an error
TRUSTED = 30.0  # candidates that a weighted draw must be worth at the median


class Conditions(NamedTuple):
    """Holds what some columns of a table are to be.

    Attributes:
        fixed: the value, in data units, of each column that has one alone.
        ranges: the ends of each column that lies between two numbers, both included.
        sets: the values of each column that may have several.
        replaced: of each column of the person's that a relation replaced, the value, the ends or the values that it may have,
            as "is", "between" or "in" and a column in Arrow; null is an open end.
    """

    fixed: dict[int, float]
    ranges: dict[int, tuple[float, float]]
    sets: dict[int, Tensor]
    replaced: Mapping[str, tuple[str, Any]] = MappingProxyType({})

    @classmethod
    def of(cls, model: Any, where: Mapping[str, Any] | Conditions) -> Conditions:
        """Return the conditions that a person wrote.

        Args:
            model: of a table.
            where: conditions; or for each column its value, a pair of numbers or times between which it is to lie, None for an
                open end, or a set or list of values.

        Raises:
            DataError: there is no such column, or it can never have such a value.
        """
        if isinstance(where, Conditions):
            return where
        space, found = model.space, cls({}, {}, {}, {})
        _check_where(space, where)

        def encode(i: int, values: list[Any]) -> Tensor:
            if model.codec is not None:
                return model.codec.select([i]).encode({space.names[i]: values})[:, 0]
            return _in_data_units(space, i, values)

        for name, wanted in where.items():
            if model.codec is not None and model.codec.replaced(name):
                found.add_replaced(model.codec, name, wanted)
                continue
            i = space.index(name)
            if isinstance(wanted, tuple) and len(wanted) == 2 and not isinstance(space.kinds[i], Category):
                found.ranges[i] = _ends(space, i, encode, wanted)
            elif isinstance(wanted, Collection) and not isinstance(wanted, str):
                if not len(wanted):
                    raise DataError(f"The condition on {space.label(i)} names no value; expected one or more.")
                found.sets[i] = encode(i, list(wanted))
            else:
                found.fixed[i] = float(encode(i, [wanted])[0])
        return found

    def add_replaced(self, codec: Any, name: str, wanted: Any) -> None:
        """Add a condition on a column of the person's that a relation replaced, in the forms that `of` takes.

        Raises:
            DataError: the column has no such values.
        """
        how = "is"
        if isinstance(wanted, Collection) and not isinstance(wanted, str):
            how = "between" if isinstance(wanted, tuple) and len(wanted) == 2 else "in"
        values = list(wanted) if how != "is" else [wanted]
        if not values:
            raise DataError(f"The condition on column {name!r} names no value; expected one or more.")
        self.replaced[name] = (how, codec.values(name, values))  # type: ignore[index]

    def known(self, codec: Any, x: Tensor) -> Any:
        """Return in Arrow the person's columns that have one value, of rows x (B, D), which have the fixed values."""
        table = codec.to_person(x)
        table = table.select([name for name in (codec.space.names[i] for i in self.fixed) if name in codec.names])
        for name, (how, values) in self.replaced.items():
            if how == "is":
                table = table.append_column(name, values.take([0] * len(x)))
        return table

    def contradiction(self, codec: Any, x: Tensor) -> str | None:
        """Return why no row has the values that columns are to have, where a relation says it; x (1, D) has the fixed ones."""
        if codec is None or not codec.rewrites or not (self.fixed or self.replaced):
            return None
        return codec.contradiction(self.known(codec, x))

    def hold(self, x: Tensor, codec: Any) -> Tensor:
        """Return which rows x (B, D) fulfil the conditions, bool (B,)."""
        fine = torch.ones(len(x), dtype=torch.bool, device=x.device)
        for i, value in self.fixed.items():
            fine &= x[:, i].isnan() if math.isnan(value) else x[:, i] == torch.tensor(value).to(x)
        for i, (low, high) in self.ranges.items():
            fine &= (x[:, i] >= low) & (x[:, i] <= high)
        for i, values in self.sets.items():
            fine &= (x[:, i, None] == values.to(x)).any(1) | (x[:, i].isnan() & values.isnan().any().to(x.device))
        return fine & codec.holds(x, self.replaced).to(x.device) if self.replaced else fine

    def start(self, space: Space, n: int, like: Tensor) -> Tensor:
        """Return n rows (n, D) with the fixed values in their columns, and a possible value in the others."""
        x = placeholder_row(space, like).repeat(n, 1)
        values = torch.tensor([list(self.fixed.values())], dtype=x.dtype, device=x.device).expand(n, -1)
        return set_columns(x, list(self.fixed), values)


def _check_where(space: Space, where: Any) -> None:
    if not space.is_table:
        raise DataError("where= names columns of a table, and this model has none; leave it out.")
    if not isinstance(where, Mapping):
        raise DataError(
            "where= is a dictionary of columns and what they are to hold, such as {'income': '>50K', 'age': (30, 40)}; got"
            f" {where!r}."
        )


def _in_data_units(space: Space, i: int, values: list[Any]) -> Tensor:
    """Return values of a column of tensors in data units, (N,): the index of a level, or a number."""
    kind = space.kinds[i]
    if isinstance(kind, Category):
        odd = [value for value in values if value not in kind.levels]
        if odd:
            raise DataError(
                f"{odd[0]!r} is no level of {space.label(i)}{near(odd[0], kind.levels)};"
                f" expected one of {listed(map(repr, kind.levels))}."
            )
        return torch.tensor([float(kind.levels.index(value)) for value in values])
    found = torch.tensor([math.nan if value is None else float(value) for value in values], dtype=torch.float64)
    Space([kind], names=[space.names[i]] if space.names else None).check(found[:, None])
    return found


def _ends(space: Space, i: int, encode: Callable[[int, list[Any]], Tensor], wanted: tuple[Any, Any]) -> tuple[float, float]:
    """Return the ends of a range in data units, of which at least a part must be possible."""
    numbers = all(end is None or isinstance(end, int | float) for end in wanted)
    low, high = (
        (-math.inf, math.inf)[k] if end is None else float(end) if numbers else float(encode(i, [end])[0])
        for k, end in enumerate(wanted)
    )
    return checked_range(space, i, low, high)


def checked_range(space: Space, i: int, low: float, high: float) -> tuple[float, float]:
    """Return the ends of a range of column i in data units; raise DataError where the column has no value between them."""
    kind = space.kinds[i]
    least, most = getattr(kind, "low", kind.chart.support[0]), getattr(kind, "high", kind.chart.support[1])
    if low > high or ((high < least or low > most) and not any(low <= atom <= high for atom in kind.atoms)):
        raise DataError(
            f"The condition on {space.label(i)} cannot hold: none of its values, {kind!r}, lies from {low:g} to {high:g}."
        )
    return low, high


def draw_where(model: Any, n: int, where: Mapping[str, Any] | Conditions, c: Tensor | None, seed: int | None) -> Tensor:
    """Draw rows that fulfil conditions, from a model's own distribution given these.

    Where the family knows columns given others exactly, the fixed values are given to it. Otherwise draws that do not fulfil
    the conditions are thrown away, as long as a few of 2,000 do; beyond that, the fixed values are given, and the others drawn
    by weights. Ranges and sets always choose among draws.

    Args:
        model: of a table.
        n: the number of rows.
        where: the conditions, see `Conditions.of`.
        c: the contexts of the rows, (n, *context.shape), or None.
        seed: repeats the draws.

    Raises:
        DataError: a condition can never hold, or names no column.
        GenusError: the conditions hardly ever hold, or the draws are worth too little.
    """
    conditions = Conditions.of(model, where)
    with evaluating(model), isolated(seed, model):
        if not n:
            return model._sample(0, c)
        drawing = _Drawing(model, n, conditions, c)
        if (reason := conditions.contradiction(model.codec, drawing.rows[:1])) is not None:
            raise DataError(f"No row can fulfil the conditions: {reason}; ask for values that occur together.")
        one = bool(conditions.fixed) or drawing.related
        given = drawing.exact or (one and model.draws_given_others and not drawing.are_common())
        most = 200 * max(n, 100) if given else TRIES * max(n, 10)
        x, left, drawn = draw_until(drawing.hold, drawing.given if given else drawing.free, n, most)
    if len(left):
        raise GenusError(
            f"The conditions held in {n - len(left):,} of {drawn:,} draws, so {n:,} such rows would take too long; ask for"
            " fewer or wider conditions, or take a family that draws columns given others exactly, such as mixture."
        )
    if drawing.size < TRUSTED:
        raise GenusError(
            f"Weighted draws are worth {drawing.size:.0f} candidates at the median, and {TRUSTED:.0f} are asked for: the"
            f" conditions are rare under this {model.name}; widen them, or take a family that draws columns given others"
            " exactly, such as mixture."
        )
    return model.space.rounded(x, model._empty_draw().dtype)


class _Drawing:
    """Draws rows of a model that fulfil conditions, or may.

    Attributes:
        exact: whether the model draws the other columns given the fixed ones exactly.
        related: whether a column that a relation replaced has one value.
    """

    def __init__(self, model: Any, n: int, conditions: Conditions, c: Tensor | None) -> None:
        self.model, self.n, self.conditions, self.c = model, n, conditions, c
        self.others = [i for i in range(model.space.dim) if i not in conditions.fixed]
        self.rows = conditions.start(model.space, n, model._empty_draw())
        self.sizes: list[Tensor] = []
        some = bool(conditions.fixed) and bool(self.others)
        first = self._context(torch.zeros(1, dtype=torch.long))
        self.related = any(how == "is" for how, _ in conditions.replaced.values())
        self.exact = (
            some
            and not self.related
            and model.draws_given_exactly
            and model._draw_given(self.rows[:1], self.others, first, False) is not None
        )

    def _context(self, index: Tensor) -> Tensor | None:
        return None if self.c is None else self.c[index.to(self.c.device)]

    @property
    def size(self) -> float:
        """Return how many candidates weighted draws were worth, at the median; infinite where there were none."""
        return float(torch.cat(self.sizes).median()) if self.sizes else math.inf

    def are_common(self) -> bool:
        """Return whether a few of the model's own draws fulfil the conditions."""
        draws = self.model._sample(PILOT, self._context(torch.arange(PILOT) % self.n))
        return int(self.conditions.hold(draws, self.model.codec).sum()) >= COMMON

    def free(self, index: Tensor) -> Tensor:
        """Draw rows of these numbers, whatever the conditions."""
        return self.model._checked_draw(self.c, False, index, self.may_hold)

    def given(self, index: Tensor) -> Tensor:
        """Draw rows of these numbers given the fixed values."""
        rows = self.rows[index.to(self.rows.device)]
        if self.related:
            found = self.model._given_known(self.conditions.known(self.model.codec, rows), self._context(index))
            if not bool(found.done.any()):
                raise GenusError(
                    f"The conditions on {', '.join(self.conditions.replaced)} held in none of the candidates that were tried;"
                    " ask for values that occur together."
                )
        else:
            found = self.model._given(rows, self.others, self._context(index), False)
        self.sizes.append(found.size)
        return found.x

    def may_hold(self, x: Tensor) -> Tensor:
        """Return which rows fulfil the conditions, or may once their blanks for unknown values have been drawn."""
        if self.conditions.replaced:
            return torch.ones(len(x), dtype=torch.bool, device=x.device)
        named = [*self.conditions.fixed, *self.conditions.ranges, *self.conditions.sets]
        return self.conditions.hold(x, self.model.codec) | self.model.space.unknown_blanks(x)[:, named].any(1)

    def hold(self, x: Tensor) -> Tensor:
        """Return which rows fulfil the conditions and the codec's constraints, and have no blank for an unknown value."""
        fine = self.conditions.hold(x, self.model.codec)
        if self.model.space.has_unknown:
            blank = self.model.space.unknown_blanks(x)
            fine &= ~blank[:, self.others].any(1)
        codec = self.model.codec
        return fine & codec.obeys(x).to(x.device) if codec is not None and codec.constraints else fine
