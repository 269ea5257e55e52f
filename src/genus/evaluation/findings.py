"""Name what is wrong with samples: a `Finding` is a sentence with the figures behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """Hold one sentence on the samples of a family or a file.

    Args:
        kind: "accused" of what makes its numbers worthless, so that it is left out of the ranking; a "flaw", which stands
            beside its place; or a "repair" that was needed to read a file.
        test: the name of the test that found it, such as "copies".
        sentence: what is wrong, without a capital or a full stop.
        figures: the numbers behind the sentence, by name.

    >>> print(Finding("flaw", "unknown", "levels that no real row has: race (2 % of rows)", {"race": 0.02}))
    flaw: levels that no real row has: race (2 % of rows)
    """

    kind: Literal["accused", "flaw", "repair"]
    test: str
    sentence: str
    figures: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}: {self.sentence}"

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON values; `Finding(**values)` is the inverse."""
        return asdict(self) | {"figures": dict(self.figures)}
