"""The kind of a coordinate that is a date, an instant, a time of day or a duration."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from genus.errors import DataError
from genus.kinds.lattice import EVERYWHERE, Lattice
from genus.kinds.steps import EXACT

__all__ = ["NANOSECONDS", "Time", "convert", "days_of_months", "months_of_days"]

NANOSECONDS = {"D": 86_400 * 10**9, "s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}  # in each unit; a month has no fixed length
CONCEPTS = ("date", "instant", "time of day", "duration")
DAY, WEEK, YEAR = NANOSECONDS["D"], 7 * NANOSECONDS["D"], 31_556_952 * 10**9  # the mean year of the calendar
HEAD = 100  # days that nearly always show that they share no day of the month
WHOLE_DAY = 0.9  # times that cover so much of the day may be any time of it


@dataclass(frozen=True, repr=False)
class Time(Lattice):
    """Describes a coordinate that is a date, an instant, a time of day or a duration, with counting measure.

    x counts units from an origin near the data, so that even nanoseconds are whole numbers that a double holds exactly; low,
    high and step are in this unit. Dates and instants end where the data do, times of day with the day at the latest; only
    durations may be longer than all that were seen, as other amounts may.

    Args:
        low, high, step, atoms, loc, scale, digits: as of a `Lattice`, in units from the origin.
        unit: "M" (months), "D" (days), "s", "ms", "us" or "ns".
        origin: what x = 0 is, in units: since the beginning of 1970, or since midnight; 0 for a duration.
        concept: "date", "instant", "time of day" or "duration".
        day: the day of the month that all values lie on, where the unit is months; in shorter months their last day.

    >>> Time(0, 13, unit="D", origin=19363, concept="date")
    Time(2023-01-06 to 2023-01-19)
    >>> Time(0, 86_340, step=60, unit="s", concept="time of day").text(600)
    '00:10:00'
    """

    UNITS: ClassVar[tuple[str, ...]] = ("M", *NANOSECONDS)

    unit: str = "D"
    origin: int = 0
    concept: str = "date"
    day: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        odd_unit = self.unit not in self.UNITS or (self.unit == "M" and self.concept not in ("date", "instant"))
        if odd_unit or self.concept not in CONCEPTS:
            raise DataError(
                f"Time has a unit of {self.UNITS} and a concept of {CONCEPTS}; got {self.unit!r}, {self.concept!r}."
            )
        if not isinstance(self.origin, int) or not 1 <= self.day <= 31:
            raise DataError(f"Time has a whole origin and a day from 1 to 31; got {self.origin!r} and {self.day!r}.")

    def __repr__(self) -> str:
        step = f", every {self._every()}" if self._every() else ""
        missing = f", {self.blank_text}" if self.has_missing else ""
        return f"Time({self.text(self.low)} to {self.text(self.high)}{step}{missing})"

    def _every(self) -> str:
        """Return the step as a person says it; nothing where it is one day of a date."""
        if self.unit in ("M", "D"):
            noun = {"M": "month", "D": "day"}[self.unit]
            return "" if self.unit == "D" and self.step == 1 else noun if self.step == 1 else f"{self.step:g} {noun}s"
        step = round(self.step) * NANOSECONDS[self.unit]
        longer = {"day": DAY, "hour": DAY // 24, "minute": DAY // 1440, "s": 10**9, "ms": 10**6, "µs": 1000, "ns": 1}
        noun, size = next((noun, size) for noun, size in longer.items() if step % size == 0)
        count = step // size
        plural = "s" if count > 1 and len(noun) > 2 else ""
        return f"{noun}" if count == 1 and len(noun) > 2 else f"{count} {noun}{plural}"

    @property
    def is_rounded(self) -> bool:
        """Return whether finer times are rounded, since a double could not count them over a range as long."""
        return self.unit in ("ms", "us") and (self.high - self.low) * 1000 >= EXACT

    # -- measuring ----------------------------------------------------------------------------------------------------

    @classmethod
    def measure_ticks(cls, ticks: np.ndarray, unit: str, concept: str, missing: bool = False, chart: str = "affine") -> Time:
        """Return the Time of values in whole units: their unit is made as coarse as they are, their step divides all gaps.

        Dates of three months or more that share a day of the month, or are the last of their months, are counted in months.

        Args:
            ticks: (N,) int64, at least one: since 1970 or midnight, or a duration.
            unit: of the ticks, "D" or finer.
            concept: "date", "instant", "time of day" or "duration".
            missing: some values are missing besides.
            chart: "affine"; or "auto", the chart under which the values are likeliest.
        """
        low, high = int(ticks.min()), int(ticks.max())
        day = DAY // NANOSECONDS[unit]
        dated = concept in ("date", "instant")
        if dated and not (ticks % day).any():
            months, of_month = months_of_days(ticks // day)
            if of_month and months.max() - months.min() > 1:
                return cls._measured(months, "M", concept, missing, of_month, chart)
        units = [u for u in NANOSECONDS if NANOSECONDS[u] >= NANOSECONDS[unit] and (dated or u != "D" or unit == "D")]
        chosen = next(u for u in units if not (ticks % (NANOSECONDS[u] // NANOSECONDS[unit])).any())
        while (high - low) * NANOSECONDS[unit] // NANOSECONDS[chosen] >= EXACT:
            chosen = units[units.index(chosen) - 1]
        ratio = NANOSECONDS[chosen] // NANOSECONDS[unit]
        return cls._measured((ticks + ratio // 2) // ratio if ratio > 1 else ticks, chosen, concept, missing, 1, chart)

    @classmethod
    def _measured(cls, ticks: np.ndarray, unit: str, concept: str, missing: bool, day: int, chart: str) -> Time:
        """Return the Time of ticks in the unit chosen for them."""
        low, high = int(ticks.min()), int(ticks.max())
        origin = low if concept in ("date", "instant") else 0
        step = int(np.gcd.reduce(ticks - low)) or 1
        if concept == "time of day":
            whole = DAY // NANOSECONDS[unit]
            if high > low and high - low + step >= WHOLE_DAY * whole:
                low = low % step
                high = low + (whole - 1 - low) // step * step
        bounds = EVERYWHERE if concept == "duration" else (float(low - origin), float(high - origin))
        x = (ticks - origin).astype(np.float64)
        base = Lattice.measure(np.append(x, math.nan) if missing else x, step=float(step), bounds=bounds, chart=chart)
        if base.is_narrow and concept == "time of day":
            base = replace(base, low=bounds[0], high=bounds[1], loc=math.nan, scale=math.nan)
        values: dict[str, Any] = {field.name: getattr(base, field.name) for field in fields(base)}
        return cls(**values, unit=unit, origin=origin, concept=concept, day=day)

    # -- x and ticks --------------------------------------------------------------------------------------------------

    def from_ticks(self, ticks: np.ndarray, unit: str) -> np.ndarray:
        """Return ticks (N,) int64 of a unit as x, float64: not whole where a tick is between this kind's units."""
        if self.unit != "M":
            whole, rest = convert(ticks, unit, self.unit)
            return (whole - self.origin).astype(np.float64) + rest
        whole, rest = convert(ticks, unit, "D")
        months = whole.astype("M8[D]").astype("M8[M]").astype(np.int64)
        off = (whole - days_of_months(months, self.day)) / 31 + rest / 31
        return (months - self.origin).astype(np.float64) + off

    def to_ticks(self, x: np.ndarray, unit: str) -> np.ndarray:
        """Return x (N,), whole numbers, as ticks of a unit, int64: the inverse of `from_ticks`."""
        ticks = np.round(x).astype(np.int64) + self.origin
        if self.unit == "M":
            return convert(days_of_months(ticks, self.day), "D", unit)[0]
        return convert(ticks, self.unit, unit)[0]

    def text(self, x: float) -> str:
        """Return one value as a person writes it: 2023-01-06, 2023-01-06 10:30:00, 10:30:00, 2 days 03:00:00."""
        if not math.isfinite(x):
            return "missing" if math.isnan(x) else f"{x:g}"
        if self.unit == "M":
            return str(days_of_months(np.array([round(x) + self.origin]), self.day).astype("M8[D]")[0])
        tick = round(x) + self.origin
        if self.concept in ("date", "instant"):
            stamp = str(np.array(tick).astype(f"M8[{self.unit}]"))
            return stamp.replace("T", " ") if self.concept == "instant" and self.unit != "D" else stamp
        seconds, rest = divmod(abs(tick) * NANOSECONDS[self.unit], 10**9)
        digits = {"ms": 3, "us": 6, "ns": 9}.get(self.unit, 0)
        fraction = f".{rest:09d}"[: digits + 1] if digits else ""
        clock = f"{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"
        if self.concept == "time of day":
            return clock
        days = seconds // 86_400
        noun = f"{days} day{'' if days == 1 else 's'}"
        return ("-" if tick < 0 else "") + (noun if self.unit == "D" else f"{noun} {clock}" if days else clock)

    def range_text(self, low: float, high: float) -> str:
        """Return a range of values as a person says it: dates from 2023-01-06 to 2023-01-19."""
        noun = {"date": "dates", "instant": "times", "time of day": "times of day", "duration": "durations"}[self.concept]
        return f"{noun} from {self.text(low)} to {self.text(high)}"

    # -- the calendar -------------------------------------------------------------------------------------------------

    @property
    def phases(self) -> tuple[tuple[float, float], ...]:
        """Return (speed, angle) of sinusoids sin(speed * x + angle), with which nets see the phase of year, week and day.

        A period counts where the data span it and their step is fine enough to tell its parts.
        """
        if self.concept == "duration":
            return ()
        if self.unit == "M":
            own, step, span = 1, round(self.step), round(self.high - self.low)
            periods: list[tuple[int, int]] = [(12, 2)] if span >= 12 and step < 6 else []
        else:
            own = NANOSECONDS[self.unit]
            step, span = round(self.step) * own, round(self.high - self.low) * own
            dated = self.concept != "time of day"
            periods = [(YEAR, 2)] if dated and span >= 365 * DAY and step <= YEAR // 4 else []
            periods += [(WEEK, 3)] if dated and span >= 2 * WEEK and step <= WEEK // 2 and step % WEEK else []
            periods += [(DAY, 2)] if step <= DAY // 3 and span >= DAY // 2 else []
        found = []
        for period, harmonics in periods:
            for k in range(1, harmonics + 1):
                start = 2 * math.pi * (self.origin * own * k % period) / period
                speed = 2 * math.pi * k * own / period
                found += [(speed, start), (speed, start + math.pi / 2)]
        return tuple(found)


def convert(ticks: np.ndarray, unit: str, other: str) -> tuple[np.ndarray, np.ndarray | float]:
    """Return ticks of a unit as whole ticks of another, and the share of a tick that is left over.

    >>> convert(np.array([90_000]), "s", "D")
    (array([1]), array([0.04166667]))
    """
    own, target = NANOSECONDS[unit], NANOSECONDS[other]
    if own >= target:
        return ticks * (own // target), 0.0
    whole, rest = np.divmod(ticks, target // own)
    return whole, rest / (target // own)


def months_of_days(days: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the months since 1970 of days since 1970, and the day of the month that all share; no months and 0 without one.

    A month that is too short for the day has it at its end, so 31 is the last day of every month.

    >>> months_of_days(np.array(["2020-01-31", "2020-02-29"], dtype="M8[D]").astype(np.int64))
    (array([600, 601]), 31)
    """
    if len(days) > HEAD and not months_of_days(days[:HEAD])[1]:
        return np.empty(0, dtype=np.int64), 0
    months = days.astype("M8[D]").astype("M8[M]").astype(np.int64)
    day = int((days - days_of_months(months, 1)).max()) + 1
    if np.array_equal(days_of_months(months, 31), days):
        return months, 31  # the last day of each, though it may be the 28th or the 30th
    return (months, day) if np.array_equal(days_of_months(months, day), days) else (np.empty(0, dtype=np.int64), 0)


def days_of_months(months: np.ndarray, day: int) -> np.ndarray:
    """Return the days since 1970 of this day of each month since 1970, or of its last day where it has fewer."""
    least, most = (int(months.min()), int(months.max())) if len(months) else (0, 0)
    if most - least < len(months):  # each month once
        return _days_of_months(np.arange(least, most + 1), day)[months - least]
    return _days_of_months(months, day)


def _days_of_months(months: np.ndarray, day: int) -> np.ndarray:
    first, after = (m.astype("M8[M]").astype("M8[D]").astype(np.int64) for m in (months, months + 1))
    return first + np.minimum(day, after - first) - 1
