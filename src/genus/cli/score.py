"""`genus score`: the log-density of every row."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genus.cli.columns import alarm_limit, as_lists, check_columns, explanation, reasons, score_columns, split_columns
from genus.cli.inputs import codec_of, context_codec_of, source_of
from genus.cli.options import Data, Model, Output, RowOptions, TableFile, shared_options
from genus.cli.outputs import check_suffix, print_json, write_table
from genus.errors import DataError, GenusError

if TYPE_CHECKING:
    from torch import Tensor

    from genus.data import Dataset
    from genus.ladder import ApproximateDensity

__all__ = ["score"]


@shared_options
def score(
    model: Model,
    data: Data,
    *,
    out: TableFile = None,
    samples: Annotated[
        int | None,
        typer.Option(metavar="K", min=1, help="Estimate the density by K importance samples, where the model only bounds it."),
    ] = None,
    online: Annotated[
        bool,
        typer.Option("--online", help="Learn from each symbol after it was scored (models that count; text and the like)."),
    ] = False,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B", help="Score these columns alone, the others left out; exact families alone.")
    ] = None,
    given_rest: Annotated[
        bool, typer.Option("--given-rest", help="Score the --columns given the others: how odd is the price of such a thing?")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Add the column that is most surprising given the others, and how surprising all are."),
    ] = False,
    false_alarms: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Say which rows are odd, so that of ordinary rows at most this share is: .01, say."),
    ] = None,
    reading: RowOptions,
    output: Output,
) -> None:
    """Give every row its log-density under a model, in nats.

    Columns are found by name, those of the context too; others are ignored. The name of the column of results says what
    it is: exact, a bound from below, or an estimate. A low value is an unusual row. Rows are counted from 0. A row that lacks
    a value which no row lacked in training is scored by what it has, where the family can leave the rest out.
    A number beyond a column's lattice, or between its points, has no mass under the model, nor has a row that breaks a
    relation which was found in training or declared: such a row's log-density is -inf.
    With --false-alarms a further column says which rows are odd: less likely than all but that share of the validation rows of
    training. The last line says whether the file as a whole is as likely as those rows.
    With --online the model goes on counting while it reads: rows are scored in their order, each symbol by the training data
    and all symbols before it. The column says online; the file of the model stays as it is.

    \b
    Examples:
      genus score adult.genus adult.csv
      genus score adult.genus adult.csv --out scores.csv
      genus score adult-vae.genus adult.csv --samples 64 --out scores.parquet
      genus score adult.genus adult.csv --columns age --given-rest
      genus score adult.genus adult.csv --explain --out odd.csv
      genus score adult.genus adult.csv --false-alarms .05 --out odd.csv
      genus score adult.genus adult.csv --json
    """
    output.check_one_place(out)
    check_suffix(out)

    from genus.data import read
    from genus.ladder import TractableDensity

    loaded = _loaded(model)
    names = split_columns(columns)
    _check_online(loaded, online, samples)
    check_columns(loaded, names, given_rest, explain, online or samples is not None)
    limit = alarm_limit(loaded, false_alarms, bool(names) or online or samples is not None)
    source = source_of(data)

    def rows(beyond: bool) -> Dataset:
        return read(
            source,
            space=(codec_of(loaded), context_codec_of(loaded)),
            **reading.arguments(),
            allow_missing=isinstance(loaded, TractableDensity),
            beyond=beyond,
        )

    dataset, odd, why = _read_rows(rows)
    if len(dataset) == 0:
        raise GenusError(f"{dataset.name} has no rows; expected at least one to score.")
    partial = _partial(dataset)
    looked_at = odd if given_rest or not names else odd[:, [loaded.space.index(name) for name in names]]
    fine = ~looked_at.any(1)
    if names:
        values, label = score_columns(loaded, dataset, names, given_rest)
    else:
        values, label = _scored(loaded, dataset, fine, online, samples, partial > 0)
    values = values.where(fine, -math.inf)
    more: dict[str, Any] = {} if bool(fine.all()) else {"reason": reasons(dataset, looked_at)}
    if explain:
        more |= explanation(loaded, dataset, odd)
    if limit is not None:
        more |= {"odd": (values < limit).tolist()}
    drift = _drift(loaded, values[fine], names, label, partial)
    if output.as_json:
        told: dict[str, Any] = {"label": label, "samples": samples if label == "estimate" else None, "rows": len(values)}
        told |= {"threshold": limit} if limit is not None else {}
        told |= {"drift": drift} if drift else {}
        told |= {"partial": partial, "impossible": int((~fine).sum())}
        told |= {name: _finite(value) for name, value in zip(("mean", "se"), _mean(values[fine]), strict=True)}
        print_json(told | {"log_density": [_finite(value) for value in values.tolist()]} | as_lists(more))
    else:
        import pyarrow as pa

        write_table(pa.table({"row": range(len(values)), f"log_density_{label}": values.numpy(), **more}), out)
    if not bool(fine.all()):
        output.note(f"Rows without mass under the model ({int((~fine).sum()):,}) have -inf and are left out of the mean: {why}")
    output.note(_last_line(values, fine, label, samples, names, out, partial))
    if limit is not None:
        output.note(
            f"{int((values < limit).sum()):,} rows are odd: below {limit:.4f} nats, as {false_alarms:g} of ordinary rows are."
        )
    if drift:
        output.note(drift)


def _last_line(
    values: Tensor, fine: Tensor, label: str, samples: int | None, names: list[str], out: Path | None, partial: int
) -> str:
    """Return the mean log-density of the rows that have any mass, and what it is, in words."""
    mean, error = _mean(values[fine])
    spread = f" ± {error:.4f}" if math.isfinite(error) else ""
    where = f"; they are in {out}" if out is not None else ""
    part = f"; rows that lack values ({partial:,}) are scored by those they have" if partial else ""
    kind = {"exact": "exact", "bound": "a bound from below", "estimate": f"estimated by {samples} samples"}
    kind |= {"online": "online: each symbol was learned from after it was scored"}
    kind |= {"estimate": "an estimate, at points of the column"} if names else {}
    found = f"{mean:.4f}{spread} nats a row ({kind[label]}){part}" if bool(fine.any()) else "none has any mass under the model"
    return f"{len(values):,} rows: {found}{where}."


def _drift(model: ApproximateDensity, values: Tensor, names: list[str], label: str, partial: int) -> str | None:
    """Return a sentence on whether rows with these log-densities are like the validation rows; None where nothing tells."""
    if model.held_out is None or names or partial or label not in ("exact", "bound") or len(values) < 2:
        return None
    return model.held_out.compared(values.tolist())


def _loaded(path: Path) -> ApproximateDensity:
    """Return the model of a file; raise GenusError where it has no density."""
    from genus.files import load
    from genus.ladder import ApproximateDensity
    from genus.registry import families

    loaded = load(path)
    if not isinstance(loaded, ApproximateDensity):
        able = [name for name, cls in families().items() if issubclass(cls, ApproximateDensity)]
        raise GenusError(
            f"{path} holds a {loaded.name}, which has no density to score rows with; families that have one:"
            f" {', '.join(able)}. genus compare evaluates {loaded.name} by its samples."
        )
    return loaded


def _mean(values: Tensor) -> tuple[float, float]:
    """Return the mean of values and its standard error; NaN where they are too few."""
    error = values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return values.mean().item(), error


def _scored(
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


def _check_online(model: ApproximateDensity, online: bool, samples: int | None) -> None:
    """Raise GenusError where a model cannot learn while it scores, or is asked for estimates as well."""
    from genus.models.online import OnlineDensity
    from genus.registry import families

    if not online:
        return
    if samples is not None:
        raise GenusError("--online and --samples exclude each other: a model that learns while it scores is exact; drop one.")
    if not isinstance(model, OnlineDensity):
        able = ", ".join(name for name, cls in families().items() if issubclass(cls, OnlineDensity))
        raise GenusError(f"--online needs a model that counts, and this is a {model.name}; families that can: {able}.")


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


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
