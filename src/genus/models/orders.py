"""The chain rule in several orders of the columns: the density is the mean of those of the orders."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genus.errors import DataError, GenusError
from genus.models.chain_rule import ChainRule
from genus.models.sampling import GenerationOptions, draw_positions
from genus.random import rng
from genus.space import Category, Lattice, Space, Time

__all__ = ["SeveralOrders", "backwards", "few_first"]


class SeveralOrders(ChainRule):
    """Average the densities of one chain rule for each order of the columns.

    A family registers the buffer `orders`, sets `order` where there is one alone, and gives

    - `_log_conditionals(x, c, k)`: as of a `ChainRule`, by the chain of the k-th order;
    - `_steps(n, c, prefix, k)`: likewise.

    Attributes:
        orders: (number, D), the column at every position of each order.
    """

    orders: Tensor

    def _log_conditionals(self, x: Tensor, c: Tensor | None, k: int = 0) -> Tensor:
        raise TypeError(f"{type(self).__name__} must define _log_conditionals(x, c, k).")

    def _steps(self, n: int, c: Tensor | None, prefix: Tensor | None, k: int = 0) -> Generator[Any, Tensor, None]:
        raise TypeError(f"{type(self).__name__} must define _steps(n, c, prefix, k).")

    def log_conditionals(self, x: Tensor, c: Tensor | None = None, order: int = 0) -> Tensor:
        """Return log p(x_i | coordinates that come earlier in an order), by the chain of that order.

        Args:
            x: data (B, *shape).
            c: their contexts (B, *context.shape), or one row for all.
            order: the number of the order in `orders`.

        Returns:
            (B, D) nats, in the coordinates' own places. With one order their sum is `log_prob`; with several, `log_prob` is the
            log of the mean over orders of the exponentials of their sums.

        Raises:
            GenusError: there is no order of that number.
        """
        if not 0 <= order < len(self.orders):
            raise GenusError(f"order is the number of an order, from 0 to {len(self.orders) - 1}; got {order!r}.")
        return self._log_conditionals(*self._check(x, c), order)

    def check_orders(self) -> None:
        """Raise DataError where the orders that were read do not name every column once, or are not the one that was chosen."""
        orders, own = self.orders.tolist(), list(range(self.space.dim))
        if any(sorted(order) != own for order in orders) or (self.order is not None and [list(self.order)] != orders):
            raise DataError(f"The orders of the columns must each name {self.space.dim} columns once.")

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        by_order = torch.stack([self._log_conditionals(x, c, k).sum(1) for k in range(len(self.orders))])
        return by_order.logsumexp(0) - math.log(len(self.orders))

    def _checked_prefixes(self, prefix: Tensor | str | Sequence[Tensor | str] | None, n: int | None) -> list[Tensor] | None:
        if prefix is not None and self.order is None:
            raise GenusError(
                f"A prefix is the beginning of one order, and this model has {len(self.orders)}; build the model with orders=1,"
                " and order=[...] where it should not be the columns' own."
            )
        return super()._checked_prefixes(prefix, n)

    def _draw(self, n: int, c: Tensor | None, prefixes: list[Tensor] | None, options: GenerationOptions) -> Tensor:
        if self.order is not None:
            return super()._draw(n, c, prefixes, options)
        x = self._empty_draw().new_empty(n, options.length)
        order_of_row = torch.randint(len(self.orders), (n,), device=x.device, generator=rng(x.device))
        for k in order_of_row.unique().tolist():  # the rows of one order go together
            rows = (order_of_row == k).nonzero()[:, 0]
            steps: Any = partial(self._steps, k=k)
            part = draw_positions(steps, len(rows), None if c is None else c[rows], None, options, self.space, x)
            x[rows] = part[:, self.orders[k].argsort()]
        return x.reshape(-1, *self.space.shape)


def few_first(space: Space, shuffled: bool = False) -> list[int]:
    """Return the columns by how many values they have, times first: what has a season depends on them.

    Args:
        space: of the rows.
        shuffled: only times, columns that are counted and other numbers stand in this order, each at random.

    >>> from genus import Category, Real
    >>> few_first(Space([Real(), Category(("a", "b", "c")), Category((0, 1))]))
    [2, 1, 0]
    """

    if not shuffled:
        return sorted(range(space.dim), key=lambda i: values_of(space, i))
    return sorted(torch.randperm(space.dim).tolist(), key=lambda i: sort_of_values(space, i))


def backwards(space: Space, order: Sequence[int]) -> list[int]:
    """Return an order backwards within times, within columns that are counted, and within other numbers."""
    last_first = list(order)[::-1]
    return sorted(last_first, key=lambda i: sort_of_values(space, i))  # sorting keeps the order of equals


def values_of(space: Space, i: int) -> float:
    """Return how many values a column has, below 0 for a time."""
    kind = space.kinds[i]
    if isinstance(kind, Time):
        return -1.0
    if isinstance(kind, Category):
        return kind.states
    return kind.size + kind.states - 1 if isinstance(kind, Lattice) and kind.is_narrow else math.inf


def sort_of_values(space: Space, i: int) -> int:
    """Return 0 for a time, 1 for a column that is counted, and 2 for other numbers."""
    values = values_of(space, i)
    return (values >= 0) + (values == math.inf)
