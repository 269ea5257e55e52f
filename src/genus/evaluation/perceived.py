"""Score samples of images, sounds and texts by features and n-grams, in addition to the metrics that tables have."""

from __future__ import annotations

import torch
from torch import Tensor

from genus.codec.units import spans
from genus.data import Dataset
from genus.evaluation.extractor import Extractor
from genus.evaluation.feature_metrics import FEATURED, score_features
from genus.evaluation.metrics import Metric
from genus.evaluation.ngrams import WORDED, cut_alike, score_symbols

__all__ = ["PERCEIVED", "ordering_metric", "real_pieces", "score_images", "score_sequences", "shuffled"]

PERCEIVED: dict[str, Metric] = FEATURED | WORDED
SATURATED = 0.98  # where the two-sample AUC of all families is at least this, it no longer ranks them, and another does

Scores = tuple[dict[str, float], dict[str, float]]


def score_images(extractor: Extractor, train: Dataset, held: Tensor, samples: Tensor) -> Scores:
    """Return the metrics of images in features, and their errors.

    Args:
        extractor: of the comparison.
        train: the training rows.
        held: (N, ...), held-out rows, with the context beside each where there is one.
        samples: (M, ...), likewise.
    """
    space = train.space
    x, y = (rows.reshape(len(rows), -1)[:, : space.dim].reshape(-1, *space.shape) for rows in (held, samples))
    return score_features(extractor, x, y)


def score_sequences(extractor: Extractor | None, train: Dataset, held: Tensor, samples: Tensor) -> Scores:
    """Return the metrics of sounds in features, of other sequences of symbols by n-grams, and their errors.

    Of one long sequence samples are compared with pieces from all over its training part, since its end, which is held out, is
    mostly about something else; who copies is found by other means.

    Args:
        extractor: of sounds; None of others.
        train: the training rows.
        held: (N, L), held-out rows.
        samples: (M, T).
    """
    real = real_pieces(train, held, samples.shape[1], 0)
    if extractor is None:
        return score_symbols(train.space, real, samples)
    return score_features(extractor, real, samples)


def real_pieces(train: Dataset, held: Tensor, length: int, half: int) -> Tensor:
    """Return real rows as samples of that length are: held-out rows, or one half of the pieces of one long training sequence.

    The halves 0 and 1 are drawn at random; samples are compared with the first, and the second stands for perfect samples.
    """
    if not train.consecutive:
        return cut_alike(train.space, held, length, False)
    every = cut_alike(train.space, train.x, length, True)
    return every[torch.randperm(len(every), generator=torch.Generator().manual_seed(0))][half::2]


def shuffled(train: Dataset, n: int, length: int) -> Tensor:
    """Return n training rows (n, length) whose symbols stand in a random order: right frequencies without structure.

    It is the baseline of sequences, as independent columns are of tables.
    """
    rows = cut_alike(train.space, train.x, length, train.consecutive)
    generator = torch.Generator().manual_seed(0)
    rows = rows[torch.randperm(len(rows), generator=generator)[:n]].clone()
    known = spans(train.space, rows)
    if train.space.ends:  # the end is no symbol, where there is one
        ended = train.space.split(rows.to(train.space.dtype)).state[:, -1] == train.space.tables(rows).missing[-1]
        known = known - ended.long()
    order = torch.rand(rows.shape, generator=generator)
    order[torch.arange(rows.shape[1]) >= known[:, None]] = 2.0  # which stay behind
    return rows.gather(1, order.argsort(dim=1, stable=True))


def ordering_metric(metrics: list[dict[str, float]]) -> str:
    """Return the key of the metric that orders samples: trees where they tell families apart, else features or n-grams.

    Args:
        metrics: those of each row.
    """
    scored = [one for one in metrics if one]
    trees = [one["c2st"] for one in scored if "c2st" in one]
    if trees and (min(trees) < SATURATED or not all("kernel_distance" in one for one in scored)):
        return "c2st"
    return next((key for key in ("kernel_distance", "ngram_auc") if any(key in one for one in scored)), "c2st")
