"""Images: arrays of them, and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from genus.data.measure import measure_numbers
from genus.errors import DataError
from genus.frames import Form
from genus.lattices import find_lattice
from genus.space import Integer, Kind, Real, Space

__all__ = ["SUFFIXES", "image_space", "read_files"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
CHANNELS = (1, 3, 4)


def image_space(array: np.ndarray, container: str = "images", kind: Kind | None = None) -> Space:
    """The space of images (N, H, W), (N, H, W, C) or (N, C, H, W), C being 1, 3 or 4; one kind that all pixels share.

    Bytes are Integer(0, 255); other whole numbers and grey levels such as k/255 an Integer from the least to the greatest; the
    rest a Real. Where the last axis and the second both could be channels, the last one is taken.
    """
    if array.ndim not in (3, 4) or array.dtype.kind not in "biuf":
        raise DataError(f"Expected images (N, H, W), (N, H, W, C) or (N, C, H, W); got shape {array.shape} of {array.dtype}.")
    last = array.ndim == 4 and array.shape[3] in CHANNELS
    if array.ndim == 4 and not last and array.shape[1] not in CHANNELS:
        raise DataError(f"Images of shape {array.shape} have no axis of 1, 3 or 4 channels, neither second nor last.")
    if 0 in array.shape:
        raise DataError(f"Images of shape {array.shape} are empty.")
    shape = array.shape[1:] if not last else (array.shape[3], array.shape[1], array.shape[2])
    return Space(kind or _pixel_kind(array), shape=shape, form=Form(container, (str(array.dtype),), channels_last=last))


def _pixel_kind(array: np.ndarray) -> Kind:
    if array.dtype == np.uint8:
        return Integer(0, 255)
    if array.dtype == bool:
        return Integer(0, 1)
    flat = array.reshape(-1)
    if array.dtype.kind == "f":
        if np.isinf(flat).any() or np.isnan(flat).any():
            raise DataError("The images hold NaN or infinite pixels; replace them.")
        if not np.array_equal(flat, np.rint(flat)):
            levels, counts = np.unique(flat.astype(np.float64), return_counts=True)
            lattice = find_lattice(levels, counts, array.dtype.itemsize <= 4) if len(levels) <= 1024 else None
            if lattice is not None and lattice.on.all() and (lattice.high - lattice.low) / lattice.step < 1024:
                return Integer(lattice.low, lattice.high, lattice.step, digits=lattice.digits)
            kind = measure_numbers("pixels", flat.astype(np.float64), "real")
            return kind if isinstance(kind, Real) else Real(float(flat.mean()), float(flat.std()) or 1.0)
    low, high = float(flat.min()), float(flat.max())
    return Integer(low, high) if high > low else Integer(low, low + 1)


def read_files(paths: Sequence[Path]) -> np.ndarray:
    """Files of images -> (N, H, W) or (N, H, W, 3) bytes.

    Grey and coloured images together become coloured; transparency is laid on white.

    Raises:
        DataError: two sizes, an unreadable file.
    """
    from PIL import Image, UnidentifiedImageError

    images: list[np.ndarray] = []
    for path in paths:
        try:
            with Image.open(path) as file:
                image: Image.Image = file
                if "A" in image.getbands() or "transparency" in image.info:
                    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
                grey = file.mode in ("1", "L", "I", "F", "LA") or file.mode.startswith("I;16")
                images.append(np.asarray(image.convert("L" if grey else "RGB")))
        except (UnidentifiedImageError, OSError, ValueError) as error:
            raise DataError(f"{path} is not an image that can be read ({error}); remove it or save it anew.") from error
        if images[-1].shape[:2] != images[0].shape[:2]:
            (h0, w0), (h1, w1) = images[0].shape[:2], images[-1].shape[:2]
            raise DataError(
                f"The images differ in size: {paths[0].name} is {w0} x {h0} pixels, {path.name} is {w1} x {h1};"
                " resize them to one size."
            )
    if any(image.ndim == 3 for image in images):
        images = [image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2) for image in images]
    return np.stack(images)
