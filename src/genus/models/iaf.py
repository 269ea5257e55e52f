"""Inverse autoregressive flow."""

from __future__ import annotations

from typing import Any

from genus.models.flow import RepeatedFlow
from genus.transforms import Inverse, MaskedAutoregressive, Transform

__all__ = ["IAF"]


class IAF(RepeatedFlow, name="iaf"):
    """Map z to x by x_i = m_i(z_<i) + z_i exp(s_i(z_<i)), several times (inverse autoregressive flow; Kingma et al. 2016,
    arXiv:1606.04934).

    Sampling takes one pass; the density goes coordinate by coordinate but computes every hidden unit once, so that it costs
    about a pass too, in many small steps.

    Args:
        transforms: the number of masked autoregressive transforms, each applied in its inverse direction; every second one
            takes the coordinates in reversed order.
        hidden: widths of every transform's hidden layers.
        dropout: of hidden units.
        base: see `Flow`.

    >>> from genus import Real, Space
    >>> model = IAF(Space([Real(), Real()]), transforms=2, hidden=(16,))
    >>> x, log_prob = model.sample_and_log_prob(3, seed=0)  # one pass, with gradients
    >>> x.shape, log_prob.shape
    (torch.Size([3, 2]), torch.Size([3]))
    """

    info = RepeatedFlow.info.replace(
        title="inverse autoregressive flow",
        formula="xᵢ = mᵢ(z₁ … zᵢ₋₁) + zᵢ exp(sᵢ(z₁ … zᵢ₋₁)), several times",
        good="drawing in one pass: students and posteriors",
        bad="the density of given rows, which goes column by column",
    )

    def _make_transforms(self, dim: int, count: int, options: dict[str, Any]) -> list[Transform]:
        options = options | {"direct": dim <= self.WIDEST}
        return [Inverse(MaskedAutoregressive(dim, order=self.alternating(dim, i), **options)) for i in range(count)]
