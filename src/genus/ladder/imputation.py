"""Unknown entries of rows: draw them given the others (`impute`), or leave them out of a density (`log_marginal`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from genus.errors import DataError, GenusError
from genus.ladder.rejection import draw_until
from genus.ladder.unknown import (
    MAX_COMBINATIONS,
    WHO_CAN,
    Combinations,
    Filled,
    enumerate_unknown,
    fill_unknown,
    list_columns,
    placeholder_row,
    rows_by_pattern,
    set_columns,
    unknown_entries,
)
from genus.nets.state import evaluating
from genus.random import isolated
from genus.space import Space

__all__ = ["Imputation", "Marginals"]

DRAWN_COMBINATIONS = 256  # the most combinations of unknown values to draw from exactly; beyond, resampling is cheaper
TRIES = 64  # draws of a row with a blank, before blanks are excluded by weights instead


class Imputation:
    """Gives every model `impute`. A family that can draw some columns given others defines `_conditional`.

    Attributes:
        draws_given_others: whether a model can draw some columns given others; a model without a density cannot.
        draws_apart: whether columns are independent; `_draw_given` then draws all columns too, without blanks where asked.
        draws_given_exactly: whether `_conditional` draws exactly, rather than by a Markov chain that converges to it.
    """

    draws_given_others: ClassVar[bool] = False
    draws_given_exactly: ClassVar[bool] = True
    draws_apart: ClassVar[bool] = False

    def impute(self: Any, x: Tensor, c: Tensor | None = None, missing: Tensor | None = None, seed: int | None = None) -> Tensor:
        """Return x with its unknown entries drawn given the others, by the model's distribution.

        `fill` also says which draws are exact. All explicit densities answer, for any entries: mixtures, independent columns
        and the chain rule, where the entries come last in its order or have few values, exactly; others by importance
        resampling; a model with a code by a chain of codes. A model without density cannot draw entries given others.

        Args:
            x: rows (B, *shape) in data units.
            c: the context, (B, *context.shape) or one row for all; None for a model without context.
            missing: bool, shaped as x, true for the entries to draw. None: every blank that has no value, see `Kind.unknown`:
                NaN where no value was missing in training, and blanks that stand for unknown values.
            seed: repeats the draw bit for bit; None: torch's global random numbers.

        Returns:
            Rows (B, *shape) in x's type or the space's, whichever holds more digits; known entries are bit for bit those of x.
            A blank that stands for an unknown value is never drawn.

        Raises:
            GenusError: the model cannot draw these entries given the others; the message names families that can.
        """
        return self.fill(x, c, missing, seed).x

    @torch.no_grad()
    def fill(self: Any, x: Tensor, c: Tensor | None = None, missing: Tensor | None = None, seed: int | None = None) -> Filled:
        """Return x with its unknown entries drawn as by `impute`, and how good each row's draw is.

        Args:
            x, c, missing, seed: as for `impute`.

        Returns:
            Filled(x, size, done): the rows; the effective number (B,) of candidates that each draw was chosen from, infinite
            where it is exact; and whether every entry of the row was drawn (B,), which hardly ever fails.

        Raises:
            GenusError: see `impute`.
        """
        return next(self.fills(x, c, missing, [seed]))

    @torch.no_grad()
    def fills(self: Any, x: Tensor, c: Tensor | None, missing: Tensor | None, seeds: Sequence[int | None]) -> Iterator[Filled]:
        """Yield what `fill` returns for each of these seeds; a family may compute what depends on the known entries once.

        Args:
            x, c, missing: as for `impute`.
            seeds: of each draw; None: torch's global random numbers.

        Raises:
            GenusError: see `impute`.
        """
        if isinstance(c, Tensor) and c.dtype == torch.bool and missing is None and self.context is None:
            raise GenusError("The second argument is the context c; pass which entries are to be drawn by name, missing=...")
        if self.space.sequence:
            raise GenusError("Sequences have no entries to fill in; sample(prefix=...) goes on from what one begins with.")
        if missing is None and isinstance(x, Tensor) and tuple(x.shape[1:]) == self.space.shape:
            missing = unknown_entries(self.space, x).view_as(x)
        whole, unknown = fill_unknown(self.space, x, missing)
        whole, c = self._check(whole, c)
        unknown = unknown.to(whole.device)
        draw = None
        for seed in seeds:
            with evaluating(self), isolated(seed, self):
                draw = draw or self._filler(whole.to(self.space.dtype), unknown, c)
                drawn = draw()
            # Known entries come back as they were given: x may have more digits than the space's type holds.
            dtype = torch.promote_types(whole.dtype, drawn.x.dtype)
            found = self.space.rounded(drawn.x, dtype)
            yield drawn._replace(x=torch.where(unknown.view_as(whole), found, whole.to(dtype)))

    @torch.no_grad()
    def fill_known(self: Any, known: Any, c: Tensor | None = None, seed: int | None = None) -> Filled:
        """Draw rows given values of columns as the codec's table has them, of which relations may have replaced some.

        Args:
            known: N rows in Arrow of the columns that are known, as `Codec.as_read` gives them.
            c: their contexts (N, *context.shape), or None.
            seed: repeats the draw.

        Returns:
            As `fill` does; a row that no draw agrees with is not done.

        Raises:
            GenusError: the model has no density; or several relations hang on the same unknown columns.
        """
        c = self._check_context(c, known.num_rows)
        with evaluating(self), isolated(seed, self):
            return self._given_known(known, c)

    def _filler(self: Any, x: Tensor, missing: Tensor, c: Tensor | None) -> Callable[[], Filled]:
        """Return a function that draws the entries of missing (B, D) anew at each call.

        A family may override it to compute here, without random numbers, what is the same for every draw.
        """
        return partial(self._fill, x, missing, c)

    def _fill(self: Any, x: Tensor, missing: Tensor, c: Tensor | None) -> Filled:
        """Draw the entries of missing (B, D); rows that lack the same columns are drawn together."""
        out, size = x.clone(), x.new_full((len(x),), torch.inf)
        for rows, columns in rows_by_pattern(missing):
            if columns:
                found = self._given(x[rows], columns, None if c is None else c[rows], False)
                out[rows] = torch.where(missing[rows].view_as(found.x), found.x.to(x.dtype), x[rows])
                size[rows] = found.size.to(size)
        return Filled(out, size, ~(self.space.unknown_blanks(out) & missing).any(1))

    def _given(self: Any, x: Tensor, columns: list[int], c: Tensor | None, blanks: bool) -> Filled:
        """Draw these columns of rows x (B, *shape) given the others.

        Args:
            columns: any, all of them too.
            blanks: whether a blank that stands for an unknown value may be drawn.
        """
        found = self._rejected(x, columns, c, blanks)
        if found is None:
            return self._resampled(x, columns, c, blanks)
        left = (~found.done).nonzero()[:, 0]
        if len(left) and self.draws_given_others:  # where nearly all draws are blanks, weighted candidates exclude these
            again = self._resampled(x[left], columns, None if c is None else c[left], blanks)
            for part, values in zip(found, again, strict=True):
                part[left] = values.to(part)
        return found

    def _rejected(self: Any, x: Tensor, columns: list[int], c: Tensor | None, blanks: bool) -> Filled | None:
        """Draw columns as `_given` does, by drawing rows with a blank for an unknown value again; None where it cannot."""
        whole = len(columns) == self.space.dim and not self.draws_apart

        def draw(index: Tensor) -> Any:
            index = index.to(x.device)
            context = None if c is None else c[index]
            if whole:
                return self._sample(len(index), context)
            drawn = self._draw_given(x[index], columns, context, blanks)  # of which the other columns may differ from x
            return drawn if drawn is None else set_columns(x[index], columns, drawn.flatten(1)[:, columns])

        found = draw(torch.arange(len(x)))
        if found is None:
            return None
        done = torch.ones(len(x), dtype=torch.bool, device=x.device)
        if not blanks and self.space.has_unknown:
            found, left, _ = draw_until(lambda rows: ~self._blank(rows, columns).any(1), draw, len(x), TRIES * len(x), found)
            done[left.to(x.device)] = False
        return Filled(found, found.new_full((len(x),), torch.inf), done)

    def _draw_given(self: Any, x: Tensor, columns: list[int], c: Tensor | None, blanks: bool) -> Tensor | None:
        """Return x with some columns, not all, drawn given the others; None where the family cannot.

        `blanks` as of `_given`; where it is False, blanks may be drawn nevertheless, and such rows are drawn again.
        """
        return self._conditional(x, columns, c)

    def _blank(self: Any, x: Tensor, columns: Sequence[int]) -> Tensor:
        """Return which of these entries of x (B, *shape) are blanks that stand for unknown values, bool (B, columns)."""
        return self.space.unknown_blanks(x)[:, list(columns)]

    def _without_blanks(self: Any, x: Tensor, c: Tensor | None) -> Tensor:
        """Return draws x (B, *shape) with the blanks that stand for unknown values drawn given the other entries.

        A model that cannot draw entries given others leaves them; such draws are rejected.
        """
        if not self.space.has_unknown or not self.draws_given_others:
            return x
        missing = self.space.unknown_blanks(x)
        return self._fill(x, missing, c).x if bool(missing.any()) else x

    def _conditional(self: Any, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor | None:
        """Return x (B, *shape) with some columns, not all, drawn given the others; None where the family cannot."""
        return None

    def _resampled(self: Any, x: Tensor, columns: list[int], c: Tensor | None, blanks: bool) -> Filled:
        """Draw columns as `_given` does, where `_conditional` cannot."""
        raise GenusError(
            f"{self.name} has no density, so it cannot draw {list_columns(self.space, columns)} given the others; every family"
            " with one can, such as mixture, made or vae."
        )

    def _given_known(self: Any, known: Any, c: Tensor | None) -> Filled:
        """Draw rows given a person's columns in Arrow, of which relations replaced some; see `fill_related`."""
        return self._resampled(self._empty_draw(), list(range(self.space.dim)), c, False)


class Marginals(Imputation):
    """Gives every exact density `log_marginal`, and draws of columns given others.

    By default unknown columns are summed over, where they have few values. A family that knows the density of the first
    columns in some order says so by three methods, `_column_order`, `_log_prefix` and `_draw_suffix`: unknown columns at the
    end of the order then cost nothing. One that can leave out any columns defines `_log_marginal` and `_conditional` instead.
    """

    def log_marginal(self: Any, x: Tensor, columns: Sequence[int] | None = None, c: Tensor | None = None) -> Tensor:
        """Return the log-density of some columns alone, all others left out, exact.

        The density of some columns given others is a difference: log p(a | b) = log p(a, b) - log p(b).

        Args:
            x: the values of those columns, (B, len(columns)). Without `columns`, (B, *shape), and of each row those entries
                are left out that are NaN where their column has no missing value.
            columns: indices of different columns; None: see x.
            c: the context, as for `log_prob`.

        Returns:
            (B,) in nats.

        Raises:
            GenusError: this family cannot leave these columns out; the message names some that can.
        """
        if columns is None:
            return self._log_present(x, c)
        chosen = [int(i) for i in columns]
        if self.space.sequence or sorted({*chosen}) != sorted(chosen) or not {*chosen} <= {*range(self.space.dim)}:
            raise DataError(
                f"columns must name different coordinates of a table, from 0 to {self.space.dim - 1}; got {chosen}."
            )
        if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] != len(chosen):
            raise DataError(
                f"x must have the values of {len(chosen)} columns, (B, {len(chosen)}); got {tuple(getattr(x, 'shape', ()))}."
            )
        c = self._check_context(c, len(x))
        if not chosen:
            return torch.zeros(len(x), dtype=self.dtype, device=self.device)
        x = x.to(self.device, x.dtype if x.is_floating_point() else self.space.dtype)
        Space([self.space.kinds[i] for i in chosen]).check(x)
        return self._log_marginal(x, chosen, c)

    def _log_present(self: Any, x: Tensor, c: Tensor | None) -> Tensor:
        """Return the log-density (B,) of the entries that each row has; rows that lack the same columns go together."""
        if self.space.sequence:
            return self.log_prob(x, c)
        whole, missing = fill_unknown(self.space, x, None)
        whole, c = self._check(whole, c)
        parts = [whole.new_zeros(0, dtype=self.dtype)]
        order = [torch.zeros(0, dtype=torch.long, device=whole.device)]
        for rows, columns in rows_by_pattern(missing.to(whole.device)):
            part, context = whole[rows], None if c is None else c[rows]
            present = [i for i in range(self.space.dim) if i not in columns]
            if not columns:
                parts.append(self._log_prob(part, context))
            elif present:
                parts.append(self._log_marginal(part.flatten(1)[:, present], present, context))
            else:
                parts.append(part.new_zeros(len(part)))  # the density of no column is 1
            order.append(rows)
        return torch.cat(parts)[torch.cat(order).argsort()]

    def _column_order(self: Any) -> tuple[Sequence[int], int]:
        """Return an order of the columns, and the shortest prefix of it whose density `_log_prefix` gives."""
        return range(self.space.dim), self.space.dim

    def _log_prefix(self: Any, x: Tensor, m: int, c: Tensor | None) -> Tensor:
        """Return the log-density (B,) of the first m columns in `_column_order`, whatever x holds in the others."""
        return self._log_prob(x, c)

    def _draw_suffix(self: Any, x: Tensor, m: int, c: Tensor | None, blanks: bool = True) -> Tensor:
        """Return x with all columns but the first m in `_column_order` drawn given these; `blanks` as of `_draw_given`."""
        return x

    def _combinations(
        self: Any, x: Tensor, columns: list[int], c: Tensor | None, most: int = MAX_COMBINATIONS
    ) -> Combinations | None:
        order, least = self._column_order()
        return enumerate_unknown(self.space, order, least, columns, self._log_prefix, x, c, most)

    def _log_marginal(self: Any, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        """Return the log-density (B,) of x (B, len(columns)), the values of these columns.

        The prefix does not see the unknown columns after it; those within it are summed over.
        """
        unknown = [i for i in range(self.space.dim) if i not in columns]
        whole = placeholder_row(self.space, x).repeat(len(x), 1).view(-1, *self.space.shape)
        combinations = self._combinations(set_columns(whole, columns, x), unknown, c)
        if combinations is None:
            raise GenusError(f"{self.name} cannot leave out {list_columns(self.space, unknown)}; {WHO_CAN}.")
        return combinations.log_densities.logsumexp(1)

    def _draw_given(self: Any, x: Tensor, columns: list[int], c: Tensor | None, blanks: bool) -> Tensor | None:
        found = self._conditional(x, columns, c)
        if found is not None:
            return found
        combinations = self._combinations(x, columns, c, DRAWN_COMBINATIONS)
        if combinations is None:
            return None
        if not blanks:
            combinations = combinations.without_blanks(self.space)
        return self._draw_suffix(combinations.draw(x), combinations.prefix, c, blanks)
