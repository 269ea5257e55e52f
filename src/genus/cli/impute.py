"""`genus impute`: the blanks of a table, drawn given the values that the rows have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genus.cli.asis import AsWritten
from genus.cli.errors import UsageError
from genus.cli.filling import FilledBlock, Filling, filled
from genus.cli.inputs import codec_of, source_of, split_names
from genus.cli.jobs import BLOCK, in_order
from genus.cli.options import Data, DrawSeed, Jobs, Model, RowOptions, TableOutput, shared_options
from genus.cli.outputs import check_suffix, table_writer
from genus.cli.regions import fill_region

__all__ = ["impute"]

MEAN_DRAWS = 20  # over which --mean is taken where --times does not say


@shared_options
def impute(
    model: Model,
    data: Data,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a table to .csv .tsv .parquet .npz .npy or .json, by default CSV goes to stdout; images to .png .npz"
            " .npy or a folder; texts, sounds and sequences as genus sample does.",
        ),
    ] = None,
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
    region: Annotated[
        str | None,
        typer.Option(
            metavar="TOP:BOTTOM,LEFT:RIGHT",
            help="Draw these pixels of images anew, such as 14:28,0:28, or START:STOP of sequences; an end may be left out.",
        ),
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option("--context", metavar="COLUMN=VALUE", help="The context of all images or sequences, if the data lack it."),
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", "--number", metavar="N", min=1, help="Fill the first N images or sequences alone.")
    ] = None,
    reading: RowOptions,
    seed: DrawSeed = None,
    jobs: Jobs = None,
    output: TableOutput,
) -> None:
    """Fill the blanks of a table, of images or of sequences, drawn given the values that a row has.

    A blank is filled where it stands for an unknown value; where it means something it stays, unless --columns names it
    (genus describe says which is which). Columns that the model does not know pass through; a column that the file lacks is
    added. In delimited text the other cells stand as they were written. One draw is one of many possible values: --times and
    --mean show how sure it is. Any family with a density answers.
    Parquet, Arrow and delimited text of many rows are read, filled and written in blocks of 50,000, each with a seed of its own
    that follows from --seed; the draws of --times then stand block by block.

    \b
    Examples:
      genus impute adult.genus adult.csv --out complete.csv
      genus impute adult.genus adult.csv --columns age --mean
      genus impute adult.genus adult.csv --times 20 --out many.parquet
      genus impute adult.genus adult.csv --jobs 4 --out complete.parquet
      genus impute adult.genus adult.csv --seed 1 --json
      genus impute digits.genus digits --region 4: -n 16 --out filled.png
    """
    output.check_one_place(out)

    import torch

    from genus.files import load
    from genus.questions.blocks import block_sources

    loaded = load(model)
    if not loaded.space.is_table:
        of_tables = {"--columns": columns, "--times": times, "--mean": mean, "--jobs": jobs}
        if odd := [name for name, given in of_tables.items() if given]:
            raise UsageError(f"{odd[0]} is for tables, and this model draws none; leave it out")
        fill_region(loaded, data, reading.arguments(), region, context, n, seed, out, output)
        return
    if region or context or n:
        raise UsageError("--region, --context and -n are for images and sequences; of a table blanks are filled, or --columns")
    check_suffix(out)
    chosen = split_names(columns)
    start = int(torch.randint(2**31, ())) if seed is None else seed
    task = Filling(loaded, reading.arguments(), chosen, times or (MEAN_DRAWS if mean else 1), mean, start, BLOCK)
    total = FilledBlock()
    source = source_of(data)
    written = AsWritten(source, task.reading, out, output)
    with table_writer(out, output) as write:
        for found in in_order(filled, task, block_sources(loaded, task.reading, source, BLOCK), jobs):
            write(written(found.table, found.total, found.where))
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
