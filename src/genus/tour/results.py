"""Results of the tour's pages: as numbers, as JSON, and as a table for the terminal."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from genus.tour.pages import Number, Page, Picture, expectation, shown

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["PageResult", "Tour"]


@dataclass(frozen=True)
class PageResult:
    """Hold a page and the numbers and pictures of its run."""

    page: Page
    numbers: list[Number]
    pictures: list[Picture]
    seconds: float

    @property
    def right(self) -> bool:
        """Say if every number is as expected."""
        return all(number.right for number in self.numbers)


@dataclass(frozen=True)
class Tour:
    """Hold the results of all pages that were run."""

    results: list[PageResult]
    seed: int

    @property
    def numbers(self) -> list[Number]:
        """Return the numbers of all pages."""
        return [number for result in self.results for number in result.numbers]

    @property
    def wrong(self) -> list[str]:
        """Return a sentence for every number that is off."""
        return [
            f"{result.page.name}: {n.name} is {shown(n.value)}, expected {expectation(n)}"
            for result in self.results
            for n in result.numbers
            if not n.right
        ]

    @property
    def verdict(self) -> str:
        """Return the outcome as one sentence."""
        count, wrong = len(self.numbers), len(self.wrong)
        return f"{wrong} of {count} numbers are off" if wrong else f"All {count} numbers are as the theory says"

    def to_json(self) -> dict[str, Any]:
        """Return every number in plain dictionaries and lists; infinity is text, since JSON has none."""
        return {
            "seed": self.seed,
            "right": not self.wrong,
            "pages": [
                {
                    "name": result.page.name,
                    "title": result.page.title,
                    "chapter": result.page.chapter,
                    "seconds": round(result.seconds, 2),
                    "numbers": [
                        {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(number).items()}
                        | {"right": number.right}
                        for number in result.numbers
                    ],
                }
                for result in self.results
            ],
        }

    def __rich__(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", title=self.verdict, title_justify="left")
        table.add_column("")
        table.add_column("number", ratio=1)
        for head in ("found", "expected"):
            table.add_column(head, justify="right", no_wrap=True)
        for result in self.results:
            table.add_row("", Text(result.page.title, style="bold"), Text(f"{result.seconds:.1f} s", style="dim"), "")
            for n in result.numbers:
                mark = Text("✓", style="green") if n.right else Text("✗", style="bold red")
                table.add_row(mark, Text(n.name), shown(n.value), Text(expectation(n), style="dim"))
        return table
