"""Trees of categorical variables over the states of columns: what `chow-liu` and `hclt` share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genus.errors import GenusError
from genus.ladder import Learned, TractableDensity
from genus.models.dependence import StateTree
from genus.models.states import ColumnStates
from genus.space import Space

__all__ = ["TreeCircuit"]

MOST = 4096  # columns, of which every two are compared
ROWS = 4096  # that messages are computed for together


class TreeCircuit(Learned, TractableDensity):
    """Gives a tree over the states of columns its densities, and draws of any columns given any others, all exact.

    The columns of a context are in the tree like others: p(x | c) = p(x, c) / p(c). A family gives

    - `learn`, which sets `columns`, `context_columns` and `tree`;
    - `_evidence(i, state)`: the likelihood (B, S) of column i being in states (B,), under each state of its variable;
    - `_draw_states(z, i)`: the states (n,) of column i, drawn given those of its variable (n,).

    Args:
        space: of x.
        context: of what x is conditioned on.
        states: the most states of a column.
        width: S, the states of a variable of the tree; None: as many as columns have.
    """

    info = TractableDensity.info.replace(group="circuits", takes="any table or image")

    def __init__(self, space: Space, context: Space | None, states: int, width: int | None = None) -> None:
        if states < 2:
            raise GenusError(f"states is how many states of a column are told apart, 2 or more; got {states}.")
        super().__init__(space, context)
        self.columns = ColumnStates(space, states)
        self.context_columns = None if context is None else ColumnStates(context, states)
        self.before = 0 if context is None else context.dim  # the columns of the context come first
        self.states = max(part.width for part in self._parts)
        self.tree = StateTree(self.before + space.dim, width or self.states)
        self.register_load_state_dict_post_hook(_check_loaded)

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        count = space.dim + (0 if context is None else context.dim)
        return (
            f"it compares every two columns, and {count:,} are more than the {MOST:,} it can compare" if count > MOST else None
        )

    @property
    def _parts(self) -> list[ColumnStates]:
        return [self.columns] if self.context_columns is None else [self.context_columns, self.columns]

    @abstractmethod
    def _evidence(self, i: int, state: Tensor) -> Tensor:
        """Return the likelihood (B, S) of column i being in states (B,), under each state of its variable."""

    @abstractmethod
    def _draw_states(self, z: Tensor, i: int) -> Tensor:
        """Draw the states (n,) of column i given those of its variable (n,)."""

    # -- learning -----------------------------------------------------------------------------------------------------

    def _measure(self, x: Tensor, c: Tensor | None) -> None:
        """Set the states of columns by training rows, and count the levels of the context."""
        for part, rows in ((self.columns, x), (self.context_columns, c)):
            if part is not None and rows is not None:
                part.measure(rows)
        if self.context_counts is not None and c is not None:
            counts = torch.bincount(c.flatten().long(), minlength=len(self.context_counts))
            self.context_counts.copy_(counts.clamp(min=1))

    def _states(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Return the states (B, context columns + columns) of rows, as small integers."""
        found = torch.empty(len(x), self.before + self.space.dim, dtype=torch.int32, device=self.device)
        for at in range(0, len(x), ROWS):
            rows = slice(at, at + ROWS)
            located = self._located(x[rows].flatten(1), range(self.space.dim), None if c is None else c[rows])
            found[rows] = torch.cat([part for part, _ in located], dim=1).to(self.device)
        return found

    def _sizes(self) -> list[int]:
        return [size for part in self._parts for size in part.sizes]

    def _shares(self) -> Tensor:
        """Return the share of every state of each column, (context columns + columns, states), 0 beyond its states."""
        return self._of_columns([part.shares() for part in self._parts])

    def _missing(self) -> Tensor:
        """Return which state of each column is a missing value alone, (context columns + columns, states)."""
        return self._of_columns([part.missing() for part in self._parts])

    def _of_columns(self, parts: Sequence[Tensor]) -> Tensor:
        """Return what the context's columns and the others have, each (columns, states), with 0 beyond their states."""
        return torch.cat([nn.functional.pad(part, (0, self.states - part.shape[1])) for part in parts]).to(self.device)

    # -- answering ----------------------------------------------------------------------------------------------------

    def _located(self, x: Tensor, columns: Sequence[int], c: Tensor | None) -> list[tuple[Tensor, Tensor]]:
        """Return states and log-densities within them, of the context where there is one, and of columns x (B, columns)."""
        found = [self.columns.locate(x, columns)]
        if self.context_columns is not None and c is not None:
            found.insert(0, self.context_columns.locate(c.flatten(1), range(self.before)))
        return found

    def _likelihoods(
        self, x: Tensor, columns: Sequence[int], c: Tensor | None
    ) -> tuple[list[Tensor | None], Tensor, list[Tensor | None]]:
        """Return evidence about all variables, the log-density (B,) of the columns within their states, and of the context."""
        *context, (state, within) = self._located(x, columns, c)
        evidence: list[Tensor | None] = [None] * (self.before + self.space.dim)
        for i in range(self.before if context else 0):
            evidence[i] = self._evidence(i, context[0][0][:, i].to(self.device))
        of_context = list(evidence)
        for j, i in enumerate(columns):
            evidence[self.before + i] = self._evidence(self.before + i, state[:, j].to(self.device))
        return evidence, within.to(self.device), of_context

    def _log_known(self, x: Tensor, columns: Sequence[int], c: Tensor | None) -> Tensor:
        """Return log p(columns | c) of values x (B, columns), (B,) in nats."""
        parts = [torch.zeros(0, dtype=torch.float64, device=self.device)]
        for at in range(0, len(x), ROWS):
            rows = None if c is None else c[at : at + ROWS]
            evidence, within, of_context = self._likelihoods(x[at : at + ROWS], columns, rows)
            both, alone = self.tree.collect(evidence)[1], self.tree.collect(of_context)[1]
            within = within if both is None else within + both
            parts.append(within if alone is None else within - alone)
        return torch.cat(parts)

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self._log_known(x.flatten(1), range(self.space.dim), c)

    def _log_marginal(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        return self._log_known(x, columns, c)

    def _conditional(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        known = [i for i in range(self.space.dim) if i not in columns]
        flat, parts = x.flatten(1), []
        for at in range(0, len(x), ROWS):
            parts.append(self._draw(flat[at : at + ROWS], known, None if c is None else c[at : at + ROWS]))
        return torch.cat(parts).to(x).view_as(x)

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        drawn = self._draw(torch.zeros(n, self.space.dim), [], c)
        return drawn.to(self.device).reshape(-1, *self.space.shape)

    def _draw(self, x: Tensor, known: list[int], c: Tensor | None) -> Tensor:
        """Return rows (n, D) with the values x in the known columns, and the others drawn given these and the context."""
        unknown = [i for i in range(self.space.dim) if i not in known]
        evidence, *_ = self._likelihoods(x[:, known], known, c)
        z = self.tree.draw(self.tree.collect(evidence)[0], len(x))
        state = torch.zeros(len(x), len(unknown), dtype=torch.long)
        for j, i in enumerate(unknown):
            state[:, j] = self._draw_states(z[:, self.before + i], self.before + i).cpu()
        out = x.double().cpu().clone()
        out[:, unknown] = self.columns.draw(state, unknown)
        return out


def _check_loaded(model: Any, keys: Any) -> None:
    """Raise DataError where numbers that were read are no such model."""
    for part in model._parts:
        part.check()
    model.tree.check()
    model._check_tables()
