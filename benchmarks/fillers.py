"""Fill the blanks of a table by other methods than families: means, nearest rows, chained regressions and forests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.linear_model import BayesianRidge

__all__ = ["TIMES", "peers"]

TIMES = 20  # that methods which draw fill a table
ROUNDS = 5  # of the chained regressions
TREES = 100


def sharpened(x: np.ndarray, groups: list[list[int]]) -> np.ndarray:
    """Numbers (N, F) with the likeliest level alone."""
    for places in groups:
        if len(places) > 1:
            best = x[:, places].argmax(1)
            x[:, places] = np.eye(len(places))[best]
    return x


def forest_draws(x: np.ndarray, groups: list[list[int]], seed: int) -> np.ndarray:
    """One filled table by chained forests, each blank a value that a row in its leaf has (Doove et al. 2014)."""
    rng, holes = np.random.default_rng(seed), np.isnan(x)
    filled = np.where(holes, np.nanmean(x, 0), x)
    for places in groups:  # start from values of other rows
        where = holes[:, places[0]]
        filled[np.ix_(where, places)] = filled[np.ix_(rng.choice(np.flatnonzero(~where), where.sum()), places)]
    for _ in range(ROUNDS):
        for places in groups:
            where = holes[:, places[0]]
            if not where.any():
                continue
            others = np.delete(filled, places, axis=1)
            forest = RandomForestRegressor(10, min_samples_leaf=5, random_state=int(rng.integers(2**31)))
            forest.fit(others[~where], x[~where][:, places].squeeze())
            leaves, donors = forest.apply(others[where]), forest.apply(others[~where])
            tree = rng.integers(0, leaves.shape[1], len(leaves))
            known = np.flatnonzero(~where)
            chosen = [
                known[rng.choice(np.flatnonzero(donors[:, t] == leaf))]
                for t, leaf in zip(tree, leaves[range(len(tree)), tree], strict=True)
            ]
            filled[np.ix_(where, places)] = x[np.ix_(chosen, places)]
    return filled


def forest_means(x: np.ndarray, groups: list[list[int]], seed: int) -> np.ndarray:
    """One filled table by chained forests, each blank the forest's mean, or its likeliest level (MissForest)."""
    holes = np.isnan(x)
    filled = np.where(holes, np.nanmean(x, 0), x)
    for turn in range(ROUNDS):
        for places in sorted(groups, key=lambda places: holes[:, places[0]].sum()):
            where = holes[:, places[0]]
            if where.any():
                others = np.delete(filled, places, axis=1)
                forest = RandomForestRegressor(TREES, random_state=seed + turn)
                forest.fit(others[~where], x[~where][:, places].squeeze())
                filled[np.ix_(where, places)] = forest.predict(others[where]).reshape(-1, len(places))
                filled = sharpened(filled, [places]) if len(places) > 1 else filled
    return filled


def peers(x: np.ndarray, groups: list[list[int]], seed: int) -> dict[str, Callable[[], list[np.ndarray]]]:
    """Every other method, as a function that returns filled tables."""

    def chained(estimator: Any, **options: Any) -> np.ndarray:
        return IterativeImputer(estimator, max_iter=ROUNDS, min_value=0.0, max_value=1.0, **options).fit_transform(x)

    def shares() -> list[np.ndarray]:
        return [np.where(np.isnan(x), np.nanmean(x, 0), x)]

    return {
        "column means": shares,
        "nearest rows": lambda: [sharpened(KNNImputer(n_neighbors=5).fit_transform(x), groups)],
        "chained ridge": lambda: [
            sharpened(chained(BayesianRidge(), sample_posterior=True, random_state=seed + k), groups) for k in range(TIMES)
        ],
        "chained forests": lambda: [forest_means(x, groups, seed)],
        "chained forests, drawn": lambda: [forest_draws(x, groups, seed + k) for k in range(TIMES)],
    }
