"""The losses of a training: each with its parameters and optimizers, and the module that computes them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from genus.compiled import Compiled
from genus.errors import TrainingError
from genus.ladder import GenerativeModel, Loss
from genus.random import draws_by_generator, torch_functions_seeded
from genus.training.muon import SinglePrecisionMuon
from genus.training.options import FitOptions, multiplies_halves
from genus.training.rows import Rows

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Objective", "Step", "make_fabric", "make_objectives", "trainable"]

FUSED = ("cpu", "cuda", "mps")


class Step(nn.Module):
    """Compute a loss: forward(loss_index, row_index) -> the loss of that index, of the rows of these indices.

    It is one module around the model and all that losses bring along, so that one device and one state_dict serve them. It
    takes the rows' index, not the rows: autocast would cast a module's inputs to bfloat16, in which data in their own units
    lose their digits.
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
        self.loss_functions = [Compiled(loss.value, "training") if compiled else loss.value for loss in losses]
        # Functions of others may call torch's functions that draw; those draw from the generator of the seed too.
        foreign = any(str(getattr(loss.value, "__module__", "")).split(".")[0] != "genus" for loss in losses)
        self.seeded: Callable[[], AbstractContextManager[None]] = nullcontext
        if not compiled and (foreign or not draws_by_generator(self)):  # `Compiled` seeds torch's functions itself
            self.seeded = torch_functions_seeded
        self.rows = rows
        self.device = None if rows.x.device == device else device  # where the rows of a batch are to be copied; None: nowhere

    def forward(self, loss_index: int, row_index: Tensor) -> Tensor:
        """Return the loss of that index, of the rows of indices (B,)."""
        rows = self.rows[row_index]
        if self.device is not None:
            rows = rows.to(self.device)
        with self.seeded():
            return _scalar(self.loss_functions[loss_index](rows.x, rows.c))


def _scalar(value: Tensor) -> Tensor:
    """Return a loss; raise TrainingError unless it is one number with a gradient."""
    if not isinstance(value, Tensor):
        raise TrainingError(f"A loss must be a tensor of one number, with gradients; this one is a {type(value).__name__}.")
    if value.ndim:
        raise TrainingError(f"A loss must be one number; this one has shape {tuple(value.shape)}: take its mean over the rows.")
    if not value.requires_grad:
        raise TrainingError("A loss has no gradient: it was computed from none of its parameters, or it was detached.")
    return value


@dataclass
class Objective:
    """Hold one loss with the parameters that it moves and their optimizers: Adam, and Muon for the matrices that it names."""

    index: int  # of the loss among those of the training
    name: str
    interval: int  # the loss is lowered at every such step
    parameters: list[nn.Parameter]
    others: list[nn.Parameter]  # parameters that must not get gradients from this loss
    optimizers: list[torch.optim.Optimizer]  # "initial_lr" is the learning rate before the schedule
    after: Callable[[], None] | None = None  # called after each of its steps
    piece: int | None = None  # rows whose gradient is computed at a time
    of_elements: bool = False  # the loss is a mean over elements of sequences, not over rows
    loss_sum: float = 0.0  # of the steps since the last row of the history
    norm_sum: float = 0.0  # of the gradient's norms, likewise
    steps: int = 0  # how many steps are in these sums

    def require_gradients(self) -> None:
        """Ask for gradients of this loss's parameters, and of no others."""
        for parameter in self.others:
            parameter.requires_grad_(False)
        for parameter in self.parameters:
            parameter.requires_grad_(True)


def trainable(model: GenerativeModel, losses: Sequence[Loss]) -> list[Loss]:
    """Return the losses with their parameters as lists, without those that require no gradients.

    Raises:
        TrainingError: there is no loss, a loss has no parameters, or all of them were made for another model.
    """
    if not losses:
        raise TrainingError(f"{type(model).__name__} gives no losses and does not count; pass losses=[Loss(...)].")
    chosen = [[p for p in loss.parameters if p.requires_grad] for loss in losses]
    for loss, parameters in zip(losses, chosen, strict=True):
        if not parameters:
            raise TrainingError(f"The loss {loss.name!r} has no parameters to train; give it some that require gradients.")
    own = set(map(id, model.parameters()))
    if any(loss.config for loss in losses) and not any(id(p) in own for parameters in chosen for p in parameters):
        raise TrainingError("None of these losses trains this model: they were made for another one; make them of this.")
    return [replace(loss, parameters=p, matrices=list(loss.matrices)) for loss, p in zip(losses, chosen, strict=True)]


def make_objectives(losses: Sequence[Loss], module: nn.Module, options: FitOptions, fused: bool) -> list[Objective]:
    """Return every loss with its optimizers. The learning rate is that of `fit`, else the loss's own, else 1e-3.

    Muon's steps are scaled to the size of Adam's (Liu et al. 2025, arXiv:2502.16982), so that one rate serves both.
    """
    made = []
    for index, loss in enumerate(losses):
        parameters = list(loss.parameters)
        own = set(map(id, parameters))
        others = [p for p in module.parameters() if id(p) not in own]
        optimizers = _optimizers(loss, parameters, options, fused)
        made.append(
            Objective(index, loss.name, loss.interval, parameters, others, optimizers, loss.after, loss.piece, loss.of_elements)
        )
    return made


def _optimizers(loss: Loss, parameters: list[nn.Parameter], of_fit: FitOptions, fused: bool) -> list[torch.optim.Optimizer]:
    if of_fit.optimizer is not None:
        return [_own_optimizer(of_fit.optimizer(parameters), of_fit.learning_rate)]
    options: dict[str, Any] = {"lr": 1e-3, "weight_decay": of_fit.weight_decay or 0.0} | dict(loss.optimizer)
    if of_fit.learning_rate is not None:
        options["lr"] = of_fit.learning_rate
    for_muon = set(map(id, loss.matrices))
    matrices, rest = [p for p in parameters if id(p) in for_muon], [p for p in parameters if id(p) not in for_muon]
    optimizers: list[torch.optim.Optimizer] = []
    if rest:
        optimizers.append(torch.optim.AdamW(rest, **{"fused": fused and parameters[0].device.type in FUSED} | options))
    if matrices:
        muon = {"lr": options["lr"], "weight_decay": options["weight_decay"], "adjust_lr_fn": "match_rms_adamw"}
        fast = multiplies_halves(matrices[0].device)
        optimizers.append((torch.optim.Muon if fast else SinglePrecisionMuon)(matrices, **muon))
    for optimizer in optimizers:
        optimizer.param_groups[0]["initial_lr"] = float(options["lr"])
    return optimizers


def _own_optimizer(optimizer: Any, learning_rate: float | None) -> torch.optim.Optimizer:
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TrainingError(f"optimizer must return an optimizer of torch's; it returned a {type(optimizer).__name__}.")
    for group in optimizer.param_groups:
        group["initial_lr"] = float(group["lr"] if learning_rate is None else learning_rate)
    return optimizer


def make_fabric(device: torch.device, precision: str) -> Fabric:
    """Return Lightning Fabric on one device.

    Raises:
        TrainingError: there is no such precision, or the device does not have it.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment

    notes = logging.getLogger("lightning_fabric.utilities.rank_zero")
    level = notes.level
    notes.setLevel(logging.WARNING)  # or Fabric would announce the precision, though nobody asked for another
    try:
        return Fabric(
            accelerator=device.type,
            devices=1 if device.index is None else [device.index],
            precision=precision,  # type: ignore[arg-type]
            plugins=LightningEnvironment(),  # under torchrun, the default would want all of its processes here
        )
    except (ValueError, RuntimeError) as error:
        raise TrainingError(f"Cannot train on device {str(device)!r} with precision {precision!r}: {error}") from error
    finally:
        notes.setLevel(level)
