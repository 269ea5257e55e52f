"""Mixture: components of normals and tables, by expectation maximisation, as many and as free as held-out rows like best."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genus.errors import GenusError
from genus.ladder import Learned, Rest, TractableDensity, WithContext
from genus.ladder.unknown import Filled, set_columns
from genus.models.choosing import Chooser, Options, cross_folds
from genus.models.combinations import context_combinations, context_index, context_refusal
from genus.models.components import COVARIANCES, Components, Form, MixtureRows, saved_components
from genus.models.layout import Layouts, coordinates
from genus.models.maximising import (
    Climbed,
    climb,
    climb_stream,
    mean_log_density,
    new_components,
    starting_labels,
    step_through,
)
from genus.models.patterns import BlankPatterns, set_blanks
from genus.models.product import Product
from genus.nets.room import afford, numbers_of
from genus.space import Space

__all__ = ["Mixture"]

FEW = 2000  # rows of which a tenth would be too few to choose by: with fewer, all rows choose, in FOLDS folds
FOLDS = 5
BACKGROUND = 1e-3  # at most, the weight of the component that takes rows far from all others; of n rows 1 / (n + 1)
HELD = 0.1  # the share of many rows that is held out where no validation rows are given
SUBSET, JUDGES = 4000, 2000  # training rows that forms are fitted to, and validation rows that compare the fits
WHOLE = 50_000  # the most rows over which EM makes passes; of more rows so many come first, and steps on parts of all follow
STARTS = 4  # different starts of the last fit to few rows, of which the best is kept
CHOICE = 0.5  # the share of the time for the choice of the form
EARLY, EARLY_GAIN = 6, 1e-3  # passes, and nats that each must gain, of fits of several sizes to all rows
LATE_GAIN = 4e-4  # nats that a pass of the last fit to many rows must gain
GROWTH = 2.0  # the least ratio of the numbers of components that are tried on all rows
RESERVE = 0.06  # the share of the time for evaluations
STREAMED = 0.3  # the share of the time for the passes over a stream
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
# Values of the attributes of a `Form` to choose from; the first is taken where nothing is chosen.
SHRINKAGES, POOLS = (3.0, 0.03, 0.3, 10.0, 30.0, 100.0), (2.0, 0.5, 8.0, 30.0)
LEVELS = (2.0, 0.1, 0.5, 8.0, 30.0)  # of few rows, where a table has short lattices beside levels and atoms
SHAPES = (30.0, 0.0, 300.0)  # of few rows, where a table has short lattices
MANY_POOL = 8.0  # the one of POOLS that comes first for more than few rows
NUMBERS_A_SECOND = 20_000  # numbers for every second of the budget, which the first passes of EM go through
LEAST, GIVEN = 8, 16  # for so many components the covariances must be few enough; or for one in GIVEN of those asked for
LARGE = 4  # numbers from which on their covariance may be worth some factors, or be shared
NUMBERS = 2**22  # the most numbers of all covariances together
TABLES = 2**24  # the most numbers of all tables together


class Mixture(Learned, TractableDensity, name="mixture"):
    """Sum over K components, p(x | c) = sum_k p(k | c) p(x | k), fitted by EM (Dempster et al. 1977).

    Within a component numbers are jointly normal in their charts; categories, atoms, missing values and scales of few values
    have tables, and are independent of all else given the component. Numbers on lattices have the masses of cells, each given
    the numbers before it, so that all masses add up to 1; marginals and conditionals of several such numbers are exact but
    for what a cell's width adds to a variance (see `Cut`). Independent too are lattices with values far more frequent than
    their neighbours, and all columns where the covariance is diagonal.

    What the constructor leaves open is chosen by rows that did not fit it: of 2,000 rows or more by the validation rows, of
    fewer by all rows, each of which is scored by a fit to most of the others; the training rows are then fitted once more. A
    component's covariance and tables are drawn towards what is typical of all, by as many rows' worth as those rows like best.
    Above 50,000 rows EM takes steps on parts of them; of a stream passes over all rows follow.

    Args:
        components: K; None: chosen.
        covariance: of the numbers within a component: "diagonal"; "tied", of all components alike; "low-rank", some
            factors and a diagonal (Ghahramani & Hinton 1996); "full"; or "auto": chosen.
        shrinkage: how many rows' worth of the typical (co)variance within components every component gets; None: chosen.
        pool: how many rows' worth of the tables of all rows every component's tables get; None: chosen.
        shared: whether all values of the context share the K components; else each value, or combination of values, has K
            components of its own, as classes of a classifier should.

    >>> import genus
    >>> data = genus.read("iris")
    >>> model = Mixture(data.space, components=3)
    >>> _ = genus.fit(model, data, seed=0, progress=False)
    >>> model.log_prob(data.x).shape
    torch.Size([150])
    """

    streams = True
    info = TractableDensity.info.replace(
        title="mixture of normals and tables, by EM",
        group="counted",
        takes="any table or image; a discrete context",
        formula="p(x) = Σₖ wₖ p(x | k), normals of numbers beside tables of states",
        good="tables of a hundred to a million rows; blanks, marginals and conditionals of any columns in closed form",
        bad="sharp functions between columns; images and sequences",
    )

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        components: int | None = None,
        covariance: str = "auto",
        shrinkage: float | None = None,
        pool: float | None = None,
        shared: bool = True,
    ) -> None:
        if components is not None and components < 1:
            raise GenusError(f"A mixture has 1 component or more; got components={components}.")
        if covariance not in ("auto", *COVARIANCES):
            raise GenusError(f"covariance must be 'auto' or one of {', '.join(COVARIANCES)}; got {covariance!r}.")
        if min(shrinkage or 0.0, pool or 0.0) < 0:
            raise GenusError(f"shrinkage and pool are numbers of rows, 0 or more; got {shrinkage} and {pool}.")
        super().__init__(space, context)
        self.components, self.covariance, self.shrinkage, self.pool = components, covariance, shrinkage, pool
        self.owners = 1 if shared else context_combinations(context)  # values of the context with components of their own
        self.parts = Components(space, context, (components or 1) * self.owners, "diagonal", self.owners)
        self.blanks = BlankPatterns(space)
        self.register_load_state_dict_post_hook(_check_loaded)

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        return context_refusal(context)

    def _learned(self) -> list[Tensor]:
        learned = ("parts.", "blanks.") if self.blanks.columns else ("parts.",)
        state, forgotten = self.state_dict(keep_vars=True), {f"parts.product.{name}" for name in Product.statistics}
        return [t for name, t in state.items() if name.startswith(learned) and name not in forgotten]

    # -- learning -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def learn(
        self,
        train: WithContext,
        validation: WithContext | None,
        budget: Callable[[], float],
        seed: int,
        rest: Rest | None = None,
    ) -> str | None:
        """Choose the form of the mixture and fit it; see `Learned.learn`."""
        limit = budget() if math.isfinite(budget()) else 0.0
        x, c = train
        if len(x) == 0:
            return None
        self.blanks.learn(x)
        background = min(1 / (len(x) + 1), BACKGROUND) if self.components is None else 0.0
        layouts = Layouts(self.space, self.context, x, c, background)  # shows rows to components, by their form
        few = rest is None and len(x) + (0 if validation is None else len(validation[0])) < FEW
        count = len(x)
        if few and validation is not None:
            x, c = _together((x, c), validation)
        elif not few and validation is None:
            order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
            held = round(HELD * len(x))
            (x, c), validation = _some(x, c, order[held:]), _some(x, c, order[:held])

        def spent_to(share: float) -> Callable[[], bool]:
            return lambda: budget() <= limit * share

        # Whether the time for the choice is over, and that for all passes.
        time_over = (spent_to(1 - CHOICE), spent_to(RESERVE if rest is None else RESERVE + STREAMED))
        if few:
            form, ended = self._learn_few(layouts, x, c, count, time_over, seed)
        else:
            assert validation is not None
            form, ended = self._learn_many(layouts, (x, c), validation, limit, time_over, seed)
        if rest is not None:
            assert validation is not None
            rows_of = partial(layouts.rows, form)
            climb_stream(self.parts, form, rows_of, (x, c), rest, spent_to(RESERVE), rows_of(*validation))
        self.parts = layouts.beside(form, self.parts)
        self.parts.scale(0)
        return ended

    def _learn_few(
        self,
        layouts: Layouts,
        x: Tensor,
        c: Tensor | None,
        count: int,
        time_over: tuple[Callable[[], bool], Callable[[], bool]],
        seed: int,
    ) -> tuple[Form, str]:
        """Choose the form by all rows in folds, fit it to the first `count`; return it, and why training ended."""
        choice_over, spent = time_over
        features = coordinates(self.space, x, self.blanks.columns)
        folds = cross_folds(len(x), min(FOLDS, max(2, len(x))), seed, x.device)
        options = self._options(layouts, len(x), min(len(train) for train, _ in folds))
        form = options.first
        if not options.is_one and len(x) >= 2 * FOLDS:
            form = Chooser(self.space, self.context, layouts, (x, c), features, folds, seed, choice_over).choose(options)
        rows, features = layouts.rows(form, x[:count], None if c is None else c[:count]), features[:count]
        best = Climbed(-math.inf, "")
        for start in range(STARTS if not options.is_one else 1):
            labels = starting_labels(features, rows.context, form, seed + 101 * start)
            parts = new_components(self.space, self.context, form, rows, labels)
            climbed = climb(parts, form, rows, spent)
            if climbed.value > best.value:
                best, self.parts = climbed, parts
            if spent():
                break
        return form, best.ended

    def _learn_many(
        self,
        layouts: Layouts,
        train: WithContext,
        validation: WithContext,
        limit: float,
        time_over: tuple[Callable[[], bool], Callable[[], bool]],
        seed: int,
    ) -> tuple[Form, str]:
        """Choose the form by validation rows, fit it to training rows; return it, and why training ended."""
        (x, c), (choice_over, spent) = train, time_over
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
        judges = torch.randperm(len(validation[0]), generator=torch.Generator().manual_seed(seed)).to(x.device)
        options = self._options(layouts, len(x), min(SUBSET, len(x)))
        form = options.first
        if not options.is_one:
            some, few = _some(x, c, order[:SUBSET]), _some(*validation, judges[:JUDGES])
            form = self._choose(layouts, options, some, few, choice_over, seed)
        held = layouts.rows(form, *_some(*validation, judges[: 2 * JUDGES]))
        whole = WHOLE if limit == 0 else int(min(WHOLE, max(FEW, limit * NUMBERS_A_SECOND / self.space.dim)))
        some = _some(x, c, order[:whole])
        rows, features = layouts.rows(form, *some), coordinates(self.space, some[0], self.blanks.columns)
        fitted = self._started(form, rows, features, held, spent, seed)
        for size in options.components:  # more rows bear more components
            if size < GROWTH * form.components:
                continue
            if choice_over():
                break
            larger = form._replace(components=size)
            refitted = self._started(larger, rows, features, held, choice_over, seed)
            if refitted[1] <= fitted[1]:
                break
            form, fitted = larger, refitted
        self.parts, ended = fitted[0], ""
        if not spent():
            ended = climb(self.parts, form, rows, spent, held, gain=LATE_GAIN).ended
        if len(x) > whole:
            step_through(self.parts, form, x, c, held, spent, seed)
            ended = "early stopping"
        return form, ended

    def _choose(
        self,
        layouts: Layouts,
        options: Options,
        train: WithContext,
        judges: WithContext,
        choice_over: Callable[[], bool],
        seed: int,
    ) -> Form:
        """Return the form under which validation rows, the judges, are likeliest, once fitted to some of the training rows."""
        x, c = _together(train, judges)
        place, features = torch.arange(len(x), device=x.device), coordinates(self.space, x, self.blanks.columns)
        fold = (place[: len(train[0])], place[len(train[0]) :])
        return Chooser(self.space, self.context, layouts, (x, c), features, [fold], seed, choice_over).choose(options)

    def _started(
        self, form: Form, rows: MixtureRows, features: Tensor, held: MixtureRows, spent: Callable[[], bool], seed: int
    ) -> tuple[Components, float]:
        """Return components after their first passes, over some rows and then over all, and held rows' mean log-density."""
        first = slice(0, max(FEW, len(rows) // 4))
        labels = starting_labels(features[first], rows.context[first], form, seed)
        parts = new_components(self.space, self.context, form, rows.some(first), labels)
        climb(parts, form, rows.some(first), spent, gain=EARLY_GAIN, passes=2 * EARLY)
        climb(parts, form, rows, spent, gain=EARLY_GAIN, passes=EARLY)
        return parts, mean_log_density(parts, held)

    def _options(self, layouts: Layouts, n: int, fitted: int) -> Options:
        """Return the forms to choose from, for n rows of which `fitted` are fitted at a time."""
        reals, tables = len(self.parts.joint) + len(layouts.lattices), self.parts.product.cells.total > 0
        covariance = list(COVARIANCES[::-1]) if self.covariance == "auto" else [self.covariance]  # the freest first
        if reals < LARGE and self.covariance == "auto":  # for few numbers those in between are hardly simpler
            covariance = ["full", "diagonal"]
        if layouts.lattices and self.covariance == "auto":  # tables of short lattices cost little
            covariance = [covariance[-1], *covariance[:-1]]
        count = max(LEAST, (self.components or 1) * self.owners // GIVEN)
        if reals < 2 or (self.covariance == "auto" and count * reals**2 > NUMBERS):
            covariance = ["diagonal"]
        most = min(fitted // 8, TABLES // max(1, self.parts.product.cells.total))
        most = most if covariance == ["diagonal"] else min(most, NUMBERS // reals**2)
        sizes = [k for k in SIZES if k <= max(1, most // self.owners)] if self.components is None else [self.components]
        ranks = sorted({max(1, round(reals * share)) for share in (0.15, 0.3, 0.5)})
        cells, lattices = self.parts.product.cells, bool(self.parts.product.cells.lattice.any())
        shrinkage: tuple[float, ...] = SHRINKAGES if len(cells.rest) or (lattices and n < FEW) else SHRINKAGES[:1]
        shrinkage = shrinkage if self.shrinkage is None else (self.shrinkage,)
        pools = POOLS if fitted < FEW else sorted(POOLS, key=lambda pool: pool != MANY_POOL)
        pool = (self.pool,) if self.pool is not None else pools if tables else pools[:1]
        shape = SHAPES if lattices and self.pool is None and n < FEW else (0.0,)
        both = lattices and not bool(self.parts.product._of_lattice.all())  # a pool that suits short lattices blurs levels
        levels = LEVELS if both and self.pool is None and n < FEW else (None,)
        ranks = [ranks[len(ranks) // 2], *ranks]
        for one in covariance:
            smooth = () if one == "diagonal" else layouts.lattices
            parts = partial(Components, self.space, self.context, sizes[0] * self.owners, one, self.owners, smooth)
            afford(self.name, numbers_of(parts))
        return Options(sizes, covariance, ranks, shrinkage, pool, shape, levels, (self.owners,), (layouts.lattices,))

    def criterion(self, x: Tensor, c: Tensor | None = None) -> float | None:
        return super().criterion(x, c) if bool(self.parts.product.concluded) else None

    # -- answering ----------------------------------------------------------------------------------------------------

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        values = self.parts.log_joint_of(x, c).logsumexp(1)
        return values + self.blanks.log_prob(x.flatten(1), range(self.space.dim))

    def _log_marginal(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        return self.parts.select(columns).log_joint_of(x, c).logsumexp(1) + self.blanks.log_prob(x, columns)

    def _log_values(self, x: Tensor, i: int, values: Tensor, c: Tensor | None) -> Tensor:
        own = self.parts.alone(i)
        kind, others = self.space.kinds[i], [j for j in range(self.space.dim) if j != i]
        # A blank for an unknown value is in the patterns, not in the components.
        if own is None or not others or (kind.has_unknown and bool(Space([kind]).unknown_blanks(values[:, None].to(x)).any())):
            return super()._log_values(x, i, values, c)
        flat = x.flatten(1)
        rest = self.parts.select(others).log_joint_of(flat[:, others], c)
        patterns = self.blanks.log_prob(set_columns(flat, [i], values[:1].expand(len(x), 1)), range(self.space.dim))
        return log_matmul(rest, own.log_prob(values[:, None].to(x))) + patterns[:, None]

    def _conditional(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        return self._draw_given(x, columns, c, True)

    def _draw_given(self, x: Tensor, columns: list[int], c: Tensor | None, blanks: bool) -> Tensor:
        missing = torch.zeros(self.space.dim, dtype=torch.bool, device=x.device)
        missing[columns] = True
        drawn = self.parts.given(x, missing.expand(len(x), -1), c)()
        if not blanks or not self.blanks.columns:
            return drawn
        return set_blanks(self.space, drawn, columns, self.blanks.draw(x, columns))

    def log_without_blanks(self, x: Tensor, columns: list[int]) -> Tensor:
        """Return the log-probability (B,) that none of these columns is a blank for an unknown value, given the others of x."""
        others = [i for i in range(self.space.dim) if i not in columns]
        flat = x.flatten(1)
        return self.blanks.log_prob(flat, range(self.space.dim)) - self.blanks.log_prob(flat[:, others], others)

    def _filler(self, x: Tensor, missing: Tensor, c: Tensor | None) -> Callable[[], Filled]:
        chunks = list(self.parts.product.chunks(len(x)))
        draws = [self.parts.given(x[rows], missing[rows], None if c is None else c[rows]) for rows in chunks]
        size, done = x.new_full((len(x),), math.inf), torch.ones(len(x), dtype=torch.bool, device=x.device)

        def draw() -> Filled:
            drawn = torch.cat([x[:0].double(), *(one() for one in draws)])
            return Filled(torch.where(missing.view_as(x), drawn.to(x), x), size, done)

        return draw

    def _fill(self, x: Tensor, missing: Tensor, c: Tensor | None) -> Filled:
        return self._filler(x, missing, c)()

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        self.parts.product.check_fitted()
        which = context_index(self.parts.context_cells, c, n, self.device)
        drawn, columns = self.parts.sample(self.parts.log_weights[which].exp()), range(self.space.dim)
        return set_blanks(self.space, drawn, columns, self.blanks.draw(drawn, columns)) if self.blanks.columns else drawn

    # -- files --------------------------------------------------------------------------------------------------------

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Read as many components, and normals as free, as a file holds, where the constructor left them open."""
        count = None if self.components is None else self.components * self.owners
        if (parts := saved_components(state_dict, prefix + "parts.", self.space, self.context, count)) is not None:
            self.parts = parts.to(self.parts.log_weights.device)
        super()._load_from_state_dict(state_dict, prefix, *args)


def log_matmul(a: Tensor, b: Tensor) -> Tensor:
    """Return log sum_k exp(a[:, k] + b[:, k]) of every pair of rows, (B, V), of a (B, K) and b (V, K)."""
    high, top = a.amax(1, keepdim=True), b.amax(1)
    product = (a - high).exp() @ (b - top[:, None]).exp().T
    out = product.log() + high + top
    low = (product < 1e-200).any(1).nonzero()[:, 0]  # rows whose sums the greatest terms of a and b made vanish: do them alone
    for some in low.split(max(1, 2**20 // b.numel())):
        out[some] = (a[some, None] + b).logsumexp(2)
    return out


def _some(x: Tensor, c: Tensor | None, rows: Tensor) -> WithContext:
    return x[rows], None if c is None else c[rows]


def _together(a: WithContext, b: WithContext) -> WithContext:
    return torch.cat([a[0], b[0]]), None if a[1] is None or b[1] is None else torch.cat([a[1], b[1]])


def _check_loaded(model: Any, keys: Any) -> None:
    """Raise DataError where numbers that were read are no such model."""
    model.parts.check()
    model.blanks.check()
