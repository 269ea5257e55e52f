"""Trees of dependence between columns: mutual informations, the tree of the greatest, and messages along it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.errors import DataError
from genus.random import rng

__all__ = ["StateTree", "mutual_informations", "spanning_tree"]

# Multiplications, and pairs of values, at most, that pairs of columns are counted by, in some ten seconds of a core. Of more
# rows some are taken at random.
OPERATIONS, PAIRS = 1e12, 2**32
BLOCK, ROWS = 2048, 4096  # states, and rows, that are counted together, at most
AT_ONCE = 2**24  # numbers of these, with all states, at most: two such tables of single precision are held at once
FEW = 8  # states of a column on average, up to which matrix products count pairs sooner
LOGS = 2**21  # numbers whose logarithms are taken together
SUM_SLACK = 1e-4  # by which a row of a table that was read may sum to another number than 1


def mutual_informations(state: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the mutual information of every two columns, less what independent columns of so few rows would have.

    Args:
        state: (N, D), the states of rows, integers.
        sizes: (D,), how many states each column has.

    Returns:
        (D, D) nats in double precision; the diagonal has no meaning.

    >>> mutual_informations(torch.tensor([[0, 0], [1, 1]] * 50), [2, 2])[0, 1].round(decimals=3)
    tensor(0.6880, dtype=torch.float64)
    """
    starts = np.cumsum([0, *sizes])
    total, d = int(starts[-1]), len(sizes)
    most = max(1, int(OPERATIONS / total**2 if total <= FEW * d else 2 * PAIRS / d**2))
    if len(state) > most:
        state = state[torch.randperm(len(state), generator=rng())[:most].to(state.device)]
    first = torch.as_tensor(starts[:-1], device=state.device)
    column = torch.repeat_interleave(torch.arange(d), torch.tensor(sizes)).to(state.device)
    n, blocks = len(state), state.split(min(ROWS, max(1, AT_ONCE // total)))
    single = torch.zeros(total, dtype=torch.float64, device=state.device)
    for rows in blocks:
        single += torch.bincount((rows + first).flatten(), minlength=total)
    seen = torch.zeros(d, dtype=torch.float64, device=state.device).index_add_(0, column, (single > 0).double())
    entropy = torch.zeros_like(seen).index_add_(0, column, torch.special.xlogy(single, single))
    both = torch.zeros(d, d, dtype=torch.float64, device=state.device)
    whole = torch.arange(n + 1, dtype=torch.float64, device=state.device)
    of_count = torch.special.xlogy(whole, whole)
    for columns, first_state, counts in _pairs(state, starts, first, column):
        some = max(1, LOGS // counts.shape[1])
        of = column[first_state:]
        for part, where in zip(counts.split(some), columns.split(some), strict=True):
            entropies = torch.zeros(len(part), d, dtype=torch.float64, device=state.device)
            entropies.index_add_(1, of, of_count[part.long()])
            both.index_add_(0, where, entropies)
    both = both.triu(1) + both.triu(1).T
    chance = (seen - 1)[:, None] * (seen - 1) / (2 * n)
    return (both - entropy[:, None] - entropy) / n + np.log(n) - chance


def _pairs(state: Tensor, starts: np.ndarray, first: Tensor, column: Tensor) -> Iterator[tuple[Tensor, int, Tensor]]:
    """Yield how often states of some columns stand beside states of those columns and of all later ones.

    Args:
        state: (N, D), the states of rows.
        starts: (D + 1,), the first state of every column among those of all, and how many there are.
        first: (D,), these without the last.
        column: the column of every state.

    Yields:
        The column (S,) of each of some states; the first state that they are counted with, their own columns' first; and the
        counts (S, total - that). Of columns of few states many are counted at once, by matrix products; of others each by
        itself, in steps that do not grow with the number of states.
    """
    sizes, total, device = np.diff(starts), len(column), state.device
    if total > FEW * len(sizes):
        for i, size in enumerate(sizes.tolist()):
            at, width = int(starts[i]), total - int(starts[i])
            counts = torch.zeros(size * width, dtype=torch.long, device=device)
            for rows in state.split(max(1, LOGS // (len(sizes) - i))):
                own = rows[:, i : i + 1].long() * width - at
                counts += torch.bincount((own + (rows[:, i:] + first[i:])).flatten(), minlength=size * width)
            yield column[at : at + size], at, counts.view(size, width)
        return
    at, together = 0, max(1, AT_ONCE // total)
    while at < len(sizes):
        end = max(at + 1, int(np.searchsorted(starts, starts[at] + min(BLOCK, together), side="right")) - 1)
        low, high = int(starts[at]), int(starts[end])
        counts = torch.zeros(high - low, total - low, device=device)
        for rows in state[:, at:].split(min(ROWS, max(1, AT_ONCE // total))):
            whole = torch.zeros(len(rows), total - low, device=device).scatter_(1, rows + (first[at:] - low), 1.0)
            counts += whole[:, : high - low].T @ whole
        yield column[low:high], low, counts
        at = end


def spanning_tree(weight: Tensor) -> Tensor:
    """Return the parents (D,) in the tree that joins D columns with the greatest sum of weights (D, D), -1 at the root.

    The root is the column of the greatest sum, so that the tree is not deep.

    >>> spanning_tree(torch.tensor([[0.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]])).tolist()
    [2, 2, -1]
    """
    w = weight.cpu().numpy().copy()
    np.fill_diagonal(w, 0.0)
    root = int(w.sum(1).argmax())
    parent, nearest, waiting = np.full(len(w), -1), np.full(len(w), root), np.arange(len(w)) != root
    while waiting.any():  # Prim's algorithm: the column that depends most on one in the tree comes next
        i = int(np.where(waiting, w[np.arange(len(w)), nearest], -np.inf).argmax())
        waiting[i], parent[i] = False, nearest[i]
        nearest = np.where(waiting & (w[:, i] > w[np.arange(len(w)), nearest]), i, nearest)
    return torch.as_tensor(parent)


class StateTree(nn.Module):
    """Hold a tree of categorical variables, p(z) = p(z_root) prod_i p(z_i | z_parent(i)), and answer by messages along it.

    Evidence about a variable is the likelihood of what is known of it under each of its states; messages from the leaves to the
    root sum over all states of all variables, exactly (Pearl 1988). They are scaled on the way, so that none vanishes.

    Args:
        variables: D, how many there are.
        width: S, the most states of one; a variable with fewer has probability 0 in the others.
    """

    parent: Tensor  # (D,) long, -1 at the root
    table: Tensor  # (D, S, S): of each variable p(own state | parent's state); all rows of the root are the same

    def __init__(self, variables: int, width: int) -> None:
        super().__init__()
        self.register_buffer("parent", torch.arange(variables) - 1)
        self.register_buffer("table", torch.full((variables, width, width), 1 / width, dtype=torch.float64))
        self._prepare()

    def take(self, parent: Tensor, table: Tensor) -> None:
        """Set the parents (D,) and the tables (D, S, S)."""
        self.parent.copy_(parent)
        self.table.copy_(table)
        self._prepare()

    def _prepare(self) -> None:
        """Lay out the parents, and an order in which each variable comes after its own."""
        self.parents = self.parent.tolist()
        below: list[list[int]] = [[] for _ in self.parents]
        for i, p in enumerate(self.parents):
            if p >= 0:
                below[p].append(i)
        self.order = [i for i, p in enumerate(self.parents) if p < 0]
        for i in self.order:
            self.order.extend(below[i])

    def check(self) -> None:
        """Raise DataError where the buffers are no such tree, as of a file that was tampered with."""
        parents = self.parent.tolist()
        if parents.count(-1) != 1 or min(parents) < -1 or max(parents) >= len(parents):
            raise DataError("A tree of columns has one root, and a column as the parent of each other one.")
        self._prepare()
        if len(self.order) < len(parents):
            raise DataError("The columns of a tree depend on each other in a circle.")
        root, sums = self.table[self.order[0]], self.table.sum(-1)
        if not bool((self.table >= 0).all()) or not bool(((sums - 1).abs() < SUM_SLACK).all()) or bool((root != root[0]).any()):
            raise DataError("The rows of a table must be probabilities that sum to 1.")

    # -- answering ----------------------------------------------------------------------------------------------------

    def collect(self, evidence: Sequence[Tensor | None]) -> tuple[list[Tensor | None], Tensor | None]:
        """Send messages from the leaves of the tree to its root.

        Args:
            evidence: of each variable the likelihood (B, S) under each of its states, None where nothing is known of it.

        Returns:
            For each variable the likelihood of all that is known of it and below, (B, S), each row scaled by a number, None
            where nothing is known; and the log-likelihood of everything (B,) in nats, None where nothing is known at all.
        """
        up, log_likelihood = list(evidence), None
        for i in reversed(self.order):
            value = up[i]
            if value is None:
                continue
            value, log_scale = rescaled(value)
            log_likelihood = log_scale if log_likelihood is None else log_likelihood + log_scale
            up[i], p = value, self.parents[i]
            if p < 0:
                log_likelihood = log_likelihood + (value @ self.table[i, 0]).log()
                continue
            message = value @ self.table[i].T
            known = up[p]
            if known is None:
                up[p] = message
            else:
                up[p], log_scale = rescaled(known * message)
                log_likelihood = log_likelihood + log_scale
        return up, log_likelihood

    def draw(self, up: Sequence[Tensor | None], n: int) -> Tensor:
        """Draw the states of all variables given what `collect` found, (n, D)."""
        out = torch.zeros(n, len(self.parents), dtype=torch.long, device=self.table.device)
        for i in self.order:
            p, known = self.parents[i], up[i]
            if p < 0 and known is None:
                weight = self.table[i, 0].expand(n, -1)
            else:
                weight = self.table[i][out[:, p] if p >= 0 else torch.zeros_like(out[:, 0])]
                weight = weight if known is None else weight * known
            out[:, i] = draw_index(weight)
        return out


def rescaled(value: Tensor) -> tuple[Tensor, Tensor]:
    """Return likelihoods (B, S) divided by their greatest, and the log of that (B,)."""
    scale = value.amax(1, keepdim=True).clamp(min=torch.finfo(value.dtype).tiny)
    return value / scale, scale[:, 0].log()


def draw_index(weight: Tensor) -> Tensor:
    """Draw an index for each row of weights (n, S), (n,): by one uniform number each."""
    total = weight.cumsum(1)
    u = torch.rand(len(weight), 1, dtype=weight.dtype, device=weight.device, generator=rng(weight.device)) * total[:, -1:]
    found = torch.searchsorted(total, u, right=True)[:, 0]
    last = (weight > 0).long().mul(torch.arange(1, weight.shape[1] + 1, device=weight.device)).amax(1) - 1
    return torch.minimum(found, last.clamp(min=0))


def one_hot(state: Tensor, width: int) -> Tensor:
    """Return states (B,) as evidence (B, width) that leaves no doubt."""
    return F.one_hot(state, width).double()
