"""The base of causal nets for sequences: one pass gives the outputs at all positions, and steps give the same one by one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["CausalNet"]


class CausalNet(nn.Module):
    """Map tokens (B, P, width) to outputs (B, P, width): output i depends on tokens before i, and on the context, alone.

    The output at the first position sees a learned token that marks the beginning. A net gives:

    - `parallel(tokens, c)`: (B, P, width) -> (B, P, width), output i seeing tokens up to and with i;
    - `empty(batch, c)`: the state before anything was seen;
    - `advance(state, token)`: token (B, width) -> output (B, width), and the state after it: what `parallel` would give,
      at the cost of one position;
    It may give `rows(state, index)`, the states of some of the sequences: draws that begin alike then share the pass over their
    common beginning.

    The state is whatever the net remembers: keys and values, a hidden vector, queues of past layers. `advance` may change it in
    place, so a state may be used once only.

    Args:
        width: of tokens and outputs.
        context_dim: of the context's features c (B, context_dim); 0 for none. The beginning token depends on it.
    """

    compiled: bool | None = None  # whether `advance` runs compiled; None: this net's steps cannot be compiled

    def __init__(self, width: int, context_dim: int = 0) -> None:
        super().__init__()
        self.width = width
        self.begin = nn.Parameter(torch.randn(width) * width**-0.5)
        self.given = nn.Linear(context_dim, width, bias=False) if context_dim else None

    def first(self, batch: int, c: Tensor | None) -> Tensor:
        """Return the token that marks the beginning, (B, width), moved by the context c (B, context_dim) if there is one."""
        begin = self.begin.expand(batch, -1)
        return begin if self.given is None else begin + self.given(c)

    def forward(self, tokens: Tensor, c: Tensor | None = None) -> Tensor:
        """Return all outputs (B, P, width) for tokens (B, P, width) and a context c (B, context_dim), in one pass."""
        first = self.first(len(tokens), c).to(tokens.dtype)
        return self.parallel(torch.cat([first[:, None], tokens[:, :-1]], dim=1), c)

    def start(self, batch: int, c: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return output 0, (B, width), which sees no token, and the state from which `step` goes on."""
        return self.advance(self.empty(batch, c), self.first(batch, c))

    def step(self, state: Any, i: int, token: Tensor) -> tuple[Tensor, Any]:
        """Return output i + 1, (B, width), and the state after token i, (B, width), tokens being counted from 0.

        It is `advance`, with the position that `MaskedMLP.step` needs, so that models/chain_rule.py can drive either net.
        """
        return self.advance(state, token)

    def prefill(self, tokens: Tensor, c: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return what `start` and m steps give, in one pass where a net can.

        Args:
            tokens: (B, m, width), the first m.
            c: (B, context_dim), the context's features; None without a context.

        Returns:
            Output m, (B, width), which follows the last token, and the state after it.
        """
        h, state = self.start(len(tokens), c)
        for i in range(tokens.shape[1]):
            h, state = self.step(state, i, tokens[:, i])
        return h, state

    def rows(self, state: Any, index: Tensor) -> Any:
        """Return a copy of the states of sequences index (n,), in which a sequence may be named several times.

        None, as here, says that the net cannot copy states; each draw then reads its beginning anew.
        """
        return None

    def parallel(self, tokens: Tensor, c: Tensor | None) -> Tensor:
        """Return outputs (B, P, width), output i seeing tokens (B, P, width) up to and with i; c (B, context_dim) or None."""
        raise TypeError(f"{type(self).__name__} must define parallel(tokens, c).")

    def empty(self, batch: int, c: Tensor | None) -> Any:
        """Return the state of B = batch sequences before any token was seen; c (B, context_dim) is their context."""
        raise TypeError(f"{type(self).__name__} must define empty(batch, c).")

    def advance(self, state: Any, token: Tensor) -> tuple[Tensor, Any]:
        """Return the output (B, width) after one token (B, width) more, and the state after it; the old state is used up."""
        raise TypeError(f"{type(self).__name__} must define advance(state, token).")
