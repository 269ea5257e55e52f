"""`genus distill`: a model that samples fast, taught by one that samples slowly."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genus.atomic import check_writable
from genus.cli.errors import UsageError
from genus.cli.fit import check_files, how_to_resume
from genus.cli.inputs import build_model, codec_of, context_codec_of, parse_duration, parse_hyperparameters, source_of
from genus.cli.options import Budget, Output, SequenceOptions, shared_options
from genus.cli.outputs import file_size, print_json, say, write_table
from genus.cli.pictures import write_images
from genus.cli.sequences import FILES, kind_of, next_command, write_sequences
from genus.errors import DataError, near

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from genus.codec import Codec
    from genus.data import Dataset
    from genus.distillation import Distillation
    from genus.divergences import Estimate
    from genus.ladder import GenerativeModel

__all__ = ["distill"]

HELD_OUT = 0.1  # of the data, on which student and teacher are compared
SHOWN, SOUNDS, IMAGES = 5, 3, 64  # samples of each: rows that are printed, and what is written to a folder


@shared_options
def distill(
    ctx: typer.Context,
    student: Annotated[str, typer.Argument(metavar="STUDENT", help="The family to teach: a flow, such as iaf.")],
    teacher: Annotated[Path, typer.Argument(metavar="TEACHER", help="A file that genus fit has written.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Write the student to this file.")],
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="Data like those the teacher has seen: what the student should cover, and, a tenth held out, what both are"
            " compared on. By default the student learns from draws of the teacher; a conditional teacher needs DATA.",
        ),
    ] = None,
    *,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Choose a hyper-parameter of the student, such as hidden=64,64."),
    ] = None,
    forward: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            min=0,
            max=1,
            help="Weigh KL(teacher || student) by this share in the loss; by default 0.9, of sequences 0.",
        ),
    ] = None,
    budget: Budget = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Train for at most N steps; by default 3,000.")] = None,
    batch: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Draw N at every step; by default 256, of sequences fewer the longer they are."),
    ] = None,
    length: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Draw the first N elements of sequences at a step; by default as many as fit the memory.",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(metavar="RATE", help="Train at this learning rate; by default 0.003, of sequences 0.02.")
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="The same seed gives the same student, unless time ends it.")
    ] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a training that was interrupted.")] = False,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the unfinished training in this file; by default beside --out.")
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write samples of both, drawn with the same seed, to this folder.")
    ] = None,
    reading: SequenceOptions,
    output: Output,
) -> None:
    """Train a student that samples in parallel to match a teacher, and save the student.

    The teacher is a density over real numbers that draws one coordinate or moment at a time, such as maf or wavenet; the
    student, iaf or for sequences parallel-wavenet, draws all at once. The report says how far the two are apart, both ways,
    how fast each draws, and shows samples of both. Steps over long sequences are taken in pieces that fit the memory. Ctrl-C
    keeps what has been learned, and the message says how to continue.

    \b
    Examples:
      genus distill iaf iris.genus iris --budget 2m --out iaf.genus
      genus distill iaf iris.genus iris --budget 2m --samples drawn/ --out iaf.genus
      genus distill iaf iris.genus iris --set transforms=3 --steps 20 --json --out iaf.genus
    """
    cls, limit = _student(student), parse_duration(budget)
    chosen = parse_hyperparameters(cls, settings or ())
    kept = checkpoint or out.parent / f"{out.name}.ckpt"
    check_files(out, kept, resume)
    if samples is not None:
        check_writable(samples)

    from genus.distillation import distill, distillation_refusal
    from genus.files import load, save
    from genus.registry import suggested
    from genus.training import TrainingInterrupted

    loaded: Any = load(teacher)
    if reason := distillation_refusal(None, loaded):
        raise DataError(reason)
    dataset = _read(data, loaded, reading.arguments())
    if dataset is not None:
        output.note(f"{dataset.summary(shell=True)}\n")
    elif loaded.context is not None:
        raise UsageError("this teacher has a context; add DATA, whose context the student learns to draw for")
    train, held = dataset.split(1 - HELD_OUT, HELD_OUT, seed=seed) if dataset is not None else (None, None)
    noise = {"noise": loaded.config["noise"]} if loaded.name == "dequantised" else {}  # the student takes it over
    hyper = suggested(cls, loaded.space, len(train) if train is not None else 50_000)
    model: Any = build_model(cls, loaded.space, loaded.context, hyper, noise | chosen, seed)
    wanted: dict[str, Any] = {"max_seconds": limit, "max_steps": steps, "learning_rate": learning_rate}
    how = {name: value for name, value in wanted.items() if value is not None}
    how |= {"batch_size": batch, "length": length, "checkpoint": kept, "resume": resume, "progress": not output.quiet}
    try:
        result = distill(model, loaded, train, forward=forward, seed=seed, **how)
    except TrainingInterrupted as interruption:
        raise KeyboardInterrupt(how_to_resume(None, kept, ctx.obj)) from interruption
    save(model, out)
    kept.unlink(missing_ok=True)
    summary = _summary(result, model, loaded, held, out)
    drawn = _drawn(loaded, model, dataset, seed)
    if samples is not None:
        _write(drawn, loaded, samples)
    if output.as_json:
        print_json(summary | ({"samples": _sample_rows(loaded, drawn)} if loaded.space.is_table else {}))
    else:
        _print(summary, loaded, drawn, next_command(model, out))


def _student(name: str) -> type[GenerativeModel]:
    """Return the family of a name, where it can be a student: a flow."""
    from genus.ladder import registered_families
    from genus.models.flow import Flow, NormalisingFlow
    from genus.registry import families

    able = {name: cls for name, cls in registered_families().items() if issubclass(cls, NormalisingFlow) and cls is not Flow}
    if name in able:
        return able[name]
    what = f"{name} cannot draw with gradients" if name in families() else f"there is no family {name!r}{near(name, able)}"
    raise UsageError(f"{what}; a student is one of {', '.join(able)}")


def _read(data: str | None, teacher: GenerativeModel, how: dict[str, Any]) -> Dataset | None:
    if data is None:
        return None
    from genus.data import read

    return read(source_of(data), space=(codec_of(teacher), context_codec_of(teacher)), **how)


# -- the report -----------------------------------------------------------------------------------------------------------


def _summary(
    result: Distillation, student: GenerativeModel, teacher: GenerativeModel, held: Dataset | None, out: Path
) -> dict[str, Any]:
    import torch

    from genus.divergences import Estimate
    from genus.ladder import ApproximateDensity, map_batches

    rows: dict[str, Any] | None = None
    if held is not None and isinstance(student, ApproximateDensity) and isinstance(teacher, ApproximateDensity):
        at_once = max(1, 2**18 // held.space.dim)
        with torch.no_grad():  # bounds, where they are that, are of the same noise
            of_teacher, of_student = (
                map_batches(lambda x, c, one=one: one.elbo(x, c, seed=0), held.x, held.c, rows=at_once).double()
                for one in (teacher, student)
            )
        less = (
            Estimate.of(of_teacher - of_student) if len(of_teacher) > 1 else Estimate(float(of_teacher - of_student), math.nan)
        )
        rows = {
            "rows": len(held),
            "label": student.info.likelihood,
            "teacher": float(of_teacher.mean()),
            "student": float(of_student.mean()),
            "below": less.value,
            "below_se": less.error if math.isfinite(less.error) else None,
        }
    other = result.teacher_to_student
    return {
        "student": student.family_name,
        "teacher": teacher.family_name,
        "out": str(out),
        "kl_student_teacher": _finite(result.kl),
        "kl_teacher_student": _finite(other) if other is not None else None,
        "effective": result.effective if math.isfinite(result.effective) else None,
        "warning": result.doubt,
        "held_out": rows,
        "draws": result.draws,
        "student_seconds": round(result.student_seconds, 6),
        "teacher_seconds": round(result.teacher_seconds or 0.0, 6),
        "steps": result.history.steps,
        "seconds": round(result.history.seconds, 3),
        "stopped": result.history.stopped,
        "parameters": result.history.parameters,
        "hyper": student.config,
    }


def _finite(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate for JSON, which has no infinity: null, with the reason."""
    numbers = {"value": estimate.value, "error": estimate.error}
    return estimate._asdict() | {key: value if math.isfinite(value) else None for key, value in numbers.items()}


def _print(summary: dict[str, Any], teacher: GenerativeModel, drawn: dict[str, Tensor], then: str) -> None:
    for one, other in (("student", "teacher"), ("teacher", "student")):
        name, kl = f"KL({one} || {other})", summary[f"kl_{one}_{other}"]
        most = "at most " if kl["label"] == "upper bound" else ""
        if kl["value"] is None:
            say(f"{name}  infinite: {kl['reason']}" if kl["reason"] else f"{name}  is not a number")
        else:
            say(f"{name}  {most}{kl['value']:.4f} ± {kl['error']:.4f} nats a datum ({summary['draws']:,} draws)")
    if (held := summary["held_out"]) is not None:
        error = "" if held["below_se"] is None else f" ± {held['below_se']:.4f}"
        say(
            f"held out  teacher {held['teacher']:.4f}, student {held['student']:.4f}: {held['below']:.4f}{error} nats below,"
            f" {held['rows']:,} rows ({held['label']})"
        )
    mine, theirs = summary["student_seconds"], summary["teacher_seconds"]
    faster = f"{theirs / max(mine, 1e-9):.1f} times as fast"
    say(f"{summary['draws']:,} draws  teacher {theirs:.3f} s, student {mine:.3f} s: {faster}")
    if summary["warning"]:
        say(f"warning   {summary['warning']}")
    steps = "1 step" if summary["steps"] == 1 else f"{summary['steps']:,} steps"
    say(f"time      {summary['seconds']:.1f} s, {steps}; stopped by {summary['stopped']}")
    say(f"model     {summary['out']} ({file_size(Path(summary['out']))}, {summary['parameters']:,} parameters)")
    if teacher.space.is_table:
        for name, x in drawn.items():
            say(f"\n{name}")
            write_table(_as_table(codec_of(teacher), x[:SHOWN]), None)
    say(f"\nnext      {then}")


def _drawn(teacher: GenerativeModel, student: GenerativeModel, data: Dataset | None, seed: int) -> dict[str, Tensor]:
    """Return samples of both models, of the same contexts."""
    import torch

    count = SOUNDS if teacher.space.sequence else SHOWN if teacher.space.is_table else IMAGES
    c = None
    if data is not None and data.c is not None:
        c = data.c[torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:count]]
        count = len(c)
    return {"teacher": teacher.sample(count, c, seed=seed), "student": student.sample(count, c, seed=seed)}


def _as_table(codec: Codec, x: Tensor) -> pa.Table:
    from genus.codec.tabular import as_table

    return as_table(codec, x, seed=0)


def _sample_rows(teacher: GenerativeModel, drawn: dict[str, Tensor]) -> dict[str, Any]:
    return {name: _as_table(codec_of(teacher), x[:SHOWN]).to_pylist() for name, x in drawn.items()}


def _write(drawn: dict[str, Tensor], teacher: GenerativeModel, folder: Path) -> None:
    """Write the samples: sound as a file each, everything else as one file for each model."""
    space, codec = teacher.space, codec_of(teacher)
    for name, x in drawn.items():
        if space.is_table:
            write_table(_as_table(codec, x), folder / f"{name}.csv")
        elif not space.sequence:
            write_images(codec, x, folder / f"{name}.png", {})
        elif kind_of(codec) == "sound":
            for i, one in enumerate(x, 1):
                write_sequences(codec, [one], folder / f"{name}-{i}.wav")
        else:
            write_sequences(codec, list(x), folder / f"{name}{FILES['numbers'][0]}")
