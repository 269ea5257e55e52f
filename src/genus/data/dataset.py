"""`read`: anything to a `Dataset` of tensors that knows its spaces."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from genus.data.measure import Unmeasurable, measure
from genus.data.sources import Source, open_source
from genus.errors import DataError
from genus.frames import ARRAYS, Form
from genus.space import Category, Integer, Kind, Real, Space

__all__ = ["Dataset", "read"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows of x, perhaps each with a condition c, and the spaces they live in.

    Args:
        x: (N, *space.shape), in data units.
        c: (N, K), or None.
        space: of x.
        context: of c, or None.
        target: the column of x that an evaluation should predict, or None.
        name: for reports.
        notes: what was left out when the data were read.
        consecutive: the rows are consecutive pieces of one long sequence; parts of them are then stretches of it, and training
            may cut it elsewhere.

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

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        condition = f", condition={list(self.context.names or ())}" if self.context is not None else ""
        return f"Dataset({self.name!r}, {len(self)} rows, {self.space!r}{condition})"

    def __str__(self) -> str:
        lines = [f"{self.name}: {len(self):,} rows", f"x  {self.space}"]
        if self.context is not None:
            lines.append(f"c  {self.context}")
        if self.target is not None:
            lines.append(f"target  {self.target}")
        return "\n".join(lines + [f"left out  {note}" for note in self.notes])

    def rows(self, index: Any) -> Dataset:
        """The rows of an index, mask or slice."""
        index = torch.from_numpy(index) if isinstance(index, np.ndarray) else index
        together = self.consecutive and isinstance(index, slice) and index.step in (None, 1)
        return replace(self, x=self.x[index], c=None if self.c is None else self.c[index], consecutive=together)

    def split(self, *fractions: float, test: float = 0.2, seed: int = 0) -> tuple[Dataset, ...]:
        """Random parts that share the spaces and no row; of one long sequence, its beginning, its middle and its end.

        Args:
            fractions: of the rows, adding up to at most 1; where they add up to less than 1, the remainder is left out.
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
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return tuple(self.rows(order[a:b]) for a, b in itertools.pairwise(edges))

    def frame(self) -> Any:
        """The rows as the kind of thing that was read; a table's condition columns come last, images come without theirs."""
        x = self.space.decode(self.x)
        if self.c is None or self.context is None or not self.space.is_table:
            return x
        c, form = self.context.decode(self.c), self.space.form
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


Wish = str | Kind


def read(
    source: Any,
    *,
    condition: str | int | Sequence[str | int] | None = None,
    target: str | None = None,
    kinds: Mapping[str, Wish] | None = None,
    space: Space | tuple[Space, Space | None] | None = None,
    missing: Sequence[Any] | None = None,
) -> Dataset:
    """Read data and measure the kind of every column.

    Args:
        source: a path (CSV, TSV, Parquet, Arrow, Feather, npz, npy; CSV may be compressed), a folder of images, a frame
            (pandas, polars, pyarrow, whatever narwhals knows), an array or tensor (N, D), images (N, H, W), (N, H, W, C) or
            (N, C, H, W), a dictionary of columns, or the name of an embedded set: digits, wine, breast-cancer, iris, diabetes.
        condition: the column(s) that become c and leave x, by name or position; of images in sub-folders, "label".
        target: a column that stays in x and that an evaluation should predict.
        kinds: what a column is, where the measured kind is not what you want: "real", "integer", "category" or a Kind.
        space: a space, or (space, context), that is known already: the data are encoded with it and nothing is measured.
        missing: values that mean missing, beside the usual ones of text files.

    Returns:
        A Dataset; print it to see the kinds and what was left out.

    Raises:
        DataError: the data cannot be read, or do not fit.

    >>> print(read({"height": [1.62, 1.80, 1.75, 1.62], "smokes": ["no", "no", "yes", "no"]}, condition="smokes"))
    data: 4 rows
    x  Space of 1 column
      height  Integer(1.62, 1.8, step=0.01)
    c  Space of 1 column
      smokes  Category('no', 'yes'; 2 levels)
    """
    found = open_source(source, missing or ())
    if missing:
        found = replace(found, columns=_mark_missing(found.columns, missing))
    if space is not None:
        return _encoded(found, space, target)
    names = found.columns.column_names
    chosen = _condition_names(condition, names)
    wishes = dict(kinds or {})
    known = [*names, *(["pixels"] if found.images is not None else [])]
    for name, what in [*((n, "kinds") for n in wishes), *([(target, "target")] if target is not None else [])]:
        if name not in known:
            raise DataError(
                f"There is no column {name!r}, named in {what}=; the columns are {', '.join(map(str, known)) or 'not named'}."
            )
    if target in chosen:
        raise DataError(f"Column {target!r} cannot be both the condition and the target; choose one.")
    rows = len(found.images) if found.images is not None else found.columns.num_rows
    if rows < 2:
        raise DataError(f"The data have {rows} row{'' if rows == 1 else 's'}; at least 2 are needed.")
    notes = list(found.notes)
    context_space, c = None, None
    if chosen:
        context_space, lost = _measured(found.columns.select(chosen), found.form.select_names(names, chosen), wishes, True)
        if lost:
            raise DataError(f"The condition cannot be used: {lost[0]}.")
        c = context_space.encode(found.columns.select(chosen))
    if found.images is not None:
        from genus.data.images import image_space

        pixels = wishes.get("pixels")
        measured = image_space(found.images, found.form.container, pixels if not isinstance(pixels, str) else None)
        if found.name == "digits" and pixels is None:
            measured = Space(Integer(0, 16), shape=measured.shape, form=measured.form)
        x = measured.encode(found.images)
    else:
        kept = [name for name in names if name not in chosen]
        if not kept:
            raise DataError("Every column is a condition; leave at least one for x.")
        measured, lost = _measured(found.columns.select(kept), found.form.select_names(names, kept), wishes, False)
        for note in lost:
            warnings.warn(f"Left out: {note}.", UserWarning, stacklevel=2)
        notes += lost
        x = measured.encode(found.columns.select(measured.names))
    target = target if target is not None else found.target
    target = target if measured.names is not None and target in measured.names else None
    return Dataset(x, c, measured, context_space, target, found.name, tuple(notes))


def _condition_names(condition: str | int | Sequence[str | int] | None, names: list[str]) -> list[str]:
    given = [] if condition is None else [condition] if isinstance(condition, str | int) else list(condition)
    out = []
    for one in given:
        name = (
            str(one) if str(one) in names else names[one] if isinstance(one, int) and -len(names) <= one < len(names) else None
        )
        if name is None:
            raise DataError(
                f"There is no column {one!r}, named in condition=; the columns are {', '.join(names) or 'not named'}."
            )
        out.append(name)
    return list(dict.fromkeys(out))


def _measured(table: pa.Table, form: Form, wishes: Mapping[str, Wish], discrete: bool) -> tuple[Space, list[str]]:
    """The space of the columns that can be measured, and why the others cannot."""
    kinds: dict[str, Kind] = {}
    lost = []
    for name in table.column_names:
        wish = wishes.get(name)
        try:
            kinds[name] = (
                wish if isinstance(wish, Real | Integer | Category) else measure(name, table.column(name), wish, discrete)
            )
        except Unmeasurable as reason:
            lost.append(str(reason))
    if not kinds:
        raise DataError(f"No column is left: {'; '.join(lost)}.")
    return Space(list(kinds.values()), names=list(kinds), form=form.select_names(table.column_names, list(kinds))), lost


def _mark_missing(table: pa.Table, markers: Sequence[Any]) -> pa.Table:
    texts, numbers = [m for m in markers if isinstance(m, str)], [float(m) for m in markers if isinstance(m, int | float)]
    columns = []
    for column in table.columns:
        kind = column.type
        if texts and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            hit = pc.is_in(column, value_set=pa.array(texts, type=kind))
        elif numbers and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            hit = pc.is_in(column.cast(pa.float64(), safe=False), value_set=pa.array(numbers))
        else:
            columns.append(column)
            continue
        columns.append(pc.if_else(hit, pa.scalar(None, kind), column))
    return pa.table(columns, names=table.column_names)


def _encoded(found: Source, space: Space | tuple[Space, Space | None], target: str | None) -> Dataset:
    """New data in spaces that are known already; columns that they do not name are ignored."""
    known, context = space if isinstance(space, tuple) else (space, None)
    x = known.encode(found.images if found.images is not None else _renamed(found, known))
    c = context.encode(_renamed(found, context)) if context is not None else None
    target = target if target is not None else found.target
    return Dataset(x, c, known, context, target if target in (known.names or ()) else None, found.name, found.notes)


def _renamed(found: Source, space: Space) -> pa.Table:
    """An array's columns have no names of their own: where the widths agree, they are the space's."""
    table = found.columns
    unnamed = found.form.container in ARRAYS and found.images is None
    if (
        unnamed
        and space.names is not None
        and table.num_columns == space.dim
        and not set(space.names) <= set(table.column_names)
    ):
        return table.rename_columns(list(space.names))
    return table
