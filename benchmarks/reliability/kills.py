"""Kills: a command in a process of its own is killed at a moment, and what lies there afterwards is looked at."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from genus.files import load, read_tensors

__all__ = ["Kills"]

SERIES = "shop,day,sales\n" + "".join(f"{s},2024-01-{d + 1:02},{(7 * s + 3 * d) % 11}\n" for s in range(12) for d in range(12))
STEPS = 60
LONGEST = 300.0  # seconds that a command may take
# A command's words, and the files that it writes. M and W are a model of a table and that table, S a table of series.
COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    **{
        f"fit {name}": (f"fit W --family {name} --steps {STEPS} --seed 1 --quiet --out out.genus", ("out.genus",))
        for name in ("naive-bayes", "mixture", "made", "maf", "vae", "gan", "nsf", "rnn", "gpt", "trees", "hclt", "chow-liu")
    },
    "fit series": (f"fit S --sequence shop,day --family rnn --steps {STEPS} --seed 1 --quiet --out out.genus", ("out.genus",)),
    "sample": ("sample M -n 200000 --seed 1 --quiet --out out.csv", ("out.csv",)),
    "sample parquet": ("sample M -n 200000 --seed 1 --quiet --out out.parquet", ("out.parquet",)),
    "score": ("score M W --quiet --out out.csv", ("out.csv",)),
    "impute": ("impute M W --seed 1 --quiet --out out.csv", ("out.csv",)),
    "compare": (
        "compare iris --families mixture --no-stack --seeds 1 --jobs 1 --budget 2s --quiet --out .",
        ("report.json", "index.html"),
    ),
    "tour": ("tour --only taxonomy --quiet --out out.html", ("out.html",)),
}
RESUMED = ("fit made", "fit maf", "fit vae", "fit gan", "fit nsf", "fit rnn", "fit gpt", "fit series")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Kills:
    """Write the work of cases: a command, a signal and a moment by the seed; then the same command again, or its resumption.

    Args:
        seed: of the cases.
        home: holds whole.csv and warm.genus, and what each command writes when nobody ends it.
    """

    def __init__(self, seed: int, home: Path) -> None:
        self.seed, self.home = seed, home
        self.whole: dict[str, tuple[float, dict[str, bytes]]] = {}
        (home / "series.csv").write_text(SERIES)

    def work(self, number: int, folder: Path) -> Callable[[], int]:
        """Return the work of a case; the whole run that it is held against is done here, once a command."""
        rng = random.Random(f"{self.seed} kill {number}")
        name, moment, number_of = rng.choice(list(COMMANDS)), rng.random(), rng.choice(SIGNALS)
        seconds, files = self._whole(name)
        old = rng.random() < 0.5  # a file that was there before stays until the new one is whole

        def work() -> int:
            if old and not name.startswith("fit"):
                for file, content in files.items():
                    Path(file).write_bytes(content)
            code = _ended(self._words(name), number_of, seconds * moment)
            print(f"{name}: {signal.Signals(number_of).name} after {seconds * moment:.2f} s: {code}")
            _check_each(files)
            if number_of != signal.SIGKILL and (parts := _parts()):
                raise AssertionError(f"{name}: {number_of.name} left {parts}")
            resume = ["--resume"] if name in RESUMED and Path("out.genus.ckpt").exists() else []
            _ended([*self._words(name), *resume])
            if parts := _parts():
                raise AssertionError(f"{name}: the next run left {parts}")
            if name in RESUMED and (Path("out.genus").read_bytes() != files["out.genus"]):
                raise AssertionError(f"{name}: what was {'resumed' if resume else 'begun again'} is not what was never ended")
            return 0

        return work

    def _words(self, name: str) -> list[str]:
        places = {"W": self.home / "whole.csv", "M": self.home / "warm.genus", "S": self.home / "series.csv"}
        return [str(places.get(word, word)) for word in COMMANDS[name][0].split()]

    def _whole(self, name: str) -> tuple[float, dict[str, bytes]]:
        """Return the seconds of a command, and what it writes."""
        if name not in self.whole:
            folder = self.home / name.replace(" ", "-")
            folder.mkdir(exist_ok=True)
            begin = time.perf_counter()
            code = _ended(self._words(name), folder=folder)
            if code:
                raise RuntimeError(f"{name} ended with {code} by itself")
            files = {file: (folder / file).read_bytes() for file in COMMANDS[name][1]}
            self.whole[name] = (time.perf_counter() - begin, files)
        return self.whole[name]


def _ended(words: list[str], number: int | None = None, after: float = LONGEST, folder: Path | None = None) -> int:
    """Run a command, send it a signal after some seconds, and return its exit code."""
    process = subprocess.Popen([sys.executable, "-m", "genus", *words], cwd=folder, stdout=subprocess.DEVNULL)
    with suppress(subprocess.TimeoutExpired):
        return process.wait(after)
    process.send_signal(signal.SIGKILL if number is None else number)
    return process.wait(LONGEST)


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
