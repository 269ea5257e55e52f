"""The weights worth keeping: the best so far by the criterion, or the last good ones where nothing judges."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

__all__ = ["Best", "finite"]


class Best:
    """Remembers the best weights, when they were seen, and how many evaluations have passed without better ones."""

    def __init__(self) -> None:
        self.value: float | None = None
        self.step = 0
        self.waited = 0
        self.weights: dict[str, Tensor] = {}

    def offer(self, model: nn.Module, step: int, value: float | None, tolerance: float = 0.0) -> None:
        """Keep the model's weights if they are better, or if there is no criterion (value None) to say.

        An improvement smaller than `tolerance` is kept, but counts as none for the patience.
        """
        if value is None:
            self._keep(model, step)
            return
        gain = -math.inf if math.isnan(value) else math.inf if self.value is None else self.value - value
        self.waited = 0 if gain > tolerance else self.waited + 1
        if gain > 0:
            self.value = value
        if gain > 0 or not self.weights:
            self._keep(model, step)

    def _keep(self, model: nn.Module, step: int) -> None:
        self.step = step
        state = model.state_dict()
        if self.weights:
            for name, tensor in state.items():
                self.weights[name].copy_(tensor)
        else:
            self.weights = {name: tensor.detach().clone() for name, tensor in state.items()}

    def restore(self, model: nn.Module) -> None:
        if self.weights:
            model.load_state_dict(self.weights)

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value, "step": self.step, "waited": self.waited}

    def load(self, data: dict[str, Any], weights: dict[str, Tensor], model: nn.Module) -> None:
        self.value, self.step, self.waited = data["value"], data["step"], data["waited"]
        like = model.state_dict()
        self.weights = {name: tensor.to(like[name].device) for name, tensor in weights.items()}


def finite(model: nn.Module) -> bool:
    """Whether all weights are."""
    return all(bool(parameter.isfinite().all()) for parameter in model.parameters())
