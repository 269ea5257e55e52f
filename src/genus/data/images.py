"""Images, in arrays and in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genus.codec import Codec
from genus.codec.forms import Form
from genus.errors import DataError
from genus.kinds.numbers import measure_numbers
from genus.kinds.steps import find_steps
from genus.space import Kind, Lattice, Real, Space

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["SUFFIXES", "image_codec", "read_files", "series_notes"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # Pillow opens others by starting programs
PIXELS = 2**24  # of one image at most, looked up before it is decoded
CHANNELS = (1, 3, 4)
FEW = 32  # so many values of bytes are taken for all possible values, where each occurs in so many pixels on average
PIECE = 2**20  # pixels examined together


def image_codec(array: np.ndarray, container: str = "images", kind: Kind | None = None) -> Codec:
    """Return the codec of images, whose pixels share a kind.

    Bytes are Lattice(0, 255), whatever greys occur, unless all pixels together show at most 32 values, each 32 times or more on
    average: the kind is then the lattice of these values, Lattice(0, 255, step=255) for black and white. Other whole numbers,
    and grey levels such as k/255, are a Lattice from the least to the greatest value; other numbers a Real. Where both the last
    axis and the second could be channels, the last is taken.

    Args:
        array: (N, H, W), (N, H, W, C) or (N, C, H, W), with 1, 3 or 4 channels.
        container: that of the `Form`, "images" or "torch".
        kind: of the pixels; None: measured.

    Raises:
        DataError: another shape, or pixels that are empty, NaN or infinite.
    """
    if array.ndim not in (3, 4) or array.dtype.kind not in "biuf":
        raise DataError(f"Expected images (N, H, W), (N, H, W, C) or (N, C, H, W); got shape {array.shape} of {array.dtype}.")
    last = array.ndim == 4 and array.shape[3] in CHANNELS
    if array.ndim == 4 and not last and array.shape[1] not in CHANNELS:
        raise DataError(f"Images of shape {array.shape} have no axis of 1, 3 or 4 channels, neither second nor last.")
    if 0 in array.shape:
        raise DataError(f"Images of shape {array.shape} are empty.")
    shape = array.shape[1:] if not last else (array.shape[3], array.shape[1], array.shape[2])
    space = Space(kind or _pixel_kind(array), shape=shape)
    return Codec(space, Form(container, (str(array.dtype),), channels_last=last))


def _pixel_kind(array: np.ndarray) -> Kind:
    if array.dtype == bool:
        return Lattice(0, 1)
    flat = array.reshape(-1)
    if array.dtype == np.uint8:
        return _few(flat) or Lattice(0, 255)
    if array.dtype.kind == "f":
        if np.isinf(flat).any() or np.isnan(flat).any():
            raise DataError("The images hold NaN or infinite pixels; replace them.")
        if not np.array_equal(flat, np.rint(flat)):
            levels, counts = np.unique(flat.astype(np.float64), return_counts=True)
            steps = find_steps(levels, counts, array.dtype.itemsize <= 4) if len(levels) <= Lattice.COARSE else None
            if steps is not None and steps.on.all() and (steps.high - steps.low) / steps.step < Lattice.COARSE:
                return Lattice(steps.low, steps.high, steps.step, digits=steps.digits)
            kind = measure_numbers("pixels", flat.astype(np.float64), "real")
            return kind if isinstance(kind, Real) else Real(float(flat.mean()), float(flat.std()) or 1.0)
    low, high = float(flat.min()), float(flat.max())
    return (_few(flat) or Lattice(low, high)) if high > low else Lattice(low, low + 1)


def _few(flat: np.ndarray) -> Lattice | None:
    """Return the lattice that spans pixels of few different whole numbers, each frequent; None where many occur, or one."""
    values = np.array([], dtype=flat.dtype)
    for at in range(0, len(flat), PIECE):
        values = np.union1d(values, flat[at : at + PIECE])
        if len(values) > FEW:
            return None
    if len(values) < 2 or len(flat) < FEW * len(values):
        return None
    return Lattice(float(values[0]), float(values[-1]), float(np.gcd.reduce(np.diff(values.astype(np.int64)))))


def series_notes(array: np.ndarray) -> tuple[str, ...]:
    """Return a note on an array (N, H, W) of numbers that are no greys: it may be N series of H steps with W values each."""
    if array.ndim != 3 or array.dtype.kind != "f" or not array.size or (np.nanmin(array) >= 0 and np.nanmax(array) <= 255):
        return ()
    steps, values = array.shape[1:]
    return (f"read as pictures of {steps} x {values} numbers; series of {steps} steps with {values} values: sequence=True",)


def read_files(paths: Sequence[Path]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return files of images as one array, and notes on how they were read.

    Pixels are bytes; of grey images with more bits, their own numbers. Grey images among coloured ones become coloured;
    transparent images are laid on white.

    Returns:
        (N, H, W) or (N, H, W, 3), and the notes.

    Raises:
        DataError: two sizes, two depths, an unreadable file.
    """
    from PIL import Image

    images: list[np.ndarray] = []
    cut: list[Path] = []
    for path in paths:
        try:
            with Image.open(path, formats=FORMATS) as file:
                if file.width * file.height > PIXELS:
                    raise DataError(
                        f"{path} has {file.width:,} x {file.height:,} pixels, more than the {PIXELS:,} that an image may have;"
                        " make it smaller."
                    )
                if "RGB" in file.mode and any(";16" in str(tile[3]) for tile in file.tile):
                    cut.append(path)
                images.append(_pixels(file))
        except DataError:
            raise
        except Exception as error:  # a decoder of damaged bytes raises anything
            raise DataError(f"{path} is not an image that can be read ({error}); remove it or save it anew.") from error
        if images[-1].shape[:2] != images[0].shape[:2]:
            (h0, w0), (h1, w1) = images[0].shape[:2], images[-1].shape[:2]
            raise DataError(
                f"The images differ in size: {paths[0].name} is {w0} x {h0} pixels, {path.name} is {w1} x {h1};"
                " resize them to one size."
            )
        if images[-1].dtype != images[0].dtype:
            raise DataError(
                f"The images differ in depth: the pixels of {paths[0].name} are {images[0].dtype}, those of {path.name}"
                f" {images[-1].dtype}; save them in one."
            )
    if any(image.ndim == 3 for image in images):
        images = [image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2) for image in images]
    notes = (f"16 bits a channel ({len(cut):,} images, such as {cut[0].name}): 8 of them are read",) if cut else ()
    return np.stack(images), notes


def _pixels(image: PIL.Image.Image) -> np.ndarray:
    """Return pixels (H, W) or (H, W, 3) as bytes; those of grey beyond 8 bits, which bytes would clip, as they are."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        pixels = np.asarray(image)
        return pixels.astype(pixels.dtype.newbyteorder("="))
    grey = image.mode in ("1", "L", "LA")
    if "A" in image.getbands() or "transparency" in image.info:
        from PIL import Image

        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert("L" if grey else "RGB"))
