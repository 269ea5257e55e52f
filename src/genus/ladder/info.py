"""The facts that a family states about itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

__all__ = ["FamilyInfo", "Size"]

LEVELS = {"exact": "tractable", "bound": "approximate", "none": "implicit"}


@dataclass(frozen=True)
class FamilyInfo:
    """States what a family is, for listings, reports and the command line; a class attribute `info` of every family.

    Attributes:
        title: the name in words, "masked autoregressive flow".
        group: the branch of the taxonomy, "flows".
        takes: the data that it models, in words.
        listed: `genus.families()` shows it; False for a family that wraps others or is put together by hand.
        sequences: it models sequences of any length.
        series: it models sequences of several values a step too.
        likelihood: its log-density is "exact", a "bound", or there is "none".
        formula: the model in one line.
        good, bad: the data and the questions that it is a good and a bad choice for.

    >>> FamilyInfo("naive Bayes", "counted", likelihood="exact").density
    'tractable'
    """

    title: str = ""
    group: str = ""
    takes: str = "any table or image"
    listed: bool = True
    sequences: bool = False
    series: bool = False
    likelihood: str = "none"
    formula: str = ""
    good: str = ""
    bad: str = ""

    @property
    def density(self) -> str:
        """Return the kind of the family's density: "tractable", "approximate" or "implicit"."""
        return LEVELS[self.likelihood]

    def replace(self, **changes: Any) -> FamilyInfo:
        """Return the same facts but for some: a subclass states what differs from its parent."""
        return replace(self, **changes)


class Size(NamedTuple):
    """States a size of a family's net, and how many steps of training it needs to be worth more than a smaller one.

    Attributes:
        hyper: hyper-parameters.
        steps: the number of steps; 0 for the smallest size.
        batch_size, learning_rate: arguments of `fit`; None: the family's own.
        compiles: whether compiled steps are so much faster that a long training is worth the minute that compiling takes.
    """

    hyper: dict[str, Any]
    steps: int = 0
    batch_size: int | None = None
    learning_rate: float | None = None
    compiles: bool = False
