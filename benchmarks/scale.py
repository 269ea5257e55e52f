"""What a table that does not fit the memory costs: seconds and peak memory of every step, by the number of rows.

    python benchmarks/scale.py [--rows 2000000 20000000] [--families naive-bayes made] [--budget 60s] [--draws 500000]
    python benchmarks/scale.py --ask [--rows 100000 1000000] [--families naive-bayes] [--questions score impute predict]

A folder of Parquet of 15 mixed columns is written once for each number of rows; `genus fit --stream`, `sample` and `score` run
as commands, each in a process of its own, whose greatest resident memory and seconds of processor the operating system tells.
Peaks should be the same for any number of rows, and seconds grow as the rows do; the exponent of the seconds of processor
between the first and the last number of rows is printed. `fit` says how many of the rows it has seen, in how many passes.

With --ask a model of the first 50,000 rows is asked about all rows block by block, in a process of its own for each question:
log-densities by `genus score`, and in Python blanks filled (5 % of two columns) and one column predicted from the others.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from reading import columns
from records import Record

import genus

RECORD = Record(__doc__)

PART = 1_000_000  # rows of a file
COUNTED = ("naive-bayes", "independent")  # which have no use for a budget: they see every row once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[2_000_000, 20_000_000])
    parser.add_argument("--families", nargs="+", default=["naive-bayes", "mixture", "made", "trees"])
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--draws", type=int, default=500_000, help="rows that are drawn and scored")
    parser.add_argument("--ask", action="store_true", help="score, fill and predict all rows by a model of some")
    parser.add_argument("--questions", nargs="+", default=["score", *QUESTIONS], help="which, with --ask")
    parser.add_argument("--home", type=Path, help="a folder in which tables are kept from one run to the next")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = options.home or Path(folder)
        run = ask_all if options.ask else run_all
        found = {rows: run(home, rows, options) for rows in options.rows}
    RECORD.keep()
    first, last = options.rows[0], options.rows[-1]
    if first != last:
        for what, (seconds, peak) in found[first].items():
            slower, larger = found[last][what][0] / seconds, found[last][what][1] / peak
            exponent = math.log(slower) / math.log(last / first)
            print(
                f"  {what}: {first:,} to {last:,} rows: processor x {slower:.2f} (exponent {exponent:.2f}), peak x {larger:.2f}"
            )


QUESTIONS = {
    "impute": "sum(block.cells for block in genus.impute_blocks(genus.load(sys.argv[1]), sys.argv[2], seed=0))",
    "predict": "sum(len(block.value) for block in genus.predict_blocks(genus.load(sys.argv[1]), sys.argv[2], 'city'))",
}


def ask_all(home: Path, rows: int, options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Return the seconds of processor and the peak memory in GB of every question, and print them."""
    table, found = home / f"rows-{rows}", {}
    apart(write, table, rows)
    for family in options.families:
        model = home / f"{family}.genus"
        apart(fit_some, table / "000.parquet", family, model)
        score = ["-m", "genus", "score", str(model), str(table), "--out", str(home / "scores.parquet")]
        asked = {name: ["-c", f"import genus, sys\nprint({what})", str(model), str(table)] for name, what in QUESTIONS.items()}
        for name, words in {"score": score, **asked}.items():
            if name not in options.questions:
                continue
            seconds, busy, peak, out = measured(words)
            found[f"{family} {name}"] = busy, peak
            print(
                f"  {rows:>9,} rows  {family:12} {name:7} {seconds:7.1f} s  {busy:7.1f} s of processor  {peak:6.3f} GB"
                f"  {out.strip()}",
                flush=True,
            )
            RECORD.row(rows=rows, family=family, what=name, seconds=seconds, processor_s=busy, peak_GB=peak)
    return found


def fit_some(path: Path, family: str, model: Path) -> None:
    """Fit a family to the first rows of a file."""
    data = genus.read(pq.read_table(path).slice(0, 50_000))
    fitted = genus.build(family, data.space, seed=0)
    genus.fit(fitted, data, progress=False, seed=0, max_seconds=None if family in COUNTED else 30)
    genus.save(fitted, model)


def apart(work: Callable[..., None], *words: Any) -> None:
    """Do what needs much memory in a process of its own: a process that is started counts that of the one that starts it."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=words)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{work.__name__} ended with {process.exitcode}")


def run_all(home: Path, rows: int, options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Return the seconds of processor and the peak memory in GB of every command, and print them."""
    table, found = home / f"rows-{rows}", {}
    begin = time.perf_counter()
    apart(write, table, rows)
    size = sum(path.stat().st_size for path in table.iterdir()) / 1e9
    print(f"{rows:,} rows x 15 columns, {size:.2f} GB of Parquet, in {time.perf_counter() - begin:.0f} s", flush=True)
    for family in options.families:
        model, drawn = home / f"{family}.genus", home / "drawn.parquet"
        budget = [] if family in COUNTED else ["--budget", options.budget]
        work = {
            "fit": ["fit", table, "--family", family, "--stream", *budget, "--out", model],
            "sample": ["sample", model, "-n", options.draws, "--out", drawn, "--quiet"],
            "score": ["score", model, drawn, "--out", home / "scores.parquet", "--quiet"],
        }
        for name, words in work.items():
            seconds, busy, peak, out = measured(["-m", "genus", *map(str, words)])
            found[f"{family} {name}"] = busy, peak
            seen = next((line for line in out.splitlines() if line.startswith("seen")), "").removeprefix("seen").strip()
            print(f"  {family:12} {name:7} {seconds:7.1f} s  {busy:7.1f} s of processor  {peak:6.3f} GB  {seen}", flush=True)
            RECORD.row(rows=rows, family=family, what=name, seconds=seconds, processor_s=busy, peak_GB=peak, seen=seen)
    return found


def write(folder: Path, rows: int) -> None:
    """Write a table in files of a million rows, unless it is there."""
    if folder.is_dir() and (folder / ".whole").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for number, at in enumerate(range(0, rows, PART)):
        part = columns(np.random.default_rng(number), min(PART, rows - at))
        x = part["normal"]
        part["waiting"] = np.abs(part["waiting"] + x)  # something to be learned
        pq.write_table(pa.table(part), folder / f"{number:03}.parquet")
    (folder / ".whole").touch()


def measured(words: list[str]) -> tuple[float, float, float, str]:
    """Return what Python takes with these arguments: seconds, those of processor, the most GB held at once; and its output."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"python {' '.join(words)} ended with {process.returncode}")
    return time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9, out


if __name__ == "__main__":
    main()
