"""A progress bar on a terminal, plain lines now and then elsewhere, on stderr so that output can be piped."""

from __future__ import annotations

import sys
import time
from typing import Any

__all__ = ["Progress"]

EVERY = 10.0  # seconds between plain lines


class Progress:
    """Shows a training's step, losses, criterion and time left.

    Args:
        title: what is being trained.
        show: False for silence.
    """

    def __init__(self, title: str, show: bool) -> None:
        self.title = title
        self._bar: Any = None
        self._show = show
        self._printed = time.perf_counter()
        if show and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
            self._task = self._bar.add_task(title, total=1.0, text="")
            self._bar.start()

    def update(self, step: int, spent: float, seconds: float, numbers: dict[str, float | None]) -> None:
        """The state of things: the share of the budget spent, and losses and criterion by name."""
        if self._bar is None and not (self._show and time.perf_counter() - self._printed > EVERY):
            return
        shown = " · ".join(f"{name} {value:.4g}" for name, value in numbers.items() if value is not None)
        left = f"{seconds * (1 - spent) / spent:.0f} s left at most" if spent > 0.01 else ""
        text = " · ".join(part for part in (f"step {step}", shown, left) if part)
        if self._bar is not None:
            self._bar.update(self._task, completed=spent, text=text)
            self._bar.refresh()
        else:
            self._printed = time.perf_counter()
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
