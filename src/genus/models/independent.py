"""Independent columns, each as good as its values alone allow: the baseline of a comparison."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from genus.ladder import Counted, TractableDensity
from genus.ladder.unknown import placeholder_row, set_columns
from genus.models.masses import normal_cell_mass
from genus.models.product import Product
from genus.models.student import log_student, student_cell_mass, student_quantile
from genus.random import gumbel_like, normal_like, uniform_like
from genus.space import Space

__all__ = ["Independent"]

SIZES = (1, 2, 4, 8)  # normals in a mixture
KEPT, NUMBERS = 2**15, 2**20  # rows, and numbers in all, that mixtures are fitted to; more would change them little
AT_ONCE = 2**22  # responsibilities
STEPS, GAIN = 60, 1e-5  # of EM, at most; and the nats a row below which it has converged
VALIDATION = 5  # every how many-th row chooses among the sizes
LEAST = 10  # rows for each normal
NARROWEST = 1e-3  # of the spread of a column


class Independent(Counted, TractableDensity, name="independent"):
    """Fit every column by itself, whatever the context: p(x | c) = prod_j p(x_j), the baseline of a comparison.

    A log-density above this one measures dependence, and nothing else. Categories, atoms and short lattices are counted. Other
    numbers have a mixture of 1, 2, 4 or 8 normals in their chart u, as many as give a fifth of the rows the highest likelihood,
    by EM (Dempster et al. 1977). Beside the normals stands a Student's t of four degrees of freedom with the weight of one row,
    so that a single row far out cannot topple the mean. In a chart in which x grows exponentially it has that of one row in n²,
    since a few of its draws would be a thousand times the others.

    >>> import genus
    >>> data = genus.read("iris")
    >>> model = Independent(data.space)
    >>> model.observe(data.x); model.conclude()
    >>> model.log_prob(data.x).shape
    torch.Size([150])
    """

    draws_apart = True
    info = TractableDensity.info.replace(
        title="independent columns", group="counted", takes="any table or image; it ignores the context", listed=False
    )
    statistics = tuple(f"product.{name}" for name in Product.statistics)

    def __init__(self, space: Space, context: Space | None = None) -> None:
        super().__init__(space, context)
        self.product = Product(space, 1)
        shape = (len(self.product.cells.rest), SIZES[-1] + 1)  # the last is the Student's t
        for name, value in {"log_weights": -math.inf, "mean": 0.0, "std": 1.0}.items():
            self.register_buffer(name, torch.full(shape, value, dtype=torch.float64))
        self._kept: list[Tensor] = []  # numbers in their charts (n, R), NaN where absent
        self._seen, self._stride = 0, 1

    log_weights: Tensor
    mean: Tensor
    std: Tensor

    @property
    def _mixtures(self) -> Mixtures:
        return Mixtures(self.log_weights, self.mean, self.std)

    # -- learning -----------------------------------------------------------------------------------------------------

    def observe(self, x: Tensor, c: Tensor | None = None) -> None:
        self.product.observe(x, None)
        rest = self.product.cells.rest
        if len(rest):
            state, u, *_ = self.space.split(x)
            u = u[:, rest].double().masked_fill(state[:, rest] != 0, math.nan)
            self._kept.append(u[-self._seen % self._stride :: self._stride])
            self._seen += len(x)
            self._thin()

    def merge(self, other: Counted) -> None:
        super().merge(other)
        if isinstance(other, Independent) and self._kept and other._kept:
            stride = max(self._stride, other._stride)
            every = [torch.cat(one._kept)[:: stride // one._stride] for one in (self, other)]
            self._kept, self._seen, self._stride = every, self._seen + other._seen, stride
            self._thin()
        elif isinstance(other, Independent) and other._kept:
            self._kept, self._seen, self._stride = list(other._kept), other._seen, other._stride

    def _thin(self) -> None:
        """Keep every second of the numbers, and of those to come, while they are too many."""
        most = max(1000, min(KEPT, NUMBERS // len(self.product.cells.rest)))
        while sum(map(len, self._kept)) > 2 * most:
            self._kept, self._stride = [torch.cat(self._kept)[::2]], 2 * self._stride

    def clear(self) -> None:
        super().clear()
        self._kept, self._seen, self._stride = [], 0, 1

    def conclude(self) -> None:
        self.product.conclude(1.0, 1e-9)
        if self._kept:
            u = torch.cat(self._kept)
            at = quantiles(u, SIZES[-1])  # where in every column the least standard deviation is known
            least = self.product.cut.half_cells(at.T).T
            charts = [self.space.kinds[i].chart for i in self.product.cells.rest.tolist()]
            grows = torch.tensor([chart.grows for chart in charts], device=u.device)
            for columns in torch.arange(u.shape[1], device=u.device).split(max(1, AT_ONCE // (len(u) * SIZES[-1]))):
                fitted = fit_columns(u[:, columns], Floor(at[columns], least[columns]), grows[columns])
                for name, value in zip(("log_weights", "mean", "std"), fitted, strict=True):
                    getattr(self, name)[columns] = value

    # -- answering ----------------------------------------------------------------------------------------------------

    def _log_prob(self, x: Tensor, c: Tensor | None) -> Tensor:
        return self._log_each(x).sum(1)

    def _log_each(self, x: Tensor) -> Tensor:
        """Return the log-density of every column, (B, D), in nats."""
        self.product.check_fitted()
        cells = self.product.cells
        parts = self.space.split(x)
        out = torch.zeros(len(x), self.space.dim, dtype=torch.float64, device=x.device)
        if cells.total:
            at = cells.index(x, parts.state) + cells.offset
            out = out.index_copy(1, cells.tabled, self.product.log_table[0][at])
        if len(cells.rest):
            state, u, log_slope = (t[:, cells.rest] for t in parts)
            density = log_components(u.double(), self._mixtures).logsumexp(-1) + log_slope.double()
            if self.product.lattice:
                every = self.product.lattice_cells(x)
                for i, j in enumerate(self.product.lattice):
                    density[:, j] = self._lattice(every[..., i], i, j)
            out = out.index_add(1, cells.rest, torch.where(state == 0, density, 0.0))
        return out

    def _lattice(self, cell: Tensor, i: int, j: int) -> Tensor:
        """Return the log-mass (B,) of cells (3, B) of the i-th lattice, normalised over the lattice without its atoms."""
        atoms = self.product.atoms[:, i]
        taken = self._mass(atoms[:, ~atoms[0].isnan()], j).exp().sum()
        return self._mass(cell, j) - (1 - taken).clamp(min=1e-300).log()

    def _mass(self, cell: Tensor, j: int) -> Tensor:
        """Return the log-mass (B,) of cells (3, B) of a column under its mixture."""
        mean, std = self.mean[j], self.std[j]
        normals = normal_cell_mass(cell, mean[:-1], std[:-1])
        student = student_cell_mass((cell[0] - mean[-1]) / std[-1], (cell[1] - mean[-1]) / std[-1])
        return (torch.cat([normals, student.unsqueeze(1)], dim=1) + self.log_weights[j]).logsumexp(1)

    def _log_marginal(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        row = placeholder_row(self.space, x).repeat(len(x), 1).view(-1, *self.space.shape)
        return self._log_each(set_columns(row, columns, x))[:, columns].sum(1)

    def _conditional(self, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
        return self._sample(len(x), c)  # columns are independent

    def _draw_given(self, x: Tensor, columns: list[int], c: Tensor | None, blanks: bool) -> Tensor:
        return self._rows(len(x), blanks)

    def log_without_blanks(self, x: Tensor, columns: list[int]) -> Tensor:
        """Return the log-probability (B,) that none of these columns is a blank for an unknown value."""
        cells = self.product.cells
        mass = self.product.log_table[0].exp().masked_fill(~cells.unknown, 0.0)
        blank = cells.padded(mass[None]).nan_to_num(neginf=0.0)[0].sum(-1)  # of every column with a table
        own = [j for j, i in enumerate(cells.tabled.tolist()) if i in columns]
        return torch.log1p(-blank[own]).sum().expand(len(x))

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        return self._rows(n, True)

    def _rows(self, n: int, blanks: bool) -> Tensor:
        """Draw n rows, with or without blanks for unknown values."""
        none = torch.zeros(n, dtype=torch.long, device=self.mean.device)
        cell, u = self.product.draw_cells(none, blanks), self._draw(n)
        lower, upper, _ = self.product.atoms
        for _ in range(64 if self.product.atoms.shape[-1] else 0):  # the continuous part lives off the atoms
            at, hit = u[:, self.product.lattice].unsqueeze(-1), torch.zeros_like(u, dtype=torch.bool)
            hit[:, self.product.lattice] = ((at > lower) & (at < upper)).any(-1)
            if not hit.any():
                break
            u = torch.where(hit, self._draw(n), u)
        return self.product.cells.compose(cell, u)

    def _draw(self, n: int) -> Tensor:
        """Draw the numbers of all columns, (n, R), in their charts."""
        log_weights = self.log_weights.expand(n, *self.log_weights.shape)
        which = (log_weights + gumbel_like(log_weights)).argmax(-1, keepdim=True)
        mean, std = (t.expand_as(log_weights).gather(-1, which).squeeze(-1) for t in (self.mean, self.std))
        level = uniform_like(mean).clamp(1e-12, 1 - 1e-12)
        student = student_quantile(level, 1 - level)
        return mean + std * torch.where(which.squeeze(-1) == SIZES[-1], student, normal_like(mean))


# -- mixtures of many columns at once -------------------------------------------------------------------------------------


class Mixtures(NamedTuple):
    """Holds a mixture for each of C columns: normals, and last a Student's t, see `log_student`; all are (C, K + 1)."""

    log_weights: Tensor
    mean: Tensor
    std: Tensor


class Floor(NamedTuple):
    """Holds the least standard deviations of components at some places of C columns, (C, Q) each."""

    at: Tensor
    least: Tensor

    def __call__(self, mean: Tensor) -> Tensor:
        """Return the least standard deviations (C, K) of components with these means (C, K): those of the nearest place."""
        nearest = (mean.unsqueeze(-1) - self.at.unsqueeze(1)).abs().argmin(-1)
        return self.least.gather(1, nearest)


def quantiles(u: Tensor, count: int) -> Tensor:
    """Return the middles (C, count) of so many equal shares of the numbers u (N, C) that are not NaN; 0 where all are."""
    levels = (torch.arange(count, dtype=u.dtype, device=u.device) + 0.5) / count
    return torch.stack([torch.nanquantile(column, levels) for column in u.T]).nan_to_num(0.0)


def log_components(u: Tensor, mixtures: Mixtures) -> Tensor:
    """Return log(weight times density) of u (N, C) under every component, (N, C, K + 1), in nats."""
    z = (u.unsqueeze(-1) - mixtures.mean) / mixtures.std
    log_density = torch.cat([-0.5 * z[..., :-1].square() - 0.5 * math.log(2 * math.pi), log_student(z[..., -1:])], dim=-1)
    return mixtures.log_weights + log_density - mixtures.std.log()


def fit_columns(u: Tensor, floor: Floor, grows: Tensor) -> Mixtures:
    """Return for each column of u (N, C), NaN where absent, the mixture of as many normals as validation rows like best.

    Args:
        u: numbers in their charts.
        floor: the least standard deviations.
        grows: (C,) true where the chart's x grows exponentially with u.
    """
    there, filled = ~u.isnan(), u.nan_to_num(0.0)
    rows = there.sum(0)
    held = torch.zeros(len(u), 1, dtype=torch.bool, device=u.device)
    held[torch.randperm(len(u), generator=torch.Generator().manual_seed(0))[::VALIDATION]] = True
    low, centre, high = (torch.nanquantile(u, level, dim=0).nan_to_num(0.0) for level in (0.16, 0.5, 0.84))
    deviation = ((filled - centre).square() * there).sum(0).div(rows.clamp(min=1)).sqrt()
    spread = torch.where(high > low, (high - low) / 2, torch.where(deviation > 0, deviation, 1.0))
    heavy = -torch.log(rows + 2.0) * (1 + grows.double())

    seen = (there & held).double()
    count = seen.sum(0).clamp(min=1)
    chosen: Mixtures | None = None
    values = torch.zeros_like(filled)
    for size in SIZES:
        mean = torch.cat([quantiles(u, size), centre.unsqueeze(1)], dim=1)
        std = (spread.unsqueeze(1) * 1.5 / size).repeat(1, size + 1)
        std[:, -1] = spread
        start = Mixtures(with_heavy(torch.zeros_like(mean[:, :-1]), heavy), mean, std)
        found = em(filled, (there & ~held).double(), start, floor, spread)
        new, found = log_components(filled, found).logsumexp(-1), padded(found, SIZES[-1])
        if chosen is None:
            chosen, values = found, new
            continue
        gain = (new - values) * seen  # which has to exceed its own standard error
        mean_gain = gain.sum(0) / count
        error = ((gain.square().sum(0) / count - mean_gain.square()).clamp(min=0) / count).sqrt()
        better = (mean_gain > error) & (rows >= LEAST * size)
        chosen = Mixtures(*(torch.where(better.unsqueeze(1), a, b) for a, b in zip(found, chosen, strict=True)))
        values = torch.where(better, new, values)
    assert chosen is not None
    return em(filled, there.double(), chosen, floor, spread)


def with_heavy(counts: Tensor, heavy: Tensor) -> Tensor:
    """Return log-weights (C, K + 1) in proportion to exp(counts) (C, K), the last of them given (C,)."""
    share = torch.log1p(-heavy.exp()).unsqueeze(1)
    return torch.cat([counts.log_softmax(-1) + share, heavy.unsqueeze(1)], dim=1)


def padded(mixtures: Mixtures, size: int) -> Mixtures:
    """Return the mixtures with `size` normals, those that are added without weight."""
    more = size + 1 - mixtures.mean.shape[1]
    fill = zip(mixtures, (-math.inf, 0.0, 1.0), strict=True)
    return Mixtures(*(torch.cat([t.new_full((len(t), more), value), t], dim=1) for t, value in fill))


def em(u: Tensor, weight: Tensor, mixtures: Mixtures, floor: Floor, spread: Tensor) -> Mixtures:
    """Return the mixtures after steps of EM on u (N, C) with weights (N, C); the Student's t stays as it is."""
    rows, last = weight.sum(0).clamp(min=1), torch.full_like(spread, -math.inf)
    for _ in range(STEPS):
        joint = log_components(u, mixtures)
        total = joint.logsumexp(-1)
        value = (total * weight).sum(0) / rows
        if bool((value - last < GAIN).all()):
            break
        last = value
        share = (joint[..., :-1] - total.unsqueeze(-1)).exp() * weight.unsqueeze(-1)
        count = share.sum(0)
        mean = torch.where(count > 0, (share * u.unsqueeze(-1)).sum(0) / count.clamp(min=1e-12), mixtures.mean[:, :-1])
        squares = (share * (u.unsqueeze(-1) - mean).square()).sum(0) / count.clamp(min=1e-12)
        std = squares.sqrt().maximum(NARROWEST * spread.unsqueeze(1)).maximum(floor(mean))
        mixtures = Mixtures(
            with_heavy(count.clamp(min=1e-300).log(), mixtures.log_weights[:, -1]),
            torch.cat([mean, mixtures.mean[:, -1:]], dim=1),
            torch.cat([std, mixtures.std[:, -1:]], dim=1),
        )
    return mixtures
