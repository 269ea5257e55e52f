"""`genus impute`: missing values of rows, drawn given the values that the rows have."""

from __future__ import annotations

from genus.cli.inputs import codec_of, context_codec_of, source_of
from genus.cli.options import Data, DrawSeed, Model, Output, TableFile, TableOptions, shared_options
from genus.cli.outputs import as_table, check_suffix, write_table
from genus.errors import GenusError

__all__ = ["impute"]


@shared_options
def impute(
    model: Model,
    data: Data,
    *,
    out: TableFile = None,
    reading: TableOptions,
    seed: DrawSeed = None,
    output: Output,
) -> None:
    """Fill in missing values of a table, drawn from the model's distribution given the values that a row has.

    A column is filled in where no row lacked it in training; in other columns missing is a value like others, and stays. One
    draw is one of many possible values: repeat it with other seeds to see how sure it is. mixture answers for any columns.

    \b
    Examples:
      genus impute adult.genus adult.csv --out complete.csv
      genus impute adult.genus adult.csv --seed 1 --json
    """
    output.check_one_place(out)
    check_suffix(out)

    from genus.data import read
    from genus.files import load

    loaded = load(model)
    if not loaded.space.is_table:
        raise GenusError(f"{model} is a model of {loaded.space!r}, not of a table; call model.impute in Python.")
    dataset = read(
        source_of(data), space=(codec_of(loaded), context_codec_of(loaded)), **reading.arguments(), allow_missing=True
    )
    gone = dataset.x.isnan() & (loaded.space.tables(dataset.x).missing < 0)
    table = as_table(codec_of(loaded), loaded.impute(dataset.x, gone, dataset.c, seed=seed), seed, dataset.keys)
    if dataset.c is not None and (context := context_codec_of(loaded)) is not None:
        labels = as_table(context, dataset.c)
        for name in labels.column_names:
            table = table.append_column(name, labels.column(name))
    write_table(table, out, output.as_json)
    for note in codec_of(loaded).notes:
        if note.about == "left out":
            output.note(f"{note.label}  {note.shell}")
    where = f" The rows are in {out}." if out is not None else ""
    output.note(f"{int(gone.sum()):,} values in {int(gone.any(1).sum()):,} of {len(gone):,} rows were drawn.{where}")
