"""Non-linear independent components estimation."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from genus.models.flow import NormalisingFlow
from genus.space import Space
from genus.transforms import Additive, Coupling, Elementwise, Normalisation, halves

__all__ = ["NICE"]


class NICE(NormalisingFlow, name="nice"):
    """Additive couplings, which keep volumes, then a scale for every coordinate (Dinh et al. 2015, arXiv:1410.8516).

    Both directions take one pass.

    Args:
        transforms: couplings; every other coordinate stays, in turns.
        hidden: widths of every coupling's net.
        base: see `Flow`.

    >>> from genus import Real, Space
    >>> NICE(Space([Real(), Real()]), hidden=(16,)).sample(3, seed=0).shape
    torch.Size([3, 2])
    """

    title = "additive couplings"
    recipe = MappingProxyType({"learning_rate": 1e-3, "weight_decay": 0.1})

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        transforms: int = 8,
        hidden: Sequence[int] = (128, 128),
        base: str | dict[str, Any] = "normal",
    ) -> None:
        super().__init__(space, context, transforms=transforms, hidden=list(hidden), base=base)
        dim, given, gaps = self.numbers(space), self.condition_dim(space, context), self.has_gaps(space)
        couplings = [Coupling(halves(dim, i % 2 == 0), hidden, Additive(), given, gaps=gaps) for i in range(transforms)]
        self._compose([Normalisation(dim, gaps), *couplings, Elementwise(dim, context_dim=given)], base)

    @classmethod
    def suggest(cls, space: Space, rows: int) -> dict[str, Any]:
        return {"hidden": [cls.width(space, rows)] * 2}
