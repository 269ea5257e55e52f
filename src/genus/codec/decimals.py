"""Decimals: as many as all data of a column have, so that draws are written as the data are."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.arrow import is_blank
from genus.kinds.steps import DIGITS, round_digits, shortest_decimals, significant_digits

__all__ = ["SPEC", "decimals_of", "measure_decimals", "rounded", "trailing_decimals", "with_trailing_zeros"]

PROBED = 1000  # so many values rule out most columns
# A column is written to significant digits where its greatest number has more than so many fewer decimals than others.
SPARE = 1
NO_NEWS = ("7g", "8g", "9g")
SPEC = re.compile(r"([+-]?)(#?)\.(\d+)([fg])")


def measure_decimals(table: pa.Table, trailing: Mapping[str, int] | None = None) -> tuple[str, ...]:
    """Return how many decimals the columns of a table have: a format for each, or "".

    Formats are those of Python: ".2f" for two decimals; ".6g" for six significant digits, where large numbers have fewer
    decimals; "#.2f" where zeros at the end are written too. A sign before it says that all numbers have that sign, so that none
    is rounded to 0.

    Args:
        table: columns of any types; those of floating-point numbers have a format where nine digits suffice.
        trailing: of columns whose texts have trailing zeros, how many decimals all of these texts have.

    >>> measure_decimals(pa.table({"bill": [12.5, 7.25, 100.0], "n": [1, 2, 3]}))
    ('+.2f', '')
    """
    out = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        spec = _spec(column) if pa.types.is_floating(column.type) else ""
        written, found = (trailing or {}).get(name, 0), SPEC.fullmatch(spec)
        if written and found is not None and found[4] == "f":
            spec = f"{found[1]}#.{max(written, int(found[3]))}f"
        out.append(spec)
    return tuple(out)


def _spec(column: pa.ChunkedArray) -> str:
    """Return the format of a column of floating-point numbers; single ones count as the short decimals that they stand for."""
    values = np.concatenate([np.asarray(chunk.drop_null()) for chunk in column.chunks] or [np.array([])])
    if values.dtype == np.float64:
        return decimals_of(values)
    if decimals_of(shortest_decimals(values[:PROBED])).endswith(NO_NEWS):  # what any number in single precision has
        return ""
    spec = decimals_of(shortest_decimals(values))
    return "" if spec.endswith(NO_NEWS) else spec


def decimals_of(values: np.ndarray) -> str:
    """Return the format of numbers (N,), NaN among them where missing: see `measure_decimals`.

    >>> decimals_of(np.array([0.1, -2.25])), decimals_of(np.array([1190.15, 0.121077, 46.3489])), decimals_of(np.array([1 / 3]))
    ('.2f', '+.6g', '')
    """
    head = values[:PROBED]
    head = head[np.isfinite(head)]
    places, few = _places(head, 0), significant_digits(head)
    if places is None and few is None:
        return ""
    present = values[np.isfinite(values)]
    if not len(present):
        return ""
    low, high = float(present.min()), float(present.max())
    sign = "+" if low > 0 else "-" if high < 0 else ""
    places = _places(present, places or 0)
    front = math.floor(math.log10(max(abs(low), abs(high), 1e-300))) + 1
    most = math.inf if places is None else places + front - SPARE
    if (places is None or places > 2) and few is not None and few < most:
        digits = significant_digits(present)
        if digits is not None and digits < most:
            return f"{sign}.{digits}g"
    return "" if places is None else f"{sign}.{places}f"


def _places(values: np.ndarray, least: int) -> int | None:
    """Return the fewest decimals, `least` or more, that write all values; None where nine do not suffice."""
    return next((d for d in range(least, DIGITS + 1) if np.array_equal(np.round(values, d), values)), None)


def rounded(table: pa.Table, decimals: Sequence[str]) -> pa.Table:
    """Return a table with its numbers rounded to the formats of its columns; 0 is never written -0, or 7.1e-15."""
    for i, (spec, column) in enumerate(zip(decimals, table.columns, strict=bool(decimals))):
        if spec and pa.types.is_floating(column.type):
            table = table.set_column(i, table.column_names[i], _rounded(column, spec))
    return table


def _rounded(column: pa.ChunkedArray, spec: str) -> pa.Array:
    sign, _, digits, form = _parts(spec)
    null = is_blank(column)
    values = np.asarray(pc.fill_null(column.cast(pa.float64()), 0.0))
    with np.errstate(invalid="ignore"):
        out = round_digits(values, digits) if form == "g" else np.round(values, digits)
    if sign:
        out = np.where((out == 0) & (values != 0), float(f"{sign}1e-{digits}"), out)
    return pa.array(out + 0.0, mask=null).cast(column.type, safe=False)


def _parts(spec: str) -> tuple[str, bool, int, str]:
    """Return the sign, whether zeros at the end are written, the digits and the letter of a format."""
    found = SPEC.fullmatch(spec)
    if found is None:
        raise ValueError(f"{spec!r} is no format of numbers; expected one such as '.2f'")
    return found[1], bool(found[2]), int(found[3]), found[4]


def trailing_decimals(texts: Sequence[str]) -> int:
    """Return how many decimals all numbers are written with, where some of these are zeros at the end; else 0.

    >>> trailing_decimals(["3.50", "12.25"]), trailing_decimals(["3.5", "12.25"]), trailing_decimals(["3.5", "2.5"])
    (2, 0, 0)
    """
    decimals = {len(text.strip().partition(".")[2]) for text in texts}
    return decimals.pop() if len(decimals) == 1 and any(text.strip().endswith("0") for text in texts) else 0


def with_trailing_zeros(column: pa.ChunkedArray, spec: str) -> pa.ChunkedArray:
    """Return a column of numbers as text where its format writes zeros at the end; another column as it is.

    >>> with_trailing_zeros(pa.chunked_array([[3.5, None, -0.25]]), "#.2f").to_pylist()
    ['3.50', None, '-0.25']
    """
    if not spec or not pa.types.is_floating(column.type):
        return column
    _, trailing, digits, form = _parts(spec)
    if not trailing or form != "f":
        return column
    return pa.chunked_array([[None if v is None else f"{v:.{digits}f}" for v in column.to_pylist()]], pa.string())
