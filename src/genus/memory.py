"""Freed memory that stays with the process while it works."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["kept_memory"]

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX = -1, -2, -3, -4  # of glibc's mallopt
KEPT = 2**28  # bytes lying free that are not worth giving back: touching them again would take a tenth of a second

inside = False  # the outermost of nested ones counts


class Free(ctypes.Structure):
    """glibc's `struct mallinfo2`: of its ten numbers, `fordblks` is how many bytes lie free."""

    _fields_ = [*((f"other{i}", ctypes.c_size_t) for i in range(8)), ("fordblks", ctypes.c_size_t), ("last", ctypes.c_size_t)]


@contextmanager
def kept_memory() -> Iterator[None]:
    """Inside, large tensors are made of memory that earlier ones have left, and not of fresh pages of the system.

    Otherwise glibc gives every large tensor back to the system as it dies, and touching the pages of the next one takes up to
    a third of a training step. Afterwards its thresholds are those that it comes to by itself where large blocks die, at most:
    what they were before cannot be asked. Where the C library is another one, nothing changes.
    """
    global inside
    library = ctypes.CDLL(None) if sys.platform == "linux" and not inside else None
    if library is None or not hasattr(library, "mallinfo2"):
        yield
        return
    library.mallinfo2.restype = Free
    inside = True
    for option, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 2**26)):
        library.mallopt(option, value)
    try:
        yield
    finally:
        inside = False
        for option, value in ((MMAP_MAX, 65_536), (MMAP_THRESHOLD, 2**25), (TRIM_THRESHOLD, 2**26), (TOP_PAD, 0)):
            library.mallopt(option, value)
        if library.mallinfo2().fordblks > KEPT:
            library.malloc_trim(0)
