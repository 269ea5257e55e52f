"""Compare samples with real rows in features of images or sounds: Fréchet and kernel distance, neighbourhoods."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from genus.evaluation.extractor import Extractor
from genus.evaluation.metrics import LEAST, NEIGHBOURS, Metric
from genus.evaluation.neighbours import neighbourhoods

__all__ = ["FEATURED", "frechet", "inception", "kernel_distance", "score_features"]

BLOCKS = 10  # of rows, one of which is left out at a time for the error of what is no mean

FEATURED: dict[str, Metric] = {
    "kernel_distance": Metric(
        "Kernel distance",
        "How far the features of samples lie from those of real rows, by a cubic kernel, without bias: 0 is the same.",
        "features",
        "lower",
        0.0,
    ),
    "frechet": Metric(
        "Fréchet distance",
        "How far means and covariances of the features lie apart. Few rows overstate it: only the difference from real against"
        " real counts, and no other report's number, whose features are others.",
        "features",
        "lower",
        0.0,
    ),
    "feature_precision": Metric(
        "Precision, features", "The share of samples whose features lie among those of real rows.", "features", "higher", 1.0
    ),
    "feature_recall": Metric(
        "Recall, features", "The share of real rows whose features lie among those of samples.", "features", "higher", 1.0
    ),
    "inception": Metric(
        "Inception-like score",
        "How many labels a network tells apart with certainty among the samples: 1 is none, the number of labels is most."
        " It says nothing of whether samples are copies.",
        "features",
        "higher",
        None,
    ),
}


def score_features(extractor: Extractor, real: Tensor, fake: Tensor) -> tuple[dict[str, float], dict[str, float]]:
    """Return the metrics of samples in features, and their standard errors over rows; nothing of fewer than 10 rows.

    Args:
        extractor: of the comparison.
        real: (N, *shape), held-out rows.
        fake: (M, *shape); min(N, M) of each enter, 2,000 at most.
    """
    n = min(len(real), len(fake), NEIGHBOURS)
    if n < LEAST:
        return {}, {}
    x, y = extractor.features(real[:n]), extractor.features(fake[:n])
    scores, errors = {}, {}
    scores["kernel_distance"], errors["kernel_distance"] = kernel_distance(x, y)
    scores["frechet"] = frechet(x, y)
    errors["frechet"] = _jackknife(lambda kept: frechet(x[kept], y[kept]), n)
    near = neighbourhoods(x, y)
    scores |= {"feature_precision": near.precision, "feature_recall": near.recall}
    seen = extractor.probabilities(fake[:n])
    if seen is not None:
        scores["inception"] = inception(seen)
        errors["inception"] = _jackknife(lambda kept: inception(seen[kept]), n)
    errors |= {key: _share_error(scores[key], n) for key in ("feature_precision", "feature_recall")}
    return scores, errors


def frechet(x: Tensor, y: Tensor) -> float:
    """Return the Fréchet distance of normal distributions of the moments of x (N, F) and y (M, F), squared.

    Heusel et al. 2017, arXiv:1706.08500, whose features are others.

    >>> x = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    >>> round(frechet(x, x + 2.0), 3), abs(frechet(x, x)) < 1e-6
    (12.0, True)
    """
    x, y = x.double(), y.double()
    values, vectors = torch.linalg.eigh(x.T.cov())
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ y.T.cov() @ root).clamp(min=0).sqrt().sum()
    return float((x.mean(0) - y.mean(0)).square().sum() + x.var(0).sum() + y.var(0).sum() - 2 * cross)


def kernel_distance(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Return the squared maximum mean discrepancy of x (N, F) and y (N, F) by the kernel (x y / F + 1)^3, and its error.

    It has no bias: of the same distribution it is 0 on average, whatever the number of rows (Bińkowski et al. 2018,
    arXiv:1801.01401). The error is that of a U-statistic's first term, estimated with the noise of the second.

    >>> x, y = torch.randn(2, 500, 8, generator=torch.Generator().manual_seed(0))
    >>> value, error = kernel_distance(x, y)
    >>> abs(value) < 3 * error, kernel_distance(x, y + 1)[0] > 100 * error
    (True, True)
    """
    n = min(len(x), len(y))
    x, y = x[:n].double(), y[:n].double()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    h = kernel(x, x) + kernel(y, y) - kernel(x, y) - kernel(y, x)
    h.fill_diagonal_(0.0)
    each = h.sum(1) / (n - 1)
    return float(each.mean()), float(2 * each.std() / math.sqrt(n))


def inception(probabilities: np.ndarray) -> float:
    """Return exp of the mean divergence of p(label | x), (N, labels), from their mean (Salimans et al. 2016, arXiv:1606.03498).

    >>> round(inception(np.eye(4)), 3), round(inception(np.full((4, 4), 0.25)), 3)
    (4.0, 1.0)
    """
    p = np.clip(probabilities, 1e-12, 1)
    return float(np.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean()))


def _share_error(share: float, n: int) -> float:
    """Return the standard error of a share of n rows, by Agresti and Coull's estimate, which is not 0 at 0 or 1."""
    share = (share * n + 2) / (n + 4)
    return math.sqrt(share * (1 - share) / n)


def _jackknife(value: Callable[[Tensor], float], n: int) -> float:
    """Return the standard error of a value of rows, by leaving out one of some blocks at a time."""
    block = torch.arange(n) % BLOCKS
    left = np.array([value(block != i) for i in range(BLOCKS)])
    return float(np.sqrt((BLOCKS - 1) / BLOCKS * ((left - left.mean()) ** 2).sum()))
