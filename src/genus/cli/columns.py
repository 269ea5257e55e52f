"""The other columns of `genus score`: densities of some columns alone, the most surprising column, why a row has no mass."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from genus.cli.errors import UsageError
from genus.errors import GenusError, listed, near

if TYPE_CHECKING:
    from torch import Tensor

    from genus.data import Dataset
    from genus.ladder import ApproximateDensity

__all__ = ["alarm_limit", "as_lists", "check_columns", "explanation", "reasons", "score_columns"]


def check_columns(model: ApproximateDensity, names: list[str], given_rest: bool, explain: bool, otherwise: bool) -> None:
    """Raise UsageError where columns of a table are asked for in a way that makes no sense.

    Args:
        otherwise: rows are to be scored online, or by importance samples.
    """
    if (names or given_rest or explain) and not model.space.is_table:
        raise UsageError("--columns and --explain are of the columns of a table, and this model has none; leave them out")
    if given_rest and not names:
        raise UsageError("--given-rest scores --columns given the others; name them")
    if names and otherwise:
        raise UsageError("--columns is exact, by what the family knows of its columns; leave --samples and --online out")
    for name in names:
        if name not in (model.space.names or ()):
            known = model.space.names or ()
            raise UsageError(f"--columns names no column {name!r}{near(name, known)}; there are {listed(known)}")


def alarm_limit(model: ApproximateDensity, false_alarms: float | None, otherwise: bool) -> float | None:
    """Return the log-density below which a row is odd; None where that is not asked for.

    Args:
        otherwise: rows are scored in another way than the validation rows of training were.
    """
    if false_alarms is None:
        return None
    if otherwise:
        raise UsageError("--false-alarms is of whole rows as training scored them; leave --columns, --samples and --online out")
    if model.held_out is None:
        raise GenusError(
            "The file of this model holds no log-densities of validation rows: it was trained without any, by an earlier"
            " genus, or on other data than a table; train it again, or look at the lowest log-densities."
        )
    return model.held_out.threshold(false_alarms)


def score_columns(model: ApproximateDensity, data: Dataset, names: list[str], given_rest: bool) -> tuple[Tensor, str]:
    """Return the log-density (N,) of some columns alone or given all others, and its label."""
    import torch

    from genus.ladder import TractableDensity, map_batches
    from genus.questions import column_given

    columns = [model.space.index(name) for name in names]
    rest = [i for i in range(model.space.dim) if i not in columns]
    if given_rest and len(columns) == 1:
        found = column_given(model, data.x, data.c, columns[0], blanks=True)
        return found.log_density.cpu(), found.label
    if not isinstance(model, TractableDensity):
        raise GenusError(
            f"{model.name} only bounds its density, so no columns can be left out; score one --given-rest instead."
        )

    def marginal(which: list[int]) -> Tensor:
        return map_batches(lambda x, c: model.log_marginal(x[:, which], which, c), data.x, data.c)

    with torch.inference_mode():
        if not given_rest:
            return marginal(columns).double().cpu(), "exact"
        return (map_batches(model.log_prob, data.x, data.c) - marginal(rest)).double().cpu(), "exact"


def explanation(model: ApproximateDensity, data: Dataset, odd: Tensor) -> dict[str, Any]:
    """Return the columns of results that say which column of a row is surprising; a value without mass is infinitely so."""
    import torch

    from genus.questions import Explained, surprise

    found, label = surprise(model, data.x, data.c)
    found = torch.where(odd, torch.inf, found.cpu())
    table = Explained(model.space.names or (), found.numpy(), label).table()
    return {name: table.column(name) for name in table.column_names}


def reasons(data: Dataset, odd: Tensor) -> list[str | None]:
    """Return why each row has no mass under the model; None for rows that have."""
    if data.space.sequence:
        return ["no place for one of its symbols" if row else None for row in odd.any(1).tolist()]
    return [
        None
        if not any(row)
        else "it breaks a relation that held in training"
        if all(row)
        else f"no place for its value of {', '.join(data.space.label(i) for i, bad in enumerate(row) if bad)}"
        for row in odd.tolist()
    ]


def as_lists(columns: dict[str, Any]) -> dict[str, Any]:
    """Return further columns of results as JSON values, infinities and NaN as null."""
    lists = {name: values if isinstance(values, list) else values.to_pylist() for name, values in columns.items()}
    return {
        name: [(value if math.isfinite(value) else None) if isinstance(value, float) else value for value in values]
        for name, values in lists.items()
    }
