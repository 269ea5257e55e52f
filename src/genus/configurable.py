"""Objects that keep the arguments of their constructor, so that they can be made again from a file."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from torch import nn

from genus.errors import DataError, GenusError

__all__ = ["Configurable", "as_json", "class_named", "classes", "from_json", "unregistered_reason"]

WORD = 63  # bits of a whole number among the arguments of a model

classes: dict[str, type[Configurable]] = {}  # every class that files can name, as it is defined


def same_source(first: type, second: type) -> bool:
    """Return whether two classes come from the same module, or from one file that is both a script and a module."""
    names = [cls.__module__ for cls in (first, second)]
    files = [getattr(sys.modules.get(name), "__file__", None) for name in names]
    return names[0] == names[1] or (files[0] is not None and files[0] == files[1])


class Configurable:
    """Captures the arguments of the constructor in `config`, as JSON values, defaults included.

    It is the base of models, transforms, maps, nets and critics. A subclass only names its arguments: `to_json` describes
    an object by the name of its class and its config, and `from_json` makes an equal object. Arguments are checked against
    their annotations (`int`, `float`, `Sequence[int]`); an argument that could not be written to a file is an error at once.

    Attributes:
        config: every argument of the constructor by name, as JSON values.
        name: the name by which files find the class.
        not_in_config: the names of arguments that `config` does not hold, since the code that makes the object again has
            them: a model's space, which a file describes elsewhere.

    >>> class Layer(Configurable):
    ...     def __init__(self, widths: Sequence[int], rate: float = 0.5) -> None: ...
    >>> Layer(range(8, 10)).to_json()
    {'class': 'Layer', 'widths': [8, 9], 'rate': 0.5}
    >>> from_json({"class": "Layer", "widths": [3]}).config
    {'widths': [3], 'rate': 0.5}
    >>> Layer(64)
    Traceback (most recent call last):
        ...
    genus.errors.GenusError: widths must be a list of whole numbers, [64, 64] say; got 64.
    """

    config: dict[str, Any]
    name: ClassVar[str] = ""
    not_in_config: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        parameters = inspect.signature(cls.__init__).parameters.values() if "__init__" in vars(cls) else ()
        if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
            raise GenusError(f"{cls.__name__} must name its arguments, and not take *args: files keep them by name.")
        cls._register(cls.__name__ if name is None else name)

    @classmethod
    def _register(cls, name: str) -> None:
        """Let files find the class by this name; a class that is defined again, as in a notebook, takes its own place.

        Raises:
            GenusError: another class has the name.
        """
        other = classes.get(name)
        if other is not None and not same_source(other, cls):
            raise GenusError(
                f"There is a class {name!r} already, {other.__module__}.{other.__qualname__}; give {cls.__qualname__} another"
                " name, since files find classes by it."
            )
        cls.name = name
        classes[name] = cls

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        instance = super().__new__(cls)
        try:
            bound = inspect.signature(cls.__init__).bind(instance, *args, **kwargs)
        except TypeError:  # the constructor says it better; copy and pickle fill what they make without arguments
            return instance
        bound.apply_defaults()
        config: dict[str, Any] = {}
        for parameter in list(bound.signature.parameters.values())[1:]:
            value = bound.arguments[parameter.name]
            if parameter.kind is parameter.VAR_KEYWORD:
                config |= as_json(value)
            elif parameter.kind is not parameter.VAR_POSITIONAL and parameter.name not in cls.not_in_config:
                config[parameter.name] = _checked(parameter, value)
        object.__setattr__(instance, "config", config)
        return instance

    def to_json(self) -> dict[str, Any]:
        """Return the name of the class and the config, as JSON values from which `from_json` makes an equal object.

        Raises:
            GenusError: files could not find the class by its name.
        """
        if reason := unregistered_reason(type(self)):
            raise GenusError(f"{type(self).__name__} cannot be written to a file: {reason}")
        return {"class": self.name, **self.config}


def from_json(value: Any, **arguments: Any) -> Any:
    """Return the object that `Configurable.to_json` described, made after the objects within it; other values stay as they are.

    Args:
        value: JSON values, or objects, which are returned as they are.
        arguments: those of `Configurable.not_in_config`. Without them the description of an object that needs some, within
            others, stays JSON: the object around it supplies the arguments.

    Raises:
        DataError: a description names a class that does not exist.
    """
    if isinstance(value, list | tuple):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "class" not in value:
        return {name: from_json(item) for name, item in value.items()}
    cls = class_named(value["class"])
    if cls.not_in_config and not arguments:
        return value
    return cls(**arguments, **{name: from_json(item) for name, item in value.items() if name != "class"})


def class_named(name: str) -> type[Configurable]:
    """Return the class that files find by this name.

    Raises:
        DataError: no class has the name.
    """
    if not isinstance(name, str) or name not in classes:
        raise DataError(f"There is no class {name!r}; import the module that defines it.")
    return classes[name]


def unregistered_reason(cls: type[Configurable]) -> str | None:
    """Return why files cannot find a class by its name; None where they can."""
    if not vars(cls).get("name"):
        how = f"class {cls.__name__}(..., name=...)"
        return f"its class has no name, and files and comparisons find families by their names; define it as {how}."
    other = classes.get(cls.name, cls)
    if other is not cls and not (same_source(other, cls) and other.__qualname__ == cls.__qualname__):
        return f"its name {cls.name!r} is that of {other.__module__}.{other.__qualname__} now."
    return None


def as_json(value: Any) -> Any:
    """Return an argument as JSON values: numbers, text, arrays, ranges, lists and dicts of these, configurable objects.

    Raises:
        GenusError: the argument is of another type, or a number that no computer counts to.

    >>> from genus.transforms import ActNorm, Chain, Linear
    >>> as_json(Chain([ActNorm(2), Linear(2)]))["transforms"][1]
    {'class': 'Linear', 'dim': 2}
    """
    if type(value) is int and value.bit_length() > WORD:
        raise GenusError(
            f"A whole number of {value.bit_length():,} bits is no argument of a model; numbers have {WORD} at most."
        )
    if value is None or type(value) in (bool, int, float, str):
        return value
    if hasattr(value, "to_json"):
        return value.to_json()
    if hasattr(value, "tolist"):  # numpy's arrays and numbers, and tensors
        return as_json(value.tolist())
    if isinstance(value, list | tuple | range | nn.ModuleList):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {str(name): as_json(item) for name, item in value.items()}
    raise GenusError(
        f"An argument of type {type(value).__name__} cannot be saved with a model; give numbers, text, lists of these,"
        " transforms or maps."
    )


def _checked(parameter: inspect.Parameter, argument: Any) -> Any:
    """Return an argument as JSON values; raise GenusError where it is not of the annotated type or out of its bounds."""
    name, annotation, value = parameter.name, parameter.annotation, as_json(argument)
    if annotation in ("int", int) and type(value) is not int:
        raise GenusError(f"{name} must be a whole number; got {argument!r}.")
    if annotation in ("float", float) and not isinstance(value, int | float):
        raise GenusError(f"{name} must be a number; got {argument!r}.")
    if annotation in ("Sequence[int]", Sequence[int]):
        if not isinstance(value, list) or any(type(item) is not int for item in value):
            raise GenusError(f"{name} must be a list of whole numbers, [64, 64] say; got {argument!r}.")
        if name == "hidden" and min(value, default=1) < 1:
            raise GenusError(f"hidden is the width of every layer, 1 or more; got {argument!r}.")
    if name == "transforms" and type(value) is int and value < 0:
        raise GenusError(f"transforms is how many there are, 0 or more; got {argument!r}.")
    if name == "dropout" and isinstance(value, int | float):
        check_dropout(value)
    return value


def check_dropout(dropout: float) -> None:
    """Raise GenusError unless dropout is a share of hidden units, from 0 to below 1."""
    if not 0 <= dropout < 1:
        raise GenusError(f"dropout is a share of hidden units, from 0 to below 1; got {dropout!r}.")
