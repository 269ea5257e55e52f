"""Products with weights of which masks cut much away: by blocks of rows, each with as many columns as its rows see."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Block", "input_gradient", "linear_of", "parts", "product", "weight_gradient"]

PARTS, NARROWEST = 4, 128  # blocks that a layer is cut into, at most; how many rows, at least
Block = tuple[int, int, int]  # of a layer: rows from, to, and how many columns they see at most


def parts(rows: int, columns: int) -> list[int]:
    """Where blocks of rows begin, and where the last ends; narrow ones are not worth their trouble."""
    count = min(PARTS, rows // NARROWEST) if columns > NARROWEST else 1
    step = -(-rows // max(count, 1) // 16) * 16  # whole vectors of a processor
    return [*range(0, rows, step), rows]


def product(h: Tensor, weight: Tensor, bias: Tensor | None, blocks: list[Block], columns: bool) -> Tensor:
    """h (B, in) @ weight.T + bias, (out) or (B, out), -> (B, out), stored column after column or row after row."""
    out = h.new_empty(len(weight), len(h)).T if columns else h.new_empty(len(h), len(weight))
    for a, b, k in blocks:
        if bias is None:
            torch.mm(h[:, :k], weight[a:b, :k].T, out=out[:, a:b])
        else:
            torch.addmm(bias[..., a:b], h[:, :k], weight[a:b, :k].T, out=out[:, a:b])
    return out


def linear_of(h: Tensor, weight: Tensor, bias: Tensor | None, blocks: list[Block]) -> Tensor:
    """A linear layer, by blocks where there are any: nothing is written in place, so that a compiler can take it apart."""
    if not blocks:
        return F.linear(h, weight, bias)
    out = torch.cat([h[:, :k] @ weight[a:b, :k].T for a, b, k in blocks], dim=1)
    return out if bias is None else out + bias


def input_gradient(gradient: Tensor, weight: Tensor, blocks: list[Block]) -> Tensor:
    """gradient (B, out) @ weight -> (B, in)."""
    found = None
    for a, b, k in reversed(blocks):  # the last block sees the most
        if found is None:
            found = gradient.new_empty(len(gradient), weight.shape[1])
            torch.mm(gradient[:, a:b], weight[a:b, :k], out=found[:, :k])
            found[:, k:] = 0.0
        else:
            found[:, :k].addmm_(gradient[:, a:b], weight[a:b, :k])
    return found if found is not None else gradient.new_zeros(len(gradient), weight.shape[1])


def weight_gradient(gradient: Tensor, h: Tensor, blocks: list[Block]) -> Tensor:
    """gradient.T @ h (B, in) -> (out, in), 0 where no block is."""
    if len(blocks) == 1:  # a narrow factor comes first
        narrow = gradient.shape[1] < h.shape[1]
        return torch.mm(gradient.T, h) if narrow else torch.mm(h.T, gradient).T.contiguous()
    found = gradient.new_zeros(gradient.shape[1], h.shape[1])
    for a, b, k in blocks:
        torch.mm(gradient[:, a:b].T, h[:, :k], out=found[a:b, :k])
    return found
