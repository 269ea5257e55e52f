"""Masked autoregressive flow."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from genus.models.flow import NormalisingFlow
from genus.space import Space
from genus.transforms import Masked, Normalisation

__all__ = ["MAF"]


class MAF(NormalisingFlow, name="maf"):
    """Masked autoregressive flow: z_i = (x_i - m_i(x_<i)) exp(-s_i(x_<i)), several times (Papamakarios et al. 2017,
    arXiv:1705.07057).

    The density takes one pass; sampling goes coordinate by coordinate but computes every hidden unit once, so that it costs
    about a pass too.

    Args:
        transforms: masked autoregressive transforms, the order of coordinates turned round between them.
        hidden: widths of every transform's hidden layers. Beside them a coordinate depends on those before it linearly, so that
            one transform alone is at least a normal distribution with every covariance.
        dropout: of hidden units.
        base: see `Flow`.

    >>> import torch
    >>> from genus import Real, Space
    >>> model = MAF(Space([Real(), Real(loc=5.0, scale=2.0)]), transforms=3, hidden=(32,))
    >>> model.log_prob(torch.tensor([[0.0, 5.0]])).exp()  # at birth: a normal in data units
    tensor([0.0796], grad_fn=<ExpBackward0>)
    """

    title = "masked autoregressive flow"
    recipe = MappingProxyType({"learning_rate": 1e-3, "weight_decay": 0.1})

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        transforms: int = 5,
        hidden: Sequence[int] = (128, 128),
        dropout: float = 0.0,
        base: str | dict[str, Any] = "normal",
    ) -> None:
        super().__init__(space, context, transforms=transforms, hidden=list(hidden), dropout=dropout, base=base)
        dim, given, gaps = self.numbers(space), self.condition_dim(space, context), self.has_gaps(space)
        net: dict[str, Any] = {"direct": True, "dropout": dropout, "gaps": gaps}
        masked = [Masked(dim, hidden, None, given, self.turn(dim, i), **net) for i in range(transforms)]
        self._compose([Normalisation(dim, gaps), *masked], base)

    @classmethod
    def suggest(cls, space: Space, rows: int) -> dict[str, Any]:
        return {"hidden": [cls.width(space, rows)] * 2}
