"""Dates, times of day, instants and durations: however they are written, on their lattice, with their season."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from conftest import SHARED

import genus
from genus import Category, Lattice, Real, Space, Time, read
from genus.codec import Codec
from genus.codec.names import names
from genus.codec.writing import Writing
from genus.data import Dataset
from genus.errors import DataError
from genus.kinds import kind_from_json

CASES = SHARED.parent / "cases"
PARIS = ZoneInfo("Europe/Paris")

_random = random.Random(0)
STAMPS = [
    dt.datetime(2013, 2, 3) + dt.timedelta(seconds=_random.randrange(10**8), microseconds=_random.randrange(10**6))
    for _ in range(200)
]


def shown(template: str) -> Callable[[dt.datetime], str]:
    """Return what writes an instant by a template of Python's strftime."""
    return lambda stamp: stamp.strftime(template)


def offset(stamp: dt.datetime, zone: dt.tzinfo, digits: str = "seconds") -> str:
    """Return an instant as ISO 8601 has it in a zone."""
    return stamp.replace(tzinfo=dt.UTC).astimezone(zone).isoformat(timespec=digits)


WRITINGS: dict[str, Callable[[dt.datetime], Any]] = {
    "day-month-year": shown("%d-%m-%Y"),
    "day/month/year": shown("%d/%m/%Y"),
    "month/day/year, no zeros": shown("%-m/%-d/%Y"),
    "year-month-day, no zeros": shown("%Y-%-m-%-d"),
    "dots and a clock": shown("%d.%m.%Y %H:%M"),
    "blanks": shown("%d %m %Y"),
    "half days": shown("%Y/%m/%d %I:%M:%S %p"),
    "half days, no zeros": lambda t: t.strftime("%-m/%-d/%Y %-I:%M%p").lower(),
    "eight digits": shown("%Y%m%d"),
    "eight digits as a number": lambda t: int(t.strftime("%Y%m%d")),
    "fourteen digits": shown("%Y%m%d%H%M%S"),
    "fourteen digits as a number": lambda t: int(t.strftime("%Y%m%d%H%M%S")),
    "twelve digits": shown("%Y%m%d%H%M"),
    "week of ISO": shown("%G-W%V"),
    "weekday of a week of ISO": shown("%G-W%V-%u"),
    "month name first": shown("%b %d %Y"),
    "month name within": shown("%d %B %Y"),
    "month name, comma": shown("%B %-d, %Y"),
    "month name, capitals": lambda t: t.strftime("%d-%b-%Y").upper(),
    "month name, joined": shown("%d%b%Y"),
    "weekday": shown("%A, %B %d, %Y"),
    "two digits of the year": shown("%m/%d/%y"),
    "two digits behind a name": shown("%d-%b-%y"),
    "year and month": shown("%Y-%m"),
    "month and year": shown("%b %Y"),
    "quarter": lambda t: f"{t.year}Q{(t.month + 2) // 3}",
    "Japanese": shown("%Y年%m月%d日"),
    "ISO": lambda t: t.isoformat(timespec="seconds"),
    "ISO, milliseconds": lambda t: t.isoformat(timespec="milliseconds"),
    "ISO, microseconds": lambda t: t.isoformat(" "),
    "ISO, nanoseconds": lambda t: t.replace(year=2014, month=2 + t.month % 3, day=1 + t.day % 28).isoformat(" ") + "417",
    "ISO, fraction left out": lambda t: t.replace(microsecond=0).isoformat() if t.second % 2 else t.isoformat(),
    "ISO, comma": lambda t: t.isoformat(" ", "milliseconds").replace(".", ","),
    "ISO, basic": shown("%Y%m%dT%H%M%SZ"),
    "ISO, minutes": shown("%Y-%m-%dT%H:%M"),
    "UTC": lambda t: t.isoformat(timespec="seconds") + "Z",
    "offset": lambda t: t.isoformat(timespec="seconds") + "+02:00",
    "short offset": lambda t: t.isoformat(" ") + "-05",
    "daylight saving": lambda t: offset(t, PARIS),
    "name of a zone": shown("%Y-%m-%d %H:%M CET"),
    "e-mail": shown("%a, %d %b %Y %H:%M:%S +0000"),
    "log of a server": shown("%d/%b/%Y:%H:%M:%S -0700"),
    "time of day": shown("%H:%M"),
    "time of day, seconds": shown("%H:%M:%S"),
    "time of day, milliseconds": lambda t: t.time().isoformat("milliseconds"),
    "time of day, halves": shown("%-I:%M %p"),
    "duration of pandas": lambda t: f"{t.day % 5} days {t:%H:%M:%S}",
    "negative duration of pandas": lambda t: f"{t.day % 5 - 2} days {'+' if t.day % 5 < 2 else ''}{t:%H:%M:%S}",
    "duration of Python": lambda t: str(dt.timedelta(days=t.day % 3, hours=t.hour, minutes=t.minute, seconds=t.second)),
    "duration beyond a day": lambda t: f"{t.day * 3}:{t:%M:%S}",
    "ISO duration": lambda t: f"P{t.day}DT{1 + t.hour % 20}H",
    "duration with units": lambda t: f"{t.day * 3}h {t.minute}m",
    "duration with units, zeros": lambda t: f"{t.hour} h {t.minute:02d} min {t.second:02d} s",
    "duration with days": lambda t: f"{t.day}d {t.hour}h {t.minute}m",
    "German": lambda t: f"{t.day}. {month('B', 'de', t)} {t.year}",
    "German, short": lambda t: f"{t.day:02d}. {month('b', 'de', t)} {t.year} {t:%H:%M} Uhr",
    "German, weekday": lambda t: f"{names('a', 'de')[t.weekday()]}, {t:%d.%m.%Y}",
    "French": lambda t: f"{t.day}{'er' if t.day == 1 else ''} {month('B', 'fr', t).lower()} {t.year}",
    "French, short": lambda t: f"{t.day} {month('b', 'fr', t).lower()} {t.year}",
    "French, weekday": lambda t: f"{names('A', 'fr')[t.weekday()].lower()} {t.day} {month('B', 'fr', t).lower()} {t.year}",
    "Spanish": lambda t: f"{t.day} de {month('B', 'es', t).lower()} de {t.year}",
    "Italian": lambda t: f"{t.day} {month('B', 'it', t).lower()} {t.year}",
    "Portuguese": lambda t: f"{t.day} de {month('B', 'pt', t).lower()} de {t.year}",
    "Dutch": lambda t: f"{t.day} {month('b', 'nl', t).lower()} {t.year}",
    "ordinals": lambda t: (
        t.strftime("%B %-d")
        + {1: "st", 21: "st", 31: "st", 2: "nd", 22: "nd", 3: "rd", 23: "rd"}.get(t.day, "th")
        + f", {t.year}"
    ),
    "two digits after points": lambda t: f"{t.day}.{t.month}.{t:%y}",
    "log of a server, brackets": shown("[%d/%b/%Y:%H:%M:%S +0000]"),
    "quarter first": lambda t: f"Q{(t.month + 2) // 3} {t.year}",
    "quarter, short": lambda t: f"{(t.month + 2) // 3}Q{t:%y}",
    "week after a slash": shown("%G/W%V"),
    "time of day, h": shown("%-Hh%M"),
    "time of day, point": lambda t: t.strftime("%-I.%M%p").lower(),
    "time of day, Uhr": shown("%H.%M Uhr"),
    "hours of halves": lambda t: t.strftime("%-I%p").lower(),
    "day of the year": lambda t: int(t.strftime("%Y%j")),
    "month as a number": lambda t: int(t.strftime("%Y%m")),
    "time of day as a number": lambda t: int(t.strftime("%H%M")),
    "time of day in four digits": shown("%H%M"),
}


def month(letter: str, language: str, stamp: dt.datetime) -> str:
    """Return the name of an instant's month."""
    return names(letter, language)[stamp.month - 1]


@pytest.mark.parametrize("name", WRITINGS)
def test_times_come_back_as_they_were_written(name: str, tmp_path: Path) -> None:
    texts = [WRITINGS[name](stamp) for stamp in STAMPS]
    kept = [text if i % 9 else None for i, text in enumerate(texts)] if isinstance(texts[0], str) else texts
    data = read({"t": kept, "v": list(range(7)) * 28 + [0] * 4})
    assert isinstance(data.space.kinds[0], Time)
    assert data.decode(data.x)["t"] == kept
    assert torch.equal(data.codec.encode(data.decode(data.x)), data.x) or data.space.has_missing
    path = tmp_path / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["t", "v"], *([text, i % 5] for i, text in enumerate(texts))])
    data = read(path)
    back = data.decode(data.x).column("t")
    assert [str(value).removesuffix("000") for value in back.cast(pa.string()).to_pylist()] == [
        str(text).removesuffix("000") for text in texts
    ]
    assert Codec.from_json(data.space, json.loads(json.dumps(data.codec.to_json()))).decode(data.x).equals(data.decode(data.x))


@pytest.mark.parametrize(
    "values",
    [
        ["hello world", "12 monkeys"],
        ["1.2.3", "3.11.7"],
        ["10.0.0.1", "192.168.0.1"],
        ["555-1234", "555-2345"],
        ["02-33-44-55", "12-22-33-44"],
        ["16:9", "4:3"],
        [12_345_678, 23_456_789],
        [20_231_301, 20_230_101],  # a thirteenth month
        ["31/02/2020", "30/02/2020"],
        [201_900, 201_913],  # months that do not exist
        [100, 300],
        ["7.29", "8.30"],
        ["12h", "24h"],
    ],
    ids=str,
)
def test_what_is_no_time_is_left_as_it_is(values: list[Any]) -> None:
    data = read({"a": values * 5, "b": list(range(10))})
    assert not isinstance(data.space.kinds[0], Time)


def test_numbers_that_count_since_1970_are_times_where_their_name_says_so(tmp_path: Path) -> None:
    seconds = 1_577_836_800 + 7_919 * np.arange(90)
    for name, values, kind in (("created_at", seconds, Time), ("ts", seconds * 1000 + 5, Time), ("amount", seconds, Lattice)):
        data = read({name: values.tolist(), "v": [0, 1, 2] * 30})
        assert type(data.space.kinds[0]) is kind
        assert data.decode(data.x)[name] == values.tolist()


def test_numbers_whose_last_digits_look_like_minutes_stay_numbers() -> None:
    rng = np.random.default_rng(0)
    for values in (
        1960 + rng.integers(0, 59, 200),
        100 * rng.integers(1, 20, 200),
        rng.integers(0, 60, 200),
        rng.integers(0, 2400, 200),
    ):
        assert type(read({"a": values.tolist(), "b": [*range(2)] * 100}).space.kinds[0]) is Lattice


# -- day and month --------------------------------------------------------------------------------------------------------


def test_all_rows_decide_the_order_of_day_and_month() -> None:
    early = ["01/02/2020", "03/04/2020", "02/03/2021"]
    days = read({"d": [*early, "13/01/2020"]})
    months = read({"d": [*early, "01/13/2020"]})
    assert (days.codec.form.writings[0].template, months.codec.form.writings[0].template) == ("%d/%m/%Y", "%m/%d/%Y")
    assert days.notes == months.notes == ()


def test_an_order_that_no_row_decides_is_said_and_can_be_given() -> None:
    texts = ["05/02/2020", "03/04/2020", "02/03/2020"]
    data = read({"d": texts})
    assert data.codec.form.writings[0].template == "%m/%d/%Y"
    assert "'d' is read as '%m/%d/%Y'" in data.notes[0]
    assert "kinds={'d': '%d/%m/%Y'} reads it so" in data.notes[0]
    data = read({"d": texts}, kinds={"d": "%d/%m/%Y"})
    assert data.decode(data.x)["d"] == texts
    assert str(data.codec).endswith("dates from 2020-02-05 to 2020-04-03")
    beside = read({"d": texts, "e": ["25/12/2020", "24/12/2020", "01/01/2020"]})
    assert beside.codec.form.writings[0].template == "%d/%m/%Y"
    ascending = read({"d": ["10/11/2020", "05/12/2020", "03/01/2021"]})
    assert ascending.codec.form.writings[0].template == "%d/%m/%Y"


def test_two_ways_of_writing_in_a_column_are_read_and_said() -> None:
    data = read({"d": ["2020-01-05", "2020-01-06 10:00:00", "2020-01-07"] * 4})
    assert "times written as" in data.notes[0]
    assert data.decode(data.x[:1])["d"] == ["2020-01-05 00:00:00"]


def test_a_few_texts_that_are_no_days_are_faults_and_words_for_missing_are_missing() -> None:
    texts = [f"{day:02d}.01.2020" for day in range(1, 29)]
    with pytest.raises(DataError, match=r"'d' holds 28 times but also 1 other texts \('31\.02\.2020' in row 28\)"):
        read({"d": [*texts, "31.02.2020"]})
    assert isinstance(read({"d": [*texts, "31.02.2020"]}, kinds={"d": "category"}).space.kinds[0], Category)
    data = read({"d": [*texts, "NaT", ""]})
    assert data.decode(data.x)["d"] == [*texts, None, None]


def test_what_the_caller_says_of_a_column_holds() -> None:
    numbers = {"d": [20_200_101, 20_210_203, 20_220_304]}
    assert isinstance(read(numbers).space.kinds[0], Time)
    assert isinstance(read(numbers, kinds={"d": "lattice"}).space.kinds[0], Lattice)
    assert not isinstance(read(numbers, kinds={"d": "lattice"}).space.kinds[0], Time)
    with pytest.raises(DataError, match="'d' holds int64 such as 3; it cannot be read as times"):
        read({"d": [3, 4, 5]}, kinds={"d": "time"})
    with pytest.raises(DataError, match=r"'d' holds '2020-01-01' in row 0.*which '%d/%m/%Y' does not write"):
        read({"d": ["2020-01-01", "2020-01-02"]}, kinds={"d": "%d/%m/%Y"})
    with pytest.raises(DataError, match="has no year"):
        read({"d": ["01.02.", "02.02."]}, kinds={"d": "%d.%m."})


# -- the lattice ----------------------------------------------------------------------------------------------------------


def kind_of(values: Any) -> Time:
    """Return the kind of a column of NumPy's or Arrow's times."""
    kind = read({"t": values}).space.kinds[0]
    assert isinstance(kind, Time)
    return kind


def test_a_lattice_has_the_units_and_the_step_of_the_data() -> None:
    day = np.datetime64("2020-01-01")
    assert (kind_of(day + np.arange(0, 900, 2)).step, kind_of(day + np.arange(0, 900, 2)).unit) == (2.0, "D")
    hours = day.astype("M8[us]") + np.arange(500).astype("m8[h]")
    assert (kind_of(hours).unit, kind_of(hours).step) == ("s", 3600.0)
    months = np.arange("2010-01", "2013-06", dtype="M8[M]")
    assert (kind_of(months).unit, kind_of(months).size) == ("M", 41)
    ends = kind_of((months + 1).astype("M8[D]") - 1)
    assert (ends.unit, ends.day) == ("M", 31)
    assert [ends.text(x) for x in (0, 1, 2)] == ["2010-01-31", "2010-02-28", "2010-03-31"]


def test_dates_end_where_the_data_do_and_times_of_day_with_the_day() -> None:
    rng = np.random.default_rng(0)
    seen = np.datetime64("2012-03-05") + rng.integers(0, 1200, 800)
    kind = kind_of(seen)
    assert (kind.text(kind.low), kind.text(kind.high)) == (str(seen.min()), str(seen.max()))
    clock = kind_of(pa.array(rng.integers(60, 86_000, 500), pa.int32()).cast(pa.time32("s")))
    assert (clock.text(clock.low), clock.text(clock.high)) == ("00:00:00", "23:59:59")
    office = kind_of(pa.array(rng.integers(9 * 60, 17 * 60, 500) * 60, pa.int32()).cast(pa.time32("s")))
    assert office.text(office.low) >= "09:00:00"
    assert office.text(office.high) < "17:00:00"


def test_nanoseconds_are_exact_or_their_rounding_is_said() -> None:
    rng = np.random.default_rng(0)
    start = np.datetime64("2023-03-01T00:00:00.000000001")
    weeks = start + rng.integers(0, 10**15, 300).astype("m8[ns]")
    data = read({"t": weeks})
    assert np.array_equal(data.decode(data.x)["t"], weeks)
    years = start + rng.integers(0, 10**17, 300).astype("m8[ns]")
    data = read({"t": years})
    assert "'t' is rounded to us" in data.notes[0]
    assert np.abs(data.decode(data.x)["t"] - years).max() < np.timedelta64(1, "us")
    assert torch.equal(data.codec.encode({"t": years}), data.x)


def test_a_kind_of_times_is_json_and_is_checked() -> None:
    kind = Time(0, 40, unit="M", origin=480, concept="date", day=31, atoms=(float("nan"),))
    assert repr(kind_from_json(json.loads(json.dumps(kind.to_json())))) == repr(kind)
    for wrong in ({"unit": "weeks"}, {"concept": "era"}, {"origin": 0.5}, {"day": 0}, {"unit": "M", "concept": "duration"}):
        with pytest.raises(DataError, match="Time has"):
            Time(0, 40, **wrong)  # type: ignore[arg-type]
    for template in ("%d.%m", "%Q", "soon", "%Y %Y"):
        with pytest.raises(DataError, match="way of writing"):
            Writing(template)


@pytest.mark.parametrize("freq", ["M", "Q", "Y", "W", "D", "h"])
def test_periods_of_pandas_come_back(freq: str) -> None:
    frame = pd.DataFrame({"p": pd.period_range("2015-01", periods=60, freq=freq)})
    data = read(frame)
    assert data.decode(data.x).equals(frame)


def test_frames_with_zones_and_durations_come_back() -> None:
    rng = np.random.default_rng(0)
    stamps = np.datetime64("2020-01-01", "us") + rng.integers(0, 10**14, 90).astype("m8[us]")
    frame = pl.DataFrame(
        {
            "zone": pl.Series(stamps).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"),
            "length": pl.Series(rng.integers(-(10**6), 10**6, 90)).cast(pl.Duration("ms")),
            "clock": [dt.time(int(i) // 60, int(i) % 60) for i in rng.integers(0, 1440, 90)],
            "text": pl.Series(stamps.astype("M8[D]").astype(str)).str.replace_all("-", "/"),
        }
    )
    data = read(frame)
    assert all(isinstance(kind, Time) for kind in data.space.kinds)
    assert data.decode(data.x).equals(frame)
    listed = {"t": [stamp.replace(tzinfo=dt.UTC) for stamp in STAMPS]}
    assert read(listed).decode(read(listed).x) == listed


# -- models ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["naive-bayes", "made", "nsf", "mixture", "vae"])
def test_draws_are_days_within_what_was_seen_written_so_and_can_be_scored(family: str) -> None:
    rng = np.random.default_rng(0)
    days = [(dt.date(2019, 1, 5) + dt.timedelta(days=int(i))).strftime("%d-%m-%Y") for i in rng.integers(0, 1500, 120)]
    clock = [f"{i // 60:02d}:{i % 60:02d}" for i in rng.integers(0, 1440, 120).tolist()]
    data = read({"day": days, "clock": clock, "v": rng.normal(size=120)})
    model = genus.build(family, data.space, seed=0)
    genus.fit(model, data, progress=False, **({} if family == "naive-bayes" else {"max_steps": 3}))
    drawn = data.decode(model.sample(200, seed=0))
    seen = [dt.datetime.strptime(day, "%d-%m-%Y") for day in days]
    assert all(min(seen) <= dt.datetime.strptime(day, "%d-%m-%Y") <= max(seen) for day in drawn["day"])
    assert all(len(time) == 5 and dt.time.fromisoformat(time) for time in drawn["clock"])
    again = data.codec.encode(drawn)
    assert bool((model.elbo(again) if family in ("nsf", "vae") else model.log_prob(again)).isfinite().all())


def test_times_have_charts_so_that_nights_stay_nights() -> None:
    minutes = np.random.default_rng(0).normal(0, 90, 400).round().astype(int) % 1440
    data = read({"login": [f"{m // 60:02d}:{m % 60:02d}" for m in minutes], "v": [0, 1] * 200})
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, progress=False)
    hours = np.array([int(text[:2]) for text in data.decode(model.sample(1000, seed=0))["login"]])
    assert ((hours >= 8) & (hours < 16)).mean() < 0.02  # with an affine chart a third
    truth = math.log(90 * math.sqrt(2 * math.pi * math.e)) + math.log(2)
    assert -model.log_prob(data.x).mean() < truth + 0.25
    assert read({"login": ["10:00", "11:30", "12:15"] * 9}, chart="affine").space.kinds[0].chart.form == "affine"


def test_nets_see_the_calendar_as_far_as_it_has_a_meaning() -> None:
    def periods(kind: Time) -> set[float]:
        unit = {"D": 1.0, "s": 1 / 86_400, "M": 365.2425 / 12}[kind.unit]
        return {round(2 * np.pi * unit / speed, 2) for speed, _ in kind.phases}

    daily = Time(0, 800, unit="D", origin=15_340, concept="date")
    assert periods(daily) == {365.24, 182.62, 7.0, 3.5, 2.33}
    assert periods(Time(0, 100, unit="D")) == {7.0, 3.5, 2.33}
    assert periods(Time(0, 700, step=7, unit="D")) == {365.24, 182.62}
    assert periods(Time(0, 86_340, step=60, unit="s", concept="time of day")) == {1.0, 0.5}
    assert periods(Time(0, 40, unit="M")) == {365.24, 182.62}
    assert periods(Time(0, 10**6, unit="s", concept="duration")) == set()
    space = Space([Real(), daily])
    mondays = torch.tensor([[0.0, 6.0], [0.0, 13.0]])  # the phases of the week are equal
    features = space.features(mondays)
    assert features.shape == (2, space.feature_dim) == (2, 12)
    assert torch.allclose(features[0, 6:], features[1, 6:], atol=1e-4)
    assert not torch.allclose(features[0, 2:6], features[1, 2:6], atol=1e-2)


def seasonal(years: int = 2) -> tuple[Dataset, np.ndarray, np.ndarray]:
    """Return years of daily temperatures whose season is 8 degrees up and down, with the day behind the temperature."""
    days = np.datetime64("2012-01-01") + np.arange(365 * years)
    rng = np.random.default_rng(0)
    warm = 15 - 8 * np.cos(2 * np.pi * np.arange(len(days)) / 365.25) + rng.normal(0, 2, len(days))
    return read({"temp": warm, "day": days}), days, warm


@pytest.mark.parametrize(
    ("family", "hyper"), [("made", {"hidden": (64,), "components": 3}), ("nsf", {"transforms": 1, "hidden": (32,)})]
)
def test_a_seasonal_column_keeps_its_season(family: str, hyper: dict[str, Any]) -> None:
    data, days, warm = seasonal()
    model = genus.build(family, data.space, seed=0, **hyper)
    genus.fit(model, data, max_steps=120, learning_rate=5e-3, batch_size=256, validation=None, seed=0, progress=False)
    drawn = data.decode(model.sample(3000, seed=1))
    for month in (1, 4, 7, 10):
        real = warm[days.astype("M8[M]").astype(int) % 12 + 1 == month].mean()
        ours = drawn["temp"][drawn["day"].astype("M8[M]").astype(int) % 12 + 1 == month].mean()
        assert abs(real - ours) < 1, month


# -- the shared cases -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "column", "template"),
    [
        ("time-of-day/clock.csv", "t", "%H:%M"),
        ("time-of-day/clock.csv", "ts", "%H:%M:%S"),
        ("milliseconds/log.csv", "when", "%Y-%m-%d %H:%M:%S.%f"),
        ("other-date-writings/ddmmyyyy.csv", "joined", "%d-%m-%Y"),
        ("other-date-writings/slashes.csv", "joined", "%Y/%m/%d %H:%M:%S"),
    ],
)
def test_shared_cases_are_drawn_as_they_are_written(file: str, column: str, template: str) -> None:
    path = CASES / file
    if not path.is_file():
        pytest.skip("there are no shared cases")
    with path.open(newline="", encoding="utf-8") as rows:
        texts = [row[column] for row in csv.DictReader(rows)]
    data = read(path)
    assert data.decode(data.x).column(column).cast(pa.string()).to_pylist() == texts
    model = genus.build("naive-bayes", data.space)
    genus.fit(model, data, progress=False)
    drawn = data.decode(model.sample(500, seed=0))
    stamps = [dt.datetime.strptime(text, template) for text in drawn.column(column).cast(pa.string()).to_pylist()]
    seen = [dt.datetime.strptime(text, template) for text in texts]
    assert {len(str(text)) for text in drawn.column(column).cast(pa.string()).to_pylist()} == set(map(len, texts))
    if not file.startswith("time-of-day"):
        assert min(seen) <= min(stamps) <= max(stamps) <= max(seen)
    assert bool(model.log_prob(data.codec.encode(drawn)).isfinite().all())


def test_many_repeated_times_are_read_as_few_are() -> None:
    few = ["03/01/2024", None, "31/12/2023", "30/02/2024"]
    texts = pa.array(few * 15_000, pa.string())
    writing = Writing("%d/%m/%Y")
    assert writing.parse(texts).to_pylist() == writing.parse(pa.array(few)).to_pylist() * 15_000


def test_a_number_of_many_digits_is_no_hour() -> None:
    clock = [f"{i % 5}:{i % 60:02}" for i in range(40)]
    for odd in ("9999999999999999999924:30", "12:30:01.99999999999999999999", "P9999999999999999999924D"):
        with pytest.raises(DataError, match="40 times but also 1 other text"):
            genus.read({"a": [*clock, odd]})
