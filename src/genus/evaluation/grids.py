"""Samples of images side by side, as one small bitmap that the page holds in itself."""

from __future__ import annotations

import base64
import io

import numpy as np
from torch import Tensor

from genus.space import Category, Lattice, Space

__all__ = ["image_grid"]


def image_grid(space: Space, x: Tensor, real: Tensor, across: int | None = None) -> str:
    """Return samples x (n, H, W) or (n, C, H, W) as a data URI, on the real rows' grey scale.

    Pixels stay crisp, and nothing is drawn where an image is NaN. With `across` all samples are drawn, so many in a line;
    without it the first ones, as a square.
    """
    from PIL import Image

    kind = space.kinds[0]
    height, width = space.shape[-2:]
    side = 6 if max(height, width) <= 48 else 4 if max(height, width) <= 128 else 3
    down = side if across is None else max(1, -(-len(x) // across))
    x, across = (x[: side * side], side) if across is None else (x, across)
    if isinstance(kind, Lattice):
        low, high = kind.low, kind.high
    elif isinstance(kind, Category):
        low, high = 0.0, kind.states - 1.0
    else:
        low, high = (float(q) for q in np.nanquantile(real.double().numpy(), [0.005, 0.995]))
    data = x.double().numpy().reshape(-1, *(space.shape if len(space.shape) == 3 else (1, *space.shape)))
    channels = data if data.shape[1] in (1, 3) else data[:, :3] if data.shape[1] == 4 else data.mean(1, keepdims=True)
    empty = np.isnan(data).all(axis=(1, 2, 3))
    tiles = np.nan_to_num((channels - low) / ((high - low) or 1.0)).clip(0, 1)
    zoom = max(1, 480 // (across * width))
    gap = 4 if across <= 8 else 1
    tiles = np.repeat(np.repeat(tiles, zoom, 2), zoom, 3)
    tall, wide = tiles.shape[2:]
    canvas = np.zeros((down * (tall + gap) - gap, across * (wide + gap) - gap, 4), dtype=np.uint8)  # the gaps stay clear
    for i, tile in enumerate(tiles):
        if empty[i]:
            continue
        top, left = i // across * (tall + gap), i % across * (wide + gap)
        canvas[top : top + tall, left : left + wide, :3] = np.round(255 * np.moveaxis(tile, 0, -1))
        canvas[top : top + tall, left : left + wide, 3] = 255
    buffer, form = io.BytesIO(), "png"
    Image.fromarray(canvas).save(buffer, "PNG", optimize=True)
    if buffer.tell() > 200_000:  # photographs: a page of many families must stay small
        buffer, form = io.BytesIO(), "webp"
        Image.fromarray(canvas).save(buffer, "WEBP", quality=88)
    return f"data:image/{form};base64,{base64.b64encode(buffer.getvalue()).decode()}"
