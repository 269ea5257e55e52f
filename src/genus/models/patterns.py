"""Model which values of a row are not known, by a distribution beside that of the values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genus.errors import DataError
from genus.models.gaussians import Gaps
from genus.random import draw_indices, rng
from genus.space import Space

__all__ = ["BlankPatterns", "set_blanks"]

MOST = 1024  # patterns that are kept
SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.97, 0.99, 0.999)  # of the patterns that were seen, beside independent blanks


class BlankPatterns(nn.Module):
    """Hold p(which values are blank), where blanks stand for unknown values, see `Kind.unknown`.

    It is a sum of patterns that were seen twice or more, by how often, and of independent blanks at each column's rate. How
    much the patterns count is chosen by the likelihood of each row when it is left out. Any columns can be left out exactly.

    Args:
        space: of the rows.

    >>> from genus import Real
    >>> space = Space([Real(atoms=(torch.nan,), unknown=True), Real()])
    >>> blanks = BlankPatterns(space)
    >>> blanks.learn(torch.tensor([[torch.nan, 1.0], [0.5, 1.0]]))
    >>> blanks.log_prob(torch.tensor([[0.5, 1.0]]), [0, 1]).exp()
    tensor([0.5000], dtype=torch.float64)
    """

    patterns: Tensor  # (P, U) bool
    weights: Tensor  # (P + 1,), the last of independent blanks
    rates: Tensor  # (U,)

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space
        kinds = [] if space.sequence else space.kinds
        self.columns = [i for i, kind in enumerate(kinds) if kind.has_unknown]
        self.register_buffer("patterns", torch.zeros(0, len(self.columns), dtype=torch.bool))
        self.register_buffer("weights", torch.ones(1, dtype=torch.float64))
        self.register_buffer("rates", torch.full((len(self.columns),), 0.5, dtype=torch.float64))

    def learn(self, x: Tensor) -> None:
        """Count the patterns of rows x (N, *shape)."""
        blank = self.space.unknown_blanks(x)[:, self.columns]
        if not self.columns or not len(blank):
            return
        self.rates = (blank.double().sum(0) + 0.5) / (len(blank) + 1)
        patterns, counts = torch.unique(blank, dim=0, return_counts=True)
        counts, order = counts.double().sort(descending=True)
        kept = order[: min(MOST, int((counts > 1).sum()))]
        independent = self._independent(patterns[order], self.rates)
        alone = (counts - 1) / max(len(blank) - 1, 1)  # what the others say of each row's pattern
        alone[len(kept) :] = 0.0
        values = [float((counts * (share * alone + (1 - share) * independent).log()).sum()) for share in SHARES]
        share = SHARES[max(range(len(values)), key=values.__getitem__)] if len(kept) else 0.0
        self.patterns = patterns[kept]
        mass = counts[: len(kept)]
        self.weights = torch.cat([share * mass / mass.sum().clamp(min=1.0), mass.new_tensor([1 - share])])

    def _independent(self, blank: Tensor, rates: Tensor) -> Tensor:
        """Return the probability (B,) of patterns (B, S) of independent blanks."""
        return torch.where(blank, rates, 1 - rates).prod(1)

    def _places(self, columns: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return the places, among these columns and among those with blanks, of the columns that have both."""
        at = {i: place for place, i in enumerate(self.columns)}
        return [p for p, i in enumerate(columns) if i in at], [at[i] for i in columns if i in at]

    def _shares(self, blank: Tensor, places: list[int]) -> Tensor:
        """Return the joint probability (B, P + 1) of each part of the sum and the blanks (B, S) of some columns."""
        same = (blank[:, None] == self.patterns[None, :, places]).all(2).double()
        return torch.cat([same, self._independent(blank, self.rates[places])[:, None]], dim=1) * self.weights

    def log_prob(self, x: Tensor, columns: Sequence[int]) -> Tensor:
        """Return the log-probability (B,) of which of these columns are blank, of their values x (B, len(columns))."""
        own, places = self._places(columns)
        if not own:
            return torch.zeros(len(x), dtype=torch.float64, device=x.device)
        part = Space([self.space.kinds[columns[p]] for p in own])
        gaps = Gaps.of(~part.unknown_blanks(x[:, own]))
        if gaps is None:
            none = torch.zeros(1, len(own), dtype=torch.bool, device=x.device)
            return self._shares(none, places).sum(1).log().expand(len(x))
        return self._shares(~gaps.patterns, places).sum(1).log()[gaps.which]

    def draw(self, x: Tensor, columns: Sequence[int]) -> Tensor:
        """Draw which of these columns are blank, bool (B, len(columns)), given which others are in rows x (B, D)."""
        own, places = self._places(columns)
        others = [i for i in self.columns if i not in columns]
        known = self.space.unknown_blanks(x)[:, others]
        shares = self._shares(known, self._places(others)[1])
        part = draw_indices(shares)
        noise = torch.rand(len(x), len(own), dtype=torch.float64, device=x.device, generator=rng(x.device))
        seen = torch.cat(
            [self.patterns, torch.zeros_like(self.patterns[:1])]
            if len(self.patterns)
            else [known.new_zeros(1, len(self.columns))]
        )
        blank = torch.where((part == len(self.patterns))[:, None], noise < self.rates[places], seen[part][:, places])
        out = torch.zeros(len(x), len(columns), dtype=torch.bool, device=x.device)
        out[:, own] = blank
        return out

    def check(self) -> None:
        """Raise DataError where the numbers are no distribution."""
        fine = self.weights.shape == (len(self.patterns) + 1,) and bool((self.weights >= 0).all())
        if not fine or abs(float(self.weights.sum()) - 1) > 1e-6 or not bool(((self.rates > 0) & (self.rates < 1)).all()):
            raise DataError("The probabilities of patterns of blanks must add up to 1.")

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Read any number of patterns."""
        patterns, weights = state_dict.get(prefix + "patterns"), state_dict.get(prefix + "weights")
        if patterns is not None and weights is not None and patterns.ndim == 2 and len(weights) == len(patterns) + 1:
            self.patterns = self.patterns.new_zeros(patterns.shape[0], len(self.columns))
            self.weights = self.weights.new_zeros(weights.shape[0])
        super()._load_from_state_dict(state_dict, prefix, *args)


def set_blanks(space: Space, x: Tensor, columns: Sequence[int], blank: Tensor) -> Tensor:
    """Return rows x (B, *shape) with these columns blank where `blank` (B, len(columns)) says so."""
    flat = x.flatten(1).clone()
    for j, i in enumerate(columns):
        kind = space.kinds[i]
        if bool(blank[:, j].any()):
            flat[blank[:, j], i] = kind.missing_value  # of numbers it is NaN
    return flat.view_as(x)
