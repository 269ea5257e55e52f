"""Options that several commands share: each is written once, and a decorator gives it to a command."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from genus.cli.errors import UsageError
from genus.errors import near
from genus.notebook import printable

__all__ = ["Budget", "Data", "DrawSeed", "Jobs", "Json", "Kinds", "Model", "Output", "ReadingOptions", "RowOptions",
           "SequenceOptions", "TableFile", "TableOptions", "TableOutput", "shared_options"]  # fmt: skip

KINDS = ("real", "lattice", "category", "time", "key", "omit")

# -- arguments and options of their own -----------------------------------------------------------------------------------

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A file, a folder of images, texts, recordings or Parquet, the name of an embedded set, or - for stdin.",
    ),
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A file that genus fit has written.")]
Budget = Annotated[str | None, typer.Option(metavar="TIME", help="Train for at most this time: 60s, 2m, 1h.")]
DrawSeed = Annotated[int | None, typer.Option(metavar="N", min=0, help="The same seed repeats the draw exactly.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Use N processes of one thread each; the results are the same, whatever their number."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read, and nothing else, on stdout.")]
TableFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write .csv .tsv .parquet .npz .npy or .json; by default CSV goes to stdout."),
]
Kinds = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="COLUMN=KIND",
        help="Take a column as real, lattice, category or time, or as times written like %d/%m/%Y; as key, which names"
        " rows; or omit it. May be repeated.",
    ),
]

# -- groups of options ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Output:
    """Hold the options that say what a command prints."""

    as_json: Json = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing on stderr except errors.")] = False

    def note(self, text: str) -> None:
        """Print a line for a person on stderr, unless --quiet was asked for."""
        if not self.quiet:
            print(printable(text), file=sys.stderr, flush=True)

    def check_one_place(self, out: Path | None) -> None:
        """Raise where results would go to stdout as JSON and to a file as well."""
        if self.as_json and out is not None:
            raise UsageError("--json prints to stdout and --out writes a file; choose one")

    def print_report(self, report: Any, width: int) -> None:
        """Print a report, as JSON or as a table that is `width` characters wide where stdout is no terminal."""
        from rich.console import Console
        from rich.segment import Segment, Segments

        from genus.cli.outputs import print_json

        if self.as_json:
            print_json(report.to_json())
        else:
            console = Console(width=None if sys.stdout.isatty() else width, highlight=False)
            parts = console.render(report)
            console.print(Segments([Segment(printable(part.text), part.style, part.control) for part in parts]))

    def write_report(self, report: Any, folder: Path) -> None:
        """Print a report of families or samples, then write it to a folder: if that fails, hours of work can still be read."""
        self.print_report(report, width=120)
        page = report.write(folder)
        self.note(f"\nThe report is in {page}; its numbers are in {page.with_name('report.json')}.")


@dataclass(frozen=True)
class TableOutput(Output):
    """Hold the options that say what a command prints that writes a table."""

    safe_csv: Annotated[
        bool,
        typer.Option(
            "--safe-csv", help="Put ' before texts of a CSV that a spreadsheet would run: those with = + - @ in front."
        ),
    ] = False


@dataclass(frozen=True)
class TableOptions:
    """Hold the options that say how the rows of a table are read."""

    missing: Annotated[
        list[str] | None,
        typer.Option("--missing", metavar="TEXT", help="Take this value as missing, beside the usual ones; may be repeated."),
    ] = None
    header: Annotated[
        bool | None,
        typer.Option("--header/--no-header", help="Say whether the first line names the columns; by default its looks decide."),
    ] = None

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `genus.read` that the options stand for."""
        return {"missing": missing_values(self.missing), "header": self.header}


@dataclass(frozen=True)
class SequenceOptions(TableOptions):
    """Hold the options that say how rows of a known space and length are read: tables, texts, sound, sequences in tables."""

    documents: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT", help="Say what a text or a sound is: one, lines, files, or auto, which looks at the data."
        ),
    ] = None
    rate: Annotated[int | None, typer.Option(metavar="N", help="Bring sound to N samples a second.")] = None
    sequence: Annotated[
        str | None,
        typer.Option(
            "--sequence",
            metavar="COLUMN",
            help="Take this column as one sequence, in the order of its rows; rows takes each row as a sequence; KEY,TIME takes"
            " the rows of each key, in the order of time, as a series of several values a step.",
        ),
    ] = None

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `genus.read` that the options stand for."""
        return super().arguments() | {
            "documents": self.documents,
            "rate": self.rate,
            "sequence": sequence_of(self.sequence),
        }


@dataclass(frozen=True)
class RowOptions(SequenceOptions):
    """Hold the options that say how rows of a known space are read, of whatever length."""

    length: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Cut text or sound into blocks of N symbols; of texts and sounds that end, take none that is longer.",
        ),
    ] = None

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `genus.read` that the options stand for."""
        return super().arguments() | {"length": self.length}


@dataclass(frozen=True)
class ReadingOptions(RowOptions):
    """Hold the options that say how data are read whose space is still to be measured."""

    context: Annotated[
        list[str] | None,
        typer.Option(
            "--context", metavar="COLUMN", help="Condition on this column; may be repeated. Folders have the column label."
        ),
    ] = None
    kinds: Kinds = None
    relations: Annotated[
        bool,
        typer.Option(
            "--relations/--no-relations", help="Look for relations between columns that hold in every row, and keep them."
        ),
    ] = True
    constraints: Annotated[
        list[str] | None,
        typer.Option(
            "--constraint",
            metavar="RELATION",
            help='Keep a relation between columns: "checkin < checkout", "net + tax = total", "city -> state",'
            ' "due ~ count * price"; may be repeated.',
        ),
    ] = None
    schema: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take the columns as this file says, which genus describe has written."),
    ] = None
    chart: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Choose how models see numbers: auto, each column through the chart under which it is likeliest; or affine,"
            " by mean and deviation alone.",
        ),
    ] = "auto"
    unknown: Annotated[
        list[str] | None,
        typer.Option(
            "--unknown", metavar="COLUMN", help="Take this column's blanks as values that are not known; may be repeated."
        ),
    ] = None
    blank_is_a_value: Annotated[
        list[str] | None,
        typer.Option(
            "--blank-is-a-value", metavar="COLUMN", help="Take this column's blanks as a value like others; may be repeated."
        ),
    ] = None
    group: Annotated[
        str | None,
        typer.Option(
            "--group", metavar="COLUMN", help="Keep rows together that have the same value here; models do not see the column."
        ),
    ] = None
    tokens: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Choose the symbols of text: characters, bytes, the file of a tokenizer in JSON, or how many tokens to train"
            " a tokenizer with.",
        ),
    ] = None
    encoding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Choose the encoding: of sound mu-law, linear, linear-8, real; of a table in text utf-8, latin-1, utf-16, ...",
        ),
    ] = None

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of `genus.read` that the options stand for.

        Raises:
            UsageError: a --kind is not of the form COLUMN=KIND.
        """
        return super().arguments() | {
            "context": list(self.context or ()) or None,
            "kinds": column_kinds(self.kinds),
            "relations": self.relations,
            "constraints": list(self.constraints or ()),
            "schema": self.schema,
            "chart": self.chart,
            "unknown": list(self.unknown or ()),
            "blank_is_a_value": list(self.blank_is_a_value or ()),
            "group": self.group,
            "tokens": int(self.tokens) if self.tokens is not None and self.tokens.isdecimal() else self.tokens,
            "encoding": self.encoding,
        }


def sequence_of(word: str | None) -> bool | str | tuple[str, ...] | None:
    """Return what `genus.read` takes for --sequence: "shop,day" are the key and the time of a long table."""
    if word == "rows":
        return True
    return tuple(part.strip() for part in word.split(",")) if word is not None and word.count(",") == 1 else word


def missing_values(texts: Sequence[str] | None) -> list[str | float]:
    """Return each marker as text, and also as a number where it is one: columns of both types are searched."""
    markers: list[str | float] = list(texts or ())
    for text in texts or ():
        try:
            markers.append(float(text))
        except ValueError:
            continue
    return markers


def column_kinds(words: Sequence[str] | None) -> dict[str, str]:
    """Return ["age=real"] as {"age": "real"}.

    Raises:
        UsageError: a word is not of the form COLUMN=KIND.
    """
    kinds = {}
    for word in words or ():
        name, _, kind = word.rpartition("=")
        if not name or (kind.strip().lower() not in KINDS and "%" not in kind):
            raise UsageError(
                f"--kind {word!r} is not understood{near(kind, KINDS)}; expected COLUMN={', ='.join(KINDS)}, or how times"
                " are written, such as COLUMN=%d/%m/%Y"
            )
        kinds[name.strip()] = kind.strip() if "%" in kind else kind.strip().lower()
    return kinds


# -- the decorator --------------------------------------------------------------------------------------------------------


def shared_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of every dataclass among its parameters.

    typer makes options from a function's signature. So the signature of the function that is returned has, in place of a
    parameter whose type is a dataclass, one parameter for each field; the command itself is called with the dataclass.

    Args:
        command: a function whose parameters typer understands, but for those that are dataclasses.

    Returns:
        The function to register with typer.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            types = get_type_hints(groups[name], include_extras=True)
            options = [(field.name, field.default, types[field.name]) for field in fields(groups[name])]
        else:
            options = [(name, parameter.default, hints[name])]
        parameters += [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d, annotation=t) for n, d, t in options]

    @functools.wraps(command)
    def expanded(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return expanded
