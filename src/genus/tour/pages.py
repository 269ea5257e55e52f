"""A page of the tour: a function that yields numbers, each beside its expected value, and pictures."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from genus.evaluation.svg import figure_of, styled, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Number", "Page", "Picture", "expectation", "page", "picture", "registered_pages", "shown"]


@dataclass(frozen=True)
class Number:
    """Hold a number from a run beside the value that the theory gives.

    Args:
        name: the meaning of the number, in words.
        value: the number from the run.
        expected: the value that the theory gives.
        tolerance: the largest difference that counts as right: rounding, noise of the draws, or a net's short training.
        relation: "=", or "≤" or "≥" where the theory gives a bound.
    """

    name: str
    value: float
    expected: float
    tolerance: float = 1e-6
    relation: Literal["=", "≤", "≥"] = "="

    @property
    def right(self) -> bool:
        """Say if the number is as expected.

        >>> Number("", math.inf, math.inf).right, Number("", 1.0, 2.0, 0.5).right, Number("", math.nan, 0.0).right
        (True, False, False)
        """
        if self.value == self.expected:
            return True
        excess = self.value - self.expected
        return {"=": abs(excess), "≤": excess, "≥": -excess}[self.relation] <= self.tolerance


@dataclass(frozen=True)
class Picture:
    """Hold an inline SVG and its title."""

    title: str
    svg: str


PageFunction = Callable[[int], Iterator[Number | Picture]]


@dataclass(frozen=True)
class Page:
    """Hold one piece of the theory.

    Args:
        name: the name by which `genus tour --only` finds the page.
        title: the heading.
        formulas: the formulas as HTML.
        chapter: the heading of the chapter.
        run: the function from a seed to numbers and pictures; its docstring is the explanation.
    """

    name: str
    title: str
    formulas: tuple[str, ...]
    chapter: str
    run: PageFunction

    @property
    def text(self) -> str:
        """Return the explanation as one line."""
        return " ".join((inspect.getdoc(self.run) or "").split())


_pages: dict[str, Page] = {}


def page(chapter: str, title: str, *formulas: str) -> Callable[[PageFunction], PageFunction]:
    """Make a function a page of the tour.

    The page has the function's name, and its docstring is the explanation that a student reads above the numbers.

    Args:
        chapter: the heading of the chapter.
        title: the heading of the page.
        formulas: HTML; characters of Unicode serve best.

    Returns:
        A decorator of a function from a seed to an iterator over numbers and pictures.
    """

    def register(run: PageFunction) -> PageFunction:
        name = run.__name__.replace("_", "-")
        _pages[name] = Page(name, title, formulas, chapter, run)
        return run

    return register


def registered_pages() -> dict[str, Page]:
    """Return every page whose module has been imported, by its name, in the order of import."""
    return dict(_pages)


def picture(title: str, draw: Callable[[Axes], Any], width: float = 330, height: float = 210) -> Picture:
    """Return a picture that a function draws.

    Args:
        title: the title above the picture.
        draw: the function, which is called with matplotlib's axes; `genus.evaluation.svg` has ink and colours.
        width: the width in CSS pixels.
        height: the height in CSS pixels.
    """
    with styled():
        figure = figure_of(width, height)
        axes = figure.subplots()
        draw(axes)
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":  # the labels of matplotlib would be TeX
                axis.set_major_formatter(lambda value, _: shown(value))
                axis.set_minor_formatter(lambda value, _: "")
        return Picture(title, svg(figure, title))


def shown(value: float) -> str:
    """Return a number as a reader wants it.

    >>> shown(math.inf), shown(-0.25), shown(3.2e-15), shown(2.0)
    ('∞', '−0.25', '3.2e−15', '2')
    """
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else "−∞"
    text = f"{value:.2g}" if 0 < abs(value) < 1e-3 else f"{value:.4g}"
    return text.replace("e-0", "e-").replace("-", "−")


def expectation(number: Number) -> str:
    """Return the expected value in a few characters: "1 ± 0.1", "≤ 0.6"."""
    if number.relation != "=":
        return f"{number.relation} {shown(number.expected)}"
    exact = not number.tolerance or not math.isfinite(number.expected)
    return shown(number.expected) + ("" if exact else f" ± {shown(float(f'{number.tolerance:.2g}'))}")
