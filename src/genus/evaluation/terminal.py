"""The results of a comparison in the terminal: the verdict, a table, a sentence for each family."""

from __future__ import annotations

import io
import math

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from genus.codec.units import Unit, element
from genus.evaluation.figures import density_text, number
from genus.evaluation.ranking import Place, ranking, untrained
from genus.evaluation.results import Results, Row
from genus.evaluation.tables import measured
from genus.evaluation.verdict import verdict
from genus.notebook import printable

__all__ = ["renderable", "text"]

SHOWN = ("label_match", "in_training", "new")  # metrics beside those of utility and the one that orders samples
UNTRIED = ("refused", "given up")  # families without a line in the table


def text(results: Results) -> str:
    """Return the results as plain text, 120 characters wide."""
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(renderable(results))
    return printable(console.file.getvalue().rstrip())  # type: ignore[attr-defined]


def renderable(results: Results) -> Group:
    """Return the results as rich prints them."""
    places = ranking(results)
    tried = [place for place in places if place.row.status not in UNTRIED]
    lines = []
    for place in tried:
        lines.append(Text.assemble((f"{place.row.family}: ", "bold"), place.sentence))
        lines += [Text.assemble((f"  {finding.kind}: ", "bold"), finding.sentence) for finding in place.row.findings]
    others: dict[str, list[str]] = {}  # of which many have the same reason
    for place in places:
        if place.row.status in UNTRIED:
            others.setdefault(place.sentence, []).append(place.row.family)
    lines += [Text.assemble((f"{', '.join(names)}: ", "bold"), sentence) for sentence, names in others.items()]
    lines += [Text(f"{note.label}: {note.reason}", style="dim") for note in results.notes]
    return Group(Text(" ".join(verdict(results)), style="bold"), Padding(_table(results, tried or places), (1, 0)), *lines)


def _table(results: Results, places: list[Place]) -> Table:
    metrics = results.metrics
    keys = [key for key in measured(results) if key == results.samples_metric or key in SHOWN or metrics[key].kind == "utility"]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    table.add_column("family", style="bold")
    table.add_column("log-density (nats a row)", justify="right")
    table.add_column("is", style="dim")
    if Unit.of(results.codec).is_shown:
        table.add_column(f"bits a {element(results.codec)}", justify="right")
    online = any(row.online_bits_per_dim is not None for row in results.rows)
    if online:
        table.add_column("online", justify="right", style="dim")
    for key in keys:
        table.add_column(metrics[key].title, justify="right")
    table.add_column("s", justify="right", style="dim")
    for place in places:
        table.add_row(*(Text(cell) for cell in _cells(place, keys, Unit.of(results.codec).is_shown, online)))
    for name, values in results.references.items():
        cells = [f"{values[key]:.3f}" if key in values else "" for key in keys]
        if any(cells):
            cells = [*[""] * (Unit.of(results.codec).is_shown + online), *cells]
            table.add_row(*(Text(cell) for cell in ("", name, "", "reference", *cells, "")), style="dim")
    return table


def _cells(place: Place, keys: list[str], units: bool, online: bool) -> list[str]:
    row = place.row
    state = "accused" if row.accused else "not trained" if untrained(row) else row.status
    density, label = (density_text(row), row.label) if state == "ok" else (state, "")
    bits = [number(row.bits_per_dim, 3) if row.has_density else ""] if units else []
    bits += [number(row.online_bits_per_dim, 3) if row.online_bits_per_dim is not None else ""] if online else []
    scores = [_score(row, key) for key in keys]
    seconds = f"{row.seconds:.0f}" if row.seconds is not None else ""
    return [place.mark, row.family, density, label, *bits, *scores, seconds]


def _score(row: Row, key: str) -> str:
    """Return a metric, with its error where it is known."""
    if key not in row.metrics:
        return ""
    error = row.metrics_error.get(key, math.nan)
    return f"{row.metrics[key]:.3f}" + (f" ± {error:.3f}" if math.isfinite(error) and error > 0 else "")
