"""Independent steps: the baseline of sequences of numbers and of series, which no counts of n-grams describe."""

from __future__ import annotations

import torch
from torch import Tensor

from genus.ladder import Counted, TractableDensity
from genus.models.independent import Independent
from genus.random import uniform_like
from genus.space import Space

__all__ = ["IndependentSteps"]


class IndependentSteps(Counted, TractableDensity, name="independent-steps"):
    """Take every value of every step by itself, whatever was before: p(x) = prod_t prod_j p(x_tj), the same p_j at all steps.

    It is the baseline of a comparison of sequences of numbers and of series: a log-density above this one measures what values
    say of one another. Where sequences end, each step is the last with one probability.

    >>> from genus import Real, Space
    >>> x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    >>> model = IndependentSteps(Space(Real(), shape=(6,), sequence=True))
    >>> model.observe(x); model.conclude()
    >>> model.log_prob(x).shape, model.sample(2, seed=0).shape
    (torch.Size([40]), torch.Size([2, 6]))
    """

    info = TractableDensity.info.replace(
        title="independent steps", group="counted", takes="sequences and series; it ignores the context", listed=False,
        sequences=True, series=True,
    )  # fmt: skip
    statistics = (*(f"step.{name}" for name in Independent.statistics), "ended", "went_on")

    def __init__(self, space: Space, context: Space | None = None) -> None:
        super().__init__(space, context)
        names = [f"x{i}" for i in range(space.period)]
        first, *others = space.kinds[: space.period]  # an end is counted below, and not as a value
        self.step = Independent(Space([first.without_end() if space.ends else first, *others], names=names))
        for name in ("ended", "went_on"):  # how many steps
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))

    ended: Tensor
    went_on: Tensor

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        return None if space.sequence else "it models sequences, step by step, and these are rows of columns or pixels"

    def _steps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the steps of x (B, T C), (B, T, C); which of them are there, and which are the first behind an end, (B, T)."""
        steps = x.reshape(len(x), -1, self.space.period)
        gone = self.space.ended(x)
        return steps, ~gone, gone & (gone.cumsum(1) == 1)

    def observe(self, x: Tensor, c: Tensor | None = None) -> None:
        steps, there, last = self._steps(x)
        self.step.observe(steps[there])
        self.went_on += there.sum()
        self.ended += last.sum()

    def clear(self) -> None:
        self.step.clear()
        super().clear()

    def merge(self, other: Counted) -> None:
        if isinstance(other, IndependentSteps):
            self.step.merge(other.step)
            self.ended += other.ended
            self.went_on += other.went_on

    def conclude(self) -> None:
        self.step.conclude()

    def _log_end(self) -> tuple[Tensor, Tensor]:
        """Return the log-probabilities that a sequence ends at a step, and that it does not."""
        share = (self.ended + 0.5) / (self.ended + self.went_on + 1)
        return share.log(), (1 - share).log()

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        steps, there, last = self._steps(x)
        value = torch.zeros(there.shape, dtype=torch.float64, device=x.device)
        value[there] = self.step._log_prob(steps[there], None).double()
        if self.space.ends:
            end, on = self._log_end()
            value = value + there * on + last * end
        return value.sum(1)

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        period, length = self.space.period, self.space.dim // self.space.period
        x = self.step._sample(n * length, None).view(n, length, period)
        if not self.space.ends:
            return x.flatten(1)
        on = uniform_like(torch.empty(n, length, dtype=torch.float64, device=x.device)) >= self._log_end()[0].exp()
        lasts = torch.tensor([kind.missing_value for kind in self.space.kinds[:period]], dtype=x.dtype, device=x.device)
        return torch.where(on.cumprod(1).bool()[..., None], x, lasts).flatten(1)
