"""Densities over standard real vectors, made densities over tables, images and sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from genus.ladder import TractableDensity, check_shape
from genus.models.made import MADE
from genus.space import Category, Lattice, Real, Space, Time

__all__ = ["ContinuousDensity", "numbers_can_be_absent"]


class ContinuousDensity(TractableDensity):
    """Turn a density over standard real vectors into one over tables: p(x | c) = p(states | c) p(u | states, c) |du/dx|.

    u (B, D) are the numbers of the D real columns, standardised. Everything else comes from this class: units and their
    Jacobian; categories, atoms, missing values and times, whose density is a MADE, exact; lattices, by `Dequantised`, which
    `genus.build` puts around the family. A family gives two methods, and calls `super().__init__(space, context)` first:

    - `_log_density(u, features)` returns the log-density (B,) of u (B, D), in nats;
    - `_draw(n, features)` returns n draws (n, D).

    `features` (B, feature_dim) are those of the context, a one-hot of the state of every column that has several, and what nets
    see of times; None where there are none of these. A number is absent where its column is at an atom or missing. Spaces with
    such columns are refused, unless the class sets `allow_missing = True`: then u is NaN there, and the density leaves these
    numbers out.

    Attributes:
        dim: D, the number of real columns.
        feature_dim: the width of `features`; 0 for none.
        numbers_can_be_absent: whether a real column has atoms or a missing value, at which it has no number u.

    >>> import genus
    >>> from torch import nn
    >>> class Gaussian(ContinuousDensity, name="doc-gaussian"):
    ...     def __init__(self, space, context=None):
    ...         super().__init__(space, context)
    ...         self.mean = nn.Parameter(torch.zeros(self.dim))
    ...     def _log_density(self, u, features):
    ...         return torch.distributions.Normal(self.mean, 1.0).log_prob(u).sum(1)
    ...     def _draw(self, n, features):
    ...         return self.mean + torch.randn(n, self.dim)
    >>> space = Space([Real(10.0, 2.0), Category(("a", "b"))])
    >>> Gaussian(space).log_prob(torch.tensor([[10.0, 1.0]])).shape
    torch.Size([1])
    """

    info = TractableDensity.info.replace(takes="tables with real columns; whole numbers and images as a bound")
    allow_missing: ClassVar[bool] = False

    def __init__(
        self, space: Space, context: Space | None = None, states_made_later: bool = False, context_net: Sequence[int] = ()
    ) -> None:
        super().__init__(space, context, context_net)
        times = _times(space)
        state_columns = [i for i, kind in enumerate(space.kinds) if kind.states > 1 or i in times]
        real_columns = space.columns(Real)
        self.dim, self.numbers_can_be_absent = len(real_columns), numbers_can_be_absent(space)
        self.state_space = _state_space(space, state_columns, times) if state_columns else None
        self.feature_dim = self.context_dim
        hot: dict[int, slice] = {}  # where among the features the one-hot of every column with states is
        if self.state_space is not None:
            self.feature_dim += self.state_space.feature_dim
            hot = dict(zip(self.state_space.columns_with_states(), self.state_space.one_hots(), strict=True))
        absent_features = [(real_columns.index(i), hot[j].start) for j, i in enumerate(state_columns) if i in real_columns]
        time_columns = [(j, i) for j, i in enumerate(state_columns) if i in times]
        places: dict[str, Sequence[Any]] = {"real_columns": real_columns, "state_columns": state_columns}
        places |= {"absent_features": absent_features, "time_columns": time_columns}
        for name, indices in places.items():
            self.register_buffer(name, torch.tensor(indices, dtype=torch.long), persistent=False)
        self.states: MADE | None = None
        # A family whose own nets draw their first weights before the states' net does passes states_made_later=True, and calls
        # `_model_states` at the end of its constructor.
        if not states_made_later:
            self._model_states()

    real_columns: Tensor  # (D,) the columns that have a number u
    state_columns: Tensor  # (S,) the columns whose state is modelled: those of several states, and times
    absent_features: Tensor  # rows (i, f): number i is absent where feature f, the one-hot of the state "a number", is 0
    time_columns: Tensor  # rows (s, i): state s is the time in column i

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        """Return the reason why numbers of this space have no density here; None where they have."""
        lattices = [i for i in space.columns(Lattice) if space.sequence or not isinstance(space.kinds[i], Time)]
        if lattices:
            more = f" ({len(lattices)} such columns)" if len(lattices) > 1 else ""
            return f"it is a density over real numbers, and {space.label(lattices[0])} is whole numbers{more}"
        if not space.columns(Real):
            return "it is a density over real numbers, and there is no column of them"
        if numbers_can_be_absent(space) and not cls.allow_missing:
            odd = next(i for i in space.columns(Real) if space.kinds[i].states > 1)
            return f"it needs every number, and {space.label(odd)} has atoms or missing values, which have none"
        return None

    def _model_states(self) -> None:
        """Make the distribution of the states, where a column has several, and of times."""
        if self.state_space is not None:
            dropout = self.config.get("dropout", 0.0)
            self.states = MADE(self.state_space, self.context, hidden=(256, 256), residual=True, dropout=dropout)

    def _log_density(self, u: Tensor, features: Tensor | None) -> Tensor:
        """Return the log-density (B,) of standardised numbers u (B, D), NaN where absent, given features (B, feature_dim)."""
        raise TypeError(f"{type(self).__name__} must define _log_density(u, features).")

    def _draw(self, n: int, features: Tensor | None) -> Tensor:
        """Draw n standardised vectors (n, D) given features (n, feature_dim); what it gives for absent numbers is not used."""
        raise TypeError(f"{type(self).__name__} must define _draw(n, features).")

    def _initialise_numbers(self, u: Tensor, features: Tensor | None) -> None:
        """Set what depends on the first rows of the training data; by default nothing."""

    # -- density ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _initialise(self, x: Tensor, c: Tensor | None = None) -> None:
        u, state, features, _ = self._parts(x, c)
        self._initialise_numbers(u, features)
        if self.states is not None:
            self.states.initialise(state, c)  # type: ignore[arg-type]

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        u, state, features, log_slope = self._parts(x, c)
        log_density = check_shape(self._log_density(u, features), (len(x),), f"{type(self).__name__}._log_density")
        return self._with_states(log_density + log_slope.sum(1), state, c)

    def _with_states(self, log_prob: Tensor, state: Tensor | None, c: Tensor | None) -> Tensor:
        """Add log p(states | c) to the log-density of the numbers given them, (B,)."""
        return log_prob if self.states is None else log_prob + self.states._log_prob(state, c)  # type: ignore[arg-type]

    def _parts(self, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
        """Return the parts of rows x that a density needs.

        Returns:
            u (B, D), NaN where a number is absent; states (B, S), None where no column has several; features; and log du/dx of
            every number, (B, D), 0 where it is absent.
        """
        state, u, log_slope = self.space.split(x)
        if len(self.real_columns) < self.space.dim:
            u, log_slope = u[:, self.real_columns], log_slope[:, self.real_columns]
        u, log_slope = u.to(self.dtype), log_slope.to(self.dtype)
        if self.states is None:
            return u, None, self._context_features(c), log_slope
        values, absent = state[:, self.state_columns].to(self.states.space.dtype), state[:, self.real_columns] > 0
        if self.numbers_can_be_absent:
            u, log_slope = u.masked_fill(absent, torch.nan), log_slope.masked_fill(absent, 0.0)
        if len(self.time_columns):
            place, column = self.time_columns.T
            values = values.index_copy(1, place, x.flatten(1)[:, column].to(values.dtype))
        return u, values, self._all_features(values, c), log_slope

    def _all_features(self, state: Tensor, c: Tensor | None) -> Tensor:
        """Return what nets see of states and times (B, S), and the context's features: (B, feature_dim)."""
        features = self.state_space.features(state).to(self.dtype)  # type: ignore[union-attr]
        context = self._context_features(c)
        return features if context is None else torch.cat([features, context], dim=1)

    def _log_slope(self, x: Tensor) -> Tensor:
        """Return log|du/dx| of rows x, (B,): of all numbers that are not absent."""
        parts = self.space.split(x)
        return torch.where(parts.state == 0, parts.log_slope, 0.0).sum(1)

    # -- sampling -----------------------------------------------------------------------------------------------------

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        state, features = self._draw_states(n, c)
        return self._join_parts(self._draw(n, features), state)

    def _draw_states(self, n: int, c: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Draw the states (n, S); return them, None where no column has several, and the features of these rows."""
        if self.states is None:
            return None, self._context_features(c)
        state = self.states._sample(n, c)
        return state, self._all_features(state, c)

    def _absent(self, features: Tensor) -> Tensor:
        """Return which of the numbers (B, D) are absent in rows with these features."""
        numbers, is_number = self.absent_features.T
        absent = torch.zeros(len(features), self.dim, dtype=torch.bool, device=features.device)
        return absent.index_copy(1, numbers, features[:, is_number] == 0)

    def _join_parts(self, u: Tensor, state: Tensor | None) -> Tensor:
        """Return the data x with these numbers (B, D) and states (B, S)."""
        if state is None and len(self.real_columns) == self.space.dim:
            return self.space.join(torch.zeros(u.shape, dtype=torch.long, device=u.device), u)  # of sequences of any length
        full = torch.zeros(len(u), self.space.dim, dtype=torch.long, device=u.device)
        full = full if state is None else full.index_copy(1, self.state_columns, self._indices(state))
        x = self.space.join(full, u.new_zeros(len(u), self.space.dim).index_copy(1, self.real_columns, u.nan_to_num(0.0)))
        if state is None or not len(self.time_columns):
            return x
        place, column = self.time_columns.T
        return x.index_copy(1, column, state[:, place].to(x.dtype))

    def _indices(self, state: Tensor) -> Tensor:
        """Return the states (B, S) as indices, with 0 in place of times, which are values."""
        return (state.index_fill(1, self.time_columns[:, 0], 0.0) if len(self.time_columns) else state).long()


def _times(space: Space) -> list[int]:
    """Return the columns of times that have several values: numbers may depend on them, by season for instance."""
    times = [] if space.sequence else space.columns(Time)
    return [i for i in times if space.kinds[i].states > 1 or getattr(space.kinds[i], "size", 1) > 1]


def _state_space(space: Space, state_columns: Sequence[int], times: Sequence[int]) -> Space:
    """Return the space of the columns' states, and of times as they are."""
    kinds = [space.kinds[i] if i in times else Category(tuple(range(space.kinds[i].states))) for i in state_columns]
    return Space(kinds, names=[space.names[i] for i in state_columns] if space.names is not None else None)


def numbers_can_be_absent(space: Space) -> bool:
    """Return whether a real column has atoms or a missing value, at which it has no number."""
    return any(isinstance(kind, Real) and kind.states > 1 for kind in space.kinds)
