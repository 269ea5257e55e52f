"""The results as one HTML page: everything embedded, no script, nothing fetched, every word of the data escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from markupsafe import Markup
from torch import Tensor

from genus.codec import Codec
from genus.codec.units import Unit, element
from genus.evaluation import plots
from genus.evaluation.codes import SIDE, Codes, mosaic
from genus.evaluation.excerpts import Excerpt, excerpts, sounds
from genus.evaluation.figures import number, plus_minus
from genus.evaluation.grids import image_grid
from genus.evaluation.ranking import Place, ranking
from genus.evaluation.results import Results, Row
from genus.evaluation.svg import COLOURS
from genus.evaluation.tables import bars, tables
from genus.evaluation.verdict import verdict
from genus.evaluation.wording import measure, shown
from genus.space import Category, Lattice, Real

__all__ = ["render"]

OVERLAID = 5  # families in one picture of a column
CAVEATS = 3  # on the first screen


def render(results: Results) -> str:
    """Return the page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("genus.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "count": _count, "duration": _duration, "memory": _memory}
    places = ranking(results)
    fitted = [place for place in places if place.row.status == "ok"]
    drawn = {p.row.family: p.row.samples for p in fitted if p.row.samples is not None and len(p.row.samples)}
    overlaid = dict(list(drawn.items())[:OVERLAID])
    curves = {p.row.family: plots.curves(p.row.histories, f"Learning curve of {p.row.family}") for p in fitted}
    return environment.get_template("report.html.jinja").render(
        report=results,
        facts=_facts(results),
        verdict=verdict(results),
        dense=[place for place in places if place.by == "density"],
        implicit=[place for place in places if place.by == "samples"],
        accused=[place for place in places if place.by == "accused"],
        others=_others(places),
        caveats=_caveats(results, [place.row for place in places]),
        bars=bars(fitted),
        plus_minus=plus_minus,
        tables=tables(results, fitted),
        colours=[index % COLOURS for index in range(len(overlaid))],
        families=list(overlaid),
        measure=measure(results.samples_metric),
        overlaid=(len(overlaid), len(drawn)),
        lead=_lead(results, drawn),
        atoms=any(getattr(kind, "atoms", ()) for kind in results.space.kinds),
        images=_images(results, drawn),
        codes=_codes(results, {p.row.family: p.row.codes for p in fitted if p.row.codes is not None}),
        pictures=_pictures(results, drawn),
        texts=_texts(results, drawn),
        sounds=sounds(results.codec, _shown(results, drawn)) if results.codec.is_sound else {},
        symbol=element(results.codec) if Unit.of(results.codec).is_shown else "",
        curves=[(name, svg) for name, svg in curves.items() if svg],
        without_curve=[name for name, svg in curves.items() if not svg],
    )


# -- words ----------------------------------------------------------------------------------------------------------------


def _caveats(results: Results, rows: list[Row]) -> tuple[list[tuple[str, str]], int]:
    """Return what a reader should see first, (word, sentence), three at most, and how much more there is below."""
    found: list[tuple[str, str]] = [(finding.kind, f"{family}: {finding.sentence}") for family, finding in shown(rows)]
    found += [(note.label, note.reason) for note in results.notes if note.label == "warning" or note.option]
    return found[:CAVEATS], max(0, len(found) - CAVEATS)


class Unfitted(NamedTuple):
    """Hold families that have no numbers for one reason."""

    status: str
    families: list[str]
    sentence: str


def _others(places: Sequence[Place]) -> list[Unfitted]:
    """Return the families that have no numbers, those of one reason together, since a short run has many of them."""
    found: dict[tuple[str, str], list[str]] = {}
    for place in places:
        if place.by == "nothing":
            status = "not trained" if place.row.status == "ok" else place.row.status
            found.setdefault((status, place.sentence), []).append(place.row.family)
    return [Unfitted(status, families, sentence) for (status, sentence), families in found.items()]


def _lead(results: Results, drawn: dict[str, Tensor]) -> list[tuple[str, Markup]]:
    """Return the first picture of the page, real rows beside samples of the first family: (caption, picture) twice."""
    space, real = results.space, results.real
    if real is None or not drawn or len(real) < 2:
        return []
    first = next(iter(drawn))
    n = min(len(real), len(drawn[first]))  # as many of each, since a crowd looks different from a few
    both = {"real": real[:n], first: drawn[first][:n]}
    if len(space.shape) > 1:
        picture = Markup('<img src="{}" alt="{}">')
        return [(name, picture.format(image_grid(space, x, real), f"{name}, a grid of images")) for name, x in both.items()]
    if not space.is_table or space.sequence or not 1 < space.dim <= 64:
        return []
    chosen = plots.pairs(space, plots.associations(space, real), 1)
    alt = [f"{(space.names or ())[i]} against {(space.names or ())[j]}" if space.names else "two columns" for i, j in chosen]
    return [
        (f"{name}: {title}", Markup(plots.scatter(results.codec, pair, x, real, f"{title}, {name}")))
        for pair, title in zip(chosen, alt, strict=True)
        for name, x in both.items()
    ]


def _facts(results: Results) -> list[tuple[str, str]]:
    total = results.total_rows or results.train_rows + results.test_rows
    rows = f"{_count(total)}: {_count(results.train_rows)} for training, {_count(results.test_rows)} held out"
    facts = {
        "data": space_in_words(results.codec),
        "rows": rows if results.total_rows or results.train_rows else "",
        "context": results.context_columns,
        "target": results.target,
        "relations": "; ".join(results.relations),
        "time": f"{_duration(results.seconds)} of {_duration(results.time_seconds)}"
        if results.time_seconds is not None
        else "",
        "budget": f"{_duration(results.budget_seconds)} a fit" if results.budget_seconds is not None else "",
        "judged by": f"{_count(results.judged_rows)} real rows" if results.judged_rows is not None else "",
        "seeds": f"{len(results.seeds)}" if results.seeds else "",
    }
    return [(name, words) for name, words in facts.items() if words]


def space_in_words(codec: Codec) -> str:
    """Return what the data are in words.

    >>> from genus import Category, Lattice, Real, Space
    >>> space_in_words(Codec(Space([Real(), Category(("a", "b"))])))
    '2 columns: 1 real, 1 categorical'
    >>> space_in_words(Codec(Space(Lattice(0, 16), shape=(8, 8))))
    'images of 8 × 8, values 0 to 16'
    >>> space_in_words(Codec(Space(Category(("a", "b", None)), shape=(16,), sequence=True)))
    'sequences of up to 16 characters of an alphabet of 2'
    """
    space = codec.space
    if space.sequence:
        return _sequences_in_words(codec)
    if not space.is_table:
        kind = space.kinds[0]
        values = f", values {kind.low:g} to {kind.high:g}" if isinstance(kind, Lattice) else ""
        return f"images of {' × '.join(map(str, space.shape))}{values}"
    parts = [
        (len(space.columns(kind)), word) for kind, word in ((Real, "real"), (Lattice, "lattice"), (Category, "categorical"))
    ]
    kinds = ", ".join(f"{n} {word}" for n, word in parts if n)
    return f"{space.dim} column{'s' if space.dim > 1 else ''}: {kinds}{', with missing values' if space.has_missing else ''}"


def _sequences_in_words(codec: Codec) -> str:
    space, form, word = codec.space, codec.form, element(codec)
    kind = space.kinds[0]
    what = {"text": "text: ", "audio": "sound: "}.get(form.container if form is not None else "", "")
    length = f"{'up to ' if space.ends else ''}{_count(space.dim)} {word}s"
    if form is not None and form.rate:
        length += f" ({space.dim / form.rate:.2g} s at {form.rate / 1000:g} kHz)"
    if isinstance(kind, Category):
        return f"{what}sequences of {length} of an alphabet of {_count(kind.states - space.ends)}"
    return f"{what}sequences of {length}{f', values {kind.low:g} to {kind.high:g}' if isinstance(kind, Lattice) else ''}"


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _duration(seconds: float | None) -> str:
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.2g} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _memory(size: float | None) -> str:
    return "–" if not size else f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.0f} MB"


# -- pictures -------------------------------------------------------------------------------------------------------------


def _shown(results: Results, drawn: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return real rows first, then samples by family."""
    return ({"real": results.real} if results.real is not None else {}) | drawn


def _texts(results: Results, drawn: dict[str, Tensor]) -> dict[str, list[Excerpt]]:
    """Return a few real sequences, and samples by family, as text."""
    if not results.space.sequence or results.codec.is_sound:
        return {}
    return {name: excerpts(results.codec, x) for name, x in _shown(results, drawn).items()}


def _images(results: Results, drawn: dict[str, Tensor]) -> list[tuple[str, str]]:
    """Return (title, data URI) of real images and of every family's."""
    if len(results.space.shape) < 2:
        return []
    real = results.real
    scale = real if real is not None else next(iter(drawn.values()), None)
    return [(name, image_grid(results.space, x, scale)) for name, x in _shown(results, drawn).items() if scale is not None]


class Latent(NamedTuple):
    """Hold the view of one family's codes: a sentence, and pictures with their captions."""

    family: str
    words: str
    pictures: list[tuple[str, Markup]]


def _codes(results: Results, codes: dict[str, Codes]) -> list[Latent]:
    """Return for every family with codes how much of them is used, a map, and for images reconstructions, walks and lines."""
    space, real = results.space, results.real
    if real is None:
        return []
    found = []
    for family, code in codes.items():
        words = f"{code.active} of {code.latent} numbers of a code say something of a datum"
        if not code.active:
            words = (
                f"collapsed: none of the {code.latent} numbers of a code says anything of a datum, and the decoder works alone"
            )
        n = min(len(real), len(code.plane))
        about = f"map of codes: the two directions in which they vary most, {100 * code.share:.0f} % of their variance"
        if code.walks is None or code.rebuilt is None:
            shown = [(about, Markup(plots.plane(space, code.plane[:n], real[:n], results.target, f"Codes of {family}")))]
        else:
            beside = real[: len(code.rebuilt)].to(code.rebuilt.dtype)
            grids = [
                (about, mosaic(space, code.plane[:n], real[:n]), SIDE),
                ("one number of a code changed at a time, from less to more", code.walks.flatten(0, 1), code.walks.shape[1]),
                ("held-out images, and below each its reconstruction", torch.cat([beside, code.rebuilt]), len(beside)),
            ]
            if code.lines is not None:
                title = "from one held-out image to another, along the line between their codes"
                grids.append((title, code.lines.flatten(0, 1), code.lines.shape[1]))
            shown = [
                (title, Markup('<img src="{}" alt="{}, {}">').format(image_grid(space, x, real, across), family, title))
                for title, x, across in grids
            ]
        found.append(Latent(family, words, shown))
    return found


def _pictures(results: Results, drawn: dict[str, Tensor]) -> dict[str, Any]:
    """Return marginals, pair plots and heat maps of a table; nothing for images, or without rows to draw."""
    space, real = results.space, results.real
    if not space.is_table or real is None or len(real) < 2:
        return {"marginals": [], "pairs": [], "heat_maps": []}
    shown = {"real": real} | drawn
    matrices = {name: plots.associations(space, x) for name, x in shown.items()} if 1 < space.dim <= 64 else {}
    chosen = plots.pairs(space, matrices["real"]) if matrices else []
    names = space.names or ()
    return {
        "marginals": plots.marginals(results.codec, real, dict(list(drawn.items())[:OVERLAID])),
        "pairs": [
            (
                f"{names[i]} against {names[j]}",
                [
                    (name, plots.scatter(results.codec, (i, j), x, real, f"{names[i]} against {names[j]}, {name}"))
                    for name, x in shown.items()
                ],
            )
            for i, j in chosen
        ],
        "heat_maps": [
            (name, plots.heat_map(space, matrix, f"Associations of the columns, {name}")) for name, matrix in matrices.items()
        ],
    }
