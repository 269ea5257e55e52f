"""Learning by counting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

__all__ = ["Counted", "WithoutGradients"]


class WithoutGradients:
    """Counts the numbers of a model that learns without gradients: its floating buffers that are not statistics."""

    statistics: ClassVar[tuple[str, ...]] = ()

    @property
    def parameter_count(self) -> int:
        """Return how many numbers the model learns."""
        return sum(buffer.numel() for buffer in self._learned() if buffer.is_floating_point())

    def _learned(self) -> list[Tensor]:
        buffers = self.state_dict(keep_vars=True).items()  # type: ignore[attr-defined]
        others = ("birth", "context_counts")
        return [buffer for name, buffer in buffers if name not in self.statistics and name.split(".")[-1] not in others]


class Counted(WithoutGradients, ABC):
    """Learns from additive sufficient statistics, kept in buffers: one pass over the rows is the maximum-likelihood fit.

    The statistics can be streamed, and merged across workers. A family of several passes, as of EM, is a `Learned` one.

    A subclass, which is also a model or a part of one, must give

    - `observe(x, c)`: add rows to the statistics,
    - `conclude()`: set the parameters from the statistics,
    - `statistics`: the names of the buffers that hold them, "part.buffer" where a part of the model does.

    It may set `weighs` to True; its `observe(x, c, weight)` then counts a row as often as its weight (B,) says.
    """

    weighs: ClassVar[bool] = False

    @abstractmethod
    def observe(self, x: Tensor, c: Tensor | None = None) -> None:
        """Add the rows x (B, *shape) to the statistics."""

    @abstractmethod
    def conclude(self) -> None:
        """Set the parameters from the statistics."""

    def merge(self, other: Counted) -> None:
        """Add the statistics of another model of the same shape, which observed other rows; then call `conclude`."""
        for mine, theirs in zip(self._statistics(), other._statistics(), strict=True):
            mine.add_(theirs)

    def clear(self) -> None:
        """Set the statistics to zero; the parameters stay."""
        for statistic in self._statistics():
            statistic.zero_()

    def _statistics(self) -> list[Tensor]:
        return [self.get_buffer(name) for name in self.statistics]  # type: ignore[attr-defined]
