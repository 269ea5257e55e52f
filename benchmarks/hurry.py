"""Is the answer that `genus compare` gives in two minutes the one that it gives in twenty?

    python benchmarks/hurry.py [--data ../shared/data] [--sets adult,digits,tinyshakespeare,spoken-digits,mnist]
        [--seeds 0,1,2] [--time 2m] [--reference 20m] [--home kept/]

Every set is compared once in the longer time, then in the shorter one (five times it for MNIST) with each seed, by the command
itself. A short run is right where the first family that is no stack leads the long run too, or is tied with its leader. It is
rightly doubted where its page says that more time may change the order and names the leader of the long run, or calls the two
tied. Seconds until the first page and until the end stand beside, and the most memory of all processes together: their
proportional sets, sampled every second or two. With --home the reports are kept, and a run that is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from records import Record

RECORD = Record(__doc__)
SETS: dict[str, list[str]] = {
    "adult": ["tables/adult-train.csv", "--target", "income"],
    "digits": ["digits"],
    "tinyshakespeare": ["text/tinyshakespeare.txt"],
    "spoken-digits": ["audio/spoken-digits"],
    "mnist": ["images/mnist.npz"],
}
LONGER = {"mnist": 5}  # times the short time
FIRST_PAGE = {"mnist": 90.0}  # seconds, for others 30
MOST_MEMORY = 4.0  # GB
LOOK = 1.5  # seconds from one look at the memory to the next: a look takes a tenth of a second of a core
LATE = 1.1  # of the time asked for


@dataclass
class Outcome:
    """What one comparison did: seconds, GB, and the families of its report with what the page says."""

    seconds: float
    first_page: float
    memory: float
    report: dict[str, Any]

    @property
    def families(self) -> list[dict[str, Any]]:
        """The rows with a place by density, the first first, stacks left out."""
        placed = [row for row in self.report["rows"] if row["place"] and row["by"] == "density" and not _is_stack(row)]
        return sorted(placed, key=lambda row: row["place"])

    @property
    def first(self) -> str:
        return str(self.families[0]["family"]) if self.families else "none"

    @property
    def leaders(self) -> set[str]:
        """The first family and those that its page does not tell from it."""
        return {row["family"] for row in self.families if row is self.families[0] or _tied(self.families[0], row)}

    @property
    def doubt(self) -> str:
        """What the page says may change the order; "" where it says nothing, or only that the first was still improving."""
        outlook = str(self.report["outlook"])
        return outlook if outlook.startswith("More time may change") else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--time", default="2m")
    parser.add_argument("--reference", default="20m")
    parser.add_argument("--home", type=Path, help="a folder in which reports are kept from one run to the next")
    options = parser.parse_args()
    seeds = [int(one) for one in options.seeds.split(",")]
    good = doubted = runs = 0
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        home = options.home or Path(folder)
        for name in options.sets.split(","):
            reference = compare(name, options.data, options.reference, 0, home)
            print(f"{name}: {options.reference} {_said(reference)}", flush=True)
            for seed in seeds:
                short = compare(name, options.data, options.time, seed, home, LONGER.get(name, 1))
                right = short.first in reference.leaders
                named = bool(reference.leaders & short.leaders) or any(one in short.doubt for one in reference.leaders)
                good, doubted, runs = good + (right or named), doubted + bool(short.doubt), runs + 1
                judged = "right" if right else "rightly doubted" if named else "wrong"
                print(f"  seed {seed}: {_said(short)}: {judged}", flush=True)
                missed += _missed(name, seed, short, seconds(options.time) * LONGER.get(name, 1))
                RECORD.row(
                    set=name, seed=str(seed), first=short.first, of_the_long_run=reference.first, judged=judged,
                    first_page_s=short.first_page, seconds=short.seconds, peak_GB=short.memory,
                    said="more time may change it" if short.doubt else "",
                )  # fmt: skip
    print(f"{good} of {runs} right or rightly doubted; doubt in {doubted}")
    RECORD.keep(seeds)
    if missed:
        sys.exit("Missed: " + "; ".join(missed) + ".")


def compare(name: str, data: Path, asked: str, seed: int, home: Path, longer: int = 1) -> Outcome:
    """Run one comparison, or read it where it is kept."""
    words = SETS[name]
    out = home / f"{name}-{asked}-{seed}"
    kept = out / "outcome.json"
    if not kept.exists():
        where = str(data / words[0]) if "/" in words[0] else words[0]
        limit = f"{seconds(asked) * longer:.0f}s"
        command = [sys.executable, "-m", "genus", "compare", where, *words[1:], "--time", limit]
        command += ["--seed", str(seed), "--out", str(out), "--quiet"]
        shutil.rmtree(out, ignore_errors=True)  # the page of a run that was broken off would be taken for the first
        begin, page, most, looked = time.perf_counter(), 0.0, 0.0, 0.0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            if time.perf_counter() - looked > LOOK:
                most, looked = max(most, memory(process.pid)), time.perf_counter()
            if not page and (out / "index.html").exists():
                page = time.perf_counter() - begin
            time.sleep(0.2)
        if process.returncode:
            sys.exit(f"genus compare of {name} ended with {process.returncode}.")
        took = {"seconds": time.perf_counter() - begin, "first_page": page, "memory": most}
        kept.write_text(json.dumps(took))
    return Outcome(**json.loads(kept.read_text()), report=json.loads((out / "report.json").read_text()))


def memory(root: int) -> float:
    """The proportional resident memory of a process and of all that it started, in GB; pages that are shared count once."""
    total, waiting = 0.0, [root]
    while waiting:
        process = waiting.pop()
        try:
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += next(float(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1e6
            for task in Path(f"/proc/{process}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except (OSError, StopIteration):  # it has ended meanwhile
            continue
    return total


def seconds(asked: str) -> float:
    """The seconds of a time such as 90s, 2m, 1h."""
    return float(asked[:-1]) * {"s": 1, "m": 60, "h": 3600}[asked[-1]]


def _is_stack(row: dict[str, Any]) -> bool:
    return str(row["family"]).startswith("stack")


def _tied(first: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether two rows are within two errors of one another, by their differences to the best row, which may be a stack."""
    gap = (first["best_difference"] or 0.0) - (row["best_difference"] or 0.0)
    return abs(gap) <= 2 * max(one["best_difference_se"] or 0.0 for one in (first, row))


def _said(one: Outcome) -> str:
    head = ", ".join(f"{row['family']} {row['log_density']:.3f}" for row in one.families[:3])
    tail = f"; {one.doubt}" if one.doubt else ""
    return f"{one.first_page:.0f} s to the first page, {one.seconds:.0f} s, {one.memory:.2f} GB; {head}{tail}"


def _missed(name: str, seed: int, one: Outcome, asked: float) -> list[str]:
    said = []
    if one.first_page > FIRST_PAGE.get(name, 30.0):
        said.append(f"{name}, seed {seed}: the first page after {one.first_page:.0f} s")
    if one.seconds > LATE * asked:
        said.append(f"{name}, seed {seed}: {one.seconds:.0f} s of {asked:.0f}")
    if one.memory > MOST_MEMORY:
        said.append(f"{name}, seed {seed}: {one.memory:.1f} GB")
    return said


if __name__ == "__main__":
    main()
