"""The state of modules beside their weights: the mode of every part, and whether weights are as they were drawn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["digest", "evaluating", "in_full_precision", "keeping_frozen"]


_evaluated: dict[nn.Module, tuple[int, bool]] = {}  # parts inside `evaluating`: how many times, and their mode outside
_changing = threading.Lock()


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put modules into evaluation mode inside the context, and every part of them back into its own mode afterwards.

    >>> net = nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5).eval())
    >>> with evaluating(net):
    ...     print(net.training)
    False
    >>> net.training, net[1].training
    (True, False)
    """
    parts = [part for module in modules for part in module.modules()]
    with _changing:  # threads may share a module: the last to leave puts it back
        for part in parts:
            count, mode = _evaluated.get(part, (0, part.training))
            _evaluated[part] = (count + 1, mode)
        for module in modules:
            module.eval()
    try:
        yield
    finally:
        with _changing:
            for part in parts:  # a module stands before its parts
                count, mode = _evaluated.pop(part)
                if count > 1:
                    _evaluated[part] = (count - 1, mode)
                elif part.training is not mode:
                    part.train(mode)


@contextmanager
def keeping_frozen(module: nn.Module) -> Iterator[None]:
    """Give parameters that require no gradients their values back after the context, whatever was written to them inside."""
    kept = [(parameter, parameter.detach().clone()) for parameter in module.parameters() if not parameter.requires_grad]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in kept:
                parameter.copy_(value)


@torch.no_grad()
def digest(tensors: Iterable[Tensor]) -> Tensor:
    """Return a whole number that changes where a value in one of the tensors does, whatever device or precision holds them.

    Sums of bit patterns are exact, so they do not depend on the order in which a device adds them up.

    >>> weights = [torch.ones(3), torch.zeros(())]
    >>> before = digest(weights)
    >>> weights[0][2] += 1e-6
    >>> bool(digest(weights) == before), bool(digest(w.double() for w in weights) == digest(weights))
    (False, True)
    """
    total = torch.zeros((), dtype=torch.int64)
    for tensor in tensors:
        total = total.to(tensor.device) * 31 + tensor.detach().double().view(torch.int64).sum()
    return total


def in_full_precision(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method so that autocast, where a caller has switched it on, does not hold inside it."""

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        with ExitStack() as stack:
            for device in ("cpu", "cuda"):
                if torch.is_autocast_enabled(device):
                    stack.enter_context(torch.autocast(device, enabled=False))
            return method(*args, **kwargs)

    return call
