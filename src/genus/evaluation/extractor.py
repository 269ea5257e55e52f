"""Map images and sounds to features, by which samples are compared with real rows: trees over pixels do not rank families."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.codec import Codec
from genus.data import Dataset
from genus.nets.strided import StridedEncoder
from genus.random import isolated
from genus.space import Category, Space

__all__ = ["Extractor", "make_extractor", "label_column"]

FEATURES = 32  # of an image: few, since a covariance of them is estimated from some hundred rows
CHANNELS = 16
SIDE = 64  # pixels, to which larger images are averaged
ROWS = 10_000  # that the network is trained on
BATCH, STEPS, EPOCHS, RATE = 128, 400, 40, 2e-3
SECONDS = 20.0  # of training, at most
LABELS = range(2, 101)  # levels of a column that is taken for the label
FARTHEST = 4.0  # deviations of a feature: one row in a heavy tail would decide a cubic kernel
NOISE = 0.5  # of half a pixel's range, at most
STATES = 8  # of a pixel that is a category, up to which each is a channel
BANDS, FRAMES = 16, 48  # of the picture of a sound
FLOOR = 1e-7  # of the power of a band, that of silence
LEAST = 20  # rows below which nothing is trained


@dataclass(frozen=True)
class Extractor:
    """Compute features of images or sounds, and where there are labels the probabilities that a network gives them.

    Args:
        words: what the features are, for the page.
        size: their number.
        seconds: that it took to train.
        label: the column of the context that is the label; None without one.
    """

    words: str
    size: int
    seconds: float
    label: int | None
    codec: Codec
    _inputs: Callable[[Codec, Tensor], Tensor]
    _net: nn.Module | None
    _head: nn.Module | None
    _loc: Tensor
    _scale: Tensor

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Return (N, size) float64 of rows x (N, *shape), in standard deviations of the training rows, four at most."""
        return ((self._raw(x) - self._loc) / self._scale).clamp(-FARTHEST, FARTHEST)

    @torch.no_grad()
    def probabilities(self, x: Tensor) -> np.ndarray | None:
        """Return the network's probability of each label, (N, labels); None without labels."""
        if self._net is None or self._head is None or self.label is None:
            return None
        parts = [self._head(F.leaky_relu(self._net(part), 0.2)).softmax(1) for part in self._pictures(x).split(512)]
        return torch.cat(parts).double().numpy()

    def _pictures(self, x: Tensor) -> Tensor:
        return self._inputs(self.codec, x).flatten(1)

    def _raw(self, x: Tensor) -> Tensor:
        if self.codec.space.sequence or self._net is None:
            return statistics(_pictures_of_sound(self.codec, x, None))
        return torch.cat([F.leaky_relu(self._net(part), 0.2) for part in self._pictures(x).split(512)]).double()


def make_extractor(train: Dataset, seconds: float = SECONDS) -> Extractor | None:
    """Return the extractor of images or sounds, trained on the training rows; None of tables, texts and too few rows.

    Images: a small strided network learns the labels, where a column of the context is one, or else how an image was altered:
    turned (Gidaris et al. 2018, arXiv:1803.07728), mixed with others, blurred. The features are its last layer.

    Sounds: mean, deviation and change of the logarithm of the power in 16 mel bands, and the duration; where there are labels,
    the network learns them from the picture of these bands over time.

    Args:
        train: the training rows; 10,000 at most are learnt from.
        seconds: of training, at most.
    """
    space = train.space
    sound = space.sequence and train.codec is not None and train.codec.is_sound
    if len(train) < LEAST or (not sound and (space.sequence or len(space.shape) < 2)):
        return None
    begin = time.perf_counter()
    codec = train.codec or Codec(space)
    label = label_column(train.context)
    rows = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:ROWS]
    x = train.x[rows].detach().cpu()
    noun = "sounds" if sound else "images"
    size = 3 * BANDS + 1 if sound else FEATURES
    inputs = _sound_input if sound else _image_input
    net = head = None
    if label is not None or not sound:
        y = None if label is None or train.c is None else train.c[rows, label].long().cpu()
        classes = 8 if y is None else train.context.kinds[label].states  # type: ignore[union-attr, index]
        net, head = _trained(inputs(codec, x), y, classes, seconds)
    named = (train.context.names or ("label",) * train.context.dim)[label] if label is not None and train.context else ""
    learnt = f"tell {named}" if label is not None else "tell how an image was altered"
    network = f"a small network that learned from {len(x):,} training {noun} to {learnt}"
    words = f"{size} features of {network}"
    if sound:
        words = f"{size} features: mean, deviation and change of the log power in {BANDS} mel bands, and the duration"
        words += f"; {named} is told by {network}" if label is not None else ""
    made = Extractor(words, size, 0.0, label, codec, inputs, net, head, torch.zeros(size), torch.ones(size))
    with torch.no_grad():
        found = made._raw(x[: 2 * STEPS])
    scale = found.std(0)
    return replace(made, seconds=time.perf_counter() - begin, _loc=found.mean(0), _scale=scale.where(scale > 1e-6, 1.0))


def label_column(context: Space | None) -> int | None:
    """Return the first column of a context that has as many levels as labels have."""
    if context is None or context.sequence or not context.is_table:
        return None
    kinds = enumerate(context.kinds)
    return next((i for i, kind in kinds if isinstance(kind, Category) and kind.states in LABELS), None)


def _trained(x: Tensor, y: Tensor | None, classes: int, seconds: float) -> tuple[nn.Module, nn.Module]:
    """Return the network of features and its last layer, trained on pictures x (N, C, H, W) to tell y (N,), or alterations."""
    with isolated(0), torch.enable_grad():
        net = StridedEncoder(x.shape[1:], CHANNELS, FEATURES)
        head = nn.Linear(FEATURES, classes)
        parameters = [*net.parameters(), *head.parameters()]
        optimizer = torch.optim.AdamW(parameters, RATE, weight_decay=0.05)
        steps = min(STEPS, max(20, EPOCHS * len(x) // BATCH))
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2 * RATE, total_steps=steps)
        begin = math.inf
        for _ in range(steps):
            rows = torch.randint(len(x), (min(BATCH, len(x)),))
            seen, told = (x[rows], y[rows]) if y is not None else altered(x[rows])
            loss = F.cross_entropy(head(F.leaky_relu(net(seen.flatten(1)), 0.2)), told)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if time.perf_counter() - begin > seconds:
                break
            begin = min(begin, time.perf_counter())  # after the first step, which loads what later ones have
    return net.eval().requires_grad_(False), head.eval().requires_grad_(False)


def altered(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return images (B, C, H, W), each altered in one of eight ways, and in which (B,).

    Nothing; three turns, or mirrorings where an image is no square; every pixel from another image; one half from another
    image; noise; a blur.
    """
    n, _, height, width = x.shape
    half = x.flip(2, 3)
    turns = [half, x.rot90(1, (2, 3)), x.rot90(3, (2, 3))] if height == width else [half, x.flip(2), x.flip(3)]
    other = x[torch.randperm(n)]
    across = torch.zeros(height, width, dtype=torch.bool)
    across[: height // 2] = True
    halves = torch.where(across if torch.rand(()) < 0.5 else across.flip(0), x, other)
    flat = x.movedim(1, 3).reshape(n, height * width, -1)
    mixed = flat.gather(0, torch.randint(n, (n, height * width, 1)).expand(flat.shape))
    mixed = mixed.view(n, height, width, -1).movedim(3, 1)
    noisy = x + NOISE * torch.rand(n, 1, 1, 1) * torch.randn(x.shape)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    how = torch.randint(8, (n,))
    return torch.stack([x, *turns, mixed, halves, noisy, blurred])[how, torch.arange(n)], how


# -- images ---------------------------------------------------------------------------------------------------------------


def _image_input(codec: Codec, x: Tensor) -> Tensor:
    """Return images x (N, *shape) as (N, C, H, W) of moderate numbers, averaged where a side is longer than 64 pixels."""
    space = codec.space
    kind, shape = space.kinds[0], space.shape if len(space.shape) > 2 else (1, *space.shape)
    x = x.detach().cpu().float().reshape(len(x), *shape).nan_to_num()
    if isinstance(kind, Category):
        few = kind.states <= STATES
        x = F.one_hot(x.long(), kind.states).movedim(4, 2).flatten(1, 2).float() if few else x / kind.states
    else:
        low, high = _range(kind)
        x = (x - (low + high) / 2) / max((high - low) / 2, 1e-6)
    sides = min(x.shape[2], SIDE), min(x.shape[3], SIDE)
    return x if tuple(x.shape[2:]) == sides else F.adaptive_avg_pool2d(x, sides)


def _range(kind: Any) -> tuple[float, float]:
    """Return the ends of a pixel's values, or two deviations to either side of its middle."""
    if hasattr(kind, "low"):
        return float(kind.low), float(kind.high)
    return float(kind.loc - 2 * kind.scale), float(kind.loc + 2 * kind.scale)


# -- sounds ---------------------------------------------------------------------------------------------------------------


def _sound_input(codec: Codec, x: Tensor) -> Tensor:
    """Return sounds as pictures (N, 1, BANDS, FRAMES), as long as the longest that the space has, silence after their end."""
    rate = codec.form.rate if codec.form is not None and codec.form.rate else 1
    whole = max(FRAMES, 1 + codec.space.dim // (_window(rate) // 2))
    pictures = _pictures_of_sound(codec, x, whole)
    return F.adaptive_avg_pool2d(torch.stack(pictures)[:, None], (BANDS, FRAMES)).float() / 8 + 1


def _pictures_of_sound(codec: Codec, x: Tensor, whole: int | None) -> list[Tensor]:
    """Return for each sound the logarithm of the power (BANDS, frames) in mel bands; `whole` frames where that is given."""
    rate = codec.form.rate if codec.form is not None and codec.form.rate else 1
    window = _window(rate)
    bands = torch.from_numpy(mel_bands(rate, window))
    taper = torch.hann_window(window, dtype=torch.float64)
    found = []
    for wave in codec.decode(x.detach().cpu()):
        sound = torch.from_numpy(np.asarray(wave, dtype=np.float64))
        sound = F.pad(sound, (0, max(0, window - len(sound))))
        frames = sound.unfold(0, window, window // 2) * taper
        power = torch.fft.rfft(frames, dim=1).abs().square() / taper.square().sum()
        picture = (bands @ power.T + FLOOR).log()
        if whole is not None:
            picture = F.pad(picture, (0, max(0, whole - picture.shape[1])), value=math.log(FLOOR))[:, :whole]
        found.append(picture)
    return found


def statistics(pictures: list[Tensor]) -> Tensor:
    """Return (N, 3 BANDS + 1): mean, deviation and change of each band over time, and the logarithm of the duration."""
    rows = []
    for one in pictures:
        change = one.diff(dim=1).abs().mean(1) if one.shape[1] > 1 else torch.zeros(len(one), dtype=one.dtype)
        rows.append(torch.cat([one.mean(1), one.std(1, correction=0), change, torch.tensor([math.log(one.shape[1])])]))
    return torch.stack(rows) if rows else torch.zeros(0, 3 * BANDS + 1, dtype=torch.float64)


def _window(rate: int) -> int:
    return max(16, 2 ** round(math.log2(max(0.03 * rate, 1))))


def mel_bands(rate: float, window: int) -> np.ndarray:
    """Return (BANDS, window // 2 + 1): triangles that are equally wide on the mel scale, each of sum 1.

    >>> mel_bands(8000, 256).sum(1).round(6).tolist() == [1.0] * BANDS
    True
    """
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    at = np.linspace(0, rate / 2, window // 2 + 1)
    width = at[1]  # a triangle that falls between two frequencies takes the nearest one
    rising = (at - edges[:-2, None]) / np.maximum(edges[1:-1] - edges[:-2], width)[:, None]
    falling = (edges[2:, None] - at) / np.maximum(edges[2:] - edges[1:-1], width)[:, None]
    bands = np.maximum(np.minimum(rising, falling), 0)
    nearest = np.abs(at - edges[1:-1, None]).argmin(1)
    bands[bands.sum(1) == 0, nearest[bands.sum(1) == 0]] = 1
    return bands / bands.sum(1, keepdims=True)
