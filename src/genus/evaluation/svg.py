"""matplotlib's figures as inline SVG of a page: text stays text, ink is `currentColor`, families are the page's colours.

So a figure takes the page's own font, is right in light and dark, and shows any script that the reader's machine can.
"""

from __future__ import annotations

import io
import re
import warnings
from contextlib import AbstractContextManager
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "INK", "colour", "figure_of", "styled", "svg"]

COLOURS = 8  # of families, the page's --f0, --f1, ...; more begin again
INK = "#010203"  # becomes currentColor

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "genus",  # identifiers are hashes of what they name, so equal ones on a page name equal things
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.formatter.use_mathtext": False,
    "axes.formatter.limits": (-4, 5),
    "legend.frameon": False,
    "legend.fontsize": 9.5,
}


def styled(ticks: float = 9.5) -> AbstractContextManager[None]:
    """Return a context with matplotlib's settings of these figures, tick labels of so many pixels."""
    import matplotlib  # here, since it takes a second, and every worker of a comparison would wait for it

    return matplotlib.rc_context(STYLE | {"xtick.labelsize": ticks, "ytick.labelsize": ticks})


def figure_of(width: float, height: float) -> Figure:
    """Return a figure of so many CSS pixels, matplotlib's points."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72), layout="constrained")


def colour(index: int) -> str:
    """Return the colour of the family at that position."""
    return f"#f0000{index % COLOURS}"  # becomes var(--f<index>)


def svg(figure: Figure, alt: str) -> str:
    """Return the figure as an inline <svg> that carries its own description; call it inside `styled`."""
    text = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # matplotlib's font lacks a sign, the reader's may have it
        figure.savefig(text, format="svg", transparent=True, dpi=144, metadata={"Date": None, "Creator": None})
    body = text.getvalue()
    body = body[body.index("<svg") :]
    box = re.search(r'viewBox="[^"]*"', body)
    body = re.sub(
        r"<metadata>.*?</metadata>|<style type=\"text/css\">.*?</style>|<!--.*?-->", "", body[body.index(">") + 1 :], flags=re.S
    )
    body = re.sub(r' id="(?!m|p|image|h)[^"]*"', "", body)  # only markers, clip paths, images and hatches are referred to
    body = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", body)
    body = body.replace(INK, "currentColor")
    body = re.sub(r"#f0000(\d)", r"var(--f\1)", body)
    body = re.sub(r"\n\s*", "\n", body)
    return f'<svg {box.group() if box else ""} role="img" aria-label="{escape(alt)}">{body}'
