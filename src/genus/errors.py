"""The errors a user may meet. Each message says what happened, what was expected, and what to do."""

__all__ = ["DataError", "GenusError", "ModelFileError", "NonFiniteLossError", "NotFittedError", "TrainingError"]


class GenusError(ValueError):
    """Base of every error that genus raises on purpose; the command line prints it as one sentence."""


class DataError(GenusError):
    """The data cannot be read, or does not fit the space it is read into."""


class ModelFileError(GenusError):
    """A model file is missing, truncated, foreign or tampered with."""


class NotFittedError(GenusError):
    """A counted model is asked before it has observed anything."""


class TrainingError(GenusError):
    """Training cannot start or go on."""


class NonFiniteLossError(TrainingError):
    """A loss became NaN or infinite; the model has its last good weights."""
