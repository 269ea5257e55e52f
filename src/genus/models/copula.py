"""The Gaussian copula: any columns, tied by the correlations of their normal scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.quasirandom import SobolEngine

from genus.errors import DataError, GenusError, NotFittedError
from genus.ladder import Learned, TractableDensity, WithContext
from genus.ladder.unknown import (
    MAX_COMBINATIONS,
    Combinations,
    Filled,
    all_values,
    enumerate_unknown,
    placeholder_row,
    set_columns,
)
from genus.models.correlations import REORDERED, learn_correlations
from genus.models.independent import Independent, Mixtures
from genus.models.patterns import BlankPatterns, set_blanks
from genus.models.recursion import Chains, arrange
from genus.models.scores import LevelScores, NumberScores, Scored, column_scores
from genus.nets.room import Numbers, afford
from genus.random import gumbel_like, isolated, normal_like, rng
from genus.space import Real, Space

__all__ = ["GaussianCopula"]

MOST = 2048  # columns
CORRELATED = 2**23  # numbers of the rows that correlations are learned from, at most; their scores take five times the memory
SCORED = 1024  # rows that are turned into scores at a time
LEAST_ROWS = 32  # that go through the columns together, however many these are: a step has a cost of its own
AT_ONCE = 2**18  # numbers of all chains and columns together, which stay in the processor's cache
ENUMERATED = 2**16  # intervals, at most, by which a row's unknown values are summed over one by one
OBSERVED = 2**16  # rows given to the marginals at once


class GaussianCopula(Learned, TractableDensity, name="gaussian-copula"):
    """Tie columns, each with its own best distribution, by a normal distribution of their scores (Sklar 1959; Nelsen 2006).

    A column's distribution is that of `Independent`: counts of levels, atoms and short lattices, a mixture of normals in the
    chart of other numbers. It maps a value to the score z that has as much mass below it under the standard normal; a value
    with probability of its own to an interval of scores (Hoff 2007, arXiv:math/0610413). Numbers and their atoms lie in their
    own order; levels in the order in which the other columns tell them apart best (Fisher's discriminant); missing values at
    the end where they suit the others. The scores of all columns are jointly normal with correlations R, learned by EM, whose
    means over the intervals are taken along the chains below, and shrunk towards 0 (Schäfer and Strimmer 2005).

    The probability of a rectangle of intervals has no closed form. The model's density is therefore *defined* as what Genz's
    recursion (1992) makes of it with a fixed set of `points`: columns come in a fixed order, context first, then reals
    without atoms, then the others; a chain takes each column given those before, and goes on from a fixed place within
    its interval; the density is the mean over the chains. Each chain is a chain rule, so the mass is exactly 1, samples follow
    `log_prob` exactly (a chain is drawn, then its columns), and for reals alone it is the Gaussian copula itself. Elsewhere it
    comes near to it: the more points, the nearer.

    The context is part of the joint distribution: p(x | c) = p(c, x) / p(c), exact as c comes first.

    `log_marginal` and `impute` answer for any columns. They are exact for columns that come first in the order, reals without
    atoms in any order among themselves, and where the unknown columns before known ones have few values, which are summed
    over. Otherwise they are the answers of the same recursion through the known columns first: a distribution of mass 1, and
    the same Gaussian copula, but not to the last digit the marginal of `log_prob`.

    Args:
        points: K, the chains; a power of 2 spreads them most evenly.

    >>> import genus
    >>> data = genus.read("iris")
    >>> model = GaussianCopula(data.space)
    >>> _ = genus.fit(model, data, seed=0, progress=False)
    >>> model.log_prob(data.x).shape
    torch.Size([150])
    """

    info = TractableDensity.info.replace(
        title="Gaussian copula",
        group="copulas",
        takes="any table or small image",
        formula="p(x) = n(z; 0, R) ∏ᵢ pᵢ(xᵢ) / n(zᵢ; 0, 1) with zᵢ = Φ⁻¹(Fᵢ(xᵢ))",
        good="tables with exact columns and dependence that rises or falls; drawn in no time",
        bad="dependence that is no correlation: clusters, functions, exceptions",
    )
    correlation: Tensor  # (D, D), R, of the context's columns and then those of x
    points: Tensor  # (K, D)
    learned: Tensor  # () True once it has seen data

    def __init__(self, space: Space, context: Space | None = None, points: int = 64) -> None:
        if points < 1:
            raise GenusError(f"points must be 1 or more; got points={points}.")
        super().__init__(space, context)
        self.before = 0 if context is None else context.dim
        kinds = [*(() if context is None else context.kinds), *space.kinds]
        self.joint = Space(kinds)
        self.columns = nn.ModuleList(column_scores(kind) for kind in kinds)
        plain = [isinstance(kind, Real) and kind.states == 1 for kind in kinds]
        known, own = range(self.before), range(self.before, len(kinds))
        self.first = sorted(known, key=lambda i: not plain[i])  # the context's columns in their order, then those of x
        self.order = sorted(own, key=lambda i: not plain[i])
        self.plain = [i - self.before for i in own if plain[i]]
        self.register_buffer("correlation", torch.eye(len(kinds), dtype=torch.float64))
        afford(self.name, Numbers(0, points * len(kinds), double=points * len(kinds)))  # which cannot be drawn without memory
        drawn = SobolEngine(len(kinds), scramble=True, seed=0).draw(points, dtype=torch.float64)
        self.register_buffer("points", drawn.clamp(1e-6, 1 - 1e-6))
        self.register_buffer("learned", torch.zeros((), dtype=torch.bool))
        self.blanks = BlankPatterns(space)
        self.register_load_state_dict_post_hook(_check_loaded)

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        count = space.dim + (0 if context is None else context.dim)
        return f"it correlates at most {MOST:,} columns, and there are {count:,}" if count > MOST else None

    @property
    def parameter_count(self) -> int:
        count = len(self.correlation)
        return count * (count - 1) // 2 + sum(b.numel() for b in self.columns.buffers() if b.is_floating_point())

    @property
    def _columns(self) -> list[LevelScores | NumberScores]:
        return list(self.columns)  # type: ignore[arg-type]

    # -- learning -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def learn(self, train: WithContext, validation: WithContext | None, budget: Callable[[], float], seed: int) -> str:
        """Fit the columns, then their correlations; see `Learned.learn`."""
        self.blanks.learn(train[0])
        x = self._joined(*train)
        marginals = Independent(self.joint).to(x.device)
        for part in x.split(OBSERVED):
            marginals.observe(part)
        marginals.conclude()
        self._take(marginals)
        with isolated(seed, self):
            if x.numel() > CORRELATED:
                x = x[torch.randperm(len(x), generator=rng())[: max(1, CORRELATED // x.shape[1])].to(x.device)]
            found, ended = learn_correlations(self._columns, x, [*self.first, *self.order], budget)
        self.correlation.copy_(found)
        self.learned.fill_(True)
        return ended

    def _take(self, marginals: Independent) -> None:
        """Keep the distributions of all columns."""
        cells, rest = marginals.product.cells, marginals.product.cells.rest.tolist()
        of_columns = marginals.product.log_table[0].split(cells.sizes.tolist())
        tables = dict(zip(cells.tabled.tolist(), of_columns, strict=True))
        mixtures = Mixtures(marginals.log_weights, marginals.mean, marginals.std)
        for i, column in enumerate(self._columns):
            mixture = Mixtures(*(part[rest.index(i)] for part in mixtures)) if i in rest else None
            column.take(tables.get(i, mixtures.mean.new_zeros(0)), mixture)

    # -- density ------------------------------------------------------------------------------------------------------

    def _joined(self, x: Tensor | None, c: Tensor | None) -> Tensor:
        """Return the context's columns and those of x side by side, (B, D)."""
        parts = [t.flatten(1) for t in (c, x) if t is not None]
        parts = [t if t.is_floating_point() else t.to(self.joint.dtype) for t in parts]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def _factor(self, order: Sequence[int]) -> Tensor:
        """Return the Cholesky factor of the correlations of columns in this order."""
        return torch.linalg.cholesky(self.correlation[order][:, order])

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        flat = x.flatten(1)
        return self._log_first(self.order, flat, c) + self.blanks.log_prob(flat, range(self.space.dim))

    def _log_first(self, own: Sequence[int], x: Tensor, c: Tensor | None) -> Tensor:
        """Return the log-density (B,) of columns `own`, in this order, given the context; x is (B, D)."""
        if not bool(self.learned):
            raise NotFittedError("This model has not seen any data; call genus.fit(model, data) first.")
        order = [*self.first, *own]
        joined = self._joined(x, c)
        out = [joined.new_zeros(0, dtype=torch.float64)]
        for part, scored in self._scored(joined, order):
            steps, factor, shares, _ = arrange(
                scored, self._put_last(part, order), self.correlation[order][:, order], self.points[:, order]
            )
            chains = Chains(factor, shares, len(part))
            before, slopes = chains.log_weights, []
            for step, one in enumerate(steps):
                chains.advance(one, needed=step + 1 < len(order))
                if step + 1 == len(self.first):
                    before = chains.log_weights
                elif step >= len(self.first):
                    slopes.append(one.log_slope)
            ratio = chains.log_weights.logsumexp(1) - before.logsumexp(1)
            out.append(ratio + (torch.stack(slopes).sum(0) if slopes else 0.0))
        return torch.cat(out)

    def _scored(self, joined: Tensor, order: Sequence[int]) -> Iterator[tuple[Tensor, list[Scored]]]:
        """Yield parts of rows (B, D) that the cache holds, and their scores of each column of the order."""
        for many in joined.split(SCORED):
            scores = [self._columns[i](many[:, i]) for i in order]
            size = self._rows_at_once(len(order))
            for at in range(0, len(many), size):
                yield many[at : at + size], [Scored(*(t[at : at + size] for t in one)) for one in scores]

    def _rows_at_once(self, steps: int) -> int:
        """Return how many rows go through so many columns together."""
        each = max(len(self.points), steps if self.space.has_unknown and steps <= REORDERED else 0)
        return max(LEAST_ROWS, AT_ONCE // (each * max(steps, 1)))

    def _put_last(self, joined: Tensor, order: Sequence[int]) -> Tensor | None:
        """Return which entries (B, S) of these columns of rows stand for unknown values; None where no row puts them last."""
        if not self.space.has_unknown or len(order) > REORDERED:
            return None
        blank = torch.zeros_like(joined, dtype=torch.bool)
        blank[:, self.before :] = self.space.unknown_blanks(joined[:, self.before :])
        return blank[:, order]

    # -- any columns given the others ---------------------------------------------------------------------------------

    def _known_first(self, unknown: Sequence[int]) -> list[int]:
        """Return the columns of x in the model's order, but of reals without atoms the known ones before the others."""
        own = [i - self.before for i in self.order]
        plain = [i for i in own if i in self.plain and i not in unknown]
        return plain + [i for i in own if i not in plain]

    def _combinations(
        self, x: Tensor, columns: list[int], c: Tensor | None, most: int = MAX_COMBINATIONS
    ) -> Combinations | None:
        """Return the values of the unknown columns before known ones; None where their sum is out of reach."""
        order = self._known_first(columns)
        last = max((p + 1 for p, i in enumerate(order) if i not in columns), default=0)
        counts = [
            len(v) if (v := all_values(self.space.kinds[i])) is not None else ENUMERATED for i in order[:last] if i in columns
        ]
        if math.prod(counts) * len(self.points) * last > ENUMERATED:
            return None

        def log_prefix(x: Tensor, m: int, c: Tensor | None) -> Tensor:
            return self._log_first([i + self.before for i in order[:m]], x.flatten(1), c)

        found = enumerate_unknown(self.space, order, 0, columns, log_prefix, x, c, most)
        return None if found is None else found.without_blanks(self.space)

    def _log_marginal(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        whole = set_columns(placeholder_row(self.space, x).repeat(len(x), 1), columns, x)
        unknown = [i for i in range(self.space.dim) if i not in columns]
        combinations = self._combinations(whole.view(-1, *self.space.shape), unknown, c)
        if combinations is not None:
            value = combinations.log_densities.logsumexp(1)
        else:
            value = self._log_first([i for i in self.order if i - self.before in columns], whole, c)
        return value + self.blanks.log_prob(x, columns)

    def _conditional(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        return self._draw_given(x, columns, c, True)

    def _draw_given(self, x: Tensor, columns: list[int], c: Tensor | None, blanks: bool) -> Tensor:
        drawn = self._draw_values(x, columns, c)
        if not blanks or not self.blanks.columns:
            return drawn
        return set_blanks(self.space, drawn, columns, self.blanks.draw(x.flatten(1), columns))

    def _draw_values(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        """Return x with these columns drawn given the others, none of them blank where that stands for an unknown value."""
        combinations, order = self._combinations(x, columns, c), self._known_first(columns)
        if combinations is None:
            known = [i for i in order if i not in columns]
        else:
            x, known = combinations.draw(x), order[: combinations.prefix]
        return self._draw([i + self.before for i in known], x.flatten(1), c).view_as(x)

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        row = placeholder_row(self.space, torch.zeros(0, dtype=self.space.dtype, device=self.device))
        drawn, columns = self._draw([], row.repeat(n, 1), c).to(self.space.dtype), range(self.space.dim)
        if self.blanks.columns:
            drawn = set_blanks(self.space, drawn, columns, self.blanks.draw(drawn, columns))
        return drawn.view(-1, *self.space.shape)

    def _draw(self, known: list[int], x: Tensor, c: Tensor | None) -> Tensor:
        """Return x (B, D) with all columns drawn given the known ones of x and the context."""
        if not bool(self.learned):
            raise NotFittedError("This model has not seen any data; call genus.fit(model, data) first.")
        given = [*self.first, *known]
        order = given + [i for i in self.order if i not in known]
        factor = self._factor(order)
        rows = max(1, AT_ONCE // (len(self.points) * (len(given) + 1)))
        out = [self._draw_part(part, order, len(given), factor) for part in self._joined(x, c).split(rows)]
        return torch.cat(out)[:, self.before :] if out else x

    def _fill(self, x: Tensor, missing: Tensor, c: Tensor | None) -> Filled:
        return self._filler(x, missing, c)()

    def _filler(self, x: Tensor, missing: Tensor, c: Tensor | None) -> Callable[[], Filled]:
        order = [*self.first, *self.order]
        if not self.space.has_unknown or len(order) > REORDERED:
            return partial(super()._fill, x, missing, c)
        joined, line = self._joined(x, c), missing | self.space.unknown_blanks(x)
        unknown = torch.cat([line.new_zeros(len(x), self.before), line], dim=1)
        at_once = self._rows_at_once(len(order))
        parts = zip(joined.split(at_once), unknown.split(at_once), strict=True)
        draws = [self._scores_given(*part, order) for part in parts]
        full = torch.full((len(x),), math.inf, dtype=torch.float64, device=x.device)

        def draw() -> Filled:
            z, out = torch.cat([one() for one in draws]), x.flatten(1).double().clone()
            for i in range(self.space.dim):
                rows = missing[:, i]
                if bool(rows.any()):
                    out[rows, i] = self._columns[i + self.before].invert(z[rows, i + self.before])
            return Filled(out.view_as(x), full, torch.ones_like(full, dtype=torch.bool))

        return draw

    def _scores_given(self, joined: Tensor, unknown: Tensor, order: list[int]) -> Callable[[], Tensor]:
        """Return what draws scores (B, D) of rows, those of unknown entries (B, D) given the others of their row."""
        scored = [_line_where(self._columns[i](joined[:, i]), unknown[:, i]) for i in order]
        blank, points = unknown[:, order], self.points[:, order]
        none = joined.new_zeros(joined.shape, dtype=torch.float64)
        steps, factor, shares, places = arrange(scored, blank, self.correlation[order][:, order], points)
        if places is None:
            return lambda: none
        chains = Chains(factor, shares, len(joined))
        for one in steps[: int((~blank).sum(1).max())]:
            chains.advance(one)
        of_columns = torch.tensor(order, device=places.device)[places]
        last, rows = blank.gather(1, places), torch.arange(len(joined), device=places.device)

        def draw() -> Tensor:
            share = shares[rows, (chains.log_weights + gumbel_like(chains.log_weights)).argmax(1)]
            free = torch.rand(share.shape, dtype=share.dtype, device=share.device, generator=rng(share.device))
            share = torch.where(last, free.clamp(1e-12, 1 - 1e-12), share)
            chain = Chains(factor, share.unsqueeze(1), len(joined))
            for one in steps:
                chain.advance(one)
            return none.scatter(1, of_columns, chain.variables()[:, 0])

        return draw

    def _draw_part(self, joined: Tensor, order: list[int], given: int, factor: Tensor) -> Tensor:
        chains, joined = Chains(factor, self.points[:, order], len(joined)), joined.double().clone()
        for i in order[:given]:
            chains.advance(self._columns[i](joined[:, i]))
        chains = chains.select((chains.log_weights + gumbel_like(chains.log_weights)).argmax(1))
        for i in order[given:]:
            z = chains.draw(normal_like(joined[:, 0]))
            joined[:, i] = self._columns[i].invert(z)
            scored = self._columns[i](joined[:, i])
            # A number goes on from its own score, before it was rounded to a float.
            chains.advance(
                scored._replace(**{name: torch.where(scored.point, z, getattr(scored, name)) for name in ("lower", "upper")})
            )
        return joined


def _line_where(scored: Scored, unknown: Tensor) -> Scored:
    """Return scores (B,) that are the whole line where the values are unknown."""
    lower, upper = scored.lower.masked_fill(unknown, -math.inf), scored.upper.masked_fill(unknown, math.inf)
    return Scored(lower, upper, scored.point & ~unknown, scored.log_slope.masked_fill(unknown, 0.0))


def _check_loaded(model: Any, keys: Any) -> None:
    """Raise DataError where numbers that were read are no such model."""
    for column in model.columns:
        column.check()
    model.blanks.check()
    r, points = model.correlation, model.points
    fine = bool(r.isfinite().all()) and torch.allclose(r, r.T) and torch.allclose(r.diagonal(), torch.ones_like(r[0]))
    if not fine or bool(torch.linalg.cholesky_ex(r).info):
        raise DataError("The correlations of a copula must be a symmetric, positive definite matrix with ones on its diagonal.")
    if not bool(((points > 0) & (points < 1)).all()):
        raise DataError("The points of a copula must lie between 0 and 1.")
