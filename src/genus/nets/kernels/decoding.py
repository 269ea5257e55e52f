"""Decode a transformer one position at a time from the keys and values of the positions before it.

Reference: `Transformer.parallel`, a whole pass for every position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.compiled import Compiled
from genus.nets.dense import rms_norm

__all__ = ["KeyValueCache", "compiled_decode_step", "decode_step"]


class KeyValueCache(NamedTuple):
    """Hold what a transformer remembers of the positions it has seen.

    Attributes:
        kv_cache: of every block (B, 2 * heads, window, width / heads), keys before values; those of position p stand at p
            modulo the window, the keys rotated by their positions.
        recent: of every block the last projections (B, positions, 3 * width), as `Block.project` returns them.
        context: what the context adds to every token, (B, width); None without one.
        seen: the number of positions so far.
    """

    kv_cache: list[Tensor]
    recent: list[Tensor]
    context: Tensor | None
    seen: int


def decode_step(
    blocks: Sequence[nn.Module],
    kv_cache: list[Tensor],
    recent: list[Tensor],
    x: Tensor,
    rotation: Tensor,
    place: Tensor | int,
) -> Tensor:
    """Return the output (B, width) for the newest token, whose keys and values are written into the cache.

    Args:
        blocks: of the transformer.
        kv_cache: of every block, cut to the positions that are filled, the newest included.
        recent: of every block the projections of the positions before, which are written too.
        x: (B, width), the token.
        rotation: (1, width / heads / 2, 2), cosine and sine of the position's angles.
        place: the index in the cache that the newest position takes; a number, or (1,) for the compiler.
    """
    x = rms_norm(x)[:, None]  # (B, 1, width)
    for block, cache, before in zip(blocks, kv_cache, recent, strict=True):
        q, k, v, projected = block.project(x, rotation, before)  # type: ignore[operator]  # (B, heads, 1, width / heads)
        before.copy_(projected)
        newest = torch.cat([k, v], dim=1).to(cache.dtype)
        if isinstance(place, Tensor):
            cache.index_copy_(2, place, newest)
        else:  # seven times as fast
            cache[:, :, place : place + 1] = newest
        keys, values = cache.to(q.dtype).chunk(2, dim=1)
        x = block.add(x, F.scaled_dot_product_attention(q, keys, values))  # type: ignore[operator]
    return rms_norm(x[:, 0])


compiled_decode_step = Compiled(decode_step, "sampling", draws=False)
