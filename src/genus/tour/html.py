"""The tour as one HTML page in the look of the report: everything is embedded, no script runs and nothing is fetched."""

from __future__ import annotations

import os
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from genus.atomic import atomic_write
from genus.tour.pages import expectation, shown
from genus.tour.results import PageResult, Tour

__all__ = ["render", "write_html"]


def render(tour: Tour) -> str:
    """Return the tour as the text of an HTML page."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("genus.tour"), PackageLoader("genus.evaluation")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "expectation": expectation}
    chapters: dict[str, list[PageResult]] = {}
    for result in tour.results:
        chapters.setdefault(result.page.chapter, []).append(result)
    seconds = sum(result.seconds for result in tour.results)
    return environment.get_template("tour.html.jinja").render(tour=tour, chapters=chapters, seconds=seconds)


def write_html(tour: Tour, path: str | os.PathLike[str]) -> Path:
    """Write the tour to a file as one self-contained HTML page.

    Returns:
        The path of the file.

    Raises:
        GenusError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(render(tour), encoding="utf-8")
    return Path(path)
