"""Masked autoencoder for distribution estimation."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from genus.errors import GenusError
from genus.models.autoregressive import Autoregressive, Request, Start
from genus.nets.heads import Coordinates
from genus.nets.masked import MaskedMLP
from genus.nets.tokens import NARROW, ColumnOutputs, Columns, singles, spread_
from genus.space import Space

__all__ = ["MADE"]


class MADE(Autoregressive, name="made"):
    """p(x) = p(x_1) p(x_2|x_1) ... by a dense net whose masked weights let no output see what comes after it
    (Germain et al. 2015, arXiv:1502.03509).

    The density takes one pass; sampling goes coordinate by coordinate but computes every hidden unit once. Exact on tables
    of mixed columns, and on images.

    Args:
        hidden: widths of the hidden layers.
        orders: with more than one the density is the mean of the probabilities of so many nets, each with an order of the
            coordinates of its own; every batch trains them all. Of images, first the eight ways to read them line by line, in
            which neighbours stay near; else random ones.
        order: of the coordinates, where there is one; their own where not given.
        dropout: of hidden units.
        residual: a hidden layer as wide as the one before it is added to it (Nash & Durkan 2019, arXiv:1904.05626).
        direct: every output sees the coordinates before it directly too. Of an image, where neighbours say most and few hidden
            units see the nearest ones alone, this is worth several nats.
        reach: of an image: an output sees hidden units, and pixels directly, at most so far from its own pixel along either
            axis; a hidden unit stands at the last pixel that it sees, and may see all of those before.
        components: of the mixtures that numbers get.

    >>> from genus import Category, Real, Space
    >>> space = Space([Real(), Category(("no", "yes"))], names=["age", "smokes"])
    >>> model = MADE(space, hidden=(16,), order=[1, 0])
    >>> model.sample(2, seed=0, prefix=torch.tensor([1.0]))[:, 1]  # rows of people who smoke
    tensor([1., 1.])
    """

    title = "masked autoencoder"
    group = "chain rule"
    takes = "any table or image"
    sequences = False
    tokens: Columns
    outputs: ColumnOutputs
    orders: Tensor
    centre: Tensor

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        hidden: Sequence[int] = (500,),
        orders: int = 1,
        order: Sequence[int] | None = None,
        dropout: float = 0.0,
        residual: bool = False,
        direct: bool = False,
        reach: int | None = None,
        components: int = 10,
    ) -> None:
        if orders < 1 or (orders > 1 and order is not None):
            raise GenusError(f"orders is how many random orders there are, 1 or more, and 1 beside order=[...]; got {orders}.")
        if reach is not None and (reach < 1 or len(space.shape) < 2):
            raise GenusError(f"reach is how far outputs see in an image, 1 or more; got {reach} for {space!r}.")
        net: dict[str, Any] = {"dropout": dropout, "residual": residual, "direct": direct, "reach": reach}
        super().__init__(space, context, order, hidden=hidden, orders=orders, **net, components=components)
        # Of an image a net sees the numbers alone: one-hots of every pixel would be wide, and say the same.
        seen, modelled = (NARROW, NARROW) if space.shared is None else (0, 32)
        own = range(space.dim)
        self.tokens = Columns(space, own, seen)
        self.singles = singles(space, own, lambda one: Columns(one, [0], seen))
        self.outputs = ColumnOutputs(space, own, None, components, modelled)
        sizes = (self.tokens.widths, hidden, self.outputs.widths, self.context_dim)
        self.nets = nn.ModuleList(MaskedMLP(*sizes, **net, places=places(space)) for _ in range(orders))
        for one in self.nets:
            spread_(one.out, self.outputs.heads)  # type: ignore[arg-type]
        shuffles = (torch.randperm(space.dim) for _ in range(orders))
        chosen = [torch.tensor(self.order)] if orders == 1 else [*scans(space), *shuffles][:orders]
        self.register_buffer("orders", torch.stack(chosen))
        if orders > 1:
            self.order = None
        self.register_buffer("centre", torch.zeros(self.tokens.total))
        self.fit_defaults = dict(TABLES if space.is_table else IMAGES)  # type: ignore[misc]

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        """For a table a residual net; the fewer the rows, the more dropout. For images many orders instead."""
        if not space.is_table:
            large = max(space.shape) > 12
            hyper = {"hidden": (500,) if rows < 10_000 else (2000,), "orders": 8, "direct": True, "dropout": 0.1}
            return hyper | ({"reach": 6} if large else {})
        dropout = 0.5 if rows < 5_000 else 0.2 if rows < 50_000 else 0.1
        return {"hidden": (512, 512, 512), "residual": True, "dropout": dropout}

    @torch.no_grad()
    def initialise(self, x: Tensor, c: Tensor | None = None) -> None:
        """Centre what the net sees, and start from the share of every value."""
        self.centre.copy_(self.tokens(x, self.dtype).mean(0))
        cells = self.outputs.head.cells
        if cells.total:
            numbers = cells.shares(x)
            for net in self.nets:
                net.out.bias[self.outputs.index[: len(numbers)]] = numbers.to(self.dtype)  # type: ignore[union-attr, operator]

    # -- density --------------------------------------------------------------------------------------------------------

    def _by_order(self, x: Tensor, c: Tensor | None, k: int) -> Tensor:
        """(B, D) nats, by coordinate: of each given those that stand before it in order k."""
        order = self.orders[k].tolist()
        h = self.nets[k](self.tokens(x, self.dtype) - self.centre, self._context_features(c), order)
        return self.outputs.log_prob(h, x)

    def _log_conditionals(self, x: Tensor, c: Tensor | None) -> Tensor:
        if self.order is None:
            raise GenusError(f"A mean over {len(self.orders)} orders is no product of conditionals; {ONE_ORDER}.")
        return self._by_order(x, c, 0)

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        each = torch.stack([self._by_order(x, c, k).sum(1) for k in range(len(self.orders))])
        return each.logsumexp(0) - math.log(len(self.orders))

    def _loss(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Nats a row, the mean of the orders."""
        return -torch.stack([self._by_order(x, c, k).sum(1).mean() for k in range(len(self.orders))]).mean()

    # -- sampling -------------------------------------------------------------------------------------------------------

    def _prefixes(self, prefix: Tensor | str | Sequence[Tensor | str] | None, n: int | None) -> list[Tensor] | None:
        if prefix is not None and self.order is None:
            raise GenusError(f"A prefix is what stands first in one order, and this model has {len(self.orders)}; {ONE_ORDER}.")
        return super()._prefixes(prefix, n)

    def _chain(
        self, n: int, c: Tensor | None, given: list[Tensor] | None, request: Request, start: Start | None = None
    ) -> Tensor:
        if self.order is not None:
            return super()._chain(n, c, given, request, start)
        x = torch.empty(n, request.length, dtype=self.space.dtype, device=self.device)
        which = torch.randint(len(self.orders), (n,), device=x.device)
        for k in which.unique().tolist():  # the rows of one order go together
            rows, order = (which == k).nonzero()[:, 0], self.orders[k]
            part = super()._chain(len(rows), None if c is None else c[rows], None, request, partial(self._in, k))
            x[rows] = part[:, order.argsort()]
        return x

    def _steps(self, n: int, c: Tensor | None, known: Tensor | None) -> Generator[Coordinates, Tensor, None]:
        return self._in(0, n, c, known)

    def _in(self, k: int, n: int, c: Tensor | None, known: Tensor | None) -> Generator[Coordinates, Tensor, None]:
        """`_steps` in order k of the coordinates."""
        net, order, features = self.nets[k], self.orders[k].tolist(), self._context_features(c)
        if known is None:
            i, (h, state) = 0, net.start(n, features, order)  # type: ignore[operator]
        else:
            i = known.shape[1]
            tokens = torch.cat([self._token(order[p], known[:, p : p + 1]) for p in range(i)], dim=1)
            h, state = net.prefill(tokens, i, features, order)  # type: ignore[operator]
        while True:
            value = yield self.outputs.at(order[i], h)
            h, state = net.step(state, i, self._token(order[i], value))  # type: ignore[operator]
            i += 1

    def _token(self, column: int, value: Tensor) -> Tensor:
        start = self.tokens.starts[column]
        centre = self.centre[start : start + self.tokens.widths[column]]
        return self.singles[column](value, centre.dtype) - centre


def places(space: Space) -> Tensor:
    """Of every pixel of an image its row and column, (D, 2); of a table's columns the number."""
    *_, height, width = (1, *space.shape) if len(space.shape) < 2 else space.shape
    grid = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    return grid.repeat(space.dim // len(grid), 1)


def scans(space: Space) -> list[Tensor]:
    """The ways to read an image line by line: from every corner, along rows and along columns; none of a table.

    >>> from genus import Lattice
    >>> [scan.tolist() for scan in scans(Space(Lattice(0, 1), shape=(2, 2)))[:3]]
    [[0, 1, 2, 3], [0, 2, 1, 3], [3, 2, 1, 0]]
    """
    if len(space.shape) < 2:
        return []
    *_, height, width = space.shape
    pixels = torch.arange(space.dim).view(-1, height, width).movedim(0, -1)  # with the channels of each
    corners = [pixels.flip(axes) for axes in ((), (0, 1), (0,), (1,))]
    return [grid.flatten() for corner in corners for grid in (corner, corner.transpose(0, 1))]


# Few rows beside the weights: averages of them, and weights that are kept small.
TABLES = MappingProxyType({"learning_rate": 1e-3, "ema_decay": 0.999, "weight_decay": 0.05})
# Pixels that are centred bear larger steps.
IMAGES = MappingProxyType(
    {"learning_rate": 1e-3, "lr_schedule": "linear", "ema_decay": 0.999, "batch_size": 256, "precision": "bf16-mixed"}
)
ONE_ORDER = "build the model with orders=1, and order=[...] where it should not be the columns' own"
