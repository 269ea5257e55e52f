"""The one training loop: gradients for any number of losses, counting for closed forms, through one call."""

from genus.training.history import History
from genus.training.loop import fit
from genus.training.sizing import choose_size
from genus.training.terminal import TrainingInterrupted
from genus.training.tuning import Tried, Tuned, tune

__all__ = ["History", "TrainingInterrupted", "Tried", "Tuned", "choose_size", "fit", "tune"]
