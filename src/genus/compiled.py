"""Functions that PyTorch compiles when they are first called."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["Compiled"]


class Compiled:
    """A function that torch.compile makes faster; where that fails, a warning, and the function as it is.

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
        if self.faster is None:
            self.faster = torch.compile(self.function)
        if self.faster is self.function:
            return self.function(*args)
        try:
            return self.faster(*args)
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error)[:200]}"
            warnings.warn(f"torch.compile failed ({reason}); {self.work} goes on without it.", stacklevel=3)
            self.faster = self.function
            return self.function(*args)
