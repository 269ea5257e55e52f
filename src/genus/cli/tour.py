"""`genus tour`: the theory, run and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genus.atomic import check_writable
from genus.cli.inputs import split_names
from genus.cli.options import Output, shared_options
from genus.errors import GenusError

__all__ = ["tour"]


@shared_options
def tour(
    *,
    only: Annotated[
        str | None, typer.Option(metavar="A,B", help="Run these pages, with commas between them; by default all.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Write one self-contained HTML page to this file.")] = Path(
        "tour.html"
    ),
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="The same seed gives the same numbers.")] = 0,
    output: Output,
) -> None:
    """Run the theory behind the families: formulas, pictures, and numbers beside the values that the theory gives.

    The command fails, with exit code 1, where a number is off.

    \b
    Examples:
      genus tour
      genus tour --only parallel-lines,optimal-discriminator --out two.html
      genus tour --json > tour.json
    """
    check_writable(out.parent)

    from genus.tour import run_pages, write_html

    result = run_pages(split_names(only), seed, progress=None if output.quiet else output.note)
    write_html(result, out)
    output.print_report(result, width=110)
    output.note(f"\nThe page is {out}.")
    if result.wrong:
        raise GenusError(f"{result.verdict}: {'; '.join(result.wrong)}.")
