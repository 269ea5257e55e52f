"""Rows of which something is not known: what is missing where, and what is summed over."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from genus.errors import DataError
from genus.space import Category, Kind, Lattice, Real, Space

__all__ = ["ABLE", "Combinations", "combinations", "filled", "patterns", "shown"]

MOST = 4096  # combinations of values that are summed over one by one
AT_ONCE = 20_000  # rows whose densities are computed together
ABLE = (
    "mixture and naive-bayes can for any columns, and made, gpt and rnn for those that come last in their order, which order="
    " chooses"
)


def filled(space: Space, x: Tensor, missing: Tensor | None) -> tuple[Tensor, Tensor]:
    """x (B, *shape), checked, with some value wherever it is missing; and where that is, (B, D).

    Args:
        missing: bool, shaped as x; None: where x is NaN and its column has no missing value.

    >>> space = Space([Real(1.0), Real(0.0, 1.0, atoms=(math.nan,))])
    >>> filled(space, torch.tensor([[math.nan, math.nan]]), None)  # of the second column NaN is a value
    (tensor([[1., nan]]), tensor([[ True, False]]))
    """
    if not isinstance(x, Tensor) or tuple(x.shape[1:]) != space.shape:
        space.check(x)
    x = x if x.is_floating_point() else x.to(space.dtype)
    if missing is None:
        gone = x.isnan().flatten(1) & (space.tables(x).missing < 0)
    elif not isinstance(missing, Tensor) or missing.shape != x.shape or missing.dtype != torch.bool:
        found = f"{missing.dtype} of {tuple(missing.shape)}" if isinstance(missing, Tensor) else type(missing).__name__
        raise DataError(f"missing must be bool of shape {tuple(x.shape)}; got {found}.")
    else:
        gone = missing.to(x.device).flatten(1)
    whole = torch.where(gone, some_row(space, x), x.flatten(1)).view_as(x)
    space.check(whole)
    return whole, gone


def some_row(space: Space, like: Tensor) -> Tensor:
    """A value of every column, (D,)."""
    some = [k.loc if isinstance(k, Real) else k.low if isinstance(k, Lattice) else 0.0 for k in space.kinds]
    return torch.tensor(some, dtype=like.dtype, device=like.device)


def patterns(missing: Tensor) -> Iterator[tuple[Tensor, list[int]]]:
    """missing (B, D) -> the rows that lack the same columns, and these."""
    if not len(missing):
        return
    kinds, which = missing.unique(dim=0, return_inverse=True)
    for k, pattern in enumerate(kinds):
        yield (which == k).nonzero()[:, 0], pattern.nonzero()[:, 0].tolist()


def shown(space: Space, columns: Sequence[int]) -> str:
    """The columns in words, the first of many."""
    return ", ".join(space.label(i) for i in columns[:3]) + (" ..." if len(columns) > 3 else "")


class Combinations(NamedTuple):
    """What a few columns may hold.

    Attributes:
        columns: which they are.
        values: (K, columns), every combination of theirs.
        log_each: (B, K), the log-density of every row with each of them.
        first: the density is that of so many columns of the order.
    """

    columns: list[int]
    values: Tensor
    log_each: Tensor
    first: int

    def draw(self, x: Tensor) -> Tensor:
        """x with a combination in these columns, drawn given the others."""
        if not self.columns:
            return x
        share = (self.log_each - self.log_each.amax(1, keepdim=True)).exp()
        return put(x, self.columns, self.values[torch.multinomial(share, 1)[:, 0]])


def combinations(
    space: Space,
    order: Sequence[int],
    least: int,
    unknown: Sequence[int],
    log_first: Callable[[Tensor, int, Tensor | None], Tensor],
    x: Tensor,
    c: Tensor | None,
) -> Combinations | None:
    """What those of the unknown columns may hold that known ones come after; None where these are too many values.

    Args:
        order: of the columns; least: from how many on the density of the first ones of them is known.
        log_first: (x, m, c) -> (B,), the density of the first m of the order.
    """
    gone = set(unknown)
    m = max([least, *(p + 1 for p, i in enumerate(order) if i not in gone)])
    columns = [i for i in order[:m] if i in gone]
    grids = [grid for i in columns if (grid := points(space.kinds[i])) is not None]
    if len(grids) < len(columns) or math.prod(map(len, grids)) > MOST:
        return None
    values = torch.cartesian_prod(*grids).view(-1, len(grids)).to(x) if grids else x.new_zeros(1, 0)
    count, log_each = len(values), [x.new_zeros(0, len(values))]
    for at in range(0, len(x), max(1, AT_ONCE // count)):
        rows = slice(at, at + max(1, AT_ONCE // count))
        part = x[rows].repeat_interleave(count, 0)
        part = put(part, columns, values.repeat(len(part) // count, 1))
        log_each.append(log_first(part, m, None if c is None else c[rows].repeat_interleave(count, 0)).view(-1, count))
    return Combinations(columns, values, torch.cat(log_each[1:] or log_each), m)


def put(x: Tensor, columns: Sequence[int], values: Tensor) -> Tensor:
    """x (B, *shape) with these values (B, columns) in it."""
    where = torch.tensor(columns, dtype=torch.long, device=x.device)
    return x.flatten(1).index_copy(1, where, values.to(x)).view_as(x)


def points(kind: Kind) -> Tensor | None:
    """All values of this kind, (S,), in data units; None where they are too many to be tried one by one.

    >>> points(Lattice(0, 2, atoms=(1.0, math.nan)))
    tensor([0., 2., 1., nan], dtype=torch.float64)
    """
    if isinstance(kind, Category):
        return torch.arange(kind.states, dtype=torch.float64)
    if not isinstance(kind, Lattice) or kind.size > MOST:
        return None
    lattice = kind.low + kind.step * torch.arange(kind.size, dtype=torch.float64)
    taken = torch.tensor(kind.lattice_atoms, dtype=torch.float64)
    free = ((lattice[:, None] - taken).abs() > kind.step / 2).all(1)
    return torch.cat([lattice[free], torch.tensor(kind.atoms, dtype=torch.float64)])
