"""Training by counting: one pass over the data where that is the fit, passes until nothing improves where it is EM."""

from __future__ import annotations

from typing import cast

import torch

from genus.model import Counted
from genus.training.run import Run

__all__ = ["Counting"]

ELEMENTS = 2**22  # numbers observed at a time: large enough to be fast, small enough not to fill the memory


class Counting(Run):
    """One training of a `Counted` model, pass by pass."""

    patience_over = "converged"
    tolerance = 1e-4

    def start(self, batch_size: int | None) -> None:
        self.batch_size = batch_size or max(1, ELEMENTS // self.model.space.dim)
        self.counted = cast(Counted, self.model)
        self.passes = self.counted.passes
        self.history.parameters = self.model.parameter_count

    @torch.no_grad()
    def loop(self) -> str:
        self.model.eval()
        if self.passes is not None and self.step >= self.passes:  # resumed after its end
            return "closed form"
        while (stopped := self.over()) is None:
            if not self.one_pass():
                stopped = self.over() or "interrupted"
                break
            self.step += 1
            # A closed form is its own judge: with one pass there is nothing to choose between.
            value = self.criterion()
            self.record({}, value)
            if self.save_due():
                self.save()
            if self.passes is not None and self.step >= self.passes:
                stopped = "closed form"
                break
        self.save()
        self.best.restore(self.model)
        self.history.parameters = self.model.parameter_count  # of some models the data decide
        return stopped

    def one_pass(self) -> bool:
        """Observe all rows and conclude. False: time ran out, or Ctrl-C came, and the pass is void.

        The first pass is concluded from what was seen by then, so that a short time still gives a model.
        """
        self.counted.clear()
        cut = False
        for at in range(0, len(self.train), self.batch_size):
            cut = at > 0 and self.over() is not None
            if cut:
                break
            rows = self.train[at : at + self.batch_size].to(self.device)
            # Pieces of one sequence are counted as one, so that nothing is lost at their edges.
            self.counted.observe(rows.x.reshape(1, -1) if rows.consecutive else rows.x, rows.c)
        if cut and self.step > 0:
            return False
        self.counted.conclude()
        return True
