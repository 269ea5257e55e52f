"""Conditions on columns as they are written at the command line."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from genus.cli.errors import UsageError
from genus.cli.inputs import codec_of, context_codec_of, coordinate, level_text, near_column, values_by_column
from genus.errors import listed

if TYPE_CHECKING:
    from genus.codec import Codec
    from genus.ladder import GenerativeModel
    from genus.ladder.conditions import Conditions

__all__ = ["each_level", "parse_conditions"]


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
        if re.match(r"[^=<>]*[<>]", word):  # and no level such as >50K of a misspelled column
            return (
                f"--where {word!r} compares; a range is written by its ends, COLUMN=LOW..HIGH, either of which may be left out"
            )
        meant = near_column(word, names)
        return f"--where {word!r} names no column{meant}; expected COLUMN=VALUE with one of {listed(names)}"

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


def each_level(model: GenerativeModel, words: Sequence[str], where: Sequence[str]) -> tuple[list[Asked], list[str]]:
    """Return what is asked for of each level, where one word is COLUMN=each; otherwise what is asked for, once.

    A condition on a column of the context is a context, whichever option names it.

    Args:
        model: that is drawn from.
        words: of --context.
        where: of --where.

    Returns:
        The words of both options for each level, and the levels in words; no levels where none are asked for one by one.

    Raises:
        UsageError: a column has no levels, or several are asked for so.
    """
    context, own = context_codec_of(model), codec_of(model)
    given = () if context is None else context.space.names or ()
    columns = own.space.names or ()
    moved = [word for word in where if _column(word, given) and not _column(word, columns)]
    words, where = [*words, *moved], [word for word in where if word not in moved]
    asked = [word for word in (*words, *where) if word.strip().endswith("=each")]
    if not asked:
        return [Asked(words, where)], []
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} ask for every level of several columns; name one of them so")
    name = _column(asked[0], (*given, *columns))
    levels = [] if name is None else _levels(context if name in given and context is not None else own, name)
    if not levels:
        raise UsageError(f"{asked[0]!r} asks for every level of a column, and there is no such column with levels")

    def of(level: str, all_words: Sequence[str]) -> list[str]:
        return [f"{name}={level}" if word == asked[0] else word for word in all_words]

    return [Asked(of(level, words), of(level, where)) for level in levels], levels


class Asked(NamedTuple):
    """Hold the words of --context and of --where."""

    context: Sequence[str]
    where: Sequence[str]


def _column(word: str, names: Sequence[str]) -> str | None:
    """Return the name that a condition begins with, the longest that fits; None without one."""
    fitting = [name for name in names if word.strip().startswith((f"{name.strip()}=", f"{name.strip()} in "))]
    return max(fitting, key=len, default=None)


def _levels(codec: Codec, name: str) -> list[str]:
    """Return the levels of a column as they are written at the command line, without missing; none of another column."""
    from genus.space import Category

    kind = codec.space.kinds[codec.space.index(name)]
    return [level_text(level) for level in kind.levels if level is not None] if isinstance(kind, Category) else []
