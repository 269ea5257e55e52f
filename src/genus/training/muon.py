"""Muon in single precision, for processors that multiply bfloat16 matrices slowly."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["SinglePrecisionMuon"]


class SinglePrecisionMuon(torch.optim.Muon):
    """Make the steps of PyTorch's Muon in the weights' precision (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

    PyTorch's orthogonalises in bfloat16, which a processor without instructions for it emulates: of a net of 64 units that took
    more time than the gradients. Steps are scaled to the size of Adam's (Liu et al. 2025, arXiv:2502.16982).
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step of all parameters that have gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in (p for p in group["params"] if p.grad is not None):
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                momentum = state["momentum_buffer"].lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
                update = orthogonalised(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-0.2 * math.sqrt(max(parameter.shape)) * group["lr"])
        return loss


def orthogonalised(update: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """Return a matrix (A, B) with all singular values brought near 1, by steps of a quintic Newton-Schulz iteration."""
    a, b, c = coefficients
    wide = update.T if update.shape[0] > update.shape[1] else update
    x = wide / wide.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if update.shape[0] > update.shape[1] else x
