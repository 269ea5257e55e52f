"""Rows of a person's table as a model sees them, and what it has no place for."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genus.codec import Codec
from genus.data import Dataset, read
from genus.errors import GenusError
from genus.ladder import GenerativeModel
from genus.space import Space

__all__ = ["odd_entries", "read_for"]


def read_for(model: GenerativeModel, source: Any, absent: bool, reading: dict[str, Any]) -> tuple[Codec, Dataset]:
    """Return the codec of a model of a table, and a table in its space: NaN where blank, infinite where it has no place.

    Args:
        model: of a table.
        source: the table, as `genus.read` takes it.
        absent: whether the table may lack columns of the model, which are then blank.
        reading: further arguments of `genus.read`.

    Raises:
        DataError: the data cannot be read.
        GenusError: the model is of no table.
    """
    if not model.space.is_table:
        raise GenusError(f"This is a model of {model.space!r}, not of a table; these questions are about columns.")
    codec, context = model.codec or Codec(model.space), model.context_codec
    if model.context is not None and context is None:
        context = Codec(model.context)
    return codec, read(source, space=(codec, context), allow_missing=True, absent=absent, beyond=True, **reading)


def odd_entries(space: Space, x: Tensor, leave_out: int | None = None) -> tuple[Tensor, dict[str, int]]:
    """Return which entries of x (N, D) the model has no place for, bool (N, D), and in words how many rows have them.

    Args:
        leave_out: a column whose values are not looked at anyway.
    """
    odd = x.isinf()
    whole = odd.all(1)
    broken = "they break a relation that held in training, or lack a value that it measures another from"
    reasons = {broken: int(whole.sum())} if bool(whole.any()) else {}
    for i, count in enumerate((odd & ~whole[:, None]).sum(0).tolist()):
        if count and i != leave_out:
            reasons[f"the model has no place for their value of {space.label(i)}, which was not looked at"] = count
    return odd, reasons
