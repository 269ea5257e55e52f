"""`read`: anything to a `Dataset` of tensors that knows its spaces."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from genus.codec import Codec
from genus.codec.frames import ARRAYS, Form, is_text, type_name
from genus.data.dataset import Dataset
from genus.data.images import image_codec
from genus.data.measure import Unmeasurable, measure
from genus.data.numbers import read_columns
from genus.data.sequences import Options, arrange
from genus.data.sources import Source, open_source
from genus.errors import DataError
from genus.kinds import Kind
from genus.space import Space

__all__ = ["read"]

Wish = str | Kind
Known = Space | Codec


def read(
    source: Any,
    *,
    context: str | int | Sequence[str | int] | None = None,
    target: str | None = None,
    kinds: Mapping[str, Wish] | None = None,
    space: Known | tuple[Known, Known | None] | None = None,
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
        space: a space or codec, or a pair of them, of x and of c, that are known already, such as `data.codec` or
            (model.codec, model.context_codec): the data are encoded with it and nothing is measured. A codec knows how the
            first data were written: dates, the symbols of text, the rate of sound.
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
    known, known_context = (_codec(one) for one in (space if isinstance(space, tuple) else (space, None)))
    wishes = dict(kinds or {})
    spaces = [one.space for one in (known_context, known) if one is not None]
    options = Options(
        missing=tuple(missing or ()),
        tokens=tokens,
        documents=documents,
        length=length,
        rate=rate,
        encoding=encoding,
        sequence=sequence or None,
        header=header,
        kinds={name: kind for one in spaces for name, kind in zip(one.names or (), one.kinds, strict=False)} | wishes,
        conditioned=context is not None or known_context is not None,
        codec=known,
    )
    given = options.given()
    if known is not None and known.space.sequence and not sequence:
        options = replace(options, sequence=True)
    found = open_source(source, options)
    if missing:
        found = replace(found, columns=_mark_missing(found.columns, missing))
    if options.sequence and found.sequences is None:
        found = _in_order(found, options, context, known_context)
    _check_arguments(given, found)
    if found.sequences is not None:
        return _sequences(found, options, context, target, wishes, known_context)
    if known is not None:
        return _encoded(found, known, known_context, target, allow_missing, beyond)
    return _measured_rows(found, _context_names(context, found.columns.column_names), target, wishes)


def _codec(known: Known | None) -> Codec | None:
    return Codec(known) if isinstance(known, Space) else known


def _measured_rows(found: Source, chosen: list[str], target: str | None, wishes: Mapping[str, Wish]) -> Dataset:
    """The rows of a table or of images, every kind measured; the chosen columns are c."""
    names = found.columns.column_names
    _check_names(found, chosen, target, wishes)
    rows = len(found.images) if found.images is not None else found.columns.num_rows
    if rows < 2:
        raise DataError(f"The data have {rows} row{'' if rows == 1 else 's'}; at least 2 are needed.")
    notes, context, c = list(found.notes), None, None
    if chosen:
        context = _context(found.columns.select(chosen), found.form.select_names(names, chosen), wishes)
        c = context.encode(found.columns.select(chosen))
    if found.images is not None:
        codec = image_codec(found.images, found.form.container, _pixels(wishes))
        x = codec.encode(found.images)
    else:
        kept = [name for name in names if name not in chosen]
        if not kept:
            raise DataError("Every column is context; leave at least one for x.")
        codec, lost = _measured(found.columns.select(kept), found.form.select_names(names, kept), wishes, False)
        for note in lost:
            warnings.warn(f"Left out: {note}.", UserWarning, stacklevel=3)
        notes += lost
        x = codec.encode(found.columns.select(codec.space.names))
    target = target if target is not None else found.target
    target = target if target in (codec.space.names or ()) else None
    space = context.space if context is not None else None
    return Dataset(x, c, codec.space, space, target, found.name, tuple(notes), codec=codec, context_codec=context)


def _check_names(found: Source, chosen: list[str], target: str | None, wishes: Mapping[str, Wish]) -> None:
    """Raise DataError for a column that is named and not there, or that is both context and target."""
    named = [*found.columns.column_names, *(["pixels"] if found.images is not None else [])]
    for name, what in [*((n, "kinds") for n in wishes), *([(target, "target")] if target is not None else [])]:
        if name not in named:
            raise DataError(
                f"There is no column {name!r}, named in {what}=; the columns are {', '.join(map(str, named)) or 'not named'}."
            )
    if target in chosen:
        raise DataError(f"Column {target!r} cannot be both the context and the target; choose one.")


def _pixels(wishes: Mapping[str, Wish]) -> Kind | None:
    wish = wishes.get("pixels")
    if isinstance(wish, str):
        raise DataError(f"The kind of pixels is a Kind, kinds={{'pixels': genus.Lattice(0, 255)}} say; got {wish!r}.")
    return wish


def _context(table: pa.Table, form: Form, wishes: Mapping[str, Wish]) -> Codec:
    codec, lost = _measured(table, form, wishes, True)
    if lost:
        raise DataError(f"The context cannot be used: {lost[0]}.")
    return codec


def _in_order(found: Source, options: Options, columns: Any, context: Codec | None) -> Source:
    """A table as sequences: a column of it, or its rows; the other columns stay beside."""
    if found.images is not None:
        raise DataError(f"{found.name} are images and not sequences; pass them as an array (N, T) to read their rows so.")
    names = found.columns.column_names
    beside = _context_names(columns, names) if context is None else [n for n in context.space.names or () if n in names]
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


def _sequences(
    found: Source, options: Options, columns: Any, target: str | None, wishes: Mapping[str, Wish], context: Codec | None
) -> Dataset:
    """Text, sound or numbers in their order, perhaps each with its context."""
    sequences = found.sequences
    assert sequences is not None
    names = found.columns.column_names
    chosen = _context_names(columns, names) if context is None else [*(context.space.names or ())]
    odd = next((name for name in wishes if name != "values" and name not in chosen), None)
    if odd is not None or ("values" in wishes and sequences.form.coding):
        raise DataError(f"There is no column {odd or 'values'!r}, named in kinds=; {found.name} holds sequences.")
    if target is not None:
        raise DataError(f"Sequences have no column {target!r} to predict; leave target= out.")
    x, space, origin, consecutive, notes = arrange(sequences, options.length, options.space)
    for note in notes if not consecutive else ():
        warnings.warn(f"{found.name}: {note}.", UserWarning, stacklevel=3)
    if len(x) < 2 and options.space is None:
        raise DataError(f"The data have {len(x)} sequence; at least 2 are needed.")
    c = None
    if chosen:
        if lacking := [name for name in chosen if name not in names]:
            raise DataError(f"The sequences lack their context {lacking[0]!r}; expected {', '.join(chosen)}.")
        table = found.columns.select(chosen)
        form = Form("pyarrow", tuple(type_name(column.type) for column in table.columns))
        context = _context(table, form, wishes) if context is None else context
        c = context.encode(table.take(pa.array(origin)))
    several = sequences.layout == "windows" and len(np.unique(origin)) < len(origin)
    return Dataset(
        x,
        c,
        space,
        context.space if context is not None else None,
        name=found.name,
        notes=(*found.notes, *notes),
        consecutive=consecutive,
        groups=torch.from_numpy(origin) if several else None,
        codec=options.codec or Codec(space, sequences.form),
        context_codec=context,
    )


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


def _measured(table: pa.Table, form: Form, wishes: Mapping[str, Wish], discrete: bool) -> tuple[Codec, list[str]]:
    """The codec of the columns that can be measured, and why the others cannot."""
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
    space = Space(list(kinds.values()), names=list(kinds))
    return Codec(space, form.select_names(table.column_names, list(kinds))), lost


def _mark_missing(table: pa.Table, markers: Sequence[Any]) -> pa.Table:
    texts, numbers = [m for m in markers if isinstance(m, str)], [float(m) for m in markers if isinstance(m, int | float)]
    columns = []
    for column in table.columns:
        kind = column.type
        if texts and is_text(kind):
            hit = pc.is_in(column, value_set=pa.array(texts, type=kind))
        elif numbers and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            hit = pc.is_in(column.cast(pa.float64(), safe=False), value_set=pa.array(numbers))
        else:
            columns.append(column)
            continue
        columns.append(pc.if_else(hit, pa.scalar(None, kind), column))
    return pa.table(columns, names=table.column_names)


def _encoded(
    found: Source, codec: Codec, context: Codec | None, target: str | None, allow_missing: bool, beyond: bool
) -> Dataset:
    """New data in spaces that are known already; columns that they do not name are ignored."""
    x = codec.encode(found.images if found.images is not None else _renamed(found, codec.space), allow_missing, beyond)
    c = context.encode(_renamed(found, context.space)) if context is not None else None
    target = target if target is not None else found.target
    return Dataset(
        x,
        c,
        codec.space,
        context.space if context is not None else None,
        target if target in (codec.space.names or ()) else None,
        found.name,
        found.notes,
        codec=codec,
        context_codec=context,
    )


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
