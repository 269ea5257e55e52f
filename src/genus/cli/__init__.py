"""The `genus` command: files in, files out, one sentence for every error.

Results go to stdout, everything else to stderr. Exit codes: 0; 1 where data, model or training are at fault; 2 for a
command that cannot be understood; 130 after Ctrl-C. Nothing here imports torch before a command has been understood.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from genus import __version__
from genus.cli.codes import interpolate, reconstruct
from genus.cli.compare import compare
from genus.cli.describe import describe
from genus.cli.distill import distill
from genus.cli.errors import UsageError, explain
from genus.cli.evaluate import evaluate
from genus.cli.families import families
from genus.cli.fit import fit
from genus.cli.forecast import forecast
from genus.cli.impute import impute
from genus.cli.predict import predict
from genus.cli.sample import sample
from genus.cli.score import score
from genus.cli.serve import serve
from genus.cli.tour import tour
from genus.cli.tune import tune
from genus.errors import GenusError
from genus.notebook import printable

__all__ = ["app", "main"]

COMPLETION = "_GENUS_COMPLETE"

# Plain help: it is there at once, and its examples can be copied without the frame around them.
app = typer.Typer(rich_markup_mode=None, add_completion=True, context_settings={"help_option_names": ["-h", "--help"]})
for command in (
    families,
    describe,
    compare,
    evaluate,
    fit,
    tune,
    sample,
    score,
    impute,
    predict,
    forecast,
    reconstruct,
    interpolate,
    distill,
    serve,
    tour,
):
    app.command()(command)


@app.callback()
def top(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    files: Annotated[
        list[Path] | None,
        typer.Option("--import", metavar="FILE", help="Import this Python file first, which defines families of your own."),
    ] = None,
) -> None:
    """Every classical family of generative model on your own data, compared honestly.

    DATA is a table (.csv .tsv .data .json .jsonl .xlsx .parquet .arrow .npz .npy), a text (.txt, .md), a recording (.wav,
    .flac, .ogg), a folder of images, texts, recordings or Parquet files, - for stdin, or an embedded set: digits, wine,
    breast-cancer, iris, diabetes, topics, strings. Tables and texts may be compressed: .gz .bz2 .zst, tables .zip too.

    \b
    Examples:
      genus families
      genus describe iris
      genus compare iris --target species
      genus evaluate --real adult.csv --held-out adult-test.csv tabsyn.csv
      genus fit iris --family mixture --out iris.genus
      genus sample iris.genus -n 5
      genus score iris.genus iris --out scores.csv
      genus impute iris.genus iris --out complete.csv
      genus tour
    """
    for file in files or ():
        _import_file(file)


def _import_file(path: Path) -> None:
    """Import a file as a module of its name, so that processes of their own find it by that name too."""
    if not path.is_file() or path.suffix != ".py":
        raise UsageError(f"--import {path}: expected a Python file that is there, such as mine.py")
    sys.path.insert(0, str(path.resolve().parent))
    try:
        module = importlib.import_module(path.stem)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise GenusError(f"{path} could not be imported: {type(error).__name__}: {reason}") from error
    if Path(module.__file__ or "").resolve() != path.resolve():
        raise UsageError(f"--import {path}: there is another module {path.stem!r} already; call the file something else")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `genus`; by default those of this process.

    Returns:
        The exit code.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if COMPLETION in os.environ and argv is None:  # a shell asks for its script, or for words that may come next
        _command().main(prog_name="genus", complete_var=COMPLETION)
    if args == ["--version"]:
        print(f"genus {__version__}")
        return 0
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = _NoOutput()
    try:
        with warnings.catch_warnings(), _ending_tidily():
            # The notes of the data say what a person needs to know; the rest is libraries talking to each other.
            warnings.simplefilter("ignore")
            command = _command()
            # `main` of click would turn Ctrl-C and a closed pipe into errors of its own.
            with command.make_context("genus", [*args] or ["--help"], obj=args) as context:
                command.invoke(context)
            sys.stdout.flush()
    except typer.Exit as done:
        return done.exit_code
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (Exception, KeyboardInterrupt, _Ended) as error:
        if _Ended.came == signal.SIGINT and not isinstance(error, KeyboardInterrupt):
            error = KeyboardInterrupt()  # which a library has turned into an error of its own
        elif _Ended.came is not None and _Ended.came != signal.SIGINT:
            print(f"genus: ended by {signal.Signals(_Ended.came).name}; nothing half-written is left.", file=sys.stderr)
            return 128 + _Ended.came
        if os.environ.get("GENUS_DEBUG"):
            traceback.print_exc()
        text, code = explain(error, _options(args))
        print(f"genus: {printable(text)}", file=sys.stderr)
        return code
    return 0


class _NoOutput(io.StringIO):
    """Stands for a closed stdout: to print there is an error, and no loss that nobody sees."""

    def write(self, text: str) -> int:
        raise GenusError("stdout is closed, so nothing can be printed; open it, or use --out.")


class _Ended(BaseException):
    """Signal that SIGTERM or SIGHUP came, so that what cleans up does so; at SIGINT that is KeyboardInterrupt."""

    came: int | None = None  # the signal that came last, in this command


def _end(number: int, frame: Any) -> None:
    _Ended.came = number
    raise KeyboardInterrupt if number == signal.SIGINT else _Ended(number)


_end.of_genus = True  # type: ignore[attr-defined]  # a training may put its own handler in this one's place


@contextmanager
def _ending_tidily() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the command as an error does, so that temporary files are removed, and remember SIGINT."""
    handlers: dict[int, Any] = {signal.SIGINT: signal.default_int_handler}
    handlers |= {getattr(signal, name): signal.SIG_DFL for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)}
    main = threading.current_thread() is threading.main_thread()
    taken = [number for number, usual in handlers.items() if main and signal.getsignal(number) is usual]
    _Ended.came = None
    for number in taken:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, handlers[number])


@cache
def _command() -> Any:
    """Return the command that typer makes of all signatures: a tenth of a second, so it is made once."""
    return typer.main.get_command(app)


def _options(args: Sequence[str]) -> list[str]:
    """Return the options of the command that is named first."""
    commands = getattr(_command(), "commands", {})
    name = next((word for word in args if word in commands), None)
    params = commands[name].params if name else []
    return [option for param in params for option in param.opts]
