"""A model given one context, or many, as a distribution of PyTorch."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

__all__ = ["AsDistribution", "ModelDistribution"]


class ModelDistribution(Distribution):
    """Present p(x | c) of a model to code that is written for `torch.distributions`.

    Args:
        model: of any family; `log_prob` needs a tractable density, `rsample` one that draws with gradients, a flow.
        c: the context, (*batch_shape, *context.shape): one row, or any batch of rows; None for a model without context.

    >>> import genus
    >>> model = genus.build("maf", genus.Space([genus.Real(), genus.Real()]), transforms=1, hidden=(8,))
    >>> p = model.as_distribution()
    >>> p.batch_shape, p.event_shape, p.log_prob(p.sample((3, 4))).shape
    (torch.Size([]), torch.Size([2]), torch.Size([3, 4]))
    """

    def __init__(self, model: Any, c: Tensor | None = None) -> None:
        self.model, self.c = model, c
        rows = c if c is None or model.context is None else c.reshape(-1, *model.context.shape)
        model._check_context(rows, 1 if rows is None else len(rows))
        batch = () if c is None else c.shape[: c.ndim - len(model.context.shape)]
        super().__init__(torch.Size(batch), torch.Size(model.space.shape), validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Return whether draws have gradients."""
        return hasattr(self.model, "rsample")

    @property
    def support(self) -> constraints.Constraint:
        """Return the real line where every column is one, without atoms; other spaces have no constraint of PyTorch."""
        whole = (-math.inf, math.inf)
        if any(kind.states > 1 or kind.step or kind.chart.support != whole for kind in self.model.space.kinds):
            raise NotImplementedError(
                "PyTorch has no constraint for columns with states, on a lattice, or with an end; see model.space."
            )
        return constraints.independent(constraints.real, len(self.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> ModelDistribution:
        """Return this distribution with its context repeated over a larger batch."""
        if self.c is None:
            expanded = ModelDistribution(self.model)
            Distribution.__init__(expanded, torch.Size(batch_shape), self.event_shape, validate_args=False)
            return expanded
        return ModelDistribution(self.model, self.c.expand(*batch_shape, *self.model.context.shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(x | c) (..., *batch_shape), in nats, of x (..., *batch_shape, *event_shape), which is broadcast."""
        leading = value.shape[: value.ndim - len(self.event_shape)]
        shape = torch.broadcast_shapes(leading, self.batch_shape)
        x = value.expand(*shape, *self.event_shape).reshape(-1, *self.event_shape)
        return self.model.log_prob(x, self._contexts(shape)).view(shape)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return draws (*sample_shape, *batch_shape, *event_shape), that many for each context."""
        return self._drawn(partial(self.model.sample, blanks=True), sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Return draws as `sample` does, with gradients in the parameters and the context."""
        if not self.has_rsample:
            raise NotImplementedError(f"{type(self.model).__name__} draws without gradients; use sample.")
        return self._drawn(self.model.rsample, sample_shape)

    def _drawn(self, draw: Any, sample_shape: Any) -> Tensor:
        shape = torch.Size(sample_shape) + self.batch_shape
        return draw(shape.numel(), self._contexts(shape)).view(*shape, *self.event_shape)

    def _contexts(self, shape: torch.Size) -> Tensor | None:
        """Return the context of every row of a batch of this shape, (rows, *context.shape)."""
        if self.c is None:
            return None
        of_one = self.model.context.shape
        return self.c.expand(*shape, *of_one).reshape(-1, *of_one)


class AsDistribution:
    """Gives every model `as_distribution`."""

    def as_distribution(self, c: Tensor | None = None) -> ModelDistribution:
        """Return p(x | c) as a `torch.distributions.Distribution`.

        Args:
            c: the context, (*batch_shape, *context.shape); None for a model without context.
        """
        return ModelDistribution(self, c)
