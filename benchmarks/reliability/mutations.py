"""Ways to damage bytes, text and JSON, each by a generator of random numbers."""

from __future__ import annotations

import copy
import io
import math
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["HOSTILE", "damaged", "damaged_json", "damaged_png", "damaged_text", "damaged_zip"]

NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1)
WORDS = (
    *(b"inf", b"-inf", b"nan", b"1e999", b"-0", b"1e-400", b"99999999999999999999", b"18446744073709551615", b"0x1p3", b"\x00"),
    *(
        b'"',
        b'""',
        b"'",
        b",",
        b";",
        b"\t",
        b"|",
        b"\r",
        b"\n",
        b"\r\n",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\x1b[31m",
    ),
    *(b"=cmd|' /C calc'!A0", b"@SUM(1)", b"+1", b"--", b"NA", b"None", b"true", b"1,5", b"1.000,5", b"45 %", b"$3.50"),
    *(
        b"2021-02-30",
        b"9999-12-31",
        b"0000-00-00",
        b"24:00:00",
        b"12:60",
        b"1677-01-01",
        b"2262-04-12T00:00:00",
        b"10000-01-01",
    ),
    *(b"P1D", b"\xe2\x80\xae", b"\xf0\x9f\x98\x80", b"{", b"}", b"[", b"]", b"null", b"\\u0000", b"\\ud800"),
    *(b"1" * 400, b"x" * 5000, b"0" * 5000),
)
HOSTILE: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2, 3, 7, 255, 256, 2**31, 10**6, 10**9, 10**12, 2**63, 10**400),
    *(0.5, 1.5, -0.0, 1e-300, 1e308, math.nan, math.inf, -math.inf),
    *("", "a", "x" * 10_000, "\x00", "\ud800", "../../etc/passwd", "nan", "1", "real", "category", "log"),
    *([], {}, [[]], [None], {"class": "maf"}, {"class": "Chain", "transforms": []}, {"kind": "real"}, [1] * 1000),
)


def damaged(content: bytes, rng: random.Random, other: bytes = b"") -> bytes:
    """Return bytes with a few changes: bits, bytes, numbers, pieces that are gone, repeated, or of another file."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if not data:
            break
        rng.choice(_WAYS)(data, rng, other)
    return bytes(data)


def _span(data: bytearray, rng: random.Random, most: int = 64) -> tuple[int, int]:
    # Headers and footers decide more than what is between.
    n = len(data)
    at = rng.choice((rng.randrange(n), rng.randrange(min(n, 128)), n - 1 - rng.randrange(min(n, 256))))
    return at, min(n, at + rng.randint(1, most))


def _bits(data: bytearray, rng: random.Random, other: bytes) -> None:
    for _ in range(rng.choice((1, 1, 4, 32))):
        data[_span(data, rng)[0]] ^= 1 << rng.randrange(8)


def _noise(data: bytearray, rng: random.Random, other: bytes) -> None:
    at, to = _span(data, rng)
    data[at:to] = rng.randbytes(to - at)


def _number(data: bytearray, rng: random.Random, other: bytes) -> None:
    at, value = _span(data, rng)[0], rng.choice(NUMBERS)
    size = rng.choice((1, 2, 4, 8))
    packed = (value % 256**size).to_bytes(size, rng.choice(("little", "big")))
    data[at : at + size] = packed


def _cut(data: bytearray, rng: random.Random, other: bytes) -> None:
    del data[rng.randrange(len(data)) :]


def _gone(data: bytearray, rng: random.Random, other: bytes) -> None:
    at, to = _span(data, rng)
    del data[at:to]


def _repeated(data: bytearray, rng: random.Random, other: bytes) -> None:
    at, to = _span(data, rng, 256)
    data[at:at] = data[at:to] * rng.choice((1, 2, 50))


def _spliced(data: bytearray, rng: random.Random, other: bytes) -> None:
    if other:
        at, start = _span(data, rng)[0], rng.randrange(len(other))
        data[at : at + 100] = other[start : start + rng.randint(1, 400)]


def _word(data: bytearray, rng: random.Random, other: bytes) -> None:
    at = rng.randrange(len(data))
    data[at : at + rng.choice((0, 1, 4))] = rng.choice(WORDS)


_WAYS: tuple[Callable[[bytearray, random.Random, bytes], None], ...] = (
    _bits, _bits, _noise, _number, _number, _cut, _gone, _repeated, _spliced, _word,
)  # fmt: skip


def damaged_text(content: bytes, rng: random.Random, other: bytes = b"") -> bytes:
    """Return text with fields or lines replaced, dropped or repeated; now and then with damaged bytes besides."""
    lines = content.split(b"\n")
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.choice((0, rng.randrange(len(lines))))
        way = rng.randrange(5)
        if way == 0:
            fields = lines[at].split(b",")
            fields[rng.randrange(len(fields))] = rng.choice(WORDS)
            lines[at] = b",".join(fields)
        elif way == 1:  # a whole column
            place, word = rng.randrange(1 + lines[0].count(b",")), rng.choice(WORDS)
            for i in range(rng.choice((0, 1)), len(lines)):
                fields = lines[i].split(b",")
                if place < len(fields):
                    fields[place] = word
                    lines[i] = b",".join(fields)
        elif way == 2:
            del lines[at : at + rng.choice((1, 1, len(lines) // 2))]
            lines = lines or [b""]
        elif way == 3:
            lines[at:at] = [lines[at]] * rng.choice((1, 100))
        else:
            lines[at] = rng.choice(WORDS) + lines[at]
    text = b"\n".join(lines)
    text = text.replace(b"\n", rng.choice((b"\r\n", b"\r"))) if rng.random() < 0.05 else text
    text = (
        text.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-16-le", "utf-32"))) if rng.random() < 0.05 else text
    )
    return damaged(text, rng, other) if rng.random() < 0.3 else text


def damaged_zip(content: bytes, rng: random.Random, other: bytes = b"") -> bytes:
    """Return an archive with one of its files damaged and sums that agree, so that the damage reaches what reads the file."""
    archive = zipfile.ZipFile(io.BytesIO(content))
    members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice([name for name, held in members.items() if held])
    members[name] = damaged(members[name], rng, other)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as made:
        for one, held in members.items():
            made.writestr(one, held)
    return out.getvalue()


def damaged_png(content: bytes, rng: random.Random, other: bytes = b"") -> bytes:
    """Return a PNG with one of its chunks damaged, and sums that agree."""
    chunks, at = [], 8
    while at < len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    i = rng.randrange(len(chunks))
    name, body = chunks[i]
    chunks[i] = (name, damaged(body, rng, other) if body else rng.randbytes(4))
    out = content[:8]
    for name, body in chunks:
        out += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return out


# -- JSON -----------------------------------------------------------------------------------------------------------------


def damaged_json(value: Any, rng: random.Random) -> Any:
    """Return JSON values with one to three places changed: replaced, scaled, dropped, repeated, or copied elsewhere."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(value))
        if not places:
            return rng.choice(HOSTILE)
        _change(*rng.choice(places), [holder[key] for holder, key in places], rng)
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the container and the key of every value within JSON values."""
    keys = value.keys() if isinstance(value, dict) else range(min(len(value), 50)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


def _change(holder: Any, key: Any, others: list[Any], rng: random.Random) -> None:
    value, way = holder[key], rng.randrange(8)
    if way == 0:
        del holder[key]
    elif way == 1 and isinstance(value, int | float):
        near = min(max(value, -(10**300)), 10**300)  # a double that holds it, or nearly
        holder[key] = rng.choice((value * 1000, -value, value + 1, value - 1, float(near), str(value), near + 0.5))
    elif way == 2 and isinstance(value, list):
        holder[key] = rng.choice(
            (value[:-1], value[1:], value * 2, value[:1] * 5000, value[::-1], dict(enumerate(map(str, value))))
        )
    elif way == 3:
        holder[key] = copy.deepcopy(rng.choice(others))
    elif way == 4 and isinstance(holder, dict):
        holder[rng.choice(("", "x", "class", "kind", f"{key}_"))] = value
    elif way == 5 and isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), rng.choice((value, rng.choice(HOSTILE))))
    else:
        holder[key] = rng.choice(HOSTILE)
