"""Markov chain of any order, with smoothed counts."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from random import Random
from typing import Any

import torch
from torch import Tensor

from genus.errors import GenusError, NotFittedError
from genus.ladder import Counted
from genus.models.chain_rule import ChainRule
from genus.models.contexts import SMOOTHINGS, CodeSampler, Tree, grow
from genus.models.ngrams import packed, tallied, unpacked
from genus.models.online import OnlineDensity, online_probabilities
from genus.models.sampling import GenerationOptions, end_value
from genus.nets.cells import Cells
from genus.nets.heads import SamplingOptions
from genus.random import gumbel_like, rng
from genus.space import Lattice, Real, Space

__all__ = ["MarkovChain"]

LIMIT = 65_536  # the widest lattice whose values are symbols
MAX_ORDER = 1000  # time and memory grow with it


class MarkovChain(Counted, ChainRule, OnlineDensity, name="markov"):
    """Count and smooth which symbol follows the last k: p(x) = prod_t p(x_t | x_{t-k} ... x_{t-1}).

    One pass over the data is the fit; it streams (`observe` chunks, then `conclude`) and merges across workers. A sequence that
    ends begins with a mark of its own, so its first symbols have conditionals of their own; the first symbols of other
    sequences have shorter contexts, since the symbols before them are unknown. Every conditional sums to 1, and no symbol has
    probability 0.

    - "kneser-ney": interpolated modified Kneser-Ney (Chen & Goodman 1999), down to the uniform distribution. Each length has
      three discounts, in closed form from the numbers of n-grams seen once to four times; where that does not exist (an
      alphabet all of whose letters are frequent), 0.5, 1 and 1.5.
    - "witten-bell" (Witten & Bell 1991): shorter contexts get the weight d / (n + d) after n symbols of d different ones.
    - "add-k": (n_s + k) / (n + k V), after the longest context that was seen.

    A file of `genus.save` holds the counts alone; the tree is built from them when it is read.

    Args:
        order: k, the number of symbols remembered (an n-gram model has k = n - 1); 0 for none. An order above the length of the
            sequences stands for all earlier symbols. Time and memory grow with it.
        smoothing: "kneser-ney", "witten-bell" or "add-k".
        k: of add-k; above 0.

    >>> from genus import Category, Space
    >>> words = Space(Category(("a", "b", None)), shape=(4,), sequence=True)
    >>> model = MarkovChain(words, order=2)
    >>> model.observe(torch.tensor([[0.0, 1, 0, 2], [0, 1, 2, 2], [1, 0, 1, 2]])); model.conclude()
    >>> seen, unseen = model.log_prob(torch.tensor([[0.0, 1, 0, 2], [1, 1, 1, 1]])).exp()
    >>> bool(seen > unseen > 0)
    True
    >>> model.sample(5, seed=0).shape
    torch.Size([5, 4])
    """

    info = ChainRule.info.replace(
        title="Markov chain of smoothed counts",
        group="counted",
        takes="text and other sequences of symbols",
        sequences=True,
        formula="p(x) = ∏ₜ p(xₜ | xₜ₋ₖ … xₜ₋₁), from smoothed counts",
        good="text and other symbols within seconds, also where there is little of it",
        bad="what depends on more than its last few symbols",
    )
    statistics = ("ngrams", "counts")

    def __init__(
        self, space: Space, context: Space | None = None, order: int = 5, smoothing: str = "kneser-ney", k: float = 1.0
    ) -> None:
        if smoothing not in SMOOTHINGS:
            raise GenusError(f"There is no smoothing {smoothing!r}; there are {', '.join(SMOOTHINGS)}.")
        if not isinstance(order, int) or not 0 <= order <= MAX_ORDER:
            raise GenusError(f"order is the number of symbols remembered, a whole number from 0 to {MAX_ORDER}; got {order!r}.")
        if not 0 < k < math.inf:
            raise GenusError(f"k is added to every count and must be above 0, or unseen symbols would be impossible; got {k}.")
        super().__init__(space, context)
        self.memory, self.smoothing, self.k = order, smoothing, k
        self.cells = Cells(space.element, LIMIT)
        alive = self.cells.alive if self.cells.total else torch.ones(1, dtype=torch.bool)
        self.size = int(alive.sum())
        self.register_buffer("cell", alive.nonzero()[:, 0], persistent=False)  # that a symbol is
        self.register_buffer("symbol", alive.cumsum(0) - 1, persistent=False)  # that a cell is
        self.register_buffer("ngrams", torch.zeros(0, 1, dtype=torch.long))
        self.register_buffer("counts", torch.zeros(0, dtype=torch.long))
        self._tree: Tree | None = None

    cell: Tensor
    symbol: Tensor
    ngrams: Tensor
    counts: Tensor

    @classmethod
    def limits(cls, space: Space, context: Space | None = None) -> str | None:
        if not space.sequence:
            return "it models sequences, what follows what, and these are rows of columns or pixels"
        kind = space.kinds[0]
        if isinstance(kind, Real):
            return f"it counts symbols, and the elements of these sequences are {kind!r}; quantise them"
        if isinstance(kind, Lattice) and kind.size > LIMIT:
            return f"it counts symbols, {LIMIT:,} at most, and the elements of these sequences are {kind.size:,} whole numbers"
        return None if context is None else "it has no context; fit a chain for every value of it"

    @classmethod
    def default_hyperparameters(cls, space: Space, rows: int) -> dict[str, Any]:
        """Return an order that grows with the logarithm of the data: 3 for a thousand symbols, 6 for a million."""
        return {"order": max(1, min(8, round(math.log2(max(2, rows * space.dim)) / 3.4)))}

    # -- counting -----------------------------------------------------------------------------------------------------

    def observe(self, x: Tensor, c: Tensor | None = None) -> None:
        """Add the sequences x (B, T) to the counts; nothing connects one row with the next."""
        self.space.check(x)
        words = packed(self._symbols(x) + 1, min(self.memory, x.shape[1]) + 1, self.size)
        after = self._after_end(x)
        words = words.flatten(0, 1) if after is None else words[~after]
        self._add(words, torch.ones(len(words), dtype=torch.long, device=words.device))

    def merge(self, other: Counted) -> None:
        """Add the counts of another chain of the same space and order, which observed other sequences; then `conclude`."""
        if not isinstance(other, MarkovChain) or (other.memory, other.space.element) != (self.memory, self.space.element):
            raise GenusError("Only Markov chains of the same order over the same symbols can be merged.")
        self._add(other.ngrams, other.counts)

    def clear(self) -> None:
        self.ngrams, self.counts = self.ngrams.new_zeros(0, 1), self.counts.new_zeros(0)

    def conclude(self) -> None:
        options = (self.size, self.memory, self.space.ends, self.smoothing, self.k)
        self._tree = grow(self.ngrams, self.counts, *options) if len(self.counts) else None

    def _add(self, words: Tensor, counts: Tensor) -> None:
        """Add n-grams; where longer rows need more words than before, the others are padded with zeros on the right."""
        width = max(words.shape[1], self.ngrams.shape[1])
        parts = [torch.nn.functional.pad(w, (0, width - w.shape[1])) for w in (self.ngrams, words)]
        self.ngrams, self.counts = tallied(torch.cat(parts), torch.cat([self.counts, counts]))

    @property
    def parameter_count(self) -> int:
        """Return the number of different n-grams of all lengths in the data."""
        return 0 if self._tree is None else int((self._tree.share > 0).sum())

    def _symbols(self, x: Tensor) -> Tensor:
        """Return the symbols 0 ... V - 1 of sequences x (B, T), long (B, T)."""
        if not self.cells.total:
            return torch.zeros_like(x, dtype=torch.long)
        flat = x.reshape(-1, 1)
        return self.symbol[self.cells.index(flat, self.space.element.split(flat).state)].view(x.shape)

    def _values(self, symbols: Tensor) -> Tensor:
        """Return the values of symbols: the inverse of `_symbols`."""
        cell = self.cell[symbols].reshape(-1, 1)[:, : len(self.cells.tabled)]
        return self.cells.compose(cell, cell.new_zeros(symbols.numel(), 0)).view(symbols.shape)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Read tables of any length, which must be n-grams of these symbols, in order."""
        words, counts = (state_dict.get(f"{prefix}{name}") for name in self.statistics)
        if words is not None and counts is not None:
            same = self._tree is not None and torch.equal(words, self.ngrams) and torch.equal(counts, self.counts)
            if not same:  # the same counts have the same tree
                self._take(words.to(self.device), counts.to(self.device))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _take(self, words: Tensor, counts: Tensor) -> None:
        """Replace the counts, and build the tree from them."""
        integers = words.dtype == counts.dtype == torch.long
        if not integers or words.ndim != 2 or words.shape[:1] != counts.shape or bool((counts < 1).any()):
            raise ValueError("its tables are not counts of n-grams")
        self.ngrams, self.counts = tallied(words, counts)
        if not torch.equal(self.ngrams, words):
            raise ValueError("its n-grams are not in order")
        self.conclude()

    # -- density ------------------------------------------------------------------------------------------------------

    @property
    def tree(self) -> Tree:
        """Return the tree of smoothed counts, on this model's device."""
        if self._tree is None:
            raise NotFittedError("This model has not observed any data; call genus.fit(model, data) first.")
        if self._tree.key.device != self.device:
            self._tree = self._tree.to(self.device)
        return self._tree

    def _log_conditionals(self, x: Tensor, c: Tensor | None) -> Tensor:
        tree, code = self.tree, self._symbols(x) + 1
        p = torch.full(x.shape, 1 / self.size, dtype=torch.float64, device=x.device)
        context = torch.zeros_like(code)
        for length in range(tree.order + 1):
            node = tree.find(context, code)
            p = tree.mixed(p, context) + tree.share[node]
            first = torch.full_like(node[:, :1], 1 if self.space.ends and length == 0 else -1)
            context = torch.cat([first, node[:, :-1]], dim=1)
        after = self._after_end(x)
        return p.log() if after is None else p.log().masked_fill(after, 0.0)

    @torch.no_grad()
    def log_prob_online(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Return the log-probability of sequences x (B, T) in their order, (B,) nats, learning from each symbol after it.

        Every symbol has the probability that it would have if this chain had also observed all symbols before it, in this row
        and in earlier rows; lengths that training has not seen are left aside. The counts of the chain stay as they are. One
        long text is one row; nothing connects one row with the next but what was learned.

        >>> from genus import Category, Space
        >>> model = MarkovChain(Space(Category(("a", "b")), shape=(8,), sequence=True), order=1)
        >>> model.observe(torch.tensor([[0.0, 1, 0, 0, 1, 1, 1, 0]])); model.conclude()
        >>> x = torch.tensor([[0.0] * 8])
        >>> bool(model.log_prob_online(x) > model.log_prob(x))
        True
        """
        return self.log_conditionals_online(x, c).sum(1)

    @torch.no_grad()
    def log_conditionals_online(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Return the terms of `log_prob_online`, (B, T) nats; 0 after the end of a sequence."""
        x, _ = self._check(x, c)
        codes, after = self._symbols(x) + 1, self._after_end(x)
        counted = torch.ones_like(codes, dtype=torch.bool) if after is None else ~after
        known = [] if self.space.ends else self._known_beginnings(codes)
        p = online_probabilities(self.tree, codes, counted, self.space.ends, self.smoothing, self.k, known)
        return p.log().masked_fill(~counted, 0.0)

    def _known_beginnings(self, codes: Tensor) -> list[Tensor]:
        """Return for every length 1 ... order which rows of codes (B, T) begin as some row of the training data did, (B,)."""
        whole = unpacked(self.ngrams, self.memory, self.size) == 0
        begun = self.ngrams[whole]  # n-grams that reach the beginning
        found = []
        for length in range(1, min(self.memory, codes.shape[1]) + 1):
            words = packed(codes[:, :length], self.memory + 1, self.size)[:, -1]
            both = torch.cat([begun, torch.nn.functional.pad(words, (0, begun.shape[1] - words.shape[1]))])
            number = both.unique(dim=0, return_inverse=True)[1]
            found.append(torch.isin(number[len(begun) :], number[: len(begun)]))
        return found

    @torch.no_grad()
    def perplexity(self, x: Tensor) -> float:
        """Return the exponential of the mean of -log p over all symbols of x (B, T), ends included."""
        value, after = self.log_conditionals(x), self._after_end(x)
        count = value.numel() if after is None else int((~after).sum())
        return math.exp(-float(value.sum()) / count)

    # -- sampling -----------------------------------------------------------------------------------------------------

    @property
    def _draws_symbols(self) -> bool:
        return True

    def _steps(self, n: int, c: Tensor | None, prefix: Tensor | None) -> Generator[Any, Tensor, None]:
        tree = self.tree
        node = torch.full((n,), self._first_node, device=self.device)
        if prefix is not None:
            for code in self._symbols(prefix).T[max(0, prefix.shape[1] - tree.order) :] + 1:
                node = tree.advance(node, code)
        while True:
            value = yield NextSymbol(self, node)
            node = tree.advance(node, self._symbols(value)[:, 0] + 1)

    def _code(self, value: float) -> int:
        return 1 + int(self._symbols(torch.tensor([[value]], dtype=self.space.dtype, device=self.device)))

    @property
    def _first_node(self) -> int:
        """Return the node of the context before the first symbol."""
        return int(self.space.ends and self.tree.order > 0)

    def _draw(self, n: int, c: Tensor | None, prefixes: list[Tensor] | None, options: GenerationOptions) -> Tensor:
        if options.sampling != SamplingOptions() or options.callback is not None:
            return super()._draw(n, c, prefixes, options)
        sampler = CodeSampler(self.tree, Random(int(torch.randint(2**62, (), generator=rng()))))
        end = [self._code(end_value(self.space))] if self.space.ends else []
        stops = end if options.stop is None else [*end, self._code(options.stop)]
        codes = torch.empty(n, options.length, dtype=torch.long)
        for i in range(n):
            row = [] if prefixes is None else (self._symbols(prefixes[i][None])[0] + 1).tolist()
            if not (row and row[-1] in end):
                node = self._first_node
                for code in row[max(0, len(row) - self.tree.order) :]:
                    node = sampler.advance(node, code)
                row += sampler.draw(node, options.length - len(row), stops)
            codes[i] = torch.tensor(row + row[-1:] * (options.length - len(row)))
        return self._values(codes.to(self.device) - 1)


class NextSymbol:
    """Hold the distribution of the symbol that follows each of n contexts.

    Args:
        model: the chain.
        node: the number in its tree of each context, (n,).
    """

    def __init__(self, model: MarkovChain, node: Tensor) -> None:
        self.model = model
        self.log_p = model.tree.probabilities(node).log()  # (n, V)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of value (n, 1), in nats."""
        return self.log_p.gather(1, self.model._symbols(value))

    def sample(self, options: SamplingOptions) -> Tensor:
        """Draw one symbol after each context: (n, 1)."""
        return self.model._values((options.cells(self.log_p) + gumbel_like(self.log_p)).argmax(1, keepdim=True))
