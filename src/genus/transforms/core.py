"""The contract of a transform, how transforms are put together, and how one is described so that it can be built again."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from typing import Any, Self

from torch import Tensor, nn

from genus.errors import DataError, GenusError

__all__ = ["Chain", "Inverse", "Transform", "build", "describe", "same_source"]

described: dict[str, type[Described]] = {}  # every transform and map by name, as its class is made


def same_source(first: type, second: type) -> bool:
    """Whether two classes are of one module, or of one file that is a script and a module."""
    names = [cls.__module__ for cls in (first, second)]
    files = [getattr(sys.modules.get(name), "__file__", None) for name in names]
    return names[0] == names[1] or (files[0] is not None and files[0] == files[1])


class Described:
    """Something whose constructor's arguments describe it: `describe` makes JSON of them, and `build` makes it again.

    They are described when it is made, so that what cannot be saved is refused before it is trained.
    """

    arguments: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        there = described.get(cls.__name__)
        if there is not None and not same_source(there, cls):  # a notebook's own may be defined anew
            raise GenusError(
                f"There is a transform or map {cls.__name__} already, of {there.__module__}; call this one something else,"
                " since files name them."
            )
        arguments = inspect.signature(cls.__init__).parameters.values() if "__init__" in vars(cls) else ()
        if any(a.kind in (a.VAR_POSITIONAL, a.VAR_KEYWORD) or a.name == "made" for a in arguments):
            raise GenusError(f"{cls.__name__} must name its arguments, none of them `made`: files keep them by name.")
        described[cls.__name__] = cls

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls)
        bound = inspect.signature(cls.__init__).bind_partial(None, *args, **kwargs).arguments
        object.__setattr__(made, "arguments", {name: describe(one) for name, one in list(bound.items())[1:]})
        return made


def describe(value: Any) -> Any:
    """A transform, a list of them, or an argument of one -> JSON values; of tensors and numpy's arrays and numbers too.

    Raises:
        GenusError: it cannot be described.

    >>> from genus.transforms import Chain, Linear, ActNorm
    >>> describe(Chain([ActNorm(2), Linear(2)]))
    {'made': 'Chain', 'transforms': [{'made': 'ActNorm', 'dim': 2}, {'made': 'Linear', 'dim': 2}]}
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Described):
        return {"made": type(value).__name__} | value.arguments
    if hasattr(value, "tolist"):
        return describe(value.tolist())
    if isinstance(value, list | tuple | range | nn.ModuleList):
        return [describe(one) for one in value]
    if isinstance(value, dict):
        return {str(name): describe(one) for name, one in value.items()}
    raise GenusError(
        f"An argument of type {type(value).__name__} cannot be saved with a model; give numbers, text, lists of these,"
        " transforms or maps."
    )


def build(value: Any) -> Any:
    """What `describe` described; a transform itself is given back as it is.

    Raises:
        DataError: it names a transform that there is not.
    """
    if isinstance(value, dict):
        arguments = {name: build(one) for name, one in value.items() if name != "made"}
        cls = described.get(value.get("made", ""))
        if cls is None:
            raise DataError(f"There is no transform {value.get('made')!r}; import the module that defines it.")
        return cls(**arguments)
    if isinstance(value, list | tuple):
        return [build(one) for one in value]
    return value


class Transform(Described, nn.Module):
    """A bijection of (B, *shape), perhaps given context features c (B, context_dim).

    `forward(x, c) -> (z, log|det dz/dx|)` and `inverse(z, c) -> (x, log|det dx/dz|)`, the log-determinants (B,). A subclass
    gives both; what its constructor is given must be JSON values, maps or transforms, so that a model of it can be saved.
    """

    allow_missing: bool = False  # whether NaN, a coordinate that is not there, stays NaN and is seen by no other

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise TypeError(f"{type(self).__name__} must define forward(x, c).")

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise TypeError(f"{type(self).__name__} must define inverse(z, c).")

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of one z, where one x has this shape."""
        return shape

    def shape_before(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of one x, where one z has this shape."""
        return shape

    def initialise(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Set what depends on the first rows x of the training data, and give what comes out, z."""
        return self(x, c)[0]

    def initialise_inverse(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """`initialise` of a transform that is used the other way round: rows z of the training data in, x out."""
        return self.inverse(z, c)[0]


def check_apart(transforms: Sequence[Transform]) -> None:
    """That no two of them share parameters: saved and loaded, each would have its own.

    Raises:
        GenusError: two of them do.
    """
    owner: dict[int, int] = {}
    for i, transform in enumerate(transforms):
        for parameter in transform.parameters():
            first = owner.setdefault(id(parameter), i)
            if first != i:
                raise GenusError(
                    f"Transforms {first} and {i} are one {type(transform).__name__}, or share parameters, and would come apart"
                    " in a file; make a transform for each place."
                )


class Chain(Transform):
    """z = f_n(... f_1(x)): the log-determinants add up.

    >>> import torch
    >>> from genus.transforms import ActNorm
    >>> x = torch.randn(100, 2) * 3 + 1
    >>> chain = Chain([ActNorm(2), ActNorm(2)])
    >>> z = chain.initialise(x)
    >>> torch.allclose(chain.inverse(z)[0], x, atol=1e-5)
    True
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        super().__init__()
        check_apart(transforms)
        self.transforms = nn.ModuleList(transforms)
        self.allow_missing = all(transform.allow_missing for transform in transforms)

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for transform in self.transforms:
            x, log_det = transform(x, c)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = z.new_zeros(len(z))
        for transform in reversed(self.transforms):
            z, log_det = transform.inverse(z, c)  # type: ignore[operator]
            total = total + log_det
        return z, total

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        for transform in self.transforms:
            shape = transform.shape(shape)  # type: ignore[operator]
        return shape

    def shape_before(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        for transform in reversed(self.transforms):
            shape = transform.shape_before(shape)  # type: ignore[operator]
        return shape

    def initialise(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        for transform in self.transforms:
            x = transform.initialise(x, c)  # type: ignore[operator]
        return x


class Inverse(Transform):
    """A transform the other way round: forward is its inverse. A masked one makes an inverse autoregressive flow.

    >>> import torch
    >>> from genus.transforms import MaskedAutoregressive
    >>> z = torch.randn(4, 3)
    >>> masked = MaskedAutoregressive(3, (8,))
    >>> torch.equal(Inverse(masked)(z)[0], masked.inverse(z)[0])
    True
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform
        self.allow_missing = transform.allow_missing

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.transform.inverse(x, c)

    def inverse(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.transform(z, c)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.transform.shape_before(shape)

    def shape_before(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.transform.shape(shape)

    def initialise(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self.transform.initialise_inverse(x, c)
