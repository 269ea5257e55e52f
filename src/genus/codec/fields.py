"""Convert the fields of written times (year, month, hour, ...) to days and seconds."""

from __future__ import annotations

import numpy as np

from genus.kinds.time import days_of_months

__all__ = ["PIVOT", "days_of", "seconds_of"]

PIVOT = 69  # two digits from here on are years of the last century, as POSIX has it


def days_of(fields: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return days since 1970, and which exist."""
    year = fields["Y"] if "Y" in fields else fields["y"] + np.where(fields["y"] < PIVOT, 2000, 1900)
    if "V" in fields:
        days = _first_monday(year) + 7 * (fields["V"] - 1) + fields.get("u", np.ones_like(year)) - 1
        return days, (fields["V"] >= 1) & (days < _first_monday(year + 1))
    if "j" in fields:
        first, after = (days_of_months((year + k - 1970) * 12, 1) for k in (0, 1))
        return first + fields["j"] - 1, (fields["j"] >= 1) & (first + fields["j"] <= after)
    month = fields["q"] * 3 - 2 if "q" in fields else fields.get("m", fields.get("b", np.ones_like(year)))
    day = fields.get("d", np.ones_like(year))
    months = (year - 1970) * 12 + month.clip(1, 12) - 1
    first, last = days_of_months(months, 1), days_of_months(months, 31)
    good = (month >= 1) & (month <= 12) & (day >= 1) & (day <= last - first + 1) & (year >= 1)
    return first + day - 1, good


def _first_monday(year: np.ndarray) -> np.ndarray:
    """Return the day since 1970 on which years begin in ISO 8601: the Monday of the week of the fourth of January."""
    fourth = days_of_months((year - 1970) * 12, 1) + 3
    return fourth - (fourth + 3) % 7


def seconds_of(fields: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return seconds since midnight, or of a duration's hours, minutes and seconds; and which exist."""
    zero = np.zeros_like(next(iter(fields.values())))
    hour, minute, second = (fields.get(name, zero) for name in ("H", "M", "S"))
    late = (hour == 24) & (minute == 0) & (second == 0)  # midnight at the end of a day
    good = ((hour <= 23) | late) & (minute <= 59) & (second <= 59)
    if "I" in fields:
        good &= (fields["I"] >= 1) & (fields["I"] <= 12)
        hour = fields["I"] % 12 + 12 * fields.get("p", zero)
    if "E" in fields:
        hour = fields["E"]
    elif not fields.keys() & {"Y", "y", "D"}:
        hour = np.where(late, zero, hour)  # without a day it is the midnight at its beginning
    return hour * 3600 + minute * 60 + second, good
