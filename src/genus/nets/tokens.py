"""Map coordinates to tokens, the vectors that a causal net takes, and its outputs to a distribution of each coordinate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from genus.nets.cells import Cells
from genus.nets.dense import linear
from genus.nets.heads import Coordinates, Head
from genus.nets.regression import LocScale
from genus.space import Category, Lattice, Parts, Space

__all__ = ["ColumnOutputs", "ColumnTokens", "Columns", "SeriesOutputs", "SeriesTokens", "SharedOutputs", "SharedTokens"]

NARROW = Lattice.NARROW  # a lattice of at most so many values is seen, and modelled, value by value


def modules_by_position(space: Space, order: Sequence[int], make: Callable[[Space], nn.Module]) -> nn.ModuleList:
    """Return a module for the coordinate at every position; coordinates of one kind share theirs."""
    made: dict[int, nn.Module] = {}
    for column in order:
        kind = space.kinds[column]
        if id(kind) not in made:
            made[id(kind)] = make(Space([kind]))
    return nn.ModuleList(made[id(space.kinds[column])] for column in order)


# -- one kind for all: sequences and images -------------------------------------------------------------------------------


class SharedTokens(nn.Module):
    """Map x (B, P), every element of one kind, to tokens (B, P, width): an embedding of cells, or a linear map of numbers.

    Args:
        space: a sequence, or anything whose coordinates share a kind.
        width: of the net.
        limit: the values of a lattice of at most so many have an embedding each.
        size: the standard deviation of the numbers in an embedding; by default width**-0.5, so that its length is about 1.
    """

    def __init__(self, space: Space, width: int, limit: int = NARROW, size: float | None = None) -> None:
        super().__init__()
        self.space = space.element
        self.cells = Cells(self.space, limit)
        self.embeds = not len(self.cells.rest)
        self.table: nn.Embedding | nn.Linear
        if self.embeds:
            self.table = nn.Embedding(max(1, self.cells.total), width)
            size = width**-0.5 if size is None else size
            nn.init.normal_(self.table.weight, std=size)
            if isinstance(kind := self.space.kinds[0], Lattice):
                near_(self.table.weight[: kind.size], size)
        else:
            self.table = nn.Linear(self.space.feature_dim, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens (B, P, width) of x (B, P) in data units."""
        if self.embeds:
            return self.table(self._cell(x))
        flat = x.reshape(-1, 1)
        return self.table(self.space.features(flat).to(self.table.weight.dtype)).unflatten(0, x.shape)

    def _cell(self, x: Tensor) -> Tensor:
        """Return the row of the table for every element of x (B, P), (B, P)."""
        kind = self.space.kinds[0]
        if isinstance(kind, Category):
            return x.long()
        if isinstance(kind, Lattice) and not kind.atoms:
            return ((x - kind.low) / kind.step).round().long()
        flat = x.reshape(-1, 1)
        return self.cells.index(flat, self.space.split(flat).state).view(x.shape)

    def at(self, i: int, x: Tensor) -> Tensor:
        """Return the token (B, width) of element i of every datum, x (B, 1)."""
        return self(x)[:, 0]


class SharedOutputs(nn.Module):
    """Map a net's outputs h (B, P, width) to the distributions of elements that share a kind.

    Args:
        space: a sequence, or anything whose coordinates share a kind.
        width: of the net.
        components: of every mixture.
        limit: the widest lattice that gets a softmax.
    """

    def __init__(self, space: Space, width: int, components: int = 10, limit: int = NARROW) -> None:
        super().__init__()
        self.head = Head(space.element, components, limit)
        self.linear = linear(width, self.head.width)
        spread_(self.linear, [self.head])

    def log_prob(self, h: Tensor, x: Tensor, unit: LocScale | None = None) -> Tensor:
        """Return the log-density of every element of x (B, P), (B, P), in nats, given the outputs h (B, P, width).

        `unit` has the location (B P, 1) and the scale by which mixtures are moved; None leaves them.
        """
        return self.head(self.linear(h).flatten(0, 1)).moved(unit).log_prob(x.reshape(-1, 1)).view(x.shape)

    def at(self, i: int, h: Tensor, unit: LocScale | None = None) -> Coordinates:
        """Return the distribution of the element at position i, given the output h (B, width) there, and the unit (B, 1)."""
        return self.head(self.linear(h)).moved(unit)


# -- several values a step: series ---------------------------------------------------------------------------------------


class SeriesTokens(nn.Module):
    """Map series x (B, P), C values a step, to tokens (B, P, width): of every kind, with an embedding of the place in a step.

    Args:
        space: of the series.
        width: of the net.
        limit, size: as of `SharedTokens`.
    """

    def __init__(self, space: Space, width: int, limit: int = NARROW, size: float | None = None) -> None:
        super().__init__()
        kinds = space.kinds[: space.period]
        self.singles = nn.ModuleList(SharedTokens(Space([kind]), width, limit, size) for kind in kinds)
        self.place = nn.Parameter(torch.randn(space.period, width) * (width**-0.5 if size is None else size))

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens (B, P, width) of x (B, P) in data units, which may end within a step."""
        period = len(self.place)
        tokens = [single(x[:, i::period]) + self.place[i] for i, single in enumerate(self.singles)]
        return interleaved(tokens, x.shape[1])

    def at(self, i: int, x: Tensor) -> Tensor:
        """Return the token (B, width) of element i of every datum, x (B, 1)."""
        i = i % len(self.place)
        return self.singles[i].at(0, x) + self.place[i]  # type: ignore[operator]


class SeriesOutputs(nn.Module):
    """Map a net's outputs h (B, P, width) to the distributions of the values of steps, each by a layer of its own.

    Args:
        space: of the series.
        width: of the net.
        components, limit: as of `SharedOutputs`.
    """

    def __init__(self, space: Space, width: int, components: int = 10, limit: int = NARROW) -> None:
        super().__init__()
        kinds = space.kinds[: space.period]
        self.singles = nn.ModuleList(SharedOutputs(Space([kind]), width, components, limit) for kind in kinds)

    def log_prob(self, h: Tensor, x: Tensor) -> Tensor:
        """Return the log-density of every element of x (B, P), (B, P), in nats, given the outputs h (B, P, width)."""
        period = len(self.singles)
        parts = [one.log_prob(h[:, i::period], x[:, i::period]) for i, one in enumerate(self.singles)]  # type: ignore[operator]
        return interleaved(parts, x.shape[1])

    def at(self, i: int, h: Tensor) -> Coordinates:
        """Return the distribution of the element at position i, given the output h (B, width) there."""
        return self.singles[i % len(self.singles)].at(0, h)  # type: ignore[operator]


def interleaved(parts: Sequence[Tensor], length: int) -> Tensor:
    """Return the values of C places, (B, steps, ...) each, step after step, (B, length, ...).

    >>> interleaved([torch.tensor([[1, 3]]), torch.tensor([[2]])], 3)
    tensor([[1, 2, 3]])
    """
    out = parts[0].new_empty(len(parts[0]), length, *parts[0].shape[2:])
    for i, part in enumerate(parts):
        out[:, i :: len(parts)] = part
    return out


# -- a kind for each: tables ----------------------------------------------------------------------------------------------


class Columns(nn.Module):
    """Give a net what it sees of every column of x (B, D), column after column in an order of positions.

    The standardised continuous part, perhaps its residual, a one-hot of the cells (levels, atoms, and the values of a narrow
    lattice), and of a time its phases in year, week and day.

    Args:
        space: of x.
        order: the column at every position.
        limit: the widest lattice whose values are seen one by one.
        residuals: see beside every number its residual, see `Regression`.

    Attributes:
        widths: numbers for each position; starts: where they begin.
    """

    def __init__(self, space: Space, order: Sequence[int], limit: int = NARROW, residuals: bool = False) -> None:
        super().__init__()
        self.space, self.order, self.residuals = space, list(order), residuals
        self.cells = Cells(space, limit)
        size = [0] * space.dim
        for j, column in enumerate(self.cells.tabled.tolist()):
            size[column] = int(self.cells.sizes[j])
        number = [(not isinstance(kind, Category)) * (1 + residuals) for kind in space.kinds]
        phases = [len(kind.phases) for kind in space.kinds]
        self.widths = [number[c] + size[c] + phases[c] for c in self.order]
        self.starts = [sum(self.widths[:p]) for p in range(len(order))]
        place = {column: self.starts[p] for p, column in enumerate(self.order)}
        numbers = [c for c in range(space.dim) if number[c]]
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.long), persistent=False)
        self.register_buffer("number_at", torch.tensor([place[c] for c in numbers], dtype=torch.long), persistent=False)
        # Whether x holds numbers alone, in their order: `forward` then returns u as it is.
        self.plain = numbers == self.order and not self.cells.total and not any(phases) and not residuals
        phase_at = [place[c] + number[c] + size[c] + k for c in range(space.dim) for k in range(phases[c])]
        self.register_buffer("phase_at", torch.tensor(phase_at, dtype=torch.long), persistent=False)
        hot = [place[c] + number[c] for c in self.cells.tabled.tolist()]
        self.register_buffer("cell_at", torch.tensor(hot, dtype=torch.long), persistent=False)

    numbers: Tensor
    number_at: Tensor
    phase_at: Tensor
    cell_at: Tensor

    @property
    def total(self) -> int:
        """Return how many numbers the net sees of all columns."""
        return sum(self.widths)

    def forward(
        self, x: Tensor, dtype: torch.dtype = torch.float32, residual: Tensor | None = None, parts: Parts | None = None
    ) -> Tensor:
        """Return what the net sees of x (B, *shape), and of the residuals (B, D) of its numbers: (B, total).

        `parts` are those of x, see `Space.split`, where they are known already.
        """
        flat = x.reshape(len(x), self.space.dim)
        state, u, *_ = self.space.split(flat if self.space.is_table else x) if parts is None else parts
        if self.plain:
            return u.to(dtype)
        out = torch.zeros(len(x), self.total, dtype=dtype, device=x.device)
        if len(self.numbers):
            out = out.index_copy(1, self.number_at, u[:, self.numbers].to(dtype))
            if self.residuals and residual is not None:
                out = out.index_copy(1, self.number_at + 1, residual[:, self.numbers].to(dtype))
        if len(self.phase_at):
            out = out.index_copy(1, self.phase_at, self.space.calendar(flat).to(dtype))
        if self.cells.total:
            out = out.scatter(1, self.cells.index(flat, state) + self.cell_at, 1.0)
        return out


class ColumnTokens(nn.Module):
    """Map x (B, D) to tokens (B, D, width) in an order of positions, by a linear map for every column."""

    def __init__(self, space: Space, order: Sequence[int], width: int, limit: int = NARROW, residuals: bool = False) -> None:
        super().__init__()
        self.columns = Columns(space, order, limit, residuals)
        self.singles = modules_by_position(space, order, lambda one: Columns(one, [0], limit, residuals))
        self.weight = nn.Parameter(torch.randn(self.columns.total, width) * width**-0.5)
        # Not zero: RMSNorm would scale the token x w of a lone number x to the sign of x times w.
        self.bias = nn.Parameter(torch.randn(len(order), width) * width**-0.5)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return the tokens (B, D, width) of x (B, *shape), in the order of positions."""
        features = self.columns(x, self.weight.dtype, residual)
        parts = zip(features.split(self.columns.widths, 1), self.weight.split(self.columns.widths), strict=True)
        return torch.stack([f @ w for f, w in parts], dim=1) + self.bias

    def at(self, i: int, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return the token (B, width) of the coordinate at position i of every datum, x (B, 1), with its residual (B, 1)."""
        start = self.columns.starts[i]
        weight = self.weight[start : start + self.columns.widths[i]]
        return self.singles[i](x, weight.dtype, residual) @ weight + self.bias[i]


class ColumnOutputs(nn.Module):
    """Map the numbers of every position, position after position, to distributions of coordinates of their own kinds.

    Args:
        space: of x.
        order: the coordinate at every position.
        width: of the net, h (B, P, width); None where the net gives the numbers themselves, (B, sum of widths).
        components: of every mixture.
        limit: the widest lattice that gets a softmax.

    Attributes:
        widths: how many numbers the distribution at each position takes.
    """

    def __init__(
        self, space: Space, order: Sequence[int], width: int | None = None, components: int = 10, limit: int = NARROW
    ) -> None:
        super().__init__()
        self.space = space
        self.head = Head(space, components, limit)
        self.heads = modules_by_position(space, order, lambda one: Head(one, components, limit))
        self.widths: list[int] = [head.width for head in self.heads]  # type: ignore[misc]
        self.linear = None if width is None else nn.ModuleList(linear(width, w) for w in self.widths)
        for layer, head in zip(self.linear or (), self.heads, strict=False):
            spread_(layer, [head])  # type: ignore[arg-type, list-item]
        # Where each number of the joint head stands among those of the positions: first all cells, then all mixtures.
        start = {column: sum(self.widths[:p]) for p, column in enumerate(order)}
        cells = dict(zip(self.head.cells.tabled.tolist(), self.head.cells.needs, strict=True))
        index = [start[c] + k for c, n in cells.items() for k in range(n)]
        for column in self.head.cells.rest.tolist():
            index += [start[column] + cells.get(column, 0) + k for k in range(3 * components)]
        self.sorted = index == list(range(len(index)))
        self.register_buffer("index", torch.tensor(index, dtype=torch.long), persistent=False)

    index: Tensor

    def log_prob(self, h: Tensor, x: Tensor, unit: LocScale | None = None, parts: Parts | None = None) -> Tensor:
        """Return the log-density of every coordinate of x (B, *shape), (B, D), in nats.

        Args:
            h: (B, P, width), or (B, sum of widths) where the net gives the numbers themselves.
            x: in data units.
            unit: where the mixtures stand, (B, D); by default at 0.
            parts: those of x, see `Space.split`, where they are known already.
        """
        if self.linear is not None:
            h = torch.cat([layer(h[:, p]) for p, layer in enumerate(self.linear)], dim=1)
        return self.head(h if self.sorted else h[:, self.index]).moved(unit).log_prob(x, parts)

    def at(self, i: int, h: Tensor, unit: LocScale | None = None) -> Coordinates:
        """Return the distribution of the coordinate at position i, given the output h (B, width) there.

        Args:
            i: the position.
            h: the output there.
            unit: where its mixture stands, (B, 1); by default at 0.
        """
        return self.heads[i](h if self.linear is None else self.linear[i](h)).moved(unit)


@torch.no_grad()
def near_(weight: Tensor, size: float) -> None:
    """Start embeddings of a lattice's values, in order, (values, width), alike where values are near.

    They are random Fourier features (Rahimi and Recht 2007) of the place from -1 to 1, with frequencies of deviation 8 and a
    root mean square of `size`.
    """
    count, width = weight.shape
    place = torch.linspace(-1, 1, count).unsqueeze(1)
    weight.copy_((8 * place * torch.randn(width) + 2 * torch.pi * torch.rand(width)).sin() * (size * 2**0.5))


def spread_(layer: nn.Linear, heads: Sequence[Head]) -> None:
    """Start an output layer with equal probabilities of levels, and mixtures of equal weights with means from -1.5 to 1.5.

    Weights are 0. The numbers of the heads follow one another in the layer's output: logits of levels, then for each mixture
    of m components m logits, m means and m logarithms of scales, -log m each.
    """
    starts: dict[tuple[int, int, int], Tensor] = {}
    sizes = [(head.tables, head.components, (head.width - head.tables) // (3 * head.components)) for head in heads]
    for tables, m, mixtures in set(sizes):
        mixture = torch.tensor([0.0] * m + [3 * k / (m - 1) - 1.5 if m > 1 else 0.0 for k in range(m)] + [-math.log(m)] * m)
        starts[tables, m, mixtures] = torch.cat([torch.zeros(tables), mixture.repeat(mixtures)])
    with torch.no_grad():
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        begin = torch.cat([starts[size] for size in sizes])
        layer.bias[: len(begin)] = begin
