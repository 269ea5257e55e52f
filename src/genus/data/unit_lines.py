"""A line of units below the header of a table: [cm], kg, m/s, USD."""

from __future__ import annotations

import re
from collections.abc import Sequence

from genus.codec.notes import Note
from genus.data.cells import MISSING
from genus.data.headers import is_value

__all__ = ["without_units"]

LOOKED_AT = 50  # rows below it, whose values must be such as have units
WORDS = """
m cm mm km um µm μm nm in inch inches ft feet yd mi mile miles g kg mg ug µg μg t lb lbs oz l ml dl cl gal m2 m3 m² m³
cm2 cm3 cm² cm³ km2 km² ha s sec second seconds ms us ns min mins minute minutes h hr hrs hour hours d day days wk week
weeks mo month months y yr yrs year years hz khz mhz ghz v mv kv a ma w kw mw gw kwh mwh gwh wh j kj mj cal kcal pa hpa
kpa mpa bar mbar psi atm mmhg n kn k c f °c °f ℃ ℉ degc degf deg degree degrees ° rad % pct percent ppm ppb usd eur gbp
chf jpy $ € £ ¥ mol mmol umol µmol nmol ph db lux lx lm cd bpm rpm mph kph kmh knots kt kts px unit units iu count
counts no number # - – 1 none unitless dimensionless text string utc local yyyy mm dd hh ss
"""
UNITS = frozenset(WORDS.split())
BRACKETS = r"\s*(\[.{0,20}\]|\(.{0,20}\))\s*"
POWERS = r"\^?[-+]?\d+$|[²³⁻¹]+$"
PARTS = r"\s+per\s+|[\s/*·.:_-]+"


def without_units(lines: Sequence[list[str]]) -> tuple[list[list[str]], list[Note]]:
    """Return the fields of the first lines of a table without a line of units below its header, and a note on that line.

    A line is one of units if the column of some number has a unit in it, no column of numbers or times has anything else but
    nothing, and none of its texts occurs again below.

    >>> without_units([["x", "y"], ["[cm]", "kg"], ["1", "2.5"], ["3", "4"]])
    ([['x', 'y'], ['1', '2.5'], ['3', '4']], ['line 2 holds units, and is skipped: [cm], kg'])
    """
    if len(lines) < 4 or len({len(line) for line in lines[:3]}) > 1:
        return [*lines], []
    names, units, *rows = lines
    rows = [row for row in rows[:LOOKED_AT] if len(row) == len(names)]
    some = False
    for i, unit in enumerate(units):
        below = [text for row in rows if (text := row[i].strip()) not in MISSING]
        of_values = bool(below) and all(map(is_value, below))
        if (of_values and (is_value(names[i]) or not _is_unit(unit))) or (unit.strip() and unit in below):
            return [*lines], []
        some |= of_values and unit.strip() not in ("", "-", "–")
    if not some:
        return [*lines], []
    shown = ", ".join(unit.strip() for unit in units if unit.strip())[:60]
    return [names, *lines[2:]], [Note(f"line 2 holds units, and is skipped: {shown}")]


def _is_unit(text: str) -> bool:
    """Return whether a text is a unit, or empty.

    >>> [_is_unit(text) for text in ("", "[a.u.]", "kg/m^3", "m s-1", "°C", "USD", "absent", "12", "04.12.2023 15:56")]
    [True, True, True, True, True, True, False, False, False]
    """
    text = text.strip()
    if not text or re.fullmatch(BRACKETS, text) or re.fullmatch("[A-Z]{3}", text) or text.lower() in UNITS:
        return True
    if re.fullmatch(r"[\d.,:/-]+", text):
        return False
    parts = [re.sub(POWERS, "", part.strip("()[]")).lower() for part in re.split(PARTS, text) if part]
    return any(parts) and all(part in ("", *UNITS) for part in parts)
