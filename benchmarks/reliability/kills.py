"""Kills: a command is ended by a signal at a moment, and what lies there afterwards is looked at."""

from __future__ import annotations

import os
import random
import select
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from genus.cli import main
from genus.files import load, read_tensors

from .models import FAMILIES, fit_words, write_sources

__all__ = ["Kills"]

SERIES = "shop,day,sales\n" + "".join(f"{s},2024-01-{d + 1:02},{(7 * s + 3 * d) % 11}\n" for s in range(12) for d in range(12))
STEPS = 60
LONGEST = 300.0  # seconds that a command may take
# A command's words, and the files that it writes: M is a model of the table W, T a teacher of numbers, S
# a table of series.
COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "fit series": (f"fit S --sequence shop,day --family rnn --steps {STEPS} --seed 1 --quiet --out out.genus", ("out.genus",)),
    "distill": (f"distill iaf T --steps {STEPS} --set hidden=8 --seed 1 --quiet --out out.genus", ("out.genus",)),
    "sample": ("sample M -n 100000 --seed 1 --quiet --out out.csv", ("out.csv",)),
    "sample parquet": ("sample M -n 100000 --seed 1 --quiet --out out.parquet", ("out.parquet",)),
    "score": ("score M W --quiet --out out.csv", ("out.csv",)),
    "impute": ("impute M W --seed 1 --quiet --out out.csv", ("out.csv",)),
    "compare": (
        "compare iris --families mixture --no-stack --seeds 1 --jobs 1 --budget 2s --quiet --out .",
        ("report.json", "index.html"),
    ),
    "tour": ("tour --only taxonomy --quiet --out out.html", ("out.html",)),
}
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Kills:
    """Write the work of cases: a command, a signal and a moment by the seed; then the same command again, or its resumption.

    Args:
        seed: of the cases.
        home: holds whole.csv and warm.genus, and what each command writes when nobody ends it.
    """

    together = 1

    def __init__(self, seed: int, home: Path) -> None:
        self.seed, self.home = seed, home
        self.whole: dict[str, tuple[float, dict[str, bytes]]] = {}
        write_sources(seed, home)
        (home / "series.csv").write_text(SERIES)
        places = {"W": home / "whole.csv", "M": home / "warm.genus", "S": home / "series.csv", "T": home / "teacher.genus"}
        self.commands = {
            f"fit {family}": ([*fit_words(home, family, STEPS), "--out", "out.genus"], ("out.genus",)) for family in FAMILIES
        }
        for name, (words, files) in COMMANDS.items():
            self.commands[name] = ([str(places.get(word, word)) for word in words.split()], files)
        if _ended([*fit_words(home, "maf", STEPS), "--out", str(places["T"])], folder=home):
            raise RuntimeError("The teacher of the students could not be fitted.")

    def work(self, number: int, folder: Path) -> Callable[[], int]:
        """Return the work of a case; the whole run that it is held against is done here, once a command."""
        rng = random.Random(f"{self.seed} kill {number}")
        name, moment, number_of = rng.choice(list(self.commands)), rng.random(), rng.choice(SIGNALS)
        words, (seconds, files) = self.commands[name][0], self._whole(name)
        old = rng.random() < 0.5  # a file that was there before stays until the new one is whole
        resumed = name == "distill" or name.startswith("fit ")

        def work() -> int:
            if old and not resumed:
                for file, content in files.items():
                    Path(file).write_bytes(content)
            code = _ended(words, number_of, seconds * moment)
            print(f"{name}: {signal.Signals(number_of).name} after {seconds * moment:.2f} s: {code}")
            _check_each(files)
            if number_of != signal.SIGKILL and (parts := _parts()):
                raise AssertionError(f"{name}: {number_of.name} left {parts}")
            resume = ["--resume"] if resumed and Path("out.genus.ckpt").exists() else []
            for file in files if resumed and not resume else ():
                Path(file).unlink(missing_ok=True)  # of a training without steps, ended, what it had learned
            if _ended([*words, *resume]):
                raise AssertionError(f"{name}: the next run, {' '.join(resume) or 'from the beginning'}, was refused")
            if parts := _parts():
                raise AssertionError(f"{name}: the next run left {parts}")
            if resumed and Path("out.genus").read_bytes() != files["out.genus"]:
                raise AssertionError(f"{name}: what was {'resumed' if resume else 'begun again'} is not what was never ended")
            return 0

        return work

    def _whole(self, name: str) -> tuple[float, dict[str, bytes]]:
        """Return the seconds of a command, and what it writes."""
        if name not in self.whole:
            words, files = self.commands[name]
            folder = self.home / name.replace(" ", "-")
            folder.mkdir(exist_ok=True)
            begin = time.perf_counter()
            if code := _ended(words, folder=folder):
                raise RuntimeError(f"{name} ended with {code} by itself")
            self.whole[name] = (time.perf_counter() - begin, {file: (folder / file).read_bytes() for file in files})
        return self.whole[name]


def _ended(words: list[str], number: int | None = None, after: float = LONGEST, folder: Path | None = None) -> int:
    """Run a command in a forked process, send it a signal after some seconds, and return its exit code."""
    pid = os.fork()
    if pid == 0:
        _run(words, folder)
    handle = os.pidfd_open(pid)
    try:
        if not select.select([handle], [], [], after)[0]:
            os.kill(pid, signal.SIGKILL if number is None else number)
    finally:
        os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _run(words: list[str], folder: Path | None) -> None:
    """Run a command in this process, and leave."""
    code = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if folder is not None:
            os.chdir(folder)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        code = main(words)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _check_each(files: dict[str, bytes]) -> None:
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


def _parts() -> list[str]:
    return [name for name in os.listdir() if name.endswith(".part")]
