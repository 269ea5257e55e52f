"""Ways of writing times: text to Arrow's types of time and back, by templates like those of strftime."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.arrow import from_ticks, sample_rows, ticks_of
from genus.codec.durations import format_iso, parse_iso
from genus.codec.fields import days_of, seconds_of
from genus.codec.names import LANGUAGES, names
from genus.codec.scan import scan
from genus.errors import DataError
from genus.kinds.time import NANOSECONDS

__all__ = ["UTC", "Writing"]

TOKEN = re.compile(r"%(?:(?P<point>[.,])(?P<few>-?)(?P<digits>\d?)f|(?P<flag>[-+_^#:]*)"
                   r"(?:\((?P<language>[a-z]{2})\))?(?P<letter>[YymdjbBaAoqVuHIMSspzDEGP%]))")  # fmt: skip
ISO_DURATION = "%P"
SINCE = {"%s": "s", "%:s": "ms"}
EXCEL, BEFORE_1970 = "%#s", 25_569  # days as spreadsheets count them, of which so many come before 1970
UTC = ((0, 0), (0, 0))  # offsets of times that are counted, and written, in UTC
MANY = 50_000  # texts of which each different one is read once, where a few thousand show that they repeat


@dataclass(frozen=True)
class Writing:
    """Describes how the times of a column are written, and reads and writes them so.

    Templates are those of strftime: %Y %y %m %d %j %b %B %a %A %H %I %M %S %p %z, and %q for quarters; %V is the week and %u
    the weekday of ISO 8601, whose year is then %Y; %s counts seconds since 1970, %:s milliseconds, and
    %#s alone days as spreadsheets do. %(de)B is the name in
    German; there are also fr, es, it, pt and nl. %o is st, nd, rd or th after a day, %(fr)o er after the first. Further: %.3f
    for a point and three digits of seconds, %.-6f for six digits that are left out where they are zero, %.-f for as many as
    needed; %-d for a number without leading zeros, %_d with a blank in its place; %^b for JUN and %#b for jun; %:z for +02:00,
    %^z with Z for zero, %#z for +02. Durations have %D for days, %E for hours beyond 24, %G for "1 day, " unless zero (%-G
    without the comma), %+H for an hour with a plus after negative days, or are %P: ISO 8601.

    Args:
        template: the template.
        offsets: pairs of an instant in seconds since 1970 and the offset from UTC in seconds that is written from then on; by
            them %z is written. With one pair all times are counted in its own local time, with several in UTC.
        dtype: Arrow's name of the type of the texts, or of the whole numbers that stand for them.

    >>> writing = Writing("%d-%m-%Y")
    >>> writing.parse(pa.array(["17-10-2022", "soon"])).to_pylist()
    [datetime.date(2022, 10, 17), None]
    >>> writing.format(pa.array([19282], pa.date32())).to_pylist()
    ['17-10-2022']
    """

    template: str
    offsets: tuple[tuple[int, int], ...] = ()
    dtype: str = "string"

    def __post_init__(self) -> None:
        object.__setattr__(self, "template", self.template.replace(".%f", "%.6f").replace(",%f", "%,6f"))
        object.__setattr__(self, "offsets", tuple((int(start), int(offset)) for start, offset in self.offsets))
        letters = [token["letter"] or "f" for token in TOKEN.finditer(self.template) if token["letter"] != "%"]
        rest = TOKEN.sub("", self.template)
        twice = [letter for letter in letters if letters.count(letter) > 1]
        known = set(letters) & set("YymjbBqHIMDEPs")
        tongues = {token["language"] for token in TOKEN.finditer(self.template)} - {None, *LANGUAGES}
        if "%" in rest or not known or twice or tongues:
            fault = f"has {twice[0]!r} twice" if twice else "has an unknown %" if "%" in rest else "names no time"
            raise DataError(f"The way of writing {self.template!r} {fault}; expected one such as '%d/%m/%Y %H:%M'.")
        if self.has_date and not set(letters) & {"Y", "y", "s"}:
            raise DataError(f"The way of writing {self.template!r} has no year; expected %Y or %y in it.")

    # -- facts ----------------------------------------------------------------------------------------------------------

    @cached_property
    def letters(self) -> frozenset[str]:
        """Return the letters of the template's tokens; f for a fraction of seconds."""
        return frozenset(token["letter"] or "f" for token in TOKEN.finditer(self.template))

    @property
    def has_date(self) -> bool:
        """Return whether there is a date in it."""
        return bool(self.letters & set("Yymdjbqs"))

    @property
    def has_clock(self) -> bool:
        """Return whether there is a time of day in it."""
        return bool(self.letters & set("HIs")) and self.template != EXCEL

    @property
    def is_duration(self) -> bool:
        """Return whether it is one of durations."""
        return bool(self.letters & set("DEGP"))

    def type_for(self, digits: int) -> pa.DataType:
        """Return Arrow's type of times written so, with so many digits of the seconds' fraction."""
        unit = "s" if digits == 0 else "ms" if digits <= 3 else "us" if digits <= 6 else "ns"
        if self.is_duration:
            return pa.duration(unit)
        if self.has_date and not self.has_clock:
            return pa.date32()
        if self.has_date:
            return pa.timestamp(unit, "UTC" if len(self.offsets) > 1 else None)
        return pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)

    # -- reading --------------------------------------------------------------------------------------------------------

    @cached_property
    def pattern(self) -> str:
        """Return the regular expression that matches a time, with a group for each token; it reads leniently."""
        out, at = [], 0
        for token in TOKEN.finditer(self.template):
            out.append(_literal(self.template[at : token.start()]))
            at = token.end()
            letter = token["letter"] or "f"
            before = token.start() > 0 and bool(TOKEN.search(self.template[: token.start()]))
            out.append(_group(letter, self._is_beside_digits(token, before), token["language"] or "", token["flag"] or ""))
        return "^" + "".join(out) + _literal(self.template[at:]) + "$"

    def _is_beside_digits(self, token: re.Match[str], before: bool) -> bool:
        """Return whether another token touches this one, so that only its width tells where it ends."""
        after = TOKEN.match(self.template, token.end())
        touching = before and any(t.end() == token.start() and t["letter"] in NUMERIC for t in TOKEN.finditer(self.template))
        return touching or (after is not None and after["letter"] is not None and after["letter"] in NUMERIC)

    def parse(self, values: pa.Array) -> pa.Array:
        """Return texts (N,) as times; null where a text is missing or is no time that is written so, or no day there is."""
        if self.template == ISO_DURATION:
            return parse_iso(values)
        texts = values.cast(pa.large_string())
        if self.template in (*SINCE, EXCEL):
            whole = pc.if_else(pc.match_substring_regex(texts, r"^-?\d{1,18}$"), texts, pa.scalar(None, texts.type))
            if self.template == EXCEL:
                return pc.subtract(whole.cast(pa.int64()), BEFORE_1970).cast(pa.int32()).cast(pa.date32())
            return whole.cast(pa.int64()).cast(pa.timestamp(SINCE[self.template]))
        if len(texts) > MANY and _repeat(texts):
            encoded = texts.dictionary_encode()
            return self.parse(encoded.dictionary).take(encoded.indices)
        groups = scan(self.pattern, texts)
        digits = max(int(groups.digits), self._digits)
        kind = self.type_for(digits)
        ticks, good = self._ticks(groups.fields, str(kind.unit) if not pa.types.is_date(kind) else "D")
        null = ~(good & groups.matched)
        return from_ticks(np.where(null, 0, ticks), kind, null)

    def instants(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Return the instants (M,) of texts with a zone, in seconds since 1970, and their offsets from UTC in seconds."""
        groups = scan(self.pattern, texts.cast(pa.large_string()))
        ticks, good = replace(self, offsets=UTC)._ticks(groups.fields, "s")
        good &= groups.matched
        return ticks[good], groups.fields["z"][good]

    @cached_property
    def _digits(self) -> int:
        found = next((t for t in TOKEN.finditer(self.template) if t["point"]), None)
        return 0 if found is None else int(found["digits"] or 0)

    def _ticks(self, fields: dict[str, np.ndarray], unit: str) -> tuple[np.ndarray, np.ndarray]:
        """Return numbers of the groups as ticks of a unit, and which rows are times that exist."""
        rows = len(next(iter(fields.values())))
        good = np.ones(rows, dtype=bool)
        ticks = np.zeros(rows, dtype=np.int64)
        if self.has_date:
            days, good = days_of(fields)
            ticks = days * (NANOSECONDS["D"] // NANOSECONDS[unit])
        if unit != "D":
            seconds, fine = seconds_of(fields)
            good &= fine
            ticks = ticks + seconds * (NANOSECONDS["s"] // NANOSECONDS[unit])
            if "f" in fields:
                ticks = ticks + fields["f"] // NANOSECONDS[unit]
            if "z" in fields:
                base = self.offsets[0][1] if len(self.offsets) == 1 else 0
                ticks = ticks + (base - fields["z"]) * (NANOSECONDS["s"] // NANOSECONDS[unit])
            if "sign" in fields:
                ticks = np.where(fields["sign"] < 0, -ticks, ticks)
            if "D" in fields:
                ticks = ticks + fields["D"] * (NANOSECONDS["D"] // NANOSECONDS[unit])
        return ticks, good

    # -- writing --------------------------------------------------------------------------------------------------------

    def format(self, values: pa.Array) -> pa.Array:
        """Return times (N,) of one of Arrow's types as texts; the inverse of `parse`."""
        if self.template == ISO_DURATION:
            return format_iso(values)
        if self.template == EXCEL:
            return pc.add(values.cast(pa.int32()), BEFORE_1970).cast(pa.string())
        if self.template in SINCE:
            return values.cast(pa.timestamp(SINCE[self.template])).cast(pa.int64()).cast(pa.string())
        unit = "D" if pa.types.is_date32(values.type) else "ms" if pa.types.is_date(values.type) else str(values.type.unit)
        null = np.asarray(pc.is_null(values))
        ticks = np.asarray(pc.fill_null(ticks_of(values), 0))
        parts = _Parts(ticks, unit, self)
        out: list[Any] = []
        at = 0
        for token in TOKEN.finditer(self.template):
            out += [self.template[at : token.start()]] * (token.start() > at)
            out.append(parts.text(token))
            at = token.end()
        out += [self.template[at:]] * (at < len(self.template))
        arrays = [pa.repeat(pa.scalar(part, pa.string()), len(ticks)) if isinstance(part, str) else part for part in out]
        text = pc.binary_join_element_wise(*arrays, pa.scalar("", pa.string()))
        return pc.if_else(pa.array(null), pa.scalar(None, pa.string()), text)

    def to_json(self) -> dict[str, Any]:
        """Return the writing as JSON values; `Writing(**values)` is the inverse."""
        return {"template": self.template, "offsets": [list(pair) for pair in self.offsets], "dtype": self.dtype}


NUMERIC = set("YymdjqVuHIMSDE")


def _literal(text: str) -> str:
    """Return the pattern of a template's text between its tokens; any blanks match any others."""
    return "".join(r"\s+" if part.isspace() else re.escape(part) for part in re.split(r"(\s+)", text) if part)


def _group(letter: str, narrow: bool, language: str, flag: str) -> str:
    """Return the pattern of a token; `narrow`: its full width is needed to tell it from its neighbours."""
    words = "|".join(map(re.escape, names(letter, language))) if letter in "bBaA" else ""
    sixty = r"\d{1,2}" if "-" in flag else r"\d{2}"
    two = r"\d{2}" if narrow else r"[\s+]?\d{1,2}"
    return {
        "Y": r"(?P<Y>\d{4})",
        "y": r"(?P<y>\d{2})",
        "j": r"(?P<j>\d{3})",
        "o": r"(?i:st|nd|rd|th|er)?",
        "q": r"(?P<q>[1-4])",
        "V": r"(?P<V>\d{2})",
        "u": r"(?P<u>[1-7])",
        "M": rf"(?P<M>{sixty})",
        "S": rf"(?P<S>{sixty})",
        "f": r"(?:[.,](?P<f>\d{1,9}))?",
        "b": rf"(?P<b>(?i:{words}))",
        "B": rf"(?P<b>(?i:{words}))",
        "a": rf"(?P<a>(?i:{words}))",
        "A": rf"(?P<a>(?i:{words}))",
        "p": r"(?P<p>(?i:[ap]\.?m\.?))",
        "z": r"(?P<z>(?i:Z)|[+-]\d{2}(?::?\d{2})?)",
        "D": r"(?P<D>[+-]?\d{1,9})",
        "E": r"(?P<sign>[+-]?)(?P<E>\d{1,9})",
        "G": r"(?:(?P<D>-?\d{1,9}) days?,? ?)?",
        "%": "%",
    }.get(letter, rf"(?P<{letter}>{two})")


def _repeat(texts: pa.Array) -> bool:
    """Return whether at most half of some texts, from all over, are different."""
    part = sample_rows(texts, MANY // 10)
    return bool(pc.count_distinct(part).as_py() <= len(part) // 2)


class _Parts:
    """Hold times as years, months, ..., and give the text of each token for all of them."""

    def __init__(self, ticks: np.ndarray, unit: str, writing: Writing) -> None:
        self.letters = writing.letters
        if len(writing.offsets) > 1:
            starts, offsets = np.array(writing.offsets, dtype=np.int64).T
            place = np.searchsorted(starts, ticks // (NANOSECONDS["s"] // NANOSECONDS[unit]), side="right") - 1
            self.offset = offsets[place.clip(0)]
            ticks = ticks + self.offset * (NANOSECONDS["s"] // NANOSECONDS[unit])
        else:
            self.offset = np.full(len(ticks), writing.offsets[0][1] if writing.offsets else 0)
        self.negative = (ticks < 0) & bool(self.letters & {"E"})
        ticks = np.where(self.negative, -ticks, ticks)
        self.days, rest = np.divmod(ticks, NANOSECONDS["D"] // NANOSECONDS[unit])
        self.seconds, fraction = np.divmod(rest, max(1, NANOSECONDS["s"] // NANOSECONDS[unit]))
        if unit == "D":
            self.seconds, fraction = np.zeros_like(ticks), np.zeros_like(ticks)
        self.fraction = fraction * min(NANOSECONDS[unit], 10**9)  # nanoseconds

    def text(self, token: re.Match[str]) -> pa.Array:
        """Return the texts (N,) of one token."""
        if token["point"]:
            return self._fraction(token["point"], bool(token["few"]), int(token["digits"] or 9), not token["digits"])
        letter, flag = token["letter"], token["flag"]
        if letter in "bBaA":
            index = self._month() - 1 if letter in "bB" else (self.days + 3) % 7
            return pa.array([_styled(name, flag) for name in names(letter, token["language"])]).take(pa.array(index))
        if letter == "o":
            return pa.array(_ordinals(token["language"])).take(pa.array(self._day_of_month()))
        if letter == "p":
            return pa.array([_styled(t, flag) for t in ("AM", "PM")]).take(pa.array(self.seconds // 43_200))
        if letter == "z":
            return self._zone(flag)
        if letter == "G":
            unique, inverse = np.unique(self.days, return_inverse=True)
            comma = "" if flag else ","
            texts = ["" if d == 0 else f"{d} day{'' if abs(d) == 1 else 's'}{comma} " for d in unique.tolist()]
            return pa.array(texts, pa.string()).take(pa.array(inverse))
        return self._number(letter, flag)

    def _month(self) -> np.ndarray:
        return self.days.astype("M8[D]").astype("M8[M]").astype(np.int64) % 12 + 1

    def _day_of_month(self) -> np.ndarray:
        stamps = self.days.astype("M8[D]")
        return (stamps - stamps.astype("M8[M]").astype("M8[D]")).astype(np.int64) + 1

    def _week(self) -> np.ndarray:
        thursday = self.days - (self.days + 3) % 7 + 3
        return (thursday - thursday.astype("M8[D]").astype("M8[Y]").astype("M8[D]").astype(np.int64)) // 7 + 1

    def _number(self, letter: str, flag: str) -> pa.Array:
        stamps = self.days.astype("M8[D]")
        if letter in "Yy":
            thursday = (self.days - (self.days + 3) % 7 + 3).astype("M8[D]")  # its year is that of the week
            year = (thursday if "V" in self.letters else stamps).astype("M8[Y]").astype(np.int64) + 1970
            return _padded(year if letter == "Y" else year % 100, flag, 4 if letter == "Y" else 2)
        if letter == "d":
            return _padded(self._day_of_month(), flag)
        if letter == "j":
            return _padded((stamps - stamps.astype("M8[Y]").astype("M8[D]")).astype(np.int64) + 1, flag, 3)
        if letter == "E":
            text = _padded(self.days * 24 + self.seconds // 3600, flag)
            sign = pa.array(["", "-"]).take(pa.array(self.negative.astype(np.int64)))
            return pc.binary_join_element_wise(sign, text, pa.scalar("", pa.string()))
        number = {
            "V": self._week, "u": lambda: (self.days + 3) % 7 + 1,
            "m": self._month, "q": lambda: (self._month() + 2) // 3, "D": lambda: self.days,
            "H": lambda: self.seconds // 3600, "I": lambda: (self.seconds // 3600 + 11) % 12 + 1,
            "M": lambda: self.seconds // 60 % 60, "S": lambda: self.seconds % 60,
        }[letter]()  # fmt: skip
        text = _padded(number, "-" if letter in "quD" else flag)
        if "+" not in flag:
            return text
        return pc.binary_join_element_wise(pa.array(["", "+"]).take(pa.array((self.days < 0).astype(np.int64))), text, "")

    def _fraction(self, point: str, few: bool, digits: int, shortest: bool) -> pa.Array:
        text = pc.utf8_lpad(pa.array(self.fraction // 10 ** (9 - digits)).cast(pa.string()), digits, "0")
        text = pc.utf8_rtrim(text, "0") if shortest else text
        whole = pc.binary_join_element_wise(pa.repeat(pa.scalar(point), len(text)), text, pa.scalar("", pa.string()))
        nothing = pa.array(self.fraction // 10 ** (9 - digits) == 0)
        return pc.if_else(nothing, "", whole) if few or shortest else whole

    def _zone(self, flag: str) -> pa.Array:
        unique, inverse = np.unique(self.offset, return_inverse=True)
        texts = []
        for offset in unique.tolist():
            hours, minutes = divmod(abs(offset) // 60, 60)
            colon = "" if not flag else ":"
            short = "#" in flag and minutes == 0
            text = f"{'-' if offset < 0 else '+'}{hours:02d}" + ("" if short else f"{colon}{minutes:02d}")
            texts.append("Z" if "^" in flag and offset == 0 else text)
        return pa.array(texts, pa.string()).take(pa.array(inverse))


def _ordinals(language: str | None) -> list[str]:
    """Return what stands after a day of the month, by the day."""
    if language == "fr":
        return ["", "er", *[""] * 30]
    return ["th" if day % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th") for day in range(32)]


def _styled(name: str, flag: str) -> str:
    return name.upper() if "^" in flag else name.lower() if "#" in flag else name


def _padded(number: np.ndarray, flag: str, width: int = 2) -> pa.Array:
    """Return whole numbers as texts with leading zeros, or blanks, or as they are."""
    pad = "" if "-" in flag else " " if "_" in flag else "0"
    low, high = (int(number.min()), int(number.max())) if len(number) else (0, 0)
    if low >= 0 and high < 10**4:
        table = pa.array([str(i).rjust(width, pad) if pad else str(i) for i in range(high + 1)])
        return table.take(pa.array(number))
    text = pa.array(number).cast(pa.string())
    return pc.utf8_lpad(text, width, pad) if pad else text
