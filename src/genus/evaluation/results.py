"""The numbers that a comparison measured: `Row` holds one family's, `Results` all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from torch import Tensor

from genus.codec import Codec
from genus.codec.notes import Note
from genus.evaluation.codes import Codes
from genus.evaluation.findings import Finding
from genus.evaluation.metrics import Metric
from genus.space import Space
from genus.training import History

__all__ = ["GIVEN", "PICTURED", "Results", "Row"]

GIVEN = "given"  # the group of rows that were not fitted here

FORMAT, VERSION = "genus report", 3  # of report.json: the version changes where a number changes its name or its meaning
PICTURED = ("samples", "codes")  # fields of a row that pictures are made of, and that no file of numbers holds


@dataclass
class Row:
    """Hold what a comparison measured of one family. Log-densities are means over held-out rows and seeds, in nats a row.

    Args:
        family: its name, such as "maf" or "dequantised maf".
        title: in words, "masked autoregressive flow".
        group: its branch of the taxonomy, "tractable · flows".
        status: "ok"; "refused" where the family cannot model such data; "failed" where fitting it ended in an error; "given
            up" where it was too far behind after a small fit, or there was no time for it.
        reason: the sentence that says why, for all that are not "ok".
        label: what `log_density` is: "exact", "bound", "estimate (64 samples)" or "none".
        log_density: the family's log-density of a held-out row; None where it has none.
        log_density_se: its standard error, of held-out rows and of seeds together.
        bits_per_dim: -log_density / (D log 2); of sequences all bits over all symbols, the ends included.
        seed_spread: standard deviation of `log_density` over the seeds.
        baseline_difference: its log-density minus the baseline's, paired by row; positive is better than the baseline.
        baseline_difference_se: its standard error, of rows and of seeds.
        baseline_difference_p: the probability of as large a difference where there is none, corrected for the number of
            families (Holm).
        best_difference: its log-density minus that of the best family, paired by row; 0 or less.
        best_difference_se: its standard error, of rows and of seeds.
        best_difference_low: of the 95 % interval of the difference, which allows for skewness and heavy tails.
        best_difference_high: likewise.
        best_difference_p: like `baseline_difference_p`.
        best_difference_median: of single held-out rows.
        rows_lost: the share of held-out rows that the best family gives the greater density.
        without_one_row: the mean difference without the one row that decides it; None where none does.
        shows: the difference to the best that so many rows find in 80 % of cases.
        train_log_density: the log-density of a training row; far above `log_density` is overfitting.
        online: the log-density where the model also learns from each symbol of the held-out rows after it was scored, of
            families of sequences that can; the rows are then no strangers to it, so it is not compared with `log_density`.
        online_bits_per_dim: the same as bits, like `bits_per_dim`.
        estimate: for a bound, the importance-weighted estimate of the log-density, which is higher.
        estimate_samples: the number K of weights in `estimate`.
        estimate_rows: how many held-out rows told by how much it exceeds the bound.
        metrics: key -> mean over seeds, the keys those of `Report.metrics`.
        metrics_spread: key -> standard deviation over seeds.
        metrics_error: key -> standard error of the mean, of rows and of seeds, where it is known.
        seconds: of fitting, the mean over seeds.
        judging_seconds: of evaluating the fitted model, likewise.
        processor_seconds: of both, all threads together.
        memory: bytes that its process held at most.
        steps: of training, the mean over seeds; 0 for a family that counts.
        by_steps: True where it learns step by step, so that few steps mean little learned; False where it counts or sees all
            rows at once.
        parameters: the number of trained parameters.
        stopped: the reason for which training ended, "early stopping" or "max_seconds".
        seeds: the seeds that this row is the mean of.
        histories: one `History` a seed.
        samples: x (n, *shape) for the pictures.
        codes: the codes of held-out rows, of a family that has codes.
        findings: what is wrong with the samples, or with the density.
        telling: the columns that give the samples away, each with how far the two-sample AUC falls without it.
    """

    family: str
    title: str = ""
    group: str = ""
    status: Literal["ok", "refused", "failed", "given up"] = "ok"
    reason: str = ""
    label: str = "none"
    log_density: float | None = None
    log_density_se: float | None = None
    bits_per_dim: float | None = None
    seed_spread: float | None = None
    baseline_difference: float | None = None
    baseline_difference_se: float | None = None
    baseline_difference_p: float | None = None
    best_difference: float | None = None
    best_difference_se: float | None = None
    best_difference_low: float | None = None
    best_difference_high: float | None = None
    best_difference_p: float | None = None
    best_difference_median: float | None = None
    rows_lost: float | None = None
    without_one_row: float | None = None
    shows: float | None = None
    train_log_density: float | None = None
    online: float | None = None
    online_bits_per_dim: float | None = None
    estimate: float | None = None
    estimate_samples: int | None = None
    estimate_rows: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    metrics_spread: dict[str, float] = field(default_factory=dict)
    metrics_error: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    judging_seconds: float | None = None
    processor_seconds: float | None = None
    memory: float | None = None
    steps: float | None = None
    by_steps: bool = True
    parameters: int | None = None
    stopped: str = ""
    seeds: list[int] = field(default_factory=list)
    histories: list[History] = field(default_factory=list, repr=False)
    samples: Tensor | None = field(default=None, repr=False)
    codes: Codes | None = field(default=None, repr=False)
    findings: list[Finding] = field(default_factory=list)
    telling: dict[str, float] = field(default_factory=dict)

    @property
    def has_density(self) -> bool:
        """Return True where the family was fitted and has a finite log-density."""
        return self.status == "ok" and self.log_density is not None and math.isfinite(self.log_density)

    @property
    def accused(self) -> list[Finding]:
        """Return the findings for which the row is left out of the ranking."""
        return [finding for finding in self.findings if finding.kind == "accused"]

    @property
    def gap(self) -> float | None:
        """Return training minus held-out log-density, in nats a row; None where there is no density."""
        if self.train_log_density is None or self.log_density is None:
            return None
        return self.train_log_density - self.log_density

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values: NaN and infinities are None, samples and codes are left out."""
        data = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in PICTURED}
        data |= {"histories": [history.rows for history in self.histories]}
        return _as_json(data | {"gap": self.gap, "findings": [finding.to_json() for finding in self.findings]})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Row:
        """Return the row that `to_json` described; of histories it holds the evaluations, and no samples or codes."""
        kept = _kept(cls, data) | {"histories": [History(rows=rows) for rows in data.get("histories", [])]}
        kept |= {"findings": [Finding(**values) for values in data.get("findings", [])]}
        kept |= {name: _scores(data[name]) for name in ("metrics", "metrics_spread", "metrics_error") if name in data}
        return cls(**kept)


@dataclass
class Results:
    """Hold what a comparison measured of every family on one data set.

    Args:
        name: of the data.
        space: of x.
        rows: one `Row` a family, in any order; `ranking.ranking` orders them.
        held_out_groups: how many groups the held-out rows are of, where rows belong together.
        train_rows, test_rows, total_rows: the numbers of rows that were fitted to, held out, and read.
        context: the space of the context; None without one.
        context_columns: the names of the columns that x is conditioned on, in words; None without.
        target: the column that train-on-synthetic-test-on-real predicts; None without.
        baseline: in words, what `Row.baseline_difference` is measured against.
        baseline_family: the family of the row that is the baseline.
        budget_seconds: of fitting one family with one seed; None where training ended by itself.
        seeds: of the repetitions.
        sample_count: rows that every family drew for the metrics.
        time_seconds: of the whole comparison, where that was asked for.
        judged_rows: how many held-out rows samples were compared with.
        outlook: what is still to come, or what more time might change; "" for nothing.
        weights: of the members of the stack among the rows, with the first seed, by family.
        winner: the file of the leading model beside the report, its family, seed and hyper-parameters, its draws, the
            command that fits it, and of a target how far predictions are off; empty where it was not saved.
        references: "real against real", "independent columns", "copy of the training set" -> their metrics; of sequences
            "symbols shuffled" in place of the second.
        metrics: key -> the `Metric` that says how to read it.
        samples_metric: the key of the metric that ranks families without a density.
        features: in words, what images or sounds are compared by; "" without features.
        real: x (n, *shape), held-out rows for the pictures.
        versions: package -> version.
        created: when, ISO 8601.
        seconds: the whole comparison took.
        cores: of the processor that were used.
        machine: in words.
        form: what the rows were read from: a frame, text, sound; None for tensors.
        notes: on columns that were left out or are keys, on values that samples repeat, and on how the data were read.

    >>> from genus.space import Real
    >>> results = Results("toy", Space([Real()]), [Row("maf", label="exact", log_density=-1.25)])
    >>> Results.from_json(results.to_json()).rows[0].log_density
    -1.25
    """

    name: str
    space: Space
    rows: list[Row]
    train_rows: int = 0
    test_rows: int = 0
    held_out_groups: int | None = None
    total_rows: int = 0
    context: Space | None = None
    context_columns: str | None = None
    target: str | None = None
    baseline: str = "independent columns"
    baseline_family: str = "independent"
    budget_seconds: float | None = None
    time_seconds: float | None = None
    judged_rows: int | None = None
    outlook: str = ""
    weights: dict[str, float] = field(default_factory=dict)
    winner: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)
    sample_count: int = 0
    references: dict[str, dict[str, float]] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    samples_metric: str = "c2st"
    features: str = ""
    real: Tensor | None = field(default=None, repr=False)
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""
    seconds: float | None = None
    cores: int | None = None
    machine: str = ""
    data_codec: Codec | None = None
    notes: list[Note] = field(default_factory=list)

    @property
    def codec(self) -> Codec:
        """Return the codec of the data, which decodes x to what was read."""
        return self.data_codec or Codec(self.space)

    @property
    def relations(self) -> list[str]:
        """Return the relations that every row and every draw obeys, in words."""
        return [str(rewrite) for rewrite in self.codec.rewrites]

    def to_json(self) -> dict[str, Any]:
        """Return every number as JSON values: NaN and infinities are None, samples, codes and real rows are left out."""
        apart = ("rows", "real", "space", "context", "metrics", "data_codec", "notes")
        data = {"format": FORMAT, "version": VERSION}
        data |= {f.name: getattr(self, f.name) for f in fields(self) if f.name not in apart}
        data["space"] = self.space.to_json()
        data["form"] = self.codec.to_json()
        data["relations"] = self.relations
        data["context"] = self.context.to_json() if self.context is not None else None
        data["metrics"] = {key: asdict(metric) for key, metric in self.metrics.items()}
        data["notes"] = [note.to_json() | {"python": str(note), "shell": note.shell} for note in self.notes]
        data["rows"] = [row.to_json() for row in self.rows]
        return _as_json(data)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the results that `to_json` described, without the rows that pictures are made of."""
        kept = _kept(cls, data)
        kept["space"] = Space.from_json(data["space"])
        kept["data_codec"] = Codec.from_json(kept["space"], data.get("form"))
        kept["context"] = Space.from_json(data["context"]) if data.get("context") is not None else None
        kept["metrics"] = {key: Metric(**metric) for key, metric in data.get("metrics", {}).items()}
        kept["references"] = {name: _scores(scores) for name, scores in data.get("references", {}).items()}
        kept["notes"] = [Note.from_json(note) for note in data.get("notes", [])]
        kept["rows"] = [Row.from_json(row) for row in data["rows"]]
        return cls(**kept)


def _kept(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that are fields of the class; a file holds more, such as the sentences of a report."""
    return {f.name: data[f.name] for f in fields(cls) if f.name in data}


def _scores(data: Mapping[str, float | None]) -> dict[str, float]:
    """Return metrics by key, NaN where JSON holds None."""
    return {key: math.nan if value is None else value for key, value in data.items()}


def _as_json(value: Any) -> Any:
    """Return a value as dicts, lists, text and finite numbers."""
    if isinstance(value, dict):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    return number if math.isfinite(number) else None
