"""A training in mid-flight as one safetensors file: tensors, and everything else as JSON in its header."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from genus.errors import TrainingError
from genus.files import read_tensors, write_tensors
from genus.model import GenerativeModel
from genus.training.rows import Rows

__all__ = [
    "describe",
    "nest",
    "optimizer_tensors",
    "random_state",
    "read",
    "restore_optimizer",
    "restore_random_state",
    "write",
]


def describe(model: GenerativeModel, train: Rows, held: Rows | None, settings: dict[str, Any]) -> dict[str, Any]:
    """What a resumed training must have in common with the one that was saved, by names a user knows."""
    counts = getattr(model, "statistics", ())  # their number may depend on the data
    return {
        "family": model.name or type(model).__name__,
        "hyper-parameters": model.hyper,
        "space": str(model.space),
        "number of weights": sum(t.numel() for name, t in model.state_dict().items() if name not in counts),
        "training rows": len(train),
        "validation rows": 0 if held is None else len(held),
        "content of the data": fingerprint(train),
        "content of the validation rows": None if held is None else fingerprint(held),
        **settings,
    }


def fingerprint(rows: Rows) -> int:
    """A checksum of the first thousand rows."""
    value, first = 0, rows[:1000]
    for part in (first.x, first.c):
        value = value if part is None else zlib.crc32(part.detach().cpu().contiguous().numpy().tobytes(), value)
    return value


def write(path: str | os.PathLike[str], groups: dict[str, dict[str, Tensor]], header: dict[str, Any]) -> None:
    """Groups of named tensors and the header, whole or not at all."""
    write_tensors(path, {f"{group}/{name}": t for group, named in groups.items() for name, t in named.items()}, header)


def read(path: str | os.PathLike[str], settings: dict[str, Any]) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """What `write` wrote, if it belongs to a training with these settings.

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
    saved = header["settings"]
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
    return nest(tensors), header


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def nest(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """{"group/name": tensor} -> {group: {name: tensor}}."""
    groups: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        group, _, name = key.partition("/")
        groups.setdefault(group, {})[name] = tensor
    return groups


def optimizer_tensors(optimizers: Iterable[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """The optimizers' states as one flat mapping "optimizer/parameter/name"."""
    return {
        f"{place}/{index}/{name}": torch.as_tensor(value)
        for place, optimizer in enumerate(optimizers)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore_optimizer(place: int, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimizer its part of what `optimizer_tensors` made."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        owner, index, name = key.split("/")
        if int(owner) == place:
            state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.random.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    torch.random.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
