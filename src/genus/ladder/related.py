"""Draw rows given known values of a person's columns, some of which a relation replaced in the space of the model.

Suppose that x holds the gap b - a in the place of b, and that b is known and a is not. Then neither column of x is known.
Candidates of one are drawn from a proposal and the other is solved for, so that b has its value. A candidate is chosen by its
joint density over the density of the proposal, since the Jacobian of every relation is 1: importance resampling.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genus.errors import GenusError
from genus.ladder.resampling import proposal_for
from genus.ladder.unknown import Filled, all_values, placeholder_row, set_columns
from genus.nets.state import evaluating
from genus.random import gumbel_like

__all__ = ["Candidates", "candidates", "fill_related"]

CANDIDATES = 256  # candidates for each row; relations exclude many of them
ROUNDS = 8  # how often rows without a possible candidate draw new ones
AT_ONCE = 20_000  # candidates whose densities are computed together


class Candidates(NamedTuple):
    """Holds K candidates for each of B rows.

    Attributes:
        x: (K, B, D) rows, which may hold any values in the columns `left`.
        log_weight: (K, B) the log of the weight of each candidate, up to a constant for each row; -inf where it contradicts the
            known values.
        left: the columns that are left out of the densities, to be drawn later given the others.
        exact: whether the candidates are all possible ones.
    """

    x: Tensor
    log_weight: Tensor
    left: list[int]
    exact: bool


def fill_related(model: Any, known: Any, c: Tensor | None) -> Filled:
    """Draw rows of a model given values of a person's columns, of which relations replaced some.

    Args:
        model: of a table, in evaluation mode.
        known: N rows in Arrow of the person's columns that are known, as of `Codec.with_known`.
        c: the contexts of the rows, (N, *context.shape), or None.

    Returns:
        The rows; the effective number of candidates, infinite where all possible ones were tried; and which rows are done: the
        others have no candidate that agrees with the known values.
    """
    parts = []
    for at in range(0, max(known.num_rows, 1), AT_ONCE // CANDIDATES):
        context = None if c is None else c[at : at + AT_ONCE // CANDIDATES]
        parts.append(_fill(model, known.slice(at, AT_ONCE // CANDIDATES), context))
    return Filled(*map(torch.cat, zip(*parts, strict=True)))


def _fill(model: Any, known: Any, c: Tensor | None) -> Filled:
    """Draw rows as `fill_related` does, with new candidates for rows where none agrees with the known values."""
    out = _fill_once(model, known, c)
    for _ in range(ROUNDS):
        left = (~out.done).nonzero()[:, 0]
        if not len(left):
            break
        again = _fill_once(model, known.take(left.tolist()), None if c is None else c[left])
        for part, values in zip(out, again, strict=True):
            part[left] = values
    return out


def _fill_once(model: Any, known: Any, c: Tensor | None) -> Filled:
    """Draw rows from one set of candidates: one by its weight, and then the columns that are left, given it."""
    found = candidates(model, known, c)
    log_w = found.log_weight.double()
    chosen = (log_w + gumbel_like(log_w)).argmax(0)
    weight = (log_w - log_w.amax(0).clamp(min=-1e30)).exp()
    size = weight.sum(0).square() / weight.square().sum(0).clamp(min=1e-30)
    x = found.x[chosen, torch.arange(len(chosen))]
    done = log_w.isfinite().any(0)
    size = torch.full_like(size, math.inf) if found.exact else size
    if found.left:
        rest = model._given(x, found.left, c, False)
        x, size, done = rest.x, torch.minimum(size, rest.size.to(size)), done & rest.done
    return Filled(x, size, done)


@torch.no_grad()
def candidates(model: Any, known: Any, c: Tensor | None) -> Candidates:
    """Return candidates of rows that agree with the values of a person's columns.

    Args:
        model, known, c: as of `fill_related`.

    Raises:
        GenusError: the model has no density; or several relations depend on the same unknown columns.
    """
    with evaluating(model):
        return _candidates(model, known, c)


def _candidates(model: Any, known: Any, c: Tensor | None) -> Candidates:
    space, codec = model.space, model.codec
    if not model.draws_given_others:
        raise GenusError(f"{model.name} has no density, so it draws nothing given others; take mixture or made, say.")
    ties, names = codec.tie(known.column_names), list(space.names)
    if ties.refused:
        raise GenusError(
            f"Several relations tie {', '.join(sorted(ties.tied))} to the known values of {', '.join(known.column_names)} at"
            " once, and no draws agree with all; leave one of these blank or without a condition."
        )
    # Columns of the space are fixed (known), core (unknown, and tied by a relation to known values), or left (other unknown
    # ones). Of the core, the free ones are proposed and the others solved for.
    unknown = [i for i, name in enumerate(names) if name not in ties.known]
    free = [i for i in unknown if names[i] in ties.tied - ties.solved]
    core = [i for i in unknown if names[i] in ties.tied]
    fixed = [i for i in range(space.dim) if i not in unknown]
    rows = known.num_rows
    start = placeholder_row(space, model._empty_draw()).repeat(rows, 1)
    values, _ = codec.with_known(start, known)
    start[:, fixed] = values[:, fixed]
    impossible = start.isinf() | (start.isnan() & (space.tables(start).missing < 0))  # known values outside the space
    start = torch.where(impossible, placeholder_row(space, start), start)
    left = [i for i in unknown if i not in core]
    if left and ties.tied and not _leaves_out(model, start[:1], [*fixed, *core], None if c is None else c[:1]):
        core, left = unknown, []  # the model has the joint density alone, so all unknown columns are proposed
        free = [i for i in unknown if names[i] not in ties.solved]
    if not ties.tied:  # every known value is one of a column of the space, so there is nothing to propose
        return Candidates(start[None], start.new_zeros(1, rows).masked_fill(impossible.any(1), -math.inf), left, True)
    drawn, log_q, exact = _proposed(model, start, unknown, free, c)
    x, agrees = codec.with_known(drawn.flatten(0, 1), _repeated(known, len(drawn)))
    x = x.to(drawn)
    agrees &= (~x[:, core].isinf()).all(1) & ~(x.isnan() & (space.tables(x).missing < 0))[:, core].any(1)
    agrees &= ~impossible.any(1).repeat(len(drawn))
    starts = start.repeat(len(drawn), 1)
    x = torch.where(agrees[:, None], x, starts)
    x[:, left] = starts[:, left]
    agrees &= ~space.unknown_blanks(x)[:, core].any(1)
    contexts = None if c is None else c.repeat(len(drawn), *[1] * (c.ndim - 1))
    log_w = _density(model, x, [*fixed, *core], contexts).view(log_q.shape).to(log_q) - log_q
    log_w = torch.where(agrees.view(log_q.shape) & ~log_w.isnan(), log_w, -math.inf)
    return Candidates(x.view(len(drawn), rows, -1), log_w, left, exact and model.info.likelihood == "exact")


def _proposed(model: Any, start: Tensor, unknown: list[int], free: list[int], c: Tensor | None) -> tuple[Tensor, Tensor, bool]:
    """Return candidates (K, B, D), the log-density (K, B) by which their free columns were drawn, and whether they are all."""
    grid = all_values(model.space.kinds[free[0]]) if len(free) == 1 else None
    if grid is not None and len(grid) * len(start) <= 8 * AT_ONCE:
        many = start.repeat(len(grid), 1)
        many = set_columns(many, free, grid.to(start).repeat_interleave(len(start))[:, None])
        return many.view(len(grid), len(start), -1), start.new_zeros(len(grid), len(start)), True
    drawn, log_q = proposal_for(model, c).draw(start, unknown, CANDIDATES, free)
    return drawn.to(start), log_q, False


def _leaves_out(model: Any, x: Tensor, columns: list[int], c: Tensor | None) -> bool:
    """Return whether a model has an exact density of these columns alone."""
    if model.info.likelihood != "exact":
        return False
    try:
        model._log_marginal(x[:, columns], columns, c)
    except GenusError:
        return False
    return True


def _density(model: Any, x: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
    """Return the log-density (B,) of some columns of rows; of all columns, where there is a bound, a draw of it."""
    if len(columns) == model.space.dim:
        return model._elbo(x, c)
    at = sorted(columns)
    return model._log_marginal(x[:, at], at, c)


def _repeated(table: Any, times: int) -> Any:
    """Return the rows of an Arrow table repeated, all N rows `times` times."""
    rows = torch.arange(table.num_rows).repeat(times)
    return table.take(rows.tolist())
