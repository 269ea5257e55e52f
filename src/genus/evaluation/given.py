"""Read samples of any generator, a file or a frame, into the space of the real data; every repair becomes a finding."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from genus.codec import Codec
from genus.codec.arrow import is_text, to_numbers, without_dictionary
from genus.codec.columns import encode_column
from genus.codec.forms import ARRAYS
from genus.codec.rewrites import run_forward
from genus.codec.stamps import time_values
from genus.codec.writing import Writing
from genus.data import Dataset, read
from genus.data.arguments import Options
from genus.data.cells import MISSING
from genus.data.sources import Source, open_source
from genus.errors import DataError
from genus.evaluation.figures import share_text
from genus.evaluation.findings import Finding
from genus.evaluation.wording import listed
from genus.kinds import Category, Kind, Lattice, Real, Time
from genus.kinds.checks import is_batch

__all__ = ["Given", "read_given"]

# Repair -> whether it says that the samples are faulty, and the sentence that names the columns.
SENTENCES = {
    "lacking": ("flaw", "columns of the real rows are not there, and one value stands for each: {}"),
    "unreadable": ("flaw", "values that cannot be read as what real rows hold, and are taken as missing: {}"),
    "unknown": ("flaw", "levels that no real row has, taken as the rarest there is: {}"),
    "missing": ("flaw", "values are missing where no real row lacks one, and were filled: {}"),
    "broken": ("flaw", "rows break a relation that holds in every real row, and were left out: {}"),
    "beyond": ("repair", "numbers beyond the ends of their columns were moved to the end: {}"),
    "rounded": ("repair", "numbers between those that their columns have were rounded: {}"),
    "respelled": ("repair", "levels written in another way were taken for those of the real rows: {}"),
    "renamed": ("repair", "columns were found under other names: {}"),
    "ignored": ("repair", "columns that real rows do not have were left out: {}"),
}
SHOWN = 6  # columns that one sentence names
NAMED = 3  # levels of each
LARGE = 1e300  # stands for an infinite number, which is moved to the end of its column


@dataclass(frozen=True)
class Given:
    """Hold samples that somebody else's generator made: rows x (N, *shape), their context c, and the repairs."""

    name: str
    x: Tensor
    c: Tensor | None = None
    findings: tuple[Finding, ...] = ()


def read_given(name: str, source: Any, real: Dataset) -> Given:
    """Return samples in the space of the real rows, with repairs where they do not fit it, which the findings name.

    Tensors beside real rows that were tensors are taken as they are, where they fit. Columns may stand in any order and be
    spelled otherwise; numbers are rounded to the lattice of their column and moved inside its ends; levels are found whatever
    their case and blanks. What is not there at all is filled, so that every row is judged.

    Args:
        name: of the samples, for messages.
        source: a path, a frame, an array; anything that `genus.read` takes.
        real: the training rows, whose codec is used.

    Raises:
        DataError: the source cannot be read, or hardly a column of the real rows is in it.
    """
    codec = real.codec or Codec(real.space)
    try:
        if real.space.sequence:
            found = read(source, space=(codec, real.context_codec))
            return Given(name, found.x, found.c)
        if isinstance(source, Dataset):
            source = source.frame()
        if isinstance(source, Tensor) and real.codec is None and real.context is None and is_batch(real.space, source):
            return Given(name, source)
        opened = open_source(source, Options(kinds=_kinds(real)))
        if opened.sequences is not None:
            raise DataError("these are sequences, and the real rows are none")
        if not real.space.is_table:
            return _images(name, opened, codec, real)
        return _rows(name, opened, codec, real)
    except (DataError, pa.ArrowException) as error:
        raise DataError(f"The samples {name!r} cannot be judged: {str(error).rstrip('.')}.") from error


def _kinds(real: Dataset) -> dict[str, Kind]:
    """Return the kinds of columns by name, by which text is read as text."""
    spaces = [space for space in (real.space, real.context) if space is not None]
    return {name: kind for space in spaces for name, kind in zip(space.names or (), space.kinds, strict=False)}


class Repairs:
    """Collect repairs, each by column with the number of rows that it changed."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._counts: dict[str, dict[str, int]] = defaultdict(dict)
        self._levels: dict[tuple[str, str], Sequence[str]] = {}

    def note(self, repair: str, column: str, count: Any = None, levels: Sequence[str] = ()) -> None:
        """Note that a repair changed so many rows of a column, all of them by default; none is no repair.

        Args:
            levels: that were changed, the most frequent first, where the finding should name them.
        """
        self._levels[repair, column] = levels
        count = self.rows if count is None else int(count)
        if count:
            self._counts[repair][column] = count

    def findings(self) -> tuple[Finding, ...]:
        """Return a finding for each kind of repair, flaws first."""
        return tuple(self._finding(repair) for repair in SENTENCES if repair in self._counts)

    def _finding(self, repair: str) -> Finding:
        kind, sentence = SENTENCES[repair]
        shares = {name: count / max(self.rows, 1) for name, count in self._counts[repair].items()}
        worst = sorted(shares, key=lambda name: -shares[name])
        whole = repair in ("lacking", "renamed", "ignored")
        words = [
            name if whole else f"{name}{self._named(repair, name)} ({share_text(shares[name])} of rows)"
            for name in worst[:SHOWN]
        ]
        more = [f"{len(worst) - SHOWN} more"] if len(worst) > SHOWN else []
        return Finding(kind, repair, sentence.format(", ".join(words + more)), shares)  # type: ignore[arg-type]

    def _named(self, repair: str, column: str) -> str:
        """Return the first levels of a column as they stand behind its name; "" where none are to be named."""
        levels = self._levels.get((repair, column), ())
        more = [f"{len(levels) - NAMED} more"] if len(levels) > NAMED else []
        return f" {listed([*map(repr, levels[:NAMED]), *more])}" if levels else ""


# -- tables and images ----------------------------------------------------------------------------------------------------


def _rows(name: str, found: Source, codec: Codec, real: Dataset) -> Given:
    table, repairs = found.columns, Repairs(found.columns.num_rows)
    if found.images is not None:
        raise DataError("these are images, and the real rows are a table")
    wanted = [*(codec.names or codec.space.names or ()), *((real.context.names or ()) if real.context is not None else ())]
    table = _named(table, wanted, set(codec.keys), found.form.container in ARRAYS, repairs)
    if codec.rewrites:
        read_table = codec.as_read(table)
        for rewrite in codec.rewrites:
            if lacking := [column for column in rewrite.reads if column not in read_table.column_names]:
                raise DataError(f"they lack the column {lacking[0]!r}, which {rewrite.describe()} needs")
        changed, broken, reasons = run_forward(codec.rewrites, read_table)
        if broken.any():
            repairs.note("broken", reasons[0].split(" breaks ", 1)[-1].split(":", 1)[0], broken.sum())
        table = changed.filter(pa.array(~broken))
    x = _encoded(table, codec, real.x, repairs)
    c = None
    if real.context is not None and real.c is not None:
        c = _encoded(table, real.context_codec or Codec(real.context), real.c, repairs)
    return Given(name, x, c, repairs.findings())


def _named(table: pa.Table, wanted: Sequence[str], keys: set[str], unnamed: bool, repairs: Repairs) -> pa.Table:
    """Return a table whose columns have the names of the real ones, where they can be told."""
    there = table.column_names
    if unnamed and len(there) in (len(wanted), len(wanted) - len(keys)) and not set(wanted) & set(there):
        return table.rename_columns([one for one in wanted if one not in keys or len(there) == len(wanted)])
    plain: dict[str, list[str]] = defaultdict(list)
    for name in there:
        plain[_without_signs(name)].append(name)
    found = {name: name for name in wanted if name in there}
    for name in wanted:
        others = [other for other in plain[_without_signs(name)] if other not in found.values()]
        if name not in found and len(others) == 1:
            found[name] = others[0]
            repairs.note("renamed", f"{others[0]} as {name}")
    lacking = [name for name in wanted if name not in found and name not in keys]
    if 2 * len(lacking) > len(wanted):
        raise DataError(
            f"they lack {len(lacking)} of the {len(wanted)} columns, {', '.join(map(repr, lacking[:SHOWN]))} among them"
        )
    for name in lacking:
        repairs.note("lacking", name)
    for name in there:
        if name not in found.values():
            repairs.note("ignored", name)
    return pa.table({name: table.column(old) for name, old in found.items()})


def _without_signs(name: str) -> str:
    """Return a name without case, blanks and signs: "Hours-per-week" is "hours_per_week"."""
    return re.sub(r"[\W_]+", "", name.casefold()) or name


def _encoded(table: pa.Table, codec: Codec, real: Tensor, repairs: Repairs) -> Tensor:
    """Return the columns of a codec as rows x (N, D)."""
    space, form = codec.space, codec.space_form
    columns = []
    for i, (kind, name) in enumerate(zip(space.kinds, space.names or (), strict=True)):
        values = real[:, i].double().numpy()
        if name not in table.column_names:
            columns.append(np.full(table.num_rows, _filling(kind, values)))
            continue
        column = without_dictionary(table.column(name))
        writing = form.writing(i) if form is not None else None
        columns.append(_column(kind, column, name, values, writing, repairs))
    return torch.from_numpy(np.stack(columns, axis=1)).to(space.dtype)


def _images(name: str, found: Source, codec: Codec, real: Dataset) -> Given:
    space = codec.space
    array = found.images
    if array is None:
        raise DataError("these are no images, as the real rows are")
    if array.ndim == len(space.shape) + 1 and codec.form is not None and codec.form.channels_last:
        array = np.moveaxis(array, -1, 1)
    if array.shape[1:] != space.shape:
        raise DataError(f"images have the shape {array.shape[1:]}, and real ones {space.shape}")
    repairs = Repairs(array.size)
    flat, kind = array.astype(np.float64).ravel(), space.kinds[0]
    x = _numbers(kind, flat, "pixels", real.x[:1000].double().numpy().ravel(), repairs)
    c = None
    if real.context is not None and real.c is not None:
        c = _encoded(_named(found.columns, real.context.names or (), set(), False, repairs), real.context_codec or
                     Codec(real.context), real.c, repairs)  # fmt: skip
    return Given(name, torch.from_numpy(x.reshape(array.shape)).to(space.dtype), c, repairs.findings())


# -- one column -----------------------------------------------------------------------------------------------------------


def _column(
    kind: Kind, column: pa.ChunkedArray, name: str, real: np.ndarray, writing: Writing | None, repairs: Repairs
) -> np.ndarray:
    """Return a column as coordinates (N,); `real` are those of the training rows."""
    if isinstance(kind, Category):
        return _levels(kind, column, name, real, repairs)
    known = np.asarray(pc.is_valid(column))
    values = None
    if isinstance(kind, Time):
        try:
            values = time_values(kind, column, f"column {name!r}", writing)
        except (DataError, pa.ArrowException):
            values = None
    elif is_text(column.type):
        values = np.array([_number(text) for text in column.to_pylist()], dtype=np.float64)
    elif not pa.types.is_temporal(column.type):
        values = to_numbers(column)
    values = np.full(len(column), math.nan) if values is None else values
    unreadable = known & np.isnan(values) & ~_is_nan(column)
    if is_text(column.type):
        unreadable &= ~np.array([_means_missing(text) for text in column.to_pylist()], dtype=bool)
    repairs.note("unreadable", name, unreadable.sum())
    return _numbers(kind, values, name, real, repairs, unreadable)


def _means_missing(value: Any) -> bool:
    """Return whether a value is NaN, or a text that stands for a missing one in files, which a frame may hold."""
    return value.strip() in MISSING if isinstance(value, str) else isinstance(value, float) and math.isnan(value)


def _is_nan(column: pa.ChunkedArray) -> np.ndarray:
    if not pa.types.is_floating(column.type):
        return np.zeros(len(column), dtype=bool)
    return np.asarray(pc.is_nan(column).fill_null(False))


def _number(text: str | None) -> float:
    """Return the number that a text is; NaN where it is none."""
    try:
        return math.nan if text is None else float(text.strip().replace(",", ""))
    except ValueError:
        return math.nan


def _numbers(
    kind: Kind, values: np.ndarray, name: str, real: np.ndarray, repairs: Repairs, counted: np.ndarray | None = None
) -> np.ndarray:
    """Return numbers (N,) as values of a kind: rounded, moved inside its ends, filled where they are missing.

    Args:
        counted: missing values (N,) that were counted as another repair.
    """
    values = np.clip(values, -LARGE, LARGE)
    column = pa.chunked_array([pa.array(values, mask=np.isnan(values))])
    x = (encode_column(kind, column, name, True, None, True) if not isinstance(kind, Time) else _in_steps(kind, values)).copy()
    odd = np.isinf(x)
    if odd.any() and isinstance(kind, Lattice):
        place = np.round((values[odd] - kind.low) / kind.step)
        inside = (place >= 0) & (place < kind.size)
        repairs.note("rounded", name, inside.sum())
        repairs.note("beyond", name, (~inside).sum())
        place = place.clip(0, kind.size - 1)
        x[odd] = np.where(place == kind.size - 1, kind.high, kind.low + kind.step * place)
    elif odd.any() and isinstance(kind, Real):
        repairs.note("beyond", name, odd.sum())
        low, high = kind.chart.support
        inside = real[np.isfinite(real) & (real > low) & (real < high)]
        x[odd] = np.clip(values[odd], inside.min(), inside.max()) if len(inside) else _filling(kind, real)
    missing = np.isnan(x)
    if missing.any() and not any(map(math.isnan, getattr(kind, "atoms", ()))):
        repairs.note("missing", name, (missing & ~counted).sum() if counted is not None else missing.sum())
        x[missing] = _filling(kind, real)
    return x


def _in_steps(kind: Time, values: np.ndarray) -> np.ndarray:
    """Return times as they are where they stand on the lattice of the kind, else infinite."""
    place = np.round((values - kind.low) / kind.step)
    near = np.abs(kind.low + place * kind.step - values) <= 1e-3 * kind.step
    return np.where(np.isnan(values) | (near & (place >= 0) & (place < kind.size)), values, math.inf)


def _filling(kind: Kind, real: np.ndarray) -> float:
    """Return the value that stands for one that is not there: missing, or else the median, or the rarest level.

    A common level would make rows that nobody can read look like real ones.
    """
    if isinstance(kind, Category):
        if None in kind.levels:
            return float(kind.levels.index(None))
        return float(np.bincount(real.astype(np.int64), minlength=kind.states).argmin())
    if any(map(math.isnan, getattr(kind, "atoms", ()))):
        return math.nan
    known = np.sort(real[np.isfinite(real)])
    return float(known[len(known) // 2])


def _levels(kind: Category, column: pa.ChunkedArray, name: str, real: np.ndarray, repairs: Repairs) -> np.ndarray:
    """Return the index of the level (N,) that each value is, or that it means."""
    encoded = column.combine_chunks().dictionary_encode()
    index = np.asarray(pc.fill_null(encoded.indices, -1), dtype=np.int64)
    values = encoded.dictionary.to_pylist()
    exact = {level: i for i, level in enumerate(kind.levels) if isinstance(level, str)}
    codes, how = np.empty(len(values) + 1), np.empty(len(values) + 1, dtype=object)
    codes[-1], how[-1] = _filling(kind, real), "" if None in kind.levels else "missing"
    for i, value in enumerate(values):
        code, how[i] = (exact[value], "") if value in exact else _level(kind, value)
        codes[i] = codes[-1] if code is None else code
        if code is None and _means_missing(value):
            how[i] = how[-1]
    taken = how[index]
    for repair in ("respelled", "rounded", "missing"):
        repairs.note(repair, name, (taken == repair).sum())
    unknown = index[taken == "unknown"]
    often = np.bincount(unknown, minlength=len(values)) if len(unknown) else np.zeros(0, dtype=np.int64)
    order = [i for i in np.argsort(-often, kind="stable") if often[i]]
    repairs.note("unknown", name, len(unknown), [str(values[i]).strip() for i in order])
    return codes[index]


def _level(kind: Category, value: Any) -> tuple[int | None, str]:
    """Return the index of the level that a value means, None where it means none, and the repair that it took."""
    for repair, alike in (("", _same), ("respelled", _same_text)):
        hit = next((i for i, level in enumerate(kind.levels) if level is not None and alike(level, value)), None)
        if hit is not None:
            return hit, repair
    numbers = list(_level_numbers(kind))
    number = value if isinstance(value, int | float) else _number(str(value))
    if numbers and not math.isnan(number):
        nearest = min(numbers, key=lambda pair: abs(pair[1] - number))
        if numbers[0][1] <= number <= numbers[-1][1] or abs(nearest[1] - number) < 0.5:
            return nearest[0], "rounded"
    return None, "unknown"


def _level_numbers(kind: Category) -> Iterator[tuple[int, float]]:
    """Yield index and number of each level where all are numbers, in their order."""
    levels = [(i, level) for i, level in enumerate(kind.levels) if level is not None]
    if all(isinstance(level, int | float) and not isinstance(level, bool) for _, level in levels):
        yield from sorted(((i, float(level)) for i, level in levels), key=lambda pair: pair[1])


def _same(level: Any, value: Any) -> bool:
    """Return whether a value is a level; the numbers 1, 1.0 and the text "1" are one."""
    if isinstance(level, bool) == isinstance(value, bool) and level == value:
        return True
    if isinstance(level, str) and isinstance(value, str):
        return False
    texts = (level if isinstance(level, str) else str(level), value if isinstance(value, str) else str(value))
    a, b = (_number(text) for text in texts)
    return a == b and not isinstance(level, bool) and not isinstance(value, bool)


def _same_text(level: Any, value: Any) -> bool:
    return str(level).strip().casefold() == str(value).strip().casefold()
