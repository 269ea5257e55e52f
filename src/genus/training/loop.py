"""`fit`: data in, a trained model out."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch

from genus.errors import TrainingError
from genus.model import Counted, GenerativeModel, Loss, isolated
from genus.training import checkpoint as files
from genus.training.budget import SCHEDULES, Budget
from genus.training.history import History
from genus.training.interrupt import Interrupt
from genus.training.players import materialised
from genus.training.progress import Progress
from genus.training.rows import HELD_OUT, Rows, batch_size_for, generator, prepare
from genus.training.run import Options

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["fit"]


@torch.enable_grad()
def fit(
    model: GenerativeModel,
    data: Any,
    *,
    losses: Sequence[Loss] | None = None,
    epochs: float | None = None,
    max_steps: int | None = None,
    max_seconds: float | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    validation: Any = 0.1,
    patience: int | None = None,
    ema_decay: float | None = None,
    max_grad_norm: float | None = 5.0,
    weight_decay: float | None = None,
    lr_schedule: str | None = None,
    device: str = "auto",
    precision: str | None = None,
    compile: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train a model in place; it ends in evaluation mode, on the device it was trained on, with its best weights.

    A model with losses is trained by gradients: every player of `model.losses()` has an Adam of its own (Kingma & Ba 2015,
    arXiv:1412.6980), and a Muon for the matrices that it names (Jordan et al. 2024, kellerjordan.github.io/posts/muon). A
    `Counted` model observes all rows once, or pass after pass where it learns by EM; of the arguments, the budgets, seed,
    validation, patience, batch_size and the checkpoint concern it.

    A model that has been trained goes on from its weights: with other rows, other losses, a smaller learning rate.

    The same seed gives the same weights bit for bit, except against `max_seconds`; the global random state is left alone.

    Args:
        data: a Dataset, x of shape (N, *space.shape), or (x, c) with c of shape (N, *context.shape).
        losses: other losses than the model's own, each a player.
        epochs, max_steps, max_seconds: budgets; whichever ends first ends the training, the final evaluation included. With
            none of them, early stopping ends it, or a cap of 100 epochs (3000 to 30 000 steps; 200 passes of EM).
        batch_size: by default 64 for hundreds of rows to 512 for tens of thousands; of sequences some 8,000 elements.
        learning_rate: of every player; by default what the loss asks for, else 1e-3.
        seed: of the split, the order of the rows, the noise in losses and the model's `initialise`. The weights were
            drawn when the model was made.
        validation: the share of rows held out (at most 20 000), or rows of their own in any form that `data` takes, or None.
            A model that counts in one pass has no use for a share and trains on all rows.
        patience: how many evaluations without a better criterion to wait; 20, for EM 3. An evaluation is due once an
            epoch, within 50 to 500 steps.
        ema_decay: decay of an exponential average of the weights, 0.999 say, which then is what is evaluated and kept; 0: none.
            This, batch_size, learning_rate, weight_decay, lr_schedule and patience default to the family's `fit_defaults`.
        max_grad_norm: the largest norm of each player's gradient; None: any.
        weight_decay: Adam's and Muon's, decoupled.
        lr_schedule: how the learning rate goes over the budget: "cosine" or "linear" to 0, or "constant". With max_seconds it
            follows the share of the seconds spent.
        device: "auto" (a CUDA GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        precision: Fabric's: "32-true" (every tensor as it is, so a float64 model trains in float64), "bf16-mixed", "16-mixed",
            "64-true". By default "32-true", or the family's "bf16-mixed" where the device multiplies bfloat16 matrices fast.
        compile: torch.compile the losses, from the second step on; where that fails, a warning, and training without. A
            training that was resumed then differs by rounding.
        checkpoint: a file to resume from, written about once a minute, or at every `checkpoint_every` steps; at the end; and on
            Ctrl-C or SIGTERM.
        resume: go on from the checkpoint, bit for bit as if never stopped. Budgets and patience may be new ones.
        progress: a bar on a terminal, a line now and then elsewhere, both on stderr.

    Data are in memory, or memory-mapped tensors; steps are Adam's or Muon's, on one device. For more than that (data that
    stream, other optimizers, callbacks, many devices) write the loop: `model.losses()` says what to lower.

    Raises:
        DataError: the data do not fit the model's space.
        TrainingError: a loss stopped being finite (the last good weights have been kept), or there is nothing to resume.
        TrainingInterrupted: Ctrl-C or SIGTERM; a KeyboardInterrupt whose message says how to go on.

    >>> from genus import MAF, Real, Space, fit
    >>> x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    >>> history = fit(MAF(Space([Real(), Real()])), x, max_steps=60, progress=False)
    >>> history.steps, history.stopped
    (60, 'max_steps')
    """
    whole = {"batch_size": batch_size, "max_steps": max_steps, "patience": patience, "checkpoint_every": checkpoint_every}
    number = {"epochs": epochs, "max_seconds": max_seconds, "learning_rate": learning_rate, "max_grad_norm": max_grad_norm}
    for name, value in {**whole, **number}.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, Integral if name in whole else Real)):
            raise TrainingError(f"{name} must be a {'whole ' if name in whole else ''}number, or None; got {value!r}.")
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed < 2**64:
        raise TrainingError(f"seed must be a whole number from 0 to 2^64 - 1; got {seed!r}.")
    seed, batch_size, max_steps = int(seed), _int(batch_size), _int(max_steps)
    patience, checkpoint_every = _int(patience), _int(checkpoint_every)
    for name, value in {"ema_decay": ema_decay, "weight_decay": weight_decay}.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf):
            raise TrainingError(f"{name} must be a number of at least 0, or None; got {value!r}.")
    if losses is not None and (isinstance(losses, Loss) or not all(isinstance(loss, Loss) for loss in losses)):
        raise TrainingError("losses must be a list of Loss, one for each player.")
    fit_defaults = model.fit_defaults if losses is None else {}
    batch_size = fit_defaults.get("batch_size") if batch_size is None else batch_size
    learning_rate = fit_defaults.get("learning_rate") if learning_rate is None else learning_rate
    patience = fit_defaults.get("patience") if patience is None else patience
    ema_decay = fit_defaults.get("ema_decay", 0.0) if ema_decay is None else ema_decay
    weight_decay = fit_defaults.get("weight_decay", 0.0) if weight_decay is None else weight_decay
    lr_schedule = lr_schedule or fit_defaults.get("lr_schedule", "cosine")
    precision = precision or (fit_defaults.get("precision") if _multiplies_halves(_device(device)) else None) or "32-true"
    counts = isinstance(model, Counted) and losses is None
    passes = model.passes if isinstance(model, Counted) and counts else None
    if counts and passes is not None and isinstance(validation, int | float):
        validation = None
    positive = {"patience": patience, "max_grad_norm": max_grad_norm, "batch_size": batch_size, "learning_rate": learning_rate}
    positive["checkpoint_every"] = checkpoint_every
    _check(lr_schedule, ema_decay, positive, resume, checkpoint)
    train, held = prepare(model, data, validation, seed)
    if counts and passes is None and held is None:
        held = _some(train, HELD_OUT, seed)
    size = min(batch_size or batch_size_for(len(train), model.space.dim if model.space.sequence else 1), len(train))
    per_epoch = len(train) // size
    cap, per_epoch = (200, 1) if counts else (min(max(100 * per_epoch, 3_000), 30_000), per_epoch)
    budget = Budget.of(epochs, max_steps, max_seconds, per_epoch, cap)
    patience = patience or (3 if counts else 20)
    options = Options(seed, patience, ema_decay, max_grad_norm, lr_schedule, precision, compile, checkpoint, checkpoint_every)
    settings: dict[str, Any] = {
        "seed": seed,
        "batch_size": batch_size if counts else size,
        "learning_rate": learning_rate,
        "ema_decay": ema_decay,
    }
    settings |= {
        "max_grad_norm": max_grad_norm,
        "weight_decay": weight_decay,
        "lr_schedule": lr_schedule,
        "precision": precision,
    }
    players = [] if counts else materialised(model.losses() if losses is None else losses)
    made = [loss.made_of for loss in players if loss.made_of]
    settings["losses"] = json.loads(json.dumps(made))
    settings["players"] = [f"{loss.name}, every {loss.interval}" for loss in players]
    settings = files.describe(model, train, held, settings)

    fabric = None if counts else _fabric(device, precision)
    where = fabric.device if fabric is not None else _device(device)
    model.to(where)
    held = None if held is None else held.to(where)
    with isolated(seed), Interrupt() as interrupt, Progress(model.known_as, progress) as bar:
        if not resume:
            _set_context_counts(model, train, held)
            if not model.begun:
                some = _some(train, HELD_OUT if counts else 8192, seed).to(where)
                with torch.no_grad():
                    model.initialise(some.x, some.c)
                model.begun.fill_(True)
        common = (model, train, held, budget, options, settings, interrupt, bar)
        run: Any
        if fabric is None:
            from genus.training.counting import Counting

            run = Counting(*common)
            run.start(batch_size)
        else:
            from genus.training.gradients import Gradients

            if not players:
                raise TrainingError(f"{type(model).__name__} gives no losses and does not count; pass losses=[Loss(...)].")
            own = set(map(id, model.parameters()))
            trained = any(id(parameter) in own for loss in players for parameter in loss.parameters)
            if not trained and made:
                raise TrainingError(
                    "None of these losses trains this model: they were made for another one; make them of this."
                )
            run = Gradients(*common)
            run.start(fabric, players, size, learning_rate, weight_decay)
        if resume:
            run.resume()
        run.trim()
        return run.run()


def _int(value: int | None) -> int | None:
    """Python's own whole number of any kind's."""
    return None if value is None else int(value)


def _check(lr_schedule: str, ema_decay: float, positive: dict[str, float | None], resume: bool, checkpoint: Any) -> None:
    if lr_schedule not in SCHEDULES:
        raise TrainingError(f"There is no lr_schedule {lr_schedule!r}; there are {', '.join(SCHEDULES)}.")
    if not 0 <= ema_decay < 1:
        raise TrainingError(f"ema_decay is a decay, at least 0 and below 1; got {ema_decay}.")
    for name, value in positive.items():
        if value is not None and not value > 0:
            raise TrainingError(f"{name} must be positive, or None; got {value}.")
    if resume and checkpoint is None:
        raise TrainingError("resume=True needs checkpoint=, the file to resume from.")


def _some(rows: Rows, count: int, seed: int) -> Rows:
    """A random choice of so many rows; all of them where there are fewer."""
    if len(rows) <= count:
        return rows[:]
    return rows[torch.randperm(len(rows), generator=generator(seed, 0))[:count].to(rows.x.device)]


def _set_context_counts(model: GenerativeModel, train: Rows, held: Rows | None) -> None:
    """How often each label is there, in the rows that say when to stop too."""
    counts = getattr(model, "context_counts", None)
    if counts is None:
        return
    labels = [rows.labels() for rows in (train, held) if rows is not None and rows.c is not None]
    if labels:
        counts.copy_(torch.bincount(torch.cat(labels), minlength=len(counts)))


def _device(device: str) -> torch.device:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise TrainingError(f"There is no device {device!r}; pass 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'.") from error
    there = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(found.type, 1)
    if (found.index or 0) >= there:
        raise TrainingError(
            f"Device {device!r} was asked for, and PyTorch finds {there} of its kind here; pass 'auto' or 'cpu'."
        )
    return found


def _multiplies_halves(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cpu":
        capable = torch.cpu.get_capabilities()
        return any(capable.get(name, False) for name in ("avx512_bf16", "amx_bf16", "sve_bf16", "bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _fabric(device: str, precision: str) -> Fabric:
    from lightning_fabric import Fabric

    where = _device(device)
    if where.type == "cuda":
        # Random number generators that exist only later would escape `isolated`.
        torch.cuda.init()
    notes = logging.getLogger("lightning_fabric.utilities.rank_zero")
    level = notes.level
    notes.setLevel(logging.WARNING)  # it would announce the precision, which is a default here
    try:
        return Fabric(accelerator=where.type, devices=1 if where.index is None else [where.index], precision=precision)  # type: ignore[arg-type]
    except (ValueError, RuntimeError) as error:
        raise TrainingError(f"Cannot train on device {device!r} with precision {precision!r}: {error}") from error
    finally:
        notes.setLevel(level)
