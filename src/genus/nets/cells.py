"""Tell coordinates that are tables of cells from those that have a continuous part or a wide lattice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.space import Category, Kind, Lattice, Space

__all__ = ["Cells", "atom_cells", "lattice_cells"]


class Cells(nn.Module):
    """Describe a space's coordinates as tables of probability cells beside continuous parts.

    A category has a cell for each level; an atom has a cell; the continuous part of a Real or of a wide Lattice is one cell
    more, in which a density follows. A Lattice of at most `limit` values, unless it is among the `smooth` coordinates, has a
    cell for each value instead of a continuous part. Coordinates of one single cell need no table.

    Attributes:
        tabled: (J,) the coordinates with a table; sizes: (J,) their cells; offset: (J,) where each starts.
        total: cells in all.
        needs: (J,) how many numbers of a net make each table: as many as cells, but of two cells the log-odds alone (`two`);
            first: (J,) where they start.
        alive: (total,) False at a lattice value that an atom stands for already.
        lattice: (total,) True at the values of a lattice that are alive; step: (total,) how far these are apart.
        unknown: (total,) True at a blank that stands for a value that is not known, see `Kind.unknown`.
        rest: (R,) the coordinates with a continuous part in which a density is needed.
    """

    def __init__(self, space: Space, limit: int, smooth: Sequence[int] = ()) -> None:
        super().__init__()
        self.space = space
        narrow = [isinstance(k, Lattice) and k.size <= limit and i not in smooth for i, k in enumerate(space.kinds)]
        count = [
            k.states + (k.size - 1 if isinstance(k, Lattice) and n else 0) for k, n in zip(space.kinds, narrow, strict=True)
        ]
        tabled = [i for i, size in enumerate(count) if size > 1]
        rest = [i for i, k in enumerate(space.kinds) if not isinstance(k, Category) and not narrow[i]]
        sizes = torch.tensor([count[i] for i in tabled], dtype=torch.long)
        offset = torch.cat([torch.zeros(1, dtype=torch.long), sizes.cumsum(0)])
        self.total = int(offset[-1])
        self.needs = [1 if size == 2 else size for size in sizes.tolist()]
        alive = torch.ones(self.total, dtype=torch.bool)
        for j, i in enumerate(tabled):
            kind = space.kinds[i]
            if narrow[i] and isinstance(kind, Lattice):
                dead = [round((a - kind.low) / kind.step) for a in kind.lattice_atoms]
                alive[offset[j] + torch.tensor(dead, dtype=torch.long)] = False
        width = max((int(s) for s in sizes), default=0)
        pad = offset[:-1, None] + torch.arange(width)
        pad[torch.arange(width) >= sizes[:, None]] = self.total
        self.even = len(tabled) > 0 and bool((sizes == width).all())
        self.single = len(tabled) == 1
        self.every_tabled = len(tabled) == space.dim
        self.has_narrow = any(narrow)
        self.is_lattice = self.every_tabled and all(narrow) and space.coordinate_dim == space.dim  # and no atoms
        self.is_levels = self.every_tabled and space.is_discrete and not space.sequence
        self.every_rest = len(rest) == space.dim
        self.every_two = len(tabled) > 0 and set(self.needs) == {1}
        # Where the logit of each cell stands among the numbers and a zero after them.
        starts = [0, *accumulate(self.needs)]
        source = [
            at + k if n > 1 else at if k else starts[-1]
            for at, n in zip(starts, self.needs, strict=False)
            for k in range(max(n, 2))
        ]
        self.all_alive = bool(alive.all())
        values = [value for i in tabled for value in cell_values(space.kinds[i], narrow[i])]
        self.register_buffer("values", torch.tensor(values, dtype=torch.float64), persistent=False)
        unknown = torch.zeros(self.total, dtype=torch.bool)
        for j, i in enumerate(tabled):
            if (kind := space.kinds[i]).has_unknown:
                unknown[offset[j] + kind.missing_state + (count[i] - kind.states)] = True
        self.register_buffer("unknown", unknown, persistent=False)
        # Which cells are values of a lattice, no atoms, and how far these are apart.
        ends = [getattr(space.kinds[i], "size", 0) if narrow[i] else 0 for i in tabled]  # first come the lattice's own values
        inside = [at < end for i, end in zip(tabled, ends, strict=True) for at in range(count[i])]
        step = [getattr(space.kinds[i], "step", 0.0) for i in tabled for _ in range(count[i])]
        self.register_buffer("lattice", torch.tensor(inside, dtype=torch.bool) & alive, persistent=False)
        self.register_buffer("step", torch.tensor(step, dtype=torch.float64), persistent=False)
        for name, value in {
            "tabled": torch.tensor(tabled, dtype=torch.long), "sizes": sizes, "offset": offset[:-1], "alive": alive, "pad": pad,
            "narrow": torch.tensor(narrow), "rest": torch.tensor(rest, dtype=torch.long),
            "source": torch.tensor(source, dtype=torch.long), "first": torch.tensor(starts[:-1], dtype=torch.long),
            "two": torch.tensor(self.needs, dtype=torch.long) == 1,
        }.items():  # fmt: skip
            self.register_buffer(name, value, persistent=False)

    values: Tensor
    unknown: Tensor
    lattice: Tensor
    step: Tensor
    tabled: Tensor
    sizes: Tensor
    offset: Tensor
    alive: Tensor
    pad: Tensor
    narrow: Tensor
    rest: Tensor
    source: Tensor
    first: Tensor
    two: Tensor

    def index(self, x: Tensor, state: Tensor) -> Tensor:
        """Return the cell of every tabled coordinate of x, (B, J), counted within its own table.

        Args:
            x: (B, *shape).
            state: of x, (B, D); not looked at where all coordinates are narrow lattices without atoms.
        """
        if not self.has_narrow:
            return state if self.every_tabled else state[:, self.tabled]
        flat = x.reshape(len(x), self.space.dim)
        flat = flat if flat.is_floating_point() else flat.to(self.space.dtype)
        table = self.space.tables(flat)
        if self.is_lattice:
            return ((flat - table.low) / table.step).round().long()
        step = torch.where(self.narrow, table.step, 1.0)
        place = ((flat - table.low) / step).round().nan_to_num(0.0)
        size = (((table.high - table.low) / step).round() + 1).where(self.narrow, torch.zeros(()).to(flat))
        cell = torch.where(self.narrow, torch.where(state == 0, place, size + state - 1), state.to(flat.dtype)).long()
        return cell if self.every_tabled else cell[:, self.tabled]

    def joint(self, log_table: Tensor, limit: int) -> tuple[Tensor, list[Tensor]]:
        """Return strides (J, G) and G tables (cells, K) of log_table (K, total); in each several coordinates are summed.

        Coordinates are grouped in turn, as long as a group has at most `limit` cells: fewer look-ups for the same sum, which
        then is sum_g tables[g][(cell @ strides)[:, g]] for cell (B, J) of `index`.
        """
        groups: list[list[int]] = []
        at, size = limit + 1, self.sizes.tolist()
        for j, n in enumerate(size):
            if at * n > limit:
                groups.append([])
                at = 1
            groups[-1].append(j)
            at *= n
        strides = torch.zeros(len(size), len(groups), dtype=torch.float64, device=log_table.device)
        parts, tables = log_table.T.split(size), []
        for g, group in enumerate(groups):
            table = parts[group[0]]
            strides[group[0], g] = 1.0
            for j in group[1:]:
                strides[:, g] *= size[j]
                strides[j, g] = 1.0
                table = (table.unsqueeze(1) + parts[j]).flatten(0, 1)
            tables.append(table.contiguous())
        return strides, tables

    def compose(self, cell: Tensor, u: Tensor) -> Tensor:
        """Return x (B, *shape) of cells (B, J) within each table and numbers u (B, R): invert `index` and `Space.split`."""
        dtype = torch.promote_types(self.space.dtype, u.dtype)
        if self.is_levels:  # a cell is its level, and that is x
            return cell.to(dtype).reshape(-1, *self.space.shape)
        if self.every_tabled and not len(self.rest):  # as is that of a narrow lattice
            return self.values[cell + self.offset].to(dtype).reshape(-1, *self.space.shape)
        state = torch.zeros(len(u), self.space.dim, dtype=torch.long, device=u.device)
        full = torch.zeros(len(u), self.space.dim, dtype=torch.float64, device=u.device)
        full[:, self.rest] = u.double()
        state[:, self.tabled] = cell
        if self.has_narrow:
            table = self.space.tables(full)
            size = (((table.high - table.low) / torch.where(table.step > 0, table.step, 1.0)).round() + 1).long()
            size = torch.where(self.narrow, size, 0)
            place = state.double() * table.step + table.low
            inside = self.narrow & (state < size)
            full = torch.where(inside, table.charts.forward(place)[0], full)
            state = torch.where(self.narrow, (state - size + 1).clamp(min=0), state)
        return self.space.join(state, full, dtype)

    def log_tables(self, numbers: Tensor) -> Tensor:
        """Return log-probabilities (B, total), normalised within each table, of a net's numbers (B, sum of needs)."""
        if self.every_two:
            return F.logsigmoid(torch.stack([-numbers, numbers], dim=-1)).flatten(-2)
        if numbers.shape[-1] == self.total:
            return self.log_softmax(numbers)
        return self.log_softmax(torch.cat([numbers, torch.zeros_like(numbers[:, :1])], dim=-1)[:, self.source])

    def log_probs(self, numbers: Tensor, cell: Tensor) -> Tensor:
        """Return the log-probabilities (B, J) of cells (B, J) within each table, by a net's numbers (B, sum of needs)."""
        # Tables of many sizes would be mostly padding as rows of one length, which `log_tables` needs.
        if self.even or self.every_two or not self.all_alive or len(self.sizes) * self.pad.shape[1] < 2 * self.total:
            return self.log_tables(numbers).gather(1, cell + self.offset)
        logit = numbers.gather(1, self.first + torch.where(self.two, 0, cell))
        logit = torch.where(self.two, logit * cell, logit)  # of two cells the first has the logit 0
        parts = numbers.split(self.needs, dim=1)
        total = [F.softplus(part[:, 0]) if part.shape[1] == 1 else part.logsumexp(1) for part in parts]
        return logit - torch.stack(total, dim=1)

    def shares(self, x: Tensor) -> Tensor:
        """Return numbers (sum of needs,) whose tables are the shares of the cells in x (B, *shape), one row more in each."""
        cell = self.index(x, self.space.split(x).state) + self.offset
        log_count = torch.bincount(cell.flatten(), minlength=self.total).double().add(1).log()
        return torch.cat([t[1:] - t[0] if len(t) == 2 else t for t in log_count.split(self.sizes.tolist())])

    def log_softmax(self, logits: Tensor) -> Tensor:
        """Return logits (..., total) normalised within each table, (..., total); -inf at dead cells."""
        if not self.all_alive:
            logits = logits.masked_fill(~self.alive, -torch.inf)
        if self.single:
            return logits.log_softmax(-1)
        if self.even:
            return logits.unflatten(-1, (len(self.sizes), -1)).log_softmax(-1).flatten(-2)
        return logits - self.padded(logits).logsumexp(-1).repeat_interleave(self.sizes, dim=-1)

    def padded(self, values: Tensor) -> Tensor:
        """Return values (..., total) as rows, one for each table, (..., J, widest), -inf beyond their ends."""
        if self.single:
            return values.unsqueeze(-2)
        if self.even:
            return values.unflatten(-1, (len(self.sizes), -1))
        edge = torch.full_like(values[..., :1], -torch.inf)
        return torch.cat([values, edge], dim=-1)[..., self.pad]


def cell_values(kind: Kind, narrow: bool) -> list[float]:
    """Return what x is in every cell of a coordinate's table; NaN where it is missing, or a continuous part."""
    if isinstance(kind, Category):
        return [float(level) for level in range(kind.states)]
    inside = [kind.low + i * kind.step for i in range(kind.size)] if isinstance(kind, Lattice) and narrow else [math.nan]
    return inside + list(kind.atoms)


def atom_cells(kinds: Sequence[Kind]) -> Tensor:
    """Return the cells in u of the atoms that are values of a lattice, NaN where a column has fewer.

    Args:
        kinds: of R columns.

    Returns:
        (3, R, A) in double precision: both edges, infinite at the ends of a lattice, and the log of the width.
    """
    taken = [kind.lattice_atoms if isinstance(kind, Lattice) else () for kind in kinds]
    with torch.device("cpu"):
        out = torch.full((3, len(kinds), max(map(len, taken), default=0)), math.nan, dtype=torch.float64)
        for j, (kind, values) in enumerate(zip(kinds, taken, strict=True)):
            if isinstance(kind, Lattice) and values:
                column, x = Space([replace(kind, atoms=())]), torch.tensor(values, dtype=torch.float64).unsqueeze(1)
                out[:, j, : len(values)] = lattice_cells(column, x).squeeze(-1)
    return out


def lattice_cells(space: Space, x: Tensor) -> Tensor:
    """Return the cells in u of lattice values x (B, *shape).

    Returns:
        (3, B, D) in double precision: both edges, and the log of the width between them, infinite at the ends of a lattice; 0
        where a column is no lattice.
    """
    lower, upper = space.edges(x)
    return torch.stack([lower, upper, torch.where(upper > lower, upper - lower, 1.0).log()])
