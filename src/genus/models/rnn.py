"""Recurrent network."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from torch import nn

from genus.errors import GenusError
from genus.ladder import Size
from genus.models.autoregressive import Autoregressive
from genus.nets.causal import CausalNet
from genus.nets.recurrent import CELLS, MeanMemory, RecurrentMemory
from genus.space import Space

__all__ = ["RNN"]


class RNN(Autoregressive, name="rnn"):
    """Keep the past in one vector h of fixed width: p(x_t | x_1 ... x_{t-1}) = p(x_t | h_{t-1}), h_t = f(x_t, h_{t-1}).

    Elman 1990; "lstm" Hochreiter & Schmidhuber 1997; "gru" Cho et al. 2014, arXiv:1406.1078; as a generator of sequences
    Graves 2013, arXiv:1308.0850.

    Args:
        cell: "gru", "lstm", "rnn" (plain), or "mean", the running mean of the embedded past, which forgets its order.
        width: the width of h and of the embeddings.
        layers: the number of cells on top of one another.
        dropout: the share of embeddings, and of outputs between layers, that are dropped in training.
        components: the number of components of the mixtures that model numbers.
        order: the order of the columns of a table; by default their own.

    >>> from genus import Category, Space
    >>> letters = Space(Category(("a", "b", None)), shape=(5,), sequence=True)
    >>> model = RNN(letters, width=8)
    >>> [x.shape for x in (model.sample(2, seed=0), model.sample(2, length=9, seed=0))]
    [torch.Size([2, 5]), torch.Size([2, 9])]
    """

    info = Autoregressive.info.replace(
        title="recurrent network",
        group="chain rule",
        takes="text, sound and other sequences; any table or image",
        formula="p(x) = ∏ₜ p(xₜ | hₜ) with hₜ = f(hₜ₋₁, xₜ₋₁)",
        good="sequences of any length in constant memory a step",
        bad="long training texts, since a step waits for the one before it",
    )
    fit_defaults = MappingProxyType({"learning_rate": 6e-3})

    def __init__(
        self,
        space: Space,
        context: Space | None = None,
        cell: str = "gru",
        width: int = 256,
        layers: int = 1,
        dropout: float = 0.0,
        components: int = 10,
        order: Sequence[int] | None = None,
    ) -> None:
        if cell not in (*CELLS, "mean"):
            raise GenusError(f"There is no cell {cell!r}; there are {', '.join(CELLS)} and mean.")
        super().__init__(space, context, order)
        self._tokens_and_outputs(width, components, size=1.0)  # cells do not norm their input
        self.net: CausalNet
        if cell == "mean":
            self.net = MeanMemory(width, layers, dropout, self.context_dim)
        else:
            self.net = RecurrentMemory(width, layers, cell, dropout, self.context_dim)
        for layer in (part for part in self.outputs.modules() if isinstance(part, nn.Linear) and part.out_features):
            # From weights of zero no gradient reaches the cells, and Adam takes dozens of steps to useful ones.
            nn.init.kaiming_uniform_(layer.weight, a=5**0.5)

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        """Return a wider h for more data, and dropout for few."""
        values = rows * space.dim
        width = 64 if values < 50_000 else 128 if values < 2_000_000 else 256
        return {"width": width, "dropout": 0.1 if values < 2_000_000 else 0.0}

    @classmethod
    def sizes(cls, space: Space, rows: int) -> Sequence[Size]:
        """Return a growing width, then larger batches: of long sequences, in a short time, many small steps are worth most."""
        if space.is_table or rows * space.dim < 500_000:
            return ()
        default, batch = cls.default_hyperparameters(space, rows), max(1, 2048 // space.dim)
        return [
            *(Size({"width": width}, steps, batch) for width, steps in ((64, 0), (128, 250), (256, 500))),
            Size(default, 2000),
        ]
