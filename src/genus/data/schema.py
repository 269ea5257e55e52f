"""A schema: every column of a table as a person reads it, in a file that can be edited and read with the data again."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from genus.codec import Codec
from genus.codec.notes import Note
from genus.data.dataset import Dataset
from genus.errors import DataError, GenusError, near
from genus.kinds import Category, Kind, Lattice, Real, Time, kind_from_json
from genus.kinds.steps import points, shortest_decimals
from genus.kinds.strays import STRAY
from genus.notebook import few_lines

__all__ = ["Schema"]

VERSION = 1
WORDS = ("real", "lattice", "category", "time", "key", "omit")  # kinds that are measured again when the data are read
ROLES = ("context", "target")
SHOWN = 6  # levels and frequent values in a sentence


@dataclass(frozen=True)
class Schema:
    """Holds what is to be known of the columns of a table: kinds, supports, keys, constraints, context and target.

    Args:
        columns: by name, in order, each a dictionary of JSON values. "reads" is a sentence for a person, and changes nothing.
            "kind" is "real", "lattice", "category", "time" or "key", or "omit" to leave the column out; where the fields of the
            kind follow it (levels; low, high, step; loc, scale, chart, atoms), the column is exactly of this kind, otherwise it
            is measured as such a kind. "written" is the template of a time. "role" is "context" or "target".
        constraints: relations that every row obeys, such as "checkin < checkout".

    >>> from genus.data import read
    >>> schema = Schema.of(read({"age": [31, 45, 27, 45], "smokes": ["no", "no", "yes", "no"]}, target="smokes"))
    >>> print(schema)
    age     whole numbers from 27 to 45
    smokes  one of 2 levels: no, yes (target)
    >>> read({"age": [31, 40], "smokes": ["no", "yes"]}, schema=schema.to_json()).space
    Space([Lattice(27, 45), Category('no', 'yes'; 2 levels)], shape=(2,))
    """

    columns: Mapping[str, Mapping[str, Any]]
    constraints: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        width = max(map(len, self.columns), default=0)
        lines = []
        for name, entry in self.columns.items():
            role = f" ({entry['role']})" if "role" in entry else ""
            lines.append(f"{name:<{width}}  {entry.get('reads', entry.get('kind', 'measured'))}{role}")
        lines = few_lines(lines, [str(entry.get("kind", "related")) for entry in self.columns.values()])
        return "\n".join([*lines, *(f"{'':<{width}}  always {text}" for text in self.constraints)])

    # -- of data ----------------------------------------------------------------------------------------------------------

    @classmethod
    def of(cls, data: Dataset) -> Self:
        """Return the schema of a table.

        Raises:
            DataError: the data are images, text, sound or sequences, which have no columns.
        """
        codec = data.codec
        if codec is None or codec.space.names is None:
            raise DataError(f"{data.name} has no columns, and only a table has a schema.")
        entries: dict[str, dict[str, Any]] = {}
        for note in map(Note.of, data.notes):
            if note.about == "left out":
                entries[note.column] = {"reads": f"left out: {note.reason}", "kind": "omit"}
        context = {} if data.context_codec is None else _measured(data.context_codec, data.c, "context")
        entries |= _measured(codec, data.x, None) | context
        if data.target is not None:
            entries[data.target]["role"] = "target"
        constraints = [text for rewrite in codec.rewrites for text in rewrite.declarations]
        return cls(entries, tuple(constraints))

    @classmethod
    def of_codecs(cls, codec: Codec, context: Codec | None = None) -> Self:
        """Return the schema of the table that a codec encodes, without its rows: numbers have no range that was seen."""
        entries = _measured(codec, None, None) | ({} if context is None else _measured(context, None, "context"))
        return cls(entries, tuple(text for rewrite in codec.rewrites for text in rewrite.declarations))

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `genus.read` that this schema stands for: nothing else is then looked for.

        Raises:
            DataError: a column's fields make no kind.
        """
        kinds = {name: kind for name, entry in self.columns.items() if (kind := _kind(name, entry)) is not None}
        roles = {role: [n for n, entry in self.columns.items() if entry.get("role") == role] for role in ROLES}
        if len(roles["target"]) > 1:
            raise DataError(f"The schema has {len(roles['target'])} targets, {', '.join(roles['target'])}; keep one.")
        return {
            "kinds": kinds,
            "context": roles["context"] or None,
            "target": roles["target"][0] if roles["target"] else None,
            "relations": False,
            "constraints": self.constraints,
        }

    # -- JSON -------------------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return the schema as plain JSON values; `from_json` is the inverse."""
        columns = {name: dict(entry) for name, entry in self.columns.items()}
        return {"schema": VERSION, "columns": columns, "constraints": list(self.constraints)}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Return the schema that `to_json` described.

        Raises:
            DataError: it is no schema.
        """
        columns = data.get("columns") if isinstance(data, Mapping) else None
        if not isinstance(columns, Mapping) or data.get("schema") != VERSION:
            raise DataError(f'A schema is {{"schema": {VERSION}, "columns": {{...}}}}, as genus describe writes it.')
        constraints = data.get("constraints", [])
        if not isinstance(constraints, list) or not all(isinstance(text, str) for text in constraints):
            raise DataError('The "constraints" of a schema are a list of texts such as "checkin < checkout".')
        for name, entry in columns.items():
            if not isinstance(entry, Mapping) or entry.get("role") not in (None, *ROLES):
                raise DataError(f'Column {name!r} of the schema needs {{"kind": ...}}, perhaps with a "role" of {ROLES}.')
            _kind(name, entry)
        return cls(columns, tuple(constraints))

    @classmethod
    def read(cls, source: Any) -> Self:
        """Return a schema that is given as one, as JSON values, or as the path of a file.

        Raises:
            DataError: there is no such file, or it holds no schema.
        """
        if isinstance(source, cls):
            return source
        if not isinstance(source, str | os.PathLike):
            return cls.from_json(source)
        path = Path(os.fspath(source))
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise DataError(f"The schema {path} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise error if isinstance(error, GenusError) else DataError(f"The schema {path} is no JSON: {error}.") from error


def _measured(codec: Codec, x: Any, role: str | None) -> dict[str, dict[str, Any]]:
    """Return an entry for each column of the person's table that this codec encodes, and that is not left out."""
    kinds, space = dict(zip(codec.space.names or (), codec.space.kinds, strict=True)), codec.space.names or ()
    values = None if x is None else x.double().numpy()
    if values is not None and x.dtype is torch.float32:
        values = shortest_decimals(values.ravel()).reshape(values.shape)
    said = {name: str(rewrite) for rewrite in codec.rewrites for name in rewrite.reads if name not in kinds}
    said |= {rewrite.column: str(rewrite) for rewrite in codec.rewrites if hasattr(rewrite, "column")}
    related = {name for rewrite in codec.rewrites for name in rewrite.reads}
    entries: dict[str, dict[str, Any]] = {}
    for i, name in enumerate(codec.names or space):
        entry: dict[str, Any] = {}
        if name in codec.keys:
            entry = {"reads": said[name], "kind": "key"}
        elif name not in kinds:  # another column stands for it, or it follows from others
            entry = {"reads": said[name]}
        else:
            kind = kinds[name]
            entry = {"reads": sentence(kind, None if values is None else values[:, space.index(name)])}
            writing = codec.form.writing(i) if codec.form is not None else None
            if isinstance(kind, Time):
                entry |= {"kind": "time"} | ({"written": writing.template} if writing is not None else {})
            elif name not in related:  # those of relations are measured again, so that gaps fit them
                entry |= kind.to_json()
        entries[name] = entry | ({"role": role} if role else {})
    return entries


def _kind(name: str, entry: Mapping[str, Any]) -> Kind | str | None:
    """Return the kind that an entry stands for: a Kind, the name of one to be measured, or None for what it may be."""
    word = entry.get("kind")
    values = {key: value for key, value in entry.items() if key not in ("reads", "role", "written")}
    if word == "time":
        return str(entry.get("written", "time"))
    if set(values) <= {"kind"}:
        if word is not None and word not in WORDS:
            raise DataError(
                f"Column {name!r} of the schema has kind {word!r}{near(word, WORDS)}; expected one of {', '.join(WORDS)}."
            )
        return word
    try:
        return kind_from_json(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"Column {name!r} of the schema makes no kind: {error}.") from error


# -- sentences ------------------------------------------------------------------------------------------------------------


def sentence(kind: Kind, values: np.ndarray | None) -> str:
    """Return how a person reads a column: what its values are, those that are frequent, and whether some are missing.

    Args:
        kind: of the column.
        values: (N,) in data units, in whose range the sentence keeps; None: the kind alone says what there may be.

    >>> sentence(Lattice(1.0, 80.0, step=0.5, atoms=(0.0, math.nan)), np.array([1.0, 80.0, 0.0, math.nan]))
    '1 to 80 in steps of 0.5; 0 is frequent; some are missing'
    >>> sentence(Lattice(0, 9, atoms=(0.0, 2.5)), np.array([0.0] * 998 + [2.5, 4.0, 9.0]))
    'whole numbers from 0 to 9; 0 is frequent; also 2.5'
    """
    if isinstance(kind, Category):
        blank = "missing, unknown" if kind.unknown else "missing"
        levels = [blank if level is None else str(level) for level in kind.levels]
        few = ", ".join(levels[:SHOWN]) + (", ..." if len(levels) > SHOWN else "")
        return f"one of {len(levels)} levels: {few}" if len(levels) > 1 else f"always {few}"
    atoms = kind.numbers
    present = _possible(kind) if values is None else values[~np.isnan(values)]
    if not len(present):
        parts = []
    elif len(np.unique(present[~np.isin(present, atoms)])) < 2 <= len(atoms):  # a list, and no value lies between
        parts = [f"one of {len(np.unique(present))} values, {_range(kind, present).removeprefix('whole numbers ')}"]
    else:
        beside = [a for a in atoms if not isinstance(kind, Lattice) or a not in kind.lattice_atoms]
        strays = [a for a in beside if isinstance(kind, Lattice) and (present == a).sum() <= STRAY * len(present)]
        frequent = [a for a in atoms if a not in strays]
        parts = [_range(kind, None if values is None else present[~np.isin(present, beside)])]
        parts += [f"{_listed(kind, frequent)} {'is' if len(frequent) == 1 else 'are'} frequent"] if frequent else []
        parts += [f"also {_listed(kind, strays)}"] if strays else []
    blank = "some are missing, unknown" if kind.unknown else "some are missing"
    return "; ".join(parts + ([blank] if kind.has_missing else []))


def _listed(kind: Kind, values: list[float]) -> str:
    """Return a few values as a person writes them."""
    few = [kind.text(value) if isinstance(kind, Time) else f"{value:.10g}" for value in values[:SHOWN]]
    return ", ".join(few) + (", ..." if len(values) > SHOWN else "")


def _possible(kind: Kind) -> np.ndarray:
    """Return some of the values that a column of numbers may have, its frequent ones among them."""
    inside = points(kind.low, kind.step, np.arange(min(kind.size, 99))) if isinstance(kind, Lattice) else [math.pi, math.e]
    return np.array([*kind.numbers, *inside])


def _range(kind: Kind, inside: np.ndarray | None) -> str:
    """Return the range of the values that were seen, or else may be, and the steps that they lie on."""
    if inside is None:
        inside = np.array([kind.middle] if isinstance(kind, Real) else [kind.low, kind.high])  # type: ignore[attr-defined]
    low, high = float(inside.min()), float(inside.max())
    if isinstance(kind, Time):
        return kind.range_text(low, high)
    ends = f"{low:.10g} to {high:.10g}"
    if isinstance(kind, Lattice):
        whole = kind.step == 1 and kind.is_whole
        return f"whole numbers from {ends}" if whole else f"{ends} in steps of {kind.step:.6g}"
    above, below = kind.chart.support
    end = f", always above {above:.6g}" if math.isfinite(above) else ""
    return f"numbers {f'about {low:.6g}' if low == high else f'from {ends}'}{end}" + (
        f", always below {below:.6g}" if math.isfinite(below) else ""
    )
