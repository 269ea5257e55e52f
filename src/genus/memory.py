"""Freed memory that stays with the process while it works."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["kept_memory"]

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # of glibc's mallopt

inside = False  # the outermost of nested ones counts


@contextmanager
def kept_memory() -> Iterator[None]:
    """Inside, large tensors are made of memory that earlier ones have left, and not of fresh pages of the system.

    Otherwise glibc gives every large tensor back to the system as it dies, and touching the pages of the next one takes up to
    a third of a training step. Where the C library is another one, nothing changes.
    """
    global inside
    library = ctypes.CDLL(None) if sys.platform == "linux" and not inside else None
    if library is None or not hasattr(library, "malloc_trim"):
        yield
        return
    inside = True
    for option, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 2**26)):
        library.mallopt(option, value)
    try:
        yield
    finally:
        inside = False
        for option, value in ((MMAP_MAX, 65_536), (TRIM_THRESHOLD, 2**17), (TOP_PAD, 0)):
            library.mallopt(option, value)
        library.malloc_trim(0)
