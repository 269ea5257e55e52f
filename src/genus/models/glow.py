"""Generative flow with invertible 1x1 convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from genus.errors import DataError, GenusError
from genus.models.continuous import numbers_can_be_absent
from genus.models.flow import NormalisingFlow
from genus.space import Space
from genus.transforms import ActNorm, Chain, Coupling, Linear, Multiscale, Reshape, Squeeze, Transform

__all__ = ["Glow"]


class Glow(NormalisingFlow, name="glow"):
    """Map images by activation normalisation, an invertible 1x1 convolution and an affine coupling of channels, one after the
    other, several times at each of several scales (Kingma & Dhariwal 2018, arXiv:1807.03039).

    Both directions take one pass. Pixels that are whole numbers are dequantised, and the likelihood is a bound.

    Args:
        levels: the number of scales. Each begins by making channels of every 2x2 pixels; at its end half of the channels are
            left as they are.
        steps: how many times the three transforms follow one another at every scale.
        hidden: channels of every coupling's convolutions.
        base: see `Flow`.

    >>> from genus import Real, Space
    >>> Glow(Space(Real(), shape=(1, 4, 4)), steps=2, hidden=(8,)).sample(2, seed=0).shape
    torch.Size([2, 1, 4, 4])
    """

    info = NormalisingFlow.info.replace(
        title="flow with 1x1 convolutions",
        takes="images, as a bound where pixels are whole numbers",
        formula="x = f₁(… fₙ(z)): couplings, 1×1 convolutions and scales of images",
        good="images in one pass, with codes that one can walk between",
        bad="the likelihood of whole-numbered pixels, of which it has a bound; many parameters",
    )
    fit_defaults = MappingProxyType({"learning_rate": 1e-3})

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        levels: int = 2,
        steps: int = 8,
        hidden: Sequence[int] = (64, 64),
        base: str | dict[str, Any] = "normal",
    ) -> None:
        super().__init__(space, context)
        if levels < 1 or steps < 1:
            raise GenusError(f"levels and steps must be 1 or more; got {levels} and {steps}.")
        first = shape = (1,) * (3 - len(space.shape)) + space.shape
        scales: list[Transform] = []
        for level in range(levels):
            if shape[1] % 2 or shape[2] % 2:
                raise DataError(
                    f"Images of {first[1]}x{first[2]} can be halved {level} times, not {levels}; pass levels={level}."
                )
            shape = (4 * shape[0], shape[1] // 2, shape[2] // 2)
            chain: list[Transform] = [Squeeze()]
            for step in range(steps):
                stay = [[[(k < shape[0] // 2) == (step % 2 == 0)] * shape[2]] * shape[1] for k in range(shape[0])]
                chain += [ActNorm(shape[0]), Linear(shape[0]), Coupling(stay, hidden, None, self.feature_dim)]
            scales.append(Chain(chain))
            shape = (shape[0] // 2, *shape[1:])
        self._compose([ActNorm(space.dim), Reshape(first), Multiscale(first, scales)], base)

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        if len(space.shape) not in (2, 3) or space.shape[-1] % 2 or space.shape[-2] % 2:
            return "it models images of even height and width, (height, width) or (channels, height, width)"
        if numbers_can_be_absent(space):
            return "its convolutions cannot leave out pixels that have atoms or may be missing"
        return super().limits(space, context)

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        """Return as many scales as the image can be halved, three at most, and wider nets for images of 1,000 numbers."""
        halvings = [n for n in (1, 2, 3) if not (space.shape[-1] % 2**n or space.shape[-2] % 2**n)]
        shape = {"levels": max(halvings, default=1), "hidden": [64, 64] if space.dim < 1000 else [128, 128]}
        return super().default_hyperparameters(space, rows) | shape
