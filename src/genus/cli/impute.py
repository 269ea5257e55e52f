"""`genus impute`: the blanks of a table, drawn given the values that the rows have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from genus.cli.inputs import codec_of, source_of
from genus.cli.options import Data, DrawSeed, Model, TableFile, TableOptions, TableOutput, shared_options
from genus.cli.outputs import check_suffix, write_table

if TYPE_CHECKING:
    import pyarrow as pa

    from genus.questions import Imputed

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
    output: TableOutput,
) -> None:
    """Fill the blanks of a table, drawn from the model's distribution given the values that a row has.

    A blank is filled where it stands for an unknown value; where it means something it stays, unless --columns names it
    (genus describe says which is which). Columns that the model does not know pass through; a column that the file lacks is
    added. One draw is one of many possible values: --times and --mean show how sure it is. Any family with a density answers.

    \b
    Examples:
      genus impute adult.genus adult.csv --out complete.csv
      genus impute adult.genus adult.csv --columns age --mean
      genus impute adult.genus adult.csv --times 20 --out many.parquet
      genus impute adult.genus adult.csv --seed 1 --json
    """
    output.check_one_place(out)
    check_suffix(out)

    from genus.files import load
    from genus.questions import impute as filled_by

    loaded = load(model)
    chosen = [name.strip() for name in columns.split(",")] if columns is not None else None
    draws = times or (MEAN_DRAWS if mean else 1)
    found = filled_by(loaded, source_of(data), chosen, draws, seed, **reading.arguments())
    write_table(found.summary() if mean else _stacked(found), out, output)
    for note in codec_of(loaded).notes:
        if note.about == "left out":
            output.note(f"{note.label}  {note.shell}")
    for reason, count in found.reasons.items():
        output.note(f"{count:,} row{'s' if count > 1 else ''}: {reason}.")
    kind = "" if found.size == float("inf") else f", by weighted draws worth {found.size:.0f} candidates or more"
    where = f" The rows are in {out}." if out is not None else ""
    names = f" ({', '.join(f'{name} {int(rows.sum()):,}' for name, rows in found.filled.items())})" if found.filled else ""
    output.note(
        f"{found.cells:,} blanks in {found.rows:,} of {found.tables[0].num_rows:,} rows were filled{names}{kind}.{where}"
    )


def _stacked(found: Imputed) -> pa.Table:
    """Return the draws as one table, with a column that numbers them where they are several."""
    import pyarrow as pa

    if len(found.tables) == 1:
        return found.tables[0]
    name = next(name for name in ("draw", "draw of genus") if name not in found.tables[0].column_names)
    count = found.tables[0].num_rows
    numbered = [table.add_column(0, name, pa.array([k] * count)) for k, table in enumerate(found.tables)]
    return pa.concat_tables(numbered, promote_options="permissive")
