"""A training and the person before it: the progress on stderr, so that output can be piped, and Ctrl-C."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupt", "Progress", "TrainingInterrupted"]

EVERY = 10.0  # seconds between plain lines


class TrainingInterrupted(KeyboardInterrupt):
    """Report that Ctrl-C, SIGTERM or SIGHUP ended the training.

    The model has its best weights so far, and the message says how to go on.
    """


class Interrupt:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP inside the context into the flag `asked`; a second one interrupts.

    A training looks at it between two steps, so what is written is whole.

    Outside the main thread, where Python delivers no signals, nothing is changed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._previous: dict[int, Any] = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __enter__(self) -> Interrupt:
        main = threading.current_thread() is threading.main_thread()
        # Somebody else's handler knows better than we do what these mean in their program.
        handlers: dict[int, Any] = {signal.SIGINT: signal.default_int_handler}
        if multiprocessing.parent_process() is None:  # a worker ends at once when its pool says so
            handlers[signal.SIGTERM] = signal.SIG_DFL
            if hasattr(signal, "SIGHUP"):  # a terminal that is closed; nohup has it ignored
                handlers[signal.SIGHUP] = signal.SIG_DFL
        for number, usual in handlers.items():
            current = signal.getsignal(number)
            if main and (current is usual or getattr(current, "of_genus", False)):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


class Progress:
    """Show a training's step, losses, criterion and time left: a bar on a terminal, plain lines now and then elsewhere.

    Args:
        title: what is being trained.
        show: False for silence.
    """

    def __init__(self, title: str, show: bool) -> None:
        self.title = title
        self._bar: Any = None
        self._show = show
        self._printed = time.perf_counter()

    def _start(self) -> None:
        """Start a bar where there is a terminal; only one of a process can be shown at a time."""
        if not self._show or self._bar is not None or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
        self._task = self._bar.add_task(self.title, total=1.0, text="")
        self._bar.start()

    def update(self, step: int, spent: float, seconds: float, numbers: dict[str, float], unit: str = "") -> None:
        """Show the step, the share of the budget spent (0 to 1), the time left, and the numbers by name, in a unit."""
        self._start()
        if self._bar is None and not (self._show and time.perf_counter() - self._printed > EVERY):
            return
        shown = " · ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        shown += f" {unit}" if shown and unit else ""
        left = f"{seconds * (1 - spent) / spent:.0f} s left at most" if spent > 0.01 else ""
        text = " · ".join(part for part in (f"step {step}", shown, left) if part)
        if self._bar is not None:
            self._bar.update(self._task, completed=spent, text=text)
            self._bar.refresh()
        else:
            self._printed = time.perf_counter()
            print(f"{self.title}: {text}", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Print a line at once, where progress is shown."""
        if self._show:
            print(f"{self.title}: {text}", file=sys.stderr, flush=True)

    def close(self, summary: str) -> None:
        """Take the bar away and leave one line."""
        self.__exit__()
        if self._show:
            print(f"{self.title}: {summary}", file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()
