"""Real-valued non-volume-preserving flow."""

from __future__ import annotations

from typing import Any

from genus.models.flow import RepeatedFlow
from genus.transforms import ActNorm, Coupling, Transform, halves

__all__ = ["RealNVP"]


class RealNVP(RepeatedFlow, name="real-nvp"):
    """Affine couplings (Dinh et al. 2017, arXiv:1605.08803), with activation normalisation between them.

    Both directions take one pass. For images see `Glow`.

    Args:
        transforms: couplings; every other coordinate stays, in turns.
        hidden: widths of every coupling's net.
        dropout: of hidden units.
        base: see `Flow`.
        context_net: widths of a dense net between the context and the transforms; none by default.

    >>> from genus import Real, Space
    >>> RealNVP(Space([Real(), Real()]), hidden=(16,)).sample(3, seed=0).shape
    torch.Size([3, 2])
    """

    info = RepeatedFlow.info.replace(
        title="affine couplings",
        formula="x = f₁(… fₙ(z)), each scaling and shifting half of the columns by the other half",
        good="drawing and scoring numbers in one pass each",
        bad="sharp or many-peaked densities, where splines do better",
    )
    few_transforms = 4

    def _make_transforms(self, dim: int, count: int, options: dict[str, Any]) -> list[Transform]:
        pairs = [(Coupling(halves(dim, i % 2 == 0), **options), ActNorm(dim, options["allow_missing"])) for i in range(count)]
        return [layer for pair in pairs for layer in pair]
