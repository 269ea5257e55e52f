"""Guess from a text's appearance the templates by which it may be a date, a time or a duration."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from genus.codec.names import MONTHS, WEEKDAYS, to_english

__all__ = ["MOSTLY", "candidates", "looks_like_time", "templates_of"]

MOSTLY = 0.9  # of the values, which make a column one of times: the others are faults
BUILDS = 16  # in a sample of one column

_MON = "|".join([*MONTHS, *(name[:3] for name in MONTHS)])
_FULL = re.compile("|".join(name for name in MONTHS if name != "May"), re.I)
_DAY = "|".join([*WEEKDAYS, *(name[:3] for name in WEEKDAYS)])
_WEEKDAY = re.compile(rf"(?:{_DAY})(\.?,? )", re.I)
_CLOCK = re.compile(
    r"(?P<H>\d{1,2})(?P<c>[:.hH])(?P<M>\d{2})(?:(?P=c)(?P<S>\d{2})(?P<f>[.,]\d{1,9})?)?(?P<p>\s?[AaPp]\.?[Mm]\.?)?"
    r"(?P<word>\s?(?:Uhr|hrs?|h)\b)?"
    r"(?P<z>\s?(?:[Zz]|[+-]\d{2}(?::?\d{2})?))?(?P<name>\s[A-Z]{3,4})?$"
)
_HOUR = re.compile(r"(?P<H>\d{1,2})(?P<p>\s?[AaPp]\.?[Mm]\.?)$")
_COMPACT = re.compile(r"(?P<H>\d{2})(?P<M>\d{2})(?:(?P<S>\d{2}))?(?P<f>[.,]\d{1,9})?(?P<z>[Zz]|[+-]\d{2}:?\d{2})?$")
_DURATION = re.compile(
    r"(?:(?P<D>[+-]?\d{1,9}) (?P<noun>days?)(?P<gap>,? ?))?(?P<H>[+-]?\d{1,9}):(?P<M>\d{2})(?::(?P<S>\d{2})(?P<f>\.\d{1,9})?)?$"
)
_UNITS = re.compile(
    r"(?:(?P<D>\d{1,9})(?P<d> ?d)(?P<gap> ?))?(?P<H>\d{1,9})(?P<h> ?(?:hrs?|h|Std\.?))(?P<apart>,? ?)"
    r"(?P<M>\d{1,2})(?P<m> ?(?:mins?|m|Min\.?))(?:(?P<more>,? ?)(?P<S>\d{1,2})(?P<s> ?(?:secs?|s)))?$"
)
_ISO = re.compile(r"-?P(?=.*\d)(\d{1,9}W)?(\d{1,9}D)?(T(\d{1,9}H)?(\d{1,9}M)?(\d{1,9}([.,]\d{1,9})?S)?)?$")

_ORDINAL = re.compile(r"\b(\d{1,2})(?:st|nd|rd|th|er)\b", re.I)

# Dates, with the separators {0} and {1} of their groups, and the templates that they may be written by.
_DATES = [
    (re.compile(r"\d{4}([-/. ])\d{1,2}\1\d{1,2}"), ("%Y{0}%m{0}%d",)),
    (re.compile(r"\d{1,2}([-/. ])\d{1,2}\1\d{4}"), ("%d{0}%m{0}%Y", "%m{0}%d{0}%Y")),
    (re.compile(r"\d{1,2}([-/])\d{1,2}\1\d{2}"), ("%d{0}%m{0}%y", "%m{0}%d{0}%y", "%y{0}%m{0}%d")),
    (re.compile(r"\d{1,2}(\.)\d{1,2}\1\d{2}"), ("%d{0}%m{0}%y",)),
    (re.compile(r"(?:19|20)\d{6}"), ("%Y%m%d",)),
    (re.compile(r"\d{4}(-)\d{2}"), ("%Y{0}%m",)),
    (re.compile(r"\d{2}(/)\d{4}"), ("%m{0}%Y",)),
    (re.compile(r"\d{4}([- ]?)Q[1-4]"), ("%Y{0}Q%q",)),
    (re.compile(r"\d{4}(-?)W\d{2}(-?)[1-7]"), ("%Y{0}W%V{1}%u",)),
    (re.compile(r"\d{4}([-/ ]?)W\d{2}"), ("%Y{0}W%V",)),
    (re.compile(r"W\d{2}([-/ ])\d{4}"), ("W%V{0}%Y",)),
    (re.compile(r"Q[1-4]([-/ ]?)\d{4}"), ("Q%q{0}%Y",)),
    (re.compile(r"[1-4]Q([-/ ]?)\d{4}"), ("%qQ{0}%Y",)),
    (re.compile(r"[1-4]Q([-/ ']?)\d{2}"), ("%qQ{0}%y",)),
    (re.compile(r"\d{4}年\d{1,2}月\d{1,2}日"), ("%Y年%m月%d日",)),
    (re.compile(rf"\d{{1,2}}([-/ .]*| de )(?:{_MON})(\.?,?[-/ ]*| de | del )\d{{4}}", re.I), ("%d{0}%b{1}%Y",)),
    (re.compile(rf"\d{{1,2}}([-/ ])(?:{_MON})(\.?,?[-/ ])\d{{2}}", re.I), ("%d{0}%b{1}%y",)),
    (re.compile(rf"(?:{_MON})(\.?[-/ ]*)\d{{1,2}}(,? ?|[-/])\d{{4}}", re.I), ("%b{0}%d{1}%Y",)),
    (re.compile(rf"\d{{4}}([-/ ]?)(?:{_MON})([-/ ]?)\d{{1,2}}", re.I), ("%Y{0}%b{1}%d",)),
    (re.compile(rf"(?:{_MON})(\.?,?[-/ ]+)\d{{4}}", re.I), ("%b{0}%Y",)),
    (re.compile(rf"(?:{_MON})(-)\d{{2}}", re.I), ("%b{0}%y",)),
]


def looks_like_time(texts: Sequence[str]) -> bool:
    """Return whether most texts of a sample look like dates, times or durations.

    >>> looks_like_time(["17/10/2022", "7/1/2014"]), looks_like_time(["3.14", "12"])
    (True, False)
    """
    present = [text for text in texts if text]
    if all(text.isdigit() for text in present):  # numbers, which may be dates as well
        return False
    hits = sum(bool(candidates(text)) for text in _in_english(present)[0])
    return hits > 0 and hits >= MOSTLY * len(present)


def templates_of(sample: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the templates by which the texts of a sample may be written, a group for each build, the most frequent first.

    None are returned where more than a tenth of the texts are no times.

    >>> templates_of(["17/10/2022", "7/1/2014 "[:-1]])
    [('%d/%m/%Y', '%m/%d/%Y')]
    """
    sample = [*sample]
    texts, language, ordinal = _in_english(sample)
    first = [sample[i] for i in (0, len(sample) // 2, -1)] if sample else []
    if not any(map(candidates, _in_english(first)[0])):
        return []
    found = Counter(candidates(text) for text in texts)
    others = [text for text, plain in zip(sample, texts, strict=True) if not candidates(plain)]
    none = found.pop((), 0)
    more: list[tuple[str, ...]] = []
    if 0 < none < len(sample):  # months of two languages
        second = _in_english(others)[1]
        more = templates_of(others) if second != language else []
        none = 0 if more else none
    if none > (1 - MOSTLY) * len(sample) or len(found) > BUILDS:
        return []
    groups = _merged(_padded([group for group, _ in found.most_common()]))
    return [*(tuple(_marked(template, language, ordinal) for template in group) for group in groups), *more]


def _in_english(sample: Sequence[str]) -> tuple[list[str], str, bool]:
    """Return a sample with the names of English and without signs of ordinals, its language, and whether it has these."""
    language, texts = to_english(sample)
    plain = [_ORDINAL.sub(r"\1", text) for text in texts]
    ordinal = plain != texts
    return plain, language, ordinal


def _marked(template: str, language: str, ordinal: bool) -> str:
    """Return a template with the language of its names, and with signs of ordinals after days."""
    mark = f"({language})" if language else ""
    template = re.sub(r"%([bBaA])", rf"%{mark}\1", template)
    return template.replace("%d", f"%d%{mark}o") if ordinal else template


def _padded(groups: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return groups with zeros before minutes and seconds where some have them: 12 has none to show."""
    padded = [
        letter for letter in "MS" if any(re.search(rf"%-?[EH].*%{letter}\s?[a-z]", t, re.I) for group in groups for t in group)
    ]
    for letter in padded:
        groups = [tuple(t.replace(f"%-{letter}", f"%{letter}") for t in group) for group in groups]
    return list(dict.fromkeys(groups))


def _merged(groups: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return groups of templates without those that another group reads as well."""
    every = {t for group in groups for t in group}
    groups = [_with_days(group, every) for group in groups]
    groups = list(dict.fromkeys(groups))
    fractions = {re.sub(r"%[.,]f", "", t) for group in groups for t in group if re.search(r"%[.,]f", t)}
    durations = any("%E" in t or "G" in t for group in groups for t in group)
    kept = []
    for group in groups:
        if all(t in fractions for t in group):
            continue  # the same without a fraction, which is read too
        if all("%b" in t and t.replace("%b", "%B") in every for t in group):
            continue  # May, among months in full
        if durations and all(re.fullmatch(r"%H:%M(:%S(%\.f)?)?", t) for t in group):
            continue  # below 24 hours
        kept.append(group)
    return kept


def _with_days(group: tuple[str, ...], every: set[str]) -> tuple[str, ...]:
    """Return a group's durations with days that are left out where there are none, if some values leave them out."""
    some = any("%D day " in t for t in every) or any(t.startswith(("%E", "%H:%M")) for t in every)
    return tuple(re.sub(r"%D days? ?%\+H", "%-G%H", t) if some else t for t in group)


def candidates(text: str) -> tuple[str, ...]:
    """Return the templates, without flags for zeros or capitals, that fit a text; none where it is no time."""
    if not 3 <= len(text) <= 44 or not any(c.isdigit() for c in text):
        return ()
    if text[0] == "[" and text[-1] == "]":  # as web servers log them
        return tuple(f"[{template}]" for template in candidates(text[1:-1]))
    clock = _clock(text)
    if clock:
        return (clock,)
    if _ISO.match(text):
        return ("%P",)
    if duration := _DURATION.match(text):
        return _duration_templates(duration)
    if duration := _UNITS.match(text):
        return (_template_of_units(duration.groupdict("")),)
    weekday = _WEEKDAY.match(text)
    before = f"%{'A' if weekday.start(1) > 3 else 'a'}{weekday[1]}" if weekday else ""
    rest = text[weekday.end() :] if weekday else text
    for pattern, templates in _DATES:
        found = pattern.match(rest)
        if found is None:
            continue
        after = _after_date(rest[found.end() :])
        if after is not None:
            separators = [*found.groups(), "", ""]
            return tuple(before + _named(t, rest).format(*separators) + after for t in templates)
    return ()


def _named(template: str, text: str) -> str:
    """Return %B for %b where a month is written in full."""
    return template.replace("%b", "%B") if "%b" in template and _FULL.search(text) else template


def _after_date(rest: str) -> str | None:
    """Return the template of what follows a date: nothing, or a time of day; None where it is neither."""
    if not rest:
        return ""
    gap = re.match(r"[Tt]|, ?| +|:", rest)
    if gap is None:
        compact = _COMPACT.match(rest)
        return None if compact is None else _clock_template(compact, "")
    if clock := _clock(rest[gap.end() :]):
        return gap[0] + clock
    compact = _COMPACT.match(rest, gap.end())
    return gap[0] + _clock_template(compact, "") if compact is not None and gap[0] in "Tt " else None


def _clock(text: str) -> str | None:
    """Return the bare template of a time of day, perhaps with a zone; None where it is none."""
    if (hour := _HOUR.match(text)) is not None and 1 <= int(hour["H"]) <= 12:
        return "%I" + (" " if hour["p"][0].isspace() else "") + "%p"
    found = _CLOCK.match(text)
    if found is None or (found["c"] == "." and not (found["p"] or found["word"])):
        return None
    if int(found["H"]) > 23 or int(found["M"]) > 59 or int(found["S"] or 0) > 59:
        return None
    return _clock_template(found, found["c"])


def _clock_template(found: re.Match[str], colon: str) -> str:
    parts = found.groupdict()
    half = parts.get("p") or ""
    out = ("%I" if half else "%H") + f"{colon}%M" + (f"{colon}%S" if parts["S"] else "")
    out += f"%{parts['f'][0]}f" if parts["f"] else ""
    out += (" " if half[:1].isspace() else "") + "%p" if half else ""
    zone = parts["z"] or ""
    out += (" " if zone[:1].isspace() else "") + "%z" if zone else ""
    return out + (parts.get("word") or "") + (parts.get("name") or "")


def _duration_templates(found: re.Match[str]) -> tuple[str, ...]:
    clock = "%M" + (":%S" if found["S"] else "") + ("%.f" if found["f"] else "")
    if found["D"] is None:
        return (f"%E:{clock}",)
    if found["gap"].startswith(","):
        return (f"%G%H:{clock}",)
    return (f"%D {found['noun']}{found['gap']}%+H:{clock}",)


def _template_of_units(found: Mapping[str, str]) -> str:
    """Return the template of a duration such as 2h 15m, without zeros before minutes unless it has one."""
    zero = {name: "" if found[name].startswith("0") and len(found[name]) == 2 else "-" for name in "MS"}
    template = f"%D{found['d']}{found['gap']}%-H" if found["D"] else "%-E"
    template += f"{found['h']}{found['apart']}%{zero['M']}M{found['m']}"
    return template + (f"{found['more']}%{zero['S']}S{found['s']}" if found["S"] else "")
