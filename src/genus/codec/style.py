"""Measure the details of how a column's times are written: leading zeros, capitals, digits of seconds, offsets from UTC."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genus.codec.arrow import sample_rows
from genus.codec.writing import UTC, Writing

__all__ = ["refined", "with_offsets"]

STYLED = 2000  # so many values tell how they are written
CHANGES = 2.5  # of the offset from UTC in a year: more are no daylight saving
LONG_AGO = -(2**53)


def refined(writing: Writing, texts: pa.Array) -> Writing:
    """Return a bare template with the flags by which it writes texts, all of them times: zeros, capitals, digits, zones."""
    some = sample_rows(texts, STYLED)
    groups = pc.extract_regex(some, writing.pattern)
    values = {groups.type.field(i).name: pc.struct_field(groups, i) for i in range(groups.type.num_fields)}
    template = writing.template
    single = {letter: _is_unpadded(values[letter]) for letter in "mdHIE" if letter in values}
    loose = any(single.values()) and not any(v is False for v in single.values())
    for letter, unpadded in single.items():
        if unpadded or (unpadded is None and loose):
            blank = bool(pc.any(pc.match_substring_regex(values[letter], r"^ \d$")).as_py())
            template = template.replace(f"%{letter}", f"%{'_' if blank else '-'}{letter}")
    for letter, group in zip("bBaAp", "bbaap", strict=True):
        if group in values:
            template = re.sub(rf"%((?:\(\w\w\))?{letter})", rf"%{_case(values[group])}\1", template)
    if "f" in values:
        template = re.sub(r"%([.,])f", rf"%\g<1>{_digits(values['f'])}f", template)
    refined_writing = Writing(template)
    return with_offsets(refined_writing, texts) if "z" in refined_writing.letters else refined_writing


def _is_unpadded(values: pa.Array) -> bool | None:
    """Return whether numbers have no leading zeros: False where some have, None where none needs any."""
    single = pc.sum(pc.match_substring_regex(values, r"^\s?\d$")).as_py() or 0
    zeros = pc.sum(pc.starts_with(values, "0")).as_py() or 0
    return None if not single and not zeros else single > zeros


def _case(values: pa.Array) -> str:
    first = values[0].as_py() or ""
    letters = "".join(c for c in first if c.isalpha())
    return "^" if letters.isupper() and len(letters) > 1 and letters not in ("AM", "PM") else "#" if letters.islower() else ""


def _digits(values: pa.Array) -> str:
    """Return the flag and the digits of a fraction of seconds: always as many, as many or none, or as many as needed."""
    lengths = {n for n in pc.unique(pc.utf8_length(pc.fill_null(values, ""))).to_pylist() if n is not None}
    if len(lengths) == 1:
        return str(lengths.pop())
    if lengths == {0, max(lengths)} and not pc.any(pc.match_substring_regex(values, "^0+$")).as_py():
        return f"-{max(lengths)}"
    return f"-{max(lengths)}" if max(lengths) == 0 else "-"


def with_offsets(writing: Writing, texts: pa.Array) -> Writing:
    """Return the writing with the offsets from UTC that its texts have, and how these are written."""
    ends = pc.unique(pc.utf8_slice_codeunits(texts, -6))
    found = pc.struct_field(pc.extract_regex(ends, r"(?P<z>[Zz]|[+-]\d{2}:?\d{0,2})$"), 0)
    style = _zone_style(set(found.drop_null().to_pylist()))
    bare = replace(writing, template=writing.template.replace("%z", f"%{style}z"))
    instants, offsets = bare.instants(texts)
    order = np.argsort(instants, kind="stable")
    instants, offsets = instants[order], offsets[order]
    changes = np.flatnonzero(np.diff(offsets, prepend=offsets[:1] + 1))
    years = int(instants[-1] - instants[0]) / 31_556_952 if len(instants) else 0.0
    if writing.has_date and len(changes) <= 1 + CHANGES * (1 + years):
        # Between the two instants, neither of which the file shall hold.
        between = (instants[changes[1:] - 1] + instants[changes[1:]] + 1) // 2
        return replace(
            bare, offsets=((LONG_AGO, int(offsets[0])), *zip(between.tolist(), offsets[changes[1:]].tolist(), strict=True))
        )
    common = int(np.bincount(offsets - offsets.min()).argmax() + offsets.min()) if len(offsets) else 0
    return replace(bare, offsets=UTC if writing.has_date else ((LONG_AGO, common),))


def _zone_style(zones: set[str]) -> str:
    """Return the flags of %z by which these offsets are written."""
    digits = {z for z in zones if z not in ("Z", "z")}
    style = ":" if any(":" in z for z in digits) else "#" if digits and all(len(z) == 3 for z in digits) else ""
    return style + ("^" if digits != zones else "")
