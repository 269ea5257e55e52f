"""K products of independent columns, learned by counting, for naive Bayes and the mixture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.errors import NotFittedError
from genus.models.cut import Cut
from genus.models.masses import LatticeRows, interval_mass, lattice_moments, likeliest_prior, normal_cell_mass
from genus.nets.cells import Cells, atom_cells, lattice_cells
from genus.random import normal_like, rng
from genus.space import Lattice, Space

__all__ = ["Product", "ProductRows"]

SHAPED = 0.9, 0.99  # of the pseudo-counts of a lattice: in the shape of a normal; the others are even, for what none reaches
CHUNK = 2**19  # numbers at once: what is made of them on the way stays in the cache, and threads have enough to share
FEW = 20  # rows of a component, below which its own variance is not trusted alone
JOINT = 2**15  # numbers in the table of several columns together


class ProductRows(NamedTuple):
    """Holds what a `Product` sees of rows, so that those that are seen many times are split once.

    Attributes:
        cell: (B, J) the cells of the coordinates with a table.
        u: (B, R) the standardised numbers of the others, in double precision.
        inside: (B, R) whether there is such a number; None where there always is.
        log_slope: (B,), or (1,) where all rows share it: the sum of the logs of du/dx.
        edges: of every wide lattice its cells; None without any.
    """

    cell: Tensor
    u: Tensor
    inside: Tensor | None
    log_slope: Tensor
    edges: list[LatticeRows] | None

    def some(self, rows: slice | Tensor) -> ProductRows:
        """Return some of the rows."""
        slope = self.log_slope if len(self.log_slope) == 1 else self.log_slope[rows]
        inside = None if self.inside is None else self.inside[rows]
        edges = None if self.edges is None else [lattice.some(rows) for lattice in self.edges]
        return ProductRows(self.cell[rows], self.u[rows], inside, slope, edges)

    def __len__(self) -> int:
        return len(self.u)


class Product(nn.Module):
    """K products of columns, p(x | k) = prod_j p(x_j | k), are learned from additive sufficient statistics.

    Tables (categories, atoms, narrow lattices) are counted; the continuous part of a Real is a Gaussian; that of a wide
    Lattice a Gaussian in u, discretised to the cells of its lattice, whose end cells hold the tails, off the atoms.

    Args:
        space: of x.
        components: K, the number of products.
        ignorable: whether blanks that stand for unknown values are left out: a row is then as likely as the values that it has,
            and its blanks are somebody else's. Else they are states like others.
        smooth: columns of lattices that have a normal and no table, however short they are.
        beside: columns whose normals are somebody else's; they have slopes alone here.
    """

    def __init__(
        self,
        space: Space,
        components: int,
        ignorable: bool = False,
        smooth: Sequence[int] = (),
        beside: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.space, self.components, self.ignorable = space, components, ignorable
        self.smooth, self.beside = list(smooth), list(beside)
        self.cells = Cells(space, Lattice.NARROW, smooth)
        numbers = [space.kinds[i] for i in self.cells.rest.tolist()]  # the kinds of columns without a table
        self.cut = Cut(numbers)
        self.lattice = self.cut.places
        apart = [i in self.beside for i in self.cells.rest.tolist()]
        self.register_buffer("apart", torch.tensor(apart, dtype=torch.bool), persistent=False)
        self.register_buffer("atoms", atom_cells([numbers[j] for j in self.lattice]), persistent=False)
        shapes = dict.fromkeys(("inside", "sums", "squares", "mean", "std"), (components, len(numbers)))
        shapes |= dict.fromkeys(("counts", "log_table"), (components, self.cells.total))
        for name, shape in (shapes | {"rows": (components,)}).items():
            self.register_buffer(name, torch.full(shape, math.nan if name == "std" else 0.0, dtype=torch.float64))
        self.register_buffer("concluded", torch.zeros((), dtype=torch.bool))

    not_finite = MappingProxyType({"std": "nan"})

    # Additive; the model that has the product clears and merges them.
    statistics = ("counts", "rows", "inside", "sums", "squares")
    counts: Tensor
    rows: Tensor
    inside: Tensor
    sums: Tensor
    squares: Tensor
    log_table: Tensor
    mean: Tensor
    std: Tensor
    concluded: Tensor
    atoms: Tensor
    apart: Tensor  # (R,) whether the normal of a number is beside it

    @property
    def left_out(self) -> Tensor:
        """Return which cells (total,) are left out: they have probability 1 beside the others, which add up to 1."""
        return self.cells.unknown if self.ignorable else torch.zeros_like(self.cells.unknown)

    # -- counting -----------------------------------------------------------------------------------------------------

    def observe(self, x: Tensor, weight: Tensor | None) -> None:
        """Add rows: weight (B, K) for soft membership, (B,) long for the component's number, None where K is 1."""
        for rows in self.chunks(len(x)):
            self.observe_rows(self.rows_of(x[rows], edges=False), None if weight is None else weight[rows])

    def chunks(self, n: int) -> Iterator[slice]:
        """Yield n rows in parts that are handled at once."""
        size = max(256, CHUNK // max(self.space.dim, self.components))
        return (slice(at, at + size) for at in range(0, n, size))

    def rows_of(self, x: Tensor, edges: bool = True) -> ProductRows:
        """Return what is seen of rows x (B, *shape); the edges of lattices are needed for densities alone."""
        state, u, log_slope = self.space.split(x)
        cell = self.cells.index(x, state) if self.cells.total else torch.zeros(len(x), 0, dtype=torch.long, device=x.device)
        if not len(self.cells.rest):
            none = torch.zeros(len(x), 0, dtype=torch.float64, device=x.device)
            return ProductRows(cell, none, None, none.new_zeros(1), None)
        log_slope = log_slope[:1] if log_slope.stride(0) == 0 else log_slope  # an affine chart has one slope for all rows
        u, log_slope = ((t if self.cells.every_rest else t[:, self.cells.rest]).double() for t in (u, log_slope))
        inside = state[:, self.cells.rest] == 0 if self.space.has_states else None
        slope = (log_slope if inside is None else log_slope * inside).sum(1)
        at = None
        if self.lattice and edges:
            at = [LatticeRows.of(cell) for cell in self.lattice_cells(x).unbind(2)]
        return ProductRows(cell, u, inside, slope, at)

    def lattice_cells(self, x: Tensor) -> Tensor:
        """Return the cells (3, B, L) of the values of the wide lattices in x (B, *shape); see `genus.nets.cells`."""
        return lattice_cells(self.cut.lattices, x.flatten(1)[:, self.cells.rest[self.lattice]])

    def observe_rows(self, rows: ProductRows, weight: Tensor | None) -> None:
        """Add rows; see `observe`."""
        hard = weight is None or weight.ndim == 1
        u = rows.u
        if self.cells.total:
            flat = rows.cell + self.cells.offset
            if hard:
                flat = flat if weight is None else flat + weight.unsqueeze(1) * self.cells.total
                self.counts += torch.bincount(flat.reshape(-1), minlength=self.counts.numel()).view_as(self.counts)
            else:
                table = torch.zeros(self.cells.total, self.components, dtype=torch.float64, device=u.device)
                for j in range(flat.shape[1]):
                    table.index_add_(0, flat[:, j], weight)  # type: ignore[arg-type]
                self.counts += table.T
        soft = F.one_hot(weight, self.components).double() if hard and weight is not None else weight
        self.rows += len(u) if soft is None else soft.sum(0)
        if len(self.cells.rest):
            if soft is None:
                soft = torch.ones(len(u), 1, dtype=torch.float64, device=u.device)
            if rows.inside is not None:
                self.inside += soft.T @ rows.inside.double()
            else:
                self.inside += soft.sum(0).unsqueeze(1)
            self.sums += soft.T @ u
            self.squares += soft.T @ u.square()

    def conclude(
        self,
        smoothing: float,
        variance: float,
        pool: float = 0.0,
        shrinkage: float = 0.0,
        shape: float = 0.0,
        levels: float | None = None,
    ) -> Tensor:
        """Set the parameters from the statistics.

        Args:
            smoothing: pseudo-counts of every cell of a table; those of a lattice have the shape of a normal of the component's
                mean and variance, so that cells that no row happened to fall in are likely where others near them are, and,
                without a pool, are as many as predict the rows best.
            variance: added to every variance, in standardised units.
            pool: rows' worth of the pooled data that every component's tables are drawn towards.
            shrinkage: rows' worth of the typical variance within components that every component's is drawn towards; with 0
                those of fewer than `FEW` rows are, by one.
            shape: rows' worth of a normal, of the component's mean and variance, that its tables of lattices are drawn towards
                where there is a pool.
            levels: the pool of tables without a lattice: of levels and atoms; None: the same.

        Returns:
            The least standard deviations (K, R) that numbers may have, see `Cut.half_cells`.
        """
        least = torch.zeros_like(self.mean)
        if self.cells.total:
            left_out = self.left_out
            if pool == 0:
                prior = self._shape(self.counts, None, smoothing)
            else:
                every = self.counts.sum(0, keepdim=True)
                pooled = (every + self._shape(every, None, smoothing))[0].masked_fill(left_out, 0.0)
                mass = self._of_table(pooled)
                prior = (pool if levels is None else torch.where(self._of_lattice, pool, levels)) * pooled / mass
                if shape > 0:
                    normals = self._shape(self.counts, shrinkage) * self.cells.lattice
                    normals = normals / self._of_table(normals).clamp(min=1e-300)
                    share = pooled / mass * self._of_lattice  # atoms beside the lattice keep theirs
                    prior = prior + shape * torch.where(
                        self.cells.lattice, normals * self._of_table(share * self.cells.lattice), share
                    )
            counts = (self.counts + prior).masked_fill(left_out, 0.0)
            self.log_table.copy_((counts / self._of_table(counts)).log().masked_fill(left_out, 0.0))
        if len(self.cells.rest):
            n = self.inside.sum(0)
            pooled_mean = self.sums.sum(0) / n.clamp(min=1)
            pooled_var = torch.where(n > 0, self.squares.sum(0) / n.clamp(min=1) - pooled_mean.square(), 1.0).clamp(min=0)
            rows = self.inside.clamp(min=1e-12)
            mean = torch.where(self.inside > 0, self.sums / rows, pooled_mean)
            own = (self.squares - self.inside * mean.square()).clamp(min=0)
            # A class of a few rows, which may happen to be equal, borrows what deviations are typical of the others.
            few = (self.inside < FEW) if self.components > 1 else torch.zeros_like(self.inside)
            strength = torch.full_like(self.inside, shrinkage) if shrinkage > 0 else few.double()
            var = torch.where(self.inside + strength > 0, own / rows, pooled_var)
            if bool((strength > 0).any()):  # towards a mean of logs: components may differ in scale by orders of magnitude
                within = own.sum(0) / n.clamp(min=1e-12) + 1 / n.clamp(min=1).square()  # of few rows nothing is narrow
                logs = ((own + within + variance) / (self.inside + 1)).log()
                typical = torch.where(n > 0, (self.inside / n.clamp(min=1e-12) * logs).sum(0).exp(), pooled_var)
                var = torch.where(strength > 0, (own + strength * typical) / (rows + strength), var)
            self.mean.copy_(mean)
            least = self.cut.half_cells(mean)
            self.std.copy_((var + variance).sqrt().clamp(min=1e-9).maximum(least))
        self.concluded.fill_(True)
        return least

    def _of_table(self, cells: Tensor) -> Tensor:
        """Return for numbers of cells (..., total) the sum over the table in which each stands."""
        return self.cells.padded(cells).nan_to_num(neginf=0.0).sum(-1).repeat_interleave(self.cells.sizes, dim=-1)

    @property
    def _of_lattice(self) -> Tensor:
        """Return which cells (total,) are in the table of a short lattice."""
        table = torch.arange(len(self.cells.sizes), device=self.cells.lattice.device).repeat_interleave(self.cells.sizes)
        return torch.isin(table, table[self.cells.lattice])

    def _shape(self, counts: Tensor, shrinkage: float | None, smoothing: float | None = None) -> Tensor:
        """Return pseudo-counts for counts (K, total), of a lattice most in the shape of a normal; see `lattice_moments`.

        Where `smoothing` is given every cell has so many, and a lattice as many as predict its rows best, with as many more at
        the atoms beside it as keep their share. Else a lattice has one in the mean.
        """
        shape = self.cells.alive.double().expand_as(counts) * (1.0 if smoothing is None else smoothing)
        starts, sizes = self.cells.offset.tolist(), self.cells.sizes.tolist()
        for size in set(sizes):  # columns of one size together
            at = torch.tensor([a for a, n in zip(starts, sizes, strict=True) if n == size], device=shape.device)
            cell = at[:, None] + torch.arange(size, device=shape.device)  # (columns, size)
            on = self.cells.lattice[cell]
            if not on.any():
                continue
            value, step, count = self.cells.values[cell].nan_to_num(), self.cells.step[cell], counts[:, cell] * on
            mean, var = lattice_moments(count, value, step.amax(-1), shrinkage)
            q = self._interval_mass(value, step, mean, var) * on
            even = on.double() / on.sum(-1, keepdim=True).clamp(min=1)
            q = q / q.sum(-1, keepdim=True).clamp(min=1e-300)
            shapes = [torch.lerp(even.expand_as(q), q, share) for share in SHAPED]
            prior = shapes[0] * on.sum(-1, keepdim=True) if smoothing is None else likeliest_prior(count, shapes)
            beside = shape[:, cell]
            if smoothing is not None:  # what smooths a lattice says nothing of how many rows are at the atoms beside it
                n = count.sum(-1, keepdim=True)
                beside = beside + counts[:, cell] * torch.where(n > 0, prior.sum(-1, keepdim=True) / n.clamp(min=1e-300), 0.0)
            shape[:, cell] = torch.where(on, prior, beside)
        return shape

    def _interval_mass(self, value: Tensor, step: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        """Return the mass of cells (columns, size) under normals of means and variances (K, columns): (K, columns, size)."""
        std = var.sqrt().unsqueeze(-1).maximum(step / 2)
        z = (value - mean.unsqueeze(-1)) / std
        return interval_mass(z - step / std / 2, z + step / std / 2).exp()

    def check_fitted(self) -> None:
        """Raise NotFittedError where no data have been observed."""
        if not self.concluded:
            raise NotFittedError("This model has not observed any data; call genus.fit(model, data) first.")

    # -- answering ----------------------------------------------------------------------------------------------------

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x | k), (B, K), of x (B, *shape), in nats and data units."""
        self.check_fitted()
        joint = self.joint_tables(len(x))
        out = torch.empty(len(x), self.components, dtype=torch.float64, device=x.device)
        for rows in self.chunks(len(x)):
            out[rows] = self.log_prob_rows(self.rows_of(x[rows]), joint)
        return out

    def joint_tables(self, n: int) -> tuple[Tensor, list[Tensor]] | None:
        """Return small tables in which n rows look up several columns together; None without tables."""
        return self.cells.joint(self.log_table, min(JOINT // self.components, n // 8)) if self.cells.total else None

    def select(self, columns: Sequence[int]) -> Product:
        """Return the product of some columns alone."""
        smooth, beside = ([at for at, i in enumerate(columns) if i in some] for some in (self.smooth, self.beside))
        part = Product(Space([self.space.kinds[i] for i in columns]), self.components, self.ignorable, smooth, beside)
        part.to(self.mean.device)
        cells, numbers = self.cells.tabled.tolist(), self.cells.rest.tolist()
        for table, column in enumerate(part.cells.tabled.tolist()):
            size, at = int(part.cells.sizes[table]), int(part.cells.offset[table])
            start = int(self.cells.offset[cells.index(columns[column])])
            part.log_table[:, at : at + size] = self.log_table[:, start : start + size]
        places = [numbers.index(columns[column]) for column in part.cells.rest.tolist()]
        part.mean.copy_(self.mean[:, places])
        part.std.copy_(self.std[:, places])
        part.concluded.copy_(self.concluded)
        return part

    def log_prob_rows(self, rows: ProductRows, joint: tuple[Tensor, list[Tensor]] | None) -> Tensor:
        """Return log p(x | k), (B, K), of rows that were split, given `joint_tables`."""
        out = torch.zeros(len(rows), self.components, dtype=torch.float64, device=rows.u.device)
        if joint is not None:
            strides, tables = joint
            place = (rows.cell.double() @ strides).long()
            for g, table in enumerate(tables):
                out += table.index_select(0, place[:, g])
        if len(self.cells.rest):
            if not bool(self.apart.all()):
                out += self._gaussian(rows.u, None if rows.inside is None else rows.inside.double())
            out += rows.log_slope.unsqueeze(1)
        if rows.edges is not None:
            for i, (j, lattice) in enumerate(zip(self.lattice, rows.edges, strict=True)):
                if self.apart[j]:
                    continue
                if rows.inside is None or bool(rows.inside[:, j].all()):
                    out += self._lattice(lattice, i, j)
                else:  # most rows of a zero-inflated column are at its atom
                    at = rows.inside[:, j].nonzero().squeeze(1)
                    out.index_add_(0, at, self._lattice(lattice.some(at), i, j))
        return out

    def _gaussian(self, u: Tensor, inside: Tensor | None) -> Tensor:
        """Return log-densities (B, K) of continuous parts: expanded squares, so that all K cost three matrix products."""
        precision = self.std.pow(-2)
        constant = -0.5 * self.mean.square() * precision - self.std.log() - 0.5 * math.log(2 * math.pi)
        if self.lattice or self.beside:
            keep = 1.0 - self.apart.double()
            keep[self.lattice] = 0.0
            precision, constant = precision * keep, constant * keep
        value = torch.addmm((u @ (self.mean * precision).T), u.square(), precision.T, alpha=-0.5)
        return value + (constant.sum(1) if inside is None else inside @ constant.T)

    def _lattice(self, rows: LatticeRows, i: int, j: int) -> Tensor:
        """Return the log-mass (B, K) of rows' cells of the i-th lattice, normalised over the lattice without its atoms."""
        mean, std, atoms = self.mean[:, j], self.std[:, j], self.atoms[:, i]
        taken = normal_cell_mass(atoms[:, ~atoms[0].isnan()], mean, std).exp().sum(0)
        mass = normal_cell_mass(rows.cells, mean, std) - (1 - taken).clamp(min=1e-300).log()
        return mass if rows.which is None else mass.index_select(0, rows.which)

    def draw_cells(self, k: Tensor, blanks: bool = True) -> Tensor:
        """Draw cells (B, J) of columns with a table given component numbers k (B,), perhaps no blanks for unknown values."""
        self.check_fitted()
        cell = torch.zeros(len(k), len(self.cells.tabled), dtype=torch.long, device=k.device)
        if self.cells.total:
            for j, (start, size) in enumerate(zip(self.cells.offset.tolist(), self.cells.sizes.tolist(), strict=True)):
                table = self.log_table[:, start : start + size]
                if self.ignorable or not blanks:
                    table = table.masked_fill(self.cells.unknown[start : start + size], -math.inf)
                cumulated = table.exp().cumsum(1)  # its inverse takes one uniform number for each cell drawn
                draw = torch.rand(len(k), 1, dtype=torch.float64, device=k.device, generator=rng(k.device)) * cumulated[k, -1:]
                cell[:, j] = torch.searchsorted(cumulated[k], draw, right=True).squeeze(1).clamp(max=size - 1)
        return cell

    def sample(self, k: Tensor, blanks: bool = True) -> Tensor:
        """Draw x (B, *shape) given component numbers k (B,); `blanks` as of `draw_cells`."""
        return self.cells.compose(self.draw_cells(k, blanks), self.draw_numbers(k))

    def draw_numbers(self, k: Tensor) -> Tensor:
        """Draw the standardised numbers (B, R) of the columns with a continuous part, given component numbers k (B,)."""
        mean, std = self.mean[k], self.std[k]
        u = mean + std * normal_like(mean)
        # What falls on an atom is drawn again; std is at least half a cell, so that three in ten fall beside it.
        lower, upper, _ = self.atoms
        for _ in range(64 if self.atoms.shape[-1] else 0):
            at = u[:, self.lattice].unsqueeze(-1)
            hit = torch.zeros_like(u, dtype=torch.bool)
            hit[:, self.lattice] = ((at > lower) & (at < upper)).any(-1)
            if not hit.any():
                break
            u = torch.where(hit, mean + std * normal_like(mean), u)
        return u
