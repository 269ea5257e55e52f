"""`genus compare`: every family on one data set, and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genus.atomic import check_writable
from genus.cli.errors import Misuse
from genus.cli.inputs import (
    Context,
    Data,
    Documents,
    Encoding,
    Header,
    Json,
    Kinds,
    Length,
    Missing,
    Order,
    Quiet,
    Rate,
    Tokens,
    family,
    names,
    read,
    seconds,
)
from genus.cli.outputs import print_json, say

__all__ = ["compare"]


def compare(
    data: Data,
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="A column that models learnt from samples should predict.")
    ] = None,
    context: Context = None,
    families: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Families to compare, with commas between them; by default all. The baseline always is: naive-bayes, of"
            " sequences markov.",
        ),
    ] = None,
    budget: Annotated[str, typer.Option(metavar="TIME", help="For each family and seed: 60s, 2m, 1h.")] = "30s",
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="How often each family is fitted.")] = 3,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where index.html and report.json go.")] = Path("report"),
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes at once; by default one for each core.")
    ] = None,
    kinds: Kinds = None,
    missing: Missing = None,
    header: Header = None,
    tokens: Tokens = None,
    documents: Documents = None,
    length: Length = None,
    rate: Rate = None,
    encoding: Encoding = None,
    sequence: Order = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit every family that takes the data, judge it on rows held out, and write a report.

    Of one long text or sound, its end is held out.

    \b
    Examples:
      genus compare digits
      genus compare adult.csv --target income --budget 60s
      genus compare adult.csv --families mixture,vae --seeds 1 --out comparison/
      genus compare images/ --context label --jobs 2
      genus compare book.txt --families markov,rnn,gpt --budget 5m
      genus compare adult.csv --kind age=real --json > report.json
    """
    limit = seconds(budget) or 30.0
    chosen = names(families)
    if chosen == []:
        raise Misuse("--families names none; name some, with commas between them, or leave it out to compare all")
    for name in chosen or ():
        family(name)
    check_writable(out)
    dataset = read(
        data,
        context,
        target,
        kinds,
        missing,
        tokens=tokens,
        documents=documents,
        length=length,
        rate=rate,
        encoding=encoding,
        sequence=sequence,
        header=header,
    )
    say(f"{dataset}\n", quiet)

    from genus.evaluation import compare

    report = compare(
        dataset,
        chosen,
        budget=limit,
        seeds=seeds,
        jobs=jobs,
        progress=False if quiet else say,
    )
    # First what has been learned, then the folder: if that fails, hours of work are still to be read.
    if as_json:
        print_json(report.to_json())
    else:
        import sys

        from rich.console import Console

        Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(report)
    page = report.write(out)
    say(f"\nThe report is in {page}; its numbers are in {page.with_name('report.json')}.", quiet)
