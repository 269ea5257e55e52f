"""The campaign: cases by number, each in a process of its own, and the faults that they show."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from .disks import Disks
from .inputs import FORMATS, Inputs
from .kills import Kills
from .models import FAMILIES, Models
from .truth import Truth
from .worker import MEGABYTE, Outcome, Work, commands, forked, forked_together, warm_up

__all__ = ["PARTS", "Cases", "Result", "part", "run_part"]

PARTS = (*FORMATS, "truth", "models", "checkpoints", "kills", "disks")
MODEL_ROOM, INPUT_ROOM = 64 * MEGABYTE, 512 * MEGABYTE  # beyond what the least command takes


class Cases(Protocol):
    """Write the files of a case into a folder, and return the work; so many cases share a process."""

    together: int

    def work(self, number: int, folder: Path) -> Work: ...


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

    def add(self, number: int, outcome: Outcome, room: int) -> None:
        """Count a case, which may hold so many bytes where it is a refusal."""
        fault = outcome.shows(room)
        self.count[fault or outcome.status] += 1
        self.peak = max(self.peak, (outcome.peak, number)) if outcome.status == "refused" else self.peak
        self.slowest = max(self.slowest, (outcome.seconds, number))
        if fault is not None:
            kind = {"memory": f"memory: {outcome.err.strip()[-160:]}", "silent": "silent"}.get(fault, outcome.kind)
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
    if name in ("kills", "disks"):
        return Kills(seed, home) if name == "kills" else Disks(seed, home)
    if name == "truth":
        return Truth(seed)
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
    while result.after < first + count and time.perf_counter() - start < seconds:
        numbers = range(result.after, min(result.after + cases.together, first + count))
        for number, outcome in zip(numbers, _outcomes(cases, numbers, least, room), strict=True):
            result.add(number, outcome, room)
        result.after = numbers.stop
    return result


def _outcomes(cases: Cases, numbers: range, least: int, room: int) -> list[Outcome]:
    """Return the outcomes of cases that share a process; one that shows a fault is run again alone."""
    if cases.together == 1:
        return [_alone(cases, number, least) for number in numbers]
    folder = Path(tempfile.mkdtemp(prefix="genus-cases-"))
    try:
        found = forked_together([partial(cases.work, number) for number in numbers], folder)
    finally:
        shutil.rmtree(folder)
    for i, outcome in enumerate(found):
        if outcome.shows(room) is not None:
            alone = _alone(cases, numbers[i], least)
            after = outcome.shows(room) != "memory" and alone.shows(room) is None
            found[i] = replace(outcome, err=f"{outcome.err}\n(not alone, but after others)") if after else alone
    return found


def _alone(cases: Cases, number: int, least: int) -> Outcome:
    """Return the outcome of a case in a process of its own."""
    folder = Path(tempfile.mkdtemp(prefix="genus-case-"))
    try:
        outcome = forked(cases.work(number, folder), folder)
        return replace(outcome, peak=outcome.peak - least)
    finally:
        shutil.rmtree(folder)


def _least() -> int:
    """Return the bytes that a process takes which refuses a file at once."""
    folder = Path(tempfile.mkdtemp(prefix="genus-case-"))
    try:
        (folder / "m.genus").write_bytes(b"none")
        return forked(commands(["sample", "m.genus"]), folder).peak
    finally:
        shutil.rmtree(folder)
