"""What reading and measuring a table costs, beside pyarrow's own reading and scikit-learn's own fitting.

    python benchmarks/reading.py [--rows 1000000] [--repetitions 3]

Medians of processor time of runs in turns: `genus.read` of a CSV of 15 mixed columns beside `pyarrow.csv.read_csv`; the
estimator of naive Bayes
on rows × 32 float32 reals, fit and `score_samples`, beside `GaussianNB` with five classes; the same estimator on 5 rows of
1,000 and of 10,000 columns, whose ratio is 10 where the cost is linear.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from records import Record
from sklearn.naive_bayes import GaussianNB

import genus
from genus.sklearn import DensityEstimator

RECORD = Record(__doc__, "pyarrow", "scikit-learn")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"genus {genus.__version__}, pyarrow {pa.__version__}, scikit-learn {version('scikit-learn')}")
    rng, n = np.random.default_rng(0), options.rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mixed.csv"
        pa.csv.write_csv(pa.table(columns(rng, n)), path)
        found = medians({"genus.read": lambda: genus.read(path), "pyarrow": lambda: pa.csv.read_csv(path)}, options.repetitions)
        print(f"  {n:,} rows × 15 mixed columns of CSV: {ratio(found, 'genus.read', 'pyarrow')} (3 is asked for)")
        record(f"reading a CSV of {n:,} × 15 mixed columns", found, "genus.read", "pyarrow", "3 times")
    x, y = rng.normal(size=(n, 32)).astype(np.float32), rng.integers(0, 5, n)
    estimator, classifier, peer = DensityEstimator("naive-bayes"), DensityEstimator("naive-bayes"), GaussianNB()
    found = medians({"fit": lambda: estimator.fit(x), "GaussianNB": lambda: peer.fit(x, y)}, options.repetitions)
    print(f"  {n:,} × 32 float32, fit: {ratio(found, 'fit', 'GaussianNB')} (3 is asked for)")
    record(f"naive Bayes fitted to {n:,} × 32 float32", found, "fit", "GaussianNB", "3 times")
    work: dict[str, Callable[[], Any]] = {
        "score_samples": lambda: estimator.score_samples(x),
        "GaussianNB": lambda: peer.predict_joint_log_proba(x),
    }
    found = medians(work, options.repetitions)
    print(f"  the same, scores: {ratio(found, 'score_samples', 'GaussianNB')} (1 is asked for)")
    record("its scores", found, "score_samples", "GaussianNB", "1 times")
    classifier.fit(x, y)
    work["score_samples"] = lambda: classifier.score_samples(x)
    found = medians(work, options.repetitions)
    print(f"  with the classes too: {ratio(found, 'score_samples', 'GaussianNB')}")
    record("its scores with the classes", found, "score_samples", "GaussianNB", "1 times")
    wide = {d: rng.normal(size=(5, d)) for d in (1_000, 10_000)}
    work = {str(d): lambda d=d: DensityEstimator("naive-bayes").fit(wide[d]) for d in wide}  # type: ignore[misc]
    found = medians(work, 1)
    print(f"  5 rows of 10,000 and of 1,000 columns: {ratio(found, '10000', '1000')} (5 s are asked for)")
    record("naive Bayes fitted to 5 rows of 10,000 columns, beside 1,000", found, "10000", "1000", "5 s")
    RECORD.keep()


def columns(rng: np.random.Generator, n: int) -> dict[str, Any]:
    """Return 15 columns: reals of several shapes, whole numbers, prices, texts, dates, booleans, and missing values."""
    missing = rng.random(n) < 0.05
    return {
        "normal": rng.normal(size=n),
        "income": np.exp(rng.normal(10, 1, n)),
        "share": rng.beta(2, 5, n),
        "waiting": rng.exponential(3, n),
        "lacking": pa.array(rng.normal(size=n), mask=missing),
        "age": rng.integers(18, 90, n),
        "count": rng.poisson(30, n),
        "amount": np.where(rng.random(n) < 0.7, 0, rng.integers(1, 50_000, n)),
        "price": np.round(rng.gamma(2, 20, n), 2),
        "level": np.round(rng.normal(20, 5, n), 1),
        "city": rng.choice(["Ulm", "Bonn", "Rome", "Nice", "Graz"], n),
        "code": rng.choice([f"K{i}" for i in range(40)], n),
        "day": (np.datetime64("2015-01-01") + rng.integers(0, 3000, n)).astype("datetime64[D]"),
        "yes": rng.random(n) < 0.3,
        "grade": pa.array(rng.choice(["a", "b", "c"], n), mask=missing),
    }


def medians(work: dict[str, Callable[[], Any]], repetitions: int) -> dict[str, float]:
    """Return the median seconds of processor time of each, run in turns."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repetitions):
        for name, f in work.items():
            start = time.process_time()
            f()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def record(what: str, found: dict[str, float], ours: str, theirs: str, asked: str) -> None:
    """Keep both times and their ratio."""
    times = {"genus_s": found[ours], "peer_s": found[theirs], "ratio": found[ours] / found[theirs]}
    RECORD.row(what=what, peer=theirs, **times, asked=f"at most {asked}")


def ratio(found: dict[str, float], ours: str, theirs: str) -> str:
    """Return both times and their ratio."""
    return f"{ours} {found[ours]:.3f} s / {theirs} {found[theirs]:.3f} s = {found[ours] / found[theirs]:.2f}"


if __name__ == "__main__":
    main()
