"""Counts that go on: the probability of every symbol after the training data and all symbols before it.

A frozen model scores every symbol by its training data. Here each symbol is also counted once it was scored, as in adaptive
compression (Cleary & Witten 1984), so the sum is still a log-probability of the whole text. All counts before a place follow
from the symbols before it; so they are sums over earlier places of a group, and no loop over the text is needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from genus.models.contexts import Tree

__all__ = ["OnlineDensity", "Strings", "online_probabilities"]


class OnlineDensity(ABC):
    """Scores sequences online: the model learns from each symbol after it was scored, and forgets all of it at the end."""

    @abstractmethod
    def log_prob_online(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Return log p(x_i | training data, x_1 ... x_{i-1}) of sequences x (B, T) in their order, (B,) nats.

        The sum over rows is the log-probability of all of them together. It is no density of a single row, since it depends
        on the rows before; never compare it with `log_prob` without saying so. The model is the same afterwards.
        """


class Strings(NamedTuple):
    """Lists the strings of one length that end at M places: which string, which context, and what is known of them.

    Attributes:
        string: (M,) the number of the string, equal where strings are.
        context: (M,) the number of the string without its newest symbol; -1 where the row has not so many symbols.
        node, context_node: (M,) their nodes in the tree; -1 for those that training has not seen.
        begins: (M,) whether the string starts with the beginning of the row.
    """

    string: Tensor
    context: Tensor
    node: Tensor
    context_node: Tensor
    begins: Tensor

    @property
    def exists(self) -> Tensor:
        """Return whether there are so many symbols up to each place, (M,)."""
        return self.context >= 0


def online_probabilities(
    tree: Tree, codes: Tensor, counted: Tensor, begins: bool, smoothing: str, k: float, known_rows: list[Tensor]
) -> Tensor:
    """Return the probability of every code after the training data and all codes before it, rows in their order.

    Args:
        tree: the smoothed counts of the training data.
        codes: (B, T), 1 ... V.
        counted: (B, T), which of them are meant; the others come after an end.
        begins: whether the beginning of a row is a context like a symbol.
        smoothing, k: as for `grow`.
        known_rows: for the lengths 1 ... order, which rows (B,) begin in so many symbols as a row of the training data did.

    Returns:
        (B, T), float64; those that are not meant have no meaning.
    """
    kept = counted.flatten()
    strings = [Strings(*(part.flatten()[kept] for part in level)) for level in _strings(tree, codes, begins)]
    starts, upto = _starts(tree), _sums(tree)
    p = torch.full_like(strings[0].string, 1 / tree.size, dtype=torch.float64)
    fresh = [_is_fresh(tree, level) for level in strings]
    first = None if begins else _first_begins(codes, known_rows)
    for length, level in enumerate(strings):
        event = level.exists
        if smoothing == "kneser-ney" and length < len(strings) - 1:  # counts of the different symbols on the left
            left = fresh[length + 1]
            if first is not None and length < codes.shape[1]:
                left = left | first[length].flatten()[kept]
            event = event & (left | level.begins)
        p = _mixed(tree, level, starts[length : length + 2], upto, event, p, smoothing, k)
    out = torch.ones_like(kept, dtype=torch.float64)
    out[kept] = p
    return out.view(codes.shape)


def _strings(tree: Tree, codes: Tensor, begins: bool) -> list[Strings]:
    """Return the strings of every length that end at every place, each part (B, T)."""
    context, node = torch.zeros_like(codes), torch.zeros_like(codes)
    begin = torch.zeros_like(codes, dtype=torch.bool)
    found = []
    for length in range(tree.order + 1):
        key = torch.where(context >= 0, context * (tree.size + 1) + codes, -1)
        number = key.flatten().unique(return_inverse=True)[1].view(codes.shape).where(context >= 0, -1)
        child = tree.find(node, codes)
        found.append(Strings(number, context, child, node, begin))
        at_start = begins and length == 0
        context = _shifted(number, int(number.max()) + 1 if at_start else -1)
        node = _shifted(child, 1 if at_start else -1)
        begin = _shifted(begin, at_start)
    return found


def _shifted(values: Tensor, first: int | bool) -> Tensor:
    """Return for every place (B, T) the value of the place before, `first` at the start of a row."""
    return torch.cat([torch.full_like(values[:, :1], first), values[:, :-1]], dim=1)


def _is_fresh(tree: Tree, level: Strings) -> Tensor:
    """Return which strings (M,) were seen neither in training nor at an earlier place."""
    seen = (level.node >= 0) & (tree.counts[level.node] > 0)
    return level.exists & ~seen & (earlier(level.string, level.exists.long()[:, None])[:, 0] == 0)


def _first_begins(codes: Tensor, known_rows: list[Tensor]) -> list[Tensor]:
    """Return for every length the places (B, T) at which the first so many symbols of a row are complete, and are new.

    Where the beginning of a row is unknown as a context, it still counts as one of the different symbols on the left.
    """
    found = []
    for length, known in enumerate(known_rows, 1):
        place = torch.zeros_like(codes, dtype=torch.bool)
        rows = codes[:, :length].unique(dim=0, return_inverse=True)[1]
        place[:, length - 1] = ~known & (earlier(rows, torch.ones_like(rows)[:, None])[:, 0] == 0)
        found.append(place)
    return found


def _starts(tree: Tree) -> list[int]:
    """Return where the nodes of every length begin in the tree, lengths 1 to order + 1, and where the last end."""
    starts = [1]
    for _ in range(tree.order):
        starts.append(int(tree.first[starts[-1]]))
    return [*starts, len(tree.key)]


def earlier(group: Tensor, values: Tensor) -> Tensor:
    """Return for every place the sums of values (M, n) over the earlier places of the same group (M,).

    >>> earlier(torch.tensor([7, 3, 7, 7]), torch.tensor([[1], [1], [2], [1]]))[:, 0].tolist()
    [0, 0, 1, 3]
    """
    ranked, order = group.sort(stable=True)
    before = values.index_select(0, order)
    before = before.cumsum(0).sub_(before)
    begin = torch.ones_like(order, dtype=torch.bool)
    torch.ne(ranked[1:], ranked[:-1], out=begin[1:])
    runs = begin.cumsum(0).sub_(1)
    before -= before.index_select(0, begin.nonzero()[:, 0]).index_select(0, runs)
    return torch.empty_like(values).index_copy_(0, order, before)


def _mixed(
    tree: Tree, level: Strings, bounds: list[int], upto: Tensor, event: Tensor, p: Tensor, smoothing: str, k: float
) -> Tensor:
    """Return the probabilities (M,) after contexts that are longer by one symbol than those of p.

    Args:
        tree: the smoothed counts of the training data.
        level: the strings of this length.
        bounds: where their nodes begin and end in the tree.
        upto: see `_sums`.
        event: (M,) whether the count of the string grows by one at its place.
        p: (M,) the probabilities after the shorter contexts.
        smoothing, k: as for `grow`.
    """
    count = earlier(level.string, event.long()[:, None])[:, 0] + tree.counts[level.node].where(level.node >= 0, 0)
    # How many symbols have followed a context once, twice, or more often; and how often any has.
    size = count.clamp(max=3)
    change = torch.zeros(len(count), 4, dtype=torch.long, device=count.device)
    change.scatter_(1, size.sub(1).clamp(min=0)[:, None], -((size > 0) & (size < 3) & event).long()[:, None])
    change.scatter_add_(1, size.clamp(max=2)[:, None], ((size < 3) & event).long()[:, None])
    change[:, 3] = event
    node = level.context_node
    trained = upto.index_select(0, tree.first[node + 1]) - upto.index_select(0, tree.first[node])
    trained *= (node >= 0)[:, None]
    after = (earlier(level.context, change) + trained).double()
    kinds, total = after[:, :3], after[:, 3]
    if smoothing == "add-k":
        share, weight = count / (total + k * tree.size), k * tree.size / (total + k * tree.size)
        p = torch.full_like(p, 1 / tree.size).where(total > 0, p)
    elif smoothing == "witten-bell":
        different = kinds.sum(1)
        share, weight = count / (total + different).clamp(min=1), different / (total + different).clamp(min=1)
    else:
        discounts = _discounts(tree.counts[bounds[0] : bounds[1]], count, event)
        lost = torch.nn.functional.pad(discounts, (1, 0)).gather(1, size[:, None])[:, 0]
        share, weight = (count - lost) / total.clamp(min=1), (kinds * discounts).sum(1) / total.clamp(min=1)
    return torch.where(level.exists & (total > 0), share + weight * p, p)


def _sums(tree: Tree) -> Tensor:
    """Return how many of the nodes before each were seen once, twice, more often, and how often in all, (M + 1, 4)."""
    sizes = torch.arange(1, 4, device=tree.counts.device)
    table = torch.cat([tree.counts.clamp(max=3)[:, None] == sizes, tree.counts[:, None]], dim=1)
    return torch.nn.functional.pad(table.cumsum(0), (0, 0, 1, 0))


def _discounts(trained: Tensor, count: Tensor, event: Tensor) -> Tensor:
    """Return the three discounts of a length at every place, (M, 3), from the numbers of strings seen once to four times.

    Args:
        trained: the counts of the strings of this length in training.
        count: (M,) the count of every string before its place.
        event: (M,) whether it grows by one there.
    """
    sizes = torch.arange(1, 5, device=count.device)
    change = ((count[:, None] + 1 == sizes).long() - (count[:, None] == sizes).long()) * event[:, None]
    seen = torch.bincount(trained.clamp(max=5), minlength=6)[1:5] + change.cumsum(0) - change
    n1, n2, n3, n4 = seen.double().T
    y = n1 / (n1 + 2 * n2)
    closed = torch.stack([1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3], dim=1)
    usable = (seen > 0).all(1) & (closed > 0).all(1)
    return torch.where(usable[:, None], closed, torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64, device=count.device))
