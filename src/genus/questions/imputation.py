"""`impute`: a table whose blanks are filled, by draws of a model given the values that each row has."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from genus.codec import Codec
from genus.codec.arrow import is_blank, is_numeric, is_text, spelled_alike, without_dictionary
from genus.codec.tabular import as_table
from genus.data import Dataset
from genus.errors import DataError, GenusError, listed, near
from genus.ladder import GenerativeModel
from genus.ladder.unknown import Filled, placeholder_row, unknown_entries
from genus.notebook import Previewed
from genus.questions.reading import BROKEN, known_cells, odd_entries, read_for, related_rows

__all__ = ["Imputed", "impute"]

AT_ONCE = 20_000  # rows that are filled together


@dataclass(frozen=True, repr=False)
class Imputed(Previewed):
    """Holds filled copies of a table.

    Attributes:
        tables: a copy for each draw, with the rows and columns of the data, in their order.
        filled: the columns in which blanks were filled, each with which of the rows, bool (N,).
        reasons: why rows were not filled, or some of their values ignored, each with the number of rows.
        size: the least effective number of candidates that a row's draw was chosen from; infinite where draws are exact.
    """

    tables: tuple[pa.Table, ...]
    filled: dict[str, np.ndarray]
    reasons: dict[str, int]
    size: float

    def _preview(self) -> tuple[str, pa.Table]:
        table, times = self.tables[0], len(self.tables)
        odd = "".join(f"; {count:,} rows: {reason}" for reason, count in self.reasons.items())
        title = (
            f"{self.cells:,} blanks filled in {self.rows:,} of {table.num_rows:,} rows, {times:,} draw{'s' * (times > 1)}{odd}"
        )
        some = np.logical_or.reduce([*self.filled.values(), np.zeros(table.num_rows, dtype=bool)])
        return title, table.filter(pa.array(some))

    @property
    def cells(self) -> int:
        """Return how many blanks were filled."""
        return int(sum(where.sum() for where in self.filled.values()))

    @property
    def rows(self) -> int:
        """Return in how many rows a blank was filled."""
        return int(np.logical_or.reduce([*self.filled.values(), np.zeros(self.tables[0].num_rows, dtype=bool)]).sum())

    def frame(self, like: Any = None) -> Any:
        """Return the first draw as a frame of the library that `like` is of, with its index and its types; None: in Arrow.

        A column has the type that it has in `like` where that holds all of its values.
        """
        table = self.tables[0]
        if like is None or isinstance(like, pa.Table):
            return table
        import narwhals as nw

        backend = nw.get_native_namespace(nw.from_native(like, eager_only=True))
        frame = nw.from_arrow(table, backend=backend).to_native()
        if not hasattr(like, "index"):
            return frame
        frame.index = like.index
        return frame.assign(**{name: _as_in(frame[name], like[name].dtype) for name in frame if name in like})

    def middle(self, name: str) -> pa.ChunkedArray:
        """Return the mean over the draws of a column of numbers, or its most frequent value: null where nothing was filled."""
        found = self._drawn(name)
        if found.dtype.kind == "f":
            return self._placed(name, found.mean(0).tolist())
        return self._placed(name, [Counter(values).most_common(1)[0][0] for values in found.T.tolist()])

    def interval(self, name: str, level: float = 0.9) -> tuple[pa.ChunkedArray, pa.ChunkedArray] | None:
        """Return the ends between which a further draw of a column lies with this probability; None where it holds no numbers.

        Of m draws the k-th smallest has the share k / (m + 1) below it (Weibull 1939), so 90 % ask for 19 draws; of fewer draws
        the ends are the least and the greatest.
        """
        found = self._drawn(name)
        if found.dtype.kind != "f":
            return None
        low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0, method="weibull")
        return self._placed(name, low.tolist()), self._placed(name, high.tolist())

    def summary(self, level: float = 0.9) -> pa.Table:
        """Return the first draw with, for each filled column, its middle over all draws, and for numbers an interval."""
        table = self.tables[0]
        for name in self.filled:
            table = table.append_column(
                f"{name} mean" if self._drawn(name).dtype.kind == "f" else f"{name} mode", self.middle(name)
            )
            if (ends := self.interval(name, level)) is not None:
                for word, end in zip(("low", "high"), ends, strict=True):
                    table = table.append_column(f"{name} {word}", end)
        return table

    def _drawn(self, name: str) -> np.ndarray:
        """Return the draws of the filled blanks of a column (draws, cells): float64 of numbers, else objects."""
        where = pa.array(self.filled[name])
        columns = [table.column(name).filter(where) for table in self.tables]
        if is_numeric(columns[0].type):
            return np.array([np.asarray(column.cast(pa.float64())) for column in columns], dtype=np.float64)
        found = np.empty((len(columns), int(self.filled[name].sum())), dtype=object)
        for row, column in zip(found, columns, strict=True):
            row[:] = column.to_pylist()
        return found

    def _placed(self, name: str, values: list[Any]) -> pa.ChunkedArray:
        """Return values of the filled blanks of a column in their rows, null in the others."""
        out: list[Any] = [None] * len(self.filled[name])
        for row, value in zip(np.flatnonzero(self.filled[name]).tolist(), values, strict=True):
            out[row] = value
        return pa.chunked_array([pa.array(out)])


def impute(
    model: GenerativeModel,
    source: Any,
    columns: Sequence[str] | None = None,
    times: int = 1,
    seed: int | None = None,
    **reading: Any,
) -> Imputed:
    """Fill the blanks of a table with draws from a model, given the values that each row has.

    A blank is filled where it stands for an unknown value, as most do; one that means something stays, unless `columns` names
    its column. Columns that the model does not know pass through, and the table may lack columns of the model: these are
    added, filled in every row. A value that the model cannot take, such as a level that training never saw, stays, and the
    row is filled without regard to it.

    Args:
        model: of a table, of any family with a density.
        source: the table, as `genus.read` takes it: a path, a frame, columns.
        columns: fill these alone; None: all that have blanks.
        times: how many draws of every blank, each in a copy of the table.
        seed: repeats the draws.
        reading: further arguments of `genus.read`, such as missing=["?"].

    Returns:
        An `Imputed`, whose `tables` are the filled copies in Arrow.

    Raises:
        DataError: the data cannot be read, or the model knows no such column.
        GenusError: the model is of no table, or has no density.

    >>> import genus
    >>> data = genus.read({"a": [1.5, 2.25, 3.125, 4.75] * 9, "b": ["x", "x", "y", "y"] * 9})
    >>> model = genus.build("mixture", data.space, components=2)
    >>> _ = genus.fit(model, data, seed=0, progress=False)
    >>> filled = impute(model, {"id": [7, 8], "a": [None, 4.75], "b": ["x", None]}, seed=0)
    >>> filled.cells, filled.tables[0].column("id").to_pylist(), filled.tables[0].column("b").to_pylist()
    (2, [7, 8], ['x', 'y'])
    """
    if times < 1:
        raise GenusError(f"times is the number of draws of every blank, 1 or more; got {times}.")
    codec, data = read_for(model, source, True, reading)
    wanted = _wanted(codec, columns)
    seeds = [int(torch.randint(2**31, ())) if seed is None else seed + 1_000_003 * k for k in range(times)]
    parts = [_Part.of(model, codec, rows, wanted) for rows in _batches(data)]
    # Each batch has seeds of its own: otherwise rows of two batches would be drawn by the same random numbers.
    filled = [part.fill(model, codec, [one + 7_368_787 * k for one in seeds]) for k, part in enumerate(parts)]
    tables = [pa.concat_tables([draws[k] for draws, _ in filled]) for k in range(times)]
    size = min(found for _, found in filled)
    where = {name: np.concatenate([part.blank(name) for part in parts]) for name in tables[0].column_names if name in wanted}
    reasons: Counter[str] = Counter()
    for part in parts:
        reasons.update(part.reasons)
    return Imputed(tuple(tables), {name: rows for name, rows in where.items() if rows.any()}, dict(reasons), size)


def _wanted(codec: Codec, columns: Sequence[str] | None) -> dict[str, bool]:
    """Return the columns to fill: True where all their blanks are filled, False where only those for unknown values are."""
    known = [name for name in codec.column_names if name not in codec.keys]
    for name in columns or ():
        if name not in known:
            raise DataError(f"The model knows no column {name!r} to fill{near(name, known)}; it knows {listed(known)}.")
    meant = {name for rewrite in codec.rewrites for name in rewrite.meaningful_blanks if codec.replaced(name)}
    return dict.fromkeys([n for n in known if n not in meant], False) if columns is None else dict.fromkeys(columns, True)


def _batches(data: Dataset) -> Iterator[Dataset]:
    """Yield the rows in parts that are filled together."""
    for at in range(0, max(len(data), 1), AT_ONCE):
        yield data.rows(slice(at, at + AT_ONCE))


@dataclass(frozen=True)
class _Part:
    """Holds some rows, and which of their entries are drawn.

    Attributes:
        data: the rows.
        possible: which of them the model can take (N,).
        missing: the entries (N, D) to draw, among them those that the model cannot take.
        related: the numbers of rows that have a column which a relation replaced, and lack one that the relation needs, by the
            names of the columns that they have.
        named: for each column of the table that is filled, the blanks (N,) that are filled.
        reasons: see `Imputed`.
    """

    data: Dataset
    possible: Tensor
    missing: Tensor
    named: dict[str, np.ndarray]
    related: Mapping[tuple[str, ...], Tensor]
    reasons: dict[str, int]

    @classmethod
    def of(cls, model: GenerativeModel, codec: Codec, data: Dataset, wanted: dict[str, bool]) -> _Part:
        """Return rows with the entries to draw."""
        space, x = model.space, data.x
        related = related_rows(model, data)
        if related:
            x = x.clone()
            x[torch.cat([*related.values()])] = placeholder_row(space, x)
        odd, reasons = odd_entries(space, x)
        possible = ~odd.all(1)
        lacking = x.isnan() & (space.tables(x).missing < 0)
        missing = odd | lacking
        blank = space.tables(x).blanks(x)
        unknown = unknown_entries(space, x)
        table, named = data.table, {}
        names = space.names or ()
        for name, every in wanted.items():
            cells = _blank_cells(codec, table, name, len(data))
            at = names.index(name) if name in names else None
            if at is not None:
                absent = table is None or name not in table.column_names
                fill = (blank if every or absent else unknown)[:, at]
                missing[:, at] |= fill
                # A blank cell whose entry of x is a value follows from a relation.
                cells &= (fill | lacking[:, at] | ~blank[:, at]).cpu().numpy()
            named[name] = cells & possible.cpu().numpy()
        if codec.rewrites:  # one column of the table may give several of the space
            missing |= (
                unknown & torch.as_tensor(np.logical_or.reduce([*named.values(), np.zeros(len(data), dtype=bool)]))[:, None]
            )
        for rows in related.values():
            missing[rows] = False
        return cls(data, possible, missing, named, related, reasons)

    def blank(self, name: str) -> np.ndarray:
        """Return which blanks of a column are filled (N,)."""
        return self.named[name]

    def fill(self, model: GenerativeModel, codec: Codec, seeds: Sequence[int]) -> tuple[list[pa.Table], float]:
        """Return a copy of the rows for each seed with their blanks filled, and the least effective number of candidates."""
        data = self.data
        assert data.table is not None
        # Of some rows nothing is drawn: what they lack follows from a relation, and decoding gives it.
        blank = torch.as_tensor(np.logical_or.reduce([*self.named.values(), np.zeros(len(data), dtype=bool)]))
        apart = torch.zeros(len(data), dtype=torch.bool)
        found: list[tuple[Tensor, Iterable[Filled]]] = []
        for names, some in self.related.items():
            apart[some] = True
            at = some[blank[some]]
            if len(at):
                found.append((at, [self._fill_related(model, codec, names, at, seed) for seed in seeds]))
        rows = (self.possible & ~apart & (self.missing.any(1) | blank)).nonzero()[:, 0]
        if len(rows):
            found.append((rows, model.fills(data.x[rows], _at(data.c, rows), self.missing[rows], seeds)))
        if not found:
            return [data.table] * len(seeds), math.inf
        order = torch.cat([at for at, _ in found])
        draws = [Filled(*map(torch.cat, zip(*parts, strict=True))) for parts in zip(*(draw for _, draw in found), strict=True)]
        failed = order[~torch.stack([draw.done for draw in draws]).all(0)]
        failed = failed[apart[failed]]  # no candidate agrees with what they hold
        if len(failed):
            self.reasons[BROKEN] = self.reasons.get(BROKEN, 0) + len(failed)
        for where in self.named.values():
            where[failed.numpy()] = False
        return [self._filled(codec, order, draw.x, seed) for draw, seed in zip(draws, seeds, strict=True)], min(
            float(draw.size.masked_fill(~draw.done, math.inf).min()) for draw in draws
        )

    def _fill_related(self, model: GenerativeModel, codec: Codec, names: tuple[str, ...], rows: Tensor, seed: int) -> Filled:
        """Draw the unknown columns of rows in which these columns of the table are known."""
        assert self.data.table is not None
        return model.fill_known(known_cells(codec, self.data.table, names, rows), _at(self.data.c, rows), seed)

    def _filled(self, codec: Codec, rows: Tensor, x: Tensor, seed: int) -> pa.Table:
        """Return the table with the blanks of some rows replaced by those rows as they were drawn, x (n, D)."""
        data, table = self.data, self.data.table
        assert table is not None
        keys = data.keys.take(pa.array(rows.numpy())) if data.keys is not None else None
        drawn = as_table(codec, x.cpu(), seed, keys)
        place = np.full(len(data), -1)
        place[rows.numpy()] = np.arange(len(rows))
        for name, where in self.named.items():
            where = where & (place >= 0)
            if not where.any():
                continue
            values = drawn.column(name).take(pa.array(place, mask=~where))
            if name not in table.column_names:
                table = table.append_column(drawn.schema.field(name).with_type(values.type), values)
                continue
            i = table.column_names.index(name)
            column = _merged(table.column(name), values, where)
            table = table.set_column(i, drawn.schema.field(name).with_type(column.type), column)
        return table


def _as_in(values: Any, dtype: Any) -> Any:
    """Return a column of pandas in this type; as it is where the type does not hold its values."""
    try:
        found = values.astype(dtype)
        return found if found.astype(values.dtype).equals(values) else values
    except (TypeError, ValueError):
        return values


def _at(c: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if c is None else c[rows]


def _blank_cells(codec: Codec, table: pa.Table | None, name: str, rows: int) -> np.ndarray:
    """Return which cells (N,) of a column are blank, or marked as blank; all where the table lacks the column."""
    if table is None or name not in table.column_names:
        return np.ones(rows, dtype=bool)
    return is_blank(codec.as_cells(name, table.column(name)))


def _merged(column: pa.ChunkedArray, values: pa.ChunkedArray, where: np.ndarray) -> pa.ChunkedArray:
    """Return a column with these values in these rows (N,), in a type that holds both."""
    column, values = without_dictionary(column), without_dictionary(values)
    kind = values.type if pa.types.is_null(column.type) else column.type
    try:
        values, column = values.cast(kind), column.cast(kind)
    except pa.ArrowInvalid:  # whole numbers that are filled with fractions, say
        both = pa.float64() if is_numeric(kind) else pa.string()
        values, column = values.cast(both), column.cast(both)
    if is_text(column.type):
        values = spelled_alike(values, column.filter(pa.array(~where)))
    return pc.if_else(pa.chunked_array([pa.array(where)]), values, column)
