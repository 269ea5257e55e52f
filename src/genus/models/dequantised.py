"""Densities over the reals, made densities on lattices by noise within their cells."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from genus.errors import GenusError
from genus.ladder import ApproximateDensity, GenerativeModel, Loss, TractableDensity, registered_family
from genus.models.noise import CellNoise
from genus.random import rng, uniform_like
from genus.space import Kind, Lattice, Real, Space, Time

__all__ = ["Dequantised"]

NOISES = ("uniform", "variational")
TRIES = 10  # for draws that lie beyond a long lattice
EDGE = 2.0**-20  # of the unit interval, kept free so that the logit stays finite


class Dequantised(ApproximateDensity, name="dequantised"):
    """Bound the mass of a lattice by a density over the reals, with noise within its cells.

    P(x) = integral of p over the cell of x, and log P(x) >= E_q(u|x) [log p(y) - log q(y | x)], y the place u of that cell:
    `elbo` is that bound by one draw of the noise, `log_evidence` averages p / q over draws. The noise is uniform (Theis et al.
    2016, arXiv:1511.01844), or a small flow that sees x and is trained with the density (Ho et al. 2019, arXiv:1902.00275):
    the density need not fill cells evenly up to their walls, and the bound comes nearer, at the price of longer steps. The
    cells of a short lattice fill a bounded interval, which a logit stretches to the whole line first (Dinh et al. 2017,
    arXiv:1605.08803). Draws beyond the ends of a long lattice are drawn anew. Columns of other kinds pass
    through, as do atoms and missing values.

    Args:
        family: the name of the continuous family; further arguments are its own.
        noise: the noise in the cells, "uniform" or "variational".

    >>> from genus import Lattice, Space
    >>> space = Space(Lattice(0, 16), shape=(8, 8))
    >>> model = Dequantised(space, family="maf", noise="variational", transforms=2, hidden=[64])
    >>> model.sample(2, seed=0).shape
    torch.Size([2, 8, 8])
    >>> bool(model.elbo(torch.zeros(1, 8, 8), seed=0) <= 0)
    True
    """

    info = ApproximateDensity.info.replace(
        title="a density on whole numbers, by noise",
        group="flows",
        takes="whole numbers, for a continuous family within",
        listed=False,
    )

    def __init__(
        self, space: Space, context: Space | None = None, family: str = "maf", noise: str = "uniform", **hyper: Any
    ) -> None:
        if noise not in NOISES:
            raise GenusError(f"noise must be {' or '.join(map(repr, NOISES))}; got {noise!r}.")
        super().__init__(space, context)
        self.family = family
        self.model = _density(family)(continuous(space), context, **hyper)
        self.fit_defaults = dict(self.model.fit_defaults)  # type: ignore[misc]
        within = self.model.space.kinds  # where times may be left as they are
        lattices = [
            k if isinstance(k, Lattice) and isinstance(r, Real) else None for k, r in zip(space.kinds, within, strict=True)
        ]
        columns = {
            "half_step": [k.step / 2 if k else 0.0 for k in lattices],
            "start": [k.low - k.step / 2 if k else 0.0 for k in lattices],
            "width": [k.high - k.low + k.step if k else 1.0 for k in lattices],
            "log_step": [math.log(k.step) if k else 0.0 for k in lattices],
        }
        for name, values in columns.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64).reshape(space.shape), persistent=False)
        for name, which in {
            "lattice": [k is not None for k in lattices],
            "short": [k is not None and k.is_narrow for k in lattices],
        }.items():
            self.register_buffer(name, torch.tensor(which).reshape(space.shape), persistent=False)
        self.register_buffer("cells", self.lattice.flatten().nonzero()[:, 0], persistent=False)
        self.noise: CellNoise | None = None
        if noise == "variational" and any(lattices):
            allow_missing = any(k.states > 1 for k in lattices if k)
            self.noise = CellNoise(sum(map(bool, lattices)), space.feature_dim + self.context_dim, allow_missing)

    half_step: Tensor
    start: Tensor
    width: Tensor
    log_step: Tensor
    lattice: Tensor
    cells: Tensor  # (N,) which numbers of a row are on a lattice
    short: Tensor

    @classmethod
    def refusal_of(cls, inner: type[GenerativeModel], space: Space, context: Space | None = None) -> str | None:
        """Return why the continuous family `inner` cannot model this space by noise in its cells; None where it can."""
        if space.sequence or not issubclass(inner, TractableDensity) or not space.columns(Lattice):
            return inner.refusal(space, context)
        return inner.refusal(continuous(space), context)

    @property
    def family_name(self) -> str:
        return self.family

    def losses(self) -> list[Loss]:
        return [Loss("bound", self.parameters(), lambda x, c: -self._elbo(x, c).mean())]

    def _initialise(self, x: Tensor, c: Tensor | None = None) -> None:
        self.model.initialise(self._noisy(x, c)[0], c)

    def _noisy(self, x: Tensor, c: Tensor | None, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return y, a point of the cell of x on the whole line, and -log q(y | x) (B,) of all cells."""
        x = x if x.is_floating_point() else x.to(self.dtype)  # whole numbers may be kept as small integers
        body = self.lattice
        if self.space.has_states:  # atoms, and what is missing, are no cells
            body = body & (self.space.split(x).state == 0).view(x.shape)
        u, log_q = self._places(x, c, body, noise)
        y = x + self.half_step.to(x.dtype) * (2 * u - 1)
        share = ((y - self.start.to(x.dtype)) / self.width.to(x.dtype)).clamp(EDGE, 1 - EDGE)
        stretched = share.logit()
        slope = F.softplus(stretched) + F.softplus(-stretched) - self.width.to(x.dtype).log()
        log_det = torch.where(self.short, slope, 0.0) + self.log_step.to(x.dtype)
        y = torch.where(self.short, stretched, y)
        return torch.where(body, y, x), torch.where(body, log_det, 0.0).flatten(1).sum(1) - log_q

    def _places(self, x: Tensor, c: Tensor | None, body: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor | float]:
        """Return the place of every number of x in its cell, in (0, 1) and shaped as x, with its log q, (B,).

        Places are made of uniform noise, one number for each of x or for each cell, drawn where it is None.
        """
        if self.noise is None:
            return uniform_like(x) if noise is None else noise.view_as(x).to(x.dtype), 0.0
        there = body.expand_as(x).flatten(1)[:, self.cells]
        drawn, log_q = self.noise(there, self._features(x, c), noise)
        u = torch.full_like(x, 0.5).flatten(1).index_copy(1, self.cells, drawn.to(x.dtype))
        return u.view_as(x), log_q

    def _elbo(self, x: Tensor, c: Tensor | None, noise: Tensor | None = None) -> Tensor:
        y, log_weight = self._noisy(x, c, noise)
        return self.model._log_prob(y, c) + log_weight

    def _noise(self, n: int) -> Tensor:
        width = self.space.dim if self.noise is None else len(self.cells)
        return torch.rand(n, width, dtype=self.dtype, device=self.device, generator=rng(self.device))

    def _log_weights(self, x: Tensor, c: Tensor | None, samples: int) -> Tensor:
        rows, contexts = (None if t is None else t.repeat(samples, *[1] * (t.ndim - 1)) for t in (x, c))
        return self._elbo(rows, contexts).view(samples, len(x))  # type: ignore[arg-type]

    def _sample(self, n: int, c: Tensor | None) -> Tensor:
        y = self.model._sample(n, c)
        for _ in range(TRIES):  # what lies beyond the lattice is drawn anew, so that its ends do not gather it
            rows = self._beyond(y)
            if not bool(rows.any()):
                break
            y[rows] = self.model._sample(int(rows.sum()), None if c is None else c[rows])
        state = self.model.space.split(y).state
        value = torch.where(self.short, self.start.to(y) + self.width.to(y) * y.sigmoid(), y).flatten(1)
        table = self.space.tables(value)
        return self.space.join(state, table.charts.forward(value)[0].to(value).nan_to_num(0.0))

    def _beyond(self, y: Tensor) -> Tensor:
        """Return which rows of y (n, *shape) have a number outside the cells of its lattice, (n,)."""
        start, width = self.start.to(y), self.width.to(y)
        return ((self.lattice & ~self.short) & ((y < start) | (y > start + width))).flatten(1).any(1)


def _density(name: str) -> type[TractableDensity]:
    cls = registered_family(name)
    if not issubclass(cls, TractableDensity):
        raise TypeError(f"Dequantised needs a family with an exact density; {name} has none.")
    return cls


def continuous(space: Space) -> Space:
    """Return the space with every lattice replaced by reals; atoms stay, and times beside other numbers."""
    numbers = any(isinstance(kind, Lattice | Real) and not isinstance(kind, Time) for kind in space.kinds)

    def real(kind: Kind) -> Kind:
        if not isinstance(kind, Lattice) or (isinstance(kind, Time) and numbers and not space.sequence):
            return kind
        return Real(0.0, 2.0, kind.atoms) if kind.is_narrow else Real(kind.loc, kind.scale, kind.atoms)

    return Space([real(kind) for kind in space.kinds], space.shape, space.names)
