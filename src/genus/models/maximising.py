"""Expectation maximisation of a mixture: starts, passes over all rows, and steps on parts of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from genus.errors import GenusError
from genus.ladder import Rest, WithContext
from genus.models.components import Components, Form, MixtureRows
from genus.space import Space

__all__ = ["climb", "climb_stream", "fit_parts", "mean_log_density", "new_components", "starting_labels", "step_through"]

Spent = Callable[[], bool]  # whether the time is over

LLOYD = 10  # steps of k-means
TRIES = 4  # new centres that are tried for each that is kept
PASSES = 100  # of EM, at most
PATIENCE = 3  # evaluations without a gain before training stops
GAIN = 1e-4  # nats a row below which a pass has gained nothing
PART = 8192  # rows of a step on a part, at least
DISTANCES = 2**24  # between rows and centres, at once
BLOCK = 2**16  # rows of a stream that are encoded together
SLOWING = 0.6  # the weight of step t is (t + 2) to the power of minus this (Cappe & Moulines 2009)


def starting_labels(features: Tensor, context: Tensor, form: Form, seed: int) -> Tensor:
    """Return the components (n,) in which rows begin, by `clusters` of all rows, or of those of each owner.

    Args:
        features: (n, F).
        context: (n,) the combinations of the context.
        form: what the components are like.
        seed: of the clusters.
    """
    if form.owners == 1:
        return clusters(features, form.components, seed)
    labels = context * form.components
    for combination in context.unique():
        at = (context == combination).nonzero().squeeze(1)
        labels[at] += clusters(features[at], form.components, seed)
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
    chosen, distance = [first], (square + square[first] - 2 * f @ f[first]).clamp(min=0)
    if not bool(distance.isfinite().all()):  # of draws of a model whose weights are absurd
        raise GenusError("The rows are infinitely far apart, or no numbers, so they have no clusters to begin from.")
    while len(chosen) < min(count, len(f)) and float(distance.sum()) > 0:
        tried = torch.multinomial(distance.double(), TRIES, replacement=True, generator=generator)
        found = torch.minimum((square + square[tried, None] - 2 * f[tried] @ f.T).clamp(min=0), distance)
        best = int(found.sum(1).argmin())
        chosen.append(int(tried[best]))
        distance = found[best]
    centres, parts = f[chosen], f.split(max(1, min(PART, DISTANCES // len(chosen))))
    labels = torch.zeros(len(f), dtype=torch.long)
    for _ in range(LLOYD):
        new = torch.cat([(c2 - 2 * part @ centres.T).argmin(1) for c2 in [centres.square().sum(1)] for part in parts])
        if torch.equal(new, labels):
            break
        labels = new
        sums = torch.zeros_like(centres).index_add_(0, labels, f)
        size = torch.bincount(labels, minlength=len(centres)).unsqueeze(1)
        centres = torch.where(size > 0, sums / size.clamp(min=1), centres)
    return labels.to(features.device)


def new_components(space: Space, context: Space | None, form: Form, rows: MixtureRows, labels: Tensor) -> Components:
    """Return components that are learned from hard memberships labels (n,) of rows."""
    parts = Components(space, context, form.total, form.covariance, form.owners, form.smooth).to(labels.device)
    for at in parts.product.chunks(len(rows)):
        parts.observe(rows.some(at), F.one_hot(labels[at], form.total).double())
    parts.conclude(form)
    return parts


def expect(parts: Components, rows: MixtureRows) -> float:
    """Set the expected counts from rows by the parameters as they are; return the mean log-density, in nats."""
    parts.scale(0)
    return _add_expected(parts, rows, lambda: False) / max(1, len(rows))


def _add_expected(parts: Components, rows: MixtureRows, spent: Spent) -> float:
    """Add rows, up to those where the time is over, to the expected counts; return the sum of their log-densities, in nats."""
    total, tables = 0.0, parts.product.joint_tables(len(rows))
    for at in parts.product.chunks(len(rows)):
        if spent():
            break
        some = rows.some(at)
        joint = parts.log_joint(some, tables)
        value = log_density(joint, some)[:, None]
        parts.observe(some, (joint - value).exp_())
        total += float(value.sum())
    return total


def mean_log_density(parts: Components, rows: MixtureRows) -> float:
    """Return the mean log-density of rows, in nats."""
    tables, total = parts.product.joint_tables(len(rows)), 0.0
    for at in parts.product.chunks(len(rows)):
        some = rows.some(at)
        total += float(log_density(parts.log_joint(some, tables), some).sum())
    return total / max(1, len(rows))


def log_density(joint: Tensor, rows: MixtureRows) -> Tensor:
    """Return (B,) nats from log-joint densities (B, K), with the component that stays as it is where rows have one."""
    value = joint.logsumexp(1)
    return value if rows.rare is None else torch.logaddexp(value, rows.rare)


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
        spent: whether to stop; after at most a pass.
        held: rows whose likelihood says when to stop, and which parameters to keep.
        gain: nats a row that a pass must gain.
        passes: the most of them.

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
        parts.conclude(form)
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

    A pass goes over the sample first, so that one which the time ends has learned from rows of all places.

    Args:
        parts: the components, learned in place.
        form: what they are like.
        rows_of: shows rows to the components.
        train: a sample of the rows.
        rest: gives the others.
        spent: whether to stop; asked within blocks.
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


def fit_parts(
    space: Space,
    context: Space | None,
    form: Form,
    rows: MixtureRows,
    features: Tensor,
    parts: Sequence[Tensor],
    spent: Spent,
    seed: int,
) -> list[tuple[Components, Climbed]]:
    """Return a fit of one form to each of several parts of rows, each from a start of its own; one fit where the time is over.

    Args:
        features: (n, F) what k-means sees of the rows.
        parts: places among the rows.
    """
    found: list[tuple[Components, Climbed]] = []
    for start, places in enumerate(parts):
        if found and spent():
            break
        some = rows.some(places)
        labels = starting_labels(features[places], some.context, form, seed + 101 * start)
        one = new_components(space, context, form, some, labels)
        found.append((one, climb(one, form, some, spent)))
    return found


class BestComponents:
    """Keep the parameters under which held-out rows were likeliest."""

    def __init__(self, parts: Components, held: MixtureRows | None) -> None:
        self.parts, self.held, self.waited = parts, held, 0
        self.value, self.state = -math.inf, dict[str, Any]()
        if held is not None:
            self.offer()

    def offer(self) -> int:
        """Keep the parameters as they are where they are better; return how many evaluations have brought nothing."""
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
    """Go on from parameters and expected counts by steps on parts of many rows, until held rows gain no more.

    A step moves the expected counts towards those of its rows, by less the later it comes (stepwise EM, Cappe & Moulines 2009),
    so that a budget shorter than a pass has learned from as many rows as it could.

    Args:
        parts: the components, with expected counts of some rows.
        form: what they are like.
        x, c: all training rows and their contexts.
        held: rows by which to stop.
        spent: whether to stop; after at most a step.
        seed: of the order of the rows.
    """
    best, n = BestComponents(parts, held), len(x)
    size = max(PART, 16 * form.total)
    parts.scale(n / max(1.0, float(parts.weights.sum())))
    generator, step = torch.Generator().manual_seed(seed), 0
    every = max(1, n // size // 4)  # steps between evaluations
    while not spent():
        for at in torch.randperm(n, generator=generator).to(x.device).split(size):
            weight = (step + 2.0) ** -SLOWING
            share = weight * n / len(at)
            parts.scale(1 - weight)
            for piece in parts.product.chunks(len(at)):
                rows = parts.rows_of(x[at[piece]], None if c is None else c[at[piece]])
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
