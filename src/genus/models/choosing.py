"""The choice of a mixture's form by the likelihood of rows that did not fit it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from genus.models.components import Form, MixtureRows
from genus.models.maximising import Spent, climb, mean_log_density, new_components, starting_labels
from genus.space import Space

__all__ = ["Chooser", "Options", "cross_folds"]

GAIN, PASSES = 2e-3, 30  # of the fits that are compared; see `climb`
BEHIND, LARGE = 1.0, 8  # nats by which components of one covariance, this many of them, may trail those of another
COARSE = 2  # by how much sizes at least differ that are tried first


class Options(NamedTuple):
    """Holds the forms that are chosen from; one of each that is given, the likeliest first."""

    components: Sequence[int]  # ascending
    covariance: Sequence[str]
    rank: Sequence[int]
    shrinkage: Sequence[float]
    pool: Sequence[float]

    @property
    def first(self) -> Form:
        """Return the smallest form."""
        return Form(self.components[0], self.covariance[0], self.rank[0], self.shrinkage[0], self.pool[0])

    @property
    def is_one(self) -> bool:
        """Return whether nothing is left to choose."""
        return all(len(values) == 1 for values in self._without_rank())

    def _without_rank(self) -> list[Sequence[object]]:
        return [v for name, v in self._asdict().items() if name != "rank" or tuple(self.covariance) == ("low-rank",)]


class Chooser:
    """Scores forms by fits to some rows and the mean log-density of others, each form once.

    Args:
        space, context: of the mixture.
        rows: all rows.
        features: what k-means sees of them.
        folds: the training rows and the held-out rows of each fit, as places among the rows.
        seed: of the starts.
        spent: whether the time for choosing is over; the best form so far is then taken.
    """

    def __init__(
        self,
        space: Space,
        context: Space | None,
        rows: MixtureRows,
        features: Tensor,
        folds: Sequence[tuple[Tensor, Tensor]],
        seed: int,
        spent: Spent,
    ) -> None:
        self.space, self.context, self.seed, self.spent = space, context, seed, spent
        self.folds = [(rows.some(train), rows.some(held), features[train]) for train, held in folds]
        self.labels: dict[tuple[int, int], Tensor] = {}
        self.scores: dict[Form, float] = {}

    def score(self, form: Form) -> float:
        """Return the mean log-density of held-out rows over the folds, in nats; -inf where the time is over."""
        if form not in self.scores:
            values = list(self._values(form))
            self.scores[form] = sum(values) / len(values) if len(values) == len(self.folds) else -math.inf
        return self.scores[form]

    def _values(self, form: Form) -> Iterator[float]:
        for i, (train, held, features) in enumerate(self.folds):
            if self.scores and self.spent():
                return
            if (i, form.components) not in self.labels:
                self.labels[i, form.components] = starting_labels(features, form.components, self.seed + i)
            parts = new_components(self.space, self.context, form, train, self.labels[i, form.components])
            climb(parts, form, train, self.spent, gain=GAIN, passes=PASSES)
            yield mean_log_density(parts, held)

    def choose(self, options: Options) -> Form:
        """Return the form whose held-out rows are likeliest.

        Sizes are tried upwards for every covariance; then, for the two best, its other numbers and the sizes beside it in turn.
        """
        if options.is_one:
            return options.first
        found = []
        for covariance in options.covariance:
            found.append(self._upwards(options, options.first._replace(covariance=covariance)))
        found.sort(key=self.score, reverse=True)
        found = [self._refined(options, form) for form in found[:2] if self.score(form) > self.score(found[0]) - BEHIND]
        return max(found, key=self.score)

    def _upwards(self, options: Options, form: Form) -> Form:
        best = form
        self.score(best)
        for size in options.components:
            if size < COARSE * best.components:
                continue
            larger = form._replace(components=size)
            hopeless = size > LARGE and self.score(best) < max(self.scores.values()) - BEHIND
            if hopeless or self.spent() or self.score(larger) <= self.score(best):
                break
            best = larger
        return best

    def _refined(self, options: Options, form: Form) -> Form:
        names = ["shrinkage", *(["rank"] if form.covariance == "low-rank" else []), "pool", "components"]
        before = None
        while before != form and not self.spent():
            before = form
            for name in names:
                form = self._along(list(getattr(options, name)), name, form)
        return form

    def _along(self, values: list[float], name: str, form: Form) -> Form:
        """Return the best form among those that differ in one number, going from value to value while it gains."""
        values = sorted(values)
        start = values.index(getattr(form, name))
        for direction in (1, -1):
            at = start
            while 0 <= at + direction < len(values):
                at += direction
                other = changed(form, name, values[at])
                if self.score(other) <= self.score(form):
                    break
                form = other
            if at != start and form != changed(form, name, values[start]):
                break
        return form


def changed(form: Form, name: str, value: float) -> Form:
    """Return a form with another value of one number."""
    return Form(**(form._asdict() | {name: value}))


def cross_folds(n: int, count: int, seed: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Return so many divisions of n rows into training rows and held-out ones, which together are all rows."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).to(device)
    held = [order[i::count] for i in range(count)]
    return [(torch.cat([part for j, part in enumerate(held) if j != i]), part) for i, part in enumerate(held)]
