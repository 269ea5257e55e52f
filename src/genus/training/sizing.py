"""Choose the size of a net by the time that it has and the speed of this machine."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from genus.compiled import can_compile
from genus.files import read_tensors
from genus.ladder import GenerativeModel, Size
from genus.nets.state import NoMoreThan
from genus.registry import build, suggested
from genus.training.checkpoint import explain_damage
from genus.training.loop import fit
from genus.training.options import find_device

__all__ = ["Choice", "built_as_saved", "choose_size", "saved_choice", "saved_settings"]

M = TypeVar("M", bound=GenerativeModel)
TIMED_STEPS = 3  # of each size
CHOOSING = 0.15  # share of the time that choosing may take, though the smallest size is timed in any case
TRAINING = 0.85  # share of the time that steps take; evaluations take the rest
LONG = 600.0  # seconds of training from which on steps are compiled, where a size says that this pays
COMPILING, FASTER = 80.0, 1.35  # seconds that compiling takes, and how many times as fast steps are then: GPT, 2 cores


class Choice(NamedTuple):
    """Hold the size that was chosen.

    Attributes:
        hyper: all hyper-parameters to build the model with.
        batch_size, learning_rate: arguments of `fit`; None: the family's own.
        compile: whether `fit` compiles its steps.
        sentence: says what was chosen and why; empty where nothing was to be chosen.
        seconds: how long choosing took.
    """

    hyper: dict[str, Any]
    batch_size: int | None = None
    learning_rate: float | None = None
    compile: bool = False
    sentence: str = ""
    seconds: float = 0.0

    @property
    def options(self) -> dict[str, Any]:
        """Return the arguments of `fit` that belong to the size."""
        return {"batch_size": self.batch_size, "learning_rate": self.learning_rate, "compile": self.compile}


def choose_size(
    cls: type[GenerativeModel], data: Any, seconds: float | None, given: Mapping[str, Any], seed: int = 0, device: str = "auto"
) -> Choice:
    """Return the largest of a family's sizes that can make enough steps in the time, by timing a few steps of each.

    Nothing is measured without a time, or where a hyper-parameter that sizes differ in is given: the same seed then gives the
    same model on every machine. What is measured depends on the machine and on what else it does; a model's file holds what
    was chosen.

    Args:
        cls: the family.
        data: a Dataset.
        seconds: of training; None: no limit.
        given: hyper-parameters that a person chose.
        seed: of the model that is timed.
        device: see `fit`.
    """
    default = suggested(cls, data.space, len(data)) | dict(given)
    sizes = list(cls.sizes(data.space, len(data)))
    if (
        seconds is None
        or not sizes
        or cls.refusal(data.space, data.context)
        or {k for s in sizes for k in s.hyper} & set(given)
    ):
        return Choice(default)
    begin, chosen, step, larger = time.perf_counter(), sizes[0], 0.0, ""
    can = seconds >= LONG and can_compile(find_device(device))
    for size in sizes:
        if time.perf_counter() - begin > CHOOSING * seconds:
            break
        if step and _steps(seconds, step, can and size.compiles) < size.steps:  # a larger net is no faster, and takes memory
            larger = f"; {_words(size)} needs some {size.steps:,}"
            break
        took = seconds_of_a_step(cls, data, default | size.hyper, size, seed, device, CHOOSING * seconds / len(sizes))
        fitting = _steps(seconds, took, can and size.compiles)
        if size is not sizes[0] and fitting < size.steps:
            larger = f"; {_words(size)} would make {fitting:,.0f}, and needs some {size.steps:,}"
            break
        chosen, step = size, took
    compiles = can and chosen.compiles
    steps, each = _steps(seconds, step, compiles), 1000 * step / (FASTER if compiles else 1.0)
    what = f"some {_rounded(steps):,} {'compiled ' if compiles else ''}steps in {seconds:g} s here, {each:.0f} ms each"
    options = (chosen.batch_size, chosen.learning_rate, compiles)
    return Choice(default | chosen.hyper, *options, f"{_words(chosen)}: {what}{larger}", time.perf_counter() - begin)


def _steps(seconds: float, step: float, compiles: bool) -> float:
    """Return how many steps fit into the time, of so many seconds each before they are compiled."""
    return (TRAINING * seconds - COMPILING) * FASTER / step if compiles else TRAINING * seconds / step


def seconds_of_a_step(
    cls: type[GenerativeModel], data: Any, hyper: dict[str, Any], size: Size, seed: int, device: str, seconds: float
) -> float:
    """Return the seconds of a step of training, by several, or by one where that takes longer than `seconds`.

    The first step, which allocates, is not counted.
    """
    model = build(cls, data.space, data.context, seed, **hyper)
    options: dict[str, Any] = {"batch_size": size.batch_size, "device": device, "validation": None, "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(model, data, max_steps=1, **options)
        took = []
        for steps in (1, 1 + TIMED_STEPS):  # both include what a training begins with
            begin = time.perf_counter()
            fit(model, data, max_steps=steps, **options)
            took.append(time.perf_counter() - begin)
            if took[0] > seconds:
                return took[0]
    return max((took[1] - took[0]) / TIMED_STEPS, 1e-6)


def saved_choice(path: str | os.PathLike[str]) -> Choice:
    """Return the size of the training that a checkpoint holds, so that it is resumed as it began."""
    settings = saved_settings(path)
    saved = settings.get("hyper-parameters", {})
    # A Dequantised model saves the `family` that it wraps, which its caller names too.
    hyper = {name: value for name, value in saved.items() if name != "family"} if isinstance(saved, dict) else {}
    return Choice(hyper, settings.get("batch_size"), settings.get("learning_rate"), settings.get("compile") is True)


def built_as_saved(path: str | os.PathLike[str], build: Callable[[], M]) -> M:
    """Return the model that `build` makes of the hyper-parameters in a checkpoint, which somebody may have changed.

    Raises:
        TrainingError: there is no such model, or it would have far more weights than the checkpoint.
    """
    tensors, _ = read_tensors(path)
    with explain_damage(path, "leave --resume out"), NoMoreThan(tensors.values()):
        return build()


def saved_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the settings of the training that a checkpoint holds; empty where it has none."""
    settings = read_tensors(path)[1].get("settings", {})
    return settings if isinstance(settings, dict) else {}


def _words(size: Size) -> str:
    parts = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in size.hyper.items()]
    return ", ".join(parts + ([f"batches of {size.batch_size}"] if size.batch_size else []))


def _rounded(steps: float) -> int:
    """Return the number with two digits: it is an estimate."""
    digits = max(0, len(str(int(steps))) - 2)
    return int(steps) // 10**digits * 10**digits
