"""Durations as ISO 8601 writes them: P1DT2H30M."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.scan import scan

__all__ = ["ISO", "format_iso", "parse_iso"]

ISO = (
    r"^(?P<sign>-?)P(?:(?P<W>\d{1,9})W)?(?:(?P<D>\d{1,9})D)?"
    r"(?:T(?:(?P<H>\d{1,9})H)?(?:(?P<M>\d{1,9})M)?(?:(?P<S>\d{1,9})(?:[.,](?P<f>\d{1,9}))?S)?)?$"
)
SECONDS = {"W": 604_800, "D": 86_400, "H": 3600, "M": 60, "S": 1}


def parse_iso(texts: pa.Array) -> pa.Array:
    """Return durations (N,) of texts such as P1DT2H; null where a text is none. Years and months have no fixed length.

    >>> parse_iso(pa.array(["P1DT2H", "PT0.5S", "P1Y"])).to_pylist()
    [datetime.timedelta(days=1, seconds=7200), datetime.timedelta(microseconds=500000), None]
    """
    found = scan(ISO, texts.cast(pa.large_string()))
    zero = np.zeros(len(texts), dtype=np.int64)
    seconds = sum((found.fields.get(name, zero) * size for name, size in SECONDS.items()), zero)
    unit, ratio = ("s", 1) if not found.digits else ("ms", 10**3) if found.digits <= 3 else ("us", 10**6)
    unit, ratio = ("ns", 10**9) if found.digits > 6 else (unit, ratio)
    ticks = seconds * ratio + found.fields.get("f", zero) // (10**9 // ratio)
    ticks = np.where(found.fields.get("sign", zero) < 0, -ticks, ticks)
    empty = np.asarray(pc.fill_null(pc.match_substring_regex(texts, r"[PT]$"), True))  # P and PT1HT say nothing
    return pa.array(ticks, pa.int64(), mask=~found.matched | empty).cast(pa.duration(unit))


def format_iso(values: pa.Array) -> pa.Array:
    """Return durations (N,) as ISO 8601 writes them, each in days, hours, minutes and seconds.

    >>> format_iso(pa.array([93_600, 0], pa.duration("s"))).to_pylist()
    ['P1DT2H', 'PT0S']
    """
    ratio = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[values.type.unit]
    ticks = np.asarray(pc.fill_null(values.cast(pa.int64()), 0))
    unique, inverse = np.unique(ticks, return_inverse=True)
    text = pa.array([_iso(tick, ratio) for tick in unique.tolist()], pa.string()).take(pa.array(inverse))
    return pc.if_else(pc.is_null(values), pa.scalar(None, pa.string()), text)


def _iso(tick: int, ratio: int) -> str:
    seconds, rest = divmod(abs(tick), ratio)
    days, hours, minutes, last = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60, seconds % 60
    fraction = f".{rest:0{len(str(ratio)) - 1}d}".rstrip("0") if rest else ""
    clock = "".join(f"{n}{name}" for n, name in ((hours, "H"), (minutes, "M")) if n)
    clock += f"{last}{fraction}S" if last or rest or not (clock or days) else ""
    return f"{'-' if tick < 0 else ''}P{f'{days}D' if days else ''}{f'T{clock}' if clock else ''}"
