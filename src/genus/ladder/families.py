"""Families found by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genus.configurable import classes, from_json
from genus.errors import GenusError, near
from genus.ladder.base import GenerativeModel
from genus.space import Space

__all__ = ["build_family", "registered_families", "registered_family"]


def registered_families() -> dict[str, type[GenerativeModel]]:
    """Return every family that has been defined, by name."""
    return {name: cls for name, cls in classes.items() if issubclass(cls, GenerativeModel)}


def registered_family(name: str) -> type[GenerativeModel]:
    """Return the family of that name.

    Raises:
        GenusError: it does not exist.
    """
    cls = classes.get(name) if isinstance(name, str) else None
    if cls is None or not issubclass(cls, GenerativeModel):
        raise GenusError(
            f"There is no family {name!r}{near(name, registered_families())}; there are {', '.join(registered_families())}."
        )
    return cls


def build_family(family: str | Mapping[str, Any], space: Space, context: Space | None = None) -> GenerativeModel:
    """Make a model on a space that its owner knows: a prior, a base, the model of a file.

    Args:
        family: its name, or its name and hyper-parameters as `to_json` gives them, {"class": "maf", "transforms": 3}.

    Raises:
        GenusError: there is no such family.
    """
    described = {"class": family} if isinstance(family, str) else dict(family)
    registered_family(described.get("class", ""))
    return from_json(described, space=space, context=context)
