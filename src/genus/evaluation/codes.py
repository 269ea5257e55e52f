"""Summarise the codes that a model gives held-out rows: the units in use, a map, reconstructions and walks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from genus.ladder import GenerativeModel, map_batches
from genus.models.latent import LatentVariable
from genus.space import Space

__all__ = ["SIDE", "Codes", "codes_of", "mosaic"]

REBUILT, UNITS = 8, 6  # images shown beside their reconstructions; units of a code that are walked along
LINES, STEPS = 4, 8  # images from which a line leads to another, and images along it
WALK = (-2.0, -1.2, -0.6, 0.0, 0.6, 1.2, 2.0)  # standard deviations of all codes from a datum's own
SIDE = 18  # images along one side of a mosaic


class Codes(NamedTuple):
    """Hold what the codes of one fitted model look like on held-out rows.

    Attributes:
        latent: the number of units of a code.
        active: the number of units that carry information on a datum.
        plane: (n, 2) the codes along the two directions in which they vary most.
        share: the share of the codes' variance that lies in that plane.
        rebuilt: (m, *shape) the likeliest images under the codes of the first m held-out images; None for tables.
        walks: (units, steps, *shape) the first image, one unit of its code changed step by step, for the units that vary most.
        lines: (m, steps, *shape) from one held-out image to another of the same context, along the line between their codes.
    """

    latent: int
    active: int
    plane: Tensor
    share: float
    rebuilt: Tensor | None
    walks: Tensor | None
    lines: Tensor | None


@torch.no_grad()
def codes_of(model: GenerativeModel, x: Tensor, c: Tensor | None) -> Codes | None:
    """Return how a model encodes rows x (n, *shape) with context c; None for a model without codes."""
    if not isinstance(model, LatentVariable):
        return None
    z = map_batches(model.encode, x, c).double()
    deviation = z.std(0)
    _, size, direction = torch.linalg.svd(z - z.mean(0), full_matrices=False)
    plane = (z - z.mean(0)) @ direction[:2].T
    plane = torch.nn.functional.pad(plane, (0, 2 - plane.shape[1]))
    share = float(size[:2].square().sum() / size.square().sum().clamp(min=1e-300))
    rebuilt = walks = lines = None
    if not model.space.is_table:
        first = slice(0, REBUILT)
        rebuilt = model.reconstruct(x[first], None if c is None else c[first])
        given = None if c is None else c[:1]
        units = deviation.argsort(descending=True)[:UNITS].tolist()
        middle = z[0]
        steps = deviation[:, None] * torch.tensor(WALK, dtype=deviation.dtype)
        moved = [model.traverse(x[0], given, unit=i, values=(middle[i] + steps[i]).tolist()) for i in units]
        walks = torch.stack(moved)
        ends = [(i, j) for i in range(min(LINES, len(x))) if (j := _partner(c, i, len(x))) is not None]
        between = [model.interpolate(torch.stack([x[i], x[j]]), None if c is None else c[[i, j]], STEPS) for i, j in ends]
        lines = torch.stack(between) if between else None
    return Codes(model.latent, model.use(x, c).active, plane.float(), share, rebuilt, walks, lines)


def _partner(c: Tensor | None, i: int, count: int) -> int | None:
    """Return the next row after row i whose context is the same; None without such a row."""
    rest = range(i + 1, count)
    return next((j for j in rest if c is None or torch.equal(c[i], c[j])), None)


def mosaic(space: Space, plane: Tensor, x: Tensor, side: int = SIDE) -> Tensor:
    """Lay out images x (n, *shape) by the places of their codes in the plane: (side side, *shape), NaN in empty places."""
    low, high = plane.double().quantile(torch.tensor([0.01, 0.99], dtype=torch.float64), dim=0)
    at = ((plane - low) / (high - low).clamp(min=1e-12) * side).floor().long().clamp(0, side - 1)
    out = torch.full((side * side, *space.shape), torch.nan)
    out[(side - 1 - at[:, 1]) * side + at[:, 0]] = x.reshape(-1, *space.shape).to(out.dtype)
    return out
