"""The state of modules: the mode of every part, whether weights are as they were drawn, and what a file may put there."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["NoMoreThan", "check_numbers", "digest", "evaluating", "in_full_precision", "keeping_frozen",
           "has_tensor", "on_meta", "reach", "size_of_result"]  # fmt: skip


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
        bits = tensor.detach().double().view(torch.int64).sum()
        if bits.is_meta:  # a module that is only counted has no values
            return bits
        total = total.to(bits.device) * 31 + bits
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


# -- what a file may hold -------------------------------------------------------------------------------------------------


def check_numbers(module: nn.Module) -> None:
    """Raise ValueError where a number of a module is not finite that has to be.

    A module names the buffers that may hold others in `not_finite`: "-inf", "inf", or "nan" until its buffer `concluded` holds.
    Buffers that are called log_ something are logarithms of shares, and may be -inf.
    """
    for prefix, part in module.named_modules():
        allowed = getattr(part, "not_finite", {})
        for name, tensor in (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)):
            if not tensor.is_floating_point() or name in part._non_persistent_buffers_set or bool(tensor.isfinite().all()):
                continue
            kind = allowed.get(name) or ("-inf" if name.startswith("log_") and name in part._buffers else None)
            fine = {"-inf": tensor == -torch.inf, "inf": tensor == torch.inf}.get(kind or "", tensor.isnan())
            if kind is None or not bool((fine | tensor.isfinite()).all()) or (kind == "nan" and bool(part.concluded)):
                raise ValueError(f"{f'{prefix}.{name}'.lstrip('.')} holds numbers that are not finite")


LONG = 16  # values of an argument; a longer list is no shape
SMALL = 2**16  # numbers that may be made uncounted
SPARE = 2**20  # numbers that any model may make at once beside those of its file
# Functions of several tensors whose sizes meet in other ways than elementwise.
PAIRED = {
    "outer", "ger", "kron", "cdist", "einsum", "cartesian_prod", "meshgrid", "tensordot",
    "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "addmm", "addmv", "baddbmm", "linear", "bilinear",
}  # fmt: skip
# Functions of one tensor that return a view of it, or one number.
MAKE_NOTHING = {
    "__len__", "dim", "size", "numel", "detach", "view", "expand", "unsqueeze", "squeeze", "t",
    "sum", "max", "min", "any", "all",
}  # fmt: skip
TIMES = 16  # as many numbers as a file holds may be made in all while its model is built: for masks, and initial weights
STEPS, STEPS_EACH = 50_000, 500  # functions of torch that a constructor may call; and more for each tensor, coordinate and atom
MOST_COORDINATES = 2**14  # for which it may call more


class NoMoreThan(TorchFunctionMode):
    """Refuse numbers before memory is reserved for them, in this thread, while a model is built from a header.

    The size of what a function is going to return is found on the device `meta`, where nothing is reserved.

    Args:
        tensors: what the file holds.
        coordinates: of the model's space, and their atoms; some models have parts for each.
    """

    def __init__(self, tensors: Iterable[Tensor], coordinates: int = 1) -> None:
        super().__init__()
        sizes = [tensor.numel() for tensor in tensors]
        self.count, self.largest = sum(sizes), max(sizes, default=0)
        self.steps = STEPS + STEPS_EACH * (len(sizes) + min(coordinates, MOST_COORDINATES))
        self.built = 0

    def __enter__(self) -> NoMoreThan:
        self.gradients = torch.is_grad_enabled()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        """Leave, with gradients as they were: what was refused may have been the function that enables them again."""
        super().__exit__(*error)
        torch.set_grad_enabled(self.gradients)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.steps -= 1
        if reach((args, kwargs)) > SMALL:
            size = size_of_result(func, args, kwargs)
            self.built += size
            if size > 4 * self.largest + SPARE or self.built > TIMES * self.count + SPARE:
                raise ValueError(f"it asks for more weights than the {self.count:,} numbers that the file holds")
        if self.steps < 0:
            raise ValueError(f"it asks for far more parts than the {self.count:,} numbers that the file holds are for")
        return func(*args, **kwargs)


def reach(value: Any) -> int:
    """Return what the result of a function with these arguments can have of numbers: the product of all sizes among them."""
    if isinstance(value, Tensor):
        return max(1, value.numel())
    if isinstance(value, bool | float | str) or value is None:
        return 1
    if isinstance(value, int):
        return max(1, abs(value))
    if not isinstance(value, list | tuple | dict):
        return 1
    if len(value) > LONG:
        return SMALL + 1
    return math.prod(map(reach, value.values() if isinstance(value, dict) else value))


def size_of_result(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> int:
    """Return how many numbers a function is going to reserve memory for; 0 where it returns a view, or cannot be asked."""
    name = getattr(func, "__name__", "")
    if name in MAKE_NOTHING and len(args) == 1 and not kwargs:
        return 0
    if name in ("tensor", "as_tensor", "__get__"):
        return _length(args[0]) if name == "tensor" else 0  # otherwise it is there already
    if name.endswith("_") and not name.endswith("__"):
        return 0
    shapes = [value.shape for value in args if isinstance(value, Tensor)]
    if len(shapes) == len(args) + len(kwargs) and name not in PAIRED:  # the first sum on `meta` would import for seconds
        return math.prod(max(sizes) for sizes in zip_longest(*(shape[::-1] for shape in shapes), fillvalue=1))
    places = {} if has_tensor(args) else {"device": "meta"}
    try:
        found = func(*on_meta(args), **{**on_meta({k: v for k, v in kwargs.items() if k != "generator"}), **places})
    except (NotImplementedError, RuntimeError, TypeError, ValueError, IndexError):
        return 0  # what depends on values is no larger than they are
    several = found if isinstance(found, list | tuple) else [found]
    return sum(one.numel() for one in several if isinstance(one, Tensor) and one._base is None)


def _length(value: Any) -> int:
    """Return how many numbers a list of lists holds, all as long as the first."""
    return len(value) * _length(value[0]) if isinstance(value, list | tuple) and value else 1


def has_tensor(values: Any) -> bool:
    """Return whether a tensor is among arguments, or in a list among them."""
    return isinstance(values, Tensor) or (isinstance(values, list | tuple) and any(map(has_tensor, values)))


def on_meta(value: Any) -> Any:
    """Return arguments with every tensor on the device `meta`."""
    if isinstance(value, Tensor):
        return value if value.is_meta else value.detach().to("meta")
    if isinstance(value, dict):
        return {name: on_meta(one) for name, one in value.items()}
    return type(value)(map(on_meta, value)) if type(value) in (list, tuple) else value
