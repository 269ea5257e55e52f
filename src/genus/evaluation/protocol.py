"""Hold what all trials of a comparison share: the rows, the budgets, and the space in which samples are compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from genus.data import Dataset
from genus.evaluation.extractor import Extractor
from genus.evaluation.metrics import CELLS, LEARNT, NEIGHBOURS
from genus.evaluation.sequences import draws
from genus.ladder import GenerativeModel
from genus.space import Space
from genus.training.rows import Rows, prepare

__all__ = ["Protocol", "joint_space", "pictured", "target_column", "validation_rows", "with_context"]

KEPT = 2_000  # validation rows, at most, whose log-densities are kept
LEAST_KEPT, KEPT_VALUES = 500, 2**18  # and these many numbers, or so many rows
VALIDATION = 0.1  # of the training rows, which stop a training


@dataclass(frozen=True)
class Protocol:
    """Hold everything that all trials of a comparison share.

    Args:
        train: the training rows.
        test: the held-out rows.
        compared: the held-out rows that samples are compared with, half of them at most, the context beside each.
        budget: seconds of fitting.
        budgets: seconds by family name, where they differ.
        hyper: hyper-parameters by family name.
        threads: of torch, meanwhile.
        ordered: the training rows are in order of time, so that the last of them are the validation rows.
        small: the fit is one of the small ones that choose families: the model is scored on validation rows alone.
        deadline: as `time.time` has it, when no training may go on.
        sample_limit: the number of samples that are drawn, where time is short; None: as many as the metrics take.
        stacked: log-densities of validation rows, and samples, are kept for a stack.
        folder: where every model is saved, as family-seed.genus; None: nowhere.
        extractor: of the features of images or sounds; None of tables and texts.
    """

    train: Dataset
    test: Dataset
    compared: Tensor
    budget: float
    hyper: Mapping[str, Mapping[str, Any]]
    threads: int
    ordered: bool = False
    small: bool = False
    deadline: float = math.inf
    sample_limit: int | None = None
    stacked: bool = False
    folder: str | None = None
    extractor: Extractor | None = None
    budgets: Mapping[str, float] = field(default_factory=dict)

    def seconds(self, family: str) -> float:
        """Return the seconds of fitting that a family has."""
        return self.budgets.get(family, self.budget)

    @property
    def training(self) -> tuple[Dataset, Dataset | float]:
        """Return the rows that train, and the validation rows, which stop a training, or their share."""
        if not self.ordered:
            return self.train, VALIDATION
        edge = len(self.train) - max(1, round(VALIDATION * len(self.train)))
        return self.train.rows(slice(0, edge)), self.train.rows(slice(edge, None))

    @property
    def sample_count(self) -> int:
        """Return how many samples a model draws: as many as the metrics take."""
        space = self.train.space
        if self.sample_limit is not None and not space.sequence:
            return max(self.sample_limit, len(self.compared))
        if space.sequence:
            return draws(space, self.train.consecutive)[0]
        if space.is_table:
            return max(min(len(self.train), LEARNT), len(self.compared))
        return min(len(self.compared), max(NEIGHBOURS, CELLS // space.dim))


def validation_rows(protocol: Protocol, model: GenerativeModel, seed: int) -> Rows | None:
    """Return the validation rows of a training with that seed, 2,000 at most, fewer of wide ones; they trained no family."""
    rows, validation = protocol.training
    held = prepare(model, rows, validation, seed)[1]
    most = min(KEPT, max(LEAST_KEPT, KEPT_VALUES // protocol.train.space.dim))
    return None if held is None else held[: min(len(held), most)]


def with_context(data: Dataset) -> Tensor:
    """Return x with c beside it, so that samples of a model that ignores its context are told from real rows."""
    if data.c is None or data.space.sequence:
        return data.x
    return torch.cat([data.x.flatten(1), data.c.to(data.x.dtype)], dim=1)


def joint_space(data: Dataset) -> Space:
    """Return the space of `with_context`."""
    if data.context is None:
        return data.space
    names = [*data.space.names, *(data.context.names or ())] if data.space.names is not None else None
    return Space([*data.space.kinds, *data.context.kinds], names=names)


def target_column(train: Dataset) -> int | None:
    """Return the position in `joint_space` of the column to predict from samples: the target, or the context's only one."""
    if train.target is not None:
        return train.space.index(train.target)
    alone = train.context is not None and train.context.dim == 1 and train.space.is_table and not train.space.sequence
    return train.space.dim if alone else None


def pictured(space: Space) -> int:
    """Return how many samples are kept for the pictures."""
    return 64 if space.sequence else 2000
