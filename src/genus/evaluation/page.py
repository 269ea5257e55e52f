"""The report as one HTML page: everything embedded, no script, nothing fetched, every word of the data escaped."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import Tensor

from genus.evaluation import plots
from genus.evaluation.grids import image_grid
from genus.evaluation.ranking import number, plus_minus, verdict
from genus.evaluation.svg import COLOURS
from genus.evaluation.tables import bars, measured, tables
from genus.space import Category, Integer, Real, Space

if TYPE_CHECKING:
    from genus.evaluation.report import Report

__all__ = ["render"]


def render(report: Report) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("genus.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "count": _count, "duration": _duration}
    places = report.ranking()
    fitted = [place for place in places if place.row.status == "ok"]
    drawn = {p.row.family: p.row.samples for p in fitted if p.row.samples is not None and len(p.row.samples)}
    curves = {p.row.family: plots.curves(p.row.histories, f"Learning curve of {p.row.family}") for p in fitted}
    return environment.get_template("report.html.jinja").render(
        report=report,
        facts=_facts(report),
        verdict=verdict(report),
        metrics=[report.metrics[key] for key in measured(report)],
        dense=[place for place in places if place.by == "density"],
        implicit=[place for place in places if place.by == "samples"],
        others=[place for place in places if place.by == "nothing"],
        bars=bars(fitted),
        plus_minus=plus_minus,
        tables=tables(report, fitted),
        colours=[index % COLOURS for index in range(len(drawn))],
        families=list(drawn),
        atoms=any(getattr(kind, "atoms", ()) for kind in report.space.kinds),
        images=_images(report, drawn),
        pictures=_pictures(report, drawn),
        curves=[(name, svg) for name, svg in curves.items() if svg],
        without_curve=[name for name, svg in curves.items() if not svg],
    )


# -- words ----------------------------------------------------------------------------------------------------------------


def _facts(report: Report) -> list[tuple[str, str]]:
    facts = [("data", describe(report.space))]
    if report.total_rows or report.train_rows:
        total = report.total_rows or report.train_rows + report.test_rows
        facts.append(
            ("rows", f"{_count(total)}: {_count(report.train_rows)} for training, {_count(report.test_rows)} held out")
        )
    if report.condition:
        facts.append(("given", report.condition))
    if report.target:
        facts.append(("target", report.target))
    if report.budget_seconds is not None:
        facts.append(("budget", f"{_duration(report.budget_seconds)} a fit"))
    if report.seeds:
        facts.append(("seeds", f"{len(report.seeds)}"))
    return facts


def describe(space: Space) -> str:
    """A space in words.

    >>> describe(Space([Real(), Category(("a", "b"))]))
    '2 columns: 1 real, 1 categorical'
    >>> describe(Space(Integer(0, 16), shape=(8, 8)))
    'images of 8 × 8, values 0 to 16'
    """
    if not space.is_table:
        kind = space.kinds[0]
        values = f", values {kind.low:g} to {kind.high:g}" if isinstance(kind, Integer) else ""
        return f"images of {' × '.join(map(str, space.shape))}{values}"
    parts = [
        (len(space.columns(kind)), word) for kind, word in ((Real, "real"), (Integer, "integer"), (Category, "categorical"))
    ]
    kinds = ", ".join(f"{n} {word}" for n, word in parts if n)
    return f"{space.dim} column{'s' if space.dim > 1 else ''}: {kinds}{', with missing values' if space.has_missing else ''}"


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _duration(seconds: float | None) -> str:
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.2g} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


# -- pictures -------------------------------------------------------------------------------------------------------------


def _images(report: Report, drawn: dict[str, Tensor]) -> list[tuple[str, str]]:
    """(title, data URI) of real images and of every family's."""
    if report.space.is_table or len(report.space.shape) < 2:
        return []
    real = report.real
    scale = real if real is not None else next(iter(drawn.values()), None)
    shown = ({"real": real} if real is not None else {}) | drawn
    return [(name, image_grid(report.space, x, scale)) for name, x in shown.items() if scale is not None]


def _pictures(report: Report, drawn: dict[str, Tensor]) -> dict[str, Any]:
    """Marginals, pair plots and heat maps of a table; empty for images, or without rows to draw."""
    space, real = report.space, report.real
    if not space.is_table or real is None or len(real) < 2:
        return {"marginals": [], "pairs": [], "heat_maps": []}
    shown = {"real": real} | drawn
    matrices = {name: plots.associations(space, x) for name, x in shown.items()} if 1 < space.dim <= 64 else {}
    chosen = plots.pairs(space, matrices["real"]) if matrices else []
    names = space.names or ()
    return {
        "marginals": plots.marginals(space, real, drawn),
        "pairs": [
            (
                f"{names[i]} against {names[j]}",
                [
                    (name, plots.scatter(space, (i, j), x, real, f"{names[i]} against {names[j]}, {name}"))
                    for name, x in shown.items()
                ],
            )
            for i, j in chosen
        ],
        "heat_maps": [
            (name, plots.heat_map(space, matrix, f"Associations of the columns, {name}")) for name, matrix in matrices.items()
        ],
    }
