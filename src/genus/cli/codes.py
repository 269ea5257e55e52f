"""`genus reconstruct` and `genus interpolate`: decode data from their codes, and from codes between two of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genus.cli.errors import UsageError
from genus.cli.inputs import codec_of, read_rows
from genus.cli.options import Data, Model, RowOptions, TableOutput, shared_options
from genus.cli.outputs import check_suffix, write_table
from genus.cli.pictures import check_pictures, write_images
from genus.errors import GenusError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["interpolate", "reconstruct"]

ACROSS = 16  # images in a line of a grid, at most

Pictures = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write images to .png as a grid, to .npz or .npy, or to a folder of PNG files; a table to .csv .tsv .parquet .npz"
        " .npy or .json, by default CSV goes to stdout.",
    ),
]
Given = Annotated[
    list[str] | None,
    typer.Option("--context", metavar="COLUMN=VALUE", help="The context of all rows, where the data do not have it."),
]


@shared_options
def reconstruct(
    model: Model,
    data: Data,
    *,
    n: Annotated[int, typer.Option("-n", "--number", metavar="N", min=1, help="Take the first N rows.")] = 8,
    context: Given = None,
    out: Pictures = None,
    reading: RowOptions,
    output: TableOutput,
) -> None:
    """Decode images, or rows of a table, from the codes that a model gives them.

    What a code loses is not there: a grid has the images in one line and their reconstructions in the next. Families with a
    code answer: vae, iwae, autoencoder and vq-vae.

    \b
    Examples:
      genus reconstruct digits.genus digits --out rebuilt.png
      genus reconstruct digits.genus digits -n 100 --out rebuilt
    """
    import torch

    loaded = _coded(model, "reconstruct")
    _check_out(loaded, out, output)
    rows = read_rows(loaded, data, reading.arguments(), context)
    x, c = rows.x[:n], None if rows.c is None else rows.c[:n] if len(rows.c) > 1 else rows.c
    rebuilt = loaded.reconstruct(x, c)
    parts = [pair for at in range(0, len(x), ACROSS) for pair in (x[at : at + ACROSS], rebuilt[at : at + ACROSS])]
    if len(x) > ACROSS and len(x) % ACROSS:  # the last line is filled up, so that reconstructions stand below their images
        parts[-2:] = [torch.cat([part, part.new_full((ACROSS - len(part), *part.shape[1:]), torch.nan)]) for part in parts[-2:]]
    _write(loaded, rebuilt, out, output, torch.cat(parts), min(len(x), ACROSS))


@shared_options
def interpolate(
    model: Model,
    data: Data,
    *,
    between: Annotated[str, typer.Option(metavar="I,J", help="Go from this row to that, counted from 0.")] = "0,1",
    steps: Annotated[int, typer.Option(metavar="N", min=2, help="Decode N points, both ends among them.")] = 8,
    context: Given = None,
    out: Pictures = None,
    reading: RowOptions,
    output: TableOutput,
) -> None:
    """Decode what lies between the codes of two images, or of two rows of a table.

    Families with a code answer: vae, iwae, autoencoder and vq-vae. Contexts go from the one to the other too.

    \b
    Examples:
      genus interpolate digits.genus digits --between 3,17 --out between.png
      genus interpolate digits.genus digits --between 3,17 --steps 20 --out between
    """
    loaded = _coded(model, "interpolate")
    _check_out(loaded, out, output)
    try:
        first, last = (int(part) for part in between.split(","))
    except ValueError:
        raise UsageError(f"--between {between!r} is not understood; expected two rows, such as 3,17") from None
    rows = read_rows(loaded, data, reading.arguments(), context)
    if not all(0 <= at < len(rows.x) for at in (first, last)):
        raise UsageError(f"--between {between!r} is beyond the data, whose rows are 0 to {len(rows.x) - 1}")
    c = rows.c if rows.c is None or len(rows.c) == 1 else rows.c[[first, last]]
    _write(loaded, loaded.interpolate(rows.x[[first, last]], c, steps), out, output, None, min(steps, ACROSS))


def _coded(path: Path, method: str) -> Any:
    """Return the model of a file; raise GenusError where it has no codes of that use."""
    from genus.files import load
    from genus.registry import families

    loaded = load(path)
    if not hasattr(loaded, method):
        able = ", ".join(name for name, cls in families().items() if hasattr(cls, method))
        raise GenusError(f"{path} holds a {loaded.name}, which has no code to {method} by; families that have one: {able}.")
    if loaded.space.sequence:
        raise GenusError(f"{path} draws sequences, and {method} writes images and tables; use model.{method} in Python.")
    return loaded


def _check_out(model: Any, out: Path | None, output: TableOutput) -> None:
    output.check_one_place(out)
    if model.space.is_table:
        check_suffix(out)
    else:
        check_pictures(out, output.as_json)


def _write(model: Any, x: Tensor, out: Path | None, output: TableOutput, shown: Tensor | None, columns: int) -> None:
    """Write a table, or images; `shown` are those of a grid."""
    from genus.codec.tabular import as_table

    codec = codec_of(model)
    if model.space.is_table:
        write_table(as_table(codec, x), out, output)
    elif out is not None:
        write_images(codec, x if shown is None or out.suffix.lower() != ".png" else shown, out, {}, columns)
    if out is not None:
        output.note(f"{len(x):,} {'rows' if model.space.is_table else 'images'} are in {out}.")
