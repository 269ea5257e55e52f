"""Learning by counting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

__all__ = ["Counted"]


class Counted(ABC):
    """Learns from additive sufficient statistics, kept in buffers, that can be streamed and merged across workers.

    A subclass, which is also a model or a part of one, must give

    - `observe(x, c)`: add rows to the statistics,
    - `conclude()`: set the parameters from the statistics,
    - `statistics`: the names of the buffers that hold them, "part.buffer" where a part of the model does.

    It may set `passes` to None where passes over the data repeat until the likelihood stands still (EM); 1 says that one pass
    is the maximum-likelihood fit. It may set `weighs` to True; its `observe(x, c, weight)` then counts a row as often as its
    weight (B,) says.
    """

    passes: ClassVar[int | None] = 1
    weighs: ClassVar[bool] = False
    statistics: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def observe(self, x: Tensor, c: Tensor | None = None) -> None:
        """Add the rows x (B, *shape) to the statistics."""

    @abstractmethod
    def conclude(self) -> None:
        """Set the parameters from the statistics."""

    @property
    def parameter_count(self) -> int:
        """Return how many numbers the model learns: its floating buffers that are not statistics."""
        return sum(buffer.numel() for buffer in self._learned() if buffer.is_floating_point())

    def _learned(self) -> list[Tensor]:
        others = {*self.statistics, "context_counts"}
        buffers = self.state_dict(keep_vars=True).items()  # type: ignore[attr-defined]
        return [buffer for name, buffer in buffers if name not in others and name.split(".")[-1] != "birth"]

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
