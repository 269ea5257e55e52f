"""Whatever goes wrong, as one sentence and an exit code."""

from __future__ import annotations

from collections.abc import Collection

from genus.errors import GenusError

__all__ = ["Misuse", "explained"]

# What messages call by its Python name, and what it is called here.
SPELLINGS = {
    "kinds=": "--kind COLUMN=KIND",
    "missing=": "--missing TEXT",
    "context=": "--context COLUMN",
    "target=": "--target COLUMN",
    "learning_rate": "--learning-rate",
    "max_steps": "--steps",
    "max_seconds": "--budget",
    "length=": "--length",
    "tokens=": "--tokens",
    "documents=": "--documents",
    "rate=": "--rate",
    "encoding=": "--encoding",
    "sequence=": "--sequence",
    "header=": "--header or --no-header",
}


class Misuse(Exception):
    """The command asks for something that there is not: exit code 2, as for an unknown option."""


def explained(error: BaseException, options: Collection[str]) -> tuple[str, int]:
    """One sentence on what went wrong, and the exit code.

    Args:
        options: those that the command has.
    """
    text = " ".join(str(error).split())
    if isinstance(error, KeyboardInterrupt):
        return text or "interrupted.", 130
    if isinstance(error, Misuse):
        return f"{text}.", 2
    if isinstance(error, GenusError):
        here = [
            f"{name.rstrip('=')} is {option}"
            for name, option in SPELLINGS.items()
            if name in text and option.split()[0] in options
        ]
        here += ["that is genus --import FILE before the command"] if "import the module that defines it" in text else []
        return f"{text} (On the command line, {' and '.join(here)}.)" if here else text, 1
    if hasattr(error, "format_message"):  # click's own, wherever typer keeps it
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "genus"
        if getattr(error, "option_name", None) == "--import":
            return f"--import stands before the command: genus --import FILE {path.removeprefix('genus ')} ...", 2
        return f"{error.format_message().rstrip('.')}; see {path} --help.", 2
    if isinstance(error, MemoryError):
        return "there is not enough memory; use fewer rows or a smaller model.", 1
    return f"unexpected {type(error).__name__}: {text or 'no message'}; GENUS_DEBUG=1 shows where it happened.", 1
