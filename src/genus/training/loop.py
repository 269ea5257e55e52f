"""`fit` trains any model: by gradients, by counting, in one call that sees all rows, or member by member."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from genus.errors import TrainingError
from genus.ladder import Composed, Contexts, Counted, GenerativeModel, HeldOut, Learned, Loss
from genus.random import seed_bound, torch_functions_seeded
from genus.training.composed import ComposedTrainer
from genus.training.gradients import GradientTrainer
from genus.training.group import Group
from genus.training.history import History
from genus.training.objectives import trainable
from genus.training.options import FitOptions, find_device
from genus.training.rows import Rows, batch_size_for, prepare
from genus.training.terminal import Interrupt, Progress
from genus.training.trainer import Job, Trainer
from genus.training.whole import CountingTrainer, LearningTrainer

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["fit"]

INITIAL_ROWS = 8192  # rows from which `initialise` sets a model's starting values


@torch.enable_grad()  # so that fit works inside a caller's no_grad
def fit(
    model: GenerativeModel,
    data: Any,
    *,
    losses: Sequence[Loss] | None = None,
    epochs: float | None = None,
    max_steps: int | None = None,
    max_seconds: float | None = None,
    batch_size: int | None = None,
    accumulate: int = 1,
    learning_rate: float | None = None,
    seed: int = 0,
    validation: Any = 0.1,
    patience: int | None = None,
    ema_decay: float | None = None,
    max_grad_norm: float | None = 5.0,
    weight_decay: float | None = None,
    lr_schedule: str | Callable[[float], float] | None = None,
    optimizer: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer] | None = None,
    row_weights: Any = None,
    device: str = "auto",
    precision: str | None = None,
    compile: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    progress: bool = True,
    fabric: Fabric | None = None,
) -> History:
    """Train a model in place; it ends in evaluation mode, on the device it was trained on, with its best weights.

    A model with losses is trained by gradients: each loss of `model.losses()` has an Adam of its own (Kingma & Ba 2015,
    arXiv:1412.6980), and a Muon for the matrices that it names (Jordan et al. 2024, kellerjordan.github.io/posts/muon). A
    `Counted` model observes all rows once; it uses max_seconds, seed, validation, batch_size, row_weights and the checkpoint,
    and ignores the other arguments. A `Learned` model learns in one call from all rows, anew at each call of `fit`; it uses
    max_seconds, seed, validation and the checkpoint, which is written at the end. A `Composed` model, a stack, trains its
    members one after the other, each with an equal share of the seconds that are left and with all of the other budgets; it
    writes no checkpoint.

    A model that has been trained before, by `fit` or by a loop of one's own, goes on from its weights. Parameters that require
    no gradients keep their values.

    The same seed gives the same weights bit for bit, unless `max_seconds` ends the training; the global random state is left
    alone.

    Args:
        data: a Dataset, x of shape (N, *space.shape), or (x, c) with c of shape (N, *context.shape).
        losses: losses to lower in place of the model's own.
        epochs, max_steps, max_seconds: budgets; whichever ends first ends the training, the final evaluation included. With
            none of them, early stopping ends it, or a limit of 100 epochs (3000 to 30 000 steps).
        batch_size: by default 64 for hundreds of rows to 512 for tens of thousands; of sequences some 8,000 elements.
        accumulate: the number of parts in which the gradient of a batch is computed, one after another, in the memory of one
            part. A loss that is no mean over rows becomes the mean of its parts.
        learning_rate: the learning rate of every loss; by default what the loss asks for, else 1e-3.
        seed: of the split, the order of the rows, the noise in losses and the model's `initialise`. The weights were
            drawn when the model was made.
        validation: the share of validation rows (at most 20 000), or rows of their own in any form that `data` takes, or None.
            A model that counts does not stop early, so a share is ignored and all rows train it.
            With max_seconds, a training that evaluates repeatedly does so on a random choice of these rows, 256 or more (16 of
            long sequences), so that an evaluation takes a thirtieth of the time; one that evaluates once does so at its end, on
            as many as take a tenth of the time, or a second where that is more.
            Charts, types and levels of columns were measured when the data were read, on all rows; `compare` measures charts on
            training rows.
        patience: how many evaluations without a better criterion to wait; 20. An evaluation is due once an epoch, but at least
            50 and at most 500 steps apart; farther apart where evaluations would take over a tenth of the time. With
            max_seconds the clock decides too.
        ema_decay: decay of an exponential average of the weights, 0.999 say; the average is then evaluated and kept; 0: none.
            This, batch_size, learning_rate, weight_decay, lr_schedule and patience default to the family's `fit_defaults`.
        max_grad_norm: the norm to which the gradient of each loss is clipped; None: not clipped.
        weight_decay: Adam's and Muon's, decoupled.
        lr_schedule: how the learning rate goes over the budget: "cosine" or "linear" to 0, "constant", or a function from
            the share that is spent, 0 to 1, to the share of the learning rate. With max_seconds it follows the seconds.
        optimizer: a function from the list of a loss's parameters to an optimizer in place of Adam and Muon, such as
            `partial(torch.optim.SGD, lr=0.1)`; weight_decay is its own then. Its step must need no closure.
        row_weights: (N,) numbers of at least 0, how often each row of `data` counts: training by gradients draws rows by
            them, naive Bayes counts them, and a share of validation rows is drawn by them. Other families refuse them.
        device: "auto" (a CUDA GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        precision: Fabric's: "32-true" (every tensor as it is, so a float64 model trains in float64), "bf16-mixed", "16-mixed",
            "64-true". By default "32-true", or the family's "bf16-mixed" where the device multiplies bfloat16 matrices fast.
        compile: torch.compile the losses, from the second step on; where that fails, warn and train uncompiled. A resumed
            training then differs from an uninterrupted one by rounding.
        checkpoint: a file to resume from, written about once a minute, or at every `checkpoint_every` steps; at the end; and on
            Ctrl-C, SIGTERM or SIGHUP.
        resume: go on from the checkpoint, bit for bit as if never stopped. Budgets and patience may be new ones.
        progress: a bar on a terminal, a line now and then elsewhere, both on stderr.
        fabric: a Lightning Fabric, which says the devices, nodes and precision; its loggers get each row of the history. Its
            callbacks may have the methods `on_fit_start(model)`, `on_train_batch_end(step, losses)` after each step by
            gradients, `on_evaluation(row)` and `on_fit_end(model, history)`. Several processes, each with the same data,
            divide every batch, so that a step has the same rows whatever their number; they evaluate and end together, and
            rank 0 writes the files. Losses that are means over rows are as in one process; each process has noise of its own.
            A `Counted` model adds up the processes' counts; a `Learned` or `Composed` model is trained by rank 0, for all.

    Data are in memory, or memory-mapped tensors, or a stream (see `genus.read`). A `Counted` model sees all rows of a stream,
    none of which are held out. Training by gradients begins with a sample and goes on to the rest, epoch by epoch, and so do
    passes of a mixture and the counts of a Chow-Liu tree. Other `Learned` models see the sample alone.
    For steps of another sort, write a loop of your own: `model.losses()` says what to lower.

    Raises:
        DataError: the data do not fit the model's space.
        TrainingError: a loss stopped being finite (the last good weights have been kept), or there is nothing to resume.
        TrainingInterrupted: Ctrl-C, SIGTERM or SIGHUP; a KeyboardInterrupt whose message says how to go on.

    >>> from genus import MAF, Real, Space, fit
    >>> x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    >>> history = fit(MAF(Space([Real(), Real()])), x, max_steps=60, progress=False)
    >>> history.steps, history.stopped
    (60, 'max_steps')
    """
    options = FitOptions(
        epochs=epochs, max_steps=max_steps, max_seconds=max_seconds, batch_size=batch_size, accumulate=accumulate,
        learning_rate=learning_rate, seed=seed, validation=validation, patience=patience, ema_decay=ema_decay,
        max_grad_norm=max_grad_norm, weight_decay=weight_decay, lr_schedule=lr_schedule, optimizer=optimizer,
        row_weights=row_weights, device=device, precision=precision, compile=compile, checkpoint=checkpoint,
        checkpoint_every=checkpoint_every, resume=resume, progress=progress,
    )  # fmt: skip
    group = Group(fabric)
    options = _options_of_rank_0(options, group)
    in_one_process = losses is None and isinstance(model, Composed | Learned)
    if group.count > 1 and in_one_process:  # rank 0 trains the model, and the other processes get a copy
        here = replace(options, device=str(fabric.device))  # type: ignore[union-attr]
        history, model.held_out = group.run_on_first(lambda: (_fit(model, data, losses, here, group.alone()), model.held_out))
        if not group.is_first:
            prepare(model, data, None, options.seed)  # it gives the model the codec of the data
        group.broadcast_state(model)
        return history
    return _fit(model, data, losses, options, group)


def _options_of_rank_0(options: FitOptions, group: Group) -> FitOptions:
    """Return the options that rank 0 has, with the device and the precision of the Fabric; only rank 0 shows progress."""
    if group.fabric is None:
        return options
    if options.device != "auto":
        raise TrainingError(
            f"The Fabric says on which device to train, {group.fabric.device}; leave device={options.device!r} out."
        )
    precision = options.precision or str(group.fabric.strategy.precision.precision)
    own = {"validation": options.validation, "device": str(group.fabric.device)}
    own |= {"progress": options.progress and group.is_first, "row_weights": options.row_weights}
    # Data and functions are not sent between processes: each keeps its own, and None is sent in their place.
    own |= {name: getattr(options, name) for name in ("lr_schedule", "optimizer") if callable(getattr(options, name))}
    not_sent: dict[str, Any] = dict.fromkeys(own.keys() - {"device", "progress"})
    of_first = group.from_first(replace(options, **not_sent, precision=None if precision == "32-true" else precision))
    return replace(of_first, **own)


def _fit(model: GenerativeModel, data: Any, losses: Sequence[Loss] | None, options: FitOptions, group: Group) -> History:
    """Train a model by checked options, and keep with it the validation densities and contexts that later questions need."""
    is_composed = isinstance(model, Composed) and losses is None
    if is_composed and options.resume:
        raise TrainingError(f"The training of a {model.name} cannot be resumed; leave resume out, and it starts afresh.")
    if is_composed:
        options = replace(options, checkpoint=None, checkpoint_every=None)
    train, validation = _split(model, data, options, losses is None)
    group.check_same(len(train), "their numbers of rows")
    chosen_device = find_device(options.device)
    without_gradients = losses is None and isinstance(model, Composed | Counted | Learned)
    losses_to_lower = [] if without_gradients else trainable(model, _checked(model.losses() if losses is None else losses))
    model.to(chosen_device)
    validation = None if validation is None else validation.to(model.device)
    group.call("on_fit_start", model=model)
    with Interrupt() as interrupt, group.logging():
        if is_composed:
            history = _fit_composed(model, train, validation, options, interrupt, group)
        else:
            history = _fit_one(model, train, validation, options, interrupt, losses_to_lower, losses is not None, group=group)
    # A family with differential privacy keeps nothing that shows single rows without noise.
    is_private = getattr(model, "privacy", None) is not None
    model.held_out = None if validation is None or is_private else HeldOut.of(model, validation.x, validation.c)
    model.calibrations = {}  # those were measured before this training
    model.contexts = None if is_private else _contexts(train)
    group.call("on_fit_end", model=model, history=history)
    return history


def _fit_one(
    model: GenerativeModel,
    train: Rows,
    validation: Rows | None,
    options: FitOptions,
    interrupt: Interrupt,
    losses: Sequence[Loss] | None = None,
    callers_losses: bool = False,
    title: str = "",
    group: Group | None = None,
) -> History:
    """Train a model that is not composed of others: initialise it, choose the trainer, and run that.

    Args:
        losses: those to lower, none for a model that learns without gradients; None: the model's own.
        callers_losses: the losses were passed by the caller of `fit`, so that the family's `fit_defaults` do not suit them.
        title: of the progress; by default the family's name.
        group: the processes that train together; None: this one.
    """
    group = group or Group()
    is_counted = isinstance(model, Counted) and not callers_losses
    is_learned = isinstance(model, Learned) and not callers_losses
    if losses is None:
        losses = [] if is_counted or is_learned else trainable(model, model.losses())
    options = options.with_defaults({} if callers_losses else model.fit_defaults)
    # Inside, genus's own draws come from the generators of this seed, which are bound to the thread (genus/random.py).
    with seed_bound(options.seed), Progress(title or model.family_name, options.progress) as bar:
        if not options.resume:
            # `initialise` may also call functions of torch without a generator; these too then draw from the seed's.
            with torch_functions_seeded():
                _count_labels(model, train, validation)
                if model.untrained:
                    rows = train.random_rows(INITIAL_ROWS, options.seed).to(model.device)
                    model.initialise(rows.x, rows.c)
        group.broadcast_state(model)
        job = Job(model, train, validation, options, interrupt, bar, group)
        trainer: Trainer
        if is_counted:
            trainer = CountingTrainer(job)
        elif is_learned:
            trainer = LearningTrainer(job)
        else:
            length = model.space.dim if model.space.sequence else 1
            size = min(options.batch_size or batch_size_for(len(train), length), len(train))
            trainer = GradientTrainer(job, losses, size)
            group.broadcast(list(trainer.module.parameters()))  # those of critics too, which are no part of the model
        # Each process has noise of its own in its losses; rank 0 keeps the seed's, as a training in one process has it.
        with nullcontext() if group.is_first or is_counted else seed_bound(group.noise_seed(options.seed)):
            if options.resume:
                trainer.resume()
            history = trainer.run()
        history.acceptance = model.measure_acceptance(train.c, options.seed)
        return history


def _fit_composed(
    model: GenerativeModel,
    train: Rows,
    validation: Rows | None,
    options: FitOptions,
    interrupt: Interrupt,
    group: Group | None = None,
) -> History:
    """Train a model that is composed of others: every member by `_fit_one`, or by this function where it is composed too.

    The arguments are those of `_fit_one`. The trainer gets `options` twice, with this model's defaults for itself, and without
    for the members, each of which has its own.
    """

    def fit_member(member: GenerativeModel, train: Rows, validation: Rows, options: FitOptions, title: str) -> History:
        if isinstance(member, Composed):
            return _fit_composed(member, train, validation, options, interrupt)
        return _fit_one(member, train, None if isinstance(member, Counted) else validation, options, interrupt, title=title)

    with seed_bound(options.seed), Progress(model.family_name, options.progress) as bar:
        _count_labels(model, train, validation)
        filled_options = options.with_defaults(model.fit_defaults)
        history = ComposedTrainer(
            Job(model, train, validation, filled_options, interrupt, bar, group or Group()), options, fit_member
        ).run()
        history.acceptance = model.measure_acceptance(train.c, options.seed)
        return history


def _split(model: GenerativeModel, data: Any, options: FitOptions, by_model: bool) -> tuple[Rows, Rows | None]:
    """Return the training rows and the validation rows, if any.

    Args:
        model, data, options: as of `fit`.
        by_model: whether the model is trained in its own way, and not by losses that the caller passed.
    """
    is_counted = isinstance(model, Counted) and by_model
    # A stack with folds trains each member once for every fold without the fold's rows, which then validate it.
    crosses_folds = by_model and isinstance(model, Composed) and len(model.fits[0]) > 1
    is_share = isinstance(options.validation, int | float)
    if crosses_folds and not is_share and options.validation is not None:
        raise TrainingError(
            f"This {model.name} crosses folds and has no use for other validation rows; leave held out, or build it with"
            " folds=1."
        )
    not_split = (is_counted or crosses_folds) and is_share  # all rows train the model, none validate it
    if options.row_weights is not None and (not _weighs(model, by_model) or hasattr(data, "blocks")):
        raise TrainingError(
            f"The training of this {model.name} does not weigh rows; leave row_weights out and repeat rows, or pass losses=."
        )
    return prepare(model, data, None if not_split else options.validation, options.seed, options.row_weights)


def _weighs(model: GenerativeModel, by_model: bool) -> bool:
    """Return whether this training takes row_weights: by gradients it does, and by counting where the family can."""
    return not by_model or (model.weighs if isinstance(model, Counted) else not isinstance(model, Composed | Learned))


def _checked(losses: Sequence[Loss]) -> Sequence[Loss]:
    """Return the losses; raise TrainingError where they are not a list of `Loss`."""
    if isinstance(losses, Loss) or not all(isinstance(loss, Loss) for loss in losses):
        raise TrainingError("losses must be a list of Loss, each with the parameters that it trains.")
    return losses


def _contexts(train: Rows) -> Contexts | None:
    """Return the contexts of the training rows with their frequencies, which `sample` draws from; None where there are none."""
    return None if train.c is None else Contexts.of(train.c if train.selection is None else train.c[train.selection])


def _count_labels(model: GenerativeModel, train: Rows, validation: Rows | None) -> None:
    """Count the labels of the context, which are the prior of the Bayes classifier."""
    label_counts = getattr(model, "context_counts", None)
    weights = train.row_weights()  # with weights, the validation rows are draws, and do not count again
    counted = (train, validation if weights is None else None)
    labels = [rows.labels() for rows in counted if rows is not None and rows.c is not None]
    if label_counts is not None and labels:
        weights = None if weights is None else weights.cpu()
        label_counts.copy_(torch.bincount(torch.cat(labels), weights, minlength=len(label_counts)))
