"""Functions that PyTorch compiles when they are first called, and whether it is following a function just now."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch

from genus.random import torch_functions_seeded, torch_state_seeded

__all__ = ["Compiled", "can_compile", "is_traced"]


def is_traced() -> bool:
    """Return whether PyTorch follows what runs now: it is compiled, exported, or under `torch.vmap` or `torch.func`.

    Values of tensors then cannot be looked at, so what checks them is left out, and tensors made now belong to the trace, so
    none may be kept.
    """
    return torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None


def can_compile(device: torch.device) -> bool:
    """Return whether torch.compile finds what it needs for a device: a C++ compiler for a processor."""
    names = (os.environ.get("CXX", ""), "c++", "g++", "clang++")
    return device.type == "cuda" or (os.name == "posix" and any(shutil.which(name) for name in names if name))


class Compiled:
    """Call a function of tensors compiled by torch.compile; where compiling fails, warn and call it as it is.

    The first call is not compiled: what a model makes once (masks, tables) would cut the graph into pieces.

    Args:
        function: takes and returns tensors.
        work: the name of the work that goes on uncompiled, for the warning: "sampling", say.
        draws: the function may draw random numbers; seeding them takes one number of the bound generator at every call.

    >>> double = Compiled(lambda x: 2 * x, "counting")
    >>> double.function(3)
    6
    """

    def __init__(self, function: Callable[..., Any], work: str, draws: bool = True) -> None:
        self.function, self.work, self.draws = function, work, draws
        self.faster: Callable[..., Any] | None = None  # torch's compiler takes a second to import

    def __call__(self, *args: Any) -> Any:
        if not self.compiled:
            self.faster = self.faster or torch.compile(self.function)
        else:
            try:
                with torch_state_seeded() if self.draws else nullcontext():
                    return self.faster(*args)  # type: ignore[misc]
            except Exception as error:
                self.give_up(error)
        with torch_functions_seeded() if self.draws else nullcontext():
            return self.function(*args)

    @property
    def compiled(self) -> bool:
        """Return whether the next call is compiled."""
        return self.faster is not None and self.faster is not self.function

    def give_up(self, error: Exception) -> None:
        """Warn that compiling failed, and call the function as it is from now on.

        Args:
            error: the reason, for the warning.
        """
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        warnings.warn(f"torch.compile failed ({reason}); {self.work} goes on without it.", stacklevel=4)
        self.faster = self.function
