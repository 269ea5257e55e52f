"""Raise one sentence where a law is broken, and enumerate what an exact law sums over."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from genus.errors import GenusError
from genus.kinds import Category, Kind, Lattice, Real
from genus.kinds.charts import Charts
from genus.space import Space

__all__ = ["LawError", "Waits", "base_measure", "context_rows", "every_datum", "require", "require_close"]

POINTS = 2**16  # data, at most, of which every one is evaluated


class LawError(GenusError):
    """Say that a model, a transform or a divergence breaks a law: which, and by how much."""


def require(law: bool, sentence: str) -> None:
    """Raise a `LawError` of that sentence unless the law holds."""
    if not law:
        raise LawError(f"{sentence}.")


def require_close(found: Tensor, expected: Tensor, sentence: str, tolerance: float = 1e-6) -> None:
    """Raise a `LawError` unless two tensors are equal within a tolerance, relative and absolute.

    It is 1000 roundings of their type at least; a tolerance of 0 asks for equality bit for bit.
    """
    require(found.shape == expected.shape, f"{sentence}: shape {tuple(found.shape)}, not {tuple(expected.shape)}")
    tolerance = max(tolerance, 1e3 * torch.finfo(found.dtype).eps) if tolerance else 0.0
    close = torch.isclose(found.to(expected), expected, rtol=tolerance, atol=tolerance, equal_nan=True)
    if not bool(close.all()):
        worst = float((found.to(expected) - expected)[~close].abs().max())
        raise LawError(f"{sentence}: the difference is up to {worst:.3g}.")


def context_rows(c: Tensor | None, n: int) -> Tensor | None:
    """Return n rows of the context c (B, *context.shape), repeated or cut; None without a context."""
    return None if c is None else c[torch.arange(n) % len(c)]


class Waits(TorchDispatchMode):
    """Count what a GPU would let the processor wait for: numbers that Python reads, results whose size depends on values, and,
    where there is a GPU, copies from it. On a CPU `tolist` and `numpy` are not seen.
    """

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal")
    INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")  # which count where they are given a mask

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, out = func.overloadpacket.__name__, func(*args, **(kwargs or {}))
        masks = name in self.INDEXING and any(one is not None and one.dtype == torch.bool for one in args[1])
        copied = name == "_to_copy" and args[0].is_cuda and not out.is_cuda
        self.count += name in self.WAITING or masks or copied
        return out


def base_measure(kind: Kind, nodes: int = 4001, reach: float = 9.0) -> tuple[Tensor, Tensor]:
    """Return points (N,) and weights (N,) that integrate over one coordinate: sums over values, quadrature over real numbers.

    The quadrature is over u, the number in its chart, as far as double precision tells points of x apart.

    Args:
        kind: of the coordinate.
        nodes: the number of points on a real line.
        reach: they end at sinh(reach) standard deviations, 4000 by default.
    """
    if isinstance(kind, Category):
        return torch.arange(kind.states, dtype=torch.float64), torch.ones(kind.states, dtype=torch.float64)
    assert isinstance(kind, Real | Lattice)
    atoms = torch.tensor(kind.atoms, dtype=torch.float64)
    if isinstance(kind, Lattice):
        lattice = kind.low + kind.step * torch.arange(kind.size, dtype=torch.float64)
        taken = torch.tensor(kind.lattice_atoms, dtype=torch.float64)
        lattice = lattice[((lattice[:, None] - taken).abs() > kind.step / 2).all(1)]
        return torch.cat([lattice, atoms]), torch.ones(len(lattice) + len(atoms), dtype=torch.float64)
    # u = sinh(t) is fine near the middle, and reaches far into the tails.
    t = torch.linspace(-reach, reach, nodes, dtype=torch.float64)
    u, weight = torch.sinh(t), torch.cosh(t) * (t[1] - t[0])
    chart = Charts.of([kind])
    x = chart.inverse(u.unsqueeze(1))
    back, log_slope = (t.squeeze(1) for t in chart.forward(x))
    kept = (back - u).abs() < 1e-6 * (1 + u.abs())
    x, weight = x[kept, 0], (weight * torch.exp(-log_slope))[kept]
    return torch.cat([x, atoms]), torch.cat([weight, torch.ones(len(atoms), dtype=torch.float64)])


def every_datum(space: Space, length: int | None = None, most: int = POINTS) -> Tensor | None:
    """Return every datum of a discrete space, (N, *space.shape); None where there are more than `most`, or real numbers.

    Args:
        space: of columns, an image or sequences.
        length: the length of the sequences; by default the longest, at most the space's, of which there are few enough.
        most: the number of data above which none are returned.
    """
    if space.columns(Real):
        return None
    kinds = [*space.kinds]
    counts = [kind.size + len(kind.atoms) if isinstance(kind, Lattice) else kind.states for kind in kinds]
    if space.sequence:
        length = length or max(1, min(space.dim, int(math.log(most) / math.log(max(2, counts[0])) + 1e-9)))
        kinds, counts = kinds[:1] * length, counts[:1] * length
    if math.prod(counts) > most:
        return None
    grids = [base_measure(kind)[0] for kind in kinds]
    x = torch.cartesian_prod(*grids).reshape(-1, len(kinds))
    if space.ends:  # no row goes on with a symbol after its end
        end = space.tables(x).missing
        ended = x.isnan() if bool(end.isnan()) else x == end
        x = x[~(ended[:, :-1] & ~ended[:, 1:]).any(1)]
    return (x if space.sequence else x.reshape(-1, *space.shape)).to(space.dtype)
