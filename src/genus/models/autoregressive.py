"""The chain rule, once: p(x) = p(x_1) p(x_2|x_1) ... p(x_n|x_1 ... x_{n-1})."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genus.errors import DataError, GenusError
from genus.model import Loss, TractableDensity, isolated, rows_asked
from genus.nets.heads import Coordinates, Warp
from genus.nets.tokens import ColumnOutputs, ColumnTokens, SharedOutputs, SharedTokens
from genus.space import Lattice, Real, Space

__all__ = ["Autoregressive", "ChainRule", "Request"]


Start = Callable[[int, "Tensor | None", "Tensor | None"], Generator[Coordinates, Tensor, None]]


class Request(NamedTuple):
    """What `ChainRule.sample` is asked for, beside rows, conditions and prefixes: see there."""

    length: int
    warp: Warp = Warp()
    stop: float | None = None
    each: Callable[[Tensor], None] | None = None


class ChainRule(TractableDensity):
    """A density that is a product of conditionals, and sampled one position after another.

    A family gives `_log_conditionals(x, c)` and `_conditionals(n, c)`, an object that yields the distribution of each
    position in turn. x is a sequence, or the coordinates of a row in `order`.
    """

    order: Sequence[int] | None = None  # the coordinate at every position; None for sequences, whose positions are in time
    most_rows: int = 10_000  # that are drawn at once, where what is remembered of each is large

    def _log_conditionals(self, x: Tensor, c: Tensor | None) -> Tensor:
        raise TypeError(f"{type(self).__name__} must define _log_conditionals(x, c).")

    def _steps(self, n: int, c: Tensor | None, known: Tensor | None) -> Generator[Coordinates, Tensor, None]:
        """A generator of each position's distribution, that is sent the values drawn from it, (n, 1).

        known (n, m), in the order of positions, are values that every row begins with: the first distribution is that of
        position m. Without them, of position 0.
        """
        raise TypeError(f"{type(self).__name__} must define _steps(n, c, known).")

    # -- density ------------------------------------------------------------------------------------------------------

    def log_conditionals(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """x (B, *shape) -> (B, D): log p(x_i | those before it), exact, in nats; their sum is `log_prob`.

        Of a sequence that ends, what comes after its end counts 0.
        """
        x, c = self._check(x, c)
        return self._log_conditionals(x, c)

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self._log_conditionals(x, c).sum(1)

    def _order(self) -> tuple[Sequence[int], int]:
        return super()._order() if self.order is None else (self.order, 0)

    def _log_first(self, x: Tensor, m: int, c: Tensor | None) -> Tensor:
        if self.order is None:
            return super()._log_first(x, m, c)
        return self._log_conditionals(x, c)[:, list(self.order[:m])].sum(1)

    def _draw_rest(self, x: Tensor, m: int, c: Tensor | None) -> Tensor:
        if m == self.space.dim or self.order is None:
            return x
        known, parts = x.flatten(1)[:, list(self.order[:m])], []
        for at in range(0, len(x), self.most_rows):
            rows = slice(at, at + self.most_rows)
            begun = list(known[rows])
            parts.append(self._chain(len(begun), None if c is None else c[rows], begun, Request(self.space.dim)))
        return self._in_place(torch.cat(parts))

    def _after_end(self, x: Tensor) -> Tensor | None:
        """Which elements of sequences x (B, T) come after the end, (B, T); None where sequences do not end."""
        if not self.space.ends:
            return None
        ended = self.space.split(x)[0] == self.space.tables(x).missing
        return torch.cat([torch.zeros_like(ended[:, :1]), ended[:, :-1]], dim=1)

    # -- sampling -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self,
        n: int | None = None,
        c: Tensor | None = None,
        seed: int | None = None,
        batch_size: int = 10_000,
        *,
        prefix: Tensor | str | Sequence[Tensor | str] | None = None,
        length: int | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        stop: float | None = None,
        each: Callable[[Tensor], None] | None = None,
        compile: bool = False,
    ) -> Tensor:
        """Draw n data, position by position.

        Args:
            n: how many; by default 1, or as many as there are prefixes.
            c: the condition, (n, *context.shape), or one row that all share; None for a model without context.
            seed: repeats the draw bit for bit, and leaves the global random state alone.
            batch_size: rows drawn at once.
            prefix: what the data begin with: x_1 ... x_m, (m,) for all, (n, m) for each, or a list of n of different lengths,
                empty ones too; of text, strings. Of a table, the first m columns in the model's order. What follows is drawn
                from the conditional distribution given them.
            length: of the sequences, by default the space's; those that end sooner are filled up with the end.
            temperature: below 1 nearer to the likeliest, 0 always the likeliest; probabilities to the power 1 / temperature.
            top_k: draw only from the k likeliest symbols.
            top_p: draw only from the likeliest symbols that together have this probability.
            stop: a symbol after which a sequence ends, beside its own end; what follows it is filled with it.
            each: called with the values (n, 1) of every position as they are drawn, for streaming.
            compile: torch.compile the steps of a transformer, which takes some seconds once and pays for long draws.

        Returns:
            x of shape (n, *space.shape), or (n, length), in data units; `space.decode` turns it into text, sound, a frame.

        Raises:
            DataError: a prefix that is not of this space, or longer than what is to be drawn.
            GenusError: a temperature, top_k or top_p that makes no sense; nothing to compile.
        """
        warp = Warp(temperature, top_k, top_p)
        warp.check()
        n = None if n is None else rows_asked(n)
        given = self._prefixes(prefix, n)
        n = n if n is not None else len(given) if given is not None else 1
        request = Request(self._length(length, given), warp, stop, each)
        if stop is not None and not self.space.sequence:
            raise GenusError("Only sequences have a symbol to stop at; leave stop= out.")
        if (top_k is not None or top_p is not None) and not self._draws_symbols:
            raise GenusError("top_k and top_p choose among symbols, and this model draws numbers; use temperature.")
        if stop is not None:
            self.space.element.check(torch.tensor([[stop]], dtype=self.space.dtype), "stop")
        c = self._check_context(c, n)
        batch_size = min(batch_size, self.most_rows)
        if each is not None and n > batch_size:
            raise GenusError(f"Streaming needs all rows at once; ask for {batch_size} or fewer.")
        parts = []
        with self._evaluating(), self._compiled(compile), isolated(seed):
            for at in range(0, max(n, 1), batch_size):
                rows = slice(at, min(at + batch_size, n))
                known = None if given is None else given[rows]
                part = rows.stop - rows.start
                parts.append(self._chain(part, None if c is None else c[rows], known, request))
        x = torch.cat(parts)
        return x if self.space.sequence else self._in_place(x)

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        x = self._chain(n, c, None, Request(self.space.dim))
        return x if self.space.sequence else self._in_place(x)

    def _in_place(self, x: Tensor) -> Tensor:
        """(n, D) in the order of positions -> (n, *shape)."""
        if self.order is not None:
            x = x[:, torch.as_tensor(self.order, device=x.device).argsort()]
        return x.reshape(-1, *self.space.shape)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        training = self.training
        self.eval()  # dropout, and caches of weights
        try:
            yield
        finally:
            self.train(training)

    @contextmanager
    def _compiled(self, wish: bool) -> Iterator[None]:
        """Steps are compiled, if wished."""
        net = getattr(self, "net", None)
        if wish and getattr(net, "compiled", None) is None:
            raise GenusError(f"{self.name} has no steps that can be compiled; leave compile= out, or take a transformer (gpt).")
        if wish:
            net.compiled = True  # type: ignore[union-attr]
        try:
            yield
        finally:
            if wish:
                net.compiled = False  # type: ignore[union-attr]

    def _chain(
        self, n: int, c: Tensor | None, given: list[Tensor] | None, request: Request, start: Start | None = None
    ) -> Tensor:
        """(n, length) in the order of positions, each row going on from its given beginning.

        start: instead of `_steps`, which it is like.
        """
        length, warp, stop, each = request
        x = torch.empty(n, length, dtype=self.space.dtype, device=self.device)
        if not n:
            return x
        lengths = torch.tensor([len(one) for one in given] if given is not None else [0] * n)
        common, longest = int(lengths.min()), int(lengths.max())
        if given is not None and longest:
            pad = torch.nn.utils.rnn.pad_sequence(given, batch_first=True).to(x)
            x[:, : min(longest, length)] = pad[:, :length]
        if each is not None:
            for i in range(min(common, length)):
                each(x[:, i : i + 1])
        if common >= length:
            return x
        end = self._end_value if self.space.ends else None
        over = torch.zeros(n, dtype=torch.bool, device=x.device)
        fill = x.new_zeros(n)
        if common:
            over, fill = self._ended(x[:, :common], end, None)  # a stop symbol within a prefix stops nothing
        steps = (start or self._steps)(n, c, x[:, :common] if common else None)
        distribution = next(steps)
        lengths = lengths.to(x.device)
        for i in range(common, length):
            value = distribution.sample(warp)[:, 0].to(x.dtype)
            if i < longest:
                value = torch.where(i < lengths, x[:, i], value)
            if end is not None or stop is not None:
                value = torch.where(over, fill, value)
                ends, how = self._ended(value[:, None], end, stop)
                if stop is not None and i < longest:
                    ends &= (i >= lengths) | self._ended(value[:, None], end, None)[0]
                fill = torch.where(ends & ~over, how, fill)
                over = over | ends
            x[:, i] = value
            if each is not None:
                each(value[:, None])
            if i + 1 == length:
                break
            if i + 1 >= longest and (end is not None or stop is not None) and bool(over.all()):
                x[:, i + 1 :] = fill[:, None]
                break
            distribution = steps.send(value[:, None])
        return x

    def _ended(self, x: Tensor, end: float | None, stop: float | None) -> tuple[Tensor, Tensor]:
        """x (n, m) -> which rows hold an end or a stop, (n,), and what fills the rest of each, (n,)."""
        over, fill = torch.zeros(len(x), dtype=torch.bool, device=x.device), x.new_zeros(len(x))
        for symbol in (stop, end):
            if symbol is not None:
                hit = (x.isnan() if symbol != symbol else x == symbol).any(1)
                over, fill = over | hit, torch.where(hit, symbol, fill)
        return over, fill

    @property
    def _end_value(self) -> float:
        """What stands in x at the end of a sequence and after it."""
        kind = self.space.kinds[0]
        levels = getattr(kind, "levels", None)
        return float(levels.index(None)) if levels is not None else float("nan")

    @property
    def _draws_symbols(self) -> bool:
        """Whether every coordinate is drawn from a table of symbols."""
        return self.space.is_discrete

    def _length(self, length: int | None, given: list[Tensor] | None) -> int:
        if not self.space.sequence:
            if length is not None:
                raise GenusError("Only sequences have a length to choose; leave length= out.")
            steps = self.space.dim
        else:
            steps = self.space.dim if length is None else length
        if steps < 1:
            raise GenusError(f"A sequence needs a length of 1 or more; got {length}.")
        longest = max(map(len, given), default=0) if given is not None else 0
        if longest > steps:
            how = " with length=" if self.space.sequence else ""
            raise DataError(f"A prefix has {longest} values, more than the {steps} that are drawn; ask for more{how}.")
        return steps

    def _prefixes(self, prefix: Tensor | str | Sequence[Tensor | str] | None, n: int | None) -> list[Tensor] | None:
        """The prefix of every row, checked."""
        if prefix is None:
            return None
        if isinstance(prefix, str) or (isinstance(prefix, Tensor) and prefix.ndim == 1):
            prefix = [prefix]
        rows = [self.space.encode_prefix(one) if isinstance(one, str) else torch.as_tensor(one) for one in prefix]
        rows = rows * n if n is not None and len(rows) == 1 else rows
        if n is not None and len(rows) != n:
            raise DataError(f"There are {len(rows)} prefixes for {n} data; expected one for each, or one for all.")
        rows = [one.to(self.device, self.space.dtype) for one in rows]
        for i, one in enumerate(rows):
            if one.ndim != 1:
                raise DataError(f"Prefix {i} has shape {tuple(one.shape)}; expected the values of the first positions, (m,).")
        for length in {len(one) for one in rows} - {0}:  # those of one length at once
            alike = [i for i, one in enumerate(rows) if len(one) == length]
            together = torch.stack([rows[i] for i in alike])
            try:
                self._check_prefixes(together, "the prefixes")
            except DataError:
                for i, one in zip(alike, together, strict=True):  # once more, to say which
                    self._check_prefixes(one[None], f"prefix {i}")
                raise
        return rows

    def _check_prefixes(self, values: Tensor, name: str) -> None:
        """Check the values of the first positions, (n, m)."""
        if self.space.sequence:
            self.space.check(values, name)
            return
        order = self.order if self.order is not None else range(self.space.dim)
        for value, column in zip(values.T, order, strict=False):
            names = [self.space.names[column]] if self.space.names is not None else None
            Space([self.space.kinds[column]], names=names).check(value[:, None], name)


class Autoregressive(ChainRule):
    """The chain rule by a causal net: tokens in, the parameters of every conditional out.

    A family makes `self.net`, a `CausalNet`, and calls `_tokens_and_outputs` before or after. Positions are the steps of a
    sequence, or the coordinates of a row in an order.

    Args:
        order: of the coordinates of a row; their own where not given.
    """

    sequences = True
    net: nn.Module
    tokens: nn.Module
    outputs: nn.Module

    def __init__(self, space: Space, context: Space | None = None, order: Sequence[int] | None = None, **hyper: Any) -> None:
        if order is not None:
            hyper = {"order": list(order)} | hyper
        super().__init__(space, context, **hyper)
        self.order = None if space.sequence else checked_order(space, order)

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        varied = any(isinstance(k, Real) or k.states > 1 or (isinstance(k, Lattice) and k.size > 1) for k in space.kinds)
        return None if varied else "there is one value only, so there is nothing to learn"

    def _tokens_and_outputs(self, width: int, components: int) -> None:
        """The usual tokens and outputs for a net of this width."""
        if self.order is None or self.space.shared is not None:
            self.tokens = SharedTokens(self.space, width)
            self.outputs = SharedOutputs(self.space, width, components)
            self.places = None if self.order is None else nn.Parameter(torch.randn(self.space.dim, width) * width**-0.5)
        else:
            self.tokens = ColumnTokens(self.space, self.order, width)
            self.outputs = ColumnOutputs(self.space, self.order, width, components)
            self.places = None  # every column has its own tokens

    places: nn.Parameter | None

    def losses(self) -> list[Loss]:
        return [Loss("nll", self.parameters(), self._loss)]

    def _loss(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Nats a row of fixed size; of sequences nats an element, so that long ones do not take larger steps."""
        value = -self._log_conditionals(x, c)
        if not self.space.sequence:
            return value.sum(1).mean()
        after = self._after_end(x)
        return value.mean() if after is None else value.sum() / (~after).sum()

    def _in_order(self, x: Tensor) -> Tensor:
        """x (B, *shape) -> (B, P) in the order of positions."""
        if self.order is None:
            return x
        return x.flatten(1)[:, torch.as_tensor(self.order, device=x.device)]

    def _embedded(self, x: Tensor) -> Tensor:
        tokens = self.tokens(x.flatten(1) if isinstance(self.tokens, ColumnTokens) else self._in_order(x))
        return tokens if self.places is None else tokens + self.places

    def _distributions(self, x: Tensor, c: Tensor | None) -> Coordinates:
        """Of every element of sequences x (B, T) given those before it, B T distributions of one coordinate."""
        h = self.net(self._embedded(x), self._context_features(c))
        return self.outputs.at(0, h.flatten(0, 1))  # type: ignore[operator]

    def _log_conditionals(self, x: Tensor, c: Tensor | None) -> Tensor:
        h = self.net(self._embedded(x), self._context_features(c))
        if isinstance(self.outputs, ColumnOutputs):
            return self.outputs.log_prob(h, x)
        value = self.outputs.log_prob(h, self._in_order(x))  # type: ignore[operator]
        if self.order is not None:
            return value[:, torch.as_tensor(self.order, device=x.device).argsort()]
        after = self._after_end(x)
        return value if after is None else value.masked_fill(after, 0.0)

    def _steps(self, n: int, c: Tensor | None, known: Tensor | None) -> Generator[Coordinates, Tensor, None]:
        features, i = self._context_features(c), 0
        if known is None:
            h, state = self.net.start(n, features)  # type: ignore[operator]
        else:
            i = known.shape[1]
            if isinstance(self.tokens, SharedTokens):
                tokens = self.tokens(known) if self.places is None else self.tokens(known) + self.places[:i]
            else:
                tokens = torch.stack([self._token(p, known[:, p : p + 1]) for p in range(i)], dim=1)
            h, state = self.net.prefill(tokens, features)  # type: ignore[operator]
        while True:
            value = yield self.outputs.at(i, h)  # type: ignore[operator]
            h, state = self.net.step(state, i, self._token(i, value))  # type: ignore[operator]
            i += 1

    def _token(self, i: int, value: Tensor) -> Tensor:
        """value (n, 1) at position i -> (n, width)."""
        token = self.tokens.at(i, value)  # type: ignore[operator]
        return token if self.places is None else token + self.places[i]


def checked_order(space: Space, order: Sequence[int] | None) -> list[int]:
    """The order of coordinates, their own where none is given.

    Raises:
        DataError: not every coordinate once.
    """
    chosen = list(range(space.dim)) if order is None else [int(i) for i in order]
    if sorted(chosen) != list(range(space.dim)):
        raise DataError(f"order must name each of the {space.dim} coordinates once, by number from 0; got {chosen}.")
    return chosen
