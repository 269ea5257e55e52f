"""The values of every column as a few states, and the density of a value within its state."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genus.errors import DataError
from genus.models.leaves import ColumnLeaves, Located
from genus.random import rng
from genus.space import Category, Space

__all__ = ["ColumnStates", "smoothed", "smoothed_apart"]

STRENGTHS = (0.05, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 256.0, 1024.0)  # rows' worth of a prior, to choose from
SMOOTH = (0.0, 0.5, 1.0)  # the shares of the slopes within bins to choose from
CHOSEN_BY = 2**18  # rows of many more that choose one: a mean over so many tells them apart
LOCATED = 2**19  # values that are located at a time: of 48,000 rows of 784 pixels all at once took two gigabytes
GROWTH, POWER = 1.2, 0.4  # n rows tell GROWTH * n^POWER states of a number apart


class ColumnStates(nn.Module):
    """Divide the values of every column into at most `states` states, whose dependence a family models.

    The leaves of a column (`ColumnLeaves`) are its levels, atoms, missing values, the values of a narrow lattice and the bins
    of a number. Where they are more than the states, neighbours in size share one, and so do the rarest levels of a category; a
    missing value has a state of its own. Which leaf a value of a state is, and where in the leaf it lies, does not depend on
    other columns; so the density of a row is the probability of its states times a density within each, and masses stay 1.

    Args:
        space: of the columns.
        states: the most states of a column; fewer rows have fewer of a number.
        bins: the most bins of a number.
    """

    state: Tensor  # (leaves of all columns,) the state of each
    log_leaf: Tensor  # (leaves of all columns,) the log of the share of each in its column, in nats

    def __init__(self, space: Space, states: int, bins: int = 64) -> None:
        super().__init__()
        self.space, self.states = space, states
        keys: dict[str, int] = {}
        which, parts = list[int](), list[ColumnLeaves]()
        for kind in space.kinds:
            leaves, key = ColumnLeaves(Space([kind]), bins), json.dumps(kind.to_json())
            if leaves.has_rest or key not in keys:  # columns without bins of their own share what tells their leaves apart
                keys[key] = len(parts)
                parts.append(leaves)
            which.append(keys[key])
        self.which, self.parts = which, nn.ModuleList(parts)
        self.width = max(min(states, leaves.count + (bins if leaves.has_rest else 0)) for leaves in self._leaves)
        self.register_buffer("state", torch.zeros(0, dtype=torch.long))
        self.register_buffer("log_leaf", torch.zeros(0, dtype=torch.float64))
        self._divide([np.ones(leaves.count) for leaves in self._leaves], 0)

    @property
    def _leaves(self) -> list[ColumnLeaves]:
        return [self.parts[k] for k in self.which]  # type: ignore[misc]

    @property
    def _starts(self) -> list[int]:
        """Return the first leaf of every column among those of all, and how many there are."""
        return np.cumsum([0, *(leaves.count for leaves in self._leaves)]).tolist()

    # -- what is learned ----------------------------------------------------------------------------------------------

    def measure(self, x: Tensor) -> None:
        """Set leaves and states from training rows x (N, *shape)."""
        flat = x.detach().flatten(1).cpu()
        for i, leaves in enumerate(self._leaves):
            if leaves.has_rest:
                leaves.measure(flat[:, i : i + 1], np.zeros(0, dtype=np.int64))
        self._divide([self._counts(i, flat[:, i : i + 1]) for i in range(self.space.dim)], len(x))
        some = flat[:: max(1, len(flat) // CHOSEN_BY)]  # spread evenly, since rows may be sorted
        for i, leaves in enumerate(self._leaves):
            if leaves.has_rest:
                located, gains = self._locate(i, some[:, i : i + 1]), []
                for smooth in SMOOTH:
                    leaves.smooth.fill_(smooth)
                    gains.append(leaves.log_within(located, self._slopes(i, located.bin)).sum())
                leaves.smooth.fill_(SMOOTH[int(np.argmax(gains))])

    def _divide(self, counts: Sequence[np.ndarray], rows: int) -> None:
        """Set states and shares by how many of so many rows each leaf has."""
        states, log_leaf = [], []
        most = max(2, min(self.states, round(GROWTH * rows**POWER)))
        for kind, leaves, count in zip(self.space.kinds, self._leaves, counts, strict=True):
            if isinstance(kind, Category):
                state = most_frequent(count, self.states)
            else:
                present = len(count) - kind.has_missing  # a missing value is the last leaf
                state = runs(count[:present], most - kind.has_missing)
                state = np.append(state, state.max(initial=-1) + 1) if kind.has_missing else state
            states.append(state)
            equal = torch.full((len(count),), -math.log(len(count)), dtype=torch.float64)
            log_leaf.append(self._log_shares(leaves, state, count) if rows else equal)
        self.state, self.log_leaf = torch.as_tensor(np.concatenate(states)), torch.cat(log_leaf)
        self._prepare()

    @staticmethod
    def _log_shares(leaves: ColumnLeaves, state: np.ndarray, count: np.ndarray) -> Tensor:
        """Return the logs of the shares (leaves,) of a column by how many rows each leaf has: of its state, times within it."""
        of_state, number = (torch.as_tensor(np.bincount(state, w)).double() for w in (count, np.ones(leaves.count)))
        missing = torch.as_tensor(only_blanks(leaves, state))[None]
        mass = smoothed_apart(of_state[None, None], torch.ones_like(of_state)[None, None] / len(of_state), missing)[0, 0]
        leaf = torch.as_tensor(count, dtype=torch.float64)[None, None]
        share = smoothed(leaf, 1 / number[state][None, None], of_state[state][None, None])[0, 0]
        return (mass[state] * share).log()

    def _prepare(self) -> None:
        """Lay out, for each column, states of leaves, log-shares of leaves in the column and in their state."""
        starts = self._starts
        state, log_leaf = self.state.cpu().numpy(), self.log_leaf.cpu().numpy()
        self._state = [state[a:b] for a, b in pairwise(starts)]
        self._log_leaf = [log_leaf[a:b] for a, b in pairwise(starts)]
        self.sizes = [int(state.max()) + 1 for state in self._state]
        self._mass, self._log_share = [], []
        for state, log_leaf, size in zip(self._state, self._log_leaf, self.sizes, strict=True):
            mass = np.bincount(state, np.exp(log_leaf), size)
            self._mass.append(mass)
            self._log_share.append(log_leaf - np.log(mass)[state])

    def shares(self) -> Tensor:
        """Return the share of every state of each column, (D, width), 0 beyond the column's states."""
        out = torch.zeros(self.space.dim, self.width, dtype=torch.float64)
        for i, mass in enumerate(self._mass):
            out[i, : len(mass)] = torch.as_tensor(mass / mass.sum())
        return out

    def missing(self) -> Tensor:
        """Return which state of each column means a missing value and nothing else, (D, width)."""
        out = torch.zeros(self.space.dim, self.width, dtype=torch.bool)
        for i, (leaves, state) in enumerate(zip(self._leaves, self._state, strict=True)):
            out[i, : self.sizes[i]] = torch.as_tensor(only_blanks(leaves, state))
        return out

    def check(self) -> None:
        """Raise DataError where the buffers are no division of these columns, as of a file that was tampered with."""
        starts = self._starts
        if len(self.state) != starts[-1] or len(self.log_leaf) != starts[-1]:
            raise DataError(f"There must be a state and a share for each of {starts[-1]} leaves.")
        if not bool(self.log_leaf.isfinite().all()) or float(self.log_leaf.abs().max()) > 500:
            raise DataError("The log of the share of a leaf is no number, or out of range.")
        for a, b in pairwise(starts):
            states = self.state[a:b].unique().tolist()
            if states != list(range(len(states))) or len(states) > self.width:
                raise DataError(f"The states of a column are not numbered one by one, up to {self.width}.")
        self._prepare()

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Read any number of leaves; `check` says whether they are those of the columns, whose parts are read later."""
        for name in ("state", "log_leaf"):
            tensor, old = state_dict.get(prefix + name), self.get_buffer(name)
            if tensor is not None and tensor.ndim == 1 and tensor.dtype.is_floating_point == old.is_floating_point():
                setattr(self, name, old.new_zeros(len(tensor)))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self._prepare()
        return self

    # -- where values lie ---------------------------------------------------------------------------------------------

    def locate(self, x: Tensor, columns: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the states of values, and the log of the density of each within its state.

        Args:
            x: the values of some columns, (B, len(columns)) in data units.
            columns: which they are.

        Returns:
            States (B, len(columns)) long, and the sum over the columns of the log-densities (B,) in nats.
        """
        x = x.detach().cpu()
        states, within = np.zeros(x.shape, dtype=np.int64), np.zeros(len(x))
        rows = max(1, LOCATED // max(len(columns), 1))
        for at in range(0, len(x), rows):
            part = slice(at, at + rows)
            self._locate_rows(x[part], columns, states[part], within[part])
        return torch.as_tensor(states), torch.as_tensor(within)

    def _locate_rows(self, x: Tensor, columns: Sequence[int], states: np.ndarray, within: np.ndarray) -> None:
        """Write what `locate` returns of some rows into states (n, len(columns)) and within (n,), which hold zeros."""
        for k, leaves in enumerate(self._of_parts(columns)):
            if len(leaves) and not self.parts[k].has_rest:
                found = self.parts[k].locate(x[:, leaves].reshape(-1, 1)).leaf.reshape(len(x), len(leaves))  # type: ignore[operator]
                for j, place in enumerate(leaves):
                    states[:, place] = self._state[columns[place]][found[:, j]]
                    if self.sizes[columns[place]] < len(self._state[columns[place]]):
                        within += self._log_share[columns[place]][found[:, j]]
            for place in leaves if self.parts[k].has_rest else []:
                i = columns[place]
                at = self._locate(i, x[:, place : place + 1])
                states[:, place] = self._state[i][at.leaf]
                within += self._log_share[i][at.leaf] + self._leaves[i].log_within(at, self._slopes(i, at.bin))

    def _of_parts(self, columns: Sequence[int]) -> list[list[int]]:
        """Return for each part the places among `columns` of the columns that it divides."""
        out: list[list[int]] = [[] for _ in self.parts]
        for place, i in enumerate(columns):
            out[self.which[i]].append(place)
        return out

    def _counts(self, i: int, x: Tensor) -> np.ndarray:
        """Return how many of the values x (n, 1) of column i lie in each of its leaves."""
        size = self._leaves[i].count
        return np.sum([np.bincount(self._locate(i, part).leaf, minlength=size) for part in x.split(LOCATED)], axis=0)

    def _locate(self, i: int, x: Tensor) -> Located:
        return self._leaves[i].locate(x)

    def _slopes(self, i: int, which: np.ndarray) -> np.ndarray:
        """Return the slopes of the lines within the bins which (n,) of column i, by the shares of the bins on either side."""
        leaves = self._leaves[i]
        return leaves.slopes(which, self._log_leaf[i][leaves.neighbours(np.maximum(which, 0))])

    def draw(self, state: Tensor, columns: Sequence[int]) -> Tensor:
        """Draw values of some columns in states (n, len(columns)): (n, len(columns)) in data units."""
        out = torch.zeros(state.shape, dtype=torch.float64)
        for j, i in enumerate(columns):
            leaves, wanted = self._leaves[i], state[:, j].cpu().numpy()
            order = np.argsort(self._state[i], kind="stable")
            first = np.searchsorted(self._state[i][order], np.arange(self.sizes[i] + 1))
            total = np.concatenate([[0.0], np.exp(self._log_leaf[i][order]).cumsum()])
            below, above = total[first[wanted]], total[first[wanted + 1]]
            place = np.searchsorted(total, below + uniform(len(wanted)) * (above - below), side="right") - 1
            leaf = order[np.clip(place, first[wanted], first[wanted + 1] - 1)]
            slope = self._slopes(i, leaves.bins_of(leaf)) if leaves.has_rest else np.zeros(len(leaf))
            out[:, j] = leaves.draw(leaf, slope, uniform)[:, 0]
        return out


def smoothed(counts: Tensor, prior: Tensor, total: Tensor | None = None) -> Tensor:
    """Return the rows of tables as probabilities, drawn towards a prior by as many rows' worth as suits each table best.

    How many is the one of `STRENGTHS` under which every counted row is likeliest when it is left out of its table itself.

    Args:
        counts: (T, R, S), of T tables of R rows.
        prior: (T, 1 or R, S), of which the last dimension sums to 1.
        total: (T, R, S), of how many rows each count is a part, where rows of a table are not those of `counts`.

    Returns:
        (T, R, S); rows without counts are the prior.
    """
    total = counts.sum(-1, keepdim=True) if total is None else total
    best, chosen = (
        torch.full((len(counts),), -torch.inf, dtype=counts.dtype, device=counts.device),
        torch.ones_like(counts[:, 0, 0]),
    )
    for rows in STRENGTHS:
        log_p = ((counts - 1 + rows * prior) / (total - 1 + rows).clamp(min=1e-300)).clamp(min=1e-300).log()
        value = (counts * log_p).sum((1, 2))
        chosen = torch.where(value > best, rows, chosen)
        best = torch.maximum(best, value)
    strength = chosen[:, None, None]
    return (counts + strength * prior) / (total + strength)


def smoothed_apart(counts: Tensor, prior: Tensor, missing: Tensor) -> Tensor:
    """Return the rows of tables as probabilities, `smoothed` in two stages: missing or not, then which of the other states.

    Values may depend on nothing where blanks follow from another column, so that each stage has a weight of its own.

    Args:
        counts: (T, R, S), of T tables of R rows.
        prior: (T, 1 or R, S), of which the last dimension sums to 1.
        missing: (T, S), the state of each table that means a missing value; none of a table without one.

    Returns:
        (T, R, S); rows without counts are the prior.
    """
    blank = missing[:, None].to(counts)
    shares = [torch.stack([(part * blank).sum(-1), (part * (1 - blank)).sum(-1)], dim=-1) for part in (counts, prior)]
    first, present = smoothed(*shares), shares[1][..., 1:].clamp(min=1e-300)
    values = smoothed(counts * (1 - blank), prior * (1 - blank) / present)
    return first[..., :1] * blank + first[..., 1:] * values


def only_blanks(leaves: ColumnLeaves, state: np.ndarray) -> np.ndarray:
    """Return for each state (states,) whether the missing value is all that it holds, by the states (leaves,) of leaves."""
    several = leaves.kind.has_missing and leaves.count > 1  # in a column of nothing but blanks there is nothing to tell apart
    blank = np.arange(len(state)) == (leaves.blank if several else -1)
    return np.bincount(state, ~blank) == 0


def runs(counts: np.ndarray, most: int) -> np.ndarray:
    """Return the states (leaves,) of ordered leaves with so many rows: at most `most` runs of about equally many rows.

    >>> runs(np.array([5, 1, 1, 4, 1]), 3).tolist()
    [0, 1, 1, 2, 2]
    """
    if len(counts) <= most:
        return np.arange(len(counts))
    out, state, inside, left = np.zeros(len(counts), dtype=np.int64), 0, 0.0, float(counts.sum())
    for i, count in enumerate(counts):
        if inside > 0 and state < most - 1 and inside + count / 2 > left / (most - state):
            left -= inside
            state, inside = state + 1, 0.0
        out[i], inside = state, inside + count
    return out


def most_frequent(counts: np.ndarray, most: int) -> np.ndarray:
    """Return the states (levels,) of levels with so many rows: the most frequent have one each, all others one together.

    >>> most_frequent(np.array([1, 7, 2, 9]), 3).tolist()
    [2, 1, 2, 0]
    """
    if len(counts) <= most:
        return np.arange(len(counts))
    return np.minimum(np.argsort(np.argsort(-counts, kind="stable")), most - 1)


def uniform(n: int) -> np.ndarray:
    """Draw n numbers from 0 to 1."""
    return torch.rand(n, dtype=torch.float64, generator=rng()).numpy()
