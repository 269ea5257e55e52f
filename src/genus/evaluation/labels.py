"""Find the label that samples were drawn for: how often a classifier that learned from real rows tells it from them."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from genus.evaluation.classifiers import told_levels
from genus.evaluation.extractor import label_column
from genus.evaluation.figures import percent
from genus.evaluation.findings import Finding
from genus.evaluation.metrics import LEAST, NEIGHBOURS, ROWS, Metric
from genus.evaluation.protocol import Protocol, joint_space, with_context
from genus.threads import torch_threads

__all__ = ["LABELLED", "find_ignored_label", "label_match", "share_told"]

HEEDED, SIGMAS = 0.75, 4.0  # of the share of real rows, and standard errors below it, from which on a label is ignored

LABELLED: dict[str, Metric] = {
    "label_match": Metric(
        "Label recognised",
        "The share of samples in which a classifier that learned from real rows recognises the label they were drawn for, the"
        " mean over labels: a network of images and sounds, boosted trees of tables.",
        "fidelity",
        "higher",
        None,
    ),
}


def label_match(protocol: Protocol, x: Tensor, c: Tensor | None = None) -> tuple[float, float] | None:
    """Return the share of rows whose label a classifier recognises, the mean over labels, and its error; None without labels.

    The label is the first category of the context that has 2 to 100 levels.

    Args:
        protocol: of the comparison. The network of its extractor is the classifier of images and sounds; of tables, boosted
            trees that learned from the training rows are.
        x: rows, with the context beside x unless they are sequences; 2,000 at most are looked at.
        c: the contexts of sequences.
    """
    from threadpoolctl import threadpool_limits

    train, label = protocol.train, label_column(protocol.train.context)
    x, space = x[:NEIGHBOURS], train.space
    if label is None or len(x) < LEAST or (space.sequence and c is None):
        return None
    if space.sequence:
        rows, asked = x, c[: len(x), label]  # type: ignore[index]
    else:
        rows, asked = x[:, : space.dim].reshape(-1, *space.shape), x[:, space.dim + label]
    with threadpool_limits(1), torch_threads(1):  # several families may be judged at once
        if protocol.extractor is not None:
            seen = protocol.extractor.probabilities(rows)
            told = None if seen is None else seen.argmax(1)
        elif space.is_table and not space.sequence:
            told = told_levels(joint_space(train), space.dim + label, with_context(train)[:ROWS], x)
        else:
            told = None
    return None if told is None else share_told(told, asked.long().cpu().numpy())


def share_told(told: np.ndarray, asked: np.ndarray) -> tuple[float, float]:
    """Return the share of rows whose label is told, told == asked (N,), the mean over labels, and its standard error.

    >>> value, error = share_told(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
    >>> value, round(error, 2)
    (0.75, 0.22)
    """
    right = [told[asked == level] == level for level in np.unique(asked)]
    shares = np.array([one.mean() for one in right])
    variances = shares * (1 - shares) / np.array([len(one) for one in right])
    return float(shares.mean()), float(np.sqrt(variances.sum()) / len(right))


def find_ignored_label(protocol: Protocol, found: float, error: float) -> list[Finding]:
    """Return a flaw where samples hardly show the label that they were drawn for, as held-out rows show theirs.

    Args:
        protocol: of the comparison.
        found: `label_match` of the samples.
        error: of it.
    """
    seen = label_match(protocol, with_context(protocol.test), protocol.test.c)
    if seen is None:
        return []
    real, real_error = seen
    if found >= HEEDED * real or real - found <= SIGMAS * math.hypot(error, real_error):
        return []
    said = f"the label that was asked for is recognised in {percent(found)} of samples, and in {percent(real)} of real rows"
    return [Finding("flaw", "label", said, {"samples": found, "real": real})]
