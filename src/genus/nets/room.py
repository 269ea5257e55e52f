"""The memory that there is, and the numbers that a model would hold, counted before memory is reserved for them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from genus.nets.state import NoMoreThan, on_meta, reach, size_of_result

__all__ = ["Numbers", "built", "free_memory", "in_words", "numbers_of"]

M = TypeVar("M", bound=nn.Module)

ANY = 2**16  # numbers of a tensor that is always made
FEW = 2**20  # numbers of tensors that are made where they are only to be counted: tables whose values are asked for
ONE, ALL = 2**22, 2**26  # numbers of one tensor, and of all that were ever made, beyond which a model is counted first
TRAINED = 5 * 4  # bytes of a parameter: itself, its gradient, two moments, and its best value
COUNTED = 2 * 4  # bytes of a number of a buffer: itself and its best value


class Numbers(NamedTuple):
    """Hold how many numbers a model would hold: those that it learns, and its buffers; `whole` where all were counted."""

    parameters: int
    buffers: int
    whole: bool = True

    @property
    def bytes(self) -> int:
        """Return the memory that training takes for them, activations aside."""
        return TRAINED * self.parameters + COUNTED * self.buffers


class Counting(TorchFunctionMode):
    """Put large tensors on the device `meta`, where nothing is reserved, in this thread.

    Args:
        one: numbers of a tensor that is still made.
        all: numbers of all tensors that are still made.
    """

    def __init__(self, one: int, all: int) -> None:
        super().__init__()
        self.one, self.all = one, all
        self.made, self.largest = 0, 0
        self.left_out = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.left_out and _has_meta((*args, *kwargs.values())):
            return self._without_memory(func, args, kwargs)
        if reach((args, kwargs)) > ANY:
            size = size_of_result(func, args, kwargs)
            self.made += size
            self.largest = max(self.largest, size)
            if size > ANY and (size > self.one or self.made > self.all):
                self.left_out = True
                return self._without_memory(func, args, kwargs)
        return func(*args, **kwargs)

    def _without_memory(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what a function returns, on `meta`; values that it would write into a tensor are left out."""
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.endswith("__"):
            return args[0] if args else kwargs["tensor"]  # as `nn.init` calls it
        places = {} if any(isinstance(value, torch.Tensor) for value in args) else {"device": "meta"}
        named = {name: value for name, value in kwargs.items() if name != "generator"}
        return func(*on_meta(args), **{**on_meta(named), **places})


def built(make: Callable[[], M]) -> tuple[M | None, Numbers]:
    """Return a module that a function makes, and its numbers; None for the module where they are many, which are only counted.

    Args:
        make: makes the module. It is called in a mode that reserves at most 256 MB.
    """
    if any(isinstance(mode, Counting | NoMoreThan) for mode in _get_current_function_mode_stack()):
        return make(), Numbers(0, 0)  # a part of a model that is counted as a whole
    with Counting(ONE, ALL) as counting:
        found, numbers = _made(make, counting)
    return (None if counting.left_out else found), numbers


def numbers_of(make: Callable[[], nn.Module]) -> Numbers:
    """Return the numbers of a module that a function makes, of which hardly any is made."""
    with Counting(FEW, ALL) as counting:
        return _made(make, counting)[1]


def _made(make: Callable[[], M], counting: Counting) -> tuple[M | None, Numbers]:
    """Return a module and its numbers; where it depends on a value that was left out, the numbers as far as it came."""
    try:
        module = make()
    except (NotImplementedError, RuntimeError, ValueError):
        if not counting.left_out:
            raise
        return None, Numbers(counting.largest, 0, whole=False)
    parameters, buffers = (sum(tensor.numel() for tensor in held) for held in (module.parameters(), module.buffers()))
    return module, Numbers(parameters, buffers)


def _has_meta(values: Any) -> bool:
    """Return whether a tensor on `meta` is among arguments."""
    if isinstance(values, torch.Tensor):
        return values.is_meta
    return isinstance(values, list | tuple) and any(map(_has_meta, values))


def free_memory(device: torch.device | None = None) -> int:
    """Return the bytes that a new tensor could take on a device, by what the system says; of the process's group, if less.

    Args:
        device: None: of the processor.
    """
    if device is not None and device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            found.append(1024 * int(line.split()[1]))
    limit, used = (_lines(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit and used and limit[0].isdecimal():
        found.append(max(0, int(limit[0]) - int(used[0])))
    return min(found)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def in_words(count: float) -> str:
    """Return a number of bytes in words.

    >>> in_words(4_903_000_000)
    '4.9 GB'
    """
    unit, word = (1e9, "GB") if count >= 1e9 else (1e6, "MB")
    digits = 0 if count < 1e6 else max(0, 1 - int(math.log10(count / unit)))
    return f"{count / unit:,.{digits}f} {word}"
