"""`genus forecast`: how series go on from their beginnings, with intervals."""

from __future__ import annotations

from typing import Annotated

import typer

from genus.cli.inputs import context_codec_of, context_values, source_of
from genus.cli.options import Data, DrawSeed, Model, SequenceOptions, TableFile, TableOutput, shared_options
from genus.cli.outputs import check_suffix, write_table

__all__ = ["forecast"]


@shared_options
def forecast(
    model: Model,
    data: Data,
    *,
    steps: Annotated[int, typer.Option(metavar="N", min=1, help="Go on for so many steps after each beginning.")],
    out: TableFile = None,
    times: Annotated[int, typer.Option(metavar="K", min=1, help="Draw each K times.")] = 200,
    level: Annotated[float, typer.Option(metavar="SHARE", help="Give intervals of this probability.")] = 0.9,
    context: Annotated[
        list[str] | None,
        typer.Option("--context", metavar="COLUMN=VALUE", help="The context of all beginnings, where the data do not have it."),
    ] = None,
    reading: SequenceOptions,
    seed: DrawSeed = None,
    output: TableOutput,
) -> None:
    """Draw how sequences of numbers, or series of one or several values a step, go on from their beginnings.

    The model is of gpt, rnn or wavenet. DATA hold the beginnings, written like the data of the model: a long table has a row
    for each step. The result has a row for each series and step: mean and interval of numbers, the likeliest of categories.

    \b
    Examples:
      genus fit sales.csv --family gpt --sequence shop,day --budget 2m --out sales.genus
      genus forecast sales.genus last-month.csv --steps 14 --out next.csv
    """
    output.check_one_place(out)
    check_suffix(out)

    from genus.files import load
    from genus.questions import forecast as forecast_of

    loaded = load(model)
    c = context_values(context_codec_of(loaded), context) if context else None
    how = {name: value for name, value in reading.arguments().items() if value is not None}
    found = forecast_of(loaded, source_of(data), steps, times, c=c, level=level, seed=seed, **how)
    write_table(found.table(), out, output)
    where = f" The rows are in {out}." if out is not None else ""
    output.note(f"{len(found.keys):,} series, {steps:,} steps ahead, {times:,} draws of each, intervals of {level:.0%}.{where}")
