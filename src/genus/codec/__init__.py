"""What a person has, in and out: a frame, an array, text or sound <-> tensors of a space.

`columns` does tables, arrays and images, `sequences` what has an order, with `text` and `sound`; `frames` is the way to Arrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from torch import Tensor

from genus.codec import columns, sequences
from genus.codec.frames import Form
from genus.space import Lattice, Space

__all__ = ["Codec"]


@dataclass(frozen=True)
class Codec:
    """Turns data as a person has them into tensors of a space, and tensors back into the kind of thing that was read.

    Args:
        space: of x.
        form: what `decode` gives back: a kind of frame, an array, images, text or sound; None gives tensors as they are.

    >>> from genus.space import Category
    >>> codec = Codec(Space([Category(("no", "yes"))], names=["smokes"]))
    >>> codec.encode({"smokes": ["yes", "no"]}).tolist()
    [[1.0], [0.0]]
    """

    space: Space
    form: Form | None = None

    def __str__(self) -> str:
        if not self.space.is_table:
            return str(self.space)
        return self.space.lines(lambda i: columns.within(self.space.kinds[i], self.time(i)).removeprefix("values in "))

    def encode(self, source: Any, allow_missing: bool = False, beyond: bool = False) -> Tensor:
        """Return x (N, *shape) of a frame, array or tensor of the space's columns; sequences that end get an end each.

        Args:
            allow_missing: a column may lack values although it has no missing value: there x is NaN, as `impute` and
                `log_marginal` of a model take it.
            beyond: a lattice has no place for some numbers: there x is infinite, which no model takes.

        Raises:
            DataError: other columns, another shape, an unseen level, a value off the lattice or out of bounds.
        """
        if self.space.sequence:
            return sequences.encode(self.space, self.form, source)
        return columns.encode(self.space, self.form, source, allow_missing, beyond)

    def encode_prefix(self, start: Any) -> Tensor:
        """Return x_1 ... x_m, (m,), of what a sequence begins with: a string, a waveform or an array (m,); no end follows.

        >>> from genus.space import Category
        >>> Codec(Space(Category(("a", "b", None)), shape=(4,), sequence=True)).encode_prefix(["b", "a"])
        tensor([1., 0.])

        Raises:
            DataError: a symbol that the space does not know, named with its place.
        """
        return sequences.encode_prefix(self.space, self.form, start)

    def decode(self, x: Tensor) -> Any:
        """Return x (N, *shape) as the kind of thing that was read, with its column names and dtypes."""
        if self.space.sequence:
            return sequences.decode(self.space, self.form, x)
        return columns.decode(self.space, self.form, x)

    @property
    def is_text(self) -> bool:
        return self.form is not None and self.form.container == "text"

    @property
    def is_sound(self) -> bool:
        return self.form is not None and self.form.container == "audio"

    def column_type(self, i: int) -> pa.DataType | None:
        """Return Arrow's type of the column that coordinate i was read from; None where there was no column."""
        return self.form.column_type(i) if self.form is not None else None

    def time(self, i: int) -> pa.DataType | None:
        """Return that type where it is one of time; else None."""
        known = self.column_type(i) if isinstance(self.space.kinds[i], Lattice) else None
        return known if known is not None and pa.types.is_temporal(known) else None

    def select(self, chosen: Sequence[int]) -> Codec:
        """Return the codec of some columns of a table."""
        return Codec(self.space.select(chosen), self.form.select(chosen) if self.form is not None else None)

    def to_json(self) -> dict[str, Any] | None:
        """Return the form as plain JSON values; the space has its own."""
        return self.form.to_json() if self.form is not None else None

    @classmethod
    def from_json(cls, space: Space, data: dict[str, Any] | None) -> Codec:
        """Return the codec of a space whose form `to_json` described."""
        return cls(space, Form.from_json(data) if data is not None else None)
