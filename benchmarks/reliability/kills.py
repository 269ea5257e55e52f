"""Kills: a command is ended by a signal at a moment, and what lies there afterwards is looked at."""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import genus.atomic
from genus.cli import main
from genus.files import load, read_tensors

from .models import FAMILIES, fit_words, write_sources
from .serving import end_serving

__all__ = ["Kills", "check_each", "ended", "left_over"]

SERIES = "shop,day,sales\n" + "".join(f"{s},2024-01-{d + 1:02},{(7 * s + 3 * d) % 11}\n" for s in range(12) for d in range(12))
STEPS = 24
LONGEST = 300.0  # seconds that a command may take
# A command's words, and the files that it writes: M and C are models of the table W, T is a teacher of the numbers N, R a model
# of the series S.
COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "fit series": (f"fit S --sequence shop,day --family rnn --steps {STEPS} --seed 1 --quiet --out out.genus", ("out.genus",)),
    "distill": (f"distill iaf T --steps {STEPS} --set hidden=8 --seed 1 --quiet --out out.genus", ("out.genus",)),
    "sample": ("sample M -n 100000 --seed 1 --quiet --out out.csv", ("out.csv",)),
    "sample parquet": ("sample M -n 100000 --seed 1 --quiet --out out.parquet", ("out.parquet",)),
    "score": ("score M W --quiet --out out.csv", ("out.csv",)),
    "impute": ("impute C W --seed 1 --quiet --out out.csv", ("out.csv",)),
    "tune": ("tune N --family chow-liu --trials 3 --seed 1 --quiet --out out.genus", ("out.genus",)),
    "forecast": ("forecast R S --steps 3 --times 200 --seed 1 --quiet --out out.csv", ("out.csv",)),
    "serve": ("serve M --port PORT", ()),
    "compare": (
        "compare N --families made --no-stack --seeds 1 --jobs 1 --budget 1s --quiet --out .",
        ("report.json", "index.html"),
    ),
    "tour": ("tour --only taxonomy --quiet --out out.html", ("out.html",)),
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE)
MOMENTS = ("before", "during", "while writing")  # the first steps, the first file, and between a file's beginning and its place
BEFORE = 0.15  # of the time until the first file is written
MOST = 0.8  # of the time of a command that writes while it works counts as its work
CODES = {
    signal.SIGKILL: (-9, 0),
    signal.SIGPIPE: (0,),
}  # Python ignores SIGPIPE, and a pipe that is closed is an error of writing


@dataclass(frozen=True)
class Whole:
    """Hold what a command does when nobody ends it.

    Args:
        seconds: until it begins to write its first file; most of all where it writes all the time.
        writes: the seconds that each file takes.
        files: what it has written.
    """

    seconds: float
    writes: list[float]
    files: dict[str, bytes]


@dataclass(frozen=True)
class Plan:
    """Say when a command is ended.

    Args:
        number: the signal.
        seconds: after which it is sent; None: while a file is written.
        write: the number of this file.
        share: of the time that the file takes; "at once" before it is there and "placed" when it is about to take its place.
        length: the seconds that the file takes.
    """

    number: signal.Signals
    seconds: float | None
    write: int = 0
    share: float | str = "at once"
    length: float = 0.0


class Kills:
    """Write the work of cases: a command, a signal and a moment by the seed; then the same command again, or its resumption.

    Every command meets every signal at every moment once before one meets it again.

    Args:
        seed: of the cases.
        home: holds whole.csv and warm.genus, what each command writes when nobody ends it, and in kills.jsonl a line for
            each case that has been run.
    """

    together = 1

    def __init__(self, seed: int, home: Path) -> None:
        self.seed, self.home = seed, home
        self.wholes: dict[str, Whole] = {}
        write_sources(seed, home)
        (home / "series.csv").write_text(SERIES)
        (home / "many.csv").write_text("a,b\n" + "".join(f"{i / 7:.3f},{i * i % 11 / 3:.3f}\n" for i in range(120)))
        places = {"W": home / "whole.csv", "M": home / "warm.genus", "S": home / "series.csv", "T": home / "teacher.genus"}
        places |= {"N": home / "many.csv", "C": home / "table.genus", "R": home / "series.genus"}
        self.commands = {
            f"fit {family}": ([*fit_words(home, family, STEPS), "--out", "out.genus"], ("out.genus",)) for family in FAMILIES
        }
        for name, (words, files) in COMMANDS.items():
            self.commands[name] = ([str(places.get(word, word)) for word in words.split()], files)
        self.cells = list(itertools.product(self.commands, SIGNALS, MOMENTS))
        if not places["T"].exists() and ended([*fit_words(home, "maf", STEPS), "--out", str(places["T"])], folder=home):
            raise RuntimeError("The teacher of the students could not be fitted.")
        series = f"fit {places['S']} --sequence shop,day --family rnn --steps {STEPS} --seed 1 --quiet --out {places['R']}"
        if not places["R"].exists() and ended(series.split(), folder=home):
            raise RuntimeError("The model of series could not be fitted.")

    def work(self, number: int, folder: Path) -> Callable[[], int]:
        """Return the work of a case; the whole run that it is held against is done here, once a command."""
        turn, place = divmod(number, len(self.cells))
        name, number_of, moment = random.Random(f"{self.seed} kills {turn}").sample(self.cells, len(self.cells))[place]
        rng = random.Random(f"{self.seed} kill {number}")
        whole = self.whole(name) if name != "serve" else None

        def work() -> int:
            record = {"command": name.split()[0], "signal": number_of.name, "moment": moment, "case": number, "right": False}
            try:
                if whole is None:
                    record["code"] = end_serving(self.commands[name][0], number_of, moment, rng)
                else:  # a file that was there before stays until the new one is whole
                    plan, old = _plan(whole, number_of, moment, rng), rng.random() < 0.5
                    record["code"] = self._end_and_go_on(name, whole, plan, old)
                record["right"] = True
            finally:
                with (self.home / "kills.jsonl").open("a") as records:
                    records.write(json.dumps(record) + "\n")
            return 0

        return work

    def _end_and_go_on(self, name: str, whole: Whole, plan: Plan, old: bool) -> int:
        """End a command, look at what it left, run it again, and return the code with which it was ended."""
        words, files = self.commands[name][0], whole.files
        resumed = name == "distill" or name.startswith("fit ")
        for file, content in files.items() if old and not resumed else ():
            Path(file).write_bytes(content)
        code = ended(words, plan)
        print(f"{name}: {plan}: {code}")
        if code not in codes_of(plan.number):
            raise AssertionError(f"{name}: {plan.number.name} ended it with {code}")
        check_each(files)
        if plan.number != signal.SIGKILL and (parts := left_over()):
            raise AssertionError(f"{name}: {plan.number.name} left {parts}")
        resume = ["--resume"] if resumed and Path("out.genus.ckpt").exists() else []
        for file in files if resumed and not resume else ():
            Path(file).unlink(missing_ok=True)  # of a training without steps, ended, what it had learned
        self.go_on(name, resume)
        return code

    def go_on(self, name: str, resume: Sequence[str]) -> None:
        """Run a command to its end, with options that resume it, and raise where it leaves other files than it would alone."""
        words, files = self.commands[name]
        if ended([*words, *resume]):
            raise AssertionError(f"{name}: the next run, {' '.join(resume) or 'from the beginning'}, was refused")
        if parts := left_over():
            raise AssertionError(f"{name}: the next run left {parts}")
        if "out.genus" in files and Path("out.genus").read_bytes() != self.whole(name).files["out.genus"]:
            raise AssertionError(f"{name}: what was {'resumed' if resume else 'begun again'} is not what was never ended")

    def whole(self, name: str) -> Whole:
        """Return what a command does by itself."""
        if name not in self.wholes:
            words, files = self.commands[name]
            folder = self.home / name.replace(" ", "-")
            folder.mkdir(exist_ok=True)
            times = folder / "times.json"
            if not times.exists() and (code := ended(words, folder=folder, times=times)):
                raise RuntimeError(f"{name} ended with {code} by itself")
            begin, *writes = json.loads(times.read_text())
            self.wholes[name] = Whole(begin, writes, {file: (folder / file).read_bytes() for file in files})
        return self.wholes[name]

    def __str__(self) -> str:
        return table_of(self.home / "kills.jsonl")


def table_of(path: Path) -> str:
    """Return the table signals x commands x moments of all records: how many cases there were, and how many were not right."""
    records = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    commands = list(dict.fromkeys(name.split()[0] for name in ("fit", *COMMANDS)))
    lines = [f"| signal, moment | {' | '.join(commands)} |", "|---" * (len(commands) + 1) + "|"]
    for number, moment in itertools.product(SIGNALS, MOMENTS):
        cells = []
        for command in commands:
            rights = [r["right"] for r in records if (r["command"], r["signal"], r["moment"]) == (command, number.name, moment)]
            cells.append(f"{len(rights)}" + (f", {rights.count(False)} wrong" if not all(rights) else ""))
        lines.append(f"| {number.name} {moment} | {' | '.join(cells)} |")
    return "\n".join(lines)


def codes_of(number: signal.Signals) -> tuple[int, ...]:
    """Return the exit codes that a command may have after a signal."""
    return CODES.get(number, (0, 130, 128 + number, -number))


def _plan(whole: Whole, number: signal.Signals, moment: str, rng: random.Random) -> Plan:
    share = rng.random()
    if moment == "before":
        return Plan(number, whole.seconds * BEFORE * share)
    if moment == "during":
        return Plan(number, whole.seconds * (BEFORE + (1 - BEFORE) * share))
    write = rng.randrange(len(whole.writes))
    return Plan(number, None, write, rng.choice((share, share, "at once", "placed")), whole.writes[write])


def ended(
    words: list[str], plan: Plan | None = None, folder: Path | None = None, times: Path | None = None, room: int | None = None
) -> int:
    """Run a command in a forked process, end it as planned, and return its exit code.

    Args:
        words: of the command.
        plan: of its end.
        folder: the working directory; by default this one.
        times: a file into which the times of the command's files are written.
        room: the bytes that a file may have; None: any.
    """
    pid = os.fork()
    if pid == 0:
        _run(words, plan, folder, times, room)
    handle = os.pidfd_open(pid)
    after = LONGEST if plan is None or plan.seconds is None else plan.seconds
    try:
        if not select.select([handle], [], [], after)[0]:
            os.kill(pid, signal.SIGKILL if plan is None or plan.seconds is None else plan.number)
            if not select.select([handle], [], [], LONGEST)[0]:
                os.kill(pid, signal.SIGKILL)
    finally:
        os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _run(words: list[str], plan: Plan | None, folder: Path | None, times: Path | None, room: int | None) -> None:
    """Run a command in this process, and leave."""
    code = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the campaign runs under nohup
        if folder is not None:
            os.chdir(folder)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        if room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        watch = _Writes(plan)
        code = main(words)
        if times is not None:
            writes = [end - begin for begin, end in zip(watch.begun, watch.ended, strict=True)]
            times.write_text(
                json.dumps(
                    [max(watch.begun[0], watch.start + MOST * (time.perf_counter() - watch.start)) - watch.start, *writes]
                )
            )
    except BaseException as error:
        traceback.print_exc()
        within = any("/genus/" in frame.filename for frame in traceback.extract_tb(error.__traceback__))
        code = 130 if isinstance(error, KeyboardInterrupt) and not within else code  # before the command began
    finally:
        sys.stderr.flush()
        os._exit(code)


class _Writes:
    """Watch the files that this process writes, and end it at one of them where that is planned."""

    def __init__(self, plan: Plan | None) -> None:
        self.plan, self.start = plan, time.perf_counter()
        self.begun: list[float] = []
        self.ended: list[float] = []
        self.permissions, self.replace = genus.atomic._permissions, os.replace
        genus.atomic._permissions = self._begin  # the first thing that `atomic_write` does, and the last
        os.replace = self._end  # type: ignore[assignment]

    def _begin(self, target: Path) -> int | None:
        self.begun.append(time.perf_counter())
        if self._is_due() and self.plan is not None:
            if isinstance(self.plan.share, float):
                after = self.plan.share * self.plan.length
                threading.Timer(after, os.kill, (os.getpid(), self.plan.number)).start()
            elif self.plan.share == "at once":
                os.kill(os.getpid(), self.plan.number)
        return self.permissions(target)

    def _end(self, source: Any, target: Any) -> None:
        if self._is_due() and self.plan is not None and self.plan.share == "placed":
            os.kill(os.getpid(), self.plan.number)
        self.replace(source, target)
        self.ended.append(time.perf_counter())

    def _is_due(self) -> bool:
        return self.plan is not None and self.plan.seconds is None and len(self.begun) == self.plan.write + 1


def check_each(files: dict[str, bytes]) -> None:
    """Raise where a file that is there is not whole: as long as the whole one, or a model or checkpoint that loads."""
    for file, content in files.items():
        path = Path(file)
        if path.suffix == ".genus" and path.exists():
            load(path)
        elif path.suffix in (".csv", ".parquet") and path.exists() and path.read_bytes() != content:
            raise AssertionError(f"{file} has {path.stat().st_size:,} bytes, and whole it has {len(content):,}")
        elif path.suffix == ".html" and path.exists() and not path.read_text().rstrip().endswith("</html>"):
            raise AssertionError(f"{file} is half written")
    if Path("out.genus.ckpt").exists():
        read_tensors("out.genus.ckpt")


def left_over() -> list[str]:
    """Return the temporary files in the working directory."""
    return [name for name in os.listdir() if name.endswith(".part")]
