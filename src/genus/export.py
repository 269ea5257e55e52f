"""Densities as programs of PyTorch that need no genus: one file, any number of rows."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn

from genus.atomic import atomic_write
from genus.errors import GenusError
from genus.ladder import ApproximateDensity, TractableDensity
from genus.ladder.unknown import placeholder_row

__all__ = ["Density", "export_density"]

TRACED = 4  # rows that are drawn for the trace


class Density(nn.Module):
    """Computes a model's log-density, or its bound by noise that is an argument, as a module does it.

    Args:
        model: with a density.

    >>> from genus import MADE, Real, Space
    >>> Density(MADE(Space([Real()])))(torch.zeros(3, 1)).shape
    torch.Size([3])
    """

    def __init__(self, model: ApproximateDensity) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, *more: Tensor) -> Tensor:
        """Return (B,) nats.

        Args:
            x: (B, *shape) rows in data units.
            more: c (B, *context shape) of a model with a context, then of a bound its noise (B, ...).
        """
        c = more[0] if self.model.context is not None else None
        if isinstance(self.model, TractableDensity):
            return self.model.log_prob(x, c)
        return self.model.elbo(x, c, noise=more[-1])


def export_density(model: ApproximateDensity, path: str | os.PathLike[str]) -> None:
    """Write a model's density as a program that `torch.export.load(path).module()` runs, on any number of rows from two on.

    Args:
        model: with a density; it is put into evaluation mode.
        path: of the file, which by custom ends in .pt2.

    Raises:
        GenusError: the family's density cannot be traced: it counts, searches, or asks another library.

    >>> from tempfile import TemporaryDirectory
    >>> from genus import MAF, Real, Space
    >>> model = MAF(Space([Real(), Real()]), transforms=1, hidden=(4,))
    >>> with TemporaryDirectory() as folder:
    ...     export_density(model, f"{folder}/density.pt2")
    ...     program = torch.export.load(f"{folder}/density.pt2").module()
    >>> x = model.sample(5, seed=0)
    >>> torch.allclose(program(x), model.log_prob(x), atol=1e-5)
    True
    """
    density = Density(model.eval()).requires_grad_(False)
    context = None
    if model.context is not None:
        context = placeholder_row(model.context, torch.empty(0, dtype=model.context.dtype)).repeat(TRACED, 1)
    x = model.sample(TRACED, context, seed=0)
    try:
        noise = () if isinstance(model, TractableDensity) else (model.draw_noise(TRACED, seed=0),)
        arguments: tuple[Tensor, ...] = (x, *(() if context is None else (context,)), *noise)
        rows = torch.export.Dim("rows", min=2)
        shapes: Any = ({0: rows}, *([tuple({0: rows} for _ in arguments[1:])] if arguments[1:] else []))
        program = torch.export.export(density, arguments, dynamic_shapes=shapes, strict=True)
    except Exception as error:  # of the tracer, which raises many kinds
        reason = " ".join(str(error).split())[:200]
        raise GenusError(f"The density of this {model.name} cannot be exported: {reason}") from error
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        torch.export.save(program, file)
