"""The truth of values: files whose values are known are read, and what genus then holds is compared with them."""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
import random
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

import genus
from genus.cli.errors import explain
from genus.codec.notes import Note
from genus.kinds import Time

from .columns import Column, column
from .inputs import workbook

__all__ = ["COLUMNS", "Truth", "differences", "written"]

COLUMNS = 6  # of a file
SUFFIXES = (".csv", ".csv", ".csv", ".tsv", ".parquet", ".arrow", ".xlsx", ".jsonl", ".json")
NAMES = ("größe", 'the "x"', "a,b", "x y", "Ж", "n", "_", "A-1", "a'b", "x=1")
EPOCH = datetime.datetime(1970, 1, 1)


class Truth:
    """Write the work of cases: a file of known values, read and compared.

    Args:
        seed: of the cases.
    """

    together = 50

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def table(self, number: int) -> tuple[str, dict[str, Column], random.Random]:
        """Return the suffix of a case, its columns, and the generator of what else is drawn."""
        rng = random.Random(f"{self.seed}/truth/{number}")
        rows = rng.choice((12, 30, 80, 200))
        names = rng.sample(NAMES, COLUMNS) if rng.random() < 0.3 else [f"c{i}" for i in range(COLUMNS)]
        return rng.choice(SUFFIXES), {name: column(rng, rows) for name in names}, rng

    def work(self, number: int, folder: Path) -> Callable[[], int]:
        """Write the case's file into a folder, and return the work."""
        suffix, columns, rng = self.table(number)
        path = folder / f"in{suffix}"
        path.write_bytes(written(suffix, columns, rng))

        def work() -> int:
            try:
                with warnings.catch_warnings(record=True):
                    warnings.simplefilter("always")
                    data = genus.read(path)
            except genus.GenusError as error:
                return _refused(error)
            found = differences(data, columns)
            for line in found:
                print(line, file=sys.stderr)
            if found:
                print("SILENT")
            return 0

        return work


def _refused(error: Exception) -> int:
    print(f"genus: {explain(error, [])[0]}", file=sys.stderr)
    return 1


# -- writing --------------------------------------------------------------------------------------------------------------


def written(suffix: str, columns: Mapping[str, Column], rng: random.Random) -> bytes:
    """Return a file that holds columns, in the types of the format or as texts."""
    if suffix in (".csv", ".tsv"):
        return _delimited("\t" if suffix == ".tsv" else rng.choice(",,;|"), columns, rng)
    typed = {name: column for name, column in columns.items() if column.type is not None and rng.random() < 0.8}
    if suffix in (".parquet", ".arrow"):
        arrays = {name: _array(column) if name in typed else pa.array(column.texts) for name, column in columns.items()}
        out = io.BytesIO()
        write = pyarrow.parquet.write_table if suffix == ".parquet" else pyarrow.feather.write_feather
        write(pa.table(arrays), out)
        return out.getvalue()
    make = _cell if suffix == ".xlsx" else _json
    lists = [_each(make, column) if name in typed else column.texts for name, column in columns.items()]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]
    if suffix == ".xlsx":
        return workbook([list(columns), *(list(row.values()) for row in rows)])
    if suffix == ".json":
        return json.dumps(rows, ensure_ascii=rng.random() < 0.5).encode()
    return "\n".join(json.dumps(row, ensure_ascii=rng.random() < 0.5) for row in rows).encode()


def _delimited(delimiter: str, columns: Mapping[str, Column], rng: random.Random) -> bytes:
    out = io.StringIO()
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator=rng.choice(("\n", "\n", "\r\n")))
    writer.writerow(columns)
    for row in zip(*(c.texts for c in columns.values()), strict=True):
        writer.writerow(["" if text is None else text for text in row])
    text = out.getvalue()
    encoding = rng.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252"))
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode()


def _array(column: Column) -> pa.Array:
    kind = column.type
    values = column.values
    if pa.types.is_floating(kind):
        values = [None if v is None else float(v) for v in values]
    if pa.types.is_decimal(kind):
        values = [None if v is None else Decimal(v) for v in values]
    return pa.array(values, pa.string()).cast(kind) if pa.types.is_dictionary(kind) else pa.array(values, kind)


def _each(make: Callable[[Any, str | None], Any], column: Column) -> list[Any]:
    return [None if v is None else make(v, t) for v, t in zip(column.values, column.texts, strict=True)]


def _json(value: Any, text: str | None) -> Any:
    return float(value) if isinstance(value, Decimal) else value if isinstance(value, int | str) else text


def _cell(value: Any, text: str | None) -> Any:
    """Return what a spreadsheet holds, whose numbers are doubles, and whose dates begin with 1900."""
    if isinstance(value, datetime.datetime | datetime.date):
        return value if value.year > 1900 and getattr(value, "microsecond", 0) == 0 else text
    if isinstance(value, int) and abs(value) >= 2**53:
        return text
    return float(value) if isinstance(value, Decimal) else value if isinstance(value, int | str) else text


# -- comparing ------------------------------------------------------------------------------------------------------------


def differences(data: genus.Dataset, columns: Mapping[str, Column]) -> list[str]:
    """Return what data that were read hold otherwise than what was written, a line for each column."""
    table, found = data.frame(), []
    rows = {len(column.texts) for column in columns.values()}
    if rows != {len(data)}:
        return [f"{len(data)} rows of {rows}"]
    for name, written_as in columns.items():
        notes = [Note.of(note) for note in data.notes if repr(name) in note]
        if name in table.column_names:
            read, ticks = table.column(name).to_pylist(), _ticks(data, name)
            row = _first(written_as, read, ticks, notes)
            if row is not None:
                shown = f"{read[row]!r}{'' if ticks is None else f', {ticks[row]}'}; notes {notes}"
                found.append(f"{written_as.sort} {name!r} row {row}: {written_as.texts[row]!r} is {shown}")
        elif not any(note.about == "left out" for note in notes):
            found.append(f"{written_as.sort} {name!r} is gone, and no note says so")
    return found


def _ticks(data: genus.Dataset, name: str) -> list[datetime.timedelta | None] | None:
    """Return the times of a column as genus counts them, since 1970 or midnight; None where it is no column of times."""
    names = data.space.names or ()
    if name not in names or not isinstance(kind := data.space.kinds[names.index(name)], Time):
        return None
    x = data.x[:, names.index(name)].double().numpy()
    x = kind.low + kind.step * np.rint((x - kind.low) / kind.step)  # coordinates may be of single precision, steps are not
    ticks = kind.to_ticks(np.nan_to_num(x), "us").tolist()
    return [None if math.isnan(v) else datetime.timedelta(microseconds=t) for v, t in zip(x, ticks, strict=True)]


def _first(column: Column, read: Sequence[Any], ticks: Sequence[Any] | None, notes: Iterable[str]) -> int | None:
    """Return the first row whose value is another one than was written; None where there is none."""
    said = " ".join(notes)
    ways = "has times written as" in said  # all of them are written in one of the ways
    for row, (value, text) in enumerate(zip(column.values, column.texts, strict=True)):
        if ticks is not None:
            right = "though every row could be" in said or _same_time(ticks[row], value, column.offset)
            free = ways or column.sort in ("durations", "zones") or not isinstance(read[row], str)
            right &= free or read[row] == (text or "").strip()
        else:
            right = _same(read[row], value, text, said, column)
        if not right:
            return row
    return _merged(column, read) if ticks is None and "blanks around them are one level" not in said else None


def _merged(column: Column, read: Sequence[Any]) -> int | None:
    """Return the first row of a text that is read as another one is; None where there is none."""
    texts: dict[Any, Any] = {}
    for row, (value, text) in enumerate(zip(read, column.values, strict=True)):
        if isinstance(text, str) and value is not None and texts.setdefault(value, text) != text:
            return row
    return None


def _same(read: Any, value: Any, text: str | None, said: str, column: Column) -> bool:
    """Return whether what was read is what was meant, or its text."""
    if "takes them for decimal commas" in said and isinstance(value, Decimal) and read == value.scaleb(3):
        return True  # all have three places, as thousands would, and the note offers the other reading
    if read is None or (isinstance(read, float) and math.isnan(read)):
        return value is None or f"holds {text!r}, which is taken for missing" in said or text in ("NA", "NaN")
    if isinstance(read, str):
        return text is not None and read.strip() == text.strip()
    if isinstance(value, bool) or isinstance(read, bool):
        return bool(read == value)
    if isinstance(read, int | float | Decimal):
        return _same_number(read, _as_number(value), said)
    return _same_time(_since(read), value, column.offset)


def _as_number(value: Any) -> int | Decimal:
    """Return a number that was meant; a text, where it was read as the number that it is, says all by that, but for zeros."""
    if not isinstance(value, str):
        return value
    return Decimal(value) if re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?", value) else Decimal("NaN")


def _same_number(read: int | float | Decimal, value: int | Decimal, said: str) -> bool:
    if "single precision" in said:
        return bool(np.float32(float(read)) == np.float32(float(value)))
    return read == value or (isinstance(value, Decimal) and float(read) == float(value))


def _same_time(read: Any, value: Any, offset: datetime.timedelta) -> bool:
    """Return whether times are equal, in UTC or by the clocks of the one zone that they are written in."""
    since = _since(value)
    return read == since if read is None or since is None else read in (since, since + offset)


def _since(value: Any) -> datetime.timedelta | None:
    """Return a date or an instant as the time since 1970, a time of day as that since midnight, a duration as it is."""
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).replace(tzinfo=None) - EPOCH if value.tzinfo else value - EPOCH
    if isinstance(value, datetime.date):
        return datetime.datetime.combine(value, datetime.time()) - EPOCH
    if isinstance(value, datetime.time):
        return datetime.timedelta(hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond)
    return value if isinstance(value, datetime.timedelta) else None
