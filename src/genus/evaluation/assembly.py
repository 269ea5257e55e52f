"""Put a report together: its families, the reference rows beside them, and the facts of the run."""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from torch import Tensor

from genus.codec.notes import Note
from genus.data import Dataset
from genus.evaluation.attacks import ATTACKS
from genus.evaluation.classifiers import transfer, transfer_key
from genus.evaluation.labels import LABELLED, label_match
from genus.evaluation.metrics import LEARNT, METRICS, independent_columns
from genus.evaluation.ngrams import cut_alike
from genus.evaluation.perceived import PERCEIVED, ordering_metric, real_pieces, score_sequences, shuffled
from genus.evaluation.protocol import Protocol, joint_space, pictured, target_column, with_context
from genus.evaluation.report import Report
from genus.evaluation.results import Row
from genus.evaluation.scoring import score_attacks, score_rows
from genus.evaluation.sequences import NOVELTY, draws, evaluate_sequences

__all__ = ["assemble", "cores_here", "reference_scores"]


def reference_scores(protocol: Protocol, rest: Tensor) -> dict[str, dict[str, float]]:
    """Return the metrics of rows that give a number its meaning: real rows, independent columns, and copies.

    Args:
        protocol: of the comparison.
        rest: the half of the held-out rows that samples are not compared with, the context beside each.
    """
    if protocol.train.space.sequence:
        return _sequence_scores(protocol, rest)
    train, n = with_context(protocol.train), max(min(len(protocol.train), LEARNT), len(protocol.compared))
    rows = {
        "real against real": rest,
        "independent columns": independent_columns(train, n),
        "copy of the training set": train,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = {name: score_rows(protocol, x)[0] for name, x in rows.items()}
        for name in ("real against real", "copy of the training set"):
            scores[name] |= score_attacks(protocol, rows[name], honest=name == "real against real")[0]
        if (column := target_column(protocol.train)) is not None:  # as many rows to learn from as a model's samples
            space = joint_space(protocol.train)
            told = transfer(space, column, train[:n], protocol.compared, 0).value
            scores["real against real"][transfer_key(space.kinds[column])] = told
    # A copier's rows are real rows: only the memorisation columns tell it from an honest model.
    kinds = {key: metric.kind for key, metric in (PERCEIVED | METRICS | LABELLED | ATTACKS).items()}
    copier = scores["copy of the training set"]
    told_by = ("memorisation", "membership")
    scores["copy of the training set"] = {key: value for key, value in copier.items() if kinds[key] in told_by}
    return scores


def _sequence_scores(protocol: Protocol, rest: Tensor) -> dict[str, dict[str, float]]:
    """Return the metrics of other real rows, of training rows with their symbols shuffled, and of training rows."""
    train, half = protocol.train, len(protocol.compared)
    count, length = draws(train.space, train.consecutive)
    c = None if protocol.test.c is None else protocol.test.c[half : half + len(rest)]
    rows = {
        "real against real": real_pieces(train, rest, length, 1)[:count],
        "symbols shuffled": shuffled(train, count, length),
        "copy of the training set": cut_alike(train.space, train.x, length, train.consecutive)[:count],
    }
    scores = {name: score_sequences(protocol.extractor, train, protocol.compared, x)[0] for name, x in rows.items()}
    found = {"real against real": rest, "copy of the training set": rows["copy of the training set"]}
    if not train.consecutive and (match := label_match(protocol, rest[:count], c)) is not None:
        scores["real against real"]["label_match"] = match[0]
    for name, x in found.items():
        scores[name] |= evaluate_sequences(train.space, x, train=train.x, held=protocol.compared, consecutive=train.consecutive)
    copier = scores["copy of the training set"]
    scores["copy of the training set"] = {key: value for key, value in copier.items() if key in NOVELTY}
    return {name: found for name, found in scores.items() if found}


def assemble(
    protocol: Protocol,
    rows: Sequence[Row],
    references: dict[str, dict[str, float]],
    data: Dataset,
    begin: float,
    **more: Any,
) -> Report:
    """Return the report of rows.

    Args:
        protocol: of the comparison.
        rows: one for each family, and for each file of samples.
        references: as `reference_scores` returns them.
        data: all real rows, for their name, their number and their notes.
        begin: when the comparison began, as `time.time` has it.
        more: other fields of the report.
    """
    train, held = protocol.train, protocol.test
    used = {key for scores in (*references.values(), *(row.metrics for row in rows)) for key in scores}
    return Report(
        name=data.name,
        space=train.space,
        data_codec=train.codec,
        notes=list(map(Note.of, data.notes)),
        rows=list(rows),
        train_rows=len(train),
        test_rows=len(held),
        held_out_groups=None if held.groups is None else len(held.groups.unique()),
        total_rows=len(data),
        context=data.context,
        context_columns=", ".join(data.context.names or ()) if data.context is not None else None,
        target=train.target,
        references=references,
        metrics={key: metric for key, metric in (PERCEIVED | METRICS | LABELLED | ATTACKS | NOVELTY).items() if key in used},
        samples_metric=ordering_metric([row.metrics for row in rows if row.status == "ok" and not row.accused]),
        features=protocol.extractor.words if protocol.extractor is not None else "",
        real=held.x[: len(protocol.compared)][: pictured(data.space)].to(data.space.dtype),
        versions=_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=time.time() - begin,
        machine=f"{platform.system()} {platform.machine()}",
        **more,
    )


def cores_here() -> int:
    """Return how many cores of the processor this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _versions() -> dict[str, str]:
    packages = ("genus", "torch", "lightning-fabric", "numpy", "scikit-learn")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in packages}
