"""WaveNet: dilated causal convolutions."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from genus.errors import GenusError
from genus.ladder import Size
from genus.models.autoregressive import Autoregressive
from genus.nets.dilated import DilatedMemory
from genus.nets.heads import Coordinates
from genus.nets.prediction import LinearPrediction
from genus.nets.regression import LocScale
from genus.nets.tokens import NARROW, SeriesOutputs, SeriesTokens, SharedOutputs, SharedTokens
from genus.space import Real, Space

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
        taps: the number of the newest elements from which the next is predicted linearly, in every frame by a stable filter of
            its own, measured before training and kept: 16 for speech at 8,000 samples a second. For real numbers with frames; 0
            for none.

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
        taps: int = 0,
    ) -> None:
        if output not in OUTPUTS:
            raise GenusError(f"There is no output {output!r}; there are {' and '.join(OUTPUTS)}.")
        if min(width, layers, stacks) < 1:
            raise GenusError(f"width, layers and stacks must be 1 or more; got {width}, {layers} and {stacks}.")
        if frame < 0:
            raise GenusError(f"frame must be a number of positions, or 0 for none; got {frame}.")
        number = space.period == 1 and isinstance(space.kinds[0], Real) and space.kinds[0].states == 1
        if taps < 0 or (taps and not (frame and number)):
            raise GenusError(f"taps are for sequences of real numbers with frames, or 0; got taps={taps} and frame={frame}.")
        super().__init__(space, context)
        several = space.period > 1
        self.tokens = (SeriesTokens if several else SharedTokens)(space, width, size=1.0)
        self.outputs = (SeriesOutputs if several else SharedOutputs)(space, width, components, OUTPUTS[output])
        self.position_embedding = None
        self.net = DilatedMemory(width, layers, stacks, dropout, self.context_dim, frame, space.dim)
        self.prediction = LinearPrediction(taps, space.dim, frame, self.context_dim) if taps else None
        if space.dim > 256:
            self.fit_defaults = {**self.fit_defaults, "batch_size": max(1, STEP // space.dim)}  # type: ignore[misc, assignment]

    # -- linear prediction --------------------------------------------------------------------------------------------

    def _initialise(self, x: Tensor, c: Tensor | None = None) -> None:
        super()._initialise(x, c)
        if self.prediction is not None:
            self.prediction.measure(self.space.split(x).u, self._context_features(c))

    def _unit(self, x: Tensor, c: Tensor | None) -> LocScale | None:
        """Return what linear prediction says of every element of x (B, T), (B T, 1); None without it."""
        return None if self.prediction is None else self.prediction(self.space.split(x).u, self._context_features(c))

    def _log_conditionals(self, x: Tensor, c: Tensor | None) -> Tensor:
        if self.prediction is None or isinstance(self.outputs, SeriesOutputs):
            return super()._log_conditionals(x, c)
        value = self.outputs.log_prob(self.net(self.tokens(x), self._context_features(c)), x, self._unit(x, c))
        after = self._after_end(x)
        return value if after is None else value.masked_fill(after, 0.0)

    def _distributions(self, x: Tensor, c: Tensor | None) -> Coordinates:
        h = self.net(self.tokens(x), self._context_features(c))
        return self.outputs.at(0, h.flatten(0, 1)).moved(self._unit(x, c))

    def _steps(self, n: int, c: Tensor | None, prefix: Tensor | None) -> Generator[Coordinates, Tensor, None]:
        if self.prediction is None:
            yield from super()._steps(n, c, prefix)
            return
        predict, steps = self.prediction, super()._steps(n, c, prefix)
        numbers = predict.numbers(self._context_features(c)).expand(n, -1, -1)
        i, newest = 0, numbers.new_zeros(n, predict.taps)
        if prefix is not None:
            i = prefix.shape[1]
            newest = torch.cat([newest, self._standardised(prefix)], dim=1)[:, -predict.taps :]
        found = next(steps)
        while True:
            value = yield found.moved(predict.of(newest, predict.frames.at(numbers, i)))
            newest = torch.cat([newest[:, 1:], self._standardised(value)], dim=1)
            found = steps.send(value)
            i += 1

    def _standardised(self, x: Tensor) -> Tensor:
        """Return elements x (B, m) standardised, (B, m)."""
        return self.space.element.split(x.reshape(-1, 1)).u.view(x.shape)

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
