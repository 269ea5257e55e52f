"""The campaign: cases by number, each in a process of its own, and the faults that they show."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .inputs import FORMATS, Inputs
from .kills import Kills
from .models import FAMILIES, Models
from .worker import MEGABYTE, Outcome, commands, forked, warm_up

__all__ = ["PARTS", "Cases", "Result", "part", "run_part"]

PARTS = (*FORMATS, "models", "checkpoints", "kills")
MODEL_ROOM, INPUT_ROOM = 64 * MEGABYTE, 512 * MEGABYTE  # beyond what the least command takes


class Cases(Protocol):
    """Write the files of a case into a folder, and return the work."""

    def work(self, number: int, folder: Path) -> Callable[[], int]: ...


@dataclass
class Result:
    """Hold what the cases of one part showed.

    Attributes:
        name: of the part.
        first, after: the numbers of the first case, and of the first that was not run.
        count: cases by status: "done", "refused", "traceback", "crash", "hang", "memory", "silent".
        faults: by kind, the numbers of the cases.
        peak: the most bytes that a case held beyond the least command, and its number.
        slowest: the most seconds that a case took, and its number.
    """

    name: str
    first: int
    after: int
    count: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[int]] = field(default_factory=dict)
    peak: tuple[float, int] = (0.0, 0)
    slowest: tuple[float, int] = (0.0, 0)
    details: dict[str, str] = field(default_factory=dict)

    def add(self, number: int, outcome: Outcome, least: int, room: int) -> None:
        """Count a case."""
        over = outcome.peak - least
        status = outcome.status
        if status in ("done", "refused") and "SILENT" in outcome.out:
            status = "silent"
        elif status == "refused" and over > room:
            status = "memory"
        self.count[status] += 1
        self.peak = max(self.peak, (over, number)) if status in ("refused", "memory") else self.peak
        self.slowest = max(self.slowest, (outcome.seconds, number))
        if status not in ("done", "refused"):
            kind = {"memory": f"memory: {outcome.err.strip()[-160:]}", "silent": "silent"}.get(status, outcome.kind)
            self.faults.setdefault(kind, []).append(number)
            self.details.setdefault(kind, outcome.err)

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {status}" for status, count in sorted(self.count.items()))
        head = (
            f"{self.name}: cases {self.first:,} to {self.after - 1:,}: {counts}; peak of a refusal"
            f" {self.peak[0] / MEGABYTE:.0f} MB (case {self.peak[1]}); slowest {self.slowest[0]:.1f} s (case {self.slowest[1]})"
        )
        ordered = sorted(self.faults.items(), key=lambda item: -len(item[1]))
        return "\n".join([head, *(f"  {len(numbers):5} x {kind}  (case {numbers[0]})" for kind, numbers in ordered)])


def part(name: str, seed: int, home: Path, families: tuple[str, ...] = tuple(FAMILIES)) -> Cases:
    """Return the cases of a part of the campaign.

    Args:
        name: one of `PARTS`.
        seed: of the cases.
        home: a folder for whole files.
        families: of models and checkpoints.
    """
    inputs = Inputs(seed, name, home)
    warm_up(home)
    if name == "kills":
        return Kills(seed, home)
    return inputs if name in FORMATS else Models(seed, home, families, name == "checkpoints")


def run_part(name: str, cases: Cases, first: int, count: int, seconds: float) -> Result:
    """Run cases until so many are done, or so many seconds are over.

    Args:
        name: of the part.
        cases: of it.
        first: the number of the first case.
        count: the most cases.
        seconds: the time for them.
    """
    result, start = Result(name, first, first), time.perf_counter()
    room = MODEL_ROOM if name in ("models", "checkpoints") else INPUT_ROOM
    least = max(_least() for _ in range(2))
    for number in range(first, first + count):
        if time.perf_counter() - start > seconds:
            break
        folder = Path(tempfile.mkdtemp(prefix="genus-case-"))
        try:
            result.add(number, forked(cases.work(number, folder), folder), least, room)
        finally:
            shutil.rmtree(folder)
        result.after = number + 1
    return result


def _least() -> int:
    """Return the bytes that a process takes which refuses a file at once."""
    folder = Path(tempfile.mkdtemp(prefix="genus-case-"))
    try:
        (folder / "m.genus").write_bytes(b"none")
        return forked(commands(["sample", "m.genus"]), folder).peak
    finally:
        shutil.rmtree(folder)
