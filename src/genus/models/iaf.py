"""Inverse autoregressive flow."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from genus.models.flow import NormalisingFlow
from genus.space import Space
from genus.transforms import Inverse, Masked, Normalisation

__all__ = ["IAF"]


class IAF(NormalisingFlow, name="iaf"):
    """Inverse autoregressive flow: x_i = m_i(z_<i) + z_i exp(s_i(z_<i)), several times (Kingma et al. 2016,
    arXiv:1606.04934).

    Sampling takes one pass; the density goes coordinate by coordinate but computes every hidden unit once, so that it costs
    about a pass too, in many small steps.

    Args:
        transforms: masked autoregressive transforms the other way round, the order of coordinates turned round between them.
        hidden: widths of every transform's hidden layers.
        base: see `Flow`.

    >>> from genus import Real, Space
    >>> model = IAF(Space([Real(), Real()]), transforms=2, hidden=(16,))
    >>> x, log_prob = model.sample_and_log_prob(3, seed=0)  # one pass, with gradients
    >>> x.shape, log_prob.shape
    (torch.Size([3, 2]), torch.Size([3]))
    """

    title = "inverse autoregressive flow"
    recipe = MappingProxyType({"learning_rate": 1e-3, "weight_decay": 0.1})

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        transforms: int = 5,
        hidden: Sequence[int] = (128, 128),
        base: str | dict[str, Any] = "normal",
    ) -> None:
        super().__init__(space, context, transforms=transforms, hidden=list(hidden), base=base)
        dim, given, gaps = self.numbers(space), self.condition_dim(space, context), self.has_gaps(space)
        masked = [Inverse(Masked(dim, hidden, None, given, self.turn(dim, i), gaps=gaps)) for i in range(transforms)]
        self._compose([Normalisation(dim, gaps), *masked], base)

    @classmethod
    def suggest(cls, space: Space, rows: int) -> dict[str, Any]:
        return {"hidden": [cls.width(space, rows)] * 2}
