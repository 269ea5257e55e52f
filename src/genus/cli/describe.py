"""`genus describe`: every column as a person reads it, and a schema to edit; or a model by what its file holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from genus.atomic import atomic_write
from genus.cli.about import about_model, model_text
from genus.cli.errors import UsageError
from genus.cli.options import Data, Output, ReadingOptions, shared_options
from genus.cli.outputs import print_json, say
from genus.notebook import MANY

__all__ = ["describe"]


@shared_options
def describe(
    data: Data,
    *,
    reading: ReadingOptions,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the schema to this file, to be edited.")] = None,
    ctx: typer.Context,
    output: Output,
) -> None:
    """Say what every column is, and write a schema that fit and compare take back; or say what a model's file holds.

    The schema is JSON: change a column's kind, delete its fields so that it is measured again as that kind, add constraints,
    give columns the role context or target, and pass it with --schema.

    \b
    Examples:
      genus describe adult.csv
      genus describe adult.genus
      genus describe adult.csv --out schema.json
      genus fit adult.csv --schema schema.json --family made --out adult.genus
    """
    output.check_one_place(out)

    from genus.files import is_model_file

    if is_model_file(data):
        if out is not None:
            raise UsageError("--out writes the schema of data, and this is a model; leave it out")
        said, columns = about_model(Path(data), ctx.obj)
        print_json(said) if output.as_json else say(model_text(said, columns))
        return

    from genus.codec.notes import Note
    from genus.data import Schema, read

    dataset = read(data, **reading.arguments())
    schema = Schema.of(dataset)
    if out is not None:
        with atomic_write(out) as path:
            path.write_text(json.dumps(schema.to_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if output.as_json:
        print_json(schema.to_json())
        return
    say(f"{dataset.name}: {len(dataset):,} rows, {len(schema.columns)} columns\n{schema}")
    if len(schema.columns) > MANY and out is None:
        output.note("all columns are in --out FILE, or in --json")
    for note in map(Note.of, dataset.notes):
        output.note(f"{note.label}: {note.shell}")
    if out is not None:
        output.note(f"wrote {out}; edit it, and pass it with --schema {out}")
