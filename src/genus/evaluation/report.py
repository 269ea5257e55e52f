"""The report of a comparison: its results, printed, ranked and written."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genus.atomic import atomic_write
from genus.evaluation.page import render
from genus.evaluation.ranking import Place, ranking
from genus.evaluation.results import PICTURED, Results, Row
from genus.evaluation.terminal import renderable, text
from genus.evaluation.verdict import verdict
from genus.notebook import preformatted

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Group

__all__ = ["Report"]


class Report(Results):
    """Show the results of a comparison: print it, `write` it to a folder, or read its `rows`.

    Its fields are those of `Results`; every method is a function of them.

    >>> from genus.space import Real, Space
    >>> report = Report("toy", Space([Real()]), [Row("maf", label="exact", log_density=-1.25)])
    >>> report.best.family
    'maf'
    """

    def ranking(self) -> list[Place]:
        """Return the families in order, each with a sentence: by density, by samples alone, then refused and failed."""
        return ranking(self)

    @property
    def verdict(self) -> str:
        """Return which family is best and by how much, in one to three sentences; a tie is called a tie."""
        return " ".join(verdict(self))

    @property
    def best(self) -> Row | None:
        """Return the first row of the ranking; None where no family was fitted."""
        first = self.ranking()[0].row if self.rows else None
        return first if first is not None and first.status == "ok" and not first.accused else None

    def to_json(self) -> dict[str, Any]:
        """Return every number and sentence as JSON values, families in order; see `Results.to_json`."""
        places = [
            place.row.to_json() | {"place": place.number, "by": place.by, "sentence": place.sentence}
            for place in self.ranking()
        ]
        return super().to_json() | {"verdict": self.verdict, "rows": places}

    def to_frame(self) -> pa.Table:
        """Return the families in order, then the reference rows, as a pyarrow Table with a column for each number."""
        import pyarrow as pa

        apart = (
            *PICTURED,
            "metrics",
            "metrics_spread",
            "metrics_error",
            "seeds",
            "histories",
            "findings",
            "by_steps",
            "telling",
        )
        numbers = [f.name for f in fields(Row) if f.name not in apart]
        lines = []
        for place in self.ranking():
            line = {name: getattr(place.row, name) for name in numbers} | {"place": place.number}
            line |= {"findings": "; ".join(map(str, place.row.findings))}
            line |= place.row.metrics | {f"{key}_spread": value for key, value in place.row.metrics_spread.items()}
            lines.append(line)
        for name, metrics in self.references.items():
            lines.append({"family": name, "status": "reference"} | metrics)
        spreads = [f"{key}_spread" for key in self.metrics if any(key in row.metrics_spread for row in self.rows)]
        text = {"family", "title", "group", "status", "reason", "label", "stopped", "findings"}
        whole = {"place", "parameters", "estimate_samples", "estimate_rows"}
        schema = {
            name: pa.string() if name in text else pa.int64() if name in whole else pa.float64()
            for name in ("place", *numbers, "findings", *self.metrics, *spreads)
        }
        return pa.table({name: pa.array([line.get(name) for line in lines], kind) for name, kind in schema.items()})

    def __rich__(self) -> Group:
        return renderable(self)

    def __str__(self) -> str:
        return text(self)

    def _repr_html_(self) -> str:
        return preformatted(str(self))

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write `index.html`, one self-contained page that needs no network, and `report.json` with every number.

        Args:
            folder: the folder to write to; it is made where it does not exist, and the two files replace older ones.

        Returns:
            The path of `index.html`.

        Raises:
            GenusError: the folder cannot be written.
        """
        numbers = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        for name, content in (("report.json", numbers), ("index.html", render(self))):
            with atomic_write(Path(folder) / name) as temporary:
                temporary.write_text(content, encoding="utf-8", errors="replace")
        return Path(folder) / "index.html"
