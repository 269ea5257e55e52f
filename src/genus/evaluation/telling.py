"""Name the columns that give samples away: those without which a classifier tells them from real rows less well."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from genus.evaluation.classifiers import grown, tree_columns
from genus.evaluation.faults import column_name
from genus.evaluation.intervals import auc_error
from genus.space import Space

__all__ = ["telling_columns"]

ROWS = 2_000  # of each kind
MOST = 6  # columns, those that the trees gain most by, that are tried
WIDE = 100  # columns, above which none is named
SHOWN = 3
LEAST = 60  # rows of each kind, below which nothing is said


def telling_columns(space: Space, real: Tensor, fake: Tensor, seed: int = 0) -> dict[str, float]:
    """Return the columns that give samples away, each with how far the AUC falls without it, the most telling first.

    Trees are fitted to a half of the rows; of the others one column at a time is shuffled among all rows, which takes from it
    what it says (Breiman 2001, doi:10.1023/A:1010933404324). Only falls beyond two standard errors of the AUC are named, three
    at most, and none where samples cannot be told from real rows.

    Args:
        space: of a table.
        real: (N, D).
        fake: (M, D).
        seed: of the halves and of the shuffles.

    >>> import torch
    >>> from genus.space import Real
    >>> x = torch.randn(2, 400, 2, generator=torch.Generator().manual_seed(0))
    >>> list(telling_columns(Space([Real(), Real()], names=["plain", "shifted"]), x[0], x[1] + torch.tensor([0.0, 2.0])))
    ['shifted']
    """
    from sklearn.metrics import roc_auc_score

    n = min(len(real), len(fake), ROWS)
    if not space.is_table or space.sequence or not 1 < space.dim <= WIDE or n < LEAST:
        return {}
    (a, b), categorical = tree_columns(space, real[:n], fake[:n])
    rows, label = np.concatenate([a, b]), np.repeat([0, 1], n)
    rng = np.random.default_rng(seed)
    learnt = rng.permutation(2 * n) < n
    model = grown(rows[learnt], label[learnt], categorical, seed, {"objective": "binary"})
    test, truth = rows[~learnt], label[~learnt]
    auc = roc_auc_score(truth, model.predict(test))
    error = auc_error(n // 2, auc)
    if auc - 0.5 <= 2 * error:
        return {}
    falls = {}
    for column in np.argsort(-model.feature_importance("gain"))[: min(MOST, space.dim)]:
        shuffled = test.copy()
        shuffled[:, column] = rng.permutation(shuffled[:, column])
        fall = auc - roc_auc_score(truth, model.predict(shuffled))
        if fall > 2 * error:
            falls[column_name(space, int(column))] = float(fall)
    return dict(sorted(falls.items(), key=lambda pair: -pair[1])[:SHOWN])
