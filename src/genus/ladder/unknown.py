"""Rows with unknown entries: find these, and enumerate their possible values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from genus.errors import DataError
from genus.random import draw_indices
from genus.space import Category, Kind, Lattice, Space

__all__ = [
    "MAX_COMBINATIONS",
    "WHO_CAN",
    "Combinations",
    "Filled",
    "enumerate_unknown",
    "fill_unknown",
    "list_columns",
    "placeholder_row",
    "rarely_alike",
    "rows_by_pattern",
    "set_columns",
    "unknown_entries",
    "with_each_value",
]

MAX_COMBINATIONS = 4096  # the most combinations of values that are summed over one by one
ALIKE = 32  # rows that lack the same columns, from which on these are worth a way of their own; and so few sets of columns are
ROWS_AT_ONCE = 20_000  # rows whose densities are computed together
WHO_CAN = (
    "mixture, naive-bayes, gaussian-copula, chow-liu and hclt can for any columns, and made, gpt and rnn for those that come"
    " last in their order, which order= chooses"
)


def fill_unknown(space: Space, x: Tensor, missing: Tensor | None) -> tuple[Tensor, Tensor]:
    """Check rows, and return them with a possible value in each unknown entry, and which entries these are.

    Args:
        space: of the rows.
        x: (B, *shape) in data units; unknown entries may hold anything.
        missing: bool, shaped as x, true where an entry is unknown; None: where x is NaN and its column has no missing value.

    Returns:
        x without NaN in place of unknown entries, (B, *shape), and a mask of these, bool (B, D).

    >>> from genus import Real
    >>> space = Space([Real(1.0), Real(0.0, 1.0, atoms=(math.nan,))])
    >>> fill_unknown(space, torch.tensor([[math.nan, math.nan]]), None)  # of the second column NaN is a value
    (tensor([[1., nan]]), tensor([[ True, False]]))
    """
    if not isinstance(x, Tensor) or tuple(x.shape[1:]) != space.shape:
        space.check(x)
    x = x if x.is_floating_point() else x.to(space.dtype)
    if missing is None:
        unknown = x.isnan().flatten(1) & (space.tables(x).missing < 0)
    elif not isinstance(missing, Tensor) or missing.shape != x.shape or missing.dtype != torch.bool:
        got = f"{missing.dtype} of {tuple(missing.shape)}" if isinstance(missing, Tensor) else type(missing).__name__
        raise DataError(f"missing must be bool of shape {tuple(x.shape)}; got {got}.")
    else:
        unknown = missing.to(x.device).flatten(1)
    filled = torch.where(unknown, placeholder_row(space, x), x.flatten(1)).view_as(x)
    space.check(filled)
    return filled, unknown


def unknown_entries(space: Space, x: Tensor) -> Tensor:
    """Return which entries of x (B, *shape) are blank and have no value, bool (B, D).

    These are NaN where no value was missing in training, and blanks that stand for unknown values.
    """
    lacking = (
        x.isnan().flatten(1) & (space.tables(x).missing < 0)
        if x.is_floating_point()
        else torch.zeros_like(x.flatten(1), dtype=torch.bool)
    )
    return lacking | space.unknown_blanks(x) if space.has_unknown else lacking


def placeholder_row(space: Space, like: Tensor) -> Tensor:
    """Return one row with a possible value in every column, (D,)."""
    table = space.tables(like)
    row = torch.where(table.step > 0, table.low, torch.where(table.category, 0.0, table.middle))
    return row.expand(space.dim).to(like.dtype)


def rows_by_pattern(missing: Tensor) -> Iterator[tuple[Tensor, list[int]]]:
    """Group rows by what is missing (B, D): yield the indices of rows that lack the same columns, and these columns."""
    if not len(missing):
        return
    kinds, which = missing.unique(dim=0, return_inverse=True)
    for k, pattern in enumerate(kinds):
        yield (which == k).nonzero()[:, 0], pattern.nonzero()[:, 0].tolist()


def rarely_alike(missing: Tensor) -> Tensor:
    """Return the rows of which few lack the same columns, of missing (B, D); none where these are few sets of columns.

    >>> rarely_alike(torch.eye(40, dtype=torch.bool)).shape, rarely_alike(torch.eye(20, dtype=torch.bool)).shape
    (torch.Size([40]), torch.Size([0]))
    """
    patterns, which, counts = missing.unique(dim=0, return_inverse=True, return_counts=True)
    rare = (counts < ALIKE) & patterns.any(1)
    return rare[which].nonzero()[:, 0] if int(rare.sum()) > ALIKE else which[:0]


def list_columns(space: Space, columns: Sequence[int]) -> str:
    """Return the columns' labels as text, the first three of many."""
    return ", ".join(space.label(i) for i in columns[:3]) + (" ..." if len(columns) > 3 else "")


class Filled(NamedTuple):
    """Holds rows whose unknown entries were drawn given the others.

    Attributes:
        x: (B, *shape) in data units.
        size: (B,) the effective number of candidates that each draw was chosen from (Kong 1992); infinite where it is exact.
        done: (B,) bool, whether every unknown entry of a row has been given a value.
    """

    x: Tensor
    size: Tensor
    done: Tensor


class Combinations(NamedTuple):
    """Holds every combination of values of a few unknown columns, with its log-density in each row.

    Attributes:
        columns: the unknown columns.
        values: (K, columns), every combination of their values.
        log_densities: (B, K), the log-density of each row with each combination, in nats.
        prefix: how many columns of the order this is the density of.
    """

    columns: list[int]
    values: Tensor
    log_densities: Tensor
    prefix: int

    def without_blanks(self, space: Space) -> Combinations:
        """Return the combinations without a blank that stands for an unknown value."""
        kinds = [space.kinds[i] for i in self.columns]
        blank = torch.zeros_like(self.values, dtype=torch.bool)
        for j, kind in enumerate(kinds):
            if kind.has_unknown:
                value = self.values[:, j]
                blank[:, j] = value == kind.missing_value if isinstance(kind, Category) else value.isnan()
        fine = ~blank.any(1)
        return self._replace(values=self.values[fine], log_densities=self.log_densities[:, fine])

    def draw(self, x: Tensor) -> Tensor:
        """Return x (B, *shape) with these columns drawn jointly, given the other columns of the prefix."""
        if not self.columns:
            return x
        share = (self.log_densities - self.log_densities.amax(1, keepdim=True)).exp()
        return set_columns(x, self.columns, self.values[draw_indices(share)])


def enumerate_unknown(
    space: Space,
    order: Sequence[int],
    least: int,
    unknown: Sequence[int],
    log_prefix: Callable[[Tensor, int, Tensor | None], Tensor],
    x: Tensor,
    c: Tensor | None,
    most: int = MAX_COMBINATIONS,
) -> Combinations | None:
    """Return every combination of values of the unknown columns that stand before a known column in the order.

    Unknown columns after the last known column need no sum: the density of the prefix before them does not see them.

    Args:
        space: of the rows.
        order: of the columns; `log_prefix` gives the density of its first ones.
        least: the shortest prefix whose density `log_prefix` gives.
        unknown: the columns whose values in x are placeholders.
        log_prefix: (x, m, c) -> (B,), the log-density of the first m columns of the order, in nats.
        x: rows (B, *shape).
        c: their context, or None.
        most: the most combinations.

    Returns:
        Every combination with its log-density; None where a column is continuous or the combinations are too many.
    """
    m = max([least, *(p + 1 for p, i in enumerate(order) if i not in unknown)])
    columns = [i for i in order[:m] if i in unknown]
    grids = [grid for i in columns if (grid := all_values(space.kinds[i])) is not None]
    if len(grids) < len(columns) or math.prod(map(len, grids)) > most:
        return None
    values = torch.cartesian_prod(*grids).view(-1, len(grids)).to(x) if grids else x.new_zeros(1, 0)
    count, log_densities = len(values), [x.new_zeros(0, len(values))]
    for at in range(0, len(x), max(1, ROWS_AT_ONCE // count)):
        rows = slice(at, at + max(1, ROWS_AT_ONCE // count))
        part = x[rows].repeat_interleave(count, 0)
        part = set_columns(part, columns, values.repeat(len(part) // count, 1))
        log_densities.append(log_prefix(part, m, None if c is None else c[rows].repeat_interleave(count, 0)).view(-1, count))
    return Combinations(columns, values, torch.cat(log_densities[1:] or log_densities), m)


def set_columns(x: Tensor, columns: Sequence[int], values: Tensor) -> Tensor:
    """Return x (B, *shape) with these values (B, columns) in these columns."""
    where = torch.tensor(columns, dtype=torch.long, device=x.device)
    return x.flatten(1).index_copy(1, where, values.to(x)).view_as(x)


def with_each_value(x: Tensor, i: int, values: Tensor) -> Tensor:
    """Return (B * K, *shape): each row of x (B, *shape) K times in a row, with the values (K,) in column i."""
    return set_columns(x.repeat_interleave(len(values), 0), [i], values.repeat(len(x))[:, None])


def all_values(kind: Kind) -> Tensor | None:
    """Return all values of a kind, (S,), in data units; None where they are too many to be tried one by one.

    >>> all_values(Lattice(0, 2, atoms=(1.0, math.nan)))
    tensor([0., 2., 1., nan], dtype=torch.float64)
    """
    if isinstance(kind, Category):
        return torch.arange(kind.states, dtype=torch.float64)
    if not isinstance(kind, Lattice) or kind.size > MAX_COMBINATIONS:
        return None
    lattice = kind.low + kind.step * torch.arange(kind.size, dtype=torch.float64)
    taken = torch.tensor(kind.lattice_atoms, dtype=torch.float64)
    free = ((lattice[:, None] - taken).abs() > kind.step / 2).all(1)
    return torch.cat([lattice[free], torch.tensor(kind.atoms, dtype=torch.float64)])
