"""A net's numbers to a distribution on a space: one head for every kind of coordinate."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genus.compiled import is_traced
from genus.errors import GenusError
from genus.nets.cells import Cells, atom_cells, lattice_cells
from genus.nets.regression import LocScale
from genus.random import gumbel_like, normal_like, rng, uniform_like
from genus.space import Lattice, Parts, Space

__all__ = ["Coordinates", "Head", "SamplingOptions"]

FLOOR = -7.0  # of the log-scale in standardised units: a density may not sharpen without bound


class SamplingOptions(NamedTuple):
    """Say how sampling departs from the distribution: towards its mode.

    Args:
        temperature: probabilities are raised to 1 / temperature, scales multiplied by it; 0 takes the mode.
        top_k: only the k likeliest cells are drawn; of equally likely ones, the first.
        top_p: only the likeliest cells that together reach this probability (Holtzman et al. 2020, arXiv:1904.09751).
        blanks: whether a blank is drawn that stands for a value that is not known; False: the other cells are renormalised.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    blanks: bool = True

    def check(self) -> None:
        """Raise GenusError where a number makes no sense."""
        if not 0 <= self.temperature < math.inf:
            raise GenusError(f"temperature must be 0 (always the likeliest) or more; got {self.temperature}.")
        if self.top_k is not None and self.top_k < 1:
            raise GenusError(f"top_k is how many of the likeliest to draw from, 1 or more; got {self.top_k}.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise GenusError(f"top_p is a probability above 0 and at most 1; got {self.top_p}.")

    def cells(self, log_p: Tensor) -> Tensor:
        """Return log-probabilities (..., cells) changed by these options, unnormalised, -inf where nothing is to be drawn."""
        if self.temperature == 0:
            best = log_p.argmax(-1, keepdim=True)
            return torch.full_like(log_p, -torch.inf).scatter(-1, best, 0.0)
        log_p = log_p / self.temperature
        if self.top_k is not None and self.top_k < log_p.shape[-1]:
            kept = log_p.sort(dim=-1, descending=True, stable=True).indices[..., self.top_k :]
            log_p = log_p.scatter(-1, kept, -torch.inf)
        if self.top_p is not None and self.top_p < 1:
            ordered, index = log_p.log_softmax(-1).sort(dim=-1, descending=True, stable=True)
            before = ordered.exp().cumsum(-1) - ordered.exp()
            log_p = log_p.masked_fill((before >= self.top_p).gather(-1, index.argsort(-1)), -torch.inf)
        return log_p


UNCHANGED = SamplingOptions()


class Head(nn.Module):
    """Map a net's numbers (B, width) to independent distributions of the coordinates of a space.

    Categories, atoms and narrow lattices get a softmax; the continuous part of a Real a mixture of normals; a wide lattice a
    mixture of discretised logistics (Salimans et al. 2017, arXiv:1701.05517), whose end cells hold the tails.

    Args:
        space: of x.
        components: of every mixture.
        limit: the widest lattice that gets a softmax.

    Attributes:
        width: how many numbers; first come those of the tables, `tables` of them, then three for every component.
    """

    def __init__(self, space: Space, components: int = 1, limit: int = 32) -> None:
        super().__init__()
        if components < 1:
            raise GenusError(f"A mixture has 1 component or more; got components={components}.")
        self.space = space
        self.components = components
        self.cells = Cells(space, limit)
        self.tables = sum(self.cells.needs)
        self.width = self.tables + 3 * components * len(self.cells.rest)
        rest = [space.kinds[i] for i in self.cells.rest.tolist()]
        self.has_lattice = any(isinstance(k, Lattice) for k in rest)
        self.has_atoms = any(isinstance(k, Lattice) and k.lattice_atoms for k in rest)
        plain = [isinstance(k, Lattice) and not k.atoms and k.size <= limit for k in space.kinds]
        self.register_buffer("averaged", torch.tensor(plain)[self.cells.tabled], persistent=False)
        self.register_buffer(
            "lattice", torch.tensor([isinstance(k, Lattice) for k in rest], dtype=torch.bool), persistent=False
        )
        self.register_buffer("atoms", atom_cells(rest), persistent=False)
        # Normals and logistics are each computed for their own columns alone.
        at = [torch.tensor([i for i, k in enumerate(rest) if isinstance(k, Lattice) == wide]).long() for wide in (False, True)]
        for name, value in {"real_at": at[0], "lattice_at": at[1], "place": torch.cat(at).argsort()}.items():
            self.register_buffer(name, value, persistent=False)

    real_at: Tensor
    lattice_at: Tensor
    place: Tensor
    averaged: Tensor
    lattice: Tensor
    atoms: Tensor

    @torch.no_grad()
    def start_mixtures(self, x: Tensor) -> Tensor:
        """Return numbers (3 components R,) of mixtures that are near the distribution of every continuous part or wide lattice.

        All components but one are those of equally many sorted values, the last is wide. A component of values at the end of
        a lattice lies beyond it, since the end cell holds the tail.

        Args:
            x: rows of the training set, (B, *shape).
        """
        state, u, *_ = self.space.split(x)
        rest, count = self.cells.rest, self.components
        u = u[:, rest].double().masked_fill(state[:, rest] != 0, torch.nan)
        u = torch.where(u.isnan(), u.nanmean(0).nan_to_num(0.0), u)
        lower, upper, log_width = (cell[:, rest] for cell in lattice_cells(self.space, x))
        inner = torch.where((lower.isinf() | upper.isinf()), torch.nan, log_width)
        least = torch.where(self.lattice, inner.nanmedian(0).values.exp().nan_to_num(0.02), 0.1)
        whole = u.mean(0), torch.maximum(u.std(0, correction=0), 8 * least.clamp(max=0.1))
        groups = [] if count == 1 else u.sort(dim=0).values.tensor_split(count - 1)
        parts = [(g.mean(0), torch.maximum(g.std(0, correction=0), least)) for g in groups if len(g)]
        low, high = u.min(0).values, u.max(0).values
        parts = [(torch.where(m <= low, m - 2 * least, torch.where(m >= high, m + 2 * least, m)), s) for m, s in parts]
        parts += [whole] * (count - len(parts))
        loc, scale = torch.stack([m for m, _ in parts], 1), torch.stack([s for _, s in parts], 1)  # (R, components)
        raw = FLOOR + torch.expm1((scale.log() - FLOOR).clamp(min=0.1)).log()
        weight = torch.zeros_like(loc)
        weight[:, -1] = 0.0 if count == 1 else -2.0
        return torch.stack([weight, loc, raw], dim=1).flatten()

    def forward(self, params: Tensor) -> Coordinates:
        """Return the distributions that the numbers params (B, width) stand for, in single precision or better."""
        return Coordinates(self, params.to(torch.promote_types(params.dtype, torch.float32)))


class Coordinates:
    """Hold independent distributions of the D coordinates of B data, on one base measure with every other model."""

    def __init__(self, head: Head, params: Tensor) -> None:
        self.head = head
        rest = len(head.cells.rest)
        self.tables = params[:, : head.tables]
        self._log_cells: Tensor | None = None
        if not rest:
            self.log_weights = self.loc = self.log_scale = params.new_empty(len(params), 0, 1)
            return
        shape = params[:, head.tables :].reshape(len(params), rest, 3, head.components)
        self.log_weights = shape[:, :, 0].log_softmax(-1)  # (B, R, M)
        self.loc = shape[:, :, 1]
        self.log_scale = FLOOR + F.softplus(shape[:, :, 2] - FLOOR)

    def moved(self, unit: LocScale | None) -> Coordinates:
        """Return these distributions with their mixtures where a unit is, and in its lengths; None leaves them as they are."""
        rest = self.head.cells.rest
        if unit is not None and len(rest):
            loc, scale = (unit.loc, unit.scale) if self.head.cells.every_rest else (unit.loc[:, rest], unit.scale[rest])
            self.loc = loc.unsqueeze(-1).to(self.loc.dtype) + self.loc * scale.unsqueeze(-1)
            self.log_scale = (self.log_scale + scale.log().unsqueeze(-1)).clamp(min=FLOOR)
        return self

    @property
    def log_cells(self) -> Tensor:
        """Return the log-probability of every cell, (B, total), in nats."""
        if self._log_cells is None:  # functools would keep it under a lock, which torch's compiler cannot follow
            self._log_cells = self.head.cells.log_tables(self.tables)
        return self._log_cells

    def log_prob(self, x: Tensor, parts: Parts | None = None) -> Tensor:
        """Return the log-density of every coordinate of x (B, *shape) in data units, (B, D), in nats.

        `parts` are those of x, see `Space.split`, where they are known already.

        Where the numbers are those of several draws for every datum, (draws B, width), all data of one draw after those of
        another, it is (draws B, D).
        """
        head, cells = self.head, self.head.cells
        if cells.is_lattice:  # which has neither states nor a continuous part
            return self._of_cells(cells.index(x, x))
        state, u, log_slope = head.space.split(x) if parts is None else parts
        out = torch.zeros(len(self.tables), head.space.dim, dtype=self.log_scale.dtype, device=x.device)
        if cells.total:
            tables = self._of_cells(cells.index(x, state))
            out = tables if cells.every_tabled else out.index_copy(1, cells.tabled, tables)
        if len(cells.rest):
            rest = slice(None) if cells.every_rest else cells.rest
            cell = lattice_cells(head.space, x)[..., rest] if head.has_lattice else None
            state, u, log_slope = state[:, rest], u[:, rest], log_slope[:, rest]
            draws = len(out) // max(len(x), 1)
            if draws != 1:
                state, u, log_slope = (t.repeat(draws, 1) for t in (state, u, log_slope))
                cell = None if cell is None else cell.repeat(1, draws, 1)
            inside = self._rest_log_prob(u, cell) + log_slope.to(self.loc.dtype)
            if head.has_atoms:
                inside = inside + self._off_atoms(state == 0)
            if head.space.has_states:
                inside = torch.where(state == 0, inside, 0.0)
            out = out + inside if cells.every_rest else out.index_add(1, cells.rest, inside)
        return out

    def _of_cells(self, cell: Tensor) -> Tensor:
        """Return log-probabilities (draws B, J) of cells (B, J); what is known of the data is looked at once for all draws."""
        if self.head.cells.every_two:
            logits = self.tables.view(-1, *cell.shape) if len(cell) else self.tables.unsqueeze(0)
            chosen = cell.to(logits.dtype).expand_as(logits)
            return -F.binary_cross_entropy_with_logits(logits, chosen, reduction="none").flatten(0, 1)
        draws = len(self.tables) // max(len(cell), 1)
        return self.head.cells.log_probs(self.tables, cell if draws == 1 else cell.repeat(draws, 1))

    def _rest_log_prob(self, u: Tensor, cell: Tensor | None = None) -> Tensor:
        """Return log-densities (B, R) of the continuous parts u (B, R), with what a lattice's atoms take of it still in.

        Args:
            u: (B, R).
            cell: where a column is on a lattice, the cells of all values as `cell_mass` takes them, (3, B, R).
        """
        u = u.to(self.loc.dtype)
        if cell is None:
            return (self.log_weights + _log_normal(u, self.loc, self.log_scale)).logsumexp(-1)
        cell = cell.to(u.dtype)
        if not len(reals := self.head.real_at):
            return (self.log_weights + cell_mass(cell, self.loc, self.log_scale)).logsumexp(-1)
        lattices = self.head.lattice_at
        mixtures = self.log_weights, self.loc, self.log_scale
        weights, *normal = (t[:, reals] for t in mixtures)
        found = (weights + _log_normal(u[:, reals], *normal)).logsumexp(-1)
        weights, *logistic = (t[:, lattices] for t in mixtures)
        masses = (weights + cell_mass(cell[..., lattices], *logistic)).logsumexp(-1)
        return torch.cat([found, masses], dim=1)[:, self.head.place]

    def expected_log_prob(self, loc: Tensor, log_scale: Tensor, draws: int = 8) -> Tensor:
        """Return E_q log p(u) of the continuous parts, (B, R), in nats; q a normal of loc, log_scale (B, R), all standardised.

        In closed form where p is a normal; of a mixture by antithetic draws of q, which gradients go through.
        """
        if self.loc.shape[-1] == 1:
            distance = ((loc - self.loc[..., 0]).square() + (2 * log_scale).exp()) * torch.exp(-2 * self.log_scale[..., 0])
            return -0.5 * distance - self.log_scale[..., 0] - 0.5 * math.log(2 * math.pi)
        noise = torch.randn(max(1, draws // 2), *loc.shape, dtype=loc.dtype, device=loc.device, generator=rng(loc.device))
        some = [self._rest_log_prob(loc + sign * z * log_scale.exp()) for z in noise for sign in (1, -1)]
        return torch.stack(some).mean(0)

    def _off_atoms(self, inside: Tensor) -> Tensor:
        """Return what is added to log-densities where a lattice's continuous part lives off its atoms, (B, R).

        A column may have hundreds of atoms, and few data off them: only for these is their mass summed.

        Args:
            inside: bool (B, R), true where the data are continuous parts.
        """
        head = self.head
        out = torch.zeros_like(inside, dtype=self.loc.dtype)
        atoms = head.atoms.to(out.dtype)  # (3, R, A)
        affected = inside & ~atoms[0, :, 0].isnan()
        mixtures = (self.log_weights, self.loc, self.log_scale)
        if is_traced() or affected.device.type != "cpu":  # which data these are cannot be looked at, or would be waited for
            return torch.where(affected, _log_rest(*mixtures, atoms), 0.0)
        row, column = affected.nonzero(as_tuple=True)
        if not len(row):
            return out
        log_weights, loc, log_scale = (t[row, column] for t in mixtures)
        return out.index_put((row, column), _log_rest(log_weights, loc, log_scale, atoms[:, column]))

    def sample(self, options: SamplingOptions = UNCHANGED) -> Tensor:
        """Draw every datum once: (B, *shape) in data units."""
        cells = self.head.cells
        cell = torch.zeros(len(self.loc), len(cells.tabled), dtype=torch.long, device=self.loc.device)
        if cells.every_two and options == UNCHANGED:
            cell = (uniform_like(self.tables) < self.tables.sigmoid()).long()
        elif cells.total:
            log_cells = self.log_cells if options.blanks else self.log_cells.masked_fill(cells.unknown, -torch.inf)
            padded = cells.padded(log_cells)
            if options != UNCHANGED:
                padded = options.cells(padded)
            cell = (padded + gumbel_like(padded)).argmax(-1)
        return cells.compose(cell, self._sample_rest(options.temperature))

    def middle(self) -> Tensor:
        """Return what is to be expected, (B, *shape), in data units.

        Whole numbers of a table are at their mean, rounded; all else is at its likeliest, of mixtures the middle of the
        component that is highest there.
        """
        cells = self.head.cells
        x = self.sample(SamplingOptions(temperature=0.0))
        if not self.head.averaged.any():
            return x
        values = cells.padded(cells.values.to(self.log_cells.dtype))
        mean = (cells.padded(self.log_cells).exp() * values.nan_to_num(0.0, neginf=0.0)).sum(-1)  # (B, J)
        columns = cells.tabled[self.head.averaged]
        table = self.head.space.tables(mean)
        low, step = table.low[columns], table.step[columns]
        flat = x.reshape(len(x), self.head.space.dim)
        snapped = ((mean[:, self.head.averaged] - low) / step).round() * step + low
        return flat.index_copy(1, columns, snapped.to(flat.dtype)).reshape(x.shape)

    def _sample_rest(self, temperature: float) -> Tensor:
        head = self.head
        if not len(head.cells.rest):
            return self.loc[..., 0]
        u = self._draw(temperature)
        if head.has_atoms:
            # Redraw what fell on an atom: the continuous part lives off the atoms. A component as narrow as FLOOR could insist.
            lower, upper, _ = head.atoms
            for _ in range(100):
                at = u.double().unsqueeze(-1)
                hit = ((at > lower) & (at < upper)).any(-1)
                if not hit.any():
                    break
                u = torch.where(hit, self._draw(temperature), u)
        return u

    def _draw(self, temperature: float) -> Tensor:
        head = self.head
        if temperature == 0:
            # the middle where the density is highest
            log_weights = SamplingOptions(0.0).cells(self.log_weights - self.log_scale)
        else:
            log_weights = self.log_weights if temperature == 1 else SamplingOptions(temperature).cells(self.log_weights)
        which = (log_weights + gumbel_like(log_weights)).argmax(-1, keepdim=True)
        loc, scale = self.loc.gather(-1, which).squeeze(-1), self.log_scale.gather(-1, which).squeeze(-1).exp()
        noise = normal_like(loc)
        if head.has_lattice:
            noise = torch.where(head.lattice, uniform_like(loc).clamp(1e-7, 1 - 1e-7).logit(), noise)
        return loc + temperature * scale * noise


def _log_normal(u: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log-density (..., M) of numbers u (...) under each normal, in nats."""
    z = (u.unsqueeze(-1) - loc) * torch.exp(-log_scale)
    return -0.5 * z.square() - log_scale - 0.5 * math.log(2 * math.pi)


def _log_rest(log_weights: Tensor, loc: Tensor, log_scale: Tensor, atoms: Tensor) -> Tensor:
    """Return -log(1 - mass at the atoms) (...) of mixtures (..., M) on lattices with atoms (3, ..., A), NaN for fewer."""
    none = atoms[0].isnan()
    cells = atoms.masked_fill(none, 0.0)
    mass = (log_weights.unsqueeze(-2) + cell_mass(cells, loc.unsqueeze(-2), log_scale.unsqueeze(-2))).logsumexp(-1).exp()
    return -torch.log1p(-torch.where(none, 0.0, mass).sum(-1).clamp(max=1 - 1e-6))


def cell_mass(cell: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log-mass (..., M) of cells (...) under each logistic, in nats.

    sigma(b) - sigma(a) = sigma(b) sigma(-a) (1 - exp(a - b)): no cancellation, however narrow the cell.

    Args:
        cell: (3, ...), the lower edges of the cells, the upper, and the logs of their widths, which may have more digits than
            the difference. Edges at the ends of a lattice are infinite, so that these cells hold the tails.
        loc, log_scale: (..., M).
    """
    lower, upper, log_width = cell
    inverse = torch.exp(-log_scale)
    first, last = lower.isinf(), upper.isinf()
    # What is infinite is replaced before it meets a parameter, whose gradient would be NaN.
    above = (upper.masked_fill(last, 0.0).unsqueeze(-1) - loc) * inverse
    below = (lower.masked_fill(first, 0.0).unsqueeze(-1) - loc) * inverse
    log_width = log_width.masked_fill(first | last, 0.0).unsqueeze(-1) - log_scale
    first, last = first.unsqueeze(-1), last.unsqueeze(-1)
    width = log_width.exp().clamp(min=1e-12)  # a scale that dwarfs the lattice leaves a cell a mass that underflows
    inner = log_width + torch.log(-torch.expm1(-width) / width)
    tails = torch.where(last, 0.0, -F.softplus(-above)) + torch.where(first, 0.0, -F.softplus(below))
    return tails + torch.where(first | last, 0.0, inner)
