"""What a comparison found, as plain numbers: `Row` is one family, `Report` all of them. Words and page come from it."""

from __future__ import annotations

import io
import json
import math
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from genus.atomic import atomic_write
from genus.errors import GenusError
from genus.evaluation.ranking import Place, density_text, number, ranking, verdict
from genus.evaluation.sequences import symbol
from genus.space import Space

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Group

    from genus.evaluation.codes import Codes

__all__ = ["Report", "Row"]

KEPT = ("samples", "codes")  # of a row, for its pictures


@dataclass
class Row:
    """What a comparison found of one family. Log-densities are means over held-out rows and seeds, in nats a row.

    Args:
        family: its name, such as "maf" or "dequantised maf".
        title: in words, "masked autoregressive flow".
        group: its branch of the taxonomy, "tractable · flows".
        status: "ok"; "refused" where the family cannot model such data; "failed" where fitting it broke off.
        reason: the sentence that says why, for refused and failed.
        label: what `log_density` is: "exact", "bound", "estimate (64 samples)" or "none".
        log_density: the family's log-density of a held-out row; None where it has none.
        log_density_se: its standard error over held-out rows.
        bits_per_dim: -log_density / (D log 2); of sequences all bits over all symbols, the ends included.
        seed_spread: standard deviation of `log_density` over the seeds.
        baseline_difference: its log-density minus the baseline's, paired by row; positive is better than the baseline.
        baseline_difference_se: its standard error over rows.
        best_difference: its log-density minus that of the best family, paired by row; 0 or less.
        best_difference_se: its standard error over rows.
        train_log_density: the log-density of a training row; far above `log_density` is overfitting.
        estimate: for a bound, the importance-weighted estimate of the log-density, which is higher.
        estimate_samples: the number K of weights in `estimate`.
        metrics: key -> mean over seeds, the keys those of `Report.metrics`.
        metrics_spread: key -> standard deviation over seeds.
        seconds: of fitting, the mean over seeds.
        steps: of training, the mean over seeds; 0 for a family that counts.
        parameters: how many numbers are trained.
        stopped: what ended training, "early stopping" or "max_seconds".
        seeds: those that this row is the mean of.
        histories: one `History` a seed; anything with `rows`, a list of dicts with step, seconds, losses, criterion.
        samples: x (n, *shape) for the pictures.
        codes: of a family with codes, what they make of held-out rows.
    """

    family: str
    title: str = ""
    group: str = ""
    status: Literal["ok", "refused", "failed"] = "ok"
    reason: str = ""
    label: str = "none"
    log_density: float | None = None
    log_density_se: float | None = None
    bits_per_dim: float | None = None
    seed_spread: float | None = None
    baseline_difference: float | None = None
    baseline_difference_se: float | None = None
    best_difference: float | None = None
    best_difference_se: float | None = None
    train_log_density: float | None = None
    estimate: float | None = None
    estimate_samples: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    metrics_spread: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    steps: float | None = None
    parameters: int | None = None
    stopped: str = ""
    seeds: list[int] = field(default_factory=list)
    histories: list[Any] = field(default_factory=list, repr=False)
    samples: Tensor | None = field(default=None, repr=False)
    codes: Codes | None = field(default=None, repr=False)

    @property
    def has_density(self) -> bool:
        """Whether it was fitted and has a finite log-density."""
        return self.status == "ok" and self.log_density is not None and math.isfinite(self.log_density)

    @property
    def gap(self) -> float | None:
        """Training minus held-out log-density, in nats a row; None where there is none."""
        if self.train_log_density is None or self.log_density is None:
            return None
        return self.train_log_density - self.log_density


@dataclass
class Report:
    """Every family on one data set, compared.

    Args:
        name: of the data.
        space: of x.
        rows: one `Row` a family, in any order; `ranking` orders them.
        train_rows, test_rows, total_rows: how many rows were fitted to, held out, and read.
        context: the space of the condition; None without one.
        condition: the names of the columns that x is conditioned on, in words; None without.
        target: the column that train-on-synthetic-test-on-real predicts; None without.
        baseline: in words, what `Row.baseline_difference` is measured against.
        baseline_family: the family of the row that is the baseline.
        budget_seconds: of fitting one family with one seed; None where training ended by itself.
        seeds: of the repetitions.
        sample_count: rows that every family drew for the metrics.
        references: "real against real", "independent columns", "copy of the training set" -> their metrics; of sequences
            "held-out rows".
        metrics: key -> how to read it: `title`, `description`, `kind`, `better` and `ideal`, as `evaluation.Metric` has.
        judge: the key of the metric that ranks families without a density.
        real: x (n, *shape), held-out rows for the pictures.
        versions: package -> version.
        created: when, ISO 8601.
        seconds: the whole comparison took.
        cores: of the processor that were used.
        machine: in words.

    >>> from genus.space import Real
    >>> report = Report("toy", Space([Real()]), [Row("maf", label="exact", log_density=-1.25)])
    >>> report.best.family
    'maf'
    """

    name: str
    space: Space
    rows: list[Row]
    train_rows: int = 0
    test_rows: int = 0
    total_rows: int = 0
    context: Space | None = None
    condition: str | None = None
    target: str | None = None
    baseline: str = "independent columns"
    baseline_family: str = "naive-bayes"
    budget_seconds: float | None = None
    seeds: list[int] = field(default_factory=list)
    sample_count: int = 0
    references: dict[str, dict[str, float]] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    judge: str = "c2st"
    real: Tensor | None = field(default=None, repr=False)
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""
    seconds: float | None = None
    cores: int | None = None
    machine: str = ""

    # -- what it says -------------------------------------------------------------------------------------------------

    def ranking(self) -> list[Place]:
        """The families in order, each with a sentence: densities first, then by samples alone, then refused and failed."""
        return ranking(self)

    @property
    def verdict(self) -> str:
        """Which family is best and by how much, in one to three sentences; a tie is called a tie."""
        return " ".join(verdict(self))

    @property
    def best(self) -> Row | None:
        """The first of the ranking; None where no family was fitted."""
        first = self.ranking()[0].row if self.rows else None
        return first if first is not None and first.status == "ok" else None

    # -- as data ------------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Every number as plain dictionaries and lists; NaN and infinities become None. Samples are left out."""
        places = self.ranking()
        data = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("rows", "real", "space", "context")}
        data["space"] = self.space.to_json()
        data["context"] = self.context.to_json() if self.context is not None else None
        data["verdict"] = self.verdict
        data["metrics"] = {
            key: {name: getattr(metric, name, None) for name in ("title", "description", "kind", "better", "ideal")}
            for key, metric in self.metrics.items()
        }
        data["rows"] = [
            _row_to_json(place.row) | {"place": place.number, "by": place.by, "sentence": place.sentence} for place in places
        ]
        return _plain(data)

    def to_frame(self) -> pa.Table:
        """The families in order, then the reference rows, as a pyarrow Table: one column a number, null where there is none."""
        import pyarrow as pa

        numbers = [f.name for f in fields(Row) if f.name not in (*KEPT, "metrics", "metrics_spread", "seeds", "histories")]
        lines = []
        for place in self.ranking():
            line = {name: getattr(place.row, name) for name in numbers} | {"place": place.number}
            line |= place.row.metrics | {f"{key}_spread": value for key, value in place.row.metrics_spread.items()}
            lines.append(line)
        for name, metrics in self.references.items():
            lines.append({"family": name, "status": "reference"} | metrics)
        spreads = [f"{key}_spread" for key in self.metrics if any(key in row.metrics_spread for row in self.rows)]
        text = {"family", "title", "group", "status", "reason", "label", "stopped"}
        whole = {"place", "parameters", "estimate_samples"}
        schema = {
            name: pa.string() if name in text else pa.int64() if name in whole else pa.float64()
            for name in ("place", *numbers, *self.metrics, *spreads)
        }
        return pa.table({name: pa.array([line.get(name) for line in lines], kind) for name, kind in schema.items()})

    # -- in the terminal ----------------------------------------------------------------------------------------------

    def __rich__(self) -> Group:
        from rich.console import Group
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        from genus.evaluation.tables import measured

        keys = [key for key in measured(self) if key == self.judge or self.metrics[key].kind in ("utility", "novelty")]
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("")
        table.add_column("family", style="bold")
        table.add_column("log-density (nats a row)", justify="right")
        table.add_column("is", style="dim")
        if self.space.sequence:
            table.add_column(f"bits a {symbol(self.space)}", justify="right")
        for key in keys:
            table.add_column(self.metrics[key].title, justify="right")
        table.add_column("s", justify="right", style="dim")
        places = self.ranking()
        for place in places:
            row = place.row
            cells = [f"{row.metrics[key]:.3f}" if key in row.metrics else "" for key in keys]
            density = density_text(row) if row.status == "ok" else row.status
            seconds = f"{row.seconds:.0f}" if row.seconds is not None else ""
            label = row.label if row.status == "ok" else ""
            if self.space.sequence:
                cells.insert(0, number(row.bits_per_dim, 3) if row.has_density else "")
            table.add_row(*(Text(cell) for cell in (place.mark, row.family, density, label, *cells, seconds)))
        for name, metrics in self.references.items():
            cells = [f"{metrics[key]:.3f}" if key in metrics else "" for key in keys]
            if any(cells):
                cells = ["", *cells] if self.space.sequence else cells
                table.add_row(*(Text(cell) for cell in ("", name, "", "reference", *cells, "")), style="dim")
        lines = [Text.assemble((f"{place.row.family}: ", "bold"), place.sentence) for place in places]
        return Group(Text(self.verdict, style="bold"), Padding(table, (1, 0)), *lines)

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(file=io.StringIO(), width=120, color_system=None)
        console.print(self)
        return console.file.getvalue().rstrip()  # type: ignore[attr-defined]

    # -- on disk ------------------------------------------------------------------------------------------------------

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write `index.html`, one self-contained page that needs no network, and `report.json` with every number.

        Args:
            folder: where to; it is made where it does not exist, and the two files replace older ones.

        Returns:
            The path of `index.html`.

        Raises:
            GenusError: the folder cannot be written.
        """
        from genus.evaluation.page import render

        folder = Path(folder)
        page = render(self)
        numbers = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GenusError(
                f"Cannot write the report to {folder}: {error.strerror or error}. Choose a folder that you may write to."
            ) from error
        for name, text in (("report.json", numbers), ("index.html", page)):
            with atomic_write(folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8", errors="replace")
        return folder / "index.html"


def _row_to_json(row: Row) -> dict[str, Any]:
    data = {f.name: getattr(row, f.name) for f in fields(row) if f.name not in KEPT}
    return data | {"gap": row.gap, "histories": [history.rows for history in row.histories]}


def _plain(value: Any) -> Any:
    """Dicts, lists, text and finite numbers, as JSON has them."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
