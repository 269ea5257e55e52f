"""Tables that never are in memory as a whole: all rows in one pass after another, and a sample of them as a `Dataset`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch import Tensor

from genus.codec.arrow import is_numeric, is_text, without_dictionary
from genus.codec.frames import to_arrow
from genus.codec.notes import Note
from genus.codec.permutation import GOLDEN, mix
from genus.data.arguments import Options
from genus.data.dataset import Dataset
from genus.data.parts import AT_ONCE, TableReader, joined, table_parts
from genus.data.spool import spooled
from genus.data.tables import mark_missing
from genus.errors import DataError

__all__ = ["CELLS", "Stream", "measure_stream", "read_stream"]

CELLS = 2**24  # values that are kept: rows times columns
LEVELS = 10_000  # texts of a column that are looked for, each with a row
ROUNDS = 8  # the most passes to make the kinds hold every row
EVERY = np.uint64(2**64 - 1)  # no hash is greater
ONLY = (
    "Only tables, text and sound stream: files of Parquet, Arrow or delimited text, a folder of files of Parquet, of text or of"
    " sound, or a reader, a generator or an iterable data set of batches of a table."
)
MISFITS = 100  # rows that did not fit, of one block, by which the kinds are measured anew


@dataclass(frozen=True, eq=False)
class Stream(Dataset):
    """Holds a uniform sample of a table's rows as a `Dataset` does, and goes over all rows block by block.

    What learns by counting (naive Bayes, independent columns) passes over all rows; what learns by gradients, mixtures and
    Chow-Liu trees begin with the sample and go on to the rest; every other use, such as splits, comparisons and decision
    trees, sees the sample.

    Args:
        parts: of the table.
        total: the number of all rows.
        limit: of the hashes of the rows in the sample.
        prepared: makes of the columns that were read those that the codecs take.
    """

    parts: TableReader | None = field(default=None, repr=False)
    total: int = 0
    limit: np.uint64 = EVERY
    prepared: Callable[[pa.Table], pa.Table] | None = field(default=None, repr=False)

    def blocks(self, rows: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield all rows, in their order, as x (rows, *shape) and c (rows, K) or None; the last block has fewer.

        Raises:
            DataError: a row does not fit the kinds, since the files have changed.
        """
        return self._encoded(rows, lambda table, start: table)

    def rest(self, rows: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield the rows that are not in the sample, in their order, like `blocks`; blocks have what is left of so many rows.

        Raises:
            DataError: a row does not fit the kinds, since the files have changed.
        """

        def beyond(table: pa.Table, start: int) -> pa.Table:
            return table.filter(pa.array(_hashes(start, table.num_rows) > self.limit))

        return self._encoded(rows, beyond) if len(self) < self.total else iter(())

    def _encoded(self, rows: int, chosen: Callable[[pa.Table, int], pa.Table]) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield what is chosen of tables of so many rows, given the number of their first row, as x and c."""
        assert self.parts is not None
        assert self.codec is not None
        start = 0
        for block in self.parts.blocks(rows):
            table = chosen(block if self.prepared is None else self.prepared(block), start)
            start += block.num_rows
            if table.num_rows:
                yield self.codec.encode(table), None if self.context_codec is None else self.context_codec.encode(table)

    def rows(self, index: Any) -> Dataset:
        plain = {one.name: getattr(self, one.name) for one in fields(Dataset)}
        return Dataset(**plain).rows(index)


def read_stream(source: Any, given: Mapping[str, Any], read: Callable[..., Dataset]) -> Dataset:
    """Return a table in files, or one that comes batch by batch; or text or sound, as it is read without a stream.

    Long text and sound need none: their symbols and samples are in a memory-mapped file, see `collected`.

    Args:
        source: what `table_parts` or `spooled` takes; or a file or folder of text or sound.
        given: the arguments of `read`.
        read: `genus.read` itself, which measures a sample.

    Raises:
        DataError: the source is no such table, or an argument has no meaning for one that streams.
    """
    missing = tuple(given["missing"] or ())
    options = Options(missing, header=given["header"], encoding=given["encoding"], kinds=dict(given["kinds"] or {}))
    parts = table_parts(source, options)
    if parts is None and isinstance(source, str | os.PathLike):
        data = read(**(dict(given) | {"stream": False}))
        if data.codec is None or not (data.codec.is_text or data.codec.is_sound):
            raise DataError(ONLY)
        return data
    for name in ("space", "schema", "sequence", "group", "documents", "tokens", "length", "rate"):
        if given[name] is not None:
            raise DataError(f"{name}= is not for data that stream; leave it out, or read the data without stream=True.")
    parts = parts or spooled(source)
    if parts is None:
        raise DataError(ONLY)
    known = ("context", "target", "kinds", "constraints", "relations", "chart", "unknown", "blank_is_a_value")

    def prepared(table: pa.Table) -> pa.Table:
        plain = to_arrow(table)[0]
        return mark_missing(plain, missing) if missing else plain

    return measure_stream(parts, prepared, lambda table: read(table, **{name: given[name] for name in known}))


def measure_stream(parts: TableReader, prepared: Callable[[pa.Table], pa.Table], read: Callable[[pa.Table], Dataset]) -> Stream:
    """Return a table's kinds and a sample of its rows, without ever holding all.

    One pass draws the sample, by a hash of the number of each row, and finds the rows that hold the ends of numbers, blanks,
    and texts that no row before had; the kinds are measured on these together. Further passes see that every row fits, and
    measure anew with those that do not. A table of no more than `CELLS` values is its own sample, and has the kinds that it
    has in memory. Of a larger one levels, ends and blanks are those of all rows; charts, steps and values that repeat are
    those of the sample, and so are keys, of which new ones may be among those of other rows.

    Args:
        parts: of the table.
        prepared: makes of the columns that were read those that are measured.
        read: measures the kinds of a table.

    Raises:
        DataError: there are no rows, or no kinds hold them all.
    """
    sample, odd, total, limit = _drawn(parts, prepared)
    for _ in range(ROUNDS):
        measured = read(joined([sample, *odd]))
        misfits = list(_misfits(parts, prepared, measured))
        if not misfits:
            chosen = measured if not odd else measured.rows(slice(0, sample.num_rows))
            plain = {one.name: getattr(chosen, one.name) for one in fields(Dataset)}
            kept = "all of them fit" if sample.num_rows == total else f"a sample of {sample.num_rows:,} is kept"
            told = Note(f"{total:,} rows are read block by block, and {kept} in memory")
            plain["name"], plain["notes"] = parts.name, (*measured.notes, told)
            return Stream(**plain, parts=parts, total=total, limit=limit, prepared=prepared)
        odd += misfits
    raise DataError(f"The kinds of {parts.name} changed with every pass; name those of its columns in kinds=.")


def _hashes(start: int, rows: int) -> np.ndarray:
    """Return a number for each row by its place, (rows,) uint64, as good as drawn: SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        return mix(np.arange(start, start + rows, dtype=np.uint64) * np.uint64(GOLDEN))


def _drawn(parts: TableReader, prepared: Callable[[pa.Table], pa.Table]) -> tuple[pa.Table, list[pa.Table], int, np.uint64]:
    """Return the sample in the order of its rows, rows with values that it may lack, the number of all rows, and the limit.

    The sample is of all rows whose hash is the limit at most: `EVERY`, the greatest there is, where all rows were kept.
    """
    kept: list[pa.Table] = []
    hashes: list[np.ndarray] = []
    odd: list[pa.Table] = []
    total, count, limit, seen = 0, 0, EVERY, _Seen()
    for block in parts.blocks(AT_ONCE):
        table, own = prepared(block), _hashes(total, block.num_rows)
        most = max(2, CELLS // max(1, table.num_columns))
        if (new := seen.new_rows(table)).size:
            odd.append(table.take(pa.array(new)))
        low = np.flatnonzero(own <= limit)
        kept.append(table if len(low) == len(own) else table.take(pa.array(low)))
        hashes.append(own[low])
        total, count = total + block.num_rows, count + len(low)
        if count > most + most // 4:
            limit = _cut(kept, hashes, most)
            count = sum(map(len, hashes))
    if total == 0:
        raise DataError(f"{parts.name} has no rows; expected rows of data.")
    # Rows are cut only when a quarter too many are kept, so that a last cut may be due.
    limit = min(limit, _cut(kept, hashes, most))
    sample = joined(kept)
    kept.clear()
    pa.default_memory_pool().release_unused()  # the pool would hold what the blocks took for the rest of the work
    return sample, odd if sample.num_rows < total else [], total, limit


def _cut(kept: list[pa.Table], hashes: list[np.ndarray], most: int) -> np.uint64:
    """Leave so many rows of the least hashes, block by block so that no copy of all is made; return the greatest of these."""
    every = np.concatenate(hashes)
    if len(every) <= most:
        return EVERY
    limit = np.partition(every, most - 1)[most - 1]
    for i, (table, own) in enumerate(zip(kept, hashes, strict=True)):
        low = np.flatnonzero(own <= limit)
        kept[i], hashes[i] = table.take(pa.array(low)), own[low]
    return np.uint64(limit)


class _Seen:
    """Hold the ends and the texts of columns, to find rows that go beyond."""

    def __init__(self) -> None:
        self.ends: dict[str, tuple[Any, Any]] = {}
        self.texts: dict[str, set[Any]] = {}
        self.blank: set[str] = set()

    def new_rows(self, table: pa.Table) -> np.ndarray:
        """Return the places of rows that hold what no row before had."""
        found: set[int] = set()
        for name in table.column_names:
            column = without_dictionary(table.column(name).combine_chunks())
            if column.null_count and name not in self.blank:
                self.blank.add(name)
                found.add(pc.index(pc.is_null(column), True).as_py())
            if is_numeric(column.type) or pa.types.is_temporal(column.type):
                found |= self._beyond(name, column)
            elif is_text(column.type) or pa.types.is_boolean(column.type):
                texts = self.texts.setdefault(name, set())
                new = [v for v in pc.unique(column.drop_null()).to_pylist() if v not in texts][: max(0, LEVELS - len(texts))]
                texts.update(new)
                found |= {pc.index(column, pa.scalar(v, column.type)).as_py() for v in new}
        return np.array(sorted(found), dtype=np.int64)

    def _beyond(self, name: str, column: pa.Array) -> set[int]:
        """Return the rows that hold a new least or greatest value of a column, and remember these ends."""
        ends = pc.min_max(column)
        low, high = ends["min"], ends["max"]
        if not low.is_valid:
            return set()
        before = self.ends.get(name)
        new = [low] if before is None or low.as_py() < before[0] else []
        new += [high] if before is None or high.as_py() > before[1] else []
        least = low.as_py() if before is None else min(low.as_py(), before[0])
        self.ends[name] = least, high.as_py() if before is None else max(high.as_py(), before[1])
        return {pc.index(column, value).as_py() for value in new} - {-1}


def _misfits(parts: TableReader, prepared: Callable[[pa.Table], pa.Table], measured: Dataset) -> Iterator[pa.Table]:
    """Yield rows that the kinds do not hold, some of each block."""
    codecs = [codec for codec in (measured.codec, measured.context_codec) if codec is not None]
    for block in parts.blocks(AT_ONCE):
        table = prepared(block)
        for codec in codecs:
            try:
                codec.encode(table)
            except DataError:
                x = codec.encode(table, allow_missing=True, beyond=True)
                bad = np.flatnonzero((~x.isfinite()).flatten(1).any(1).numpy())
                if not len(bad):
                    raise
                yield table.take(pa.array(bad[:MISFITS]))
