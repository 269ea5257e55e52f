"""Rows as bytes, and sums of decision trees that ask about them, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genus.errors import DataError
from genus.space import Category, Space

__all__ = ["ByteCodes", "Forest"]

CUTS = 254  # places that tell the 255 bytes of a number apart, 0 being a missing one
WIDEST, PROBED = 2000, 20_000  # the most features, and about as many rows, whose principal component is looked for
FEW = 5.0  # rows' worth by which the mean of a level is drawn towards that of all
TREES, ROWS = 16, 1024  # summed together: what is made of them on the way stays in a processor's cache


class ByteCodes(nn.Module):
    """Write every column of a row as one byte, in which trees look for thresholds.

    A category is the rank of its level, of more than 256 levels a share of it; levels whose rows are alike in all that varies
    most stand next to each other, so that few thresholds tell groups of levels apart. A number is the rank of its value among
    cuts, 1 or more, and 0 where it is missing, so that one question tells missing values from others. After the columns come
    the sums of the space: numbers too, missing where a column of theirs is.

    Args:
        space: of the rows.

    >>> codes = ByteCodes(Space.measure(torch.tensor([[1.5], [2.5], [7.125]])))
    >>> codes.measure(torch.tensor([[1.5], [2.5], [7.125]]))
    >>> codes(torch.tensor([[2.5], [100.0]]))
    array([[2, 3]], dtype=uint8)
    """

    not_finite = MappingProxyType({"cuts": "inf"})

    cuts: Tensor  # (columns that are numbers + sums, CUTS) ascending; inf after the last
    ranks: Tensor  # (levels of all categories,) the place of each level among those of its column

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space
        self.numbers = [i for i, kind in enumerate(space.kinds) if not isinstance(kind, Category)]
        self.sums = [{space.index(name): factor for name, factor in one.items()} for one in space.sums]
        self.features = space.dim + len(self.sums)
        count = len(self.numbers) + len(self.sums)
        self.register_buffer("cuts", torch.full((count, CUTS), torch.inf, dtype=torch.float64))
        counts = [0 if i in self.numbers else kind.states for i, kind in enumerate(space.kinds)]
        self.starts = np.cumsum([0, *counts]).tolist()
        self.register_buffer("ranks", torch.cat([torch.arange(count) for count in counts]))

    def measure(self, x: Tensor) -> None:
        """Set the cuts, between all values (n, *shape) of a column where there are few, else at quantiles; rank levels."""
        self._rank(x)
        flat = x.flatten(1)
        numbers = (self._standard(i, flat[:, i]) for i in self.numbers)
        for j, values in enumerate(chain(numbers, (self._standard_sum(one, flat.T) for one in self.sums))):
            values = np.sort(values[~np.isnan(values)])
            distinct = np.unique(values)
            between = (distinct[1:] + distinct[:-1]) / 2
            if len(between) > CUTS:
                at = values[np.linspace(0, len(values), CUTS + 2)[1:-1].astype(int)]
                between = between[np.unique(np.searchsorted(distinct, at).clip(0, len(between) - 1))]
            self.cuts[j] = torch.inf
            self.cuts[j, : len(between)] = torch.as_tensor(between)

    def _rank(self, x: Tensor) -> None:
        """Rank the levels of each category by the mean of their rows' first principal component."""
        columns = [i for i, kind in enumerate(self.space.kinds) if isinstance(kind, Category) and kind.states > 2]
        if not columns or self.space.feature_dim > WIDEST:
            return
        x = x[:: max(1, len(x) // PROBED)].detach().cpu()
        f = self.space.features(x).double()
        f = ((f - f.mean(0)) / f.std(0, correction=0).clamp(min=1e-3)).clamp(-4, 4)  # rare levels must not lead
        component = f @ torch.linalg.eigh(f.T @ f)[1][:, -1]
        for i in columns:
            level, states = x.flatten(1)[:, i].long(), self.space.kinds[i].states
            total = torch.zeros(states, dtype=f.dtype).index_add_(0, level, component)
            mean = total / (torch.bincount(level, minlength=states) + FEW)
            self.ranks[self.starts[i] : self.starts[i + 1]] = mean.argsort(stable=True).argsort().to(self.ranks)

    def ranks_of(self, i: int) -> np.ndarray:
        """Return the ranks of the levels of column i; none of a number."""
        return self.ranks[self.starts[i] : self.starts[i + 1]].cpu().numpy()

    def forward(self, x: Tensor) -> np.ndarray:
        """Return rows x (n, *shape) as bytes (features, n)."""
        flat = x.detach().flatten(1).cpu()
        if not len(x):
            return self.none
        codes = np.empty((self.features, len(x)), dtype=np.uint8)
        for i in range(self.space.dim):
            codes[i] = self.column(i, flat[:, i])
        for s in range(len(self.sums)):
            self._put_sum(s, codes, flat.T)
        return codes

    def column(self, i: int, values: Tensor) -> np.ndarray:
        """Return the values (n,) of column i as bytes (n,)."""
        kind, numbers = self.space.kinds[i], self._standard(i, values)
        if isinstance(kind, Category):
            rank = self.ranks_of(i)[numbers.astype(np.intp)]
            return (rank if kind.states <= 256 else rank * 256 // kind.states).astype(np.uint8)
        return self._among_cuts(self.numbers.index(i), numbers)

    def put_sums(self, codes: np.ndarray, i: int, columns: Tensor) -> None:
        """Set the bytes (features, n) of the sums that column i is in, given the values (D, n) of the columns."""
        for s, one in enumerate(self.sums):
            if i in one:
                self._put_sum(s, codes, columns)

    def _put_sum(self, s: int, codes: np.ndarray, columns: Tensor) -> None:
        codes[self.space.dim + s] = self._among_cuts(len(self.numbers) + s, self._standard_sum(self.sums[s], columns))

    def _among_cuts(self, j: int, values: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(values), 0, 1 + np.searchsorted(self.cuts[j].cpu().numpy(), values)).astype(np.uint8)

    def _standard(self, i: int, values: Tensor) -> np.ndarray:
        """Return values (n,) of column i by its own scale, so that cuts do not depend on the unit; levels as they are."""
        kind = self.space.kinds[i]
        return (values.detach().double().cpu().numpy() - kind.loc) / kind.scale

    def _standard_sum(self, one: Mapping[int, float], columns: Tensor) -> np.ndarray:
        """Return a sum of the values (D, n) of columns by the widest of their scales, (n,)."""
        scale = max(abs(factor) * self.space.kinds[i].scale for i, factor in one.items())
        parts = [factor * self.space.kinds[i].scale / scale * self._standard(i, columns[i]) for i, factor in one.items()]
        return np.sum(parts, axis=0)

    @property
    def none(self) -> np.ndarray:
        """Return the bytes of no row."""
        return np.zeros((self.features, 0), dtype=np.uint8)

    def check(self) -> None:
        """Raise DataError where the cuts do not ascend."""
        if bool(self.cuts.isnan().any()) or bool((self.cuts[:, 1:] < self.cuts[:, :-1]).any()):
            raise DataError("The cuts between the values of a column must ascend.")
        for i in range(self.space.dim):
            if sorted(ranks := self.ranks_of(i).tolist()) != list(range(len(ranks))):
                raise DataError("The levels of a column must have different ranks.")


class Forest(nn.Module):
    """Hold boosters, each a number plus a sum of decision trees that ask about bytes, and sum them for many rows.

    Every tree is complete: below node k of a level are the nodes 2k and 2k + 1 of the next, so no child is stored, and whatever
    the arrays hold is a tree. A node asks whether a feature is above a threshold; where a tree ends early, a threshold of 255,
    which no byte is above, leads on. The sums are made by NumPy, on the processor, wherever the arrays are.

    Args:
        boosters: how many there are.
        features: how many bytes a row has.
        depth: the number of levels of every tree, 8 at most.

    >>> forest = Forest(boosters=1, features=2, depth=1)
    >>> forest.take([1], np.array([[1]]), np.array([[7]]), np.array([[-1.0, 2.0]]), np.zeros(1))
    >>> forest.sums(0, np.array([[0, 0], [7, 8]], dtype=np.uint8))  # two rows, whose second features are 7 and 8
    array([-1.,  2.])
    """

    feature: Tensor  # (T, 2^depth - 1) int32
    threshold: Tensor  # (T, 2^depth - 1) uint8
    value: Tensor  # (T, 2^depth): what the leaves add
    first: Tensor  # (boosters + 1,): the first tree of each booster, and the number of trees
    bias: Tensor  # (boosters,)

    def __init__(self, boosters: int, features: int, depth: int) -> None:
        super().__init__()
        self.boosters, self.features, self.depth = boosters, features, depth
        nodes = 2**depth - 1
        self.register_buffer("feature", torch.zeros(0, nodes, dtype=torch.int32))
        self.register_buffer("threshold", torch.zeros(0, nodes, dtype=torch.uint8))
        self.register_buffer("value", torch.zeros(0, nodes + 1))
        self.register_buffer("first", torch.zeros(boosters + 1, dtype=torch.long))
        self.register_buffer("bias", torch.zeros(boosters, dtype=torch.float64))
        self._arrays: tuple[np.ndarray, ...] | None = None  # of the same numbers, as the sums go through them

    def take(
        self, counts: Sequence[int], feature: np.ndarray, threshold: np.ndarray, value: np.ndarray, bias: np.ndarray
    ) -> None:
        """Replace all boosters.

        Args:
            counts: how many trees each booster has.
            feature, threshold: of all nodes of all trees, (T, 2^depth - 1), level after level.
            value: of all leaves, (T, 2^depth).
            bias: of every booster.
        """
        self.boosters = len(counts)
        found = {"feature": feature, "threshold": threshold, "value": value, "first": np.cumsum([0, *counts]), "bias": bias}
        for name, array in found.items():
            old = self.get_buffer(name)
            setattr(self, name, torch.as_tensor(np.asarray(array)).to(old.device, old.dtype))
        self.check()

    def check(self) -> None:
        """Raise DataError where the arrays are no forest of so many boosters, features and levels."""
        self._arrays = None
        count, nodes = len(self.feature), 2**self.depth - 1
        shapes: dict[str, tuple[int, ...]] = {
            "feature": (count, nodes),
            "threshold": (count, nodes),
            "value": (count, nodes + 1),
        }
        shapes |= {"first": (self.boosters + 1,), "bias": (self.boosters,)}
        for name, shape in shapes.items():
            if tuple(self.get_buffer(name).shape) != shape:
                raise DataError(f"Trees need {name} of shape {shape}; got {tuple(self.get_buffer(name).shape)}.")
        if count and not (int(self.feature.min()) >= 0 and int(self.feature.max()) < self.features):
            raise DataError(f"A tree asks for a feature that does not exist; there are {self.features}.")
        if int(self.first[0]) != 0 or int(self.first[-1]) != count or bool((self.first.diff() < 0).any()):
            raise DataError(f"The {count} trees do not belong to the {self.boosters} boosters.")
        if not bool(self.value.isfinite().all()) or not bool(self.bias.isfinite().all()):
            raise DataError("A leaf of a tree is no finite number.")

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Read any number of trees, and of boosters; the model around them knows how many these should be."""
        for name in ("feature", "threshold", "value", "first", "bias"):
            tensor, old = state_dict.get(prefix + name), self.get_buffer(name)
            if tensor is not None and tensor.ndim == old.ndim and tensor.dtype.is_floating_point == old.is_floating_point():
                setattr(self, name, old.new_zeros(tensor.shape))
        self.boosters = len(self.bias)
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.check()

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._arrays = None
        return super()._apply(fn, recurse)

    def sums(self, booster: int, codes: np.ndarray) -> np.ndarray:
        """Return one booster's number plus the sum of its trees.

        Args:
            booster: its number.
            codes: rows of bytes, (features, B).

        Returns:
            (B,) in double precision.
        """
        feature, threshold, value, first, bias = self._arrays or self._laid_out()
        out = np.full(codes.shape[1], bias[booster])
        for row in range(0, codes.shape[1] if first[booster] < first[booster + 1] else 0, ROWS):
            part = np.ascontiguousarray(codes[:, row : row + ROWS])
            for at in range(first[booster], first[booster + 1], TREES):
                trees = slice(at, min(at + TREES, first[booster + 1]))
                leaf = leaves(part, feature[trees], threshold[trees], self.depth)
                leaf += np.arange(len(leaf))[:, None] * value.shape[1]
                out[row : row + ROWS] += value[trees].ravel().take(leaf).sum(0)
        return out

    def _laid_out(self) -> tuple[np.ndarray, ...]:
        self._arrays = tuple(
            self.get_buffer(name).cpu().numpy().astype(dtype)
            for name, dtype in (
                ("feature", np.intp),
                ("threshold", np.uint8),
                ("value", float),
                ("first", int),
                ("bias", float),
            )
        )
        return self._arrays


def leaves(codes: np.ndarray, feature: np.ndarray, threshold: np.ndarray, depth: int) -> np.ndarray:
    """Return the leaf, 0 to 2^depth - 1, that each row comes to in each tree, (T, B).

    All nodes are asked, a node of all trees at once, and of the answers those on the way are chosen by exclusive ors of bytes:
    a processor does dozens of these at a time, and follows a path one step at a time.

    Args:
        codes: (features, B) uint8.
        feature, threshold: (T, 2^depth - 1).
        depth: the number of levels.
    """
    asked = codes.take(feature.T.ravel(), axis=0)
    above = np.greater(asked, threshold.T.ravel()[:, None]).view(np.uint8).reshape(-1, len(feature), codes.shape[1])
    leaf, masks = above[0].astype(np.intp), [np.negative(above[0])]
    for level in range(1, depth):
        answers = above[2**level - 1 : 2 ** (level + 1) - 1]
        for mask in masks:  # the first answer says which half of the level, the next which quarter
            half = len(answers) // 2
            other = answers[:half] ^ answers[half:]
            other &= mask
            other ^= answers[:half]
            answers = other
        masks.append(np.negative(answers[0]))
        leaf <<= 1
        leaf |= answers[0]
    return leaf
