"""Real-valued non-volume-preserving flow."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from genus.models.flow import NormalisingFlow
from genus.space import Space
from genus.transforms import Coupling, Normalisation, Transform, halves

__all__ = ["RealNVP"]


class RealNVP(NormalisingFlow, name="real-nvp"):
    """Affine couplings (Dinh et al. 2017, arXiv:1605.08803), with activation normalisation between them.

    Both directions take one pass. For images see `Glow`.

    Args:
        transforms: couplings; every other coordinate stays, in turns.
        hidden: widths of every coupling's net.
        base: see `Flow`.

    >>> from genus import Real, Space
    >>> RealNVP(Space([Real(), Real()]), hidden=(16,)).sample(3, seed=0).shape
    torch.Size([3, 2])
    """

    title = "affine couplings"
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
        chain: list[Transform] = [Normalisation(dim, gaps)]
        for i in range(transforms):
            chain += [Coupling(halves(dim, i % 2 == 0), hidden, None, given, gaps=gaps), Normalisation(dim, gaps)]
        self._compose(chain, base)

    @classmethod
    def suggest(cls, space: Space, rows: int) -> dict[str, Any]:
        return {"hidden": [cls.width(space, rows)] * 2}
