"""Masked autoencoder for distribution estimation."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from genus.compiled import is_traced
from genus.errors import GenusError
from genus.ladder import Loss, Size
from genus.models.chain_rule import checked_order, nothing_to_learn
from genus.models.orders import SeveralOrders
from genus.nets.heads import Coordinates
from genus.nets.masked import MaskedMLP
from genus.nets.regression import KnownNumbers, LocScale, regressed
from genus.nets.tokens import NARROW, ColumnOutputs, Columns, modules_by_position, spread_
from genus.space import Parts, Real, Space

__all__ = ["MADE"]


class MADE(SeveralOrders, name="made"):
    """Compute p(x) = p(x_1) p(x_2|x_1) ... by a dense net whose weights are masked, so that the outputs for a coordinate depend
    on earlier coordinates alone (masked autoencoder for distribution estimation; Germain et al. 2015, arXiv:1502.03509).

    The density takes one pass; sampling goes coordinate by coordinate but computes every hidden unit once. Exact on tables
    of mixed columns, and on images.

    Args:
        hidden: widths of the hidden layers.
        orders: the number of nets, each with an order of the coordinates of its own. With more than one, the density is the
            mean of their probabilities, and every batch trains them all. For images the first eight orders read them line by
            line, so that neighbours stay near; the others are random.
        order: the order of the coordinates, where there is one; by default their own.
        dropout: the share of hidden units that are dropped in training.
        residual: add to a hidden layer the one below it, where both are equally wide (Nash & Durkan 2019, arXiv:1904.05626).
        direct: every output sees the coordinates before it directly too. In images, where neighbours say most and few hidden
            units see the nearest ones alone, this is worth several nats.
        reach: for images, the distance in pixels, along either axis, up to which an output sees hidden units, and pixels
            directly. A hidden unit stands at the last pixel that it sees, and may see all pixels before; None for no limit.
        components: the number of components of the mixtures that model numbers.
        context_net: widths of a dense net between the context and the masked nets; none by default.

    >>> from genus import Category, Real, Space
    >>> space = Space([Real(), Category(("no", "yes"))], names=["age", "smokes"])
    >>> model = MADE(space, hidden=(16,), order=[1, 0])
    >>> model.sample(2, seed=0, prefix=torch.tensor([1.0]))[:, 1]  # rows of people who smoke
    tensor([1., 1.])
    """

    info = SeveralOrders.info.replace(
        title="masked autoencoder",
        group="chain rule",
        takes="any table or image",
        sequences=False,
        formula="p(x) = ∏ᵢ p(xᵢ | x₁ … xᵢ₋₁), all from one masked net",
        good="tables of mixed columns and binary images; one pass gives the exact density",
        bad="a few hundred rows; smooth numbers in many columns, where flows do better",
    )
    tokens: Columns
    outputs: ColumnOutputs
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
        context_net: Sequence[int] = (),
    ) -> None:
        if orders < 1 or (orders > 1 and order is not None):
            raise GenusError(f"orders is how many random orders there are, 1 or more, and 1 beside order=[...]; got {orders}.")
        if reach is not None and (reach < 1 or len(space.shape) < 2):
            raise GenusError(f"reach is how far outputs see in an image, 1 or more; got {reach} for {space!r}.")
        options: dict[str, Any] = {"dropout": dropout, "residual": residual, "direct": direct, "reach": reach}
        super().__init__(space, context, context_net)
        self.order = checked_order(space, order)
        # Of an image a net sees the numbers alone: one-hots of every pixel would be wide, and say the same.
        seen, modelled = (NARROW, NARROW) if space.shared is None else (0, 32)
        own = range(space.dim)
        self.regression = regressed(space, orders)
        residuals = self.regression is not None
        self.tokens = Columns(space, own, seen, residuals)
        self.singles = modules_by_position(space, own, lambda one: Columns(one, [0], seen, residuals))
        self.outputs = ColumnOutputs(space, own, None, components, modelled)
        sizes = (self.tokens.widths, hidden, self.outputs.widths, self.context_dim)
        self.nets = nn.ModuleList(MaskedMLP(*sizes, **options, places=pixel_positions(space)) for _ in range(orders))
        for net in self.nets:
            spread_(net.out, self.outputs.heads)  # type: ignore[arg-type]
        shuffles = (torch.randperm(space.dim) for _ in range(orders))
        chosen = [torch.tensor(self.order)] if orders == 1 else [*scans(space), *shuffles][:orders]
        self.register_buffer("orders", torch.stack(chosen))
        self._read_orders: list[list[int]] | None = None
        if orders > 1:
            self.order = None
        self.register_buffer("centre", torch.zeros(self.tokens.total))
        self.register_load_state_dict_post_hook(_check_loaded)
        self.fit_defaults = dict(_of_table(space) if space.is_table else IMAGES)  # type: ignore[misc]

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        return nothing_to_learn(space)

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        """Return, for a table a residual net; the fewer the rows, the more dropout; for images many orders instead.

        One-hots are learned by heart sooner than numbers, and dropout blurs numbers that depend on one another closely.
        """
        if not space.is_table:
            large = max(space.shape) > 12
            hyper = {"hidden": (500,) if rows < 10_000 else (2000,), "orders": 8, "direct": True, "dropout": 0.1}
            return hyper | ({"reach": 6} if large else {})
        if all(isinstance(kind, Real) for kind in space.kinds):
            dropout = 0.5 if rows < 5_000 else 0.1 if rows < 20_000 else 0.0
        else:
            dropout = 0.5 if rows < 5_000 else 0.2 if rows < 50_000 else 0.1
        return {"hidden": (256, 256, 256) if rows < 50_000 else (512, 512, 512), "residual": True, "dropout": dropout}

    @classmethod
    def sizes(cls, space: Space, rows: int) -> Sequence[Size]:
        """Return more and more orders of wide images, each of which has a net of its own, and larger batches."""
        if space.is_table or space.dim <= WIDE_IMAGE:
            return ()
        few = [Size({"orders": orders, "hidden": (500,)}, steps, 64) for orders, steps in ((1, 0), (2, 1000), (4, 2000))]
        return [*few, Size(cls.default_hyperparameters(space, rows), 4000)]

    @torch.no_grad()
    def _initialise(self, x: Tensor, c: Tensor | None = None) -> None:
        """Centre what the net sees, and start from the share of every value."""
        if self.regression is not None:
            self.regression.measure(x, self.orders.tolist())
        parts = self.space.split(x)
        self.centre.copy_(torch.stack([self._seen(x, parts, k)[1].mean(0) for k in range(len(self.nets))]).mean(0))
        cells = self.outputs.head.cells
        if cells.total:
            numbers = cells.shares(x)
            for net in self.nets:
                net.out.bias[self.outputs.index[: len(numbers)]] = numbers.to(self.dtype)  # type: ignore[union-attr, operator]

    # -- density --------------------------------------------------------------------------------------------------------

    def _log_conditionals(self, x: Tensor, c: Tensor | None, k: int = 0) -> Tensor:
        # The compiler cannot look into a buffer, and masks can be made of it as it is.
        order = self.order or (self.orders[k] if is_traced() else self._own_orders()[k])
        parts = self.space.split(x)
        unit, seen = self._seen(x, parts, k)
        h = self.nets[k](seen - self.centre, self._context_features(c), order)
        return self.outputs.log_prob(h, x, unit, parts)

    def _own_orders(self) -> list[list[int]]:
        """Return the order of every net, read from the buffer once: a step must not wait for a GPU."""
        if self._read_orders is None:
            self._read_orders = self.orders.tolist()
        return self._read_orders

    def _seen(self, x: Tensor, parts: Parts, k: int) -> tuple[LocScale | None, Tensor]:
        """Return where the mixtures of rows x stand in the k-th order, and what its net sees, (B, its inputs)."""
        unit, residual = (None, None) if self.regression is None else self.regression(parts.u, k)
        return unit, self.tokens(x, self.dtype, residual, parts)

    def losses(self) -> list[Loss]:
        return [Loss("nll", self.parameters(), self._loss)]

    def _loss(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Return nats a row, the mean of the orders: every batch trains every net."""
        return -torch.stack([self._log_conditionals(x, c, k).sum(1).mean() for k in range(len(self.nets))]).mean()

    # -- sampling -------------------------------------------------------------------------------------------------------

    def _steps(self, n: int, c: Tensor | None, prefix: Tensor | None, k: int = 0) -> Generator[Coordinates, Tensor, None]:
        net, order, features = self.nets[k], self._own_orders()[k], self._context_features(c)
        known = None if self.regression is None else self.regression.start(n, k)
        if prefix is None:
            i, (h, state) = 0, net.start(n, features, order)  # type: ignore[operator]
        else:
            i = prefix.shape[1]
            tokens = torch.cat([self._token(order[p], prefix[:, p : p + 1], known) for p in range(i)], dim=1)
            h, state = net.prefill(tokens, i, features, order)  # type: ignore[operator]
        while True:
            value = yield self.outputs.at(order[i], h, None if known is None else known.unit(order[i]))
            h, state = net.step(state, i, self._token(order[i], value, known))  # type: ignore[operator]
            i += 1

    def _token(self, column: int, value: Tensor, known: KnownNumbers | None) -> Tensor:
        """Return the numbers that the nets see of a value (n, 1) of a column, (n, its width), and take the value in."""
        start = self.tokens.starts[column]
        centre = self.centre[start : start + self.tokens.widths[column]]
        return self.singles[column](value, centre.dtype, None if known is None else known.add(column, value)) - centre


def pixel_positions(space: Space) -> Tensor:
    """Return row and column of every pixel of an image, (D, 2); of a table, 0 and the number of every column."""
    *_, height, width = (1, *space.shape) if len(space.shape) < 2 else space.shape
    grid = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    return grid.repeat(space.dim // len(grid), 1)


def scans(space: Space) -> list[Tensor]:
    """Return the orders that read an image line by line: from every corner, along rows and along columns; none for a table.

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


def _check_loaded(model: MADE, keys: Any) -> None:
    """Raise DataError where numbers that were read make no density."""
    model._read_orders = None
    model.check_orders()
    if model.regression is not None:
        model.regression.check(model.orders.tolist())


WIDE_IMAGE = 256  # pixels, above which a net of one order is tried first where time is short
# Few rows beside the weights: averages of them, and weights that are kept small.
TABLES = MappingProxyType({"lr_schedule": "linear", "ema_decay": 0.999, "weight_decay": 0.05})
# Pixels that are centred bear larger steps.
IMAGES = MappingProxyType(
    {"learning_rate": 1e-3, "lr_schedule": "linear", "ema_decay": 0.999, "batch_size": 256, "precision": "bf16-mixed"}
)


def _of_table(space: Space) -> dict[str, Any]:
    """Return the options of `fit` that suit a table: densities of reals bear larger steps than probabilities of cells."""
    reals = sum(isinstance(kind, Real) for kind in space.kinds)
    rate = 5e-3 if 2 * reals >= space.dim else 2e-3 if regressed(space) is not None else 1e-3
    return {"learning_rate": rate, **TABLES}
