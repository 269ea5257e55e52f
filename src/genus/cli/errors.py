"""Errors at the command line: one sentence and an exit code for each."""

from __future__ import annotations

from collections.abc import Collection

from genus.errors import GenusError, lacks_memory

__all__ = ["UsageError", "explain"]

# Messages name an argument of Python; this is the option of the command line that stands for it.
OPTION_NAMES = {
    "kinds=": "--kind COLUMN=KIND",
    "missing=": "--missing TEXT",
    "context=": "--context COLUMN",
    "target=": "--target COLUMN",
    "learning_rate": "--learning-rate",
    "max_steps": "--steps",
    "batch_size": "--batch",
    "shorter length": "--length",
    "max_seconds": "--budget",
    "length=": "--length",
    "tokens=": "--tokens",
    "documents=": "--documents",
    "rate=": "--rate",
    "encoding=": "--encoding",
    "sequence=": "--sequence",
    "header=": "--header or --no-header",
    "chart=": "--chart",
}


class UsageError(Exception):
    """Signal a command that cannot be understood or carried out as it stands: exit code 2, as for an unknown option."""


def _follows_interrupt(error: BaseException | None) -> bool:
    """Return whether an error is Ctrl-C, or one that a library made of it, such as a failed import."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def explain(error: BaseException, options: Collection[str]) -> tuple[str, int]:
    """Return one sentence on what went wrong, and the exit code.

    Args:
        error: the error that ended the command.
        options: the options that the command has; only these are named.
    """
    text = " ".join(str(error).split())
    if _follows_interrupt(error):
        return (text if isinstance(error, KeyboardInterrupt) else "") or "interrupted.", 130
    if isinstance(error, UsageError):
        return f"{text}.", 2
    shell = getattr(error.args[0], "shell", None) if isinstance(error, GenusError) and error.args else None
    if isinstance(shell, str):  # a Note, which knows the words of the command line
        return shell, 1
    if isinstance(error, GenusError):
        names = [
            f"{name.rstrip('=')} is {option}"
            for name, option in OPTION_NAMES.items()
            if name in text and option.split()[0] in options
        ]
        names += ["that is genus --import FILE before the command"] if "import the module that defines it" in text else []
        return f"{text} (On the command line, {' and '.join(names)}.)" if names else text, 1
    if hasattr(error, "format_message"):  # click's own, wherever typer keeps it
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "genus"
        if getattr(error, "option_name", None) == "--import":
            return f"--import stands before the command: genus --import FILE {path.removeprefix('genus ')} ...", 2
        return f"{error.format_message().rstrip('.')}; see {path} --help.", 2
    if isinstance(error, UnicodeEncodeError):
        odd = error.object[error.start : error.start + 1]
        return f"stdout is in {error.encoding}, which has no {odd!a}; use --out, or set PYTHONIOENCODING=utf-8.", 1
    if isinstance(error, OSError) and error.strerror:
        place = f"{str(error.filename)[:200]!r}" if error.filename else "the output"
        return f"cannot read or write {place}: {error.strerror}; choose another place, or make room.", 1
    if lacks_memory(error):
        return "there is not enough memory; use fewer rows or a smaller model.", 1
    return f"unexpected {type(error).__name__}: {text or 'no message'}; GENUS_DEBUG=1 shows where it happened.", 1
