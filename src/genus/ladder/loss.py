"""A loss of a training: the parameters it moves and the value that they are to lower."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from genus.errors import GenusError

__all__ = ["Loss"]


@dataclass(frozen=True)
class Loss:
    """Names the parameters that an optimizer moves, and the value that it lowers; a training may have several.

    A density has one loss. A generative adversarial network has two: its critic's and its generator's.

    Args:
        name: in the history, the progress bar and error messages.
        parameters: the tensors that this loss moves.
        value: (x, c) -> scalar, in nats where it is a likelihood.
        interval: the parameters move at every such step; a GAN's generator at every fifth, say.
        optimizer: keyword arguments of Adam that this training is known to need (lr, betas).
        matrices: those of the parameters that the optimizer Muon moves, and Adam does not.
        module: whose parameters they are, where it is no part of the model: its buffers then travel to the device and into
            checkpoints too.
        evaluate: (x, c) -> numbers of validation rows by name, for the history; one named "criterion" replaces the model's.
        after: called after every step of this loss, to clip weights, say.
        piece: rows whose gradient is computed at a time, so that a step takes bounded memory; of a value that is a mean over
            rows. None: all rows of a step.
        of_elements: whether the value is the mean over elements of sequences, and not over rows; records have it a row.
        config: JSON values that the loss was made with; a training resumes only with losses of the same config.
    """

    name: str
    parameters: Iterable[nn.Parameter]
    value: Callable[[Tensor, Tensor | None], Tensor]
    interval: int = 1
    optimizer: dict[str, Any] = field(default_factory=dict)
    matrices: Iterable[nn.Parameter] = ()
    module: nn.Module | None = None
    evaluate: Callable[[Tensor, Tensor | None], dict[str, float]] | None = None
    after: Callable[[], None] | None = None
    piece: int | None = None
    of_elements: bool = False
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name in ("step", "epoch", "seconds", "criterion", "watched"):
            raise GenusError(f"A loss cannot be called {self.name!r}, which is a column of the history; give it another name.")
        if isinstance(self.interval, bool) or not isinstance(self.interval, int) or self.interval < 1:
            raise GenusError(
                f"interval is at which steps a loss moves its parameters, a whole number of at least 1; got {self.interval!r}."
            )
