"""Random numbers of a stretch of code's own; every use of a seed in the ladder goes through here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["isolated"]


@contextmanager
def isolated(seed: int | None) -> Iterator[None]:
    """Draw random numbers from `seed` inside the context, and put torch's global random state back afterwards.

    Args:
        seed: of the draws inside; None: they come from torch's global random state, which moves on.
    """
    if seed is None:
        yield
        return
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(seed)
        yield
