"""What a model's file holds, as `genus describe` says it: the family, what it models, and the commands that it answers."""

from __future__ import annotations

import shlex
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genus.cli.inputs import codec_of, context_codec_of
from genus.cli.outputs import file_size
from genus.cli.sequences import kind_of, next_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genus.data import Schema
    from genus.ladder import GenerativeModel

__all__ = ["about_model", "model_text"]

DENSITIES = {"exact": "exact", "bound": "a bound below it", "none": "none: the model draws alone"}


def about_model(path: Path, args: Sequence[str]) -> tuple[dict[str, Any], Schema | None]:
    """Return what the file of a model says of it, as JSON values, and the columns of a table.

    Args:
        path: the file. Nothing that stands in it is run.
        args: the words of the command; files that it imported are imported in the commands that it names.

    Raises:
        ModelFileError: the file is damaged, or holds no model that this genus can build.
    """
    from genus.codec.units import Unit
    from genus.data import Schema
    from genus.files import load, read_tensors

    model, (_, header) = load(path), read_tensors(path)
    codec, given = codec_of(model), context_codec_of(model)
    schema = Schema.of_codecs(codec, given) if model.space.is_table and codec.column_names else None
    densities = model.held_out.log_density if model.held_out is not None else ()
    said = {
        "file": str(path),
        "size": file_size(path),
        "version": str(header.get("version")),
        "family": model.family_name,
        "title": model.info.title,
        "models": _subject(model),
        "likelihood": model.info.likelihood,
        "held_out": {"rows": len(densities), "mean": statistics.fmean(densities)} if densities else None,
        "unit": f"nats {Unit.of(codec_of(model)).whole}",
        "acceptance": model.acceptance,
        "calibrated": sorted(model.calibrations),
        "parameters": model.parameter_count,
        "hyper": model.config,
        "commands": _commands(model, path, args),
    }
    return said | ({} if schema is None else schema.to_json()), schema


def model_text(said: dict[str, Any], schema: Schema | None) -> str:
    """Return what `about_model` found as lines for a person."""
    held = said["held_out"]
    set_ = ", ".join(f"{name}={_short(value)}" for name, value in said["hyper"].items() if value is not None)
    facts = {
        "models": said["models"],
        "density": DENSITIES[said["likelihood"]],
        "held out": held and f"{held['mean']:.4f} {said['unit']}, the mean of {held['rows']:,} validation rows",
        "accepted": said["acceptance"] < 1
        and f"{said['acceptance']:.1%} of draws obey the constraints; others are drawn again",
        "predicts": said["calibrated"] and f"{', '.join(said['calibrated'])}, calibrated by held-out rows",
        "size": f"{said['parameters']:,} parameters, {said['size']}, written by genus {said['version']}",
        "set": set_,
    }
    title = f"{said['file']}: {said['family']}" + (f", {said['title']}" if said["title"] else "")
    lines = [title, *(f"{name:<9} {text}" for name, text in facts.items() if text)]
    columns = [] if schema is None else ["", str(schema)]
    return "\n".join([*lines, *columns, "", *said["commands"]])


def _subject(model: GenerativeModel) -> str:
    """Return what a model models, and what it is conditioned on."""
    space, context, codec = model.space, model.context, codec_of(model)
    if space.sequence:
        subject = f"{'series' if space.channels else kind_of(codec)}: {space!r}"
    elif space.is_table:
        subject = f"the rows of a table of {len(codec.column_names)} columns"
    else:
        subject = f"images or arrays of shape {' by '.join(map(str, space.shape))}, {space.kinds[0]!r}"
    given = "" if context is None else f", given {', '.join(context.names or ()) or 'a context'}"
    return subject + given


def _short(value: Any) -> str:
    """Return a hyper-parameter in few words: a member of a stack by its name."""
    if isinstance(value, dict):
        return str(value.get("class", "..."))
    return f"[{', '.join(map(_short, value))}]" if isinstance(value, list | tuple) else str(value)


def _commands(model: GenerativeModel, path: Path, args: Sequence[str]) -> list[str]:
    """Return the commands that a model answers."""
    from genus.ladder import ApproximateDensity

    space, text, first = model.space, codec_of(model).is_text, next_command(model, path, args)
    start = first[: first.index(" sample ")]
    dense, codes = isinstance(model, ApproximateDensity), not space.sequence and hasattr(model, "reconstruct")
    asked = {
        "score": dense and "DATA",
        "impute": dense and ("DATA" if space.is_table else "DATA --region REGION --out FILE"),
        "predict": dense and space.is_table and "DATA --column COLUMN",
        "forecast": space.sequence and not text and hasattr(model, "log_conditionals") and "DATA --steps N",
        "reconstruct": codes and "DATA --out FILE",
        "interpolate": codes and hasattr(model, "interpolate") and "DATA --between ROW,ROW --out FILE",
    }
    return [first, *(f"{start} {name} {shlex.quote(str(path))} {words}" for name, words in asked.items() if words)]
