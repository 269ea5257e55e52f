"""`Dataset`: rows as tensors, with their spaces and the codecs that turn them back into what was read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from genus.codec import Codec
from genus.codec.columns import decode_column
from genus.codec.notes import Note
from genus.errors import DataError
from genus.kinds import Time
from genus.kinds.remeasure import remeasured
from genus.notebook import preformatted
from genus.space import Category, Lattice, Real, Space

__all__ = ["Dataset"]

COMBINATIONS = 64  # of values of a context, by which charts may be chosen


@dataclass(frozen=True, eq=False)
class Dataset:
    """Holds rows of x, perhaps each with a context c, and their spaces.

    Args:
        x: (N, *space.shape), in data units; of sequences (N, T), as small integers where that is possible, memory-mapped
            where they are many.
        c: (N, K), or None.
        space: of x.
        context: of c, or None.
        target: the column of x that an evaluation should predict, or None.
        name: for reports.
        notes: sentences on columns that were left out or are keys, and on how the data were read: a `Note` where something can
            be done about it.
        consecutive: the rows are consecutive pieces of one long sequence; a split is then into stretches of it, and training
            may cut it elsewhere.
        groups: (N,) whole numbers, equal for rows that were cut from the same source, such as windows of one recording: they go
            into the same part of a split; or None.
        codec: of x, from and to what was read; None for tensors.
        context_codec: of c.
        keys: the columns of keys as they were read, which are in neither x nor c; None where there are none.
        charted: the columns of x whose charts were measured, and not given.
        table: all columns as they were read, where the spaces were given; else None.

    >>> from genus.data import read
    >>> data = read("iris")
    >>> len(data), data.x.shape, data.target
    (150, torch.Size([150, 5]), 'species')
    >>> train, test = data.split(test=0.2, seed=0)
    >>> len(train), len(test)
    (120, 30)
    """

    x: Tensor
    c: Tensor | None
    space: Space
    context: Space | None = None
    target: str | None = None
    name: str = "data"
    notes: tuple[str, ...] = ()
    consecutive: bool = False
    groups: Tensor | None = None
    codec: Codec | None = None
    context_codec: Codec | None = None
    keys: pa.Table | None = None
    charted: tuple[str, ...] = ()
    table: pa.Table | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        context = f", context={list(self.context.names or ())}" if self.context is not None else ""
        return f"Dataset({self.name!r}, {len(self)} rows, {self.space!r}{context})"

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return preformatted(str(self))

    def summary(self, shell: bool = False) -> str:
        """Return the number of rows, the kinds of columns and the notes, a line each.

        Args:
            shell: the notes are in the words of the command line.
        """
        rows = "consecutive blocks" if self.consecutive else "rows"
        lines = [f"{self.name}: {len(self):,} {rows}", f"x  {self.codec or self.space}"]
        if self.context is not None:
            lines.append(f"c  {self.context_codec or self.context}")
        if self.target is not None:
            lines.append(f"target  {self.target}")
        return "\n".join(lines + [f"{note.label}  {note.shell if shell else note}" for note in map(Note.of, self.notes)])

    def rows(self, index: Any) -> Dataset:
        """Return the rows of an index, mask or slice."""
        index = torch.from_numpy(index) if isinstance(index, np.ndarray) else index
        together = self.consecutive and isinstance(index, slice) and index.step in (None, 1)
        c, groups = (None if t is None else t[index] for t in (self.c, self.groups))
        keys, table = self.keys, self.table
        if keys is not None or table is not None:
            at = pa.array(torch.arange(len(self))[index].reshape(-1).numpy())
            keys, table = (t.take(at) if t is not None else None for t in (keys, table))
        return replace(self, x=self.x[index], c=c, consecutive=together, groups=groups, keys=keys, table=table)

    def split(self, *fractions: float, test: float = 0.2, seed: int = 0) -> tuple[Dataset, ...]:
        """Return random parts of the rows; rows of a group stay together, and parts of one long sequence are stretches of it.

        Args:
            fractions: of the rows, adding up to at most 1; where they add up to less than 1, the other rows are left out.
            test: where no fractions are given, the parts are 1 - test and test.
            seed: of the shuffle; the global random state is left alone.

        Raises:
            DataError: fractions that are not positive or exceed 1 together, or a part without rows.
        """
        parts = fractions or (1 - test, test)
        if any(not 0 < f < 1 for f in parts) or sum(parts) > 1 + 1e-9:
            raise DataError(f"A split needs fractions between 0 and 1 that add up to at most 1; got {parts}.")
        edges = [0, *(round(len(self) * f) for f in np.cumsum(parts))]
        if any(a == b for a, b in itertools.pairwise(edges)):
            raise DataError(
                f"Cannot split {len(self)} rows into parts of {parts}: one would be empty; use more rows or larger parts."
            )
        if self.consecutive:
            return tuple(self.rows(slice(a, b)) for a, b in itertools.pairwise(edges))
        generator = torch.Generator().manual_seed(seed)
        if self.groups is not None:
            order, edges = self._by_group(edges, generator)
        else:
            order = torch.randperm(len(self), generator=generator)
        return tuple(self.rows(order[a:b]) for a, b in itertools.pairwise(edges))

    def charted_on(self, rows: Dataset, atoms: bool = True) -> Dataset:
        """Return these data in a space whose atoms and charts are measured on some of the rows alone, the training rows.

        Supports and steps stay as they are, so that every row keeps its place, and so does what a person gave. With a context
        of a few combinations of levels, charts are those that suit the values given it.

        Args:
            rows: of the same columns, those to train on, say.
            atoms: measure the atoms too, and not the charts alone.

        >>> from genus.data import read
        >>> train, test = read({"amount": [2.0**(i / 9) for i in range(90)]}).split()
        >>> train.charted_on(train).space == test.charted_on(train).space
        True
        """
        if not self.charted:
            return self
        kinds, groups, single = list(self.space.kinds), rows.context_groups(), rows.x.dtype == torch.float32
        for i in map(self.space.index, self.charted):
            kind = kinds[i]
            if isinstance(kind, Real | Lattice) and not isinstance(kind, Time):
                values = decode_column(kind, rows.x[:, i].double().cpu().numpy(), single)
                kinds[i] = remeasured(kind, values, groups) if atoms else kind.with_chart_of(values, groups)
        return self.with_space(self.space.with_kinds(kinds))

    def with_space(self, space: Space) -> Dataset:
        """Return these data in a space of the same columns, whose kinds have a place for all of their values."""
        codec = replace(self.codec, space=space) if self.codec is not None else None
        return replace(self, x=self.x.to(space.dtype), space=space, codec=codec)

    def context_groups(self) -> np.ndarray | None:
        """Return the number of each row's combination of values of the context, (N,); None where they are none or many."""
        if self.c is None or self.context is None:
            return None
        if any(not isinstance(kind, Category) and not kind.is_narrow for kind in self.context.kinds):
            return None
        values, groups = self.c.double().nan_to_num(nan=-math.inf).unique(dim=0, return_inverse=True)
        return groups.cpu().numpy() if 1 < len(values) <= COMBINATIONS else None

    def _by_group(self, edges: Sequence[int], generator: torch.Generator) -> tuple[Tensor, list[int]]:
        """Return an order of the rows with groups together, and the edges moved to the ends of the nearest groups."""
        _, group = self.groups.unique(return_inverse=True)  # type: ignore[union-attr]
        place = torch.randperm(int(group.max()) + 1, generator=generator)[group]
        ends = torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(place).cumsum(0)])
        if len(ends) <= len(edges) - 1:
            raise DataError(f"Rows of {len(ends) - 1} group cannot be split into {len(edges) - 1} parts; read more of them.")
        moved = [int(ends[(ends - edge).abs().argmin()]) for edge in edges]
        if any(a >= b for a, b in itertools.pairwise(moved)):
            raise DataError("Groups of rows stay together, and a part would have none; use more groups or larger parts.")
        return place.argsort(stable=True), moved

    def decode(self, x: Tensor, seed: int | None = None) -> Any:
        """Return x (N, *space.shape) in the form of the data that were read: a frame, an array, texts; else as it is.

        Args:
            x: rows of the space.
            seed: of new keys, where a column of the data is a key; the same seed repeats them.
        """
        return x if self.codec is None else self.codec.decode(x, seed)

    def frame(self) -> Any:
        """Return the rows in the form of the data that were read: a table's context columns last, images without theirs.

        They are the rows of x, decoded: a blank that a relation tells, such as the state of a city, is filled, as a note says.
        """
        x: Any = self.x if self.codec is None else self.codec.decode(self.x, known=self.keys)
        if self.c is None or not self.space.is_table:
            return x
        c: Any = self.context_codec.decode(self.c) if self.context_codec is not None else self.c
        form = self.codec.form if self.codec is not None else None
        if form is None or form.container == "torch":
            return torch.cat([x, c], dim=1)
        if form.container == "numpy":
            return np.concatenate([x, c], axis=1)
        if form.container == "dict":
            return x | c
        if form.container == "pyarrow":
            return pa.table([*x.columns, *c.columns], names=[*x.column_names, *c.column_names])
        import narwhals as nw

        return nw.concat([nw.from_native(x), nw.from_native(c)], how="horizontal").to_native()
