"""Chow-Liu: a tree of dependences between columns."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genus.errors import DataError
from genus.ladder import Rest, WithContext
from genus.models.circuit import TreeCircuit
from genus.models.dependence import mutual_informations, one_hot, spanning_tree
from genus.models.states import smoothed_apart
from genus.random import isolated
from genus.space import Space

__all__ = ["ChowLiu"]

COUNTED = 2**18  # cells of tables smoothed together
BLOCK = 2**16  # rows of a stream that are counted together


class ChowLiu(TreeCircuit, name="chow-liu"):
    """Multiply conditionals along a tree of columns: p(x) = p(x_root) prod_i p(x_i | x_parent(i)) (Chow and Liu 1968).

    Of all trees the one with the greatest sum of mutual informations is the likeliest; it is found in closed form, in seconds.
    Every column has a few states, see `ColumnStates`, and what depends on the parent is the state: `smoothed` tables are
    counts, drawn towards the column's own shares by as many rows' worth as suits each table, where blanks have a weight apart
    from that of values. Any columns are left out, or drawn given any others, exactly, and so a context may hold any columns.

    Args:
        states: the most states of a column; of a number fewer where rows are few.

    >>> import genus
    >>> data = genus.read("iris")
    >>> model = ChowLiu(data.space)
    >>> _ = genus.fit(model, data, seed=0, progress=False)
    >>> model.log_prob(data.x).shape
    torch.Size([150])
    """

    streams = True
    info = TreeCircuit.info.replace(
        title="a tree of dependences",
        formula="p(x) = ∏ᵢ p(xᵢ | x of the parent of i), the best tree",
        good="tables of states: every marginal and conditional exact, fitted within seconds",
        bad="columns that depend on several others at once",
    )

    def __init__(self, space: Space, context: Space | None = None, states: int = 32) -> None:
        super().__init__(space, context, states)
        self.tree.take(self.tree.parent, self._shares()[:, None].expand_as(self.tree.table))

    @torch.no_grad()
    def learn(
        self,
        train: WithContext,
        validation: WithContext | None,
        budget: Callable[[], float],
        seed: int,
        rest: Rest | None = None,
    ) -> str:
        """Measure the states, find the tree and count its tables, these in all rows of a stream; see `Learned.learn`."""
        self._measure(*train)
        state, sizes, width = self._states(*train), self._sizes(), self.tree.table.shape[1]
        with isolated(seed, self):
            parent = spanning_tree(mutual_informations(state, sizes))
        shares, missing, counts = self._shares(), self._missing(), torch.zeros_like(self.tree.table)
        self._count(counts, state, parent)
        for block in rest(BLOCK) if rest is not None else ():
            if budget() <= 0:
                break
            self._count(counts, self._states(*block), parent)
        tables = torch.cat(
            [
                smoothed_apart(counts[part], shares[part][:, None], missing[part])
                for part in torch.arange(len(sizes)).split(max(1, COUNTED // width**2))
            ]
        )
        root = int((parent < 0).nonzero()[0])
        tables[root] = shares[root]
        self.tree.take(parent, tables)
        return "closed form"

    def _count(self, counts: Tensor, state: Tensor, parent: Tensor) -> None:
        """Add the states (N, D) of rows to the counts (D, S, S) of each column's given those of its parent."""
        width = counts.shape[1]
        for i, p in enumerate(parent.tolist()):
            both = state[:, max(p, 0)].long() * width * (p >= 0) + state[:, i]
            counts[i] += torch.bincount(both, minlength=width**2).view(width, width)

    def _evidence(self, i: int, state: Tensor) -> Tensor:
        return one_hot(state, self.tree.table.shape[1])

    def _draw_states(self, z: Tensor, i: int) -> Tensor:
        return z

    def _check_tables(self) -> None:
        beyond = [bool(self.tree.table[i, :, size:].any()) for i, size in enumerate(self._sizes())]
        if any(beyond):
            raise DataError("A table has a probability for a state that its column has not.")
