"""`genus fit`: data in, a model file out."""

from __future__ import annotations

import math
import shlex
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genus.atomic import check_writable
from genus.cli.errors import UsageError
from genus.cli.inputs import build_model, codec_of, find_family, parse_duration, parse_hyperparameters, source_of
from genus.cli.options import Budget, Data, Output, ReadingOptions, shared_options
from genus.cli.outputs import file_size, print_json, say
from genus.cli.processes import check_source, train_together
from genus.cli.sequences import next_command
from genus.errors import DataError, GenusError, NonFiniteLossError

if TYPE_CHECKING:
    from genus.codec.units import Unit
    from genus.data import Dataset
    from genus.ladder import GenerativeModel
    from genus.training import History
    from genus.training.group import Group

__all__ = ["check_files", "fit", "how_to_resume"]

BEST_SECONDS = 120.0  # in which a family is chosen where none is named


@shared_options
def fit(
    ctx: typer.Context,
    data: Data,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Write the model to this file.")],
    *,
    name: Annotated[
        str | None,
        typer.Option(
            "--family",
            metavar="NAME",
            help="Choose a family; genus families shows them. By default the one that compare would save, in --budget or 2m.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Choose a hyper-parameter, such as hidden=64,64; the others suit the number of rows.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Calibrate predictions of this column by validation rows, and keep that in the model's file."
        ),
    ] = None,
    reading: ReadingOptions,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Read a table in files block by block: counting sees all rows, gradients a sample and then the rest, all"
            " else a sample that fits.",
        ),
    ] = False,
    budget: Budget = None,
    epochs: Annotated[float | None, typer.Option(metavar="N", help="Train for at most N passes over the data.")] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Train for at most N steps.")] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="Train at this learning rate; by default at the one that suits the family."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="The same seed gives the same model, unless time ends it.")] = 0,
    device: Annotated[str, typer.Option(metavar="NAME", help="Train on this device: auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Continue a training that was interrupted.")] = False,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the unfinished training in this file; by default beside --out.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Share every batch among N processes; those of torchrun do so too.")
    ] = None,
    output: Output,
) -> None:
    """Train a family on the data and save the model.

    Without --family, all are compared in the time of --budget, two minutes by default, and the winner is saved, as genus
    compare --time does. Otherwise, without --budget, --epochs or --steps, training ends when validation rows no longer improve.
    Ctrl-C keeps what has been learned, as a model too where --out is a new file, and the message says how to continue.

    \b
    Examples:
      genus fit adult.csv --out best.genus --budget 5m
      genus fit adult.csv --family mixture --out adult.genus
      genus fit adult.csv --family vae --set hidden=64,64 --set latent=8 --budget 60s --out adult-vae.genus
      genus fit adult.csv --family mixture --context income --seed 1 --out income.genus
      genus fit book.txt --family rnn --budget 5m --out book.genus
      genus fit digits --family vae --context label --budget 2m --out digits.genus
      genus fit iris --family maf --context species --steps 500 --json --out iris.genus
    """
    limit = parse_duration(budget)
    if name is None:
        given = {"--set": settings, "--epochs": epochs, "--steps": steps, "--learning-rate": learning_rate, "--resume": resume}
        given |= {"--stream": stream, "--processes": processes}
        if odd := [option for option, value in given.items() if value]:
            raise UsageError(f"{odd[0]} is for one family, and none is named; add --family, or leave it out")
        _fit_best(data, reading, limit or BEST_SECONDS, seed, target, out, output, ctx)
        return
    cls = find_family(name)
    chosen = parse_hyperparameters(cls, settings or ())
    kept = checkpoint or out.parent / f"{out.name}.ckpt"
    check_files(out, kept, resume)
    check_source(processes, data)

    from genus.data import read

    dataset = read(source_of(data), target=target, **reading.arguments(), stream=stream)
    from genus.training.group import Group
    from genus.training.sizing import built_as_saved, choose_size, saved_choice

    group = Group(train_together(processes, device, ctx))
    output = output if group.is_first else replace(output, quiet=True)
    dataset = _measured_to_train_on(dataset, cls, seed)
    output.note(f"{dataset.summary(shell=True)}\n")
    size = group.run_on_first(lambda: saved_choice(kept) if resume else choose_size(cls, dataset, limit, chosen, seed, device))
    if size.sentence:
        output.note(f"size      {size.sentence}; --set chooses another\n")
    limit = limit if limit is None else max(limit - size.seconds, limit / 2)
    build = partial(_build, cls, dataset, size.hyper, chosen, seed)
    model = built_as_saved(kept, build) if resume else build()

    from genus.codec.units import Unit
    from genus.models.autoregressive import Autoregressive

    if dataset.codec is not None and dataset.codec.is_coded_sound and isinstance(model, Autoregressive):
        output.note("note      a student of genus distill learns from real numbers alone; for a teacher, add --encoding real\n")
    history = _train(
        model,
        dataset,
        group,
        out,
        ctx,
        epochs=epochs,
        max_steps=steps,
        max_seconds=limit,
        batch_size=size.batch_size,
        learning_rate=learning_rate or size.learning_rate,
        compile=size.compile,
        seed=seed,
        device=device if group.fabric is None else "auto",
        checkpoint=kept,
        resume=resume,
        progress=not output.quiet,
    )
    if group.is_first:
        kept.unlink(missing_ok=True)
        unit = Unit.of(codec_of(model), dataset.x[:1000])
        predictions = _keep_calibration(model, dataset, target, seed, out) if target is not None else {}
        summary = _summary(model, history, out, unit) | _rows_seen(dataset, history) | predictions
        if output.as_json:
            print_json(summary)
        else:
            _print_summary(summary, unit, next_command(model, out, ctx.obj))


def _train(model: GenerativeModel, dataset: Dataset, group: Group, out: Path, ctx: typer.Context, **options: Any) -> History:
    """Train a model and save it, in the first of the processes, also where the training was interrupted or went wrong."""
    from genus.files import save
    from genus.training import TrainingInterrupted, fit

    try:
        history = fit(model, dataset, fabric=group.fabric, **options)
    except TrainingInterrupted as interruption:
        new = group.is_first and not out.exists()  # half a training does not replace a whole one
        if new:
            save(model, out)
        raise KeyboardInterrupt(how_to_resume(out if new else None, options["checkpoint"], ctx.obj)) from interruption
    except NonFiniteLossError as error:
        if group.is_first:
            save(model, out)
        raise NonFiniteLossError(f"{error} Those weights are in {out}.") from error
    if group.is_first:
        save(model, out)
    return history


def _keep_calibration(model: GenerativeModel, dataset: Dataset, target: str, seed: int, out: Path) -> dict[str, dict[str, Any]]:
    """Calibrate predictions of a column by the rows that stopped the training, write it into the file, and return it."""
    from genus.files import save
    from genus.questions.trust import keep_calibration
    from genus.training.options import FitOptions
    from genus.training.rows import prepare

    held = None
    if model.held_out is not None and not hasattr(dataset, "blocks"):
        held = prepare(model, dataset, FitOptions.validation, seed)[1]
    found, reason = None, "no row was held out of this training"
    if held is not None:
        try:
            found = keep_calibration(model, held.x, held.c, target)
            reason = "this family's density is a bound"
        except DataError as error:
            reason = str(error).rstrip(".")
    if found is None:
        return {"predictions": {"column": target, "calibration": None, "reason": reason}}
    save(model, out)
    return {"predictions": {"column": target, "calibration": found.to_json(), "reason": str(found)}}


def _fit_best(
    data: str,
    reading: ReadingOptions,
    seconds: float,
    seed: int,
    target: str | None,
    out: Path,
    output: Output,
    ctx: typer.Context,
) -> None:
    """Compare all families in that time, and write the winner."""
    check_files(out, out.parent / f"{out.name}.ckpt", False)

    from genus.atomic import atomic_write
    from genus.codec import Codec
    from genus.codec.units import Unit
    from genus.data import read
    from genus.evaluation import compare
    from genus.evaluation.figures import density_text, number
    from genus.files import load

    dataset = read(source_of(data), target=target, **reading.arguments())
    output.note(f"{dataset.summary(shell=True)}\n")
    with TemporaryDirectory() as folder:
        say_fit = False if output.quiet else output.note
        report = compare(dataset, time_limit=seconds, seed=seed, folder=folder, progress=say_fit)
        if not report.winner:
            raise GenusError("No family could be fitted in this time; give more with --budget, or name one with --family.")
        with atomic_write(out) as temporary:
            shutil.copyfile(Path(folder) / report.winner["file"], temporary)
    model, best, unit = load(out), report.best, Unit.of(dataset.codec or Codec(dataset.space))
    assert best is not None
    if output.as_json:
        print_json({"family": best.family, "out": str(out), "label": best.label, "log_density": best.log_density,
                    "verdict": report.verdict, "hyper": model.config, "parameters": model.parameter_count})  # fmt: skip
        return
    say(f"verdict   {report.verdict}")
    bits = f", {number(best.bits_per_dim, 3)} bits a {unit.noun}" if unit.is_shown else ""
    say(f"held out  {density_text(best)} nats {unit.whole}{bits} ({best.label})")
    say(f"model     {out} ({file_size(out)}, {model.parameter_count:,} parameters): {best.family}")
    say(f"next      {next_command(model, out, ctx.obj)}")


def check_files(out: Path, kept: Path, resume: bool) -> None:
    """Raise where the model or its checkpoint cannot be written, or the checkpoint and --resume do not fit together."""
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; expected the name of a file, such as {out / 'model.genus'}")
    for folder in {out.parent, kept.parent}:
        check_writable(folder)
    if resume and not kept.exists():
        raise GenusError(f"There is no training to resume, since there is no file {kept}; leave --resume out to start afresh.")
    if kept.exists() and not resume:
        raise GenusError(
            f"{kept} holds a training that has not come to its end; add --resume to go on with it, or delete the file to start"
            " afresh."
        )


def _measured_to_train_on(dataset: Dataset, cls: type[GenerativeModel], seed: int) -> Dataset:
    """Return the data with charts and atoms measured on the rows that will train, where others will evaluate the model."""
    from genus.ladder import Counted
    from genus.training.options import FitOptions
    from genus.training.rows import rows_to_train_on

    if not dataset.charted or hasattr(dataset, "blocks") or issubclass(cls, Counted):  # what counts, counts all rows
        return dataset
    return dataset.charted_on(rows_to_train_on(dataset, FitOptions.validation, seed))


def _build(
    cls: type[GenerativeModel], dataset: Dataset, hyper: dict[str, Any], chosen: dict[str, Any], seed: int
) -> GenerativeModel:
    """Return a model of the data; where the family does not take them, the error names those that do."""
    try:
        return build_model(cls, dataset.space, dataset.context, hyper, chosen, seed)
    except DataError as error:
        raise DataError(f"{str(error).rstrip('.')}; {_suitable_families(dataset)}.") from error


def _suitable_families(data: Dataset) -> str:
    from genus.registry import families, refusal

    suitable = [name for name in families() if refusal(name, data.space, data.context) is None]
    return f"families that take these data: {', '.join(suitable) or 'none'}"


def how_to_resume(out: Path | None, kept: Path, args: list[str]) -> str:
    """Return what to tell a person who has interrupted a training: where it is kept, and the command that goes on."""
    state = "training was interrupted" if out is None else f"training was interrupted; its best model so far is in {out}"
    if not kept.exists():
        return f"{state}; there was nothing to go on from yet."
    command = shlex.join(["genus", *args, *([] if "--resume" in args else ["--resume"])])
    return f"{state}; what it has learned is kept in {kept}; to go on: {command}"


def _summary(model: GenerativeModel, history: History, out: Path, unit: Unit) -> dict[str, Any]:
    value = _normalised(history, model)
    return {
        "family": model.family_name,
        "out": str(out),
        "label": model.info.likelihood,
        "criterion": value,
        "in_unit": None if value is None or not history.unit else value * unit.scale,
        "unit": unit.name if history.unit else None,
        "acceptance": history.acceptance,
        "best_step": history.best_step,
        "steps": history.steps,
        "seconds": round(history.seconds, 3),
        "stopped": history.stopped,
        "alarms": history.alarms,
        "watched": next((row["watched"] for row in history.rows if row["step"] == history.best_step and "watched" in row), {}),
        "estimates": getattr(getattr(model, "game", None), "estimates", None),
        "parameters": history.parameters,
        "hyper": model.config,
        "privacy": getattr(model, "privacy", None),
    }


def _rows_seen(dataset: Dataset, history: History) -> dict[str, int]:
    """Return how many rows of a stream a training has seen, of how many, and in how many whole passes; {} for other data."""
    total = getattr(dataset, "total", 0)
    return {"rows_seen": min(history.seen, total), "rows": total, "passes": history.passes} if history.seen else {}


def _normalised(history: History, model: GenerativeModel) -> float | None:
    """Return the least criterion; for a density, renormalised to the rows that obey the constraints."""
    if history.best is None or model.info.likelihood == "none":
        return history.best
    return history.best + math.log(history.acceptance)


def _print_summary(summary: dict[str, Any], unit: Unit, then: str) -> None:
    label, value = summary["label"], summary["criterion"]
    if value is None:
        held_out = "not measured, since all rows were used; genus compare measures it"
    elif label == "none":
        held_out = f"criterion {value:.4g}, less is better; none: this family has no density"
    else:
        held_out = f"{unit.text(-value)} ({label})"
    say(f"held out  {held_out}")
    steps = "1 step" if summary["steps"] == 1 else f"{summary['steps']:,} steps"
    say(f"time      {summary['seconds']:.1f} s, {steps}; stopped by {summary['stopped']}")
    if "rows_seen" in summary:
        passes = {0: "", 1: ", 1 pass over all"}.get(summary["passes"], f", {summary['passes']} passes over all")
        say(f"seen      {summary['rows_seen']:,} of {summary['rows']:,} rows{passes}")
    if summary["acceptance"] < 1:
        say(f"accepted  {summary['acceptance']:.1%} of draws obey the constraints; the others are drawn again")
    if {"distance", "spread"} <= summary["watched"].keys():
        say(f"critic    {summary['watched']['distance']:.4g} on held-out rows; at its best {summary['estimates']}")
        say(f"spread    {summary['watched']['spread']:.0%} of the room that the data take")
    for sentence in summary["alarms"].values():
        say(f"warning   {sentence}")
    if summary["privacy"] is not None:
        say(f"privacy   {summary['privacy']}")
    if "predictions" in summary:
        found = summary["predictions"]
        how = "" if found["calibration"] else "not calibrated, "
        then_by = "" if found["calibration"] else "; genus predict --held-out FILE --keep does it by rows of a file"
        say(f"predict   {found['column']}: {how}{found['reason']}{then_by}")
    say(f"model     {summary['out']} ({file_size(Path(summary['out']))}, {summary['parameters']:,} parameters)")
    say(f"next      {then}")
