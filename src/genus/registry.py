"""Families by name, and models built on a space."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import entry_points
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints, overload

import torch

import genus.models  # noqa: F401 - importing them registers them
from genus.errors import DataError, GenusError, near
from genus.ladder import (
    ApproximateDensity,
    Composed,
    Counted,
    GenerativeModel,
    Learned,
    TractableDensity,
    isolated,
    registered_families,
    registered_family,
)
from genus.models.dequantised import Dequantised
from genus.nets.room import afford, built, is_wide, shrunk
from genus.space import Lattice, Space

__all__ = ["build", "families", "family", "hyper_of", "hyper_parameters", "hyper_type", "refusal", "suggested"]

PLUGINS = "genus.families"

# For type checkers: models of the first have an exact density on any space that they take, of the second perhaps a bound.
Exact = Literal[
    "naive-bayes", "mixture", "markov", "gpt", "made", "trees", "gaussian-copula", "stack", "chow-liu", "hclt", "pixelcnn",
    "rnn", "wavenet", "blend",
]  # fmt: skip
Bounded = Literal["nice", "real-nvp", "maf", "iaf", "nsf", "glow", "autoencoder", "vae", "iwae", "vq-vae"]
M = TypeVar("M", bound=GenerativeModel)


@cache
def _installed() -> None:
    """Import the families of other packages, by their entry points in the group `PLUGINS`, once."""
    for point in entry_points(group=PLUGINS):
        try:
            point.load()
        except Exception as error:  # somebody else's package must not take the others with it
            warnings.warn(f"The family {point.name!r} of {point.value} could not be imported: {error}", stacklevel=3)


def families() -> dict[str, type[GenerativeModel]]:
    """Return every family that can be built by its name; `family` also finds those that only serve within other models.

    A family of your own is among them once the module that defines it is imported. An installed package names an entry point
    for each of its families in the group "genus.families", and has them imported.

    Returns:
        The classes by name.
    """
    _installed()
    return {name: cls for name, cls in registered_families().items() if cls.info.listed}


@overload
def family(name: Exact) -> type[TractableDensity]: ...
@overload
def family(name: Bounded) -> type[ApproximateDensity]: ...
@overload
def family(name: str) -> type[GenerativeModel]: ...
@overload
def family(name: type[M]) -> type[M]: ...
def family(name: str | type[GenerativeModel]) -> type[GenerativeModel]:
    """Return the family with this name; a family itself is returned as it is.

    Raises:
        GenusError: there is no family with this name.

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
    """Return a family's hyper-parameters with their defaults, and for a continuous family the noise of `Dequantised`.

    >>> hyper_parameters(family("maf"))
    {'transforms': 5, 'hidden': (128, 128), 'dropout': 0.0, 'base': 'normal', 'context_net': (), 'noise': 'uniform'}
    """
    wrapped = cls is not Dequantised and not cls.accepts(WHOLE) and Dequantised.refusal_of(cls, WHOLE) is None
    return _arguments(cls) | ({"noise": _arguments(Dequantised)["noise"]} if wrapped else {})


def _arguments(cls: type[GenerativeModel]) -> dict[str, Any]:
    """Return the constructor's arguments with a default, the context aside."""
    parameters = inspect.signature(cls.__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty and p.name != "context"}


def hyper_type(cls: type[GenerativeModel], name: str) -> tuple[type, bool]:
    """Return the type of a hyper-parameter, and whether its value is a sequence of this type: of its default, else annotated.

    >>> hyper_type(family("maf"), "hidden"), hyper_type(family("made"), "order"), hyper_type(family("gpt"), "window")
    ((<class 'int'>, True), (<class 'int'>, True), (<class 'int'>, False))
    """
    default = hyper_parameters(cls)[name]
    if isinstance(default, list | tuple) and default:
        return type(default[0]), True
    if default is not None and not isinstance(default, list | tuple):
        return type(default), False
    annotation = get_type_hints(cls.__init__)[name]
    for option in get_args(annotation) if isinstance(annotation, UnionType) else (annotation,):
        if option in (bool, int, float, str):
            return option, False
        if get_origin(option) is Sequence and get_args(option)[0] in (bool, int, float, str):
            return get_args(option)[0], True
    return str, False


def suggested(cls: type[GenerativeModel], space: Space, rows: int) -> dict[str, Any]:
    """Return a family's `default_hyperparameters`, without those that it inherited and its constructor does not take.

    A net that would have more than 67 million parameters loses its direct map, then half its width, until it has not.

    Args:
        cls: the family.
        space: of x.
        rows: the number of training rows.
    """
    if refusal(cls, space) is not None:  # what suits a space that it does not take need not be known
        return {}
    names = hyper_parameters(cls)
    chosen = {name: value for name, value in cls.default_hyperparameters(space, rows).items() if name in names}
    if is_wide(space) and not issubclass(cls, Counted | Learned | Composed):
        whole = (_arguments(cls) if cls.accepts(space) else names) | chosen  # without noise where there are no lattices
        smaller = shrunk(lambda hyper: build(cls, space, None, 0, **hyper), whole)
        chosen |= {name: value for name, value in smaller.items() if value != whole[name]}
    return chosen


def refusal(name: str | type[GenerativeModel], space: Space, context: Space | None = None) -> str | None:
    """Return why a family cannot model a space, not even with noise on its lattices; None where it can.

    Args:
        name: the family, or its name.
        space: of x.
        context: of c, or None.
    """
    cls = family(name)
    return None if cls.accepts(space, context) else Dequantised.refusal_of(cls, space, context)


@overload
def build(
    name: Exact, space: Space, context: Space | None = None, seed: int | None = None, **hyper: Any
) -> TractableDensity: ...
@overload
def build(
    name: Bounded, space: Space, context: Space | None = None, seed: int | None = None, **hyper: Any
) -> ApproximateDensity: ...
@overload
def build(
    name: str | type[GenerativeModel], space: Space, context: Space | None = None, seed: int | None = None, **hyper: Any
) -> GenerativeModel: ...
def build(
    name: str | type[GenerativeModel], space: Space, context: Space | None = None, seed: int | None = None, **hyper: Any
) -> GenerativeModel:
    """Build a model of a family on a space; a continuous family on lattices is wrapped in `Dequantised`.

    Args:
        name: the family, or its name.
        space: of x.
        context: the space of c; None for a model without context.
        seed: of the initial weights, so that another process builds the same; None: torch's global random numbers.
        hyper: hyper-parameters by name; `hyper_parameters` lists them.

    Returns:
        The model, not trained yet.

    Raises:
        GenusError: an unknown family or hyper-parameter, or a model that is too large for the memory there is.
        DataError: the family cannot model the space.

    >>> from genus import Lattice
    >>> build("maf", Space(Lattice(0, 16), shape=(8, 8)), transforms=2).name
    'dequantised'
    """
    cls = family(name)
    names = hyper_parameters(cls)
    for key in hyper:
        if key not in names and cls is not Dequantised:
            raise GenusError(
                f"{cls.name} has no hyper-parameter {key!r}{near(key, names)}; it has {', '.join(names) or 'none'}."
            )
    if reason := refusal(cls, space, context):
        raise DataError(f"{cls.__name__} cannot model this: {reason}")
    if not cls.accepts(space, context):
        return _built(cls, seed, lambda: Dequantised(space, context, family=cls.name, **hyper))
    if "noise" in hyper and "noise" not in _arguments(cls):
        raise GenusError(f"noise={hyper['noise']!r} is for whole numbers, and there are none here; leave it out.")
    return _built(cls, seed, lambda: cls(space, context, **hyper))


def hyper_of(model: GenerativeModel) -> dict[str, Any]:
    """Return the hyper-parameters by which `build` makes such a model of its family.

    >>> hyper_of(build("maf", Space([Lattice(0, 300), Lattice(0, 300)]), transforms=2, hidden=[8]))["transforms"]
    2
    """
    named = isinstance(model, Dequantised)  # which has the family beside them
    return {name: value for name, value in model.config.items() if not (named and name == "family")}


def _built(cls: type[GenerativeModel], seed: int | None, make: Callable[[], GenerativeModel]) -> GenerativeModel:
    """Return the model that a function makes, from a seed; raise GenusError where training it would not fit the memory."""
    before = torch.get_rng_state()
    with isolated(seed):
        model, numbers = built(make)
    if model is not None:
        return model
    afford(cls.name, numbers)
    if seed is None:
        torch.set_rng_state(before)  # what was counted drew some of the numbers that the model is for
    with isolated(seed):
        return make()
