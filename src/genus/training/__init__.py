"""The one training loop: gradients for any number of players, counting for closed forms, through one call."""

from genus.training.history import History
from genus.training.interrupt import TrainingInterrupted
from genus.training.loop import fit

__all__ = ["History", "TrainingInterrupted", "fit"]
