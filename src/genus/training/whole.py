"""Training by whole passes over the rows: of `Counted` models, and of `Learned` ones, whose pass is one call."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import torch

from genus.ladder import Counted, Learned, Rest, WithContext
from genus.ladder.functions import counted_threads
from genus.random import torch_functions_seeded
from genus.threads import threads_for, torch_threads
from genus.training.rows import Rows
from genus.training.trainer import INTERRUPTED, Job, Trainer

__all__ = ["CountingTrainer", "LearningTrainer"]

ELEMENTS = 2**22  # numbers counted at a time: large enough to be fast, small enough not to fill the memory


class CountingTrainer(Trainer):
    """Train a `Counted` model: in one pass over the rows, which is one step."""

    is_evaluated_once = True

    def __init__(self, job: Job) -> None:
        super().__init__(job, batch_size=job.options.batch_size, steps_per_epoch=1, most_steps=1)
        self.batch_size = job.options.batch_size or max(1, ELEMENTS // job.model.space.dim)
        self.counted = cast(Counted, job.model)
        self.history.parameters = job.model.parameter_count

    @torch.no_grad()
    def loop(self) -> str:
        self.model.eval()
        stopped = None if self.step else self.over()  # a training that is resumed has made its pass
        if not self.step and stopped is None:
            with torch_functions_seeded(self.model):  # functions of torch that are given no generator draw from the seed's too
                self.count_rows()
            self.step = 1
            self.evaluate_once()
        self.save()
        self.best.restore(self.model)
        self.history.parameters = self.model.parameter_count  # of some models it depends on the data
        return stopped or "closed form"

    def count_rows(self) -> None:
        """Observe all rows, or as many blocks as the budget or Ctrl-C leave time for, one at least, and conclude."""
        self.counted.clear()
        for number, block in enumerate(self.train.blocks(self.batch_size, self.group.rank, self.group.count)):
            if number > 0 and self.over() is not None:
                break
            if self.train.stream is not None:
                self.history.seen += len(block) * self.group.count
            if len(block):
                with counted_threads(self.counted):
                    self.counted.observe(*block.to(self.device).observed())  # type: ignore[arg-type]
        else:
            self.history.passes = int(self.train.stream is not None)
        self.group.conclude(self.counted, self.model)


class LearningTrainer(Trainer):
    """Train a `Learned` model: one call, which is one step. It is not resumed midway, but starts over."""

    is_evaluated_once = True

    def __init__(self, job: Job) -> None:
        super().__init__(job, batch_size=None, steps_per_epoch=1, most_steps=1)
        self.history.parameters = job.model.parameter_count

    @torch.no_grad()
    def loop(self) -> str:
        self.model.eval()
        ended = None
        if self.step == 0:
            train, learned, more = self.train[:].to(self.device), cast(Learned, self.model), dict[str, Any]()
            held = None if self.validation is None else (self.validation.x, self.validation.c)
            if self.train.rest is not None:
                self.history.seen, more = len(train), {"rest": self.rest} if learned.streams else {}
            with torch_functions_seeded(self.model), torch_threads(threads_for(train.x.numel())):
                ended = learned.learn((train.x, train.c), held, self.seconds_left, self.options.seed, **more)
            if self.train.rest is not None and learned.rows_used is not None:
                self.history.seen = learned.rows_used
            self.step = 1
            self.evaluate_once()
        if not self.interrupt.asked:  # learning that was cut short cannot be resumed
            self.save()
        self.history.parameters = self.model.parameter_count
        return INTERRUPTED if self.interrupt.asked else ended or "early stopping" if self.seconds_left() else "max_seconds"

    def rest(self, size: int) -> Iterator[WithContext]:
        """Yield the rows of a stream beside its sample, in blocks, and note how many have been seen."""
        seen, rest = len(self.train), cast(Rest, self.train.rest)
        for block in (Rows(x, c).to(self.device) for x, c in rest(size)):
            yield block.x, block.c
            self.history.seen = max(self.history.seen, seen := seen + len(block))
        self.history.passes += 1

    def seconds_left(self) -> float:
        """Return the seconds that learning may still take: 0 after Ctrl-C, inf without max_seconds."""
        if self.interrupt.asked:
            return 0.0
        return math.inf if self.budget.seconds is None else max(0.0, self.budget.seconds - self.seconds)
