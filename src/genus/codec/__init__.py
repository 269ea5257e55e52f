"""Codecs between the data that a person has (a frame, an array, text or sound) and tensors of a space.

`columns` encodes tables, arrays and images, `sequences` data in an order, with `text` and `sound`; `frames` converts to Arrow,
and `arrow` holds what several files do with its columns.
`rewrites` stand between a person's table and the columns of the space.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from genus.codec import columns, sequences, series
from genus.codec.absence import Absent, Together
from genus.codec.arrow import is_numeric, is_text, type_name, type_of, unless_known, value_type, without_dictionary
from genus.codec.constraints import Constraint
from genus.codec.forms import ARRAYS, Form
from genus.codec.formulas import Formula
from genus.codec.frames import to_arrow, to_form
from genus.codec.functions import Function
from genus.codec.keys import Key
from genus.codec.notes import Note
from genus.codec.onehot import OneHot
from genus.codec.relations import Order, Sum
from genus.codec.rewrites import BrokenRelation, Rewrite, Ties, place_columns, rewrite_from_json, run_backward, run_forward
from genus.codec.stamps import as_times, values_in
from genus.codec.ties import contradiction, fulfil, tie, to_person, with_known
from genus.errors import DataError
from genus.space import Category, Real, Space

# Files name the rewrites, so all of them are imported here.
__all__ = ["Absent", "Codec", "Constraint", "Formula", "Function", "Key", "OneHot", "Order", "Sum", "Together"]


@dataclass(frozen=True)
class Codec:
    """Encodes data (a frame, an array, text or sound) as tensors of a space, and decodes tensors to what was read.

    Args:
        space: of x.
        form: the form of what `decode` returns: a frame, an array, images, text or sound; None: tensors as they are.
        rewrites: from the person's table to the one whose columns are the space's, in the order in which `encode` runs them;
            a form is needed with them.
        names: of the person's columns, in their order, where there are rewrites; otherwise they are the space's.
        notes: on columns that were left out, and on values that samples repeat: whoever uses samples should read them.

    Raises:
        DataError: the rewrites do not lead from these names to the space's.

    >>> from genus.space import Category
    >>> codec = Codec(Space([Category(("no", "yes"))], names=["smokes"]))
    >>> codec.encode({"smokes": ["yes", "no"]}).tolist()
    [[1.0], [0.0]]
    """

    space: Space
    form: Form | None = None
    rewrites: tuple[Rewrite, ...] = ()
    names: tuple[str, ...] = ()
    notes: tuple[Note, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.rewrites and set(self._schema.names) != set(self.space.names or ()):
            raise DataError(
                f"The rewrites lead to the columns {', '.join(self._schema.names)}, and the space has"
                f" {', '.join(self.space.names or ()) or 'none'}."
            )

    def __str__(self) -> str:
        if not self.space.is_table:
            return str(self.space)
        lines = self.space.lines(lambda i: values_in(self.space.kinds[i]).removeprefix("values in "))
        return "\n".join([lines, *(f"  {rewrite.noun}  {rewrite}" for rewrite in self.rewrites)])

    def encode(self, source: Any, allow_missing: bool = False, beyond: bool = False) -> Tensor:
        """Return data as x; each sequence that ends gets an end.

        Args:
            source: a frame, array or tensor of the space's columns; strings, waveforms or arrays where x is a sequence.
            allow_missing: x is NaN where a column without a missing value lacks a value; `impute` and `log_marginal` of a
                model take such rows, and relations of what is missing where say nothing of them.
            beyond: x is infinite where a lattice has no place for a number, where a level was not there in training, and
                everywhere in a row that breaks a relation; no model takes such rows.

        Returns:
            (N, *shape) in data units.

        Raises:
            DataError: other columns, another shape, an unseen level, a value off the lattice or out of bounds, or a row that
                breaks a relation.
        """
        if self.space.channels:
            arrays = series.as_arrays(source)
            flat = pa.table({f"x{i}": pa.array(column, from_pandas=True) for i, column in enumerate(np.concatenate(arrays).T)})
            return series.encode(self.space, list(flat.columns), np.array([len(array) for array in arrays]))
        if self.space.sequence:
            return sequences.encode(self.space, self.form, source)
        if not self.rewrites:
            return columns.encode(self.space, self.form, source, allow_missing, beyond)
        rewrites = [one for one in self.rewrites if not (allow_missing and one.of_blanks)]
        table, broken, reasons = run_forward(rewrites, self.as_read(source))
        if reasons and not beyond:
            raise BrokenRelation(reasons, "drop or mend such rows, or read the training data with relations=False")
        table = table.filter(pa.array(~broken)) if broken.any() else table
        fine = columns.encode(self.space, self.space_form, table, allow_missing, beyond)
        if not broken.any():
            return fine
        x = torch.full((len(broken), self.space.dim), math.inf, dtype=fine.dtype)
        x[torch.from_numpy(~broken)] = fine
        return x

    def as_read(self, source: Any) -> pa.Table:
        """Return data as an Arrow table with the columns of the data that were read, which relations compare.

        Texts are `as_cells`, those of numbers and of times are columns of numbers and of time.
        """
        table, form = to_arrow(source)
        if form.container in ARRAYS and table.num_columns == len(self.names) and not set(self.names) <= set(table.column_names):
            table = table.rename_columns(list(self.names))
        for i, name in enumerate(self.names):
            if name not in table.column_names or self.form is None or name in self.keys:
                continue
            given, kind = table.column(name), self.form.column_type(i)
            column = self.as_cells(name, given)
            if kind is not None and pa.types.is_temporal(kind) and column.type != kind:
                column = self._as_time(i, column, kind)
            elif kind is not None and is_numeric(kind) and is_text(column.type):
                column = self._as_numbers(i, column)
            if column is not given:
                table = table.set_column(table.column_names.index(name), name, column)
        return table

    def as_cells(self, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return a column of the person's whose texts are read as the cells of a file are; others as they are.

        A frame may hold the cells of a file as they were written, with blanks around levels and `?` for a missing value. Texts
        that the column had when it was measured mean themselves: a model of such a frame has ` ?` among its levels.
        """
        if not is_text(value_type(column.type)):
            return column
        known = {text for one in self.rewrites if name in (*one.reads, getattr(one, "column", None)) for text in one.texts}
        kind = dict(zip(self.space.names or (), self.space.kinds, strict=False)).get(name)
        known |= {level for level in kind.levels if isinstance(level, str)} if isinstance(kind, Category) else set()
        plain = without_dictionary(column)
        cells = unless_known(plain, known)
        return column if cells is plain else cells

    def _as_numbers(self, i: int, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return a column of texts as the numbers that the i-th column had, or as fractions where they are."""
        for kind in (self.form.column_type(i) if self.form is not None else None, pa.float64()):
            try:
                return column.cast(kind)
            except pa.ArrowInvalid as error:
                reason = error
        raise DataError(f"The column {self.names[i]!r} holds texts that are no numbers: {reason}.") from reason

    def _as_time(self, i: int, column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
        """Return a column as times of the type that the i-th column had."""
        odd = None
        try:
            if not pa.types.is_temporal(column.type) and not pa.types.is_null(column.type):
                found = as_times(column, self.form.writing(i) if self.form is not None else None)
                column, odd = (column, (0, column[0].as_py(), len(column))) if found is None else found
            if odd is None:
                return column.cast(kind)
        except pa.ArrowException as error:
            raise DataError(f"The column {self.names[i]!r} holds {column.type} values that are no {kind}: {error}.") from error
        raise DataError(
            f"The column {self.names[i]!r} holds {odd[1]!r} in row {odd[0]} ({odd[2]} such in all); expected {kind}."
        )

    @cached_property
    def _schema(self) -> pa.Schema:
        """Return the types of the columns that the rewrites make of the person's."""
        if self.form is None or not self.names:
            raise DataError("A Codec with rewrites needs a form, and the names of the person's columns.")
        array = self.form.container in ARRAYS
        kinds = (
            [pa.from_numpy_dtype(np.dtype(self.form.dtypes[0]))] * len(self.names) if array else map(type_of, self.form.dtypes)
        )
        empty = pa.table({name: pa.array([], kind) for name, kind in zip(self.names, kinds, strict=True)})
        return run_forward(self.rewrites, empty)[0].schema

    @cached_property
    def space_form(self) -> Form | None:
        """Return the form of the space's own columns: that of the data, unless there are rewrites."""
        if not self.rewrites:
            return self.form
        return Form("pyarrow", tuple(type_name(self._schema.field(name).type) for name in self.space.names or ()))

    def encode_prefix(self, start: Any) -> Tensor:
        """Return the beginning of a sequence as x_1 ... x_m, (m,); no end follows.

        Args:
            start: a string, a waveform or an array (m,).

        >>> from genus.space import Category
        >>> Codec(Space(Category(("a", "b", None)), shape=(4,), sequence=True)).encode_prefix(["b", "a"])
        tensor([1., 0.])

        Raises:
            DataError: a symbol that the space lacks; the message says where.
        """
        return sequences.encode_prefix(self.space, self.form, start)

    def decode(self, x: Tensor, seed: int | None = None, start: int = 0, known: pa.Table | None = None) -> Any:
        """Return x (N, *shape) in the form of the data that were read, with their column names and dtypes.

        Args:
            x: rows of the space.
            seed: of what no row holds and rewrites invent, such as keys; the same seed repeats it. None takes a seed from
                PyTorch's generator of random numbers.
            start: how many rows of the same draw were decoded before these.
            known: columns of the N rows that need not be invented, such as their keys.
        """
        if self.space.channels:
            return series.decode(self.space, self.form, self.names, x)
        if self.space.sequence:
            return sequences.decode(self.space, self.form, x)
        if not self.rewrites or self.form is None:
            return columns.decode(self.space, self.form, x)
        if seed is None:
            seed = int(torch.randint(2**62, ())) if any(rewrite.invents for rewrite in self.rewrites) else 0
        table = run_backward(self.rewrites, columns.decode(self.space, self.space_form, x), seed, start)
        for name in known.column_names if known is not None else ():
            table = place_columns(table, [name], {name: known.column(name)})  # type: ignore[union-attr]
        return to_form(table.select(list(self.names)), self.form)

    def check(self) -> None:
        """Decode one row, to find out whether a file that was loaded describes a codec that works.

        Raises:
            Exception: of any class: the form, or the rewrites, are not those of the space.
        """
        for kind in self.space.kinds:
            if isinstance(kind, Category) and not kind.has_one_type:
                raise DataError(f"The levels of a column are all texts, numbers, or true and false; got {kind!r}.")
        size = (1, self.space.period if self.space.sequence else self.space.dim)
        x = self.space.join(torch.zeros(size, dtype=torch.long), torch.zeros(size))
        form = self.form if self.form is None or self.form.container in ARRAYS else replace(self.form, container="pyarrow")
        if not any(isinstance(rewrite, Key) and rewrite.room < 1 for rewrite in self.rewrites):
            replace(self, form=form).decode(x, seed=0)

    def check_room(self, n: int) -> None:
        """Raise DataError where a column of keys has fewer than n new ones, before anything is drawn."""
        for rewrite in self.rewrites:
            if isinstance(rewrite, Key):
                rewrite.check_room(n)

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the names of the columns whose values are invented, since no row of the space holds them."""
        return tuple(rewrite.column for rewrite in self.rewrites if isinstance(rewrite, Key))

    @property
    def constraints(self) -> tuple[Rewrite, ...]:
        """Return the relations that no columns of the space represent, so that draws are rejected which break them."""
        return tuple(rewrite for rewrite in self.rewrites if rewrite.rejects)

    def obeys(self, x: Tensor) -> Tensor:
        """Return which rows of x (N, *shape) obey the constraints once they are decoded, (N,) bool."""
        table = run_backward(self.rewrites, columns.decode(self.space, self.space_form, x))
        broken = np.zeros(len(x), dtype=bool)
        for constraint in self.constraints:
            broken |= constraint.forward(table)[1]
        return torch.from_numpy(~broken)

    def to_person(self, x: Tensor) -> pa.Table:
        """Return rows x (N, D) as the person's columns in Arrow, without keys."""
        return to_person(self.space, self.space_form, self.rewrites, x, pa.table({}))

    def with_known(self, x: Tensor, known: pa.Table) -> tuple[Tensor, Tensor]:
        """Return rows x (N, D) changed to agree with known values of the person's columns, and which break no relation (N,).

        Args:
            x: rows; what a relation ties to known values may hold anything possible.
            known: N rows of the columns that are known, of the types that `as_read` gives.
        """
        return with_known(self.space, self.space_form, self.rewrites, x, known)

    def contradiction(self, known: pa.Table) -> str | None:
        """Return why no row has these values of the person's columns, where a relation says it; see `genus.codec.ties`."""
        return contradiction(self.space, self.rewrites, known)

    def tie(self, known: Sequence[str]) -> Ties:
        """Return which columns follow from known values of these columns, and which are tied; see `genus.codec.ties`."""
        return tie(self.rewrites, known, self.space)

    def replaced(self, name: str) -> bool:
        """Return whether a column of the person's is in no column of the space, but follows from these."""
        return name in self.names and name not in (self.space.names or ()) and name not in self.keys

    def values(self, name: str, values: Sequence[Any]) -> pa.ChunkedArray:
        """Return values of a column of the person's, or texts of them, in the column's type.

        Raises:
            DataError: the column holds no such values.
        """
        try:
            written = pa.chunked_array([pa.array(list(values))])
            column = self.as_read(pa.table({name: written})).column(name)
            kind = value_type(self.type_of(name))
            return column if pa.types.is_null(kind) else column.cast(kind)
        except pa.ArrowException as error:
            raise DataError(f"The column {name!r} holds {self.type_of(name)} values, and {values[0]!r} is none.") from error

    def holds(self, x: Tensor, conditions: Mapping[str, tuple[str, pa.ChunkedArray]]) -> Tensor:
        """Return which rows x (N, D) fulfil conditions on the person's columns, (N,) bool; see `ties.fulfil`."""
        return torch.from_numpy(fulfil(self.to_person(x), conditions))

    @property
    def is_text(self) -> bool:
        """Return whether the data are text."""
        return self.form is not None and self.form.container == "text"

    @property
    def is_sound(self) -> bool:
        """Return whether the data are sound."""
        return self.form is not None and self.form.container == "audio"

    @property
    def is_coded_sound(self) -> bool:
        """Return whether these are sound as whole numbers, mu-law or linear."""
        return self.is_sound and not self.space.columns(Real)

    def column_type(self, i: int) -> pa.DataType | None:
        """Return Arrow's type of the column that coordinate i was read from; None where the data had no columns."""
        return self.space_form.column_type(i) if self.space_form is not None else None

    def type_of(self, name: str) -> pa.DataType:
        """Return Arrow's type of a person's column; that of the values that `decode` gives where it was no frame's."""
        i = self.column_names.index(name)
        kind = self.form.column_type(i) if self.form is not None else None
        return kind if kind is not None else pa.null()

    @property
    def column_names(self) -> tuple[str, ...]:
        """Return the names of the person's columns that are encoded, in their order."""
        return self.names or self.space.names or ()

    def select(self, chosen: Sequence[int]) -> Codec:
        """Return the codec of some columns of the space, without rewrites."""
        return Codec(self.space.select(chosen), self.space_form.select(chosen) if self.space_form is not None else None)

    def to_json(self) -> dict[str, Any] | None:
        """Return the form and the rewrites as plain JSON values; the space has its own."""
        if self.form is None:
            return None
        rewritten = {"names": list(self.names), "rewrites": [rewrite.to_json() for rewrite in self.rewrites]}
        told = {"notes": [note.to_json() for note in self.notes]} if self.notes else {}
        return self.form.to_json() | (rewritten if self.rewrites or (self.space.channels and self.names) else {}) | told

    @classmethod
    def from_json(cls, space: Space, data: dict[str, Any] | None) -> Codec:
        """Return the codec of a space whose form and rewrites `to_json` described.

        Raises:
            DataError: rewrites that are not known, or that do not lead to the space.
        """
        if data is None:
            return cls(space)
        values = dict(data)
        names, rewrites, notes = (values.pop(name, ()) for name in ("names", "rewrites", "notes"))
        rewrites, notes = tuple(map(rewrite_from_json, rewrites)), tuple(map(Note.from_json, notes))
        return cls(space, Form.from_json(values), rewrites, tuple(map(str, names)), notes)
