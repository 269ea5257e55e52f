"""Measure the cost of a piece of work, processor seconds and the peak memory of its process, and give memory back after it."""

from __future__ import annotations

import ctypes
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["Effort", "release_memory"]

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Effort:
    """Measure the cost of this process from the moment the object is made.

    On Linux the greatest memory is that since the measurement began; elsewhere that since the process did.

    >>> effort = Effort()
    >>> effort.seconds >= 0, effort.memory > 1e6
    (True, True)
    """

    def __init__(self) -> None:
        self._begin = time.process_time()
        with suppress(OSError):
            CLEAR.write_text("5")  # begins the record of the greatest memory anew

    @property
    def seconds(self) -> float:
        """Return the seconds of the processor, all threads together."""
        return time.process_time() - self._begin

    @property
    def memory(self) -> float:
        """Return the peak memory of the process, in bytes."""
        with suppress(OSError):
            for line in STATUS.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return 1024.0 * int(line.split()[1])
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def release_memory() -> None:
    """Give freed memory back to the operating system, where the C library can (glibc).

    A process keeps what thousands of small tensors have taken: two gigabytes after a wide net, for as long as it lives.
    """
    with suppress(OSError, AttributeError, TypeError):  # TypeError: Windows has no library of the process itself
        ctypes.CDLL(None).malloc_trim(0)
