"""The errors that a user may meet. Each message says what happened, what was expected, and what to do."""

__all__ = ["DataError", "GenusError", "ModelFileError", "NonFiniteLossError", "NotFittedError", "TrainingError", "lacks_memory"]


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
