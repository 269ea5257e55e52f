"""Waveforms in [-1, 1], encoded by mu-law or linearly as numbers of a lattice, or kept as they are, and decoded."""

from __future__ import annotations

import re

import numpy as np

from genus.errors import DataError
from genus.kinds import Lattice, Real

__all__ = ["check_encoding", "from_wave", "sample_kind", "to_wave"]

MU = 255.0


def check_encoding(encoding: str) -> None:
    """Raise DataError unless the encoding is "mu-law", "linear", "linear-2" to "linear-24", or "real"."""
    if encoding not in ("mu-law", "real") and not 2 <= _bits(encoding) <= 24:
        raise DataError(f"There is no encoding {encoding!r}; expected 'mu-law', 'linear', 'linear-8' (to 24 bits) or 'real'.")


def _bits(encoding: str) -> int:
    """Return the bits of a linear encoding; 0 for other encodings."""
    match = re.fullmatch(r"linear(?:-(\d+))?", encoding)
    return 0 if match is None else int(match[1] or 16)


def sample_kind(encoding: str, wave: np.ndarray) -> Lattice | Real:
    """Return the kind of an encoded waveform's numbers; except for the mu-law, `wave` (T,) standardises it.

    >>> sample_kind("mu-law", np.zeros(1)), sample_kind("linear-8", np.zeros(1))
    (Lattice(0, 255), Lattice(-128, 127))
    """
    if encoding == "mu-law":
        return Lattice(0, 255)
    scale = max(float(wave.std()), 1e-4)
    if encoding == "real":
        return Real(float(wave.mean()), scale)
    half = 2 ** (_bits(encoding) - 1)
    return Lattice(-half, half - 1, loc=float(wave.mean()) * half, scale=max(scale * half, 0.25))


def from_wave(wave: np.ndarray, encoding: str) -> np.ndarray:
    """Return a waveform in [-1, 1] encoded, as uint8, int16, int32 or float32 of the same shape; what is beyond 1 is cut off.

    The mu-law gives quiet sound finer steps, y = sign(x) log(1 + 255 |x|) / log 256 in 256 cells (ITU-T G.711 approximates it).

    >>> from_wave(np.array([-1.0, -0.01, 0.0, 0.01, 1.0]), "mu-law")
    array([  0,  98, 128, 157, 255], dtype=uint8)
    """
    wave = np.clip(wave, -1.0, 1.0)
    if encoding == "real":
        return wave.astype(np.float32)
    if encoding == "mu-law":
        y = np.sign(wave) * np.log1p(MU * np.abs(wave)) / np.log1p(MU)
        return np.floor((y + 1) / 2 * MU + 0.5).astype(np.uint8)
    bits = _bits(encoding)
    half = 2 ** (bits - 1)
    return np.clip(np.rint(wave * half), -half, half - 1).astype(np.int16 if bits <= 16 else np.int32)


def to_wave(values: np.ndarray, encoding: str) -> np.ndarray:
    """Return encoded numbers as a waveform, float32 in [-1, 1]: the middle of each cell, the inverse of `from_wave`.

    >>> to_wave(from_wave(np.array([-1.0, 0.5]), "linear"), "linear")
    array([-1. ,  0.5], dtype=float32)
    """
    values = values.astype(np.float64)
    if encoding == "mu-law":
        y = 2 * values / MU - 1
        values = np.sign(y) * np.expm1(np.abs(y) * np.log1p(MU)) / MU
    elif encoding != "real":
        values = values / 2 ** (_bits(encoding) - 1)
    return np.clip(values, -1.0, 1.0).astype(np.float32)
