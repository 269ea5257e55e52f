"""The record of a training, evaluation by evaluation, and alarms about it: collapse, divergence, nothing learned."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, cast

from genus.notebook import figure, preformatted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["History", "alarms"]

MOST = 2**63  # the largest whole number that a file may hold
EXPLODED = 100.0  # a gradient so many times the median of those before raises an alarm
PLACES = 0.5  # a spread of samples below this share of the widest so far is a collapse
FEW = 0.2  # a spread of samples below this at the end is a collapse, whatever it was before
LONG = 10  # evaluations after which a game should have found the data
BEFORE = 4  # the least number of evaluations from which a usual value is taken
DIVERGED = 3.0  # a distance so many times the least one so far, and above the first one, is a divergence
AWAY = 2  # the number of consecutive evaluations that must be so far away


@dataclass
class History:
    """Hold the record of one `fit`.

    Attributes:
        rows: one dict an evaluation: step, epoch, seconds, the mean of every loss since the row before, criterion
            (that of the validation rows; None without them). Losses and criterion are in nats for likelihoods. Of
            games "watched" has more: the distance of validation rows that the critic estimates, how far samples are spread
            beside the data (1: as far), the mean norm of every loss's gradient.
        alarms: what has gone wrong, a sentence for each kind: "collapse", "divergence", "nothing learned".
        best_step: the step whose weights the model has now.
        stopped: the reason for the end: "early stopping", "converged", "max_seconds", "epochs", "max_steps", "interrupted", ...
        parameters: how many numbers are trained.
        steps, seconds: of the whole training, over all its resumptions.
        acceptance: the share of the model's draws that obey the constraints of the data; the others are drawn again.
        unit: in which people compare losses and criterion, such as "bits a character"; empty where they are no likelihoods.
        scale: by which losses and criterion are multiplied to be in it.
        seen: of a training on a stream, how many of its rows it has seen; 0 otherwise.
        passes: of a training on a stream, how often it has gone over all rows from the first to the last; 0 otherwise.

    >>> history = History(rows=[{"step": 10, "epoch": 1.0, "seconds": 0.1, "nll": 2.5, "criterion": 2.6}])
    >>> history.loss_names
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
    acceptance: float = 1.0
    unit: str = ""
    scale: float = 1.0
    seen: int = 0
    passes: int = 0

    @property
    def loss_names(self) -> list[str]:
        """Return the names of the losses."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return [name for name in names if name not in ("step", "epoch", "seconds", "criterion", "watched")]

    @property
    def watched(self) -> list[str]:
        """Return the names of the numbers recorded beside losses and criterion."""
        return list(dict.fromkeys(name for row in self.rows for name in row.get("watched", {})))

    @property
    def best(self) -> float | None:
        """Return the least criterion; None where there was none."""
        return min((row["criterion"] for row in self.rows if row["criterion"] is not None), default=None)

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        best = "" if self.best is None else f", criterion {self.best * self.scale:.4f}{unit} at step {self.best_step}"
        obeyed = "" if self.acceptance == 1 else f"; {self.acceptance:.1%} of draws obey the constraints"
        steps = "1 step" if self.steps == 1 else f"{self.steps} steps"
        return f"{steps} in {self.seconds:.1f} s{best}; stopped by {self.stopped}{obeyed}"

    def _repr_html_(self) -> str:
        drawn = figure(self.plot()) if len(self.rows) > 1 else ""  # one point is no curve
        return preformatted(str(self)) + drawn

    def to_frame(self, backend: str = "pyarrow") -> Any:
        """Return the rows as a table of pyarrow, or of pandas or polars where installed."""
        import narwhals as nw
        import pyarrow as pa

        columns = ["step", "epoch", "seconds", *self.loss_names, "criterion", *self.watched]
        kinds = [pa.int64()] + [pa.float64()] * (len(columns) - 1)
        rows = [row | row.get("watched", {}) for row in self.rows]
        arrays = [pa.array([row.get(name) for row in rows], kind) for name, kind in zip(columns, kinds, strict=True)]
        table = pa.table(arrays, names=columns)
        return table if backend == "pyarrow" else nw.from_arrow(table, backend=cast(Any, backend)).to_native()

    def plot(self) -> Figure:
        """Draw losses and criterion against steps, the best step marked, as a matplotlib Figure outside pyplot's state."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 3.6), layout="constrained")
        axes = figure.subplots()
        for name in [*self.loss_names, "criterion"]:
            points = [(row["step"], row[name] * self.scale) for row in self.rows if row.get(name) is not None]
            if points:
                style: dict[str, Any] = (
                    {"label": "validation", "linewidth": 2.0} if name == "criterion" else {"label": name, "linewidth": 1.0}
                )
                axes.plot(*zip(*points, strict=True), marker="." if len(points) < 30 else "", **style)
        if self.best is not None:
            axes.axvline(self.best_step, color="0.6", linestyle=":", linewidth=1, label="best")
        axes.set(xlabel="step", ylabel=self.unit or "loss")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
        return figure

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> History:
        """Return the record that `to_json` gave.

        Raises:
            ValueError: it is none.
        """
        history = cls(**data)
        if not isinstance(history.rows, list) or not all(isinstance(row, dict) for row in history.rows):
            raise ValueError("the history has no rows")
        for row in history.rows:
            flat = {name: value for name, value in row.items() if name != "watched"}
            fine = {"step", "epoch", "seconds", "criterion"} <= row.keys() and type(row["step"]) is int and row["step"] >= 0
            fine = fine and all(value is None or _is_number(value) for value in flat.values())
            sure = [row["epoch"], row["seconds"], *row.get("watched", {}).values()] if fine else []
            if not fine or not all(map(_is_number, sure)):
                raise ValueError(f"the history has a row {str(row)[:80]}")
        texts = [text for pair in history.alarms.items() for text in pair] + [history.stopped, history.unit]
        counts = [history.best_step, history.parameters, history.steps, history.seen, history.passes]
        numbers = [history.seconds, history.acceptance, history.scale]
        fine = all(isinstance(value, str) for value in texts)
        fine = fine and all(type(value) is int and value >= 0 and _is_number(value) for value in counts)
        if not fine or not all(_is_number(value) and math.isfinite(value) for value in numbers):
            raise ValueError("the history has other values than it should")
        return history


def _is_number(value: Any) -> bool:
    """Return whether a value is a number that counts and floating-point numbers reach: JSON has whole ones of any length."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < MOST)


def alarms(rows: list[dict[str, Any]], ended: bool = False) -> dict[str, str]:
    """Return a sentence for each kind of trouble that the rows of a history show at their end: "collapse", "divergence",
    "nothing learned".

    >>> spreads = [0.1, 0.5, 0.9, 0.9, 0.8, 0.3]
    >>> rows = [{"step": i, "criterion": 1.0, "watched": {"spread": s}} for i, s in enumerate(spreads)]
    >>> list(alarms(rows)), list(alarms(rows[:5]))
    (['collapse'], [])
    """
    found = {}
    if sentence := _collapse(rows, ended) or (_idle(rows) if ended else None):
        found["collapse"] = sentence
    if sentence := _explosion(rows) or _departure(rows):
        found["divergence"] = sentence
    if ended and (sentence := _in_vain(rows)):
        found["nothing learned"] = sentence
    return found


def _collapse(rows: list[dict[str, Any]], ended: bool) -> str | None:
    seen = [row["watched"]["spread"] for row in rows if "spread" in row.get("watched", {})]
    if len(seen) <= BEFORE:
        return None
    last, most = seen[-1], max(seen)
    fell = last < PLACES * most and most > FEW
    if not fell and not (ended and last < FEW and len(seen) > LONG):
        return None
    before = f", after {most:.0%} earlier" if fell else ""
    return (
        f"The generator has collapsed by step {rows[-1]['step']}: its samples are spread over {last:.0%} of the room that the"
        f" data take{before}. The weights kept are those of the best criterion; try another game, more penalty, or a smaller"
        " learning_rate."
    )


def _idle(rows: list[dict[str, Any]]) -> str | None:
    if rows[-1].get("watched", {}).get("active units", 1) > 0:
        return None
    return (
        "No number of the code says anything of a datum: the posterior has collapsed, and the decoder works alone. Try"
        " free_bits, warm_up, a smaller beta or learning_rate, or fewer layers of the decoder."
    )


def _in_vain(rows: list[dict[str, Any]]) -> str | None:
    values = [row["criterion"] for row in rows if row["criterion"] is not None]
    if len(values) <= LONG or rows[0]["step"] or min(values[1:]) < values[0]:  # a game may begin with a swing outwards
        return None
    return (
        "No evaluation was better than that of the weights that training began with, which are kept. Train longer, or try a"
        " smaller learning_rate, other hyper-parameters, or another game."
    )


def _explosion(rows: list[dict[str, Any]]) -> str | None:
    for name in (name for name in rows[-1].get("watched", {}) if name.startswith("gradient of ")):
        before = [row["watched"][name] for row in rows[:-1] if row.get("watched", {}).get(name) is not None]
        last = rows[-1]["watched"][name]
        if last is not None and len(before) >= BEFORE and last > EXPLODED * median(before) > 0:
            return (
                f"The {name} has exploded by step {rows[-1]['step']}: its norm is {last:.3g}, and was {median(before):.3g}"
                " before. The weights kept are those of the best criterion; lower learning_rate or max_grad_norm, or more"
                " penalty."
            )
    return None


def _departure(rows: list[dict[str, Any]]) -> str | None:
    if len(rows) <= BEFORE or "watched" not in rows[-1]:
        return None
    values = [row["criterion"] for row in rows if row["criterion"] is not None]
    if len(values) <= BEFORE or min(values[-AWAY:]) <= max(values[0], DIVERGED * min(values)):
        return None
    if DIVERGED * min(values) > values[0] and len(values) <= LONG:  # many a game begins with a swing outwards
        return None
    return (
        f"Training has diverged by step {rows[-1]['step']}: samples are further from the data than those of the untrained model"
        f" ({values[-1]:.3g}, at first {values[0]:.3g}). The weights kept are those of the best criterion; try a smaller"
        " learning_rate."
    )
