"""Non-linear independent components estimation."""

from __future__ import annotations

from typing import Any

from genus.models.flow import RepeatedFlow
from genus.transforms import Additive, Coupling, Elementwise, Transform, halves

__all__ = ["NICE"]


class NICE(RepeatedFlow, name="nice"):
    """Additive couplings, which keep volumes, then a scale for every coordinate (Dinh et al. 2015, arXiv:1410.8516).

    Both directions take one pass.

    Args:
        transforms: couplings; every other coordinate stays, in turns.
        hidden: widths of every coupling's net.
        dropout: of hidden units.
        base: see `Flow`.

    >>> from genus import Real, Space
    >>> NICE(Space([Real(), Real()]), hidden=(16,)).sample(3, seed=0).shape
    torch.Size([3, 2])
    """

    info = RepeatedFlow.info.replace(
        title="additive couplings",
        formula="x = f₁(… fₙ(z)), each adding to half of the columns a function of the other half",
        good="drawing and scoring in one pass each; a lesson in volumes that stay",
        bad="accuracy: every later flow is closer",
    )
    few_transforms = 4

    def _make_transforms(self, dim: int, count: int, options: dict[str, Any]) -> list[Transform]:
        couplings = [Coupling(halves(dim, i % 2 == 0), map=Additive(), **options) for i in range(count)]
        return [*couplings, Elementwise(dim, context_dim=options["context_dim"])]
