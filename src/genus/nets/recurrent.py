"""Recurrent memories: plain, GRU, LSTM, and the running mean of the past."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from genus.nets.causal import CausalNet
from genus.nets.dense import Dropout

__all__ = ["CELLS", "MeanMemory", "RecurrentMemory"]

CELLS: dict[str, Any] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class RecurrentMemory(CausalNet):
    """Remember h_t = f(x_t, h_{t-1}), the initial h learned, and moved by the context where there is one.

    Args:
        width: of tokens and of h.
        layers: cells on top of one another.
        cell: "rnn" (tanh; Elman 1990), "gru" (Cho et al. 2014, arXiv:1406.1078) or "lstm" (Hochreiter & Schmidhuber 1997).
        dropout: of tokens and between layers.
        context_dim: of the context's features.
    """

    def __init__(self, width: int, layers: int = 1, cell: str = "gru", dropout: float = 0.0, context_dim: int = 0) -> None:
        super().__init__(width, context_dim)
        self.layers, self.lstm = layers, cell == "lstm"
        self.cells = CELLS[cell](width, width, layers, batch_first=True)
        self.drop = Dropout(dropout)
        self.initial = nn.Parameter(torch.zeros(2 if self.lstm else 1, layers, width))
        self.moved = nn.Linear(context_dim, self.initial.numel(), bias=False) if context_dim else None

    def empty(self, batch: int, c: Tensor | None) -> Any:
        """Return h_0 (layers, B, width); of an LSTM, with its cell state, of the same shape."""
        h = self.initial.unsqueeze(2).expand(-1, -1, batch, -1)
        if self.moved is not None:
            h = h + self.moved(c).view(batch, *self.initial.shape).permute(1, 2, 0, 3)
        h = h.contiguous()
        return (h[0], h[1]) if self.lstm else h[0]

    def parallel(self, tokens: Tensor, c: Tensor | None) -> Tensor:
        h, start = self.drop(tokens), self.empty(len(tokens), c)
        if not (self.training and self.drop.p and self.layers > 1):
            return self.drop(self.cells(h, start)[0])
        for layer, weights in enumerate(self.cells.all_weights):  # PyTorch's dropout between layers takes no generator
            first = [part[layer : layer + 1].contiguous() for part in (start if self.lstm else [start])]
            run: Any = {nn.RNN: torch.rnn_tanh, nn.GRU: torch.gru, nn.LSTM: torch.lstm}[type(self.cells)]
            h = self.drop(run(h, first if self.lstm else first[0], weights, True, 1, 0.0, True, False, True)[0])
        return h

    def advance(self, state: Any, token: Tensor) -> tuple[Tensor, Any]:
        out, state = self.cells(self.drop(token)[:, None], state)
        return self.drop(out[:, 0]), state

    def prefill(self, tokens: Tensor, c: Tensor | None = None) -> tuple[Tensor, Any]:
        first = self.first(len(tokens), c).to(tokens.dtype)
        out, state = self.cells(self.drop(torch.cat([first[:, None], tokens], dim=1)), self.empty(len(tokens), c))
        return self.drop(out[:, -1]), state

    def rows(self, state: Any, index: Tensor) -> Any:
        return (state[0][:, index], state[1][:, index]) if self.lstm else state[:, index]


class MeanMemory(CausalNet):
    """Remember the running mean of the past, (1/t) sum of the embedded x_1 ... x_t, and put it through a dense net.

    Args:
        width: of tokens and outputs.
        layers: of the dense net.
        dropout: within it.
        context_dim: of the context's features.
    """

    def __init__(self, width: int, layers: int = 1, dropout: float = 0.0, context_dim: int = 0) -> None:
        super().__init__(width, context_dim)
        parts = [(nn.Linear(width, width), nn.SiLU(), Dropout(dropout)) for _ in range(layers)]
        self.net = nn.Sequential(*(part for three in parts for part in three))

    def parallel(self, tokens: Tensor, c: Tensor | None) -> Tensor:
        count = torch.arange(1, tokens.shape[1] + 1, dtype=tokens.dtype, device=tokens.device)
        return self.net(tokens.cumsum(1) / count[:, None])

    def empty(self, batch: int, c: Tensor | None) -> tuple[Tensor, int]:
        return self.begin.new_zeros(batch, self.width), 0

    def advance(self, state: tuple[Tensor, int], token: Tensor) -> tuple[Tensor, tuple[Tensor, int]]:
        total, count = state[0] + token, state[1] + 1
        return self.net(total / count), (total, count)

    def rows(self, state: tuple[Tensor, int], index: Tensor) -> tuple[Tensor, int]:
        return state[0][index], state[1]
