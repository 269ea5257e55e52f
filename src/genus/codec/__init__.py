"""Codecs between the data that a person has (a frame, an array, text or sound) and tensors of a space.

`columns` encodes tables, arrays and images, `sequences` data in an order, with `text` and `sound`; `frames` converts to Arrow.
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
    """Encodes data (a frame, an array, text or sound) as tensors of a space, and decodes tensors to what was read.

    Args:
        space: of x.
        form: the form of what `decode` returns: a frame, an array, images, text or sound; None: tensors as they are.

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
        """Return data as x; each sequence that ends gets an end.

        Args:
            source: a frame, array or tensor of the space's columns; strings, waveforms or arrays where x is a sequence.
            allow_missing: x is NaN where a column without a missing value lacks a value; `impute` and `log_marginal` of a
                model take such rows.
            beyond: x is infinite where a lattice has no place for a number; no model takes such rows.

        Returns:
            (N, *shape) in data units.

        Raises:
            DataError: other columns, another shape, an unseen level, a value off the lattice or out of bounds.
        """
        if self.space.sequence:
            return sequences.encode(self.space, self.form, source)
        return columns.encode(self.space, self.form, source, allow_missing, beyond)

    def encode_prefix(self, start: Any) -> Tensor:
        """Return the beginning of a sequence as x_1 ... x_m, (m,); no end follows.

        Args:
            start: a string, a waveform or an array (m,).

        >>> from genus.space import Category
        >>> Codec(Space(Category(("a", "b", None)), shape=(4,), sequence=True)).encode_prefix(["b", "a"])
        tensor([1., 0.])

        Raises:
            DataError: a symbol that the space lacks; the message says where.
        """
        return sequences.encode_prefix(self.space, self.form, start)

    def decode(self, x: Tensor) -> Any:
        """Return x (N, *shape) in the form of the data that were read, with their column names and dtypes."""
        if self.space.sequence:
            return sequences.decode(self.space, self.form, x)
        return columns.decode(self.space, self.form, x)

    @property
    def is_text(self) -> bool:
        """Return whether the data are text."""
        return self.form is not None and self.form.container == "text"

    @property
    def is_sound(self) -> bool:
        """Return whether the data are sound."""
        return self.form is not None and self.form.container == "audio"

    def column_type(self, i: int) -> pa.DataType | None:
        """Return Arrow's type of the column that coordinate i was read from; None where the data had no columns."""
        return self.form.column_type(i) if self.form is not None else None

    def time(self, i: int) -> pa.DataType | None:
        """Return Arrow's type of the column that coordinate i was read from, where it is a type of time; else None."""
        column_type = self.column_type(i) if isinstance(self.space.kinds[i], Lattice) else None
        return column_type if column_type is not None and pa.types.is_temporal(column_type) else None

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
