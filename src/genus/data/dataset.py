"""`read`: anything to a `Dataset` of tensors that knows its spaces."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from genus.codec.frames import ARRAYS, Form, type_name
from genus.data.measure import Unmeasurable, measure
from genus.data.sequences import Options, arrange
from genus.data.sources import Source, open_source
from genus.errors import DataError
from genus.kinds import Kind
from genus.space import Space

__all__ = ["Dataset", "read"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows of x, perhaps each with a context c, and the spaces they live in.

    Args:
        x: (N, *space.shape), in data units; of sequences (N, T), as small integers where that is possible, memory-mapped
            where they are many.
        c: (N, K), or None.
        space: of x.
        context: of c, or None.
        target: the column of x that an evaluation should predict, or None.
        name: for reports.
        notes: what was left out, and what else there is to know of how the data were read.
        consecutive: the rows are consecutive pieces of one long sequence; parts of them are then stretches of it, and training
            may cut it elsewhere.
        groups: (N,) whole numbers, equal for rows that were cut from one thing, such as windows of one recording: they go into
            the same part of a split; or None.

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

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        context = f", context={list(self.context.names or ())}" if self.context is not None else ""
        return f"Dataset({self.name!r}, {len(self)} rows, {self.space!r}{context})"

    def __str__(self) -> str:
        rows = "consecutive blocks" if self.consecutive else "rows"
        lines = [f"{self.name}: {len(self):,} {rows}", f"x  {self.space}"]
        if self.context is not None:
            lines.append(f"c  {self.context}")
        if self.target is not None:
            lines.append(f"target  {self.target}")
        return "\n".join(lines + [f"note  {note}" for note in self.notes])

    def rows(self, index: Any) -> Dataset:
        """The rows of an index, mask or slice."""
        index = torch.from_numpy(index) if isinstance(index, np.ndarray) else index
        together = self.consecutive and isinstance(index, slice) and index.step in (None, 1)
        c, groups = (None if t is None else t[index] for t in (self.c, self.groups))
        return replace(self, x=self.x[index], c=c, consecutive=together, groups=groups)

    def split(self, *fractions: float, test: float = 0.2, seed: int = 0) -> tuple[Dataset, ...]:
        """Random parts that share the spaces and no row, nor rows of one group; of one long sequence its beginning to its end.

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
        generator = torch.Generator().manual_seed(seed)
        if self.groups is not None:
            order, edges = self._by_group(edges, generator)
        else:
            order = torch.randperm(len(self), generator=generator)
        return tuple(self.rows(order[a:b]) for a, b in itertools.pairwise(edges))

    def _by_group(self, edges: Sequence[int], generator: torch.Generator) -> tuple[Tensor, list[int]]:
        """An order of the rows with groups together, and the edges moved to where the nearest groups end."""
        _, group = self.groups.unique(return_inverse=True)  # type: ignore[union-attr]
        place = torch.randperm(int(group.max()) + 1, generator=generator)[group]
        ends = torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(place).cumsum(0)])
        if len(ends) <= len(edges) - 1:
            raise DataError(f"Rows of {len(ends) - 1} group cannot be split into {len(edges) - 1} parts; read more of them.")
        moved = [int(ends[(ends - edge).abs().argmin()]) for edge in edges]
        if any(a >= b for a, b in itertools.pairwise(moved)):
            raise DataError("Groups of rows stay together, and a part would have none; use more groups or larger parts.")
        return place.argsort(stable=True), moved

    def frame(self) -> Any:
        """The rows as the kind of thing that was read; a table's context columns come last, images come without theirs."""
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
    context: str | int | Sequence[str | int] | None = None,
    target: str | None = None,
    kinds: Mapping[str, Wish] | None = None,
    space: Space | tuple[Space, Space | None] | None = None,
    missing: Sequence[Any] | None = None,
    tokens: str | int | os.PathLike[str] | None = None,
    documents: str | None = None,
    length: int | None = None,
    rate: int | None = None,
    encoding: str | None = None,
    sequence: bool | str | None = None,
    header: bool | None = None,
    allow_missing: bool = False,
    beyond: bool = False,
) -> Dataset:
    """Read data and measure the kind of every column.

    Args:
        source: a path (CSV, TSV, Parquet, Arrow, Feather, npz, npy; txt, text, md; wav, flac, ogg; CSV and text may be
            compressed), a folder of images, texts or recordings, a frame (pandas, polars, pyarrow, whatever narwhals knows), an
            array or tensor (N, D), images (N, H, W), (N, H, W, C) or (N, C, H, W), a dictionary of columns, or the name of an
            embedded set: digits, wine, breast-cancer, iris, diabetes, topics (text), strings (sound).
        context: the column(s) that become c and leave x, by name or position; of what lies in sub-folders, "label".
        target: a column that stays in x and that an evaluation should predict.
        kinds: what a column is, where the measured kind is not what you want: "real", "lattice", "category" or a Kind. The
            pixels of images are "pixels", the elements of sequences of numbers "values".
        space: a space, or (space, context), that is known already: the data are encoded with it and nothing is measured.
        missing: values that mean missing, beside the usual ones of text files.
        tokens: what the symbols of text are: "characters" (where not given), "bytes", the file of a tokenizer of the
            `tokenizers` package in JSON, or how many tokens a byte-pair encoding, trained on the text, should have.
        documents: what a sequence is. Of text: "one" long text, cut into blocks; "lines" or "files", each with an end; "auto"
            (where not given) takes a file of at least ten short lines, none of them empty, by lines, and a folder of short
            texts by files. Of sound: "one" long sound; "files", each whole, with an end; "auto" cuts windows out of several.
        length: of the blocks or windows, by default 256 symbols or 4000 samples, less where there is little; of sequences with
            an end the greatest, end included: longer ones are left out.
        rate: samples a second; sound of another rate is resampled.
        encoding: of sound: "mu-law" (256 levels; where not given), "linear" (16 bits), "linear-8" (to 24 bits), or "real",
            which adds noise of one step of 16 bits, as a density over real numbers needs.
        sequence: True: an array (T,) or the rows of one (N, T), a list of sequences or of strings, or the rows of a table of
            numbers are sequences. The name of a column: it is one, in the order of the rows; one of lists is one sequence a
            row, one of texts that differ one text a row. Whole numbers from 0 to at most 255 are a Category((0, 1, ...)).
        header: whether the first line of delimited text names the columns; where not given, its lines are looked at.
        allow_missing: with `space=`: x is NaN where a column lacks a value that it did not lack in training; otherwise that
        is an error. beyond: with `space=`: x is infinite where a lattice has no place for a number; otherwise that is an
        error.

    Returns:
        A Dataset; print it to see the kinds and what was left out.

    Raises:
        DataError: the data cannot be read, or do not fit.

    >>> print(read({"height": [1.62, 1.80, 1.75, 1.62], "smokes": ["no", "no", "yes", "no"]}, context="smokes"))
    data: 4 rows
    x  Space of 1 column
      height  Lattice(1.62, 1.8, step=0.01)
    c  Space of 1 column
      smokes  Category('no', 'yes'; 2 levels)
    >>> print(read(["anna", "otto", "hannah"], sequence=True))
    data: 3 rows
    x  Space(sequence of Category('a', 'h', 'n', 'o', 't', missing; 6 levels), length up to 7)
    """
    known, known_context = space if isinstance(space, tuple) else (space, None)
    wishes = dict(kinds or {})
    columns = {
        name: kind for one in (known_context, known) if one for name, kind in zip(one.names or (), one.kinds, strict=False)
    }
    options = Options(
        missing=tuple(missing or ()),
        tokens=tokens,
        documents=documents,
        length=length,
        rate=rate,
        encoding=encoding,
        sequence=sequence or None,
        header=header,
        kinds=columns | wishes,
        conditioned=context is not None or known_context is not None,
        space=known,
    )
    given = options.given()
    if known is not None and known.sequence and not sequence:
        options = replace(options, sequence=True)
    found = open_source(source, options)
    if missing:
        found = replace(found, columns=_mark_missing(found.columns, missing))
    if options.sequence and found.sequences is None:
        found = _in_order(found, options, context, space)
    _check_arguments(given, found)
    if found.sequences is not None:
        return _sequences(found, options, context, target, kinds, space)
    if space is not None:
        return _encoded(found, space, target, allow_missing, beyond)
    names = found.columns.column_names
    chosen = _context_names(context, names)
    named = [*names, *(["pixels"] if found.images is not None else [])]
    for name, what in [*((n, "kinds") for n in wishes), *([(target, "target")] if target is not None else [])]:
        if name not in named:
            raise DataError(
                f"There is no column {name!r}, named in {what}=; the columns are {', '.join(map(str, named)) or 'not named'}."
            )
    if target in chosen:
        raise DataError(f"Column {target!r} cannot be both the context and the target; choose one.")
    rows = len(found.images) if found.images is not None else found.columns.num_rows
    if rows < 2:
        raise DataError(f"The data have {rows} row{'' if rows == 1 else 's'}; at least 2 are needed.")
    notes = list(found.notes)
    context_space, c = None, None
    if chosen:
        context_space, lost = _measured(found.columns.select(chosen), found.form.select_names(names, chosen), wishes, True)
        if lost:
            raise DataError(f"The context cannot be used: {lost[0]}.")
        c = context_space.encode(found.columns.select(chosen))
    if found.images is not None:
        from genus.data.images import image_space

        pixels = wishes.get("pixels")
        if isinstance(pixels, str):
            raise DataError(f"The kind of pixels is a Kind, kinds={{'pixels': genus.Lattice(0, 255)}} say; got {pixels!r}.")
        measured = image_space(found.images, found.form.container, pixels)
        x = measured.encode(found.images)
    else:
        kept = [name for name in names if name not in chosen]
        if not kept:
            raise DataError("Every column is context; leave at least one for x.")
        measured, lost = _measured(found.columns.select(kept), found.form.select_names(names, kept), wishes, False)
        for note in lost:
            warnings.warn(f"Left out: {note}.", UserWarning, stacklevel=2)
        notes += lost
        x = measured.encode(found.columns.select(measured.names))
    target = target if target is not None else found.target
    target = target if measured.names is not None and target in measured.names else None
    return Dataset(x, c, measured, context_space, target, found.name, tuple(notes))


def _in_order(found: Source, options: Options, columns: Any, space: Any) -> Source:
    """A table as sequences: a column of it, or its rows; the other columns stay beside."""
    from genus.data.numbers import read_columns

    if found.images is not None:
        raise DataError(f"{found.name} are images and not sequences; pass them as an array (N, T) to read their rows so.")
    names = found.columns.column_names
    context = space[1] if isinstance(space, tuple) else None
    beside = _context_names(columns, names) if context is None else [n for n in context.names or () if n in names]
    if options.sequence in beside:
        raise DataError(f"Column {options.sequence!r} cannot be both the context and the sequence; choose one.")
    kept = [name for name in names if name not in beside]
    return replace(found, sequences=read_columns(found.columns.select(kept), options))


def _check_arguments(given: Sequence[str], found: Source) -> None:
    """Raise DataError for an argument that has no meaning for what was found."""
    uses = found.uses | (found.sequences.uses if found.sequences is not None else frozenset())
    if odd := [name for name in given if name not in uses]:
        what = "a table" if found.images is None else "images"
        what = f"sequences of {found.sequences.unit}" if found.sequences is not None else what
        raise DataError(f"The argument {odd[0]}= has no meaning for {found.name}, which is {what}; leave it out.")


def _sequences(found: Source, options: Options, columns: Any, target: Any, kinds: Any, space: Any) -> Dataset:
    """Text, sound or numbers in their order, perhaps each with its context."""
    assert found.sequences is not None
    names = found.columns.column_names
    known, context = space if isinstance(space, tuple) else (space, None)
    chosen = _context_names(columns, names) if context is None else [*(context.names or ())]
    odd = next((name for name in kinds or () if name != "values" and name not in chosen), None)
    if odd is not None or ("values" in (kinds or {}) and found.sequences.form.coding):
        raise DataError(f"There is no column {odd or 'values'!r}, named in kinds=; {found.name} holds sequences.")
    if target is not None:
        raise DataError(f"Sequences have no column {target!r} to predict; leave target= out.")
    x, measured, origin, consecutive, notes = arrange(found.sequences, options.length, known)
    for note in notes if not consecutive else ():
        warnings.warn(f"{found.name}: {note}.", UserWarning, stacklevel=3)
    if len(x) < 2 and known is None:
        raise DataError(f"The data have {len(x)} sequence; at least 2 are needed.")
    c = None
    if chosen:
        if lacking := [name for name in chosen if name not in names]:
            raise DataError(f"The sequences lack their context {lacking[0]!r}; expected {', '.join(chosen)}.")
        table = found.columns.select(chosen)
        if context is None:
            form = Form("pyarrow", tuple(type_name(column.type) for column in table.columns))
            context, lost = _measured(table, form, kinds or {}, True)
            if lost:
                raise DataError(f"The context cannot be used: {lost[0]}.")
        c = context.encode(table.take(pa.array(origin)))
    several = found.sequences.layout == "windows" and len(np.unique(origin)) < len(origin)
    groups = torch.from_numpy(origin) if several else None
    return Dataset(x, c, measured, context, None, found.name, (*found.notes, *notes), consecutive, groups)


def _context_names(context: str | int | Sequence[str | int] | None, names: list[str]) -> list[str]:
    given = [] if context is None else [context] if isinstance(context, str | int) else list(context)
    out = []
    for one in given:
        name = (
            str(one) if str(one) in names else names[one] if isinstance(one, int) and -len(names) <= one < len(names) else None
        )
        if name is None:
            raise DataError(
                f"There is no column {one!r}, named in context=; the columns are {', '.join(names) or 'not named'}."
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
            kinds[name] = wish if isinstance(wish, Kind) else measure(name, table.column(name), wish, discrete)
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


def _encoded(
    found: Source, space: Space | tuple[Space, Space | None], target: str | None, allow_missing: bool, beyond: bool
) -> Dataset:
    """New data in spaces that are known already; columns that they do not name are ignored."""
    known, context = space if isinstance(space, tuple) else (space, None)
    x = known.encode(found.images if found.images is not None else _renamed(found, known), allow_missing, beyond)
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
