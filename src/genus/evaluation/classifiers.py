"""Evaluate samples by boosted trees: whether these tell them from real rows, and what they learn from them.

Trees see the columns as they are: numbers with NaN where missing, codes of categories marked as such. They find joint
structure that marginals, correlations and linear classifiers miss.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genus.divergences import Estimate
from genus.errors import DataError
from genus.evaluation.intervals import auc_error, folds_auc_error
from genus.kinds import Kind, Lattice
from genus.space import Category, Space

__all__ = ["Estimate", "TwoSample", "c2st", "canonical", "grown", "is_classified", "told_levels",
           "transfer", "transfer_key", "tree_columns", "two_sample"]  # fmt: skip

FOLDS = 4
CERTAIN = 30.0  # log-odds of a tree that has no doubt
WIDE = 100  # columns
LEVELS = 254  # of a category that the trees tell apart, the most frequent ones; all others are one further level


def canonical(space: Space, x: Tensor) -> np.ndarray:
    """Return x (N, *shape) as (N, D) float64 in data units, in which equal values are equal bit for bit.

    Real rows are rounded when they are read, samples are computed: the last bit of a lattice value may differ, and a
    classifier, or a search for copies, would find just that.
    """
    flat = x.detach().cpu().to(space.dtype).double().reshape(len(x), space.dim)
    table = space.tables(flat)
    lattice = table.step > 0
    step, low = torch.where(lattice, table.step, 1.0), torch.where(lattice, table.low, 0.0)
    index = (flat - low) / step
    # An atom may lie off the lattice, so only what lies on it up to the resolution of float32 is rounded to it.
    tolerance = 1e-3 + torch.maximum(low.abs(), torch.where(lattice, table.high, 0.0).abs()) / step * 2.0**-22
    near = lattice & ((index - index.round()).abs() < tolerance)
    return torch.where(near, low + index.round() * step, flat).numpy()


class TwoSample(NamedTuple):
    """Hold the estimates of a two-sample classifier: its AUC, and the bits that a row tells it; see `two_sample`."""

    auc: Estimate
    jensen_shannon: Estimate


def c2st(space: Space, real: Tensor, fake: Tensor, seed: int = 0) -> Estimate:
    """Return the AUC of the classifier two-sample test; see `two_sample`.

    >>> from genus.space import Real
    >>> a, b, c = torch.randn(3, 200, 2, generator=torch.Generator().manual_seed(0))
    >>> space = Space([Real(), Real()])
    >>> round(c2st(space, a, b).value, 1), round(c2st(space, a, 3 + 2 * c).value, 1)
    (0.5, 1.0)
    """
    return two_sample(space, real, fake, seed).auc


def two_sample(space: Space, real: Tensor, fake: Tensor, seed: int = 0) -> TwoSample:
    """Estimate how well boosted trees tell samples from real rows, by 4-fold cross-validation.

    Their AUC: 0.5 is perfect, nothing tells them apart; 1 is none mistaken. A strict measure: an AUC of 0.6 is a good sample of
    a table (Lopez-Paz and Oquab 2017, arXiv:1610.06545).

    The Jensen-Shannon divergence in bits: a discriminator D of rows that it has not learnt from gives the lower bound
    1 + (E_p log2 D + E_q log2(1 - D)) / 2 (Goodfellow et al. 2014, arXiv:1406.2661). Trees are too sure of themselves, so every
    fold's log-odds are first multiplied by a number from 0 to 1 that suits the other folds (Guo et al. 2017, arXiv:1706.04599).

    Args:
        real: (N, *shape).
        fake: (M, *shape); give as many as there are real rows.
        seed: of the folds.

    Returns:
        The mean AUC over the folds with its standard error, see `folds_auc_error`; the bound with its standard error over rows.

    Raises:
        DataError: fewer than 4 rows of either.

    >>> from genus.space import Real
    >>> a, b, c = torch.randn(3, 200, 2, generator=torch.Generator().manual_seed(0))
    >>> space = Space([Real(), Real()])
    >>> alike, apart = (two_sample(space, a, x).jensen_shannon.value for x in (b, 30 + c))
    >>> abs(alike) < 0.05, apart > 0.95
    (True, True)
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    if min(len(real), len(fake)) < FOLDS:
        raise DataError(
            f"The two-sample test needs {FOLDS} or more rows of each; got {len(real)} real and {len(fake)} sampled."
        )
    (a, b), categorical = tree_columns(space, real, fake)
    rows, label = np.concatenate([a, b]), np.repeat([0, 1], [len(a), len(b)])
    scores, odds, fold = [], np.empty(len(rows)), np.empty(len(rows), dtype=int)
    splits = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(rows, label)
    for k, (train, test) in enumerate(splits):
        _, probabilities = _classify(rows[train], label[train], rows[test], categorical, seed)
        scores.append(roc_auc_score(label[test], probabilities[:, 1]))
        fold[test] = k
        with np.errstate(divide="ignore"):  # a tree may be certain
            odds[test] = np.log(probabilities[:, 1]) - np.log(probabilities[:, 0])
    auc = float(np.mean(scores))
    return TwoSample(
        Estimate(auc, folds_auc_error(min(len(a), len(b)), auc)), _jensen_shannon(np.clip(odds, -CERTAIN, CERTAIN), label, fold)
    )


def _jensen_shannon(odds: np.ndarray, label: np.ndarray, fold: np.ndarray) -> Estimate:
    """Return the bound in bits from held-out log-odds of label 1."""
    from scipy.optimize import minimize_scalar

    signed = np.where(label == 1, -odds, odds)  # positive where mistaken
    bits = np.empty(len(odds))

    def loss(share: float, chosen: np.ndarray) -> float:
        return float(np.logaddexp(0, share * signed[chosen]).mean())

    for k in range(FOLDS):
        here, others = fold == k, fold != k
        share = minimize_scalar(loss, bounds=(0, 1), args=(others,), method="bounded").x
        bits[here] = 1 - np.logaddexp(0, share * signed[here]) / np.log(2)
    of_real, of_fake = bits[label == 0], bits[label == 1]
    error = np.sqrt(of_real.var(ddof=1) / len(of_real) + of_fake.var(ddof=1) / len(of_fake)) / 2
    return Estimate(float((of_real.mean() + of_fake.mean()) / 2), float(error))


def is_classified(kind: Kind) -> bool:
    """Return True where to predict a column is to tell its values apart: a category, or numbers of which there are two."""
    return isinstance(kind, Category) or (isinstance(kind, Lattice) and round((kind.high - kind.low) / kind.step) == 1)


def transfer_key(kind: Kind) -> str:
    """Return the key of the metric by which the prediction of a column is scored: its AUC, or its R^2."""
    return "tstr_auc" if is_classified(kind) else "tstr_r2"


def transfer(space: Space, target: str | int, fake: Tensor, real: Tensor, seed: int = 0) -> Estimate:
    """Train on synthetic, test on real: estimate how well a predictor that was trained on samples predicts real rows.

    Boosted trees predict one column from all others. Rows that lack the target are left out of both.

    Args:
        target: the column to predict, by name or position.
        fake: (M, *shape), learnt from.
        real: (N, *shape), tested on.

    Returns:
        The value and its standard error over the real rows. For a category, or two numbers, the AUC, the mean of
        one-against-rest over the levels among the real rows where there are more than two: 0.5 is chance, also what a level
        absent from the samples counts. For a number R^2: 1 is perfect, 0 is no better than the mean, and less is worse. NaN
        where the real rows hold only one value.

    Raises:
        DataError: no such column, or no other column to predict it from.

    Esteban et al. 2017, arXiv:1706.02633.

    >>> from genus.space import Real
    >>> x = torch.randn(400, 1, generator=torch.Generator().manual_seed(0))
    >>> x = torch.cat([x, (x > 0).float()], dim=1)
    >>> space = Space([Real(), Category(("no", "yes"))], names=["x", "positive"])
    >>> round(transfer(space, "positive", x[:200], x[200:]).value, 2)
    1.0
    """
    column = space.index(target) if isinstance(target, str) else target
    if not space.is_table or space.dim < 2:
        raise DataError("To predict a column from the others takes a table of two or more columns.")
    kind = space.kinds[column]
    (a, b), categorical = tree_columns(space, fake, real)
    y, truth = canonical(space, fake)[:, column], canonical(space, real)[:, column]
    missing = kind.levels.index(None) if isinstance(kind, Category) and None in kind.levels else np.nan
    known, kept = ~np.isnan(y) & (y != missing), ~np.isnan(truth) & (truth != missing)
    a, b = np.delete(a[known], column, axis=1), np.delete(b[kept], column, axis=1)
    y, truth, categorical = y[known], truth[kept], np.delete(categorical, column)
    if len(np.unique(truth)) < 2:
        return Estimate(float("nan"), float("nan"))
    if is_classified(kind):
        return _transferred_auc(a, y, b, truth, categorical, seed)
    loc, scale = truth.mean(), truth.std()  # R^2 is that of any units; those of the trees' losses should not be huge or tiny
    return _transferred_r2(a, (y - loc) / scale, b, (truth - loc) / scale, categorical, seed)


def told_levels(space: Space, column: int, real: Tensor, rows: Tensor, seed: int = 0) -> np.ndarray:
    """Return the level (M,) of a category that boosted trees tell from the other columns of rows (M, *shape).

    They have learned real rows (N, *shape); each level counts as equally likely before a row is seen, so that a rare level is
    told as well as a frequent one.

    >>> from genus.space import Real
    >>> x = torch.randn(400, 1, generator=torch.Generator().manual_seed(0))
    >>> x = torch.cat([x, (x > 1).float()], dim=1)
    >>> told = told_levels(Space([Real(), Category(("no", "yes"))]), 1, x[:200], x[200:])
    >>> bool((told == x[200:, 1].numpy()).mean() > 0.97)
    True
    """
    (a, b), categorical = tree_columns(space, real, rows)
    y = canonical(space, real)[:, column]
    a, b = np.delete(a, column, axis=1), np.delete(b, column, axis=1)
    levels, probabilities = _classify(a, y, b, np.delete(categorical, column), seed)
    frequency = np.array([(y == level).mean() for level in levels])
    return levels[(probabilities / frequency).argmax(1)].astype(np.int64)


def _transferred_auc(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, truth: np.ndarray, categorical: np.ndarray, seed: int
) -> Estimate:
    from sklearn.metrics import roc_auc_score

    levels = np.unique(truth)
    if len(np.unique(y)) < 2:
        return Estimate(0.5, 0.0)
    seen, probabilities = _classify(x, y, x_test, categorical, seed)
    score = {level: probabilities[:, i] for i, level in enumerate(seen)}
    if len(levels) == 2:  # the two ways to see it are one
        levels = levels[1:]
    areas, errors = [], []
    for level in levels:
        here = truth == level
        areas.append(roc_auc_score(here, score.get(level, np.zeros(len(truth)))))
        errors.append(auc_error(int(here.sum()), areas[-1], int((~here).sum())))
    return Estimate(float(np.mean(areas)), float(np.linalg.norm(errors) / len(errors)))


def _transferred_r2(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, truth: np.ndarray, categorical: np.ndarray, seed: int
) -> Estimate:
    from sklearn.metrics import r2_score

    if not len(y):
        return Estimate(float("nan"), float("nan"))
    predicted = grown(x, y, categorical, seed, {"objective": "regression"}).predict(x_test)
    value = float(r2_score(truth, predicted))
    around = (truth - truth.mean()) ** 2
    influence = ((truth - predicted) ** 2 - (1 - value) * around) / around.mean()
    return Estimate(value, float(influence.std() / np.sqrt(len(truth))))


def _classify(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, categorical: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes and their probabilities on the test rows, (M, classes)."""
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        return classes, np.ones((len(x_test), 1))
    several = {"objective": "multiclass", "num_class": len(classes)} if len(classes) > 2 else {"objective": "binary"}
    found = grown(x, codes, categorical, seed, several).predict(x_test)
    return classes, found if len(classes) > 2 else np.stack([1 - found, found], axis=1)


def grown(x: np.ndarray, y: np.ndarray, categorical: np.ndarray, seed: int, objective: dict[str, Any]) -> Any:
    """Return boosted trees of LightGBM that predict y (N,) from x (N, D): its defaults unless there is a reason."""
    import lightgbm

    settings = objective | {
        # Trees of many columns spend their time on going through the bins of each; 64 tell images apart as well as 255.
        "max_bin": 255 if x.shape[1] <= WIDE else 64,
        # The default of 20 rows would leave a table of 50 rows nearly without splits.
        "min_data_in_leaf": min(20, max(2, len(x) // 20)),
        "min_data_in_bin": 1, "min_data_per_group": 10, "max_cat_to_onehot": 1, "cat_smooth": 1.0, "cat_l2": 0.0,
        "seed": seed, "deterministic": True, "force_col_wise": True, "verbosity": -1,
    }  # fmt: skip
    rounds = max(20, min(100, 1000 // objective.get("num_class", 1)))  # each grows one tree for every class
    data = lightgbm.Dataset(x, y, categorical_feature=np.flatnonzero(categorical).tolist(), free_raw_data=True)
    return lightgbm.train(settings, data, rounds)


def tree_columns(space: Space, *samples: Tensor) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the columns as trees take them, one matrix for each sample, and which columns are categorical."""
    sizes = [len(x) for x in samples]
    rows = np.concatenate([canonical(space, x) for x in samples])
    for i, kind in enumerate(space.kinds):
        if isinstance(kind, Category) and kind.states > LEVELS + 1:
            counts = np.bincount(rows[:, i].astype(np.int64), minlength=kind.states)
            code = np.full(kind.states, LEVELS)
            code[np.argsort(-counts, kind="stable")[:LEVELS]] = np.arange(LEVELS)
            rows[:, i] = code[rows[:, i].astype(np.int64)]
    # Two levels need no category's sorting of levels, and numbers are faster.
    categorical = np.array([isinstance(kind, Category) and kind.states > 2 for kind in space.kinds])
    return np.split(rows, np.cumsum(sizes)[:-1]), categorical
