"""Families by name."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import genus.models  # noqa: F401 - importing them registers them
from genus.errors import DataError, GenusError
from genus.ladder import GenerativeModel, isolated, registered_families, registered_family
from genus.models.dequantised import Dequantised
from genus.space import Lattice, Space

__all__ = ["build", "families", "family", "hyper_parameters", "hyper_type", "refusal", "suggested"]

PLUGINS = "genus.families"


@cache
def _installed() -> None:
    """Import the families that other packages bring, by their entry points of the group `PLUGINS`, once."""
    for point in entry_points(group=PLUGINS):
        try:
            point.load()
        except Exception as error:  # somebody else's package must not take the others with it
            warnings.warn(f"The family {point.name!r} of {point.value} could not be imported: {error}", stacklevel=3)


def families() -> dict[str, type[GenerativeModel]]:
    """Every family that can be built by its name, by name; `family` also finds those that others are put together with.

    Families of one's own are among them once the module that defines them is imported. An installed package has its families
    imported by an entry point for each, of the group "genus.families".
    """
    _installed()
    return {name: cls for name, cls in registered_families().items() if cls.info.listed}


def family(name: str | type[GenerativeModel]) -> type[GenerativeModel]:
    """Return the family of that name; a family itself is given back.

    Raises:
        GenusError: it does not exist.

    >>> family("naive-bayes").__name__
    'NaiveBayes'
    """
    if isinstance(name, type) and issubclass(name, GenerativeModel):
        return name
    if isinstance(name, str) and name not in registered_families():
        _installed()
    return registered_family(name)


WHOLE = Space(Lattice(0, 3), shape=(2, 2))  # whole numbers, of images too


def hyper_parameters(cls: type[GenerativeModel]) -> dict[str, Any]:
    """A family's hyper-parameters with their defaults; of a continuous one that of `Dequantised` too, the noise.

    >>> hyper_parameters(family("maf"))
    {'transforms': 5, 'hidden': (128, 128), 'dropout': 0.0, 'base': 'normal', 'noise': 'uniform'}
    """
    wrapped = cls is not Dequantised and not cls.accepts(WHOLE) and Dequantised.refusal_of(cls, WHOLE) is None
    return _arguments(cls) | ({"noise": _arguments(Dequantised)["noise"]} if wrapped else {})


def _arguments(cls: type[GenerativeModel]) -> dict[str, Any]:
    parameters = inspect.signature(cls.__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty and p.name != "context"}


def hyper_type(cls: type[GenerativeModel], name: str) -> tuple[type, bool]:
    """The type of a hyper-parameter's value, and whether it is a sequence of these: as the default is, else as annotated.

    >>> hyper_type(family("maf"), "hidden"), hyper_type(family("made"), "order"), hyper_type(family("gpt"), "window")
    ((<class 'int'>, True), (<class 'int'>, True), (<class 'int'>, False))
    """
    default = hyper_parameters(cls)[name]
    if isinstance(default, list | tuple) and default:
        return type(default[0]), True
    if default is not None and not isinstance(default, list | tuple):
        return type(default), False
    annotation = get_type_hints(cls.__init__)[name]
    for one in get_args(annotation) if isinstance(annotation, UnionType) else (annotation,):
        if one in (bool, int, float, str):
            return one, False
        if get_origin(one) is Sequence and get_args(one)[0] in (bool, int, float, str):
            return get_args(one)[0], True
    return str, False


def suggested(cls: type[GenerativeModel], space: Space, rows: int) -> dict[str, Any]:
    """What a family suggests for so many rows, of the hyper-parameters that it has: it may have inherited the suggestion."""
    known = hyper_parameters(cls)
    return {name: value for name, value in cls.default_hyperparameters(space, rows).items() if name in known}


def refusal(name: str | type[GenerativeModel], space: Space, context: Space | None = None) -> str | None:
    """Return why no model of this family fits a space, not even with noise on its whole numbers; None where one does."""
    cls = family(name)
    return None if cls.accepts(space, context) else Dequantised.refusal_of(cls, space, context)


def build(
    name: str | type[GenerativeModel], space: Space, context: Space | None = None, seed: int | None = None, **hyper: Any
) -> GenerativeModel:
    """A model of the named family on a space; a continuous family on integers is wrapped in `Dequantised`.

    Args:
        seed: of its first weights, so that another process builds the same; None: of torch's own random numbers.
        hyper: hyper-parameters by name; `hyper_parameters` lists them.

    Raises:
        GenusError: an unknown family or hyper-parameter.
        DataError: the family refuses the space.

    >>> from genus import Lattice
    >>> build("maf", Space(Lattice(0, 16), shape=(8, 8)), transforms=2).name
    'dequantised'
    """
    cls = family(name)
    known = hyper_parameters(cls)
    for key in hyper:
        if key not in known and cls is not Dequantised:
            raise GenusError(f"{cls.name} has no hyper-parameter {key!r}; it has {', '.join(known) or 'none'}.")
    if reason := refusal(cls, space, context):
        raise DataError(f"{cls.__name__} cannot model this: {reason}")
    if not cls.accepts(space, context):
        with isolated(seed):
            return Dequantised(space, context, family=cls.name, **hyper)
    if "noise" in hyper and "noise" not in _arguments(cls):
        raise GenusError(f"noise={hyper['noise']!r} is for whole numbers, and there are none here; leave it out.")
    with isolated(seed):
        return cls(space, context, **hyper)
