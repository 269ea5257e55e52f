"""PixelCNN: masked convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from genus.errors import GenusError
from genus.ladder import Size
from genus.models.autoregressive import Autoregressive
from genus.nets.pixels import PixelStacks
from genus.nets.tokens import SharedOutputs, SharedTokens
from genus.space import Space

__all__ = ["PixelCNN"]


class PixelCNN(Autoregressive, name="pixelcnn"):
    """Model every pixel given the pixels above it and to its left, by masked gated convolutions without a blind spot.

    See van den Oord et al. 2016, arXiv:1601.06759 and arXiv:1606.05328. The channels of a pixel follow one another, each given
    the channels before it. Positions run over rows, columns, channels, so the prefix of a sample is the top of an image.

    Args:
        width: the number of channels of every layer.
        layers: the number of layers of the vertical and of the horizontal stack.
        reach: the number of pixels that the first layer sees in each direction.
        dropout: the share of every gate's outputs that are dropped in training.
        components: the number of components of the mixtures that model numbers; a lattice of up to 256 values gets a softmax.

    >>> from genus import Lattice, Space
    >>> model = PixelCNN(Space(Lattice(0, 3), shape=(3, 4, 4)), width=8, layers=2)
    >>> model.sample(2, seed=0).shape
    torch.Size([2, 3, 4, 4])
    """

    info = Autoregressive.info.replace(
        title="masked convolutions",
        group="chain rule",
        takes="images",
        sequences=False,
        formula="p(x) = ∏ᵢ p(xᵢ | pixels above and to the left), by masked convolutions",
        good="the exact density of small images",
        bad="large images; drawing goes pixel by pixel",
    )
    fit_defaults = MappingProxyType({"learning_rate": 1e-2, "batch_size": 64, "ema_decay": 0.99, "precision": "bf16-mixed"})

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        width: int = 64,
        layers: int = 6,
        reach: int = 3,
        dropout: float = 0.0,
        components: int = 10,
    ) -> None:
        if min(width, layers, reach) < 1:
            raise GenusError(f"width, layers and reach must be 1 or more; got {width}, {layers} and {reach}.")
        super().__init__(space, context)
        channels, height, columns = space.shape if len(space.shape) == 3 else (1, *space.shape)
        plane = height * columns
        self.order = [k * plane + pixel for pixel in range(plane) for k in range(channels)]
        self.tokens = SharedTokens(space, width, size=1.0)
        self.outputs = SharedOutputs(space, width, components)
        self.position_embedding = None  # the net has its own, one for each pixel
        self.net = PixelStacks((channels, height, columns), width, layers, reach, dropout, self.context_dim)  # type: ignore[assignment]

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        """Return a net that sees most of a small image, with more dropout for fewer rows."""
        small = max(space.shape) <= 12
        return {
            "width": 32,
            "layers": 3 if small else 5,
            "reach": 2 if small else 3,
            "dropout": 0.3 if rows < 5_000 else 0.1 if rows < 50_000 else 0.0,
        }

    @classmethod
    def sizes(cls, space: Space, rows: int) -> Sequence[Size]:
        """Return nets of growing width and depth for images that are not small."""
        if max(space.shape) <= 12:
            return ()
        few = {"dropout": 0.1 if rows < 5_000 else 0.0}
        return [
            Size({"width": 16, "layers": 3} | few, 0, 16),
            Size({"width": 24, "layers": 4} | few, 1000, 16),
            Size({"width": 32, "layers": 5}, 2000, 32),
        ]

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        if len(space.shape) not in (2, 3):
            return "it models images, of shape (height, width) or (channels, height, width), and these are rows of columns"
        if space.shared is None:
            return "it models images whose pixels are all of one kind, and these differ"
        return super().limits(space, context)
