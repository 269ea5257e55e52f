"""Conditions on columns as they are written at the command line."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genus.cli.errors import UsageError
from genus.cli.inputs import codec_of, coordinate, values_by_column

if TYPE_CHECKING:
    from genus.codec import Codec
    from genus.ladder import GenerativeModel
    from genus.ladder.conditions import Conditions

__all__ = ["parse_conditions"]


def parse_conditions(model: GenerativeModel, words: Sequence[str]) -> Conditions:
    """Return ["income=>50K", "age=30..40", "city in (Rome, Oslo)"] as conditions on a model's columns.

    Raises:
        UsageError: a word names no column, or a value that its column cannot have.
    """
    import torch

    from genus.ladder.conditions import Conditions, checked_range
    from genus.space import Category, Time

    if not model.space.is_table:
        raise UsageError("--where names columns of a table, and this model has none; leave it out")
    codec, found = codec_of(model), Conditions({}, {}, {}, {})
    names = [*(model.space.names or ()), *filter(codec.replaced, codec.names)]

    def refuse(word: str) -> str:
        return f"--where {word!r} names no column; expected COLUMN=VALUE with one of {', '.join(names)}"

    for word in words:
        several = re.fullmatch(r"\s*(.+?)\s+in\s+\((.*)\)\s*", word, re.DOTALL)
        pairs = {several[1]: several[2]} if several and several[1] in names else values_by_column([word], names, refuse)
        ((name, text),) = pairs.items()
        if codec.replaced(name):
            found.add_replaced(codec, name, _written(codec, name, text, several is not None and several[1] == name))
            continue
        i = names.index(name)
        column, kind, what = codec.select([i]), model.space.kinds[i], f"column {name!r}"
        span = None if isinstance(kind, Category) else re.fullmatch(r"(.*?)\.\.(.*)", text)
        if several and several[1] == name:
            found.sets[i] = torch.tensor([coordinate(column, part.strip(), what) for part in text.split(",")])
        elif span:
            ends = [part.strip() for part in span.groups()]
            try:
                low, high = (
                    (-math.inf, math.inf)[k]
                    if not end
                    else coordinate(column, end, what)
                    if isinstance(kind, Time)
                    else float(end)
                    for k, end in enumerate(ends)
                )
            except ValueError:
                raise UsageError(
                    f"--where {word!r} is not understood; expected a range of numbers such as {name}=30..40"
                ) from None
            found.ranges[i] = checked_range(model.space, i, low, high)
        else:
            found.fixed[i] = coordinate(column, text.strip(), what)
    return found


def _written(codec: Codec, name: str, text: str, several: bool) -> Any:
    """Return the condition on a column that a relation replaced as `Conditions.of` takes it, of texts."""
    import pyarrow as pa

    if several:
        return [part.strip() for part in text.split(",")]
    span = None if pa.types.is_string(codec.type_of(name)) else re.fullmatch(r"(.*?)\.\.(.*)", text)
    return tuple(end.strip() or None for end in span.groups()) if span else text.strip()
