"""Check the arguments of `read` against the data that they are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from genus.data.arguments import KindOverride
from genus.data.sources import Source
from genus.errors import DataError, listed, near

__all__ = ["check_arguments", "check_names"]


def check_names(found: Source, chosen: list[str], target: str | None, overrides: Mapping[str, KindOverride]) -> None:
    """Raise DataError for a name that no column has, or a column that is both context and target."""
    named = [*found.columns.column_names, *(["pixels"] if found.images is not None else [])]
    for name, argument in [*((n, "kinds") for n in overrides), *([(target, "target")] if target is not None else [])]:
        if name not in named:
            raise DataError(
                f"There is no column {name!r}{near(name, named)}, named in {argument}=; the columns are {listed(named)}."
            )
    if target in chosen:
        raise DataError(f"Column {target!r} cannot be both the context and the target; choose one.")


def check_arguments(arguments: Sequence[str], found: Source) -> None:
    """Raise DataError for an argument that has no meaning for these data."""
    uses = found.uses | (found.sequences.uses if found.sequences is not None else frozenset())
    if odd := [name for name in arguments if name not in uses]:
        noun = "a table" if found.images is None else "images"
        noun = f"sequences of {found.sequences.unit}" if found.sequences is not None else noun
        raise DataError(f"The argument {odd[0]}= has no meaning for {found.name}, which is {noun}; leave it out.")
