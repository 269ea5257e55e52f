"""`read`: data of any source as a `Dataset` of tensors with their spaces."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from genus.codec import Codec
from genus.codec.arrow import type_name
from genus.codec.decimals import measure_decimals
from genus.codec.forms import ARRAYS, Form
from genus.codec.functions import Function
from genus.codec.notes import Note
from genus.codec.stamps import rounding_note
from genus.codec.times import read_times
from genus.data.arguments import KindOverride, Options, context_names, pixels_kind
from genus.data.blanks import mark_unknown, unknown_columns
from genus.data.checks import check_arguments, check_names
from genus.data.dataset import Dataset
from genus.data.delimited import MISSING
from genus.data.functions import filled_notes
from genus.data.grouped import take_group
from genus.data.images import image_codec
from genus.data.markers import marker_notes
from genus.data.nearly import nearly_notes
from genus.data.ordered import as_sequences, sequences_of, series_of
from genus.data.precision import precision_notes
from genus.data.relations import relate
from genus.data.schema import Schema
from genus.data.sources import Source, open_source
from genus.data.stream import read_stream
from genus.data.table_codec import measure_context, measure_table
from genus.data.tables import mark_missing
from genus.errors import DataError
from genus.kinds import Kind
from genus.space import Space
from genus.threads import torch_threads

__all__ = ["read"]
SpaceOrCodec = Space | Codec


def read(
    source: Any,
    *,
    context: str | int | Sequence[str | int] | None = None,
    target: str | None = None,
    kinds: Mapping[str, KindOverride] | None = None,
    space: SpaceOrCodec | tuple[SpaceOrCodec, SpaceOrCodec | None] | None = None,
    missing: Sequence[Any] | None = None,
    tokens: str | int | os.PathLike[str] | None = None,
    documents: str | None = None,
    length: int | None = None,
    rate: int | None = None,
    encoding: str | None = None,
    sequence: bool | str | Sequence[str] | None = None,
    header: bool | None = None,
    schema: Schema | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    relations: bool = True,
    constraints: Sequence[str] = (),
    chart: str = "auto",
    unknown: Sequence[str] = (),
    blank_is_a_value: Sequence[str] = (),
    group: str | None = None,
    allow_missing: bool = False,
    absent: bool = False,
    beyond: bool = False,
    stream: bool = False,
) -> Dataset:
    """Read data and measure the kind of every column.

    Args:
        source: a path, a folder, a pattern such as "parts/*.csv", an open file, data in memory, or the name of an embedded set:
            digits, wine, breast-cancer, iris, diabetes, topics (text), strings (sound). Tables: .csv, .tsv, .data, .json,
            .jsonl, .xlsx, .parquet, .arrow, .feather, .npz, .npy; text: .txt, .text, .md; sound: .wav, .flac, .ogg; all may be
            compressed. Folders hold images, texts, recordings, or the Parquet files of one table. In memory: a frame that
            narwhals supports (pandas, polars), a data set of Hugging Face's library, an array, tensor or sparse matrix (N, D),
            images (N, H, W), (N, H, W, C) or (N, C, H, W), a dictionary of columns.
        context: the columns that become c and leave x, by name or position; of files in sub-folders, "label".
        target: a column that stays in x and that an evaluation should predict.
        kinds: the kinds of columns, where the measured kind is not the right one: "real", "lattice", "category", "time", the
            template by which times are written, such as "%d/%m/%Y" (see `genus.codec.writing.Writing`), or a Kind; "key" for a
            column that names the rows, "omit" for one that is to be left out. The pixels of images are named "pixels", the
            elements of sequences of numbers "values".
        space: the space or codec of x, or a pair of those of x and c, such as `data.codec` or (model.codec,
            model.context_codec): the data are encoded with it and nothing is measured. A codec also keeps how the first data
            were written: dates, the symbols of text, the rate of sound.
        missing: values that mean missing, beside the usual words in text files.
        tokens: the symbols of text: "characters" (the default), "bytes", the file of a tokenizer of the `tokenizers` package in
            JSON, or the number of tokens of a byte-pair encoding that is trained on the text.
        documents: the parts of the data that are a sequence. Of text: "one" long text, cut into blocks; "lines" or "files",
            each with an end; "auto" (the default) takes a file of at least ten short lines, none of them empty, by lines, and a
            folder of short texts by files. Of sound: "one" long sound; "files", each complete, with an end; "auto" cuts windows
            out of several files.
        length: of the blocks or windows, by default 256 symbols or 4000 samples, less for little data; of sequences with an end
            the greatest, end included: longer sequences are left out.
        rate: samples a second; sound of another rate is resampled.
        encoding: of sound: "mu-law" (256 levels; the default), "linear" (16 bits), "linear-8" (to 24 bits), or "real", which
            adds noise of one step of 16 bits, as a density over real numbers needs. Of delimited text and JSON: "latin-1", say.
        sequence: True: an array (T,), the rows of an array (N, T), a list of sequences or of strings, or the rows of a table of
            numbers are sequences. The name of a column: its values in the order of the rows are a sequence; a column of lists
            has a sequence a row, a column of texts that differ a text a row. Whole numbers from 0 to at most 255 are a
            Category((0, 1, ...)). Arrays (N, T, C), with True, and a long table, with its key and its time, ("shop", "day"),
            are series of several values a step: one for each key, in the order of time, whose steps count and not what lies
            between; the context is the same in all rows of a series. NaN is missing.
        schema: a `Schema`, or the path of the file that `genus describe` wrote: columns are taken as it says, and relations are
            those that it declares. Other arguments come before it.
        header: whether the first line of delimited text names the columns; None: the lines themselves decide.
        relations: look for relations that hold in every row, a <= b, a + b = c, b a function of a, and keep them; printing the
            Dataset shows them. Only in tables of 50 rows or more and of 64 columns or fewer.
        constraints: relations that are declared, such as "checkin < checkout", "net + tax = total", "city -> state" or, of a
            rounded column, "due ~ count * price"; other comparisons, "2 * a < b" say, are kept by drawing again what
            breaks them.
        chart: "auto": models see every number of a table through the chart under which its column is likeliest, on the support
            that the column shows; or "affine": standardised by mean and deviation, as textbooks have it.
        unknown: columns whose blanks are values that are not known; nothing draws such a blank unless it is asked to.
        blank_is_a_value: columns whose blanks mean something, and are drawn as often as they are there. Of columns that neither
            names, a blank is a value where another column tells which rows are blank, and else unknown; printing the Dataset
            shows it.
        group: a column whose equal values say which rows belong together, such as those of one customer: it leaves the table,
            and the rows of each group stay in the same part of every split.
        allow_missing: with `space=`: x is NaN where a column lacks a value that it did not lack in training; otherwise that
            is an error.
        absent: with `space=` and `allow_missing`: a column of x that the data lack is blank in every row; otherwise that is an
            error.
        beyond: with `space=`: x is infinite where a lattice has no place for a number, where a level or a character was not
            there in training, or a row breaks a relation; otherwise that is an error.
        stream: the table is never in memory as a whole: files of Parquet, Arrow or delimited text are read block by block, and
            what comes once, from a reader of Arrow's batches, a generator of frames or an `IterableDataset`, from a temporary
            copy on disk. The Dataset holds a sample; families that count or descend gradients, and mixtures, go on.
            Text and sound are as without it: in a memory-mapped temporary file where they are large.

    Returns:
        A Dataset; print it to see the kinds, and the columns that were left out.

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
    if stream:
        return read_stream(source, locals(), read)
    if schema is not None:
        said = Schema.read(schema).arguments()
        context, target = context if context is not None else said["context"], target if target is not None else said["target"]
        kinds, constraints, relations = said["kinds"] | dict(kinds or {}), (*said["constraints"], *constraints), False
    codec, context_codec = (_codec(given) for given in (space if isinstance(space, tuple) else (space, None)))
    overrides = dict(kinds or {})
    spaces = [known.space for known in (context_codec, codec) if known is not None]
    options = Options(
        missing=tuple(missing or ()),
        tokens=tokens,
        documents=documents,
        length=length,
        rate=rate,
        encoding=encoding,
        sequence=(*sequence,) if isinstance(sequence, list | tuple) else sequence or None,  # type: ignore[arg-type]
        header=header,
        kinds={name: kind for s in spaces for name, kind in zip(s.names or (), s.kinds, strict=False)} | overrides,
        conditioned=context is not None or context_codec is not None,
        codec=codec,
        beyond=beyond,
    )
    arguments = options.used_arguments()
    if codec is not None and codec.space.sequence and not sequence:
        options = replace(options, sequence=True)
    found = open_source(source, options)
    if missing:
        found = replace(found, columns=mark_missing(found.columns, missing))
    if options.sequence and found.sequences is None and found.series is None:
        found = as_sequences(found, options, context, context_codec, overrides)
    check_arguments(arguments, found)
    found, groups = take_group(found, group)
    if found.series is not None:
        return series_of(found, options, context, target, overrides, context_codec)
    if found.sequences is not None:
        return sequences_of(found, options, context, target, overrides, context_codec)
    if codec is not None:
        return _encoded(found, codec, context_codec, target, allow_missing, absent, beyond)
    found = _with_times(found, overrides)
    chosen = context_names(context, found.columns.column_names)
    if chart not in ("auto", "affine"):
        raise DataError(f"chart={chart!r} is not known; expected 'auto' or 'affine'.")
    with torch_threads(1):  # charts are fitted by short loops, after each of which threads would wait for one another
        rows = _measured_rows(found, chosen, target, overrides, relations, constraints, chart, (unknown, blank_is_a_value))
    return replace(rows, groups=groups)


def _codec(given: SpaceOrCodec | None) -> Codec | None:
    return Codec(given) if isinstance(given, Space) else given


def _with_times(found: Source, overrides: Mapping[str, KindOverride]) -> Source:
    """Return a source whose columns of written times are times, and whose form has the decimals of numbers."""
    table, form, notes = read_times(found.columns, found.form, overrides, MISSING, found.from_text)
    read = {name for name in table.column_names if table.column(name).type != found.columns.column(name).type}
    kept = [note for note in found.notes if getattr(note, "column", "") not in read]
    if form.container not in ARRAYS and not form.decimals:
        form = replace(form, decimals=measure_decimals(table))
    return replace(found, columns=table, form=form, notes=(*kept, *notes))


def _measured_rows(
    found: Source,
    chosen: list[str],
    target: str | None,
    overrides: Mapping[str, KindOverride],
    relations: bool,
    constraints: Sequence[str],
    chart: str,
    blanks: tuple[Sequence[str], Sequence[str]],
) -> Dataset:
    """Return the rows of a table or of images with every kind measured; the chosen columns are c."""
    names = found.columns.column_names
    check_names(found, chosen, target, overrides)
    rows = len(found.images) if found.images is not None else found.columns.num_rows
    if rows < 2:
        raise DataError(f"The data have {rows} row{'' if rows == 1 else 's'}; at least 2 are needed.")
    notes, context, c = list(found.notes), None, None
    if chosen:
        table, form = found.columns.select(chosen), found.form.select_names(names, chosen)
        if found.images is not None and any(pa.types.is_string(kind) for kind in table.schema.types):  # no pixels, but words
            form = Form("pyarrow", tuple(type_name(kind) for kind in table.schema.types))
        context = measure_context(table, form, overrides, chart)
        c = context.encode(table)
    if found.images is not None:
        codec = image_codec(found.images, found.form.container, pixels_kind(overrides))
        x = codec.encode(found.images)
    else:
        kept = [name for name in names if name not in chosen]
        if not kept:
            raise DataError("Every column is context; leave at least one for x.")
        codec, said = measure_table(found.columns.select(kept), found.form.select_names(names, kept), overrides, False, chart)
        for note in said:
            if note.column == target and note.about in ("left out", "key"):
                raise DataError(note.in_sentence(f"Column {target!r} cannot be the target: {{}}"))
            if note.column not in overrides and note.about in ("left out", "personal"):
                warnings.warn(f"{'Left out: ' if note.about == 'left out' else ''}{note}.", UserWarning, stacklevel=3)
        pairs = [*zip(codec.space.names or (), codec.space.kinds, strict=True)]
        notes += [*said, *(rounded for n, kind in pairs if (rounded := rounding_note(n, found.columns.column(n), kind)))]
        target = target if target is not None else found.target
        fixed = [name for name, kind in overrides.items() if isinstance(kind, Kind)]
        plain = {name: kind for name, kind in pairs if name not in fixed}
        notes += marker_notes(found.columns.select(kept), overrides, dict(zip(names, found.form.writings, strict=False)))
        open_ = functools.cache(functools.partial(unknown_columns, codec, found.columns, fixed, *blanks))
        codec = relate(codec, found.columns, relations, constraints, target, fixed, chart, open_)
        notes += filled_notes(found.columns, codec.rewrites)
        notes += nearly_notes(found.columns, plain, codec.rewrites, target) if relations else []
        x = codec.encode(found.columns.select(codec.names or codec.space.names))
        notes += precision_notes(codec.space, found.columns) if found.form.container not in ARRAYS else []
        related = {name for rewrite in codec.rewrites for name in rewrite.meaningful_blanks}
        follow = {one.column for one in codec.rewrites if isinstance(one, Function)} & {*open_()} if blanks[0] else ()
        asked = [name for name in blanks[0] if name not in follow]  # nothing draws a blank of what follows from another column
        codec = replace(codec, space=mark_unknown(codec.space, x, fixed, asked, blanks[1], related))
    target = target if target is not None else found.target
    target = target if target in (codec.space.names or ()) else None
    space = context.space if context is not None else None
    keys = found.columns.select(codec.keys) if codec.keys else None
    noted = tuple(map(Note.of, notes))
    given = {name for name, kind in overrides.items() if isinstance(kind, Kind)}
    names = codec.space.names if chart != "affine" and found.images is None else None
    charted = tuple(name for name in names or () if name not in given)
    data = Dataset(
        x, c, codec.space, space, target, found.name, noted, codec=codec, context_codec=context, keys=keys, charted=charted
    )
    return data.charted_on(data, atoms=False) if data.context_groups() is not None else data


def _encoded(
    found: Source,
    codec: Codec,
    context: Codec | None,
    target: str | None,
    allow_missing: bool,
    absent: bool,
    beyond: bool,
) -> Dataset:
    """Return new data in the spaces of these codecs; columns that the spaces do not name are ignored."""
    table = None if found.images is not None else _renamed(found, codec)
    if table is not None and absent:
        lacking = [name for name in codec.column_names if name not in {*table.column_names, *codec.keys}]
        for name in lacking if len(lacking) < len(codec.column_names) else ():  # data without any column are other data
            table = table.append_column(name, pa.nulls(table.num_rows, codec.type_of(name)))
    x = codec.encode(found.images if table is None else table, allow_missing, beyond)
    c = context.encode(_renamed(found, context)) if context is not None else None
    target = target if target is not None else found.target
    keys = [name for name in codec.keys if name in found.columns.column_names]
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
        keys=found.columns.select(keys) if keys else None,
        table=found.columns if found.images is None else None,
    )


def _renamed(found: Source, codec: Codec) -> pa.Table:
    """Return a table; an array's columns, which have no names of their own, get the codec's where the widths agree."""
    table, names = found.columns, codec.names or codec.space.names or ()
    unnamed = found.form.container in ARRAYS and found.images is None
    if unnamed and table.num_columns == len(names) and not set(names) <= set(table.column_names):
        return table.rename_columns(list(names))
    return table
