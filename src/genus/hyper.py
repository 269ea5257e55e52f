"""Hyper-parameters: checked, and as JSON values, so that what is trained with them can be saved."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from genus.errors import GenusError
from genus.nets.dense import check_dropout
from genus.transforms.core import describe

__all__ = ["as_json"]


def as_json(family: type, hyper: Mapping[str, Any]) -> dict[str, Any]:
    """A family's hyper-parameters as JSON values: arrays, ranges, transforms, and models by names and hyper-parameters.

    Numbers must be as the family's constructor annotates them, and those that many families have within their bounds; a family
    checks what else it wants of its own.

    Raises:
        GenusError: one is of the wrong kind, out of bounds, or cannot be described.

    >>> class Family:
    ...     def __init__(self, hidden: Sequence[int], rate: float) -> None: ...
    >>> as_json(Family, {"hidden": range(8, 10), "rate": 0.5})
    {'hidden': [8, 9], 'rate': 0.5}
    >>> as_json(Family, {"hidden": 64})
    Traceback (most recent call last):
        ...
    genus.errors.GenusError: hidden must be a list of whole numbers, [64, 64] say; got 64.
    """
    parameters, kept = inspect.signature(family.__init__).parameters, {}  # type: ignore[misc]
    for name, given in hyper.items():
        value: Any = _described(given)
        annotation = parameters[name].annotation if name in parameters else None
        if annotation in ("int", int) and type(value) is not int:
            raise GenusError(f"{name} must be a whole number; got {given!r}.")
        if annotation in ("float", float) and not isinstance(value, int | float):
            raise GenusError(f"{name} must be a number; got {given!r}.")
        several = annotation in ("Sequence[int]", Sequence[int])
        if several and not (isinstance(value, list) and all(type(one) is int for one in value)):
            raise GenusError(f"{name} must be a list of whole numbers, [64, 64] say; got {given!r}.")
        if name == "hidden" and several and min(value, default=1) < 1:
            raise GenusError(f"hidden is the width of every layer, 1 or more; got {given!r}.")
        if name == "transforms" and type(value) is int and value < 0:
            raise GenusError(f"transforms is how many there are, 0 or more; got {given!r}.")
        if name == "dropout" and isinstance(value, int | float):
            check_dropout(value)
        kept[name] = value
    return kept


def _described(value: Any) -> Any:
    """JSON values; of a model, which a family may end in, its name and its own."""
    if hasattr(value, "hyper"):
        return {"family": value.name, "hyper": value.hyper}
    return describe(value)
