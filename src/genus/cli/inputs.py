"""What the commands read: options that several of them share, and words that become values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genus.cli.errors import Misuse

if TYPE_CHECKING:
    from torch import Tensor

    from genus.data import Dataset
    from genus.model import GenerativeModel
    from genus.space import Space

__all__ = ["Context", "Data", "Documents", "Encoding", "Header", "Json", "Kinds", "Length", "Missing", "Order", "Quiet",
           "Rate", "Tokens", "built", "family", "first_columns", "given", "hyper", "in_order", "markers", "names", "read",
           "seconds"]  # fmt: skip

Data = Annotated[
    str, typer.Argument(metavar="DATA", help="A file, a folder of images, texts or recordings, or the name of an embedded set.")
]
Context = Annotated[
    list[str] | None,
    typer.Option("--context", metavar="COLUMN", help="A column to condition on; may be repeated. Of folders: label."),
]
Kinds = Annotated[
    list[str] | None,
    typer.Option("--kind", metavar="COLUMN=KIND", help="Take a column as real, lattice or category; may be repeated."),
]
Missing = Annotated[
    list[str] | None,
    typer.Option("--missing", metavar="TEXT", help="A value that means missing, beside the usual ones; may be repeated."),
]
Header = Annotated[
    bool | None,
    typer.Option("--header/--no-header", help="Whether the first line names the columns; by default decided by its looks."),
]
Tokens = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT",
        help="The symbols of text: characters, bytes, the file of a tokenizer in JSON, or how many tokens to train one with.",
    ),
]
Documents = Annotated[
    str | None,
    typer.Option(metavar="WHAT", help="What a text or a sound is: one, lines, files, or auto, which looks at them."),
]
Length = Annotated[
    int | None, typer.Option(metavar="N", help="Of blocks of text or sound; of those that end, the greatest there may be.")
]
Rate = Annotated[int | None, typer.Option(metavar="N", help="Samples a second that sound is brought to.")]
Encoding = Annotated[str | None, typer.Option(metavar="NAME", help="Of sound: mu-law, linear, linear-8, real.")]
Order = Annotated[
    str | None,
    typer.Option("--sequence", metavar="COLUMN", help="The column that is one, in the order of its rows; rows: each row is."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read, and nothing else, on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]


def seconds(text: str | None, option: str = "--budget") -> float | None:
    """A duration in words.

    >>> seconds("90"), seconds("60s"), seconds("2m"), seconds("1.5h")
    (90.0, 60.0, 120.0, 5400.0)
    """
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([smh]?)\s*", text.lower())
    value = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0
    if not (0 < value < math.inf):
        raise Misuse(f"{option} {text!r} is no duration; expected 60s, 2m, 1h or seconds")
    return value


def names(text: str | None) -> list[str] | None:
    """Names with commas between them."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def read(
    source: str,
    context: Sequence[str] | None = None,
    target: str | None = None,
    kinds: Sequence[str] | None = None,
    missing: Sequence[str] | None = None,
    *,
    tokens: str | None = None,
    documents: str | None = None,
    length: int | None = None,
    rate: int | None = None,
    encoding: str | None = None,
    sequence: str | None = None,
    header: bool | None = None,
) -> Dataset:
    """`genus.read` with the words of the command line."""
    from genus.data import read

    wishes = {}
    for wish in kinds or ():
        name, _, kind = wish.rpartition("=")
        if not name or kind.strip().lower() not in ("real", "lattice", "category"):
            raise Misuse(f"--kind {wish!r} is not understood; expected COLUMN=real, =lattice or =category")
        wishes[name.strip()] = kind.strip().lower()
    return read(
        source,
        context=list(context or ()) or None,
        target=target,
        kinds=wishes,
        missing=markers(missing),
        tokens=int(tokens) if tokens is not None and tokens.isdecimal() else tokens,
        documents=documents,
        length=length,
        rate=rate,
        encoding=encoding,
        sequence=in_order(sequence),
        header=header,
    )


def in_order(sequence: str | None) -> str | bool | None:
    """The word for a column, or for every row."""
    return True if sequence == "rows" else sequence


def markers(texts: Sequence[str] | None) -> list[str | float]:
    """Each marker as text, and as a number where it is one: columns of both types are searched."""
    out: list[str | float] = list(texts or ())
    for text in texts or ():
        try:
            out.append(float(text))
        except ValueError:
            continue
    return out


def family(name: str) -> type[GenerativeModel]:
    """The family of that name."""
    from genus.registry import families

    known = families()
    if name not in known:
        raise Misuse(f"there is no family {name!r}; there are {', '.join(known)}")
    return known[name]


def built(
    cls: type[GenerativeModel], space: Space, context: Space | None, rows: int, wanted: dict[str, Any], seed: int
) -> GenerativeModel:
    """A model of that family, as `default_hyperparameters` makes it for so many rows, but for the values that are wanted.

    Raises:
        DataError: the family refuses the space.
        GenusError: it cannot be built with these values.
    """
    from genus.errors import GenusError
    from genus.registry import build, suggested

    try:
        return build(cls.name, space, context, seed, **suggested(cls, space, rows) | wanted)
    except (ArithmeticError, IndexError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, GenusError) or not wanted:
            raise
        shown = ", ".join(f"{key}={value}" for key, value in wanted.items())
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise GenusError(f"Cannot build {cls.name} with {shown}: {reason}; choose other values.") from error


# -- hyper-parameters -----------------------------------------------------------------------------------------------------


def hyper(cls: type[GenerativeModel], words: Sequence[str]) -> dict[str, Any]:
    """["hidden=64,64"] -> {"hidden": [64, 64]}, each value of the type that the family asks for."""
    from genus.registry import hyper_parameters

    defaults, out = hyper_parameters(cls), {}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name not in defaults:
            shown = ", ".join(f"{key}={_shown(value)}" for key, value in defaults.items())
            problem = f"{cls.name} has no hyper-parameter {name!r}" if equals else f"--set {word!r} is not understood"
            raise Misuse(f"{problem}; expected NAME=VALUE with one of {shown or 'none'}")
        out[name] = _value(cls, name, text.strip(), defaults[name])
    return out


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
        raise Misuse(f"{name}={text} is not understood; expected {what}{such}") from None
    return values if many else values[0]


# -- a context ------------------------------------------------------------------------------------------------------------


def given(context: Space | None, words: Sequence[str]) -> Tensor | None:
    """["income=>50K"] -> c (1, K): the one context that all samples share; None for a model without context."""
    import torch

    if context is None:
        if words:
            raise Misuse("this model has no context; leave --context out")
        return None
    columns = context.names or ()
    texts = _by_column(
        words, columns, lambda word: f"--context {word!r} names no column of this model's context; {_context_text(context)}"
    )
    if lacking := [name for name in columns if name not in texts]:
        raise Misuse(f"this model needs --context for {', '.join(map(repr, lacking))}; {_context_text(context)}")
    values = [_coordinate(context.select([i]), texts[name], "the context") for i, name in enumerate(columns)]
    return torch.tensor([values], dtype=context.dtype)


def first_columns(space: Space, order: Sequence[int], words: Sequence[str]) -> Tensor:
    """["age=42"] -> the values (m,) of the first m columns in the model's order, which rows are to begin with."""
    import torch

    names = [(space.names or ())[i] for i in order]
    shown = ", ".join(names)
    texts = _by_column(words, names, lambda word: f"--prefix {word!r} names no column; expected COLUMN=VALUE, first of {shown}")
    if texts.keys() != set(names[: len(texts)]):
        raise Misuse(
            f"--prefix gives {', '.join(texts)}, and this model draws its columns in the order {shown}; give the first of them"
        )
    known = zip(order, names[: len(texts)], strict=False)
    values = [_coordinate(space.select([i]), texts[name], f"column {name!r}") for i, name in known]
    return torch.tensor(values, dtype=space.dtype)


def _by_column(words: Sequence[str], names: Sequence[str], unknown: Callable[[str], str]) -> dict[str, str]:
    """["COLUMN=VALUE"] -> column -> text of the value."""
    texts = {}
    for word in words:
        # The longest name that fits: names may hold an equals sign themselves.
        hits = [name for name in names if word.strip().startswith(f"{name.strip()}=")]
        if not hits:
            raise Misuse(unknown(word))
        name = max(hits, key=len)
        texts[name] = word.strip()[len(name.strip()) + 1 :].strip()
    return texts


def _context_text(space: Space) -> str:
    from genus.codec.columns import within
    from genus.space import Category

    def one(i: int, name: str) -> str:
        kind = space.kinds[i]
        if not isinstance(kind, Category):
            return f"{name!r} takes {within(kind, space.column_type(i))}"
        return f"{name!r} is one of {', '.join(_text(level) for level in kind.levels)}"

    return "; ".join(one(i, name) for i, name in enumerate(space.names or ()))


def _text(level: Any) -> str:
    return "missing" if level is None else str(level).lower() if isinstance(level, bool) else str(level).strip()


def _coordinate(space: Space, text: str, what: str) -> float:
    """The value of one column: the index of a level, or a number in data units."""
    from genus.errors import DataError
    from genus.space import Category

    kind = space.kinds[0]
    if isinstance(kind, Category):
        exact = [i for i, level in enumerate(kind.levels) if str(level) == text]
        alike = [i for i, level in enumerate(kind.levels) if _alike(level, text)]
        if not exact + alike:
            raise Misuse(f"{text!r} is no level of {what}; {_context_text(space)}")
        return float((exact + alike)[0])
    try:
        return float(space.encode(_one_row(space, text))[0, 0])
    except (DataError, ValueError) as error:
        raise Misuse(f"{what} {text!r} does not fit: {error} ({_context_text(space)})") from None


def _alike(level: Any, text: str) -> bool:
    if isinstance(level, int | float) and not isinstance(level, bool):
        try:
            return float(text) == float(level)
        except ValueError:
            return False
    return _text(level).casefold() == text.casefold() or (level is None and not text)


def _one_row(space: Space, text: str) -> Any:
    import pyarrow as pa

    name, dtype = (space.names or ("",))[0], space.column_type(0)
    if dtype is not None and pa.types.is_temporal(dtype):
        return pa.table({name: pa.array([text]).cast(dtype)})
    return pa.table({name: pa.array([None if text.lower() in ("", "missing", "nan") else float(text)], pa.float64())})
