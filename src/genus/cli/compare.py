"""`genus compare`: every family on one data set, and a report."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from time import time as clock
from typing import TYPE_CHECKING, Annotated

import typer

from genus.atomic import check_writable
from genus.cli.errors import UsageError
from genus.cli.inputs import find_family, parse_duration, source_of, split_names
from genus.cli.options import Data, Output, ReadingOptions, shared_options

if TYPE_CHECKING:
    from genus.evaluation import Report

__all__ = ["compare", "name_command", "process_begin"]


@shared_options
def compare(
    data: Data,
    *,
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Let models that learn from samples predict this column.")
    ] = None,
    reading: ReadingOptions,
    families: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Compare these families, with commas between them; by default all. The baseline is always among them:"
            " independent, of sequences markov.",
        ),
    ] = None,
    budget: Annotated[str, typer.Option(metavar="TIME", help="Train each family and seed for this time: 60s, 2m, 1h.")] = "30s",
    time: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Answer within this time, judging included: fit all families small, give the hopeless up, write the page as"
            " results come. In place of --budget.",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Fit each family N times, with a seed each time; by default 3, with --time 1."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Fit each family with this seed first, then with those after it.")
    ] = 0,
    stack: Annotated[
        bool, typer.Option("--stack/--no-stack", help="Add the mixture of the exact families, for which nothing is fitted.")
    ] = True,
    split: Annotated[
        str,
        typer.Option(
            metavar="HOW", help="Hold rows out at random; time: the latest, by the one column of dates; or by a column's name."
        ),
    ] = "random",
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Write index.html, report.json and the winner, best.genus, to this folder.")
    ] = Path("report"),
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Run N processes at once; by default one for each core.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="WHERE", help="Fit on other machines: tcp://host:8786, a Dask scheduler; ray; or local."),
    ] = None,
    output: Output,
) -> None:
    """Fit every family that takes the data, evaluate it on held-out rows, and write a report.

    The end of one long text or sound is held out.

    \b
    Examples:
      genus compare digits
      genus compare adult.csv --target income --time 5m
      genus compare adult.csv --target income --budget 60s
      genus compare adult.csv --families mixture,vae --seeds 1 --out comparison/
      genus compare images/ --context label --jobs 2
      genus compare book.txt --families markov,rnn,gpt --budget 5m
      genus compare adult.csv --kind age=real --json > report.json
    """
    begin = process_begin()
    limit, whole = parse_duration(budget) or 30.0, parse_duration(time, "--time")
    names = split_names(families)
    if names == []:
        raise UsageError("--families names none; name some, with commas between them, or leave it out to compare all")
    chosen = None if names is None else [find_family(name) for name in names]
    check_writable(out)

    from genus.data import read

    dataset = read(source_of(data), target=target, **reading.arguments())
    output.note(f"{dataset.summary(shell=True)}\n")

    from genus.evaluation import compare

    progress = False if output.quiet else output.note
    report = compare(
        dataset,
        chosen,
        budget=limit,
        seeds=seeds,
        seed=seed,
        jobs=jobs,
        progress=progress,
        split=split,
        stack=stack,
        time_limit=None if whole is None else max(1.0, whole - (clock() - begin)),
        folder=out,
        cluster=cluster,
    )
    name_command(report, data)
    output.write_report(report, out)
    if report.winner:
        draws = f", 1,000 draws in {out / report.winner['draws']}" if "draws" in report.winner else ""
        output.note(
            f"{report.winner['family']} is in {out / report.winner['file']}{draws}; to fit it again: {report.winner['command']}"
        )


def process_begin() -> float:
    """Return when this process began, as `time.time` has it, so that reading and importing count; now where it is not known."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        up = float(Path("/proc/uptime").read_text().split()[0])
        return clock() - (up - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return clock()


def name_command(report: Report, data: str) -> None:
    """Set the command that fits the winner of a report again, on all rows."""
    if not report.winner:
        return
    budget = f" --budget {report.budget_seconds:.0f}s" if report.budget_seconds and report.budget_seconds >= 1 else ""
    hyper = "".join(
        f" --set {name}={','.join(map(str, value)) if isinstance(value, list | tuple) else value}"
        for name, value in report.winner["hyper"].items()
        if isinstance(value, bool | int | float | str)
        or (isinstance(value, list | tuple) and value and all(isinstance(one, int | float | str) for one in value))
    )
    family = report.winner["family"]
    if family not in {row.family for row in report.rows} or (report.weights and family.startswith("stack of")):
        family, hyper = "stack", f" --set members={','.join(report.weights)}"
    report.winner["command"] = f"genus fit {shlex.quote(data)} --family {family}{hyper}{budget} --out best.genus"
