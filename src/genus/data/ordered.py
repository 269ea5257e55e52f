"""Data sets of sequences: text, sound, numbers in their order, and series of several values a step."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from genus.codec import Codec
from genus.codec.arrow import type_name
from genus.codec.forms import Form
from genus.codec.times import read_times
from genus.data.arguments import KindOverride, Options, context_names
from genus.data.dataset import Dataset
from genus.data.delimited import MISSING
from genus.data.numbers import read_columns
from genus.data.sequences import arrange
from genus.data.series import of_table, series_rows
from genus.data.sources import Source
from genus.data.table_codec import measure_context
from genus.errors import DataError

__all__ = ["as_sequences", "sequences_of", "series_of"]


def as_sequences(
    found: Source, options: Options, context: Any, context_codec: Codec | None, overrides: Mapping[str, KindOverride]
) -> Source:
    """Return a table's column, or its rows, as sequences; the context's columns stay beside them."""
    if found.images is not None:
        raise DataError(f"{found.name} are images and not sequences; pass them as an array (N, T) to read their rows so.")
    names = found.columns.column_names
    beside = [name for name in _context_names(context, context_codec, names) if name in names]
    if options.sequence in beside:
        raise DataError(f"Column {options.sequence!r} cannot be both the context and the sequence; choose one.")
    kept = [name for name in names if name not in beside]
    known = options.codec.names[:2] if options.codec is not None and options.codec.space.channels else None
    if isinstance(options.sequence, tuple) or known:
        pair = options.sequence if isinstance(options.sequence, tuple) else known
        if not pair or len(pair) != 2:
            raise DataError(f"A long table of series needs two columns, its key and its time; got sequence={pair!r}.")
        table, form, notes = read_times(found.columns, found.form, overrides, MISSING, found.from_text)
        series = of_table(table, form, pair[0], pair[1], beside)
        return replace(
            found, series=series, columns=series.beside, uses=found.uses | {"sequence"}, notes=(*found.notes, *notes)
        )
    return replace(found, sequences=read_columns(found.columns.select(kept), options))


def sequences_of(
    found: Source,
    options: Options,
    context: Any,
    target: str | None,
    overrides: Mapping[str, KindOverride],
    context_codec: Codec | None,
) -> Dataset:
    """Return text, sound or numbers in their order, each with its context where the data have one."""
    sequences = found.sequences
    assert sequences is not None
    names = found.columns.column_names
    chosen = _context_names(context, context_codec, names)
    odd = next((name for name in overrides if name != "values" and name not in chosen), None)
    if odd is not None or ("values" in overrides and sequences.form.coding):
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
        table, context_codec = _context_of(found, chosen, overrides, context_codec)
        c = context_codec.encode(table.take(pa.array(origin)))
    several = sequences.layout == "windows" and len(np.unique(origin)) < len(origin)
    return Dataset(
        x,
        c,
        space,
        context_codec.space if context_codec is not None else None,
        name=found.name,
        notes=(*found.notes, *notes),
        consecutive=consecutive,
        groups=torch.from_numpy(origin) if several else None,
        codec=options.codec or Codec(space, sequences.form),
        context_codec=context_codec,
    )


def series_of(
    found: Source,
    options: Options,
    context: Any,
    target: str | None,
    overrides: Mapping[str, KindOverride],
    context_codec: Codec | None,
) -> Dataset:
    """Return series of several values a step, each with its context where the data have one."""
    assert found.series is not None
    if target is not None:
        raise DataError(f"Series have no column {target!r} to predict; leave target= out.")
    names = found.columns.column_names
    chosen = _context_names(context, context_codec, names)
    c = None
    if odd := [name for name in overrides if name not in {*found.series.columns.column_names, *chosen}]:
        raise DataError(f"There is no column {odd[0]!r}, named in kinds=; expected one of the series.")
    x, codec = series_rows(found.series, overrides, options.codec)
    if len(x) < 2 and options.codec is None:
        raise DataError(f"The data have {len(x)} series; at least 2 are needed.")
    if chosen:
        table, context_codec = _context_of(found, chosen, overrides, context_codec)
        c = context_codec.encode(table)
    space = context_codec.space if context_codec is not None else None
    return Dataset(
        x,
        c,
        codec.space,
        space,
        name=found.name,
        notes=found.notes,
        codec=codec,
        context_codec=context_codec,
        keys=found.series.keys,
    )


def _context_names(context: Any, codec: Codec | None, names: list[str]) -> list[str]:
    """Return the names of the context's columns: those of the codec that is given, else those that the caller named."""
    return context_names(context, names) if codec is None else [*(codec.space.names or ())]


def _context_of(
    found: Source, chosen: Sequence[str], overrides: Mapping[str, KindOverride], codec: Codec | None
) -> tuple[pa.Table, Codec]:
    """Return the columns of the context, and their codec: the one that is given, or one that is measured from them."""
    if lacking := [name for name in chosen if name not in found.columns.column_names]:
        raise DataError(f"{found.name} lacks its context {lacking[0]!r}; expected {', '.join(chosen)}.")
    table = found.columns.select(chosen)
    form = Form("pyarrow", tuple(type_name(column.type) for column in table.columns))
    return table, measure_context(table, form, overrides, chart="affine") if codec is None else codec
