"""The choice of a mixture's form by the likelihood of rows that did not fit it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genus.ladder import WithContext
from genus.models.components import Form, MixtureRows
from genus.models.layout import Layouts
from genus.models.maximising import Spent, climb, mean_log_density, new_components, starting_labels
from genus.space import Space

__all__ = ["Chooser", "Options", "cross_folds"]

GAIN, PASSES = 3e-3, 24  # of the fits that are compared; see `climb`
EARLY = 8  # passes after which a fit on a single fold may be given up
HOPELESS = 0.3  # nats that it is then behind the best;
HOPELESS_AFTER = 1.5, 0.6, 0.4, 0.3  # or is, of several folds, on the first of them, on two, on three, on more
LEAST, LEAST_MANY = 2e-3, 1e-2  # nats that a number's next value must bring, of several folds and of a single one
BEHIND, LARGE = 1.0, 8  # nats by which components of one covariance, this many of them, may trail those of another
CLOSE = 0.3  # nats by which the second best covariance may trail the best one and still be looked at closely
ROUNDS = 3  # through the numbers of a form, at most
COARSE = 2  # by how much sizes at least differ that are tried first


class Options(NamedTuple):
    """Holds the forms that are chosen from; one of each that is given, the likeliest first."""

    components: Sequence[int]  # ascending
    covariance: Sequence[str]
    rank: Sequence[int]
    shrinkage: Sequence[float]
    pool: Sequence[float]
    shape: Sequence[float] = (0.0,)
    levels: Sequence[float | None] = (None,)
    owners: Sequence[int] = (1,)
    lattices: Sequence[tuple[int, ...]] = ((),)

    @property
    def first(self) -> Form:
        """Return the smallest form."""
        return Form(**{name: values[0] for name, values in self._asdict().items()})

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
        layouts: how components see rows.
        rows: all rows, and their contexts.
        features: what k-means sees of them.
        folds: the training rows and the held-out rows of each fit, as places among the rows.
        seed: of the starts.
        spent: whether the time for choosing is over; the best form so far is then taken.
    """

    def __init__(
        self,
        space: Space,
        context: Space | None,
        layouts: Layouts,
        rows: WithContext,
        features: Tensor,
        folds: Sequence[tuple[Tensor, Tensor]],
        seed: int,
        spent: Spent,
    ) -> None:
        self.space, self.context, self.seed, self.spent = space, context, seed, spent
        self.layouts, self.rows, self.features, self.folds = layouts, rows, features, folds
        self.parts: dict[tuple[int, ...], list[tuple[MixtureRows, MixtureRows]]] = {}  # of the folds, in each layout
        self.labels: dict[tuple[int, int], Tensor] = {}
        self.scores: dict[Form, float] = {}
        self.marks: dict[Form, list[float]] = {}  # early values: of passes so far, or of folds
        self.best: Form | None = None  # so far

    def score(self, form: Form) -> float:
        """Return the mean log-density of held-out rows over the folds, in nats; -inf where the time is over.

        A form far behind the best so far is given up early; its score is the best one less what it was behind.
        """
        if form not in self.scores:
            values, behind = self._values(form)
            if behind > 0 and self.best is not None:
                self.scores[form] = self.scores[self.best] - behind
            elif len(values) < len(self.folds):
                self.scores[form] = -math.inf
            else:
                self.scores[form] = sum(values) / len(values)
                if self.best is None or self.scores[form] > self.scores[self.best]:
                    self.best = form
        return self.scores[form]

    def _values(self, form: Form) -> tuple[list[float], float]:
        """Return the mean log-densities of the folds' held-out rows, and by how much a form given up is behind; else 0."""
        values: list[float] = []
        single = len(self.folds) == 1
        for i, (train, held) in enumerate(self._parts(form)):
            features = self.features[self.folds[i][0]]
            if self.scores and self.spent():
                break
            if (i, form.components) not in self.labels:
                self.labels[i, form.components] = starting_labels(features, train.context, form, self.seed + i)
            parts = new_components(self.space, self.context, form, train, self.labels[i, form.components])
            if single:
                climb(parts, form, train, self.spent, gain=GAIN, passes=EARLY)
                if (behind := self._behind(form, mean_log_density(parts, held), HOPELESS)) > 0:
                    return values, behind
            climb(parts, form, train, self.spent, gain=GAIN, passes=PASSES - EARLY if single else PASSES)
            values.append(mean_log_density(parts, held))
            if not single and (behind := self._behind(form, values[-1], HOPELESS_AFTER[min(i, len(HOPELESS_AFTER) - 1)])) > 0:
                return values, behind
        return values, 0.0

    def _parts(self, form: Form) -> list[tuple[MixtureRows, MixtureRows]]:
        """Return training rows and held-out rows of every fold, as components of a form see them."""
        if form.smooth not in self.parts:
            rows = self.layouts.rows(form, *self.rows)
            self.parts[form.smooth] = [(rows.some(train), rows.some(held)) for train, held in self.folds]
        return self.parts[form.smooth]

    def _behind(self, form: Form, value: float, margin: float) -> float:
        """Note a form's next early value; return by how much it is behind the best form's, 0 where by less than the margin."""
        marks = self.marks.setdefault(form, [])
        marks.append(value)
        if self.best is None:
            return 0.0
        behind = sum(best - own for best, own in zip(self.marks[self.best], marks, strict=False)) / len(marks)
        return behind if behind > margin else 0.0

    def choose(self, options: Options) -> Form:
        """Return the form whose held-out rows are likeliest.

        Sizes are tried upwards for every covariance, for a single one from half the root of the rows; then, for the two best,
        its other numbers and the sizes beside it in turn.
        """
        if options.is_one:
            return options.first
        found = []
        for covariance in options.covariance:  # the smallest of each, so that what is far behind another is given up early
            self.score(options.first._replace(covariance=covariance))
        for covariance in options.covariance:
            found.append(self._upwards(options, options.first._replace(covariance=covariance)))
        found.sort(key=self.score, reverse=True)
        found = [self._refined(options, form) for form in found[:2] if self.score(form) > self.score(found[0]) - CLOSE]
        return max(found, key=self.score, default=self.best or options.first)  # none had been scored when the time was over

    def _upwards(self, options: Options, form: Form) -> Form:
        if len(options.covariance) == 1:  # of no others whose small sizes may be enough
            form = form._replace(components=_near(options.components, 0.5 * len(self.folds[0][0]) ** 0.5))
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
        for size in reversed(options.components):
            if best != form or self.spent() or size > form.components / COARSE:
                continue
            smaller = form._replace(components=size)
            if self.score(smaller) <= self.score(form):
                break
            best = form = smaller
        return best

    def _refined(self, options: Options, form: Form) -> Form:
        several = len(self.folds) > 1  # a single one's size was tried by doubling, and is tried again on more rows
        names = [
            "pool",
            "levels",
            "shape",
            "shrinkage",
            *(["rank"] if form.covariance == "low-rank" else []),
            *(["components"] if several else []),
        ]
        for _ in range(ROUNDS if several else 1):
            if self.spent():
                break
            before = form
            for name in names:
                form = self._along(list(getattr(options, name)), name, form)
            if form == before:
                break
        return form

    def _along(self, values: list[Any], name: str, form: Form) -> Form:
        """Return the best form among those that differ in one number, going from value to value while it gains."""
        values = sorted(values)
        start = values.index(getattr(form, name))
        for direction in (1, -1):
            at = start
            while 0 <= at + direction < len(values):
                at += direction
                other = changed(form, name, values[at])
                if self.score(other) <= self.score(form) + (LEAST if len(self.folds) > 1 else LEAST_MANY):
                    break
                form = other
            if at != start and form != changed(form, name, values[start]):
                break
        return form


def _near(sizes: Sequence[int], size: float) -> int:
    """Return the largest of ascending sizes up to this one, or the first."""
    return max([k for k in sizes if k <= size], default=sizes[0])


def changed(form: Form, name: str, value: float | None) -> Form:
    """Return a form with another value of one number."""
    return Form(**(form._asdict() | {name: value}))


def cross_folds(n: int, count: int, seed: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Return so many divisions of n rows into training rows and held-out ones, which together are all rows."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).to(device)
    held = [order[i::count] for i in range(count)]
    return [(torch.cat([part for j, part in enumerate(held) if j != i]), part) for i, part in enumerate(held)]
