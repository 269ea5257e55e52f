"""The log-densities of a block of rows, with what a person should know of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from genus.cli.columns import explanation, reasons, score_columns
from genus.cli.inputs import codec_of, context_codec_of
from genus.errors import DataError, GenusError

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from genus.codec.units import Unit
    from genus.data import Dataset
    from genus.ladder import ApproximateDensity

__all__ = ["Scored", "Scoring", "Totals", "scored"]

DENSITY = "log_density_"  # begins the name of the column of log-densities
KEPT = 100_000  # values that are compared with those of validation rows; twice as many at most


@dataclass(frozen=True)
class Scoring:
    """Hold what scoring needs for all blocks.

    Attributes:
        model: with a density.
        reading: the arguments of `genus.read`.
        names: the columns to score; none: all of them.
        given_rest, explain, online, samples: the options of the command.
        limit: the log-density below which a row is odd; None where that is not asked for.
        beside: whether the columns of a table stand before the scores.
    """

    model: ApproximateDensity
    reading: dict[str, Any]
    names: tuple[str, ...] = ()
    given_rest: bool = False
    explain: bool = False
    online: bool = False
    samples: int | None = None
    limit: float | None = None
    beside: bool = False

    def read(self, source: Any, beyond: bool) -> Dataset:
        """Return data in the model's spaces."""
        from genus.data import read
        from genus.ladder import TractableDensity

        spaces = (codec_of(self.model), context_codec_of(self.model))
        may_lack = isinstance(self.model, TractableDensity)
        return read(source, space=spaces, **self.reading, allow_missing=may_lack, beyond=beyond)


@dataclass(frozen=True)
class Scored:
    """Hold the log-densities of a block.

    Attributes:
        start: how many rows stand before it.
        values: (N,) in nats; -inf of rows without mass.
        fine: (N,) which rows have mass.
        label: what the values are.
        more: further columns of results.
        partial: how many rows lack a value.
        why: what is wrong with the first row without mass.
        unit: in which people compare these data, as many elements a datum as those of the rows with mass.
        data: the rows as they were read, where their columns stand before the scores.
    """

    start: int
    values: Tensor
    fine: Tensor
    label: str
    more: dict[str, Any]
    partial: int
    why: str
    unit: Unit
    data: pa.Table | None = None

    def table(self) -> pa.Table:
        """Return the results as columns: after those of the data, or after the numbers of the rows."""
        import pyarrow as pa

        from genus.codec.tabular import with_results

        results = {f"{DENSITY}{self.label}": self.values.numpy(), **self.more}
        if self.data is None:
            return pa.table({"row": pa.array(range(self.start, self.start + len(self.values))), **results})
        return with_results(self.data, {_name_beside(name, self.data.column_names): v for name, v in results.items()})


def _name_beside(name: str, columns: list[str]) -> str:
    """Return the name of a result beside columns of the data, of which a person's own are kept; earlier scores make way.

    >>> _name_beside("reason", ["age", "reason"]), _name_beside("reason", ["age", "log_density_exact", "reason"])
    ('reason of genus', 'reason')
    """
    apart, scored_before = f"{name} of genus", any(column.startswith(DENSITY) for column in columns)
    return apart if name in columns and (apart in columns or not scored_before) else name


@dataclass
class Totals:
    """Hold the sums over all blocks: how many rows there are, and the mean of those that have mass with its error."""

    label: str = ""
    rows: int = 0
    fine: int = 0
    partial: int = 0
    why: str = ""
    odd: int = 0
    sum: float = 0.0
    squares: float = field(default=0.0, repr=False)  # of the differences from the mean
    kept: list[Tensor] = field(default_factory=list, repr=False)  # every `stride`-th of the values of rows with mass
    stride: int = 1
    unit: Unit | None = None

    def add(self, found: Scored) -> None:
        """Add a block."""
        values = found.values[found.fine]
        if n := len(values):
            mean = values.mean().item()
            apart = mean - self.sum / self.fine if self.fine else 0.0
            self.squares += (values - mean).square().sum().item() + apart**2 * self.fine * n / (self.fine + n)
            self.sum += mean * n
        self.kept.append(values[-self.fine % self.stride :: self.stride].clone())  # a view would hold the block
        while sum(map(len, self.kept)) > 2 * KEPT:
            self.kept, self.stride = [self._joined()[::2]], 2 * self.stride
        self.odd += sum(found.more.get("odd", ()))
        self.rows, self.fine, self.partial = self.rows + len(found.values), self.fine + n, self.partial + found.partial
        self.label, self.why = found.label, self.why or found.why
        self.unit = found.unit  # sequences, whose elements are counted, are one block

    def _joined(self) -> Tensor:
        import torch

        return torch.cat(self.kept)

    @property
    def some(self) -> list[float]:
        """Return the log-densities of rows with mass; of many rows, of so many that are evenly apart."""
        return self._joined().tolist()

    @property
    def impossible(self) -> int:
        """Return how many rows have no mass."""
        return self.rows - self.fine

    @property
    def mean(self) -> float:
        """Return the mean of the log-densities of rows with mass; NaN without any."""
        return self.sum / self.fine if self.fine else math.nan

    @property
    def error(self) -> float:
        """Return the standard error of the mean; NaN where there are too few rows."""
        return math.sqrt(self.squares / (self.fine - 1) / self.fine) if self.fine > 1 else math.nan


def scored(task: Scoring, block: tuple[int, Any, bool]) -> Scored:
    """Return the log-densities of a block of `genus.questions.blocks.block_sources`.

    Raises:
        DataError: the rows do not fit the model's spaces; rows without mass do.
    """
    start, source, several = block
    from genus.questions.blocks import reading_of

    try:
        return _scored(replace(task, reading=reading_of(task.reading, several)), start, source, several)
    except DataError as error:
        if not several:
            raise
        raise DataError(f"In the rows from {start:,} on, counted from there: {error}") from error


def _scored(task: Scoring, start: int, source: Any, several: bool) -> Scored:
    from genus.codec.units import Unit

    model, names = task.model, list(task.names)
    dataset, odd, why = _read_rows(lambda beyond: task.read(source, beyond))
    if len(dataset) == 0:
        raise GenusError(f"{dataset.name} has no rows; expected at least one to score.")
    partial = _partial(dataset)
    looked_at = odd if task.given_rest or not names else odd[:, [model.space.index(name) for name in names]]
    fine = ~looked_at.any(1)
    if names:
        values, label = score_columns(model, dataset, names, task.given_rest)
    else:
        values, label = _values(model, dataset, fine, task.online, task.samples, partial > 0)
    more: dict[str, Any] = {} if bool(fine.all()) and not several else {"reason": _texts(reasons(dataset, looked_at))}
    if task.explain:
        more |= explanation(model, dataset, odd)
    values = values.where(fine, -math.inf)
    if task.limit is not None:
        more |= {"odd": (values < task.limit).tolist()}
    where = f"in the rows from {start:,} on, counted from there: " if several and why else ""
    unit = Unit.of(codec_of(model), dataset.x[fine])
    return Scored(start, values, fine, label, more, partial, where + why, unit, _beside(task, dataset, several))


def _beside(task: Scoring, dataset: Dataset, several: bool) -> pa.Table | None:
    """Return the rows as they were read, of the same types in all blocks; None where the scores stand alone."""
    from genus.codec.tabular import with_decimals_of
    from genus.questions.blocks import steady

    if not task.beside or dataset.table is None:
        return None
    return with_decimals_of(codec_of(task.model), steady(task.model, dataset.table) if several else dataset.table)


def _texts(values: list[str | None]) -> pa.Array:
    import pyarrow as pa

    return pa.array(values, pa.string())


def _values(
    model: ApproximateDensity, data: Dataset, fine: Tensor, online: bool, samples: int | None, partial: bool
) -> tuple[Tensor, str]:
    """Return the log-densities (N,) of whole rows, and their label."""
    import torch

    from genus.ladder import TractableDensity
    from genus.models.online import OnlineDensity

    if online and isinstance(model, OnlineDensity):  # nothing is learned from rows without mass
        values = torch.full((len(data),), -math.inf, dtype=torch.float64)
        values[fine] = model.log_prob_online(data.x[fine]).double().cpu()
        return values, "online"
    label = "exact" if isinstance(model, TractableDensity) else "bound" if samples is None else "estimate"
    return _log_density(model, data, samples, partial).double().cpu(), label


def _read_rows(read: Callable[[bool], Dataset]) -> tuple[Dataset, Tensor, str]:
    """Return the rows, which entries the model has no place for (N, D), and what the first of these is."""
    import torch

    from genus.codec.rewrites import BrokenRelation
    from genus.ladder.unknown import placeholder_row

    try:
        found = read(False)
    except DataError as error:
        try:
            found = read(True)
        except DataError:
            raise error from None  # it is not for its lattices that it was refused
        odd = found.x.isinf().flatten(1)  # of levels and characters that training had not, and of numbers off a lattice
        fine, x = ~odd.any(1), found.x.clone()
        possible = x[fine][0] if bool(fine.any()) else placeholder_row(found.space, x).view(found.space.shape)
        x[~fine] = possible  # that it can be computed
        return replace(found, x=x), odd, f"{error.reason}." if isinstance(error, BrokenRelation) else str(error)
    return found, torch.zeros(found.x.flatten(1).shape, dtype=torch.bool), ""


def _partial(data: Dataset) -> int:
    """Count the rows that lack a value which no row lacked in training."""
    space = data.space
    if space.sequence:
        return 0
    return int((data.x.isnan().flatten(1) & (space.tables(data.x).missing < 0)).any(1).sum())


def _log_density(model: ApproximateDensity, data: Dataset, samples: int | None, partial: bool) -> Tensor:
    """Return the log-densities (N,): exact, a mean over draws of the bound, or estimates by importance samples."""
    import torch

    from genus.ladder import BOUND_DRAWS, TractableDensity, map_batches

    with torch.inference_mode():
        if isinstance(model, TractableDensity):
            density = (lambda x, c: model.log_marginal(x, c=c)) if partial else model.log_prob
            return map_batches(density, data.x, data.c)
        if samples is not None:
            return map_batches(lambda x, c: model.log_evidence(x, c, samples, seed=0), data.x, data.c, rows=2048)
        draws = [map_batches(lambda x, c, i=i: model.elbo(x, c, seed=i), data.x, data.c) for i in range(BOUND_DRAWS)]
        return torch.stack(draws).mean(0)
