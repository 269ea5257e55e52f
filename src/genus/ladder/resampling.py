"""Draw some columns given the others by importance resampling, from a model that has a joint density alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genus.ladder.counted import Counted
from genus.ladder.families import build_family
from genus.ladder.unknown import Filled, rows_by_pattern, set_columns
from genus.random import gumbel_like, isolated

__all__ = ["Proposal", "proposal_for", "resample", "shared_filler"]

OWN_DRAWS = 5000  # draws of the model, to which its proposal is fitted
PROPOSED = (  # a mixture of a fixed form, and independent columns
    {"class": "mixture", "components": 16, "covariance": "full", "shrinkage": 3.0, "pool": 2.0},
    {"class": "independent"},
)
CANDIDATES = 64  # candidates for each row
ROUNDS = 16  # how often rows whose candidates were all excluded draw new ones
AT_ONCE = 20_000  # candidates whose densities are computed together
SHARED, GROWTH, MOST = 256, 4, 1024  # candidates of a row for all its draws: at first, the factor of the next, and the most
ENOUGH = 16.0  # effective candidates that are enough
KEPT = 2**25  # numbers of candidates that are kept from one draw of all rows to the next


class Proposal:
    """Draws columns given others in place of a model that cannot: half by a mixture, half by independent columns.

    Both are fitted to draws of the model. The heavier tails of independent columns keep the weights of candidates bounded
    where the mixture misses a part of the model's distribution.

    Args:
        model: the model that the proposal stands in for.
        c: contexts of the draws to which it is fitted, (B, *context.shape), taken in turn; None for a model without context.
    """

    def __init__(self, model: Any, c: Tensor | None) -> None:
        context = None if c is None else c[torch.arange(OWN_DRAWS, device=c.device) % len(c)]
        draws = model._sample(OWN_DRAWS, context)
        self.parts: list[Any] = [_fitted(build_family(form, model.space).to(draws.device), draws) for form in PROPOSED]

    def draw(
        self, x: Tensor, columns: list[int], count: int, weighed: list[int] | None = None, blanks: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Draw candidates of some columns given the others of rows x (B, *shape).

        Args:
            count: candidates for each row.
            weighed: those of the columns whose density is returned; None: all.
            blanks: whether a blank that stands for an unknown value may be drawn.

        Returns:
            Rows (count, B, *shape), and the log-density (count, B) of their candidates given the rest, up to a constant for
            each row, in nats.
        """
        known = [i for i in range(x[0].numel()) if i not in columns]
        share = count // len(self.parts)
        many = x.repeat(share, *[1] * (x.ndim - 1))
        drawn = torch.cat([part._rejected(many, columns, None, blanks).x for part in self.parts])
        at = drawn.flatten(1)[:, known]
        # given the rest: the joint density of a row over that of its known columns
        both = [*known, *(columns if weighed is None else weighed)]
        log_q = [
            (part._log_prob(drawn, None) if weighed is None else part._log_marginal(drawn.flatten(1)[:, both], both, None))
            - (part._log_marginal(at, known, None) if known else 0.0)
            - (0.0 if blanks else part.log_without_blanks(drawn, columns))
            for part in self.parts
        ]
        return drawn.view(-1, *x.shape), torch.stack(log_q).logsumexp(0).view(-1, len(x))

    def fill(self, x: Tensor, missing: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Draw candidates of rows x (B, *shape) that may each lack other columns, missing (B, D); without blanks.

        Returns:
            As `draw` does.
        """
        share, drawn = count // len(self.parts), []
        many, lacking = x.repeat(share, *[1] * (x.ndim - 1)), missing.repeat(share, 1)
        for part in self.parts:  # independent columns are drawn all at once, of whatever pattern a row is
            found = part._fill(many, torch.ones_like(lacking) if part.draws_apart else lacking, None).x
            drawn.append(torch.where(lacking.view_as(many), found.to(many), many))
        every = torch.cat(drawn)
        first = every[: len(x)]  # rows that lack nothing, which x may
        log_q = [part._log_prob(every, None).view(-1, len(x)) - _log_known(part, first, missing) for part in self.parts]
        return every.view(-1, *x.shape), torch.stack(log_q).logsumexp(0)


def _fitted(model: Any, x: Tensor) -> Any:
    """Return a model that has learned from rows without gradients."""
    with torch.no_grad():
        if isinstance(model, Counted):
            model.observe(x, None)
            model.conclude()
        else:
            model.learn((x, None), None, lambda: math.inf, seed=0)
    return model.eval()


def resample(model: Any, proposal: Proposal, x: Tensor, columns: list[int], c: Tensor | None, blanks: bool) -> Filled:
    """Draw some columns of rows given the others: choose candidates of a proposal by the model's density over the proposal's.

    With many candidates these are draws from the model's own conditional (Rubin 1987, sampling importance resampling). Where
    the model has a bound, one draw of its importance weight takes the place of the density, and the limit is the same.

    Args:
        model: with `_elbo`, a log-density or a draw of the log of an importance weight.
        proposal: fitted to the model.
        x: rows (B, *shape), with any values in the unknown columns.
        columns: the unknown columns.
        c: the contexts of the rows, (B, *context.shape), or None.
        blanks: whether a blank that stands for an unknown value may be drawn. Otherwise candidates with one have weight 0, and
            rows without any other candidate draw new ones, a few times.
    """
    found = _resample_once(model, proposal, x, columns, c, blanks)
    for _ in range(ROUNDS):
        left = (~found.done).nonzero()[:, 0]
        if not len(left):
            break
        again = _resample_once(model, proposal, x[left], columns, None if c is None else c[left], blanks)
        for part, values in zip(found, again, strict=True):
            part[left] = values
    return found


def _resample_once(model: Any, proposal: Proposal, x: Tensor, columns: list[int], c: Tensor | None, blanks: bool) -> Filled:
    """Draw some columns of rows as `resample` does, each row from one set of candidates."""
    parts = [Filled(x[:0], x.new_zeros(0), torch.zeros(0, dtype=torch.bool, device=x.device))]
    rows = max(1, AT_ONCE // CANDIDATES)
    for at in range(0, len(x), rows):
        part, context = x[at : at + rows], None if c is None else c[at : at + rows]
        drawn, log_q = proposal.draw(part, columns, CANDIDATES, blanks=blanks or not model.space.has_unknown)
        flat = drawn.flatten(0, 1)
        repeated = None if context is None else context.repeat(len(drawn), *[1] * (context.ndim - 1))
        log_w = model._elbo(flat, repeated).view(log_q.shape).to(log_q.dtype) - log_q
        fine = torch.ones_like(log_q, dtype=torch.bool)
        if not blanks and model.space.has_unknown:
            fine = ~model.space.unknown_blanks(flat)[:, columns].any(1).view(log_q.shape)
        log_w = torch.where(fine & ~log_w.isnan(), log_w, -math.inf)
        chosen = (log_w + gumbel_like(log_w)).argmax(0)
        size = _effective(log_w)
        value = drawn[chosen, torch.arange(len(part), device=x.device)].flatten(1)[:, columns]
        parts.append(Filled(set_columns(part, columns, value), size.to(x.dtype), log_w.isfinite().any(0)))
    return Filled(*map(torch.cat, zip(*parts, strict=True)))


class _Weighted(NamedTuple):
    """Holds K candidates of the E unknown entries of R rows.

    Attributes:
        rows: (R,) the places of the rows among all.
        values: (K, E) row by row, in data units.
        log_weight: (K, R) up to a constant for each row; -inf of candidates that are excluded.
    """

    rows: Tensor
    values: Tensor
    log_weight: Tensor


def shared_filler(model: Any, x: Tensor, missing: Tensor, c: Tensor | None) -> Callable[[], Filled]:
    """Return a function that draws what each row lacks given the rest as `resample` does, from candidates weighted but once.

    Rows may lack different columns: they are handled together. Rows whose candidates are worth few draws have more of them.

    Args:
        model: as for `resample`.
        x: rows (B, *shape), with any values in the unknown entries.
        missing: the unknown entries, bool (B, D).
        c: the contexts of the rows, (B, *context.shape), or None.
    """
    proposal = proposal_for(model, c)
    kept: list[_Weighted] = []
    few = int(missing.sum()) * SHARED <= KEPT

    def draw() -> Filled:
        if few and not kept:
            kept.extend(_weighted(model, proposal, x, missing, c))
        flat = x.flatten(1).clone()
        size, done = x.new_full((len(x),), math.inf), torch.ones(len(x), dtype=torch.bool, device=x.device)
        for found in kept or _weighted(model, proposal, x, missing, c):
            chosen = (found.log_weight + gumbel_like(found.log_weight)).argmax(0)
            row, column = missing[found.rows].nonzero(as_tuple=True)
            flat[found.rows[row], column] = found.values[chosen[row], torch.arange(len(row), device=x.device)]
            size[found.rows] = _effective(found.log_weight).to(size)
            done[found.rows] = found.log_weight.isfinite().any(0)
        return Filled(flat.view_as(x), size, done)

    return draw


def _weighted(model: Any, proposal: Proposal, x: Tensor, missing: Tensor, c: Tensor | None) -> Iterator[_Weighted]:
    """Yield weighted candidates of all rows that lack something, more of them for rows whose candidates are worth few draws."""
    left, count = missing.any(1).nonzero()[:, 0], SHARED
    while len(left):
        weak = [left[:0]]
        for rows in left.split(max(1, AT_ONCE // count)):
            drawn, log_q = proposal.fill(x[rows], missing[rows], count)
            flat = drawn.flatten(0, 1)
            context = None if c is None else c[rows].repeat(len(drawn), *[1] * (c.ndim - 1))
            log_w = model._elbo(flat, context).view(log_q.shape).to(log_q.dtype) - log_q
            blank = (model.space.unknown_blanks(flat).view(len(drawn), *missing[rows].shape) & missing[rows]).any(2)
            log_w = torch.where(blank | log_w.isnan(), -math.inf, log_w)
            enough = (_effective(log_w) >= ENOUGH) if count * GROWTH <= MOST else torch.ones_like(rows, dtype=torch.bool)
            values = drawn.flatten(2)[:, enough][:, missing[rows][enough]]
            yield _Weighted(rows[enough], values, log_w[:, enough])
            weak.append(rows[~enough])
        left, count = torch.cat(weak), count * GROWTH


def _log_known(part: Any, x: Tensor, missing: Tensor) -> Tensor:
    """Return the log-density (B,) of what rows x (B, *shape) do not lack, and that what they lack is not blank."""
    flat, out = x.flatten(1), torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for rows, columns in rows_by_pattern(missing):
        known = [i for i in range(flat.shape[1]) if i not in columns]
        out[rows] = part.log_without_blanks(x[rows], columns).to(out)
        if known:
            out[rows] += part._log_marginal(flat[rows][:, known], known, None).to(out)
    return out


def _effective(log_weight: Tensor) -> Tensor:
    """Return how many equal weights those (K, B) of each row are worth, (B,) (Kong 1992)."""
    weight = (log_weight - log_weight.amax(0).clamp(min=-1e300)).exp()
    return weight.sum(0).square() / weight.square().sum(0).clamp(min=1e-300)


def proposal_for(model: Any, c: Tensor | None) -> Proposal:
    """Return the proposal of a model, fitted once for its present weights and seed."""
    weights = tuple((t.data_ptr(), t._version) for t in (*model.parameters(), *model.buffers()))
    kept = model.__dict__.get("_kept_proposal")
    if kept is None or kept[0] != weights:
        with isolated(0, model):  # so that the proposal does not depend on the caller's random state
            kept = (weights, Proposal(model, c))
        model.__dict__["_kept_proposal"] = kept
    return kept[1]
