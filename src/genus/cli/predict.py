"""`genus predict`: one column of a table from the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genus.cli.asis import AsWritten
from genus.cli.errors import UsageError
from genus.cli.filling import PredictedBlock, Predicting, predicted
from genus.cli.inputs import source_of
from genus.cli.jobs import in_order
from genus.cli.options import Data, Jobs, Model, TableFile, TableOptions, TableOutput, shared_options
from genus.cli.outputs import check_suffix, table_writer

__all__ = ["predict"]


@shared_options
def predict(
    model: Model,
    data: Data,
    *,
    column: Annotated[str, typer.Option(metavar="COLUMN", help="Predict this column.")],
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Add the probability of every value, where the column has at most 256.")
    ] = False,
    level: Annotated[
        float, typer.Option(metavar="P", min=0, max=1, help="Give the interval of a number that holds this probability.")
    ] = 0.9,
    held_out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", exists=True, help="Calibrate by these rows, which hold the column and were not in training."
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Write the calibration by --held-out into the model's file.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Leave out a calibration that the model's file keeps.")] = False,
    alone: Annotated[
        bool, typer.Option("--alone", help="Write the predictions alone, without the columns of the data before them.")
    ] = False,
    out: TableFile = None,
    jobs: Jobs = None,
    reading: TableOptions,
    output: TableOutput,
) -> None:
    """Predict a column of a table from the other columns, by a model of all of them.

    A category gets its likeliest level, a number its mean and an interval. The column may be there, and is not looked at;
    blanks of other columns are averaged over. Any family with a density answers. Rows come in the order of the table, all
    their columns before the predictions, those that the model does not know too, as in genus impute. With
    --held-out the probabilities and intervals are calibrated by rows of another file, and the last line says how far they
    were off; with --keep all later predictions of the column are too, as they are where genus fit or genus compare was told
    the column with --target. Parquet, Arrow and delimited text of many rows are read and predicted in blocks of 10,000.

    \b
    Examples:
      genus predict adult.genus new.csv --column income --probabilities
      genus predict adult.genus new.csv --column age --level 0.8 --out ages.csv
      genus predict adult.genus new.csv --column income --held-out adult-test.csv --keep
      genus predict adult.genus new.csv --column income --alone --json
    """
    output.check_one_place(out)
    check_suffix(out)
    if keep and held_out is None:
        raise UsageError("--keep keeps the calibration by --held-out, and there is none; add --held-out FILE, or leave it out")
    if plain and held_out is not None:
        raise UsageError("--plain is without calibration, and --held-out asks for one; leave one of them out")

    from genus.files import load, save
    from genus.questions import calibrate
    from genus.questions.blocks import PREDICTED, block_sources

    loaded, given, source = load(model), reading.arguments(), source_of(data)
    if held_out is not None:
        calibrate(loaded, held_out, column, level, **given)
    if keep:
        save(loaded, model)
    task = Predicting(loaded, given, column, level, probabilities, not plain, not alone)
    total, written = PredictedBlock(), AsWritten(source, given, out, output)
    with table_writer(out, output) as write:
        for found in in_order(predicted, task, block_sources(loaded, given, source, PREDICTED), jobs):
            write(found.table if alone else written(found.table, found.rows, {}))
            total.add(found)
    for reason, count in total.reasons.items():
        output.note(f"{count:,} row{'s' if count > 1 else ''}: {reason}.")
    where = f"; they are in {out}" if out is not None else ""
    output.note(f"{total.rows:,} predictions of {column!r} ({total.label}){where}.")
    calibration = None if plain else loaded.calibrations.get(column)
    mended = f"{calibration}" if calibration is not None else "none; --held-out FILE calibrates by rows that trained nothing"
    output.note(f"Calibration: {mended}{f'; {model} keeps it' if keep else ''}.")
