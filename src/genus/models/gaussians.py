"""Multivariate normals, a mixture's block of real numbers: any numbers may be absent, and any drawn given the others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genus.errors import DataError
from genus.random import normal_like

__all__ = ["Gaps", "Gaussians"]

CHUNK = 2**19  # numbers made at once on the way to a density
FLOOR = 1e-8  # of a variance, in standardised units: far clusters may be 1e4 times as narrow as all the data
BITS = 52  # of a whole number in double precision
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
    the others (Ghahramani & Jordan 1994).

    Args:
        dim: R, 1 or more.
        components: K.
        tied: all components share a covariance.

    >>> normals = Gaussians(dim=2, components=1, tied=False)
    >>> normals.log_prob(torch.zeros(1, 2, dtype=torch.float64), None).round(decimals=3)  # -log(2 pi)
    tensor([[-1.8380]], dtype=torch.float64)
    """

    mean: Tensor  # (K, R)
    factor: Tensor  # (K, R, R), or (1, R, R) where tied: lower triangular, factor @ factor.T is the covariance

    def __init__(self, dim: int, components: int, tied: bool) -> None:
        super().__init__()
        self.dim, self.components, self.tied = dim, components, tied
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

    def select(self, places: list[int]) -> Gaussians:
        """Return the normals of some of the numbers."""
        part = Gaussians(len(places), self.components, self.tied).to(self.mean.device)
        part.mean, part.factor = self.mean[:, places], _factor(self._covariance(places, places))
        return part

    def _covariance(self, rows: list[int], columns: list[int]) -> Tensor:
        """Return a part (K or 1, rows, columns) of the covariances."""
        return self.factor[:, rows] @ self.factor[:, columns].transpose(1, 2)

    # -- learning -----------------------------------------------------------------------------------------------------

    def observe(self, u: Tensor, gaps: Gaps | None, weight: Tensor) -> None:
        """Add rows u (B, R), of which some numbers may be absent, with memberships weight (B, K)."""
        self.rows += weight.sum(0)
        for at, present in _groups(gaps, len(u)):
            if present is None:
                self._observe_whole(u if at is None else u[at], weight if at is None else weight[at])
            else:
                for part in at.split(max(1, CHUNK // (self.components * self.dim))):
                    self._observe(u[part], weight[part], present)

    def _observe_whole(self, u: Tensor, weight: Tensor) -> None:
        self.sums += weight.T @ u
        if self.tied:
            self.squares += u.T @ (u * weight.sum(1, keepdim=True))
        else:
            for k in range(self.components):
                self.squares[k] += (u * weight[:, k : k + 1]).T @ u

    def _observe(self, u: Tensor, weight: Tensor, present: Tensor) -> None:
        """Add rows that have the same numbers, with the others as they are expected in each component."""
        there, gone = _places(present)
        gain, rest = self._regression(there, gone)
        full = u.expand(self.components, *u.shape).clone()
        full[..., gone] = self.mean[:, None, gone] + (u[:, there] - self.mean[:, None, there]) @ gain.transpose(1, 2)
        weighted = full * weight.T.unsqueeze(2)
        self.sums += weighted.sum(1)
        squares = weighted.transpose(1, 2) @ full
        place = torch.tensor(gone, device=u.device)
        squares[:, place[:, None], place] += weight.sum(0)[:, None, None] * rest
        self.squares += squares.sum(0, keepdim=True) if self.tied else squares

    def _regression(self, there: list[int], gone: list[int]) -> tuple[Tensor, Tensor]:
        """Return the coefficients (K or 1, gone, there) of absent numbers on present ones, and the covariances that remain."""
        across = self._covariance(gone, there)
        gain = torch.cholesky_solve(across.transpose(1, 2), _factor(self._covariance(there, there))).transpose(1, 2)
        return gain, self._covariance(gone, gone) - gain @ across.transpose(1, 2)

    def conclude(self, shrinkage: float, rank: int | None) -> None:
        """Set the parameters from the statistics.

        Args:
            shrinkage: rows' worth of the covariance within components that every component's is drawn towards. Its scale is the
                mean of their logs, since components may differ in scale by orders of magnitude.
            rank: of a factor analysis, a diagonal and so many factors; None: any covariance.
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

    # -- answering ----------------------------------------------------------------------------------------------------

    def log_prob(self, u: Tensor, gaps: Gaps | None) -> Tensor:
        """Return the log-densities (B, K) of the numbers that are present in u (B, R), in nats."""
        if gaps is None:
            return self._log_prob(u)
        out = torch.zeros(len(u), self.components, dtype=torch.float64, device=u.device)
        for at, present in _groups(gaps, len(u)):
            if present is None:
                out[at] = self._log_prob(u[at])
            elif present.any():
                there, _ = _places(present)
                out[at] = self.select(there)._log_prob(u[at][:, there])
        return out

    def _log_prob(self, u: Tensor) -> Tensor:
        eye = torch.eye(self.dim, dtype=u.dtype, device=u.device)
        inverse = torch.linalg.solve_triangular(self.factor, eye.expand_as(self.factor), upper=False)
        constant = -self.factor.diagonal(dim1=1, dim2=2).log().sum(1) - 0.5 * self.dim * math.log(2 * math.pi)
        centre = (inverse @ self.mean.unsqueeze(2)).squeeze(2)  # (K, R)
        if self.tied:
            z = u @ inverse[0].T
            square = z.square().sum(1, keepdim=True) - 2 * z @ centre.T + centre.square().sum(1)
            return constant - 0.5 * square.clamp(min=0)
        out = torch.empty(len(u), self.components, dtype=u.dtype, device=u.device)
        stacked = inverse.flatten(0, 1).T.contiguous()  # (R, K * R)
        size = max(64, CHUNK // (self.components * self.dim))
        for at in range(0, len(u), size):
            z = (u[at : at + size] @ stacked).unflatten(1, (self.components, self.dim)) - centre
            out[at : at + size] = constant - 0.5 * z.square().sum(2)
        return out

    def draw(self, k: Tensor, u: Tensor, known: Tensor | None) -> Tensor:
        """Return u (B, R) with all numbers drawn that are not known, given those that are.

        Args:
            k: the component of every row, (B,).
            u: (B, R), whatever it holds where a number is not known.
            known: (B, R); None: nothing is known.
        """
        out, noise = u.clone(), normal_like(u)
        if known is None:
            known = torch.zeros_like(u, dtype=torch.bool)
        for at, present in _groups(Gaps.of(known), len(u)):
            if present is None or at is None:
                continue
            there, gone = _places(present)
            gain, rest = self._regression(there, gone) if there else (None, self._covariance(gone, gone))
            factor = _factor(rest) if there else self.factor
            for one in k[at].unique().tolist():
                rows = at[k[at] == one]
                value = self.mean[one, gone] + noise[rows][:, gone] @ factor[one % len(factor)].T
                if gain is not None:
                    value = value + (u[rows][:, there] - self.mean[one, there]) @ gain[one % len(gain)].T
                out[rows[:, None], torch.tensor(gone, device=u.device)] = value
        return out


def _groups(gaps: Gaps | None, n: int) -> Iterator[tuple[Any, Tensor | None]]:
    """Yield groups of rows that have the same numbers: their places, and which numbers; None for all rows, for all numbers."""
    if gaps is None:
        yield None, None
        return
    for i, pattern in enumerate(gaps.patterns):
        at = (gaps.which == i).nonzero().squeeze(1)
        if len(at):
            yield at, None if bool(pattern.all()) else pattern


def _places(present: Tensor) -> tuple[list[int], list[int]]:
    return present.nonzero().squeeze(1).tolist(), (~present).nonzero().squeeze(1).tolist()


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
