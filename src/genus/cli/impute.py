"""`genus impute`: the blanks of a table, drawn given the values that the rows have."""

from __future__ import annotations

from typing import Annotated

import typer

from genus.cli.filling import FilledBlock, Filling, filled
from genus.cli.inputs import codec_of, source_of
from genus.cli.jobs import BLOCK, in_order
from genus.cli.options import Data, DrawSeed, Jobs, Model, Output, TableFile, TableOptions, shared_options
from genus.cli.outputs import check_suffix, table_writer
from genus.cli.scoring import block_sources

__all__ = ["impute"]

MEAN_DRAWS = 20  # over which --mean is taken where --times does not say


@shared_options
def impute(
    model: Model,
    data: Data,
    *,
    out: TableFile = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B", help="Fill these columns alone; by default all that have blanks.")
    ] = None,
    times: Annotated[
        int | None,
        typer.Option(metavar="K", min=1, help="Draw every blank K times; the rows stand K times, numbered by a column draw."),
    ] = None,
    mean: Annotated[
        bool,
        typer.Option(
            "--mean",
            help="Add the mean of the draws, or the likeliest value, and the ends of 90 % of them; of 20 draws or --times.",
        ),
    ] = False,
    reading: TableOptions,
    seed: DrawSeed = None,
    jobs: Jobs = None,
    output: Output,
) -> None:
    """Fill the blanks of a table, drawn from the model's distribution given the values that a row has.

    A blank is filled where it stands for an unknown value; where it means something it stays, unless --columns names it
    (genus describe says which is which). Columns that the model does not know pass through; a column that the file lacks is
    added. One draw is one of many possible values: --times and --mean show how sure it is. Any family with a density answers.
    Parquet, Arrow and delimited text of many rows are read, filled and written in blocks of 50,000, each with a seed of its own
    that follows from --seed; the draws of --times then stand block by block.

    \b
    Examples:
      genus impute adult.genus adult.csv --out complete.csv
      genus impute adult.genus adult.csv --columns age --mean
      genus impute adult.genus adult.csv --times 20 --out many.parquet
      genus impute adult.genus adult.csv --jobs 4 --out complete.parquet
      genus impute adult.genus adult.csv --seed 1 --json
    """
    output.check_one_place(out)
    check_suffix(out)

    import torch

    from genus.files import load

    loaded = load(model)
    chosen = [name.strip() for name in columns.split(",")] if columns is not None else None
    start = int(torch.randint(2**31, ())) if seed is None else seed
    task = Filling(loaded, reading.arguments(), chosen, times or (MEAN_DRAWS if mean else 1), mean, start, BLOCK)
    total = FilledBlock()
    with table_writer(out, output.as_json) as write:
        for found in in_order(filled, task, block_sources(loaded, task.reading, source_of(data), BLOCK), jobs):
            write(found.table)
            total.add(found)
    for note in codec_of(loaded).notes:
        if note.about == "left out":
            output.note(f"{note.label}  {note.shell}")
    for reason, count in total.reasons.items():
        output.note(f"{count:,} row{'s' if count > 1 else ''}: {reason}.")
    kind = "" if total.size == float("inf") else f", by weighted draws worth {total.size:.0f} candidates or more"
    where = f" The rows are in {out}." if out is not None else ""
    names = f" ({', '.join(f'{name} {cells:,}' for name, cells in total.cells.items())})" if total.cells else ""
    output.note(
        f"{sum(total.cells.values()):,} blanks in {total.rows:,} of {total.total:,} rows were filled{names}{kind}.{where}"
    )
