"""Whether `genus evaluate` puts the tables of other generators in the same order by different rows of them.

    python -P benchmarks/generators.py --draw tables/    # where arfpy, mostlyai-engine or imbalanced-learn is installed
    python benchmarks/generators.py tables/              # where genus is

Generators learn 10,000 training rows of Adult with their own defaults (mostlyai-engine for three minutes) and draw 16,000 each,
those of them that are installed: arfpy needs numpy 1. SMOTE's new rows, of both incomes as often as they are, lie between a row
and one of its neighbours. With -P none takes a file beside this one for a package. `genus.evaluate` then judges 1,000, 2,000,
4,000 and 8,000 random rows of each beside Adult's test rows, by three choices of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ADULT = Path(__file__).resolve().parents[2] / "shared/data/tables/adult-train.csv"
TRAINED, DRAWN, TARGET = 10_000, 16_000, "income"
SIZES, CHOICES = (1000, 2000, 4000, 8000), 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the tables that generators drew")
    parser.add_argument("--draw", action="store_true", help="make the tables")
    parser.add_argument("--data", type=Path, default=ADULT)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.draw:
        draw(options.data, options.folder)
    else:
        judge(options.data, options.folder)


def draw(data: Path, folder: Path) -> None:
    """Write the training rows, and the rows of each generator that is not there yet."""
    train = pd.read_csv(data).sample(TRAINED, random_state=0).reset_index(drop=True)
    train.to_csv(folder / "train.csv", index=False)
    for generator, package in ((smote, "imblearn"), (arf, "arfpy"), (mostlyai, "mostlyai")):
        path = folder / f"{generator.__name__}.csv"
        if not path.exists() and importlib.util.find_spec(package):
            generator(train.copy(), folder).to_csv(path, index=False)
            print(f"{path}: {DRAWN:,} rows", flush=True)


def smote(train: pd.DataFrame, folder: Path) -> pd.DataFrame:
    from imblearn.over_sampling import SMOTENC

    levels = [name for name in train if not pd.api.types.is_numeric_dtype(train[name]) and name != TARGET]
    counts = train[TARGET].value_counts()
    wanted = {level: n + round(DRAWN * n / TRAINED) for level, n in counts.items()}
    x, y = SMOTENC(levels, sampling_strategy=wanted, random_state=0).fit_resample(train.drop(columns=TARGET), train[TARGET])
    return x.assign(**{TARGET: y})[list(train)].iloc[TRAINED:].sample(DRAWN, random_state=0)


def arf(train: pd.DataFrame, folder: Path) -> pd.DataFrame:
    from arfpy import arf as package

    np.random.seed(0)  # noqa: NPY002 - what the package draws from
    levels = [name for name in train if not pd.api.types.is_numeric_dtype(train[name])]
    forest = package.arf(train.astype(dict.fromkeys(levels, object)), random_state=0)
    forest.forde()
    return forest.forge(DRAWN)


def mostlyai(train: pd.DataFrame, folder: Path) -> pd.DataFrame:
    from mostlyai import engine

    engine.set_random_state(0)
    where = {"workspace_dir": folder / "engine"}
    engine.split(train, model_type="TABULAR", **where)
    engine.analyze(**where)
    engine.encode(**where)
    engine.train(max_training_time=3.0, device="cpu", **where)
    engine.generate(sample_size=DRAWN, device="cpu", **where)
    return pd.read_parquet(folder / "engine" / "SyntheticData")


def judge(data: Path, folder: Path) -> None:
    """Print the order of the tables by each number of rows and choice of them, and how often the orders agree."""
    from records import Record

    import genus

    RECORD = Record(__doc__)
    test = data.with_name(data.name.replace("train", "test"))
    tables = {path.stem: pd.read_csv(path) for path in sorted(folder.glob("*.csv")) if path.stem != "train"}
    real = genus.read(folder / "train.csv", target=TARGET, relations=False)
    print(f"genus {genus.__version__}; {', '.join(tables)}; {len(real):,} training rows")
    for rows in SIZES:
        orders: list[tuple[Any, ...]] = []
        for seed in range(CHOICES):
            some = {name: table.sample(rows, random_state=seed) for name, table in tables.items()}
            report = genus.evaluate(real, test, some)
            orders.append(tuple(place.row.family for place in report.ranking()))
            metrics = {row.family: row.metrics for row in report.rows}
            told = {name: f"{metrics[name].get('c2st', float('nan')):.3f}" for name in tables}
            named = {row.family: [one.test for one in row.findings] for row in report.rows}
            print(f"  {rows:,} rows, choice {seed}: {' < '.join(orders[-1])}; two-sample AUC {told}; {named}", flush=True)
        same = sum(one == max(orders, key=orders.count) for one in orders)
        print(f"{rows:,} rows: the same order in {same} of {CHOICES} choices", flush=True)
        RECORD.row(rows=rows, order=" < ".join(max(orders, key=orders.count)), same_order=same, of=CHOICES)
    RECORD.keep(range(CHOICES))


if __name__ == "__main__":
    sys.exit(main())
