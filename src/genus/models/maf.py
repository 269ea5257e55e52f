"""Masked autoregressive flow."""

from __future__ import annotations

from typing import Any

from genus.models.flow import RepeatedFlow
from genus.transforms import MaskedAutoregressive, Transform

__all__ = ["MAF"]


class MAF(RepeatedFlow, name="maf"):
    """Turn x into noise by z_i = (x_i - m_i(x_<i)) exp(-s_i(x_<i)), several times: masked autoregressive flow (Papamakarios et
    al. 2017, arXiv:1705.07057).

    An `ActNorm` standardises the numbers, then come the masked transforms, each a `MaskedAutoregressive`. The density takes one
    pass of every masked net; sampling goes coordinate by coordinate but computes every hidden unit once, so that it costs about
    a pass too.

    Args:
        space: the space of x.
        context: the space of what x is conditioned on; None, the default, for a model without context.
        transforms: how many masked autoregressive transforms, 5 by default; every second reverses the order of coordinates.
        hidden: widths of every transform's hidden layers, (128, 128) by default. Each transform of up to 2,048 coordinates also
            has a masked linear map, so that a single one can fit any Gaussian.
        dropout: the probability that a hidden unit is dropped in training, in [0, 1); 0 by default.
        base: "normal", the default, "student" or "mixture"; see `Flow`.
        context_net: widths of a dense net between the context and the transforms; none by default.

    >>> import torch
    >>> from genus import Real, Space
    >>> model = MAF(Space([Real(), Real(loc=5.0, scale=2.0)]), transforms=3, hidden=(32,))
    >>> model.log_prob(torch.tensor([[0.0, 5.0]])).exp()  # before training, a normal in data units
    tensor([0.0796], grad_fn=<ExpBackward0>)
    """

    info = RepeatedFlow.info.replace(
        title="masked autoregressive flow",
        formula="zᵢ = (xᵢ − mᵢ(x₁ … xᵢ₋₁)) exp(−sᵢ(x₁ … xᵢ₋₁)), several times",
        good="smooth numbers in tens of columns",
        bad="whole numbers and categories, of which it has a bound or a table; peaks far apart",
    )

    def _make_transforms(self, dim: int, count: int, options: dict[str, Any]) -> list[Transform]:
        # With direct=True each masked net also has a masked linear map, which training starts from the whitening of the data.
        options = options | {"direct": dim <= self.WIDEST}
        return [MaskedAutoregressive(dim, order=self.alternating(dim, i), **options) for i in range(count)]
