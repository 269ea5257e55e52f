"""What a page of the tour is: a function that yields numbers, each beside what it should be, and pictures."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genus.atomic import atomic_write
from genus.errors import GenusError
from genus.evaluation.svg import figure_of, styled, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table

__all__ = ["Number", "Page", "Picture", "Tour", "Visit", "page", "pages", "picture", "visit"]


@dataclass(frozen=True)
class Number:
    """A number from a run, and what the theory says of it.

    Args:
        name: what it is, in words.
        value: what was found.
        expected: what the theory says.
        tolerance: how far off it may be: rounding, or the noise of so many draws, or of a net trained for so long.
        relation: "=", or "≤" or "≥" where the theory gives a bound.
    """

    name: str
    value: float
    expected: float
    tolerance: float = 1e-6
    relation: Literal["=", "≤", "≥"] = "="

    @property
    def right(self) -> bool:
        """Whether it is as expected.

        >>> Number("", math.inf, math.inf).right, Number("", 1.0, 2.0, 0.5).right, Number("", math.nan, 0.0).right
        (True, False, False)
        """
        if self.value == self.expected:
            return True
        excess = self.value - self.expected
        return {"=": abs(excess), "≤": excess, "≥": -excess}[self.relation] <= self.tolerance


@dataclass(frozen=True)
class Picture:
    """An inline SVG under a title."""

    title: str
    svg: str


Page_ = Callable[[int], Iterator[Number | Picture]]


@dataclass(frozen=True)
class Page:
    """One piece of the theory.

    Args:
        name: by which `--only` finds it.
        title: in words.
        formulas: HTML.
        chapter: in words.
        run: seed -> its numbers and pictures; its docstring is the explanation.
    """

    name: str
    title: str
    formulas: tuple[str, ...]
    chapter: str
    run: Page_

    @property
    def text(self) -> str:
        """The explanation, one line."""
        return " ".join((inspect.getdoc(self.run) or "").split())


_pages: dict[str, Page] = {}


def page(chapter: str, title: str, *formulas: str) -> Callable[[Page_], Page_]:
    """Make a function a page of the tour, named after it: seed -> the numbers and pictures that it yields.

    Its docstring is what a student reads above them. Formulas are HTML; characters of Unicode serve best.
    """

    def register(run: Page_) -> Page_:
        name = run.__name__.replace("_", "-")
        _pages[name] = Page(name, title, formulas, chapter, run)
        return run

    return register


def pages() -> dict[str, Page]:
    """Every page by its name, in the order of the tour."""
    import genus.tour.chapters

    assert genus.tour.chapters  # importing them is what registers their pages
    return dict(_pages)


def picture(title: str, draw: Callable[[Axes], Any], width: float = 330, height: float = 210) -> Picture:
    """A picture of so many CSS pixels; `draw` is given the axes. `genus.evaluation.svg` has ink and colours."""
    with styled():
        figure = figure_of(width, height)
        axes = figure.subplots()
        draw(axes)
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":  # whose own labels are TeX
                axis.set_major_formatter(lambda value, _: shown(value))
                axis.set_minor_formatter(lambda value, _: "")
        return Picture(title, svg(figure, title))


@dataclass(frozen=True)
class Visit:
    """A page that was run."""

    page: Page
    numbers: list[Number]
    pictures: list[Picture]
    seconds: float

    @property
    def right(self) -> bool:
        return all(number.right for number in self.numbers)


@dataclass(frozen=True)
class Tour:
    """Pages that were run, with what they found."""

    visits: list[Visit]
    seed: int

    @property
    def numbers(self) -> list[Number]:
        """All of them."""
        return [number for visit in self.visits for number in visit.numbers]

    @property
    def wrong(self) -> list[str]:
        """A sentence for every number that is off."""
        return [
            f"{visit.page.name}: {n.name} is {shown(n.value)}, expected {expectation(n)}"
            for visit in self.visits
            for n in visit.numbers
            if not n.right
        ]

    @property
    def verdict(self) -> str:
        count, wrong = len(self.numbers), len(self.wrong)
        return f"{wrong} of {count} numbers are off" if wrong else f"All {count} numbers are as the theory says"

    def to_json(self) -> dict[str, Any]:
        """Every number as plain dictionaries and lists; infinity is text, since JSON has none."""
        return {
            "seed": self.seed,
            "right": not self.wrong,
            "pages": [
                {
                    "name": visit.page.name,
                    "title": visit.page.title,
                    "chapter": visit.page.chapter,
                    "seconds": round(visit.seconds, 2),
                    "numbers": [
                        {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(number).items()}
                        | {"right": number.right}
                        for number in visit.numbers
                    ],
                }
                for visit in self.visits
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
        for one in self.visits:
            table.add_row("", Text(one.page.title, style="bold"), Text(f"{one.seconds:.1f} s", style="dim"), "")
            for n in one.numbers:
                mark = Text("✓", style="green") if n.right else Text("✗", style="bold red")
                table.add_row(mark, Text(n.name), shown(n.value), Text(expectation(n), style="dim"))
        return table

    def write(self, path: Path) -> Path:
        """One self-contained HTML page."""
        from genus.tour.html import render

        with atomic_write(path) as temporary:
            temporary.write_text(render(self), encoding="utf-8")
        return path


def shown(value: float) -> str:
    """A number as a reader wants it.

    >>> shown(math.inf), shown(-0.25), shown(3.2e-15), shown(2.0)
    ('∞', '−0.25', '3.2e−15', '2')
    """
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else "−∞"
    text = f"{value:.2g}" if 0 < abs(value) < 1e-3 else f"{value:.4g}"
    return text.replace("e-0", "e-").replace("-", "−")


def expectation(number: Number) -> str:
    """What was expected, in a few characters: "1 ± 0.1", "≤ 0.6"."""
    if number.relation != "=":
        return f"{number.relation} {shown(number.expected)}"
    exact = not number.tolerance or not math.isfinite(number.expected)
    return shown(number.expected) + ("" if exact else f" ± {shown(float(f'{number.tolerance:.2g}'))}")


def visit(only: Sequence[str] | None = None, seed: int = 0, progress: Callable[[str], None] | None = None) -> Tour:
    """Run pages, all of them where none is named.

    Args:
        only: names of pages.
        seed: of everything random.
        progress: is given a line when a page is done.

    Raises:
        GenusError: a name that no page has.
    """
    from genus.model import isolated

    known = pages()
    for name in only or ():
        if name not in known:
            raise GenusError(f"There is no page {name!r}; there are {', '.join(known)}.")
    visits = []
    for one in [known[name] for name in only] if only else known.values():
        begin = time.perf_counter()
        with isolated(seed):
            found = list(one.run(seed))
        numbers, pictures = ([f for f in found if isinstance(f, kind)] for kind in (Number, Picture))
        visits.append(Visit(one, numbers, pictures, time.perf_counter() - begin))  # type: ignore[arg-type]
        if progress is not None:
            progress(f"{'✓' if visits[-1].right else '✗'} {one.title} ({visits[-1].seconds:.1f} s)")
    return Tour(visits, seed)
