"""Neural spline flow."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from genus.models.flow import NormalisingFlow
from genus.space import Space
from genus.transforms import Coupling, Linear, Masked, Normalisation, Spline, Transform, halves

__all__ = ["NSF"]


class NSF(NormalisingFlow, name="nsf"):
    """Rational-quadratic splines by couplings or by masked nets (Durkan et al. 2019, arXiv:1906.04032).

    By couplings both directions take one pass; autoregressive, sampling costs about a pass in small steps. Linear transforms
    mix the coordinates between; where numbers may be missing, orders and halves alternate instead.

    Args:
        transforms: splines one after another.
        hidden: widths of every net.
        bins: of every spline.
        autoregressive: by masked nets and not by couplings.
        dropout: of hidden units.
        base: see `Flow`.

    >>> from genus import Real, Space
    >>> NSF(Space([Real(), Real()]), transforms=2, hidden=(16,)).sample(3, seed=0).shape
    torch.Size([3, 2])
    """

    title = "neural spline flow"
    recipe = MappingProxyType({"learning_rate": 1e-3, "weight_decay": 0.1})

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        transforms: int = 5,
        hidden: Sequence[int] = (128, 128),
        bins: int = 8,
        autoregressive: bool = True,
        dropout: float = 0.0,
        base: str | dict[str, Any] = "normal",
    ) -> None:
        hyper = {"transforms": transforms, "hidden": list(hidden), "bins": bins}
        super().__init__(space, context, **hyper, autoregressive=autoregressive, dropout=dropout, base=base)
        dim, given, gaps = self.numbers(space), self.condition_dim(space, context), self.has_gaps(space)
        chain: list[Transform] = [Normalisation(dim, gaps)]
        for i in range(transforms):
            chain += [Linear(dim)] if i and not gaps else []
            if autoregressive:
                order = self.turn(dim, i) if gaps else None
                chain.append(Masked(dim, hidden, Spline(bins), given, order, dropout=dropout, gaps=gaps))
            else:
                chain.append(Coupling(halves(dim, i % 2 == 0), hidden, Spline(bins), given, dropout, gaps))
        self._compose(chain, base)

    @classmethod
    def suggest(cls, space: Space, rows: int) -> dict[str, Any]:
        return {"hidden": [cls.width(space, rows)] * 2}
