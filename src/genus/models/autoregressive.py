"""The chain rule by a causal net, which gives the parameters of every conditional in one pass."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from genus.ladder import Loss
from genus.models.chain_rule import ChainRule, checked_order, nothing_to_learn
from genus.nets.causal import CausalNet
from genus.nets.heads import Coordinates
from genus.nets.regression import KnownNumbers, Regression, regressed
from genus.nets.tokens import ColumnOutputs, ColumnTokens, SeriesOutputs, SeriesTokens, SharedOutputs, SharedTokens
from genus.space import Space

__all__ = ["Autoregressive"]


class Autoregressive(ChainRule):
    """Compute the conditionals of the chain rule by a causal net: x -> tokens -> net -> the parameters of every conditional.

    A family makes `self.net` and calls `_tokens_and_outputs` before or after. Positions are the steps of a sequence, or the
    coordinates of a row in an order.

    Args:
        order: of the coordinates of a row; by default their own.
    """

    info = ChainRule.info.replace(sequences=True, series=True)
    net: CausalNet
    tokens: SharedTokens | SeriesTokens | ColumnTokens
    outputs: SharedOutputs | SeriesOutputs | ColumnOutputs
    position_embedding: nn.Parameter | None  # (D, width), where all coordinates share their tokens

    def __init__(self, space: Space, context: Space | None = None, order: Sequence[int] | None = None) -> None:
        super().__init__(space, context)
        self.order = None if space.sequence else checked_order(space, order)
        self.regression: Regression | None = None  # of a table's numbers; made with the tokens
        self.register_load_state_dict_post_hook(_check_loaded)

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        return nothing_to_learn(space)

    def _tokens_and_outputs(self, width: int, components: int, size: float | None = None) -> None:
        """Make the usual tokens and outputs for a net of this width; `size` is that of the numbers in an embedding."""
        self.position_embedding = None
        self.regression = None if self.order is None else regressed(self.space)
        if self.order is not None and (self.space.shared is None or self.regression):  # every column has its own tokens
            self.tokens = ColumnTokens(self.space, self.order, width, residuals=self.regression is not None)
            self.outputs = ColumnOutputs(self.space, self.order, width, components)
            return
        several = self.space.period > 1
        self.tokens = (SeriesTokens if several else SharedTokens)(self.space, width, size=size)
        self.outputs = (SeriesOutputs if several else SharedOutputs)(self.space, width, components)
        if self.order is not None:
            self.position_embedding = nn.Parameter(torch.randn(self.space.dim, width) * width**-0.5)

    def _initialise(self, x: Tensor, c: Tensor | None = None) -> None:
        """Measure how the numbers of a table depend on one another linearly."""
        if self.regression is not None and self.order is not None:
            self.regression.measure(x, [self.order])

    # -- density ------------------------------------------------------------------------------------------------------

    def losses(self) -> list[Loss]:
        return [Loss("nll", self.parameters(), self._loss, of_elements=self.space.sequence)]

    def _loss(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Return nats a row of fixed size; of sequences nats an element, so that long ones do not take larger steps."""
        value = -self._log_conditionals(x, c)
        if not self.space.sequence:
            return value.sum(1).mean()
        after = self._after_end(x)
        return value.mean() if after is None else value.sum() / (~after).sum()

    def _log_conditionals(self, x: Tensor, c: Tensor | None) -> Tensor:
        unit, residual = (None, None) if self.regression is None else self.regression(self.space.split(x).u)
        h = self.net(self._embedded(x, residual), self._context_features(c))
        if isinstance(self.outputs, ColumnOutputs):
            return self.outputs.log_prob(h, x, unit)
        value = self.outputs.log_prob(h, self._in_order(x))
        if self.order is not None:
            return value[:, torch.as_tensor(self.order, device=x.device).argsort()]
        after = self._after_end(x)
        return value if after is None else value.masked_fill(after, 0.0)

    def _distributions(self, x: Tensor, c: Tensor | None) -> Coordinates:
        """Return the conditionals of all elements of sequences x (B, T): B T distributions of one coordinate."""
        h = self.net(self._embedded(x), self._context_features(c))
        return self.outputs.at(0, h.flatten(0, 1))

    def _embedded(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return the tokens of x (B, *shape), and of residuals (B, D), in the order of positions, (B, P, width)."""
        if isinstance(self.tokens, ColumnTokens):
            return self.tokens(x.flatten(1), residual)
        tokens = self.tokens(self._in_order(x))
        return tokens if self.position_embedding is None else tokens + self.position_embedding

    def _in_order(self, x: Tensor) -> Tensor:
        """Return x (B, *shape) in the order of positions, (B, P)."""
        return x if self.order is None else x.flatten(1)[:, torch.as_tensor(self.order, device=x.device)]

    # -- sampling -----------------------------------------------------------------------------------------------------

    def _steps(self, n: int, c: Tensor | None, prefix: Tensor | None) -> Generator[Coordinates, Tensor, None]:
        features, i = self._context_features(c), 0
        known = None if self.regression is None else self.regression.start(n)
        if prefix is None:
            h, state = self.net.start(n, features)
        else:
            i = prefix.shape[1]
            h, state = self._prefilled(self._prefix_tokens(prefix, known), features, prefix)
        while True:
            if known is None or self.order is None or not isinstance(self.outputs, ColumnOutputs):
                value = yield self.outputs.at(i, h)
            else:
                value = yield self.outputs.at(i, h, known.unit(self.order[i]))
            h, state = self.net.step(state, i, self._token(i, value, known))
            i += 1

    def _prefilled(self, tokens: Tensor, features: Tensor | None, prefix: Tensor) -> tuple[Tensor, Any]:
        """Return what the net's `prefill` does, by one pass for all rows that have prefix (n, m) and features in common.

        Args:
            tokens: of the prefixes, (n, m, width).
            features: of the contexts, (n, context_dim); None without a context.
            prefix: by which rows are told apart.
        """
        alike = prefix.double() if features is None else torch.cat([prefix.double(), features.double()], dim=1)
        # Missing values are NaN, which equals nothing: rows are alike where their bits are.
        which = alike.view(torch.int64).unique(dim=0, return_inverse=True)[1]
        place = torch.arange(len(which), device=which.device)
        first = place.new_empty(int(which.max()) + 1).scatter_(0, which, place)  # some row of each kind
        if len(first) == len(which) or type(self.net).rows is CausalNet.rows:
            return self.net.prefill(tokens, features)
        h, state = self.net.prefill(tokens[first], None if features is None else features[first])
        return h[which], self.net.rows(state, which)

    def _prefix_tokens(self, prefix: Tensor, known: KnownNumbers | None) -> Tensor:
        """Return the tokens of a prefix (n, m), which is in the order of positions: (n, m, width)."""
        m = prefix.shape[1]
        if isinstance(self.tokens, ColumnTokens):
            return torch.stack([self._token(i, prefix[:, i : i + 1], known) for i in range(m)], dim=1)
        tokens = self.tokens(prefix)
        return tokens if self.position_embedding is None else tokens + self.position_embedding[:m]

    def _token(self, i: int, value: Tensor, known: KnownNumbers | None) -> Tensor:
        """Return the tokens of values (n, 1) at position i, (n, width), and take the values in."""
        if isinstance(self.tokens, ColumnTokens):
            residual = None if known is None or self.order is None else known.add(self.order[i], value)
            return self.tokens.at(i, value, residual)
        token = self.tokens.at(i, value)
        return token if self.position_embedding is None else token + self.position_embedding[i]

    @contextmanager
    def _compiled(self, compile: bool) -> Iterator[None]:
        if not compile or getattr(self.net, "compiled", None) is None:
            with super()._compiled(compile):
                yield
            return
        self.net.compiled = True
        try:
            yield
        finally:
            self.net.compiled = False


def _check_loaded(model: Autoregressive, keys: Any) -> None:
    """Raise DataError where numbers that were read make no density."""
    if model.regression is not None and model.order is not None:
        model.regression.check([model.order])
