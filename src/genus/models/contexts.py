"""Smoothed counts: the probability of a symbol after every context, as a tree, and draws from it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from genus.models.ngrams import levels

__all__ = ["SMOOTHINGS", "CodeSampler", "Tree", "grow"]

# (counts (N,), their contexts (N,), number of contexts, V, k) -> (share (N,), weight (contexts,)): the probability that an
# n-gram has of its own after its context, and what that leaves for shorter contexts; weight 1 where nothing was seen.
Smoothing = Callable[[Tensor, Tensor, int, int, float], tuple[Tensor, Tensor]]


def kneser_ney(count: Tensor, context: Tensor, contexts: int, size: int, k: float) -> tuple[Tensor, Tensor]:
    """Return shares and weights by modified Kneser-Ney: counts of 1, of 2 and of more lose a discount each."""
    n1, n2, n3, n4 = torch.bincount(count.clamp(max=5), minlength=6)[1:5].tolist()
    discounts = [0.5, 1.0, 1.5]
    if min(n1, n2, n3, n4):
        y = n1 / (n1 + 2 * n2)
        closed = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        if all(d > 0 for d in closed):
            discounts = closed
    discount = torch.tensor([0.0, *discounts], dtype=torch.float64, device=count.device)[count.clamp(max=3)]
    total = torch.bincount(context, count.double(), contexts)
    left = torch.bincount(context, discount, contexts)
    return (count - discount) / total[context].clamp(min=1), torch.where(total > 0, left / total.clamp(min=1), 1.0)


def witten_bell(count: Tensor, context: Tensor, contexts: int, size: int, k: float) -> tuple[Tensor, Tensor]:
    """Return shares and weights by Witten-Bell: shorter contexts keep as much as there were different symbols."""
    left = torch.bincount(context, (count > 0).double(), contexts)
    total = torch.bincount(context, count.double(), contexts) + left
    return count / total[context].clamp(min=1), torch.where(total > 0, left / total.clamp(min=1), 1.0)


def add_k(count: Tensor, context: Tensor, contexts: int, size: int, k: float) -> tuple[Tensor, Tensor]:
    """Return shares and weights by add-k: every symbol counts k times more, whatever the context."""
    total = torch.bincount(context, count.double(), contexts) + k * size
    return count / total[context], k * size / total


SMOOTHINGS: dict[str, Smoothing] = {"kneser-ney": kneser_ney, "witten-bell": witten_bell, "add-k": add_k}


class Tree(NamedTuple):
    """Hold all strings of the data as nodes: first the empty string, then by length, by context, by newest symbol.

    Every string of one code has a node: the node of code s is 1 + s. A node's context is itself without its newest symbol, its
    suffix itself without its oldest. Index -1 is of no string: a share of 0, a weight of 1.
    """

    size: int  # V
    order: int  # symbols in the longest context
    interpolates: bool  # whether what a context leaves goes to its suffix, or to all symbols alike
    key: Tensor  # (M,) context * (V + 1) + newest code, ascending, so that a symbol is found by bisection
    suffix: Tensor  # (M,)
    share: Tensor  # (M + 1,) the probability of the newest symbol after its context, but for what the weight brings
    weight: Tensor  # (C + 1,) the probability that a context leaves; contexts are the first C nodes
    first: Tensor  # (C + 1,) where the nodes begin that continue a context
    counts: Tensor  # (M,) what the shares are made of: how often each string was seen, or after how many different symbols

    def to(self, device: torch.device) -> Tree:
        """Return the tree on a device."""
        return Tree(*(part.to(device) if isinstance(part, Tensor) else part for part in self))  # type: ignore[arg-type]

    def find(self, context: Tensor, code: Tensor) -> Tensor:
        """Return the node of a context followed by a code; -1 where there is no such node, or no context."""
        key = context * (self.size + 1) + code
        node = torch.searchsorted(self.key, key).clamp_(max=len(self.key) - 1)
        return node.where(self.key[node] == key, -1)

    def mixed(self, p: Tensor, context: Tensor) -> Tensor:
        """Return the part of the probability after this context that comes from shorter contexts, whose probability is p."""
        weight = self.weight[context]
        return weight * (p if self.interpolates else p.where(weight == 1, 1 / self.size))

    def advance(self, node: Tensor, code: Tensor) -> Tensor:
        """Return the longest context (n,) after one more code (n,)."""
        longer = self.find(node, code)
        while bool((longer < 0).any()):
            node = self.suffix[node].where(longer < 0, node)
            longer = self.find(node, code)
        return longer.where(longer < len(self.weight) - 1, self.suffix[longer])

    def probabilities(self, node: Tensor) -> Tensor:
        """Return the probability of every symbol after contexts (n,): (n, V)."""
        chain = []
        while bool((node >= 0).any()):
            chain.append(node)
            node = self.suffix[node].where(node > 0, -1)
        p = torch.full((len(node), self.size + 1), 1 / self.size, dtype=torch.float64, device=node.device)
        for context in reversed(chain):
            p = self.mixed(p, context[:, None])
            count = (self.first[context + 1] - self.first[context]).clamp(min=0)
            row = torch.arange(len(node), device=node.device).repeat_interleave(count)
            ahead = torch.arange(len(row), device=node.device) - (count.cumsum(0) - count)[row]
            after = self.first[context][row] + ahead
            p[row, self.key[after] % (self.size + 1)] += self.share[after]
        return p[:, 1:]


def grow(words: Tensor, counts: Tensor, size: int, order: int, begins: bool, smoothing: str, k: float) -> Tree:
    """Return the tree of `tallied` n-grams.

    Args:
        words, counts: n-grams, (N, words) and (N,).
        size: V.
        order: symbols in the longest context.
        begins: whether the beginning of a sequence is a context like a symbol, or unknown.
        smoothing, k: from counts to probabilities. Kneser-Ney's counts of strings shorter than the longest are of the different
            symbols on their left.

    Raises:
        ValueError: the n-grams are not those of any sequences.
    """
    lengths = levels(words, counts, size, order, begins)
    device, base = words.device, size + 1
    keys = [torch.full((1,), torch.iinfo(torch.long).min, device=device)]
    suffixes = [torch.zeros(1, dtype=torch.long, device=device)]
    shares, weights = [torch.zeros(1, dtype=torch.float64, device=device)], []
    tallies = [torch.zeros(1, dtype=torch.long, device=device)]
    place = torch.zeros(1, dtype=torch.long, device=device)  # the number in the tree of every node of the level below
    start, below = 0, 1  # where the level below begins in the tree, and how many nodes it has
    for level in lengths:
        key, order_of_keys = (place[level.context] * base + level.newest).sort()
        count = level.left if smoothing == "kneser-ney" and level is not lengths[-1] else level.count
        tallies.append(count[order_of_keys])
        share, weight = SMOOTHINGS[smoothing](tallies[-1], key // base - start, below, size, k)
        keys.append(key)
        suffixes.append(place[level.suffix][order_of_keys])
        shares.append(share)
        weights.append(weight)
        start, below = start + below, len(key)
        numbers = torch.arange(start, start + below, device=device)
        place = torch.empty_like(numbers).scatter_(0, order_of_keys, numbers)
    none = torch.zeros(1, dtype=torch.float64, device=device)
    key, weight = torch.cat(keys), torch.cat([*weights, none + 1])
    first = torch.searchsorted(key, torch.arange(len(weight), device=device) * base)
    share = torch.cat([*shares, none])
    suffix, count = torch.cat(suffixes), torch.cat(tallies)
    return Tree(size, len(lengths) - 1, smoothing != "add-k", key, suffix, share, weight, first, count)


class CodeSampler:
    """Draws codes one after another, in plain Python: a step of one sequence is too small for tensors.

    The distribution is a mixture: with the probability that its own symbols have, the longest context decides; else its
    suffix does, and in the end all symbols are alike. So a draw needs one uniform number and a few bisections.
    """

    def __init__(self, tree: Tree, random: Random) -> None:
        tree = tree.to(torch.device("cpu"))
        self.tree, self.random = tree, random.random
        tables = (tree.key, tree.suffix, tree.weight, tree.first, tree.share.cumsum(0))
        self.key, self.suffix, self.weight, self.first, self.upto = (table.numpy().data for table in tables)

    def advance(self, node: int, code: int) -> int:
        """Return the longest context after one more code, as `Tree.advance` does."""
        key, first, base = self.key, self.first, self.tree.size + 1
        while True:
            target, end = node * base + code, first[node + 1]
            longer = bisect_left(key, target, first[node], end)
            if longer < end and key[longer] == target:
                return longer if longer < len(first) - 1 else self.suffix[longer]
            node = self.suffix[node]

    def draw(self, node: int, steps: int, ends: Sequence[int]) -> list[int]:
        """Draw at most `steps` codes from a context on; a code of `ends` is the last."""
        key, suffix, weight, first, upto = self.key, self.suffix, self.weight, self.first, self.upto
        size, interpolates, random, advance = self.tree.size, self.tree.interpolates, self.random, self.advance
        base, contexts = size + 1, len(first) - 1
        codes: list[int] = []
        for _ in range(steps):
            context, u, place = node, random(), -1
            while u < (left := weight[context]):
                u /= left
                if context == 0 or not (interpolates or left == 1):
                    code = 1 + int(u * size)
                    break
                context = suffix[context]
            else:
                begin, last = first[context], first[context + 1] - 1
                before = upto[begin - 1]
                aim = before + (u - left) / (1 - left) * (upto[last] - before)
                place = bisect_right(upto, aim, begin, last)
                code = key[place] - context * base
            codes.append(code)
            if code in ends:
                break
            if context != node or place < 0:  # what was drawn after a shorter context may have been seen after a longer one
                node = advance(node, code)
                continue
            node = place if place < contexts else suffix[place]
        return codes
