"""Keep what a benchmark found as a record, and make the tables of README.md from the records.

    GENUS_RECORD=benchmarks/results python benchmarks/loop.py     # one file a command: a run takes the place of the one before
    python benchmarks/records.py                                  # writes the tables of benchmarks/README.md anew

A benchmark adds a row of words and figures wherever it prints some, those of other libraries among them, and keeps its record
before it ends with an error for a target that it missed. Nothing is written unless GENUS_RECORD names a folder.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import genus

__all__ = ["Record", "tables", "written"]

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- made by benchmarks/records.py -->", "<!-- end of what is made -->"
# Options whose values say where things lie on one machine.
PATHS = ("--data", "--tables", "--peer", "--mnist", "--out", "--text", "--images", "--models", "--home")


class Record:
    """What one run of a benchmark found.

    Args:
        doc: the benchmark's docstring, whose first line is the title of the table.
        peers: the packages that it is compared with, whose versions are kept.
    """

    def __init__(self, doc: str, *peers: str) -> None:
        self.title = doc.strip().splitlines()[0].rstrip(".")
        self.peers = peers
        self.rows: list[dict[str, Any]] = []

    def row(self, **cells: str | float | Sequence[float]) -> None:
        """Add a row: words, numbers, or a pair of a number and its error, by the name of their column ("_" is a blank)."""
        self.rows.append({name.replace("_", " "): value for name, value in cells.items()})

    def keep(self, seeds: Sequence[int] = (0,)) -> None:
        """Write the record, with the seeds of the run, into the folder that GENUS_RECORD names, if it names one."""
        folder = os.environ.get("GENUS_RECORD")
        if not folder or not self.rows:
            return
        script, options = Path(sys.argv[0]), _public(sys.argv[1:])
        threads = "OMP_NUM_THREADS=1 " if os.environ.get("OMP_NUM_THREADS") == "1" else ""
        found = {
            "title": self.title,
            "command": f"{threads}python benchmarks/{script.name} {' '.join(options)}".strip(),
            "date": date.today().isoformat(),
            "seeds": [*seeds],
            "versions": {name: version(name) for name in ("torch", *self.peers)} | {"genus": genus.__version__},
            "machine": f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()}, load {os.getloadavg()[0]:.1f}",
            "threads": torch.get_num_threads(),
            "rows": self.rows,
        }
        name = re.sub(r"[^a-z0-9]+", "-", " ".join([script.stem, *options]).lower()).strip("-")[:80]
        path = Path(folder) / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"The record is {path}; python benchmarks/records.py makes the tables.")


def tables(folder: Path) -> str:
    """Return the tables of all records in a folder, as Markdown."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return "\n\n".join(_table(record) for record in found)


def written(text: str, made: str) -> str:
    """Return a page whose part between the two marks is what was made."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def _table(record: dict[str, Any]) -> str:
    columns = list(dict.fromkeys(name for row in record["rows"] for name in row))
    seeds = ", ".join(map(str, record["seeds"]))
    versions = ", ".join(f"{name} {number}" for name, number in sorted(record["versions"].items()))
    threads = f"{record['threads']} thread{'s' if record['threads'] > 1 else ''}"
    lines = [
        f"### {record['title']}\n",
        f"`{record['command']}`: {record['date']}, seed {seeds}; {versions}; {record['machine']}, {threads}.\n",
        "| " + " | ".join(columns) + " |",
        "|---" * len(columns) + "|",
    ]
    lines += ["| " + " | ".join(_cell(row.get(name, "")) for name in columns) + " |" for row in record["rows"]]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return f"{_cell(value[0])} ± {_cell(value[1])}"
    if isinstance(value, str):
        return value.replace("|", r"\|")
    return _number(value).replace("-", "−")


def _number(value: float) -> str:
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2g}" if 0 < abs(value) < 0.01 else f"{value:.3f}"


def _public(options: list[str]) -> list[str]:
    """Return the options of a command without those that are paths."""
    hidden = {i for i, word in enumerate(options) if word in PATHS}
    return [word for i, word in enumerate(options) if not {i, i - 1} & hidden and not word.startswith("/")]


if __name__ == "__main__":
    page = HERE / "README.md"
    page.write_text(written(page.read_text(encoding="utf-8"), tables(HERE / "results")), encoding="utf-8")
