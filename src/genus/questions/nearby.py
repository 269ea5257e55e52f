"""Rows near a row: with other values in some columns (`counterfactuals`), or on the way to another row (`interpolate`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from genus.codec import Codec, Formula, Function, OneHot, Order, Sum
from genus.codec.tabular import as_table
from genus.data import Dataset
from genus.errors import DataError, GenusError, listed, near
from genus.kinds import Category, Kind, Lattice
from genus.kinds.charts import Charts
from genus.ladder import ApproximateDensity, GenerativeModel, TractableDensity
from genus.ladder.unknown import set_columns, unknown_entries
from genus.notebook import Previewed
from genus.questions.conditional import column_given, points_of
from genus.questions.reading import read_for
from genus.space import Space

__all__ = ["Nearby", "counterfactuals", "interpolate"]

USUAL = 0.1  # a row is likely where this share, or more, of the model's own draws with the same change is less likely
OWN = 500  # the number of these draws
TRIES = 64  # draws that are tried of the columns that follow a change
LEVELS = 64  # a category of at most so many levels may have any between two rows; of more, those of the two rows
BOUND_SAMPLES = 64  # importance samples of a density that is only bounded


@dataclass(frozen=True, repr=False)
class Nearby(Previewed):
    """Holds rows near a given one.

    Attributes:
        table: the rows, the nearest first; of an interpolation from the first row to the second.
        changed: of each row the columns of the space that differ from the given row beside the requested changes.
        log_density: of each row, in nats.
        usual: the log-density that a tenth of the model's draws lie below; None of an interpolation.
    """

    table: pa.Table
    changed: list[tuple[str, ...]]
    log_density: tuple[float, ...]
    usual: float | None

    def _preview(self) -> tuple[str, pa.Table]:
        usual = "" if self.usual is None else f"; a tenth of the model's draws lie below {self.usual:.4g} nats"
        density = pa.array(self.log_density, pa.float64())
        return f"{self.table.num_rows} rows near a given one{usual}", self.table.add_column(0, "log-density", density)


def counterfactuals(
    model: GenerativeModel, row: Any, change: Mapping[str, Any], n: int = 3, seed: int = 0, **reading: Any
) -> Nearby:
    """Return the nearest likely rows in which some columns have other values: the same customer at another age.

    A row is likely where at least a tenth of the model's own draws with the change are less likely, and the same holds of each
    changed value given all other columns. If the row with the change alone is likely, it is the answer. Otherwise columns are
    drawn given all others, one more at a time, each time the one that makes the row likeliest, until it is likely; of several
    such rows those with the smallest differences come first. The model knows which columns go together, not what causes what.

    Args:
        model: of a table, with a density.
        row: one row of a table, as `genus.read` takes it: {"age": [31], "income": [">50K"], ...}, or values without lists.
        change: the new value of each changed column.
        n: the most rows.
        seed: of the draws.
        reading: further arguments of `genus.read`.

    Raises:
        DataError: the row or the change does not fit the model, or breaks a relation.
        GenusError: the model has no density.

    >>> import genus
    >>> days = {"sky": ["sun", "rain"] * 30, "umbrella": ["no", "yes"] * 30, "day": ["a", "b", "c"] * 20}
    >>> data = genus.read(days, relations=False)
    >>> model = genus.build("chow-liu", data.space)
    >>> _ = genus.fit(model, data, seed=0, progress=False)
    >>> near = counterfactuals(model, {"sky": "sun", "umbrella": "no", "day": "b"}, {"sky": "rain"})
    >>> near.table.to_pylist()[0], near.changed[0]
    ({'sky': 'rain', 'umbrella': 'yes', 'day': 'b'}, ('umbrella',))
    """
    if not change:
        raise DataError("change= names no column; give the new value of one or more, such as {'age': 40}.")
    codec, before = _one_row(model, row, reading)
    assert before.table is not None
    after = _changed(model, codec, before, change, reading)
    space, c = model.space, after.c
    fixed = [i for i, name in enumerate(space.names or ()) if name in _fixed_by(codec, change)]
    likelihood = _Likelihood(model, c, fixed)
    if fixed and len(fixed) < space.dim:
        others = [i for i in range(space.dim) if i not in fixed]
        own = model.fill(after.x.repeat(OWN, 1), _repeated(c, OWN), _mask(space, OWN, others), seed)
        likelihood.measure(own.x)
    # `margin` is by how much a row exceeds what is likely enough; `follows` are the columns that are drawn so far.
    rows, follows = after.x, list[int]()
    density, margin = likelihood(rows)
    while float(margin.max()) < 0 and len(follows) + len(fixed) < space.dim:
        tried = {}
        for i in range(space.dim):
            if i not in fixed and i not in follows:
                drawn = _drawn(model, after.x, c, [*follows, i], seed)
                tried[i] = (drawn, *likelihood(drawn))
        follows.append(max(tried, key=lambda i: float(tried[i][2].max())))
        rows, density, margin = tried[follows[-1]]
    likely = (margin >= min(0.0, float(margin.max()))).nonzero()[:, 0]
    rows, density = rows[likely], density[likely]
    order = _distance(space, rows, before.x).argsort(stable=True).tolist()
    kept: list[int] = []
    for k in order:
        if len(kept) < n and not any(torch.equal(rows[k].nan_to_num(-1e9), rows[j].nan_to_num(-1e9)) for j in kept):
            kept.append(k)
    names = space.names or ()
    differ = [tuple(names[i] for i in follows if not _equal(rows[k, i], before.x[0, i])) for k in kept]
    return Nearby(as_table(codec, rows[kept], seed), differ, tuple(density[kept].tolist()), likelihood.usual)


def interpolate(model: GenerativeModel, first: Any, second: Any, steps: int = 5, **reading: Any) -> Nearby:
    """Return rows on the way from one row to another.

    Numbers go in equal steps of the chart, in which their column is nearly normal. Categories have the levels of the highest
    joint density, given the numbers and each other; every other value is that of one of the two rows.

    Args:
        model: of a table, with a density.
        first, second: one row each, as of `counterfactuals`.
        steps: how many rows, the two among them.
        reading: further arguments of `genus.read`.

    Raises:
        DataError: a row does not fit the model, or has a blank.
        GenusError: the model has no density.

    >>> import genus
    >>> data = genus.read("iris")
    >>> model = genus.build("mixture", data.space, components=6)
    >>> _ = genus.fit(model, data, seed=0, progress=False)
    >>> rows = data.codec.decode(data.x).to_pylist()
    >>> interpolate(model, rows[0], rows[149], steps=3).table.column("species").to_pylist()
    ['setosa', 'versicolor', 'virginica']
    """
    if steps < 2:
        raise GenusError(f"steps counts the two rows themselves, so 2 or more; got {steps}.")
    codec, start = _one_row(model, first, reading)
    _, end = _one_row(model, second, reading)
    space, a, b = model.space, start.x, end.x
    share = torch.linspace(0, 1, steps, dtype=torch.float64)[:, None]
    c = None if start.c is None else start.c.repeat(steps, 1)
    x = torch.where(share < 0.5, a, b).to(a)
    numbers = [i for i in _numbers(space) if not any(_is_atom(space.kinds[i], row[0, i]) for row in (a, b))]
    if numbers:
        charts = _charts(space, numbers)
        ends = [charts.forward(row[:, numbers].double())[0] for row in (a, b)]
        between = charts.inverse(ends[0] + share * (ends[1] - ends[0]))
        x = set_columns(
            x, numbers, torch.stack([_snapped(space.kinds[i], v) for i, v in zip(numbers, between.T, strict=True)], 1)
        )
        x[0], x[-1] = a[0], b[0]
    x = _likeliest(model, x, a, b, [i for i in range(space.dim) if i not in numbers and not _equal(a[0, i], b[0, i])], c)
    return Nearby(as_table(codec, x, 0), [()] * steps, tuple(_density(model, x, c).tolist()), None)


def _one_row(model: GenerativeModel, row: Any, reading: dict[str, Any]) -> tuple[Codec, Dataset]:
    """Return the model's codec and one row as the model sees it; raise DataError where a value is unknown to the model."""
    if not isinstance(model, ApproximateDensity):
        raise GenusError(f"{model.name} has no density, so it does not say what is likely; take mixture or made, say.")
    if isinstance(row, Mapping):
        row = {name: value if isinstance(value, list) else [value] for name, value in row.items()}
    codec, data = read_for(model, row, False, reading)
    if len(data) != 1:
        raise DataError(f"One row is expected; got {len(data):,}.")
    unfit = data.x[0].isinf() | unknown_entries(model.space, data.x)[0]
    if bool(unfit.any()):
        names = ", ".join(model.space.label(i) for i in unfit.nonzero()[:, 0].tolist())
        raise DataError(f"The row has no value that the model knows for {names}; fill it first with genus.impute, or mend it.")
    return codec, data


def _changed(
    model: GenerativeModel, codec: Codec, before: Dataset, change: Mapping[str, Any], reading: dict[str, Any]
) -> Dataset:
    """Return the row with the changed values, without columns that relations compute from others: these follow the change."""
    known = [*codec.column_names, *((model.context.names or ()) if model.context is not None else ())]
    if odd := [name for name in change if name not in known]:
        raise DataError(f"The model knows no column {odd[0]!r} to change{near(odd[0], known)}; it knows {listed(known)}.")
    assert before.table is not None
    row = {name: before.table.column(name).to_pylist() for name in before.table.column_names}
    follow = [one.column for one in codec.rewrites if isinstance(one, Function | Sum)]
    follow += [one.column for one in codec.rewrites if isinstance(one, Formula) and not one.rest]
    follow += [name for one in _groups(codec, change) for name in one.columns]
    row = {name: values for name, values in row.items() if name not in follow} | {name: [v] for name, v in change.items()}
    _, after = read_for(model, row, True, reading)
    if bool(after.x.isinf().any()):
        raise DataError(
            f"A row with {', '.join(f'{name} = {value}' for name, value in change.items())} breaks a relation with its other"
            " values, or the model has no place for it; change the columns that it is in relation with too."
        )
    return after


def _fixed_by(codec: Codec, change: Mapping[str, Any]) -> set[str]:
    """Return the columns of the space that a change of a person's columns fixes."""
    gaps = {one.gap for one in codec.rewrites if isinstance(one, Order) and {one.column, *one.others} & {*change}}
    gaps |= {one.rest for one in codec.rewrites if isinstance(one, Formula) and one.rest and {one.column, *one.of} & {*change}}
    return {*change} | gaps | {one.into for one in _groups(codec, change)}


def _groups(codec: Codec, change: Mapping[str, Any]) -> list[OneHot]:
    """Return the one-hot groups of columns, exactly one of which is 1, that a change concerns."""
    return [one for one in codec.rewrites if isinstance(one, OneHot) and {*one.columns} & {*change}]


class _Likelihood:
    """Compares the likelihood of rows with that of the model's own draws with the same change.

    The density alone does not suffice: where rows of the old level are much closer together, a row that still looks like them
    may have a higher density than rows of the new level.
    """

    def __init__(self, model: GenerativeModel, c: Tensor | None, changed: list[int]) -> None:
        self.model, self.c, self.changed = model, c, changed
        self.points = [points_of(model, c, i) for i in changed]
        self.least: Tensor | None = None  # what a tenth of the draws lie below: of the density, and of each changed value

    @property
    def usual(self) -> float | None:
        """Return the log-density that a tenth of the draws lie below; None where no column of the space is fixed."""
        return float(self.least[0]) if self.least is not None else -math.inf if self.changed else None

    def measure(self, own: Tensor) -> None:
        """Learn what is usual from the model's own draws (N, D)."""
        self.least = self._of(own).quantile(USUAL, dim=1)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-densities (B,) of rows x (B, D), and by how much they exceed the usual (B,), both in nats."""
        densities = self._of(x)  # of the row, and of each changed value
        if self.least is None:
            return densities[0], densities[0].new_full((len(x),), math.inf)
        return densities[0], (densities - self.least[:, None]).amin(0)

    def _of(self, x: Tensor) -> Tensor:
        """Return the log-densities of rows x (B, D) and of each changed value given all others, (1 + changes, B)."""
        c = _repeated(self.c, len(x))
        given = [
            column_given(self.model, x, c, i, points=points).log_density.cpu()
            for i, points in zip(self.changed, self.points, strict=True)
        ]
        return torch.stack([_density(self.model, x, c), *given])


def _drawn(model: GenerativeModel, x: Tensor, c: Tensor | None, columns: list[int], seed: int) -> Tensor:
    """Return copies of row x (1, D), (TRIES, D), in which some columns are drawn given the others."""
    return model.fill(x.repeat(TRIES, 1), _repeated(c, TRIES), _mask(model.space, TRIES, columns), seed).x


def _repeated(c: Tensor | None, n: int) -> Tensor | None:
    """Return a context of one row n times."""
    return None if c is None else c.repeat(n, *[1] * (c.ndim - 1))


def _mask(space: Space, n: int, columns: list[int]) -> Tensor:
    mask = torch.zeros(n, space.dim, dtype=torch.bool)
    mask[:, columns] = True
    return mask


def _density(model: GenerativeModel, x: Tensor, c: Tensor | None) -> Tensor:
    """Return the log-density (B,) of rows, or an estimate of it, in nats."""
    assert isinstance(model, ApproximateDensity)
    with torch.no_grad():
        if isinstance(model, TractableDensity):
            return model.log_prob(x, c).double().cpu()
        return model.log_evidence(x, c, BOUND_SAMPLES, seed=0).double().cpu()


def _numbers(space: Space) -> list[int]:
    return [i for i, kind in enumerate(space.kinds) if not isinstance(kind, Category)]


def _charts(space: Space, columns: list[int]) -> Charts:
    return Charts.of([space.kinds[i] for i in columns])


def _is_atom(kind: Kind, value: Tensor) -> bool:
    """Return whether a number is an atom of a continuous column, or a blank: there are no values between it and another."""
    return bool(value.isnan()) or (not isinstance(kind, Lattice) and float(value) in kind.atoms)


def _snapped(kind: Kind, values: Tensor) -> Tensor:
    """Return the values that a column may have which are nearest to numbers (B,)."""
    if not kind.step:
        return values
    low, high = float(kind.low), float(kind.high)  # type: ignore[attr-defined]
    return (low + kind.step * ((values - low) / kind.step).round()).clamp(low, high)


def _equal(a: Tensor, b: Tensor) -> bool:
    return bool(a == b) or bool(a.isnan() & b.isnan())


def _distance(space: Space, x: Tensor, row: Tensor) -> Tensor:
    """Return how far rows (B, D) are from a row (1, D): deviations of numbers, 1 for every other difference."""
    apart = ((x != row) & ~(x.isnan() & row.isnan())).double()
    if numbers := _numbers(space):
        charts = _charts(space, numbers)
        far = (charts.forward(x[:, numbers].double())[0] - charts.forward(row[:, numbers].double())[0]).abs()
        apart[:, numbers] = torch.where(far.isfinite(), far, apart[:, numbers])
    return apart.sum(1)


def _likeliest(model: GenerativeModel, x: Tensor, a: Tensor, b: Tensor, columns: list[int], c: Tensor | None) -> Tensor:
    """Return rows in which some columns, in turns, have the likeliest value given all others.

    A category may have any level; another column that of a or of b (1, D).
    """
    kinds = model.space.kinds
    for _ in range(2):
        for i in columns:
            kind = kinds[i]
            known = [k for k, level in enumerate(kind.levels) if level is not None] if isinstance(kind, Category) else []
            values = {float(k) for k in known} if len(known) <= LEVELS else set()
            values |= {v for v in (a[0, i].item(), b[0, i].item()) if not math.isnan(v)}
            tried = [set_columns(x, [i], x.new_full((len(x), 1), value)) for value in sorted(values)]
            best = torch.stack([_density(model, rows, c) for rows in tried]).argmax(0)
            x = torch.stack(tried)[best, torch.arange(len(x))]
            x[0], x[-1] = a[0], b[0]
    return x
