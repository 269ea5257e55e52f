"""`genus tour`: the theory, run and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genus.atomic import check_writable
from genus.cli.inputs import Json, Quiet, names
from genus.cli.outputs import print_json, say
from genus.errors import GenusError

__all__ = ["tour"]


def tour(
    only: Annotated[
        str | None, typer.Option(metavar="A,B", help="Pages to run, with commas between them; by default all.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the page goes, one self-contained HTML file.")] = Path(
        "tour.html"
    ),
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of everything random.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the theory behind the families: formulas, pictures, and numbers beside what they should be.

    It fails, with exit code 1, where a number is off.

    \b
    Examples:
      genus tour
      genus tour --only parallel-lines,optimal-discriminator --out two.html
      genus tour --json > tour.json
    """
    check_writable(out.parent)

    from genus.tour import visit

    found = visit(names(only), seed, progress=None if quiet else say)
    found.write(out)
    if as_json:
        print_json(found.to_json())
    else:
        import sys

        from rich.console import Console

        Console(width=None if sys.stdout.isatty() else 110, highlight=False).print(found)
    say(f"\nThe page is {out}.", quiet)
    if found.wrong:
        raise GenusError(f"{found.verdict}: {'; '.join(found.wrong)}.")
