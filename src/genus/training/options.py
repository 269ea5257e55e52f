"""The arguments of `fit`, put together and checked once; the budget and the learning-rate schedules that follow from them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import torch

from genus.errors import TrainingError

__all__ = ["SCHEDULES", "Budget", "FitOptions", "find_device"]

# Share of the learning rate at a share of the budget spent.
SCHEDULES = {
    "cosine": lambda spent: 0.5 * (1 + math.cos(math.pi * spent)),
    "linear": lambda spent: 1 - spent,
    "constant": lambda spent: 1.0,
}

WHOLE = ("batch_size", "accumulate", "max_steps", "patience", "checkpoint_every")
POSITIVE = (*WHOLE, "epochs", "max_seconds", "learning_rate", "max_grad_norm")
BY_FAMILY = ("batch_size", "learning_rate", "patience", "ema_decay", "weight_decay", "lr_schedule", "precision")


@dataclass(frozen=True)
class FitOptions:
    """Hold the arguments of one `fit`, which documents each; an instance is valid from the moment it is made.

    Raises:
        TrainingError: an argument is of the wrong kind or out of range, or resume=True comes without a checkpoint.

    >>> options = FitOptions(max_steps=10).with_defaults({"learning_rate": 1e-2})
    >>> options.learning_rate, options.ema_decay, options.patience
    (0.01, 0.0, 20)
    """

    epochs: float | None = None
    max_steps: int | None = None
    max_seconds: float | None = None
    batch_size: int | None = None
    accumulate: int = 1
    learning_rate: float | None = None
    seed: int = 0
    validation: Any = 0.1
    patience: int | None = None
    ema_decay: float | None = None
    max_grad_norm: float | None = 5.0
    weight_decay: float | None = None
    lr_schedule: str | Callable[[float], float] | None = None
    optimizer: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer] | None = None
    row_weights: Any = None
    device: str = "auto"
    precision: str | None = None
    compile: bool = False
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_every: int | None = None
    resume: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        for name in POSITIVE:
            self._check_number(name, positive=True)
        for name in ("ema_decay", "weight_decay"):
            self._check_number(name, positive=False)
        if isinstance(self.seed, bool) or not isinstance(self.seed, Integral) or not 0 <= self.seed < 2**64:
            raise TrainingError(f"seed must be a whole number from 0 to 2^64 - 1; got {self.seed!r}.")
        for name in ("seed", *WHOLE):  # NumPy's whole numbers have no place in a checkpoint's JSON
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else int(value))
        if self.ema_decay is not None and not self.ema_decay < 1:
            raise TrainingError(f"ema_decay is a decay, at least 0 and below 1; got {self.ema_decay}.")
        if not (self.lr_schedule is None or callable(self.lr_schedule) or self.lr_schedule in SCHEDULES):
            raise TrainingError(
                f"There is no lr_schedule {self.lr_schedule!r}; there are {', '.join(SCHEDULES)}, and functions of a share."
            )
        if not (self.optimizer is None or callable(self.optimizer)):
            raise TrainingError(f"optimizer must be a function of a list of parameters; got {self.optimizer!r}.")
        if self.resume and self.checkpoint is None:
            raise TrainingError("resume=True needs checkpoint=, the file to resume from.")

    def _check_number(self, name: str, positive: bool) -> None:
        value = getattr(self, name)
        if value is None:
            return
        whole = name in WHOLE
        if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
            raise TrainingError(f"{name} must be a {'whole ' if whole else ''}number, or None; got {value!r}.")
        try:
            value = float(value)
        except OverflowError as error:
            raise TrainingError(f"{name} must be a number, or None; got one of {len(str(value))} digits.") from error
        if positive and not value > 0:
            raise TrainingError(f"{name} must be positive, or None; got {getattr(self, name)}.")
        if not positive and not 0 <= value < math.inf:
            raise TrainingError(f"{name} must be a number of at least 0, or None; got {getattr(self, name)!r}.")

    def rate(self, spent: float) -> float:
        """Return the share of the learning rate at a share of the budget spent."""
        schedule = self.lr_schedule if callable(self.lr_schedule) else SCHEDULES[str(self.lr_schedule)]
        return float(schedule(spent))

    def with_defaults(self, family: Mapping[str, Any]) -> FitOptions:
        """Return the options with a default in place of every None that has one.

        Args:
            family: its `fit_defaults`, which come before the defaults of every training. A precision among them holds only
                where the device multiplies bfloat16 matrices faster than float32 ones.
        """
        if unknown := sorted(set(family) - set(BY_FAMILY)):
            raise TrainingError(f"fit_defaults may hold {', '.join(BY_FAMILY)}; this family's hold {', '.join(unknown)}.")
        common = {"ema_decay": 0.0, "weight_decay": 0.0, "lr_schedule": "cosine", "patience": 20, "precision": "32-true"}
        defaults = {**common, **family}
        if self.optimizer is not None:  # its own rate, unless the caller names one
            defaults.pop("learning_rate", None)
        if "precision" in family and not multiplies_halves(find_device(self.device)):
            defaults["precision"] = common["precision"]
        return replace(self, **{name: value for name, value in defaults.items() if getattr(self, name) is None})


@dataclass(frozen=True)
class Budget:
    """Steps and seconds; whichever ends first ends the training.

    >>> budget = Budget.of(FitOptions(epochs=3), steps_per_epoch=10)
    >>> budget.spent(15, 0.0), budget.over(15, 0.0), budget.over(30, 0.0)
    (0.5, None, 'epochs')
    """

    steps: int | None
    seconds: float | None
    name: str  # of the bound on steps

    @classmethod
    def of(cls, options: FitOptions, steps_per_epoch: int = 1, most_steps: int = 1) -> Budget:
        """Return the budget that the options name; `most_steps` steps where they name none."""
        bounds = []
        if options.epochs is not None:
            bounds.append((math.ceil(options.epochs * steps_per_epoch), "epochs"))
        if options.max_steps is not None:
            bounds.append((options.max_steps, "max_steps"))
        if not bounds and options.max_seconds is None:
            # Early stopping usually ends such a training; the limit is for a model that creeps.
            bounds.append((most_steps, "the default limit on steps"))
        steps, name = min(bounds, default=(None, ""))
        return cls(steps, options.max_seconds, name)

    def spent(self, step: int, seconds: float) -> float:
        """Return the share of the budget that is gone, 0 to 1: of whichever bound is nearer."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = seconds / self.seconds if self.seconds else 0.0
        return min(1.0, max(by_steps, by_time))

    def over(self, step: int, seconds: float) -> str | None:
        """Return the name of the bound that is reached; None while none is."""
        if self.steps is not None and step >= self.steps:
            return self.name
        return "max_seconds" if self.seconds is not None and seconds >= self.seconds else None


def find_device(name: str) -> torch.device:
    """Return the device of that name, "auto" the first CUDA GPU, or the processor without one.

    Raises:
        TrainingError: this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(f"There is no device {name!r}; pass 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'.") from error
    count = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(device.type, 1)
    if (device.index or 0) >= count:
        raise TrainingError(f"Device {name!r} was asked for, and PyTorch finds {count} of its kind here; pass 'auto' or 'cpu'.")
    return device


def multiplies_halves(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cpu":
        capable = torch.cpu.get_capabilities()
        return any(capable.get(name, False) for name in ("avx512_bf16", "amx_bf16", "sve_bf16", "bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
