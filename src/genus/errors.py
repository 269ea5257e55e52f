"""The errors that a user may meet. Each message says what happened, what was expected, and what to do."""

import difflib
from collections.abc import Iterable
from typing import Any

__all__ = ["DataError", "GenusError", "ModelFileError", "NonFiniteLossError", "NotFittedError", "TrainingError", "lacks_memory",
           "listed", "near"]  # fmt: skip

LISTED = 30  # names in a message
ALIKE = 0.7  # of letters that a name has in common with the one that was meant


class GenusError(ValueError):
    """Mark an error that genus raises on purpose; the command line prints its message alone. The base of all others."""


class DataError(GenusError):
    """Say that data cannot be read, or do not fit the space that they are read into."""


class ModelFileError(GenusError):
    """Say that a model file is missing, truncated, foreign or tampered with."""


class NotFittedError(GenusError):
    """Say that a model which learns by counting was used before it had counted any row."""


class TrainingError(GenusError):
    """Say that training cannot start or go on."""


class NonFiniteLossError(TrainingError):
    """Say that a loss became NaN or infinite; the model has its last good weights."""


def lacks_memory(error: BaseException) -> bool:
    """Return whether an error says that memory could not be had: Python's own, or that of PyTorch on any device.

    >>> lacks_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."))
    True
    """
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in str(error) or "out of memory" in str(error).lower())
    )


def near(word: Any, known: Iterable[Any]) -> str:
    """Return which of the known names was perhaps meant by a word that is none, to stand behind it; "" where none is near.

    >>> f"There is no column 'incom'{near('incom', ['age', 'income'])}."
    "There is no column 'incom' (did you mean 'income'?)."
    """
    names = {str(name).strip().casefold(): name for name in known if name is not None}
    close = difflib.get_close_matches(str(word).strip().casefold(), names, 1, ALIKE)
    return f" (did you mean {names[close[0]]!r}?)" if close else ""


def listed(names: Iterable[Any]) -> str:
    """Return names with commas between them, and how many more there are; "none" where there is none.

    >>> listed(f"x{i}" for i in range(100))[-30:]
    'x26, x27, x28, x29 and 70 more'
    """
    shown = [*map(str, names)]
    return (", ".join(shown[:LISTED]) or "none") + (f" and {len(shown) - LISTED:,} more" if len(shown) > LISTED else "")
