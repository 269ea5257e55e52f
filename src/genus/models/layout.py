"""Show rows to the components of a mixture, and choose the lattices that are among their joint normals."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from genus.kinds.atoms import distinct_counts
from genus.models.components import Components, Form, MixtureRows
from genus.space import Category, Lattice, Space

__all__ = ["Layouts", "coordinates", "smooth_lattices"]

SHORT = 12  # values of a lattice that is a scale and no number: its table says more than a normal
WIDEST = 64  # columns of a table whose lattices may be among the joint normals
SETS = 2**16  # of numbers that rows have, times the square of how many columns there are, at most
AT_ENDS = 0.02  # of the rows, at most, at an end of a lattice where they are more than at the values next to it
ROUGH = 0.15  # nats a row that the table of a short lattice may say and a normal cannot
AROUND = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9  # weights of a value and its neighbours
SEEN = 2**27  # numbers that k-means sees, at most
MOST = 50_000  # rows that show what a column, and the background, are like


class Layouts:
    """Shows rows to components as their forms see them, beside a background that takes rows far from all components.

    Forms whose covariance is diagonal have tables of short lattices; others may have these among their joint normals.

    Args:
        space, context: of the mixture.
        x, c: its training rows.
        rare: the weight of the background; 0: there is none.
    """

    def __init__(self, space: Space, context: Space | None, x: Tensor, c: Tensor | None, rare: float) -> None:
        some = slice(None, None, max(1, len(x) // MOST))
        x, c = x[some], None if c is None else c[some]
        self.lattices = smooth_lattices(space, x)
        self.rare = rare
        self._parts, self._wide = dict[tuple[int, ...], Components](), dict[tuple[int, ...], Components]()
        for smooth in {(), self.lattices}:
            self._parts[smooth] = parts = Components(space, context, 1, "diagonal", smooth=smooth).to(x.device)
            if rare and len(parts.product.cells.rest):
                self._wide[smooth] = Components.background(space, context, parts.rows_of(x, c), smooth)

    def rows(self, form: Form, x: Tensor, c: Tensor | None) -> MixtureRows:
        """Return what components of a form see of rows, with the log-joint density of the background where there is one."""
        rows, wide = self._parts[form.smooth].rows_of(x, c), self._wide.get(form.smooth)
        if wide is None:
            return rows
        rare = wide.log_joint(rows, wide.product.joint_tables(len(rows))).squeeze(1) + math.log(self.rare)
        return MixtureRows(rows.parts, rows.joint, rows.gaps, rows.edges, rows.context, rare)

    def beside(self, form: Form, parts: Components) -> Components:
        """Return the components of a form and the background, where there is one."""
        wide = self._wide.get(form.smooth)
        return parts if wide is None else Components.together([parts, wide], [1 - self.rare, self.rare])


def smooth_lattices(space: Space, x: Tensor) -> tuple[int, ...]:
    """Return the columns of lattices that normals may describe: of many values, about as frequent as their neighbours.

    Left out are lattices of which values are atoms, or whose ends hold many rows: a normal has no such mass, see `Cut`. Rows
    that lack different numbers, at atoms or as blanks, need normals of their own: columns that most rows lack are left out
    where there are too many sets of these.

    Args:
        space: of a table; other spaces have none.
        x: (N, D) rows.
    """
    if space.sequence or len(space.shape) != 1 or space.dim > WIDEST:
        return ()
    lacking = {}
    for i, kind in enumerate(space.kinds):
        if not isinstance(kind, Lattice) or kind.size <= SHORT or kind.lattice_atoms:
            continue
        values = x[:, i].double().cpu().numpy()
        gone = np.isnan(values) | np.isin(values, kind.numbers)
        distinct, counts = distinct_counts(values[~gone])
        if len(distinct) <= SHORT or _heaped(counts, distinct[0] <= kind.low, distinct[-1] >= kind.high):
            continue
        if not (kind.is_narrow and _roughness(kind, distinct, counts) > ROUGH):
            lacking[i] = gone
    patterns, out = np.zeros(len(x), dtype=np.int64), list[int]()
    for i in sorted(lacking, key=lambda i: lacking[i].sum()):
        more = np.unique(2 * patterns + lacking[i], return_inverse=True)[1]
        if more.max(initial=0) > 0 and (1 + more.max()) * (len(out) + 1) ** 2 > SETS:
            break
        patterns, out = more, [*out, i]
    return tuple(sorted(out))


def _heaped(counts: np.ndarray, low: bool, high: bool) -> bool:
    """Return whether many rows lie at an end of a lattice, more than at the values next to it: at the low one, the high one."""
    ends = [at for at, there in ((counts[:4], low), (counts[:-5:-1], high)) if there]
    return any(at[0] > max(AT_ENDS * counts.sum(), at[1:].max()) for at in ends)


def _roughness(kind: Lattice, distinct: np.ndarray, counts: np.ndarray) -> float:
    """Return how many nats a row the counts of a short lattice's values say beyond those of their neighbours, less chance's."""
    count = np.zeros(kind.size)
    count[np.rint((distinct - kind.low) / kind.step).astype(int)] = counts
    seen, rows = count > 0, counts.sum()
    smooth = np.convolve(count, AROUND, "same")[seen]
    chance = 0.5 * len(distinct) * (1 - AROUND.max())
    return float(((count[seen] * np.log(count[seen] / smooth)).sum() - chance) / rows)


def coordinates(space: Space, x: Tensor, blanks: list[int]) -> Tensor:
    """Return what k-means sees of rows (N, F): their coordinates, and a zero where constant data have none.

    In place of a blank that stands for an unknown value, in one of the columns `blanks`, it sees one of another row. Of columns
    with very many levels it sees the remainders of their numbers, so that some look alike (Weinberger et al. 2009).
    """
    blank = space.unknown_blanks(x) if blanks else x.new_zeros(len(x), 0, dtype=torch.bool)
    if bool(blank.any()):
        x, generator = x.flatten(1).clone(), torch.Generator().manual_seed(0)
        for i in blanks:
            known = (~blank[:, i]).nonzero()[:, 0]
            if len(known):
                chosen = torch.randint(len(known), (int(blank[:, i].sum()),), generator=generator).to(x.device)
                x[blank[:, i], i] = x[known[chosen], i]
        x = x.view(-1, *space.shape)
    most = max(SHORT, SEEN // max(1, len(x) * space.dim))
    if any(isinstance(kind, Category) and kind.states > most for kind in space.kinds):
        few = [Category(tuple(range(min(kind.states, most)))) if isinstance(kind, Category) else kind for kind in space.kinds]
        levels = torch.tensor([kind.states if isinstance(kind, Category) else 1 for kind in few], device=x.device)
        numbers = torch.tensor([not isinstance(kind, Category) for kind in few], device=x.device)
        x, space = torch.where(numbers, x.flatten(1), x.flatten(1) % levels), Space(few)
    return F.pad(space.coordinates(x).float(), (0, 1))
