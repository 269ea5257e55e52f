"""Gradient-boosted trees as the conditionals of the chain rule."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genus.errors import DataError, GenusError
from genus.ladder import Learned, WithContext
from genus.models.boosting import Boosted, BoostingOptions, boost, empty
from genus.models.chain_rule import checked_order
from genus.models.leaves import ColumnLeaves
from genus.models.orders import SeveralOrders
from genus.models.questions import Conditional
from genus.nets.forest import ByteCodes, Forest
from genus.random import gumbel_like, isolated, rng
from genus.space import Space

__all__ = ["Trees"]

SMOOTH = (0.0, 0.5, 1.0)  # the shares of the slopes within bins that validation rows choose from
HELD = 0.1  # of the rows, held out where no validation rows are given
PARTICLES = 64  # draws of the unknown columns before a known one
AT_ONCE = 20_000  # rows of these together
LEARNED = 150_000  # numbers a second that a short budget is expected to be enough for; rows beyond it are left out
RESERVE = 0.1  # of the time, for choosing slopes and for the evaluation


class Trees(Learned, SeveralOrders, name="trees"):
    """Multiply conditionals that gradient-boosted trees learn column by column: p(x) = p(x_1) p(x_2|x_1) ... (Friedman 2001).

    A value is found by yes-or-no questions, see `ColumnLeaves`: which level, which atom, missing or not, which of up to `bins`
    bins; each question is a classifier of boosted trees that see the columns before, missing values among them. So every kind
    of column has a density whose mass is exactly 1. LightGBM grows the trees (Ke et al. 2017); it is two to four times as fast
    here as scikit-learn's histogram boosting, most so where a question concerns few rows, as most do. Trees grow until those
    of the validation rows that a question concerns gain nothing more. They are kept as arrays, which a file holds and NumPy
    sums, so that LightGBM is needed for learning alone.

    `impute` and `log_marginal` answer for any columns: exactly where the unknown ones come last in the order or have few
    values, otherwise by drawing each unknown column in turn, given the columns before, and weighting the draws by the
    densities of the known columns after it. Such a marginal is an estimate from 64 draws.

    Args:
        orders: the number of chains, each in an order of the columns of its own, the first in `order`, the others random. The
            density is the mean of theirs.
        order: the order of the columns; by default their own.
        rounds: the most trees of a question.
        rate: by which every tree's part is shrunk.
        depth: the most levels of a tree, 1 to 8.
        bins: the most bins of a column's numbers; fewer rows have fewer.

    >>> import genus
    >>> data = genus.read("iris")
    >>> model = Trees(data.space)
    >>> _ = genus.fit(model, data, seed=0, progress=False)
    >>> model.log_prob(data.x).shape
    torch.Size([150])
    """

    info = SeveralOrders.info.replace(title="boosted trees", group="chain rule", takes="any table or image", sequences=False)

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        orders: int = 1,
        order: Sequence[int] | None = None,
        rounds: int = 300,
        rate: float = 0.1,
        depth: int = 4,
        bins: int = 64,
    ) -> None:
        if min(orders, rounds) < 1 or not 1 <= depth <= 8 or bins < 2 or not 0 < rate <= 1:
            raise GenusError(
                "orders and rounds must be 1 or more, depth from 1 to 8, bins 2 or more, rate above 0 and at most 1; got"
                f" orders={orders}, rounds={rounds}, depth={depth}, bins={bins}, rate={rate}."
            )
        super().__init__(space, context)
        self.order = checked_order(space, order)
        self.rounds, self.rate = rounds, rate
        shuffles = (torch.randperm(space.dim) for _ in range(orders - 1))
        self.register_buffer("orders", torch.stack([torch.tensor(self.order), *shuffles]))
        if orders > 1:
            self.order = None
        self.leaves = nn.ModuleList(ColumnLeaves(Space([kind]), bins) for kind in space.kinds)
        self.codes = ByteCodes(space)
        self.context_codes = None if context is None else ByteCodes(context)
        self.before = 0 if context is None else context.dim  # the bytes of the context come first
        self.forest = Forest(0, self.before + space.dim, depth)
        self._take([[column.untrained(depth) for column in self._columns] for _ in range(orders)])
        self.register_load_state_dict_post_hook(_check_loaded)

    @property
    def _columns(self) -> list[ColumnLeaves]:
        return list(self.leaves)  # type: ignore[arg-type]

    @property
    def _starts(self) -> list[int]:
        """Return the first question of every column among those of an order, and how many there are."""
        return np.cumsum([0, *(len(column.nodes) for column in self._columns)]).tolist()

    # -- learning -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def learn(self, train: WithContext, validation: WithContext | None, budget: Callable[[], float], seed: int) -> None:
        """Grow the trees of all columns, in every order; see `Learned.learn`."""
        with isolated(seed, self):
            train, validation = _divided(train, validation, budget())
        for codes, rows in ((self.codes, train[0]), (self.context_codes, train[1])):
            if codes is not None and rows is not None:
                codes.measure(rows)
        columns, held = ([part[0].flatten(1)[:, i : i + 1] for i in range(self.space.dim)] for part in (train, validation))
        for i, (column, x) in enumerate(zip(self._columns, columns, strict=True)):
            column.measure(x, self.codes.ranks_of(i))
        parts = [
            (self._codes(*rows), [one.locate(x).leaf for one, x in zip(self._columns, values, strict=True)])
            for rows, values in ((train, columns), (validation, held))
        ]
        work = [(k, p) for k in range(len(self.orders)) for p in range(self.space.dim)]
        cost = [self.before + p + 3.0 for _, p in work]  # of a column after p others
        found: list[list[list[Boosted]]] = [[[]] * self.space.dim for _ in self.orders]
        limit = budget() if math.isfinite(budget()) else 0.0
        for at, (k, p) in enumerate(work):
            stop = limit * (RESERVE + (1 - RESERVE) * sum(cost[at + 1 :]) / sum(cost))  # seconds to be left then
            found[k][int(self.orders[k, p])] = self._learn_column(k, p, parts, lambda stop=stop: budget() <= stop, seed)  # type: ignore[misc]
        self._take(found)
        for i, column in enumerate(self._columns):
            if column.has_rest and budget() > 0:
                self._choose_smooth(column, i, parts[1][0], held[i])

    def _learn_column(
        self, k: int, p: int, parts: list[tuple[np.ndarray, list[np.ndarray]]], spent: Callable[[], bool], seed: int
    ) -> list[Boosted]:
        """Return the classifiers of the column at position p of an order."""
        order = self.orders[k].tolist()
        seen = np.array([*range(self.before), *(self.before + i for i in order[:p])], dtype=np.intp)
        mine, held = ((np.ascontiguousarray(codes[seen].T), leaf[order[p]]) for codes, leaf in parts)
        options = BoostingOptions(self.rounds, self.rate, self.forest.depth, seed % 2**31, spent)
        with warnings.catch_warnings():  # LightGBM says that parts of its data keep the parameters of the whole, as they are to
            warnings.filterwarnings("ignore", "Overriding the parameters")
            found = boost(mine, held, self._columns[order[p]].nodes.cpu().numpy(), options)
        return [one._replace(feature=np.append(seen, 0)[one.feature]) for one in found]

    def _take(self, found: list[list[list[Boosted]]]) -> None:
        """Keep the classifiers of every question of every column of every order."""
        flat = [one for order in found for column in order for one in column]
        none = Boosted(0.0, *empty(self.forest.depth))
        feature, threshold, value = (np.concatenate([one[part] for one in (none, *flat)]) for part in (1, 2, 3))
        self.forest.take([len(one.feature) for one in flat], feature, threshold, value, np.array([one.bias for one in flat]))

    def _choose_smooth(self, column: ColumnLeaves, i: int, codes: np.ndarray, x: Tensor) -> None:
        """Choose the share of the slopes within a column's bins by the likelihood of validation rows."""
        at = column.locate(x)
        rows = np.flatnonzero(at.bin >= 0)
        if not len(rows):
            return
        log_p = self._column(0, i, codes[:, rows]).log_leaves(column.neighbours(at.bin[rows]))
        at, gains = at.take(rows), []
        for smooth in SMOOTH:
            column.smooth.fill_(smooth)
            gains.append(column.log_within(at, column.slopes(at.bin, log_p)).sum())
        column.smooth.fill_(SMOOTH[int(np.argmax(gains))])

    # -- density ------------------------------------------------------------------------------------------------------

    def _log_conditionals(self, x: Tensor, c: Tensor | None, k: int = 0) -> Tensor:
        codes, flat = self._codes(x, c), x.flatten(1)
        return torch.stack([self._log_column(k, i, codes, flat) for i in range(self.space.dim)], dim=1)

    def _log_prefix(self, x: Tensor, m: int, c: Tensor | None) -> Tensor:
        if self.order is None:
            return super()._log_prefix(x, m, c)
        codes, flat = self._codes(x, c), x.flatten(1)
        found = [torch.zeros(len(x), dtype=torch.float64, device=self.device)]
        return torch.stack(found + [self._log_column(0, i, codes, flat) for i in self.order[:m]]).sum(0)

    def _codes(self, x: Tensor, c: Tensor | None) -> np.ndarray:
        """Return what trees see of rows: bytes (context columns + columns, B)."""
        own = self.codes(x)
        return own if c is None or self.context_codes is None else np.concatenate([self.context_codes(c), own])

    def _column(self, k: int, i: int, codes: np.ndarray) -> Conditional:
        """Return the distribution of column i in an order, given the bytes of the rows."""
        starts = self._starts
        return Conditional(self._columns[i], self.forest, k * starts[-1] + starts[i], codes, self.device)

    def _log_column(self, k: int, i: int, codes: np.ndarray, x: Tensor) -> Tensor:
        """Return the log-density (B,) of the values of column i among rows x (B, D) in an order."""
        return self._column(k, i, codes).log_prob(x[:, i : i + 1])[:, 0]

    def _draw_column(self, k: int, i: int, codes: np.ndarray, x: Tensor) -> None:
        """Draw column i of rows x (B, D) and of their bytes."""
        value = self._column(k, i, codes).sample()
        x[:, i], codes[self.before + i] = value[:, 0].to(x), self.codes.column(i, value[:, 0])

    # -- sampling -----------------------------------------------------------------------------------------------------

    def _steps(self, n: int, c: Tensor | None, prefix: Tensor | None, k: int = 0) -> Generator[Conditional, Tensor, None]:  # type: ignore[override]
        codes, order = np.zeros((self.forest.features, n), dtype=np.uint8), self.orders[k].tolist()
        if c is not None and self.context_codes is not None:
            codes[: self.before] = self.context_codes(c)
        begun = 0 if prefix is None else prefix.shape[1]
        for p, i in enumerate(order):
            value = prefix[:, p : p + 1] if prefix is not None and p < begun else (yield self._column(k, i, codes))
            codes[self.before + i] = self.codes.column(i, value[:, 0])

    # -- any columns given the others ---------------------------------------------------------------------------------

    def _log_marginal(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        try:
            return super()._log_marginal(x, columns, c)
        except GenusError:  # unknown columns of too many values stand before known ones
            whole = torch.zeros(len(x), self.space.dim, dtype=torch.float64, device=x.device)
            whole[:, columns] = x.double()
            unknown = [i for i in range(self.space.dim) if i not in columns]
        with isolated(0, self):  # the same draws each time
            found = [self._evidence(part, unknown, rows) for part, rows in _batches(whole, c)]
        return torch.as_tensor(np.concatenate(found), device=self.device)

    def _evidence(self, x: Tensor, unknown: list[int], c: Tensor | None) -> np.ndarray:
        weights = [self._particles(k, x, unknown, c)[1] for k in range(len(self.orders))]
        means = [np.logaddexp.reduce(w, axis=0) - math.log(len(w)) for w in weights]
        return np.logaddexp.reduce(means, axis=0) - math.log(len(means))

    def _conditional(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        """Draw some columns given the others, exactly or by weighted draws of each order."""
        combinations = self._combinations(x, columns, c)
        if combinations is not None:
            return self._draw_suffix(combinations.draw(x), combinations.prefix, c)
        drawn = [self._draw_weighted(part, columns, rows) for part, rows in _batches(x.flatten(1).double(), c)]
        return torch.cat(drawn).to(x).view_as(x)

    def _draw_weighted(self, x: Tensor, unknown: list[int], c: Tensor | None) -> Tensor:
        chains = [self._particles(k, x, unknown, c) for k in range(len(self.orders))]
        means = torch.stack([torch.as_tensor(np.logaddexp.reduce(w, axis=0) - math.log(len(w))) for _, w in chains])
        chosen = (means + gumbel_like(means)).argmax(0)
        out = x.clone()
        for k, (draws, weights) in enumerate(chains):
            rows = (chosen == k).nonzero()[:, 0]
            log_weights = torch.as_tensor(weights)[:, rows]
            which = (log_weights + gumbel_like(log_weights)).argmax(0)
            out[rows] = self._draw_rest(k, draws[which, rows], unknown, None if c is None else c[rows])
        return out

    def _draw_rest(self, k: int, x: Tensor, unknown: list[int], c: Tensor | None) -> Tensor:
        """Return x with the unknown columns drawn that come after all known ones in an order."""
        order, codes = self.orders[k].tolist(), self._codes(x, c)
        for i in order[self._last_known(k, unknown) + 1 :]:
            self._draw_column(k, i, codes, x)
        return x

    def _last_known(self, k: int, unknown: list[int]) -> int:
        return max((p for p, i in enumerate(self.orders[k].tolist()) if i not in unknown), default=-1)

    def _particles(self, k: int, x: Tensor, unknown: list[int], c: Tensor | None) -> tuple[Tensor, np.ndarray]:
        """Draw the unknown columns that come before a known one, and weight the draws by the known ones.

        Args:
            k: the number of the order.
            x: rows (B, D), whatever they hold in the unknown columns.

        Returns:
            Rows (P, B, D), and the log of their weights (P, B): the mean weight is the density of the known columns, without
            bias. P is 1 where nothing had to be drawn, so that the mean is exact.
        """
        order, codes, copies = self.orders[k].tolist(), self._codes(x, c), 1
        draws, weights = x.clone(), np.zeros(len(x))
        for i in order[: self._last_known(k, unknown) + 1]:
            if i not in unknown:
                weights += self._log_column(k, i, codes, draws).cpu().numpy()
                continue
            if copies == 1:
                copies = PARTICLES
                draws, weights, codes = draws.repeat(copies, 1), np.tile(weights, copies), np.tile(codes, (1, copies))
            self._draw_column(k, i, codes, draws)
        return draws.view(copies, *x.shape), weights.reshape(copies, len(x))


def _batches(x: Tensor, c: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield rows in parts of which so many copies are handled at once."""
    size = max(1, AT_ONCE // PARTICLES)
    for at in range(0, max(len(x), 1), size):
        yield x[at : at + size], None if c is None else c[at : at + size]


def _divided(train: WithContext, validation: WithContext | None, seconds: float) -> tuple[WithContext, WithContext]:
    """Return the rows that a budget is enough for, and validation rows, taken from them where there are none."""
    (x, c), order = train, torch.randperm(len(train[0]), generator=rng()).to(train[0].device)
    most = max(1000.0, seconds * LEARNED / x[0].numel()) if len(x) else 0.0
    order = order[: int(most)] if most < len(x) else order

    def rows(of: Tensor) -> WithContext:
        return x[of], None if c is None else c[of]

    if validation is None:
        count = round(HELD * len(order))
        return rows(order[count:]), rows(order[:count])
    return (rows(order) if len(order) < len(x) else train), validation


def _check_loaded(model: Any, keys: Any) -> None:
    """Raise DataError where numbers that were read are no such model."""
    orders, dim, questions = model.orders.tolist(), model.space.dim, model._starts[-1]
    if any(sorted(order) != list(range(dim)) for order in orders) or (model.order is not None and [model.order] != orders):
        raise DataError(f"The orders of the columns must each name {dim} columns once.")
    for codes in (model.codes, model.context_codes):
        if codes is not None:
            codes.check()
    forest = model.forest
    if forest.boosters != len(orders) * questions:
        raise DataError(f"There are {forest.boosters} boosters for {len(orders) * questions} questions.")
    # A tree that asks for a later column would make the product no density.
    place = torch.tensor([[-1] * model.before + torch.tensor(order).argsort().tolist() for order in orders])
    sizes = torch.tensor([len(column.nodes) for column in model._columns])
    own = torch.cat([row[model.before :].repeat_interleave(sizes) for row in place])
    chain = torch.arange(len(orders)).repeat_interleave(questions)
    counts = forest.first.diff().cpu()
    own, chain = own.repeat_interleave(counts), chain.repeat_interleave(counts)
    used = forest.threshold.cpu() < 255
    later = place[chain[:, None], forest.feature.long().cpu()] >= own[:, None]
    if bool((later & used).any()):
        raise DataError("A tree asks for a column that comes later in the order.")
