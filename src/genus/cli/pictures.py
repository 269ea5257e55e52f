"""Pictures at the command line: grids, folders of files, arrays."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genus.atomic import atomic_write
from genus.cli.errors import UsageError
from genus.cli.outputs import check_suffix

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from genus.codec import Codec
    from genus.space import Space

__all__ = ["check_pictures", "image_grid", "write_images"]

IMAGES = (".png", ".npz", ".npy")
TILE, GAP, WIDEST = 56, 2, 4096  # pixels: of an image in a grid at least, between images, of a whole grid at most
LETTER = 7  # pixels a letter of a row's name is wide, at most


def check_pictures(out: Path | None, as_json: bool = False) -> Path:
    """Return where pictures are to be written; raise UsageError where that is nowhere, or in no known form."""
    if out is None or as_json:
        raise UsageError(
            "this model draws images, which cannot be printed; add --out samples.png, .npz or .npy, or a folder such as samples"
        )
    if out.suffix:
        check_suffix(out, IMAGES, "images")
    return out


def write_images(
    codec: Codec, x: Tensor, path: Path, labels: dict[str, Any], columns: int | None = None, names: Sequence[str] = ()
) -> None:
    """Write images x (N, *shape) as one PNG grid, as arrays that `genus.read` takes, or as a folder of PNG files.

    Args:
        codec: of the images.
        x: the images.
        path: ends in .png for a grid, .npz, with the labels, or .npy; without an ending it is a folder, of which each label has
            one of its own where the labels have one column, so that `genus.read` finds them.
        labels: an array (N,) of each column of the context.
        columns: of the grid; None: about as many as rows.
        names: of the rows of the grid, written before them.
    """
    import numpy as np
    from PIL import Image

    from genus.codec import Codec

    suffix = path.suffix.lower()
    if not suffix:
        _write_folder(codec, x, path, labels)
        return
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        if suffix == ".png":
            Image.fromarray(_named(image_grid(codec.space, x, columns), names)).save(file, format="PNG")
            return
        form = codec.form
        form = form if form is None or form.container != "torch" else replace(form, container="numpy")
        array = np.asarray(Codec(codec.space, form).decode(x))
        if suffix == ".npy":
            np.save(file, array)
        else:
            texts = {name: values.astype(str) if values.dtype == object else values for name, values in labels.items()}
            np.savez_compressed(file, images=array, **texts)


def _write_folder(codec: Codec, x: Tensor, path: Path, labels: dict[str, Any]) -> None:
    """Write each image as a PNG file of its own size."""
    from PIL import Image

    tiles, width = _tiles(codec.space, x), len(str(len(x)))
    levels = [str(level) for level in next(iter(labels.values()))] if len(labels) == 1 else [""] * len(x)
    for i, (tile, level) in enumerate(zip(tiles, levels, strict=True), 1):
        file = path / re.sub(r"[^\w.=+-]+", "_", level) / f"{i:0{width}}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as temporary:
            Image.fromarray(_picture(tile)).save(temporary, format="PNG")


def image_grid(space: Space, x: Tensor, columns: int | None = None) -> np.ndarray:
    """Arrange images (N, H, W) or (N, C, H, W) in one picture (h, w) or (h, w, C) of bytes.

    The picture is about as wide as it is high, or has so many columns, and every pixel is enlarged by a whole factor.
    """
    import numpy as np

    tiles = _tiles(space, x)
    count, channels, height, width = tiles.shape
    columns = columns or max(1, min(count, round(math.sqrt(count * height / width))))
    rows = math.ceil(count / columns)
    factor = max(1, min(-(-TILE // max(height, width)), WIDEST // (max(columns, rows) * (max(height, width) + GAP))))
    tiles = tiles.repeat(factor, axis=2).repeat(factor, axis=3)
    h, w = height * factor + GAP, width * factor + GAP
    # Where nothing is, white; the alpha of such places is full too.
    sheet = np.full((channels, rows * h + GAP, columns * w + GAP), 255, dtype=np.uint8)
    for i, tile in enumerate(tiles):
        top, left = GAP + i // columns * h, GAP + i % columns * w
        sheet[:, top : top + h - GAP, left : left + w - GAP] = tile
    return _picture(sheet)


def _tiles(space: Space, x: Tensor) -> np.ndarray:
    """Return images as bytes, (N, C, H, W): lattices from end to end, other numbers from the least."""
    import numpy as np

    from genus.space import Lattice

    kind = space.kinds[0]
    values = x.double().cpu().numpy()
    low, high = (kind.low, kind.high) if isinstance(kind, Lattice) else (np.nanmin(values), np.nanmax(values))
    grey = (255 * (np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-300)).clip(0, 255).round().astype(np.uint8)
    return grey[:, None] if grey.ndim == 3 else grey


def _picture(planes: np.ndarray) -> np.ndarray:
    """Return planes (C, h, w) as a picture, (h, w) or (h, w, C)."""
    import numpy as np

    return planes[0] if len(planes) == 1 else np.ascontiguousarray(np.moveaxis(planes, 0, -1))


def _named(sheet: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return a grid with the names of its rows before them, black on white."""
    import numpy as np
    from PIL import Image, ImageDraw

    if not names:
        return sheet
    margin = LETTER * max(map(len, names)) + 2 * GAP
    page = np.pad(sheet, [(0, 0), (margin, 0), *[(0, 0)] * (sheet.ndim - 2)], constant_values=255)
    picture = Image.fromarray(page)
    draw, height = ImageDraw.Draw(picture), (len(page) - GAP) / len(names)
    for i, name in enumerate(names):
        black = 0 if page.ndim == 2 else tuple(255 if channel == 3 else 0 for channel in range(page.shape[2]))
        draw.text((GAP, GAP + (i + 0.5) * height), name, fill=black, anchor="lm")
    return np.asarray(picture)
