"""Measure the codec of a table: the kind of every column, which columns are keys, and which are left out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from genus.codec import Codec
from genus.codec.forms import ARRAYS, Form
from genus.codec.keys import Key
from genus.codec.notes import Note
from genus.data.arguments import KindOverride
from genus.data.measure import measure_column
from genus.errors import DataError
from genus.kinds import Kind
from genus.space import Space

__all__ = ["measure_context", "measure_table"]


def measure_context(table: pa.Table, form: Form, overrides: Mapping[str, KindOverride], chart: str) -> Codec:
    """Return the measured codec of the context, every column of which is needed."""
    codec, notes = measure_table(table, form, overrides, True, chart)
    if lost := [note for note in notes if note.about in ("left out", "key")]:
        raise DataError(lost[0].in_sentence("The context cannot be used: {}"))
    return codec


def measure_table(
    table: pa.Table, form: Form, overrides: Mapping[str, KindOverride], discrete: bool, chart: str
) -> tuple[Codec, list[Note]]:
    """Return the codec of the columns that can be measured or are keys, and notes on columns: on each that is left out one."""
    kinds: dict[str, Kind] = {}
    keys: list[Key] = []
    notes: list[Note] = []
    roomy = form.container not in ARRAYS or np.dtype(form.dtypes[0]).kind in "iu"
    for name in table.column_names:
        found, said = measure_column(name, table.column(name), overrides.get(name), discrete, roomy, chart)
        notes += said
        if isinstance(found, Key):
            keys.append(found)
        elif found is not None:
            kinds[name] = found
    if not kinds:
        raise DataError(notes[0].in_sentence(f"{'The context cannot be used' if discrete else 'No column is left'}: {{}}"))
    space = Space(list(kinds.values()), names=list(kinds))
    known = {*kinds, *(key.column for key in keys)}
    names = [name for name in table.column_names if name in known]
    kept = form.select_names(table.column_names, names)
    told = tuple(note for note in notes if note.about in ("left out", "personal"))
    return Codec(space, kept, tuple(keys), tuple(names) if keys else (), told), notes
