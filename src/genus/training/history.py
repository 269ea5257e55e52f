"""What happened in training, evaluation by evaluation."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["History"]


@dataclass
class History:
    """The record of one `fit`.

    Attributes:
        rows: one dict an evaluation: step, epoch, seconds, every player's mean loss since the row before, criterion
            (that of the held-out rows; None where there is none). Losses and criterion are in nats for likelihoods. Of
            games "watched" has more: the distance of held-out rows that the critic estimates, how far samples are spread
            beside the data (1: as far), the mean norm of every player's gradient.
        alarms: what has gone wrong, a sentence for each kind: "collapse", "divergence", "nothing learned".
        best_step: where the weights come from that the model has now.
        stopped: what ended it: "early stopping", "converged", "max_seconds", "epochs", "max_steps", "interrupted", ...
        parameters: how many numbers are trained.
        steps, seconds: of the whole training, over all its resumptions.

    >>> history = History(rows=[{"step": 10, "epoch": 1.0, "seconds": 0.1, "nll": 2.5, "criterion": 2.6}])
    >>> history.players
    ['nll']
    >>> history.to_frame().column_names
    ['step', 'epoch', 'seconds', 'nll', 'criterion']
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    best_step: int = 0
    stopped: str = ""
    parameters: int = 0
    alarms: dict[str, str] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0

    @property
    def players(self) -> list[str]:
        """The names of the losses."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return [name for name in names if name not in ("step", "epoch", "seconds", "criterion", "watched")]

    @property
    def watched(self) -> list[str]:
        """The names of what is recorded beside losses and criterion."""
        return list(dict.fromkeys(name for row in self.rows for name in row.get("watched", {})))

    @property
    def best(self) -> float | None:
        """The least criterion; None where there was none."""
        return min((row["criterion"] for row in self.rows if row["criterion"] is not None), default=None)

    def __str__(self) -> str:
        best = "" if self.best is None else f", criterion {self.best:.4f} at step {self.best_step}"
        return f"{self.steps} steps in {self.seconds:.1f} s{best}; stopped by {self.stopped}"

    def to_frame(self, backend: str = "pyarrow") -> Any:
        """The rows as a table of pyarrow, or of pandas or polars where installed."""
        import narwhals as nw
        import pyarrow as pa

        columns = ["step", "epoch", "seconds", *self.players, "criterion", *self.watched]
        kinds = [pa.int64()] + [pa.float64()] * (len(columns) - 1)
        rows = [row | row.get("watched", {}) for row in self.rows]
        arrays = [pa.array([row.get(name) for row in rows], kind) for name, kind in zip(columns, kinds, strict=True)]
        table = pa.table(arrays, names=columns)
        return table if backend == "pyarrow" else nw.from_arrow(table, backend=cast(Any, backend)).to_native()

    def plot(self) -> Figure:
        """Losses and criterion against steps, the best step marked, as a matplotlib Figure outside pyplot's state."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 3.6), layout="constrained")
        axes = figure.subplots()
        for name in [*self.players, "criterion"]:
            points = [(row["step"], row[name]) for row in self.rows if row.get(name) is not None]
            if points:
                style: dict[str, Any] = (
                    {"label": "held out", "linewidth": 2.0} if name == "criterion" else {"label": name, "linewidth": 1.0}
                )
                axes.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else "", **style)
        if self.best is not None:
            axes.axvline(self.best_step, color="0.6", linestyle=":", linewidth=1, label="best")
        axes.set(xlabel="step", ylabel="loss")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
        return figure

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> History:
        return cls(**data)
