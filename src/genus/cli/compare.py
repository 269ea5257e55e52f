"""`genus compare`: every family on one data set, and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genus.atomic import check_writable
from genus.cli.errors import UsageError
from genus.cli.inputs import find_family, parse_duration, source_of, split_names
from genus.cli.options import Data, Output, ReadingOptions, shared_options

__all__ = ["compare"]


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
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Fit each family N times, with a seed each time.")] = 3,
    split: Annotated[
        str,
        typer.Option(
            metavar="HOW", help="Hold rows out at random; time: the latest, by the one column of dates; or by a column's name."
        ),
    ] = "random",
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Write index.html and report.json to this folder.")] = Path(
        "report"
    ),
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Run N processes at once; by default one for each core.")
    ] = None,
    output: Output,
) -> None:
    """Fit every family that takes the data, evaluate it on held-out rows, and write a report.

    The end of one long text or sound is held out.

    \b
    Examples:
      genus compare digits
      genus compare adult.csv --target income --budget 60s
      genus compare adult.csv --families mixture,vae --seeds 1 --out comparison/
      genus compare images/ --context label --jobs 2
      genus compare orders.csv --group customer_id
      genus compare orders.csv --split time
      genus compare book.txt --families markov,rnn,gpt --budget 5m
      genus compare adult.csv --kind age=real --json > report.json
    """
    limit = parse_duration(budget) or 30.0
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
    report = compare(dataset, chosen, budget=limit, seeds=seeds, jobs=jobs, progress=progress, split=split)
    # First the results, then the folder: if that fails, hours of work can still be read.
    output.print_report(report, width=120)
    page = report.write(out)
    output.note(f"\nThe report is in {page}; its numbers are in {page.with_name('report.json')}.")
