"""Parse words of the command line into values."""

from __future__ import annotations

import io
import math
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, overload

from genus.cli.errors import UsageError
from genus.errors import listed, near

if TYPE_CHECKING:
    from torch import Tensor

    from genus.codec import Codec
    from genus.data import Dataset
    from genus.ladder import GenerativeModel
    from genus.space import Space

__all__ = ["build_model", "context_values", "coordinate", "find_family", "parse_duration", "parse_hyperparameters",
           "level_text", "near_column", "prefix_values", "read_rows", "source_of", "split_names",
           "values_by_column"]  # fmt: skip


def parse_duration(text: str | None, option: str = "--budget") -> float | None:
    """Return a duration such as 2m in seconds; None where there is no text.

    >>> parse_duration("90"), parse_duration("60s"), parse_duration("2m"), parse_duration("1.5h")
    (90.0, 60.0, 120.0, 5400.0)
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([smh]?)\s*", text.lower())
    value = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if not (0 < value < math.inf):
        raise UsageError(f"{option} {text!r} is no duration; expected 60s, 2m, 1h or seconds")
    return value


def source_of(data: str) -> Any:
    """Return what `genus.read` is to read: the path or the name, or what stands on stdin where it is "-".

    Raises:
        UsageError: nothing was put on stdin.
    """
    if data != "-":
        return data
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("- reads the data from stdin, and nothing stands there; use it as in: cat table.csv | genus fit - ...")
    stream = io.BytesIO(sys.stdin.buffer.read())
    stream.name = "stdin"
    return stream


def split_names(text: str | None) -> list[str] | None:
    """Return the names of a text that has commas between them; None where there is no text.

    Raises:
        UsageError: the text holds no name, as that of a variable of the shell that is not set.
    """
    names = None if text is None else [name.strip() for name in text.split(",") if name.strip()]
    if names == []:
        raise UsageError(f"{text!r} holds no name; expected names with commas between them, such as A,B")
    return names


def find_family(name: str) -> type[GenerativeModel]:
    """Return the family of a name.

    Raises:
        UsageError: no family that can be fitted has the name.
    """
    from genus.registry import families

    known = families()
    if name not in known:
        raise UsageError(f"there is no family {name!r}{near(name, known)}; there are {', '.join(known)}")
    return known[name]


def build_model(
    cls: type[GenerativeModel], space: Space, context: Space | None, hyper: dict[str, Any], chosen: dict[str, Any], seed: int
) -> GenerativeModel:
    """Return a model of a family with these hyper-parameters, of which a person has `chosen` some.

    Raises:
        DataError: the family refuses the space.
        GenusError: the family cannot be built with the chosen values.
    """
    from genus.errors import GenusError
    from genus.registry import build

    try:
        return build(cls, space, context, seed, **hyper | chosen)
    except (ArithmeticError, IndexError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, GenusError) or not chosen:
            raise
        shown = ", ".join(f"{key}={value}" for key, value in chosen.items())
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GenusError(f"Cannot build {cls.name} with {shown}: {reason}; choose other values.") from error


# -- hyper-parameters -----------------------------------------------------------------------------------------------------


def parse_hyperparameters(cls: type[GenerativeModel], words: Sequence[str]) -> dict[str, Any]:
    """Return ["hidden=64,64"] as {"hidden": [64, 64]}, each value of the type that the family asks for.

    Raises:
        UsageError: the family has no such hyper-parameter, or it takes no such value.
    """
    from genus.registry import hyper_parameters

    defaults, values = hyper_parameters(cls), {}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name not in defaults:
            shown = ", ".join(f"{key}={_shown(value)}" for key, value in defaults.items())
            problem = (
                f"{cls.name} has no hyper-parameter {name!r}{near(name, defaults)}"
                if equals
                else f"--set {word!r} is not understood"
            )
            raise UsageError(f"{problem}; expected NAME=VALUE with one of {shown or 'none'}")
        values[name] = _value(cls, name, text.strip(), defaults[name])
    return values


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value).lower()


def _value(cls: type[GenerativeModel], name: str, text: str, default: Any) -> Any:
    from genus.registry import hyper_type

    if default is None and text.lower() == "none":
        return None
    kind, many = hyper_type(cls, name)
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    try:
        values = [words[part.lower()] if kind is bool else kind(part) for part in (text.split(",") if many else [text])]
    except (KeyError, ValueError):
        what = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, kind.__name__)
        what = f"{what.removeprefix('a ')}s with commas between them" if many else what
        such = "" if default is None else f", such as {_shown(default)}"
        raise UsageError(f"{name}={text} is not understood; expected {what}{such}") from None
    return values if many else values[0]


def read_rows(model: GenerativeModel, data: str, given: dict[str, Any], words: Sequence[str] | None = None) -> Dataset:
    """Return data in a model's spaces, with the context that they have, or with one for all.

    Args:
        model: whose spaces they are.
        data: as the command line names it.
        given: the arguments of `genus.read`.
        words: of --context; none: the data have the context.
    """
    from dataclasses import replace

    from genus.data import read

    given = {name: value for name, value in given.items() if value is not None}
    if words:
        rows = read(source_of(data), space=codec_of(model), allow_missing=True, **given)
        c = context_values(context_codec_of(model), words)
        return replace(rows, c=None if c is None else c.expand(len(rows.x), -1), context=model.context)
    return read(source_of(data), space=(codec_of(model), context_codec_of(model)), allow_missing=True, **given)


# -- a context ------------------------------------------------------------------------------------------------------------


def codec_of(model: GenerativeModel) -> Codec:
    """Return the codec of a model's rows; of a model that was trained on tensors, one that gives tensors."""
    from genus.codec import Codec

    return model.codec or Codec(model.space)


def context_codec_of(model: GenerativeModel) -> Codec | None:
    """Return the codec of a model's context; None for a model without one."""
    from genus.codec import Codec

    return None if model.context is None else model.context_codec or Codec(model.context)


@overload
def context_values(codec: Codec | None, words: Sequence[str]) -> Tensor | None: ...


@overload
def context_values(codec: Codec | None, words: Sequence[str], kept: bool) -> Tensor | dict[str, float] | None: ...


def context_values(codec: Codec | None, words: Sequence[str], kept: bool = False) -> Tensor | dict[str, float] | None:
    """Return ["income=>50K"] as c (1, K), the context that all samples share; None for a model without context.

    Args:
        codec: of the context.
        words: of its columns.
        kept: whether words may lack columns, since the model keeps contexts; the values by name are then returned.
    """
    import torch

    if codec is None:
        if words:
            raise UsageError("this model has no context; leave --context out")
        return None
    columns = codec.space.names or ()
    texts = values_by_column(
        words,
        columns,
        lambda word: (
            f"--context {word!r} names no column of this model's context{near_column(word, columns)}; {_context_text(codec)}"
        ),
    )
    given = {name: coordinate(codec.select([i]), texts[name], "the context") for i, name in enumerate(columns) if name in texts}
    if not (lacking := [name for name in columns if name not in texts]):
        return torch.tensor([[given[name] for name in columns]], dtype=codec.space.dtype)
    if not kept:
        raise UsageError(f"this model needs --context for {', '.join(map(repr, lacking))}; {_context_text(codec)}")
    return given


def prefix_values(codec: Codec, order: Sequence[int], words: Sequence[str]) -> Tensor:
    """Return ["age=42"] as the values (m,) of the first m columns in the model's order, with which rows are to begin."""
    import torch

    space = codec.space
    names = [(space.names or ())[i] for i in order]
    shown = listed(names)
    texts = values_by_column(
        words,
        names,
        lambda word: f"--prefix {word!r} names no column{near_column(word, names)}; expected COLUMN=VALUE, first of {shown}",
    )
    if texts.keys() != set(names[: len(texts)]):
        raise UsageError(
            f"--prefix gives {', '.join(texts)}, and this model draws its columns in the order {shown}; give the first of them"
        )
    columns = zip(order, names[: len(texts)], strict=False)
    values = [coordinate(codec.select([i]), texts[name], f"column {name!r}") for i, name in columns]
    return torch.tensor(values, dtype=space.dtype)


def values_by_column(words: Sequence[str], names: Sequence[str], unknown: Callable[[str], str]) -> dict[str, str]:
    """Return ["COLUMN=VALUE"] as {column: text of its value}; unknown(word) is the message on a word of no column."""
    texts = {}
    for word in words:
        # The longest name that fits: names may hold an equals sign themselves.
        hits = [name for name in names if word.strip().startswith(f"{name.strip()}=")]
        if not hits:
            raise UsageError(unknown(word))
        name = max(hits, key=len)
        texts[name] = word.strip()[len(name.strip()) + 1 :].strip()
    return texts


def near_column(word: str, names: Sequence[str]) -> str:
    """Return which column was perhaps meant by a word such as "ages=3"; see `genus.errors.near`."""
    return near(re.split(r"\s+in\s+\(|[=<>]", word)[0], names)


def _context_text(codec: Codec) -> str:
    from genus.codec.stamps import values_in
    from genus.space import Category

    def one(i: int, name: str) -> str:
        kind = codec.space.kinds[i]
        if not isinstance(kind, Category):
            return f"{name!r} takes {values_in(kind)}"
        return f"{name!r} is one of {listed(map(level_text, kind.levels))}"

    return "; ".join(one(i, name) for i, name in enumerate(codec.space.names or ()))


def level_text(level: Any) -> str:
    """Return a level as it is written at the command line."""
    return "missing" if level is None else str(level).lower() if isinstance(level, bool) else str(level).strip()


def coordinate(codec: Codec, text: str, what: str) -> float:
    """Return the value of one column as a coordinate: the index of a level, or a number in data units."""
    from genus.errors import DataError
    from genus.space import Category

    kind = codec.space.kinds[0]
    if isinstance(kind, Category):
        exact = [i for i, level in enumerate(kind.levels) if str(level) == text]
        alike = [i for i, level in enumerate(kind.levels) if _alike(level, text)]
        if not exact + alike:
            raise UsageError(f"{text!r} is no level of {what}{near(text, kind.levels)}; {_context_text(codec)}")
        return float((exact + alike)[0])
    try:
        return float(codec.encode(_one_row(codec, text))[0, 0])
    except (DataError, ValueError) as error:
        raise UsageError(f"{what} {text!r} does not fit: {error} ({_context_text(codec)})") from None


def _alike(level: Any, text: str) -> bool:
    if isinstance(level, int | float) and not isinstance(level, bool):
        try:
            return float(text) == float(level)
        except ValueError:
            return False
    return level_text(level).casefold() == text.casefold() or (level is None and not text)


def _one_row(codec: Codec, text: str) -> Any:
    import pyarrow as pa

    from genus.space import Time

    name = (codec.space.names or ("",))[0]
    none = text.lower() in ("", "missing", "nan")
    if isinstance(codec.space.kinds[0], Time):
        return pa.table({name: pa.array([None if none else text], pa.string())})
    return pa.table({name: pa.array([None if none else float(text)], pa.float64())})
