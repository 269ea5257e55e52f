"""Densities over the reals, made densities on lattices by noise within their cells."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from genus.errors import GenusError
from genus.kinds import Chart
from genus.ladder import ApproximateDensity, GenerativeModel, Loss, TractableDensity, registered_family
from genus.models.noise import CellNoise
from genus.random import rng, uniform_like
from genus.space import Kind, Lattice, Real, Space, Time

__all__ = ["Dequantised"]

NOISES = ("uniform", "variational")
TRIES = 10  # for draws that lie beyond a long lattice


class Dequantised(ApproximateDensity, name="dequantised"):
    """Bound the mass of a lattice by a density over the reals, with noise within its cells.

    P(x) = integral of p over the cell of x, and log P(x) >= E_q(u|x) [log p(y) - log q(y | x)], y the place u of that cell:
    `elbo` is that bound by one draw of the noise, `log_evidence` averages p / q over draws. The noise is uniform (Theis et al.
    2016, arXiv:1511.01844), or a small flow that sees x and is trained with the density (Ho et al. 2019, arXiv:1902.00275):
    the density need not fill cells evenly up to their walls, and the bound comes nearer, at the price of longer steps. The
    cells of a short lattice fill a bounded interval, whose chart is a logit (Dinh et al. 2017, arXiv:1605.08803). A long
    lattice keeps its chart, and draws beyond its ends are drawn anew. Columns of other kinds pass through, as do atoms and
    missing values.

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
        within = zip(space.kinds, self.model.space.kinds, strict=True)  # where times may be left as they are
        on = [isinstance(k, Lattice) and isinstance(r, Real) for k, r in within]
        lattices = [k for k, noisy in zip(space.kinds, on, strict=True) if noisy]
        self.register_buffer("lattice", torch.tensor(on).reshape(space.shape), persistent=False)
        log_step = [math.log(k.step) if noisy else 0.0 for k, noisy in zip(space.kinds, on, strict=True)]
        self.register_buffer("log_step", torch.tensor(log_step, dtype=torch.float64).reshape(space.shape), persistent=False)
        self.register_buffer("cells", self.lattice.flatten().nonzero()[:, 0], persistent=False)
        self.noise: CellNoise | None = None
        if noise == "variational" and lattices:
            allow_missing = any(k.states > 1 for k in lattices)
            self.noise = CellNoise(len(lattices), space.feature_dim + self.context_dim, allow_missing)

    log_step: Tensor
    lattice: Tensor
    cells: Tensor  # (N,) which numbers of a row are on a lattice

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
        """Return y, a point of the cell of x in data units, and -log q(y | x) (B,) of all cells."""
        x = x if x.is_floating_point() else x.to(self.dtype)  # whole numbers may be kept as small integers
        body = self.lattice
        if self.space.has_states:  # atoms, and what is missing, are no cells
            body = body & (self.space.split(x).state == 0).view(x.shape)
        place, log_q = self._places(x, c, body, noise)
        y = self.space.tables(x).spread(x.flatten(1), place.flatten(1)).view(x.shape)
        log_step = torch.where(body, self.log_step.to(x.dtype), 0.0).expand_as(x)
        return torch.where(body, y, x), log_step.flatten(1).sum(1) - log_q

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
        state, flat = self.model.space.split(y).state, y.flatten(1)
        return self.space.join(state, self.space.tables(flat).charts.forward(flat)[0].to(y).nan_to_num())

    def _beyond(self, y: Tensor) -> Tensor:
        """Return which rows of y (n, *shape) have a number outside the cells of its lattice, (n,)."""
        flat, table = y.flatten(1), self.space.tables(y)
        half = table.step / 2
        outside = self.lattice.flatten() & ((flat < table.low - half) | (flat > table.high + half))
        if self.space.has_states:
            outside = outside & (self.model.space.split(y).state == 0)
        return outside.any(1)


def _density(name: str) -> type[TractableDensity]:
    cls = registered_family(name)
    if not issubclass(cls, TractableDensity):
        raise TypeError(f"Dequantised needs a family with an exact density; {name} has none.")
    return cls


def continuous(space: Space) -> Space:
    """Return the space with reals for lattices, on their cells or in their chart; atoms, and times beside others, stay."""
    numbers = any(isinstance(kind, Lattice | Real) and not isinstance(kind, Time) for kind in space.kinds)

    def real(kind: Kind) -> Kind:
        if not isinstance(kind, Lattice) or (isinstance(kind, Time) and numbers and not space.sequence):
            return kind
        if not kind.is_narrow or not kind.chart.is_affine:
            return Real(kind.loc, kind.scale, kind.atoms, kind.chart)
        return Real(0.0, 2.0, kind.atoms, Chart("logit", kind.low - kind.step / 2, kind.size * kind.step))

    made = {id(kind): real(kind) for kind in {id(kind): kind for kind in space.kinds}.values()}  # pixels share one
    return Space([made[id(kind)] for kind in space.kinds], space.shape, space.names)
