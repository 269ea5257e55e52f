"""The memory that there is, and the numbers that a model would hold, counted before memory is reserved for them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from genus.errors import GenusError
from genus.nets.state import NoMoreThan, has_tensor, on_meta, reach, size_of_result
from genus.space import Space

__all__ = ["MOST", "Numbers", "afford", "built", "free_memory", "in_words", "is_wide", "numbers_of", "shrunk"]

M = TypeVar("M", bound=nn.Module)

ANY = 2**16  # numbers of a tensor that is always made
FEW = 2**20  # numbers of tensors that are made where they are only to be counted: tables whose values are asked for
ONE, ALL = 2**22, 2**26  # numbers of one tensor, and of all that were ever made, beyond which a model is counted first
TRAINED = 5 * 4  # bytes of a parameter: itself, its gradient, two moments, and its best value
COUNTED = 2 * 4  # bytes of a number of a buffer: itself and its best value
LEARNED = 6 * 8  # of one in double precision, as counts have: itself, its best value, and what is made of it when they conclude
MOST = 2**26  # parameters of a model whose size nobody chose
WIDE = 2**14  # states of all columns, of which fewer make no model that large


class Numbers(NamedTuple):
    """Hold how many numbers a model would hold.

    Attributes:
        parameters: those that gradients change.
        buffers: all others.
        whole: whether all were counted.
        double: how many of the buffers are in double precision.
    """

    parameters: int
    buffers: int
    whole: bool = True
    double: int = 0

    @property
    def bytes(self) -> int:
        """Return the memory that training takes for them, activations aside."""
        return TRAINED * self.parameters + COUNTED * (self.buffers - self.double) + LEARNED * self.double


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
        places = {} if has_tensor(args) else {"device": "meta"}
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
    double = [buffer for buffer in module.buffers() if buffer.dtype == torch.float64]
    parameters, buffers, doubles = (sum(map(torch.numel, held)) for held in (module.parameters(), module.buffers(), double))
    return module, Numbers(parameters, buffers, double=doubles)


def afford(name: str, numbers: Numbers) -> None:
    """Raise GenusError, before memory is reserved, where training a model of so many numbers would not fit the memory there is.

    Args:
        name: of the model's family.
        numbers: of the model.
    """
    free = free_memory()
    if numbers.bytes > free:
        more = "" if numbers.whole else "more than "
        raise GenusError(
            f"{name} of this size would have {more}{numbers.parameters:,} parameters and {numbers.buffers:,} other numbers,"
            f" which take {in_words(numbers.bytes)} to train, and {in_words(free)} of memory are free; choose a smaller size"
            " by its hyper-parameters, or another family."
        )


def is_wide(space: Space) -> bool:
    """Return whether a default model of this space may be so large that its parameters are to be counted first."""
    kinds = space.kinds[: space.period] if space.sequence else space.kinds
    return len(kinds) ** 2 > WIDE or sum(kind.states for kind in kinds) > WIDE


def shrunk(make: Callable[[dict[str, Any]], nn.Module], hyper: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyper-parameters without the direct map, then of half the width, until a model has at most 67 million parameters.

    Args:
        make: makes a model of hyper-parameters.
        hyper: those that nobody chose.
    """
    whole = dict(hyper)
    while numbers_of(partial(make, whole)).parameters > MOST:
        smaller = _smaller(whole)
        if smaller == whole:
            break
        whole = smaller
    return whole


def _smaller(hyper: dict[str, Any]) -> dict[str, Any]:
    """Return hyper-parameters without the direct map, which grows with the square of the columns; else of half the width."""
    if hyper.get("direct"):
        return hyper | {"direct": False}
    hidden, width = hyper.get("hidden"), hyper.get("width")
    narrower = {"hidden": tuple(max(16, units // 2) for units in hidden)} if hidden else {}
    return hyper | narrower | ({"width": max(16, width // 2)} if width else {})


def _has_meta(values: Any) -> bool:
    """Return whether a tensor on `meta` is among arguments."""
    if isinstance(values, torch.Tensor):
        return values.is_meta
    return isinstance(values, list | tuple) and any(map(_has_meta, values))


def free_memory(device: torch.device | None = None) -> int:
    """Return the bytes that a new tensor could take on a device, by what the system says; of the process or its group, if less.

    Args:
        device: None: of the processor.
    """
    if device is not None and device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            found.append(1024 * int(line.split()[1]))
    of_process = [line.split()[3] for line in _lines("/proc/self/limits") if line.startswith("Max address space")]
    if of_process and of_process[0].isdecimal():  # as `ulimit -v` sets it
        found.append(max(0, int(of_process[0]) - os.sysconf("SC_PAGE_SIZE") * int(_lines("/proc/self/statm")[0].split()[0])))
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
