"""Count the draws of a table that are impossible.

Such are a negative amount, an end before its start, a total that is not the sum, a wrong state of a city, shares that do not
add up, a day or a time that does not exist, a key that is there twice or is a real one.

The table is written as people write such tables, read from the file, and drawn from through the command line.

    python benchmarks/impossible.py --draws 10000
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from records import Record

from genus.cli import main

RECORD = Record(__doc__)
CITIES = {"Reno": "NV", "Elko": "NV", "Utica": "NY", "Troy": "NY", "Salem": "OR", "Bend": "OR", "Provo": "UT"}
FAMILIES = ("naive-bayes", "mixture", "made", "nsf")
DAY, INSTANT, CLOCK = "%d.%m.%Y", "%Y-%m-%d %H:%M:%S", "%H:%M"


def table(rows: int, seed: int = 0) -> pd.DataFrame:
    """Return orders whose columns hang together, with dates, times, numbers and keys as they are often written."""
    rng = np.random.default_rng(seed)
    start = pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(0, 700, rows), "D")
    end = start + pd.to_timedelta(rng.geometric(0.3, rows) - 1, "D")
    sent = pd.Timestamp("2021-01-01 06:00") + pd.to_timedelta(rng.integers(0, 10**7, rows), "s")
    got = sent + pd.to_timedelta(rng.integers(600, 90_000, rows), "s")
    net = rng.lognormal(4, 1.2, rows).round(2)
    tax = (net * rng.choice([0.07, 0.19], rows)).round(2)
    share = rng.dirichlet([4, 2, 1], rows).round(2) * 100
    level = rng.integers(0, 3, rows)
    city = rng.choice([*CITIES], rows)
    return pd.DataFrame(
        {
            "id": rng.permutation(rows) + 1001,
            "order": [f"ORD-{number:07d}" for number in rng.choice(10**7, rows, replace=False)],
            "start": start.strftime(DAY),
            "end": end.strftime(DAY),
            "nights": (end - start).days,
            "sent": sent.strftime(INSTANT),
            "got": got.strftime(INSTANT),
            "opened": pd.to_datetime(rng.normal(0, 2, rows) * 3600 % 86_400, unit="s").strftime(CLOCK),
            "net": net,
            "tax": tax,
            "total": (net + tax).round(2),
            "city": city,
            "state": [CITIES[name] for name in city],
            "food": (100 - share[:, 1] - share[:, 2]).round(0).astype(int),
            "rent": share[:, 1].round(0).astype(int),
            "rest": share[:, 2].round(0).astype(int),
            **{f"is_{i}": (level == i).astype(int) for i in range(3)},
            "visits": rng.negative_binomial(1, 0.2, rows),
            "code": rng.choice([200, 301, 404, 500], rows, p=[0.7, 0.1, 0.15, 0.05]),
        }
    )


def faults(real: pd.DataFrame, drawn: pd.DataFrame) -> dict[str, int]:
    """Return how many of the drawn rows are impossible, by the fault; all columns are texts, as they are written."""
    days, instants, clocks = (
        {name: drawn[name].map(lambda text, form=form: _time(text, form)) for name in names}
        for form, names in ((DAY, ("start", "end")), (INSTANT, ("sent", "got")), (CLOCK, ("opened",)))
    )
    numbers = drawn.drop(columns=["order", "city", "state", *days, *instants, *clocks]).astype(float)
    cents = (numbers[["net", "tax", "total"]] * 100).round()
    flags = numbers[["is_0", "is_1", "is_2"]]
    shares = numbers[["food", "rent", "rest"]]
    amounts = numbers[["net", "tax", "total", "nights", "visits", *shares]]
    gone = {name: column.isna().sum() for name, column in {**days, **instants, **clocks}.items()}
    return {
        "negative amounts": int((amounts < 0).any(axis=1).sum()),
        "ends before starts": int((days["end"] < days["start"]).sum() + (instants["got"] < instants["sent"]).sum()),
        "wrong nights": int(((days["end"] - days["start"]).dt.days != numbers["nights"]).sum()),
        "wrong totals": int((cents["net"] + cents["tax"] != cents["total"]).sum()),
        "wrong states": int((drawn["city"].map(CITIES) != drawn["state"]).sum()),
        "wrong shares": int((shares.sum(axis=1) != 100).sum()),
        "wrong levels": int(((flags.sum(axis=1) != 1) | ~flags.isin([0, 1]).all(axis=1)).sum()),
        "codes between": int((~drawn["code"].isin(real["code"])).sum()),
        "no such day or time": int(sum(gone.values())),
        "more or fewer decimals": int((~drawn["net"].str.fullmatch(r"\d+\.\d\d")).sum()),
        "keys twice": int(drawn["id"].duplicated().sum() + drawn["order"].duplicated().sum()),
        "keys of real rows": int(drawn["id"].isin(real["id"]).sum() + drawn["order"].isin(real["order"]).sum()),
    }


def _time(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)
    except ValueError:
        return None


def run(family: str, rows: int, draws: int, budget: str) -> dict[str, int]:
    """Return the faults among the draws of a family that was fitted to a table of so many rows."""
    with tempfile.TemporaryDirectory() as folder:
        source, model, out = (str(Path(folder) / name) for name in ("orders.csv", "model.genus", "drawn.csv"))
        table(rows).to_csv(source, index=False, float_format="%.2f")
        if main(["fit", source, "--family", family, "--out", model, "--budget", budget, "--seed", "0", "--quiet"]) or main(
            ["sample", model, "-n", str(draws), "--seed", "1", "--out", out, "--quiet"]
        ):
            sys.exit(1)
        real, drawn = (pd.read_csv(path, dtype=str) for path in (source, out))
    return faults(real, drawn)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="*", default=FAMILIES)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--budget", default="20s")
    options = parser.parse_args()
    for name in options.families:
        found = run(name, options.rows, options.draws, options.budget)
        print(f"{name:12}", ", ".join(f"{what} {count}" for what, count in found.items()), flush=True)
        RECORD.row(family=name, rows=options.rows, draws=options.draws, **found)
    RECORD.keep()
