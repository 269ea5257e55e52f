"""Recordings of one channel, read as one long waveform, windows cut out of clips, or complete clips with an end."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np

from genus.codec.forms import Form
from genus.codec.sound import check_encoding, from_wave, sample_kind, to_wave
from genus.data.arguments import Options
from genus.data.sequences import Sequences, collected
from genus.errors import DataError

__all__ = ["SUFFIXES", "plucked_strings", "read_recordings", "resample", "sequences_of", "write_wav"]

SUFFIXES = (".wav", ".flac", ".ogg")
MEASURED = 2**20  # so many samples standardise all
MOST_RATE = 1_000_000  # samples a second: the filter between two rates is as long as they are large
WINDOW = 4000  # samples: half a second at 8 kHz
NOTES = ("A2", "C3", "D3", "E3", "G3", "A3", "C4", "D4", "E4", "G4")
SEMITONES = (0, 3, 5, 7, 10, 12, 15, 17, 19, 22)  # from A2, 110 Hz, to each note


def read_recordings(paths: Sequence[Path], options: Options) -> Sequences:
    """Return recordings of one channel as encoded samples.

    Args:
        paths: of the files.
        options: the arguments of `read`.

    Raises:
        DataError: a file that is no recording, is cut off, or has several channels; rates that differ and no rate=.
    """
    if options.rate is not None and not 1 <= options.rate <= MOST_RATE:
        raise DataError(f"rate is the number of samples a second, from 1 to {MOST_RATE:,}; got {options.rate}.")
    form = options.form
    target = options.rate or (form.rate if form is not None else 0) or _recording(paths[0])[1]

    def waves() -> Iterator[np.ndarray]:
        for path in paths:
            wave, rate = _recording(path)
            if options.rate is None and rate != target:
                other = f"{paths[0].name} has {target:,}" if form is None else f"the space has {target:,}"
                raise DataError(
                    f"{path.name} has {rate:,} samples a second and {other}; give rate={target} to resample other rates."
                )
            yield resample(wave, rate, target)

    return sequences_of(waves(), target, options)


def sequences_of(waves: Iterable[np.ndarray], rate: int, options: Options) -> Sequences:
    """Return waveforms as encoded samples.

    Args:
        waves: waveforms (T,) in [-1, 1].
        rate: their samples a second.
        options: the arguments of `read`.
    """
    if options.documents not in (None, "auto", "one", "files"):
        raise DataError(f"documents={options.documents!r} is not for sound; expected 'auto', 'one' or 'files'.")
    space = options.space
    if space is not None and not (space.sequence and options.codec is not None and options.codec.is_sound):
        raise DataError(f"These data are sound and the space is not one of sound: {space!r}; read them without space=.")
    encoding = options.encoding or "mu-law"
    check_encoding(encoding)
    if space is not None and options.form is not None:
        if rate != options.form.rate:
            expected = options.form.rate
            raise DataError(f"The space has {expected:,} samples a second; give rate={expected} and not {rate}.")
        encoding = options.form.coding
        if options.documents in ("one", "files") and space.ends != (options.documents == "files"):
            has = "an end, so it is for whole clips" if space.ends else "no end, so it is for one long sound or for windows"
            raise DataError(f"The space has {has}; documents={options.documents!r} does not fit, leave it out.")
    lengths = []

    def parts() -> Iterator[np.ndarray]:
        random = np.random.default_rng(0)
        for wave in waves:
            lengths.append(len(wave))
            # Samples are multiples of a step, 2**-15 mostly: a density over real numbers would make spikes of them.
            noise = random.uniform(-0.5, 0.5, len(wave)) * 2.0**-15 if encoding == "real" else 0.0
            yield from_wave(wave + noise, encoding)

    values = collected(parts(), from_wave(np.zeros(0), encoding).dtype)
    kind = sample_kind(encoding, to_wave(values[:: 1 + len(values) // MEASURED], encoding))
    ended = space.ends if space is not None else options.documents == "files"
    one = options.documents == "one" or len(lengths) == 1
    layout = "documents" if ended else "stream" if one and not options.conditioned else "windows"
    form = Form("audio", ("float32",), coding=encoding, rate=rate)
    uses = frozenset({"documents", "length", "rate", "encoding", "sequence"})
    return Sequences(values, np.array(lengths, dtype=np.int64), kind, form, layout, "samples", block=WINDOW, uses=uses)


# -- files ----------------------------------------------------------------------------------------------------------------


def _soundfile() -> Any:
    """Return the module that reads and writes recordings.

    Raises:
        DataError: it is not installed.
    """
    try:
        import soundfile
    except ImportError as error:
        raise DataError(
            "Recordings are read and written by soundfile, which is not here; pip install 'genus[sound]'."
        ) from error
    return soundfile


def _recording(path: Path) -> tuple[np.ndarray, int]:
    """Return a recording's waveform (T,) in [-1, 1], and its samples a second."""
    soundfile = _soundfile()

    _refuse_cut_off(path)
    try:
        with soundfile.SoundFile(path) as file:
            rate, channels = file.samplerate, file.channels
            wave = file.read(dtype="float64", always_2d=True)
    except Exception as error:  # MemoryError too, where a header lies about the number of samples
        raise DataError(f"{path.name} is no recording that can be read ({error}); remove it or save it anew.") from error
    if channels != 1:
        raise DataError(
            f"{path.name} has {channels} channels; expected one. Mix them into one first, with"
            " soundfile.write(path, sound.mean(axis=1), rate), say."
        )
    if rate > MOST_RATE:
        raise DataError(f"{path.name} says that it has {rate:,} samples a second; expected {MOST_RATE:,} at most.")
    if not len(wave):
        raise DataError(f"{path.name} holds no samples; remove it.")
    return wave[:, 0], rate


def _refuse_cut_off(path: Path) -> None:
    """Raise DataError where the end of a WAV or an Ogg file is missing, which libsndfile reads without a word."""
    if not path.stat().st_size:
        raise DataError(f"{path.name} is empty; remove it.")
    content = np.memmap(path, dtype=np.uint8, mode="r")
    head, tail, size = content[:8].tobytes(), content[-(2**17) :].tobytes(), len(content)
    if head[:4] == b"RIFF" and size >= 8:
        # The size in the header is 0 or the greatest where the writer did not know it; some writers count a byte too many.
        (stated,) = struct.unpack("<I", head[4:])
        if stated not in (0, 2**32 - 1) and stated + 7 > size:
            raise DataError(f"{path.name} is cut off: it has {size:,} of {stated + 8:,} bytes; fetch or save it anew.")
    if head[:4] == b"OggS":  # the last page is marked as such, and must be complete
        page = tail[tail.rfind(b"OggS") :]
        segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
        if len(page) < 27 or not page[5] & 4 or len(page) < 27 + page[26] + sum(segments):
            raise DataError(f"{path.name} is cut off: its last page is missing; fetch or save it anew.")


def resample(wave: np.ndarray, rate: int, target: int) -> np.ndarray:
    """Return a waveform (T,) of `rate` samples a second at a rate of `target`, by a polyphase filter."""
    if rate == target:
        return wave
    from scipy.signal import resample_poly

    ratio = Fraction(target, rate)
    return np.clip(resample_poly(wave, ratio.numerator, ratio.denominator), -1.0, 1.0)


def write_wav(file: str | Path | IO[bytes], wave: Any, rate: int) -> None:
    """Write a waveform as WAV, 16 bits a sample.

    Args:
        file: a path, or an open binary file.
        wave: (T,) in [-1, 1].
        rate: samples a second.
    """
    soundfile = _soundfile()

    values = np.clip(np.nan_to_num(np.asarray(wave, dtype=np.float64)), -1.0, 1.0)
    soundfile.write(file, values, rate, format="WAV", subtype="PCM_16")


# -- synthesised sound ----------------------------------------------------------------------------------------------------


def plucked_strings(clips: int = 200, rate: int = 8000, length: int = 4000) -> tuple[list[np.ndarray], list[str]]:
    """Return synthesised plucks of a string and their notes, the same at every call.

    A burst of noise goes round a loop of p samples that averages neighbours, as a string loses its overtones (Karplus & Strong
    1983, Computer Music Journal 7(2)); the frequency of the note is rate / (p + 1/2).

    Args:
        clips: the number of plucks.
        rate: samples a second.
        length: samples of each.

    >>> waves, notes = plucked_strings(clips=2)
    >>> len(waves[0]), notes
    (4000, ['A2', 'C3'])
    """
    from scipy.signal import lfilter

    random = np.random.default_rng(1983)
    waves, notes = [], []
    for i in range(clips):
        pitch = 110.0 * 2 ** (SEMITONES[i % len(NOTES)] / 12)
        period = round(rate / pitch - 0.5)
        burst = np.zeros(length)
        burst[:period] = random.uniform(-1, 1, period)
        loop = np.zeros(period + 2)
        loop[0], loop[period:] = 1.0, -0.5 * random.uniform(0.98, 0.998)
        wave = lfilter([1.0], loop, burst)
        waves.append(random.uniform(0.3, 0.9) * wave / np.abs(wave).max())
        notes.append(NOTES[i % len(NOTES)])
    return waves, notes
