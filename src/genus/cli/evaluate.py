"""`genus evaluate`: samples of any generator against real rows, and a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from genus.atomic import check_writable
from genus.cli.errors import UsageError
from genus.cli.options import Kinds, Output, TableOptions, column_kinds, shared_options

__all__ = ["evaluate"]


@shared_options
def evaluate(
    samples: Annotated[
        list[str],
        typer.Argument(metavar="SAMPLES...", help="Files that generators have written; NAME=FILE gives one another name."),
    ],
    *,
    real: Annotated[str, typer.Option(metavar="DATA", help="The rows that the generators were fitted to.")],
    held_out: Annotated[
        str, typer.Option("--held-out", metavar="DATA", help="Real rows that no generator has seen: 20 or more.")
    ],
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Let models that learn from samples predict this column.")
    ] = None,
    reading: TableOptions,
    kinds: Kinds = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Write index.html and report.json to this folder.")] = Path(
        "report"
    ),
    output: Output,
) -> None:
    """Judge samples of any generator as compare judges families: against real rows that it has not seen.

    Files are read leniently, and every repair is counted and shown: columns may stand in another order, numbers are rounded to
    those that a column has, unknown levels are named. Beside the samples stand real rows, independent columns and a copy of
    the training rows.

    \b
    Examples:
      genus evaluate --real adult.csv --held-out adult-test.csv tabsyn.csv ctgan.parquet
      genus evaluate --real adult.csv --held-out adult-test.csv --target income ours=run3/samples.csv --out judged
    """
    check_writable(out)
    named = named_files(samples)

    from genus.evaluation import evaluate

    report = evaluate(
        real,
        held_out,
        named,
        progress=False if output.quiet else output.note,
        target=target,
        kinds=column_kinds(kinds),
        **{name: value for name, value in reading.arguments().items() if value},
    )
    output.write_report(report, out)


def named_files(words: Sequence[str]) -> dict[str, str]:
    """Return the files of the words by name: NAME=FILE, or a file by its own name without folder and endings.

    Raises:
        UsageError: two have the same name, or a file is not there.

    >>> named_files(["x.csv"])
    Traceback (most recent call last):
    genus.cli.errors.UsageError: there is no file 'x.csv'; expected files of samples
    """
    files: dict[str, str] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or Path(word).exists():
            name, path = Path(word).name.split(".")[0] or word, word
        if not Path(path).exists():
            raise UsageError(f"there is no file {path!r}; expected files of samples")
        if name in files:
            raise UsageError(f"{files[name]} and {path} are both called {name}; give one another name, as in other={path}")
        files[name] = path
    return files
