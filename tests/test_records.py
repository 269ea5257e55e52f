"""Test the records of benchmarks: a run leaves one, which makes rows of a table, and the README's tables are made of them."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the folder of the benchmarks on the path, and forget what was imported from it."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    for name in ("records", "loop"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_run_leaves_a_record_that_makes_rows(benchmarks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, records = importlib.import_module("loop"), importlib.import_module("records")
    for name, value in (("ROWS", 512), ("STEPS", 4), ("REPETITIONS", 1)):
        monkeypatch.setattr(loop, name, value)
    monkeypatch.setattr(sys, "argv", ["benchmarks/loop.py"])
    loop.main()
    assert list(tmp_path.iterdir()) == []  # nothing is written unasked
    loop.RECORD.rows.clear()
    monkeypatch.setenv("GENUS_RECORD", str(tmp_path))
    loop.main()
    kept = json.loads((tmp_path / "loop.json").read_text(encoding="utf-8"))
    assert kept["command"].endswith("python benchmarks/loop.py")
    assert len(kept["rows"]) == 4
    lines = records.tables(tmp_path).splitlines()
    assert any(line.startswith("| batch | settings | by hand") for line in lines)
    assert sum(line.startswith(("| 64 |", "| 512 |")) for line in lines) == 4


def test_a_row_has_peers_errors_and_no_paths(benchmarks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = importlib.import_module("records")
    monkeypatch.setenv("GENUS_RECORD", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["/somewhere/a.py", "--data", "/home/me/data", "--sets", "iris"])
    record = records.Record("Two ways.\n\n    more", "numpy")
    record.row(table="iris", genus=(-1.25, 0.0042), peer=-2.0, rows=1500, note="a|b")
    record.row(table="wine", peer=1234.5)
    record.keep(range(2))
    (path,) = tmp_path.iterdir()
    assert path.name == "a-sets-iris.json"
    made = records.tables(tmp_path)
    assert "/home" not in path.read_text(encoding="utf-8") + made
    assert "### Two ways\n" in made
    assert "seed 0, 1; " in made
    assert "numpy " in made
    assert r"| iris | −1.250 ± 0.0042 | −2.000 | 1,500 | a\|b |" in made
    assert "| wine |  | 1,234 |  |  |" in made
    page = records.written(f"before\n{records.BEGIN}\nold\n{records.END}\nafter\n", made)
    assert page.startswith("before\n")
    assert page.endswith("\nafter\n")
    assert "old" not in page


def test_the_tables_of_the_readme_are_those_of_the_records(benchmarks: None) -> None:
    records = importlib.import_module("records")
    page = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    assert records.BEGIN in page
    assert page == records.written(page, records.tables(BENCHMARKS / "results")), "run python benchmarks/records.py"


def test_every_benchmark_keeps_a_record() -> None:
    scripts = {path.stem: path.read_text(encoding="utf-8") for path in BENCHMARKS.glob("*.py")}
    without = {name for name, text in scripts.items() if not ("RECORD = Record(__doc__" in text and "RECORD.keep(" in text)}
    assert without == {"fillers", "records", "timing"}
