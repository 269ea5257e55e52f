"""Binary classifiers by gradient boosting, one for each question about a column, as arrays for a `Forest`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Boosted", "BoostingOptions", "Turns", "boost"]

# A leaf of a tree of LightGBM is not a leaf of a column (models/leaves.py), a value or bin that questions tell apart.
FEWEST, FEW = 20, 4  # rows, and rows of the rarer answer, below which a question gets no trees
LEAST, SHRINKAGE = 10, 3.0  # the fewest rows of a tree's leaf; LightGBM's lambda_l2, which draws its log-odds towards 0
SEEN = 0.7  # the share of the columns that a tree sees
PATIENCE = 1.0  # so many trees, times the rate, may pass without a better likelihood of the validation rows
RESERVE = 0.1  # the share of the time that is kept for choosing slopes and for the evaluation
TIMED, MARGIN = 4, 1.5  # columns by which the time of the others is told, which may be so many times as long
PRIOR = 0.5  # rows that are added to those of each leaf of a column for the log-odds before any tree

# LightGBM's parameters of every training: the data are bytes already, of which each value is a bin.
SILENT = {
    "max_bin": 255, "min_data_in_bin": 1, "feature_pre_filter": False, "use_missing": False, "boost_from_average": False,
    "deterministic": True, "force_col_wise": True, "num_threads": 1, "verbosity": -1,
}  # fmt: skip


class BoostingOptions(NamedTuple):
    """Hold how trees are grown.

    Attributes:
        rounds: the most trees of a question.
        rate: the learning rate, by which the log-odds that every tree adds are shrunk.
        depth: the most levels of a tree.
        seed: of the columns that each tree sees.
        spent: () -> True when there is no time for further trees.
    """

    rounds: int
    rate: float
    depth: int
    seed: int
    spent: Callable[[], bool]


class Boosted(NamedTuple):
    """Hold one question's classifier: the log-odds before any tree, and T complete trees as `Forest` has them."""

    bias: float
    feature: np.ndarray  # (T, 2^depth - 1) the byte that a node looks at, level by level
    threshold: np.ndarray  # (T, 2^depth - 1) a greater byte goes right; 255 sends every row left
    value: np.ndarray  # (T, 2^depth) the log-odds that a leaf of the tree adds


class Turns:
    """Share a limit of time among columns that are learned in turn.

    A column has its part of the time that is left, by what the columns should cost; and where those before it took so little
    that there is more than the others need, it has all that they do not.

    Args:
        cost: of every column, in the order of their turns, up to a factor.
        left: () -> the seconds that are left, inf without a limit.
    """

    def __init__(self, cost: Sequence[float], left: Callable[[], float]) -> None:
        self.cost, self.left, self.limit = np.asarray(cost), left, left()

    def spare(self, done: int) -> float:
        """Return how many seconds the column after so many others must leave; 0 without a limit."""
        if math.isinf(self.limit):
            return 0.0
        kept, rest = RESERVE * self.limit, float(self.cost[done + 1 :].sum())
        spare = max(0.0, self.left() - kept) * rest / (self.cost[done] + rest)
        if done >= TIMED:
            spare = min(spare, MARGIN * (self.limit - self.left()) * rest / float(self.cost[:done].sum()))
        return kept + spare


Rows = tuple[np.ndarray, np.ndarray]  # what the trees see, (n, features) uint8, and the leaves of the column, (n,)


def boost(train: Rows, held: Rows, nodes: np.ndarray, options: BoostingOptions) -> list[Boosted]:
    """Return a classifier for every question of a column, stopped by validation rows.

    Questions that concern many rows are learned first, should time run out.

    Args:
        train: the training rows.
        held: the validation rows.
        nodes: the questions (leaves - 1, 3), see `ColumnLeaves`.
        options: how trees are grown.
    """
    (codes, leaf), (held_codes, held_leaf) = train, held
    data: tuple[Any, Any] | None = None  # LightGBM's, made when a first question needs them
    rows_before = np.searchsorted(np.sort(leaf), np.arange(nodes.max(initial=0) + 1))  # training rows in the leaves before each
    boosted: dict[int, Boosted] = {}
    for question in np.argsort(rows_before[nodes[:, 0]] - rows_before[nodes[:, 2]], kind="stable").tolist():
        lo, mid, hi = nodes[question].tolist()
        no, yes = rows_before[mid] - rows_before[lo], rows_before[hi] - rows_before[mid]
        bias = float(np.log((yes + PRIOR * (hi - mid)) / (no + PRIOR * (mid - lo))))
        boosted[question] = Boosted(bias, *empty(options.depth))
        if codes.shape[1] == 0 or no + yes < FEWEST or min(no, yes) < FEW or options.spent():
            continue
        rows, held_rows = (np.flatnonzero((of >= lo) & (of < hi)) for of in (leaf, held_leaf))  # which the question concerns
        if len(held_rows):
            data = data or datasets(codes, held_codes)
            to_train = part(data[0], rows, leaf[rows] >= mid, bias)
            to_stop = part(data[1], held_rows, held_leaf[held_rows] >= mid, bias)
            boosted[question] = Boosted(bias, *grow(to_train, to_stop, options))
    return [boosted[question] for question in range(len(nodes))]


def cuts(counts: np.ndarray) -> np.ndarray:
    """Return questions (leaves - 1, 3), lo, mid and hi, that halve the counts (leaves,) as nearly as they can.

    A question tells leaves lo to mid - 1 from leaves mid to hi - 1, and comes before those that divide each of these two.

    >>> cuts(np.array([1.0, 1.0, 2.0])).tolist()
    [[0, 2, 3], [0, 1, 2]]
    """
    total = np.concatenate([[0.0], (counts + 0.01).cumsum()])  # leaves without rows are halved too
    questions, waiting = [], [(0, len(counts))]
    while waiting:
        lo, hi = waiting.pop()
        if hi - lo < 2:
            continue
        half = (total[lo] + total[hi]) / 2
        mid = int(np.searchsorted(total, half).clip(lo + 1, hi - 1))
        if mid - 1 > lo and half - total[mid - 1] < total[mid] - half:
            mid -= 1
        questions.append((lo, mid, hi))
        waiting += [(mid, hi), (lo, mid)]
    return np.array(questions, dtype=np.int64).reshape(-1, 3)


def are_cuts(nodes: Sequence[Sequence[int]], count: int) -> bool:
    """Return whether questions (lo, mid, hi) form a tree that tells `count` leaves apart, as those of `cuts` do.

    >>> are_cuts([[0, 2, 3], [0, 1, 2]], 3), are_cuts([[0, 1, 3]], 3)
    (True, False)
    """
    waiting = {(0, count)} if count > 1 else set()
    for lo, mid, hi in nodes:
        if (lo, hi) not in waiting or not lo < mid < hi:
            return False
        waiting.remove((lo, hi))
        waiting |= {(a, b) for a, b in ((lo, mid), (mid, hi)) if b - a > 1}
    return not waiting


def datasets(codes: np.ndarray, held: np.ndarray) -> tuple[Any, Any]:
    """Return training and validation rows as LightGBM has them."""
    import lightgbm

    train = lightgbm.Dataset(codes, np.zeros(len(codes)), params=SILENT, free_raw_data=False).construct()
    return train, train.create_valid(held, np.zeros(len(held))).construct()


def part(data: Any, rows: np.ndarray, answers: np.ndarray, bias: float) -> Any:
    """Return some rows of a data set of LightGBM, with their answers as labels and the log-odds to start from."""
    data = data.subset(rows).construct()
    data.set_label(answers.astype(np.float32))
    data.set_init_score(np.full(len(rows), bias))
    return data


def grow(train: Any, held: Any, options: BoostingOptions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return trees grown on one data set of LightGBM until the likelihood of another one improves no more.

    They are feature, threshold and value, as of `Boosted`.
    """
    import lightgbm

    parameters = SILENT | {
        "objective": "binary", "num_leaves": max(2, 2**options.depth - 1), "max_depth": options.depth,
        "learning_rate": options.rate,
        "lambda_l2": SHRINKAGE, "min_data_in_leaf": LEAST, "feature_fraction": SEEN, "seed": options.seed,
    }  # fmt: skip

    def stop(state: Any) -> None:
        if options.spent():
            raise lightgbm.callback.EarlyStopException(state.iteration, state.evaluation_result_list)

    early = lightgbm.early_stopping(math.ceil(PATIENCE / options.rate), verbose=False)
    booster = lightgbm.train(parameters, train, options.rounds, valid_sets=[held], callbacks=[early, stop])
    return complete(booster.model_to_string(num_iteration=booster.best_iteration), options.depth)


FIELD = re.compile(r"^(split_feature|threshold|left_child|right_child|leaf_value)=(.*)$", re.MULTILINE)


def empty(depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return feature, threshold and value, as of `Boosted`, of no trees."""
    nodes = 2**depth - 1
    return (
        np.zeros((0, nodes), dtype=np.int32),
        np.zeros((0, nodes), dtype=np.uint8),
        np.zeros((0, nodes + 1), dtype=np.float32),
    )


def complete(text: str, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the trees of a LightGBM model as complete trees of `depth` levels: feature, threshold and value, as of `Boosted`.

    A leaf higher up becomes a whole subtree of it, whose nodes send every row left.

    Args:
        text: as `Booster.model_to_string` writes it.
        depth: at least that of its trees.

    >>> complete("Tree=0\\nsplit_feature=2\\nthreshold=7.5\\nleft_child=-1\\nright_child=-2\\nleaf_value=-1 2", 2)[2].tolist()
    [[-1.0, -1.0, 2.0, 2.0]]
    """
    parts = text.split("\nend of trees")[0].split("Tree=")[1:]
    feature, threshold = np.zeros((len(parts), 2**depth - 1), np.int32), np.full((len(parts), 2**depth - 1), 255, np.uint8)
    value = np.zeros((len(parts), 2**depth), np.float32)
    for i, tree in enumerate(parts):
        fields = {name: text.split() for name, text in FIELD.findall(tree)}
        leaves = [float(v) for v in fields["leaf_value"]]
        splits = [
            (int(split_feature), int(float(cut)), int(left), int(right))
            for split_feature, cut, left, right in zip(
                *(fields.get(n, []) for n in ("split_feature", "threshold", "left_child", "right_child")), strict=True
            )
        ]
        waiting = [(0, 0, 0 if splits else -1)]  # level, place within the level, node there: below 0 a leaf
        while waiting:
            level, place, node = waiting.pop()
            if node < 0:
                span = 2 ** (depth - level)
                value[i, place * span : (place + 1) * span] = leaves[~node]
                continue
            column = 2**level - 1 + place  # of the arrays, where nodes stand level by level
            feature[i, column], threshold[i, column], left, right = splits[node]
            waiting += [(level + 1, 2 * place, left), (level + 1, 2 * place + 1, right)]
    return feature, threshold, value
