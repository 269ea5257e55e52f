"""Memory that stays with the process while it works."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library is not glibc 2.33 or later"
)

FAULTS = """
import resource
import torch
from genus.memory import kept_memory

def faults(size: int) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(size) * 2  # two tensors, of 1,024 pages each where size is 2^20
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 20

with kept_memory():
    faults(1 << 20)
    inside = faults(1 << 20)
faults(1 << 22)  # larger than any hole that is left
print(inside, faults(1 << 22))
"""

LEFT = """
import torch
from genus.memory import kept_memory

def resident() -> int:
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096

before = resident()
with kept_memory():
    large = [torch.ones(1 << 20) for _ in range(128)]  # half a gigabyte
    last = torch.ones(1000)  # above it, and still alive
    del large
    inside = resident()
print(inside - before, resident() - before)
"""


def ran(code: str) -> list[int]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_large_tensors_take_no_fresh_pages_inside_nor_afterwards() -> None:
    inside, after = ran(FAULTS)
    assert inside < 100
    assert after < 100  # with thresholds set back to what glibc's manual names: 8,192


def test_what_is_free_is_given_back_where_it_is_much() -> None:
    inside, after = ran(LEFT)
    assert inside > 400e6
    assert after < 100e6
