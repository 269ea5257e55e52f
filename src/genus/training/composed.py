"""Training a model that is composed of others: its members one after the other, then what combines them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from torch import Tensor

from genus.errors import DataError, GenusError, TrainingError
from genus.ladder import ApproximateDensity, Composed, Counted, GenerativeModel, Learned, map_batches
from genus.nets.state import evaluating
from genus.training.history import History
from genus.training.options import FitOptions
from genus.training.rows import Rows, generator
from genus.training.terminal import TrainingInterrupted
from genus.training.trainer import INTERRUPTED, Job, Trainer

__all__ = ["ComposedTrainer"]

HELD = 0.1  # the share of the rows that is held out where no validation rows are given
RESERVE = 0.05  # the share of the time for the log-densities of the validation rows
LEAST_SECONDS = 1e-3  # seconds for a member when the time is over: it still makes one step

FitMember = Callable[[GenerativeModel, Rows, Rows, FitOptions, str], History]


class ComposedTrainer(Trainer):
    """Train the members of a `Composed` model, those that count first, and combine them after each.

    Args:
        job: as of every `Trainer`.
        options: those of `fit` without defaults, which are the members' own.
        fit_member: trains one model: (model, training rows, validation rows, options, title) -> its history.
    """

    def __init__(self, job: Job, options: FitOptions, fit_member: FitMember) -> None:
        composed = cast(Composed, job.model)
        self.fits = composed.fits
        self.folds = len(self.fits[0])
        super().__init__(job, batch_size=None, steps_per_epoch=1, most_steps=len(self.fits) * self.folds)
        self.composed, self.options_of_fit, self.fit_member = composed, options, fit_member
        self.history.parameters = self.model.parameter_count
        self.acceptances = [[0.0] * self.folds for _ in self.fits]  # of each model; 0 while it is not trained
        self.log_densities: Tensor | None = None  # (N, members)

    def limit_validation_rows(self, share: float, least: float = 0.0) -> None:
        """Keep all validation rows: every member is scored on them once."""

    def interruption(self) -> str:
        """Return the message of an interruption, from which there is no way on."""
        return (
            f"Training was interrupted after {self.step} of {len(self.fits) * self.folds} models; those that are trained make"
            f" up the {self.model.family_name}. It cannot be resumed; fit starts afresh."
        )

    def loop(self) -> str:
        splits = self.splits()
        order = sorted(range(len(self.fits)), key=lambda m: self.cost(self.fits[m][0]))
        left, reasons = len(self.fits) * self.folds, []
        for m in order:
            scores = []
            for fold, (member, (train, held)) in enumerate(zip(self.fits[m], splits, strict=True)):
                if self.interrupt.asked:
                    break
                if reason := self.train_one(member, m, fold, train, held, left):
                    reasons.append(reason)
                    left -= self.folds - fold
                    break
                scores.append(self.score(member, held))
                left -= 1
            if len(scores) == self.folds:
                self.keep(m, torch.cat(scores))
        if self.log_densities is None:
            self.combine_what_there_is(reasons)
        return INTERRUPTED if self.interrupt.asked else self.budget.over(0, self.seconds) or "every member trained"

    @staticmethod
    def cost(member: GenerativeModel) -> int:
        """Return a number by which members are ordered, quick ones first: later ones get the time that these leave."""
        return 0 if isinstance(member, Counted) else 1 if isinstance(member, Learned) else 2

    def splits(self) -> list[tuple[Rows, Rows]]:
        """Return the training rows and the validation rows of every fold; of one fold, those that were given.

        Raises:
            DataError: there are fewer rows than folds.
        """
        if self.folds == 1 and self.validation is not None:
            return [(self.train, self.validation)]
        rows, count = self.train, len(self.train)
        if count < max(2, self.folds):
            raise DataError(f"{count} rows cannot be divided into {max(2, self.folds)} parts; give more rows, or fewer folds.")
        order = torch.randperm(count, generator=generator(self.options.seed, 0))
        if self.folds == 1:
            parts = [order[: max(1, round(HELD * count))]]
        else:
            parts = [order[fold :: self.folds] for fold in range(self.folds)]
        splits = []
        for part in parts:
            others = torch.ones(count, dtype=torch.bool).index_fill(0, part, False).nonzero()[:, 0]
            part, others = part.to(rows.x.device), others.to(rows.x.device)
            without_copy = Rows(rows.x, rows.c, selection=others if rows.selection is None else rows.selection[others])
            splits.append((without_copy, rows[part].to(self.device)))
        return splits

    def train_one(self, member: GenerativeModel, m: int, fold: int, train: Rows, held: Rows, left: int) -> str:
        """Train a model with its share of the time; return why it failed, or nothing."""
        seconds = None
        if self.budget.seconds is not None:
            spare = self.budget.seconds * (1 - RESERVE) - self.seconds
            seconds = max(spare / left, LEAST_SECONDS)
        options = replace(self.options_of_fit, max_seconds=seconds)
        place = f" {fold + 1} of {self.folds}" if self.folds > 1 else ""
        member.codec = self.model.codec  # its constraints, by which the share of acceptable draws is measured
        try:
            history = self.fit_member(member, train, held, options, f"{member.family_name}{place}")
        except TrainingInterrupted:  # it has its best weights so far
            self.acceptances[m][fold] = member.measure_acceptance(train.c, self.options.seed)
        except GenusError as error:  # the others may do well
            reason = f"{member.family_name} could not be trained and is left out of the {self.model.family_name}: {error}"
            warnings.warn(reason, stacklevel=8)
            return reason
        else:
            self.acceptances[m][fold] = history.acceptance
        finally:
            member.codec = None
        self.step += 1
        return ""

    @torch.no_grad()
    def score(self, member: GenerativeModel, held: Rows) -> Tensor:
        """Return what a model thinks of validation rows, see `Composed.score`."""
        score = partial(self.composed.score, cast(ApproximateDensity, member), seed=self.options.seed)
        with evaluating(member):
            return map_batches(score, held.x, held.c).double()

    def keep(self, m: int, scores: Tensor) -> None:
        """Combine the members that are trained, this one among them, and record what they are worth together."""
        if self.log_densities is None:
            self.log_densities = scores.new_full((*scores.shape, len(self.fits)), -math.inf)
        self.log_densities[..., m] = scores
        together = self.composed.combine(self.log_densities, self.acceptances)
        self.best.step = self.step
        self.record({}, -float(together.mean()), {f"weight of {name}": w for name, w in self.composed.weights.items()})

    def show(self, losses: dict[str, float | None]) -> None:
        """Show nothing: the members show their own progress."""

    def combine_what_there_is(self, reasons: list[str]) -> None:
        """Combine the models of a member whose folds are not all trained, where there is nothing better.

        Raises:
            TrainingError: no member could be trained.
        """
        if reasons and len(reasons) == len(self.fits):
            raise TrainingError(f"No member could be trained: {' '.join(reasons)}")
        trained = [max(accepted) > 0 for accepted in self.acceptances]
        if any(trained):
            scores = torch.tensor([[0.0 if one else -math.inf for one in trained]])
            self.composed.combine(scores, self.acceptances)
