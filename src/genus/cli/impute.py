"""`genus impute`: what is missing from rows, drawn given the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genus.cli.errors import Misuse
from genus.cli.inputs import Data, Header, Json, Missing, Quiet, markers
from genus.cli.outputs import as_table, check_suffix, say, write_table
from genus.cli.sample import Model
from genus.errors import GenusError

__all__ = ["impute"]


def impute(
    model: Model,
    data: Data,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help=".csv .tsv .parquet .npz .npy .json; by default CSV on stdout.")
    ] = None,
    missing: Missing = None,
    header: Header = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Repeats the draw exactly.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fill in what rows of a table lack, drawn from the model's distribution given what they have.

    Filled in are columns that lacked nothing in training; where they did, missing is a value like others, and stays. One draw
    is one of many possible values: repeat it with other seeds to see how sure it is. mixture answers for any columns.

    \b
    Examples:
      genus impute adult.genus adult.csv --out complete.csv
      genus impute adult.genus adult.csv --seed 1 --json
    """
    if as_json and out is not None:
        raise Misuse("--json prints to stdout and --out writes a file; choose one")
    check_suffix(out)

    from genus.data import read
    from genus.files import load

    loaded = load(model)
    if not loaded.space.is_table:
        raise GenusError(f"{model} is a model of {loaded.space!r}, not of a table; call model.impute in Python.")
    dataset = read(data, space=(loaded.space, loaded.context), missing=markers(missing), header=header, allow_missing=True)
    gone = dataset.x.isnan() & (loaded.space.tables(dataset.x).missing < 0)
    table = as_table(loaded.space, loaded.impute(dataset.x, gone, dataset.c, seed=seed))
    if dataset.c is not None and loaded.context is not None:
        labels = as_table(loaded.context, dataset.c)
        for name in labels.column_names:
            table = table.append_column(name, labels.column(name))
    write_table(table, out, as_json)
    where = f" The rows are in {out}." if out is not None else ""
    say(f"{int(gone.sum()):,} values in {int(gone.any(1).sum()):,} of {len(gone):,} rows were drawn.{where}", quiet)
