"""Score samples as all rows of a report are scored: by metrics, by attacks, and by searches for what is wrong with them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from torch import Tensor

from genus.evaluation.attacks import attack, find_betrayal, suspects
from genus.evaluation.copying import find_copies
from genus.evaluation.faults import find_faults
from genus.evaluation.findings import Finding
from genus.evaluation.labels import find_ignored_label, label_match
from genus.evaluation.metrics import scores_and_errors
from genus.evaluation.perceived import score_images, score_sequences
from genus.evaluation.protocol import Protocol, joint_space, target_column, with_context
from genus.evaluation.sequence_faults import find_sequence_faults
from genus.evaluation.sequences import evaluate_sequences
from genus.evaluation.telling import telling_columns
from genus.threads import torch_threads

__all__ = ["Examined", "examine_samples", "score_attacks", "score_rows"]


class Examined(NamedTuple):
    """Hold what was found of samples.

    Attributes:
        metrics: key -> value.
        errors: key -> standard error over rows, where it is known.
        findings: what is wrong with them.
        telling: the columns that give them away, each with how far the two-sample AUC falls without it.
    """

    metrics: dict[str, float]
    errors: dict[str, float]
    findings: list[Finding]
    telling: dict[str, float]


def examine_samples(
    protocol: Protocol,
    samples: Tensor,
    c: Tensor | None = None,
    likelihood: tuple[np.ndarray, np.ndarray] | None = None,
    attacked: bool = True,
) -> Examined:
    """Return the metrics of samples (N, *shape), what is wrong with them, and what gives them away.

    Args:
        protocol: of the comparison.
        samples: with the context beside x where there is one, unless they are sequences.
        c: the contexts of sequences.
        likelihood: as of `score_attacks`.
        attacked: try to tell training rows by them.
    """
    metrics, errors = score_rows(protocol, samples, c)
    scores, doubts = score_attacks(protocol, samples, likelihood) if attacked else ({}, {})
    findings = _find_faults(protocol, samples) + find_betrayal(scores, doubts)
    if (match := metrics.get("label_match")) is not None:
        findings += find_ignored_label(protocol, match, errors["label_match"])
    return Examined(metrics | scores, errors | doubts, findings, _find_telling(protocol, samples))


def score_rows(protocol: Protocol, samples: Tensor, c: Tensor | None = None) -> tuple[dict[str, float], dict[str, float]]:
    """Return the metrics of samples (N, *shape) and their errors.

    Args:
        protocol: of the comparison.
        samples: with the context beside x where there is one, unless they are sequences.
        c: the contexts of sequences.
    """
    train = protocol.train
    if train.space.sequence:
        found = evaluate_sequences(train.space, samples, train=train.x, held=protocol.compared, consecutive=train.consecutive)
        scores, errors = score_sequences(protocol.extractor, train, protocol.compared, samples)
        scores |= found
    else:
        rows, space = with_context(train), joint_space(train)
        scores, errors = scores_and_errors(
            space, samples, train=rows, test_a=protocol.compared, target=target_column(train), seed=0, threads=1
        )
        if protocol.extractor is not None:
            with torch_threads(1):
                seen, wrong = score_images(protocol.extractor, train, protocol.compared, samples)
            scores, errors = seen | scores, wrong | errors
    if (match := label_match(protocol, samples, c)) is not None:
        scores["label_match"], errors["label_match"] = match
    return scores, errors


def score_attacks(
    protocol: Protocol, samples: Tensor, likelihood: tuple[np.ndarray, np.ndarray] | None = None, honest: bool = False
) -> tuple[dict[str, float], dict[str, float]]:
    """Return how well attacks tell training rows from held-out ones, and the errors; nothing of rows in order of time.

    Args:
        protocol: of the comparison.
        samples: with the context beside x where there is one.
        likelihood: the log-densities of the first training rows, and of all held-out ones; None without a model.
        honest: attack held-out rows in the place of samples.
    """
    if protocol.ordered or protocol.train.consecutive:  # later rows are others by nature
        return {}, {}
    most = math.inf if protocol.sample_limit is None else len(protocol.compared)  # as few as judge samples
    rows = suspects(with_context(protocol.train), with_context(protocol.test), most)
    if rows is None:
        return {}, {}
    if likelihood is not None:
        seen = likelihood[0][: len(rows.members)]
        rows = rows._replace(members=rows.members[: len(seen)])
        likelihood = seen, likelihood[1][rows.positions.numpy()]
    space = protocol.train.space if protocol.train.space.sequence else joint_space(protocol.train)
    return attack(space, rows.honest if honest else samples, rows, likelihood)


def _find_faults(protocol: Protocol, samples: Tensor) -> list[Finding]:
    """Return what is wrong with samples (N, *shape), which hold the context beside x where there is one."""
    train = protocol.train
    if train.space.sequence:
        return find_sequence_faults(train.space, samples, train.x, protocol.test.x, train.consecutive)
    space, seen, unseen = joint_space(train), with_context(train), with_context(protocol.test)
    copies = find_copies(space, samples, seen, unseen)
    # No pixel has a name that a person could look for; what is wrong with pictures is told by features.
    return copies + find_faults(space, samples, seen, unseen) if train.space.is_table else copies


def _find_telling(protocol: Protocol, samples: Tensor) -> dict[str, float]:
    """Return the columns that give samples away, which hold the context beside x where there is one."""
    train = protocol.train
    return (
        {}
        if not train.space.is_table or train.space.sequence
        else telling_columns(joint_space(train), protocol.compared, samples)
    )
