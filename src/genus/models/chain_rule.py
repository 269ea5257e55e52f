"""The chain rule: p(x) = p(x_1) p(x_2|x_1) ... p(x_n|x_1 ... x_{n-1})."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from genus.codec import Codec
from genus.errors import DataError, GenusError
from genus.ladder import TractableDensity, check_count
from genus.ladder.conditions import Conditions, draw_where
from genus.models.sampling import GenerationOptions, checked_prefixes, draw_positions, total_length
from genus.nets.heads import Coordinates, SamplingOptions
from genus.nets.state import evaluating
from genus.random import isolated
from genus.space import Category, Lattice, Real, Space, Time

__all__ = ["ChainRule", "checked_order", "nothing_to_learn"]


class ChainRule(TractableDensity):
    """Multiply conditionals to a density, and sample one position after another.

    x is a sequence, whose positions are in time, or a row, whose coordinates come in an `order`. A family gives

    - `_log_conditionals(x, c)`: the log-density of every coordinate given the earlier ones, in one pass;
    - `_steps(n, c, prefix)`: the same distributions position by position, for sampling.
    """

    order: Sequence[int] | None = None  # the coordinate at every position; None for sequences
    max_rows: int = 10_000  # drawn at once; fewer where each row needs much memory

    def _log_conditionals(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Return log p(x_i | earlier coordinates, c), (B, D), in nats; 0 after the end of a sequence."""
        raise TypeError(f"{type(self).__name__} must define _log_conditionals(x, c).")

    def _steps(self, n: int, c: Tensor | None, prefix: Tensor | None) -> Generator[Coordinates, Tensor, None]:
        """Yield the distribution of every position in turn; the generator is sent the values (n, 1) drawn from it.

        prefix (n, m), in the order of positions, are values that every row begins with: the first distribution is that of
        position m, or of position 0 without a prefix.
        """
        raise TypeError(f"{type(self).__name__} must define _steps(n, c, prefix).")

    # -- density ------------------------------------------------------------------------------------------------------

    def log_conditionals(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Return log p(x_i | earlier coordinates, c) for every coordinate, exact; the sum is `log_prob`.

        Args:
            x: data (B, *shape).
            c: their contexts (B, *context.shape), or one row for all.

        Returns:
            (B, D) nats; 0 after the end of a sequence.
        """
        x, c = self._check(x, c)
        return self._log_conditionals(x, c)

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self._log_conditionals(x, c).sum(1)

    @torch.no_grad()
    def next_symbol_probabilities(self, prefix: Tensor | Sequence[Tensor], c: Tensor | None = None) -> Tensor:
        """Return the probabilities of the symbol that follows each prefix.

        Args:
            prefix: the first values x_1 ... x_m, (n, m), or (m,) for one; of a table in the model's order. It may be empty.
            c: the context, (n, *context.shape) or one row for all; None for a model without context.

        Returns:
            (n, symbols): of every level of the next coordinate, a category; rows sum to 1.

        Raises:
            DataError: a prefix lies outside the space, or nothing can follow it.
            GenusError: the next coordinate is no category.
        """
        rows = self._checked_prefixes(prefix, None)
        values = torch.stack(rows or [])
        n, m = values.shape
        if not self.space.sequence and m == self.space.dim:
            raise DataError(f"Nothing follows a prefix of all {m} columns; leave some out.")
        kind = self.space.kinds[m % self.space.period if self.order is None else self.order[m]]
        if not isinstance(kind, Category):
            raise GenusError(f"The next coordinate is {kind!r}, which is no category; see log_conditionals for its density.")
        with evaluating(self):
            steps = self._steps(n, self._check_context(c, n), values if m else None)
            following = next(steps)
            symbols = torch.arange(kind.states, dtype=self.space.dtype, device=self.device)
            p = torch.stack([following.log_prob(s.expand(n, 1))[:, 0] for s in symbols], dim=1).exp()
        if not self.space.ends or not m:
            return p
        ended = (values == kind.missing_state).any(1, keepdim=True)  # after the end there is nothing but the end
        return torch.where(ended, F.one_hot(torch.tensor(kind.missing_state), kind.states).to(p), p)

    def _column_order(self) -> tuple[Sequence[int], int]:
        return super()._column_order() if self.order is None else (self.order, 0)

    def _log_prefix(self, x: Tensor, m: int, c: Tensor | None) -> Tensor:
        if self.order is None:
            return super()._log_prefix(x, m, c)
        return self._log_conditionals(x, c)[:, list(self.order[:m])].sum(1)

    def _draw_suffix(self, x: Tensor, m: int, c: Tensor | None, blanks: bool = True) -> Tensor:
        if m == self.space.dim or self.order is None:
            return x
        prefixes = list(x.flatten(1)[:, list(self.order[:m])])
        options = GenerationOptions(self.space.dim, SamplingOptions(blanks=blanks))
        return self._draw_in_batches(len(x), c, prefixes, options, self.max_rows)

    def _after_end(self, x: Tensor) -> Tensor | None:
        """Return which elements of sequences x (B, T) come after the end, (B, T); None where sequences do not end."""
        if not self.space.ends:
            return None
        period = self.space.period
        ended = self.space.ended(x)
        if period > 1:  # with the first value of a step the others end too
            before = F.pad(ended[:, :-1], (1, 0))
            return torch.stack([before, *[ended] * (period - 1)], dim=2).flatten(1)
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
        callback: Callable[[Tensor], None] | None = None,
        compile: bool = False,
        where: Mapping[str, Any] | Conditions | None = None,
        blanks: bool = False,
    ) -> Tensor:
        """Draw n data, position by position.

        Args:
            n: the number of data; by default 1, or as many as there are prefixes.
            c: the context, (n, *context.shape), or one row that all share; None: contexts as often as training
                rows had them (`sample_context` draws them), if the model has any.
            seed: repeats the draw bit for bit, and leaves the global random state alone.
            batch_size: rows drawn at once.
            prefix: the values that the data begin with: x_1 ... x_m, (m,) for all, (n, m) for each, or a list of n of different
                lengths, empty ones too; of text, strings. Of a table, the first m columns in the model's order. The other
                values are drawn from the conditional distribution given the prefix.
            length: of the sequences, in steps, by default the space's; sequences that end sooner are filled up with the end.
            temperature: probabilities are raised to the power 1 / temperature; 0 always takes the likeliest value.
            top_k: draw only from the k likeliest symbols.
            top_p: draw only from the likeliest symbols that together have this probability.
            stop: a symbol after which a sequence ends, beside its own end; the rest is filled with it.
            callback: called with the values (n, 1) of every position as they are drawn, for streaming.
            compile: torch.compile the steps of a transformer, which takes some seconds once and pays for long draws.
            where: what columns of a table are to be, see `GenerativeModel.sample`; without a prefix and other options.
            blanks: whether blanks that stand for unknown values are drawn as training saw them, and not values in their place.

        Returns:
            x of shape (n, *space.shape), or (n, length), in data units; `model.decode` turns it into text, sound, a frame.

        Raises:
            DataError: a prefix lies outside the space, or is longer than the data to be drawn.
            GenusError: a temperature, top_k or top_p is out of range; there is nothing to compile.
        """
        if where is not None:
            if prefix is not None or (temperature, top_k, top_p) != (1.0, None, None):
                raise GenusError(
                    "where= conditions the model's own distribution; leave prefix=, temperature=, top_k= and top_p= out."
                )
            n = 1 if n is None else check_count(n)
            return draw_where(self, n, where, self._context_for(c, n, seed), seed)
        sampling = SamplingOptions(temperature, top_k, top_p, blanks or not self.space.has_unknown)
        self._check_sampling(sampling, stop)
        n = None if n is None else check_count(n)
        prefixes = self._checked_prefixes(prefix, n)
        n = n if n is not None else len(prefixes) if prefixes is not None else 1
        options = GenerationOptions(total_length(self.space, length, prefixes), sampling, stop, callback)
        c = self._context_for(c, n, seed)
        batch_size = min(batch_size, self.max_rows)
        if callback is not None and n > batch_size:
            raise GenusError(f"Streaming needs all rows at once; ask for {batch_size} or fewer.")
        with evaluating(self), self._compiled(compile), isolated(seed, self):
            return self._draw_in_batches(n, c, prefixes, options, batch_size)

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        return self._draw(n, c, None, GenerationOptions(self.space.dim))

    def _draw_in_batches(
        self, n: int, c: Tensor | None, prefixes: list[Tensor] | None, options: GenerationOptions, batch_size: int
    ) -> Tensor:
        parts = []
        for start in range(0, max(n, 1), batch_size):

            def draw(index: Tensor, start: int = start) -> Tensor:
                rows = index + start
                begins = None if prefixes is None else [prefixes[i] for i in rows.tolist()]
                return self._draw(len(rows), None if c is None else c[rows.to(c.device)], begins, options)

            parts.append(self._obeying(draw, min(batch_size, n - start), blanks=True))
        return torch.cat(parts)

    def _draw(self, n: int, c: Tensor | None, prefixes: list[Tensor] | None, options: GenerationOptions) -> Tensor:
        """Draw n data that begin with their prefixes: (n, length) of sequences, (n, *shape) of rows."""
        x = draw_positions(self._steps, n, c, prefixes, options, self.space, self._empty_draw())
        if self.order is not None:
            x = x[:, torch.as_tensor(self.order, device=x.device).argsort()]
        return x if self.space.sequence else x.reshape(-1, *self.space.shape)

    def _check_sampling(self, sampling: SamplingOptions, stop: float | None) -> None:
        """Raise GenusError or DataError where the options make no sense for this model."""
        sampling.check()
        if stop is not None and not self.space.sequence:
            raise GenusError("Only sequences have a symbol to stop at; leave stop= out.")
        if (sampling.top_k is not None or sampling.top_p is not None) and not self._draws_symbols:
            raise GenusError("top_k and top_p choose among symbols, and this model draws numbers; use temperature.")
        if stop is not None:
            self.space.element.check(torch.tensor([[stop]], dtype=self.space.dtype), "stop")

    def _checked_prefixes(self, prefix: Tensor | str | Sequence[Tensor | str] | None, n: int | None) -> list[Tensor] | None:
        encode = (self.codec or Codec(self.space)).encode_prefix
        return checked_prefixes(self.space, encode, prefix, n, self.order, self.device)

    @contextmanager
    def _compiled(self, compile: bool) -> Iterator[None]:
        """Compile the steps meanwhile, in a family that can."""
        if compile:
            raise GenusError(f"{self.name} has no steps that can be compiled; leave compile= out, or take a transformer (gpt).")
        yield

    @property
    def _draws_symbols(self) -> bool:
        """Tell whether every coordinate is drawn from a table of symbols."""
        return self.space.is_discrete


def nothing_to_learn(space: Space) -> str | None:
    """Return the reason why a net has nothing to learn of this space; None where some coordinate varies."""
    varied = any(isinstance(k, Real) or k.states > 1 or (isinstance(k, Lattice) and k.size > 1) for k in space.kinds)
    return None if varied else "there is one value only, so there is nothing to learn"


def checked_order(space: Space, order: Sequence[int] | None) -> list[int]:
    """Return the order of coordinates, by default their own, with times first: what has a season depends on them.

    Raises:
        DataError: the order does not name every coordinate once.
    """
    if order is None:
        times = [] if space.sequence else space.columns(Time)
        return [*times, *(i for i in range(space.dim) if i not in times)]
    chosen = [int(i) for i in order]
    if sorted(chosen) != list(range(space.dim)):
        raise DataError(f"order must name each of the {space.dim} coordinates once, by number from 0; got {chosen}.")
    return chosen
