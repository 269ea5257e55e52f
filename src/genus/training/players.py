"""The players of a training game as Fabric and their optimizers see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from genus.compiled import Compiled
from genus.errors import TrainingError
from genus.model import Loss
from genus.training.rows import Rows

__all__ = ["Player", "Step", "players"]

FUSED = ("cpu", "cuda", "mps")


class Step(nn.Module):
    """forward(player, index) -> that player's loss on those rows, a scalar.

    Fabric wraps this module, so a loss is computed under autocast and its gradients are synchronised. It takes the rows' index
    and not the rows: autocast casts a module's inputs, and data in their own units do not survive bfloat16.
    """

    def __init__(self, model: nn.Module, losses: Sequence[Loss], rows: Rows, device: torch.device, compiled: bool) -> None:
        super().__init__()
        self.model = model
        own = set(map(id, model.parameters()))
        # A critic, say, that belongs to a loss and not to the model.
        modules = [loss.module for loss in losses if loss.module is not None]
        self.modules_of_losses = nn.ModuleList(m for m in modules if not own.issuperset(map(id, m.parameters())))
        own.update(map(id, self.modules_of_losses.parameters()))
        self.others = nn.ParameterList(p for loss in losses for p in loss.parameters if id(p) not in own)
        self.values = [Compiled(loss.value, "training") if compiled else loss.value for loss in losses]
        self.rows = rows
        self.device = None if rows.x.device == device else device

    def forward(self, player: int, index: Tensor) -> Tensor:
        rows = self.rows[index]
        if self.device is not None:
            rows = rows.to(self.device)
        return _scalar(self.values[player](rows.x, rows.c))


def _scalar(value: Tensor) -> Tensor:
    if not isinstance(value, Tensor):
        raise TrainingError(f"A loss must be a tensor of one number, with gradients; this one is a {type(value).__name__}.")
    if value.ndim:
        raise TrainingError(f"A loss must be one number; this one has shape {tuple(value.shape)}: take its mean over the rows.")
    if not value.requires_grad:
        raise TrainingError("A loss has no gradient: it was computed from none of its parameters, or it was detached.")
    return value


@dataclass
class Player:
    """One loss with its parameters and optimizers of its own: Adam, and Muon where it has matrices."""

    index: int
    name: str
    interval: int
    parameters: list[nn.Parameter]
    others: list[nn.Parameter]  # what must not get gradients in this player's turn
    optimizers: list[torch.optim.Optimizer]  # "initial_lr" is the learning rate before the schedule
    after: Callable[[], None] | None = None  # a step
    total: float = 0.0  # of the losses since the last row of the history
    gradient: float = 0.0  # of its norms, likewise
    count: int = 0

    def take_turn(self) -> None:
        """Gradients for this player's parameters, and for nothing else."""
        for parameter in self.others:
            parameter.requires_grad_(False)
        for parameter in self.parameters:
            parameter.requires_grad_(True)


def materialised(losses: Sequence[Loss]) -> list[Loss]:
    """The losses with their parameters as lists: `module.parameters()` can be walked through only once."""
    trained = [[p for p in loss.parameters if p.requires_grad] for loss in losses]
    return [replace(loss, parameters=p, matrices=list(loss.matrices)) for loss, p in zip(losses, trained, strict=True)]


def players(
    losses: Sequence[Loss], module: nn.Module, learning_rate: float | None, weight_decay: float, fused: bool
) -> list[Player]:
    """Optimizers for every loss. An explicit learning rate wins over a family's, which wins over 1e-3.

    Muon's steps are scaled to the size of Adam's (Liu et al. 2025, arXiv:2502.16982), so that one rate serves both.
    """
    everything = list(module.parameters())
    made = []
    for index, loss in enumerate(losses):
        mine = list(loss.parameters)
        if not mine:
            raise TrainingError(f"The loss {loss.name!r} has no parameters to train; give it some that require gradients.")
        options: dict[str, Any] = {"lr": 1e-3, "weight_decay": weight_decay} | dict(loss.optimizer)
        if learning_rate is not None:
            options["lr"] = learning_rate
        own, turned = set(map(id, mine)), set(map(id, loss.matrices))
        matrices, rest = [p for p in mine if id(p) in turned], [p for p in mine if id(p) not in turned]
        optimizers: list[torch.optim.Optimizer] = []
        if rest:
            optimizers.append(torch.optim.AdamW(rest, **{"fused": fused and mine[0].device.type in FUSED} | options))
        if matrices:
            muon = {"lr": options["lr"], "weight_decay": options["weight_decay"], "adjust_lr_fn": "match_rms_adamw"}
            optimizers.append(torch.optim.Muon(matrices, **muon))
        for optimizer in optimizers:
            optimizer.param_groups[0]["initial_lr"] = float(options["lr"])
        others = [p for p in everything if id(p) not in own]
        made.append(Player(index, loss.name, loss.interval, mine, others, optimizers, loss.after))
    return made
