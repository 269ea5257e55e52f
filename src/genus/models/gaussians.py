"""Multivariate normals, a mixture's block of real numbers: any numbers may be absent, and any drawn given the others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genus.errors import DataError
from genus.models.cut import Cut
from genus.random import normal_like
from genus.space import Kind

__all__ = ["Gaps", "Gaussians"]

CHUNK = 2**19  # numbers made at once on the way to a density
FLOOR = 1e-8  # of a variance, in standardised units: far clusters may be 1e4 times as narrow as all the data
BITS = 52  # of a whole number in double precision
OFTEN = 256  # rows that have the same numbers and are handled alone; of fewer, many sets together
LOG_TURN = math.log(2 * math.pi)
STEPS = 4  # of the fixed point of a factor analysis, at every M-step


class Gaps(NamedTuple):
    """Says which numbers rows have.

    Attributes:
        patterns: (P, R) the different sets of numbers that rows have.
        which: (B,) the number of each row's pattern.
    """

    patterns: Tensor
    which: Tensor

    @classmethod
    def of(cls, inside: Tensor | None) -> Gaps | None:
        """Return the gaps of rows that have the numbers (B, R) that are True; None where they have all."""
        if inside is None or bool(inside.all()):
            return None
        if inside.shape[1] <= BITS:  # a pattern is a number, and numbers are sorted fast
            powers = 2.0 ** torch.arange(inside.shape[1], dtype=torch.float64, device=inside.device)
            numbers, which = torch.unique(inside.double() @ powers, return_inverse=True)
            return cls((numbers.unsqueeze(1) / powers).floor().remainder(2.0) == 1, which)
        return cls(*torch.unique(inside, dim=0, return_inverse=True))


class Gaussians(nn.Module):
    """K normals of R numbers, learned from expected counts, first and second moments.

    Where a row lacks some numbers, its density is that of those present, and learning fills in the moments that are expected of
    the others (Ghahramani & Jordan 1994). Numbers of lattices have the masses of their cells, see `Cut`.

    Args:
        kinds: of the R numbers, 1 or more.
        components: K.
        tied: all components share a covariance.

    >>> from genus import Real
    >>> normals = Gaussians([Real(), Real()], components=1, tied=False)
    >>> normals.log_prob(torch.zeros(1, 2, dtype=torch.float64), None).round(decimals=3)  # -log(2 pi)
    tensor([[-1.8380]], dtype=torch.float64)
    """

    mean: Tensor  # (K, R)
    factor: Tensor  # (K, R, R), or (1, R, R) where tied: lower triangular, factor @ factor.T is the covariance

    def __init__(self, kinds: Sequence[Kind], components: int, tied: bool) -> None:
        super().__init__()
        self.cut, self.components, self.tied = Cut(kinds), components, tied
        self.dim = dim = len(kinds)
        one = 1 if tied else components
        self.register_buffer("mean", torch.zeros(components, dim, dtype=torch.float64))
        self.register_buffer("factor", torch.eye(dim, dtype=torch.float64).repeat(one, 1, 1))
        for name, shape in {"rows": (components,), "sums": (components, dim), "squares": (one, dim, dim)}.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64), persistent=False)

    rows: Tensor
    sums: Tensor
    squares: Tensor
    statistics = ("rows", "sums", "squares")

    def check(self) -> None:
        """Raise DataError where the numbers are no normals: not finite, or a factor that is not lower triangular."""
        diagonal = self.factor.diagonal(dim1=1, dim2=2)
        if not bool(self.mean.isfinite().all() and self.factor.isfinite().all()):
            raise DataError("A normal of the mixture has a mean or a covariance that is not finite.")
        if bool((diagonal <= 0).any()) or bool(self.factor.triu(1).any()):
            raise DataError("The factors of covariances must be lower triangular, with a positive diagonal.")
        squares = self.factor.square().sum(2), self.mean.square(), diagonal.pow(-2)
        if not all(bool(value.isfinite().all()) for value in squares):
            raise DataError("A normal of the mixture is so far off, so wide or so narrow that its density is no number.")

    def select(self, places: list[int]) -> Gaussians:
        """Return the normals of some of the numbers."""
        part = Gaussians([self.cut.kinds[j] for j in places], self.components, self.tied).to(self.mean.device)
        factor = self.factor[:, places]
        part.mean, part.factor = self.mean[:, places], _factor(factor @ factor.transpose(1, 2))
        return part

    # -- learning -----------------------------------------------------------------------------------------------------

    def observe(self, u: Tensor, gaps: Gaps | None, weight: Tensor) -> None:
        """Add rows u (B, R), of which some numbers may be absent, with memberships weight (B, K)."""
        self.rows += weight.sum(0)
        for rows, present, which in self._groups(gaps, len(u)):
            if present is None:
                self._observe_whole(u[rows], weight[rows])
            else:
                self._observe(u[rows], weight[rows], present, which)

    def _observe_whole(self, u: Tensor, weight: Tensor) -> None:
        self.sums += weight.T @ u
        if self.tied:
            self.squares += u.T @ (u * weight.sum(1, keepdim=True))
        else:
            for k in range(self.components):
                self.squares[k] += (u * weight[:, k : k + 1]).T @ u

    def _observe(self, u: Tensor, weight: Tensor, present: Tensor, which: Tensor) -> None:
        """Add rows that have the numbers present[which], (P, R), and the others as they are expected in each component."""
        inverse, across, rest = _given(self.factor @ self.factor.transpose(1, 2), present.unsqueeze(1))
        there = present[which].unsqueeze(1)
        z = _times(inverse, which, torch.where(there, u.unsqueeze(1) - self.mean, 0.0))
        expected = self.mean + _times(across.transpose(2, 3), which, z)
        full = torch.where(there, u.unsqueeze(1), expected).transpose(0, 1)  # (K, B, R)
        weighted = full * weight.T.unsqueeze(2)
        self.sums += weighted.sum(1)
        rows = weight.new_zeros(len(present), self.components).index_add_(0, which, weight)
        squares = weighted.transpose(1, 2) @ full + (rows[:, :, None, None] * rest).sum(0)
        self.squares += squares.sum(0, keepdim=True) if self.tied else squares

    def _groups(self, gaps: Gaps | None, n: int) -> Iterator[tuple[Any, Tensor | None, Tensor]]:
        """Yield rows in groups that are handled at once: their places, the patterns (P, R) and that of each row, (B,).

        Where there is one pattern, of all numbers, it is None.
        """
        if gaps is None:
            yield slice(None), None, torch.zeros(0, dtype=torch.long)
            return
        count = torch.bincount(gaps.which, minlength=len(gaps.patterns))
        size = self.components * self.dim**2  # numbers of a pattern, and of a row that has one for itself
        for p in (count >= OFTEN).nonzero().squeeze(1).tolist():
            rows = (gaps.which == p).nonzero().squeeze(1)
            pattern = None if bool(gaps.patterns[p].all()) else gaps.patterns[p : p + 1]
            for part in rows.split(len(rows) if pattern is None else max(1, CHUNK // (self.components * self.dim))):
                yield part, pattern, torch.zeros_like(part)
        rows = (count[gaps.which] < OFTEN).nonzero().squeeze(1)
        rows = rows[gaps.which[rows].argsort()]
        for part in rows.split(max(1, CHUNK // size)):
            patterns, which = gaps.which[part].unique(return_inverse=True)
            yield part, gaps.patterns[patterns], which

    def conclude(self, shrinkage: float, rank: int | None, least: Tensor | None = None) -> None:
        """Set the parameters from the statistics.

        Args:
            shrinkage: rows' worth of the covariance within components that every component's is drawn towards. Its scale is the
                mean of their logs, since components may differ in scale by orders of magnitude.
            rank: of a factor analysis, a diagonal and so many factors; None: any covariance.
            least: (K, R) below which no number's standard deviation given those before it falls; None: 0.
        """
        n = self.rows.clamp(min=1e-9)
        overall = self.sums.sum(0) / n.sum()
        self.mean.copy_(torch.where((self.rows > 1e-9).unsqueeze(1), self.sums / n.unsqueeze(1), overall))
        outer = self.mean.unsqueeze(2) * self.mean.unsqueeze(1)
        weighted = self.rows[:, None, None] * outer
        eye = torch.eye(self.dim, dtype=n.dtype, device=n.device)
        within = (self.squares.sum(0) - weighted.sum(0)) / n.sum() + eye / n.sum().clamp(
            min=1
        ).square()  # of few rows it is wide
        if self.tied:
            covariance = within.unsqueeze(0)
        else:
            scatter = self.squares - weighted
            spread = scatter.diagonal(dim1=1, dim2=2).clamp(min=0) + within.diagonal().clamp(min=FLOOR)
            logs = (spread / (self.rows + 1).unsqueeze(1)).log()
            typical = ((self.rows / n.sum()).unsqueeze(1) * logs).sum(0).exp()
            change = (typical / within.diagonal().clamp(min=FLOOR)).sqrt()
            prior = within * change * change.unsqueeze(1)
            strength = max(shrinkage, 1e-6)  # so that a component without rows has a covariance
            covariance = (scatter + strength * prior) / (n + strength)[:, None, None]
        if rank is not None:
            covariance = _factor_analysis(covariance, min(rank, self.dim - 1))
        self.factor.copy_(_factor(covariance + FLOOR * eye))
        if least is not None:
            self.factor.diagonal(dim1=1, dim2=2).clamp_(min=least.amin(0, keepdim=True) if self.tied else least)

    # -- answering ----------------------------------------------------------------------------------------------------

    def log_prob(self, u: Tensor, gaps: Gaps | None, edges: Tensor | None = None) -> Tensor:
        """Return the log-densities (B, K) of the numbers that are present in u (B, R), in nats.

        Args:
            u: (B, R).
            gaps: which numbers are present; None: all.
            edges: (2, B, L) from each number on a lattice to both ends of its cell; None where no number is.
        """
        out = torch.zeros(len(u), self.components, dtype=torch.float64, device=u.device)
        for rows, present, which in self._groups(gaps, len(u)):
            ends = None if edges is None else edges[:, rows]
            out[rows] = self._log_prob(u[rows], ends) if present is None else self._log_part(u[rows], ends, present, which)
        return out

    def _log_prob(self, u: Tensor, edges: Tensor | None) -> Tensor:
        eye = torch.eye(self.dim, dtype=u.dtype, device=u.device)
        inverse = torch.linalg.solve_triangular(self.factor, eye.expand_as(self.factor), upper=False)
        scale = self.factor.diagonal(dim1=1, dim2=2)
        constant = -scale.log().sum(1) - 0.5 * self.dim * LOG_TURN
        centre = (inverse @ self.mean.unsqueeze(2)).squeeze(2)  # (K, R)
        if self.tied and edges is None:
            z = u @ inverse[0].T
            square = z.square().sum(1, keepdim=True) - 2 * z @ centre.T + centre.square().sum(1)
            return constant - 0.5 * square.clamp(min=0)
        out = torch.empty(len(u), self.components, dtype=u.dtype, device=u.device)
        stacked = inverse.flatten(0, 1).T.contiguous()  # (R, K * R), or (R, R) where tied
        size = max(64, CHUNK // (self.components * self.dim))
        for at in range(0, len(u), size):
            z = (u[at : at + size] @ stacked).unflatten(1, (-1, self.dim)) - centre
            out[at : at + size] = constant - 0.5 * z.square().sum(2)
            if edges is not None:
                out[at : at + size] += self.cut.log_ratio(z, edges[:, at : at + size], scale.unsqueeze(0))
        return out

    def _log_part(self, u: Tensor, edges: Tensor | None, present: Tensor, which: Tensor) -> Tensor:
        """Return log-densities (B, K) of the numbers present[which], (P, R), of rows."""
        inverse, there = _given(self.factor @ self.factor.transpose(1, 2), present.unsqueeze(1))[0], present[which]
        z = _times(inverse, which, torch.where(there.unsqueeze(1), u.unsqueeze(1) - self.mean, 0.0))
        slope = inverse.diagonal(dim1=2, dim2=3)[which]  # 1 where a number is absent
        out = slope.log().sum(2) - 0.5 * LOG_TURN * there.double().sum(1, keepdim=True) - 0.5 * z.square().sum(2)
        return out if edges is None else out + self.cut.log_ratio(z, edges, 1 / slope, there)

    def draw(self, k: Tensor, u: Tensor, known: Tensor | None) -> Tensor:
        """Return u (B, R) with all numbers drawn that are not known, given those that are.

        Args:
            k: the component of every row, (B,).
            u: (B, R), whatever it holds where a number is not known.
            known: (B, R); None: nothing is known.
        """
        out, noise = u.clone(), normal_like(u)
        gaps = Gaps.of(torch.zeros_like(u, dtype=torch.bool) if known is None else known)
        if gaps is None:
            return out
        covariance = self.factor @ self.factor.transpose(1, 2)
        case = gaps.which * self.components + k  # rows that know the same and have the same component
        for rows in case.argsort().split(max(1, CHUNK // self.dim**2)):
            cases, which = case[rows].unique(return_inverse=True)
            one, present = cases % self.components, gaps.patterns[cases // self.components]
            inverse, across, rest = _given(covariance[one % len(covariance)], present)
            factor = _factor(rest + torch.diag_embed(present.to(rest)))[which]
            known_u = torch.where(present[which], u[rows] - self.mean[k[rows]], 0.0).unsqueeze(2)
            mean = self.mean[k[rows]] + (across.transpose(1, 2)[which] @ (inverse[which] @ known_u)).squeeze(2)
            value = self._drawn(mean, factor, noise[rows], present[which])
            out[rows] = torch.where(present[which], u[rows], value)
        return out

    def _drawn(self, mean: Tensor, factor: Tensor, noise: Tensor, known: Tensor) -> Tensor:
        """Return draws (B, R) around means (B, R) with factors (B, R, R) of standard noise (B, R); what is known has none."""
        noise = noise.masked_fill(known, 0.0)
        for j in self.cut.places:
            centre = mean[:, j] + (factor[:, j, :j] * noise[:, :j]).sum(1)
            value = self.cut.snap(j, centre + factor[:, j, j] * noise[:, j])
            noise[:, j] = torch.where(known[:, j], 0.0, (value - centre) / factor[:, j, j])  # those after it see the value
        return mean + (factor @ noise.unsqueeze(2)).squeeze(2)


def _given(covariance: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what numbers that are present say of the others; each part stands in the places of all numbers.

    Args:
        covariance: (..., R, R).
        present: (..., R), whose leading sizes go with those of the covariances.

    Returns:
        The inverse factors of the numbers present, with ones in the places of the others; the standardised covariances of these
        with all numbers, zeros for those absent, so that across.T @ inverse @ (u - mean) is the mean of the others less theirs
        without the numbers; and the covariances that remain of those absent. Each (..., R, R).
    """
    there = present.unsqueeze(-1) & present.unsqueeze(-2)
    eye = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    factor = _factor(torch.where(there, covariance, eye))
    inverse = torch.linalg.solve_triangular(factor, eye.expand_as(factor), upper=False)
    across = inverse @ (covariance * present.unsqueeze(-1))
    gone = ~present.unsqueeze(-1) & ~present.unsqueeze(-2)
    return inverse, across, (covariance - across.transpose(-2, -1) @ across) * gone


def _times(matrices: Tensor, which: Tensor, vectors: Tensor) -> Tensor:
    """Return the products (B, K, R) of matrices[which], (P, K or 1, R, R), and vectors (B, K, R)."""
    if len(matrices) == 1:  # (K, B, R) @ (K, R, R)
        return (vectors.transpose(0, 1) @ matrices[0].transpose(1, 2)).transpose(0, 1)
    return (matrices[which] @ vectors.unsqueeze(3)).squeeze(3)


def _factor(covariance: Tensor) -> Tensor:
    """Return the lower triangular factors of covariances (K, R, R), of which rounding may have made some indefinite."""
    factor, wrong = torch.linalg.cholesky_ex(covariance)
    if not bool(wrong.any()):
        return factor
    values, vectors = torch.linalg.eigh(covariance)
    values = values.clamp(min=1e-10 * values[..., -1:].clamp(min=FLOOR))
    # The R of a QR of the square root: its transpose is a factor, up to the signs of its columns.
    upper = torch.linalg.qr((vectors * values.sqrt().unsqueeze(-2)).transpose(-1, -2))[1]
    signs = torch.where(upper.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0)
    return (upper * signs.unsqueeze(-1)).transpose(-1, -2).tril().contiguous()


def _factor_analysis(covariance: Tensor, rank: int) -> Tensor:
    """Return covariances (K, R, R) of a diagonal and `rank` factors that are likeliest (Joreskog 1967), nearly.

    Given the diagonal the factors have a closed form, eigenvectors of what it standardises; the diagonal is what they leave.
    """
    variance = covariance.diagonal(dim1=1, dim2=2).clamp(min=FLOOR)
    own = 0.5 * variance
    for _ in range(STEPS):
        scale = own.sqrt()
        values, vectors = torch.linalg.eigh(covariance / scale.unsqueeze(2) / scale.unsqueeze(1))
        values, vectors = values[:, -rank:], vectors[:, :, -rank:]
        loadings = scale.unsqueeze(2) * vectors * (values - 1).clamp(min=0).sqrt().unsqueeze(1)
        own = (variance - loadings.square().sum(2)).maximum(1e-3 * variance)
    return loadings @ loadings.transpose(1, 2) + torch.diag_embed(own)
