"""Functions that PyTorch compiles when they are first called."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["Compiled"]


class Compiled:
    """A function that torch.compile makes faster; where that fails, a warning, and the function as it is.

    The first call is not compiled: what a model makes once (masks, tables) would cut the graph into pieces.

    Args:
        function: of tensors.
        work: that goes on without it, as the warning calls it.

    >>> double = Compiled(lambda x: 2 * x, "counting")
    >>> double.function(3)
    6
    """

    def __init__(self, function: Callable[..., Any], work: str) -> None:
        self.function, self.work = function, work
        self.faster: Callable[..., Any] | None = None  # torch's compiler takes a second to import

    def __call__(self, *args: Any) -> Any:
        if not self.compiled:
            self.faster = self.faster or torch.compile(self.function)
            return self.function(*args)
        try:
            return self.faster(*args)  # type: ignore[misc]
        except Exception as error:
            self.give_up(error)
            return self.function(*args)

    @property
    def compiled(self) -> bool:
        """Whether the next call is."""
        return self.faster is not None and self.faster is not self.function

    def give_up(self, error: Exception) -> None:
        """From now on the function as it is, with a warning that says why."""
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        warnings.warn(f"torch.compile failed ({reason}); {self.work} goes on without it.", stacklevel=4)
        self.faster = self.function
