"""Samples of sequences as a reader sees them: text as it stands, sound as a player above its spectrogram."""

from __future__ import annotations

import base64
import io
import math
import wave
from typing import NamedTuple

import numpy as np
from torch import Tensor

from genus.codec import Codec
from genus.codec.units import spans
from genus.evaluation.svg import figure_of, styled, svg
from genus.space import Category

__all__ = ["Excerpt", "Sound", "excerpts", "sounds", "texts", "waves", "wav"]

LONGEST = 600  # characters shown of a text
RANGE = 70.0  # decibels from the loudest that a spectrogram shows down to nothing
INK = (0.12, 0.44, 0.82)  # of a spectrogram: legible on white and on black
# What a reader cannot see, or what would not be HTML, as a picture of itself; tabs and new lines stay.
VISIBLE = {i: 0x2400 + i for i in range(32) if i not in (9, 10)} | {127: 0x2421} | dict.fromkeys(range(128, 160), 0xFFFD)


class Excerpt(NamedTuple):
    """Hold one text and the mark behind it: "end", "cut" where it goes on, or nothing."""

    text: str
    after: str


class Sound(NamedTuple):
    """Hold one sound: a WAV as a data URI, and its spectrogram as SVG."""

    uri: str
    svg: str


def texts(codec: Codec, x: Tensor) -> list[str]:
    """Return sequences x (n, T) as text, with spaces between symbols that are no characters.

    >>> import torch
    >>> from genus import Category, Space
    >>> texts(Codec(Space(Category(("a", "b", None)), shape=(3,), sequence=True)), torch.tensor([[0.0, 1.0, 2.0]]))
    ['ab']
    """
    if codec.is_text:
        return list(codec.decode(x))
    space = codec.space
    kind, most = space.kinds[0], spans(space, x).tolist()
    rows = [row[:n] for row, n in zip(x.double().tolist(), most, strict=True)]
    if not isinstance(kind, Category):
        return [" ".join(f"{value:.4g}" for value in row if not math.isnan(value)) for row in rows]
    words = [[str(level) for i in row if (level := kind.levels[int(i)]) is not None] for row in rows]
    between = "" if all(level is None or len(str(level)) == 1 for level in kind.levels) else " "
    return [between.join(row) for row in words]


def excerpts(codec: Codec, x: Tensor) -> list[Excerpt]:
    """Return the first samples as text: many short ones or a few long ones."""
    space = codec.space
    x = x[: 24 if space.dim <= 40 else 8 if space.dim <= 120 else 3]
    last = space.split(x).state[:, -1] == space.tables(x).missing if space.ends else [False] * len(x)
    found = []
    for text, ended in zip(texts(codec, x), last, strict=True):
        shown = text[:LONGEST].translate(VISIBLE)
        found.append(Excerpt(shown, "cut" if len(text) > LONGEST or not ended else "end"))
    return found


# -- sound ----------------------------------------------------------------------------------------------------------------


def waves(codec: Codec, x: Tensor) -> list[np.ndarray]:
    """Return sounds x (n, T) as waveforms in [-1, 1], each of its own length."""
    return [np.asarray(one, dtype=np.float32) for one in codec.decode(x)]


def wav(sound: np.ndarray, rate: int) -> bytes:
    """Return a waveform in [-1, 1] as a WAV file of 16 bits.

    >>> len(wav(np.zeros(8000), 8000))
    16044
    """
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(sound, -1, 1) * (2**15 - 1)).round().astype("<i2").tobytes())
    return out.getvalue()


def sounds(codec: Codec, samples: dict[str, Tensor], most: int = 3) -> dict[str, list[Sound]]:
    """Return the first sounds of each name, all spectrograms on one scale of time and of loudness."""
    rate = codec.form.rate if codec.form is not None else 0
    heard = {name: waves(codec, x[:most])[:most] for name, x in samples.items()}
    pictures = {name: [_spectrum(one, rate) for one in many] for name, many in heard.items()}
    loudest = max((p.max(initial=0.0) for many in pictures.values() for p in many), default=0.0) or 1.0
    seconds = max((len(one) for many in heard.values() for one in many), default=1) / rate
    return {
        name: [
            Sound(
                f"data:audio/wav;base64,{base64.b64encode(wav(one, rate)).decode()}",
                _spectrogram(picture / loudest, len(one) / rate, seconds, rate, f"Spectrogram of {name}, number {i}"),
            )
            for i, (one, picture) in enumerate(zip(many, pictures[name], strict=True), 1)
        ]
        for name, many in heard.items()
    }


def _spectrum(sound: np.ndarray, rate: int) -> np.ndarray:
    """Return the magnitudes (frequencies, frames) of a sound (T,), in windows of about 30 ms."""
    from scipy.signal import spectrogram

    window = 2 ** round(math.log2(0.03 * rate))
    sound = np.pad(sound, (0, max(0, window - len(sound))))
    return spectrogram(sound, rate, nperseg=window, noverlap=3 * window // 4, scaling="spectrum", mode="magnitude")[2]


def _spectrogram(magnitude: np.ndarray, seconds: float, widest: float, rate: int, alt: str) -> str:
    with styled(ticks=9):
        figure = figure_of(300, 130)
        axes = figure.subplots()
        rgba = np.empty((*magnitude.shape, 4))
        rgba[..., :3] = INK
        rgba[..., 3] = (1 + 20 * np.log10(np.maximum(magnitude, 1e-12)) / RANGE).clip(0, 1)  # silence is the page itself
        axes.imshow(rgba, extent=(0, seconds, 0, rate / 2000), origin="lower", aspect="auto", interpolation="none")
        axes.set_xlim(0, widest)
        axes.set_xlabel("s", labelpad=1)
        axes.set_ylabel("kHz")
        return svg(figure, alt)
