"""Masked autoregressive flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from genus.model import TractableDensity
from genus.space import Category, Integer, Real, Space
from genus.transforms import Chain, MaskedAffine, Normalisation, Transform
from genus.transforms.core import reversal

__all__ = ["MAF"]


class MAF(TractableDensity, name="maf"):
    """Masked autoregressive flow: log p(x) = log N(z; 0, I) + log|det dz/dx| (Papamakarios et al. 2017, arXiv:1705.07057).

    The density takes one pass; sampling goes coordinate by coordinate but computes every hidden unit once, so that it costs
    about a pass too. Whole numbers need `Dequantised`, which `genus.build` puts around it.

    Args:
        transforms: masked autoregressive transforms, the order of coordinates turned round between them.
        hidden: widths of every transform's hidden layers.

    >>> from genus import Real, Space
    >>> model = MAF(Space([Real(), Real(loc=5.0, scale=2.0)]), transforms=3, hidden=(32,))
    >>> model.log_prob(torch.tensor([[0.0, 5.0]])).exp()  # at birth: a normal in data units
    tensor([0.0796], grad_fn=<ExpBackward0>)
    """

    title = "masked autoregressive flow"
    group = "flows"
    takes = "real columns; whole numbers and images as a bound"
    recipe = MappingProxyType({"learning_rate": 1e-3, "weight_decay": 0.1})

    def __init__(
        self, space: Space, context: Space | None = None, transforms: int = 5, hidden: Sequence[int] = (128, 128)
    ) -> None:
        super().__init__(space, context, transforms=transforms, hidden=list(hidden))
        self.normalisation = Normalisation(space.dim)
        chain: list[Transform] = [self.normalisation]
        for i in range(transforms):
            chain += [reversal(space.dim)] if i else []
            chain.append(MaskedAffine(space.dim, hidden, self.context_dim))
        self.transform = Chain(chain)
        self.log_unit = sum(math.log(kind.scale) for kind in space.kinds if isinstance(kind, Real))

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        words = {Category: "a category", Integer: "whole numbers"}
        odd = [i for i, kind in enumerate(space.kinds) if not isinstance(kind, Real)]
        ties = [i for i, kind in enumerate(space.kinds) if kind.states > 1]
        if odd:
            more = f" ({len(odd)} such columns)" if len(odd) > 1 else ""
            return (
                f"a flow is a density over real numbers, and {space.label(odd[0])} is {words[type(space.kinds[odd[0]])]}{more}"
            )
        if ties:
            more = f" ({len(ties)} such columns)" if len(ties) > 1 else ""
            return (
                f"a flow has no place for values with mass of their own, and {space.label(ties[0])} repeats or lacks some{more}"
            )
        return None

    @classmethod
    def suggest(cls, space: Space, rows: int) -> dict[str, Any]:
        width = 32 if rows < 1000 else 64 if rows < 5000 else 128 if rows < 20_000 else 256
        return {"hidden": [max(width, min(2 * space.dim, 512))] * 2}

    @torch.no_grad()
    def initialise(self, x: Tensor, c: Tensor | None = None) -> None:
        """Standardise every coordinate by itself: pixels share a kind, but not their mean and spread."""
        self.normalisation.initialise(self.space.split(x)[1].to(self.dtype))

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        _, u = self.space.split(x)
        z, log_det = self.transform(u.to(self.dtype), self._context_features(c))
        return -0.5 * z.square().sum(1) - 0.5 * math.log(2 * math.pi) * self.space.dim + log_det - self.log_unit

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        z = torch.randn(n, self.space.dim, dtype=self.dtype, device=self.device)
        u, _ = self.transform.inverse(z, self._context_features(c))
        return self.space.join(torch.zeros(n, self.space.dim, dtype=torch.long, device=u.device), u)
