"""Keep the contexts of a conditional model's training rows with their frequencies, to draw from where none is given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genus.errors import DataError
from genus.ladder.functions import check_count
from genus.random import draw_indices, isolated
from genus.space import Space

__all__ = ["Contexts", "KeepsContexts"]

MOST = 1000  # different contexts that are kept; where there are more, as many rows are kept, evenly spaced
LOOKED_AT = 1_000_000  # the most rows whose contexts are counted
WIDEST = 64  # columns, above which no contexts are kept


@dataclass(frozen=True)
class Contexts:
    """Holds contexts, (M, K) in data units, and how often training rows had each, (M,).

    >>> Contexts.of(torch.tensor([[0.0], [1.0], [1.0]])).counts.tolist()
    [1.0, 2.0]
    """

    rows: Tensor
    counts: Tensor

    @classmethod
    def of(cls, c: Tensor | None) -> Contexts | None:
        """Return the contexts (N, K) of training rows; None where these have none, or one of many columns."""
        if c is None or not len(c) or c[0].numel() > WIDEST:
            return None
        c = c[torch.linspace(0, len(c) - 1, LOOKED_AT).long()] if len(c) > LOOKED_AT else c
        flat = c.detach().cpu().double().flatten(1)
        rows, counts = flat.nan_to_num(math.inf).unique(dim=0, return_counts=True)
        if len(rows) > MOST:
            rows = flat[torch.linspace(0, len(flat) - 1, MOST).long()].nan_to_num(math.inf)
            counts = torch.ones(MOST)
        return cls(torch.where(rows.isinf(), math.nan, rows).view(-1, *c.shape[1:]), counts.double())

    def to_json(self) -> dict[str, Any]:
        """Return the contexts as JSON values, missing ones as null."""
        values = [[None if math.isnan(v) else v for v in row] for row in self.rows.flatten(1).tolist()]
        return {"rows": values, "counts": self.counts.tolist()}

    @classmethod
    def from_json(cls, values: Any, context: Space) -> Contexts | None:
        """Return what `to_json` gave; raise DataError where it is something else, or not of this space."""
        if values is None:
            return None
        if not isinstance(values, dict) or {*values} != {"rows", "counts"}:
            raise DataError("contexts must hold rows and counts.")
        rows = torch.tensor([[math.nan if v is None else float(v) for v in row] for row in values["rows"]], dtype=torch.float64)
        counts = torch.tensor([float(v) for v in values["counts"]], dtype=torch.float64)
        if not 0 < len(rows) <= MOST or counts.shape != rows.shape[:1] or not bool((counts.isfinite() & (counts > 0)).all()):
            raise DataError(f"contexts must be 1 to {MOST:,} rows, each with how often it was there.")
        rows = rows.view(-1, *context.shape)
        context.check(rows.to(context.dtype), "contexts")
        return cls(rows, counts)

    def draw(self, n: int, given: Mapping[int, float], context: Space) -> Tensor:
        """Draw n contexts (n, K) by their frequency, of those that have given values in some columns.

        Raises:
            DataError: none has these values.
        """
        fine = torch.ones(len(self.rows), dtype=torch.bool)
        for i, value in given.items():
            fine &= self.rows[:, i].isnan() if math.isnan(value) else self.rows[:, i] == value
        if not bool(fine.any()):
            asked = ", ".join(context.label(i) for i in given)
            raise DataError(f"No context that was kept of the training rows has these values of {asked}; give every column.")
        chosen = draw_indices(self.counts * fine, n)
        return self.rows[chosen].to(context.dtype)


class KeepsContexts:
    """Gives every model the contexts of its training rows.

    Attributes:
        contexts: the contexts with their frequencies; None before training, and of a model without context.
    """

    contexts: Contexts | None = None

    def sample_context(self: Any, n: int, given: Mapping[str, float] | None = None, seed: int | None = None) -> Tensor:
        """Draw n contexts as often as training rows had them.

        Args:
            n: how many.
            given: the values in data units, or coordinates of levels, that some columns of the context are to have, by name.
            seed: repeats the draw.

        Returns:
            (n, *context.shape) in data units: the c of `sample`.

        Raises:
            DataError: the model keeps no contexts, or none has the given values.

        >>> import genus
        >>> data = genus.read({"a": [1.5, 2.5, 3.25] * 8, "b": ["x", "x", "y"] * 8}, context="b")
        >>> model = genus.build("mixture", data.space, data.context, components=2)
        >>> _ = genus.fit(model, data, seed=0, progress=False)
        >>> model.sample_context(3000, seed=0).mean().round(decimals=1)
        tensor(0.3000)
        """
        if self.context is None:
            raise DataError(f"This {type(self).__name__} has no context; sample without one.")
        if self.contexts is None:
            raise DataError(
                f"This {type(self).__name__} keeps no contexts of training rows: it is not trained, or was so by an earlier"
                f" genus; pass c of shape ({n}, {self.context.shape[0]}) from {self.context!r}."
            )
        columns = {self.context.index(name): float(value) for name, value in (given or {}).items()}
        with isolated(seed):
            return self.contexts.draw(check_count(n), columns, self.context)

    def _context_for(self: Any, c: Tensor | None, n: int, seed: int | None) -> Tensor | None:
        """Return c as `_check_context` does; where it is None, n contexts by their frequency in training."""
        if c is None and self.context is not None and self.contexts is not None:
            c = self.sample_context(n, seed=None if seed is None else seed + 1)
        return self._check_context(c, n)
