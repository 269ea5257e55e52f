"""`genus tune`: hyper-parameters chosen by validation rows, and the best model in a file."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Annotated

import typer

from genus.atomic import check_writable
from genus.cli.errors import UsageError
from genus.cli.inputs import find_family, parse_duration, parse_hyperparameters, source_of
from genus.cli.options import Data, Output, ReadingOptions, shared_options
from genus.cli.outputs import file_size, print_json, say

__all__ = ["tune"]


@shared_options
def tune(
    data: Data,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Write the best model to this file.")],
    *,
    name: Annotated[str, typer.Option("--family", metavar="NAME", help="Tune this family; genus families shows all.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Keep a hyper-parameter at this value; may be repeated."),
    ] = None,
    limit: Annotated[str, typer.Option("--time", metavar="TIME", help="Search for this time: 60s, 10m, 1h.")] = "10m",
    trials: Annotated[int | None, typer.Option(metavar="N", min=1, help="Try at most N models; by default what fits.")] = None,
    reading: ReadingOptions,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed the search and every training.")] = 0,
    device: Annotated[str, typer.Option(metavar="NAME", help="Train on this device: auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    output: Output,
) -> None:
    """Search the hyper-parameters of one family, and save the best model.

    The first trial has the defaults. Sizes are doubled and halved, dropout and the learning rate moved; each trial is trained
    for a twelfth of the time at most and judged by the same validation rows, which makes the best look somewhat too good:
    score rows that were kept aside. What is set by --set stays.

    \b
    Examples:
      genus tune adult.csv --family nsf --time 10m --out best.genus
      genus tune adult.csv --family made --set orders=2 --time 2m --trials 8 --out made.genus
    """
    cls = find_family(name)
    chosen = parse_hyperparameters(cls, settings or ())
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; expected the name of a file, such as {out / 'model.genus'}")
    check_writable(out.parent)
    seconds = parse_duration(limit)
    assert seconds is not None

    from genus.data import read
    from genus.files import save
    from genus.training import tune as search

    dataset = read(source_of(data), **reading.arguments())
    output.note(f"{dataset.summary(shell=True)}\n")
    found = search(dataset, cls, seconds=seconds, trials=trials, hyper=chosen, seed=seed, device=device, say=output.note)
    save(found.model, out)
    best, first = found.best, found.trials[0]
    changed = {k: v for k, v in best.hyper.items() if v != first.hyper[k]}
    if output.as_json:
        tried = [{**vars(one), "criterion": one.criterion if isfinite(one.criterion) else None} for one in found.trials]
        told = {"family": cls.name, "out": str(out), "hyper": best.hyper, "learning_rate": best.learning_rate}
        print_json(told | {"criterion": best.criterion, "trials": tried})
        return
    rate = f" --learning-rate {best.learning_rate:.3g}" if best.learning_rate else ""
    shown = " ".join(f"--set {k}={','.join(map(str, v)) if isinstance(v, tuple | list) else v}" for k, v in changed.items())
    say(f"best      {best.criterion:.4f} by validation rows, less is better; the defaults had {first.criterion:.4f}")
    say(f"trials    {len(found.trials)}")
    say(f"settings  {' '.join([shown, rate.strip()]).strip() or 'the defaults'}")
    say(f"model     {out} ({file_size(out)}, {found.model.parameter_count:,} parameters)")
