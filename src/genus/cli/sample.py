"""`genus sample`: new data from a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genus.cli.errors import Misuse
from genus.cli.inputs import Json, Quiet, given
from genus.cli.outputs import as_table, check_suffix, say, write_images, write_table

__all__ = ["Model", "sample"]

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A file that genus fit has written.")]


def sample(
    model: Model,
    n: Annotated[
        int | None, typer.Option("-n", "--number", metavar="N", min=0, help="How many; by default 1000 rows, or 64 images.")
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option("--given", metavar="COLUMN=VALUE", help="What to condition on; needed for every condition of the model."),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Repeats the draw exactly.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A table: .csv .tsv .parquet .npz .npy .json; images: .png .npz .npy. By default CSV on stdout.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw new data from a model.

    Tables come back with the columns they were read with, the conditions last; images as one grid or as an array.

    \b
    Examples:
      genus sample adult.genus -n 5
      genus sample adult.genus -n 1000 --seed 1 --out new.csv
      genus sample income.genus -n 100 --given income='>50K' --out rich.parquet
      genus sample digits.genus -n 64 --out digits.png
      genus sample adult.genus -n 2 --json
    """
    if as_json and out is not None:
        raise Misuse("--json prints to stdout and --out writes a file; choose one")

    import pyarrow as pa
    import torch

    from genus.files import load

    loaded = load(model)
    space, context = loaded.space, loaded.context
    check_suffix(out, images=not space.is_table)
    c = given(context, conditions or ())
    if not space.is_table and (out is None or as_json):
        raise Misuse("this model draws images, which cannot be printed; add --out samples.png, .npz or .npy")
    count = n if n is not None else 1000 if space.is_table else 64
    with torch.inference_mode():
        x = loaded.sample(count, c, seed=seed)
    labels = pa.table({}) if c is None or context is None else as_table(context, c.expand(count, -1))
    if space.is_table:
        table = as_table(space, x)
        for name in labels.column_names:
            table = table.append_column(name, labels.column(name))
        write_table(table, out, as_json)
    elif out is not None:
        if count == 0:
            raise Misuse("no images make no picture; ask for one or more with -n")
        write_images(space, x, out, {name: labels.column(name).to_numpy() for name in labels.column_names})
    if out is not None:
        say(f"{count:,} {'rows' if space.is_table else 'images'} of {loaded.name} are in {out}.", quiet)
