"""A digest of the numbers that a model was made with, so that training knows whether anything has trained it before.

A flag that `fit` sets would not do: weights change in a person's own loop too, or by `load_state_dict`.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from genus.nets.state import digest

__all__ = ["ModelType", "DetectsTraining"]


class ModelType(ABCMeta):
    """Let a model remember the numbers that the last of its constructors left; the type of model classes."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        model = super().__call__(*args, **kwargs)
        model._remember_birth()
        return model


class DetectsTraining(nn.Module, metaclass=ModelType):
    """Remember, as a digest in the buffer `birth`, the numbers that a model was made with."""

    birth: Tensor  # int64

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("birth", torch.zeros((), dtype=torch.int64))

    @property
    def untrained(self) -> bool:
        """Return whether every learned number still is the one that the model was made with.

        Files, copies, devices and precisions do not change the answer. `fit` initialises an untrained model and goes on from
        any other, whoever trained it; after putting weights into a part of a new model, call `initialise` where it is wanted.
        """
        return bool(digest(self._learned()) == self.birth)

    def _learned(self) -> Iterable[Tensor]:
        return self.parameters()

    def _remember_birth(self) -> None:
        if not any(tensor.is_meta for tensor in self._learned()):  # a model that is only counted has no numbers
            self.birth.copy_(digest(self._learned()))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        untrained = not self.birth.is_meta and self.untrained
        super()._apply(fn, recurse)
        if untrained:  # a shorter precision rounds the numbers
            self._remember_birth()
        return self
