"""How long to train, and the step size on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass

from genus.errors import TrainingError

__all__ = ["SCHEDULES", "Budget"]

# Share of the learning rate at a share of the budget spent.
SCHEDULES = {
    "cosine": lambda spent: 0.5 * (1 + math.cos(math.pi * spent)),
    "linear": lambda spent: 1 - spent,
    "constant": lambda spent: 1.0,
}


@dataclass(frozen=True)
class Budget:
    """Steps and seconds; whichever ends first ends the training.

    >>> budget = Budget.of(epochs=3, max_steps=None, max_seconds=None, steps_per_epoch=10)
    >>> budget.spent(15, 0.0), budget.over(15, 0.0), budget.over(30, 0.0)
    (0.5, None, 'epochs')
    """

    steps: int | None
    seconds: float | None
    name: str  # of the bound on steps

    @classmethod
    def of(
        cls, epochs: float | None, max_steps: int | None, max_seconds: float | None, steps_per_epoch: int = 1, cap: int = 1
    ) -> Budget:
        for name, value in (("epochs", epochs), ("max_steps", max_steps), ("max_seconds", max_seconds)):
            if value is not None and not value > 0:
                raise TrainingError(f"{name} must be positive; got {value}.")
        bounds = []
        if epochs is not None:
            bounds.append((math.ceil(epochs * steps_per_epoch), "epochs"))
        if max_steps is not None:
            bounds.append((max_steps, "max_steps"))
        if not bounds and max_seconds is None:
            # Early stopping usually ends such a run; the cap is for a model that creeps.
            bounds.append((cap, "the default cap on steps"))
        steps, name = min(bounds, default=(None, ""))
        return cls(steps, max_seconds, name)

    def spent(self, step: int, seconds: float) -> float:
        """The share of the budget that is gone, 0 to 1: of whichever bound is nearer."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = seconds / self.seconds if self.seconds else 0.0
        return min(1.0, max(by_steps, by_time))

    def over(self, step: int, seconds: float) -> str | None:
        """What ended it; None while there is some left."""
        if self.steps is not None and step >= self.steps:
            return self.name
        return "max_seconds" if self.seconds is not None and seconds >= self.seconds else None
