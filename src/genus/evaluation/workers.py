"""Values sent to worker processes that may be older than the caller's own modules, or than its import path."""

from __future__ import annotations

import importlib
import io
import os
import pickle
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import numpy as np
import torch
from torch import Tensor

__all__ = ["Bundle", "Parcel"]

PACKAGE = Path(__file__).resolve().parents[1]
# Folders of genus and of Python; with a separator at the end, since another's name may begin like theirs.
KNOWN = tuple(
    os.path.join(os.path.abspath(folder), "")
    for folder in (str(PACKAGE), *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib")))
)
LARGE = 2**20  # bytes of a tensor that is sent as an array
INSTALLED = ("site-packages", "dist-packages")  # folders that every worker finds by itself


@dataclass(frozen=True)
class Parcel:
    """Carry a value to a worker process, with the classes of the caller's own modules inside it.

    Joblib keeps its workers, so that a worker may have started before a module of the caller was written, edited or put on the
    import path. What such a module defines is therefore sent as it is now, and what cannot be (it refers to an open file, say)
    is imported by the worker, from the caller's import path.
    """

    content: bytes
    path: tuple[str, ...]
    module: str | None = None

    @classmethod
    def pack(cls, value: Any) -> Parcel:
        """Return a parcel of a value.

        >>> Parcel.pack(3).unpack()
        3
        """
        try:
            with _by_value():
                content = cloudpickle.dumps(value)
        except Exception:  # a global of the module that no pickle takes; by reference it need not travel
            content = cloudpickle.dumps(value)
        module = value.__module__ if isinstance(value, type) and value.__module__ != "__main__" else None
        return cls(content, tuple(os.path.abspath(folder) for folder in sys.path), module)

    def unpack(self) -> Any:
        """Return the value, after adding the caller's import path to this process's."""
        missing = [folder for folder in self.path if folder not in sys.path]
        sys.path.extend(missing)
        importlib.invalidate_caches()  # a folder that was here before may hold files that were not
        if self.module is not None:
            with suppress(Exception):  # a class sent by value needs no module, but may need what its module registers
                importlib.import_module(self.module)
        return pickle.loads(self.content)


@dataclass(frozen=True)
class Bundle:
    """Carry a value to worker processes, its large tensors as arrays: joblib writes each array to a file once and maps it into
    every worker, so that all share one copy, where tensors would be pickled again for each task.
    """

    content: bytes
    arrays: tuple[np.ndarray, ...]

    @classmethod
    def pack(cls, value: Any) -> Bundle:
        """Return a bundle of a value.

        >>> Bundle.pack(torch.arange(3)).unpack()
        tensor([0, 1, 2])
        """
        file = io.BytesIO()
        pickler = _ArrayPickler(file)
        pickler.dump(value)
        return cls(file.getvalue(), tuple(pickler.arrays))

    def unpack(self) -> Any:
        """Return the value; its large tensors are views of the arrays."""
        return _ArrayUnpickler(io.BytesIO(self.content), self.arrays).load()


class _ArrayPickler(cloudpickle.Pickler):
    """Keep large tensors of the processor aside, as arrays that share their memory."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.arrays: list[np.ndarray] = []

    def persistent_id(self, value: Any) -> int | None:
        """Return the number of the array that stands for a large tensor; None for all else."""
        if type(value) is not Tensor or value.device.type != "cpu" or value.numel() * value.element_size() < LARGE:
            return None
        self.arrays.append(value.detach().numpy())
        return len(self.arrays) - 1


class _ArrayUnpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, arrays: tuple[np.ndarray, ...]) -> None:
        super().__init__(file)
        self.arrays = arrays

    def persistent_load(self, number: int) -> Tensor:
        return torch.from_numpy(self.arrays[number])


@contextmanager
def _by_value() -> Iterator[None]:
    """Pickle what the caller's own modules define by value inside."""
    modules = [module for name, module in list(sys.modules.items()) if name != "__main__" and _is_own(module)]
    registered = []
    try:
        for module in modules:
            if module.__name__ not in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.register_pickle_by_value(module)
                registered.append(module)
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def _is_own(module: Any) -> bool:
    """Return whether a module is neither installed nor of genus nor of Python, so that a worker may lack it."""
    file = getattr(module, "__file__", None)
    if not isinstance(module, ModuleType) or not isinstance(file, str) or sys.modules.get(module.__name__) is not module:
        return False
    path = os.path.abspath(file)
    return not any(f"{os.sep}{folder}{os.sep}" in path for folder in INSTALLED) and not path.startswith(KNOWN)
