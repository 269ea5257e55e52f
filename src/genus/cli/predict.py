"""`genus predict`: one column of a table from the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genus.cli.inputs import source_of
from genus.cli.options import Data, Model, TableFile, TableOptions, TableOutput, shared_options
from genus.cli.outputs import check_suffix, write_table

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
    out: TableFile = None,
    reading: TableOptions,
    output: TableOutput,
) -> None:
    """Predict a column of a table from the other columns, by a model of all of them.

    A category gets its likeliest level, a number its mean and an interval. The column may be there, and is not looked at;
    blanks of other columns are averaged over. Any family with a density answers. Rows come in the order of the table. With
    --held-out the probabilities and intervals are calibrated by rows of another file, and the last line says how far they
    were off.

    \b
    Examples:
      genus predict adult.genus adult.csv --column income --probabilities
      genus predict adult.genus adult.csv --column age --level 0.8 --out ages.csv
      genus predict adult.genus adult.csv --column income --held-out adult.csv
      genus predict adult.genus adult.csv --column income --json
    """
    output.check_one_place(out)
    check_suffix(out)

    from genus.files import load
    from genus.questions import predict as predicted_by

    found = predicted_by(load(model), source_of(data), column, level, held_out, **reading.arguments())
    write_table(found.table(probabilities), out, output)
    for reason, count in found.reasons.items():
        output.note(f"{count:,} row{'s' if count > 1 else ''}: {reason}.")
    where = f"; they are in {out}" if out is not None else ""
    output.note(f"{len(found.value):,} predictions of {column!r} ({found.label}){where}.")
    if found.calibration is not None:
        output.note(f"Calibration: {found.calibration}.")
