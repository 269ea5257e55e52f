"""`forecast`: how sequences go on from their beginnings, with the intervals that a model's draws fill."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from genus.codec import Codec
from genus.data import read
from genus.errors import DataError, GenusError
from genus.kinds.checks import is_batch
from genus.ladder import GenerativeModel
from genus.notebook import Previewed
from genus.random import draw_indices, isolated
from genus.space import Category, Space

__all__ = ["Forecast", "forecast", "infill"]

CANDIDATES = 200  # draws of a region of a sequence, one of which is chosen by what comes after the region
TIMES = 200  # draws of what follows: the ends of 90 % are the tenth from below and from above


@dataclass(frozen=True, repr=False)
class Forecast(Previewed):
    """Hold draws of how sequences go on.

    Attributes:
        draws: (N, times, steps, C) in data units, C values a step; NaN after an end, and where a draw is missing.
        names: of the values of a step; "value" of sequences of one value.
        space: of the sequences; of categories, draws are the indices of levels.
        keys: of the N sequences, as the data have them; else their numbers from 1.
        starts: the number of steps that each began with, (N,).
        level: the probability with which a value lies in its interval, by the model.
    """

    draws: Tensor
    names: tuple[str, ...]
    space: Space
    keys: tuple[Any, ...]
    starts: tuple[int, ...]
    level: float

    def _preview(self) -> tuple[str, pa.Table]:
        n, times, steps = self.draws.shape[:3]
        title = f"{n:,} sequences go on for {steps:,} steps: {times:,} draws of each, with {self.level:.0%} intervals"
        return title, self.table()

    @property
    def mean(self) -> Tensor:
        """Return the mean over the draws, (N, steps, C); of categories it has no meaning."""
        return self.draws.nanmean(1)

    @property
    def interval(self) -> tuple[Tensor, Tensor]:
        """Return the ends between which a further draw lies with probability `level`, (N, steps, C) each (Weibull 1939)."""
        low, high = np.nanquantile(self.draws.numpy(), [(1 - self.level) / 2, (1 + self.level) / 2], axis=1, method="weibull")
        return torch.from_numpy(low), torch.from_numpy(high)

    def coverage(self, x: Tensor) -> Tensor:
        """Return the share of true values x (N, steps, C) that lie in the intervals, for each of the C values a step, (C,)."""
        low, high = self.interval
        inside = (x >= low) & (x <= high)
        return inside.double().masked_fill(x.isnan(), torch.nan).nanmean((0, 1))

    def table(self) -> pa.Table:
        """Return a row for each sequence and step: of numbers mean, low and high; of categories the likeliest and its share."""
        steps = self.draws.shape[2]
        columns: dict[str, Any] = {
            "series": [key for key in self.keys for _ in range(steps)],
            "step": [start + i for start in self.starts for i in range(steps)],
        }
        low, high = self.interval
        for i, name in enumerate(self.names):
            if isinstance(kind := self.space.kinds[i], Category):
                counts = torch.stack([(self.draws[..., i] == state).double().mean(1) for state in range(kind.states)], dim=-1)
                share, state = counts.max(-1)
                levels = kind.levels
                columns |= {name: [levels[int(s)] for s in state.flatten()], f"{name} share": share.flatten().tolist()}
            else:
                parts = {"mean": self.mean, "low": low, "high": high}
                columns |= {f"{name} {word}": part[..., i].flatten().tolist() for word, part in parts.items()}
        return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})


def forecast(
    model: GenerativeModel,
    prefix: Any,
    steps: int,
    times: int = TIMES,
    *,
    c: Tensor | None = None,
    level: float = 0.9,
    seed: int | None = None,
    **reading: Any,
) -> Forecast:
    """Draw how sequences go on from their beginnings.

    Args:
        model: of the chain rule, fitted to sequences: of one value a step, or to series of several.
        prefix: the beginnings, as `genus.read` takes sequences: arrays (N, T) or of series (N, T, C), one (T, C), lists of
            arrays of different lengths, or a long table with the columns of the first.
        steps: how many to draw after each.
        times: the number of draws of each.
        c: the context, a row for each beginning, or one for all; of a long table its own columns are taken.
        level: of the intervals.
        seed: repeats the draws bit for bit.
        reading: further arguments of `genus.read`, such as sequence=("shop", "day").

    Raises:
        GenusError: the model draws no sequences, or a number is out of range.
        DataError: the beginnings do not fit the model's space.

    >>> x = torch.randn(50, 12, 2, generator=torch.Generator().manual_seed(0)).cumsum(1)
    >>> from genus import RNN, fit
    >>> data = read(x, sequence=True)
    >>> model = RNN(data.space, width=8)
    >>> history = fit(model, data, max_steps=20, progress=False)
    >>> forecast(model, x[:3, :8], steps=4, times=20, seed=0).mean.shape
    torch.Size([3, 4, 2])
    """
    if not hasattr(model, "log_conditionals") or not model.space.sequence:
        raise GenusError("Forecasts go on from the beginning of a sequence; fit gpt, rnn or wavenet to sequences for them.")
    if model.codec is not None and model.codec.is_text:
        raise GenusError("A forecast is of numbers; sample(prefix=...) goes on with a text.")
    for name, value in (("steps", steps), ("times", times)):
        if type(value) is not int or value < 1:
            raise GenusError(f"{name} must be a whole number of at least 1; got {value!r}.")
    if not 0 < level < 1:
        raise GenusError(f"level is a probability between 0 and 1; got {level!r}.")
    space = model.space
    rows, own, keys = _beginnings(model, prefix, reading)
    c = own if own is not None else c
    c = model._check_context(c, len(rows))
    draws = []
    for i, row in enumerate(rows):
        contexts = None if c is None else c[i : i + 1]
        begin = row.view(-1, space.period) if space.channels else row
        length = len(row) // space.period + steps  # `period` is the number of values a step
        own_seed = None if seed is None else seed + i
        drawn = model.sample(times, contexts, own_seed, prefix=[begin] if len(row) else None, length=length)  # type: ignore[call-arg]
        draws.append(drawn[:, len(row) :].double().cpu().view(times, steps, space.period))
    starts = tuple(len(row) // space.period for row in rows)
    return Forecast(torch.stack(draws), space.channels or ("value",), space, keys, starts, level)


@torch.no_grad()
def infill(
    model: GenerativeModel, x: Tensor, start: int, stop: int, c: Tensor | None = None, seed: int | None = None
) -> tuple[Tensor, float]:
    """Draw some steps of sequences given those before and after them.

    Candidates go on from what stands before; one of them is drawn with weights of what stands after it, given all before
    (sampling-importance resampling, Rubin 1987). Where nothing stands after it, the draw is exact.

    Args:
        model: of the chain rule, fitted to sequences.
        x: the sequences, (B, T) in data units.
        start, stop: the first step that is drawn, and the first behind it that is kept.
        c: the context, a row for each, or one for all.
        seed: repeats the draws.

    Returns:
        The sequences (B, T), and how many candidates the draws are worth at least; infinite where they are exact.

    Raises:
        GenusError: the model draws no sequences step by step, or no candidate fits what stands after it.
    """
    if not hasattr(model, "log_conditionals") or not model.space.sequence:
        raise GenusError("Only families of the chain rule draw a part of a sequence; fit gpt, rnn, wavenet or markov for it.")
    period, worth, found = model.space.period, math.inf, []
    c = model._check_context(c, len(x))
    first, last = start * period, min(stop * period, x.shape[1])
    for i, row in enumerate(x):
        given, n = None if c is None else c[i : i + 1], 1 if last == x.shape[1] else CANDIDATES
        begin, at = row[:first].view(-1, period) if model.space.channels else row[:first], None if seed is None else seed + i
        drawn = model.sample(n, given, at, prefix=[begin] if first else None, length=last // period)  # type: ignore[call-arg]
        whole = torch.cat([drawn, row[last:].expand(n, -1)], dim=1)
        if n > 1:
            fine = torch.tensor([is_batch(model.space, one[None]) for one in whole])
            if not fine.any():
                raise GenusError(f"Sequence {i} goes on where each of {n} draws has ended; draw a shorter region.")
            weight = model.log_conditionals(whole[fine], given)[:, last:].double().sum(1).softmax(0)  # type: ignore[operator]
            worth = min(worth, float(1 / weight.square().sum()))
            with isolated(at):
                whole = whole[fine][draw_indices(weight, 1)]
        found.append(whole[0])
    return torch.stack(found), worth


def _beginnings(
    model: GenerativeModel, prefix: Any, reading: dict[str, Any]
) -> tuple[list[Tensor], Tensor | None, tuple[Any, ...]]:
    """Return the beginnings as numbers of the space, each without an end, with their contexts and keys."""
    space, codec = model.space, model.codec or Codec(model.space)
    if isinstance(prefix, Tensor | np.ndarray) and prefix.ndim == (2 if space.channels else 1):
        prefix = prefix[None]
    arrays = isinstance(prefix, Tensor | np.ndarray | list)
    if model.context is not None and not arrays:
        data = read(prefix, space=(codec, model.context_codec), **reading)
    else:
        data = read(prefix, space=codec, **({"sequence": True} if arrays else {}) | reading)
    if data.space != space:
        raise DataError(f"The beginnings are {data.space!r}, and the model's space is {space!r}.")
    x = data.x.to(space.dtype)
    rows = [row[: int(count) * space.period] for row, count in zip(x, (~space.ended(x)).sum(1), strict=True)]
    keys = range(1, len(rows) + 1) if data.keys is None else data.keys.column(0).to_pylist()
    return rows, data.c, tuple(keys)
