"""A training in mid-flight as one safetensors file, tensors and a JSON header; the best weights of a training so far."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from genus.errors import GenusError, TrainingError
from genus.files import UNBELIEVABLE, check_types, read_tensors, write_tensors
from genus.ladder import GenerativeModel, Loss
from genus.training.options import FitOptions
from genus.training.rows import Rows

__all__ = ["BestWeights", "explain_damage", "check_count", "check_number", "optimizer_tensors", "read", "restore_optimizer",
           "settings", "write"]  # fmt: skip

STATES = {"Adam": {"step", "exp_avg", "exp_avg_sq"}, "AdamW": {"step", "exp_avg", "exp_avg_sq"}, "Muon": {"momentum_buffer"}}
SUMMED = 4096  # rows summed at a time: a memory-mapped tensor is not copied
MOST = 2**53  # steps, or anything else that is counted
SHARED = (
    "seed",
    "learning_rate",
    "ema_decay",
    "max_grad_norm",
    "weight_decay",
    "lr_schedule",
    "optimizer",
    "precision",
    "compile",
)


@contextmanager
def explain_damage(path: str | os.PathLike[str], remedy: str) -> Iterator[None]:
    """Turn whatever goes wrong with what a checkpoint says into one sentence; errors of genus stay as they are.

    Args:
        path: of the checkpoint.
        remedy: what starts the training afresh, "pass resume=False".

    Raises:
        TrainingError: somebody changed the file.
    """
    try:
        yield
    except GenusError:
        raise
    except UNBELIEVABLE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        fresh = f"{remedy} to start afresh"
        raise TrainingError(f"{os.fspath(path)} is no training that can go on: {reason}; {fresh}.") from error


def settings(
    model: GenerativeModel,
    train: Rows,
    validation: Rows | None,
    options: FitOptions,
    batch_size: int | None,
    losses: Sequence[Loss],
) -> dict[str, Any]:
    """Return what a resumed training must have in common with the one that was saved, by names a user knows."""
    statistics = getattr(model, "statistics", ())  # their number may depend on the data
    return {
        "family": model.name or type(model).__name__,
        "hyper-parameters": model.config,
        "space": str(model.space),
        "number of weights": sum(t.numel() for name, t in model.state_dict().items() if name not in statistics),
        "training rows": len(train),
        "validation rows": 0 if validation is None else len(validation),
        "content of the data": fingerprint(train),
        "content of the validation rows": None if validation is None else fingerprint(validation),
        "batch_size": batch_size,
        **{name: _by_name(getattr(options, name)) for name in SHARED},
        "accumulate": None if options.accumulate == 1 else options.accumulate,
        "row_weights": None if (weights := train.row_weights()) is None else zlib.crc32(weights.cpu().numpy().data),
        "losses": [f"{loss.name}, every {loss.interval}" for loss in losses],
        "arguments of losses": json.loads(json.dumps([loss.config for loss in losses if loss.config])),
    }


def _by_name(value: Any) -> Any:
    """Return an option as JSON; a function, a class or a partial of one by its name."""
    if not callable(value):
        return value
    name = getattr(getattr(value, "func", value), "__qualname__", type(value).__qualname__)
    return f"{name} {getattr(value, 'args', ())} {getattr(value, 'keywords', {})}"


def fingerprint(rows: Rows) -> int:
    """Return a checksum of all rows and columns, in their order."""
    value = 0
    for start in range(0, len(rows), SUMMED):
        part = rows[start : start + SUMMED]
        for tensor in (part.x, part.c):
            value = value if tensor is None else zlib.crc32(tensor.detach().cpu().contiguous().numpy().data, value)
    return value


def write(path: str | os.PathLike[str], groups: dict[str, dict[str, Tensor]], header: dict[str, Any]) -> None:
    """Write groups of named tensors and the header, whole or not at all."""
    write_tensors(path, {f"{group}/{name}": t for group, named in groups.items() for name, t in named.items()}, header)


def read(path: str | os.PathLike[str], settings: dict[str, Any]) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Return the groups and the header that `write` wrote, if they belong to a training with these settings.

    Raises:
        ModelFileError: there is no such file, or it is not whole.
        TrainingError: it belongs to another training; the message names what differs.
    """
    if not os.path.exists(path):
        raise TrainingError(f"There is no checkpoint {os.fspath(path)} to resume from; pass resume=False to start afresh.")
    tensors, header = read_tensors(path)
    if "training" not in header:
        what = f"{os.fspath(path)} holds a model but no training to resume"
        raise TrainingError(f"{what}; expected a file that fit(checkpoint=...) wrote.")
    saved = header.get("settings")
    if not isinstance(saved, dict) or not isinstance(header["training"], dict):
        raise TrainingError(f"{os.fspath(path)} does not say which training it belongs to; pass resume=False to start afresh.")
    different = [
        f"{key} was {_short(saved.get(key))} and is now {_short(settings.get(key))}"
        for key in {**saved, **settings}
        if saved.get(key) != settings.get(key)
    ]
    if different:
        raise TrainingError(
            f"Cannot resume from {os.fspath(path)}, which belongs to another training: {'; '.join(different)}."
            " Call fit as before, or pass resume=False to start afresh."
        )
    groups: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        group, _, name = key.partition("/")
        groups.setdefault(group, {})[name] = tensor
    return groups, header


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def optimizer_tensors(optimizers: Iterable[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Return the optimizers' states as one flat mapping "optimizer/parameter/name"."""
    return {
        f"{place}/{index}/{name}": torch.as_tensor(value)
        for place, optimizer in enumerate(optimizers)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if value is not None  # an SGD without momentum keeps none
    }


def restore_optimizer(place: int, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimizer its part of the mapping that `optimizer_tensors` made.

    Raises:
        ValueError: a tensor is not of its parameter's shape and type. The fused steps of PyTorch would write beyond it.
    """
    state: dict[int, dict[str, Tensor]] = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, tensor in tensors.items():
        owner, index, name = key.split("/")
        if int(owner) == place:
            like = torch.zeros(()) if name == "step" else parameters[int(index)]
            known = type(optimizer).__name__ in STATES  # what others keep is theirs to check
            if (known and (tensor.shape, tensor.dtype) != (like.shape, like.dtype)) or not bool(tensor.isfinite().all()):
                raise ValueError(f"the optimizer's {name!r} is not that of the parameter")
            state.setdefault(int(index), {})[name] = tensor
    names = STATES.get(type(optimizer).__name__)
    if names is not None and any(set(known) != names for known in state.values()):
        raise ValueError(f"the optimizer's state is not {', '.join(sorted(names))} of every parameter")
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def check_number(name: str, value: Any, none: bool = False, least: float = -math.inf) -> None:
    """Raise ValueError where a value of a file is no finite number of at least `least`, nor None where it may be."""
    if value is None and none:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < least:
        raise ValueError(f"the {name} is {_short(value)}")


def check_count(name: str, value: Any, least: int = 0) -> None:
    """Raise ValueError where a value of a file is no whole number of at least `least`."""
    if type(value) is not int or not least <= value < MOST:
        raise ValueError(f"the {name} is {_short(value)}")


class BestWeights:
    """Remember the best weights by the criterion, their step, and how many evaluations have passed without better ones.

    Without a criterion the last finite weights count as the best.
    """

    def __init__(self) -> None:
        self.value: float | None = None
        self.step = 0
        self.waited = 0
        self.weights: dict[str, Tensor] = {}

    def offer(self, model: nn.Module, step: int, value: float | None) -> None:
        """Keep the model's weights if they are better, or if there is no criterion (value None) to say."""
        if value is None:
            self._keep(model, step)
            return
        better = not math.isnan(value) and (self.value is None or value < self.value)
        self.waited = 0 if better else self.waited + 1
        if better:
            self.value = value
        if better or not self.weights:
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
        """Give the model its best weights back, if there are any."""
        if self.weights:
            model.load_state_dict(self.weights)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers beside the weights as JSON values."""
        return {"value": self.value, "step": self.step, "waited": self.waited}

    def load(self, data: dict[str, Any], weights: dict[str, Tensor], model: nn.Module) -> None:
        """Take in what `to_json` returned, and the weights, which are put where the model's are.

        Raises:
            ValueError: they are not the weights of such a model.
        """
        self.value, self.step, self.waited = data["value"], data["step"], data["waited"]
        check_number("best value", self.value, none=True)
        check_count("best step", self.step)
        check_count("number of evaluations since the best", self.waited)
        like = model.state_dict()
        check_types(model, weights)
        if weights and {n: t.shape for n, t in weights.items()} != {n: t.shape for n, t in like.items()}:
            raise ValueError("the best weights are not those of the model")
        self.weights = {name: tensor.to(like[name].device) for name, tensor in weights.items()}
