"""The units in which people compare densities: bits a character, a pixel or a sample of sound, and nats of a whole datum."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from genus.codec import Codec
from genus.space import Category, Space

__all__ = ["Unit", "element", "spans"]

NATS = math.log(2)  # in a bit


@dataclass(frozen=True)
class Unit:
    """Hold what log-densities of a kind of data are compared in: bits of an element, and nats of a datum.

    Attributes:
        noun: of an element, see `element`.
        whole: of a datum, with its article: "a row", "an image", "a sequence", "a block".
        elements: how many elements a datum has, on average.

    >>> unit = Unit.of(Codec(Space(Category(("a", "b")), shape=(64,), sequence=True)))
    >>> unit.text(-64 * math.log(2))
    '1.0000 bits a character (0.6931 nats), -44.3614 nats a block'
    """

    noun: str
    whole: str
    elements: float

    @classmethod
    def of(cls, codec: Codec, x: Tensor | None = None) -> Unit:
        """Return the unit of data.

        Args:
            codec: of the data.
            x: some of them, (B, *shape), by which the elements of sequences that end are counted; None: they have all.
        """
        space = codec.space
        counted = space.sequence and x is not None and len(x)
        elements = spans(space, x).double().mean().item() if counted and x is not None else float(space.dim)
        if space.sequence:
            whole = "a sequence" if space.ends else "a block"
        else:
            whole = "a row" if space.is_table else "an image" if len(space.shape) > 1 else "a row"
        return cls(element(codec), whole, elements)

    @property
    def is_shown(self) -> bool:
        """Return whether people compare elements: those of sequences and images, and not the columns of a table."""
        return self.whole != "a row"

    @property
    def name(self) -> str:
        """Return the unit in which losses are shown."""
        return f"bits a {self.noun}" if self.is_shown else f"nats {self.whole}"

    @property
    def scale(self) -> float:
        """Return by what nats of a datum are multiplied to be in the unit `name`."""
        return 1 / (self.elements * NATS) if self.is_shown else 1.0

    def bits(self, log_density: float) -> float:
        """Return the bits of an element, of the log-density of a datum in nats."""
        return -log_density / (self.elements * NATS)

    def text(self, log_density: float, error: str = "") -> str:
        """Return the mean log-density of data in words.

        Args:
            log_density: in nats a datum.
            error: what is said of its error, right behind the nats of a datum.
        """
        whole = f"{log_density:.4f}{error} nats {self.whole}"
        if not self.is_shown:
            return whole
        bits = self.bits(log_density)
        return f"{bits:.4f} bits a {self.noun} ({bits * NATS:.4f} nats), {whole}"


def element(codec: Codec) -> str:
    """Return the noun for one element of a sequence or an image; "dimension" for the columns of a table.

    >>> element(Codec(Space(Category(("a", "b", None)), shape=(8,), sequence=True)))
    'character'
    >>> element(Codec(Space(Category(("a", "b")), shape=(8, 8))))
    'pixel'
    """
    space, form = codec.space, codec.form
    kind = space.kinds[0]
    if not space.sequence:
        return "pixel" if len(space.shape) == 2 or (len(space.shape) == 3 and space.shape[0] == 1) else "dimension"
    if space.channels:
        return "value"
    if not isinstance(kind, Category):
        return "sample" if codec.is_sound else "step"
    if form is not None and form.container == "text":
        return {"characters": "character", "bytes": "byte"}.get(form.coding, "token")
    single = all(level is None or (isinstance(level, str) and len(level) == 1) for level in kind.levels)
    return "character" if single else "symbol"


def spans(space: Space, x: Tensor) -> Tensor:
    """Return the number of symbols of each sequence of x (B, T), (B,), the end included.

    >>> import torch

    >>> word = Space(Category(("a", None)), shape=(3,), sequence=True)
    >>> spans(word, torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])).tolist()
    [2, 3]
    """
    return (~space.ended(x)).sum(1).mul(space.period).add(1).clamp(max=x.shape[1])
