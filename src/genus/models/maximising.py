"""Expectation maximisation of a mixture: starts, passes over all rows, and steps on parts of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from genus.errors import GenusError
from genus.ladder import Rest, WithContext
from genus.models.components import Components, Form, MixtureRows
from genus.space import Space

__all__ = ["climb", "climb_stream", "mean_log_density", "new_components", "starting_labels", "step_through"]

Spent = Callable[[], bool]  # whether the time is over

LLOYD = 10  # steps of k-means, at most
TRIES = 4  # new centres that are tried for each that is kept
PASSES = 100  # passes of EM, at most
PATIENCE = 3  # evaluations without a gain after which training stops
GAIN = 1e-4  # nats a row below which a pass has gained nothing
PART = 8192  # rows of a step on a part, at least
DISTANCES = 2**24  # distances between rows and centres that are computed at once
BLOCK = 2**16  # rows of a stream that are encoded together
SLOWING = 0.6  # the weight of step t is (t + 2) to the power of minus this (Cappe & Moulines 2009)


def starting_labels(features: Tensor, context: Tensor, form: Form, seed: int) -> Tensor:
    """Return the components (n,) in which rows begin, by `clusters` of all rows, or of the rows of each owner.

    An owner is a combination of the context's values that has components of its own; see `Form`.

    Args:
        features: (n, F) the rows' numbers, by which they are clustered.
        context: (n,) the number of each row's combination of the context's values.
        form: what the components are like.
        seed: of the clusters.
    """
    if form.owners == 1:
        return clusters(features, form.components, seed)
    labels = context * form.components
    for combination in context.unique():
        rows = (context == combination).nonzero().squeeze(1)
        labels[rows] += clusters(features[rows], form.components, seed)
    return labels


def clusters(features: Tensor, count: int, seed: int) -> Tensor:
    """Return memberships of rows, (n,), by k-means from centres that are far apart (Arthur & Vassilvitskii 2007).

    Every new centre is the best of a few rows that are drawn by their squared distance from the centres so far, so that a
    cluster far away is not missed.

    Args:
        features: (n, F).
        count: of clusters, some of which may end empty.
        seed: of the draws.

    Raises:
        GenusError: features whose squares are not finite.
    """
    generator, f = torch.Generator().manual_seed(seed), features.detach().cpu().float()
    square = f.square().sum(1)
    first = int(torch.randint(len(f), (), generator=generator))
    # Of every row, the squared distance from the nearest centre so far.
    chosen, distance = [first], (square + square[first] - 2 * f @ f[first]).clamp(min=0)
    if not bool(distance.isfinite().all()):  # the rows may be draws of a model whose weights are absurd
        raise GenusError("The rows are infinitely far apart, or no numbers, so they have no clusters to begin from.")
    while len(chosen) < min(count, len(f)) and float(distance.sum()) > 0:
        tried = torch.multinomial(distance.double(), TRIES, replacement=True, generator=generator)
        distances = torch.minimum((square + square[tried, None] - 2 * f[tried] @ f.T).clamp(min=0), distance)  # (TRIES, n)
        best = int(distances.sum(1).argmin())
        chosen.append(int(tried[best]))
        distance = distances[best]
    centres, parts = f[chosen], f.split(max(1, min(PART, DISTANCES // len(chosen))))
    labels = torch.zeros(len(f), dtype=torch.long)
    for _ in range(LLOYD):
        # |f - centre|^2 less |f|^2, which is the same for all centres.
        centre_square = centres.square().sum(1)
        new = torch.cat([(centre_square - 2 * part @ centres.T).argmin(1) for part in parts])
        if torch.equal(new, labels):
            break
        labels = new
        sums = torch.zeros_like(centres).index_add_(0, labels, f)
        size = torch.bincount(labels, minlength=len(centres)).unsqueeze(1)
        centres = torch.where(size > 0, sums / size.clamp(min=1), centres)  # an empty cluster keeps its centre
    return labels.to(features.device)


def new_components(space: Space, context: Space | None, form: Form, rows: MixtureRows, labels: Tensor) -> Components:
    """Return components that are learned from rows, each of which belongs to one component, its label (n,)."""
    parts = Components(space, context, form.total, form.covariance, form.owners, form.smooth).to(labels.device)
    for at in parts.product.chunks(len(rows)):
        parts.observe(rows.some(at), F.one_hot(labels[at], form.total).double())
    parts.conclude(form)
    return parts


def expect(parts: Components, rows: MixtureRows) -> float:
    """Make the E-step: set the expected counts from rows by the parameters; return the mean log-density, in nats."""
    parts.scale(0)  # all counts so far become 0
    return _add_expected(parts, rows, lambda: False) / max(1, len(rows))


def _add_expected(parts: Components, rows: MixtureRows, spent: Spent) -> float:
    """Add rows to the expected counts until the time is over; return the sum of the added rows' log-densities, in nats."""
    total, tables = 0.0, parts.product.joint_tables(len(rows))
    for chunk in parts.product.chunks(len(rows)):
        if spent():
            break
        some = rows.some(chunk)
        joint = parts.log_joint(some, tables)  # (B, K) log p(k, x)
        log_p = log_density(joint, some)[:, None]
        parts.observe(some, (joint - log_p).exp_())  # p(k | x), the responsibilities
        total += float(log_p.sum())
    return total


def mean_log_density(parts: Components, rows: MixtureRows) -> float:
    """Return the mean log-density of rows, in nats."""
    tables, total = parts.product.joint_tables(len(rows)), 0.0
    for chunk in parts.product.chunks(len(rows)):
        some = rows.some(chunk)
        total += float(log_density(parts.log_joint(some, tables), some).sum())
    return total / max(1, len(rows))


def log_density(joint: Tensor, rows: MixtureRows) -> Tensor:
    """Return log p(x) (B,) in nats from log p(k, x) (B, K), with the fixed component `MixtureRows.rare` where rows have one."""
    log_p = joint.logsumexp(1)
    return log_p if rows.rare is None else torch.logaddexp(log_p, rows.rare)


def climb(
    parts: Components,
    form: Form,
    rows: MixtureRows,
    spent: Spent,
    held: MixtureRows | None = None,
    gain: float = GAIN,
    passes: int = PASSES,
) -> Climbed:
    """Raise the likelihood of rows by passes of EM (Dempster et al. 1977), until a pass gains too little.

    Args:
        parts: the components, learned in place.
        form: what they are like.
        rows: all training rows.
        spent: returns whether the time is over; it is asked after each pass.
        held: rows whose likelihood says when to stop, and which parameters to keep.
        gain: nats a row that a pass must gain.
        passes: the most passes.

    Returns:
        The mean log-density of the held rows, or else of the training rows, and why the passes ended.
    """
    best = BestComponents(parts, held)
    last, ended = -math.inf, f"{passes} passes"
    for _ in range(passes):
        value = expect(parts, rows)
        if value - last < gain or spent():
            ended = "converged" if value - last < gain else ""
            break
        last = value
        parts.conclude(form)  # the M-step
        if held is not None and best.offer() >= PATIENCE:
            ended = "early stopping"
            break
    return Climbed(best.restore() if held is not None else max(last, value), ended)


class Climbed(NamedTuple):
    """Hold the mean log-density that passes of EM came to, in nats, and why they ended; "" where the time was over."""

    value: float
    ended: str


def climb_stream(
    parts: Components,
    form: Form,
    rows_of: Callable[[Tensor, Tensor | None], MixtureRows],
    train: WithContext,
    rest: Rest,
    spent: Spent,
    held: MixtureRows,
) -> None:
    """Raise the likelihood of more rows than are in memory by passes of EM, while each makes held rows likelier.

    A pass goes over the sample first, so that a pass which the time cuts short has learned from rows of all parts of the data.

    Args:
        parts: the components, learned in place.
        form: what they are like.
        rows_of: turns (x, c) into rows as the components see them.
        train: a sample of the rows.
        rest: a function from a number of rows to blocks of the other rows, of that size.
        spent: returns whether the time is over; it is asked within blocks too.
        held: rows whose likelihood says when to stop, and which parameters to keep.
    """
    x, c = train

    def blocks() -> Iterator[WithContext]:
        for at in range(0, len(x), BLOCK):
            yield x[at : at + BLOCK], None if c is None else c[at : at + BLOCK]
        yield from rest(BLOCK)

    best = BestComponents(parts, held)
    for _ in range(PASSES):
        if spent():
            break
        parts.scale(0)
        for block in blocks():
            _add_expected(parts, rows_of(*block), spent)
            if spent():
                break
        parts.conclude(form)
        if best.offer():
            break
    best.restore()


class BestComponents:
    """Keep the parameters under which held-out rows were likeliest."""

    def __init__(self, parts: Components, held: MixtureRows | None) -> None:
        self.parts, self.held, self.waited = parts, held, 0
        self.value, self.state = -math.inf, dict[str, Any]()
        if held is not None:
            self.offer()

    def offer(self) -> int:
        """Keep the parameters if they are the best so far; return how many evaluations in a row have gained nothing."""
        assert self.held is not None
        value = mean_log_density(self.parts, self.held)
        self.waited = 0 if value > self.value + GAIN else self.waited + 1
        if value > self.value:
            self.value, self.state = value, {k: v.clone() for k, v in self.parts.state_dict().items()}
        return self.waited

    def restore(self) -> float:
        """Give the components the best parameters, and return the value of these."""
        self.parts.load_state_dict(self.state)
        return self.value


def step_through(
    parts: Components,
    form: Form,
    x: Tensor,
    c: Tensor | None,
    held: MixtureRows,
    spent: Spent,
    seed: int,
) -> None:
    """Make steps on parts of many rows, from the parameters and expected counts so far, until held rows gain no more.

    A step moves the expected counts towards those of its rows, by less the later it comes (stepwise EM, Cappe & Moulines 2009),
    so that a training whose time is shorter than a pass has learned from as many rows as it could.

    Args:
        parts: the components, with expected counts of some rows.
        form: what they are like.
        x, c: all training rows and their contexts.
        held: rows whose likelihood says when to stop, and which parameters to keep.
        spent: returns whether the time is over; it is asked after each step.
        seed: of the order of the rows.
    """
    best, n = BestComponents(parts, held), len(x)
    size = max(PART, 16 * form.total)
    parts.scale(n / max(1.0, float(parts.weights.sum())))
    generator, step = torch.Generator().manual_seed(seed), 0
    every = max(1, n // size // 4)  # steps between evaluations
    while not spent():
        for part in torch.randperm(n, generator=generator).to(x.device).split(size):
            weight = (step + 2.0) ** -SLOWING
            share = weight * n / len(part)  # each row stands for n / len(part) rows
            parts.scale(1 - weight)
            for chunk in parts.product.chunks(len(part)):
                rows = parts.rows_of(x[part[chunk]], None if c is None else c[part[chunk]])
                joint = parts.log_joint(rows, parts.product.joint_tables(len(rows)))
                parts.observe(rows, joint.softmax(1) * share)
            parts.conclude(form)
            step += 1
            if spent():
                break
            if step % every == 0 and best.offer() >= PATIENCE:
                best.restore()
                return
    best.offer()
    best.restore()
