"""Neural spline flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genus.models.flow import RepeatedFlow
from genus.space import Space
from genus.transforms import Coupling, Linear, MaskedAutoregressive, Spline, Transform, halves

__all__ = ["NSF"]


class NSF(RepeatedFlow, name="nsf"):
    """Compose rational-quadratic splines whose parameters come from masked nets or couplings.

    See Durkan et al. 2019, arXiv:1906.04032. With couplings both directions take one pass; with masked nets the density takes
    one pass, and sampling about as long in small steps. Linear transforms between the splines mix the coordinates; where
    numbers may be missing, or are more than 2,048, orders and halves alternate instead.

    Args:
        transforms: the number of splines, each after another.
        hidden: the widths of every net's layers.
        bins: the number of bins of every spline.
        autoregressive: use masked nets; False: couplings.
        dropout: the share of hidden units that are dropped in training.
        base: see `Flow`.
        context_net: widths of a dense net between the context and the transforms; none by default.

    >>> from genus import Real, Space
    >>> NSF(Space([Real(), Real()]), transforms=2, hidden=(16,)).sample(3, seed=0).shape
    torch.Size([3, 2])
    """

    info = RepeatedFlow.info.replace(
        title="neural spline flow",
        formula="zᵢ = a rational-quadratic spline of xᵢ whose knots depend on x₁ … xᵢ₋₁",
        good="numbers whose density has peaks and edges: the sharpest of the flows",
        bad="a few hundred rows; whole numbers and categories",
    )

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
        context_net: Sequence[int] = (),
    ) -> None:
        super().__init__(space, context, transforms, hidden, dropout, base, context_net)

    def _make_transforms(self, dim: int, count: int, options: dict[str, Any]) -> list[Transform]:
        spline, mixed = Spline(self.config["bins"]), not options["allow_missing"] and dim <= self.WIDEST
        chain: list[Transform] = []
        for i in range(count):
            chain += [Linear(dim)] if i and mixed else []
            if self.config["autoregressive"]:
                order = None if mixed else self.alternating(dim, i)
                chain.append(MaskedAutoregressive(dim, map=spline, order=order, **options))
            else:
                chain.append(Coupling(halves(dim, i % 2 == 0), map=spline, **options))
        return chain

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        return super().default_hyperparameters(space, rows) | {"bins": 4 if rows < 1000 else 8}
