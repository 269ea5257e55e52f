"""The tour as one HTML page in the look of the report: everything embedded, no script, nothing fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genus.tour.core import expectation, shown

if TYPE_CHECKING:
    from genus.tour.core import Tour, Visit

__all__ = ["render"]


def render(tour: Tour) -> str:
    """The page as text."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader("genus.tour"), PackageLoader("genus.evaluation")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "expectation": expectation}
    chapters: dict[str, list[Visit]] = {}
    for visit in tour.visits:
        chapters.setdefault(visit.page.chapter, []).append(visit)
    seconds = sum(visit.seconds for visit in tour.visits)
    return environment.get_template("tour.html.jinja").render(tour=tour, chapters=chapters, seconds=seconds)
