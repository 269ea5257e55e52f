"""Odd rows among usual ones: `score_samples` of families beside scikit-learn's detectors of anomalies.

    python benchmarks/anomaly.py [--families maf,nsf,mixture] [--seconds 60] [--seeds 5] [--folds 5] [--processor]
        [--sets breast-cancer,wine,magic] [--data ../shared/data]

Three labelled sets: scikit-learn's breast-cancer (malignant among benign) and wine (the third cultivar among the others), and
Magic (hadrons among gammas, 2,000 of either). Every method is fitted on 70 % of the usual rows and scores the other 30 % and
all odd ones; the figure is the area under the curve of telling these apart, mean and standard deviation over the splits. Labels
serve for nothing but this figure. genus: `DensityEstimator` with defaults on the columns as they are. The detectors have
scikit-learn's defaults, on standardised columns. With `--folds` a family is the mean of as many models, each stopped by a fold
of its own, and `stack` is all the others together; `--processor` counts processor time, for a busy machine. It exits with an
error where a flow's mean is below the best detector's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from records import Record
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import genus
from genus.sklearn import DensityEstimator

RECORD = Record(__doc__, "scikit-learn")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default="maf,nsf,mixture")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--processor", action="store_true")
    parser.add_argument("--sets", default="breast-cancer")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    if options.processor:
        time.perf_counter = time.process_time  # type: ignore[assignment]
    flows = options.families.split(",")
    single = [name for name in flows if name != "stack"]

    def estimator(name: str, seed: int) -> DensityEstimator:
        common = {"kinds": "real", "max_seconds": options.seconds, "random_state": seed}
        if name != "stack" and options.folds == 1:
            return DensityEstimator(name, **common)
        return DensityEstimator("stack", members=single if name == "stack" else [name], folds=options.folds, **common)

    methods: dict[str, Callable[[int], Any]] = {
        f"genus {name}": lambda seed, name=name: estimator(name, seed)  # type: ignore[misc]
        for name in flows
    }
    methods["IsolationForest"] = lambda seed: make_pipeline(StandardScaler(), IsolationForest(random_state=seed))
    methods["LocalOutlierFactor"] = lambda seed: make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True))
    print(f"genus {genus.__version__}, scikit-learn {version('scikit-learn')}, torch {torch.__version__}")
    failed = [text for name in options.sets.split(",") if (text := measured(name, options, methods))]
    RECORD.keep(range(options.seeds))
    if failed:
        raise SystemExit("; ".join(failed))


def rows_of(name: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The usual rows of a set, and the odd ones."""
    if name in ("breast-cancer", "wine"):
        data = load_breast_cancer() if name == "breast-cancer" else load_wine()
        odd = data.target == (0 if name == "breast-cancer" else 2)
        return data.data[~odd], data.data[odd]
    table = genus.read(folder / "tables" / f"{name}.csv.gz", relations=False).frame().to_pydict()
    label = np.array(table.pop(next(reversed(table))))
    x = np.array([*table.values()], dtype=float).T
    levels, counts = np.unique(label, return_counts=True)
    usual, odd = (x[label == levels[at]] for at in (counts.argmax(), counts.argmin()))
    rng = np.random.default_rng(0)
    return rng.permutation(usual)[:2000], rng.permutation(odd)[:2000]


def measured(name: str, options: argparse.Namespace, methods: dict[str, Callable[[int], Any]]) -> str:
    """Print the areas of all methods on a set; return which flows are below the best detector, as text."""
    usual, odd = rows_of(name, options.data)
    print(f"{name}: {len(usual):,} usual rows, {len(odd):,} odd ones")
    found: dict[str, list[float]] = {one: [] for one in methods}
    for seed in range(options.seeds):
        order = np.random.default_rng(seed).permutation(len(usual))
        cut = int(0.7 * len(usual))
        train, rest = usual[order[:cut]], usual[order[cut:]]
        x, truth = np.concatenate([rest, odd]), np.r_[np.zeros(len(rest)), np.ones(len(odd))]
        for method, make in methods.items():
            found[method].append(roc_auc_score(truth, -make(seed).fit(train).score_samples(x)))
    for method, values in sorted(found.items(), key=lambda item: -float(np.mean(item[1]))):
        print(f"  {method:<22}{np.mean(values):.4f} ± {np.std(values):.4f}", flush=True)
        area = (float(np.mean(values)), float(np.std(values)))
        RECORD.row(table=name, usual_rows=len(usual), odd_rows=len(odd), method=method, AUC=area, splits=len(values))
    best = max(("IsolationForest", "LocalOutlierFactor"), key=lambda method: float(np.mean(found[method])))
    flows = [one for one in options.families.split(",") if one != "mixture"]
    below = [one for one in flows if np.mean(found[f"genus {one}"]) < np.mean(found[best])]
    return f"{name}: {', '.join(below)} below {best}" if below else ""


if __name__ == "__main__":
    main()
