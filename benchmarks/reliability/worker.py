"""One case in a process of its own: forked from one that has imported everything, so that a case costs milliseconds."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import io
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image

from genus.cli import main

__all__ = ["MEGABYTE", "Outcome", "commands", "forked", "warm_up"]

MEGABYTE = 2**20
PROCESSOR_SECONDS = 30  # a case that computes for longer hangs
SECONDS = 120  # and so does one that waits, on a busy machine
ROOM = 4 * 2**30  # bytes of addresses that a case may take beside those it starts with


@dataclass(frozen=True)
class Outcome:
    """Hold what one case left behind.

    Args:
        status: "done", "refused" (a sentence and the exit code 1, 2 or 130), "traceback", "crash", "hang".
        code: the exit code, or minus the number of the signal.
        out, err: what it printed.
        peak: the most bytes that it held at once.
        seconds: of wall-clock time.
    """

    status: str
    code: int
    out: str
    err: str
    peak: int
    seconds: float

    @property
    def kind(self) -> str:
        """Return what faults of one cause have in common: the error and the last place in genus, or the signal."""
        if self.status in ("crash", "hang"):
            return f"{self.status} {self.code}"
        places = re.findall(r'File "[^"]*/genus/([^"]+)", line (\d+), in (\S+)', self.err)
        raised = [line for line in self.err.splitlines() if re.match(r"^[\w.]+(Error|Exception|Interrupt|Exit)\b", line)]
        where = f"{places[-1][0]}:{places[-1][1]} {places[-1][2]}" if places else "?"
        return f"{raised[-1][:110] if raised else self.err.strip()[-110:]} @ {where}"


def forked(work: Callable[[], int], folder: Path) -> Outcome:
    """Run a function in a forked process, in a folder, and return its outcome.

    Args:
        work: returns an exit code; what it prints is caught, at the level of the operating system.
        folder: the working directory; files named .out and .err in it hold what was printed.
    """
    out, err = folder / ".out", folder / ".err"
    start = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        _child(work, folder, out, err)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - start
    code = os.waitstatus_to_exitcode(status)
    texts = [path.read_text(errors="replace") if path.exists() else "" for path in (out, err)]
    for path in (out, err):
        path.unlink(missing_ok=True)
    return Outcome(_status(code, texts[1]), code, texts[0], texts[1], usage.ru_maxrss * 1024, seconds)


def _child(work: Callable[[], int], folder: Path, out: Path, err: Path) -> None:
    """Run the work and leave, whatever happens."""
    code = 70
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # die with the campaign
        os.chdir(folder)
        for number, path in ((1, out), (2, err)):
            handle = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
            os.dup2(handle, number)
            os.close(handle)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        for number in (signal.SIGALRM, signal.SIGPROF):
            signal.signal(number, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BaseException:
                code = code or 71
        os._exit(code)


def _status(code: int, err: str) -> str:
    if code in (-signal.SIGALRM, -signal.SIGPROF):
        return "hang"
    if code < 0:
        return "crash"
    last = next((line for line in reversed(err.splitlines()) if line.startswith("genus: ")), "")
    if code == 70 or last.startswith("genus: unexpected") or (code and not last):
        return "traceback"
    return "refused" if code else "done"


def warm_up(folder: Path) -> None:
    """Run commands here, so that everything is imported which cases need; they are forked afterwards.

    Args:
        folder: holds whole.csv.
    """
    source, model = str(folder / "whole.csv"), str(folder / "warm.genus")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        main(["fit", source, "--family", "naive-bayes", "--out", model, "--quiet"])
        main(["fit", source, "--family", "vae", "--steps", "2", "--set", "hidden=4", "--out", model, "--quiet"])
        for words in (["describe", source], ["score", model, source], ["impute", model, source], ["sample", model, "-n", "2"]):
            main(words)
    for name in ("PIL.Image", "soundfile", "python_calamine", "scipy.signal", "pyarrow.feather", "pyarrow.dataset"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    PIL.Image.init()
    gc.collect()
    gc.freeze()  # a collection in a case must not copy what all cases share


def commands(*lines: Sequence[Any]) -> Callable[[], int]:
    """Return the work of running commands of genus one after the other, until one is refused."""

    def work() -> int:
        os.environ["GENUS_DEBUG"] = "1"  # shows where an error began; only an unexpected one is a fault
        for line in lines:
            if code := main([str(word) for word in line]):
                return code
        return 0

    return work
