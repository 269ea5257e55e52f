"""Tell whether a model has been trained: a digest of its initial weights, in the buffer `birth`, is compared with them now.

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
    """Has a model remember its initial weights when all of its constructors have run; the metaclass of models."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        model = super().__call__(*args, **kwargs)
        model._remember_birth()
        return model


class DetectsTraining(nn.Module, metaclass=ModelType):
    """Remember a digest of the initial weights in the buffer `birth`, for `untrained`."""

    birth: Tensor  # int64

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("birth", torch.zeros((), dtype=torch.int64))

    @property
    def untrained(self) -> bool:
        """Return whether all weights are still the initial ones.

        Saving, copying and moving to a device or precision do not change the answer. `fit` initialises an untrained model and
        goes on from any other. So after putting weights into a part of a new model, call `initialise` yourself if you want it.
        """
        return bool(digest(self._learned()) == self.birth)

    def _learned(self) -> Iterable[Tensor]:
        return self.parameters()

    def _remember_birth(self) -> None:
        if not any(tensor.is_meta for tensor in self._learned()):  # on `meta` only the size of a model is found
            self.birth.copy_(digest(self._learned()))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        untrained = not self.birth.is_meta and self.untrained
        super()._apply(fn, recurse)
        if untrained:  # a lower precision rounds the weights
            self._remember_birth()
        return self
