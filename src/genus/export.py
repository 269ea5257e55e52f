"""Densities and samplers as programs of PyTorch that need no genus: one file, any number of rows."""

from __future__ import annotations

import os
from typing import Any, cast

import torch
from torch import Tensor, nn

from genus.atomic import atomic_write
from genus.errors import GenusError
from genus.ladder import ApproximateDensity, GenerativeModel, TractableDensity
from genus.ladder.unknown import placeholder_row

__all__ = ["Density", "Sampler", "export_density", "export_sampler"]

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
    density, context = Density(model.eval()).requires_grad_(False), _some_context(model)
    x = model.sample(TRACED, context[0] if context else None, seed=0)
    noise = () if isinstance(model, TractableDensity) else (cast(ApproximateDensity, model).draw_noise(TRACED, seed=0),)
    _export(density, (x, *context, *noise), path, f"The density of this {model.name}")


class Sampler(nn.Module):
    """Draws rows as a module does it, from torch's global random state.

    They are the family's own draws: blanks are among them as in training, and rows that relations of columns would reject.

    >>> from genus import MAF, Real, Space
    >>> Sampler(MAF(Space([Real()])))(torch.empty(3)).shape
    torch.Size([3, 1])
    """

    def __init__(self, model: GenerativeModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, rows: Tensor, *context: Tensor) -> Tensor:
        """Return (n, *shape) in data units.

        Args:
            rows: (n,) of any values: how many rows are drawn.
            context: c (n, *context shape) of a model with a context.
        """
        return self.model._sample(rows.shape[0], *(context or (None,)))


def export_sampler(model: GenerativeModel, path: str | os.PathLike[str]) -> None:
    """Write a model's sampler as a program that `torch.export.load(path).module()` runs, for any number of rows from two on.

    The program takes a tensor (n,), of which the length alone counts, and c where the model has a context. It draws from the
    global random state of torch: after `torch.manual_seed(seed)` its rows are those of `model.sample(n, c)` after the same.

    Args:
        model: trained; it is put into evaluation mode.
        path: of the file, which by custom ends in .pt2.

    Raises:
        GenusError: draws cannot be traced that go column by column, or are made again where they fell on an atom.

    >>> from tempfile import TemporaryDirectory
    >>> from genus import VAE, Real, Space
    >>> model = VAE(Space([Real(), Real()]), latent=2, hidden=(4,))
    >>> with TemporaryDirectory() as folder:
    ...     export_sampler(model, f"{folder}/sampler.pt2")
    ...     program = torch.export.load(f"{folder}/sampler.pt2").module()
    >>> program(torch.empty(5)).shape
    torch.Size([5, 2])
    """
    sampler = Sampler(model.eval()).requires_grad_(False)
    _export(sampler, (torch.empty(TRACED), *_some_context(model)), path, f"The sampler of this {model.name}")


def _some_context(model: GenerativeModel) -> tuple[Tensor, ...]:
    """Return the context of the rows that are traced; nothing for a model without one."""
    if model.context is None:
        return ()
    return (placeholder_row(model.context, torch.empty(0, dtype=model.context.dtype)).repeat(TRACED, 1),)


def _export(module: nn.Module, arguments: tuple[Tensor, ...], path: str | os.PathLike[str], what: str) -> None:
    """Trace a module whose forward takes one argument and then any number, all of TRACED rows, and write the program."""
    rows = torch.export.Dim("rows", min=2)
    shapes: Any = ({0: rows}, *([tuple({0: rows} for _ in arguments[1:])] if arguments[1:] else []))
    try:
        program = torch.export.export(module, arguments, dynamic_shapes=shapes, strict=True)
    except Exception as error:  # of the tracer, which raises many kinds
        reason = " ".join(str(error).split())[:200]
        raise GenusError(f"{what} cannot be exported: {reason}") from error
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        torch.export.save(program, file)
