"""Columns whose values are known: numbers, ids, levels, dates, durations, written in the many ways of people."""

from __future__ import annotations

import datetime
import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

__all__ = ["Column", "column"]


@dataclass(frozen=True)
class Column:
    """Hold one column, as it is written and as it is meant.

    Args:
        sort: what it is, for messages.
        texts: (N,) as it is written in text; None is an empty field.
        values: (N,) what this means: numbers as Decimal or int, times, texts; None where a value is missing.
        type: of Arrow, by which typed files hold the values; None where they hold the texts.
        offset: from UTC, of the one zone that times are written in; their values are in UTC.
    """

    sort: str
    texts: list[str | None]
    values: list[Any]
    type: pa.DataType | None = None
    offset: datetime.timedelta = datetime.timedelta()


Maker = Callable[[random.Random, int], Column]


def column(rng: random.Random, rows: int) -> Column:
    """Return a column of so many rows, of any sort; some values of it may be missing."""
    made = rng.choice(MAKERS)(rng, rows)
    if rng.random() < 0.3:
        words = [rng.choice(("NA", "", "?", "n/a", "null", "NaN", "#N/A"))] if rng.random() < 0.5 else [""]
        for row in rng.sample(range(rows), max(1, rows // rng.choice((5, 10, 40)))):
            made.values[row], made.texts[row] = None, rng.choice(words)
    return made


# -- numbers --------------------------------------------------------------------------------------------------------------


def _number(rng: random.Random) -> Decimal:
    """Return a number with few or many digits."""
    digits = rng.choice((1, 2, 3, 5, 7, 9, 12, 15))
    return Decimal(rng.randrange(-(10**digits) + 1, 10**digits)).scaleb(-rng.choice((0, 1, 2, 3, 6, 9, digits)))


def _some(rng: random.Random, rows: int, make: Callable[[], Any]) -> list[Any]:
    """Return values, drawn from few that repeat or all drawn anew."""
    if rng.random() < 0.3:
        few = [make() for _ in range(rng.randrange(1, 12))]
        return [rng.choice(few) for _ in range(rows)]
    return [make() for _ in range(rows)]


def _decimals(rng: random.Random, rows: int) -> Column:
    places, low, high = rng.randrange(9), -rng.choice((0, 10, 10**6)), 10 ** rng.randrange(1, 8)
    values = _some(rng, rows, lambda: Decimal(rng.randrange(low * 10**places, high * 10**places)).scaleb(-places))
    kind = rng.choice((pa.float64(), pa.decimal128(30, places)))
    return Column("decimals", [f"{v:f}" for v in values], values, kind)


def _mixed_decimals(rng: random.Random, rows: int) -> Column:
    values = _some(rng, rows, lambda: _number(rng))
    texts = [f"{'+' if rng.random() < 0.05 and v >= 0 else ''}{v:f}" for v in values]
    return Column("mixed decimals", texts, values, pa.float64())


def _heavy(rng: random.Random, rows: int) -> Column:
    spread = rng.choice((1, 5, 12))
    values = [Decimal(repr(rng.choice((-1, 1)) * rng.lognormvariate(0, spread))) for _ in range(rows)]
    if rng.random() < 0.3:
        values[rng.randrange(rows)] = Decimal(rng.choice(("1e90", "-1e-300", "123456789.123456789", "1e15", "99999")))
    return Column("heavy tails", [repr(float(v)) for v in values], values, pa.float64())


def _exponents(rng: random.Random, rows: int) -> Column:
    letter, most = rng.choice("eE"), rng.choice((3, 20, 90))
    values, texts = [], []
    for _ in range(rows):
        mantissa, power = Decimal(rng.randrange(-9999, 10**4)).scaleb(-3), rng.randrange(-most, most)
        texts.append(f"{mantissa}{letter}{power:{rng.choice(('d', '+d', '+03d'))}}")
        values.append(Decimal(texts[-1]))
    return Column("exponents", texts, values, pa.float64())


def _single(rng: random.Random, rows: int) -> Column:
    numbers = [float(np.float32(rng.gauss(0, 10 ** rng.randrange(-3, 6)))) for _ in range(rows)]
    return Column("single precision", [repr(n) for n in numbers], [Decimal(n) for n in numbers], pa.float32())


def _negative_zero(rng: random.Random, rows: int) -> Column:
    texts = [rng.choice(("-0.0", "0.0", "0", "-0", "-1.5", "2.25", "0.75")) for _ in range(rows)]
    return Column("negative zero", texts, [Decimal(t) for t in texts], pa.float64())


def _whole(rng: random.Random, rows: int) -> Column:
    bits = rng.choice((1, 3, 8, 16, 31, 40, 52))
    low = -(2**bits) if rng.random() < 0.5 else 0
    values = _some(rng, rows, lambda: rng.randrange(low, 2**bits))
    kinds = [pa.int64(), *([pa.int32()] if bits < 32 else []), *([pa.uint16()] if bits <= 16 and not low else [])]
    return Column("whole numbers", list(map(str, values)), values, rng.choice(kinds))


def _large(rng: random.Random, rows: int) -> Column:
    bits = rng.choice((53, 54, 60, 62, 63, 64, 70, 120))
    start = rng.randrange(2**bits - 2 ** (bits - 1), 2**bits - 10**4)
    far = rng.random() < 0.5
    values = _some(rng, rows, lambda: rng.randrange(2 ** (bits - 1), 2**bits) if far else start + rng.randrange(9999))
    kind = pa.int64() if bits < 64 else pa.uint64() if bits == 64 else pa.decimal128(38, 0)
    return Column("large whole numbers", list(map(str, values)), values, kind)


def _grouped(rng: random.Random, rows: int) -> Column:
    mark, point = rng.choice(((",", "."), (".", ","), ("'", "."), (" ", "."), (" ", ","), ("\u00a0", ",")))
    places, high = rng.choice((0, 2)), 10 ** rng.randrange(4, 9)
    values = [Decimal(rng.randrange(-high if rng.random() < 0.3 else 0, high)).scaleb(-places) for _ in range(rows)]
    values[:3] = [Decimal(1_234_567), Decimal(98_765_432), Decimal(5_000_000)]  # which could be nothing else
    texts = [f"{v:,f}".replace(",", "\0").replace(".", point).replace("\0", mark) for v in values]
    return Column("thousands", texts, values)


def _decimal_commas(rng: random.Random, rows: int) -> Column:
    places = rng.randrange(1, 5)
    values = [Decimal(rng.randrange(-(10**6), 10**6)).scaleb(-places) for _ in range(rows)]
    return Column("decimal commas", [str(v).replace(".", ",") for v in values], values)


def _amounts(rng: random.Random, rows: int) -> Column:
    before, after = rng.choice(
        (("$", ""), ("€ ", ""), ("", " €"), ("", "%"), ("", " %"), ("", " kg"), ("USD ", ""), ("", "°C"))
    )
    places, comma, minus = rng.choice((0, 1, 2)), rng.random() < 0.2, rng.choice(("-", "-", "−", "("))
    values, texts = [], []
    for row in range(rows):
        v = Decimal(rng.randrange(-(10**4) if rng.random() < 0.2 else 0, 10**5)).scaleb(-places)
        v = v if row else Decimal("1234567") + v  # whose comma marks thousands beyond doubt
        digits = f"{abs(v):,f}" if rng.random() < 0.5 or not row else f"{abs(v):f}"
        digits = digits.replace(",", "").replace(".", ",") if comma else digits
        whole = f"{before}{digits}{after}"
        texts.append(whole if v >= 0 else f"({whole})" if minus == "(" else f"{minus}{whole}")
        values.append(v)
    return Column("amounts", texts, values)


def _letters(rng: random.Random, rows: int) -> Column:
    values, texts = [], []
    for _ in range(rows):
        letter, times = rng.choice((("", 1), ("K", 10**3), ("M", 10**6), ("B", 10**9)))
        number = Decimal(rng.randrange(1, 9999)).scaleb(-rng.choice((0, 1)))
        values.append(number * times)
        texts.append(f"{number}{letter}")
    return Column("letters for thousands", texts, values)


# -- ids and levels -------------------------------------------------------------------------------------------------------


def _ids(rng: random.Random, rows: int) -> Column:
    width = rng.randrange(2, 9)
    makes: list[Callable[[], str]] = [
        lambda: str(rng.randrange(10**width)).zfill(width),
        lambda: f"{rng.randrange(100):03d}-{rng.randrange(10**4):04d}",
        lambda: f"+49{rng.randrange(10**9, 10**10)}",
        lambda: f"0{rng.randrange(10**8, 10**9)}",
        lambda: "".join(rng.choice("0123456789ABCDEF") for _ in range(width)),
        lambda: f"{rng.randrange(1, 100)}E{rng.randrange(10)}{rng.choice('ABC')}",
        lambda: f"{rng.randrange(1, 4)}.{rng.randrange(1, 25)}",
        lambda: f"0x{rng.randrange(16**4):04x}",
        lambda: ".".join(str(rng.randrange(256)) for _ in range(4)),
        lambda: f"{rng.randrange(1, 13)}/{rng.randrange(1, 40)}",
        lambda: f"{rng.randrange(10**15, 10**16)}",
        lambda: f"{rng.choice('ABC')}{rng.randrange(1000):04d}",
        lambda: str(rng.randrange(10**19, 10**20)),
    ]
    texts = _some(rng, rows, rng.choice(makes))
    if len(texts[0]) == width and any(c in "ABCDEF" for text in texts for c in text):
        texts[:9] = ["FA"] * 9  # which tells 20E4 beside it from a number
    return Column("ids", list(texts), list(texts))


LETTERS = ("é", "e\u0301", "ß", "Ж", "中", "😀", "א", "\u200b", "\u00a0", "\x1b[31m", "İ", "ﬁ", "\u2028", "\x85")


def _levels(rng: random.Random, rows: int) -> Column:
    def level() -> str:
        core = "".join(rng.choice(string.ascii_letters) for _ in range(rng.randrange(1, 6)))
        odd = rng.choice((*LETTERS, '"', '""', "'", "\n", "\r\n", ",", ";", "\t", "|", "  ", "\\", "\\n", "#", "%", "=", "<b>"))
        return rng.choice((core, core + odd + core, odd + core, core + odd, core.upper(), core.lower()))

    few = [level() for _ in range(rng.randrange(2, 9))]
    pair = rng.choice((("yes", "Yes"), ("a", " a"), ("b", "b "), ("é", "e\u0301"), ("None", "none"), ("+", "-"), ("1", "1a"),
                       ("NA", "NAM"), ("x\u00a0", "x"), ("true", "maybe"), ("A", "a"), ("1", "one")))  # fmt: skip
    few += pair if rng.random() < 0.4 else ()
    texts = [rng.choice(few) for _ in range(rows)]
    return Column("levels", list(texts), list(texts), pa.dictionary(pa.int8(), pa.string()) if rng.random() < 0.3 else None)


def _prose(rng: random.Random, rows: int) -> Column:
    texts = [" ".join(rng.choice(("the", "cat,", 'said "no"', "ate\n", "größe", "1,5")) for _ in range(9)) for _ in range(rows)]
    return Column("prose", list(texts), list(texts))


def _booleans(rng: random.Random, rows: int) -> Column:
    no, yes = rng.choice((("false", "true"), ("False", "True"), ("FALSE", "TRUE"), ("no", "yes"), ("N", "Y"), ("0", "1")))
    values = [rng.random() < 0.4 for _ in range(rows)]
    return Column("booleans", [yes if v else no for v in values], list(values), pa.bool_())


# -- times ----------------------------------------------------------------------------------------------------------------

DATES = ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y%m%d", "%d-%b-%Y", "%B %d, %Y", "%d %B %Y", "%d/%m/%y", "%Y/%m/%d",
         "%a %d %b %Y")  # fmt: skip
CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p")
ZONES = ("", "", "Z", "+00:00", "+0530", "-08:00")


def _start(rng: random.Random) -> datetime.datetime:
    year = rng.choice((3, 1500, 1850, 1905, 1970, 1999, 2023, 2024, 9990))
    return datetime.datetime(year, rng.randrange(1, 13), rng.randrange(1, 28))


def _dates(rng: random.Random, rows: int) -> Column:
    template, start, days = rng.choice(DATES), _start(rng), rng.choice((30, 400, 3000))
    if "%y" in template or template == "%Y%m%d":
        start = start.replace(year=rng.choice((1975, 2001)))
    if rng.random() < 0.3:  # no day tells the order
        values = [datetime.date(start.year, rng.randrange(1, 13), rng.randrange(1, 13)) for _ in range(rows)]
    else:
        values = [(start + datetime.timedelta(rng.randrange(days))).date() for _ in range(rows)]
    if rng.random() < 0.3:
        values.sort()
    return Column("dates", [_text(v, template) for v in values], list(values), rng.choice((pa.date32(), pa.date64())))


def _text(value: Any, template: str) -> str:
    """Return a time as text; years have four digits, which they do not have on every system."""
    return value.strftime(template.replace("%Y", f"{value.year:04d}" if hasattr(value, "year") else ""))


def _instants(rng: random.Random, rows: int) -> Column:
    clock, zone = rng.choice(CLOCKS), rng.choice(ZONES)
    template = f"{rng.choice(DATES[:4])}{rng.choice((' ', 'T') if clock[1] == 'H' else ' ')}{clock}"
    unit = {"%H:%M:%S.%f": "us", "%H:%M": "m", "%I:%M %p": "m"}.get(clock, "s")
    start, span, values = _start(rng), rng.choice((86_400, 10**7, 10**8)), []
    for _ in range(rows):
        at = start + datetime.timedelta(seconds=rng.randrange(span), microseconds=rng.randrange(10**6))
        values.append(at.replace(microsecond=at.microsecond if unit == "us" else 0, second=0 if unit == "m" else at.second))
    texts = [_text(v, template) + zone for v in values]
    offset = datetime.timedelta(hours={"+0530": 5.5, "-08:00": -8.0}.get(zone, 0.0))
    values = [v - offset for v in values]
    return Column("instants", texts, values, pa.timestamp("us", "UTC" if zone else None), offset)


def _zones(rng: random.Random, rows: int) -> Column:
    start, texts, values = _start(rng), [], []
    for _ in range(rows):
        at, hours = start + datetime.timedelta(seconds=rng.randrange(10**7)), rng.choice((-8, 0, 1, 2))
        texts.append(f"{_text(at, '%Y-%m-%dT%H:%M:%S')}{hours:+03d}:00")
        values.append(at - datetime.timedelta(hours=hours))
    return Column("zones", texts, values)


def _clocks(rng: random.Random, rows: int) -> Column:
    template = rng.choice(CLOCKS[:3])
    unit = {"%H:%M": 60, "%H:%M:%S": 1}.get(template, 1)
    values = []
    for _ in range(rows):
        at = datetime.datetime.min + datetime.timedelta(seconds=rng.randrange(86_400 // unit) * unit)
        values.append(at.replace(microsecond=rng.randrange(10**6) if template.endswith("f") else 0).time())
    return Column("times of day", [v.strftime(template) for v in values], list(values), pa.time64("us"))


def _durations(rng: random.Random, rows: int) -> Column:
    way, most = rng.randrange(4), 60 * rng.choice((10, 1000, 20_000))
    values = [datetime.timedelta(minutes=rng.randrange(most)) for _ in range(rows)]
    if way == 0:
        values = [v + datetime.timedelta(seconds=rng.randrange(60)) for v in values]

    def text(v: datetime.timedelta) -> str:
        minutes, seconds = divmod(int(v.total_seconds()), 60)
        hours, minutes = divmod(minutes, 60)
        days, rest = divmod(hours, 24)
        return (f"{hours}:{minutes:02d}:{seconds:02d}", f"P{days}DT{rest}H{minutes}M", f"{hours}h {minutes:02d}m",
                f"{days} days, {rest:02d}:{minutes:02d}:00")[way]  # fmt: skip

    texts = list(map(text, values))
    return Column("durations", texts, list(values), pa.duration("us"))


MAKERS: Sequence[Maker] = (
    _decimals, _decimals, _mixed_decimals, _heavy, _exponents, _single, _negative_zero, _whole, _whole, _large, _grouped,
    _decimal_commas, _amounts, _amounts, _letters, _ids, _ids, _levels, _levels, _levels, _prose, _booleans, _dates, _dates,
    _instants, _instants, _zones, _clocks, _durations,
)  # fmt: skip
