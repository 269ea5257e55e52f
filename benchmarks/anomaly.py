"""Malignant among benign: `score_samples` of flows beside scikit-learn's detectors of anomalies.

    python benchmarks/anomaly.py [--families maf,nsf,mixture] [--seconds 60] [--seeds 5] [--folds 5] [--processor]

scikit-learn's breast-cancer set. Every method is fitted on 70 % of the benign rows and scores the other 30 % and all malignant
ones; the figure is the area under the curve of telling these apart, mean and standard deviation over the splits. Labels serve
for nothing but this figure. genus: `DensityEstimator` with defaults on the columns as they are. The detectors have
scikit-learn's defaults, on standardised columns. With `--folds` a family is the mean of as many models, each stopped by a fold
of its own, and `stack` is all the others together; `--processor` counts processor time, for a busy machine. It exits with an
error where a flow's mean is below the best detector's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import genus
from genus.sklearn import DensityEstimator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default="maf,nsf,mixture")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--processor", action="store_true")
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
    data = load_breast_cancer()
    benign, malignant = data.data[data.target == 1], data.data[data.target == 0]
    print(f"genus {genus.__version__}, scikit-learn {version('scikit-learn')}, torch {torch.__version__}")
    found: dict[str, list[float]] = {name: [] for name in methods}
    for seed in range(options.seeds):
        order = np.random.default_rng(seed).permutation(len(benign))
        cut = int(0.7 * len(benign))
        train, rest = benign[order[:cut]], benign[order[cut:]]
        x, odd = np.concatenate([rest, malignant]), np.r_[np.zeros(len(rest)), np.ones(len(malignant))]
        for name, make in methods.items():
            found[name].append(roc_auc_score(odd, -make(seed).fit(train).score_samples(x)))
    for name, values in sorted(found.items(), key=lambda item: -float(np.mean(item[1]))):
        print(f"  {name:<22}{np.mean(values):.4f} ± {np.std(values):.4f}")
    best = max(("IsolationForest", "LocalOutlierFactor"), key=lambda name: float(np.mean(found[name])))
    below = [n for n in flows if n != "mixture" and np.mean(found[f"genus {n}"]) < np.mean(found[best])]
    if below:
        raise SystemExit(f"{', '.join(below)}: below {best}.")


if __name__ == "__main__":
    main()
