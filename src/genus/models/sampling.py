"""The sampler of the chain rule: draw a position, feed its value back, draw the next."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from math import nan
from typing import NamedTuple

import torch
from torch import Tensor

from genus.errors import DataError, GenusError
from genus.nets.heads import Coordinates, SamplingOptions
from genus.space import Kind, Space

__all__ = ["GenerationOptions", "Steps", "checked_prefixes", "draw_positions", "end_value", "total_length"]

# (n, c, prefix (n, m) or None) -> the distribution of every position in turn; it is sent the values (n, 1) drawn from each.
Steps = Callable[[int, Tensor | None, Tensor | None], Generator[Coordinates, Tensor, None]]


class GenerationOptions(NamedTuple):
    """Hold the arguments of `ChainRule.sample` besides rows, contexts and prefixes.

    Attributes:
        length: the number of positions, prefixes included.
        sampling: temperature, top-k and top-p.
        stop: a symbol after which a sequence ends, beside the end of its space.
        callback: called with the values (n, 1) of every position as they are drawn.
    """

    length: int
    sampling: SamplingOptions = SamplingOptions()
    stop: float | None = None
    callback: Callable[[Tensor], None] | None = None


def draw_positions(
    steps: Steps,
    n: int,
    c: Tensor | None,
    prefixes: list[Tensor] | None,
    options: GenerationOptions,
    space: Space,
    like: Tensor,
) -> Tensor:
    """Draw n sequences or rows, position by position.

    Args:
        steps: makes the generator of distributions, see `ChainRule._steps`.
        n: the number of rows.
        c: their contexts (n, *context.shape).
        prefixes: the values that each row begins with, n tensors of any lengths; None where nothing is fixed.
        options: length, sampling options, stop symbol, callback.
        space: of x.
        like: a tensor of the type and on the device that the values are to have.

    Returns:
        Values (n, length) in the order of positions. A row that ends early is filled with its end or stop symbol.
    """
    length, sampling, stop, callback = options
    x = like.new_empty(n, length)
    if not n:
        return x
    lengths = _write_prefixes(x, prefixes)
    common, longest = int(lengths.min()), int(lengths.max())
    for i in range(min(common, length)):
        _report(callback, x[:, i])
    if common >= length:
        return x
    lengths = lengths.to(x.device)
    ends = [_end(kind) for kind in space.kinds[: space.period]] if space.ends else []
    ended = _Ended(x[:, :common], ends, stop)
    distributions = steps(n, c, x[:, :common] if common else None)
    distribution = next(distributions)
    for i in range(common, length):
        value = distribution.sample(sampling)[:, 0].to(x.dtype)
        if i < longest:
            value = torch.where(i < lengths, x[:, i], value)
        x[:, i] = value = ended.filled(value, i >= lengths, i)
        _report(callback, value)
        if i + 1 >= longest and ended.can_end and bool(ended.rows.all()):
            ended.fill_rest(x, i + 1)
            break
        if i + 1 < length:
            distribution = distributions.send(value[:, None])
    return x


def _write_prefixes(x: Tensor, prefixes: list[Tensor] | None) -> Tensor:
    """Write the prefixes into the first positions of x (n, length), and return their lengths (n,)."""
    if prefixes is None or not any(map(len, prefixes)):
        return torch.zeros(len(x), dtype=torch.long)
    padded = torch.nn.utils.rnn.pad_sequence(prefixes, batch_first=True).to(x)
    x[:, : padded.shape[1]] = padded[:, : x.shape[1]]
    return torch.tensor([len(prefix) for prefix in prefixes])


def _report(callback: Callable[[Tensor], None] | None, value: Tensor) -> None:
    if callback is not None:
        callback(value[:, None])


class _Ended:
    """Hold which rows have ended, and the symbol `fill` (n,) that fills the rest of each.

    Args:
        prefix: the first values of every row, (n, m). A stop symbol within a prefix stops nothing.
        ends: the ends of the values of a step; none where sequences do not end. The first value of a step ends all.
        stop: another symbol after which a row ends; None for none.
    """

    def __init__(self, prefix: Tensor, ends: Sequence[float], stop: float | None) -> None:
        self.ends, self.stop, self.period = ends, stop, max(1, len(ends))
        self.end = end = ends[0] if ends else None
        self.can_end = end is not None or stop is not None
        self.rows, self.fill = torch.zeros(len(prefix), dtype=torch.bool, device=prefix.device), prefix.new_zeros(len(prefix))
        if end is not None:
            self._mark(_equal(prefix[:, :: self.period], end).any(1), end)

    def filled(self, value: Tensor, drawn: Tensor, i: int) -> Tensor:
        """Replace values (n,) at position i of ended rows by their fill, and mark the rows that end here.

        drawn (n,) tells which of the values were drawn, and are not a prefix's.
        """
        if i % self.period:
            return torch.where(self.rows, self.ends[i % self.period], value)
        value = torch.where(self.rows, self.fill, value) if self.can_end else value
        if self.stop is not None:
            self._mark(_equal(value, self.stop) & drawn, self.stop)
        if self.end is not None:
            self._mark(_equal(value, self.end), self.end)
        return value

    def fill_rest(self, x: Tensor, start: int) -> None:
        """Fill x (n, length), all of whose rows have ended, from a position on."""
        x[:, start:] = self.fill[:, None]
        for i in range(1, self.period):
            x[:, start + (i - start) % self.period :: self.period] = self.ends[i]

    def _mark(self, hit: Tensor, symbol: float) -> None:
        self.fill = torch.where(hit & ~self.rows, symbol, self.fill)
        self.rows = self.rows | hit


def _equal(value: Tensor, symbol: float) -> Tensor:
    """Compare with a symbol, which may be NaN."""
    return value.isnan() if symbol != symbol else value == symbol


def end_value(space: Space) -> float:
    """Return the value that x has at the end of a sequence of one value a step, and after it."""
    return _end(space.kinds[0])


def _end(kind: Kind) -> float:
    levels = getattr(kind, "levels", None)
    return float(levels.index(None)) if levels is not None and None in levels else nan


def total_length(space: Space, length: int | None, prefixes: list[Tensor] | None) -> int:
    """Return the number of positions to draw, prefixes included.

    Raises:
        GenusError: the length is below 1, or x is no sequence.
        DataError: a prefix is longer than the length.
    """
    if not space.sequence and length is not None:
        raise GenusError("Only sequences have a length to choose; leave length= out.")
    steps = space.dim if length is None else length * space.period
    if steps < 1:
        raise GenusError(f"A sequence needs a length of 1 or more; got {length}.")
    longest = max(map(len, prefixes), default=0) if prefixes is not None else 0
    if longest > steps:
        advice = "draw more with length=" if space.sequence else "give a shorter prefix"
        raise DataError(f"A prefix has {longest} values, more than the {steps} that are drawn; {advice}.")
    return steps


def checked_prefixes(
    space: Space,
    encode: Callable[[str], Tensor],
    prefix: Tensor | str | Sequence[Tensor | str] | None,
    n: int | None,
    order: Sequence[int] | None,
    device: torch.device,
) -> list[Tensor] | None:
    """Return the prefix of every row as tensors (m,) on the device; None where there is none.

    Args:
        space: of x.
        encode: maps a text to its symbols (m,).
        prefix: see `ChainRule.sample`.
        n: the number of rows; None for as many as there are prefixes.
        order: the coordinate at every position, for rows of a table.
        device: of the result.

    Raises:
        DataError: there are neither 1 nor n prefixes, or a value lies outside the space.
    """
    if prefix is None:
        return None
    several = bool(space.channels)  # a prefix of a series is (steps, values)
    if isinstance(prefix, str) or (isinstance(prefix, Tensor) and prefix.ndim == 1 + several):
        prefix = [prefix]
    rows = [encode(row) if isinstance(row, str) else torch.as_tensor(row) for row in prefix]
    rows = [row.flatten() for row in rows] if several else rows
    rows = rows * n if n is not None and len(rows) == 1 else rows
    if n is not None and len(rows) != n:
        raise DataError(f"There are {len(rows)} prefixes for {n} data; expected one for each, or one for all.")
    rows = [row.to(device, space.dtype) for row in rows]
    for i, row in enumerate(rows):
        if row.ndim != 1:
            raise DataError(f"Prefix {i} has shape {tuple(row.shape)}; expected the values of the first positions, (m,).")
    for length in {len(row) for row in rows} - {0}:  # prefixes of one length are checked at once
        alike = [i for i, row in enumerate(rows) if len(row) == length]
        try:
            _check_values(space, torch.stack([rows[i] for i in alike]), order, "the prefixes")
        except DataError:
            for i in alike:  # once more, to say which
                _check_values(space, rows[i][None], order, f"prefix {i}")
            raise
    return rows


def _check_values(space: Space, values: Tensor, order: Sequence[int] | None, name: str) -> None:
    """Check the values (n, m) of the first positions."""
    if space.sequence:
        space.check(values, name)
        return
    for value, column in zip(values.T, order if order is not None else range(space.dim), strict=False):
        names = [space.names[column]] if space.names is not None else None
        Space([space.kinds[column]], names=names).check(value[:, None], name)
