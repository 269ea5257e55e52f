"""Checks of the arguments of `read`, and the names among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from genus.data.sources import Source
from genus.errors import DataError
from genus.kinds import Kind

__all__ = ["KindOverride", "check_arguments", "check_names", "context_names", "pixels_kind"]

KindOverride = str | Kind


def check_names(found: Source, chosen: list[str], target: str | None, overrides: Mapping[str, KindOverride]) -> None:
    """Raise DataError for a name that no column has, or a column that is both context and target."""
    named = [*found.columns.column_names, *(["pixels"] if found.images is not None else [])]
    for name, argument in [*((n, "kinds") for n in overrides), *([(target, "target")] if target is not None else [])]:
        if name not in named:
            raise DataError(
                f"There is no column {name!r}, named in {argument}=;"
                f" the columns are {', '.join(map(str, named)) or 'not named'}."
            )
    if target in chosen:
        raise DataError(f"Column {target!r} cannot be both the context and the target; choose one.")


def pixels_kind(overrides: Mapping[str, KindOverride]) -> Kind | None:
    """Return the kind of pixels that the caller gave; None to measure it."""
    kind = overrides.get("pixels")
    if isinstance(kind, str):
        raise DataError(f"The kind of pixels is a Kind, kinds={{'pixels': genus.Lattice(0, 255)}} say; got {kind!r}.")
    return kind


def check_arguments(arguments: Sequence[str], found: Source) -> None:
    """Raise DataError for an argument that has no meaning for these data."""
    uses = found.uses | (found.sequences.uses if found.sequences is not None else frozenset())
    if odd := [name for name in arguments if name not in uses]:
        noun = "a table" if found.images is None else "images"
        noun = f"sequences of {found.sequences.unit}" if found.sequences is not None else noun
        raise DataError(f"The argument {odd[0]}= has no meaning for {found.name}, which is {noun}; leave it out.")


def context_names(context: str | int | Sequence[str | int] | None, names: list[str]) -> list[str]:
    """Return the names of the context's columns, which the caller gave by name or position."""
    chosen = []
    for key in [] if context is None else [context] if isinstance(context, str | int) else context:
        if str(key) in names:
            chosen.append(str(key))
        elif isinstance(key, int) and -len(names) <= key < len(names):
            chosen.append(names[key])
        else:
            columns = ", ".join(names) or "not named"
            raise DataError(f"There is no column {key!r}, named in context=; the columns are {columns}.")
    return list(dict.fromkeys(chosen))
