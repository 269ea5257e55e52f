"""Keep a critic from being steep: clip its weights, penalise its gradient, or give every layer the norm 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal, spectral_norm

from genus.errors import GenusError
from genus.random import rng

__all__ = ["MaxMin", "clip", "gradient_norm", "gradient_penalty", "spectral"]

NARROW = 8  # reflections, which make a matrix orthogonal in time that grows with their number

Function = Callable[[Tensor], Tensor]


def clip(critic: nn.Module, limit: float) -> None:
    """Clip every weight to at most `limit`, in place (Arjovsky et al. 2017, arXiv:1701.07875): the critic is then Lipschitz,
    by a constant that is not known.

    >>> layer = nn.Linear(2, 1)
    >>> clip(layer, 0.01)
    >>> layer.weight.abs().max().item() <= 0.01
    True
    """
    if limit <= 0:
        raise GenusError(f"The largest weight of a critic must be above 0; got {limit}.")
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.clamp_(-limit, limit)


def gradient_norm(critic: Function, at: Tensor) -> Tensor:
    """Return the Euclidean norm (B,) of the critic's gradient at each of the points (B, *shape).

    >>> gradient_norm(lambda x: 2 * x.flatten(1).sum(1), torch.zeros(3, 2, 2)).tolist()
    [4.0, 4.0, 4.0]
    """
    at = at.detach().requires_grad_()
    with torch.enable_grad():
        gradient = torch.autograd.grad(critic(at).sum(), at, create_graph=True)[0]
        return torch.linalg.vector_norm(gradient.flatten(1), dim=1)


def gradient_penalty(critic: Function, real: Tensor, fake: Tensor, centre: float = 1.0) -> Tensor:
    """Return E (|grad D| - centre)^2, on the lines between real and generated points: each pair has a place of its own.

    Args:
        critic: (B, *shape) -> (B,) or (B, 1), each value of its own point alone, so without batch normalisation.
        real, fake: (B, *shape), any shape.
        centre: 1 (Gulrajani et al. 2017, arXiv:1704.00028), or 0 (Thanh-Tung et al. 2019, arXiv:1902.03984), which makes
            the critic flat.

    >>> x = torch.randn(5, 3, 8, 8)
    >>> w = torch.full((3, 8, 8), 2 / 192**0.5)  # a linear critic of norm 2
    >>> round(gradient_penalty(lambda x: (x * w).flatten(1).sum(1), x, -x).item(), 4)
    1.0
    """
    if real.shape != fake.shape:
        raise GenusError(f"Real and generated points must be of one shape; got {tuple(real.shape)} and {tuple(fake.shape)}.")
    share = torch.rand(len(real), *[1] * (real.ndim - 1), dtype=real.dtype, device=real.device, generator=rng(real.device))
    return (gradient_norm(critic, torch.lerp(fake, real, share)) - centre).square().mean()


class MaxMin(nn.Module):
    """Sort pairs of units: the activation that keeps all of a gradient's norm, where ReLU loses some (Anil et al. 2019,
    arXiv:1811.05381).

    >>> MaxMin()(torch.tensor([[1.0, 3.0, 2.0, -1.0]]))
    tensor([[ 2.,  3.,  1., -1.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, an even number) with every pair of units in falling order."""
        a, b = x.chunk(2, dim=-1)
        return torch.cat([torch.maximum(a, b), torch.minimum(a, b)], dim=-1)


def spectral(inputs: int, hidden: Sequence[int], outputs: int = 1) -> nn.Sequential:
    """Return a dense net that is 1-Lipschitz: no matrix has a singular value above 1 (Miyato et al. 2018, arXiv:1802.05957).

    Where it costs little all singular values are 1, the matrix is orthogonal, so that no part of a gradient is lost on its way
    (Anil et al. 2019, arXiv:1811.05381); wide layers are divided by their largest one.

    Args:
        hidden: even widths.

    >>> spectral(2, (16, 16))(torch.zeros(3, 2)).shape
    torch.Size([3, 1])
    """
    if any(width % 2 for width in hidden):
        raise GenusError(f"Units are sorted in pairs, so widths must be even; got {tuple(hidden)}.")
    layers: list[nn.Module] = []
    for a, b in pairwise([inputs, *hidden, outputs]):
        layers += [_with_norm_one(nn.Linear(a, b)), MaxMin()]
    return nn.Sequential(*layers[:-1])


def _with_norm_one(layer: nn.Linear) -> nn.Module:
    a, b = layer.in_features, layer.out_features
    if a == b:
        return orthogonal(layer, orthogonal_map="cayley")
    return orthogonal(layer, orthogonal_map="householder") if min(a, b) <= NARROW else spectral_norm(layer)
