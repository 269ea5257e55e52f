"""The components of a mixture: their weights, tables of states, and normals of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genus.errors import DataError
from genus.models.combinations import context_combinations, context_index
from genus.models.gaussians import Gaps, Gaussians
from genus.models.product import Product, ProductRows
from genus.nets.cells import Cells
from genus.random import draw_indices
from genus.space import Lattice, Real, Space

__all__ = ["COVARIANCES", "Components", "Form", "MixtureRows"]

COVARIANCES = ("diagonal", "tied", "low-rank", "full")
SMOOTHING = 0.5  # pseudo-counts of every cell of the pooled tables
FLOOR = 1e-8  # added to every variance, in standardised units


class Form(NamedTuple):
    """Holds what a mixture is like: how large, and how far its components are drawn towards each other.

    Attributes:
        components: K, of every owner.
        covariance: of the real numbers within a component, one of `COVARIANCES`.
        rank: the factors of "low-rank".
        shrinkage: rows' worth of the typical (co)variance within components that is added to every component's.
        pool: rows' worth of the tables of all rows that is added to every component's.
        levels: the same of tables without a lattice, of levels and atoms; None: as of others.
        shape: rows' worth of a normal that is added to every component's tables of short lattices.
        owners: how many combinations of the context have components of their own; 1: all share them.
        lattices: the columns of lattices that are jointly normal with the real numbers, unless the covariance is diagonal.
    """

    components: int
    covariance: str
    rank: int
    shrinkage: float
    pool: float
    shape: float = 0.0
    levels: float | None = None
    owners: int = 1
    lattices: tuple[int, ...] = ()

    @property
    def smooth(self) -> tuple[int, ...]:
        """Return the columns of lattices that are among the joint normals."""
        return () if self.covariance == "diagonal" else self.lattices

    @property
    def total(self) -> int:
        """Return how many components there are together."""
        return self.components * self.owners


class MixtureRows(NamedTuple):
    """Holds what components see of rows.

    Attributes:
        parts: their states and numbers.
        joint: (B, R) the numbers among these that are jointly normal.
        gaps: which of these are present; None where all are.
        edges: (2, B, L) from each of these that lies on a lattice to both ends of its cell; None where none does.
        context: (B,) the number of the context's combination.
        rare: (B,) the log-joint density of a component that is beside the learned ones and stays as it is; None: there is none.
    """

    parts: ProductRows
    joint: Tensor
    gaps: Gaps | None
    edges: Tensor | None
    context: Tensor
    rare: Tensor | None = None

    def some(self, rows: slice | Tensor) -> MixtureRows:
        """Return some of the rows."""
        gaps = None if self.gaps is None else self.gaps._replace(which=self.gaps.which[rows])
        rare = None if self.rare is None else self.rare[rows]
        edges = None if self.edges is None else self.edges[:, rows]
        return MixtureRows(self.parts.some(rows), self.joint[rows], gaps, edges, self.context[rows], rare)

    def __len__(self) -> int:  # of rows
        return len(self.context)


class Components(nn.Module):
    """Hold a mixture's components, p(k | c) p(x | k), which are learned from expected counts.

    Within a component states (categories, atoms, short lattices) are independent of all else; numbers are jointly normal,
    beside atoms and missing values those that are present, and those on lattices have the masses of cells (see `Cut`). Blanks
    that stand for unknown values are left out (Little & Rubin 1987: missing at random): rows are as likely as the values that
    they have.

    Args:
        space: of x.
        context: the space of the context, discrete; None: none.
        count: K, the number of components.
        covariance: of the joint normals, one of `COVARIANCES`.
        owners: 1, or the number of the context's combinations: each of them then has the next count / owners components for
            its own, and no weight on those of others.
        smooth: the columns of lattices that are among the joint normals. Other long lattices have normals of their own, other
            short ones tables.
    """

    not_finite = MappingProxyType({"log_weights": "-inf"})

    log_weights: Tensor  # (combinations of the context, K)
    weights: Tensor  # the expected counts of the same
    is_smooth: Tensor  # (D,)

    def __init__(
        self,
        space: Space,
        context: Space | None,
        count: int,
        covariance: str,
        owners: int = 1,
        smooth: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.space, self.context, self.count, self.covariance = space, context, count, covariance
        self.smooth = tuple(smooth)
        joint = [i for i, kind in enumerate(space.kinds) if isinstance(kind, Real) or i in self.smooth]
        self.product = Product(space, count, ignorable=True, smooth=smooth, beside=() if covariance == "diagonal" else joint)
        self.joint = [j for j, i in enumerate(self.product.cells.rest.tolist()) if i in joint]  # places among the numbers
        self.gaussians = None
        if covariance != "diagonal":
            self.gaussians = Gaussians([space.kinds[i] for i in joint], count, covariance == "tied")
        self.context_cells = Cells(context, limit=Lattice.NARROW) if context is not None else None
        self.register_buffer("is_smooth", torch.tensor([i in self.smooth for i in range(space.dim)], dtype=torch.bool))
        self.register_buffer(
            "weights", torch.zeros(context_combinations(context), count, dtype=torch.float64), persistent=False
        )
        own = torch.eye(owners).repeat_interleave(count // owners, dim=1).to(self.weights) * owners / count
        self.register_buffer("log_weights", own.expand_as(self.weights).log())

    # -- learning -----------------------------------------------------------------------------------------------------

    def rows_of(self, x: Tensor, c: Tensor | None) -> MixtureRows:
        """Return what components see of rows; it is the same for any number of them."""
        parts = self.product.rows_of(x)
        u, inside = self._numbers(parts)
        context = context_index(self.context_cells, c, len(x), x.device)
        return MixtureRows(parts, u, Gaps.of(inside), self._edges(parts, u), context)

    def observe(self, rows: MixtureRows, weight: Tensor) -> None:
        """Add rows with memberships weight (B, K) to the expected counts."""
        self.product.observe_rows(rows.parts, weight)
        if self.gaussians is not None:
            self.gaussians.observe(rows.joint, rows.gaps, weight)
        self.weights.index_add_(0, rows.context, weight)

    def _numbers(self, rows: ProductRows) -> tuple[Tensor, Tensor | None]:
        """Return the numbers of rows that are jointly normal (B, R), and which are present."""
        return rows.u[:, self.joint], None if rows.inside is None else rows.inside[:, self.joint]

    def _edges(self, rows: ProductRows, u: Tensor) -> Tensor | None:
        """Return how far the ends of cells (2, B, L) lie from those of the joint numbers u (B, R) that are on lattices."""
        if not self.smooth or rows.edges is None:
            return None
        lattices = dict(zip(self.product.lattice, rows.edges, strict=True))
        ends = [lattices[j].of_rows()[:2] - u[:, place] for place, j in enumerate(self.joint) if j in lattices]
        return torch.stack(ends, dim=2)

    def scale(self, factor: float) -> None:
        """Multiply the expected counts; by 0 they are forgotten."""
        parts = ((self.product, Product.statistics), (self.gaussians, Gaussians.statistics), (self, ("weights",)))
        for module, names in parts:
            for name in names if module is not None else ():
                statistic = module.get_buffer(name)  # type: ignore[union-attr]
                statistic.zero_() if factor == 0 else statistic.mul_(factor)

    def conclude(self, form: Form) -> None:
        """Set the parameters from the expected counts."""
        overall = (self.weights.sum(0) + 1.0) / (self.weights.sum() + self.count)
        smooth = self.weights + overall  # a rare context is drawn towards the overall weights, by one row
        smooth = smooth.masked_fill(self.log_weights.isneginf(), 0.0)  # of the components of others it has none
        self.log_weights.copy_((smooth / smooth.sum(1, keepdim=True)).log())
        least = self.product.conclude(SMOOTHING, FLOOR, form.pool, form.shrinkage, form.shape, form.levels)
        if self.gaussians is not None:
            rank = form.rank if form.covariance == "low-rank" else None
            self.gaussians.conclude(form.shrinkage, rank, least[:, self.joint])

    @classmethod
    @torch.no_grad()
    def background(cls, space: Space, context: Space | None, rows: MixtureRows, smooth: Sequence[int] = ()) -> Components:
        """Return one component of independent columns, whose numbers are as wide as rows lie apart.

        With a little weight beside others it gives a row that is far from all of them the density of a rare event, so that no
        single row decides which form is best, bends a component to itself, or decides the mean of a file.
        """
        wide = cls(space, context, 1, "diagonal", smooth=smooth).to(rows.context.device)
        wide.observe(rows, torch.ones(len(rows), 1, dtype=torch.float64, device=rows.context.device))
        wide.conclude(Form(1, "diagonal", 0, 0.0, 0.0))
        far = (rows.parts.u - wide.product.mean).abs()
        far = far if rows.parts.inside is None else far.where(rows.parts.inside, 0.0)
        wide.product.std.copy_(torch.maximum(wide.product.std, far.amax(0)))
        return wide

    @classmethod
    @torch.no_grad()
    def together(cls, parts: Sequence[Components], shares: Sequence[float]) -> Components:
        """Return the components of several mixtures as those of one, in which each mixture has a share for every context."""
        first, count = parts[0], sum(one.count for one in parts)
        several = "full" if first.gaussians is not None else "diagonal"
        joined = cls(first.space, first.context, count, several, smooth=first.smooth).to(first.log_weights.device)
        weights = [one.log_weights + math.log(share) for one, share in zip(parts, shares, strict=True)]
        state = {"log_weights": torch.cat(weights, dim=1), "is_smooth": first.is_smooth}
        if first.gaussians is not None:
            means, factors = zip(*(one._normals() for one in parts), strict=True)
            state |= {"gaussians.mean": torch.cat(means), "gaussians.factor": torch.cat(factors)}
        states = [one.state_dict() for one in parts]
        others = {name: value for name, value in states[0].items() if name not in state}
        state |= {n: torch.cat([one[n] for one in states]) if value.ndim else value for n, value in others.items()}
        joined.load_state_dict(state)
        return joined

    def _normals(self) -> tuple[Tensor, Tensor]:
        """Return the means (K, R) and factors (K, R, R) of the joint numbers, which may be independent of each other."""
        if self.gaussians is None:
            return self.product.mean[:, self.joint], torch.diag_embed(self.product.std[:, self.joint])
        return self.gaussians.mean, self.gaussians.factor.expand(self.count, -1, -1)

    # -- answering ----------------------------------------------------------------------------------------------------

    def log_joint(self, rows: MixtureRows, tables: tuple[Tensor, list[Tensor]] | None) -> Tensor:
        """Return log p(k, x | c), (B, K), given the product's `joint_tables`."""
        out = self.product.log_prob_rows(rows.parts, tables)
        if self.gaussians is not None:
            out += self.gaussians.log_prob(rows.joint, rows.gaps, rows.edges)
        return out + (self.log_weights if len(self.log_weights) == 1 else self.log_weights[rows.context])

    def log_joint_of(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Return log p(k, x | c), (B, K), of x (B, *shape)."""
        self.product.check_fitted()
        tables = self.product.joint_tables(len(x))
        out = torch.empty(len(x), self.count, dtype=torch.float64, device=x.device)
        for at in self.product.chunks(len(x)):
            out[at] = self.log_joint(self.rows_of(x[at], None if c is None else c[at]), tables)
        return out

    def select(self, columns: list[int]) -> Components:
        """Return the components of some columns alone."""
        rest = self.product.cells.rest.tolist()
        joint = {rest[j]: place for place, j in enumerate(self.joint)}  # the place of a column among the joint normals
        places = [joint[i] for i in columns if i in joint]
        covariance = self.covariance if places else "diagonal"
        smooth = [at for at, i in enumerate(columns) if i in self.smooth]
        space = Space([self.space.kinds[i] for i in columns])
        part = Components(space, self.context, self.count, covariance, smooth=smooth)
        part.to(self.log_weights.device)
        part.product = self.product.select(columns)
        part.gaussians = self.gaussians.select(places) if self.gaussians is not None and places else None
        part.log_weights.copy_(self.log_weights)
        return part

    def alone(self, i: int) -> Product | None:
        """Return the product of column i, which is independent of the others given the component; None where it is not."""
        rest = self.product.cells.rest.tolist()
        if self.gaussians is not None and i in rest and rest.index(i) in self.joint:
            return None
        return self.product.select([i])

    def sample(self, weights: Tensor) -> Tensor:
        """Draw a component for every row by its weights (n, K), and all columns given the component."""
        k = draw_indices(weights)
        cell, u = self.product.draw_cells(k), self.product.draw_numbers(k)
        if self.gaussians is not None:
            u[:, self.joint] = self.gaussians.draw(k, u[:, self.joint], None)
        return self.product.cells.compose(cell, u)

    def given(self, x: Tensor, missing: Tensor, c: Tensor | None) -> Callable[[], Tensor]:
        """Return a function that draws the entries of `missing` (B, D) given the others of rows x (B, *shape) at each call.

        A draw is a component given the known entries, then the others given it and these. Rows may lack different columns; x
        holds any possible value there. Known entries are not kept.
        """
        cells, known = self.product.cells, ~missing
        parts = self.product.rows_of(x)
        joint, inside = self._numbers(parts)
        context = context_index(self.context_cells, c, len(x), x.device)
        there = known[:, cells.rest[self.joint]] if inside is None else known[:, cells.rest[self.joint]] & inside
        log_weights = self.log_weights[context].clone()
        starts = cells.offset.tolist()
        for j, i in enumerate(cells.tabled.tolist()):
            value = self.product.log_table.T[parts.cell[:, j] + starts[j]]
            log_weights += torch.where(known[:, i, None], value, 0.0)
        numbers = known[:, cells.rest] if parts.inside is None else known[:, cells.rest] & parts.inside
        none = parts.cell.new_zeros(len(x), 0)
        u = torch.where(numbers, parts.u, 0.0)  # as a product expects of numbers that are not there
        log_weights += self.product.log_prob_rows(ProductRows(none, u, numbers, parts.log_slope, parts.edges), None)
        if self.gaussians is not None:
            log_weights += self.gaussians.log_prob(joint, Gaps.of(there), self._edges(parts, joint))
        weights = log_weights.softmax(1)

        def draw() -> Tensor:
            k = draw_indices(weights)
            cell, u = self.product.draw_cells(k), self.product.draw_numbers(k)
            if self.gaussians is not None:
                u[:, self.joint] = self.gaussians.draw(k, joint, there)
            return cells.compose(cell, u)

        return draw

    # -- files --------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise DataError where the numbers are no mixture: weights or tables without mass 1, normals without a width."""
        if not bool(self.product.concluded):
            return
        mass = self.log_weights.exp().sum(1)
        if not bool(((mass - 1).abs() < 1e-6).all()):
            raise DataError("The weights of a mixture must add up to 1.")
        if self.product.cells.total:
            left_out = self.product.left_out
            if bool((self.product.log_table[:, left_out] != 0).any()):
                raise DataError("Blanks that stand for unknown values have no place in the tables of a mixture.")
            shares = self.product.log_table.masked_fill(left_out, -torch.inf)
            tables = self.product.cells.padded(shares).nan_to_num(nan=torch.inf).exp().sum(-1)
            if not bool(((tables - 1).abs() < 1e-6).all()):
                raise DataError("The probabilities of a table must add up to 1.")
        if not bool(self.product.mean.isfinite().all() and self.product.std.isfinite().all() and (self.product.std > 0).all()):
            raise DataError("A normal of the mixture has no finite mean, or no width.")
        if self.gaussians is not None:
            self.gaussians.check()


def saved_components(
    state: Mapping[str, Any], prefix: str, space: Space, context: Space | None, most: int | None
) -> Components | None:
    """Return components of the number and the freedom that a file holds, to take in its tensors; None: it holds no mixture.

    Args:
        state: the tensors of the file.
        prefix: of their names.
        space: of x.
        context: of c.
        most: the number that there must be; None: any.

    Raises:
        DataError: the file holds another number, or tensors that do not agree with one another.
    """
    found = described(state, prefix, space)
    if found is None:
        return None
    count, covariance, smooth = found
    if most is not None and count != most:
        raise DataError(f"The mixture has {most} components, and the file {count}.")
    # All tensors of the size that this asks for must be in the file, or its size would be anyone's choice.
    table, mean = state.get(prefix + "product.log_table"), state.get(prefix + "product.mean")
    one = Components(space, context, 1, "diagonal", smooth=smooth)
    total, rest = one.product.cells.total, len(one.product.cells.rest)
    if table is None or mean is None or table.shape != (count, total) or mean.shape != (count, rest):
        raise DataError(f"The tables and normals of the file are not those of {count} components.")
    factor = state.get(prefix + "gaussians.factor")
    if factor is not None and tuple(factor.shape[1:]) != (len(one.joint),) * 2:
        raise DataError("The covariances of the file are not those of the joint numbers of its space.")
    return Components(space, context, count, covariance, smooth=smooth)


def described(state: Mapping[str, Any], prefix: str, space: Space) -> tuple[int, str, tuple[int, ...]] | None:
    """Return the number of components, the kind of covariance, and the lattices among the joint normals that a file holds.

    Args:
        state: the tensors of the file.
        prefix: of their names.
        space: of x.

    Returns:
        None where it holds no mixture.

    Raises:
        DataError: columns are said to be among the joint normals that are no lattices, or have atoms among their values.
    """
    names = ("log_weights", "gaussians.factor", "is_smooth")
    weights, factor, smooth = (state.get(prefix + name) for name in names)
    if weights is None or weights.ndim != 2:
        return None
    if smooth is None or smooth.shape != (space.dim,) or smooth.dtype != torch.bool:
        raise DataError("A mixture says of every column whether it is a lattice among its joint normals.")
    lattices = tuple(smooth.nonzero().squeeze(1).tolist())
    if any(not isinstance(kind := space.kinds[i], Lattice) or kind.lattice_atoms for i in lattices):
        raise DataError("Among the joint normals of a mixture are real numbers, and lattices without atoms among their values.")
    if factor is None:
        return weights.shape[1], "diagonal", lattices
    if factor.ndim != 3:
        raise DataError("The covariances of a mixture have a factor each, a matrix.")
    return weights.shape[1], "tied" if len(factor) == 1 and weights.shape[1] != 1 else "full", lattices
