"""WaveNet: dilated causal convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from genus.errors import GenusError
from genus.ladder import Size
from genus.models.autoregressive import Autoregressive
from genus.nets.dilated import DilatedMemory
from genus.nets.tokens import NARROW, SeriesOutputs, SeriesTokens, SharedOutputs, SharedTokens
from genus.space import Space

__all__ = ["WaveNet"]

STEP = 2**14  # positions in a step of training, about; long sequences are few
OUTPUTS = {"softmax": NARROW, "mixture": 1}  # the widest lattice whose values have a probability each


class WaveNet(Autoregressive, name="wavenet"):
    """Model p(x_t | x_1 ... x_{t-1}) by gated convolutions of dilations 1, 2, 4, ... (van den Oord et al. 2016,
    arXiv:1609.03499).

    The past that is seen doubles with every layer, and sampling costs the same for every position: a layer remembers what it
    saw in a queue.

    Args:
        width: the number of channels of every layer.
        layers: the number of layers of a stack; the last looks 2^(layers - 1) positions back.
        stacks: the number of stacks on top of one another.
        dropout: the share of every gate's outputs that are dropped in training.
        output: for whole numbers "softmax", a probability for each of up to 256 values, as for mu-law sound; or "mixture", of
            discretised logistics, for which near values are alike. Real numbers always get a mixture, of normals; symbols
            always a softmax.
        components: the number of components of a mixture; 1 with real numbers is a single Gaussian.
        frame: the number of positions that share learned features of where they are, by which the context says what comes when:
            for recordings that begin alike, as words do. 0, for none, suits text and other windows that begin anywhere.

    >>> from genus import Lattice, Space
    >>> sound = Space(Lattice(0, 255), shape=(100,), sequence=True)
    >>> model = WaveNet(sound, width=8, layers=3)
    >>> model.sample(2, seed=0).shape
    torch.Size([2, 100])
    """

    info = Autoregressive.info.replace(
        title="dilated causal convolutions",
        group="chain rule",
        takes="text, sound and other sequences",
        formula="p(x) = ∏ₜ p(xₜ | xₜ₋ᵣ … xₜ₋₁), by dilated convolutions over r steps",
        good="sound and long series of numbers",
        bad="drawing, which goes step by step; a distilled student is faster",
    )
    fit_defaults = MappingProxyType({"learning_rate": 6e-3, "ema_decay": 0.99, "precision": "bf16-mixed"})

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        width: int = 128,
        layers: int = 10,
        stacks: int = 1,
        dropout: float = 0.0,
        output: str = "softmax",
        components: int = 10,
        frame: int = 0,
    ) -> None:
        if output not in OUTPUTS:
            raise GenusError(f"There is no output {output!r}; there are {' and '.join(OUTPUTS)}.")
        if min(width, layers, stacks) < 1:
            raise GenusError(f"width, layers and stacks must be 1 or more; got {width}, {layers} and {stacks}.")
        if frame < 0:
            raise GenusError(f"frame must be a number of positions, or 0 for none; got {frame}.")
        super().__init__(space, context)
        several = space.period > 1
        self.tokens = (SeriesTokens if several else SharedTokens)(space, width, size=1.0)
        self.outputs = (SeriesOutputs if several else SharedOutputs)(space, width, components, OUTPUTS[output])
        self.position_embedding = None
        self.net = DilatedMemory(width, layers, stacks, dropout, self.context_dim, frame, space.dim)
        if space.dim > 256:
            self.fit_defaults = {**self.fit_defaults, "batch_size": max(1, STEP // space.dim)}  # type: ignore[misc, assignment]

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        if not space.sequence:
            return "it models sequences in time, and these are rows of columns or pixels"
        return super().limits(space, context)

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        """Return a net that looks back by the length of sequences, up to 1,024 positions; narrower for long sequences."""
        return {"layers": min(max(2, math.ceil(math.log2(space.dim + 1))), 10), "width": 128 if space.dim <= 512 else 64}

    @classmethod
    def sizes(cls, space: Space, rows: int) -> Sequence[Size]:
        """Return a growing width, then larger batches: of long sequences, in a short time, many small steps are worth most."""
        if rows * space.dim < 500_000:
            return ()
        default, batch = cls.default_hyperparameters(space, rows), max(1, 2048 // space.dim)
        return [
            *(Size({"width": width}, steps, batch) for width, steps in ((16, 0), (32, 400), (64, 1000))),
            Size(default, 3000),
        ]
