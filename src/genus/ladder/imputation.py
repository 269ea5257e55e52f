"""Unknown entries of rows: drawn given the others (`impute`), or left out of a density (`log_marginal`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from genus.errors import DataError, GenusError
from genus.ladder.unknown import (
    WHO_CAN,
    Combinations,
    enumerate_unknown,
    fill_unknown,
    list_columns,
    placeholder_row,
    rows_by_pattern,
    set_columns,
)
from genus.nets.state import evaluating
from genus.random import isolated
from genus.space import Space

__all__ = ["Imputation", "Marginals"]


class Imputation:
    """Gives every model `impute`. A family that can draw some columns given others defines `_conditional`."""

    @torch.no_grad()
    def impute(self: Any, x: Tensor, missing: Tensor | None = None, c: Tensor | None = None, seed: int | None = None) -> Tensor:
        """Return x with its unknown entries drawn given the others, by the model's distribution.

        Draws are exact where the density is; a model with a code comes near: see `LatentVariable.impute`. The family decides
        which entries can be drawn given others: `mixture` and `naive-bayes` answer for any entries, the chain rule for those
        that come last in its order and, as every exact density does, for entries of few possible values.

        Args:
            x: rows (B, *shape) in data units.
            missing: bool, shaped as x, true for the entries to draw. None: the entries where x is NaN and its column has no
                missing value; in a column with a missing value NaN is a value like others.
            c: the context, (B, *context.shape) or one row for all; None for a model without context.
            seed: repeats the draw bit for bit; None: torch's global random numbers.

        Returns:
            Rows (B, *shape) in x's type or the space's, whichever holds more digits; known entries are bit for bit those of x.

        Raises:
            GenusError: the family cannot draw these entries given the others; the message names some that can.
        """
        return self._impute_with(self._impute, x, missing, c, seed)

    def _impute_with(
        self: Any, draw: Callable[..., Tensor], x: Tensor, missing: Tensor | None, c: Tensor | None, seed: int | None
    ) -> Tensor:
        """Impute by draw(x, missing, c): x is checked, with a possible value in the entries that `missing` (B, D) marks."""
        if self.space.sequence:
            raise GenusError("Sequences have no entries to fill in; sample(prefix=...) goes on from what one begins with.")
        whole, unknown = fill_unknown(self.space, x, missing)
        whole, c = self._check(whole, c)
        with evaluating(self), isolated(seed, self):
            drawn = draw(whole.to(self.space.dtype), unknown.to(whole.device), c)
        # Known entries come back as they were given: x may have more digits than the space's type holds.
        dtype = torch.promote_types(whole.dtype, drawn.dtype)
        return torch.where(unknown.to(whole.device).view_as(whole), drawn.to(dtype), whole.to(dtype))

    def _impute(self: Any, x: Tensor, missing: Tensor, c: Tensor | None) -> Tensor:
        """Draw the entries of missing (B, D); rows that lack the same columns are drawn together."""
        out = x.clone()
        for rows, columns in rows_by_pattern(missing):
            if columns:
                context, whole = None if c is None else c[rows], len(columns) == self.space.dim
                drawn = self._sample(len(rows), context) if whole else self._conditional(x[rows], columns, context)
                out[rows] = torch.where(missing[rows].view_as(drawn), drawn.to(x.dtype), x[rows])
        return out

    def _conditional(self: Any, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        """Return x (B, *shape) with these columns, which are not all, drawn given the others."""
        raise GenusError(
            f"{self.name} cannot draw {list_columns(self.space, columns)} given the others; {WHO_CAN}; vae and iwae nearly can,"
            " for any."
        )


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

    def _draw_suffix(self: Any, x: Tensor, m: int, c: Tensor | None) -> Tensor:
        """Return x with all columns but the first m in `_column_order` drawn given these."""
        return x

    def _combinations(self: Any, x: Tensor, columns: list[int], c: Tensor | None) -> Combinations | None:
        order, least = self._column_order()
        return enumerate_unknown(self.space, order, least, columns, self._log_prefix, x, c)

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

    def _conditional(self: Any, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        combinations = self._combinations(x, columns, c)
        if combinations is None:
            return super()._conditional(x, columns, c)
        return self._draw_suffix(combinations.draw(x), combinations.prefix, c)
