"""Cases in processes of their own: forked from one that has imported everything, one or several cases a process."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import PIL.Image
import pyarrow as pa

from genus.cli import main

__all__ = ["MEGABYTE", "Outcome", "Work", "commands", "forked", "forked_together", "warm_up"]

Work = Callable[[], int]

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
        peak: the most bytes that it held at once; of a campaign, beyond what the least command does.
        seconds: of wall-clock time.
    """

    status: str
    code: int
    out: str
    err: str
    peak: int
    seconds: float

    def shows(self, room: int) -> str | None:
        """Return which fault this is, where a refusal may hold so many bytes; None where it is none.

        A training that went on from a file, and whose model then could not be saved, has refused no file.
        """
        if self.status not in ("done", "refused"):
            return self.status
        if "SILENT" in self.out:
            return "silent"
        trained = "This model cannot be saved" in self.err
        return "memory" if self.status == "refused" and self.peak > room and not trained else None

    @property
    def kind(self) -> str:
        """Return what faults of one cause have in common: the error and the last place in genus, or the signal."""
        if self.status in ("crash", "hang"):
            return f"{self.status} {self.code}"
        places = re.findall(r'File "[^"]*/genus/([^"]+)", line (\d+), in (\S+)', self.err)
        raised = [line for line in self.err.splitlines() if re.match(r"^[\w.]+(Error|Exception|Interrupt|Exit)\b", line)]
        where = f"{places[-1][0]}:{places[-1][1]} {places[-1][2]}" if places else "?"
        return f"{raised[-1][:110] if raised else self.err.strip()[-110:]} @ {where}"


def forked(work: Work, folder: Path) -> Outcome:
    """Run a function in a forked process, in a folder, and return its outcome.

    Args:
        work: returns an exit code; what it prints is caught, at the level of the operating system.
        folder: the working directory; files named .out and .err in it hold what was printed.
    """
    start = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        _leave(lambda: _run(work, folder))
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - start
    code = os.waitstatus_to_exitcode(status)
    out, err = _printed(folder)
    return Outcome(_status(code, err), code, out, err, usage.ru_maxrss * 1024, seconds)


def forked_together(works: Sequence[Callable[[Path], Work]], home: Path) -> list[Outcome]:
    """Run functions one after the other in a forked process, and in a further one after each that ends it.

    A process costs five times what a case does. The peak of an outcome is what the case held beyond what was there before it.

    Args:
        works: each returns the function to run, once it has its files in the folder that it is given.
        home: an empty folder for all that they write.
    """
    outcomes: list[Outcome] = []
    while len(outcomes) < len(works):
        start = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            _leave(lambda: _run_all(works, len(outcomes), home))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        results = home / "results"
        for line in results.read_text().splitlines() if results.exists() else ():
            outcomes.append(Outcome(**json.loads(line)))
        results.unlink(missing_ok=True)
        if len(outcomes) < len(works):
            out, err = _printed(home / str(len(outcomes)))
            outcomes.append(Outcome(_status(code, err), code, out, err, 0, time.perf_counter() - start))
    return outcomes


def _run_all(works: Sequence[Callable[[Path], Work]], first: int, home: Path) -> int:
    """Run the cases from the first on, and write the outcome of each as a line."""
    with (home / "results").open("w") as results:
        for number in range(first, len(works)):
            folder = home / str(number)
            folder.mkdir()
            work = works[number](folder)
            gc.collect()
            pa.default_memory_pool().release_unused()
            ctypes.CDLL(None).malloc_trim(0)
            before, start = _resident(), time.perf_counter()
            code = _run(work, folder)
            seconds, peak = time.perf_counter() - start, _resident("VmHWM") - before
            out, err = _printed(folder)
            outcome = Outcome(_status(code, err), code, out, err, peak, seconds)
            results.write(json.dumps(asdict(outcome)) + "\n")
            results.flush()
            os.chdir(home)
            shutil.rmtree(folder)
    return 0


def _resident(name: str = "VmRSS") -> int:
    """Return the bytes that this process holds; asked for VmRSS, begin to look for the most anew."""
    if name == "VmRSS":
        Path("/proc/self/clear_refs").write_text("5")
    return 1024 * int(re.findall(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[0])


def _printed(folder: Path) -> tuple[str, str]:
    """Return what a case printed, and remove the files of it."""
    texts = []
    for name in (".out", ".err"):
        path = folder / name
        texts.append(path.read_text(errors="replace") if path.exists() else "")
        path.unlink(missing_ok=True)
    return texts[0], texts[1]


def _leave(run: Callable[[], int]) -> None:
    """Run a function in a child, within its limit of memory, and leave, whatever happens."""
    code = 70
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # die with the campaign
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = run()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _run(work: Work, folder: Path) -> int:
    """Return the exit code of a work, with its own limit of time, and what it prints in files."""
    code = 70
    try:
        os.chdir(folder)
        for number, name in ((1, ".out"), (2, ".err")):
            handle = os.open(folder / name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
            os.dup2(handle, number)
            os.close(handle)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        for number in (signal.SIGALRM, signal.SIGPROF):
            signal.signal(number, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BaseException:
                code = code or 71
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
    return code


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
