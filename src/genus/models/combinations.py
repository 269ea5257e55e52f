"""A discrete context as one number, which counting models have tables for."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genus.nets.cells import Cells
from genus.space import Category, Lattice, Space

__all__ = ["context_combinations", "context_index", "context_refusal"]


def context_refusal(context: Space | None) -> str | None:
    """Return the reason why counting cannot condition on this context; None where it can."""
    if context is None:
        return None
    few = [isinstance(k, Category) or k.is_narrow for k in context.kinds]
    wide = [context.label(i) for i, narrow in enumerate(few) if not narrow]
    if wide:
        return f"it counts for each value of the context, and {wide[0]} is not a category or a short range of whole numbers"
    size = context_combinations(context)
    return f"the context has {size:,} combinations of values, more than the 4,096 it can count" if size > 4096 else None


def context_combinations(context: Space | None) -> int:
    """Return the number of combinations of values of a discrete context; 1 without one."""
    return 1 if context is None else math.prod(k.states + (k.size - 1 if isinstance(k, Lattice) else 0) for k in context.kinds)


def context_index(cells: Cells | None, c: Tensor | None, n: int, device: torch.device) -> Tensor:
    """Return the number of the combination of values in every row of c (n, *context.shape), (n,); 0 without a context."""
    number = torch.zeros(n, dtype=torch.long, device=device)
    if cells is not None and c is not None:
        index = cells.index(c, cells.space.split(c).state)
        for j, size in enumerate(cells.sizes.tolist()):
            number = number * size + index[:, j]
    return number
