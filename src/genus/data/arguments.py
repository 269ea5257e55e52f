"""Hold the arguments of `read`, and find what they name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from genus.codec import Codec
from genus.codec.forms import Form
from genus.errors import DataError, listed, near
from genus.space import Kind, Space

__all__ = ["KindOverride", "Options", "context_names", "pixels_kind"]

KindOverride = str | Kind


@dataclass(frozen=True)
class Options:
    """Hold arguments of `read`, which documents them."""

    missing: tuple[Any, ...] = ()
    tokens: str | int | os.PathLike[str] | None = None
    documents: str | None = None
    length: int | None = None
    rate: int | None = None
    encoding: str | None = None
    sequence: bool | str | tuple[str, str] | None = None
    header: bool | None = None
    kinds: Mapping[str, Any] = field(default_factory=dict)  # of columns, by the caller or by the spaces passed along
    conditioned: bool = False  # the data have a context, so pieces cannot be joined
    codec: Codec | None = None  # that x is to be encoded with; None: measure the data
    beyond: bool = False  # x is infinite where the codec has no symbol for a character

    @property
    def space(self) -> Space | None:
        """Return the space of the codec; None without one."""
        return self.codec.space if self.codec is not None else None

    @property
    def form(self) -> Form | None:
        """Return the form of the codec; None without one."""
        return self.codec.form if self.codec is not None else None

    def used_arguments(self) -> list[str]:
        """Return the names of arguments that the caller set and that have a meaning for some data only."""
        names = ("tokens", "documents", "length", "rate", "encoding", "sequence", "header")
        return [name for name in names if getattr(self, name) is not None]


def pixels_kind(overrides: Mapping[str, KindOverride]) -> Kind | None:
    """Return the kind of pixels that the caller gave; None to measure it."""
    kind = overrides.get("pixels")
    if isinstance(kind, str):
        raise DataError(f"The kind of pixels is a Kind, kinds={{'pixels': genus.Lattice(0, 255)}} say; got {kind!r}.")
    return kind


def context_names(context: str | int | Sequence[str | int] | None, names: list[str]) -> list[str]:
    """Return the names of the context's columns, which the caller gave by name or position."""
    chosen = []
    for key in [] if context is None else [context] if isinstance(context, str | int) else context:
        if str(key) in names:
            chosen.append(str(key))
        elif isinstance(key, int) and -len(names) <= key < len(names):
            chosen.append(names[key])
        else:
            raise DataError(
                f"There is no column {key!r}{near(key, names)}, named in context=; the columns are {listed(names)}."
            )
    return list(dict.fromkeys(chosen))
