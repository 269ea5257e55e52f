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
from genus.ladder import Learned, WithContext, map_batches
from genus.ladder.unknown import Filled, fill_unknown, rows_by_pattern, with_each_value
from genus.models.boosting import Boosted, BoostingOptions, Turns, boost, empty
from genus.models.chain_rule import checked_order
from genus.models.leaves import ColumnLeaves
from genus.models.orders import SeveralOrders, backwards, few_first
from genus.models.particles import Particles, draw_rows, mixed, run_until
from genus.models.questions import Conditional
from genus.models.tree_chain import TreeChain
from genus.nets.forest import ByteCodes, Forest
from genus.nets.room import Numbers, afford
from genus.random import isolated, rng
from genus.space import Space

__all__ = ["Trees"]

SMOOTH = (0.0, 0.5, 1.0)  # shares of the slopes within bins, of which validation rows choose one
VALIDATION = 0.1  # share of the rows that validate where no validation rows are given
ROWS = 256  # rows whose particles are handled together
AT_ONCE = 50_000  # rows times values of a column whose densities are computed together
LEARNED = 150_000  # numbers, rows x columns, learned in a second, about: rows that a short budget has no time for are left out


class Trees(Learned, SeveralOrders, name="trees"):
    """Multiply conditionals that gradient-boosted trees learn column by column: p(x) = p(x_1) p(x_2|x_1) ... (Friedman 2001).

    A value is found by yes-or-no questions, see `ColumnLeaves`: which level, which atom, missing or not, which of up to `bins`
    bins; each question is a classifier of boosted trees that see the columns before, missing values among them. So every kind
    of column has a density whose mass is exactly 1. LightGBM grows the trees (Ke et al. 2017); it is two to four times as fast
    here as scikit-learn's histogram boosting, most so where a question concerns few rows, as most do. A question gets
    trees until the validation rows that it concerns gain nothing more. They are kept as arrays, which a file holds and NumPy
    sums, so that LightGBM is needed for learning alone.

    Where the codec has put a gap b - a in the place of a column b that is never below a, other columns may depend on b itself,
    and trees learn a sum slowly: so they see the sums of the space (`Space.sums`, gap + a) beside its columns, each once all
    the columns that it adds up are known.

    `impute` and `log_marginal` answer for any columns: exactly where the unknown ones come last in the order or have few
    values, otherwise by particles: each unknown column is drawn in turn, given the columns before, the draws are weighted by
    the densities of the known columns after it, and draw_rows where few carry the weight. `effective_size` says how many
    draws such an estimate is worth.

    Args:
        orders: the number of chains, each in an order of the columns of its own: the first in `order`, the second backwards, so
            that of two columns each is learned given the other, the rest random; in these the columns of few values come before
            those of many. The density is the mean of the chains' densities.
        order: the order of the columns; by default times come first, then columns of few values before those of many, so that
            numbers are drawn given levels: on Adult a classifier tells such samples less well from real rows.
        rounds: the most trees of a question.
        rate: the learning rate, by which the log-odds that every tree adds are shrunk.
        depth: the most levels of a tree, 1 to 8.
        bins: the most bins of a column's numbers; fewer rows have fewer.

    >>> import genus
    >>> data = genus.read("iris")
    >>> model = Trees(data.space)
    >>> _ = genus.fit(model, data, seed=0, progress=False)
    >>> model.log_prob(data.x).shape
    torch.Size([150])
    """

    info = SeveralOrders.info.replace(
        title="boosted trees",
        group="chain rule",
        takes="any table or image",
        sequences=False,
        formula="p(x) = ∏ᵢ p(xᵢ | x₁ … xᵢ₋₁), each by gradient-boosted trees",
        good="tables of mixed columns with a thousand to a million rows: mostly the best density in seconds",
        bad="images and many hundreds of columns; marginals that are no prefix of an order are estimates",
    )

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
        self.order = checked_order(space, few_first(space) if order is None else order)
        self.rounds, self.rate = rounds, rate
        others = [backwards(space, self.order), *(few_first(space, shuffled=True) for _ in range(orders - 2))]
        self.register_buffer("orders", torch.tensor([self.order, *others[: orders - 1]]))
        if orders > 1:
            self.order = None  # `ChainRule` reads it: the one order of the model, None where there are several
        self.leaves = nn.ModuleList(ColumnLeaves(Space([kind]), bins, pooled=True) for kind in space.kinds)
        # Trees see one byte for each column of a row, and one for each sum.
        self.codes = ByteCodes(space)
        self.context_codes = None if context is None else ByteCodes(context)
        self.before = 0 if self.context_codes is None else self.context_codes.features  # the bytes of the context come first
        self.forest = Forest(0, self.before + self.codes.features, depth)
        self._starts = self._count_questions()
        afford(self.name, Numbers(0, 128 * orders * self._starts[-1]))  # a classifier takes the memory of 128 numbers to learn
        self._take([[column.untrained(depth) for column in self._columns] for _ in range(orders)])
        self.register_load_state_dict_post_hook(_check_loaded)

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        return {"rate": 0.05} if space.is_discrete else {}  # levels alone take so little time that smaller steps pay

    @property
    def _columns(self) -> list[ColumnLeaves]:
        return list(self.leaves)  # type: ignore[arg-type]

    def _count_questions(self) -> list[int]:
        """Return the number of the first question of every column, and last how many questions an order has."""
        return np.cumsum([0, *(len(column.nodes) for column in self._columns)]).tolist()

    # -- learning -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def learn(self, train: WithContext, validation: WithContext | None, budget: Callable[[], float], seed: int) -> None:
        """Grow the trees of all columns, in every order; see `Learned.learn`."""
        with isolated(seed, self):
            train, validation, self.rows_used = _divided(train, validation, budget())
        for codes, rows in ((self.codes, train[0]), (self.context_codes, train[1])):
            if codes is not None and rows is not None:
                codes.measure(rows)
        columns, held = ([part[0].flatten(1)[:, i : i + 1] for i in range(self.space.dim)] for part in (train, validation))
        for i, (column, x) in enumerate(zip(self._columns, columns, strict=True)):
            column.measure(x, self.codes.ranks_of(i))
        parts = [  # of the training rows and of the validation rows: the bytes of a row, and the leaf of every column's value
            (self._codes(*rows), [column.locate(x).leaf for column, x in zip(self._columns, values, strict=True)])
            for rows, values in ((train, columns), (validation, held))
        ]
        work = [(k, p) for k in range(len(self.orders)) for p in range(self.space.dim)]  # orders, positions in an order
        # The expected time, up to a factor, of a column after p others: much of it is the same for all columns, and a column
        # that depends much on few others takes many trees.
        cost = [self.before + p + 10.0 + self.space.dim / 2 for _, p in work]
        boosted: list[list[list[Boosted]]] = [[[]] * self.space.dim for _ in self.orders]
        turns = Turns(cost, budget)
        for done, (k, p) in enumerate(work):
            stop = turns.spare(done)
            boosted[k][int(self.orders[k, p])] = self._learn_column(k, p, parts, lambda stop=stop: budget() <= stop, seed)  # type: ignore[misc]
        self._take(boosted)
        for i, column in enumerate(self._columns):
            if column.has_rest and budget() > 0:
                self._choose_smooth(column, i, parts[1][0], held[i])

    def _learn_column(
        self, k: int, p: int, parts: list[tuple[np.ndarray, list[np.ndarray]]], spent: Callable[[], bool], seed: int
    ) -> list[Boosted]:
        """Return the classifiers of the column at position p of an order."""
        order, known_at = self.orders[k].tolist(), self._known_at(k)
        seen = np.argsort(known_at, kind="stable")[: (known_at < p).sum()]  # the bytes that these trees may look at
        train, held = ((np.ascontiguousarray(codes[seen].T), leaf[order[p]]) for codes, leaf in parts)
        options = BoostingOptions(self.rounds, self.rate, self.forest.depth, seed % 2**31, spent)
        # LightGBM warns that a part of its data keeps the parameters of the whole, which is what is wanted.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Overriding the parameters")
            boosted = boost(train, held, self._columns[order[p]].nodes.cpu().numpy(), options)
        # These trees number the bytes that they saw, and the forest numbers all; the 0 is for trees that saw none.
        return [one._replace(feature=np.append(seen, 0)[one.feature]) for one in boosted]

    def _known_at(self, k: int) -> np.ndarray:
        """Return the position in an order after which each byte is known: -1 for the context, a sum's last column for a sum."""
        at = self.orders[k].argsort().tolist()
        return np.array([-1] * self.before + at + [max(at[i] for i in one) for one in self.codes.sums])

    def _take(self, boosted: list[list[list[Boosted]]]) -> None:
        """Put the classifiers of every question, of every column of every order, into the forest."""
        self._starts = self._count_questions()
        flat = [one for order in boosted for column in order for one in column]
        none = Boosted(0.0, *empty(self.forest.depth))
        feature, threshold, value = (np.concatenate([one[part] for one in (none, *flat)]) for part in (1, 2, 3))
        self.forest.take([len(one.feature) for one in flat], feature, threshold, value, np.array([one.bias for one in flat]))

    def _choose_smooth(self, column: ColumnLeaves, i: int, codes: np.ndarray, x: Tensor) -> None:
        """Choose the share of the slopes within a column's bins by the likelihood of validation rows."""
        located = column.locate(x)
        rows = np.flatnonzero(located.bin >= 0)
        if not len(rows):
            return
        log_p = self._column(0, i, codes[:, rows]).log_leaves(column.neighbours(located.bin[rows]))
        located, likelihoods = located.take(rows), []
        for smooth in SMOOTH:
            column.smooth.fill_(smooth)
            likelihoods.append(column.log_within(located, column.slopes(located.bin, log_p)).sum())
        column.smooth.fill_(SMOOTH[int(np.argmax(likelihoods))])

    # -- density ------------------------------------------------------------------------------------------------------

    def _log_conditionals(self, x: Tensor, c: Tensor | None, k: int = 0) -> Tensor:
        codes, flat = self._codes(x, c), x.flatten(1)
        return torch.stack([self._log_column(k, i, codes, flat) for i in range(self.space.dim)], dim=1)

    def _log_values(self, x: Tensor, i: int, values: Tensor, c: Tensor | None) -> Tensor:
        # What comes before column i in an order is computed once a row, not once a value.
        return map_batches(lambda x, c: self._log_values_of(x, i, values, c), x, c, max(1, AT_ONCE // len(values)))

    def _log_values_of(self, x: Tensor, i: int, values: Tensor, c: Tensor | None) -> Tensor:
        """Return the log-density (B, K) of some rows x (B, *shape) with each of the values (K,) in column i."""
        flat, codes, count = x.flatten(1).double(), self._codes(x, c), len(values)
        rows = with_each_value(flat, i, values)
        many = codes.repeat(count, axis=1)
        many[self.before + i] = np.tile(self.codes.column(i, values), len(x))
        self.codes.put_sums(many[self.before :], i, rows.T)
        by_order = torch.zeros(len(self.orders), len(x), count, dtype=torch.float64, device=self.device)
        for k, order in enumerate(self.orders.tolist()):
            for p, j in enumerate(order):
                is_before = p < order.index(i)
                log_p = self._log_column(k, j, codes, flat)[:, None] if is_before else self._log_column(k, j, many, rows)
                by_order[k] += log_p.view(len(x), -1)
        return by_order.logsumexp(0) - math.log(len(self.orders))

    def _log_prefix(self, x: Tensor, m: int, c: Tensor | None) -> Tensor:
        if self.order is None:
            return super()._log_prefix(x, m, c)
        codes, flat = self._codes(x, c), x.flatten(1)
        zero = torch.zeros(len(x), dtype=torch.float64, device=self.device)  # the sum for m = 0
        return torch.stack([zero] + [self._log_column(0, i, codes, flat) for i in self.order[:m]]).sum(0)

    def _codes(self, x: Tensor, c: Tensor | None) -> np.ndarray:
        """Return the bytes of rows that trees see: (context columns and their sums + columns and their sums, B)."""
        of_x = self.codes(x)
        return of_x if c is None or self.context_codes is None else np.concatenate([self.context_codes(c), of_x])

    def _column(self, k: int, i: int, codes: np.ndarray) -> Conditional:
        """Return the distribution of column i in an order, given the bytes of the rows."""
        return Conditional(self._columns[i], self.forest, k * self._starts[-1] + self._starts[i], codes, self.device)

    def _log_column(self, k: int, i: int, codes: np.ndarray, x: Tensor) -> Tensor:
        """Return the log-density (B,) of the values of column i among rows x (B, D) in an order."""
        return self._column(k, i, codes).log_prob(x[:, i : i + 1])[:, 0]

    # -- sampling -----------------------------------------------------------------------------------------------------

    def _steps(self, n: int, c: Tensor | None, prefix: Tensor | None, k: int = 0) -> Generator[Conditional, Tensor, None]:  # type: ignore[override]
        # The caller draws a value from each conditional that is yielded, and sends it back; see `ChainRule._steps`.
        codes, order = np.zeros((self.forest.features, n), dtype=np.uint8), self.orders[k].tolist()
        if c is not None and self.context_codes is not None:
            codes[: self.before] = self.context_codes(c)
        given = 0 if prefix is None else prefix.shape[1]
        columns = torch.zeros(self.space.dim, n if self.codes.sums else 0, dtype=torch.float64)  # the values so far, for sums
        for p, i in enumerate(order):
            value = prefix[:, p : p + 1] if prefix is not None and p < given else (yield self._column(k, i, codes))
            codes[self.before + i] = self.codes.column(i, value[:, 0])
            if self.codes.sums:
                columns[i] = value[:, 0]
                self.codes.put_sums(codes[self.before :], i, columns)

    # -- any columns given the others ---------------------------------------------------------------------------------

    def effective_size(self, x: Tensor, missing: Tensor | None = None, c: Tensor | None = None) -> Tensor:
        """Return how many independent draws the answer of `log_marginal` for each row is worth; `fill` returns its own.

        Unknown columns that come before known ones in an order, and have too many values to be summed over, are drawn in turn,
        64 to 1,024 times a row, and weighted by what is known. Where such draws are worth few, the model hardly expects the
        known values: the density is then rough, with a relative error of up to one over the root of the size, and draws of
        `impute` are too much like draws of the model without them. A `Trees` with another `order`, unknown columns
        last, is exact.

        Args:
            x, missing, c: rows, which entries are unknown, and contexts, as for `impute`.

        Returns:
            (B,) numbers; `inf` where the answers are exact.

        >>> from genus import Real
        >>> model = Trees(Space([Real(), Real()]))
        >>> model.effective_size(torch.tensor([[1.0, torch.nan], [1.0, 2.0]]))  # the second column comes last, so it is exact
        tensor([inf, inf], dtype=torch.float64)
        """
        whole, unknown = fill_unknown(self.space, x, missing)
        whole, c = self._check(whole, c)
        out = torch.full((len(whole),), math.inf, dtype=torch.float64, device=self.device)
        for rows, columns in rows_by_pattern(unknown.to(whole.device)):
            part, context = whole[rows], None if c is None else c[rows]
            if (
                0 < len(columns) < self.space.dim
                and self._combinations(part[:1], columns, None if c is None else c[:1]) is None
            ):
                with isolated(0, self):
                    sizes = [mixed(chains)[1] for _, chains in self._particles(part, columns, context)]
                out[rows] = torch.as_tensor(np.concatenate(sizes), device=self.device)
        return out

    def _log_marginal(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        try:
            return super()._log_marginal(x, columns, c)
        except GenusError:  # unknown columns of too many values stand before known ones
            whole = torch.zeros(len(x), self.space.dim, dtype=torch.float64, device=x.device)
            whole[:, columns] = x.double()
            unknown = [i for i in range(self.space.dim) if i not in columns]
        with isolated(0, self):  # the same draws each time
            log_density = [mixed(chains)[0] for _, chains in self._particles(whole, unknown, c)]
        return torch.as_tensor(np.concatenate(log_density or [np.zeros(0)]), device=self.device)

    def _resampled(self, x: Tensor, columns: list[int], c: Tensor | None, blanks: bool) -> Filled:
        """Draw some columns given the others by weighted particles of each order."""
        out, size = x.flatten(1).double(), torch.full((len(x),), math.inf, dtype=torch.float64, device=x.device)
        for rows, chains in self._particles(out, columns, c, blanks):
            context = None if c is None else c[rows]

            def rest(k: int, part: Tensor, at: Tensor, context: Tensor | None = context) -> Tensor:
                """Draw the unknown columns after all known ones, which the particles leave open."""
                return TreeChain(self, k, blanks).draw_rest(part, columns, None if context is None else context[at])

            out[rows] = draw_rows(chains, out[rows], rest)
            size[rows] = torch.as_tensor(mixed(chains)[1], device=x.device)
        done = torch.ones(len(x), dtype=torch.bool, device=x.device)
        return Filled(out.to(x).view_as(x), size, done)

    def _particles(
        self, x: Tensor, unknown: list[int], c: Tensor | None, blanks: bool = True
    ) -> Iterator[tuple[slice, list[Particles]]]:
        """Yield parts of the rows, and the particles of every order for them."""
        x = x.flatten(1).double()
        for at in range(0, len(x), ROWS):
            rows = slice(at, at + ROWS)
            context = None if c is None else c[rows]
            yield rows, [run_until(TreeChain(self, k, blanks), x[rows], unknown, context) for k in range(len(self.orders))]


def _divided(train: WithContext, validation: WithContext | None, seconds: float) -> tuple[WithContext, WithContext, int]:
    """Return the rows to train on in so many seconds, validation rows, and how many rows of `train` are used.

    Where there are no validation rows, some rows of `train` are.
    """
    (x, c), order = train, torch.randperm(len(train[0]), generator=rng()).to(train[0].device)
    most = max(1000.0, seconds * LEARNED / x[0].numel()) if len(x) else 0.0
    order = order[: int(most)] if most < len(x) else order

    def rows(of: Tensor) -> WithContext:
        return x[of], None if c is None else c[of]

    if validation is None:
        count = round(VALIDATION * len(order))
        return rows(order[count:]), rows(order[:count]), len(order)
    return (rows(order) if len(order) < len(x) else train), validation, len(order)


def _check_loaded(model: Any, keys: Any) -> None:
    """Raise DataError where numbers that were read are no such model."""
    model._starts = model._count_questions()
    orders, questions = model.orders.tolist(), model._starts[-1]
    model.check_orders()
    for codes in (model.codes, model.context_codes):
        if codes is not None:
            codes.check()
    forest = model.forest
    if forest.boosters != len(orders) * questions:
        raise DataError(f"There are {forest.boosters} boosters for {len(orders) * questions} questions.")
    # A tree that asks for a later column, or a sum with it, would make the product no density.
    place = torch.tensor(np.stack([model._known_at(k) for k in range(len(orders))]))
    sizes = torch.tensor([len(column.nodes) for column in model._columns])
    own = torch.cat([row[model.before :][: model.space.dim].repeat_interleave(sizes) for row in place])
    chain = torch.arange(len(orders)).repeat_interleave(questions)
    counts = forest.first.diff().cpu()
    own, chain = own.repeat_interleave(counts), chain.repeat_interleave(counts)
    used = forest.threshold.cpu() < 255
    later = place[chain[:, None], forest.feature.long().cpu()] >= own[:, None]
    if bool((later & used).any()):
        raise DataError("A tree asks for a column that comes later in the order.")
