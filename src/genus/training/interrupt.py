"""Ctrl-C, and the SIGTERM of a batch system, between two steps, not within one: what is written then is whole."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupt", "TrainingInterrupted"]


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM ended the training; the model has its best weights so far, and the message says how to go on."""


class Interrupt:
    """While entered, the first Ctrl-C or SIGTERM only raises the flag `asked`; a second one interrupts at once.

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
        for number, usual in handlers.items():
            if main and signal.getsignal(number) is usual:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
