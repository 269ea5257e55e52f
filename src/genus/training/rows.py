"""Split data of any form into training rows and validation rows: (x, c) pairs that fit the model."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genus.errors import DataError
from genus.ladder import GenerativeModel
from genus.space import Real, Space

__all__ = ["Rows", "ShuffleBuffer", "affordable_rows", "batch_size_for", "generator", "prepare", "rows_to_train_on"]

BATCH_ELEMENTS = 8192  # the most elements in a batch of sequences; each is a term of the mean that a step lowers
SCALE_ROWS = 1000  # rows whose scale is compared with that of the space
OFF_SCALE = 10.0  # the median |u| of standardised numbers beyond which the space's scale does not fit them
ALIGNED = 4096  # processes divide many rows at multiples of this
EXCHANGED = 0.5  # the share of the shuffle buffer's rows that every epoch exchanges
BLOCK = 2**16  # rows of a stream that are encoded together
HELD_OUT = 20_000  # the most validation rows that are held out: the mean over so many is known well enough to stop by

Stream = Callable[[int], Iterator[tuple[Tensor, Tensor | None]]]


@dataclass(frozen=True)
class Rows:
    """Hold rows x (N, *shape) with their contexts c (N, *context.shape), or None, without copying the data.

    x may be small integers, and memory-mapped; indexing (`rows[index]`) returns floating-point numbers.

    Attributes:
        x, c: the data.
        consecutive: whether the rows are the pieces of one long sequence, in their order.
        selection: the indices of the rows that are meant, in order, where a share of the data is held out; None: all.
        stream: where x is a sample of a stream, `stream(size)` yields all its rows in blocks (x, c) of so many.
        rest: where x is a sample of a stream, `rest(size)` yields the rows that are not in the sample.
        weights: (N,), how often each row of x counts; None where all count alike.
    """

    x: Tensor
    c: Tensor | None
    consecutive: bool = False
    selection: Tensor | None = None
    stream: Stream | None = None
    rest: Stream | None = None
    weights: Tensor | None = None

    def blocks(self, size: int, rank: int = 0, count: int = 1) -> Iterator[Rows]:
        """Yield the rows in blocks of `size`; where they are a sample of a stream, all rows of the stream.

        Each of `count` processes gets its part, in as many blocks as the others, some of which may be empty. Rows in memory are
        cut into one piece for each rank; one long sequence is dealt out block by block; every block of a stream is divided.
        """
        if self.stream is not None:
            for block in (Rows(x, c) for x, c in self.stream(size)):
                part = -(-len(block) // count)
                yield block if count == 1 else block[rank * part : (rank + 1) * part]
            return
        if self.consecutive:
            first, step, end, each = rank * size, count * size, len(self), -(-len(self) // (count * size))
        else:
            piece = len(self) if count == 1 else -(-len(self) // count)
            if piece > ALIGNED:  # so that a model that keeps every second or fourth row keeps the same ones in each division
                piece = -(-piece // ALIGNED) * ALIGNED if count > 1 else piece
            first, step, end, each = rank * piece, size, min((rank + 1) * piece, len(self)), -(-piece // size)
        for number in range(each):
            at = min(first + number * step, len(self))
            yield self[at : max(at, min(at + size, end))]

    def __getitem__(self, index: slice | Tensor) -> Rows:
        index = index if self.selection is None else self.selection[index]
        x, c, weights = (None if t is None else _select(t, index) for t in (self.x, self.c, self.weights))
        assert x is not None
        x = x if x.is_floating_point() else x.to(torch.float32)
        return Rows(x, c, self.consecutive and isinstance(index, slice), weights=weights)

    def random_rows(self, count: int, seed: int) -> Rows:
        """Return `count` rows chosen at random, all where there are fewer; with weights, draws in proportion to these."""
        if (weights := self.row_weights()) is not None:
            drawn = torch.multinomial(weights.cpu(), min(count, len(self)), True, generator=generator(seed, 0))
            return replace(self[drawn.to(self.x.device)], weights=None)
        if len(self) <= count:
            return self[:]
        return self[torch.randperm(len(self), generator=generator(seed, 0))[:count].to(self.x.device)]

    def row_weights(self) -> Tensor | None:
        """Return how often each of the rows counts, (N,); None where all count alike."""
        return self.weights if self.weights is None or self.selection is None else self.weights[self.selection]

    def windows(self) -> Rows:
        """Return the windows that begin at every position of the one long sequence, as rows of x that share its memory."""
        return Rows(self.x.reshape(-1).unfold(0, self.x.shape[1], 1), None)

    def observed(self) -> tuple[Tensor | None, ...]:
        """Return the arguments of `Counted.observe`: x, c and, if there are any, the weights.

        The pieces of one long sequence are joined again, so that transitions at their edges are counted.
        """
        x = self.x.reshape(1, -1) if self.consecutive else self.x
        return (x, self.c) if self.weights is None else (x, self.c, self.weights)

    def __len__(self) -> int:
        return len(self.x if self.selection is None else self.selection)

    def labels(self) -> Tensor:
        """Return c as whole numbers (N,) on the processor."""
        assert self.c is not None
        c = self.c if self.selection is None else self.c[self.selection]
        return c.flatten().long().cpu()

    def to(self, device: torch.device) -> Rows:
        """Return the rows on a device."""
        x, c, selection, weights = (None if t is None else t.to(device) for t in (self.x, self.c, self.selection, self.weights))
        assert x is not None
        return Rows(x, c, self.consecutive, selection, self.stream, self.rest, weights)


class ShuffleBuffer:
    """Hold part of a stream in memory, and exchange half of the rows, chosen at random, for the stream's next rows every epoch.

    The first epoch sees the sample. The stream is then read again and again, the rest before the sample. So rows are shuffled
    within about two buffers, although files are in order, and each is seen in two epochs on average. The content in an epoch
    depends on the seed and the epoch alone.

    Args:
        sample: the first content, rows with a `rest`.
        seed: of the choice of rows that are exchanged.

    >>> def rest(size):
    ...     return iter([(torch.full((4, 1), 7.0), None)])
    >>> buffer = ShuffleBuffer(Rows(torch.zeros(4, 1), None, rest=rest), seed=0)
    >>> buffer.advance_to(1)
    >>> sorted(buffer.rows.x.flatten().tolist()), buffer.seen
    ([0.0, 0.0, 7.0, 7.0], 6)
    """

    def __init__(self, sample: Rows, seed: int) -> None:
        self.sample, self.seed, self.epoch = sample, seed, 0
        kept = sample[:]
        self.rows = Rows(kept.x.clone(), None if kept.c is None else kept.c.clone())
        self._incoming = self._rows_to_come()

    @property
    def seen(self) -> int:
        """Return how many rows have been in the buffer so far, counting a row each time it came in."""
        return len(self.rows) + self.epoch * self._exchanged

    @property
    def _exchanged(self) -> int:
        return max(1, round(EXCHANGED * len(self.rows)))

    def advance_to(self, epoch: int) -> None:
        """Make all exchanges up to an epoch: one in an ordinary training, many where it is resumed."""
        while self.epoch < epoch:
            self.epoch += 1
            drawn = generator(self.seed, 2**32 - self.epoch)  # far from the numbers of the epochs, which order the rows
            places = torch.randperm(len(self.rows), generator=drawn)[: self._exchanged]
            at = 0
            while at < len(places):
                block = next(self._incoming)
                part = block[: len(places) - at]
                to = places[at : at + len(part)].to(self.rows.x.device)
                self.rows.x[to] = part.x.to(self.rows.x)
                if self.rows.c is not None and part.c is not None:
                    self.rows.c[to] = part.c.to(self.rows.c)
                at += len(part)
                if len(part) < len(block):
                    self._incoming = itertools.chain([block[len(part) :]], self._incoming)

    def _rows_to_come(self) -> Iterator[Rows]:
        """Yield blocks of the rows after the sample, then of the sample, and so on without end."""
        assert self.sample.rest is not None
        sample = replace(self.sample, stream=None)
        while True:
            yield from (Rows(x, c) for x, c in self.sample.rest(BLOCK))
            yield from sample.blocks(BLOCK)


def _select(rows: Tensor, index: slice | Tensor) -> Tensor:
    # index_select copies whole rows, ten times as fast as indexing, which copies number after number.
    return rows[index] if isinstance(index, slice) else rows.index_select(0, index)


def generator(seed: int, stream: int) -> torch.Generator:
    """Return a generator that depends on (seed, stream) alone, such as (seed, epoch): an epoch's order need not be stored."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence((seed, stream)).generate_state(1)[0]))


def batch_size_for(count: int, length: int = 1) -> int:
    """Return a batch size: 64 for hundreds of rows, 512 for tens of thousands, at most 8,192 elements of sequences in all."""
    size = max(64, min(512, 2 ** round(math.log2(3 * math.sqrt(count)))))
    return min(count, size, max(1, BATCH_ELEMENTS // length))


def prepare(model: GenerativeModel, data: Any, validation: Any, seed: int, weights: Any = None) -> tuple[Rows, Rows | None]:
    """Return the training rows and the validation rows, or None in place of these.

    Args:
        model: whose space and context the rows must fit; it takes over the codec of a Dataset.
        data: a Dataset, x, or (x, c).
        validation: a fraction of the rows, drawn by the seed (at most 20 000 rows: the rest trains), or data of its own.
        seed: of the split.
        weights: (N,), how often each row of the data counts; a share of them is then drawn by these, with replacement.

    Raises:
        DataError: the data do not fit the model, there are no rows, or the fraction is none; or weights do not fit the rows.
    """
    rows = _rows(model, data, "data")
    rows = rows if weights is None else replace(rows, weights=_checked_weights(weights, rows))
    if validation is None or (isinstance(validation, int | float) and validation == 0):
        return rows, None
    if not isinstance(validation, int | float):
        return rows, _rows(model, validation, "validation")
    if not 0 < validation < 1:
        raise DataError(f"validation must be a fraction between 0 and 1, data of its own, or None; got {validation}.")
    held = _held_out(len(rows), validation)
    if len(rows) < 2:
        raise DataError(f"{len(rows)} row cannot be split into training and validation rows; pass more, or validation=None.")
    if rows.consecutive:  # a piece beside training pieces would be no test, and forecasts go on from the end
        return Rows(rows.x[held:], None, True), rows[:held]
    if getattr(data, "groups", None) is not None:  # pieces that were cut from one recording stay together
        if weights is not None:
            raise DataError("Rows that belong together cannot be weighed and split; pass validation rows, or validation=None.")
        parts = data.split(1 - validation, validation, seed=seed)
        return _rows(model, parts[0], "data"), _rows(model, parts[1], "validation")
    order = _shuffled(len(rows), seed).to(rows.x.device)
    kept = rows[order[:held]]
    if kept.weights is not None:
        if not bool(kept.weights.any()):
            raise DataError("No validation row has a weight above 0; pass validation rows, or validation=None.")
        kept = kept.random_rows(held, seed)
    return replace(rows, selection=order[held:], stream=None), kept


def rows_to_train_on(data: Any, validation: float, seed: int) -> Any:
    """Return the rows of a Dataset, of a table, that are left where `prepare` draws this share of validation rows."""
    if data.groups is not None:
        return data.split(1 - validation, validation, seed=seed)[0]
    return data.rows(_shuffled(len(data), seed)[_held_out(len(data), validation) :])


def _held_out(rows: int, validation: float) -> int:
    return min(max(1, round(validation * rows)), HELD_OUT)


def _shuffled(rows: int, seed: int) -> Tensor:
    return torch.randperm(rows, generator=generator(seed, 0))


def _checked_weights(weights: Any, rows: Rows) -> Tensor:
    found = torch.as_tensor(weights, dtype=torch.float64).to(rows.x.device)
    if found.shape != (len(rows),) or rows.consecutive:
        what = "one long sequence" if rows.consecutive else f"shape {tuple(found.shape)}"
        raise DataError(f"row_weights must be one number for each of {len(rows)} rows; got {what}.")
    if not bool(found.isfinite().all() & (found >= 0).all() & (found > 0).any()):
        raise DataError("row_weights must be finite numbers of at least 0, not all of them 0.")
    return found


def warn_of_scale(space: Space, x: Tensor, name: str) -> None:
    """Warn where numbers of a Real column lie far from its location and scale, by which they are standardised for nets."""
    columns = space.columns(Real)
    if not columns or space.sequence:
        return
    rows = x[:: max(1, len(x) // SCALE_ROWS)].double()
    few, u = rows.flatten(1)[:, columns], space.split(rows).u[:, columns]
    far = u.abs().nanmedian(0).values > OFF_SCALE
    if bool(far.any()):
        i = int(far.nonzero()[0])
        values = few[:, i][~few[:, i].isnan()]
        warnings.warn(
            f"The numbers of {space.label(columns[i])} in {name}, {values.mean():.4g} ± {values.std(correction=0):.4g}, are far"
            f" from the location and scale of {space.kinds[columns[i]]!r}, so training may not reach them; make the model with"
            " Space.measure(x), or with such a kind as it finds.",
            stacklevel=8,
        )


def _rows(model: GenerativeModel, data: Any, name: str) -> Rows:
    if isinstance(data, Tensor):
        x, c = data, None
    elif isinstance(data, tuple) and len(data) == 2:
        x, c = data
    elif isinstance(getattr(data, "x", None), Tensor):
        x, c = data.x, getattr(data, "c", None)
    else:
        what = f"{name} must be a Dataset, a tensor x or a pair (x, c); got {type(data).__name__}"
        raise DataError(f"{what}. genus.read makes a Dataset of files, frames and arrays.")
    if isinstance(x, Tensor) and len(x) == 0:
        raise DataError(f"{name} has no rows; training needs at least one.")
    space = getattr(data, "space", None)
    if space is not model.space and space != model.space:  # else it has been checked, value by value, when it was read
        if isinstance(x, Tensor) and not x.is_floating_point() and model.space.columns(Real):
            x = x.to(model.space.dtype)
        model.space.check(x, name)
        warn_of_scale(model.space, x, name)
    codec = getattr(data, "codec", None)
    if name == "data" and codec is not None and codec.space == model.space:
        model.codec, model.context_codec = codec, data.context_codec
    c = model._check_context(c, len(x))
    consecutive = c is None and getattr(data, "consecutive", False)
    c = None if c is None else c.to(x.device)
    is_sample = getattr(data, "total", 0) > len(x)
    return Rows(x, c, consecutive, stream=getattr(data, "blocks", None), rest=data.rest if is_sample else None)


def affordable_rows(work: Callable[[int], Any], few: int, seconds: float) -> int:
    """Return how many rows `work` gets through in so many seconds, as far as a few tell; these at least.

    Args:
        work: does its work on so many rows; it is timed once.
        few: rows on which it is timed.
        seconds: that all rows may take; infinity is not for asking.

    >>> affordable_rows(lambda rows: time.sleep(0.01), few=10, seconds=0.0)
    10
    """
    begin = time.perf_counter()
    work(few)
    return max(few, int(few * seconds / max(time.perf_counter() - begin, 1e-6)))
