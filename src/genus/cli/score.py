"""`genus score`: the log-density of every row."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genus.cli.asis import AsWritten
from genus.cli.columns import alarm_limit, as_lists, check_columns
from genus.cli.errors import UsageError
from genus.cli.inputs import source_of, split_names
from genus.cli.jobs import BLOCK, in_order
from genus.cli.options import Data, Jobs, Model, RowOptions, TableFile, TableOutput, shared_options
from genus.cli.outputs import check_suffix, print_json, table_writer
from genus.cli.scoring import Scored, Scoring, Totals, scored
from genus.errors import GenusError

if TYPE_CHECKING:
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
    alone: Annotated[
        bool,
        typer.Option("--alone", help="Write the scores alone, numbered, without the columns of the data before them."),
    ] = False,
    jobs: Jobs = None,
    reading: RowOptions,
    output: TableOutput,
) -> None:
    """Give every row its log-density under a model, in nats.

    Columns are found by name, those of the context too. The name of the column of results says what it is: exact, a bound from
    below, or an estimate. A low value is an unusual row. Rows come in the order of the table, all their columns before the
    scores, those that the model does not know too, as in genus impute; with --alone, and of images and texts, the scores come
    with the numbers of the rows, counted from 0. A row that lacks a value which no row lacked in training is scored by what it
    has, where the family can leave the rest out.
    A number beyond a column's lattice, or between its points, has no mass under the model, nor has a row that breaks a
    relation which was found in training or declared: such a row's log-density is -inf.
    With --false-alarms a further column says which rows are odd: less likely than all but that share of the validation rows of
    training. The last line says whether the file as a whole is as likely as those rows.
    Parquet, Arrow and delimited text of many rows are read, scored and written in blocks of 50,000; a column then says of every
    row why it has no mass.
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
      genus score adult.genus adult.csv --jobs 4 --out scores.parquet
      genus score adult.genus adult.csv --alone
      genus score adult.genus adult.csv --json
    """
    output.check_one_place(out)
    check_suffix(out)

    from genus.questions.blocks import block_sources

    loaded = _loaded(model)
    names = split_names(columns) or []
    _check_online(loaded, online, samples)
    check_columns(loaded, names, given_rest, explain, online or samples is not None)
    limit = alarm_limit(loaded, false_alarms, bool(names) or online or samples is not None)
    if jobs is not None and (online or not loaded.space.is_table):
        raise UsageError("--jobs scores blocks of a table's rows, each for itself; leave it out")
    source = source_of(data)
    beside = loaded.space.is_table and not alone and not output.as_json
    task = Scoring(loaded, reading.arguments(), tuple(names), given_rest, explain, online, samples, limit, beside)
    whole = output.as_json or online or not loaded.space.is_table
    blocks = [(0, source, False)] if whole else block_sources(loaded, task.reading, source, BLOCK)
    total = Totals()
    if output.as_json:
        found = next(in_order(scored, task, blocks, jobs))
        total.add(found)
        drift = _drift(loaded, total, names)
        print_json(_told(found, total, samples, limit, drift))
    else:
        written = AsWritten(source, task.reading, out, output)
        with table_writer(out, output) as write:
            for found in in_order(scored, task, blocks, jobs):
                total.add(found)
                write(found.table() if found.data is None else written(found.table(), len(found.values), {}))
        drift = _drift(loaded, total, names)
    if total.impossible:
        output.note(
            f"Rows without mass under the model ({total.impossible:,}) have -inf and are left out of the mean: {total.why}"
        )
    output.note(_last_line(total, samples, names, out))
    if limit is not None:
        output.note(f"{total.odd:,} rows are odd: below {limit:.4f} nats, as {false_alarms:g} of ordinary rows are.")
    if drift:
        output.note(drift)


def _last_line(total: Totals, samples: int | None, names: list[str], out: Path | None) -> str:
    """Return the mean log-density of the rows that have any mass, and what it is, in words."""
    spread = f" ± {total.error:.4f}" if math.isfinite(total.error) else ""
    where = f"; they are in {out}" if out is not None else ""
    part = f"; rows that lack values ({total.partial:,}) are scored by those they have" if total.partial else ""
    kind = {"exact": "exact", "bound": "a bound from below", "estimate": f"estimated by {samples} samples"}
    kind |= {"online": "online: each symbol was learned from after it was scored"}
    kind |= {"estimate": "an estimate, at points of the column"} if names else {}
    mean = (
        total.unit.text(total.mean, spread) if total.unit is not None and not names else f"{total.mean:.4f}{spread} nats a row"
    )
    told = f"{mean} ({kind[total.label]}){part}"
    return f"{total.rows:,} rows: {told if total.fine else 'none has any mass under the model'}{where}."


def _drift(model: ApproximateDensity, total: Totals, names: list[str]) -> str | None:
    """Return a sentence on whether the rows with mass are like the validation rows; None where nothing tells."""
    if model.held_out is None or names or total.partial or total.label not in ("exact", "bound") or total.fine < 2:
        return None
    return model.held_out.compared(total.some)


def _told(found: Scored, total: Totals, samples: int | None, limit: float | None, drift: str | None) -> dict[str, Any]:
    """Return the results as JSON values."""
    told: dict[str, Any] = {"label": total.label, "samples": samples if total.label == "estimate" else None}
    told |= {"rows": total.rows}
    told |= {"threshold": limit} if limit is not None else {}
    told |= {"drift": drift} if drift else {}
    told |= {"partial": total.partial, "impossible": total.impossible}
    told |= {"mean": _finite(total.mean), "se": _finite(total.error)}
    if total.unit is not None and total.unit.is_shown:
        told |= {"unit": total.unit.name, "mean_in_unit": _finite(-total.mean * total.unit.scale)}
    return told | {"log_density": [_finite(value) for value in found.values.tolist()]} | as_lists(found.more)


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


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
